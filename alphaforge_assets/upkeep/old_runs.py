"""Runs that nobody will look at again: those of the live tail, deleted when they are old."""

import datetime as dt
import shutil
from pathlib import Path

import dagster as dg

from alphaforge_assets.upkeep.jobs import status
from alphaforge_assets.upkeep.tail import live_tail

# Enough to look into what went wrong; each is 140 kB of an SQLite instance, almost all of it an empty schema.
LIVE_RUNS_KEPT = dt.timedelta(days=2)
FORGET_EVERY_S = 1800
FORGET_MAX = 200  # a sensor has a minute; 360 runs come a day and it looks 48 times
ENDED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


def forget_live_runs(*, running: bool) -> dg.SensorDefinition:
    """Deletes old runs of `live_tail`: 360 come a day, and in an SQLite instance each has a database of its own."""

    @dg.sensor(
        name="forget_live_runs",
        minimum_interval_seconds=FORGET_EVERY_S,
        default_status=status(running),
        description=f"Deletes runs of live_tail that are older than {LIVE_RUNS_KEPT.days} days, with their events.",
    )
    def forget_live_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        deleted = forget(context.instance, dt.datetime.now(dt.UTC) - LIVE_RUNS_KEPT)
        return dg.SkipReason(f"{deleted} runs of live_tail were deleted")

    return forget_live_runs


def forget(instance: dg.DagsterInstance, before: dt.datetime) -> int:
    """Delete ended runs of `live_tail` created before a moment, with what they left on disk. Returns how many."""
    over = dg.RunsFilter(job_name=live_tail.name, statuses=list(ENDED), created_before=before)
    runs = instance.get_runs(over, limit=FORGET_MAX)
    for run in runs:
        instance.delete_run(run.run_id)
        # SQLite only: the run's own database and captured output stay behind, empty but not small.
        root = Path(instance.root_directory)
        for left in (root / "history" / "runs").glob(f"{run.run_id}.db*"):
            left.unlink(missing_ok=True)
        for folder in (root / "storage" / run.run_id, root / "logs" / run.run_id):
            shutil.rmtree(folder, ignore_errors=True)
    return len(runs)
