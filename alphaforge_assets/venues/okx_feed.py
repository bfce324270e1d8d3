"""OKX's streams: candles on the business endpoint, trades, books, best offers and liquidations on the public one.

Both serve spot and swaps. Data may come before the acknowledgement. `ping` and `pong` are texts, for who is silent for
30 seconds is let go of. Trades are what one order took at one price: `tradeId` is the last of `count` single ones, so
the ids go on from the trade before. A book says which change came before it; in 2022 it had a checksum instead, which
is 0 now. Swaps count in contracts everywhere. Liquidations are those of all swaps, one in a second of a contract at
most: "This data doesn't represent the total number of liquidations on OKX". Source: OKX's v5 docs ("WebSocket",
"Trades channel", "Order book channel", "Liquidation orders channel"), recorded messages of 2022 and 2026.
"""

import itertools
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson

from alphaforge_assets.venues import okx
from alphaforge_assets.venues.feed import Channel, Event, Feed, Kind, Notice
from alphaforge_assets.venues.feed_reading import counted, never_raising, told_id, told_levels, told_ms, told_text
from alphaforge_assets.venues.feed_records import Book, Liquidation, Quote
from alphaforge_assets.venues.governor import Budget
from alphaforge_assets.venues.liquidations_file import id_of
from alphaforge_assets.venues.trade_rows import TradeLayout

CHANNELS: dict[Kind, str] = {
    "bars": "candle1m",
    "trades": "trades",
    "liquidations": "liquidation-orders",
    "quotes": "bbo-tbt",
    "books": "books",
}
KINDS = {channel: kind for kind, channel in CHANNELS.items()} | {"tickers": "quotes"}
ARGS_A_MESSAGE = 100  # some 5,000 characters of the 64 KB that a request may have

# Per IP, whatever is connected to. Subscribing may be asked for 480 times an hour on a connection, many args at once.
CONNECTS = Budget("okx.connects", limit=3, window_s=1, burst=1)
ASKS_PER_S = 3.0
CHANNELS_MAX = 1000

PONG = (Notice("alive", "pong"),)
CLOSING = "64008"  # "The connection will soon be closed for a service upgrade. Please reconnect."
REFUSED = re.compile(r"channel:(?P<channel>[\w-]+),\s*instId:(?P<symbol>[\w-]+)")


def subscribe(channels: Sequence[Channel], number: int) -> list[str]:
    """Liquidations are asked for once, of all swaps."""
    args = [
        {"channel": CHANNELS[one.kind], **({"instType": "SWAP"} if one.kind == "liquidations" else _named(one))}
        for one in channels
    ]
    once = list({orjson.dumps(arg): arg for arg in args}.values())
    parts = (once[n : n + ARGS_A_MESSAGE] for n in range(0, len(once), ARGS_A_MESSAGE))
    return [
        orjson.dumps({"id": str(n), "op": "subscribe", "args": part}).decode() for n, part in enumerate(parts, number)
    ]


def _named(channel: Channel) -> dict[str, str]:
    return {"instId": channel.venue_symbol}


def parse(message: bytes) -> Sequence[Event | Notice]:
    """See `Feed.parse`."""
    return PONG if message == b"pong" else _parse(message)


def read(said: Any) -> Sequence[Event | Notice]:
    """What a message says that is JSON."""
    if "event" in said:
        return (_answer(said),)
    arg = said["arg"]
    return READERS[arg["channel"]](said, arg)


def _answer(said: Any) -> Notice:
    """To what we sent, or news of the connection. An acknowledgement of liquidations names no instrument."""
    event, number = said["event"], said.get("id")
    asked = int(number) if type(number) is str and number.isascii() and number.isdigit() else None
    if event == "subscribe":
        return Notice("acknowledged", channels=_channels(said["arg"]), asked=asked)
    if event in ("error", "channel-conn-count-error"):
        words = str(said.get("msg", ""))
        found = REFUSED.search(words)
        channels = _channels({"channel": found["channel"], "instId": found["symbol"]}) if found else ()
        return Notice("refused", f"{said.get('code', event)}: {words}"[:200], channels, asked=asked)
    if event == "notice":
        return Notice("ending" if said["code"] == CLOSING else "alive", str(said.get("msg", ""))[:200])
    if event in ("unsubscribe", "channel-conn-count"):
        return Notice("alive", event)
    raise ValueError(f"the event {event!r:.50}")


