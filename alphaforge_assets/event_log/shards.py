"""Which tables and indices a database is made with, and how a folder of them is given back to Dagster's own storage.

Dagster makes all its tables and indices in every database, of which that of a run uses one table in the order of its
rows: 28 pages stood empty, and of each event's bytes on disk a sixth were indices that nothing asked. Databases that
are there already stay as they are.
"""

import contextlib
import sqlite3
from collections.abc import Iterable
from pathlib import Path

import dagster._core.storage.event_log.sqlite.sqlite_event_log as stock
import sqlalchemy as db
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    AssetEventTagsTable,
    SqlEventLogStorageMetadata,
    SqlEventLogStorageTable,
)
from dagster._core.storage.sql import check_alembic_revision, get_alembic_config
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from sqlalchemy.dialects import sqlite as dialect
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.schema import CreateTable

from alphaforge_assets.event_log.texts import read_unpacked

# Dagster deletes from the second one too when a run is deleted.
OF_A_RUN = (SqlEventLogStorageTable, AssetEventTagsTable)
# Of the index: nobody asks there for a step, and of tags those of an asset. Values, hashes mostly, were written twice.
INDEX_INSTEAD = """DROP INDEX IF EXISTS idx_step_key;
DROP INDEX IF EXISTS idx_asset_event_tags;
CREATE INDEX IF NOT EXISTS idx_asset_event_tags ON asset_event_tags (asset_key);"""

# Where texts are packed.
TEXTS = (SqlEventLogStorageTable.c.event, AssetCheckExecutionsTable.c.evaluation_event)


def is_made(path: Path) -> bool:
    """Whether a database is there, with its tables; to ask Dagster takes 15 ms, for it reads all its migrations."""
    if not path.exists():
        return False
    with contextlib.closing(_connected(path)) as conn, contextlib.suppress(sqlite3.OperationalError):
        return bool(conn.execute("SELECT count(*) FROM alembic_version").fetchone()[0])
    return False


def make_of_a_run(engine: Engine, path: Path) -> None:
    """The tables of a run, and the mark of their version. Several processes may do so at once."""
    with engine.connect() as known:
        revision, head = check_alembic_revision(get_alembic_config(stock.__file__), known)
    if revision:
        return
    with contextlib.closing(_connected(path)) as conn:
        conn.execute("PRAGMA journal_mode=WAL")
        conn.execute("BEGIN IMMEDIATE")
        for table in OF_A_RUN:
            conn.execute(str(CreateTable(table, if_not_exists=True).compile(dialect=dialect.dialect())))
        conn.execute("CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
        conn.execute("INSERT OR IGNORE INTO alembic_version VALUES (?)", (str(head),))
        conn.execute("COMMIT")


def slim(path: Path) -> None:
    """The index shard that has just been made, without what is not asked."""
    with contextlib.closing(_connected(path)) as conn:
        conn.executescript(INDEX_INSTEAD)


def give_back(folder: Path) -> Iterable[Path]:
    """Give every database of a folder the form that Dagster's own storage reads; nothing may have them open."""
    for path in sorted(folder.glob("*.db")):
        engine = db.create_engine(f"sqlite:///{path}", connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS})
        db.event.listen(engine, "connect", lambda connection, _record: read_unpacked(connection))
        kept = db.inspect(engine).get_table_names()
        with engine.begin() as conn:
            for column in TEXTS:
                if column.table.name in kept:
                    _unpack(conn, column)
            conn.execute(db.text("DROP INDEX IF EXISTS idx_asset_event_tags"))
        SqlEventLogStorageMetadata.create_all(engine)
        for table in SqlEventLogStorageMetadata.sorted_tables:
            for index in table.indexes:
                index.create(engine, checkfirst=True)
        engine.dispose()
        yield path


def _unpack(conn: Connection, column: "db.Column[str]") -> None:
    """One by one, for all of a large run at once would need as much memory."""
    number = column.table.c.id
    for (packed,) in conn.execute(db.select(number).where(db.func.typeof(column) == "blob")).fetchall():
        text = conn.execute(db.select(column).where(number == packed)).scalar_one()
        conn.execute(db.update(column.table).where(number == packed).values({column: text}))


def _connected(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=SQLITE_BUSY_TIMEOUT_SECONDS, isolation_level=None)
