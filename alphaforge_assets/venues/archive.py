"""A venue's files as a source of bars: a month or a day of one instrument a zip file, in a public bucket.

A window is answered by the files of its months or days: those that the bucket lists are brought with their checksums,
read, and given as they are, cut to the window. What they lack the next source is asked for. Whatever keeps a file from
being believed is told in its `FileSeen`; a window without a single usable file raises VenueUnavailable. A file whose
checksum is of other bytes is brought once more; if that does not help, its rows rank as REST's.

The bucket has no clock and no instruments: both are asked of the venue's REST API.
"""

import datetime as dt
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol

import pyarrow as pa

from alphaforge_assets.errors import BadInput, VenueUnavailable
from alphaforge_assets.intervals import INTERVAL_MS
from alphaforge_assets.venues.archive_files import FileFeed, Wanted, checksum_of, judge, ms
from alphaforge_assets.venues.asking import Asker, governed
from alphaforge_assets.venues.bars import Window, inside
from alphaforge_assets.venues.buckets import (
    TRANSFERS,
    Batches,
    Listed,
    Order,
    Outcome,
    Place,
    find_s5cmd,
    first_after,
    open_bucket,
)
from alphaforge_assets.venues.columns import BAR_SCHEMA
from alphaforge_assets.venues.governor import Budget
from alphaforge_assets.venues.rest import RestConnection, RestSource
from alphaforge_assets.venues.scratch import Scratch
from alphaforge_assets.venues.source import Access, Call, Cost, Fetched, FileSeen, FileStatus, Listing
from alphaforge_assets.venues.transport import open_pool

BARS = "bars"
BYTES_A_BAR = 52  # of a zipped minute bar of Binance, by its months of 2020-2026
CHECKSUM_BYTES_MAX = 1000
# A month's file comes on its first Monday, says their README, in its middle, say the maintainers (issue 328).
MONTH_LAG = dt.timedelta(days=16)
DAY_LAG = dt.timedelta(days=2)  # the next day, or the one after that
# Windows at work at once: a few files under way while one is read. More would only wait in memory for the warehouse.
READERS = 4
START_S = 1.0  # the program's start, the listing, and the first file on its way
UNVERIFIED = "archive_unverified"

Period = Literal["month", "day"]
PERIODS: tuple[Period, ...] = ("month", "day")


@dataclass(frozen=True)
class ArchiveSource:
    """The files of a venue, by month or by day."""

    rest: RestSource
    feed: FileFeed
    period: Period
    start_s: float = START_S
    settles_holes: bool = False
    dataset: str = BARS

    @property
    def name(self) -> str:
        """As in the ledger and in the rows."""
        return "archive_monthly" if self.period == "month" else "archive_daily"

    @property
    def rank(self) -> int:
        """A day's file is the later word: months were found to differ from days and REST (issue 475)."""
        return 3 if self.period == "month" else 4

    @property
    def venue(self) -> str:
        return self.rest.venue

    @property
    def place(self) -> Place:
        """The bucket."""
        return self.feed.place

    @property
    def budget(self) -> Budget:
        """Of its objects."""
        return self.feed.budget

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

    def holds(self, key: str) -> bool:
        """Whether an object of the bucket is one of its files."""
        return "/klines/" in key

    def kept(self, dataset: str, interval: str) -> dt.timedelta | None:
        """All there ever was."""
        return None

    def offers(self, dataset: str, interval: str, start: dt.datetime, end: dt.datetime, now: dt.datetime) -> bool:
        """Whether all its files should be published."""
        return self.wanted("", interval, start, end)[-1].end + self.lag <= now

    @property
    def lag(self) -> dt.timedelta:
        """How long after its end a file is there, at the latest."""
        return MONTH_LAG if self.period == "month" else DAY_LAG

    def calls(
        self, dataset: str, symbol: str, interval: str, start: dt.datetime, end: dt.datetime, now: dt.datetime
    ) -> list[Call]:
        """A file and its checksum for each month or day."""
        calls = []
        for file in self.wanted(symbol, interval, start, end):
            bars = (file.end - file.start) // dt.timedelta(milliseconds=INTERVAL_MS[interval])
            calls.append(Call("get", {"key": file.key}, self.feed.budget, 1, bars * BYTES_A_BAR))
            calls.append(Call("get", {"key": f"{file.key}.CHECKSUM"}, self.feed.budget, 1))
        return calls

    def wanted(self, symbol: str, interval: str, start: dt.datetime, end: dt.datetime) -> list[Wanted]:
        """The files of [start, end), in time order."""
        prefix = self.prefix(symbol, interval)
        return [Wanted(f"{prefix}{text}.zip", interval, *span) for text, *span in periods(self.period, start, end)]

    def prefix(self, symbol: str, interval: str) -> str:
        """What the keys of all files of a series begin with."""
        folder = "monthly" if self.period == "month" else "daily"
        return f"{self.feed.folder}/{folder}/klines/{symbol}/{interval}/{symbol}-{interval}-"

    def open(self, access: Access) -> "ArchiveConnection":
        """Connect; nothing is sent yet. Raises BadInput for an access that cannot be."""
        return ArchiveConnection(self, access)


