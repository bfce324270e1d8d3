"""Binance's feeds: what they ask for, and what they read, recorded, from the sandbox's sockets, and made up."""

import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from alphaforge_assets.sandbox.process import start
from alphaforge_assets.venues import binance
from alphaforge_assets.venues.binance_feed import FEEDS, PERP_MARKET, PERP_PUBLIC, SPOT, US
from alphaforge_assets.venues.columns import parse_rows
from alphaforge_assets.venues.feed import Channel, Event, Feed, Notice
from alphaforge_assets.venues.liquidations_file import id_of
from alphaforge_assets.venues.trade_rows import parse_trades
from alphaforge_assets_tests.streamed import MINUTE, assert_loadable, bent, events, heard, notices, steps

REST = {"binance_spot": "/api/v3", "binance_perp": "/fapi/v1", "binanceus_spot": "/binanceus/api/v3"}


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    with start(budget_scale=100) as url:
        yield url


def channels_of(feed: Feed, *symbols: str) -> list[Channel]:
    return [Channel(kind, symbol) for symbol in symbols for kind in feed.kinds]


# From the sandbox's sockets


@pytest.mark.parametrize("feed", [SPOT, US, PERP_MARKET], ids=lambda feed: feed.venue)
def test_closed_bars_and_trades_are_those_of_rest_and_nothing_is_missing(base: str, feed: Feed) -> None:
    symbol = "BTCUSDT"
    told = heard(base, feed, channels_of(feed, symbol), lambda n: n["closed"] >= 2)
    assert notices(told) == [Notice("acknowledged", asked=7)]
    bars = [bar for bar in events(told, "bars") if bar.is_closed]
    assert any(bar.is_closed is False for bar in events(told, "bars"))
    assert [bar.open_ms for bar in bars] == [bars[0].open_ms + n * MINUTE for n in range(2)]
    query: dict[str, Any] = {"symbol": symbol, "interval": "1m", "startTime": bars[0].open_ms, "limit": 2}
    rows = requests.get(f"{base}{REST[feed.venue]}/klines", params=query, timeout=5).json()
    assert [bar.record for bar in bars] == rows
    assert all(a.ids and a.ids[1] == b.before for a, b in pairwise(bars))
    table = parse_rows(binance.KLINE, [bar.record for bar in events(told, "bars")], MINUTE, bars[-1].at_ms)
    assert set(table["metadata"].to_pylist()) == {""}
    trades = events(told, "trades")
    assert steps(trades) == (len(trades) - 1, 0)
    if feed is not US:  # of which nobody asks the trades by REST
        query = {"symbol": symbol, "fromId": trades[0].record["a"], "limit": 1000}
        rows = requests.get(f"{base}{REST[feed.venue]}/aggTrades", params=query, timeout=5).json()
        some = min(len(rows), len(trades))
        assert some > 100
        assert [one.record for one in trades[:some]] == rows[:some]


@pytest.mark.parametrize("feed", [SPOT, US, PERP_PUBLIC], ids=lambda feed: feed.venue)
def test_books_go_on_without_a_gap_and_their_best_is_what_is_quoted(base: str, feed: Feed) -> None:
    channels = [Channel(kind, "BTCUSDT") for kind in ("quotes", "books")]
    told = heard(base, feed, channels, lambda n: n["books"] >= 60)
    assert notices(told) == [Notice("acknowledged", asked=7)]
    books, quotes = events(told, "books"), events(told, "quotes")
    assert steps(books) == (len(books) - 1, 0)
    assert not any(book.is_snapshot for book in books)
    changed = {book.ids: dict(book.record["bids"]) for book in books}
    last = {ids[1]: bids for ids, bids in changed.items() if ids}
    seen = [(quote, last[quote.ids[1]]) for quote in quotes if quote.ids and quote.ids[1] in last]
    assert seen
    for quote, bids in seen:
        assert bids.get(quote.record["bid_price"], quote.record["bid_quantity"]) == quote.record["bid_quantity"]


def test_liquidations_have_the_ids_that_files_give_them(base: str) -> None:
    symbols = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
    told = heard(base, PERP_MARKET, channels_of(PERP_MARKET, *symbols), lambda n: n["liquidations"] >= 1)
    assert {one.what for one in notices(told)} == {"acknowledged"}
    for one in events(told, "liquidations"):
        record = one.record
        order = {"buy": "BUY", "sell": "SELL"}[record["order_side"]]
        assert record["position_side"] == {"BUY": "short", "SELL": "long"}[order]
        amount, price, average = record["quantity"], record["price"], record["average_price"]
        line = f"{record['timestamp_ms']},{order},LIMIT,IOC,{amount},{price},{average},FILLED,{amount},{amount}"
        assert (record["liquidation_id"], record["metadata"], record["is_sampled"]) == (id_of(line), "", True)


