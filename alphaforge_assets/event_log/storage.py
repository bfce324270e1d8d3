"""The storage: what we do otherwise than Dagster's own (stock) does, so that thousands of partitions a run cost little.

Every answer is the stock storage's. That one opens an engine for every statement, compiles it anew, and commits every
event of a partition alone, twice. Here engines are kept, and the events of a step's output (and those planned for a
run) are stored a batch at a time. Beside it, texts: how the text of an event is kept; shards: what a database is made
with, and the way back to stock. test_event_log holds the sources of Dagster that all of it leans on.
"""

import os
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as db
from dagster import AssetKey, DagsterEventType
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable, SqlEventLogStorageTable
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME, SqliteEventLogStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._serdes import ConfigurableClassData, serialize_value
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import QueuePool

from alphaforge_assets.event_log import shards
from alphaforge_assets.event_log.texts import packed, read_unpacked

# Dagster keeps the events of a batch in memory until there are so many; its own default is not to.
BATCH_SIZE = "DAGSTER_EVENT_BATCH_SIZE"
EVENTS_PER_BATCH = 1000
# A run's events are a database of their own, and each open one is three files. The UI's process looks at many runs.
SHARDS_OPEN_MAX = 16
ASSET_EVENTS = frozenset(
    {
        DagsterEventType.ASSET_MATERIALIZATION,
        DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
        DagsterEventType.ASSET_OBSERVATION,
    }
)
# What Dagster sends in batches and the stock storage mirrors in the index shard. Others are stored one by one.
BATCHED_EVENTS = ASSET_EVENTS | {DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED}


@dataclass(frozen=True)
class Shard:
    """A database that is kept open, and which file that is: another process may have put a new one in its place."""

    engine: Engine
    file: tuple[int, int] | None


