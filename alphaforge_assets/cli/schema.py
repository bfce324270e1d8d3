"""`alphaforge migrate`: what it prints of the schema's files and history."""

from clickhouse_connect.driver.client import Client
from rich.table import Table

from alphaforge_assets.cli.screen import screen
from alphaforge_assets.settings import settings_from_environment
from alphaforge_assets.warehouse import schema
from alphaforge_assets.warehouse.client import open_warehouse


def run(action: str) -> None:
    """`migrate`, `info`, `validate` or `repair`."""
    settings = settings_from_environment()
    with open_warehouse(settings.home, settings.clickhouse_url) as client:
        if action == "migrate":
            applied = schema.migrate(client, settings.home)
            for migration in applied:
                screen.print(f"applied {migration.script}  [dim]{migration.execution_ms} ms[/dim]")
            screen.print(f"{len(applied)} applied; the schema is up to date" if applied else "the schema is up to date")
        elif action == "validate":
            schema.validate(client)
            screen.print("files and history agree")
        elif action == "repair":
            for sentence in schema.repair(client, settings.home) or ["nothing to repair"]:
                screen.print(sentence)
        else:
            _info(client)


def _info(client: Client) -> None:
    table = Table("Version", "Description", "Type", "Installed on", "State")
    for row in schema.info(client):
        installed = f"{row.applied.installed_on:%Y-%m-%d %H:%M:%S}" if row.applied else ""
        table.add_row(row.version or "", row.description, row.type, installed, row.state)
    screen.print(table)
