"""The terminal: where results go and how figures are written. Colours follow NO_COLOR and whether anybody looks.

rich is loaded by the first line that is printed, for it takes longer than all of `--help`.
"""

import datetime as dt
import json
from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.table import Table


# What a terminal obeys, line feed and tab aside: values come from venues and files, and are to be seen, no more.
_OBEYED = dict.fromkeys((*range(9), *range(11, 32), *range(127, 160)), "\ufffd")


def _console(**options: Any) -> "Console":
    from rich.console import Console
    from rich.segment import Segment

    class Harmless(Console):
        def render(self, renderable: "RenderableType", options: "ConsoleOptions | None" = None) -> "Iterable[Segment]":
            for text, style, control in super().render(renderable, options):
                yield Segment(text if control else text.translate(_OBEYED), style, control)

    return Harmless(highlight=False, **options)


@cache
def screen() -> "Console":
    """Where results go."""
    return _console()


def say(what: "RenderableType" = "", *, style: str | None = None, markup: bool = True, soft_wrap: bool = False) -> None:
    """Print a line or a table. Without `markup` square brackets stand for themselves."""
    screen().print(what, style=style, markup=markup, soft_wrap=soft_wrap)


def complain(text: str) -> None:
    """To stderr, unwrapped and as it is: square brackets in a message are no markup."""
    _console(stderr=True, soft_wrap=True).print(text, style="red", markup=False)


def print_json(value: object) -> None:
    """For programs: on one line, moments as ISO 8601."""
    click.echo(json.dumps(value, default=lambda moment: moment.isoformat()))


def table(*words: str, figures: Sequence[str] = (), is_tight: bool = True) -> "Table":
    """A table without lines: columns of words, then columns of figures. What is too wide is folded, and never cut."""
    from rich.table import Table

    made = Table(box=None, pad_edge=False, collapse_padding=is_tight)
    for name in words:
        made.add_column(name, overflow="fold")
    for name in figures:
        made.add_column(name, justify="right", overflow="fold")
    return made


def count(n: float) -> str:
    """12,345"""
    return f"{n:,.0f}"


def of_them(n: float, word: str) -> str:
    """`1 gap`, `12,345 gaps`"""
    return f"{count(n)} {word}{'' if n == 1 else 's'}"


def alarming(n: int) -> str:
    """A count that should be zero."""
    return f"[yellow]{count(n)}[/yellow]" if n else "0"


def age(seconds: float) -> str:
    """How long ago, in the one unit that matters: 3d."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size:.0f}{unit}"
    return f"{max(0, seconds):.0f}s"


def duration(seconds: float) -> str:
    """0.4 s, 12 s, 3 min, 1 h 20 min"""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    if seconds < 172_800:
        return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:.0f} min"
    return f"{seconds / 86_400:.1f} days"


def minute(moment: dt.datetime | None) -> str:
    """2025-05-01 12:00"""
    return f"{moment:%Y-%m-%d %H:%M}" if moment else "-"
