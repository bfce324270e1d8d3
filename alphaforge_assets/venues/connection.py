"""A connection to one venue: what is fetched, by how many threads, how often it is tried, at what cost.

The only class here is the one that owns resources: threads, sockets, the governor's file. What a venue is stands in its
record, what an answer means in transport.py, how a span is paged in bars.py.
"""

import datetime as dt
import importlib
import math
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, TypeVar

import pyarrow as pa
import pydantic
import stamina

from alphaforge_assets.errors import AlphaForgeError, BadInput, Permanent, VenueLimited, VenueUnavailable
from alphaforge_assets.universe import INTERVAL_MS
from alphaforge_assets.venues import binance, bybit, funding, okx
from alphaforge_assets.venues.bars import Walked, Window, check_page, check_silence, walk, windows
from alphaforge_assets.venues.columns import BAR_SCHEMA, TIME_MS_MAX, TIME_MS_MIN, parse_rows
from alphaforge_assets.venues.governor import Budget, Governor
from alphaforge_assets.venues.listings import moment, read_listings
from alphaforge_assets.venues.transport import check_base_url, guarded, open_pool, rehost
from alphaforge_assets.venues.venue import BarPage, Call, Funding, Listing, Venue

VENUES: Mapping[str, Venue] = MappingProxyType(
    {v.name: v for v in (binance.SPOT, okx.SPOT, bybit.SPOT, binance.PERP, okx.PERP, bybit.PERP)}
)

BARS_BYTES_MAX = 4_000_000
MARKETS_BYTES_MAX = 64_000_000  # Binance's exchangeInfo of every spot pair is past 10 MB

# How far beyond the venue's clock, as the caller read it, a bar may open before its page is not believed: the age of a
# request that waited in a queue.
HORIZON_MS = 86_400_000

S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True)
class Patience:
    """How long we try. One try has `request_s`; all of them together `total_s`, and the wait and try that pass it."""

    request_s: float = 15.0
    total_s: float = 180.0
    attempts: int = 8
    wait_first_s: float = 0.5
    wait_max_s: float = 10.0
    jitter_s: float = 1.0


@dataclass
class Cost:
    """What something took. `weight` is in the venue's own units, `waited_s` the time the rate budget made us wait."""

    requests: int = 0
    weight: int = 0
    retries: int = 0
    waited_s: float = 0.0


@dataclass(frozen=True)
class Fetched:
    """Rows of BAR_SCHEMA or FUNDING_SCHEMA in time order and what it took to get them."""

    table: pa.Table
    requests: int
    weight: int
    retries: int
    waited_s: float


def open_venue(
    name: str,
    *,
    base_url: str | None,
    governor_file: Path,
    api_key: pydantic.SecretStr | None = None,
    patience: Patience = Patience(),
    limits_factor: float = 1.0,
) -> "Connection":
    """Connect to a venue; nothing is sent yet.

    `base_url` None is the real venue; otherwise every URL of the venue lies below it, with the venue's own paths.
    `governor_file` is shared by all processes of the machine. `api_key` is never needed: public data only; it goes to
    ccxt and nowhere else. `limits_factor` multiplies the venue's rate limits and is for sandboxes that allow more.
    Raises BadInput for a venue, URL, file or factor that cannot be.
    """
    venue = VENUES.get(name)
    if venue is None:
        raise BadInput(f"venue {name!r} is not known: use one of {', '.join(VENUES)}")
    if base_url is not None:
        base_url = check_base_url(base_url)
    if not (0.001 <= limits_factor <= 1000 and (base_url or limits_factor == 1.0)):
        raise BadInput(
            f"limits_factor {limits_factor}: must be 1 for a real venue, and from 0.001 to 1000 for a sandbox"
        )
    governor = Governor(governor_file, base_url or "live", limits_factor)
    return Connection(venue, base_url, governor, api_key, patience)


