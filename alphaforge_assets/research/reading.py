"""From a request to its answer: the rows, what is missing of them, and the receipt. All reads of series pass here."""

import contextlib
import datetime as dt
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from clickhouse_connect.driver.client import Client

from alphaforge_assets.datasets.registry import DATASETS, READABLE
from alphaforge_assets.errors import BadInput, WarehouseRefused
from alphaforge_assets.research import completeness, frames, identity, minutes
from alphaforge_assets.research.arguments import LATEST, Request
from alphaforge_assets.research.identity import Edge
from alphaforge_assets.research.receipts import Receipt, code_version, content_hash
from alphaforge_assets.universe import EARLIEST, Instrument, id_of
from alphaforge_assets.warehouse import statements

SLOTS = 24  # places for columns in sql/reads/series; other statements have fewer, and take no more than they have
_NO_SUCH = (46, 60, 81)  # function (a view with parameters), table, database


@contextlib.contextmanager
def schema_there() -> Iterator[None]:
    """Say what to do about a warehouse that has no tables yet, or older ones: BadInput in place of WarehouseRefused."""
    try:
        yield
    except WarehouseRefused as error:
        if error.code in _NO_SUCH:
            raise BadInput("the warehouse has no schema yet, or an older one: run `alphaforge migrate`") from error
        raise


@dataclass(frozen=True)
class Answer:
    """The canonical table, the gaps in it, its slots of several rows, and its receipt."""

    table: pa.Table
    gaps: pd.DataFrame
    doubled: pd.DataFrame
    receipt: Receipt


def kept_once(client: Client, datasets: Iterable[str]) -> list[Instrument]:
    """All instruments that datasets were ever asked for, in the universe or not: what is there is read by its key.

    Raises WarehouseDown, and BadInput where there is no schema.
    """
    with schema_there():
        rows = [row for name in datasets for row in statements.rows(client, "reads/kept_once", dataset=name)]
    return list(dict.fromkeys(Instrument(row["venue"], row["symbol"], EARLIEST) for row in rows))


def answer(client: Client, request: Request) -> Answer:
    """Read what was asked for: one query for the rows, one beside it for what the warehouse knows of the range, and a
    third only if something is missing. Raises BadInput for an `as_of` in the future, WarehouseDown, WarehouseRefused.
    """
    bounds = {
        **DATASETS[READABLE[request.dataset].ledger].tables,
        "instruments": [id_of(key) for key in request.instruments],
        "interval": request.interval,
        "start": request.start,
        "end": request.end,
    }
    known_of = bounds | minutes.known_by(request)
    with schema_there(), ThreadPoolExecutor(1) as pool:
        knowing = pool.submit(statements.rows, client, "reads/receipt", **known_of, as_of=request.as_of or LATEST)
        raw = _rows(client, request, bounds)
        (known,) = knowing.result()
    read_at: dt.datetime = known["read_at"]
    if request.as_of and request.as_of > read_at:
        raise BadInput(f"as_of {_iso(request.as_of)} is in the future: it is {_iso(read_at)} at the warehouse")
    instant = request.as_of or read_at
    parts = frames.by_instrument(raw, request.instruments)
    if request.adjust:
        parts = {key: identity.adjusted(part, key, request.edges) for key, part in parts.items()}
    times = {key: frames.milliseconds(part.column("timestamp")) for key, part in parts.items()}
    seen, not_made = minutes.seen(client, request, parts, instant) if request.made_of else (times, [])
    ledger = completeness.Ledger([*known["gaps"], *not_made], lambda: asked_of(client, known_of, instant))
    gaps = completeness.gaps_of(request, seen, instant, ledger)
    doubled = completeness.doubled_of(request, times)
    columns = request.columns
    if request.fill:
        columns = (*columns, frames.FILLED)
        parts = {
            key: frames.filled(part, completeness.fillable_ms(request, gaps, key), request.fill)
            for key, part in parts.items()
        }
    table = frames.canonical(parts, request.dataset, columns, request.is_many)
    receipt = Receipt(
        dataset=request.dataset,
        instruments=list(request.instruments),
        is_many=request.is_many,
        interval=request.interval,
        start=_iso(request.start),
        end=_iso(request.end),
        columns=list(request.columns),
        form=request.form,
        fill=request.fill,
        as_of=_iso(instant),
        snapshot=request.snapshot,
        rows=table.num_rows,
        gaps=completeness.by_verdict(gaps),
        sources=_shares(raw.column("source")),
        rejected_rows=known["rejected"],
        content_hash=content_hash(table if request.form == "long" else frames.without_empty_rows(table)),
        code_version=code_version(),
        schema_version=known["schema_version"],
        adjust=request.adjust,
        edges=[edge.plain() for edge in request.edges],
        doubled_slots=len(doubled),
    )
    return Answer(table, gaps, doubled, receipt)


def again(receipt: Receipt) -> Request:
    """The request that gives the rows of a receipt, as of its instant."""
    start, end, as_of = (dt.datetime.fromisoformat(text) for text in (receipt.start, receipt.end, receipt.as_of))
    return Request(
        receipt.dataset, tuple(receipt.instruments), receipt.is_many, receipt.interval, start, end,
        tuple(receipt.columns), as_of, receipt.snapshot, receipt.fill, receipt.form,
        receipt.adjust, tuple(Edge(**edge) for edge in receipt.edges),
    )  # fmt: skip


def _rows(client: Client, request: Request, bounds: dict[str, Any]) -> pa.Table:
    dataset = READABLE[request.dataset]
    needed = [name for name in request.columns if name != "source"]
    if request.fill == "forward" and "close" not in needed:
        needed.append("close")
    if request.made_of and minutes.COMPLETE not in needed:
        needed.append(minutes.COMPLETE)
    names = needed + ["nothing"] * (SLOTS - len(needed))
    slots = {f"c{n}": name for n, name in enumerate(names)}
    slots["key"] = "nothing" if len(request.instruments) == 1 else "instrument_id"
    if request.as_of:
        table = statements.stream(client, f"{dataset.reads}_as_of", **bounds, **slots, as_of=request.as_of)
    else:
        table = statements.stream(client, dataset.reads, **bounds, **slots)
    table = table.select(list(range(3 + len(needed))))
    return table.rename_columns(["key", "timestamp", "source", *needed])


def asked_of(client: Client, bounds: dict[str, Any], as_of: dt.datetime) -> list[tuple[int, str, int, int]]:
    """What was asked and answered by a moment, as `completeness.Ledger` has it. Raises WarehouseDown."""
    found = statements.rows(client, "reads/asked_as_of", **bounds, as_of=as_of)
    return [(row["instrument_id"], row["status"], row["from_ms"], row["until_ms"]) for row in found]


def _shares(source: pa.ChunkedArray) -> dict[str, float]:
    counts = sorted((str(item["values"]), item["counts"]) for item in pc.value_counts(source).to_pylist())
    return {name: count / len(source) for name, count in counts}


def _iso(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
