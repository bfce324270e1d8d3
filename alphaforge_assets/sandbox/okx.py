"""OKX v5 public REST: time, instruments, candles, history-candles, system status.

Pages run from the newest to the oldest; `after` asks for what is older, `before` for what is newer, both exclusive, and
`before` alone still yields the newest page. `candles` reaches back 1,440 bars. Bars of 6H and longer open at UTC+8
unless their name ends in `utc`. Errors come as a code in HTTP 200 (a missing parameter in 400). Field order and formats
follow ccxt's recorded fixtures; words follow recorded error answers.
"""

from collections.abc import Callable
from typing import Any

from alphaforge_assets.sandbox.bars import Bars, Interval
from alphaforge_assets.sandbox.exchange import Exchange
from alphaforge_assets.sandbox.funding import hours_between
from alphaforge_assets.sandbox.listings import Listing
from alphaforge_assets.sandbox.pages import Layout, span
from alphaforge_assets.sandbox.text import Column, Text, render
from alphaforge_assets.sandbox.wire import Endpoint, Query, Refused, Reply, dump, number

_MINUTE, _HOUR, _DAY = 60_000, 3_600_000, 86_400_000
_UTC8 = -8 * _HOUR
BARS = {
    **{f"{n}m": Interval(n * _MINUTE) for n in (1, 3, 5, 15, 30)},
    **{f"{n}H": Interval(n * _HOUR) for n in (1, 2, 4)},
    **{f"{n}Hutc": Interval(n * _HOUR) for n in (6, 12)},
    **{f"{n}H": Interval(n * _HOUR, _UTC8 % (n * _HOUR)) for n in (6, 12)},
    "1Dutc": Interval(_DAY),
    "1D": Interval(_DAY, _UTC8 % _DAY),
}
PRICE_PATHS = {"mark": "mark-price-candles", "index": "index-candles"}
PRICES_LIMIT_MAX = 100
CANDLES_BACK = 1440
CANDLES_LIMIT_MAX = 300
FUNDING_LIMIT_MAX = 100
FUNDING_BACK_MS = 92 * _DAY
_TYPES = {"SPOT": "okx_spot", "SWAP": "okx_perp", "MARGIN": "", "FUTURES": "", "OPTION": "", "EVENTS": ""}


def endpoints(exchange: Exchange) -> dict[str, Endpoint]:
    """Every OKX path the sandbox answers."""

    def at(budget: str, answer: Callable[[Query], Reply], per_symbol: str = "") -> Endpoint:
        return Endpoint("okx", budget, answer, per_symbol=per_symbol)

    def time(query: Query) -> Reply:
        return ok([{"ts": str(exchange.clock.now_ms())}])

    return {
        "/api/v5/public/time": at("okx_time", time),
        "/api/v5/public/instruments": at("okx_public", lambda q: _instruments(exchange, q), "instType"),
        "/api/v5/market/candles": at("okx_candles", lambda q: _candles(exchange, q, False)),
        "/api/v5/market/history-candles": at("okx_history", lambda q: _candles(exchange, q, True)),
        **{
            f"/api/v5/market/{'history-' * history}{path}": at(
                "okx_price_history" if history else "okx_prices",
                lambda q, price=price, history=history: _candles(exchange, q, history, price),  # type: ignore[misc]
            )
            for price, path in PRICE_PATHS.items()
            for history in (False, True)
        },
        "/api/v5/public/funding-rate-history": at("okx_funding", lambda q: _funding_history(exchange, q), "instId"),
        "/api/v5/public/funding-rate": at("okx_public", lambda q: _funding_rate(exchange, q), "instId"),
        "/api/v5/system/status": at("okx_status", lambda q: ok([])),
    }


def ok(rows: list[Any]) -> Reply:
    return Reply(dump({"code": "0", "data": rows, "msg": ""}), rows=len(rows))


def refuse(code: str, message: str, status: int = 200) -> Refused:
    return Refused(Reply(dump({"code": code, "data": [], "msg": message}), status))


def listing_of(exchange: Exchange, query: Query) -> Listing:
    """The listing `instId` names, in either market."""
    symbol = query.get("instId")
    if not symbol:
        raise refuse("50014", "Parameter instId can not be empty", 400)
    listing = exchange.listings.get(("okx_spot", symbol)) or exchange.listings.get(("okx_perp", symbol))
    if listing is None:
        raise refuse("51001", "Instrument ID, Instrument ID code, or Spread ID doesn't exist.")
    return listing


def whole(query: Query, name: str, default: int | None = None) -> int | None:
    try:
        return number(query.get(name), default)
    except ValueError:
        raise refuse("51000", f"Parameter {name} error", 400) from None


