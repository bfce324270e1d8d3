"""OKX's trades over REST: history-trades, single ones by id or by time, from the newest to the oldest.

`after` asks for what is older, `before` for what is newer, both exclusive; by time (`type` 2) only `after` is read.
Fields (instId, side, sz, px, source, tradeId, ts, all texts) are those of OKX's v5 docs; their order is from memory.
"""

from alphaforge_assets.sandbox.exchange import Exchange
from alphaforge_assets.sandbox.okx import listing_of, refuse, whole
from alphaforge_assets.sandbox.text import Column, Flag, render
from alphaforge_assets.sandbox.trades import Trades
from alphaforge_assets.sandbox.wire import Endpoint, Query, Reply

LIMIT_MAX = 100


def endpoints(exchange: Exchange) -> dict[str, Endpoint]:
    """Every path of OKX's trades that the sandbox answers."""
    return {"/api/v5/market/history-trades": Endpoint("okx", "okx_trades", lambda query: _history(exchange, query))}


def _history(exchange: Exchange, query: Query) -> Reply:
    listing, now = listing_of(exchange, query), exchange.clock.now_ms()
    after, before, limit = (whole(query, name) for name in ("after", "before", "limit"))
    limit = min(LIMIT_MAX if limit is None else limit, LIMIT_MAX)
    if limit < 1:
        raise refuse("51000", "Parameter limit error", 400)
    tape = exchange.tapes.of(listing, is_single=True)
    if query.get("type", "1") == "2":
        found = tape.newest(limit, now if after is None else min(now, after - 1))
    elif after is None:
        found = tape.newest(limit, now)
        found = found.slice(int((found.id <= (before or 0)).sum()), len(found))
    else:
        low = max(after - limit, 0 if before is None else before + 1)
        found = tape.from_id(low, max(0, after - low), now)
        found = found.slice(0, int((found.id < after).sum()))
    return Reply(b'{"code":"0","msg":"","data":[' + _rows(found, listing.symbol) + b"]}", rows=len(found))


def _rows(found: Trades, symbol: str) -> bytes:
    """Descending; numbers without trailing zeros."""
    columns: list[Column | Flag] = [
        Flag(found.buyer_is_maker[::-1], (b"buy", b"sell")),
        Column(found.quantity[::-1], found.quantity_decimals, plain=True),
        Column(found.price[::-1], found.price_decimals, plain=True),
        Column(found.id[::-1]),
        Column(found.time[::-1]),
    ]
    names = [b'","sz":"', b'","px":"', b'","source":"0","tradeId":"', b'","ts":"', b'"},']
    return bytes(render(columns, [f'{{"instId":"{symbol}","side":"'.encode(), *names]).data)[:-1]
