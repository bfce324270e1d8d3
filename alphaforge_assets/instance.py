"""The Dagster instance of a home: its one configuration file, opened in the right order, rid of dead runs."""

import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import dagster as dg
import yaml
from dagster._core.events import DagsterEvent, DagsterEventBatchMetadata, StepMaterializationData
from dagster._core.instance import RUNLESS_JOB_NAME, RUNLESS_RUN_ID
from filelock import FileLock

from alphaforge_assets.warehouse.statements import SQL

CONFIG = SQL.parent / "dagster.yaml"
WORKSPACE = SQL.parent / "workspace.yaml"
# Who executes a run, so that one whose process died with the machine can be told from one at work.
EXECUTOR_TAG = "alphaforge/executor"
_LOCATIONS = ("run_storage", "schedule_storage", "local_artifact_storage", "compute_logs")


def prepare(dagster_home: Path, *, daemon_is_down: bool = False) -> None:
    """Create or migrate the instance's databases, one process at a time, and end the runs that nobody executes."""
    with opened(dagster_home, daemon_is_down=daemon_is_down):
        pass


@contextmanager
def opened(dagster_home: Path, *, daemon_is_down: bool = False) -> Iterator[dg.DagsterInstance]:
    """The prepared instance of a home.

    Several processes that first open an SQLite instance at once corrupt it (`alembic_version has more than one head`).
    """
    dagster_home.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    dagster_home.mkdir(mode=0o700, exist_ok=True)
    with ExitStack() as stack:
        with FileLock(dagster_home / "prepare.lock"):
            _configure(dagster_home)
            instance = stack.enter_context(dg.DagsterInstance.from_config(str(dagster_home)))
            instance.get_runs_count()
            instance.fetch_materializations(dg.AssetKey("bars"), limit=1)
            instance.all_instigator_state()
            reap(instance, daemon_is_down=daemon_is_down)
        yield instance


def _configure(dagster_home: Path) -> None:
    """Without the locations everything falls below DAGSTER_HOME, the same place in the default home."""
    config = {k: v for k, v in yaml.safe_load(CONFIG.read_text()).items() if k not in _LOCATIONS}
    config["event_log_storage"]["config"]["base_dir"] = str(dagster_home.absolute() / "history" / "runs")
    written = dagster_home / "dagster.yaml"
    text = "# Written by alphaforge from the project's dagster.yaml; edit that one.\n" + yaml.safe_dump(config)
    if not written.exists() or written.read_text() != text:
        partial = written.with_suffix(".partial")
        partial.write_text(text)
        partial.replace(written)


def executor_tag() -> dict[str, str]:
    """Names this process so that it cannot be mistaken for a later one of the same pid."""
    return {EXECUTOR_TAG: _identity(os.getpid()) or ""}


def orphaned(instance: dg.DagsterInstance, *, daemon_is_down: bool = False) -> list[dg.DagsterRun]:
    """The runs under way whose process is gone.

    Runs that the daemon launched end with it, so those are gone if it is known to be down.
    """
    under_way = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING]
    runs = instance.get_runs(dg.RunsFilter(statuses=under_way))
    gone = [run.run_id for run in runs if _is_gone(run, daemon_is_down)]
    # Looked at again: a process that has just ended has said so before it went.
    return list(instance.get_runs(dg.RunsFilter(run_ids=gone, statuses=under_way))) if gone else []


def _is_gone(run: dg.DagsterRun, daemon_is_down: bool) -> bool:
    # A run that is tried again inherits the tags of the first, and is the daemon's.
    identity = None if run.parent_run_id else run.tags.get(EXECUTOR_TAG)
    return _identity(int(identity.split(":")[1])) != identity if identity else daemon_is_down


def reap(instance: dg.DagsterInstance, *, daemon_is_down: bool = False) -> list[str]:
    """Mark as failed the runs whose process is gone; Dagster would leave them STARTED for hours. Returns run ids."""
    gone = orphaned(instance, daemon_is_down=daemon_is_down)
    for run in gone:
        instance.report_run_failed(run, "the process that executed this run is gone; run it again")
    return [run.run_id for run in gone]


def record_without_a_run(instance: dg.DagsterInstance, events: Sequence[dg.AssetMaterialization]) -> None:
    """What `report_runless_asset_event` does for one event, for thousands: in batches, as the event log stores them."""
    batch = str(uuid.uuid4())
    for n, event in enumerate(events, 1):
        said = DagsterEvent(
            event_type_value=dg.DagsterEventType.ASSET_MATERIALIZATION.value,
            event_specific_data=StepMaterializationData(event),
            job_name=RUNLESS_JOB_NAME,
        )
        is_last = n == len(events)
        instance.report_dagster_event(said, RUNLESS_RUN_ID, batch_metadata=DagsterEventBatchMetadata(batch, is_last))


def _identity(pid: int) -> str | None:
    """`<boot>:<pid>:<start time in ticks>` of a living process, None if there is none (proc(5))."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        started = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return _identity_without_proc(pid)
    return f"{boot}:{pid}:{started}"


def _identity_without_proc(pid: int) -> str | None:
    """Where there is no /proc: the pid alone."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return f"-:{pid}:-"
