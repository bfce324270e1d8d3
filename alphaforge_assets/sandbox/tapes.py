"""The trades of every listing: made of its bars, or played from a folder of recordings.

A recording is `trades/<venue>_<market>/<symbol>/*.parquet` with trade_id, time (ms), price, qty and is_buyer_maker, and
of aggregates first_trade_id and last_trade_id. Of single trades aggregates are made as Binance makes them: what follows
one another in one millisecond, at one price, on one side. One without ids (with amount, the taker's side and time_iso)
is counted as it stands, from 1 on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from alphaforge_assets.errors import BadInput
from alphaforge_assets.sandbox.listings import Listing
from alphaforge_assets.sandbox.prices import Market
from alphaforge_assets.sandbox.recordings import Recordings, exact
from alphaforge_assets.sandbox.trades import COLUMNS, Made, Tape, Trades, joined


@dataclass
class Played:
    """Recorded trades, all in memory."""

    trades: Trades

    def from_id(self, first: int, rows: int, now_ms: int) -> Trades:
        start = int(np.searchsorted(self.trades.id, first))
        stop = int(np.searchsorted(self.trades.time, now_ms, side="right"))
        return self.trades.slice(start, max(start, min(stop, start + rows)))

    def from_time(self, start_ms: int, end_ms: int, rows: int) -> Trades:
        start, stop = (int(n) for n in np.searchsorted(self.trades.time, [start_ms, end_ms]))
        return self.trades.slice(start, max(start, min(stop, start + rows)))

    def newest(self, rows: int, now_ms: int) -> Trades:
        stop = int(np.searchsorted(self.trades.time, now_ms, side="right"))
        return self.trades.slice(max(0, stop - rows), stop)


@dataclass
class Tapes:
    """The trades of every listing, from a folder or from the market of generated prices."""

    market: Market
    revised: dict[tuple[str, str], dict[tuple[int, int], dict[str, int]]]
    recordings: Recordings | None = None
    _kept: dict[tuple[str, str, bool], Tape] = field(default_factory=dict)

    def of(self, listing: Listing, *, is_single: bool = False) -> Tape:
        """Its trades. Raises BadInput for a recording that is no recording of trades."""
        key = (*listing.key, is_single)
        if key not in self._kept:
            if self.recordings:
                paths = self.recordings.trade_files().get(listing.key, [])
                self._kept[key] = Played(_recorded(paths, is_single=is_single))
            else:
                self._kept[key] = Made(self.market, listing, self.revised.setdefault(listing.key, {}), is_single)
        return self._kept[key]

    def forget(self) -> None:
        """After a bar was revised: its trades are made anew."""
        self._kept.clear()


def _recorded(paths: Sequence[Path], *, is_single: bool) -> Trades:
    nothing = np.empty(0, np.int64)
    empty = Trades(0, 0, **dict.fromkeys(COLUMNS[:-1], nothing), buyer_is_maker=np.empty(0, np.bool_))
    parts = [read(path) for path in paths]
    singles = [part for part, kind in parts if kind == "single"]
    if is_single:
        return joined(singles, empty)
    return joined([part if kind == "aggregate" else aggregated(part) for part, kind in parts], empty)


def read(path: Path) -> tuple[Trades, str]:
    """One file in order of ids, and which kind it has. Raises BadInput if it lacks a column."""
    try:
        table = pq.ParquetFile(path).read()
        table = table if "trade_id" in table.column_names else _counted(table)
        kind = "aggregate" if "first_trade_id" in table.column_names else "single"
        names = ("first_trade_id", "last_trade_id") if kind == "aggregate" else ("trade_id", "trade_id")
        table = table.sort_by("trade_id")
        number, first, last, time = (
            np.asarray(table[name].cast(pa.int64()).combine_chunks()) for name in ("trade_id", *names, "time")
        )
        us = np.asarray(table["us"].combine_chunks()) if "us" in table.column_names else np.zeros(len(time), np.int64)
        maker = np.asarray(table["is_buyer_maker"].combine_chunks().to_numpy(zero_copy_only=False), np.bool_)
        (price, price_decimals), (quantity, decimals) = (exact(table[n], path, n) for n in ("price", "qty"))
    except (OSError, KeyError, pa.ArrowInvalid) as error:
        raise BadInput(f"recording {path}: {error}; it needs trade_id, time, price, qty, is_buyer_maker") from error
    return Trades(price_decimals, decimals, number, first, last, time, us, price, quantity, maker), kind


def _counted(table: pa.Table) -> pa.Table:
    """A recording without ids with those that its rows have by their place."""
    us = table["time_iso"].cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    columns = {
        "trade_id": pa.array(np.arange(1, len(table) + 1)),
        "time": table["time"],
        "us": pc.subtract(us, pc.multiply(table["time"], 1000)),
        "price": table["price"],
        "qty": table["amount"],
        "is_buyer_maker": pc.equal(table["side"], "sell"),
    }
    return pa.table(columns)


def aggregated(singles: Trades) -> Trades:
    """What Binance makes of single trades: those next to each other of one millisecond, price and side are one."""
    if not len(singles):
        return singles
    same = np.ones(len(singles) - 1, bool)
    for name in ("time", "price", "buyer_is_maker"):
        column = getattr(singles, name)
        same &= column[1:] == column[:-1]
    starts = np.flatnonzero(np.concatenate(([True], ~same)))
    ends = np.append(starts[1:], len(singles)) - 1
    number = singles.id[0] // 2 + np.arange(len(starts))  # ids of their own, lower than those of single trades
    return Trades(
        singles.price_decimals, singles.quantity_decimals, number, singles.first[starts], singles.last[ends],
        singles.time[starts], singles.us[starts], singles.price[starts], np.add.reduceat(singles.quantity, starts),
        singles.buyer_is_maker[starts],
    )  # fmt: skip
