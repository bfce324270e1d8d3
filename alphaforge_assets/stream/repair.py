"""Minutes that a stream did not tell: asked of REST, landed as every answer is, and noted with their reason.

What REST does not answer within REPAIR_S is left to the tail, which asks for everything that no answer covers.
"""

import datetime as dt
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
from clickhouse_connect.driver.client import Client

from alphaforge_assets.datasets.bars import BARS
from alphaforge_assets.errors import AlphaForgeError, VenueUnavailable
from alphaforge_assets.universe import Instrument
from alphaforge_assets.venues.directory import REST, Exchanges
from alphaforge_assets.venues.source import Patience
from alphaforge_assets.warehouse import statements
from alphaforge_assets.warehouse.batches import Answer, Failure, append, record_failures
from alphaforge_assets.warehouse.windows import Window

REPAIR_S = 600.0
PATIENCE = Patience(request_s=10.0, total_s=20.0, attempts=3)
AGAIN_S = 5.0


@dataclass(frozen=True)
class Missing:
    """Minutes [start, end) of an instrument, by the venue's name, why the stream has none, and since when we know."""

    instrument: Instrument
    venue_symbol: str
    start: dt.datetime
    end: dt.datetime
    reason: str
    noted_at: float  # Unix seconds
    not_before: float = 0.0  # steady seconds


@dataclass(frozen=True)
class Outcome:
    """What became of one `Missing`; rows None: nobody answered."""

    missing: Missing
    rows: int | None


def repair(client: Client, exchanges: Exchanges, wanted: Sequence[Missing], run_id: str) -> list[Outcome]:
    """Ask for all of `wanted`, which is of one venue, and land what is said; failures are in the ledger.

    Raises WarehouseDown, WarehouseRefused.
    """
    source = REST[wanted[0].instrument.venue]
    outcomes: list[Outcome] = []
    failures: list[Failure] = []
    answers: list[Answer] = []
    with exchanges.open(source, PATIENCE) as connection:
        try:
            closed_before = connection.fetch_server_time() - BARS.settle
        except AlphaForgeError as error:
            _failed(client, exchanges, [(m, error) for m in wanted], run_id)
            return [Outcome(m, None) for m in wanted]
        asked = []
        for its in wanted:
            if its.end > closed_before:  # not settled at the venue yet: asked again
                outcomes.append(Outcome(its, None))
                continue
            asked.append((its, connection.submit(BARS.name, its.venue_symbol, "1m", its.start, its.end, closed_before)))
        for its, pending in asked:
            window = Window(its.instrument, "1m", its.start, its.end)
            try:
                fetched = pending.result()
            except AlphaForgeError as error:
                failures.append(_failure(window, error))
                outcomes.append(Outcome(its, None))
                continue
            now = dt.datetime.now(dt.UTC)
            start = max(window.start, fetched.since or window.start)
            answers.append(Answer(Window(its.instrument, "1m", start, its.end), fetched.table, now, fetched.cost))
            outcomes.append(Outcome(its, fetched.table.num_rows))
    lock = exchanges.writing(source.venue, BARS.name)
    answers = [a for a in answers if a.window.start < a.window.end]
    append(client, BARS.name, answers, origin=exchanges.origin, source=source.name, run_id=run_id, lock=lock)
    record_failures(client, BARS.name, failures, origin=exchanges.origin, source=source.name, run_id=run_id)
    return outcomes


def note(client: Client, outcomes: Sequence[Outcome]) -> None:
    """Write breaks that are over, one way or the other. Raises WarehouseDown, WarehouseRefused."""
    now = dt.datetime.now(dt.UTC)
    rows = [
        {
            "venue": o.missing.instrument.venue,
            "symbol": o.missing.instrument.symbol,
            "window_start": o.missing.start,
            "window_end": o.missing.end,
            "reason": o.missing.reason,
            "status": "left" if o.rows is None else "repaired",
            "row_count": o.rows or 0,
            "noted_at": dt.datetime.fromtimestamp(o.missing.noted_at, dt.UTC),
            "ended_at": now,
        }
        for o in outcomes
    ]
    if rows:
        data = pa.Table.from_pylist(rows, _BREAKS)
        statements.insert(client, "stream_breaks", data, f"{now.timestamp()}-{len(rows)}-{time.monotonic_ns()}")


def by_venue(wanted: Sequence[Missing]) -> Iterator[list[Missing]]:
    """Those of each venue."""
    venues: dict[str, list[Missing]] = defaultdict(list)
    for its in wanted:
        venues[its.instrument.venue].append(its)
    yield from venues.values()


def _failed(
    client: Client, exchanges: Exchanges, failed: Sequence[tuple[Missing, AlphaForgeError]], run_id: str
) -> None:
    failures = [_failure(Window(m.instrument, "1m", m.start, m.end), error) for m, error in failed]
    record_failures(client, BARS.name, failures, origin=exchanges.origin, source="rest", run_id=run_id)


def _failure(window: Window, error: AlphaForgeError) -> Failure:
    evidence = error.evidence if isinstance(error, VenueUnavailable) else ""
    return Failure(window, dt.datetime.now(dt.UTC), f"{type(error).__name__}: {error}", evidence)


_TIME = pa.timestamp("ms", "UTC")
_BREAKS = pa.schema(
    [
        *((name, pa.string()) for name in ("venue", "symbol")),
        *((name, _TIME) for name in ("window_start", "window_end")),
        *((name, pa.string()) for name in ("reason", "status")),
        ("row_count", pa.uint64()),
        *((name, _TIME) for name in ("noted_at", "ended_at")),
    ]
)
