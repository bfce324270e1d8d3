"""Migrators as real processes: killed with SIGKILL after every step, and two at once."""

import multiprocessing
import os
import signal
import uuid
from collections.abc import Callable, Iterator
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client

from alphaforge_assets.errors import Occupied
from alphaforge_assets.warehouse.client import open_warehouse
from alphaforge_assets.warehouse.migrations import history
from alphaforge_assets.warehouse.migrations.migrator import Event, migrate, validate

ROUNDS = 6

FILES = {
    "V001__first.sql": "CREATE TABLE IF NOT EXISTS a (x Int8) ENGINE = MergeTree ORDER BY x;\n"
    "ALTER TABLE a ADD COLUMN IF NOT EXISTS y Int8, MODIFY COMMENT 'A';\n"
    "CREATE TABLE IF NOT EXISTS gone (x Int8) ENGINE = MergeTree ORDER BY x;\n",
    "V002__second.sql": "DROP TABLE IF EXISTS gone;\nALTER TABLE a ADD INDEX IF NOT EXISTS i y TYPE minmax;\n",
    "V003__third.sql": "ALTER TABLE a RENAME COLUMN IF EXISTS y TO z;\n",
    "R__v.sql": "CREATE OR REPLACE VIEW v AS SELECT x FROM a;\n",
}


