"""Recorded bars played back: a folder `klines/<venue>_<market>/<symbol>/<interval>/*.parquet`, read lazily.

Every row is served as recorded: value for value, off the grid or not, with its holes and repeats. What a file does not
hold is filled by a fixed rule, never guessed from elsewhere:

    close_time          open_time + interval - 1
    quote_volume        volume × close, exactly, cut to the decimals that fit 63 bits
    count               0 where volume is 0, else 1 + floor(10 × volume)     (column `count` or `trades` if there)
    taker_buy_*         half the volume and half the quote volume, rounded down

A recorded volume is in base currency (okx_swap too, as ccxt's unified bars have it); OKX's `vol` is that over `ctVal`.

Bars of other prices than trades' are in `mark_klines/…`, `index_klines/…` and `premium_klines/…`; their columns are
open_time and OHLC, what else they have is not served, and what counts samples is 0.

Several files of one interval are merged in time order; where they overlap, the first by name wins. An interval that is
not recorded is aggregated from the finest that is and divides it. Folders of venues we do not speak are ignored.
"""

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from alphaforge_assets.errors import BadInput
from alphaforge_assets.sandbox.bars import COLUMNS, Bars, Interval, Ints, Scales, concatenate, group, partial, running
from alphaforge_assets.sandbox.listings import Listing, Place
from alphaforge_assets.sandbox.price_bars import PRICES

ROWS_KEPT = 6_000_000  # in memory at once, 88 bytes a row
_UNIT_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}
_NAMES = {
    "trades": "count",
    "taker_buy_volume": "taker_volume",
    "taker_buy_base_volume": "taker_volume",
    "taker_buy_quote_volume": "taker_quote_volume",
}
_FLOAT_DECIMALS = 8
_MOST = 2**62


@dataclass(frozen=True)
class Recorded:
    """A recorded series; `finer` is what it was aggregated from, so that its open bar can grow."""

    rows: Bars
    interval: Interval
    finer: "Recorded | None" = None

    @property
    def scales(self) -> Scales:
        return self.rows.scales

    def first_at_or_after(self, time_ms: int) -> int:
        return int(np.searchsorted(self.rows.open_time, time_ms, side="left"))

    def bars(self, start: int, stop: int) -> Bars:
        return self.rows.slice(start, stop)

    def open_index(self, now_ms: int) -> int | None:
        index = self.first_at_or_after(now_ms + 1) - 1
        return index if index >= 0 and now_ms < int(self.rows.open_time[index]) + self.interval.ms else None

    def open_bar(self, now_ms: int) -> Bars:
        index = self.open_index(now_ms)
        if index is None:
            raise LookupError(f"no recorded bar is open at {now_ms}")
        opens = int(self.rows.open_time[index])
        if self.finer is None:
            return partial(self.rows.slice(index, index + 1), (now_ms - opens) / self.interval.ms)
        start, stop = self.finer.first_at_or_after(opens), self.finer.first_at_or_after(now_ms + 1)
        inner = self.finer.open_index(now_ms)
        if inner is None:
            return group(self.finer.bars(start, stop), self.interval)
        return running(self.finer.bars(start, inner), self.finer.open_bar(now_ms), opens, self.interval.ms)


