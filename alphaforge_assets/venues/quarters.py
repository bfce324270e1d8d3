"""A venue's history as one zip file a quarter for all its markets, read in pieces: bars of a market a member.

Such a file is half a gigabyte, of which a market's minutes are some megabytes: the list at its end and one member are
asked for by ranges of bytes, and nothing else. A member that is read whole is checked by its CRC; no other checksum
stands beside the file, so its bars rank as REST's. What the venue says of intervals without a trade is in the record.
"""

import csv
import datetime as dt
import io
import json
import threading
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, cast
from urllib.parse import quote

import pyarrow as pa

from alphaforge_assets.errors import BadInput, VenueUnavailable
from alphaforge_assets.intervals import INTERVAL_MS
from alphaforge_assets.venues.archive_files import ms
from alphaforge_assets.venues.asking import Asker, governed
from alphaforge_assets.venues.bars import Window, check_step, inside
from alphaforge_assets.venues.columns import BAR_SCHEMA, Layout, in_time_order, parse_rows
from alphaforge_assets.venues.depot import START_S, UNVERIFIED
from alphaforge_assets.venues.governor import Budget
from alphaforge_assets.venues.refusals import EVIDENCE_CHARS, Reply, refuse
from alphaforge_assets.venues.rest import BARS, RestConnection, RestSource
from alphaforge_assets.venues.source import Access, Call, Cost, Fetched, FileSeen, Listing
from alphaforge_assets.venues.transport import open_pool, rehost, send

READERS = 2
# The list of some ten thousand members lies in the last megabyte, a quarter of minutes in the next few.
PIECE_BYTES = 1 << 20
TIMES_UNPACKED_MAX = 60
MEMBERS_KEPT = 8
BYTES_A_BAR = 25  # of a zipped minute
DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class QuarterFiles:
    """Where a venue's files are and how they read."""

    url: Callable[[dt.date], str]  # of the quarter that begins on a day
    member: Callable[[str, str], str]  # of the market's other name and an interval
    named: Callable[[dict[str, Any]], str]  # that other name, in the venue's own row of an instrument
    layout: Layout
    budget: Budget
    intervals: tuple[str, ...]
    first: dt.datetime  # no quarter is known before this one
    lag: dt.timedelta  # how long after its end a quarter is there


@dataclass(frozen=True)
class QuarterArchive:
    """The quarters of a venue."""

    rest: RestSource
    feed: QuarterFiles
    name: str = "archive_quarterly"
    rank: int = 3
    start_s: float = START_S
    settles_holes: bool = True  # it leaves out what had no trade, and says so: there is nothing more to ask
    leaves_out_quiet: bool = True

    @property
    def venue(self) -> str:
        return self.rest.venue

    @property
    def clock(self) -> Call:
        """The venue's."""
        return self.rest.clock

    @property
    def listings(self) -> Call | None:
        """The venue's."""
        return self.rest.listings

    def serves(self, dataset: str, interval: str) -> bool:
        """Bars."""
        return dataset == BARS and interval in self.feed.intervals

    def kept(self, dataset: str, interval: str) -> dt.timedelta | None:
        """All there ever was."""
        return None

    def offers(self, dataset: str, interval: str, start: dt.datetime, end: dt.datetime, now: dt.datetime) -> bool:
        """Whether all its quarters should be published."""
        return self.feed.first <= start and quarters(start, end)[-1][1] + self.feed.lag <= now

    def calls(
        self, dataset: str, symbol: str, interval: str, start: dt.datetime, end: dt.datetime, now: dt.datetime
    ) -> list[Call]:
        """Its pieces: of each quarter the end, and of the member as many as its bars take."""
        calls = []
        for first, last in quarters(start, end):
            size = (last - first) // dt.timedelta(milliseconds=INTERVAL_MS[interval]) * BYTES_A_BAR
            pieces = 3 + size // PIECE_BYTES
            url = self.feed.url(first.date())
            calls += [Call("get", {"url": url}, self.feed.budget, 1, PIECE_BYTES) for _ in range(pieces)]
        return calls

    def open(self, access: Access) -> "QuarterConnection":
        """Connect; nothing is sent yet. Raises BadInput for an access that cannot be."""
        return QuarterConnection(self, access)