def periods(period: Period, start: dt.datetime, end: dt.datetime) -> Iterator[tuple[str, dt.datetime, dt.datetime]]:
    """The months or days that [start, end) touches: how files are named after them, and their spans."""
    at = start.replace(hour=0, minute=0, second=0, microsecond=0)
    at = at.replace(day=1) if period == "month" else at
    while at < end:
        after = (at + dt.timedelta(days=31)).replace(day=1) if period == "month" else at + dt.timedelta(days=1)
        yield f"{at:%Y-%m}" if period == "month" else f"{at:%Y-%m-%d}", at, after
        at = after


class Shelf(Protocol):
    """What must be known of files to list and bring them, whatever is in them."""

    @property
    def name(self) -> str: ...

    @property
    def rest(self) -> RestSource: ...

    @property
    def place(self) -> Place: ...

    @property
    def budget(self) -> Budget: ...

    @property
    def lag(self) -> dt.timedelta: ...

    @property
    def period(self) -> Period: ...

    def prefix(self, symbol: str, interval: str) -> str: ...


class Depot:
    """Where files are listed and brought, with the clock and instruments of their venue. For several threads."""

    def __init__(self, shelf: Shelf, access: Access) -> None:
        address, governor = governed(access)
        self.shelf = shelf
        self.patience = access.patience
        self._access = access
        self._asker = Asker(shelf.name, governor, access.patience)
        self._place = replace(shelf.place, endpoint=address) if address else shelf.place
        self._sockets = open_pool(TRANSFERS)
        self._bucket = open_bucket(self._place, self._sockets, find_s5cmd())
        self._batches = Batches(self._bucket, access.patience.total_s)
        self._scratch = Scratch(access.governor_file.parent)
        self._lock = threading.Lock()
        self._rest: RestConnection | None = None
        self._listed: dict[str, Future[Mapping[str, Listed]]] = {}
        self._files = 0

    def end(self) -> None:
        """End what is waiting or under way."""
        self._asker.end_waits()
        self._batches.close()
        self._bucket.close()

    def close(self) -> None:
        """Free everything, once `end` was called and nobody reads any more."""
        self._sockets.clear()
        self._asker.governor.close()
        self._scratch.close()
        if self._rest is not None:
            self._rest.close()

    def fetch_server_time(self) -> dt.datetime:
        """The venue's clock."""
        return self._venue().fetch_server_time()

    def fetch_listings(self) -> list[Listing]:
        """The venue's instruments."""
        return self._venue().fetch_listings()

    def listing(self, symbol: str, interval: str, text: str = "") -> Mapping[str, Listed]:
        """The files of a series whose year, month or day begins with `text`; asked once. Raises as a window does."""
        prefix = self.shelf.prefix(symbol, interval) + text
        with self._lock:
            ours = prefix not in self._listed
            future = self._listed.setdefault(prefix, Future())
        if ours:
            call = Call("list", {"prefix": prefix}, self.shelf.budget, 1)
            try:
                future.set_result(
                    self._asker.ask(call, lambda: self._bucket.listing(prefix, self.patience.total_s), Cost())
                )
            except BaseException as error:
                future.set_exception(error)
        return future.result()

    def symbols(self) -> list[str]:
        """The venue's names of all that it has files of, what is over among them. Raises as a window does."""
        folder = self.shelf.prefix("", "").removesuffix("///--")
        call = Call("list", {"prefix": f"{folder}/"}, self.shelf.budget, 1)
        return [*self._asker.ask(call, lambda: self._bucket.folders(f"{folder}/", self.patience.total_s), Cost())]

    def span(self, symbol: str, interval: str, text: str = "") -> tuple[dt.date, dt.date] | None:
        """From the first file of a series, or of those of `listing`, to the day behind the last; None if none is there.

        Raises as a window does.
        """
        names = [key for key in sorted(self.listing(symbol, interval, text)) if key.endswith(".zip")]
        if not names:
            return None
        stem = len(self.shelf.prefix(symbol, interval))
        first, last = (
            dt.date.fromisoformat(f"{key[stem:].removesuffix('.zip')}-01"[:10]) for key in (names[0], names[-1])
        )
        if self.shelf.period == "day":
            return first, last + dt.timedelta(days=1)
        return first, (last + dt.timedelta(days=31)).replace(day=1)

    def etags(self, symbol: str, interval: str, text: str = "") -> dict[str, str]:
        """The ETag of the files that `listing` has of a series, by key. Raises as a window does."""
        return {key: its.etag for key, its in self.listing(symbol, interval, text).items() if key.endswith(".zip")}

    def bring(
        self, files: Sequence[Wanted], listed: Mapping[str, Listed], cost: Cost
    ) -> list[tuple[Wanted, Path | VenueUnavailable | None]]:
        """Each file on disk with its checksum beside it; None for one that is not there after all."""
        paths = {file.key: self.path() for file in files}
        orders = [Order(file.key, paths[file.key], listed[file.key].size) for file in files]
        orders += [
            Order(f"{file.key}.CHECKSUM", checksum_of(paths[file.key]), CHECKSUM_BYTES_MAX)
            for file in files
            if f"{file.key}.CHECKSUM" in listed
        ]
        outcomes: dict[str, Outcome] = {}

        def send() -> None:
            left = [order for order in orders if not isinstance(outcomes.get(order.key), bool)]
            outcomes.update(zip([o.key for o in left], self._batches.bring(left), strict=True))
            for outcome in outcomes.values():
                if isinstance(outcome, VenueUnavailable):
                    raise outcome

        its, error = Cost(), None
        if orders:
            try:
                self._asker.ask(Call("get", {}, self.shelf.budget, len(orders)), send, its)
            except VenueUnavailable as failure:
                error = failure
        cost.requests, cost.weight = cost.requests + its.weight, cost.weight + its.weight  # a request an object
        cost.retries, cost.waited_s = cost.retries + its.retries, cost.waited_s + its.waited_s
        brought: list[tuple[Wanted, Path | VenueUnavailable | None]] = []
        for file in files:
            both = [outcomes.get(key, error) for key in (file.key, f"{file.key}.CHECKSUM") if key in listed]
            failed = next((one for one in both if isinstance(one, VenueUnavailable)), None)
            brought.append((file, failed or (paths[file.key] if both[0] is True else None)))
        return brought

    def absence(self, file: Wanted, symbol: str, interval: str, now: dt.datetime) -> FileSeen:
        """Why a file is not there: one word for each of the reasons that the same 404 has."""
        status: FileStatus = "not_published"
        if file.end + self.shelf.lag <= now:
            before, after = (self._first_after(self.shelf.prefix(symbol, interval), key) for key in ("", file.key))
            status = "hole" if before and before < file.key and after else "not_listed"
        return replace(file.seen(None), status=status)

    def _first_after(self, prefix: str, key: str) -> str:
        send = partial(first_after, self._place, self._sockets, prefix, key, self.patience.request_s)
        return self._asker.ask(Call("list", {"prefix": prefix}, self.shelf.budget, 1), send, Cost())

    def path(self) -> Path:
        """Of another file to be brought."""
        with self._lock:
            self._files += 1
            return self._scratch.path / f"{self._files}.zip"

    def _venue(self) -> RestConnection:
        with self._lock:
            if self._rest is None:
                self._rest = self.shelf.rest.open(self._access)
            return self._rest


