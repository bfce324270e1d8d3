"""A user's files through the pipeline: all of them read and found sound first, then landed with their ledger rows.

A file is nobody's answer. Its batches are `given` in the ledger, not `complete`: what it leaves out was not asked, and
the venue is still asked for its span, whose word outranks it.
"""

import datetime as dt
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
from clickhouse_connect.driver.client import Client

from alphaforge_assets.datasets.dataset import Dataset
from alphaforge_assets.errors import BadInput
from alphaforge_assets.ingest.files import DataFile, look
from alphaforge_assets.ingest.mapping import Mapping, TradeMapping, dataset_of
from alphaforge_assets.ingest.reading import Problems, blocks, worded
from alphaforge_assets.ingest.rows import Series, Task, fields_of, rows_of
from alphaforge_assets.ingest.spool import Chapter, Spool
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.pipeline.mart import Lock, publish
from alphaforge_assets.pipeline.staging import stage
from alphaforge_assets.quality.coverage import judge
from alphaforge_assets.universe import Instrument, Universe
from alphaforge_assets.venues.directory import VENUES, Exchanges
from alphaforge_assets.venues.source import Cost
from alphaforge_assets.warehouse import statements
from alphaforge_assets.warehouse.batches import Answer, append, batch_id
from alphaforge_assets.warehouse.origins import refuse_mixing

SOURCE = "file"  # as in the rows and in the ledger; without a place in the ranks of the judged views it is the lowest
PROBLEMS_SHOWN_MAX = 20
ROWS_PER_FLUSH = 250_000
HEAD_ROWS = 5
Progress = Callable[[int], None]


@dataclass(frozen=True)
class Told:
    """What a file has of a series: how many rows, from the first to behind the last one."""

    rows: int
    start: dt.datetime
    end: dt.datetime

    def __add__(self, other: "Told") -> "Told":
        return Told(self.rows + other.rows, min(self.start, other.start), max(self.end, other.end))


