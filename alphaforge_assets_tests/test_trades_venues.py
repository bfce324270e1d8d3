"""Trades of every venue, each as it can be asked, from the sandbox into v_trades and held against its bars."""

import datetime as dt
import json
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from alphaforge_assets.datasets.bars import BARS
from alphaforge_assets.datasets.trades import TRADES
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.pipeline import trail
from alphaforge_assets.pipeline.landing import Landed
from alphaforge_assets.pipeline.mart import publish
from alphaforge_assets.pipeline.staging import stage
from alphaforge_assets.quality.checks import every_check, offenders
from alphaforge_assets.refresh import refresh
from alphaforge_assets.sandbox import process as sandbox
from alphaforge_assets.universe import Instrument, Universe
from alphaforge_assets.upkeep.healing import due, note_attempt
from alphaforge_assets.upkeep.tail import tail
from alphaforge_assets.venues.directory import Exchanges
from alphaforge_assets_tests.conftest import LIFTED, empty, lifted
from alphaforge_assets_tests.installed import call, fault

NOW = dt.datetime(2025, 6, 2, 1, 40, tzinfo=dt.UTC)
CLOSED = dt.datetime(2025, 6, 2, 1, 39, tzinfo=dt.UTC)
DAY = dt.date(2025, 6, 2)
LISTED = {
    "coinbase_spot": "ETH/BTC",
    "kraken_spot": "ETH/BTC",
    "okx_spot": "ETH/BTC",
    "okx_perp": "XRP/USDT",
    "bybit_spot": "ETH/BTC",
    "bybit_perp": "XRP/USDT",
}
UNIVERSE = Universe.model_validate(
    {
        "history_start": dt.date(2025, 1, 1),
        "intervals": ["1m"],
        "venues": {v: {"instruments": [{"symbol": s, "trades": True}]} for v, s in LISTED.items()},
    }
)
OF = {i.venue: i for i in UNIVERSE.instruments}
PATHS = {
    "coinbase_spot": "/products/{id}/trades",
    "kraken_spot": "/0/public/Trades",
    "okx_spot": "/api/v5/market/history-trades",
}


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Exchanges]]:
    """One sandbox for all: what it serves is made from ids counted since January."""
    with sandbox.start(now=NOW, budget_scale=LIFTED) as url:
        yield url, lifted(url, tmp_path_factory.mktemp("governor") / "governor.sqlite3")


@pytest.fixture
def venues(serving: tuple[str, Exchanges]) -> Iterator[tuple[str, Exchanges]]:
    """At NOW, without faults."""
    yield serving
    call(f"{serving[0]}/_faults", method="DELETE")
    call(f"{serving[0]}/_clock", json.dumps({"now": NOW.isoformat()}).encode())


def part_of(instrument: Instrument) -> Rectangle:
    return Rectangle((instrument,), DAY, DAY + dt.timedelta(days=1))


def bring(client: Client, exchanges: Exchanges, instrument: Instrument, **more: Any) -> Landed:
    since = dt.datetime(2025, 6, 2, 1, 10, tzinfo=dt.UTC)  # half an hour: an instrument of perpetuals is busy
    return refresh(client, exchanges, UNIVERSE, part_of(instrument), TRADES, run_id="test", since=since, **more)


def rows(client: Client, query: str) -> list[tuple[Any, ...]]:
    return list(client.query(query, tz_mode="aware").result_rows)


def published(client: Client) -> list[tuple[Any, ...]]:
    columns = "trade_id, trade_uuid, side, price, quantity, contract_quantity, timestamp_unix, metadata"
    return rows(client, f"SELECT {columns} FROM analytics.v_trades ORDER BY timestamp, trade_id")


def failing(client: Client, instrument: Instrument) -> dict[str, list[Any]]:
    found = {c.name: offenders(client, c, part_of(instrument), NOW) for c in every_check() if c.dataset is TRADES}
    return {name: its for name, its in found.items() if its}


