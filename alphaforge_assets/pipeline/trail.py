"""The raw trail: what venues said of trades, word for word, in files, before any row of it is in the warehouse.

<venue>/<BASE-QUOTE>/<day>/<first id>-<last id>-<trades>-<sha256, 16 digits>.jsonl.zst: the same answer twice is the
same file, and no file is ever changed. `replay` makes landing of them again, by the same reading as when they came.
"""

import datetime as dt
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from clickhouse_connect.driver.client import Client

from alphaforge_assets.datasets.trades import TRADES
from alphaforge_assets.errors import BadInput, Permanent
from alphaforge_assets.universe import Instrument, instrument_of
from alphaforge_assets.venues import words
from alphaforge_assets.venues.bars import Window as Span
from alphaforge_assets.venues.directory import VENUES, Exchanges
from alphaforge_assets.venues.source import Cost
from alphaforge_assets.venues.trade_rows import TRADE_SCHEMA, parse_trades
from alphaforge_assets.venues.trades import distinct, inside, reached
from alphaforge_assets.warehouse import statements
from alphaforge_assets.warehouse.batches import Answer, append, batch_id
from alphaforge_assets.warehouse.origins import refuse_mixing
from alphaforge_assets.warehouse.windows import Window

ENDING = ".jsonl.zst"
FILES_AT_ONCE = 16


@dataclass(frozen=True)
class Replayed:
    """What a replay did: files read, trades brought, and the days of instruments that they are of."""

    files: int
    rows: int
    days: dict[Instrument, tuple[dt.date, dt.date]]


def keep(root: Path | None, answers: Iterable[Answer]) -> None:
    """Write the words of answers, those that came with any; none without a folder. Raises Permanent if it cannot be."""
    for answer in answers:
        if root is None or not answer.raw or not answer.rows.num_rows:
            continue
        extent = pc.min_max(answer.rows["trade_id"])
        instrument, day = answer.window.instrument, answer.window.start.date()
        folder = root / instrument.venue / instrument.symbol.replace("/", "-") / day.isoformat()
        digest = _digest(folder, answer.raw)
        path = folder / f"{extent['min'].as_py()}-{extent['max'].as_py()}-{answer.rows.num_rows}-{digest}{ENDING}"
        try:
            _write(path, answer.raw)
        except OSError as error:
            raise Permanent(
                f"ALPHAFORGE_RAW {path.parent}: {error.strerror or error}; nothing was landed: make room, or name"
                " another folder"
            ) from error


def _digest(folder: Path, content: bytes) -> str:
    """Of what was said, and of whom and when: the same words in another's folder are no words of that one."""
    return hashlib.sha256("/".join(folder.parts[-3:]).encode() + b"\0" + content).hexdigest()[:16]


def _write(path: Path, content: bytes) -> None:
    """The whole file or none; one that is there already is the same."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    number, name = tempfile.mkstemp(prefix=".", dir=path.parent)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


def files(root: Path, keys: Sequence[str]) -> list[Path]:
    """Files of the trail, of `keys` (all if none is named), in order. Raises BadInput if there is no trail."""
    if not root.is_dir():
        raise BadInput(f"{root}: there is no such folder; ALPHAFORGE_RAW names where the raw trail is")
    found = sorted(root.glob(f"*/*/*/*{ENDING}"))
    return [path for path in found if not keys or key_of(path) in keys]


def key_of(path: Path) -> str:
    """The instrument's key."""
    return f"{path.parts[-4]}.{path.parts[-3]}"


def replay(client: Client, paths: Sequence[Path], exchanges: Exchanges, *, run_id: str) -> Replayed:
    """Land what files of the trail say and the ledger does not know of. Staging and publishing are the caller's.

    Raises BadInput for a file that is none of the trail, Permanent for a warehouse that others feed, WarehouseDown.
    """
    origin, name = exchanges.origin, TRADES.name
    refuse_mixing(client, origin)
    rows, days = 0, dict[Instrument, tuple[dt.date, dt.date]]()
    for some in _by_order(paths, origin):
        ids = {batch_id(name, answer, source): (answer, source) for answer, source in some}
        known = {str(r["batch_id"]) for r in statements.rows(client, "reads/known_batches", batches=list(ids))}
        for its, (answer, source) in ids.items():
            start, end = answer.window.start.date(), answer.window.start.date() + dt.timedelta(days=1)
            low, high = days.get(answer.window.instrument, (start, end))
            days[answer.window.instrument] = min(low, start), max(high, end)
            if its not in known:
                lock = exchanges.writing(answer.window.instrument.venue, name)
                rows += append(client, name, [answer], origin=origin, source=source, run_id=run_id, lock=lock)
    return Replayed(len(paths), rows, days)


def _by_order(paths: Sequence[Path], origin: str) -> Iterator[list[tuple[Answer, str]]]:
    """Answers of some files at once; what was asked again for a moment of a window comes after the window."""
    for n in range(0, len(paths), FILES_AT_ONCE):
        some = [_answer(path, origin) for path in paths[n : n + FILES_AT_ONCE]]
        yield sorted(some, key=lambda its: (its[0].window.start - its[0].window.end, its[0].window.start))


def _answer(path: Path, origin: str) -> tuple[Answer, str]:
    """What a file says, as it was when it came."""
    venue = VENUES.get(path.parts[-4])
    if venue is None or venue.trades is None:
        raise BadInput(f"{path}: {path.parts[-4]} is no venue of which we read trades")
    content = path.read_bytes()
    if not path.name.endswith(f"-{_digest(path.parent, content)}{ENDING}"):
        raise BadInput(
            f"{path}: is not what its name says, so it was changed, torn, or moved here from elsewhere: restore it, or"
            " remove it"
        )
    try:
        asked, rows = words.read(content)
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from error
    if asked["origin"] != origin:
        raise BadInput(f"{path}: was said by {asked['origin']} venues, and ALPHAFORGE_VENUES names {origin} ones")
    span = Span(asked["start_ms"], asked["end_ms"])
    table = parse_trades(venue.trades.layout, rows, str(asked["symbol"]), asked.get("contract_size"))
    span = reached(table, span) if venue.trades.is_recent else span
    table = distinct(inside(pa.concat_tables([TRADE_SCHEMA.empty_table(), table]), span))
    window = Window(instrument_of(key_of(path)), "", _moment(span.start_ms), _moment(span.end_ms))
    answer = Answer(window, table, dt.datetime.now(dt.UTC), Cost(), id=TRADES.id)
    return answer, str(asked["source"])


def _moment(ms: Any) -> dt.datetime:
    return dt.datetime.fromtimestamp(int(ms) / 1000, dt.UTC)
