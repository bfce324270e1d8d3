"""Kraken's streams (v2, at /v2): ohlc, trade, book (depth 10), ticker for the best bid and offer, status, heartbeats.

Fields and order follow recorded messages of 2026. A new connection is told its status; an idle second brings a
heartbeat, if anything is subscribed to. Bars have no flag of being closed: the last update of a minute comes within it,
a minute without a trade has none, and the snapshot repeats the last ten. vwap is REST's. A pair is known as BTC/USD;
what is not known, as XBT/USD, is refused with success false. Books carry the CRC32 of ten levels. Numbers are JSON
numbers of the pair's decimals. `ticker` has the best prices and no figures of a day.
"""

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from alphaforge_assets.sandbox.bars import MINUTE_MS, Bars
from alphaforge_assets.sandbox.binance_streams import rows_of
from alphaforge_assets.sandbox.exchange import Exchange
from alphaforge_assets.sandbox.kraken import VENUE, vwap_of
from alphaforge_assets.sandbox.listings import Listing
from alphaforge_assets.sandbox.moments import BOOK_STEP_MS, Minute, Side, changes, shown
from alphaforge_assets.sandbox.streams import Connection, Event, Topic
from alphaforge_assets.sandbox.text import Column, Flag, render
from alphaforge_assets.sandbox.wire import dump

CHANNELS = ("ohlc", "trade", "book", "ticker")
LEVELS = 10
BARS_TOLD = 10


