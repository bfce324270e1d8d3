"""One result in every form: a canonical Arrow table, pandas long or wide, polars, and each of them back to Arrow.

The canonical table has `instrument` (if many were asked for), `timestamp` and the columns, sorted by instrument, then
timestamp, with the schema of `schema` whatever the result.
"""

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from alphaforge_assets.datasets.dataset import FLAG, TIME
from alphaforge_assets.datasets.registry import READABLE
from alphaforge_assets.errors import BadInput
from alphaforge_assets.universe import id_of

KEY = pa.dictionary(pa.int32(), pa.string())  # the column `instrument`: long, and few different values
FILLED = "is_filled"
FRAMES = ("pandas", "polars", "arrow")
_PANDAS = {pa.int64(): pd.Int64Dtype()}  # the only whole numbers that may be missing

# What a bar is while nothing trades. The prices are the last close; what a venue would say of itself stays empty.
_PRICES = ("open", "high", "low", "close")
_NOTHING_TRADED = (
    *("volume", "quote_volume", "contract_volume", "trade_count"),
    *("taker_buy_base_volume", "taker_buy_quote_volume"),
)


def schema(dataset: str, columns: tuple[str, ...], is_many: bool) -> pa.Schema:
    """The schema of a long frame: `instrument` if many were asked for, `timestamp`, then `columns`. Never varies."""
    its = READABLE[dataset].columns
    fields = [pa.field("instrument", KEY)] if is_many else []
    fields += [pa.field("timestamp", TIME)]
    fields += [pa.field(name, FLAG if name == FILLED else its[name]) for name in columns]
    return pa.schema(fields)


def by_instrument(raw: pa.Table, keys: tuple[str, ...]) -> dict[str, pa.Table]:
    """The rows of each key, without copying: `raw` is ordered by its first column, instrument_id."""
    if len(keys) == 1:
        return {keys[0]: raw}
    ids = raw.column(0).cast(pa.int64()).to_numpy()
    starts = np.flatnonzero(np.diff(ids, prepend=-1))
    ends = np.append(starts, len(ids))[1:]
    place = {int(ids[a]): (int(a), int(b)) for a, b in zip(starts, ends, strict=True)}
    rows = {key: place.get(id_of(key), (0, 0)) for key in keys}
    return {key: raw.slice(a, b - a) for key, (a, b) in rows.items()}


def canonical(parts: Mapping[str, pa.Table], dataset: str, columns: tuple[str, ...], is_many: bool) -> pa.Table:
    """The canonical table of the rows of each instrument, which have `timestamp` and at least `columns`."""
    form = schema(dataset, columns, is_many)
    wanted = [name for name in form.names if name != "instrument"]
    tables = []
    for code, part in enumerate(parts.values()):
        table = part.select(wanted)
        if is_many:
            codes = pa.array(np.full(part.num_rows, code, np.int32))
            table = table.add_column(0, "instrument", pa.DictionaryArray.from_arrays(codes, pa.array(list(parts))))
        tables.append(table.cast(form))
    return pa.concat_tables(tables)


def milliseconds(times: pa.ChunkedArray) -> Any:
    """An int64 array of milliseconds since 1970."""
    return times.cast(pa.int64()).to_numpy()


def filled(part: pa.Table, slots_ms: Any, how: str | None) -> pa.Table:
    """`part`, which is of one instrument, with a row for each of `slots_ms`, and the column `is_filled`.

    `null` leaves the new rows empty. `forward` makes them the last close and no volume; before the first bar of the
    range there is none, and no row is made.
    """
    known = milliseconds(part.column("timestamp"))
    before = np.searchsorted(known, slots_ms, side="right") - 1
    if how == "forward":
        slots_ms, before = slots_ms[before >= 0], before[before >= 0]
    times = np.concatenate([known, slots_ms])
    order = np.argsort(times, kind="stable")
    is_new = order >= len(known)
    rows = pa.array(np.where(is_new, 0, order), mask=is_new)  # a missing place gives a missing row
    columns = {name: part.column(name).take(rows) for name in part.column_names if name != "timestamp"}
    if how == "forward":
        last = pa.array(np.concatenate([np.arange(len(known)), before])[order])
        closes = part.column("close").take(last)
        mask = pa.array(is_new)
        for name in _PRICES:
            if name in columns:
                columns[name] = pc.if_else(mask, closes, columns[name])
        for name in _NOTHING_TRADED:
            if name in columns:
                zero = pa.scalar(0, columns[name].type)
                columns[name] = pc.if_else(mask, zero, columns[name])
    timestamp = pa.array(times[order]).cast(TIME)
    return pa.table({"timestamp": timestamp, **columns, FILLED: pa.array(is_new)})


