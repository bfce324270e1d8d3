"""Generated bars: a pure function of (seed, venue, symbol, minute), for any minute, at a cost of the page asked for.

The logarithm of each asset's price in USD is a Brownian path built as Lévy did it: from the top down, each midpoint is
the mean of its neighbours plus a normal number hashed from its position, so any stretch can be computed without the
stretch before it. Between the nodes (45 days apart) the path follows `ANCHORS`, rough real levels, so that a chart
looks like the market it is named after. Volatility is itself such a path (clusters) times a daily pattern. A pair is
the difference of two paths, hence SOL/BTC is SOL/USDT over BTC/USDT; a venue adds a few basis points of its own.

P. Lévy's construction: https://en.wikipedia.org/wiki/Wiener_process#Lévy's_construction
"""

import datetime as dt
import zlib
from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from alphaforge_assets.sandbox.bars import (
    COLUMNS,
    MINUTE_MS,
    Bars,
    Interval,
    Ints,
    Scales,
    aggregate,
    partial,
    running,
)
from alphaforge_assets.sandbox.listings import Listing

Floats = npt.NDArray[np.float64]

BLOCK_LEVELS = 12
BLOCK = 1 << BLOCK_LEVELS  # minutes computed at once: 2.8 days
TOP_LEVELS = 16  # the path returns to its anchors every 2^16 minutes
QUIET_MINUTES = 32  # how far back the last trade of a quiet minute is looked for
BLOCKS_KEPT = 1024  # 32 kB each

_YEARS = (2017.0, 2017.5, 2018.0, 2018.5, 2019.0, 2019.5, 2020.0, 2020.5, 2021.0, 2021.35, 2021.55, 2021.85, 2022.45,
          2023.0, 2023.5, 2024.0, 2024.2, 2024.7, 2025.0, 2025.3, 2025.6, 2025.8, 2026.0, 2026.5, 2027.0,
          2031.0)  # fmt: skip
# asset: USD at each of _YEARS; yearly volatility; USD traded a minute on Binance spot
ANCHORS: dict[str, tuple[tuple[float, ...], float, float]] = {
    "BTC": ((1000, 2500, 14000, 6500, 3700, 11000, 7200, 9100, 29000, 56000, 34000, 62000, 20000, 16600, 30500, 42500,
             66000, 60000, 94000, 84000, 110000, 114000, 90000, 65000, 75000, 110000), 0.4, 1.1e6),
    "ETH": ((8, 280, 750, 450, 135, 300, 130, 230, 740, 2600, 2100, 4500, 1100, 1200, 1900, 2300, 3500, 2500, 3350,
             1650, 3600, 4200, 3000, 1800, 2400, 4000), 0.65, 7e5),
    "SOL": ((0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.8, 1.6, 40, 30, 210, 35, 10, 20, 100, 150, 140, 190, 125, 180, 215,
             125, 80, 120, 200), 0.9, 3e5),
    "XRP": ((0.006, 0.25, 2, 0.47, 0.36, 0.42, 0.19, 0.18, 0.24, 1.4, 0.65, 1.1, 0.33, 0.34, 0.48, 0.62, 0.6, 0.57,
             2.1, 2.1, 3, 2.8, 1.9, 1.2, 1.5, 2.5), 0.8, 2.5e5),
    "BNB": ((0.5, 1.5, 9, 15, 6, 33, 14, 15.5, 38, 600, 300, 560, 225, 245, 240, 315, 420, 560, 700, 590, 780, 1100,
             860, 590, 700, 1000), 0.6, 1.2e5),
    "DOGE": ((0.0002, 0.003, 0.009, 0.003, 0.0023, 0.003, 0.002, 0.0024, 0.0047, 0.5, 0.2, 0.25, 0.065, 0.07, 0.065,
              0.09, 0.15, 0.1, 0.32, 0.16, 0.21, 0.24, 0.13, 0.09, 0.12, 0.2), 1.0, 2e5),
    "ADA": ((0.02, 0.04, 0.7, 0.15, 0.042, 0.08, 0.033, 0.1, 0.18, 1.6, 1.3, 2, 0.5, 0.25, 0.29, 0.6, 0.6, 0.35, 0.85,
             0.65, 0.8, 0.82, 0.4, 0.25, 0.35, 0.6), 0.9, 8e4),
    "LTC": ((4.4, 40, 230, 80, 31, 120, 42, 42, 125, 300, 140, 210, 55, 70, 105, 73, 85, 65, 103, 85, 110, 105, 80, 60,
             75, 110), 0.7, 6e4),
    "XMR": ((14, 45, 330, 130, 46, 85, 45, 65, 155, 350, 220, 260, 120, 150, 160, 165, 130, 160, 195, 215, 300, 310,
             430, 320, 330, 400), 0.65, 2e4),
    "OMG": ((0.3, 3, 16, 7, 1.3, 1.9, 0.6, 1.6, 2.5, 8, 4.5, 12, 2, 1, 0.65, 0.7, 0.75, 0.3, 0.28, 0.2, 0.2, 0.2, 0.2,
             0.2, 0.2, 0.2), 0.9, 1.5e4),
}  # fmt: skip
_DOLLARS = {"USDT", "USDC", "FDUSD", "BUSD", "TUSD", "USD"}
_PAIR_SHARE = 0.06  # of a pair against another coin, in what its base trades against dollars
_CORRELATION = 0.75  # of every asset with the market
_ODD = np.uint64(0x9E3779B97F4A7C15)


