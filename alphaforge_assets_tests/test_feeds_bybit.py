"""Bybit's feeds: what they ask for, and what they read, recorded, from the sandbox's sockets, and made up."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from websockets.sync.client import connect

from alphaforge_assets.sandbox.process import start
from alphaforge_assets.venues import bybit
from alphaforge_assets.venues.bybit_feed import PERP, SPOT
from alphaforge_assets.venues.columns import parse_rows
from alphaforge_assets.venues.feed import Channel, Event, Feed, Notice
from alphaforge_assets.venues.trade_rows import parse_trades
from alphaforge_assets_tests.streamed import MINUTE, Told, assert_loadable, bent, events, heard, notices, steps

CATEGORY = {"bybit_spot": "spot", "bybit_perp": "linear"}


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    with start(budget_scale=100) as url:
        yield url


def rest(base: str, path: str, **query: Any) -> Any:
    return requests.get(f"{base}/v5/market/{path}", params=query, timeout=5).json()["result"]["list"]


# From the sandbox's sockets


@pytest.mark.parametrize("feed", [SPOT, PERP], ids=lambda feed: feed.venue)
def test_closed_bars_are_those_of_rest_and_books_go_on(base: str, feed: Feed) -> None:
    symbols = ("BTCUSDT", "ETHUSDT")
    channels = [Channel(kind, symbol) for symbol in symbols for kind in feed.kinds if kind != "liquidations"]
    told = heard(base, feed, channels, lambda n: n["closed"] >= 4)
    assert notices(told) == [Notice("acknowledged", asked=7)]
    for symbol in symbols:
        closed = [bar for bar in events(told, "bars") if bar.is_closed and bar.venue_symbol == symbol]
        assert [bar.open_ms for bar in closed] == [closed[0].open_ms, closed[0].open_ms + MINUTE]
        span = {"start": closed[0].open_ms, "end": closed[-1].open_ms}
        rows = rest(base, "kline", category=CATEGORY[feed.venue], symbol=symbol, interval="1", **span)
        assert [bar.record for bar in closed] == rows[::-1]
        books = [book for book in events(told, "books") if book.venue_symbol == symbol]
        assert [book.is_snapshot for book in books] == [True] + [False] * (len(books) - 1)
        assert steps(books) == (len(books) - 1, 0)
        assert_quotes_are_the_best_of(books, [one for one in events(told, "quotes") if one.venue_symbol == symbol])
    bars = events(told, "bars")
    table = parse_rows(bybit.KLINE, [bar.record for bar in bars], MINUTE, bars[-1].at_ms)
    assert set(table["metadata"].to_pylist()) == {""}


def assert_quotes_are_the_best_of(books: list[Event], quotes: list[Event]) -> None:
    """A book that is kept by its changes has the best bid and offer that are told apart from it."""
    sides: dict[str, dict[str, str]] = {"bids": {}, "asks": {}}
    told = {one.ids: one.record for one in quotes}
    seen = 0
    for book in books:
        for side, levels in sides.items():
            levels.update(book.record[side])
            sides[side] = {price: amount for price, amount in levels.items() if float(amount)}
        if quote := told.get(book.ids):
            seen += 1
            bid, ask = max(sides["bids"], key=float), min(sides["asks"], key=float)
            assert (quote["bid_price"], quote["bid_quantity"]) == (bid, sides["bids"][bid])
            assert (quote["ask_price"], quote["ask_quantity"]) == (ask, sides["asks"][ask])
    assert seen > 10


@pytest.mark.parametrize("feed", [SPOT, PERP], ids=lambda feed: feed.venue)
def test_trades_are_records_as_rest_has_them(base: str, feed: Feed) -> None:
    told = heard(base, feed, [Channel("trades", "BTCUSDT")], lambda n: n["trades"] >= 500)
    trades = {one.record["execId"]: one.record for one in events(told, "trades")}
    now = json.dumps({"now": "2025-01-02T10:00:52Z"})
    requests.post(f"{base}/_clock", data=now, timeout=5).raise_for_status()
    rows = rest(base, "recent-trade", category=CATEGORY[feed.venue], symbol="BTCUSDT", limit=60)
    both = [row for row in rows if row["execId"] in trades]
    assert len(both) > 10
    assert [trades[row["execId"]] for row in both] == both
    page = parse_trades(bybit.TRADE, [one.record for one in events(told, "trades")], "BTCUSDT")
    assert (page["price"].null_count, page["quantity"].null_count) == (0, 0)
    assert set(page["side"].to_pylist()) == {"buy", "sell"}


def test_liquidations_are_of_positions(base: str) -> None:
    symbols = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
    told = heard(base, PERP, [Channel("liquidations", s) for s in symbols], lambda n: n["liquidations"] >= 1)
    found = [one.record for one in events(told, "liquidations")]
    assert {(one["order_side"], one["position_side"]) for one in found} <= {("sell", "long"), ("buy", "short")}
    assert all(not one["is_sampled"] and one["price_kind"] == "bankruptcy" and float(one["price"]) for one in found)


def test_a_topic_that_is_not_there_fails_its_request_and_a_ping_is_answered(base: str) -> None:
    told: list[Event | Notice] = []
    with connect(base.replace("http", "ws") + SPOT.path, compression=None, close_timeout=1) as ws:
        for text in SPOT.subscribe([Channel("bars", "BTCUSDT"), Channel("bars", "NOPEUSDT")], 3):
            ws.send(text)
        ws.send(SPOT.ping)
        while len(notices(told)) < 2:
            told += SPOT.parse(ws.recv(timeout=5, decode=False))
    assert told == [
        Notice("refused", "error:handler not found,topic:kline.1.NOPEUSDT", asked=3),
        Notice("alive", "pong"),
    ]


# Recorded


def test_every_recorded_message_of_v5_is_read(recorded: Path) -> None:
    found: dict[str, Told] = {}
    for feed, name in ((SPOT, "bybit_spot_kline1"), (PERP, "bybit_linear_publicTrade")):
        messages = (recorded / f"wire/websocket-2026/{name}.jsonl").read_bytes().splitlines()
        found[name] = [one for message in messages if message for one in feed.parse(message)]
    (acknowledged, *bars), (also, *trades) = found.values()
    assert acknowledged == also == Notice("acknowledged", asked=1)
    assert [(one.kind, one.open_ms, one.is_closed) for one in bars if isinstance(one, Event)] == [
        ("bars", 1786538700000, False)
    ] * 2
    page = parse_trades(bybit.TRADE, [one.record for one in trades if isinstance(one, Event)], "BTCUSDT")
    assert page["trade_uuid"].to_pylist() == [
        "e799c7b7-1ccc-53d9-b84a-fb7a460397bc",
        "716fc3a6-75f3-55a0-987d-97d2b9e66a8b",
    ]
    assert page["metadata"].to_pylist() == ['{"seq":"760579112851"}', '{"seq":"760579121790"}']


def test_what_was_said_before_v5_is_unknown_but_for_its_acknowledgements(recorded: Path) -> None:
    lines = (recorded / "wire/cryptofeed-2021-2022/BYBIT.ws.26.0").read_bytes().splitlines()
    messages = [line.split(b": ", 1)[1] for line in lines if line and not line.startswith(b"wss")]
    told = [one for message in messages for one in PERP.parse(message)]
    whats = [one.what for one in told if isinstance(one, Notice)]
    assert (len(messages), whats.count("acknowledged"), whats.count("unknown")) == (1098, 4, 1094)


# Made up

AT = 1_735_812_060_123
BAR = {"start": 1_735_812_000_000, "end": 1_735_812_059_999, "interval": "1", "open": "1", "close": "2", "high": "3",
       "low": "0.5", "volume": "7", "turnover": "9", "confirm": True, "timestamp": AT}  # fmt: skip
TRADE = {"T": AT, "s": "BTCUSDT", "S": "Buy", "v": "0.1", "p": "9.5", "i": "2290000000067683806", "BT": False,
         "RPI": False, "seq": 7}  # fmt: skip
BOOK = {"s": "BTCUSDT", "b": [["9.5", "1"]], "a": [["9.6", "0"]], "u": 18, "seq": 77}
LOST = {"T": AT, "s": "BTCUSDT", "S": "Buy", "v": "0.1", "p": "9.5"}
SAID: dict[str, dict[str, Any]] = {
    "bars": {"topic": "kline.1.BTCUSDT", "type": "snapshot", "ts": AT, "data": [BAR]},
    "trades": {"topic": "publicTrade.BTCUSDT", "type": "snapshot", "ts": AT, "data": [TRADE]},
    "liquidations": {"topic": "allLiquidation.BTCUSDT", "type": "snapshot", "ts": AT, "data": [LOST]},
    "quotes": {"topic": "orderbook.1.BTCUSDT", "type": "snapshot", "ts": AT, "data": BOOK, "cts": AT},
    "books": {"topic": "orderbook.50.BTCUSDT", "type": "delta", "ts": AT, "data": BOOK, "cts": AT},
}
ANSWERS = (
    (b'{"success":true,"ret_msg":"","conn_id":"x","req_id":"5","op":"subscribe"}', Notice("acknowledged", asked=5)),
    (b'{"success":false,"ret_msg":"args size","req_id":"6","op":"subscribe"}', Notice("refused", "args size", asked=6)),
    (b'{"success":true,"ret_msg":"pong","conn_id":"x","req_id":"","op":"ping"}', Notice("alive", "pong")),
    (b'{"req_id":"","op":"pong","args":["1675418560633"],"conn_id":"x"}', Notice("alive", "pong")),
)


def read(said: dict[str, Any]) -> list[Event]:
    told = PERP.parse(orjson.dumps(said))
    assert all(isinstance(one, Event) for one in told)
    return [one for one in told if isinstance(one, Event)]


@pytest.mark.parametrize("kind", SAID)
def test_what_a_message_is_of(kind: str) -> None:
    (one,) = read(SAID[kind])
    assert (one.kind, one.venue_symbol, one.at_ms) == (kind, "BTCUSDT", AT)


def test_a_book_starts_over_with_a_snapshot_or_with_one() -> None:
    def ids(**more: Any) -> tuple[Any, ...]:
        said = {**SAID["books"], "type": more.pop("type", "delta"), "data": {**BOOK, **more}}
        (one,) = read(said)
        return one.ids, one.before, one.is_snapshot

    assert ids() == ((18, 18), 17, False)
    assert ids(type="snapshot") == ((18, 18), None, True)
    assert ids(u=1) == ((1, 1), None, True)


def test_equal_liquidations_of_a_message_are_two_and_of_two_messages_one() -> None:
    first, second = read({**SAID["liquidations"], "data": [LOST, LOST]})
    assert first.record["liquidation_id"] != second.record["liquidation_id"]
    assert read(SAID["liquidations"])[0].record == first.record
    assert (first.record["order_side"], first.record["position_side"]) == ("sell", "long")
    (odd,) = read({**SAID["liquidations"], "data": [{**LOST, "S": "Both"}]})
    assert (odd.record["order_side"], json.loads(odd.record["metadata"])["row"]["S"]) == ("", "Both")


def test_an_empty_side_of_a_book_has_no_best() -> None:
    (one,) = read({**SAID["quotes"], "data": {**BOOK, "a": []}})
    assert one.record == {"bid_price": "9.5", "bid_quantity": "1", "ask_price": "", "ask_quantity": ""}


@pytest.mark.parametrize(("message", "notice"), ANSWERS)
def test_answers(message: bytes, notice: Notice) -> None:
    assert list(PERP.parse(message)) == [notice]


@pytest.mark.parametrize(
    "message",
    [
        *(b"", b"pong", b"[]", b"{}", b'{"topic":7}', b'{"topic":"tickers.BTCUSDT"}', b'{"success":"yes"}'),
        orjson.dumps({**SAID["bars"], "topic": "kline.5.BTCUSDT"}),
        orjson.dumps({**SAID["bars"], "data": [{**BAR, "confirm": 1}]}),
        orjson.dumps({**SAID["trades"], "data": [{**TRADE, "s": "ETHUSDT"}]}),
        orjson.dumps({**SAID["trades"], "data": [{**TRADE, "T": AT // 1000}]}),
        orjson.dumps({**SAID["quotes"], "type": "delta"}),
        orjson.dumps({**SAID["books"], "type": "else"}),
    ],
)
def test_what_cannot_be_believed_is_unknown(message: bytes) -> None:
    (one,) = PERP.parse(message)
    assert isinstance(one, Notice)
    assert one.what == "unknown"
    assert one.reason


@given(st.one_of(st.binary(max_size=50), bent([*map(orjson.dumps, SAID.values()), *(said for said, _ in ANSWERS)])))
def test_nothing_makes_it_raise_and_what_it_tells_can_be_loaded(message: bytes) -> None:
    assert_loadable(PERP, PERP.parse(message))


def test_what_is_asked_for() -> None:
    asked = PERP.subscribe([Channel(kind, "BTCUSDT") for kind in PERP.kinds], 3)
    names = ("kline.1", "publicTrade", "allLiquidation", "orderbook.1", "orderbook.50")
    args = [f"{name}.BTCUSDT" for name in names]
    assert [json.loads(text) for text in asked] == [{"op": "subscribe", "args": args, "req_id": "3"}]
    many = SPOT.subscribe([Channel("bars", f"S{n}USDT") for n in range(25)], 1)
    assert [(json.loads(text)["req_id"], len(json.loads(text)["args"])) for text in many] == [
        ("1", 10),
        ("2", 10),
        ("3", 5),
    ]
