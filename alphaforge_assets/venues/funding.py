"""Funding settlements of perpetuals: rows of a venue into Arrow columns, and how a span of them is walked.

Pure but for the page function it is given. Settlements have no grid: their interval is per symbol, changes over time,
and the venues' times are some milliseconds late. So nothing is computed from an interval, and a settlement is known by
its time rounded to the minute, beside which the venue's own time is kept.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from alphaforge_assets.errors import VenueUnavailable
from alphaforge_assets.venues.bars import PAGES_A_BAR_MAX, SILENCES, Window, extent_ms, inside
from alphaforge_assets.venues.columns import EVIDENCE_CHARS, TIME, TIME_MS_MAX, TIME_MS_MIN, in_time_order, number

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
EVERY_H = 8  # the longest interval in use; a shorter one means more rows and seldom more requests

# One settlement. Rates are per interval, of the position's value; prices in quote.
FUNDING_SCHEMA = pa.schema(
    [
        pa.field("timestamp", TIME, nullable=False),  # settlement time to the nearest minute
        pa.field("timestamp_raw", TIME, nullable=False),  # the same as the venue said it
        pa.field("rate_type", pa.string(), nullable=False),  # "regular" unless the venue says otherwise, lower case
        pa.field("rate", pa.float64()),  # settled
        pa.field("predicted_rate", pa.float64()),  # as last predicted before the settlement
        pa.field("mark_price", pa.float64()),
        pa.field("index_price", pa.float64()),
        pa.field("interest_rate", pa.float64()),
        pa.field("estimated_settle_price", pa.float64()),
        pa.field("next_rate", pa.float64()),
        pa.field("next_timestamp", TIME),
        pa.field("previous_rate", pa.float64()),
        pa.field("previous_timestamp", TIME),
        pa.field("is_settled", pa.bool_(), nullable=False),  # by the venue's own clock
        pa.field("unreadable", pa.string(), nullable=False),  # columns whose text is not what it should be, by comma
        pa.field("metadata", pa.string(), nullable=False),  # '' or JSON of what has no column
    ]
)
NUMBERS = tuple(f.name for f in FUNDING_SCHEMA if f.type == pa.float64())
TIMES = ("next_timestamp", "previous_timestamp")
REGULAR = "regular"


@dataclass(frozen=True)
class FundingPage:
    """What a page of settlements is asked by; `cursor_ms` as in BarPage."""

    venue_symbol: str
    cursor_ms: int
    rows: int


def parse_settlements(fields: Mapping[str, str], rows: Any, venue_symbol: str, settled_before_ms: int) -> pa.Table:
    """A page of settlements as a table of FUNDING_SCHEMA in time order, `timestamp` still as the venue said it.

    `fields` names the venue's field of a column; "symbol" stands for the venue's name of the instrument. What it does
    not name goes to `metadata`, and so does the whole row where something in it cannot be read. Raises VenueUnavailable
    if `rows` is not a list of records of this very instrument with times in milliseconds.
    """
    if not isinstance(rows, list) or set(map(type, rows)) - {dict}:
        raise _untrusted("a page that is not a list of records", rows)
    strangers = [row for row in rows if row.get(fields["symbol"]) != venue_symbol]
    if strangers:
        raise _untrusted(f"{len(strangers)} rows that are not of {venue_symbol}", strangers)
    times = [_time(row.get(fields["timestamp"])) for row in rows]
    if None in times:
        raise _untrusted("a settlement without a time in milliseconds", rows[times.index(None)])
    unreadable: list[list[str]] = [[] for _ in rows]
    columns: dict[str, pa.Array] = {
        "timestamp": pa.array(times, pa.int64()).view(TIME),
        "timestamp_raw": pa.array(times, pa.int64()).view(TIME),
        "is_settled": pa.array([time is not None and time <= settled_before_ms for time in times], pa.bool_()),
    }
    kinds = [row.get(fields.get("rate_type", "")) or REGULAR for row in rows]
    columns["rate_type"] = pa.array([str(kind).lower() for kind in kinds], pa.string())
    for name, read, kind in [*((n, number, pa.float64()) for n in NUMBERS), *((n, _time, TIME) for n in TIMES)]:
        said = [row.get(fields[name]) for row in rows] if name in fields else []
        columns[name] = _read(name, said, read, unreadable).cast(kind) if said else pa.nulls(len(rows), kind)
    columns["unreadable"] = pa.array([",".join(names) for names in unreadable], pa.string())
    columns["metadata"] = pa.array(_metadata(fields, rows, unreadable), pa.string())
    return in_time_order(pa.table(columns, schema=FUNDING_SCHEMA))


def walk(window: Window, rows_max: int, page: Callable[[int, int], pa.Table], *, ascending: bool) -> pa.Table:
    """The settlements of a window of the venue's own times; `page` as in bars.walk.

    Rows of one time may be cut apart by the end of a page, so the next one begins with that time again; a row that
    comes twice is one. A window ends by proof only: a row beyond its far edge, or silence. Raises what `page` raises,
    and VenueUnavailable for a venue that never comes to an end.
    """
    low, high, silences = window.start_ms, window.end_ms, 0
    edge: int | None = None  # the farthest time seen
    found = [FUNDING_SCHEMA.empty_table()]
    for _ in range(2 * PAGES_A_BAR_MAX * -(-(high - low) // HOUR_MS) + 16):
        table = page(low if ascending else high, rows_max)
        if not table.num_rows:
            silences += 1
            if silences == SILENCES:
                break
            continue
        found.append(inside(table, window))
        first, last = extent_ms(table)
        if last >= window.end_ms if ascending else first < window.start_ms:
            break
        reached = last if ascending else first
        repeated, edge = reached == edge, reached
        if ascending:
            low = reached + repeated
        else:
            high = reached + (not repeated)
    else:
        raise VenueUnavailable(
            f"the venue sends page after page for [{window.start_ms}, {window.end_ms}) ms and never comes to its end"
        )
    return in_time_order(pa.concat_tables(found))


def imagined(cursor_ms: int, rows: int, kept_ms: int, now_ms: int, *, ascending: bool) -> pa.Table:
    """A page of a venue that settles every EVERY_H, of which nothing but the times matters: for counting requests."""
    every = EVERY_H * HOUR_MS
    if ascending:
        times = list(range(-(-max(cursor_ms, kept_ms) // every) * every, now_ms, every))[:rows]
    else:
        times = list(range(max(-(-kept_ms // every), 0) * every, min(cursor_ms, now_ms), every))[-rows:]
    column = pa.array(times, pa.int64()).view(TIME)
    empty: dict[pa.DataType, pa.Scalar] = {pa.string(): "", pa.bool_(): True}
    columns = [
        column if field.name in ("timestamp", "timestamp_raw")
        else pa.repeat(empty[field.type], len(times)) if field.type in empty
        else pa.nulls(len(times), field.type)
        for field in FUNDING_SCHEMA
    ]  # fmt: skip
    return pa.table(columns, schema=FUNDING_SCHEMA)


def raw_window(start_ms: int, end_ms: int) -> Window:
    """The venue's times that round into [start_ms, end_ms), whose ends are whole minutes."""
    return Window(start_ms - MINUTE_MS // 2, end_ms - MINUTE_MS // 2)


def keyed(table: pa.Table) -> pa.Table:
    """`table` with `timestamp` rounded to the minute."""
    raw = table["timestamp_raw"].cast(pa.int64())
    rounded = pc.multiply(pc.divide(pc.add(raw, MINUTE_MS // 2), MINUTE_MS), MINUTE_MS)
    at = table.schema.get_field_index("timestamp")
    return table.set_column(at, FUNDING_SCHEMA.field("timestamp"), rounded.cast(TIME))


def _read(
    name: str, said: Sequence[Any], read: Callable[[Any], float | int | None], unreadable: list[list[str]]
) -> pa.Array:
    """What was said as numbers; "" and nothing are none. Notes in `unreadable` where it is neither."""
    values = [None if value in ("", None) else read(value) for value in said]
    for n, (text, value) in enumerate(zip(said, values, strict=True)):
        if value is None and text not in ("", None):
            unreadable[n].append(name)
    return pa.array(values, pa.int64() if name in TIMES else pa.float64())


def _time(value: Any) -> int | None:
    text = str(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else ""
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        return None
    return int(text) if TIME_MS_MIN <= int(text) <= TIME_MS_MAX else None


def _metadata(fields: Mapping[str, str], rows: Sequence[dict[str, Any]], unreadable: Sequence[list[str]]) -> list[str]:
    known = set(fields.values())
    texts = []
    for row, bad in zip(rows, unreadable, strict=True):
        left = {"row": row} if bad else {name: value for name, value in row.items() if name not in known}
        texts.append(json.dumps(left, ensure_ascii=False, separators=(",", ":")) if left else "")
    return texts


def _untrusted(problem: str, rows: Any) -> VenueUnavailable:
    return VenueUnavailable(f"the venue sent {problem}: the page is not trusted", str(rows)[:EVIDENCE_CHARS])
