"""Real ccxt cannot tell the sandbox from the venue: it parses the same, and the wire has the same shape as recorded."""

import datetime as dt
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ccxt
import pytest
import requests

from alphaforge_assets.sandbox.budgets import RULES
from alphaforge_assets.sandbox.process import start
from alphaforge_assets.universe import load_universe

NOW = dt.datetime(2025, 6, 3, 12, 0, 30, tzinfo=dt.UTC)
NOW_MS = int(NOW.timestamp() * 1000)
MINUTE, HOUR = 60_000, 3_600_000
VENUES = ("binance", "okx", "bybit")
PERPETUALS = ("BTC", "ETH", "SOL", "XRP", "BNB")
INTERVALS = ("1m", "5m", "15m", "1h", "4h", "1d")


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    with start(now=NOW, budget_scale=100) as url:
        yield url


def pointed(name: str, base: str) -> Any:
    """A ccxt exchange whose every public URL is the sandbox's."""
    exchange = getattr(ccxt, name)({"enableRateLimit": False})
    api = exchange.urls["api"]
    if name == "binance":
        paths = {"public": "/api/v3", "fapiPublic": "/fapi/v1", "fapiData": "/futures/data"}
        exchange.options["fetchMarkets"]["types"] = ["spot", "linear"]
        for section, path in paths.items():
            api[section] = base + path
    else:
        api["rest" if name == "okx" else "public"] = base
    exchange.milliseconds = lambda: NOW_MS  # OKX's choice of endpoint depends on the clock
    return exchange


@pytest.fixture(scope="module")
def exchanges(base: str) -> dict[str, Any]:
    found = {name: pointed(name, base) for name in VENUES}
    for exchange in found.values():
        exchange.load_markets()
    return found


def test_load_markets_finds_the_universe_and_what_does_not_trade(exchanges):
    for instrument in load_universe().instruments:
        market = exchanges[instrument.venue.split("_")[0]].market(instrument.ccxt_symbol)
        assert market["active"] is True
        assert market["swap"] is instrument.is_perpetual
        assert (market["base"], market["quote"]) == (instrument.base, instrument.quote)
    inactive = {name: {s for s, m in e.markets.items() if m["active"] is False} for name, e in exchanges.items()}
    assert inactive == {
        "binance": {"XMR/USDT", "OMG/USDT:USDT", "BTCST/USDT:USDT"},
        "okx": {"XMR/USDT", "MON/USDT", "ETH-USD_UM-SWAP"},
        "bybit": {"BIO/USDT:USDT"},
    }
    assert exchanges["okx"].market("XRP/USDT:USDT")["contractSize"] == 100
    assert exchanges["binance"].market("BTC/USDT:USDT")["precision"]["price"] == 0.1


@pytest.mark.parametrize(("name", "types"), [("binance", ["linear"]), ("okx", ["swap"]), ("bybit", ["spot"])])
def test_fetch_markets_of_some_types(base, name, types):
    exchange = pointed(name, base)
    exchange.options["fetchMarkets"] = {"types": types}
    assert {market["type"] for market in exchange.fetch_markets()} <= {"swap", "spot"}


@pytest.mark.parametrize("name", VENUES)
def test_time_and_status(exchanges, name):
    assert exchanges[name].fetch_time() == NOW_MS
    if name != "binance":  # its status is on an endpoint that needs a key
        assert exchanges[name].fetch_status()["status"] == "ok"


@pytest.mark.parametrize("interval", INTERVALS)
@pytest.mark.parametrize("symbol", ["BTC/USDT", "SOL/BTC", "BTC/USDT:USDT"])
@pytest.mark.parametrize("name", VENUES)
def test_fetch_ohlcv_pages(exchanges, name, symbol, interval):
    exchange = exchanges[name]
    step = exchange.parse_timeframe(interval) * 1000
    opened = NOW_MS - NOW_MS % step
    since = opened - 2000 * step if interval != "1d" else opened - 300 * step
    rows = exchange.fetch_ohlcv(symbol, interval, since=since, limit=100)
    assert [row[0] for row in rows] == [since + i * step for i in range(100)]
    for _, open_, high, low, close, volume in rows:
        assert 0 < low <= min(open_, close) <= max(open_, close) <= high
        assert volume >= 0
    newest = exchange.fetch_ohlcv(symbol, interval, limit=3)
    assert [row[0] for row in newest] == [opened - 2 * step, opened - step, opened]


def test_the_implicit_methods_we_use(exchanges):
    binance, okx, bybit = (exchanges[name] for name in VENUES)
    since = NOW_MS - NOW_MS % HOUR - 50 * HOUR
    query = {"symbol": "BTCUSDT", "interval": "1h", "startTime": since, "limit": 5}
    assert [row[0] for row in binance.publicGetKlines(query)] == [since + i * HOUR for i in range(5)]
    assert [int(row[0]) for row in binance.fapiPublicGetKlines(query)] == [since + i * HOUR for i in range(5)]
    query = {"instId": "BTC-USDT", "bar": "1H", "before": since - 1, "after": since + 5 * HOUR, "limit": 300}
    for method in (okx.publicGetMarketCandles, okx.publicGetMarketHistoryCandles):
        assert [int(row[0]) for row in method(query)["data"]] == [since + i * HOUR for i in range(4, -1, -1)]
    query = {"category": "spot", "symbol": "BTCUSDT", "interval": "60", "start": since, "end": since + 4 * HOUR}
    rows = bybit.publicGetV5MarketKline(query)["result"]["list"]
    assert [int(row[0]) for row in rows] == [since + i * HOUR for i in range(4, -1, -1)]


