"""Columns of integers to rows of JSON text, without a Python loop over rows.

Every row is laid out as fixed-width digits in one byte matrix; a mask then drops the leading zeros (and, where a venue
does, the trailing ones), and what is left is the text. About 1 µs a row of eleven fields.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alphaforge_assets.sandbox.bars import Ints

_DIGITS = 19
_POWERS = 10 ** np.arange(_DIGITS, dtype=np.int64)
_FOUR = np.frombuffer(
    b"".join(b"%04d" % n for n in range(10_000)), dtype=np.uint32
)  # "0000" .. "9999" as one word each


@dataclass(frozen=True)
class Column:
    """Numbers to print: `values` of `decimals`; `shown` pads zeros to that many, `plain` drops trailing zeros."""

    values: Ints
    decimals: int = 0
    shown: int = 0
    plain: bool = False


@dataclass(frozen=True)
class Flag:
    """Truths to print: the word of what is not, and of what is."""

    values: npt.NDArray[np.bool_]
    words: tuple[bytes, bytes] = (b"false", b"true")


@dataclass(frozen=True)
class Text:
    """n rows of text: row i is `data[offsets[i]:offsets[i+1]]`."""

    data: memoryview
    offsets: Ints

    def rows(self, start: int, stop: int) -> memoryview:
        return self.data[self.offsets[start] : self.offsets[stop]]


def render(
    columns: Sequence[Column | Flag], separators: Sequence[bytes], told: npt.NDArray[np.bool_] | None = None
) -> Text:
    """Rows `sep[0] col[0] sep[1] col[1] … sep[-1]`; needs len(columns) + 1 separators. Those not `told` are empty."""
    n = len(columns[0].values)
    pieces: list[npt.NDArray[np.uint8]] = [_literal(separators[0])]
    masks: list[npt.NDArray[np.bool_] | None] = [None]
    for column, separator in zip(columns, separators[1:], strict=True):
        digits, kept = _number(column) if isinstance(column, Column) else _truth(column)
        padding = _padding(column) if isinstance(column, Column) else b""
        pieces += [digits, _literal(padding + separator)]
        masks += [kept, None]
    width = sum(piece.shape[-1] for piece in pieces)
    matrix = np.empty((n, width), np.uint8)
    keep = np.ones((n, width), np.bool_)
    at = 0
    for piece, mask in zip(pieces, masks, strict=True):
        matrix[:, at : at + piece.shape[-1]] = piece
        if mask is not None:
            keep[:, at : at + piece.shape[-1]] = mask
        at += piece.shape[-1]
    if told is not None:
        keep &= told[:, None]
    offsets = np.zeros(n + 1, np.int64)
    np.cumsum(keep.sum(axis=1), out=offsets[1:])
    return Text(memoryview(matrix[keep].tobytes()), offsets)


def texts(column: Column) -> list[str]:
    """Each number as a text, for rows that need words between them."""
    return bytes(render([column], [b"", b"\n"]).data).decode().split()


def _truth(flag: Flag) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """Bytes (n, width of the longer word), and which of them to keep."""
    width, which = max(map(len, flag.words)), flag.values.astype(np.intp)
    words = np.stack([_literal(word.ljust(width)) for word in flag.words])
    return words[which], np.arange(width) < np.array(list(map(len, flag.words)))[which, None]


def _literal(text: bytes) -> npt.NDArray[np.uint8]:
    return np.frombuffer(text, np.uint8)


def _padding(column: Column) -> bytes:
    zeros = b"0" * max(0, column.shown - column.decimals)
    return b"." + zeros if zeros and not column.decimals else zeros


def _number(column: Column) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """Bytes (n, width) of sign, digits and point, and which of them to keep."""
    values, decimals = column.values, column.decimals
    magnitude = np.abs(values)
    count = np.maximum(np.searchsorted(_POWERS, magnitude, side="right"), decimals + 1)
    groups = -(-int(count.max(initial=1)) // 4)
    words = np.empty((len(values), groups), np.uint32)
    rest = magnitude
    for position in range(groups - 1, -1, -1):
        quotient = rest // 10_000  # four times as fast as divmod, whose division is not vectorised
        words[:, position] = _FOUR[rest - quotient * 10_000]
        rest = quotient
    digits = words.view(np.uint8)
    width = groups * 4
    kept = np.arange(width) >= (width - count)[:, None]
    whole = width - decimals
    sign = np.full((len(values), 1), ord("-"), np.uint8)
    negative = (values < 0)[:, None]
    if not decimals:
        return np.hstack([sign, digits]), np.hstack([negative, kept])
    point = np.full((len(values), 1), ord("."), np.uint8)
    fraction = kept[:, whole:]
    if column.plain:
        nonzero = digits[:, whole:] != ord("0")
        fraction = np.logical_or.accumulate(nonzero[:, ::-1], axis=1)[:, ::-1]
    has_point = fraction[:, :1] if column.plain else np.ones((len(values), 1), np.bool_)
    return (
        np.hstack([sign, digits[:, :whole], point, digits[:, whole:]]),
        np.hstack([negative, kept[:, :whole], has_point, fraction]),
    )
