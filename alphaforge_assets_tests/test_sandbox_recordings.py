"""Recordings played back: value for value, holes and all, whatever the folder holds."""

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests

from alphaforge_assets.errors import BadInput
from alphaforge_assets.sandbox.bars import Interval
from alphaforge_assets.sandbox.directory import PLACES
from alphaforge_assets.sandbox.process import start
from alphaforge_assets.sandbox.recordings import Recordings

MINUTE, HOUR = 60_000, 3_600_000
START = int(dt.datetime(2024, 3, 1, tzinfo=dt.UTC).timestamp() * 1000)
OHLC = ("open", "high", "low", "close")
CENTS = pa.decimal128(18, 2)


def write(root: Path, where: str, times: list[int], kind: pa.DataType = CENTS, **more: pa.Array) -> Path:
    """A recording of made-up bars: the price of bar i is 100 + i, its volume i."""
    prices = [Decimal(100 + i) + Decimal(i) / 100 for i in range(len(times))]
    columns = {"open_time": pa.array(times, pa.int64())}
    for name in OHLC:
        columns[name] = pa.array([float(p) for p in prices] if pa.types.is_floating(kind) else prices, kind)
    columns["volume"] = pa.array([Decimal(i) / 10 for i in range(len(times))], pa.decimal128(18, 1))
    columns |= more
    path = root / "klines" / f"{where}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "recordings"


def minutes(*indices: int) -> list[int]:
    return [START + i * MINUTE for i in indices]


def series(root: Path, venue: str, symbol: str, interval_ms: int = MINUTE):
    found = Recordings(root, PLACES).series(venue, symbol, Interval(interval_ms))
    assert found is not None
    return found


def test_rows_are_as_recorded_off_the_grid_and_with_holes(root):
    times = [START, START + MINUTE + 20_799, START + 5 * MINUTE, START + 5 * MINUTE + 30_000]
    write(root, "binance_spot/ABCUSDT/1m/a", times)
    bars = series(root, "binance_spot", "ABCUSDT").rows
    assert bars.open_time.tolist() == times
    assert bars.close_time.tolist() == [time + MINUTE - 1 for time in times]
    assert bars.open.tolist() == [10000, 10101, 10202, 10303]
    assert bars.volume.tolist() == [0, 1, 2, 3]
    assert bars.scales.quote == 3
    assert bars.quote_volume.tolist() == [0, 10101, 20404, 30909]
    assert bars.count.tolist() == [0, 2, 3, 4]
    assert bars.taker_volume.tolist() == [0, 0, 1, 1]


def test_files_are_merged_and_the_first_wins(root):
    write(root, "binance_spot/ABCUSDT/1m/b", minutes(5, 6, 7))
    write(root, "binance_spot/ABCUSDT/1m/a", minutes(4, 5, 9), pa.decimal128(18, 4))
    write(root, "binance_spot/ABCUSDT/1m/c", minutes(0, 1), pa.float64())
    bars = series(root, "binance_spot", "ABCUSDT").rows
    assert bars.open_time.tolist() == minutes(0, 1, 4, 5, 6, 7, 9)
    assert bars.scales.price == 8
    assert [v / 10**8 for v in bars.open.tolist()] == [100, 101.01, 100, 101.01, 101.01, 102.02, 102.02]


def test_all_the_columns_a_file_has_are_used(root):
    vendor = {
        "close_time": pa.array([1, 2], pa.int64()),
        "quote_volume": pa.array([5.00000001, 123456789.12345678]),
        "trades": pa.array([7, 8], pa.int32()),
        "taker_buy_volume": pa.array([Decimal("0.25"), Decimal("0.5")], pa.decimal128(10, 2)),
        "taker_buy_quote_volume": pa.array([1.5, 2.5]),
        "ignore": pa.array(["x", "y"]),
    }
    write(root, "binance_um/ABCUSDT/1m/a", minutes(0, 1), **vendor)
    bars = series(root, "binance_perp", "ABCUSDT").rows
    assert bars.close_time.tolist() == [1, 2]
    assert bars.count.tolist() == [7, 8]
    assert (bars.scales.volume, bars.volume.tolist(), bars.taker_volume.tolist()) == (2, [0, 10], [25, 50])
    assert (bars.scales.quote, bars.quote_volume.tolist()) == (8, [500000001, 12345678912345678])


