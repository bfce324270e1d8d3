"""Some channels of one feed, always heard: connections one after the other, two for a moment when one grows old.

A shard says which bars closed and which minutes are missing; where either goes is not its affair.
"""

import asyncio
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from alphaforge_assets.errors import AlphaForgeError
from alphaforge_assets.stream.closing import Closing, Hole
from alphaforge_assets.stream.connection import Connection, name_of
from alphaforge_assets.venues.feed import Channel, Event, Feed
from alphaforge_assets.venues.governor import Governor

PAUSE_S_MIN, PAUSE_S_MAX = 0.5, 30.0
OVERLAP_S_MAX = 70.0
LIFE_SHARE = 23 / 24  # of what the venue grants; no two shards at once
DUE_EVERY_S = 0.25
TAKE_PATIENCE_S = 300.0
AHEAD_S_MAX = 7200.0  # of our clock, which may be an hour wrong: what is later is no time of now


@dataclass(frozen=True, slots=True)
class Closed:
    """A bar that is over, and the message that said so: number `n` of `connection`, `at` ns of our clock."""

    connection: Connection
    n: int
    at: int
    event: Event


@dataclass
class Shard:
    """The channels of one connection. `closed` is told of bars, `missing` of minutes, `said` what happens in words."""

    feed: Feed
    url: str
    channels: Sequence[Channel]
    folder: Path
    closing: Closing
    governor: Governor
    closed: Callable[["Shard", Closed], None]
    missing: Callable[["Shard", list[Hole]], None]
    said: Callable[[str, str], None]
    connections: list[Connection] = field(default_factory=list)  # those that live
    ended: list[Connection] = field(default_factory=list)  # whose journals are still to be packed
    reconnects: int = 0
    last_words: str = ""  # why it is not connected
    asks_alone: bool = False
    rested_s: float = 0.0  # both as of `Connection`
    before_at: float = 0.0
    refused: dict[Channel, str] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)
    _told: dict[str, tuple[Connection, int, int]] = field(default_factory=dict)  # open bars: the message of each

    async def live(self) -> None:
        """Hear the channels until cancelled."""
        closer = asyncio.create_task(self._close_what_is_due())
        try:
            pause = 0.0
            while len(self.refused) < len(self.channels):
                pause = await self._one_life(pause)
            await asyncio.Event().wait()  # there is nothing to hear
        finally:
            closer.cancel()
            await asyncio.gather(*(c.close("the end") for c in self.connections), return_exceptions=True)

    async def _one_life(self, pause: float) -> float:
        """A connection from its opening to its end, its successor if it grew old. Returns the next pause."""
        if pause:
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - to spread, not to hide
        current, task = await self._opened()
        while True:
            life = self.feed.life_s * LIFE_SHARE * random.uniform(0.98, 1.0)  # noqa: S311
            old_at = time.monotonic() + life
            while not task.done() and time.monotonic() < old_at and not current.ends_soon:
                self._look_at_refusals(current)
                if current.refused_together and not self.asks_alone:
                    self.asks_alone = True
                    await current.close(f"refused: {current.refused_together}; each channel is asked for alone")
                await asyncio.wait([task], timeout=1.0)
            if task.done():
                break
            current, task = await self._replaced(current, task)
        why = task.result()
        if current.opened_at:
            self.closing.broke(why)
        if why != self.last_words:
            self.said(name_of(self.feed), why)
        self.last_words = why
        self.reconnects += 1
        return PAUSE_S_MIN if current.spoken else min(PAUSE_S_MAX, max(PAUSE_S_MIN, pause * 2))

    async def _opened(self) -> tuple[Connection, "asyncio.Task[str]"]:
        """A new connection, within the venue's budget for them."""
        while True:
            try:
                await asyncio.to_thread(self.governor.take, self.feed.connects, 1, TAKE_PATIENCE_S, self.stop)
                break
            except AlphaForgeError as error:
                self.last_words = str(error)
                await asyncio.sleep(PAUSE_S_MAX)
        channels = [c for c in self.channels if c not in self.refused]
        connection = Connection(self.feed, self.url, channels, self.folder, self._heard, self.asks_alone)
        connection.rested_s, connection.before_at = self.rested_s, self.before_at
        self.connections.append(connection)
        task = asyncio.create_task(connection.live())
        task.add_done_callback(lambda _: self._gone(connection))
        return connection, task

    async def _replaced(self, old: Connection, task: "asyncio.Task[str]") -> tuple[Connection, "asyncio.Task[str]"]:
        """The successor, once it has heard of every instrument or had time to; until then both are heard."""
        successor, its = await self._opened()
        deadline = time.monotonic() + OVERLAP_S_MAX
        names = {c.venue_symbol for c in self.channels if c not in self.refused}
        while time.monotonic() < deadline and not names <= successor.spoken and not its.done() and not task.done():
            await asyncio.wait([its, task], timeout=0.2, return_when=asyncio.FIRST_COMPLETED)
        if its.done():
            await asyncio.wait([task], timeout=PAUSE_S_MAX)  # not at once again: it was not let in
            return old, task
        await old.close("another took its place")
        return successor, its

    def _gone(self, connection: Connection) -> None:
        self.ended.append(connection)  # first: threads look for it here or there
        self.connections.remove(connection)
        self.rested_s = connection.rested_s
        last = connection.heard_at if connection.spoken else connection.before_at or connection.heard_at
        self.before_at = last if connection.was_silent else 0.0
        self._look_at_refusals(connection)

    def _look_at_refusals(self, connection: Connection) -> None:
        for channel, why in connection.refused.items():
            if channel not in self.refused:
                self.refused[channel] = why
                self.said(name_of(self.feed), f"{channel.venue_symbol} {channel.kind} is refused: {why}")

    def _heard(self, connection: Connection, n: int, at: int, event: Event) -> None:
        if max(event.at_ms, event.open_ms) / 1000 > time.time() + AHEAD_S_MAX:
            connection.unknown += 1  # one such time would end all minutes until then; it is in the journal
            return
        if event.kind != "bars":
            if event.at_ms and not event.is_snapshot:
                self.closing.passed(event.at_ms, time.monotonic())
            return
        for bar in self.closing.told(event, time.monotonic()):
            said_by = (connection, n, at) if bar is event else self._told[event.venue_symbol]
            self.closed(self, Closed(*said_by, bar))
        self._told[event.venue_symbol] = (connection, n, at)

    async def _close_what_is_due(self) -> None:
        while True:
            await asyncio.sleep(DUE_EVERY_S)
            bars, holes = self.closing.due(time.monotonic())
            for bar in bars:
                self.closed(self, Closed(*self._told[bar.venue_symbol], bar))
            if holes:
                self.missing(self, holes)
