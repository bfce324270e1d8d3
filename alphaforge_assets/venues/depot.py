"""Where files of a venue lie and how they come: the listing of a bucket, the transfer, why a file is not there.

Whatever is in the files is the affair of who asks: archive.py, trade_archive.py. The bucket has no clock and no
instruments: both are asked of the venue's REST API.
"""

import datetime as dt
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from alphaforge_assets.errors import VenueUnavailable
from alphaforge_assets.venues.archive_files import FileFeed, Period, TradeFiles, Wanted, checksum_of
from alphaforge_assets.venues.asking import Asker, PartMissing, governed
from alphaforge_assets.venues.bucket_listing import Listed
from alphaforge_assets.venues.buckets import (
    TRANSFERS,
    Endless,
    Order,
    Outcome,
    Place,
    Unfit,
    find_s5cmd,
    first_after,
    open_bucket,
    sound,
)
from alphaforge_assets.venues.governor import Budget
from alphaforge_assets.venues.rest import RestConnection, RestSource
from alphaforge_assets.venues.scratch import Scratch
from alphaforge_assets.venues.source import Access, Call, Cost, FileSeen, FileStatus, Listing
from alphaforge_assets.venues.transfers import Batches
from alphaforge_assets.venues.transport import open_pool

CHECKSUM_BYTES_MAX = 1000
# A month's file comes on its first Monday, says their README, in its middle, say the maintainers (issue 328).
MONTH_LAG = dt.timedelta(days=16)
DAY_LAG = dt.timedelta(days=2)  # the next day, or the one after that
# Windows at work at once: a few files under way while one is read. More would only wait in memory for the warehouse.
READERS = 4
# A listing, with all its pages, may take as long as so many requests: a year of a series is one page, all symbols four.
LISTING_REQUESTS = 2
START_S = 1.0  # the program's start, the listing, and the first file on its way
UNVERIFIED = "archive_unverified"

PERIODS: tuple[Period, ...] = ("month", "day")
NAMES: Mapping[Period, str] = {"month": "%Y-%m", "day": "%Y-%m-%d"}  # how files are named after their span


@dataclass(frozen=True)
class Shelf:
    """A venue's files, by month or by day: what the sources of them share, whatever is in them."""

    rest: RestSource
    feed: FileFeed | TradeFiles
    period: Period
    start_s: float = START_S
    settles_holes: bool = False

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

    def kept(self, dataset: str, interval: str) -> dt.timedelta | None:
        """All there ever was."""
        return None

    @property
    def lag(self) -> dt.timedelta:
        """How long after its end a file is there, at the latest."""
        return MONTH_LAG if self.period == "month" else DAY_LAG

    def prefix(self, symbol: str, interval: str) -> str:
        """What the keys of all files of a series begin with."""
        raise NotImplementedError


def _unusable(seen: FileSeen, failed: Unfit | VenueUnavailable | None) -> FileSeen:
    """What became of a file that was listed: it came and is no use, or it did not come."""
    if isinstance(failed, Unfit):
        return replace(seen, status="corrupt" if failed.is_there else "gone", reason=failed.reason[:300])
    return replace(seen, status="gone", reason=str(failed or "listed, and not there when it was fetched")[:300])


def periods(period: Period, start: dt.datetime, end: dt.datetime) -> Iterator[tuple[str, dt.datetime, dt.datetime]]:
    """The months or days that [start, end) touches: how files are named after them, and their spans."""
    at = start.replace(hour=0, minute=0, second=0, microsecond=0)
    at = at.replace(day=1) if period == "month" else at
    while at < end:
        after = (at + dt.timedelta(days=31)).replace(day=1) if period == "month" else at + dt.timedelta(days=1)
        yield f"{at:{NAMES[period]}}", at, after
        at = after


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
        self._listing_s = min(access.patience.total_s, LISTING_REQUESTS * access.patience.request_s)
        self._endless: Endless | None = None

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
        prefix = sound(
            self.shelf.prefix(symbol, interval) + text
        )  # here: what we ask wrongly the venue did not fail at
        with self._lock:
            ours = prefix not in self._listed
            future = self._listed.setdefault(prefix, Future())
        if ours:
            call = Call("list", {"prefix": prefix}, self.shelf.budget, 1)
            try:
                if self._endless is not None:  # once is enough: of each series it would take as long
                    raise self._endless
                future.set_result(self._asker.ask(call, lambda: self._bucket.listing(prefix, self._listing_s), Cost()))
            except BaseException as error:
                if isinstance(error, Endless):
                    self._endless = error
                future.set_exception(error)
        return future.result()

    def symbols(self) -> list[str]:
        """The venue's names of all that it has files of, what is over among them. Raises as a window does."""
        folder = self.shelf.prefix("", "1m").partition("//")[0]
        call = Call("list", {"prefix": f"{folder}/"}, self.shelf.budget, 1)
        return [*self._asker.ask(call, lambda: self._bucket.folders(f"{folder}/", self._listing_s), Cost())]

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
    ) -> list[tuple[Wanted, Path | FileSeen]]:
        """Each file on disk with its checksum beside it; or what is known of one that cannot be used.

        That is no failure of the venue as long as it brings others: what is wrong with a file slows no other.
        """
        paths = {file.key: self.path() for file in files}
        orders = [Order(file.key, paths[file.key], listed[file.key].size) for file in files]
        orders += [
            Order(f"{file.key}.CHECKSUM", checksum_of(paths[file.key]), CHECKSUM_BYTES_MAX)
            for file in files
            if f"{file.key}.CHECKSUM" in listed
        ]
        outcomes: dict[str, Outcome] = {}

        def send() -> None:
            left = [order for order in orders if isinstance(outcomes.get(order.key), VenueUnavailable | None)]
            outcomes.update(zip([o.key for o in left], self._batches.bring(left), strict=True))
            failed = [outcome for outcome in outcomes.values() if isinstance(outcome, VenueUnavailable)]
            if failed and len(failed) < len(outcomes):
                raise PartMissing(str(failed[0]), failed[0].evidence) from failed[0]
            if failed:
                raise failed[0]

        its, error = Cost(), None
        if orders:
            try:
                self._asker.ask(Call("get", {}, self.shelf.budget, len(orders)), send, its)
            except VenueUnavailable as failure:
                error = failure
        cost.requests, cost.weight = cost.requests + its.weight, cost.weight + its.weight  # a request an object
        cost.retries, cost.waited_s = cost.retries + its.retries, cost.waited_s + its.waited_s
        brought: list[tuple[Wanted, Path | FileSeen]] = []
        for file in files:
            both = [outcomes.get(key, error) for key in (file.key, f"{file.key}.CHECKSUM") if key in listed]
            if isinstance(both[-1], Unfit) and len(both) == 2:  # vouches for nothing, as one of other bytes
                checksum_of(paths[file.key]).write_bytes(b"")
                both.pop()
            failed = next((one for one in both if isinstance(one, Unfit | VenueUnavailable)), None)
            if both[0] is True and failed is None:
                brought.append((file, paths[file.key]))
                continue
            for path in (paths[file.key], checksum_of(paths[file.key])):
                path.unlink(missing_ok=True)
            brought.append((file, _unusable(file.seen(listed[file.key]), failed)))
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