def to_pandas(table: pa.Table, *, wide: bool = False, keys: tuple[str, ...] = ()) -> pd.DataFrame:
    """Long: indexed by `timestamp`, or by `instrument` and `timestamp`. Wide: a column for each column and key.

    Takes `table` apart as it goes, so that memory holds little more than the frame.
    """
    codes = None
    if "instrument" in table.column_names:
        whole = table.column("instrument").combine_chunks()
        whole = whole if isinstance(whole, pa.DictionaryArray) else whole.dictionary_encode()
        codes, names = whole.indices.to_numpy(), pd.Index(whole.dictionary.to_pylist(), dtype="str")
        table = table.drop_columns("instrument")
    frame: pd.DataFrame = table.to_pandas(
        date_as_object=False, types_mapper=_PANDAS.get, split_blocks=True, self_destruct=True
    )
    if codes is None:
        return frame.set_index("timestamp")
    times = pd.DatetimeIndex(frame.pop("timestamp"))
    if wide:
        return _wide(frame, times, codes, keys)
    moments, places = np.unique(times.asi8, return_inverse=True)
    levels = [names, pd.DatetimeIndex(moments.view("datetime64[ms]"), tz="UTC")]
    numbers: list[Any] = [codes, places]
    frame.index = pd.MultiIndex(levels, numbers, names=["instrument", "timestamp"], verify_integrity=False)
    return frame


def _wide(frame: pd.DataFrame, times: pd.DatetimeIndex, codes: Any, keys: tuple[str, ...]) -> pd.DataFrame:
    union = times.unique().sort_values().rename("timestamp")
    frame = frame.astype({name: "boolean" for name in frame.columns if frame[name].dtype == bool})
    parts: dict[tuple[str, str], pd.Series[Any]] = {}
    for code, key in enumerate(keys):
        own = codes == code
        index = times[own]
        if not index.is_unique:
            raise BadInput(f"form 'wide': {key} has two rows at one time, of different rate_type; use form='long'")
        part = frame[own].set_axis(index).reindex(union)
        parts |= {(name, key): part[name] for name in frame.columns}
    order = [(name, key) for name in frame.columns for key in keys]
    labels = pd.MultiIndex.from_tuples(order, names=["column", "instrument"])
    return pd.DataFrame({n: parts[pair] for n, pair in enumerate(order)}, index=union).set_axis(labels, axis=1)


def to_polars(table: pa.Table) -> Any:
    """The columns of the canonical table, none of them an index. Raises BadInput where polars is not installed."""
    return polars().from_arrow(table)


def polars() -> Any:
    """The library, which only those need who ask for it. Raises BadInput where it is not installed."""
    try:
        return importlib.import_module("polars")
    except ImportError as error:
        raise BadInput("frame 'polars': polars is not installed; `pip install polars`, or use 'pandas'") from error


def to_arrow(frame: Any) -> pa.Table:
    """The canonical table of a frame of ours in whatever form. Raises BadInput for anything else."""
    if isinstance(frame, pa.Table):
        return frame
    if isinstance(frame, pd.DataFrame):
        long = _long(frame) if frame.columns.nlevels == 2 else frame
        try:
            table = pa.Table.from_pandas(long.reset_index(), preserve_index=False)
        except (pa.ArrowException, ValueError, TypeError) as error:
            raise BadInput(f"frame: not one that a reader gave ({error})") from error
    elif hasattr(frame, "to_arrow"):
        table = frame.to_arrow()
    else:
        raise BadInput(f"frame: a pandas or polars DataFrame, an Arrow table or a Parquet file, not {type(frame)}")
    if "instrument" in table.column_names:
        place = table.column_names.index("instrument")
        table = table.set_column(place, "instrument", table.column(place).cast(pa.string()).dictionary_encode())
        table = table.set_column(place, "instrument", table.column(place).cast(KEY))
    return table


def _long(wide: pd.DataFrame) -> pd.DataFrame:
    keys = list(dict.fromkeys(wide.columns.get_level_values("instrument")))
    parts: dict[str, Any] = {key: wide.xs(key, axis=1, level="instrument") for key in keys}
    long = pd.concat(parts, names=["instrument", "timestamp"]).dropna(how="all")
    found: pd.DataFrame = long.astype({name: bool for name in long.columns if long[name].dtype == "boolean"})
    return found


def without_empty_rows(table: pa.Table) -> pa.Table:
    """What a wide frame can hold of a table: a row without any value does not show in it."""
    values = [c for n, c in zip(table.column_names, table.columns, strict=True) if n not in ("instrument", "timestamp")]
    if any(column.null_count == 0 for column in values):
        return table
    some = values[0].is_valid()
    for column in values[1:]:
        some = pc.or_(some, column.is_valid())
    return table.filter(some)
