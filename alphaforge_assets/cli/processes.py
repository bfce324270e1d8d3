"""The child processes of `alphaforge up`: started one after the other, started again if they die, ended together.

Each has its output in ALPHAFORGE_HOME/logs. No part outlives `up`, not even a killed one (see part.py), and `up.lock`
is held until the last of them is gone.
"""

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from alphaforge_assets.cli.screen import say
from alphaforge_assets.errors import BadInput, Occupied, Permanent
from alphaforge_assets.settings import Settings

START_S_MAX = 120.0  # a loaded machine is not a failure
STOP_S_MAX = 15.0
POLL_S = 0.2
# A part that dies is started again, at once and then with growing pauses. One that dies so often will never live.
DEATHS_MAX = 5
DEATHS_WITHIN_S = 600.0
PAUSE_S_MAX = 30.0


@dataclass(frozen=True)
class Part:
    """A child process. What it says stands in `log` from the byte `said_from` on.

    `before_again` makes ready for a new start of it, and is false if there is no need for one now.
    """

    name: str
    command: Sequence[str]
    settings: Settings
    before_again: Callable[[], bool]
    process: "subprocess.Popen[bytes]"
    log: Path
    said_from: int

    @property
    def is_dead(self) -> bool:
        return self.process.poll() is not None

    @property
    def end(self) -> str:
        """How a dead one ended."""
        code = self.process.returncode
        return (
            f"{self.name} was killed by {signal.Signals(-code).name}"
            if code < 0
            else f"{self.name} ended with code {code}"
        )

    @property
    def last_words(self) -> str:
        said = self.log.read_bytes()[self.said_from :].decode(errors="replace").strip().splitlines()[-3:]
        last = f"; its last words: {' / '.join(said)}" if said else ""
        return f"{last} (all of it: {self.log})"

    def stop(self) -> None:
        """Wait for its end, which it has been asked for, and kill what is left of it and its children."""
        try:
            self.process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            say(f"[yellow]{self.name} did not end within {STOP_S_MAX:.0f} s and was killed[/yellow]")
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self.process.stdin:
            self.process.stdin.close()


@dataclass(frozen=True)
class Parts:
    """What was started so far, in order, and the open file of `up.lock`, which each of them holds as well."""

    lock: int
    started: list[Part] = field(default_factory=list)

    def start(
        self,
        name: str,
        command: Sequence[str],
        settings: Settings,
        ready: Callable[[], bool],
        before_again: Callable[[], bool] = lambda: True,
    ) -> None:
        """Start a module with its arguments and wait until it is ready. Raises Permanent if it never is."""
        part = _spawned(name, command, settings, before_again, self.lock)
        self.started.append(part)
        deadline = time.monotonic() + START_S_MAX
        while not ready():
            if part.is_dead:
                raise Permanent(f"{part.end}, so everything was ended{part.last_words}")
            if time.monotonic() > deadline:
                raise Permanent(f"{name} did not answer within {START_S_MAX:.0f} s; see {part.log}")
            time.sleep(POLL_S)

    def watch(self) -> None:
        """Start again what dies. Raises Permanent if one dies again and again."""
        deaths: dict[str, list[float]] = defaultdict(list)
        buried: set[int] = set()
        while True:
            for place, part in enumerate(self.started):
                if part.is_dead and part.process.pid not in buried:
                    buried.add(part.process.pid)
                    part.stop()  # what it had started goes with it
                if part.is_dead and part.before_again():
                    self.started[place] = self._again(part, deaths[part.name])
            time.sleep(1)

    def _again(self, part: Part, deaths: list[float]) -> Part:
        now = time.monotonic()
        deaths[:] = [*(death for death in deaths if death > now - DEATHS_WITHIN_S), now]
        if len(deaths) > DEATHS_MAX:
            often = f"the {len(deaths)}th time within {DEATHS_WITHIN_S / 60:.0f} minutes"
            raise Permanent(f"{part.end}, {often}, so everything was ended{part.last_words}")
        pause = 0.0 if len(deaths) == 1 else min(PAUSE_S_MAX, 2.0 ** len(deaths))
        say(f"[yellow]{part.end} and is started again{f' in {pause:.0f} s' if pause else ''}[/yellow]{part.last_words}")
        time.sleep(pause)
        return _spawned(part.name, part.command, part.settings, part.before_again, self.lock)

    def stop(self) -> None:
        """End them in reverse order, each with its children; what does not go by itself is killed."""
        for part in reversed(self.started):
            if part.process.poll() is None:
                # Dagster's processes end their own children on SIGINT; the others treat both signals alike.
                part.process.send_signal(signal.SIGINT)
        for part in reversed(self.started):
            part.stop()


def _spawned(
    name: str, command: Sequence[str], settings: Settings, before_again: Callable[[], bool], lock: int
) -> Part:
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
            pass_fds=[lock],
            start_new_session=True,  # Ctrl-C reaches us alone, and we end the parts in order
        )
    return Part(name, command, settings, before_again, process, log, said_from)


@contextlib.contextmanager
def alone(home: Path) -> Iterator[int]:
    """One `up` a home; yields the open lock. After one that was killed, its parts get the time they need to end.

    Raises Occupied while another runs, BadInput for a home that cannot be written to.
    """
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
def stoppable() -> Iterator[None]:
    """Both Ctrl-C and SIGTERM end `up` in order, also where a shell started us in the background to ignore Ctrl-C."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except KeyboardInterrupt:
        say("stopped")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def answers(url: str) -> bool:
    """Whether somebody answers there, be it with a refusal."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=2):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def refuse_taken(port: int, option: str) -> None:
    """Raises Occupied if another process has the port. Port 0 is any free one, which is never taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise Occupied(
                f"port {port} of 127.0.0.1 is in use: choose another {option}, or 0 for any free one"
            ) from error


def free_port() -> int:
    """A port of this machine that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
