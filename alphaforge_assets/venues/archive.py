"""A venue's files as a source of bars, of trades or another price: a month or a day of one a zip, in a public bucket.

A window is answered by the files of its months or days: those that the bucket lists are brought with their checksums,
read, and given as they are, cut to the window. What they lack the next source is asked for. Whatever keeps a file from
being believed is told in its `FileSeen`; a window without a single usable file raises VenueUnavailable. A file whose
checksum is of other bytes is brought once more; if that does not help, its rows rank as REST's.
"""

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import pyarrow as pa

from alphaforge_assets.errors import BadInput, VenueUnavailable
from alphaforge_assets.intervals import SERIES_MS, length_of, price_of
from alphaforge_assets.venues.archive_files import FileFeed, Wanted, judge, ms
from alphaforge_assets.venues.bars import Window, inside
from alphaforge_assets.venues.bucket_listing import Listed
from alphaforge_assets.venues.columns import priced
from alphaforge_assets.venues.depot import READERS, UNVERIFIED, Depot, Shelf, periods
from alphaforge_assets.venues.rest import BARS, FUNDING_RATES, PRICE_BARS
from alphaforge_assets.venues.source import Access, Call, Cost, Fetched, FileSeen, Listing

LIQUIDATIONS = "liquidations"
BYTES_A_DAY = {"month": 40, "day": 60_000}  # of zipped settlements, and of liquidations
BYTES_A_BAR = 52  # of a zipped minute bar of Binance, by its months of 2020-2026


@dataclass(frozen=True)
class ArchiveSource(Shelf):
    """The files of a venue that hold bars, settlements or liquidations."""

    feed: FileFeed

    def serves(self, dataset: str, interval: str) -> bool:
        """Bars, those of the prices that it has files of, settlements by month and liquidations by day."""
        return dataset == self.dataset_of(interval) and bool(self.feed.kind(interval, self.period))

    def dataset_of(self, interval: str) -> str:
        """What files of a series are of."""
        if not interval:
            return FUNDING_RATES if self.period == "month" else LIQUIDATIONS
        return PRICE_BARS if price_of(interval) != "trade" else BARS

    def holds(self, key: str) -> bool:
        """Whether an object of the bucket is one of its files."""
        return any(f"/{kind}/" in key for kind in self.feed.kinds)

    def offers(self, dataset: str, interval: str, start: dt.datetime, end: dt.datetime, now: dt.datetime) -> bool:
        """Whether all its files should be published. Settlements lack the mark price that REST has: who asks for files
        has them, and nobody else is sent to them.
        """
        return dataset != FUNDING_RATES and self.wanted("", interval, start, end)[-1].end + self.lag <= now

    def calls(
        self, dataset: str, symbol: str, interval: str, start: dt.datetime, end: dt.datetime, now: dt.datetime
    ) -> list[Call]:
        """A file and its checksum for each month or day."""
        calls = []
        for file in self.wanted(symbol, interval, start, end):
            size = BYTES_A_DAY[self.period] * (file.end - file.start).days
            if interval:
                size = BYTES_A_BAR * ((file.end - file.start) // dt.timedelta(milliseconds=SERIES_MS[interval]))
            calls.append(Call("get", {"key": file.key}, self.feed.budget, 1, size))
            calls.append(Call("get", {"key": f"{file.key}.CHECKSUM"}, self.feed.budget, 1))
        return calls

    def wanted(self, symbol: str, interval: str, start: dt.datetime, end: dt.datetime) -> list[Wanted]:
        """The files of [start, end), in time order."""
        prefix = self.prefix(symbol, interval)
        return [Wanted(f"{prefix}{text}.zip", interval, *span) for text, *span in periods(self.period, start, end)]

    def prefix(self, symbol: str, interval: str) -> str:
        """What the keys of all files of a series begin with."""
        folder = "monthly" if self.period == "month" else "daily"
        kind, length = self.feed.kind(interval, self.period), length_of(interval)
        its = f"{symbol}/{length}/{symbol}-{length}" if interval else f"{symbol}/{symbol}-{kind}"
        return f"{self.feed.folder}/{folder}/{kind}/{its}-"

    def open(self, access: Access) -> "ArchiveConnection":
        """Connect; nothing is sent yet. Raises BadInput for an access that cannot be."""
        return ArchiveConnection(self, access)


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
        for table, its in self._read(symbol, [f for f in files if f.key in listed], listed, closed_before, cost):
            seen[its.key] = its
            tables += [table] if table is not None else []
        every = tuple(seen[file.key] for file in files)
        if not tables:
            said = "; ".join(f"{f.key.rpartition('/')[2]} is {f.status} {f.reason}".rstrip() for f in every[:3])
            raise VenueUnavailable(f"{self.source.name} has no file to use: {said}", files=every)
        rows = pa.concat_tables(tables)
        rows = inside(rows, Window(ms(start), ms(end))) if rows.num_rows else rows
        is_verified = all(f.status != "unverified" for f in every)
        rows = rows if price_of(interval) == "trade" else priced(rows)
        return Fetched(rows, cost, "" if is_verified else UNVERIFIED, every)

    def _read(
        self, symbol: str, files: Sequence[Wanted], listed: Mapping[str, Listed], closed_before: dt.datetime, cost: Cost
    ) -> list[tuple[pa.Table | None, FileSeen]]:
        """The rows of files, or None, and what they were like; those of another checksum are brought once more."""
        found: dict[str, tuple[pa.Table | None, FileSeen]] = {}
        waiting = list(files)
        for _ in range(2):
            for file, path in self.depot.bring(waiting, listed, cost):
                if isinstance(path, Path):
                    found[file.key] = judge(file, self.source.feed, symbol, path, listed[file.key], closed_before)
                else:
                    found[file.key] = None, path
            waiting = [file for file in waiting if found[file.key][1].checksum_status == "mismatch"]
        return [found[file.key] for file in files]
