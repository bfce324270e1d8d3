"""`alphaforge migrate`: the schema's files and its history."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from alphaforge_assets.cli.screen import of_them, say

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client


@click.command()
@click.option("--info", "action", flag_value="info", help="List migrations and their state; change nothing.")
@click.option("--validate", "action", flag_value="validate", help="Compare the files with the history; change nothing.")
@click.option(
    "--repair", "action", flag_value="repair", help="Remove failed rows from the history and realign checksums."
)
def migrate(action: str | None) -> None:
    """Bring the warehouse's schema to what sql/migrations says, and make bars of minutes that were published before.

    Files and history are Flyway's, so that Flyway itself can take over on a server. Days that were published before
    there were derived bars, or whose publication was cut short, get theirs.
    """
    from alphaforge_assets.settings import settings_from_environment
    from alphaforge_assets.warehouse import schema
    from alphaforge_assets.warehouse.client import open_warehouse

    settings = settings_from_environment()
    with open_warehouse(settings.home, settings.clickhouse_url) as client:
        if action == "info":
            _print_info(client)
        elif action == "validate":
            schema.validate(client)
            say("files and history agree")
        elif action == "repair":
            for sentence in schema.repair(client, settings.home) or ["nothing to repair"]:
                say(sentence)
        else:
            applied = schema.migrate(client, settings.home)
            for migration in applied:
                say(f"applied {migration.script}  [dim]{migration.execution_ms} ms[/dim]")
            say(f"{len(applied)} applied; the schema is up to date" if applied else "the schema is up to date")
            if days := _derive(client, settings.dagster_home):
                say(f"bars of 5m to 1d made of the minutes of {of_them(days, 'day')} of an instrument")


def _derive(client: "Client", folder: Path) -> int:
    """Days of an instrument whose derived bars were made."""
    from alphaforge_assets.datasets.bars import BARS
    from alphaforge_assets.pipeline.mart import derive_what_lacks, publishing

    folder.mkdir(parents=True, exist_ok=True)
    return derive_what_lacks(client, BARS, publishing(folder))


def _print_info(client: "Client") -> None:
    from rich.table import Table

    from alphaforge_assets.warehouse import schema

    table = Table("Version", "Description", "Type", "Installed on", "State")
    for row in schema.info(client):
        installed = f"{row.installed_on:%Y-%m-%d %H:%M:%S}" if row.installed_on else ""
        table.add_row(row.version or "", row.description, row.type, installed, row.state)
    say(table)
