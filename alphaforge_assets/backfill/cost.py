"""What a backfill will cost, and how near to the venues' limits the last ones came.

Nothing is estimated that the fetching code knows: windows come from the ledger, requests from the source that will be
asked, pace from the governor. What is learnt from the past is how many
requests a window really took (a venue may give less a page than was wished for) and what a row takes on disk.

The ceiling is the venue's whole limit, to one address; the governor keeps a twentieth of it in reserve. Markets of an
exchange may share a limit, as OKX's spot and perpetuals do: the governor gives them turns, and so it is reckoned here.
"""

import datetime as dt
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from clickhouse_connect.driver.client import Client

from alphaforge_assets.datasets.dataset import Dataset
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.pipeline import served
from alphaforge_assets.pipeline.choice import BEST, BYTES_A_S, Left, calls_of, shared_out
from alphaforge_assets.pipeline.landing import NO_END
from alphaforge_assets.universe import Instrument, Universe
from alphaforge_assets.venues.directory import ranked
from alphaforge_assets.venues.governor import Budget
from alphaforge_assets.venues.source import Call, Source
from alphaforge_assets.warehouse import statements
from alphaforge_assets.warehouse.listings import venue_symbols
from alphaforge_assets.warehouse.windows import Window, unanswered

# What a row of bars takes in landing, staging, history and mart together where nothing was measured yet: recorded
# minutes, merged (docs/performance.md).
BYTES_A_ROW = 101.0
ROWS_MEASURED_MIN = 10_000  # below that, a part's fixed cost hides what a row takes
FEWER_MEASURED = 1.05  # more requests than computed by this factor: the venue gives less a page than is asked


@dataclass(frozen=True)
class Spent:
    """Requests and weight against one budget."""

    budget: Budget
    requests: int
    weight: float
    bytes: int = 0

    @property
    def ceiling_s(self) -> float:
        """Seconds at the venue's whole limit."""
        return self.weight * self.budget.window_s / self.budget.limit

    @property
    def paced_s(self) -> float:
        """Seconds at the pace the governor grants, and of bytes that are to come at the speed of an assumed line."""
        return max(0.0, self.weight - self.budget.burst) * self.budget.seconds_per_unit + self.bytes / BYTES_A_S


@dataclass(frozen=True)
class Share:
    """What one source of a venue will be asked. `bytes` are of files, by what a row of theirs takes."""

    source: str
    windows: int
    rows: int
    requests: int
    bytes: int


@dataclass(frozen=True)
class VenuePlan:
    """What one venue will be asked, by its sources together and each.

    `extra` is clocks and instrument lists; `times_measured`, of REST, corrects `spent`.

    `ceiling_s` is seconds at the whole limits, in turns with the venues of the same runs that share them.
    """

    venue: str
    windows: int
    rows: int
    spent: tuple[Spent, ...]
    extra: tuple[Spent, ...]
    times_measured: float
    ceiling_s: float
    shares: tuple[Share, ...] = ()

    @property
    def requests(self) -> int:
        return sum(s.requests for s in self.spent)

    @property
    def weight(self) -> float:
        return sum(s.weight for s in self.spent)


@dataclass(frozen=True)
class DatasetPlan:
    """What is left of a dataset: its venues, its bytes on disk a row (measured or not), and how long it takes."""

    dataset: str
    runs: int
    venues: tuple[VenuePlan, ...]
    bytes_a_row: float
    is_measured: bool
    paced_s: float

    @property
    def rows(self) -> int:
        return sum(v.rows for v in self.venues)

    @property
    def bytes(self) -> float:
        return self.rows * self.bytes_a_row


