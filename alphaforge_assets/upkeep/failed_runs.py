"""Runs that failed: what of them runs again without the instruments that failed, and the sensor that asks for it."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import dagster as dg

from alphaforge_assets.datasets.dataset import Dataset
from alphaforge_assets.datasets.registry import DATASETS
from alphaforge_assets.instance import EXECUTOR_TAG
from alphaforge_assets.partitions import RANGE_END_TAG, RANGE_START_TAG, Rectangle, rectangle_of_tags, rectangles
from alphaforge_assets.universe import Instrument, Universe
from alphaforge_assets.upkeep.jobs import AssetJob


def split(covered: Rectangle) -> list[Rectangle]:
    """A rectangle, one instrument at a time; nothing if it holds only one, so that splitting ends."""
    if len(covered.instruments) == 1:
        return []
    return [Rectangle((instrument,), covered.start, covered.end) for instrument in covered.instruments]


def failed_instruments(events: Iterable[dg.DagsterEvent]) -> dict[str, str]:
    """Instrument key -> why, where a run failed for want of some instruments' data."""
    for event in events:
        if event.is_step_failure and (failure := event.step_failure_data.user_failure_data):
            named = failure.metadata.get("failed_instruments")
            if named is not None and isinstance(named.value, dict):
                return named.value
    return {}


def left_of(
    covered: Rectangle, failed: Collection[str], dataset: Dataset, order: Sequence[Instrument]
) -> list[Rectangle]:
    """What of a failed run should run again: all but the `failed` keys, or each by itself if none is named.

    `order` is that of the partitions of the graph that will run it; what is not in it is not run.
    """
    if not failed:
        return split(covered)
    sound = [i for i in covered.instruments if i.key not in failed]
    return rectangles(sound, covered.start, covered.end, order, dataset.keys_per_run_max)


def split_failed_runs(universe: Universe, jobs: Mapping[str, AssetJob]) -> dg.SensorDefinition:
    """Takes the sound instruments of a failed run through the rest of the chain. `jobs` is by dataset.

    Dagster skips everything downstream of a failed step for all of its partitions. What landed is not fetched again, so
    the sound instruments flow on at the price of a run's start; the others are in the ledger as failed, and healing
    asks for them again. A failure that names nobody is tried again one instrument a run.
    """

    @dg.run_failure_sensor(
        name="split_failed_runs",
        default_status=dg.DefaultSensorStatus.RUNNING,
        request_jobs=list(jobs.values()),
        description="Runs a failed range again without the instruments that failed: one bad one holds back no other.",
    )
    def split_failed_runs(context: dg.RunFailureSensorContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        run = context.dagster_run
        dataset = _dataset_of(run)
        if RANGE_START_TAG not in run.tags or dataset is None:
            yield dg.SkipReason("not a range of partitions of a dataset")
            return
        order = dataset.instruments(universe)
        try:
            covered = rectangle_of_tags(run.tags, order)
        except ValueError:
            yield dg.SkipReason("an end of its range has left the universe, and the run named no instruments")
            return
        parts = left_of(covered, failed_instruments(context.get_step_failure_events()), dataset, order)
        if not parts:
            yield dg.SkipReason("no sound instrument beside those that failed")
            return
        kept = {
            k: v
            for k, v in run.tags.items()
            if k not in (RANGE_START_TAG, RANGE_END_TAG, EXECUTOR_TAG) and not k.startswith(".dagster")
        }
        for part in parts:
            yield dg.RunRequest(
                run_key=f"{run.run_id}:{part.instruments[0].key}:{part.start}",
                job_name=jobs[dataset.name].name,
                asset_selection=sorted(run.asset_selection or ()),
                run_config=run.run_config,
                tags=kept | part.tags(),
            )

    return split_failed_runs


def _dataset_of(run: dg.DagsterRun) -> Dataset | None:
    """The dataset whose chain a run materializes; None if it does not stay within one."""
    selected = {key.to_user_string() for key in run.asset_selection or ()}
    return next((d for d in DATASETS.values() if selected and selected <= set(d.run_assets)), None)
