"""What a venue said to a window: batches, how they come into landing and the ledger, and what got no answer."""

import datetime as dt
import hashlib
import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
from clickhouse_connect.driver.client import Client

from alphaforge_assets.failpoints import passing
from alphaforge_assets.venues.source import Cost, FileSeen, Span
from alphaforge_assets.warehouse import statements
from alphaforge_assets.warehouse.content import content_hash
from alphaforge_assets.warehouse.windows import Window, minus, spans_of

ROWS_PER_INSERT_MAX = 1_000_000
# complete: the venue answered for the whole window; given: rows of a file, which say nothing of what lies between them.
Status = Literal["complete", "given"]


@dataclass(frozen=True)
class Answer:
    """A venue's answer to one window: its rows as the schema of its dataset in venues/, and what the asking cost.

    `source` and `files` are as of `Fetched`.
    """

    window: Window
    rows: pa.Table
    answered_at: dt.datetime
    cost: Cost
    source: str = ""
    files: tuple[FileSeen, ...] = ()
    id: str = ""  # the column by which the venue counts its rows, if it does
    raw: bytes = b""  # what it said, word for word, where that is kept
    status: Status = "complete"
    evidence: str = ""  # of what was given: the file it is from
    lacks: tuple[Span, ...] | None = None  # as of `Fetched`


@dataclass(frozen=True)
class Failure:
    """A window that got no usable answer, and why."""

    window: Window
    answered_at: dt.datetime
    error: str
    evidence: str = ""
    files: tuple[FileSeen, ...] = ()


@dataclass(frozen=True)
class _Batch:
    batch_id: str
    content_hash: str
    answer: Answer
    source: str


def batch_id(dataset: str, answer: Answer, source: str) -> str:
    """The identity of an answer: the same one gives the same."""
    return _batch(dataset, answer, source).batch_id


def append(
    client: Client,
    dataset: str,
    answers: Sequence[Answer],
    *,
    origin: str,
    source: str,
    run_id: str,
    lock: AbstractContextManager[object],
) -> int:
    """Write answers to landing, then to the ledger. Returns the number of rows.

    `source` is that of answers which name none. Each insert holds whole batches of one month and at most
    ROWS_PER_INSERT_MAX rows. A batch that landing has is not written again, whatever came with it when it landed: a
    retry of the client is known by the insert's token, that of a killed run or of another run at the same time by
    looking, and `lock` is held from the look to the insert. Raises WarehouseDown, WarehouseRefused.
    """
    months: dict[tuple[int, int], list[_Batch]] = defaultdict(list)
    for answer in sorted(answers, key=lambda a: a.window):
        months[answer.window.start.year, answer.window.start.month].append(_batch(dataset, answer, source))
    for batches in months.values():
        for group in _groups(batches):
            passing("landing.before")
            with lock:
                landed = _landed(client, dataset, group)
                new = [b for b in group if b.answer.rows.num_rows and b.batch_id not in landed]
                if new:
                    rows = pa.concat_tables(map(_landing_rows, new)).unify_dictionaries()
                    statements.insert(client, f"landing_{dataset}", rows, _token(new))
            passing("landing.after")
            ledger = [_ledger_row(dataset, b, origin, run_id) for b in group]
            statements.insert(client, "ingest_batches", pa.Table.from_pylist(ledger, _LEDGER), _token(group))
            passing("ledger.after")
    return sum(a.rows.num_rows for a in answers)


def record_failures(
    client: Client, dataset: str, failures: Sequence[Failure], *, origin: str, source: str, run_id: str
) -> None:
    """Write failed windows to the ledger, with the evidence. Raises WarehouseDown, WarehouseRefused."""
    if not failures:
        return
    passing("failures.before")
    ledger = [
        _window_fields(dataset, f.window)
        | {
            "batch_id": str(uuid.uuid4()),
            "status": "failed",
            "origin": origin,
            "source": source,
            "error": f.error,
            "evidence": f.evidence,
            "run_id": run_id,
            "recorded_at": f.answered_at,
        }
        for f in failures
    ]
    statements.insert(client, "ingest_batches", pa.Table.from_pylist(ledger, _LEDGER), str(uuid.uuid4()))


def record_unserved(
    client: Client, dataset: str, windows: Sequence[Window], *, origin: str, source: str, run_id: str
) -> None:
    """Write windows that nobody serves any more to the ledger, if they are new. Nobody was asked, so nothing failed.

    Raises WarehouseDown, WarehouseRefused.
    """
    spans = spans_of(client, "reads/unserved_windows", dataset, windows)
    new = [
        Window(w.instrument, w.interval, start, end)
        for w in windows
        for start, end in minus((w.start, w.end), spans[w.instrument.instrument_id, w.interval])
    ]
    now = dt.datetime.now(dt.UTC)
    ledger = [
        _window_fields(dataset, w)
        | {
            "batch_id": str(uuid.uuid4()),
            "status": "unserved",
            "origin": origin,
            "source": source,
            "run_id": run_id,
            "recorded_at": now,
        }
        for w in new
    ]
    if ledger:
        statements.insert(client, "ingest_batches", pa.Table.from_pylist(ledger, _LEDGER), str(uuid.uuid4()))


