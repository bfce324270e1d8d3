"""`alphaforge universe`: what is kept, and what else there is."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from alphaforge_assets.cli.arguments import machine_readable, words
from alphaforge_assets.cli.discover import discover
from alphaforge_assets.cli.opened import environment
from alphaforge_assets.cli.screen import print_json, say
from alphaforge_assets.errors import BadInput

if TYPE_CHECKING:
    from alphaforge_assets.intervals import Interval
    from alphaforge_assets.universe import Instrument


@click.command()
@click.option("--discover", "venue", metavar="VENUE", help="What this venue lists, and listed once by its archives.")
@click.option("--quote", "quotes", multiple=True, callback=words, help="With --discover: of these quotes only.")
@click.option("--match", default="*", metavar="GLOB", help="With --discover: symbols that fit, such as 'LUNA*/USDT'.")
@click.option("--write", is_flag=True, help="With --discover: add what is shown and not kept to the universe's file.")
@machine_readable()
def universe(venue: str | None, quotes: Sequence[str], match: str, write: bool, as_json: bool) -> None:
    """Show what is kept: venues, instruments, intervals, start of history; or what there is to keep.

    \b
      alphaforge universe
      alphaforge universe --discover binance_spot --quote USDT
      alphaforge universe --discover binance_spot --match 'LUNA/*' --write
    """
    if venue is not None:
        discover(venue, quotes, match, write=write, as_json=as_json)
        return
    if quotes or match != "*" or write:
        raise BadInput("--quote, --match and --write are about what --discover finds: name a venue")
    settings, kept = environment()
    if as_json:
        names = ("instrument_id", "ccxt_symbol", "listed_from", "listed_until")
        rows = [
            {"instrument": i.key} | {name: getattr(i, name) for name in names} | _identity(i) for i in kept.instruments
        ]
        print_json({"history_start": kept.history_start, "intervals": kept.intervals, "instruments": rows})
        return
    from rich.table import Table

    title = f"{len(kept.instruments)} instruments from {kept.history_start}, {', '.join(kept.intervals)}"
    table = Table("Venue", "Instruments", title=title)
    for venue in kept.venues:
        table.add_row(venue, ", ".join(i.symbol for i in kept.instruments if i.venue == venue))
    say(table)
    for venue in kept.venues:
        if reach := _reach(venue, kept.intervals):
            say(f"{venue} {reach}", soft_wrap=True)
    for one in kept.instruments:
        if told := [f"{name} {_words(value)}" for name, value in _identity(one).items() if value]:
            say(f"{one.key}: {', '.join(told)}", soft_wrap=True)
    say(f"[dim]{settings.universe_file}[/dim]")


def _reach(venue: str, intervals: "Sequence[Interval]") -> str:
    """Which of the intervals a venue lacks, and how far back it serves those it forgets; "" if it has all of all."""
    from alphaforge_assets.venues.directory import kept, served

    has = served(venue, "bars", intervals)
    lacks = [i for i in intervals if i not in has]
    spans = {i: span for i in has if (span := kept(venue, "bars", i))}
    newest = [f"{i} of {_span(span)}" for i, span in spans.items()]
    said = [f"has no {' and no '.join(lacks)}"] if lacks else []
    return "; ".join(said + ([f"serves the newest bars only: {', '.join(newest)}"] if newest else []))


def _span(span: dt.timedelta) -> str:
    hours = span.total_seconds() / 3600
    return f"{hours:.1f} hours" if hours < 48 else f"{hours / 24:.0f} days"


def _identity(one: "Instrument") -> dict[str, Any]:
    """What a name has stood for, field by field as the universe file has them."""
    its = one.identity
    redenominated = {moment.isoformat(): factor for moment, factor in its.redenominated_at}
    return asdict(its) | {"redenominated_at": redenominated, "relisted_at": list(its.relisted_at)}


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return " and ".join(f"{moment} times {factor:g}" for moment, factor in value.items())
    if isinstance(value, list):
        return " and ".join(map(_words, value))
    return value if isinstance(value, str) else str(value.isoformat())
