"""Trades of a venue: the walk by ids as a law, what a record means, and a real connection whose pages go wrong."""

import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from alphaforge_assets.errors import BadInput, VenueUnavailable
from alphaforge_assets.sandbox import process
from alphaforge_assets.venues.bars import Window
from alphaforge_assets.venues.binance import AGGREGATE
from alphaforge_assets.venues.rest import RestConnection
from alphaforge_assets.venues.source import Patience
from alphaforge_assets.venues.trade_pages import by_times, check_ids, check_times, newest, oldest, sought
from alphaforge_assets.venues.trade_rows import TRADE_SCHEMA, parse_trades
from alphaforge_assets.venues.trades import (
    contradictions_ms,
    distinct,
    missing_ids,
    walk,
)
from alphaforge_assets_tests.conftest import open_venue
from alphaforge_assets_tests.installed import call, fault

NOW = dt.datetime(2025, 6, 2, 0, 55, tzinfo=dt.UTC)
START, END = dt.datetime(2025, 6, 2, tzinfo=dt.UTC), dt.datetime(2025, 6, 2, 0, 54, tzinfo=dt.UTC)
BRIEF = Patience(request_s=5, total_s=20, attempts=4, wait_first_s=0.01, wait_max_s=0.05, jitter_s=0.01)
PATH = "/api/v3/aggTrades"


def table(ids: list[int], times_ms: list[int], prices: list[float] | None = None) -> pa.Table:
    count = len(ids)
    number = pa.array(ids, pa.uint64())
    columns = {
        "timestamp": pa.array([ms * 1000 for ms in times_ms], pa.int64()).view(pa.timestamp("us", "UTC")),
        "trade_kind": pa.repeat(pa.scalar("single"), count),
        "trade_id": number,
        "trade_uuid": pa.repeat(pa.scalar(""), count),
        "first_id": number,
        "last_id": number,
        "side": pa.repeat(pa.scalar("buy"), count),
        "price": pa.array(prices or [1.0] * count, pa.float64()),
        "quantity": pa.repeat(pa.scalar(1.0), count),
        "quote_quantity": pa.nulls(count, pa.float64()),
        "contract_quantity": pa.nulls(count, pa.float64()),
        "metadata": pa.repeat(pa.scalar(""), count),
    }
    return pa.table(columns, schema=TRADE_SCHEMA)


def ids_of(found: pa.Table) -> list[int]:
    return list(found["trade_id"].to_pylist())


class Venue:
    """Trades with ids from `first` on, at `times`, some of which it keeps for itself; pages of `rows` at most."""

    def __init__(self, first: int, times: list[int], rows: int, hidden: set[int]) -> None:
        kept = [(first + n, ms) for n, ms in enumerate(times) if first + n not in hidden]
        self.ids, self.times = [i for i, _ in kept], [ms for _, ms in kept]
        self.rows, self.asked = rows, 0

    def _page(self, places: list[int], rows: int) -> pa.Table:
        self.asked += 1
        places = places[: min(rows, self.rows)]
        return table([self.ids[n] for n in places], [self.times[n] for n in places])

    def by_time(self, start_ms: int, end_ms: int, rows: int) -> pa.Table:
        return self._page([n for n, ms in enumerate(self.times) if start_ms <= ms < end_ms], rows)

    def newest(self, start_ms: int, end_ms: int, rows: int) -> pa.Table:
        return self._page([n for n, ms in enumerate(self.times) if start_ms <= ms < end_ms][-1:], rows)

    def by_id(self, first: int, rows: int) -> pa.Table:
        return self._page([n for n, i in enumerate(self.ids) if i >= first], rows)

    def near(self, last: int | None) -> pa.Table:
        return self._page([n for n, i in enumerate(self.ids) if last is None or i <= last][-1:], 1)

    def since(self, start_ms: int, rows: int) -> pa.Table:
        return self._page([n for n, ms in enumerate(self.times) if ms >= start_ms], rows)

    def walked(self, how: str, window: Window) -> pa.Table:
        told, pages = oldest(window, 3_600_000, 25, self.by_time), self.by_id
        if how == "newest":
            told = newest(window, self.newest)
        if how == "sought":
            told = sought(window, 25, self.near)
        if how == "times":
            told, pages = oldest(window, 10**12, 25, self.by_time), by_times(window, 25, self.since)
        return walk(window, 25, told, pages)


