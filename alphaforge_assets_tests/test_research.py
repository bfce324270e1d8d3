"""Reading for people: `connect().bars(...)` as a notebook uses it."""

import datetime as dt
import os
import struct
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from clickhouse_connect.driver.client import Client
from hypothesis import strategies as st

from alphaforge_assets.cli.screen import screen
from alphaforge_assets.cli.status import print_status, status_rows
from alphaforge_assets.datasets.bars import BARS
from alphaforge_assets.datasets.bars import BARS as FORM
from alphaforge_assets.datasets.funding_rates import FUNDING_RATES
from alphaforge_assets.errors import BadInput, CoverageError, WarehouseDown
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.pipeline.landing import land
from alphaforge_assets.pipeline.mart import publish
from alphaforge_assets.pipeline.staging import stage
from alphaforge_assets.quality.coverage import judge
from alphaforge_assets.research import IncompleteWarning, Research, to_parquet
from alphaforge_assets.research.receipts import receipt_of
from alphaforge_assets.sandbox import process as sandbox
from alphaforge_assets.universe import Universe, load_universe
from alphaforge_assets.venues.directory import Exchanges
from alphaforge_assets.warehouse.client import open_warehouse
from alphaforge_assets.warehouse.local import running
from alphaforge_assets_tests.conftest import LIFTED, lifted
from alphaforge_assets_tests.installed import Installed
from alphaforge_assets_tests.test_pipeline import post

KEY, OTHER = "okx_perp.BTC-USDT", "binance_spot.BTC-USDT"
UNIVERSE = load_universe()
PART = Rectangle(UNIVERSE.select([KEY, OTHER]), dt.date(2025, 6, 1), dt.date(2025, 6, 3))
HOLE = "2025-06-02T10:00", "2025-06-02T11:00"  # of OTHER: its venue was silent
NOW = dt.datetime(2025, 7, 1, tzinfo=dt.UTC)


def fill(client: Client, exchange: Exchanges, part: Rectangle, *, refetch: bool = False) -> None:
    landed = land(client, exchange, part, BARS, UNIVERSE.intervals, run_id="test", refetch=refetch)
    assert landed.failures == []
    stage(client, part, BARS, UNIVERSE.intervals)
    publish(client, part, BARS, UNIVERSE.intervals)


@pytest.fixture(scope="module")
def research(exchange: Exchanges, template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Research]:
    """Two days of two instruments, with an hour of an outage: read it, do not change it."""
    home = Installed(tmp_path_factory.mktemp("research")).furnished(template).home
    with open_warehouse(home) as client:
        fill(client, exchange, PART)
        perpetual = Rectangle(UNIVERSE.select([KEY]), PART.start, PART.end)
        land(client, exchange, perpetual, FUNDING_RATES, [""], run_id="test")
        stage(client, perpetual, FUNDING_RATES, [""])
        publish(client, perpetual, FUNDING_RATES, [""])
        for table in ("bars", "bars_history"):
            client.command(
                "DELETE FROM {d:Identifier}.{t:Identifier} WHERE instrument_id = {i:UInt32} AND interval = '1m'"
                " AND timestamp >= '2025-06-02 10:00:00' AND timestamp < '2025-06-02 11:00:00'",
                parameters={"d": "analytics", "t": table, "i": UNIVERSE.instrument(OTHER).instrument_id},
            )
        judge(client, PART, BARS, UNIVERSE, now=NOW)
        yield Research(client, UNIVERSE)


def test_a_frame_has_the_promised_form(research: Research) -> None:
    frame = research.bars(KEY, "1m", "2025-06-01", "2025-06-02")
    assert len(frame) == 1440
    assert frame.index.name == "timestamp"
    assert str(frame.index.dtype) == "datetime64[ms, UTC]"
    assert frame.index.is_monotonic_increasing
    assert frame.index.is_unique
    assert frame.index[0] == pd.Timestamp("2025-06-01", tz="UTC")
    kinds = {name: str(kind) for name, kind in frame.dtypes.items()}
    assert {kinds.pop(name) for name in ("open", "high", "low", "close", "volume", "quote_volume")} == {"float64"}
    assert kinds.pop("trade_count") == "Int64"
    assert frame["trade_count"].isna().all()  # OKX does not say
    assert research.bars("binance_spot.BTC-USDT", "1m", "2025-06-01", "2025-06-02")["trade_count"].gt(0).all()


