"""Our event log answers as Dagster's does: over the same runs, with many processes, after a kill, and either way."""

import hashlib
import inspect
import itertools
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as db
import yaml
from dagster._core import events as dagster_events
from dagster._core.events import BATCH_WRITABLE_EVENTS
from dagster._core.events.log import EventLogEntry
from dagster._core.instance.methods.event_methods import EventMethods
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.dagster_run import RunsFilter
from dagster._core.storage.event_log.base import AssetRecordsFilter, EventLogStorage, EventRecordsFilter
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import (
    SqliteEventLogStorage,
    SqliteEventLogStorageWatchdog,
)
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG
from sqlalchemy.engine import Connection, Engine

from alphaforge_assets import instance as homes
from alphaforge_assets.event_log import (
    ASSET_EVENTS,
    BATCH_SIZE,
    BATCHED_EVENTS,
    SHARDS_OPEN_MAX,
    BatchedSqliteEventLogStorage,
)

ROOT = Path(__file__).parents[1]
STOCK, OURS = "stock", "ours"
CLASSES = {
    STOCK: {"module": "dagster._core.storage.event_log", "class": "SqliteEventLogStorage"},
    OURS: {"module": "alphaforge_assets.event_log", "class": "BatchedSqliteEventLogStorage"},
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


@pytest.fixture(autouse=True, scope="module")
def in_a_hurry() -> Iterator[None]:
    """Every connection of this module's tests."""
    db.event.listen(Engine, "connect", hurry)
    yield
    db.event.remove(Engine, "connect", hurry)


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


# ---- Equality with the stock storage.


@dataclass(frozen=True)
class Told:
    """What one storage answers after everything has happened, and after removals, with the first run's events."""

    grown: dict[str, str]
    removed: dict[str, str]
    events: list[EventLogEntry]
    batches: list[int]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Told]:
    """The same story on an instance of each storage."""
    return {storage: story(tmp_path_factory.mktemp("story") / "home", storage) for storage in CLASSES}


def story(folder: Path, storage: str) -> Told:
    """What is told of `everything` and `removals`."""
    with opened(folder, storage) as instance, pytest.MonkeyPatch.context() as patch:
        log, batches = instance.event_log_storage, []
        store = log.store_event_batch
        patch.setattr(log, "store_event_batch", lambda events: (batches.append(len(events)), store(events)))
        everything(instance)
        grown = comparable(instance)
        first = instance.get_runs()[-1].run_id
        events = [record.event_log_entry for record in log.get_records_for_run(first).records]
        removals(instance)
        return Told(grown, comparable(instance), events, batches)


def test_every_answer_is_the_stock_storages(told: dict[str, Told]) -> None:
    for moment in ("grown", "removed"):
        stock, ours = (getattr(told[storage], moment) for storage in CLASSES)
        assert stock.keys() == ours.keys()
        assert [question for question in stock if stock[question] != ours[question]] == []


def test_the_story_holds_what_it_should_and_came_in_batches(told: dict[str, Told]) -> None:
    grown, removed = told[OURS].grown, told[OURS].removed
    assert grown["materialized of served"].count("2024-") == 10
    assert removed["materialized of staged"].count("2024-") == 2
    assert grown["observations of venue"].count("AssetObservation(") == 7
    assert "2024-01-06|B" in grown["failed of staged"]
    for check in ("blocking", "warned", "inner", "outside"):
        assert f"name='{check}'" in grown["check summaries"]
    assert told[STOCK].batches == []  # Dagster's own default: one by one
    # planned (with three checks) and three outputs of the first run, of 8 keys
    assert told[OURS].batches[:4] == [27, 8, 8, 8]


