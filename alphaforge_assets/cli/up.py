"""`alphaforge up`: everything on one machine, started in the right order and ended together.

Each part is a process of its own with its output in ALPHAFORGE_HOME/logs. If one dies, all end and its last words are
shown. No part outlives `up`, not even a killed one (see part.py), and `up.lock` is held until the last of them is gone.
"""

import contextlib
import fcntl
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
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.table import Table

from alphaforge_assets import instance
from alphaforge_assets.cli.screen import screen
from alphaforge_assets.errors import BadInput, Occupied, Permanent
from alphaforge_assets.settings import Settings, settings_from_environment
from alphaforge_assets.universe import load_universe
from alphaforge_assets.warehouse import schema
from alphaforge_assets.warehouse.batches import refuse_mixing
from alphaforge_assets.warehouse.client import open_warehouse, running

START_S_MAX = 120.0  # a loaded machine is not a failure
STOP_S_MAX = 15.0
POLL_S = 0.2


@dataclass(frozen=True)
class Part:
    """A child process. What it says stands in `log` from the byte `said_from` on."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path
    said_from: int


@dataclass(frozen=True)
class Parts:
    """What was started so far, in order, and the open file of `up.lock`, which each of them holds as well."""

    lock: int
    started: list[Part] = field(default_factory=list)


def run(venues: str | None, port: int, sandbox_port: int, warehouse_port: int, live: bool | None = None) -> None:
    """Start everything, print where it is, and wait for Ctrl-C or SIGTERM.

    Raises Occupied if this home is up already or a port is taken, BadInput for a bad universe or home, Permanent when a
    part dies.
    """
    settings = settings_from_environment()
    load_universe(settings.universe_file)
    if venues == "live":
        settings = replace(settings, venues_url=None)
    if live is not None:
        settings = replace(settings, live_updates=live)
    with _alone(settings.home) as lock, _stoppable(), contextlib.ExitStack() as stack:
        for taken, option in ((port, "--port"), (sandbox_port, "--sandbox-port"), (warehouse_port, "--warehouse-port")):
            _refuse_taken(taken, option)
        parts = Parts(lock)
        stack.callback(_stop, parts)
        if settings.clickhouse_url is None:
            _start_warehouse(parts, settings, warehouse_port)
        # Kept open: an ephemeral warehouse that was running already lives as long as somebody uses it.
        client = stack.enter_context(open_warehouse(settings.home, settings.clickhouse_url))
        schema.ensure(client, settings.home, settings.clickhouse_url)
        refuse_mixing(client, "sandbox" if venues == "sandbox" else settings.origin)
        if venues == "sandbox":
            sandbox_port = sandbox_port or free_port()
            settings = replace(settings, venues_url=f"http://127.0.0.1:{sandbox_port}")
            command = ["alphaforge_assets.sandbox", "--port", str(sandbox_port)]
            _start(parts, "sandbox", command, settings, f"{settings.venues_url}/api/v3/ping")
        instance.prepare(settings.dagster_home, daemon_is_down=True)  # once, before two processes open it together
        port = port or free_port()
        settings = replace(settings, ui_url=f"http://127.0.0.1:{port}")
        _start(
            parts,
            "UI",
            ["alphaforge_assets.cli.webserver", "--port", str(port)],
            settings,
            f"http://127.0.0.1:{port}/server_info",
        )
        _spawn(parts, "daemon", ["dagster._daemon", "run", "--workspace", str(instance.WORKSPACE)], settings)
        _announce(parts, settings, port)
        _watch(parts)


@contextlib.contextmanager
def _alone(home: Path) -> Iterator[int]:
    """One `up` a home; yields the open lock. After one that was killed, its parts get the time they need to end."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock = os.open(home / "up.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise BadInput(f"ALPHAFORGE_HOME {home}: {error.strerror}; it must be a directory to write to") from error
    owner = home / "up.pid"
    deadline = time.monotonic() + STOP_S_MAX + 5
    try:
        while not _locked(lock):
            pid = owner.read_text().strip() if owner.exists() else ""
            if _is_alive(pid) or time.monotonic() > deadline:
                raise Occupied(
                    f"{home} is up already (process {pid or 'unknown'}): stop that one with Ctrl-C, or set"
                    " ALPHAFORGE_HOME to another directory"
                )
            time.sleep(POLL_S)
        owner.write_text(f"{os.getpid()}\n")
        try:
            yield lock
        finally:
            owner.unlink(missing_ok=True)
    finally:
        os.close(lock)


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        pass
    return True


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """Both Ctrl-C and SIGTERM end `up` in order, also where a shell started us in the background to ignore Ctrl-C."""

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


