"""What rows are, as hashes that depend on neither order, batches nor versions in between: what snapshots rest on.

A hash is the sums over rows of two 64-bit hashes of key, values and source, of different families, modulo 2^64, and the
number of rows. It proves that nothing was changed by accident; who can write hashes can forge them.
"""

import datetime as dt
import fnmatch
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from clickhouse_connect.driver.client import Client

from alphaforge_assets.datasets.dataset import Dataset
from alphaforge_assets.datasets.registry import DATASETS
from alphaforge_assets.errors import BadInput
from alphaforge_assets.intervals import INTERVAL_MS
from alphaforge_assets.universe import Instrument, Universe, instrument_of
from alphaforge_assets.warehouse import statements

_MONTHS_MAX = 120  # in one statement, however sparse the data
_ROWS_A_STATEMENT = 5_000_000  # bounds the memory of the server, not what can be pinned

# Where a month of an instrument is found: dataset, instrument, interval ("" where there is none), first day.
Place = tuple[str, str, str, dt.date]


@dataclass(frozen=True)
class Contents:
    """What a snapshot is asked to hold: [start, end) of each instrument. `intervals` are those of bars."""

    datasets: tuple[str, ...]
    instruments: tuple[str, ...]  # keys
    intervals: tuple[str, ...]
    start: dt.datetime
    end: dt.datetime


@dataclass(frozen=True)
class Hash:
    """What the rows of a place are: how many, and the sums of their cityHash64 and xxHash64 modulo 2^64."""

    rows: int
    low: int
    high: int


NOTHING = Hash(0, 0, 0)


@dataclass(frozen=True)
class Difference:
    """A place that no longer is what it was. Equal counts mean changed values."""

    dataset: str
    instrument: str
    interval: str
    month: dt.date
    rows_pinned: int
    rows_found: int


def contents(
    universe: Universe,
    instruments: str | Sequence[str],
    interval: str | Sequence[str],
    start: dt.datetime,
    end: dt.datetime,
    datasets: str | Sequence[str] = ("bars",),
    ever: Callable[[], Iterable[Instrument]] = tuple,
) -> Contents:
    """What keys or globs, bar lengths, aware times and names of datasets mean. Raises BadInput naming the argument.

    The Fear and Greed Index needs no instrument, and only bars need an interval. The range may reach into the future:
    the instant of the pin decides what is in it. `ever` gives what was once kept, where the universe lacks a pattern.
    """
    names = _words(datasets)
    for name in names:
        if name not in DATASETS:
            raise BadInput(f"dataset {name!r}: use one of {', '.join(DATASETS)}")
    wanted = [d for d in DATASETS.values() if d.name in names]
    if not wanted:
        raise BadInput(f"no dataset named: use one of {', '.join(DATASETS)}")
    if end <= start:
        raise BadInput(f"end {end:%Y-%m-%d %H:%M} is not after start {start:%Y-%m-%d %H:%M}: the range is [start, end)")
    gridded = [d.name for d in wanted if d.grid == "interval"]
    intervals = tuple(i for i in INTERVAL_MS if i in _words(interval)) if gridded else ()
    for word in _words(interval):
        if word not in universe.intervals:
            raise BadInput(f"interval {word!r}: use one of {', '.join(universe.intervals)}")
    if gridded and not intervals:
        raise BadInput(f"no interval named: {' and '.join(gridded)} need one of {', '.join(universe.intervals)}")
    chosen = _chosen(universe, _words(instruments), ever)
    if not chosen and not all(d.only for d in wanted):
        raise BadInput("no instrument named: give keys or globs such as 'binance_spot.*'")
    if not any(d.having(chosen) for d in wanted):
        raise BadInput(f"{', '.join(_words(instruments))}: no perpetual among them, and others have no funding")
    return Contents(tuple(d.name for d in wanted), tuple(i.key for i in chosen), intervals, start, end)


def _chosen(
    universe: Universe, patterns: Sequence[str], ever: Callable[[], Iterable[Instrument]]
) -> tuple[Instrument, ...]:
    """Of the universe; if that lacks a pattern also what left it, which is read by its key as before."""
    if not patterns:
        return ()
    try:
        return universe.select(patterns)
    except BadInput:
        known = {i.key: i for i in ever()} | universe.by_key
        hits = [fnmatch.filter(known, pattern) for pattern in patterns]
        if not all(hits):
            raise
        return tuple(known[key] for key in sorted({key for its in hits for key in its}))


def differences(pinned: Mapping[Place, Hash], found: Mapping[Place, Hash]) -> list[Difference]:
    """Places that are not the same in both, in order."""
    return [
        Difference(*place, pinned.get(place, NOTHING).rows, found.get(place, NOTHING).rows)
        for place in sorted(pinned.keys() | found.keys())
        if pinned.get(place) != found.get(place)
    ]


def content_of(found: Mapping[Place, Hash]) -> str:
    """SHA-256 over the hashes in order of place: equal for equal rows, on any machine."""
    lines = [f"{'|'.join(map(str, place))}|{h.rows}|{h.low:016x}{h.high:016x}\n" for place, h in sorted(found.items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def hashes(client: Client, wanted: Contents, as_of: dt.datetime) -> dict[Place, Hash]:
    """What the rows of `wanted` were at `as_of`, hashed in the server. Places without rows are not in it.

    Raises WarehouseDown, WarehouseRefused.
    """
    found: dict[Place, Hash] = {}
    for dataset in (DATASETS[name] for name in wanted.datasets):
        keys = keys_of(wanted, dataset)
        for interval in dataset.series_of(wanted.intervals) if dataset.grid == "interval" else ("",):
            for some, start, end in _slices(dataset, interval, list(keys), wanted.start, wanted.end):
                at = {"as_of": as_of, "instruments": some, "start": start, "end": end, "interval": interval}
                for r in statements.rows(client, dataset.hashes, **dataset.tables, **at):
                    place = (dataset.name, keys[r["instrument_id"]], r["bar"], r["month"])
                    found[place] = Hash(r["row_count"], r["hash_low"], r["hash_high"])
    return found


def keys_of(wanted: Contents, dataset: Dataset) -> dict[int, str]:
    """Keys by id of those that have the dataset."""
    return {i.instrument_id: i.key for i in dataset.having([instrument_of(key) for key in wanted.instruments])}


def _slices(
    dataset: Dataset, interval: str, instruments: Sequence[int], start: dt.datetime, end: dt.datetime
) -> Iterator[tuple[list[int], dt.datetime, dt.datetime]]:
    """The range in whole months and the instruments in groups, so that no statement meets too many rows at once."""
    a_month = 31 * dataset.rows_a_day_max([interval])
    group = max(1, _ROWS_A_STATEMENT // a_month)
    for n in range(0, len(instruments), group):
        some = list(instruments[n : n + group])
        months = min(max(1, _ROWS_A_STATEMENT // (a_month * len(some))), _MONTHS_MAX)
        low = start
        while low < end:
            later = low.year * 12 + low.month - 1 + months
            high = min(end, dt.datetime(later // 12, later % 12 + 1, 1, tzinfo=dt.UTC))
            yield some, low, high
            low = high


def latest() -> dt.datetime:
    """Later than any publication: everything that can be read."""
    return dt.datetime(2200, 1, 1, tzinfo=dt.UTC)


def _words(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)
