"""Connections across real sockets: real ccxt against the sandbox exchange, and recorded instrument lists."""

import datetime as dt
import json
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pydantic
import pytest
from test_transport import reply, serving

from alphaforge_assets.errors import BadInput, UnknownSymbol, VenueLimited, VenueUnavailable
from alphaforge_assets.intervals import INTERVAL_MS
from alphaforge_assets.sandbox import process
from alphaforge_assets.universe import Instrument, load_universe
from alphaforge_assets.venues.columns import BAR_SCHEMA
from alphaforge_assets.venues.directory import REST, VENUES, kept
from alphaforge_assets.venues.gathering import gathered
from alphaforge_assets.venues.rest import RestSource
from alphaforge_assets.venues.source import Connection, Patience
from alphaforge_assets_tests.conftest import open_venue

NOW = dt.datetime(2026, 1, 15, 12, 0, 30, tzinfo=dt.UTC)
TODAY = dt.datetime(2026, 1, 15, tzinfo=dt.UTC)
HOUR, DAY = dt.timedelta(hours=1), dt.timedelta(days=1)
QUEUED = dt.timedelta(minutes=11)
SCALE = 1000.0  # the sandbox's rate limits and ours, so that no test waits for a budget
BRIEF = Patience(request_s=5, total_s=20, attempts=4, wait_first_s=0.01, wait_max_s=0.05, jitter_s=0.01)
Opener = Callable[..., Connection]
# Those whose history is asked for page after page; another one tells its newest bars only.
PAGED = [name for name, venue in VENUES.items() if venue.bars.paging != "newest"]
# Nobody needs to say it: a field without a column that differs from row to row.
METADATA = {"kraken_spot": {"vwap"}}


@pytest.fixture(scope="module")
def exchange() -> Iterator[str]:
    with process.start(now=NOW, budget_scale=SCALE) as url:
        yield url


@pytest.fixture
def opened(exchange: str, tmp_path: Path) -> Iterator[Opener]:
    """Opens venues of the sandbox; afterwards all are closed and nothing of ours is left running."""
    connections: list[Connection] = []

    def open_(name: str, url: str = exchange, patience: Patience = BRIEF, factor: float = SCALE) -> Connection:
        connections.append(
            open_venue(name, base_url=url, governor_file=tmp_path / "governor", patience=patience, limits_factor=factor)
        )
        return connections[-1]

    hook(exchange, "DELETE", "/_faults")
    hook(exchange, "DELETE", "/_log")
    yield open_
    for connection in connections:
        connection.close()
    assert not [t for t in threading.enumerate() if t.name.startswith(tuple(VENUES))]
    hook(exchange, "DELETE", "/_faults")


