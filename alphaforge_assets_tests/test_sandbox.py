"""The sandbox over real sockets: pages, cursors, errors, limits, faults and hooks of each venue."""

import datetime as dt
import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
import requests

from alphaforge_assets.errors import BadInput, Occupied
from alphaforge_assets.sandbox.budgets import Budgets
from alphaforge_assets.sandbox.process import serve, start

NOW = dt.datetime(2025, 6, 3, 12, 0, 30, tzinfo=dt.UTC)
NOW_MS = int(NOW.timestamp() * 1000)
MINUTE = 60_000
OPEN = NOW_MS - NOW_MS % MINUTE
HOUR = 60 * MINUTE


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    with start(now=NOW, budget_scale=100) as url:
        yield url


@pytest.fixture(autouse=True)
def fresh(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "base" in request.fixturenames:
        url = request.getfixturevalue("base")
        for hook in ("_faults", "_log", "_budgets"):
            requests.delete(f"{url}/{hook}", timeout=5)
        requests.post(f"{url}/_clock", json={"now": NOW.isoformat()}, timeout=5)


def get(base: str, path: str, /, **query: object) -> requests.Response:
    return requests.get(base + path, params=query, timeout=10)  # type: ignore[arg-type]


def klines(base: str, path: str = "/api/v3/klines", /, **query: object) -> list[list[object]]:
    return get(base, path, **{"symbol": "BTCUSDT", "interval": "1m", **query}).json()


def candles(base: str, path: str = "candles", /, **query: object) -> list[list[str]]:
    answer = get(base, f"/api/v5/market/{path}", **{"instId": "BTC-USDT", "bar": "1m", **query}).json()
    assert (answer["code"], answer["msg"]) == ("0", "")
    return answer["data"]


def bybit(base: str, **query: object) -> list[list[str]]:
    query = {"category": "spot", "symbol": "BTCUSDT", "interval": "1", **query}
    answer = get(base, "/v5/market/kline", **query).json()
    assert (answer["retCode"], answer["retMsg"]) == (0, "OK")
    return answer["result"]["list"]


def opens(rows: list) -> list[int]:
    return [int(row[0]) for row in rows]


# Binance


@pytest.mark.parametrize(("path", "most"), [("/api/v3/klines", 1000), ("/fapi/v1/klines", 1500)])
def test_binance_pages(base, path, most):
    since = OPEN - 5000 * MINUTE
    assert opens(klines(base, path)) == list(range(OPEN - 499 * MINUTE, OPEN + 1, MINUTE))
    assert len(klines(base, path, limit=most, startTime=since)) == most
    page = klines(base, path, startTime=since, endTime=since + 3 * MINUTE)
    assert opens(page) == [since + i * MINUTE for i in range(4)]  # both ends inclusive
    page = klines(base, path, startTime=since + 1, endTime=since + 3 * MINUTE - 1)
    assert opens(page) == [since + MINUTE, since + 2 * MINUTE]
    assert opens(klines(base, path, endTime=since, limit=2)) == [since - MINUTE, since]
    assert opens(klines(base, path, startTime=since, limit=2)) == [since, since + MINUTE]
    assert klines(base, path, startTime=NOW_MS) == []
    assert klines(base, path, startTime=10**19) == []


def test_binance_rows(base):
    spot = klines(base, limit=2)[0]
    futures = klines(base, "/fapi/v1/klines", limit=2)[0]
    for row, decimals in ((spot, (8, 8, 8)), (futures, (2, 3, 5))):
        assert [type(field) for field in row] == [int, *[str] * 5, int, str, int, str, str, str]
        assert row[6] == row[0] + MINUTE - 1
        assert row[11] == "0"
        price, volume, quote = (row[i].split(".")[1] for i in (1, 5, 7))
        assert (len(price), len(volume), len(quote)) == decimals


@pytest.mark.parametrize(
    ("query", "status", "code", "message"),
    [
        ({"symbol": "NOPEUSDT"}, 400, -1121, "Invalid symbol."),
        ({"interval": "7m"}, 400, -1120, "Invalid interval."),
        ({"symbol": ""}, 400, -1102, "Mandatory parameter 'symbol' was not sent"),
        ({"symbol": "btc/usdt"}, 400, -1100, "Illegal characters found in parameter 'symbol'"),
        ({"startTime": "yesterday"}, 400, -1100, "Illegal characters found in parameter 'startTime'"),
    ],
)
@pytest.mark.parametrize("path", ["/api/v3/klines", "/fapi/v1/klines"])
def test_binance_errors(base, path, query, status, code, message):
    answer = get(base, path, **{"symbol": "BTCUSDT", "interval": "1m", **query})
    assert answer.status_code == status
    assert answer.json()["code"] == code
    assert answer.json()["msg"].startswith(message)


def test_binance_spot_and_futures_differ_where_the_venue_does(base):
    backwards = {"startTime": OPEN, "endTime": OPEN - HOUR}
    assert klines(base, **backwards) == []
    assert klines(base, "/fapi/v1/klines", **backwards) == {
        "code": -1023,
        "msg": "Start time is greater than end time.",
    }
    assert len(klines(base, limit=5000)) == 1000
    assert klines(base, "/fapi/v1/klines", limit=5000)["code"] == -1130  # type: ignore[call-overload]
    assert klines(base, foo=1)["code"] == -1104  # type: ignore[call-overload]
    assert len(klines(base, "/fapi/v1/klines", foo=1)) == 500


def test_binance_weights(base):
    def used(path: str, **query: object) -> int:
        return int(get(base, path, **query).headers["X-MBX-USED-WEIGHT-1M"])

    requests.delete(base + "/_budgets", timeout=5)
    assert used("/api/v3/klines", symbol="BTCUSDT", interval="1m") == 2
    assert used("/api/v3/klines", symbol="BTCUSDT", interval="1m", limit=1000) in (2, 4)  # 2 if a minute just began
    log = get(base, "/_log", path="/api/v3/klines").json()
    assert [entry["weight"] for entry in log] == [2, 2]
    for limit, weight in ((1, 1), (99, 1), (100, 2), (499, 2), (500, 5), (1000, 5), (1001, 10), (1500, 10)):
        get(base, "/fapi/v1/klines", symbol="BTCUSDT", interval="1m", limit=limit)
        assert get(base, "/_log", path="/fapi/v1/klines").json()[-1]["weight"] == weight


# OKX


def test_okx_pages_run_backwards_between_exclusive_cursors(base):
    page = candles(base)
    assert opens(page) == list(range(OPEN, OPEN - 100 * MINUTE, -MINUTE))
    since = OPEN - 1000 * MINUTE
    assert opens(candles(base, after=since, limit=2)) == [since - MINUTE, since - 2 * MINUTE]
    assert opens(candles(base, before=since, limit=2)) == [OPEN, OPEN - MINUTE]  # `before` alone: the newest page
    assert opens(candles(base, before=since - 1, after=since + 2 * MINUTE)) == [since + MINUTE, since]
    assert opens(candles(base, before=since, after=since + 2 * MINUTE)) == [since + MINUTE]
    assert len(candles(base, limit=500)) == 300
    far = OPEN - 100_000 * MINUTE
    assert candles(base, after=far) == []  # `candles` knows the newest 1,440 bars
    assert len(candles(base, after=OPEN - 1438 * MINUTE)) == 1
    assert opens(candles(base, "history-candles", after=far, limit=300)) == list(
        range(far - MINUTE, far - 301 * MINUTE, -MINUTE)
    )


def test_okx_rows(base):
    row = candles(base, limit=2)[1]
    assert len(row) == 9
    assert all(isinstance(field, str) for field in row)
    assert [r[8] for r in candles(base, limit=3)] == ["0", "1", "1"]
    assert row[6] == row[7]
    swap = candles(base, instId="BTC-USDT-SWAP", limit=2)[1]
    contracts, coins, dollars, close = (float(swap[i]) for i in (5, 6, 7, 4))
    assert coins == pytest.approx(contracts * 0.01)
    assert dollars == pytest.approx(coins * close, rel=0.01)
    xrp = candles(base, instId="XRP-USDT-SWAP", limit=2)[1]
    assert float(xrp[6]) == pytest.approx(float(xrp[5]) * 100)


def test_okx_days_open_at_four_in_the_afternoon_unless_they_are_utc(base):
    for bar, offset in (("1Dutc", 0), ("1D", 16), ("12Hutc", 0), ("12H", 4), ("6H", 4), ("4H", 0), ("1H", 0)):
        hours = {"D": 24, "H": 1}[bar.removesuffix("utc")[-1]] * int(bar.removesuffix("utc")[:-1])
        for time_ms in opens(candles(base, bar=bar, limit=3)):
            assert time_ms % (hours * HOUR) == offset * HOUR


def test_okx_errors_come_in_http_200(base):
    def refused(path: str, **query: object) -> tuple[int, str, list]:
        answer = get(base, path, **query)
        return answer.status_code, answer.json()["code"], answer.json()["data"]

    path = "/api/v5/market/candles"
    assert refused(path, instId="NOPE-USDT") == (200, "51001", [])
    assert refused(path) == (400, "50014", [])
    assert refused(path, instId="BTC-USDT", bar="7m") == (400, "51000", [])
    assert refused(path, instId="BTC-USDT", after="x") == (400, "51000", [])
    assert refused("/api/v5/public/instruments") == (400, "50014", [])
    assert refused("/api/v5/public/instruments", instType="OPTION") == (400, "50015", [])
    assert refused("/api/v5/public/instruments", instType="OPTION", uly="BTC-USD") == (200, "0", [])
    assert get(base, "/api/v5/nope").status_code == 404


def test_okx_history_pages_may_be_100_rows():
    with start(now=NOW, okx_history_limit=100) as url:
        assert len(candles(url, "history-candles", limit=300)) == 100
        assert len(candles(url, limit=300)) == 300


# Bybit


def test_bybit_pages(base):
    assert opens(bybit(base)) == list(range(OPEN, OPEN - 200 * MINUTE, -MINUTE))
    since = OPEN - 5000 * MINUTE
    assert len(bybit(base, limit=2000)) == 1000
    window = {"start": since, "end": since + 999 * MINUTE}
    newest = list(range(since + 999 * MINUTE, since + 799 * MINUTE, -MINUTE))
    assert opens(bybit(base, **window)) == newest  # the newest `limit` of the window
    assert opens(bybit(base, **window, limit=1000)) == newest + list(range(since + 799 * MINUTE, since - 1, -MINUTE))
    assert opens(bybit(base, start=since + 1, end=since + MINUTE)) == [since + MINUTE, since]  # contains `start`
    assert opens(bybit(base, start=since, limit=3)) == [since + 2 * MINUTE, since + MINUTE, since]
    assert opens(bybit(base, end=since, limit=1)) == [since]
    row = bybit(base, limit=2)[1]
    assert len(row) == 7
    assert all(isinstance(field, str) for field in row)
    assert float(row[6]) == pytest.approx(float(row[5]) * float(row[4]), rel=0.01)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"symbol": "NOPEUSDT"}, "Not supported symbols"),
        ({"symbol": "NOPEUSDT", "category": "linear"}, "params error: Symbol Is Invalid"),
        ({"interval": "7"}, "Invalid period!"),
        ({"category": "stock"}, "Illegal category"),
        ({"limit": "many"}, "params error: limit is invalid"),
        ({"start": 2, "end": 1}, "params error: start time is greater than end time"),
    ],
)
def test_bybit_errors(base, query, message):
    query = {"category": "spot", "symbol": "BTCUSDT", "interval": "1", **query}
    answer = get(base, "/v5/market/kline", **query)
    assert answer.status_code == 200
    assert (answer.json()["retCode"], answer.json()["retMsg"]) == (10001, message)


