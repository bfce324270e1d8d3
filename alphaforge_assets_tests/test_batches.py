"""The ledger: what is left to ask, and rows that are written once however often they are sent."""

import datetime as dt
import itertools
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import pyarrow as pa
import pytest
from clickhouse_connect.driver.client import Client
from filelock import FileLock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alphaforge_assets.errors import Permanent
from alphaforge_assets.universe import Instrument
from alphaforge_assets.venues.columns import BAR_SCHEMA
from alphaforge_assets.venues.source import Cost
from alphaforge_assets.warehouse import batches, statements
from alphaforge_assets.warehouse.batches import Answer, Failure, append, content_hash, record_failures
from alphaforge_assets.warehouse.origins import refuse_mixing
from alphaforge_assets.warehouse.windows import Window, cut, following, unanswered

START = dt.datetime(2025, 1, 30, tzinfo=dt.UTC)
BTC = Instrument("binance_spot", "BTC/USDT", dt.date(2025, 1, 1))
ETH = Instrument("binance_spot", "ETH/USDT", dt.date(2025, 1, 1))


def hours(first: int, last: int, instrument: Instrument = BTC) -> Window:
    return Window(instrument, "1h", START + dt.timedelta(hours=first), START + dt.timedelta(hours=last))


def answer(window: Window, close: float = 1.5, rows: int | None = None) -> Answer:
    count = int((window.end - window.start).total_seconds() // 3600) if rows is None else rows
    moments = [window.start + dt.timedelta(hours=n) for n in range(count)]
    row = {"open": 1.0, "high": 2.0, "low": 1.0, "close": close, "volume": 3.0, "is_closed": True, "metadata": ""}
    table = pa.Table.from_pylist([{"timestamp": m, **row} for m in moments], BAR_SCHEMA)
    return Answer(window, table, dt.datetime.now(dt.UTC), Cost(1, 2))


def write(
    client: Client,
    *answers: Answer,
    origin: str = "sandbox",
    lock: AbstractContextManager[object] = threading.Lock(),  # noqa: B008 - of all
) -> int:
    return append(client, "bars", answers, origin=origin, source="rest", run_id="test", lock=lock)


def landing(client: Client) -> int:
    return int(client.query("SELECT count() FROM analytics.landing_bars").result_rows[0][0])


spans = st.lists(st.tuples(st.integers(0, 120), st.integers(1, 60)), max_size=8)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=spans, wanted=st.tuples(st.integers(0, 120), st.integers(1, 80)))
def test_what_is_left_is_what_no_answer_covers(
    emptied: Client, asked: list[tuple[int, int]], wanted: tuple[int, int]
) -> None:
    emptied.command("TRUNCATE TABLE analytics.ingest_batches")
    write(
        emptied, *(answer(w, rows=0) for first, length in asked for w in cut([hours(first, first + length)], "month"))
    )
    covered = {h for first, length in asked for h in range(first, first + length)}
    want = range(wanted[0], wanted[0] + wanted[1])
    left = unanswered(emptied, "bars", [hours(want.start, want.stop)])
    found = [int((w.start - START).total_seconds() // 3600) for w in left]
    ends = [int((w.end - START).total_seconds() // 3600) for w in left]
    hours_left = [h for first, last in zip(found, ends, strict=True) for h in range(first, last)]
    assert hours_left == [h for h in want if h not in covered]
    assert all((w.start.month, w.start.year) == ((w.end - dt.timedelta(hours=1)).month, w.start.year) for w in left)


def test_the_same_answer_twice_is_written_once(emptied: Client) -> None:
    first = answer(hours(0, 10))
    assert write(emptied, first) == 10
    write(emptied, first)  # a killed run does it again, with other clock readings
    write(emptied, answer(hours(0, 10)))
    assert landing(emptied) == 10
    assert unanswered(emptied, "bars", [hours(0, 12)]) == [hours(10, 12)]


CLOSES = (1 + n / 1000 for n in itertools.count())
groups = st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=4, unique=True), min_size=2, max_size=6)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(groups)
def test_an_answer_lands_once_whatever_lands_with_it_and_whoever_writes(
    emptied: Client, tmp_path: Path, told: list[list[int]]
) -> None:
    before, close = landing(emptied), next(CLOSES)
    every = [answer(hours(10 * n, 10 * n + 5, (BTC, ETH)[n % 2]), close) for n in range(6)]

    def one(group: Sequence[int]) -> None:
        write(emptied, *(every[n] for n in group), lock=FileLock(tmp_path / "lock"))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one, told))
    assert landing(emptied) - before == 5 * len({n for group in told for n in group})


