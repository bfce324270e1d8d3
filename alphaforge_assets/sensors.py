"""What reacts to runs: for now, one failed instrument must not keep the others of its run from being published."""

from collections.abc import Iterator, Mapping

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from alphaforge_assets.datasets import DATASETS, Dataset
from alphaforge_assets.partitions import RANGE_END_TAG, RANGE_START_TAG, Rectangle, rectangle_of_tags
from alphaforge_assets.universe import Universe


def split(covered: Rectangle) -> list[Rectangle]:
    """A rectangle, one instrument at a time; nothing if it holds only one, so that splitting ends."""
    if len(covered.instruments) == 1:
        return []
    return [Rectangle((instrument,), covered.start, covered.end) for instrument in covered.instruments]


def split_failed_runs(universe: Universe, jobs: Mapping[str, UnresolvedAssetJobDefinition]) -> dg.SensorDefinition:
    """Tries a failed run over several instruments again, one instrument a run. `jobs` is by dataset.

    Dagster skips everything downstream of a failed step for all of its partitions. What landed is not fetched again, so
    the sound instruments flow on at the price of a run's start, and the bad one fails alone under its own name.
    """

    @dg.run_failure_sensor(
        name="split_failed_runs",
        default_status=dg.DefaultSensorStatus.RUNNING,
        request_jobs=list(jobs.values()),
        description="Runs a failed range again one instrument at a time: one bad instrument holds back no other.",
    )
    def split_failed_runs(context: dg.RunFailureSensorContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        run = context.dagster_run
        dataset = _dataset_of(run)
        if RANGE_START_TAG not in run.tags or dataset is None:
            yield dg.SkipReason("not a range of partitions of a dataset")
            return
        parts = split(rectangle_of_tags(run.tags, dataset.instruments(universe)))
        if not parts:
            yield dg.SkipReason("one instrument only: nothing to split")
            return
        kept = {
            k: v
            for k, v in run.tags.items()
            if k not in (RANGE_START_TAG, RANGE_END_TAG) and not k.startswith(".dagster")
        }
        for part in parts:
            yield dg.RunRequest(
                run_key=f"{run.run_id}:{part.instruments[0].key}",
                job_name=jobs[dataset.name].name,
                asset_selection=sorted(run.asset_selection or ()),
                run_config=run.run_config,
                tags=kept | part.tags(),
            )

    return split_failed_runs


def _dataset_of(run: dg.DagsterRun) -> Dataset | None:
    """The dataset whose chain a run materializes; None if it does not stay within one."""
    selected = {key.to_user_string() for key in run.asset_selection or ()}
    return next((d for d in DATASETS.values() if selected and selected <= set(d.chain)), None)
