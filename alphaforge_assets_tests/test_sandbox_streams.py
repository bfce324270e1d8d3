"""The sandbox's WebSockets over real sockets: each venue's streams against its REST, faults, and a clock that runs."""

import json
import time
import zlib
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import requests
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from alphaforge_assets.sandbox.process import start

BEGIN = "2025-01-02T10:00:50Z"
BEGIN_MS = 1_735_812_050_000
MINUTE = 60_000


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    with start(budget_scale=100) as url:
        yield url


@pytest.fixture(autouse=True)
def running(base: str) -> Iterator[None]:
    requests.post(f"{base}/_clock", json={"now": BEGIN, "rate": 60}, timeout=5).raise_for_status()
    yield
    requests.delete(f"{base}/_faults", timeout=5)
    requests.delete(f"{base}/_connections", timeout=5)


def opened(base: str, path: str) -> ClientConnection:
    return connect(base.replace("http", "ws") + path, compression=None, close_timeout=1)


def heard(ws: ClientConnection, until: Callable[[dict[str, Any]], Any], seconds: float = 20) -> list[dict[str, Any]]:
    """Messages until one that is wanted, which is the last."""
    found = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        text = ws.recv(timeout=seconds)
        found.append(json.loads(text) if text != "pong" else {"pong": True})
        if until(found[-1]):
            return found
    raise AssertionError(f"not among {len(found)} messages, the last {found[-1:]}")


def order(base: str, **fault: Any) -> None:
    requests.post(f"{base}/_faults", json={"scope": "stream", **fault}, timeout=5).raise_for_status()


def subscribed(ws: ClientConnection, *keys: str) -> None:
    ws.send(json.dumps({"method": "SUBSCRIBE", "params": keys, "id": 7}))
    assert heard(ws, lambda m: "id" in m)[-1] == {"result": None, "id": 7}


def closes(ws: ClientConnection, count: int) -> list[dict[str, Any]]:
    """The messages until so many closed klines."""
    seen: list[int] = []

    def is_last(message: dict[str, Any]) -> bool:
        k = message.get("data", message).get("k", {})
        seen.extend([1] if k.get("x") else [])
        return len(seen) == count

    return heard(ws, is_last)


