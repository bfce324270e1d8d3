"""What `alphaforge up` says of itself to others: its parts, how they died, and whether it gave up.

It stands in `up.json` of the home, written whole at each change. A clean end takes it away; what gave up leaves it.
"""

import datetime as dt
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from alphaforge_assets.health.findings import Finding
from alphaforge_assets.warehouse.local import is_held

RESTARTS_KEPT = 10
# A part that was started again so recently is still worth a word.
RECENT = dt.timedelta(minutes=10)
LOGS = "look into the log of that name in `logs` of the home"


@dataclass(frozen=True)
class Restart:
    """A death of a part, after which it was started again: when, and how it had ended."""

    at: dt.datetime
    how: str


@dataclass(frozen=True)
class Life:
    """A part of `up`; `pid` is None while it is dead."""

    name: str
    pid: int | None
    started_at: dt.datetime
    restarts: Sequence[Restart] = ()


@dataclass(frozen=True)
class Lives:
    """All parts of an `up`, and the `venues` it asks: live, or where an emulator answers.

    `gave_up` says why it ended itself, and is empty while it has not.
    """

    pid: int
    ui: str
    is_live: bool
    parts: Sequence[Life]
    gave_up: str = ""
    venues: str = "live"


def path(home: Path) -> Path:
    """Where it stands."""
    return home / "up.json"


def write(home: Path, lives: Lives) -> None:
    """Put it there for others to read, whole or not at all."""
    partial = path(home).with_suffix(".json.partial")
    partial.write_text(json.dumps(asdict(lives), default=lambda moment: moment.isoformat()))
    partial.replace(path(home))


def read(home: Path) -> Lives | None:
    """What the last `up` of a home said; None if it ended well, or nothing readable is there."""
    try:
        said = json.loads(path(home).read_text())
        its = [_life(part) for part in said["parts"]]
        return Lives(said["pid"], said["ui"], said["is_live"], its, said["gave_up"], said["venues"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _life(part: Mapping[str, object]) -> Life:
    said = json.loads(json.dumps(part))
    restarts = [Restart(dt.datetime.fromisoformat(r["at"]), r["how"]) for r in said["restarts"]]
    return Life(said["name"], said["pid"], dt.datetime.fromisoformat(said["started_at"]), restarts)


def is_up(home: Path) -> bool:
    """Whether an `up` or a part of one lives in a home."""
    return is_held(home / "up.lock")


def is_alive(pid: int | None) -> bool:
    """Whether there is a process of that number."""
    if pid is None or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def up(home: Path, now: dt.datetime) -> Iterator[Finding]:
    """Whether `up` runs, and how its parts are."""
    lives = read(home)
    if not is_up(home):
        if lives and lives.gave_up:
            yield Finding("up", "wrong", f"gave up: {lives.gave_up}", f"{LOGS}, then `alphaforge up`")
        elif lives:
            yield Finding("up", "wrong", f"process {lives.pid} was killed and nothing runs", "`alphaforge up`")
        else:
            yield Finding("up", "note", "does not run, so nothing is kept up to date", "`alphaforge up`")
        return
    if lives is None:
        yield Finding("up", "note", "is just starting, or on its way out", "look again in a minute")
        return
    yield Finding(
        "up", "ok", f"runs as process {lives.pid}, its UI at {lives.ui or 'no address yet'}, its venues: {lives.venues}"
    )
    for part in lives.parts:
        yield _of_part(part, now)


def _of_part(part: Life, now: dt.datetime) -> Finding:
    name = f"part {part.name}"
    recent = [restart for restart in part.restarts if restart.at > now - RECENT]
    often = f"{len(recent)} times within {RECENT.seconds // 60} minutes, the last: {recent[-1].how}" if recent else ""
    if not is_alive(part.pid):
        if part.name == "warehouse":  # another process may have started one, which is used then
            return Finding(name, "note", "is not there now; the check of the warehouse says whether one answers")
        return Finding(
            name, "wrong", f"is dead; {often}" if often else "is dead", f"`up` starts it again; if not, {LOGS}"
        )
    if recent:
        return Finding(name, "note", f"was started again {often}", LOGS)
    return Finding(name, "ok", f"runs since {part.started_at:%Y-%m-%d %H:%M} UTC")
