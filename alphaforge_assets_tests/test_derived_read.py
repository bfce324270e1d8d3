"""Derived bars for researchers: what their frames hold, what they miss, and that receipts and snapshots prove them."""

import datetime as dt
import warnings

import hypothesis
import hypothesis.strategies as st
import pandas as pd
import pytest
from clickhouse_connect.driver.client import Client

from alphaforge_assets.errors import BadInput, CoverageError
from alphaforge_assets.research import IncompleteWarning, Research
from alphaforge_assets.universe import load_universe
from alphaforge_assets_tests.test_derived import BTC, DAY, MINUTES, emptied_bars, landed, minute

UNIVERSE = load_universe()
KEY = BTC.key
LATER = DAY + dt.timedelta(days=9)
COMPLETENESS = ["minutes_expected", "minutes_present", "is_complete"]
EVERY_COLUMN = (
    *("open", "high", "low", "close", "volume", "quote_volume", "trade_count", "taker_buy_base_volume"),
    *("taker_buy_quote_volume", "source", *COMPLETENESS, "vwap", "contract_volume", "close_time"),
)


def whole_day(*, without: range = range(0), volume: float = 1.5) -> list[dict[str, object]]:
    return [minute(n * 60_000, 10.0 + n, volume, 2.0) for n in range(1440) if n not in without]


@pytest.fixture
def research(migrated: Client) -> Research:
    """A day of minutes that lacks those of 10:20 to 11:00."""
    landed(migrated, whole_day(without=range(620, 660)), LATER)
    return Research(migrated, UNIVERSE)


def test_a_frame_says_of_each_bar_what_it_is_made_of(research: Research) -> None:
    with pytest.warns(IncompleteWarning, match="derived_bars of .*, 1h: 40 of 1,440 minutes of it are missing"):
        hours = research.bars(KEY, "1h", "2025-06-01", "2025-06-02", derived=True)
    assert list(hours.columns)[-3:] == COMPLETENESS
    with pytest.warns(IncompleteWarning):
        again = research.read("derived_bars", KEY, "2025-06-01", "2025-06-02", interval="1h")
    pd.testing.assert_frame_equal(again, hours, check_exact=True)
    assert hours["minutes_present"].tolist() == [60] * 10 + [20] + [60] * 13
    assert hours["is_complete"].tolist() == [True] * 10 + [False] + [True] * 13
    assert (hours["minutes_expected"] == 60).all()
    assert set(hours["source"]) == {"derived"}
    assert sum(hours.attrs["receipt"]["gaps"].values()) == 40
    wide = research.bars([KEY], "30m", "2025-06-01", "2025-06-01T10:00", derived=True, form="wide", columns="vwap")
    assert wide.shape == (20, 1)
    assert research.verify(hours)
    assert research.verify(wide)
    with pytest.warns(IncompleteWarning):
        part = research.bars(KEY, "4h", "2025-06-01T01:00", "2025-06-01T09:00", columns="close", derived=True)
    assert part.index.tolist() == [pd.Timestamp("2025-06-01T04:00Z"), pd.Timestamp("2025-06-01T08:00Z")]
    assert research.verify(part)