def _mix(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """splitmix64's finalizer: neighbouring counters give unrelated words (https://prng.di.unimi.it/splitmix64.c)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _words(key: int, counter: Ints) -> npt.NDArray[np.uint64]:
    return _mix(counter.astype(np.uint64) * _ODD + np.uint64(key))


def _normal(key: int, counter: Ints) -> Floats:
    """Standard normal to about ±3.5: the sum of the four 16-bit lanes of a hashed word."""
    lanes = _words(key, counter)[..., None].view(np.uint16).sum(axis=-1, dtype=np.int64)
    return np.asarray((lanes - 131_070.0) / 37_837.2)


def _key(*parts: object) -> int:
    """A 64-bit key from words."""
    text = "/".join(map(str, parts)).encode()
    return zlib.crc32(text) << 32 | zlib.crc32(text[::-1], 0x5EED)


def hashed_normal(seed: int, name: str, counter: Ints) -> Floats:
    """Independent standard normals, one for each counter of a named stream."""
    return _normal(_key(seed, name), counter)


def hashed_words(seed: int, name: str, counter: Ints) -> npt.NDArray[np.uint64]:
    """Independent 64-bit words, one for each counter of a named stream."""
    return _words(_key(seed, name), counter)


def _nodes(key: int, block: Ints, top: int) -> Floats:
    """The path at the first minute of each block: the coarse levels, each a tent over its segment."""
    minute = block << BLOCK_LEVELS
    value = np.zeros(block.shape)
    for level in range(top - 1, BLOCK_LEVELS - 1, -1):
        segment = minute >> (level + 1)
        middle = (segment << (level + 1)) + (1 << level)
        tent = 1.0 - np.abs(minute - middle) / (1 << level)
        value += tent * _normal(key, segment * 64 + level) * (2.0 ** ((level + 1) / 2) / 2)
    return value


def _paths(key: int, block: Ints, top: int, scale: Floats | None = None, finest: int = 0) -> Floats:
    """Paths over whole blocks, shape (blocks, BLOCK + 1), with unit variance a minute.

    `scale`, of that shape, stretches each step by the volatility at its place; below level `finest` it is straight.
    """
    path = np.stack([_nodes(key, block, top), _nodes(key, block + 1, top)], axis=1)
    for level in range(BLOCK_LEVELS - 1, -1, -1):
        middle = (path[:, :-1] + path[:, 1:]) / 2
        if finest <= level < top:
            per_block = BLOCK >> (level + 1)
            segment = block[:, None] * per_block + np.arange(per_block)
            step = _normal(key, segment * 64 + level) * (2.0 ** ((level + 1) / 2) / 2)
            middle += step if scale is None else step * scale[:, 1 << level :: 1 << (level + 1)]
        finer = np.empty((len(block), 2 * path.shape[1] - 1))
        finer[:, ::2] = path
        finer[:, 1::2] = middle
        path = finer
    return path


def _season(minute: Ints) -> Floats:
    """Volatility by time of day and week, mean about 1: busy from 13 to 17 UTC, a bump at midnight, quiet weekends."""
    hour = (minute % 1440) / 60.0
    us = np.exp(-(((hour - 15.0) / 2.6) ** 2))
    asia = np.exp(-(((np.minimum(hour, 24 - hour)) / 1.3) ** 2))
    weekend = np.where(((minute // 1440) + 3) % 7 >= 5, 0.72, 1.07)
    return np.asarray((0.82 + 0.62 * us + 0.25 * asia) * weekend)


def _anchor_minutes() -> Floats:
    starts = [(dt.date(int(y), 1, 1) - dt.date(1970, 1, 1)).days for y in _YEARS]
    return np.array([(s + (y % 1) * 365.25) * 1440 for s, y in zip(starts, _YEARS, strict=True)])


@dataclass
class Market:
    """The paths behind all prices of one seed, cached by block. Not thread-safe: the sandbox serves from one thread."""

    seed: int
    _cache: "OrderedDict[tuple[str, int], Floats]" = field(default_factory=OrderedDict)

    def volatility(self, start: int, stop: int) -> Floats:
        """Volatility of every minute of [start, stop), relative to its mean; the same for all assets."""
        return self._stretch("volatility", start, stop)

    def log_usd(self, asset: str, start: int, stop: int) -> Floats:
        """Natural logarithm of the asset's price in USD at every minute of [start, stop)."""
        if asset in _DOLLARS:
            return np.zeros(stop - start)
        return self._stretch(asset, start, stop)

    def basis(self, venue: str, symbol: str, start: int, stop: int) -> Floats:
        """What the venue adds to the log price: a constant and a wobble of an hour or two, a few basis points."""
        constant = (_key(self.seed, "premium", venue, symbol) % 1000 / 500 - 1) * 1.5e-4
        return constant + self._stretch(f"basis/{venue}/{symbol}", start, stop)

    def _stretch(self, name: str, start: int, stop: int) -> Floats:
        first, last = start >> BLOCK_LEVELS, (stop - 1) >> BLOCK_LEVELS
        missing = [b for b in range(first, last + 1) if (name, b) not in self._cache]
        rows: dict[int, Floats] = {}
        if missing:
            rows = dict(zip(missing, self._compute(name, np.array(missing, np.int64)), strict=True))
        parts = [rows[b] if b in rows else self._cache[name, b] for b in range(first, last + 1)]
        for b, part in zip(range(first, last + 1), parts, strict=True):
            self._cache[name, b] = part
            self._cache.move_to_end((name, b))
        while len(self._cache) > BLOCKS_KEPT:
            self._cache.popitem(last=False)
        whole = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return whole[start - (first << BLOCK_LEVELS) : stop - (first << BLOCK_LEVELS)]

    def _compute(self, name: str, block: Ints) -> Floats:
        minute = block[:, None] * BLOCK + np.arange(BLOCK + 1)
        if name == "volatility":
            clusters = _paths(_key(self.seed, name), block, 16, finest=3) * (0.6 / 128)
            return np.asarray(np.exp(clusters - 0.08)[:, :-1] * _season(minute)[:, :-1])
        if name.startswith("basis/"):
            return _paths(_key(self.seed, name), block, 7)[:, :-1] * 3e-5
        edges = self.volatility(int(block[0]) * BLOCK, (int(block[-1]) + 1) * BLOCK + 1)
        at = (block - block[0])[:, None] * BLOCK + np.arange(BLOCK + 1)
        scale = edges[at]
        usd, yearly, _ = ANCHORS.get(name) or (_stranger(name), 0.9, 2e4)
        market = _paths(_key(self.seed, "market"), block, TOP_LEVELS, scale)
        own = _paths(_key(self.seed, name), block, TOP_LEVELS, scale)
        path = _CORRELATION * market + (1 - _CORRELATION**2) ** 0.5 * own
        anchor = np.interp(minute, _anchor_minutes(), np.log(usd))
        return np.asarray((anchor + path * (yearly / 525_960**0.5))[:, :-1])


def _stranger(asset: str) -> tuple[float, ...]:
    """A flat anchor for an asset without one: 0.1 to 10 USD, by its name."""
    return (10 ** (zlib.crc32(asset.encode()) % 200 / 100 - 1),) * len(_YEARS)


@dataclass(frozen=True)
class Generated:
    """One listing's generated bars at one interval. `revised` maps (interval ms, open time) to column values."""

    market: Market
    listing: Listing
    interval: Interval
    revised: dict[tuple[int, int], dict[str, int]] = field(default_factory=dict)

    @property
    def scales(self) -> Scales:
        return self.listing.scales

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
        per_bar = self.interval.ms // MINUTE_MS
        opens = np.arange(start, stop, dtype=np.int64) * self.interval.ms + self.interval.offset_ms
        rows = self._minutes(self.interval.opens(start) // MINUTE_MS, self.interval.opens(stop) // MINUTE_MS)
        if per_bar > 1:
            rows = aggregate(rows, np.arange(0, len(rows), per_bar), opens, self.interval.ms)
            self._revise(rows, self.interval.ms)
        return rows

    def open_index(self, now_ms: int) -> int | None:
        index = self.interval.index(now_ms)
        first, last = self.limits
        return index if first <= index < last else None

    def open_bar(self, now_ms: int) -> Bars:
        now = now_ms // MINUTE_MS
        elapsed = now_ms % MINUTE_MS / MINUTE_MS
        minute = partial(self._minutes(now, now + 1), elapsed, self.listing.tick, self.listing.lot)
        if self.interval.ms == MINUTE_MS:
            return minute
        opens = self.interval.opens(self.interval.index(now_ms))
        return running(self._minutes(opens // MINUTE_MS, now), minute, opens, self.interval.ms)

    def _revise(self, bars: Bars, interval_ms: int) -> None:
        for (ms, open_time), columns in self.revised.items():
            if ms == interval_ms and len(bars) and bars.open_time[0] <= open_time <= bars.open_time[-1]:
                row = int(np.searchsorted(bars.open_time, open_time))
                for name, value in columns.items():
                    getattr(bars, name)[row] = value

    def _minutes(self, start: int, stop: int) -> Bars:
        """One-minute bars of [start, stop), minutes since the epoch."""
        bars = self._traded(start - QUIET_MINUTES, stop)
        bars = _flat_where_quiet(bars).slice(QUIET_MINUTES, len(bars))
        self._revise(bars, MINUTE_MS)
        return bars

    def _traded(self, start: int, stop: int) -> Bars:
        """Minutes as if each stood alone: one without a trade is flat at its own opening price."""
        listing, market = self.listing, self.market
        minute = np.arange(start, stop, dtype=np.int64)
        log = market.log_usd(listing.base, start, stop + 1) - market.log_usd(listing.quote, start, stop + 1)
        price = np.exp(log + market.basis(listing.venue, listing.symbol, start, stop + 1))
        _, yearly, turnover = ANCHORS.get(listing.base, ((), 0.9, 2e4))
        volatility = market.volatility(start, stop)
        sigma = volatility * (yearly / 525_960**0.5)
        u = _words(_key(market.seed, listing.venue, listing.symbol), minute)[:, None].view(np.uint16).T / 65_536.0
        usd = turnover * listing.turnover * (1.0 if listing.quote in _DOLLARS else _PAIR_SHARE)
        mean_trades = 1 + usd / 1500
        quiet = u[3] < np.exp(-mean_trades / 2)

        unit = 10.0**listing.price_decimals / listing.tick
        opens, closes = np.rint(price[:-1] * unit), np.rint(price[1:] * unit)
        opens += (u[0] > 0.85) * 1.0 - (u[0] < 0.15) * 1.0  # the first trade of a minute, a tick off the last
        reach = price[:-1] * sigma * unit * 0.9
        highs = np.maximum(opens, closes) + np.floor(reach * u[1] ** 2)
        lows = np.minimum(opens, closes) - np.floor(reach * u[2] ** 2)
        four = (np.maximum(np.where(quiet, opens, x), 1).astype(np.int64) for x in (opens, highs, lows, closes))
        prices = [x * listing.tick for x in four]

        move = np.log(price[1:] / price[:-1]) / sigma
        busy = volatility * (0.45 + 0.5 * np.abs(move)) * np.exp(1.6 * (u[2] + u[3] - 1))
        value, decimals = listing.base_per_volume
        usd_per_lot = (
            price[:-1] * np.exp(market.log_usd(listing.quote, start, stop)) * listing.lot * value / 10.0**decimals
        )
        lots = np.where(quiet, 0, np.maximum(1, np.rint(usd * busy / usd_per_lot))).astype(np.int64)
        count = np.where(quiet, 0, np.minimum(lots, 1 + mean_trades * busy * (0.7 + 0.6 * u[1]))).astype(np.int64)
        buys = np.clip(0.5 + 0.2 * np.tanh(move / 2) + 0.24 * (u[0] - 0.5), 0.02, 0.98)
        taker = np.floor(lots * buys).astype(np.int64) * listing.lot
        volume = lots * listing.lot
        per_volume = np.sum(prices, axis=0) // 4 * value
        cut = 10 ** (listing.price_decimals + decimals - listing.scales.quote)
        times = minute * MINUTE_MS, minute * MINUTE_MS + MINUTE_MS - 1
        sums = volume, _cut_product(volume, per_volume, cut), count, taker, _cut_product(taker, per_volume, cut)
        return Bars(listing.scales, **dict(zip(COLUMNS, (*times, *prices, *sums), strict=True)))


def _cut_product(volume: Ints, price: Ints, cut: int) -> Ints:
    """volume × price // cut, exactly, where the product itself may be past 63 bits but the result is not."""
    return volume // cut * price + volume % cut * price // cut


def _flat_where_quiet(bars: Bars) -> Bars:
    """Minutes without a trade repeat the last close, as the venues send them, if it is at most QUIET_MINUTES old."""
    quiet = bars.count == 0
    if not quiet.any():
        return bars
    row = np.arange(len(bars))
    last = np.maximum.accumulate(np.where(quiet, -1, row))
    known = quiet & (last >= 0) & (row - last <= QUIET_MINUTES)
    flat = {name: np.where(known, bars.close[last], getattr(bars, name)) for name in ("open", "high", "low", "close")}
    return bars.having(flat)
