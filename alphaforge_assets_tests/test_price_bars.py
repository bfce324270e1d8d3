"""Mark, index and premium prices from the sandbox into v_price_bars: landed, revised, with holes, read and checked."""

import datetime as dt
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from clickhouse_connect.driver.client import Client

from alphaforge_assets.datasets.bars import BARS
from alphaforge_assets.datasets.price_bars import PRICE_BARS
from alphaforge_assets.errors import BadInput
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.pipeline.landing import Landed
from alphaforge_assets.quality.checks import every_check, offenders
from alphaforge_assets.quality.coverage import judge, summary
from alphaforge_assets.refresh import refresh
from alphaforge_assets.research.client import Research
from alphaforge_assets.sandbox import process as sandbox
from alphaforge_assets.universe import Universe, load_universe
from alphaforge_assets.upkeep.tail import tail
from alphaforge_assets.venues.directory import Exchanges
from alphaforge_assets_tests.conftest import LIFTED, empty, lifted
from alphaforge_assets_tests.installed import call, fault

NOW = dt.datetime(2025, 6, 3, 0, 30, tzinfo=dt.UTC)
DAY = dt.date(2025, 6, 2)
START, END = dt.datetime(2025, 6, 2, tzinfo=dt.UTC), dt.datetime(2025, 6, 3, tzinfo=dt.UTC)
ALL = ["mark", "index", "premium"]
UNIVERSE = Universe.model_validate(
    {
        "history_start": dt.date(2025, 1, 1),
        "intervals": ["1m", "1h"],
        "venues": {
            "binance_perp": {"instruments": [{"symbol": "BTC/USDT", "price_bars": ALL}, "ETH/USDT"]},
            "okx_perp": {"instruments": [{"symbol": "BTC/USDT", "price_bars": ["mark", "index"]}]},
            "bybit_perp": {"instruments": [{"symbol": "BTC/USDT", "price_bars": ALL}]},
        },
    }
)
BINANCE, ETH, OKX, BYBIT = UNIVERSE.instruments
KEPT = (BINANCE, OKX, BYBIT)
PART = Rectangle((BINANCE,), DAY, DAY + dt.timedelta(days=1))
MARK = "/fapi/v1/markPriceKlines"


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Exchanges]]:
    """One sandbox for all."""
    with sandbox.start(now=NOW, budget_scale=LIFTED) as url:
        yield url, lifted(url, tmp_path_factory.mktemp("governor") / "governor.sqlite3")


@pytest.fixture
def venues(serving: tuple[str, Exchanges]) -> Iterator[tuple[str, Exchanges]]:
    """At NOW, without faults."""
    yield serving
    call(f"{serving[0]}/_faults", method="DELETE")


def bring(client: Client, exchanges: Exchanges, part: Rectangle = PART, **more: Any) -> Landed:
    return refresh(client, exchanges, UNIVERSE, part, PRICE_BARS, run_id="test", **more)


def rows(client: Client, sql: str) -> list[tuple[Any, ...]]:
    return list(client.query(sql).result_rows)


def found(client: Client, name: str, part: Rectangle = PART) -> list[dict[str, Any]]:
    (check,) = [c for c in every_check() if c.dataset is PRICE_BARS and c.name == name]
    return offenders(client, check, part, NOW)


def ms(moment: dt.datetime) -> int:
    return int(moment.timestamp() * 1000)


def test_three_venues_prices_arrive_as_the_venues_tell_them(emptied: Client, venues: tuple[str, Exchanges]) -> None:
    url, exchanges = venues
    part = Rectangle(KEPT, DAY, DAY + dt.timedelta(days=1))
    landed = bring(emptied, exchanges, part)
    assert not landed.failures
    counts = rows(
        emptied,
        "SELECT venue, price_type, interval, count() FROM analytics.v_price_bars GROUP BY ALL ORDER BY ALL",
    )
    venues_prices = {"binance_perp": ALL, "bybit_perp": ALL, "okx_perp": ["index", "mark"]}
    assert counts == [
        (venue, price, interval, n)
        for venue, prices in venues_prices.items()
        for price in sorted(prices)
        for interval, n in (("1h", 24), ("1m", 1440))
    ]
    told = call(f"{url}{MARK}?symbol=BTCUSDT&interval=1m&startTime={ms(START)}&limit=1440")
    ours = rows(
        emptied,
        "SELECT timestamp_unix, open, high, low, close, sample_count FROM analytics.v_price_bars"
        " WHERE venue = 'binance_perp' AND price_type = 'mark' AND interval = '1m' ORDER BY timestamp",
    )
    assert ours == [(r[0], *map(float, r[1:5]), r[8]) for r in told]
    assert rows(emptied, "SELECT DISTINCT metadata FROM analytics.landing_price_bars") == [("",)]
    said = {c.name: offenders(emptied, c, part, NOW) for c in every_check() if c.dataset is PRICE_BARS}
    assert {name: its for name, its in said.items() if its} == {}
    assert bring(emptied, exchanges, part).rows == 0  # known to the ledger


