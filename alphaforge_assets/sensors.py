"""What reacts to runs: for now, one failed instrument must not keep the others of its run from being published."""

from collections.abc import Iterator

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from alphaforge_assets.partitions import RANGE_END_TAG, RANGE_START_TAG, Rectangle, rectangle_of_tags
from alphaforge_assets.universe import Universe


def split(covered: Rectangle) -> list[Rectangle]:
    """A rectangle, one instrument at a time; nothing if it holds only one, so that splitting ends."""
    if len(covered.instruments) == 1:
        return []
    return [Rectangle((instrument,), covered.start, covered.end) for instrument in covered.instruments]


def split_failed_runs(universe: Universe, chain: UnresolvedAssetJobDefinition) -> dg.SensorDefinition:
    """Tries a failed run over several instruments again, one instrument a run.

    Dagster skips everything downstream of a failed step for all of its partitions. What landed is not fetched again, so
    the sound instruments flow on at the price of a run's start, and the bad one fails alone under its own name.
    """

    @dg.run_failure_sensor(
        name="split_failed_runs",
        default_status=dg.DefaultSensorStatus.RUNNING,
        request_job=chain,
        description="Runs a failed range again one instrument at a time: one bad instrument holds back no other.",
    )
    def split_failed_runs(context: dg.RunFailureSensorContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        run = context.dagster_run
        if RANGE_START_TAG not in run.tags or not run.asset_selection:
            yield dg.SkipReason("not a range of partitions")
            return
        parts = split(rectangle_of_tags(run.tags, universe))
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
                asset_selection=sorted(run.asset_selection),
                run_config=run.run_config,
                tags=kept | part.tags(),
            )

    return split_failed_runs
