"""Kraken: spot (0/public).

Rows of eight, ascending, times in seconds, prices as texts, the candle that is still open last. Whatever `since` says,
an answer holds no more than the newest 720 candles of the interval: older ones are in Kraken's downloads, a zip file a
quarter, and in its trades. Rows lie under the pair's own name (XXBTZUSD) beside `last`. Errors are a list of words in
HTTP 200. Trades are all there since ever, asked for from a time in nanoseconds on, the oldest first; each has a number
among those of its pair, by which nobody can ask. Source: docs.kraken.com, "Get OHLC Data", "Get Recent Trades", "Get
Tradable Asset Pairs", "Spot REST rate limits": about one request a second an IP. That no number is left out is from
memory.
"""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from alphaforge_assets.errors import UnknownSymbol, VenueLimited, VenueUnavailable
from alphaforge_assets.intervals import INTERVAL_MS
from alphaforge_assets.venues.columns import TIME_MS_MAX, Layout
from alphaforge_assets.venues.governor import Budget
from alphaforge_assets.venues.quarters import QuarterFiles
from alphaforge_assets.venues.refusals import Meaning
from alphaforge_assets.venues.source import Call
from alphaforge_assets.venues.trade_rows import TradeLayout
from alphaforge_assets.venues.trades import TradeFeed, TradePage
from alphaforge_assets.venues.venue import BarFeed, BarPage, Marks, Venue, seconds_ms

# OHLC is limited by IP and pair; for us by IP, because all pairs are asked at once.
REQUESTS = Budget("kraken.public", limit=15, window_s=15, burst=1)

# `vwap` has no column and is different in every row: it goes to metadata. A candle without a trade has "0.00000".
OHLC = Layout(
    fields=("timestamp", "open", "high", "low", "close", "vwap", "volume", "trade_count"), usual={}, time_unit_ms=1000
)
KEPT_BARS = 720


def ask_bars(page: BarPage) -> Call:
    """From the cursor on. Whether `since` itself is meant is not said: a second earlier it does not matter."""
    params = {
        "pair": page.venue_symbol,
        "interval": INTERVAL_MS[page.interval] // 60_000,
        "since": page.cursor_ms // 1000 - 1,
    }
    return Call("publicGetOHLC", params, REQUESTS, 1)


def ask_trades(page: TradePage) -> Call:
    """From a moment on, whatever its end. Whether `since` itself is meant does not matter a nanosecond earlier."""
    params = {"pair": page.venue_symbol, "since": max(0, page.start_ms * 1_000_000 - 1), "count": page.rows}
    return Call("publicGetTrades", params, REQUESTS, 1)


def bar_rows(answer: Any, symbol: str) -> Any:
    return answer["result"][symbol]


def trade_rows(answer: Any, symbol: str) -> Any:
    return answer["result"][symbol]


def time_ms(answer: Any) -> Any:
    return seconds_ms(answer["result"]["unixtime"])


def marks(info: Mapping[str, Any]) -> Marks:
    """It does not say when a pair was listed."""
    return Marks(status=str(info.get("status", "")), listed_ms=None, delisted_ms=None)


# Source: docs.kraken.com, "Error messages", and what ccxt 4.5.90 maps.
REFUSALS = (
    Meaning(VenueLimited, code="EGeneral:Too many requests"),
    Meaning(VenueLimited, code="EAPI:Rate limit exceeded"),
    Meaning(VenueLimited, code="EGeneral:Temporary lockout", hold_s=900),
    Meaning(UnknownSymbol, code="EQuery:Unknown asset pair"),
    Meaning(UnknownSymbol, code="EQuery:Invalid asset pair"),
    Meaning(VenueUnavailable, code="EService:Unavailable"),
    Meaning(VenueUnavailable, code="EService:Busy"),
    Meaning(VenueUnavailable, code="EService:Deadline elapsed"),
    Meaning(VenueUnavailable, code="EGeneral:Internal error"),
    Meaning(VenueUnavailable, code="EDatabase:Internal error"),
)

# The order that took was a market one mostly; a limit order says so in metadata.
TRADES = TradeFeed(
    rows_max=1000,
    ask=ask_trades,
    rows=trade_rows,
    layout=TradeLayout(
        kind="single",
        fields=("price", "volume", "time", "side", "order", "misc", "trade_id"),
        keys={"trade_id": "trade_id", "price": "price", "quantity": "volume", "timestamp": "time"},
        side="side",
        sides={"b": "buy", "s": "sell"},
        usual={"order": "m", "misc": ""},
        time="seconds",
    ),
    span_ms=TIME_MS_MAX,
    by_id=False,
    is_bounded=False,
)

SPOT = Venue(
    name="kraken_spot",
    exchange="kraken",
    concurrency=2,
    bars=BarFeed(paging="newest", rows_max=KEPT_BARS, ask=ask_bars, rows=bar_rows, layout=OHLC, kept_bars=KEPT_BARS),
    ask_time=Call("publicGetTime", {}, REQUESTS, 1),
    time_ms=time_ms,
    market_types=("spot",),
    markets_budget=REQUESTS,
    markets_weight=1,
    marks=marks,
    refusals=REFUSALS,
    trades=TRADES,
    nautilus_symbol="{base}/{quote}",
)

# Downloads, second-hand by several who read the quarters of 2026: members of pairs without X and Z (XBTUSD_1.csv), no
# header, times in seconds, no mean price, no row for an interval without a trade; the second quarter was there on the
# 14th of September. The years before are in one file of ten gigabytes in five parts, which is not read here.
DOWNLOADS = Budget("kraken.downloads", limit=600, window_s=60, burst=30)
OHLCVT = Layout(
    fields=("timestamp", "open", "high", "low", "close", "volume", "trade_count"), usual={}, time_unit_ms=1000
)


def quarter_url(first: dt.date) -> str:
    return f"https://assets.kraken.com/marketing/institutions/Kraken_OHLCVT_{first.year}Q{(first.month + 2) // 3}.zip"


def member(pair: str, interval: str) -> str:
    return f"{pair}_{INTERVAL_MS[interval] // 60_000}.csv"


def file_name(info: Mapping[str, Any]) -> str:
    return str(info["altname"])


FILES = QuarterFiles(
    url=quarter_url,
    member=member,
    named=file_name,
    layout=OHLCVT,
    budget=DOWNLOADS,
    intervals=("1m", "5m", "15m", "1h", "4h", "1d"),
    first=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    lag=dt.timedelta(days=76),
)
