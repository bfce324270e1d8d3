"""Closed bars of streams -> landing, staging, mart: what `pipeline` does to what was fetched, for the minutes at hand.

A bar is taken only when its message is on disk. Rows are those of REST but for `source`, which is `ws` and ranks below:
what REST says of the same minute later is published in its place. Of one thread.
"""

import datetime as dt
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
from clickhouse_connect.driver.client import Client
from filelock import Timeout

from alphaforge_assets.datasets.bars import BARS
from alphaforge_assets.errors import VenueUnavailable
from alphaforge_assets.failpoints import passing
from alphaforge_assets.universe import Instrument
from alphaforge_assets.venues.columns import TIME_MS_MAX, parse_rows
from alphaforge_assets.venues.directory import VENUES
from alphaforge_assets.warehouse import locks, statements

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
INTERVAL = "1m"
SOURCE = "ws"
LOCK_WAIT_S = 0.5  # whoever publishes now may take long; then with the next bars
ROWS_PER_TICK = 20_000
LAST_BARS_MS = 90_000  # the last bars of an hour have come by then


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar to be loaded: the venue's row of it, and when the message that closed it came (ns, our clock)."""

    instrument: Instrument
    open_ms: int
    record: object
    connection: str
    at: int


@dataclass
class Loader:
    """Brings bars into the warehouse. `folder` has the locks of publishing."""

    client: Client
    folder: Path
    loaded: int = 0
    untrusted: int = 0
    unpublished: dict[Instrument, tuple[int, int]] = field(default_factory=dict)  # landed minutes [from, until), ms
    run_id: str = field(default_factory=lambda: f"stream:{uuid.uuid4()}")

    def load(self, bars: Sequence[Bar], *, is_replayed: bool = False) -> bool:
        """Append bars to landing and publish them, as of `publish`; those of a journal read again are looked for first.

        Raises WarehouseDown, WarehouseRefused; the same bars may be loaded again then.
        """
        for start in range(0, len(bars), ROWS_PER_TICK):
            some = bars[start : start + ROWS_PER_TICK]
            self._land(self._unknown(some) if is_replayed else some)
            for bar in some:  # also what had landed: it may not be published
                self.note([bar.instrument], bar.open_ms, bar.open_ms + MINUTE_MS)
        return self.publish()

    def publish(self, wait_s: float = LOCK_WAIT_S) -> bool:
        """Stage and publish what has landed; False where somebody else publishes for longer than we wait."""
        if not self.unpublished:
            return True
        bounds = self._bounds(self.unpublished)
        comment = {"run_id": self.run_id, "stream": BARS.name}
        statements.execute(self.client, BARS.stages, comment, **bounds, **BARS.tables)
        statements.execute(self.client, "staging/rejected", comment, **bounds, **BARS.tables)
        try:
            with locks.publishing(self.folder, BARS.name).acquire(timeout=wait_s):
                first, second = BARS.publishes
                statements.execute(self.client, first, comment, **bounds, **BARS.tables)
                passing("streamed.between")
                statements.execute(self.client, second, comment, **bounds, **BARS.tables)
                if BARS.derives:
                    days = {"start": _day(bounds["start"]), "end": _day(bounds["end"]) + dt.timedelta(days=1)}
                    statements.execute(self.client, f"mart/{BARS.derives}", comment, **(bounds | days))
        except Timeout:
            return False
        self.unpublished = {}
        return True

    def note(self, instruments: Sequence[Instrument], start_ms: int, end_ms: int) -> None:
        """Somebody else landed minutes [start, end): they are published with the next."""
        for instrument in instruments:
            known = self.unpublished.get(instrument, (start_ms, end_ms))
            self.unpublished[instrument] = min(known[0], start_ms), max(known[1], end_ms)

    def _land(self, bars: Sequence[Bar]) -> None:
        tables = [table for table in map(self._rows, bars) if table is not None]
        if not tables:
            return
        rows = pa.concat_tables(tables)
        passing("streamed.before")
        statements.insert(self.client, "landing_bars", rows, str(uuid.uuid4()))
        passing("streamed.landed")
        self.loaded += len(tables)

    def _rows(self, bar: Bar) -> pa.Table | None:
        """One row as landing has it; None where it cannot be read: it is in the journal, and REST is asked later."""
        its = bar.instrument
        try:
            row = parse_rows(VENUES[its.venue].bars.layout, [bar.record], MINUTE_MS, TIME_MS_MAX)
        except VenueUnavailable:
            self.untrusted += 1
            return None
        constants = {
            "venue": its.venue,
            "symbol": its.symbol,
            "interval": INTERVAL,
            "source": SOURCE,
            "batch_id": batch_id(bar),
        }
        for name, value in constants.items():
            row = row.append_column(name, pa.array([value] * row.num_rows, pa.string()))
        came = dt.datetime.fromtimestamp(bar.at // 1_000_000 / 1000, dt.UTC)
        return row.append_column("ingested_at", pa.array([came] * row.num_rows, pa.timestamp("ms", "UTC")))

    def _unknown(self, bars: Sequence[Bar]) -> list[Bar]:
        """Those that landing does not have: by minute, batch and when they came."""
        if not bars:
            return []
        spans = {bar.instrument: (bar.open_ms, bar.open_ms + MINUTE_MS) for bar in bars}
        span = min(b.open_ms for b in bars), max(b.open_ms for b in bars) + MINUTE_MS
        found = statements.rows(self.client, "reads/streamed_rows", **self._bounds(dict.fromkeys(spans, span)))
        known = {
            (row["instrument_id"], _ms(row["timestamp"]), str(row["batch_id"]), _ms(moment))
            for row in found
            for moment in row["ingested"]
        }
        return [b for b in bars if (b.instrument.instrument_id, b.open_ms, batch_id(b), b.at // 1_000_000) not in known]

    def _bounds(self, spans: dict[Instrument, tuple[int, int]]) -> dict[str, object]:
        return {
            "instruments": sorted(i.instrument_id for i in spans),
            "start": _moment(min(start for start, _ in spans.values())),
            "end": _moment(max(end for _, end in spans.values())),
        }

    def write_ledger(self, client: Client, instruments: Sequence[Instrument], origin: str, since: dt.datetime) -> None:
        """Note the batches of hours that are over. Of any thread. Raises WarehouseDown, WarehouseRefused."""
        now = int(time.time() * 1000) - LAST_BARS_MS
        statements.execute(
            client,
            "stream/ledger",
            {"run_id": self.run_id},
            instruments=[i.instrument_id for i in instruments],
            start=since,
            end=_moment(now - now % HOUR_MS),
            origin=origin,
            run_id=self.run_id,
        )


def batch_id(bar: Bar) -> str:
    """The batch of a streamed bar: a connection, an instrument, an hour of the venue's time."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{bar.connection}|{bar.instrument.key}|{bar.open_ms // HOUR_MS}"))


def _moment(ms: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(ms / 1000, dt.UTC)


def _ms(moment: dt.datetime) -> int:
    return round(moment.timestamp() * 1000)


def _day(moment: object) -> dt.datetime:
    assert isinstance(moment, dt.datetime)  # noqa: S101 - for the type checker
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)
