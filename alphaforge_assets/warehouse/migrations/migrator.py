"""Bringing a database to what the files say: migrate, info, validate, repair. The public face of this package.

A migration's row is written after its last statement. A process killed before that leaves no row, so the file runs
again from its first statement, which is why every statement is idempotent. A statement that ClickHouse refuses leaves
a row with success = 0, as with Flyway, and nothing runs until `repair` has removed it.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from clickhouse_connect.driver.client import Client

from alphaforge_assets.errors import BadInput, MigrationRefused, Transient, WarehouseRefused
from alphaforge_assets.warehouse.client import READ_TIMEOUT_S, translated
from alphaforge_assets.warehouse.migrations import history, lock, sql_rules, states
from alphaforge_assets.warehouse.migrations.files import Migration, read_migrations
from alphaforge_assets.warehouse.migrations.lock import Lock
from alphaforge_assets.warehouse.migrations.sql_rules import Statement
from alphaforge_assets.warehouse.migrations.states import Row

# Longer than the client waits for any one statement of a holder at work.
WAIT_S = READ_TIMEOUT_S + 120.0


@dataclass(frozen=True)
class Applied:
    """A migration that has just run. `rank` is its place in the history."""

    script: str
    version: str | None
    description: str
    rank: int
    execution_ms: int


@dataclass(frozen=True)
class Event:
    """What migrate is doing. `subject` is a script, or for "waiting" and "locked" whoever holds the lock.

    "ran" comes after each statement, with its number out of `of`; "recorded" after the row in the history.
    """

    kind: Literal["waiting", "locked", "prepared", "running", "ran", "recorded"]
    subject: str
    statement: int = 0
    of: int = 0


def migrate(
    client: Client,
    folder: Path,
    *,
    database: str,
    lock_dir: Path | None,
    on_event: Callable[[Event], None] | None = None,
    wait_s: float = WAIT_S,
) -> list[Applied]:
    """Run what has not been run, and return it in that order; nothing when the database is up to date.

    Makes the database and its history if need be. With `lock_dir` another migrator on this machine is waited for by a
    file lock, and one that died is known to be dead at once; without it, and between machines, nobody can know.

    Raises BadInput for a folder or file that cannot be used; MigrationRefused where history and files disagree or a
    statement failed; Occupied when another migrator did not end within `wait_s`; WarehouseDown, WarehouseRefused.
    """
    report = on_event or (lambda event: None)
    migrations = read_migrations(folder)
    pending = _pending(_checked(client, migrations, database))
    if not pending:
        lock.sweep(client, database, lock_dir)
        return []
    _check_syntax(client, pending)
    _make_database(client, database)
    with lock.held(
        client,
        database,
        lock_dir,
        wait_s=wait_s,
        on_wait=lambda holder: report(Event("waiting", holder)),
    ) as held:
        report(Event("locked", held.holder))
        _make_history(client, database)
        report(Event("prepared", database))
        # Read again: whoever held the lock before us may have run some or all of it.
        rows = _checked(client, migrations, database)
        rank = max((row.applied.installed_rank for row in rows if row.applied), default=0)
        return [
            _apply(client, database, migration, rank + n, held, report) for n, migration in enumerate(_pending(rows), 1)
        ]


def info(client: Client, folder: Path, *, database: str) -> list[Row]:
    """Every row of the history and every file not yet applied, as `flyway info`. Changes nothing.

    Raises BadInput, MigrationRefused (a history no tool could have written alone), WarehouseDown, WarehouseRefused.
    """
    return states.compare(read_migrations(folder), history.read(client, database))


def validate(client: Client, folder: Path, *, database: str) -> None:
    """Nothing if history and files say the same, as `flyway validate`. Changes nothing.

    Raises MigrationRefused with every disagreement, what has not been applied included, and what to do about each;
    BadInput, WarehouseDown, WarehouseRefused.
    """
    rows = info(client, folder, database=database)
    if faults := [*states.disagreements(rows, database), *states.unapplied(rows)]:
        raise MigrationRefused("\n".join(faults))


def repair(
    client: Client,
    folder: Path,
    *,
    database: str,
    lock_dir: Path | None = None,
    wait_s: float = WAIT_S,
) -> list[str]:
    """Remove the rows of failed migrations; make the others say what their files say; return what was done.

    As `flyway repair`, but a row whose file is gone stays: striking it out would hide that the file was lost. Touches
    no table but the history. Raises as migrate does.
    """
    migrations = read_migrations(folder)
    done: list[str] = []
    if not history.exists(client, database):
        return done
    with lock.held(client, database, lock_dir, wait_s=wait_s):
        rows = states.compare(migrations, history.read(client, database))
        failed = [row for row in rows if row.state == "failed"]
        if failed:
            history.delete_failed(client, database)
            done += [
                f"Removed the row of {row.script}, which failed; what it did before that is still there."
                for row in failed
            ]
        for row in rows:
            if (found := states.differences(row)) and row.applied and row.migration:
                history.realign(client, database, row.applied.installed_rank, row.migration)
                done.append(f"Made the row of {row.script} say what the file says: {'; '.join(found)}.")
    return done


def _pending(rows: list[Row]) -> list[Migration]:
    return [row.migration for row in rows if row.state == "pending" and row.migration]


def _checked(client: Client, migrations: list[Migration], database: str) -> list[Row]:
    """History held against files. Raises MigrationRefused with all that stands in the way."""
    rows = states.compare(migrations, history.read(client, database))
    if faults := states.disagreements(rows, database):
        raise MigrationRefused("\n".join(faults))
    return rows


def _make_database(client: Client, database: str) -> None:
    with translated():
        client.command("CREATE DATABASE IF NOT EXISTS {database:Identifier}", parameters={"database": database})


def _make_history(client: Client, database: str) -> None:
    """Make the history, but not in a database somebody else filled: its tables would be taken for ours."""
    tables = [name for name in history.tables(client, database) if not name.startswith(lock.TABLE)]
    if tables and history.TABLE not in tables:
        raise MigrationRefused(
            f"database {database} holds tables ({', '.join(tables[:5])}{', …' if len(tables) > 5 else ''}) but no "
            f"{history.TABLE}: it is somebody else's; use another database, or drop these tables"
        )
    history.create(client, database)


def _check_syntax(client: Client, pending: list[Migration]) -> None:
    """Let ClickHouse parse every statement before the first one runs. Raises BadInput with all it refuses."""
    faults: list[str] = []
    for migration in pending:
        texts = [statement.text for statement in migration.statements]
        try:
            _parse(client, texts)  # a file in one go: a new home has a hundred statements to parse
        except WarehouseRefused:
            faults += [fault for statement in migration.statements if (fault := _refusal(client, migration, statement))]
    if faults:
        raise BadInput("\n".join(faults))


def _refusal(client: Client, migration: Migration, statement: Statement) -> str | None:
    try:
        _parse(client, [statement.text])
    except WarehouseRefused as error:
        return f"{migration.path}:{statement.line}: {error}"
    return None


def _parse(client: Client, texts: list[str]) -> None:
    """Raises WarehouseRefused if ClickHouse cannot read one of them."""
    with translated():
        client.query("SELECT formatQuery(arrayJoin({texts:Array(String)}))", parameters={"texts": texts})


def _apply(
    client: Client, database: str, migration: Migration, rank: int, held: Lock, report: Callable[[Event], None]
) -> Applied:
    """Run a migration's statements and write its row. Raises MigrationRefused if one fails, after writing that down."""
    count = len(migration.statements)
    began = time.monotonic()
    report(Event("running", migration.script, 0, count))
    n = 0
    for group in sql_rules.together(migration.statements):
        held.check()
        try:
            _run(client, database, group)
        except Transient as error:
            # Whether it was done is unknown, so nothing is written down, as after a kill.
            where = f"{migration.path}:{group[0].line}: statement {n + 1} of {count}"
            raise type(error)(f"{where}: {error}; run `alphaforge migrate` again") from error
        except _Refused as refused:
            history.append(client, database, migration, rank, _ms_since(began), success=False)
            n += group.index(refused.statement) + 1
            raise MigrationRefused(
                f"{migration.path}:{refused.statement.line}: statement {n} of {count} failed: {refused.__cause__}\n"
                f"{refused.statement.text}\n"
                "Mend the file, then run `alphaforge migrate --repair` and `alphaforge migrate`"
            ) from refused.__cause__
        n += len(group)
        report(Event("ran", migration.script, n, count))
    execution_ms = _ms_since(began)
    held.check()
    history.append(client, database, migration, rank, execution_ms, success=True)
    report(Event("recorded", migration.script, count, count))
    return Applied(migration.script, migration.version, migration.description, rank, execution_ms)


class _Refused(Exception):
    """One statement of a group that the server refused; the cause says why."""

    def __init__(self, statement: Statement) -> None:
        self.statement = statement


def _run(client: Client, database: str, group: Sequence[Statement]) -> None:
    """Run statements that may go together as one; where that is refused, one by one. Raises _Refused, Transient."""
    # Names without a database are of this one, and a mutation that fails must fail the migration.
    settings = {"database": database, "mutations_sync": 1}
    try:
        with translated():
            client.command(sql_rules.joined(group), settings=settings)
    except WarehouseRefused as error:
        if len(group) == 1:
            raise _Refused(group[0]) from error
        for statement in group:
            _run(client, database, [statement])


def _ms_since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)
