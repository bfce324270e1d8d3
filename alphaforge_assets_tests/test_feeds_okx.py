"""OKX's feeds: what they ask for, and what they read, recorded, from the sandbox's sockets, and made up."""

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
from alphaforge_assets.venues import okx
from alphaforge_assets.venues.columns import parse_rows
from alphaforge_assets.venues.feed import Channel, Event, Feed, Notice
from alphaforge_assets.venues.okx_feed import FEEDS, PUBLIC, checksum
from alphaforge_assets.venues.trade_rows import parse_trades
from alphaforge_assets_tests.streamed import MINUTE, Told, assert_loadable, bent, events, heard, kept, notices, steps

BUSINESS, PUBLIC_SPOT, BUSINESS_PERP, PUBLIC_PERP = FEEDS
SYMBOL = {"okx_spot": "BTC-USDT", "okx_perp": "BTC-USDT-SWAP"}
LAYOUT = {"okx_spot": okx.SPOT_CANDLE, "okx_perp": okx.SWAP_CANDLE}


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    with start(budget_scale=100) as url:
        yield url


# From the sandbox's sockets


@pytest.mark.parametrize("feed", [BUSINESS, BUSINESS_PERP], ids=lambda feed: feed.venue)
def test_closed_bars_are_those_of_rest_and_may_come_before_the_acknowledgement(base: str, feed: Feed) -> None:
    channel = Channel("bars", SYMBOL[feed.venue])
    told = heard(base, feed, [channel], lambda n: n["closed"] >= 3)
    assert [one.channels for one in notices(told)] == [(channel,)]
    assert isinstance(told[0], Event)
    closed = [bar for bar in events(told, "bars") if bar.is_closed]
    assert [bar.open_ms for bar in closed[-2:]] == [closed[-1].open_ms - MINUTE, closed[-1].open_ms]
    assert {bar.is_closed for bar in events(told, "bars")} == {True, False}
    query: dict[str, Any] = {"instId": channel.venue_symbol, "bar": "1m", "after": closed[-1].open_ms + 1, "limit": 2}
    rows = requests.get(f"{base}/api/v5/market/history-candles", params=query, timeout=5).json()["data"]
    assert [bar.record for bar in closed[-2:]] == rows[::-1]
    page = [bar.record for bar in closed]
    table = parse_rows(LAYOUT[feed.venue], page, MINUTE, closed[-1].open_ms + MINUTE)
    assert set(table["metadata"].to_pylist()) == {""}
    assert table["is_closed"].to_pylist() == [True] * len(table)


@pytest.mark.parametrize("feed", [PUBLIC_SPOT, PUBLIC_PERP], ids=lambda feed: feed.venue)
def test_trades_and_books_go_on_and_the_best_is_what_is_quoted(base: str, feed: Feed) -> None:
    channels = [Channel(kind, SYMBOL[feed.venue]) for kind in ("trades", "quotes", "books")]
    told = heard(base, feed, channels, lambda n: n["books"] >= 60 and n["trades"] >= 100)
    assert {one for notice in notices(told) for one in notice.channels} == set(channels)
    assert {one.what for one in notices(told)} == {"acknowledged"}
    trades, books = events(told, "trades"), events(told, "books")
    assert steps(trades) == (len(trades) - 1, 0)
    assert steps(books) == (len(books) - 1, 0)
    assert [book.is_snapshot for book in books] == [True] + [False] * (len(books) - 1)
    assert_trades_are_whole(feed, trades)
    quotes = {one.ids: one.record for one in events(told, "quotes")}
    seen = 0
    for book, (bids, asks) in zip(books, kept(books), strict=True):
        if quote := quotes.get(book.ids):
            seen += 1
            assert (quote["bid_price"], quote["bid_quantity"]) == bids[0]
            assert (quote["ask_price"], quote["ask_quantity"]) == asks[0]
    assert seen > 10


