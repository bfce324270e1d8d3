"""Named places in the pipeline where a process can be told to die, to fail or to wait, so that tests need not guess.

For tests and nothing else. ALPHAFORGE_FAIL holds orders separated by commas, each POINT=WHAT or POINT=WHAT@N: at the
N-th passing of the point in a process (the first, if not said) it is

    kill        killed at once, as by kill -9         raise     failed, by a Transient error
    sleep:S     kept waiting for S seconds            nospace   told that the disk is full (OSError, ENOSPC)

such as ALPHAFORGE_FAIL=publish.between=kill@2. So that nobody does this to real data by accident, an order is refused
unless ALPHAFORGE_VENUES names a sandbox, and so is a point that does not exist. Who reads the environment is settings;
without an order, passing a point costs a call and a look at one variable.
"""

import errno
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from alphaforge_assets.errors import BadInput, Transient

POINTS: Mapping[str, str] = {
    "landing.before": "answers are there, and nothing of them is written",
    "landing.after": "rows are in landing, and the ledger does not know",
    "ledger.after": "the ledger says that a window is answered",
    "failures.before": "a window got no answer, and nobody has noted it",
    "staging.before": "rows have landed, and none is staged",
    "staging.between": "sound rows are staged, and those that break a rule not yet set apart",
    "staging.after": "all is staged",
    "publish.before": "nothing of the staged rows is in history",
    "publish.between": "new versions are in history, and the current table has the old ones",
    "publish.after": "the current table has them too",
    "judge.before": "all is published, and nothing judged",
    "judge.after": "what is missing has its verdict",
    "tail.reached": "the tail has a venue's clock, and has asked it for nothing yet",
    "pin.begun": "a pin has taken its instant, and hashed nothing",
    "pin.hashed": "the hashes of a pin are kept, and the pin has no name yet",
    "pin.finished": "a pin has its name, and nobody has been told",
    "backup.file": "a file of a backup is written, and does not have its name yet",
    "backup.manifest": "all files of a backup are there, and its manifest is not",
    "journal.before": "messages have come, and none of them is on disk",
    "journal.synced": "messages are on disk, and nothing is made of them",
    "streamed.before": "closed bars of streams are on disk, and none of them has landed",
    "streamed.landed": "closed bars of streams have landed, and none of them is staged",
    "streamed.between": "new versions of streamed bars are in history, and the current table has the old ones",
    "segment.before": "a segment is packed, and not at its place",
    "segment.after": "all segments of a journal are at their place, and the journal is still there",
    "restore.pieces": "all rows are restored, and nothing is proved",
}  # fmt: skip
FORM = "write POINT=kill, raise, nospace or sleep:SECONDS, then @N for the N-th passing, such as publish.between=kill@2"


@dataclass(frozen=True)
class Order:
    """What is to happen at the `nth` passing of a point."""

    point: str
    what: str
    nth: int = 1
    seconds: float = 0.0


@dataclass
class Armed:
    """The orders of this process, and how often each point has been passed."""

    text: str
    orders: tuple[Order, ...]
    passed: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)


_armed: Armed | None = None


def arm(text: str, *, is_sandbox: bool) -> None:
    """Obey the orders in `text` from now on; none if it is empty. The same text again changes nothing, counts included.

    Raises BadInput for an order that cannot be, and for any at all while the venues are real.
    """
    global _armed
    if _armed is not None and _armed.text == text:
        return
    orders = read(text)
    if orders and not is_sandbox:
        raise BadInput(
            f"ALPHAFORGE_FAIL {text!r}: for tests with emulated venues only, and the venues are live: unset it, or set"
            " ALPHAFORGE_VENUES to the URL of a sandbox"
        )
    _armed = Armed(text, orders) if orders else None


def read(text: str) -> tuple[Order, ...]:
    """The orders in `text`. Raises BadInput naming the one that cannot be."""
    return tuple(_order(part.strip()) for part in text.split(",") if part.strip())


def passing(point: str) -> None:
    """Say that `point` of POINTS is reached. Raises Transient or OSError if that was ordered; it may not return."""
    if _armed is not None:
        _obey(_armed, point)


def _order(text: str) -> Order:
    point, _, rest = text.partition("=")
    what, _, nth = rest.partition("@")
    what, _, seconds = what.partition(":")
    if point not in POINTS:
        raise BadInput(f"ALPHAFORGE_FAIL: no point {point!r}; there are {', '.join(POINTS)}")
    try:
        order = Order(point, what, int(nth or "1"), float(seconds or "0"))
    except ValueError as error:
        raise BadInput(f"ALPHAFORGE_FAIL {text!r}: {FORM}") from error
    is_sleep = what == "sleep"
    if what not in ("kill", "raise", "nospace", "sleep") or order.nth < 1 or is_sleep != (0 < order.seconds < 3600):
        raise BadInput(f"ALPHAFORGE_FAIL {text!r}: {FORM}")
    return order


def _obey(armed: Armed, point: str) -> None:
    with armed.lock:
        armed.passed[point] += 1
        passed = armed.passed[point]
    for order in armed.orders:
        if (order.point, order.nth) != (point, passed):
            continue
        print(f"ALPHAFORGE_FAIL: {order.what} at passing {passed} of {point}", file=sys.stderr, flush=True)
        match order.what:
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "sleep":
                time.sleep(order.seconds)
            case "nospace":
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), point)
            case _:
                raise Transient(f"ALPHAFORGE_FAIL told us to fail at {point}: unset it, and run this again")
