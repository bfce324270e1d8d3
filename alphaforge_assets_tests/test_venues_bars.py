"""Paging as a law: whatever page size the venue grants and whatever its bars are like, nothing is lost or doubled."""

import datetime as dt
from bisect import bisect_left
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphaforge_assets.errors import VenueUnavailable
from alphaforge_assets.venues.bars import (
    SILENCES,
    Walked,
    Window,
    ask_whole,
    check_bounded,
    check_page,
    check_reach,
    check_silence,
    walk,
    windows,
)
from alphaforge_assets.venues.columns import BAR_SCHEMA, TIME, parse_rows
from alphaforge_assets.venues.directory import VENUES
from alphaforge_assets.venues.rest import HORIZON_MS
from alphaforge_assets.venues.venue import BarPage, Venue

MINUTE_MS = 60_000
T0 = 1_735_689_600_000  # 2025-01-01
STEPS = st.sampled_from([MINUTE_MS, 3_600_000])

# Steps between bars in quarters of the interval: mostly one on each grid point, some off it, some missing.
QUARTERS = st.lists(st.sampled_from([4, 4, 4, 4, 4, 4, 1, 2, 3, 5, 7, 400, 4000]), max_size=120)


def times(quarters: list[int], step: int, begin: int) -> list[int]:
    at, found = begin, []
    for quarter in quarters:
        found.append(at)
        at += quarter * step // 4
    return found


class Counter:
    """A venue of bars that opens at `bars`, granting at most `limit` rows; counts its requests."""

    def __init__(self, bars: list[int], limit: int, *, ascending: bool) -> None:
        self.bars, self.limit, self.ascending, self.requests = bars, limit, ascending, 0

    def page(self, cursor_ms: int, rows: int) -> pa.Table:
        self.requests += 1
        most, at = min(rows, self.limit), bisect_left(self.bars, cursor_ms)
        found = self.bars[at : at + most] if self.ascending else self.bars[max(0, at - most) : at]
        return pa.table({"timestamp": pa.array(found, TIME)})


def opened(walks: list[Walked]) -> list[int]:
    return [t for w in walks for table in w.tables for t in table["timestamp"].cast(pa.int64()).to_pylist()]


