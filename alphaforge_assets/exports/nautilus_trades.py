"""nautilus_trader's trade ticks: data/trade_tick/<instrument>/<first>_<last>.parquet below a catalog.

As its bars, see nautilus.py: prices and sizes are fixed-point, 16 bytes of 10^-16. `aggressor_side` is the taker's, 1
buyer and 2 seller; `ts_event` and `ts_init` are the venue's time in nanoseconds. Only whole files are written, one a
question: what nautilus_trader reads of an instrument is all files of its folder, so none may overlap.
Source: nautilus_trader 1.221, the schema of TradeTick; from memory where its wheel is not at hand.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from alphaforge_assets.errors import BadInput
from alphaforge_assets.exports import decimals
from alphaforge_assets.exports.atomic import atomically
from alphaforge_assets.exports.nautilus import instrument_id, moment, step_places
from alphaforge_assets.exports.series import Series
from alphaforge_assets.research import Research
from alphaforge_assets.universe import Instrument

COLUMNS = ("trade_id", "side", "price", "quantity")


def write(research: Research, instrument: Instrument, trades: pa.RecordBatchReader, catalog: Path) -> tuple[Path, int]:
    """Write the trades of one instrument, which have COLUMNS and `timestamp`, and return the file and how many.

    Raises BadInput where there are none, where the venue's own name is not known, or where the folder has trades that
    overlap.
    """
    table = trades.read_all()
    if not table.num_rows:
        raise BadInput(
            f"{instrument.key}: no trades in this range, so no file; `alphaforge status` shows what there is"
        )
    listed = research.instruments(instrument.venue)
    row: Any = listed.loc[instrument.key] if instrument.key in listed.index else {}
    name = instrument_id(Series(instrument, "", pd.DataFrame(), None, row))
    times = table["timestamp"].cast(pa.int64()).to_numpy()
    folder = catalog / "data" / "trade_tick" / name
    file = folder / f"{moment(int(times.min()) // 1000)}_{moment(int(times.max()) // 1000)}.parquet"
    others = [other.name for other in folder.glob("*.parquet") if other != file and _overlap(other, file)]
    if others:
        raise BadInput(f"{folder}: has {others[0]}, of the same time; remove it, or write to another catalog")
    folder.mkdir(parents=True, exist_ok=True)
    with atomically(file) as staged:
        pq.write_table(_table(table, times, name, instrument, row), staged, compression="zstd")
    return file, table.num_rows


def _overlap(one: Path, other: Path) -> bool:
    (first, last), (start, end) = (path.stem.split("_") for path in (one, other))
    return first <= end and start <= last  # times of one form, so texts compare as they do


def _table(
    table: pa.Table, times_us: "np.typing.NDArray[np.int64]", name: str, instrument: Instrument, row: Any
) -> pa.Table:
    price, size = (table[n].to_numpy().astype(np.float64) for n in ("price", "quantity"))
    price_places = decimals.places(price, step_places(row.get("tick_size")))
    lot = 0 if instrument.is_perpetual else step_places(row.get("lot_size"))  # a lot may be contracts
    size_places = decimals.places(size, lot)
    times = pa.array((times_us * 1000).astype(np.uint64))
    sides = pc.if_else(pc.equal(table["side"].combine_chunks(), "buy"), 1, 2).cast(pa.uint8())
    columns = [
        decimals.fixed_point(price, price_places),
        decimals.fixed_point(size, size_places),
        sides,
        table["trade_id"].combine_chunks().cast(pa.string()),
        times,
        times,
    ]
    raw = pa.binary(16)
    kinds = {"price": raw, "size": raw, "aggressor_side": pa.uint8(), "trade_id": pa.string()}
    kinds |= {"ts_event": pa.uint64(), "ts_init": pa.uint64()}
    metadata = {"instrument_id": name, "price_precision": str(price_places), "size_precision": str(size_places)}
    fields = [pa.field(n, kind, nullable=False) for n, kind in kinds.items()]
    return pa.table(columns, schema=pa.schema(fields, metadata=metadata))
