"""Trades for people: batches of Arrow as they come, because a day of a busy market is millions of rows.

What is read is what was published by one moment, which the schema's metadata names: read as of it, the same rows come
again. What is missing is said before the first batch, or refused: ids that nobody told, and minutes without an answer.
"""

import json
import warnings
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
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
from alphaforge_assets.research.reading import schema_there
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
    bounds = {**TRADES.tables, "start": request.start, "end": request.end, "as_of": request.as_of or LATEST}
    ids = [id_of(key) for key in request.instruments]
    first = _blocks(client, request, bounds, request.instruments[0])
    with schema_there(), ThreadPoolExecutor(1) as pool:
        telling = pool.submit(statements.rows, client, "reads/trades_known", **bounds, instruments=ids)
        begun = next(first, None)
        (known,) = telling.result()
    if request.as_of and request.as_of > known["read_at"]:
        raise BadInput(f"as_of {request.as_of} is in the future: it is {known['read_at']} at the warehouse")
    # The moment by which the first rows were read, so that what comes of the other instruments is of the same one.
    instant = request.as_of or (begun.column(0)[0].as_py() if begun else known["read_at"])
    nothing: dict[str, Any] = {key: np.array([], np.int64) for key in request.instruments}
    # An answer of after that moment is none to what was read: its trades are not among the rows.
    asked = [window[:4] for window in known["asked"] if window[4] <= round(instant.timestamp() * 1000)]
    ledger = Ledger([gap[:5] for gap in known["gaps"] if gap[3] == "retention_lost"], lambda: asked)
    silent = completeness.gaps_of(request, nothing, instant, ledger)
    holes = _holes(request, [gap for gap in known["gaps"] if gap[5] and gap[6]], silent)
    try:
        _hold(request, holes, silent, require, stacklevel)
    except BaseException:
        first.close()
        raise
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
    begun_with = chain([begun], first) if begun else first
    return pa.RecordBatchReader.from_batches(
        schema, _batches(client, request, bounds | {"as_of": instant}, schema, begun_with)
    )


def _schema(request: Request) -> pa.Schema:
    fields = [pa.field("instrument", KEY)] if request.is_many else []
    fields += [pa.field("timestamp", TIME_US), *(pa.field(name, TRADES.columns[name]) for name in request.columns)]
    return pa.schema(fields)


def _blocks(
    client: Client, request: Request, bounds: dict[str, Any], key: str
) -> Generator[pa.RecordBatch, None, None]:
    """Rows of an instrument along the sort key, so that no memory holds more than a block, behind their `instant`."""
    names = [*request.columns, *["nothing"] * (SLOTS - len(request.columns))]
    slots = {f"c{n}": name for n, name in enumerate(names)} | {"key": "instant"}
    yield from statements.blocks(client, "reads/trades", **bounds, instruments=[id_of(key)], **slots)


def _batches(
    client: Client, request: Request, bounds: dict[str, Any], schema: pa.Schema, first: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """A statement an instrument, that of the first one under way."""
    for code, key in enumerate(request.instruments):
        for block in _blocks(client, request, bounds, key) if code else first:
            columns = list(block.columns[1 : 2 + len(request.columns)])
            if request.is_many:
                codes = pa.array(np.full(block.num_rows, code, np.int32))
                columns.insert(0, pa.DictionaryArray.from_arrays(codes, pa.array(list(request.instruments))))
            cast = [column.cast(field.type) for column, field in zip(columns, schema, strict=True)]
            yield pa.RecordBatch.from_arrays(cast, schema=schema)


def _holes(request: Request, told: list[tuple[Any, ...]], silent: pd.DataFrame) -> pd.DataFrame:
    """Gaps of the ledger that count ids, in the form of those of minutes."""
    if not told:
        return silent.iloc[:0]
    names = {id_of(key): key for key in request.instruments}
    rows = [
        (names[gap[0]], *(pd.Timestamp(ms, unit="ms", tz="UTC") for ms in gap[1:3]), gap[5], gap[3], gap[4])
        for gap in sorted(told, key=lambda gap: (names[gap[0]], gap[1]))
    ]
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