def test_bybit_lists_by_status_and_pages_linear(base):
    def listed(**query: object) -> dict:
        return get(base, "/v5/market/instruments-info", **query).json()["result"]

    everything = listed(category="linear")["list"]
    assert {one["status"] for one in everything} == {"Trading"}
    assert [one["symbol"] for one in listed(category="linear", status="PreLaunch")["list"]] == ["BIOUSDT"]
    collected, cursor = [], ""
    while True:
        page = listed(category="linear", limit=2, cursor=cursor)
        collected += page["list"]
        cursor = page["nextPageCursor"]
        if not cursor:
            break
    assert [one["symbol"] for one in collected] == [one["symbol"] for one in everything]
    assert "nextPageCursor" not in listed(category="spot")


# All venues


def ohlcv(base: str, venue: str, interval_minutes: int, limit: int) -> list[list[float]]:
    """(time, open, high, low, close, volume), oldest first."""
    if venue == "binance":
        interval = {1: "1m", 60: "1h", 1440: "1d"}[interval_minutes]
        rows = klines(base, interval=interval, limit=limit)
    elif venue == "okx":
        rows = candles(base, bar={1: "1m", 60: "1H", 1440: "1Dutc"}[interval_minutes], limit=limit)[::-1]
    else:
        rows = bybit(base, interval={1: "1", 60: "60", 1440: "D"}[interval_minutes], limit=limit)[::-1]
    return [[float(field) for field in row[:6]] for row in rows]


