"""A file of trades into Arrow columns on disk, an hour a part: the same values that REST's records become.

A day of a busy market is millions of rows, so a file is read in blocks and never held whole. Nothing of it is given
away before its last row was seen: it is believed as a whole or not at all. What a file may be is checked as of bars:
one member of its own name, one unit of time, rows within the span that it is named after. Rows that are the same in
all are one row, and counted; two values of one id discredit the file. Where the venue counts its trades, ids that are
left out between two rows are noted. What no number was meant to be takes the way of REST's records and ends up in
`metadata` as it does there.
"""

import gzip
import zipfile
import zlib
from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from alphaforge_assets.errors import VenueUnavailable
from alphaforge_assets.venues.bars import Window
from alphaforge_assets.venues.klines_file import (
    TIMES_UNPACKED_MAX,
    Unit,
    header_of,
    member_of,
    unit_of,
)
from alphaforge_assets.venues.trade_rows import TIME_US, TRADE_SCHEMA, Kind, TradeLayout, parse_trades
from alphaforge_assets.venues.trades import HOUR_MS, contradictions_ms, distinct

# Of four times as much memory keeps a hundred megabytes more, for a tenth of the time.
BLOCK_BYTES = 1 << 20
HOUR_US = HOUR_MS * 1000
# Rows go on in time but for moments, so that few hours are open at once.
OPEN_PARTS_MAX = 3
_NUMBERS = ("price", "quantity", "quote_quantity")
_IDS = ("trade_id", "first_id", "last_id")
_WRITTEN = pa.ipc.IpcWriteOptions(compression="lz4")


@dataclass(frozen=True)
class TradeFormat:
    """What stands where in a row of a venue's files.

    `fields` are columns of TRADE_SCHEMA, or names of the venue's own, which say nothing while they hold what `usual`
    has: True and False are told by the words of `sides`, anything else by its text. `sides` are the words of the field
    `side`: what the taker did, or whether the buyer was the maker.
    """

    kind: Kind
    fields: tuple[str, ...]
    sides: Mapping[str, str]
    usual: Mapping[str, Any] = field(default_factory=dict)

    @property
    def layout(self) -> TradeLayout:
        """The same for REST's way of reading, whose records have the names of the columns."""
        keys = {name: name for name in self.fields if name in TRADE_SCHEMA.names and name != "side"}
        return TradeLayout(self.kind, keys, side="side", sides=self.sides, usual=self.usual, time_units_a_ms=1000)


@dataclass(frozen=True)
class ExpectedTrades:
    """What a file should be: `stem` is its name without its ending, `span` what it is named after."""

    stem: str
    format: TradeFormat
    span: Window
    size: int


@dataclass
class TradesRead:
    """The trades of a file, by the hour on disk, and what was noticed of it.

    `holes` are the times (ms) of the trades before and after ids that are left out.
    """

    parts: "Parts"
    has_header: bool = False
    time_unit: Unit = "ms"
    rows: int = 0
    duplicates: int = 0
    first_us: int = 0
    last_us: int = 0
    first_id: int = 0
    last_id: int = 0
    holes: list[tuple[int, int]] = field(default_factory=list)