def predict(
    client: Client, universe: Universe, dataset: Dataset, runs: Sequence[Rectangle], wish: str = BEST
) -> DatasetPlan:
    """What `runs` of a dataset will ask its venues, of sources of the kind `wish`.

    Raises WarehouseDown, WarehouseRefused.
    """
    now = dt.datetime.now(dt.UTC)
    asked: dict[str, list[tuple[Source, Window]]] = defaultdict(list)
    extra: dict[str, list[Call]] = defaultdict(list)
    ceilings: dict[str, float] = defaultdict(float)
    paced_s = 0.0
    intervals = dataset.intervals(universe)
    names = venue_symbols(client, sorted({i.venue for run in runs for i in run.instruments})) if runs else {}
    listed = {venue for venue, _ in names}
    factors = _measured(client, dataset, sorted({i.venue for run in runs for i in run.instruments}))
    for run in runs:
        calls: dict[str, list[tuple[Call, float]]] = {}
        for venue in dict.fromkeys(i.venue for i in run.instruments):
            part = Rectangle(tuple(i for i in run.instruments if i.venue == venue), run.start, run.end)
            wanted = served.windows(dataset, part, intervals, NO_END)
            whole = served.still(dataset, unanswered(client, dataset.name, wanted, chunk=dataset.portion), now)
            if not whole:
                continue  # the venue is not even asked for its clock
            left = [Left(window) for window in served.closed(whole, now - dataset.settle)]
            shares = shared_out(ranked(venue, dataset.name, intervals), dataset.name, left, wish, now)
            pairs = [(source, one.window) for source, its in shares for one in its]
            asked[venue] += pairs
            for source, _ in shares:
                extra[venue] += _around(source, names, part, listed)
            calls[venue] = list(_weighted(dataset, pairs, factors, now))
        paced_s += max((s.paced_s for s in _summed(chain.from_iterable(calls.values()))), default=0.0)
        for venue, seconds in side_by_side({venue: _summed(its) for venue, its in calls.items()}).items():
            ceilings[venue] += seconds
    venues = []
    for venue, pairs in asked.items():
        spent = tuple(_summed(_weighted(dataset, pairs, factors, now)))
        rows = sum(_rows(dataset, window) for _, window in pairs)
        around = tuple(_summed((call, 1.0) for call in extra[venue]))
        parts = tuple(_shares(dataset, pairs, factors, now))
        plan = VenuePlan(venue, len(pairs), rows, spent, around, factors[venue, "rest"], ceilings[venue], parts)
        venues.append(plan)
    bytes_a_row, is_measured = row_bytes(client, dataset)
    return DatasetPlan(dataset.name, len(runs), tuple(venues), bytes_a_row, is_measured, paced_s)


def _weighted(
    dataset: Dataset, pairs: Iterable[tuple[Source, Window]], factors: Mapping[tuple[str, str], float], now: dt.datetime
) -> Iterator[tuple[Call, float]]:
    """The requests of windows, each as often as a source was found to need them."""
    for source, window in pairs:
        for call in calls_of(source, dataset.name, window, now):
            yield call, factors[source.venue, source.name]


def _shares(
    dataset: Dataset, pairs: Sequence[tuple[Source, Window]], factors: Mapping[tuple[str, str], float], now: dt.datetime
) -> Iterator[Share]:
    for name in dict.fromkeys(source.name for source, _ in pairs):
        its = [(source, window) for source, window in pairs if source.name == name]
        spent = _summed(_weighted(dataset, its, factors, now))
        rows = sum(_rows(dataset, window) for _, window in its)
        yield Share(name, len(its), rows, sum(s.requests for s in spent), sum(s.bytes for s in spent))


def row_bytes(client: Client, dataset: Dataset) -> tuple[float, bool]:
    """Bytes on disk that a published row takes in all tables of its chain, and whether that was measured here."""
    tables = [*dataset.chain, dataset.history]
    sizes = {row["table"]: row for row in statements.rows(client, "reads/table_sizes", tables=tables)}
    published = sizes.get(dataset.name, {"rows": 0})["rows"]
    if published < ROWS_MEASURED_MIN:
        return BYTES_A_ROW, False
    return sum(row["bytes"] / max(row["rows"], 1) for row in sizes.values()), True


def side_by_side(spent: Mapping[str, Sequence[Spent]]) -> dict[str, float]:
    """By venue: seconds at the whole limits, when all are asked at once. Budgets of one venue are spent side by side.

    Of a budget that venues share each has its turn, so a venue waits for as much of the others as it spends itself.
    """
    every = [one for its in spent.values() for one in its]

    def turns(mine: Spent) -> float:
        weight = sum(min(one.weight, mine.weight) for one in every if one.budget == mine.budget)
        return Spent(mine.budget, mine.requests, weight).ceiling_s

    return {venue: max(map(turns, its), default=0.0) for venue, its in spent.items()}