@pytest.mark.parametrize("venue", ["binance", "okx", "bybit"])
@pytest.mark.parametrize("minutes", [1, 60, 1440])
def test_the_open_bar_is_a_normal_row_that_still_changes(base, venue, minutes):
    closed, running = ohlcv(base, venue, minutes, 2)
    opened = NOW_MS - NOW_MS % (minutes * MINUTE)
    assert (closed[0], running[0]) == (opened - minutes * MINUTE, opened)
    later = dt.datetime.fromtimestamp((opened + minutes * MINUTE) / 1000, dt.UTC)
    requests.post(f"{base}/_clock", json={"now": later.isoformat()}, timeout=5)
    same, final, following = ohlcv(base, venue, minutes, 3)
    assert same == closed
    assert final[0] == opened
    assert final[1] == running[1]
    assert final[2] >= running[2]
    assert final[3] <= running[3]
    assert final[5] > running[5]
    assert following[0] == opened + minutes * MINUTE
    assert following[5] == 0  # the clock stands at its first instant


def test_an_hour_of_the_venue_is_the_aggregate_of_its_minutes(base):
    for venue in ("binance", "okx", "bybit"):
        hour = ohlcv(base, venue, 60, 2)[0]
        rows = [row for row in ohlcv(base, venue, 1, 200) if hour[0] <= row[0] < hour[0] + HOUR]
        assert len(rows) == 60
        assert (rows[0][1], rows[-1][4]) == (hour[1], hour[4])
        assert (max(row[2] for row in rows), min(row[3] for row in rows)) == (hour[2], hour[3])
        assert sum(row[5] for row in rows) == pytest.approx(hour[5])


