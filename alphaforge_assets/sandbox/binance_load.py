"""More trades than there are: POST /_load {"messages_per_s", "seconds"}, to Binance connections that take aggTrades.

The messages are valid aggTrades of the symbols that a connection takes, in turn, with ids of their own from 9·10¹² on
that count by one a symbol over all loads; meanwhile the usual ones of that connection are not sent. Sums over the
minutes of a load, and ids at its ends, are hence not those of REST; bars and books are.
"""

import asyncio

import numpy as np

from alphaforge_assets.errors import BadInput
from alphaforge_assets.sandbox.binance_streams import rows_of, trade_rows
from alphaforge_assets.sandbox.streams import Connection, Streams, Topic
from alphaforge_assets.sandbox.trades import Trades

FIRST_ID = 9_000_000_000_000
SLICE_S = 0.02
RATE_MAX, SECONDS_MAX = 200_000, 3600


def begin(streams: Streams, order: dict[str, object]) -> "asyncio.Task[None] | None":
    """Load all connections there are; None if none takes aggTrades. Raises BadInput."""
    rate, seconds = order.get("messages_per_s"), order.get("seconds")
    if not isinstance(rate, int) or not 0 < rate <= RATE_MAX:
        raise BadInput(f"messages_per_s {rate!r}: not a whole number from 1 to {RATE_MAX}")
    if not isinstance(seconds, (int, float)) or not 0 < seconds <= SECONDS_MAX:
        raise BadInput(f"seconds {seconds!r}: not a number up to {SECONDS_MAX}")
    loaded = [
        (one, topics)
        for one in streams.connections.values()
        if (topics := [topic for topic in one.topics.values() if topic.channel == "aggTrade"])
    ]
    if not loaded:
        return None
    return asyncio.create_task(_run(streams, loaded, rate, float(seconds)))


async def _run(streams: Streams, loaded: list[tuple[Connection, list[Topic]]], rate: int, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    for connection, _ in loaded:
        connection.loaded_until = begun + seconds
    due, told = 0, 0
    while told < int(rate * seconds):
        due = min(int((loop.time() - begun) * rate), int(rate * seconds))
        for connection, topics in loaded:
            if connection.number in streams.connections:
                _send(streams, connection, topics, told, due)
        told = due
        await asyncio.sleep(SLICE_S)


def _send(streams: Streams, connection: Connection, topics: list[Topic], first: int, stop: int) -> None:
    """Messages [first, stop) of a load: message n is of topic n modulo their number."""
    now = streams.exchange.clock.now_ms()
    for place, topic in enumerate(topics):
        count = (stop - place + len(topics) - 1) // len(topics) - (first - place + len(topics) - 1) // len(topics)
        if count <= 0:
            continue
        listing = topic.listing
        memory = connection.memory.setdefault("loaded", {})
        ids = memory.get(topic.key, FIRST_ID) + np.arange(count, dtype=np.int64)
        memory[topic.key] = int(ids[-1]) + 1
        bar = streams.minute(listing, now // 60_000 * 60_000).bar
        price = np.full(count, int(bar.close[0]) if bar is not None else listing.tick, np.int64)
        still = np.zeros(count, np.int64)
        trades = Trades(
            listing.price_decimals, listing.volume_decimals, ids, ids, ids, still + now, still, price,
            still + listing.lot, ids % 2 == 0,
        )  # fmt: skip
        head = b'{"stream":"' + topic.key.encode() + b'","data":' if connection.path.endswith("/stream") else b""
        tail = b"}" if head else b""
        connection.write([head + text + tail for text in rows_of(trade_rows(listing, trades, is_single=False))])