def test_another_answer_to_the_same_window_is_kept_beside_the_first(emptied: Client) -> None:
    write(emptied, answer(hours(0, 10)))
    write(emptied, answer(hours(0, 10), close=1.6))
    assert landing(emptied) == 20


def test_a_refetch_follows_the_latest_answer_so_going_back_is_a_third_one(emptied: Client) -> None:
    for close in (1.5, 1.6, 1.5):
        (window,) = following(emptied, "bars", [hours(0, 10)])
        write(emptied, answer(window, close=close))
    assert landing(emptied) == 30
    ids = emptied.query("SELECT uniqExact(batch_id) FROM analytics.ingest_batches").result_rows[0][0]
    assert ids == 3


@pytest.mark.parametrize(("rows_max", "inserts"), [(100, [52, 52, 96]), (1000, [96, 104])])
def test_an_insert_stays_within_a_month_and_a_million_rows(
    emptied: Client, monkeypatch: pytest.MonkeyPatch, rows_max: int, inserts: list[int]
) -> None:
    monkeypatch.setattr(batches, "ROWS_PER_INSERT_MAX", rows_max)
    began = emptied.query("SELECT now64(6, 'UTC')").result_rows[0][0]
    windows = cut([hours(0, 100), hours(0, 100, ETH)], "month")
    assert [w.start.month for w in windows] == [1, 1, 2, 2]
    assert write(emptied, *(answer(w) for w in windows)) == 200
    assert landing(emptied) == 200
    emptied.command("SYSTEM FLUSH LOGS")
    parts = emptied.query(
        "SELECT DISTINCT partition FROM system.parts WHERE database = 'analytics' AND table = 'landing_bars'"
    ).result_columns[0]
    assert sorted(parts) == ["202501", "202502"]
    sent = emptied.query(
        "SELECT written_rows FROM system.query_log WHERE type = 'QueryFinish' AND query_kind = 'Insert'"
        " AND has(tables, 'analytics.landing_bars') AND event_time_microseconds >= {began:DateTime64(6, 'UTC')}",
        parameters={"began": began},
    ).result_columns[0]
    # An answer is one insert, whatever its size; several share one as long as they have no more rows than that.
    assert sorted(sent) == inserts


def test_a_failure_is_in_the_ledger_with_its_evidence_and_answers_nothing(emptied: Client) -> None:
    failure = Failure(hours(0, 10), dt.datetime.now(dt.UTC), "VenueUnavailable: no JSON", "<html>maintenance</html>")
    record_failures(emptied, "bars", [failure], origin="sandbox", source="rest", run_id="test")
    row = emptied.query("SELECT status, error, evidence, row_count FROM analytics.ingest_batches").result_rows
    assert row == [("failed", failure.error, failure.evidence, 0)]
    assert unanswered(emptied, "bars", [hours(0, 10)]) == [hours(0, 10)]


def test_an_empty_answer_is_an_answer(emptied: Client) -> None:
    write(emptied, answer(hours(0, 10), rows=0))
    assert landing(emptied) == 0
    assert unanswered(emptied, "bars", [hours(0, 10)]) == []


def test_one_origin_a_warehouse(emptied: Client) -> None:
    refuse_mixing(emptied, "live")
    write(emptied, answer(hours(0, 1)), origin="live")
    refuse_mixing(emptied, "live")
    with pytest.raises(Permanent, match="holds live data and the venues are now sandbox"):
        refuse_mixing(emptied, "sandbox")


def test_a_content_hash_sees_values_only() -> None:
    table = answer(hours(0, 10)).rows
    chunked = pa.concat_tables([table.slice(0, 3), table.slice(3)])
    assert content_hash(chunked) == content_hash(table)
    assert len({content_hash(t) for t in (table, table.slice(0, 9), answer(hours(0, 10), close=1.6).rows)}) == 3
    missing = table.set_column(5, "close", pa.array([None] * 10, pa.float64()))
    zero = table.set_column(5, "close", pa.array([0.0] * 10, pa.float64()))
    assert content_hash(missing) != content_hash(zero)


def test_landing_refuses_a_time_that_cannot_be(emptied: Client) -> None:
    """Milliseconds read as seconds would land in 9999 without a word."""
    with pytest.raises(Exception, match="timestamp_is_plausible"):
        emptied.command(
            "INSERT INTO analytics.landing_bars (venue, symbol, interval, timestamp)"
            " VALUES ('v', 'A/B', '1m', toDateTime64('2199-01-01 00:00:00', 3, 'UTC'))"
        )
    assert statements.rows(emptied, "reads/origins") == []
