"""What brings data: a source answers windows of a venue's datasets, at a cost that is known beforehand.

REST is one, the page of an index another, files a third; streams will be. Whoever fetches knows sources by this module
only: nothing above it asks of which kind one is. Records and protocols; nothing here sends anything.
"""

import datetime as dt
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, Self

import pyarrow as pa
from pydantic import SecretStr

from alphaforge_assets.venues.governor import Budget


@dataclass(frozen=True)
class Call:
    """One request: the method that sends it (of REST, ccxt's implicit one), its parameters and what it costs."""

    method: str
    params: Mapping[str, Any]
    budget: Budget
    weight: int
    bytes: int = 0  # that come, where they cost more time than the request does


@dataclass
class Cost:
    """What something took. `weight` is in the venue's own units, `waited_s` the time the rate budget made us wait."""

    requests: int = 0
    weight: int = 0
    retries: int = 0
    waited_s: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.requests + other.requests,
            self.weight + other.weight,
            self.retries + other.retries,
            self.waited_s + other.waited_s,
        )


FileStatus = Literal["loaded", "unverified", "not_published", "not_listed", "hole", "corrupt", "gone"]


@dataclass(frozen=True)
class FileSeen:
    """One file of an archive as it was when we looked; most of it is empty where there was none.

    `status`: loaded; unverified, with the rank of REST, because its checksum is of other bytes; not_published yet;
    not_listed, before the first file or after the last one of that symbol; hole, between two that are there; corrupt
    (`reason` says how); gone, listed and then not there.
    """

    key: str
    status: FileStatus
    period_start: dt.datetime
    period_end: dt.datetime
    seen_at: dt.datetime
    reason: str = ""
    etag: str = ""
    size: int = 0
    last_modified: dt.datetime | None = None
    sha256: str = ""
    checksum_status: Literal["", "verified", "mismatch", "absent"] = ""
    has_header: bool = False
    time_unit: Literal["", "ms", "us"] = ""
    rows: int = 0
    duplicates: int = 0
    first: dt.datetime | None = None
    last: dt.datetime | None = None


Span = tuple[dt.datetime, dt.datetime]  # [start, end)


@dataclass(frozen=True)
class Fetched:
    """Rows in time order, of the schema that a dataset has below venues/, and what it took to get them.

    `source` is another name for these rows than the source's own, where they rank lower. `files` are those looked at.
    `lacks` are the spans of which a source of events knows that it does not have all.
    """

    table: pa.Table
    cost: Cost
    source: str = ""
    files: tuple[FileSeen, ...] = ()
    raw: bytes = b""  # what the source said, word for word, where it was told to keep that and can: see trail.py
    since: dt.datetime | None = None  # what is older of the window it no longer has; None: it answers all of it
    lacks: tuple[Span, ...] | None = None


@dataclass(frozen=True)
class Listing:
    """An instrument as the venue lists it now.

    `symbol` is BASE/QUOTE also for perpetuals. Sizes are in quote units (tick, min_notional), in base units (lot of
    spot) or in contracts (lot of perpetuals); `contract_size` is base units a contract. `info` is the venue's row as
    JSON.
    """

    venue: str
    symbol: str
    venue_symbol: str
    base: str
    quote: str
    settle: str | None
    status: str
    is_active: bool
    tick_size: float | None
    lot_size: float | None
    contract_size: float | None
    min_notional: float | None
    listed_at: dt.datetime | None
    delisted_at: dt.datetime | None
    info: str
    funding_rate_cap: float | None = None  # of one settlement, a fraction
    funding_rate_floor: float | None = None
    funding_interval_hours: float | None = None


@dataclass(frozen=True)
class Patience:
    """How long we try. One try has `request_s`; all of them together `total_s`, and the wait and try that pass it."""

    request_s: float = 15.0
    total_s: float = 180.0
    attempts: int = 8
    wait_first_s: float = 0.5
    wait_max_s: float = 10.0
    jitter_s: float = 1.0


@dataclass(frozen=True)
class Access:
    """Where and how a source is reached.

    `base_url` None is the real venue; otherwise every URL of the venue lies below it, with the venue's own paths.
    `governor_file` is shared by all processes of the machine. `api_key` is never needed: public data only; it goes to
    ccxt and nowhere else. `limits_factor` multiplies the venue's rate limits and is for sandboxes that allow more.
    """

    base_url: str | None
    governor_file: Path
    api_key: SecretStr | None = None
    patience: Patience = Patience()
    limits_factor: float = 1.0
    keeps_raw: bool = False  # of what cannot be asked for again once it is old: trades


class Connection(Protocol):
    """An open source: a context manager, safe to use from several threads.

    What it raises is of errors.py: VenueUnavailable, VenueLimited, VenueRefused, UnknownSymbol.
    """

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def fetch_server_time(self) -> dt.datetime:
        """The source's own clock, aware UTC."""

    def fetch_listings(self) -> list[Listing]:
        """Every instrument it has now; not asked of a source without `listings`."""

    def submit(
        self, dataset: str, symbol: str, interval: str, start: dt.datetime, end: dt.datetime, closed_before: dt.datetime
    ) -> "Future[Fetched]":
        """Start fetching [start, end) of one series. `symbol` is the source's own name, `interval` empty without grid.

        `closed_before` is the source's clock as the caller read it once: what ends after it is not final.
        """


class Source(Protocol):
    """One way to one venue's data. Of several the cheapest is asked first, at one price that of the highest rank."""

    @property
    def name(self) -> str:
        """As in the ledger and in the rows: rest, archive_daily, archive_monthly, ws. People say its first word."""

    @property
    def rank(self) -> int:
        """Finality: 4 a day's file, 3 a month's, 2 REST, 1 a stream."""

    @property
    def venue(self) -> str: ...

    @property
    def clock(self) -> Call:
        """What its clock costs."""

    @property
    def listings(self) -> Call | None:
        """What the list of its instruments costs; None if it has none, and instruments go by their own symbol."""

    def serves(self, dataset: str, interval: str) -> bool:
        """Whether it has series of this dataset and interval at all."""

    def kept(self, dataset: str, interval: str) -> dt.timedelta | None:
        """How far back from now it serves them; None: all there ever was."""

    @property
    def start_s(self) -> float:
        """What it takes before its first row, beside its requests: programs to start, lists to read."""

    @property
    def settles_holes(self) -> bool:
        """Whether asking it again for what it left out can bring it; if not, the next source is asked for that."""

    def offers(self, dataset: str, interval: str, start: dt.datetime, end: dt.datetime, now: dt.datetime) -> bool:
        """Whether it should have all of a window by now, as far as one can know without asking. Pure."""

    def calls(
        self, dataset: str, symbol: str, interval: str, start: dt.datetime, end: dt.datetime, now: dt.datetime
    ) -> list[Call]:
        """The requests that a window takes if the source gives as much a page as it is asked for. Pure."""

    def open(self, access: Access) -> Connection:
        """Connect; nothing is sent yet. Raises BadInput for an access that cannot be."""
