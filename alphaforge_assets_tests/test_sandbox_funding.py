"""Funding rates and the Fear and Greed Index of the sandbox: generated, recorded, and as ccxt reads them."""

import datetime as dt
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import ccxt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests

from alphaforge_assets.sandbox.process import start

NOW = dt.datetime(2025, 6, 3, 12, 0, 30, tzinfo=dt.UTC)
NOW_MS = int(NOW.timestamp() * 1000)
HOUR = 3_600_000
LAST = NOW_MS - NOW_MS % (8 * HOUR)


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    with start(now=NOW, budget_scale=100) as url:
        yield url


def get(base: str, path: str, /, **query: object) -> Any:
    return requests.get(base + path, params=query, timeout=30).json()  # type: ignore[arg-type]


def binance(base: str, **query: object) -> list[dict[str, Any]]:
    return get(base, "/fapi/v1/fundingRate", **{"symbol": "BTCUSDT", **query})


def okx(base: str, **query: object) -> list[dict[str, str]]:
    return get(base, "/api/v5/public/funding-rate-history", **{"instId": "BTC-USDT-SWAP", **query})["data"]


def bybit(base: str, **query: object) -> dict[str, Any]:
    return get(base, "/v5/market/funding/history", **{"category": "linear", "symbol": "BTCUSDT", **query})


def times(rows: list[dict[str, Any]]) -> list[int]:
    return [int(row.get("fundingTime") or row["fundingRateTimestamp"]) for row in rows]


def eights(newest: int, count: int) -> list[int]:
    return [newest - i * 8 * HOUR for i in range(count)]


def rounded(rows: list[dict[str, Any]]) -> list[int]:
    return [time - time % HOUR for time in times(rows)]


def test_binance_funding_pages_ascend_and_times_are_some_milliseconds_late(base):
    assert rounded(binance(base)) == eights(LAST, 200)[::-1]
    assert rounded(binance(base, limit=3)) == eights(LAST, 3)[::-1]
    since = LAST - 3000 * HOUR
    page = binance(base, startTime=since, limit=1000)
    assert rounded(page) == list(range(since, LAST + 1, 8 * HOUR))
    assert 0 < sum(time % HOUR > 0 for time in times(page)) < len(page)
    assert max(time % HOUR for time in times(page)) < 100
    assert len(binance(base, startTime=since)) == 100
    assert rounded(binance(base, endTime=since + HOUR, limit=2)) == [since - 8 * HOUR, since]
    assert binance(base, limit=2000)["code"] == -1130  # type: ignore[call-overload]
    assert binance(base, startTime=2, endTime=1)["code"] == -1023  # type: ignore[call-overload]
    assert {row["symbol"] for row in get(base, "/fapi/v1/fundingRate", limit=50)} >= {"BTCUSDT", "ETHUSDT", "DOGEUSDT"}
    rates = [Decimal(row["fundingRate"]) for row in page]
    assert 0.3 < rates.count(Decimal("0.0001")) / len(rates) < 0.95  # clamped, as the venues clamp it
    assert min(rates) < 0
    assert max(map(abs, rates)) < Decimal("0.003")


def test_binance_rows_have_the_fields_of_their_time(base):
    row = binance(base, limit=1)[0]
    assert list(row) == ["symbol", "fundingTime", "fundingRate", "markPrice"]
    minute = row["fundingTime"] - row["fundingTime"] % 60_000
    bar = get(base, "/fapi/v1/markPriceKlines", symbol="BTCUSDT", interval="1m", startTime=minute, limit=1)[0]
    assert float(row["markPrice"]) == float(bar[1])
    assert binance(base, startTime=1_600_000_000_000, limit=1)[0]["markPrice"] == ""
    requests.post(base + "/_clock", json={"now": "2026-08-01T00:00:00Z"}, timeout=5)
    assert binance(base, limit=1)[0]["rateType"] == "Regular"
    requests.post(base + "/_clock", json={"now": NOW.isoformat()}, timeout=5)


