"""What a backfill will cost, and how near to the venues' limits the last ones came.

Nothing is estimated that the fetching code knows: windows come from `batches`, pages from `venues.bars` and
`venues.funding`, weights from each venue's own record, pace from the governor. What is learnt from the past is how many
requests a window really took (a venue may give less a page than was wished for) and what a row takes on disk.

The ceiling is the venue's whole limit, to one address; the governor keeps a twentieth of it in reserve.
"""

import datetime as dt
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from clickhouse_connect.driver.client import Client

from alphaforge_assets.datasets import Dataset
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.universe import INTERVAL_MS, Universe
from alphaforge_assets.venues import alternative_me, funding
from alphaforge_assets.venues.bars import windows
from alphaforge_assets.venues.connection import VENUES
from alphaforge_assets.venues.funding import FundingPage
from alphaforge_assets.venues.governor import Budget
from alphaforge_assets.venues.venue import BarPage, Call, Funding
from alphaforge_assets.warehouse import statements
from alphaforge_assets.warehouse.batches import Window, unanswered
from alphaforge_assets.warehouse.listings import venue_symbols

# What a row of bars takes in landing, staging, history and mart together where nothing was measured yet: four times
# the 36 bytes that warehouse benchmarks gave for these columns and codecs.
BYTES_A_ROW = 145.0
ROWS_MEASURED_MIN = 10_000  # below that, a part's fixed cost hides what a row takes
FUNDING_INTERVAL_H = 8  # the longest in use; a shorter one means more rows and seldom more requests
FEWER_MEASURED = 1.05  # more requests than computed by this factor: the venue gives less a page than is asked


@dataclass(frozen=True)
class Spent:
    """Requests and weight against one budget."""

    budget: Budget
    requests: int
    weight: float

    @property
    def ceiling_s(self) -> float:
        """Seconds at the venue's whole limit."""
        return self.weight * self.budget.window_s / self.budget.limit

    @property
    def paced_s(self) -> float:
        """Seconds at the pace the governor grants."""
        return max(0.0, self.weight - self.budget.burst) * self.budget.seconds_per_unit


@dataclass(frozen=True)
class VenuePlan:
    """What one venue will be asked. `extra` is clocks and instrument lists; `times_measured` corrects `spent`."""

    venue: str
    windows: int
    rows: int
    spent: tuple[Spent, ...]
    extra: tuple[Spent, ...]
    times_measured: float

    @property
    def requests(self) -> int:
        return sum(s.requests for s in self.spent)

    @property
    def weight(self) -> float:
        return sum(s.weight for s in self.spent)

    @property
    def ceiling_s(self) -> float:
        """Seconds at the whole limits; budgets of one venue are spent side by side."""
        return max((s.ceiling_s for s in self.spent), default=0.0)


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


def predict(client: Client, universe: Universe, dataset: Dataset, runs: Sequence[Rectangle]) -> DatasetPlan:
    """What `runs` of a dataset will ask its venues. Raises WarehouseDown, WarehouseRefused."""
    now = dt.datetime.now(dt.UTC)
    asked: dict[str, list[Window]] = defaultdict(list)
    extra: dict[str, list[Call]] = defaultdict(list)
    paced_s = 0.0
    intervals = dataset.intervals(universe)
    names = venue_symbols(client, sorted({i.venue for run in runs for i in run.instruments})) if runs else {}
    listed = {venue for venue, _ in names}
    factors = _measured(client, dataset, sorted({i.venue for run in runs for i in run.instruments}))
    for run in runs:
        calls: list[tuple[Call, float]] = []
        for venue in dict.fromkeys(i.venue for i in run.instruments):
            part = Rectangle(tuple(i for i in run.instruments if i.venue == venue), run.start, run.end)
            if not unanswered(client, dataset.name, part.windows(intervals, dt.datetime.max.replace(tzinfo=dt.UTC))):
                continue  # the venue is not even asked for its clock
            left = unanswered(client, dataset.name, _closed(part, intervals, now - dataset.settle))
            asked[venue] += left
            extra[venue] += _around(dataset, venue, names, part, listed)
            calls += [(call, factors[venue]) for window in left for call in calls_of(dataset, window, now)]
        paced_s += max((s.paced_s for s in _summed(calls)), default=0.0)
    venues = []
    for venue, left in asked.items():
        factor = factors[venue]
        calls = [(call, factor) for window in left for call in calls_of(dataset, window, now)]
        rows = sum(_rows(dataset, window) for window in left)
        around = tuple(_summed([(call, 1.0) for call in extra[venue]]))
        venues.append(VenuePlan(venue, len(left), rows, tuple(_summed(calls)), around, factor))
    bytes_a_row, is_measured = row_bytes(client, dataset)
    return DatasetPlan(dataset.name, len(runs), tuple(venues), bytes_a_row, is_measured, paced_s)


