"""Paging: how a span of time is asked for page by page so that nothing is lost and nothing comes twice.

Pure but for the page function it is given. What it relies on, and all it relies on: a page is a run of consecutive bars
that begins at the cursor (ascending venues), ends before it (descending ones), lies between two ends (bounded ones), or
ends now (those that tell their newest bars).
How many bars a page holds is the venue's affair: a limit is a wish, a short page is no end, and bars may be missing,
off the grid or several in a minute. So a window ends only by proof: a bar at or beyond its far edge, or an empty page.
An empty page ends that window and no other; the windows of a span are independent and may be walked at once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alphaforge_assets.errors import VenueUnavailable
from alphaforge_assets.venues.columns import EVIDENCE_CHARS

# A venue that gives one bar a request still gets through; one that never stops does not.
PAGES_A_BAR_MAX = 4

# An empty page is believed when it comes twice. In regular work there is none: the bar beyond the edge is there.
SILENCES = 2

# From so many bars on, and of so many of their steps, an interval is told from another one.
STEP_ROWS_MIN = 10
STEP_SHARE = 0.9

# page(cursor_ms, rows): at least one of the bars from `cursor_ms` on (ascending) or of those before it (descending), in
# time order, if there are any; `rows` is how many we wish for.
Page = Callable[[int, int], pa.Table]


@dataclass(frozen=True)
class Window:
    """[start_ms, end_ms): what one walk covers."""

    start_ms: int
    end_ms: int


def windows(start_ms: int, end_ms: int, interval_ms: int, rows_max: int, *, ascending: bool) -> list[Window]:
    """[start_ms, end_ms) in windows of equal length that fit one page of `rows_max` rows if the venue grants as many.

    An ascending window leaves room for one bar more: the one beyond its end, which proves that nothing was cut off.
    """
    bars = -(-(end_ms - start_ms) // interval_ms)
    if bars <= 0:
        return []
    count = -(-bars // max(1, rows_max - ascending))
    edges = [start_ms + bars * n // count * interval_ms for n in range(count)] + [end_ms]
    return [Window(a, b) for a, b in pairwise(edges)]


@dataclass(frozen=True)
class Walked:
    """What a walk brought: tables in time order, and the cursor beyond which the venue had nothing, if it said so."""

    tables: list[pa.Table]
    silent_at_ms: int | None = None


def walk(window: Window, interval_ms: int, rows_max: int, page: Page, *, ascending: bool) -> Walked:
    """The bars of a window.

    Raises what `page` raises, and VenueUnavailable for a venue that never comes to an end.
    """
    tables: list[pa.Table] = []
    low, high, silences = window.start_ms, window.end_ms, 0
    for _ in range(PAGES_A_BAR_MAX * -(-(high - low) // interval_ms) + 8):
        cursor_ms = low if ascending else high
        table = page(cursor_ms, min(rows_max, -(-(high - low) // interval_ms) + ascending))
        if not table.num_rows:
            silences += 1
            if silences == SILENCES:
                return Walked(tables if ascending else tables[::-1], cursor_ms)
            continue
        first, last = extent_ms(table)
        tables.append(inside(table, window))
        low, high = (last + 1, high) if ascending else (low, first)
        if low >= high:
            return Walked(tables if ascending else tables[::-1])
    raise VenueUnavailable(
        f"the venue sends page after page for [{window.start_ms}, {window.end_ms}) ms and never comes to its end"
    )


def ask_whole(window: Window, page: Callable[[], pa.Table]) -> Walked:
    """The bars of a window that one page covers. Raises what `page` raises.

    An empty page says that there is none in the window, and nothing of what lies beyond it.
    """
    for _ in range(SILENCES):
        table = inside(page(), window)
        if table.num_rows:
            return Walked([table])
    return Walked([])


def check_bounded(table: pa.Table, window: Window, interval_ms: int, rows_max: int) -> pa.Table:
    """`table`, if its times are those of the window that was asked for, the bar after it, or as much before as a page.

    Coinbase says that some bars of an answer may precede what was asked for. Raises VenueUnavailable otherwise: such a
    page is another answer than ours.
    """
    if table.num_rows:
        first, last = extent_ms(table)
        if first < window.start_ms - rows_max * interval_ms or last > window.end_ms:
            raise VenueUnavailable(
                f"rows timed [{window.start_ms}, {window.end_ms}) ms were asked for and rows of [{first}, {last}] came:"
                " the page is not trusted",
                str(table.slice(0, 3).to_pylist())[:EVIDENCE_CHARS],
            )
    return table


def check_reach(table: pa.Table, start_ms: int, kept_bars: int, interval_ms: int) -> pa.Table:
    """`table`, a page from `start_ms` to now, unless the venue has let go of bars that should be at its beginning.

    It keeps `kept_bars`, so its last bar tells which is the oldest. Raises VenueUnavailable if that is later than
    `start_ms` and the page does not begin there: what is missing is not a silence.
    """
    if table.num_rows:
        first, last = extent_ms(table)
        oldest = last - (kept_bars - 1) * interval_ms
        if start_ms < min(first, oldest):
            raise VenueUnavailable(
                f"bars from {start_ms} ms on were asked for and the venue, which keeps its newest {kept_bars}, has"
                f" none before {oldest} any more: what is left of them is asked for anew"
            )
    return table


def check_silence(walks: Sequence[Walked], now_ms: int, *, ascending: bool) -> None:
    """Raise VenueUnavailable if an empty page is contradicted by another page of the same span.

    Pages are asked for with one bound only, so an empty one says that no bar follows (or precedes) at all, and a bar
    that opened before `now_ms`, when the span was asked for, cannot have come about since.
    """
    silent = [w.silent_at_ms for w in walks if w.silent_at_ms is not None]
    times = [extent_ms(t) for w in walks for t in w.tables if t.num_rows]
    if not silent or not times:
        return
    known = [ms for ms in (times[-1] if ascending else times[0]) if ms < now_ms]
    if known and (known[-1] >= min(silent) if ascending else known[0] < max(silent)):
        raise VenueUnavailable(
            f"the venue said twice that no bar comes {'after' if ascending else 'before'} {silent} ms, "
            f"yet it sent bars up to {times[-1][1]} and from {times[0][0]} on: its empty pages are not believed"
        )


def extent_ms(table: pa.Table) -> tuple[int, int]:
    """First and last open time of a table in time order."""
    times = table["timestamp"]
    return times[0].value, times[-1].value


def inside(table: pa.Table, window: Window) -> pa.Table:
    """The rows of a table in time order that open within the window."""
    if not table.num_rows:
        return table
    first, last = extent_ms(table)
    if first >= window.start_ms and last < window.end_ms:
        return table
    times = table["timestamp"].cast(pa.int64())
    skipped = pc.sum(pc.less(times, window.start_ms)).as_py()
    return table.slice(skipped, pc.sum(pc.less(times, window.end_ms)).as_py() - skipped)


def check_page(table: pa.Table, cursor_ms: int, horizon_ms: int, *, ascending: bool) -> pa.Table:
    """`table`, if its times are on the side of the cursor they were asked for and not beyond `horizon_ms`.

    Raises VenueUnavailable otherwise: such a page is another answer than ours, and a row far away would pass for the
    proof that a window is complete.
    """
    if table.num_rows:
        first, last = extent_ms(table)
        if (ascending and not cursor_ms <= first <= last <= horizon_ms) or (not ascending and last >= cursor_ms):
            side = f"from {cursor_ms} on and up to {horizon_ms}" if ascending else f"before {cursor_ms}"
            raise VenueUnavailable(
                f"rows timed {side} (ms) were asked for and rows of [{first}, {last}] came: the page is not trusted",
                str(table.slice(0, 3).to_pylist())[:EVIDENCE_CHARS],
            )
    return table


def check_step(table: pa.Table, interval_ms: int) -> pa.Table:
    """`table`, if its bars are not, nearly all of them, as far apart as those of another interval.

    Raises VenueUnavailable otherwise: that is an answer to another question, and would pass for bars with holes. A few
    bars prove nothing, and a market that leaves out quiet minutes has steps of many lengths.
    """
    if table.num_rows >= STEP_ROWS_MIN:
        steps, times = np.unique(np.diff(table["timestamp"].cast(pa.int64()).to_numpy()), return_counts=True)
        usual = int(steps[times.argmax()])
        if usual not in (0, interval_ms) and times.max() >= STEP_SHARE * times[steps != 0].sum():
            raise VenueUnavailable(
                f"bars every {interval_ms / 1000:g} s were asked for and bars every {usual / 1000:g} s came: they are"
                " another interval's, and the page is not trusted",
                str(table.slice(0, 3).to_pylist())[:EVIDENCE_CHARS],
            )
    return table