def _channels(arg: Mapping[str, Any]) -> tuple[Channel, ...]:
    kind = KINDS.get(arg["channel"])
    return (Channel(kind, str(arg.get("instId", ""))),) if kind else ()


def _bars(said: Any, arg: Any) -> list[Event]:
    return [_bar(row, told_text(arg["instId"])) for row in said["data"]]


def _bar(row: Any, symbol: str) -> Event:
    """A row as REST has it; the ninth text is whether it is over."""
    if type(row) is not list or row[8] not in ("0", "1"):
        raise ValueError("a candle that does not say whether it is over")
    return Event("bars", symbol, 0, row, counted_ms(row[0]), row[8] == "1")


def _trades(said: Any, arg: Any) -> list[Event]:
    symbol = told_text(arg["instId"])
    return [_trade(row, symbol) for row in said["data"]]


def _trade(row: Any, symbol: str) -> Event:
    """`count` becomes the first of the ids; `seqId` orders it among changes of the book, and stays in the journal."""
    if row["instId"] != symbol:
        raise ValueError("a trade of another instrument")
    last, time_ms = counted(row["tradeId"]), counted_ms(row["ts"])
    before = last - counted(row.pop("count")) if "count" in row else None
    first = last if before is None else told_id(before + 1)
    row.pop("seqId", None)
    row["firstId"] = str(first)
    return Event("trades", symbol, time_ms, row, ids=(first, last), before=before)


def _liquidations(said: Any, arg: Any) -> list[Event]:
    return [_liquidation(told_text(one["instId"]), detail) for one in said["data"] for detail in one["details"]]


def _liquidation(symbol: str, detail: Any) -> Event:
    """`bkPx` is what the venue's liquidation account took it over at. Who is in net mode has the side alone."""
    time_ms, side, position = counted_ms(detail["ts"]), detail["side"], detail.get("posSide", "")
    if position not in ("long", "short"):
        position = {"sell": "long", "buy": "short"}.get(side, "")
    left = {
        name: value for name, value in detail.items() if name not in IN_COLUMNS and value not in USUAL.get(name, ())
    }
    record = Liquidation(
        timestamp_ms=time_ms,
        liquidation_id=id_of(orjson.dumps([symbol, detail], option=orjson.OPT_SORT_KEYS).decode()),
        price_kind="bankruptcy",
        order_side=side if side in ("buy", "sell") else "",
        position_side=position,
        price=told_text(detail["bkPx"]),
        contract_quantity=told_text(detail["sz"]),
        is_sampled=True,
        metadata=orjson.dumps(left).decode() if left else "",
    )
    return Event("liquidations", symbol, time_ms, record)


def _quotes(said: Any, arg: Any) -> list[Event]:
    return [_quote(row, told_text(arg["instId"])) for row in said["data"]]


def _quote(row: Any, symbol: str) -> Event:
    """Of `bbo-tbt`, a book of one level; a side may be empty."""
    at_ms = counted_ms(row["ts"])
    bid, bid_quantity = told_levels([level[:2] for level in row["bids"][:1]] or [["", ""]])[0]
    ask, ask_quantity = told_levels([level[:2] for level in row["asks"][:1]] or [["", ""]])[0]
    record = Quote(bid_price=bid, bid_quantity=bid_quantity, ask_price=ask, ask_quantity=ask_quantity)
    number = told_id(row["seqId"])
    return Event("quotes", symbol, at_ms, record, ids=(number, number))


def _tickers(said: Any, arg: Any) -> list[Event]:
    return [_ticker(row, told_text(arg["instId"])) for row in said["data"]]


def _ticker(row: Any, symbol: str) -> Event:
    """Best offers ten times a second at most, among figures of a day; not asked for, but told in recordings."""
    names = ("bidPx", "bidSz", "askPx", "askSz")
    if any(type(row[name]) is not str for name in names):
        raise ValueError("best offers that are no texts")
    bid, bid_quantity, ask, ask_quantity = (row[name] for name in names)
    record = Quote(bid_price=bid, bid_quantity=bid_quantity, ask_price=ask, ask_quantity=ask_quantity)
    return Event("quotes", symbol, counted_ms(row["ts"]), record)


