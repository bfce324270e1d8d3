"""One instrument-year of 1m bars into a DataFrame: our reader against the bare query and DuckDB on Parquet.

All read the same rows and columns from the same machine, in turns, so that what disturbs one disturbs all. The reader
does more: the current version by FINAL, the check for gaps, and the receipt with its hash. Prints medians in
milliseconds, ratios, and the peak memory of reading ten years; asserts nothing but that all got the same rows.
"""

import datetime as dt
import os
import statistics
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import duckdb
import pandas as pd
from clickhouse_connect.driver.client import Client

from alphaforge_assets.research import Research, content_hash, to_parquet
from alphaforge_assets.research.frames import to_arrow
from alphaforge_assets.sandbox import process as sandbox
from alphaforge_assets.universe import Universe
from alphaforge_assets.warehouse import statements
from alphaforge_assets.warehouse.client import open_warehouse
from alphaforge_assets.warehouse.migrations import migrator
from bench.bars import END, KEY, LIFTED, START, Rectangle, Unlimited, pipeline, timed

ROUNDS = 9
YEARS = 10
COLUMNS = (
    "timestamp, open, high, low, close, volume, quote_volume, trade_count, taker_buy_base_volume,"
    " taker_buy_quote_volume, source"
)
BARE = f"""SELECT {COLUMNS} FROM analytics.bars
WHERE instrument_id = {{instrument_id:UInt32}} AND interval = '1m'
    AND timestamp >= {{start:DateTime64(3, 'UTC')}} AND timestamp < {{end:DateTime64(3, 'UTC')}}
ORDER BY timestamp"""  # noqa: S608 - the columns are ours
# The year again and again, so that a decade need not be fetched.
DECADE = """INSERT INTO analytics.bars
(instrument_id, venue, symbol, interval, timestamp, open, high, low, close, volume, quote_volume, trade_count,
    taker_buy_base_volume, taker_buy_quote_volume, source, batch_id, ingested_at, version, published_at)
SELECT instrument_id, venue, symbol, interval, timestamp - toIntervalMinute({minutes:UInt32}), open, high, low, close,
    volume, quote_volume, trade_count, taker_buy_base_volume, taker_buy_quote_volume, source, batch_id, ingested_at,
    version, published_at
FROM analytics.bars WHERE timestamp >= {start:DateTime64(3, 'UTC')}"""

# A process of its own, for its memory. VmHWM is the peak since it began; getrusage would tell that of its parent.
READER = """
import sys
from pathlib import Path
from alphaforge_assets.research import connect
frame = connect().bars(sys.argv[1], "1m", *sys.argv[2:])
peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1000
held = frame.memory_usage(deep=True).sum() / 1e6
print(f"peak memory of reading {len(frame):>9,} rows: {peak:6,.0f} MB, of which the frame {held:4,.0f} MB")
"""


def main() -> None:
    universe = Universe.model_validate(
        {"history_start": START, "intervals": ["1m"], "venues": {"binance_spot": {"instruments": ["BTC/USDT"]}}}
    )
    covered = Rectangle(universe.instruments, START, END)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, sandbox.start(budget_scale=LIFTED) as url:
        home = Path(folder) / "home"
        with open_warehouse(home) as client:
            migrator.migrate(client, statements.MIGRATIONS, database="analytics", lock_dir=Path(folder))
            pipeline(client, Unlimited(url, Path(folder) / "governor.sqlite3"), covered, universe)
            compare(Research(client, universe), Path(folder) / "year.parquet")
            decade(client, home)


def compare(research: Research, parquet: Path) -> None:
    """Print how long the year takes each of them."""
    instrument = research.universe.instrument(KEY)
    to_parquet(research.bars(KEY, "1m", START, END), parquet)
    parameters = {"instrument_id": instrument.instrument_id, "start": f"{START} 00:00:00", "end": f"{END} 00:00:00"}

    def bare_arrow() -> object:
        return research.client.query_arrow(BARE, parameters=parameters)

    def bare() -> pd.DataFrame:
        return research.client.query_arrow(BARE, parameters=parameters).to_pandas()

    def duck() -> pd.DataFrame:
        warnings.simplefilter("ignore", DeprecationWarning)  # DuckDB's own, of pandas
        query = f"SELECT {COLUMNS} FROM read_parquet(?) ORDER BY timestamp"  # noqa: S608 - the columns are ours
        return duckdb.execute(query, [str(parquet)]).df()

    def ours(**more: object) -> pd.DataFrame:
        return research.bars(KEY, "1m", START, END, **more)  # type: ignore[arg-type]

    contenders: dict[str, Callable[[], object]] = {
        "query_arrow on the bare table": bare_arrow,
        "the same, to pandas": bare,
        "DuckDB on Parquet, to pandas": duck,
        "research.bars, to pandas": ours,
        'research.bars, frame="arrow"': lambda: ours(frame="arrow"),
        "research.bars, as of now": lambda: ours(as_of=dt.datetime.now(dt.UTC)),
    }
    rows = len(ours())
    assert rows == len(duck()) == len(bare()), "not the same rows"
    assert (duck()["close"].to_numpy() == ours()["close"].to_numpy()).all(), "not the same values"
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, work in contenders.items():
            times[name].append(timed(work))
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    floor, peer = medians["query_arrow on the bare table"], medians["DuckDB on Parquet, to pandas"]
    print(f"{rows:,} bars of {KEY}, 1m, {START.year}; medians of {ROUNDS} rounds in turns\n")
    print(f"{'':32} {'ms':>7} {'of bare':>8} {'of DuckDB':>10}")
    for name, seconds in medians.items():
        print(f"{name:32} {seconds * 1000:7.0f} {seconds / floor:8.2f} {seconds / peer:10.2f}")
    table = to_arrow(ours(frame="arrow"))
    hashing = statistics.median(timed(lambda: content_hash(table)) for _ in range(ROUNDS))
    print(f"{'  of which the hash':32} {hashing * 1000:7.0f}")
    ratio = medians["research.bars, to pandas"] / floor
    print(f"\nresearch.bars / bare query = {ratio:.2f} (to be at most 1.3)")
    print(f"research.bars / DuckDB on Parquet = {medians['research.bars, to pandas'] / peer:.2f} (to be below 1)")


def decade(client: Client, home: Path) -> None:
    """Print the time and the peak memory of a process of its own that reads ten years."""
    year_minutes = (END - START).days * 1440
    for n in range(1, YEARS):
        client.command(DECADE, parameters={"minutes": n * year_minutes, "start": f"{START} 00:00:00"})
    start = START - dt.timedelta(minutes=(YEARS - 1) * year_minutes)
    for since, until in ((END - dt.timedelta(days=1), END), (start, END)):
        command = [sys.executable, "-c", READER, KEY, str(since), str(until)]
        done = subprocess.run(
            command, env=os.environ | {"ALPHAFORGE_HOME": str(home)}, check=True, capture_output=True, text=True
        )
        print(done.stdout, end="")


if __name__ == "__main__":
    main()
