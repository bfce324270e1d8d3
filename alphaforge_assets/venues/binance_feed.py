"""Binance's streams: spot, USDⓈ-M perpetuals on two endpoints, and Binance US, all in one language.

Names, limits and ends: Binance's "WebSocket Streams" of spot (2026) and of USDⓈ-M futures, where klines, aggregates and
liquidations are told on /market and books on /public. What an instrument that is not there is asked for is acknowledged
and silent. A book is deltas alone, from which its REST snapshot is gone on: on spot U follows u of the delta before, on
futures pu repeats it. Best bids and offers of spot have no time. Of the orders that close positions only the last of a
second is told, of a symbol.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson

from alphaforge_assets.venues import binance
from alphaforge_assets.venues.feed import Channel, Event, Feed, Kind, Notice
from alphaforge_assets.venues.feed_reading import (
    never_raising,
    told_flag,
    told_id,
    told_levels,
    told_ms,
    told_text,
)
from alphaforge_assets.venues.feed_records import Book, Liquidation, Quote
from alphaforge_assets.venues.governor import Budget
from alphaforge_assets.venues.liquidations_file import ORDER_PRICE, SIDES, id_of, metadata_of

STREAM: dict[Kind, str] = {
    "bars": "kline_1m",
    "trades": "aggTrade",
    "liquidations": "forceOrder",
    "quotes": "bookTicker",
    "books": "depth@100ms",
}
ORDER = ("S", "o", "f", "q", "p", "ap", "X", "l", "z")  # as the files have it, after the time
STREAMS_A_MESSAGE = 100  # some 2,500 characters

# Per IP, on each of the three hosts; the docs grant 300 in five minutes.
SPOT_CONNECTS = Budget("binance.spot.connects", limit=300, window_s=300, burst=10)
FUTURES_CONNECTS = Budget("binance.fapi.connects", limit=300, window_s=300, burst=10)
US_CONNECTS = Budget("binanceus.spot.connects", limit=300, window_s=300, burst=10)


def subscribe(channels: Sequence[Channel], number: int) -> list[str]:
    """The names of streams are in small letters."""
    names = [f"{channel.venue_symbol.lower()}@{STREAM[channel.kind]}" for channel in channels]
    parts = (names[n : n + STREAMS_A_MESSAGE] for n in range(0, len(names), STREAMS_A_MESSAGE))
    return [
        orjson.dumps({"method": "SUBSCRIBE", "params": part, "id": n}).decode() for n, part in enumerate(parts, number)
    ]


def read(message: Any) -> Sequence[Event | Notice]:
    """What a message says, wrapped as on /stream or bare."""
    said = message.get("data", message)
    reader = READERS.get(said.get("e", ""))
    if reader is not None:
        return (reader(said),)
    if "u" in said:  # spot's quotes do not say what they are
        return (_quote(said),)
    return (_answer(said),)


def _bar(said: Any) -> Event:
    """`f` and `L` are its first and last single trade, -1 in a minute without one.

    That `f` follows `L` of the bar before is seen in recordings of Binance US, and promised nowhere.
    """
    k = said["k"]
    if k["i"] != "1m":
        raise ValueError(f"a bar of {k['i']!r:.20}")
    open_ms, first, last = told_ms(k["t"]), k["f"], k["L"]
    row = [open_ms, k["o"], k["h"], k["l"], k["c"], k["v"], k["T"], k["q"], k["n"], k["V"], k["Q"], k["B"]]
    ids, before = (None, None) if first == last == -1 else ((told_id(first), told_id(last)), first - 1)
    return Event(
        "bars", told_text(said["s"]), told_ms(said["E"]), row, open_ms, told_flag(k["x"]), ids=ids, before=before
    )


def _trade(said: Any) -> Event:
    """What is left without its envelope is a record as REST has it."""
    del said["e"]
    at_ms, symbol, number = told_ms(said.pop("E")), told_text(said.pop("s")), told_id(said["a"])
    told_ms(said["T"]), told_id(said["f"]), told_id(said["l"])
    return Event("trades", symbol, at_ms, said, ids=(number, number), before=number - 1)


def _liquidation(said: Any) -> Event:
    """Told as a line of the files that ended in 2024: the same order has the same id in both."""
    order = said["o"]
    row = [
        str(told_ms(order["T"])),
        *(told_text(order[name]) for name in ("S", "o", "f", "q", "p", "ap", "X", "l", "z")),
    ]
    side, position = SIDES.get(order["S"], ("", ""))
    record = Liquidation(
        timestamp_ms=order["T"],
        liquidation_id=id_of(",".join(row)),
        price_kind=ORDER_PRICE,
        order_side=side,
        position_side=position,
        price=order["p"],
        average_price=order["ap"],
        quantity=order["q"],
        filled_quantity=order["z"],
        is_sampled=True,
        metadata=metadata_of(row),
    )
    return Event("liquidations", told_text(order["s"]), told_ms(said["E"]), record)


def _change(said: Any) -> Event:
    """Of a book: futures say which delta came before, on spot it is the one that ends before this begins."""
    first, last = told_id(said["U"]), told_id(said["u"])
    before = told_id(said["pu"]) if "pu" in said else first - 1
    record = Book(bids=told_levels(said["b"]), asks=told_levels(said["a"]))
    return Event("books", told_text(said["s"]), told_ms(said["E"]), record, ids=(first, last), before=before)


def _quote(said: Any) -> Event:
    number = told_id(said["u"])
    bid, bid_quantity, ask, ask_quantity = (told_text(said[name]) for name in "bBaA")
    record = Quote(bid_price=bid, bid_quantity=bid_quantity, ask_price=ask, ask_quantity=ask_quantity)
    at_ms = told_ms(said["E"]) if "E" in said else 0
    return Event("quotes", told_text(said["s"]), at_ms, record, ids=(number, number))


def _ending(said: Any) -> Notice:
    """Some ten minutes ahead."""
    return Notice("ending", "serverShutdown")


def _answer(said: Any) -> Notice:
    """To what we sent. Futures have had the error's code beside `id` as well as in `error`."""
    number = said.get("id")
    asked = number if type(number) is int else None
    error = said.get("error", said if "code" in said else None)
    if error is not None:
        return Notice("refused", f"{error['code']}: {error['msg']}"[:200], asked=asked)
    if "result" not in said or "id" not in said:
        raise ValueError("of no kind that is known")
    return Notice("acknowledged", asked=asked)


