"""Coinbase Exchange's public REST: time, products, currencies, candles. Trades are in coinbase_trades.py.

Candles are numbers, from the newest to the oldest, [time s, low, high, open, close, volume]. Both ends of a window are
inclusive and both must be given, or neither counts and the newest 300 come; more than 300 buckets are an error. A
bucket without a trade is left out, and then a candle from before the window may come with it. Errors are a `message`
with the HTTP status. Fields and order follow ccxt's recorded answers, words the vendor's pages.
"""

import datetime as dt
from collections.abc import Callable
from typing import Any

from alphaforge_assets.sandbox.bars import Bars, Interval, Series
from alphaforge_assets.sandbox.budgets import Charge, Rule
from alphaforge_assets.sandbox.exchange import Exchange, milliseconds
from alphaforge_assets.sandbox.listings import Listing, Place, hyphened, ms_of
from alphaforge_assets.sandbox.okx import plain
from alphaforge_assets.sandbox.pages import Layout, Span, span
from alphaforge_assets.sandbox.text import Column, Text, render
from alphaforge_assets.sandbox.wire import Endpoint, Query, Refused, Reply, dump

VENUE = "coinbase_spot"
INTERVALS = {str(s): Interval(s * 1000) for s in (60, 300, 900, 3600, 21_600, 86_400)}
CANDLES_MAX = 300

PLACE = Place(
    name=VENUE,
    folder="coinbase_spot",
    grids={
        "BTC/USD": (2, 1, 8, 1, "2015-07-20"),
        "ETH/USD": (2, 1, 8, 1, "2016-05-18"),
        "SOL/USD": (2, 1, 8, 1, "2021-06-17"),
        "XRP/USD": (4, 1, 6, 1, "2023-07-13"),
        "ADA/USD": (4, 1, 8, 1, "2021-03-18"),
        "LTC/USD": (2, 1, 8, 1, "2016-08-17"),
        "DOGE/USD": (5, 1, 1, 1, "2021-06-03"),
        "BTC/USDT": (2, 1, 8, 1, "2021-05-04"),
        "ETH/USDT": (2, 1, 8, 1, "2021-05-04"),
        "ETH/BTC": (5, 1, 8, 1, "2016-05-18"),
        "LTC/BTC": (6, 1, 8, 1, "2016-08-17"),
    },
    open_state="online",
    turnover=0.3,
    symbol=hyphened,
    recorded_by_pair=True,
    others=(Listing(VENUE, "OMG-USD", "OMG", "USD", 4, 1, 1, 1, "delisted", ms_of("2020-05-21"), ms_of("2024-06-27")),),
    rules={"coinbase": Rule(10, 1)},
)


