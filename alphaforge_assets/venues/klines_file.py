"""A zip file of bars into Arrow columns, streamed: the same columns, value for value, that REST's rows become.

What a file may be is checked before it is believed: one member of the name it should have, no larger than a zip of
numbers can unpack to, one unit of time, rows within the span it is named after and as far apart as bars of its interval
are. A header is told by its first byte, the unit by magnitude (spot went to microseconds in 2025), never by a date.
Rows that are the same in all are one row, and counted; two that contradict each other discredit the file. What no
number was meant to be takes the way of REST's rows, a row at a time, and ends up in `metadata` as it does there.
"""

import csv
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from alphaforge_assets.errors import VenueUnavailable
from alphaforge_assets.venues.bars import Window, check_step
from alphaforge_assets.venues.columns import (
    BAR_SCHEMA,
    COUNTS,
    NUMBERS,
    TIME,
    TIME_MS_MAX,
    TIME_MS_MIN,
    Layout,
    in_time_order,
    parse_rows,
)

# Klines deflate to a fifth at best; what unpacks to more is no file of numbers.
TIMES_UNPACKED_MAX = 60
BLOCK_BYTES = 1 << 20
Unit = Literal["ms", "us"]
PER_MS: dict[Unit, int] = {"ms": 1, "us": 1000}


@dataclass(frozen=True)
class Read:
    """The bars of a file in time order, of BAR_SCHEMA, and what was noticed of it."""

    table: pa.Table
    has_header: bool
    time_unit: Unit
    duplicates: int


@dataclass(frozen=True)
class Expected:
    """What a file should be: `stem` is its name without `.zip`, `span` what it is named after."""

    stem: str
    layout: Layout
    interval_ms: int
    span: Window
    size: int
    closed_before_ms: int


def read_file(path: Path, expected: Expected) -> Read:
    """The bars of a zip file. Raises VenueUnavailable naming what keeps it from being what it should be."""
    try:
        with zipfile.ZipFile(path) as archive:
            member = member_of(archive, expected.stem, expected.size)
            try:
                with archive.open(member) as stream:
                    found = _read_columns(stream, expected)
            except pa.ArrowInvalid:  # something that is no number, or a row of another length
                with archive.open(member) as stream:
                    found = _read_rows(stream, expected)
    except (zipfile.BadZipFile, EOFError, OSError, RuntimeError, NotImplementedError, UnicodeDecodeError) as error:
        raise VenueUnavailable(f"{expected.stem}.zip is no whole zip file ({type(error).__name__}: {error})") from error
    return _checked(found, expected)


def member_of(archive: zipfile.ZipFile, stem: str, size: int) -> zipfile.ZipInfo:
    """The one member of a file of so many bytes. Raises VenueUnavailable where it is not as it should be."""
    members = archive.infolist()
    if len(members) != 1:
        raise VenueUnavailable(
            f"{stem}.zip has {len(members)} members, {', '.join(m.filename for m in members[:3])[:200]}: one"
            " was expected"
        )
    (member,) = members
    if member.filename != f"{stem}.csv":
        raise VenueUnavailable(f"{stem}.zip holds {member.filename[:200]!r}: it is of something else")
    if member.file_size > size * TIMES_UNPACKED_MAX:  # zipfile unpacks no more than the member says it is
        raise VenueUnavailable(
            f"{stem}.zip of {size} bytes unpacks to {member.file_size}: more than"
            f" {TIMES_UNPACKED_MAX} times as much, no file of numbers does"
        )
    return member


def header_of(stream: IO[bytes], stem: str) -> tuple[bool, IO[bytes]]:
    """Whether the first line is names; the stream from its beginning. Raises VenueUnavailable."""
    buffered = io.BufferedReader(cast(io.RawIOBase, stream), BLOCK_BYTES)
    first = buffered.peek(1)[:1]
    if first and not first.isdigit() and not first.isalpha():
        raise VenueUnavailable(f"{stem}.zip begins with {first!r}: neither a number nor a name")
    return first.isalpha(), buffered


def _read_columns(stream: IO[bytes], expected: Expected) -> Read:
    """The fast way. Raises pa.ArrowInvalid where a value is not of its column's type."""
    layout = expected.layout
    has_header, stream = header_of(stream, expected.stem)
    types = {name: _type(name) for name in layout.fields}
    try:
        reader = pacsv.open_csv(
            stream,
            pacsv.ReadOptions(
                use_threads=False, block_size=BLOCK_BYTES, skip_rows=int(has_header), column_names=list(layout.fields)
            ),
            pacsv.ParseOptions(quote_char=False),
            pacsv.ConvertOptions(column_types=types, null_values=[], strings_can_be_null=False),
        )
    except pa.ArrowInvalid as error:
        if "Empty CSV" in str(error):
            return Read(BAR_SCHEMA.empty_table(), has_header, "ms", 0)
        raise
    unit: Unit | None = None
    tables = []
    for batch in reader:
        if batch.num_rows:
            unit = unit_of(batch["timestamp"], unit, expected.stem)
            tables.append(_bars(batch, layout, unit, expected))
    return Read(pa.concat_tables([BAR_SCHEMA.empty_table(), *tables]), has_header, unit or "ms", 0)


def _type(name: str) -> pa.DataType:
    if name in ("timestamp", "close_time", *COUNTS):
        return pa.int64()
    return pa.float64() if name in NUMBERS else pa.string()