def _books(said: Any, arg: Any) -> list[Event]:
    is_snapshot = {"snapshot": True, "update": False}[said["action"]]
    return [_book(row, told_text(arg["instId"]), is_snapshot=is_snapshot) for row in said["data"]]


def _book(row: Any, symbol: str, *, is_snapshot: bool) -> Event:
    """A level is price, quantity, a nought and how many orders.

    A change that says seqId = prevSeqId changed nothing; one with a seqId below prevSeqId counts anew from there, after
    the venue's maintenance. Both go on from the change before.
    """
    sides = {name: told_levels([level[:2] for level in row[name]]) for name in ("bids", "asks")}
    record = Book(bids=sides["bids"], asks=sides["asks"])
    if row.get("checksum"):
        record["checksum"] = told_checksum(row["checksum"])
    ids = before = None
    if "seqId" in row:
        number, last = told_id(row["seqId"]), row["prevSeqId"]
        ids, before = (number, number), None if is_snapshot or last == -1 else told_id(last)
    return Event("books", symbol, counted_ms(row["ts"]), record, ids=ids, before=before, is_snapshot=is_snapshot)


def told_checksum(value: Any) -> int:
    """A CRC32 as the venue writes it, signed. Raises ValueError for anything else."""
    if type(value) is int and -(2**31) <= value < 2**31:
        return value
    raise ValueError(f"no checksum: {value!r:.50}")


def checksum(bids: Sequence[Sequence[str]], asks: Sequence[Sequence[str]], info: Mapping[str, Any]) -> int:
    """CRC32 of the 25 best of each side in turn, bid first, price and quantity as told; signed."""
    sides = itertools.zip_longest(bids[:25], asks[:25])
    text = ":".join(":".join(level) for pair in sides for level in pair if level is not None)
    crc = zlib.crc32(text.encode())
    return crc - 2**32 if crc >= 2**31 else crc


def counted_ms(value: Any) -> int:
    """A time in a text. Raises ValueError for anything else."""
    return told_ms(counted(value))


# What of a liquidation has a column, and what says nothing more; the rest is metadata.
IN_COLUMNS = ("bkPx", "sz", "ts")
USUAL = {"side": ("buy", "sell"), "posSide": ("long", "short"), "bkLoss": ("0", ""), "ccy": ("",)}

READERS: Mapping[str, Callable[[Any, Any], list[Event]]] = {
    "candle1m": _bars,
    "trades": _trades,
    "liquidation-orders": _liquidations,
    "bbo-tbt": _quotes,
    "tickers": _tickers,
    "books": _books,
}
_parse = never_raising(read)


def _aggregates(single: TradeLayout) -> TradeLayout:
    """Of the stream, of which REST tells the single ones."""
    return replace(single, kind="aggregate", keys={**single.keys, "first_id": "firstId", "last_id": "tradeId"})


BUSINESS = Feed(
    venue=okx.SPOT.name,
    url="wss://ws.okx.com:8443/ws/v5/business",
    path="/ws/v5/business",
    kinds=("bars",),
    subscribe=subscribe,
    parse=parse,
    connects=CONNECTS,
    channels_max=CHANNELS_MAX,
    asks_per_s=ASKS_PER_S,
    ping="ping",
    ping_s=15,
    silence_s=25,
)
PUBLIC = replace(
    BUSINESS,
    url="wss://ws.okx.com:8443/ws/v5/public",
    path="/ws/v5/public",
    kinds=("trades", "quotes", "books"),
    trades=_aggregates(okx.SPOT_TRADE),
    checksum=checksum,
)
FEEDS = (
    BUSINESS,
    PUBLIC,
    replace(BUSINESS, venue=okx.PERP.name),
    replace(
        PUBLIC,
        venue=okx.PERP.name,
        kinds=("trades", "liquidations", "quotes", "books"),
        trades=_aggregates(okx.SWAP_TRADE),
    ),
)
