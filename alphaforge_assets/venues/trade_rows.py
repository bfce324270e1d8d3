"""Rows of a venue's trades into Arrow columns: one schema for all venues, one description of a record a venue.

Pure. Nothing a venue says is lost or mended: what is not what it should be becomes null, or no side, and its record
goes to `metadata`, as does every field that has no column. Only a page whose ids or times cannot be read is refused.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
        pa.field("metadata", pa.string(), nullable=False),  # '' or JSON of what has no column
    ]
)
ID_MAX = 2**63 - 1


@dataclass(frozen=True)
class TradeLayout:
    """What stands where in a venue's record of a trade.

    `keys` names the venue's field of a column, `usual` fields that say nothing while they hold that. The side is that
    of the taker: the one beside `buyer_is_maker`, or `side`'s own word.
    """

    kind: Kind
    keys: Mapping[str, str]
    buyer_is_maker: str = ""
    side: str = ""
    sides: Mapping[str, str] = field(default_factory=lambda: {"buy": "buy", "sell": "sell"})
    usual: Mapping[str, Any] = field(default_factory=dict)
    time_units_a_ms: int = 1
    own: str = ""  # the field that names the instrument, where there is one


def parse_trades(layout: TradeLayout, rows: Any, venue_symbol: str) -> pa.Table:
    """A page of trades as a table of TRADE_SCHEMA, in the order it came.

    Raises VenueUnavailable if `rows` is not a list of records of this instrument, or one has no id or no time.
    """
    if not isinstance(rows, list) or set(map(type, rows)) - {dict}:
        raise _untrusted("a page that is not a list of records", rows)
    if not rows:
        return TRADE_SCHEMA.empty_table()
    if layout.own and (strangers := {str(row.get(layout.own)) for row in rows} - {venue_symbol}):
        raise _untrusted(f"trades of {', '.join(sorted(strangers))} for {venue_symbol}", rows)
    names, fields = [*layout.keys, "side"], [*layout.keys.values(), layout.side or layout.buyer_is_maker]
    spoiled: set[int] = set()
    raw = dict(zip(names, _columns(fields, rows, spoiled), strict=True))
    times = _whole(raw["timestamp"], "a time", rows, TIME_MS_MIN, TIME_MS_MAX, layout.time_units_a_ms)
    ids = _whole(raw["trade_id"], "an id", rows, 0, ID_MAX)
    columns: dict[str, pa.Array] = {
        "timestamp": pc.multiply(times, 1000 // layout.time_units_a_ms).view(TIME_US),
        "trade_id": ids.cast(pa.uint64()),
        "side": _sides(layout, raw["side"], spoiled),
    }
    for name in ("first_id", "last_id"):
        own = _whole(raw[name], "an id", rows, 0, ID_MAX) if name in raw else ids
        columns[name] = own.cast(pa.uint64())
    columns |= read_numbers({n: raw[n] for n in ("price", "quantity", "quote_quantity") if n in raw}, spoiled)
    columns["metadata"] = _metadata(layout, fields, rows, spoiled)
    constants = {"trade_kind": layout.kind, "trade_uuid": ""}
    columns |= {name: pa.repeat(pa.scalar(value), len(rows)) for name, value in constants.items()}
    missing = {f.name: pa.nulls(len(rows), f.type) for f in TRADE_SCHEMA if f.name not in columns}
    return pa.table(columns | missing, schema=TRADE_SCHEMA)


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
