"""Bybit's streams: spot and linear perpetuals, one endpoint each.

Names, limits and orders: Bybit's v5/ws/connect and v5/websocket/public (kline, trade, orderbook, all-liquidation). A
request of which one topic is not there fails whole. A book begins with a snapshot, then each change counts `u` by one;
`u` of 1, or a snapshot, starts it over. The best bid and offer is told whole each time, after three seconds without a
change once more with the same `u`. Liquidations are all of them, twice a second, at the price of bankruptcy, and their
side is the position's. Trades of spot have numbers, of which the docs do not say that they go on from one another;
those of perpetuals have names. Quiet instruments may be silent for a minute. Its end is not announced here.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson

from alphaforge_assets.venues import bybit
from alphaforge_assets.venues.feed import Channel, Event, Feed, Kind, Notice
from alphaforge_assets.venues.feed_reading import never_raising, told_flag, told_id, told_levels, told_ms, told_text
from alphaforge_assets.venues.feed_records import Book, Liquidation, Quote
from alphaforge_assets.venues.governor import Budget
from alphaforge_assets.venues.liquidations_file import id_of
from alphaforge_assets.venues.trade_rows import ID_MAX

TOPIC: dict[Kind, str] = {
    "bars": "kline.1",
    "trades": "publicTrade",
    "liquidations": "allLiquidation",
    "quotes": "orderbook.1",
    "books": "orderbook.50",
}
# Spot takes ten topics a request; of perpetuals those of a connection may have 21,000 characters together.
TOPICS_A_REQUEST = 10
TOPICS_MAX = 600

# Per IP and host: 500 in five minutes.
CONNECTS = Budget("bybit.connects", limit=500, window_s=300, burst=10)

BANKRUPTCY_PRICE = "bankruptcy"
# Of the position -> the side of the order that closed it, and the position's own.
CLOSED = {"Buy": ("sell", "long"), "Sell": ("buy", "short")}

# The stream's field of a trade -> REST's. `L`, the direction against the price before, REST does not tell.
TRADE_NAMES = {
    "i": "execId",
    "s": "symbol",
    "p": "price",
    "v": "size",
    "S": "side",
    "T": "time",
    "BT": "isBlockTrade",
    "RPI": "isRPITrade",
    "seq": "seq",
}


def subscribe(channels: Sequence[Channel], number: int) -> list[str]:
    """In requests that each market takes."""
    topics = [f"{TOPIC[channel.kind]}.{channel.venue_symbol}" for channel in channels]
    parts = (topics[n : n + TOPICS_A_REQUEST] for n in range(0, len(topics), TOPICS_A_REQUEST))
    return [
        orjson.dumps({"op": "subscribe", "args": part, "req_id": str(n)}).decode()
        for n, part in enumerate(parts, number)
    ]


def read(message: Any) -> Sequence[Event | Notice]:
    """What a message says: of one topic, or an answer."""
    if "topic" not in message:
        return (_answer(message),)
    channel, _, symbol = message["topic"].rpartition(".")
    return READERS[channel.partition(".")[0]](message, channel, told_text(symbol))


def _bars(message: Any, channel: str, symbol: str) -> Sequence[Event]:
    if channel != TOPIC["bars"]:
        raise ValueError(f"bars of {channel}")
    at_ms, told = told_ms(message["ts"]), []
    for k in message["data"]:
        open_ms, is_closed = told_ms(k["start"]), told_flag(k["confirm"])
        row = [str(open_ms), k["open"], k["high"], k["low"], k["close"], k["volume"], k["turnover"]]
        told.append(Event("bars", symbol, at_ms, row, open_ms, is_closed))
    return told


def _trades(message: Any, channel: str, symbol: str) -> Sequence[Event]:
    at_ms, told = told_ms(message["ts"]), []
    for trade in message["data"]:
        name, time_ms = told_text(trade["i"]), told_ms(trade["T"])
        if trade["s"] != symbol:
            raise ValueError(f"a trade of {trade['s']!r:.50} among those of {symbol}")
        record = {TRADE_NAMES.get(key, key): value for key, value in trade.items() if key != "L"}
        record["time"] = str(time_ms)
        if "seq" in record:
            record["seq"] = str(record["seq"])
        ids = (int(name), int(name)) if name.isascii() and name.isdigit() and int(name) <= ID_MAX else None
        told.append(Event("trades", symbol, at_ms, record, ids=ids))
    return told


def _liquidations(message: Any, channel: str, symbol: str) -> Sequence[Event]:
    """Two that are alike in one message are two."""
    at_ms, told, seen = told_ms(message["ts"]), [], Counter[str]()
    for one in message["data"]:
        time_ms, price, quantity = told_ms(one["T"]), told_text(one["p"]), told_text(one["v"])
        order_side, position_side = CLOSED.get(told_text(one["S"]), ("", ""))
        said = f"{time_ms},{symbol},{one['S']},{quantity},{price}"
        record = Liquidation(
            timestamp_ms=time_ms,
            liquidation_id=id_of(f"{said},{seen[said]}"),
            price_kind=BANKRUPTCY_PRICE,
            order_side=order_side,
            position_side=position_side,
            price=price,
            quantity=quantity,
            is_sampled=False,
            metadata="" if order_side else orjson.dumps({"row": one}).decode(),
        )
        seen[said] += 1
        told.append(Event("liquidations", symbol, at_ms, record))
    return told


def _orderbook(message: Any, channel: str, symbol: str) -> Sequence[Event]:
    said, at_ms = message["data"], told_ms(message["ts"])
    kind, number = message["type"], told_id(said["u"])
    bids, asks = told_levels(said["b"]), told_levels(said["a"])
    if kind not in ("snapshot", "delta"):
        raise ValueError(f"a book of type {kind!r:.20}")
    if channel == TOPIC["quotes"]:
        return (_quote(symbol, at_ms, number, bids, asks, kind),)
    starts_over = kind == "snapshot" or number == 1
    record = Book(bids=bids, asks=asks)
    before = None if starts_over else number - 1
    return (Event("books", symbol, at_ms, record, ids=(number, number), before=before, is_snapshot=starts_over),)


def _quote(symbol: str, at_ms: int, number: int, bids: Any, asks: Any, kind: str) -> Event:
    """A side that is empty has none; as a change, it would mean that it is as before, which we do not know."""
    if kind != "snapshot":
        raise ValueError("a best bid and offer that is not whole")
    (bid, bid_quantity), (ask, ask_quantity) = (side[0] if side else ("", "") for side in (bids, asks))
    record = Quote(bid_price=bid, bid_quantity=bid_quantity, ask_price=ask, ask_quantity=ask_quantity)
    return Event("quotes", symbol, at_ms, record, ids=(number, number))


def _answer(message: Any) -> Notice:
    """To what we sent. `req_id` comes back as a text; a request without one has ""."""
    number, op, words = message.get("req_id", ""), message.get("op", ""), message.get("ret_msg", "")
    asked = int(number) if type(number) is str and number.isascii() and number.isdigit() else None
    if op == "pong" or (op == "ping" and words == "pong"):
        return Notice("alive", "pong")
    if told_flag(message["success"]):
        return Notice("acknowledged", asked=asked)
    return Notice("refused", f"{words}"[:200], asked=asked)


READERS: Mapping[str, Callable[[Any, str, str], Sequence[Event]]] = {
    "kline": _bars,
    "publicTrade": _trades,
    "allLiquidation": _liquidations,
    "orderbook": _orderbook,
}

SPOT = Feed(
    venue=bybit.SPOT.name,
    url="wss://stream.bybit.com/v5/public/spot",
    path="/v5/public/spot",
    kinds=("bars", "trades", "quotes", "books"),
    subscribe=subscribe,
    parse=never_raising(read),
    connects=CONNECTS,
    channels_max=TOPICS_MAX,
    asks_per_s=5.0,  # no limit is published
    ping='{"op":"ping"}',
    ping_s=20.0,
    trades=bybit.TRADE,
)
PERP = replace(
    SPOT,
    venue=bybit.PERP.name,
    url="wss://stream.bybit.com/v5/public/linear",
    path="/v5/public/linear",
    kinds=("bars", "trades", "liquidations", "quotes", "books"),
)
FEEDS = (SPOT, PERP)
