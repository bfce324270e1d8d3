"""Bybit's streams at /v5/public/spot and /v5/public/linear: kline.1, publicTrade, orderbook.1 and .50, allLiquidation.

Fields and order follow recorded messages of 2026, of books and liquidations the vendor's pages. Klines are pushed every
second, the one with confirm true 50 to 250 ms after the minute. Trades of a tenth of a second come together. A book
begins with a snapshot; each change counts `u` by one. The end is not announced. A topic that is not there
makes the whole request fail, and spot takes ten topics a request.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from alphaforge_assets.sandbox.bars import DAY_MS, MINUTE_MS
from alphaforge_assets.sandbox.binance_streams import days_liquidations, delay_ms
from alphaforge_assets.sandbox.bybit_trades import trade_name
from alphaforge_assets.sandbox.exchange import Exchange
from alphaforge_assets.sandbox.listings import Listing
from alphaforge_assets.sandbox.moments import BOOK_STEP_MS, IDS_A_STEP, Minute, changes, plainly, rows_as_dicts, shown
from alphaforge_assets.sandbox.streams import Connection, Event, Topic
from alphaforge_assets.sandbox.text import Column, texts
from alphaforge_assets.sandbox.wire import dump

PATHS = {"/v5/public/spot": "bybit_spot", "/v5/public/linear": "bybit_perp"}
CHANNELS = ("kline.1", "publicTrade", "orderbook.1", "orderbook.50")
ARGS_MAX = 10
TOGETHER_MS = 100


@dataclass
class BybitStreams:
    """A `Dialect`."""

    exchange: Exchange
    paths: Mapping[str, str] = field(default_factory=lambda: PATHS)

    def greeting(self, connection: Connection, query: str) -> list[bytes]:
        return []

    def answer(self, connection: Connection, text: str) -> tuple[list[bytes], list[Topic]]:
        try:
            order = json.loads(text)
            op, args, number = order["op"], order.get("args", []), str(order.get("req_id", ""))
        except (ValueError, KeyError, AttributeError, TypeError):
            return [_said(connection, False, "Params Error", "", "")], []
        if op == "ping":
            return [_said(connection, True, "pong", number, "ping")], []
        if connection.venue == "bybit_spot" and len(args) > ARGS_MAX:
            return [_said(connection, False, "args size >10", number, op)], []
        topics = [self._topic(connection, str(key)) for key in args]
        for key, topic in zip(args, topics, strict=True):
            if topic is None:
                return [_said(connection, False, f"error:handler not found,topic:{key}", number, op)], []
        found = [topic for topic in topics if topic]
        done = [_said(connection, True, "subscribe" if connection.venue == "bybit_spot" else "", number, op)]
        if op == "unsubscribe":
            for topic in found:
                connection.topics.pop(topic.key, None)
            return done, []
        return done, found

    def _topic(self, connection: Connection, key: str) -> Topic | None:
        channel, _, symbol = key.rpartition(".")
        listing = self.exchange.listings.get((connection.venue, symbol))
        is_known = channel in CHANNELS or (channel == "allLiquidation" and connection.venue == "bybit_perp")
        return Topic(key, channel, listing) if listing and is_known else None

    def snapshot(self, connection: Connection, topic: Topic, now_ms: int) -> list[bytes]:
        minute = Minute(self.exchange, topic.listing, now_ms // MINUTE_MS * MINUTE_MS)
        if topic.channel == "orderbook.50":
            return [_book(minute, now_ms % MINUTE_MS // BOOK_STEP_MS, 50, is_snapshot=True).text]
        return []

    def events(self, topic: Topic, minute: Minute) -> list[Event]:
        steps = range(MINUTE_MS // BOOK_STEP_MS)
        match topic.channel:
            case "kline.1":
                return _klines(minute)
            case "publicTrade":
                return _trades(minute)
            case "orderbook.1":
                return [_book(minute, step, 1, is_snapshot=True) for step in steps]
            case "orderbook.50":
                return [_book(minute, step, 50, is_snapshot=False) for step in steps]
        return _liquidations(self.exchange, minute)

    def wrapped(self, connection: Connection, topic: Topic | None, text: bytes) -> bytes:
        return text

    def idle(self, connection: Connection, now_ms: int) -> list[bytes]:
        return []

    def farewell(self, connection: Connection, now_ms: int) -> list[bytes]:
        return []

    def spoiled(self, text: bytes) -> bytes:
        told = json.loads(text)
        told["data"][0]["close"] = told["data"][0]["open"]
        told["data"][0]["volume"] = "9" + told["data"][0]["volume"]
        return dump(told)


def _said(connection: Connection, success: bool, words: str, number: str, op: str) -> bytes:
    name = f"sandbox-{connection.number}"
    return dump({"success": success, "ret_msg": words, "conn_id": name, "req_id": number, "op": op})


def _told(topic: str, kind: str, time: int, data: Any, **more: Any) -> bytes:
    return dump({"topic": topic, "type": kind, "ts": time, "data": data, **more})


def _klines(minute: Minute) -> list[Event]:
    listing, bar, grown = minute.listing, minute.bar, minute.growing(1000)
    if bar is None or grown is None:
        return []
    end = minute.opens_ms + MINUTE_MS + delay_ms(listing, minute.opens_ms)
    rows = rows_as_dicts(grown) + rows_as_dicts(bar)
    times = [*(minute.opens_ms + np.arange(1000, MINUTE_MS, 1000)).tolist(), end]
    scales, found = bar.scales, []
    for time, row in zip(times, rows, strict=True):
        is_closed = time == end
        data = {
            "start": row["open_time"],
            "end": row["close_time"],
            "interval": "1",
            **{name: plainly(row[name], scales.price) for name in ("open", "close", "high", "low")},
            "volume": plainly(row["volume"], scales.volume),
            "turnover": plainly(row["quote_volume"], scales.quote),
            "confirm": is_closed,
            "timestamp": time,
        }
        text = dump({"type": "snapshot", "topic": f"kline.1.{listing.symbol}", "data": [data], "ts": time})
        found.append(Event(time, "close" if is_closed else "open", text))
    return found


def _trades(minute: Minute) -> list[Event]:
    listing, found = minute.listing, minute.singles
    is_spot = listing.venue == "bybit_spot"
    groups: dict[int, list[dict[str, Any]]] = {}
    for number, price, size, is_sell, time in zip(
        found.id.tolist(),
        texts(Column(found.price, found.price_decimals)),
        texts(Column(found.quantity, found.quantity_decimals, plain=True)),
        found.buyer_is_maker.tolist(),
        found.time.tolist(),
        strict=True,
    ):
        row = {"T": time, "s": listing.symbol, "S": "Sell" if is_sell else "Buy", "v": size, "p": price}
        row |= {} if is_spot else {"L": "MinusTick" if is_sell else "PlusTick"}
        name = trade_name("spot" if is_spot else "linear", listing.symbol, number)
        row |= {"i": name, "BT": False, "RPI": False, "seq": number // 7}
        groups.setdefault(time // TOGETHER_MS, []).append(row)
    topic = f"publicTrade.{listing.symbol}"
    return [
        Event(rows[-1]["T"] + 1, "trade", _told(topic, "snapshot", rows[-1]["T"] + 1, rows)) for rows in groups.values()
    ]


def _level(listing: Listing, price: int, amount: int) -> list[str]:
    return [shown(price, listing.price_decimals), plainly(amount, listing.volume_decimals)]


def _book(minute: Minute, step: int, depth: int, *, is_snapshot: bool) -> Event:
    listing, book, old = minute.listing, minute.book(step), minute.book(step - 1)
    pairs = {"b": (old.bids, book.bids), "a": (old.asks, book.asks)}
    sides = {
        name: [_level(listing, *it) for it in (list(new.items())[:depth] if is_snapshot else changes(before, new))]
        for name, (before, new) in pairs.items()
    }
    data = {"s": listing.symbol, **sides, "u": book.id // IDS_A_STEP, "seq": book.id}
    kind = "snapshot" if is_snapshot else "delta"
    text = _told(f"orderbook.{depth}.{listing.symbol}", kind, book.time_ms, data, cts=book.time_ms)
    return Event(book.time_ms, "best" if depth == 1 else "book", text)


def _liquidations(exchange: Exchange, minute: Minute) -> list[Event]:
    listing, told = minute.listing, []
    for line in dict.fromkeys(days_liquidations(exchange, listing, minute.opens_ms // DAY_MS * DAY_MS)):
        time, side, _, _, amount, price, *_ = line.split(",")
        if minute.opens_ms <= int(time) < minute.opens_ms + MINUTE_MS:
            # The side here is the position's: a long one is Buy.
            row = {
                "T": int(time),
                "s": listing.symbol,
                "S": "Buy" if side == "SELL" else "Sell",
                "v": amount,
                "p": price,
            }
            text = _told(f"allLiquidation.{listing.symbol}", "snapshot", int(time) + 1, [row])
            told.append(Event(int(time) + 1, "liquidation", text))
    return told
