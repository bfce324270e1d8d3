"""OKX: spot and USDT/USDC-margined perpetual swaps (api/v5).

Rows of nine texts, descending, `confirm` "1" when the bar is final. Spot counts `vol` in base and `volCcy` in quote;
swaps count `vol` in contracts and `volCcy` in base. `after` means strictly older than; it is the only bound we send,
because with `before` beside it the docs do not say which end of a longer span comes. Limits: OKX's v5 docs, per IP and
endpoint in two seconds. The docs and other clients disagree whether `limit` goes to 100 or 300: it is a wish.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from alphaforge_assets.errors import UnknownSymbol, VenueLimited, VenueUnavailable
from alphaforge_assets.venues.columns import Layout
from alphaforge_assets.venues.funding import FundingPage
from alphaforge_assets.venues.governor import Budget
from alphaforge_assets.venues.refusals import Meaning
from alphaforge_assets.venues.source import Call
from alphaforge_assets.venues.trade_rows import TradeLayout
from alphaforge_assets.venues.trades import TradeFeed, TradePage
from alphaforge_assets.venues.venue import BarFeed, BarPage, FundingFeed, Marks, Venue, optional_ms

HISTORY_CANDLES = Budget("okx.history-candles", limit=20, window_s=2, burst=2)
CANDLES = Budget("okx.candles", limit=40, window_s=2, burst=4)
# By IP and instrument; for us by IP, because all instruments of a venue are asked at once.
FUNDING_HISTORY = Budget("okx.funding-rate-history", limit=10, window_s=2, burst=1)
HISTORY_TRADES = Budget("okx.history-trades", limit=20, window_s=2, burst=2)
PRICE_CANDLES = {
    name: Budget(f"okx.{name}", limit=20, window_s=2, burst=2) for name in ("mark-price-candles", "index-candles")
}
HISTORY_PRICE_CANDLES = {
    name: Budget(f"okx.history-{name}", limit=10, window_s=2, burst=1)
    for name in ("mark-price-candles", "index-candles")
}
PUBLIC = Budget("okx.public", limit=10, window_s=2, burst=1)

# /market/candles serves the latest 1440 bars. Half of that leaves a queued request hours before they slide out.
RECENT_BARS_MAX = 720

# 4H and longer are cut at UTC+8 unless they say utc; up to 4 hours the grids are the same.
BAR = {"1m": "1m", "5m": "5m", "15m": "15m", "1h": "1H", "4h": "4H", "1d": "1Dutc"}

SPOT_CANDLE = Layout(
    fields=("timestamp", "open", "high", "low", "close", "volume", "volCcy", "quote_volume", "confirm"),
    usual={"volCcy": "=quote_volume"},
)
SWAP_CANDLE = Layout(
    fields=("timestamp", "open", "high", "low", "close", "contract_volume", "volume", "quote_volume", "confirm"),
    usual={},
)


PRICE_CANDLE = Layout(fields=("timestamp", "open", "high", "low", "close", "confirm"), usual={})


def ask_bars(page: BarPage) -> Call:
    """The latest bars from market/candles, which allows twice the requests; older ones from market/history-candles."""
    params = _bar_params(page)
    if page.age_bars <= RECENT_BARS_MAX:
        return Call("publicGetMarketCandles", params, CANDLES, 1)
    return Call("publicGetMarketHistoryCandles", params, HISTORY_CANDLES, 1)


def ask_mark_bars(page: BarPage) -> Call:
    """As bars; of a swap by its own name."""
    params, its = _bar_params(page), "mark-price-candles"
    if page.age_bars <= RECENT_BARS_MAX:
        return Call("publicGetMarketMarkPriceCandles", params, PRICE_CANDLES[its], 1)
    return Call("publicGetMarketHistoryMarkPriceCandles", params, HISTORY_PRICE_CANDLES[its], 1)


def ask_index_bars(page: BarPage) -> Call:
    """As bars; an index goes by the swap's underlying, which is the swap's name without its kind."""
    params, its = _bar_params(page), "index-candles"
    params["instId"] = page.venue_symbol.removesuffix("-SWAP")
    if page.age_bars <= RECENT_BARS_MAX:
        return Call("publicGetMarketIndexCandles", params, PRICE_CANDLES[its], 1)
    return Call("publicGetMarketHistoryIndexCandles", params, HISTORY_PRICE_CANDLES[its], 1)


def _bar_params(page: BarPage) -> dict[str, str]:
    return {
        "instId": page.venue_symbol,
        "bar": BAR[page.interval],
        "after": str(page.cursor_ms),
        "limit": str(page.rows),
    }


def ask_funding(page: FundingPage) -> Call:
    """Descending from `after`, exclusive; `before` alone would bring the newest page."""
    params = {"instId": page.venue_symbol, "after": str(page.cursor_ms), "limit": str(page.rows)}
    return Call("publicGetPublicFundingRateHistory", params, FUNDING_HISTORY, 1)


def ask_trades(page: TradePage) -> Call:
    """By id (type 1) between two ends, both exclusive; by time (type 2) the newest before `after`."""
    params = {"instId": page.venue_symbol, "limit": str(page.rows)}
    if page.from_id is None:
        params |= {"type": "2", "after": str(page.end_ms)}
    else:
        params |= {"type": "1", "after": str(page.from_id + page.rows), "before": str(page.from_id - 1)}
    return Call("publicGetMarketHistoryTrades", params, HISTORY_TRADES, 1)


def bar_rows(answer: Any, symbol: str) -> Any:
    return answer["data"]


def trade_rows(answer: Any, symbol: str) -> Any:
    return answer["data"]


def funding_rows(answer: Any) -> Any:
    return answer["data"]


def time_ms(answer: Any) -> Any:
    return answer["data"][0]["ts"]


def marks(info: Mapping[str, Any]) -> Marks:
    return Marks(
        status=str(info.get("state", "")),
        listed_ms=optional_ms(info.get("listTime")),
        delisted_ms=optional_ms(info.get("expTime")),
    )


# Source: OKX's error code list, and what ccxt 4.5.90 maps.
REFUSALS = (
    Meaning(VenueLimited, code="50011"),
    Meaning(VenueLimited, code="50061"),
    Meaning(UnknownSymbol, code="51001"),
    Meaning(UnknownSymbol, code="51000", text="instid"),
    Meaning(VenueUnavailable, code="50001"),  # maintenance
    Meaning(VenueUnavailable, code="50004"),
    Meaning(VenueUnavailable, code="50005"),
    Meaning(VenueUnavailable, code="50013"),
    Meaning(VenueUnavailable, code="50026"),
)

FUNDING = FundingFeed(
    ascending=False,
    rows_max=100,
    ask=ask_funding,
    rows=funding_rows,
    fields={
        "symbol": "instId",
        "timestamp": "fundingTime",
        "rate": "realizedRate",
        "predicted_rate": "fundingRate",  # what was predicted for this settlement, not what was settled
    },
    kept_days=90,
)

# `source` 1 is an order of a liquidity programme that is not in the book; it goes to metadata.
SPOT_TRADE = TradeLayout(
    kind="single",
    keys={"trade_id": "tradeId", "price": "px", "quantity": "sz", "timestamp": "ts"},
    side="side",
    usual={"source": "0"},
    own="instId",
)
# Swaps count `sz` in contracts, whose size is the listing's to say.
SWAP_TRADE = replace(
    SPOT_TRADE, keys={"trade_id": "tradeId", "price": "px", "contract_quantity": "sz", "timestamp": "ts"}
)
SPOT_TRADES = TradeFeed(
    rows_max=100, ask=ask_trades, rows=trade_rows, layout=SPOT_TRADE, kept_hours=90 * 24, by_time="newest"
)
SWAP_TRADES = replace(SPOT_TRADES, layout=SWAP_TRADE)

# No premium: OKX has bars of the other two only.
PRICES = {
    price: BarFeed(
        paging="descending", rows_max=100, ask=ask, rows=bar_rows, layout=PRICE_CANDLE, recent_bars=RECENT_BARS_MAX
    )
    for price, ask in (("mark", ask_mark_bars), ("index", ask_index_bars))
}

SPOT = Venue(
    name="okx_spot",
    exchange="okx",
    concurrency=6,
    bars=BarFeed(
        paging="descending", rows_max=300, ask=ask_bars, rows=bar_rows, layout=SPOT_CANDLE, recent_bars=RECENT_BARS_MAX
    ),
    ask_time=Call("publicGetPublicTime", {}, PUBLIC, 1),
    time_ms=time_ms,
    market_types=("spot",),
    markets_budget=PUBLIC,
    markets_weight=1,
    marks=marks,
    refusals=REFUSALS,
    trades=SPOT_TRADES,
)

PERP = Venue(
    name="okx_perp",
    exchange="okx",
    concurrency=6,
    bars=BarFeed(
        paging="descending", rows_max=300, ask=ask_bars, rows=bar_rows, layout=SWAP_CANDLE, recent_bars=RECENT_BARS_MAX
    ),
    ask_time=Call("publicGetPublicTime", {}, PUBLIC, 1),
    time_ms=time_ms,
    market_types=("swap",),
    markets_budget=PUBLIC,
    markets_weight=1,
    marks=marks,
    refusals=REFUSALS,
    funding=FUNDING,
    trades=SWAP_TRADES,
    prices=PRICES,
)
