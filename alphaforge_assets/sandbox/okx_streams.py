"""OKX's streams: candles at /ws/v5/business, trades, books, bbo-tbt and liquidation-orders at /ws/v5/public.

Fields and order follow recorded messages of 2022 (books) and 2026. Data come before the acknowledgement, as recorded.
The closed candle has "1" last, 50 to 250 ms after its minute. Trades are aggregates: tradeId - count is the last
tradeId. Books are a snapshot, then a change a second whose prevSeqId is the last seqId; their checksum is 0. `ping` is
a text, and so is `pong`. A symbol or channel that is not there is refused with 60018, words from the vendor's page;
liquidations are made as Binance's, and their fields are of that page too.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from alphaforge_assets.sandbox.bars import DAY_MS, MINUTE_MS, Bars
from alphaforge_assets.sandbox.binance_streams import days_liquidations, delay_ms, rows_of
from alphaforge_assets.sandbox.exchange import Exchange
from alphaforge_assets.sandbox.listings import Listing
from alphaforge_assets.sandbox.moments import BOOK_STEP_MS, Minute, changes, plainly
from alphaforge_assets.sandbox.okx import row_layout
from alphaforge_assets.sandbox.streams import Connection, Event, Topic
from alphaforge_assets.sandbox.text import Column, Flag, render
from alphaforge_assets.sandbox.wire import dump

PATHS = {"/ws/v5/business": "okx", "/ws/v5/public": "okx"}
PUBLIC = ("trades", "books", "bbo-tbt", "liquidation-orders")


@dataclass
class OkxStreams:
    """A `Dialect`."""

    exchange: Exchange
    paths: Mapping[str, str] = field(default_factory=lambda: PATHS)

    def greeting(self, connection: Connection, query: str) -> list[bytes]:
        return []

    def answer(self, connection: Connection, text: str) -> tuple[list[bytes], list[Topic]]:
        if text == "ping":
            return [b"pong"], []
        try:
            order = json.loads(text)
            op, args = order["op"], order["args"]
            named = [(arg, str(arg["channel"]), str(arg.get("instId", ""))) for arg in args]
        except (ValueError, KeyError, TypeError, AttributeError):
            told = {"event": "error", "code": "60012", "msg": f"Invalid request: {text}", "connId": _id(connection)}
            return [dump(told)], []
        said: list[bytes] = []
        topics: list[Topic] = []
        for arg, channel, symbol in named:
            found = self._topics(connection, channel, symbol, arg)
            if not found:
                words = f"Wrong URL or channel:{channel},instId:{symbol} doesn't exist. Please use the correct URL, "
                words += "channel and parameters referring to API document."
                said.append(dump({"event": "error", "msg": words, "code": "60018", "connId": _id(connection)}))
                continue
            said.append(dump({"event": op, "arg": arg, "connId": _id(connection)}))
            if op == "subscribe":
                topics += found
            for topic in found if op == "unsubscribe" else ():
                connection.topics.pop(topic.key, None)
        return said, topics

    def _topics(self, connection: Connection, channel: str, symbol: str, arg: dict[str, Any]) -> list[Topic]:
        is_business = connection.path.endswith("business")
        if channel not in (("candle1m",) if is_business else PUBLIC):
            return []
        if channel == "liquidation-orders":
            every = self.exchange.of_venue("okx_perp") if arg.get("instType") == "SWAP" else ()
            return [Topic(f"{channel}:{one.symbol}", channel, one) for one in every if one.status == "live"]
        listing = next(
            (one for v in ("okx_spot", "okx_perp") if (one := self.exchange.listings.get((v, symbol)))), None
        )
        return [Topic(f"{channel}:{symbol}", channel, listing)] if listing else []

    def snapshot(self, connection: Connection, topic: Topic, now_ms: int) -> list[bytes]:
        minute = Minute(self.exchange, topic.listing, now_ms // MINUTE_MS * MINUTE_MS)
        if topic.channel == "books":
            return [_book(minute, now_ms % MINUTE_MS // BOOK_STEP_MS, is_snapshot=True).text]
        if topic.channel == "candle1m":
            past = [event for event in self.events(topic, minute) if event.time <= now_ms]
            return [past[-1].text] if past else []
        return []

    def events(self, topic: Topic, minute: Minute) -> list[Event]:
        steps = range(MINUTE_MS // BOOK_STEP_MS)
        match topic.channel:
            case "candle1m":
                return _candles(minute)
            case "trades":
                return _trades(minute)
            case "books":
                return [_book(minute, step, is_snapshot=False) for step in steps]
            case "bbo-tbt":
                return [_best(minute, step) for step in steps]
        return _liquidations(self.exchange, minute)

    def wrapped(self, connection: Connection, topic: Topic | None, text: bytes) -> bytes:
        return text

    def idle(self, connection: Connection, now_ms: int) -> list[bytes]:
        return []

    def farewell(self, connection: Connection, now_ms: int) -> list[bytes]:
        words = "The connection will soon be closed for a service upgrade. Please reconnect."
        return [dump({"event": "notice", "code": "64008", "msg": words, "connId": _id(connection)})]

    def spoiled(self, text: bytes) -> bytes:
        told = json.loads(text)
        row = told["data"][0]
        row[4], row[5] = row[1], f"9{row[5]}"
        return dump(told)


def _id(connection: Connection) -> str:
    return f"{connection.number:08x}"


def _told(channel: str, symbol: str, data: bytes, more: bytes = b"") -> bytes:
    return b'{"arg":' + dump({"channel": channel, "instId": symbol}) + more + b',"data":[' + data + b"]}"


def _candles(minute: Minute) -> list[Event]:
    listing, bar, grown = minute.listing, minute.bar, minute.growing(1000)
    if bar is None or grown is None:
        return []
    write = row_layout(listing).write

    def told(rows: Bars, closed: bool) -> list[bytes]:
        return [_told("candle1m", listing.symbol, text[:-1]) for text in rows_of(write(rows, closed))]

    times = (minute.opens_ms + np.arange(1000, MINUTE_MS, 1000)).tolist()
    end = minute.opens_ms + MINUTE_MS + delay_ms(listing, minute.opens_ms)
    opened = [Event(time, "open", text) for time, text in zip(times, told(grown, False), strict=True)]
    return [*opened, Event(end, "close", told(bar, True)[0])]


def _trades(minute: Minute) -> list[Event]:
    listing, found = minute.listing, minute.aggregates
    columns: list[Column | Flag] = [
        Column(found.last),
        Column(found.price, found.price_decimals, plain=True),
        Column(found.quantity, found.quantity_decimals, plain=True),
        Flag(found.buyer_is_maker, (b"buy", b"sell")),
        Column(found.time),
        Column(found.last - found.first + 1),
        Column(found.last * 7),
    ]
    head = f'{{"instId":"{listing.symbol}","tradeId":"'.encode()
    names = [
        head,
        b'","px":"',
        b'","sz":"',
        b'","side":"',
        b'","ts":"',
        b'","count":"',
        b'","source":"0","seqId":',
        b"}",
    ]
    rows = rows_of(render(columns, names))
    return [
        Event(time, "trade", _told("trades", listing.symbol, row))
        for time, row in zip((found.time + 1).tolist(), rows, strict=True)
    ]


def _level(listing: Listing, price: int, amount: int) -> list[str]:
    return [
        plainly(price, listing.price_decimals),
        plainly(amount, listing.volume_decimals),
        "0",
        "1" if amount else "0",
    ]


def _book(minute: Minute, step: int, *, is_snapshot: bool) -> Event:
    listing, book, old = minute.listing, minute.book(step), minute.book(step - 1)
    pairs = {"asks": (old.asks, book.asks), "bids": (old.bids, book.bids)}
    sides = {
        name: [_level(listing, *it) for it in (new.items() if is_snapshot else changes(before, new))]
        for name, (before, new) in pairs.items()
    }
    told = {
        **sides,
        "ts": str(book.time_ms),
        "checksum": 0,
        "seqId": book.id,
        "prevSeqId": -1 if is_snapshot else old.id,
    }
    action = b',"action":"snapshot"' if is_snapshot else b',"action":"update"'
    return Event(book.time_ms, "book", _told("books", listing.symbol, dump(told), action))


def _best(minute: Minute, step: int) -> Event:
    listing, book = minute.listing, minute.book(step)
    sides = {
        name: [_level(listing, *next(iter(side.items())))] for name, side in (("asks", book.asks), ("bids", book.bids))
    }
    told = {**sides, "ts": str(book.time_ms), "seqId": book.id}
    return Event(book.time_ms, "best", _told("bbo-tbt", listing.symbol, dump(told)))


def _liquidations(exchange: Exchange, minute: Minute) -> list[Event]:
    listing = minute.listing
    told = []
    for line in dict.fromkeys(days_liquidations(exchange, listing, minute.opens_ms // DAY_MS * DAY_MS)):
        time, side, _, _, amount, price, *_ = line.split(",")
        if not minute.opens_ms <= int(time) < minute.opens_ms + MINUTE_MS:
            continue
        detail = {"bkLoss": "0", "bkPx": price, "ccy": "", "posSide": "long" if side == "SELL" else "short",
                  "side": side.lower(), "sz": amount, "ts": time}  # fmt: skip
        data = {"details": [detail], "instFamily": listing.symbol.removesuffix("-SWAP"), "instId": listing.symbol,
                "instType": "SWAP", "uly": listing.symbol.removesuffix("-SWAP")}  # fmt: skip
        whole = {"arg": {"channel": "liquidation-orders", "instType": "SWAP"}, "data": [data]}
        told.append(Event(int(time) + 1, "liquidation", dump(whole)))
    return told
