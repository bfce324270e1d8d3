"""How what runs is: the warehouse and its schema, the daemon, the event log, runs that nobody executes, the tail.

Shared by `/healthz`, which asks often, and `alphaforge doctor`, which asks more. Nothing here starts or changes
anything.
"""

import contextlib
import datetime as dt
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import dagster as dg
from clickhouse_connect.driver.client import Client

from alphaforge_assets.errors import AlphaForgeError, Permanent
from alphaforge_assets.health.findings import Finding, State
from alphaforge_assets.health.parts import is_up, read
from alphaforge_assets.instance import orphaned
from alphaforge_assets.settings import Settings
from alphaforge_assets.upkeep.runs import LIVE_TAIL
from alphaforge_assets.upkeep.tail import EVERY
from alphaforge_assets.warehouse import schema
from alphaforge_assets.warehouse.client import open_warehouse
from alphaforge_assets.warehouse.local import running
from alphaforge_assets.warehouse.migrations.states import disagreements
from alphaforge_assets.warehouse.origins import refuse_mixing

# Dagster's daemons write a heartbeat every 30 s, and count as healthy for half an hour without; this is one an operator
# can act upon. A loaded machine may miss two.
HEARTBEAT_MAX = dt.timedelta(minutes=3)
# Three tails that did not come, and one that took its time.
TAIL_MAX = 4 * EVERY
EVENT_LOG_WAIT_S = 3.0
ORPHANS_SHOWN_MAX = 3


@contextlib.contextmanager
def answering(settings: Settings) -> Iterator[Client | None]:
    """A client of the warehouse if one runs; unlike `open_warehouse` it never starts one. Raises as that."""
    url = settings.clickhouse_url
    if url is None:
        address = running(settings.home / "warehouse")
        if address is None:
            yield None
            return
        url = (
            f"{address.scheme}://{quote(address.user)}:{quote(address.password, safe='')}@{address.host}:{address.port}"
        )
    with open_warehouse(settings.home, url) as client:
        yield client


def warehouse(settings: Settings) -> Iterator[Finding]:
    """Whether it answers. An embedded one that nobody needs does not run, and that is well."""
    try:
        with answering(settings) as client:
            if client is not None:
                yield Finding("warehouse", "ok", f"answers, ClickHouse {client.command('SELECT version()')}")
            elif is_up(settings.home):
                fix = "`up` starts it again; if not, look into logs/warehouse.log"
                yield Finding("warehouse", "wrong", "the embedded one does not answer, and `up` runs", fix)
            else:
                yield Finding("warehouse", "note", "the embedded one does not run", "nothing: who needs it starts it")
    except AlphaForgeError as error:
        yield Finding("warehouse", "wrong", str(error), "start the server of CLICKHOUSE_URL, or correct that")


def tables(settings: Settings) -> Iterator[Finding]:
    """The schema against this code, and whether the data are of the venues that are asked now."""
    try:
        with answering(settings) as client:
            if client is None:
                yield Finding("schema", "note", "not looked at: the warehouse does not run", "look while `up` runs")
                return
            yield from _schema(client, settings)
    except AlphaForgeError as error:
        yield Finding("schema", "wrong", str(error), "see `alphaforge migrate --info`")


def _schema(client: Client, settings: Settings) -> Iterator[Finding]:
    rows = schema.info(client)
    pending = [row.script for row in rows if row.state == "pending"]
    applied = [row.version for row in rows if row.state == "applied" and row.version]
    if faults := disagreements(rows, schema.DATABASE):
        yield Finding("schema", "wrong", faults[0].partition(": ")[0], faults[0].partition(": ")[2])
        return  # what its tables are is not known here
    if not applied:
        yield Finding("schema", "note", "the warehouse is empty", "`alphaforge migrate`, or any command that fetches")
        return
    if pending:
        state: State = (
            "wrong" if settings.clickhouse_url else "note"
        )  # an embedded one is brought up to date when opened
        yield Finding("schema", state, f"{len(pending)} pending, first {pending[0]}", "`alphaforge migrate`")
        return
    yield Finding("schema", "ok", f"version {applied[-1]}, nothing pending")
    try:
        refuse_mixing(client, settings.origin)
        yield Finding("origin", "ok", f"the data are {settings.origin}, or there are none")
    except Permanent as error:
        what, _, fix = str(error).partition(": ")
        yield Finding("origin", "wrong", what, fix)


@contextlib.contextmanager
def recorded(settings: Settings) -> Iterator[dg.DagsterInstance | None]:
    """The Dagster instance of the home as it is; None if there is none yet. It is not prepared, as `opened` would."""
    kept = settings.dagster_home
    if not all((kept / name).exists() for name in ("dagster.yaml", "history/runs.db", "history/runs/index.db")):
        yield None
        return
    with dg.DagsterInstance.from_config(str(kept)) as instance:
        yield instance