@settings(max_examples=300)
@example(first=0, steps=[0, 0, 0, 0], rows=1, hidden=set(), window=(0, 1), how="newest")
@example(first=31, steps=[0, 0, 0, 0, 0, 0], rows=1, hidden={35}, window=(0, 1), how="newest")
@given(
    first=st.integers(0, 50),
    steps=st.lists(st.integers(0, 3_000_000), max_size=60),
    rows=st.integers(1, 25),
    hidden=st.sets(st.integers(0, 110), max_size=10),
    window=st.tuples(st.integers(0, 60_000_000), st.integers(1, 40_000_000)),
    how=st.sampled_from(["oldest", "newest", "sought", "times"]),
)
def test_a_walk_brings_every_trade_of_its_window_once(
    first: int, steps: list[int], rows: int, hidden: set[int], window: tuple[int, int], how: str
) -> None:
    if how == "times":  # of trades that share a moment no page may begin among them
        steps = [ms + 1 for ms in steps]
    venue = Venue(first, [int(ms) for ms in np.cumsum(steps)], max(2, rows) if how == "times" else rows, hidden)
    start, end = window[0], window[0] + window[1]
    found = venue.walked(how, Window(start, end))
    expected = [i for i, ms in zip(venue.ids, venue.times, strict=True) if start <= ms < end]
    assert ids_of(found) == expected
    # A page each, the probes by time, what is asked again for holes, and the silence at the end.
    assert venue.asked <= 2 * (window[1] // 3_600_000 + 1) + 3 * (len(expected) // min(rows, 25) + len(hidden)) + 30


def test_what_is_the_same_is_one_and_what_differs_is_two() -> None:
    found = distinct(table([5, 3, 4, 3, 5, 4], [50, 30, 40, 30, 50, 40], [5.0, 3.0, 4.0, 3.5, 5.0, 4.0]))
    assert ids_of(found) == [3, 3, 4, 5]
    assert found["price"].to_pylist() == [3.0, 3.5, 4.0, 5.0]
    assert contradictions_ms(found) == [30]
    assert contradictions_ms(found.slice(1)) == []
    assert missing_ids(table([3, 4, 9], [1, 2, 3]), 1) == [(1, 2), (5, 8)]


def test_a_record_keeps_what_is_said() -> None:
    row = {"a": 26129, "p": "0.01633102", "q": "4.70443515", "f": 27781, "l": 27783, "T": 1498793709153, "m": True}
    rows = [row | {"M": True}, row | {"M": False, "a": 26130, "m": False}, row | {"a": 26131, "nq": "4.7"}]
    found = parse_trades(AGGREGATE, rows, "BTCUSDT")
    assert found.schema == TRADE_SCHEMA
    assert found["side"].to_pylist() == ["sell", "buy", "sell"]
    assert found["metadata"].to_pylist() == ["", '{"M":false}', '{"nq":"4.7"}']
    first = found.slice(0, 1).to_pylist()[0]
    assert (first["price"], first["quantity"], first["first_id"], first["last_id"]) == (
        0.01633102, 4.70443515, 27781, 27783,
    )  # fmt: skip
    assert first["timestamp"] == dt.datetime(2017, 6, 30, 3, 35, 9, 153000, dt.UTC)
    assert (first["trade_kind"], first["quote_quantity"]) == ("aggregate", None)


def test_what_cannot_be_read_is_kept_as_it_came() -> None:
    row = {"a": 1, "p": "1.5", "q": "2", "f": 1, "l": 1, "T": 1498793709153, "m": True}
    rows: list[dict[str, Any]] = [row | {"p": "x"}, row | {"m": "maybe"}, {k: v for k, v in row.items() if k != "q"}]
    found = parse_trades(AGGREGATE, rows, "BTCUSDT")
    assert found["price"].to_pylist() == [None, 1.5, 1.5]
    assert found["side"].to_pylist() == ["sell", "", "sell"]
    assert found["quantity"].to_pylist() == [2.0, 2.0, None]
    assert all(text.startswith('{"row":{') for text in found["metadata"].to_pylist())
    for bad in ("x", [1], [row | {"T": 1498793709}], [row | {"a": -1}], [row | {"a": None}]):
        with pytest.raises(VenueUnavailable, match="the page is not trusted"):
            parse_trades(AGGREGATE, bad, "BTCUSDT")
    assert parse_trades(AGGREGATE, [], "BTCUSDT").num_rows == 0


def test_a_page_of_other_trades_is_not_trusted() -> None:
    page = table([5, 6], [1000, 2000])
    assert check_ids(page, 5, 3000) is page
    assert check_times(page, 1000, 2001) is page
    for refused in (
        lambda: check_ids(page, 6, 3000),
        lambda: check_ids(page, 5, 2000),
        lambda: check_times(page, 1001, 3000),
        lambda: check_times(page, 1000, 2000),
    ):
        with pytest.raises(VenueUnavailable, match="is not trusted"):
            refused()


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, RestConnection]]:
    governor = tmp_path_factory.mktemp("governor") / "governor.sqlite3"
    with process.start(now=NOW, budget_scale=1000.0) as url:
        more: dict[str, Any] = {"patience": BRIEF, "limits_factor": 1000.0}
        with open_venue("binance_spot", base_url=url, governor_file=governor, **more) as connection:
            yield url, connection