def unit_of(times: pa.Array, before: Unit | None, stem: str) -> Unit:
    """Milliseconds or microseconds, by magnitude; one a file. Raises VenueUnavailable."""
    extent = pc.min_max(times)
    low, high = extent["min"].as_py(), extent["max"].as_py()
    for unit, per_ms in PER_MS.items():
        if TIME_MS_MIN * per_ms <= low and high <= TIME_MS_MAX * per_ms and before in (None, unit):
            return unit
    raise VenueUnavailable(
        f"{stem}.zip has times from {low} to {high}{f' after some in {before}' if before else ''}: not"
        " all of one unit, milliseconds or microseconds"
    )


def _bars(batch: pa.RecordBatch, layout: Layout, unit: Unit, expected: Expected) -> pa.Table:
    columns = {name: batch[name] for name in layout.fields}
    for name in NUMBERS:
        if name in columns and not pc.all(pc.is_finite(columns[name])).as_py():
            raise pa.ArrowInvalid("a number that is none")
    for name in COUNTS:
        if name in columns and pc.min(columns[name]).as_py() < 0:
            raise pa.ArrowInvalid("a negative count")
    per_ms = PER_MS[unit]
    opens = pc.divide(columns["timestamp"], per_ms)
    closes = pc.divide(columns["close_time"], per_ms)
    if not TIME_MS_MIN <= pc.min(closes).as_py() <= pc.max(closes).as_py() <= TIME_MS_MAX:
        raise pa.ArrowInvalid("a close time of another unit")
    named = {name: columns[name] for name in (*NUMBERS, *COUNTS) if name in columns}
    named |= {
        "timestamp": opens.view(TIME),
        "close_time": closes.view(TIME),
        "is_closed": pc.less_equal(pc.add(closes, 1), expected.closed_before_ms),
        "metadata": _metadata(columns, layout, per_ms),
    }
    missing = {f.name: pa.nulls(batch.num_rows, f.type) for f in BAR_SCHEMA if f.name not in named}
    return pa.table(named | missing, schema=BAR_SCHEMA)


def _metadata(columns: dict[str, pa.Array], layout: Layout, per_ms: int) -> pa.Array:
    """'' or JSON of the fields without a column that are not as usual, and of a time that milliseconds cut short."""
    texts = pa.array([""] * len(columns["timestamp"]), pa.string())
    for name, usual in layout.usual.items():
        is_usual = pc.equal(columns[name], usual)
        if not pc.all(is_usual).as_py():
            if not pc.all(pc.match_substring_regex(columns[name], r"^[\w.+-]*$")).as_py():
                raise pa.ArrowInvalid("a text that is no plain JSON")
            said = pc.binary_join_element_wise(f'{{"{name}":"', columns[name], '"}', "")
            texts = pc.if_else(is_usual, texts, said)
    if per_ms > 1:
        cut = pc.not_equal(
            pc.subtract(columns["timestamp"], pc.multiply(pc.divide(columns["timestamp"], 1000), 1000)), 0
        )
        if pc.any(cut).as_py():
            said = pc.binary_join_element_wise('{"open_us":', columns["timestamp"].cast(pa.string()), "}", "")
            texts = pc.if_else(cut, said, texts)
    return texts


def _read_rows(stream: IO[bytes], expected: Expected) -> Read:
    """The way of REST's rows, for a file that has some which are not as they should be."""
    has_header, stream = header_of(stream, expected.stem)
    lines = csv.reader(io.TextIOWrapper(stream, "utf-8", newline=""), quoting=csv.QUOTE_NONE)
    rows = list(_without_header(lines) if has_header else lines)
    times = [int(row[0]) for row in rows if row and row[0].isascii() and row[0].isdigit() and len(row[0]) < 19]
    unit = unit_of(pa.array(times, pa.int64()), None, expected.stem) if times else "ms"
    if unit == "us":
        rows = [_in_ms(expected.layout, row) for row in rows]
    table = parse_rows(expected.layout, rows, expected.interval_ms, expected.closed_before_ms)
    return Read(table, has_header, unit, len(rows) - table.num_rows)


def _without_header(lines: Iterator[list[str]]) -> Iterator[list[str]]:
    next(lines, None)
    return lines


def _in_ms(layout: Layout, row: list[str]) -> list[Any]:
    return [
        str(int(text) // 1000)
        if name in ("timestamp", "close_time") and text.isascii() and text.isdigit() and len(text) < 19
        else text
        for name, text in zip(layout.fields, row, strict=False)
    ] + row[len(layout.fields) :]


def _checked(found: Read, expected: Expected) -> Read:
    rows = found.table.num_rows
    table = check_step(in_time_order(found.table), expected.interval_ms)
    if table.num_rows:
        times = table["timestamp"].cast(pa.int64())
        first, last = times[0].as_py(), times[-1].as_py()
        if not expected.span.start_ms <= first <= last < expected.span.end_ms:
            raise VenueUnavailable(
                f"{expected.stem}.zip has rows of {first} to {last} ms: not of the span it is named after"
            )
        told = table.num_rows - pc.count_distinct(times).as_py()
        if told:
            raise VenueUnavailable(f"{expected.stem}.zip says two things of {told} bars: it contradicts itself")
    return Read(table, found.has_header, found.time_unit, found.duplicates + rows - table.num_rows)
