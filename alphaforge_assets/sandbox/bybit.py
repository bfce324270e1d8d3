"""Bybit v5 public REST: time, instruments-info, kline, system status; spot and linear, the other categories empty.

Candles run from the newest to the oldest. `start` and `end` are inclusive, and `start` means the candle that contains
it. A window of more than `limit` candles yields its newest; `start` alone is the window of `limit` candles from there.
Errors are a retCode in HTTP 200. Field order and formats follow the vendor's pages and ccxt's recorded fixtures.
"""

from collections.abc import Callable
from typing import Any

from alphaforge_assets.sandbox.bars import Bars, Interval
from alphaforge_assets.sandbox.exchange import Exchange
from alphaforge_assets.sandbox.funding import hours_between
from alphaforge_assets.sandbox.listings import Listing
from alphaforge_assets.sandbox.okx import plain
from alphaforge_assets.sandbox.pages import Layout, span
from alphaforge_assets.sandbox.text import Column, Text, render
from alphaforge_assets.sandbox.wire import Endpoint, Query, Refused, Reply, dump, number

_MINUTE, _DAY = 60_000, 86_400_000
INTERVALS = {
    **{str(n): Interval(n * _MINUTE) for n in (1, 3, 5, 15, 30, 60, 120, 240, 360, 720)},
    "D": Interval(_DAY),
}
PRICE_PATHS = {
    "mark": "mark-price-kline",
    "index": "index-price-kline",
    "premium": "premium-index-price-kline",
}
KLINE_LIMIT, KLINE_LIMIT_MAX, FUNDING_LIMIT_MAX = 200, 1000, 200
_CATEGORIES = {"spot": "bybit_spot", "linear": "bybit_perp", "inverse": "", "option": ""}


