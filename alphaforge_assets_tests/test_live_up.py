"""Live updates as users see them: a running `alphaforge up`, a downtime of three days, and nobody who does anything.

The venues are a sandbox of the test's own, so that its clock can be moved while `up` is down.
"""

import datetime as dt
import json
import signal
from pathlib import Path

import dagster as dg
import pytest

from alphaforge_assets.sandbox import process as sandbox
from alphaforge_assets.warehouse.client import open_warehouse
from alphaforge_assets_tests.conftest import LIFTED
from alphaforge_assets_tests.installed import Installed, Up, call, started_up, until

UNIVERSE = """\
history_start: 2025-01-01
intervals: [1m, 1h]
venues:
  binance_spot: {instruments: [BTC/USDT]}
  okx_perp: {instruments: [BTC/USDT]}
"""
DAY = dt.timedelta(days=1)
RUN_S_MAX = 240.0


def launch_tail(up: Up) -> str:
    """What the schedule does every four minutes. Returns the run's id."""
    query = """mutation LaunchRun($executionParams: ExecutionParams!) { launchRun(executionParams: $executionParams) {
      __typename ... on LaunchRunSuccess { run { id } } ... on PythonError { message } } }"""
    selector = {"repositoryLocationName": "alphaforge", "repositoryName": "__repository__", "jobName": "live_tail"}
    launched = up.graphql("LaunchRun", query, executionParams={"selector": selector, "runConfigData": {}})["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    return str(launched["run"]["id"])


def run_named(installed: Installed, job: str, **tags: str) -> dg.DagsterRun | None:
    """The run of a job with such tags that ended well, if there is one."""
    good = (r for r in installed.runs() if r.job_name == job and r.status == dg.DagsterRunStatus.SUCCESS)
    return next((r for r in good if all(r.tags.get(k.replace("_", "/", 1)) == v for k, v in tags.items())), None)


def bars(installed: Installed) -> tuple[int, dt.datetime]:
    """Minutes of v_bars, and the last of them."""
    with open_warehouse(installed.home) as client:
        rows = client.query(
            "SELECT count(), max(timestamp) FROM analytics.v_bars WHERE interval = '1m'", tz_mode="aware"
        ).result_rows
    return int(rows[0][0]), rows[0][1]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_three_days_of_downtime_are_made_up_for_by_nobody(tmp_path: Path) -> None:
    (tmp_path / "universe.yaml").write_text(UNIVERSE)
    today = dt.datetime.now(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    before, after = today - 4 * DAY + dt.timedelta(hours=10, seconds=30), today + dt.timedelta(minutes=6, seconds=10)
    with sandbox.start(now=before, budget_scale=LIFTED) as url:
        installed = Installed(tmp_path, venues=url)
        environment = {"ALPHAFORGE_UNIVERSE": str(tmp_path / "universe.yaml")}
        with started_up(installed, "--live", **environment) as up:
            until(lambda: run_named(installed, "refresh_listings") is not None, RUN_S_MAX, every_s=2)
            run_id = launch_tail(up)
            until(lambda: {r.run_id: r for r in installed.runs()}[run_id].is_success, RUN_S_MAX, every_s=2)
            assert bars(installed) == (2 * (1440 + 600), before - dt.timedelta(seconds=90))
            until(lambda: run_named(installed, "refresh_bars") is not None, RUN_S_MAX, every_s=2)  # the day before
            up.process.send_signal(signal.SIGINT)
            assert up.process.wait(60) == 0
        call(f"{url}/_clock", json.dumps({"now": after.isoformat()}).encode())
        with started_up(installed, "--live", **environment) as up:
            launch_tail(up)
            days = {
                "dagster_asset_partition_range_start": f"{before.date()}|binance_spot.BTC-USDT",
                "dagster_asset_partition_range_end": f"{today.date() - DAY}|okx_perp.BTC-USDT",
            }
            until(lambda: run_named(installed, "refresh_bars", **days) is not None, RUN_S_MAX, every_s=2)
            until(lambda: run_named(installed, "refresh_funding_rates") is not None, RUN_S_MAX, every_s=2)
            until(lambda: run_named(installed, "refresh_fear_greed_index") is not None, RUN_S_MAX, every_s=2)
            assert bars(installed) == (2 * (5 * 1440 + 6), after - dt.timedelta(seconds=70))
            health = up.partition_stats("bars")
            assert (health["numMaterialized"], health["numFailed"]) == (2 * (1 + 4), 0)
