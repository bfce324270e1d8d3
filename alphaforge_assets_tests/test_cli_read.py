"""`alphaforge bars`, `export`, `plan` and `sql` as people run them, on one small warehouse."""

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from alphaforge_assets.sandbox import process as sandbox
from alphaforge_assets.universe import id_of
from alphaforge_assets.warehouse.client import open_warehouse
from alphaforge_assets_tests.installed import SCRIPT, Installed, requests_of

KEYS = "binance_spot.BTC-USDT,okx_spot.BTC-USDT,bybit_perp.BTC-USDT"
DAYS = ("--from", "2025-05-01", "--to", "2025-05-03")
HOURS = ("binance_spot.BTC-USDT", "1h", *DAYS)

# Neighbours share a run, so that filling the warehouse is one.
UNIVERSE = """
history_start: 2025-05-01
intervals: [1m, 1h]
venues:
  binance_spot: {instruments: [ETH/USDT, BTC/USDT]}
  okx_spot: {instruments: [BTC/USDT]}
  bybit_perp: {instruments: [BTC/USDT]}
"""


class Small(Installed):
    """The command with a small universe."""

    def environment(self, **more: str | None) -> dict[str, str]:
        return super().environment(**({"ALPHAFORGE_UNIVERSE": str(self.root / "universe.yaml")} | more))


@pytest.fixture(scope="module")
def venues() -> Iterator[str]:
    with sandbox.start(budget_scale=50) as url:
        yield url


@pytest.fixture(scope="module")
def alphaforge(template: Path, tmp_path_factory: pytest.TempPathFactory, venues: str) -> Iterator[Installed]:
    """The command with an empty home, its warehouse kept up so that each command starts at once."""
    installed = Small(tmp_path_factory.mktemp("read"), venues).furnished(template)
    (installed.root / "universe.yaml").write_text(UNIVERSE)
    with open_warehouse(installed.home):
        yield installed


@pytest.fixture(scope="module", autouse=True)
def history(alphaforge: Installed, venues: str) -> dict[str, Any]:
    """Fills the home after a plan was made for it: what was foretold, and what the venues were then asked."""
    datasets = "bars,funding_rates"
    words = ("--datasets", datasets, "--instruments", KEYS, *DAYS)
    bars, funding = json.loads(alphaforge.well("plan", *words, "--json"))
    assert requests_of(venues) == []  # a plan asks nobody
    alphaforge.well("backfill", *words)
    return {"bars": bars, "funding": funding, "asked": requests_of(venues)}


def refused(alphaforge: Installed, *words: str) -> str:
    done = alphaforge.run(*words)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    return done.stderr


def test_a_plan_foretells_the_very_requests(history: dict[str, Any]) -> None:
    paths = [r["path"] for r in history["asked"]]
    for dataset, venue, path in (
        ("bars", "binance_spot", "/api/v3/klines"),
        ("bars", "okx_spot", "/api/v5/market/history-candles"),
        ("bars", "bybit_perp", "/v5/market/kline"),
        ("funding", "bybit_perp", "/v5/market/funding/history"),
    ):
        (planned,) = [v for v in history[dataset]["venues"] if v["venue"] == venue]
        assert planned["requests"] == paths.count(path) > 0, (dataset, venue)
    assert history["bars"]["rows"] == 3 * 2 * (1440 + 24)
    assert history["bars"]["runs"] == 1
    clocks = [paths.count(path) for path in ("/api/v3/time", "/api/v5/public/time", "/v5/market/time")]
    assert clocks == [1, 1, 2]


def test_what_is_complete_is_not_planned_again(alphaforge: Installed) -> None:
    assert "everything is there already" in alphaforge.well("plan", "--instruments", KEYS, *DAYS)
    (plan,) = json.loads(
        alphaforge.well("plan", "--instruments", KEYS, "--from", "2025-05-01", "--to", "2025-05-04", "--json")
    )
    assert plan["rows"] == 3 * (1440 + 24)
    assert all(v["clocks_and_lists"] == 1 for v in plan["venues"])  # the lists are known by now


def test_the_share_of_the_ceiling_is_that_of_the_ledger(alphaforge: Installed, history: dict[str, Any]) -> None:
    runs = json.loads(alphaforge.well("plan", "--reached", "--json"))
    bars = [r for r in runs if r["dataset"] == "bars"]
    assert {r["venue"] for r in bars} == {"binance_spot", "okx_spot", "bybit_perp"}
    for run in bars:
        (planned,) = [v for v in history["bars"]["venues"] if v["venue"] == run["venue"]]
        assert (run["requests"], run["weight"]) == (planned["requests"], planned["weight"])
        assert run["ceiling_s"] == pytest.approx(planned["ceiling_s"], abs=0.06)
        assert run["share"] == pytest.approx(run["ceiling_s"] / run["wall_s"])
        assert run["wall_s"] <= run["run_s"]
    shown = alphaforge.well("plan", "--reached", COLUMNS="80")
    assert max(map(len, shown.splitlines())) <= 80
    assert "%" in shown


