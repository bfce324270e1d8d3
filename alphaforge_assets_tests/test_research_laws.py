"""Laws of frames, receipts and completeness, without a warehouse."""

import datetime as dt
import sys
import warnings
import zlib
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphaforge_assets.datasets.registry import DATASETS
from alphaforge_assets.errors import BadInput, CoverageError
from alphaforge_assets.research import arguments, completeness, content_hash, frames
from alphaforge_assets.research.arguments import Request
from alphaforge_assets.research.frames import schema

KEYS = ("binance_spot.BTC-USDT", "okx_spot.BTC-USDT", "okx_spot.ETH-USDT")
START = dt.datetime(2025, 6, 1, tzinfo=dt.UTC)
MINUTE = dt.timedelta(minutes=1)

VALUES = {
    pa.float64(): st.none() | st.floats(allow_nan=False),
    pa.int64(): st.none() | st.integers(0, 2**60),
    pa.string(): st.none() | st.sampled_from(["rest", "archive", "ws", "ä\n\"'"]),
    pa.timestamp("ms", "UTC"): st.none() | st.integers(0, 2**41),
}


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    """Canonical tables of bars: any columns, some rows of some instruments, in any number of chunks."""
    columns = tuple(draw(st.lists(st.sampled_from(list(DATASETS["bars"].columns)), min_size=1, unique=True)))
    parts = {}
    for key in KEYS:
        minutes = sorted(draw(st.sets(st.integers(0, 2**20), max_size=4)))
        own = {"timestamp": pa.array([60_000 * m for m in minutes], pa.timestamp("ms", "UTC"))}
        for name in columns:
            kind = DATASETS["bars"].columns[name]
            values = draw(st.lists(VALUES[kind], min_size=len(minutes), max_size=len(minutes)))
            own[name] = pa.array(values, kind)
        parts[key] = pa.table(own)
    return frames.canonical(parts, "bars", columns, True)


@given(tables())
def test_every_form_of_one_table_has_its_hash(table: pa.Table) -> None:
    expected = content_hash(table)
    pandas = frames.to_pandas(table)
    assert content_hash(frames.to_arrow(pandas)) == expected
    assert content_hash(frames.to_arrow(frames.to_polars(table))) == expected
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    assert content_hash(frames.to_arrow(pq.read_table(pa.BufferReader(sink.getvalue())))) == expected
    whole = pa.concat_tables([table.slice(0, 3), table.slice(3)]).combine_chunks()
    assert content_hash(whole) == expected


@given(tables())
def test_a_wide_frame_has_the_hash_of_what_it_can_hold(table: pa.Table) -> None:
    wide = frames.to_pandas(table, wide=True, keys=KEYS)
    assert content_hash(frames.to_arrow(wide)) == content_hash(frames.without_empty_rows(table))


@given(tables(), st.data())
def test_any_other_value_or_order_has_another_hash(table: pa.Table, data: st.DataObject) -> None:
    if table.num_rows == 0:
        return
    row = data.draw(st.integers(0, table.num_rows - 1))
    moved = table.column("timestamp").to_pylist()
    moved[row] += MINUTE / 60_000
    place = table.column_names.index("timestamp")
    changed = table.set_column(place, "timestamp", pa.array(moved, pa.timestamp("ms", "UTC")))
    assert content_hash(changed) != content_hash(table)
    assert content_hash(table.slice(1)) != content_hash(table)
    renamed = table.rename_columns([*table.column_names[:-1], "other"])
    assert content_hash(renamed) != content_hash(table)


def request(minutes: int) -> Request:
    return Request("bars", KEYS[:1], False, "1m", START, START + minutes * MINUTE, ("close",))


def ms(minute: int) -> int:
    return int(START.timestamp() * 1000) + 60_000 * minute


SPANS = st.lists(st.tuples(st.integers(-5, 45), st.integers(1, 20)), max_size=4)