class Parts:
    """Trades by the hour in files of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._paths: dict[int, list[Path]] = defaultdict(list)
        self._open: OrderedDict[int, pa.RecordBatchFileWriter] = OrderedDict()
        self._count = 0
        folder.mkdir()

    def add(self, table: pa.Table) -> None:
        """Write trades to the parts of their hours."""
        hours = table["timestamp"].cast(pa.int64()).to_numpy() // HOUR_US
        first, last = int(hours.min()), int(hours.max())
        if first == last:
            self._writer(first).write_table(table)
            return
        for hour in np.unique(hours):
            self._writer(int(hour)).write_table(table.filter(pa.array(hours == hour)))

    def finish(self) -> None:
        """All that was added can be read from now on."""
        while self._open:
            self._open.popitem()[1].close()

    @property
    def hours(self) -> list[int]:
        """Hours since 1970 that have trades, ascending."""
        return sorted(self._paths)

    def read(self, hour: int) -> pa.Table:
        """The trades of an hour, in the order they were added."""
        tables = [TRADE_SCHEMA.empty_table()]
        for path in self._paths.get(hour, ()):
            with pa.OSFile(str(path)) as source:
                tables.append(pa.ipc.open_file(source).read_all())
        return pa.concat_tables(tables)

    def drop(self, hour: int) -> None:
        """Nobody asks for it any more."""
        for path in self._paths.pop(hour, ()):
            path.unlink(missing_ok=True)

    def replace(self, hour: int, table: pa.Table) -> None:
        """Other trades of an hour."""
        self.drop(hour)
        self._writer(hour).write_table(table)
        self._open.pop(hour).close()

    def _writer(self, hour: int) -> pa.RecordBatchFileWriter:
        if hour not in self._open:
            self._count += 1
            path = self._folder / f"{hour}-{self._count}.arrow"
            self._open[hour] = pa.ipc.new_file(str(path), TRADE_SCHEMA, options=_WRITTEN)
            self._paths[hour].append(path)
            if len(self._open) > OPEN_PARTS_MAX:
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end(hour)
        return self._open[hour]


def read_trades(path: Path, expected: ExpectedTrades, folder: Path) -> TradesRead:
    """The trades of a zip or gz file, in parts below `folder`, which is made.

    Raises VenueUnavailable naming what keeps it from being what it should be.
    """
    name = f"{expected.stem}{path.suffix}"
    folder.mkdir()
    try:
        try:
            with _unpacked(path, expected) as stream:
                found = _read(stream, expected, Parts(folder / "columns"), in_texts=False)
        except pa.ArrowInvalid:  # something that is no number, or a row of another length
            with _unpacked(path, expected) as stream:
                found = _read(stream, expected, Parts(folder / "texts"), in_texts=True)
    except (zipfile.BadZipFile, EOFError, OSError, RuntimeError, zlib.error, NotImplementedError) as error:
        raise VenueUnavailable(f"{name} cannot be read whole ({type(error).__name__}: {error})") from error
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise VenueUnavailable(f"{name} has rows that are no trades ({str(error)[:200]})") from error
    return found


@contextmanager
def _unpacked(path: Path, expected: ExpectedTrades) -> Iterator[IO[bytes]]:
    """The text of a zip file with one member, or of a gz file."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive, archive.open(member_of(archive, expected.stem, expected.size)) as text:
            yield text
    else:
        with gzip.open(path) as text:
            yield cast(IO[bytes], text)


def _read(stream: IO[bytes], expected: ExpectedTrades, parts: Parts, *, in_texts: bool) -> TradesRead:
    found = TradesRead(parts)
    found.has_header, stream = header_of(stream, expected.stem)
    unit: Unit | None = None
    is_ascending, size = True, 0
    for batch in _batches(stream, expected.format, has_header=found.has_header, in_texts=in_texts):
        size += batch.nbytes
        if size > expected.size * TIMES_UNPACKED_MAX * 2:  # zip says beforehand what it unpacks to, gz does not
            raise VenueUnavailable(f"{expected.stem} of {expected.size} bytes unpacks to more than a file of numbers")
        times = batch["timestamp"].cast(pa.int64())
        unit = unit_of(times, unit, expected.stem)
        times = times if unit == "us" else pc.multiply(times, 1000)
        table = _in_words(batch, times, expected.format) if in_texts else _in_columns(batch, times, expected.format)
        _check_span(times, expected)
        is_ascending = _noted(found, table) and is_ascending
        parts.add(table)
    parts.finish()
    found.time_unit = unit or "ms"
    return found if is_ascending else _ordered(found, expected)


def _batches(stream: IO[bytes], its: TradeFormat, *, has_header: bool, in_texts: bool) -> Iterator[pa.RecordBatch]:
    types = dict.fromkeys(its.fields, pa.string()) if in_texts else {name: _type(name, its) for name in its.fields}
    words = [[word for word, side in its.sides.items() if side == wanted] for wanted in ("sell", "buy")]
    try:
        reader = pacsv.open_csv(
            stream,
            pacsv.ReadOptions(
                use_threads=False, block_size=BLOCK_BYTES, skip_rows=int(has_header), column_names=list(its.fields)
            ),
            pacsv.ParseOptions(quote_char=False),
            pacsv.ConvertOptions(
                column_types=types,
                null_values=[],
                strings_can_be_null=False,
                true_values=words[0],
                false_values=words[1],
            ),
        )
    except pa.ArrowInvalid as error:
        if "Empty CSV" in str(error):
            return
        raise
    yield from (batch for batch in reader if batch.num_rows)


def _type(name: str, its: TradeFormat) -> pa.DataType:
    if name == "timestamp" or name in _IDS:
        return pa.int64()
    if name in _NUMBERS:
        return pa.float64()
    return pa.bool_() if name == "side" or isinstance(its.usual.get(name), bool) else pa.string()


