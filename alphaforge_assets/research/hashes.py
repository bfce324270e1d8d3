"""What rows are, as hashes that depend on neither order, batches nor versions in between: what snapshots rest on.

A hash is the sums over rows of two 64-bit hashes of key, values and source, of different families, modulo 2^64, and the
number of rows. It proves that nothing was changed by accident; who can write hashes can forge them.
"""

import datetime as dt
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from clickhouse_connect.driver.client import Client

from alphaforge_assets.errors import BadInput
from alphaforge_assets.universe import FEAR_GREED, INTERVAL_MS, Instrument, Universe
from alphaforge_assets.warehouse import statements

# Of each dataset, the statement that hashes it.
_HASHES = {
    "bars": "snapshots/hashes_bars",
    "funding_rates": "snapshots/hashes_funding_rates",
    "fear_greed_index": "snapshots/hashes_fear_greed_index",
}
DATASETS = tuple(_HASHES)
_ROWS_A_MONTH_MAX = {"funding_rates": 31 * 24, "fear_greed_index": 31}  # of one instrument
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
) -> Contents:
    """What keys or globs, bar lengths, aware times and names of datasets mean. Raises BadInput naming the argument.

    The Fear and Greed Index needs no instrument, and only bars need an interval. The range may reach into the future:
    the instant of the pin decides what is in it.
    """
    wanted = tuple(d for d in DATASETS if d in _words(datasets))
    for name in _words(datasets):
        if name not in DATASETS:
            raise BadInput(f"dataset {name!r}: use one of {', '.join(DATASETS)}")
    if not wanted:
        raise BadInput(f"no dataset named: use one of {', '.join(DATASETS)}")
    if end <= start:
        raise BadInput(f"end {end:%Y-%m-%d %H:%M} is not after start {start:%Y-%m-%d %H:%M}: the range is [start, end)")
    intervals = tuple(i for i in INTERVAL_MS if i in _words(interval)) if "bars" in wanted else ()
    for word in _words(interval):
        if word not in universe.intervals:
            raise BadInput(f"interval {word!r}: use one of {', '.join(universe.intervals)}")
    if "bars" in wanted and not intervals:
        raise BadInput(f"no interval named: bars need one of {', '.join(universe.intervals)}")
    chosen = universe.select(_words(instruments)) if _words(instruments) else ()
    if not chosen and wanted != ("fear_greed_index",):
        raise BadInput("no instrument named: give keys or globs such as 'binance_spot.*'")
    if wanted == ("funding_rates",) and not any(i.is_perpetual for i in chosen):
        raise BadInput(f"{', '.join(_words(instruments))}: no perpetual among them, and others have no funding")
    return Contents(wanted, tuple(i.key for i in chosen), intervals, start, end)


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
    for dataset in wanted.datasets:
        instruments = instrument_ids(wanted, dataset)
        keys = {i.instrument_id: i.key for i in (FEAR_GREED, *map(instrument_of, wanted.instruments))}
        for interval in wanted.intervals if dataset == "bars" else ("",):
            for some, start, end in _slices(dataset, interval, instruments, wanted.start, wanted.end):
                bar = {"interval": interval} if dataset == "bars" else {}
                rows = statements.rows(
                    client, _HASHES[dataset], as_of=as_of, instruments=some, start=start, end=end, **bar
                )
                for r in rows:
                    place = (dataset, keys[r["instrument_id"]], r["bar"], r["month"])
                    found[place] = Hash(r["row_count"], r["hash_low"], r["hash_high"])
    return found


def instrument_ids(wanted: Contents, dataset: str) -> list[int]:
    """Ids of those that have the dataset."""
    if dataset == "fear_greed_index":
        return [FEAR_GREED.instrument_id]
    return [i.instrument_id for i in map(instrument_of, wanted.instruments) if dataset == "bars" or i.is_perpetual]


def instrument_of(key: str) -> Instrument:
    """The instrument of a key alone: one may have left the universe since it was pinned."""
    venue, symbol = key.split(".", 1)
    return Instrument(venue, symbol.replace("-", "/"), FEAR_GREED.listed_from)


def _slices(
    dataset: str, interval: str, instruments: Sequence[int], start: dt.datetime, end: dt.datetime
) -> Iterator[tuple[list[int], dt.datetime, dt.datetime]]:
    """The range in whole months and the instruments in groups, so that no statement meets too many rows at once."""
    a_month = _ROWS_A_MONTH_MAX.get(dataset) or 31 * INTERVAL_MS["1d"] // INTERVAL_MS[interval]
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
