"""The `alphaforge` command from outside: questions that cannot be, what backfills do and leave alone, what is shown."""

import datetime as dt
import json
import os
import pty
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from clickhouse_connect.driver.client import Client

from alphaforge_assets.cli.main import main
from alphaforge_assets.sandbox import process as sandbox
from alphaforge_assets.universe import DEFAULT_FILE
from alphaforge_assets.warehouse.client import open_warehouse
from alphaforge_assets_tests.installed import CANARY, SCRIPT, Installed, call, fault, requests_of, until

RANGE = ("--from", "2025-05-01", "--to", "2025-05-02")
BTC = ("--instruments", "binance_spot.BTC-USDT")
COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3\d|4\d|9\d)(?:;\d+)*m")


@pytest.fixture(scope="module")
def venues() -> Iterator[str]:
    """A sandbox that does not make tests wait. Faults are a test's own and taken back at its end."""
    with sandbox.start(budget_scale=50) as url:
        yield url


@pytest.fixture
def alphaforge(tmp_path: Path, venues: str) -> Installed:
    """The command with an empty home."""
    return Installed(tmp_path / "installed", venues)


@pytest.fixture(scope="module")
def filled(template: Path, tmp_path_factory: pytest.TempPathFactory, venues: str) -> Iterator[Installed]:
    """The command with a home that holds two days of two instruments; each test that adds takes other instruments."""
    with Installed(tmp_path_factory.mktemp("filled"), venues).furnished(template).served() as installed:
        installed.well(
            "backfill",
            "--instruments",
            "binance_spot.BTC-USDT,okx_spot.BTC-USDT",
            "--from",
            "2025-05-01",
            "--to",
            "2025-05-03",
        )
        yield installed


@pytest.fixture
def warehouse_of_filled(filled: Installed) -> Iterator[Client]:
    with open_warehouse(filled.home) as client:
        yield client


def counted(client: Client, table: str, instrument: str = "") -> int:
    """Rows by their key: a merge that replaces may end at any time."""
    if not instrument:
        return int(client.command(f"SELECT count() FROM analytics.{table} SETTINGS final = 1"))
    venue, _, symbol = instrument.partition(".")
    where = "venue = {venue:String} AND symbol = {symbol:String}"
    given = {"venue": venue, "symbol": symbol.replace("-", "/")}
    return int(
        client.command(f"SELECT count() FROM analytics.{table} WHERE {where} SETTINGS final = 1", parameters=given)
    )


