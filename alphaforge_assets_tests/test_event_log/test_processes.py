"""Old instances and new, several processes at once, and kills in the middle of a batch."""

import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as db
import yaml
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.event_log.sqlite.sqlite_event_log import (
    SqliteEventLogStorage,
)
from sqlalchemy.engine import Connection, Engine

from alphaforge_assets import instance as homes
from alphaforge_assets.event_log.shards import give_back
from alphaforge_assets.event_log.storage import (
    BATCH_SIZE,
    BatchedSqliteEventLogStorage,
)
from alphaforge_assets_tests.test_event_log.story import (
    CHILD_S_MAX,
    KEYS,
    OURS,
    ROOT,
    STOCK,
    exact,
    given_back,
    hurry,
    landed,
    materialize,
    opened,
    rows,
    served,
    staged,
)

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
    assert list(give_back(home / "history" / "runs"))
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
    code = "import sys; from alphaforge_assets_tests.test_event_log.test_processes import child; child(*sys.argv[1:])"
    command = [sys.executable, "-W", "ignore", "-c", code, *words]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)


def test_several_processes_write_and_read_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    with opened(folder, OURS) as instance:
        instance.get_runs_count()
        parts = [(OURS, "01|A", "04|B"), (OURS, "05|A", "08|B"), (OURS, "09|A", "09|B")]
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
    given_back(folder)
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
    given_back(folder)
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