@settings(max_examples=300)
@given(
    quarters=QUARTERS,
    step=STEPS,
    limit=st.integers(1, 300),
    wish=st.integers(2, 300),
    begin=st.integers(-50, 50),
    length=st.integers(0, 200),
    ascending=st.booleans(),
)
def test_nothing_is_lost_and_nothing_comes_twice(
    quarters: list[int], step: int, limit: int, wish: int, begin: int, length: int, ascending: bool
) -> None:
    bars = times(quarters, step, T0 + begin * step // 4)
    start, end = T0, T0 + length * step
    venue = Counter(bars, limit, ascending=ascending)
    span = windows(start, end, step, wish, ascending=ascending)
    walks = [walk(w, step, wish, venue.page, ascending=ascending) for w in span]
    expected = [t for t in bars if start <= t < end]
    assert opened(walks) == expected
    page = min(limit, wish)
    assert venue.requests <= len(expected) // page + len(span) * (SILENCES + 2)
    check_silence(walks, end, ascending=ascending)  # an honest venue never contradicts itself


@given(step=STEPS, bars=st.integers(0, 5000), rows_max=st.integers(1, 1000), ascending=st.booleans())
def test_windows_tile_the_span_and_fit_a_page(step: int, bars: int, rows_max: int, ascending: bool) -> None:
    span = windows(T0, T0 + bars * step, step, rows_max, ascending=ascending)
    room = max(1, rows_max - ascending)
    assert len(span) == -(-bars // room)
    if span:
        assert (span[0].start_ms, span[-1].end_ms) == (T0, T0 + bars * step)
        assert all(a.end_ms == b.start_ms for a, b in pairwise(span))
        assert all(0 < (w.end_ms - w.start_ms) // step <= room for w in span)


@pytest.mark.parametrize("ascending", [True, False])
def test_regular_bars_cost_one_request_a_window(ascending: bool) -> None:
    """Where the venue grants the wish and has no holes, no request is spent on learning that there is no more."""
    venue = Counter([T0 + n * MINUTE_MS for n in range(-10, 5000)], 300, ascending=ascending)
    span = windows(T0, T0 + 3000 * MINUTE_MS, MINUTE_MS, 300, ascending=ascending)
    for w in span:
        walk(w, MINUTE_MS, 300, venue.page, ascending=ascending)
    assert venue.requests == len(span)


def test_a_venue_that_never_ends_is_given_up() -> None:
    forever = iter(range(T0, T0 + 10**9))

    def page(cursor_ms: int, rows: int) -> pa.Table:
        return pa.table({"timestamp": pa.array([next(forever)], TIME)})

    with pytest.raises(VenueUnavailable, match="never comes to its end"):
        walk(Window(T0, T0 + 10**9), MINUTE_MS, 1000, page, ascending=True)


WALKED = sorted(name for name, venue in VENUES.items() if venue.bars.paging in ("ascending", "descending"))


def speak(venue: Venue, interval_ms: int, bars: list[int], limit: int, params: dict[str, Any], method: str) -> Any:
    """The venue's answer as its documentation has it: which bars a request's parameters mean, in its own order."""
    text = [str(float(n)) for n in range(1, 12)]
    most = min(int(params["limit"]), limit)
    if venue.exchange in ("binance", "binanceus"):
        found = bars[bisect_left(bars, params["startTime"]) :][:most]
        return [[t, *text[:5], t + interval_ms - 1, text[5], 3, *text[6:8], "0"] for t in found]
    if venue.exchange == "okx":
        below = bars[: bisect_left(bars, int(params["after"]))]  # strictly older
        if method == "publicGetMarketCandles":
            below = [t for t in below if t >= bars[-1] - 1440 * interval_ms]
        body = [text[0]] * 7 if venue.is_perpetual else [*text[:5], text[7], text[7]]
        return {"code": "0", "msg": "", "data": [[str(t), *body, "1"] for t in below[-most:][::-1]]}
    below = bars[: bisect_left(bars, int(params["end"]) + 1)]  # inclusive
    return {"retCode": 0, "result": {"symbol": "X", "list": [[str(t), *text[:6]] for t in below[-most:][::-1]]}}


@settings(max_examples=120)
@given(
    name=st.sampled_from(WALKED),
    quarters=QUARTERS.filter(bool),
    limit=st.integers(1, 300),
    begin=st.integers(-50, 50),
    length=st.integers(0, 1500),
    age=st.sampled_from([0, 1, 500, 719, 720, 721, 100_000]),
)
def test_every_venues_own_words_for_a_page(
    name: str, quarters: list[int], limit: int, begin: int, length: int, age: int
) -> None:
    """The requests we build, read as the venue reads them: inclusive or not, ascending or not, recent or old."""
    venue, feed, step = VENUES[name], VENUES[name].bars, MINUTE_MS
    ascending = feed.paging == "ascending"
    bars = times(quarters, step, T0 + begin * step // 4)
    start, end = T0, T0 + length * step
    now = max(end, bars[-1] + step) + age * step

    def page(cursor_ms: int, rows: int) -> pa.Table:
        call = feed.ask(BarPage("X", "1m", cursor_ms, rows, (now - cursor_ms) // step))
        assert int(call.params["limit"]) <= feed.rows_max
        answer = speak(venue, step, bars, limit, dict(call.params), call.method)
        table = parse_rows(feed.layout, feed.rows(answer, "X"), step, now)
        return check_page(table, cursor_ms, max(end, now) + HORIZON_MS, ascending=ascending)

    span = windows(start, end, step, feed.rows_max, ascending=ascending)
    walks = [walk(w, step, feed.rows_max, page, ascending=ascending) for w in span]
    assert opened(walks) == [t for t in bars if start <= t < end]
    assert all(table.schema == BAR_SCHEMA for w in walks for table in w.tables)
    check_silence(walks, now, ascending=ascending)


@given(quarters=QUARTERS, begin=st.integers(-50, 50), length=st.integers(1, 1500), before=st.integers(0, 3))
def test_bounded_windows_tile_a_span_whatever_precedes_an_answer(
    quarters: list[int], begin: int, length: int, before: int
) -> None:
    """Coinbase's words: both ends inclusive, seconds, at most 300 buckets, and bars from before the window with it."""
    feed, step = VENUES["coinbase_spot"].bars, MINUTE_MS
    bars = times(quarters, step, T0 + begin * step // 4)
    start, end = T0, T0 + length * step

    def part(window: Window) -> Walked:
        call = feed.ask(BarPage("X", "1m", window.start_ms, 300, 0, window.end_ms))
        first, last = (
            int(dt.datetime.fromisoformat(call.params[name]).timestamp()) * 1000 for name in ("start", "end")
        )
        assert (last - first) // step < 300
        at = bisect_left(bars, first)
        found = bars[max(0, at - before) : bisect_left(bars, last + step)]
        found = [t for t in found if t >= first - 300 * step]
        answer = [[t // 1000, 1.0, 4.0, 2.0, 3.0, 5] for t in found][::-1]
        table = parse_rows(feed.layout, feed.rows(answer, "X"), step, end)
        return ask_whole(window, lambda: check_bounded(table, window, step, 300))

    walks = [part(w) for w in windows(start, end, step, feed.rows_max, ascending=False)]
    assert opened(walks) == [t for t in bars if start <= t < end]


@pytest.mark.parametrize(("first", "last"), [(-301, -1), (0, 301), (-400, 2)])
def test_an_answer_far_from_the_window_is_not_believed(first: int, last: int) -> None:
    table = table_of(first, last)
    with pytest.raises(VenueUnavailable, match="the page is not trusted"):
        check_bounded(table, Window(T0, T0 + 300 * MINUTE_MS), MINUTE_MS, 300)


@pytest.mark.parametrize(
    ("minutes", "believed"),
    [
        ((0, 719), True),
        ((1, 719), True),  # the first is missing, and would be there
        ((1, 720), False),
        ((-3, 720), True),  # it has more than it promises
        ((500, 2000), False),
        ((), True),
    ],
)
def test_a_page_of_newest_bars_must_reach_back_to_what_was_asked(minutes: tuple[int, ...], believed: bool) -> None:
    table = table_of(*minutes)
    if believed:
        assert check_reach(table, T0, 720, MINUTE_MS) is table
    else:
        with pytest.raises(VenueUnavailable, match="keeps its newest 720"):
            check_reach(table, T0, 720, MINUTE_MS)


def table_of(*minutes: float) -> pa.Table:
    return pa.table({"timestamp": pa.array([T0 + int(m * MINUTE_MS) for m in minutes], TIME)})


@pytest.mark.parametrize(
    ("minutes", "cursor", "ascending", "believed"),
    [
        ((0, 1, 2), 0, True, True),
        ((5, 6), 0, True, True),
        ((-1, 0), 0, True, False),
        ((-0.001, 1), 0, True, False),
        ((0, 100_000), 0, True, False),
        ((-2, -1), 0, False, True),
        ((-90_000, -5), 0, False, True),
        ((-1, 0), 0, False, False),
        ((), 0, True, True),
        ((), 0, False, True),
    ],
)
def test_a_page_beyond_what_was_asked_is_not_believed(
    minutes: tuple[float, ...], cursor: int, ascending: bool, believed: bool
) -> None:
    table, horizon = table_of(*minutes), T0 + 1440 * MINUTE_MS
    if believed:
        assert check_page(table, T0 + cursor, horizon, ascending=ascending) is table
    else:
        with pytest.raises(VenueUnavailable, match="not trusted") as caught:
            check_page(table, T0 + cursor, horizon, ascending=ascending)
        assert caught.value.evidence


@pytest.mark.parametrize(
    ("ascending", "silent_at", "other", "now", "believed"),
    [
        (True, 10, 20, 30, False),  # nothing from minute 10 on, and yet a bar at 20 that was there when we asked
        (True, 10, 9, 30, True),
        (True, 10, 20, 15, True),  # the bar came about since
        (False, 10, 5, 30, False),  # nothing before minute 10, and yet a bar at 5
        (False, 10, 10, 30, True),
    ],
)
def test_an_empty_page_that_another_contradicts_is_not_believed(
    ascending: bool, silent_at: int, other: int, now: int, believed: bool
) -> None:
    walks = [Walked([], T0 + silent_at * MINUTE_MS), Walked([table_of(other)])]
    if believed:
        check_silence(walks, T0 + now * MINUTE_MS, ascending=ascending)
    else:
        with pytest.raises(VenueUnavailable, match="not believed"):
            check_silence(walks, T0 + now * MINUTE_MS, ascending=ascending)


def test_one_empty_page_is_asked_again() -> None:
    bars = Counter([T0 + n * MINUTE_MS for n in range(20)], 100, ascending=True)
    lies = iter([True, False])

    def page(cursor_ms: int, rows: int) -> pa.Table:
        return table_of() if next(lies, False) else bars.page(cursor_ms, rows)

    walked = walk(Window(T0, T0 + 10 * MINUTE_MS), MINUTE_MS, 100, page, ascending=True)
    assert opened([walked]) == bars.bars[:10]


def test_okx_old_bars_come_from_the_endpoint_that_has_them() -> None:
    def method(age_bars: int) -> str:
        return VENUES["okx_spot"].bars.ask(BarPage("BTC-USDT", "1m", T0, 300, age_bars)).method

    assert method(0) == method(720) == "publicGetMarketCandles"
    assert method(721) == method(10**6) == "publicGetMarketHistoryCandles"


def test_binance_futures_pay_by_limit() -> None:
    def weight(rows: int) -> int:
        return VENUES["binance_perp"].bars.ask(BarPage("BTCUSDT", "1m", T0, rows, 0)).weight

    assert [weight(n) for n in (1, 99, 100, 499, 500, 1000)] == [1, 1, 2, 2, 5, 5]


def test_days_are_utc_days() -> None:
    """OKX cuts 1D at UTC+8 unless told otherwise; the four-hour grids are the same."""
    assert VENUES["okx_spot"].bars.ask(BarPage("BTC-USDT", "1d", T0, 300, 0)).params["bar"] == "1Dutc"
    assert dt.timedelta(hours=8) % dt.timedelta(hours=4) == dt.timedelta(0)