@pytest.mark.parametrize("venue", ["coinbase_spot", "kraken_spot", "okx_spot", "okx_perp"])
def test_where_ids_count_every_trade_arrives_once_and_makes_the_bars(
    venue: str, emptied: Client, venues: tuple[str, Exchanges]
) -> None:
    _, exchanges = venues
    its = OF[venue]
    refresh(emptied, exchanges, UNIVERSE, part_of(its), BARS, run_id="bars")
    assert bring(emptied, exchanges, its).failures == []
    assert bring(emptied, exchanges, its).cost.requests == 0
    ids = [row[0] for row in published(emptied)]
    assert sorted(ids) == list(range(min(ids), max(ids) + 1))
    assert failing(emptied, its) == {}
    assert volumes(emptied) == 0
    ((missing, completeness),) = rows(emptied, COVERED)
    assert (missing, completeness) == (0, 100)


COVERED = "SELECT missing, round(completeness, 6) FROM analytics.coverage FINAL WHERE dataset = 'trades'"


def volumes(client: Client, since: str = "2025-06-02 01:10:00") -> int:
    """Minutes from a moment on whose trades do not add up to the bar's volume."""
    query = """
        SELECT countIf(abs(b.volume - t.volume) > 1e-9 * b.volume), count() FROM analytics.v_bars AS b
        LEFT JOIN
        (
            SELECT toStartOfMinute(timestamp) AS minute, sum(quantity) AS volume FROM analytics.v_trades GROUP BY minute
        ) AS t ON b.timestamp = t.minute
        WHERE b.interval = '1m' AND b.timestamp >= {since:String} AND b.timestamp < '2025-06-02 01:39:00'
    """
    ((differing, compared),) = client.query(query, parameters={"since": since}).result_rows
    assert compared > 0
    return int(differing)


@pytest.mark.parametrize("venue", ["bybit_spot", "bybit_perp"])
def test_where_trades_are_named_the_newest_come_and_bars_say_how_many_are_there(
    venue: str, emptied: Client, venues: tuple[str, Exchanges]
) -> None:
    _, exchanges = venues
    its = OF[venue]
    refresh(emptied, exchanges, UNIVERSE, part_of(its), BARS, run_id="bars")
    landed = bring(emptied, exchanges, its)
    assert (landed.failures, landed.cost.requests) == ([], 1)
    told = published(emptied)
    assert 0 < len(told) < (60 if venue == "bybit_spot" else 1000)
    assert all((row[1] == str(row[0])) == (venue == "bybit_spot") for row in told)
    windows = rows(
        emptied,
        "SELECT status, min(window_start), max(window_end) FROM analytics.ingest_batches WHERE dataset = 'trades'"
        " GROUP BY status ORDER BY status",
    )
    (complete, unserved) = windows
    assert (complete[0], complete[2], unserved[0]) == ("complete", CLOSED, "unserved")
    assert unserved[1] == dt.datetime(2025, 6, 2, 1, 10, tzinfo=dt.UTC)
    assert unserved[2] == complete[1]
    assert failing(emptied, its) == {}
    whole = (complete[1] + dt.timedelta(minutes=1)).replace(second=0, microsecond=0)
    assert volumes(emptied, whole.strftime("%F %T")) == 0
    gaps = rows(
        emptied, "SELECT verdict, gap_start, gap_end, missing, evidence FROM analytics.v_gaps WHERE dataset = 'trades'"
    )
    lost = "no source of the venue served it any more when it was wanted"
    assert gaps == [("retention_lost", unserved[1], unserved[2], 0, lost)]
    ((_, completeness),) = rows(emptied, COVERED)
    assert 0 < completeness < 20  # of a hundred minutes some
    again = bring(emptied, exchanges, its)
    assert (again.failures, again.rows, published(emptied)) == ([], 0, told)
    assert due(emptied, TRADES, UNIVERSE, NOW + dt.timedelta(days=600)) == []


def test_a_page_of_named_trades_that_lost_some_is_seen_by_the_bars(
    emptied: Client, venues: tuple[str, Exchanges]
) -> None:
    url, exchanges = venues
    its = OF["bybit_perp"]
    refresh(emptied, exchanges, UNIVERSE, part_of(its), BARS, run_id="bars")
    fault(url, path="/v5/market/recent-trade", kind="holes", start=500, rows=5)
    bring(emptied, exchanges, its)
    found = failing(emptied, its)
    assert set(found) == {"trades_rebuild_bars"}
    assert "volume" in found["trades_rebuild_bars"][0]["what"]
    bring(emptied, exchanges, its, refetch=True)
    assert failing(emptied, its) == {}
    before = published(emptied)
    for order in ({"kind": "turned"}, {"kind": "double", "value": 1, "start": 300, "rows": 90}):
        fault(url, path="/v5/market/recent-trade", **order)
        assert bring(emptied, exchanges, its, refetch=True).failures == []
    assert published(emptied) == before
    fault(url, path="/v5/market/recent-trade", kind="double", value=1.5, start=500, rows=1)
    bring(emptied, exchanges, its, refetch=True)
    assert published(emptied) == before
    (contradiction,) = failing(emptied, its)["trades_do_not_contradict"]
    assert " and " in contradiction["what"]