def assert_trades_are_whole(feed: Feed, trades: list[Event]) -> None:
    assert feed.trades
    page = parse_trades(feed.trades, [one.record for one in trades], SYMBOL[feed.venue], contract_size=0.01)
    ids = zip(page["first_id"].to_pylist(), page["last_id"].to_pylist(), strict=True)
    assert list(ids) == [one.ids for one in trades]
    assert (set(page["metadata"].to_pylist()), set(page["side"].to_pylist())) == ({""}, {"buy", "sell"})
    in_contracts = page["contract_quantity"].null_count == 0
    assert in_contracts == (feed.venue == "okx_perp")


def test_liquidations_are_of_all_swaps(base: str) -> None:
    channels = [Channel("liquidations", "BTC-USDT-SWAP"), Channel("liquidations", "ETH-USDT-SWAP")]
    told = heard(base, PUBLIC_PERP, channels, lambda n: n["liquidations"] >= 3)
    assert notices(told) == [Notice("acknowledged", channels=(Channel("liquidations", ""),))]
    for one in events(told, "liquidations"):
        assert one.venue_symbol.endswith("-SWAP")
        assert (one.record["order_side"], one.record["position_side"]) in (("sell", "long"), ("buy", "short"))
        assert (one.record["price_kind"], one.record["is_sampled"], one.record["metadata"]) == ("bankruptcy", True, "")
        assert float(one.record["contract_quantity"]) > 0
        assert float(one.record["price"]) > 0


def test_what_the_sandbox_says_of_troubles(base: str) -> None:
    told: list[Event | Notice] = []
    with connect(base.replace("http", "ws") + BUSINESS.path, compression=None, close_timeout=1) as ws:
        for text in (*BUSINESS.subscribe([Channel("bars", "NOPE-USDT")], 3), "nonsense", BUSINESS.ping):
            ws.send(text)
            told += BUSINESS.parse(ws.recv(timeout=5, decode=False))
        order = {"scope": "stream", "kind": "shutdown", "seconds": 0.1, "venue": "okx"}
        requests.post(f"{base}/_faults", json=order, timeout=5).raise_for_status()
        told += BUSINESS.parse(ws.recv(timeout=5, decode=False))
    refused, odd, pong, ending = notices(told)
    assert (refused.what, refused.channels) == ("refused", (Channel("bars", "NOPE-USDT"),))
    assert refused.reason.startswith("60018: Wrong URL or channel")
    assert (odd.what, odd.channels) == ("refused", ())
    assert (pong, ending.what) == (Notice("alive", "pong"), "ending")


# Recorded


def recorded_2022(folder: Path) -> list[bytes]:
    """Tickers, trades and books of two contracts and BTC-USDT in May 2022."""
    lines = (folder / "wire/cryptofeed-2021-2022/OKX.ws.1.0").read_bytes().splitlines()
    return [line.split(b": ", 1)[1] for line in lines if line and not line.startswith(b"wss:")]


def test_every_message_of_2022_is_read_and_books_have_their_checksums(recorded: Path) -> None:
    messages = recorded_2022(recorded)
    told = [one for message in messages for one in PUBLIC.parse(message)]
    kinds = Counter(one.kind if isinstance(one, Event) else one.what for one in told)
    assert kinds == {"acknowledged": 18, "quotes": 28, "trades": 74, "books": 290}
    assert len(messages) == kinds.total() == 410
    books = events(told, "books")
    assert [book.ids for book in books] == [None] * 290  # before OKX counted them
    for book, (bids, asks) in zip(books, kept(books), strict=True):
        assert checksum(bids, asks, {}) == book.record["checksum"]
    assert all(one.before is None for one in events(told, "trades"))
    assert_loadable(PUBLIC, told)


def recorded_2026(folder: Path, name: str) -> list[bytes]:
    return (folder / f"wire/websocket-2026/{name}.jsonl").read_bytes().splitlines()


