"""What starts runs by itself: one failed instrument holds back no other of its run, and gaps are asked for again."""

import datetime as dt
import hashlib
from collections.abc import Iterator, Mapping

import dagster as dg
from clickhouse_connect.driver.client import Client
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from alphaforge_assets import healing
from alphaforge_assets.datasets import DATASETS, Dataset
from alphaforge_assets.partitions import RANGE_END_TAG, RANGE_START_TAG, Rectangle, rectangle_of_tags
from alphaforge_assets.universe import Universe

# Half the first pause between two attempts; looking costs a second.
HEAL_EVERY_S = 450


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
    return next((d for d in DATASETS.values() if selected and selected <= set(d.run_assets)), None)


def heal_gaps(jobs: Mapping[str, UnresolvedAssetJobDefinition]) -> dg.SensorDefinition:
    """Asks the venues again for gaps that nothing explains. `jobs` is by dataset."""
    judged = [d for d in DATASETS.values() if "coverage" in d.followed_by]

    @dg.sensor(
        name="heal_gaps",
        jobs=[jobs[d.name] for d in judged],
        minimum_interval_seconds=HEAL_EVERY_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Asks again for gaps that are ours or unexplained: with growing pauses, and not for ever.",
    )
    def heal_gaps(
        context: dg.SensorEvaluationContext,
        warehouse: dg.ResourceParam[Client],
        universe: dg.ResourceParam[Universe],
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        now = dt.datetime.now(dt.UTC)
        asked = 0
        for dataset in judged:
            healing.look(warehouse, dataset, universe, now)
            for part in healing.due(warehouse, dataset, universe, now):
                healing.note_attempt(warehouse, dataset, part, now)
                asked += 1
                yield _heal_request(dataset, part, jobs[dataset.name].name, now)
        if not asked:
            yield dg.SkipReason("no gap is due to be asked for again")

    return heal_gaps


def _heal_request(dataset: Dataset, part: Rectangle, job_name: str, now: dt.datetime) -> dg.RunRequest:
    identity = "|".join([dataset.name, *(i.key for i in part.instruments), str(part.start), str(part.end)])
    return dg.RunRequest(
        run_key=f"heal:{hashlib.sha256(identity.encode()).hexdigest()[:16]}:{now.isoformat()}",
        job_name=job_name,
        run_config={"ops": {dataset.chain[0]: {"config": {"refetch": True}}}},
        tags=part.tags() | {"alphaforge/trigger": "heal"},
    )