def hook(url: str, method: str, path: str, body: Any = None) -> Any:
    request = urllib.request.Request(url + path, json.dumps(body).encode() if body else None, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def bars_asked(url: str) -> list[dict[str, Any]]:
    log = hook(url, "GET", "/_log")
    requests = log if isinstance(log, list) else log["requests"]
    return [r for r in requests if any(word in r["path"] for word in ("kline", "candles", "OHLC"))]


def btc(connection: Connection) -> str:
    return next(x.venue_symbol for x in connection.fetch_listings() if x.symbol == "BTC/USDT")


def open_ms(table: pa.Table) -> list[int]:
    return table["timestamp"].cast(pa.int64()).to_pylist()


@pytest.mark.parametrize("name", VENUES)
def test_the_clock(name: str, opened: Opener) -> None:
    assert opened(name).fetch_server_time() == NOW


def span(name: str, interval: str, start: dt.datetime, end: dt.datetime = TODAY) -> tuple[dt.datetime, dt.datetime]:
    """[start, end), or the hours before NOW where the venue serves no older ones."""
    reach = kept(name, "bars", interval)
    if reach is None or start >= NOW - reach:
        return start, end
    return NOW.replace(minute=0, second=0) - dt.timedelta(hours=6), NOW.replace(minute=0, second=0)


@pytest.mark.parametrize("name", VENUES)
@pytest.mark.parametrize("interval", INTERVAL_MS)
def test_every_bar_of_a_span_and_no_other(name: str, interval: str, opened: Opener) -> None:
    feed = VENUES[name].bars
    if interval not in feed.intervals:
        with pytest.raises(BadInput, match=f"'{interval}' is not known: use one of 1m, 5m"):
            opened(name).submit_bars("BTC", interval, TODAY, TODAY + DAY, NOW)
        return
    connection, step = opened(name), dt.timedelta(milliseconds=INTERVAL_MS[interval])
    start, end = span(name, interval, TODAY - max(3 * DAY, 5 * step))
    fetched = connection.submit_bars(btc(connection), interval, start, end, NOW).result(timeout=60)
    assert fetched.table.schema == BAR_SCHEMA
    fetched.table.validate(full=True)
    first = int(start.timestamp() * 1000)
    assert open_ms(fetched.table) == list(range(first, int(end.timestamp() * 1000), INTERVAL_MS[interval]))
    assert pc.all(fetched.table["is_closed"]).as_py()
    for column in {"open", "high", "low", "close", "volume", "quote_volume"} & set(feed.layout.fields):
        assert fetched.table[column].null_count == 0
    for said in fetched.table["metadata"].to_pylist():
        assert set(json.loads(said or "{}")) == METADATA.get(name, set())
    assert fetched.cost.retries == 0
    assert fetched.cost.requests > 0


@pytest.mark.parametrize("name", VENUES)
def test_the_open_bar_is_there_and_open(name: str, opened: Opener) -> None:
    connection = opened(name)
    fetched = connection.submit_bars(btc(connection), "1h", TODAY, TODAY + DAY, connection.fetch_server_time()).result(
        60
    )
    assert fetched.table["is_closed"].to_pylist() == [True] * 12 + [False]
    assert fetched.table["timestamp"][-1].as_py() == NOW.replace(minute=0, second=0)


@pytest.mark.parametrize("name", VENUES)
def test_volumes_of_minutes_add_up_to_the_hour(name: str, opened: Opener) -> None:
    """Both endpoints of OKX, contracts and all: whatever the column's unit is, it is the same at every interval."""
    connection = opened(name)
    symbol = btc(connection)
    start, end = span(name, "1m", TODAY - DAY)
    minutes = connection.submit_bars(symbol, "1m", start, end, NOW).result(60).table
    hours = connection.submit_bars(symbol, "1h", start, end, NOW).result(60).table
    for column in ("volume", "quote_volume", "contract_volume", "taker_buy_base_volume"):
        if hours[column].null_count == 0:
            assert pc.sum(minutes[column]).as_py() == pytest.approx(pc.sum(hours[column]).as_py(), rel=1e-9)
    assert pc.max(minutes["high"]).as_py() == pc.max(hours["high"]).as_py()
    if hours["quote_volume"].null_count == 0:
        average = pc.divide(hours["quote_volume"], hours["volume"])
        assert pc.all(pc.and_(pc.less(average, 1e6), pc.greater(average, 1e3))).as_py()  # dollars a bitcoin


@pytest.mark.parametrize("name", PAGED)
def test_the_same_whatever_the_pages(name: str, opened: Opener, exchange: str) -> None:
    """Pages cut short by the venue, empty pages and transient faults in between: the same bars, value for value."""
    connection = opened(name)
    symbol = btc(connection)
    smooth = connection.submit_bars(symbol, "1m", TODAY - 2 * DAY, TODAY, NOW).result(60)
    hook(exchange, "POST", "/_faults", {"path": "*", "kind": "short", "rows": 70, "times": 4})
    cut = connection.submit_bars(symbol, "1m", TODAY - 2 * DAY, TODAY, NOW).result(60)
    assert cut.cost.requests > smooth.cost.requests or VENUES[name].bars.paging == "bounded"  # it sends no limit
    hook(exchange, "DELETE", "/_faults")
    for kind in ("empty", "garbage", "html", "blank", "truncate", "reset", "status"):
        hook(exchange, "POST", "/_faults", {"path": "*", "kind": kind, "times": 1})
    rough = connection.submit_bars(symbol, "1m", TODAY - 2 * DAY, TODAY, NOW).result(60)
    assert not hook(exchange, "GET", "/_faults")
    assert rough.cost.retries == 6  # all but the empty page, which is no error but is asked for again
    assert smooth.table.equals(cut.table)
    assert smooth.table.equals(rough.table)


@pytest.mark.parametrize("limit", [100, 300])
def test_okx_grants_what_it_likes(limit: int, opened: Opener) -> None:
    with process.start(now=NOW, budget_scale=SCALE, okx_history_limit=limit) as url:
        connection = opened("okx_perp", url)
        start = TODAY - 20 * DAY
        fetched = connection.submit_bars("BTC-USDT-SWAP", "1m", start, start + DAY, NOW).result(60)
        assert fetched.table.num_rows == 1440
        paths = {r["path"] for r in bars_asked(url)}
    assert paths == {"/api/v5/market/history-candles"}
    assert fetched.cost.requests == 1440 // limit + (1440 % limit > 0)


@pytest.mark.parametrize("name", PAGED)
def test_one_request_a_page(name: str, opened: Opener, exchange: str) -> None:
    venue, connection = VENUES[name], opened(name)
    start = TODAY - 10 * DAY
    fetched = connection.submit_bars(btc(connection), "1m", start, start + 5 * DAY, NOW).result(60)
    pages = -(-5 * 1440 // (venue.bars.rows_max - (venue.bars.paging == "ascending")))
    assert fetched.cost.requests == pages
    log = bars_asked(exchange)
    assert len(log) == pages
    assert sum(r["weight"] for r in log) == fetched.cost.weight


@pytest.mark.parametrize("name", VENUES)
def test_a_symbol_nobody_lists(name: str, opened: Opener, exchange: str) -> None:
    connection = opened(name)
    start = TODAY - 365 * DAY  # so many pages that a slow machine does not ask for half of them meanwhile
    calls = RestSource(VENUES[name]).calls("bars", "NOPEUSDT", "1m", start, TODAY, NOW)
    with pytest.raises(UnknownSymbol):
        connection.submit_bars("NOPEUSDT", "1m", start, TODAY, NOW).result(60)
    connection.close()
    asked = [(r["path"], str(r["query"])) for r in bars_asked(exchange)]
    assert len(asked) == len(set(asked))
    # What was on its way, and what threads took up in the moment before the first refusal was known to all.
    assert len(asked) < max(len(calls), VENUES[name].concurrency) / 2 or len(calls) == 1


@pytest.mark.parametrize("name", VENUES)
def test_the_listing(name: str, opened: Opener) -> None:
    venue = VENUES[name]
    listings = opened(name).fetch_listings()
    assert len({x.symbol for x in listings}) == len(listings)
    assert len({x.venue_symbol for x in listings}) == len(listings)
    for listing in listings:
        assert listing.venue == name
        assert listing.symbol == f"{listing.base}/{listing.quote}"
        told = json.loads(listing.info)
        assert listing.venue_symbol in told.values() or "altname" in told  # Kraken lists by name, and names no row
        assert listing.status
        assert listing.settle == (listing.quote if venue.is_perpetual else None)
        assert listing.listed_at is None or listing.listed_at.tzinfo is dt.UTC
    bitcoin = next(x for x in listings if x.symbol == "BTC/USDT")
    assert bitcoin.is_active
    assert 0 < (bitcoin.tick_size or 0) <= 1
    assert 0 < (bitcoin.lot_size or 0) <= 1
    assert (bitcoin.contract_size is None) == (not venue.is_perpetual)
    assert bitcoin.delisted_at is None


def test_kraken_tells_its_newest_bars_in_one_page(opened: Opener, exchange: str) -> None:
    connection, hour = opened("kraken_spot"), NOW.replace(minute=0, second=0)
    start = hour - dt.timedelta(hours=11)
    fetched = connection.submit_bars("XXBTZUSD", "1m", start, hour, NOW).result(60)
    assert (fetched.table.num_rows, fetched.cost.requests) == (660, 1)
    (asked,) = bars_asked(exchange)
    assert asked["rows"] == 661  # the open one among them
    assert asked["query"] == {"pair": "XXBTZUSD", "interval": "1", "since": str(int(start.timestamp()) - 1)}
    ahead = connection.submit_bars("XXBTZUSD", "1m", hour, hour + DAY, NOW).result(60)
    assert ahead.table["is_closed"].to_pylist() == [False]


def test_what_kraken_has_let_go_of_is_no_silence(opened: Opener, exchange: str) -> None:
    """From a minute on that slid out while the request waited for its turn."""
    connection, minute = opened("kraken_spot"), NOW.replace(second=0)
    oldest = minute - 719 * dt.timedelta(minutes=1)
    whole = connection.submit_bars("XXBTZUSD", "1m", oldest, minute, NOW).result(60)
    assert whole.table.num_rows == 719
    older = oldest - dt.timedelta(minutes=1)
    with pytest.raises(VenueUnavailable, match="keeps its newest 720, has none before"):
        connection.submit_bars("XXBTZUSD", "1m", older, minute, NOW).result(60)
    assert len(bars_asked(exchange)) == 2  # asking again would not help
    assert NOW - oldest - QUEUED < REST["kraken_spot"].kept("bars", "1m") < NOW - oldest


def test_coinbase_leaves_out_what_nobody_traded(opened: Opener, exchange: str) -> None:
    """And an answer may begin before what was asked for."""
    connection = opened("coinbase_spot")
    fetched = connection.submit_bars("LTC-BTC", "1m", TODAY - DAY, TODAY, NOW).result(60)
    assert 700 < fetched.table.num_rows < 1100
    assert fetched.table["timestamp"][0].as_py() >= TODAY - DAY
    log = bars_asked(exchange)
    assert len(log) == fetched.cost.requests == 5
    assert fetched.table.num_rows <= sum(r["rows"] for r in log) <= fetched.table.num_rows + 5
    hours = connection.submit_bars("LTC-BTC", "1h", TODAY - DAY, TODAY, NOW).result(60).table
    assert pc.sum(fetched.table["volume"]).as_py() == pytest.approx(pc.sum(hours["volume"]).as_py())


def test_the_whole_universe_is_listed(opened: Opener) -> None:
    universe = load_universe()
    for name in universe.venues:
        listed = {x.symbol for x in opened(name).fetch_listings()}
        missing = [i.symbol for i in universe.instruments if i.venue == name and i.symbol not in listed]
        assert not missing


def folder_of(recorded: Path) -> Path:
    return recorded / "wire"


@pytest.mark.recorded
def test_recorded_listing_of_binance_futures(recorded: Path, opened: Opener) -> None:
    """818 rows of July 2026: settled, pending, quarterly, tokenised shares, margined in BTC or new dollars."""
    body = (folder_of(recorded) / "binance-2026-07/fapi-v1-exchangeInfo.json").read_bytes()
    rows = {r["symbol"]: r for r in json.loads(body)["symbols"]}
    with serving(lambda sock, head: reply(sock, body)) as wire:
        listings = opened("binance_perp", wire.url).fetch_listings()
    assert len({x.symbol for x in listings}) == len(listings)
    assert {x.venue_symbol for x in listings} == {
        s for s, r in rows.items() if r["contractType"].endswith("PERPETUAL") or r["deliveryDate"] == 4_133_404_800_000
    }
    for listing in listings:
        row = rows[listing.venue_symbol]
        assert json.loads(listing.info) == row
        assert listing.status == row["status"]
        assert listing.is_active == (row["status"] == "TRADING")
        assert listing.listed_at is not None
        assert round(listing.listed_at.timestamp() * 1000) == row["onboardDate"]
        assert (listing.delisted_at is None) == (row["deliveryDate"] == 4_133_404_800_000)
        filters = {f["filterType"]: f for f in row["filters"]}
        assert listing.tick_size == float(filters["PRICE_FILTER"]["tickSize"])
        assert listing.lot_size == float(filters["LOT_SIZE"]["stepSize"])
    assert {x.symbol for x in listings} >= {f"{base}/USDT" for base in ("BTC", "ETH", "SOL", "XRP", "BNB")}


@pytest.mark.recorded
@pytest.mark.parametrize(
    ("name", "file", "envelope"),
    [
        ("binance_spot", "binance", lambda rows: {"symbols": rows}),
        ("binance_perp", "binance", lambda rows: {"symbols": rows}),
        ("okx_spot", "okx", lambda rows: {"code": "0", "msg": "", "data": rows}),
        ("okx_perp", "okx", lambda rows: {"code": "0", "msg": "", "data": rows}),
        ("bybit_spot", "bybit", lambda rows: {"retCode": 0, "retMsg": "OK", "result": {"list": rows}}),
        ("bybit_perp", "bybit", lambda rows: {"retCode": 0, "result": {"category": "linear", "list": rows}}),
    ],
)
def test_ccxts_recorded_markets(
    name: str, file: str, envelope: Callable[[list[Any]], Any], recorded: Path, opened: Opener
) -> None:
    """Raw rows of ccxt's own market files through our listing: the same symbols, sizes and state as ccxt says."""
    markets = json.loads((folder_of(recorded) / f"ccxt-static/markets/{file}.json").read_text())
    perpetual = VENUES[name].is_perpetual
    kind = [m for m in markets.values() if (m["swap"] and m["linear"] if perpetual else m["spot"])]
    with serving(lambda sock, head: reply(sock, json.dumps(envelope([m["info"] for m in kind])).encode())) as wire:
        listings = opened(name, wire.url).fetch_listings()
    assert kind
    listings = list({x.venue_symbol: x for x in listings}.values())  # this wire answers Bybit's PreLaunch alike
    assert [x.venue_symbol for x in listings] == [m["id"] for m in kind]
    for listing, market in zip(listings, kind, strict=True):
        assert json.loads(listing.info) == market["info"]
        instrument = Instrument(name, listing.symbol, dt.date(2024, 1, 1))
        assert instrument.ccxt_symbol == market["symbol"]
        assert (listing.tick_size, listing.lot_size) == (market["precision"]["price"], market["precision"]["amount"])
        assert listing.contract_size == market["contractSize"]


def test_a_venue_that_lists_nothing_is_not_believed(opened: Opener) -> None:
    with serving(lambda sock, head: reply(sock, b'{"symbols":[]}')) as wire, pytest.raises(VenueUnavailable):
        opened("binance_spot", wire.url).fetch_listings()


@pytest.mark.parametrize("body", [b'{"symbols":[{}]}', b'{"symbols":[[1]]}', b'{"symbols":7}', b"[]"])
def test_a_listing_of_nonsense(body: bytes, opened: Opener) -> None:
    with serving(lambda sock, head: reply(sock, body)) as wire, pytest.raises(VenueUnavailable):
        opened("binance_spot", wire.url).fetch_listings()


@pytest.mark.parametrize("body", [b'{"serverTime":1735689600}', b'{"serverTime":"soon"}', b"{}", b"[]"])
def test_a_clock_of_nonsense(body: bytes, opened: Opener) -> None:
    with serving(lambda sock, head: reply(sock, body)) as wire, pytest.raises(VenueUnavailable):
        opened("binance_spot", wire.url).fetch_server_time()


@pytest.fixture(scope="module")
def replay(recorded: Path) -> Iterator[str]:
    with process.start(recordings=recorded / "market-data", now=NOW, budget_scale=SCALE) as url:
        yield url


@pytest.mark.recorded
@pytest.mark.parametrize(
    ("first", "days", "what"),
    [
        (dt.date(2017, 9, 5), 3, "seven hours of outage"),
        (dt.date(2017, 12, 3), 3, "two bars in one minute, then all of them 20.799 s off"),
        (dt.date(2017, 12, 17), 3, "back on the grid, and an outage"),
        (dt.date(2020, 2, 18), 3, "six hours of outage"),
    ],
)
def test_recorded_bars_value_for_value(
    first: dt.date, days: int, what: str, recorded: Path, replay: str, opened: Opener
) -> None:
    """Real outages and bars off the minute: exactly what the venue has, and nothing else."""
    start = dt.datetime(first.year, first.month, first.day, tzinfo=dt.UTC)
    end = start + days * DAY
    file = recorded / f"market-data/klines/binance_spot/BTCUSDT/1m/{first.year}.parquet"
    window = [("open_time", ">=", int(start.timestamp() * 1000)), ("open_time", "<", int(end.timestamp() * 1000))]
    expected = pq.read_table(file, filters=window)
    fetched = opened("binance_spot", replay).submit_bars("BTCUSDT", "1m", start, end, NOW).result(60)
    assert open_ms(fetched.table) == expected["open_time"].to_pylist()
    for column in ("open", "high", "low", "close", "volume"):
        assert fetched.table[column].to_pylist() == [float(x) for x in expected[column].to_pylist()]
    steps = {b - a for a, b in pairwise(expected["open_time"].to_pylist())}
    assert steps != {60_000}, f"this window should show {what}"


@pytest.mark.parametrize(
    ("interval", "start", "end", "match"),
    [
        ("2m", TODAY - DAY, TODAY, "interval '2m'"),
        ("1m", TODAY, TODAY - DAY, "the end not before"),
        ("1m", TODAY + dt.timedelta(seconds=1), TODAY + DAY, "grid of 1m"),
        ("1d", TODAY - HOUR, TODAY, "grid of 1d"),
        ("1m", dt.datetime(2025, 1, 1), TODAY, "start .* no time zone"),  # noqa: DTZ001
    ],
)
def test_spans_that_cannot_be(interval: str, start: dt.datetime, end: dt.datetime, match: str, opened: Opener) -> None:
    with pytest.raises(BadInput, match=match):
        opened("binance_spot").submit_bars("BTCUSDT", interval, start, end, NOW)


def test_times_of_any_zone_are_instants(opened: Opener) -> None:
    zone = dt.timezone(dt.timedelta(hours=8))
    start = TODAY.astimezone(zone)
    fetched = opened("bybit_spot").submit_bars("BTCUSDT", "1h", start, start + DAY / 2, NOW.astimezone(zone)).result(60)
    assert fetched.table["timestamp"][0].as_py() == TODAY
    assert pc.all(fetched.table["is_closed"]).as_py()


def test_an_empty_span_asks_nothing(opened: Opener, exchange: str) -> None:
    fetched = opened("binance_spot").submit_bars("BTCUSDT", "1m", TODAY, TODAY, NOW).result(60)
    assert (fetched.table.num_rows, fetched.cost.requests, fetched.table.schema) == (0, 0, BAR_SCHEMA)
    assert not bars_asked(exchange)


def test_many_spans_at_once_from_several_threads(opened: Opener) -> None:
    connection = opened("bybit_spot")
    symbols = [x.venue_symbol for x in connection.fetch_listings() if x.is_active][:4]
    results: list[Future[Any]] = []

    def ask(symbol: str) -> None:
        spans = [TODAY - n * DAY for n in range(1, 6)]
        results.extend(connection.submit_bars(symbol, "1m", s, s + DAY, NOW) for s in spans)

    threads = [threading.Thread(target=ask, args=(s,)) for s in symbols]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait(results, timeout=60)
    assert [f.result().table.num_rows for f in results] == [1440] * 20


def test_closing_ends_what_waits(exchange: str, tmp_path: Path) -> None:
    connection = open_venue("okx_spot", base_url=exchange, governor_file=tmp_path / "g", limits_factor=0.05)
    pending = connection.submit_bars("BTC-USDT", "1m", TODAY - 30 * DAY, TODAY, NOW)
    connection.close()
    with pytest.raises(VenueUnavailable, match="closed"):
        pending.result(timeout=10)


SPENDER = """
import datetime as dt, sys
from pathlib import Path
from alphaforge_assets_tests.conftest import open_venue
url, file, venue, symbol, hours, factor = sys.argv[1:]
end = dt.datetime(2026, 1, 15, tzinfo=dt.UTC)
with open_venue(venue, base_url=url, governor_file=Path(file), limits_factor=float(factor)) as connection:
    spans = [end - dt.timedelta(hours=n) for n in range(1, int(hours) + 1)]
    pending = [connection.submit_bars(symbol, "1m", s, s + dt.timedelta(hours=1), end) for s in spans]
    print(sum(p.result().table.num_rows for p in pending))
"""


@pytest.mark.parametrize(
    ("name", "symbol", "hours", "factor"), [("bybit_spot", "BTCUSDT", 25, 0.1), ("okx_perp", "BTC-USDT-SWAP", 6, 0.3)]
)
def test_processes_together_stay_below_the_venues_own_count(
    name: str, symbol: str, hours: int, factor: float, tmp_path: Path
) -> None:
    """Three processes ask as fast as they may, for more than a window allows; the sandbox counts as the venue does."""
    with process.start(now=NOW, budget_scale=factor) as url:
        arguments = [url, str(tmp_path / "governor"), name, symbol, str(hours), str(factor)]
        command = [sys.executable, "-c", SPENDER, *arguments]
        running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
        outputs = [p.communicate(timeout=90)[0] for p in running]
        statuses = [r["status"] for r in bars_asked(url)]
    assert outputs == [f"{hours * 60}\n"] * 3
    assert statuses == [200] * 3 * hours


def test_a_limit_of_the_venue_reaches_the_caller(opened: Opener, exchange: str) -> None:
    hook(exchange, "POST", "/_faults", {"path": "*", "kind": "status", "status": 429, "retry_after": 600, "times": 1})
    with pytest.raises(VenueLimited) as caught:
        opened("okx_spot").submit_bars("BTC-USDT", "1m", TODAY - HOUR, TODAY, NOW).result(60)
    assert 590 < (caught.value.retry_after_s or 0) <= 600


def test_one_failure_cancels_the_rest() -> None:
    parts: list[Future[int]] = [Future() for _ in range(5)]
    whole = gathered(parts, sum)
    parts[0].set_result(1)
    parts[3].set_exception(UnknownSymbol("X"))
    with pytest.raises(UnknownSymbol):
        whole.result(timeout=1)
    assert [p.cancelled() for p in parts] == [False, True, True, False, True]
    parts = [Future() for _ in range(3)]
    whole = gathered(parts, lambda numbers: numbers[0] - sum(numbers[1:]))
    for n in (2, 0, 1):
        parts[n].set_result(n + 1)
    assert whole.result(timeout=1) == 1 - 5


@pytest.mark.parametrize(
    ("name", "base_url", "factor", "match"),
    [
        ("binance_spot", None, 2.0, "limits_factor 2.0"),
        ("binance_spot", "http://127.0.0.1:1", 0.0, "limits_factor 0.0"),
        ("binance_spot", "http://127.0.0.1:1", float("nan"), "limits_factor nan"),
    ],
)
def test_connections_that_cannot_be(name: str, base_url: str | None, factor: float, match: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=match):
        open_venue(name, base_url=base_url, governor_file=tmp_path / "g", limits_factor=factor)


def test_live_is_the_venues_own_address_and_nothing_is_sent_on_opening(tmp_path: Path) -> None:
    for name in VENUES:
        with open_venue(
            name, base_url=None, governor_file=tmp_path / "g", api_key=pydantic.SecretStr("k")
        ) as connection:
            exchange = connection._exchange()
            call = VENUES[name].ask_time
            path, api = ("time", "fapiPublic" if name == "binance_perp" else "public")
            assert repr(connection) == f"RestConnection({name!r}, 'live')"
            assert call.method
        if name.startswith("binance"):
            assert exchange.sign(path, [api])["url"].startswith("https://")
