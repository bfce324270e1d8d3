"""The table `flyway_schema_history`: made, read, appended to and repaired, and nothing decided.

The table is Flyway's own (flyway-database-clickhouse 10.24, ClickHouseDatabase.getRawCreateScript), with comments and
with the two settings without which `flyway repair` fails on ClickHouse (UPDATE is refused, code 48). A table Flyway
made is used as it is, without its SCHEMA row, which tells of no migration. We write none: it would tell `flyway clean`
that it may drop the database, and Flyway asks for none. Its markers of a baseline or of a file struck out are refused.
"""

import datetime as dt
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from clickhouse_connect.driver.client import Client

from alphaforge_assets.errors import MigrationRefused
from alphaforge_assets.warehouse.client import translated
from alphaforge_assets.warehouse.migrations.files import Migration, version_key

TABLE = "flyway_schema_history"

_CREATE = """
CREATE TABLE IF NOT EXISTS {database:Identifier}.flyway_schema_history
(
    installed_rank Int32 COMMENT 'Order in which migrations were applied, from 1',
    version Nullable(String) COMMENT 'Version of the migration, NULL for a repeatable one',
    description String COMMENT 'What the migration does, from its file name',
    type String COMMENT 'SQL, or BASELINE, SCHEMA, DELETE when Flyway wrote the row',
    script String COMMENT 'File name of the migration',
    checksum Nullable(Int32) COMMENT 'CRC32 of the lines of the file, as Flyway computes it',
    installed_by String COMMENT 'Database user who applied it',
    installed_on DateTime DEFAULT now() COMMENT 'When it was applied',
    execution_time Int32 COMMENT 'How long it took, milliseconds',
    success Bool COMMENT 'False if a statement failed, which stops every later migrate until repair'
)
ENGINE = MergeTree
PRIMARY KEY (script)
SETTINGS enable_block_number_column = 1, enable_block_offset_column = 1
COMMENT 'Migrations applied to this database, in the format of Flyway'
"""

_READ = """
SELECT installed_rank, version, description, type, script, checksum, installed_by, installed_on, execution_time, success
FROM {database:Identifier}.flyway_schema_history
WHERE installed_rank > -1 AND type != 'SCHEMA'
ORDER BY installed_rank, version, script
"""

# Guarded by the rank, so that a request the network repeats adds nothing.
_APPEND = """
INSERT INTO {database:Identifier}.flyway_schema_history
    (installed_rank, version, description, type, script, checksum, installed_by, execution_time, success)
SELECT {rank:Int32}, {version:Nullable(String)}, {description:String}, 'SQL', {script:String}, {checksum:Int32},
    currentUser(), {execution_ms:Int32}, {success:Bool}
WHERE {rank:Int32} NOT IN (SELECT installed_rank FROM {database:Identifier}.flyway_schema_history)
"""

_REALIGN = """
ALTER TABLE {database:Identifier}.flyway_schema_history
UPDATE description = {description:String}, type = 'SQL', checksum = {checksum:Int32}
WHERE installed_rank = {rank:Int32}
"""

# For a replicated history, should Flyway have made one: a single server has no use for most of these.
_READ_SETTINGS = {"select_sequential_consistency": 1}
_WRITE_SETTINGS = {
    "async_insert": 0,
    "insert_quorum": "auto",
    "insert_deduplicate": 0,  # failing twice in one second makes two equal rows, and both count
    "mutations_sync": 2,
    "lightweight_deletes_sync": 2,
}


@dataclass(frozen=True)
class HistoryRow:
    """A row of the history. `execution_time` in milliseconds, `installed_on` in the time zone of the server."""

    installed_rank: int
    version: str | None
    description: str
    type: str
    script: str
    checksum: int | None
    installed_by: str
    installed_on: dt.datetime
    execution_time: int
    success: bool

    @property
    def identity(self) -> tuple[int, ...] | str:
        """What makes two rows, or a row and a file, the same migration: the version, or a repeatable's description."""
        return self.description if self.version is None else version_key(self.version)