def _valued(exchange: Exchange, query: Query, price: str) -> Listing:
    """The perpetual whose price is asked for: a mark price by its own name, an index by what it is of."""
    if price == "index":
        query = {**query, "instId": f"{query.get('instId', '')}-SWAP"}
    listing = listing_of(exchange, query)
    if listing.venue != "okx_perp":
        raise refuse("51001", "Instrument ID, Instrument ID code, or Spread ID doesn't exist.")
    return listing


def _candles(exchange: Exchange, query: Query, history: bool, price: str = "trade") -> Reply:
    listing = listing_of(exchange, query) if price == "trade" else _valued(exchange, query, price)
    interval = BARS.get(query.get("bar", "1m"))
    if interval is None:
        raise refuse("51000", "Parameter bar error", 400)
    after, before = whole(query, "after"), whole(query, "before")
    limit = whole(query, "limit", 100) or 0
    if limit < 1:
        raise refuse("51000", "Parameter limit error", 400)
    most = PRICES_LIMIT_MAX if price != "trade" else exchange.okx_history_limit if history else CANDLES_LIMIT_MAX
    limit = min(limit, most)
    series = exchange.series(listing, interval, price)
    if series is None:
        return Reply(b'{"code":"0","msg":"","data":[]}')
    now = exchange.clock.now_ms()
    first = None if before is None else before + 1
    if not history:
        oldest = interval.opens(interval.index(now) - CANDLES_BACK + 1)
        first = oldest if first is None else max(first, oldest)
    part = span(series, now, first, None if after is None else after - 1).newest(limit)
    rows = exchange.page(
        listing, interval, series, row_layout(listing) if price == "trade" else _price_rows(price), part
    )
    return Reply(b'{"code":"0","msg":"","data":[' + rows + b"]}", rows=part.rows)


def row_layout(listing: Listing) -> Layout:
    """Nine fields: contracts, coins and quote of what was traded, and whether it is closed."""
    value, base_decimals = listing.base_per_volume
    is_swap = listing.venue == "okx_perp"

    def write(bars: Bars, closed: bool) -> Text:
        scales = bars.scales
        quote = Column(bars.quote_volume, scales.quote, plain=True)
        decimals = base_decimals - listing.volume_decimals + scales.volume
        base = Column(bars.volume * value, decimals, plain=True) if is_swap else quote
        return render(
            [
                Column(bars.open_time),
                *(Column(c, scales.price, plain=True) for c in (bars.open, bars.high, bars.low, bars.close)),
                Column(bars.volume, scales.volume, plain=True),
                base,
                quote,
            ],
            [b'["', *[b'","'] * 7, b'","1"],' if closed else b'","0"],'],
        )

    return Layout("okx", True, write)


def _price_rows(price: str) -> Layout:
    """Six fields: nothing is traded at it."""

    def write(bars: Bars, closed: bool) -> Text:
        prices = (Column(c, bars.scales.price, plain=True) for c in (bars.open, bars.high, bars.low, bars.close))
        ends = b'","1"],' if closed else b'","0"],'
        return render([Column(bars.open_time), *prices], [b'["', *[b'","'] * 4, ends])

    return Layout(f"okx_{price}", True, write)


def _instruments(exchange: Exchange, query: Query) -> Reply:
    kind = query.get("instType", "")
    if not kind:
        raise refuse("50014", "Parameter instType can not be empty", 400)
    if kind not in _TYPES:
        raise refuse("51000", "Parameter instType error", 400)
    if kind == "OPTION" and not (query.get("uly") or query.get("instFamily")):
        raise refuse("50015", "Either parameter uly or instFamily is required", 400)
    listings = list(exchange.of_venue(_TYPES[kind]))
    if query.get("instId"):
        listings = [one for one in listings if one.symbol == query["instId"]]
        if not listings:
            raise refuse("51001", "Instrument ID, Instrument ID code, or Spread ID doesn't exist.")
    return ok([_instrument(one, code) for code, one in enumerate(listings, start=3)])


_BLANK = (
    "alias", "auctionEndTime", "baseCcy", "category", "contTdSwTime", "ctMult", "ctType", "ctVal", "ctValCcy",
    "expTime", "freq", "futureSettlement", "groupId", "instCategory", "instFamily", "instId", "instIdCode",
    "instType", "lever", "listTime", "longPosRemainingQuota", "lotSz", "maxIcebergSz", "maxLmtAmt", "maxLmtSz",
    "maxMktAmt", "maxMktSz", "maxPlatOICoinLmt", "maxPlatOILmt", "maxStopSz", "maxTriggerSz", "maxTwapSz",
    "method", "minSz", "openType", "optType", "posLmtAmt", "posLmtPct", "preMktSwTime", "quoteCcy", "ruleType",
    "seriesId", "settleCcy", "shortPosRemainingQuota", "state", "stk", "tickSz", "tradeQuoteCcyList", "uly",
    "upcChg",
)  # fmt: skip


