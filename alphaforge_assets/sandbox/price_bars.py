"""Bars of the prices that a perpetual is valued by: mark, index and premium, generated beside its bars of trades.

All from the paths that its trades go along: the index is the coin's own, which every venue adds a little to; the mark
is the index and nine tenths of that, so it is near the last trade; the premium is that little. Nothing is traded at
them, so what counts trades counts seconds, one price each.
"""

from dataclasses import dataclass

import numpy as np

from alphaforge_assets.sandbox.bars import MINUTE_MS, Bars, Interval, Scales, aggregate, partial, running
from alphaforge_assets.sandbox.listings import Listing
from alphaforge_assets.sandbox.prices import Floats, Market, hashed_words

PRICES = ("mark", "index", "premium")
DECIMALS = 8
SAMPLES_A_MINUTE = 60
_MARK_SHARE = 0.9


@dataclass(frozen=True)
class Valued:
    """One listing's bars of one price at one interval: a `Series`, of the same indices as its bars of trades."""

    market: Market
    listing: Listing
    interval: Interval
    price: str

    @property
    def scales(self) -> Scales:
        """What Binance writes has eight decimals, prices of others as many as those of trades."""
        is_fine = self.price == "premium" or self.listing.venue.startswith("binance")
        return Scales(DECIMALS if is_fine else self.listing.price_decimals, 0, 0)

    @property
    def limits(self) -> tuple[int, int]:
        """[first, last + 1) of the indices that have bars."""
        until = self.listing.delisted_ms
        first = -(-(self.listing.listed_ms - self.interval.offset_ms) // self.interval.ms)
        return first, 1 << 40 if until is None else max(first, self.interval.index(until - 1) + 1)

    def first_at_or_after(self, time_ms: int) -> int:
        first, last = self.limits
        return min(max(-(-(time_ms - self.interval.offset_ms) // self.interval.ms), first), last)

    def bars(self, start: int, stop: int) -> Bars:
        rows = self._minutes(self.interval.opens(start) // MINUTE_MS, self.interval.opens(stop) // MINUTE_MS)
        per_bar = self.interval.ms // MINUTE_MS
        if per_bar == 1:
            return rows
        opens = np.arange(start, stop, dtype=np.int64) * self.interval.ms + self.interval.offset_ms
        return aggregate(rows, np.arange(0, len(rows), per_bar), opens, self.interval.ms)

    def open_index(self, now_ms: int) -> int | None:
        index = self.interval.index(now_ms)
        first, last = self.limits
        return index if first <= index < last else None

    def open_bar(self, now_ms: int) -> Bars:
        now = now_ms // MINUTE_MS
        minute = partial(self._minutes(now, now + 1), now_ms % MINUTE_MS / MINUTE_MS)
        if self.interval.ms == MINUTE_MS:
            return minute
        opens = self.interval.opens(self.interval.index(now_ms))
        return running(self._minutes(opens // MINUTE_MS, now), minute, opens, self.interval.ms)

    def _minutes(self, start: int, stop: int) -> Bars:
        """One-minute bars of [start, stop), minutes since the epoch; each opens where the one before closed."""
        minute = np.arange(start, stop, dtype=np.int64)
        edges = self._path(start, stop + 1)
        name = f"{self.price}/{self.listing.venue}/{self.listing.symbol}"
        u = hashed_words(self.market.seed, name, minute)[:, None].view(np.uint16).T / 65_536.0
        reach = self._reach(edges[:-1])
        unit = 10.0**self.scales.price
        opens, closes = np.rint(edges[:-1] * unit), np.rint(edges[1:] * unit)
        highs = np.maximum(opens, closes) + np.floor(reach * u[1] ** 2 * unit)
        lows = np.minimum(opens, closes) - np.floor(reach * u[2] ** 2 * unit)
        four = {"open": opens, "high": highs, "low": lows, "close": closes}
        nothing = np.zeros(len(minute), np.int64)
        return Bars(
            self.scales,
            open_time=minute * MINUTE_MS,
            close_time=minute * MINUTE_MS + MINUTE_MS - 1,
            **{column: values.astype(np.int64) for column, values in four.items()},
            count=nothing + SAMPLES_A_MINUTE,
            **dict.fromkeys(("volume", "quote_volume", "taker_volume", "taker_quote_volume"), nothing),
        )

    def _path(self, start: int, stop: int) -> Floats:
        """The price at every minute of [start, stop)."""
        listing, market = self.listing, self.market
        premium = market.basis(listing.venue, listing.symbol, start, stop)
        if self.price == "premium":
            return np.expm1(premium)
        log = market.log_usd(listing.base, start, stop) - market.log_usd(listing.quote, start, stop)
        return np.asarray(np.exp(log + (premium * _MARK_SHARE if self.price == "mark" else 0.0)))

    def _reach(self, opens: Floats) -> Floats:
        """How far beyond its ends a minute goes: a hundredth of a percent of a price, as much of the index."""
        return np.full(len(opens), 1e-4) if self.price == "premium" else opens * 1e-4