def test_bars_are_a_table_that_fits_and_says_whether_it_is_complete(alphaforge: Installed) -> None:
    shown = alphaforge.well("bars", *HOURS, COLUMNS="80")
    assert max(map(len, shown.splitlines())) <= 80
    assert "48 bars, complete" in shown
    assert "…" in shown
    partly = alphaforge.well("bars", "binance_spot.BTC-USDT", "1h", "--from", "2025-05-02", "--to", "2025-05-04")
    assert "24 bars, 24 missing (24 not asked for yet or not judged); nothing is filled" in partly
    many = alphaforge.well("bars", "*BTC-USDT", "1h", *DAYS)
    assert "okx_spot.BTC-USDT" in many
    assert "144 bars" in many
    none = alphaforge.well("bars", "binance_spot.ETH-USDT", "1h", *DAYS)
    assert "no bars here" in none


def test_derived_bars_are_shown_with_what_they_lack(alphaforge: Installed, tmp_path: Path) -> None:
    key = "binance_spot.BTC-USDT"
    shown = alphaforge.well("bars", key, "30m", *DAYS, "--derived", COLUMNS="80")
    assert "30m derived" in shown
    assert "96 bars, complete" in shown
    partly = alphaforge.well("bars", key, "4h", "--from", "2025-05-02", "--to", "2025-05-04", "--derived")
    assert "6 bars, 1,440 minutes missing (1,440 never_asked); nothing is filled" in partly
    many = alphaforge.well("bars", "*BTC-USDT", "1d", *DAYS, "--derived")
    assert "6 bars" in many
    records = json.loads(alphaforge.well("bars", key, "1h", *DAYS, "--derived", "--json"))
    assert [r["is_complete"] for r in records] == [True] * 48
    alphaforge.well("bars", key, "30m", *DAYS, "--derived", "--plot", str(tmp_path / "b.html"))
    assert "'1m' is not derived: use one of 5m" in refused(alphaforge, "bars", key, "1m", *DAYS, "--derived")
    assert alphaforge.well("migrate").strip() == "the schema is up to date"


def test_csv_json_and_parquet_hold_the_same_rows_and_nothing_else(alphaforge: Installed, tmp_path: Path) -> None:
    lines = alphaforge.well("bars", *HOURS, "--csv").splitlines()
    records = json.loads(alphaforge.well("bars", *HOURS, "--json"))
    alphaforge.well("bars", *HOURS, "--parquet", str(tmp_path / "b.parquet"))
    table = pq.read_table(tmp_path / "b.parquet")
    names = lines[0].split(",")
    assert names == list(records[0]) == table.column_names
    closes = [float(line.split(",")[names.index("close")]) for line in lines[1:]]
    assert closes == [r["close"] for r in records] == table["close"].to_pylist()
    assert len(closes) == 48
    chosen = alphaforge.well("bars", *HOURS, "--csv", "--columns", "close,source").splitlines()
    assert chosen[0] == "timestamp,close,source"
    globbed = alphaforge.well("bars", "*BTC-USDT", "1h", *DAYS, "--csv").splitlines()
    assert globbed[0].startswith("timestamp,instrument,open")
    assert len(globbed) == 1 + 3 * 48
    alphaforge.well("bars", "*BTC-USDT", "1h", *DAYS, "--parquet", str(tmp_path / "all.parquet"))
    assert pq.read_table(tmp_path / "all.parquet").num_rows == 3 * 48
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == ["all.parquet", "b.parquet"]


def test_gaps_are_those_of_a_range(alphaforge: Installed) -> None:
    with open_warehouse(alphaforge.home) as client:
        client.command(
            "INSERT INTO analytics.gaps (dataset, venue, symbol, instrument_id, interval, gap_start, gap_end, missing,"
            " verdict, evidence, is_open, figures) SELECT 'bars', 'binance_spot', 'BTC/USDT', {i:UInt32}, '1h',"
            " '2025-05-01 04:00:00', '2025-05-01 06:00:00', 2, 'unknown', 'nothing explains it', true, '{}'",
            parameters={"i": id_of("binance_spot.BTC-USDT")},
        )
    inside = ("2025-05-01", "2025-05-02"), ("2025-05-01T05:00Z", "2025-05-01T05:30Z")
    beside = ("2025-05-01T06:00Z", "2025-05-02"), ("2025-04-01", "2025-05-01T04:00Z")
    for (first, end), seen in [*((its, 1) for its in inside), *((its, 0) for its in beside)]:
        assert len(json.loads(alphaforge.well("gaps", "--from", first, "--to", end, "--json"))) == seen
    assert "--to 2025-05-01 is not after --from 2025-05-02" in refused(
        alphaforge, "gaps", "--from", "2025-05-02", "--to", "2025-05-01"
    )


