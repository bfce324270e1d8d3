"""Rows of a venue's trades into Arrow columns: one schema for all venues, one description of a record a venue.

Pure. Nothing a venue says is lost or mended: what is not what it should be becomes null, or no side, and its record
goes to `metadata`, as does every field that has no column. Only a page whose ids or times cannot be read is refused.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from operator import itemgetter
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from alphaforge_assets.errors import VenueUnavailable
from alphaforge_assets.venues.columns import EVIDENCE_CHARS, TIME_MS_MAX, TIME_MS_MIN, read_integers, read_numbers

Kind = Literal["single", "aggregate"]
TIME_US = pa.timestamp("us", "UTC")

# One trade. Price in quote, quantity in base; the side is the taker's.
TRADE_SCHEMA = pa.schema(
    [
        pa.field("timestamp", TIME_US, nullable=False),
        pa.field("trade_kind", pa.string(), nullable=False),  # single or aggregate
        pa.field("trade_id", pa.uint64(), nullable=False),
        pa.field("trade_uuid", pa.string(), nullable=False),  # where the venue names trades instead of counting them
        pa.field("first_id", pa.uint64(), nullable=False),  # single trades of an aggregate, both inclusive
        pa.field("last_id", pa.uint64(), nullable=False),
        pa.field("side", pa.string(), nullable=False),  # buy, sell, or "" where neither was said
        pa.field("price", pa.float64()),
        pa.field("quantity", pa.float64()),
        pa.field("quote_quantity", pa.float64()),
        pa.field("contract_quantity", pa.float64()),  # in contracts, where the venue counts in those
        pa.field("metadata", pa.string(), nullable=False),  # '' or JSON of what has no column
    ]
)
ID_MAX = 2**63 - 1
AMOUNTS = ("price", "quantity", "quote_quantity", "contract_quantity")


@dataclass(frozen=True)
class TradeLayout:
    """What stands where in a venue's record of a trade.

    `keys` names the venue's field of a column, `usual` fields that say nothing while they hold that. Rows that are
    lists have `fields`, a name a place. The side is that of the taker: the one beside `buyer_is_maker`, or what `sides`
    makes of the word in `side`. Times are counted, decimals of seconds, or texts in ISO 8601. Ids that are names are
    made numbers of by `number_of`. Of contract_quantity the quantity is made, by the size of a contract.
    """

    kind: Kind
    keys: Mapping[str, str]
    buyer_is_maker: str = ""
    side: str = ""
    sides: Mapping[str, str] = field(default_factory=lambda: {"buy": "buy", "sell": "sell"})
    usual: Mapping[str, Any] = field(default_factory=dict)
    time_units_a_ms: int = 1
    own: str = ""  # the field that names the instrument, where there is one
    fields: tuple[str, ...] = ()
    time: Literal["count", "seconds", "iso"] = "count"
    is_named: bool = False

    @property
    def is_in_contracts(self) -> bool:
        return "contract_quantity" in self.keys


def number_of(name: str) -> int:
    """The id of a trade that its venue names: the number it is written as, else one of 63 bits made of its bytes."""
    if name.isascii() and name.isdigit() and int(name) <= ID_MAX:
        return int(name)
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) >> 1


def parse_trades(layout: TradeLayout, rows: Any, venue_symbol: str, contract_size: float | None = None) -> pa.Table:
    """A page of trades as a table of TRADE_SCHEMA, in the order it came.

    `contract_size` is base a contract. Raises VenueUnavailable if `rows` is not a list of records of this instrument,
    or one has no id or no time, or it is told in contracts of which nobody knows the size.
    """
    if not isinstance(rows, list) or set(map(type, rows)) - {list if layout.fields else dict}:
        raise _untrusted("a page that is not a list of records", rows)
    if not rows:
        return TRADE_SCHEMA.empty_table()
    if layout.fields:
        rows = [_record(layout.fields, row) for row in rows]
    if layout.own and (strangers := {str(row.get(layout.own)) for row in rows} - {venue_symbol}):
        raise _untrusted(f"trades of {', '.join(sorted(strangers))} for {venue_symbol}", rows)
    names, fields = [*layout.keys, "side"], [*layout.keys.values(), layout.side or layout.buyer_is_maker]
    spoiled: set[int] = set()
    raw = dict(zip(names, _columns(fields, rows, spoiled), strict=True))
    numbers = _numbered if layout.is_named else _counted
    ids = numbers(raw["trade_id"], rows)
    columns: dict[str, pa.Array] = {
        "timestamp": _times(layout, raw["timestamp"], rows),
        "trade_id": ids.cast(pa.uint64()),
        "trade_uuid": pa.array(raw["trade_id"] if layout.is_named else [""] * len(rows), pa.string()),
        "side": _sides(layout, raw["side"], spoiled),
    }
    for name in ("first_id", "last_id"):
        own = _counted(raw[name], rows) if name in raw else ids
        columns[name] = own.cast(pa.uint64())
    columns |= read_numbers({n: raw[n] for n in AMOUNTS if n in raw}, spoiled)
    if layout.is_in_contracts:
        columns["quantity"] = _in_base(columns["contract_quantity"], contract_size, rows)
    columns["metadata"] = _metadata(layout, fields, rows, spoiled)
    columns["trade_kind"] = pa.repeat(pa.scalar(layout.kind), len(rows))
    missing = {f.name: pa.nulls(len(rows), f.type) for f in TRADE_SCHEMA if f.name not in columns}
    return pa.table(columns | missing, schema=TRADE_SCHEMA)


def _record(fields: Sequence[str], row: Sequence[Any]) -> dict[str, Any]:
    """A list as a record; what is beyond its fields goes by its place."""
    names = (*fields, *map(str, range(len(fields), len(row))))
    return dict(zip(names, row, strict=False))


def _times(layout: TradeLayout, told: Sequence[Any], rows: Any) -> pa.Array:
    """Times to the microsecond; what is finer is cut, or the last trade of a minute would be of the next one."""
    if layout.time == "count":
        times = _whole(told, "a time", rows, TIME_MS_MIN, TIME_MS_MAX, layout.time_units_a_ms)
        return pc.multiply(times, 1000 // layout.time_units_a_ms).view(TIME_US)
    if layout.time == "seconds":
        return _believable([_microseconds(value) for value in told], rows)
    try:
        nanoseconds = pa.array(told, pa.string()).cast(pa.timestamp("ns", "UTC")).view(pa.int64())
    except pa.ArrowException:
        raise _untrusted(f"trades without a time in ISO 8601, the first {str(rows[0])[:200]}", rows) from None
    return _believable(pc.divide(nanoseconds, 1000).to_pylist(), rows)


def _believable(us: Sequence[int | None], rows: Any) -> pa.Array:
    return _whole(us, "a time", rows, TIME_MS_MIN, TIME_MS_MAX, 1000).view(TIME_US)


def _microseconds(value: Any) -> int | None:
    """Decimals of seconds, a number as the shortest text that means it; None for what is none."""
    whole, _, part = (repr(value) if isinstance(value, float) else str(value)).partition(".")
    return int(whole + part.ljust(6, "0")[:6]) if (whole + part).isascii() and (whole + part).isdigit() else None


def _counted(ids: Sequence[Any], rows: Any) -> pa.Array:
    return _whole(ids, "an id", rows, 0, ID_MAX)


def _numbered(names: Sequence[Any], rows: Any) -> pa.Array:
    if not all(isinstance(name, str) and name for name in names):
        raise _untrusted(f"trades without an id, the first {str(rows[0])[:200]}", rows)
    return pa.array([number_of(name) for name in names], pa.int64())


def _in_base(contracts: pa.Array, size: float | None, rows: Any) -> pa.Array:
    """Multiplied as decimals, so that 34.95 contracts of 0.01 are 0.3495; where they do not fit, as floats."""
    if not size or size <= 0:
        raise _untrusted("trades in contracts, and its list of instruments does not say how much base one is", rows)
    try:
        a_contract = pa.scalar(Decimal(repr(size)), pa.decimal128(18, 8))
        return pc.multiply(contracts.cast(pa.decimal128(19, 6)), a_contract).cast(pa.string()).cast(pa.float64())
    except pa.ArrowInvalid:
        return pc.multiply(contracts, size)


def _columns(fields: Sequence[str], rows: Sequence[Mapping[str, Any]], spoiled: set[int]) -> Sequence[Sequence[Any]]:
    """The values of each field, and which rows lack one of them."""
    try:
        return list(zip(*map(itemgetter(*fields), rows), strict=True))
    except KeyError:
        spoiled.update(n for n, row in enumerate(rows) if not row.keys() >= set(fields))
        return [[row.get(name) for row in rows] for name in fields]


def _whole(values: Sequence[Any], what: str, rows: Any, low: int, high: int, units: int = 1) -> pa.Array:
    spoiled: set[int] = set()
    column = read_integers(values, spoiled, low * units, high * units)
    if spoiled:
        raise _untrusted(f"{len(spoiled)} trades without {what}, the first {str(rows[min(spoiled)])[:200]}", rows)
    return column


def _sides(layout: TradeLayout, told: Sequence[Any], spoiled: set[int]) -> pa.Array:
    """What the taker did. The buyer being the maker means that the taker sold."""
    if layout.buyer_is_maker and set(map(type, told)) == {bool}:
        return pc.if_else(pa.array(told, pa.bool_()), "sell", "buy")
    words: Mapping[Any, str] = {True: "sell", False: "buy"} if layout.buyer_is_maker else layout.sides
    sides = [words.get(value, "") if isinstance(value, (str, bool)) else "" for value in told]
    spoiled.update(n for n, side in enumerate(sides) if not side)
    return pa.array(sides, pa.string())


def _metadata(
    layout: TradeLayout, fields: Sequence[str], rows: Sequence[Mapping[str, Any]], spoiled: set[int]
) -> pa.Array:
    known = {*fields, *layout.usual, layout.own}
    usual = sorted(layout.usual)
    odd = set(spoiled)
    if set(map(len, rows)) != {len(fields)}:
        odd.update(n for n, is_known in enumerate(map(known.issuperset, rows)) if not is_known)
    for name in usual:
        told = [row.get(name, layout.usual[name]) for row in rows]
        if any(value != layout.usual[name] for value in told):
            odd.update(n for n, value in enumerate(told) if value != layout.usual[name])
    if not odd:
        return pa.repeat(pa.scalar(""), len(rows))
    texts = [""] * len(rows)
    for n in odd:
        left: dict[str, Any] = {k: v for k, v in rows[n].items() if k not in known or v != layout.usual.get(k, v)}
        texts[n] = json.dumps({"row": rows[n]} if n in spoiled else left, ensure_ascii=False, separators=(",", ":"))
    return pa.array(texts, pa.string())


def _untrusted(problem: str, rows: Any) -> VenueUnavailable:
    return VenueUnavailable(f"the venue sent {problem}: the page is not trusted", str(rows)[:EVIDENCE_CHARS])
