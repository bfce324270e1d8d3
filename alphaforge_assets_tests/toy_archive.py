"""A second source of bars as its author would write it: one file. Asked before REST, it has the older days only."""

import datetime as dt
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from alphaforge_assets.errors import VenueUnavailable
from alphaforge_assets.venues.directory import REST
from alphaforge_assets.venues.governor import Budget
from alphaforge_assets.venues.rest import RestConnection
from alphaforge_assets.venues.source import Access, Call, Fetched, Listing

FILES = Budget("toy.archive", limit=6000, window_s=60, burst=600)
CLOCK, LISTINGS = Call("clock", {}, FILES, 1), Call("list", {}, FILES, 1)


@dataclass(frozen=True)
class Archive:
    """Hours of a venue up to `until`, told by heart of the venue's own REST API."""

    venue: str
    until: dt.datetime
    name: str = "archive"
    rank: int = 3
    clock: Call = CLOCK
    listings: Call | None = LISTINGS
    start_s: float = 0.0
    settles_holes: bool = True

    def serves(self, dataset: str, interval: str) -> bool:
        return dataset == "bars" and interval == "1h"

    def kept(self, dataset: str, interval: str) -> dt.timedelta | None:
        return None

    def offers(self, dataset: str, interval: str, start: dt.datetime, end: dt.datetime, now: dt.datetime) -> bool:
        return True

    def calls(
        self, dataset: str, symbol: str, interval: str, start: dt.datetime, end: dt.datetime, now: dt.datetime
    ) -> list[Call]:
        return [Call("file", {"symbol": symbol}, FILES, 1)]

    def open(self, access: Access) -> "ArchiveConnection":
        return ArchiveConnection(self, REST[self.venue].open(access))


@dataclass
class ArchiveConnection:
    """What it has not, it refuses: the next source is asked for that window."""

    of: Archive
    inner: RestConnection

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.inner.close()

    def fetch_server_time(self) -> dt.datetime:
        return self.inner.fetch_server_time()

    def fetch_listings(self) -> list[Listing]:
        return self.inner.fetch_listings()

    def submit(
        self, dataset: str, symbol: str, interval: str, start: dt.datetime, end: dt.datetime, closed_before: dt.datetime
    ) -> "Future[Fetched]":
        if end <= self.of.until:
            return self.inner.submit(dataset, symbol, interval, start, end, closed_before)
        nothing: Future[Fetched] = Future()
        nothing.set_exception(VenueUnavailable(f"no file of {start:%Y-%m} yet"))
        return nothing
