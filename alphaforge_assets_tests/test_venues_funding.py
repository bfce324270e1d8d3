"""Settlements of a venue: paging as a law, what a row means, and real connections to the sandbox. Some 15 s."""

import datetime as dt
import json
import urllib.request
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphaforge_assets.errors import BadInput, UnknownSymbol, VenueUnavailable
from alphaforge_assets.sandbox import process
from alphaforge_assets.venues.bars import Window, check_page
from alphaforge_assets.venues.directory import VENUES
from alphaforge_assets.venues.funding import (
    FUNDING_SCHEMA,
    HOUR_MS,
    MINUTE_MS,
    FundingPage,
    keyed,
    parse_settlements,
    raw_window,
    walk,
)
from alphaforge_assets.venues.rest import HORIZON_MS
from alphaforge_assets.venues.source import Connection, Patience
from alphaforge_assets.venues.venue import FundingFeed, Venue
from alphaforge_assets_tests.conftest import open_venue

PERPS = [name for name, venue in VENUES.items() if venue.funding]
T0 = 1_735_689_600_000  # 2025-01-01
NOW = dt.datetime(2026, 1, 15, 12, 0, 30, tzinfo=dt.UTC)
TODAY = dt.datetime(2026, 1, 15, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
SCALE = 1000.0
BRIEF = Patience(request_s=5, total_s=20, attempts=4, wait_first_s=0.01, wait_max_s=0.05, jitter_s=0.01)

# Hours between settlements, which change as they like, and the milliseconds each is late.
SERIES = st.lists(st.tuples(st.sampled_from([1, 2, 4, 8, 8, 8, 100]), st.integers(0, 60)), max_size=150)


def said(name: str) -> FundingFeed:
    funding = VENUES[name].funding
    assert funding is not None
    return funding


def times(series: list[tuple[int, int]], begin: int) -> list[int]:
    at, found = begin, []
    for hours, late in series:
        found.append(at + late)
        at += hours * HOUR_MS
    return found


def speak(venue: Venue, settled: list[tuple[int, str]], limit: int, params: dict[str, Any]) -> Any:
    """The venue's answer as its documentation has it. `settled` is (time, type) in order of time."""
    ms = [t for t, _ in settled]
    most = min(int(params["limit"]), limit)
    if venue.exchange == "binance":
        found = settled[bisect_left(ms, params["startTime"]) :][:most]
        return [
            {"symbol": "X", "fundingTime": t, "fundingRate": "0.0001", "markPrice": "", "rateType": kind}
            for t, kind in found
        ]
    if venue.exchange == "okx":
        assert "before" not in params
        rows = settled[: bisect_left(ms, int(params["after"]))][-most:][::-1]
        record = {"instId": "X", "instType": "SWAP", "fundingRate": "0.0002", "realizedRate": "0.0001"}
        return {"code": "0", "data": [record | {"fundingTime": str(t)} for t, _ in rows]}
    assert "startTime" not in params
    rows = settled[: bisect_left(ms, params["endTime"] + 1)][-most:][::-1]
    record = {"symbol": "X", "fundingRate": "0.0001"}
    return {"retCode": 0, "result": {"list": [record | {"fundingRateTimestamp": str(t)} for t, _ in rows]}}


@settings(max_examples=200)
@given(
    name=st.sampled_from(PERPS),
    series=SERIES,
    limit=st.integers(2, 300),
    begin=st.integers(-900, 200),
    minutes=st.integers(0, 60 * 24 * 60),
    specials=st.sets(st.integers(0, 149), max_size=10),
)
def test_nothing_is_lost_and_nothing_comes_twice(
    name: str, series: list[tuple[int, int]], limit: int, begin: int, minutes: int, specials: set[int]
) -> None:
    """Whatever the interval, the venue's page and its delays; two kinds may share a time, even across two pages."""
    venue, funding = VENUES[name], said(name)
    settled = []
    for n, t in enumerate(times(series, T0 + begin * HOUR_MS)):
        settled.append((t, "Regular"))
        if n in specials and venue.exchange == "binance":
            settled.append((t, "Special"))
    start, end = T0, T0 + minutes * MINUTE_MS
    requests = 0

    def page(cursor_ms: int, rows: int) -> pa.Table:
        nonlocal requests
        requests += 1
        call = funding.ask(FundingPage("X", cursor_ms, rows))
        answer = funding.rows(speak(venue, settled, limit, dict(call.params)))
        table = parse_settlements(funding.fields, answer, "X", end)
        return check_page(table, cursor_ms, max(end, T0 + 10**12) + HORIZON_MS, ascending=funding.ascending)

    table = keyed(walk(raw_window(start, end), funding.rows_max, page, ascending=funding.ascending))
    expected = [
        (t, kind.lower()) for t, kind in settled if start <= (t + MINUTE_MS // 2) // MINUTE_MS * MINUTE_MS < end
    ]
    raw = table["timestamp_raw"].cast(pa.int64()).to_pylist()
    assert sorted(zip(raw, table["rate_type"].to_pylist(), strict=True)) == expected
    assert table.schema == FUNDING_SCHEMA
    assert all(r["timestamp"].second == 0 for r in table.to_pylist())
    assert requests <= 2 * len(expected) // (min(limit, funding.rows_max) - 1) + 8


@given(
    copies=st.lists(st.integers(1, 2), min_size=20, max_size=40),
    limit=st.integers(3, 9),
    ascending=st.booleans(),
    window=st.tuples(st.integers(0, 5), st.integers(15, 45)),
)
def test_rows_of_one_time_cut_apart_by_a_page_are_both_there(
    copies: list[int], limit: int, ascending: bool, window: tuple[int, int]
) -> None:
    fields = said("binance_perp").fields
    records = [
        {"symbol": "X", "fundingTime": T0 + n * HOUR_MS, "fundingRate": "0", "rateType": str(kind)}
        for n, kinds in enumerate(copies)
        for kind in range(kinds)
    ]
    ms = [r["fundingTime"] for r in records]

    def page(cursor_ms: int, rows: int) -> pa.Table:
        at = bisect_left(ms, cursor_ms)
        found = records[at : at + limit] if ascending else records[max(0, at - limit) : at]
        return parse_settlements(fields, found, "X", T0)

    first, last = (T0 + n * HOUR_MS for n in window)
    table = walk(Window(first, last), 1000, page, ascending=ascending)
    assert table.num_rows == sum(first <= t < last for t in ms)


def test_a_venue_that_never_ends_is_given_up() -> None:
    forever = iter(range(T0, T0 + 10**9))

    def page(cursor_ms: int, rows: int) -> pa.Table:
        record = {"symbol": "X", "fundingRateTimestamp": str(next(forever)), "fundingRate": "0"}
        return parse_settlements(said("bybit_perp").fields, [record], "X", T0)

    with pytest.raises(VenueUnavailable, match="never comes to its end"):
        walk(Window(T0, T0 + 10**9), 1000, page, ascending=True)


def parsed(name: str, *records: dict[str, Any], before: int = T0 + HOUR_MS) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = keyed(
        parse_settlements(said(name).fields, list(records), "BTCUSDT", before)
    ).to_pylist()
    return rows


BINANCE = {"symbol": "BTCUSDT", "fundingTime": T0 + 7, "fundingRate": "-0.00003385", "markPrice": "61655.56078986"}


def test_a_row_of_binance() -> None:
    (row,) = parsed("binance_perp", BINANCE)
    assert (row["rate"], row["mark_price"]) == (-0.00003385, 61655.56078986)
    assert (row["timestamp"].timestamp() * 1000, row["timestamp_raw"].timestamp() * 1000) == (T0, T0 + 7)
    assert (row["rate_type"], row["is_settled"], row["unreadable"], row["metadata"]) == ("regular", True, "", "")
    assert row["predicted_rate"] is None
    (empty,) = parsed("binance_perp", BINANCE | {"markPrice": "", "news": 1})
    assert (empty["mark_price"], empty["unreadable"], empty["metadata"]) == (None, "", '{"news":1}')


def test_predicted_and_settled_are_two_columns() -> None:
    record = {"instId": "BTCUSDT", "fundingTime": str(T0), "fundingRate": "0.0003", "realizedRate": "0.0001"}
    (row,) = parsed("okx_perp", record | {"method": "current_period"})
    assert (row["rate"], row["predicted_rate"]) == (0.0001, 0.0003)
    assert json.loads(row["metadata"]) == {"method": "current_period"}
    (unsettled,) = parsed("okx_perp", record | {"realizedRate": ""})
    assert (unsettled["rate"], unsettled["unreadable"]) == (None, "")


def test_two_kinds_at_one_time_and_one_time_said_twice() -> None:
    regular, special = BINANCE | {"rateType": "Regular"}, BINANCE | {"rateType": "Special", "fundingRate": "0.01"}
    assert [r["rate_type"] for r in parsed("binance_perp", regular, special, regular)] == ["regular", "special"]
    jittered = parsed("binance_perp", BINANCE, BINANCE | {"fundingTime": T0 + 9})
    assert len({r["timestamp"] for r in jittered}) == 1
    assert len(jittered) == 2  # landing keeps both


@pytest.mark.parametrize("bad", ["abc", "NaN", "Infinity", [], {}, True, 1e999])
def test_what_is_no_number_is_kept_as_it_came(bad: Any) -> None:
    (row,) = parsed("binance_perp", BINANCE | {"markPrice": bad})
    assert (row["mark_price"], row["unreadable"], row["rate"]) == (None, "mark_price", -0.00003385)
    assert json.loads(row["metadata"])["row"]["fundingRate"] == "-0.00003385"


def test_what_is_not_yet_settled_says_so() -> None:
    rows = parsed("binance_perp", BINANCE, BINANCE | {"fundingTime": T0 + HOUR_MS + 1})
    assert [r["is_settled"] for r in rows] == [True, False]


@pytest.mark.parametrize(
    "rows",
    [
        {},
        [[]],
        ["x"],
        [BINANCE | {"symbol": "ETHUSDT"}],
        [{k: v for k, v in BINANCE.items() if k != "symbol"}],
        [BINANCE | {"fundingTime": T0 // 1000}],
        [BINANCE | {"fundingTime": "soon"}],
        [BINANCE | {"fundingTime": None}],
    ],
)
def test_a_page_that_cannot_be_trusted(rows: Any) -> None:
    with pytest.raises(VenueUnavailable, match="not trusted"):
        parse_settlements(said("binance_perp").fields, rows, "BTCUSDT", T0)


@given(st.integers(-29_999, 29_999), st.integers(0, 1000))
def test_a_late_or_early_settlement_belongs_to_its_minute(late: int, minute: int) -> None:
    at = T0 + minute * MINUTE_MS
    (row,) = parsed("binance_perp", BINANCE | {"fundingTime": at + late})
    assert round(row["timestamp"].timestamp() * 1000) == at
    window = raw_window(at, at + MINUTE_MS)
    assert window.start_ms <= at + late < window.end_ms


@pytest.fixture(scope="module")
def exchange() -> Iterator[str]:
    with process.start(now=NOW, budget_scale=SCALE) as url:
        yield url


@pytest.fixture
def opened(exchange: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Connection]:
    hook(exchange, "DELETE", "/_faults")
    with open_venue(
        request.param, base_url=exchange, governor_file=tmp_path / "g", patience=BRIEF, limits_factor=SCALE
    ) as connection:
        yield connection
    hook(exchange, "DELETE", "/_faults")


def hook(url: str, method: str, path: str, body: Any = None) -> None:
    request = urllib.request.Request(url + path, json.dumps(body).encode() if body else None, method=method)
    with urllib.request.urlopen(request, timeout=10):
        pass


def btc(connection: Connection) -> str:
    return next(x.venue_symbol for x in connection.fetch_listings() if x.symbol == "BTC/USDT")


@pytest.mark.parametrize("opened", PERPS, indirect=True)
def test_every_settlement_of_a_span_whatever_happens_on_the_way(opened: Connection, exchange: str) -> None:
    symbol, start, end = btc(opened), TODAY - 80 * DAY, NOW.replace(second=0)
    smooth = opened.submit_funding(symbol, start, end, NOW).result(60)
    stamps = [r["timestamp"] for r in smooth.table.to_pylist()]
    assert stamps == [start + n * dt.timedelta(hours=8) for n in range(80 * 3 + 2)]
    assert smooth.cost.retries == 0
    hook(exchange, "POST", "/_faults", {"path": "*", "kind": "short", "rows": 30, "times": 3})
    for kind in ("empty", "garbage", "truncate", "status"):
        hook(exchange, "POST", "/_faults", {"path": "*", "kind": kind, "times": 1})
    rough = opened.submit_funding(symbol, start, end, NOW).result(60)
    assert rough.table.equals(smooth.table)
    assert rough.cost.retries == 3
    month = opened.submit_funding(symbol, TODAY - 60 * DAY, TODAY - 30 * DAY, NOW).result(60)
    assert (month.table.num_rows, month.cost.requests) == (90, 1)


@pytest.mark.parametrize("opened", PERPS, indirect=True)
def test_a_symbol_nobody_lists(opened: Connection) -> None:
    with pytest.raises(UnknownSymbol):
        opened.submit_funding("NOPEUSDT", TODAY - DAY, TODAY, NOW).result(60)


@pytest.mark.parametrize("opened", ["okx_perp"], indirect=True)
def test_spans_that_cannot_be(opened: Connection, exchange: str, tmp_path: Path) -> None:
    for start, end in ((TODAY, TODAY - DAY), (TODAY + dt.timedelta(seconds=1), TODAY + DAY)):
        with pytest.raises(BadInput, match="whole minutes"):
            opened.submit_funding("BTC-USDT-SWAP", start, end, NOW)
    empty = opened.submit_funding("BTC-USDT-SWAP", TODAY, TODAY, NOW).result(60)
    assert (empty.table.num_rows, empty.cost.requests, empty.table.schema) == (0, 0, FUNDING_SCHEMA)
    with (
        open_venue("okx_spot", base_url=exchange, governor_file=tmp_path / "g") as spot,
        pytest.raises(BadInput, match="no perpetuals"),
    ):
        spot.submit_funding("BTC-USDT", TODAY, TODAY + DAY, NOW)


@pytest.mark.recorded
def test_the_recorded_answer_of_binance(recorded: Path) -> None:
    body = json.loads((recorded / "wire/binance-2026-07/fapi-v1-fundingRate-BTCUSDT-limit1000.json").read_text())
    rows = parsed("binance_perp", *body, before=body[-1]["fundingTime"])
    assert [r["rate"] for r in rows] == [float(r["fundingRate"]) for r in body]
    assert [r["mark_price"] for r in rows] == [float(r["markPrice"]) for r in body]
    assert len({r["timestamp"] for r in rows}) == len(rows) == 90
    assert {(r["metadata"], r["unreadable"], r["is_settled"]) for r in rows} == {("", "", True)}
