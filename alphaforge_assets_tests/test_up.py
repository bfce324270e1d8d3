"""`alphaforge up` from outside: everything answers, all ends together, backfills are launched as its UI does."""

import dataclasses
import json
import os
import signal
from pathlib import Path

import pytest

from alphaforge_assets.cli import logs, processes
from alphaforge_assets.cli.logs import journal
from alphaforge_assets.cli.processes import Parts, answers
from alphaforge_assets.errors import Permanent
from alphaforge_assets.health.parts import read
from alphaforge_assets.settings import settings_from_environment
from alphaforge_assets.warehouse.client import open_warehouse
from alphaforge_assets.webhooks import read_webhooks
from alphaforge_assets_tests.installed import (
    BACKFILL_S_MAX,
    CANARY,
    CHAIN,
    ENDS,
    OPENER,
    Filled,
    Installed,
    Up,
    call,
    fault,
    started_up,
    until,
)  # fmt: skip
from alphaforge_assets_tests.test_alerts import Receiver, receiver

__all__ = ["receiver"]


def parts(installed: Installed) -> dict[str, int]:
    """Module -> pid of each part of a running `up`."""
    words = {pid: command.split() for pid, command in installed.processes().items()}
    return {
        w[w.index("alphaforge_assets.cli.part") + 1]: pid
        for pid, w in words.items()
        if "alphaforge_assets.cli.part" in w
    }


def test_every_part_answers_where_it_says(up: Up) -> None:
    assert call(f"{up.ui}/server_info")["dagster_version"]
    assert call(f"{up.venues}/_about")["sandbox"] == "alphaforge"
    with OPENER.open(f"{up.warehouse}/ping") as answer:
        assert answer.read() == b"Ok.\n"
    health = "query Health { instance { daemonHealth { allDaemonStatuses { daemonType healthy required } } } }"

    def are_healthy() -> bool:
        statuses = up.graphql("Health", health)["instance"]["daemonHealth"]["allDaemonStatuses"]
        return all(status["healthy"] for status in statuses if status["required"])

    until(are_healthy, 60)


def test_second_up_is_refused_and_the_first_goes_on(up: Up) -> None:
    done = up.installed.run("up", "--venues", "sandbox", "--port", "0")
    assert done.returncode == 1
    assert f"is up already (process {up.process.pid})" in done.stderr
    assert call(f"{up.ui}/server_info")["dagster_version"]
    assert (up.installed.home / "up.pid").read_text().strip() == str(up.process.pid)


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_signal_ends_everything_in_order(number: signal.Signals, template: Path, tmp_path: Path) -> None:
    with started_up(Installed(tmp_path).furnished(template)) as up:
        assert len(parts(up.installed)) == 4
        up.process.send_signal(number)
        assert up.process.wait(120) == 0
        assert up.installed.processes() == {}
        assert "killed" not in up.installed.said("up")
        assert sorted(file.name for file in up.installed.home.glob("up.*")) == ["up.lock"]


def test_a_part_that_dies_is_started_again_and_the_others_go_on(template: Path, tmp_path: Path) -> None:
    with started_up(Installed(tmp_path).furnished(template)) as up:
        for module in list(parts(up.installed)):
            before = parts(up.installed)
            os.kill(before[module], signal.SIGKILL)
            until(lambda: parts(up.installed).get(module, before[module]) != before[module], 60)  # noqa: B023
            assert parts(up.installed) | {module: 0} == before | {module: 0}
            until(lambda: all(answers(url) for url in (up.ui, f"{up.venues}/_about", f"{up.warehouse}/ping")), 60)
        assert up.installed.said("up").count("was killed by SIGKILL and is started again") == 4
        assert up.process.poll() is None


def test_a_part_that_dies_again_and_again_ends_everything_and_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, receiver: Receiver
) -> None:
    for name in ("DEATHS_MAX", "PAUSE_S_MAX"):
        monkeypatch.setattr(processes, name, 1)
    lock = os.open(tmp_path / "lock", os.O_CREAT)
    found = Parts(lock, journal(tmp_path, "json"))
    alerts = read_webhooks(receiver.url)
    settings = dataclasses.replace(settings_from_environment(), home=tmp_path, alerts=alerts)
    found.start("calendar", ["calendar", "2025"], settings, lambda: True)
    with pytest.raises(
        Permanent, match=r"calendar ended with code 0, the 2th time within 10 minutes.* its last words: "
    ):
        found.watch()
    found.stop()
    said = [json.loads(line) for line in (tmp_path / "logs" / "calendar.log").read_text().splitlines()]
    assert {(line["part"], line["level"]) for line in said} == {("calendar", "info")}
    lives = read(tmp_path)
    assert lives is not None
    assert "calendar ended with code 0" in lives.gave_up
    assert len(lives.parts[0].restarts) == 1
    until(lambda: len(receiver.got) == 2, 30)  # of a restart it is told by a thread
    assert any("calendar ended with code 0 and is started again" in text for text in receiver.texts)
    assert any("`alphaforge up` gave up: calendar ended with code 0" in text for text in receiver.texts)
    assert {(new["kind"], new["subject"]) for body in receiver.got for new in body["new"]} == {("parts", "calendar")}
    assert not any("December" in text for text in receiver.texts)  # the part's own words stay in the log
    os.close(lock)