def bars_of(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [m["data"]["k"] for m in messages if m.get("data", {}).get("k", {}).get("x")]


BINANCE = [
    ("/stream", "/api/v3", "btcusdt"),
    ("/market/stream", "/fapi/v1", "btcusdt"),
    ("/binanceus/stream", "/binanceus/api/v3", "ethusdt"),
]


@pytest.mark.parametrize(("path", "rest", "symbol"), BINANCE)
def test_binance_bars_are_those_of_rest_and_trades_sum_to_them(base: str, path: str, rest: str, symbol: str) -> None:
    with opened(base, path) as ws:
        subscribed(ws, f"{symbol}@kline_1m", f"{symbol}@aggTrade")
        told = closes(ws, 3)
    bars = bars_of(told)
    events = [m["data"] for m in told if "data" in m]
    assert any(not m["k"]["x"] for m in events if "k" in m)
    assert all(0 <= m["E"] - m["k"]["T"] <= 300 for m in events if "k" in m and m["k"]["x"])
    assert [b["t"] for b in bars] == list(range(bars[0]["t"], bars[0]["t"] + 3 * MINUTE, MINUTE))
    query = {"symbol": symbol.upper(), "interval": "1m", "startTime": bars[0]["t"], "limit": 3}
    rows = requests.get(f"{base}{rest}/klines", params=query, timeout=5).json()
    names = ("t", "o", "h", "l", "c", "v", "T", "q", "n", "V", "Q", "B")
    assert [[bar[name] for name in names] for bar in bars] == rows
    assert bars[1]["f"] == bars[0]["L"] + 1
    last = bars[-1]
    trades = [m for m in events if m["e"] == "aggTrade" and last["t"] <= m["T"] <= last["T"]]
    assert sum(float(t["q"]) for t in trades) == pytest.approx(float(last["v"]), abs=1e-9)
    if trades:
        assert (trades[0]["f"], trades[-1]["l"], trades[-1]["p"]) == (last["f"], last["L"], last["c"])
        assert all(b["a"] == a["a"] + 1 and b["f"] == a["l"] + 1 for a, b in pairwise(trades))


def test_binance_says_what_it_cannot_take_and_forgets_what_is_unsubscribed(base: str) -> None:
    with opened(base, "/ws") as ws:
        ws.send("nonsense")
        assert heard(ws, bool)[-1]["error"]["code"] == 3
        ws.send('{"method":"SUBSCRIBES","id":1}')
        assert heard(ws, bool)[-1] == {
            "error": {"code": 2, "msg": "Invalid request: unknown variant `SUBSCRIBES`"},
            "id": 1,
        }
        subscribed(ws, "btcusdt@kline_1m", "nope@kline_1m")
        ws.send('{"method":"LIST_SUBSCRIPTIONS","id":3}')
        assert heard(ws, lambda m: m.get("id") == 3)[-1]["result"] == ["btcusdt@kline_1m"]
        ws.send('{"method":"UNSUBSCRIBE","params":["btcusdt@kline_1m"],"id":4}')
        heard(ws, lambda m: m.get("id") == 4)
        with pytest.raises(TimeoutError):
            ws.recv(timeout=0.5)


@pytest.mark.parametrize(("path", "rest"), [("/stream", "/api/v3"), ("/public/stream", "/fapi/v1")])
def test_binance_books_go_on_from_their_snapshot(base: str, path: str, rest: str) -> None:
    with opened(base, path) as ws:
        subscribed(ws, "btcusdt@depth@100ms", "btcusdt@bookTicker")
        snapshot = requests.get(f"{base}{rest}/depth", params={"symbol": "BTCUSDT", "limit": 1000}, timeout=5).json()
        told = [m["data"] for m in heard(ws, lambda m: m.get("data", {}).get("u", 0) > snapshot["lastUpdateId"] + 300)]
    book = {side: dict(snapshot[name]) for side, name in (("b", "bids"), ("a", "asks"))}
    last, best = snapshot["lastUpdateId"], 0
    for m in told:
        if m["u"] <= snapshot["lastUpdateId"]:
            continue
        if m.get("e") == "depthUpdate":
            assert m["U"] == last + 1
            assert m.get("pu", last) == last
            last = m["u"]
            for side in "ba":
                book[side].update(m[side])
                book[side] = {price: amount for price, amount in book[side].items() if float(amount)}
        elif m["u"] == last:
            best += 1
            assert m["b"] == max(book["b"], key=float)
            assert (m["a"], m["A"]) == min(book["a"].items(), key=lambda it: float(it[0]))
    assert best > 10


def test_time_runs_at_its_rate_until_it_meets_the_machines(base: str) -> None:
    def now() -> Any:
        return requests.get(f"{base}/_clock", timeout=5).json()

    def ms() -> int:
        return int(requests.get(f"{base}/api/v3/time", timeout=5).json()["serverTime"])

    began, first = time.monotonic(), ms()
    time.sleep(1)
    assert (ms() - first) / 1000 == pytest.approx(60 * (time.monotonic() - began), rel=0.2)
    assert (now()["rate"], now()["fixed"]) == (60, False)
    near = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 30))
    requests.post(f"{base}/_clock", json={"now": near, "rate": 60}, timeout=5)
    time.sleep(1.2)
    assert now()["rate"] == 1
    assert abs(ms() - time.time() * 1000) < 1000
    far = requests.post(f"{base}/_clock", json={"now": "2099-01-01T00:00:00Z", "rate": 2}, timeout=5)
    assert far.status_code == 400


