"""What happens at a listing within a minute, for those who push it: its bar as it grows, its trades, its order book.

Nothing here knows a venue's words. All of it is a pure function of the listing and the minute, so a stream tells what
REST tells: the closed bar is REST's, its trades are those of the tapes, and a book is the same whoever asks when.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from alphaforge_assets.sandbox.bars import COLUMNS, MINUTE_MS, Bars, Interval, concatenate, partial
from alphaforge_assets.sandbox.exchange import Exchange
from alphaforge_assets.sandbox.listings import Listing
from alphaforge_assets.sandbox.prices import hashed_words
from alphaforge_assets.sandbox.trades import Trades

BOOK_STEP_MS = 1000
BOOK_LEVELS = 25
IDS_A_STEP = 10  # update ids that a step of the book consumes
_LASTS = 7  # steps that a level keeps its amount, about

Side = dict[int, int]  # price -> amount, in units of the listing's decimals


@dataclass(frozen=True)
class Book:
    """A book as of a step: the best BOOK_LEVELS of each side. `id` is its last update, `before` the one before."""

    time_ms: int
    id: int
    bids: Side
    asks: Side

    @property
    def before(self) -> int:
        return self.id - IDS_A_STEP


def changes(old: Side, new: Side) -> list[tuple[int, int]]:
    """What makes `new` of `old`: (price, amount), amount 0 for a level that is gone."""
    gone = [(price, 0) for price in old if price not in new]
    return gone + [(price, amount) for price, amount in new.items() if old.get(price) != amount]


@dataclass(frozen=True)
class Minute:
    """One minute of one listing; `opens_ms` is when it begins."""

    exchange: Exchange
    listing: Listing
    opens_ms: int
    _kept: dict[int, Book] = field(default_factory=dict, repr=False)

    @cached_property
    def bar(self) -> Bars | None:
        """The closed bar as REST tells it; None where a recording has none."""
        series = self.exchange.series(self.listing, Interval(MINUTE_MS))
        if series is None:
            return None
        index = series.first_at_or_after(self.opens_ms)
        bars = series.bars(index, index + 1)
        return bars if len(bars) and int(bars.open_time[0]) == self.opens_ms else None

    @cached_property
    def aggregates(self) -> Trades:
        return self._trades(is_single=False)

    @cached_property
    def singles(self) -> Trades:
        return self._trades(is_single=True)

    def _trades(self, *, is_single: bool) -> Trades:
        tape = self.exchange.tapes.of(self.listing, is_single=is_single)
        return tape.from_time(self.opens_ms, self.opens_ms + MINUTE_MS, 1 << 30)

    def growing(self, step_ms: int) -> Bars | None:
        """The open bar every `step_ms` after its beginning: rows in order, none at the end itself."""
        if self.bar is None:
            return None
        elapsed = [n / MINUTE_MS for n in range(step_ms, MINUTE_MS, step_ms)]
        grid = self.listing.tick, self.listing.lot
        return concatenate([partial(self.bar, share, *grid) for share in elapsed])

    def book(self, step: int) -> Book:
        """The book at a step of this minute, or at -1, the one before the first."""
        if step not in self._kept:
            self._kept[step] = self._made(step)
        return self._kept[step]

    def _made(self, step: int) -> Book:
        time_ms = self.opens_ms + step * BOOK_STEP_MS
        if step < 0:
            return Minute(self.exchange, self.listing, self.opens_ms - MINUTE_MS).book(MINUTE_MS // BOOK_STEP_MS + step)
        middle = self._middle(step)
        prices = np.arange(middle - BOOK_LEVELS + 1, middle + BOOK_LEVELS + 1, dtype=np.int64)
        number = time_ms // BOOK_STEP_MS
        age = (number + prices % _LASTS) // _LASTS
        words = hashed_words(
            self.exchange.seed, f"book/{self.listing.venue}/{self.listing.symbol}", prices * 4096 + age % 4096
        )
        amounts = (1 + (words % np.uint64(5000)).astype(np.int64)) * self.listing.lot
        levels = list(zip((prices * self.listing.tick).tolist(), amounts.tolist(), strict=True))
        bids, asks = dict(levels[BOOK_LEVELS - 1 :: -1]), dict(levels[BOOK_LEVELS:])
        return Book(time_ms, number * IDS_A_STEP, bids, asks)

    def _middle(self, step: int) -> int:
        """The best bid, in ticks: where the price of trades is on its way, kept high enough for a book below it."""
        if self.bar is None:
            return 1000
        share = step * BOOK_STEP_MS / MINUTE_MS
        price = int(self.bar.open[0]) + int((int(self.bar.close[0]) - int(self.bar.open[0])) * share)
        return max(price // self.listing.tick, BOOK_LEVELS + 1)


def rows_as_dicts(bars: Bars) -> list[dict[str, int]]:
    """Rows as plain integers by column, for venues that name each value."""
    return [
        dict(zip(COLUMNS, row, strict=True)) for row in zip(*(getattr(bars, n).tolist() for n in COLUMNS), strict=True)
    ]


def shown(value: int, decimals: int, padded: int = 0) -> str:
    """12345 of 2 decimals is 123.45; `padded` zeros at least so many places."""
    text = str(abs(value)).rjust(decimals + 1, "0")
    whole, part = (text[:-decimals], text[-decimals:]) if decimals else (text, "")
    part = part.ljust(padded, "0")
    return ("-" if value < 0 else "") + whole + ("." + part if part else "")


def plainly(value: int, decimals: int) -> str:
    """The same without zeros at its end."""
    text = shown(value, decimals)
    return text.rstrip("0").rstrip(".") if "." in text else text