def daemon(instance: dg.DagsterInstance, now: dt.datetime, since: dt.datetime) -> Finding:
    """Heartbeats of every daemon that Dagster requires. `since`: when its process began."""
    beats = instance.get_daemon_heartbeats()
    late = []
    for kind in sorted(instance.get_required_daemon_types()):
        beat = beats.get(kind)
        last = max(dt.datetime.fromtimestamp(beat.timestamp, dt.UTC), since) if beat else since
        if now - last > HEARTBEAT_MAX:
            late.append(f"{kind} for {(now - last).total_seconds() / 60:.0f} min")
    if late:
        fix = "look into logs/daemon.log; `up` starts a dead one again, a stuck one must be ended"
        return Finding("daemon", "wrong", f"no heartbeat of {', '.join(late)}", fix)
    return Finding("daemon", "ok", f"heartbeats within {HEARTBEAT_MAX.seconds // 60} min")


def event_log(dagster_home: Path) -> Finding:
    """Whether runs can be recorded: takes SQLite's write lock and gives it back, writing nothing."""
    file = dagster_home / "history" / "runs" / "index.db"
    try:
        uri = f"{file.absolute().as_uri()}?mode=rw"
        with contextlib.closing(sqlite3.connect(uri, EVENT_LOG_WAIT_S, isolation_level=None, uri=True)) as log:
            log.execute("BEGIN IMMEDIATE")
            log.execute("ROLLBACK")
    except sqlite3.Error as error:
        fix = "see that the disk is neither full nor read-only, and which process keeps the file"
        return Finding("event log", "wrong", f"cannot be written to: {error}", fix)
    return Finding("event log", "ok", "can be written to")


def _beats(instance: dg.DagsterInstance, now: dt.datetime) -> bool:
    """Whether any daemon has had a heartbeat lately."""
    beats = instance.get_daemon_heartbeats().values()
    return any(now - dt.datetime.fromtimestamp(beat.timestamp, dt.UTC) <= HEARTBEAT_MAX for beat in beats)


def orphans(instance: dg.DagsterInstance, *, daemon_is_down: bool) -> Finding:
    """Runs that are under way on paper, and whose process is gone."""
    runs = orphaned(instance, daemon_is_down=daemon_is_down)
    if not runs:
        return Finding("runs", "ok", "each run under way has its process")
    named = ", ".join(run.run_id[:8] for run in runs[:ORPHANS_SHOWN_MAX]) + (
        " …" if len(runs) > ORPHANS_SHOWN_MAX else ""
    )
    fix = "`alphaforge up` ends them, within a minute where it runs, and tries those of its daemon again"
    return Finding("runs", "wrong", f"the process of {len(runs)} is gone: {named}", fix)


def tail(instance: dg.DagsterInstance, now: dt.datetime, since: dt.datetime, *, is_live: bool) -> Finding:
    """Whether the live tail came by lately. `since` is when `up` came up: it has TAIL_MAX from there."""
    if not is_live:
        return Finding("tail", "note", "live updates are off", "leave out --no-live, unset ALPHAFORGE_LIVE")
    well = dg.RunsFilter(job_name=LIVE_TAIL, statuses=[dg.DagsterRunStatus.SUCCESS])
    records = instance.get_run_records(well, limit=1)
    ended = records[0].end_time if records else None
    last = dt.datetime.fromtimestamp(ended, dt.UTC) if ended else None
    shown = f"the last that succeeded ended {last:%Y-%m-%d %H:%M} UTC" if last else "none has succeeded"
    if now - max(last or since, since) > TAIL_MAX:
        return Finding(
            "tail", "wrong", shown, "`alphaforge alerts` says what fails; see the runs of live_tail in the UI"
        )
    return Finding("tail", "ok", shown if last else "none has ended yet")


def runs(settings: Settings, now: dt.datetime) -> Iterator[Finding]:
    """All that the Dagster instance of a home tells: its event log, orphans, and while `up` runs daemon and tail."""
    with recorded(settings) as instance:
        if instance is None:
            yield Finding("runs", "note", "none was recorded yet", "nothing: `up` and backfills record them")
            return
        yield event_log(settings.dagster_home)
        # of a daemon that is not `up`'s, as of `dagster dev`, the heartbeats tell
        yield orphans(instance, daemon_is_down=not is_up(settings.home) and not _beats(instance, now))
        lives = read(settings.home)
        if lives and is_up(settings.home) and (started := [p.started_at for p in lives.parts if p.name == "daemon"]):
            yield daemon(instance, now, started[0])
            yield tail(instance, now, started[0], is_live=lives.is_live)
