"""What a dataset is: a record from which its tables, assets, windows, frames, snapshots and checks are derived.

A dataset's name is its tables': landing_<name>, staging_<name>, <name>_history, <name>, and judged_<name>, the view
that says which rule a landed row breaks. The statements of sql/staging, sql/mart and sql/coverage are told these names.
One file beside this one fills the record in; sql/migrations has its tables, registry.py its line.
"""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pyarrow as pa

from alphaforge_assets.universe import Instrument, Universe
from alphaforge_assets.warehouse.windows import Chunk

# What has no grid of its own has one interval, the empty one.
NO_GRID = ("",)
DATABASE = "analytics"

# Types of the columns of frames.
FLOAT, COUNT, SCORE, TEXT, FLAG = pa.float64(), pa.int64(), pa.uint8(), pa.string(), pa.bool_()
UNSIGNED = pa.uint64()
TIME, TIME_US = pa.timestamp("ms", "UTC"), pa.timestamp("us", "UTC")

# Clocks of machines kept by NTP differ by less.
CLOCK_SLACK_MS = 1_000

Layer = Literal["landing", "staging", "mart"]


@dataclass(frozen=True)
class Rule:
    """A sentence about one of a dataset's tables, and a statement of its name that selects what breaks it.

    `why` is the reason for its severity. `bounds` are parameters of the statement beside the rectangle. A statement
    that datasets share lies in the folder `shared` and is told the names of the tables.
    """

    name: str
    severity: Literal["ERROR", "WARN"]
    why: str
    layer: Layer = "mart"
    blocking: bool = False
    bounds: Mapping[str, float] = field(default_factory=dict)
    shared: str = ""
    of_events: bool = False  # shared, with another statement for rows that have ids