def test_ranges_are_half_open_and_read_as_utc(research: Research) -> None:
    east = dt.timezone(dt.timedelta(hours=2))
    same = [
        research.bars(KEY, "1h", "2025-06-01", "2025-06-01T12:00"),
        research.bars(KEY, "1h", dt.date(2025, 6, 1), dt.datetime(2025, 6, 1, 12)),  # noqa: DTZ001 - naive means UTC
        research.bars(KEY, "1h", dt.datetime(2025, 6, 1, 2, tzinfo=east), dt.datetime(2025, 6, 1, 14, tzinfo=east)),
    ]
    assert [len(frame) for frame in same] == [12, 12, 12]
    assert all(frame.equals(same[0]) for frame in same)


def test_an_empty_range_keeps_its_columns(research: Research) -> None:
    for form, asked in (("long", KEY), ("long", [KEY, OTHER]), ("wide", [KEY, OTHER])):
        full = research.bars(asked, "1h", "2025-06-01", "2025-06-02", form=form, columns=list(FORM.columns))
        with pytest.warns(IncompleteWarning, match=r"are missing \(\d+ never_asked\)"):
            empty = research.bars(asked, "1h", "2024-02-01", "2024-02-02", form=form, columns=list(FORM.columns))
        assert len(empty) == 0
        assert empty.dtypes.equals(full.dtypes)
        assert empty.columns.equals(full.columns)
        assert (empty.index.names, empty.index.nlevels) == (full.index.names, full.index.nlevels)
        assert empty.index.get_level_values("timestamp").dtype == "datetime64[ms, UTC]"


def test_what_left_the_universe_is_read_as_before(research: Research) -> None:
    asked = "1h", "2025-06-01", "2025-06-03"
    without = {name: entry for name, entry in UNIVERSE.venues.items() if name != "okx_perp"}
    others = Universe(history_start=UNIVERSE.history_start, intervals=UNIVERSE.intervals, venues=without)
    left = Research(research.client, others)
    for instruments in (KEY, [KEY, OTHER], "okx_perp.BTC-*"):
        assert left.bars(instruments, *asked).equals(research.bars(instruments, *asked))
    assert left.funding_rates(KEY, *asked[1:]).equals(research.funding_rates(KEY, *asked[1:]))
    for told in ("coverage", "gaps"):
        its = [getattr(one, told)(KEY, *asked) for one in (left, research)]
        assert its[0].equals(its[1])
    assert len(left.coverage(KEY, *asked)) == 2
    for datasets in ("bars", ("bars", "funding_rates")):
        contents = [one.pin("former", KEY, *asked, datasets).content for one in (left, research)]
        assert contents[0] == contents[1]
        assert left.bars(KEY, *asked, snapshot="former").equals(left.bars(KEY, *asked))
        left.unpin("former")
    with pytest.raises(BadInput, match=r"did you mean okx_perp\.BTC-USDT"):
        research.pin("former", "okx_perp.BTC-USD", *asked)
    with pytest.raises(BadInput, match=r"not in the universe, nor was it ever: did you mean okx_perp\.BTC-USDT"):
        left.bars("okx_perp.BTC-USD", *asked)
    rows = {(row["instrument"], row["interval"]): row for row in status_rows(research.client, others)}
    assert {key for key, row in rows.items() if not row["is_kept"]} == {(KEY, "1m"), (KEY, "1h"), (KEY, "funding")}
    assert (rows[KEY, "1m"]["rows"], rows[OTHER, "1m"]["is_kept"]) == (2880, True)
    with screen().capture() as shown:
        print_status(list(rows.values()))
    assert f"No longer in the universe, and read by their keys as before: {KEY}." in " ".join(shown.get().split())


