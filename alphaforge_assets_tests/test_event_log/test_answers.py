"""Every answer is the stock storage's, and a batch leaves the rows that its events leave one by one."""

import itertools
import random
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as db
from dagster._core.events import BATCH_WRITABLE_EVENTS
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log.sqlite.sqlite_event_log import (
    SqliteEventLogStorage,
)

from alphaforge_assets.event_log.storage import (
    BatchedSqliteEventLogStorage,
)
from alphaforge_assets_tests.test_event_log.story import (
    CLASSES,
    KEYS,
    OURS,
    STOCK,
    comparable,
    everything,
    of_asset,
    of_run,
    opened,
    removals,
    rows,
)

# ---- Equality with the stock storage.


@dataclass(frozen=True)
class Told:
    """What one storage answers after everything has happened, and after removals, with the first run's events."""

    grown: dict[str, str]
    removed: dict[str, str]
    events: list[EventLogEntry]
    batches: list[int]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Told]:
    """The same story on an instance of each storage."""
    return {storage: story(tmp_path_factory.mktemp("story") / "home", storage) for storage in CLASSES}


def story(folder: Path, storage: str) -> Told:
    """What is told of `everything` and `removals`."""
    with opened(folder, storage) as instance, pytest.MonkeyPatch.context() as patch:
        log, batches = instance.event_log_storage, []
        store = log.store_event_batch
        patch.setattr(log, "store_event_batch", lambda events: (batches.append(len(events)), store(events)))
        everything(instance)
        grown = comparable(instance)
        first = instance.get_runs()[-1].run_id
        events = [record.event_log_entry for record in log.get_records_for_run(first).records]
        removals(instance)
        return Told(grown, comparable(instance), events, batches)


def test_every_answer_is_the_stock_storages(told: dict[str, Told]) -> None:
    for moment in ("grown", "removed"):
        stock, ours = (getattr(told[storage], moment) for storage in CLASSES)
        assert stock.keys() == ours.keys()
        assert [question for question in stock if stock[question] != ours[question]] == []


def test_the_story_holds_what_it_should_and_came_in_batches(told: dict[str, Told]) -> None:
    grown, removed = told[OURS].grown, told[OURS].removed
    assert grown["materialized of served"].count("2024-") == 10
    assert removed["materialized of staged"].count("2024-") == 2
    assert grown["observations of venue"].count("AssetObservation(") == 7
    assert "2024-01-06|B" in grown["failed of staged"]
    for check in ("blocking", "warned", "inner", "outside"):
        assert f"name='{check}'" in grown["check summaries"]
    assert told[STOCK].batches == []  # Dagster's own default: one by one
    # planned (with three checks) and three outputs of the first run, of 8 keys
    assert told[OURS].batches[:4] == [27, 8, 8, 8]


@pytest.mark.parametrize("seed", range(2))
def test_any_batch_leaves_the_rows_of_its_events_stored_one_by_one(
    told: dict[str, Told], tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311
    events = [e for e in told[STOCK].events if e.dagster_event and e.dagster_event_type in BATCH_WRITABLE_EVENTS]
    chance.shuffle(events)
    stock, ours = SqliteEventLogStorage(str(tmp_path / STOCK)), BatchedSqliteEventLogStorage(str(tmp_path / OURS))
    for event in events:
        stock.store_event(event)
    while events:
        size = chance.randint(1, 20)
        ours.store_event_batch(events[:size])
        events = events[size:]
    stock.dispose()
    ours.dispose()
    assert rows(tmp_path / STOCK) == rows(tmp_path / OURS)


def test_a_batch_is_stored_as_a_whole_or_not_at_all(told: dict[str, Told], tmp_path: Path) -> None:
    storage = BatchedSqliteEventLogStorage(str(tmp_path))
    of_kind = itertools.groupby(told[OURS].events, lambda event: event.dagster_event_type)
    [batch, *_] = [list(es) for kind, es in of_kind if kind == dg.DagsterEventType.ASSET_MATERIALIZATION]
    refusal = "CREATE TRIGGER refusal BEFORE INSERT ON asset_event_tags BEGIN SELECT RAISE(ABORT, 'refused'); END"
    with storage.index_connection() as conn:
        conn.execute(db.text(refusal))
    with pytest.raises(db.exc.DBAPIError, match="refused"):
        storage.store_event_batch(batch)
    assert len(storage.get_records_for_run(batch[0].run_id).records) == 0
    assert storage.get_maximum_record_id() is None
    with storage.index_connection() as conn:
        conn.execute(db.text("DROP TRIGGER refusal"))
    storage.store_event_batch(batch)
    assert len(storage.get_records_for_run(batch[0].run_id).records) == storage.get_maximum_record_id() == len(batch)
    storage.dispose()


def test_a_read_leaves_no_transaction_behind(told: dict[str, Told], log: BatchedSqliteEventLogStorage) -> None:
    """One left open would keep an old state in sight, and the write-ahead log growing."""
    for event in told[OURS].events:
        log.store_event(event)
    for key in KEYS[:3]:
        list(of_asset(log, key))
    list(of_run(log, told[OURS].events[0].run_id))
    for name in ("index", told[OURS].events[0].run_id):
        conn = sqlite3.connect(log.path_for_shard(name))
        assert conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)
        conn.close()
