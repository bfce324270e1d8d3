"""Kraken's streams (WebSocket API v2): ohlc, trade, ticker, book.

A pair goes by its coins, BTC/USD, not by REST's name of it, and Bitcoin and Dogecoin not by Kraken's own: `named`. What
it does not know is refused with `success` false, of its symbol alone. Bars do not say which word of them is the last;
a minute without a trade has none; the snapshot is the last ten, of which the last is open. Numbers are JSON's, written
with all their decimals, and are kept as texts: REST has the same, and checksums are made of them. A book has 25 levels
a side, what falls out of them is not told, and its checksum is of the best ten. Whoever is told nothing else gets a
heartbeat a second. Source: docs.kraken.com, "Spot WebSocket Introduction", "Book checksum (WebSocket v2)", pages of the
channels; recorded messages of 2026. How many connections are granted (150 in ten minutes) is second-hand; how many
symbols and requests is not published, those here are ours.
"""

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import orjson

from alphaforge_assets.venues import kraken
from alphaforge_assets.venues.feed import Channel, Event, Feed, Kind, Notice
from alphaforge_assets.venues.feed_reading import never_raising, told_id, told_iso_us, told_text
from alphaforge_assets.venues.feed_records import Book, Quote
from alphaforge_assets.venues.governor import Budget

LEVELS = 25  # of those it has (10, 25, 100, 500, 1000) the least that shows twenty
CHECKED = 10

CHANNELS: Mapping[Kind, Mapping[str, Any]] = {
    "bars": {"channel": "ohlc", "interval": 1, "snapshot": True},
    "trades": {"channel": "trade", "snapshot": True},
    "quotes": {"channel": "ticker", "event_trigger": "bbo", "snapshot": True},
    "books": {"channel": "book", "depth": LEVELS, "snapshot": True},
}
KINDS: Mapping[str, Kind] = {params["channel"]: kind for kind, params in CHANNELS.items()}
SYMBOLS_A_MESSAGE = 100
COINS = {"XBT": "BTC", "XDG": "DOGE"}

CONNECTS = Budget("kraken.connects", limit=150, window_s=600, burst=5)


def named(venue_symbol: str, info: Mapping[str, Any]) -> str:
    """Made of `wsname`, v1's name of the pair, of which v2 calls two coins otherwise; REST's where it has none."""
    name = str(info.get("wsname") or "")
    return "/".join(COINS.get(coin, coin) for coin in name.split("/")) if name else venue_symbol


def subscribe(channels: Sequence[Channel], number: int) -> list[str]:
    """A message a kind, so that a refusal, which names the symbol alone, tells by its number which kind was meant."""
    asked = []
    for kind, params in CHANNELS.items():
        symbols = list(dict.fromkeys(one.venue_symbol for one in channels if one.kind == kind))
        parts = (symbols[n : n + SYMBOLS_A_MESSAGE] for n in range(0, len(symbols), SYMBOLS_A_MESSAGE))
        asked += [{"method": "subscribe", "params": {**params, "symbol": part}} for part in parts]
    return [orjson.dumps({**order, "req_id": n}).decode() for n, order in enumerate(asked, number)]


def read(said: Any) -> Sequence[Event | Notice]:
    """What a message says, its decimals as texts."""
    if "channel" not in said:
        return (_answer(said),)
    channel = said["channel"]
    if channel == "heartbeat":
        return (Notice("alive", "heartbeat"),)
    if channel == "status":
        return (_status(said["data"][0]),)
    reader, is_snapshot = READERS[channel], {"snapshot": True, "update": False}[said["type"]]
    at_ms = told_iso_us(said["timestamp"]) // 1000 if "timestamp" in said else 0
    return [reader(row, at_ms, is_snapshot) for row in said["data"]]


def _answer(said: Any) -> Notice:
    """A refusal names the symbol: it is of that one in the kind of the request, and here in every one of them."""
    number = said.get("req_id")
    asked = number if type(number) is int else None
    if said.get("method") == "pong":
        return Notice("alive", "pong", asked=asked)
    if said["success"] is True:
        result = said["result"]
        kind = KINDS[result["channel"]]
        if said["method"] == "subscribe":
            return Notice("acknowledged", channels=(Channel(kind, told_text(result["symbol"])),), asked=asked)
        return Notice("alive", said["method"], asked=asked)
    symbol = str(said.get("symbol") or "")
    channels = tuple(Channel(kind, symbol) for kind in CHANNELS) if symbol else ()
    return Notice("refused", str(said["error"])[:200], channels, asked=asked)