def test_what_left_the_universe_is_read_by_its_key(alphaforge: Installed, tmp_path: Path) -> None:
    """It says what is kept up to date, not what may be read; a glob means what is kept."""
    file = tmp_path / "smaller.yaml"
    file.write_text(UNIVERSE.replace("ETH/USDT, BTC/USDT", "ETH/USDT"))
    smaller = {"ALPHAFORGE_UNIVERSE": str(file)}
    assert alphaforge.well("bars", *HOURS, "--csv", **smaller) == alphaforge.well("bars", *HOURS, "--csv")
    words = ("--format", "parquet", "--instruments", HOURS[0], "--interval", "1h", *DAYS)
    words = (*words, "--out", str(tmp_path / "out"))
    assert "48 rows in 1 file (" in alphaforge.well("export", *words, **smaller)
    (row,) = (r for r in json.loads(alphaforge.well("coverage", "--instruments", HOURS[0], "--json", **smaller))
              if r["interval"] == "1h")  # fmt: skip
    assert row["symbol"] == "BTC/USDT"
    pinned = ("--instruments", HOURS[0], "--interval", "1h", *DAYS)
    assert alphaforge.well("pin", "former", *pinned, **smaller).startswith("former: 48 rows as of ")
    assert "48 rows are as pinned" in alphaforge.well("verify", "former", **smaller)
    assert alphaforge.well("unpin", "former", "--yes", **smaller)
    done = alphaforge.run("bars", "binance_spot.BTC-USDX", *HOURS[1:], **smaller)
    assert (done.returncode, done.stdout) == (2, "")
    assert "binance_spot.BTC-USDX" in done.stderr


def test_a_chart_is_a_page_or_a_picture(alphaforge: Installed, tmp_path: Path) -> None:
    for name in ("c.html", "c.png"):
        assert "48 bars of 1h" in alphaforge.well("bars", *HOURS, "--plot", str(tmp_path / name))
    assert b"<canvas" in (tmp_path / "c.html").read_bytes()
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


