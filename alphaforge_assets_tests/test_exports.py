"""The files of an export, byte by byte where it matters, without the tools that read them (see test_exports_tools)."""

import datetime as dt
import json
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphaforge_assets.errors import BadInput, Permanent
from alphaforge_assets.exports import decimals, freqtrade, lean, nautilus, tables
from alphaforge_assets.exports.export import LAYOUTS, MANIFEST, Order, check, export
from alphaforge_assets.exports.series import File, Layout, Series
from alphaforge_assets.research.receipts import METADATA
from alphaforge_assets.universe import Instrument, load_universe

UNIVERSE = load_universe()
SPOT = UNIVERSE.instrument("binance_spot.BTC-USDT")
PERP = UNIVERSE.instrument("bybit_perp.BTC-USDT")
START, END = dt.datetime(2025, 5, 1, tzinfo=dt.UTC), dt.datetime(2025, 5, 3, tzinfo=dt.UTC)
LISTING = {"venue_symbol": "BTCUSDT", "tick_size": 0.01, "lot_size": 0.00001}


def bars(times: list[str], **columns: Any) -> pd.DataFrame:
    index = pd.DatetimeIndex(times, tz="UTC", name="timestamp").as_unit("ms")
    given = {"open": 94123.45, "high": 94200.0, "low": 94000.1, "close": 94150.07, "volume": 12.34567} | columns
    return pd.DataFrame({name: np.full(len(index), value) for name, value in given.items()}, index=index)


def series(frame: pd.DataFrame, instrument: Instrument = SPOT, interval: str = "1m", funding: Any = None) -> Series:
    return Series(instrument, interval, frame, funding, LISTING)


def written(file: File, tmp_path: Path) -> Path:
    path = tmp_path / file.path.name
    file.write(path)
    return path


class Reader:
    """A reader of frames at hand, as `Research` is asked."""

    def __init__(self, frames: dict[str, pd.DataFrame]) -> None:
        self.frames = frames

    def bars(self, key: str, interval: str, start: Any, end: Any, **options: Any) -> pd.DataFrame:
        return self.frames[key]

    def funding_rates(self, key: str, start: Any, end: Any, **options: Any) -> pd.DataFrame:
        return pd.DataFrame({"rate": []}, index=pd.DatetimeIndex([], tz="UTC"))

    def instruments(self, venue: str) -> pd.DataFrame:
        return pd.DataFrame([LISTING | {"key": key} for key in self.frames]).set_index("key")


def order(name: str, *instruments: Instrument, interval: str = "1m") -> Order:
    return Order(LAYOUTS[name], instruments or (SPOT,), interval, START, END, {})


MINUTES = ["2025-05-01 00:00", "2025-05-01 23:59", "2025-05-02 00:05"]


def test_lean_minutes_are_a_zip_a_day_with_milliseconds_of_the_day_and_no_header(tmp_path: Path) -> None:
    first, second = lean.files(series(bars(MINUTES)))
    assert str(first.path) == "crypto/binance/minute/btcusdt/20250501_trade.zip"
    assert str(second.path) == "crypto/binance/minute/btcusdt/20250502_trade.zip"
    with zipfile.ZipFile(written(first, tmp_path)) as archive:
        assert archive.namelist() == ["20250501_btcusdt_minute_trade.csv"]
        text = archive.read("20250501_btcusdt_minute_trade.csv").decode()
    assert text == ("0,94123.45,94200,94000.1,94150.07,12.34567\n86340000,94123.45,94200,94000.1,94150.07,12.34567\n")


def test_lean_hours_and_days_are_one_zip_with_dates_and_perpetuals_are_cryptofuture(tmp_path: Path) -> None:
    (file,) = lean.files(series(bars(["2025-05-01 13:00"]), PERP, "1h"))
    assert str(file.path) == "cryptofuture/bybit/hour/btcusdt_trade.zip"
    with zipfile.ZipFile(written(file, tmp_path)) as archive:
        assert archive.read("btcusdt.csv").decode() == "20250501 13:00,94123.45,94200,94000.1,94150.07,12.34567\n"
    (daily,) = lean.files(series(bars(["2025-05-01"]), SPOT, "1d"))
    assert str(daily.path) == "crypto/binance/daily/btcusdt_trade.zip"
    assert lean.files(series(bars([]))) == []


