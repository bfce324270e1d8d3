"""Blocks of a file -> rows of the pipeline's own schemas, by instrument and interval, and what cannot be read of them.

Pure. What can be read is kept as it is, whatever rule it breaks: the rules are the pipeline's. What cannot, a time that
no market can have had, and a name that is not kept are problems, each with its row, field and value.
"""

import datetime as dt
import re
from collections.abc import Callable, Iterator
from collections.abc import Mapping as Words
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from alphaforge_assets.ingest import values
from alphaforge_assets.ingest.mapping import (
    Amount,
    BarMapping,
    Mapping,
    Name,
    Number,
    Side,
    Time,
    TradeMapping,
    check_interval,
    check_symbol,
    check_venue,
)
from alphaforge_assets.ingest.reading import Block, Problems, Role
from alphaforge_assets.ingest.values import Values
from alphaforge_assets.intervals import INTERVAL_MS
from alphaforge_assets.universe import Instrument, Universe
from alphaforge_assets.venues.columns import BAR_SCHEMA, TIME
from alphaforge_assets.venues.trade_rows import TRADE_SCHEMA

US = dt.timedelta(microseconds=1)
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
NO_NUMBER, NO_COUNT = "is no number", "is no whole number of 0 or more"
Series = tuple[Instrument, str]  # and its interval, "" where there is none


@dataclass
class Task:
    """What the rows of a file are read by. `written_at`: what ended later the file cannot have known to be over."""

    mapping: Mapping
    universe: Universe
    now: dt.datetime
    written_at: dt.datetime
    problems: Problems
    refused: set[str] = field(default_factory=set)  # instruments and intervals that were told of already


def fields_of(mapping: Mapping) -> dict[str, Role]:
    """The fields of a file that a mapping names, and what each is read as."""
    found: dict[str, Role] = {}
    names = [mapping.venue, mapping.symbol, *([mapping.interval] if isinstance(mapping, BarMapping) else [])]
    for name in names:
        if name.field is not None:
            found.setdefault(name.field, "word")
    for column, its in _columns(mapping).items():
        role: Role = "whole" if column in ("trade_count", "trade_id", "first_id", "last_id") else "number"
        if isinstance(its, Time):
            role = "fine_time" if its.unit in ("us", "ns") else "time"
        found.setdefault(its.field, "word" if isinstance(its, Side) else role)
    return found


def rows_of(task: Task, block: Block) -> Iterator[tuple[Series, pa.Table]]:
    """The rows of a block by series, of BAR_SCHEMA or TRADE_SCHEMA, in the order they came in."""
    names = _names(task, block)
    parse = _bars if isinstance(task.mapping, BarMapping) else _trades
    table = parse(task, block)
    for key, places in _groups(names, block.rows):
        if (series := _series(task, key, block, places)) is None:
            continue
        its = table if len(places) == block.rows else table.take(places)
        _check_times(task, series, its, block, places)
        yield series, _closed(task, its, series[1]) if series[1] else its


def _columns(mapping: Mapping) -> dict[str, Number | Time | Side]:
    return {name: its for name in type(mapping.columns).model_fields if (its := getattr(mapping.columns, name))}


def _names(task: Task, block: Block) -> list[pa.Array | str]:
    """Venue, symbol and interval of every row: a text for all, or an array."""
    mapping = task.mapping
    interval = mapping.interval if isinstance(mapping, BarMapping) else Name(constant="")
    checks: list[Callable[[str], str]] = [check_venue, check_symbol, check_interval]
    found: list[pa.Array | str] = []
    for name, check in zip((mapping.venue, mapping.symbol, interval), checks, strict=True):
        if name.field is None:
            found.append(str(name.constant))
            continue
        said: dict[str, str] = {}
        named = values.named(block.columns[name.field], partial(_named, name, check, said))
        _note(task, block, name.field, named, partial(_why, said))
        found.append(named.column)
    return found


def _why(said: dict[str, str], word: Any) -> str:
    return said.get(str(word), "is no name")


def _named(name: Name, check: Callable[[str], str], said: dict[str, str], word: str) -> str | None:
    """The name that a word stands for; None, and why in `said`, if it stands for none."""
    meant: str | None = word
    if name.values is not None:
        meant = name.values.get(word, name.values.get(word.lower()) if word.lower() in ("true", "false") else None)
        said[word] = f"is not one of the values of the mapping, {', '.join(name.values)[:200]}"
    elif name.pattern is not None:
        match = re.fullmatch(name.pattern, word)
        meant = f"{match['base']}/{match['quote']}" if match else None
        said[word] = f"does not fit the pattern {name.pattern}"
    if meant is None:
        return None
    try:
        return check(meant)
    except ValueError as error:
        said[word] = str(error)
        return None