def test_the_prices_of_a_venue_agree_with_one_another_and_with_its_trades(
    emptied: Client, venues: tuple[str, Exchanges]
) -> None:
    _, exchanges = venues
    part = Rectangle(KEPT, DAY, DAY + dt.timedelta(days=1))
    bring(emptied, exchanges, part)
    refresh(emptied, exchanges, UNIVERSE, part, BARS, run_id="test")
    (apart,) = rows(
        emptied,
        "SELECT max(abs(b.close / p.close - 1)) FROM analytics.v_price_bars AS p INNER JOIN analytics.v_bars AS b"
        " ON p.instrument_id = b.instrument_id AND p.interval = b.interval AND p.timestamp = b.timestamp"
        " WHERE p.price_type != 'premium'",
    )
    assert 0 < apart[0] < 0.002
    (basis,) = rows(
        emptied,
        "SELECT max(abs(m.close / i.close - 1 - 0.9 * p.close)) FROM analytics.v_price_bars AS m"
        " INNER JOIN analytics.v_price_bars AS i USING (instrument_id, interval, timestamp)"
        " INNER JOIN analytics.v_price_bars AS p USING (instrument_id, interval, timestamp)"
        " WHERE m.price_type = 'mark' AND i.price_type = 'index' AND p.price_type = 'premium'",
    )
    assert basis[0] < 1e-5
    assert rows(emptied, "SELECT countIf(open < 0) > 0, countIf(open > 0) > 0 FROM analytics.v_price_bars"
                " WHERE price_type = 'premium'") == [(True, True)]  # fmt: skip
    hours = rows(
        emptied,
        "SELECT countIf(h.high != m.high OR h.low != m.low OR h.close != m.close), count() FROM"
        " (SELECT * FROM analytics.v_price_bars WHERE interval = '1h') AS h INNER JOIN"
        " (SELECT instrument_id, price_type, toStartOfHour(timestamp) AS timestamp, max(high) AS high, min(low) AS low,"
        " argMax(close, v.timestamp) AS close FROM analytics.v_price_bars AS v WHERE interval = '1m' GROUP BY ALL) AS m"
        " ON h.instrument_id = m.instrument_id AND h.price_type = m.price_type AND h.timestamp = m.timestamp",
    )
    assert hours == [(0, 8 * 24)]


@pytest.mark.parametrize("kind", ["short", "empty", "status", "turned", "garbage"])
def test_what_becomes_of_a_page_does_not_become_of_the_rows(
    emptied: Client, venues: tuple[str, Exchanges], kind: str
) -> None:
    url, exchanges = venues
    fault(url, path=MARK, kind=kind, times=1)
    landed = bring(emptied, exchanges)
    assert not landed.failures
    assert rows(emptied, "SELECT count() FROM analytics.v_price_bars") == [(3 * 1464,)]


def test_a_hole_is_a_gap_of_its_own_series_and_is_filled(emptied: Client, venues: tuple[str, Exchanges]) -> None:
    url, exchanges = venues
    gone = {"kind": "without", "since": ms(START + dt.timedelta(hours=5)), "rows": 30}
    fault(url, path=MARK, times=1000, **gone)
    bring(emptied, exchanges)
    judge(emptied, PART, PRICE_BARS, UNIVERSE, now=NOW)
    assert rows(emptied, "SELECT interval, missing, verdict, is_open FROM analytics.v_gaps ORDER BY interval") == [
        ("mark_1h", 1, "venue_outage", True),
        ("mark_1m", 30, "venue_outage", True),
    ]
    told = summary(emptied, PART, PRICE_BARS)
    assert (told["expected"], told["missing"]) == (3 * 1464, 31)
    call(f"{url}/_faults", method="DELETE")
    bring(emptied, exchanges, refetch=True)
    judge(emptied, PART, PRICE_BARS, UNIVERSE, now=NOW + dt.timedelta(hours=1))
    assert rows(emptied, "SELECT count() FROM analytics.v_gaps WHERE is_open") == [(0,)]
    assert summary(emptied, PART, PRICE_BARS)["missing"] == 0


