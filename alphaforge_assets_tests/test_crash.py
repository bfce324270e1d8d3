"""kill -9 at any moment, then one clean run: what researchers read is what an undisturbed run gives."""

import datetime as dt
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client

from alphaforge_assets.datasets.trades import TRADES
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.pipeline import trail
from alphaforge_assets.quality.checks import every_check, offenders
from alphaforge_assets.refresh import refresh
from alphaforge_assets.universe import Universe
from alphaforge_assets.venues.directory import Exchanges
from alphaforge_assets.warehouse.client import open_warehouse
from alphaforge_assets_tests.conftest import LIFTED, empty
from alphaforge_assets_tests.installed import SCRIPT
from alphaforge_assets_tests.test_pipeline import digest

FROM, TO = dt.date(2025, 5, 1), dt.date(2025, 5, 31)
KILLS = 5


def command(*instruments: str) -> list[str]:
    return [str(SCRIPT), "backfill", "--instruments", ",".join(instruments), "--from", str(FROM), "--to", str(TO)]


def environment(home: Path, url: str) -> dict[str, str]:
    return os.environ | {"ALPHAFORGE_HOME": str(home), "ALPHAFORGE_VENUES": url}


def test_killed_five_times_the_bars_are_those_of_an_undisturbed_run(
    template: Path, tmp_path: Path, exchange: Exchanges
) -> None:
    """The schema is there: of migrations that are killed test_migrations_processes tells."""
    instruments = ("binance_spot.BTC-USDT", "bybit_spot.ETH-USDT")
    for name in ("calm", "killed"):
        shutil.copytree(template, tmp_path / name, symlinks=True)
    calm = environment(tmp_path / "calm", exchange.base_url)
    began = time.monotonic()
    subprocess.run(command(*instruments), env=calm, check=True, capture_output=True, timeout=240)
    took_s = time.monotonic() - began

    killed = environment(tmp_path / "killed", exchange.base_url)
    moments = random.Random(took_s)  # noqa: S311 - another choice in every run; printed with a failure
    waits = [moments.uniform(0.3, 1.0) * took_s * 0.8 for _ in range(KILLS)]
    for wait_s in waits:
        run = subprocess.Popen(command(*instruments), env=killed, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            run.wait(wait_s)
        except subprocess.TimeoutExpired:
            run.send_signal(signal.SIGKILL)
            run.wait()
    subprocess.run(command(*instruments), env=killed, check=True, capture_output=True, timeout=240)

    with open_warehouse(tmp_path / "calm") as one, open_warehouse(tmp_path / "killed") as other:
        assert digest(one) == digest(other), waits
        assert digest(one)[0] == 2 * 30 * (1440 + 24)
        versions = "SELECT count() FROM analytics.bars_history FINAL"
        assert other.query(versions).result_rows == one.query(versions).result_rows


TRADED = Universe.model_validate(
    {
        "history_start": dt.date(2025, 1, 1),
        "intervals": ["1m"],
        "venues": {
            venue: {"instruments": [{"symbol": "ETH/BTC", "trades": True}]}
            for venue in ("binance_spot", "coinbase_spot", "kraken_spot")
        },
    }
)
DAY = Rectangle(TRADED.instruments, dt.date(2025, 6, 30), dt.date(2025, 7, 1))
EVENING = dt.datetime(2025, 6, 30, 18, tzinfo=dt.UTC)
TRADE_KILLS = 10


def bring_trades(home: Path, url: str, governor: Path, raw: Path) -> None:
    """A run of trades in a process of its own."""
    exchanges = Exchanges("sandbox", url, governor, limits_factor=LIFTED, trail=raw)
    with open_warehouse(home) as client:
        landed = refresh(client, exchanges, TRADED, DAY, TRADES, run_id=str(os.getpid()), since=EVENING)
        assert landed.failures == []


def of_trades(client: Client) -> list[tuple[object, ...]]:
    told = "cityHash64(trade_id, side, price, quantity, timestamp, trade_kind, source, batch_id, metadata)"
    query = f"SELECT exchange, count(), uniqExact(trade_id), sum({told}) FROM analytics.v_trades GROUP BY 1 ORDER BY 1"
    return list(client.query(query).result_rows)


@pytest.mark.slow
def test_killed_ten_times_the_trades_are_those_of_an_undisturbed_run(
    emptied: Client, schema_home: Path, tmp_path: Path, exchange: Exchanges
) -> None:
    context = multiprocessing.get_context("spawn")

    def started(raw: str) -> multiprocessing.process.BaseProcess:
        governor = exchange.governor_file
        run = context.Process(target=bring_trades, args=(schema_home, exchange.base_url, governor, tmp_path / raw))
        run.start()
        return run

    def finished(raw: str) -> float:
        began, run = time.monotonic(), started(raw)
        run.join(240)
        assert run.exitcode == 0
        return time.monotonic() - began

    took_s = finished("calm")
    true = of_trades(emptied)
    assert [row[0] for row in true] == ["binance_spot", "coinbase_spot", "kraken_spot"]
    assert all(row[1] == row[2] > 1000 for row in true)
    empty(emptied)
    moments = random.Random(took_s)  # noqa: S311 - another choice in every run; printed with a failure
    waits = [moments.uniform(0.2, 1.0) * took_s for _ in range(TRADE_KILLS)]
    for wait_s in waits:
        run = started("killed")
        run.join(wait_s)
        run.kill()
        run.join()
    finished("killed")
    assert of_trades(emptied) == true, waits
    landed = "SELECT count(), uniqExact(instrument_id, trade_id) FROM analytics.landing_trades"
    assert emptied.query(landed).result_rows == [(sum(row[1] for row in true),) * 2], waits
    for check in every_check():
        if check.dataset is TRADES and check.name != "trades_rebuild_bars":
            assert offenders(emptied, check, DAY, dt.datetime(2025, 7, 1, tzinfo=dt.UTC)) == [], (check.name, waits)
    empty(emptied)
    files = trail.files(tmp_path / "killed", [])
    assert [file.name for file in files] == [file.name for file in trail.files(tmp_path / "calm", [])]
    done = trail.replay(emptied, files, exchange, run_id="again")
    assert done.rows == sum(row[1] for row in true)
