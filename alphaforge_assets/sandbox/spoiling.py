"""Pages of bars that are sound JSON and not the truth: what faults.py sends for the kinds that lie about bars.

Pure, and of any venue: rows are the list in the answer whose members are lists; their first value is the open time, the
next four are prices. Of trades they are records, whose price and time go by the names in TRADE_FIELDS.
"""

import datetime as dt
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from alphaforge_assets.sandbox.wire import dump

Row = Any  # a list of a bar, a record of a trade
TRADE_FIELDS = {"p": "T", "price": "time", "px": "ts"}  # price -> time
MINUTE_MS = 60_000


@dataclass(frozen=True)
class Measure:
    """Which rows are hit, and how: see faults.py."""

    start: int
    rows: int
    every: int
    value: float
    since: int

    def hits(self, n: int) -> bool:
        """Whether the row at place `n` of a page is hit."""
        return n >= self.start and ((n - self.start) % self.every if self.every else n - self.start) < self.rows


def _is_trade_list(row: Row) -> bool:
    """Kraken's trades are lists too, with the side in the fourth place."""
    return isinstance(row, list) and row[3] in ("b", "s")


def _price_field(row: Row) -> str:
    (name,) = row.keys() & TRADE_FIELDS.keys()
    return str(name)


def _prices(row: Row, change: Callable[[Any], Any]) -> Row:
    if isinstance(row, dict):
        return {**row, (name := _price_field(row)): change(row[name])}
    if _is_trade_list(row):
        return [change(row[0]), *row[1:]]
    return [row[0], *map(change, row[1:5]), *row[5:]]


def _time(row: Row) -> float:
    """When a bar opens, or a trade was, in the venue's unit; of a text in ISO 8601 milliseconds."""
    told = _told_time(row)
    if isinstance(told, str) and "T" in told:
        return dt.datetime.fromisoformat(told).timestamp() * 1000
    return float(told)


def _told_time(row: Row) -> Any:
    if isinstance(row, dict):
        return row[TRADE_FIELDS[_price_field(row)]]
    return row[2] if _is_trade_list(row) else row[0]


def _at(row: Row, time: float) -> Row:
    """A row of another time, in the form that the venue tells times in."""
    told = _told_time(row)
    if isinstance(told, str) and "T" in told:
        whole = abs(time) < 10**14  # what no calendar has stays a number
        words = dt.datetime.fromtimestamp(time / 1000, dt.UTC).isoformat() if whole else str(int(time))
        told = words.replace("+00:00", "Z")
    else:
        told = type(told)(time if isinstance(told, float) else int(time))
    if isinstance(row, dict):
        return {**row, TRADE_FIELDS[_price_field(row)]: told}
    return [*row[:2], told, *row[3:]] if _is_trade_list(row) else [told, *row[1:]]


def _times(factor: float) -> Callable[[Any], Any]:
    return lambda price: _as(price, format(float(price) * factor, ".12g"))


def _holes(rows: list[Row], m: Measure) -> list[Row]:
    return [row for n, row in enumerate(rows) if not m.hits(n)]


def _without(rows: list[Row], m: Measure) -> list[Row]:
    return [row for row in rows if not m.since <= _time(row) * _unit_ms(row) < m.since + m.rows * MINUTE_MS]


def _interval(rows: list[Row], m: Measure) -> list[Row]:
    return rows[:: m.every or 4]


def _double(rows: list[Row], m: Measure) -> list[Row]:
    told: list[Row] = []
    for n, row in enumerate(rows):
        told += [row, _prices(row, _times(m.value))] if m.hits(n) else [row]
    return told


def _into(value: Any) -> Callable[[list[Row], Measure], list[Row]]:
    return lambda rows, m: [_prices(row, lambda price: value) if m.hits(n) else row for n, row in enumerate(rows)]


def _moved(rows: list[Row], m: Measure) -> list[Row]:
    return [_at(row, _time(row) + int(m.value * MINUTE_MS) // _unit_ms(row)) for row in rows]


def _unit(rows: list[Row], m: Measure) -> list[Row]:
    return [_at(row, _time(row) * m.value) for row in rows]


def _as(told: Any, value: Any) -> Any:
    """A value in the form that the venue tells it in."""
    return type(told)(value)


def _unit_ms(row: Row) -> int:
    """Milliseconds in a unit of its time: of this century, what has ten digits is seconds."""
    return 1000 if _time(row) < 10**11 else 1


def _turned(rows: list[Row], m: Measure) -> list[Row]:
    return rows[1::2] + rows[::2]


def _other(rows: list[Row], m: Measure) -> list[Row]:
    return [_prices(row, _times(m.value)) for row in rows]


KINDS: Mapping[str, Callable[[list[Row], Measure], list[Row]]] = {
    "holes": _holes,
    "without": _without,
    "interval": _interval,
    "double": _double,
    "null": _into(None),
    "nan": _into("NaN"),
    "zero": _into("0"),
    "other": _other,
    "moved": _moved,
    "unit": _unit,
    "turned": _turned,
}


def spoiled(kind: str, body: bytes, measure: Measure) -> tuple[bytes, int]:
    """An answer spoiled in one of KINDS and how many rows it has now; one without rows of bars as it is."""
    try:
        answer = json.loads(body)
    except ValueError:
        return body, 0
    rows = _rows(answer)
    if not rows:
        return body, 0
    rows[:] = KINDS[kind](list(rows), measure)
    return dump(answer), len(rows)


def _rows(answer: Any) -> list[Row]:
    """The list of rows in it, under whatever name."""
    inner = answer.get("result", answer) if isinstance(answer, dict) else answer
    lists = inner.values() if isinstance(inner, dict) else [inner]
    return next((one for one in lists if isinstance(one, list) and one and _is_row(one[0])), [])


def _is_row(one: Any) -> bool:
    """Whether it is a bar, or a trade."""
    return isinstance(one, list) or (isinstance(one, dict) and len(one.keys() & TRADE_FIELDS.keys()) == 1)
