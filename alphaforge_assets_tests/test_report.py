"""Quality reports: what a page says is what the warehouse holds, it needs nothing but itself, and it arrives whole."""

import csv
import datetime as dt
import html.parser
import io
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow.fs as pafs
import pytest
from clickhouse_connect.driver.client import Client
from hypothesis import given
from hypothesis import strategies as st

from alphaforge_assets.cli.main import main
from alphaforge_assets.datasets.bars import BARS
from alphaforge_assets.errors import BadInput, Permanent
from alphaforge_assets.partitions import by_day
from alphaforge_assets.quality.coverage import judge
from alphaforge_assets.report import daily, words
from alphaforge_assets.report.reading import Part, Report, read
from alphaforge_assets.report.rendering import _cell, _tiles, render
from alphaforge_assets.report.writing import Directory, publish, target
from alphaforge_assets.sandbox import process as sandbox
from alphaforge_assets.warehouse.client import open_warehouse
from alphaforge_assets_tests.conftest import LIFTED, lifted
from alphaforge_assets_tests.installed import OPENER, Installed
from alphaforge_assets_tests.test_pipeline import NOW, UNIVERSE, covered, post, refresh

DAY, NEXT = dt.date(2025, 6, 1), dt.date(2025, 6, 2)
EVIL = '<script>alert("x")</script>'
VOID = {"meta", "br", "link", "img", "input", "hr"}
CODE = ("0.1.0", "c0de")


