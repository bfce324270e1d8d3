"""Paging: how a span of time is asked for page by page so that nothing is lost and nothing comes twice.

Pure but for the page function it is given. What it relies on, and all it relies on: a page is a run of consecutive bars
that begins at the cursor (ascending venues) or ends before it (descending ones). How many bars a page holds is the
venue's affair: a limit is a wish, a short page is no end, and bars may be missing, off the grid or several in a minute.
So a window ends only by proof: a bar at or beyond its far edge, or an empty page. An empty page ends that window and no
other; the windows of a span are independent and may be walked at once.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import pyarrow as pa
import pyarrow.compute as pc

from alphaforge_assets.errors import VenueUnavailable
from alphaforge_assets.venues.columns import EVIDENCE_CHARS

# A venue that gives one bar a request still gets through; one that never stops does not.
PAGES_A_BAR_MAX = 4

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


def walk(window: Window, interval_ms: int, rows_max: int, page: Page, *, ascending: bool) -> Iterator[pa.Table]:
    """The bars of a window, a table a page, in the order the pages came.

    Raises what `page` raises, and VenueUnavailable for a venue that never comes to an end.
    """
    low, high = window.start_ms, window.end_ms
    for _ in range(PAGES_A_BAR_MAX * (-(-(high - low) // interval_ms)) + 8):
        rows = min(rows_max, -(-(high - low) // interval_ms) + ascending)
        table = page(low if ascending else high, rows)
        if not table.num_rows:
            return
        times = table["timestamp"].cast(pa.int64())
        first, last = times[0].as_py(), times[-1].as_py()
        yield inside(table, window)
        if ascending:
            low = last + 1
        else:
            high = first
        if low >= high or (not ascending and high <= window.start_ms):
            return
    raise VenueUnavailable(
        f"the venue sends page after page for [{window.start_ms}, {window.end_ms}) ms and never comes to its end"
    )


def inside(table: pa.Table, window: Window) -> pa.Table:
    """The rows that open within the window."""
    times = table["timestamp"].cast(pa.int64())
    if times[0].as_py() >= window.start_ms and times[-1].as_py() < window.end_ms:
        return table
    return table.filter(pc.and_(pc.greater_equal(times, window.start_ms), pc.less(times, window.end_ms)))


def check_page(table: pa.Table, cursor_ms: int, horizon_ms: int, *, ascending: bool) -> pa.Table:
    """`table`, if its times are on the side of the cursor they were asked for and not beyond `horizon_ms`.

    Raises VenueUnavailable otherwise: such a page is another answer than ours, and a row far away would pass for the
    proof that a window is complete.
    """
    if table.num_rows:
        times = table["timestamp"].cast(pa.int64())
        first, last = times[0].as_py(), times[-1].as_py()
        if (ascending and not cursor_ms <= first <= last <= horizon_ms) or (not ascending and last >= cursor_ms):
            side = f"from {cursor_ms} on and up to {horizon_ms}" if ascending else f"before {cursor_ms}"
            raise VenueUnavailable(
                f"bars opening {side} (ms) were asked for and bars of [{first}, {last}] came: the page is not trusted",
                str(table.slice(0, 3).to_pylist())[:EVIDENCE_CHARS],
            )
    return table
