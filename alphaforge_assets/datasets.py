"""The datasets we keep, as records: which instruments have them, on what grid, and how a venue is asked.

A dataset's name is its tables': landing_<name>, staging_<name>, <name>_history, <name>. Its SQL is sql/staging/<name>.sql,
sql/staging/rejected_<name>.sql, sql/mart/<name>_history.sql and sql/mart/<name>.sql.
"""

import datetime as dt
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from alphaforge_assets.universe import INTERVAL_MS, Instrument, Universe
from alphaforge_assets.venues.connection import Connection, Fetched
from alphaforge_assets.warehouse.batches import Window

# What has no grid of its own has one interval, the empty one.
NO_GRID = ("",)


@dataclass(frozen=True)
class Dataset:
    """One kind of data. `ask` starts fetching a window; its last argument is the venue's clock as read by the caller."""

    name: str
    keeps: Callable[[Instrument], bool]
    intervals: Callable[[Universe], Sequence[str]]
    ask: Callable[[Connection, str, Window, dt.datetime], "Future[Fetched]"]
    rows_a_day_max: Callable[[Sequence[str]], int]  # of one instrument, on those intervals
    followed_by: tuple[str, ...] = ()  # assets on the same partitions that every run of the chain ends with

    def instruments(self, universe: Universe) -> tuple[Instrument, ...]:
        """Instruments of the universe that have it, in universe order."""
        return tuple(i for i in universe.instruments if self.keeps(i))

    @property
    def chain(self) -> tuple[str, str, str]:
        """Its assets, upstream first."""
        return f"landing_{self.name}", f"staging_{self.name}", self.name

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
    keeps=lambda instrument: True,
    intervals=lambda universe: universe.intervals,
    ask=_ask_bars,
    rows_a_day_max=lambda intervals: sum(INTERVAL_MS["1d"] // INTERVAL_MS[i] for i in intervals),
    followed_by=("coverage",),
)

DATASETS = {d.name: d for d in (BARS,)}
