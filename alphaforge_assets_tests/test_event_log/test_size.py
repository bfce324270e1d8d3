"""What an event takes on disk, and that it is read as it was written: packed texts, small databases, the way back."""

import datetime as dt
import hashlib
import sqlite3
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import dagster as dg
import hypothesis
import pytest
from clickhouse_connect.driver.client import Client
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from hypothesis import strategies as st

from alphaforge_assets import instance as homes
from alphaforge_assets.backfill import run as backfill
from alphaforge_assets.datasets.bars import BARS
from alphaforge_assets.event_log import shards, texts
from alphaforge_assets.event_log.storage import BatchedSqliteEventLogStorage
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.settings import settings_from_environment
from alphaforge_assets.universe import Universe
from alphaforge_assets.venues.directory import Exchanges
from alphaforge_assets_tests.test_event_log.story import entry, said_in

BYTES_A_PARTITION_MAX = 10_000  # issue 9: of the chain, which is four assets, in all of the instance's databases
UNIVERSE = Universe.model_validate(
    {
        "history_start": dt.date(2025, 1, 1),
        "intervals": ["1d"],
        "venues": {"binance_spot": {"instruments": ["BTC/USDT", "ETH/USDT", "SOL/USDT"]}},
    }
)


def bytes_of(folder: Path) -> int:
    """All databases below a folder, with what is written ahead."""
    return sum(path.stat().st_size for path in folder.rglob("*.db*"))


def run_days(client: Client, exchange: Exchanges, home: Path, first: int, days: int) -> None:
    settings = replace(settings_from_environment(), home=home, venues_url=exchange.base_url)
    start = UNIVERSE.history_start + dt.timedelta(days=first)
    covered = Rectangle(UNIVERSE.instruments, start, start + dt.timedelta(days=days))
    with homes.opened(settings.dagster_home) as instance:
        done = backfill.execute(client, instance, UNIVERSE, settings, BARS, [covered])
        assert not done.failed, done.failed
        assert len(instance.get_materialized_partitions(dg.AssetKey("bars"))) == 3 * (first + days)
        [event] = instance.fetch_materializations(dg.AssetKey("bars"), limit=1).records
        assert event.asset_materialization is not None
        assert event.asset_materialization.metadata["rows_in_range"].value == 3 * days


def test_a_partition_of_the_chain_takes_10_kb_at_most(emptied: Client, exchange: Exchanges, tmp_path: Path) -> None:
    """201 partitions, with all that their run costs; what a home costs is there before them."""
    run_days(emptied, exchange, tmp_path, first=0, days=1)
    before = bytes_of(tmp_path / "dagster")
    run_days(emptied, exchange, tmp_path, first=1, days=67)
    assert (bytes_of(tmp_path / "dagster") - before) / 201 <= BYTES_A_PARTITION_MAX


@hypothesis.given(st.text())
def test_a_text_is_read_as_it_was_written(text: str) -> None:
    assert texts.unpacked(texts.packed(text)) == text
    assert len(texts.packed(text)) <= len(text.encode()) + 16


def test_texts_are_packed_by_several_threads_at_once() -> None:
    many = [f"{n} of many " * 99 for n in range(200)]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda text: texts.unpacked(texts.packed(text)), many)) == many


def test_phrases_never_change() -> None:
    """Or what was packed with them could not be read: see texts.py."""
    seen = {"phrases_1.txt": "7564f2a82e109237"}
    folder = Path(texts.__file__).parent
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in folder.glob("phrases_*")}
    assert found == seen
    assert f"phrases_{texts.PHRASES}.txt" in found


def test_rows_of_both_kinds_stand_in_one_database(log: BatchedSqliteEventLogStorage, tmp_path: Path) -> None:
    stock = SqliteEventLogStorage(str(tmp_path / "runs"))
    stock.store_event(entry("run", "plain"))
    log.store_event(entry("run", "packed"))
    assert said_in(log, "run") == ["plain", "packed"]
    with closing(sqlite3.connect(log.path_for_shard("run"))) as conn:
        kinds = conn.execute("SELECT typeof(event) FROM event_logs ORDER BY id").fetchall()
    assert kinds == [("text",), ("blob",)]
    log.dispose()
    assert list(shards.give_back(tmp_path / "runs"))
    assert said_in(stock, "run") == ["plain", "packed"]


def tables(path: Path, kind: str) -> set[str]:
    with closing(sqlite3.connect(path)) as conn:
        return {name for (name,) in conn.execute("SELECT name FROM sqlite_master WHERE type = ?", (kind,))}


def test_a_run_has_the_tables_it_uses_and_its_way_back_brings_the_rest(
    log: BatchedSqliteEventLogStorage, tmp_path: Path
) -> None:
    log.store_event(entry("run"))
    SqliteEventLogStorage(str(tmp_path / "stock")).store_event(entry("run"))
    ours, stock = tmp_path / "runs" / "run.db", tmp_path / "stock" / "run.db"
    assert tables(ours, "table") == {"alembic_version", "event_logs", "asset_event_tags"}
    assert version(ours) == version(stock)
    log.dispose()
    assert list(shards.give_back(tmp_path / "runs"))
    for name in ("run.db", "index.db"):
        for kind in ("table", "index"):
            assert tables(tmp_path / "runs" / name, kind) == tables(tmp_path / "stock" / name, kind)


def version(path: Path) -> Iterable[object]:
    with closing(sqlite3.connect(path)) as conn:
        return conn.execute("SELECT version_num FROM alembic_version").fetchall()


@pytest.mark.parametrize("left", ["", "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"])
def test_a_database_half_made_is_made_whole(log: BatchedSqliteEventLogStorage, tmp_path: Path, left: str) -> None:
    """As a process leaves it that is killed while it makes it."""
    with closing(sqlite3.connect(tmp_path / "runs" / "run.db")) as conn:
        conn.executescript(left)
    log.store_event(entry("run"))
    assert said_in(log, "run") == ["said"]


def test_several_processes_may_make_a_database_at_once(tmp_path: Path) -> None:
    storages = [BatchedSqliteEventLogStorage(str(tmp_path)) for _ in range(4)]
    for number in range(4):
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda log, n=number: log.store_event(entry(f"run{n}")), storages))  # type: ignore[misc]
        assert said_in(storages[0], f"run{number}") == ["said"] * 4
    for log in storages:
        log.dispose()
