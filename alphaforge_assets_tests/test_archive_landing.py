"""Archives through landing, staging and mart: what is chosen, what falls to REST, which version wins, what is noted."""

import datetime as dt
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import requests
from clickhouse_connect.driver.client import Client

from alphaforge_assets.alerts.troubles import _revised_files
from alphaforge_assets.backfill.cost import predict
from alphaforge_assets.backfill.run import outranked
from alphaforge_assets.datasets.bars import BARS
from alphaforge_assets.definitions import build
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.pipeline.choice import Left, shared_out
from alphaforge_assets.pipeline.landing import Landed
from alphaforge_assets.quality.checks import every_check, offenders
from alphaforge_assets.refresh import refresh
from alphaforge_assets.research import Research
from alphaforge_assets.sandbox import process as sandbox
from alphaforge_assets.universe import Universe, load_universe
from alphaforge_assets.upkeep.archives import Watched, watch
from alphaforge_assets.venues.directory import Exchanges, ranked
from alphaforge_assets.warehouse.windows import Window
from alphaforge_assets_tests.conftest import LIFTED, lifted

UTC = dt.UTC
UNIVERSE = load_universe()
HOURS = UNIVERSE.model_copy(update={"intervals": ("1h",)})
KEY = "binance_spot.BTC-USDT"
NOW = dt.datetime(2025, 7, 1, tzinfo=UTC)
MAY = Rectangle((UNIVERSE.instrument(KEY),), dt.date(2025, 5, 1), dt.date(2025, 6, 1))
FILE = "data/spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2025-05.zip"
DAYS = "data/spot/daily/klines/BTCUSDT/1h/*"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchanges]:
    with sandbox.start(now=NOW, budget_scale=LIFTED) as url:
        yield lifted(url, tmp_path_factory.mktemp("governor") / "governor.sqlite3")


@pytest.fixture(autouse=True)
def fresh(files: Exchanges) -> Iterator[None]:
    yield
    requests.delete(f"{files.base_url}/_archive", timeout=5)


def wrong(files: Exchanges, kind: str, key: str = FILE, **more: object) -> None:
    order = {"key": key, "kind": kind, **more}
    assert requests.post(f"{files.base_url}/_archive", json=order, timeout=5).status_code == 200


def landed(client: Client, files: Exchanges, wish: str = "archive", *, refetch: bool = False) -> Landed:
    return refresh(client, files, HOURS, MAY, BARS, run_id=f"{wish}{refetch}", wish=wish, refetch=refetch)


def rows(client: Client, sql: str) -> list[tuple[Any, ...]]:
    return list(client.query(sql).result_rows)


def ledger(client: Client) -> list[tuple[Any, ...]]:
    return rows(
        client,
        "SELECT source, status, sum(row_count), count() FROM analytics.ingest_batches GROUP BY 1, 2 ORDER BY 1, 2",
    )


def published(client: Client) -> list[tuple[Any, ...]]:
    return rows(client, "SELECT source, count() FROM analytics.v_bars GROUP BY source ORDER BY source")


def seen(client: Client) -> list[tuple[Any, ...]]:
    return rows(client, "SELECT status, count() FROM analytics.archive_files FINAL GROUP BY status ORDER BY status")


def test_a_month_comes_from_its_file_and_is_noted(emptied: Client, files: Exchanges) -> None:
    found = landed(emptied, files)
    assert (found.rows, found.cost.requests, found.failures, found.files) == (744, 2, [], ["loaded"])
    assert found.by_source == {"archive_monthly": 744}
    assert ledger(emptied) == [("archive_monthly", "complete", 744, 1)]
    assert published(emptied) == [("archive_monthly", 744)]
    (row,) = rows(
        emptied,
        "SELECT venue, symbol, interval, key, checksum_status, has_header, time_unit, rows, duplicates, origin"
        " FROM analytics.archive_files FINAL",
    )
    assert row == ("binance_spot", "BTC/USDT", "1h", FILE, "verified", False, "us", 744, 0, "sandbox")
    again = landed(emptied, files)
    assert (again.rows, again.cost.requests) == (0, 0)


