"""What the sandbox's venues list: symbols, their grids of prices and quantities, their states and first days.

The numbers are the venues' own (tick and lot sizes of 2025-2026, from their instrument lists); the choice of symbols is
ours: what the default universe asks for, a few more, and one of each state a venue lists but does not trade. Here are
the venues of the default universe; another one's `Place` is in its own file. How a venue words an instrument is in
`binance.py`, `okx.py`, `bybit.py`, …
"""

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal

from alphaforge_assets.sandbox.bars import DAY_MS, Scales
from alphaforge_assets.sandbox.budgets import Rule

QUOTES = ("USDT", "USDC", "FDUSD", "BUSD", "TUSD", "USD", "EUR", "BTC", "ETH", "BNB")


@dataclass(frozen=True)
class Listing:
    """One symbol on one venue.

    `tick` and `lot` are in units of 10^-`price_decimals` and 10^-`volume_decimals`, the units of its bars; on okx_perp
    the lot counts contracts of `contract_value` base each. `status` is the venue's own word. Bars exist on
    [`listed_ms`, `delisted_ms`), so none at all when the two are equal. `quote_decimals` and `turnover`: see `Place`.
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
    quote_decimals: int = 6
    turnover: float = 1.0
    is_gone: bool = False  # the venue lists it no more; its archive has what there was

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
        return Scales(self.price_decimals, self.volume_decimals, min(full, self.quote_decimals))


def joined(base: str, quote: str) -> str:
    """BTCUSDT"""
    return base + quote


def hyphened(base: str, quote: str) -> str:
    """BTC-USDT"""
    return f"{base}-{quote}"


def split(symbol: str) -> tuple[str, str]:
    """('BTC', 'USDT') of BTCUSDT, BTC-USDT or BTC-USDT-SWAP; the longest known quote wins."""
    if "-" in symbol:
        base, quote = symbol.split("-")[:2]
        return base, quote
    for quote in sorted(QUOTES, key=len, reverse=True):
        if symbol.endswith(quote) and len(symbol) > len(quote):
            return symbol[: -len(quote)], quote
    return symbol, "USDT"


@dataclass(frozen=True)
class Place:
    """One market place: what it lists where prices are generated, and its words.

    `grids` is, by pair, (price decimals, tick, volume decimals, lot, first day), ticks and lots as in Listing; `others`
    is what it lists in another state. `folder` is where its recordings lie below klines/. `turnover` is what is traded
    there where Binance spot trades 1. Quote volumes are cut to `quote_decimals`. `symbol` makes its name of a
    pair, and `pair` a pair of what a recording is called, which is the venue's own name unless it is
    `recorded_by_pair`. `rules` are its rate limits.
    """

    name: str
    folder: str
    grids: Mapping[str, tuple[int, int, int, int, str]]
    open_state: str
    turnover: float
    quote_decimals: int = 6
    symbol: Callable[[str, str], str] = joined
    pair: Callable[[str], tuple[str, str]] = split
    recorded_by_pair: bool = False
    contract: str = ""
    contract_values: Mapping[str, str] = field(default_factory=dict)
    others: tuple[Listing, ...] = ()
    rules: Mapping[str, Rule] = field(default_factory=dict)

    def listings(self) -> list[Listing]:
        """Everything it lists when prices are generated."""
        listed = []
        for pair, grid in self.grids.items():
            base, quote = pair.split("/")
            listed.append(self._listing(base, quote, *grid[:4], ms_of(grid[4])))
        return listed + [self._its(other) for other in self.others]

    def recorded(self, name: str, scales: Scales, listed_ms: int) -> Listing:
        """A listing for a recorded series: our own grid for a pair we know, else one unit of what was recorded."""
        base, quote = self.pair(name)
        known = self.grids.get(f"{base}/{quote}")
        price_decimals, tick, volume_decimals, lot = known[:4] if known else (scales.price, 1, scales.volume, 1)
        listing = self._listing(base, quote, price_decimals, tick, volume_decimals, lot, listed_ms)
        return replace(listing, symbol=self.own_name(name))

    def own_name(self, name: str) -> str:
        """The venue's own name of what a recording is called."""
        return self.symbol(*self.pair(name)) if self.recorded_by_pair else name

    def _listing(
        self, base: str, quote: str, price_decimals: int, tick: int, volume_decimals: int, lot: int, ms: int
    ) -> Listing:
        value = Decimal(self.contract_values.get(base, "1"))
        symbol, state = self.symbol(base, quote), self.open_state
        grid = (price_decimals, tick, volume_decimals, lot)
        return self._its(Listing(self.name, symbol, base, quote, *grid, state, ms, None, self.contract, value))

    def _its(self, listing: Listing) -> Listing:
        return replace(listing, quote_decimals=self.quote_decimals, turnover=self.turnover)


