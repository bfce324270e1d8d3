"""Mappings and files that are made for the tests, and what the command does with them."""

import datetime as dt
import gzip
import json
import zipfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from clickhouse_connect.driver.client import Client

from alphaforge_assets.ingest.bring import Brought, Prepared, land, prepare, publish_days
from alphaforge_assets.ingest.mapping import Mapping, dataset_of, load_mapping
from alphaforge_assets.universe import Universe
from alphaforge_assets.venues.directory import Exchanges

UTC = dt.UTC
EXAMPLES = Path(__file__).parents[2] / "docs" / "mappings"
UNIVERSE = Universe.model_validate(
    {
        "history_start": dt.date(2016, 1, 1),
        "intervals": ["1m", "1h"],
        "venues": {
            "coinbase_spot": {"instruments": ["BTC/USD", "ETH/USD"]},
            "binance_spot": {"instruments": ["BTC/USDT", {"symbol": "XRP/ETH", "trades": True}]},
            "okx_perp": {"instruments": ["BTC/USDT"]},
        },
    }
)
COINBASE, _, BINANCE, XRP, OKX = UNIVERSE.instruments
FIRST = dt.datetime(2025, 5, 1, tzinfo=UTC)
BARS_MAPPING = (EXAMPLES / "ohlcv.yaml").read_text(encoding="utf-8")
TRADES_MAPPING = (EXAMPLES / "coinbase_trades.yaml").read_text(encoding="utf-8")
NOW = dt.datetime(2025, 7, 1, tzinfo=UTC)


def mapped(tmp_path: Path, text: str, **changes: str) -> Mapping:
    """A mapping with some of its text changed: `old` is written as its own name where it is one word."""
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "mapping.yaml"
    path.write_text(text, encoding="utf-8")
    return load_mapping(path)


def read(tmp_path: Path, mapping: Mapping, *paths: Path, now: dt.datetime = NOW) -> list[Prepared]:
    return [
        prepare(path, mapping, UNIVERSE, now, tmp_path / "room" / str(n), lambda position: None)
        for n, path in enumerate(paths)
    ]


def bring(client: Client, exchanges: Exchanges, tmp_path: Path, mapping: Mapping, *paths: Path) -> Brought:
    """What the command does with files that are sound."""
    prepared = read(tmp_path, mapping, *paths)
    assert [p for its in prepared for p in its.problems] == []
    brought = land(client, exchanges, mapping, "m.yaml", prepared, run_id="file", progress=lambda rows: None)
    publish_days(client, brought, dataset_of(mapping), UNIVERSE, lambda dataset: nullcontext())
    return brought


def rows(client: Client, sql: str) -> list[tuple[Any, ...]]:
    return list(client.query(sql).result_rows)


BAR = "timestamp, close_time, open, high, low, close, volume, quote_volume, trade_count"
TRADE = "trade_kind, trade_id, timestamp, side, price, quantity, quote_quantity, first_id, last_id, metadata"


def bars(client: Client) -> list[tuple[Any, ...]]:
    return rows(client, f"SELECT {BAR} FROM analytics.v_bars ORDER BY timestamp")


def sources(client: Client, view: str = "v_bars") -> list[tuple[Any, ...]]:
    return rows(client, f"SELECT source, count() FROM analytics.{view} GROUP BY source ORDER BY source")


def minutes(count: int = 60, **changes: Any) -> pa.Table:
    """A quiet hour, of which single columns are changed."""
    first = int(FIRST.timestamp() * 1000)
    table = {
        "open_time": [first + 60_000 * n for n in range(count)],
        "open": [100 + n / 7 for n in range(count)],
        "high": [102 + n / 7 for n in range(count)],
        "low": [99 + n / 7 for n in range(count)],
        "close": [101 + n / 7 for n in range(count)],
        "volume": [0.1 * (n + 1) for n in range(count)],
    }
    return pa.table(table | changes)


def csv(path: Path, table: pa.Table) -> Path:
    pacsv.write_csv(table, path)
    return path


def written(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def as_file(table: pa.Table, form: str, tmp_path: Path) -> Path:
    """A table as a file of a form, such as `csv.gz`; decimals as texts, as everybody writes them."""
    kind, _, packing = form.partition(".")
    path = tmp_path / f"data.{kind}"
    if kind == "parquet":
        pq.write_table(table, path, row_group_size=5_000)
    elif kind == "csv":
        pacsv.write_csv(table, path)
    else:
        path.write_text("".join(json.dumps(row, default=str) + "\n" for row in table.to_pylist()))
    if packing == "gz":
        return written(tmp_path / f"data.{kind}.gz", gzip.compress(path.read_bytes()))
    if packing == "zip":
        with zipfile.ZipFile(tmp_path / "data.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(path, path.name)
        return tmp_path / "data.zip"
    return path