@pytest.mark.parametrize("venue", PATHS)
def test_what_a_venue_keeps_for_itself_is_a_gap_that_healing_fills(
    venue: str, emptied: Client, venues: tuple[str, Exchanges]
) -> None:
    url, exchanges = venues
    its, since = OF[venue], dt.datetime(2025, 6, 2, 1, 20, tzinfo=dt.UTC)
    fault(url, path=PATHS[venue], kind="without", since=int(since.timestamp() * 1000), rows=2, times=10_000)
    assert bring(emptied, exchanges, its).failures == []
    (hole,) = failing(emptied, its)["trade_ids_are_continuous"]
    gaps = "SELECT verdict, missing FROM analytics.v_gaps WHERE dataset = 'trades' AND is_open"
    assert rows(emptied, gaps) == [("unknown", hole["rows"])]
    call(f"{url}/_faults", method="DELETE")
    later = NOW + dt.timedelta(days=600)
    (part,) = due(emptied, TRADES, UNIVERSE, later)
    note_attempt(emptied, TRADES, part, later)
    refresh(emptied, exchanges, UNIVERSE, part, TRADES, run_id="heal", refetch=True, only_gaps=True)
    assert failing(emptied, its) == {}
    assert rows(emptied, gaps) == []


def test_the_tail_keeps_all_of_them(emptied: Client, venues: tuple[str, Exchanges]) -> None:
    url, exchanges = venues
    universe = UNIVERSE.model_copy(update={"intervals": ("1h",)})
    for run, minutes in (("cold", 0), ("warm", 6)):
        moment = NOW + dt.timedelta(minutes=minutes)
        call(f"{url}/_clock", json.dumps({"now": moment.isoformat()}).encode())
        for its in tail(emptied, exchanges, universe, run_id=run, lock=lambda dataset: nullcontext()):
            assert (its.unreachable, its.failed) == ("", {})
    spans = rows(
        emptied,
        "SELECT venue, min(window_start), max(window_end), uniqExact(window_end) FROM analytics.ingest_batches"
        " WHERE dataset = 'trades' AND status = 'complete' GROUP BY venue ORDER BY venue",
    )
    end = CLOSED + dt.timedelta(minutes=6)
    assert [span[0] for span in spans] == sorted(LISTED)
    whole = [span for span in spans if not span[0].startswith("bybit")]  # whose newest trades reach back as they may
    assert {(span[1], span[2]) for span in whole} == {(NOW - dt.timedelta(minutes=90), end)}
    counted = rows(
        emptied,
        "SELECT venue, max(trade_id) - min(trade_id) + 1 = count() FROM analytics.v_trades WHERE trade_uuid = ''"
        " GROUP BY venue ORDER BY venue",
    )
    assert counted == [(v, True) for v in sorted(LISTED) if not v.startswith("bybit")]


@pytest.mark.parametrize("venue", ["coinbase_spot", "kraken_spot", "okx_perp", "bybit_perp"])
def test_the_raw_trail_of_each_gives_the_same(
    venue: str, emptied: Client, venues: tuple[str, Exchanges], tmp_path: Path
) -> None:
    _, exchanges = venues
    kept, its = replace(exchanges, trail=tmp_path / "raw"), OF[venue]
    assert bring(emptied, kept, its).failures == []
    told, files = published(emptied), trail.files(tmp_path / "raw", [])
    assert len(told) > 100
    empty(emptied)
    trail.replay(emptied, files, exchanges, run_id="again")
    stage(emptied, part_of(its), TRADES, [""])
    publish(emptied, part_of(its), TRADES, [""])
    assert published(emptied) == told
