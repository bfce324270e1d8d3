"""QuantConnect LEAN's data folder: `--out Data`.

crypto/<market>/minute/btcusdt/20250501_trade.zip, a zip a day, holding 20250501_btcusdt_minute_trade.csv with rows
`milliseconds of the day,open,high,low,close,volume`; crypto/<market>/hour/btcusdt_trade.zip and daily/…, holding
btcusdt.csv with rows `20250501 13:00,open,…`. Perpetuals are under cryptofuture/. Times are UTC open times, numbers
plain decimals, no header; minutes without a bar are absent, as in LEAN's own files.
Source: LEAN's Data/crypto/readme.md and LeanData.cs.
"""

import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alphaforge_assets.exports import decimals
from alphaforge_assets.exports.series import File, Layout, Series, milliseconds, utc
from alphaforge_assets.intervals import INTERVAL_MS

RESOLUTIONS = {"1m": "minute", "1h": "hour", "1d": "daily"}
COLUMNS = ("open", "high", "low", "close", "volume")
ZIPPED_AT = (1980, 1, 1, 0, 0, 0)  # the same rows are the same bytes
DAY_MS = INTERVAL_MS["1d"]


def files(series: Series) -> list[File]:
    """A file a day of minutes, one in all of hours or days."""
    if series.bars.empty:
        return []
    kind = "cryptofuture" if series.instrument.is_perpetual else "crypto"
    resolution = RESOLUTIONS[series.interval]
    symbol = series.instrument.symbol.replace("/", "").lower()
    folder = PurePosixPath(kind, series.known_as, resolution)
    times = milliseconds(series.bars)
    numbers = [decimals.texts(series.bars[name].to_numpy("float64")) for name in COLUMNS]
    if resolution != "minute":
        stamps = pc.strftime(pa.array(times, pa.timestamp("ms", "UTC")), "%Y%m%d %H:%M")
        return [_zip(folder / f"{symbol}_trade.zip", f"{symbol}.csv", [stamps, *numbers])]
    lines: list[Any] = [pa.array(times % DAY_MS).cast(pa.string()), *numbers]
    days, firsts = np.unique(times // DAY_MS, return_index=True)
    made = []
    for day, first, after in zip(days, firsts, [*firsts[1:], len(times)], strict=True):
        date = f"{utc(int(day) * DAY_MS):%Y%m%d}"
        part = [column.slice(int(first), int(after - first)) for column in lines]
        made.append(_zip(folder / symbol / f"{date}_trade.zip", f"{date}_{symbol}_minute_trade.csv", part))
    return made


def _zip(path: PurePosixPath, entry: str, columns: list[Any]) -> File:
    def write(to: Path) -> None:
        text = "\n".join(pc.binary_join_element_wise(*columns, ",").to_pylist()) + "\n"
        with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(zipfile.ZipInfo(entry, ZIPPED_AT), text, zipfile.ZIP_DEFLATED)

    return File(path, len(columns[0]), write)


LAYOUT = Layout(
    "lean",
    files,
    "Give --out LEAN's Data folder. LEAN fills forward by itself unless told not to; the files have no filled rows.",
    tuple(RESOLUTIONS),
)
