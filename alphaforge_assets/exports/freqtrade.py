"""freqtrade's data folder (feather): `--out user_data/data`.

<exchange>/BTC_USDT-1m.feather, and of perpetuals <exchange>/futures/BTC_USDT_USDT-1m-futures.feather. Columns date
(ms, UTC, open time), open, high, low, close, volume (base), as freqtrade's own feather handler writes them, lz4.

Funding goes to futures/BTC_USDT_USDT-1h-funding_rate.feather, on the hours of settlement, the rate in `open`: the form
of all versions; 2026.9 has a column of its own for it and reads this one as well. Mark prices are not kept here, so
there are no -mark files: freqtrade wants them for funding fees, `freqtrade download-data` brings them.
Source: freqtrade 2026.9, data/history/datahandlers.
"""

import datetime as dt
from pathlib import Path, PurePosixPath

import pandas as pd
import pyarrow as pa
import pyarrow.feather

from alphaforge_assets.exports.series import File, Layout, Series

COLUMNS = ["open", "high", "low", "close", "volume"]
FUNDING_INTERVAL = "1h"


def files(series: Series) -> list[File]:
    """The file of bars, and that of funding rates where there are any."""
    pair = series.instrument.ccxt_symbol.replace("/", "_").replace(":", "_")
    folder = PurePosixPath(series.exchange)
    if not series.instrument.is_perpetual:
        return [_file(folder / f"{pair}-{series.interval}.feather", series.bars[COLUMNS])]
    made = [_file(folder / "futures" / f"{pair}-{series.interval}-futures.feather", series.bars[COLUMNS])]
    if series.funding is not None and len(series.funding):
        made.append(
            _file(folder / "futures" / f"{pair}-{FUNDING_INTERVAL}-funding_rate.feather", _rates(series.funding))
        )
    return made


def _rates(funding: pd.DataFrame) -> pd.DataFrame:
    """Settled rates as candles. Two settlements of one time add up: both were paid."""
    rates = funding["rate"].dropna()
    summed = rates.groupby(rates.index).sum().to_frame("open")
    return summed.assign(high=0.0, low=0.0, close=0.0, volume=0.0)


def _file(path: PurePosixPath, frame: pd.DataFrame) -> File:
    def write(to: Path) -> None:
        times = pa.array(frame.index.tz_convert(dt.UTC)).cast(pa.timestamp("ms", "UTC"))  # type: ignore[attr-defined]
        columns = {"date": times} | {name: pa.array(frame[name].to_numpy("float64")) for name in COLUMNS}
        pyarrow.feather.write_feather(pa.table(columns), str(to), compression="lz4", compression_level=9)

    return File(path, len(frame), write)


LAYOUT = Layout(
    "freqtrade",
    files,
    "Give --out user_data/data. freqtrade fills gaps with flat bars when it loads them; the files have none.",
)
