"""The serving process: who owns the directory, the password, the port, and a clean end.

Files in the directory: `engine/` (ClickHouse's own), `engine.xml` and `users.xml` (its configuration), `spool/` (bodies
on their way in), `tmp/` (chdb's), `owner.lock` (held while a server lives; names it), `users.lock` (held shared by
everybody who uses it), `password` (mode 0600, made once), `server.json` (pid, port, url, started_at; there while the
server answers).
"""

import asyncio
import contextlib
import datetime as dt
import errno
import fcntl
import json
import os
import secrets
import shlex
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn

from alphaforge_assets.errors import BadInput, Occupied
from alphaforge_assets.warehouse.embedded import confinement

GRACE_S = 20.0  # how long an ephemeral server waits for its first user
POLL_S = 0.5
SHUTDOWN_S = 3  # how long running requests may take to end by themselves
CLOSE_S = 20.0  # how long the engine may take after that


def serve(data: Path, port: int = 0, ephemeral: bool = False, memory_bytes: int | None = None) -> None:
    """Own `data` and serve it on 127.0.0.1:`port` (0: that of a server killed here if it is free, or any other).

    Ends on SIGTERM or SIGINT. An ephemeral server also ends when nobody holds `users.lock` any more. `memory_bytes`
    bounds what the engine may take (None: half of the machine). Raises Occupied when another process owns the directory
    or the port, BadInput for a directory that cannot be used. Sets the process's time zone to UTC, and its signal
    handlers.
    """
    if not 0 <= port <= 65535:
        raise BadInput(f"port {port}: must be between 0 (any free one) and 65535")
    data = data.absolute()
    if set("?&") & set(str(data)):
        raise BadInput(
            f"warehouse directory {data}: chdb cannot open a path with '?' or '&' in it; choose another name"
        )
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"warehouse directory {data}: {error.strerror}") from error
    with _owned(data), _listening(port or _port_before(data)) as listener:
        os.environ["TZ"] = "UTC"  # chdb reads no <timezone> from its configuration
        time.tzset()
        os.umask(0o077)  # what the engine keeps is nobody else's to read
        os.environ["TMPDIR"] = str(_empty(data / "tmp"))  # where chdb makes a folder for itself
        confinement.confine(data)  # before the engine's first thread
        # imported late: half a second, and only for the one who owns the directory
        from alphaforge_assets.warehouse.embedded import bodies, configuration
        from alphaforge_assets.warehouse.embedded.engine import Engine
        from alphaforge_assets.warehouse.embedded.server import Server

        bodies.sweep(data / "spool")
        engine = Engine(data, memory_bytes or configuration.memory_bytes_max())
        server = Server(engine, data / "spool", password(data), listener.getsockname()[1])
        try:
            asyncio.run(_until_told(server, listener, data, ephemeral))
        finally:
            (data / "server.json").unlink(missing_ok=True)
            _end_by_force_after(CLOSE_S)
            server.close()
            engine.close()


def _empty(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)  # what a killed server left
    folder.mkdir(mode=0o700)
    return folder


def _end_by_force_after(seconds: float) -> None:
    """End the process if the engine hangs while it closes: nothing that was acknowledged is lost by that."""
    timer = threading.Timer(seconds, os._exit, (1,))
    timer.daemon = True
    timer.start()


def password(data: Path) -> str:
    """The directory's password: 256 random bits, made at the first call."""
    path = data / "password"
    if not path.exists():
        temporary = data / f"password.{os.getpid()}"
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(32))
        temporary.rename(path)
    return path.read_text()


@contextlib.contextmanager
def _owned(data: Path) -> Iterator[None]:
    """Hold the directory, or raise Occupied naming who does. The kernel lets go when the process dies."""
    with open(os.open(data / "owner.lock", os.O_RDWR | os.O_CREAT, 0o600), "r+") as file:
        for patience in range(10, -1, -1):  # clients hold it for a moment, to see whether anybody owns it
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if not patience:
                    owner = _owner(file.read())
                    fix = "stop that process or use another --data"
                    raise Occupied(f"warehouse {data} belongs to {owner}; {fix}") from error
                time.sleep(0.03)
        file.truncate()
        file.write(json.dumps({"pid": os.getpid(), "command": shlex.join(sys.orig_argv)}))
        file.flush()
        yield


def _owner(text: str) -> str:
    try:
        owner = json.loads(text)
        return f"process {owner['pid']} ({owner['command']})"
    except (ValueError, KeyError, TypeError):  # between the lock and the writing of its name
        return "a process that is just starting"


def _port_before(data: Path) -> int:
    """That of a server killed here, so that who knows its address finds the next one there; 0 if there is none."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, OverflowError), socket.socket() as probe:
        port = int(json.loads((data / "server.json").read_text())["port"])
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
        return port
    return 0


@contextlib.contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    # asyncio turns Nagle's 40 ms off only where it sees the protocol named
    with socket.socket(proto=socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise Occupied(
                    f"port {port} of 127.0.0.1 is in use; choose another --port, or 0 for any free one"
                ) from error
            raise BadInput(f"port {port} of 127.0.0.1: {error.strerror}") from error
        yield listener


class _Uvicorn(uvicorn.Server):
    """uvicorn re-raises SIGTERM after its end, which would kill us before the engine is closed: signals are ours."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _until_told(app: object, listener: socket.socket, data: Path, ephemeral: bool) -> None:
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]
        lifespan="off",
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=SHUTDOWN_S,
    )
    server = _Uvicorn(config)

    def stop() -> None:
        server.force_exit = server.should_exit  # the second signal waits for nobody
        server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    watch = asyncio.ensure_future(_stop_when_unused(data / "users.lock", stop)) if ephemeral else None
    serving = asyncio.ensure_future(server.serve(sockets=[listener]))
    while not server.started and not serving.done():  # noqa: ASYNC110  uvicorn has no event for it
        await asyncio.sleep(0.005)
    if server.started:
        _announce(data, listener.getsockname()[1])
    await serving
    if watch is not None:
        watch.cancel()


def _announce(data: Path, port: int) -> None:
    """Write `server.json`, all at once."""
    now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    state = {"pid": os.getpid(), "port": port, "url": f"http://127.0.0.1:{port}", "started_at": now}
    temporary = data / f"server.json.{os.getpid()}"
    temporary.write_text(json.dumps(state) + "\n")
    temporary.rename(data / "server.json")


async def _stop_when_unused(users: Path, stop: Callable[[], None]) -> None:
    """Stop the server once nobody holds `users` any more, or nobody came. Whoever starts us holds it already.

    The lock is kept until the process ends, so that nobody comes in while the engine closes.
    """
    began, seen = time.monotonic(), False
    file = os.open(users, os.O_RDWR | os.O_CREAT, 0o600)
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            seen = True
        else:
            if seen or time.monotonic() - began > GRACE_S:
                stop()
                return
            fcntl.flock(file, fcntl.LOCK_UN)
        await asyncio.sleep(POLL_S)
