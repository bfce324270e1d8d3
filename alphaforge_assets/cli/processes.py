"""The child processes of `alphaforge up`: started one after the other, started again if they die, ended together.

Each has its output in ALPHAFORGE_HOME/logs (see logs.py). No part outlives `up`, not even a killed one (see part.py),
and `up.lock` is held until the last of them is gone. Deaths are told of: in the log, to the receivers of alerts, and in
`up.json`, which `/healthz` and `alphaforge doctor` read.
"""

import contextlib
import datetime as dt
import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from alphaforge_assets.alerts.parts import tell_of_part
from alphaforge_assets.cli.logs import Journal, Said, written
from alphaforge_assets.cli.part import END_S_MAX
from alphaforge_assets.cli.screen import say
from alphaforge_assets.errors import BadInput, Occupied, Permanent
from alphaforge_assets.health import parts as lives
from alphaforge_assets.settings import Settings

START_S_MAX = 120.0  # a loaded machine is not a failure
STOP_S_MAX = 40.0  # Dagster's daemon gives a sensor in the middle of its work 30 s
POLL_S = 0.2
# A part that dies is started again, at once and then with growing pauses. One that dies so often will never live.
DEATHS_MAX = 5
DEATHS_WITHIN_S = 600.0
PAUSE_S_MAX = 30.0


@dataclass(frozen=True)
class Part:
    """A child process, and what it says.

    `before_again` makes ready for a new start of it, and is false if there is no need for one now.
    """

    name: str
    command: Sequence[str]
    settings: Settings
    before_again: Callable[[], bool]
    is_vital: bool  # nothing goes on without it
    process: "subprocess.Popen[bytes]"
    said: Said
    started_at: dt.datetime

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
        self.said.drain()
        last = f"; its last words: {' / '.join(self.said.last)}" if self.said.last else ""
        return f"{last} (all of it: {self.said.path})"

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
        self.said.drain()


