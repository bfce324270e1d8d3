"""`alphaforge demo`: the main job on a machine with nothing but Python: emulated venues, real everything else."""

import datetime as dt
import sys
from dataclasses import replace
from pathlib import Path

from rich.table import Table

from alphaforge_assets.backfill.question import ask
from alphaforge_assets.cli import run as runs
from alphaforge_assets.cli.screen import count, screen
from alphaforge_assets.cli.show import print_status, status_rows
from alphaforge_assets.research import Research
from alphaforge_assets.sandbox import process as sandbox
from alphaforge_assets.settings import Settings, settings_from_environment
from alphaforge_assets.universe import load_universe
from alphaforge_assets.warehouse import schema
from alphaforge_assets.warehouse.client import open_warehouse

# Two instruments a venue: enough to see neighbours in a run and gaps between venues, little enough for a minute.
INSTRUMENTS_PER_VENUE = 2


def run(days: int) -> dict[str, str]:
    """Backfill the last `days` complete days of a few instruments a venue, then show them. Returns what failed."""
    settings = settings_from_environment()
    universe = load_universe(settings.universe_file)
    keys = [
        i.key
        for venue in universe.venues
        for i in [j for j in universe.instruments if j.venue == venue][:INSTRUMENTS_PER_VENUE]
    ]
    today = dt.datetime.now(dt.UTC).date()
    screen.print("[bold]The venues are emulated on this machine (the sandbox); everything else is real.[/bold]")
    question = ask(["bars"], keys, today - dt.timedelta(days=days), today)
    with sandbox.start() as url, open_warehouse(settings.home, settings.clickhouse_url):
        fed = replace(settings, venues_url=url)
        failed = runs.run_backfill(replace(question, settings=fed))
        _show(fed, keys[0])
    return failed


def _show(settings: Settings, key: str) -> None:
    universe = load_universe(settings.universe_file)
    with open_warehouse(settings.home, settings.clickhouse_url) as client:
        schema.ensure(client, settings.home, settings.clickhouse_url)
        screen.print()
        print_status(status_rows(client, universe))
        research = Research(client, universe)
        yesterday = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
        frame = research.bars(key, "1h", yesterday, yesterday + dt.timedelta(days=1))
    screen.print(f"\n[bold]{key}, 1h, {yesterday}[/bold]: a DataFrame of {count(len(frame))} rows")
    table = Table("timestamp", box=None, pad_edge=False)
    columns = ["open", "high", "low", "close", "volume", "trade_count"]
    for name in columns:
        table.add_column(name, justify="right")
    for moment, row in frame.tail(5).iterrows():
        table.add_row(f"{moment:%H:%M}", *(f"{row[name]:,.2f}" for name in columns[:-1]), count(row["trade_count"]))
    screen.print(table)
    beside = "" if sys.argv[0] == "alphaforge" else f"{Path(sys.argv[0]).parent}/"
    alphaforge, python = f"{beside}alphaforge", f"{beside}python"
    screen.print(
        f"\nNext\n"
        f"  {alphaforge} up --venues sandbox     the Dagster UI on http://127.0.0.1:3000: lineage, partitions, checks\n"
        f"  {alphaforge} status                  what is there\n"
        f'  {python} -c \'from alphaforge_assets.research import connect; print(connect().bars("{key}", "1h",'
        f' "{yesterday}", "{yesterday + dt.timedelta(days=1)}"))\'\n'
        f"This warehouse now holds sandbox data and takes no live data: for that set another ALPHAFORGE_HOME.",
        soft_wrap=True,
    )
