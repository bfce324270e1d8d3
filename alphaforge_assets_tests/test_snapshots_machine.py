"""No operation of ours changes what a snapshot returns: random histories of them over the real engine."""

import datetime as dt
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pyarrow as pa
import pytest
from clickhouse_connect.driver.client import Client
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from alphaforge_assets.datasets.bars import BARS
from alphaforge_assets.errors import BadInput
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.pipeline.mart import publish
from alphaforge_assets.pipeline.staging import stage
from alphaforge_assets.research import snapshots
from alphaforge_assets.research.hashes import Contents
from alphaforge_assets.universe import Instrument
from alphaforge_assets.warehouse import statements
from alphaforge_assets.warehouse.client import open_warehouse
from alphaforge_assets.warehouse.migrations import files, migrator
from alphaforge_assets_tests.installed import Installed

# Three days over the end of a month, so that there are two partitions and two hashes an instrument.
START, HOURS = dt.datetime(2025, 5, 30, tzinfo=dt.UTC), 72
INSTRUMENTS = tuple(Instrument("binance_spot", f"{base}/USDT", START.date()) for base in ("BTC", "ETH"))
PART = Rectangle(INSTRUMENTS, START.date(), START.date() + dt.timedelta(hours=HOURS))
INTERVALS = ("1h",)
WHOLE = Contents(("bars",), tuple(i.key for i in INSTRUMENTS), INTERVALS, PART.start_time, PART.end_time)
TABLES = ("landing_bars", "staging_bars", "bars_history", "bars", "snapshots", "snapshot_hashes")
READ = """SELECT * FROM analytics.bars_as_of(as_of = {as_of:DateTime64(3, 'UTC')}, instruments = {ids:Array(UInt32)},
    interval = '1h', start = {start:DateTime64(3, 'UTC')}, end = {end:DateTime64(3, 'UTC')})
    ORDER BY instrument_id, timestamp"""

hours = st.integers(0, HOURS - 1)
which = st.integers(0, len(INSTRUMENTS) - 1)
batches = st.sampled_from([7, 24, 72])


class Warehouse:
    """The operations, by their real statements. What the venue would say of an hour is `said`: a number, or nothing."""

    def __init__(self, client: Client, other: Client, folder: Path) -> None:
        self.client, self.other, self.folder = client, other, folder
        self.said: dict[tuple[int, int], int | None] = {}

    def clear(self) -> None:
        for table in TABLES:
            self.client.command(
                "TRUNCATE TABLE {t:Identifier}.{n:Identifier}", parameters={"t": "analytics", "n": table}
            )
        self.said = {(i, h): 0 for i in range(len(INSTRUMENTS)) for h in range(HOURS)}

    def land(self, first: int, last: int, batch: int, source: str = "rest", age_s: int = 0) -> None:
        """What the venue says of the hours [first, last), in inserts of `batch` hours."""
        for low in range(first, last, batch):
            came_at = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=age_s)
            some = [k for k in self.said if low <= k[1] < min(low + batch, last) and self.said[k] is not None]
            if some:
                columns = landing([(*k, self.said[k] or 0) for k in some], source, came_at)
                statements.insert(self.client, "landing_bars", columns, token=str(uuid.uuid4()))

    def stage(self) -> None:
        stage(self.client, PART, BARS, INTERVALS)

    def publish(self, client: Client | None = None) -> None:
        publish(client or self.client, PART, BARS, INTERVALS)

    def refresh(self, first: int, last: int, batch: int) -> None:
        self.land(first, last, batch)
        self.stage()
        self.publish()

    def rows(self, snapshot: snapshots.Snapshot) -> pa.Table:
        bound = {
            "as_of": f"{snapshot.pinned_at:%Y-%m-%d %H:%M:%S.%f}"[:-3],
            "ids": PART.instrument_ids,
            "start": f"{snapshot.start:%Y-%m-%d %H:%M:%S}",
            "end": f"{snapshot.end:%Y-%m-%d %H:%M:%S}",
        }
        return self.client.query_arrow(READ, parameters=bound)


