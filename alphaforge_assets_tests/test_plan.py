"""What a plan foretells is what the fetching code does: counted against real walks over venues that have everything."""

import datetime as dt

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphaforge_assets.backfill.cost import Spent, calls_of
from alphaforge_assets.datasets.bars import BARS
from alphaforge_assets.datasets.funding_rates import FUNDING_RATES
from alphaforge_assets.intervals import INTERVAL_MS
from alphaforge_assets.universe import load_universe
from alphaforge_assets.venues.bars import walk, windows
from alphaforge_assets.venues.columns import TIME
from alphaforge_assets.venues.directory import VENUES
from alphaforge_assets.venues.governor import Budget
from alphaforge_assets.warehouse.batches import Window

UNIVERSE = load_universe()
START = dt.datetime(2025, 5, 1, tzinfo=dt.UTC)
NOW = dt.datetime(2025, 8, 1, tzinfo=dt.UTC)


def window(venue: str, bars: int, interval: str = "1m", start: dt.datetime = START) -> Window:
    end = start + dt.timedelta(milliseconds=bars * INTERVAL_MS[interval])
    return Window(UNIVERSE.instrument(f"{venue}.BTC-USDT"), interval, start, end)


@given(st.sampled_from(sorted(VENUES)), st.integers(1, 5000), st.sampled_from(["1m", "1h"]))
def test_requests_and_rows_foretold_are_those_of_the_walk(name: str, bars: int, interval: str) -> None:
    feed, step = VENUES[name].bars, INTERVAL_MS[interval]
    ascending = feed.paging == "ascending"
    wanted = window(name, bars, interval)
    start_ms, end_ms = (int(t.timestamp() * 1000) for t in (wanted.start, wanted.end))
    asked: list[int] = []

    def page(cursor_ms: int, rows: int) -> pa.Table:
        asked.append(rows)
        first = -(-cursor_ms // step) * step if ascending else cursor_ms - rows * step
        times = pa.array(range(first, first + rows * step, step), pa.int64()).view(TIME)
        return pa.table({"timestamp": times})

    for part in windows(start_ms, end_ms, step, feed.rows_max, ascending=ascending):
        walk(part, step, feed.rows_max, page, ascending=ascending)
    calls = calls_of(BARS, wanted, NOW)
    assert [int(call.params["limit"]) for call in calls] == asked


def test_weights_are_those_of_the_venues_own_records() -> None:
    month = 31 * 1440
    assert [c.weight for c in calls_of(BARS, window("binance_spot", month), NOW)] == [2] * 45
    assert {c.weight for c in calls_of(BARS, window("binance_perp", month), NOW)} == {2}
    assert [c.weight for c in calls_of(BARS, window("binance_perp", 24, "1h"), NOW)] == [1]


def test_young_bars_of_okx_are_counted_where_they_are_asked() -> None:
    (old,) = calls_of(BARS, window("okx_spot", 60), NOW)
    (young,) = calls_of(BARS, window("okx_spot", 60, start=NOW - dt.timedelta(hours=2)), NOW)
    assert (old.budget.name, young.budget.name) == ("okx.history-candles", "okx.candles")


def test_markets_of_one_exchange_share_its_budget_only_where_the_venue_counts_them_together() -> None:
    spot, perp = (calls_of(BARS, window(v, 10), NOW)[0].budget for v in ("bybit_spot", "bybit_perp"))
    assert spot == perp
    spot, perp = (calls_of(BARS, window(v, 10), NOW)[0].budget for v in ("binance_spot", "binance_perp"))
    assert spot != perp


@pytest.mark.parametrize(("venue", "requests"), [("binance_perp", 1), ("okx_perp", 1), ("bybit_perp", 1)])
def test_a_month_of_funding_is_one_request(venue: str, requests: int) -> None:
    month = Window(UNIVERSE.instrument(f"{venue}.BTC-USDT"), "", START, START + dt.timedelta(days=31))
    assert len(calls_of(FUNDING_RATES, month, START + dt.timedelta(days=60))) == requests


def test_the_ceiling_is_the_whole_limit_and_the_pace_keeps_the_reserve() -> None:
    spent = Spent(Budget("b", limit=6000, window_s=60, burst=300), requests=3000, weight=6000)
    assert spent.ceiling_s == pytest.approx(60)
    assert spent.paced_s == pytest.approx((6000 - 300) * 60 / (0.95 * 6000 - 300))
    assert Spent(spent.budget, 1, 2).paced_s == 0  # a burst goes at once