@dataclass
class Prepared:
    """A file that was read: what it has, on disk and in figures, its first rows, and what is wrong with it."""

    path: Path
    file: DataFile | None = None
    spool: Spool | None = None
    told: dict[Series, Told] = field(default_factory=dict)
    repeated: int = 0
    head: list[tuple[Series, pa.Table]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    problem_count: int = 0


@dataclass
class Brought:
    """What came of files: new rows and batches, batches that were there, the days of instruments they are of."""

    rows: int = 0
    batches: int = 0
    known: int = 0
    days: dict[Instrument, tuple[dt.date, dt.date]] = field(default_factory=dict)


def prepare(
    path: Path, mapping: Mapping, universe: Universe, now: dt.datetime, folder: Path, progress: Progress
) -> Prepared:
    """Read a file into `folder`. What is wrong with it is told, not raised. Raises Permanent for a full disk."""
    its = Prepared(path)
    problems = Problems(PROBLEMS_SHOWN_MAX)
    try:
        its.file = file = look(path, mapping.format)
    except BadInput as error:
        its.problems, its.problem_count = [str(error)], 1
        return its
    try:
        its.spool = spool = Spool(folder / f"{file.sha256[:16]}-{path.name}.rows", dataset_of(mapping).chunk)
        task = Task(mapping, universe, now, file.written_at, problems)
        for block in blocks(file, fields_of(mapping), mapping.csv, problems, folder, progress):
            for series, rows in rows_of(task, block):
                if not problems.count:  # of a file that is refused nothing is kept
                    spool.add(series, rows)
        if not problems.count:
            for chapter in spool.chapters():
                _take_note(its, chapter, problems)
            for instrument in {instrument for instrument, _ in its.told}:
                if said := _other_kind(mapping, instrument):
                    problems.add(said)
            if not its.told and not problems.count:
                problems.add("is empty: it has no rows")
        its.problems = worded(file, mapping.csv, problems)
    except BadInput as error:  # the file as a whole
        its.problems = [str(error)]
        problems.count += 1
    its.problem_count = problems.count
    return its


def _take_note(its: Prepared, chapter: Chapter, problems: Problems) -> None:
    window = chapter.window
    series, told = (window.instrument, window.interval), Told(chapter.rows.num_rows, window.start, window.end)
    its.told[series] = its.told[series] + told if series in its.told else told
    its.repeated += chapter.repeated
    if sum(rows.num_rows for _, rows in its.head) < HEAD_ROWS:
        its.head.append((series, chapter.rows.slice(0, HEAD_ROWS)))
    if chapter.fault:
        problems.add(chapter.fault)


def _other_kind(mapping: Mapping, instrument: Instrument) -> str:
    """Why trades of this kind would hide those of the venue; "" if they would not."""
    feed = VENUES[instrument.venue].trades
    if not isinstance(mapping, TradeMapping) or feed is None or feed.layout.kind == mapping.kind:
        return ""
    return (
        f"{instrument.key}: the venue tells {feed.layout.kind} trades and these are {mapping.kind} ones: of an"
        " instrument one kind is read, the first that comes, and these would hide the venue's"
    )


def land(
    client: Client,
    exchanges: Exchanges,
    mapping: Mapping,
    mapping_name: str,
    files: Sequence[Prepared],
    *,
    run_id: str,
    progress: Progress,
) -> Brought:
    """Land what files have and the ledger does not know of. `progress` is told of rows.

    Raises BadInput for trades that would be there twice, or be hidden; Permanent for a warehouse that others feed,
    WarehouseDown, WarehouseRefused.
    """
    refuse_mixing(client, exchanges.origin)
    for its in files:
        _refuse_hiding(client, mapping, its)
    brought = Brought()
    for its in files:
        for (instrument, _), told in its.told.items():
            start, end = told.start.date(), (told.end - dt.timedelta(milliseconds=1)).date() + dt.timedelta(days=1)
            low, high = brought.days.get(instrument, (start, end))
            brought.days[instrument] = min(low, start), max(high, end)
        for answers in _portions(_answers(its, mapping, mapping_name)):
            _land(client, exchanges, dataset_of(mapping).name, answers, run_id, brought)
            progress(sum(a.rows.num_rows for a in answers))
    return brought


def publish_days(client: Client, brought: Brought, dataset: Dataset, universe: Universe, lock: Lock) -> None:
    """Stage, publish and judge the days that files are of, whether they brought anything new or not.

    Raises WarehouseDown, WarehouseRefused.
    """
    intervals = dataset.intervals(universe)
    for instrument, (start, end) in brought.days.items():
        part = Rectangle((instrument,), start, end)
        stage(client, part, dataset, intervals)
        with lock(dataset):
            publish(client, part, dataset, intervals)
        judge(client, part, dataset, universe, now=dt.datetime.now(dt.UTC))


def _refuse_hiding(client: Client, mapping: Mapping, its: Prepared) -> None:
    if not isinstance(mapping, TradeMapping):
        return
    is_numbered = mapping.columns.trade_id is not None
    for (instrument, _), told in its.told.items():
        ids = [instrument.instrument_id]
        read = statements.rows(client, "reads/published_series", dataset="trades", instruments=ids)
        if read and read[0]["series"] != mapping.kind:
            raise BadInput(
                f"{its.path}: {instrument.key} is read by its {read[0]['series']} trades, and these are {mapping.kind}"
                " ones, which nobody would see: bring the other kind"
            )
        (other,) = statements.rows(
            client,
            "reads/trades_known_otherwise",
            instrument=instrument.instrument_id,
            is_numbered=is_numbered,
            start=told.start,
            end=told.end,
        )
        if other["trades"]:
            raise BadInput(
                f"{its.path}: {instrument.key} has {other['trades']} trades {'without' if is_numbered else 'with'}"
                f" numbers from {other['first']:%Y-%m-%d %H:%M} to {other['last']:%Y-%m-%d %H:%M}, and these are"
                f" {'with' if is_numbered else 'without'}: the same trades would be there twice"
            )


def _answers(its: Prepared, mapping: Mapping, mapping_name: str) -> Iterator[Answer]:
    """The windows of a file, as the ledger and landing take them."""
    if its.file is None or its.spool is None:
        return
    told = json.dumps({"file": its.path.name, "sha256": its.file.sha256, "mapping": mapping_name})
    counts = isinstance(mapping, TradeMapping) and mapping.columns.trade_id is not None
    given = Answer(
        next(its.spool.chapters()).window,
        pa.table({}),
        dt.datetime.now(dt.UTC),
        Cost(),
        SOURCE,
        id=dataset_of(mapping).id if counts else "",
        status="given",
        evidence=told,
    )
    for chapter in its.spool.chapters():
        yield replace(given, window=chapter.window, rows=chapter.rows)


def _portions(answers: Iterator[Answer]) -> Iterator[list[Answer]]:
    """Answers of one venue, as many as are worth an insert."""
    some: list[Answer] = []
    for answer in answers:
        other = some and some[0].window.instrument.venue != answer.window.instrument.venue
        if some and (other or sum(a.rows.num_rows for a in some) >= ROWS_PER_FLUSH):
            yield some
            some = []
        some.append(answer)
    if some:
        yield some


def _land(
    client: Client, exchanges: Exchanges, name: str, answers: Sequence[Answer], run_id: str, brought: Brought
) -> None:
    ids = {batch_id(name, answer, SOURCE): answer for answer in answers}
    known = {str(row["batch_id"]) for row in statements.rows(client, "reads/known_batches", batches=list(ids))}
    new = [answer for its, answer in ids.items() if its not in known]
    if new:
        lock = exchanges.writing(new[0].window.instrument.venue, name)
        brought.rows += append(client, name, new, origin=exchanges.origin, source=SOURCE, run_id=run_id, lock=lock)
    brought.batches += len(new)
    brought.known += len(known)
