"""The stream of one home: every instrument whose bars of 1m the universe keeps, heard, journalled, loaded and repaired.

One loop receives. Threads beside it bring journals to disk, load bars, ask REST for what is missing and pack hours that
are over. Whichever of them stands still, messages are received and journalled: what waits are positions, not messages.
"""

import asyncio
import contextlib
import datetime as dt
import itertools
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
from clickhouse_connect.driver.client import Client
from filelock import FileLock, Timeout

from alphaforge_assets.errors import AlphaForgeError, Occupied
from alphaforge_assets.settings import Settings
from alphaforge_assets.stream import status
from alphaforge_assets.stream.closing import Closing, Hole
from alphaforge_assets.stream.connection import Connection, name_of, url_of
from alphaforge_assets.stream.journal import HOUR_NS, SYNC_S, left_over
from alphaforge_assets.stream.loader import MINUTE_MS, Bar, Loader
from alphaforge_assets.stream.packing import bars_of, feed_of, pack_away
from alphaforge_assets.stream.repair import AGAIN_S, REPAIR_S, Missing, by_venue, note, repair
from alphaforge_assets.stream.segments import Place
from alphaforge_assets.stream.shard import Closed, Shard
from alphaforge_assets.stream.subscribing import Heard, bar_feeds, names_of, shared_out, streamed
from alphaforge_assets.universe import Instrument, Universe
from alphaforge_assets.venues.directory import Exchanges
from alphaforge_assets.venues.feed import Channel
from alphaforge_assets.venues.governor import Governor
from alphaforge_assets.warehouse import statements

TICK_S = 0.1  # after the first close: the others of its minute come with it
AGAIN_WAREHOUSE_S = 5.0
NAMES_AGAIN_S = 30.0
SAID_AGAIN_S = 600.0
PACK_EVERY_S = 60.0
PACKED_AFTER_NS = 90 * 1_000_000_000  # an hour's last bars are loaded by then
# What was missed for longer is left to the tail and to backfills, which bring it faster.
RESUME = dt.timedelta(hours=6)


