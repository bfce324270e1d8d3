"""`alphaforge demo`: the main job on a machine with nothing but Python: emulated venues, real everything else."""

import datetime as dt
import sys
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click

from alphaforge_assets.cli.backfill import run_backfill
from alphaforge_assets.cli.opened import environment, start_warehouse, warehouse
from alphaforge_assets.cli.screen import count, say, table
from alphaforge_assets.cli.status import print_status, status_rows

if TYPE_CHECKING:
    from alphaforge_assets.settings import Settings
    from alphaforge_assets.universe import Universe

# Two instruments a venue: enough to see neighbours in a run and gaps between venues, little enough for a minute.
INSTRUMENTS_PER_VENUE = 2


@click.command()
@click.option("--days", type=click.IntRange(1, 30), default=3, show_default=True, help="How many complete days.")
def demo(days: int) -> None:
    """Fill a warehouse from the exchange emulator, through Dagster, and show what came of it. Needs no network."""
    from alphaforge_assets.backfill.question import ask
    from alphaforge_assets.sandbox import process
    from alphaforge_assets.warehouse.client import open_warehouse

    settings, universe = environment(opens_warehouse=True)
    by_venue = groupby(universe.instruments, lambda instrument: instrument.venue)
    keys = [i.key for _, its in by_venue for i in list(its)[:INSTRUMENTS_PER_VENUE]]
    today = dt.datetime.now(dt.UTC).date()
    say("[bold]The venues are emulated on this machine (the sandbox); everything else is real.[/bold]")
    question = ask(["bars"], keys, today - dt.timedelta(days=days), today)
    start_warehouse(settings)
    with process.start() as url, open_warehouse(settings.home, settings.clickhouse_url):
        failed = run_backfill(replace(question, settings=replace(settings, venues_url=url)))
        _show(settings, universe, keys[0])
    sys.exit(1 if failed else 0)


def _show(settings: "Settings", universe: "Universe", key: str) -> None:
    from alphaforge_assets.research import Research

    today = dt.datetime.now(dt.UTC).date()
    yesterday = today - dt.timedelta(days=1)
    with warehouse(settings) as client:
        say()
        print_status(status_rows(client, universe))
        frame = Research(client, universe).bars(key, "1h", yesterday, today)
    say(f"\n[bold]{key}, 1h, {yesterday}[/bold]: a DataFrame of {count(len(frame))} rows")
    columns = ["open", "high", "low", "close", "volume"]
    shown = table("timestamp", figures=[*columns, "trade_count"], is_tight=False)
    for moment, row in frame.tail(5).iterrows():
        shown.add_row(f"{moment:%H:%M}", *(f"{row[name]:,.2f}" for name in columns), count(row["trade_count"]))
    say(shown)
    beside = "" if sys.argv[0] == "alphaforge" else f"{Path(sys.argv[0]).parent}/"
    alphaforge, python = f"{beside}alphaforge", f"{beside}python"
    say(
        f"\nNext\n"
        f"  {alphaforge} up --venues sandbox     the Dagster UI on http://127.0.0.1:3000: lineage, partitions, checks\n"
        f"  {alphaforge} status                  what is there\n"
        f'  {python} -c \'from alphaforge_assets.research import connect; print(connect().bars("{key}", "1h",'
        f' "{yesterday}", "{today}"))\'\n'
        f"This warehouse now holds sandbox data and takes no live data: for that set another ALPHAFORGE_HOME.",
        soft_wrap=True,
    )
