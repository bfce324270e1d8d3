"""`alphaforge up`: everything on one machine, started in the right order and ended together.

Each part is a process of its own with its output in ALPHAFORGE_HOME/logs. If one dies, all end and its last words are shown.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout
from rich.table import Table

from alphaforge_assets.cli import instance, schema
from alphaforge_assets.cli.screen import screen
from alphaforge_assets.errors import Occupied, Permanent
from alphaforge_assets.settings import Settings, settings_from_environment
from alphaforge_assets.universe import load_universe
from alphaforge_assets.warehouse.batches import refuse_mixing
from alphaforge_assets.warehouse.client import open_warehouse

START_S_MAX = 60.0
STOP_S_MAX = 15.0
POLL_S = 0.2


@dataclass(frozen=True)
class Part:
    """A child process. `url` answers with any status once it is up; None if it has no port."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path
    url: str | None


def run(venues: str | None, port: int, sandbox_port: int, warehouse_port: int) -> None:
    """Start everything, print where it is, and wait for Ctrl-C or SIGTERM.

    Raises Occupied if this home is up already or a port is taken, BadInput for a bad universe, Permanent when a part dies.
    """
    settings = settings_from_environment()
    load_universe(settings.universe_file)
    if venues == "live":
        settings = replace(settings, venues_url=None)
    with _alone(settings.home), _stoppable(), contextlib.ExitStack() as stack:
        parts: list[Part] = []
        stack.callback(_stop, parts)
        if settings.clickhouse_url is None:
            _start_warehouse(parts, settings, warehouse_port)
        if venues == "sandbox":
            sandbox_port = sandbox_port or free_port()
            settings = replace(settings, venues_url=f"http://127.0.0.1:{sandbox_port}")
            command = ["-m", "alphaforge_assets.sandbox", "--port", str(sandbox_port)]
            _start(parts, "sandbox", command, settings, f"{settings.venues_url}/api/v3/ping")
        with open_warehouse(settings.home, settings.clickhouse_url) as client:
            schema.ensure(client, settings)
            refuse_mixing(client, settings.origin)
        instance.prepare(settings.dagster_home)  # once, before two processes open it together
        port = port or free_port()
        _refuse_taken(port, "--port")
        _start(parts, "UI", ["-m", "alphaforge_assets.cli.webserver", "--port", str(port)], settings, f"http://127.0.0.1:{port}/server_info")
        daemon = ["-m", "dagster._daemon", "run", "--workspace", str(instance.WORKSPACE)]
        _start(parts, "daemon", daemon, settings, None)
        _announce(parts, settings, port)
        _watch(parts)


@contextlib.contextmanager
def _alone(home: Path) -> Iterator[None]:
    """One `up` a home."""
    home.mkdir(parents=True, exist_ok=True)
    lock, owner = FileLock(home / "up.lock"), home / "up.pid"
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        pid = owner.read_text().strip() if owner.exists() else "another process"
        raise Occupied(f"{home} is up already (process {pid}): stop that one with Ctrl-C, or set ALPHAFORGE_HOME to another directory") from error
    try:
        owner.write_text(f"{os.getpid()}\n")
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """Both Ctrl-C and SIGTERM end `up` in order, also where a shell started us in the background and made us ignore Ctrl-C."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except KeyboardInterrupt:
        screen.print("stopped")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _start_warehouse(parts: list[Part], settings: Settings, port: int) -> None:
    data = settings.home / "warehouse"
    if port:
        _refuse_taken(port, "--warehouse-port")
    command = ["-m", "alphaforge_assets.warehouse.embedded", "--data", str(data), "--port", str(port)]
    state = data / "server.json"
    before = state.stat().st_mtime_ns if state.exists() else None
    part = _spawn("warehouse", command, settings, None)
    parts.append(part)
    _await(part, lambda: state.exists() and state.stat().st_mtime_ns != before)


def _start(parts: list[Part], name: str, command: list[str], settings: Settings, url: str | None) -> None:
    part = _spawn(name, command, settings, url)
    parts.append(part)
    _await(part, lambda: url is None or _answers(url))


def _spawn(name: str, command: list[str], settings: Settings, url: str | None) -> Part:
    log = settings.home / "logs" / f"{name.lower()}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {
        "ALPHAFORGE_HOME": str(settings.home),
        "ALPHAFORGE_VENUES": settings.venues_url or "live",
        "ALPHAFORGE_UNIVERSE": str(settings.universe_file.absolute()),
        "DAGSTER_HOME": str(settings.dagster_home),
        "PYTHONWARNINGS": "ignore",
    }
    with log.open("ab") as output:
        # A session of its own: Ctrl-C reaches us alone, and we end the parts in order.
        process = subprocess.Popen(
            [sys.executable, *command], stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, start_new_session=True
        )
    return Part(name, process, log, url)


def _await(part: Part, ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_S_MAX
    while not ready():
        _refuse_dead(part)
        if time.monotonic() > deadline:
            raise Permanent(f"{part.name} did not answer within {START_S_MAX:.0f} s; see {part.log}")
        time.sleep(POLL_S)


def _answers(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=2):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def _refuse_dead(part: Part) -> None:
    code = part.process.poll()
    if code is not None:
        words = part.log.read_text(errors="replace").strip().splitlines()[-3:]
        raise Permanent(f"{part.name} ended with code {code}: {' / '.join(words)} (all of it: {part.log})")


def _refuse_taken(port: int, option: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise Occupied(f"port {port} of 127.0.0.1 is in use: choose another {option}, or 0 for any free one") from error


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _announce(parts: list[Part], settings: Settings, port: int) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_row("[bold]Dagster UI[/bold]", f"http://127.0.0.1:{port}")
    warehouse = settings.clickhouse_url and "the server of CLICKHOUSE_URL"
    table.add_row("warehouse", warehouse or json.loads((settings.home / "warehouse" / "server.json").read_text())["url"])
    table.add_row("venues", settings.venues_url or "live")
    table.add_row("home", str(settings.home))
    screen.print(table)
    screen.print(f"[dim]{', '.join(p.name for p in parts)} are up; logs in {settings.home / 'logs'}. Ctrl-C ends them all.[/dim]")


def _watch(parts: list[Part]) -> None:
    while True:
        for part in parts:
            _refuse_dead(part)
        time.sleep(1)


def _stop(parts: list[Part]) -> None:
    """End the parts in reverse order, each with its children; what does not go by itself is killed."""
    for part in reversed(parts):
        if part.process.poll() is None:
            # Dagster's processes end their own children on SIGINT; the others treat both signals alike.
            part.process.send_signal(signal.SIGINT)
    for part in reversed(parts):
        try:
            part.process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            screen.print(f"[yellow]{part.name} did not end within {STOP_S_MAX:.0f} s and was killed[/yellow]")
        with contextlib.suppress(ProcessLookupError):
            os.killpg(part.process.pid, signal.SIGKILL)
        part.process.wait()
