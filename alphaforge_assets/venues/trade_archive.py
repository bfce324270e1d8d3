"""A venue's files as a source of trades: a day or a month of one instrument a file, in the bucket of its bars.

Trades are asked for by the hour. A file is brought and read once, into parts by the hour on disk, and its hours are
answered from there. Ids that a file leaves out are named in the answer, so that the next source is asked for just
those. An hour before the first row of a file, or after its last one, is answered only if the ids go on in the file
next to it: a file may end too soon. Files of days are preferred, whatever the span: they are the later word, and none
of them takes much room. A month's stands in where a day's is not there.
"""

import datetime as dt
import hashlib
import shutil
import threading
from collections.abc import Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Literal

import pyarrow as pa

from alphaforge_assets.errors import BadInput, VenueUnavailable
from alphaforge_assets.venues.archive_files import TradeFiles, Wanted, checksum_of, checksum_status, ms
from alphaforge_assets.venues.bars import Window
from alphaforge_assets.venues.depot import NAMES, READERS, UNVERIFIED, Depot, Shelf, periods
from alphaforge_assets.venues.rest import TRADES
from alphaforge_assets.venues.source import Access, Call, Cost, Fetched, FileSeen, Listing, Span
from alphaforge_assets.venues.trade_rows import TRADE_SCHEMA
from alphaforge_assets.venues.trades import HOUR_MS, TRADES_A_SECOND, inside
from alphaforge_assets.venues.trades_file import ExpectedTrades, TradesRead, read_trades

# Of one instrument: the file whose hours are being asked for, and the one next to it.
FILES_KEPT = 2
MILLISECOND = dt.timedelta(milliseconds=1)


@dataclass(frozen=True)
class TradeArchive(Shelf):
    """The files of trades of a venue."""

    feed: TradeFiles

    def serves(self, dataset: str, interval: str) -> bool:
        """Trades."""
        return dataset == TRADES

    def dataset_of(self, interval: str) -> str:
        """Trades."""
        return TRADES

    def holds(self, key: str) -> bool:
        """Whether an object of the bucket is one of its files."""
        return f"/{self.feed.kind}/" in key

    def offers(self, dataset: str, interval: str, start: dt.datetime, end: dt.datetime, now: dt.datetime) -> bool:
        """Whether all its files should be published."""
        return self.wanted("", start, end)[-1].end + self.lag <= now

    def calls(
        self, dataset: str, symbol: str, interval: str, start: dt.datetime, end: dt.datetime, now: dt.datetime
    ) -> list[Call]:
        """A file and its checksum for each day or month, of a market as busy as plans assume."""
        calls = []
        for file in self.wanted(symbol, start, end):
            size = (file.end - file.start).total_seconds() * TRADES_A_SECOND * self.feed.bytes_a_trade
            calls.append(Call("get", {"key": file.key}, self.feed.budget, 1, int(size)))
            calls.append(Call("get", {"key": f"{file.key}.CHECKSUM"}, self.feed.budget, 1))
        return calls

    def wanted(self, symbol: str, start: dt.datetime, end: dt.datetime) -> list[Wanted]:
        """The files of [start, end), in time order."""
        prefix = self.prefix(symbol, "")
        return [Wanted(f"{prefix}{text}.zip", "", *span) for text, *span in periods(self.period, start, end)]

    def prefix(self, symbol: str, interval: str) -> str:
        """What the keys of all files of an instrument begin with."""
        folder, kind = "monthly" if self.period == "month" else "daily", self.feed.kind
        return f"{self.feed.folder}/{folder}/{kind}/{symbol}/{symbol}-{kind}-"

    def open(self, access: Access) -> "TradeArchiveConnection":
        """Connect; nothing is sent yet. Raises BadInput for an access that cannot be."""
        return TradeArchiveConnection(self, access)


@dataclass
class _File:
    """A file that was read: its trades by the hour, what it was like, and what bringing it took."""

    read: TradesRead
    seen: FileSeen
    cost: Cost
    folder: Path


@dataclass
class _Slot:
    """A file that is there, or under way, and by how many threads it is read: then it stays on the disk."""

    file: "Future[_File]"
    users: int = 0


