"""The audit: one row in `runs` for every execution, however it was started and however it ended.

Rows are derived afterwards from what Dagster, the ledger and the tables say, so that a run that was killed has its row
like any other. Whoever looks (the sensor, the command line) records all finished runs that are not on record yet, the
oldest first; nobody has to be told of a run, and a warehouse that was down misses none.
"""

import datetime as dt
import hashlib
import importlib.metadata
import json
import os
import pwd
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dagster as dg
import pyarrow as pa
from clickhouse_connect.driver.client import Client

from alphaforge_assets.catalog import described
from alphaforge_assets.datasets.dataset import Dataset
from alphaforge_assets.datasets.registry import DATASETS
from alphaforge_assets.instance import reap
from alphaforge_assets.partitions import RANGE_END_TAG, RANGE_START_TAG, Rectangle, rectangle_of_tags
from alphaforge_assets.settings import Settings, settings_from_environment
from alphaforge_assets.universe import Universe
from alphaforge_assets.upkeep.jobs import TRIGGER_TAG, assets_of
from alphaforge_assets.warehouse import statements

PERSON_TAG = "user"  # Dagster's own name for it
LIVE_TAIL = "live_tail"  # the job whose runs select no assets, and cover what they asked for
RECORD_EVERY_S = 30
PAGE = 200
ERROR_LENGTH_MAX = 2_000
GIT_S_MAX = 5.0
_PACKAGE = Path(__file__).resolve().parents[1]
_OUTCOMES = {
    dg.DagsterRunStatus.SUCCESS: "success",
    dg.DagsterRunStatus.FAILURE: "failure",
    dg.DagsterRunStatus.CANCELED: "canceled",
}


def record_finished(client: Client, instance: dg.DagsterInstance, universe: Universe, settings: Settings) -> list[str]:
    """Write the rows of all finished runs that have none yet. Returns their ids, in the order they ended.

    Raises WarehouseDown, WarehouseRefused.
    """
    waiting = sorted(_unrecorded(client, instance), key=lambda r: (r.end_time or 0, r.dagster_run.run_id))
    for record in waiting:
        _append(client, _row(client, instance, record, universe, settings))
    return [r.dagster_run.run_id for r in waiting]


def record_command(client: Client, settings: Settings, job: str, started_at: dt.datetime, error: str = "") -> None:
    """Write the row of a command that is no run of Dagster and has just ended. Raises WarehouseDown, WarehouseRefused.

    What it asked for stands in no ledger, so its figures are zero.
    """
    outcome = "failure" if error else "success"
    row = _identity(settings, {}) | _times(started_at, dt.datetime.now(dt.UTC))
    words = {"trigger": "cli", "started_by": person(), "job": job, "outcome": outcome, "error": error}
    _append(client, {"run_id": str(uuid.uuid4()), **words, "error": error[:ERROR_LENGTH_MAX]} | row)


def person() -> str:
    """The name of this process's user by the password file, or the number where it has none."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


@cache
def code_version() -> str:
    """`0.1.0`, or `0.1.0+g78970ad1c2f3` in a checkout of git."""
    version = importlib.metadata.version("alphaforge-assets")
    if not (_PACKAGE.parent / ".git").exists():
        return version
    command = ["git", "-C", str(_PACKAGE.parent), "rev-parse", "--short=12", "HEAD"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=GIT_S_MAX, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return version  # no git on this machine: the hash of the files says what runs
    return f"{version}+g{said.strip()}"


@cache
def code_hash() -> str:
    """SHA-256 of every file of the package and of sql/ that can change what a run does."""
    digest = hashlib.sha256()
    for root, suffixes in ((_PACKAGE, (".py", ".yaml", ".html", ".css", ".js")), (statements.SQL, (".sql",))):
        for file in sorted(f for f in root.rglob("*") if f.suffix in suffixes and f.is_file()):
            digest.update(f"{file.relative_to(root)}\0".encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def config_hash(settings: Settings, run_config: Mapping[str, Any]) -> str:
    """SHA-256 of the universe, where the data comes from and goes to (passwords left out), and the run's own config."""
    server = urlsplit(settings.clickhouse_url or "")
    config = {
        "universe": hashlib.sha256(settings.universe_file.read_bytes()).hexdigest(),
        "venues": settings.venues_url or "live",
        "warehouse": f"{server.hostname}:{server.port}{server.path}" if settings.clickhouse_url else "embedded",
        "keys": sorted(settings.keys),
        "run": run_config,
    }
    return hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode()).hexdigest()