def _in_columns(batch: pa.RecordBatch, times: pa.Array, its: TradeFormat) -> pa.Table:
    """The fast way. Raises pa.ArrowInvalid where a value is not of its column."""
    columns = {name: batch[name] for name in its.fields}
    for name in _NUMBERS:
        if name in columns and not pc.all(pc.is_finite(columns[name])).as_py():
            raise pa.ArrowInvalid("a number that is none")
    ids = {name: columns[name] for name in _IDS if name in columns}
    if any(pc.min(column).as_py() < 0 for column in ids.values()):
        raise pa.ArrowInvalid("a negative id")
    named = {name: columns[name] for name in (*_NUMBERS, "trade_uuid") if name in columns}
    named |= {name: column.cast(pa.uint64()) for name, column in ids.items()}
    named |= {name: named["trade_id"] for name in ("first_id", "last_id") if name not in named}
    named |= {
        "timestamp": times.view(TIME_US),
        "side": pc.if_else(columns["side"], "sell", "buy"),
        "metadata": _metadata(columns, its),
    }
    constants = {"trade_kind": its.kind, "trade_uuid": ""}
    for name, value in constants.items():
        named.setdefault(name, pa.repeat(pa.scalar(value), batch.num_rows))
    missing = {f.name: pa.nulls(batch.num_rows, f.type) for f in TRADE_SCHEMA if f.name not in named}
    return pa.table(named | missing, schema=TRADE_SCHEMA)


def _metadata(columns: Mapping[str, pa.Array], its: TradeFormat) -> pa.Array:
    """'' or JSON of the field of the venue's own that is not as usual: of more than one the row is read as REST's."""
    texts = pa.repeat(pa.scalar(""), len(columns["timestamp"]))
    odd = None
    for name, usual in its.usual.items():
        is_usual = pc.equal(columns[name], pa.scalar(usual))
        if pc.all(is_usual).as_py():
            continue
        if odd is not None or not isinstance(usual, bool):
            raise pa.ArrowInvalid("a field of the venue's own that is not as usual")
        odd = name
        said = f'{{"{name}":{str(not usual).lower()}}}'
        texts = pc.if_else(is_usual, texts, said)
    return texts


def _in_words(batch: pa.RecordBatch, times: pa.Array, its: TradeFormat) -> pa.Table:
    """The way of REST's records, a row at a time, for a file that has some which are not as they should be."""
    columns = {name: batch[name].to_pylist() for name in its.fields}
    columns["timestamp"] = times.to_pylist()
    for name, usual in its.usual.items():
        if isinstance(usual, bool):
            columns[name] = [{"sell": True, "buy": False}.get(its.sides.get(text, ""), text) for text in columns[name]]
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return parse_trades(its.layout, rows, "")


def _check_span(times: pa.Array, expected: ExpectedTrades) -> None:
    extent = pc.min_max(times)
    first, last = extent["min"].as_py(), extent["max"].as_py()
    if not expected.span.start_ms * 1000 <= first <= last < expected.span.end_ms * 1000:
        raise VenueUnavailable(f"{expected.stem} has rows of {first} to {last} us: not of the span it is named after")


def _noted(found: TradesRead, table: pa.Table) -> bool:
    """Add to what is known of a file; whether its ids still rise."""
    ids, times = (table[name].cast(pa.int64()).to_numpy() for name in ("trade_id", "timestamp"))
    if found.rows:
        ids, times = np.concatenate([[found.last_id], ids]), np.concatenate([[found.last_us], times])
    else:
        found.first_id, found.first_us = int(ids[0]), int(times.min())
    steps = np.diff(ids)
    after = np.flatnonzero(steps > 1)
    found.holes += [(int(a) // 1000, int(b) // 1000) for a, b in zip(times[after], times[after + 1], strict=True)]
    found.rows += table.num_rows
    found.last_id, found.last_us = int(ids[-1]), int(times[-1])
    return not len(steps) or bool(steps.min() > 0)


def _ordered(found: TradesRead, expected: ExpectedTrades) -> TradesRead:
    """The same of a file whose rows repeat or go back: each hour in order of its ids, what is the same in all once."""
    again = TradesRead(found.parts, found.has_header, found.time_unit)
    for hour in found.parts.hours:
        table = distinct(found.parts.read(hour))
        if told := contradictions_ms(table):
            raise VenueUnavailable(
                f"{expected.stem} says two things of trades of {len(told)} ms: it contradicts itself"
            )
        _noted(again, table)
        found.parts.replace(hour, table)
    again.duplicates = found.rows - again.rows
    return again
