"""The datasets we keep, as records: which instruments have them, on what grid, and how a venue is asked.

A dataset's name is its tables': landing_<name>, staging_<name>, <name>_history, <name>, and judged_<name>, the view
that says which rule a landed row breaks. The statements of sql/staging and sql/mart are told these names.
"""

import datetime as dt
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from alphaforge_assets.universe import FEAR_GREED, INTERVAL_MS, Instrument, Universe
from alphaforge_assets.venues.alternative_me import Index
from alphaforge_assets.venues.connection import Connection, Fetched
from alphaforge_assets.warehouse.batches import Window

# What has no grid of its own has one interval, the empty one.
NO_GRID = ("",)


@dataclass(frozen=True)
class Dataset:
    """One kind of data.

    `ask` starts fetching a window from an open connection (an `Index` for what no exchange has); its last argument is
    the venue's clock as read by the caller. `only` is the one instrument of a dataset that has no others: its
    partitions are days alone, from the day its history begins.
    """

    name: str
    keeps: Callable[[Instrument], bool]
    intervals: Callable[[Universe], Sequence[str]]
    ask: Callable[[Any, str, Window, dt.datetime], "Future[Fetched]"]
    rows_a_day_max: Callable[[Sequence[str]], int]  # of one instrument, on those intervals
    view: str  # what researchers read it through
    only: Instrument | None = None
    series: str = "interval"  # the column that tells apart the series of one instrument; it is part of every key
    # What came about later than this is left for the next run: venues are not done with it yet.
    settle: dt.timedelta = dt.timedelta(seconds=5)
    # What was fetched sooner than this after it ended is asked for once more: venues revise a bar for moments.
    final_after: dt.timedelta = dt.timedelta(0)
    window_months: int = 1  # the longest window asked for at once; no longer than a partition of its landing table
    keys_per_run_max: int = 366  # an instrument-year: a run's start costs seconds, and its failure the whole range
    followed_by: tuple[str, ...] = ()  # assets on the same partitions that every run of the chain ends with

    def instruments(self, universe: Universe) -> tuple[Instrument, ...]:
        """Instruments of the universe that have it, in universe order."""
        if self.only:
            return (self.only,)
        return tuple(i for i in universe.instruments if self.keeps(i))

    def starts(self, universe: Universe) -> dt.date:
        """The first day there may be."""
        return self.only.listed_from if self.only else universe.history_start

    @property
    def chain(self) -> tuple[str, str, str]:
        """Its assets, upstream first."""
        return f"landing_{self.name}", f"staging_{self.name}", self.name

    @property
    def tables(self) -> dict[str, str]:
        """The names that statements written once for every dataset are told."""
        landing, staging, current = self.chain
        return {
            "dataset": self.name,
            "database": "analytics",
            "series": self.series,
            "landing": landing,
            "judged": f"judged_{self.name}",
            "staging": staging,
            "history": f"{self.name}_history",
            "current": current,
        }

    @property
    def run_assets(self) -> tuple[str, ...]:
        """What one run of it materializes, upstream first."""
        return self.chain + self.followed_by


def _ask_bars(
    connection: Connection, venue_symbol: str, window: Window, closed_before: dt.datetime
) -> "Future[Fetched]":
    return connection.submit_bars(venue_symbol, window.interval, window.start, window.end, closed_before)


BARS = Dataset(
    name="bars",
    view="v_bars",
    keeps=lambda instrument: True,
    intervals=lambda universe: universe.intervals,
    ask=_ask_bars,
    rows_a_day_max=lambda intervals: sum(INTERVAL_MS["1d"] // INTERVAL_MS[i] for i in intervals),
    # One fetched a minute after its close has been past revision in every recording.
    final_after=dt.timedelta(minutes=1),
    followed_by=("coverage",),
)


def _ask_fear_greed(index: Index, name: str, window: Window, closed_before: dt.datetime) -> "Future[Fetched]":
    return index.submit_days(window.start, window.end)


FEAR_GREED_INDEX = Dataset(
    name="fear_greed_index",
    view="v_fear_greed",
    keeps=lambda instrument: False,
    intervals=lambda universe: ("1d",),
    ask=_ask_fear_greed,
    rows_a_day_max=lambda intervals: 1,
    only=FEAR_GREED,
    window_months=12,
    keys_per_run_max=4_000,  # one request brings it all: a run takes the whole history, eleven years of it
)


def _ask_funding_rates(
    connection: Connection, venue_symbol: str, window: Window, settled_before: dt.datetime
) -> "Future[Fetched]":
    return connection.submit_funding(venue_symbol, window.start, window.end, settled_before)


FUNDING_RATES = Dataset(
    name="funding_rates",
    view="v_funding",
    keeps=lambda instrument: instrument.is_perpetual,
    intervals=lambda universe: NO_GRID,  # it differs by symbol and changes: observed, never assumed
    ask=_ask_funding_rates,
    rows_a_day_max=lambda intervals: 24,
    series="rate_type",
    settle=dt.timedelta(minutes=5),  # a rate is listed some time after its settlement
    window_months=12,  # a page holds 100 to 1,000 settlements, a year of one symbol about 1,100
)

DATASETS = {d.name: d for d in (BARS, FUNDING_RATES, FEAR_GREED_INDEX)}
