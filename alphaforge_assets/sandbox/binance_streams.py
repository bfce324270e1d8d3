"""Binance's streams: spot, USDⓈ-M (klines, aggTrade, forceOrder apart from depth, bookTicker, trade) and US.

Fields and order follow recorded messages of Binance US (2021) and the vendor's pages. Klines are pushed every second
(two on spot), the closing one 50 to 250 ms after the minute; `f` and `L` are the ids of its first and last single
trade, -1 without one. depth@100ms, depth and depthN come once a second; on spot U is the last u + 1, on futures pu is
it. What does not exist is acknowledged and silent, as there. Error words are from memory of the vendor's pages.
"""

import json
import urllib.parse
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from alphaforge_assets.sandbox import liquidations
from alphaforge_assets.sandbox.bars import DAY_MS, MINUTE_MS, Bars
from alphaforge_assets.sandbox.binance import listing_of, number_of
from alphaforge_assets.sandbox.exchange import Exchange
from alphaforge_assets.sandbox.listings import Listing
from alphaforge_assets.sandbox.moments import BOOK_STEP_MS, IDS_A_STEP, Book, Minute, changes, shown
from alphaforge_assets.sandbox.streams import Connection, Event, Topic
from alphaforge_assets.sandbox.text import Column, Flag, Text, render
from alphaforge_assets.sandbox.wire import Endpoint, Query, Reply, dump

MARKET = ("kline_1m", "aggTrade", "forceOrder")
_ROOTS = {
    "": "binance_spot",
    "/market": "binance_perp",
    "/public": "binance_perp",
    "/fapi": "binance_perp",
    "/binanceus": "binanceus_spot",
}
PATHS = {root + end: venue for root, venue in _ROOTS.items() for end in ("/stream", "/ws")}


def endpoints(exchange: Exchange) -> dict[str, Endpoint]:
    """The books by REST, from which those of depth streams begin."""

    def at(venue: str) -> Endpoint:
        return Endpoint(venue, venue, lambda query: _snapshot(exchange, venue, query), lambda query: 5)

    paths = {"/api/v3": "binance_spot", "/fapi/v1": "binance_perp", "/binanceus/api/v3": "binanceus_spot"}
    return {f"{root}/depth": at(venue) for root, venue in paths.items()}


