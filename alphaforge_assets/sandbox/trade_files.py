"""The text of Binance's files of aggTrades, from the very trades that REST answers, an hour at a time.

Spot has eight fields, no header line, microseconds from 2025 on and booleans in capitals; futures have seven (no
isBestMatch), a header from the middle of 2022 on, and milliseconds. Fields and headers: facts of the archive as its
README and issues tell them; the capitals and the words of the header are from memory. What files do wrong is ordered
as of bars, see `vision.py`: `lacks`, `doubled`, `contradicts` and `revised` (of a trade the price), `garbled`,
`header`, `unit`, `mixed_units`.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from alphaforge_assets.sandbox.bars import Ints
from alphaforge_assets.sandbox.text import Column, Flag, render
from alphaforge_assets.sandbox.trades import HOUR_MS, Tape, Trades, joined

HEADER = b"agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker\n"
CAPITALS = (b"False", b"True")
EVERY = 1 << 40


class Fault(Protocol):
    """As `vision.Wrong`."""

    @property
    def kind(self) -> str: ...
    @property
    def start(self) -> int: ...
    @property
    def rows(self) -> int: ...
    @property
    def since(self) -> int: ...
    @property
    def minutes(self) -> int: ...
    @property
    def value(self) -> float: ...
    @property
    def column(self) -> int: ...


def written(
    tape: Tape, start_ms: int, end_ms: int, *, is_spot: bool, is_micro: bool, has_header: bool, wrong: Sequence[Fault]
) -> Iterator[bytes]:
    """The lines of [start_ms, end_ms), in pieces."""
    kinds = {one.kind for one in wrong}
    if has_header != ("header" in kinds):
        yield HEADER
    is_micro = is_micro != ("unit" in kinds)
    half, place = (start_ms + end_ms) // 2, 0
    for at in range(start_ms, end_ms, HOUR_MS):
        trades = tape.from_time(at, min(at + HOUR_MS, end_ms), EVERY)
        told = trades
        for one in wrong:
            told = _spoilt(told, one, place)
        rows = _rows(told, is_spot=is_spot, is_micro=is_micro != ("mixed_units" in kinds and at >= half))
        for one in wrong:
            if one.kind == "garbled" and not place and rows:
                rows = _garbled(rows, one.column)
        place += len(trades)
        yield rows


def _spoilt(trades: Trades, wrong: Fault, place: int) -> Trades:
    """An hour whose first trade is the one at `place` of the file."""
    first, last = (min(len(trades), max(0, n - place)) for n in (wrong.start, wrong.start + wrong.rows))
    if wrong.kind == "lacks":
        until = wrong.since + wrong.minutes * 60_000
        low, high = (int(n) for n in np.searchsorted(trades.time, [wrong.since, until]))
        return joined([trades.slice(0, low), trades.slice(high, len(trades))], trades.slice(0, 0))
    if wrong.kind in ("doubled", "contradicts"):
        again = trades.slice(first, last)
        again = again.priced(again.price + 1) if wrong.kind == "contradicts" else again
        return joined([trades.slice(0, last), again, trades.slice(last, len(trades))], trades.slice(0, 0))
    if wrong.kind == "revised":
        price = trades.price.copy()
        price[first:last] = (price[first:last] * wrong.value).astype(np.int64)
        return trades.priced(price)
    return trades


def _garbled(rows: bytes, column: int) -> bytes:
    first, rest = rows.split(b"\n", 1)
    fields = first.split(b",")
    return b",".join([*fields[:column], b"halted", *fields[column + 1 :]]) + b"\n" + rest


def _rows(found: Trades, *, is_spot: bool, is_micro: bool) -> bytes:
    if not len(found):
        return b""
    price, quantity = (8, 8) if is_spot else (found.price_decimals, found.quantity_decimals)
    columns: list[Column | Flag] = [
        Column(found.id),
        Column(found.price, found.price_decimals, price),
        Column(found.quantity, found.quantity_decimals, quantity),
        Column(found.first),
        Column(found.last),
        Column(_in_us(found.time) if is_micro else found.time),
        Flag(found.buyer_is_maker, CAPITALS) if is_spot else Flag(found.buyer_is_maker),
    ]
    return bytes(render(columns, [b"", *[b","] * 6, b",True\n" if is_spot else b"\n"]).data)


def _in_us(time: Ints) -> Ints:
    """Each somewhere in its millisecond, those of the same one after the other."""
    starts = np.flatnonzero(np.concatenate(([True], time[1:] != time[:-1])))
    rank = np.arange(len(time)) - np.repeat(starts, np.diff(np.append(starts, len(time))))
    return np.asarray(time * 1000 + time % 9 * 100 + np.minimum(rank, 99), np.int64)
