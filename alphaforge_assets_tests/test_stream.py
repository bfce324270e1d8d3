"""The stream end to end: the sandbox's sockets, journals, the embedded warehouse, and REST as the judge of it."""

import asyncio
import contextlib
import datetime as dt
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import requests
from clickhouse_connect.driver.client import Client

from alphaforge_assets.backup.place import Folder
from alphaforge_assets.datasets.bars import BARS
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.refresh import refresh
from alphaforge_assets.sandbox.process import start
from alphaforge_assets.settings import settings_from_environment
from alphaforge_assets.stream.process import Stream
from alphaforge_assets.universe import Universe
from alphaforge_assets.venues.directory import Exchanges
from alphaforge_assets.warehouse.schema import open_current
from alphaforge_assets_tests.conftest import LIFTED, lifted

UNIVERSE = Universe.model_validate(
    {
        "history_start": dt.date(2025, 1, 1),
        "intervals": ["1m"],
        "venues": {
            "binance_spot": {"instruments": ["BTC/USDT"]},
            "binance_perp": {"instruments": ["BTC/USDT"]},
            "bybit_perp": {"instruments": ["ETH/USDT"]},
            "okx_spot": {"instruments": ["SOL/USDT"]},
            "kraken_spot": {"instruments": ["BTC/USD"]},
        },
    }
)
BEGIN = dt.datetime(2025, 1, 2, 10, 0, 50, tzinfo=dt.UTC)
DAY = BEGIN.date()


@dataclass(frozen=True)
class Running:
    """A stream in a thread, and what it works on."""

    stream: Stream
    client: Client
    exchanges: Exchanges
    words: list[str]

    def minutes(self) -> dict[str, list[dt.datetime]]:
        """Key of instrument -> the minutes of its published bars, in order."""
        rows = self.client.query(
            "SELECT venue || '.' || replaceOne(symbol, '/', '-'), groupArray(timestamp)"
            " FROM (SELECT * FROM analytics.v_bars WHERE interval = '1m' ORDER BY timestamp) GROUP BY 1",
            tz_mode="aware",
        ).result_rows
        return dict(rows)

    def until_minutes(self, count: int) -> None:
        """Wait until each instrument has so many."""
        keys = {i.key for i in UNIVERSE.instruments}
        until(
            lambda: (m := self.minutes()).keys() == keys and min(map(len, m.values())) >= count,
            lambda: f"{ {k: len(v) for k, v in self.minutes().items()} }, {self.words}, {self.stream.trouble}",
        )

    def value(self, query: str) -> Any:
        return self.client.query(query).result_rows[0][0]


def until(is_so: Callable[[], bool], otherwise: Callable[[], str], seconds: float = 40.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, otherwise()
        time.sleep(0.1)


@pytest.fixture
def venues(tmp_path: Path) -> Iterator[Exchanges]:
    with start(budget_scale=LIFTED) as url:
        post(url, "/_clock", {"now": BEGIN.isoformat(), "rate": 60})
        yield lifted(url, tmp_path / "governor.sqlite3")


def post(url: str | None, path: str, body: dict[str, Any]) -> None:
    requests.post(f"{url}{path}", json=body, timeout=5).raise_for_status()


@contextlib.contextmanager
def streaming(home: Path, exchanges: Exchanges) -> Iterator[Running]:
    """A stream of its own over a warehouse of its own, ended and its threads with it."""
    settings = replace(
        settings_from_environment(), home=home, venues_url=exchanges.base_url, governor_file=exchanges.governor_file
    )
    settings.dagster_home.mkdir(parents=True, exist_ok=True)
    words: list[str] = []
    with open_current(home) as client, open_current(home) as loading, open_current(home) as mending:
        stop = threading.Event()
        stream = Stream(settings, UNIVERSE, exchanges, loading, mending, Folder(home / "segments"), words.append, stop)
        failed: list[BaseException] = []

        def run() -> None:
            try:
                asyncio.run(stream.live())
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield Running(stream, client, exchanges, words)
        finally:
            stop.set()
            thread.join(60)
        assert not thread.is_alive()
        assert not failed, failed


def agrees_with_rest(running: Running) -> None:
    """Every minute is there once, and REST, asked for all of them, says nothing else."""
    for key, minutes in running.minutes().items():
        expected = [minutes[0] + dt.timedelta(minutes=n) for n in range(len(minutes))]
        assert minutes == expected, key
    refetched = refresh(
        running.client,
        running.exchanges,
        UNIVERSE,
        Rectangle(UNIVERSE.instruments, DAY, DAY + dt.timedelta(days=1)),
        BARS,
        run_id="rest",
        refetch=True,
        since=min(m[0] for m in running.minutes().values()),
        until=min(m[-1] for m in running.minutes().values()) + dt.timedelta(minutes=1),
        is_judged=False,
    )
    assert not refetched.failures
    assert refetched.rows
    changed = running.client.query(
        "SELECT venue, symbol, timestamp, groupArray(tuple(source, open, high, low, close, volume, quote_volume,"
        " contract_volume, trade_count, taker_buy_base_volume, taker_buy_quote_volume, close_time))"
        " FROM analytics.bars_history GROUP BY 1, 2, 3 HAVING count() > 1"
    ).result_rows
    assert changed == []


def test_bars_come_by_stream_as_rest_would_have_told_them(tmp_path: Path, venues: Exchanges) -> None:
    with streaming(tmp_path / "home", venues) as running:
        running.until_minutes(4)
        requests.delete(f"{venues.base_url}/_connections", timeout=5)
        before = min(map(len, running.minutes().values()))
        running.until_minutes(before + 6)
        ws = running.value("SELECT countIf(source = 'ws') / count() FROM analytics.v_bars")
        assert ws > 0.4, running.words
    with open_current(tmp_path / "home") as client:
        agrees_with_rest(replace(running, client=client))
        files = list((tmp_path / "home" / "segments").rglob("*.jsonl.zst"))
        noted = client.query("SELECT count() FROM analytics.stream_segments").result_rows[0][0]
        assert len(files) == noted