@pytest.mark.parametrize(
    ("arguments", "more", "part"),
    [
        (("okx_perp.BTC-USD", "1m", "2025-06-01", "2025-06-02"), {}, "did you mean okx_perp.BTC-USDT"),
        (("BTC/USDT", "1m", "2025-06-01", "2025-06-02"), {}, "did you mean .*_spot.BTC-USDT, .*_spot.BTC-USDT"),
        (("kraken_*", "1m", "2025-06-01", "2025-06-02"), {}, "'kraken_\\*' is not in the universe"),
        ((5, "1m", "2025-06-01", "2025-06-02"), {}, "instrument 5: write a key"),
        (([], "1m", "2025-06-01", "2025-06-02"), {}, "empty list"),
        (([KEY, 5], "1m", "2025-06-01", "2025-06-02"), {}, "instrument 5: write a key"),
        ((KEY, "2m", "2025-06-01", "2025-06-02"), {}, "interval '2m': use one of 1m"),
        ((KEY, "5m", "2025-06-01", "2025-06-02"), {}, "interval '5m' is not kept here: use one of 1m, 1h"),
        ((KEY, "1m", "2025-06-02", "2025-06-01"), {}, "not after start"),
        ((KEY, "1m", "yesterdayish", "2025-06-01"), {}, "start 'yesterdayish'"),
        ((KEY, "1m", "06/01/2025", "2025-06-02"), {}, "start '06/01/2025': write"),
        ((KEY, "1m", 20250601, "2025-06-02"), {}, "start 20250601: write"),
        ((KEY, "1m", "1970-01-01", "2025-06-02"), {}, "between 2009"),
        ((KEY, "1m", "2025-06-01", None), {}, "end is empty"),
        ((KEY, "1m", pd.NaT, "2025-06-01"), {}, "start is empty"),
        ((KEY, "1m", "2025-06-01", "2025-06-02"), {"columns": ["volum"]}, "did you mean volume.*There are open"),
        ((KEY, "1m", "2025-06-01", "2025-06-02"), {"columns": []}, "columns is empty"),
        ((KEY, "1m", "2025-06-01", "2025-06-02"), {"as_of": "2099-01-01"}, "as_of 2099-01-01T00.* in the future"),
        ((KEY, "1m", "2025-06-01", "2025-06-02"), {"as_of": "2025-07-01", "snapshot": "x"}, "give one of them"),
        ((KEY, "1m", "2025-06-01", "2025-06-02"), {"adjust": "splits"}, "adjust 'splits': use one of None, 'redenom"),
        ((KEY, "1m", "2025-06-01", "2025-06-02"), {"frame": "spark"}, "frame 'spark': use one of 'pandas'"),
        ((KEY, "1m", "2025-06-01", "2025-06-02"), {"frame": "polars", "form": "wide"}, "'wide' is for pandas"),
        ((KEY, "1m", "2025-06-01", "2025-06-02"), {"form": "broad"}, "form 'broad': use one of"),
        ((KEY, "1m", "2025-06-01", "2025-06-02"), {"fill": "ffill"}, "fill 'ffill': use one of None, 'forward'"),
        ((KEY, "1m", "2025-06-01", "2025-06-02"), {"require_complete": "yes"}, "require_complete 'yes': use one of"),
    ],
)  # fmt: skip
def test_a_question_that_cannot_be_is_answered_in_a_sentence(
    research: Research, arguments: tuple[str, str, str, str], more: dict[str, str], part: str
) -> None:
    with pytest.raises(BadInput, match=part) as refused:
        research.bars(*arguments, **more)
    assert "\n" not in str(refused.value)


def test_a_list_or_a_glob_gives_each_instrument_what_it_gives_alone(research: Research) -> None:
    both = research.bars([KEY, OTHER], "1h", "2025-06-01", "2025-06-02")
    assert both.index.names == ["instrument", "timestamp"]
    assert both.index.is_monotonic_increasing
    for key in (KEY, OTHER):
        pd.testing.assert_frame_equal(both.loc[key], research.bars(key, "1h", "2025-06-01", "2025-06-02"))
    one = research.bars("okx_perp.BTC*", "1h", "2025-06-01", "2025-06-02")  # a glob, so the shape is the same
    assert one.index.names == both.index.names
    assert one.index.get_level_values("instrument").unique().tolist() == [KEY]


@pytest.mark.filterwarnings("ignore::alphaforge_assets.research.IncompleteWarning")
def test_wide_frames_are_panels(research: Research) -> None:
    wide = research.bars([KEY, OTHER], "1m", "2025-06-02", "2025-06-03", form="wide", columns=["close", "trade_count"])
    long = research.bars([KEY, OTHER], "1m", "2025-06-02", "2025-06-03")
    assert list(wide.close.columns) == [OTHER, KEY]
    assert wide.index.name == "timestamp"
    pd.testing.assert_frame_equal(wide.close, long["close"].unstack("instrument"), check_freq=False)
    assert wide.close[OTHER].isna().sum() == 60
    assert wide.trade_count.dtypes.eq("Int64").all()
    assert research.verify(wide)


