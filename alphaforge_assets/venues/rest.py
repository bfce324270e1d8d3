"""REST as a source: which requests a window takes, and the connection that sends them, by how many threads.

What a venue is stands in its record, what an answer means in transport.py, how a span is paged in bars.py and
funding.py, how often it is tried in asking.py. `RestConnection` owns the resources: threads, sockets, the governor.
"""

import datetime as dt
import importlib
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, TypeVar

import pyarrow as pa

from alphaforge_assets.errors import BadInput, VenueUnavailable
from alphaforge_assets.intervals import INTERVAL_MS, length_of, price_of
from alphaforge_assets.venues import funding, trade_rows, trades
from alphaforge_assets.venues.asking import Asker, governed
from alphaforge_assets.venues.bars import (
    Walked,
    Window,
    ask_whole,
    check_bounded,
    check_page,
    check_reach,
    check_silence,
    check_step,
    walk,
)
from alphaforge_assets.venues.calls import bar_calls, bar_page, bar_windows, funding_calls
from alphaforge_assets.venues.columns import BAR_SCHEMA, TIME_MS_MAX, TIME_MS_MIN, parse_rows, priced
from alphaforge_assets.venues.gathering import gathered
from alphaforge_assets.venues.governor import Budget
from alphaforge_assets.venues.listings import moment, read_listings
from alphaforge_assets.venues.source import Access, Call, Cost, Fetched, Listing
from alphaforge_assets.venues.transport import called, found, guarded, open_pool, rehost
from alphaforge_assets.venues.venue import BarFeed, FundingFeed, Venue
from alphaforge_assets.venues.words import Words

BARS, PRICE_BARS, FUNDING_RATES, TRADES = "bars", "price_bars", "funding_rates", "trades"

BARS_BYTES_MAX = 4_000_000
MARKETS_BYTES_MAX = 64_000_000  # Binance's exchangeInfo of every spot pair is past 10 MB

# How far beyond the venue's clock, as the caller read it, a bar may open before its page is not believed: the age of a
# request that waited in a queue.
HORIZON_MS = 86_400_000
# What a venue of newest bars is about to let go of is not asked for: a request may wait that long for its turn.
QUEUED_MS = 600_000
# Of these one page answers a window.
WHOLE = ("bounded", "newest")

T = TypeVar("T")


@dataclass(frozen=True)
class RestSource:
    """The REST API of a venue."""

    of: Venue
    name: str = "rest"
    rank: int = 2
    start_s: float = 0.0
    settles_holes: bool = True

    @property
    def venue(self) -> str:
        return self.of.name

    @property
    def clock(self) -> Call:
        """One request for the venue's time."""
        return self.of.ask_time

    @property
    def listings(self) -> Call | None:
        """ccxt's `fetch_markets`."""
        return Call("fetch_markets", {}, self.of.markets_budget, self.of.markets_weight)

    def serves(self, dataset: str, interval: str) -> bool:
        """Bars of the intervals and prices the venue has, funding of perpetuals, trades where we know to ask."""
        if dataset in (BARS, PRICE_BARS):
            feed = self._feed(dataset, interval)
            return feed is not None and length_of(interval) in feed.intervals
        return {FUNDING_RATES: self.of.funding, TRADES: self.of.trades}.get(dataset) is not None

    def kept(self, dataset: str, interval: str) -> dt.timedelta | None:
        """How far back the venue serves it, as far as can be relied on; None if for ever."""
        if dataset in (BARS, PRICE_BARS):
            feed = self._feed(dataset, interval)
            bars, step = feed.kept_bars if feed else None, INTERVAL_MS[length_of(interval)]
            return dt.timedelta(milliseconds=(bars - 1) * step - QUEUED_MS) if bars else None
        if dataset == TRADES:
            hours = self.of.trades.kept_hours if self.of.trades else None
            return dt.timedelta(hours=hours) if hours else None
        days = self.of.funding.kept_days if self.of.funding else None
        return dt.timedelta(days=days) if days else None

    def offers(self, dataset: str, interval: str, start: dt.datetime, end: dt.datetime, now: dt.datetime) -> bool:
        """All that it serves, to the moment."""
        return True

    def calls(
        self, dataset: str, symbol: str, interval: str, start: dt.datetime, end: dt.datetime, now: dt.datetime
    ) -> list[Call]:
        """The pages of [start, end), as `RestConnection` walks them."""
        start_ms, end_ms, now_ms = (int(t.timestamp() * 1000) for t in (start, end, now))
        if dataset == FUNDING_RATES:
            return funding_calls(self.of.funding, symbol, start_ms, end_ms, now_ms) if self.of.funding else []
        if dataset == TRADES:
            return trades.calls(self.of.trades, symbol, start_ms, end_ms, now_ms) if self.of.trades else []
        feed = self._feed(dataset, interval)
        return bar_calls(feed, symbol, length_of(interval), start_ms, end_ms, now_ms) if feed else []

    def _feed(self, dataset: str, interval: str) -> BarFeed | None:
        return self.of.bars if dataset == BARS else self.of.prices.get(price_of(interval))

    def open(self, access: Access) -> "RestConnection":
        """Connect to the venue, or to a sandbox; nothing is sent yet. Raises BadInput for an access that cannot be."""
        return RestConnection(self.of, access)