@dataclass(frozen=True)
class Parts:
    """What was started so far, in order, and the open file of `up.lock`, which each of them holds as well."""

    lock: int
    journal: Journal
    started: list[Part] = field(default_factory=list)
    restarts: dict[str, list[lives.Restart]] = field(default_factory=lambda: defaultdict(list))

    def start(
        self,
        name: str,
        command: Sequence[str],
        settings: Settings,
        ready: Callable[[], bool],
        before_again: Callable[[], bool] = lambda: True,
        *,
        is_vital: bool = True,
    ) -> None:
        """Start a module with its arguments and wait until it is ready. Raises Permanent if it never is."""
        part = self._spawned(name, command, settings, before_again, is_vital=is_vital)
        self.started.append(part)
        self._write()
        deadline = time.monotonic() + START_S_MAX
        while not ready():
            if part.is_dead:
                raise self._gave_up(part, f"{part.end}, so everything was ended{part.last_words}")
            if time.monotonic() > deadline:
                raise self._gave_up(part, f"{name} did not answer within {START_S_MAX:.0f} s; see {part.said.path}")
            time.sleep(POLL_S)

    def watch(self) -> None:
        """Start again what dies, and tell of it. Raises Permanent if one dies again and again."""
        deaths: dict[str, list[float]] = defaultdict(list)
        buried: set[int] = set()
        while True:
            for place, part in enumerate(self.started):
                if part.is_dead and part.process.pid not in buried:
                    buried.add(part.process.pid)
                    part.stop()  # what it had started goes with it
                    self._write()
                if part.is_dead and part.before_again():
                    self.started[place] = self._again(part, deaths[part.name])
                    self._write()
            time.sleep(1)

    def _again(self, part: Part, deaths: list[float]) -> Part:
        now = time.monotonic()
        deaths[:] = [*(death for death in deaths if death > now - DEATHS_WITHIN_S), now]
        if len(deaths) > DEATHS_MAX and part.is_vital:
            often = f"the {len(deaths)}th time within {DEATHS_WITHIN_S / 60:.0f} minutes"
            raise self._gave_up(part, f"{part.end}, {often}, so everything was ended{part.last_words}")
        pause = 0.0 if len(deaths) == 1 else min(PAUSE_S_MAX, 2.0 ** len(deaths))
        about = f"{part.end} and is started again{f' in {pause:.0f} s' if pause else ''}"
        self.restarts[part.name].append(lives.Restart(dt.datetime.now(dt.UTC), part.end))
        del self.restarts[part.name][: -lives.RESTARTS_KEPT]
        self._write()
        self.journal.note("warning", about + part.last_words)
        # A receiver that does not answer must not keep the part down.
        threading.Thread(target=self._tell, args=(part, about, lives.LOGS), name="alert", daemon=True).start()
        time.sleep(pause)
        return self._spawned(part.name, part.command, part.settings, part.before_again, is_vital=part.is_vital)

    def _gave_up(self, part: Part, why: str) -> Permanent:
        """Leave word of why everything ends, tell the receivers, and return the error to raise."""
        self.journal.keep("error", why)
        self._write(gave_up=why)
        self._tell(
            part, f"`alphaforge up` gave up: {part.end if part.is_dead else why}", f"{lives.LOGS}, and start it again"
        )
        return Permanent(why)

    def _tell(self, part: Part, about: str, to_do: str) -> None:
        """Never with the part's own words, which are for the log."""
        told = tell_of_part(
            part.settings.alerts, part.name, about, to_do, dt.datetime.now(dt.UTC), part.settings.ui_url
        )
        for receipt in told:
            if not receipt.is_taken:
                self.journal.note("warning", f"{receipt.webhook.shown} did not take an alert: {receipt.answer}")

    def _write(self, gave_up: str = "") -> None:
        """For who asks how we are. A disk that is full is found by others, and must not end us."""
        with contextlib.suppress(OSError):
            last = self.started[-1].settings
            its = [
                lives.Life(p.name, None if p.is_dead else p.process.pid, p.started_at, self.restarts[p.name])
                for p in self.started
            ]
            venues = last.venues_url or "live"
            lives.write(last.home, lives.Lives(os.getpid(), last.ui_url or "", last.live_updates, its, gave_up, venues))

    def stop(self) -> None:
        """End them in reverse order, each with its children; what does not go by itself is killed."""
        for part in reversed(self.started):
            if part.process.poll() is None:
                # Dagster's processes end their own children on SIGINT; the others treat both signals alike.
                part.process.send_signal(signal.SIGINT)
        for part in reversed(self.started):
            part.stop()

    def _spawned(
        self,
        name: str,
        command: Sequence[str],
        settings: Settings,
        before_again: Callable[[], bool],
        *,
        is_vital: bool,
    ) -> Part:
        environment = os.environ | {
            "ALPHAFORGE_HOME": str(settings.home),
            "ALPHAFORGE_VENUES": settings.venues_url or "live",
            "ALPHAFORGE_UNIVERSE": str(settings.universe_file.absolute()),
            "ALPHAFORGE_LIVE": "on" if settings.live_updates else "off",
            "DAGSTER_HOME": str(settings.dagster_home),
            "ALPHAFORGE_UI": settings.ui_url or "",
            "PYTHONWARNINGS": "ignore",
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "alphaforge_assets.cli.part", *command],
            stdin=subprocess.PIPE,  # ours to hold: when it closes, the part ends
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            pass_fds=[self.lock],
            start_new_session=True,  # Ctrl-C reaches us alone, and we end the parts in order
        )
        assert process.stdout is not None  # noqa: S101 - a pipe, by the line above
        log = settings.home / "logs" / f"{name.lower()}.log"
        said = written(process.stdout, name, log, self.journal.file.form)
        return Part(name, command, settings, before_again, is_vital, process, said, dt.datetime.now(dt.UTC))


@contextlib.contextmanager
def alone(home: Path) -> Iterator[int]:
    """One `up` a home; yields the open lock. After one that was killed, its parts get the time they need to end.

    Raises Occupied while another runs, BadInput for a home that cannot be written to.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(home / "up.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise BadInput(f"ALPHAFORGE_HOME {home}: {error.strerror}; it must be a directory to write to") from error
    owner = home / "up.pid"
    deadline = time.monotonic() + END_S_MAX + 10
    try:
        while not _locked(lock):
            pid = owner.read_text().strip() if owner.exists() else ""
            if lives.is_alive(int(pid) if pid.isdigit() else None) or time.monotonic() > deadline:
                raise Occupied(
                    f"{home} is up already (process {pid or 'unknown'}): stop that one with Ctrl-C, or set"
                    " ALPHAFORGE_HOME to another directory"
                )
            time.sleep(POLL_S)
        owner.write_text(f"{os.getpid()}\n")
        lives.path(home).unlink(missing_ok=True)
        try:
            yield lock
        finally:
            owner.unlink(missing_ok=True)
            if (left := lives.read(home)) and not left.gave_up:
                lives.path(home).unlink()
    finally:
        os.close(lock)


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
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


def notify_ready() -> None:
    """Tell systemd that all is up, where it started us as a unit of Type=notify (sd_notify(3)); else nothing."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
            told.sendto(b"READY=1", address.replace("@", "\0", 1) if address.startswith("@") else address)