FRESHNESS = "freshness_per_instrument"
# What holds of every dataset: where rows may lie, that none is lost, that keys are keys.
EVERY_DATASET = (
    Rule(
        "rows_are_inside_the_day", "ERROR", "a row outside the window asked for answers another question",
        layer="landing", blocking=True, shared="every_dataset",
    ),
    Rule(
        "landing_is_accounted_for", "ERROR", "landing = staging + rejected + superseded, or we lost rows",
        layer="staging", blocking=True, shared="every_dataset", of_events=True,
    ),
    Rule(
        "no_rows_are_rejected", "WARN", "a venue did send such rows; they are kept, not published",
        layer="staging", shared="every_dataset",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Tempo:
    """How late a dataset may be: `late` after its next row was due; where the venue answers and has none, `silent`."""

    late: dt.timedelta
    silent: dt.timedelta


@dataclass(frozen=True)
class Tail:
    """How far the live tail asks: to `after` the last whole `every` before the venue's clock; 0: to the clock.

    What is heavy is not asked for since yesterday: the first time reaches back `cold_start`, later ones go on where the
    last one ended.
    """

    every: dt.timedelta = dt.timedelta(0)
    after: dt.timedelta = dt.timedelta(0)
    cold_start: dt.timedelta | None = None

    def until(self, closed: dt.datetime) -> dt.datetime:
        """The end of what is asked for when the venue's clock, less what it takes to settle, is `closed`."""
        if not self.every:
            return closed
        start = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
        return closed - (closed - self.after - start) % self.every


@dataclass(frozen=True)
class Dataset:
    """One kind of data.

    `only` is the one instrument of a dataset that has no others: its partitions are days alone, from the day its
    history begins. `grid` says what is expected: a row an `interval` (bars), a row a `day`, settlements as `observed`
    beside them, every one of the `ids` that a venue counts, or nothing but an answer a day, where a venue tells a part
    only (`sampled`). `columns` are those of a frame, in order, `usual` those one gets without asking.

    Rows of a dataset with an `id` are events: many may share a time, none ever changes. So the id is part of their key,
    there is no history beside the table that is read, and what is published once stays.
    """

    name: str
    view: str  # what researchers read it through
    keeps: Callable[[Instrument], bool]
    intervals: Callable[[Universe], Sequence[str]]
    rows_a_day_max: Callable[[Sequence[str]], int]  # of one instrument, on those intervals
    usual_step: Callable[[str], dt.timedelta]  # the longest there is between two rows of that interval, by experience
    columns: Mapping[str, pa.DataType]
    usual: tuple[str, ...]
    grid: Literal["interval", "day", "observed", "ids", "sampled"]
    tempo: Tempo
    rules: tuple[Rule, ...] = ()  # beside EVERY_DATASET and its freshness
    only: Instrument | None = None
    ended: dt.date | None = None  # the first day of which nobody has any; None: it goes on
    has: Callable[[Instrument], bool] | None = None  # who may have rows, where not only those that it keeps
    wants: Callable[[Instrument, str], bool] = lambda instrument, interval: True  # which series of an instrument
    prices: tuple[str, ...] = ()  # what its bars are of, where they are not of trades: it names its series
    id: str = ""  # the column by which a venue counts its rows; "": rows are known by their time
    series: str = "interval"  # the column that tells apart the series of one instrument; it is part of every key
    slot_series: str = ""  # the series whose rows are expected; "": all
    # What came about later than this is left for the next run: venues are not done with it yet.
    settle: dt.timedelta = dt.timedelta(seconds=5)
    # What was fetched sooner than this after it ended is asked for once more: venues revise a bar for moments.
    final_after: dt.timedelta = dt.timedelta(0)
    chunk: Chunk = "month"  # the longest window asked for at once; no longer than a partition of its landing table
    source_chosen: Chunk | None = None  # the longest span for which one source is chosen; None: a chunk
    keys_per_run_max: int = 2_000  # a run's start costs seconds, a key 5 ms, and its failure the whole range
    tail: Tail | None = None  # whether and how the live tail keeps it
    own_freshness: bool = False  # sql/checks/<name> has a statement of its own for it
    # Statements that read a frame, hash a snapshot and compare two; `_as_of` is added for reads of the past.
    reads: str = "reads/series"
    hashes: str = "snapshots/hashes_series"
    differences: str = "snapshots/diff_series"
    derives: str = ""  # the table made of what was published, by the statement mart/<it>; v_<it> shows it
    made_of: str = ""  # the dataset whose minutes its rows are; such a one has neither chain nor ledger of its own
    judged_by: str = "coverage"  # the asset that says what is missing
    ddl: Path | None = None  # its tables, where they are not of sql/migrations

    def instruments(self, universe: Universe) -> tuple[Instrument, ...]:
        """Instruments of the universe that have it, in universe order."""
        if self.only:
            return (self.only,)
        return tuple(i for i in universe.instruments if self.keeps(i))

    def starts(self, universe: Universe) -> dt.date:
        """The first day there may be."""
        return self.only.listed_from if self.only else universe.history_start

    def chosen(self, instruments: Sequence[Instrument]) -> list[Instrument]:
        """Those of `instruments` that have it; its only one, whatever was named."""
        return [self.only] if self.only else [i for i in instruments if self.keeps(i)]

    def having(self, instruments: Sequence[Instrument]) -> list[Instrument]:
        """Those of `instruments` that may have rows of it: kept now, or once."""
        return [self.only] if self.only else [i for i in instruments if (self.has or self.keeps)(i)]

    @property
    def portion(self) -> Chunk:
        """The longest span for which one source is chosen."""
        return self.source_chosen or self.chunk

    @property
    def what(self) -> str:
        """For messages."""
        return "funding" if self.name == "funding_rates" else self.name.replace("_", " ")

    @property
    def ledger(self) -> str:
        """The dataset by whose name batches, gaps and snapshots know its rows."""
        return self.made_of or self.name

    def series_of(self, lengths: Sequence[str]) -> list[str]:
        """Its series of these bar lengths."""
        return [f"{price}_{length}" for price in self.prices for length in lengths] if self.prices else list(lengths)

    @property
    def chain(self) -> tuple[str, str, str]:
        """The assets that bring its rows, upstream first."""
        return f"landing_{self.name}", f"staging_{self.name}", self.name

    @property
    def run_assets(self) -> tuple[str, ...]:
        """What one run of it materializes, upstream first."""
        return (*self.chain, self.judged_by)

    @property
    def history(self) -> str:
        """The table of every version: of events the one that is read, because they have one version."""
        return self.name if self.id else f"{self.name}_history"

    @property
    def stages(self) -> str:
        """The statement that says which landed row counts."""
        return "staging/events" if self.id else "staging/current"

    @property
    def publishes(self) -> tuple[str, str]:
        """The statements that bring what counts to researchers, in order."""
        return ("mart/series", "mart/events") if self.id else ("mart/history", "mart/current")

    @property
    def undone(self) -> tuple[str, str]:
        """The statements that find days not staged, and days not published."""
        if self.id:
            return "reads/unstaged_events", "reads/unpublished_events"
        return "reads/unstaged_days", "reads/unpublished_days"

    @property
    def every_rule(self) -> tuple[Rule, ...]:
        """Its rules, those of every dataset first."""
        why = "what is there is right; the venue may be silent, or our updates are late"
        freshness = Rule(FRESHNESS, "WARN", why, shared="" if self.own_freshness else "every_dataset")
        return (*EVERY_DATASET, *self.rules, freshness)

    def statement(self, rule: Rule) -> str:
        """The statement that selects what breaks a rule."""
        folder = "events" if self.id and rule.of_events else rule.shared or self.name
        return f"checks/{folder}/{rule.name}"

    @property
    def tables(self) -> dict[str, str]:
        """The names that statements written once for every dataset are told."""
        landing, staging, current = self.chain
        return {
            "dataset": self.name,
            "database": DATABASE,
            "series": self.series,
            "id": self.id,
            "volume": "volume" if "volume" in self.columns else "nothing",
            "landing": landing,
            "judged": f"judged_{self.name}",
            "staging": staging,
            "history": self.history,
            "current": current,
            "view": self.view,
        }
