"""Kraken's feed: what it asks for, and what it reads, recorded, from the sandbox's sockets, and made up."""

import json
from collections import Counter
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
from alphaforge_assets.venues import kraken
from alphaforge_assets.venues.columns import parse_rows
from alphaforge_assets.venues.feed import Channel, Event, Notice
from alphaforge_assets.venues.kraken_feed import LEVELS, SPOT, checksum, named
from alphaforge_assets.venues.trade_rows import parse_trades
from alphaforge_assets_tests.streamed import MINUTE, assert_loadable, bent, events, heard, kept, notices

DECIMALS = {"pair_decimals": 1, "lot_decimals": 8}  # of BTC/USD


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    with start(budget_scale=100) as url:
        yield url


def rest(base: str, what: str, **query: Any) -> Any:
    return requests.get(f"{base}/0/public/{what}", params=query, timeout=5).json()["result"]


# From the sandbox's sockets


def test_the_last_word_about_a_bar_is_rest_s(base: str) -> None:
    told = heard(base, SPOT, [Channel("bars", "BTC/USD")], lambda n: n["bars"] > 10 + 3 * 59)
    assert {one.what for one in notices(told)} <= {"alive", "acknowledged"}
    (acknowledged,) = (one for one in notices(told) if one.what == "acknowledged")
    assert (acknowledged.channels, acknowledged.asked) == ((Channel("bars", "BTC/USD"),), 7)
    bars = events(told, "bars")
    assert [bar.is_snapshot for bar in bars] == [True] * 10 + [False] * (len(bars) - 10)
    assert all(bar.is_closed is None for bar in bars)
    last = {bar.open_ms: bar for bar in bars}
    opened = sorted(last)
    rows = rest(base, "OHLC", pair="XXBTZUSD", interval=1, since=opened[0] // 1000 - 1)["XXBTZUSD"]
    closed = {row[0]: row for row in rows[:-1]}
    told_last = [last[open_ms].record for open_ms in opened[:-1]]
    assert len(told_last) >= 11
    assert told_last == [closed[row[0]] for row in told_last]
    table = parse_rows(kraken.OHLC, told_last, MINUTE, opened[-1])
    assert table.equals(parse_rows(kraken.OHLC, list(closed.values())[: len(told_last)], MINUTE, opened[-1]))


def test_books_have_their_checksums_and_their_best_is_what_is_quoted(base: str) -> None:
    pairs = rest(base, "AssetPairs")
    info = {named(name, pair): pair for name, pair in pairs.items()}
    symbols = ("BTC/USD", "DOGE/USD")
    channels = [Channel(kind, symbol) for kind in ("quotes", "books") for symbol in symbols]
    told = heard(base, SPOT, channels, lambda n: n["books"] >= 60)
    books = events(told, "books")
    assert Counter(book.venue_symbol for book in books if book.is_snapshot) == dict.fromkeys(symbols, 1)
    best: dict[tuple[str, int], Any] = {}
    for book, (bids, asks) in zip(books, kept(books, LEVELS), strict=True):
        assert checksum(bids, asks, info[book.venue_symbol]) == book.record["checksum"]
        best[book.venue_symbol, book.at_ms] = (*bids[0], *asks[0])
    quotes = [one for one in events(told, "quotes") if (one.venue_symbol, one.at_ms) in best]
    assert len(quotes) > 10
    for one in quotes:
        assert tuple(one.record.values()) == best[one.venue_symbol, one.at_ms]


def test_trades_are_rows_as_rest_has_them(base: str) -> None:
    told = heard(base, SPOT, [Channel("trades", "BTC/USD")], lambda n: n["trades"] >= 100)
    trades = events(told, "trades")
    rows = rest(
        base, "Trades", pair="XXBTZUSD", since=(trades[0].ids or (0,))[0] and 1_735_812_050_000_000_000, count=1000
    )
    asked = {row[6]: row for row in rows["XXBTZUSD"]}
    both = [one.record for one in trades if one.record[6] in asked]
    assert len(both) > 50
    layout = kraken.TRADES.layout
    assert parse_trades(layout, both, "X").equals(parse_trades(layout, [asked[row[6]] for row in both], "X"))
    assert {one.before for one in trades} == {None}


def test_what_is_not_there_is_refused_and_the_end_is_told(base: str) -> None:
    told: list[Event | Notice] = []
    channels = [Channel("bars", "XBT/USD"), Channel("bars", "ETH/USD")]
    with connect(base.replace("http", "ws") + SPOT.path, compression=None, close_timeout=1) as ws:
        for text in SPOT.subscribe(channels, 3):
            ws.send(text)
        while sum(one.what != "alive" for one in notices(told)) < 2:
            told += SPOT.parse(ws.recv(timeout=5, decode=False))
        order = {"scope": "stream", "kind": "shutdown", "seconds": 0.1, "venue": "kraken_spot"}
        requests.post(f"{base}/_faults", json=order, timeout=5).raise_for_status()
        while notices(told)[-1].what != "ending":
            told += SPOT.parse(ws.recv(timeout=5, decode=False))
    first, refused, acknowledged = [one for one in notices(told) if one.reason != "heartbeat"][:3]
    assert first == Notice("alive", "online")
    assert (refused.what, refused.asked, channels[0] in refused.channels) == ("refused", 3, True)
    assert {one.venue_symbol for one in refused.channels} == {"XBT/USD"}
    assert (acknowledged.what, acknowledged.channels) == ("acknowledged", (channels[1],))


# Recorded


def test_names_are_made_of_the_venue_s_own_list(recorded: Path) -> None:
    line = (recorded / "wire/cryptofeed-2021-2022/KRAKEN.0").read_text().splitlines()[0]
    pairs = json.loads(line.split(": ", 1)[1])["result"]
    names = {key: named(key, pair) for key, pair in pairs.items()}
    assert (names["XXBTZUSD"], names["XDGUSD"], names["XETHXXBT"]) == ("BTC/USD", "DOGE/USD", "ETH/BTC")
    on_stream = [name for key, name in names.items() if "wsname" in pairs[key]]
    assert len(on_stream) == len(set(on_stream)) > 250
    assert all(name.count("/") == 1 and not {"XBT", "XDG"} & set(name.split("/")) for name in on_stream)
    markets = json.loads((recorded / "wire/ccxt-static/markets/kraken.json").read_text())
    for market in markets.values():
        assert named(market["id"], market["info"]) == f"{market['base']}/{market['quote']}"


def recorded_2026(folder: Path, name: str) -> list[bytes]:
    return (folder / f"wire/websocket-2026/{name}.jsonl").read_bytes().splitlines()


def test_every_message_of_2026_is_read_and_books_have_their_checksums(recorded: Path) -> None:
    told = [one for message in recorded_2026(recorded, "kraken_v2_ohlc") for one in SPOT.parse(message)]
    assert [one.what for one in notices(told)] == ["acknowledged", "alive"]
    bars = events(told, "bars")
    assert [bar.is_snapshot for bar in bars] == [True] * 10 + [False]
    assert [bar.open_ms for bar in bars] == [1_786_562_340_000 + MINUTE * n for n in (*range(10), 9)]
    assert bars[-1].record == [
        1_786_562_880, *("63301.6", "63301.6", "63297.7", "63297.7", "63298.2", "0.04121249"), 27
    ]  # fmt: skip
    assert bars[-1].at_ms == 1_786_562_924_084
    told = [one for message in recorded_2026(recorded, "kraken_v2_book") for one in SPOT.parse(message)]
    books = events(told, "books")
    assert [one.reason for one in notices(told)] == ["online"]
    assert [book.is_snapshot for book in books] == [True, False, True]
    for book, (bids, asks) in zip(books, kept(books, LEVELS), strict=True):
        assert checksum(bids, asks, DECIMALS) == book.record["checksum"]


def test_messages_of_the_first_version_are_unknown(recorded: Path) -> None:
    lines = (recorded / "wire/cryptofeed-2021-2022/KRAKEN.ws.50.0").read_bytes().splitlines()
    messages = [line.split(b": ", 1)[1] for line in lines if line and not line.startswith(b"wss:")]
    told = [one for message in messages for one in SPOT.parse(message)]
    assert len(told) == len(messages) > 4000
    assert {one.what for one in notices(told)} == {"unknown"}


# Made up

BAR = {"symbol": "BTC/USD", "open": 1.5, "high": 3.0, "low": 0.5, "close": 2.0, "trades": 3, "volume": 0.00005100,
       "vwap": 2.0, "interval_begin": "2025-01-02T10:00:00.000000000Z", "interval": 1,
       "timestamp": "2025-01-02T10:01:00.000000Z"}  # fmt: skip
TRADE = {"symbol": "BTC/USD", "side": "sell", "price": 1.5, "qty": 0.1, "ord_type": "limit", "trade_id": 12,
         "timestamp": "2025-01-02T10:00:00.012345Z"}  # fmt: skip
TICKER = {"symbol": "BTC/USD", "bid": 1.5, "bid_qty": 2, "ask": 1.6, "ask_qty": 3.0, "last": 1.5, "volume": 9.0}
BOOK = {"symbol": "BTC/USD", "bids": [{"price": 1.5, "qty": 0}], "asks": [], "checksum": 7,
        "timestamp": "2025-01-02T10:00:00.012345Z"}  # fmt: skip
SAID: dict[str, dict[str, Any]] = {
    "bars": {"channel": "ohlc", "type": "update", "timestamp": "2025-01-02T10:00:59.123456789Z", "data": [BAR]},
    "trades": {"channel": "trade", "type": "update", "data": [TRADE]},
    "quotes": {"channel": "ticker", "type": "snapshot", "data": [TICKER]},
    "books": {"channel": "book", "type": "update", "data": [BOOK]},
}
ANSWERS = (
    b'{"method":"subscribe","req_id":4,"result":{"channel":"ohlc","symbol":"BTC/USD"},"success":true}',
    b'{"error":"Currency pair not supported X/USD","method":"subscribe","req_id":4,"success":false,"symbol":"X/USD"}',
    b'{"error":"Malformed request","success":false}',
    b'{"method":"pong","req_id":5,"time_in":"2025-01-02T10:00:00.012345Z"}',
    b'{"channel":"status","type":"update","data":[{"system":"maintenance","emergency":[]}]}',
    b'{"channel":"heartbeat"}',
)


def read_one(said: dict[str, Any]) -> Event:
    (one,) = SPOT.parse(orjson.dumps(said))
    assert isinstance(one, Event)
    return one


def test_what_is_told_of_each_kind() -> None:
    assert [read_one(said).kind for said in SAID.values()] == list(SAID)
    bar = read_one(SAID["bars"])
    assert (bar.at_ms, bar.open_ms, bar.is_closed) == (1_735_812_059_123, 1_735_812_000_000, None)
    assert read_one(SAID["trades"]).record == ["1.5", "0.1", "1735812000.012345", "s", "l", "", 12]
    quote = {"bid_price": "1.5", "bid_quantity": "2", "ask_price": "1.6", "ask_quantity": "3.0"}
    assert (read_one(SAID["quotes"]).record, read_one(SAID["quotes"]).is_snapshot) == (quote, True)
    assert read_one(SAID["books"]).record == {"bids": [["1.5", "0"]], "asks": [], "checksum": 7}


def test_decimals_are_kept_as_they_were_written() -> None:
    message = orjson.dumps(SAID["books"]).replace(b'"qty":0', b'"qty":123456789012.10000000')
    (one,) = SPOT.parse(message)
    assert isinstance(one, Event)
    assert one.record["bids"] == [["1.5", "123456789012.10000000"]]


def test_answers_say_what_they_answer() -> None:
    told = [one for message in ANSWERS for one in SPOT.parse(message)]
    assert [(one.what, one.asked, len(one.channels)) for one in notices(told)] == [
        ("acknowledged", 4, 1),
        ("refused", 4, 4),
        ("refused", None, 0),
        ("alive", 5, 0),
        ("ending", None, 0),
        ("alive", None, 0),
    ]


@pytest.mark.parametrize(
    "message",
    [
        *(b"", b"null", b"7", b"[]", b"{}", b'{"channel":"instrument","type":"snapshot","data":{}}', b"NaN"),
        orjson.dumps({**SAID["bars"], "data": [{**BAR, "interval": 5}]}),
        orjson.dumps({**SAID["bars"], "data": [{**BAR, "interval_begin": "2025-01-02T10:00:00"}]}),
        orjson.dumps({**SAID["bars"], "data": [{**BAR, "open": True}]}),
        orjson.dumps({**SAID["books"], "type": "other"}),
        orjson.dumps({**SAID["trades"], "data": [{**TRADE, "trade_id": 1.5}]}),
        orjson.dumps(SAID["bars"]).replace(b'"open":1.5', b'"open":Infinity'),
        orjson.dumps(SAID["bars"]).replace(b'"trades":3', b'"trades":' + b"1" * 5000),
        b"[" * 50_000 + b"]" * 50_000,
        b"\xff\xfe{\x00}\x00",
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
    asked = SPOT.subscribe([Channel("books", "A/USD"), Channel("bars", "A/USD"), Channel("bars", "B/USD")], 3)
    assert [json.loads(text) for text in asked] == [
        {"method": "subscribe", "req_id": 3,
         "params": {"channel": "ohlc", "interval": 1, "snapshot": True, "symbol": ["A/USD", "B/USD"]}},
        {"method": "subscribe", "req_id": 4,
         "params": {"channel": "book", "depth": 25, "snapshot": True, "symbol": ["A/USD"]}},
    ]  # fmt: skip