@pytest.mark.parametrize("seed", range(2))
def test_any_batch_leaves_the_rows_of_its_events_stored_one_by_one(
    told: dict[str, Told], tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311
    events = [e for e in told[STOCK].events if e.dagster_event and e.dagster_event_type in BATCH_WRITABLE_EVENTS]
    chance.shuffle(events)
    stock, ours = SqliteEventLogStorage(str(tmp_path / STOCK)), BatchedSqliteEventLogStorage(str(tmp_path / OURS))
    for event in events:
        stock.store_event(event)
    while events:
        size = chance.randint(1, 20)
        ours.store_event_batch(events[:size])
        events = events[size:]
    stock.dispose()
    ours.dispose()
    assert rows(tmp_path / STOCK) == rows(tmp_path / OURS)


def rows(folder: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table of every database in a folder, but for the moments at which SQLite wrote them."""
    found = {}
    for path in sorted(folder.glob("*.db*")):
        conn = sqlite3.connect(path)
        assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        for (table,) in conn.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            cursor = conn.execute(f'SELECT * FROM "{table}" ORDER BY 1')
            names = [column[0] for column in cursor.description]
            kept = [n for n, name in enumerate(names) if name not in ("create_timestamp", "migration_completed")]
            found[f"{path.name} {table}"] = [tuple(row[n] for n in kept) for row in cursor]
        conn.close()
    return found


def test_a_batch_is_stored_as_a_whole_or_not_at_all(told: dict[str, Told], tmp_path: Path) -> None:
    storage = BatchedSqliteEventLogStorage(str(tmp_path))
    of_kind = itertools.groupby(told[OURS].events, lambda event: event.dagster_event_type)
    [batch, *_] = [list(es) for kind, es in of_kind if kind == dg.DagsterEventType.ASSET_MATERIALIZATION]
    refusal = "CREATE TRIGGER refusal BEFORE INSERT ON asset_event_tags BEGIN SELECT RAISE(ABORT, 'refused'); END"
    with storage.index_connection() as conn:
        conn.execute(db.text(refusal))
    with pytest.raises(db.exc.DBAPIError, match="refused"):
        storage.store_event_batch(batch)
    assert len(storage.get_records_for_run(batch[0].run_id).records) == 0
    assert storage.get_maximum_record_id() is None
    with storage.index_connection() as conn:
        conn.execute(db.text("DROP TRIGGER refusal"))
    storage.store_event_batch(batch)
    assert len(storage.get_records_for_run(batch[0].run_id).records) == storage.get_maximum_record_id() == len(batch)
    storage.dispose()


# ---- Either way, and several at once.


def test_an_old_instance_opens_and_goes_on_and_goes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BATCH_SIZE, "")
    monkeypatch.delenv(BATCH_SIZE)
    home = tmp_path / "dagster"
    home.mkdir()
    before = yaml.safe_load(homes.CONFIG.read_text())
    kept = {k: v for k, v in before.items() if not k.endswith(("storage", "logs"))}  # as it was written before
    (home / "dagster.yaml").write_text(yaml.safe_dump(kept))
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert type(instance.event_log_storage) is SqliteEventLogStorage
        assert materialize(instance, "2024-01-01|A", "2024-01-01|B").success
        old = exact(instance)
    with homes.opened(home) as instance:
        assert type(instance.event_log_storage) is BatchedSqliteEventLogStorage
        assert exact(instance) == old
        assert materialize(instance, "2024-01-01|B", "2024-01-02|B").success
        new = exact(instance)
    (home / "dagster.yaml").write_text(yaml.safe_dump(kept))
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert type(instance.event_log_storage) is SqliteEventLogStorage
        assert exact(instance) == new
        assert materialize(instance, "2024-01-03|A", "2024-01-03|A").success
    with homes.opened(home) as instance:
        assert len(instance.get_materialized_partitions(served.key)) == 4


def test_plain_dagster_dev_finds_the_files_where_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "before.yaml").write_text("storage: {sqlite: {base_dir: .alphaforge/dagster}}")
    (tmp_path / "dagster.yaml").write_text(homes.CONFIG.read_text())
    found = []
    for name in ("before.yaml", "dagster.yaml"):
        storage = InstanceRef.from_dir(str(tmp_path), config_filename=name).storage
        run, event, schedule = storage.run_storage, storage.event_log_storage, storage.schedule_storage
        found.append((run._conn_string, event.path_for_shard("index"), schedule._conn_string))
        event.dispose()
    assert found[0] == found[1]
    assert found[0][1] == str(tmp_path / ".alphaforge/dagster/history/runs/index.db")


def child(folder: str, storage: str, first: str, last: str, killed: str = "") -> None:
    """What a process of its own does; `killed` names the moment at which it is."""
    db.event.listen(Engine, "connect", hurry)
    with opened(Path(folder), storage) as instance:
        if killed:
            kill_at(killed)
        assert materialize(instance, first, last, **homes.executor_tag()).success


def started(*words: str) -> "subprocess.Popen[str]":
    """`child` in a new process."""
    code = "import sys; from alphaforge_assets_tests.test_event_log import child; child(*sys.argv[1:])"
    command = [sys.executable, "-W", "ignore", "-c", code, *words]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)


def test_several_processes_write_and_read_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    with opened(folder, OURS) as instance:
        instance.get_runs_count()
        parts = [(OURS, "01|A", "04|B"), (OURS, "05|A", "08|B"), (STOCK, "09|A", "09|B")]
        children = [started(str(folder), s, f"2024-01-{first}", f"2024-01-{last}") for s, first, last in parts]
        seen = [0]
        while any(process.poll() is None for process in children):
            seen.append(len(instance.get_materialized_partitions(served.key)))
            for run in instance.get_runs():
                instance.all_logs(run.run_id)
            instance.event_log_storage.get_asset_records(KEYS)
        said = [process.communicate(timeout=CHILD_S_MAX)[1] for process in children]
        assert [process.returncode for process in children] == [0, 0, 0], said
        assert "Exception while storing" not in "".join(said)
        assert seen == sorted(seen)
        assert len(instance.get_materialized_partitions(served.key)) == 18
        lengths = {len(instance.get_materialized_partitions(asset.key)) for asset in (landed, staged, served)}
        assert lengths == {18}
        kind = dg.DagsterEventType.ASSET_MATERIALIZATION
        stored = [len(instance.all_logs(run.run_id, of_type=kind)) for run in instance.get_runs()]
        assert sorted(stored) == [6, 24, 24]
        ours = exact(instance)
    with opened(folder, STOCK) as instance:
        assert exact(instance) == ours


def kill_at(moment: str) -> None:
    """End this process by SIGKILL at a moment of storing the first batch of a kind."""
    kind, _, when = moment.partition(", ")
    inserts = itertools.count(1)
    commits = itertools.count(1)

    @db.event.listens_for(Engine, "before_cursor_execute")
    def statement(_c: Any, _cur: Any, text: str, values: Any, _ctx: Any, many: bool) -> None:
        is_of_batch = many and text.startswith("INSERT INTO event_logs") and kind in values[0]
        if is_of_batch and next(inserts) == 2:  # the run's shard has them, and the index is about to
            if when == "before any commit":
                os.kill(os.getpid(), signal.SIGKILL)
            db.event.listen(Engine, "commit", commit)

    def commit(_conn: Connection) -> None:
        if next(commits) == 2:
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("when", ["before any commit", "between the commits"])
def test_a_kill_in_a_batch_leaves_a_log_and_a_run_to_be_reaped(tmp_path: Path, when: str) -> None:
    folder = tmp_path / "home"
    with opened(folder, OURS) as instance:
        instance.get_runs_count()
    killed = started(str(folder), OURS, "2024-01-01|A", "2024-01-02|B", f"ASSET_MATERIALIZATION, {when}")
    _, said = killed.communicate(timeout=CHILD_S_MAX)
    assert killed.returncode == -signal.SIGKILL, said
    with opened(folder, OURS) as instance:
        [run] = instance.get_runs()
        assert run.status is dg.DagsterRunStatus.STARTED
        materialized = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
        assert len(materialized) == (0 if when == "before any commit" else 4)
        assert instance.get_materialized_partitions(landed.key) == set()  # so they are asked for again
        assert homes.reap(instance) == [run.run_id]
        assert instance.get_run_by_id(run.run_id).status is dg.DagsterRunStatus.FAILURE  # type: ignore[union-attr]
        ours = exact(instance)
    with opened(folder, STOCK) as instance:
        assert exact(instance) == ours
    with opened(folder, OURS) as instance:
        assert materialize(instance, "2024-01-01|A", "2024-01-02|B").success
        assert len(instance.get_materialized_partitions(served.key)) == 4
    assert rows(folder / "history" / "runs")  # and every database is whole


def test_a_kill_while_a_run_is_planned_leaves_nothing_planned(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    killed = started(
        str(folder), OURS, "2024-01-01|A", "2024-01-02|B", "ASSET_MATERIALIZATION_PLANNED, before any commit"
    )
    _, said = killed.communicate(timeout=CHILD_S_MAX)
    assert killed.returncode == -signal.SIGKILL, said
    with opened(folder, OURS) as instance:
        [run] = instance.get_runs()
        assert run.status is dg.DagsterRunStatus.NOT_STARTED
        assert list(instance.all_logs(run.run_id)) == []
        assert instance.event_log_storage.get_latest_planned_materialization_info(landed.key) is None
        assert materialize(instance, "2024-01-01|A", "2024-01-02|B").success


# ---- Connections that are kept.


def entry(run_id: str, text: str = "said") -> EventLogEntry:
    """A line of a run's log."""
    return EventLogEntry(None, 20, text, run_id, time.time())


def said_in(log: EventLogStorage, run_id: str) -> list[str]:
    """The lines of a run's log."""
    return [record.event_log_entry.user_message for record in log.get_records_for_run(run_id).records]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[BatchedSqliteEventLogStorage]:
    """Our storage alone, in an empty folder."""
    storage = BatchedSqliteEventLogStorage(str(tmp_path / "runs"))
    yield storage
    storage.dispose()


@pytest.mark.parametrize(("writes", "watches"), [(OURS, OURS), (OURS, STOCK), (STOCK, OURS)])
def test_who_watches_a_run_is_told_at_once(tmp_path: Path, writes: str, watches: str) -> None:
    classes = {STOCK: SqliteEventLogStorage, OURS: BatchedSqliteEventLogStorage}
    writer, watcher = classes[writes](str(tmp_path)), classes[watches](str(tmp_path))
    writer.store_event(entry("run", "before"))
    reader = BatchedSqliteEventLogStorage(str(tmp_path))  # the UI has the run's database open
    cursor = reader.get_records_for_run("run").cursor
    heard: list[str] = []
    watcher.watch("run", cursor, lambda event, _cursor: heard.append(event.user_message))
    for text in ("one", "two", "three"):
        writer.store_event(entry("run", text))
        deadline = time.monotonic() + 10
        while writes == OURS and text not in heard and time.monotonic() < deadline:
            time.sleep(0.01)
    reader.dispose()  # stock is seen when its write-ahead log is taken over, which a reader puts off
    writer.store_event(entry("run", "four"))
    deadline = time.monotonic() + 10
    while "four" not in heard and time.monotonic() < deadline:
        time.sleep(0.01)
    assert heard == ["one", "two", "three", "four"]
    writer.dispose()
    watcher.dispose()


@pytest.mark.skipif(not PROC_FILES.exists(), reason="open files are found in /proc")
def test_databases_open_are_bounded_and_closed_in_the_end(log: BatchedSqliteEventLogStorage, tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    for n in range(2 * SHARDS_OPEN_MAX):
        log.store_event(entry(f"run{n}"))
    assert len({name for name in files_open(folder) if name.endswith(".db")}) == SHARDS_OPEN_MAX
    assert said_in(log, "run0") == ["said"]
    log.dispose()
    assert files_open(folder) == set()
    assert [path.name for path in folder.iterdir() if path.suffix != ".db"] == []  # nothing left in a side file
    assert said_in(log, "run1") == ["said"]  # and it opens again


def test_a_read_leaves_no_transaction_behind(told: dict[str, Told], log: BatchedSqliteEventLogStorage) -> None:
    """One left open would keep an old state in sight, and the write-ahead log growing."""
    for event in told[OURS].events:
        log.store_event(event)
    for key in KEYS[:3]:
        list(of_asset(log, key))
    list(of_run(log, told[OURS].events[0].run_id))
    for name in ("index", told[OURS].events[0].run_id):
        conn = sqlite3.connect(log.path_for_shard(name))
        assert conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)
        conn.close()


def test_a_wipe_in_another_process_is_noticed(log: BatchedSqliteEventLogStorage, tmp_path: Path) -> None:
    log.store_event(entry("run", "before"))
    other = SqliteEventLogStorage(str(tmp_path / "runs"))
    other.wipe()
    assert said_in(log, "run") == []
    log.store_event(entry("run", "after"))
    assert said_in(other, "run") == said_in(log, "run") == ["after"]
    log.wipe()
    assert said_in(log, "run") == []


def test_a_forked_process_opens_the_databases_anew(log: BatchedSqliteEventLogStorage) -> None:
    log.store_event(entry("run", "parent"))
    with log.run_connection("run") as conn:  # the child must not join this, nor wait for its lock
        conn.execute(db.text("SELECT 1"))
        pid = os.fork()
        if pid == 0:
            try:
                log.store_event(entry("run", "child"))
            finally:
                os._exit(0)
        assert os.waitpid(pid, 0) == (pid, 0)
    log.store_event(entry("run", "parent again"))
    assert said_in(log, "run") == ["parent", "child", "parent again"]


def test_threads_share_a_storage(log: BatchedSqliteEventLogStorage) -> None:
    def write(number: int) -> None:
        for n in range(10):
            log.store_event(entry(f"run{number}", str(n)))
            assert said_in(log, f"run{number}")[-1] == str(n)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(4):
        assert said_in(log, f"run{number}") == [str(n) for n in range(10)]


def test_a_batch_size_that_is_asked_for_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BATCH_SIZE, "0")
    with dg.DagsterInstance.local_temp(
        str(tmp_path),
        overrides={"event_log_storage": CLASSES[OURS] | {"config": {"base_dir": str(tmp_path)}}},  # type: ignore[arg-type]
    ) as instance:
        assert not instance._is_batch_writing_enabled()
        monkeypatch.delenv(BATCH_SIZE)
        BatchedSqliteEventLogStorage(str(tmp_path))
        assert instance._get_event_batch_size() == 1000


# ---- What of Dagster this leans on.

# Its parts as they were when event_log.py was written to fit them: overridden, joined in a transaction, or relied upon.
LEANED_ON: dict[Any, str] = {
    SqliteEventLogStorage.__init__: "264c15baa761a7bb",
    SqliteEventLogStorage._connect: "b8435f2665689760",
    SqliteEventLogStorage._initdb: "7a302d98eb61a34d",
    SqliteEventLogStorage.run_connection: "54e64bd6f8b77093",
    SqliteEventLogStorage.index_connection: "8caf95ebe806cabd",
    SqliteEventLogStorage.from_config_value: "28e08f095dc13fb2",
    SqliteEventLogStorage.has_table: "577d801c70b2a4a5",
    SqliteEventLogStorage.path_for_shard: "0eaeb69bc81ba0a7",
    SqliteEventLogStorage.conn_string_for_shard: "896bc510d776042e",
    SqliteEventLogStorage.store_event: "f89aed40602438b9",
    SqliteEventLogStorage.upgrade: "56bbafdf70981f12",
    SqliteEventLogStorage.watch: "a223e2f9cf3abda9",
    SqliteEventLogStorage.wipe: "de02c63676e7d477",
    SqliteEventLogStorage.dispose: "df16dafbfa8427c1",
    SqliteEventLogStorageWatchdog: "cd600a026151f6f5",
    SqlEventLogStorage.index_transaction: "00b2488c8cdfd277",
    SqlEventLogStorage.has_secondary_index: "75ea1eb99d7519bc",
    SqlEventLogStorage.delete_events: "a14c58828a905817",
    SqlEventLogStorage._has_asset_key_col_on_connection: "981049dfa81d2e47",
    SqlEventLogStorage._event_to_row: "93d47fbe7edc4f70",
    SqlEventLogStorage._store_asset_event: "fdb9340b9eef1c9b",
    SqlEventLogStorage._get_asset_entry_values: "bb3b9df2c6c371fe",
    SqlEventLogStorage._store_asset_event_tags: "85d6f17ef04b926f",
    SqlEventLogStorage._tags_for_asset_event: "c5c3936a8de86826",
    SqlEventLogStorage.store_asset_check_event: "6d148295fa69bb45",
    SqlEventLogStorage._store_asset_check_evaluation_planned: "bbecef7ab5ce9d01",
    EventLogStorage.store_event_batch: "d710189545dbace2",
    EventMethods.handle_new_event: "db900859da5b7e70",
    EventMethods._get_event_batch_size: "92c419ba6dbea022",
}


@pytest.mark.parametrize(("part", "seen"), LEANED_ON.items(), ids=lambda part: getattr(part, "__qualname__", ""))
def test_what_we_lean_on_in_dagster_is_as_it_was(part: Any, seen: str) -> None:
    assert digest(part) == seen, (
        f"Dagster {dg.__version__} has changed {part.__module__}.{part.__qualname__}. Read what it does now, make"
        f" alphaforge_assets/event_log.py do the same, then write {digest(part)} here."
    )


def digest(part: Any) -> str:
    """The beginning of the hash of its source."""
    return hashlib.sha256(inspect.getsource(part).encode()).hexdigest()[:16]


def test_what_comes_in_batches_is_what_we_expect() -> None:
    """A new kind is stored one by one, correctly and slowly, until it is thought about."""
    assert BATCHED_EVENTS | {dg.DagsterEventType.ASSET_FAILED_TO_MATERIALIZE} == BATCH_WRITABLE_EVENTS
    assert ASSET_EVENTS == dagster_events.ASSET_EVENTS & BATCHED_EVENTS
    assert BATCHED_EVENTS - ASSET_EVENTS == dagster_events.ASSET_CHECK_EVENTS & BATCHED_EVENTS
    assert not BATCHED_EVENTS & dagster_events.EVENT_TYPE_TO_PIPELINE_RUN_STATUS.keys()
