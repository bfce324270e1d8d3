"""The ground that everything is measured on: a home, a universe and a sandbox, and rows that nobody had to fetch."""

import atexit
import datetime as dt
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import pyarrow as pa
import yaml
from clickhouse_connect.driver.client import Client

from alphaforge_assets.datasets.bars import BARS
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.pipeline.ahead import Ahead
from alphaforge_assets.pipeline.landing import land
from alphaforge_assets.pipeline.mart import publish
from alphaforge_assets.pipeline.staging import stage
from alphaforge_assets.quality.coverage import judge
from alphaforge_assets.universe import Universe, load_universe
from alphaforge_assets.venues.directory import REST, Exchanges
from alphaforge_assets.warehouse import statements
from alphaforge_assets.warehouse.client import open_warehouse
from alphaforge_assets.warehouse.local import is_held
from alphaforge_assets.warehouse.migrations import migrator
from bench.measure import timed

ROOT = Path(__file__).parents[1]
SCRIPT = Path(sys.executable).with_name("alphaforge")
START = dt.date(2024, 1, 1)
VENUE = "binance_spot"
# What the sandbox lists there and trades.
SYMBOLS = (
    *("BTC/USDT", "ETH/USDT", "SOL/USDT", "XRP/USDT", "BNB/USDT", "DOGE/USDT", "ADA/USDT", "LTC/USDT"),
    *("SOL/BTC", "ETH/BTC"),
)
LIFTED = 50.0  # times the venue's limits, on both sides
CEILING = 6_000 / 2 / 60 * 1_000  # rows/s that the venue's limit lets an address have
# Two decimals of a price that wanders, and amounts of five digits: no bar of the two tables is like another.
MADE = """INSERT INTO analytics.{table:Identifier}
(instrument_id, venue, symbol, interval, timestamp, open_e8, high_e8, low_e8, close_e8, volume_e8, quote_volume_e8,
    trade_count, taker_buy_base_volume_e8, taker_buy_quote_volume_e8, source, batch_id, ingested_at, version,
    published_at)
WITH cityHash64(number, {symbol:String}) AS noise, 60000 + 9000 * sin(number / 7000) AS level,
    round(level + noise % 997 / 100, 2) AS open, noise % 99991 / 1000 AS volume
SELECT
    {id:UInt32}, {venue:String}, {symbol:String}, {interval:String},
    toDateTime64({start:DateTime64(3, 'UTC')}, 3, 'UTC') + toIntervalSecond(number * {step:UInt32}),
    round(1e8 * open), round(1e8 * (open + 12.5)), round(1e8 * (open - 12.5)),
    round(1e8 * round(open + noise % 601 / 100 - 3, 2)), round(1e8 * volume), 1e6 * round(1e2 * volume * open),
    noise % 2003, round(5e7 * volume), 1e6 * round(5e1 * volume * open),
    'rest', generateUUIDv4(), now64(3, 'UTC'), 1, now64(3, 'UTC')
FROM numbers({rows:UInt64})
SETTINGS max_partitions_per_insert_block = 1000"""


