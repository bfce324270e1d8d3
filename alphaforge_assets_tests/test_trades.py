"""Trades from the sandbox into v_trades: all of them once, whatever becomes of a page; holes are counted and healed."""

import datetime as dt
import json
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from alphaforge_assets import failpoints
from alphaforge_assets.datasets.bars import BARS
from alphaforge_assets.datasets.trades import TRADES
from alphaforge_assets.errors import BadInput, Transient
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.pipeline import trail
from alphaforge_assets.pipeline.landing import Landed
from alphaforge_assets.pipeline.mart import publish
from alphaforge_assets.pipeline.staging import stage
from alphaforge_assets.quality.checks import every_check, offenders
from alphaforge_assets.quality.coverage import judge, missing_by_verdict
from alphaforge_assets.refresh import refresh
from alphaforge_assets.sandbox import process as sandbox
from alphaforge_assets.universe import Universe, load_universe
from alphaforge_assets.upkeep.healing import due, note_attempt
from alphaforge_assets.upkeep.tail import tail
from alphaforge_assets.venues.directory import Exchanges
from alphaforge_assets_tests.conftest import LIFTED, empty, lifted
from alphaforge_assets_tests.installed import call, fault

NOW = dt.datetime(2025, 6, 2, 0, 55, tzinfo=dt.UTC)  # one window, of a few pages
LATER = dt.datetime(2025, 6, 2, 2, 30, tzinfo=dt.UTC)  # three of them, asked for at once
DAY = dt.date(2025, 6, 2)
UNIVERSE = Universe.model_validate(
    {
        "history_start": dt.date(2025, 1, 1),
        "intervals": ["1m"],
        "venues": {
            "binance_spot": {"instruments": [{"symbol": "ETH/BTC", "trades": True}, {"symbol": "BTC/USDT"}]},
            "binance_perp": {"instruments": [{"symbol": "BNB/USDT", "trades": True}]},
        },
    }
)
SPOT, _, PERP = UNIVERSE.instruments
PART = Rectangle((SPOT,), DAY, DAY + dt.timedelta(days=1))
PATH = "/api/v3/aggTrades"


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


@pytest.fixture
def later(venues: tuple[str, Exchanges]) -> Iterator[tuple[str, Exchanges]]:
    """At LATER."""
    url, _ = venues
    for moment in (LATER, NOW):
        call(f"{url}/_clock", json.dumps({"now": moment.isoformat()}).encode())
        if moment == LATER:
            yield venues


def bring(client: Client, exchanges: Exchanges, part: Rectangle = PART, **more: Any) -> Landed:
    # Files are chosen by our clock, and the sandbox's stands in 2025: they are another test's.
    return refresh(client, exchanges, UNIVERSE, part, TRADES, run_id="test", wish="rest", **more)


def told(url: str, start: dt.datetime, end: dt.datetime, symbol: str = "ETHBTC") -> list[dict[str, Any]]:
    """What the venue has, read page by page without our client."""
    rows: list[dict[str, Any]] = []
    (first,) = call(f"{url}{PATH}?symbol={symbol}&startTime={ms(start)}&endTime={ms(end)}&limit=1")
    at = first["a"]
    while True:
        page = call(f"{url}{PATH}?symbol={symbol}&fromId={at}&limit=1000")
        rows += [row for row in page if row["T"] < ms(end)]
        if not page or page[-1]["T"] >= ms(end):
            return rows
        at = page[-1]["a"] + 1


def ms(moment: dt.datetime) -> int:
    return int(moment.timestamp() * 1000)


def published(
    client: Client, columns: str = "trade_id, side, price, quantity, timestamp_unix"
) -> list[tuple[Any, ...]]:
    return list(client.query(f"SELECT {columns} FROM analytics.v_trades ORDER BY trade_id").result_rows)


