"""The terminal: where results go and how figures are written. Colours follow NO_COLOR and whether anybody looks."""

import datetime as dt

from rich.console import Console

screen = Console(highlight=False)


def count(n: float) -> str:
    """12,345"""
    return f"{n:,.0f}"


def age(seconds: float) -> str:
    """How long ago, in the two units that matter: 3d 4h."""
    left = int(max(0, seconds))
    parts = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        if left >= size and len(parts) < 2:
            parts.append(f"{left // size}{unit}")
            left %= size
        elif parts:
            break
    return " ".join(parts) or "0s"


def minute(moment: dt.datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment else "-"
