"""Pages of trades as a walk by ids needs them, whatever a venue can be asked by: ids, times, both, or neither.

Pure but for the pages it is given. What a venue lacks is made of what it has: an id is found by looking at others, a
page from an id on is asked for by the time of the trade before it. And what a page must be to be believed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from alphaforge_assets.errors import VenueUnavailable
from alphaforge_assets.venues.bars import SILENCES, Window
from alphaforge_assets.venues.columns import EVIDENCE_CHARS

# How far before a window a trade is looked for that is older than it, and no further: `trade_holes` looks no further.
BACK_MS = (60_000, 3_600_000, 86_400_000)
# Looks that halve what is left bring any id down to one; those by interpolation mostly need five.
LOOKS_MAX = 100

# by_time(start_ms, end_ms, rows): trades of [start_ms, end_ms), of which end a feed says.
ByTime = Callable[[int, int, int], pa.Table]
# by_id(first, rows): a page in any order, of no lower id than asked for.
ById = Callable[[int, int], pa.Table]
# near(id): the last trade of an id up to it, of None the newest there is; one row or none.
Near = Callable[[int | None], pa.Table]


@dataclass(frozen=True)
class Told:
    """What a venue tells of a window by time: the id to begin with, and one of [from_ms, end) as late as may be."""

    find: Callable[[], int | None]
    latest: Callable[[int], int | None]


def oldest(window: Window, span_ms: int, rows_max: int, by_time: ByTime) -> Told:
    """What a venue tells of a window whose pages by time begin with the oldest trade of a span of `span_ms` at most."""

    def find() -> int | None:
        for start_ms in range(window.start_ms, window.end_ms, span_ms):
            for _ in range(SILENCES):
                table = by_time(start_ms, min(window.end_ms, start_ms + span_ms), 1)
                if table.num_rows:
                    first: int = pc.min(table["trade_id"]).as_py()
                    return first
        return None

    def latest(from_ms: int) -> int | None:
        table = by_time(from_ms, min(window.end_ms, from_ms + span_ms), rows_max)
        return last_id(table) if table.num_rows else None

    return Told(find, latest)


def newest(window: Window, by_time: ByTime) -> Told:
    """What a venue tells of a window whose pages by time are the newest trades before a moment."""

    def before(end_ms: int) -> int | None:
        for _ in range(SILENCES):
            table = by_time(0, end_ms, 1)
            if table.num_rows:
                return last_id(table)
        return None

    def find() -> int | None:
        first = before(window.start_ms)
        return before(window.end_ms) if first is None else first

    return Told(find, lambda from_ms: before(window.end_ms))


def sought(window: Window, rows_max: int, near: Near) -> Told:
    """What a venue that cannot be asked by time tells of a window: found between ids of which the times are known."""

    def newest_one() -> tuple[int, int] | None:
        for _ in range(SILENCES):
            table = near(None)
            if table.num_rows:
                return _point(table)
        return None

    def find() -> int | None:
        newest = newest_one()
        if newest is None or newest[1] < window.start_ms:
            return newest and newest[0]
        low, high = _closing_in(window.start_ms, newest, rows_max, near)
        return high if low is None else low

    def latest(from_ms: int) -> int | None:
        newest = newest_one()
        if newest is None or newest[1] < window.end_ms:
            return newest and newest[0]
        return _closing_in(window.end_ms, newest, 1, near)[0]

    return Told(find, latest)


def _closing_in(start_ms: int, high: tuple[int, int], rows_max: int, near: Near) -> tuple[int | None, int]:
    """Ids of a trade before `start_ms`, if there is one, and of one that is not, at most `rows_max` trades apart.

    `high` is (id, ms) of one that is not before it. Every third look halves what is left, whatever the times say.
    """
    low: tuple[int, int] | None = None
    floor, step, lean = 0, rows_max, 0  # nothing up to `floor` is of interest
    for look in range(LOOKS_MAX):
        left = high[0] - floor
        if left <= (rows_max if low else 1):
            break
        if low and look % 3 == 2:
            at = floor + left // 2
        elif low:
            at = floor + left * (start_ms - low[1]) // (high[1] - low[1]) + lean
        else:
            at, step = high[0] - step, 4 * step
            at = at if at > floor else floor + left // 2
        at = min(max(at, floor + 1), high[0] - 1)
        table = near(at)
        point = _point(table) if table.num_rows else None
        if point is None or point[1] < start_ms:
            floor, low, lean = at, point or low, rows_max // 3
        else:
            high, lean = point, -(rows_max // 3)  # a look beyond the guess: so it is soon between two that are close
    return low and low[0], high[0]


def by_times(window: Window, rows_max: int, by_time: Callable[[int, int], pa.Table]) -> ById:
    """Pages from an id on of a venue that is asked by time alone: from that of a trade before it, which has come.

    Where none has, and none is within a day before the window, from there on.

    `by_time(start_ms, rows)` is the oldest trades from a moment on. Raises what it raises, and VenueUnavailable where
    more trades share a millisecond than a page holds.
    """
    came: list[pa.Table] = []

    def since(start_ms: int) -> pa.Table:
        table = by_time(start_ms, rows_max)
        if table.num_rows:
            came.append(table.select(["trade_id", "timestamp"]))
        return table

    def before(first: int) -> int | None:
        """The page that has come with the last trade before an id."""
        place = _page_before(came, first)
        for back_ms in BACK_MS:
            if place is not None:
                break
            since(max(0, window.start_ms - back_ms))
            place = _page_before(came, first)
        return place

    def by_id(first: int, rows: int) -> pa.Table:
        """Raises VenueUnavailable for a moment of which more trades are than a page holds."""
        place = before(first)
        start_ms = window.start_ms - BACK_MS[-1] if place is None else _point(_below(came[place], first))[1]
        while True:
            table = since(start_ms)
            found = from_id(table, first)
            if found.num_rows:
                return found
            last_ms = pc.max(table["timestamp"]).value // 1000 if table.num_rows else start_ms
            if last_ms <= start_ms:
                break
            start_ms = last_ms
        if table.num_rows >= rows_max:
            raise VenueUnavailable(
                f"{table.num_rows} trades at {start_ms} ms, as many as a page holds: what else is of it cannot be"
                " asked for"
            )
        if place is not None:
            came.pop(place)  # whose times may be wrong: who asks again begins at those of another page
        return found

    return by_id


def from_id(table: pa.Table, first: int) -> pa.Table:
    """The trades of an id of `first` or higher."""
    return table.filter(pc.greater_equal(table["trade_id"], pa.scalar(first, pa.uint64())))


def before_ms(table: pa.Table, end_ms: int) -> pa.Table:
    """The trades before a moment."""
    return table.filter(pc.less(table["timestamp"].cast(pa.int64()), end_ms * 1000))


def check_ids(table: pa.Table, first: int, horizon_ms: int) -> pa.Table:
    """`table`, if its ids are not below the one asked for, nor its times beyond `horizon_ms`.

    Raises VenueUnavailable otherwise: such a page is another answer than ours.
    """
    if table.num_rows:
        low, last_us = pc.min(table["trade_id"]).as_py(), pc.max(table["timestamp"]).value
        if low < first or last_us >= horizon_ms * 1000:
            raise VenueUnavailable(
                f"trades from id {first} on were asked for, and some from {low} on up to {last_us // 1000} ms came: the"
                " page is not trusted",
                str(table.slice(0, 3).to_pylist())[:EVIDENCE_CHARS],
            )
    return table


def check_times(table: pa.Table, start_ms: int, end_ms: int) -> pa.Table:
    """`table`, if its trades are of [start_ms, end_ms). Raises VenueUnavailable otherwise."""
    if table.num_rows:
        first, last = pc.min(table["timestamp"]).value, pc.max(table["timestamp"]).value
        if first < start_ms * 1000 or last >= end_ms * 1000:
            raise VenueUnavailable(
                f"trades of [{start_ms}, {end_ms}) ms were asked for, and some of [{first}, {last}] us came: the page"
                " is not trusted",
                str(table.slice(0, 3).to_pylist())[:EVIDENCE_CHARS],
            )
    return table


def last_id(table: pa.Table) -> int:
    last: int = pc.max(table["trade_id"]).as_py()
    return last


def _point(table: pa.Table) -> tuple[int, int]:
    """The highest id of a page and its time in ms."""
    last = pc.index(table["trade_id"], pa.scalar(last_id(table), pa.uint64())).as_py()
    return last_id(table), table["timestamp"][last].value // 1000


def _below(table: pa.Table, first: int) -> pa.Table:
    return table.filter(pc.less(table["trade_id"], pa.scalar(first, pa.uint64())))


def _page_before(came: Sequence[pa.Table], first: int) -> int | None:
    """Which of the pages has the last trade before an id; None if none has any."""
    below = ((_below(table, first), place) for place, table in enumerate(came))
    points = [(_point(table), place) for table, place in below if table.num_rows]
    return max(points)[1] if points else None
