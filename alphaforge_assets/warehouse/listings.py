"""What venues say of themselves and their instruments, kept as versions: a refresh writes only what changed."""

import datetime as dt
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict

import pyarrow as pa
from clickhouse_connect.driver.client import Client

from alphaforge_assets.venues.venue import Listing
from alphaforge_assets.warehouse import statements

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
        ("info", pa.string()),
        ("valid_from", pa.timestamp("ms", "UTC")),
    ]
)
_COMPARED = [name for name in _INSTRUMENTS.names if name not in ("info", "valid_from")]

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


def publish_listings(client: Client, listings: Sequence[Listing], observed_at: dt.datetime) -> int:
    """Add a version of each instrument that is new or differs from its last version. Returns how many.

    The venue's raw row (`info`) is kept with each version but does not make one: it holds figures that change by the
    hour. Raises WarehouseDown, WarehouseRefused.
    """
    known = {
        (row["venue"], row["symbol"]): tuple(row[name] for name in _COMPARED)
        for row in statements.rows(client, "reads/instruments", venues=sorted({x.venue for x in listings}))
    }
    changed = []
    for listing in listings:
        row = asdict(listing) | {"settle": listing.settle or "", "valid_from": observed_at}
        if known.get((listing.venue, listing.symbol)) != tuple(row[name] for name in _COMPARED):
            changed.append(row)
    if changed:
        data = pa.Table.from_pylist(changed, _INSTRUMENTS)
        statements.insert(client, "instruments", data, _token(changed))
    return len(changed)


def publish_venues(client: Client, rows: Sequence[dict[str, object]]) -> None:
    """Add what each venue was like when observed; one dict a venue with the columns of the table `venues`."""
    statements.insert(client, "venues", pa.Table.from_pylist(list(rows), _VENUES), _token(rows))


def venue_symbols(client: Client, venues: Iterable[str]) -> dict[tuple[str, str], str]:
    """(venue, symbol) -> the venue's own name for it, of everything the venues were seen to list."""
    found = statements.rows(client, "reads/instruments", venues=sorted(venues))
    return {(row["venue"], row["symbol"]): row["venue_symbol"] for row in found}


def _token(rows: Iterable[object]) -> str:
    return hashlib.sha256(repr(list(rows)).encode()).hexdigest()
