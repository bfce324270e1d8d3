"""Binance spot (/api/v3) and USDⓈ-M futures (/fapi/v1) as they answer over REST.

Field order and formats follow recorded answers of July 2026; error codes and words follow the vendor's errors page,
weights and limits its endpoint pages. Where spot and futures differ (a start after the end is an empty list on spot and
error -1023 on futures; a limit too high is cut on spot and error -1130 on futures) the sandbox differs too.
"""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from alphaforge_assets.sandbox.bars import Bars, Interval
from alphaforge_assets.sandbox.exchange import Exchange
from alphaforge_assets.sandbox.funding import CHANGES, hours_between
from alphaforge_assets.sandbox.listings import Listing
from alphaforge_assets.sandbox.pages import Layout, span
from alphaforge_assets.sandbox.text import Column, Text, render
from alphaforge_assets.sandbox.wire import Endpoint, Query, Refused, Reply, dump, number

_MINUTE, _HOUR, _DAY = 60_000, 3_600_000, 86_400_000
INTERVALS = {
    **{f"{n}m": Interval(n * _MINUTE) for n in (1, 3, 5, 15, 30)},
    **{f"{n}h": Interval(n * _HOUR) for n in (1, 2, 4, 6, 8, 12)},
    "1d": Interval(_DAY),
}
_QUOTED = [b"[", b',"', *[b'","'] * 4, b'",', b',"', b'",', b',"', b'","', b'","0"],']
_SYMBOL = re.compile(r"(?:(?![a-z])[\w\-.]){1,50}")  # Binance lists names in any script, and takes no lower case
_KLINE_PARAMETERS = {"symbol", "interval", "startTime", "endTime", "timeZone", "limit"}
_FAR = 4_133_404_800_000  # 2100-12-25: the delivery date of what never is delivered
PRICE_PATHS = {"mark": "markPriceKlines", "index": "indexPriceKlines", "premium": "premiumIndexKlines"}
SPOT_LIMIT_MAX, FUTURES_LIMIT_MAX, FUNDING_LIMIT_MAX = 1000, 1500, 1000
RATE_TYPES_FROM = 1_785_196_800_000  # 2026-07-28


def endpoints(exchange: Exchange) -> dict[str, Endpoint]:
    """Every Binance path the sandbox answers."""

    def spot(answer: Callable[[Query], Reply], weight: int) -> Endpoint:
        return Endpoint("binance_spot", "binance_spot", answer, lambda query: weight)

    def futures(answer: Callable[[Query], Reply], weight: Callable[[Query], int] = lambda query: 1) -> Endpoint:
        return Endpoint("binance_perp", "binance_perp", answer, weight)

    def rates(answer: Callable[[Query], Reply]) -> Endpoint:
        return Endpoint("binance_perp", "binance_funding", answer)

    def ping(query: Query) -> Reply:
        return Reply(b"{}")

    def time(query: Query) -> Reply:
        return Reply(dump({"serverTime": exchange.clock.now_ms()}))

    return {
        "/api/v3/ping": spot(ping, 1),
        "/api/v3/time": spot(time, 1),
        "/api/v3/exchangeInfo": spot(lambda query: _spot_info(exchange, query), 20),
        "/api/v3/klines": spot(lambda query: klines(exchange, "binance_spot", query), 2),
        "/fapi/v1/ping": futures(ping),
        "/fapi/v1/time": futures(time),
        "/fapi/v1/exchangeInfo": futures(lambda query: _futures_info(exchange)),
        "/fapi/v1/klines": futures(lambda query: klines(exchange, "binance_perp", query), kline_weight),
        **{
            f"/fapi/v1/{path}": futures(lambda query, price=price: _price_klines(exchange, price, query), kline_weight)  # type: ignore[misc]
            for price, path in PRICE_PATHS.items()
        },
        "/fapi/v1/fundingRate": rates(lambda query: _funding_rates(exchange, query)),
        "/fapi/v1/fundingInfo": rates(lambda query: _funding_info(exchange)),
        "/fapi/v1/premiumIndex": futures(
            lambda query: _premium_index(exchange, query), lambda q: 1 if "symbol" in q else 10
        ),
    }


