"""The venues beyond the default universe against what was recorded of them, and real ccxt against their emulators."""

import datetime as dt
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ccxt
import pyarrow.parquet as pq
import pytest
from clickhouse_connect.driver.client import Client

from alphaforge_assets.datasets.bars import BARS
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.refresh import refresh
from alphaforge_assets.sandbox import process as sandbox
from alphaforge_assets.universe import Universe
from alphaforge_assets.venues.directory import VENUES
from alphaforge_assets.venues.transport import rehost
from alphaforge_assets_tests.conftest import LIFTED, lifted
from alphaforge_assets_tests.test_sandbox_ccxt import alike

NOW = dt.datetime(2025, 6, 3, 12, 0, 30, tzinfo=dt.UTC)
NOW_MS = int(NOW.timestamp() * 1000)
MINUTE, HOUR = 60_000, 3_600_000
NAMES = ("coinbaseexchange", "kraken", "binanceus")
MOUNT = {venue.exchange: venue.mount for venue in VENUES.values()}
# ccxt's fixtures of markets hold whole numbers as text, and Kraken's tiers of fees are longer.
AS_TEXT = {"cost_decimals", "pair_decimals", "lot_decimals", "lot_multiplier", "margin_call", "margin_stop",
           "long_position_limit", "short_position_limit", "baseAssetPrecision", "quotePrecision", "quoteAssetPrecision",
           "baseCommissionPrecision", "quoteCommissionPrecision"}  # fmt: skip


@pytest.fixture(scope="module")
def exchanges() -> Iterator[dict[str, Any]]:
    with sandbox.start(now=NOW, budget_scale=100) as url:
        found = {name: getattr(ccxt, name)({"enableRateLimit": False}) for name in NAMES}
        for name, exchange in found.items():
            exchange.urls["api"] = rehost(exchange.urls["api"], url + MOUNT[name])
            exchange.load_markets()
        yield found


