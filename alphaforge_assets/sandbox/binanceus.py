"""Binance US: Binance's spot API on another host, so here below /binanceus. Klines and errors are Binance's.

Its instrument list has fewer fields, as ccxt's recorded markets have it; limits and weights are those of its own
exchangeInfo (recorded 2021) and of ccxt: 1,200 weight a minute, klines 1, exchangeInfo 10.
"""

from collections.abc import Callable
from typing import Any

from alphaforge_assets.sandbox.binance import klines
from alphaforge_assets.sandbox.budgets import Charge, Rule
from alphaforge_assets.sandbox.exchange import Exchange
from alphaforge_assets.sandbox.listings import Listing, Place, ms_of
from alphaforge_assets.sandbox.wire import Endpoint, Header, Query, Reply, dump

VENUE = "binanceus_spot"
LIMIT = 1200

PLACE = Place(
    name=VENUE,
    folder="binanceus_spot",
    grids={
        "BTC/USDT": (2, 1, 5, 1, "2019-09-23"),
        "ETH/USDT": (2, 1, 4, 1, "2019-09-23"),
        "SOL/USDT": (2, 1, 2, 1, "2020-09-25"),
        "XRP/USDT": (4, 1, 0, 1, "2023-07-18"),
        "BNB/USDT": (2, 1, 3, 1, "2019-09-23"),
        "ADA/USDT": (4, 1, 1, 1, "2019-09-25"),
        "LTC/USDT": (2, 1, 3, 1, "2019-09-23"),
        "ETH/BTC": (5, 1, 4, 1, "2019-09-23"),
    },
    open_state="TRADING",
    turnover=0.01,
    quote_decimals=8,
    others=(Listing(VENUE, "LTCUSD", "LTC", "USD", 2, 1, 3, 1, "BREAK", ms_of("2019-09-18"), ms_of("2023-07-20")),),
    rules={VENUE: Rule(LIMIT, 60, aligned=True, patience=5, ban_s=120)},
)


def endpoints(exchange: Exchange) -> dict[str, Endpoint]:
    """Every Binance US path the sandbox answers."""

    def at(answer: Callable[[Query], Reply], weight: int) -> Endpoint:
        return Endpoint(VENUE, VENUE, answer, lambda query: weight, told=_told)

    return {
        "/binanceus/api/v3/ping": at(lambda query: Reply(b"{}"), 1),
        "/binanceus/api/v3/time": at(lambda query: Reply(dump({"serverTime": exchange.clock.now_ms()})), 1),
        "/binanceus/api/v3/exchangeInfo": at(lambda query: _info(exchange), 10),
        "/binanceus/api/v3/klines": at(lambda query: klines(exchange, VENUE, query), 1),
    }


def _told(charge: Charge) -> tuple[Header, ...]:
    return ("x-mbx-used-weight", str(charge.used)), ("x-mbx-used-weight-1m", str(charge.used))


def _info(exchange: Exchange) -> Reply:
    symbols = [_symbol(one) for one in exchange.of_venue(VENUE)]
    names = ("rateLimitType", "interval", "intervalNum", "limit")
    limits = [
        ("REQUEST_WEIGHT", "MINUTE", 1, LIMIT),
        ("ORDERS", "SECOND", 10, 100),
        ("ORDERS", "DAY", 1, 200_000),
        ("RAW_REQUESTS", "MINUTE", 5, 6100),
    ]
    body = {
        "timezone": "UTC",
        "serverTime": exchange.clock.now_ms(),
        "rateLimits": [dict(zip(names, limit, strict=True)) for limit in limits],
        "exchangeFilters": [],
        "symbols": symbols,
    }
    return Reply(dump(body), rows=len(symbols))


def _symbol(one: Listing) -> dict[str, Any]:
    tick, lot = f"{one.tick_size:.8f}", f"{one.lot_size:.8f}"
    return {
        "symbol": one.symbol,
        "status": one.status,
        "baseAsset": one.base,
        "baseAssetPrecision": 8,
        "quoteAsset": one.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"],
        **dict.fromkeys(("icebergAllowed", "ocoAllowed", "quoteOrderQtyMarketAllowed", "allowTrailingStop",
                         "cancelReplaceAllowed", "isSpotTradingAllowed"), True),
        "isMarginTradingAllowed": False,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000.00000000", "tickSize": tick},
            {"filterType": "PERCENT_PRICE", "multiplierUp": "5", "multiplierDown": "0.2", "avgPriceMins": 5},
            {"filterType": "LOT_SIZE", "minQty": lot, "maxQty": "9000.00000000", "stepSize": lot},
            {"filterType": "MIN_NOTIONAL", "minNotional": "1.00000000", "applyToMarket": True, "avgPriceMins": 5},
            {"filterType": "ICEBERG_PARTS", "limit": 10},
            {"filterType": "MARKET_LOT_SIZE", "minQty": "0.00000000", "maxQty": "24.60517579",
             "stepSize": "0.00000000"},
            {"filterType": "TRAILING_DELTA", "minTrailingAboveDelta": 10, "maxTrailingAboveDelta": 2000,
             "minTrailingBelowDelta": 10, "maxTrailingBelowDelta": 2000},
            {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
            {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": 5},
        ],
        "permissions": ["SPOT"],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"],
    }  # fmt: skip