def test_rules_say_which_prices_cannot_be(emptied: Client, venues: tuple[str, Exchanges]) -> None:
    url, exchanges = venues
    for path, kind in ((MARK, "zero"), ("/fapi/v1/premiumIndexKlines", "zero"), ("/fapi/v1/indexPriceKlines", "null")):
        fault(url, path=path, kind=kind, times=1, rows=2)
    bring(emptied, exchanges)
    assert rows(
        emptied,
        "SELECT substringIndex(interval, '_', 1) AS price, rule, count() FROM analytics.rejected_rows FINAL"
        " GROUP BY ALL ORDER BY price",
    ) == [("index", "required_columns_are_not_null", 2), ("mark", "prices_are_positive", 2)]
    assert rows(
        emptied, "SELECT count() FROM analytics.v_price_bars WHERE price_type = 'premium' AND open = 0 AND close = 0"
    ) == [(2,)]
    assert found(emptied, "no_rows_are_rejected")


def test_a_mark_price_far_from_the_trades_is_told(emptied: Client, venues: tuple[str, Exchanges]) -> None:
    url, exchanges = venues
    refresh(emptied, exchanges, UNIVERSE, PART, BARS, run_id="test")
    fault(url, path=MARK, kind="other", times=100, value=1.2)
    bring(emptied, exchanges)
    hours, minutes = found(emptied, "trades_stay_near_the_price")
    assert (hours["interval"], hours["rows"]) == ("mark_1h", 24)
    assert (minutes["interval"], minutes["rows"]) == ("mark_1m", 1440)
    assert "the last trade is up to 20" in minutes["what"]
    assert "% from the mark price, at 2025-06-02" in minutes["what"]


LAND = "INSERT INTO analytics.landing_price_bars SELECT * REPLACE ({}) FROM analytics.landing_price_bars "
PUBLISH = "INSERT INTO analytics.price_bars SELECT * REPLACE ({}) FROM analytics.price_bars "
ONE = "WHERE interval = 'mark_1m' AND timestamp = '2025-06-02 05:00:00' LIMIT 1"
# What to do to sound data so that the rule of this name has something to say.
BREAKS = {
    "rows_are_inside_the_day": LAND.format("timestamp - INTERVAL 8 HOUR AS timestamp")
    + ONE.replace("2025-06-02 05", "2025-06-01 21"),
    "landing_is_accounted_for": LAND.format("close * 1.001 AS close, high * 1.1 AS high, now64(3) AS ingested_at")
    + ONE,
    "answers_do_not_contradict": LAND.format("close * 1.001 AS close, high * 1.1 AS high") + ONE,
    "key_is_unique": "",
    "ohlc_is_sane": PUBLISH.format("low / 2 AS high, version + 1 AS version") + ONE,
    "prices_are_positive": PUBLISH.format("0 AS low, version + 1 AS version") + ONE,
    "required_columns_are_not_null": PUBLISH.format("'' AS source, version + 1 AS version") + ONE,
    "minutes_are_complete": "ALTER TABLE analytics.price_bars DELETE WHERE interval = 'mark_1m'"
    " AND timestamp = '2025-06-02 05:00:00' SETTINGS mutations_sync = 2",
    "bars_are_on_the_grid": PUBLISH.format("timestamp + INTERVAL 7 SECOND AS timestamp")
    + ONE.replace("05:00:00", "05:00:07"),
    "nothing_from_the_future": PUBLISH.format("timestamp + INTERVAL 9 SECOND AS ingested_at, version + 1 AS version")
    + ONE,
}


def test_a_rule_fires_on_a_row_made_to_break_it(emptied: Client, venues: tuple[str, Exchanges]) -> None:
    _, exchanges = venues
    elsewhere = {"archives_agree", "freshness_per_instrument", "no_rows_are_rejected", "trades_stay_near_the_price"}
    assert {c.name for c in every_check() if c.dataset is PRICE_BARS} == set(BREAKS) | elsewhere
    for name, statement in BREAKS.items():
        if not statement:  # of the view, whose key no statement of ours can break
            continue
        bring(emptied, exchanges)
        emptied.command(statement)
        assert sum(row["rows"] for row in found(emptied, name)) == 1, name
        empty(emptied)


