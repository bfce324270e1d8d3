"""Real recorded input, value for value: what venues once served is what researchers read, holes and oddities too."""

import datetime as dt
from pathlib import Path

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
from alphaforge_assets.quality.checks import every_check, offenders
from alphaforge_assets.sandbox import process as sandbox
from alphaforge_assets.universe import Universe
from alphaforge_assets.warehouse import statements
from alphaforge_assets_tests.conftest import LIFTED, lifted

pytestmark = pytest.mark.recorded

UNIVERSE = Universe.model_validate(
    {
        "history_start": dt.date(2017, 8, 1),
        "intervals": ["1m"],
        "venues": {
            "binance_spot": {"instruments": ["BTC/USDT", "ETH/USDT"]},
            "binance_perp": {"instruments": [f"{base}/USDT" for base in ("BTC", "ETH", "SOL", "XRP", "BNB")]},
        },
    }
)
FOLDERS = {"binance_spot": "binance_spot", "binance_perp": "binance_um"}
VALUES = ["open", "high", "low", "close", "volume"]


def recorded_bars(recorded: Path, venue: str, symbol: str, start: dt.date, end: dt.date) -> pa.Table:
    folder = recorded / "market-data" / "klines" / FOLDERS[venue] / symbol.replace("/", "") / "1m"
    # By way of text: Arrow's own cast of a decimal is not the nearest double.
    text = pa.schema([("open_time", pa.int64()), *((name, pa.string()) for name in VALUES)])
    wanted = pa.schema([("open_time", pa.int64()), *((name, pa.float64()) for name in VALUES)])
    parts = [
        pq.read_table(file, columns=text.names).cast(text).cast(wanted) for file in sorted(folder.glob("*.parquet"))
    ]
    whole = pa.concat_tables(parts)
    first, last = (int(dt.datetime(d.year, d.month, d.day, tzinfo=dt.UTC).timestamp() * 1000) for d in (start, end))
    inside = pc.and_(pc.greater_equal(whole["open_time"], first), pc.less(whole["open_time"], last))
    return (
        whole.filter(inside)
        .group_by("open_time", use_threads=False)
        .aggregate([(n, "first") for n in VALUES])
        .sort_by("open_time")
    )


def stored_bars(client: Client, venue: str, symbol: str) -> pa.Table:
    return client.query_arrow(
        "SELECT timestamp_unix AS open_time, open, high, low, close, volume FROM analytics.v_bars"
        " WHERE venue = {v:String} AND symbol = {s:String} ORDER BY timestamp_unix",
        parameters={"v": venue, "s": symbol},
    )


def missing(client: Client, part: Rectangle) -> dict[tuple[str, str], int]:
    found = statements.rows(
        client,
        "checks/every_bars/minutes_are_complete",
        **BARS.tables,
        instruments=part.instrument_ids,
        start=part.start_time,
        end=part.end_time,
    )
    totals: dict[tuple[str, str], int] = {}
    for row in found:
        key = (row["venue"], row["symbol"])
        totals[key] = totals.get(key, 0) + row["rows"]
    return totals


@pytest.mark.parametrize(
    ("patterns", "start", "end", "broken"),
    [
        pytest.param(
            ["binance_spot.BTC-USDT", "binance_perp.*"],
            dt.date(2025, 5, 1),
            dt.date(2025, 7, 1),
            {},
            id="2025-05 to 06",
        ),
        pytest.param(
            ["binance_spot.*"],
            dt.date(2017, 8, 1),
            dt.date(2018, 1, 1),
            # Binance's clock of December 2017, both instruments; ETH/USDT at rest on two nights of its first month.
            {"bars_are_on_the_grid": 2 * 20_401, "no_frozen_runs": 85 + 93},
            id="2017, partly off the grid",
        ),
        pytest.param(
            ["binance_spot.BTC-USDT"],
            dt.date(2020, 1, 1),
            dt.date(2021, 1, 1),
            {},
            id="2020, with outages",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_every_recorded_bar_arrives_and_nothing_else(
    emptied: Client,
    recorded: Path,
    tmp_path: Path,
    patterns: list[str],
    start: dt.date,
    end: dt.date,
    broken: dict[str, int],
) -> None:
    part = Rectangle(UNIVERSE.select(patterns), start, end)
    with sandbox.start(recordings=recorded / "market-data", budget_scale=LIFTED) as url:
        exchanges = lifted(url, tmp_path / "governor.sqlite3")
        landed = land(emptied, exchanges, part, BARS, UNIVERSE.intervals, run_id="test")
        stage(emptied, part, BARS, UNIVERSE.intervals)
        publish(emptied, part, BARS, UNIVERSE.intervals)
        again = land(emptied, exchanges, part, BARS, UNIVERSE.intervals, run_id="test")
    assert landed.failures == []
    assert (again.rows, again.cost.requests) == (0, 0)
    holes = missing(emptied, part)
    for instrument in part.instruments:
        source = recorded_bars(recorded, instrument.venue, instrument.symbol, start, end)
        stored = stored_bars(emptied, instrument.venue, instrument.symbol)
        assert stored["open_time"].to_pylist() == source["open_time"].to_pylist(), instrument.key
        for name in VALUES:
            assert stored[name].combine_chunks().equals(source[f"{name}_first"].combine_chunks()), (
                instrument.key,
                name,
            )
        slots = len(pc.unique(pc.divide(source["open_time"], 60_000)))
        expected = part.days * 1440 - slots
        assert holes.get((instrument.venue, instrument.symbol), 0) == expected, instrument.key
    assert offending(emptied, part) == broken | ({"minutes_are_complete": sum(holes.values())} if holes else {})


def offending(client: Client, part: Rectangle) -> dict[str, int]:
    """Rows that break each rule of bars, of those that anything breaks."""
    now = dt.datetime.now(dt.UTC)
    found = {r.name: offenders(client, r, part, now) for r in every_check() if r.asset in BARS.chain}
    return {name: sum(row["rows"] for row in its) for name, its in found.items() if its}
