"""Databases that are kept open: bounded, seen to be replaced, left alone in a fork, shared by threads."""

import os
import threading
import time
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as db
from dagster._core.storage.event_log.sqlite.sqlite_event_log import (
    SqliteEventLogStorage,
)

from alphaforge_assets.event_log.storage import (
    BATCH_SIZE,
    SHARDS_OPEN_MAX,
    BatchedSqliteEventLogStorage,
)
from alphaforge_assets_tests.test_event_log.story import (
    CLASSES,
    OURS,
    PROC_FILES,
    STOCK,
    entry,
    files_open,
    said_in,
)

# ---- Connections that are kept.


@pytest.mark.parametrize(("writes", "watches"), [(OURS, OURS), (STOCK, OURS)])
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
    deadline = time.monotonic() + 60  # a loaded machine is not a failure
    while "four" not in heard and time.monotonic() < deadline:
        time.sleep(0.2)
        if writes == STOCK:  # its log is taken over only if nobody reads at that moment, the watcher included
            writer.store_event(entry("run", "later"))
    assert heard[:4] == ["one", "two", "three", "four"]
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


def test_a_wipe_in_another_process_is_noticed(log: BatchedSqliteEventLogStorage, tmp_path: Path) -> None:
    log.store_event(entry("run", "before"))
    other = BatchedSqliteEventLogStorage(str(tmp_path / "runs"))
    other.wipe()
    assert said_in(log, "run") == []
    log.store_event(entry("run", "after"))
    assert said_in(other, "run") == said_in(log, "run") == ["after"]
    other.dispose()
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
