"""What venues say of themselves and their instruments, kept as versions: a refresh writes only what changed.

An instrument that a venue no longer lists gets a version that says so; nothing is ever deleted.
"""

import datetime as dt
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
from clickhouse_connect.driver.client import Client

from alphaforge_assets.errors import VenueUnavailable
from alphaforge_assets.universe import Instrument
from alphaforge_assets.venues.source import Listing
from alphaforge_assets.warehouse import statements

# The status, in our words, of what a venue no longer lists. No venue uses this one.
NOT_LISTED = "not_listed"

# A list shorter than this share of what the venue last listed is a truncated answer, not a day of delistings.
SHARE_BELIEVED_MIN = 0.5

_INSTRUMENTS = pa.schema(
    [
        ("venue", pa.string()),
        ("symbol", pa.string()),
        ("venue_symbol", pa.string()),
        ("base", pa.string()),
        ("quote", pa.string()),
        ("settle", pa.string()),
        ("status", pa.string()),
        ("is_active", pa.bool_()),
        ("tick_size", pa.float64()),
        ("lot_size", pa.float64()),
        ("contract_size", pa.float64()),
        ("min_notional", pa.float64()),
        ("listed_at", pa.timestamp("ms", "UTC")),
        ("delisted_at", pa.timestamp("ms", "UTC")),
        ("funding_rate_cap", pa.float64()),
        ("funding_rate_floor", pa.float64()),
        ("funding_interval_hours", pa.float64()),
        ("info", pa.string()),
        ("valid_from", pa.timestamp("ms", "UTC")),
    ]
)
_COMPARED = [name for name in _INSTRUMENTS.names if name not in ("venue", "symbol", "info", "valid_from")]

_VENUES = pa.schema(
    [
        ("venue", pa.string()),
        ("exchange", pa.string()),
        ("market_type", pa.string()),
        ("origin", pa.string()),
        ("instruments_listed", pa.uint32()),
        ("instruments_active", pa.uint32()),
        ("clock_skew_ms", pa.int64()),
        ("observed_at", pa.timestamp("ms", "UTC")),
    ]
)

_VENUES_HISTORY = pa.schema(
    [
        ("venue", pa.string()),
        ("observed_at", pa.timestamp("ms", "UTC")),
        ("origin", pa.string()),
        ("is_reachable", pa.bool_()),
        ("error", pa.string()),
        ("instruments_listed", pa.uint32()),
        ("instruments_active", pa.uint32()),
        ("clock_skew_ms", pa.int64()),
    ]
)


@dataclass(frozen=True)
class Change:
    """A new version of an instrument. `fields`: name -> (before, now), empty for one never seen before."""

    venue: str
    symbol: str
    fields: Mapping[str, tuple[Any, Any]]

    @property
    def kind(self) -> str:
        """`new`, `not listed`, `listed again` or `changed`."""
        before, now = self.fields.get("status", (None, None))
        if not self.fields:
            return "new"
        if now == NOT_LISTED:
            return "not listed"
        return "listed again" if before == NOT_LISTED else "changed"


def publish_listings(
    client: Client, listings: Sequence[Listing], observed_at: dt.datetime, *, believe: bool = False
) -> list[Change]:
    """Add a version of each instrument that is new, differs from its last version, or is no longer listed.

    `listings` are whole lists of one or more venues. The venue's raw row (`info`) is kept with each version but does
    not make one: it holds figures that change by the hour. Raises VenueUnavailable, and writes nothing, if a list is
    shorter than SHARE_BELIEVED_MIN of what the venue listed last, unless `believe`; WarehouseDown, WarehouseRefused.
    """
    found = {(row["venue"], row["symbol"]): row for row in _rows(listings)}
    venues = sorted({venue for venue, _ in found})
    known = {(row["venue"], row["symbol"]): row for row in statements.rows(client, "reads/instruments", venues=venues)}
    gone = {key: row for key, row in known.items() if key not in found and row["status"] != NOT_LISTED}
    if not believe:
        for venue in venues:
            _refuse_truncated(venue, found, known)
    for key, row in gone.items():
        found[key] = row | {"status": NOT_LISTED, "is_active": False, "info": ""}
    changed, changes = [], []
    for key, row in found.items():
        before = known.get(key)
        fields = {n: (before[n], row[n]) for n in _COMPARED if before[n] != row[n]} if before else {}
        if fields or not before:
            changed.append({name: row[name] for name in _COMPARED} | {
                "venue": key[0], "symbol": key[1], "info": row["info"], "valid_from": observed_at
            })  # fmt: skip
            changes.append(Change(*key, fields))
    if changed:
        data = pa.Table.from_pylist(changed, _INSTRUMENTS)
        statements.insert(client, "instruments", data, _token(changed))
    return changes


def publish_venues(client: Client, rows: Sequence[dict[str, object]], unreachable: Sequence[dict[str, object]]) -> None:
    """Add what each venue was like when observed.

    `rows` have the columns of the table `venues`, one a venue; `unreachable` venue, observed_at, origin and error.
    """
    if rows:
        statements.insert(client, "venues", pa.Table.from_pylist(list(rows), _VENUES), _token(rows))
    history = [row | {"is_reachable": True, "error": ""} for row in rows]
    history += [row | {"is_reachable": False} for row in unreachable]
    if history:
        data = pa.Table.from_pylist(history, _VENUES_HISTORY)
        statements.insert(client, "venues_history", data, _token(history))


def venue_symbols(
    client: Client, venues: Iterable[str], instruments: Iterable[Instrument] = ()
) -> dict[tuple[str, str], str]:
    """(venue, symbol) -> the venue's own name for it, of everything the venues were seen to list.

    What they were never seen to list, because it was over by then, goes by the name that the universe has for it.
    """
    own = {(i.venue, i.symbol): i.venue_symbol for i in instruments if i.venue_symbol}
    found = statements.rows(client, "reads/instruments", venues=sorted(venues))
    return own | {(row["venue"], row["symbol"]): row["venue_symbol"] for row in found}


def _rows(listings: Sequence[Listing]) -> list[dict[str, Any]]:
    """Rows of the table, one an instrument: of two listings under one symbol the one that trades."""
    last_wins = sorted(listings, key=lambda x: x.is_active)
    return [asdict(x) | {"settle": x.settle or ""} for x in last_wins]


def _refuse_truncated(venue: str, found: Iterable[tuple[str, str]], known: Mapping[tuple[str, str], Any]) -> None:
    listed = sum(v == venue for v, _ in found)
    before = sum(v == venue and row["status"] != NOT_LISTED for (v, _), row in known.items())
    if listed < SHARE_BELIEVED_MIN * before:
        raise VenueUnavailable(
            f"lists {listed} instruments where it listed {before}: the answer may be cut short and nothing is"
            f" marked as delisted. If it is true, `alphaforge refresh --believe {venue}` takes it over"
        )


def _token(rows: Iterable[object]) -> str:
    return hashlib.sha256(repr(list(rows)).encode()).hexdigest()