class TradeArchiveConnection:
    """An open archive of trades: a context manager, safe to use from several threads."""

    def __init__(self, source: TradeArchive, access: Access) -> None:
        self.source = source
        self.depot = Depot(source, access)
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix=source.name)
        self._lock = threading.Lock()
        self._slots: dict[str, dict[str, _Slot]] = {}  # symbol -> key -> file, the latest used last
        self._told: set[str] = set()  # keys whose files an answer or failure has named

    def __enter__(self) -> "TradeArchiveConnection":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End what is waiting or under way, wait for what is being read, free everything."""
        self.depot.end()
        self._threads.shutdown(wait=True, cancel_futures=True)
        self.depot.close()

    def fetch_server_time(self) -> dt.datetime:
        """The venue's clock."""
        return self.depot.fetch_server_time()

    def fetch_listings(self) -> list[Listing]:
        """The venue's instruments."""
        return self.depot.fetch_listings()

    def etags(self, symbol: str, interval: str, periods: Collection[dt.datetime]) -> dict[str, str]:
        """The ETag of the files of the months in which `periods` begin, by key. Raises as a window does."""
        found: dict[str, str] = {}
        for text in sorted({f"{start:%Y-%m}" for start in periods}):
            found |= self.depot.etags(symbol, interval, text)
        return found

    def submit(
        self, dataset: str, symbol: str, interval: str, start: dt.datetime, end: dt.datetime, closed_before: dt.datetime
    ) -> "Future[Fetched]":
        """As `source.Connection`; the rows are those that the files have, `lacks` what they leave out.

        The Future raises VenueUnavailable if there is no file that can be used, VenueLimited, VenueRefused.
        Raises BadInput for what the archive does not have, or times that cannot be.
        """
        if not self.source.serves(dataset, interval) or start.tzinfo is None or not start < end:
            raise BadInput(f"{self.source.name}: no {dataset} from {start} to {end}: ask another source")
        return self._threads.submit(self._answer, symbol, start, end, closed_before)

    def _answer(self, symbol: str, start: dt.datetime, end: dt.datetime, closed_before: dt.datetime) -> Fetched:
        window = Window(ms(start), ms(end))
        tables, lacks = [TRADE_SCHEMA.empty_table()], list[Span]()
        cost, source, seen = Cost(), "", list[FileSeen]()
        for wanted in self.source.wanted(symbol, start, end):
            its = Window(max(window.start_ms, ms(wanted.start)), min(window.end_ms, ms(wanted.end)))
            try:
                with self._using(symbol, wanted, closed_before) as file:
                    tables.append(_taken(file, its))
                    lacks += self._lacking(symbol, wanted, file, its, closed_before)
            except VenueUnavailable as error:
                raise VenueUnavailable(str(error), error.evidence, files=self._once(error.files)) from error
            source = source or (UNVERIFIED if file.seen.status == "unverified" else "")
            if told := self._once((file.seen,)):
                cost, seen = cost + file.cost, [*seen, *told]
        return Fetched(pa.concat_tables(tables), cost, source, tuple(seen), lacks=tuple(lacks))

    def _once(self, files: tuple[FileSeen, ...]) -> tuple[FileSeen, ...]:
        """Those that nobody was told of yet: a file answers many windows."""
        with self._lock:
            new = tuple(file for file in files if file.key not in self._told)
            self._told.update(file.key for file in new)
        return new

    def _lacking(
        self, symbol: str, wanted: Wanted, file: _File, window: Window, closed_before: dt.datetime
    ) -> list[Span]:
        """The parts of a window of which a file does not have all, from the trade before to the one after."""
        read = file.read
        if not read.rows:
            return [_span(window.start_ms, window.end_ms)]
        holes = [(a, b + 1) for a, b in read.holes if a < window.end_ms and b >= window.start_ms]
        first_hour, last_hour = read.first_us // 1000 // HOUR_MS, read.last_us // 1000 // HOUR_MS
        edges: list[tuple[int, int, Literal[-1, 1]]] = [
            (ms(wanted.start), first_hour * HOUR_MS, -1),
            ((last_hour + 1) * HOUR_MS, ms(wanted.end), 1),
        ]
        for start, end, side in edges:
            is_asked = max(start, window.start_ms) < min(end, window.end_ms)
            if is_asked and not self._goes_on(symbol, wanted, file, side, closed_before):
                holes.append((start, end))
        clipped = [(max(a, window.start_ms), min(b, window.end_ms)) for a, b in holes]
        return [_span(a, b) for a, b in sorted(clipped)]

    def _goes_on(
        self, symbol: str, wanted: Wanted, file: _File, side: Literal[-1, 1], closed_before: dt.datetime
    ) -> bool:
        """Whether the file before or after this one ends or begins with the id next to this one's."""
        at = wanted.start - MILLISECOND if side < 0 else wanted.end
        (other,) = self.source.wanted(symbol, at, at + MILLISECOND)
        try:
            with self._using(symbol, other, closed_before) as found:
                its, mine = found.read, file.read
        except VenueUnavailable:
            return False
        return its.rows > 0 and (its.last_id + 1 == mine.first_id if side < 0 else mine.last_id + 1 == its.first_id)

    @contextmanager
    def _using(self, symbol: str, wanted: Wanted, closed_before: dt.datetime) -> Iterator[_File]:
        """A file, brought and read once. Raises VenueUnavailable, naming it, if there is none that can be used."""
        with self._lock:
            slots = self._slots.setdefault(symbol, {})
            ours = wanted.key not in slots
            slot = slots.pop(wanted.key, None) or _Slot(Future())
            slots[wanted.key] = slot
            slot.users += 1
            idle = [key for key, its in slots.items() if not its.users][: max(0, len(slots) - FILES_KEPT)]
            stale = [slots.pop(key) for key in idle]
        for old in stale:
            if old.file.exception() is None:
                shutil.rmtree(old.file.result().folder, ignore_errors=True)
        try:
            if ours:
                try:
                    slot.file.set_result(self._brought(symbol, wanted, closed_before))
                except BaseException as error:
                    slot.file.set_exception(error)
            yield slot.file.result()
        finally:
            with self._lock:
                slot.users -= 1

    def _brought(self, symbol: str, wanted: Wanted, closed_before: dt.datetime) -> _File:
        listed = self.depot.listing(symbol, "", f"{wanted.start:{NAMES[self.source.period]}}.")
        cost = Cost()
        if wanted.key not in listed:
            seen = self.depot.absence(wanted, symbol, "", closed_before)
            raise VenueUnavailable(_said(self.source.name, seen), files=(seen,))
        for is_last in (False, True):  # one whose checksum is of other bytes is brought once more
            ((_, path),) = self.depot.bring([wanted], listed, cost)
            if not isinstance(path, Path):
                raise VenueUnavailable(_said(self.source.name, path), files=(path,))
            seen, folder = wanted.seen(listed[wanted.key]), path.with_suffix("")
            try:
                seen = _checked(seen, path)
                if seen.checksum_status == "mismatch" and not is_last:
                    continue
                span = Window(ms(wanted.start), ms(wanted.end))
                read = read_trades(path, ExpectedTrades(wanted.stem, self.source.feed.format, span, seen.size), folder)
            except VenueUnavailable as error:
                shutil.rmtree(folder, ignore_errors=True)
                seen = replace(seen, reason=str(error)[:300])
                raise VenueUnavailable(_said(self.source.name, seen), files=(seen,)) from error
            finally:
                path.unlink(missing_ok=True)
                checksum_of(path).unlink(missing_ok=True)
            return _File(read, _described(seen, read), cost, folder)
        raise AssertionError("the second file is used or refused")