@pytest.fixture(scope="module")
def processes() -> multiprocessing.context.ForkServerContext:
    """Processes made from a clean one that has already imported what they need."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["alphaforge_assets.warehouse.migrations.migrator"])
    return context


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "migrations"
    path.mkdir()
    for name, sql in FILES.items():
        (path / name).write_text(sql)
    return path


@pytest.fixture
def names(warehouse: Client) -> Iterator[Callable[[], str]]:
    """New names of databases, dropped afterwards."""
    given: list[str] = []

    def new() -> str:
        given.append(f"migrations_{uuid.uuid4().hex[:12]}")
        return given[-1]

    yield new
    for name in given:
        warehouse.command("DROP DATABASE IF EXISTS {name:Identifier}", parameters={"name": name})


def schema(client: Client, database: str) -> list[tuple[str, str]]:
    """Every table's CREATE statement, the database's name taken out."""
    statement = (
        "SELECT name, replaceAll(create_table_query, {database:String}, '') FROM system.tables"
        " WHERE database = {database:String} ORDER BY name"
    )
    return [(n, q) for n, q in client.query(statement, parameters={"database": database}).result_rows]


def scripts(client: Client, database: str) -> list[tuple[int, str, bool]]:
    return [(row.installed_rank, row.script, row.success) for row in history.read(client, database)]


def migrate_and_die(home: Path, folder: Path, database: str, locks: Path, last: int) -> None:
    """A migrator that is killed at its event number `last`."""
    seen = 0

    def count(event: Event) -> None:
        nonlocal seen
        if seen == last:
            os.kill(os.getpid(), signal.SIGKILL)
        seen += 1

    with open_warehouse(home) as client:
        migrate(client, folder, database=database, lock_dir=locks, on_event=count)


def test_killed_after_any_step_a_rerun_ends_well(
    warehouse: Client,
    warehouse_home: Path,
    folder: Path,
    tmp_path: Path,
    names: Callable[[], str],
    processes: multiprocessing.context.ForkServerContext,
) -> None:
    """Events come before and after each statement, and around the row: every gap in which a kill can fall."""
    events: list[Event] = []
    undisturbed = names()
    migrate(warehouse, folder, database=undisturbed, lock_dir=tmp_path / "locks", on_event=events.append)
    assert [e.kind for e in events].count("ran") == 7
    for last, event in enumerate(events):
        database = names()
        locks = tmp_path / f"locks{last}"
        process = processes.Process(target=migrate_and_die, args=(warehouse_home, folder, database, locks, last))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        recorded = [e for e in events[: last + 1] if e.kind == "recorded"]
        assert [script for _, script, _ in scripts(warehouse, database)] == [e.subject for e in recorded]

        # The dead one's lock is known to be dead at once.
        migrate(warehouse, folder, database=database, lock_dir=locks, wait_s=5)
        assert schema(warehouse, database) == schema(warehouse, undisturbed), event
        assert scripts(warehouse, database) == scripts(warehouse, undisturbed), event
        validate(warehouse, folder, database=database)


def migrate_each(
    home: Path,
    folder: Path,
    databases: list[str],
    locks: Path | None,
    start: Barrier,
    results: "multiprocessing.Queue[tuple[str, list[str]]]",
) -> None:
    """A migrator that meets another at the same instant, database after database; puts what it applied."""
    try:
        with open_warehouse(home) as client:
            for database in databases:
                start.wait()
                applied = migrate(client, folder, database=database, lock_dir=locks)
                results.put((database, [a.script for a in applied]))
    except Exception:
        start.abort()  # or the other would wait for ever
        raise


@pytest.mark.parametrize("same_machine", [True, False], ids=["same machine", "two machines"])
def test_of_two_at_once_each_migration_is_applied_by_one(
    warehouse: Client,
    warehouse_home: Path,
    folder: Path,
    tmp_path: Path,
    names: Callable[[], str],
    processes: multiprocessing.context.ForkServerContext,
    same_machine: bool,
) -> None:
    databases = [names() for _ in range(ROUNDS)]
    locks = tmp_path / "locks" if same_machine else None
    start = processes.Barrier(2)
    results: multiprocessing.Queue[tuple[str, list[str]]] = processes.Queue()
    args = (warehouse_home, folder, databases, locks, start, results)
    pair = [processes.Process(target=migrate_each, args=args, daemon=True) for _ in range(2)]
    for process in pair:
        process.start()
    for process in pair:
        process.join()
    assert [process.exitcode for process in pair] == [0, 0]
    answers = sorted(results.get() for _ in range(2 * ROUNDS))
    order = ["V001__first.sql", "V002__second.sql", "V003__third.sql", "R__v.sql"]
    expected = [answer for database in sorted(databases) for answer in ((database, []), (database, order))]
    assert answers == expected
    for database in databases:
        assert scripts(warehouse, database) == [(n, name, True) for n, name in enumerate(order, 1)]
        assert history.tables(warehouse, database) == ["a", history.TABLE, "v"]


def hold_and_wait(home: Path, folder: Path, database: str, locks: Path, at_work: Barrier) -> None:
    """A migrator that stops in mid-migration until it is killed."""

    def stop(event: Event) -> None:
        if event.kind == "ran":
            at_work.wait()
            signal.pause()

    with open_warehouse(home) as client:
        migrate(client, folder, database=database, lock_dir=locks, on_event=stop)


def test_a_living_holder_keeps_others_out_and_a_killed_one_does_not(
    warehouse: Client,
    warehouse_home: Path,
    folder: Path,
    tmp_path: Path,
    names: Callable[[], str],
    processes: multiprocessing.context.ForkServerContext,
) -> None:
    database = names()
    at_work = processes.Barrier(2)
    process = processes.Process(
        target=hold_and_wait, args=(warehouse_home, folder, database, tmp_path / "locks", at_work), daemon=True
    )
    process.start()
    at_work.wait(timeout=60)
    for locks in (tmp_path / "locks", tmp_path / "another machine", None):
        with pytest.raises(Occupied, match=f"pid {process.pid} on"):
            migrate(warehouse, folder, database=database, lock_dir=locks, wait_s=0.2)
    assert scripts(warehouse, database) == []
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    with pytest.raises(Occupied, match=f"pid {process.pid} on"):  # elsewhere, nobody can know that it died
        migrate(warehouse, folder, database=database, lock_dir=tmp_path / "another machine", wait_s=0.2)
    assert len(migrate(warehouse, folder, database=database, lock_dir=tmp_path / "locks", wait_s=30)) == 4
