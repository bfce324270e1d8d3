"""What is run, small as our own graph but of its shape, and everything that is asked of a log afterwards."""

import os
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.dagster_run import RunsFilter
from dagster._core.storage.event_log.base import AssetRecordsFilter, EventLogStorage, EventRecordsFilter
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from alphaforge_assets.event_log.shards import give_back
from alphaforge_assets.event_log.storage import (
    BATCH_SIZE,
)
from alphaforge_assets.event_log.texts import read_unpacked

ROOT = Path(__file__).parents[2]
STOCK, OURS = "stock", "ours"
CLASSES = {
    STOCK: {"module": "dagster._core.storage.event_log", "class": "SqliteEventLogStorage"},
    OURS: {"module": "alphaforge_assets.event_log.storage", "class": "BatchedSqliteEventLogStorage"},
}
CHILD_S_MAX = 120
PROC_FILES = Path("/proc/self/fd")
UUID = re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")

# ---- What is run: the shape of our own graph, small.

DAYS = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-02-01")
PARTS = dg.MultiPartitionsDefinition({"date": DAYS, "instrument": dg.StaticPartitionsDefinition(["A", "B"])})
SINGLE = dg.BackfillPolicy.single_run()
PARTITIONED: dict[str, Any] = {"partitions_def": PARTS, "backfill_policy": SINGLE, "code_version": "1"}


@dg.asset(**PARTITIONED)
def landed(context: dg.AssetExecutionContext) -> None:
    """Observes each key by itself, among the events of its step."""
    for key in context.partition_keys:
        context.log_event(dg.AssetObservation("landed", partition=key, metadata={"rows": 3}))


@dg.asset(deps=[landed], **PARTITIONED)
def staged(context: dg.AssetExecutionContext) -> None:
    """Fails on demand, and keeps the good keys, as ours do."""
    if "fail" in context.run.tags:
        context.log_event(dg.AssetMaterialization("staged", partition=context.partition_keys[0]))
        raise dg.Failure("bad keys", metadata={"keys": context.partition_keys[1:]})


@dg.asset(deps=[staged], check_specs=[dg.AssetCheckSpec("inner", asset="served")], **PARTITIONED)
def served() -> dg.MaterializeResult:
    """Brings the result of a check along."""
    return dg.MaterializeResult(
        metadata={"rows": 1}, check_results=[dg.AssetCheckResult(check_name="inner", passed=True)]
    )


@dg.asset(code_version="1")
def dimension() -> dg.MaterializeResult:
    """Without partitions."""
    return dg.MaterializeResult(data_version=dg.DataVersion("7"), tags={"kind": "dimension"})


@dg.asset_check(asset=staged, blocking=True)
def blocking() -> dg.AssetCheckResult:
    """Passes."""
    return dg.AssetCheckResult(passed=True, metadata={"seen": 1})


@dg.asset_check(asset=served)
def warned() -> dg.AssetCheckResult:
    """Does not pass, and blocks nothing."""
    return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN)


@dg.observable_source_asset(partitions_def=DAYS)
def venue(context: dg.AssetExecutionContext) -> dg.DataVersionsByPartition:
    """Observed, many partitions at once."""
    return dg.DataVersionsByPartition({f"2024-01-{day:02}": str(day) for day in range(1, 8)})


KEYS = [dg.AssetKey(name) for name in ("landed", "staged", "served", "dimension", "venue", "told", "never")]
CHECKS = [
    dg.AssetCheckKey(dg.AssetKey("staged"), "blocking"),
    dg.AssetCheckKey(dg.AssetKey("served"), "warned"),
    dg.AssetCheckKey(dg.AssetKey("served"), "inner"),
    dg.AssetCheckKey(dg.AssetKey("told"), "outside"),
]
CHAIN = dg.AssetSelection.assets(landed, staged, served)
DEFINITIONS = dg.Definitions(
    assets=[landed, staged, served, dimension, venue],
    asset_checks=[blocking, warned],
    jobs=[
        dg.define_asset_job("chain", CHAIN),
        dg.define_asset_job("dimensions", [dimension]),
        dg.define_asset_job("observations", [venue]),
    ],
    executor=dg.in_process_executor,
    loggers={},
)


def hurry(conn: sqlite3.Connection, _record: object) -> None:
    """No waiting for the disk: nothing here is about the loss of power."""
    conn.execute("PRAGMA synchronous=OFF")