def test_what_the_sandbox_says_of_troubles(base: str) -> None:
    order = {"scope": "stream", "kind": "shutdown", "seconds": 0.1, "venue": "binance_spot"}

    def once_shut_down(counts: Any) -> bool:
        if counts["bars"] == 1 and not counts["asked"]:
            counts["asked"] = 1
            requests.post(f"{base}/_faults", json=order, timeout=5).raise_for_status()
        return bool(counts["ending"])

    told = heard(base, SPOT, [Channel("bars", "BTCUSDT")], once_shut_down)
    assert [one.what for one in notices(told)] == ["acknowledged", "ending"]
    requests.delete(f"{base}/_faults", timeout=5)


# Recorded


def recordings(folder: Path) -> list[bytes]:
    """The messages of Binance US as recorded in October 2021."""
    lines = (folder / "wire/cryptofeed-2021-2022/BINANCE_US.ws.1.0").read_bytes().splitlines()[1:]
    return [line.split(b": ", 1)[1] for line in lines if line]


def test_every_recorded_message_is_read_and_ids_go_on(recorded: Path) -> None:
    messages = recordings(recorded)
    told = [one for message in messages for one in US.parse(message)]
    assert len(told) == len(messages) == 480
    assert {kind: len(events(told, kind)) for kind in ("bars", "trades", "quotes", "books")} == {
        "bars": 5,
        "trades": 11,
        "quotes": 128,
        "books": 336,
    }
    books, trades = events(told, "books"), events(told, "trades")
    assert steps(books) == (len(books) - len({book.venue_symbol for book in books}), 0)
    assert steps(trades) == (len(trades) - len({trade.venue_symbol for trade in trades}), 0)
    singles = [(one.venue_symbol, one.record["f"], one.record["l"]) for one in trades]
    for (symbol, _, last), (other, first, _) in pairwise(sorted(singles)):
        assert symbol != other or first == last + 1
    for trade in trades:
        assert parse_trades(binance.AGGREGATE, [trade.record], trade.venue_symbol)["metadata"].to_pylist() == [""]


def test_recorded_bars_are_what_was_said(recorded: Path) -> None:
    messages = [message for message in recordings(recorded) if b"@kline_1m" in message]
    bars = [bar for message in messages for bar in events(US.parse(message), "bars")]
    for bar, message in zip(bars, messages, strict=True):
        k = json.loads(message)["data"]["k"]
        assert (bar.venue_symbol, bar.open_ms, bar.is_closed, bar.ids) == (k["s"], k["t"], k["x"], (k["f"], k["L"]))
        assert bar.record == [k[name] for name in "tohlcvTqnVQB"]
    closed = [n for n, bar in enumerate(bars) if bar.is_closed]
    assert [(bars[n].ids, bars[n + 1].before) for n in closed] == [((439572, 439585), 439585)]
    table = parse_rows(binance.KLINE, [bar.record for bar in bars], MINUTE, bars[-1].at_ms)
    assert set(table["metadata"].to_pylist()) == {""}
    trades = [one for message in recordings(recorded) for one in events(US.parse(message), "trades")]
    prices = {(one.venue_symbol, one.record["l"]): one.record["p"] for one in trades}
    named = [(bar.record[4], prices.get((bar.venue_symbol, bar.ids[1]))) for bar in bars if bar.ids]
    assert len(named) == 5
    assert all(close == price for close, price in named if price is not None)
    assert sum(price is not None for _, price in named) >= 4


# Made up

BAR = {"t": 1_735_812_000_000, "T": 1_735_812_059_999, "s": "BTCUSDT", "i": "1m", "f": 100, "L": 109, "o": "1.0",
       "c": "2.0", "h": "3.0", "l": "0.5", "v": "7", "n": 10, "x": True, "q": "9", "V": "3", "Q": "4",
       "B": "0"}  # fmt: skip
ORDER = {"s": "BTCUSDT", "S": "SELL", "o": "LIMIT", "f": "IOC", "q": "0.014", "p": "9910", "ap": "9910", "X": "FILLED",
         "l": "0.010", "z": "0.014", "T": 1_735_812_060_000}  # fmt: skip
AT = 1_735_812_060_123
SAID: dict[str, dict[str, Any]] = {
    "bars": {"e": "kline", "E": AT, "s": "BTCUSDT", "k": BAR},
    "trades": {
        "e": "aggTrade",
        "E": AT,
        "s": "BTCUSDT",
        "a": 5,
        "p": "1.0",
        "q": "2",
        "f": 8,
        "l": 9,
        "T": AT,
        "m": True,
    },
    "liquidations": {"e": "forceOrder", "E": AT, "o": ORDER},
    "quotes": {"u": 400, "s": "BTCUSDT", "b": "1.0", "B": "2", "a": "1.1", "A": "3"},
    "books": {
        "e": "depthUpdate",
        "E": AT,
        "T": AT,
        "s": "BTCUSDT",
        "U": 7,
        "u": 9,
        "pu": 5,
        "b": [["1.0", "0"]],
        "a": [],
    },
}
ANSWERS = (
    (b'{"result":null,"id":3}', Notice("acknowledged", asked=3)),
    (b'{"error":{"code":2,"msg":"Invalid request"},"id":4}', Notice("refused", "2: Invalid request", asked=4)),
    (b'{"code":3,"msg":"Invalid JSON"}', Notice("refused", "3: Invalid JSON")),
    (b'{"e":"serverShutdown","E":1735812060123}', Notice("ending", "serverShutdown")),
    (b'{"stream":"serverShutdown","data":{"e":"serverShutdown","E":1}}', Notice("ending", "serverShutdown")),
)


