"""One rate budget a venue, shared by every process of the machine through one SQLite file.

Who wants to send a request calls `take`: it reserves the request's weight in one short transaction, sleeps until the
moment it was given, and returns. The same row holds what the venue asked of us (`hold`: 429, 418, bans), which all
processes obey and which survives restarts, and a breaker that fails fast while the whole venue is down.

The reservation is GCRA (ITU-T I.371; the "virtual scheduling" form): one theoretical arrival time a budget. Moments are
handed out in the order of the transactions, so it is fair, and in any window of `window_s` no more than
HEADROOM x `limit` is granted, whichever process asked. A library was considered: pyrate-limiter keeps one row per unit
of weight and served three processes 51 : 1 : 1.

Reads the clock of the machine, never a venue's. Nothing here knows HTTP.
"""

import datetime as dt
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock

from alphaforge_assets.errors import BadInput, VenueLimited, VenueUnavailable

# Of a venue's limit we use this share. The rest absorbs what we cannot see: network jitter that bunches requests up,
# the venue counting by fixed windows on its own clock, and requests it counts although we gave up on them.
HEADROOM = 0.95

# Above this share of the limit, in the venue's own count, somebody else spends from our IP: everybody pauses.
BRAKE_AT = 0.97

# Binance's longest ban; longer holds are mistakes.
HOLD_S_MAX = 3 * 86_400.0

# The breaker opens when nothing but failures came for FAILING_S and there were FAILURES_MAX of them: a short blip is
# left to each request's own retries. It stays open for OPEN_S, then the next failure opens it again.
FAILURES_MAX = 10
FAILING_S = 20.0
OPEN_S = 10.0

# A reservation further ahead than this means that the clock was set back: no caller waits that long.
QUEUE_S_MAX = 3_600.0

BUSY_TIMEOUT_S = 30.0

SCHEMA = """
CREATE TABLE IF NOT EXISTS budgets (
  name TEXT NOT NULL,              -- Budget.name
  address TEXT NOT NULL,           -- who counts: 'live', or the base URL of a sandbox
  arrival REAL NOT NULL,           -- theoretical arrival time of the next unit of weight, Unix seconds
  held_until REAL NOT NULL,        -- the venue wants no request before this, Unix seconds
  failures INTEGER NOT NULL,       -- transient failures since the last good answer
  failing_since REAL NOT NULL,     -- when the first of them came
  open_until REAL NOT NULL,        -- the breaker is open until this
  reason TEXT NOT NULL,            -- why it is held or open
  PRIMARY KEY (name, address)
) WITHOUT ROWID, STRICT
"""


@dataclass(frozen=True)
class Budget:
    """What a venue allows one IP address: `limit` units of weight in any `window_s`.

    `burst` units may go at once after a pause; the rest is spread evenly. It must be at least the heaviest request's
    weight.
    """

    name: str
    limit: float
    window_s: float
    burst: float

    @property
    def seconds_per_unit(self) -> float:
        """Spacing such that burst + window / spacing <= HEADROOM x limit."""
        return self.window_s / (HEADROOM * self.limit - self.burst)


@dataclass(frozen=True)
class State:
    """A row of `budgets`."""

    arrival: float = 0.0
    held_until: float = 0.0
    failures: int = 0
    failing_since: float = 0.0
    open_until: float = 0.0
    reason: str = ""


def grant(state: State, budget: Budget, weight: int, now: float) -> tuple[float, State]:
    """When `weight` units may go, and the state after that. Pure.

    After a hold the queue starts again at its end, so the waiting do not all go at once.
    """
    start = max(now, min(state.held_until, now + HOLD_S_MAX))
    arrival = state.arrival if start < state.arrival <= start + QUEUE_S_MAX else start
    arrival += weight * budget.seconds_per_unit
    at = max(start, arrival - max(budget.burst, weight) * budget.seconds_per_unit)
    return at, replace(state, arrival=arrival)