def test_coarser_bars_are_made_of_what_is_there_and_finer_ones_do_not_exist(root):
    write(root, "okx_spot/ABC-USDT/5m/a", [START + i * 5 * MINUTE for i in (0, 1, 11, 12, 36)])
    hours = series(root, "okx_spot", "ABC-USDT", HOUR).rows
    assert hours.open_time.tolist() == [START, START + HOUR, START + 3 * HOUR]
    assert hours.open.tolist() == [10000, 10303, 10404]
    assert hours.close.tolist() == [10202, 10303, 10404]
    assert hours.volume.tolist() == [0 + 1 + 2, 3, 4]
    assert Recordings(root, PLACES).series("okx_spot", "ABC-USDT", Interval(MINUTE)) is None


def test_a_recorded_coarse_interval_is_played_as_it_is(root):
    write(root, "binance_spot/ABCUSDT/1m/a", minutes(*range(60)))
    write(root, "binance_spot/ABCUSDT/1h/a", [START])
    hour = series(root, "binance_spot", "ABCUSDT", HOUR).rows
    assert (hour.open.tolist(), hour.close.tolist()) == ([10000], [10000])


def test_okx_volume_is_contracts_on_the_wire(root):
    write(root, "okx_swap/BTC-USDT-SWAP/1m/a", minutes(0, 1))
    with start(root) as url:
        query = {"instId": "BTC-USDT-SWAP", "bar": "1m", "after": START + HOUR}
        rows = requests.get(url + "/api/v5/market/history-candles", query, timeout=5).json()["data"]
    assert rows[0] == [str(START + MINUTE), *["101.01"] * 4, "10", "0.1", "10.101", "1"]
    assert rows[1][5:8] == ["0", "0", "0"]


