"""Reading for people: `connect().bars(...)` as a notebook uses it."""

import datetime as dt
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from clickhouse_connect.driver.client import Client

from alphaforge_assets.datasets import BARS
from alphaforge_assets.errors import BadInput
from alphaforge_assets.landing import land
from alphaforge_assets.mart import publish
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.research import Research
from alphaforge_assets.staging import stage
from alphaforge_assets.universe import load_universe
from alphaforge_assets_tests.conftest import SandboxExchanges

KEY = "okx_perp.BTC-USDT"
UNIVERSE = load_universe()
PART = Rectangle(UNIVERSE.select([KEY, "binance_spot.BTC-USDT"]), dt.date(2025, 6, 1), dt.date(2025, 6, 3))


@pytest.fixture
def research(migrated: Client, exchange: SandboxExchanges) -> Research:
    landed = land(migrated, exchange, PART, BARS, UNIVERSE.intervals, run_id="test")  # type: ignore[arg-type]
    assert landed.failures == []
    stage(migrated, PART, BARS, UNIVERSE.intervals)
    publish(migrated, PART, BARS, UNIVERSE.intervals)
    return Research(migrated, UNIVERSE)


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
    full, empty = (
        research.bars(KEY, "1h", "2025-06-01", "2025-06-02"),
        research.bars(KEY, "1h", "2024-02-01", "2024-02-02"),
    )
    assert len(empty) == 0
    assert list(empty.columns) == list(full.columns)
    assert empty.dtypes.equals(full.dtypes)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("okx_perp.BTC-USD", "1m", "2025-06-01", "2025-06-02"), "did you mean okx_perp.BTC-USDT"),
        ((KEY, "2m", "2025-06-01", "2025-06-02"), "interval '2m': use one of 1m"),
        ((KEY, "1m", "2025-06-02", "2025-06-01"), "not after start"),
        ((KEY, "1m", "yesterdayish", "2025-06-01"), "start 'yesterdayish'"),
        ((KEY, "1m", "2025-06-01", None), "end"),
    ],
)
def test_a_question_that_cannot_be_is_answered_in_a_sentence(
    research: Research, arguments: tuple[str, str, str, str], part: str
) -> None:
    with pytest.raises(BadInput, match=part):
        research.bars(*arguments)


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
