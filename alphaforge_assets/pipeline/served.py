"""What of a rectangle can still be had: the windows that some source serves.

One reckoning for who plans, who fetches and who tells what is left. Intervals nobody has are nobody's windows.
"""

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from alphaforge_assets.datasets.dataset import Dataset
from alphaforge_assets.intervals import SERIES_MS
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.venues.directory import kept, ranked, served
from alphaforge_assets.warehouse.windows import Window

EVER = dt.datetime.min.replace(tzinfo=dt.UTC)


def windows(dataset: Dataset, part: Rectangle, intervals: Sequence[str], until: dt.datetime) -> list[Window]:
    """What may be asked of each instrument: the series that it wants and its venue has."""
    by_venue = {v: served(v, dataset.name, intervals) for v in {i.venue for i in part.instruments}}
    wanted: list[Window] = []
    if dataset.ended:
        until = min(until, dt.datetime.combine(dataset.ended, dt.time(), dt.UTC))
    for i in part.instruments:
        its = [interval for interval in by_venue[i.venue] if dataset.wants(i, interval)]
        wanted += replace(part, instruments=(i,)).windows(its, until)
    return wanted


def closed(windows: Iterable[Window], before: dt.datetime) -> Iterator[Window]:
    """Windows as far as their grid had closed before a moment; to the minute where there is no grid."""
    for w in windows:
        step = SERIES_MS.get(w.interval, 60_000)
        floor = dt.datetime.fromtimestamp(int(before.timestamp() * 1000) // step * step / 1000, dt.UTC)
        if w.start < min(w.end, floor):
            yield replace(w, end=min(w.end, floor))


def younger(window: Window, clock: dt.datetime, kept: dt.timedelta | None) -> Window:
    """What of a window a source still serves; it may be nothing."""
    if kept is None:
        return window
    gone = next(closed([replace(window, start=EVER)], clock - kept), None)
    return replace(window, start=max(window.start, gone.end)) if gone else window


def still(dataset: Dataset, windows: Iterable[Window], now: dt.datetime) -> list[Window]:
    """What of the windows some source of their venue still serves."""
    if dataset.grid == "observed":  # it is asked for all the same: only its first settlement tells what is gone
        return list(windows)
    left = []
    for w in windows:
        young = younger(w, now, kept(w.instrument.venue, dataset.name, w.interval))
        old = replace(w, end=min(w.end, young.start))
        left.append(w if old.start < old.end and _has_all(dataset, old, now) else young)
    return [w for w in left if w.start < w.end]


def _has_all(dataset: Dataset, window: Window, now: dt.datetime) -> bool:
    """Whether a source that lets go of nothing should have a window by now."""
    name, interval = dataset.name, window.interval
    sources = [s for s in ranked(window.instrument.venue, name, [interval]) if s.kept(name, interval) is None]
    return any(s.offers(name, interval, window.start, window.end, now) for s in sources)