def test_a_reader_that_leaves_early_is_no_error(alphaforge: Installed) -> None:
    for words in (("bars", "*", "1m", *DAYS, "--csv"), ("sql", "SELECT number FROM numbers(20000000)", "--csv")):
        writer = subprocess.Popen(
            [SCRIPT, *words], env=alphaforge.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert writer.stdout is not None
        assert writer.stderr is not None
        assert writer.stdout.readline()
        writer.stdout.close()
        said = writer.stderr.read().decode()
        writer.stderr.close()
        writer.wait(60)
        assert all("rows are missing" in line for line in said.splitlines()), said  # what it had got to by then


def test_questions_that_cannot_be_are_one_line_each(alphaforge: Installed, tmp_path: Path) -> None:
    assert "did you mean" in refused(alphaforge, "bars", "binance_spot.BTCUSDT", "1h", *DAYS)
    assert "the universe keeps 1m, 1h" in refused(alphaforge, "bars", "binance_spot.BTC-USDT", "5m", *DAYS)
    assert "there is 1m" in refused(alphaforge, "bars", "binance_spot.BTC-USDT", "7m", *DAYS)
    backwards = ("--from", "2025-05-03", "--to", "2025-05-01")
    assert "is not after" in refused(alphaforge, "bars", "binance_spot.BTC-USDT", "1h", *backwards)
    assert "write a day" in refused(alphaforge, "bars", HOURS[0], "1h", "--from", "May", "--to", "2025-05-03")
    assert "choose one" in refused(alphaforge, "bars", *HOURS, "--csv", "--parquet", "x.parquet")
    assert "there is no folder" in refused(alphaforge, "bars", *HOURS, "--parquet", str(tmp_path / "no" / "x.parquet"))
    assert "ending in .html or .png" in refused(alphaforge, "bars", *HOURS, "--plot", "x.jpg")
    assert "did you mean close" in refused(alphaforge, "bars", *HOURS, "--columns", "clse")
    assert "draws one instrument" in refused(alphaforge, "bars", "*BTC-USDT", "1h", *DAYS, "--plot", "x.png")
    assert "give one of them" in refused(alphaforge, "bars", *HOURS, "--as-of", "2025-05-02", "--snapshot", "x")
    assert "looks back" in refused(alphaforge, "plan", "--reached", "--from", "2025-05-01")
    assert "--to is missing" in refused(alphaforge, "plan", "--instruments", "*", "--from", "2025-05-01")
    export = ("export", "--instruments", "*BTC-USDT", *DAYS, "--out", str(tmp_path / "out"))
    assert "the universe keeps" in refused(alphaforge, *export, "--format", "lean", "--interval", "4h")
    (tmp_path / "file").write_text("")
    blocked = ("export", "--instruments", "*BTC-USDT", *DAYS, "--format", "csv", "--interval", "1h")
    assert "name a folder" in refused(alphaforge, *blocked, "--out", str(tmp_path / "file"))
    assert not (tmp_path / "out").exists()


def test_an_export_says_what_it_wrote_and_what_was_not_there(alphaforge: Installed, tmp_path: Path) -> None:
    words = ("--interval", "1h", *DAYS, "--out", str(tmp_path / "out"))
    done = alphaforge.run(
        "export", "--format", "freqtrade", "--instruments", "*.BTC-USDT,binance_spot.ETH-USDT", *words
    )
    assert done.returncode == 0
    assert "in 4 files" in done.stdout.replace("\n", " ")
    assert "binance_spot.ETH-USDT" in done.stderr
    assert (tmp_path / "out/bybit/futures/BTC_USDT_USDT-1h-funding_rate.feather").is_file()


def test_what_the_server_refuses_is_one_short_line(alphaforge: Installed) -> None:
    for statement in (
        "DROP TABLE analytics.bars",
        "/* */ KILL QUERY WHERE 1",
        "SELECT nothing FROM analytics.v_bars",
        "SELECT 1 FORMAT CSV",
        "",
    ):
        said = refused(alphaforge, "sql", statement)
        assert "version" not in said
        assert "DB::Exception" not in said
        assert len(said) < 300


def test_sql_answers_as_table_csv_and_json_with_values_bound_by_the_server(alphaforge: Installed) -> None:
    query = (
        "SELECT symbol, count() AS bars, NULL AS nothing FROM analytics.v_bars WHERE venue = {v:String} GROUP BY ALL"
    )
    bound = ("--param", "v=binance_spot")
    assert json.loads(alphaforge.well("sql", query, *bound, "--json")) == [
        {"symbol": "BTC/USDT", "bars": 2928, "nothing": None}
    ]
    assert alphaforge.well("sql", query, *bound, "--csv").splitlines()[1] == '"BTC/USDT",2928,\\N'
    assert "BTC/USDT 2928 -" in " ".join(alphaforge.well("sql", query, *bound).split())
    blocks = "SELECT number FROM system.numbers LIMIT 200000"
    assert [row["number"] for row in json.loads(alphaforge.well("sql", blocks, "--json"))] == list(range(200_000))
    assert json.loads(alphaforge.well("sql", "SELECT 1 WHERE 0", "--json")) == []
    tricky = alphaforge.well("sql", "SELECT {v:String} AS v", "--param", "v=' OR 1=1 -- [x]", "--json")
    assert json.loads(tricky) == [{"v": "' OR 1=1 -- [x]"}]
    wide = alphaforge.well("sql", "SELECT * FROM analytics.v_bars LIMIT 1", COLUMNS="80")
    assert max(map(len, wide.splitlines())) <= 80
    assert "taker_buy_quote_volume" in wide
    assert "the first 3 rows" in alphaforge.well("sql", "SELECT number FROM numbers(100000)", "--rows", "3")


def test_ctrl_c_ends_the_query_on_the_server_too(alphaforge: Installed) -> None:
    endless = "SELECT count() FROM numbers(1000000000000000) WHERE NOT ignore(sipHash64(number))"
    running = (
        "SELECT count() AS n FROM system.processes WHERE query LIKE '%ignore(sipHash64%' AND query NOT LIKE '%LIKE%'"
    )
    asker = subprocess.Popen(
        [SCRIPT, "sql", endless], env=alphaforge.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )

    def count() -> int:
        return int(json.loads(alphaforge.well("sql", running, "--json"))[0]["n"])

    while count() == 0:
        assert asker.poll() is None
    asker.send_signal(signal.SIGINT)
    assert asker.wait(60) == 130
    asker.communicate()
    while count():
        time.sleep(0.1)


def test_a_warehouse_that_is_down_is_said_in_a_line(alphaforge: Installed) -> None:
    for words in (("bars", *HOURS, "--csv"), ("sql", "SELECT 1"), ("plan", "--reached")):
        done = alphaforge.run(*words, CLICKHOUSE_URL="http://127.0.0.1:9")
        assert done.returncode == 1
        assert done.stdout == ""
        assert "no warehouse answers at http://127.0.0.1:9" in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
