"""The audit: every execution has one row, whoever started it and however it ended, and its figures are the ledger's."""

import datetime as dt
import json
import os
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from clickhouse_connect.driver.client import Client

from alphaforge_assets.backfill.question import ask
from alphaforge_assets.cli.backfill import run_backfill
from alphaforge_assets.cli.refresh import refresh_dimensions
from alphaforge_assets.datasets.bars import BARS
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.sandbox import process as sandbox
from alphaforge_assets.settings import settings_from_environment
from alphaforge_assets.universe import load_universe
from alphaforge_assets.upkeep import runs
from alphaforge_assets.upkeep.jobs import job_name
from alphaforge_assets.warehouse import statements
from alphaforge_assets.warehouse.client import open_warehouse
from alphaforge_assets_tests.conftest import LIFTED
from alphaforge_assets_tests.installed import Filled, Installed, fault, until
from alphaforge_assets_tests.test_pipeline import DAY, NOW

SUMS = ("windows", "windows_failed", "rows_in", "requests", "weight", "retries")
HOUR = dt.timedelta(hours=1)


def ledger(client: Client, run_id: str) -> dict[str, int]:
    """The same sums straight from the table."""
    row = client.query(
        "SELECT count(), countIf(status = 'failed'), sum(row_count), sum(requests), sum(weight), sum(retries)"
        " FROM analytics.ingest_batches WHERE run_id = {r:String}",
        parameters={"r": run_id},
    ).result_rows[0]
    return dict(zip(SUMS, row, strict=True))


def sums(row: Mapping[str, Any]) -> dict[str, int]:
    return {name: row[name] for name in SUMS}


@dataclass(frozen=True)
class Tried:
    """A home after a backfill of which one instrument failed, and another whose process was killed while it waited."""

    installed: Installed
    url: str
    rows: list[dict[str, Any]]  # as `alphaforge runs` tells programs

    def environment(self, patch: pytest.MonkeyPatch) -> None:
        patch.setenv("ALPHAFORGE_HOME", str(self.installed.home))
        patch.setenv("ALPHAFORGE_VENUES", self.url)


@pytest.fixture(scope="module")
def tried(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tried]:
    with (
        sandbox.start(now=NOW, budget_scale=LIFTED) as url,
        pytest.MonkeyPatch.context() as patch,
        Installed(tmp_path_factory.mktemp("audited"), url).furnished(template).served() as installed,
    ):
        Tried(installed, url, []).environment(patch)
        fault(url, path="/api/v3/klines", kind="status", status=403, symbol="ETHUSDT", times=1000)
        question = ask(["bars"], ["binance_spot.BTC-USDT", "binance_spot.ETH-USDT"], DAY, DAY + dt.timedelta(days=1))
        assert set(run_backfill(question)) == {"binance_spot.ETH-USDT"}
        fault(url, path="/api/v3/klines", kind="hang", symbol="SOLUSDT", times=1000, skip=1)
        before = len(installed.runs())
        words = ("--instruments", "binance_spot.SOL-USDT", "--from", "2025-06-01", "--to", "2025-06-02")
        with installed.started("backfill", *words) as process:
            until(lambda: len(installed.runs()) > before and installed.runs()[0].status.value == "STARTED", 100)
            os.killpg(process.pid, signal.SIGKILL)
        yield Tried(installed, url, json.loads(installed.well("runs", "--json")))


