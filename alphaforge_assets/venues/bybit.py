"""Bybit: spot and linear perpetuals (v5/market).

Rows of seven texts, descending, no flag for a final bar: it is over when its interval is. `end` is the latest open time
wanted, inclusive; `start` is not sent, because the venue answers with the candle that contains it. Limit: 600 requests
in 5 s an IP (docs v5/rate-limit); a breach is HTTP 403 for at least ten minutes, so we stay well below.

Of trades REST tells the newest alone, 60 of spot and 1,000 of perpetuals, from the newest to the oldest, each with a
name: a UUID of perpetuals, digits of spot, of which the docs do not say that they count (v5/market/recent-trade). `seq`
goes to metadata.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from alphaforge_assets.errors import UnknownSymbol, VenueLimited, VenueRefused, VenueUnavailable
from alphaforge_assets.venues.columns import Layout
from alphaforge_assets.venues.funding import FundingPage
from alphaforge_assets.venues.governor import Budget
from alphaforge_assets.venues.refusals import Meaning
from alphaforge_assets.venues.source import Call
from alphaforge_assets.venues.trade_rows import TradeLayout
from alphaforge_assets.venues.trades import TradeFeed, TradePage
from alphaforge_assets.venues.venue import BarFeed, BarPage, FundingFeed, Marks, Venue, optional_ms, optional_number

REQUESTS = Budget("bybit.http", limit=600, window_s=5, burst=50)

INTERVAL = {"1m": "1", "5m": "5", "15m": "15", "1h": "60", "4h": "240", "1d": "D"}

KLINE = Layout(fields=("timestamp", "open", "high", "low", "close", "volume", "quote_volume"), usual={})


PRICE_KLINE = Layout(fields=("timestamp", "open", "high", "low", "close"), usual={})


def ask_spot_bars(page: BarPage) -> Call:
    return _ask_bars("spot", page)


def ask_linear_bars(page: BarPage) -> Call:
    """Volume in base and turnover in quote, as on spot."""
    return _ask_bars("linear", page)


def ask_funding(page: FundingPage) -> Call:
    """The newest rows up to `endTime`, inclusive.

    With a `startTime` beside it the venue gives the newest of the window too, and a `startTime` alone is an error.
    """
    params = {
        "category": "linear",
        "symbol": page.venue_symbol,
        "endTime": page.cursor_ms - 1,
        "limit": page.rows,
    }
    return Call("publicGetV5MarketFundingHistory", params, REQUESTS, 1)


def ask_spot_trades(page: TradePage) -> Call:
    """The newest, whatever is wanted."""
    return _ask_trades("spot", page)


def ask_linear_trades(page: TradePage) -> Call:
    """The newest, whatever is wanted; `size` is in base."""
    return _ask_trades("linear", page)


def _ask_trades(category: str, page: TradePage) -> Call:
    params = {"category": category, "symbol": page.venue_symbol, "limit": page.rows}
    return Call("publicGetV5MarketRecentTrade", params, REQUESTS, 1)


def ask_mark_bars(page: BarPage) -> Call:
    return _ask_bars("linear", page, "publicGetV5MarketMarkPriceKline")


def ask_index_bars(page: BarPage) -> Call:
    return _ask_bars("linear", page, "publicGetV5MarketIndexPriceKline")


def ask_premium_bars(page: BarPage) -> Call:
    return _ask_bars("linear", page, "publicGetV5MarketPremiumIndexPriceKline")


def _ask_bars(category: str, page: BarPage, method: str = "publicGetV5MarketKline") -> Call:
    params = {
        "category": category,
        "symbol": page.venue_symbol,
        "interval": INTERVAL[page.interval],
        "end": page.cursor_ms - 1,
        "limit": page.rows,
    }
    return Call(method, params, REQUESTS, 1)


def bar_rows(answer: Any, symbol: str) -> Any:
    """Raises VenueUnavailable for an answer that says it is of another symbol."""
    if (told := answer["result"]["symbol"]) != symbol:
        raise VenueUnavailable(f"bars of {symbol} were asked for, and those of {str(told)[:50]} came", str(answer))
    return answer["result"]["list"]


def funding_rows(answer: Any) -> Any:
    return answer["result"]["list"]


def trade_rows(answer: Any, symbol: str) -> Any:
    return answer["result"]["list"]


def time_ms(answer: Any) -> Any:
    return answer["time"]


def marks(info: Mapping[str, Any]) -> Marks:
    minutes = optional_number(info.get("fundingInterval"))
    return Marks(
        status=str(info.get("status", "")),
        listed_ms=optional_ms(info.get("launchTime")),  # derivatives only; spot does not say
        delisted_ms=optional_ms(info.get("deliveryTime")),
        funding_rate_cap=optional_number(info.get("upperFundingRate")),  # perpetuals only, like the interval
        funding_rate_floor=optional_number(info.get("lowerFundingRate")),
        funding_interval_hours=minutes / 60 if minutes else None,
    )


# Source: Bybit's v5/error and v5/rate-limit, and what ccxt 4.5.90 maps.
REFUSALS = (
    Meaning(VenueLimited, status=403, text="access too frequent", hold_s=600),
    Meaning(VenueLimited, code="10006"),
    Meaning(VenueLimited, code="10018", hold_s=600),  # by IP: Bybit asks for ten minutes
    Meaning(VenueRefused, code="10009"),  # IP banned by hand
    Meaning(VenueRefused, code="10024"),  # compliance
    Meaning(UnknownSymbol, code="10001", text="symbol"),  # 10001 is any bad parameter
    Meaning(UnknownSymbol, code="10029"),
    Meaning(VenueUnavailable, code="10000"),  # server timeout
    Meaning(VenueUnavailable, code="10016"),
    Meaning(VenueUnavailable, code="5004"),
)

FUNDING = FundingFeed(
    ascending=False,
    rows_max=200,
    ask=ask_funding,
    rows=funding_rows,
    fields={"symbol": "symbol", "timestamp": "fundingRateTimestamp", "rate": "fundingRate"},
)

TRADE = TradeLayout(
    kind="single",
    keys={"trade_id": "execId", "price": "price", "quantity": "size", "timestamp": "time"},
    side="side",
    sides={"Buy": "buy", "Sell": "sell"},
    usual={"isBlockTrade": False, "isRPITrade": False},
    own="symbol",
    is_named=True,
)
# How far back the newest reach depends on the market; of what is older than the tail's first look there is no hope.
SPOT_TRADES = TradeFeed(
    rows_max=60, ask=ask_spot_trades, rows=trade_rows, layout=TRADE, kept_hours=2, by_id=False, by_time="never"
)
LINEAR_TRADES = replace(SPOT_TRADES, rows_max=1000, ask=ask_linear_trades)
PRICES = {
    price: BarFeed(paging="descending", rows_max=1000, ask=ask, rows=bar_rows, layout=PRICE_KLINE)
    for price, ask in (("mark", ask_mark_bars), ("index", ask_index_bars), ("premium", ask_premium_bars))
}

SPOT = Venue(
    name="bybit_spot",
    exchange="bybit",
    concurrency=16,
    bars=BarFeed(paging="descending", rows_max=1000, ask=ask_spot_bars, rows=bar_rows, layout=KLINE),
    ask_time=Call("publicGetV5MarketTime", {}, REQUESTS, 1),
    time_ms=time_ms,
    market_types=("spot",),
    markets_budget=REQUESTS,
    markets_weight=1,
    marks=marks,
    refusals=REFUSALS,
    trades=SPOT_TRADES,
    nautilus_symbol="{id}-SPOT",
)

PERP = Venue(
    name="bybit_perp",
    exchange="bybit",
    concurrency=16,
    bars=BarFeed(paging="descending", rows_max=1000, ask=ask_linear_bars, rows=bar_rows, layout=KLINE),
    ask_time=Call("publicGetV5MarketTime", {}, REQUESTS, 1),
    time_ms=time_ms,
    market_types=("linear",),
    markets_budget=REQUESTS,
    markets_weight=2,
    marks=marks,
    refusals=REFUSALS,
    funding=FUNDING,
    trades=LINEAR_TRADES,
    nautilus_symbol="{id}-LINEAR",
    prices=PRICES,
)