def test_every_message_of_2026_is_read_and_trades_go_on(recorded: Path) -> None:
    candles = [one for message in recorded_2026(recorded, "okx_candle1m") for one in BUSINESS.parse(message)]
    assert isinstance(candles[0], Event)  # before the acknowledgement
    assert [one.channels for one in notices(candles)] == [(Channel("bars", s),) for s in ("BTC-USDT-SWAP", "BTC-USDT")]
    bars = events(candles, "bars")
    assert [(bar.open_ms, bar.is_closed) for bar in bars] == [(1786540440000, False)] * 2 + [(1786538760000, False)] * 2
    swap = parse_rows(okx.SWAP_CANDLE, [bar.record for bar in bars[:2]], MINUTE, 0).to_pylist()[-1]
    assert (swap["contract_volume"], swap["volume"], swap["metadata"]) == (1803.74, 18.0374, "")
    trades = [one for message in recorded_2026(recorded, "okx_trades") for one in PUBLIC.parse(message)]
    assert steps(events(trades, "trades")) == (2, 0)
    assert [one.ids for one in events(trades, "trades")] == [
        (2832749635, 2832749635),
        (2832749636, 2832749645),
        (1040968612, 1040968613),
        (1040968614, 1040968614),
    ]
    for one in events(trades, "trades"):
        page = parse_trades(PUBLIC_SPOT.trades or okx.SPOT_TRADE, [one.record], one.venue_symbol).to_pylist()[0]
        assert (page["trade_kind"], page["metadata"]) == ("aggregate", "")


# Made up

AT = 1_735_812_060_123
ARG = {"channel": "books", "instId": "BTC-USDT"}
BOOK = {"asks": [["1.1", "3", "0", "1"]], "bids": [["1.0", "0", "0", "0"]], "ts": str(AT), "checksum": 0, "seqId": 9,
        "prevSeqId": 7}  # fmt: skip
DETAIL = {"bkLoss": "0", "bkPx": "0.007831", "ccy": "", "posSide": "short", "side": "buy", "sz": "13", "ts": str(AT)}
SAID: dict[str, dict[str, Any]] = {
    "bars": {
        "arg": {"channel": "candle1m", "instId": "BTC-USDT"},
        "data": [["1735812000000", "1", "3", "0.5", "2", "7", "14", "14", "1"]],
    },
    "trades": {
        "arg": {"channel": "trades", "instId": "BTC-USDT"},
        "data": [{"instId": "BTC-USDT", "tradeId": "9", "px": "1.0", "sz": "2", "side": "buy", "ts": str(AT),
                  "count": "2", "source": "0", "seqId": 5}],
    },
    "liquidations": {
        "arg": {"channel": "liquidation-orders", "instType": "SWAP"},
        "data": [{"details": [DETAIL], "instFamily": "IOST-USDT", "instId": "IOST-USDT-SWAP", "instType": "SWAP",
                  "uly": "IOST-USDT"}],
    },
    "quotes": {
        "arg": {"channel": "bbo-tbt", "instId": "BTC-USDT"},
        "data": [{"asks": [["1.1", "3", "0", "1"]], "bids": [], "ts": str(AT), "seqId": 9}],
    },
    "books": {"arg": ARG, "action": "update", "data": [BOOK]},
}  # fmt: skip


def read_one(said: dict[str, Any]) -> Event:
    (one,) = PUBLIC_PERP.parse(orjson.dumps(said))
    assert isinstance(one, Event)
    return one


def test_what_is_told_of_each_kind() -> None:
    assert [read_one(said).kind for said in SAID.values()] == list(SAID)
    assert (read_one(SAID["bars"]).is_closed, read_one(SAID["bars"]).open_ms) == (True, 1_735_812_000_000)
    assert (read_one(SAID["trades"]).ids, read_one(SAID["trades"]).before) == ((8, 9), 7)
    assert read_one(SAID["quotes"]).record == {
        "bid_price": "", "bid_quantity": "", "ask_price": "1.1", "ask_quantity": "3"
    }  # fmt: skip
    book = read_one(SAID["books"])
    assert book.record == {"bids": [["1.0", "0"]], "asks": [["1.1", "3"]]}
    assert (book.ids, book.before, book.is_snapshot) == ((9, 9), 7, False)
    anew = read_one({"arg": ARG, "action": "snapshot", "data": [{**BOOK, "prevSeqId": -1}]})
    assert (anew.before, anew.is_snapshot) == (None, True)


