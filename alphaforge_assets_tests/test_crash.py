"""kill -9 at any moment, then one clean run: what researchers read is what an undisturbed run gives."""

import datetime as dt
import os
import random
import signal
import subprocess
import time
from pathlib import Path

from alphaforge_assets.venues.directory import Exchanges
from alphaforge_assets.warehouse.client import open_warehouse
from alphaforge_assets_tests.installed import SCRIPT
from alphaforge_assets_tests.test_pipeline import digest

FROM, TO = dt.date(2025, 5, 1), dt.date(2025, 5, 31)
KILLS = 5


def command(*instruments: str) -> list[str]:
    return [str(SCRIPT), "backfill", "--instruments", ",".join(instruments), "--from", str(FROM), "--to", str(TO)]


def environment(home: Path, url: str) -> dict[str, str]:
    return os.environ | {"ALPHAFORGE_HOME": str(home), "ALPHAFORGE_VENUES": url}


def test_killed_five_times_the_bars_are_those_of_an_undisturbed_run(tmp_path: Path, exchange: Exchanges) -> None:
    instruments = ("binance_spot.BTC-USDT", "bybit_spot.ETH-USDT")
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
