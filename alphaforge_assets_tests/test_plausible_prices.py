"""Prices that are no market's are told of, and those of real crashes are not: made ones, and all that is recorded."""

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from clickhouse_connect.driver.client import Client

from alphaforge_assets.intervals import INTERVAL_MS
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.quality.checks import every_check, offenders
from alphaforge_assets.universe import EARLIEST, Instrument, id_of

DAY = dt.date(2025, 6, 1)
MINUTE = dt.timedelta(minutes=1)
PRICES = ("open", "high", "low", "close")


def at(*parts: int) -> dt.datetime:
    return dt.datetime(*parts, tzinfo=dt.UTC)  # type: ignore[arg-type]


def instrument(key: str) -> Instrument:
    venue, symbol = key.split(".", 1)
    return Instrument(venue, symbol.replace("-", "/"), EARLIEST)


def packed(values: Any) -> Any:
    """As the mart keeps a Float64: in units of 1e-8 where those give it back, else its bits (decision 0031)."""
    units = np.rint(values * 1e8).astype(np.int64)
    return np.where((values < 2**53 / 1e8) & (units / 1e8 == values), units, values.view(np.int64))


def publish(client: Client, key: str, table: pa.Table, interval: str = "1m", version: int = 1) -> None:
    """Bars as the mart holds them: `timestamp` in milliseconds and the four prices."""
    one, n = instrument(key), table.num_rows
    facts = {
        "venue": pa.array([one.venue] * n),
        "symbol": pa.array([one.symbol] * n),
        "instrument_id": pa.array([id_of(key)] * n, pa.uint32()),
        "interval": pa.array([interval] * n),
        "timestamp": table["timestamp"].cast(pa.timestamp("ms", "UTC")),
        "version": pa.array([version] * n, pa.uint64()),
    }
    prices = {f"{name}_e8": packed(table[name].cast(pa.float64()).to_numpy()) for name in PRICES}
    client.insert_arrow("analytics.bars", pa.table({**facts, **prices}))


def walk(start: dt.datetime, minutes: int, level: float, seed: int = 7) -> pa.Table:
    """A market: each bar opens where the last one closed."""
    noise = np.random.default_rng(seed).normal(0, 0.0005, minutes)
    close = level * np.exp(noise.cumsum())
    opens = np.concatenate([[level], close[:-1]])
    first = int(start.timestamp() * 1000)
    return pa.table(
        {
            "timestamp": first + 60_000 * np.arange(minutes),
            "open": opens,
            "high": np.maximum(opens, close) * 1.0002,
            "low": np.minimum(opens, close) * 0.9998,
            "close": close,
        }
    )


def times(table: pa.Table, factor: Any) -> pa.Table:
    """The same with every price multiplied, by one number or one a bar."""
    return pa.table({"timestamp": table["timestamp"], **{name: table[name].to_numpy() * factor for name in PRICES}})


def told(client: Client, check: str, keys: list[str], start: dt.date, end: dt.date) -> list[dict[str, Any]]:
    (rule,) = [c for c in every_check() if c.name == check]
    return offenders(client, rule, Rectangle(tuple(map(instrument, keys)), start, end), dt.datetime.now(dt.UTC))


def jumps(client: Client, keys: list[str], start: dt.date = DAY, days: int = 1) -> list[dict[str, Any]]:
    return told(client, "prices_do_not_jump", keys, start, start + dt.timedelta(days=days))


def apart(client: Client, keys: list[str], start: dt.date = DAY, days: int = 1) -> list[dict[str, Any]]:
    return told(client, "asset_has_one_price", keys, start, start + dt.timedelta(days=days))


