"""Coinbase Exchange: spot (api.exchange.coinbase.com), which needs no key; not Coinbase's brokerage ("Advanced").

Rows of six numbers, descending, times in seconds, low and high before open. A window is told by both ends, inclusive;
one of more than 300 candles is refused, and some candles of an answer "may precede" its start. Where nobody traded
there is no candle ("no data is published for intervals where there are no ticks"), nor is there one of four hours.
Trades are counted without a gap by product, from the newest to the oldest, times to the microsecond; there is no asking
by time, and `side` is the maker's. Source: docs.cdp.coinbase.com, "Get product candles", "Get product trades",
"Pagination", "Get all known trading pairs", "Rate limits": 10 requests a second an IP.
"""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from alphaforge_assets.errors import UnknownSymbol, VenueUnavailable
from alphaforge_assets.intervals import INTERVAL_MS
from alphaforge_assets.venues.columns import Layout
from alphaforge_assets.venues.governor import Budget
from alphaforge_assets.venues.refusals import Meaning
from alphaforge_assets.venues.source import Call
from alphaforge_assets.venues.trade_rows import TradeLayout
from alphaforge_assets.venues.trades import TradeFeed, TradePage
from alphaforge_assets.venues.venue import BarFeed, BarPage, Marks, Venue, seconds_ms

REQUESTS = Budget("coinbase.public", limit=10, window_s=1, burst=1)

CANDLE = Layout(fields=("timestamp", "low", "high", "open", "close", "volume"), usual={}, time_unit_ms=1000)


def ask_bars(page: BarPage) -> Call:
    """Both ends are open times wanted."""
    step = INTERVAL_MS[page.interval]
    params = {
        "id": page.venue_symbol,
        "granularity": step // 1000,
        "start": _iso(page.cursor_ms),
        "end": _iso(page.end_ms - step),
    }
    return Call("publicGetProductsIdCandles", params, REQUESTS, 1)


def _iso(ms: int) -> str:
    return dt.datetime.fromtimestamp(ms / 1000, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def ask_trades(page: TradePage) -> Call:
    """Those older than `after`, exclusive, the newest of them; without it the newest of all.

    `before` brings the newest page of what is newer, so it cannot be the other end.
    """
    params = {"id": page.venue_symbol, "limit": page.rows}
    if page.from_id is not None:
        params["after"] = page.from_id + page.rows
    return Call("publicGetProductsIdTrades", params, REQUESTS, 1)


def bar_rows(answer: Any, symbol: str) -> Any:
    return answer


def trade_rows(answer: Any, symbol: str) -> Any:
    return answer


def time_ms(answer: Any) -> Any:
    return seconds_ms(answer["epoch"])


def marks(info: Mapping[str, Any]) -> Marks:
    """It does not say when a product was listed."""
    return Marks(status=str(info.get("status", "")), listed_ms=None, delisted_ms=None)


# Errors have a message and no code. Source: recorded answers in ccxt 4.5.90's tests and its table of messages.
REFUSALS = (
    Meaning(UnknownSymbol, status=404, text="notfound"),
    Meaning(UnknownSymbol, status=404, text="product not found"),
    Meaning(VenueUnavailable, text="under maintenance"),
)

TRADES = TradeFeed(
    rows_max=1000,
    ask=ask_trades,
    rows=trade_rows,
    layout=TradeLayout(
        kind="single",
        keys={"trade_id": "trade_id", "price": "price", "quantity": "size", "timestamp": "time"},
        side="side",
        sides={"buy": "sell", "sell": "buy"},  # "the maker order side": what the taker did is the other one
        time="iso",
    ),
    by_time="never",
    is_bounded=False,
)

SPOT = Venue(
    name="coinbase_spot",
    exchange="coinbaseexchange",
    concurrency=4,
    bars=BarFeed(
        paging="bounded",
        rows_max=300,
        ask=ask_bars,
        rows=bar_rows,
        layout=CANDLE,
        intervals=("1m", "5m", "15m", "1h", "1d"),
        leaves_out_quiet=True,
    ),
    ask_time=Call("publicGetTime", {}, REQUESTS, 1),
    time_ms=time_ms,
    market_types=("spot",),
    markets_budget=REQUESTS,
    markets_weight=1,
    marks=marks,
    refusals=REFUSALS,
    trades=TRADES,
    known_as="coinbase",
)
