"""Instrument lists: from the markets that ccxt makes of a venue's rows to one record an instrument. Pure."""

import datetime as dt
import json
from collections.abc import Mapping
from typing import Any

from alphaforge_assets.errors import VenueUnavailable
from alphaforge_assets.venues.source import Listing
from alphaforge_assets.venues.venue import Venue


def read_listings(venue: Venue, markets: Any) -> list[Listing]:
    """The instruments of this market place among ccxt's `markets`, in the venue's order.

    Of derivatives only perpetuals that settle in their quote currency: another kind counts volume in another unit. What
    goes by another symbol than its coins (auctions, synthetic pairs) is left out, for it is not their market.
    Raises VenueUnavailable if there are no markets at all: a venue that lists nothing is one that did not answer.
    """
    if not isinstance(markets, list) or not markets:
        raise VenueUnavailable(f"{venue.name} lists no instrument at all: that is not believed", str(markets))
    wanted = [m for m in markets if (m["swap"] and m["linear"] if venue.is_perpetual else _is_spot(m))]
    if not wanted:
        raise VenueUnavailable(f"{venue.name}: none of the {len(markets)} markets it lists is of its kind")
    return [_listing(venue, m) for m in wanted]


def _is_spot(market: Mapping[str, Any]) -> bool:
    return bool(market["spot"]) and market["symbol"] == f"{market['base']}/{market['quote']}"


def _listing(venue: Venue, market: Mapping[str, Any]) -> Listing:
    marks = venue.marks(market["info"])
    precision, limits = market.get("precision") or {}, market.get("limits") or {}
    return Listing(
        venue=venue.name,
        symbol=f"{market['base']}/{market['quote']}",
        venue_symbol=market["id"],
        base=market["base"],
        quote=market["quote"],
        settle=market["settle"],
        status=marks.status,
        is_active=bool(market["active"]),
        tick_size=precision.get("price"),
        lot_size=precision.get("amount"),
        contract_size=market.get("contractSize"),
        min_notional=(limits.get("cost") or {}).get("min"),
        listed_at=None if marks.listed_ms is None else moment(marks.listed_ms),
        delisted_at=None if marks.delisted_ms is None else moment(marks.delisted_ms),
        funding_rate_cap=marks.funding_rate_cap,
        funding_rate_floor=marks.funding_rate_floor,
        funding_interval_hours=marks.funding_interval_hours,
        info=json.dumps(market["info"], ensure_ascii=False, separators=(",", ":")),
    )


def moment(ms: int) -> dt.datetime:
    """Milliseconds since the epoch as an aware datetime, exactly."""
    return dt.datetime.fromtimestamp(ms // 1000, dt.UTC) + dt.timedelta(milliseconds=ms % 1000)