def quarters(start: dt.datetime, end: dt.datetime) -> list[tuple[dt.datetime, dt.datetime]]:
    """The quarters of years that [start, end) touches."""
    found = []
    at = start.replace(month=(start.month - 1) // 3 * 3 + 1, day=1, hour=0, minute=0, second=0, microsecond=0)
    while at < end:
        after = (at + 95 * DAY).replace(day=1)
        found.append((at, after))
        at = after
    return found


@dataclass(frozen=True)
class _Member:
    table: pa.Table
    seen: FileSeen
    cost: Cost


class QuarterConnection:
    """An open archive of quarters: a context manager, safe to use from several threads."""

    def __init__(self, source: QuarterArchive, access: Access) -> None:
        self._address, governor = governed(access)
        self.source = source
        self.patience = access.patience
        self._access = access
        self._asker = Asker(source.name, governor, access.patience)
        self._sockets = open_pool(READERS)
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix=source.name)
        self._lock = threading.Lock()
        self._members: OrderedDict[tuple[str, str, dt.datetime], Future[_Member]] = OrderedDict()
        self._names: dict[str, str] | None = None
        self._told: set[str] = set()
        self._rest: RestConnection | None = None

    def __enter__(self) -> "QuarterConnection":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End what is waiting, wait for what is being read, free everything."""
        self._asker.end_waits()
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._sockets.clear()
        self._asker.governor.close()
        if self._rest is not None:
            self._rest.close()

    def fetch_server_time(self) -> dt.datetime:
        """The venue's clock."""
        return self._venue().fetch_server_time()

    def fetch_listings(self) -> list[Listing]:
        """The venue's instruments."""
        return self._venue().fetch_listings()

    def submit(
        self, dataset: str, symbol: str, interval: str, start: dt.datetime, end: dt.datetime, closed_before: dt.datetime
    ) -> "Future[Fetched]":
        """As `source.Connection`. The Future raises VenueUnavailable if there is no file that can be used.

        Raises BadInput for what the files do not have, or times that cannot be.
        """
        if not self.source.serves(dataset, interval) or start.tzinfo is None or not start < end:
            raise BadInput(
                f"{self.source.name}: no {dataset} of {interval!r} from {start} to {end}: ask another source"
            )
        return self._threads.submit(self._answer, symbol, interval, start, end, closed_before)

    def _answer(
        self, symbol: str, interval: str, start: dt.datetime, end: dt.datetime, closed_before: dt.datetime
    ) -> Fetched:
        window, cost = Window(ms(start), ms(end)), Cost()
        tables, seen = [BAR_SCHEMA.empty_table()], list[FileSeen]()
        for quarter in quarters(start, end):
            its = self._member(symbol, interval, quarter, closed_before)
            tables.append(its.table)
            with self._lock:
                is_new = its.seen.key not in self._told
                self._told.add(its.seen.key)
            if is_new:
                cost, seen = cost + its.cost, [*seen, its.seen]
        rows = pa.concat_tables(tables)
        return Fetched(inside(rows, window) if rows.num_rows else rows, cost, UNVERIFIED, tuple(seen))

    def _member(
        self, symbol: str, interval: str, quarter: tuple[dt.datetime, dt.datetime], closed_before: dt.datetime
    ) -> _Member:
        """The bars of a market in a quarter, read once. Raises VenueUnavailable if there are none to be had."""
        key = symbol, interval, quarter[0]
        with self._lock:
            ours = key not in self._members
            future = self._members.setdefault(key, Future())
            self._members.move_to_end(key)
            while len(self._members) > MEMBERS_KEPT:
                self._members.popitem(last=False)
        if ours:
            try:
                future.set_result(self._read(symbol, interval, quarter, closed_before))
            except BaseException as error:
                future.set_exception(error)
        return future.result()

    def _read(
        self, symbol: str, interval: str, quarter: tuple[dt.datetime, dt.datetime], closed_before: dt.datetime
    ) -> _Member:
        feed, cost = self.source.feed, Cost()
        url, name = feed.url(quarter[0].date()), feed.member(self._name(symbol), interval)
        key = f"{url.rpartition('/')[2]}/{name}"
        seen = FileSeen(key, "corrupt", *quarter, dt.datetime.now(dt.UTC))
        try:
            pieces = Pieces(lambda first, last: self._piece(url, first, last, cost))
            with zipfile.ZipFile(io.BufferedReader(pieces, PIECE_BYTES)) as archive:
                found = next((m for m in archive.infolist() if m.filename.rpartition("/")[2] == name), None)
                seen = replace(seen, etag=pieces.etag, last_modified=pieces.last_modified)
                if found is None:
                    raise _absent(self.source.name, replace(seen, status="not_listed"))
                if found.file_size > found.compress_size * TIMES_UNPACKED_MAX + PIECE_BYTES:
                    raise VenueUnavailable(f"{key} of {found.compress_size} bytes unpacks to {found.file_size}")
                with archive.open(found) as text:
                    lines = list(csv.reader(io.TextIOWrapper(text, "ascii", newline=""), quoting=csv.QUOTE_NONE))
            seen = replace(seen, size=found.compress_size, checksum_status="absent", status="unverified")
            table = _bars(feed.layout, lines, interval, quarter, ms(closed_before), key)
        except FileNotFoundError as error:
            raise _absent(self.source.name, replace(seen, status="not_published")) from error
        except (zipfile.BadZipFile, EOFError, zlib.error, NotImplementedError, UnicodeDecodeError) as error:
            raise _absent(self.source.name, replace(seen, reason=f"{type(error).__name__}: {error}")) from error
        except VenueUnavailable as error:
            if error.files:
                raise
            raise _absent(self.source.name, replace(seen, status="corrupt", reason=str(error)[:300])) from error
        seen = replace(seen, reason="it has no checksum", rows=table.num_rows, duplicates=len(lines) - table.num_rows)
        if table.num_rows:
            seen = replace(seen, first=table["timestamp"][0].as_py(), last=table["timestamp"][-1].as_py())
        return _Member(table, seen, cost)

    def _piece(self, url: str, first: int, last: int, cost: Cost) -> Reply:
        """Bytes [first, last] of a file. Raises FileNotFoundError if there is none."""
        address = rehost(url, self._address) if self._address else url

        def ask() -> Reply:
            reply = send(
                self._sockets,
                quote(address, safe=":/"),
                {"Range": f"bytes={first}-{last}"},
                deadline_s=self.patience.total_s,
                body_bytes_max=max(last - first + 1, EVIDENCE_CHARS),  # an error may be longer than a piece
            )
            if reply.status not in (206, 403, 404):
                refuse(self.source.venue, address, reply)
            return reply

        reply = self._asker.ask(Call("get", {"url": url}, self.source.feed.budget, 1), ask, cost)
        if reply.status != 206:  # S3 behind a CDN says 403 of what is not there
            raise FileNotFoundError(url)
        return reply

    def _name(self, symbol: str) -> str:
        """The name that a market has in files. Raises VenueUnavailable if the venue does not list it."""
        with self._lock:
            names = self._names
        if names is None:
            names = {one.venue_symbol: self.source.feed.named(json.loads(one.info)) for one in self.fetch_listings()}
            with self._lock:
                self._names = names
        if symbol not in names:
            raise VenueUnavailable(f"{self.source.venue} does not list {symbol}, so its name in files is not known")
        return names[symbol]

    def _venue(self) -> RestConnection:
        with self._lock:
            if self._rest is None:
                self._rest = self.source.rest.open(self._access)
            return self._rest


