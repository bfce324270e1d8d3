"""Trades for people: batches of Arrow as they come, because a day of a busy market is millions of rows.

What is read is what was published by one moment, which the schema's metadata names: read as of it, the same rows come
again. What is missing is said before the first batch, or refused: ids that nobody told, and minutes without an answer.
"""

import json
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from clickhouse_connect.driver.client import Client

from alphaforge_assets.datasets.dataset import TIME_US
from alphaforge_assets.datasets.trades import TRADES
from alphaforge_assets.errors import BadInput, CoverageError
from alphaforge_assets.research import completeness
from alphaforge_assets.research.arguments import LATEST, Request
from alphaforge_assets.research.completeness import IncompleteWarning, Ledger
from alphaforge_assets.research.frames import KEY
from alphaforge_assets.research.reading import asked_of, schema_there
from alphaforge_assets.universe import id_of
from alphaforge_assets.verdicts import EXPLAINED
from alphaforge_assets.warehouse import statements

METADATA = b"alphaforge.trades"
SLOTS = 13  # places for columns in sql/reads/trades


def read(client: Client, request: Request, require: bool | str, stacklevel: int) -> pa.RecordBatchReader:
    """The trades of a request: `instrument` if many were asked for, `timestamp` (us), then its columns, in the order of
    instruments and ids.

    Raises BadInput for an `as_of` in the future, CoverageError if `require` refuses what is missing, WarehouseDown.
    """
    bounds = {**TRADES.tables, "interval": "", "start": request.start, "end": request.end}
    bounds["instruments"] = [id_of(key) for key in request.instruments]
    with schema_there(), ThreadPoolExecutor(1) as pool:
        telling = pool.submit(statements.rows, client, "reads/gaps_between", **bounds, with_filled=False)
        (known,) = statements.rows(client, "reads/receipt", **bounds, as_of=request.as_of or LATEST)
        told = [row for row in telling.result() if row["dataset"] == TRADES.name and row["missing"]]
    if request.as_of and request.as_of > known["read_at"]:
        raise BadInput(f"as_of {request.as_of} is in the future: it is {known['read_at']} at the warehouse")
    instant = request.as_of or known["read_at"]
    ledger = Ledger(known["gaps"], lambda: asked_of(client, bounds, instant))
    nothing: dict[str, Any] = {key: np.array([], np.int64) for key in request.instruments}
    silent = completeness.gaps_of(request, nothing, instant, ledger)
    holes = _holes(request, told, silent)
    _hold(request, holes, silent, require, stacklevel)
    says = {
        "dataset": TRADES.name,
        "instruments": list(request.instruments),
        **{name: moment.isoformat() for name, moment in (("start", request.start), ("end", request.end))},
        "as_of": instant.isoformat(timespec="milliseconds"),
        "snapshot": request.snapshot,
        "trades_missing": int(holes["missing"].sum()),
        "minutes_unanswered": int(silent["missing"].sum()),
    }
    schema = _schema(request).with_metadata({METADATA: json.dumps(says).encode()})
    return pa.RecordBatchReader.from_batches(schema, _batches(client, request, bounds | {"as_of": instant}, schema))


def _schema(request: Request) -> pa.Schema:
    fields = [pa.field("instrument", KEY)] if request.is_many else []
    fields += [pa.field("timestamp", TIME_US), *(pa.field(name, TRADES.columns[name]) for name in request.columns)]
    return pa.schema(fields)


def _batches(client: Client, request: Request, bounds: dict[str, Any], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """A statement an instrument, along the sort key, so that no memory holds more than a block."""
    names = [*request.columns, *["nothing"] * (SLOTS - len(request.columns))]
    slots = {f"c{n}": name for n, name in enumerate(names)} | {"key": "nothing"}
    for code, key in enumerate(request.instruments):
        bounds["instruments"] = [id_of(key)]
        for block in statements.blocks(client, "reads/trades", **bounds, **slots):
            columns = list(block.columns[1 : 2 + len(request.columns)])
            if request.is_many:
                codes = pa.array(np.full(block.num_rows, code, np.int32))
                columns.insert(0, pa.DictionaryArray.from_arrays(codes, pa.array(list(request.instruments))))
            cast = [column.cast(field.type) for column, field in zip(columns, schema, strict=True)]
            yield pa.RecordBatch.from_arrays(cast, schema=schema)


def _holes(request: Request, told: list[dict[str, Any]], silent: pd.DataFrame) -> pd.DataFrame:
    """Gaps of the ledger that count ids, in the form of those of minutes."""
    names = {id_of(key): key for key in request.instruments}
    rows = [{"instrument": names[row["instrument_id"]], **{n: row[n] for n in silent.columns[1:]}} for row in told]
    return pd.DataFrame(rows, columns=silent.columns).astype(silent.dtypes.to_dict())


def _hold(request: Request, holes: pd.DataFrame, silent: pd.DataFrame, require: bool | str, stacklevel: int) -> None:
    """Say once what is missing, or raise CoverageError if completeness was required."""
    gaps = pd.concat([part for part in (holes, silent) if len(part)] or [silent], ignore_index=True)
    if not len(gaps):
        return
    refused = gaps if require is True else gaps[~gaps["verdict"].isin(EXPLAINED)]
    words = f"{int(holes['missing'].sum()):,} trades are known to be missing"
    if len(silent):
        words += f", and {int(silent['missing'].sum()):,} minutes have no answer of the venue"
    first = ", ".join(
        f"{gap.instrument} {gap.gap_start:%Y-%m-%d %H:%M:%S} to {gap.gap_end:%Y-%m-%d %H:%M:%S} {gap.verdict}"
        for gap in gaps.head(completeness.SHOWN_MAX).itertuples()
    )
    if require and len(refused):
        raise CoverageError(f"{request.what}: {words}: {first}", refused.reset_index(drop=True))
    advice = "require_complete=True refuses that, gaps() says why"
    warnings.warn(f"{request.what}: {words} ({first}); {advice}", IncompleteWarning, stacklevel=stacklevel)