def _start_warehouse(parts: Parts, settings: Settings, port: int) -> None:
    """The embedded warehouse, unless one is running in this home: then that one is used, as by every command."""
    data = settings.home / "warehouse"
    if address := running(data):
        if port and port != address.port:
            raise Occupied(
                f"the warehouse of {settings.home} runs already, on port {address.port}: leave out --warehouse-port"
            )
        return
    part = _spawn(
        parts, "warehouse", ["alphaforge_assets.warehouse.embedded", "--data", str(data), "--port", str(port)], settings
    )
    _await(part, lambda: running(data) is not None)


def _start(parts: Parts, name: str, command: list[str], settings: Settings, url: str) -> None:
    part = _spawn(parts, name, command, settings)
    _await(part, lambda: _answers(url))


def _spawn(parts: Parts, name: str, command: list[str], settings: Settings) -> Part:
    log = settings.home / "logs" / f"{name.lower()}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {
        "ALPHAFORGE_HOME": str(settings.home),
        "ALPHAFORGE_VENUES": settings.venues_url or "live",
        "ALPHAFORGE_UNIVERSE": str(settings.universe_file.absolute()),
        "ALPHAFORGE_LIVE": "on" if settings.live_updates else "off",
        "DAGSTER_HOME": str(settings.dagster_home),
        "ALPHAFORGE_UI": settings.ui_url or "",
        "PYTHONWARNINGS": "ignore",
    }
    with log.open("ab") as output:
        said_from = output.tell()
        process = subprocess.Popen(
            [sys.executable, "-m", "alphaforge_assets.cli.part", *command],
            stdin=subprocess.PIPE,  # ours to hold: when it closes, the part ends
            stdout=output,
            stderr=output,
            env=environment,
            pass_fds=[parts.lock],
            start_new_session=True,  # Ctrl-C reaches us alone, and we end the parts in order
        )
    part = Part(name, process, log, said_from)
    parts.started.append(part)
    return part


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
    if code is None:
        return
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
    said = part.log.read_bytes()[part.said_from :].decode(errors="replace").strip().splitlines()[-3:]
    last = f"; its last words: {' / '.join(said)}" if said else ""
    raise Permanent(f"{part.name} {how}, so everything was ended{last} (all of it: {part.log})")


def _refuse_taken(port: int, option: str) -> None:
    """Port 0 is any free one, which is never taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise Occupied(
                f"port {port} of 127.0.0.1 is in use: choose another {option}, or 0 for any free one"
            ) from error


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _announce(parts: Parts, settings: Settings, port: int) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_row("[bold]Dagster UI[/bold]", f"http://127.0.0.1:{port}")
    if settings.clickhouse_url:
        table.add_row("warehouse", "the server of CLICKHOUSE_URL")
    else:
        table.add_row("warehouse", json.loads((settings.home / "warehouse" / "server.json").read_text())["url"])
    table.add_row("venues", settings.venues_url or "live")
    table.add_row("home", str(settings.home))
    screen.print(table)
    screen.print(
        f"[dim]{', '.join(p.name for p in parts.started)} are up; logs in {settings.home / 'logs'}."
        " Ctrl-C ends them all.[/dim]"
    )


def _watch(parts: Parts) -> None:
    while True:
        for part in parts.started:
            _refuse_dead(part)
        time.sleep(1)


def _stop(parts: Parts) -> None:
    """End the parts in reverse order, each with its children; what does not go by itself is killed."""
    for part in reversed(parts.started):
        if part.process.poll() is None:
            # Dagster's processes end their own children on SIGINT; the others treat both signals alike.
            part.process.send_signal(signal.SIGINT)
    for part in reversed(parts.started):
        try:
            part.process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            screen.print(f"[yellow]{part.name} did not end within {STOP_S_MAX:.0f} s and was killed[/yellow]")
        with contextlib.suppress(ProcessLookupError):
            os.killpg(part.process.pid, signal.SIGKILL)
        part.process.wait()
        if part.process.stdin:
            part.process.stdin.close()