def kline_weight(query: Query) -> int:
    """USDⓈ-M charges klines by limit: [1,100) 1, [100,500) 2, [500,1000] 5, above 10."""
    try:
        limit = number(query.get("limit"), 500) or 500
    except ValueError:
        return 1
    return 1 if limit < 100 else 2 if limit < 500 else 5 if limit <= 1000 else 10


def refuse(code: int, message: str, status: int = 400) -> Refused:
    return Refused(Reply(dump({"code": code, "msg": message}), status))


def _price_klines(exchange: Exchange, price: str, query: Query) -> Reply:
    """Bars of a price; of an index by its pair, which is what a perpetual is called."""
    if price == "index":
        query = {("symbol" if name == "pair" else name): value for name, value in query.items() if name != "symbol"}
        if not query.get("symbol"):
            raise refuse(-1102, "Mandatory parameter 'pair' was not sent, was empty/null, or malformed.")
    return klines(exchange, "binance_perp", query, price)


def klines(exchange: Exchange, venue: str, query: Query, price: str = "trade") -> Reply:
    """Bars of spot, which Binance US speaks too, or of futures, of trades or another price."""
    listing = listing_of(exchange, venue, query)
    interval = INTERVALS.get(mandatory(query, "interval"))
    if interval is None:
        raise refuse(-1120, "Invalid interval.")
    is_spot = venue != "binance_perp"
    if is_spot and (unread := set(query) - _KLINE_PARAMETERS):
        read, sent = len(query) - len(unread), len(query)
        raise refuse(-1104, f"Not all sent parameters were read; read '{read}' parameter(s) but was sent '{sent}'.")
    start, end, limit = (number_of(query, name) for name in ("startTime", "endTime", "limit"))
    most = SPOT_LIMIT_MAX if is_spot else FUTURES_LIMIT_MAX
    limit = 500 if limit is None else limit
    if limit < 1 or (limit > most and not is_spot):
        raise refuse(-1130, "Data sent for parameter 'limit' is not valid.")
    if not is_spot and start is not None and end is not None and start > end:
        raise refuse(-1023, "Start time is greater than end time.")
    series = exchange.series(listing, interval, price)
    if series is None:
        return Reply(b"[]")
    part = span(series, exchange.clock.now_ms(), start, end)
    part = part.newest(min(limit, most)) if start is None else part.oldest(min(limit, most))
    layout = _SPOT_ROWS if is_spot else futures_rows(listing) if price == "trade" else price_rows(price)
    return Reply(b"[" + exchange.page(listing, interval, series, layout, part) + b"]", rows=part.rows)


def listing_of(exchange: Exchange, venue: str, query: Query) -> Listing:
    symbol = mandatory(query, "symbol")
    if not _SYMBOL.fullmatch(symbol):
        raise refuse(
            -1100, "Illegal characters found in parameter 'symbol'; legal range is '^[\\w\\-._&&[^a-z]]{1,50}$'."
        )
    listing = exchange.listings.get((venue, symbol))
    if listing is None or listing.is_gone:
        raise refuse(-1121, "Invalid symbol.")
    return listing