def test_lean_writes_tiny_numbers_without_an_exponent(tmp_path: Path) -> None:
    (file,) = lean.files(series(bars(["2025-05-01"], open=1e-7, volume=123456789.0), SPOT, "1d"))
    with zipfile.ZipFile(written(file, tmp_path)) as archive:
        assert archive.read("btcusdt.csv").decode().split(",")[1::4] == ["0.0000001", "123456789\n"]


def test_the_same_bars_are_the_same_bytes(tmp_path: Path) -> None:
    for layout in (known for name, known in LAYOUTS.items() if name != "parquet"):  # that one is `to_parquet`
        data = []
        for folder in (tmp_path / f"{layout.name}-a", tmp_path / f"{layout.name}-b"):
            folder.mkdir()
            data.append([written(file, folder).read_bytes() for file in layout.files(series(bars(MINUTES)))])
        assert data[0] == data[1] != []


def test_freqtrade_files_are_named_and_typed_as_its_feather_handler_does(tmp_path: Path) -> None:
    (spot,) = freqtrade.files(series(bars(MINUTES)))
    assert str(spot.path) == "binance/BTC_USDT-1m.feather"
    table = pyarrow.feather.read_table(written(spot, tmp_path))
    assert table.column_names == ["date", "open", "high", "low", "close", "volume"]
    assert table.schema.types == [pa.timestamp("ms", "UTC"), *[pa.float64()] * 5]
    assert len(table) == 3  # nothing is filled
    times = pd.DatetimeIndex(["2025-05-01 00:00", "2025-05-01 08:00", "2025-05-01 08:00"], tz="UTC")
    funding = pd.DataFrame({"rate": [0.0001, 0.0002, 0.0003]}, index=times)
    futures, rates = freqtrade.files(series(bars(MINUTES), PERP, funding=funding))
    assert str(futures.path) == "bybit/futures/BTC_USDT_USDT-1m-futures.feather"
    assert str(rates.path) == "bybit/futures/BTC_USDT_USDT-1h-funding_rate.feather"
    assert pyarrow.feather.read_table(written(rates, tmp_path))["open"].to_pylist() == pytest.approx([0.0001, 0.0005])


def test_nautilus_bars_are_fixed_point_and_stamped_with_their_close(tmp_path: Path) -> None:
    (file,) = nautilus.files(series(bars(MINUTES)))
    assert str(file.path) == (
        "data/bar/BTCUSDT.BINANCE-1-MINUTE-LAST-EXTERNAL/"
        "2025-05-01T00-01-00-000000000Z_2025-05-02T00-06-00-000000000Z.parquet"
    )
    table = pq.read_table(written(file, tmp_path))
    assert table.column_names == ["open", "high", "low", "close", "volume", "ts_event", "ts_init"]
    assert table.schema.metadata == {
        b"bar_type": b"BTCUSDT.BINANCE-1-MINUTE-LAST-EXTERNAL",
        b"instrument_id": b"BTCUSDT.BINANCE",
        b"price_precision": b"2",
        b"size_precision": b"5",
    }
    assert int.from_bytes(table["open"][0].as_py(), "little") == 9412345 * 10**14
    assert int.from_bytes(table["volume"][0].as_py(), "little") == 1234567 * 10**11
    assert table["ts_event"][0].as_py() == 1746057660 * 10**9
    assert table["ts_init"] == table["ts_event"]


def test_nautilus_keeps_more_decimals_than_todays_tick_where_the_data_has_them(tmp_path: Path) -> None:
    (file,) = nautilus.files(series(bars(["2025-05-01"], low=93999.1234)))
    assert pq.read_table(written(file, tmp_path)).schema.metadata[b"price_precision"] == b"4"


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("binance_perp.BTC-USDT", "BTCUSDT-PERP.BINANCE"),
        ("bybit_spot.BTC-USDT", "BTCUSDT-SPOT.BYBIT"),
        ("bybit_perp.BTC-USDT", "BTCUSDT-LINEAR.BYBIT"),
        ("okx_spot.BTC-USDT", "BTCUSDT.OKX"),
    ],
)
def test_nautilus_symbols_are_those_of_its_adapters(key: str, expected: str) -> None:
    assert nautilus.instrument_id(series(bars(MINUTES), UNIVERSE.instrument(key))) == expected