def reached(venues: Mapping[str, Sequence[Mapping[str, Any]]], dataset: Dataset) -> dict[str, tuple[int, float, float]]:
    """By venue of one run: requests, weight, and seconds at the whole limits. Windows are as of `reads/latest_runs`.

    What another venue had spent of a budget that they share, until this one had its last rows, is in its seconds.
    """
    every = [(row, _past_spent(dataset, row)) for rows in venues.values() for row in rows]
    found = {}
    for venue, rows in venues.items():
        until = max(row["recorded_at"] for row in rows)
        its = {budget for row, spent in every if row["venue"] == venue for budget in spent}
        spent: dict[Budget, float] = defaultdict(float)
        for row, weights in every:
            for budget in weights.keys() & its if row["recorded_at"] <= until else ():
                spent[budget] += weights[budget]
        seconds = max((w * b.window_s / b.limit for b, w in spent.items()), default=0.0)
        found[venue] = sum(r["requests"] for r in rows), sum(r["weight"] for r in rows), seconds
    return found


def _past_spent(dataset: Dataset, row: Mapping[str, Any]) -> dict[Budget, float]:
    budgets = {call.budget for call in _past_calls(dataset, row)}
    return {budget: row["weight"] / len(budgets) for budget in budgets}


def _measured(client: Client, dataset: Dataset, venues: Sequence[str]) -> dict[tuple[str, str], float]:
    """By venue and source: requests that past windows took over those computed for them, 1 where the two agree."""
    took: dict[tuple[str, str], int] = defaultdict(int)
    computed: dict[tuple[str, str], int] = defaultdict(int)
    if venues:
        for row in statements.rows(client, "reads/answered_costs", dataset=dataset.name, venues=list(venues)):
            key = row["venue"], row["source"]
            took[key] += row["requests"]
            computed[key] += len(_past_calls(dataset, row))
    ratios = {key: took[key] / computed[key] if computed[key] else 1.0 for key in took}
    found: dict[tuple[str, str], float] = defaultdict(lambda: 1.0)
    return found | {key: ratio for key, ratio in ratios.items() if ratio > FEWER_MEASURED}


def _past_calls(dataset: Dataset, row: Mapping[str, Any]) -> list[Call]:
    """What a window of the ledger took by our reckoning. What a request costs does not depend on the instrument."""
    anyone = Instrument(row["venue"], "", row["window_start"].date())
    window = Window(anyone, row["interval"], row["window_start"], row["window_end"])
    sources = [s for s in ranked(row["venue"], dataset.name, [row["interval"]]) if s.name == row["source"]]
    its = calls_of(sources[0], dataset.name, window, row["recorded_at"]) if sources else []
    return its or [s.clock for s in sources[:1]]


def _around(source: Source, names: Mapping[tuple[str, str], str], part: Rectangle, listed: set[str]) -> list[Call]:
    """The clock, and the instrument list once if the warehouse has not seen one of the instruments."""
    calls = [source.clock]
    unknown = any((i.venue, i.symbol) not in names for i in part.instruments)
    if source.listings and source.venue not in listed and unknown:
        calls.append(source.listings)
        listed.add(source.venue)
    return calls


def _rows(dataset: Dataset, window: Window) -> int:
    """Rows to expect if the venue has them all."""
    return math.ceil((window.end - window.start) / dataset.usual_step(window.interval))


def _summed(calls: Iterable[tuple[Call, float]]) -> list[Spent]:
    """Calls by budget, each counted as often as measured."""
    requests: dict[Budget, float] = defaultdict(float)
    weight: dict[Budget, float] = defaultdict(float)
    size: dict[Budget, int] = defaultdict(int)
    for call, times in calls:
        requests[call.budget] += times
        weight[call.budget] += call.weight * times
        size[call.budget] += call.bytes
    return [Spent(b, round(requests[b]), weight[b], size[b]) for b in sorted(requests, key=lambda b: b.name)]
