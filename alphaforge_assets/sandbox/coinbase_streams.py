"""Coinbase's streams at /advanced-trade: market_trades, candles (five minutes), level2, ticker, heartbeats.

Fields and order of market_trades and subscriptions follow recorded messages of 2026, the others the vendor's pages.
There are no bars of a minute. `sequence_num` counts all messages of a connection; the first snapshot comes before the
acknowledgement, as recorded. Trades of a quarter second come together, the newest first; `side` is the maker's. That a
connection without heartbeats is closed when idle is not emulated.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from alphaforge_assets.sandbox.bars import MINUTE_MS, Interval
from alphaforge_assets.sandbox.coinbase import VENUE
from alphaforge_assets.sandbox.exchange import Exchange
from alphaforge_assets.sandbox.kraken_streams import moment
from alphaforge_assets.sandbox.moments import BOOK_STEP_MS, Minute, changes, plainly, rows_as_dicts
from alphaforge_assets.sandbox.streams import Connection, Event, Topic
from alphaforge_assets.sandbox.text import Column, texts
from alphaforge_assets.sandbox.trades import Trades
from alphaforge_assets.sandbox.wire import dump

CHANNELS = ("market_trades", "candles", "level2", "ticker")
FIVE = Interval(5 * MINUTE_MS)
TOGETHER_MS = 250
TRADES_TOLD = 50
_NUMBER = b'"sequence_num":-1'  # a connection's own is put in its place


@dataclass
class CoinbaseStreams:
    """A `Dialect`."""

    exchange: Exchange
    paths: Mapping[str, str] = field(default_factory=lambda: {"/advanced-trade": VENUE})

    def greeting(self, connection: Connection, query: str) -> list[bytes]:
        return []

    def answer(self, connection: Connection, text: str) -> tuple[list[bytes], list[Topic]]:
        try:
            order = json.loads(text)
            kind, channel, products = order["type"], order["channel"], order.get("product_ids", [])
        except (ValueError, KeyError, AttributeError, TypeError):
            return [dump({"type": "error", "message": "failed to parse request"})], []
        is_on = kind == "subscribe"
        if channel == "heartbeats":
            connection.memory["heartbeats"] = is_on
            return [self._subscriptions(connection, [])], []
        found = [self.exchange.listings.get((VENUE, product)) for product in products]
        if kind not in ("subscribe", "unsubscribe") or channel not in CHANNELS:
            return [dump({"type": "error", "message": f"channel not supported: {channel}"})], []
        if not products or None in found:
            return [dump({"type": "error", "message": "failed to subscribe: invalid product_ids"})], []
        topics = [Topic(f"{channel}:{one.symbol}", channel, one) for one in found if one]
        if is_on:
            return [self._subscriptions(connection, topics)], topics
        for topic in topics:
            connection.topics.pop(topic.key, None)
        return [self._subscriptions(connection, [])], []

    def _subscriptions(self, connection: Connection, topics: list[Topic]) -> bytes:
        named: dict[str, list[str]] = {"heartbeats": ["heartbeats"]} if connection.memory.get("heartbeats") else {}
        for topic in {**connection.topics, **{topic.key: topic for topic in topics}}.values():
            named.setdefault(topic.channel, []).append(topic.listing.symbol)
        return _told("subscriptions", self.exchange.clock.now_ms(), [{"subscriptions": named}])

    def snapshot(self, connection: Connection, topic: Topic, now_ms: int) -> list[bytes]:
        minute = Minute(self.exchange, topic.listing, now_ms // MINUTE_MS * MINUTE_MS)
        match topic.channel:
            case "market_trades":
                tape = self.exchange.tapes.of(topic.listing, is_single=True)
                rows = _rows(topic, tape.newest(TRADES_TOLD, now_ms - 1))
                return [_told("market_trades", now_ms, [{"type": "snapshot", "trades": rows}])]
            case "level2":
                return [_book(minute, now_ms % MINUTE_MS // BOOK_STEP_MS, is_snapshot=True).text]
            case "candles":
                return [_told("candles", now_ms, [{"type": "snapshot", "candles": self._candles(topic, now_ms, 100)}])]
        return []

    def _candles(self, topic: Topic, now_ms: int, count: int) -> list[dict[str, str]]:
        """The newest first, the open one among them."""
        series = self.exchange.series(topic.listing, FIVE)
        if series is None:
            return []
        index = series.first_at_or_after(now_ms + 1) - 1
        first = max(series.first_at_or_after(0), index - count + 1)
        rows = rows_as_dicts(series.bars(first, index)) if first < index else []
        rows += rows_as_dicts(series.open_bar(now_ms)) if series.open_index(now_ms) is not None else []
        scales = series.scales
        return [
            {"start": str(row["open_time"] // 1000),
             **{name: plainly(row[name], scales.price) for name in ("high", "low", "open", "close")},
             "volume": plainly(row["volume"], scales.volume), "product_id": topic.listing.symbol}
            for row in reversed(rows) if row["count"]
        ]  # fmt: skip

    def events(self, topic: Topic, minute: Minute) -> list[Event]:
        steps = range(MINUTE_MS // BOOK_STEP_MS)
        match topic.channel:
            case "market_trades":
                return _trades(topic, minute)
            case "level2":
                return [_book(minute, step, is_snapshot=False) for step in steps]
            case "ticker":
                return [_best(minute, step) for step in steps]
        times = range(minute.opens_ms, minute.opens_ms + MINUTE_MS, 1000)
        rows = [(time, self._candles(topic, time, 1)) for time in times]
        return [
            Event(time, "open", _told("candles", time, [{"type": "update", "candles": its}]))
            for time, its in rows
            if its
        ]

    def wrapped(self, connection: Connection, topic: Topic | None, text: bytes) -> bytes:
        if _NUMBER not in text:
            return text
        numbered = text.replace(_NUMBER, b'"sequence_num":%d' % connection.sequence, 1)
        connection.sequence += 1
        return numbered

    def idle(self, connection: Connection, now_ms: int) -> list[bytes]:
        last = connection.memory.get("heartbeat_ms", 0)
        if not connection.memory.get("heartbeats") or 0 <= now_ms - last < 1000:
            return []
        counter = connection.memory["counter"] = connection.memory.get("counter", 0) + 1
        connection.memory["heartbeat_ms"] = now_ms
        time = moment(now_ms * 1000, 9).replace("T", " ").replace("Z", " +0000 UTC")
        events = [{"current_time": f"{time} m=+{counter}.000000000", "heartbeat_counter": str(counter)}]
        return [self.wrapped(connection, None, _told("heartbeats", now_ms, events))]

    def farewell(self, connection: Connection, now_ms: int) -> list[bytes]:
        return []

    def spoiled(self, text: bytes) -> bytes:
        return text  # no bar is told as closed


def _told(channel: str, now_ms: int, events: list[dict[str, Any]]) -> bytes:
    return dump({"channel": channel, "timestamp": moment(now_ms * 1000, 9), "sequence_num": -1, "events": events})


def _rows(topic: Topic, found: Trades) -> list[dict[str, str]]:
    """The newest first."""
    rows = zip(
        found.id.tolist(),
        texts(Column(found.price, found.price_decimals)),
        texts(Column(found.quantity, found.quantity_decimals)),
        (found.time * 1000 + found.us).tolist(),
        found.buyer_is_maker.tolist(),
        strict=True,
    )
    told = [
        {"product_id": topic.listing.symbol, "trade_id": str(number), "price": price, "size": size,
         "time": moment(us), "side": "BUY" if is_maker else "SELL"}
        for number, price, size, us, is_maker in rows
    ]  # fmt: skip
    return told[::-1]


def _trades(topic: Topic, minute: Minute) -> list[Event]:
    found, events, start = minute.singles, [], 0
    times = found.time.tolist()
    for stop in range(1, len(times) + 1):
        if stop < len(times) and times[stop] // TOGETHER_MS == times[start] // TOGETHER_MS:
            continue
        rows, time = _rows(topic, found.slice(start, stop)), times[stop - 1] + 1
        events.append(Event(time, "trade", _told("market_trades", time, [{"type": "update", "trades": rows}])))
        start = stop
    return events


def _book(minute: Minute, step: int, *, is_snapshot: bool) -> Event:
    listing, book, old = minute.listing, minute.book(step), minute.book(step - 1)
    time = moment(book.time_ms * 1000)
    updates = [
        {"side": side, "event_time": time, "price_level": plainly(price, listing.price_decimals),
         "new_quantity": plainly(amount, listing.volume_decimals)}
        for side, before, new in (("bid", old.bids, book.bids), ("offer", old.asks, book.asks))
        for price, amount in (new.items() if is_snapshot else changes(before, new))
    ]  # fmt: skip
    kind = "snapshot" if is_snapshot else "update"
    event = {"type": kind, "product_id": listing.symbol, "updates": updates}
    return Event(book.time_ms, "book", _told("l2_data", book.time_ms, [event]))


def _best(minute: Minute, step: int) -> Event:
    listing, book = minute.listing, minute.book(step)
    bid, ask = (next(iter(side.items())) for side in (book.bids, book.asks))
    price, amount = listing.price_decimals, listing.volume_decimals
    told = {"type": "ticker", "product_id": listing.symbol, "price": plainly(bid[0], price),
            "best_bid": plainly(bid[0], price), "best_bid_quantity": plainly(bid[1], amount),
            "best_ask": plainly(ask[0], price), "best_ask_quantity": plainly(ask[1], amount)}  # fmt: skip
    text = _told("ticker", book.time_ms, [{"type": "update", "tickers": [told]}])
    return Event(book.time_ms, "best", text)