def endpoints(exchange: Exchange) -> dict[str, Endpoint]:
    """Every Bybit path the sandbox answers."""

    def at(answer: Callable[[Query], Reply]) -> Endpoint:
        return Endpoint("bybit", "bybit", answer)

    def time(query: Query) -> Reply:
        now = exchange.clock.now_ms()
        return ok(exchange, {"timeSecond": str(now // 1000), "timeNano": str(now * 1_000_000)})

    return {
        "/v5/market/time": at(time),
        "/v5/market/kline": at(lambda query: _kline(exchange, query)),
        **{
            f"/v5/market/{path}": at(lambda query, price=price: _kline(exchange, query, price))  # type: ignore[misc]
            for price, path in PRICE_PATHS.items()
        },
        "/v5/market/funding/history": at(lambda query: _funding_history(exchange, query)),
        "/v5/market/instruments-info": at(lambda query: _instruments(exchange, query)),
        "/v5/system/status": at(lambda query: ok(exchange, {"list": []})),
    }


def ok(exchange: Exchange, result: dict[str, Any], rows: int = 0) -> Reply:
    return Reply(_enveloped(exchange, 0, "OK", result), rows=rows)


def refuse(exchange: Exchange, message: str) -> Refused:
    return Refused(Reply(_enveloped(exchange, 10001, message, {})))


def _enveloped(exchange: Exchange, code: int, message: str, result: dict[str, Any]) -> bytes:
    now = exchange.clock.now_ms()
    return dump({"retCode": code, "retMsg": message, "result": result, "retExtInfo": {}, "time": now})


def category_of(exchange: Exchange, query: Query, default: str = "") -> str:
    category = query.get("category") or default
    if category not in _CATEGORIES:
        raise refuse(exchange, "Illegal category" if category else "params error: category is required")
    return category


def listing_of(exchange: Exchange, query: Query, category: str) -> Listing:
    listing = exchange.listings.get((_CATEGORIES[category], query.get("symbol", "")))
    if listing is None:
        spot = category == "spot"
        raise refuse(exchange, "Not supported symbols" if spot else "params error: Symbol Is Invalid")
    return listing


def whole(exchange: Exchange, query: Query, name: str, default: int | None = None) -> int | None:
    try:
        return number(query.get(name), default)
    except ValueError:
        raise refuse(exchange, f"params error: {name} is invalid") from None


def _kline(exchange: Exchange, query: Query, price: str = "trade") -> Reply:
    category = category_of(exchange, query, "linear")
    listing = listing_of(exchange, query, category)
    if price != "trade" and not listing.contract:
        raise refuse(exchange, "Illegal category")
    interval = INTERVALS.get(query.get("interval", ""))
    if interval is None:
        raise refuse(exchange, "Invalid period!")
    start, end = whole(exchange, query, "start"), whole(exchange, query, "end")
    limit = whole(exchange, query, "limit", KLINE_LIMIT) or 0
    if limit < 1:
        raise refuse(exchange, "params error: limit is invalid")
    limit = min(limit, KLINE_LIMIT_MAX)
    if start is not None and end is not None and start > end:
        raise refuse(exchange, "params error: start time is greater than end time")
    series = exchange.series(listing, interval, price)
    head = dump({"symbol": listing.symbol, "category": category})[:-1]
    rows, body = 0, b""
    if series is not None:
        first = None if start is None else interval.opens(interval.index(start))
        part = span(series, exchange.clock.now_ms(), first, end)
        part = part.oldest(limit) if end is None and start is not None else part.newest(limit)
        layout = _ROWS if price == "trade" else _price_rows(price)
        rows, body = part.rows, exchange.page(listing, interval, series, layout, part)
    tail = b',"list":[' + body + b"]}"
    return Reply(_enveloped(exchange, 0, "OK", {}).replace(b'"result":{}', b'"result":' + head + tail, 1), rows=rows)


def _write(bars: Bars, closed: bool) -> Text:
    scales = bars.scales
    prices = (Column(c, scales.price, plain=True) for c in (bars.open, bars.high, bars.low, bars.close))
    volumes = Column(bars.volume, scales.volume, plain=True), Column(bars.quote_volume, scales.quote, plain=True)
    return render([Column(bars.open_time), *prices, *volumes], [b'["', *[b'","'] * 6, b'"],'])


_ROWS = Layout("bybit", True, _write)


def _price_rows(price: str) -> Layout:
    """Five fields: nothing is traded at it."""

    def write(bars: Bars, closed: bool) -> Text:
        prices = (Column(c, bars.scales.price, plain=True) for c in (bars.open, bars.high, bars.low, bars.close))
        return render([Column(bars.open_time), *prices], [b'["', *[b'","'] * 4, b'"],'])

    return Layout(f"bybit_{price}", True, write)


def _funding_history(exchange: Exchange, query: Query) -> Reply:
    """The newest `limit` of a window; a start without an end is an error."""
    category = category_of(exchange, query)
    listing = listing_of(exchange, query, category)
    if not listing.contract:
        raise refuse(exchange, "Illegal category")
    start, end = whole(exchange, query, "startTime"), whole(exchange, query, "endTime")
    if start is not None and end is None:
        raise refuse(exchange, "params error: endTime is required with startTime")
    if start is not None and end is not None and start > end:
        raise refuse(exchange, "params error: start time is greater than end time")
    limit = min(max(whole(exchange, query, "limit", FUNDING_LIMIT_MAX) or 0, 1), FUNDING_LIMIT_MAX)
    settled = exchange.funding.of(listing, exchange.clock.now_ms())
    first, stop = settled.within(start, end)
    rows = [
        {"symbol": listing.symbol, "fundingRate": plain(row.rate), "fundingRateTimestamp": str(row.time_ms)}
        for row in settled.rows(max(first, stop - limit), stop)[::-1]
    ]
    return ok(exchange, {"category": category, "list": rows}, len(rows))


def _instruments(exchange: Exchange, query: Query) -> Reply:
    """Only what trades unless `status` asks otherwise; linear pages by `limit` and `cursor`, spot does not page."""
    category = category_of(exchange, query)
    listings = sorted(exchange.of_venue(_CATEGORIES[category]), key=lambda one: one.symbol)
    if query.get("symbol"):
        listings = [listing_of(exchange, query, category)]
    else:
        listings = [one for one in listings if one.status == query.get("status", "Trading")]
    cursor = ""
    if category != "spot":
        limit = min(max(whole(exchange, query, "limit", 500) or 500, 1), 1000)
        after = query.get("cursor", "")
        listings = [one for one in listings if one.symbol > after]
        cursor = listings[limit - 1].symbol if len(listings) > limit else ""
        listings = listings[:limit]
    now = exchange.clock.now_ms()
    if category == "spot":
        rows = [_spot_instrument(one, code) for code, one in enumerate(listings, start=9)]
    else:
        rows = [_linear_instrument(one, code, hours_between(one, now)) for code, one in enumerate(listings, start=9)]
    result: dict[str, Any] = {"category": category, "list": rows}
    return ok(exchange, result if category == "spot" else {**result, "nextPageCursor": cursor}, len(rows))


def _spot_instrument(one: Listing, code: int) -> dict[str, Any]:
    most = plain(one.lot_size * 100_000_000)
    return {
        "symbolId": code,
        "symbol": one.symbol,
        "baseCoin": one.base,
        "quoteCoin": one.quote,
        "innovation": "0",
        "status": one.status,
        "marginTrading": "utaOnly",
        "stTag": "0",
        "lotSizeFilter": {
            "basePrecision": plain(one.lot_size),
            "quotePrecision": "0.0000001",
            "minOrderQty": plain(one.lot_size),
            "maxOrderQty": most,
            "minOrderAmt": "5",
            "maxOrderAmt": "8000000",
            "maxLimitOrderQty": most,
            "maxMarketOrderQty": plain(one.lot_size * 50_000_000),
            "postOnlyMaxLimitOrderSize": plain(one.lot_size * 500_000_000),
        },
        "priceFilter": {"tickSize": plain(one.tick_size)},
        "riskParameters": {"priceLimitRatioX": "0.005", "priceLimitRatioY": "0.01"},
        "symbolType": "",
        "xstockMultiplier": "1",
    }


def _linear_instrument(one: Listing, code: int, funding_hours: int) -> dict[str, Any]:
    pre_listing = one.status == "PreLaunch"
    auction = {"auctionFeeRate": "0", "takerFeeRate": "0.001", "makerFeeRate": "0.0004"}
    return {
        "symbol": one.symbol,
        "contractType": one.contract,
        "status": one.status,
        "baseCoin": one.base,
        "quoteCoin": one.quote,
        "launchTime": str(one.listed_ms),
        "deliveryTime": "0",
        "deliveryFeeRate": "",
        "priceScale": str(one.price_decimals),
        "leverageFilter": {"minLeverage": "1", "maxLeverage": "100.00", "leverageStep": "0.01"},
        "priceFilter": {
            "minPrice": f"{one.tick_size:f}",
            "maxPrice": f"{one.tick_size * 19_999_998:f}",
            "tickSize": f"{one.tick_size:f}",
        },
        "lotSizeFilter": {
            "maxOrderQty": f"{one.lot_size * 1_500_000:f}",
            "minOrderQty": f"{one.lot_size:f}",
            "qtyStep": f"{one.lot_size:f}",
            "postOnlyMaxOrderQty": f"{one.lot_size * 1_500_000:f}",
            "maxMktOrderQty": f"{one.lot_size * 150_000:f}",
            "minNotionalValue": "5",
        },
        "unifiedMarginTrade": True,
        "fundingInterval": funding_hours * 60,
        "settleCoin": one.quote,
        "copyTrading": "none" if pre_listing else "both",
        "upperFundingRate": "0.005",
        "lowerFundingRate": "-0.005",
        "isPreListing": pre_listing,
        "preListingInfo": {"curAuctionPhase": "NotStarted", "phases": [], "auctionFeeInfo": auction}
        if pre_listing
        else None,
        "riskParameters": {"priceLimitRatioX": "0.01", "priceLimitRatioY": "0.02"},
        "displayName": "",
        "symbolType": "",
        "forbidUplWithdrawal": False,
        "symbolId": code,
    }