def test_a_page_of_another_symbol_is_told_with_where_it_begins_and_ends(emptied: Client) -> None:
    """Another symbol's prices (×37) on one page: they come back to the old level at its end, here past midnight."""
    market = walk(at(2025, 6, 1), 2880, 0.5)
    factor = np.ones(2880)
    factor[1000:1500] = 37
    publish(emptied, "okx_spot.X-USDT", times(market, factor))
    for day in (DAY, DAY + dt.timedelta(days=1)):
        (found,) = jumps(emptied, ["okx_spot.X-USDT"], day)
        assert (found["first"], found["last"]) == (at(2025, 6, 1, 16, 40), at(2025, 6, 2, 0, 59)), found
        assert found["rows"] == 500
        assert found["what"].startswith("times 37")
        assert "and back to 0.4795" in found["what"]
    assert jumps(emptied, ["okx_spot.X-USDT"], DAY + dt.timedelta(days=2)) == []


def test_two_pages_are_two_ranges_and_the_sound_bars_between_them_are_none(emptied: Client) -> None:
    factor = np.ones(1440)
    factor[200:300] = factor[700:720] = 37
    publish(emptied, "okx_spot.X-USDT", times(walk(at(2025, 6, 1), 1440, 0.5), factor))
    assert [(f["first"], f["rows"]) for f in jumps(emptied, ["okx_spot.X-USDT"])] == [
        (at(2025, 6, 1, 3, 20), 100),
        (at(2025, 6, 1, 11, 40), 20),
    ]


@pytest.mark.parametrize(
    ("before", "after", "hole_days", "says"),
    [
        # BitTorrent, 1000 old ones for a new one, traded again after days; and the other way round.
        pytest.param(0.0025, 0.0000025, 6, "a power of ten: redenominated?", id="BTT 2022-01"),
        pytest.param(0.0000025, 0.0025, 6, "a power of ten: redenominated?", id="a consolidation"),
        # LUNA ended at 0.00005 on 2022-05-13; the new coin of the ticker began at 9 on 2022-05-31.
        pytest.param(0.00005, 9.0, 18, "another coin under the same name?", id="LUNA 2022-05"),
        pytest.param(100.0, 250.0, 0, "another coin, unit or market?", id="overnight"),
    ],
)
def test_a_level_that_shifts_for_good_is_told_across_any_hole(
    emptied: Client, before: float, after: float, hole_days: int, says: str
) -> None:
    start = at(2025, 6, 1) - dt.timedelta(days=1 + hole_days)
    publish(emptied, "okx_spot.X-USDT", walk(start, 1440, before))
    publish(emptied, "okx_spot.X-USDT", walk(at(2025, 6, 1), 1440, after))
    last = at(2025, 6, 1) - MINUTE - dt.timedelta(days=hole_days)
    for day in (DAY, last.date()):  # whichever side is filled last
        (found,) = jumps(emptied, ["okx_spot.X-USDT"], day)
        assert (found["first"], found["last"], found["rows"]) == (last, at(2025, 6, 1), 1)
        assert says in found["what"], found["what"]
        assert (f"After {hole_days} days without a bar" in found["what"]) == (hole_days > 0)


def test_what_markets_do_is_not_told(emptied: Client) -> None:
    """A crash within one bar, a bar that spikes and touches, a walk across a hole, and a listing's first bar."""
    market = walk(at(2025, 6, 1), 1440, 100.0)
    columns = {name: market[name].to_numpy().copy() for name in market.column_names}
    columns["low"][600] /= 5  # SUI/USDT 2025-10-10: to a fifth of its price and back within one minute
    columns["close"][700] /= 2  # the bar fell by half; the next one opens there
    columns["low"][700] = columns["close"][700]
    for name in PRICES:
        columns[name][701:] = columns[name][701:] / 2
    publish(emptied, "okx_spot.X-USDT", pa.table(columns))
    publish(emptied, "okx_spot.X-USDT", walk(at(2025, 9, 12), 1440, 50.0 * 4.3))  # as BTC/USD in 103 days of 2017
    assert jumps(emptied, ["okx_spot.X-USDT"], days=150) == []