class BatchedSqliteEventLogStorage(SqliteEventLogStorage):
    """SqliteEventLogStorage with engines that are kept, and a batch of events in one transaction a shard.

    Every process that opens it stores events in batches of EVENTS_PER_BATCH, unless DAGSTER_EVENT_BATCH_SIZE says
    otherwise (0: one by one).
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        os.environ.setdefault(BATCH_SIZE, str(EVENTS_PER_BATCH))
        self._seen: set[str] = set()
        self._left: list[object] = []
        self._start_afresh()
        index = Path(base_dir) / f"{INDEX_SHARD_NAME}.db"
        was_there = index.exists()
        super().__init__(base_dir, inst_data)
        if not was_there:
            shards.slim(index)

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "BatchedSqliteEventLogStorage":
        return cls(inst_data=inst_data, **config_value)

    def _event_to_row(self, event: EventLogEntry) -> dict[str, Any]:
        row = super()._event_to_row(event)
        return row | {"event": packed(row["event"])}

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store events of one run as the stock storage does one by one: same rows, ids and order.

        All of the batch or nothing, as far as statements can fail, for Dagster then stores the events one by one. The
        run's shard is committed first, as stock does: who dies in between leaves events of the run that the index does
        not know, so the partitions count as missing and are asked for again.
        """
        if not _is_one_batch(events):
            super().store_event_batch(events)
            return
        rows = [self._event_to_row(event) for event in events]
        with self.index_connection() as index, self.run_connection(events[0].run_id) as run:
            run.execute(SqlEventLogStorageTable.insert(), rows)
            self._mirror(index, events, rows)

    def _mirror(self, index: Connection, events: Sequence[EventLogEntry], rows: Sequence[Mapping[str, Any]]) -> None:
        """Store a batch in the index shard, with all that is derived from it."""
        index.execute(SqlEventLogStorageTable.insert(), rows)
        # SQLite numbers rows from the largest on (sqlite.org/autoinc.html), and nobody else writes meanwhile.
        last = index.execute(db.select(db.func.max(SqlEventLogStorageTable.c.id))).scalar_one()
        numbered = list(zip(events, range(last - len(rows) + 1, last + 1), strict=True))
        of_assets = [(e, n) for e, n in numbered if e.dagster_event_type in ASSET_EVENTS]
        self._store_asset_event_tags(index, [e for e, _ in of_assets], [n for _, n in of_assets])
        # What is kept of an asset is its last event of each type. Assets get their ids by their first event.
        latest: dict[AssetKey | None, dict[str, tuple[EventLogEntry, int]]] = {}
        for event, number in of_assets:
            said = event.get_dagster_event()
            of_asset = latest.setdefault(said.asset_key, {})
            of_asset.pop(said.event_type_value, None)  # so that the dictionary is in the order of the last ones
            of_asset[said.event_type_value] = (event, number)
        for of_asset in latest.values():
            for event, number in of_asset.values():
                self._store_asset_event(index, event, number)
        for event, number in numbered:
            if event.dagster_event_type not in ASSET_EVENTS:
                self.store_asset_check_event(event, number)  # joins this transaction

    def store_asset_check_event(self, event: EventLogEntry, event_id: int | None) -> None:
        """As stock, which keeps the event's text once more beside the result of the check."""
        about: Any = event.get_dagster_event().event_specific_data
        of_check = db.and_(
            AssetCheckExecutionsTable.c.asset_key == about.asset_key.to_string(),
            AssetCheckExecutionsTable.c.check_name == about.check_name,
            AssetCheckExecutionsTable.c.run_id == event.run_id,
            AssetCheckExecutionsTable.c.evaluation_event_storage_id == event_id,
        )
        with self.index_connection() as conn:
            super().store_asset_check_event(event, event_id)
            text = packed(serialize_value(event))
            conn.execute(AssetCheckExecutionsTable.update().where(of_check).values(evaluation_event=text))

    def get_event_tags_for_asset(
        self, asset_key: AssetKey, filter_tags: Mapping[str, str] | None = None, filter_event_id: int | None = None
    ) -> Sequence[Mapping[str, str]]:
        """As stock, and in its order, which is that of an index that we do not keep."""
        found = super().get_event_tags_for_asset(asset_key, filter_tags, filter_event_id)
        if filter_tags or filter_event_id is not None:
            return found
        return [dict(sorted(tags.items())) for tags in sorted(found, key=lambda tags: min(tags.items()))]

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        """A transaction on a shard; the one that this thread has under way there, if any."""
        if self._pid != os.getpid():
            self._leave_to_the_parent()
        with self._lock:
            under_way = self._under_way.get(shard)
            if under_way is not None:
                yield under_way
                return
            with self._engine(shard).connect() as conn, conn.begin():
                changes_before = _changes(conn)
                self._under_way[shard] = conn
                try:
                    yield conn
                finally:
                    del self._under_way[shard]
                has_changed = _changes(conn) > changes_before
            if has_changed and shard != INDEX_SHARD_NAME:
                # The UI watches the run's file, and an open database is written beside it, in its write-ahead log.
                with suppress(FileNotFoundError):  # wiped by another process just now
                    os.utime(self.path_for_shard(shard))

    def _engine(self, name: str) -> Engine:
        """The engine of a shard, made when first asked for; whoever asks holds the lock."""
        path = Path(self.path_for_shard(name))
        file = _identity(path)
        if name in self._shards and self._shards[name].file != file:
            self._close(name)
            self._seen.clear()
        if name not in self._shards:
            engine = db.create_engine(
                self.conn_string_for_shard(name),
                poolclass=QueuePool,
                pool_size=1,  # one thread at a time; making a database takes a second connection
                connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
            )
            db.event.listen(engine, "connect", lambda connection, _record: read_unpacked(connection))
            if not shards.is_made(path):
                self._make(name, engine)
            self._shards[name] = Shard(engine, _identity(path))
        self._shards.move_to_end(name)
        idle = [known for known in self._shards if known not in (name, INDEX_SHARD_NAME, *self._under_way)]
        for known in idle[: max(len(self._shards) - SHARDS_OPEN_MAX, 0)]:
            self._close(known)
        return self._shards[name].engine

    def _make(self, name: str, engine: Engine) -> None:
        if name != INDEX_SHARD_NAME:
            with suppress(sqlite3.OperationalError):  # another process is at it: stock waits for that, and looks again
                shards.make_of_a_run(engine, Path(self.path_for_shard(name)))
        self._initdb(engine)

    def _close(self, name: str) -> None:
        self._shards.pop(name).engine.dispose()

    def _start_afresh(self) -> None:
        """Nothing open, in this process."""
        self._pid = os.getpid()
        self._lock = threading.RLock()  # the batch has two shards under way, and Dagster's methods join them
        self._shards: OrderedDict[str, Shard] = OrderedDict()
        self._under_way: dict[str, Connection] = {}

    def _leave_to_the_parent(self) -> None:
        """SQLite's connections must not cross a fork (sqlite.org/howtocorrupt.html), not even to be closed there."""
        self._left.append((self._shards, self._under_way))
        self._start_afresh()

    def wipe(self) -> None:
        """As stock, which deletes the files of the runs; they must not be open then."""
        with self._lock:
            for name in [known for known in self._shards if known != INDEX_SHARD_NAME]:
                self._close(name)
            super().wipe()

    def dispose(self) -> None:
        """As stock, and close the databases. They are opened again when something is asked."""
        super().dispose()
        if self._pid == os.getpid():
            with self._lock:
                for name in list(self._shards):
                    self._close(name)

    # Three questions about the schema, which stock asks for every event. What is there stays there; what is not may
    # come with a migration in another process, so only a yes is remembered.

    def has_table(self, table_name: str) -> bool:
        """As stock."""
        if f"table {table_name}" not in self._seen and super().has_table(table_name):
            self._seen.add(f"table {table_name}")
        return f"table {table_name}" in self._seen

    def has_secondary_index(self, name: str) -> bool:
        """As stock."""
        if f"index {name}" not in self._seen and super().has_secondary_index(name):
            self._seen.add(f"index {name}")
        return f"index {name}" in self._seen

    def _has_asset_key_col_on_connection(self, conn: Connection, column_name: str) -> bool:
        if f"column {column_name}" not in self._seen and super()._has_asset_key_col_on_connection(conn, column_name):
            self._seen.add(f"column {column_name}")
        return f"column {column_name}" in self._seen


def _is_one_batch(events: Sequence[EventLogEntry]) -> bool:
    return bool(events) and all(
        event.is_dagster_event and event.dagster_event_type in BATCHED_EVENTS and event.run_id == events[0].run_id
        for event in events
    )


def _changes(conn: Connection) -> int:
    """How many rows a connection has written since it was opened."""
    driver: Any = conn.connection.driver_connection
    return int(driver.total_changes)


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file is at a path, None if there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
