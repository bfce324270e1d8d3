"""Backfills from the command line: what is left of a range, as few runs as it takes, one failed instrument at a time.

Runs are Dagster's own, executed in this process and recorded in the instance of the home, so the UI shows them.
"""

import datetime as dt
import math
import threading
import time
import uuid
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import dagster as dg
from clickhouse_connect.driver.client import Client

from alphaforge_assets.datasets.dataset import Dataset
from alphaforge_assets.definitions import of_one_dataset
from alphaforge_assets.instance import executor_tag
from alphaforge_assets.partitions import Rectangle, partition_key, rectangles
from alphaforge_assets.pipeline import served
from alphaforge_assets.pipeline.choice import BEST
from alphaforge_assets.quality.coverage import judge
from alphaforge_assets.resources import exchanges_of
from alphaforge_assets.settings import Settings
from alphaforge_assets.universe import Instrument, Universe
from alphaforge_assets.upkeep.failed_runs import failed_instruments, left_of
from alphaforge_assets.upkeep.jobs import TRIGGER_TAG
from alphaforge_assets.upkeep.runs import PERSON_TAG, person
from alphaforge_assets.warehouse import statements
from alphaforge_assets.warehouse.windows import Window, unanswered

T = TypeVar("T")
# Of datasets that have files beside REST: what REST said and a file keeps from being published.
OUTRANKED = {"bars": "archives/bars_outranked", "price_bars": "archives/price_bars_outranked"}


@dataclass(frozen=True)
class Plan:
    """What a backfill will do: its runs, and the windows that will be asked for in them."""

    dataset: Dataset
    runs: tuple[Rectangle, ...]
    left: tuple[Window, ...]

    @property
    def seconds(self) -> float:
        """Length of the windows together."""
        return sum((w.end - w.start).total_seconds() for w in self.left)

    @property
    def rows(self) -> int:
        """Rows to expect if the venues have them all; the most there can be where there is no grid."""
        return sum(
            math.ceil((w.end - w.start) / dt.timedelta(days=1) * self.dataset.rows_a_day_max([w.interval]))
            for w in self.left
        )


@dataclass
class Outcome:
    """What a backfill did."""

    runs: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)  # instrument key -> why
    seconds: float = 0.0


def plan(
    client: Client,
    instance: dg.DagsterInstance,
    universe: Universe,
    dataset: Dataset,
    instruments: Sequence[Instrument],
    start: dt.date,
    end: dt.date,
    *,
    refetch: bool,
) -> Plan:
    """What is left of [start, end) × instruments: days that no complete batch answers, or that are not materialized.

    Raises WarehouseDown, WarehouseRefused.
    """
    whole, now = Rectangle(tuple(instruments), start, end), dt.datetime.now(dt.UTC)
    wanted = served.windows(dataset, whole, dataset.intervals(universe), now)
    keys_max, instruments = dataset.keys_per_run_max, _ordered(instruments, dataset.instruments(universe))
    if refetch:
        return Plan(
            dataset,
            tuple(rectangles(instruments, start, end, instruments, keys_max)),
            tuple(served.still(dataset, wanted, now)),
        )
    left = served.still(dataset, unanswered(client, dataset.name, wanted), now)
    done = instance.get_materialized_partitions(dg.AssetKey(dataset.name))
    days: dict[Instrument, set[dt.date]] = defaultdict(set)
    for window in left:
        days[window.instrument].update(_days(window))
    for instrument in instruments:
        keys = {
            start + dt.timedelta(days=n): partition_key(start + dt.timedelta(days=n), instrument)
            for n in range(whole.days)
        }
        days[instrument].update(day for day, key in keys.items() if key not in done)
    return Plan(dataset, tuple(_runs({i: days[i] for i in instruments}, keys_max)), tuple(left))


