"""Kraken's public REST: Time, SystemStatus, Assets, AssetPairs, OHLC. Trades are in kraken_trades.py.

OHLC gives, oldest first, at most the newest 720 candles after `since`, whatever it says, the open one last and always;
a candle without a trade repeats the last price with vwap "0" and no volume. Rows lie under the pair's own name beside
`last`, the time of the last committed candle. A pair is known by its own name (XXBTZUSD), its altname (XBTUSD) and its
wsname (XBT/USD). Errors are words in a list in HTTP 200. Fields and order follow recorded answers of 2021 (AssetPairs)
and 2024 (ccxt's), words the vendor's pages.
"""

import datetime as dt
from collections.abc import Callable
from typing import Any

import numpy as np

from alphaforge_assets.sandbox.bars import Bars, Interval, Ints
from alphaforge_assets.sandbox.budgets import Charge, Rule
from alphaforge_assets.sandbox.exchange import Exchange
from alphaforge_assets.sandbox.listings import Listing, Place, ms_of, split
from alphaforge_assets.sandbox.okx import plain
from alphaforge_assets.sandbox.pages import Layout, span
from alphaforge_assets.sandbox.text import Column, Text, render
from alphaforge_assets.sandbox.wire import Endpoint, Query, Refused, Reply, dump, number

VENUE = "kraken_spot"
INTERVALS = {str(m): Interval(m * 60_000) for m in (1, 5, 15, 30, 60, 240, 1440)}
CANDLES_MAX = 720
# Its own names of coins: the old ones have a letter before, two are called otherwise.
OLD = {"BTC": "XXBT", "ETH": "XETH", "XRP": "XXRP", "LTC": "XLTC", "DOGE": "XXDG", "USD": "ZUSD", "EUR": "ZEUR"}
ALIAS = {"BTC": "XBT", "DOGE": "XDG"}
FEES = [[0, 0.4], [10_000, 0.35], [50_000, 0.24], [100_000, 0.22], [250_000, 0.2], [500_000, 0.18], [1_000_000, 0.16]]


def alias(coin: str) -> str:
    return ALIAS.get(coin, coin)


def pair_name(base: str, quote: str) -> str:
    """XXBTZUSD where both coins are old, XBTUSDT where one is not; Dogecoin's are all of the new kind."""
    if base in OLD and quote in OLD and base != "DOGE":
        return OLD[base] + OLD[quote]
    return alias(base) + alias(quote)


def recorded_pair(name: str) -> tuple[str, str]:
    """('BTC', 'USDC') of XBTUSDC."""
    coins = {own: coin for coin, own in ALIAS.items()}
    base, quote = split(name)
    return coins.get(base, base), coins.get(quote, quote)


PLACE = Place(
    name=VENUE,
    folder="kraken_spot",
    grids={
        "BTC/USD": (1, 1, 8, 1, "2013-10-06"),
        "ETH/USD": (2, 1, 8, 1, "2015-08-07"),
        "SOL/USD": (2, 1, 8, 1, "2021-06-17"),
        "XRP/USD": (5, 1, 8, 1, "2017-05-18"),
        "ADA/USD": (6, 1, 8, 1, "2018-09-28"),
        "LTC/USD": (2, 1, 8, 1, "2013-10-24"),
        "DOGE/USD": (7, 1, 8, 1, "2019-12-20"),
        "BTC/USDT": (1, 1, 8, 1, "2019-12-19"),
        "ETH/USDT": (2, 1, 8, 1, "2019-12-19"),
        "ETH/BTC": (5, 1, 8, 1, "2015-08-07"),
        "SOL/BTC": (7, 1, 8, 1, "2021-06-17"),
    },
    open_state="online",
    turnover=0.1,
    quote_decimals=8,
    symbol=pair_name,
    pair=recorded_pair,
    recorded_by_pair=True,
    others=(
        Listing(VENUE, "OMGUSD", "OMG", "USD", 6, 1, 8, 1, "cancel_only", ms_of("2019-10-17"), ms_of("2024-06-20")),
    ),
    rules={"kraken": Rule(15, 15)},
)


