"""Binance: spot (api/v3), USDⓈ-M perpetuals (fapi/v1), and Binance US, which is its spot on another host.

Rows of twelve, ascending, prices as texts, `closeTime` the bar's last millisecond, a twelfth field called "ignore" that
is "0" but was not always. Weights and limits: Binance's rest-api docs, "Limits" and "Kline/Candlestick data"; per IP
and minute. The files of data.binance.vision have the same twelve fields (github.com/binance/binance-public-data).
"""

from collections.abc import Mapping
from typing import Any

from alphaforge_assets.errors import UnknownSymbol, VenueLimited, VenueUnavailable
from alphaforge_assets.venues.archive_files import FileFeed, TradeFiles
from alphaforge_assets.venues.buckets import Place
from alphaforge_assets.venues.columns import Layout
from alphaforge_assets.venues.funding import FundingPage
from alphaforge_assets.venues.governor import Budget
from alphaforge_assets.venues.refusals import Meaning
from alphaforge_assets.venues.source import Call
from alphaforge_assets.venues.trade_rows import TradeLayout
from alphaforge_assets.venues.trades import TradeFeed, TradePage
from alphaforge_assets.venues.trades_file import TradeFormat
from alphaforge_assets.venues.venue import BarFeed, BarPage, FundingFeed, Marks, Venue, optional_ms

SPOT_WEIGHT = Budget("binance.spot", limit=6000, window_s=60, burst=300)
# As its exchangeInfo says (recorded 2021), with the weights that ccxt 4.5.90 has; its docs are Binance's of then.
US_WEIGHT = Budget("binanceus.spot", limit=1200, window_s=60, burst=60)
FUTURES_WEIGHT = Budget("binance.fapi", limit=2400, window_s=60, burst=120)

# Requests, not weight; fapi/v1/fundingRate and fundingInfo share it, per IP.
FUNDING_REQUESTS = Budget("binance.funding", limit=500, window_s=300, burst=60)

# What perpetuals have for a delivery date.
NEVER_MS = 4_133_404_800_000

KLINE = Layout(
    fields=(
        "timestamp",
        "open",
        "high",
        "low",
        "close",
        "volume",
        "close_time",
        "quote_volume",
        "trade_count",
        "taker_buy_base_volume",
        "taker_buy_quote_volume",
        "ignore",
    ),
    usual={"ignore": "0"},
)

# Bars of prices: what is nobody's volume is "0", and in place of trades the prices are counted, one a second.
PRICE_KLINE = Layout(
    fields=(
        *("timestamp", "open", "high", "low", "close", "ignore_5", "close_time", "ignore_7", "trade_count"),
        *("ignore_9", "ignore_10", "ignore"),
    ),
    usual=dict.fromkeys(("ignore_5", "ignore_7", "ignore_9", "ignore_10", "ignore"), "0"),
)

# Objects, of both market places: a pace that S3 does not notice (it grants 5,500 a second a prefix), and that small
# files really come at. The burst holds a month of days with their checksums.
VISION_OBJECTS = Budget("binance.vision", limit=20_000, window_s=60, burst=100)
VISION = Place("https://s3-ap-northeast-1.amazonaws.com", "data.binance.vision", "ap-northeast-1")


def ask_spot_bars(page: BarPage) -> Call:
    return Call("publicGetKlines", _params(page), SPOT_WEIGHT, 2)


def ask_us_bars(page: BarPage) -> Call:
    return Call("publicGetKlines", _params(page), US_WEIGHT, 1)


def ask_futures_bars(page: BarPage) -> Call:
    """Weight by limit: [1,100) 1, [100,500) 2, [500,1000] 5; 499 rows for 2 is the most a unit of weight buys."""
    return Call("fapiPublicGetKlines", _params(page), FUTURES_WEIGHT, _kline_weight(page))


def ask_mark_bars(page: BarPage) -> Call:
    return Call("fapiPublicGetMarkPriceKlines", _params(page), FUTURES_WEIGHT, _kline_weight(page))