def test_readers_give_prices_as_they_give_bars(emptied: Client, venues: tuple[str, Exchanges]) -> None:
    url, exchanges = venues
    bring(emptied, exchanges)
    judge(emptied, PART, PRICE_BARS, UNIVERSE, now=NOW)
    research = Research(emptied, UNIVERSE)
    args = (BINANCE.key, "1h", START, END)
    mark = research.bars(*args, price="mark", require_complete=True)
    assert (list(mark.columns), len(mark)) == (["open", "high", "low", "close", "source"], 24)
    assert research.verify(mark)
    premium = research.bars(*args, price="premium", columns=["close", "sample_count"])
    assert premium["sample_count"].tolist() == [3600] * 24
    assert premium["close"].abs().max() < 0.001
    research.pin("prices", BINANCE.key, "1h", START, END, "price_bars")
    before = dt.datetime.now(dt.UTC)
    fault(url, path=MARK, kind="other", times=10, value=1.0001)
    bring(emptied, exchanges, refetch=True)
    revised = research.bars(*args, price="mark")
    assert not revised["close"].equals(mark["close"])
    assert research.bars(*args, price="mark", snapshot="prices").equals(mark)
    assert research.bars(*args, price="mark", as_of=before)["close"].equals(mark["close"])
    assert research.verify("prices")
    changed = research.diff("prices")
    assert set(changed["interval"]) == {"mark_1h"}
    assert set(changed["column"]) == {"open", "high", "low", "close"}
    with pytest.raises(BadInput, match="price 'last': use one of 'trade', 'mark'"):
        research.bars(*args, price="last")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="okx_perp has none"):
        research.bars(OKX.key, "1h", START, END, price="premium")
    with pytest.raises(BadInput, match="interval 'mark_5m' is not kept here"):
        research.bars(BINANCE.key, "5m", START, END, price="mark")


def test_the_live_tail_keeps_them(emptied: Client, venues: tuple[str, Exchanges], tmp_path: Path) -> None:
    _, exchanges = venues
    only = Universe.model_validate(
        {
            "history_start": dt.date(2025, 1, 1),
            "intervals": ["1m"],
            "venues": {"bybit_perp": {"instruments": [{"symbol": "BTC/USDT", "price_bars": ["mark"]}]}},
        }
    )
    assert all(
        not t.failed and not t.unreachable
        for t in tail(emptied, exchanges, only, run_id="test", lock=lambda dataset: nullcontext())
    )
    assert rows(emptied, "SELECT price_type, count(), max(timestamp) FROM analytics.v_price_bars GROUP BY ALL") == [
        ("mark", 1440 + 29, NOW.replace(tzinfo=None) - dt.timedelta(minutes=2))
    ]


def test_the_universe_says_which_prices(tmp_path: Path) -> None:
    def faults(line: str) -> str:
        file = tmp_path / "universe.yaml"
        file.write_text(f"history_start: 2024-01-01\nintervals: [1m]\nvenues:\n{line}\n")
        with pytest.raises(BadInput) as told:
            load_universe(file)
        return str(told.value)

    perp = "  okx_perp:\n    instruments: [{symbol: BTC/USDT, price_bars: [%s]}]"
    assert "price_bars: premium: of okx_perp we know none; remove it" in faults(perp % "premium")
    assert "those of binance_perp, bybit_perp" in faults(perp % "premium")
    assert "named twice" in faults(perp % "mark, mark")
    assert "'mark', 'index' or 'premium'" in faults(perp % "last")
    spot = "  okx_spot:\n    instruments: [{symbol: BTC/USDT, price_bars: [mark]}]"
    assert "of okx_spot we know none" in faults(spot)


def test_recorded_mark_prices_arrive_value_for_value(
    emptied: Client, recorded: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (file,) = (recorded / "market-data/mark_klines/bybit_linear/BTCUSDT/1h").glob("*.parquet")
    table = pq.read_table(file)
    universe = Universe.model_validate(
        {
            "history_start": dt.date(2025, 9, 1),
            "intervals": ["1h"],
            "venues": {"bybit_perp": {"instruments": [{"symbol": "BTC/USDT", "price_bars": ["mark"]}]}},
        }
    )
    now = dt.datetime(2026, 7, 21, 17, 0, 30, tzinfo=dt.UTC)
    part = Rectangle(universe.instruments, dt.date(2025, 9, 24), dt.date(2026, 7, 22))
    with sandbox.start(now=now, recordings=recorded / "market-data", budget_scale=LIFTED) as url:
        exchanges = lifted(url, tmp_path_factory.mktemp("governor") / "governor.sqlite3")
        for dataset in (PRICE_BARS, BARS):
            assert not refresh(emptied, exchanges, universe, part, dataset, run_id="test").failures
    ours = rows(emptied, "SELECT timestamp_unix, open, high, low, close FROM analytics.v_price_bars ORDER BY timestamp")
    names = ("open_time", "open", "high", "low", "close")
    assert ours == [(row[0], *map(float, row[1:])) for row in zip(*(table[n].to_pylist() for n in names), strict=True)]
    checks = [c for c in every_check() if c.dataset is PRICE_BARS]
    assert {c.name: its for c in checks if (its := offenders(emptied, c, part, now))} == {}
