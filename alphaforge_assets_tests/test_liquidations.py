"""Liquidations from Binance's daily files into v_liquidations: told twice, kept once, days without a file, sampled."""

import datetime as dt
import io
import zipfile
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import requests
from clickhouse_connect.driver.client import Client

from alphaforge_assets.backfill.question import _check_range
from alphaforge_assets.datasets.liquidations import LIQUIDATIONS
from alphaforge_assets.errors import BadInput, VenueUnavailable
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.pipeline.landing import Landed
from alphaforge_assets.pipeline.served import windows
from alphaforge_assets.quality.checks import every_check, offenders
from alphaforge_assets.quality.coverage import judge
from alphaforge_assets.refresh import refresh
from alphaforge_assets.research.client import Research
from alphaforge_assets.sandbox import process as sandbox
from alphaforge_assets.universe import Universe
from alphaforge_assets.upkeep.archives import watch
from alphaforge_assets.venues.bars import Window
from alphaforge_assets.venues.directory import Exchanges
from alphaforge_assets.venues.liquidations_file import FIELDS, read_file
from alphaforge_assets_tests.conftest import LIFTED, lifted
from alphaforge_assets_tests.installed import Installed

NOW = dt.datetime(2025, 7, 1, tzinfo=dt.UTC)
UNIVERSE = Universe.model_validate(
    {
        "history_start": dt.date(2024, 1, 1),
        "intervals": ["1m"],
        "venues": {"binance_perp": {"instruments": [{"symbol": "BTC/USDT", "liquidations": True}, "ETH/USDT"]}},
    }
)
BTC, _ = UNIVERSE.instruments
PART = Rectangle((BTC,), dt.date(2024, 3, 18), dt.date(2024, 3, 26))
START, END = dt.datetime(2024, 3, 18, tzinfo=dt.UTC), dt.datetime(2024, 3, 26, tzinfo=dt.UTC)
FOLDER = "data/futures/um/daily/liquidationSnapshot/BTCUSDT/BTCUSDT-liquidationSnapshot-"
# The sandbox has no file of each 41st day since 1970.
LACKING = [dt.date(2024, 3, 21)]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchanges]:
    with sandbox.start(now=NOW, budget_scale=LIFTED) as url:
        yield lifted(url, tmp_path_factory.mktemp("governor") / "governor.sqlite3")


@pytest.fixture(autouse=True)
def fresh(files: Exchanges) -> Iterator[None]:
    yield
    requests.delete(f"{files.base_url}/_archive", timeout=5)


def wrong(files: Exchanges, kind: str, day: str = "2024-03-19") -> None:
    order = {"key": f"{FOLDER}{day}.zip", "kind": kind}
    assert requests.post(f"{files.base_url}/_archive", json=order, timeout=5).status_code == 200


def bring(client: Client, files: Exchanges, **more: Any) -> Landed:
    return refresh(client, files, UNIVERSE, PART, LIQUIDATIONS, run_id="test", **more)


def rows(client: Client, sql: str) -> list[tuple[Any, ...]]:
    return list(client.query(sql).result_rows)


def told(files: Exchanges, day: str) -> list[list[str]]:
    """The lines of a file, without our client."""
    body = requests.get(f"{files.base_url}/data.binance.vision/{FOLDER}{day}.zip", timeout=10).content
    with zipfile.ZipFile(io.BytesIO(body)) as file:
        (member,) = file.namelist()
        lines = file.read(member).decode().splitlines()
    assert tuple(lines[0].split(",")) == FIELDS
    return [line.split(",") for line in lines[1:]]