def test_an_interval_that_changes_and_who_says_so(base):
    change = int(dt.datetime(2025, 3, 1, tzinfo=dt.UTC).timestamp() * 1000)
    rows = binance(base, symbol="DOGEUSDT", startTime=change - 17 * HOUR, endTime=change + 9 * HOUR)
    assert [(time - change) // HOUR for time in rounded(rows)] == [-16, -8, 0, 4, 8]
    info = get(base, "/fapi/v1/fundingInfo")
    assert [(one["symbol"], one["fundingIntervalHours"]) for one in info] == [("DOGEUSDT", 4)]
    listed = get(base, "/v5/market/instruments-info", category="linear")["result"]["list"]
    assert {one["symbol"]: one["fundingInterval"] for one in listed}["XRPUSDT"] == 240
    assert {one["symbol"]: one["fundingInterval"] for one in listed}["BTCUSDT"] == 480


def test_okx_funding_descends_between_exclusive_cursors_for_three_months(base):
    assert times(okx(base)) == eights(LAST, 100)
    since = LAST - 400 * HOUR
    assert times(okx(base, before=since, limit=2)) == eights(LAST, 2)
    assert times(okx(base, after=since, limit=2)) == eights(since - 8 * HOUR, 2)
    assert times(okx(base, before=since - 1, after=since + 9 * HOUR)) == [since + 8 * HOUR, since]
    assert okx(base, after=LAST - 93 * 24 * HOUR) == []
    assert get(base, "/api/v5/public/funding-rate-history", instId="BTC-USDT")["code"] == "51000"
    now = get(base, "/api/v5/public/funding-rate", instId="BTC-USDT-SWAP")["data"][0]
    assert (int(now["fundingTime"]), now["ts"]) == (LAST + 8 * HOUR, str(NOW_MS))


def test_bybit_funding_is_the_newest_of_its_window(base):
    assert times(bybit(base)["result"]["list"]) == eights(LAST, 200)
    since = LAST - 8000 * HOUR
    assert times(bybit(base, startTime=since, endTime=LAST)["result"]["list"]) == eights(LAST, 200)
    assert times(bybit(base, endTime=since, limit=2)["result"]["list"]) == eights(since, 2)
    assert bybit(base, startTime=since)["retCode"] == 10001
    assert bybit(base, category="spot")["retCode"] == 10001


def test_real_ccxt_reads_it(base):
    exchanges = [ccxt.binanceusdm({"enableRateLimit": False}), ccxt.okx(), ccxt.bybit({"enableRateLimit": False})]
    for exchange in exchanges:
        api = exchange.urls["api"]
        api |= {"public": base, "rest": base} if exchange.id != "binanceusdm" else {"fapiPublic": base + "/fapi/v1"}
        exchange.options["fetchMarkets"] = {"types": ["swap" if exchange.id == "okx" else "linear"]}
        since = LAST - 80 * HOUR
        rows = exchange.fetch_funding_rate_history("BTC/USDT:USDT", since=since, limit=11)
        assert [row["timestamp"] - row["timestamp"] % HOUR for row in rows] == eights(LAST, 11)[::-1]
        assert all(abs(row["fundingRate"]) < 0.003 for row in rows)
    assert exchanges[0].fetch_funding_rate("BTC/USDT:USDT")["fundingTimestamp"] == LAST + 8 * HOUR
    assert exchanges[1].fetch_funding_rate("BTC/USDT:USDT")["fundingTimestamp"] == LAST + 8 * HOUR


def test_fear_and_greed(base):
    one = get(base, "/fng/")
    assert len(one["data"]) == 1
    answer = get(base, "/fng/", limit=0, format="json")
    days = answer["data"]
    assert (answer["name"], answer["metadata"]) == ("Fear and Greed Index", {"error": None})
    midnight = NOW_MS // 86_400_000 * 86_400
    assert [int(day["timestamp"]) for day in days] == list(range(midnight, 1_517_443_199, -86_400))
    assert ["time_until_update" in day for day in days] == [True] + [False] * (len(days) - 1)
    assert days[0]["time_until_update"] == str(12 * 3600 - 30)
    values = [int(day["value"]) for day in days]
    assert 5 <= min(values) < 20 < 80 < max(values) <= 95
    assert all(day["value_classification"] == "Extreme Fear" for day in days if int(day["value"]) <= 25)
    requests.post(base + "/_clock", json={"now": "2025-06-09T00:00:00Z"}, timeout=5)
    assert get(base, "/fng/", limit=0)["data"][7:] == days[1:]
    requests.post(base + "/_clock", json={"now": NOW.isoformat()}, timeout=5)


def test_a_folder_with_funding_alone_and_one_without(tmp_path):
    bars = tmp_path / "klines/bybit_spot/ABCUSDT/1m"
    bars.mkdir(parents=True)
    columns = {name: pa.array([1], pa.int64()) for name in ("open_time", "open", "high", "low", "close", "volume")}
    pq.write_table(pa.table(columns), bars / "a.parquet")
    folder = tmp_path / "funding/binance_um"
    folder.mkdir(parents=True)
    rows = {"funding_time": [28_800_004, 57_600_000], "funding_rate": [1e-8, -3.4967081918e-05]}
    pq.write_table(pa.table({**rows, "mark_price_raw": [None, "1.50000000"]}), folder / "XYZUSDT_part.parquet")
    with start(tmp_path) as url:
        rows = get(url, "/fapi/v1/fundingRate", symbol="XYZUSDT")
        assert [(row["fundingTime"], row["fundingRate"], row["markPrice"]) for row in rows] == [
            (28_800_004, "0.00000001", ""), (57_600_000, "-0.000034967081918", "1.50000000")]  # fmt: skip
        assert get(url, "/fapi/v1/klines", symbol="XYZUSDT", interval="1m") == []
        assert get(url, "/fng/", limit=0)["data"] == []


@pytest.fixture(scope="module")
def played(recorded: Path) -> Iterator[tuple[str, Path]]:
    with start(recorded / "market-data", budget_scale=100) as url:
        yield url, recorded / "market-data"


@pytest.mark.recorded
@pytest.mark.parametrize(
    ("folder", "venue"),
    [("binance_um/SOLUSDT", "binance"), ("okx_swap/ETH-USDT-SWAP_2025-10_2026-01", "okx"),
     ("bybit_linear/BTCUSDT_2025-09_2026-07", "bybit")],
)  # fmt: skip
def test_recorded_funding_comes_back_value_for_value(played, folder, venue):
    url, root = played
    wanted = pq.read_table(root / "funding" / f"{folder}.parquet").to_pylist()[-200:]
    first, last = wanted[0]["funding_time"], wanted[-1]["funding_time"]
    symbol = folder.split("/")[1].split("_")[0]
    if venue == "binance":
        rows = binance(url, symbol=symbol, startTime=first, endTime=last, limit=1000)
        assert [row["markPrice"] for row in rows] == [row["mark_price_raw"] for row in wanted]
    elif venue == "okx":
        rows = okx(url, instId=symbol, before=first - 1, after=last + 1)
        rows = [*okx(url, instId=symbol, before=first - 1, after=times(rows)[-1])[::-1], *rows[::-1]]
    else:
        rows = bybit(url, symbol=symbol, startTime=first, endTime=last)["result"]["list"][::-1]
    assert times(rows) == [row["funding_time"] for row in wanted]
    assert [float(row["fundingRate"]) for row in rows] == [float(row["funding_rate"]) for row in wanted]


@pytest.mark.recorded
def test_recorded_fear_and_greed_comes_back(played, recorded):
    url, root = played
    table = pq.read_table(root / "fear_greed/alternative_me.parquet").to_pylist()
    days = get(url, "/fng/", limit=0, format="json")["data"]
    assert [(int(d["timestamp"]), int(d["value"]), d["value_classification"]) for d in days] == [
        (row["timestamp"], row["value"], row["value_classification"]) for row in table]  # fmt: skip
    body = json.loads((recorded / "wire/alternative.me/fng_full_response_limit365_2025-04-22.json").read_text())
    ours = get(url, "/fng/", limit=365)
    assert list(ours) == list(body)
    assert [list(day) for day in ours["data"]] == [list(day) for day in body["data"]]


@pytest.mark.recorded
def test_funding_bodies_have_the_recorded_shape(recorded, base):
    wire = recorded / "wire"
    theirs = json.loads((wire / "binance-2026-07/fapi-v1-fundingRate-BTCUSDT-limit3.json").read_text())
    ours = binance(base, limit=3)
    assert [list(row) for row in ours] == [list(row) for row in theirs]
    for mine, recorded_row in zip(ours, theirs, strict=True):
        for key in ("fundingRate", "markPrice"):
            assert len(mine[key].split(".")[1]) == len(recorded_row[key].split(".")[1]) == 8
    info = json.loads((wire / "binance-2026-07/fapi-v1-fundingInfo.json").read_text())
    assert list(get(base, "/fapi/v1/fundingInfo")[0]) == list(info[0])
    cases = json.loads((wire / "ccxt-static/response/bybit.json").read_text())["methods"]["fetchFundingRateHistory"]
    body = cases[0]["httpResponse"]
    answer = bybit(base, limit=3)
    assert list(answer) == list(body)
    assert list(answer["result"]) == list(body["result"])
    assert [list(row) for row in answer["result"]["list"]] == [list(row) for row in body["result"]["list"]]