def test_every_run_has_one_row_with_the_figures_of_the_ledger(tried: Tried) -> None:
    by_id = {row["run_id"]: row for row in tried.rows}
    assert sorted(by_id) == sorted(run.run_id for run in tried.installed.runs())
    assert len(by_id) == len(tried.rows) >= 3
    with open_warehouse(tried.installed.home) as client:
        for run_id, row in by_id.items():
            assert sums(row) == ledger(client, run_id)
        (landed,) = client.query("SELECT count() FROM analytics.landing_bars").result_rows[0]
        (published,) = client.query("SELECT count() FROM analytics.bars_history FINAL").result_rows[0]
    assert sum(row["rows_in"] for row in tried.rows) == landed
    assert sum(row["rows_out"] for row in tried.rows) == published == 1440 + 24
    assert sum(row["rows_rejected"] for row in tried.rows) == 0
    assert {row["trigger"] for row in tried.rows} == {"cli"}
    assert {row["started_by"] for row in tried.rows} == {runs.person()}
    assert {row["code_hash"] for row in tried.rows} == {runs.code_hash()}


def test_a_run_that_fails_says_why_and_a_killed_one_that_it_was(tried: Tried) -> None:
    rows = {tuple(row["instruments"]): row for row in tried.rows}
    failed = rows["binance_spot.BTC-USDT", "binance_spot.ETH-USDT"]
    assert failed["outcome"] == "failure"
    assert failed["rows_out"] in (0, 1464)  # ETH is whole, and may have been published while BTC was still asked for
    assert "VenueRefused" in failed["error"]
    assert rows[("binance_spot.BTC-USDT",)]["outcome"] == "success"
    killed = rows[("binance_spot.SOL-USDT",)]
    assert killed["outcome"] == "failure"
    assert "process that executed this run is gone" in killed["error"]
    assert (killed["day_from"], killed["day_until"]) == ("2025-06-01", "2025-06-02")


def test_what_failed_is_told_among_what_is_missing_by_the_command_that_saw_it_fail(tried: Tried) -> None:
    gaps = json.loads(tried.installed.well("gaps", "--instruments", "binance_spot.ETH-USDT", "--json"))
    missing = {(gap["interval"], gap["missing"], gap["verdict"]) for gap in gaps}
    assert missing == {("1m", 1440, "we_missed"), ("1h", 24, "we_missed")}
    rows = json.loads(tried.installed.well("status", "--json"))
    (row,) = [r for r in rows if (r["symbol"], r["interval"]) == ("ETH/USDT", "1m")]
    assert (row["rows"], row["missing"]) == (0, 1440)


def test_the_table_fits_a_terminal_and_looking_again_adds_nothing(tried: Tried) -> None:
    said = tried.installed.well("runs", COLUMNS="80", NO_COLOR="1")
    assert max(map(len, said.splitlines()[:4])) <= 80
    assert "✗" in said
    assert "✓" in said
    with open_warehouse(tried.installed.home) as client:
        (row,) = client.query("SELECT count(), uniqExact(run_id) FROM analytics.runs").result_rows
        assert row[0] == row[1]


def test_what_a_run_on_record_brought_is_nobody_elses(tried: Tried) -> None:
    """A killed run is found late: by then another may have published the same rectangle within its time."""
    with open_warehouse(tried.installed.home) as client:
        (row,) = client.query(
            "SELECT * FROM analytics.runs WHERE rows_out > 0 LIMIT 1", tz_mode="aware"
        ).named_results()
        asked = {
            **BARS.tables, "instruments": row["instrument_ids"], "start": NOW - dt.timedelta(days=40), "end": NOW,
            "started_at": row["started_at"] - HOUR, "ended_at": row["ended_at"] + HOUR,
        }  # fmt: skip
        late, its = (statements.rows(client, "reads/run_published", run=r, **asked)[0] for r in ("x", row["run_id"]))
    assert (late["rows_out"], its["rows_out"]) == (0, row["rows_out"])


def test_runs_of_the_daemon_are_recorded_by_its_sensor(filled_up: Filled) -> None:
    up = filled_up.up
    ids = {run["id"] for run in filled_up.state["runs"]}

    def rows() -> list[dict[str, Any]]:
        with open_warehouse(up.installed.home) as client:
            found = client.query(
                "SELECT * FROM analytics.v_runs WHERE started_by = {b:String}", parameters={"b": up.first_backfill}
            )
            return list(found.named_results())

    until(lambda: {row["run_id"] for row in rows()} == ids, 90, every_s=2)
    with open_warehouse(up.installed.home) as client:
        for row in rows():
            assert (row["trigger"], row["outcome"], row["datasets"]) == ("ui", "success", ["bars"])
            assert sums(row) == ledger(client, row["run_id"])
            assert row["rows_out"] == row["rows_in"] > 0
            assert row["day_from"] is not None


