"""Rows of a venue into Arrow columns: one schema for all venues, one description of a row a venue.

Pure. Nothing a venue says is lost or mended: a value that is not the number it should be becomes null and its raw row
goes to `metadata`, as does every field that has no column. Only a page whose times cannot be believed is refused as a
whole.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from alphaforge_assets.errors import VenueUnavailable

TIME = pa.timestamp("ms", "UTC")

# One bar. Times in UTC, prices in quote units, volumes in BASE units unless the name says otherwise.
BAR_SCHEMA = pa.schema(
    [
        pa.field("timestamp", TIME, nullable=False),  # open time, as the venue said it, off the grid too
        pa.field("close_time", TIME),  # last millisecond of the bar, where the venue says it
        pa.field("open", pa.float64()),
        pa.field("high", pa.float64()),
        pa.field("low", pa.float64()),
        pa.field("close", pa.float64()),
        pa.field("volume", pa.float64()),
        pa.field("quote_volume", pa.float64()),
        pa.field("contract_volume", pa.float64()),  # in contracts, where the venue says it
        pa.field("trade_count", pa.int64()),
        pa.field("taker_buy_base_volume", pa.float64()),
        pa.field("taker_buy_quote_volume", pa.float64()),
        pa.field("is_closed", pa.bool_(), nullable=False),  # over by the venue's own flag and clock
        pa.field("metadata", pa.string(), nullable=False),  # '' or JSON of what has no column
    ]
)

# One bar of a price that is no trade: mark, index or premium.
PRICE_SCHEMA = pa.schema(
    [
        *(BAR_SCHEMA.field(n) for n in ("timestamp", "close_time", "open", "high", "low", "close")),
        pa.field("sample_count", pa.int64()),  # how many prices the venue made it of, where it says so
        *(BAR_SCHEMA.field(n) for n in ("is_closed", "metadata")),
    ]
)

NUMBERS = tuple(f.name for f in BAR_SCHEMA if f.type == pa.float64())
COUNTS = ("trade_count",)

# Open times before Bitcoin or after this are another unit (seconds, microseconds, nanoseconds), not another age.
TIME_MS_MIN = 1_230_768_000_000  # 2009-01-01
TIME_MS_MAX = 4_102_444_800_000  # 2100-01-01

EVIDENCE_CHARS = 4096


@dataclass(frozen=True)
class Layout:
    """What stands where in a venue's row of a bar.

    `fields` names each position by its column of BAR_SCHEMA. Rows are lists, or records if `keys` names the venue's
    field of each of `fields`; times come in units of `time_unit_ms`, which is 1000 for seconds. A name that is no
    column goes to `metadata`, unless it holds what `usual` says: a text, or `=column` for the text of another field;
    what `usual` does not name goes there always.
    `confirm` (OKX: "1" is closed) joins in `is_closed` and goes to `metadata` where it says another thing.
    """

    fields: tuple[str, ...]
    usual: Mapping[str, str]
    keys: tuple[str, ...] = ()
    time_unit_ms: int = 1


def parse_rows(layout: Layout, rows: Any, interval_ms: int, closed_before_ms: int) -> pa.Table:
    """A page of bars as a table of BAR_SCHEMA in time order; rows of one time keep the order they came in.

    A bar is closed if it ended before `closed_before_ms`, the venue's own clock read before the request. Where the
    venue names no close time a bar ends `interval_ms` after its open. Raises VenueUnavailable if `rows` is not a list
    of rows or an open time is unreadable or not in milliseconds.
    """
    if not isinstance(rows, list) or set(map(type, rows)) - {dict if layout.keys else list}:
        raise _untrusted("a page that is not a list of rows", rows)
    if not rows:
        return BAR_SCHEMA.empty_table()
    raw, spoiled = _by_field(layout, rows)
    times = _open_times(raw["timestamp"], rows, layout.time_unit_ms)
    if _falls(times):  # a descending venue's page: turned round, not sorted
        rows, times = rows[::-1], _open_times(raw["timestamp"][::-1], rows, layout.time_unit_ms)
        raw = {name: column[::-1] for name, column in raw.items()}
        spoiled = {len(rows) - 1 - n for n in spoiled}
    columns: dict[str, pa.Array] = {"timestamp": times}
    if "close_time" in raw:
        columns["close_time"] = _times(raw["close_time"], spoiled, layout.time_unit_ms)
    columns |= read_numbers({name: raw[name] for name in NUMBERS if name in raw}, spoiled)
    for name in COUNTS:
        if name in raw:
            columns[name] = read_integers(raw[name], spoiled, 0, 2**63 - 1)
    columns["is_closed"] = _closed(columns, raw.get("confirm"), interval_ms, closed_before_ms)
    columns["metadata"] = _metadata(layout, raw, rows, spoiled, columns["is_closed"])
    missing = {f.name: pa.nulls(len(rows), f.type) for f in BAR_SCHEMA if f.name not in columns}
    table = pa.table(columns | missing, schema=BAR_SCHEMA)
    return in_time_order(table)


def priced(bars: pa.Table) -> pa.Table:
    """Bars of BAR_SCHEMA as those of a price, of PRICE_SCHEMA; what stands where trades are counted are samples."""
    names = ["trade_count" if name == "sample_count" else name for name in PRICE_SCHEMA.names]
    return bars.select(names).rename_columns(PRICE_SCHEMA.names)


def _by_field(layout: Layout, rows: Sequence[Any]) -> tuple[dict[str, Sequence[Any]], set[int]]:
    """The values of each field, and which rows have not the fields they should have."""
    if layout.keys:
        records = [[row.get(key) for key in layout.keys] for row in rows]
        spoiled = {n for n, row in enumerate(rows) if row.keys() != set(layout.keys)}
        return dict(zip(layout.fields, zip(*records, strict=True), strict=True)), spoiled
    width = len(layout.fields)
    spoiled = set() if set(map(len, rows)) == {width} else {n for n, row in enumerate(rows) if len(row) != width}
    even = [(row + [None] * width)[:width] for row in rows] if spoiled else rows
    return dict(zip(layout.fields, zip(*even, strict=True), strict=True)), spoiled


def _times(values: Sequence[Any], spoiled: set[int], unit_ms: int) -> pa.Array:
    whole = read_integers(values, spoiled, TIME_MS_MIN // unit_ms, TIME_MS_MAX // unit_ms)
    return (whole if unit_ms == 1 else pc.multiply(whole, unit_ms)).view(TIME)


def _open_times(values: Sequence[Any], rows: Any, unit_ms: int) -> pa.Array:
    spoiled: set[int] = set()
    times = _times(values, spoiled, unit_ms)
    if spoiled:
        first = rows[min(spoiled)]
        unit = "milliseconds" if unit_ms == 1 else "seconds"
        raise _untrusted(f"{len(spoiled)} rows without an open time in {unit}, the first {str(first)[:200]}", rows)
    return times


def _falls(times: pa.Array) -> bool:
    """Whether each time is earlier than the one before it."""
    return len(times) > 1 and pc.max(_steps(times)).as_py() < 0


def _steps(times: pa.Array) -> pa.Array:
    milliseconds = times.view(pa.int64())
    return pc.subtract(milliseconds[1:], milliseconds[:-1])


def read_numbers(raw: Mapping[str, Sequence[Any]], spoiled: set[int]) -> dict[str, pa.Array]:
    """Texts (or JSON numbers) as float64, the nearest to what was written. Adds to `spoiled` which rows hold none.

    All columns are cast as one array: a kernel call costs as much as a hundred values.
    """
    try:
        whole = pa.array(list(chain.from_iterable(raw.values())), pa.string()).cast(pa.float64())
        if whole.null_count == 0 and pc.all(pc.is_finite(whole)).as_py():
            size = len(whole) // max(1, len(raw))
            return {name: whole.slice(n * size, size) for n, name in enumerate(raw)}
    except pa.ArrowException:
        pass
    columns = {}
    for name, values in raw.items():
        numbers = [number(v) for v in values]
        spoiled.update(n for n, number in enumerate(numbers) if number is None)
        columns[name] = pa.array(numbers, pa.float64())
    return columns


def number(value: Any) -> float | None:
    """A text or JSON number as the nearest float64; None for what is no finite number."""
    if isinstance(value, str):
        try:
            number: float = pa.scalar(value).cast(pa.float64()).as_py()
        except pa.ArrowException:
            return None
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            return None
    else:
        return None
    return number if abs(number) != float("inf") and number == number else None


def read_integers(values: Sequence[Any], spoiled: set[int], low: int, high: int) -> pa.Array:
    """Integers or texts of integers within [low, high] as int64. Adds to `spoiled` which are not."""
    kinds = set(map(type, values))
    try:
        if kinds == {int}:
            column = pa.array(values, pa.int64())
        elif kinds == {str}:
            column = pa.array(values, pa.string()).cast(pa.int64())
        else:
            raise pa.ArrowInvalid("mixed")
        extent = pc.min_max(column)
        if extent["min"].as_py() >= low and extent["max"].as_py() <= high:
            return column
    except (pa.ArrowException, OverflowError):
        pass
    integers = [_integer(v, low, high) for v in values]
    spoiled.update(n for n, integer in enumerate(integers) if integer is None)
    return pa.array(integers, pa.int64())


def _integer(value: Any, low: int, high: int) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    return value if type(value) is int and low <= value <= high else None


def _closed(
    columns: Mapping[str, pa.Array], confirm: Sequence[Any] | None, interval_ms: int, closed_before_ms: int
) -> pa.Array:
    ends = pc.add(columns["timestamp"].view(pa.int64()), interval_ms)  # the first millisecond after the bar
    if "close_time" in columns:
        ends = pc.coalesce(pc.add(columns["close_time"].view(pa.int64()), 1), ends)
    over = pc.less_equal(ends, closed_before_ms)
    return over if confirm is None else pc.and_(over, pa.array([value == "1" for value in confirm]))


def _metadata(
    layout: Layout, raw: Mapping[str, Sequence[Any]], rows: Sequence[Any], spoiled: set[int], closed: pa.Array
) -> pa.Array:
    extra: dict[int, dict[str, Any]] = {}
    for name in (f for f in layout.fields if f not in BAR_SCHEMA.names):
        values, usual_one = raw[name], layout.usual.get(name)
        if name == "confirm":
            expected: Sequence[Any] = ["1" if is_closed else "0" for is_closed in closed.to_pylist()]
        elif usual_one is not None and usual_one.startswith("="):
            expected = raw[usual_one[1:]]
        else:
            expected = (usual_one,) * len(values)
        if tuple(values) != tuple(expected):
            for n, (value, usual) in enumerate(zip(values, expected, strict=True)):
                if value != usual:
                    extra.setdefault(n, {})[name] = value
    for n in spoiled:
        extra[n] = {"row": rows[n]}
    texts = [""] * len(rows)
    for n, fields in extra.items():
        texts[n] = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    return pa.array(texts, pa.string())


def in_time_order(table: pa.Table) -> pa.Table:
    """Sorted by time if it is not, rows of one time in the order they came; the same row twice is one row."""
    if table.num_rows > 1:
        smallest = pc.min(_steps(table["timestamp"].combine_chunks())).as_py()
        if smallest < 0:
            table = table.take(pc.sort_indices(table, sort_keys=[("timestamp", "ascending")]))  # a stable sort
        if smallest <= 0:
            table = _without_repeats(table)
    return table


def _without_repeats(table: pa.Table) -> pa.Table:
    seen: set[tuple[Any, ...]] = set()
    keep = []
    for n, row in enumerate(zip(*table.to_pydict().values(), strict=True)):
        if row not in seen:
            seen.add(row)
            keep.append(n)
    return table.take(keep)


def _untrusted(problem: str, rows: Any) -> VenueUnavailable:
    return VenueUnavailable(f"the venue sent {problem}: the page is not trusted", str(rows)[:EVIDENCE_CHARS])