@dataclass
class Stream:
    """All that runs in one process. `loading` and `mending` are clients of the warehouse, each of one thread."""

    settings: Settings
    universe: Universe
    exchanges: Exchanges
    loading: Client
    mending: Client
    place: Place
    say: Callable[[str], None]
    stop: threading.Event = field(default_factory=threading.Event)
    shards: list[Shard] = field(default_factory=list)
    heard: dict[str, list[Heard]] = field(default_factory=dict)  # by venue

    def __post_init__(self) -> None:
        self.folder: Path = self.settings.home / "stream" / "journal"
        self.left = self.folder.with_name("left")
        self.governor = Governor(self.settings.governor_file, self.settings.venues_url or "live")
        self.loader = Loader(self.loading, self.settings.dagster_home)
        self.last: dict[str, status.Last] = {}
        self.latency: deque[float] = deque(maxlen=1000)
        self.repaired = 0
        self.trouble = ""
        self._names: dict[int, dict[str, Heard]] = {}  # of each shard
        self._lock = threading.Lock()
        self._landed: list[tuple[Heard, Closed]] = []  # not known to be published
        self._closed: dict[int, tuple[Heard, Closed]] = {}  # by the order they came in
        self._numbers = itertools.count()
        self._said: dict[str, float] = {}  # kind of trouble -> when it was last there, steady seconds
        self._missing: list[Missing] = []
        self._repaired: list[tuple[Instrument, int, int]] = []  # landed by REST, to be published
        self._started_at = time.time()
        self._packed_at = time.monotonic()
        self._is_unsure = False  # whether what was loaded last has landed
        self._ended = threading.Event()  # no connection is left
        self._failure: BaseException | None = None

    async def live(self) -> None:
        """Run until `stop`, then bring what was heard to disk and into the warehouse.

        Raises what ended it, if that was another thing: a fault of ours.
        """
        self._set_aside()
        work = [self._sync, self._load, self._mend, self._tell]
        threads = [threading.Thread(target=self._ever, args=(w,), name=w.__name__.strip("_")) for w in work]
        for thread in threads:
            thread.start()
        venues = dict.fromkeys(i.venue for i in streamed(self.universe))
        tasks = [asyncio.create_task(self._hear(venue)) for venue in venues]
        try:
            await asyncio.to_thread(self.stop.wait)
        finally:
            self.stop.set()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._ended.set()
            for thread in threads:
                await asyncio.to_thread(thread.join)
            for last in (self._sync, self._load, self._mend):  # in this order: what is told last is loaded too
                await asyncio.to_thread(self._once, last)
            self._tell_once()
            self.governor.close()
        if self._failure is not None:
            raise self._failure

    async def _hear(self, venue: str) -> None:
        """A venue that is heard no more for a fault of ours ends everything: whoever started us starts us again."""
        try:
            await self._venue(venue)
        except Exception as error:
            self._failure = error
            self.stop.set()

    async def _venue(self, venue: str) -> None:
        """Hear a venue's instruments: as soon as their names are known, for ever."""
        its = [i for i in streamed(self.universe) if i.venue == venue]
        while True:
            try:
                found = await asyncio.to_thread(self._found, venue, its)
                break
            except AlphaForgeError as error:
                self._say_once(venue, f"not heard yet, its list cannot be had: {error}", "list")
                await asyncio.sleep(NAMES_AGAIN_S)
        heard, resume = found
        for unlisted in sorted({i.key for i in its} - {h.instrument.key for h in heard}):
            self.say(f"{unlisted}: {venue} does not list it, so it is not heard")
        self.heard[venue] = heard
        async with asyncio.TaskGroup() as group:
            for feed in bar_feeds(venue):
                for part in shared_out(heard, feed):
                    shard = Shard(
                        feed,
                        url_of(feed, self.settings.venues_url),
                        [Channel("bars", h.name) for h in part],
                        self.folder,
                        Closing([h.name for h in part], feed.closes, resume),
                        self.governor,
                        self._note_closed,
                        self._note_missing,
                        lambda name, why: self._say_once(name, why, why),
                        stop=self.stop,
                    )
                    self._names[id(shard)] = {h.name: h for h in part}
                    self.shards.append(shard)
                    group.create_task(shard.live())

    def _found(self, venue: str, its: Sequence[Instrument]) -> tuple[list[Heard], dict[str, int]]:
        """Names of instruments, and the minute from which on each one's bars are wanted, by its stream's name."""
        heard = names_of(self._mender, self.exchanges, venue, its)
        with self._mender() as client:
            self._replay(venue, heard)
            since = dt.datetime.now(dt.UTC) - RESUME
            ids = [h.instrument.instrument_id for h in heard]
            rows = statements.rows(client, "reads/streamed_until", instruments=ids, since=since)
        last = {row["instrument_id"]: round(row["last"].timestamp() * 1000) for row in rows}
        names = {h.instrument.instrument_id: h.name for h in heard}
        return heard, {names[i]: ms + MINUTE_MS for i, ms in last.items() if i in names}

    @contextlib.contextmanager
    def _mender(self) -> Iterator[Client]:
        """The client of repairs, for one at a time."""
        with self._lock:
            yield self.mending

    def _say_once(self, name: str, what: str, kind: str) -> None:
        """Say what may befall all venues at once, as a network that is gone does, of the first alone."""
        now = time.monotonic()
        if now - self._said.get(kind, -SAID_AGAIN_S) >= SAID_AGAIN_S:
            self.say(f"{name}: {what}")
        self._said[kind] = now

    def _set_aside(self) -> None:
        """Take the journals of processes before us out of the way of ours."""
        self.left.mkdir(parents=True, exist_ok=True)
        for file in left_over(self.folder):
            file.rename(self.left / file.name)

    def _replay(self, venue: str, heard: Sequence[Heard]) -> None:
        """Load what a process before us had on disk, and pack its journals away."""
        loader = Loader(self.mending, self.settings.dagster_home)
        for file in left_over(self.left):
            feed = feed_of(file)
            if feed is not None and feed.venue == venue:
                loader.load(bars_of(file, feed, heard), is_replayed=True)
                loader.publish(wait_s=60.0)
                pack_away(self.mending, file, feed, heard, self.place)
        self.loader.loaded += loader.loaded

    # What shards tell, in the loop.

    def _note_closed(self, shard: Shard, closed: Closed) -> None:
        its = self._names[id(shard)].get(closed.event.venue_symbol)
        if its is not None:
            self._closed[next(self._numbers)] = its, closed

    def _note_missing(self, shard: Shard, holes: list[Hole]) -> None:
        names = self._names[id(shard)]
        for h in holes:
            its = names[h.venue_symbol]
            start, end = (dt.datetime.fromtimestamp(ms / 1000, dt.UTC) for ms in (h.start_ms, h.end_ms))
            self._missing.append(Missing(its.instrument, its.venue_symbol, start, end, h.reason, time.time()))

    # What threads do, each again and again.

    def _ever(self, work: Callable[[], float]) -> None:
        """`work` returns how long it may rest."""
        while not self._ended.is_set():
            self._ended.wait(self._once(work))

    def _once(self, work: Callable[[], float]) -> float:
        """What it raises for good ends everything."""
        try:
            pause = work()
            if work == self._load:
                self.trouble = ""
        except AlphaForgeError as error:
            if str(error) != self.trouble:
                self.say(str(error))
            self.trouble, pause = str(error), AGAIN_WAREHOUSE_S
        except BaseException as error:
            self._failure, pause = error, 0.0
            self.stop.set()
        return pause

    def _connections(self) -> Iterator[tuple[Shard, Connection]]:
        for shard in list(self.shards):
            yield from ((shard, c) for c in (*shard.connections, *shard.ended))

    def _sync(self) -> float:
        for _, connection in self._connections():
            connection.journal.sync()
        return SYNC_S

    def _load(self) -> float:
        """Load the closed bars whose messages are on disk."""
        while self._repaired:
            instrument, start, end = self._repaired.pop()
            self.loader.note([instrument], start, end)
        waiting = list(self._closed.items())
        ready = {n: one for n, one in waiting if one[1].n <= one[1].connection.journal.synced}
        if not ready:
            self._note_published(is_published=self.loader.publish())
            return TICK_S / 2
        bars = [Bar(h.instrument, c.event.open_ms, c.event.record, c.connection.id, c.at) for h, c in ready.values()]
        is_again, self._is_unsure = self._is_unsure, True
        is_published = self.loader.load(bars, is_replayed=is_again)
        self._is_unsure = False
        for number, one in ready.items():
            del self._closed[number]
            self._landed.append(one)
        self._note_published(is_published=is_published)
        return TICK_S

    def _note_published(self, *, is_published: bool) -> None:
        """What landed is published now, unless somebody else held the lock for too long."""
        if not is_published:
            return
        now = time.time()
        for its, closed in self._landed:
            at = closed.at / 1e9
            self.last[its.instrument.key] = status.Last(its.instrument.key, closed.event.open_ms, at, now)
            self.latency.append(now - at)
        self._landed = []

    def _mend(self) -> float:
        """Ask REST for what is missing; pack hours that are over, once in a while."""
        now = time.monotonic()
        wanted = [m for m in list(self._missing) if m.not_before <= now]
        with self._lock:
            for part in by_venue(wanted):
                for outcome in repair(self.mending, self.exchanges, part, self.loader.run_id):
                    its = outcome.missing
                    if outcome.rows is None and time.time() - its.noted_at < REPAIR_S and not self.stop.is_set():
                        self._missing.append(replace(its, not_before=time.monotonic() + AGAIN_S))
                        self._missing.remove(its)
                        continue
                    start, end = (round(t.timestamp() * 1000) for t in (its.start, its.end))
                    self._repaired.append((its.instrument, start, end))
                    self.repaired += outcome.rows or 0
                    note(self.mending, [outcome])
                    self._missing.remove(its)
            if self.stop.is_set() or now - self._packed_at > PACK_EVERY_S:
                self._pack()
                self._packed_at = now
        return 0.5

    def _pack(self) -> None:
        """Bring hours that are over, and connections that ended, away from the journal."""
        waits = {c.connection.id for _, c in list(self._closed.values())}
        hour = (time.time_ns() - PACKED_AFTER_NS) // HOUR_NS
        for shard, connection in list(self._connections()):
            heard = list(self._names[id(shard)].values())
            has_ended = connection in shard.ended
            if connection.id in waits or (has_ended and connection.journal.synced < connection.journal.added):
                continue
            for file in connection.journal.close() if has_ended else connection.journal.over(hour):
                pack_away(self.mending, file, shard.feed, heard, self.place)
            if has_ended:
                self._note_connection(shard, connection)
                shard.ended.remove(connection)
        instruments = [h.instrument for its in self.heard.values() for h in its]
        if instruments:
            since = dt.datetime.now(dt.UTC) - dt.timedelta(days=2)
            self.loader.write_ledger(self.mending, instruments, self.exchanges.origin, since)

    def _note_connection(self, shard: Shard, c: Connection) -> None:
        if not c.opened_at:
            return
        row = {
            "venue": shard.feed.venue,
            "feed": name_of(shard.feed),
            "connection": c.id,
            "instruments": len(c.channels),
            "messages": c.messages,
            "unknown": c.unknown,
            "lost": c.lost + c.journal.lost,
            "opened_at": _moment(c.opened_at),
            "ended_at": _moment(c.ended_at or time.time()),
            "reason": c.why,
        }
        statements.insert(self.mending, "stream_connections", pa.Table.from_pylist([row], _CONNECTIONS), c.id)

    def _tell(self) -> float:
        self._tell_once()
        return 1.0

    def _tell_once(self) -> None:
        wires = []
        for shard in list(self.shards):
            its = shard.connections[-1] if shard.connections else None
            alive = its is not None and its.opened_at > 0
            refused = "; ".join(f"{c.venue_symbol} is refused: {why}" for c, why in shard.refused.items())
            trouble = "; ".join(filter(None, ["" if alive else shard.last_words, refused]))
            numbers = (its.messages, its.unknown, its.lost) if its else (0, 0, 0)
            times = (its.opened_at, its.last_at) if its else (0.0, 0.0)
            wires.append(
                status.Wire(
                    shard.feed.venue, name_of(shard.feed), len(shard.channels), alive, *times, *numbers,
                    shard.reconnects, trouble,
                )
            )  # fmt: skip
        status.write(
            self.settings.home,
            status.Status(
                pid=os.getpid(),
                started_at=self._started_at,
                written_at=time.time(),
                wires=wires,
                last=sorted(self.last.values(), key=lambda one: one.key),
                loaded=self.loader.loaded,
                waiting=len(self._closed),
                missing=len(self._missing),
                repaired=self.repaired,
                journal_bytes=sum(c.journal.bytes for _, c in self._connections()),
                trouble=self.trouble,
                latency_s=[round(s, 3) for s in self.latency],
            ),
        )


@contextlib.contextmanager
def alone(home: Path) -> Iterator[None]:
    """One stream a home. Raises Occupied."""
    (home / "stream").mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(home / "stream" / "stream.lock").acquire(timeout=0):
            yield
    except Timeout as error:
        raise Occupied(f"a stream of {home} runs already: `alphaforge stream --status` shows it") from error


def _moment(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


_MS = pa.timestamp("ms", "UTC")
_CONNECTIONS = pa.schema(
    [
        *((name, pa.string()) for name in ("venue", "feed", "connection")),
        ("instruments", pa.uint32()),
        *((name, pa.uint64()) for name in ("messages", "unknown", "lost")),
        *((name, _MS) for name in ("opened_at", "ended_at")),
        ("reason", pa.string()),
    ]
)