def test_a_load_is_told_whole_and_in_order(base: str) -> None:
    with opened(base, "/stream") as ws:
        subscribed(ws, "btcusdt@aggTrade", "ethusdt@aggTrade")
        requests.post(f"{base}/_load", json={"messages_per_s": 2000, "seconds": 1}, timeout=5).raise_for_status()
        told: dict[str, list[int]] = {"btcusdt@aggTrade": [], "ethusdt@aggTrade": []}
        while sum(map(len, told.values())) < 2000:
            message = json.loads(ws.recv(timeout=5))
            if message.get("data", {}).get("a", 0) >= 9_000_000_000_000:
                told[message["stream"]].append(message["data"]["a"])
    assert all(ids == list(range(9_000_000_000_000, 9_000_000_000_000 + 1000)) for ids in told.values())


# Faults


def test_what_strikes_connections(base: str) -> None:
    with opened(base, "/stream") as ws:
        subscribed(ws, "btcusdt@kline_1m")
        order(base, kind="huge", bytes=1_000_000)
        assert len(heard(ws, lambda m: "padding" in m)[-1]["padding"]) == 1_000_000
        order(base, kind="stall", seconds=1)
        time.sleep(0.2)
        while True:
            try:
                ws.recv(timeout=0.2)
            except TimeoutError:
                break
        assert ws.ping().wait(2)  # silent, yet it answers
        heard(ws, lambda m: "data" in m)
        order(base, kind="cut")
        with pytest.raises(ConnectionClosed):
            heard(ws, lambda m: False)
    with opened(base, "/stream") as ws:
        subscribed(ws, "btcusdt@kline_1m")
        order(base, kind="shutdown", seconds=0.2)
        assert heard(ws, lambda m: m.get("stream") == "serverShutdown")
        with pytest.raises(ConnectionClosed):
            heard(ws, lambda m: False)
    order(base, kind="refuse", status=429)
    with pytest.raises(InvalidStatus) as refused:
        opened(base, "/stream")
    assert refused.value.response.status_code == 429
    order(base, kind="deaf")
    with opened(base, "/stream") as ws:
        ws.send('{"method":"SUBSCRIBE","params":["btcusdt@kline_1m"],"id":1}')
        with pytest.raises(TimeoutError):
            ws.recv(timeout=0.5)


def test_what_strikes_messages(base: str) -> None:
    with opened(base, "/stream") as ws:
        subscribed(ws, "btcusdt@aggTrade")
        heard(ws, lambda m: "data" in m)
        for fault in ({"kind": "gap", "rows": 3}, {"kind": "twice", "skip": 10}, {"kind": "swap", "skip": 30}):
            order(base, **fault)
        ids = [m["data"]["a"] for m in heard(ws, lambda m: m["data"]["a"] % 400 == 0)]
        ids += [m["data"]["a"] for m in heard(ws, lambda m: m["data"]["a"] % 400 == 0)]
    steps = [b - a for a, b in pairwise(ids)]
    assert sorted(step for step in steps if step != 1) == [-1, 0, 2, 2, 4]


def test_what_strikes_closes(base: str) -> None:
    with opened(base, "/stream") as ws:
        subscribed(ws, "btcusdt@kline_1m", "ethusdt@kline_1m", "solusdt@kline_1m")
        order(base, kind="no_close", symbol="BTCUSDT")
        order(base, kind="wrong_close", symbol="ETHUSDT")
        order(base, kind="late", symbol="SOLUSDT", seconds=5)
        told = closes(ws, 4)
    first = min(bar["t"] for bar in bars_of(told))
    bars = {bar["s"]: bar for bar in bars_of(told) if bar["t"] == first}
    assert set(bars) == {"ETHUSDT", "SOLUSDT"}
    for symbol, is_right in (("ETHUSDT", False), ("SOLUSDT", True)):
        query = {"symbol": symbol, "interval": "1m", "startTime": first, "limit": 1}
        row = requests.get(f"{base}/api/v3/klines", params=query, timeout=5).json()[0]
        assert (row[5] == bars[symbol]["v"]) is is_right
    opens = [m["data"]["k"] for m in told if "data" in m]
    late = next(n for n, k in enumerate(opens) if k["s"] == "SOLUSDT" and k["x"])
    assert any(k["t"] > first for k in opens[:late])  # the next minute had begun