def test_they_arrive_as_the_files_tell_them_each_once(emptied: Client, files: Exchanges) -> None:
    landed = bring(emptied, files)
    assert (landed.failures, [w.start.date() for w in landed.gone]) == ([], LACKING)  # which nobody has
    lines = told(files, "2024-03-19")
    once = sorted({tuple(line) for line in lines})
    assert len(once) < len(lines)
    ours = rows(
        emptied,
        "SELECT timestamp_unix, order_side, position_side, price, average_price, quantity, filled_quantity"
        " FROM analytics.v_liquidations WHERE toDate(timestamp) = '2024-03-19' ORDER BY ALL",
    )
    sides = {"SELL": ("sell", "long"), "BUY": ("buy", "short")}
    assert ours == sorted((int(r[0]), *sides[r[1]], *(float(r[n]) for n in (5, 6, 4, 9))) for r in once)
    assert rows(emptied, "SELECT DISTINCT price_kind, is_sampled, metadata, source FROM analytics.v_liquidations") == [
        ("order", True, "", "archive_daily")
    ]
    noted = "SELECT rows, duplicates, checksum_status FROM analytics.archive_files FINAL WHERE key LIKE '%2024-03-19%'"
    assert rows(emptied, noted) == [(len(once), len(lines) - len(once), "verified")]
    assert {c.name: found for c in every_check() if c.dataset is LIQUIDATIONS
            if (found := offenders(emptied, c, PART, NOW))} == {}  # fmt: skip
    before = rows(emptied, "SELECT count() FROM analytics.liquidations")
    assert bring(emptied, files, refetch=True).rows == landed.rows
    assert rows(emptied, "SELECT count() FROM analytics.liquidations") == before


@pytest.mark.parametrize("kind", ["missing", "torn", "foreign"])
def test_a_day_without_a_usable_file_is_a_gap_and_coverage_says_it_is_sampled(
    emptied: Client, files: Exchanges, kind: str
) -> None:
    wrong(files, kind)
    landed = bring(emptied, files)
    day = dt.date(2024, 3, 19)
    assert [f.window.start.date() for f in landed.failures] == ([] if kind == "missing" else [day])
    assert [w.start.date() for w in landed.gone] == ([day, *LACKING] if kind == "missing" else LACKING)
    judge(emptied, PART, LIQUIDATIONS, UNIVERSE, now=NOW)
    verdict = "retention_lost" if kind == "missing" else "we_missed"
    gaps = "SELECT toDate(gap_start), toDate(gap_end), missing, verdict FROM analytics.v_gaps WHERE is_open ORDER BY 1"
    lacking = [(d, d + dt.timedelta(days=1), 1, "retention_lost") for d in LACKING]
    assert rows(emptied, gaps) == sorted([(day, dt.date(2024, 3, 20), 1, verdict), *lacking])
    told_of = "SELECT count(), sum(present), sum(missing), min(is_sampled) FROM analytics.v_coverage"
    assert rows(emptied, told_of) == [(8, 6, 2, True)]
    judge(emptied, PART, LIQUIDATIONS, UNIVERSE, now=NOW + dt.timedelta(hours=1))
    assert len(rows(emptied, gaps)) == 1 + len(LACKING)
    requests.delete(f"{files.base_url}/_archive", timeout=5)
    bring(emptied, files)
    judge(emptied, PART, LIQUIDATIONS, UNIVERSE, now=NOW + dt.timedelta(hours=2))
    assert rows(emptied, gaps) == lacking
    assert rows(emptied, told_of) == [(8, 7, 1, True)]


def test_readers_snapshots_and_receipts(emptied: Client, files: Exchanges) -> None:
    bring(emptied, files)
    research = Research(emptied, UNIVERSE)
    day = (dt.datetime(2024, 3, 18, tzinfo=dt.UTC), dt.datetime(2024, 3, 20, tzinfo=dt.UTC))
    frame = research.liquidations(BTC.key, *day, require_complete=True)
    assert list(frame.columns) == [*LIQUIDATIONS.usual]
    assert len(frame) > 100
    assert frame.index.is_monotonic_increasing
    assert research.verify(frame)
    research.pin("march", BTC.key, "1m", START, END, "liquidations")
    assert research.liquidations(BTC.key, *day, snapshot="march").equals(frame)
    assert research.verify("march")
    assert research.diff("march").empty
    with pytest.raises(BadInput, match="is not in the universe"):
        research.liquidations("binance_spot.BTC-USDT", *day)


