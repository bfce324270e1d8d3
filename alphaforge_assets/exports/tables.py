"""Plain files of bars, one an instrument: Parquet, CSV, Feather; all columns, nothing rounded, the receipt inside."""

import json
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.feather

from alphaforge_assets.exports.series import File, Layout, Series
from alphaforge_assets.research.receipts import METADATA, to_parquet


def arrow(frame: pd.DataFrame) -> pa.Table:
    """A frame as Arrow, `timestamp` first, its receipt as JSON in the schema's metadata."""
    bare = frame.reset_index()
    bare.attrs = {}  # pandas would write them as JSON of its own
    table = pa.Table.from_pandas(bare, preserve_index=False)
    receipt = frame.attrs.get("receipt")
    metadata = {METADATA: json.dumps(receipt, default=plain).encode()} if receipt is not None else {}
    return table.replace_schema_metadata(metadata)


def write_feather(frame: pd.DataFrame, path: Path) -> None:
    pyarrow.feather.write_feather(arrow(frame), str(path), compression="lz4")


def write_csv(frame: pd.DataFrame, sink: Any, *, with_header: bool = True) -> None:
    """Times as 2025-05-01T00:00:00.000Z, numbers as the shortest text that reads back the same, nothing for NULL."""
    table = arrow(frame)
    for n, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type):
            text = pc.strftime(table[field.name].cast(pa.timestamp("ms", "UTC")), "%Y-%m-%dT%H:%M:%SZ")
            table = table.set_column(n, field.name, text)
        elif pa.types.is_dictionary(field.type):
            table = table.set_column(n, field.name, table[field.name].cast(pa.string()))
        elif pa.types.is_floating(field.type):  # pandas writes NULL as NaN
            known = pc.if_else(pc.is_nan(table[field.name]), pa.scalar(None, field.type), table[field.name])
            table = table.set_column(n, field.name, known)
    options = pyarrow.csv.WriteOptions(include_header=with_header, quoting_style="none", quoting_header="none")
    pyarrow.csv.write_csv(table, sink, options)


def plain(value: Any) -> Any:
    """What JSON has no word for: receipts, times and NumPy's numbers."""
    if hasattr(value, "plain"):
        return value.plain()
    return value.isoformat() if hasattr(value, "isoformat") else value.item() if hasattr(value, "item") else str(value)


def _layout(name: str, ending: str, write: Callable[[pd.DataFrame, Any], None], note: str) -> Layout:
    def files(series: Series) -> list[File]:
        path = PurePosixPath(f"{series.instrument.key}-{series.interval}.{ending}")
        return [File(path, len(series.bars), lambda to: write(series.bars, to))]

    return Layout(name, files, note)


PARQUET = _layout("parquet", "parquet", to_parquet, "A file an instrument; the receipt is in the schema's metadata.")
FEATHER = _layout("feather", "feather", write_feather, "A file an instrument; the receipt is in the schema's metadata.")
CSV = _layout("csv", "csv", write_csv, "A file an instrument; times are UTC open times.")