def _status(said: Any) -> Notice:
    """`maintenance` is the end of the connection; of one to come `upcoming_maintenance` tells."""
    system, coming = told_text(said["system"]), said.get("upcoming_maintenance") or said.get("emergency")
    reason = f"{system}, {json.dumps(coming)[:150]} to come" if coming else system
    return Notice("ending" if system == "maintenance" else "alive", reason)


def _text(value: Any) -> str:
    """A number as it was written. Raises ValueError for anything else."""
    if type(value) is int:
        return str(value)
    return told_text(value)


def _bar(said: Any, at_ms: int, is_snapshot: bool) -> Event:
    """A row as REST has it."""
    if said["interval"] != 1:
        raise ValueError(f"a bar of {said['interval']!r:.20} minutes")
    open_ms = told_iso_us(said["interval_begin"]) // 1000
    prices = [_text(said[name]) for name in ("open", "high", "low", "close", "vwap", "volume")]
    row = [open_ms // 1000, *prices, told_id(said["trades"])]
    return Event("bars", told_text(said["symbol"]), at_ms, row, open_ms, is_snapshot=is_snapshot)


def _trade(said: Any, at_ms: int, is_snapshot: bool) -> Event:
    """A row as REST has it. That ids go on by one is not promised and not so: some are never told."""
    us, number = told_iso_us(said["timestamp"]), told_id(said["trade_id"])
    price, quantity, time = _text(said["price"]), _text(said["qty"]), f"{us // 1_000_000}.{us % 1_000_000:06}"
    side, order = SIDES.get(said["side"], said["side"]), ORDERS.get(said["ord_type"], said["ord_type"])
    row = [price, quantity, time, side, order, "", number]
    ids = (number, number)
    return Event("trades", told_text(said["symbol"]), at_ms, row, ids=ids, is_snapshot=is_snapshot)


def _quote(said: Any, at_ms: int, is_snapshot: bool) -> Event:
    """Best offers among figures of the day; a message of several pairs has a time a pair, an older one has none."""
    record = Quote(
        bid_price=_text(said["bid"]),
        bid_quantity=_text(said["bid_qty"]),
        ask_price=_text(said["ask"]),
        ask_quantity=_text(said["ask_qty"]),
    )
    return Event("quotes", told_text(said["symbol"]), _own_ms(said, at_ms), record, is_snapshot=is_snapshot)


def _book(said: Any, at_ms: int, is_snapshot: bool) -> Event:
    number = said["checksum"]
    if type(number) is not int or not 0 <= number < 2**32:
        raise ValueError(f"no checksum: {number!r:.50}")
    bids, asks = ([[_text(one["price"]), _text(one["qty"])] for one in said[name]] for name in ("bids", "asks"))
    record = Book(bids=bids, asks=asks, checksum=number)
    return Event("books", told_text(said["symbol"]), _own_ms(said, at_ms), record, is_snapshot=is_snapshot)


def _own_ms(said: Any, at_ms: int) -> int:
    return told_iso_us(said["timestamp"]) // 1000 if "timestamp" in said else at_ms


def checksum(bids: Sequence[Sequence[str]], asks: Sequence[Sequence[str]], info: Mapping[str, Any]) -> int:
    """CRC32 of the ten best offers and the ten best bids: the digits of price and quantity without noughts before.

    With as many decimals as the pair has: a quantity may be written with fewer. `info` is its row in AssetPairs.
    """
    places = int(info["pair_decimals"]), int(info["lot_decimals"])
    levels = (level for side in (asks, bids) for level in side[:CHECKED])
    digits = (f"{Decimal(text):.{n}f}" for level in levels for text, n in zip(level, places, strict=True))
    return zlib.crc32("".join(text.replace(".", "").lstrip("0") for text in digits).encode())


SIDES = {"buy": "b", "sell": "s"}
ORDERS = {"market": "m", "limit": "l"}
READERS: Mapping[str, Callable[[Any, int, bool], Event]] = {
    "ohlc": _bar,
    "trade": _trade,
    "ticker": _quote,
    "book": _book,
}
# A third as fast as orjson, which makes floats of the texts: some 100,000 books of ten levels a second.
_DECODER = json.JSONDecoder(parse_float=str)


def _load(message: bytes) -> Any:
    return _DECODER.decode(message.decode())


SPOT = Feed(
    venue=kraken.SPOT.name,
    url="wss://ws.kraken.com/v2",
    path="/v2",
    kinds=("bars", "trades", "quotes", "books"),
    subscribe=subscribe,
    parse=never_raising(read, _load),
    connects=CONNECTS,
    channels_max=500,
    asks_per_s=5.0,
    silence_s=5.0,
    closes="next",
    trades=kraken.TRADES.layout,
    named=named,
    book_levels=LEVELS,
    checksum=checksum,
)
FEEDS = (SPOT,)