def test_the_command_prints_and_writes_them(
    schema_home: Path, emptied: Client, files: Exchanges, tmp_path: Path
) -> None:
    landed = bring(emptied, files)
    universe = tmp_path / "universe.yaml"
    universe.write_text(
        "history_start: 2024-01-01\nintervals: [1m]\nvenues:\n  binance_perp:\n"
        "    instruments: [{symbol: BTC/USDT, liquidations: true}]\n"
    )
    here = Installed(schema_home.parent)
    span = ("--from", "2024-03-18", "--to", "2024-03-26")
    shown = here.well("liquidations", BTC.key, *span, ALPHAFORGE_UNIVERSE=str(universe))
    assert f"{landed.rows:,} liquidations told" in shown
    table = here.well("liquidations", BTC.key, *span, "--csv", ALPHAFORGE_UNIVERSE=str(universe)).splitlines()
    assert (table[0].split(",")[:3], len(table)) == (["timestamp", "position_side", "order_side"], landed.rows + 1)


def test_a_file_that_is_replaced_is_read_again(emptied: Client, files: Exchanges) -> None:
    landed = bring(emptied, files)
    wrong(files, "doubled")
    found = watch(emptied, files, UNIVERSE, run_id="watch", lock=lambda dataset: nullcontext())
    assert [one.key for one in found.changed] == [f"{FOLDER}2024-03-19.zip"]
    assert rows(emptied, "SELECT count() FROM analytics.v_liquidations") == [(landed.rows,)]


def test_nothing_is_asked_for_after_the_last_file() -> None:
    later = Rectangle((BTC,), dt.date(2024, 3, 30), dt.date(2025, 1, 1))
    (window,) = windows(LIQUIDATIONS, later, [""], NOW)
    assert (window.instrument, window.end) == (BTC, dt.datetime(2024, 4, 1, tzinfo=dt.UTC))
    assert LIQUIDATIONS.instruments(UNIVERSE) == (BTC,)
    with pytest.raises(BadInput, match="liquidations end on 2024-04-01"):
        _check_range(LIQUIDATIONS, UNIVERSE, dt.date(2024, 4, 1), dt.date(2024, 5, 1))


GOOD = "1709596800500,SELL,LIMIT,IOC,0.014,67000.10,67300.5,FILLED,0.014,0.014"


def write(path: Path, text: str) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x.csv", text)
    return path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("time,side\n" + GOOD, "has the fields time,side"),
        (GOOD + ",1", "has a row of 11 fields"),
        (GOOD.replace("1709596800500", "1709596800"), "1 rows without a time in milliseconds"),
        (GOOD.replace("1709596800500", "1709696800500"), "not of the day it is named after"),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_refused(tmp_path: Path, text: str, said: str) -> None:
    day = Window(1_709_596_800_000, 1_709_683_200_000)
    with pytest.raises(VenueUnavailable, match=said):
        read_file(write(tmp_path / "x.zip", text), "x", day)


def test_what_is_not_as_usual_is_kept_beside_the_row(tmp_path: Path) -> None:
    day = Window(1_709_596_800_000, 1_709_683_200_000)
    lines = [GOOD, GOOD, GOOD.replace("SELL", "HALT"), GOOD.replace("67000.10", "?"), GOOD.replace("FILLED", "EXPIRED")]
    read = read_file(write(tmp_path / "x.zip", "\n".join([",".join(FIELDS), *lines])), "x", day)
    assert (read.table.num_rows, read.duplicates, read.has_header) == (4, 1, True)
    usual, halted, unread, expired = read.table.to_pylist()
    assert (usual["order_side"], usual["position_side"], usual["metadata"]) == ("sell", "long", "")
    assert (halted["order_side"], '"side":"HALT"' in halted["metadata"]) == ("", True)
    assert (unread["price"], '"price":"?"' in unread["metadata"]) == (None, True)
    assert expired["metadata"] == '{"order_status":"EXPIRED"}'
    assert read_file(write(tmp_path / "e.zip", ",".join(FIELDS)), "x", day).table.num_rows == 0
