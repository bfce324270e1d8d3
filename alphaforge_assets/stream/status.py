"""What a running stream says of itself: `stream/status.json` of the home, written whole each second.

Who reads it needs neither the warehouse nor the stream's process; what is older than STALE_S is of one that is gone.
"""

import contextlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

STALE_S = 15.0


@dataclass(frozen=True)
class Wire:
    """One shard: its feed, what it is asked for, and how it goes. Times are Unix seconds, 0 for never."""

    venue: str
    feed: str
    instruments: int
    is_connected: bool
    opened_at: float
    last_at: float
    messages: int
    unknown: int
    lost: int
    reconnects: int
    trouble: str  # why it is not connected, and what is refused


@dataclass(frozen=True)
class Last:
    """The last published bar of an instrument: when it opened (ms), its close came and it was published (Unix s)."""

    key: str
    open_ms: int
    at: float
    published_at: float

    @property
    def lag_s(self) -> float:
        """From the end of the bar to its close message, by the venue's time and our clock."""
        return self.at - (self.open_ms + 60_000) / 1000


@dataclass(frozen=True)
class Status:
    """All of it."""

    pid: int
    started_at: float
    written_at: float
    wires: Sequence[Wire] = ()
    last: Sequence[Last] = ()
    loaded: int = 0  # bars
    waiting: int = 0  # closed bars that are not loaded yet
    missing: int = 0  # breaks that wait for REST
    repaired: int = 0
    journal_bytes: int = 0
    trouble: str = ""
    latency_s: Sequence[float] = field(default_factory=list)  # close message -> published, of the last bars

    @property
    def is_stale(self) -> bool:
        """Whether its process is gone, or stands still."""
        return time.time() - self.written_at > STALE_S


def path(home: Path) -> Path:
    """Where it stands."""
    return home / "stream" / "status.json"


def write(home: Path, status: Status) -> None:
    """Replace it. A full disk is found by others and must not end the stream."""
    with contextlib.suppress(OSError):
        there = path(home)
        there.parent.mkdir(parents=True, exist_ok=True)
        partial = there.with_suffix(f".{os.getpid()}.partial")
        partial.write_text(json.dumps(asdict(status)), encoding="utf-8")
        partial.replace(there)


def read(home: Path) -> Status | None:
    """What was written last; None if nothing, or nothing that can be read."""
    try:
        told: dict[str, Any] = json.loads(path(home).read_text(encoding="utf-8"))
        wires, last = [Wire(**w) for w in told.pop("wires")], [Last(**one) for one in told.pop("last")]
        return Status(**told, wires=wires, last=last)
    except (OSError, ValueError, TypeError, KeyError):
        return None