def ms_of(day: str) -> int:
    """Milliseconds of its midnight."""
    return (dt.date.fromisoformat(day) - dt.date(1970, 1, 1)).days * DAY_MS


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


def _other_states() -> tuple[Listing, ...]:
    """Delisted, suspended and not yet trading: what a client must tell apart by status."""
    xmr, omg = ms_of("2024-02-20"), ms_of("2025-01-31")
    soon = ms_of("2030-01-01")
    luna = Listing("binance_spot", "LUNAUSDT", "LUNA", "USDT", 4, 1, 2, 1, "", ms_of("2020-08-21"), ms_of("2022-05-13"))
    return (
        replace(luna, is_gone=True),
        Listing("binance_spot", "XMRUSDT", "XMR", "USDT", 1, 1, 3, 1, "BREAK", ms_of("2019-03-15"), xmr),
        Listing(
            "binance_perp", "OMGUSDT", "OMG", "USDT", 4, 1, 1, 1, "SETTLING", ms_of("2020-07-02"), omg, "PERPETUAL"
        ),
        Listing("binance_perp", "BTCSTUSDT", "BTCST", "USDT", 3, 1, 1, 1, "PENDING_TRADING", soon, soon, "PERPETUAL"),
        Listing("okx_spot", "XMR-USDT", "XMR", "USDT", 2, 1, 6, 1, "suspend", ms_of("2018-06-01"), ms_of("2024-01-05")),
        Listing("okx_spot", "MON-USDT", "MON", "USDT", 5, 1, 1, 1, "preopen", soon, soon),
        Listing("okx_perp", "ETH-USD_UM-SWAP", "", "", 2, 1, 2, 1, "preopen", soon, soon),
        Listing("bybit_spot", "BIOUSDT", "BIO", "USDT", 4, 1, 1, 1, "PreLaunch", soon, soon),
        Listing("bybit_perp", "BIOUSDT", "BIO", "USDT", 4, 1, 0, 1, "PreLaunch", soon, soon, "LinearPerpetual"),
    )


def _of(venue: str) -> tuple[Listing, ...]:
    return tuple(one for one in _other_states() if one.venue == venue)


def _swap(base: str, quote: str) -> str:
    return f"{base}-{quote}-SWAP"


PLACES = (
    Place("binance_spot", "binance_spot", _GRIDS["binance_spot"], "TRADING", 1.0, 8, others=_of("binance_spot")),
    Place("binance_perp", "binance_um", _GRIDS["binance_perp"], "TRADING", 7.0, 8, contract="PERPETUAL",
          others=_of("binance_perp")),
    Place("okx_spot", "okx_spot", _GRIDS["okx_spot"], "live", 0.3, symbol=hyphened, others=_of("okx_spot")),
    Place("okx_perp", "okx_swap", _GRIDS["okx_perp"], "live", 2.5, symbol=_swap, contract="linear",
          contract_values=_CONTRACT_VALUE, others=_of("okx_perp")),
    Place("bybit_spot", "bybit_spot", _GRIDS["bybit_spot"], "Trading", 0.35, others=_of("bybit_spot")),
    Place("bybit_perp", "bybit_linear", _GRIDS["bybit_perp"], "Trading", 4.0, contract="LinearPerpetual",
          others=_of("bybit_perp")),
)  # fmt: skip