def _groups(names: list[pa.Array | str], rows: int) -> Iterator[tuple[tuple[str, str, str], pa.Array]]:
    """Each (venue, symbol, interval) that rows have, with their places."""
    if all(isinstance(name, str) for name in names):
        yield (str(names[0]), str(names[1]), str(names[2])), pa.array(range(rows), pa.int64())
        return
    joined = pc.binary_join_element_wise(*names, "\n").dictionary_encode()
    for n, key in enumerate(joined.dictionary.to_pylist()):
        venue, symbol, interval = key.split("\n")
        yield (venue, symbol, interval), pc.indices_nonzero(pc.fill_null(pc.equal(joined.indices, n), False))


def _series(task: Task, key: tuple[str, str, str], block: Block, places: pa.Array) -> Series | None:
    """The series of a key, if it is kept; else a problem of its first row, once."""
    venue, symbol, interval = key
    name = f"{venue}.{symbol.replace('/', '-')}"
    instrument = task.universe.by_key.get(name)
    if instrument is None:
        said = f"{name} is not in the universe: add it to universe.yaml, or `alphaforge universe --discover {venue}`"
    elif interval and interval not in task.universe.intervals:
        said = f"bars of {interval} are not kept: the universe has {', '.join(task.universe.intervals)}"
    else:
        return instrument, interval
    if said not in task.refused:
        task.refused.add(said)
        task.problems.add(said, block.first + places[0].as_py())
    return None


def _check_times(task: Task, series: Series, table: pa.Table, block: Block, places: pa.Array) -> None:
    """Note rows of a time in which the series is not kept, or that has not come yet."""
    instrument, _ = series
    micros = pc.cast(table["timestamp"], pa.timestamp("us", "UTC")).cast(pa.int64())
    its = task.mapping.columns.timestamp
    start, end = _midnight_us(instrument.listed_from), (task.now - EPOCH) // US
    until = instrument.listed_until and _midnight_us(instrument.listed_until)
    edges = [
        (pc.less(micros, start), f"is before {instrument.listed_from}, since when the universe keeps {instrument.key}"),
        (pc.greater_equal(micros, end), f"has not come yet: it is {task.now:%Y-%m-%d %H:%M} UTC"),
    ]
    if until:
        said = f"is after {instrument.listed_until}, until when the universe keeps {instrument.key}"
        edges.append((pc.greater_equal(micros, until), said))
    is_time = pc.not_equal(micros, NO_TIME_US)  # what is none was told of already
    for beyond, said in edges:
        outside = pc.and_(beyond, is_time)
        if pc.any(outside).as_py():
            rows = places.take(pc.indices_nonzero(outside))
            _tell(task, block, its.field, rows, partial(_outside, its, said))


def _outside(time: Time, said: str, value: Any) -> str:
    """What is wrong with a time, and which one it is, for those who cannot read numbers as such."""
    read = None if time.unit == "iso" else values.times(pa.array([value]), time.unit).column[0].as_py()
    return said if read is None else f"({EPOCH + read * US:%Y-%m-%d %H:%M}) {said}"


def _midnight_us(day: dt.date) -> int:
    return (dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC) - EPOCH) // US


def _bars(task: Task, block: Block) -> pa.Table:
    mapping = task.mapping.columns
    times = _time(task, block, mapping.timestamp)
    columns: dict[str, pa.Array] = {"timestamp": pc.divide(times, 1000).view(TIME)}
    for name, its in _columns(task.mapping).items():
        if name == "close_time" and isinstance(its, Time):
            columns[name] = pc.divide(_time(task, block, its), 1000).view(TIME)
        elif name == "trade_count":
            columns[name] = _whole(task, block, its.field)
        elif isinstance(its, Number):
            columns[name] = _number(task, block, its)
    volume = getattr(mapping, "volume", None)
    if isinstance(volume, Amount) and volume.contract_size is not None:
        columns["contract_volume"] = _number(task, block, Number(field=volume.field), is_told=True)
    cut = pc.not_equal(pc.multiply(pc.divide(times, 1000), 1000), times)
    said = pc.binary_join_element_wise('{"open_us":', times.cast(pa.string()), "}", "")
    columns["metadata"] = pc.fill_null(pc.if_else(cut, said, ""), "")
    columns["is_closed"] = pa.repeat(pa.scalar(False), block.rows)
    return _table(columns, BAR_SCHEMA, block.rows)


