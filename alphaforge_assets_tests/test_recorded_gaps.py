"""The gap ledger against recorded holes: every outage of the manifest is found, none invented, each explained."""

import datetime as dt
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from clickhouse_connect.driver.client import Client

from alphaforge_assets.datasets.bars import BARS
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.pipeline.landing import land
from alphaforge_assets.pipeline.mart import publish
from alphaforge_assets.pipeline.staging import stage
from alphaforge_assets.quality.coverage import judge
from alphaforge_assets.sandbox import process as sandbox
from alphaforge_assets.universe import Universe
from alphaforge_assets_tests.conftest import LIFTED, lifted
from alphaforge_assets_tests.test_recorded import UNIVERSE

pytestmark = pytest.mark.recorded

MINUTE = dt.timedelta(minutes=1)
YEARS = [
    pytest.param(["binance_spot.*"], 2017, dt.date(2017, 8, 1), id="2017, two instruments, partly off the grid"),
    pytest.param(
        ["binance_spot.BTC-USDT"], 2020, dt.date(2020, 1, 1), id="2020, one instrument", marks=pytest.mark.slow
    ),
]


def filled(client: Client, recordings: Path, part: Rectangle, universe: Universe, tmp_path: Path) -> None:
    with sandbox.start(recordings=recordings, budget_scale=LIFTED) as url:
        exchanges = lifted(url, tmp_path / "governor.sqlite3")
        landed = land(client, exchanges, part, BARS, universe.intervals, run_id="test")
    assert landed.failures == []
    stage(client, part, BARS, universe.intervals)
    publish(client, part, BARS, universe.intervals)
    judge(client, part, BARS, universe)


def gaps(client: Client, symbol: str) -> list[dict[str, Any]]:
    query = "SELECT * FROM analytics.v_gaps WHERE symbol = {s:String} AND is_open ORDER BY gap_start"
    return list(client.query(query, parameters={"s": symbol}, tz_mode="aware").named_results())


def recorded_gaps(series: dict[str, Any]) -> list[tuple[dt.datetime, dt.datetime]]:
    """The manifest's gaps as slots of the grid.

    The manifest names the bars on either side; a bar off the grid (10:00:20.799) fills the slot it opens in (10:00), so
    the slot after that is the first one missing. That is one slot more than whole intervals fit between the two bars.
    """
    found = []
    for gap in series["gap_list"]:
        after, following = (dt.datetime.fromisoformat(gap[k]) for k in ("after", "next"))
        start, end = (m.replace(second=0, microsecond=0) for m in (after + MINUTE, following))
        assert (end - start) // MINUTE == gap["missing"] + (after.second > 0)
        found.append((start, end))
    return found


def series_of(recorded: Path, symbol: str, year: int) -> dict[str, Any]:
    files = json.loads((recorded / "market-data" / "manifest.json").read_text())["files"]
    name = f"klines/binance_spot/{symbol.replace('/', '')}/1m/{year}.parquet"
    return next(f for f in files if f["file"] == name)


@pytest.mark.parametrize(("patterns", "year", "start"), YEARS)
def test_every_outage_on_record_is_found_and_none_invented(
    emptied: Client, recorded: Path, tmp_path: Path, patterns: list[str], year: int, start: dt.date
) -> None:
    part = Rectangle(UNIVERSE.select(patterns), start, dt.date(year + 1, 1, 1))
    filled(emptied, recorded / "market-data", part, UNIVERSE, tmp_path)
    together = len(part.instruments) > 1
    for instrument in part.instruments:
        series = series_of(recorded, instrument.symbol, year)
        found = gaps(emptied, instrument.symbol)
        if series["first"] > f"{start}T00:00:00.000Z":
            before = found.pop(0)
            assert (before["verdict"], before["gap_end"]) == ("not_listed", dt.datetime.fromisoformat(series["first"]))
            assert "the first bar of all" in before["evidence"]
        assert [(g["gap_start"], g["gap_end"]) for g in found] == recorded_gaps(series)
        for gap in found:
            assert gap["verdict"] == "venue_outage", gap
            says = "BTC/USDT, ETH/USDT were asked and silent together" if together else "rests on one instrument"
            assert says in gap["evidence"]
            assert json.loads(gap["figures"])["missing"] == gap["missing"]
            assert (gap["next_attempt_at"] is None) == together  # what rests on one instrument is confirmed once
        (totals,) = emptied.query(
            "SELECT sum(expected), sum(present + missing), sum(missing - explained), sum(frozen), sum(off_grid),"
            " max(score) FROM analytics.v_coverage WHERE symbol = {s:String}",
            parameters={"s": instrument.symbol},
        ).result_rows
        days = (part.end - part.start).days
        # Bars with zero volume are bars: counted as frozen, and never missing.
        assert totals == (days * 1440, days * 1440, 0, series["zero_volume_rows"], series["off_grid"], 100.0)
    if year == 2020:
        frozen = {g["gap_start"].date(): g["frozen"] for g in gaps(emptied, "BTC/USDT")}
        assert frozen[dt.date(2020, 12, 21)] == series_of(recorded, "BTC/USDT", 2020)["zero_volume_rows"] == 50
    stable = "SELECT * EXCEPT (last_seen) FROM analytics.v_gaps ORDER BY instrument_id, gap_start"
    before_again = emptied.query(stable).result_rows
    judge(emptied, part, BARS, UNIVERSE)
    assert emptied.query(stable).result_rows == before_again


def test_minutes_left_out_for_want_of_trades_are_no_outages(emptied: Client, recorded: Path, tmp_path: Path) -> None:
    """Kraken's XBT/USDC, played by a venue we speak: half of its minutes are missing, because nobody traded in them."""
    source = recorded / "market-data/klines/kraken_spot/XBTUSDC/1m/2023-Q1.parquet"
    folder = tmp_path / "played/klines/bybit_spot/BTCUSDC/1m"
    folder.mkdir(parents=True)
    shutil.copy(source, folder / source.name)
    universe = Universe.model_validate(
        {
            "history_start": dt.date(2023, 1, 1),
            "intervals": ["1m"],
            "venues": {"bybit_spot": {"instruments": ["BTC/USDC"]}},
        }
    )
    part = Rectangle(universe.instruments, dt.date(2023, 1, 1), dt.date(2023, 4, 1))
    filled(emptied, tmp_path / "played", part, universe, tmp_path)
    times = pq.read_table(source, columns=["open_time"])["open_time"]
    assert not pc.any(pc.equal(pq.read_table(source, columns=["volume"])["volume"].cast(pa.float64()), 0)).as_py()
    by_verdict = dict(
        emptied.query("SELECT verdict, sum(missing) FROM analytics.v_gaps WHERE is_open GROUP BY verdict").result_rows
    )
    assert by_verdict == {"no_trades": 90 * 1440 - len(times)}
    # Explained, all of it, and not there all the same: no score is above the share of minutes that are.
    (unexplained, above, worst, fewest) = emptied.query(
        "SELECT sum(missing - explained), countIf(score > completeness),"
        " min(score), min(floor(100 * present / expected, 1)) FROM analytics.v_coverage"
    ).first_row
    assert (unexplained, above, worst) == (0, 0, fewest)
    assert worst < 50
    one = gaps(emptied, "BTC/USDC")[0]
    assert "left out minutes" in one["evidence"]
    assert json.loads(one["figures"])["mean_volume_that_day"] > 0