@dataclass(frozen=True)
class Ground:
    """A home of its own below `folder`, for the first `instruments` symbols."""

    folder: Path
    symbols: Sequence[str] = SYMBOLS[:1]
    interval: str = "1m"
    start: dt.date = START

    @cached_property
    def universe_file(self) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / "universe.yaml"
        venues = {VENUE: {"instruments": list(self.symbols)}}
        file.write_text(
            yaml.safe_dump({"history_start": self.start, "intervals": [self.interval], "venues": venues}),
            encoding="utf-8",
        )
        return file

    @cached_property
    def universe(self) -> Universe:
        return load_universe(self.universe_file)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def governor_file(self) -> Path:
        return self.folder / "state" / "alphaforge" / "governor.sqlite3"

    def rectangle(self, days: int) -> Rectangle:
        return Rectangle(self.universe.instruments, self.start, self.start + dt.timedelta(days=days))

    @contextmanager
    def warehouse(self) -> Iterator[Client]:
        """The warehouse of the home, with our schema: in a new home, a copy of the one that was made first."""
        if not self.home.exists():
            shutil.copytree(_with_schema(), self.home, symlinks=True)
        with open_warehouse(self.home) as client:
            migrator.migrate(client, statements.MIGRATIONS, database="analytics", lock_dir=self.folder)
            yield client

    def exchanges(self, url: str, factor: float = 1.0) -> Exchanges:
        return Exchanges("sandbox", url, self.governor_file, limits_factor=factor)

    def environment(self, url: str | None = None) -> dict[str, str]:
        """What the command sees: nothing of the developer's."""
        theirs = ("ALPHAFORGE_", "CLICKHOUSE_", "DAGSTER_", "XDG_", "PYTEST_")
        ours = {
            "ALPHAFORGE_HOME": str(self.home),
            "ALPHAFORGE_UNIVERSE": str(self.universe_file),
            "XDG_STATE_HOME": str(self.folder / "state"),
            "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
            **({"ALPHAFORGE_VENUES": url} if url else {}),
        }
        return {k: v for k, v in os.environ.items() if not k.startswith(theirs)} | ours

    def backfill_words(self, days: int, *, lifted: bool = False) -> list[str]:
        """The command line that fetches the first `days` of all symbols, by REST as the floors and peers do."""
        command = [sys.executable, "-m", "bench.lifted"] if lifted else [str(SCRIPT)]
        end = self.start + dt.timedelta(days=days)
        span = ["--from", str(self.start), "--to", str(end)]
        return [*command, "backfill", "--instruments", "*", *span, "--source", "rest"]

    def backfill(self, url: str, days: int, *, lifted: bool = False) -> None:
        """The whole command, to its end."""
        run(self.backfill_words(days, lifted=lifted), self.environment(url))

    def body(self, client: Client, url: str, days: int) -> None:
        """Everything that a run does between the venue and what researchers read, without Dagster, limits lifted.

        As a run does it: what has landed is staged and published while the venue answers.
        """
        whole, venues, intervals = self.rectangle(days), self.exchanges(url, LIFTED), BARS.intervals(self.universe)

        def bring(part: Rectangle) -> bool:
            stage(client, part, BARS, intervals)
            publish(client, part, BARS, intervals)
            return True

        ahead = Ahead(intervals, bring)
        with ahead.working():
            landed = land(client, venues, whole, BARS, intervals, run_id="bench", wish="rest", written=ahead.landed)
        assert not landed.failures, landed.failures
        for part in ahead.left(whole):
            bring(part)
        judge(client, whole, BARS, self.universe)

    def parts(self, client: Client, url: str, days: int) -> dict[str, float]:
        """Seconds of each link of the body, one after another."""
        part, universe, intervals = self.rectangle(days), self.universe, BARS.intervals(self.universe)
        venues = self.exchanges(url, LIFTED)
        links: dict[str, Callable[[], object]] = {
            "land": lambda: land(client, venues, part, BARS, intervals, run_id="bench", wish="rest"),
            "stage": lambda: stage(client, part, BARS, intervals),
            "publish": lambda: publish(client, part, BARS, intervals),
            "judge": lambda: judge(client, part, BARS, universe),
        }
        return {name: timed(link) for name, link in links.items()}

    def fetched(self, url: str, days: int, factor: float) -> list[pa.Table]:
        """The floor of fetching: the same rows, parsed, and nothing done with them."""
        source, part = REST[VENUE], self.rectangle(days)
        with self.exchanges(url, factor).open(source) as connection:
            now = connection.fetch_server_time()
            waiting = [
                connection.submit(
                    BARS.name, i.symbol.replace("/", ""), self.interval, part.start_time, part.end_time, now
                )
                for i in part.instruments
            ]
            return [future.result().table for future in waiting]

    def make_rows(self, client: Client, rows: int, tables: Sequence[str] = ("bars",)) -> None:
        """`rows` bars of each symbol from `start` on, straight into tables."""
        step = {"1m": 60, "1h": 3_600}[self.interval]
        for instrument in self.universe.instruments:
            for table in tables:
                bounds = {
                    "table": table,
                    "id": instrument.instrument_id,
                    "venue": VENUE,
                    "symbol": instrument.symbol,
                    "interval": self.interval,
                    "start": f"{self.start} 00:00:00",
                    "step": step,
                    "rows": rows,
                }
                client.command(MADE, parameters=bounds)


@cache
def _with_schema() -> Path:
    """A home of which nothing but the schema is there: making one takes seconds, and is measured by the commands."""
    folder = Path(tempfile.mkdtemp(prefix="bench-schema-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with open_warehouse(folder / "home") as client:
        migrator.migrate(client, statements.MIGRATIONS, database="analytics", lock_dir=folder)
    data = folder / "home" / "warehouse"
    while is_held(data / "owner.lock"):  # it ends with its last user
        time.sleep(0.1)
    return folder / "home"


def run(command: Sequence[str], environment: dict[str, str] | None = None, folder: Path = ROOT) -> str:
    """A command that must succeed; returns what it printed."""
    done = subprocess.run(
        command, env=environment, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout
