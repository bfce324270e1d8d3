"""AlphaForge as its users run it: the console script, `up` and its UI, each a real process behind a real socket."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dagster as dg

from alphaforge_assets.warehouse.client import open_warehouse
from alphaforge_assets.warehouse.local import is_held
from alphaforge_assets.warehouse.schema import open_current

SCRIPT = Path(sys.executable).with_name("alphaforge")
CANARY = "canary-6b1f0a9e-never-to-be-seen"
CHAIN = ("landing_bars", "staging_bars", "bars", "coverage")
ENDS = ("COMPLETED", "COMPLETED_SUCCESS", "COMPLETED_FAILED", "CANCELED", "FAILED")
RUN_S_MAX = 120.0
UP_S_MAX = 240.0
BACKFILL_S_MAX = 240.0
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Installed:
    """The `alphaforge` command with a home of its own, below `root`."""

    root: Path
    venues: str | None = None

    @property
    def home(self) -> Path:
        return self.root / "home"

    def furnished(self, template: Path) -> "Installed":
        """The same with a home that has our schema already: making that takes seconds, and is not the subject."""
        shutil.copytree(template, self.home, symlinks=True)
        return self

    @contextlib.contextmanager
    def served(self) -> Iterator["Installed"]:
        """The same with its warehouse kept up: starting one for each command costs a second, and is not the subject."""
        with open_warehouse(self.home):
            yield self

    def environment(self, **more: str | None) -> dict[str, str]:
        """What a process of ours sees: nothing of the developer's, and a key that must never show."""
        ours = ("ALPHAFORGE_", "CLICKHOUSE_", "DAGSTER_", "PYTEST_", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "XDG_")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
        chosen = {"HOME": str(self.root), "ALPHAFORGE_HOME": str(self.home), "ALPHAFORGE_VENUES": self.venues}
        all_of = kept | chosen | {"ALPHAFORGE_BINANCE_SPOT_KEY": CANARY, "AWS_SECRET_ACCESS_KEY": CANARY} | more
        return {k: v for k, v in all_of.items() if v is not None}

    def run(self, *words: str, **more: str | None) -> "subprocess.CompletedProcess[str]":
        """Run to the end; what it says must never hold the key nor a traceback."""
        done = subprocess.run(
            [SCRIPT, *words],
            env=self.environment(**more),
            cwd=self._folder(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=RUN_S_MAX,
        )
        assert CANARY not in done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
        return done

    def well(self, *words: str, **more: str | None) -> str:
        """Run a command that must succeed, and return its output."""
        done = self.run(*words, **more)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @contextlib.contextmanager
    def started(self, *words: str, **more: str | None) -> Iterator["subprocess.Popen[str]"]:
        """A running command, in a session of its own; ended with all its session if the test leaves it running."""
        log = self._folder() / f"{words[0]}.out"
        with log.open("w") as output:
            process = subprocess.Popen(
                [SCRIPT, *words],
                env=self.environment(**more),
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(45)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def said(self, command: str) -> str:
        """What the last started `command` has said so far."""
        return (self.root / f"{command}.out").read_text()

    def runs(self) -> list[dg.DagsterRun]:
        """Runs recorded in the home; none if it has no instance."""
        if not (self.home / "dagster").exists():
            return []
        with dg.DagsterInstance.from_config(str(self.home / "dagster")) as instance:
            return list(instance.get_runs())

    def processes(self) -> dict[int, str]:
        """Living processes whose environment names this home: pid -> command line. Needs /proc."""
        mark = f"ALPHAFORGE_HOME={self.home}".encode()
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                is_ours = mark in (folder / "environ").read_bytes().split(b"\0")
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
                if is_ours and command:  # a zombie has none
                    found[int(folder.name)] = command
        return found

    def files_that_hold(self, words: str, at_least: int) -> list[Path]:
        """Files under the root that hold `words`. The warehouse may end meanwhile and take files along."""
        files = [file for file in self.root.rglob("*") if file.is_file()]
        assert len(files) >= at_least
        return [file for file in files if words.encode() in _content(file)]

    def _folder(self) -> Path:
        self.root.mkdir(parents=True, exist_ok=True)
        return self.root


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return b""


@dataclass(frozen=True)
class Up:
    """A running `alphaforge up --venues sandbox`."""

    installed: Installed
    process: "subprocess.Popen[str]"
    ui: str
    warehouse: str
    venues: str
    first_backfill: str = ""

    def graphql(self, operation: str, query: str, **variables: Any) -> Any:
        """Ask as the UI does: POST with the operation's name in the address. Returns `data`."""
        body = json.dumps({"operationName": operation, "query": query, "variables": variables}).encode()
        headers = {"Content-Type": "application/json", "Origin": self.ui, "Sec-Fetch-Site": "same-origin"}
        answer = call(f"{self.ui}/graphql?op={operation}", body, headers)
        assert "errors" not in answer, answer
        return answer["data"]

    def backfill(self, assets: Sequence[str], days: Sequence[str], instruments: Sequence[str] = ()) -> str:
        """Launch a backfill of days × instruments, or of days alone, as the UI does. Returns its id."""
        params = {
            "selector": None,
            "assetSelection": [{"path": [name]} for name in assets],
            "partitionNames": [f"{day}|{instrument}" for day in days for instrument in instruments] or list(days),
            "fromFailure": False,
            "tags": [],
        }
        query = """mutation LaunchPartitionBackfill($backfillParams: LaunchBackfillParams!) {
          launchPartitionBackfill(backfillParams: $backfillParams) {
            __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
        launched = self.graphql("LaunchPartitionBackfill", query, backfillParams=params)["launchPartitionBackfill"]
        assert launched["__typename"] == "LaunchBackfillSuccess", launched
        return str(launched["backfillId"])

    def backfill_state(self, backfill_id: str) -> Any:
        query = """query BackfillState($id: String!) { partitionBackfillOrError(backfillId: $id) {
          ... on PartitionBackfill { status numPartitions runs(limit: 500) { id status } } } }"""
        return self.graphql("BackfillState", query, id=backfill_id)["partitionBackfillOrError"]

    def partition_stats(self, asset: str) -> Any:
        query = """query Stats($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) {
          ... on AssetNode { partitionStats { numMaterialized numFailed numMaterializing } } } }"""
        return self.graphql("Stats", query, key={"path": [asset]})["assetNodeOrError"]["partitionStats"]


@contextlib.contextmanager
def started_up(installed: Installed, *words: str, **more: str) -> Iterator[Up]:
    """`alphaforge up` on free ports, once it says where everything is; with its own sandbox if no venues are given.

    Without live updates unless `words` ask for them, so that no test meets runs that it did not launch.
    """
    venues = () if installed.venues else ("--venues", "sandbox")
    words = words or ("--no-live",)
    with installed.started("up", *venues, "--port", "0", *words, COLUMNS="200", **more) as process:

        def is_ready() -> bool:
            assert process.poll() is None, installed.said("up")
            return "Ctrl-C" in installed.said("up")

        until(is_ready, UP_S_MAX)
        said = dict(line.rsplit(maxsplit=1) for line in installed.said("up").splitlines()[:4])
        yield Up(installed, process, said["Dagster UI"], said["warehouse"], said["venues"])


@dataclass(frozen=True)
class Filled:
    """A backfill as the UI launches it, and what became of it."""

    up: Up
    days: tuple[str, ...]
    instruments: tuple[str, ...]
    state: Any


FILLED_DAYS = tuple(f"2025-03-{n:02d}" for n in range(1, 11))
FILLED_INSTRUMENTS = tuple(f"okx_perp.{base}-USDT" for base in ("BTC", "ETH", "SOL", "XRP"))


def launched(up: Up) -> Up:
    """Launch ten days of four instruments through the whole chain; tests of other things go on meanwhile."""
    return replace(up, first_backfill=up.backfill(CHAIN, FILLED_DAYS, FILLED_INSTRUMENTS))


def filled(up: Up) -> Filled:
    """Wait for the end of what `launched` launched. The daemon looks every 30 s."""
    until(lambda: up.backfill_state(up.first_backfill)["status"] in ENDS, BACKFILL_S_MAX, every_s=1)
    return Filled(up, FILLED_DAYS, FILLED_INSTRUMENTS, up.backfill_state(up.first_backfill))


def home_with_schema(home: Path) -> Path:
    """Make a home of which nothing but the warehouse with our schema is there, at rest: it may be copied."""
    with open_current(home):
        pass
    until(lambda: not is_held(home / "warehouse" / "owner.lock"), 60)  # it ends with its last user
    return home


def until(true: Callable[[], bool], seconds: float, every_s: float = 0.3) -> None:
    """Wait for something to become true, and fail if it does not."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s"
        time.sleep(every_s)


def call(url: str, body: bytes | None = None, headers: dict[str, str] | None = None, method: str | None = None) -> Any:
    """One request for JSON, past any proxy of the environment."""
    with OPENER.open(urllib.request.Request(url, body, headers or {}, method=method), timeout=60) as answer:
        return json.load(answer)


def fault(venues: str, **order: Any) -> None:
    """Order a fault from a sandbox."""
    call(f"{venues}/_faults", json.dumps(order).encode())


def requests_of(venues: str, since: int = 0) -> list[dict[str, Any]]:
    """A sandbox's log of requests after number `since`."""
    return list(call(f"{venues}/_log?since={since}"))