@pytest.fixture
def fetch(opened: tuple[str, RestConnection]) -> Iterator[Callable[..., pa.Table]]:
    """The trades of a window, with this fault on order."""
    url, connection = opened

    def fetch(**order: Any) -> pa.Table:
        if order:
            fault(url, path=PATH, **order)
        return connection.submit("trades", "ETHBTC", "", START, END, NOW).result(60).table

    yield fetch
    call(f"{url}/_faults", method="DELETE")


FAULTS = [
    pytest.param({"kind": "holes", "start": 3, "rows": 40}, id="trades lost in a page"),
    pytest.param({"kind": "holes", "start": 0, "rows": 600}, id="the first part of a page lost"),
    pytest.param({"kind": "elsewhere", "value": 700}, id="a page lost"),
    pytest.param({"kind": "elsewhere", "value": -700}, id="a page told again"),
    pytest.param({"kind": "turned"}, id="a page out of order"),
    pytest.param({"kind": "double", "value": 1, "start": 5, "rows": 200}, id="trades doubled"),
    pytest.param({"kind": "short", "rows": 7}, id="a short page"),
    pytest.param({"kind": "empty"}, id="an empty page"),
    pytest.param({"kind": "truncate"}, id="half a page"),
    pytest.param({"kind": "html"}, id="a page of a front"),
    pytest.param({"kind": "unit", "value": 1000}, id="times in microseconds"),
    pytest.param({"kind": "moved", "value": 600}, id="times of another day"),
]


@pytest.mark.parametrize("order", FAULTS)
@pytest.mark.parametrize("skip", [0, 1, 2], ids=["by time", "the first by id", "the second by id"])
def test_what_becomes_of_a_page_loses_and_doubles_nothing(
    order: dict[str, Any], skip: int, fetch: Callable[..., pa.Table]
) -> None:
    true = fetch()
    assert missing_ids(true, true["trade_id"][0].as_py()) == []
    assert fetch(skip=skip, **order).equals(true)


@pytest.mark.parametrize("order", FAULTS)
@pytest.mark.parametrize("skip", [1, 2], ids=["the first by id", "the second by id"])
def test_what_is_told_wrong_twice_is_refused_or_seen_to_be_missing(
    order: dict[str, Any], skip: int, fetch: Callable[..., pa.Table]
) -> None:
    true = fetch()
    try:
        found = fetch(skip=skip, times=2, **order)
    except VenueUnavailable:
        return
    first = true["trade_id"][0].as_py()
    missing = sum(high - low + 1 for low, high in missing_ids(found, first))
    assert missing == true.num_rows - found.num_rows
    assert true.filter(pc.is_in(true["trade_id"], found["trade_id"])).equals(found)


def test_a_trade_with_two_values_comes_with_both(fetch: Callable[..., pa.Table]) -> None:
    true = fetch()
    found = fetch(kind="double", value=1.5, start=10, rows=2, skip=1)
    assert found.num_rows == true.num_rows + 2
    assert len(contradictions_ms(found)) in (1, 2)