def test_prices_of_a_testnet_are_told_of_the_venue_that_has_them(emptied: Client) -> None:
    """A testnet's prices, 0.1 to 16 times the real ones: its walk touches bar by bar, and other venues know better."""
    sound = walk(at(2025, 6, 1), 1440, 0.5)
    wrong = np.exp(np.linspace(np.log(0.1), np.log(16), 1440))
    keys = ["okx_spot.X-USDT", "bybit_spot.X-USDC", "okx_perp.X-USDT", "binance_spot.X-USDT"]
    publish(emptied, keys[3], times(sound, wrong))
    publish(emptied, keys[0], sound)
    both = apart(emptied, keys)
    assert [f"{f['venue']}.{f['symbol']}" for f in both] == ["binance_spot.X/USDT", "okx_spot.X/USDT"]
    assert "of the median of okx_spot.X/USDT" in both[0]["what"]
    for key in keys[1:3]:
        publish(emptied, key, times(sound, 1.003))
    (found,) = apart(emptied, keys)
    assert (found["venue"], found["symbol"]) == ("binance_spot", "X/USDT")
    assert "(0.09" in found["what"]
    assert "to 15.9" in found["what"]
    assert "bybit_spot.X/USDC, okx_perp.X/USDT, okx_spot.X/USDT" in found["what"]
    assert apart(emptied, keys[:3]) == []
    assert jumps(emptied, keys) == []


def test_multiples_of_a_coin_are_that_coin_and_other_moneys_are_others(emptied: Client) -> None:
    sound = walk(at(2025, 6, 1), 1440, 0.00001)
    multiples = {
        "binance_perp.1000SHIB-USDT": 1000.0,
        "bybit_perp.SHIB1000-USDT": 1000.0,
        "okx_perp.SHIB-USDT": 1.0,
        "okx_spot.kSHIB-USD": 1000.0,
        "binance_spot.1MSHIB-FDUSD": 1e6,
        "binance_spot.SHIB-TRY": 40.0,
        "binance_spot.1INCH-USDT": 30_000.0,
    }
    for key, unit in multiples.items():
        publish(emptied, key, times(sound, unit))
    assert apart(emptied, list(multiples)) == []
    publish(emptied, "binance_spot.10000SHIB-USDT", times(sound, 1000))  # it says ten thousand, and is one
    (found,) = apart(emptied, [*multiples, "binance_spot.10000SHIB-USDT"])
    assert found["symbol"] == "10000SHIB/USDT"
    assert found["what"].startswith("times 0.1 ")


def test_of_two_camps_of_one_size_each_is_held_against_the_other(emptied: Client) -> None:
    sound = walk(at(2025, 6, 1), 1440, 2.0)
    keys = ["okx_spot.X-USDT", "okx_perp.X-USDT", "bybit_spot.X-USDT", "bybit_perp.X-USDT"]
    for key, factor in zip(keys, (1, 1.001, 1.2, 1.201), strict=True):
        publish(emptied, key, times(sound, factor))
    assert {f["rows"] for f in apart(emptied, keys)} == {1440}
    assert len(apart(emptied, keys)) == 4


@pytest.mark.recorded
def test_nothing_on_record_is_told(emptied: Client, recorded: Path) -> None:
    """Every recorded bar: crashes, outages, halts, a coin that lost its dollar, and years between two files."""
    venues = {"binance_um": "binance_perp", "bybit_linear": "bybit_perp", "okx_swap": "okx_perp"}
    keys: dict[str, None] = {}
    bars = 0
    for file in sorted((recorded / "market-data/klines").glob("*/*/*/*.parquet")):
        venue, symbol, interval = file.parts[-4:-1]
        bare = symbol.replace("-SWAP", "").replace("-", "").replace("XBT", "BTC")
        quote = next(q for q in ("USDT", "USDC", "USD") if bare.endswith(q))
        key = f"{venues.get(venue, venue)}.{bare.removesuffix(quote)}-{quote}"
        table = pq.read_table(file, columns=["open_time", *PRICES]).rename_columns(["timestamp", *PRICES])
        assert interval in INTERVAL_MS
        publish(emptied, key, table, interval)
        keys[key], bars = None, bars + table.num_rows
        assert pc.min(table["timestamp"]).as_py() > 0
    assert bars > 2_300_000
    assert jumps(emptied, list(keys), dt.date(2016, 1, 1), 4000) == []
    assert apart(emptied, list(keys), dt.date(2016, 1, 1), 4000) == []
