"""Coinbase's streams ("Advanced Trade"): market_trades, ticker, level2, and heartbeats, without which it hangs up.

There are no bars of a minute: they are made of trades, whose ids go on by one. Each message of a connection is counted
by `sequence_num`, so each has a notice of its number, what it tells after it; books have no other proof. The first data
come before the acknowledgement, trades the newest first, `side` is the maker's. level2 answers as l2_data, what it
tells of a level is how much there is now. ticker speaks when something is traded. Of products in USDC it tells those in
USD ("will return the same data"), by which name is not said. Source: docs.cdp.coinbase.com, "Advanced Trade WebSocket
Overview", "Channels", "Rate Limits"; recorded messages of 2026. How many products a connection may have is not
published, what is here is ours.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from alphaforge_assets.venues import coinbase
from alphaforge_assets.venues.feed import Channel, Event, Feed, Kind, Notice
from alphaforge_assets.venues.feed_reading import counted, never_raising, told_id, told_iso_us, told_levels, told_text
from alphaforge_assets.venues.feed_records import Book, Quote
from alphaforge_assets.venues.governor import Budget

CHANNELS: Mapping[Kind, str] = {
    "bars": "market_trades",
    "trades": "market_trades",
    "quotes": "ticker",
    "books": "level2",
}
PRODUCTS_A_MESSAGE = 100
PRODUCT = re.compile(r"\b[A-Z0-9]+-[A-Z0-9]+\b")
MINUTE_US = 60_000_000

CONNECTS = Budget("coinbase.connects", limit=8, window_s=1, burst=1)


def subscribe(channels: Sequence[Channel], number: int) -> list[str]:
    """Requests have no number. Bars and trades of a product are one subscription."""
    asked: list[dict[str, Any]] = [{"type": "subscribe", "channel": "heartbeats"}]
    for name in dict.fromkeys(CHANNELS.values()):
        products = list(dict.fromkeys(one.venue_symbol for one in channels if CHANNELS[one.kind] == name))
        parts = (products[n : n + PRODUCTS_A_MESSAGE] for n in range(0, len(products), PRODUCTS_A_MESSAGE))
        asked += [{"type": "subscribe", "channel": name, "product_ids": part} for part in parts]
    return [orjson.dumps(order).decode() for order in asked]


def read(said: Any) -> Sequence[Event | Notice]:
    """What a message says, its number first."""
    if said.get("type") == "error":
        return (_refusal(said),)
    channel, number = told_text(said["channel"]), told_id(said["sequence_num"])
    if channel == "subscriptions":
        return (Notice("acknowledged", channels=_channels(said["events"]), number=number),)
    if channel == "heartbeats":
        return (Notice("alive", channel, number=number),)
    reader = READERS.get(channel)
    if reader is None:
        return (Notice("unknown", f"channel {channel}"[:200], number=number),)
    at_ms = told_iso_us(said["timestamp"]) // 1000
    told: list[Event | Notice] = [Notice("alive", channel, number=number)]
    for one in said["events"]:
        told += reader(one, at_ms, {"snapshot": True, "update": False}[one["type"]])
    return told


def _refusal(said: Any) -> Notice:
    """It does not say what it answers; products that its words name are meant, in every kind."""
    words = told_text(said["message"])
    found = dict.fromkeys(PRODUCT.findall(words))
    return Notice("refused", words[:200], tuple(Channel(kind, one) for one in found for kind in CHANNELS))


def _channels(events: Any) -> tuple[Channel, ...]:
    """All that the connection has by now."""
    return tuple(
        Channel(kind, told_text(product))
        for one in events
        for kind, name in CHANNELS.items()
        for product in one["subscriptions"].get(name, ())
    )


def _trades(said: Any, at_ms: int, is_snapshot: bool) -> list[Event]:
    """The oldest first."""
    return sorted((_trade(one, at_ms, is_snapshot) for one in said["trades"]), key=lambda trade: trade.ids or (0, 0))


def _trade(said: Any, at_ms: int, is_snapshot: bool) -> Event:
    """A record as REST has it."""
    symbol, number, us = told_text(said.pop("product_id")), counted(said["trade_id"]), told_iso_us(said["time"])
    record = said | {"trade_id": number, "side": told_text(said["side"]).lower()}
    opens_ms = us // MINUTE_US * (MINUTE_US // 1000)
    ids = (number, number)
    return Event("trades", symbol, at_ms, record, opens_ms, ids=ids, before=number - 1, is_snapshot=is_snapshot)


def _quotes(said: Any, at_ms: int, is_snapshot: bool) -> list[Event]:
    return [
        Event("quotes", told_text(one["product_id"]), at_ms, _quote(one), is_snapshot=is_snapshot)
        for one in said["tickers"]
    ]


def _quote(said: Any) -> Quote:
    """Among figures of a day."""
    return Quote(
        bid_price=told_text(said["best_bid"]),
        bid_quantity=told_text(said["best_bid_quantity"]),
        ask_price=told_text(said["best_ask"]),
        ask_quantity=told_text(said["best_ask_quantity"]),
    )


def _books(said: Any, at_ms: int, is_snapshot: bool) -> list[Event]:
    sides: dict[str, list[list[str]]] = {"bid": [], "offer": []}
    for one in said["updates"]:
        sides[one["side"]].append([one["price_level"], one["new_quantity"]])
    record = Book(bids=told_levels(sides["bid"]), asks=told_levels(sides["offer"]))
    return [Event("books", told_text(said["product_id"]), at_ms, record, is_snapshot=is_snapshot)]


READERS: Mapping[str, Callable[[Any, int, bool], list[Event]]] = {
    "market_trades": _trades,
    "ticker": _quotes,
    "l2_data": _books,
}

SPOT = Feed(
    venue=coinbase.SPOT.name,
    url="wss://advanced-trade-ws.coinbase.com",
    path="/advanced-trade",
    kinds=("bars", "trades", "quotes", "books"),
    subscribe=subscribe,
    parse=never_raising(read),
    connects=CONNECTS,
    channels_max=400,
    asks_per_s=8.0,
    silence_s=5.0,
    closes="trades",
    trades=coinbase.TRADES.layout,
    counts_connection=True,
)
FEEDS = (SPOT,)
