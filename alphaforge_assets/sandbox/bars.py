"""Bars as integer columns, and the two ways to read a series of them: by index and at the open end.

Nothing here knows a venue or where bars come from: `prices.py` generates them, `recordings.py` reads them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

MINUTE_MS = 60_000
DAY_MS = 86_400_000
SUMMED = ("volume", "quote_volume", "count", "taker_volume", "taker_quote_volume")
REVISABLE = ("open", "high", "low", "close", *SUMMED)


@dataclass(frozen=True)
class Interval:
    """A grid of bar openings: every `ms`, shifted by `offset_ms` from the epoch (OKX's 1D opens at 16:00 UTC)."""

    ms: int
    offset_ms: int = 0

    def index(self, time_ms: int) -> int:
        """Index of the bar that contains `time_ms`."""
        return (time_ms - self.offset_ms) // self.ms

    def opens(self, index: int) -> int:
        return index * self.ms + self.offset_ms


@dataclass(frozen=True)
class Scales:
    """Decimals of the integer columns: a price of 12345 at `price=2` is 123.45."""

    price: int
    volume: int
    quote: int

    def of(self, column: str) -> int:
        if column in ("open", "high", "low", "close"):
            return self.price
        if column in ("volume", "taker_volume"):
            return self.volume
        return self.quote if column in ("quote_volume", "taker_quote_volume") else 0


@dataclass(frozen=True)
class Bars:
    """n bars: eleven int64 columns of shape (n,). Times are ms since the epoch, the rest is in units of `scales`."""

    scales: Scales
    open_time: Ints
    close_time: Ints
    open: Ints
    high: Ints
    low: Ints
    close: Ints
    volume: Ints
    quote_volume: Ints
    count: Ints
    taker_volume: Ints
    taker_quote_volume: Ints

    def __len__(self) -> int:
        return len(self.open_time)

    def having(self, columns: Mapping[str, Ints]) -> "Bars":
        """The same bars with other values in some columns."""
        return replace(self, **columns)  # type: ignore[arg-type]  # none of them is `scales`

    def slice(self, start: int, stop: int) -> "Bars":
        return self.having({name: getattr(self, name)[start:stop] for name in COLUMNS})

    def take(self, order: npt.NDArray[np.intp]) -> "Bars":
        return self.having({name: getattr(self, name)[order] for name in COLUMNS})


COLUMNS = tuple(field.name for field in fields(Bars) if field.name != "scales")


class Series(Protocol):
    """One instrument at one interval. Bars have consecutive indices; a recorded series has no index for a hole."""

    @property
    def scales(self) -> Scales: ...

    def first_at_or_after(self, time_ms: int) -> int:
        """Index of the first bar that opens at `time_ms` or later; one past the last if there is none."""
        ...

    def bars(self, start: int, stop: int) -> Bars:
        """Bars [start, stop) as they are when closed."""
        ...

    def open_index(self, now_ms: int) -> int | None:
        """Index of the bar that contains `now_ms`; None if there is none."""
        ...

    def open_bar(self, now_ms: int) -> Bars:
        """That bar as far as it has come."""
        ...


def concatenate(parts: Sequence[Bars]) -> Bars:
    """Bars one after another; all parts must have the same scales."""
    if len(parts) == 1:
        return parts[0]
    return parts[0].having({name: np.concatenate([getattr(part, name) for part in parts]) for name in COLUMNS})


def aggregate(bars: Bars, starts: npt.NDArray[np.intp], opens: Ints, interval_ms: int) -> Bars:
    """Coarser bars: row `starts[i]` begins group i, which opens at `opens[i]`. Exact: everything is an integer."""
    ends = np.append(starts[1:], len(bars)) - 1
    columns = {
        "open_time": opens,
        "close_time": opens + interval_ms - 1,
        "open": bars.open[starts],
        "high": np.maximum.reduceat(bars.high, starts),
        "low": np.minimum.reduceat(bars.low, starts),
        "close": bars.close[ends],
    }
    return bars.having(columns | {name: np.add.reduceat(getattr(bars, name), starts) for name in SUMMED})


def group(bars: Bars, interval: Interval) -> Bars:
    """Coarser bars out of whatever finer bars are there; a bucket without bars does not exist."""
    if not len(bars):
        return bars
    bucket = (bars.open_time - interval.offset_ms) // interval.ms
    starts = np.flatnonzero(np.concatenate(([True], bucket[1:] != bucket[:-1])))
    return aggregate(bars, starts, bucket[starts] * interval.ms + interval.offset_ms, interval.ms)


def partial(bar: Bars, elapsed: float, tick: int = 1, lot: int = 1) -> Bars:
    """One bar when `elapsed` (0..1) of it is over: the price on its way from open to close, the volume growing.

    A running bar lies inside the closed one and differs from it wherever anything traded, so a client that stores it is
    found out. Prices stay on the grid of `tick`, volumes on that of `lot`.
    """
    top, bottom = np.maximum(bar.open, bar.close), np.minimum(bar.open, bar.close)
    close = bar.open + _towards(bar.close - bar.open, elapsed, tick)
    high = np.maximum(bar.open, close) + _towards(bar.high - top, elapsed, tick)
    low = np.minimum(bar.open, close) - _towards(bottom - bar.low, elapsed, tick)
    sums = {name: _towards(getattr(bar, name), elapsed, lot if "quote" not in name else 1) for name in SUMMED}
    return bar.having({"close": close, "high": high, "low": low, **sums})


def _towards(way: Ints, elapsed: float, step: int) -> Ints:
    """`elapsed` of the way, in whole steps, never all of it."""
    return np.sign(way) * (np.abs(way) // step * elapsed).astype(np.int64) * step


def running(closed: Bars, open_minute: Bars, opens: int, interval_ms: int) -> Bars:
    """The open coarse bar: its closed finer bars and the finer bar that is open."""
    rows = concatenate([closed, open_minute]) if len(closed) else open_minute
    return aggregate(rows, np.zeros(1, np.intp), np.array([opens], np.int64), interval_ms)