def mandatory(query: Query, name: str) -> str:
    if not query.get(name):
        raise refuse(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
    return query[name]


def number_of(query: Query, name: str) -> int | None:
    try:
        return number(query.get(name))
    except ValueError:
        raise refuse(
            -1100, f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'."
        ) from None


def _rows(bars: Bars, price: int, volume: int, quote: int) -> Text:
    """Twelve fields a row, numbers padded to the decimals given."""
    scales = bars.scales
    return render(
        [
            Column(bars.open_time),
            *(Column(column, scales.price, price) for column in (bars.open, bars.high, bars.low, bars.close)),
            Column(bars.volume, scales.volume, volume),
            Column(bars.close_time),
            Column(bars.quote_volume, scales.quote, quote),
            Column(bars.count),
            Column(bars.taker_volume, scales.volume, volume),
            Column(bars.taker_quote_volume, scales.quote, quote),
        ],
        _QUOTED,
    )


_SPOT_ROWS = Layout("binance_spot", False, lambda bars, closed: _rows(bars, 8, 8, 8))


def futures_rows(listing: Listing) -> Layout:
    """USDⓈ-M pads to the symbol's pricePrecision and quantityPrecision, and quote volume to their sum."""
    price, volume = listing.price_decimals, listing.volume_decimals
    return Layout("binance_perp", False, lambda bars, closed: _rows(bars, price, volume, price + volume))


def price_rows(price: str) -> Layout:
    """Eight decimals; "0" stands where trades have an amount."""

    def write(bars: Bars, closed: bool) -> Text:
        four = (Column(c, bars.scales.price, 8) for c in (bars.open, bars.high, bars.low, bars.close))
        columns = [Column(bars.open_time), *four, Column(bars.close_time), Column(bars.count)]
        return render(columns, [b"[", b',"', *[b'","'] * 3, b'","0",', b',"0",', b',"0","0","0"],'])

    return Layout(f"binance_{price}", False, write)


def _info(exchange: Exchange, weight: int, symbols: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    spot = weight == 6000
    limits = [("REQUEST_WEIGHT", "MINUTE", 1, weight)]
    limits += [("ORDERS", "SECOND", 10, 100), ("ORDERS", "DAY", 1, 200_000), ("RAW_REQUESTS", "MINUTE", 5, 300_000)] \
        if spot else [("ORDERS", "MINUTE", 1, 1200), ("ORDERS", "SECOND", 10, 300)]  # fmt: skip
    names = ("rateLimitType", "interval", "intervalNum", "limit")
    return {
        "timezone": "UTC",
        "serverTime": exchange.clock.now_ms(),
        **({"futuresType": more.pop("futuresType")} if "futuresType" in more else {}),
        "rateLimits": [dict(zip(names, limit, strict=True)) for limit in limits],
        "exchangeFilters": [],
        **more,
        "symbols": symbols,
    }


def _spot_info(exchange: Exchange, query: Query) -> Reply:
    listings = list(exchange.of_venue("binance_spot"))
    if "symbol" in query:
        listings = [listing_of(exchange, "binance_spot", query)]
    elif "symbols" in query:
        wanted = re.findall(r'"([^"]*)"', query["symbols"])
        listings = [listing_of(exchange, "binance_spot", {"symbol": symbol}) for symbol in wanted]
    elif query.get("symbolStatus"):
        listings = [one for one in listings if one.status == query["symbolStatus"]]
    return Reply(dump(_info(exchange, 6000, [_spot_symbol(one) for one in listings])), rows=len(listings))


def _eight(value: Any) -> str:
    return f"{value:.8f}"


def _spot_symbol(one: Listing) -> dict[str, Any]:
    is_open = one.status == "TRADING"
    notional = 5 if one.quote != "BTC" else 0.0001
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
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT",
                       "TAKE_PROFIT_LIMIT"],
        **dict.fromkeys(("icebergAllowed", "ocoAllowed", "otoAllowed", "opoAllowed", "quoteOrderQtyMarketAllowed",
                         "allowTrailingStop", "cancelReplaceAllowed", "amendAllowed", "pegInstructionsAllowed"), True),
        "isSpotTradingAllowed": is_open,
        "isMarginTradingAllowed": is_open and one.quote == "USDT",
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": _eight(one.tick_size),
             "maxPrice": _eight(one.tick_size * 100_000_000), "tickSize": _eight(one.tick_size)},
            {"filterType": "LOT_SIZE", "minQty": _eight(one.lot_size), "maxQty": _eight(one.lot_size * 900_000_000),
             "stepSize": _eight(one.lot_size)},
            {"filterType": "ICEBERG_PARTS", "limit": 100},
            {"filterType": "MARKET_LOT_SIZE", "minQty": _eight(0), "maxQty": _eight(one.lot_size * 16_000_000),
             "stepSize": _eight(0)},
            {"filterType": "TRAILING_DELTA", "minTrailingAboveDelta": 10, "maxTrailingAboveDelta": 2000,
             "minTrailingBelowDelta": 10, "maxTrailingBelowDelta": 2000},
            {"filterType": "PERCENT_PRICE_BY_SIDE", "bidMultiplierUp": "2", "bidMultiplierDown": "0.5",
             "askMultiplierUp": "2", "askMultiplierDown": "0.5", "avgPriceMins": 5},
            {"filterType": "NOTIONAL", "minNotional": _eight(notional), "applyMinToMarket": True,
             "maxNotional": _eight(9_000_000), "applyMaxToMarket": False, "avgPriceMins": 5},
            {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
            {"filterType": "MAX_NUM_ORDER_LISTS", "maxNumOrderLists": 20},
            {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": 5},
            {"filterType": "MAX_NUM_ORDER_AMENDS", "maxNumOrderAmends": 10},
        ],
        "permissions": [],
        "permissionSets": [["SPOT", "MARGIN", "TRD_GRP_004"]] if is_open else [[]],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH", "DECREMENT", "TRANSFER"],
    }  # fmt: skip


