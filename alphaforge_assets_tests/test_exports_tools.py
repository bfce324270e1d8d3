"""Exports opened by the tools they are for, in an environment of the tools' own: `make test-exports`."""

import datetime as dt
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from alphaforge_assets.exports.export import LAYOUTS, Order, export
from alphaforge_assets.universe import load_universe

pytestmark = pytest.mark.tools

UNIVERSE = load_universe()
KEYS = ("binance_spot.BTC-USDT", "binance_perp.BTC-USDT")
START, END = dt.datetime(2025, 5, 1, tzinfo=dt.UTC), dt.datetime(2025, 5, 3, tzinfo=dt.UTC)

FREQTRADE = """
import json, sys
from pathlib import Path
from freqtrade.data.history.datahandlers import get_datahandler
from freqtrade.enums import CandleType, TradingMode
folder = Path(sys.argv[1]) / "binance"
handler = get_datahandler(folder, "feather")
spot = handler.ohlcv_load("BTC/USDT", "1m", CandleType.SPOT, fill_missing=False, drop_incomplete=False)
perp = handler.ohlcv_load("BTC/USDT:USDT", "1m", CandleType.FUTURES, fill_missing=False, drop_incomplete=False)
rates = handler.ohlcv_load("BTC/USDT:USDT", "1h", CandleType.FUNDING_RATE, fill_missing=False, drop_incomplete=False)
found = sorted(map(str, handler.ohlcv_get_available_data(folder, TradingMode.SPOT)))
print("ANSWER" + json.dumps({
    "available": found, "spot": spot[["open", "high", "low", "close", "volume"]].to_numpy().tolist(),
    "dates": [d.isoformat() for d in spot["date"]], "perp": len(perp), "rates": rates["open"].tolist(),
    "rate_dates": [d.isoformat() for d in rates["date"]]}))
"""

NAUTILUS = """
import json, sys
from nautilus_trader.persistence.catalog import ParquetDataCatalog
from nautilus_trader.model.data import Bar
catalog = ParquetDataCatalog(sys.argv[1])
types = sorted({str(b.bar_type) for b in catalog.bars()})
wanted = ["BTCUSDT.BINANCE-1-MINUTE-LAST-EXTERNAL"]
bars = catalog.bars(bar_types=wanted)
part = catalog.bars(bar_types=wanted, start="2025-05-01T00:10:00Z", end="2025-05-01T00:20:00Z")
texts = [[str(b.open), str(b.high), str(b.low), str(b.close), str(b.volume)] for b in bars]
times = [b.ts_event for b in bars]
print("ANSWER" + json.dumps({"types": types, "texts": texts, "times": times, "part": len(part)}))
"""


@pytest.fixture(scope="module")
def tools() -> str:
    """The Python that has freqtrade and nautilus_trader. Skips where none is named."""
    python = os.environ.get("ALPHAFORGE_TOOLS_PYTHON")
    if not python:
        pytest.skip("no tools: `make test-exports` installs them")
    return str(Path(python).absolute())


def asked(tools: str, script: str, folder: Path) -> Any:
    done = subprocess.run(
        [tools, "-c", script, str(folder)], capture_output=True, text=True, timeout=240, cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.rpartition("ANSWER")[2])


class Reader:
    """A day and a half of minutes with a hole of an hour, prices of two decimals."""

    def bars(self, key: str, interval: str, start: Any, end: Any) -> pd.DataFrame:
        index = pd.date_range(START, periods=2000, freq="1min", name="timestamp").as_unit("ms")
        cents = 9_412_345 + np.cumsum(np.random.default_rng(1).integers(-300, 300, len(index)))
        close = cents / 100
        frame = pd.DataFrame({"open": close, "high": close + 1.5, "low": close - 1.25, "close": close}, index=index)
        frame["volume"] = np.random.default_rng(2).integers(1, 10**7, len(index)) / 10**5
        return frame.drop(frame.index[600:660])

    def funding_rates(self, key: str, start: Any, end: Any) -> pd.DataFrame:
        times = pd.date_range(START, periods=5, freq="8h").as_unit("ms")
        return pd.DataFrame({"rate": [0.0001, -0.0002, 0.0003, 0.00001, 0.0]}, index=times)

    def instruments(self, venue: str) -> pd.DataFrame:
        listing = {"venue_symbol": "BTCUSDT", "tick_size": 0.01, "lot_size": 0.00001}
        return pd.DataFrame([listing for _ in KEYS], index=list(KEYS))


def exported(name: str, folder: Path) -> pd.DataFrame:
    instruments = tuple(UNIVERSE.instrument(key) for key in KEYS)
    export(Reader(), Order(LAYOUTS[name], instruments, "1m", START, END, {}), folder)  # type: ignore[arg-type]
    return Reader().bars(KEYS[0], "1m", START, END)


def test_freqtrade_reads_the_very_bars_and_funding_rates(tools: str, tmp_path: Path) -> None:
    bars = exported("freqtrade", tmp_path / "data")
    said = asked(tools, FREQTRADE, tmp_path / "data")
    assert len(said["available"]) == 1
    assert said["spot"] == bars[["open", "high", "low", "close", "volume"]].to_numpy().tolist()
    assert [pd.Timestamp(d) for d in said["dates"]] == list(bars.index)
    assert said["perp"] == len(bars) == 1940
    assert said["rates"] == [0.0001, -0.0002, 0.0003, 0.00001, 0.0]
    assert [pd.Timestamp(d).hour for d in said["rate_dates"]] == [0, 8, 16, 0, 8]


def test_nautilus_reads_the_very_bars_at_their_close(tools: str, tmp_path: Path) -> None:
    bars = exported("nautilus", tmp_path / "catalog")
    said = asked(tools, NAUTILUS, tmp_path / "catalog")
    assert said["types"] == [
        "BTCUSDT-PERP.BINANCE-1-MINUTE-LAST-EXTERNAL", "BTCUSDT.BINANCE-1-MINUTE-LAST-EXTERNAL"
    ]  # fmt: skip
    places = (2, 2, 2, 2, 5)
    expected = [[f"{v:.{p}f}" for v, p in zip(row, places, strict=True)] for row in bars.to_numpy()]
    assert said["texts"] == expected
    closes = (bars.index + pd.Timedelta(minutes=1)).as_unit("ns").astype("int64")
    assert said["times"] == closes.tolist()
    assert said["part"] == 11
