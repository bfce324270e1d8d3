"""`alphaforge doctor` and `/healthz`: each fault is made for real, and found; what is well is not complained of."""

import contextlib
import datetime as dt
import json
import os
import signal
import socket
import threading
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import Request

import dagster as dg
import pytest
import uvicorn
from click.testing import CliRunner
from dagster._daemon.types import DaemonHeartbeat
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from alphaforge_assets import instance as homes
from alphaforge_assets.cli import healthz
from alphaforge_assets.cli.main import main
from alphaforge_assets.cli.processes import alone
from alphaforge_assets.health import machine, parts, service
from alphaforge_assets.health.findings import Finding
from alphaforge_assets.settings import settings_from_environment
from alphaforge_assets.venues.directory import Exchanges
from alphaforge_assets.warehouse.client import open_warehouse
from alphaforge_assets.warehouse.migrations import migrator
from alphaforge_assets_tests.installed import OPENER, Installed, Up, call, fault, started_up, until


def states(findings: list[Finding]) -> list[str]:
    return [finding.state for finding in findings]


def test_doctor_of_nothing_finds_nothing_wrong_and_makes_nothing(tmp_path: Path) -> None:
    installed = Installed(tmp_path)
    said = installed.well("doctor", "--no-clocks", "--port", "0", COLUMNS="80")
    assert max(len(line) for line in said.splitlines()) <= 80
    assert "0 wrong" in said
    assert "\x1b" not in said
    assert not installed.home.exists()


def test_doctor_names_each_fault_and_what_to_do(tmp_path: Path) -> None:
    installed = Installed(tmp_path)
    installed.home.mkdir(mode=0o700)
    installed.home.chmod(0o777)
    (installed.home / "up.pid").write_text("999999999\n")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = installed.run("doctor", "--json", "--no-clocks", "--port", port, "--disk-min", "1e9")
    assert done.returncode == 1
    said = json.loads(done.stdout)
    assert said["well"] is False
    found = {f["name"]: f for f in said["findings"]}
    assert {name for name, f in found.items() if f["state"] == "wrong"} == {"home", "port", "disk"}
    assert "chmod go-w" in found["home"]["to_do"]
    assert found["locks"]["state"] == "note"
    assert "999999999" in found["locks"]["what"]
    assert installed.run("doctor", "--port", "x").returncode == 2
    assert installed.run("doctor", ALPHAFORGE_LIVE="maybe").returncode == 2


def looks(home: Path) -> dict[str, tuple[int, int, int]]:
    """Mode, size and time of everything in a home but what the running server writes.

    Reading a database, SQLite makes a file beside it and takes it away: such a folder has no time here.
    """
    found = {}
    for path in [home, *home.rglob("*")]:
        if path.relative_to(home).parts[:2] != ("warehouse", "engine"):
            its = path.lstat()
            is_read = path.is_dir() and any(path.glob("*.db"))
            found[str(path)] = (its.st_mode, its.st_size, 0 if is_read else its.st_mtime_ns)
    return found


