"""The sandbox as a process: serve until told to stop, or start one for the duration of a `with`."""

import contextlib
import datetime as dt
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn

from alphaforge_assets.errors import BadInput, Occupied
from alphaforge_assets.sandbox.budgets import Budgets
from alphaforge_assets.sandbox.directory import RULES, open_exchange
from alphaforge_assets.sandbox.server import Server

HOST = "127.0.0.1"
START_TIMEOUT_S = 30.0


def serve(
    port: int,
    recordings: Path | None = None,
    now: dt.datetime | None = None,
    seed: int = 1,
    *,
    budget_scale: float = 1.0,
    okx_history_limit: int = 300,
    on_ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve on 127.0.0.1:`port` (0 picks a free one) until SIGTERM or SIGINT; `on_ready` gets the base URL.

    `recordings` plays a folder instead of generating; `now` fixes the venues' clock; `budget_scale` multiplies every
    rate limit; `okx_history_limit` is the page size of OKX's history-candles, which sources give as 300 or 100.
    Raises Occupied if the port is taken, BadInput for an argument that cannot be.
    """
    if not 0 <= port <= 65_535:
        raise BadInput(f"port {port}: not between 0 and 65535")
    if budget_scale <= 0:
        raise BadInput(f"budget scale {budget_scale}: must be more than 0")
    exchange = open_exchange(recordings, now, seed, okx_history_limit)
    if exchange.recordings:
        _ = exchange.recordings.listings  # read what there is before anybody may ask
    listener = _listen(port)
    url = f"http://{HOST}:{listener.getsockname()[1]}"
    config = uvicorn.Config(
        Server(exchange, Budgets(budget_scale, RULES)),
        lifespan="off",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        log_config=None,
        log_level="critical",  # clients that go away in the middle are its daily bread
        access_log=False,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=2,
    )
    server = uvicorn.Server(config)
    with listener, _stopping(server):
        on_ready(url)  # it listens already: who comes before uvicorn does is kept waiting
        server.run(sockets=[listener])


@contextlib.contextmanager
def _stopping(server: uvicorn.Server) -> Iterator[None]:
    """SIGTERM and SIGINT stop the server before uvicorn listens for them, and after, when it raises them once more."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: object) -> None:
        server.should_exit = True

    before = {sig: signal.signal(sig, stop) for sig in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for sig, handler in before.items():
            signal.signal(sig, handler)


def _listen(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise Occupied(f"port {port} on {HOST} is in use; stop what holds it or choose another --port") from error
        raise BadInput(f"port {port}: cannot listen on {HOST} ({error.strerror}); choose another --port") from error
    return listener


@contextlib.contextmanager
def start(
    recordings: Path | None = None,
    now: dt.datetime | None = None,
    seed: int = 1,
    *,
    port: int = 0,
    budget_scale: float = 1.0,
    okx_history_limit: int = 300,
) -> Iterator[str]:
    """Run the sandbox as a process of its own and yield its base URL; it is stopped on exit, or dies with its parent.

    Raises BadInput or Occupied as `serve` does.
    """
    command = [sys.executable, "-m", "alphaforge_assets.sandbox", "--as-child", "--port", str(port)]
    command += ["--seed", str(seed), "--budget-scale", str(budget_scale)]
    command += ["--okx-history-limit", str(okx_history_limit)]
    command += ["--recordings", str(recordings)] if recordings else []
    command += ["--now", now.isoformat()] if now else []
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None  # noqa: S101 - a pipe, as asked
    assert process.stdin is not None  # noqa: S101
    try:
        said = json.loads(process.stdout.readline() or b"{}")
        if "url" not in said:
            process.wait(START_TIMEOUT_S)
            kind = Occupied if said.get("class") == "Occupied" else BadInput
            raise kind(said.get("error", f"the sandbox ended with code {process.returncode} before it was ready"))
        yield said["url"]
    finally:
        process.stdin.close()
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