def endpoints(exchange: Exchange) -> dict[str, Endpoint]:
    """Every Kraken path the sandbox answers."""

    def time(query: Query) -> Reply:
        moment = dt.datetime.fromtimestamp(exchange.clock.now_ms() // 1000, dt.UTC)
        return ok({"unixtime": int(moment.timestamp()), "rfc1123": f"{moment:%a, %d %b %y %H:%M:%S} +0000"})

    def status(query: Query) -> Reply:
        moment = dt.datetime.fromtimestamp(exchange.clock.now_ms() // 1000, dt.UTC)
        return ok({"status": "online", "timestamp": f"{moment:%Y-%m-%dT%H:%M:%SZ}"})

    return {
        "/0/public/Time": at(time),
        "/0/public/SystemStatus": at(status),
        "/0/public/Assets": at(lambda query: _assets(exchange)),
        "/0/public/AssetPairs": at(lambda query: _pairs(exchange)),
        "/0/public/OHLC": at(lambda query: _ohlc(exchange, query)),
        "/0/public/{what}": at(_nothing),
    }


def at(answer: Callable[[Query], Reply]) -> Endpoint:
    """One of its paths."""
    return Endpoint(VENUE, "kraken", answer, limited=_limited, told=lambda charge: ())


def ok(result: dict[str, Any], rows: int = 0) -> Reply:
    return Reply(dump({"error": [], "result": result}), rows=rows)


def refuse(words: str) -> Refused:
    return Refused(Reply(dump({"error": [words]})))


def _limited(charge: Charge) -> Reply:
    return Reply(dump({"error": ["EGeneral:Too many requests"]}))


def _nothing(query: Query) -> Reply:
    raise refuse("EGeneral:Unknown method")


def listing_of(exchange: Exchange, query: Query) -> Listing:
    """The pair that a query names, in any of its spellings."""
    name = query.get("pair", "")
    for one in exchange.of_venue(VENUE):
        if name in (one.symbol, alias(one.base) + alias(one.quote), f"{alias(one.base)}/{alias(one.quote)}"):
            return one
    raise refuse("EQuery:Unknown asset pair" if name else "EGeneral:Invalid arguments")


def _ohlc(exchange: Exchange, query: Query) -> Reply:
    listing = listing_of(exchange, query)
    interval = INTERVALS.get(query.get("interval", "1"))
    try:
        since = number(query.get("since"))
    except ValueError:
        raise refuse("EGeneral:Invalid arguments:since") from None
    if interval is None:
        raise refuse("EGeneral:Invalid arguments")
    series, now = exchange.series(listing, interval), exchange.clock.now_ms()
    name = dump(listing.symbol)
    if series is None:
        return Reply(b'{"error":[],"result":{' + name + b':[],"last":0}}')
    every = span(series, now, None, None)
    part = span(series, now, None if since is None else since * 1000 + 1, None).newest(CANDLES_MAX)
    if not part.rows:
        part = every.newest(1)
    committed = every.stop - 1 - every.running
    last = 0
    if committed >= series.first_at_or_after(0):
        last = int(series.bars(committed, committed + 1).open_time[0]) // 1000
    rows = exchange.page(listing, interval, series, _ROWS, part)
    body = b'{"error":[],"result":{' + name + b":[" + rows + b'],"last":' + str(last).encode() + b"}}"
    return Reply(body, rows=part.rows)


def vwap_of(bars: Bars) -> Ints:
    """The mean price of what was traded, 0 where nothing was."""
    scales = bars.scales
    traded = np.maximum(bars.volume, 1) / 10**scales.volume
    mean = np.rint(bars.quote_volume / 10**scales.quote / traded * 10**scales.price).astype(np.int64)
    return np.asarray(np.where(bars.volume > 0, np.clip(mean, bars.low, bars.high), 0))


def _write(bars: Bars, closed: bool) -> Text:
    scales = bars.scales
    prices = (Column(c, scales.price) for c in (bars.open, bars.high, bars.low, bars.close, vwap_of(bars)))
    columns = [Column(bars.open_time // 1000), *prices, Column(bars.volume, scales.volume, 8), Column(bars.count)]
    return render(columns, [b"[", b',"', *[b'","'] * 5, b'",', b"],"])


_ROWS = Layout(VENUE, False, _write)


def _pairs(exchange: Exchange) -> Reply:
    pairs = {one.symbol: _pair(one) for one in exchange.of_venue(VENUE)}
    return ok(pairs, len(pairs))


def _pair(one: Listing) -> dict[str, Any]:
    base, quote = alias(one.base), alias(one.quote)
    return {
        "altname": base + quote,
        "wsname": f"{base}/{quote}",
        "aclass_base": "currency",
        "base": OLD.get(one.base, one.base),
        "aclass_quote": "currency",
        "quote": OLD.get(one.quote, one.quote),
        "lot": "unit",
        "cost_decimals": 5,
        "pair_decimals": one.price_decimals,
        "lot_decimals": one.volume_decimals,
        "lot_multiplier": 1,
        "leverage_buy": [2, 3],
        "leverage_sell": [2, 3],
        "fees": FEES,
        "fees_maker": [[volume, fee * 0.6] for volume, fee in FEES],
        "fee_volume_currency": "ZUSD",
        "margin_call": 80,
        "margin_stop": 40,
        "ordermin": plain(one.lot_size * 5000),
        "costmin": "0.5",
        "tick_size": plain(one.tick_size),
        "status": one.status,
        "long_position_limit": 300,
        "short_position_limit": 240,
    }


def _assets(exchange: Exchange) -> Reply:
    coins = sorted({coin for one in exchange.of_venue(VENUE) for coin in (one.base, one.quote)})
    assets = {
        OLD.get(coin, coin): {
            "aclass": "currency",
            "altname": alias(coin),
            "decimals": 4 if coin == "USD" else 10,
            "display_decimals": 2 if coin == "USD" else 5,
            "status": "enabled",
        }
        for coin in coins
    }
    return ok(assets, len(assets))