def test_columns_come_in_the_order_asked_for_in_every_form(research: Research) -> None:
    names = ["published_at", "close"]
    frame = research.bars(KEY, "1h", "2025-06-01", "2025-06-02", columns=["timestamp", *names])
    assert list(frame.columns) == names
    assert frame["published_at"].dtype == "datetime64[ms, UTC]"
    arrow = research.bars([KEY], "1h", "2025-06-01", "2025-06-02", columns=names, frame="arrow")
    assert arrow.column_names == ["instrument", "timestamp", *names]
    polars = research.bars([KEY], "1h", "2025-06-01", "2025-06-02", columns=names, frame="polars")
    assert polars.schema["timestamp"] == pl.Datetime("ms", "UTC")
    assert polars.columns == arrow.column_names
    assert research.bars(KEY, "1h", "2025-06-01", "2025-06-02", columns="close").shape == (24, 1)


def test_what_is_missing_is_said_once_with_the_callers_line(research: Research) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        research.bars(KEY, "1m", "2025-06-01", "2025-06-03", require_complete=True)  # complete: not a word
    with pytest.warns(IncompleteWarning) as said:
        research.bars(OTHER, "1m", "2025-06-01", "2025-06-03")
    assert [warning.filename for warning in said] == [__file__]
    assert str(said[0].message).startswith(
        f"bars of {OTHER}, 1m: 60 of 2,880 expected rows are missing (60 venue_outage)"
    )
    assert str(said[0].message).endswith("; require_complete=True refuses that, gaps() says why")
    with pytest.warns(IncompleteWarning, match=r"never_asked.*`alphaforge backfill` fetches what .* asked for$"):
        research.bars(OTHER, "1m", "2024-02-01", "2024-02-02")
    with pytest.warns(IncompleteWarning, match=r"`alphaforge backfill` fetches .* asked for, gaps\(\) says why$"):
        research.bars(OTHER, "1m", "2025-06-02", "2025-06-04")


def test_completeness_can_be_required(research: Research) -> None:
    with pytest.raises(
        CoverageError, match=r"60 of 2,880 .*2025-06-02 10:00 to 2025-06-02 11:00 venue_outage"
    ) as raised:
        research.bars(OTHER, "1m", "2025-06-01", "2025-06-03", require_complete=True)
    (gap,) = raised.value.gaps.to_dict("records")
    assert (gap["instrument"], gap["missing"], gap["verdict"]) == (OTHER, 60, "venue_outage")
    assert gap["evidence"]
    with pytest.warns(IncompleteWarning, match="venue_outage"):
        assert len(research.bars(OTHER, "1m", "2025-06-01", "2025-06-03", require_complete="explained")) == 2820
    with pytest.raises(CoverageError, match=r"1,440 of 4,320 .*\(1,440 never_asked\)") as raised:  # explained ones pass
        research.bars(OTHER, "1m", "2025-06-01", "2025-06-04", require_complete="explained")
    assert raised.value.gaps["missing"].sum() == 1440
    with pytest.raises(CoverageError, match="not_closed"):
        research.bars(KEY, "1h", "2025-06-01", "2098-01-01", require_complete=True)


def test_two_bars_of_one_slot_are_no_complete_answer(migrated: Client, exchange: Exchanges) -> None:
    part = Rectangle(UNIVERSE.select([KEY]), PART.start, dt.date(2025, 6, 2))
    fill(migrated, exchange, part)
    asked = KEY, "1h", "2025-06-01", "2025-06-02"
    reader = Research(migrated, UNIVERSE)
    assert receipt_of(reader.bars(*asked, require_complete=True)).doubled_slots == 0
    migrated.command(
        "INSERT INTO analytics.bars SELECT * REPLACE (timestamp + toIntervalSecond(20) AS timestamp)"
        " FROM analytics.bars WHERE interval = '1h' AND timestamp = '2025-06-01 07:00:20'"  # by the new name
    )
    with pytest.warns(IncompleteWarning, match=r"1 slot of the grid has 2 rows.*2025-06-01 07:00 2 rows"):
        frame = reader.bars(*asked)
    receipt = receipt_of(frame)
    assert (len(frame), receipt.doubled_slots, receipt.gaps) == (25, 1, {})
    with pytest.raises(CoverageError, match="1 slot of the grid has 2 rows"):
        reader.bars(*asked, require_complete=True)


