"""What an answer does not settle: slots it left out and slots it told twice, and the windows to ask again directly.

A page that lost bars looks like a venue that was silent, so a silence is believed only when the venue, asked for it
alone, has nothing again. Pure; who asks is landing.py.
"""

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alphaforge_assets.intervals import SERIES_MS
from alphaforge_assets.venues.archive_files import ms
from alphaforge_assets.venues.source import Cost, FileSeen, Span
from alphaforge_assets.venues.trades import contradictions_ms
from alphaforge_assets.warehouse.batches import Answer, Failure
from alphaforge_assets.warehouse.windows import Window

T = TypeVar("T")

# Doubts this close share a request: the smallest page of a venue we speak (OKX, 300), less the bar beyond the edge.
JOINED_SLOTS = 299
# So many windows are asked again whatever comes of it; more only once one of them has brought something. A market that
# leaves out minutes without a trade has holes everywhere, and would cost twice as much for ever.
ASKED_BEFORE_TRUST = 4
# A month that files have in more pieces than this is left to the venue itself.
PARTS_MAX = 100
# So many contradictions of an answer are put to the venue again; more of them are no slip, and a check names them all.
CONTRADICTIONS_MAX = 20

Slots = tuple[int, int]  # [first, last) of the grid


def doubts(window: Window, rows: pa.Table) -> list[Window]:
    """The parts of a window that its answer left open, as few windows as possible, the longest first.

    A hole between two bars is whole; before the first bar, after the last one, and where there is none at all, it is
    the JOINED_SLOTS next to what is known: before a listing lie years.
    """
    step = SERIES_MS[window.interval]
    first, last = (int(moment.timestamp() * 1000) // step for moment in (window.start, window.end))
    slots, tellings = np.unique(rows["timestamp"].cast(pa.int64()).to_numpy() // step, return_counts=True)
    if not len(slots):
        return [_window(window, step, (max(first, last - JOINED_SLOTS), last))]
    after = np.flatnonzero(np.diff(slots) > 1)
    open_ones = [
        (max(first, int(slots[0]) - JOINED_SLOTS), int(slots[0])),
        *((int(a) + 1, int(b)) for a, b in zip(slots[after], slots[after + 1], strict=True)),
        (int(slots[-1]) + 1, min(last, int(slots[-1]) + 1 + JOINED_SLOTS)),
        *((int(slot), int(slot) + 1) for slot in slots[_conflicts(rows, slots, tellings, step)]),
    ]
    joined = _joined(sorted(span for span in open_ones if span[0] < span[1]))
    return [_window(window, step, span) for span in sorted(joined, key=lambda s: s[0] - s[1])]


def contradicted(window: Window, rows: pa.Table) -> list[Window]:
    """The milliseconds of a window in which lies a trade that was told with different values, a few of them."""
    found = contradictions_ms(rows)[:CONTRADICTIONS_MAX]
    return [_window(window, 1, (ms, ms + 1)) for ms in found]


def rest(window: Window, rows: pa.Table, asked: Sequence[Window]) -> list[Window]:
    """What else is open before and after the bars of an answer beside `asked`: once it has turned out to lie."""
    step = SERIES_MS[window.interval]
    first, last = (int(moment.timestamp() * 1000) // step for moment in (window.start, window.end))
    known = rows["timestamp"].cast(pa.int64()).to_numpy() // step
    told = (int(known.min()), int(known.max()) + 1) if len(known) else (last, last)
    edges = [(first, told[0]), (told[1], last)]
    left = [part for edge in edges for part in _without(edge, [_slots(w, step) for w in asked])]
    return [_window(window, step, span) for span in left]


def parted(
    window: Window, rows: pa.Table, files: Sequence[FileSeen] = (), lacks: Sequence[Span] | None = None
) -> tuple[list[tuple[Window, pa.Table]], list[Window]]:
    """An answer without its holes: the windows that are whole, with their rows, and those that have none at all.

    If there are more holes than PARTS_MAX all of the window counts as one. What has no grid is whole but for what the
    source says that it `lacks`; or, where it says nothing of that, where its files are.
    """
    if lacks is not None:
        return _without_spans(window, rows, lacks)
    if not window.interval:
        return _by_files(window, rows, files)
    step = SERIES_MS[window.interval]
    first, last = _slots(window, step)
    times = rows["timestamp"].cast(pa.int64()).to_numpy()
    known = np.unique(times // step)
    ends = np.flatnonzero(np.diff(known) > 1)
    runs = (
        [(int(known[a]), int(known[b]) + 1) for a, b in zip([0, *(ends + 1)], [*ends, -1], strict=True)]
        if len(known)
        else []
    )
    if len(runs) > PARTS_MAX:
        return [], [window]
    there = []
    for run in runs:
        inside = (times >= run[0] * step) & (times < run[1] * step)
        there.append((_window(window, step, run), rows.filter(pa.array(inside))))
    return there, [_window(window, step, span) for span in _without((first, last), runs)]


def _without_spans(
    window: Window, rows: pa.Table, spans: Sequence[Span]
) -> tuple[list[tuple[Window, pa.Table]], list[Window]]:
    """`parted` of events. The milliseconds at the edges of a span are in both: known ones lie in them."""
    first, last = ms(window.start), ms(window.end)
    clipped = sorted((max(first, ms(start)), min(last, ms(end))) for start, end in spans)
    lacking = [(start, end) for start, end in clipped if start < end]
    if len(lacking) > PARTS_MAX:
        return [], [window]
    times = rows["timestamp"].cast(pa.int64()).to_numpy() // 1000
    there, at = [], first
    for start, end in [*lacking, (last, last)]:
        until = start + int((times == start).any() and start < last)
        if at < until:
            inside = (times >= at) & (times < until)
            there.append((_window(window, 1, (at, until)), rows.filter(pa.array(inside))))
        at = max(at, until, end - int((times == end - 1).any()))
    return there, [_window(window, 1, span) for span in lacking]


def in_parts(source: str, answer: Answer) -> Iterator[Answer | Failure]:
    """An answer without its holes, which the next source is asked for: this one cannot know whether they are real.

    What was noted of files goes with the first part, or, where only they tell what is there, with the part each is of.
    """
    there, lacking = parted(answer.window, answer.rows, answer.files, answer.lacks)

    def files(window: Window, *, is_first: bool) -> tuple[FileSeen, ...]:
        if window.interval or answer.lacks is not None:
            return answer.files if is_first else ()
        return tuple(f for f in answer.files if f.period_start < window.end and f.period_end > window.start)

    for n, (window, rows) in enumerate(there):
        its = files(window, is_first=n == 0)
        yield replace(answer, window=window, rows=rows, cost=answer.cost if n == 0 else Cost(), files=its)
    for n, window in enumerate(lacking):
        what, its = "bar" if window.interval else "row", files(window, is_first=n == 0 and not there)
        span = f"from {window.start:%Y-%m-%d %H:%M} to {window.end:%Y-%m-%d %H:%M}"
        said = f"VenueUnavailable: the files of {source} have no {what} {span}"
        yield Failure(window, dt.datetime.now(dt.UTC), said, files=its)


def without_files(failures: Sequence[Failure]) -> tuple[list[Failure], list[Window]]:
    """Failures that are more than files which the venue does not have, and the windows of those."""

    def is_without(failure: Failure) -> bool:
        return bool(failure.files) and all(file.status in ("hole", "not_listed") for file in failure.files)

    return [f for f in failures if not is_without(f)], [f.window for f in failures if is_without(f)]


def _by_files(
    window: Window, rows: pa.Table, files: Sequence[FileSeen]
) -> tuple[list[tuple[Window, pa.Table]], list[Window]]:
    there: list[tuple[Window, pa.Table]] = []
    lacking: list[Window] = []
    for is_there, its in groupby(files, key=lambda file: file.status in ("loaded", "unverified")):
        run = list(its)
        start, end = max(window.start, run[0].period_start), min(window.end, run[-1].period_end)
        part = replace(window, start=start, end=end)
        if is_there:
            times = rows["timestamp"]
            inside = pc.and_(pc.greater_equal(times, start), pc.less(times, end))
            there.append((part, rows.filter(inside)))
        else:
            lacking.append(part)
    return there, lacking


def until_trusted(windows: Sequence[Window], ask: Callable[[Window], T], brings: Callable[[T], bool]) -> Iterator[T]:
    """`ask` of each window, but of no more than ASKED_BEFORE_TRUST if none of those brought anything."""
    is_doubted = False
    for n, window in enumerate(windows):
        if n >= ASKED_BEFORE_TRUST and not is_doubted:
            return
        answer = ask(window)
        is_doubted = is_doubted or brings(answer)
        yield answer


def _conflicts(rows: pa.Table, slots: np.ndarray, tellings: np.ndarray, step: int) -> np.ndarray:
    """Which slots hold one open time more than once: rows that are the same in all are one row by now."""
    if tellings.max() == 1:
        return np.zeros(len(slots), bool)
    times, count = np.unique(rows["timestamp"].cast(pa.int64()).to_numpy(), return_counts=True)
    return np.isin(slots, times[count > 1] // step)


def _joined(spans: Iterable[Slots]) -> list[Slots]:
    """Sorted spans, those that fit JOINED_SLOTS together made one."""
    joined: list[Slots] = []
    for start, end in spans:
        if joined and end - joined[-1][0] <= JOINED_SLOTS:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _without(span: Slots, others: Iterable[Slots]) -> list[Slots]:
    start, end = span
    left = []
    for a, b in sorted(others):
        if b > start and a < end:
            left.append((start, a))
            start = max(start, b)
    left.append((start, end))
    return [(a, b) for a, b in left if a < b]


def _slots(window: Window, step: int) -> Slots:
    return int(window.start.timestamp() * 1000) // step, int(window.end.timestamp() * 1000) // step


def _window(window: Window, step: int, span: Slots) -> Window:
    start, end = (dt.datetime.fromtimestamp(slot * step / 1000, dt.UTC) for slot in span)
    return replace(window, start=start, end=end)