def test_the_table_and_the_view_of_the_past_are_one(migrated: Client) -> None:
    """Whatever the minutes: the same bars from both, and what they lack is what was never published."""
    reader = Research(migrated, UNIVERSE)

    @hypothesis.settings(max_examples=5, deadline=None)
    @hypothesis.given(st.lists(MINUTES, min_size=1, max_size=2))
    def law(rounds: list[list[tuple[int, float, float, float | None]]]) -> None:
        emptied_bars(migrated)
        for number, told in enumerate(rounds):
            at = LATER + dt.timedelta(hours=number)
            landed(migrated, [minute(*m) for m in {m[0]: m for m in told}.values()], at)
        lacking = 1440 - len({m[0] // 60_000 for told in rounds for m in told})
        for interval in ("5m", "1d"):
            asked = {"interval": interval, "start": "2025-06-01", "end": "2025-06-02", "derived": True}
            with pytest.warns(IncompleteWarning, match=f"{lacking:,} of 1,440 minutes"):
                now = reader.bars(KEY, **asked, columns=EVERY_COLUMN)
            with pytest.warns(IncompleteWarning, match=f"{lacking:,} of 1,440 minutes"):
                past = reader.bars(KEY, **asked, columns=EVERY_COLUMN, as_of=now.attrs["receipt"]["as_of"])
            pd.testing.assert_frame_equal(now, past, check_exact=True)
            assert now.attrs["receipt"]["content_hash"] == past.attrs["receipt"]["content_hash"]

    law()


def test_one_minute_that_is_missing_is_no_complete_answer(research: Research) -> None:
    research.bars(KEY, "1h", "2025-06-01", "2025-06-01T10:00", derived=True, require_complete=True)
    for end in ("2025-06-01T11:00", "2025-06-01T10:30"):  # the bar that begins in it ends where it ends
        with pytest.raises(CoverageError) as caught:
            research.bars(KEY, "1h", "2025-06-01", end, derived=True, require_complete=True)
        (gap,) = caught.value.gaps.to_dict("records")
        assert (gap["gap_start"], gap["missing"]) == (pd.Timestamp("2025-06-01T10:20Z"), 40)
    with pytest.raises(CoverageError):  # no bar of it at all: half an hour without a minute
        research.bars(KEY, "30m", "2025-06-01T10:30", "2025-06-01T11:00", derived=True, require_complete=True)


def test_what_is_published_and_not_made_is_said(research: Research) -> None:
    research.client.command("TRUNCATE TABLE analytics.derived_bars")
    with pytest.warns(IncompleteWarning, match="1,380 not_made"):
        hours = research.bars(KEY, "1h", "2025-06-01", "2025-06-02", derived=True)
    assert hours.empty


def test_the_past_and_a_snapshot_are_what_they_were(research: Research) -> None:
    held = research.pin("pinned", KEY, "1m", "2025-06-01", "2025-06-02")
    asked = {"instrument": KEY, "interval": "4h", "start": "2025-06-01", "end": "2025-06-02", "derived": True}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IncompleteWarning)
        before = research.bars(**asked, columns=EVERY_COLUMN)
        landed(research.client, whole_day(volume=7.0), LATER + dt.timedelta(days=1))
        now = research.bars(**asked, columns=EVERY_COLUMN)
        then = research.bars(**asked, columns=EVERY_COLUMN, snapshot="pinned")
        as_of = research.bars(**asked, columns=EVERY_COLUMN, as_of=held.pinned_at)
    for frame in (then, as_of):
        pd.testing.assert_frame_equal(frame, before, check_exact=True)
    assert now["is_complete"].all()
    assert not then["is_complete"].all()
    assert research.receipt(then).snapshot == "pinned"
    for proved in (before, then, now, "pinned"):
        assert research.verify(proved)
    changed = now.copy()
    changed["volume"] = changed["volume"] + 1
    assert not research.verify(changed)


def test_what_cannot_be_derived_is_answered_in_a_sentence(research: Research) -> None:
    span = {"start": "2025-06-01", "end": "2025-06-02", "derived": True}
    research.pin("late", KEY, "1m", "2025-06-01T00:30", "2025-06-02")
    research.pin("short", KEY, "1m", "2025-06-01", "2025-06-01T05:30")
    for more, said in (
        ({"interval": "1m"}, "'1m' is not derived: use one of 5m, 15m, 30m, 1h, 4h, 1d; 1m itself is read without"),
        ({"interval": "2h"}, "'2h' is not derived: use one of 5m"),
        ({"interval": "1h", "fill": "null"}, "fill 'null'"),
        ({"interval": "1h", "price": "mark"}, "price 'mark'"),
        ({"interval": "1h", "snapshot": "late"}, "covers only 2025-06-01T00:30Z"),
        ({"interval": "1h", "columns": "published_at"}, "derived_bars have no 'published_at'"),
        # The last of its bars ends later than the snapshot.
        ({"interval": "1h", "snapshot": "short", "end": "2025-06-01T05:30"}, "covers only"),
    ):
        with pytest.raises(BadInput, match=said):
            research.bars(KEY, **span | more)
    without = Research(research.client, UNIVERSE.model_copy(update={"intervals": ("1h", "1d")}))
    with pytest.raises(BadInput, match="bars are derived of 1m, and the universe keeps 1h, 1d"):
        without.bars(KEY, "4h", **span)
    with pytest.warns(IncompleteWarning, match="1,440 never_asked"):
        assert research.bars("okx_perp.BTC-USDT", "4h", **span).empty