def execute(
    client: Client,
    instance: dg.DagsterInstance,
    universe: Universe,
    settings: Settings,
    dataset: Dataset,
    runs: Iterable[Rectangle],
    *,
    refetch: bool = False,
    wish: str = BEST,
    on_run: Callable[[str, Rectangle], None] = lambda run_id, covered: None,
) -> Outcome:
    """Execute runs one after the other. The sound instruments of a failed run are done again without the others.

    `wish` is the kind of sources to ask. Never raises for a failed run: its instruments and reasons are in the outcome.
    Ctrl-C leaves the run under way marked as canceled and its thread at work: end the process.
    """
    resources = {"warehouse": client, "exchanges": exchanges_of(settings), "universe": universe}
    outcome = Outcome()
    began = time.monotonic()
    waiting = list(runs)
    while waiting:
        covered = waiting.pop(0)
        run_id = str(uuid.uuid4())
        on_run(run_id, covered)
        work = partial(
            _job(dataset, universe, covered.instruments, resources).execute_in_process,
            instance=instance,
            run_id=run_id,
            asset_selection=[dg.AssetKey(name) for name in dataset.run_assets],
            tags=covered.tags() | executor_tag() | {TRIGGER_TAG: "cli", PERSON_TAG: person()},
            run_config={
                "ops": {dataset.chain[0]: {"config": {"refetch": refetch, "source": wish}}},
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            },
            raise_on_error=False,
        )
        try:
            result = _aside(work)
        except KeyboardInterrupt:
            if (run := instance.get_run_by_id(run_id)) and not run.is_finished:
                instance.report_run_canceled(run, "interrupted from the terminal")
            raise
        outcome.runs.append(run_id)
        if not result.success:
            bad = failed_instruments(result.all_events)
            outcome.failed |= bad
            if failed := tuple(
                i for i in covered.instruments if i.key in bad
            ):  # a run that fails ends before it judges
                judge(client, Rectangle(failed, covered.start, covered.end), dataset, universe)
            parts = left_of(covered, bad, dataset, covered.instruments)
            waiting = parts + waiting
            if not parts and not bad:
                outcome.failed[covered.instruments[0].key] = _reason(result)
    outcome.seconds = time.monotonic() - began
    return outcome


def outranked(client: Client, dataset: Dataset, covered: Rectangle, runs: Sequence[str]) -> list[dict[str, Any]]:
    """Bars that REST told in these runs and a verified file keeps from being published: venue, symbol, interval, source
    of what is published, first, last and rows. Of datasets without bars nothing.

    Raises WarehouseDown, WarehouseRefused.
    """
    if dataset.name not in OUTRANKED or not runs:
        return []
    return statements.rows(
        client,
        OUTRANKED[dataset.name],
        instruments=covered.instrument_ids,
        start=covered.start_time,
        end=covered.end_time,
        runs=list(runs),
    )


def _job(
    dataset: Dataset, universe: Universe, instruments: Sequence[Instrument], resources: Mapping[str, object]
) -> dg.JobDefinition:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        return of_one_dataset(dataset, universe, resources, instruments)


def _aside(work: Callable[[], T]) -> T:
    """`work()` in a thread of its own, so that Ctrl-C comes to us.

    Dagster, in the main thread, takes the signal itself, waits for the request under way and calls it a failed step.
    """
    done: Future[T] = Future()

    def body() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=body, name="run", daemon=True).start()
    return done.result()


def _reason(result: dg.ExecuteInProcessResult) -> str:
    for event in result.all_events:
        if event.is_step_failure:
            failure = event.step_failure_data
            if failure.user_failure_data and failure.user_failure_data.description:
                return failure.user_failure_data.description
            if failure.error:
                cause = failure.error.cause or failure.error
                return cause.message.strip()
        if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            if check.blocking and not check.passed:
                return f"check {check.check_name} on {check.asset_key.to_user_string()} found {check.description}"
    return "see the run in the Dagster UI"


def _ordered(chosen: Sequence[Instrument], order: Sequence[Instrument]) -> list[Instrument]:
    """As the partitions have them."""
    return [i for i in order if i in chosen]


def _runs(days: dict[Instrument, set[dt.date]], keys_max: int) -> list[Rectangle]:
    """Days by instrument -> rectangles: instruments with the same span of days share a run, neighbours or not."""
    spans: dict[tuple[dt.date, dt.date], list[Instrument]] = defaultdict(list)
    for instrument, its in days.items():
        for span in _spans(sorted(its)):
            spans[span].append(instrument)
    return [r for (start, end), its in sorted(spans.items()) for r in rectangles(its, start, end, its, keys_max)]


def _spans(days: Sequence[dt.date]) -> list[tuple[dt.date, dt.date]]:
    spans: list[tuple[dt.date, dt.date]] = []
    for day in days:
        after = day + dt.timedelta(days=1)
        if spans and spans[-1][1] == day:
            spans[-1] = (spans[-1][0], after)
        else:
            spans.append((day, after))
    return spans


def _days(window: Window) -> list[dt.date]:
    first, last = window.start.date(), (window.end - dt.timedelta(milliseconds=1)).date()
    return [first + dt.timedelta(days=n) for n in range((last - first).days + 1)]


def progress(client: Client, runs: Sequence[str]) -> dict[str, int]:
    """rows, requests, weight and answered_s of some runs so far."""
    (row,) = statements.rows(client, "reads/progress", runs=list(runs))
    return {k: int(v) for k, v in row.items()}