def _futures_info(exchange: Exchange) -> Reply:
    symbols = [_futures_symbol(one) for one in exchange.of_venue("binance_perp")]
    assets = [
        {"asset": asset, "marginAvailable": True, "autoAssetExchange": floor}
        for asset, floor in (("USDT", "-10000"), ("BTC", "-0.10000000"), ("BNB", "0"), ("ETH", "0"))
    ]
    body = dump(_info(exchange, 2400, symbols, futuresType="U_MARGINED", assets=assets))
    return Reply(body, rows=len(symbols))


def _futures_symbol(one: Listing) -> dict[str, Any]:
    tick, lot = f"{one.tick_size:f}", f"{one.lot_size:f}"
    return {
        "symbol": one.symbol,
        "pair": one.symbol,
        "contractType": one.contract,
        "deliveryDate": one.delisted_ms if one.status == "SETTLING" else _FAR,
        "onboardDate": one.listed_ms,
        "status": one.status,
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": one.base,
        "quoteAsset": one.quote,
        "marginAsset": one.quote,
        "pricePrecision": one.price_decimals,
        "quantityPrecision": one.volume_decimals,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": ["PoW"] if one.base in ("BTC", "LTC") else ["Layer-1"],
        "triggerProtect": "0.0500",
        "liquidationFee": "0.012500",
        "marketTakeBound": "0.05",
        "maxMoveOrderLimit": 10_000,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "tickSize": tick, "maxPrice": "1000000"},
            {"stepSize": lot, "minQty": lot, "maxQty": "1000000", "filterType": "LOT_SIZE"},
            {"filterType": "MARKET_LOT_SIZE", "maxQty": "120000", "stepSize": lot, "minQty": lot},
            {"filterType": "MAX_NUM_ORDERS", "limit": 200},
            {"filterType": "MIN_NOTIONAL", "notional": "5"},
            {"filterType": "PERCENT_PRICE", "multiplierDecimal": "4", "multiplierDown": "0.9500",
             "multiplierUp": "1.0500"},
            {"filterType": "POSITION_RISK_CONTROL", "positionControlSide": "NONE"},
        ],
        "orderTypes": ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET",
                       "TRAILING_STOP_MARKET"],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
        "permissionSets": ["GRID", "COPY", "DCA", "PSB"],
    }  # fmt: skip