@dataclass
class KrakenStreams:
    """A `Dialect`."""

    exchange: Exchange
    paths: Mapping[str, str] = field(default_factory=lambda: {"/v2": VENUE})

    def greeting(self, connection: Connection, query: str) -> list[bytes]:
        return [_status("online", connection)]

    def answer(self, connection: Connection, text: str) -> tuple[list[bytes], list[Topic]]:
        now = moment(self.exchange.clock.now_ms() * 1000)
        try:
            order = json.loads(text)
            method, params, number = order["method"], order.get("params", {}), order.get("req_id")
            symbols, channel = params.get("symbol", []), params.get("channel", "")
        except (ValueError, KeyError, AttributeError):
            return [dump({"error": "Malformed request", "success": False, "time_in": now, "time_out": now})], []
        head: dict[str, Any] = {"method": method} | ({} if number is None else {"req_id": number})
        times = {"time_in": now, "time_out": now}
        if method == "ping":
            return [dump({**head, "method": "pong", **times})], []
        said, topics = [], []
        for symbol in symbols:
            listing = self._listing(symbol)
            if listing is None or channel not in CHANNELS or (channel == "ohlc" and params.get("interval", 1) != 1):
                words = f"Currency pair not supported {symbol}" if listing is None else "Subscription not supported"
                said.append(dump({"error": words, **head, "success": False, "symbol": symbol, **times}))
                continue
            key = f"{channel}:{symbol}"
            result = {"channel": channel, "snapshot": True, "symbol": symbol}
            if channel == "ohlc":
                result = {"channel": channel, "interval": 1, "snapshot": True, "symbol": symbol,
                          "warnings": ["timestamp is deprecated, use interval_begin"]}  # fmt: skip
            result |= {"depth": LEVELS} if channel == "book" else {}
            said.append(dump({**head, "result": result, "success": True, **times}))
            if method == "unsubscribe":
                connection.topics.pop(key, None)
            else:
                topics.append(Topic(key, channel, listing))
        return said, topics

    def _listing(self, symbol: str) -> Listing | None:
        every = self.exchange.of_venue(VENUE)
        return next((one for one in every if f"{one.base}/{one.quote}" == symbol and one.status == "online"), None)

    def snapshot(self, connection: Connection, topic: Topic, now_ms: int) -> list[bytes]:
        minute = Minute(self.exchange, topic.listing, now_ms // MINUTE_MS * MINUTE_MS)
        if topic.channel == "book":
            return [_book(minute, now_ms % MINUTE_MS // BOOK_STEP_MS, is_snapshot=True).text]
        if topic.channel != "ohlc":
            return []
        rows: list[bytes] = []
        for back in range(BARS_TOLD * 6, 0, -1):  # quiet minutes are not among the ten
            bar = Minute(self.exchange, topic.listing, minute.opens_ms - back * MINUTE_MS).bar
            rows += _rows(topic.listing, bar) if bar is not None else []
        grown = minute.growing(1000)
        step = now_ms % MINUTE_MS // 1000
        rows += _rows(topic.listing, grown.slice(step - 1, step)) if grown is not None and step else []
        return [_told("ohlc", rows[-BARS_TOLD:], is_snapshot=True, at=now_ms)]

    def events(self, topic: Topic, minute: Minute) -> list[Event]:
        steps = range(MINUTE_MS // BOOK_STEP_MS)
        match topic.channel:
            case "ohlc":
                return _bars(minute)
            case "trade":
                return _trades(minute)
            case "book":
                return [_book(minute, step, is_snapshot=False) for step in steps]
        return [_best(minute, step) for step in steps]

    def wrapped(self, connection: Connection, topic: Topic | None, text: bytes) -> bytes:
        return text

    def idle(self, connection: Connection, now_ms: int) -> list[bytes]:
        if not connection.topics or now_ms - connection.quiet_ms < 1000:
            return []
        connection.quiet_ms = now_ms
        return [b'{"channel":"heartbeat"}']

    def farewell(self, connection: Connection, now_ms: int) -> list[bytes]:
        return [_status("maintenance", connection)]

    def spoiled(self, text: bytes) -> bytes:
        told = json.loads(text)
        told["data"][0]["close"] = told["data"][0]["open"]
        told["data"][0]["volume"] += 1
        return dump(told)


def _status(system: str, connection: Connection) -> bytes:
    its = {"version": "2.0.10", "system": system, "api_version": "v2",
           "connection_id": 1_743_042_658_499_070_000 + connection.number, "upcoming_maintenance": [],
           "emergency": []}  # fmt: skip
    return dump({"channel": "status", "type": "update", "data": [its]})


def moment(us: int, places: int = 6) -> str:
    """Microseconds since the epoch as Kraken and Coinbase write a time, of 6 or 9 places."""
    return str(np.datetime64(us, "us")) + "0" * (places - 6) + "Z"


def name_of(listing: Listing) -> str:
    """BTC/USD"""
    return f"{listing.base}/{listing.quote}"


def _told(channel: str, rows: list[bytes], *, is_snapshot: bool, at: int | None = None) -> bytes:
    kind = b'"snapshot"' if is_snapshot else b'"update"'
    time = b"" if at is None else b',"timestamp":"' + moment(at * 1000, 9).encode() + b'"'
    return b'{"channel":"' + channel.encode() + b'","type":' + kind + time + b',"data":[' + b",".join(rows) + b"]}"


def _rows(listing: Listing, bars: Bars) -> list[bytes]:
    """Bars in which anything traded."""
    rows = []
    scales = bars.scales
    vwaps = vwap_of(bars)
    for n in np.flatnonzero(bars.count > 0).tolist():
        four = ",".join(
            f'"{name}":{shown(int(getattr(bars, name)[n]), scales.price)}' for name in ("open", "high", "low", "close")
        )
        opens = int(bars.open_time[n])
        rows.append(
            f'{{"symbol":"{name_of(listing)}",{four},"trades":{int(bars.count[n])},'
            f'"volume":{shown(int(bars.volume[n]), scales.volume)},"vwap":{shown(int(vwaps[n]), scales.price)},'
            f'"interval_begin":"{moment(opens * 1000, 9)}","interval":1,'
            f'"timestamp":"{moment((opens + MINUTE_MS) * 1000)}"}}'.encode()
        )
    return rows


def _bars(minute: Minute) -> list[Event]:
    """An update a second in which trades were counted, and the last, 50 ms before the end."""
    bar, grown = minute.bar, minute.growing(1000)
    if bar is None or grown is None or not int(bar.count[0]):
        return []
    found = []
    for n in range(len(grown)):
        time = minute.opens_ms + (n + 1) * 1000
        if rows := _rows(minute.listing, grown.slice(n, n + 1)):
            found.append(Event(time, "open", _told("ohlc", rows, is_snapshot=False, at=time)))
    end = minute.opens_ms + MINUTE_MS - 50
    found.append(Event(end, "close", _told("ohlc", _rows(minute.listing, bar), is_snapshot=False, at=end)))
    return found


def _trades(minute: Minute) -> list[Event]:
    listing, found = minute.listing, minute.singles
    columns: list[Column | Flag] = [
        Flag(found.buyer_is_maker, (b"buy", b"sell")),
        Column(found.price, found.price_decimals),
        Column(found.quantity, found.quantity_decimals),
        Flag(found.id % 3 == 0, (b"market", b"limit")),
        Column(found.id),
    ]
    head = f'{{"symbol":"{name_of(listing)}","side":"'.encode()
    rows = rows_of(render(columns, [head, b'","price":', b',"qty":', b',"ord_type":"', b'","trade_id":', b""]))
    times = (found.time * 1000 + found.us).tolist()
    return [
        Event(
            us // 1000 + 1,
            "trade",
            _told("trade", [row + f',"timestamp":"{moment(us)}"}}'.encode()], is_snapshot=False),
        )
        for us, row in zip(times, rows, strict=True)
    ]


def _levels(listing: Listing, levels: list[tuple[int, int]]) -> str:
    told = (
        f'{{"price":{shown(price, listing.price_decimals)},"qty":{shown(amount, listing.volume_decimals)}}}'
        for price, amount in levels
    )
    return f"[{','.join(told)}]"


def checksum(asks: Side, bids: Side) -> int:
    """CRC32 of the ten best of each side, asks first: digits of price and amount, no point, no zeros before."""
    return zlib.crc32("".join(f"{p}{q}" for side in (asks, bids) for p, q in list(side.items())[:LEVELS]).encode())


def _book(minute: Minute, step: int, *, is_snapshot: bool) -> Event:
    listing, book, old = minute.listing, minute.book(step), minute.book(step - 1)
    top = [dict(list(side.items())[:LEVELS]) for side in (old.bids, book.bids, old.asks, book.asks)]
    bids = list(top[1].items()) if is_snapshot else changes(top[0], top[1])
    asks = list(top[3].items()) if is_snapshot else changes(top[2], top[3])
    row = (
        f'{{"symbol":"{name_of(listing)}","bids":{_levels(listing, bids)},"asks":{_levels(listing, asks)},'
        f'"checksum":{checksum(book.asks, book.bids)},"timestamp":"{moment(book.time_ms * 1000)}"}}'
    )
    return Event(book.time_ms, "book", _told("book", [row.encode()], is_snapshot=is_snapshot))


def _best(minute: Minute, step: int) -> Event:
    listing, book = minute.listing, minute.book(step)
    price, amount = listing.price_decimals, listing.volume_decimals
    bid, ask = (next(iter(side.items())) for side in (book.bids, book.asks))
    row = (
        f'{{"symbol":"{name_of(listing)}","bid":{shown(bid[0], price)},"bid_qty":{shown(bid[1], amount)},'
        f'"ask":{shown(ask[0], price)},"ask_qty":{shown(ask[1], amount)},"last":{shown(bid[0], price)},'
        f'"timestamp":"{moment(book.time_ms * 1000)}"}}'
    )
    return Event(book.time_ms, "best", _told("ticker", [row.encode()], is_snapshot=False))