@contextmanager
def opened(folder: Path, storage: str) -> Iterator[dg.DagsterInstance]:
    """An instance on disk with either event log; events come in batches if it is ours."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(BATCH_SIZE, "")
        patch.delenv(BATCH_SIZE)
        overrides: Any = {
            "event_log_storage": CLASSES[storage] | {"config": {"base_dir": str(folder / "history" / "runs")}},
            "telemetry": {"enabled": False},
        }
        folder.mkdir(exist_ok=True)
        with dg.DagsterInstance.local_temp(str(folder), overrides=overrides) as instance:
            assert (BATCH_SIZE in os.environ) == (storage == OURS)
            yield instance
        assert files_open(folder / "history" / "runs") == set()


def materialize(instance: dg.DagsterInstance, first: str, last: str, **tags: str) -> dg.ExecuteInProcessResult:
    """One run of the chain over the rectangle of keys from first to last."""
    between = {ASSET_PARTITION_RANGE_START_TAG: first, ASSET_PARTITION_RANGE_END_TAG: last}
    job = DEFINITIONS.resolve_job_def("chain")
    return job.execute_in_process(instance=instance, tags=between | tags, raise_on_error=False)


def backfill(instance: dg.DagsterInstance) -> None:
    """A range, a failing one over part of it, and the rest."""
    assert materialize(instance, "2024-01-03|A", "2024-01-06|B", **{"dagster/backfill": "once"}).success
    assert not materialize(instance, "2024-01-05|A", "2024-01-08|B", fail="yes").success
    assert materialize(instance, "2024-01-08|A", "2024-01-08|B").success


def everything(instance: dg.DagsterInstance) -> None:
    """All that changes an event log: runs, observations, events without a run, wiped assets, deleted runs."""
    backfill(instance)
    for job in ("dimensions", "observations"):
        assert DEFINITIONS.resolve_job_def(job).execute_in_process(instance=instance).success
    for event in (
        dg.AssetMaterialization("told", metadata={"n": 1}, tags={"dagster/data_version": "9"}),
        dg.AssetObservation("told"),
        dg.AssetCheckEvaluation(check_name="outside", asset_key=dg.AssetKey("told"), passed=True),
    ):
        instance.report_runless_asset_event(event)
    instance.add_dynamic_partitions("instruments", ["x", "y", "z"])
    instance.delete_dynamic_partition("instruments", "y")


def removals(instance: dg.DagsterInstance) -> None:
    """What takes events away again, and a run after it."""
    instance.wipe_assets([dg.AssetKey("staged")])
    instance.delete_run(instance.get_runs(RunsFilter(tags={"dagster/backfill": "once"}))[0].run_id)
    assert materialize(instance, "2024-01-02|A", "2024-01-03|A").success


def given_back(folder: Path) -> None:
    """The instance in the form that the stock storage reads."""
    assert list(give_back(folder / "history" / "runs"))


def files_open(folder: Path) -> set[str]:
    """Files below a folder that this process has open; none where there is no /proc."""
    if not PROC_FILES.exists():
        return set()
    links = [os.readlink(path) for path in PROC_FILES.iterdir() if path.is_symlink()]
    return {link for link in links if link.startswith(str(folder))}


# ---- What is asked.


def answers(instance: dg.DagsterInstance) -> dict[str, Any]:
    """Everything that the UI and the daemon ask an event log."""
    log = instance.event_log_storage
    runs = [run.run_id for run in reversed(instance.get_runs())]
    # First, for this keeps what it found among the asset's records.
    asked: dict[str, Any] = {
        f"partition status of {asset.key}": get_and_update_asset_status_cache_value(instance, asset.key, PARTS)
        for asset in (landed, staged, served)
    }
    asked |= {
        "asset keys": log.all_asset_keys(),
        "asset keys, a page": log.get_asset_keys(limit=2),
        "records": log.get_asset_records(KEYS),
        "latest materializations": log.get_latest_materialization_events(KEYS),
        "check summaries": log.get_asset_check_summary_records(CHECKS),
        "latest checks": log.get_latest_asset_check_execution_by_key(CHECKS),
        "check partitions": [log.get_asset_check_partition_info([key]) for key in CHECKS],
        "freshness": log.get_freshness_state_records(KEYS),
        "last id": log.get_maximum_record_id(),
        "all runs' events": log.get_logs_for_all_runs_by_log_id(),
        "dynamic partitions": log.get_dynamic_partitions("instruments"),
        "dynamic partitions, a page": log.get_paginated_dynamic_partitions("instruments", limit=1, ascending=True),
        "pools": (log.get_pool_limits(), log.get_concurrency_keys(), log.supports_global_concurrency_limits),
        "schema": (log.alembic_version(), log.can_read_asset_status_cache(), log.supports_asset_checks),
    }
    for key in KEYS:
        asked |= {f"{question} of {key.to_user_string()}": answer for question, answer in of_asset(log, key)}
    for key in CHECKS:
        asked[f"history of {key.to_user_string()}"] = log.get_asset_check_execution_history(key, limit=20)
    for kind in (dg.DagsterEventType.RUN_SUCCESS, dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_START):
        asked[f"{kind}"] = log.fetch_run_status_changes(kind, limit=50)
    for number, run_id in enumerate([*runs, ""]):
        asked |= {f"{question} of run {number}": answer for question, answer in of_run(log, run_id)}
    return asked


def of_asset(log: EventLogStorage, key: dg.AssetKey) -> Iterator[tuple[str, Any]]:
    """What the pages of an asset ask."""
    kinds = (
        dg.DagsterEventType.ASSET_MATERIALIZATION,
        dg.DagsterEventType.ASSET_OBSERVATION,
        dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
    )
    some = ["2024-01-05|A", "2024-01-08|B", "2024-01-02"]
    yield "known", log.has_asset_key(key)
    yield "materializations", log.fetch_materializations(key, limit=1000)
    yield "oldest", log.fetch_materializations(key, limit=3, ascending=True)
    yield "of partitions", log.fetch_materializations(AssetRecordsFilter(key, asset_partitions=some), limit=100)
    yield "after", log.fetch_materializations(AssetRecordsFilter(key, after_storage_id=40), limit=5, ascending=True)
    yield "observations", log.fetch_observations(key, limit=1000)
    for kind in kinds:
        yield f"{kind}", log.get_event_records(EventRecordsFilter(kind, asset_key=key), limit=1000)
        yield f"{kind} in short", log.get_asset_event_summary_records(kind, asset_key=key)
        yield f"{kind} ids", log.get_latest_storage_id_by_partition(key, kind)
        yield f"{kind} tags", log.get_latest_tags_by_partition(key, kind, ["dagster/data_version"])
    yield "tags", log.get_event_tags_for_asset(key)
    yield "tags with", log.get_event_tags_for_asset(key, filter_tags={"dagster/partition/instrument": "A"})
    yield "materialized", log.get_materialized_partitions(key)
    yield "failed", log.get_latest_asset_partition_materialization_attempts_without_materializations(key)
    yield "planned", log.get_latest_planned_materialization_info(key)
    yield "a planned partition", log.get_latest_planned_materialization_info(key, "2024-01-08|A")
    yield "new versions", log.get_updated_data_version_partitions(key, some, 30)


def of_run(log: EventLogStorage, run_id: str) -> Iterator[tuple[str, Any]]:
    """What the page of a run asks."""
    yield "log", log.get_records_for_run(run_id)
    yield "newest", log.get_records_for_run(run_id, limit=5, ascending=False)
    yield "checks", log.get_records_for_run(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    yield "stats", log.get_stats_for_run(run_id)
    yield "steps", log.get_step_stats_for_run(run_id)
    partitions = log.get_asset_partitions_for_run(run_id)
    yield "partitions", {key.to_user_string(): sorted(map(str, of_key)) for key, of_key in partitions.items()}


def comparable(instance: dg.DagsterInstance) -> dict[str, str]:
    """The answers without what no two runs have in common: ids, moments, durations, and the captured log's name."""
    runs: dict[str, str] = {}
    texts = exact(instance)
    for question, text in texts.items():
        text = UUID.sub(lambda found: runs.setdefault(found[0], f"<run {len(runs)}>"), text)
        text = re.sub(r"datetime\.datetime\([^()]*(\([^()]*\))?[^()]*\)", "<moment>", text)
        text = re.sub(r"\b\d{10}\.\d+", "<moment>", text)
        text = re.sub(r"\b\d+(\.\d+)?(e-\d+)?( ?ms|s|m?s\.)(?=\W)", "<duration>", text)
        text = re.sub(r"\b(duration_ms|end_ms|start_ms)=[\d.]+", "<duration>", text)
        texts[question] = re.sub(r"(file_key|log_key)='\w+'", "<name>", text)
    return texts