def test_a_refresh_is_on_record_though_it_is_no_run(tried: Tried, monkeypatch: pytest.MonkeyPatch) -> None:
    tried.environment(monkeypatch)
    refresh_dimensions()
    with open_warehouse(tried.installed.home) as client:
        (row,) = statements.rows(client, "reads/runs", last=1)
    assert (row["job"], row["trigger"], row["outcome"], row["requests"]) == ("refresh", "cli", "success", 0)


@pytest.mark.parametrize(
    ("tags", "trigger", "by"),
    [
        ({}, "ui", ""),
        ({"dagster/backfill": "abcd"}, "ui", "abcd"),
        ({"dagster/schedule_name": "daily_quality_report"}, "schedule", "daily_quality_report"),
        ({"dagster/sensor_name": "split_failed_runs"}, "sensor", "split_failed_runs"),
        ({"dagster/sensor_name": "heal_gaps", "alphaforge/trigger": "heal"}, "heal", "heal_gaps"),
        ({"alphaforge/trigger": "cli", "user": "ada"}, "cli", "ada"),
    ],
)
def test_what_started_a_run_is_read_from_its_tags(tags: dict[str, str], trigger: str, by: str) -> None:
    assert runs._trigger(tags) == {"trigger": trigger, "started_by": by}


def test_the_configuration_hash_is_of_what_matters_and_holds_no_secret() -> None:
    settings = settings_from_environment()
    server = replace(settings, clickhouse_url="http://ada:one@db:8123")
    same = replace(server, clickhouse_url="http://ada:two@db:8123", home=Path("elsewhere"))
    assert runs.config_hash(server, {}) == runs.config_hash(same, {})
    others = [(settings, {}), (server, {"refetch": True}), (replace(server, venues_url="http://127.0.0.1:1"), {})]
    assert len({runs.config_hash(s, c) for s, c in [(server, {}), *others]}) == 4


def test_a_run_of_a_job_is_of_all_that_the_job_is_of(migrated: Client) -> None:
    universe = load_universe()
    part = Rectangle(universe.instruments[:1], DAY, DAY + dt.timedelta(days=1))
    with dg.DagsterInstance.ephemeral() as instance:
        instance.report_run_canceled(instance.create_run_for_job(_refresh_bars, tags=part.tags()))
        runs.record_finished(migrated, instance, universe, settings_from_environment())
    (row,) = statements.rows(migrated, "reads/runs", last=1)
    assert (row["datasets"], row["instruments"], row["day_from"]) == (["bars"], [part.instruments[0].key], DAY)
    assert row["assets"] == sorted(BARS.run_assets)


def test_a_long_time_without_anybody_looking_is_caught_up_with_oldest_first(
    migrated: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "PAGE", 5)
    with dg.DagsterInstance.ephemeral() as instance:
        ids = [f"{n:08d}-0000-4000-8000-000000000000" for n in range(13)]
        for run_id in ids:
            instance.report_run_canceled(instance.create_run_for_job(_nothing, run_id=run_id))
        asked = (migrated, instance, load_universe(), settings_from_environment())
        assert runs.record_finished(*asked) == ids
        assert runs.record_finished(*asked) == []
    rows = statements.rows(migrated, "reads/runs", last=100)
    assert {row["outcome"] for row in rows} == {"canceled"}
    assert len(rows) == 13


@dg.job
def _nothing() -> None:
    pass


@dg.job(name=job_name(BARS))
def _refresh_bars() -> None:
    pass