READERS: Mapping[str, Callable[[Any], Event | Notice]] = {
    "kline": _bar,
    "aggTrade": _trade,
    "forceOrder": _liquidation,
    "depthUpdate": _change,
    "bookTicker": _quote,
    "serverShutdown": _ending,
}

parse = never_raising(read)

SPOT = Feed(
    venue=binance.SPOT.name,
    url="wss://stream.binance.com:9443/stream",
    path="/stream",
    kinds=("bars", "trades", "quotes", "books"),
    subscribe=subscribe,
    parse=parse,
    connects=SPOT_CONNECTS,
    channels_max=1024,
    asks_per_s=4.0,  # five, and pongs count
    trades=binance.AGGREGATE,
)
# Its docs are spot's of some years before. A minute of its quieter pairs passes without a word.
US = replace(
    SPOT,
    venue=binance.US.name,
    url="wss://stream.binance.us:9443/stream",
    path="/binanceus/stream",
    connects=US_CONNECTS,
    silence_s=90.0,
)
PERP_MARKET = replace(
    SPOT,
    venue=binance.PERP.name,
    url="wss://fstream.binance.com/market/stream",
    path="/market/stream",
    kinds=("bars", "trades", "liquidations"),
    connects=FUTURES_CONNECTS,
    channels_max=200,  # the docs of 2026 say 1,024, those before them 200
    asks_per_s=8.0,  # of ten
)
PERP_PUBLIC = replace(
    PERP_MARKET,
    url="wss://fstream.binance.com/public/stream",
    path="/public/stream",
    kinds=("quotes", "books"),
    trades=None,
)
FEEDS = (SPOT, PERP_MARKET, PERP_PUBLIC, US)