@pytest.fixture(scope="module")
def flawed(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A day with a revised bar, two rejected rows, an instrument that could not be fetched, and an evil symbol."""
    home = Installed(tmp_path_factory.mktemp("flawed")).furnished(template).home
    with open_warehouse(home) as client, sandbox.start(now=NOW, budget_scale=LIFTED) as url:
        exchanges = lifted(url, home / "governor.sqlite3")
        refusal = {"path": "/api/v3/klines", "symbol": "ETHUSDT", "kind": "status", "status": 403, "times": 99}
        post(url, "/_faults", refusal)
        part = covered(["binance_spot.BTC-USDT", "binance_spot.ETH-USDT"])
        assert len(refresh(client, exchanges, part).failures) == 2
        at = int(dt.datetime(2025, 6, 1, 12, tzinfo=dt.UTC).timestamp() * 1000)
        for minute, values in ((0, {"high": "190000.5"}), (1, {"volume": "-3.5"}), (2, {"low": "999999"})):
            bar = {"venue": "binance_spot", "symbol": "BTC/USDT", "interval": "1m", "open_time": at + minute * 60_000}
            post(url, "/_revise", bar | values)
        refresh(client, exchanges, covered(["binance_spot.BTC-USDT"]), refetch=True)
        judge(client, part, BARS, UNIVERSE)
        client.command(
            "INSERT INTO analytics.rejected_rows (dataset, instrument_id, venue, symbol, interval, timestamp, rule,"
            " row) VALUES ('bars', 1, 'binance_spot', {s:String}, '1m', '2025-06-01 00:00:00', '=1+1', {r:String})",
            parameters={"s": EVIL, "r": json.dumps({"open": EVIL})},
        )
        client.command(
            "INSERT INTO analytics.coverage (dataset, instrument_id, venue, symbol, interval, day, expected, missing,"
            " score) VALUES ('bars', 1, 'binance_spot', {s:String}, '1m', '2025-06-01', 10, 10, 40)",
            parameters={"s": EVIL},
        )
        yield client


@pytest.fixture(scope="module")
def report(flawed: Client) -> Report:
    return read(flawed, DAY, NEXT, now=NOW)


@pytest.fixture(scope="module")
def files(report: Report) -> dict[str, bytes]:
    return render(report, *CODE)


class Page(html.parser.HTMLParser):
    """Collects the text of a page outside of style and script; fails where tags do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []
        self.text = " ".join(" ".join(self.seen).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [v for k, v in attrs if k in ("src", "href", "action", "data", "srcset") and v]
        assert not [k for k, _ in attrs if k.startswith("on") or k == "style"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.seen.append(data)


def test_the_page_says_what_the_warehouse_holds(flawed: Client, report: Report, files: dict[str, bytes]) -> None:
    page = Page(files["report.html"].decode()).text
    (expected, present) = flawed.query("SELECT sum(expected), sum(present) FROM analytics.v_coverage").result_rows[0]
    assert words.headline(report) in page
    assert f"{expected:,} rows of 3 instruments" in page
    assert f"{present:,} rows" in page
    assert words.percent(present, expected) in page
    (rejected,) = flawed.query("SELECT count() FROM analytics.rejected_rows FINAL").result_rows[0]
    assert f"Rejected rows {rejected}" in page
    assert "volume is not negative" in page
    assert "ohlc is sane" in page
    old, new = flawed.query(
        "SELECT high FROM analytics.bars_history WHERE interval = '1m' AND timestamp = '2025-06-01 12:00:00'"
        " ORDER BY version"
    ).result_columns[0]
    assert f"high {words.value(old)} → {words.value(new)}" in page
    (asked,) = flawed.query("SELECT sum(requests) FROM analytics.ingest_batches").result_rows[0]
    assert f"Requests {asked:,}" in page
    for (evidence,) in flawed.query("SELECT evidence FROM analytics.v_gaps").result_rows:
        assert " ".join(evidence.split()) in page
    assert "VenueRefused" in page
    assert "emulated" in page


def test_json_and_csv_agree_with_the_page(report: Report, files: dict[str, bytes]) -> None:
    data = json.loads(files["report.json"])
    page = Page(files["report.html"].decode()).text
    assert data["summary"]["headline"] in page
    for name in ("coverage", "scores", "gaps", "rejected", "revisions", "freshness", "fetched", "failures"):
        lines = list(csv.DictReader(io.StringIO(files[f"{name}.csv"].decode())))
        assert len(lines) == len(data[name]), name
        for line, row in zip(lines, data[name], strict=True):
            assert list(line) == list(row)
            for column, value in row.items():
                if isinstance(value, int | float) and not isinstance(value, bool):
                    assert float(line[column]) == value
    assert len(data["gaps"]) == report.gaps.total > 0
    assert json.loads(files["summary.json"]) == data["summary"]


def test_the_page_needs_nothing_but_itself_and_runs_nothing_of_the_venues(files: dict[str, bytes]) -> None:
    text = files["report.html"].decode()
    page = Page(text)
    assert not re.search(r"https?://|//[a-z]|@import|url\((?!#)", text.replace("http-equiv", ""))
    assert {a for a in page.addresses if not a.startswith("#")} <= set(files)
    assert text.count("<script") == 2  # the data and the one script
    assert EVIL not in text
    assert EVIL in page.text
    assert "default-src &#39;none&#39;" in text
    assert "unsafe" not in text
    assert "'=1+1" in files["rejected.csv"].decode()


@pytest.mark.browser
def test_a_browser_shows_it_offline_without_complaint(files: dict[str, bytes], tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no Chromium")
    from playwright.sync_api import sync_playwright

    (tmp_path / "report.html").write_bytes(files["report.html"])
    said: list[str] = []
    asked: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium)
        for width in (1280, 390):
            page = browser.new_page(viewport={"width": width, "height": 900})
            page.on("console", lambda message: said.append(message.text))
            page.on("pageerror", lambda error: said.append(str(error)))
            page.on("dialog", lambda dialog: said.append(dialog.message))
            page.on("request", lambda request: asked.append(request.url))
            page.goto((tmp_path / "report.html").as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            page.locator("#map").hover(position={"x": 930, "y": 64})
            page.wait_for_selector(".tip.on")
            assert "binance_spot." in page.locator(".tip").inner_text()
        browser.close()
    assert said == []
    assert len(asked) == 2


@given(
    st.one_of(st.text(), st.integers(), st.floats(allow_nan=False), st.sampled_from(["=1", "+1", "-1", "@a", "\t=1"]))
)
def test_no_cell_is_a_formula_and_numbers_stay_numbers(value: Any) -> None:
    cell = _cell(value)
    if isinstance(value, str):
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
        assert cell.removeprefix("'") == value.removeprefix("'")
    else:
        assert cell == value


@given(st.integers(0, 10**9), st.integers(1, 10**9))
def test_a_share_is_never_rounded_up_to_the_whole(part: int, whole: int) -> None:
    said = float(words.percent(part, whole).removesuffix(" %"))
    assert (said == 100) == (part >= whole)
    assert said <= 100


def test_a_year_of_a_hundred_instruments_at_its_worst_stays_a_page() -> None:
    start, made = dt.date(2025, 1, 1), NOW
    figures = {"dataset": "bars", "expected": 1464, "present": 1400, "missing": 64, "explained": 64, "rejected": 1,
               "revised": 0, "off_grid": 0, "score": 91.2, "is_settled": 1}  # fmt: skip
    kinds = ("venue_outage", "unknown", "no_trades")
    cells = [
        figures | {"venue": f"venue_{i // 20}", "symbol": f"S{i:02d}/USDT", "day": start + dt.timedelta(days=d),
                   "verdicts": [(kinds[(i + d) % 3], 64)]}
        for i in range(100) for d in range(365)
    ]  # fmt: skip
    totals = dict.fromkeys(("rejected", "revised", "off_grid", "unsettled"), 0) | {
        "instruments": 100, "venues": 5, "expected": 100, "present": 96, "missing": 4, "explained": 4,
        "score_mean": 91.2, "score_min": 91.2,
    }  # fmt: skip
    none, names = Part([], 0), ("scores", "gaps", "rejected", "revisions", "freshness", "fetched", "failures")
    columns = {"coverage": list(cells[0])} | {name: ["a"] for name in names}
    end = start + dt.timedelta(days=365)
    whole = Report(start, end, start, made, "live", totals, [], cells, [], none, none, none, [], [], [], columns)
    assert len(render(whole, *CODE)["report.html"]) < 5_000_000


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, "all explained"),
        ({"explained": 3}, "1 unexplained"),
        ({"unsettled": 2}, "all explained so far, days are unsettled"),  # the headline says work in progress
        ({"present": 100, "missing": 0, "explained": 0}, "nothing"),
    ],
)
def test_missing_is_all_explained_only_once_days_are_settled(
    report: Report, changed: dict[str, int], said: str
) -> None:
    totals = report.totals | {"expected": 100, "present": 96, "missing": 4, "explained": 4, "unsettled": 0} | changed
    (tile,) = (t for t in _tiles(replace(report, totals=totals, verdicts=[])) if t["name"] == "Missing")
    assert tile["about"] == said


def test_a_report_is_written_whole_and_listed(report: Report, tmp_path: Path) -> None:
    place = target(str(tmp_path / "new" / "reports"))
    where = publish(place, report, *CODE)
    publish(place, report, *CODE)
    assert where == (tmp_path / "new" / "reports" / "2025-06-01" / "report.html").as_uri()
    index = Page((tmp_path / "new" / "reports" / "index.html").read_text())
    assert index.addresses == ["2025-06-01/report.html"]
    assert words.headline(report) in index.text
    assert not list(tmp_path.rglob("*.partial"))


def test_a_report_that_cannot_be_written_changes_nothing(report: Report, tmp_path: Path) -> None:
    place = target(str(tmp_path))
    publish(place, report, *CODE)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    (tmp_path / "2025-06-02").write_text("in the way")
    with pytest.raises(Permanent, match="what was there is unchanged"):
        place.write("2025-06-02", {"report.html": b"x"})
    with pytest.raises(Permanent):
        place.write("2025-06-01", {"report.html": b"x", "no/such/folder.html": b"y"})
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file() and p.name != "2025-06-02"} == before


