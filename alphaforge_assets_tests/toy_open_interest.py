"""A fourth dataset as its author would write it: one file and its tables. Here to prove that this is enough."""

import datetime as dt
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa

from alphaforge_assets.datasets.dataset import FLOAT, TEXT, TIME, Dataset, Tempo
from alphaforge_assets.venues.governor import Budget
from alphaforge_assets.venues.source import Access, Call, Cost, Fetched, Listing

OPEN_INTEREST = Dataset(
    name="open_interest",
    view="v_open_interest",
    keeps=lambda instrument: instrument.is_perpetual,
    intervals=lambda universe: ("1d",),
    rows_a_day_max=lambda intervals: 1,
    usual_step=lambda interval: dt.timedelta(days=1),
    grid="day",
    chunk="year",
    tempo=Tempo(late=dt.timedelta(hours=6), silent=dt.timedelta(hours=6)),
    columns={"contracts": FLOAT, "source": TEXT, "ingested_at": TIME, "published_at": TIME},
    usual=("contracts", "source"),
    judged_by="open_interest_coverage",
    ddl=Path(__file__).with_suffix(".sql"),
)
BUDGET = Budget("toy.open_interest", limit=600, window_s=60, burst=60)
CLOCK = Call("clock", {}, BUDGET, 1)
SCHEMA = pa.schema(
    [
        pa.field("timestamp", TIME, nullable=False),
        pa.field("contracts", pa.float64()),
        pa.field("is_closed", pa.bool_(), nullable=False),
        pa.field("metadata", pa.string(), nullable=False),
    ]
)


@dataclass
class OpenInterest:
    """A source that knows the open interest of one venue by heart. `lost` are days it does not have."""

    venue: str
    now: dt.datetime
    scale: float = 1.0
    lost: set[dt.date] = field(default_factory=set)
    name: str = "rest"
    rank: int = 2
    clock: Call = CLOCK
    listings: Call | None = None
    start_s: float = 0.0
    settles_holes: bool = True

    def serves(self, dataset: str, interval: str) -> bool:
        return dataset == OPEN_INTEREST.name

    def kept(self, dataset: str, interval: str) -> dt.timedelta | None:
        return None

    def offers(self, dataset: str, interval: str, start: dt.datetime, end: dt.datetime, now: dt.datetime) -> bool:
        return True

    def calls(
        self, dataset: str, symbol: str, interval: str, start: dt.datetime, end: dt.datetime, now: dt.datetime
    ) -> list[Call]:
        return [Call("open_interest", {"symbol": symbol}, BUDGET, 1)]

    def open(self, access: Access) -> "OpenInterestConnection":
        return OpenInterestConnection(self)


@dataclass
class OpenInterestConnection:
    """Needs no network; answers at once."""

    of: OpenInterest

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def fetch_server_time(self) -> dt.datetime:
        return self.of.now

    def fetch_listings(self) -> list[Listing]:
        return []

    def submit(
        self, dataset: str, symbol: str, interval: str, start: dt.datetime, end: dt.datetime, closed_before: dt.datetime
    ) -> "Future[Fetched]":
        days = [start + dt.timedelta(days=n) for n in range((end - start).days)]
        rows = [
            {"timestamp": day, "contracts": self.of.scale * day.day, "is_closed": True, "metadata": ""}
            for day in days
            if day.date() not in self.of.lost
        ]
        answer: Future[Fetched] = Future()
        answer.set_result(Fetched(pa.Table.from_pylist(rows, SCHEMA), Cost(1, 1)))
        return answer
