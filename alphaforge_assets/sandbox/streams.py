"""WebSockets of the sandbox: connections, what is pushed when, and the hooks. What venues say is in <venue>_streams.py.

How to use it: start the sandbox, `POST /_clock {"now": "2025-06-02T23:50:00Z", "rate": 60}`, and connect below its base
URL (ws://127.0.0.1:8090). Venues speak at paths of their own:

    binance_spot     /stream, /ws, also /stream?streams=a/b and /ws/a
    binance_perp     /market/stream and /market/ws (kline, aggTrade, forceOrder), /public/stream and /public/ws (depth,
                     bookTicker, trade), /fapi/stream and /fapi/ws (all of them)
    binanceus_spot   /binanceus/stream, /binanceus/ws
    okx              /ws/v5/business (candles), /ws/v5/public (the rest)
    bybit            /v5/public/spot, /v5/public/linear
    kraken_spot      /v2
    coinbase_spot    /advanced-trade

A clock that is fixed pushes nothing but answers. When it is set, streams go on from where it stands then. Hooks:

    GET    /_connections   [{n, venue, path, since, subscriptions, sent}]      DELETE /_connections   a clean end of all
    POST   /_load          {"messages_per_s", "seconds"}: more trades to those who take some, see `binance_load.py`
    POST   /_faults        {"scope": "stream", …}, see `stream_faults.py`

A topic's minute is made once for all connections: events in the order of time, of which those between two looks at the
clock go out together.
"""

import asyncio
import datetime as dt
import json
import struct
import traceback
from collections import OrderedDict
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from alphaforge_assets.sandbox.bars import MINUTE_MS
from alphaforge_assets.sandbox.exchange import Exchange
from alphaforge_assets.sandbox.listings import Listing
from alphaforge_assets.sandbox.moments import Minute
from alphaforge_assets.sandbox.stream_faults import Bent, StreamFaults
from alphaforge_assets.sandbox.trades import Made
from alphaforge_assets.sandbox.wire import Receive, Send

LOOK_S = 0.02
MINUTES_KEPT = 1000
BEHIND_MS_MAX = 3_600_000  # of venue time; a client that does not read is not told all of it later


@dataclass(frozen=True, slots=True)
class Event:
    """A message at venue time `time` (ms). `kind`: open, close, trade, best, book, liquidation or control."""

    time: int
    kind: str
    text: bytes


@dataclass(frozen=True)
class Topic:
    """What a connection asked for: `key` as the venue spells it, and the listing and channel it means."""

    key: str
    channel: str
    listing: Listing


@dataclass
class Connection:
    """One client. `told` is how far in venue time its topics have been told."""

    number: int
    venue: str
    path: str
    since: str
    told: int
    topics: dict[str, Topic] = field(default_factory=dict)
    starts: dict[str, int] = field(default_factory=dict)  # of topics: what was before is in their snapshot
    sent: int = 0
    sequence: int = 0
    quiet_ms: int = 0  # venue time of the last message
    loaded_until: float = 0.0
    memory: dict[str, Any] = field(default_factory=dict)  # of its dialect
    bent: Bent = field(default_factory=Bent)
    out: "asyncio.Transport | None" = None

    def write(self, texts: Iterable[bytes]) -> None:
        """Send texts as frames. Built here: uvicorn's way costs three times as much."""
        frames = [part for text in texts for part in (framed(len(text)), text)]
        if frames and self.out is not None and not self.out.is_closing():
            self.sent += len(frames) // 2
            self.out.write(b"".join(frames))


def framed(size: int) -> bytes:
    """The head of an unmasked text frame."""
    if size < 126:
        return bytes((0x81, size))
    return struct.pack(">BBH", 0x81, 126, size) if size < 65_536 else struct.pack(">BBQ", 0x81, 127, size)


