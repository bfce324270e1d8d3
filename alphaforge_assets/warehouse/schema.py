"""The schema that this code expects: brought about, looked at and put right, for whoever opens a warehouse."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from clickhouse_connect.driver.client import Client

from alphaforge_assets.errors import MigrationRefused, Permanent
from alphaforge_assets.warehouse.client import open_warehouse
from alphaforge_assets.warehouse.local import restoring
from alphaforge_assets.warehouse.migrations import migrator
from alphaforge_assets.warehouse.migrations.migrator import Applied
from alphaforge_assets.warehouse.migrations.states import Row
from alphaforge_assets.warehouse.statements import MIGRATIONS

DATABASE = "analytics"


@contextmanager
def open_current(
    home: Path, url: str | None = None, meanwhile: Callable[[], object] = lambda: None
) -> Iterator[Client]:
    """`open_warehouse`, with the schema of this code. Raises as both, and Permanent after half a restore.

    `meanwhile` is done in a thread while the schema is brought about, which on a new warehouse takes seconds of its
    server; on a server that is only asked for its schema, after it has said yes.
    """
    if restoring(home).exists():
        raise Permanent(f"{home} is half restored: run the same `alphaforge restore` again, or remove that folder")
    with open_warehouse(home, url) as client:
        with ThreadPoolExecutor(1, "meanwhile") as aside:
            done = aside.submit(meanwhile) if url is None else None
            ensure(client, home, url)
            (done or aside.submit(meanwhile)).result()
        yield client


def ensure(client: Client, home: Path, url: str | None) -> None:
    """Have the schema that this code expects: brought about on the embedded warehouse, demanded of a server.

    A server may be shared and its schema somebody else's to change. Raises MigrationRefused.
    """
    if url is None:
        migrate(client, home)
        return
    if pending := [row.script for row in info(client) if row.state in ("pending", "outdated")]:
        raise MigrationRefused(f"the server lacks {', '.join(pending)}: run `alphaforge migrate`")
    validate(client)


def migrate(client: Client, home: Path) -> list[Applied]:
    """Run what has not been run. Raises as the migrator does."""
    return migrator.migrate(client, MIGRATIONS, database=DATABASE, lock_dir=home / "locks")


def info(client: Client) -> list[Row]:
    """Every migration and its state. Raises as the migrator does."""
    return migrator.info(client, MIGRATIONS, database=DATABASE)


def validate(client: Client) -> None:
    """Nothing if files and history agree, else MigrationRefused."""
    migrator.validate(client, MIGRATIONS, database=DATABASE)


def repair(client: Client, home: Path) -> list[str]:
    """Take failed migrations out of the history; a sentence for each thing done. Raises as the migrator does."""
    return migrator.repair(client, MIGRATIONS, database=DATABASE, lock_dir=home / "locks")
