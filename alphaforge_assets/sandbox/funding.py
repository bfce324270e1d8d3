"""Funding settlements of perpetuals: generated as a pure function of (seed, venue, symbol, time), or as recorded.

A recording is `funding/<venue>_<market>/<symbol>[_anything].parquet` with funding_time (ms), funding_rate and, where
the venue gave it, mark_price_raw (its own text); everything is served as recorded, jitter, empty prices and all.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from alphaforge_assets.errors import BadInput
from alphaforge_assets.sandbox.bars import Interval, Ints
from alphaforge_assets.sandbox.listings import Listing
from alphaforge_assets.sandbox.price_bars import Valued
from alphaforge_assets.sandbox.prices import Market, hashed_normal
from alphaforge_assets.sandbox.recordings import Recordings

HOUR_MS = 3_600_000
SERIES_KEPT = 64
# (venue, base): every 4 h from this time on, 8 h before and elsewhere
CHANGES = {("binance_perp", "DOGE"): 1_740_787_200_000, ("bybit_perp", "XRP"): 1_748_736_000_000}
MARK_PRICES_FROM = 1_698_768_000_000  # Binance's older rows have an empty markPrice


@dataclass(frozen=True)
class Settlement:
    """One settlement: when, at what rate, and the mark price as the venue wrote it ("" if it did not)."""

    time_ms: int
    rate: Decimal
    mark: str


@dataclass(frozen=True)
class Settlements:
    """Times of all settlements of one perpetual that exist by now, ascending; rows are made when asked for."""

    times: Ints
    rates: Sequence[Decimal]
    marks: Sequence[str]

    def within(self, first_ms: int | None, last_ms: int | None) -> tuple[int, int]:
        """Indices [start, stop) of settlements in [first_ms, last_ms]."""
        start = 0 if first_ms is None else int(np.searchsorted(self.times, first_ms, side="left"))
        stop = len(self.times) if last_ms is None else int(np.searchsorted(self.times, last_ms, side="right"))
        return start, max(start, stop)

    def rows(self, start: int, stop: int) -> list[Settlement]:
        return [Settlement(int(self.times[i]), self.rates[i], self.marks[i]) for i in range(start, stop)]


def hours_between(listing: Listing, time_ms: int) -> int:
    """Hours between settlements at that time."""
    return 4 if time_ms >= CHANGES.get((listing.venue, listing.base), 1 << 62) else 8


@dataclass
class Funding:
    """Settlements of every perpetual, from a folder or from the market of generated prices."""

    market: Market
    recordings: Recordings | None = None
    _kept: "OrderedDict[tuple[str, str, int], Settlements]" = field(default_factory=OrderedDict)

    def of(self, listing: Listing, now_ms: int) -> Settlements:
        """Settlements up to `now_ms`. Raises BadInput for a recording that is no recording of funding."""
        key = (*listing.key, 0 if self.recordings else now_ms // HOUR_MS)
        if key not in self._kept:
            self._kept[key] = self._recorded(listing) if self.recordings else self._generated(listing, now_ms)
            while len(self._kept) > SERIES_KEPT:
                self._kept.popitem(last=False)
        whole = self._kept[key]
        stop = whole.within(None, now_ms)[1]
        return Settlements(whole.times[:stop], whole.rates, whole.marks)

    def _recorded(self, listing: Listing) -> Settlements:
        found = self.recordings.funding_files().get(listing.key, []) if self.recordings else []
        parts = [_read(path) for path in found]
        if not parts:
            return Settlements(np.empty(0, np.int64), [], [])
        table = pa.concat_tables(parts)
        order = np.argsort(times := table["time"].to_numpy(), kind="stable")
        _, first = np.unique(times[order], return_index=True)
        table = table.take(order[first])
        rates = [Decimal(text) for text in table["rate"].to_pylist()]
        return Settlements(table["time"].to_numpy(), rates, table["mark"].to_pylist())

    def _generated(self, listing: Listing, now_ms: int) -> Settlements:
        """A rate is 0.01 % while the premium is small, as the venues clamp it; Binance's times are some ms late."""
        if listing.delisted_ms == listing.listed_ms:
            return Settlements(np.empty(0, np.int64), [], [])
        until = min(now_ms, (listing.delisted_ms or now_ms + 1) - 1)
        grid = np.arange(-(-listing.listed_ms // (4 * HOUR_MS)), until // (4 * HOUR_MS) + 1) * 4 * HOUR_MS
        change = CHANGES.get((listing.venue, listing.base), 1 << 62)
        times = grid[(grid % (8 * HOUR_MS) == 0) | (grid >= change)]
        name = f"funding/{listing.venue}/{listing.symbol}"
        slow = hashed_normal(self.market.seed, f"funding/{listing.base}", times // (72 * HOUR_MS))
        premium = 9e-5 * slow + 7e-5 * hashed_normal(self.market.seed, name, times // HOUR_MS)
        clamped = 1e-4 + np.sign(premium) * np.maximum(np.abs(premium) - 1.2e-4, 0)
        jitter = np.abs(hashed_normal(self.market.seed, name + "/late", times)) * 6
        late = jitter.astype(np.int64) if listing.venue == "binance_perp" else 0
        rates = [Decimal(int(units)).scaleb(-8) for units in np.rint(clamped * 1e8)]
        return Settlements(times + late, rates, _Marks(self.market, listing, times))


class _Marks(Sequence[str]):
    """Mark prices of generated settlements, computed one by one when they are read."""

    def __init__(self, market: Market, listing: Listing, times: Ints) -> None:
        self._times = times
        self._bars = Valued(market, listing, Interval(60_000), "mark")

    def __len__(self) -> int:
        return len(self._times)

    def __getitem__(self, at: int) -> str:  # type: ignore[override]  # nobody slices it
        time_ms = int(self._times[at])
        if time_ms < MARK_PRICES_FROM:
            return ""
        opens = self._bars.bars(time_ms // 60_000, time_ms // 60_000 + 1).open[0]
        return f"{Decimal(int(opens)).scaleb(-self._bars.scales.price):.8f}"


def _read(path: Path) -> pa.Table:
    """Columns time (int64), rate and mark (text). Raises BadInput."""
    try:
        table = pq.ParquetFile(path).read()
        times, rates = table["funding_time"].cast(pa.int64()), table["funding_rate"]
        if pa.types.is_floating(rates.type):  # the shortest text that is this double, without an exponent
            text = pa.array([f"{Decimal(repr(rate)):f}" for rate in rates.to_pylist()], pa.string())
        else:
            text = rates.cast(pa.string())
        named = "mark_price_raw" in table.column_names
        marks = table["mark_price_raw"].cast(pa.string()) if named else pa.nulls(len(times), pa.string())
        return pa.table({"time": times, "rate": text, "mark": pc.fill_null(marks, "")})
    except (OSError, KeyError, pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise BadInput(f"recording {path}: {error}; it needs funding_time (ms) and funding_rate") from error