def as_rows(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """A venue's rows as ours: buyer the maker means that the taker sold."""
    return [
        (r["a"], "sell" if r["m"] else "buy", float(r["p"]), float(r["q"]), r["T"] * 1000)
        for r in sorted(rows, key=lambda r: r["a"])
    ]


def found(client: Client, name: str, part: Rectangle = PART) -> list[dict[str, Any]]:
    (check,) = [c for c in every_check() if c.dataset is TRADES and c.name == name]
    return offenders(client, check, part, NOW)


def verdicts(client: Client) -> list[tuple[str, int, int]]:
    return [(r["verdict"], r["gaps"], r["missing"]) for r in missing_by_verdict(client, PART, TRADES)]


START, CLOSED = dt.datetime(2025, 6, 2, tzinfo=dt.UTC), dt.datetime(2025, 6, 2, 0, 54, tzinfo=dt.UTC)
LATER_CLOSED = dt.datetime(2025, 6, 2, 2, 29, tzinfo=dt.UTC)


def test_every_trade_arrives_once_and_makes_the_bars(emptied: Client, later: tuple[str, Exchanges]) -> None:
    url, exchanges = later
    both = Rectangle((SPOT, PERP), PART.start, PART.end)
    refresh(emptied, exchanges, UNIVERSE, both, BARS, run_id="bars")
    landed = bring(emptied, exchanges, both)
    again = bring(emptied, exchanges, both)
    assert landed.failures == again.failures == []
    assert (again.rows, again.cost.requests) == (0, 0)
    spot = [row[:-1] for row in published(emptied, "trade_id, side, price, quantity, timestamp_unix, exchange")
            if row[-1] == "binance_spot"]  # fmt: skip
    assert spot == as_rows(told(url, START, LATER_CLOSED))
    ledger = emptied.query(
        "SELECT first_id, last_id, row_count FROM analytics.ingest_batches WHERE dataset = 'trades'"
        " AND venue = 'binance_spot' ORDER BY window_start"
    ).result_rows
    assert [last - first + 1 for first, last, _ in ledger] == [count for *_, count in ledger]
    assert [a[1] + 1 for a in ledger[:-1]] == [b[0] for b in ledger[1:]]
    assert len(ledger) == 3
    for check in every_check():
        if check.dataset is TRADES:
            assert offenders(emptied, check, both, LATER) == [], check.name
    row = emptied.query(
        "SELECT min(quote_quantity - price * quantity), any(trade_kind), any(source), count(), uniqExact(trade_ts)"
        " FROM analytics.v_trades WHERE symbol = 'BNB/USDT'"
    ).result_rows[0]
    assert row[:3] == (0.0, "aggregate", "rest")
    assert row[3] > row[4] > 0  # some trades share a millisecond
    covered = emptied.query(
        "SELECT venue, expected = present, missing, score FROM analytics.v_coverage WHERE dataset = 'trades' ORDER BY 1"
    ).result_rows
    assert covered == [("binance_perp", True, 0, 100.0), ("binance_spot", True, 0, 100.0)]


@pytest.mark.parametrize(
    "order",
    [
        pytest.param({"kind": "holes", "start": 3, "rows": 40}, id="trades lost in a page"),
        pytest.param({"kind": "elsewhere", "value": 700}, id="a page lost"),
        pytest.param({"kind": "elsewhere", "value": -700}, id="a page told again"),
        pytest.param({"kind": "turned"}, id="a page out of order"),
        pytest.param({"kind": "double", "value": 1, "start": 5, "rows": 200}, id="trades doubled"),
    ],
)
def test_what_becomes_of_a_page_loses_and_doubles_nothing(
    order: dict[str, Any], emptied: Client, venues: tuple[str, Exchanges]
) -> None:
    url, exchanges = venues
    fault(url, path=PATH, skip=2, **order)
    assert bring(emptied, exchanges).failures == []
    assert published(emptied) == as_rows(told(url, START, CLOSED))
    assert found(emptied, "trade_ids_are_continuous") == []
    assert found(emptied, "trades_do_not_contradict") == []


def test_a_trade_told_with_two_values_is_asked_for_alone_and_reported(
    emptied: Client, venues: tuple[str, Exchanges]
) -> None:
    url, exchanges = venues
    fault(url, path=PATH, skip=1, kind="double", value=1.5, start=10, rows=2)
    assert bring(emptied, exchanges).failures == []
    assert published(emptied) == as_rows(told(url, START, CLOSED))
    told_twice = found(emptied, "trades_do_not_contradict")
    assert len(told_twice) == 2
    assert " and " in told_twice[0]["what"]
    assert told_twice[0]["rows"] == 3  # as told, as doubled, and as told when it was asked for alone


def test_a_value_that_differs_later_is_kept_in_landing_and_never_published(
    emptied: Client, venues: tuple[str, Exchanges]
) -> None:
    url, exchanges = venues
    bring(emptied, exchanges)
    before = published(emptied)
    fault(url, path=PATH, kind="other", value=2, times=1000)
    assert bring(emptied, exchanges, refetch=True).failures == []
    assert published(emptied) == before
    assert len(found(emptied, "trades_do_not_contradict")) == len(before)
    assert found(emptied, "landing_is_accounted_for") == []


def test_what_the_venue_keeps_for_itself_is_a_gap_that_healing_fills(
    emptied: Client, venues: tuple[str, Exchanges]
) -> None:
    url, exchanges = venues
    lost = [row for row in told(url, START, CLOSED) if ms(START) + 2_400_000 <= row["T"] < ms(START) + 2_520_000]
    fault(url, path=PATH, kind="without", since=ms(START) + 2_400_000, rows=2, times=10_000)
    assert bring(emptied, exchanges).failures == []
    (hole,) = found(emptied, "trade_ids_are_continuous")
    assert hole["rows"] == len(lost)
    assert hole["what"] == f"aggregate ids {lost[0]['a']} to {lost[-1]['a']}"
    assert verdicts(emptied) == [("unknown", 1, len(lost))]
    covered = emptied.query("SELECT present, missing, score < 100 FROM analytics.v_coverage WHERE dataset = 'trades'")
    assert covered.result_rows == [(len(published(emptied)), len(lost), True)]
    (part,) = due(emptied, TRADES, UNIVERSE, NOW + dt.timedelta(days=600))
    note_attempt(emptied, TRADES, part, NOW + dt.timedelta(days=600))
    call(f"{url}/_faults", method="DELETE")
    healed = bring(emptied, exchanges, part, refetch=True, only_gaps=True)
    assert healed.failures == []
    assert healed.cost.requests <= 3
    assert len(lost) < healed.rows < len(lost) + 200
    assert published(emptied) == as_rows(told(url, START, CLOSED))
    assert found(emptied, "trade_ids_are_continuous") == []
    assert verdicts(emptied) == []
    assert due(emptied, TRADES, UNIVERSE, NOW + dt.timedelta(days=600)) == []


def test_an_hour_that_fails_is_missed_and_counted_once_its_neighbours_are_there(
    emptied: Client, later: tuple[str, Exchanges]
) -> None:
    url, exchanges = later
    hour = ms(START) + 3_600_000
    fault(url, path=PATH, kind="status", status=400, body='{"code":-1121,"msg":"Invalid symbol."}', skip=1, times=1)
    landed = bring(emptied, exchanges)
    assert len(landed.failures) == 1
    judge(emptied, PART, TRADES, UNIVERSE)
    ((verdict, gaps, missing),) = verdicts(emptied)
    failed = landed.failures[0].window
    between = [r for r in told(url, START, LATER_CLOSED) if ms(failed.start) <= r["T"] < ms(failed.end)]
    assert (verdict, gaps) == ("we_missed", 1)
    assert missing == (len(between) if ms(failed.start) == hour else 0)
    assert bring(emptied, exchanges).failures == []
    assert verdicts(emptied) == []
    assert published(emptied) == as_rows(told(url, START, LATER_CLOSED))


def test_what_breaks_a_rule_is_rejected_and_no_hole(emptied: Client, venues: tuple[str, Exchanges]) -> None:
    url, exchanges = venues
    fault(url, path=PATH, kind="zero", start=20, rows=3, skip=1, times=1)
    assert bring(emptied, exchanges).failures == []
    rejected = emptied.query("SELECT rule, count() FROM analytics.rejected_rows FINAL GROUP BY rule ORDER BY rule")
    assert rejected.result_rows == [("price_is_positive", 3)]
    assert found(emptied, "landing_is_accounted_for") == []
    assert found(emptied, "trade_ids_are_continuous") == []
    covered = emptied.query("SELECT expected - present, missing, rejected FROM analytics.v_coverage").result_rows
    assert covered == [(3, 3, 3)]


def test_futures_older_than_two_days_are_known_to_be_lost(emptied: Client, venues: tuple[str, Exchanges]) -> None:
    _, exchanges = venues
    old = Rectangle((PERP,), DAY - dt.timedelta(days=4), DAY - dt.timedelta(days=2))
    landed = bring(emptied, exchanges, old)
    assert (landed.rows, landed.gone, landed.cost.requests) == (0, [], 0)
    assert {failure.error for failure in landed.failures} == {
        "VenueUnavailable: no source of the kind 'rest' has it: ask 'best'"
    }
    asked = [failure.window for failure in landed.failures]
    assert (min(asked).start, max(asked).end) == (old.start_time, old.end_time)
    gaps = emptied.query("SELECT verdict, toString(gap_start), missing FROM analytics.v_gaps").result_rows
    assert gaps == [("we_missed", "2025-05-29 00:00:00.000", 0)]  # REST was to be asked: files have it


def test_one_kind_of_an_instrument_is_published(emptied: Client, venues: tuple[str, Exchanges]) -> None:
    _, exchanges = venues
    bring(emptied, exchanges)
    before = published(emptied)
    emptied.command(
        "INSERT INTO analytics.landing_trades (venue, symbol, timestamp, trade_kind, trade_id, trade_uuid, first_id,"
        " last_id, side, price, quantity, quote_quantity, metadata, source, batch_id, ingested_at)"
        " SELECT venue, symbol, timestamp, 'single', first_id, '', first_id, first_id, side, price, quantity,"
        " NULL, '', 'archive', batch_id, ingested_at FROM analytics.landing_trades"
    )
    bring(emptied, exchanges)
    assert published(emptied) == before
    assert found(emptied, "landing_is_accounted_for") == []


POINTS = ("landing.before", "landing.after", "ledger.after", "staging.between", "publish.between", "judge.before")


@pytest.mark.parametrize("point", POINTS)
def test_a_run_that_dies_anywhere_is_made_up_for_by_the_next(
    point: str, emptied: Client, venues: tuple[str, Exchanges]
) -> None:
    url, exchanges = venues
    failpoints.arm(f"{point}=raise", is_sandbox=True)
    try:
        with pytest.raises(Transient):
            bring(emptied, exchanges)
    finally:
        failpoints.arm("", is_sandbox=True)
    assert bring(emptied, exchanges).failures == []
    true = as_rows(told(url, START, CLOSED))
    assert published(emptied) == true
    tables = ("landing_trades", "staging_trades", "trades")
    counts = [emptied.query("SELECT count() FROM analytics." + table).result_rows[0][0] for table in tables]
    assert counts == [len(true)] * 3
    for check in every_check():
        if check.dataset is TRADES and check.name != "trades_rebuild_bars":
            assert offenders(emptied, check, PART, NOW) == [], check.name


def test_the_raw_trail_replayed_into_an_empty_warehouse_gives_the_same(
    emptied: Client, venues: tuple[str, Exchanges], tmp_path: Path
) -> None:
    url, exchanges = venues
    root = tmp_path / "raw"
    kept = replace(exchanges, trail=root)
    fault(url, path=PATH, skip=1, kind="double", value=1.5, start=10, rows=1)  # asked for alone: a file of its own
    fault(url, path=PATH, skip=2, kind="turned")
    assert bring(emptied, kept).failures == []
    files = trail.files(root, [])
    assert len(files) == 2
    assert files[0].parts[-4:-1] == ("binance_spot", "ETH-BTC", "2025-06-02")
    true = published(emptied)
    landed = "SELECT trade_id, count(), sum(price), any(metadata) FROM analytics.landing_trades GROUP BY 1 ORDER BY 1"
    rows = emptied.query(landed).result_rows
    bring(emptied, kept, refetch=True)
    bring(emptied, kept, refetch=True)
    assert len(trail.files(root, [])) == 3  # what was told in order is another answer, and twice it is the same
    empty(emptied)
    done = trail.replay(emptied, files, exchanges, run_id="again")
    assert done.rows == sum(n for _, n, *_ in rows)
    assert {i.key: days for i, days in done.days.items()} == {SPOT.key: (DAY, DAY + dt.timedelta(days=1))}
    stage(emptied, PART, TRADES, [""])
    publish(emptied, PART, TRADES, [""])
    assert published(emptied) == true
    assert emptied.query(landed).result_rows == rows
    assert trail.replay(emptied, files, exchanges, run_id="twice").rows == 0
    assert bring(emptied, exchanges).cost.requests == 0  # the ledger knows what the trail told it
    moved = files[0].parents[2] / "BTC-USDT" / files[0].parent.name / files[0].name
    moved.parent.mkdir(parents=True)
    moved.write_bytes(files[0].read_bytes())
    with pytest.raises(BadInput, match="moved here from elsewhere"):
        trail.replay(emptied, [moved], exchanges, run_id="moved")
    torn = files[0].with_name(f"1-2-3-{'0' * 16}.jsonl.zst")
    torn.write_bytes(files[0].read_bytes()[:-10])
    with pytest.raises(BadInput, match="is not what its name says"):
        trail.replay(emptied, [torn], exchanges, run_id="torn")
    empty(emptied)
    with pytest.raises(BadInput, match="was said by sandbox venues"):
        trail.replay(emptied, files, replace(exchanges, origin="live"), run_id="live")


def test_the_tail_begins_a_while_back_and_goes_on_where_it_ended(
    emptied: Client, venues: tuple[str, Exchanges]
) -> None:
    url, exchanges = venues
    windows = (
        "SELECT toString(min(window_start)), toString(max(window_end)), max(last_id) - min(first_id) + 1,"
        " sum(row_count) FROM analytics.ingest_batches"
        " WHERE dataset = 'trades' AND symbol = 'ETH/BTC' AND run_id = {run:String}"
    )
    universe = Universe.model_validate(
        {
            "history_start": dt.date(2025, 1, 1),
            "intervals": ["1h"],
            "venues": {"binance_spot": {"instruments": [{"symbol": "ETH/BTC", "trades": True}, "SOL/BTC"]}},
        }
    )
    ends = []
    try:
        for run, moment in (("cold", NOW), ("warm", NOW + dt.timedelta(minutes=7)), ("late", LATER)):
            call(f"{url}/_clock", json.dumps({"now": moment.isoformat()}).encode())
            (its,) = tail(emptied, exchanges, universe, run_id=run, lock=lambda dataset: nullcontext())
            assert (its.unreachable, its.failed) == ("", {})
            ((start, end, ids, rows),) = emptied.query(windows, parameters={"run": run}).result_rows
            assert ids == rows
            ends.append((start, end))
        told_all = as_rows(told(url, dt.datetime(2025, 6, 1, 23, 25, tzinfo=dt.UTC), LATER_CLOSED))
    finally:
        call(f"{url}/_clock", json.dumps({"now": NOW.isoformat()}).encode())
    assert [start for start, _ in ends[1:]] == [end for _, end in ends[:-1]]
    assert ends[0] == ("2025-06-01 23:25:00.000", "2025-06-02 00:54:00.000")
    assert ends[2][1] == "2025-06-02 02:29:00.000"
    assert published(emptied) == told_all


def test_trades_are_kept_of_instruments_that_say_so(tmp_path: Path) -> None:
    assert TRADES.instruments(load_universe()) == ()
    assert TRADES.instruments(UNIVERSE) == (SPOT, PERP)
    assert TRADES.chosen(UNIVERSE.instruments) == [SPOT, PERP]
    assert len(TRADES.having(UNIVERSE.instruments)) == 3
    head = "history_start: 2024-01-01\nintervals: [1m]\nvenues:\n"
    for text, said in (
        ("  binance_spot: {instruments: [{symbol: BTC/USDT, trades: 'yes'}]}", "[0].trades: 'yes': input should be a"),
        ("  binance_spot: {instruments: [{symbol: BTC/USDT, trade: true}]}", "unknown field; did you mean trades?"),
        ("  binanceus_spot: {instruments: [{symbol: BTC/USDT, trades: true}]}", "true: of binanceus_spot we know none"),
    ):
        file = tmp_path / "universe.yaml"
        file.write_text(head + text, encoding="utf-8")
        with pytest.raises(BadInput) as error:
            load_universe(file)
        assert said in str(error.value)
        assert str(error.value).startswith(f"{file}:4: ")