def _closed(task: Task, table: pa.Table, interval: str) -> pa.Table:
    """The bars of a file with what it can know to be over."""
    ends = pc.add(table["timestamp"].cast(pa.int64()), INTERVAL_MS[interval])
    ends = pc.coalesce(pc.add(table["close_time"].cast(pa.int64()), 1), ends)
    known = int(min(task.now, task.written_at).timestamp() * 1000)
    return table.set_column(table.schema.get_field_index("is_closed"), "is_closed", pc.less_equal(ends, known))


def _trades(task: Task, block: Block) -> pa.Table:
    mapping = task.mapping
    assert isinstance(mapping, TradeMapping)  # noqa: S101 - told apart by its caller
    its = mapping.columns
    columns: dict[str, pa.Array] = {"timestamp": _time(task, block, its.timestamp).view(values.TIME_US)}
    for name, number in _columns(mapping).items():
        if name in ("trade_id", "first_id", "last_id"):
            columns[name] = _whole(task, block, number.field, is_needed=True).cast(pa.uint64())
        elif isinstance(number, Number):
            columns[name] = _number(task, block, number)
    takers = its.side.takers
    side = values.named(block.columns[its.side.field], lambda word: _side(takers, word))
    _note(task, block, its.side.field, side, lambda word: f"is no side: the mapping has {', '.join(takers)}")
    columns["side"] = pc.fill_null(side.column, "")
    unnumbered = its.trade_id is None
    ids = columns.setdefault("trade_id", pa.repeat(pa.scalar(0, pa.uint64()), block.rows))
    columns = {"first_id": ids, "last_id": ids} | columns
    constants = {"trade_kind": mapping.kind, "trade_uuid": UNNUMBERED if unnumbered else "", "metadata": ""}
    columns |= {name: pa.repeat(pa.scalar(text), block.rows) for name, text in constants.items()}
    return _table(columns, TRADE_SCHEMA, block.rows)


NO_TIME_US = 1_500_000_000_000_000  # stands for a time that cannot be read, of a file that is refused
UNNUMBERED = "~"  # what the name of a trade begins with that its file gave none; the rest is made of its values


def _side(takers: Words[str, str], word: str) -> str | None:
    return takers.get(word, takers.get(word.lower()) if word.lower() in ("true", "false") else None)


def _time(task: Task, block: Block, time: Time) -> pa.Array:
    column = block.columns[time.field]
    found = values.times(column, time.unit)

    def why(value: Any) -> str:
        if value is None:
            return "is no time"
        unit = values.better_unit(pa.array([value], column.type), 0, time.unit)
        may = f"; in {unit} it would be" if unit else ""
        return f"is no time from 2009 to 2099 in {time.unit}{may}"

    _note(task, block, time.field, found, why)
    return pc.fill_null(found.column, NO_TIME_US)


def _number(task: Task, block: Block, its: Number, *, is_told: bool = False) -> pa.Array:
    found = values.numbers(block.columns[its.field])
    if not is_told:
        _note(task, block, its.field, found, lambda value: NO_NUMBER)
    if isinstance(its, Amount) and its.contract_size is not None:
        top, bottom = its.ratio
        return pc.divide(pc.multiply(found.column, float(top)), float(bottom))
    return found.column


def _whole(task: Task, block: Block, name: str, *, is_needed: bool = False) -> pa.Array:
    found = values.wholes(block.columns[name])
    if is_needed:
        bad = pc.is_null(found.column)
        found = Values(pc.fill_null(found.column, 0), bad)
    _note(task, block, name, found, lambda value: NO_COUNT)
    return found.column


def _note(task: Task, block: Block, name: str, found: Values, why: Callable[[Any], str]) -> None:
    if found.bad is not None and pc.any(found.bad).as_py():
        _tell(task, block, name, pc.indices_nonzero(found.bad), why)


def _tell(task: Task, block: Block, name: str, rows: pa.Array, why: Callable[[Any], str]) -> None:
    """Note rows of a block, those that will be shown in words."""
    problems = task.problems
    shown = min(problems.room, len(rows))
    for row in rows[:shown].to_pylist():
        value = block.columns[name][row].as_py()
        problems.add(f"{name} {str(value)[:60]!r}: {why(value)}", block.first + row)
    if len(rows) > shown:
        problems.add("", count=len(rows) - shown)


def _table(columns: Words[str, pa.Array], schema: pa.Schema, rows: int) -> pa.Table:
    missing = {f.name: pa.nulls(rows, f.type) for f in schema if f.name not in columns}
    return pa.table({**columns, **missing}, schema=schema)