IMPOSSIBLE = {
    "instruments missing": (RANGE, "--instruments is missing: bars needs keys or globs"),
    "before the index": (
        ("--datasets", "fear_greed_index", "--from", "2018-01-31", "--to", "2018-02-02"),
        "--from 2018-01-31: fear_greed_index begins on 2018-02-01",
    ),
    "instrument unknown": ((*RANGE, "--instruments", "nope.*"), "'nope.*' is not in the universe"),
    "instrument nearly known": (
        (*RANGE, "--instruments", "binance_spot.BTC-USD"),
        "did you mean binance_spot.BTC-USDT",
    ),
    "one glob of two unknown": ((*RANGE, *BTC, "--instruments", "okx_spto.*"), "'okx_spto.*'"),
    "no instrument": ((*RANGE, "--instruments", " , "), "--instruments"),
    "dates reversed": ((*BTC, "--from", "2025-05-02", "--to", "2025-05-01"), "--to 2025-05-01 is not after"),
    "no day": ((*BTC, "--from", "2025-05-02", "--to", "2025-05-02"), "--to 2025-05-02 is not after"),
    "before history": ((*BTC, "--from", "2023-12-31", "--to", "2024-01-02"), "history starts on 2024-01-01"),
    "to in the future": ((*BTC, "--from", "2025-05-01", "--to", "2099-01-01"), "--to 2099-01-01: later than tomorrow"),
    "from in the future": ((*BTC, "--from", "2099-01-01", "--to", "2099-01-02"), "--from 2099-01-01"),
    "no such day": ((*BTC, "--from", "2025-02-30", "--to", "2025-05-02"), "--from '2025-02-30'"),
    "a week": ((*BTC, "--from", "2025-05-01", "--to", "2025-W20"), "--to '2025-W20'"),
    "words": ((*BTC, "--from", "yesterday", "--to", "2025-05-02"), "--from 'yesterday'"),
    "dataset unknown": ((*RANGE, *BTC, "--datasets", "bars,tades"), "--datasets 'tades'"),
    "no dataset": ((*RANGE, *BTC, "--datasets", ","), "--datasets"),
    "no archive": (
        (*RANGE, "--instruments", "okx_spot.BTC-USDT", "--source", "archive"),
        "--source archive: okx_spot has no archive of bars",
    ),
    "option missing": (BTC, "--from"),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_question_that_cannot_be_touches_nothing(case: str, alphaforge: Installed) -> None:
    words, said = IMPOSSIBLE[case]
    done = alphaforge.run("backfill", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert not alphaforge.home.exists()


ENVIRONMENTS = {
    "venues misspelt": ("ALPHAFORGE_VENUES", "lvie", 2, "ALPHAFORGE_VENUES"),
    "venues without host": ("ALPHAFORGE_VENUES", "http://", 2, "ALPHAFORGE_VENUES"),
    "venues with no such port": ("ALPHAFORGE_VENUES", "http://127.0.0.1:99999", 2, "ALPHAFORGE_VENUES"),
    "venues elsewhere without TLS": ("ALPHAFORGE_VENUES", "http://example.com", 2, "ALPHAFORGE_VENUES"),
    "warehouse without scheme": ("CLICKHOUSE_URL", "localhost:8123", 2, "CLICKHOUSE_URL"),
    "warehouse with no such port": ("CLICKHOUSE_URL", "http://u:secret@127.0.0.1:99999", 2, "CLICKHOUSE_URL"),
    "warehouse down": ("CLICKHOUSE_URL", "http://u:secret@127.0.0.1:1", 1, "127.0.0.1:1"),
    "universe missing": ("ALPHAFORGE_UNIVERSE", "nowhere.yaml", 2, "nowhere.yaml: No such file"),
}


@pytest.mark.parametrize("case", ENVIRONMENTS)
def test_environment_that_cannot_be_touches_nothing(case: str, alphaforge: Installed) -> None:
    name, value, code, said = ENVIRONMENTS[case]
    done = alphaforge.run("backfill", *RANGE, *BTC, **{name: value})
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert "secret" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not alphaforge.home.exists()


@pytest.mark.parametrize("command", ["status", "migrate", "refresh", "up"])
def test_every_command_says_that_the_warehouse_is_down(command: str, alphaforge: Installed) -> None:
    done = alphaforge.run(command, *(["--port", "0"] if command == "up" else []), CLICKHOUSE_URL="http://127.0.0.1:1")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "127.0.0.1:1" in done.stderr
    assert not (alphaforge.home / "dagster").exists()


@pytest.mark.parametrize("command", [("backfill", *RANGE, *BTC), ("status",), ("universe",), ("up", "--port", "0")])
def test_typo_in_the_universe_is_named_with_its_line(
    command: tuple[str, ...], alphaforge: Installed, tmp_path: Path
) -> None:
    lines = DEFAULT_FILE.read_text().splitlines()
    number = next(n for n, line in enumerate(lines) if line.startswith("intervals"))
    lines[number] = lines[number].replace("intervals", "intervalls")
    file = tmp_path / "universe.yaml"
    file.write_text("\n".join(lines))
    done = alphaforge.run(*command, ALPHAFORGE_UNIVERSE=str(file))
    assert done.returncode == 2
    assert f"{file}:{number + 1}: intervalls: unknown field; did you mean intervals?" in done.stderr
    assert not alphaforge.home.exists()


SERVERS = {
    "recordings missing": (("sandbox", "--recordings", "/nowhere"), 2, "/nowhere: no such folder"),
    "clock misspelt": (("sandbox", "--now", "noon"), 2, "--now 'noon'"),
    "sandbox port beyond": (("sandbox", "--port", "70000"), 2, "70000"),
    "sandbox port in use": (("sandbox", "--port", "{port}"), 1, "port {port}"),
    "warehouse port in use": (("warehouse", "--port", "{port}"), 1, "port {port}"),
    "up's port in use": (("up", "--port", "{port}"), 1, "choose another --port"),
    "up's sandbox port in use": (
        ("up", "--venues", "sandbox", "--sandbox-port", "{port}"),
        1,
        "another --sandbox-port",
    ),
    "up's warehouse port in use": (("up", "--warehouse-port", "{port}"), 1, "choose another --warehouse-port"),
    "venues unknown": (("up", "--venues", "nyse"), 2, "nyse"),
}


@pytest.mark.parametrize("case", SERVERS)
def test_server_that_cannot_start_says_why(case: str, alphaforge: Installed) -> None:
    words, code, said = SERVERS[case]
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        done = alphaforge.run(*(word.format(port=port) for word in words), ALPHAFORGE_VENUES=None)
    assert (done.returncode, done.stdout) == (code, "")
    assert said.format(port=port) in done.stderr
    assert not alphaforge.processes()


def test_home_that_is_a_file_is_refused(alphaforge: Installed) -> None:
    alphaforge.root.mkdir()
    alphaforge.home.write_text("")
    for command in (["status"], ["backfill", *RANGE, *BTC], ["up", "--port", "0"]):
        done = alphaforge.run(*command)
        assert done.returncode == 2
        assert str(alphaforge.home) in done.stderr


def test_absent_sandbox_is_named_at_once(alphaforge: Installed, template: Path) -> None:
    alphaforge.furnished(template)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    for command in (["backfill", *RANGE, "--instruments", "binance_spot.*"], ["refresh"]):
        done = alphaforge.run(*command, ALPHAFORGE_VENUES=f"http://127.0.0.1:{port}")
        assert done.returncode == 1
        assert f"no sandbox answers at http://127.0.0.1:{port}" in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert alphaforge.runs() == []
    assert json.loads(alphaforge.well("status", "--json")) == []


def test_sandbox_and_live_data_do_not_mix(filled: Installed) -> None:
    before = len(filled.runs())
    for command in (
        ["backfill", *RANGE, "--instruments", "bybit_spot.*"],
        ["refresh"],
        ["up", "--venues", "live", "--port", "0"],
    ):
        done = filled.run(*command, ALPHAFORGE_VENUES="live")
        assert done.returncode == 1
        assert "holds sandbox data" in done.stderr
    assert len(filled.runs()) == before


def test_directory_of_another_warehouse_is_refused_by_its_name(alphaforge: Installed, tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    with alphaforge.started("warehouse", "--data", data) as owner:
        until((tmp_path / "data" / "server.json").exists, 60)
        done = alphaforge.run("warehouse", "--data", data)
        assert done.returncode == 1
        assert f"belongs to process {owner.pid}" in done.stderr
        owner.send_signal(signal.SIGTERM)
        assert owner.wait(30) == 0


def commands(group: click.Command, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Command]]:
    below = group.commands.items() if isinstance(group, click.Group) else []
    return [(path, group), *(found for name, c in below for found in commands(c, (*path, name)))]


@pytest.mark.parametrize(
    ("path", "command"), commands(main), ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_help_names_every_option(path: tuple[str, ...], command: click.Command, alphaforge: Installed) -> None:
    context = click.Context(command)
    for flag in ("--help", "-h"):
        shown = alphaforge.well(*path, flag, COLUMNS="80")
        assert max(map(len, shown.splitlines())) <= 110
        for parameter in command.params:
            names = [parameter.make_metavar(context)] if isinstance(parameter, click.Argument) else parameter.opts
            assert all(name in shown for name in names), parameter
            assert isinstance(parameter, click.Argument) or getattr(parameter, "help", None), parameter
        if isinstance(command, click.Group):
            assert all(name in shown for name in command.commands)
    assert not alphaforge.home.exists()


def test_universe_is_shown_and_parses(alphaforge: Installed) -> None:
    assert "SOL/BTC" in alphaforge.well("universe")
    kept = json.loads(alphaforge.well("universe", "--json"))
    assert kept["history_start"] == "2024-01-01"
    assert "okx_perp.BNB-USDT" in [row["instrument"] for row in kept["instruments"]]


def test_universe_shows_what_a_name_has_stood_for(alphaforge: Installed, tmp_path: Path) -> None:
    file = tmp_path / "universe.yaml"
    entry = "{symbol: BTT/USDT, redenominated_at: {2025-01-18: 1000}, relisted_at: 2024-05-31 06:00}"
    file.write_text(
        f"history_start: 2024-01-01\nintervals: [1h]\nvenues: {{okx_spot: {{instruments: [{entry}, A/B]}}}}\n"
    )
    told = "redenominated_at 2025-01-18T00:00:00+00:00 times 1000, relisted_at 2024-05-31T06:00:00+00:00"
    shown = alphaforge.well("universe", ALPHAFORGE_UNIVERSE=str(file))
    assert f"okx_spot.BTT-USDT: {told}\n" in shown
    assert "okx_spot.A-B" not in shown
    first, second = json.loads(alphaforge.well("universe", "--json", ALPHAFORGE_UNIVERSE=str(file)))["instruments"]
    assert first["redenominated_at"] == {"2025-01-18T00:00:00+00:00": 1000.0}
    assert (first["relisted_at"], second["relisted_at"]) == (["2024-05-31T06:00:00+00:00"], [])


def test_migrate_brings_the_schema_and_says_so(alphaforge: Installed) -> None:
    with open_warehouse(alphaforge.home):  # one server for all of them
        assert "pending" in alphaforge.well("migrate", "--info")
        assert alphaforge.run("migrate", "--validate").returncode == 1
        assert "applied V001__" in alphaforge.well("migrate")
        assert alphaforge.well("migrate") == "the schema is up to date\n"
        assert alphaforge.well("migrate", "--validate") == "files and history agree\n"
        assert alphaforge.well("migrate", "--repair") == "nothing to repair\n"
        assert "pending" not in alphaforge.well("migrate", "--info")


def test_backfill_publishes_every_bar_once(filled: Installed, warehouse_of_filled: Client) -> None:
    bars = 2 * (1440 + 24)
    for instrument in ("binance_spot.BTC-USDT", "okx_spot.BTC-USDT"):
        assert counted(warehouse_of_filled, "v_bars", instrument) == bars
        assert counted(warehouse_of_filled, "bars_history", instrument) == bars


def test_the_same_backfill_again_asks_nothing_and_adds_nothing(
    filled: Installed, warehouse_of_filled: Client, venues: str
) -> None:
    tables = ("landing_bars", "staging_bars", "bars_history", "bars", "ingest_batches")
    before = [counted(warehouse_of_filled, table) for table in tables], len(filled.runs())
    last = max(entry["n"] for entry in requests_of(venues))
    said = filled.well(
        "backfill",
        "--instruments",
        "*_spot.BTC-USDT,okx_spot.BTC-USDT",
        "--from",
        "2025-05-01",
        "--to",
        "2025-05-03",
        "--dry-run",
    )
    assert "bybit_spot.BTC-USDT" in said
    words = ("--instruments", "binance_spot.BTC-USDT", "--instruments", "okx_spot.BTC-USDT")
    said = filled.well("backfill", *words, "--from", "2025-05-01", "--to", "2025-05-03")
    assert "nothing to do" in said
    assert requests_of(venues, last) == []
    assert ([counted(warehouse_of_filled, table) for table in tables], len(filled.runs())) == before


def test_dry_run_changes_nothing(filled: Installed, warehouse_of_filled: Client, venues: str) -> None:
    before = len(filled.runs()), counted(warehouse_of_filled, "ingest_batches")
    last = max(entry["n"] for entry in requests_of(venues))
    said = filled.well("backfill", "--instruments", "okx_perp.*", *RANGE, "--dry-run")
    assert "7,320 rows" in said  # 5 instruments × (1440 + 24)
    assert requests_of(venues, last) == []
    assert (len(filled.runs()), counted(warehouse_of_filled, "ingest_batches")) == before


def test_status_fits_a_terminal_and_parses(filled: Installed) -> None:
    shown = filled.well("status", COLUMNS="80")
    assert max(map(len, shown.splitlines())) <= 80
    assert "…" not in shown
    rows = {(row["instrument"], row["interval"]): row for row in json.loads(filled.well("status", "--json"))}
    row = rows["okx_spot.BTC-USDT", "1m"]
    assert (row["rows"], row["missing"], row["rejected"]) == (2880, 0, 0)
    assert row["first"] == "2025-05-01T00:00:00+00:00"
    assert row["last"] == "2025-05-02T23:59:00+00:00"


def test_refresh_says_what_changed(filled: Installed, warehouse_of_filled: Client) -> None:
    assert "okx_perp: " in filled.well("refresh")
    assert "binance_spot: 0 new or changed" in filled.well("refresh")
    assert counted(warehouse_of_filled, "v_instruments") > 28


def test_one_refused_instrument_does_not_take_the_others_with_it(
    filled: Installed, warehouse_of_filled: Client, venues: str
) -> None:
    words = ("backfill", "--instruments", "bybit_spot.*", *RANGE)
    fault(venues, path="/v5/market/kline", kind="status", status=451, symbol="SOLUSDT", times=1000)
    try:
        done = filled.run(*words)
    finally:
        call(f"{venues}/_faults", method="DELETE")
    assert done.returncode == 1
    assert "failed bybit_spot.SOL-USDT: VenueRefused" in done.stderr
    assert "1 instrument failed" in done.stderr
    assert "ETH-USDT" not in done.stderr
    assert counted(warehouse_of_filled, "v_bars", "bybit_spot.SOL-USDT") == 0
    for base in ("BTC-USDT", "ETH-USDT", "XRP-USDT", "SOL-BTC", "ETH-BTC"):
        assert counted(warehouse_of_filled, "v_bars", f"bybit_spot.{base}") == 1464
    last = max(entry["n"] for entry in requests_of(venues))
    filled.well(*words)
    asked = {entry["query"]["symbol"] for entry in requests_of(venues, last) if entry["path"] == "/v5/market/kline"}
    assert asked == {"SOLUSDT"}
    assert counted(warehouse_of_filled, "v_bars", "bybit_spot.SOL-USDT") == 1464


def test_bar_revised_at_the_source_is_one_new_version(
    filled: Installed, warehouse_of_filled: Client, venues: str
) -> None:
    words = ("backfill", "--instruments", "binance_perp.ETH-USDT", *RANGE)
    filled.well(*words)
    moment = dt.datetime(2025, 5, 1, 12, tzinfo=dt.UTC)  # an hour: a revised minute would revise its hour as well
    where = {
        "venue": "binance_perp",
        "symbol": "ETH/USDT",
        "interval": "1h",
        "open_time": int(moment.timestamp() * 1000),
    }

    def versions(table: str) -> list[Any]:
        query = f"""SELECT volume FROM analytics.{table} WHERE venue = 'binance_perp' AND symbol = 'ETH/USDT'
            AND interval = '1h' AND timestamp = {{moment:DateTime64(3, 'UTC')}} ORDER BY published_at"""
        return [row[0] for row in warehouse_of_filled.query(query, parameters={"moment": moment}).result_rows]

    (old,) = versions("bars_history")
    call(f"{venues}/_revise", json.dumps(where | {"volume": "4321.5"}).encode())
    assert "nothing to do" in filled.well(*words)  # what is complete is not asked for again
    filled.well(*words, "--refetch")
    assert versions("bars_history") == [old, 4321.5]
    assert versions("v_bars") == [4321.5]
    assert counted(warehouse_of_filled, "bars_history", "binance_perp.ETH-USDT") == 1464 + 1
    assert counted(warehouse_of_filled, "v_bars", "binance_perp.ETH-USDT") == 1464
    filled.well(*words, "--refetch")  # nothing has changed since
    assert counted(warehouse_of_filled, "bars_history", "binance_perp.ETH-USDT") == 1464 + 1


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow), signal.SIGKILL]
)
def test_interrupted_backfill_leaves_no_process_and_is_completed_by_a_rerun(
    number: signal.Signals, alphaforge: Installed, template: Path, venues: str
) -> None:
    alphaforge.furnished(template)
    words = ("backfill", "--instruments", "okx_spot.BTC-USDT,okx_spot.ETH-USDT", *RANGE)
    path = "/api/v5/market/history-candles"
    fault(venues, path=path, kind="hang", symbol="ETH-USDT", skip=2)
    last = max((entry["n"] for entry in requests_of(venues)), default=0)
    try:
        with alphaforge.started(*words) as process:
            until(lambda: any(entry.get("fault") for entry in requests_of(venues, last)), 60)
            process.send_signal(number)
            code = process.wait(30)
    finally:
        call(f"{venues}/_faults", method="DELETE")
    assert code == (-signal.SIGKILL if number == signal.SIGKILL else 130)
    assert "Traceback" not in alphaforge.said("backfill")
    until(lambda: not alphaforge.processes(), 30)
    alphaforge.well(*words)
    with open_warehouse(alphaforge.home) as client:
        for instrument in ("okx_spot.BTC-USDT", "okx_spot.ETH-USDT"):
            assert counted(client, "v_bars", instrument) == 1464
            assert counted(client, "bars_history", instrument) == 1464
    assert not [run for run in alphaforge.runs() if not run.is_finished]


def test_no_color_means_no_colour(alphaforge: Installed) -> None:
    def shown(**more: str) -> str:
        """What a terminal would get."""
        ours, theirs = pty.openpty()
        words = [str(SCRIPT), "backfill", *RANGE, "--instruments", "nope"]
        process = subprocess.Popen(
            words, env=alphaforge.environment(TERM="xterm-256color", **more), stdout=theirs, stderr=theirs, stdin=theirs
        )
        os.close(theirs)
        said = b""
        while chunk := _read(ours):
            said += chunk
        os.close(ours)
        assert process.wait(30) == 2
        return said.decode()

    assert COLOUR.search(shown())
    plain = shown(NO_COLOR="1")
    assert "'nope' is not in the universe" in plain
    assert not COLOUR.search(plain)


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # EIO: the other side has gone
        return b""


def test_key_of_the_environment_is_written_nowhere(filled: Installed) -> None:
    assert filled.files_that_hold(CANARY, at_least=20) == []
