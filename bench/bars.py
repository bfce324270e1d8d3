"""One instrument-year of 1m bars from the sandbox to v_bars, against two floors measured in the same run.

Floors: fetching and parsing alone, inserting the same rows once alone. The venue's rate limit is lifted on both sides,
so that our own speed shows and not Binance's allowance. Prints seconds, rows/s and ratios; asserts nothing.
"""

import datetime as dt
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pyarrow as pa
from clickhouse_connect.driver.client import Client

from alphaforge_assets import instance
from alphaforge_assets.backfill.run import execute
from alphaforge_assets.datasets.bars import BARS
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.pipeline.landing import land
from alphaforge_assets.pipeline.mart import publish
from alphaforge_assets.pipeline.staging import stage
from alphaforge_assets.sandbox import process as sandbox
from alphaforge_assets.settings import Settings
from alphaforge_assets.universe import Universe
from alphaforge_assets.venues.source import Connection
from alphaforge_assets.warehouse import statements
from alphaforge_assets.warehouse.client import open_warehouse
from alphaforge_assets.warehouse.migrations import migrator
from alphaforge_assets_tests.conftest import open_venue

LIFTED = 50.0
START, END = dt.date(2024, 1, 1), dt.date(2025, 1, 1)
KEY = "binance_spot.BTC-USDT"
ROUNDS = 3


@dataclass(frozen=True)
class Unlimited:
    """Exchanges whose rate limits are LIFTED times the venue's."""

    url: str
    state: Path
    origin: str = "sandbox"

    def open(self, venue: str) -> Connection:
        return open_venue(venue, base_url=self.url, governor_file=self.state, limits_factor=LIFTED)


def main() -> None:
    universe = Universe.model_validate(
        {"history_start": START, "intervals": ["1m"], "venues": {"binance_spot": {"instruments": ["BTC/USDT"]}}}
    )
    covered = Rectangle(universe.instruments, START, END)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, sandbox.start(budget_scale=LIFTED) as url:
        exchanges = Unlimited(url, Path(folder) / "governor.sqlite3")
        rows = fetched(exchanges, covered)
        fetch_s = median(lambda: fetched(exchanges, covered))
        insert_s, body_s, parts = [], [], []
        for n in range(ROUNDS):
            with open_warehouse(Path(folder) / f"home{n}") as client:
                migrator.migrate(client, statements.MIGRATIONS, database="analytics", lock_dir=Path(folder))
                insert_s.append(timed(lambda: insert_alone(client, rows)))
                timings = pipeline(client, exchanges, covered, universe)
                parts.append(timings)
                body_s.append(sum(timings.values()))
        report(rows.num_rows, fetch_s, statistics.median(insert_s), statistics.median(body_s), parts)
        dagster_cost(Path(folder), url, universe)


def fetched(exchanges: Unlimited, covered: Rectangle) -> pa.Table:
    """The floor of fetching: the rows of the year, parsed, and nothing done with them."""
    with exchanges.open("binance_spot") as connection:
        now = connection.fetch_server_time()
        return connection.submit_bars("BTCUSDT", "1m", covered.start_time, covered.end_time, now).result().table


def insert_alone(client: Client, rows: pa.Table) -> None:
    """The floor of inserting: the same rows once, a month an insert, into a table like landing_bars."""
    client.command("CREATE TABLE IF NOT EXISTS analytics.bench_floor AS analytics.landing_bars")
    client.command("TRUNCATE TABLE analytics.bench_floor")
    constant = {
        "venue": "binance_spot",
        "symbol": "BTC/USDT",
        "interval": "1m",
        "source": "rest",
        "batch_id": str(uuid.uuid4()),
    }
    for name, value in constant.items():
        rows = rows.append_column(
            name, pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), rows.num_rows), [value])
        )
    now = pa.scalar(dt.datetime.now(dt.UTC), pa.timestamp("ms", "UTC"))
    rows = rows.append_column("ingested_at", pa.repeat(now, rows.num_rows))
    step = rows.num_rows // 12 + 1
    for start in range(0, rows.num_rows, step):
        client.insert_arrow("analytics.bench_floor", rows.slice(start, step))


def pipeline(client: Client, exchanges: Unlimited, covered: Rectangle, universe: Universe) -> dict[str, float]:
    """Our body: everything that a run does between the sandbox and v_bars, without Dagster."""
    return {
        "land": timed(lambda: land(client, exchanges, covered, BARS, universe.intervals, run_id="bench")),  # type: ignore[arg-type]
        "stage": timed(lambda: stage(client, covered, BARS, universe.intervals)),
        "publish": timed(lambda: publish(client, covered, BARS, universe.intervals)),
    }


def dagster_cost(folder: Path, url: str, universe: Universe) -> None:
    """Seconds of a run, and milliseconds a partition, that Dagster adds to a body with nothing left to do."""
    settings = Settings(folder / "home0", None, url, Path(), folder / "governor.sqlite3", {})
    with open_warehouse(settings.home) as client, instance.opened(folder / "dagster") as opened:
        one = Rectangle(universe.instruments, START, START + dt.timedelta(days=1))
        many = Rectangle(universe.instruments, START, START + dt.timedelta(days=101))
        short = timed(lambda: once(client, opened, universe, settings, one))
        long = timed(lambda: once(client, opened, universe, settings, many))
        bodies = timed(lambda: pipeline(client, Unlimited(url, settings.governor_file), many, universe))
    each_ms = (long - short) / 100 * 1000
    print(f"\nDagster, in process      one run of 1 partition {short:6.2f} s")
    print(f"                         each further partition {each_ms:6.1f} ms, {len(BARS.run_assets)} assets;")
    print(f"                         of which the body {bodies * 10:.1f} ms")


def once(
    client: Client, opened: dg.DagsterInstance, universe: Universe, settings: Settings, covered: Rectangle
) -> None:
    outcome = execute(client, opened, universe, settings, BARS, [covered])
    assert not outcome.failed, outcome.failed


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def median(work: Callable[[], object]) -> float:
    return statistics.median(timed(work) for _ in range(ROUNDS))


def report(rows: int, fetch_s: float, insert_s: float, body_s: float, parts: list[dict[str, float]]) -> None:
    slower = max(fetch_s, insert_s)
    print(f"{rows:,} bars of {KEY}, 1m, {START.year}; medians of {ROUNDS}\n")
    print(f"{'':24} {'seconds':>8} {'rows/s':>10} {'of body':>8}")
    for name, seconds in (
        ("floor: fetch and parse", fetch_s),
        ("floor: insert once", insert_s),
        ("sandbox to v_bars", body_s),
    ):
        print(f"{name:24} {seconds:8.2f} {rows / seconds:10,.0f} {seconds / body_s:8.2f}")
    for name in parts[0]:
        seconds = statistics.median(p[name] for p in parts)
        print(f"  of which {name:13} {seconds:8.2f}")
    print(f"\nbody / slower floor = {body_s / slower:.2f} (to be at most 2)")


if __name__ == "__main__":
    main()