# Those that are walked in another way than Binance, each with a symbol of a few pages: by ids from a time before which
# it tells the newest; by ids alone; by times alone.
OTHERS = {
    "okx_spot": ("ETH-BTC", "/api/v5/market/history-trades", 20),
    "okx_perp": ("XRP-USDT-SWAP", "/api/v5/market/history-trades", 2),
    "coinbase_spot": ("ETH-BTC", "/products/{id}/trades", 54),
    "kraken_spot": ("XETHXXBT", "/0/public/Trades", 54),
}


@pytest.fixture(scope="module", params=OTHERS)
def other(
    request: pytest.FixtureRequest, opened: tuple[str, RestConnection], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Callable[..., pa.Table], pa.Table]]:
    """A venue's name, how to fetch a window of it with a fault on order, and what it truly has."""
    symbol, path, minutes = OTHERS[request.param]
    governor, end = tmp_path_factory.mktemp("governor") / "g.sqlite3", START + dt.timedelta(minutes=minutes)
    more: dict[str, Any] = {"patience": BRIEF, "limits_factor": 1000.0}
    with open_venue(request.param, base_url=opened[0], governor_file=governor, **more) as connection:

        def fetch(**order: Any) -> pa.Table:
            if order:
                fault(opened[0], path=path, **order)
            try:
                return connection.submit("trades", symbol, "", START, end, NOW).result(60).table
            finally:
                call(f"{opened[0]}/_faults", method="DELETE")

        yield request.param, fetch, fetch()


def test_every_venue_tells_all_its_trades(other: tuple[str, Callable[..., pa.Table], pa.Table]) -> None:
    name, _, true = other
    ids = ids_of(true)
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert len(ids) > (100 if name.startswith("okx") else 300)
    assert set(true["side"].to_pylist()) == {"buy", "sell"}
    assert set(true["trade_kind"].to_pylist()) == {"single"}
    assert set(true["metadata"].to_pylist()) == ({"", '{"order":"l"}'} if name == "kraken_spot" else {""})
    assert START <= true["timestamp"][0].as_py() < START + dt.timedelta(minutes=1)
    is_fine = pc.any(pc.not_equal(pc.microsecond(true["timestamp"]), 0)).as_py()
    assert is_fine == (name in ("coinbase_spot", "kraken_spot"))
    contracts = true["contract_quantity"]
    if name == "okx_perp":
        assert true["quantity"].to_pylist() == [round(n * 100, 6) for n in contracts.to_pylist()]  # XRP a contract
    else:
        assert contracts.null_count == len(ids)


@pytest.mark.parametrize("order", FAULTS)
def test_no_page_of_any_venue_loses_or_doubles(
    order: dict[str, Any], other: tuple[str, Callable[..., pa.Table], pa.Table]
) -> None:
    name, fetch, true = other
    for skip in (0, 1, 3):
        assert fetch(skip=skip, **order).equals(true), (name, skip)


@pytest.mark.parametrize("order", FAULTS)
def test_what_any_venue_tells_wrong_twice_is_refused_or_seen_to_be_missing(
    order: dict[str, Any], other: tuple[str, Callable[..., pa.Table], pa.Table]
) -> None:
    _, fetch, true = other
    try:
        found = fetch(skip=2, times=2, **order)
    except VenueUnavailable:
        return
    missing = sum(high - low + 1 for low, high in missing_ids(found, true["trade_id"][0].as_py()))
    assert missing == true.num_rows - found.num_rows
    assert true.filter(pc.is_in(true["trade_id"], found["trade_id"])).equals(found)


def test_a_trade_that_any_venue_tells_with_two_values_comes_with_both(
    other: tuple[str, Callable[..., pa.Table], pa.Table],
) -> None:
    _, fetch, true = other
    found = fetch(kind="double", value=1.5, start=50, rows=2, times=1000)
    assert found.num_rows > true.num_rows
    assert contradictions_ms(found)


def test_who_has_no_trades_says_so(tmp_path: Path) -> None:
    venue = open_venue("binanceus_spot", base_url="http://127.0.0.1:1", governor_file=tmp_path / "g.sqlite3")
    with venue as connection, pytest.raises(BadInput, match="binanceus_spot: we do not know to ask it for trades"):
        connection.submit("trades", "BTCUSDT", "", START, END, NOW)
