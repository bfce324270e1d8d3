"""Columns as a file has them -> columns as the pipeline has them, and which rows cannot be read.

Kernels over whole columns. A number is the nearest float to what is written, also of a Parquet decimal, which Arrow's
own cast is not. An empty value is NULL: the pipeline's rules say whether it may be.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from alphaforge_assets.ingest.mapping import Unit
from alphaforge_assets.venues.columns import TIME_MS_MAX, TIME_MS_MIN

_NUMBER = r"^\s*[+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[nN][aA][nN]|[iI]nf|[iI]nfinity|inf|infinity)\s*$"
_WHOLE = r"^\s*[+-]?\d{1,18}\s*$"
_ZONE = r"([zZ]|[+-]\d\d:?\d\d)\s*$"
PER_MS: Mapping[str, float] = {"s": 0.001, "ms": 1.0, "us": 1e3, "ns": 1e6}
UNITS: tuple[Unit, ...] = ("s", "ms", "us", "ns")
TIME_US = pa.timestamp("us", "UTC")


@dataclass(frozen=True)
class Values:
    """A column, NULL where `bad` is true: what stands there cannot be read."""

    column: pa.Array
    bad: pa.Array | None = None


def numbers(column: pa.Array) -> Values:
    """float64."""
    kind = column.type
    if pa.types.is_decimal(kind):
        return Values(column.cast(pa.string()).cast(pa.float64()))
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return Values(column.cast(pa.float64(), safe=False))
    return _read(column, _NUMBER, lambda texts: texts.cast(pa.float64()))


def wholes(column: pa.Array) -> Values:
    """int64, of 0 or more. A float that is whole counts."""
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        floats = column.cast(pa.float64(), safe=False)
        fits = pc.and_(
            pc.and_(pc.greater_equal(floats, 0), pc.less(floats, 2.0**63)), pc.equal(floats, pc.floor(floats))
        )
        bad = pc.invert(pc.fill_null(fits, True))
        found = Values(_null(column, bad).cast(pa.int64()), bad)
    else:
        found = _read(column, _WHOLE, lambda texts: texts.cast(pa.int64()))
    negative = pc.fill_null(pc.less(found.column, 0), False)
    return Values(_null(found.column, negative), _either(found.bad, negative))


def words(column: pa.Array) -> pa.Array:
    """Texts: true and false for flags, digits for whole numbers."""
    return column.cast(pa.string())


def named(column: pa.Array, names: Callable[[str], str | None]) -> Values:
    """What `names` makes of each word; it is asked once a word. NULL is no word."""
    encoded = words(column).dictionary_encode()
    meant = pa.array([names(word) for word in encoded.dictionary.to_pylist()], pa.string())
    found = meant.take(encoded.indices)
    return Values(found, pc.is_null(found))


def times(column: pa.Array, unit: Unit) -> Values:
    """Microseconds since 1970, int64; finer ones are cut. Bad is also what is before 2009 or after 2099, or nothing."""
    kind = column.type
    if pa.types.is_timestamp(kind):
        found = Values(_micros(column) if unit == "iso" else pa.nulls(len(column), pa.int64()))
    elif unit == "iso":
        found = _iso(column)
    else:
        found = _counted(column, unit)
    low, high = TIME_MS_MIN * 1000, TIME_MS_MAX * 1000
    inside = pc.and_(pc.greater_equal(found.column, low), pc.less(found.column, high))
    bad = pc.invert(pc.fill_null(inside, False))
    return Values(_null(found.column, bad), bad)


def better_unit(column: pa.Array, row: int, unit: Unit) -> str:
    """What unit a time of a file may be in, by its size, if it is none of the one that was said; else ""."""
    if pa.types.is_timestamp(column.type):
        return "iso" if unit != "iso" else ""
    value = numbers(column.slice(row, 1)).column[0].as_py()
    if value is None:
        return "iso" if unit != "iso" and _iso(words(column.slice(row, 1))).column[0].is_valid else ""
    fitting = (u for u in UNITS if TIME_MS_MIN * PER_MS[u] <= value < TIME_MS_MAX * PER_MS[u])
    return next((u for u in fitting if u != unit), "")


def _counted(column: pa.Array, unit: Unit) -> Values:
    """Whole units exactly; parts of seconds and milliseconds to the nearest microsecond, which a float64 holds."""
    whole = wholes(column)
    if not pc.any(whole.bad).as_py():
        per = {"s": 1_000_000, "ms": 1000, "us": 1}.get(unit)
        try:
            return Values(pc.multiply_checked(whole.column, per) if per else pc.divide(whole.column, 1000), whole.bad)
        except pa.ArrowInvalid:  # beyond 64 bits: no time
            return Values(pa.nulls(len(column), pa.int64()))
    found = numbers(column)
    if unit in ("us", "ns"):
        return Values(pc.if_else(whole.bad, None, pc.divide(whole.column, 1 if unit == "us" else 1000)), whole.bad)
    micros = pc.round(pc.multiply(found.column, 1e6 if unit == "s" else 1e3))
    sane = pc.fill_null(pc.less(pc.abs(micros), 2.0**62), False)
    return Values(pc.if_else(sane, micros, None).cast(pa.int64()), pc.invert(sane))


def _iso(column: pa.Array) -> Values:
    if not pa.types.is_string(column.type):
        return Values(pa.nulls(len(column), pa.int64()), pa.repeat(pa.scalar(True), len(column)))
    zoned = pc.match_substring_regex(column, _ZONE)
    texts = pc.if_else(zoned, column, pc.binary_join_element_wise(column, "Z", ""))  # without a zone: UTC
    try:
        return Values(_micros(texts.cast(pa.timestamp("ns", "UTC"))), pc.is_null(column))
    except pa.ArrowInvalid:
        # A day alone takes no zone, and some are no times at all: one by one, of each text once.
        return _each(column)


def _each(column: pa.Array) -> Values:
    encoded = column.dictionary_encode()
    found = pa.array([_one_iso(text) for text in encoded.dictionary.to_pylist()], pa.int64()).take(encoded.indices)
    return Values(found, pc.is_null(found))


def _one_iso(text: str) -> int | None:
    for form in (pa.timestamp("ns", "UTC"), pa.timestamp("ns")):
        try:
            return int(pa.scalar(text).cast(form).value) // 1000
        except pa.ArrowInvalid:
            continue
    return None


def _micros(column: pa.Array) -> pa.Array:
    per = {"s": 1_000_000, "ms": 1000, "us": 1}.get(column.type.unit)
    counts = column.view(pa.int64())
    return pc.multiply(counts, per) if per else pc.divide(counts, 1000)


def _read(column: pa.Array, pattern: str, cast: Callable[[pa.Array], pa.Array]) -> Values:
    """Texts by a cast; where that fails, without those that `pattern` does not fit."""
    if not pa.types.is_string(column.type):
        bad = pc.is_valid(column)
        return Values(cast(pa.nulls(len(column), pa.string())), bad)
    try:
        return Values(cast(column), pa.repeat(pa.scalar(False), len(column)))
    except pa.ArrowInvalid:
        bad = pc.invert(pc.fill_null(pc.match_substring_regex(column, pattern), True))
        return Values(cast(pc.utf8_trim_whitespace(_null(column, bad))), bad)


def _null(column: pa.Array, bad: pa.Array) -> pa.Array:
    return pc.if_else(bad, pa.scalar(None, column.type), column)


def _either(one: pa.Array | None, other: pa.Array) -> pa.Array:
    return other if one is None else pc.or_(one, other)