def create(client: Client, database: str) -> None:
    """Make the table if it is not there. Raises WarehouseRefused, WarehouseDown."""
    with translated():
        client.command(_CREATE, parameters={"database": database}, settings=_WRITE_SETTINGS)


def exists(client: Client, database: str) -> bool:
    """Whether the database has a history. Raises WarehouseRefused, WarehouseDown."""
    return TABLE in tables(client, database)


def tables(client: Client, database: str) -> list[str]:
    """Names of the database's tables and views; none if there is no such database. Raises as the client does."""
    with translated():
        result = client.query(
            "SELECT name FROM system.tables WHERE database = {database:String} ORDER BY name",
            parameters={"database": database},
        )
    return [str(name) for (name,) in result.result_rows]


def read(client: Client, database: str) -> list[HistoryRow]:
    """The whole history by rank; empty if there is none yet.

    Raises MigrationRefused if it holds what no single tool could have written; WarehouseRefused, WarehouseDown.
    """
    return _read(client, database) if exists(client, database) else []


def _read(client: Client, database: str) -> list[HistoryRow]:
    with translated():
        result = client.query(_READ, parameters={"database": database}, settings=_READ_SETTINGS)
    rows = [HistoryRow(*values) for values in result.result_rows]
    if faults := list(_corruption(rows, database)):
        raise MigrationRefused("\n".join(faults))
    return rows


def append(client: Client, database: str, migration: Migration, rank: int, execution_ms: int, *, success: bool) -> None:
    """Add the row of a migration that has run.

    Raises MigrationRefused if another migrator took the rank; WarehouseRefused, WarehouseDown.
    """
    parameters = {
        "database": database,
        "rank": rank,
        "version": migration.version,
        "description": migration.description,
        "script": migration.script,
        "checksum": migration.checksum,
        "execution_ms": execution_ms,
        "success": success,
    }
    with translated():
        client.command(_APPEND, parameters=parameters, settings=_WRITE_SETTINGS)
    taken = [row for row in _read(client, database) if row.installed_rank == rank]
    if [(row.script, row.checksum, row.success) for row in taken] != [(migration.script, migration.checksum, success)]:
        other = taken[0].script if taken else "nothing"
        raise MigrationRefused(
            f"{migration.script}: rank {rank} of {database}.{TABLE} went to {other}: another migrator is at work; "
            "run `alphaforge migrate` again"
        )


def delete_failed(client: Client, database: str) -> None:
    """Remove the rows of failed migrations. Raises WarehouseRefused, WarehouseDown."""
    with translated():
        client.command(
            "DELETE FROM {database:Identifier}.flyway_schema_history WHERE success = 0",
            parameters={"database": database},
            settings=_WRITE_SETTINGS,
        )


def realign(client: Client, database: str, rank: int, migration: Migration) -> None:
    """Make the row of that rank say what the file says. Raises WarehouseRefused, WarehouseDown."""
    parameters = {
        "database": database,
        "rank": rank,
        "description": migration.description,
        "checksum": migration.checksum,
    }
    with translated():
        client.command(_REALIGN, parameters=parameters, settings=_WRITE_SETTINGS)


def _corruption(rows: Sequence[HistoryRow], database: str) -> Iterator[str]:
    for n, row in enumerate(rows):
        where = f"{database}.{TABLE}, rank {row.installed_rank} ({row.script})"
        if row.type != "SQL":
            yield f"{where}: type {row.type} is not SQL: migrate with the tool that wrote it"
        if n and rows[n - 1].installed_rank == row.installed_rank:
            yield (
                f"{where}: {rows[n - 1].script} has the same rank: two tools migrated at once without a lock; "
                "see which of the two rows is true and delete the other by hand"
            )
        if row.version is not None and not re.fullmatch(r"[0-9]+(\.[0-9]+)*", row.version):
            yield f"{where}: version {row.version!r} is not a number; correct the row by hand"