@dataclass
class Recordings:
    """All recorded series of a folder. `revised` maps (venue, symbol, interval ms, open time) to column values."""

    root: Path
    places: Mapping[str, Place]
    revised: dict[tuple[str, str, int, int], dict[str, int]] = field(default_factory=dict)
    _called: dict[tuple[str, str], str] = field(default_factory=dict)
    _loaded: "OrderedDict[tuple[str, str, Interval], Recorded]" = field(default_factory=OrderedDict)

    @cached_property
    def files(self) -> dict[tuple[str, str], dict[int, list[Path]]]:
        """(venue, symbol) -> interval ms -> files in name order.

        Raises BadInput if the folder is missing or holds no bars of a venue the sandbox speaks.
        """
        if not self.root.is_dir():
            raise BadInput(f"recordings {self.root}: no such folder; name one that holds klines/<venue>_<market>/…")
        found: dict[tuple[str, str], dict[int, list[Path]]] = {}
        folders = {place.folder: place for place in self.places.values()}
        for path in sorted(self.root.glob("klines/*/*/*/*.parquet")):
            folder, name, interval = path.parts[-4:-1]
            match = re.fullmatch(r"(\d+)([mhd])", interval)
            if folder in folders and match:
                place, ms = folders[folder], int(match[1]) * _UNIT_MS[match[2]]
                key = place.name, place.own_name(name)
                self._called[key] = name
                found.setdefault(key, {}).setdefault(ms, []).append(path)
        if not found:
            known = ", ".join(folders)
            raise BadInput(
                f"recordings {self.root}: no klines/<venue>_<market>/<symbol>/<interval>/*.parquet of {known}"
            )
        return found

    @cached_property
    def listings(self) -> tuple[Listing, ...]:
        """One listing a recorded symbol, from the files' metadata and their first times; funding or trades suffice."""
        listed = {}
        for key, by_interval in self.files.items():
            paths = [path for files in by_interval.values() for path in files]
            listed[key] = self._listing(*key, _schema_scales(paths), min(map(_first_time, paths)))
        for key, paths in self.funding_files().items():
            first = min(_first_time(path, "funding_time") for path in paths)
            listed.setdefault(key, self._listing(*key, Scales(8, 8, 8), first))
        for (venue, symbol, _), by_interval in self.price_files().items():
            first = min(_first_time(path) for paths in by_interval.values() for path in paths)
            listed.setdefault((venue, symbol), self._listing(venue, symbol, Scales(8, 8, 8), first))
        for key, paths in self.trade_files().items():
            first = min(_first_time(path, "time") for path in paths)
            listed.setdefault(key, self._listing(*key, Scales(8, 8, 8), first))
        return tuple(listed.values())

    def _listing(self, venue: str, symbol: str, scales: Scales, listed_ms: int) -> Listing:
        return self.places[venue].recorded(self._called.get((venue, symbol), symbol), scales, listed_ms)

    def funding_files(self) -> dict[tuple[str, str], list[Path]]:
        """(venue, symbol) -> files of `funding/<venue>_<market>/<symbol>[_anything].parquet`, in name order."""
        folders = {place.folder: place.name for place in self.places.values() if place.contract}
        found: dict[tuple[str, str], list[Path]] = {}
        for path in sorted(self.root.glob("funding/*/*.parquet")):
            if path.parent.name in folders:
                found.setdefault((folders[path.parent.name], path.stem.split("_")[0]), []).append(path)
        return found

    def price_files(self) -> dict[tuple[str, str, str], dict[int, list[Path]]]:
        """(venue, symbol, price) -> interval ms -> files of `<price>_klines/…` in name order, as those of trades."""
        folders = {place.folder: place for place in self.places.values() if place.contract}
        found: dict[tuple[str, str, str], dict[int, list[Path]]] = {}
        for price in PRICES:
            for path in sorted(self.root.glob(f"{price}_klines/*/*/*/*.parquet")):
                folder, name, interval = path.parts[-4:-1]
                match = re.fullmatch(r"(\d+)([mhd])", interval)
                if folder in folders and match:
                    place, ms = folders[folder], int(match[1]) * _UNIT_MS[match[2]]
                    found.setdefault((place.name, place.own_name(name), price), {}).setdefault(ms, []).append(path)
        return found

    def trade_files(self) -> dict[tuple[str, str], list[Path]]:
        """(venue, symbol) -> files of `trades/<venue>_<market>/<symbol>/*.parquet`, in name order."""
        folders = {place.folder: place.name for place in self.places.values()}
        found: dict[tuple[str, str], list[Path]] = {}
        for path in sorted(self.root.glob("trades/*/*/*.parquet")):
            folder, symbol = path.parts[-3:-1]
            if folder in folders:
                found.setdefault((folders[folder], symbol), []).append(path)
        return found

    def series(self, venue: str, symbol: str, interval: Interval, price: str = "trade") -> Recorded | None:
        """The series, or None if it is neither recorded nor a multiple of what is; of other prices: not recorded."""
        if price != "trade":
            paths = self.price_files().get((venue, symbol, price), {}).get(interval.ms, [])
            if not paths or interval.offset_ms:
                return None
            parts = [read(path, interval.ms, is_traded=False) for path in paths]
            return self._kept((venue, f"{symbol} {price}", interval), lambda: Recorded(merge(parts), interval))
        recorded = self.files.get((venue, symbol), {})
        if interval.ms in recorded and not interval.offset_ms:
            return self._base(venue, symbol, interval)
        finer = [ms for ms in recorded if ms <= interval.ms and interval.ms % ms == 0 and interval.offset_ms % ms == 0]
        if not finer:
            return None
        source = self._base(venue, symbol, Interval(min(finer)))
        return self._kept((venue, symbol, interval), lambda: self._coarser(venue, symbol, interval, source))

    def _base(self, venue: str, symbol: str, interval: Interval) -> Recorded:
        return self._kept((venue, symbol, interval), lambda: Recorded(self._read(venue, symbol, interval), interval))

    def _read(self, venue: str, symbol: str, interval: Interval) -> Bars:
        rows = merge([read(path, interval.ms) for path in self.files[venue, symbol][interval.ms]])
        if venue == "okx_perp":
            rows = in_contracts(rows, next(one for one in self.listings if one.key == (venue, symbol)))
        return self._revise(venue, symbol, interval.ms, rows)

    def _coarser(self, venue: str, symbol: str, interval: Interval, source: Recorded) -> Recorded:
        return Recorded(self._revise(venue, symbol, interval.ms, group(source.rows, interval)), interval, source)

    def _kept(self, key: tuple[str, str, Interval], make: Callable[[], Recorded]) -> Recorded:
        if key not in self._loaded:
            self._loaded[key] = make()
            while len(self._loaded) > 1 and sum(len(r.rows) for r in self._loaded.values()) > ROWS_KEPT:
                self._loaded.popitem(last=False)
        self._loaded.move_to_end(key)
        return self._loaded[key]

    def revise(self, venue: str, symbol: str, ms: int, open_time: int, columns: dict[str, int]) -> None:
        """Change one bar from now on; what was loaded is read again with the change."""
        self.revised.setdefault((venue, symbol, ms, open_time), {}).update(columns)
        for key in [key for key in self._loaded if key[:2] == (venue, symbol)]:
            del self._loaded[key]

    def _revise(self, venue: str, symbol: str, ms: int, rows: Bars) -> Bars:
        for (of_venue, of_symbol, of_ms, open_time), columns in self.revised.items():
            if (of_venue, of_symbol, of_ms) == (venue, symbol, ms):
                row = int(np.searchsorted(rows.open_time, open_time))
                for name, value in columns.items():
                    changed = getattr(rows, name).copy()
                    changed[row] = value
                    rows = rows.having({name: changed})
        return rows