def calls_of(dataset: Dataset, window: Window, now: dt.datetime) -> list[Call]:
    """The requests that a window takes if the venue gives as much a page as it is asked for."""
    if dataset.only:
        return []  # the whole history is one request, counted with the clock
    venue = VENUES[window.instrument.venue]
    start_ms, end_ms, now_ms = (int(t.timestamp() * 1000) for t in (window.start, window.end, now))
    if dataset.name == "funding_rates":
        return _funding_calls(venue.funding, start_ms, end_ms, now_ms) if venue.funding else []
    step = INTERVAL_MS[window.interval]
    calls = []
    for part in windows(start_ms, end_ms, step, venue.rows_max, ascending=venue.ascending):
        rows = min(venue.rows_max, -(-(part.end_ms - part.start_ms) // step) + venue.ascending)
        cursor_ms = part.start_ms if venue.ascending else part.end_ms
        age = math.ceil(max(0, now_ms - part.start_ms) / step)
        calls.append(venue.ask_bars(BarPage(window.instrument.symbol, window.interval, cursor_ms, rows, age)))
    return calls


def row_bytes(client: Client, dataset: Dataset) -> tuple[float, bool]:
    """Bytes on disk that a published row takes in all tables of its chain, and whether that was measured here."""
    tables = [*dataset.chain, f"{dataset.name}_history"]
    sizes = {row["table"]: row for row in statements.rows(client, "reads/table_sizes", tables=tables)}
    published = sizes.get(dataset.name, {"rows": 0})["rows"]
    if published < ROWS_MEASURED_MIN:
        return BYTES_A_ROW, False
    return sum(row["bytes"] / max(row["rows"], 1) for row in sizes.values()), True


def reached(rows: Sequence[Mapping[str, Any]], dataset: Dataset) -> tuple[int, float, float]:
    """Requests, weight, and seconds at the venues' whole limits of windows as `reads/latest_runs` gives them."""
    spent: dict[Budget, float] = defaultdict(float)
    for row in rows:
        budgets = {call.budget for call in _past_calls(dataset, row)}
        for budget in budgets:
            spent[budget] += row["weight"] / len(budgets)
    seconds = max((w * b.window_s / b.limit for b, w in spent.items()), default=0.0)
    return sum(r["requests"] for r in rows), sum(r["weight"] for r in rows), seconds


def _measured(client: Client, dataset: Dataset, venues: Sequence[str]) -> dict[str, float]:
    """By venue: requests that past windows took over those computed for them, 1 where the two agree."""
    took: dict[str, int] = defaultdict(int)
    computed: dict[str, int] = defaultdict(int)
    if venues and not dataset.only:
        for row in statements.rows(client, "reads/answered_costs", dataset=dataset.name, venues=list(venues)):
            took[row["venue"]] += row["requests"]
            computed[row["venue"]] += len(_past_calls(dataset, row))
    ratios = {v: took[v] / computed[v] if computed[v] else 1.0 for v in venues}
    return {v: ratio if ratio > FEWER_MEASURED else 1.0 for v, ratio in ratios.items()}


def _past_calls(dataset: Dataset, row: Mapping[str, Any]) -> list[Call]:
    if dataset.only:
        return [Call("index", {}, alternative_me.REQUESTS, 1)]
    of_venue = _AnyOf(row["venue"])
    window = Window(of_venue, row["interval"], row["window_start"], row["window_end"])  # type: ignore[arg-type]
    return calls_of(dataset, window, row["recorded_at"])


@dataclass(frozen=True)
class _AnyOf:
    """Some instrument of a venue: what a request costs does not depend on which."""

    venue: str
    symbol: str = ""


def _closed(part: Rectangle, intervals: Iterable[str], before: dt.datetime) -> list[Window]:
    """The windows of a rectangle whose bars are over."""
    found = []
    for interval in intervals:
        step = INTERVAL_MS.get(interval, 60_000)
        until = dt.datetime.fromtimestamp(int(before.timestamp() * 1000) // step * step / 1000, dt.UTC)
        found += part.windows([interval], until)
    return found


def _around(
    dataset: Dataset, name: str, names: Mapping[tuple[str, str], str], part: Rectangle, listed: set[str]
) -> list[Call]:
    """The clock, and the instrument list once if the warehouse has not seen one of the instruments."""
    if dataset.only:
        return [Call("index", {}, alternative_me.REQUESTS, 1)]
    venue = VENUES[name]
    calls = [venue.ask_time]
    if name not in listed and any((i.venue, i.symbol) not in names for i in part.instruments):
        calls.append(Call("fetch_markets", {}, venue.markets_budget, venue.markets_weight))
        listed.add(name)
    return calls


def _funding_calls(said: Funding, start_ms: int, end_ms: int, now_ms: int) -> list[Call]:
    """Walks the window with the real walk over settlements every FUNDING_INTERVAL_H, counting the pages."""
    every = FUNDING_INTERVAL_H * funding.HOUR_MS
    kept_ms = now_ms - said.kept_days * 86_400_000 if said.kept_days else 0
    calls: list[Call] = []

    def page(cursor_ms: int, rows: int) -> pa.Table:
        calls.append(said.ask(FundingPage("", cursor_ms, rows)))
        if said.ascending:
            first = -(-max(cursor_ms, kept_ms) // every) * every
            times = list(range(first, now_ms, every))[:rows]
        else:
            times = list(range(max(-(-kept_ms // every), 0) * every, min(cursor_ms, now_ms), every))[-rows:]
        column = pa.array(times, pa.int64()).view(funding.FUNDING_SCHEMA.field("timestamp").type)
        return _settlements(column)

    span = funding.raw_window(start_ms, end_ms)
    funding.walk(span, said.rows_max, page, ascending=said.ascending)
    return calls


def _settlements(times: pa.Array) -> pa.Table:
    """Settlements at these times of which nothing else matters."""
    given = {"timestamp": times, "timestamp_raw": times}
    columns = []
    for field in funding.FUNDING_SCHEMA:
        if field.name in given:
            columns.append(given[field.name])
        elif pa.types.is_string(field.type):
            columns.append(pa.repeat("", len(times)))
        elif pa.types.is_boolean(field.type):
            columns.append(pa.repeat(True, len(times)))
        else:
            columns.append(pa.nulls(len(times), field.type))
    return pa.table(columns, schema=funding.FUNDING_SCHEMA)


def _rows(dataset: Dataset, window: Window) -> int:
    """Rows to expect if the venue has them all."""
    length_ms = (window.end - window.start) / dt.timedelta(milliseconds=1)
    if dataset.name == "funding_rates":
        return math.ceil(length_ms / (FUNDING_INTERVAL_H * funding.HOUR_MS))
    return math.ceil(length_ms / INTERVAL_MS[window.interval])


def _summed(calls: Iterable[tuple[Call, float]]) -> list[Spent]:
    """Calls by budget, each counted as often as measured."""
    requests: dict[Budget, float] = defaultdict(float)
    weight: dict[Budget, float] = defaultdict(float)
    for call, times in calls:
        requests[call.budget] += times
        weight[call.budget] += call.weight * times
    return [Spent(b, round(requests[b]), weight[b]) for b in sorted(requests, key=lambda b: b.name)]