def test_what_a_month_lacks_its_days_have(emptied: Client, files: Exchanges) -> None:
    wrong(files, "lacks", since=1_746_662_400_000, minutes=1440)  # 8 May
    found = landed(emptied, files)
    assert (found.rows, found.failures, sorted(found.files)) == (744, [], ["loaded", "loaded"])
    assert published(emptied) == [("archive_daily", 24), ("archive_monthly", 720)]


def test_what_no_file_has_rest_is_asked_for(emptied: Client, files: Exchanges) -> None:
    wrong(files, "lacks", since=1_746_662_400_000, minutes=1440)
    wrong(files, "missing", DAYS)
    alone = landed(emptied, files)
    assert [(f.window.start.day, f.window.end.day) for f in alone.failures] == [(8, 9)]
    assert "not_listed" in alone.failures[0].error or "hole" in alone.failures[0].error
    found = landed(emptied, files, "best")
    assert (found.rows, found.failures) == (24, [])
    assert published(emptied) == [("archive_monthly", 720), ("rest", 24)]


@pytest.mark.parametrize("kind", ["torn", "contradicts", "second_member", "foreign", "bomb", "mixed_units"])
def test_nothing_of_a_file_that_is_not_believed_is_read(emptied: Client, files: Exchanges, kind: str) -> None:
    wrong(files, kind)
    wrong(files, "missing", DAYS)
    assert len(landed(emptied, files).failures) == 1
    assert published(emptied) == []
    assert ("corrupt", 1) in seen(emptied)
    assert landed(emptied, files, "best").failures == []
    assert published(emptied) == [("rest", 744)]
    assert rows(emptied, "SELECT count() FROM analytics.v_gaps WHERE is_open") == [(0,)]


def test_a_month_before_the_first_file_is_no_failure(emptied: Client, files: Exchanges) -> None:
    part = Rectangle(MAY.instruments, dt.date(2017, 8, 1), dt.date(2017, 9, 1))
    assert refresh(emptied, files, HOURS, part, BARS, run_id="first", wish="best").failures == []


def test_the_file_of_a_day_outranks_that_of_its_month_and_both_outrank_rest(emptied: Client, files: Exchanges) -> None:
    def close() -> list[tuple[Any, ...]]:
        return rows(
            emptied,
            "SELECT source, close FROM analytics.v_bars WHERE timestamp = '2025-05-01 03:00:00'",
        )

    landed(emptied, files, "rest")
    ((_, said),) = close()
    wrong(files, "revised", start=3, value=1.01)
    wrong(files, "missing", DAYS)
    landed(emptied, files, "archive", refetch=True)
    ((source, monthly),) = close()
    assert (source, monthly) == ("archive_monthly", pytest.approx(said * 1.01, abs=0.01))
    landed(emptied, files, "rest", refetch=True)
    assert close() == [("archive_monthly", monthly)]  # later, and of a lower rank
    requests.delete(f"{files.base_url}/_archive", timeout=5)
    wrong(files, "missing", FILE)
    wrong(files, "revised", DAYS, start=3, value=1.02)
    landed(emptied, files, "archive", refetch=True)
    ((source, daily),) = close()
    assert (source, daily) == ("archive_daily", pytest.approx(said * 1.02, abs=0.01))
    kept = rows(
        emptied,
        "SELECT source, count() FROM analytics.landing_bars WHERE timestamp = '2025-05-01 03:00:00'"
        " GROUP BY 1 ORDER BY 1",
    )
    assert kept == [("archive_daily", 1), ("archive_monthly", 1), ("rest", 2)]


def test_what_a_file_keeps_from_being_published_is_said_and_the_files_of_days_mend_a_month(
    emptied: Client, files: Exchanges
) -> None:
    def kept(run_id: str) -> list[tuple[Any, ...]]:
        return [(r["source"], r["rows"], r["first"].hour) for r in outranked(emptied, BARS, MAY, [run_id])]

    wrong(files, "revised", start=3, rows=2)
    wrong(files, "missing", DAYS)
    landed(emptied, files)
    landed(emptied, files, "rest", refetch=True)
    assert kept("restTrue") == [("archive_monthly", 2, 3)]
    assert kept("archiveFalse") == kept("another") == []
    requests.delete(f"{files.base_url}/_archive", timeout=5)
    landed(emptied, files, "archive_daily", refetch=True)
    assert published(emptied) == [("archive_daily", 2), ("archive_monthly", 742)]  # those that differed
    assert kept("restTrue") == []