def read(path: Path, interval_ms: int, *, is_traded: bool = True) -> Bars:
    """One file as bars; of what is no trade without volume. Raises BadInput if it lacks a column or holds no number."""
    _metadata(path)
    table = pq.ParquetFile(path).read()
    table = table.rename_columns([_NAMES.get(name, name) for name in table.column_names])
    if not is_traded:
        table = table.select([n for n in table.column_names if n in ("open_time", "open", "high", "low", "close")])
        table = table.append_column("volume", pa.array([0] * table.num_rows, pa.int64()))
    lacking = [
        name for name in ("open_time", "open", "high", "low", "close", "volume") if name not in table.column_names
    ]
    if lacking:
        raise BadInput(f"recording {path}: no column {', '.join(lacking)}; it needs open_time and OHLCV")
    numbers = {name: exact(table[name], path, name) for name in table.column_names if name in COLUMNS}
    prices = max(numbers[name][1] for name in ("open", "high", "low", "close"))
    volumes = max(numbers[name][1] for name in ("volume", "taker_volume") if name in numbers)
    column = {name: _at_scale(numbers[name], prices) for name in ("open", "high", "low", "close")}
    column |= {name: _at_scale(numbers[name], volumes) for name in ("volume", "taker_volume") if name in numbers}
    column |= {name: numbers[name][0] for name in ("open_time", "close_time", "count") if name in numbers}
    if "quote_volume" in numbers:
        quotes = max(numbers[name][1] for name in ("quote_volume", "taker_quote_volume") if name in numbers)
        names = [name for name in ("quote_volume", "taker_quote_volume") if name in numbers]
        column |= {name: _at_scale(numbers[name], quotes) for name in names}
    else:
        column["quote_volume"], quotes = _product(column["volume"], volumes, column["close"], prices)
    column.setdefault("close_time", column["open_time"] + interval_ms - 1)
    lots = column["volume"] * 10 // 10**volumes
    column.setdefault("count", np.where(column["volume"] > 0, 1 + lots, 0))
    column.setdefault("taker_volume", column["volume"] // 2)
    column.setdefault("taker_quote_volume", column["quote_volume"] // 2)
    return Bars(Scales(prices, volumes, quotes), **column)


def in_contracts(bars: Bars, listing: Listing) -> Bars:
    """Base volume as contracts of `contract_value`, a power of ten: only the point moves."""
    shift = -int(listing.contract_value.log10())
    decimals = bars.scales.volume - shift
    factor = 10 ** max(0, -decimals)
    return replace(
        bars,
        scales=replace(bars.scales, volume=max(0, decimals)),
        volume=bars.volume * factor,
        taker_volume=bars.taker_volume * factor,
    )


def merge(parts: list[Bars]) -> Bars:
    """Files of one series as one, at common scales, in time order; a time an earlier file has is dropped."""
    scales = Scales(*(max(getattr(part.scales, n) for part in parts) for n in ("price", "volume", "quote")))
    kept: list[Bars] = []
    for part in parts:
        scaled = _rescaled(part, scales)
        for other in kept:
            if _overlap(scaled.open_time, other.open_time):
                scaled = scaled.take(np.flatnonzero(~np.isin(scaled.open_time, other.open_time)))
        kept.append(scaled)
    rows = concatenate(kept)
    if np.all(rows.open_time[1:] >= rows.open_time[:-1]):
        return rows
    return rows.take(np.argsort(rows.open_time, kind="stable"))


def _overlap(a: Ints, b: Ints) -> bool:
    return bool(len(a) and len(b) and a.min() <= b.max() and b.min() <= a.max())


def _rescaled(bars: Bars, scales: Scales) -> Bars:
    factors = {name: 10 ** (scales.of(name) - bars.scales.of(name)) for name in COLUMNS}
    scaled = {name: getattr(bars, name) * factor for name, factor in factors.items() if factor != 1}
    return replace(bars.having(scaled), scales=scales)


def exact(column: pa.ChunkedArray, path: Path, name: str) -> tuple[Ints, int]:
    """A column as (integers, decimals): exact for integers and decimals, to 8 decimals for floats. Raises BadInput."""
    kind = column.type
    decimals = _decimals(kind)
    try:
        if pa.types.is_timestamp(kind):
            column = column.cast(pa.timestamp("ms"))
        if pa.types.is_floating(kind):
            column = pc.round(column, ndigits=_FLOAT_DECIMALS).cast(pa.decimal128(38, _FLOAT_DECIMALS))
        if pa.types.is_decimal(column.type):
            values = _unscaled(column)
        else:
            values = np.asarray(column.cast(pa.int64()).combine_chunks())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OverflowError) as error:
        raise BadInput(f"recording {path}: column {name} of type {kind}: {error}; use integers or decimals") from error
    if column.null_count:
        raise BadInput(f"recording {path}: column {name} has {column.null_count} empty values; drop those rows")
    return values.astype(np.int64), decimals


def _decimals(kind: pa.DataType) -> int:
    if pa.types.is_decimal(kind):
        return int(kind.scale)
    return _FLOAT_DECIMALS if pa.types.is_floating(kind) else 0


def _unscaled(column: pa.ChunkedArray) -> Ints:
    """The integers inside a decimal column, taken from its buffer: 16 little-endian bytes each, low word first."""
    wide = column.cast(pa.decimal128(38, column.type.scale)).combine_chunks()
    words: Ints = np.frombuffer(wide.buffers()[1], np.int64)[2 * wide.offset : 2 * (wide.offset + len(wide))]
    low, high = words[::2], words[1::2]
    if np.any(high != low >> 63):
        raise OverflowError("a value does not fit 63 bits")
    return np.asarray(low, np.int64)


def _at_scale(number: tuple[Ints, int], decimals: int) -> Ints:
    return np.asarray(number[0] * 10 ** (decimals - number[1]), np.int64)


def _product(a: Ints, a_decimals: int, b: Ints, b_decimals: int) -> tuple[Ints, int]:
    """a × b and its decimals, dropping digits of `a` where the product would pass 63 bits."""
    drop = 0
    while int(a.max(initial=0)) // 10**drop * int(b.max(initial=0)) >= _MOST and drop < a_decimals:
        drop += 1
    return a // 10**drop * b, a_decimals - drop + b_decimals


def _schema_scales(paths: list[Path]) -> Scales:
    price = volume = 0
    for path in paths:
        schema = _metadata(path).schema.to_arrow_schema()
        kinds = {name: schema.field(name).type for name in schema.names}
        price = max([price, *(_decimals(kinds[n]) for n in ("open", "high", "low", "close") if n in kinds)])
        volume = max(volume, _decimals(kinds["volume"]) if "volume" in kinds else 0)
    return Scales(price, volume, price + volume)


def _first_time(path: Path, column: str = "open_time") -> int:
    """The earliest time, from the file's statistics where it has them."""
    meta = _metadata(path)
    index = next((i for i, name in enumerate(meta.schema.names) if name == column), None)
    if index is None:
        raise BadInput(f"recording {path}: no column {column}; see how the sandbox describes its recordings")
    statistics = [meta.row_group(i).column(index).statistics for i in range(meta.num_row_groups)]
    if statistics and all(s is not None and s.has_min_max and isinstance(s.min, int) for s in statistics):
        return int(min(s.min for s in statistics))
    times, _ = exact(pq.ParquetFile(path).read(columns=[column])[column], path, column)
    return int(times.min(initial=_MOST))


def _metadata(path: Path) -> pq.FileMetaData:
    try:
        return pq.read_metadata(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise BadInput(f"recording {path}: not a readable parquet file ({error}); replace it") from error