class RestConnection:
    """An open venue: a context manager, safe to use from several threads."""

    def __init__(self, venue: Venue, access: Access) -> None:
        self.base_url, governor = governed(access)
        self.venue = venue
        self.patience = access.patience
        self._asker = Asker(venue.name, governor, access.patience)
        self._api_key = access.api_key
        self._keeps_raw = access.keeps_raw
        exchange = getattr(importlib.import_module("ccxt"), venue.exchange)  # 0.3 s: not at import
        self._exchange_class = guarded(exchange, venue.refusals)
        self._sockets = open_pool(venue.concurrency + 1)
        self._threads = ThreadPoolExecutor(venue.concurrency, thread_name_prefix=venue.name)
        self._own = threading.local()
        self._contract_sizes: dict[str, float | None] = {}
        self._listing = threading.Lock()

    def __repr__(self) -> str:
        return f"RestConnection({self.venue.name!r}, {self.base_url or 'live'!r})"

    def __enter__(self) -> "RestConnection":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End what is waiting (it raises VenueUnavailable), wait for what is being sent, free everything."""
        self._asker.end_waits()
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._sockets.clear()
        self._asker.governor.close()

    def fetch_server_time(self) -> dt.datetime:
        """The venue's clock, aware UTC, in milliseconds."""
        return moment(self._ask(self.venue.ask_time, self._read_time, Cost()))

    def fetch_listings(self) -> list[Listing]:
        """Every instrument of this market place that the venue lists now, in its order.

        Of derivatives only perpetuals that settle in their quote currency: another kind counts volume in another unit.
        """
        venue = self.venue
        call = Call("fetch_markets", {}, venue.markets_budget, venue.markets_weight)
        return self._ask(call, lambda markets: read_listings(venue, markets), Cost(), MARKETS_BYTES_MAX)

    def submit(
        self, dataset: str, symbol: str, interval: str, start: dt.datetime, end: dt.datetime, closed_before: dt.datetime
    ) -> "Future[Fetched]":
        """As `source.Connection`: bars, those of other prices, the funding of perpetuals, or trades.

        Raises BadInput for what the venue does not have.
        """
        if dataset == TRADES:
            return self._submit_trades(symbol, start, end, closed_before)
        if dataset == FUNDING_RATES:
            return self.submit_funding(symbol, start, end, closed_before)
        if dataset == PRICE_BARS:
            feed = self.venue.prices.get(price_of(interval))
            if feed is None:
                raise BadInput(f"{self.venue.name}: no bars of {interval!r}: it has those of {[*self.venue.prices]}")
            return self.submit_bars(symbol, length_of(interval), start, end, closed_before, feed)
        return self.submit_bars(symbol, interval, start, end, closed_before)

    def submit_bars(
        self,
        symbol: str,
        interval: str,
        start: dt.datetime,
        end: dt.datetime,
        closed_before: dt.datetime,
        prices: BarFeed | None = None,
    ) -> "Future[Fetched]":
        """Fetch the bars that open in [start, end), pages in parallel; the Future's result is `Fetched`.

        `prices` is the feed of bars of another price than that of trades, whose rows are of PRICE_SCHEMA.

        `closed_before` is the venue's clock as read once by the caller (`fetch_server_time`): bars that end after it
        are not closed. The Future raises UnknownSymbol, VenueLimited, VenueRefused or VenueUnavailable; one page that
        fails ends the rest of this span. Raises BadInput for an unknown interval or times without a zone or off the
        interval's grid.
        """
        feed = prices or self.venue.bars
        if interval not in feed.intervals:
            raise BadInput(f"interval {interval!r} is not known: use one of {', '.join(feed.intervals)}")
        step = INTERVAL_MS[interval]
        start_ms, end_ms, now_ms = _ms("start", start), _ms("end", end), _ms("closed_before", closed_before)
        if start_ms % step or end_ms % step or start_ms > end_ms:
            raise BadInput(
                f"[{start}, {end}): must begin and end on the grid of {interval}, the end not before the start"
            )
        span = bar_windows(feed, start_ms, end_ms, interval)
        walks = [self._threads.submit(self._walk, feed, w, symbol, interval, now_ms) for w in span]

        def join(parts: list[tuple[Walked, Cost]]) -> Fetched:
            if feed.paging not in WHOLE:
                check_silence([walked for walked, _ in parts], now_ms, ascending=feed.paging == "ascending")
            found = _fetched(BAR_SCHEMA, [(walked.tables, cost) for walked, cost in parts])
            return replace(found, table=priced(found.table)) if prices else found

        return gathered(walks, join)

    def submit_funding(
        self, symbol: str, start: dt.datetime, end: dt.datetime, settled_before: dt.datetime
    ) -> "Future[Fetched]":
        """Fetch the settlements of [start, end), whole minutes; the Future's result is `Fetched`, of FUNDING_SCHEMA.

        `settled_before` is the venue's clock as `closed_before` of `submit_bars`. The Future raises as that of
        `submit_bars`. Raises BadInput for a venue without perpetuals, or times without a zone or between minutes.
        """
        start_ms, end_ms, now_ms = _ms("start", start), _ms("end", end), _ms("settled_before", settled_before)
        feed = self.venue.funding
        if feed is None:
            raise BadInput(f"{self.venue.name} has no perpetuals and so no funding: ask a venue that has")
        if start_ms % funding.MINUTE_MS or end_ms % funding.MINUTE_MS or start_ms > end_ms:
            raise BadInput(f"[{start}, {end}): must begin and end on whole minutes, the end not before the start")
        walks = []
        if start_ms < end_ms:
            span = funding.raw_window(start_ms, end_ms)
            walks = [self._threads.submit(self._walk_funding, feed, span, symbol, now_ms)]
        return gathered(walks, lambda parts: _fetched(funding.FUNDING_SCHEMA, parts))

    def _submit_trades(
        self, symbol: str, start: dt.datetime, end: dt.datetime, traded_before: dt.datetime
    ) -> "Future[Fetched]":
        feed, horizon_ms = self.venue.trades, _ms("traded_before", traded_before) + HORIZON_MS
        if feed is None:
            raise BadInput(f"{self.venue.name}: we do not know to ask it for trades: ask a venue of which we do")
        window = Window(_ms("start", start), _ms("end", end))

        question: dict[str, Any] = {"origin": "sandbox" if self.base_url else "live", "source": "rest"}
        question |= {"symbol": symbol, "start_ms": window.start_ms, "end_ms": window.end_ms}

        def fetch() -> Fetched:
            size = self._contract_size(symbol) if feed.layout.is_in_contracts else None
            asked_of = question | ({"contract_size": size} if size else {})
            cost, words = Cost(), Words(asked_of) if self._keeps_raw else None

            def page(asked: trades.TradePage, check: Callable[[pa.Table], pa.Table]) -> pa.Table:
                def read(answer: Any) -> pa.Table:
                    rows = found(lambda its: feed.rows(its, symbol), answer)
                    table = check(trade_rows.parse_trades(feed.layout, rows, symbol, size))
                    if words:
                        words.add(rows)
                    return table

                return self._ask(feed.ask(asked), read, cost)

            table, since_ms = trades.fetch(feed, window, symbol, horizon_ms, page)
            since = start if since_ms == window.start_ms else moment(since_ms)
            return Fetched(table, cost, raw=words.whole() if words else b"", since=since)

        return gathered([self._threads.submit(fetch)], lambda parts: parts[0])

    def _contract_size(self, symbol: str) -> float | None:
        """Base a contract, as the venue lists it now; its list is asked for once."""
        with self._listing:
            if not self._contract_sizes:
                self._contract_sizes = {one.venue_symbol: one.contract_size for one in self.fetch_listings()}
        return self._contract_sizes.get(symbol)

    def _walk_funding(self, feed: FundingFeed, window: Window, symbol: str, now_ms: int) -> tuple[list[pa.Table], Cost]:
        cost, horizon_ms = Cost(), max(window.end_ms, now_ms) + HORIZON_MS

        def page(cursor_ms: int, rows: int) -> pa.Table:
            def read(answer: Any) -> pa.Table:
                table = funding.parse_settlements(feed.fields, found(feed.rows, answer), symbol, now_ms)
                return check_page(table, cursor_ms, horizon_ms, ascending=feed.ascending)

            return self._ask(feed.ask(funding.FundingPage(symbol, cursor_ms, rows)), read, cost)

        return [funding.keyed(funding.walk(window, feed.rows_max, page, ascending=feed.ascending))], cost

    def _walk(self, feed: BarFeed, window: Window, symbol: str, interval: str, now_ms: int) -> tuple[Walked, Cost]:
        """The bars of one window; runs in a thread of the pool."""
        step, cost = INTERVAL_MS[interval], Cost()
        horizon_ms = max(window.end_ms, now_ms) + HORIZON_MS
        first = bar_page(feed, window, symbol, interval, now_ms)
        ascending = feed.paging == "ascending"

        def read(answer: Any, cursor_ms: int) -> pa.Table:
            rows = found(lambda its: feed.rows(its, symbol), answer)
            table = check_step(parse_rows(feed.layout, rows, step, now_ms), step)
            if feed.paging == "bounded":
                return check_bounded(table, window, step, feed.rows_max)
            if feed.paging == "newest":  # what is older than was asked for is cut, so it does no harm
                return check_page(table, 0, horizon_ms, ascending=True)
            return check_page(table, cursor_ms, horizon_ms, ascending=ascending)

        def page(cursor_ms: int, rows: int) -> pa.Table:
            call = feed.ask(replace(first, cursor_ms=cursor_ms, rows=rows))
            return self._ask(call, lambda answer: read(answer, cursor_ms), cost)

        def whole() -> pa.Table:
            table = page(first.cursor_ms, first.rows)
            return check_reach(table, window.start_ms, feed.kept_bars, step) if feed.kept_bars else table

        if feed.paging in WHOLE:
            return ask_whole(window, whole), cost
        walked = walk(window, step, feed.rows_max, page, ascending=ascending)
        return (replace(walked, silent_at_ms=None) if first.age_bars <= feed.recent_bars else walked), cost

    def _read_time(self, answer: Any) -> int:
        text = str(found(self.venue.time_ms, answer))
        if not (text.isascii() and text.isdigit() and TIME_MS_MIN <= int(text) <= TIME_MS_MAX):
            raise VenueUnavailable(f"{self.venue.name}: its time is {text[:50]!r}, not milliseconds", str(answer))
        return int(text)

    def _ask(self, call: Call, read: Callable[[Any], T], cost: Cost, body_bytes_max: int = BARS_BYTES_MAX) -> T:
        """Send `call` and read the answer, again if that may help, within our patience and the rate budget."""

        def send() -> T:
            exchange = self._exchange()
            exchange.guard = (self._sockets, self.patience.request_s, body_bytes_max)
            exchange.last_response_headers = {}
            result = read(called(exchange, call.method, call.params))
            self._spare(call.budget, exchange.last_response_headers)
            return result

        return self._asker.ask(call, send, cost)

    def _spare(self, budget: Budget, headers: Mapping[str, str]) -> None:
        """Binance tells how much of the minute's weight is spent, by anybody at this address."""
        used = headers.get("x-mbx-used-weight-1m", "")
        if used.isdigit() and budget.window_s == 60:
            self._asker.governor.used(budget, int(used), budget.window_s - time.time() % budget.window_s)

    def _exchange(self) -> Any:
        """This thread's ccxt instance."""
        if not hasattr(self._own, "exchange"):
            config = {
                "enableRateLimit": False,  # the governor's affair: ccxt's limiter knows one instance only
                "apiKey": self._api_key.get_secret_value() if self._api_key else None,
                "options": {"fetchMarkets": {"types": list(self.venue.market_types)}},
            }
            exchange = self._exchange_class(config)
            if self.base_url is not None:
                exchange.urls["api"] = rehost(exchange.urls["api"], self.base_url + self.venue.mount)
            self._own.exchange = exchange
        return self._own.exchange


def _fetched(schema: pa.Schema, parts: list[tuple[list[pa.Table], Cost]]) -> Fetched:
    table = pa.concat_tables([schema.empty_table(), *(table for tables, _ in parts for table in tables)])
    return Fetched(table, sum((cost for _, cost in parts), Cost()))


def _ms(name: str, moment: dt.datetime) -> int:
    if moment.tzinfo is None:
        raise BadInput(f"{name} {moment} has no time zone: use an aware datetime in UTC")
    return (moment - dt.datetime.fromtimestamp(0, dt.UTC)) // dt.timedelta(milliseconds=1)