class Governor:
    """The budgets of one address, in one file. Thread-safe; every process opens its own.

    `factor` multiplies every limit. It is 1 for a real venue; a sandbox may allow more.
    Raises BadInput if the file cannot be used.
    """

    def __init__(self, file: Path, address: str, factor: float = 1.0) -> None:
        self.file = file
        self.address = address
        self.factor = factor
        self._lock = threading.RLock()
        self._troubled: set[str] = set()  # budgets whose last answer we saw was a failure
        with self._explained():
            file.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(file, BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
            # SQLite does not wait for its turn when it changes a file to WAL: two first openers would collide.
            with FileLock(f"{file}.lock", BUSY_TIMEOUT_S):
                self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.execute(SCHEMA)

    def close(self) -> None:
        self._db.close()

    def take(self, budget: Budget, weight: int, patience_s: float, stop: threading.Event) -> float:
        """Wait until `weight` units may be spent; returns the seconds waited.

        Raises VenueLimited if that is more than `patience_s` away (nothing is reserved then), VenueUnavailable if the
        breaker is open or `stop` was set.
        """
        budget = self._scaled(budget)
        began = time.monotonic()
        while True:
            if stop.is_set():
                raise VenueUnavailable(f"{budget.name}: the connection was closed")
            at = self._reserve(budget, weight, patience_s - (time.monotonic() - began))
            if at > time.time():
                if stop.wait(max(0.0, at - time.time())):
                    continue
                late_s = time.time() - at
                if late_s > 0.05 * budget.window_s or self._state(budget).held_until > time.time():
                    continue  # overslept, or the venue asked for a pause meanwhile: this grant is no longer good
            return time.monotonic() - began

    def hold(self, budget: Budget, seconds: float, reason: str) -> None:
        """The venue wants no request for `seconds`. A shorter hold never shortens a longer one."""
        with self._transaction() as now:
            state = self._state(budget)
            until = max(min(state.held_until, now + HOLD_S_MAX), now + min(seconds, HOLD_S_MAX))
            self._write(budget, replace(state, held_until=until, reason=reason[:500]))

    def used(self, budget: Budget, weight: int, window_left_s: float) -> None:
        """The venue's own count of the current window. Near the limit everybody pauses until that window is over."""
        budget = self._scaled(budget)
        if weight > BRAKE_AT * budget.limit:
            self.hold(budget, window_left_s, f"the venue counts {weight} of {budget.limit:.0f} used from this address")

    def failed(self, budget: Budget, reason: str) -> None:
        """A transient failure of the venue."""
        self._troubled.add(budget.name)
        with self._transaction() as now:
            state = self._state(budget)
            failing_since = state.failing_since if state.failures else now
            failures = state.failures + 1
            is_down = failures >= FAILURES_MAX and now - failing_since >= FAILING_S
            open_until = now + OPEN_S if is_down else state.open_until
            self._write(
                budget,
                replace(
                    state, failures=failures, failing_since=failing_since, open_until=open_until, reason=reason[:500]
                ),
            )

    def answered(self, budget: Budget) -> None:
        """The venue answered: whatever failed before is over."""
        if budget.name in self._troubled:
            self._troubled.discard(budget.name)
            with self._transaction():
                self._write(budget, replace(self._state(budget), failures=0, failing_since=0.0, open_until=0.0))

    def _reserve(self, budget: Budget, weight: int, patience_s: float) -> float:
        with self._transaction() as now:
            state = self._state(budget)
            if state.failures:
                self._troubled.add(budget.name)
            if state.open_until > now:
                raise VenueUnavailable(
                    f"{budget.name}: not asked for {state.open_until - now:.0f} s more, "
                    f"after {state.failures} failures in a row; the last: {state.reason}"
                )
            at, after = grant(state, budget, weight, now)
            if at - now > max(patience_s, 0.0):
                why = f": {state.reason}" if state.held_until > now else ""
                raise VenueLimited(
                    f"{budget.name}: may be asked in {at - now:.0f} s; this call waits {patience_s:.0f} s at most{why}",
                    retry_after_s=at - now,
                )
            self._write(budget, after)
            return at

    def _scaled(self, budget: Budget) -> Budget:
        if self.factor == 1.0:
            return budget
        return replace(budget, limit=budget.limit * self.factor, burst=budget.burst * self.factor)

    def _state(self, budget: Budget) -> State:
        with self._lock, self._explained():
            row = self._db.execute(
                "SELECT arrival, held_until, failures, failing_since, open_until, reason FROM budgets "
                "WHERE name = ? AND address = ?",
                (budget.name, self.address),
            ).fetchone()
        return State(*row) if row else State()

    def _write(self, budget: Budget, state: State) -> None:
        self._db.execute(
            "REPLACE INTO budgets VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                budget.name,
                self.address,
                state.arrival,
                state.held_until,
                state.failures,
                state.failing_since,
                state.open_until,
                state.reason,
            ),
        )

    @contextmanager
    def _transaction(self) -> Iterator[float]:
        """Yields the time, read under the file's write lock: what later transactions read is never earlier."""
        with self._lock, self._explained():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield time.time()
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise BadInput(
                f"governor file {self.file}: {error}. It must be a writable file on a local disk; "
                "if it is damaged, delete it: it holds nothing but rate limits"
            ) from error


def held(file: Path, address: str) -> list[tuple[str, dt.datetime, str]]:
    """The budgets of an address that a venue wants left alone: name, until when, why. Nothing if nobody ever asked.

    Only reads, and waits for no writer. Raises BadInput if the file cannot be read.
    """
    if not file.exists():
        return []
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", BUSY_TIMEOUT_S, uri=True)) as db:
            rows = db.execute(
                "SELECT name, held_until, reason FROM budgets WHERE address = ? AND held_until > ? ORDER BY name",
                (address, time.time()),
            ).fetchall()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return []  # the first opener is about to make it
        raise BadInput(f"governor file {file}: {error}. It must be a readable file on a local disk") from error
    return [(name, dt.datetime.fromtimestamp(until, dt.UTC), reason) for name, until, reason in rows]
