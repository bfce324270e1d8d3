"""Trades: how a span of time is walked by the ids that a venue counts.

Pure but for the pages it is given. Time only finds the first trade of a span; from there on pages are asked for by id,
so that what is missing between two trades is known by number, asked for alone, and comes or is proved not to. A span
begins with a trade before it and ends with one beyond it, where the venue has such. What a venue cannot be asked by is
made up for in trade_pages.py; one that tells its newest trades and no others proves nothing but where they begin.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alphaforge_assets.errors import VenueUnavailable
from alphaforge_assets.venues.bars import SILENCES, Window
from alphaforge_assets.venues.columns import EVIDENCE_CHARS
from alphaforge_assets.venues.source import Call
from alphaforge_assets.venues.trade_pages import (
    Told,
    before_ms,
    by_times,
    check_ids,
    check_times,
    from_id,
    last_id,
    newest,
    oldest,
    sought,
)
from alphaforge_assets.venues.trade_rows import TRADE_SCHEMA, TradeLayout

HOUR_MS = 3_600_000

# Holes of one page that are asked for alone whatever comes of it; more only once one of them has brought something.
ASKED_BEFORE_TRUST = 4
# A venue that gives ten trades a page still gets through an hour; one that never stops does not.
PAGES_MAX = 100_000
TRADES_A_SECOND = 10  # for plans: BTC/USDT has more, most others have less


@dataclass(frozen=True)
class TradePage:
    """What a page is asked by: from an id on, or of [start_ms, end_ms), the oldest first."""

    venue_symbol: str
    rows: int
    from_id: int | None = None
    start_ms: int = 0
    end_ms: int = 0


@dataclass(frozen=True)
class TradeFeed:
    """How a venue is asked for the trades of one instrument.

    By id and by time, each as far as it can be asked so; one that can be asked by neither tells its newest trades.
    """

    rows_max: int
    ask: Callable[[TradePage], Call]
    rows: Callable[[Any, str], Any]  # the list of rows in the answer to a question for this one of its symbols
    layout: TradeLayout
    kept_hours: int | None = (
        None  # what is older is not asked for: it serves no more; None: it serves all there ever was
    )
    span_ms: int = HOUR_MS  # the longest a page may be asked for by time
    by_id: bool = True
    by_time: Literal["oldest", "newest", "never"] = (
        "oldest"  # what a page by time has: the oldest of a span, or the newest
    )
    is_bounded: bool = True  # pages keep to both their ends; else what is beyond the second one is cut here

    @property
    def is_recent(self) -> bool:
        """Whether its newest trades are all that it tells."""
        return not self.by_id and self.by_time == "never"


Sent = Callable[[TradePage, Callable[[pa.Table], pa.Table]], pa.Table]


def fetch(feed: TradeFeed, window: Window, symbol: str, horizon_ms: int, page: Sent) -> tuple[pa.Table, int]:
    """The trades of a window, and from which millisecond on they are all that the venue has: mostly its start.

    `page` sends a question and holds the answer against the check. Raises as `walk`.
    """
    if feed.is_recent:
        return recent(feed, window, symbol, horizon_ms, page)

    def by_time(start_ms: int, end_ms: int, rows: int) -> pa.Table:
        def check(table: pa.Table) -> pa.Table:
            return check_times(table if feed.is_bounded else before_ms(table, end_ms), start_ms, end_ms)

        return page(TradePage(symbol, rows, None, start_ms, end_ms), check)

    def by_id(first: int, rows: int) -> pa.Table:
        def check(table: pa.Table) -> pa.Table:
            return check_ids(table if feed.is_bounded else from_id(table, first), first, horizon_ms)

        return page(TradePage(symbol, rows, first), check)

    def near(last: int | None) -> pa.Table:
        return page(TradePage(symbol, 1, last), lambda table: check_ids(table, 0, horizon_ms))

    if feed.by_time == "never":
        told = sought(window, feed.rows_max, near)
    elif feed.by_time == "newest":
        told = newest(window, by_time)
    else:
        told = oldest(window, feed.span_ms, feed.rows_max, by_time)
    pages = by_id if feed.by_id else by_times(window, feed.rows_max, lambda ms, rows: by_time(ms, horizon_ms, rows))
    return walk(window, feed.rows_max, told, pages), window.start_ms


def recent(feed: TradeFeed, window: Window, symbol: str, horizon_ms: int, page: Sent) -> tuple[pa.Table, int]:
    """What a venue's newest trades have of a window, and from when on: others may share the oldest one's millisecond.

    A market without any is believed to have none when it says so twice.
    """
    for _ in range(SILENCES):
        table = page(TradePage(symbol, feed.rows_max), lambda table: check_ids(table, 0, horizon_ms))
        if table.num_rows:
            whole_of = reached(table, window)
            return distinct(inside(table, whole_of)), whole_of.start_ms
    return TRADE_SCHEMA.empty_table(), window.start_ms


def reached(table: pa.Table, window: Window) -> Window:
    """The part of a window that newest trades reach back into."""
    since_ms = pc.min(table["timestamp"]).value // 1000 + 1
    return Window(min(max(window.start_ms, since_ms), window.end_ms), window.end_ms)


def calls(feed: TradeFeed, symbol: str, start_ms: int, end_ms: int, now_ms: int) -> list[Call]:
    """The pages of a window of a market as busy as TRADES_A_SECOND: nobody knows beforehand how many there are.

    What the venue serves no longer is not asked for.
    """
    if feed.kept_hours:
        start_ms = max(start_ms, now_ms - feed.kept_hours * HOUR_MS)
    if start_ms >= end_ms:
        return []
    first = feed.ask(TradePage(symbol, 1, None, start_ms, min(end_ms, start_ms + feed.span_ms)))
    if feed.is_recent:
        return [first]
    ids = TRADES_A_SECOND * (end_ms - start_ms) // 1000
    if feed.by_id:
        return [first] + [feed.ask(TradePage(symbol, feed.rows_max, n)) for n in range(0, ids, feed.rows_max)]
    step_ms = 1000 * feed.rows_max // TRADES_A_SECOND
    return [first] + [
        feed.ask(TradePage(symbol, feed.rows_max, None, ms, end_ms)) for ms in range(start_ms, end_ms, step_ms)
    ]


def walk(window: Window, rows_max: int, told: Told, by_id: Callable[[int, int], pa.Table]) -> pa.Table:
    """The trades of a window, by id; what is told twice alike is there once, what is told differently twice.

    `by_id(first, rows)` is a page in any order, of no lower id than asked for. Raises what it and `told` raise, and
    VenueUnavailable for a venue that never comes to an end, or tells by time what it does not by id.
    """
    first = told.find()
    if first is None:
        return TRADE_SCHEMA.empty_table()
    tables = [_before(window, first, rows_max, by_id)]
    cursor, silences = (last_id(tables[0]) + 1 if tables[0].num_rows else first), 0
    for _ in range(PAGES_MAX):
        if tables[-1].num_rows and pc.max(tables[-1]["timestamp"]).value >= window.end_ms * 1000:
            break
        table = whole(cursor, rows_max, by_id)
        # A page that begins beyond the end is as rare as an empty one, and believed as slowly.
        if not table.num_rows or pc.min(table["timestamp"]).value >= window.end_ms * 1000:
            silences += 1
            if silences == SILENCES:
                _check_silence(tables, cursor, window, told)
                break
            continue
        tables.append(table)
        cursor = last_id(table) + 1
    else:
        raise VenueUnavailable(
            f"the venue sends page after page for [{window.start_ms}, {window.end_ms}) ms and never comes to its end"
        )
    return distinct(inside(pa.concat_tables([TRADE_SCHEMA.empty_table(), *tables]), window))


def whole(first: int, rows_max: int, by_id: Callable[[int, int], pa.Table]) -> pa.Table:
    """A page from an id on with what it left out: each range that is missing is asked for by its own ids.

    What the venue has nothing of again stays missing: it skips such ids, or keeps them for itself. If it had some, it
    is asked for the rest once more.
    """
    table = distinct(by_id(first, rows_max))
    for _ in range(SILENCES):
        fuller = _with_missing(table, first, rows_max, by_id)
        if fuller.num_rows == table.num_rows:
            break
        table = fuller
    return table


def _with_missing(table: pa.Table, first: int, rows_max: int, by_id: Callable[[int, int], pa.Table]) -> pa.Table:
    is_doubted, asked = False, 0
    for low, high in missing_ids(table, first):
        while low <= high and (is_doubted or asked < ASKED_BEFORE_TRUST):
            asked += 1
            again = by_id(low, min(rows_max, high - low + 1))
            again = again.filter(pc.less_equal(again["trade_id"], pa.scalar(high, pa.uint64())))
            if not again.num_rows:
                break
            is_doubted = True
            table = pa.concat_tables([table, again])
            low = last_id(again) + 1
    return distinct(table)


def missing_ids(table: pa.Table, first: int) -> list[tuple[int, int]]:
    """Ranges, both ends inclusive, of ids from `first` on that a table in order of ids leaves out before its last."""
    if not table.num_rows:
        return []
    ids = np.concatenate([np.array([first - 1], np.int64), table["trade_id"].cast(pa.int64()).to_numpy()])
    places = np.flatnonzero(np.diff(ids) > 1)
    return [(int(ids[n]) + 1, int(ids[n + 1]) - 1) for n in places]


def distinct(table: pa.Table) -> pa.Table:
    """A table in order of ids, rows of one id in the order they came; rows that are the same in all are one."""
    if table.num_rows < 2:
        return table
    ids = table["trade_id"].cast(pa.int64()).to_numpy()
    steps = np.diff(ids)
    if steps.min() > 0:
        return table
    order = np.argsort(ids, kind="stable")
    table, ids = table.take(pa.array(order)), ids[order]
    if (np.diff(ids) > 0).all():
        return table
    # Only of ids that come more than once are the values compared.
    _, place, count = np.unique(ids, return_inverse=True, return_counts=True)
    twice = np.flatnonzero(count[place] > 1)
    told = table.take(pa.array(twice)).to_pylist()
    seen: dict[tuple[Any, ...], int] = {}
    for n, row in zip(twice, told, strict=True):
        seen.setdefault(tuple(row.values()), int(n))
    keep = np.ones(len(ids), bool)
    keep[twice] = False
    keep[list(seen.values())] = True
    return table.filter(pa.array(keep))


def contradictions_ms(table: pa.Table) -> list[int]:
    """Milliseconds in which lies a trade that was told with different values, ascending."""
    if table.num_rows < 2:
        return []
    ids = table["trade_id"].cast(pa.int64()).to_numpy()
    values, count = np.unique(ids, return_counts=True)
    if len(values) == len(ids):
        return []
    times = table["timestamp"].cast(pa.int64()).to_numpy()[np.isin(ids, values[count > 1])]
    return sorted({int(ms) for ms in times // 1000})


def _before(window: Window, first: int, rows_max: int, by_id: Callable[[int, int], pa.Table]) -> pa.Table:
    """The page to walk on from: it begins with a trade before the window, or with the first that the venue has.

    Should the trade before `first` be of the window, the page by time has lost some or begins elsewhere, and pages are
    asked for further and further back. Raises VenueUnavailable if the venue has `first` by time, and not by its id.
    """
    table = _with(first, rows_max, by_id)
    known = pc.min(table["trade_id"]).as_py()
    if pc.min(table["timestamp"]).value < window.start_ms * 1000:
        return table
    low = known
    while low > 0:
        low = max(0, low - rows_max)
        table = whole(low, rows_max, by_id)
        table = table.filter(pc.less(table["trade_id"], pa.scalar(known, pa.uint64())))
        if not table.num_rows:
            break
        known = pc.min(table["trade_id"]).as_py()
        if pc.min(table["timestamp"]).value < window.start_ms * 1000:
            break
    return whole(known, rows_max, by_id)  # and forwards from here: pages may be shorter than the steps back


def _with(first: int, rows_max: int, by_id: Callable[[int, int], pa.Table]) -> pa.Table:
    """The page that begins just before a trade that is known to be there."""
    for _ in range(SILENCES + 1):
        table = whole(max(0, first - 1), rows_max, by_id)
        is_there = pc.any(pc.equal(table["trade_id"], pa.scalar(first, pa.uint64()))).as_py()
        if is_there or (table.num_rows and last_id(table) < first):
            return table
    raise VenueUnavailable(
        f"the venue told trade {first} by its time, and does not by its id: its pages are not believed",
        str(table.slice(0, 3).to_pylist())[:EVIDENCE_CHARS],
    )


def _check_silence(tables: Sequence[pa.Table], cursor: int, window: Window, told: Told) -> None:
    """Raise VenueUnavailable if a venue that by id has none of the window from `cursor` on has one by time."""
    last_ms = max([window.start_ms, *(pc.max(t["timestamp"]).value // 1000 for t in tables if t.num_rows)])
    latest = told.latest(last_ms) if last_ms < window.end_ms else None
    if latest is not None and latest >= cursor:
        raise VenueUnavailable(
            f"by id the venue has no trade from {cursor} on that is of the window, yet by time it has {latest}: its"
            " pages are not believed"
        )


def inside(table: pa.Table, window: Window) -> pa.Table:
    """The trades of a window."""
    times = table["timestamp"].cast(pa.int64())
    return table.filter(pc.and_(pc.greater_equal(times, window.start_ms * 1000), pc.less(times, window.end_ms * 1000)))
