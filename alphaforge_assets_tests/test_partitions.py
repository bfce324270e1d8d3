"""Rectangles: every key of a selection is covered once, whatever the selection."""

import datetime as dt
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphaforge_assets import partitions
from alphaforge_assets.datasets.bars import BARS
from alphaforge_assets.partitions import Rectangle, day_by_instrument, rectangle, rectangle_of_tags, rectangles
from alphaforge_assets.universe import Instrument, load_universe

UNIVERSE = load_universe()
START = dt.date(2024, 1, 1)

selections = st.sets(st.sampled_from(UNIVERSE.instruments), min_size=1).map(
    lambda chosen: [i for i in UNIVERSE.instruments if i in chosen]
)
days = st.tuples(st.integers(0, 1000), st.integers(1, 900)).map(
    lambda span: (START + dt.timedelta(days=span[0]), START + dt.timedelta(days=span[0] + span[1]))
)


@given(selections, days)
def test_rectangles_cover_a_selection_exactly_once(
    instruments: list[Instrument], span: tuple[dt.date, dt.date]
) -> None:
    cut = rectangles(instruments, *span, UNIVERSE.instruments, BARS.keys_per_run_max)
    keys = [key for r in cut for i in r.instruments for key in r.keys(i)]
    assert len(keys) == len(set(keys)) == len(instruments) * (span[1] - span[0]).days
    assert all(r.days * len(r.instruments) <= BARS.keys_per_run_max for r in cut)


@given(selections, days)
def test_a_run_is_found_again_by_its_tags(instruments: list[Instrument], span: tuple[dt.date, dt.date]) -> None:
    for r in rectangles(instruments, *span, UNIVERSE.instruments, BARS.keys_per_run_max)[:3]:
        assert rectangle_of_tags(r.tags(), UNIVERSE.instruments) == r
        assert rectangle([k for i in r.instruments for k in r.keys(i)], UNIVERSE.instruments) == r


def test_a_range_means_what_it_meant_whatever_the_universe_became() -> None:
    of_run = Rectangle((UNIVERSE.instruments[0], UNIVERSE.instruments[4]), START, START + dt.timedelta(days=2))
    tags = of_run.tags()
    gone = [i for i in reversed(UNIVERSE.instruments) if i not in of_run.instruments]
    assert [i.key for i in rectangle_of_tags(tags, gone).instruments] == [i.key for i in of_run.instruments]
    assert rectangle_of_tags(tags, UNIVERSE.instruments) == of_run
    of_the_ui = {k: v for k, v in tags.items() if k != partitions.INSTRUMENTS_TAG}
    assert len(rectangle_of_tags(of_the_ui, UNIVERSE.instruments).instruments) == 5
    with pytest.raises(ValueError, match="not in list"):
        rectangle_of_tags(of_the_ui, gone)


@given(selections, days, st.sets(st.sampled_from(["1m", "5m", "1h", "1d"]), min_size=1))
def test_slices_are_whole_months_and_leave_nothing_out(
    instruments: list[Instrument], span: tuple[dt.date, dt.date], intervals: set[str]
) -> None:
    r = Rectangle(tuple(instruments), *span)
    cut = list(r.slices(BARS.rows_a_day_max(sorted(intervals))))
    assert (cut[0][0], cut[-1][1]) == (r.start_time, r.end_time)
    assert all(before[1] == after[0] for before, after in pairwise(cut))
    assert all(start.day == 1 for start, _ in cut[1:])


def test_windows_are_clipped_to_the_listing_and_to_the_clock() -> None:
    listed = Instrument("okx_spot", "SUI/USDT", dt.date(2024, 1, 3), dt.date(2024, 1, 6))
    noon = dt.datetime(2024, 1, 5, 12, tzinfo=dt.UTC)
    (window,) = Rectangle((listed,), START, dt.date(2024, 2, 1)).windows(["1m"], noon)
    assert (window.start, window.end) == (dt.datetime(2024, 1, 3, tzinfo=dt.UTC), noon)
    assert Rectangle((listed,), START, dt.date(2024, 1, 3)).windows(["1m"], noon) == []


def test_keys_that_are_no_rectangle_are_refused() -> None:
    a, b = UNIVERSE.instruments[:2]
    keys = [partitions.partition_key(START, a), partitions.partition_key(START + dt.timedelta(days=1), b)]
    with pytest.raises(ValueError, match="not whole days"):
        rectangle(keys, UNIVERSE.instruments)


def test_today_is_a_partition_and_venues_are_neighbours() -> None:
    definition = day_by_instrument(UNIVERSE.history_start, UNIVERSE.instruments)
    today = dt.datetime.now(dt.UTC).date().isoformat()
    assert definition.has_partition_key(f"{today}|binance_spot.BTC-USDT")
    venues = [i.venue for i in UNIVERSE.instruments]
    assert venues == sorted(venues, key=list(UNIVERSE.venues).index)