@pytest.mark.parametrize("is_wrapped", [True, False])
@pytest.mark.parametrize("kind", SAID)
def test_messages_are_read_wrapped_and_bare(kind: str, is_wrapped: bool) -> None:
    said = {"stream": "btcusdt@x", "data": SAID[kind]} if is_wrapped else SAID[kind]
    (one,) = PERP_MARKET.parse(orjson.dumps(said))
    assert isinstance(one, Event)
    assert (one.kind, one.venue_symbol, one.at_ms) == (kind, "BTCUSDT", 0 if kind == "quotes" else AT)


def read_one(said: dict[str, Any]) -> Event:
    (one,) = SPOT.parse(orjson.dumps(said))
    assert isinstance(one, Event)
    return one


def test_what_comes_before_is_said() -> None:
    assert (read_one(SAID["bars"]).ids, read_one(SAID["bars"]).before) == ((100, 109), 99)
    quiet = {**SAID["bars"], "k": {**BAR, "f": -1, "L": -1, "n": 0}}
    assert (read_one(quiet).ids, read_one(quiet).before) == (None, None)
    assert (read_one(SAID["trades"]).ids, read_one(SAID["trades"]).before) == ((5, 5), 4)
    assert (read_one(SAID["books"]).ids, read_one(SAID["books"]).before) == ((7, 9), 5)
    spot = {name: value for name, value in SAID["books"].items() if name != "pu"}
    assert read_one(spot).before == 6


def test_a_liquidation_that_was_filled_twice_says_so() -> None:
    record = read_one(SAID["liquidations"]).record
    assert record["metadata"] == '{"last_fill_quantity":"0.010"}'
    assert (record["order_side"], record["position_side"], record["price_kind"]) == ("sell", "long", "order")
    assert (record["quantity"], record["filled_quantity"], record["average_price"]) == ("0.014", "0.014", "9910")


@pytest.mark.parametrize(("message", "notice"), ANSWERS)
def test_answers_and_ends(message: bytes, notice: Notice) -> None:
    assert list(SPOT.parse(message)) == [notice]


@pytest.mark.parametrize(
    "message",
    [
        *(b"", b"pong", b"null", b"7", b"[]", b"{}", b'{"data":null}', b'{"e":"24hrTicker"}', b'{"padding":"xx"}'),
        orjson.dumps({**SAID["bars"], "k": {**BAR, "i": "5m"}}),
        orjson.dumps({**SAID["bars"], "k": {**BAR, "t": 1_735_812_000}}),
        orjson.dumps({**SAID["bars"], "k": {**BAR, "x": "true"}}),
        orjson.dumps({**SAID["trades"], "a": -1}),
        orjson.dumps({**SAID["books"], "b": [[1.0, "0"]]}),
        b"[" * 5000 + b"]" * 5000,
    ],
)
def test_what_cannot_be_believed_is_unknown(message: bytes) -> None:
    (one,) = SPOT.parse(message)
    assert isinstance(one, Notice)
    assert one.what == "unknown"
    assert one.reason


MESSAGES = [*map(orjson.dumps, SAID.values()), *(message for message, _ in ANSWERS)]


@given(st.one_of(st.binary(max_size=50), bent(MESSAGES)))
def test_nothing_makes_it_raise_and_what_it_tells_can_be_loaded(message: bytes) -> None:
    assert_loadable(PERP_MARKET, PERP_MARKET.parse(message))


def test_what_is_asked_for() -> None:
    asked = SPOT.subscribe([Channel("bars", "BTCUSDT"), Channel("trades", "ETHUSDT"), Channel("books", "ETHUSDT")], 3)
    assert [json.loads(text) for text in asked] == [
        {"method": "SUBSCRIBE", "params": ["btcusdt@kline_1m", "ethusdt@aggTrade", "ethusdt@depth@100ms"], "id": 3}
    ]
    many: Sequence[str] = SPOT.subscribe([Channel("bars", f"S{n}USDT") for n in range(250)], 1)
    assert [(json.loads(text)["id"], len(json.loads(text)["params"])) for text in many] == [(1, 100), (2, 100), (3, 50)]
    assert {(feed.venue, kind) for feed in FEEDS for kind in feed.kinds} >= {("binance_perp", "liquidations")}