def specs() -> list[dg.AssetSpec]:
    """The audit, and the views over it and over the ledger, shown in the lineage."""
    return [
        dg.AssetSpec("runs", deps=["ingest_batches"], **described("runs")),
        dg.AssetSpec("v_runs", deps=["runs"], **described("v_runs")),
        dg.AssetSpec("v_ingest_batches", deps=["ingest_batches"], **described("v_ingest_batches")),
    ]


@dg.sensor(
    name="record_runs",
    minimum_interval_seconds=RECORD_EVERY_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Gives every finished run its row in the audit, and ends on paper those that were killed.",
)
def record_runs(
    context: dg.SensorEvaluationContext, warehouse: dg.ResourceParam[Client], universe: dg.ResourceParam[Universe]
) -> dg.SkipReason:
    """Looks at Dagster's own record, not at events as they pass: a sensor of events forgets what fails under it.

    Ends first what nobody executes any more, which a command that was killed cannot do itself.
    """
    reap(context.instance)
    recorded = record_finished(warehouse, context.instance, universe, settings_from_environment())
    return dg.SkipReason(f"recorded {len(recorded)} runs" if recorded else "every finished run is on record")


def _unrecorded(client: Client, instance: dg.DagsterInstance) -> list[dg.RunRecord]:
    """Finished runs without a row. Everybody records all of them, so behind a whole page on record there is none."""
    found: dict[str, dg.RunRecord] = {}
    before = None
    while True:
        wanted = dg.RunsFilter(statuses=list(_OUTCOMES), updated_before=before)
        page = instance.get_run_records(wanted, limit=PAGE, order_by="update_timestamp")
        ids = [r.dagster_run.run_id for r in page]
        known = {r["run_id"] for r in statements.rows(client, "reads/runs_on_record", runs=ids)} if ids else set()
        found |= {r.dagster_run.run_id: r for r in page if r.dagster_run.run_id not in known}
        if len(page) < PAGE or len(known) == len(ids):
            return list(found.values())
        before = page[-1].update_timestamp


def _row(
    client: Client, instance: dg.DagsterInstance, record: dg.RunRecord, universe: Universe, settings: Settings
) -> dict[str, Any]:
    run = record.dagster_run
    started, ended = record.start_time or record.create_timestamp.timestamp(), record.end_time
    times = _times(_moment(started), _moment(ended or record.update_timestamp.timestamp()))
    assets = assets_of(run)
    datasets = [d for d in DATASETS.values() if set(d.chain) & set(assets)]
    covered = _covered(run.tags, datasets, universe)
    (asked,) = statements.rows(client, "reads/run_asked", run=run.run_id)
    days, named = (asked.pop("asked_from"), asked.pop("asked_until")), asked.pop("asked_datasets")
    if run.job_name == LIVE_TAIL and asked["windows"]:  # what it covered is what it asked for
        datasets, covered = [DATASETS[name] for name in sorted(named)], _asked_for(days, universe)
    row = _identity(settings, run.run_config) | times | asked | _trigger(run.tags)
    row |= {
        "run_id": run.run_id,
        "parent_run_id": run.parent_run_id or "",
        "job": run.job_name if not run.job_name.startswith("__") else ", ".join([d.name for d in datasets] or assets),
        "assets": assets,
        "datasets": [d.name for d in datasets],
        "outcome": _OUTCOMES[run.status],
        "error": "" if run.is_success else _error(instance, run.run_id)[:ERROR_LENGTH_MAX],
    }
    if covered is None:
        return row
    row |= {"rows_out": 0, "rows_rejected": 0, "day_from": covered.start, "day_until": covered.end}
    row |= {"instrument_ids": covered.instrument_ids, "instruments": [i.key for i in covered.instruments]}
    bounds = {"instruments": covered.instrument_ids, "start": covered.start_time, "end": covered.end_time}
    span = {"started_at": times["started_at"], "ended_at": times["ended_at"]}
    for dataset in datasets:
        (came,) = statements.rows(client, "reads/run_published", run=run.run_id, **dataset.tables, **bounds, **span)
        row["rows_out"] += came["rows_out"]
        row["rows_rejected"] += came["rows_rejected"]
    return row