class Connection:
    """An open venue: a context manager, safe to use from several threads. Made by `open_venue`."""

    def __init__(
        self,
        venue: Venue,
        base_url: str | None,
        governor: Governor,
        api_key: pydantic.SecretStr | None,
        patience: Patience,
    ) -> None:
        self.venue = venue
        self.base_url = base_url
        self.patience = patience
        self._governor = governor
        self._api_key = api_key
        self._closing = threading.Event()
        self._exchange_class = guarded(getattr(importlib.import_module("ccxt"), venue.exchange))  # 0.3 s: not at import
        self._sockets = open_pool(venue.concurrency + 1)
        self._threads = ThreadPoolExecutor(venue.concurrency, thread_name_prefix=venue.name)
        self._own = threading.local()

    def __repr__(self) -> str:
        return f"Connection({self.venue.name!r}, {self.base_url or 'live'!r})"

    def __enter__(self) -> "Connection":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End what is waiting (it raises VenueUnavailable), wait for what is being sent, free everything."""
        self._closing.set()
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._sockets.clear()
        self._governor.close()

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

    def submit_bars(
        self, venue_symbol: str, interval: str, start: dt.datetime, end: dt.datetime, closed_before: dt.datetime
    ) -> "Future[Fetched]":
        """Fetch the bars that open in [start, end), pages in parallel; the Future's result is `Fetched`.

        `closed_before` is the venue's clock as read once by the caller (`fetch_server_time`): bars that end after it
        are not closed. The Future raises UnknownSymbol, VenueLimited, VenueRefused or VenueUnavailable; one page that
        fails ends the rest of this span. Raises BadInput for an unknown interval or times without a zone or off the
        interval's grid.
        """
        if interval not in INTERVAL_MS:
            raise BadInput(f"interval {interval!r} is not known: use one of {', '.join(INTERVAL_MS)}")
        step = INTERVAL_MS[interval]
        start_ms, end_ms, now_ms = _ms("start", start), _ms("end", end), _ms("closed_before", closed_before)
        if start_ms % step or end_ms % step or start_ms > end_ms:
            raise BadInput(
                f"[{start}, {end}): must begin and end on the grid of {interval}, the end not before the start"
            )
        venue = self.venue
        span = windows(start_ms, end_ms, step, venue.rows_max, ascending=venue.ascending)
        walks = [self._threads.submit(self._walk, w, venue_symbol, interval, now_ms) for w in span]

        def join(parts: list[tuple[Walked, Cost]]) -> Fetched:
            check_silence([walked for walked, _ in parts], now_ms, ascending=venue.ascending)
            return _fetched(BAR_SCHEMA, [(walked.tables, cost) for walked, cost in parts])

        return _gathered(walks, join)

    def submit_funding(
        self, venue_symbol: str, start: dt.datetime, end: dt.datetime, settled_before: dt.datetime
    ) -> "Future[Fetched]":
        """Fetch the settlements of [start, end), whole minutes; the Future's result is `Fetched`, of FUNDING_SCHEMA.

        `settled_before` is the venue's clock as `closed_before` of `submit_bars`. The Future raises as that of
        `submit_bars`. Raises BadInput for a venue without perpetuals, or times without a zone or between minutes.
        """
        start_ms, end_ms, now_ms = _ms("start", start), _ms("end", end), _ms("settled_before", settled_before)
        said = self.venue.funding
        if said is None:
            raise BadInput(f"{self.venue.name} has no perpetuals and so no funding: ask a venue that has")
        if start_ms % funding.MINUTE_MS or end_ms % funding.MINUTE_MS or start_ms > end_ms:
            raise BadInput(f"[{start}, {end}): must begin and end on whole minutes, the end not before the start")
        walks = []
        if start_ms < end_ms:
            span = funding.raw_window(start_ms, end_ms)
            walks = [self._threads.submit(self._walk_funding, said, span, venue_symbol, now_ms)]
        return _gathered(walks, lambda parts: _fetched(funding.FUNDING_SCHEMA, parts))

    def _walk_funding(
        self, said: Funding, window: Window, venue_symbol: str, now_ms: int
    ) -> tuple[list[pa.Table], Cost]:
        cost, horizon_ms = Cost(), max(window.end_ms, now_ms) + HORIZON_MS

        def page(cursor_ms: int, rows: int) -> pa.Table:
            def read(answer: Any) -> pa.Table:
                table = funding.parse_settlements(said.fields, _found(said.rows, answer), venue_symbol, now_ms)
                return check_page(table, cursor_ms, horizon_ms, ascending=said.ascending)

            return self._ask(said.ask(funding.FundingPage(venue_symbol, cursor_ms, rows)), read, cost)

        return [funding.keyed(funding.walk(window, said.rows_max, page, ascending=said.ascending))], cost

    def _walk(self, window: Window, venue_symbol: str, interval: str, now_ms: int) -> tuple[Walked, Cost]:
        """The bars of one window; runs in a thread of the pool."""
        venue, step, cost = self.venue, INTERVAL_MS[interval], Cost()
        horizon_ms = max(window.end_ms, now_ms) + HORIZON_MS
        age_bars = math.ceil(max(0, now_ms - window.start_ms) / step)

        def page(cursor_ms: int, rows: int) -> pa.Table:
            def read(answer: Any) -> pa.Table:
                table = parse_rows(venue.bar_layout, _found(venue.bar_rows, answer), step, now_ms)
                return check_page(table, cursor_ms, horizon_ms, ascending=venue.ascending)

            return self._ask(venue.ask_bars(BarPage(venue_symbol, interval, cursor_ms, rows, age_bars)), read, cost)

        walked = walk(window, step, venue.rows_max, page, ascending=venue.ascending)
        return (replace(walked, silent_at_ms=None) if age_bars <= venue.recent_bars else walked), cost

    def _read_time(self, answer: Any) -> int:
        found = _found(self.venue.time_ms, answer)
        text = str(found)
        if not (text.isascii() and text.isdigit() and TIME_MS_MIN <= int(text) <= TIME_MS_MAX):
            raise VenueUnavailable(f"{self.venue.name}: its time is {text[:50]!r}, not milliseconds", str(answer))
        return int(text)

    def _ask(self, call: Call, read: Callable[[Any], T], cost: Cost, body_bytes_max: int = BARS_BYTES_MAX) -> T:
        """Send `call` and read the answer, again if that may help, within our patience and the rate budget."""
        p, began = self.patience, time.monotonic()
        tries = stamina.retry_context(
            on=_may_help,
            attempts=p.attempts,
            timeout=p.total_s,
            wait_initial=p.wait_first_s,
            wait_max=p.wait_max_s,
            wait_jitter=p.jitter_s,
        )
        sent = 0
        try:
            for attempt in tries:
                # Outside of the attempt: what the governor refuses is refused for good.
                left_s = max(0.0, p.total_s - (time.monotonic() - began))
                cost.waited_s += self._governor.take(call.budget, call.weight, left_s, self._closing)
                with attempt:
                    sent += 1
                    cost.requests += 1
                    cost.weight += call.weight
                    cost.retries += sent > 1
                    return self._send(call, read, body_bytes_max)
        except VenueUnavailable as error:
            tried = f"tried {sent} times in {time.monotonic() - began:.0f} s"
            raise VenueUnavailable(f"{self.venue.name}: {error} ({tried})", error.evidence) from error
        raise AssertionError("stamina either returns or raises")

    def _send(self, call: Call, read: Callable[[Any], T], body_bytes_max: int) -> T:
        """One try, with what the governor has to learn from it."""
        exchange, budget = self._exchange(), call.budget
        exchange.guard = (self._sockets, self.patience.request_s, body_bytes_max)
        exchange.last_response_headers = {}
        try:
            result = read(_called(exchange, call))
        except VenueLimited as error:
            self._governor.hold(budget, error.retry_after_s or budget.window_s, str(error))
            raise
        except VenueUnavailable as error:
            self._governor.failed(budget, str(error))
            raise
        except Permanent:
            self._governor.answered(budget)
            raise
        self._governor.answered(budget)
        self._spare(budget, exchange.last_response_headers)
        return result

    def _spare(self, budget: Budget, headers: Mapping[str, str]) -> None:
        """Binance tells how much of the minute's weight is spent, by anybody at this address."""
        used = headers.get("x-mbx-used-weight-1m", "")
        if used.isdigit() and budget.window_s == 60:
            self._governor.used(budget, int(used), budget.window_s - time.time() % budget.window_s)

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
                exchange.urls["api"] = rehost(exchange.urls["api"], self.base_url)
            self._own.exchange = exchange
        return self._own.exchange