def _taken(file: _File, window: Window) -> pa.Table:
    """The trades of a window."""
    hours = range(window.start_ms // HOUR_MS, -(-window.end_ms // HOUR_MS))
    tables = [file.read.parts.read(hour) for hour in hours]
    return inside(pa.concat_tables([TRADE_SCHEMA.empty_table(), *tables]), window)


def _checked(seen: FileSeen, path: Path) -> FileSeen:
    with path.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    status = checksum_status(checksum_of(path), sha256, seen.key.rpartition("/")[2])
    return replace(seen, sha256=sha256, checksum_status=status)


def _described(seen: FileSeen, read: TradesRead) -> FileSeen:
    reasons = {"verified": "", "mismatch": "its checksum is of other bytes", "absent": "it has no checksum"}
    first, last = (dt.datetime.fromtimestamp(us / 1e6, dt.UTC) for us in (read.first_us, read.last_us))
    return replace(
        seen,
        status="loaded" if seen.checksum_status == "verified" else "unverified",
        reason=reasons[seen.checksum_status],
        has_header=read.has_header,
        time_unit=read.time_unit,
        rows=read.rows,
        duplicates=read.duplicates,
        first=first if read.rows else None,
        last=last if read.rows else None,
    )


def _said(source: str, seen: FileSeen) -> str:
    return f"{source} has no file to use: {seen.key.rpartition('/')[2]} is {seen.status} {seen.reason}".rstrip()


def _span(start_ms: int, end_ms: int) -> Span:
    start, end = (dt.datetime.fromtimestamp(at / 1000, dt.UTC) for at in (start_ms, end_ms))
    return start, end
