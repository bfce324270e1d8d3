"""The embedded server of a home: found if it runs, started if not, and kept up while anybody uses it.

Users hold `users.lock` shared, and take it before they read `server.json`, so that none of them meets a server on its
way out. chdb is never imported on this side, nor anything else that takes a moment to load: a command starts the server
first, and loads what it needs itself meanwhile.
"""

import base64
import contextlib
import fcntl
import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import alphaforge_assets
from alphaforge_assets.errors import BadInput, WarehouseDown

CONNECT_TIMEOUT_S = 10
START_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Address:
    """Where a warehouse answers, and as whom. The password never shows."""

    scheme: str
    host: str
    port: int
    user: str
    password: str = field(repr=False)

    @property
    def is_loopback(self) -> bool:
        return self.host in ("127.0.0.1", "localhost", "::1")

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}"


@dataclass(frozen=True)
class Child:
    """A server that we started: where its log begins, and our place among its users if it was started ahead."""

    process: "subprocess.Popen[bytes]"
    log_began: int
    user: int


@contextlib.contextmanager
def embedded(home: Path) -> Iterator[Address]:
    """The address of the embedded server of a home, which stays up inside the context."""
    data, logs = _make_folders(home)
    deadline = time.monotonic() + START_TIMEOUT_S
    with _flocked(data / "users.lock", fcntl.LOCK_SH, deadline):
        ahead = _ahead.pop(data.absolute(), None)
        try:
            with _flocked(data / "start.lock", fcntl.LOCK_EX, deadline):  # one starter at a time
                address = running(data) or _started(data, logs / "warehouse.log", deadline, ahead)
        finally:
            if ahead:
                os.close(ahead.user)
        yield address


def _make_folders(home: Path) -> tuple[Path, Path]:
    data, logs = home / "warehouse", home / "logs"
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        data.mkdir(mode=0o700, exist_ok=True)
        logs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"warehouse directory {data}: {error.strerror}; ALPHAFORGE_HOME must be writable") from error
    return data, logs


def start_ahead(home: Path, *, is_certain: bool = False) -> None:
    """Start the server of a home that will be opened soon, and do not wait for it.

    To start takes it as long as it takes a command to load what it needs. Nothing where one runs or ends just now;
    after half a restore; or, unless it `is_certain` that the home will be opened, where there was no warehouse yet: a
    question that turns out to be none leaves no trace. If the command ends without having opened it, it has no user
    and ends too.
    """
    data = home / "warehouse"
    if data.absolute() in _ahead or restoring(home).exists():
        return
    if is_certain:
        try:
            _make_folders(home)
        except BadInput:  # said when it is opened
            return
    elif not (data / "owner.lock").exists() or not (home / "logs").is_dir():
        return
    user = os.open(data / "users.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(user, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(user)
        return
    if is_held(data / "owner.lock"):
        os.close(user)
        return
    _ahead[data.absolute()] = _spawn(data, home / "logs" / "warehouse.log", user)


_ahead: dict[Path, Child] = {}  # by directory


def restoring(home: Path) -> Path:
    """The mark of a restore that is not done: there while it is under way."""
    return home / "restoring"


@contextlib.contextmanager
def _flocked(path: Path, kind: int, deadline: float) -> Iterator[None]:
    """Hold the lock; the kernel gives it back should this process be killed."""
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        while True:
            try:
                fcntl.flock(file, kind | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    message = f"{path} stayed locked for {START_TIMEOUT_S:.0f} s; is a warehouse process stuck?"
                    raise WarehouseDown(message) from None
                time.sleep(0.02)
        yield
    finally:
        os.close(file)


def running(data: Path) -> Address | None:
    """The server that owns `data`, if it answers to the directory's password."""
    if not is_held(data / "owner.lock"):  # `server.json` outlives a killed server, whose port may be anybody's by now
        return None
    try:
        state = json.loads((data / "server.json").read_text())
        address = Address("http", "127.0.0.1", int(state["port"]), "default", (data / "password").read_text())
    except (FileNotFoundError, ValueError, KeyError, TypeError):  # none, or not a file of ours: a server writes it
        return None
    connection = http.client.HTTPConnection(address.host, address.port, timeout=CONNECT_TIMEOUT_S)
    token = base64.b64encode(f"{address.user}:{address.password}".encode()).decode()
    try:
        connection.request("POST", "/", "SELECT 1", {"Authorization": f"Basic {token}"})
        return address if connection.getresponse().status == 200 else None
    except (OSError, http.client.HTTPException):  # starting, or on its way out
        return None
    finally:
        connection.close()


def is_held(lock: Path) -> bool:
    """Whether a process holds a lock. Looks for an instant, and changes nothing."""
    try:
        file = os.open(lock, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def _started(data: Path, log: Path, deadline: float, ahead: Child | None) -> Address:
    """Start a server that ends with its last user, or wait for the one that was started ahead.

    Another one may be starting by itself; then that one is ours too.
    """
    child = ahead
    while True:
        child = child or _spawn(data, log)
        while child.process.poll() is None:
            if (address := running(data)) is not None:
                return address
            if time.monotonic() > deadline:
                child.process.terminate()
                raise WarehouseDown(f"the embedded warehouse did not answer in {START_TIMEOUT_S:.0f} s; see {log}")
            time.sleep(0.02)
        if (address := running(data)) is not None:
            return address
        said = log.read_bytes()[child.log_began :].decode(errors="replace").strip()
        if "belongs to" not in said or time.monotonic() > deadline:
            reason = said.splitlines()[-1] if said else f"it ended with code {child.process.returncode}"
            raise WarehouseDown(f"the embedded warehouse did not start: {reason}; see {log}")
        child = None
        time.sleep(0.2)


def _spawn(data: Path, log: Path, user: int = -1) -> Child:
    root = str(Path(alphaforge_assets.__file__).parents[1])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-m", "alphaforge_assets.warehouse.embedded", "--data", str(data), "--ephemeral"]
    with log.open("ab") as output:
        began = output.tell()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=os.environ | {"PYTHONPATH": path},
            start_new_session=True,  # a Ctrl-C for us is not meant for it
        )
    return Child(process, began, user)
