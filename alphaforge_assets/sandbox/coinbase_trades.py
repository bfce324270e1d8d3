"""Coinbase Exchange's trades over REST: those of a product, from the newest to the oldest, paged by ids.

`after` asks for what is older than an id, `before` for the newest of what is newer, both exclusive; beside the page the
headers cb-before and cb-after tell its newest and oldest id. `side` is the maker's. Fields and their order follow the
answer that ccxt recorded; that `trade_id` is a number, limits and headers are the vendor's pages ("Get product trades",
"Pagination").
"""

import numpy as np

from alphaforge_assets.sandbox.coinbase import at, listing_of, refuse
from alphaforge_assets.sandbox.exchange import Exchange
from alphaforge_assets.sandbox.text import Column, texts
from alphaforge_assets.sandbox.trades import Trades
from alphaforge_assets.sandbox.wire import Endpoint, Query, Reply, number

LIMIT_MAX = 1000
PATH = "/products/{id}/trades"


def endpoints(exchange: Exchange) -> dict[str, Endpoint]:
    """Every path of Coinbase's trades that the sandbox answers."""
    return {PATH: at(lambda query: _trades(exchange, query))}


def _trades(exchange: Exchange, query: Query) -> Reply:
    listing, now = listing_of(exchange, query), exchange.clock.now_ms()
    try:
        after, before, limit = (number(query.get(name)) for name in ("after", "before", "limit"))
    except ValueError:
        raise refuse("invalid pagination") from None
    limit = LIMIT_MAX if limit is None else limit
    if not 1 <= limit <= LIMIT_MAX:
        raise refuse("Invalid limit")
    tape = exchange.tapes.of(listing, is_single=True)
    if after is None:
        found = tape.newest(limit, now)
        if before is not None:
            found = found.slice(int((found.id <= before).sum()), len(found))
    else:
        # Ids are counted without a gap: the page ends at `after`, or at the newest if that is before it.
        found = tape.from_id(max(0, after - limit), limit, now)
        found = found.slice(0, int((found.id < after).sum()))
        if not len(found):
            newest = tape.newest(limit, now)
            found = newest if len(newest) and int(newest.id[-1]) < after else found
    rows = _rows(found)
    ends = (("cb-before", str(found.id[-1])), ("cb-after", str(found.id[0]))) if len(found) else ()
    return Reply(b"[" + rows + b"]", rows=len(found), headers=ends)


def _rows(found: Trades) -> bytes:
    """Descending; times as texts, the maker's side."""
    rows = zip(
        found.id[::-1].tolist(),
        np.where(found.buyer_is_maker[::-1], "buy", "sell").tolist(),
        texts(Column(found.quantity[::-1], found.quantity_decimals, 8)),
        texts(Column(found.price[::-1], found.price_decimals, 8)),
        np.datetime_as_string((found.time * 1000 + found.us)[::-1].astype("datetime64[us]")).tolist(),
        strict=True,
    )
    told = (
        f'{{"trade_id":{number},"side":"{side}","size":"{size}","price":"{price}","time":"{time}Z"}}'
        for number, side, size, price, time in rows
    )
    return ",".join(told).encode()
