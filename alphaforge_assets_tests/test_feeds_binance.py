"""Binance's feeds: what they ask for, and what they read, recorded, from the sandbox's sockets, and made up."""

import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import requests
from websockets.sync.client import connect

from alphaforge_assets.sandbox.process import start
from alphaforge_assets.venues import binance, binance_feed
from alphaforge_assets.venues.columns import parse_rows
from alphaforge_assets.venues.feed import Channel, Event, Feed, Notice

BEGIN = "2025-01-02T10:00:50Z"
MINUTE = 60_000


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    with start(budget_scale=100) as url:
        yield url


def heard(base: str, feed: Feed, channels: Sequence[Channel], closes: int) -> list[Event | Notice]:
    """What is told until so many bars are closed, at sixty times the speed."""
    requests.post(f"{base}/_clock", json={"now": BEGIN, "rate": 60}, timeout=5).raise_for_status()
    found: list[Event | Notice] = []
    with connect(base.replace("http", "ws") + feed.path, compression=None, close_timeout=1) as ws:
        for text in feed.subscribe(channels, 7):
            ws.send(text)
        while sum(1 for one in found if isinstance(one, Event) and one.is_closed) < closes:
            message = ws.recv(timeout=20, decode=False)
            found += feed.parse(message)
    return found


def bars_of(told: Sequence[Event | Notice]) -> list[Event]:
    return [one for one in told if isinstance(one, Event) and one.kind == "bars"]


def test_bars_are_rows_as_rest_has_them(base: str) -> None:
    told = heard(base, binance_feed.SPOT, [Channel("bars", "BTCUSDT")], 3)
    assert told[0] == Notice("acknowledged", asked=7)
    bars = bars_of(told)
    assert len(bars) == len(told) - 1
    assert any(bar.is_closed is False for bar in bars)
    closed = [bar for bar in bars if bar.is_closed]
    assert [bar.open_ms for bar in closed] == [closed[0].open_ms + n * MINUTE for n in range(3)]
    query: dict[str, Any] = {"symbol": "BTCUSDT", "interval": "1m", "startTime": closed[0].open_ms, "limit": 3}
    assert [bar.record for bar in closed] == requests.get(f"{base}/api/v3/klines", params=query, timeout=5).json()
    assert all(a.ids and a.ids[1] == b.before for a, b in pairwise(closed))
    table = parse_rows(binance.KLINE, [bar.record for bar in bars], MINUTE, closed[-1].at_ms)
    assert set(table["metadata"].to_pylist()) == {""}


def recordings(folder: Path) -> list[bytes]:
    """The messages of Binance US as recorded in October 2021."""
    lines = (folder / "wire/cryptofeed-2021-2022/BINANCE_US.ws.1.0").read_bytes().splitlines()[1:]
    return [line.split(b": ", 1)[1] for line in lines if line]


def test_recorded_bars(recorded: Path) -> None:
    messages = [message for message in recordings(recorded) if b"@kline_1m" in message]
    told = [one for message in messages for one in binance_feed.US.parse(message)]
    bars = bars_of(told)
    assert len(bars) == len(told) == len(messages) == 5
    for bar, message in zip(bars, messages, strict=True):
        k = json.loads(message)["data"]["k"]
        assert (bar.venue_symbol, bar.open_ms, bar.is_closed, bar.ids) == (k["s"], k["t"], k["x"], (k["f"], k["L"]))
        assert bar.record == [k[name] for name in "tohlcvTqnVQB"]
    table = parse_rows(binance.KLINE, [bar.record for bar in bars], MINUTE, bars[-1].at_ms)
    assert set(table["metadata"].to_pylist()) == {""}