def ask_index_bars(page: BarPage) -> Call:
    """By pair; a perpetual is called as its pair, other contracts are not."""
    params = {"pair" if name == "symbol" else name: value for name, value in _params(page).items()}
    return Call("fapiPublicGetIndexPriceKlines", params, FUTURES_WEIGHT, _kline_weight(page))


def ask_premium_bars(page: BarPage) -> Call:
    return Call("fapiPublicGetPremiumIndexKlines", _params(page), FUTURES_WEIGHT, _kline_weight(page))


def _kline_weight(page: BarPage) -> int:
    return 1 if page.rows < 100 else 2 if page.rows < 500 else 5


def ask_funding(page: FundingPage) -> Call:
    """Ascending from `startTime`, which is inclusive."""
    params = {"symbol": page.venue_symbol, "startTime": page.cursor_ms, "limit": page.rows}
    return Call("fapiPublicGetFundingRate", params, FUNDING_REQUESTS, 1)


def _params(page: BarPage) -> dict[str, Any]:
    return {
        "symbol": page.venue_symbol,
        "interval": page.interval,
        "startTime": page.cursor_ms,
        "limit": page.rows,
    }


def bar_rows(answer: Any, symbol: str) -> Any:
    return answer


def funding_rows(answer: Any) -> Any:
    return answer


def trade_rows(answer: Any, symbol: str) -> Any:
    return answer


def time_ms(answer: Any) -> Any:
    return answer["serverTime"]


def marks(info: Mapping[str, Any]) -> Marks:
    delisted_ms = optional_ms(info.get("deliveryDate"))
    return Marks(
        status=str(info.get("status", info.get("contractStatus", ""))),
        listed_ms=optional_ms(info.get("onboardDate")),  # perpetuals only; spot does not say
        delisted_ms=None if delisted_ms == NEVER_MS else delisted_ms,
    )


# Source: Binance's errors.md and rest-api/limits, and what ccxt 4.5.90 maps.
REFUSALS = (
    Meaning(VenueLimited, status=418, hold_s=120),  # banned: two minutes to three days
    Meaning(VenueLimited, code="-1003"),
    Meaning(UnknownSymbol, code="-1121"),
    Meaning(UnknownSymbol, code="-1122"),  # symbol status
    Meaning(VenueUnavailable, code="-1000"),
    Meaning(VenueUnavailable, code="-1001"),
    Meaning(VenueUnavailable, code="-1006"),
    Meaning(VenueUnavailable, code="-1007"),
    Meaning(VenueUnavailable, code="-1008"),
)

FUNDING = FundingFeed(
    ascending=True,
    rows_max=1000,
    ask=ask_funding,
    rows=funding_rows,
    fields={
        "symbol": "symbol",
        "timestamp": "fundingTime",
        "rate": "fundingRate",
        "mark_price": "markPrice",
        "rate_type": "rateType",  # since 2026-07-28: Regular, or Special beside it at the same time
    },
)

# Aggregates: what one taker order took at one price in one millisecond. Single trades by id need an API key.
# `nq` (futures, the amount without RPI orders) and what else comes later goes to metadata.
AGGREGATE = TradeLayout(
    kind="aggregate",
    keys={"trade_id": "a", "price": "p", "quantity": "q", "first_id": "f", "last_id": "l", "timestamp": "T"},
    buyer_is_maker="m",
    usual={"M": True},  # spot only, and of no meaning any more
)


def _trade_params(page: TradePage) -> dict[str, Any]:
    """By id, or by time with both ends inclusive: together the docs forbid it."""
    if page.from_id is not None:
        return {"symbol": page.venue_symbol, "fromId": page.from_id, "limit": page.rows}
    return {
        "symbol": page.venue_symbol,
        "startTime": page.start_ms,
        "endTime": page.end_ms - 1,
        "limit": page.rows,
    }


def ask_spot_trades(page: TradePage) -> Call:
    return Call("publicGetAggTrades", _trade_params(page), SPOT_WEIGHT, 4)