@pytest.mark.parametrize(
    ("place", "word"),
    [
        ("s3://", "bucket name"),
        ("s3://UPPER/x", "bucket name"),
        ("s3://bucket/x?y", "bucket name"),
        ("ftp://host/x", "neither a directory nor s3"),
        ("FILE/below", "name a directory to write to"),
    ],
)
def test_a_place_that_is_none_is_refused_in_a_line(place: str, word: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match=word) as caught:
        target(place.replace("FILE", str(tmp_path / "file")), None, "--out")
    assert str(caught.value).startswith("--out")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("words_given", "said"),
    [
        (["--day", "2025-13-01"], "write a day as 2025-05-01"),
        (["--from", "2025-06-01"], "belong together"),
        (["--day", "2025-06-01", "--from", "2025-06-01", "--to", "2025-06-02"], "exclude each other"),
        (["--from", "2025-06-02", "--to", "2025-06-02"], "is not after"),
        (["--day", "2999-01-01"], "has not begun"),
        (["--day", "2025-06-01", "--out", "gs://x/y"], "neither a directory nor s3"),
    ],
)
def test_a_question_that_cannot_be_touches_nothing(
    words_given: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["report", *words_given])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not Path(os.environ["ALPHAFORGE_HOME"]).exists()


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an S3 on loopback, whose credentials are in the environment."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    for name, value in (
        ("AWS_REGION", "us-east-1"), ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test"), ("AWS_EC2_METADATA_DISABLED", "true"),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    yield url
    server.stop()


