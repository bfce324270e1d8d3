"""What `alphaforge runs` prints: the audit, brought up to date first."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click
from rich.table import Table

from alphaforge_assets import instance
from alphaforge_assets.cli.screen import age, count, minute, screen
from alphaforge_assets.settings import settings_from_environment
from alphaforge_assets.universe import load_universe
from alphaforge_assets.upkeep.runs import record_finished
from alphaforge_assets.warehouse import schema, statements
from alphaforge_assets.warehouse.client import open_warehouse

ERRORS_SHOWN_MAX = 10


def show_runs(last: int, as_json: bool) -> None:
    """Raises WarehouseDown, WarehouseRefused."""
    settings = settings_from_environment()
    kept = load_universe(settings.universe_file)
    with open_warehouse(settings.home, settings.clickhouse_url) as client:
        schema.ensure(client, settings.home, settings.clickhouse_url)
        with instance.opened(settings.dagster_home) as dagster:
            record_finished(client, dagster, kept, settings)
        rows = statements.rows(client, "reads/runs", last=last)
    if as_json:
        click.echo(json.dumps(rows, default=lambda moment: moment.isoformat()))
    else:
        _print(rows)


def _print(rows: Sequence[Mapping[str, Any]]) -> None:
    if not rows:
        screen.print("nothing was run yet: try `alphaforge demo`")
        return
    table = Table("Run", "Ended", "By", "What", box=None, pad_edge=False, collapse_padding=True)
    for name in ("In", "Out", "Rej.", "Req.", "Took"):
        table.add_column(name, justify="right")
    for row in rows:
        good = row["outcome"] == "success"
        mark = "[green]✓[/green]" if good else "[yellow]–[/yellow]" if row["outcome"] == "canceled" else "[red]✗[/red]"
        table.add_row(
            f"{mark} {row['run_id'][:8]}", minute(row["ended_at"])[5:], row["trigger"], _what(row),
            count(row["rows_in"]), count(row["rows_out"]), count(row["rows_rejected"]), count(row["requests"]),
            age(row["duration_s"]),
        )  # fmt: skip
    screen.print(table)
    bad = [row for row in rows if row["error"]]
    for row in bad[:ERRORS_SHOWN_MAX]:
        screen.print(f"{row['run_id'][:8]} {row['outcome']}: {row['error'].splitlines()[0]}", markup=False)
    screen.print("[dim]In: rows that came. Out: new versions published. Rej.: rejected. Req.: requests.[/dim]")


def _what(row: Mapping[str, Any]) -> str:
    """`bars 7×3d`: the job, instruments and days."""
    if row["day_from"] is None:
        return str(row["job"])
    days = (row["day_until"] - row["day_from"]).days
    return f"{'+'.join(row['datasets']) or row['job']} {len(row['instruments'])}×{days}d"
