"""What a plan foretells is what the fetching code does: counted against real walks over venues that have everything."""

import datetime as dt
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphaforge_assets.backfill.cost import Spent, reached, side_by_side
from alphaforge_assets.backfill.past import A_ROW_S, OwnWork, slope
from alphaforge_assets.datasets.bars import BARS
from alphaforge_assets.datasets.dataset import Dataset
from alphaforge_assets.datasets.funding_rates import FUNDING_RATES
from alphaforge_assets.intervals import INTERVAL_MS
from alphaforge_assets.pipeline import choice
from alphaforge_assets.universe import instrument_of
from alphaforge_assets.venues.bars import walk, windows
from alphaforge_assets.venues.columns import TIME
from alphaforge_assets.venues.directory import REST, VENUES
from alphaforge_assets.venues.governor import Budget, State, grant
from alphaforge_assets.venues.okx import HISTORY_CANDLES
from alphaforge_assets.venues.source import Call
from alphaforge_assets.warehouse.windows import Window

START = dt.datetime(2025, 5, 1, tzinfo=dt.UTC)
NOW = dt.datetime(2025, 8, 1, tzinfo=dt.UTC)


def calls_of(dataset: Dataset, wanted: Window, now: dt.datetime) -> list[Call]:
    """The requests that REST takes."""
    return choice.calls_of(REST[wanted.instrument.venue], dataset.name, wanted, now)


def window(venue: str, bars: int, interval: str = "1m", start: dt.datetime = START) -> Window:
    end = start + dt.timedelta(milliseconds=bars * INTERVAL_MS[interval])
    return Window(instrument_of(f"{venue}.BTC-USDT"), interval, start, end)


WALKED = sorted(name for name, venue in VENUES.items() if venue.bars.paging in ("ascending", "descending"))


@given(st.sampled_from(WALKED), st.integers(1, 5000), st.sampled_from(["1m", "1h"]))
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


def test_pages_that_are_not_walked() -> None:
    times = [(c.params["start"], c.params["end"]) for c in calls_of(BARS, window("coinbase_spot", 700), NOW)]
    assert times == [
        ("2025-05-01T00:00:00Z", "2025-05-01T03:52:00Z"),
        ("2025-05-01T03:53:00Z", "2025-05-01T07:45:00Z"),
        ("2025-05-01T07:46:00Z", "2025-05-01T11:39:00Z"),
    ]
    (newest,) = calls_of(BARS, window("kraken_spot", 700, start=NOW - dt.timedelta(minutes=701)), NOW)
    assert newest.params["since"] == int((NOW - dt.timedelta(minutes=701)).timestamp()) - 1
    assert newest.budget.name == "kraken.public"


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


def spent(venue: str, bars: int) -> list[Spent]:
    calls = calls_of(BARS, window(venue, bars), NOW)
    return [Spent(b, len(calls), sum(c.weight for c in calls)) for b in {c.budget for c in calls}]


def test_markets_that_share_a_limit_take_turns_in_the_estimate() -> None:
    both = side_by_side({v: spent(v, 30_000) for v in ("okx_spot", "okx_perp", "binance_spot", "binance_perp")})
    for venue, times in (("okx_spot", 2), ("okx_perp", 2), ("binance_spot", 1), ("binance_perp", 1)):
        (alone,) = side_by_side({venue: spent(venue, 30_000)}).values()
        assert both[venue] == pytest.approx(times * alone)
    uneven = side_by_side({"okx_spot": spent("okx_spot", 3_000), "okx_perp": spent("okx_perp", 30_000)})
    alone = {v: its[0].ceiling_s for v, its in (("s", spent("okx_spot", 3_000)), ("p", spent("okx_perp", 30_000)))}
    assert uneven == pytest.approx({"okx_spot": 2 * alone["s"], "okx_perp": alone["s"] + alone["p"]})


@given(st.integers(1, 300), st.integers(1, 300))
def test_turns_are_those_that_the_governor_gives(spot: int, perp: int) -> None:
    budget = HISTORY_CANDLES
    foretold = side_by_side({"spot": [Spent(budget, spot, spot)], "perp": [Spent(budget, perp, perp)]})
    state, last, now = State(), {"spot": 0.0, "perp": 0.0}, 1_000_000.0
    for n in range(max(spot, perp)):
        for venue, wanted in (("spot", spot), ("perp", perp)):
            if n < wanted:
                at, state = grant(state, budget, 1, now)
                last[venue] = at - now
    for venue, seconds in foretold.items():
        units = seconds * budget.limit / budget.window_s
        assert last[venue] == pytest.approx(units * budget.seconds_per_unit, abs=4 * budget.seconds_per_unit)


def test_what_was_reached_counts_what_others_had_of_the_same_limit_meanwhile() -> None:
    def asked(venue: str, weight: int, minute: int) -> dict[str, Any]:
        its = window(venue, weight * 100)
        times = {"window_start": its.start, "window_end": its.end, "recorded_at": NOW + dt.timedelta(minutes=minute)}
        return {"venue": venue, "source": "rest", "interval": "1m", "requests": weight, "weight": weight, **times}

    venues = ("okx_spot", "okx_perp", "binance_spot")
    run = {v: [asked(v, 100, 1)] for v in venues}
    run["okx_perp"].append(asked("okx_perp", 50, 2))
    found = reached(run, BARS)
    assert [found[v][:2] for v in venues] == [(100, 100), (150, 150), (100, 100)]
    seconds = {v: its[2] for v, its in found.items()}
    assert seconds == pytest.approx({"okx_spot": 200 / 10, "okx_perp": 250 / 10, "binance_spot": 1.0})


@pytest.mark.parametrize(("venue", "requests"), [("binance_perp", 1), ("okx_perp", 1), ("bybit_perp", 1)])
def test_a_month_of_funding_is_one_request(venue: str, requests: int) -> None:
    month = Window(instrument_of(f"{venue}.BTC-USDT"), "", START, START + dt.timedelta(days=31))
    assert len(calls_of(FUNDING_RATES, month, START + dt.timedelta(days=60))) == requests


def test_the_ceiling_is_the_whole_limit_and_the_pace_keeps_the_reserve() -> None:
    spent = Spent(Budget("b", limit=6000, window_s=60, burst=300), requests=3000, weight=6000)
    assert spent.ceiling_s == pytest.approx(60)
    assert spent.paced_s == pytest.approx((6000 - 300) * 60 / (0.95 * 6000 - 300))
    assert Spent(spent.budget, 1, 2).paced_s == 0  # a burst goes at once


def test_small_runs_say_what_a_run_takes_and_nothing_of_a_row() -> None:
    """Two days of one instrument, once in 1.9 s and once in 5.1 s: not a millisecond a row, and not hours a year."""
    of_small = slope([(1_464, 1.9), (2_928, 5.1), (24, 2.0)])
    assert of_small.a_row_s == A_ROW_S
    assert 2.9 < of_small.a_run_s < 3.1
    assert slope([(1_464, 4.0)]) == OwnWork(4.0 - 1_464 * A_ROW_S, A_ROW_S)
    of_both = slope([(0, 2.0), (100_000, 4.0), (500_000, 12.0)])
    assert (round(of_both.a_run_s, 6), round(of_both.a_row_s, 12)) == (2.0, 20e-6)
    assert slope([(100, 9.0), (100_000, 1.0)]).a_row_s == 0.0  # the smaller one waited: no row gives time back
