"""One connection to a venue's stream: opened, subscribed, heard, journalled, and given up when it says nothing.

What it hears goes to the journal before anybody reads it. Everything here is of one asyncio loop; nothing is loaded.
"""

import asyncio
import contextlib
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from alphaforge_assets.stream.journal import Journal
from alphaforge_assets.venues.feed import Channel, Event, Feed, Notice

OPEN_S_MAX = 10.0
CLOSE_S_MAX = 2.0
MESSAGE_BYTES_MAX = 16 << 20
LOOK_S = 1.0
# A market that rests is silent too: what was ever silent for so long and spoke again is given thrice as long.
SILENCE_FACTOR = 3
SPEAKS_S = 1.0
SILENCE_S_MAX = 70.0  # a minute's close comes, whatever rests


def name_of(feed: Feed) -> str:
    """What its journals are called by: `binance_perp-market-stream`. The same for as long as its path is."""
    return feed.venue + feed.path.replace("/", "-")


def url_of(feed: Feed, base_url: str | None) -> str:
    """Where it is heard: the venue's own address, or below a sandbox's base URL."""
    if base_url is None:
        return feed.url
    return base_url.rstrip("/").replace("http", "ws", 1) + feed.path


@dataclass
class Connection:
    """One socket's life. `heard` is told each event with the number of its message and when it came (ns, our clock)."""

    feed: Feed
    url: str
    channels: Sequence[Channel]
    folder: Path
    heard: Callable[["Connection", int, int, Event], None]
    asks_alone: bool = False  # each channel by itself, to find the one that the venue refuses
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    messages: int = 0
    unknown: int = 0
    lost: int = 0  # messages that the journal did not take
    rested_s: float = 0.0  # the longest silence after which it, or one before it, spoke again
    before_at: float = 0.0  # when the one before it was last heard, steady seconds; 0: it did not end for its silence
    refused: dict[Channel, str] = field(default_factory=dict)
    refused_together: str = ""
    spoken: set[str] = field(default_factory=set)  # instruments that were told of
    opened_at: float = 0.0  # Unix seconds; 0 if it never was
    last_at: float = 0.0  # of the last message, Unix seconds
    ends_soon: bool = False  # the venue said so
    ended_at: float = 0.0  # Unix seconds
    why: str = ""  # it ended
    was_silent: bool = False  # so it was ended
    journal: Journal = field(init=False)

    def __post_init__(self) -> None:
        self.journal = Journal(self.folder, name_of(self.feed), self.id)
        self._heard_at = time.monotonic()  # data, or the venue's own sign of life
        self._asked: dict[int, Sequence[Channel]] = {}
        self._socket: ClientConnection | None = None

    async def live(self) -> str:
        """Hear it until it ends. Returns why it did; raises nothing that a connection can do to us."""
        try:
            self._socket = await connect(
                self.url,
                compression=None,
                max_size=MESSAGE_BYTES_MAX,
                max_queue=4096,
                open_timeout=OPEN_S_MAX,
                close_timeout=CLOSE_S_MAX,
                ping_interval=20,
                ping_timeout=20,
                proxy=None,
            )
        except (OSError, WebSocketException, TimeoutError) as error:
            return f"could not be opened: {_words(error)}"
        self.opened_at, self._heard_at = time.time(), time.monotonic()
        aside = [asyncio.create_task(work()) for work in (self._subscribe, self._watch, self._ping)]
        try:
            while True:
                self._take(await self._socket.recv(decode=False))
        except (ConnectionClosed, OSError) as error:
            self.why = self.why or _words(error)
        finally:
            for task in aside:
                task.cancel()
            with contextlib.suppress(Exception):
                await self._socket.close()
            self.ended_at, self.why = time.time(), self.why or "it was closed"
        return self.why

    @property
    def heard_at(self) -> float:
        """When it was last heard, steady seconds."""
        return self._heard_at

    async def close(self, why: str) -> None:
        """End it; `live` returns `why`."""
        self.why = self.why or why
        if self._socket is not None:
            with contextlib.suppress(Exception):
                await self._socket.close()

    def _take(self, message: bytes) -> None:
        at = time.time_ns()
        self.messages += 1
        self.last_at = at / 1e9
        n = self.journal.add(message, at)
        if not n:
            self.lost += 1
            return
        for told in self.feed.parse(message):
            if type(told) is Event:
                self._rest(time.monotonic())
                self.spoken.add(told.venue_symbol)
                self.heard(self, n, at, told)
            elif isinstance(told, Notice):
                self._note(told)

    def _rest(self, now: float) -> None:
        """Note how long it was silent. Who speaks at once when it is asked anew had not rested, but stood still."""
        rested = now - self._heard_at
        if rested > SPEAKS_S:
            since = self.before_at if self.before_at and not self.spoken else self._heard_at
            self.rested_s = max(self.rested_s, now - since)
        self._heard_at = now

    def _note(self, notice: Notice) -> None:
        if notice.what == "unknown":
            self.unknown += 1
        elif notice.what == "ending":
            self.ends_soon = True
        elif notice.what == "alive" and not self.feed.ping:
            self._heard_at = time.monotonic()  # the answer to our own ping says nothing of the data
        elif notice.what == "acknowledged":
            self._heard_at = time.monotonic()
        elif notice.what == "refused":
            channels = notice.channels or self._asked.get(notice.asked if notice.asked is not None else -1, ())
            if len(channels) == 1 or notice.channels:
                self.refused |= {c: notice.reason for c in channels if c in self.channels}
            else:
                self.refused_together = notice.reason or "no reason given"

    async def _subscribe(self) -> None:
        """Ask for the channels, no faster than the venue allows."""
        socket = self._socket
        if socket is None:
            return
        parts = [[one] for one in self.channels] if self.asks_alone else [list(self.channels)]
        number = 1
        with contextlib.suppress(ConnectionClosed):
            for part in parts:
                for text in self.feed.subscribe(part, number):
                    self._asked[number] = part
                    await socket.send(text)
                    number += 1
                    await asyncio.sleep(1 / self.feed.asks_per_s)

    async def _watch(self) -> None:
        """A socket may answer pings and say nothing for ever."""
        while True:
            await asyncio.sleep(LOOK_S)
            silent = time.monotonic() - self._heard_at
            limit = max(self.feed.silence_s, min(SILENCE_S_MAX, SILENCE_FACTOR * self.rested_s))
            if silent > limit:
                self.was_silent = True
                await self.close(f"silent for {silent:.0f} s")

    async def _ping(self) -> None:
        socket = self._socket
        if socket is None or not self.feed.ping:
            return
        with contextlib.suppress(ConnectionClosed):
            while True:
                await asyncio.sleep(self.feed.ping_s)
                await socket.send(self.feed.ping)


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:200] if str(error) else type(error).__name__
