"""What the package promises to those who add to it: a dataset is one file and its tables, a source is one file."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from clickhouse_connect.driver.client import Client

from alphaforge_assets.backfill.cost import predict
from alphaforge_assets.datasets.bars import BARS
from alphaforge_assets.datasets.registry import DATASETS
from alphaforge_assets.definitions import build
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.refresh import refresh
from alphaforge_assets.research import IncompleteWarning, Research
from alphaforge_assets.universe import load_universe
from alphaforge_assets.venues.directory import SOURCES, Exchanges
from alphaforge_assets_tests.toy_archive import Archive
from alphaforge_assets_tests.toy_open_interest import OPEN_INTEREST, OpenInterest

UNIVERSE = load_universe()
KEY = "binance_perp.BTC-USDT"
FIRST, LAST = dt.date(2025, 5, 28), dt.date(2025, 6, 4)
NOW = dt.datetime(2025, 7, 1, tzinfo=dt.UTC)


@pytest.fixture
def toy(migrated: Client, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenInterest]:
    """The dataset in the registry, its source in the directory, its tables in the warehouse."""
    source = OpenInterest("binance_perp", NOW)
    monkeypatch.setitem(DATASETS, OPEN_INTEREST.name, OPEN_INTEREST)
    SOURCES.append(source)
    assert OPEN_INTEREST.ddl
    for statement in OPEN_INTEREST.ddl.read_text(encoding="utf-8").split(";\n"):
        if statement.strip():
            migrated.command(statement)
    yield source
    SOURCES.remove(source)


def test_a_dataset_of_one_file_runs_through_dagster_and_is_read(
    toy: OpenInterest, migrated: Client, tmp_path: Path
) -> None:
    exchanges = Exchanges("sandbox", "http://127.0.0.1:1", tmp_path / "governor.sqlite3")
    definitions = build(UNIVERSE, {"warehouse": migrated, "exchanges": exchanges, "universe": UNIVERSE})
    dg.Definitions.validate_loadable(definitions)
    part = Rectangle((UNIVERSE.instrument(KEY),), FIRST, LAST)
    toy.lost = {dt.date(2025, 6, 2)}
    with dg.DagsterInstance.ephemeral() as instance:
        result = definitions.resolve_job_def("refresh_open_interest").execute_in_process(
            instance=instance, tags=part.tags()
        )
        assert result.success
        for name in OPEN_INTEREST.run_assets:
            assert len(instance.get_materialized_partitions(dg.AssetKey(name))) == 7, name
    checked = {e.check_name for e in result.get_asset_check_evaluations() if e.passed}
    assert checked >= {"rows_are_inside_the_day", "landing_is_accounted_for", "no_rows_are_rejected"}
    covered = migrated.query(
        "SELECT sum(expected), sum(present) FROM analytics.v_coverage WHERE dataset = 'open_interest'"
    )
    assert covered.result_rows == [(7, 6)]
    research = Research(migrated, UNIVERSE)
    with pytest.warns(IncompleteWarning, match="1 venue_outage"):
        frame = research.read("open_interest", KEY, FIRST, LAST, interval="1d")
    assert list(frame.contracts) == [28, 29, 30, 31, 1, 3]
    assert research.verify(frame)
    assert list(research.gaps(KEY, start=FIRST, end=LAST).missing) == [1]


def test_a_dataset_of_one_file_is_pinned_and_compared(toy: OpenInterest, migrated: Client, tmp_path: Path) -> None:
    exchanges = Exchanges("sandbox", "http://127.0.0.1:1", tmp_path / "governor.sqlite3")
    part = Rectangle((UNIVERSE.instrument(KEY),), FIRST, LAST)
    refresh(migrated, exchanges, UNIVERSE, part, OPEN_INTEREST, run_id="first")
    research = Research(migrated, UNIVERSE)
    research.pin("study", KEY, "1h", FIRST, LAST, datasets="open_interest")
    toy.scale = 2.0
    refresh(migrated, exchanges, UNIVERSE, part, OPEN_INTEREST, run_id="second", refetch=True)
    again = refresh(migrated, exchanges, UNIVERSE, part, OPEN_INTEREST, run_id="third")
    assert (again.rows, again.cost.requests) == (0, 0)
    assert research.verify("study")
    pinned = research.read("open_interest", KEY, FIRST, LAST, interval="1d", snapshot="study")
    now = research.read("open_interest", KEY, FIRST, LAST, interval="1d")
    assert list(now.contracts) == [2 * value for value in pinned.contracts]
    changed = research.diff("study")
    assert list(changed["column"].unique()) == ["contracts"]
    assert (changed.iloc[0].old, changed.iloc[0].new) == ("28", "56")
    later = Rectangle(part.instruments, LAST, LAST + dt.timedelta(days=7))
    assert predict(migrated, UNIVERSE, OPEN_INTEREST, [later]).rows == 7


def test_a_second_source_of_bars_is_asked_first_and_falls_through(
    migrated: Client, exchange: Exchanges, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "binance_spot.BTC-USDT"
    part = Rectangle((UNIVERSE.instrument(key),), FIRST, LAST)
    archive = Archive("binance_spot", dt.datetime(2025, 6, 1, tzinfo=dt.UTC))
    SOURCES.append(archive)
    try:
        planned = predict(migrated, UNIVERSE, BARS, [part])
        landed = refresh(migrated, exchange, UNIVERSE, part, BARS, run_id="both")
    finally:
        SOURCES.remove(archive)
    assert landed.failures == []
    assert "toy.archive" in {spent.budget.name for venue in planned.venues for spent in venue.spent}
    rows = migrated.query(
        "SELECT source, interval, count(), max(timestamp) < '2025-06-01' FROM analytics.v_bars"
        " GROUP BY source, interval ORDER BY source, interval"
    ).result_rows
    assert rows == [("archive", "1h", 4 * 24, True), ("rest", "1h", 3 * 24, False), ("rest", "1m", 7 * 1440, False)]
    ledger = migrated.query(
        "SELECT source, status, count() FROM analytics.ingest_batches WHERE interval = '1h' GROUP BY 1, 2 ORDER BY 1, 2"
    ).result_rows
    assert ledger == [("archive", "complete", 1), ("archive", "failed", 1), ("rest", "complete", 1)]
    frame = Research(migrated, UNIVERSE).bars(key, "1h", FIRST, LAST, require_complete=True)
    assert set(frame.source) == {"archive", "rest"}