def test_only_recorded_symbols_are_listed(root):
    write(root, "binance_spot/ABCUSDT/1m/a", minutes(0))
    write(root, "bybit_linear/XYZUSDT/1m/a", minutes(0, 1))
    write(root, "gemini_spot/BTCUSD/1m/a", minutes(0))
    write(root, "coinbase_spot/BTCUSD/1m/a", minutes(0, 1))
    write(root, "kraken_spot/XBTUSDC/1m/a", minutes(0, 1))
    write(root, "binance_spot/ABCUSDT/fortnight/a", minutes(0))
    (root / "klines" / "notes").mkdir()
    with start(root) as url:
        spot = requests.get(url + "/api/v3/exchangeInfo", timeout=5).json()["symbols"]
        assert [(one["symbol"], one["baseAsset"], one["quoteAsset"]) for one in spot] == [("ABCUSDT", "ABC", "USDT")]
        assert spot[0]["filters"][0]["tickSize"] == "0.01000000"
        assert requests.get(url + "/fapi/v1/exchangeInfo", timeout=5).json()["symbols"] == []
        query = {"symbol": "BTCUSDT", "interval": "1m"}
        assert requests.get(url + "/api/v3/klines", query, timeout=5).json()["code"] == -1121
        query = {"category": "linear", "symbol": "XYZUSDT", "interval": "1", "end": START + HOUR}
        rows = requests.get(url + "/v5/market/kline", query, timeout=5).json()["result"]["list"]
        assert [row[:2] for row in rows] == [[str(START + MINUTE), "101.01"], [str(START), "100"]]
        assert [one["id"] for one in requests.get(url + "/products", timeout=5).json()] == ["BTC-USD"]
        rows = requests.get(url + "/products/BTC-USD/candles", {"granularity": 60}, timeout=5).json()
        assert rows == [[(START + MINUTE) // 1000, 101.01, 101.01, 101.01, 101.01, 0.1]]  # the first has no trades
        pairs = requests.get(url + "/0/public/AssetPairs", timeout=5).json()["result"]
        assert {name: pair["base"] for name, pair in pairs.items()} == {"XBTUSDC": "XXBT"}
        told = requests.get(url + "/0/public/OHLC", {"pair": "XBT/USDC"}, timeout=5).json()["result"]
        assert told["XBTUSDC"][0] == [START // 1000, *["100.00"] * 4, "0.00", "0.00000000", 0]
        assert told["XBTUSDC"][1] == [(START + MINUTE) // 1000, *["101.01"] * 5, "0.10000000", 2]


def test_the_bar_open_at_the_clock_still_runs(root):
    write(root, "binance_spot/ABCUSDT/1m/a", minutes(*range(120)))
    now = dt.datetime.fromtimestamp((START + 90 * MINUTE + 30_000) / 1000, dt.UTC)
    with start(root, now) as url:
        for interval, opened in (("1m", START + 90 * MINUTE), ("1h", START + HOUR)):
            query = {"symbol": "ABCUSDT", "interval": interval, "startTime": START}
            row = requests.get(url + "/api/v3/klines", query, timeout=5).json()[-1]
            assert row[0] == opened
        assert row[5] == "228.00000000"  # the hour so far: 6.0 … 8.9 and half of 9.0


def test_a_revision_changes_one_recorded_bar_and_what_is_made_of_it(root):
    write(root, "binance_spot/ABCUSDT/1m/a", minutes(*range(60)))
    with start(root) as url:

        def ask(interval: str) -> list:
            return requests.get(url + "/api/v3/klines", {"symbol": "ABCUSDT", "interval": interval}, timeout=5).json()

        before = ask("1m")
        assert ask("1h")[0][4] == "159.59000000"
        order = {"venue": "binance_spot", "symbol": "ABCUSDT", "interval": "1m", "open_time": minutes(59)[0]}
        answer = requests.post(url + "/_revise", json={**order, "close": "7.77"}, timeout=5)
        assert answer.status_code == 200
        assert ask("1m") == [*before[:-1], [*before[-1][:4], "7.77000000", *before[-1][5:]]]
        assert ask("1h")[0][4] == "7.77000000"


@pytest.mark.parametrize("times", [pa.array(minutes(0, 1), pa.timestamp("ms")), pa.array([0, 1], pa.int32())])
def test_other_widths_of_time(root, times):
    path = write(root, "binance_spot/ABCUSDT/1m/a", minutes(0, 1))
    table = pq.read_table(path)
    pq.write_table(table.set_column(0, "open_time", times), path)
    expected = [0, 1] if times.type == pa.int32() else minutes(0, 1)
    assert series(root, "binance_spot", "ABCUSDT").rows.open_time.tolist() == expected


def broken_file(root: Path) -> None:
    path = root / "klines/binance_spot/ABCUSDT/1m/a.parquet"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"PAR1 not really")


def without_volume(root: Path) -> None:
    path = write(root, "binance_spot/ABCUSDT/1m/a", minutes(0))
    pq.write_table(pq.read_table(path).drop_columns(["volume"]), path)


def with_words(root: Path) -> None:
    path = write(root, "binance_spot/ABCUSDT/1m/a", minutes(0))
    pq.write_table(pq.read_table(path).set_column(1, "open", pa.array(["dear"])), path)


def with_a_blank(root: Path) -> None:
    path = write(root, "binance_spot/ABCUSDT/1m/a", minutes(0))
    pq.write_table(pq.read_table(path).set_column(1, "open", pa.array([None], pa.float64())), path)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda root: None, "no such folder"),
        (lambda root: root.mkdir(), "no klines"),
        (broken_file, "not a readable parquet"),
        (without_volume, "no column volume"),
        (with_words, "column open"),
        (with_a_blank, "empty values"),
    ],
)
def test_a_bad_recording_is_named(root, make, words):
    make(root)

    def play() -> None:
        recordings = Recordings(root, PLACES)
        assert recordings.listings
        recordings.series("binance_spot", "ABCUSDT", Interval(MINUTE))

    with pytest.raises(BadInput, match=words):
        play()


# The recorded market data