def exact(instance: dg.DagsterInstance) -> dict[str, str]:
    """The answers as text."""
    return {question: in_order(answer) for question, answer in answers(instance).items()}


def in_order(answer: Any) -> str:
    """As text; sets and dictionaries by their keys, for their order means nothing."""
    if isinstance(answer, set | frozenset):
        return repr(sorted(map(repr, answer)))
    if isinstance(answer, dict):
        return repr({repr(k): answer[k] for k in sorted(answer, key=repr)})
    return repr(answer)


def entry(run_id: str, text: str = "said") -> EventLogEntry:
    """A line of a run's log."""
    return EventLogEntry(None, 20, text, run_id, time.time())


def said_in(log: EventLogStorage, run_id: str) -> list[str]:
    """The lines of a run's log."""
    return [record.event_log_entry.user_message for record in log.get_records_for_run(run_id).records]


def rows(folder: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table of every database in a folder, but for the moments at which SQLite wrote them.

    Texts are as they are read, and a run's database may lack tables in which nothing is.
    """
    found = {}
    for path in sorted(folder.glob("*.db*")):
        conn = sqlite3.connect(path)
        read_unpacked(conn)
        assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        for (table,) in conn.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            cursor = conn.execute(f'SELECT * FROM "{table}" ORDER BY 1')
            names = [column[0] for column in cursor.description]
            kept = [n for n, name in enumerate(names) if name not in ("create_timestamp", "migration_completed")]
            if told := [tuple(row[n] for n in kept) for row in cursor]:
                found[f"{path.name} {table}"] = told
        conn.close()
    return found
