"""Working ahead: what has landed is brought on while the venue still answers, so a run ends soon after its last page.

Landing says which windows it has written. A thread beside it stages and publishes them; the steps that follow do what
is left. A step that finds nothing done ahead (another process, a retry) does all of its rectangle, as it always could.
"""

import datetime as dt
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.universe import Instrument
from alphaforge_assets.warehouse.windows import Window

DAY = dt.timedelta(days=1)
Days = tuple[dt.date, dt.date]  # [first, last)


class Ahead:
    """What of one run is staged and published already, in whole days of an instrument.

    `bring` does it for a rectangle and says whether it did. It is called in a thread, for all that is ready at once.
    """

    def __init__(self, intervals: Sequence[str], bring: Callable[[Rectangle], bool]) -> None:
        self._intervals = frozenset(intervals)
        self._bring = bring
        self._lock = threading.Lock()
        self._landed: dict[tuple[Instrument, Days], set[str]] = defaultdict(set)
        self._pieces: dict[tuple[Instrument, str, dt.date], set[tuple[dt.datetime, dt.datetime]]] = defaultdict(set)
        self._ready: list[tuple[Instrument, Days]] = []
        self._under_way: set[tuple[Instrument, Days]] = set()
        self._done: set[tuple[Instrument, Days]] = set()
        self._pool: ThreadPoolExecutor | None = None
        self._work: Future[None] | None = None

    @contextmanager
    def working(self) -> Iterator[None]:
        """While landing is at work. At its end what is under way is finished, and no more begun.

        Raises what `bring` raises.
        """
        with ThreadPoolExecutor(1, thread_name_prefix="ahead") as self._pool:
            try:
                yield
            finally:
                with self._lock:
                    self._ready.clear()
                    self._pool, work = None, self._work
        if work is not None:
            work.result()

    def landed(self, windows: Iterable[Window]) -> None:
        """Rows of `windows` were just written to landing. Days that were done before are not done any more."""
        with self._lock:
            for window in windows:
                days = _whole_days(window) or self._whole_day(window)
                for known in (self._done, self._under_way):
                    known -= {x for x in known if x[0] == window.instrument and _overlap(x[1], window)}
                if days is None:
                    continue
                item = (window.instrument, days)
                self._landed[item].add(window.interval)
                if self._landed[item] >= self._intervals and item not in self._ready:
                    self._ready.append(item)
            if self._pool is not None and self._ready and (self._work is None or self._work.done()):
                self._raise_failure()
                self._work = self._pool.submit(self._bring_all)

    def _whole_day(self, window: Window) -> Days | None:
        """The day that is whole with this piece of it: what is dense lands by the hour."""
        day, at = window.start.date(), dt.datetime.combine(window.start.date(), dt.time(), dt.UTC)
        end = at + DAY
        if window.end > end:
            return None
        pieces = self._pieces[window.instrument, window.interval, day]
        pieces.add((window.start, window.end))
        for first, last in sorted(pieces):
            if first > at:
                return None
            at = max(at, last)
        return (day, day + DAY) if at == end else None

    def left(self, covered: Rectangle) -> list[Rectangle]:
        """What of a rectangle is not done, as rectangles: for each instrument the days from the first to the last."""
        spans: dict[Days, list[Instrument]] = defaultdict(list)
        for instrument in covered.instruments:
            done = {
                first + DAY * n
                for i, (first, last) in self._done
                if i == instrument
                for n in range((last - first).days)
            }
            days = [day for n in range(covered.days) if (day := covered.start + DAY * n) not in done]
            if days:
                spans[days[0], days[-1] + DAY].append(instrument)
        return [Rectangle(tuple(its), first, last) for (first, last), its in spans.items()]

    def _bring_all(self) -> None:
        while True:
            with self._lock:
                days = self._ready[0][1] if self._ready else None
                items = [item for item in self._ready if item[1] == days]
                self._ready = [item for item in self._ready if item[1] != days]
                self._under_way = set(items)
            if days is None:
                return
            is_done = self._bring(Rectangle(tuple(i for i, _ in items), *days))
            with self._lock:
                if is_done:
                    self._done |= self._under_way  # without those of which more has landed meanwhile
                self._under_way = set()

    def _raise_failure(self) -> None:
        if self._work is not None and (error := self._work.exception()):
            raise error


def _whole_days(window: Window) -> Days | None:
    """The days of a window, None if it ends within one."""
    first, last = window.start.date(), window.end.date()
    midnight = dt.time(0)
    return (first, last) if window.start.time() == window.end.time() == midnight else None


def _overlap(days: Days, window: Window) -> bool:
    return days[0] < (window.end + DAY - dt.timedelta(milliseconds=1)).date() and window.start.date() < days[1]