def test_connections_are_listed_and_ended(base: str) -> None:
    with opened(base, "/market/stream") as ws:
        subscribed(ws, "ethusdt@kline_1m")
        one = requests.get(f"{base}/_connections", timeout=5).json()[-1]
        assert (one["venue"], one["subscriptions"]) == ("binance_perp", ["ethusdt@kline_1m"])
        requests.delete(f"{base}/_connections", timeout=5)
        with pytest.raises(ConnectionClosed) as closed:
            heard(ws, lambda m: False)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1000


# OKX, Bybit, Kraken, Coinbase


def test_okx_tells_data_before_it_acknowledges_and_closes_as_rest(base: str) -> None:
    with opened(base, "/ws/v5/business") as ws:
        args = [{"channel": "candle1m", "instId": name} for name in ("BTC-USDT", "NOPE-USDT")]
        ws.send(json.dumps({"op": "subscribe", "args": args}))
        first = heard(ws, lambda m: m.get("event") == "error")
        assert [m.get("event") for m in first] == [None, "subscribe", "error"]
        assert first[-1]["code"] == "60018"
        ws.send("ping")
        heard(ws, lambda m: "pong" in m)
        closed = heard(ws, lambda m: "data" in m and m["data"][0][8] == "1")[-1]["data"][0]
    query = {"instId": "BTC-USDT", "bar": "1m", "after": int(closed[0]) + 1, "limit": 1}
    assert requests.get(f"{base}/api/v5/market/candles", params=query, timeout=5).json()["data"] == [closed]


def test_okx_trades_and_books_are_continuous(base: str) -> None:
    with opened(base, "/ws/v5/public") as ws:
        args = [{"channel": name, "instId": "BTC-USDT"} for name in ("trades", "books")]
        ws.send(json.dumps({"op": "subscribe", "args": args}))
        time.sleep(2)
        told = heard(ws, lambda m: m.get("action") == "update" and m["data"][0]["seqId"] % 3000 == 0)
    trades = [m["data"][0] for m in told if m.get("arg", {}).get("channel") == "trades" and "data" in m]
    assert len(trades) > 10
    assert all(int(b["tradeId"]) - int(b["count"]) == int(a["tradeId"]) for a, b in pairwise(trades))
    books = [m["data"][0] for m in told if "action" in m]
    assert books[0]["prevSeqId"] == -1
    assert all(b["prevSeqId"] == a["seqId"] for a, b in pairwise(books))


@pytest.mark.parametrize(("category", "words"), [("spot", "subscribe"), ("linear", "")])
def test_bybit_confirms_the_bar_of_rest(base: str, category: str, words: str) -> None:
    with opened(base, f"/v5/public/{category}") as ws:
        topics = [f"{name}.BTCUSDT" for name in ("kline.1", "publicTrade", "orderbook.50")]
        ws.send(json.dumps({"op": "subscribe", "req_id": "a", "args": topics}))
        ack = heard(ws, lambda m: m.get("op") == "subscribe")[-1]
        assert (ack["success"], ack["ret_msg"], ack["req_id"]) == (True, words, "a")
        ws.send('{"op":"ping"}')
        heard(ws, lambda m: m.get("ret_msg") == "pong")
        told = heard(ws, lambda m: str(m.get("topic")).startswith("kline") and m["data"][0]["confirm"])
        told += heard(ws, lambda m: str(m.get("topic")).startswith("kline") and m["data"][0]["confirm"])
    bar = told[-1]["data"][0]
    query = {"category": category, "symbol": "BTCUSDT", "interval": "1", "start": bar["start"], "limit": 1}
    row = requests.get(f"{base}/v5/market/kline", params=query, timeout=5).json()["result"]["list"][0]
    assert row == [str(bar["start"]), *(bar[n] for n in ("open", "high", "low", "close", "volume", "turnover"))]
    trades = [t for m in told if str(m.get("topic")).startswith("publicTrade") for t in m["data"]]
    amounts = [float(t["v"]) for t in trades if bar["start"] <= t["T"] <= bar["end"]]
    assert sum(amounts) == pytest.approx(float(bar["volume"]), abs=1e-9)
    books = [m["data"]["u"] for m in told if str(m.get("topic")).startswith("orderbook")]
    assert all(b == a + 1 for a, b in pairwise(books))


