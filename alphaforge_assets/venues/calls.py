"""Which requests a window of a venue's REST API takes, for walking it and for telling what it will cost. Pure."""

import math

import pyarrow as pa

from alphaforge_assets.intervals import INTERVAL_MS
from alphaforge_assets.venues import funding
from alphaforge_assets.venues.bars import Window, windows
from alphaforge_assets.venues.source import Call
from alphaforge_assets.venues.venue import BarFeed, BarPage, FundingFeed


def bar_windows(feed: BarFeed, start_ms: int, end_ms: int, interval: str) -> list[Window]:
    """[start_ms, end_ms) in windows that are walked at once."""
    return windows(start_ms, end_ms, INTERVAL_MS[interval], feed.rows_max, ascending=feed.paging == "ascending")


def bar_page(feed: BarFeed, window: Window, symbol: str, interval: str, now_ms: int) -> BarPage:
    """The first page of a window."""
    step = INTERVAL_MS[interval]
    rows = min(feed.rows_max, -(-(window.end_ms - window.start_ms) // step) + (feed.paging == "ascending"))
    cursor_ms = window.end_ms if feed.paging == "descending" else window.start_ms
    age_bars = math.ceil(max(0, now_ms - window.start_ms) / step)
    return BarPage(symbol, interval, cursor_ms, rows, age_bars, window.end_ms)


def bar_calls(feed: BarFeed, symbol: str, interval: str, start_ms: int, end_ms: int, now_ms: int) -> list[Call]:
    """The pages of a window of bars."""
    pages = (bar_page(feed, w, symbol, interval, now_ms) for w in bar_windows(feed, start_ms, end_ms, interval))
    return [feed.ask(page) for page in pages]


def funding_calls(feed: FundingFeed, symbol: str, start_ms: int, end_ms: int, now_ms: int) -> list[Call]:
    """The pages of a window: the real walk over settlements as seldom as they come, counting."""
    kept_ms = now_ms - feed.kept_days * 86_400_000 if feed.kept_days else 0
    calls: list[Call] = []

    def page(cursor_ms: int, rows: int) -> pa.Table:
        calls.append(feed.ask(funding.FundingPage(symbol, cursor_ms, rows)))
        return funding.imagined(cursor_ms, rows, kept_ms, now_ms, ascending=feed.ascending)

    funding.walk(funding.raw_window(start_ms, end_ms), feed.rows_max, page, ascending=feed.ascending)
    return calls