def _groups(batches: Sequence[_Batch]) -> Iterable[list[_Batch]]:
    group: list[_Batch] = []
    size = 0
    for batch in batches:
        if group and size + batch.answer.rows.num_rows > ROWS_PER_INSERT_MAX:
            yield group
            group, size = [], 0
        group.append(batch)
        size += batch.answer.rows.num_rows
    if group:
        yield group


def _batch(dataset: str, answer: Answer, source: str) -> _Batch:
    w, source = answer.window, answer.source or source
    content = content_hash(answer.rows)
    identity = [
        dataset,
        w.instrument.key,
        w.interval,
        w.start.isoformat(),
        w.end.isoformat(),
        source,
        w.follows,
        content,
    ]
    digest = hashlib.sha256("|".join(identity).encode()).digest()
    return _Batch(str(uuid.UUID(bytes=digest[:16])), content, answer, source)


def _token(batches: Sequence[_Batch]) -> str:
    return hashlib.sha256("".join(b.batch_id for b in batches).encode()).hexdigest()


def _landed(client: Client, dataset: str, batches: Sequence[_Batch]) -> set[str]:
    """Which batches landing has: an insert is whole or not there, so a row of one stands for all of it."""
    extents = [pc.min_max(b.answer.rows["timestamp"]).as_py() for b in batches if b.answer.rows.num_rows]
    if not extents:
        return set()
    found = statements.rows(
        client,
        "reads/landed_batches",
        landing=f"landing_{dataset}",
        instruments=sorted({b.answer.window.instrument.instrument_id for b in batches}),
        start=min(e["min"] for e in extents),
        end=max(e["max"] for e in extents),
        batches=[b.batch_id for b in batches],
    )
    return {str(row["batch_id"]) for row in found}


def _landing_rows(batch: _Batch) -> pa.Table:
    """The answer's rows with the columns that say where they came from."""
    answer = batch.answer
    count = answer.rows.num_rows
    constants = {
        "venue": answer.window.instrument.venue,
        "symbol": answer.window.instrument.symbol,
        **({"interval": answer.window.interval} if answer.window.interval else {}),  # what has no grid has no column
        "source": batch.source,
        "batch_id": batch.batch_id,
    }
    rows = answer.rows
    for name, value in constants.items():
        rows = rows.append_column(
            name, pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), count), [value])
        )
    return rows.append_column("ingested_at", pa.repeat(pa.scalar(answer.answered_at, pa.timestamp("ms", "UTC")), count))


_LEDGER = pa.schema(
    [
        ("batch_id", pa.string()),
        ("dataset", pa.string()),
        ("venue", pa.string()),
        ("symbol", pa.string()),
        ("interval", pa.string()),
        ("window_start", pa.timestamp("ms", "UTC")),
        ("window_end", pa.timestamp("ms", "UTC")),
        ("status", pa.string()),
        ("row_count", pa.uint64()),
        ("first_id", pa.uint64()),
        ("last_id", pa.uint64()),
        ("content_hash", pa.string()),
        ("source", pa.string()),
        ("origin", pa.string()),
        ("requests", pa.uint32()),
        ("weight", pa.uint32()),
        ("retries", pa.uint32()),
        ("waited_s", pa.float64()),
        ("error", pa.string()),
        ("evidence", pa.string()),
        ("run_id", pa.string()),
        ("recorded_at", pa.timestamp("ms", "UTC")),
    ]
)


def _window_fields(dataset: str, window: Window) -> dict[str, object]:
    return {
        "dataset": dataset,
        "venue": window.instrument.venue,
        "symbol": window.instrument.symbol,
        "interval": window.interval,
        "window_start": window.start,
        "window_end": window.end,
        "row_count": 0,
        "content_hash": "",
        "requests": 0,
        "weight": 0,
        "retries": 0,
        "waited_s": 0.0,
        "error": "",
        "evidence": "",
    }


def _extent(answer: Answer) -> dict[str, int]:
    """The lowest and highest id of an answer."""
    extent = pc.min_max(answer.rows[answer.id]).as_py() if answer.id and answer.rows.num_rows else {}
    return {"first_id": extent["min"], "last_id": extent["max"]} if extent else {}


def _ledger_row(dataset: str, batch: _Batch, origin: str, run_id: str) -> dict[str, object]:
    answer = batch.answer
    return _window_fields(dataset, answer.window) | {
        "batch_id": batch.batch_id,
        "status": answer.status,
        "evidence": answer.evidence,
        "row_count": answer.rows.num_rows,
        **_extent(answer),
        "content_hash": batch.content_hash,
        "source": batch.source,
        "origin": origin,
        **asdict(answer.cost),
        "run_id": run_id,
        "recorded_at": dt.datetime.now(dt.UTC),
    }