def test_kraken_repeats_bars_refuses_what_it_does_not_know_and_proves_its_books(base: str) -> None:
    with opened(base, "/v2") as ws:
        assert heard(ws, bool)[-1]["channel"] == "status"
        for channel in ("ohlc", "book", "trade"):
            params = {"channel": channel, "symbol": ["BTC/USD", "XBT/USD"]}
            ws.send(json.dumps({"method": "subscribe", "params": params, "req_id": 1}))
        told = []
        while len({m["data"][0]["interval_begin"] for m in told if m.get("channel") == "ohlc"}) < 4:
            told += heard(ws, lambda m: m.get("channel") == "ohlc")
    assert sum(m.get("success") is False for m in told) == 3
    snapshot = next(m for m in told if m.get("channel") == "ohlc")
    assert (snapshot["type"], len(snapshot["data"])) == ("snapshot", 10)
    updates = [m["data"][0] for m in told if m.get("channel") == "ohlc" and m["type"] == "update"]
    last = {bar["interval_begin"]: bar for bar in updates}
    begins = sorted(last)[1]
    rows = requests.get(f"{base}/0/public/OHLC", params={"pair": "XBTUSD", "interval": 1}, timeout=5).json()
    second = int(np.datetime64(begins[:19], "s").astype(int))
    row = next(row for row in rows["result"]["XXBTZUSD"] if row[0] == second)
    bar = last[begins]
    assert [float(x) for x in row[1:7]] == [bar[n] for n in ("open", "high", "low", "close", "vwap", "volume")]
    assert row[7] == bar["trades"]
    sides: dict[str, dict[float, float]] = {"bids": {}, "asks": {}}
    books = [m for m in told if m.get("channel") == "book"]
    for message in books:
        for name, side in sides.items():
            side.update({level["price"]: level["qty"] for level in message["data"][0][name]})
            sides[name] = {price: amount for price, amount in side.items() if amount}
        asks, bids = sorted(sides["asks"].items())[:10], sorted(sides["bids"].items(), reverse=True)[:10]
        text = "".join(f"{p:.1f}".replace(".", "").lstrip("0") + f"{q:.8f}".replace(".", "").lstrip("0")
                       for p, q in [*asks, *bids])  # fmt: skip
        assert zlib.crc32(text.encode()) == message["data"][0]["checksum"]
    assert len(books) > 20


def test_kraken_beats_when_idle(base: str) -> None:
    with opened(base, "/v2") as ws:
        ws.send('{"method":"subscribe","params":{"channel":"trade","symbol":["ETH/BTC"]}}')
        assert heard(ws, lambda m: m == {"channel": "heartbeat"})


def test_coinbase_numbers_everything_on_a_connection(base: str) -> None:
    with opened(base, "/advanced-trade") as ws:
        for channel in ("market_trades", "candles", "heartbeats", "level2"):
            ws.send(json.dumps({"type": "subscribe", "channel": channel, "product_ids": ["BTC-USD"]}))
        time.sleep(1.5)
        told = heard(ws, lambda m: m["sequence_num"] == 150)
        told += heard(ws, lambda m: m["channel"] == "candles")
    assert [m["sequence_num"] for m in told] == list(range(len(told)))
    assert [m["channel"] for m in told[:2]] == ["market_trades", "subscriptions"]
    assert {m["channel"] for m in told} >= {"candles", "heartbeats", "l2_data"}
    trades = [t for m in told if m["channel"] == "market_trades" for e in m["events"] if e["type"] == "update"
              for t in reversed(e["trades"])]  # fmt: skip
    assert all(int(b["trade_id"]) == int(a["trade_id"]) + 1 for a, b in pairwise(trades))