def test_ccxt_knows_the_errors(base, exchanges):
    binance, okx, bybit = (exchanges[name] for name in VENUES)
    with pytest.raises(ccxt.BadSymbol, match="-1121"):
        binance.publicGetKlines({"symbol": "NOPE", "interval": "1m"})
    with pytest.raises(ccxt.BadRequest, match="-1120"):
        binance.fapiPublicGetKlines({"symbol": "BTCUSDT", "interval": "7m"})
    with pytest.raises(ccxt.BadSymbol, match="51001"):
        okx.publicGetMarketCandles({"instId": "NOPE"})
    with pytest.raises(ccxt.BadSymbol, match="Not supported symbols"):
        bybit.publicGetV5MarketKline({"category": "spot", "symbol": "NOPE", "interval": "1"})
    requests.post(base + "/_faults", json={"path": "/api/v3/time", "kind": "status", "status": 429}, timeout=5)
    with pytest.raises((ccxt.RateLimitExceeded, ccxt.DDoSProtection)):
        binance.fetch_time()


def test_ccxt_knows_the_limits():
    with start(now=NOW, budget_scale=0.05) as url:
        binance, okx, bybit = (pointed(name, url) for name in VENUES)
        for exchange in (binance, okx, bybit):
            error = None
            for _ in range(310):
                try:
                    exchange.fetch_time()
                except ccxt.BaseError as raised:
                    error = raised
                    break
            assert isinstance(error, ccxt.DDoSProtection | ccxt.RateLimitExceeded), (exchange.id, error)


# Against recorded wire bodies


def form(value: Any, of: str = "") -> Any:
    """The shape of a JSON value: keys, types and the format of strings. A list is the union of its items' shapes."""
    if isinstance(value, dict):
        return {key: form(item, key) for key, item in value.items()}
    if isinstance(value, list):
        shapes = [form(item) for item in value]
        if shapes and all(isinstance(item, str | int) and not isinstance(item, bool) for item in value):
            return shapes if len(value) > 2 else ["…"]
        return [shape for i, shape in enumerate(shapes) if shape not in shapes[:i]]
    if isinstance(value, str):
        if re.fullmatch(r"\d{13}", value):
            return "milliseconds"
        return "number" if re.fullmatch(r"-?\d+(\.\d+)?", value) else "text" if value else "blank"
    return type(value).__name__


def decimals(value: str) -> int:
    return len(value.partition(".")[2])


@pytest.fixture(scope="module")
def wire(recorded: Path) -> Path:
    return recorded / "wire"


def cases(wire: Path, name: str, method: str) -> list[dict[str, Any]]:
    return json.loads((wire / "ccxt-static" / "response" / f"{name}.json").read_text())["methods"][method]


@pytest.mark.recorded
@pytest.mark.parametrize("name", VENUES)
def test_candles_have_the_recorded_shape_and_parse_as_recorded(wire, base, exchanges, name):
    """The fixture's own body, and ours in its place, go through the same parser to rows of the same kind."""
    exchange = exchanges[name]
    for case in cases(wire, name, "fetchOHLCV"):
        if "index" in case["description"]:
            continue
        symbol, interval, since, limit = (case["input"] + [None] * 4)[:4]
        bodies: list[Any] = []
        exchange.fetch, real = lambda *a, body=case["httpResponse"], **k: body, exchange.fetch
        try:
            assert exchange.fetch_ohlcv(symbol, interval, since, limit) == case["parsedResponse"]
        finally:
            exchange.fetch = real
        exchange.fetch = lambda *a, real=real, bodies=bodies, **k: bodies.append(real(*a, **k)) or bodies[-1]
        try:
            parsed = exchange.fetch_ohlcv(symbol, interval, since, limit)
        finally:
            exchange.fetch = real
        assert [len(row) for row in parsed] == [6] * len(parsed)
        assert len(parsed) == limit or limit is None
        assert form(parsed[0]) in (form(row) for row in [[1, *[1.5] * 5]])
        ours, theirs = bodies[-1], case["httpResponse"]
        if isinstance(theirs, dict):  # ccxt's fixtures write Bybit's whole numbers as text
            assert list(ours) == list(theirs) or set(ours) == set(theirs)
            ours, theirs = (b.get("data") or b["result"]["list"] for b in (ours, theirs))
        assert form(ours[0]) == form(theirs[0])
        for at, field in enumerate(theirs[0]):
            if name == "binance" and isinstance(field, str) and field != "0":
                assert {decimals(row[at]) for row in ours} == {decimals(field)}, (symbol, at)


