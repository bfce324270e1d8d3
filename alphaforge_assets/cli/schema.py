"""`alphaforge migrate`, and the check that every other command makes before it trusts the schema."""

from pathlib import Path

from clickhouse_connect.driver.client import Client
from rich.table import Table

from alphaforge_assets.cli.screen import screen
from alphaforge_assets.errors import MigrationRefused
from alphaforge_assets.settings import Settings, settings_from_environment
from alphaforge_assets.warehouse.client import open_warehouse
from alphaforge_assets.warehouse.migrations import migrator
from alphaforge_assets.warehouse.statements import MIGRATIONS

DATABASE = "analytics"


def run(action: str) -> None:
    """`migrate`, `info`, `validate` or `repair`."""
    settings = settings_from_environment()
    with open_warehouse(settings.home, settings.clickhouse_url) as client:
        if action == "migrate":
            applied = migrator.migrate(client, MIGRATIONS, database=DATABASE, lock_dir=_lock_dir(settings))
            for migration in applied:
                screen.print(f"applied {migration.script}  [dim]{migration.execution_ms} ms[/dim]")
            screen.print(f"{len(applied)} applied; the schema is up to date" if applied else "the schema is up to date")
        elif action == "validate":
            migrator.validate(client, MIGRATIONS, database=DATABASE)
            screen.print("files and history agree")
        elif action == "repair":
            done = migrator.repair(client, MIGRATIONS, database=DATABASE, lock_dir=_lock_dir(settings))
            for sentence in done:
                screen.print(sentence)
            if not done:
                screen.print("nothing to repair")
        else:
            _info(client)


def ensure(client: Client, settings: Settings) -> None:
    """Have the schema that this code expects: brought about on the embedded warehouse, demanded of a server.

    A server may be shared and its schema somebody else's to change. Raises MigrationRefused.
    """
    if settings.clickhouse_url is None:
        migrator.migrate(client, MIGRATIONS, database=DATABASE, lock_dir=_lock_dir(settings))
        return
    pending = [
        row.script
        for row in migrator.info(client, MIGRATIONS, database=DATABASE)
        if row.state in ("pending", "outdated")
    ]
    if pending:
        raise MigrationRefused(f"the server lacks {', '.join(pending)}: run `alphaforge migrate`")
    migrator.validate(client, MIGRATIONS, database=DATABASE)


def _lock_dir(settings: Settings) -> Path:
    return settings.home / "locks"


def _info(client: Client) -> None:
    table = Table("Version", "Description", "Type", "Installed on", "State")
    for row in migrator.info(client, MIGRATIONS, database=DATABASE):
        installed = f"{row.applied.installed_on:%Y-%m-%d %H:%M:%S}" if row.applied else ""
        table.add_row(row.version or "", row.description, row.type, installed, row.state)
    screen.print(table)
