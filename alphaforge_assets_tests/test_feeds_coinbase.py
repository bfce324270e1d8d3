"""Coinbase's feed: what it asks for, and what it reads, recorded, from the sandbox's sockets, and made up."""

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from websockets.sync.client import connect

from alphaforge_assets.sandbox.process import start
from alphaforge_assets.venues import coinbase
from alphaforge_assets.venues.coinbase_feed import SPOT
from alphaforge_assets.venues.feed import Channel, Event, Notice
from alphaforge_assets.venues.trade_rows import parse_trades
from alphaforge_assets_tests.streamed import MINUTE, Told, assert_loadable, bent, events, heard, kept, notices, steps


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    with start(budget_scale=100) as url:
        yield url


def assert_counted(told: Told) -> None:
    """Every message has its number, and none is left out."""
    numbers = [one.number for one in notices(told)]
    assert numbers == list(range(len(numbers)))


# From the sandbox's sockets


def test_bars_made_of_trades_are_those_of_rest(base: str) -> None:
    channels = [Channel("bars", "BTC-USD"), Channel("trades", "BTC-USD")]
    opened: set[int] = set()
    told: list[Event | Notice] = []
    requests.post(f"{base}/_clock", json={"now": "2025-01-02T10:00:50Z", "rate": 60}, timeout=5).raise_for_status()
    with connect(base.replace("http", "ws") + SPOT.path, compression=None, close_timeout=1) as ws:
        for text in SPOT.subscribe(channels, 1):
            ws.send(text)
        while len(opened) < 4:  # what came with the snapshot, two whole minutes, and one that has begun
            told += SPOT.parse(ws.recv(timeout=20, decode=False))
            opened = {one.open_ms for one in events(told, "trades") if not one.is_snapshot}
    assert_counted(told)
    assert {channel for one in notices(told) for channel in one.channels} == set(channels)
    trades = events(told, "trades")
    assert trades[0].is_snapshot
    assert steps(trades) == (len(trades) - 1, 0)
    first, last = sorted(opened)[1:3]
    query: dict[str, Any] = {"granularity": 60, "start": first // 1000, "end": last // 1000}
    rows = requests.get(f"{base}/products/BTC-USD/candles", params=query, timeout=5).json()
    assert [row[0] for row in rows] == [last // 1000, first // 1000]
    for time, low, high, opens, closes, volume in rows:
        its = [one.record for one in trades if one.open_ms == time * 1000]
        prices = [float(one["price"]) for one in its]
        assert (min(prices), max(prices), prices[0], prices[-1]) == (low, high, opens, closes)
        assert sum(float(one["size"]) for one in its) == pytest.approx(volume, abs=1e-9)


def test_trades_are_records_as_rest_has_them(base: str) -> None:
    told = heard(base, SPOT, [Channel("trades", "BTC-USD")], lambda n: n["trades"] >= 200)
    trades = events(told, "trades")
    rows = requests.get(f"{base}/products/BTC-USD/trades", params={"limit": 1000}, timeout=5).json()
    asked = {row["trade_id"]: row for row in rows}
    both = [one.record for one in trades if one.record["trade_id"] in asked]
    assert len(both) > 50
    layout = coinbase.TRADES.layout
    assert parse_trades(layout, both, "X").equals(parse_trades(layout, [asked[row["trade_id"]] for row in both], "X"))
    assert {one.open_ms % MINUTE for one in trades} == {0}


def test_books_go_on_and_their_best_is_what_is_quoted(base: str) -> None:
    symbols = ("BTC-USD", "ETH-USD")
    channels = [Channel(kind, symbol) for kind in ("quotes", "books") for symbol in symbols]
    told = heard(base, SPOT, channels, lambda n: n["books"] >= 60)
    assert_counted(told)
    assert {channel for one in notices(told) for channel in one.channels} == set(channels)
    books = events(told, "books")
    best = {}
    for book, (bids, asks) in zip(books, kept(books), strict=True):
        best[book.venue_symbol, book.at_ms] = (*bids[0], *asks[0])
    quotes = [one for one in events(told, "quotes") if (one.venue_symbol, one.at_ms) in best]
    assert len(quotes) > 10
    for one in quotes:
        assert tuple(one.record.values()) == best[one.venue_symbol, one.at_ms]


def test_heartbeats_are_counted_and_what_is_not_there_is_refused(base: str) -> None:
    told = list(heard(base, SPOT, [], lambda n: n["alive"] >= 3))
    assert_counted(told)
    assert {one.what for one in notices(told)} == {"acknowledged", "alive"}
    with connect(base.replace("http", "ws") + SPOT.path, compression=None, close_timeout=1) as ws:
        ws.send(SPOT.subscribe([Channel("books", "NOPE-USD")], 1)[-1])
        (refused,) = SPOT.parse(ws.recv(timeout=5, decode=False))
    assert refused == Notice("refused", "failed to subscribe: invalid product_ids")


def test_a_channel_that_nobody_asks_for_is_unknown_and_counted(base: str) -> None:
    with connect(base.replace("http", "ws") + SPOT.path, compression=None, close_timeout=1) as ws:
        ws.send('{"type":"subscribe","channel":"candles","product_ids":["BTC-USD"]}')
        told = [one for _ in range(2) for one in SPOT.parse(ws.recv(timeout=5, decode=False))]
    assert_counted(told)
    assert Notice("unknown", "channel candles", number=0) in told


# Recorded


def test_every_message_of_2026_is_read_and_ids_go_on(recorded: Path) -> None:
    messages = (recorded / "wire/websocket-2026/coinbase_advanced_market_trades.jsonl").read_bytes().splitlines()
    told = [one for message in messages for one in SPOT.parse(message)]
    assert [(one.what, one.number) for one in notices(told)] == [("alive", 0), ("acknowledged", 1), ("alive", 2)]
    assert notices(told)[1].channels == (Channel("bars", "BTC-USD"), Channel("trades", "BTC-USD"))
    trades = events(told, "trades")
    assert [one.ids for one in trades] == [(n, n) for n in range(1069726287, 1069726294)]
    assert all(b.before == a.ids[1] for a, b in pairwise(trades) if a.ids)
    assert [one.is_snapshot for one in trades] == [True] * 5 + [False] * 2
    page = parse_trades(coinbase.TRADES.layout, [one.record for one in trades], "BTC-USD")
    assert set(page["metadata"].to_pylist()) == {""}
    assert set(page["side"].to_pylist()) == {"sell"}  # the makers bought
    assert {one.open_ms for one in trades} == {1_786_562_820_000}


# Made up

TIME = "2025-01-02T10:00:00.012345Z"
HEAD = {"timestamp": "2025-01-02T10:00:01.123456789Z", "sequence_num": 5}
TRADE = {"product_id": "BTC-USD", "trade_id": "12", "price": "1.5", "size": "0.1", "time": TIME, "side": "BUY"}
TICKER = {"type": "ticker", "product_id": "BTC-USD", "price": "1.5", "best_bid": "1.5", "best_bid_quantity": "2",
          "best_ask": "1.6", "best_ask_quantity": "3", "volume_24_h": "9"}  # fmt: skip
LEVELS = [
    {"side": "bid", "event_time": TIME, "price_level": "1.5", "new_quantity": "0"},
    {"side": "offer", "event_time": TIME, "price_level": "1.6", "new_quantity": "2"},
]
SAID: dict[str, dict[str, Any]] = {
    "trades": {"channel": "market_trades", **HEAD, "events": [{"type": "update", "trades": [TRADE]}]},
    "quotes": {"channel": "ticker", **HEAD, "events": [{"type": "snapshot", "tickers": [TICKER]}]},
    "books": {
        "channel": "l2_data",
        **HEAD,
        "events": [{"type": "update", "product_id": "BTC-USD", "updates": LEVELS}],
    },
}
ANSWERS = (
    b'{"channel":"subscriptions","timestamp":"2025-01-02T10:00:01Z","sequence_num":1,'
    b'"events":[{"subscriptions":{"level2":["BTC-USD"],"heartbeats":["heartbeats"]}}]}',
    b'{"channel":"heartbeats","timestamp":"2025-01-02T10:00:01Z","sequence_num":2,"events":[{"heartbeat_counter":"7"}]}',
    b'{"type":"error","message":"failed to subscribe: NOPE-USD is not a product"}',
)


def test_what_is_told_of_each_kind() -> None:
    for kind, said in SAID.items():
        notice, event = SPOT.parse(orjson.dumps(said))
        assert isinstance(notice, Notice)
        assert isinstance(event, Event)
        assert (notice.what, notice.number) == ("alive", 5)
        assert (event.kind, event.venue_symbol, event.at_ms) == (kind, "BTC-USD", 1_735_812_001_123)
    (book,) = events(SPOT.parse(orjson.dumps(SAID["books"])), "books")
    assert book.record == {"bids": [["1.5", "0"]], "asks": [["1.6", "2"]]}
    (quote,) = events(SPOT.parse(orjson.dumps(SAID["quotes"])), "quotes")
    assert (list(quote.record.values()), quote.is_snapshot) == (["1.5", "2", "1.6", "3"], True)


def test_answers_say_what_they_answer() -> None:
    subscribed, alive, refused = (one for message in ANSWERS for one in SPOT.parse(message))
    assert subscribed == Notice("acknowledged", channels=(Channel("books", "BTC-USD"),), number=1)
    assert alive == Notice("alive", "heartbeats", number=2)
    assert isinstance(refused, Notice)
    assert {one.venue_symbol for one in refused.channels} == {"NOPE-USD"}


def with_one(kind: str, name: str, value: Any) -> bytes:
    """A message of which one field of its record is another."""
    rows = {"trades": "trades", "quotes": "tickers", "books": "updates"}[kind]
    said = orjson.loads(orjson.dumps(SAID[kind]))
    said["events"][0][rows][0][name] = value
    return orjson.dumps(said)


@pytest.mark.parametrize(
    "message",
    [
        *(b"", b"null", b"7", b"[]", b"{}", b'{"channel":"heartbeats"}', b"[" * 5000),
        with_one("trades", "trade_id", 12.5),
        with_one("trades", "time", "1735812000"),
        with_one("books", "side", "ask"),
        with_one("books", "price_level", 1.5),
        with_one("quotes", "best_bid", None),
        orjson.dumps({**SAID["books"], "sequence_num": -1}),
    ],
)
def test_what_cannot_be_believed_is_unknown(message: bytes) -> None:
    (one,) = SPOT.parse(message)
    assert isinstance(one, Notice)
    assert one.what == "unknown"


@given(st.one_of(st.binary(max_size=50), bent([*map(orjson.dumps, SAID.values()), *ANSWERS])))
def test_nothing_makes_it_raise_and_what_it_tells_can_be_loaded(message: bytes) -> None:
    assert_loadable(SPOT, SPOT.parse(message))


def test_what_is_asked_for() -> None:
    asked = SPOT.subscribe([Channel("bars", "A-USD"), Channel("trades", "A-USD"), Channel("books", "B-USD")], 3)
    assert [json.loads(text) for text in asked] == [
        {"type": "subscribe", "channel": "heartbeats"},
        {"type": "subscribe", "channel": "market_trades", "product_ids": ["A-USD"]},
        {"type": "subscribe", "channel": "level2", "product_ids": ["B-USD"]},
    ]