def test_a_liquidation_in_net_mode_is_of_the_position_that_its_order_closes() -> None:
    said = {**SAID["liquidations"]}
    said["data"] = [{**said["data"][0], "details": [{**DETAIL, "posSide": "net", "bkLoss": "5"}]}]
    one, plain = read_one(said).record, read_one(SAID["liquidations"]).record
    assert (one["position_side"], one["metadata"]) == ("short", '{"bkLoss":"5","posSide":"net"}')
    assert (plain["metadata"], plain["contract_quantity"]) == ("", "13")
    assert one["liquidation_id"] != plain["liquidation_id"]


@pytest.mark.parametrize(
    "message",
    [
        *(b"", b"ping", b"null", b"7", b"[]", b"{}", b'{"arg":{"channel":"candle1H"}}', b'{"event":"login"}'),
        orjson.dumps({**SAID["bars"], "data": [["1735812000", *["1"] * 8]]}),
        orjson.dumps({**SAID["bars"], "data": [["1735812000000", *["1"] * 6, "true"]]}),
        orjson.dumps({**SAID["books"], "action": "other"}),
        orjson.dumps({**SAID["trades"], "arg": ARG | {"channel": "trades", "instId": "ETH-USDT"}}),
        b"[" * 5000 + b"]" * 5000,
    ],
)
def test_what_cannot_be_believed_is_unknown(message: bytes) -> None:
    (one,) = BUSINESS.parse(message)
    assert isinstance(one, Notice)
    assert one.what == "unknown"


ANSWERS = (
    b'{"id":"12","event":"subscribe","arg":{"channel":"trades","instId":"BTC-USDT"},"connId":"a4d3ae55"}',
    b'{"id":"12","event":"error","code":"60012","msg":"Invalid request: {}","connId":"a4d3ae55"}',
    b'{"event":"notice","code":"64008","msg":"The connection will soon be closed","connId":"a4d3ae55"}',
    b'{"event":"channel-conn-count","channel":"orders","connCount":"2","connId":"abcd1234"}',
)


def test_answers_say_what_they_answer() -> None:
    told: Told = [one for message in ANSWERS for one in PUBLIC.parse(message)]
    assert [(one.what, one.asked) for one in notices(told)] == [
        ("acknowledged", 12),
        ("refused", 12),
        ("ending", None),
        ("alive", None),
    ]


@given(st.one_of(st.binary(max_size=50), bent([*map(orjson.dumps, SAID.values()), *ANSWERS])))
def test_nothing_makes_it_raise_and_what_it_tells_can_be_loaded(message: bytes) -> None:
    assert_loadable(PUBLIC_SPOT, PUBLIC_SPOT.parse(message))


def test_what_is_asked_for() -> None:
    channels = [Channel("liquidations", "A-SWAP"), Channel("liquidations", "B-SWAP"), Channel("quotes", "A-SWAP")]
    (asked,) = PUBLIC_PERP.subscribe(channels, 3)
    assert json.loads(asked) == {
        "id": "3",
        "op": "subscribe",
        "args": [
            {"channel": "liquidation-orders", "instType": "SWAP"},
            {"channel": "bbo-tbt", "instId": "A-SWAP"},
        ],
    }
    many = BUSINESS.subscribe([Channel("bars", f"S{n}-USDT") for n in range(250)], 1)
    assert [(json.loads(text)["id"], len(json.loads(text)["args"])) for text in many] == [
        ("1", 100), ("2", 100), ("3", 50)
    ]  # fmt: skip