@pytest.mark.recorded
def test_okx_and_bybit_time_and_status_bodies(wire, base):
    get = lambda path: requests.get(base + path, timeout=5).json()  # noqa: E731
    assert form(get("/api/v5/public/time")) == form(cases(wire, "okx", "fetchTime")[0]["httpResponse"])
    assert get("/api/v5/system/status") == cases(wire, "okx", "fetchStatus")[0]["httpResponse"]
    assert get("/v5/system/status")["result"] == cases(wire, "bybit", "fetchStatus")[0]["httpResponse"]["result"]


WHOLE_NUMBERS = ("instIdCode", "symbolId", "fundingInterval")  # which ccxt's market fixtures hold as text
SAME_INSTRUMENT = {
    "okx": ("instId", "instType", "baseCcy", "quoteCcy", "settleCcy", "ctVal", "ctValCcy", "ctType", "ctMult", "uly",
            "instFamily", "tickSz", "lotSz", "state"),
    "bybit": ("symbol", "status", "baseCoin", "quoteCoin", "settleCoin", "contractType", "priceFilter", "priceScale"),
}  # fmt: skip


def alike(ours: Any, theirs: Any, where: str = "") -> Iterator[str]:
    """Differences of shape, one line each. Blank matches any text, as instruments leave out what they do not have."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in set(ours) ^ set(theirs):
            yield f"{where}.{key}: only {'ours' if key in ours else 'theirs'}"
        for key in set(ours) & set(theirs):
            yield from alike(ours[key], theirs[key], f"{where}.{key}")
    elif isinstance(ours, list) and isinstance(theirs, list):
        if ours and theirs and not isinstance(ours[0], dict):
            yield from alike(ours[0], theirs[0], f"{where}[0]")
    else:
        left, right = form(ours), form(theirs)
        stringified = left == "int" and where.split(".")[-1] in WHOLE_NUMBERS
        if left != right and not stringified and "blank" not in (left, right):
            yield f"{where}: {left} here, {right} recorded ({ours!r}, {theirs!r})"


def filters(symbol: dict[str, Any]) -> dict[str, Any]:
    return {one["filterType"]: one for one in symbol["filters"]}


@pytest.mark.recorded
@pytest.mark.parametrize(
    ("path", "recording", "symbol"),
    [
        ("/api/v3/exchangeInfo", "api-v3-exchangeInfo-curated-BTCETHXVG", "BTCUSDT"),
        ("/api/v3/exchangeInfo", "api-v3-exchangeInfo-curated-BTCETHXVG", "ETHUSDT"),
        *(("/fapi/v1/exchangeInfo", "fapi-v1-exchangeInfo", f"{coin}USDT") for coin in PERPETUALS),
    ],
)  # fmt: skip
def test_binance_instruments_are_as_recorded(wire, base, path, recording, symbol):
    ours = requests.get(base + path, timeout=5).json()
    theirs = json.loads((wire / "binance-2026-07" / f"{recording}.json").read_text())
    assert list(ours) == list(theirs)
    assert ours["rateLimits"] == theirs["rateLimits"]
    assert RULES["binance_perp" if "fapi" in path else "binance_spot"].limit == theirs["rateLimits"][0]["limit"]
    left, right = (next(one for one in side["symbols"] if one["symbol"] == symbol) for side in (ours, theirs))
    assert list(left) == list(right)
    mine, recorded = filters(left), filters(right)
    assert list(alike(mine, recorded)) == []
    assert list(alike(left, right)) == []
    for kind, field in (("PRICE_FILTER", "tickSize"), ("LOT_SIZE", "stepSize"), ("LOT_SIZE", "minQty")):
        assert mine[kind][field] == recorded[kind][field]
    for field in (
        "status",
        "baseAsset",
        "quoteAsset",
        "contractType",
        "pricePrecision",
        "quantityPrecision",
        "orderTypes",
    ):
        assert left.get(field) == right.get(field)


@pytest.mark.recorded
@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        *(("okx", symbol) for symbol in ("BTC/USDT", "ETH/USDT", "XRP/USDT:USDT", "BTC/USDT:USDT", "ETH/USDT:USDT")),
        *(("bybit", symbol) for symbol in ("BTC/USDT", "ETH/USDT", "XRP/USDT", "BTC/USDT:USDT", "ETH/USDT:USDT")),
    ],
)
def test_okx_and_bybit_instruments_are_as_recorded(wire, exchanges, name, symbol):
    recorded = json.loads((wire / "ccxt-static" / "markets" / f"{name}.json").read_text())[symbol]
    market = exchanges[name].market(symbol)
    assert list(alike(market["info"], recorded["info"])) == []
    for field in SAME_INSTRUMENT[name]:
        if field != "priceFilter" or market["spot"]:  # its bounds follow the price
            assert market["info"].get(field) == recorded["info"].get(field), field
    for field in ("id", "type", "linear", "contractSize", "active", "precision"):
        ours, theirs = market[field], recorded[field]
        if isinstance(theirs, dict):
            theirs = {key: value for key, value in theirs.items() if key in ours and value is not None}
            ours = {key: ours[key] for key in theirs}
        assert ours == theirs, field