def test_funding_is_complete_where_the_venue_answered(research: Research) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frame = research.funding_rates(KEY, "2025-06-01", "2025-06-03", require_complete=True)
    assert len(frame) == 6
    assert research.verify(frame)
    assert research.funding_rates([KEY], "2025-06-01", "2025-06-03").loc[KEY].equals(frame)
    with pytest.raises(CoverageError, match=r"1,440 of 4,320 minutes have no answer .*never_asked"):
        research.funding_rates(KEY, "2025-06-01", "2025-06-04", require_complete=True)


@pytest.mark.filterwarnings("ignore::alphaforge_assets.research.IncompleteWarning")
def test_filled_rows_are_flagged_and_only_where_something_could_have_traded(research: Research) -> None:
    span = (OTHER, "1m", "2025-06-02T09:00", "2025-06-03T01:00")
    bare, empty, forward = (research.bars(*span, fill=how) for how in (None, "null", "forward"))
    assert "is_filled" not in bare.columns
    for frame in (empty, forward):
        assert len(frame) == len(bare) + 60  # the hour of the next day was never asked for
        assert frame.index.is_monotonic_increasing
        assert frame["is_filled"].sum() == 60
        pd.testing.assert_frame_equal(frame[~frame["is_filled"]].drop(columns="is_filled"), bare, check_like=True)
        assert frame.dtypes.drop("is_filled").equals(bare.dtypes)
        assert research.verify(frame)
    made = forward[forward["is_filled"]]
    last = bare.loc[:"2025-06-02T09:59:00Z", "close"].iloc[-1]
    assert (made[["open", "high", "low", "close"]] == last).all(axis=None)
    assert (made[["volume", "trade_count"]] == 0).all(axis=None)
    assert made["source"].isna().all()
    assert empty.loc[empty["is_filled"], "close"].isna().all()
    assert [f"{when:%Y-%m-%dT%H:%M}" for when in made.index[[0, -1]]] == [HOLE[0], "2025-06-02T10:59"]
    with pytest.raises(CoverageError):
        research.bars(*span, fill="forward", require_complete=True)
    only = research.bars(*span, fill="forward", columns=["volume"])
    assert list(only.columns) == ["volume", "is_filled"]


@pytest.mark.filterwarnings("ignore::alphaforge_assets.research.IncompleteWarning")
def test_a_receipt_says_where_the_rows_come_from(research: Research) -> None:
    receipt = research.bars(OTHER, "1m", "2025-06-01", "2025-06-03").attrs["receipt"]
    assert receipt["rows"] == 2820
    assert receipt["gaps"] == {"venue_outage": 60}
    assert receipt["sources"] == {"rest": 1.0}
    assert (receipt["instruments"], receipt["start"]) == ([OTHER], "2025-06-01T00:00:00.000Z")
    assert receipt["schema_version"] > 10
    assert receipt["content_hash"].startswith("sha256:")
    assert receipt["rejected_rows"] == 0


def test_one_read_has_one_hash_in_every_form_and_file(research: Research, tmp_path: Path) -> None:
    for asked in (KEY, [KEY, OTHER]):
        span = (asked, "1h", "2025-06-01", "2025-06-03")
        frames = [research.bars(*span, frame=kind) for kind in ("pandas", "polars", "arrow")]
        assert len({research.receipt(frame).content_hash for frame in frames}) == 1
        for n, frame in enumerate(frames):
            assert research.verify(frame)
            to_parquet(frame, tmp_path / f"{n}.parquet")
            assert research.verify(tmp_path / f"{n}.parquet")
        back = pd.read_parquet(tmp_path / "0.parquet")
        pd.testing.assert_frame_equal(back, frames[0])
        assert back.attrs == frames[0].attrs
        assert research.verify(back)