def landing(rows: list[tuple[int, int, int]], source: str, came_at: dt.datetime) -> pa.Table:
    """Landing rows of (instrument, hour, what was said)."""
    price = [100.0 + 10 * i + h + 0.25 * said for i, h, said in rows]
    opened = [START + dt.timedelta(hours=h) for _, h, _ in rows]
    moment = pa.timestamp("ms", "UTC")
    n = len(rows)
    return pa.table(
        {
            "venue": ["binance_spot"] * n,
            "symbol": [INSTRUMENTS[i].symbol for i, _, _ in rows],
            "interval": ["1h"] * n,
            "timestamp": pa.array(opened, moment),
            "close_time": pa.array([t + dt.timedelta(milliseconds=3_599_999) for t in opened], moment),
            "open": price,
            "high": [p + 2 for p in price],
            "low": [p - 2 for p in price],
            "close": [p + 1 for p in price],
            "volume": [float(h) for _, h, _ in rows],
            # Unsaid, nothing and zero by turns.
            "quote_volume": pa.array(
                [None if h % 3 == 0 else 0.0 if h % 3 == 1 else p for p, (_, h, _) in zip(price, rows, strict=True)],
                pa.float64(),
            ),
            "is_closed": [True] * n,
            "metadata": [""] * n,
            "source": [source] * n,
            "batch_id": [str(uuid.uuid4())] * n,
            "ingested_at": pa.array([came_at] * n, moment),
        }
    )


