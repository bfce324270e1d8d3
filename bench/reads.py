"""(c) Reading bars into a DataFrame: our reader against the bare query of the table, and DuckDB on Parquet.

The reader does more: the current version by FINAL, the check for gaps, the receipt with its hash. All contenders give
the same rows and columns, in turns, from one machine; the rows were made, not fetched.
"""

import datetime as dt
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow.parquet as pq
from clickhouse_connect.driver.client import Client

from alphaforge_assets.research import Research
from bench.ground import START, Ground
from bench.measure import Row, Sizes, in_turns, scaled

COLUMNS = (
    "timestamp, open, high, low, close, volume, quote_volume, trade_count, taker_buy_base_volume,"
    " taker_buy_quote_volume, source"
)
# Written out for each, as one writes them at a prompt.
BARE = f"""SELECT {COLUMNS} FROM analytics.bars
WHERE instrument_id = {{id:UInt32}} AND interval = '1m'
    AND timestamp >= {{start:DateTime64(3, 'UTC')}} AND timestamp < {{end:DateTime64(3, 'UTC')}}
ORDER BY timestamp"""  # noqa: S608 - the columns are ours
DUCK = f"SELECT {COLUMNS} FROM read_parquet(?) WHERE timestamp >= ? AND timestamp < ? ORDER BY timestamp"  # noqa: S608
BARE_PANEL = "SELECT timestamp, symbol, close FROM analytics.bars WHERE interval = '1h' ORDER BY symbol, timestamp"
DUCK_PANEL = "SELECT timestamp, symbol, close FROM read_parquet(?) ORDER BY symbol, timestamp"
LATEST = "SELECT symbol, max(timestamp), argMax(close, timestamp) FROM {table} WHERE interval = '1h' GROUP BY symbol"
ALL = f"SELECT venue, symbol, instrument_id, interval, {COLUMNS} FROM analytics.bars ORDER BY instrument_id, timestamp"  # noqa: S608


def rows(sizes: Sizes, folder: Path) -> Iterator[Row]:
    warnings.simplefilter("ignore", DeprecationWarning)  # DuckDB's own, of pandas
    minutes = Ground(folder / "minutes")
    with minutes.warehouse() as client:
        minutes.make_rows(client, max(sizes.spans.values()) * 1440, ("bars", "bars_history"))
        client.command("OPTIMIZE TABLE analytics.bars FINAL")
        file = written(client, folder / "minutes.parquet")
        yield from one_instrument(sizes, Research(client, minutes.universe), file)
    hours = Ground(folder / "hours", [f"X{n:03}/USDT" for n in range(sizes.panel)], interval="1h")
    with hours.warehouse() as client:
        hours.make_rows(client, 31 * 24)
        file = written(client, folder / "hours.parquet")
        yield from many_instruments(sizes, Research(client, hours.universe), file)


def written(client: Client, file: Path) -> Path:
    """All rows of the table as the Parquet file that one would keep instead."""
    pq.write_table(client.query_arrow(ALL), file, compression="zstd")
    return file


def one_instrument(sizes: Sizes, research: Research, file: Path) -> Iterator[Row]:
    (instrument,) = research.universe.instruments
    spans = {name: START + dt.timedelta(days=days) for name, days in sizes.spans.items()}
    research.pin("bench", instrument.key, "1m", START, spans["year"])

    def bare(end: dt.date) -> pd.DataFrame:
        bounds = {"id": instrument.instrument_id, "start": f"{START} 00:00:00", "end": f"{end} 00:00:00"}
        return research.client.query_arrow(BARE, parameters=bounds).to_pandas()

    def duck(end: dt.date) -> pd.DataFrame:
        first, last = (dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC) for day in (START, end))
        return duckdb.execute(DUCK, [str(file), first, last]).df()

    def ours(end: dt.date, **more: Any) -> pd.DataFrame:
        return research.bars(instrument.key, "1m", START, end, **more)

    for name, end in spans.items():
        assert len(ours(end)) == len(bare(end)) == len(duck(end)) == sizes.spans[name] * 1440, "not the same rows"
        assert (ours(end)["close"].to_numpy() == duck(end)["close"].to_numpy()).all(), "not the same values"
        yield from beside(
            sizes,
            f"instrument-{name} of 1m into pandas",
            lambda end=end: ours(end),
            lambda end=end: bare(end),
            lambda end=end: duck(end),
        )
    year = spans["year"]
    for name, more in (("as of now", {"as_of": dt.datetime.now(dt.UTC)}), ("of a snapshot", {"snapshot": "bench"})):
        assert len(ours(year, **more)) == sizes.spans["year"] * 1440
        yield from beside(
            sizes,
            f"instrument-year of 1m, {name}",
            lambda more=more: ours(year, **more),
            lambda: bare(year),
            lambda: duck(year),
        )


def many_instruments(sizes: Sizes, research: Research, file: Path) -> Iterator[Row]:
    end = START + dt.timedelta(days=31)

    def panel(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.pivot(index="timestamp", columns="symbol", values="close")

    yield from beside(
        sizes,
        f"panel: closes of {sizes.panel} instruments, a month of 1h",
        lambda: research.bars("*", "1h", START, end, columns=["close"], form="wide").close,
        lambda: panel(research.client.query_arrow(BARE_PANEL).to_pandas()),
        lambda: panel(duckdb.execute(DUCK_PANEL, [str(file)]).df()),
    )
    yield from beside(
        sizes,
        f"latest bar of all {sizes.panel}, v_bars",
        lambda: research.client.query(LATEST.format(table="analytics.v_bars")).result_rows,
        lambda: research.client.query(LATEST.format(table="analytics.bars")).result_rows,
        lambda: duckdb.execute(LATEST.format(table=f"read_parquet('{file}')").replace("argMax", "arg_max")).fetchall(),
    )


def beside(
    sizes: Sizes, what: str, ours: Callable[[], object], bare: Callable[[], object], duck: Callable[[], object]
) -> Iterator[Row]:
    """Two rows: against the bare query, and against DuckDB."""
    samples = in_turns(sizes.rounds * 3, {"ours": ours, "bare": bare, "duck": duck})
    ms = {name: scaled(seconds, 1000) for name, seconds in samples.items()}
    yield Row(what, "ms", ms["ours"], "bare query of the table", ms["bare"])
    yield Row(what, "ms", ms["ours"], "DuckDB on Parquet", ms["duck"])