def test_a_changed_frame_is_told_from_a_changed_warehouse(
    migrated: Client, exchange: Exchanges, tmp_path: Path
) -> None:
    part = Rectangle(UNIVERSE.select([KEY]), dt.date(2025, 6, 1), dt.date(2025, 6, 2))
    fill(migrated, exchange, part)
    research = Research(migrated, UNIVERSE)
    frame = research.bars(KEY, "1h", "2025-06-01", "2025-06-02")
    assert str(research.verify(frame)) == "the frame is what was read; the warehouse still gives it"
    changed = frame.copy()
    changed.iloc[3, 0] = np.nextafter(changed.iloc[3, 0], np.inf)
    for tampered in (changed, frame.iloc[:-1], frame.rename(columns={"open": "close", "close": "open"}), frame[::-1]):
        found = research.verify(tampered)
        assert (found.is_untouched, found.is_reproduced, bool(found)) == (False, True, False)
    migrated.command(
        "ALTER TABLE analytics.bars_history DELETE WHERE timestamp = '2025-06-01 05:00:00' SETTINGS mutations_sync = 2"
    )
    found = research.verify(frame)
    assert (found.is_untouched, found.is_reproduced, bool(found)) == (True, False, False)
    assert "gives something else as of" in str(found)


def test_what_carries_no_receipt_is_refused(research: Research, tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text("no")
    for frame in (
        pd.DataFrame({"a": [1]}),
        pl.DataFrame({"a": [1]}),
        pa.table({"a": [1]}),
        5,
        tmp_path / "text.parquet",
    ):
        with pytest.raises(BadInput, match=r"carries no receipt|not a Parquet file"):
            research.verify(frame)
    with pytest.raises(BadInput, match="carries no receipt"):
        to_parquet(pd.DataFrame({"a": [1]}), tmp_path / "a.parquet")
    frame = research.bars(KEY, "1h", "2025-06-01", "2025-06-02")
    with pytest.raises(BadInput, match=r"cannot|No such file"):
        to_parquet(frame, tmp_path / "none" / "a.parquet")


def test_a_revision_is_not_known_before_it_was_published(migrated: Client, exchange: Exchanges) -> None:
    part = Rectangle(UNIVERSE.select([OTHER]), dt.date(2025, 6, 1), dt.date(2025, 6, 2))
    when = dt.datetime(2025, 6, 1, 12, 30, tzinfo=dt.UTC)
    research = Research(migrated, UNIVERSE)
    span = (OTHER, "1m", "2025-06-01", "2025-06-02")
    with sandbox.start(now=NOW, budget_scale=LIFTED) as url:
        own = lifted(url, exchange.governor_file)
        before = dt.datetime.now(dt.UTC) - dt.timedelta(milliseconds=1)
        fill(migrated, own, part)
        first = research.bars(*span)
        bar = {"venue": "binance_spot", "symbol": "BTC/USDT", "interval": "1m"}
        revised = first.loc[when, "close"] + 1
        post(url, "/_revise", bar | {"open_time": int(when.timestamp() * 1000), "close": str(revised)})
        fill(migrated, own, part, refetch=True)
    assert research.bars(*span).loc[when, "close"] == revised
    then = first.attrs["receipt"]["as_of"]
    pd.testing.assert_frame_equal(research.bars(*span, as_of=then), first)
    assert research.bars(*span, as_of=then).attrs["receipt"]["content_hash"] == first.attrs["receipt"]["content_hash"]
    assert research.verify(first)  # the state of then, proven after the revision
    with pytest.warns(IncompleteWarning, match="1,440 of 1,440 .*never_asked"):
        assert len(research.bars(*span, as_of=before)) == 0


def bits(number: float) -> int:
    """A Float64 as bars_history keeps one that is no multiple of 1e-8."""
    return int.from_bytes(struct.pack(">d", number), "big", signed=True)


VERSIONS = st.lists(
    st.tuples(st.integers(0, 5), st.integers(1, 50), st.integers(0, 20), st.floats(1, 9)),
    unique_by=lambda row: row[:2],
    max_size=25,
)


def test_as_of_never_shows_what_was_published_later(migrated: Client) -> None:
    research, instrument = Research(migrated, UNIVERSE), UNIVERSE.instrument(KEY)
    zero = dt.datetime(2025, 6, 1, tzinfo=dt.UTC)
    kinds = {"timestamp": pa.timestamp("ms", "UTC"), "published_at": pa.timestamp("ms", "UTC"), "version": pa.uint64()}
    constant = {"instrument_id": instrument.instrument_id, "venue": instrument.venue, "symbol": instrument.symbol}

    @hypothesis.settings(max_examples=30)
    @hypothesis.given(VERSIONS, st.integers(0, 20))
    def law(versions: list[tuple[int, int, int, float]], instant: int) -> None:
        migrated.command("TRUNCATE TABLE analytics.bars_history")
        if versions:
            rows = [
                constant | {"interval": "1m", "source": "rest", "version": version, "close_e8": bits(close)}
                | {"timestamp": zero + dt.timedelta(minutes=minute), "published_at": zero + dt.timedelta(hours=hour)}
                for minute, version, hour, close in versions
            ]  # fmt: skip
            table = pa.Table.from_pylist(rows)
            for name, kind in kinds.items():
                table = table.set_column(table.column_names.index(name), name, table[name].cast(kind))
            migrated.insert_arrow("analytics.bars_history", table)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", IncompleteWarning)
            frame = research.bars(
                KEY, "1m", zero, zero + dt.timedelta(minutes=6), as_of=zero + dt.timedelta(hours=instant)
            )
        model = {
            minute: close for minute, _, hour, close in sorted(versions, key=lambda row: row[1]) if hour <= instant
        }
        assert frame["close"].to_list() == [model[minute] for minute in sorted(model)]

    law()


def test_a_snapshot_is_read_as_it_was_pinned_and_no_further(migrated: Client, exchange: Exchanges) -> None:
    part = Rectangle(UNIVERSE.select([OTHER]), dt.date(2025, 6, 1), dt.date(2025, 6, 2))
    fill(migrated, exchange, part)
    research = Research(migrated, UNIVERSE)
    span = (OTHER, "1h", "2025-06-01", "2025-06-02")
    pinned = research.pin("june", OTHER, "1h", *span[2:])
    assert research.pin("june", [OTHER], ["1h"], *span[2:]) == pinned, "the same again is no new one"
    frame = research.bars(*span, snapshot="june")
    assert frame.equals(research.bars(*span))
    assert frame.attrs["receipt"]["snapshot"] == "june"
    assert research.verify(frame)
    assert research.verify("june")
    assert str(research.verify("june")).startswith("snapshot june: all 24 rows are as pinned at ")
    assert research.diff("june").empty
    assert research.snapshots().loc["june", "pinned_at"] == pinned.pinned_at
    for arguments, part_of_message in (
        ((KEY, *span[1:]), "is not in snapshot 'june'"),
        ((OTHER, "1m", *span[2:]), "snapshot 'june' has 1h"),
        ((*span[:3], "2025-06-03"), "covers only 2025-06-01T00:00Z to 2025-06-02T00:00Z"),
    ):
        with pytest.raises(BadInput, match=part_of_message):
            research.bars(*arguments, snapshot="june")
    with pytest.raises(BadInput, match="did you mean june"):
        research.bars(*span, snapshot="jun")
    with pytest.raises(BadInput, match="has bars, not funding_rates"):
        research.funding_rates(KEY, *span[2:], snapshot="june")


@pytest.mark.filterwarnings("ignore::alphaforge_assets.research.IncompleteWarning")
def test_the_ledgers_read_as_frames(research: Research) -> None:
    gaps = research.gaps("binance_*.BTC-USDT", "1m", "2025-06-01", "2025-06-03")
    assert gaps[["instrument", "missing", "verdict"]].to_numpy().tolist() == [[OTHER, 60, "venue_outage"]]
    assert research.gaps(KEY, "1m").dtypes.equals(gaps.dtypes)
    days = research.coverage([KEY, OTHER], "1m", end="2025-06-03")
    assert days["instrument"].to_list() == [OTHER, OTHER, KEY, KEY]
    assert days["missing"].to_list() == [0, 60, 0, 0]


def test_a_warehouse_that_is_gone_is_said_in_a_line(tmp_path: Path) -> None:
    with open_warehouse(tmp_path / "gone") as client:
        research = Research(client, UNIVERSE)
        with pytest.raises(BadInput, match=r"no schema yet.* run `alphaforge migrate`"):
            research.bars(KEY, "1h", "2025-06-01", "2025-06-02")
    while running(tmp_path / "gone" / "warehouse"):
        time.sleep(0.05)
    with pytest.raises(WarehouseDown, match="is it running") as down:
        research.bars(KEY, "1h", "2025-06-01", "2025-06-02")
    assert "\n" not in str(down.value)


def test_connect_starts_the_warehouse_of_the_home_and_it_ends_with_the_process(tmp_path: Path) -> None:
    code = "from alphaforge_assets.research import connect; print(connect().client.command('SELECT 1'))"
    home = tmp_path / "home"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"ALPHAFORGE_HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "1\n"