@pytest.mark.parametrize("name", NAMES)
def test_ccxt_reads_the_markets_the_clock_and_the_candles(name: str, exchanges: dict[str, Any]) -> None:
    exchange = exchanges[name]
    symbol = "BTC/USDT"
    market = exchange.market(symbol)
    assert (market["active"], market["spot"], market["base"], market["quote"]) == (True, True, "BTC", "USDT")
    assert [m["active"] for m in exchange.markets.values()].count(False) == 1
    assert exchange.fetch_time() == (NOW_MS // 1000 * 1000 if name == "kraken" else NOW_MS)
    opened = NOW_MS - NOW_MS % HOUR
    rows = exchange.fetch_ohlcv(symbol, "1h", since=opened - 50 * HOUR, limit=20)
    assert [row[0] for row in rows] == [opened + (n - 50) * HOUR for n in range(20)]
    for _, open_, high, low, close, volume in rows:
        assert 0 < low <= min(open_, close) <= max(open_, close) <= high
        assert volume > 0
    newest = exchange.fetch_ohlcv(symbol, "1m", since=opened - 5 * MINUTE)
    assert newest[0][0] == opened - 5 * MINUTE
    assert newest[-1][0] == NOW_MS - NOW_MS % MINUTE  # the open one is there


def test_ccxt_reads_their_errors(exchanges: dict[str, Any]) -> None:
    coinbase, kraken, us = (exchanges[name] for name in NAMES)
    with pytest.raises(ccxt.ExchangeError, match="granularity too small"):
        coinbase.publicGetProductsIdCandles(
            {"id": "BTC-USD", "granularity": 60, "start": "2025-06-01T00:00:00Z", "end": "2025-06-01T05:00:00Z"}
        )
    for request in (
        {"id": "BTC-USD", "granularity": 14_400},
        {"id": "NOPE-USD"},
        {"id": "BTC-USD", "start": "x", "end": "y"},
    ):
        with pytest.raises(ccxt.BaseError, match=r"Unsupported granularity|NotFound|Invalid start"):
            coinbase.publicGetProductsIdCandles(request)
    with pytest.raises(ccxt.BaseError, match="Unknown asset pair"):
        kraken.publicGetOHLC({"pair": "NOPE"})
    with pytest.raises(ccxt.BaseError, match="Invalid arguments"):
        kraken.publicGetOHLC({"pair": "XBTUSD", "interval": 7})
    with pytest.raises(ccxt.BaseError, match="Unknown method"):
        kraken.publicGetGroupedBook({"pair": "XBTUSD"})
    with pytest.raises(ccxt.BadSymbol, match="-1121"):
        us.publicGetKlines({"symbol": "NOPE", "interval": "1m"})


def test_a_pair_of_kraken_goes_by_three_names_and_answers_by_one(exchanges: dict[str, Any]) -> None:
    for pair in ("XXBTZUSD", "XBTUSD", "XBT/USD"):
        result = exchanges["kraken"].publicGetOHLC({"pair": pair, "interval": 60})["result"]
        assert set(result) == {"XXBTZUSD", "last"}
        rows = result["XXBTZUSD"]
        assert len(rows) == 720
        assert int(rows[-1][0]) == NOW_MS // HOUR * 3600
        assert int(result["last"]) == int(rows[-2][0])
    names = {symbol: market["id"] for symbol, market in exchanges["kraken"].markets.items()}
    assert names["DOGE/USD"] == "XDGUSD"
    assert names["ETH/BTC"] == "XETHXXBT"
    assert names["SOL/BTC"] == "SOLXBT"


@pytest.mark.recorded
@pytest.mark.parametrize(
    ("exchange", "symbol"),
    [
        *(("coinbaseexchange", symbol) for symbol in ("BTC/USDT", "BTC/USD")),
        *(("kraken", symbol) for symbol in ("BTC/USDT", "BTC/USD", "XRP/USD", "LTC/USD")),
        *(("binanceus", symbol) for symbol in ("BTC/USDT", "LTC/USD", "ADA/USDT", "SOL/USDT")),
    ],
)
def test_instruments_are_as_recorded(exchange: str, symbol: str, exchanges: dict[str, Any], recorded: Path) -> None:
    theirs = json.loads((recorded / f"wire/ccxt-static/markets/{exchange}.json").read_text())[symbol]
    ours = exchanges[exchange].market(symbol)
    odd = [line for line in alike(ours["info"], theirs["info"]) if line.split(":")[0].split(".")[-1] not in AS_TEXT]
    assert [line for line in odd if ": int here, number recorded" not in line] == []
    for name in ("id", "type", "active"):
        assert ours[name] == theirs[name], name
    for name in ("amount", "price"):
        assert ours["precision"][name] == theirs["precision"][name], name


@dataclass(frozen=True)
class Played:
    """Recorded days, by the machine's clock or one of then, and what is told of their holes beside no_trades."""

    venue: str
    symbol: str
    folder: str
    first: dt.date
    days: int
    now: dt.datetime | None = None
    told: Mapping[str, int] = field(default_factory=dict)


PLAYED = [
    # The recording of that day ends at 16:47.
    Played("coinbase_spot", "BTC/USD", "BTCUSD", dt.date(2018, 4, 4), 3, told={"venue_outage": 432}),
    Played("coinbase_spot", "ETH/USD", "ETHUSD", dt.date(2017, 9, 3), 2),
    Played("coinbase_spot", "BTC/USD", "BTCUSD", dt.date(2016, 10, 7), 3),
    Played(
        *("kraken_spot", "BTC/USDC", "XBTUSDC", dt.date(2023, 3, 31), 1),
        now=dt.datetime(2023, 3, 31, 20, 0, 30, tzinfo=dt.UTC),
        told={"retention_lost": 491},
    ),
    Played("binanceus_spot", "BTC/USDC", "BTCUSDC", dt.date(2023, 3, 10), 3),
]


@pytest.mark.recorded
@pytest.mark.parametrize("it", PLAYED, ids=lambda it: f"{it.venue} {it.symbol} {it.first}")
def test_recorded_minutes_come_value_for_value_and_no_quiet_one_is_an_outage(
    emptied: Client, recorded: Path, tmp_path: Path, it: Played
) -> None:
    folder = Path("klines") / it.venue / it.folder / "1m"
    shutil.copytree(recorded / "market-data" / folder, tmp_path / "played" / folder)
    universe = Universe.model_validate(
        {"history_start": it.first, "intervals": ["1m"], "venues": {it.venue: {"instruments": [it.symbol]}}}
    )
    part = Rectangle(universe.instruments, it.first, it.first + dt.timedelta(days=it.days))
    with sandbox.start(recordings=tmp_path / "played", now=it.now, budget_scale=LIFTED) as url:
        landed = refresh(emptied, lifted(url, tmp_path / "governor"), universe, part, BARS, run_id="recorded")
    assert landed.failures == []
    end = it.now.replace(second=0) if it.now else part.end_time
    begin = end - dt.timedelta(minutes=709) if it.now else part.start_time
    wanted = [
        (row["open_time"], *(float(row[name]) for name in ("open", "high", "low", "close", "volume")))
        for file in sorted((recorded / "market-data" / folder).glob("*.parquet"))
        for row in pq.read_table(file).to_pylist()
        if begin.timestamp() * 1000 <= row["open_time"] < end.timestamp() * 1000
    ]
    assert len(wanted) > 300
    got = emptied.query(
        "SELECT timestamp_unix, open, high, low, close, volume FROM analytics.v_bars ORDER BY timestamp"
    ).result_rows
    assert list(got) == wanted
    told = dict(
        emptied.query("SELECT verdict, sum(missing) FROM analytics.v_gaps WHERE is_open GROUP BY verdict").result_rows
    )
    quiet = told.pop("no_trades", 0)
    assert told == it.told
    slots = (end - begin) // dt.timedelta(minutes=1)
    assert quiet + sum(n for verdict, n in told.items() if verdict != "retention_lost") == slots - len(wanted)
