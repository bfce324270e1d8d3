"""What the last runs took, by ledger and Dagster's record: of the venues' limits, and of our own time."""

import datetime as dt
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
from clickhouse_connect.driver.client import Client

from alphaforge_assets.backfill.cost import DatasetPlan, reached
from alphaforge_assets.datasets.registry import DATASETS
from alphaforge_assets.warehouse import statements

RUNS_MEASURED = 20
# What a row takes is the slope over runs of different sizes. Fewer rows than this apart, it is a run's fixed cost that
# differs by chance, and a month of history would be reckoned by the jitter of seconds.
ROWS_APART_MIN = 10_000
# Where nothing was measured: what a year of minutes takes behind its last page (docs/performance.md).
A_ROW_S = 3.3 / 527_040


@dataclass(frozen=True)
class Visit:
    """What a run had of a venue. Seconds are None for runs of another instance.

    `wall_s` ends with the venue's last rows, `run_s` with the run; `ceiling_s` is at the venue's whole limit, with what
    others of the run had of it meanwhile, where venues share one.
    """

    run_id: str
    dataset: str
    venue: str
    at: dt.datetime
    rows: int
    requests: int
    weight: float
    waited_s: float
    wall_s: float | None
    ceiling_s: float
    run_s: float | None
    share: float | None


@dataclass(frozen=True)
class OwnWork:
    """Seconds that our side takes after the fetching is done."""

    a_run_s: float
    a_row_s: float

    def of(self, planned: DatasetPlan) -> float:
        """Seconds that it adds to a plan."""
        return planned.runs * self.a_run_s + planned.rows * self.a_row_s


def visits(client: Client, dagster: dg.DagsterInstance, runs: int) -> list[Visit]:
    """Those of the last runs. Raises WarehouseDown, WarehouseRefused."""
    groups: dict[tuple[str, str], dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for row in statements.rows(client, "reads/latest_runs", runs=runs):
        if row["dataset"] in DATASETS:
            groups[row["run_id"], row["dataset"]][row["venue"]].append(row)
    found = []
    for (run_id, name), venues in groups.items():
        began, ended = _step(dagster, run_id, DATASETS[name].chain[0])
        for venue, (requests, weight, ceiling_s) in reached(venues, DATASETS[name]).items():
            rows = venues[venue]
            until = max(row["recorded_at"] for row in rows)
            wall_s = until.timestamp() - began if began else None
            found.append(
                Visit(
                    run_id, name, venue, until, sum(row["row_count"] for row in rows), requests, weight,
                    sum(row["waited_s"] for row in rows), wall_s, ceiling_s,
                    ended - began if began and ended else None, ceiling_s / wall_s if wall_s else None,
                )
            )  # fmt: skip
    return found


def own_work(client: Client, dagster: dg.DagsterInstance) -> Mapping[str, OwnWork]:
    """By dataset, of those that the last runs tell something of. Raises WarehouseDown, WarehouseRefused."""
    fetched_s: dict[tuple[str, str], float] = defaultdict(float)
    rows: dict[tuple[str, str], float] = defaultdict(float)
    whole_s: dict[tuple[str, str], float] = {}
    for visit in visits(client, dagster, RUNS_MEASURED):
        if visit.run_s and visit.wall_s:
            key = visit.dataset, visit.run_id
            fetched_s[key] = max(fetched_s[key], visit.wall_s)
            rows[key] += visit.rows
            whole_s[key] = visit.run_s
    return {
        name: slope([(rows[key], max(0.0, whole_s[key] - fetched_s[key])) for key in whole_s if key[0] == name])
        for name in {dataset for dataset, _ in whole_s}
    }


def slope(runs: Sequence[tuple[float, float]]) -> OwnWork:
    """What a run and a row take, of runs that had so many rows and took so many seconds after the fetching.

    The line that is nearest to all of them. Runs of about one size do not tell the two apart: then a row takes what is
    documented, and a run the rest.
    """
    sizes = [rows for rows, _ in runs]
    mean_rows, mean_s = sum(sizes) / len(runs), sum(s for _, s in runs) / len(runs)
    a_row = A_ROW_S
    if max(sizes) - min(sizes) >= ROWS_APART_MIN:
        spread = sum((rows - mean_rows) ** 2 for rows in sizes)
        a_row = max(0.0, sum((rows - mean_rows) * (s - mean_s) for rows, s in runs) / spread)
    return OwnWork(max(0.0, mean_s - a_row * mean_rows), a_row)


def _step(dagster: dg.DagsterInstance, run_id: str, asset: str) -> tuple[float | None, float | None]:
    """When a run's fetching began, and when the run ended."""
    if not dagster.has_run(run_id):
        return None, None
    steps = dagster.get_run_step_stats(run_id)
    began = next((s.start_time for s in steps if s.step_key == asset), None)
    ended = max((s.end_time for s in steps if s.end_time), default=None)
    return began, ended
