"""What of Dagster this leans on."""

import hashlib
import inspect
from typing import Any

import dagster as dg
import pytest
from dagster._core import events as dagster_events
from dagster._core.events import BATCH_WRITABLE_EVENTS
from dagster._core.instance.methods.event_methods import EventMethods
from dagster._core.storage.event_log.base import EventLogStorage
from dagster._core.storage.event_log.schema import SqlEventLogStorageMetadata
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import (
    SqliteEventLogStorage,
    SqliteEventLogStorageWatchdog,
)
from dagster._core.storage.sql import check_alembic_revision

from alphaforge_assets.event_log.storage import (
    ASSET_EVENTS,
    BATCHED_EVENTS,
)

# ---- What of Dagster this leans on.

# Its parts as they were when event_log/ was written to fit them: overridden, joined in a transaction, or relied upon.
LEANED_ON: dict[Any, str] = {
    SqliteEventLogStorage.__init__: "264c15baa761a7bb",
    SqliteEventLogStorage._connect: "b8435f2665689760",
    SqliteEventLogStorage._initdb: "7a302d98eb61a34d",
    SqliteEventLogStorage.run_connection: "54e64bd6f8b77093",
    SqliteEventLogStorage.index_connection: "8caf95ebe806cabd",
    SqliteEventLogStorage.from_config_value: "28e08f095dc13fb2",
    SqliteEventLogStorage.has_table: "577d801c70b2a4a5",
    SqliteEventLogStorage.path_for_shard: "0eaeb69bc81ba0a7",
    SqliteEventLogStorage.conn_string_for_shard: "896bc510d776042e",
    SqliteEventLogStorage.store_event: "f89aed40602438b9",
    SqliteEventLogStorage.upgrade: "56bbafdf70981f12",
    SqliteEventLogStorage.watch: "a223e2f9cf3abda9",
    SqliteEventLogStorage.wipe: "de02c63676e7d477",
    SqliteEventLogStorage.dispose: "df16dafbfa8427c1",
    SqliteEventLogStorageWatchdog: "cd600a026151f6f5",
    SqlEventLogStorage.get_event_tags_for_asset: "8dbab32fd87e7b9f",
    SqlEventLogStorage.index_transaction: "00b2488c8cdfd277",
    SqlEventLogStorage.has_secondary_index: "75ea1eb99d7519bc",
    SqlEventLogStorage.delete_events: "a14c58828a905817",
    SqlEventLogStorage._has_asset_key_col_on_connection: "981049dfa81d2e47",
    SqlEventLogStorage._event_to_row: "93d47fbe7edc4f70",
    SqlEventLogStorage._store_asset_event: "fdb9340b9eef1c9b",
    SqlEventLogStorage._get_asset_entry_values: "bb3b9df2c6c371fe",
    SqlEventLogStorage._store_asset_event_tags: "85d6f17ef04b926f",
    SqlEventLogStorage._tags_for_asset_event: "c5c3936a8de86826",
    SqlEventLogStorage.store_asset_check_event: "6d148295fa69bb45",
    SqlEventLogStorage._store_asset_check_evaluation_planned: "bbecef7ab5ce9d01",
    SqlEventLogStorage._store_runless_asset_check_evaluation: "6f98e740f38ae735",
    SqlEventLogStorage._update_asset_check_evaluation: "961fd6041447b07a",
    check_alembic_revision: "0cda7bdd1df027ec",
    EventLogStorage.store_event_batch: "d710189545dbace2",
    EventMethods.handle_new_event: "db900859da5b7e70",
    EventMethods._get_event_batch_size: "92c419ba6dbea022",
}


@pytest.mark.parametrize(("part", "seen"), LEANED_ON.items(), ids=lambda part: getattr(part, "__qualname__", ""))
def test_what_we_lean_on_in_dagster_is_as_it_was(part: Any, seen: str) -> None:
    assert digest(part) == seen, (
        f"Dagster {dg.__version__} has changed {part.__module__}.{part.__qualname__}. Read what it does now, make"
        f" alphaforge_assets/event_log do the same, then write {digest(part)} here."
    )


def digest(part: Any) -> str:
    """The beginning of the hash of its source."""
    return hashlib.sha256(inspect.getsource(part).encode()).hexdigest()[:16]


def test_the_tables_are_those_that_shards_was_written_for() -> None:
    """A new one may be read in a run's database, a new index may be needed there, a new column may hold a text."""
    tables = SqlEventLogStorageMetadata.sorted_tables
    seen = [(t.name, [str(c) for c in t.columns], sorted(str(i.name) for i in t.indexes)) for t in tables]
    assert hashlib.sha256(repr(seen).encode()).hexdigest()[:16] == "469b2a495920652f"


def test_what_comes_in_batches_is_what_we_expect() -> None:
    """A new kind is stored one by one, correctly and slowly, until it is thought about."""
    assert BATCHED_EVENTS | {dg.DagsterEventType.ASSET_FAILED_TO_MATERIALIZE} == BATCH_WRITABLE_EVENTS
    assert ASSET_EVENTS == dagster_events.ASSET_EVENTS & BATCHED_EVENTS
    assert BATCHED_EVENTS - ASSET_EVENTS == dagster_events.ASSET_CHECK_EVENTS & BATCHED_EVENTS
    assert not BATCHED_EVENTS & dagster_events.EVENT_TYPE_TO_PIPELINE_RUN_STATUS.keys()
