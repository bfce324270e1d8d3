"""Trades of the sandbox, generated so that those of a minute make its bar.

A generated minute of `count` trades has so many single ones, in fewer aggregates; their ids count on from minute to
minute, from what ANCHOR_MS has. All of it is a pure function of (seed, venue, symbol, minute). A bar with fewer trades
than different prices (open, high, low, close) cannot be made of them; such are the quietest minutes of small pairs.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Protocol

import numpy as np
import numpy.typing as npt

from alphaforge_assets.sandbox.bars import DAY_MS, MINUTE_MS, Bars, Interval, Ints
from alphaforge_assets.sandbox.listings import Listing
from alphaforge_assets.sandbox.prices import Generated, Market, hashed_words

ANCHOR_MS = 1_735_689_600_000  # 2025-01-01
ANCHOR_ID = 3_000_000_000
HOUR_MS = 60 * MINUTE_MS
HOURS_KEPT = 48
DAYS_AT_ONCE = 20

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Trades:
    """n trades in order of ids: int64 columns of shape (n,), price and amount in units of 10^-decimals.

    `first` and `last` are the single trades in each. Times are ms, and `us` the microseconds beyond them.
    """

    price_decimals: int
    quantity_decimals: int
    id: Ints
    first: Ints
    last: Ints
    time: Ints
    us: Ints
    price: Ints
    quantity: Ints
    buyer_is_maker: Bools

    def __len__(self) -> int:
        return len(self.id)

    def slice(self, start: int, stop: int) -> "Trades":
        return self._with({name: getattr(self, name)[start:stop] for name in COLUMNS})

    def priced(self, price: Ints) -> "Trades":
        """The same at other prices."""
        return self._with({name: getattr(self, name) for name in COLUMNS} | {"price": price})

    def _with(self, columns: dict[str, Ints | Bools]) -> "Trades":
        return Trades(self.price_decimals, self.quantity_decimals, **columns)  # type: ignore[arg-type]


COLUMNS = tuple(f.name for f in fields(Trades) if not f.name.endswith("_decimals"))


class Tape(Protocol):
    """The trades of one listing, aggregated or single."""

    def from_id(self, first: int, rows: int, now_ms: int) -> Trades:
        """At most `rows` trades of an id of `first` or higher that have happened."""
        ...

    def from_time(self, start_ms: int, end_ms: int, rows: int) -> Trades:
        """At most `rows` trades of [start_ms, end_ms), the oldest."""
        ...

    def newest(self, rows: int, now_ms: int) -> Trades:
        """The last trades before `now_ms`."""
        ...


def joined(parts: list[Trades], empty: Trades) -> Trades:
    """Trades one after another."""
    if len(parts) < 2:
        return parts[0] if parts else empty
    whole = {name: np.concatenate([getattr(part, name) for part in parts]) for name in COLUMNS}
    return Trades(empty.price_decimals, empty.quantity_decimals, **whole)


@dataclass
class Made:
    """Generated trades of one listing, made by the hour and kept while they are hot."""

    market: Market
    listing: Listing
    revised: dict[tuple[int, int], dict[str, int]]
    is_single: bool = False
    _hours: "OrderedDict[int, Trades]" = field(default_factory=OrderedDict)
    _before: dict[int, tuple[int, int]] = field(default_factory=dict)  # day -> aggregates and singles before it

    def from_id(self, first: int, rows: int, now_ms: int) -> Trades:
        hour = self._hour_of(first, now_ms)
        parts: list[Trades] = []
        left, last_hour = rows, now_ms // HOUR_MS
        while left > 0 and hour <= last_hour:
            trades = self.hour(hour)
            start = int(np.searchsorted(trades.id, first))
            stop = int(np.searchsorted(trades.time, now_ms, side="right"))
            part = trades.slice(start, max(start, min(stop, start + left)))
            parts.append(part)
            left, hour = left - len(part), hour + 1
        return joined(parts, self.hour(last_hour).slice(0, 0))

    def from_time(self, start_ms: int, end_ms: int, rows: int) -> Trades:
        parts: list[Trades] = []
        left = rows
        for hour in range(start_ms // HOUR_MS, -(-end_ms // HOUR_MS)):
            trades = self.hour(hour)
            start, stop = (int(n) for n in np.searchsorted(trades.time, [start_ms, end_ms]))
            part = trades.slice(start, min(stop, start + left))
            parts.append(part)
            left -= len(part)
            if left <= 0:
                break
        return joined(parts, self.hour(start_ms // HOUR_MS).slice(0, 0))

    def newest(self, rows: int, now_ms: int) -> Trades:
        parts: list[Trades] = []
        left, hour = rows, now_ms // HOUR_MS
        while left > 0 and hour >= max(self.listing.listed_ms // HOUR_MS, now_ms // HOUR_MS - 24):
            trades = self.hour(hour)
            stop = int(np.searchsorted(trades.time, now_ms, side="right"))
            part = trades.slice(max(0, stop - left), stop)
            parts.insert(0, part)
            left, hour = left - len(part), hour - 1
        return joined(parts, self.hour(now_ms // HOUR_MS).slice(0, 0))

    def hour(self, hour: int) -> Trades:
        """All trades of an hour since 1970."""
        if hour not in self._hours:
            bars = self._bars(hour * 60, hour * 60 + 60)
            aggregates, singles = self._ids_before(hour)
            self._hours[hour] = made(bars, self.listing, self._key, aggregates, singles, is_single=self.is_single)
            while len(self._hours) > HOURS_KEPT:
                self._hours.popitem(last=False)
        self._hours.move_to_end(hour)
        return self._hours[hour]

    def count_up_to(self, now_ms: int) -> Iterator[None]:
        """Count the ids up to a moment, days at a time: all at once would stop an event loop for a second."""
        day, anchor = now_ms // DAY_MS, ANCHOR_MS // DAY_MS
        self._ids_before(anchor * 24)
        known = min(self._before, key=lambda its: abs(its - day))
        while known != day:
            known += max(-DAYS_AT_ONCE, min(DAYS_AT_ONCE, day - known))
            self._ids_before(known * 24)
            yield

    @property
    def _key(self) -> tuple[int, str]:
        return self.market.seed, f"trades/{self.listing.venue}/{self.listing.symbol}"

    def _bars(self, start: int, stop: int) -> Bars:
        """The minutes of a range in which the listing traded."""
        series = Generated(self.market, self.listing, Interval(MINUTE_MS), self.revised)
        first, last = series.limits
        low, high = min(max(start, first), last), min(max(stop, first), last)
        return series.bars(low, max(low, high))

    def _counted(self, start: int, stop: int) -> tuple[int, int]:
        """Aggregates and singles of a range of minutes."""
        bars = self._bars(start, stop)
        return int(aggregates_of(bars, self.listing, self._key).sum()), int(bars.count.sum())

    def _ids_before(self, hour: int) -> tuple[int, int]:
        """The next ids at the start of an hour: days are counted from the anchor, and remembered."""
        day, anchor = hour // 24, ANCHOR_MS // DAY_MS
        if not self._before:
            self._before[anchor] = ANCHOR_ID, ANCHOR_ID
        known = min(self._before, key=lambda its: abs(its - day))
        aggregates, singles = self._before[known]
        step = 1 if day >= known else -1
        while known != day:
            counted = known if step > 0 else known - 1
            some = self._counted(counted * 1440, (counted + 1) * 1440)
            aggregates, singles, known = aggregates + step * some[0], singles + step * some[1], known + step
            self._before[known] = aggregates, singles
        some = self._counted(day * 1440, hour * 60)
        return aggregates + some[0], singles + some[1]

    def _hour_of(self, first: int, now_ms: int) -> int:
        """The hour in which lies the first trade of an id of `first` or higher."""
        which = 1 if self.is_single else 0
        low, high = self.listing.listed_ms // HOUR_MS, now_ms // HOUR_MS
        self._ids_before(ANCHOR_MS // HOUR_MS)
        low = max([low, *(day * 24 for day, ids in self._before.items() if ids[which] <= first)])
        high = max(low, min([high, *(day * 24 for day, ids in self._before.items() if ids[which] > first)]))
        step = 24  # days next to one that is known are counted first: all of them would take seconds
        while low + step < high and self._ids_before(low + step)[which] <= first:
            low, step = low + step, 2 * step
        high = min(high, low + step)
        while low < high:
            middle = (low + high + 1) // 2
            if self._ids_before(middle)[which] <= first:
                low = middle
            else:
                high = middle - 1
        return low


def aggregates_of(bars: Bars, listing: Listing, key: tuple[int, str]) -> Ints:
    """How many aggregates each minute has: at least four tenths of its trades, as many as it has if they are few."""
    share = 0.4 + 0.5 * _uniform(key, "share", bars.open_time)
    return np.asarray(np.minimum(bars.count, np.maximum(4, (bars.count * share).astype(np.int64))), np.int64)


def made(
    bars: Bars, listing: Listing, key: tuple[int, str], next_id: int, next_single: int, *, is_single: bool = False
) -> Trades:
    """The trades of minutes: their first, highest, lowest and last price, amounts and sides are those of the bars."""
    size = bars.count if is_single else aggregates_of(bars, listing, key)
    begins = np.cumsum(size) - size
    minute = np.repeat(np.arange(len(bars)), size)
    place, its = np.arange(int(size.sum())) - begins[minute], size[minute]
    counter = bars.open_time[minute] * 4096 + place
    u = [_uniform(key, name, counter) for name in ("time", "price", "weight", "side")]
    us = np.minimum((place + u[0]) / its * MINUTE_MS * 1000, MINUTE_MS * 1000 - 1).astype(np.int64)
    time = bars.open_time[minute] + us // 1000
    price = _prices(bars, listing, minute, place, its, u[1])
    lots, taker = bars.volume // listing.lot, bars.taker_volume // listing.lot
    buys = _buys(minute, size, lots, taker, u[3])
    total = np.where(buys, taker[minute], (lots - taker)[minute])
    quantity = _shares(minute * 2 + buys, total, 0.05 - np.log(1 - u[2]))
    singles = np.ones(len(its), np.int64) if is_single else _singles(minute, quantity, bars.count, lots, size)
    last = next_single + np.cumsum(singles) - 1
    number = last if is_single else next_id + np.arange(len(its))
    return Trades(
        bars.scales.price, bars.scales.volume, number, last - singles + 1, last, time, us % 1000, price,
        quantity * listing.lot, ~buys,
    )  # fmt: skip


def _uniform(key: tuple[int, str], name: str, counter: Ints) -> npt.NDArray[np.float64]:
    words = hashed_words(key[0], f"{key[1]}/{name}", counter)
    return np.asarray((words >> np.uint64(11)).astype(np.float64) / 2.0**53)


def _prices(bars: Bars, listing: Listing, minute: Ints, place: Ints, size: Ints, u: npt.NDArray[np.float64]) -> Ints:
    """Open first, close last, high and low at places in between, and anything between high and low elsewhere."""
    high, low = bars.high[minute], bars.low[minute]
    price = low + (u * ((high - low) // listing.tick + 1)).astype(np.int64) * listing.tick
    top, bottom = _places(bars, size, minute)
    price = np.where(place == bottom, low, np.where(place == top, high, np.minimum(price, high)))
    price = np.where(place == size - 1, bars.close[minute], price)
    return np.asarray(np.where(place == 0, bars.open[minute], price), np.int64)


def _places(bars: Bars, size: Ints, minute: Ints) -> tuple[Ints, Ints]:
    """Where the high and the low are: at open or close where those are it, else inside."""
    inside = np.maximum(size - 2, 1)
    mixed = bars.open_time // MINUTE_MS
    at_top, at_bottom = 1 + mixed[minute] % inside, 1 + (mixed[minute] + 1) % inside
    high, low, opens, closes = (getattr(bars, n)[minute] for n in ("high", "low", "open", "close"))
    top = np.where(opens == high, 0, np.where(closes == high, size - 1, at_top))
    bottom = np.where(opens == low, 0, np.where(closes == low, size - 1, at_bottom))
    return top, bottom


def _buys(minute: Ints, size: Ints, lots: Ints, taker: Ints, u: npt.NDArray[np.float64]) -> Bools:
    """On which trades the taker bought: about the share of the volume, at least one of each side that has volume."""
    # A side has no more trades than lots.
    few = np.maximum(np.minimum(taker, 1), size - (lots - taker))
    many = np.minimum(size - np.minimum(lots - taker, 1), taker)
    wanted = np.rint(size * taker / np.maximum(lots, 1)).astype(np.int64)
    wanted = np.clip(wanted, np.minimum(few, many), np.maximum(few, many))
    order = np.lexsort((u, minute))
    rank = np.empty(len(minute), np.int64)
    rank[order] = np.arange(len(minute)) - (np.cumsum(size) - size)[minute[order]]
    return np.asarray(rank < wanted[minute])


def _shares(group: Ints, total: Ints, weight: npt.NDArray[np.float64]) -> Ints:
    """`total` of each group in whole numbers of at least 1, by weight. `total` is repeated for each member."""
    _, place, count = np.unique(group, return_inverse=True, return_counts=True)
    sums = np.bincount(place, weight)
    spare = np.maximum(total - count[place], 0)
    share = np.floor(spare * (weight / sums[place])).astype(np.int64)
    given = np.bincount(place, share).astype(np.int64)
    first = np.zeros(len(group), bool)
    first[np.unique(place, return_index=True)[1]] = True
    return np.asarray(1 + share + np.where(first, spare - given[place], 0), np.int64)


def _singles(minute: Ints, quantity: Ints, count: Ints, lots: Ints, size: Ints) -> Ints:
    """Single trades in each aggregate: at most its lots, together the bar's."""
    room = quantity - 1
    extra = (count - size)[minute]
    spare = np.maximum((lots - size)[minute], 1)
    more = room * extra // spare
    left = (count - size) - np.bincount(minute, more, len(count)).astype(np.int64)
    is_cut = room * extra % spare > 0
    before = np.cumsum(is_cut) - is_cut
    starts = np.searchsorted(minute, np.arange(len(count)))
    rank = before - np.append(before, is_cut.sum())[starts][minute]
    return np.asarray(1 + more + (is_cut & (rank < left[minute])), np.int64)
