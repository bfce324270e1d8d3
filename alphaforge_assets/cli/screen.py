"""The terminal: where results go and how figures are written. Colours follow NO_COLOR and whether anybody looks."""

import datetime as dt

from rich.console import Console

screen = Console(highlight=False)
_complaints = Console(highlight=False, stderr=True, soft_wrap=True)


def count(n: float) -> str:
    """12,345"""
    return f"{n:,.0f}"


def age(seconds: float) -> str:
    """How long ago, in the one unit that matters: 3d."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size:.0f}{unit}"
    return f"{max(0, seconds):.0f}s"


def minute(moment: dt.datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment else "-"


def complain(text: str) -> None:
    """To stderr, unwrapped and as it is: square brackets in a message are no markup."""
    _complaints.print(text, style="red", markup=False)
