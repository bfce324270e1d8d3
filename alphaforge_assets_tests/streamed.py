"""What tests of feeds share: the sandbox's stream as a feed reads it, chains of ids, and messages that are bent."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import requests
from hypothesis import strategies as st
from websockets.sync.client import connect

from alphaforge_assets.venues.columns import parse_rows
from alphaforge_assets.venues.directory import VENUES
from alphaforge_assets.venues.feed import Channel, Event, Feed, Notice
from alphaforge_assets.venues.trade_rows import parse_trades

BEGIN = "2025-01-02T10:00:50Z"
MINUTE = 60_000

Told = Sequence[Event | Notice]


def heard(base: str, feed: Feed, channels: Sequence[Channel], is_enough: Callable[[Counter[str]], bool]) -> Told:
    """What is told at sixty times the speed until it is enough: so many events of a kind, and of closed bars.

    All of it is understood.
    """
    requests.post(f"{base}/_clock", json={"now": BEGIN, "rate": 60}, timeout=5).raise_for_status()
    found: list[Event | Notice] = []
    counts: Counter[str] = Counter()
    with connect(base.replace("http", "ws") + feed.path, compression=None, close_timeout=1) as ws:
        for text in feed.subscribe(channels, 7):
            ws.send(text)
        while not is_enough(counts):
            told = feed.parse(ws.recv(timeout=20, decode=False))
            counts.update(one.kind if isinstance(one, Event) else one.what for one in told)
            counts["closed"] += sum(1 for one in told if isinstance(one, Event) and one.is_closed is True)
            found += told
    assert not counts["unknown"], [one for one in notices(found) if one.what == "unknown"][:3]
    return found


def events(told: Told, kind: str) -> list[Event]:
    return [one for one in told if isinstance(one, Event) and one.kind == kind]


def notices(told: Told) -> list[Notice]:
    return [one for one in told if isinstance(one, Notice)]


def steps(told: Sequence[Event]) -> tuple[int, int]:
    """How many events went on from the one before of their symbol, and how many did not."""
    last: dict[str, int] = {}
    whole, broken = 0, 0
    for one in told:
        if one.ids is None:
            continue
        if one.before is not None and one.venue_symbol in last:
            goes_on = one.before == last[one.venue_symbol]
            whole, broken = whole + goes_on, broken + (not goes_on)
        last[one.venue_symbol] = one.ids[1]
    return whole, broken


Side = list[tuple[str, str]]


def kept(books: Sequence[Event], levels: int | None = None) -> Iterator[tuple[Side, Side]]:
    """Bids and asks after each change, the best first, of as many books as there are symbols."""
    whole: dict[str, tuple[dict[str, str], dict[str, str]]] = {}
    for book in books:
        if book.is_snapshot:
            whole[book.venue_symbol] = ({}, {})
        sides = whole[book.venue_symbol]
        for side, name, is_falling in zip(sides, ("bids", "asks"), (True, False), strict=True):
            side.update(book.record[name])
            best = sorted((price for price in side if float(side[price])), key=float, reverse=is_falling)[:levels]
            left = [(price, side[price]) for price in best]
            side.clear()
            side.update(left)
        yield list(sides[0].items()), list(sides[1].items())


ODD = st.one_of(
    *(st.none(), st.booleans(), st.integers(-(2**64), 2**64), st.floats(allow_nan=False, allow_infinity=False)),
    *(st.text(max_size=5), st.just("1" * 5000)),
    *(st.builds(list), st.builds(dict), st.builds(lambda: [["1", "2"]]), st.builds(lambda: [{}])),  # each its own
)


@st.composite
def bent(draw: st.DrawFn, messages: Sequence[bytes]) -> bytes:
    """A real message of which something is another thing, or gone, or doubled, or cut off."""
    value = json.loads(draw(st.sampled_from(messages)))
    for _ in range(draw(st.integers(1, 3))):
        value = _bend(draw, value)
    text = json.dumps(value).encode()
    return text[: draw(st.integers(0, len(text)))] if draw(st.integers(0, 9)) == 0 else text


def _bend(draw: st.DrawFn, value: Any) -> Any:
    if not isinstance(value, (dict, list)) or not value:
        return draw(ODD)
    key: Any = draw(st.sampled_from(sorted(value) if isinstance(value, dict) else range(len(value))))
    match draw(st.integers(0, 5)):
        case 0:
            del value[key]
        case 1:
            value[key] = draw(ODD)
        case 2 if isinstance(value, list):
            value.append(value[key])
        case 2 if isinstance(value, dict):
            value[draw(st.text(max_size=3))] = draw(ODD)
        case _:
            value[key] = _bend(draw, value[key])
    return value


def assert_loadable(feed: Feed, told: Told) -> None:
    """Whatever the feed told, those who load it can read a page of it."""
    assert all(isinstance(one, (Event, Notice)) for one in told)
    for one in events(told, "bars"):
        assert parse_rows(VENUES[feed.venue].bars.layout, [one.record], MINUTE, one.open_ms).num_rows == 1
    for one in events(told, "trades"):
        assert feed.trades
        assert parse_trades(feed.trades, [one.record], one.venue_symbol).num_rows == 1
    for one in events(told, "quotes"):
        assert all(isinstance(text, str) for text in one.record.values())
    for one in events(told, "books"):
        levels = [*one.record["bids"], *one.record["asks"]]
        assert all(len(level) == 2 and all(isinstance(text, str) for text in level) for level in levels)