def test_a_file_that_says_what_rest_said_makes_no_version(emptied: Client, files: Exchanges) -> None:
    landed(emptied, files, "rest")
    landed(emptied, files, "archive", refetch=True)
    assert published(emptied) == [("rest", 744)]
    assert rows(emptied, "SELECT count() FROM analytics.bars_history") == [(744,)]
    assert rows(emptied, "SELECT uniqExact(source) FROM analytics.landing_bars") == [(2,)]


def test_an_unverified_file_does_not_outrank_rest(emptied: Client, files: Exchanges) -> None:
    wrong(files, "stale")
    wrong(files, "revised", start=3)
    landed(emptied, files)
    assert published(emptied) == [("archive_unverified", 744)]
    landed(emptied, files, "rest", refetch=True)
    assert published(emptied) == [("archive_unverified", 743), ("rest", 1)]


def test_a_value_that_a_file_garbled_does_not_hide_that_of_rest(emptied: Client, files: Exchanges) -> None:
    wrong(files, "garbled", column=7)  # the quote volume of the first row
    landed(emptied, files)
    first = "SELECT source, quote_volume > 0 FROM analytics.v_bars WHERE timestamp = '2025-05-01 00:00:00'"
    assert rows(emptied, first) == [("archive_monthly", None)]
    landed(emptied, files, "rest", refetch=True)
    assert rows(emptied, first) == [("rest", True)]
    assert published(emptied) == [("archive_monthly", 743), ("rest", 1)]


def test_another_content_supersedes_what_was_known_of_a_file(emptied: Client, files: Exchanges) -> None:
    landed(emptied, files)
    wrong(files, "revised", start=3)
    landed(emptied, files, refetch=True)
    assert seen(emptied) == [("loaded", 1), ("superseded", 1)]


# What the venue replaces


def watched(client: Client, files: Exchanges) -> Watched:
    return watch(client, files, HOURS, run_id="watch", lock=lambda dataset: nullcontext())


def test_a_file_that_was_replaced_becomes_versions_of_the_bars_that_changed(emptied: Client, files: Exchanges) -> None:
    landed(emptied, files)
    quiet = watched(emptied, files)
    assert (quiet.compared, quiet.changed, quiet.failed) == (1, (), {})
    wrong(files, "revised", start=3, rows=2)
    found = watched(emptied, files)
    assert [(c.key, c.source.name) for c in found.changed] == [(FILE, "archive_monthly")]
    versions = "SELECT toString(timestamp) FROM analytics.bars_history GROUP BY timestamp HAVING count() > 1 ORDER BY 1"
    assert rows(emptied, versions) == [("2025-05-01 03:00:00.000",), ("2025-05-01 04:00:00.000",)]
    assert watched(emptied, files).changed == ()


def test_the_job_of_the_watch_runs_and_says_what_it_compared(emptied: Client, files: Exchanges) -> None:
    landed(emptied, files)
    wrong(files, "revised", start=3, rows=2)
    job = build(HOURS, {"warehouse": emptied, "exchanges": files, "universe": HOURS}).resolve_job_def("watch_archives")
    with dg.DagsterInstance.ephemeral() as instance:
        done = job.execute_in_process(instance=instance)
        event = instance.get_latest_materialization_event(dg.AssetKey("archive_files"))
    assert done.success
    assert event
    assert event.asset_materialization
    said = event.asset_materialization.metadata
    assert (said["files_compared"].value, said["files_changed"].value, said["changed"].value) == (1, 1, [FILE])


def test_an_alert_names_the_snapshots_that_hold_what_was_replaced(emptied: Client, files: Exchanges) -> None:
    landed(emptied, files)
    may = (dt.datetime(2025, 5, 1, tzinfo=UTC), dt.datetime(2025, 6, 1, tzinfo=UTC))
    research = Research(emptied, HOURS)
    research.pin("study1", KEY, "1h", *may)
    research.pin("elsewhere", KEY, "1h", may[0] + dt.timedelta(days=20), may[1])
    wrong(files, "revised", start=3, rows=2)
    watched(emptied, files)
    research.pin("later", KEY, "1h", *may)
    (trouble,) = _revised_files(emptied, HOURS, dt.datetime.now(UTC))
    assert trouble.subject == "bars binance_spot.BTC-USDT 1h BTCUSDT-1h-2025-05.zip"
    told = "2 bars from 2025-05-01 03:00 to 2025-05-01 04:00 are other ones; earlier ones are in study1"
    assert trouble.about == told
    assert len(research.diff("study1").timestamp.unique()) == 2


