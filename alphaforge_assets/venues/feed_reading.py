"""How messages of a stream are read without ever raising, and the values that whoever loads them must be able to trust.

A venue's file says what its messages mean; here is what all of them share. A record whose times or ids cannot be
believed is not told on: a page of such rows would be refused as a whole where it is loaded (columns.py, trade_rows.py).
What else is odd in it, a price that is no number, is told as it came.
"""

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from alphaforge_assets.venues.columns import TIME_MS_MAX, TIME_MS_MIN
from alphaforge_assets.venues.feed import Event, Notice
from alphaforge_assets.venues.trade_rows import ID_MAX

REASON_CHARS = 200
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
MICROSECOND = dt.timedelta(microseconds=1)


def never_raising(
    read: Callable[[Any], Sequence[Event | Notice]], load: Callable[[bytes], Any] = orjson.loads
) -> Callable[[bytes], Sequence[Event | Notice]]:
    """`Feed.parse` made of what reads a message as JSON has it; what that stumbles over is a Notice "unknown"."""

    def parse(message: bytes) -> Sequence[Event | Notice]:
        try:
            return read(load(message))
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
            return (unknown(message, error),)

    return parse


def unknown(message: bytes, error: Exception | None = None) -> Notice:
    """What nobody here understands, and its first words."""
    said = message[:REASON_CHARS].decode("utf-8", "replace")
    return Notice("unknown", f"{type(error).__name__}: {str(error)[:REASON_CHARS]}: {said}" if error else said)


def told_ms(value: Any) -> int:
    """A time in milliseconds. Raises ValueError for anything that is not one of this age."""
    if type(value) is int and TIME_MS_MIN <= value <= TIME_MS_MAX:
        return value
    raise ValueError(f"no time in milliseconds: {value!r:.50}")


def told_iso_us(value: Any) -> int:
    """A time in ISO 8601 in microseconds; what is finer is cut. Raises ValueError for anything else."""
    moment = dt.datetime.fromisoformat(told_text(value))
    if moment.tzinfo is None:
        raise ValueError(f"a time of no zone: {value!r:.50}")
    us = (moment - EPOCH) // MICROSECOND
    told_ms(us // 1000)
    return us


def told_id(value: Any) -> int:
    """A counted id. Raises ValueError for anything that is not one of 63 bits."""
    if type(value) is int and 0 <= value <= ID_MAX:
        return value
    raise ValueError(f"no id: {value!r:.50}")


def counted(value: Any) -> int:
    """A counted id in a text. Raises ValueError for anything else."""
    if type(value) is str and value.isascii() and value.isdigit() and len(value) < 20:
        return told_id(int(value))
    raise ValueError(f"no id in a text: {value!r:.50}")


def told_text(value: Any) -> str:
    """A text. Raises ValueError for anything else, and for an empty one."""
    if type(value) is str and value:
        return value
    raise ValueError(f"no text: {value!r:.50}")


def told_flag(value: Any) -> bool:
    """A yes or no. Raises ValueError for anything else."""
    if type(value) is bool:
        return value
    raise ValueError(f"neither true nor false: {value!r:.50}")


def told_levels(value: Any) -> Any:
    """Levels of a book: lists of a price and a quantity, texts. Raises ValueError for anything else."""
    if type(value) is not list:
        raise ValueError(f"no levels: {value!r:.50}")
    for level in value:
        if type(level) is not list or len(level) != 2 or type(level[0]) is not str or type(level[1]) is not str:
            raise ValueError(f"no level of two texts: {level!r:.50}")
    return value
