"""The sandbox's bucket of files: what S3 says, and that the files hold what REST answers, or what is wrong on order."""

import datetime as dt
import hashlib
import io
import re
import zipfile
from collections.abc import Iterator

import pytest
import requests

from alphaforge_assets.sandbox.process import start

NOW = dt.datetime(2025, 7, 1, tzinfo=dt.UTC)
ROOT = "/data.binance.vision"
SPOT = "data/spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2025-05.zip"
OLDER = "data/spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2024-12.zip"
PERP = "data/futures/um/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2025-05.zip"
DAY = "data/spot/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2025-06-29.zip"
MAY_MS = 1_746_057_600_000
HOUR = 3_600_000


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    with start(now=NOW, budget_scale=100) as url:
        yield url


@pytest.fixture(autouse=True)
def fresh(base: str) -> Iterator[None]:
    yield
    requests.delete(f"{base}/_archive", timeout=5)


def get(base: str, key: str, **headers: str) -> requests.Response:
    return requests.get(f"{base}{ROOT}/{key}", headers=headers, timeout=20)


def listed(base: str, **query: object) -> tuple[list[str], str]:
    """Keys and common prefixes, and the token of the next page."""
    text = requests.get(base + ROOT, params={"list-type": 2, **query}, timeout=60).text  # type: ignore[arg-type]
    token = re.search(r"<NextContinuationToken>(.*?)</", text)
    return re.findall(r"(?:<Key>|<CommonPrefixes><Prefix>)(.*?)</", text), token.group(1) if token else ""


def wrong(base: str, kind: str, key: str = SPOT, **more: object) -> None:
    assert requests.post(f"{base}/_archive", json={"key": key, "kind": kind, **more}, timeout=5).status_code == 200


def lines(base: str, key: str) -> list[list[str]]:
    with zipfile.ZipFile(io.BytesIO(get(base, key).content)) as file:
        (member,) = file.namelist()
        assert member == key.rpartition("/")[2].replace(".zip", ".csv")
        return [line.split(",") for line in file.read(member).decode().splitlines()]


def test_a_listing_is_a_tree_in_order_and_in_pages(base: str) -> None:
    assert listed(base, delimiter="/", prefix="data/")[0] == ["data/futures/", "data/spot/"]
    symbols, _ = listed(base, delimiter="/", prefix="data/spot/daily/klines/")
    assert "data/spot/daily/klines/BTCUSDT/" in symbols
    prefix = SPOT.rpartition("/")[0] + "/"
    found, token = listed(base, prefix=prefix)
    while token:
        more, token = listed(base, prefix=prefix, **{"continuation-token": token})
        found += more
    assert found == sorted(found)
    assert found[0].endswith("BTCUSDT-1h-2017-08.zip")
    assert found[-1] == f"{SPOT}.CHECKSUM"  # June's comes on the first Monday of July
    assert len(found) == 2 * (4 + 12 + 5 + 12 * 6 + 1)
    assert listed(base, prefix=prefix + "BTCUSDT-1h-2025-0", **{"max-keys": 3})[1].endswith("2025-02.zip")
    assert listed(base, prefix="data/spot/monthly/klines/NOSUCH/")[0] == []


def test_an_object_has_its_etag_its_checksum_and_ranges(base: str) -> None:
    whole, part = get(base, SPOT), get(base, SPOT, Range="bytes=10-19")
    assert (part.status_code, part.content) == (206, whole.content[10:20])
    assert whole.headers["etag"] == f'"{hashlib.md5(whole.content).hexdigest()}"'  # noqa: S324
    assert whole.headers["last-modified"] == "Mon, 02 Jun 2025 08:00:00 GMT"
    digest = hashlib.sha256(whole.content).hexdigest()
    assert get(base, f"{SPOT}.CHECKSUM").text == f"{digest}  BTCUSDT-1h-2025-05.zip\n"
    head = requests.head(f"{base}{ROOT}/{SPOT}", timeout=5)
    assert int(head.headers["content-length"]) == len(whole.content)
    assert get(base, "data/spot/nothing.zip").status_code == 404


@pytest.mark.parametrize(
    ("key", "path", "since", "factor", "has_header"),
    [
        (SPOT, "/api/v3/klines", MAY_MS, 1000, False),
        (OLDER, "/api/v3/klines", 1_733_011_200_000, 1, False),
        (PERP, "/fapi/v1/klines", MAY_MS, 1, True),
    ],
)
def test_a_file_holds_the_rows_of_rest(
    base: str, key: str, path: str, since: int, factor: int, has_header: bool
) -> None:
    found = lines(base, key)
    assert (found[0][0] == "open_time") == has_header
    found = found[has_header:]
    query = {"symbol": "BTCUSDT", "interval": "1h", "startTime": since, "limit": 744}
    said = requests.get(base + path, params=query, timeout=10).json()
    assert len(said) == len(found) == 744
    for row, line in zip(said, found, strict=True):
        opens, closes = row[0] * factor, row[6] * factor + factor - 1
        assert line == [str(opens), *row[1:6], str(closes), row[7], str(row[8]), *row[9:11], "0"]


def test_a_day_is_there_the_day_after(base: str) -> None:
    assert len(lines(base, DAY)) == 1440
    assert get(base, DAY.replace("06-29", "06-30")).status_code == 404
    requests.post(f"{base}/_clock", json={"now": "2025-07-01T06:00:00Z"}, timeout=5)
    assert get(base, DAY.replace("06-29", "06-30")).status_code == 200
    requests.post(f"{base}/_clock", json={"now": NOW.isoformat()}, timeout=5)


def test_what_is_wrong_on_order(base: str) -> None:
    sound = get(base, SPOT)
    wrong(base, "missing")
    assert get(base, SPOT).status_code == get(base, f"{SPOT}.CHECKSUM").status_code == 404
    requests.delete(f"{base}/_archive", timeout=5)
    wrong(base, "stale")
    assert get(base, SPOT).content == sound.content
    assert hashlib.sha256(sound.content).hexdigest() not in get(base, f"{SPOT}.CHECKSUM").text
    requests.delete(f"{base}/_archive", timeout=5)
    wrong(base, "lacks", since=MAY_MS + 24 * HOUR)
    assert len(lines(base, SPOT)) == 30 * 24
    requests.delete(f"{base}/_archive", timeout=5)
    wrong(base, "doubled", start=3, rows=2)
    assert lines(base, SPOT)[3:5] == lines(base, SPOT)[5:7]
    requests.delete(f"{base}/_archive", timeout=5)
    wrong(base, "revised", start=7)
    again = get(base, SPOT)
    assert (again.headers["etag"] != sound.headers["etag"], again.headers["last-modified"][:16]) == (
        True,
        "Tue, 01 Jul 2025",
    )
    requests.delete(f"{base}/_archive", timeout=5)
    wrong(base, "torn")
    assert get(base, SPOT).content == sound.content[: len(sound.content) // 2]


def test_an_order_that_cannot_be_is_refused(base: str) -> None:
    for order in ({"key": SPOT}, {"key": SPOT, "kind": "sad"}, {"key": SPOT, "kind": "torn", "rows": "1"}):
        assert requests.post(f"{base}/_archive", json=order, timeout=5).status_code == 400