# The choice


def sources(
    parts: list[tuple[dt.datetime, dt.datetime]], interval: str, wish: str = "best", venue: str = "binance_spot"
) -> list[str]:
    left = [Left(Window(UNIVERSE.instrument(f"{venue}.BTC-USDT"), interval, start, end)) for start, end in parts]
    shares = shared_out(ranked(venue, "bars", [interval]), "bars", left, wish, NOW)
    return [source.name for source, _ in shares]


def months(first: int, count: int) -> list[tuple[dt.datetime, dt.datetime]]:
    starts = [dt.datetime((first + n) // 12, (first + n) % 12 + 1, 1, tzinfo=UTC) for n in range(count + 1)]
    return list(pairwise(starts))


YEAR = months(2024 * 12, 12)


def test_long_closed_spans_go_to_files_and_short_or_young_ones_to_rest() -> None:
    assert sources(YEAR, "1m") == ["archive_monthly"]
    assert sources(YEAR, "1m", venue="binance_perp") == ["archive_monthly"]
    assert sources(months(2018 * 12, 12), "1m") == ["archive_monthly"]  # not its 365 days, though a burst has room
    assert sources(YEAR[:1], "1m") == ["rest"]
    assert sources(YEAR, "1h") == ["rest"]  # nine requests that go at once
    yesterday = NOW - dt.timedelta(days=1)
    assert sources([(yesterday, NOW)], "1m") == ["rest"]
    young = months(2024 * 12 + 5, 13)  # to the end of June 2025, whose file comes in July
    assert sources(young, "1m") == ["archive_monthly", "rest"]
    assert sources(YEAR, "1m", venue="okx_spot") == ["rest"]


def test_several_intervals_share_a_choice() -> None:
    """A month's file for minutes is not given up for days' because hours come from elsewhere."""
    instrument = UNIVERSE.instrument(KEY)
    left = [Left(Window(instrument, interval, *month)) for month in months(2018 * 12, 12) for interval in ("1m", "1h")]
    shares = shared_out(ranked("binance_spot", "bars", ["1m", "1h"]), "bars", left, "best", NOW)
    assert "archive_daily" not in [source.name for source, _ in shares]
    assert sum(len(its) for _, its in shares) == 24


def test_what_rest_could_not_answer_is_no_matter_of_files() -> None:
    instrument = UNIVERSE.instrument(KEY)
    failed = [Left(Window(instrument, "1m", *month), frozenset({"rest"})) for month in YEAR]
    assert shared_out(ranked("binance_spot", "bars", ["1m"]), "bars", failed, "best", NOW) == []
    young = Left(Window(instrument, "1m", NOW - dt.timedelta(hours=2), NOW), frozenset({"archive_monthly"}))
    shares = shared_out(ranked("binance_spot", "bars", ["1m"]), "bars", [young], "best", NOW)
    assert [source.name for source, _ in shares] == ["rest"]


def test_a_wish_is_obeyed() -> None:
    assert sources(YEAR, "1m", "rest") == ["rest"]
    assert sources(YEAR[:1], "1m", "archive") == ["archive_monthly"]
    assert sources([(NOW - dt.timedelta(days=9), NOW - dt.timedelta(days=5))], "1m", "archive") == ["archive_daily"]


def test_a_plan_says_which_source_and_how_much(emptied: Client) -> None:
    part = Rectangle(MAY.instruments, dt.date(2024, 1, 1), dt.date(2025, 1, 1))
    minutes = UNIVERSE.model_copy(update={"intervals": ("1m",)})
    (venue,) = predict(emptied, minutes, BARS, [part]).venues
    (share,) = venue.shares
    assert (share.source, share.windows, share.rows, share.requests) == ("archive_monthly", 12, 366 * 1440, 24)
    assert share.bytes == 366 * 1440 * 52
    (venue,) = predict(emptied, minutes, BARS, [part], "rest").venues
    assert [s.source for s in venue.shares] == ["rest"]


RECORDED = Universe.model_validate(
    {
        "history_start": dt.date(2017, 8, 1),
        "intervals": ["1m"],
        "venues": {"binance_spot": {"instruments": ["BTC/USDT"]}},
    }
)
VALUES = (
    "SELECT timestamp, close_time, open, high, low, close, volume, quote_volume, trade_count, taker_buy_base_volume,"
    " taker_buy_quote_volume FROM analytics.v_bars ORDER BY timestamp"
)


@pytest.mark.recorded
@pytest.mark.parametrize(
    ("start", "end"),
    [
        pytest.param(dt.date(2017, 12, 1), dt.date(2018, 1, 1), id="off the grid"),
        pytest.param(dt.date(2020, 2, 1), dt.date(2020, 3, 1), id="with an outage"),
        pytest.param(dt.date(2025, 1, 1), dt.date(2025, 2, 1), id="microseconds"),
    ],
)
def test_recorded_bars_are_the_same_from_files_as_from_rest(
    emptied: Client, recorded: Path, tmp_path: Path, start: dt.date, end: dt.date
) -> None:
    part = Rectangle(RECORDED.instruments, start, end)
    with sandbox.start(recordings=recorded / "market-data", budget_scale=LIFTED) as url:
        exchanges = lifted(url, tmp_path / "governor.sqlite3")
        refresh(emptied, exchanges, RECORDED, part, BARS, run_id="files", wish="archive")
        refresh(emptied, exchanges, RECORDED, part, BARS, run_id="rest of it", wish="best")
        from_files = emptied.query_arrow(VALUES)
        by_source = dict(published(emptied))
        refresh(emptied, exchanges, RECORDED, part, BARS, run_id="rest", refetch=True, wish="rest")
    assert by_source["archive_monthly"] == from_files.num_rows > 28 * 1200
    assert rows(emptied, "SELECT count() = uniqExact(timestamp) FROM analytics.bars_history") == [(True,)]
    landed_by_rest = emptied.query_arrow(
        "SELECT DISTINCT timestamp, close_time, open, high, low, close, volume, quote_volume, trade_count,"
        " taker_buy_base_volume, taker_buy_quote_volume FROM analytics.landing_bars WHERE source = 'rest'"
        " AND batch_id IN (SELECT batch_id FROM analytics.ingest_batches WHERE run_id = 'rest') ORDER BY timestamp"
    )
    assert from_files.num_rows == landed_by_rest.num_rows
    for name in from_files.column_names:  # landing's columns may be NULL, so the schemas differ
        assert from_files[name].to_pylist() == landed_by_rest[name].to_pylist(), name
    found = offenders(emptied, next(c for c in every_check() if c.name == "archives_agree"), part, dt.datetime.now(UTC))
    assert found == []
    sums = "SELECT sum(equal), sum(differing), sum(only_a), sum(only_b) FROM analytics.v_reconciliation"
    compared = rows(emptied, sums)
    assert compared == [(from_files.num_rows, 0, 0, 0)]


def test_sources_that_differ_are_told_and_counted(emptied: Client, files: Exchanges) -> None:
    wrong(files, "revised", start=3, rows=2)
    wrong(files, "lacks", since=1_746_662_400_000, minutes=1440)  # 8 May
    wrong(files, "missing", DAYS)
    landed(emptied, files)
    landed(emptied, files, "rest", refetch=True)
    rule = next(c for c in every_check() if c.name == "archives_agree")
    (found,) = offenders(emptied, rule, MAY, dt.datetime.now(UTC))
    assert found["rows"] == 2
    assert found["what"].startswith("told differently by archive_monthly, rest; the file is published: ")
    assert found["first"] == dt.datetime(2025, 5, 1, 3, tzinfo=UTC)
    days = rows(
        emptied,
        "SELECT toDayOfMonth(day), source_a, source_b, equal, differing, only_a, only_b"
        " FROM analytics.v_reconciliation WHERE day < '2025-05-03' ORDER BY day",
    )
    assert days == [(1, "archive_monthly", "rest", 22, 2, 0, 0), (2, "archive_monthly", "rest", 24, 0, 0, 0)]