def test_doctor_finds_what_is_planted_and_changes_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"

    def examined(port: int) -> tuple[int, dict[str, list[str]]]:
        words = ["doctor", "--json", "--no-clocks", "--port", str(port)]
        before = looks(home)
        done = CliRunner().invoke(main, words, env={"ALPHAFORGE_HOME": str(home)})
        assert looks(home) == before
        found: dict[str, list[str]] = {}
        for finding in json.loads(done.output)["findings"]:
            if finding["state"] != "ok":
                found.setdefault(f"{finding['state']} {finding['name']}", []).append(finding["what"])
        return done.exit_code, found

    later = tmp_path / "later" / "V999__of_a_later_version.sql"
    later.parent.mkdir()
    later.write_text("CREATE TABLE IF NOT EXISTS analytics.later (a UInt8) ENGINE = MergeTree ORDER BY a;\n")
    run = dg.DagsterRun("j", status=dg.DagsterRunStatus.STARTED, tags={homes.EXECUTOR_TAG: "another boot:1:1"})
    with open_warehouse(home) as client, socket.socket() as taken:
        migrator.migrate(client, later.parent, database="analytics", lock_dir=home)
        with homes.opened(home / "dagster") as instance:
            instance.add_run(run)
        (home / "up.pid").write_text("999999999\n")
        home.chmod(0o777)
        (home / "warehouse" / "password").chmod(0o644)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, found = examined(taken.getsockname()[1])
        assert code == 1
        assert {name: len(said) for name, said in found.items() if name.startswith("wrong")} == {
            "wrong home": 2, "wrong port": 1, "wrong schema": 1, "wrong runs": 1,
        }  # fmt: skip
        assert "V999__of_a_later_version.sql" in found["wrong schema"][0]
        assert run.run_id[:8] in found["wrong runs"][0]
        assert "999999999" in found["note locks"][0]
        home.chmod(0o755)
        (home / "warehouse" / "password").chmod(0o600)
        homes.prepare(home / "dagster")  # ends the run
        client.command("DROP DATABASE analytics SYNC")
        code, found = examined(0)
        assert (code, [name for name in found if name.startswith("wrong")]) == (0, [])


def test_a_clock_that_is_off_is_found_and_a_silent_venue_is_a_note(exchange: Exchanges, tmp_path: Path) -> None:
    far = (dt.datetime.now(dt.UTC) + dt.timedelta(minutes=10)).isoformat()
    call(f"{exchange.base_url}/_clock", json.dumps({"now": far}).encode())
    try:
        live = Exchanges("live", exchange.base_url, tmp_path / "governor")
        (found,) = machine.clocks(live, ["okx_spot"])
        assert (found.state, "behind" in found.what) == ("wrong", True)
        assert states(machine.clocks(Exchanges("sandbox", exchange.base_url, tmp_path / "g"), ["okx_spot"])) == ["note"]
    finally:
        call(f"{exchange.base_url}/_clock", b'{"now": "2025-07-01T00:00:00Z"}')  # as the fixture promises to all
    nobody = Exchanges("sandbox", "http://127.0.0.1:1", tmp_path / "governor")
    assert states(machine.clocks(nobody, ["bybit_spot"])) == ["note"]


def test_an_event_log_that_cannot_be_written_to_is_found(tmp_path: Path) -> None:
    assert service.event_log(tmp_path).state == "wrong"
    file = tmp_path / "history" / "runs" / "index.db"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"no database" * 1000)
    assert service.event_log(tmp_path).state == "wrong"


def test_healthz_says_why_to_ourselves_and_only_whether_to_others(up: Up) -> None:
    until(lambda: call(f"{up.ui}/healthz")["well"], 60)
    said = call(f"{up.ui}/healthz")
    assert {"warehouse", "daemon", "event log", "tail", "disk", "up"} <= {f["name"] for f in said["findings"]}
    with OPENER.open(Request(f"{up.ui}/healthz", headers={"Host": "balancer.example"})) as answer:
        assert json.load(answer) == {"well": True}
    password = (up.installed.home / "warehouse" / "password").read_text()
    assert password not in json.dumps(said)
    assert urlsplit(up.ui).port


def test_healthz_answers_503_with_reasons_when_a_part_is_dead_or_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The door itself on a socket of its own, with what `up` leaves in the home; the warehouse lives."""
    monkeypatch.setenv("ALPHAFORGE_HOME", str(tmp_path))
    monkeypatch.setenv("ALPHAFORGE_LIVE", "off")
    monkeypatch.setattr(healthz, "LOOK_EVERY_S", 0.0)
    settings, now = settings_from_environment(), dt.datetime.now(dt.UTC)

    def left(pid: int | None, gave_up: str = "") -> None:
        parts.write(tmp_path, parts.Lives(os.getpid(), "", False, [parts.Life("daemon", pid, now)], gave_up))

    async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("", 404)(scope, receive, send)

    with open_warehouse(tmp_path), homes.opened(settings.dagster_home) as instance:
        door = healthz.Health(nothing, lambda scope: True, settings, instance)
        with served(door) as url:
            with alone(tmp_path):
                left(os.getpid())
                assert answered(f"{url}/healthz") == (200, [])
                left(None)
                assert answered(f"{url}/healthz") == (503, ["part daemon: is dead"])
                assert answered(f"{url}/elsewhere")[0] == 404
            left(None, "daemon ended with code 1, the 6th time within 10 minutes")
            status, reasons = answered(f"{url}/healthz")
    assert status == 503
    assert reasons == ["up: gave up: daemon ended with code 1, the 6th time within 10 minutes"]


@contextlib.contextmanager
def served(app: ASGIApp) -> Iterator[str]:
    """An ASGI application on a socket of this machine, as the UI's server serves it."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
        serving = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        serving.start()
        try:
            until(lambda: server.started, 30, every_s=0.02)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            serving.join()