def endpoints(exchange: Exchange) -> dict[str, Endpoint]:
    """Every Coinbase path the sandbox answers."""

    def time(query: Query) -> Reply:
        now = exchange.clock.now_ms()
        moment = dt.datetime.fromtimestamp(now // 1000, dt.UTC)
        return Reply(dump({"iso": f"{moment:%Y-%m-%dT%H:%M:%S}.{now % 1000:03d}Z", "epoch": now / 1000}))

    def products(query: Query) -> Reply:
        rows = [_product(one) for one in exchange.of_venue(VENUE)]
        return Reply(dump(rows), rows=len(rows))

    return {
        "/time": at(time),
        "/products": at(products),
        "/currencies": at(lambda query: _currencies(exchange)),
        "/products/{id}": at(lambda query: Reply(dump(_product(listing_of(exchange, query))))),
        "/products/{id}/candles": at(lambda query: _candles(exchange, query)),
        "/products/{id}/{what}": at(_nothing),
    }


def at(answer: Callable[[Query], Reply]) -> Endpoint:
    """One of its paths."""
    return Endpoint(VENUE, "coinbase", answer, limited=_limited, told=lambda charge: ())


def _limited(charge: Charge) -> Reply:
    return Reply(dump({"message": "Public rate limit exceeded"}), 429)


def _nothing(query: Query) -> Reply:
    raise refuse("NotFound", 404)


def refuse(message: str, status: int = 400) -> Refused:
    return Refused(Reply(dump({"message": message}), status))


def listing_of(exchange: Exchange, query: Query) -> Listing:
    """The product that a path names."""
    listing = exchange.listings.get((VENUE, query["id"]))
    if listing is None:
        raise refuse("NotFound", 404)
    return listing


def _candles(exchange: Exchange, query: Query) -> Reply:
    listing = listing_of(exchange, query)
    interval = INTERVALS.get(query.get("granularity", "60"))
    if interval is None:
        raise refuse("Unsupported granularity")
    series, now = exchange.series(listing, interval), exchange.clock.now_ms()
    if series is None:
        return Reply(b"[]")
    if query.get("start") and query.get("end"):
        start, end = _moment(query, "start"), _moment(query, "end")
        if end < start:
            raise refuse("start must be before end")
        if interval.index(end) - interval.index(start) >= CANDLES_MAX:
            raise refuse(
                "granularity too small for the requested time range. Count of aggregations requested exceeds 300"
            )
        part = _with_one_before(series, span(series, now, interval.opens(interval.index(start)), end))
    else:
        part = span(series, now, None, None).newest(CANDLES_MAX)
    body = b"[" + exchange.page(listing, interval, series, _ROWS, part) + b"]"
    return Reply(body, rows=body.count(b"[") - 1)


def _moment(query: Query, name: str) -> int:
    """ISO 8601 or seconds."""
    text = query[name]
    try:
        return (
            int(float(text) * 1000)
            if text.replace(".", "", 1).isdigit()
            else milliseconds(dt.datetime.fromisoformat(text))
        )
    except (ValueError, OverflowError):
        raise refuse(f"Invalid {name}") from None


def _with_one_before(series: Series, part: Span) -> Span:
    """A window that begins with a bucket nobody traded in brings the one before it."""
    first = series.first_at_or_after(0)
    is_quiet = 0 < part.rows < CANDLES_MAX and part.start > first and not part.running
    if is_quiet and not int(series.bars(part.start, part.start + 1).count[0]):
        return Span(part.start - 1, part.stop, part.running)
    return part


def _write(bars: Bars, closed: bool) -> Text:
    scales = bars.scales
    prices = (Column(c, scales.price, plain=True) for c in (bars.low, bars.high, bars.open, bars.close))
    columns = [Column(bars.open_time // 1000), *prices, Column(bars.volume, scales.volume, plain=True)]
    return render(columns, [b"[", *[b","] * 5, b"],"], told=bars.count > 0)


_ROWS = Layout(VENUE, True, _write)


def _product(one: Listing) -> dict[str, Any]:
    is_open = one.status == PLACE.open_state
    return {
        "id": one.symbol,
        "base_currency": one.base,
        "quote_currency": one.quote,
        "quote_increment": plain(one.tick_size),
        "base_increment": plain(one.lot_size),
        "display_name": one.symbol,
        "min_market_funds": "1",
        "margin_enabled": False,
        "post_only": False,
        "limit_only": False,
        "cancel_only": False,
        "status": one.status,
        "status_message": "",
        "trading_disabled": not is_open,
        "fx_stablecoin": False,
        "max_slippage_percentage": "0.02000000",
        "auction_mode": False,
        "high_bid_limit_percentage": "",
    }


def _currencies(exchange: Exchange) -> Reply:
    coins = sorted({coin for one in exchange.of_venue(VENUE) for coin in (one.base, one.quote)})
    rows = [
        {
            "id": coin,
            "name": coin,
            "min_size": "0.00000001",
            "status": "online",
            "message": "",
            "max_precision": "0.00000001",
            "convertible_to": [],
            "details": {"type": "fiat" if coin == "USD" else "crypto", "symbol": None, "sort_order": 0,
                        "push_payment_methods": [], "group_types": []},
            "default_network": "",
            "supported_networks": [],
        }
        for coin in coins
    ]  # fmt: skip
    return Reply(dump(rows), rows=len(rows))
