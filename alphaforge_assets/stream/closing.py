"""Which bars of a stream are over, and which minutes it has not told.

Time is the venue's: the latest minute that anybody here was told of, the frontier. How long it is waited for what is
late is counted by our own steady clock, so neither clock's error makes a bar nor loses one.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from alphaforge_assets.venues.feed import Event

MINUTE_MS = 60_000
# A close may come seconds after its minute (design: 0.2 to 2.0 s recorded, 24 s once). REST is asked for it then.
LATE_S = 5.0
# After a break there is nobody to tell what was before but what was on its way.
LATE_AFTER_BREAK_S = 1.0
# The word before the next bar's first is the last one, and so it is when the venue's minute is over for so long.
QUIET_CLOSE_S = 3.0
MINUTES_REMEMBERED = 16


@dataclass(frozen=True, slots=True)
class Hole:
    """Minutes [start, end) of which the stream told no close, ms."""

    venue_symbol: str
    start_ms: int
    end_ms: int
    reason: str


@dataclass(slots=True)
class _Series:
    """One instrument. `next_ms` is the first minute that is neither told nor given up; None: nothing is wanted yet."""

    next_ms: int | None = None
    told: dict[int, Any] = field(default_factory=dict)  # minute -> the record last told as closed
    open: Event | None = None  # where no flag says which word is the last


class Closing:
    """Bars of some channels. `closes` is as of `Feed`; of a venue that leaves quiet minutes out, only a break makes
    holes. `resume` says where an instrument's series is to go on, by the venue's name; without it begins now.

    Not for several threads.
    """

    def __init__(
        self,
        venue_symbols: Iterable[str],
        closes: Literal["flagged", "next", "trades"],
        resume: dict[str, int],
    ) -> None:
        self.closes = closes
        self.frontier = 0  # the latest minute that was told of, ms
        self._series = {name: _Series(resume.get(name)) for name in venue_symbols}
        self._over: list[tuple[int, float]] = []  # minutes before this one are over since then, steady seconds
        self._whole_since = 0  # since this minute no connection broke
        self._is_new = True  # nobody has spoken on this connection
        # Why the one before ended, as long as it may have left holes.
        self._broke = "nobody listened" if resume else ""

    def told(self, event: Event, now: float) -> list[Event]:
        """Take in one event of bars. Returns the bars it closes: most often none, or itself."""
        series = self._series.get(event.venue_symbol)
        if series is None:
            return []
        self.passed(event.open_ms, now)
        if self.closes == "flagged":
            return self._closed(series, event) if event.is_closed else []
        before, closed = series.open, list[Event]()
        if before is not None and event.open_ms > before.open_ms:
            closed = self._closed(series, before)
        if before is not None and event.open_ms < before.open_ms:
            return self._closed(series, event)  # a correction, or what a snapshot repeats
        series.open = event
        return closed

    def passed(self, at_ms: int, now: float) -> None:
        """The venue spoke of this time: minutes before it are over."""
        minute, late = at_ms - at_ms % MINUTE_MS, 0.0
        if self._is_new and minute >= self.frontier:
            if minute > self.frontier:
                late = LATE_S - LATE_AFTER_BREAK_S
            self._is_new, self._whole_since = False, minute + MINUTE_MS
        if minute <= self.frontier:
            return
        for series in self._series.values():
            series.next_ms = minute if series.next_ms is None else series.next_ms
        self._over.append((minute, now - late))
        self.frontier = minute

    def broke(self, reason: str) -> None:
        """The connection went, and with it what was told meanwhile: what an open bar lacks, nobody knows."""
        self._is_new, self._broke = True, reason
        for series in self._series.values():
            series.open = None

    def due(self, now: float) -> tuple[list[Event], list[Hole]]:
        """What time alone ends: bars whose minute is over for long, and minutes that were waited for long enough."""
        closed: list[Event] = []
        for series in self._series.values():
            its = series.open
            if its and its.open_ms < self.frontier and now - self._over_since(its.open_ms) >= QUIET_CLOSE_S:
                closed += self._closed(series, its)
                series.open = None
        until = 0
        while self._over and now - self._over[0][1] >= LATE_S:
            until, _ = self._over.pop(0)
        if not until:
            return closed, []
        holes = [hole for name, series in self._series.items() for hole in self._given_up(name, series, until)]
        if not self._is_new:
            self._broke = ""
        return closed, holes

    def _over_since(self, minute: int) -> float:
        """When the frontier passed a minute; long ago, if nobody remembers."""
        return next((at for until, at in self._over if until > minute), float("-inf"))

    def _closed(self, series: _Series, event: Event) -> list[Event]:
        """The bar, unless it was told before word for word."""
        if event.open_ms in series.told and series.told[event.open_ms] == event.record:
            return []
        series.told[event.open_ms] = event.record
        while series.next_ms is not None and series.next_ms in series.told:
            series.next_ms += MINUTE_MS
        while len(series.told) > MINUTES_REMEMBERED and min(series.told) < (series.next_ms or 0):
            del series.told[min(series.told)]
        return [event]

    def _given_up(self, name: str, series: _Series, until: int) -> Iterable[Hole]:
        """The minutes before `until` that were not told; they are waited for no longer."""
        start = series.next_ms
        if start is None or start >= until:
            return
        series.next_ms = until
        reason = self._broke or "no close came"
        while start < until:
            end = start
            while end < until and end not in series.told:
                end += MINUTE_MS
            # Where a quiet minute has no bar, it is missing only if a connection broke in it.
            until_broken = end if self.closes == "flagged" else min(end, self._whole_since)
            if start < until_broken:
                yield Hole(name, start, until_broken, reason)
            start = end + MINUTE_MS
        while series.next_ms in series.told:
            series.next_ms += MINUTE_MS
