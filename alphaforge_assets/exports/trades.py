"""Trades as files of an export: Parquet as they are read, and nautilus_trader's ticks; a file an instrument.

They are streamed, a batch at a time, because a day of a busy market is millions. What was asked stands in the schema's
metadata, as in the manifest.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from alphaforge_assets.datasets.trades import TRADES
from alphaforge_assets.exports import nautilus_trades
from alphaforge_assets.research import Research
from alphaforge_assets.research.trades import METADATA
from alphaforge_assets.universe import Instrument

# write(research, instrument, trades, folder) -> the file, below the folder, and how many trades; 0 leaves no file.
Write = Callable[[Research, Instrument, pa.RecordBatchReader, Path], tuple[PurePosixPath, int]]


def write_parquet(found: pa.RecordBatchReader, file: Path) -> int:
    """A row group a batch or more, zstd; what was asked stands in the schema's metadata. Returns how many."""
    rows = 0
    with pq.ParquetWriter(file, found.schema, compression="zstd") as writer:
        for batch in found:
            writer.write_batch(batch)
            rows += batch.num_rows
    return rows


def said(found: pa.RecordBatchReader) -> dict[str, Any]:
    """What was asked, and what is known to be missing."""
    says: dict[str, Any] = json.loads((found.schema.metadata or {})[METADATA])
    return says


def _parquet(
    research: Research, instrument: Instrument, found: pa.RecordBatchReader, folder: Path
) -> tuple[PurePosixPath, int]:
    path = PurePosixPath(f"{instrument.key}-trades.parquet")
    return path, write_parquet(found, folder / path)


def _nautilus(
    research: Research, instrument: Instrument, found: pa.RecordBatchReader, folder: Path
) -> tuple[PurePosixPath, int]:
    table = found.read_all()
    if not table.num_rows:
        return PurePosixPath(), 0
    file, rows = nautilus_trades.write(research, instrument, table.to_reader(), folder)
    return PurePosixPath(file.relative_to(folder)), rows


# By the name of the format; which columns each reads.
WRITES: Mapping[str, Write] = {"parquet": _parquet, "nautilus": _nautilus}
COLUMNS: Mapping[str, tuple[str, ...]] = {"parquet": tuple(TRADES.columns), "nautilus": nautilus_trades.COLUMNS}
NOTES = {
    "parquet": "A file an instrument; what was asked is in the schema's metadata.",
    "nautilus": "Ticks of the taker's side; a folder of one instrument holds one file, or times would overlap.",
}