def answered(url: str) -> tuple[int, list[str]]:
    """Status, and what is wrong."""
    try:
        with OPENER.open(url, timeout=30) as answer:
            return answer.status, json.load(answer)["wrong"]
    except urllib.error.HTTPError as error:
        body = error.read()
        return error.code, json.loads(body)["wrong"] if body else []


def test_runs_of_another_daemon_are_no_orphans_while_it_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As under `dagster dev`: what it launches has no tag of ours, and its heartbeats say that it lives."""
    monkeypatch.setenv("ALPHAFORGE_HOME", str(tmp_path))
    settings, now = settings_from_environment(), dt.datetime.now(dt.UTC)

    def said() -> list[str]:
        return [finding.what for finding in service.runs(settings, now) if finding.name == "runs"]

    with homes.opened(settings.dagster_home) as instance:
        gone = {homes.EXECUTOR_TAG: "another boot:1:1"}
        first, second = (dg.DagsterRun("j", status=dg.DagsterRunStatus.STARTED, tags=t) for t in (gone, {}))
        again = dg.DagsterRun(
            "j", status=dg.DagsterRunStatus.STARTED, tags=gone, root_run_id=first.run_id, parent_run_id=first.run_id
        )
        for run in (first, second, again):
            instance.add_run(run)
        assert said()[0].startswith("the process of 3 is gone")
        instance.add_daemon_heartbeat(DaemonHeartbeat(now.timestamp(), "SENSOR", "x", []))
        assert said() == [f"the process of 1 is gone: {first.run_id[:8]}"]
        assert homes.reap(instance) == [first.run_id]
        assert said() == ["each run under way has its process"]
        instance.add_daemon_heartbeat(DaemonHeartbeat(now.timestamp() - 600, "SENSOR", "x", []))
        assert said()[0].startswith("the process of 2 is gone")


def test_what_is_killed_while_up_runs_is_told_and_a_run_is_ended(template: Path, tmp_path: Path) -> None:
    with started_up(Installed(tmp_path).furnished(template)) as up:
        fault(up.venues, path="/api/v3/klines", kind="hang", symbol="SOLUSDT", times=1000)
        words = ("--instruments", "binance_spot.SOL-USDT", "--from", "2025-06-01", "--to", "2025-06-02")
        with up.installed.started("backfill", *words, ALPHAFORGE_VENUES=up.venues) as process:
            until(lambda: [run.status.value for run in up.installed.runs()] == ["STARTED"], 100)
            os.killpg(process.pid, signal.SIGKILL)
        until(lambda: up.installed.runs()[-1].status.value == "FAILURE", 100)
        lives = parts.read(up.installed.home)
        assert lives is not None
        (daemon,) = [part for part in lives.parts if part.name == "daemon"]
        assert daemon.pid is not None
        os.kill(daemon.pid, signal.SIGKILL)

        def is_told() -> bool:
            try:
                findings = call(f"{up.ui}/healthz")["findings"]
            except urllib.error.HTTPError:
                return False
            return any(f["name"] == "part daemon" and "SIGKILL" in f["what"] for f in findings)

        until(is_told, 60)
        done = up.installed.run("doctor", "--no-clocks", "--json")  # in a shell that was not told of its venues
        assert done.returncode == 0, done.stdout
        assert "SIGKILL" in (up.installed.home / "logs" / "up.log").read_text()
