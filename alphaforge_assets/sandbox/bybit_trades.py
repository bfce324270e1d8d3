"""Bybit's trades over REST: the newest of a symbol and no others, from the newest to the oldest.

Fields, their order and the limits are the vendor's page (v5/market/recent-trade): 60 of spot, 1,000 of linear, 500
where none is said. Linear trades are named by UUIDs, here made of their numbers; spot ones by digits. `seq` counts
orders that took, here seven trades each.
"""

import uuid

import numpy as np

from alphaforge_assets.sandbox.bybit import category_of, listing_of, ok, refuse, whole
from alphaforge_assets.sandbox.exchange import Exchange
from alphaforge_assets.sandbox.text import Column, texts
from alphaforge_assets.sandbox.wire import Endpoint, Query, Reply

LIMITS = {"spot": (60, 60), "linear": (500, 1000)}  # the usual one, the highest
SPOT_IDS_FROM = 2_100_000_000_000_000_000
NAMES = uuid.UUID("51a1b9a8-3c0e-4d4c-9a0a-6f2f4e6c0d11")  # of a namespace: the same trade has the same name


def endpoints(exchange: Exchange) -> dict[str, Endpoint]:
    """Every path of Bybit's trades that the sandbox answers."""
    return {"/v5/market/recent-trade": Endpoint("bybit", "bybit", lambda query: _recent(exchange, query))}


def _recent(exchange: Exchange, query: Query) -> Reply:
    category = category_of(exchange, query)
    if category not in LIMITS:
        raise refuse(exchange, "Illegal category")
    listing = listing_of(exchange, query, category)
    usual, most = LIMITS[category]
    limit = whole(exchange, query, "limit", usual) or 0
    if limit < 1:
        raise refuse(exchange, "params error: limit is invalid")
    found = exchange.tapes.of(listing, is_single=True).newest(min(limit, most), exchange.clock.now_ms())
    rows = [
        {
            "execId": trade_name(category, listing.symbol, number),
            "symbol": listing.symbol,
            "price": price,
            "size": size,
            "side": side,
            "time": str(time),
            "isBlockTrade": False,
            "isRPITrade": False,
            "seq": str(number // 7),
        }
        for number, price, size, side, time in zip(
            found.id[::-1].tolist(),
            texts(Column(found.price[::-1], found.price_decimals)),
            texts(Column(found.quantity[::-1], found.quantity_decimals, plain=True)),
            np.where(found.buyer_is_maker[::-1], "Sell", "Buy").tolist(),
            found.time[::-1].tolist(),
            strict=True,
        )
    ]
    return ok(exchange, {"category": category, "list": rows}, len(rows))


def trade_name(category: str, symbol: str, number: int) -> str:
    """What a trade is called."""
    return str(SPOT_IDS_FROM + number) if category == "spot" else str(uuid.uuid5(NAMES, f"{symbol}/{number}"))