def _covered(tags: Mapping[str, str], datasets: Sequence[Dataset], universe: Universe) -> Rectangle | None:
    """What a run covered by its tags; None if it has no partitions of a dataset, or they left the universe since."""
    if RANGE_START_TAG not in tags and (one := tags.get("dagster/partition")):
        tags = {RANGE_START_TAG: one, RANGE_END_TAG: one}
    if RANGE_START_TAG not in tags or not datasets:
        return None
    try:
        return rectangle_of_tags(tags, datasets[0].instruments(universe))
    except ValueError:
        return None


def _asked_for(days: tuple[dt.datetime, dt.datetime], universe: Universe) -> Rectangle:
    """All instruments on the days of a span of time: what a run without partitions may have published."""
    last = (days[1] - dt.timedelta(milliseconds=1)).date()
    return Rectangle(universe.instruments, days[0].date(), last + dt.timedelta(days=1))


def _trigger(tags: Mapping[str, str]) -> dict[str, str]:
    """Who or what started a run, by its tags. A word of ours says more than the kind of sensor that carried it."""
    automatic = {"schedule": "dagster/schedule_name", "sensor": "dagster/sensor_name"}
    kind = next((k for k, tag in automatic.items() if tag in tags), None)
    if kind is None:
        kind = "automation" if "dagster/from_automation_condition" in tags else "ui"
    by = (tags.get(t) for t in (PERSON_TAG, *automatic.values(), "dagster/backfill"))
    return {"trigger": tags.get(TRIGGER_TAG, kind), "started_by": next((who for who in by if who), "")}


def _error(instance: dg.DagsterInstance, run_id: str) -> str:
    """Why a run ended badly: the first step that failed in its own words, else what Dagster says of the run."""
    kinds = (dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_CANCELED)
    for kind in kinds:
        for record in instance.get_records_for_run(run_id, of_type=kind, limit=1).records:
            event = record.event_log_entry.dagster_event
            if event is None:
                continue
            if kind is not dg.DagsterEventType.STEP_FAILURE:
                return event.message or kind.value
            failure = event.step_failure_data
            if failure.user_failure_data and failure.user_failure_data.description:
                return failure.user_failure_data.description
            if failure.error:
                return (failure.error.cause or failure.error).message.strip()
    return "no reason on record"


def _identity(settings: Settings, run_config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "code_version": code_version(),
        "code_hash": code_hash(),
        "config_hash": config_hash(settings, run_config),
        "recorded_at": dt.datetime.now(dt.UTC),
    }


def _times(started_at: dt.datetime, ended_at: dt.datetime) -> dict[str, Any]:
    duration = max(0.0, (ended_at - started_at).total_seconds())
    return {"started_at": started_at, "ended_at": ended_at, "duration_s": round(duration, 3)}


def _moment(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


def _append(client: Client, row: Mapping[str, Any]) -> None:
    """The token is the run, not the content: of two that record one run at once, the second adds nothing."""
    nothing: dict[str, Any] = {
        f.name: [] if pa.types.is_list(f.type) else "" if pa.types.is_string(f.type) else 0 for f in _RUNS
    }
    whole = nothing | {"day_from": None, "day_until": None} | dict(row)
    statements.insert(client, "runs", pa.Table.from_pylist([whole], _RUNS), f"run:{whole['run_id']}")


_RUNS = pa.schema(
    [
        *((name, pa.string()) for name in ("run_id", "trigger", "started_by", "parent_run_id", "job")),
        *((name, pa.list_(pa.string())) for name in ("assets", "datasets", "instruments")),
        ("instrument_ids", pa.list_(pa.uint32())),
        *((name, pa.date32()) for name in ("day_from", "day_until")),
        *((name, pa.uint32()) for name in ("windows", "windows_failed")),
        *((name, pa.uint64()) for name in ("rows_in", "rows_out", "rows_rejected", "requests", "weight", "retries")),
        *((name, pa.string()) for name in ("code_version", "code_hash", "config_hash", "outcome", "error")),
        *((name, pa.timestamp("ms", "UTC")) for name in ("started_at", "ended_at", "recorded_at")),
        *((name, pa.float64()) for name in ("waited_s", "duration_s")),
    ]
)
