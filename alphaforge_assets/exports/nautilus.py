"""nautilus_trader's ParquetDataCatalog: `--out CATALOG`.

data/bar/<BarType>/<first>_<last>.parquet, such as data/bar/BTCUSDT.BINANCE-1-MINUTE-LAST-EXTERNAL/…. Prices and sizes
are fixed-point, 16 bytes of 10^-16 (the precision of nautilus_trader's wheels for Linux and macOS); how many decimals
count is in the metadata. `ts_event` and `ts_init` are the bar's close in nanoseconds, the moment it could be known: a
backtest on open times would see the future. Symbols are those of nautilus_trader's adapters.

Instrument definitions are not written: they carry fees and margins, which no public listing has.
Source: nautilus_trader 1.221, persistence/catalog/parquet.py and the schema it writes.
"""

from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from alphaforge_assets.errors import BadInput
from alphaforge_assets.exports import decimals
from alphaforge_assets.exports.series import File, Layout, Series, milliseconds, utc
from alphaforge_assets.intervals import INTERVAL_MS
from alphaforge_assets.venues.directory import VENUES
from alphaforge_assets.venues.venue import optional_number

STEPS = {"1m": "1-MINUTE", "5m": "5-MINUTE", "15m": "15-MINUTE", "1h": "1-HOUR", "4h": "4-HOUR", "1d": "1-DAY"}
PRICES = ("open", "high", "low", "close")


def instrument_id(series: Series) -> str:
    """`BTCUSDT-PERP.BINANCE`: the symbol as the adapter makes it of the venue's own name, and the exchange.

    Raises BadInput while that name is not known.
    """
    name = series.listing.get("venue_symbol")
    if not name:
        raise BadInput(f"{series.instrument.key}: its venue's own name is not known; `alphaforge refresh` asks for it")
    one = series.instrument
    symbol = VENUES[one.venue].nautilus_symbol.format(id=name, base=one.base, quote=one.quote)
    return f"{symbol}.{series.known_as.upper()}"


def files(series: Series) -> list[File]:
    """The one file of bars."""
    if series.bars.empty:
        return []
    bar_type = f"{instrument_id(series)}-{STEPS[series.interval]}-LAST-EXTERNAL"
    closes = milliseconds(series.bars) + INTERVAL_MS[series.interval]
    name = f"{moment(int(closes[0]))}_{moment(int(closes[-1]))}.parquet"

    def write(to: Path) -> None:
        pq.write_table(_table(series, bar_type, closes * 1_000_000), to)

    folder = bar_type.replace("/", "")  # as nautilus_trader makes a path of an identifier
    return [File(PurePosixPath("data", "bar", folder, name), len(series.bars), write, is_alone=True)]


def _table(series: Series, bar_type: str, closes_ns: "np.typing.NDArray[np.int64]") -> pa.Table:
    bars = series.bars
    prices = {name: bars[name].to_numpy("float64") for name in PRICES}
    volume = bars["volume"].to_numpy("float64")
    tick, lot = (step_places(series.listing.get(name)) for name in ("tick_size", "lot_size"))
    price_places = decimals.places(np.concatenate(list(prices.values())), tick)
    size_places = decimals.places(volume, 0 if series.instrument.is_perpetual else lot)  # a lot may be contracts
    columns = [decimals.fixed_point(values, price_places) for values in prices.values()]
    columns.append(decimals.fixed_point(volume, size_places))
    times = pa.array(closes_ns.astype(np.uint64))
    raw = pa.binary(16)
    fields = [pa.field(name, raw, nullable=False) for name in (*PRICES, "volume")]
    fields += [pa.field(name, pa.uint64(), nullable=False) for name in ("ts_event", "ts_init")]
    metadata = {
        "bar_type": bar_type,
        "instrument_id": instrument_id(series),
        "price_precision": str(price_places),
        "size_precision": str(size_places),
    }
    return pa.table([*columns, times, times], schema=pa.schema(fields, metadata=metadata))


def step_places(step: object) -> int:
    """0.01 -> 2"""
    size = optional_number(step)
    return decimals.places(np.array([size])) if size else 0


def moment(ms: int) -> str:
    """A time as its files are named by."""
    return f"{utc(ms):%Y-%m-%dT%H-%M-%S}-{ms % 1000:03d}000000Z"


LAYOUT = Layout(
    "nautilus",
    files,
    "Give --out the catalog's folder. Bars are stamped with their close; instruments come from nautilus's adapters.",
)
