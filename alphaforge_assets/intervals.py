"""The bar lengths we know, how long each is, and what bars may be of beside trades: the prices of a perpetual.

A series of bars goes by its length, one of another price by that too: `1m`, `mark_1m`. Windows, the ledger, coverage
and gaps know a series by this name, in their column `interval`.
"""

from typing import Literal

Interval = Literal["1m", "5m", "15m", "1h", "4h", "1d"]
# mark: what positions are valued at; index: the mean of spot markets; premium: of the perpetual over it, a share.
PriceType = Literal["mark", "index", "premium"]

PRICE_TYPES: tuple[PriceType, ...] = ("mark", "index", "premium")
INTERVAL_MS: dict[str, int] = {
    "1m": 60_000,
    "5m": 300_000,
    "15m": 900_000,
    "1h": 3_600_000,
    "4h": 14_400_000,
    "1d": 86_400_000,
}
# Bars of our own, and what they are made of. A venue may serve the same lengths; these are in another table.
MINUTE, MINUTE_MS = "1m", 60_000
DERIVED_MS: dict[str, int] = {
    "5m": 300_000,
    "15m": 900_000,
    "30m": 1_800_000,
    "1h": 3_600_000,
    "4h": 14_400_000,
    "1d": 86_400_000,
}
SERIES_MS: dict[str, int] = INTERVAL_MS | {f"{p}_{i}": ms for p in PRICE_TYPES for i, ms in INTERVAL_MS.items()}
STEP_MS: dict[str, int] = SERIES_MS | DERIVED_MS  # of whatever bars a frame may have


def price_of(series: str) -> str:
    """What the bars of a series are of: mark, index or premium; trades are what a bar is of without a word."""
    return series.partition("_")[0] if "_" in series else "trade"


def length_of(series: str) -> str:
    """The bar length of a series."""
    return series.rpartition("_")[2]
