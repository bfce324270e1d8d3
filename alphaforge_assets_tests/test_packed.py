"""Bars as they are kept: every number that a venue may send is read again to the bit, in few bytes."""

import datetime as dt
import struct
import uuid
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import pyarrow as pa
from clickhouse_connect.driver.client import Client

from alphaforge_assets.datasets.bars import BARS
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.pipeline.mart import publish
from alphaforge_assets.pipeline.staging import stage
from alphaforge_assets.research import snapshots
from alphaforge_assets.research.hashes import Contents
from alphaforge_assets.universe import load_universe
from alphaforge_assets.warehouse import statements
from alphaforge_assets.warehouse.client import open_warehouse
from alphaforge_assets.warehouse.migrations import migrator
from alphaforge_assets.warehouse.migrations.files import read_migrations

UNIVERSE = load_universe()
(BTC,) = UNIVERSE.select(["binance_spot.BTC-USDT"])
DAY = dt.date(2025, 6, 1)
PART = Rectangle((BTC,), DAY, DAY + dt.timedelta(days=1))
TABLES = ("landing_bars", "staging_bars", "bars_history", "bars")
TICKS_MAX = 2**53 / 1e8  # more of them than this are no whole numbers as Float64
# No amount below the smallest numbers a Float64 holds in full: there the packed form would be ambiguous.
AMOUNTS = st.one_of(
    st.decimals(0, 10**12, places=8).map(float),
    st.decimals(0, 10**6, places=2).map(float),
    st.floats(4.5e-308, None, allow_subnormal=False),
    st.floats(None, -4.5e-308, allow_subnormal=False),
    st.floats(TICKS_MAX - 1e-6, TICKS_MAX + 1e-6),
    st.sampled_from(
        [0.0, -0.0, float("nan"), float("inf"), float("-inf"), 1e-8, 0.1 + 0.2, 90071992.0, 90071991.99999999]
    ),
)


def bits(number: float | None) -> bytes | None:
    return None if number is None else struct.pack("<d", number)


def keep(client: Client, amounts: list[float | None]) -> None:
    """A bar a minute, from landing to bars."""
    for table in TABLES:
        client.command("TRUNCATE TABLE analytics.{t:Identifier}", parameters={"t": table})
    count, zero = len(amounts), dt.datetime(2025, 6, 1, tzinfo=dt.UTC)
    same = {"venue": BTC.venue, "symbol": BTC.symbol, "interval": "1m", "source": "rest", "batch_id": str(uuid.uuid4())}
    columns = {name: pa.array([value] * count) for name, value in same.items()}
    columns |= {name: pa.array([1.5] * count) for name in ("open", "high", "low", "close", "volume")}
    columns["timestamp"] = pa.array([zero + dt.timedelta(minutes=n) for n in range(count)], pa.timestamp("ms", "UTC"))
    columns["ingested_at"] = pa.array([zero + dt.timedelta(days=9)] * count, pa.timestamp("ms", "UTC"))
    columns["is_closed"] = pa.array([True] * count)
    columns["quote_volume"] = columns["taker_buy_quote_volume"] = pa.array(amounts, pa.float64())
    positive = pa.array([abs(a) if a is not None and 0 < abs(a) < float("inf") else 1.0 for a in amounts], pa.float64())
    columns |= dict.fromkeys(("open", "high", "low", "close", "volume"), positive)
    client.insert_arrow("analytics.landing_bars", pa.table(columns))
    stage(client, PART, BARS, ["1m"])
    publish(client, PART, BARS, ["1m"])