class ArchiveConnection:
    """An open archive: a context manager, safe to use from several threads."""

    def __init__(self, source: ArchiveSource, access: Access) -> None:
        self.source = source
        self.depot = Depot(source, access)
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix=source.name)

    def __enter__(self) -> "ArchiveConnection":
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
        """The ETag of the files that the bucket has of a series, by key. Raises as a window does."""
        return self.depot.etags(symbol, interval)

    def submit(
        self, dataset: str, symbol: str, interval: str, start: dt.datetime, end: dt.datetime, closed_before: dt.datetime
    ) -> "Future[Fetched]":
        """As `source.Connection`; the rows are those that the files have.

        The Future raises VenueUnavailable if there is no file that can be used, VenueLimited, VenueRefused.
        Raises BadInput for what the archive does not have, or times that cannot be.
        """
        if not self.source.serves(dataset, interval) or start.tzinfo is None or not start < end:
            raise BadInput(
                f"{self.source.name}: no {dataset} of {interval!r} from {start} to {end}: ask another source"
            )
        return self._threads.submit(self._answer, symbol, interval, start, end, closed_before)

    def _answer(
        self, symbol: str, interval: str, start: dt.datetime, end: dt.datetime, closed_before: dt.datetime
    ) -> Fetched:
        files = self.source.wanted(symbol, interval, start, end)
        listed: dict[str, Listed] = {}
        for text in sorted({f.start.strftime("%Y" if self.source.period == "month" else "%Y-%m") for f in files}):
            listed |= self.depot.listing(symbol, interval, text)
        cost = Cost()
        seen = {f.key: self.depot.absence(f, symbol, interval, closed_before) for f in files if f.key not in listed}
        tables = []
        for table, its in self._read([f for f in files if f.key in listed], listed, closed_before, cost):
            seen[its.key] = its
            tables += [table] if table is not None else []
        every = tuple(seen[file.key] for file in files)
        if not tables:
            said = "; ".join(f"{f.key.rpartition('/')[2]} is {f.status} {f.reason}".rstrip() for f in every[:3])
            raise VenueUnavailable(f"{self.source.name} has no file to use: {said}", files=every)
        rows = pa.concat_tables([BAR_SCHEMA.empty_table(), *tables])
        rows = inside(rows, Window(ms(start), ms(end))) if rows.num_rows else rows
        is_verified = all(f.status != "unverified" for f in every)
        return Fetched(rows, cost, "" if is_verified else UNVERIFIED, every)

    def _read(
        self, files: Sequence[Wanted], listed: Mapping[str, Listed], closed_before: dt.datetime, cost: Cost
    ) -> list[tuple[pa.Table | None, FileSeen]]:
        """The bars of files, or None, and what they were like; those of another checksum are brought once more."""
        found: dict[str, tuple[pa.Table | None, FileSeen]] = {}
        waiting = list(files)
        for _ in range(2):
            for file, path in self.depot.bring(waiting, listed, cost):
                if isinstance(path, Path):
                    found[file.key] = judge(file, self.source.feed.layout, path, listed[file.key], closed_before)
                else:
                    reason = str(path or "listed, and not there when it was fetched")[:300]
                    found[file.key] = None, replace(file.seen(listed[file.key]), status="gone", reason=reason)
            waiting = [file for file in waiting if found[file.key][1].checksum_status == "mismatch"]
        return [found[file.key] for file in files]
