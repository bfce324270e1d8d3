"""What a frame can prove of itself: the receipt, the hash of the content, and both in Parquet.

The content hash is defined on the canonical table (`frames`), so that every form of one read has the same. It is
SHA-256 over a JSON list of [column, kind], without spaces, and then over the SHA-256 of each column in turn, where a
column is these bytes, little-endian, in the order of the rows:

    time   int64 milliseconds since 1970, missing ones the smallest int64
    int    int64, missing ones the smallest int64
    float  float64, missing ones and every NaN as 0x7ff8000000000000
    bool   a byte 0 or 1, missing ones 2
    text   int32, the number of the value among the different ones in order of their first row, missing ones -1;
           then the different ones as a JSON list

Order of rows and columns, names and kinds count; the width of a type does not.
"""

import hashlib
import json
import weakref
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from alphaforge_assets.errors import BadInput
from alphaforge_assets.research.frames import to_arrow

ATTRIBUTE = "receipt"  # frame.attrs[ATTRIBUTE]
METADATA = b"alphaforge.receipt"  # in the schema of Arrow tables and Parquet files
_SMALLEST = np.iinfo(np.int64).min
_OF_POLARS: dict[int, "Receipt"] = {}  # polars has no place for it, so it is kept here as long as the frame lives


@dataclass(frozen=True)
class Receipt:
    """Where a frame comes from, in plain values. `as_of` is the instant whose state of the warehouse it shows.

    Times are ISO 8601 in UTC. `gaps` are missing slots (minutes of funding) by verdict, `doubled_slots` those of the
    grid in which several bars open, `sources` the share of the rows by source, `rejected_rows` those of the range that
    broke a rule and are kept apart. `schema_version` is the rank of the last migration. `edges` are where a name
    changes its unit or its coin, or ends under it, within the range; with `adjust`, all that decide by which factor the
    rows were multiplied (`identity.Edge`).
    """

    dataset: str
    instruments: list[str]
    is_many: bool
    interval: str
    start: str
    end: str
    columns: list[str]
    form: str
    fill: str | None
    as_of: str
    snapshot: str | None
    rows: int
    gaps: dict[str, int]
    sources: dict[str, float]
    rejected_rows: int
    content_hash: str
    code_version: str
    schema_version: int
    adjust: str | None = None
    edges: list[dict[str, Any]] = field(default_factory=list)
    doubled_slots: int = 0

    def plain(self) -> dict[str, Any]:
        """The same, of JSON's types only."""
        return asdict(self)


def code_version() -> str:
    """The installed version of this package."""
    try:
        return version("alphaforge-assets")
    except PackageNotFoundError:  # a checkout on the path, not installed
        return "unknown"


def content_hash(table: pa.Table) -> str:
    """`sha256:` and the hash of a canonical table, as the module defines it."""
    header = [[name, _kind(kind)] for name, kind in zip(table.column_names, table.schema.types, strict=True)]
    total = hashlib.sha256(json.dumps(header, separators=(",", ":")).encode())
    with ThreadPoolExecutor(4) as pool:  # hashing holds no lock
        for digest in pool.map(_digest, table.columns):
            total.update(digest)
    return f"sha256:{total.hexdigest()}"


def _kind(kind: pa.DataType) -> str:
    if pa.types.is_timestamp(kind):
        return "time"
    if pa.types.is_integer(kind):
        return "int"
    if pa.types.is_floating(kind):
        return "float"
    return "bool" if pa.types.is_boolean(kind) else "text"


def _digest(column: pa.ChunkedArray) -> bytes:
    found = hashlib.sha256()
    match _kind(column.type):
        case "text":
            codes, values = _numbered(column)
            found.update(codes.astype("<i4").data)
            found.update(json.dumps(values, ensure_ascii=False).encode())
        case kind:
            for chunk in column.chunks:
                found.update(np.ascontiguousarray(_values(chunk, kind)).data)
    return found.digest()


def _numbered(column: pa.ChunkedArray) -> tuple[Any, list[str]]:
    """The values in order of their first row, and the number of each row's value, -1 where there is none."""
    if not pa.types.is_dictionary(column.type):
        column = column.cast(pa.large_string()).combine_chunks().dictionary_encode()
        return column.indices.fill_null(-1).to_numpy(zero_copy_only=False), column.dictionary.to_pylist()
    whole = column.unify_dictionaries().combine_chunks()
    codes = whole.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    used, first = np.unique(codes, return_index=True)
    used = used[np.argsort(first)]
    used = used[used >= 0]
    places = np.full(len(whole.dictionary) + 1, -1, np.int32)  # the last place is that of -1
    places[used] = np.arange(len(used))
    return places[codes], whole.dictionary.take(pa.array(used)).to_pylist()