def test_a_log_is_turned_over_at_its_size_and_few_old_ones_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "FILE_BYTES_MAX", 10_000)
    taking, speaking = os.pipe()
    said = logs.written(os.fdopen(taking, "rb"), "part", tmp_path / "part.log", "text")
    with os.fdopen(speaking, "w") as part:
        for n in range(20_000):
            part.write(f"line {n}\n")
    said.drain()
    files = [tmp_path / name for name in ("part.log.3", "part.log.2", "part.log.1", "part.log")]
    assert sorted(tmp_path.glob("part*")) == sorted(files)
    assert all(file.stat().st_size <= 10_000 for file in files)
    kept = "".join(file.read_text() for file in files).splitlines()
    assert len(kept) > 2_000
    assert kept == [f"line {n}" for n in range(20_000 - len(kept), 20_000)]  # none lost between two files


def test_after_kill_9_nothing_stays_and_the_next_up_works(template: Path, tmp_path: Path) -> None:
    installed = Installed(tmp_path).furnished(template)
    with started_up(installed) as first:
        before = parts(installed)
        os.kill(first.process.pid, signal.SIGKILL)
        first.process.wait()
        with started_up(installed) as second:
            assert not set(before.values()) & set(installed.processes())
            assert call(f"{second.ui}/server_info")["dagster_version"]
            os.kill(second.process.pid, signal.SIGKILL)
            second.process.wait()
            until(lambda: installed.processes() == {}, 60)


def test_up_uses_a_warehouse_that_runs_already(template: Path, tmp_path: Path) -> None:
    installed = Installed(tmp_path).furnished(template)
    with open_warehouse(installed.home) as client, started_up(installed) as up:
        assert "alphaforge_assets.warehouse.embedded" not in parts(installed)
        assert up.warehouse.endswith(f":{client.url.rpartition(':')[2]}")
        up.process.send_signal(signal.SIGINT)
        assert up.process.wait(60) == 0
        assert client.command("SELECT 1") == 1


def test_backfill_from_the_ui_materializes_everything_in_few_runs(filled_up: Filled) -> None:
    state = filled_up.state
    keys = len(filled_up.days) * len(filled_up.instruments)
    assert state["status"] == "COMPLETED_SUCCESS"
    assert state["numPartitions"] == keys
    assert {run["status"] for run in state["runs"]} == {"SUCCESS"}
    assert len(state["runs"]) <= 5
    for asset in CHAIN:
        assert filled_up.up.partition_stats(asset)["numMaterialized"] >= keys
    with open_warehouse(filled_up.up.installed.home) as client:
        query = """SELECT count(), uniqExact(symbol), min(toDate(timestamp)), max(toDate(timestamp))
            FROM analytics.v_bars WHERE venue = 'okx_perp' AND timestamp < '2025-03-15'"""
        (row,) = client.query(query).result_rows
    assert row[:2] == (keys * (1440 + 24), len(filled_up.instruments))
    assert (str(row[2]), str(row[3])) == (filled_up.days[0], filled_up.days[-1])


@pytest.mark.slow
def test_one_refused_instrument_of_a_ui_backfill_holds_back_no_other(up: Up) -> None:
    day, bad, sound = "2025-04-01", "binance_spot.ETH-USDT", ("binance_spot.BTC-USDT", "binance_spot.SOL-USDT")
    fault(up.venues, path="/api/v3/klines", kind="status", status=451, symbol="ETHUSDT", times=1000)
    count = """SELECT symbol, count() FROM analytics.v_bars
        WHERE venue = 'binance_spot' AND toDate(timestamp) = '2025-04-01' GROUP BY symbol ORDER BY symbol"""
    try:
        backfill = up.backfill(CHAIN, [day], [sound[0], bad, sound[1]])
        until(lambda: up.backfill_state(backfill)["status"] in ENDS, BACKFILL_S_MAX, every_s=1)
        with open_warehouse(up.installed.home) as client:
            until(lambda: len(client.query(count).result_rows) == 2, BACKFILL_S_MAX, every_s=1)
            assert client.query(count).result_rows == [("BTC/USDT", 1464), ("SOL/USDT", 1464)]
        until(lambda: all(run.is_finished for run in up.installed.runs()), BACKFILL_S_MAX, every_s=1)
    finally:
        call(f"{up.venues}/_faults", method="DELETE")
    failed = [run for run in up.installed.runs() if run.status.value == "FAILURE"]
    assert failed
    assert all(bad.split(".")[1] in str(run.tags) or sound[0] in str(run.tags) for run in failed)


def test_command_line_and_up_share_one_home(up: Up) -> None:
    words = ("backfill", "--instruments", "bybit_spot.BTC-USDT", "--from", "2025-02-01", "--to", "2025-02-02")
    assert "1,464 rows" in up.installed.well(*words, ALPHAFORGE_VENUES=up.venues)
    assert "bybit_spot" in up.installed.well("status")


def test_key_of_the_environment_is_written_nowhere(filled_up: Filled) -> None:
    assert filled_up.up.installed.files_that_hold(CANARY, at_least=50) == []


def test_the_ui_tells_no_secret(filled_up: Filled) -> None:
    query = """query Everything {
      instance { info }
      runsOrError(limit: 20) { ... on Runs { results { runConfigYaml tags { key value }
        eventConnection(limit: 1000) { events { ... on MessageEvent { message }
          ... on ExecutionStepFailureEvent { error { message stack causes { message stack } } }
          ... on MaterializationEvent { metadataEntries { label description } } } } } } }
      repositoriesOrError { ... on RepositoryConnection { nodes {
        allTopLevelResourceDetails { name configuredValues { key value type }
          configFields { name defaultValueAsJson } } } } } }"""
    said = json.dumps(filled_up.up.graphql("Everything", query))
    assert "landing_bars" in said
    assert '"warehouse"' in said
    assert CANARY not in said
