"""Binance's trades over REST: aggTrades, trades and historicalTrades of spot and USDⓈ-M.

Fields and their order are those of recorded answers (a, p, q, f, l, T, m, M; the futures have no M); limits, weights
and what may stand beside what are the vendor's endpoint pages of 2026: futures serve the last 48 hours, by the hour.
"""

from collections.abc import Callable

from alphaforge_assets.sandbox.binance import listing_of, number_of, refuse
from alphaforge_assets.sandbox.exchange import Exchange
from alphaforge_assets.sandbox.text import Column, Flag, Text, render
from alphaforge_assets.sandbox.trades import Trades
from alphaforge_assets.sandbox.wire import Endpoint, Query, Reply

LIMIT_MAX = 1000
HOUR_MS = 3_600_000
FUTURES_KEPT_MS = 48 * HOUR_MS


def endpoints(exchange: Exchange) -> dict[str, Endpoint]:
    """Every path of trades that the sandbox answers."""
    found = {}
    weights = {"binance_spot": (4, 25, 25), "binance_perp": (20, 5, 20)}
    for venue, root in (("binance_spot", "/api/v3/"), ("binance_perp", "/fapi/v1/")):
        of_paths = (("aggTrades", _aggregates), ("trades", _newest), ("historicalTrades", _historical))
        for (name, answer), weight in zip(of_paths, weights[venue], strict=True):
            found[root + name] = Endpoint(venue, venue, _bound(answer, exchange, venue), lambda query, w=weight: w)  # type: ignore[misc]
    return found


def _bound(answer: Callable[[Exchange, str, Query], Reply], exchange: Exchange, venue: str) -> Callable[[Query], Reply]:
    return lambda query: answer(exchange, venue, query)


def _limit(venue: str, query: Query) -> int:
    limit = number_of(query, "limit")
    limit = 500 if limit is None else limit
    if limit < 1 or (limit > LIMIT_MAX and venue != "binance_spot"):
        raise refuse(-1130, "Data sent for parameter 'limit' is not valid.")
    return min(limit, LIMIT_MAX)


def _aggregates(exchange: Exchange, venue: str, query: Query) -> Reply:
    """By `fromId`, else by `startTime` and `endTime` (both inclusive), else the newest."""
    listing, limit = listing_of(exchange, venue, query), _limit(venue, query)
    first, start, end = (number_of(query, name) for name in ("fromId", "startTime", "endTime"))
    now, tape = exchange.clock.now_ms(), exchange.tapes.of(listing)
    if first is not None and (start is not None or end is not None):
        raise refuse(-1128, "Combination of optional parameters invalid.")
    if first is not None:
        found = tape.from_id(first, limit, now)
    elif start is not None or end is not None:
        if start is not None and end is not None and start > end:
            raise refuse(-1023, "Start time is greater than end time.")
        if venue == "binance_perp" and start is not None and end is not None and end - start >= HOUR_MS:
            raise refuse(-4084, "Time interval should be less than 1 hour.")
        low = start if start is not None else (end or 0) - HOUR_MS + 1
        found = tape.from_time(low, min(now, end if end is not None else low + HOUR_MS - 1) + 1, limit)
    else:
        found = tape.newest(limit, now)
    if venue == "binance_perp" and len(found) and exchange.recordings is None:
        kept = int((found.time < now - FUTURES_KEPT_MS).sum())
        found = found.slice(kept, len(found))
    body = _aggregate_rows(found, is_spot=venue == "binance_spot").data
    return Reply(b"[" + bytes(body)[:-1] + b"]", rows=len(found))


def _newest(exchange: Exchange, venue: str, query: Query) -> Reply:
    listing, limit = listing_of(exchange, venue, query), _limit(venue, query)
    found = exchange.tapes.of(listing, is_single=True).newest(limit, exchange.clock.now_ms())
    return _singles(found, venue)


def _historical(exchange: Exchange, venue: str, query: Query) -> Reply:
    listing, limit = listing_of(exchange, venue, query), _limit(venue, query)
    first, now = number_of(query, "fromId"), exchange.clock.now_ms()
    tape = exchange.tapes.of(listing, is_single=True)
    return _singles(tape.newest(limit, now) if first is None else tape.from_id(first, limit, now), venue)


def _singles(found: Trades, venue: str) -> Reply:
    body = _single_rows(found, is_spot=venue == "binance_spot").data
    return Reply(b"[" + bytes(body)[:-1] + b"]", rows=len(found))


def _aggregate_rows(found: Trades, *, is_spot: bool) -> Text:
    """Spot pads numbers to eight decimals, futures to those of the symbol."""
    price, quantity = (8, 8) if is_spot else (found.price_decimals, found.quantity_decimals)
    columns: list[Column | Flag] = [
        Column(found.id),
        Column(found.price, found.price_decimals, price),
        Column(found.quantity, found.quantity_decimals, quantity),
        Column(found.first),
        Column(found.last),
        Column(found.time),
        Flag(found.buyer_is_maker),
    ]
    names = [b'{"a":', b',"p":"', b'","q":"', b'","f":', b',"l":', b',"T":', b',"m":']
    return render(columns, [*names, b',"M":true},' if is_spot else b"},"])


def _single_rows(found: Trades, *, is_spot: bool) -> Text:
    """`quoteQty` is price × qty, exactly; spot cuts it to eight decimals."""
    price, quantity = (8, 8) if is_spot else (found.price_decimals, found.quantity_decimals)
    decimals = found.price_decimals + found.quantity_decimals
    cut = max(0, decimals - 8)
    quote = found.price * found.quantity // 10**cut
    columns: list[Column | Flag] = [
        Column(found.id),
        Column(found.price, found.price_decimals, price),
        Column(found.quantity, found.quantity_decimals, quantity),
        Column(quote, decimals - cut, 8 if is_spot else decimals - cut),
        Column(found.time),
        Flag(found.buyer_is_maker),
    ]
    names = [b'{"id":', b',"price":"', b'","qty":"', b'","quoteQty":"', b'","time":', b',"isBuyerMaker":']
    return render(columns, [*names, b',"isBestMatch":true},' if is_spot else b"},"])
