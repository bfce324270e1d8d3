"""What the sandbox's venues list: symbols, their grids of prices and quantities, their states and first days.

The numbers are the venues' own (tick and lot sizes of 2025-2026, from their instrument lists); the choice of symbols is
ours: what the default universe asks for, a few more, and one of each state a venue lists but does not trade.
How a venue words an instrument is in `binance.py`, `okx.py` and `bybit.py`.
"""

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal

from alphaforge_assets.sandbox.bars import DAY_MS, Scales

VENUES = ("binance_spot", "binance_perp", "okx_spot", "okx_perp", "bybit_spot", "bybit_perp")
QUOTES = ("USDT", "USDC", "FDUSD", "BUSD", "TUSD", "USD", "EUR", "BTC", "ETH", "BNB")
OPEN_STATES = {"TRADING", "live", "Trading"}


@dataclass(frozen=True)
class Listing:
    """One symbol on one venue.

    `tick` and `lot` are in units of 10^-`price_decimals` and 10^-`volume_decimals`, the units of its bars; on okx_perp
    the lot counts contracts of `contract_value` base each. `status` is the venue's own word. Bars exist on
    [`listed_ms`, `delisted_ms`), so none at all when the two are equal.
    """

    venue: str
    symbol: str
    base: str
    quote: str
    price_decimals: int
    tick: int
    volume_decimals: int
    lot: int
    status: str
    listed_ms: int
    delisted_ms: int | None = None
    contract: str = ""
    contract_value: Decimal = Decimal(1)

    @property
    def key(self) -> tuple[str, str]:
        return self.venue, self.symbol

    @property
    def tick_size(self) -> Decimal:
        return Decimal(self.tick).scaleb(-self.price_decimals)

    @property
    def lot_size(self) -> Decimal:
        return Decimal(self.lot).scaleb(-self.volume_decimals)

    @property
    def base_per_volume(self) -> tuple[int, int]:
        """(k, d): a volume of v units is v × k base units of 10^-d. (1, volume_decimals) but for contracts."""
        digits = self.contract_value.normalize()
        exponent = int(digits.as_tuple().exponent)
        whole = int(digits.scaleb(max(0, -exponent)))
        return whole, self.volume_decimals + max(0, -exponent)

    @property
    def scales(self) -> Scales:
        """Decimals of this listing's generated bars; quote volume is cut where the venue cuts it."""
        full = self.price_decimals + self.base_per_volume[1]
        most = {"binance_spot": 8, "binance_perp": full}.get(self.venue, 6)
        return Scales(self.price_decimals, self.volume_decimals, min(full, most))


# pair: (price decimals, tick, volume decimals, lot, first day); ticks and lots as in Listing
_GRIDS: dict[str, dict[str, tuple[int, int, int, int, str]]] = {
    "binance_spot": {
        "BTC/USDT": (2, 1, 5, 1, "2017-08-17"),
        "ETH/USDT": (2, 1, 4, 1, "2017-08-17"),
        "SOL/USDT": (2, 1, 3, 1, "2020-08-11"),
        "XRP/USDT": (4, 1, 1, 1, "2018-05-04"),
        "BNB/USDT": (2, 1, 3, 1, "2017-11-06"),
        "DOGE/USDT": (5, 1, 0, 1, "2019-07-05"),
        "ADA/USDT": (4, 1, 1, 1, "2018-04-17"),
        "LTC/USDT": (2, 1, 3, 1, "2017-12-13"),
        "SOL/BTC": (7, 1, 3, 1, "2020-08-11"),
        "ETH/BTC": (5, 1, 4, 1, "2017-07-14"),
    },
    "binance_perp": {
        "BTC/USDT": (2, 10, 3, 1, "2019-09-08"),
        "ETH/USDT": (2, 1, 3, 1, "2019-11-27"),
        "SOL/USDT": (4, 100, 2, 1, "2020-09-14"),
        "XRP/USDT": (4, 1, 1, 1, "2020-01-06"),
        "BNB/USDT": (3, 10, 2, 1, "2020-02-10"),
        "DOGE/USDT": (6, 10, 0, 1, "2020-07-10"),
        "ADA/USDT": (5, 10, 0, 1, "2020-01-31"),
        "LTC/USDT": (2, 1, 3, 1, "2020-01-09"),
    },
    "okx_spot": {
        "BTC/USDT": (1, 1, 8, 1, "2018-01-11"),
        "ETH/USDT": (2, 1, 6, 1, "2018-01-11"),
        "SOL/USDT": (2, 1, 6, 1, "2020-09-24"),
        "XRP/USDT": (4, 1, 6, 1, "2018-01-11"),
        "BNB/USDT": (1, 1, 4, 1, "2024-10-24"),
        "DOGE/USDT": (5, 1, 6, 1, "2019-08-07"),
        "ADA/USDT": (4, 1, 6, 1, "2019-08-07"),
        "LTC/USDT": (2, 1, 6, 1, "2018-01-11"),
        "SOL/BTC": (7, 1, 6, 1, "2020-09-24"),
        "ETH/BTC": (5, 1, 6, 1, "2018-01-11"),
    },
    "okx_perp": {
        "BTC/USDT": (1, 1, 2, 1, "2019-11-12"),
        "ETH/USDT": (2, 1, 2, 1, "2019-11-12"),
        "SOL/USDT": (2, 1, 2, 1, "2020-10-16"),
        "XRP/USDT": (4, 1, 2, 1, "2019-11-12"),
        "BNB/USDT": (1, 1, 0, 1, "2021-11-03"),
        "DOGE/USDT": (5, 1, 2, 1, "2020-07-10"),
        "ADA/USDT": (4, 1, 1, 1, "2019-12-25"),
        "LTC/USDT": (2, 1, 1, 1, "2019-11-12"),
    },
    "bybit_spot": {
        "BTC/USDT": (1, 1, 6, 1, "2021-07-05"),
        "ETH/USDT": (2, 1, 5, 1, "2021-07-05"),
        "SOL/USDT": (2, 1, 3, 1, "2021-10-14"),
        "XRP/USDT": (4, 1, 2, 1, "2021-07-05"),
        "BNB/USDT": (1, 1, 4, 1, "2022-08-18"),
        "DOGE/USDT": (5, 1, 1, 1, "2021-07-15"),
        "ADA/USDT": (4, 1, 2, 1, "2021-07-15"),
        "LTC/USDT": (2, 1, 5, 1, "2021-07-15"),
        "SOL/BTC": (7, 1, 3, 1, "2022-02-24"),
        "ETH/BTC": (6, 1, 4, 1, "2021-07-05"),
    },
    "bybit_perp": {
        "BTC/USDT": (2, 10, 3, 1, "2020-03-25"),
        "ETH/USDT": (2, 1, 2, 1, "2020-10-21"),
        "SOL/USDT": (3, 10, 1, 1, "2021-06-29"),
        "XRP/USDT": (4, 1, 1, 1, "2021-05-13"),
        "BNB/USDT": (2, 10, 2, 1, "2021-06-29"),
    },
}
_CONTRACT_VALUE = {"BTC": "0.01", "ETH": "0.1", "SOL": "1", "XRP": "100", "BNB": "0.01", "DOGE": "1000", "ADA": "100"}
_STATUS = {"binance": "TRADING", "okx": "live", "bybit": "Trading"}


