"""Float64 back into the decimals they were read from, exactly, by columns.

Venues send prices and sizes as decimal texts; a float64 holds the nearest binary number. The shortest decimal whose
nearest float64 is that number is what the venue wrote, as long as it has no more than 15 digits.
"""

import decimal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from alphaforge_assets.errors import BadInput

PLACES_MAX = 16  # nautilus_trader's FIXED_PRECISION in its wheels for Linux and macOS
_EXACT = float(2**53)


def places(values: npt.NDArray[np.float64], at_least: int = 0) -> int:
    """Decimals that say every value exactly, or as many as a float64 of this size can tell apart.

    Raises BadInput for values that are no numbers, or negative.
    """
    if not np.isfinite(values).all() or (values < 0).any():
        raise BadInput("a price or volume is no number or negative: `alphaforge gaps` and rejected_rows say more")
    largest = float(values.max()) if len(values) else 0.0
    for count in range(at_least, PLACES_MAX):
        if largest * 10.0 ** (count + 1) >= _EXACT or (np.rint(values * 10.0**count) / 10.0**count == values).all():
            return count
    return PLACES_MAX


def scaled(values: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.int64]:
    """Values as whole numbers of 10^-count."""
    return np.rint(values * 10.0**count).astype(np.int64)


def texts(values: npt.NDArray[np.float64]) -> pa.Array:
    """Values as plain decimal texts, never with an exponent; as many decimals as the column needs."""
    count = places(values)
    whole = scaled(values, count)
    if not count:
        return pa.array(whole).cast(pa.string())
    before = pa.array(whole // 10**count).cast(pa.string())
    after = pc.utf8_lpad(pa.array(whole % 10**count).cast(pa.string()), count, "0")
    return pc.binary_join_element_wise(before, after, ".")


def fixed_point(values: npt.NDArray[np.float64], count: int) -> pa.Array:
    """Values as 16 bytes each: a little-endian whole number of 10^-16, rounded to `count` decimals."""
    whole = pa.array(scaled(values, count)).cast(pa.decimal128(19, 0))
    product = pc.multiply(whole, pa.scalar(decimal.Decimal(10 ** (PLACES_MAX - count)), pa.decimal128(18, 0)))
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(product), [None, product.buffers()[1]])