class Dialect(Protocol):
    """How one venue speaks over WebSocket."""

    paths: Mapping[str, str]  # path -> venue

    def greeting(self, connection: Connection, query: str) -> list[bytes]:
        """What it says first; a query may subscribe."""
        ...

    def answer(self, connection: Connection, text: str) -> tuple[list[bytes], list[Topic]]:
        """What it says to a message, and what is subscribed by it. Takes topics away itself."""
        ...

    def snapshot(self, connection: Connection, topic: Topic, now_ms: int) -> list[bytes]:
        """What it tells a new subscriber at once."""
        ...

    def events(self, topic: Topic, minute: Minute) -> list[Event]:
        """The messages of a minute, in the order of time; those of its close are after it."""
        ...

    def wrapped(self, connection: Connection, topic: Topic | None, text: bytes) -> bytes:
        """A message as this connection is told it; without a topic it is an answer."""
        ...

    def idle(self, connection: Connection, now_ms: int) -> list[bytes]:
        """What is said now if it is time for it, such as heartbeats."""
        ...

    def farewell(self, connection: Connection, now_ms: int) -> list[bytes]:
        """The venue's notice before it shuts down."""
        ...

    def spoiled(self, text: bytes) -> bytes:
        """A closing bar with other values."""
        ...


@dataclass
class Streams:
    """All connections, and the minutes they are told."""

    exchange: Exchange
    dialects: tuple[Dialect, ...]
    faults: StreamFaults = field(default_factory=StreamFaults)
    connections: dict[int, Connection] = field(default_factory=dict)
    _opened: int = 0
    _minutes: "OrderedDict[tuple[Any, ...], list[Event]]" = field(default_factory=OrderedDict)
    _moments: "OrderedDict[tuple[str, str, int], Minute]" = field(default_factory=OrderedDict)

    def forget(self) -> None:
        """After a bar was revised."""
        self._minutes.clear()
        self._moments.clear()

    def listed(self) -> list[dict[str, Any]]:
        """The connections as `/_connections` tells them."""
        return [
            {"n": one.number, "venue": one.venue, "path": one.path, "since": one.since,
             "subscriptions": list(one.topics), "sent": one.sent}
            for one in self.connections.values()
        ]  # fmt: skip

    def end_all(self) -> None:
        """Close every connection cleanly, as venues do after a day."""
        for one in self.connections.values():
            one.bent.is_ending = True

    async def serve(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """One connection, from its handshake to its end."""
        await receive()
        dialect, venue = self._dialect(scope["path"])
        fault = self.faults.handshake(venue)
        if dialect is None or (fault is not None and fault.kind == "refuse"):
            status = 404 if fault is None else fault.status
            await send({"type": "websocket.http.response.start", "status": status, "headers": []})
            await send({"type": "websocket.http.response.body", "body": b""})
            return
        await send({"type": "websocket.accept"})
        self._opened += 1
        now = self.exchange.clock.now_ms()
        since = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
        connection = Connection(self._opened, venue, scope["path"], since, now, quiet_ms=now)
        connection.out = send.__self__.transport  # type: ignore[attr-defined]  # uvicorn's protocol; ASGI has no word
        self.connections[connection.number] = connection
        pump = None
        try:
            if fault is None:
                connection.write(dialect.greeting(connection, scope["query_string"].decode("latin-1")))
                pump = asyncio.create_task(self._pushing(dialect, connection, send))
            await self._listen(dialect, connection, receive, is_deaf=fault is not None)
        finally:
            del self.connections[connection.number]
            if pump:
                pump.cancel()

    def _dialect(self, path: str) -> tuple[Dialect | None, str]:
        for dialect in self.dialects:
            if path in dialect.paths:
                return dialect, dialect.paths[path]
        for dialect in self.dialects:
            for root, venue in dialect.paths.items():
                if root.endswith("/ws") and path.startswith(root + "/") and "@" in path:
                    return dialect, venue
        return None, ""

    async def _listen(self, dialect: Dialect, connection: Connection, receive: Receive, *, is_deaf: bool) -> None:
        while (message := await receive())["type"] == "websocket.receive":
            if is_deaf:
                continue
            said, topics = dialect.answer(
                connection, message.get("text") or message.get("bytes", b"").decode("latin-1")
            )
            early = topics[:1] if connection.venue in ("okx", "coinbase_spot") else []
            for topic in topics:
                await self._counted(topic)
                if topic in early:  # data before the acknowledgement, as recorded
                    self._begin(dialect, connection, topic)
            connection.write([dialect.wrapped(connection, None, text) for text in said])
            for topic in topics:
                if topic not in early:
                    self._begin(dialect, connection, topic)

    def _begin(self, dialect: Dialect, connection: Connection, topic: Topic) -> None:
        now = self.exchange.clock.now_ms()
        if not connection.topics:
            connection.told = now
        connection.topics[topic.key], connection.starts[topic.key] = topic, now
        connection.write([dialect.wrapped(connection, None, text) for text in dialect.snapshot(connection, topic, now)])

    async def _counted(self, topic: Topic) -> None:
        """The ids of its trades, counted without stopping others."""
        for is_single in (False, True):
            tape = self.exchange.tapes.of(topic.listing, is_single=is_single)
            if isinstance(tape, Made):
                for _ in tape.count_up_to(self.exchange.clock.now_ms()):
                    await asyncio.sleep(0)

    async def _pushing(self, dialect: Dialect, connection: Connection, send: Send) -> None:
        try:
            await self._push(dialect, connection, send)
        except OSError:  # the client has gone
            return
        except Exception:  # a fault of the sandbox itself: its client is the one to tell
            connection.write([json.dumps({"error": traceback.format_exc()}).encode()])
            await send({"type": "websocket.close", "code": 1011})

    async def _push(self, dialect: Dialect, connection: Connection, send: Send) -> None:
        clock, changes = self.exchange.clock, self.exchange.clock.changes
        while True:
            await asyncio.sleep(LOOK_S)
            now = clock.now_ms()
            if clock.changes != changes:
                changes, connection.told, connection.quiet_ms = clock.changes, now, now
                connection.starts.clear()
            bent = connection.bent
            self.faults.strike(connection.venue, bent, asyncio.get_running_loop().time())
            if bent.is_cut and connection.out:
                connection.out.abort()
                return
            if bent.is_leaving:
                connection.write(dialect.farewell(connection, now))
            if bent.is_ending or bent.is_leaving:
                await asyncio.sleep(bent.grace_s)
                await send({"type": "websocket.close", "code": 1001 if bent.is_leaving else 1000})
                return
            if bent.is_stalled:
                connection.told = now
                continue
            if bent.pause_s:
                await asyncio.sleep(bent.pause_s)
            await send.__self__.writable.wait()  # type: ignore[attr-defined]
            self._tell(dialect, connection, now)

    def _tell(self, dialect: Dialect, connection: Connection, now: int) -> None:
        """What has happened since the last look."""
        found = self._due(dialect, connection, max(connection.told, now - BEHIND_MS_MAX), now)
        # Wrapped before faults: what is left out has had its number.
        due = [(it, Event(one.time, one.kind, dialect.wrapped(connection, it, one.text))) for it, one in found]
        connection.told = max(now, connection.told)
        due = self.faults.bend(connection.venue, connection.bent, due, now, dialect.spoiled)
        texts = [event.text for _, event in due]
        if connection.bent.huge_bytes:
            texts.append(json.dumps({"padding": "x" * connection.bent.huge_bytes}).encode())
            connection.bent.huge_bytes = 0
        if texts:
            connection.quiet_ms = now
        connection.write(texts)
        connection.write(dialect.idle(connection, now))

    def _due(self, dialect: Dialect, connection: Connection, after: int, now: int) -> list[tuple[Topic, Event]]:
        """Events of (after, now], in the order of time. A close may come up to a minute after its minute began."""
        found: list[tuple[Topic, Event]] = []
        for minute in range((after - MINUTE_MS) // MINUTE_MS, now // MINUTE_MS + 1):
            for topic in connection.topics.values():
                events = self._events(dialect, topic, minute * MINUTE_MS)
                since = max(after, connection.starts.get(topic.key, 0))
                if events and events[0].time <= now and events[-1].time > since:
                    found += [(topic, event) for event in events if since < event.time <= now]
        if connection.loaded_until > asyncio.get_running_loop().time():
            found = [(topic, event) for topic, event in found if topic.channel != "aggTrade"]
        found.sort(key=lambda its: its[1].time)
        return found

    def _events(self, dialect: Dialect, topic: Topic, opens_ms: int) -> list[Event]:
        key = (topic.listing.key, topic.channel, opens_ms)
        if key not in self._minutes:
            self._minutes[key] = dialect.events(topic, self.minute(topic.listing, opens_ms))
            while len(self._minutes) > MINUTES_KEPT:
                self._minutes.popitem(last=False)
        return self._minutes[key]

    def minute(self, listing: Listing, opens_ms: int) -> Minute:
        """One minute of a listing, shared by its topics."""
        key = (*listing.key, opens_ms)
        if key not in self._moments:
            self._moments[key] = Minute(self.exchange, listing, opens_ms)
            while len(self._moments) > MINUTES_KEPT:
                self._moments.popitem(last=False)
        return self._moments[key]
