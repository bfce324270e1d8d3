"""`alphaforge universe --discover`: what a venue lists and listed once, as a table, and into the universe's file."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

from alphaforge_assets.cli.opened import environment, prepare_to_ask
from alphaforge_assets.cli.screen import complain, count, print_json, say, screen, table

if TYPE_CHECKING:
    from alphaforge_assets.discovery import Found
    from alphaforge_assets.settings import Settings
    from alphaforge_assets.universe import Universe


def discover(venue: str, quotes: Sequence[str], pattern: str, *, write: bool, as_json: bool) -> None:
    """Show what there is, and keep it if `write`. Raises what `discovery.discover` and `universe_file.add` raise."""
    from alphaforge_assets.discovery import discover as found_by
    from alphaforge_assets.discovery import has_archive
    from alphaforge_assets.resources import exchanges_of

    settings, universe = environment()
    prepare_to_ask(settings)
    with _bar() as progress:
        found = found_by(exchanges_of(settings), universe, venue, quotes, pattern, progress)
    added = _write(settings, universe, venue, found) if write else []
    if as_json:
        print_json([asdict(one) | {"is_added": one in added} for one in found])
        return
    _print(found)
    if not has_archive(venue):
        say(f"[dim]of {venue} we read no archive: what it has dropped from its list is not here[/dim]")
    if write:
        said = f"{count(len(added))} instruments added to {settings.universe_file}"
        say(said if added else "nothing to add: all of it is kept, or cannot be", markup=False, soft_wrap=True)


def _print(found: "Sequence[Found]") -> None:
    shown = table("Symbol", "Listed", "Over", "Status", "By", "Kept", is_tight=False)
    for one in found:
        dates = (f"{day}" if day else "-" for day in (one.listed_from, one.delisted))
        shown.add_row(
            one.symbol or f"({one.venue_symbol})", *dates, one.status, one.source, "yes" if one.is_kept else ""
        )
    say(shown)
    over = sum(one.delisted is not None for one in found)
    words = "Listed and Over are the venue's word, or by its files: Listed then to the month."
    say(f"[dim]{count(len(found))} instruments, {count(over)} of them over. {words}[/dim]")


def _write(settings: "Settings", universe: "Universe", venue: str, found: "Sequence[Found]") -> "list[Found]":
    """Those that were added: what is over with its days, what is not by its symbol alone."""
    from alphaforge_assets.universe_file import add, entry

    new, lines = [], {}
    for one in found:
        if one.is_kept or not one.symbol or one.symbol in lines:
            continue
        if one.delisted is not None and one.delisted <= universe.history_start:
            complain(
                f"{one.symbol} was over on {one.delisted}, and history starts on {universe.history_start}: left out"
            )
            continue
        own = None if one.is_listed else one.venue_symbol
        days = {} if one.delisted is None else {"listed_from": one.listed_from, "listed_until": one.delisted}
        lines[one.symbol] = entry(one.symbol, **days, venue_symbol=own)
        new.append(one)
    if new:
        add(settings.universe_file, venue, lines)
    return new


@contextmanager
def _bar() -> "Iterator[Callable[[int, int], None]]":
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=screen(), transient=True, disable=not screen().is_terminal)
    task = bar.add_task("asking", total=None)
    with bar:
        yield lambda done, total: bar.update(task, completed=done, total=total)