def _snapshot(exchange: Exchange, venue: str, query: Query) -> Reply:
    listing, limit = listing_of(exchange, venue, query), number_of(query, "limit") or 100
    now = exchange.clock.now_ms()
    book = Minute(exchange, listing, now // MINUTE_MS * MINUTE_MS).book(now % MINUTE_MS // BOOK_STEP_MS)
    told: dict[str, Any] = {"lastUpdateId": book.id}
    told |= {"E": now, "T": book.time_ms} if venue == "binance_perp" else {}
    return Reply(dump(told | sides(listing, book, limit)))


@dataclass
class BinanceStreams:
    """A `Dialect`."""

    exchange: Exchange
    paths: Mapping[str, str] = field(default_factory=lambda: PATHS)

    def greeting(self, connection: Connection, query: str) -> list[bytes]:
        named = urllib.parse.parse_qs(query).get("streams", [""])[0]
        tail = connection.path.partition("/ws/")[2]
        for key in filter(None, [*named.split("/"), *tail.split("/")]):
            topic = self._topic(connection, key)
            if topic:
                connection.topics[key] = topic
        return []

    def answer(self, connection: Connection, text: str) -> tuple[list[bytes], list[Topic]]:
        try:
            order = json.loads(text)
        except ValueError as error:
            return [dump({"error": {"code": 3, "msg": f"Invalid JSON: {error}"}})], []
        number = order.get("id") if isinstance(order, dict) else None
        method = order.get("method") if isinstance(order, dict) else None
        keys = order.get("params", []) if isinstance(order, dict) else []
        if method not in ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS"):
            return [_error(2, f"Invalid request: unknown variant `{method}`", number)], []
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            return [_error(2, "Invalid request: params must be an array of strings", number)], []
        if method == "LIST_SUBSCRIPTIONS":
            return [dump({"result": list(connection.topics), "id": number})], []
        done = dump({"result": None, "id": number})
        if method == "UNSUBSCRIBE":
            for key in keys:
                connection.topics.pop(key, None)
            return [done], []
        return [done], [topic for key in keys if (topic := self._topic(connection, key))]

    def _topic(self, connection: Connection, key: str) -> Topic | None:
        symbol, _, channel = key.partition("@")
        listing = self.exchange.listings.get((connection.venue, symbol.upper()))
        if listing is None or symbol != symbol.lower():
            return None
        channel = channel.removesuffix("@100ms").removesuffix("@1000ms").removesuffix("@500ms")
        is_market = channel in MARKET
        root = connection.path.split("/")[1]
        if (root == "market" and not is_market) or (root == "public" and is_market):
            return None
        known = ("kline_1m", "aggTrade", "trade", "bookTicker", "depth", "depth5", "depth10", "depth20")
        is_known = channel in known or (channel == "forceOrder" and connection.venue == "binance_perp")
        return Topic(key, channel, listing) if is_known else None

    def snapshot(self, connection: Connection, topic: Topic, now_ms: int) -> list[bytes]:
        return []

    def events(self, topic: Topic, minute: Minute) -> list[Event]:
        match topic.channel:
            case "kline_1m":
                return _klines(minute)
            case "aggTrade" | "trade":
                return _trades(minute, is_single=topic.channel == "trade")
            case "forceOrder":
                return _liquidations(self.exchange, minute)
            case "bookTicker":
                return [_best(minute, step) for step in range(MINUTE_MS // BOOK_STEP_MS)]
            case channel:
                levels = int(channel.removeprefix("depth") or 0)
                return [_depth(minute, step, levels) for step in range(MINUTE_MS // BOOK_STEP_MS)]

    def wrapped(self, connection: Connection, topic: Topic | None, text: bytes) -> bytes:
        if topic is None or not connection.path.endswith("/stream"):
            return text
        return b'{"stream":"' + topic.key.encode() + b'","data":' + text + b"}"

    def idle(self, connection: Connection, now_ms: int) -> list[bytes]:
        return []  # it pings, as uvicorn does

    def farewell(self, connection: Connection, now_ms: int) -> list[bytes]:
        told = {"e": "serverShutdown", "E": now_ms}
        return [dump({"stream": "serverShutdown", "data": told} if connection.path.endswith("/stream") else told)]

    def spoiled(self, text: bytes) -> bytes:
        told = json.loads(text)
        bar = told.get("data", told)["k"]
        bar["c"], bar["v"] = bar["o"], bar["v"].replace(".", "1.", 1)
        return dump(told)


def _error(code: int, words: str, number: Any) -> bytes:
    return dump({"error": {"code": code, "msg": words}, "id": number})


def padding(listing: Listing) -> tuple[int, int, int]:
    """Decimals of prices, volumes and quote volumes: eight on spot, the symbol's own on futures."""
    if listing.venue != "binance_perp":
        return 8, 8, 8
    return listing.price_decimals, listing.volume_decimals, listing.price_decimals + listing.volume_decimals


def delay_ms(listing: Listing, opens_ms: int) -> int:
    """How late a close comes, 50 to 250 ms."""
    return 50 + zlib.crc32(f"{listing.symbol}{opens_ms}".encode()) % 200


def rows_of(text: Text) -> list[bytes]:
    """The rows of a text, each a message."""
    at = text.offsets.tolist()
    whole = bytes(text.data)
    return [whole[a:b] for a, b in pairwise(at)]


def _klines(minute: Minute) -> list[Event]:
    listing, bar = minute.listing, minute.bar
    if bar is None:
        return []
    step = 1000 if listing.venue == "binance_perp" else 2000
    grown = minute.growing(step)
    assert grown is not None  # noqa: S101 - there is a bar
    trades = minute.aggregates
    first = int(trades.first[0]) if len(trades) else -1
    times = np.arange(step, MINUTE_MS, step) + minute.opens_ms
    close = minute.opens_ms + MINUTE_MS + delay_ms(listing, minute.opens_ms)
    opened = [
        Event(time, "open", text)
        for time, text in zip(times.tolist(), rows_of(_kline_rows(listing, grown, times, first, b"false")), strict=True)
    ]
    return [*opened, Event(close, "close", rows_of(_kline_rows(listing, bar, np.array([close]), first, b"true"))[0])]


def _kline_rows(listing: Listing, bars: Bars, times: Any, first: int, is_closed: bytes) -> Text:
    scales, symbol = bars.scales, listing.symbol.encode()
    price, volume, quote = padding(listing)
    has_trades = (bars.count > 0) & (first >= 0)
    last = np.where(has_trades, first + bars.count - 1, -1)
    columns: list[Column | Flag] = [
        Column(times),
        Column(bars.open_time),
        Column(bars.close_time),
        Column(np.where(has_trades, first, -1)),
        Column(last),
        *(Column(c, scales.price, price) for c in (bars.open, bars.close, bars.high, bars.low)),
        Column(bars.volume, scales.volume, volume),
        Column(bars.count),
        Column(bars.quote_volume, scales.quote, quote),
        Column(bars.taker_volume, scales.volume, volume),
        Column(bars.taker_quote_volume, scales.quote, quote),
    ]
    names = [
        b'{"e":"kline","E":', b',"s":"' + symbol + b'","k":{"t":', b',"T":', b',"s":"' + symbol + b'","i":"1m","f":',
        b',"L":', b',"o":"', b'","c":"', b'","h":"', b'","l":"', b'","v":"', b'","n":',
        b',"x":' + is_closed + b',"q":"', b'","V":"', b'","Q":"', b'","B":"0"}}',
    ]  # fmt: skip
    return render(columns, names)


def _trades(minute: Minute, *, is_single: bool) -> list[Event]:
    listing = minute.listing
    found = minute.singles if is_single else minute.aggregates
    texts = rows_of(trade_rows(listing, found, is_single=is_single))
    return [Event(time, "trade", text) for time, text in zip((found.time + 1).tolist(), texts, strict=True)]


def trade_rows(listing: Listing, found: Any, *, is_single: bool) -> Text:
    """Trades as messages, each told a millisecond after it happened."""
    is_spot, symbol = listing.venue != "binance_perp", listing.symbol.encode()
    price, quantity = (8, 8) if is_spot else (found.price_decimals, found.quantity_decimals)
    name = b"trade" if is_single else b"aggTrade"
    columns: list[Column | Flag] = [
        Column(found.time + 1),
        Column(found.id),
        Column(found.price, found.price_decimals, price),
        Column(found.quantity, found.quantity_decimals, quantity),
        *(() if is_single else (Column(found.first), Column(found.last))),
        Column(found.time),
        Flag(found.buyer_is_maker),
    ]
    number = b',"s":"' + symbol + (b'","t":' if is_single else b'","a":')
    ids = [] if is_single else [b'","f":', b',"l":']
    ends = b',"M":true}' if is_spot else b',"X":"MARKET"}' if is_single else b"}"
    names = [
        b'{"e":"' + name + b'","E":',
        number,
        b',"p":"',
        b'","q":"',
        *ids,
        b'","T":' if is_single else b',"T":',
        b',"m":',
    ]
    return render(columns, [*names, ends])


def _liquidations(exchange: Exchange, minute: Minute) -> list[Event]:
    """The last of a second at most, as the venue samples them."""
    listing = minute.listing
    day = minute.opens_ms // DAY_MS * DAY_MS
    told = []
    for line in dict.fromkeys(days_liquidations(exchange, listing, day)):
        time, side, kind, force, amount, price, average, status, last, filled = line.strip().split(",")
        if not minute.opens_ms <= int(time) < minute.opens_ms + MINUTE_MS:
            continue
        order = {"s": listing.symbol, "S": side, "o": kind, "f": force, "q": amount, "p": price, "ap": average,
                 "X": status, "l": last, "z": filled, "T": int(time)}  # fmt: skip
        told.append(Event(int(time) + 1, "liquidation", dump({"e": "forceOrder", "E": int(time) + 1, "o": order})))
    return told


_DAYS: dict[tuple[int, str, int], list[str]] = {}


def days_liquidations(exchange: Exchange, listing: Listing, day_ms: int) -> list[str]:
    """The lines of a day, as `liquidations.py` makes them; none where a recording is played."""
    key = (exchange.seed, f"{listing.venue}/{listing.symbol}", day_ms)
    if key not in _DAYS:
        if len(_DAYS) > 64:
            _DAYS.clear()
        _DAYS[key] = [] if exchange.recordings else liquidations.rows(exchange.market, listing, day_ms)
    return _DAYS[key]


def _level(listing: Listing, price: int, amount: int) -> list[str]:
    pad = padding(listing)
    return [shown(price, listing.price_decimals, pad[0]), shown(amount, listing.volume_decimals, pad[1])]


def _best(minute: Minute, step: int) -> Event:
    listing, book = minute.listing, minute.book(step)
    bid, ask = (next(iter(side.items())) for side in (book.bids, book.asks))
    its = dict(zip("bBaA", (*_level(listing, *bid), *_level(listing, *ask)), strict=True))
    told: dict[str, Any] = {"u": book.id, "s": listing.symbol, **its}
    if listing.venue == "binance_perp":
        told = {"e": "bookTicker", **told, "T": book.time_ms, "E": book.time_ms}
    return Event(book.time_ms, "best", dump(told))


def _depth(minute: Minute, step: int, levels: int) -> Event:
    listing, book, before = minute.listing, minute.book(step), minute.book(step - 1)
    is_futures = listing.venue == "binance_perp"
    if levels and not is_futures:
        return Event(book.time_ms, "book", dump({"lastUpdateId": book.id, **sides(listing, book, levels)}))
    pair = (before.bids, book.bids), (before.asks, book.asks)
    bids, asks = ([_level(listing, *it) for it in changes(*its)] for its in pair)
    if levels:
        its = sides(listing, book, levels)
        bids, asks = its["bids"], its["asks"]
    told: dict[str, Any] = {"e": "depthUpdate", "E": book.time_ms}
    told |= {"T": book.time_ms} if is_futures else {}
    told |= {"s": listing.symbol, "U": book.id - IDS_A_STEP + 1, "u": book.id}
    told |= {"pu": book.before} if is_futures else {}
    return Event(book.time_ms, "book", dump(told | {"b": bids, "a": asks}))


def sides(listing: Listing, book: Book, levels: int) -> dict[str, list[list[str]]]:
    """The best levels of a book, best first."""
    two = {"bids": book.bids, "asks": book.asks}
    return {name: [_level(listing, *it) for it in list(side.items())[:levels]] for name, side in two.items()}