class Pieces(io.RawIOBase):
    """A file elsewhere that is read by ranges of bytes. Raises VenueUnavailable if it becomes another meanwhile."""

    def __init__(self, piece: Callable[[int, int], Reply]) -> None:
        self._piece = piece
        self._at = 0
        first = piece(0, 0)
        self.size = int(first.headers.get("content-range", "/0").rpartition("/")[2])
        self.etag = first.headers.get("etag", "").strip('"')
        modified = first.headers.get("last-modified")
        self.last_modified = parsedate_to_datetime(modified) if modified else None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        """As of any file. Raises VenueUnavailable if it became another one since."""
        last = min(self._at + len(buffer), self.size) - 1
        if last < self._at:
            return 0
        reply = self._piece(self._at, last)
        if reply.headers.get("etag", "").strip('"') != self.etag or len(reply.body) != last - self._at + 1:
            raise VenueUnavailable("the file became another one while it was read")
        buffer[: len(reply.body)] = reply.body
        self._at = last + 1
        return len(reply.body)


def _bars(
    layout: Layout,
    lines: list[list[str]],
    interval: str,
    quarter: tuple[dt.datetime, dt.datetime],
    closed_before_ms: int,
    key: str,
) -> pa.Table:
    table = parse_rows(layout, cast(Any, lines), INTERVAL_MS[interval], closed_before_ms)
    table = check_step(in_time_order(table), INTERVAL_MS[interval])
    if table.num_rows:
        times = table["timestamp"].cast(pa.int64())
        first, last = times[0].as_py(), times[-1].as_py()
        if not ms(quarter[0]) <= first <= last < ms(quarter[1]):
            raise VenueUnavailable(f"{key} has rows of {first} to {last} ms: not of its quarter")
    return table


def _absent(source: str, seen: FileSeen) -> VenueUnavailable:
    return VenueUnavailable(f"{source}: {seen.key} is {seen.status} {seen.reason}".rstrip(), files=(seen,))