@given(
    st.integers(1, 40), st.sets(st.integers(-5, 45)), st.integers(0, 60_000), SPANS, SPANS, SPANS, st.integers(-5, 50)
)  # fmt: skip
def test_gaps_are_exactly_the_slots_without_a_row_each_with_the_most_certain_reason(
    minutes: int, there: set[int], off_grid: int, judged: list[tuple[int, int]],
    failed: list[tuple[int, int]], answered: list[tuple[int, int]], now: int,
) -> None:  # fmt: skip
    own = zlib.crc32(KEYS[0].encode())
    asked = [(own, "failed", ms(a), ms(a + n)) for a, n in failed]
    asked += [(own, "complete", ms(a), ms(a + n)) for a, n in answered]
    ledger = completeness.Ledger(
        [(own, ms(a), ms(a + n), "no_trades", "quiet") for a, n in judged]
        + [(1, ms(0), ms(99), "delisted", "another")],
        lambda: asked,
    )
    times = np.array(sorted(ms(m) + off_grid % 60_000 for m in there), np.int64)
    gaps = completeness.gaps_of(request(minutes), {KEYS[0]: times}, START + now * MINUTE, ledger)

    def reason(slot: int) -> str:
        if slot >= now:
            return "not_closed"
        if any(a <= slot < a + n for a, n in judged):
            return "no_trades"
        if any(a <= slot < a + n for a, n in answered):
            return "unknown"
        return "we_missed" if any(a <= slot < a + n for a, n in failed) else "never_asked"

    expected = {slot: reason(slot) for slot in range(minutes) if slot not in there}
    found = {
        slot: row.verdict
        for row in gaps.itertuples()
        for slot in range((row.gap_start - START) // MINUTE, (row.gap_end - START) // MINUTE)
    }
    assert found == expected
    assert gaps["missing"].sum() == len(expected)
    assert completeness.by_verdict(gaps) == pd.Series(expected, dtype="str").value_counts().to_dict()


def test_an_error_lists_no_more_gaps_than_can_be_read() -> None:
    times = np.array([ms(m) for m in range(0, 1000, 2)], np.int64)
    asked = request(1000)
    gaps = completeness.gaps_of(asked, {KEYS[0]: times}, START + 2000 * MINUTE, completeness.Ledger([], list))
    with pytest.raises(CoverageError, match="and 495 more gaps") as raised:
        completeness.hold(asked, gaps, True, 2)
    assert len(str(raised.value)) < 1000
    assert len(raised.value.gaps) == 500


def test_two_bars_of_one_slot_are_said_and_never_complete() -> None:
    times = np.array([ms(0), ms(1), ms(1) + 20_799, ms(2) + 5, ms(2) + 7, ms(2) + 9], np.int64)
    asked = request(3)
    gaps = completeness.gaps_of(asked, {KEYS[0]: times}, START + 9 * MINUTE, completeness.Ledger([], list))
    doubled = completeness.doubled_of(asked, {KEYS[0]: times})
    assert len(gaps) == 0
    assert [(row.slot, row.rows) for row in doubled.itertuples()] == [(START + MINUTE, 2), (START + 2 * MINUTE, 3)]
    said = r"1m: 2 slots of the grid have 5 rows, of which each is to have one \(.* 2025-06-01 00:01 2 rows; "
    for require in (True, "explained"):
        with pytest.raises(CoverageError, match=said):
            completeness.hold_doubled(asked, doubled, require, 2)
    with pytest.warns(completeness.IncompleteWarning, match=said):
        completeness.hold_doubled(asked, doubled, False, 2)
    once = completeness.doubled_of(asked, {KEYS[0]: times[[0, 1, 3]]})
    completeness.hold_doubled(asked, once, True, 2)
    assert len(completeness.doubled_of(replace(asked, interval=""), {KEYS[0]: times})) == 0


def test_a_decade_of_minutes_is_looked_through_at_once() -> None:
    minutes = 5_256_000
    asked = Request("bars", KEYS[:1], False, "1m", START, START + minutes * MINUTE, ("close",))
    times = np.arange(ms(0), ms(minutes), 60_000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gaps = completeness.gaps_of(asked, {KEYS[0]: times}, START + minutes * MINUTE, completeness.Ledger([], list))
        completeness.hold(asked, gaps, True, 2)
    assert len(gaps) == 0


def test_an_empty_table_has_the_types_of_a_full_one() -> None:
    for dataset, form in DATASETS.items():
        if form.id:
            continue  # read in batches of Arrow, by a reader of its own
        columns = tuple(form.columns)
        empty = schema(dataset, columns, False).empty_table()
        full = pa.concat_tables([empty, pa.Table.from_pylist([{}], empty.schema)])
        kinds = frames.to_pandas(empty).dtypes
        nullable = kinds.drop([name for name in kinds.index if kinds[name] in ("uint8", "bool")])
        assert nullable.equals(frames.to_pandas(full).dtypes[nullable.index])


def test_naive_and_aware_times_may_be_mixed_and_are_cut_to_the_millisecond() -> None:
    east = dt.timezone(dt.timedelta(hours=2))
    same = [
        "2025-06-01",
        " 2025-06-01T02:00+02:00 ",
        dt.date(2025, 6, 1),
        dt.datetime(2025, 6, 1),  # noqa: DTZ001 - naive means UTC
        dt.datetime(2025, 6, 1, 2, tzinfo=east),
        pd.Timestamp("2025-06-01T00:00:00.000999999"),
        np.datetime64("2025-06-01"),
    ]
    assert {arguments.moment("start", moment) for moment in same} == {START}
    assert arguments.span(same[0], same[4] + MINUTE) == (START, START + MINUTE)
    for nonsense in (1.5, True, "now", "2025-13-01", dt.datetime.min.replace(tzinfo=east)):
        with pytest.raises(BadInput, match="start"):
            arguments.moment("start", nonsense)


def test_polars_is_needed_only_by_those_who_ask_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(BadInput, match="pip install polars"):
        frames.to_polars(pa.table({}))