def _instrument(one: Listing, code: int) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(_BLANK, "")
    swap = one.venue == "okx_perp"
    row |= {"instId": one.symbol, "instType": "SWAP" if swap else "SPOT", "state": one.status, "instIdCode": code,
            "futureSettlement": False, "tradeQuoteCcyList": [], "upcChg": []}  # fmt: skip
    if one.status == "preopen" and swap:  # only a name and a state so far, as the venue does
        return row
    row |= {
        "category": "1",
        "instCategory": "1",
        "groupId": "4" if swap else "12",
        "lever": "" if one.status != "live" else "100" if swap else "10",
        "listTime": str(one.listed_ms),
        "lotSz": plain(one.lot_size),
        "minSz": plain(one.lot_size * (1 if swap else 1000)),
        "tickSz": plain(one.tick_size),
        "maxLmtAmt": "20000000",
        "maxLmtSz": "100000000" if swap else "9999999999",
        "maxMktAmt": "" if swap else "1000000",
        "maxMktSz": "35000" if swap else "1000000",
        "maxStopSz": "35000" if swap else "1000000",
        **dict.fromkeys(("maxIcebergSz", "maxTriggerSz", "maxTwapSz"), "100000000.0000000000000000"),
        "openType": "call_auction" if swap else "fix_price",
        "ruleType": "normal",
    }
    if swap:
        pair = f"{one.base}-{one.quote}"
        row |= {"ctMult": "1", "ctType": one.contract, "ctVal": plain(one.contract_value), "ctValCcy": one.base,
                "contTdSwTime": str(one.listed_ms), "instFamily": pair, "uly": pair, "settleCcy": one.quote,
                "posLmtAmt": "250000", "posLmtPct": "30"}  # fmt: skip
    else:
        row |= {"baseCcy": one.base, "quoteCcy": one.quote, "tradeQuoteCcyList": [one.quote]}
    return row


def _perpetual(exchange: Exchange, query: Query) -> Listing:
    listing = listing_of(exchange, query)
    if listing.venue != "okx_perp":
        raise refuse("51000", "Parameter instId error", 400)
    return listing


def _funding_history(exchange: Exchange, query: Query) -> Reply:
    """Newest first between exclusive cursors; a generated history reaches back three months, a recorded one all."""
    listing = _perpetual(exchange, query)
    after, before = whole(query, "after"), whole(query, "before")
    limit = min(whole(query, "limit", FUNDING_LIMIT_MAX) or FUNDING_LIMIT_MAX, FUNDING_LIMIT_MAX)
    now = exchange.clock.now_ms()
    first = 0 if before is None else before + 1
    first = first if exchange.recordings else max(first, now - FUNDING_BACK_MS)
    settled = exchange.funding.of(listing, now)
    start, stop = settled.within(first, None if after is None else after - 1)
    rows = settled.rows(max(start, stop - limit), stop)[::-1]
    return ok(
        [
            {
                "formulaType": "noRate",
                "fundingRate": plain(row.rate),
                "fundingTime": str(row.time_ms),
                "instId": listing.symbol,
                "instType": "SWAP",
                "method": "current_period",
                "realizedRate": plain(row.rate),
            }
            for row in rows
        ]
    )


def _funding_rate(exchange: Exchange, query: Query) -> Reply:
    """The rate that will be settled next: here the one settled last."""
    listing = _perpetual(exchange, query)
    now = exchange.clock.now_ms()
    settled = exchange.funding.of(listing, now)
    last = settled.rows(len(settled.times) - 1, len(settled.times)) if len(settled.times) else []
    rate = plain(last[0].rate) if last else "0"
    step = hours_between(listing, now) * _HOUR
    following = (now // step + 1) * step
    row = {
        "formulaType": "noRate",
        "fundingRate": rate,
        "fundingTime": str(following),
        "impactValue": "",
        "instId": listing.symbol,
        "instType": "SWAP",
        "interestRate": "0",
        "maxFundingRate": "0.00375",
        "method": "current_period",
        "minFundingRate": "-0.00375",
        "nextFundingRate": "",
        "nextFundingTime": str(following + step),
        "premium": rate,
        "settFundingRate": rate,
        "settState": "settled",
        "ts": str(now),
    }
    return ok([row])


def plain(value: Any) -> str:
    """A decimal without an exponent or trailing zeros."""
    return f"{value.normalize():f}"