class Histories(RuleBasedStateMachine):
    """What is pinned stays; `pinned` is what was read when it was."""

    def __init__(self, warehouse: Warehouse) -> None:
        super().__init__()
        self.at = warehouse
        self.pinned: dict[str, pa.Table] = {}
        self.pins = 0

    @initialize(last=st.integers(1, HOURS), batch=batches)
    def begin(self, last: int, batch: int) -> None:
        self.at.clear()
        self.at.refresh(0, last, batch)
        self._pin(0, HOURS)  # so that every history has one to keep

    @rule(first=hours, length=st.integers(1, HOURS), batch=batches)
    def ingest(self, first: int, length: int, batch: int) -> None:
        self.at.refresh(first, min(first + length, HOURS), batch)

    @rule(first=hours, length=st.integers(1, HOURS))
    def archive(self, first: int, length: int) -> None:
        """A source of a higher rank, whose rows are older."""
        self.at.land(first, min(first + length, HOURS), 100, source="archive", age_s=3600)
        self.at.stage()
        self.at.publish()

    @rule(first=hours, length=st.integers(1, 24), age_s=st.integers(1, 10_000))
    def late(self, first: int, length: int, age_s: int) -> None:
        """An answer that is older than others that came before it."""
        self.at.land(first, min(first + length, HOURS), 100, age_s=age_s)
        self.at.stage()
        self.at.publish()

    @rule()
    def rerun(self) -> None:
        self.at.stage()
        self.at.publish()

    @rule(instrument=which, hour=hours, says=st.integers(0, 2))
    def revise(self, instrument: int, hour: int, says: int) -> None:
        """From A to B and, by and by, back to A."""
        self.at.said[instrument, hour] = says
        self.at.refresh(hour, hour + 1, 1)

    @rule(instrument=which, hour=hours, length=st.integers(1, 12))
    def hole(self, instrument: int, hour: int, length: int) -> None:
        """The venue no longer has some hours, or never had."""
        self.at.said |= {(instrument, h): None for h in range(hour, min(hour + length, HOURS))}

    @rule(batch=batches)
    def heal(self, batch: int) -> None:
        self.at.said = {k: 1 if said is None else said for k, said in self.at.said.items()}
        self.at.refresh(0, HOURS, batch)

    @rule(instrument=which, hour=hours)
    def killed_between_history_and_mart(self, instrument: int, hour: int) -> None:
        self.at.said[instrument, hour] = (self.at.said[instrument, hour] or 0) + 1
        self.at.land(hour, hour + 1, 1)
        self.at.stage()
        self.killed_within_history(0, HOURS)

    @rule(first=hours, length=st.integers(1, HOURS))
    def killed_within_history(self, first: int, length: int) -> None:
        """Part of a publication is visible, and the rest is not."""
        self.at.land(0, HOURS, 100)
        self.at.stage()
        low, high = (START + dt.timedelta(hours=h) for h in (first, first + length))
        bounds = {"instruments": PART.instrument_ids, "start": low, "end": high}
        statements.execute(self.at.client, "mart/history", **bounds, **BARS.tables)

    @rule()
    def two_publishers(self) -> None:
        self.at.stage()
        both(lambda: self.at.publish(self.at.other), self.at.publish)

    @rule(table=st.sampled_from(["bars_history", "staging_bars", "bars", "snapshots", "snapshot_hashes"]))
    def optimize(self, table: str) -> None:
        self.at.client.command("OPTIMIZE TABLE analytics.{t:Identifier} FINAL", parameters={"t": table})

    @rule()
    def migrate(self) -> None:
        """Every statement of the tables and views that snapshots rest on, once more."""
        migrator.migrate(self.at.client, statements.MIGRATIONS, database="analytics", lock_dir=self.at.folder)
        for migration in files.read_migrations(statements.MIGRATIONS):
            if migration.script in ("V002__bars.sql", "V008__snapshots.sql", "R__bars_as_of.sql", "R__v_snapshots.sql"):
                for statement in migration.statements:
                    self.at.client.command(statement.text)

    @precondition(lambda self: len(self.pinned) < 3)
    @rule(first=st.integers(0, HOURS // 2), length=st.integers(HOURS // 2, HOURS))
    def pin(self, first: int, length: int) -> None:
        self._pin(first, length)

    @precondition(lambda self: len(self.pinned) < 3)
    @rule(hour=st.integers(0, HOURS - 1))
    def pin_while_publishing(self, hour: int) -> None:
        for instrument in range(len(INSTRUMENTS)):
            self.at.said[instrument, hour] = (self.at.said[instrument, hour] or 0) + 1
        self.at.land(0, HOURS, 100)
        self.at.stage()
        both(lambda: self.at.publish(self.at.other), lambda: self._pin(0, HOURS))

    @precondition(lambda self: self.pinned)
    @rule(data=st.data())
    def unpin(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.pinned)))
        snapshots.unpin(self.at.client, name)
        del self.pinned[name]

    def _pin(self, first: int, length: int) -> None:
        low = START + dt.timedelta(hours=first)
        high = min(PART.end_time, low + dt.timedelta(hours=length))
        wanted = Contents(WHOLE.datasets, WHOLE.instruments, WHOLE.intervals, low, high)
        name = f"pin{self.pins}"
        self.pins += 1
        try:
            self.pinned[name] = self.at.rows(snapshots.pin(self.at.client, name, wanted))
        except BadInput as error:
            if "nothing to pin" not in str(error):
                raise

    @invariant()
    def every_snapshot_is_what_it_was(self) -> None:
        found = {s.name: s for s in snapshots.listed(self.at.client)} if self.pins else {}
        assert found.keys() == self.pinned.keys()
        for name, rows in self.pinned.items():
            assert self.at.rows(found[name]).equals(rows), name
            assert found[name].rows == rows.num_rows
            assert snapshots.verify(self.at.client, name) == []


def both(beside: Callable[[], Any], here: Callable[[], Any]) -> None:
    failed: list[BaseException] = []

    def run() -> None:
        try:
            beside()
        except BaseException as error:  # raised below, in the thread of the test
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        here()
    finally:
        thread.join()
    if failed:
        raise failed[0]


@pytest.mark.parametrize("histories", [5, pytest.param(200, marks=[pytest.mark.slow, pytest.mark.timeout(7200)])])
def test_nothing_we_do_changes_a_snapshot(histories: int, migrated: Client, tmp_path: Path) -> None:
    with open_warehouse(Installed(tmp_path / "migrated").home) as other:  # a second client of the same server
        warehouse = Warehouse(migrated, other, tmp_path)
        settings = hypothesis.settings(
            max_examples=histories,
            stateful_step_count=10,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        run_state_machine_as_test(lambda: Histories(warehouse), settings=settings)  # type: ignore[no-untyped-call]
