"""Kraken's trades over REST: those of a pair from a moment on, the oldest first, single ones.

`since` is in nanoseconds and exclusive, and 0 is since ever; without it the newest come. `last` is the time of the
last trade told, for the next question. Rows are price, volume, time (a number of seconds), side (b, s), order (m, l),
a text, and the trade's number; so is a recorded answer of 2024 (ccxt's). `count` and what it may be are the vendor's
page ("Get Recent Trades"). Which orders were limit ones is made up: those of every third number.
"""

from alphaforge_assets.sandbox.exchange import Exchange
from alphaforge_assets.sandbox.kraken import at, listing_of, refuse
from alphaforge_assets.sandbox.text import Column, Flag, render
from alphaforge_assets.sandbox.trades import Trades
from alphaforge_assets.sandbox.wire import Endpoint, Query, Reply, dump

COUNT_MAX = 1000


def endpoints(exchange: Exchange) -> dict[str, Endpoint]:
    """Every path of Kraken's trades that the sandbox answers."""
    return {"/0/public/Trades": at(lambda query: _trades(exchange, query))}


def _trades(exchange: Exchange, query: Query) -> Reply:
    listing, now = listing_of(exchange, query), exchange.clock.now_ms()
    since, count = _whole(query, "since"), _whole(query, "count")
    count = COUNT_MAX if count is None else count
    if not 1 <= count <= COUNT_MAX:
        raise refuse("EGeneral:Invalid arguments:count")
    tape = exchange.tapes.of(listing, is_single=True)
    if since is None:
        found = tape.newest(count, now)
    else:
        found = _after(tape.from_time(max(since // 1_000_000, listing.listed_ms), now + 1, count), since)
        if len(found) < count:  # some of the millisecond of `since` were cut away
            found = _after(tape.from_time(max(since // 1_000_000, listing.listed_ms), now + 1, 2 * count), since)
        found = found.slice(0, count)
    last = _ns(found, -1) if len(found) else since or 0
    name, rows = dump(listing.symbol), bytes(_rows(found))
    return Reply(
        b'{"error":[],"result":{' + name + b":[" + rows + b'],"last":"' + str(last).encode() + b'"}}', rows=len(found)
    )


def _whole(query: Query, name: str) -> int | None:
    text = query.get(name, "")
    if text and not (text.isascii() and text.isdigit() and len(text) < 20):
        raise refuse(f"EGeneral:Invalid arguments:{name}")
    return int(text) if text else None


def _after(found: Trades, since: int) -> Trades:
    return found.slice(int(((found.time * 1000 + found.us) * 1000 <= since).sum()), len(found))


def _ns(found: Trades, place: int) -> int:
    return int(found.time[place] * 1000 + found.us[place]) * 1000


def _rows(found: Trades) -> bytes:
    columns: list[Column | Flag] = [
        Column(found.price, found.price_decimals),
        Column(found.quantity, found.quantity_decimals, 8),
        Column(found.time * 1000 + found.us, 6, plain=True),
        Flag(found.buyer_is_maker, (b"b", b"s")),
        Flag(found.id % 3 == 0, (b"m", b"l")),
        Column(found.id),
    ]
    return bytes(render(columns, [b'["', b'","', b'",', b',"', b'","', b'","",', b"],"]).data)[:-1]