def test_a_bucket_holds_what_a_directory_would(s3: str, report: Report, tmp_path: Path) -> None:
    pafs.S3FileSystem(endpoint_override=s3, allow_bucket_creation=True).create_dir("reports")
    where = publish(target("s3://reports/alpha/forge", s3), report, *CODE)
    assert where == "s3://reports/alpha/forge/2025-06-01/report.html"
    publish(target("s3://reports/alpha/forge", s3), report, *CODE)
    publish(Directory(tmp_path), report, *CODE)
    there = pafs.S3FileSystem(endpoint_override=s3)
    found = there.get_file_info(pafs.FileSelector("reports/alpha/forge", recursive=True))
    held = {i.path.removeprefix("reports/alpha/forge/") for i in found if i.is_file}
    assert held == {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    for name in held:
        with there.open_input_stream(f"reports/alpha/forge/{name}") as content:
            assert content.read() == (tmp_path / name).read_bytes(), name
    with OPENER.open(f"{s3}/reports/alpha/forge/index.html") as answer:
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"


def test_a_bucket_that_is_not_there_is_named(s3: str) -> None:
    with pytest.raises(BadInput, match=r"s3://nowhere: there is no such bucket"):
        target("s3://nowhere/x", s3)


def test_an_s3_that_does_not_answer_is_told_in_a_line(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Permanent, match="look at AWS_ENDPOINT_URL") as caught:
        target("s3://reports/x", "http://127.0.0.1:1")
    assert "\n" not in str(caught.value)


def test_the_asset_writes_the_page_and_links_it(
    flawed: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALPHAFORGE_REPORTS", str(tmp_path))
    asset = daily.asset(by_day(UNIVERSE.history_start))
    (tmp_path / "instance").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "instance")) as instance:
        assert requested(flawed, instance, dt.date(2025, 6, 2)) == {"2025-06-01"}
        assert requested(flawed, instance, dt.date(2025, 6, 8)) == {"2025-06-01"}
        assert requested(flawed, instance, dt.date(2025, 6, 9)) == set()  # a week is made up for, no more
        done = dg.materialize([asset], partition_key="2025-06-01", instance=instance, resources={"warehouse": flawed})
        (made,) = done.asset_materializations_for_node("quality_report")
        assert made.metadata["report"].value == "/reports/2025-06-01/report.html"
        assert made.metadata["file"].value == str(tmp_path / "2025-06-01" / "report.html")
        assert (tmp_path / "2025-06-01" / "report.html").stat().st_size > 10_000
        assert requested(flawed, instance, dt.date(2025, 6, 2)) == set()


def requested(client: Client, instance: dg.DagsterInstance, on: dt.date) -> set[str | None]:
    """Partitions that the schedule asks for on a day at 01:30."""
    at = dt.datetime(on.year, on.month, on.day, 1, 30, tzinfo=dt.UTC)
    context = dg.build_schedule_context(instance, scheduled_execution_time=at, resources={"warehouse": client})
    outcome: Any = daily.schedule()(context)
    return {request.partition_key for request in outcome if isinstance(request, dg.RunRequest)}