@given(st.lists(st.tuples(st.integers(0, 10**11), st.integers(0, 4)), min_size=1, max_size=30))
def test_decimals_say_every_value_that_a_venue_wrote_exactly(pairs: list[tuple[int, int]]) -> None:
    values = np.array([float(f"{whole}e-{places}") for whole, places in pairs])
    texts = decimals.texts(values).to_pylist()
    assert [float(text) for text in texts] == values.tolist()
    assert not any("e" in text.lower() for text in texts)
    count = decimals.places(values)
    raw = decimals.fixed_point(values, count).to_pylist()
    assert [int.from_bytes(r, "little") / 10**16 for r in raw] == values.tolist()


def test_csv_has_a_header_plain_numbers_and_nothing_for_what_is_not_known(tmp_path: Path) -> None:
    frame = bars(MINUTES[:1], quote_volume=np.nan).assign(trade_count=pd.array([None], dtype="Int64"), source="rest")
    path = tmp_path / "bars.csv"
    tables.write_csv(frame, str(path))
    assert path.read_text() == (
        "timestamp,open,high,low,close,volume,quote_volume,trade_count,source\n"
        "2025-05-01T00:00:00.000Z,94123.45,94200,94000.1,94150.07,12.34567,,,rest\n"
    )


def test_feather_carries_the_receipt(tmp_path: Path) -> None:
    frame = bars(MINUTES)
    frame.attrs["receipt"] = {"rows": 3, "as_of": dt.datetime(2025, 5, 3, tzinfo=dt.UTC)}
    tables.write_feather(frame, tmp_path / "bars.feather")
    told = json.loads(pyarrow.feather.read_table(tmp_path / "bars.feather").schema.metadata[METADATA])
    assert told == {"rows": 3, "as_of": "2025-05-03T00:00:00+00:00"}


def test_an_export_can_be_repeated_and_its_manifest_names_every_file(tmp_path: Path) -> None:
    reader: Any = Reader({SPOT.key: bars(MINUTES), PERP.key: bars([])})
    for _ in range(2):
        done = export(reader, order("lean", SPOT, PERP), tmp_path)
        assert (done.files, done.rows, done.empty) == (2, 3, (PERP.key,))
    (said,) = json.loads((tmp_path / MANIFEST).read_text())["exports"]
    found = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()} - {MANIFEST}
    assert set(said["files"]) == found
    assert export(reader, order("csv", SPOT), tmp_path).files == 1
    both = json.loads((tmp_path / MANIFEST).read_text())["exports"]
    assert [e["format"] for e in both] == ["lean", "csv"]
    reader.frames[SPOT.key] = bars(MINUTES[:1])  # ours may be renewed
    assert export(reader, order("csv", SPOT), tmp_path).rows == 1


def test_a_file_that_is_not_ours_stays_and_nothing_else_is_written(tmp_path: Path) -> None:
    reader: Any = Reader({SPOT.key: bars(MINUTES)})
    foreign = tmp_path / "crypto/binance/minute/btcusdt/20250502_trade.zip"
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"mine")
    with pytest.raises(BadInput, match=r"20250502_trade\.zip is there and was not written by an export"):
        export(reader, order("lean"), tmp_path)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [foreign]
    assert foreign.read_bytes() == b"mine"


def test_two_files_of_a_series_never_meet_in_a_catalog(tmp_path: Path) -> None:
    reader: Any = Reader({SPOT.key: bars(MINUTES)})
    export(reader, order("nautilus"), tmp_path)
    reader.frames[SPOT.key] = bars(MINUTES[:2])
    with pytest.raises(BadInput, match="would be read together"):
        export(reader, order("nautilus"), tmp_path)


def test_an_export_without_a_bar_or_with_an_unknown_manifest_leaves_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(BadInput, match="no 1m bars of these instruments"):
        export(Reader({SPOT.key: bars([])}), order("csv"), out)  # type: ignore[arg-type]
    assert list(out.iterdir()) == []
    (out / MANIFEST).write_text("[]")
    with pytest.raises(BadInput, match="is not a manifest of an export"):
        check(order("csv"), out)
    with pytest.raises(BadInput, match="lean keeps 1m, 1h, 1d"):
        check(order("lean", interval="4h"), tmp_path / "other")


def test_a_writer_that_fails_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    def fails(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    layout = Layout("broken", lambda s: [*lean.files(s), File(PurePosixPath("x"), 1, fails)], "")
    broken = Order(layout, (SPOT,), "1m", START, END, {})
    with pytest.raises(Permanent, match="No space left on device"):
        export(Reader({SPOT.key: bars(MINUTES)}), broken, tmp_path / "out")  # type: ignore[arg-type]
    assert list((tmp_path / "out").iterdir()) == []