def test_times_of_all_venues_are_the_fixed_clock(base):
    assert get(base, "/api/v3/time").json() == {"serverTime": NOW_MS}
    assert get(base, "/fapi/v1/time").json() == {"serverTime": NOW_MS}
    assert get(base, "/api/v5/public/time").json() == {"code": "0", "data": [{"ts": str(NOW_MS)}], "msg": ""}
    answer = get(base, "/v5/market/time").json()
    assert answer["result"] == {"timeSecond": str(NOW_MS // 1000), "timeNano": f"{NOW_MS}000000"}
    assert answer["time"] == NOW_MS
    requests.post(base + "/_clock", json={"now": None}, timeout=5)
    assert abs(get(base, "/api/v3/time").json()["serverTime"] - time.time() * 1000) < 5000
    assert get(base, "/_clock").json()["fixed"] is False


@pytest.mark.parametrize("states", [("/api/v3/exchangeInfo", {"TRADING", "BREAK"}),
                                    ("/fapi/v1/exchangeInfo", {"TRADING", "SETTLING", "PENDING_TRADING"})])  # fmt: skip
def test_lists_hold_what_does_not_trade(base, states):
    path, expected = states
    assert {one["status"] for one in get(base, path).json()["symbols"]} == expected
    okx = get(base, "/api/v5/public/instruments", instType="SPOT").json()["data"]
    assert {one["state"] for one in okx} == {"live", "suspend", "preopen"}


# Limits


def test_binance_says_429_then_bans():
    with start(budget_scale=0.01) as url:  # 60 a minute
        answers = [get(url, "/api/v3/klines", symbol="BTCUSDT", interval="1m", limit=1) for _ in range(70)]
        statuses = [answer.status_code for answer in answers]
        first = statuses.index(429)
        assert set(statuses[:first]) == {200}
        assert statuses[first : first + 5] == [429] * 5
        assert set(statuses[first + 5 :]) == {418}
        limited, banned = answers[first], answers[-1]
        assert 1 <= int(limited.headers["Retry-After"]) <= 60
        assert limited.json()["code"] == -1003
        assert 60 < int(banned.headers["Retry-After"]) <= 120
        assert "IP banned until" in banned.json()["msg"]
        assert get(url, "/fapi/v1/time").status_code == 418  # one address, one ban
        requests.delete(url + "/_budgets", timeout=5)
        assert get(url, "/api/v3/time").status_code == 200


def test_okx_and_bybit_limits():
    with start(budget_scale=0.05) as url:
        answers = [get(url, "/api/v5/market/history-candles", instId="BTC-USDT") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 429, 429]
        assert answers[-1].json() == {"msg": "Too Many Requests", "code": "50011"}
        assert get(url, "/api/v5/market/candles", instId="BTC-USDT").status_code == 200  # each path its own
        answers = [get(url, "/v5/market/time") for _ in range(40)]
        assert {answer.status_code for answer in answers} == {200, 403}
        assert "access too frequent" in answers[-1].text
        assert answers[0].headers["X-Bapi-Limit"] == "30"
        assert answers[0].headers["X-Bapi-Limit-Status"] == "29"


def test_a_window_ends_and_the_budget_is_whole_again(monkeypatch):
    now = 1_000_000.0
    monkeypatch.setattr(time, "time", lambda: now)
    budgets = Budgets(scale=0.1)
    verdicts = [budgets.charge("okx_history", 1, "a").verdict for _ in range(3)]
    assert verdicts == ["ok", "ok", "limited"]
    assert budgets.charge("okx_history", 1, "b").verdict == "ok"
    now += 2
    assert budgets.charge("okx_history", 1, "a").verdict == "ok"


# Log, faults, revisions


def test_the_log_says_what_was_asked(base):
    klines(base, limit=3)
    get(base, "/api/v5/market/candles", instId="NOPE")
    get(base, "/api/v3/klines", symbol="ETHUSDT", interval="x")
    log = get(base, "/_log").json()
    assert [entry["n"] for entry in log] == sorted(entry["n"] for entry in log)
    first, second, third = log
    assert first["query"] == {"symbol": "BTCUSDT", "interval": "1m", "limit": "3"}
    assert {name: first[name] for name in ("method", "path", "status", "weight", "rows")} == {
        "method": "GET", "path": "/api/v3/klines", "status": 200, "weight": 2, "rows": 3}  # fmt: skip
    assert dt.datetime.fromisoformat(first["at"]).tzinfo is not None
    assert (second["status"], second["rows"], third["status"]) == (200, 0, 400)
    assert get(base, "/_log", path="/api/v3/klines").json() == [first, third]
    assert get(base, "/_log", symbol="ETHUSDT").json() == [third]
    assert get(base, "/_log", since=first["n"]).json() == [second, third]
    assert get(base, "/_log", status=400).json() == [third]
    assert get(base, "/_log", nonsense=1).status_code == 400
    requests.delete(base + "/_log", timeout=5)
    assert get(base, "/_log").json() == []


def fault(base: str, kind: str, **more: object) -> None:
    answer = requests.post(f"{base}/_faults", json={"path": "/api/v3/klines", "kind": kind, **more}, timeout=5)
    assert answer.status_code == 200, answer.text


def ask(base: str, **query: object) -> requests.Response:
    return get(base, "/api/v3/klines", symbol="BTCUSDT", interval="1m", limit=10, **query)


def test_faults_of_the_answer(base):
    fault(base, "status", status=503, retry_after=7, times=2, skip=1)
    answers = [ask(base) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 503, 503, 200]
    assert answers[1].headers["Retry-After"] == "7"
    assert [entry["status"] for entry in get(base, "/_log").json()] == [200, 503, 503, 200]
    for kind in ("garbage", "html", "blank"):
        fault(base, kind)
        answer = ask(base)
        assert answer.status_code == 200
        with pytest.raises(ValueError, match=r"."):
            answer.json()
    fault(base, "empty")
    assert ask(base).json() == []
    fault(base, "short", rows=4)
    assert len(ask(base).json()) == 4
    fault(base, "redirect", location="http://127.0.0.1:1/")
    answer = requests.get(f"{base}/api/v3/klines", allow_redirects=False, timeout=5)
    assert (answer.status_code, answer.headers["Location"]) == (302, "http://127.0.0.1:1/")
    fault(base, "bomb", bytes=1_000_000)
    answer = ask(base)
    assert (answer.headers["Content-Encoding"], len(answer.content)) == ("gzip", 1_000_000)
    assert len(ask(base).json()) == 10
    assert requests.get(base + "/_faults", timeout=5).json() == []


def test_faults_of_the_envelope_and_of_one_symbol(base):
    order = {"path": "/api/v5/market/candles", "kind": "empty", "symbol": "ETH-USDT"}
    requests.post(base + "/_faults", json=order, timeout=5)
    assert len(candles(base)) == 100
    assert candles(base, instId="ETH-USDT") == []
    assert len(candles(base, instId="ETH-USDT")) == 100
    requests.post(base + "/_faults", json={"path": "/v5/market/kline", "kind": "empty"}, timeout=5)
    assert bybit(base) == []


def test_faults_of_the_connection(base):
    fault(base, "reset")
    with pytest.raises(requests.ConnectionError):
        ask(base)
    fault(base, "truncate")
    connection = http.client.HTTPConnection(base.removeprefix("http://"), timeout=5)
    connection.request("GET", "/api/v3/klines?symbol=BTCUSDT&interval=1m")
    with pytest.raises(http.client.IncompleteRead):
        connection.getresponse().read()
    connection.close()
    fault(base, "hang", seconds=30)
    with pytest.raises(requests.ReadTimeout):
        requests.get(f"{base}/api/v3/klines", timeout=0.2)
    assert ask(base).status_code == 200  # nobody else waits
    fault(base, "drip", seconds=0.2)
    assert len(ask(base).json()) == 10
    assert [entry.get("fault") for entry in get(base, "/_log").json()] == ["reset", "truncate", "hang", None, "drip"]


REVISION = {"venue": "binance_spot", "symbol": "BTCUSDT", "interval": "1m", "open_time": OPEN - MINUTE}


@pytest.mark.parametrize(
    ("hook", "order", "names"),
    [
        ("_faults", {"path": "/x"}, "kind"),
        ("_faults", {"path": "/x", "kind": "hang", "minutes": 3}, "minutes"),
        ("_faults", {"path": "/x", "kind": "hang", "times": "many"}, "times"),
        ("_clock", {"now": "noon"}, "noon"),
        ("_revise", {"venue": "binance_spot"}, "symbol"),
        ("_revise", {**REVISION, "venue": "mars", "close": "1"}, "mars"),
        ("_revise", {**REVISION, "symbol": "NOPE", "close": "1"}, "NOPE"),
        ("_revise", {**REVISION, "interval": "7m", "close": "1"}, "7m"),
        ("_revise", {**REVISION, "open_time": 1, "close": "1"}, "opens then"),
        ("_revise", {**REVISION, "close": "1.2345"}, "decimals"),
        ("_revise", {**REVISION, "colour": "1"}, "colour"),
    ],
)
def test_a_wrong_hook_says_what_is_wrong(base, hook, order, names):
    answer = requests.post(f"{base}/{hook}", json=order, timeout=5)
    assert answer.status_code == 400
    assert names in answer.json()["error"]


def test_one_bar_is_changed_at_the_source():
    with start(now=NOW) as url:
        at = OPEN - 90 * MINUTE
        before = klines(url, startTime=at - MINUTE, endTime=at + MINUTE)
        hour = klines(url, interval="1h", endTime=at, limit=1)[0]
        order = {"venue": "binance_spot", "symbol": "BTC/USDT", "interval": "1m", "open_time": at, "high": "999999.99"}
        assert requests.post(url + "/_revise", json=order, timeout=5).status_code == 200
        after = klines(url, startTime=at - MINUTE, endTime=at + MINUTE)
        assert after[1][2] == "999999.99000000"
        before[1][2] = after[1][2]
        assert after == before
        changed = klines(url, interval="1h", endTime=at, limit=1)[0]
        assert changed == [*hour[:2], "999999.99000000", *hour[3:]]
        order |= {"interval": "1h", "open_time": hour[0], "volume": "1.5"}
        del order["high"]
        requests.post(url + "/_revise", json=order, timeout=5)
        assert klines(url, interval="1h", endTime=at, limit=1)[0][5] == "1.50000000"
        assert klines(url, startTime=at - MINUTE, endTime=at + MINUTE) == after


# The process


def test_a_port_in_use_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Occupied, match=str(port)):
            serve(port)
        with pytest.raises(Occupied, match=str(port)), start(port=port):
            pass


def test_bad_arguments_are_named(tmp_path):
    with pytest.raises(BadInput, match="no such folder"):
        serve(0, tmp_path / "absent")
    with pytest.raises(BadInput, match="parquet"), start(recordings=tmp_path):
        pass
    with pytest.raises(BadInput, match="70000"):
        serve(70_000)


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(sent):
    command = [sys.executable, "-m", "alphaforge_assets.sandbox", "--port", "0", "--now", "2025-06-01T00:00:00Z"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    url = process.stdout.readline().split()[-1]
    held = requests.Session()
    assert held.get(url + "/api/v3/ping", timeout=5).json() == {}
    process.send_signal(sent)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (0, "", "")
    held.close()


def test_the_same_seed_says_the_same_in_another_process(base):
    page = get(base, "/api/v3/klines", symbol="SOLBTC", interval="1h", startTime=NOW_MS - 100 * HOUR).content
    with start(now=NOW) as same, start(now=NOW, seed=2) as other:
        query = {"symbol": "SOLBTC", "interval": "1h", "startTime": NOW_MS - 100 * HOUR}
        assert get(same, "/api/v3/klines", **query).content == page
        assert get(other, "/api/v3/klines", **query).content != page
        assert json.loads(page)
