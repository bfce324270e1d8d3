"""Rows of a file on disk, by series and window, until all of it is known to be readable: nothing lands before that.

A file may be larger than memory, and in any order. A window is as long as the pipeline's own: a month of bars, an hour
of trades. What a window holds is put in order, repetitions are dropped and counted, and what contradicts itself is a
problem.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alphaforge_assets.errors import VenueUnavailable
from alphaforge_assets.ingest.files import no_room
from alphaforge_assets.ingest.rows import UNNUMBERED, Series
from alphaforge_assets.intervals import INTERVAL_MS
from alphaforge_assets.venues.bars import check_step
from alphaforge_assets.venues.columns import in_time_order
from alphaforge_assets.venues.trades import contradictions_ms, distinct
from alphaforge_assets.warehouse.windows import Chunk, Window, cut

BUFFERED_ROWS_MAX = 250_000
MS = dt.timedelta(milliseconds=1)
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
Key = tuple[Series, dt.datetime]  # a series, and when the window begins


@dataclass(frozen=True)
class Chapter:
    """The rows of one window, in order: `repeated` is how many of the file were there twice, `fault` what is wrong."""

    window: Window
    rows: pa.Table
    repeated: int = 0
    fault: str = ""


class Spool:
    """A folder of Arrow files, some for each window; whoever made it removes it."""

    def __init__(self, folder: Path, chunk: Chunk) -> None:
        self._folder, self._chunk = folder, chunk
        self._waiting: dict[Key, list[pa.Table]] = defaultdict(list)
        self._waiting_rows = 0
        self._files: dict[Key, list[Path]] = defaultdict(list)
        self._count = 0

    def add(self, series: Series, rows: pa.Table) -> None:
        """Rows of a series, in the order of the file. Raises Permanent."""
        starts = pc.floor_temporal(rows["timestamp"], unit=self._chunk)
        for start in pc.unique(starts):
            key = (series, start.as_py())
            self._waiting[key].append(rows.filter(pc.equal(starts, start)))
        self._waiting_rows += rows.num_rows
        if self._waiting_rows >= BUFFERED_ROWS_MAX:
            self._write()

    def chapters(self) -> Iterator[Chapter]:
        """Every window with its rows, a series after the other, in the order of time. Raises Permanent."""
        self._write()
        for key in sorted(self._files, key=lambda key: (key[0][0].key, key[0][1], key[1])):
            yield _chapter(key, pa.concat_tables(map(_read, self._files[key])), self._chunk)

    def _write(self) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for key, tables in self._waiting.items():
                path = self._folder / f"{self._count}.arrow"
                self._count += 1
                table = pa.concat_tables(tables)
                options = pa.ipc.IpcWriteOptions(compression="lz4")
                with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema, options=options) as writer:
                    writer.write_table(table)
                self._files[key].append(path)
        except OSError as error:
            raise no_room(self._folder, error) from error
        self._waiting.clear()
        self._waiting_rows = 0


def _read(path: Path) -> pa.Table:
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()


def _chapter(key: Key, rows: pa.Table, chunk: Chunk) -> Chapter:
    (instrument, interval), _ = key
    told = rows.num_rows
    table = _bars_in_order(rows) if interval else _trades_in_order(rows)
    low, high = (moment.as_py() for moment in pc.min_max(table["timestamp"]).values())
    step = dt.timedelta(milliseconds=INTERVAL_MS[interval]) if interval else MS
    low, high = EPOCH + (low - EPOCH) // MS * MS, EPOCH + (high - EPOCH) // MS * MS + step
    window = cut([Window(instrument, interval, low, high)], chunk)[0]
    return Chapter(window, table, told - table.num_rows, _fault(window, table))


def _bars_in_order(rows: pa.Table) -> pa.Table:
    return in_time_order(rows)


def _trades_in_order(rows: pa.Table) -> pa.Table:
    if pc.equal(rows["trade_uuid"][0], UNNUMBERED).as_py():
        return _numbered(rows)
    return distinct(rows)


def _fault(window: Window, rows: pa.Table) -> str:
    """What a window of a file says against itself; "" if nothing."""
    name = f"{window.instrument.key} {window.interval}".strip()
    if not window.interval:
        twice = contradictions_ms(rows)
        said = f"tells a trade of {_text(twice[0])} with two values" if twice else ""
        return f"{name}: {said}: keep the right one" if said else ""
    times, counts = np.unique(rows["timestamp"].cast(pa.int64()).to_numpy(), return_counts=True)
    if (counts > 1).any():
        return f"{name}: tells the bar of {_text(int(times[counts > 1][0]))} with two values: keep the right one"
    try:
        check_step(rows, INTERVAL_MS[window.interval])
    except VenueUnavailable:
        usual = int(np.median(np.diff(times))) // 1000
        return f"{name}: its bars are {usual} s apart, from {_text(int(times[0]))} on: mend interval"
    return ""


def _text(ms: int) -> str:
    return f"{EPOCH + ms * MS:%Y-%m-%d %H:%M:%S}"


def _numbered(rows: pa.Table) -> pa.Table:
    """Trades that have no number, in the order of time, each with a name and a number made of its values.

    Of trades that are the same in all the first, second and so on have each their own, so that the same file, or
    another one with the same hour, gives the same names. Numbers are of 2^62 and more, where no venue counts.
    """
    rows = rows.take(pc.sort_indices(rows, sort_keys=[("timestamp", "ascending")]))
    buys = pc.equal(rows["side"], "buy").cast(pa.uint8()).to_numpy().astype(np.uint64)
    floats = (pc.fill_null(rows[name], 0.0).to_numpy().view(np.uint64) for name in ("price", "quantity"))
    mixed = _mix(rows["timestamp"].cast(pa.int64()).to_numpy().view(np.uint64))
    for words in (buys, *floats):
        mixed = _mix(mixed ^ words)
    order = np.argsort(mixed, kind="stable")
    changes = np.flatnonzero(np.diff(mixed[order])) + 1
    firsts = np.zeros(rows.num_rows, np.int64)
    firsts[changes] = changes
    nth = np.empty(rows.num_rows, np.uint64)
    nth[order] = (np.arange(rows.num_rows) - np.maximum.accumulate(firsts)).astype(np.uint64)
    numbers = pa.array((_mix(mixed ^ nth) >> np.uint64(2)) | np.uint64(1 << 62))
    names = pc.binary_join_element_wise(UNNUMBERED, numbers.cast(pa.string()), "")
    for column in ("trade_id", "first_id", "last_id"):
        rows = rows.set_column(rows.schema.get_field_index(column), rows.schema.field(column), numbers)
    return rows.set_column(rows.schema.get_field_index("trade_uuid"), rows.schema.field("trade_uuid"), names)


def _mix(words: np.ndarray) -> np.ndarray:
    """Every bit of a word over all of it. Source: splitmix64, prng.di.unimi.it/splitmix64.c (public domain)."""
    words = words + np.uint64(0x9E3779B97F4A7C15)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = words ^ (words >> np.uint64(31))
    return mixed
