"""How assets are cut: days × instruments, and the rectangle of them that one run covers.

Keys spell `2026-08-01|binance_spot.BTC-USDT`, or `2026-08-01` for a dataset of one instrument, which is cut by day
alone. Slicing of orchestration belongs here; tables are partitioned by month elsewhere.
"""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from alphaforge_assets.datasets.dataset import Dataset
from alphaforge_assets.datasets.registry import DATASETS
from alphaforge_assets.universe import Instrument, Universe, instrument_of
from alphaforge_assets.warehouse.windows import Window

ROWS_PER_STATEMENT = 1_000_000
MONTHS_PER_STATEMENT_MAX = 60

RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"
# The instruments of a run by name: what its range means, whatever the universe became since.
INSTRUMENTS_TAG = "alphaforge/instruments"


@dataclass(frozen=True)
class Rectangle:
    """Instruments × days: what one run covers. `start` is the first day, `end` the day after the last."""

    instruments: tuple[Instrument, ...]
    start: dt.date
    end: dt.date

    @property
    def instrument_ids(self) -> list[int]:
        return [i.instrument_id for i in self.instruments]

    @property
    def days(self) -> int:
        return (self.end - self.start).days

    @property
    def start_time(self) -> dt.datetime:
        return _midnight(self.start)

    @property
    def end_time(self) -> dt.datetime:
        return _midnight(self.end)

    def windows(self, intervals: Iterable[str], until: dt.datetime) -> list[Window]:
        """What may be asked of each instrument for this rectangle: while listed, and not later than `until`."""
        wanted = []
        for instrument in self.instruments:
            start = _midnight(max(self.start, instrument.listed_from))
            last = min(self.end, instrument.listed_until) if instrument.listed_until else self.end
            end = min(_midnight(last), until)
            if start < end:
                wanted += [Window(instrument, interval, start, end) for interval in intervals]
        return wanted

    def slices(self, rows_a_day: int) -> Iterator[tuple[dt.datetime, dt.datetime]]:
        """[start, end) of each statement over it: as many months, days or else hours as ROWS_PER_STATEMENT rows fill.

        `rows_a_day` is the most that one instrument brings. A statement costs 30 ms before its first row and memory by
        the row, and may touch 100 table partitions.
        """
        a_day = rows_a_day * len(self.instruments)
        months = min(MONTHS_PER_STATEMENT_MAX, ROWS_PER_STATEMENT // (31 * a_day))
        hours = max(1, 24 * ROWS_PER_STATEMENT // a_day)
        step = dt.timedelta(days=hours // 24) if hours >= 24 else dt.timedelta(hours=hours)
        start, last = self.start_time, self.end_time
        while start < last:
            later = start.year * 12 + start.month - 1 + months
            end = dt.datetime(later // 12, later % 12 + 1, 1, tzinfo=dt.UTC) if months else start + step
            yield start, min(end, last)
            start = end

    def keys(self, instrument: Instrument) -> list[str]:
        """Partition keys of one of its instruments."""
        return [partition_key(self.start + dt.timedelta(days=n), instrument) for n in range(self.days)]

    def tags(self) -> dict[str, str]:
        """Run tags that make one run cover exactly this rectangle, and say so to whoever reads them later.

        Its instruments must be neighbours in the partitions of the graph that runs it.
        """
        last = self.end - dt.timedelta(days=1)
        return {
            RANGE_START_TAG: partition_key(self.start, self.instruments[0]),
            RANGE_END_TAG: partition_key(last, self.instruments[-1]),
            INSTRUMENTS_TAG: " ".join(i.key for i in self.instruments),
        }


def backfill_policy(dataset: Dataset) -> dg.BackfillPolicy:
    """Every asset of a chain shares it, so that landing, staging and mart of a range share a run."""
    return dg.BackfillPolicy.multi_run(max_partitions_per_run=dataset.keys_per_run_max)


def partitions_of(
    dataset: Dataset, universe: Universe, only: Sequence[Instrument] = ()
) -> dg.PartitionsDefinition[str]:
    """Days × instruments, of `only` those if any are named; days alone where a dataset has one instrument."""
    start = dataset.starts(universe)
    if dataset.only:
        return by_day(start)
    return day_by_instrument(start, [i for i in dataset.instruments(universe) if not only or i in only])


def day_by_instrument(start: dt.date, instruments: Sequence[Instrument]) -> dg.MultiPartitionsDefinition:
    """Days from the start of history to today × instruments, ordered by venue as in the universe."""
    return dg.MultiPartitionsDefinition(
        {
            "date": dg.DailyPartitionsDefinition(start_date=start.isoformat(), end_offset=1),
            "instrument": dg.StaticPartitionsDefinition([i.key for i in instruments]),
        }
    )


def by_day(start: dt.date) -> dg.DailyPartitionsDefinition:
    """Days from `start` to today."""
    return dg.DailyPartitionsDefinition(start_date=start.isoformat(), end_offset=1)


def partition_key(day: dt.date, instrument: Instrument) -> str:
    """`2026-08-01|binance_spot.BTC-USDT`; the day alone for the only instrument of a dataset."""
    if not _named(instrument):
        return day.isoformat()
    return dg.MultiPartitionKey({"date": day.isoformat(), "instrument": instrument.key})


def rectangle(keys: Sequence[str], order: Sequence[Instrument]) -> Rectangle:
    """The rectangle that a run's partition keys make up. `order` is the partitions' own."""
    days, names = set(), set()
    for key in keys:
        day, _, name = key.partition("|")
        days.add(dt.date.fromisoformat(day))
        names.add(name)
    if len(days) * len(names) != len(set(keys)) or (max(days) - min(days)).days + 1 != len(days):
        raise ValueError(f"{len(keys)} partition keys from {min(keys)} to {max(keys)} are not whole days × instruments")
    instruments = tuple(i for i in order if _named(i) in names)
    return Rectangle(instruments, min(days), max(days) + dt.timedelta(days=1))


def rectangle_of_tags(tags: Mapping[str, str], order: Sequence[Instrument]) -> Rectangle:
    """The rectangle of a run by its tags: the way back from `Rectangle.tags`.

    Its instruments are those it named, as `order` has them, which is the partitions' own; one that left the universe
    since is known by its key alone. A run from the UI named none: then its range is read in `order`. Raises ValueError
    where an end of it is not there any more.
    """
    first_day, _, first = tags[RANGE_START_TAG].partition("|")
    last_day, _, last = tags[RANGE_END_TAG].partition("|")
    if named := tags.get(INSTRUMENTS_TAG):
        known = {i.key: i for i in order}
        instruments = tuple(known.get(key) or instrument_of(key) for key in named.split())
    else:
        names = [_named(i) for i in order]
        instruments = tuple(order[names.index(first) : names.index(last) + 1])
    return Rectangle(
        instruments, dt.date.fromisoformat(first_day), dt.date.fromisoformat(last_day) + dt.timedelta(days=1)
    )


def rectangles(
    instruments: Sequence[Instrument], start: dt.date, end: dt.date, order: Sequence[Instrument], keys_max: int
) -> list[Rectangle]:
    """[start, end) × `instruments` as few rectangles, each at most `keys_max` partition keys and one run's worth.

    A run's instruments must be neighbours in `order`, the partitions' own, because a run is tagged with its first and
    last key only.
    """
    chosen = set(instruments)
    groups: list[list[Instrument]] = []
    for before, instrument in zip((None, *order), order, strict=False):
        if instrument not in chosen:
            continue
        if before in chosen and groups and len(groups[-1]) < keys_max:
            groups[-1].append(instrument)
        else:
            groups.append([instrument])
    cut = []
    for group in groups:
        step = dt.timedelta(days=max(1, keys_max // len(group)))
        first = start
        while first < end:
            cut.append(Rectangle(tuple(group), first, min(end, first + step)))
            first += step
    return cut


def _named(instrument: Instrument) -> str:
    """What a key has after the day: nothing, where a dataset has one instrument only."""
    return "" if any(instrument == d.only for d in DATASETS.values()) else instrument.key


def _midnight(day: dt.date) -> dt.datetime:
    return dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC)
