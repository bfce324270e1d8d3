"""The fields that a mapping names out of a CSV, JSONL or Parquet file, block by block, as they are written there.

CSV comes as texts. JSON comes as the first line that has a field has it: a text, a number or a flag; Parquet as its
columns are. What stands in none of these forms is told as problems, with the line it is in.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import IO, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.json as pajson
import pyarrow.parquet as pq

from alphaforge_assets.errors import BadInput
from alphaforge_assets.ingest.files import DataFile, on_disk, opened
from alphaforge_assets.ingest.mapping import Csv

# What a field is read as, where its form leaves a choice.
Role = Literal["number", "whole", "time", "fine_time", "word"]

BLOCK_BYTES = 4 << 20
BLOCK_ROWS = 65_536
SNIFFED_LINES = 1_000
# What the smallest column of a real file takes; a file that claims more rows is made to fill memories.
ROWS_A_BYTE_MAX = 100
RAGGED_MAX = 1_000
_JSON_TYPES: dict[Role, pa.DataType] = {
    "number": pa.float64(),
    "whole": pa.int64(),
    "time": pa.float64(),
    "fine_time": pa.int64(),
    "word": pa.int64(),
}


@dataclass
class Problems:
    """What is wrong with a file: the first of them, each with the row it is of, and how many there are."""

    shown_max: int
    told: list[tuple[int | None, str]] = field(default_factory=list)
    count: int = 0
    ragged: list[int] = field(default_factory=list)  # rows of another length, which are passed over; told as -1, -2, …

    def add(self, text: str, row: int | None = None, count: int = 1) -> None:
        """Note one, of a row of the file if it is of one; or `count` of them, all like this."""
        self.count += count
        if len(self.told) < self.shown_max:
            self.told.append((row, text))

    @property
    def room(self) -> int:
        """How many more will be shown."""
        return self.shown_max - len(self.told)


@dataclass(frozen=True)
class Block:
    """Rows of a file: a column a field, and which row of the file the first one is, from 0 on."""

    columns: Mapping[str, pa.Array]
    rows: int
    first: int


def blocks(
    file: DataFile,
    fields: Mapping[str, Role],
    csv: Csv,
    problems: Problems,
    folder: Path,
    progress: Callable[[int], None] = lambda position: None,
) -> Iterator[Block]:
    """The rows of a file in the order they are in. `folder` is for what must be unpacked first.

    Raises BadInput for a file that lacks a field, is none of its form, or is torn.
    """
    if file.form == "parquet":
        yield from _parquet(file, list(fields), folder, progress)
        return
    read = _csv if file.form == "csv" else _jsonl
    with opened(file, progress) as stream:
        yield from read(file, stream, fields, csv, problems)


def worded(file: DataFile, csv: Csv, problems: Problems) -> list[str]:
    """The problems of a file in words, each with its line, or its row where a file has no lines. Raises BadInput."""
    rows = {row: _place(row, problems.ragged) for row, _ in problems.told if row is not None}
    if file.form == "parquet":
        places = {row: f"row {row + 1}: " for row in rows}
    else:
        lines = _lines(file, set(rows.values()), csv)
        places = {row: f"line {lines[place]}: " for row, place in rows.items()}
    said = [f"{file.path}: {places[row] if row is not None else ''}{text}" for row, text in problems.told]
    left = problems.count - len(said)
    return said + ([f"{file.path}: and {left:,} more like these"] if left > 0 else [])


def _place(row: int, ragged: Sequence[int]) -> int:
    """Which row of the file a row that was read is, those counted that were passed over."""
    if row < 0:
        return ragged[-row - 1]
    for other in sorted(ragged):
        row += other <= row
    return row


def _lines(file: DataFile, rows: Iterable[int], csv: Csv) -> dict[int, int]:
    """The lines that rows stand in: empty ones are no rows, and a header is none."""
    wanted, found = sorted(rows), dict[int, int]()
    row = -1 if file.form == "csv" and csv.header else 0
    with opened(file) as stream:
        for number, line in enumerate(stream, 1):
            if len(found) == len(wanted):
                break
            if line.strip():
                if row == wanted[len(found)]:
                    found[row] = number
                row += 1
    return found


def _csv(
    file: DataFile, stream: IO[bytes], fields: Mapping[str, Role], csv: Csv, problems: Problems
) -> Iterator[Block]:
    def ragged(row: Any) -> str:
        problems.ragged.append(row.number - (2 if csv.header else 1))
        problems.add(f"has {row.actual_columns} values and should have {row.expected_columns}", -len(problems.ragged))
        return "skip" if len(problems.ragged) < RAGGED_MAX else "error"

    _check_encoding(file, stream)
    names = csv.columns or _header(file, stream, csv)
    _check_fields(file, fields, names)
    try:
        reader = pacsv.open_csv(
            stream,
            pacsv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES, column_names=names if csv.columns else None),
            pacsv.ParseOptions(delimiter=csv.delimiter, invalid_row_handler=ragged),
            pacsv.ConvertOptions(
                column_types=dict.fromkeys(fields, pa.string()),
                include_columns=list(fields),
                null_values=[""],
                strings_can_be_null=True,
            ),
        )
        first = 0
        for batch in reader:
            yield Block({n: batch[n] for n in fields}, batch.num_rows, first)
            first += batch.num_rows
    except pa.ArrowInvalid as error:
        if "Empty CSV" in str(error):
            raise BadInput(f"{file.path}: is empty") from error
        what = "is not UTF-8 text; convert it" if "UTF8" in str(error) else f"is no CSV that can be read: {error}"
        raise BadInput(f"{file.path}: {what}") from error


def _header(file: DataFile, stream: IO[bytes], csv: Csv) -> list[str]:
    """The names of the first line, which is read again by who reads the rest."""
    ahead = stream.peek(BLOCK_BYTES).removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")  # type: ignore[attr-defined]
    line, end, _ = ahead.partition(b"\n")
    if not line:
        raise BadInput(f"{file.path}: is empty")
    try:
        table = pacsv.read_csv(
            pa.py_buffer(line + b"\n" if end else line),
            parse_options=pacsv.ParseOptions(delimiter=csv.delimiter),
        )
    except pa.ArrowInvalid as error:
        raise BadInput(f"{file.path}: line 1: is no header of a CSV file: {error}") from error
    if twice := sorted({name for name in table.column_names if table.column_names.count(name) > 1}):
        raise BadInput(f"{file.path}: line 1: names {', '.join(twice)} twice; give each column a name of its own")
    return [str(name) for name in table.column_names]


def _check_encoding(file: DataFile, stream: IO[bytes]) -> None:
    if stream.peek(2)[:2] in (b"\xff\xfe", b"\xfe\xff"):  # type: ignore[attr-defined]
        raise BadInput(f"{file.path}: is UTF-16, and UTF-8 is read; convert it")


def _check_fields(file: DataFile, fields: Mapping[str, Role], names: Sequence[str]) -> None:
    if lacking := [name for name in fields if name not in names]:
        has = ", ".join(names)
        raise BadInput(f"{file.path}: has no field {', '.join(lacking)}; it has {has[:300]}")


def _jsonl(
    file: DataFile, stream: IO[bytes], fields: Mapping[str, Role], csv: Csv, problems: Problems
) -> Iterator[Block]:
    _check_encoding(file, stream)
    schema = _json_schema(_sniffed(file, fields))
    try:
        reader = pajson.open_json(
            stream,
            pajson.ReadOptions(use_threads=False, block_size=BLOCK_BYTES),
            pajson.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
        )
        first = 0
        for batch in reader:
            columns = {name: _at(batch, name.split(".")) for name in fields}
            for column in columns.values():
                column.validate(full=True)  # of texts, that they are UTF-8
            yield Block(columns, batch.num_rows, first)
            first += batch.num_rows
    except pa.ArrowInvalid as error:
        raise BadInput(f"{file.path}: {_bad_line(file, schema, fields) or error}") from error


def _sniffed(file: DataFile, fields: Mapping[str, Role]) -> dict[str, pa.DataType]:
    """What each field is in the first line that has it."""
    found: dict[str, pa.DataType] = {}
    seen: set[str] = set()
    with opened(file) as stream:
        for number, line in enumerate(stream, 1):
            if len(found) == len(fields) or number > SNIFFED_LINES:
                break
            if not line.strip():
                continue
            record = _record(line)
            if isinstance(record, str):
                raise BadInput(f"{file.path}: line {number}: {record}")
            seen |= record.keys()
            for name, role in fields.items():
                value = _value(record, name)
                if name not in found and isinstance(value, (str, bool, int, float)):
                    simple = {str: pa.string(), bool: pa.bool_()}
                    found[name] = simple.get(type(value), _JSON_TYPES[role])
    if not seen:
        raise BadInput(f"{file.path}: is empty")
    if lacking := [name for name in fields if name not in found]:
        raise BadInput(f"{file.path}: has no field {', '.join(lacking)}; it has {', '.join(sorted(seen))[:300]}")
    return found


def _record(line: bytes) -> dict[str, Any] | str:
    """The record of a line, or what is wrong with it."""
    try:
        record = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return "is not UTF-8 text; convert it"
    except ValueError as error:
        return f"is no JSON: {error}"
    return record if isinstance(record, dict) else "is JSON but no record; one {…} a line is read"


def _value(record: Any, name: str) -> Any:
    return reduce(lambda at, key: at.get(key) if isinstance(at, dict) else None, name.split("."), record)


def _json_schema(types: Mapping[str, pa.DataType]) -> pa.Schema:
    tree: dict[str, Any] = {}
    for name, kind in types.items():
        *parents, last = name.split(".")
        reduce(lambda at, key: at.setdefault(key, {}), parents, tree)[last] = kind

    def fields_of(at: Mapping[str, Any]) -> list[pa.Field]:
        return [pa.field(n, pa.struct(fields_of(its)) if isinstance(its, dict) else its) for n, its in at.items()]

    return pa.schema(fields_of(tree))


def _bad_line(file: DataFile, schema: pa.Schema, fields: Mapping[str, Role]) -> str:
    """The first line that is not as its fields should be; "" if none is found."""
    kinds = {name: _type_at(schema, name.split(".")) for name in fields}
    with opened(file) as stream:
        for number, line in enumerate(stream, 1):
            record = _record(line) if line.strip() else {}
            if isinstance(record, str):
                return f"line {number}: {record}"
            for name, kind in kinds.items():
                value = _value(record, name)
                if value is not None and not _fits(value, kind):
                    return f"line {number}: {name} {json.dumps(value)[:60]} is no {_KIND_SAYS[str(kind)]}, as before"
    return ""


_KIND_SAYS = {"string": "text", "bool": "true or false", "double": "number", "int64": "whole number"}


def _fits(value: Any, kind: pa.DataType) -> bool:
    if pa.types.is_string(kind):
        return isinstance(value, str)
    if pa.types.is_boolean(kind):
        return isinstance(value, bool)
    whole = isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
    return whole or (pa.types.is_floating(kind) and isinstance(value, (int, float)) and not isinstance(value, bool))


def _type_at(schema: pa.Schema, path: Sequence[str]) -> pa.DataType:
    kind = schema.field(path[0]).type
    for name in path[1:]:
        kind = kind.field(name).type
    return kind


def _at(batch: pa.RecordBatch, path: Sequence[str]) -> pa.Array:
    return reduce(pc.struct_field, path[1:], batch[path[0]])


def _parquet(file: DataFile, fields: Sequence[str], folder: Path, progress: Callable[[int], None]) -> Iterator[Block]:
    with on_disk(file, folder) as path:
        try:
            with pq.ParquetFile(path) as parquet:
                rows = parquet.metadata.num_rows
                if rows > path.stat().st_size * ROWS_A_BYTE_MAX:
                    raise BadInput(f"{file.path}: claims {rows} rows in {path.stat().st_size} bytes: it is refused")
                if not rows:
                    raise BadInput(f"{file.path}: is empty: it has no rows")
                leaves = [parquet.schema.column(n).path for n in range(len(parquet.schema))]
                _check_fields(file, dict.fromkeys(fields, "word"), leaves)
                first = 0
                for batch in parquet.iter_batches(BLOCK_ROWS, columns=list(fields), use_threads=False):
                    has = batch.schema.names
                    columns = {n: _plain(batch[n] if n in has else _at(batch, n.split("."))) for n in fields}
                    yield Block(columns, batch.num_rows, first)
                    first += batch.num_rows
                    progress(file.size * first // rows)
        except (pa.ArrowInvalid, OSError) as error:
            raise BadInput(f"{file.path}: is no whole Parquet file ({error}); fetch it again") from error


def _plain(column: pa.Array) -> pa.Array:
    """Texts in one form: Parquet has them as dictionaries and large ones too."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    is_text = pa.types.is_large_string(column.type) or pa.types.is_string_view(column.type)
    return column.cast(pa.string()) if is_text else column