def default_listings() -> tuple[Listing, ...]:
    """Everything the sandbox lists when it generates prices."""
    listed = [
        _listing(venue, pair, *grid[:4], _ms(grid[4]))
        for venue, grids in _GRIDS.items()
        for pair, grid in grids.items()
    ]
    return (*listed, *_other_states())


def venue_symbol(venue: str, base: str, quote: str) -> str:
    """The venue's name for a pair: BTCUSDT, BTC-USDT, BTC-USDT-SWAP."""
    if venue.startswith("okx"):
        return f"{base}-{quote}-SWAP" if venue == "okx_perp" else f"{base}-{quote}"
    return base + quote


def recorded_listing(venue: str, symbol: str, scales: Scales, listed_ms: int) -> Listing:
    """A listing for a recorded series: our own grid for a pair we know, else one unit of what was recorded."""
    base, quote = _split(symbol)
    known = _GRIDS[venue].get(f"{base}/{quote}")
    price_decimals, tick, volume_decimals, lot = known[:4] if known else (scales.price, 1, scales.volume, 1)
    listing = _listing(venue, f"{base}/{quote}", price_decimals, tick, volume_decimals, lot, listed_ms)
    return Listing(**{**listing.__dict__, "symbol": symbol})


def _listing(venue: str, pair: str, price_decimals: int, tick: int, volume_decimals: int, lot: int, ms: int) -> Listing:
    base, quote = pair.split("/")
    contract = {"binance_perp": "PERPETUAL", "bybit_perp": "LinearPerpetual", "okx_perp": "linear"}.get(venue, "")
    value = Decimal(_CONTRACT_VALUE.get(base, "1")) if venue == "okx_perp" else Decimal(1)
    status = _STATUS[venue.split("_")[0]]
    symbol = venue_symbol(venue, base, quote)
    return Listing(
        venue, symbol, base, quote, price_decimals, tick, volume_decimals, lot, status, ms, None, contract, value
    )


def _other_states() -> tuple[Listing, ...]:
    """Delisted, suspended and not yet trading: what a client must tell apart by status."""
    xmr, omg = _ms("2024-02-20"), _ms("2025-01-31")
    soon = _ms("2030-01-01")
    return (
        Listing("binance_spot", "XMRUSDT", "XMR", "USDT", 1, 1, 3, 1, "BREAK", _ms("2019-03-15"), xmr),
        Listing("binance_perp", "OMGUSDT", "OMG", "USDT", 4, 1, 1, 1, "SETTLING", _ms("2020-07-02"), omg, "PERPETUAL"),
        Listing("binance_perp", "BTCSTUSDT", "BTCST", "USDT", 3, 1, 1, 1, "PENDING_TRADING", soon, soon, "PERPETUAL"),
        Listing("okx_spot", "XMR-USDT", "XMR", "USDT", 2, 1, 6, 1, "suspend", _ms("2018-06-01"), _ms("2024-01-05")),
        Listing("okx_spot", "MON-USDT", "MON", "USDT", 5, 1, 1, 1, "preopen", soon, soon),
        Listing("okx_perp", "ETH-USD_UM-SWAP", "", "", 2, 1, 2, 1, "preopen", soon, soon),
        Listing("bybit_spot", "BIOUSDT", "BIO", "USDT", 4, 1, 1, 1, "PreLaunch", soon, soon),
        Listing("bybit_perp", "BIOUSDT", "BIO", "USDT", 4, 1, 0, 1, "PreLaunch", soon, soon, "LinearPerpetual"),
    )


def _split(symbol: str) -> tuple[str, str]:
    """('BTC', 'USDT') of BTCUSDT, BTC-USDT or BTC-USDT-SWAP; the longest known quote wins."""
    if "-" in symbol:
        base, quote = symbol.split("-")[:2]
        return base, quote
    for quote in sorted(QUOTES, key=len, reverse=True):
        if symbol.endswith(quote) and len(symbol) > len(quote):
            return symbol[: -len(quote)], quote
    return symbol, "USDT"


def _ms(day: str) -> int:
    return (dt.date.fromisoformat(day) - dt.date(1970, 1, 1)).days * DAY_MS
