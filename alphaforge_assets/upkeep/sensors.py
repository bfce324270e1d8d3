"""What starts runs by itself: days that close, gaps to ask for again, listings grown old, the rest of a failed run.

Only what Dagster must be told stands here; what is due is decided in closing.py and healing.py.
"""

import datetime as dt
import hashlib
import json
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

import dagster as dg
from clickhouse_connect.driver.client import Client
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from alphaforge_assets.datasets import DATASETS, Dataset
from alphaforge_assets.partitions import RANGE_END_TAG, RANGE_START_TAG, Rectangle, rectangle_of_tags, rectangles
from alphaforge_assets.universe import Universe
from alphaforge_assets.upkeep import day_close as closing
from alphaforge_assets.upkeep import healing
from alphaforge_assets.upkeep import tail as live
from alphaforge_assets.upkeep.runs import TRIGGER_TAG
from alphaforge_assets.warehouse import statements

# Half the first pause between two attempts; looking costs a second.
HEAL_EVERY_S = 450
# A day is closed within a minute of the first answer from after it; looking is one query of 10 ms.
CLOSE_EVERY_S = 60
LISTINGS_LOOK_EVERY_S = 300
LISTINGS_KEPT = dt.timedelta(days=1)
# Enough to look into what went wrong; each is 140 kB of an SQLite instance, almost all of it an empty schema.
LIVE_RUNS_KEPT = dt.timedelta(days=2)
FORGET_EVERY_S = 1800
FORGET_MAX = 200  # a sensor has a minute; 360 runs come a day and it looks 48 times
ENDED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


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


def left_of(covered: Rectangle, failed: Collection[str], dataset: Dataset, universe: Universe) -> list[Rectangle]:
    """What of a failed run should run again: all but the `failed` keys, or each by itself if none is named."""
    if not failed:
        return split(covered)
    sound = [i for i in covered.instruments if i.key not in failed]
    return rectangles(sound, covered.start, covered.end, dataset.instruments(universe), dataset.keys_per_run_max)