@pytest.fixture(scope="module")
def played(recorded: Path) -> Iterator[tuple[str, Path]]:
    with start(recorded / "market-data", budget_scale=100) as url:
        yield url, recorded / "market-data"


@pytest.mark.recorded
@pytest.mark.parametrize(
    ("folder", "path", "since", "until"),
    [
        ("binance_spot/BTCUSDT/1m/2017.parquet", "/api/v3/klines", "2017-12-18", "2018-01-01"),
        ("binance_spot/BTCUSDT/1m/2020.parquet", "/api/v3/klines", "2020-12-20", "2020-12-27"),
        ("binance_um/SOLUSDT/1m/2025-05_2025-06_ccxt.parquet", "/fapi/v1/klines", "2025-05-04", "2025-05-10"),
        ("binance_um/FILUSDT/1m/vision_12col.parquet", "/fapi/v1/klines", "2024-10-01", "2024-10-05"),
    ],
)
def test_every_recorded_binance_bar_comes_back_value_for_value(played, folder, path, since, until):
    url, root = played
    low, high = (int(dt.datetime.fromisoformat(f"{day}T00:00:00+00:00").timestamp() * 1000) for day in (since, until))
    rows: list[list] = []
    cursor = low
    while True:
        query = {
            "symbol": folder.split("/")[1],
            "interval": "1m",
            "startTime": cursor,
            "endTime": high - 1,
            "limit": 1000,
        }
        page = requests.get(url + path, query, timeout=30).json()
        rows += page
        if not page:
            break
        cursor = page[-1][0] + 1
    recorded_rows = pq.read_table(
        root / "klines" / folder, filters=[("open_time", ">=", low), ("open_time", "<", high)]
    )
    assert len(rows) == recorded_rows.num_rows > 0
    assert [row[0] for row in rows] == recorded_rows["open_time"].to_pylist()
    for at, name in enumerate((*OHLC, "volume"), start=1):
        assert [Decimal(row[at]) for row in rows] == recorded_rows[name].to_pylist()
    if "quote_volume" in recorded_rows.column_names:
        assert [Decimal(row[7]) for row in rows] == recorded_rows["quote_volume"].to_pylist()
        assert [row[8] for row in rows] == recorded_rows["count"].to_pylist()
        assert [row[6] for row in rows] == recorded_rows["close_time"].to_pylist()


@pytest.mark.recorded
def test_the_recorded_folder_lists_its_venues(played):
    url, _ = played
    assert requests.get(url + "/_about", timeout=5).json()["venues"] == [
        "binance_perp", "binance_spot", "binanceus_spot", "bybit_perp", "bybit_spot", "coinbase_spot", "kraken_spot",
        "okx_perp"]  # fmt: skip
    futures = requests.get(url + "/fapi/v1/exchangeInfo", timeout=5).json()["symbols"]
    assert {"BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "BNBUSDT"} <= {one["symbol"] for one in futures}


@pytest.mark.recorded
def test_recorded_okx_and_bybit_bars_come_back(played):
    url, root = played
    okx = {"instId": "BTC-USDT-SWAP", "bar": "5m"}
    linear = {"category": "linear", "symbol": "BTCUSDT", "interval": "5"}
    for folder, path, base in (
        ("okx_swap/BTC-USDT-SWAP/5m/2022-05_2022-12", "/api/v5/market/history-candles", okx),
        ("bybit_linear/BTCUSDT/5m/2025-06_2025-08", "/v5/market/kline", linear),
    ):
        wanted = pq.read_table(root / "klines" / f"{folder}.parquet").slice(1000, 100).to_pylist()
        first, last = wanted[0]["open_time"], wanted[-1]["open_time"]
        window = {"before": first - 1, "after": last + 1, "start": first, "end": last, "limit": 300}
        answer = requests.get(url + path, {**base, **window}, timeout=30).json()
        rows = (answer.get("data") or answer["result"]["list"])[::-1]
        volume = 6 if base is okx else 5
        got = [[int(row[0]), *map(Decimal, row[1:5]), Decimal(row[volume])] for row in rows]
        assert got == [[row["open_time"], *(row[name] for name in OHLC), row["volume"]] for row in wanted]