def test_every_number_is_read_to_the_bit(migrated: Client) -> None:
    @hypothesis.settings(max_examples=40, deadline=None)
    @hypothesis.given(st.lists(st.none() | AMOUNTS, min_size=1, max_size=300))
    def law(amounts: list[float | None]) -> None:
        keep(migrated, amounts)
        for name in ("quote_volume", "taker_buy_quote_volume", "open", "volume"):
            read = "SELECT {c:Identifier} FROM analytics.{t:Identifier} ORDER BY timestamp"
            landed, *kept = (
                migrated.query(read, parameters={"c": name, "t": table}).result_columns[0]
                for table in ("landing_bars", "bars_history", "v_bars")
            )
            for column in kept:
                assert [bits(n) for n in column] == [bits(n) for n in landed]

    law()


OLD = """INSERT INTO analytics.{table:Identifier} (instrument_id, venue, symbol, interval, timestamp, close_time, open,
    high, low, close, volume, quote_volume, trade_count, taker_buy_quote_volume, source, version, published_at)
SELECT CRC32('binance_spot.BTC-USDT'), 'binance_spot', 'BTC/USDT', '1m',
    toDateTime64('2025-06-01', 3, 'UTC') + toIntervalMinute(number), NULL, number + 0.25, number / 7, 1e-300, 1e20,
    number / 100, if(number % 5 = 0, NULL, number * 1234567.89), number, if(number % 3 = 0, nan, -number), 'rest', 1,
    toDateTime64('2025-07-01', 3, 'UTC')
FROM numbers(1000)"""
READ = """SELECT arraySort(groupArray(cityHash64(tuple(timestamp, open, high, low, close, volume, quote_volume,
    contract_volume, trade_count, taker_buy_base_volume, taker_buy_quote_volume))))
FROM analytics.{table:Identifier} FINAL"""


def test_a_warehouse_of_before_reads_the_same_and_its_snapshots_hold(tmp_path: Path) -> None:
    before = tmp_path / "before"
    before.mkdir()
    for file in statements.MIGRATIONS.glob("*.sql"):
        if not file.name.startswith("V") or file.name < "V013":
            (before / file.name).write_bytes(file.read_bytes())
    day = dt.datetime(2025, 6, 1, tzinfo=dt.UTC)
    held = Contents(("bars",), (BTC.key,), ("1m",), day, day + dt.timedelta(days=1))
    with open_warehouse(tmp_path / "home") as client:
        migrator.migrate(client, before, database="analytics", lock_dir=tmp_path)
        for table in ("bars_history", "bars"):
            client.command(OLD, parameters={"table": table})
        read = {t: client.query(READ, parameters={"table": t}).result_rows for t in ("bars_history", "bars")}
        assert snapshots.pin(client, "old", held).rows == 1000
        done = migrator.migrate(client, statements.MIGRATIONS, database="analytics", lock_dir=tmp_path)
        assert [a.script for a in done][:2] == ["V013__packed_bars.sql", "V013_1__only_packed_bars.sql"]
        assert snapshots.verify(client, "old") == []
        assert {t: client.query(READ, parameters={"table": t}).result_rows for t in read} == read
        last = next(m for m in read_migrations(statements.MIGRATIONS) if m.script == "V013_1__only_packed_bars.sql")
        for statement in last.statements:  # as after a kill before its row was written
            client.command(statement.text, settings={"mutations_sync": 1})
        assert snapshots.verify(client, "old") == []


def test_a_bar_takes_few_bytes_in_each_table(emptied: Client) -> None:
    """Two decimals of a price, five of an amount, which nothing compresses. Loose: recorded bars take less."""
    wandering = [(n * 7919 % 104729) / 1e5 for n in range(1440)]
    keep(emptied, wandering)
    most = {"landing_bars": 70, "staging_bars": 5, "bars_history": 35, "bars": 35}
    for table in TABLES:
        emptied.command("OPTIMIZE TABLE analytics.{t:Identifier} FINAL", parameters={"t": table})
        (stored,) = emptied.query(
            "SELECT sum(data_compressed_bytes) / sum(rows) FROM system.parts"
            " WHERE active AND database = 'analytics' AND table = {t:String}",
            parameters={"t": table},
        ).result_columns[0]
        assert stored < most[table], table