def _may_help(error: Exception) -> bool | float:
    """Whether to try again. After a VenueLimited at once: the governor makes us wait for as long as the venue said."""
    return 0.0 if isinstance(error, VenueLimited) else isinstance(error, VenueUnavailable)


def _called(exchange: Any, call: Call) -> Any:
    """What ccxt makes of the call. Its own code may trip over an answer that is JSON but nothing it knows."""
    try:
        return getattr(exchange, call.method)(dict(call.params))
    except AlphaForgeError:
        raise
    except Exception as error:
        raise VenueUnavailable(
            f"{exchange.id} {call.method}: ccxt cannot read the answer ({type(error).__name__}: {str(error)[:300]})"
        ) from error


def _found(reader: Callable[[Any], T], answer: Any) -> T:
    """`reader(answer)`, or VenueUnavailable if the answer has another shape."""
    try:
        return reader(answer)
    except (KeyError, IndexError, TypeError) as error:
        raise VenueUnavailable(
            f"an answer of another shape than documented ({type(error).__name__}: {error})", str(answer)
        ) from error


def _gathered(parts: "list[Future[S]]", join: Callable[[list[S]], T]) -> "Future[T]":
    """One Future of all parts: `join` of their results in order, or the first failure, which cancels the rest."""
    whole: Future[T] = Future()
    whole.set_running_or_notify_cancel()
    lock, left = threading.Lock(), len(parts)

    def settle() -> None:
        try:
            whole.set_result(join([part.result() for part in parts]))
        except Exception as error:
            whole.set_exception(error)

    def done(part: "Future[S]") -> None:
        nonlocal left
        if part.cancelled():
            failure: BaseException | None = VenueUnavailable("the connection was closed before these bars were fetched")
        else:
            failure = part.exception()
        with lock:
            left -= 1
            if whole.done():
                return
            if failure is None:
                if left == 0:
                    settle()
                return
            whole.set_exception(failure)
        for other in parts:
            other.cancel()

    if not parts:
        settle()
    for part in parts:
        part.add_done_callback(done)
    return whole


def _fetched(schema: pa.Schema, parts: list[tuple[list[pa.Table], Cost]]) -> Fetched:
    costs = [cost for _, cost in parts]
    return Fetched(
        table=pa.concat_tables([schema.empty_table(), *(table for tables, _ in parts for table in tables)]),
        requests=sum(c.requests for c in costs),
        weight=sum(c.weight for c in costs),
        retries=sum(c.retries for c in costs),
        waited_s=sum(c.waited_s for c in costs),
    )


def _ms(name: str, moment: dt.datetime) -> int:
    if moment.tzinfo is None:
        raise BadInput(f"{name} {moment} has no time zone: use an aware datetime in UTC")
    return (moment - dt.datetime.fromtimestamp(0, dt.UTC)) // dt.timedelta(milliseconds=1)
