"""`alphaforge universe`: what is kept."""

import click

from alphaforge_assets.cli.arguments import machine_readable
from alphaforge_assets.cli.opened import environment
from alphaforge_assets.cli.screen import print_json, say


@click.command()
@machine_readable()
def universe(as_json: bool) -> None:
    """Show what is kept: venues, instruments, intervals, start of history."""
    settings, kept = environment()
    if as_json:
        names = ("instrument_id", "ccxt_symbol", "listed_from", "listed_until")
        rows = [{"instrument": i.key} | {name: getattr(i, name) for name in names} for i in kept.instruments]
        print_json({"history_start": kept.history_start, "intervals": kept.intervals, "instruments": rows})
        return
    from rich.table import Table

    title = f"{len(kept.instruments)} instruments from {kept.history_start}, {', '.join(kept.intervals)}"
    table = Table("Venue", "Instruments", title=title)
    for venue in kept.venues:
        table.add_row(venue, ", ".join(i.symbol for i in kept.instruments if i.venue == venue))
    say(table)
    say(f"[dim]{settings.universe_file}[/dim]")