def ask_futures_trades(page: TradePage) -> Call:
    return Call("fapiPublicGetAggTrades", _trade_params(page), FUTURES_WEIGHT, 20)


SPOT_TRADES = TradeFeed(rows_max=1000, ask=ask_spot_trades, rows=trade_rows, layout=AGGREGATE)
# The futures' endpoint serves the last 48 hours, an hour of them at once (docs of 2026).
FUTURES_TRADES = TradeFeed(rows_max=1000, ask=ask_futures_trades, rows=trade_rows, layout=AGGREGATE, kept_hours=48)

PRICES = {
    price: BarFeed(paging="ascending", rows_max=499, ask=ask, rows=bar_rows, layout=PRICE_KLINE)
    for price, ask in (("mark", ask_mark_bars), ("index", ask_index_bars), ("premium", ask_premium_bars))
}

SPOT = Venue(
    name="binance_spot",
    exchange="binance",
    concurrency=12,
    bars=BarFeed(paging="ascending", rows_max=1000, ask=ask_spot_bars, rows=bar_rows, layout=KLINE),
    ask_time=Call("publicGetTime", {}, SPOT_WEIGHT, 1),
    time_ms=time_ms,
    market_types=("spot",),
    markets_budget=SPOT_WEIGHT,
    markets_weight=20,
    marks=marks,
    refusals=REFUSALS,
    trades=SPOT_TRADES,
)

US = Venue(
    name="binanceus_spot",
    exchange="binanceus",
    concurrency=6,
    bars=BarFeed(paging="ascending", rows_max=1000, ask=ask_us_bars, rows=bar_rows, layout=KLINE),
    ask_time=Call("publicGetTime", {}, US_WEIGHT, 1),
    time_ms=time_ms,
    market_types=("spot",),
    markets_budget=US_WEIGHT,
    markets_weight=10,
    marks=marks,
    refusals=REFUSALS,
    mount="/binanceus",
)

PERP = Venue(
    name="binance_perp",
    exchange="binance",
    concurrency=8,
    bars=BarFeed(paging="ascending", rows_max=499, ask=ask_futures_bars, rows=bar_rows, layout=KLINE),
    ask_time=Call("fapiPublicGetTime", {}, FUTURES_WEIGHT, 1),
    time_ms=time_ms,
    market_types=("linear",),
    markets_budget=FUTURES_WEIGHT,
    markets_weight=1,
    marks=marks,
    refusals=REFUSALS,
    funding=FUNDING,
    nautilus_symbol="{id}-PERP",
    trades=FUTURES_TRADES,
    prices=PRICES,
)

SPOT_FILES = FileFeed(VISION, "data/spot", KLINE, VISION_OBJECTS)
PERP_FILES = FileFeed(
    VISION,
    "data/futures/um",
    KLINE,
    VISION_OBJECTS,
    prices={"mark": "markPriceKlines", "index": "indexPriceKlines", "premium": "premiumIndexKlines"},
    price_layout=PRICE_KLINE,
    funding="fundingRate",
    liquidations="liquidationSnapshot",
)

# Words of booleans: spot has capitals, futures have not.
_BUYER_IS_MAKER = {"True": "sell", "true": "sell", "False": "buy", "false": "buy"}
SPOT_AGGREGATES = TradeFormat(
    kind="aggregate",
    fields=("trade_id", "price", "quantity", "first_id", "last_id", "timestamp", "side", "M"),
    sides=_BUYER_IS_MAKER,
    usual={"M": True},
)
FUTURES_AGGREGATES = TradeFormat("aggregate", SPOT_AGGREGATES.fields[:-1], _BUYER_IS_MAKER)
SPOT_TRADE_FILES = TradeFiles(VISION, "data/spot", "aggTrades", SPOT_AGGREGATES, VISION_OBJECTS, bytes_a_trade=14)
PERP_TRADE_FILES = TradeFiles(
    VISION, "data/futures/um", "aggTrades", FUTURES_AGGREGATES, VISION_OBJECTS, bytes_a_trade=14
)