def split_failed_runs(universe: Universe, jobs: Mapping[str, UnresolvedAssetJobDefinition]) -> dg.SensorDefinition:
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
        covered = rectangle_of_tags(run.tags, dataset.instruments(universe))
        parts = left_of(covered, failed_instruments(context.get_step_failure_events()), dataset, universe)
        if not parts:
            yield dg.SkipReason("no sound instrument beside those that failed")
            return
        kept = {
            k: v
            for k, v in run.tags.items()
            if k not in (RANGE_START_TAG, RANGE_END_TAG) and not k.startswith(".dagster")
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


def heal_gaps(jobs: Mapping[str, UnresolvedAssetJobDefinition]) -> dg.SensorDefinition:
    """Asks the venues again for gaps that nothing explains. `jobs` is by dataset."""

    @dg.sensor(
        name="heal_gaps",
        jobs=list(jobs.values()),
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
        for dataset in DATASETS.values():
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
        tags=part.tags() | {TRIGGER_TAG: "heal"},
    )


def day_close(jobs: Mapping[str, UnresolvedAssetJobDefinition], *, running: bool) -> dg.SensorDefinition:
    """Materializes each day once it is over, and after a downtime all days since, in few runs. `jobs` is by dataset."""

    @dg.sensor(
        name="day_close",
        jobs=list(jobs.values()),
        minimum_interval_seconds=CLOSE_EVERY_S,
        default_status=_status(running),
        description="Materializes every dataset's partitions of a day once it has closed; catches up after downtime.",
    )
    def day_close(
        context: dg.SensorEvaluationContext,
        warehouse: dg.ResourceParam[Client],
        universe: dg.ResourceParam[Universe],
    ) -> dg.SensorResult | dg.SkipReason:
        now = dt.datetime.now(dt.UTC)
        cursor: dict[str, dict[str, str]] = json.loads(context.cursor or "{}")
        requests = []
        for dataset in DATASETS.values():
            closed = closing.closed_until(warehouse, dataset, universe, now)
            before = cursor.get(dataset.name, {})
            asked = {venue: dt.date.fromisoformat(day) for venue, day in before.items()}
            if dataset.only:  # its source may be late with a day: what was answered counts, not what was asked
                asked = _answered_until(warehouse, dataset)
            if all(asked.get(venue, dt.date.min) >= end for venue, end in closed.items()):
                continue
            done = context.instance.get_materialized_partitions(dg.AssetKey(dataset.name))
            parts = closing.days_to_close(dataset, universe, closed, asked, done)
            again = f":{now:%Y-%m-%dT%H}" if dataset.only else ""
            requests += [_close_request(dataset, part, jobs[dataset.name].name, again) for part in parts]
            cursor[dataset.name] = before | {
                venue: max(before.get(venue, ""), str(day)) for venue, day in closed.items()
            }
        if not requests:
            return dg.SensorResult(skip_reason="no day has closed since", cursor=json.dumps(cursor))
        return dg.SensorResult(run_requests=requests, cursor=json.dumps(cursor))

    return day_close


def _answered_until(client: Client, dataset: Dataset) -> dict[str, dt.date]:
    found = statements.rows(client, "reads/answered_until", dataset=dataset.name)
    return {row["venue"]: row["answered_until"].date() for row in found}


def _close_request(dataset: Dataset, part: Rectangle, job_name: str, again: str) -> dg.RunRequest:
    tags = part.tags()
    return dg.RunRequest(
        run_key=f"day_close:{dataset.name}:{tags[RANGE_START_TAG]}..{tags[RANGE_END_TAG]}{again}",
        job_name=job_name,
        tags=tags | {TRIGGER_TAG: "day_close"},
    )


def keep_listings(job: UnresolvedAssetJobDefinition, *, running: bool) -> dg.SensorDefinition:
    """Asks the venues for their clocks and listings once a day, and at once where that never happened."""

    @dg.sensor(
        name="keep_listings",
        job=job,
        minimum_interval_seconds=LISTINGS_LOOK_EVERY_S,
        default_status=_status(running),
        description="Refreshes venues and instruments when what is known of one is a day old; hourly while one fails.",
    )
    def keep_listings(
        context: dg.SensorEvaluationContext,
        warehouse: dg.ResourceParam[Client],
        universe: dg.ResourceParam[Universe],
    ) -> dg.RunRequest | dg.SkipReason:
        now = dt.datetime.now(dt.UTC)
        seen = {row["venue"]: row["observed_at"] for row in statements.rows(warehouse, "reads/venues_observed")}
        old = [v for v in universe.venues if v not in seen or now - seen[v] >= LISTINGS_KEPT]
        if not old:
            return dg.SkipReason("all venues were asked within a day")
        return dg.RunRequest(run_key=f"listings:{now:%Y-%m-%dT%H}", tags={TRIGGER_TAG: "keep_listings"})

    return keep_listings


def forget_live_runs(*, running: bool) -> dg.SensorDefinition:
    """Deletes old runs of `live_tail`: 360 come a day, and in an SQLite instance each has a database of its own."""

    @dg.sensor(
        name="forget_live_runs",
        minimum_interval_seconds=FORGET_EVERY_S,
        default_status=_status(running),
        description=f"Deletes runs of live_tail that are older than {LIVE_RUNS_KEPT.days} days, with their events.",
    )
    def forget_live_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        deleted = forget(context.instance, dt.datetime.now(dt.UTC) - LIVE_RUNS_KEPT)
        return dg.SkipReason(f"{deleted} runs of live_tail were deleted")

    return forget_live_runs


def forget(instance: dg.DagsterInstance, before: dt.datetime) -> int:
    """Delete ended runs of `live_tail` created before a moment, with what they left on disk. Returns how many."""
    over = dg.RunsFilter(job_name=live.live_tail.name, statuses=list(ENDED), created_before=before)
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


def _status(running: bool) -> dg.DefaultSensorStatus:
    return dg.DefaultSensorStatus.RUNNING if running else dg.DefaultSensorStatus.STOPPED