def _values(chunk: pa.Array, kind: str) -> Any:
    if kind == "time":
        return _whole(chunk.cast(pa.timestamp("ms", chunk.type.tz)).cast(pa.int64()))
    if kind == "int":
        return _whole(chunk.cast(pa.int64()))
    if kind == "bool":
        return chunk.cast(pa.uint8()).fill_null(2).to_numpy(zero_copy_only=False)
    values = chunk.cast(pa.float64()).to_numpy(zero_copy_only=False)
    nans = np.isnan(values)
    return np.where(nans, np.nan, values) if nans.any() else values


def _whole(chunk: pa.Array) -> Any:
    return chunk.fill_null(_SMALLEST).to_numpy(zero_copy_only=False)


def attach(frame: Any, receipt: Receipt) -> Any:
    """`frame` with its receipt: in `attrs` of pandas, in the schema's metadata of Arrow, beside a frame of polars."""
    if isinstance(frame, pd.DataFrame):
        frame.attrs[ATTRIBUTE] = receipt.plain()
        return frame
    if isinstance(frame, pa.Table):
        return frame.replace_schema_metadata({METADATA: json.dumps(receipt.plain()).encode()})
    _OF_POLARS[id(frame)] = receipt
    weakref.finalize(frame, _OF_POLARS.pop, id(frame), None)
    return frame


def receipt_of(frame: Any) -> Receipt:
    """The receipt that a frame carries. Raises BadInput if it carries none.

    pandas keeps `attrs` in a copy, slice or selection of columns, and drops it where frames are joined; polars keeps it
    for the very frame that a reader gave, and for nothing made of it.
    """
    if isinstance(frame, pd.DataFrame):
        found = frame.attrs.get(ATTRIBUTE)
    elif isinstance(frame, pa.Table):
        stored = (frame.schema.metadata or {}).get(METADATA)
        found = json.loads(stored) if stored else None
    else:
        return _OF_POLARS.get(id(frame)) or _from_plain(None)
    return _from_plain(found)


def _from_plain(found: Any) -> Receipt:
    if not isinstance(found, Mapping):
        raise BadInput("frame carries no receipt: it is not one that a reader gave, or it was joined or derived since")
    names = {f.name for f in fields(Receipt)}
    later = {"adjust", "edges"}  # of receipts that an earlier version wrote, which adjusted nothing
    if missing := names - later - set(found):
        raise BadInput(
            f"frame carries a receipt without {', '.join(sorted(missing))}: it was written by another version"
        )
    return Receipt(**{name: found[name] for name in names & set(found)})


def to_parquet(frame: Any, path: str | Path) -> None:
    """Write a frame with its receipt, the long form, zstd. pandas reads index and `attrs` back, `verify` the receipt.

    A wide frame is refused. Raises BadInput for a frame without a receipt, or a path that cannot be written.
    """
    receipt = receipt_of(frame)
    if receipt.form != "long":
        raise BadInput("frame is wide: export the long form, and widen it where it is read")
    table = to_arrow(frame)
    if receipt.is_many:  # as text, which every reader of Parquet understands alike; the file has a dictionary anyway
        table = table.set_column(0, "instrument", table.column(0).cast(pa.string()))
    metadata = {METADATA: json.dumps(receipt.plain()).encode()}
    metadata[b"PANDAS_ATTRS"] = json.dumps({ATTRIBUTE: receipt.plain()}).encode()
    if isinstance(frame, pd.DataFrame):
        metadata[b"pandas"] = pa.Schema.from_pandas(frame.head(0)).metadata[b"pandas"]
    try:
        pq.write_table(table.replace_schema_metadata(metadata), path, compression="zstd")
    except OSError as error:
        raise BadInput(f"path {path}: {error.strerror or error}; name a file that can be written") from error


def read_parquet(path: str | Path) -> pa.Table:
    """The table of a Parquet file, with its receipt. Raises BadInput for what is none."""
    try:
        return pq.read_table(path)
    except FileNotFoundError as error:
        raise BadInput(f"path {path}: there is no such file") from error
    except (OSError, pa.ArrowException) as error:
        raise BadInput(f"path {path}: not a Parquet file that can be read ({str(error).splitlines()[0]})") from error
