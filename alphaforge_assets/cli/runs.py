"""`alphaforge runs`: the audit, brought up to date first."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from alphaforge_assets.cli.arguments import machine_readable
from alphaforge_assets.cli.opened import environment, warehouse_and_dagster
from alphaforge_assets.cli.screen import age, count, minute, print_json, say, table

ERRORS_SHOWN_MAX = 10


@click.command()
@click.option("--last", type=click.IntRange(1, 100_000), default=20, show_default=True, help="How many.")
@machine_readable(", with code and configuration hashes")
def runs(last: int, as_json: bool) -> None:
    """The audit: the last executions, the latest first, with what started them, rows, requests and outcome.

    Killed runs have their row too. All of it, as a view: analytics.v_runs.
    """
    settings, universe = environment(opens_warehouse=True)

    from alphaforge_assets.upkeep.runs import record_finished
    from alphaforge_assets.warehouse import statements

    with warehouse_and_dagster(settings) as (client, dagster):
        record_finished(client, dagster, universe, settings)
        rows = statements.rows(client, "reads/runs", last=last)
    if as_json:
        print_json(rows)
    else:
        _print(rows)


def _print(rows: Sequence[Mapping[str, Any]]) -> None:
    if not rows:
        say("nothing was run yet: try `alphaforge demo`")
        return
    shown = table("Run", "Ended", "By", "What", figures=("In", "Out", "Rej.", "Req.", "Took"))
    marks = {"success": "[green]✓[/green]", "canceled": "[yellow]–[/yellow]"}
    for row in rows:
        shown.add_row(
            f"{marks.get(row['outcome'], '[red]✗[/red]')} {row['run_id'][:8]}", minute(row["ended_at"])[5:],
            row["trigger"], _what(row), count(row["rows_in"]), count(row["rows_out"]), count(row["rows_rejected"]),
            count(row["requests"]), age(row["duration_s"]),
        )  # fmt: skip
    say(shown)
    for row in [row for row in rows if row["error"]][:ERRORS_SHOWN_MAX]:
        say(f"{row['run_id'][:8]} {row['outcome']}: {row['error'].splitlines()[0]}", markup=False)
    say("[dim]In: rows that came. Out: new versions published. Rej.: rejected. Req.: requests.[/dim]")


def _what(row: Mapping[str, Any]) -> str:
    """`bars 7×3d`: the job, instruments and days."""
    if row["day_from"] is None:
        return str(row["job"])
    days = (row["day_until"] - row["day_from"]).days
    return f"{'+'.join(row['datasets']) or row['job']} {len(row['instruments'])}×{days}d"