def _funding_rates(exchange: Exchange, query: Query) -> Reply:
    """Ascending from `startTime`; the newest 200 if no time is given; `rateType` is sent since 2026-07-28."""
    start, end, limit = (number_of(query, name) for name in ("startTime", "endTime", "limit"))
    if start is not None and end is not None and start > end:
        raise refuse(-1023, "Start time is greater than end time.")
    limit = limit or (200 if start is None and end is None else 100)
    if not 0 < limit <= FUNDING_LIMIT_MAX:
        raise refuse(-1130, "Data sent for parameter 'limit' is not valid.")
    every = [listing_of(exchange, "binance_perp", query)] if query.get("symbol") else exchange.of_venue("binance_perp")
    now = exchange.clock.now_ms()
    found = []
    for one in every:
        settled = exchange.funding.of(one, now)
        first, stop = settled.within(start, end)
        first, stop = (max(first, stop - limit), stop) if start is None else (first, min(stop, first + limit))
        found += [(row.time_ms, one.symbol, row) for row in settled.rows(first, stop)]
    found.sort(key=lambda entry: entry[:2])
    found = found[-limit:] if start is None else found[:limit]
    kind = {"rateType": "Regular"} if now >= RATE_TYPES_FROM else {}
    rows = [
        {"symbol": symbol, "fundingTime": time, "fundingRate": _rate(row.rate), "markPrice": row.mark, **kind}
        for time, symbol, row in found
    ]
    return Reply(dump(rows), rows=len(rows))


def _rate(rate: Decimal) -> str:
    """Eight decimals, or all that were recorded if they are more."""
    return f"{rate:.{max(8, -int(rate.as_tuple().exponent))}f}"


def _funding_info(exchange: Exchange) -> Reply:
    """Only symbols that were adjusted: absent means every 8 hours."""
    now = exchange.clock.now_ms()
    rows = [
        {
            "symbol": one.symbol,
            "adjustedFundingRateCap": "0.02000000",
            "adjustedFundingRateFloor": "-0.02000000",
            "fundingIntervalHours": hours_between(one, now),
            "disclaimer": False,
            "updateTime": CHANGES[one.venue, one.base],
        }
        for one in exchange.of_venue("binance_perp")
        if not exchange.recordings and CHANGES.get((one.venue, one.base), 1 << 62) <= now
    ]
    return Reply(dump(rows), rows=len(rows))


def _premium_index(exchange: Exchange, query: Query) -> Reply:
    now = exchange.clock.now_ms()
    every = [listing_of(exchange, "binance_perp", query)] if query.get("symbol") else exchange.of_venue("binance_perp")
    rows = [_premium(exchange, one, now) for one in every if one.status == "TRADING"]
    return Reply(dump(rows[0] if query.get("symbol") and rows else rows), rows=len(rows))


def _premium(exchange: Exchange, one: Listing, now: int) -> dict[str, Any]:
    settled = exchange.funding.of(one, now)
    last = settled.rows(len(settled.times) - 1, len(settled.times)) if len(settled.times) else []
    mark, index = (_opened(exchange, one, price, now) for price in ("mark", "index"))
    step = hours_between(one, now) * _HOUR
    return {
        "symbol": one.symbol,
        "markPrice": mark,
        "indexPrice": index,
        "estimatedSettlePrice": index,
        "lastFundingRate": _rate(last[0].rate) if last else "0.00000000",
        "interestRate": "0.00010000",
        "nextFundingTime": (now // step + 1) * step,
        "time": now,
    }


def _opened(exchange: Exchange, one: Listing, price: str, now: int) -> str:
    """A price as this minute opened at it."""
    series = exchange.series(one, INTERVALS["1m"], price)
    at = series.first_at_or_after(now + 1) if series else 0
    bars = series.bars(at - 1, at) if series and at > series.first_at_or_after(0) else None
    return _eight(Decimal(int(bars.open[0])).scaleb(-bars.scales.price)) if bars else "0.00000000"
