"""Kraken's downloads: its bars of a quarter ago, read in pieces of one large file, the same that REST told in time."""

import datetime as dt
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import requests
from clickhouse_connect.driver.client import Client

from alphaforge_assets.backfill.cost import predict
from alphaforge_assets.datasets.bars import BARS
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.pipeline import served
from alphaforge_assets.pipeline.choice import Left, shared_out
from alphaforge_assets.pipeline.landing import Landed
from alphaforge_assets.quality import coverage
from alphaforge_assets.refresh import refresh
from alphaforge_assets.sandbox import process as sandbox
from alphaforge_assets.universe import Universe
from alphaforge_assets.venues.directory import Exchanges, ranked
from alphaforge_assets.warehouse.batches import Window
from alphaforge_assets_tests.conftest import LIFTED, lifted

UTC = dt.UTC
DAY = dt.timedelta(days=1)
THEN, LATER = dt.datetime(2026, 2, 4, 0, 5, tzinfo=UTC), dt.datetime(2026, 7, 1, tzinfo=UTC)
UNIVERSE = Universe.model_validate(
    {
        "history_start": dt.date(2026, 1, 1),
        "intervals": ["1m", "1h"],
        "venues": {"kraken_spot": {"instruments": ["BTC/USD", "ETH/BTC"]}},
    }
)
BTC, ETH = UNIVERSE.instruments
PART = Rectangle((BTC, ETH), dt.date(2026, 2, 3), dt.date(2026, 2, 4))
VALUES = "symbol, interval, timestamp, open, high, low, close, volume, trade_count"


@pytest.fixture(scope="module")
def kraken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchanges]:
    with sandbox.start(now=LATER, budget_scale=LIFTED) as url:
        made = f"{url}/marketing/institutions/Kraken_OHLCVT_2026Q1.zip"
        assert requests.get(made, headers={"Range": "bytes=0-0"}, timeout=120).status_code == 206  # made once, for all
        yield lifted(url, tmp_path_factory.mktemp("governor") / "governor.sqlite3")


def at(exchanges: Exchanges, moment: dt.datetime) -> None:
    order = json.dumps({"now": moment.isoformat()})
    assert requests.post(f"{exchanges.base_url}/_clock", data=order, timeout=5).ok


def bring(client: Client, exchanges: Exchanges, part: Rectangle = PART, wish: str = "best", **more: Any) -> Landed:
    return refresh(client, exchanges, UNIVERSE, part, BARS, run_id=wish, wish=wish, **more)


def rows(client: Client, sql: str) -> list[tuple[Any, ...]]:
    return list(client.query(sql).result_rows)


def test_what_rest_has_let_go_of_the_downloads_have_value_for_value(emptied: Client, kraken: Exchanges) -> None:
    at(kraken, THEN)
    bring(emptied, kraken, wish="rest")
    at(kraken, LATER)
    told = rows(emptied, f"SELECT {VALUES} FROM analytics.v_bars WHERE trade_count > 0 ORDER BY ALL")
    assert min(r[2] for r in told if r[1] == "1m") > dt.datetime(2026, 2, 3, 12)  # noqa: DTZ001 - as the driver has it
    found = bring(emptied, kraken)
    assert found.failures == []
    assert found.by_source.keys() == {"archive_unverified"}
    all_of_it = rows(emptied, f"SELECT {VALUES} FROM analytics.v_bars WHERE trade_count > 0 ORDER BY ALL")
    assert set(told) < set(all_of_it)
    # The rest of the day was not asked for again, so what REST told stays: ask the downloads for all of it.
    again = bring(emptied, kraken, wish="archive", refetch=True)
    assert again.failures == []
    both = rows(
        emptied,
        f"SELECT {VALUES}, uniqExact(source) FROM analytics.landing_bars WHERE trade_count > 0 GROUP BY ALL",
    )
    assert len(both) == len(all_of_it)
    assert sum(row[-1] == 2 for row in both) == len(told)
    files = rows(emptied, "SELECT key, status, checksum_status, rows FROM analytics.archive_files FINAL ORDER BY key")
    assert [row[:3] for row in files] == [
        (f"Kraken_OHLCVT_2026Q1.zip/{pair}_{minutes}.csv", "unverified", "absent")
        for pair in ("ETHXBT", "XBTUSD")
        for minutes in (1, 60)
    ]


def test_minutes_without_a_trade_are_no_gaps_that_anybody_asks_for(emptied: Client, kraken: Exchanges) -> None:
    assert bring(emptied, kraken).failures == []
    quiet = rows(emptied, "SELECT count() FROM analytics.v_bars WHERE symbol = 'ETH/BTC' AND interval = '1m'")
    assert quiet < [(1440,)]
    coverage.judge(emptied, PART, BARS, UNIVERSE, now=LATER)
    verdicts = rows(emptied, "SELECT DISTINCT symbol, verdict FROM analytics.v_gaps WHERE is_open ORDER BY ALL")
    assert verdicts == [("ETH/BTC", "no_trades")]


def test_only_the_pieces_that_are_needed_are_asked_for(emptied: Client, kraken: Exchanges) -> None:
    requests.delete(f"{kraken.base_url}/_log", timeout=5)
    bring(emptied, kraken, replace(PART, instruments=(BTC,)))
    path = "/marketing/institutions/Kraken_OHLCVT_2026Q1.zip"
    log = requests.get(f"{kraken.base_url}/_log?path={path}", timeout=5).json()
    assert {entry["status"] for entry in log} == {206}
    assert len(log) < 20  # of two members


def test_a_quarter_that_is_not_there_is_a_failure_of_the_downloads_alone(emptied: Client, kraken: Exchanges) -> None:
    at(kraken, dt.datetime(2026, 5, 1, tzinfo=UTC))  # the first quarter comes in June
    try:
        found = bring(emptied, kraken)
    finally:
        at(kraken, LATER)
    assert found.failures == []
    assert len(found.gone) == 4
    ledger = rows(emptied, "SELECT source, status, count() FROM analytics.ingest_batches GROUP BY ALL ORDER BY ALL")
    assert ledger == [("archive_quarterly", "failed", 4), ("rest", "unserved", 4)]
    assert rows(emptied, "SELECT DISTINCT status FROM analytics.archive_files FINAL") == [("not_published",)]


def chosen(day: dt.date, now: dt.datetime) -> list[str]:
    start = dt.datetime.combine(day, dt.time(), UTC)
    left = [Left(Window(BTC, "1m", start, start + DAY))]
    return [s.name for s, _ in shared_out(ranked("kraken_spot", "bars", ["1m"]), "bars", left, "best", now)]


def test_downloads_are_asked_for_quarters_that_should_be_there(emptied: Client) -> None:
    assert chosen(dt.date(2026, 2, 3), LATER) == ["archive_quarterly"]
    assert chosen(dt.date(2026, 6, 30), LATER) == ["rest"]  # the second quarter comes in September
    assert chosen(dt.date(2025, 2, 3), LATER) == ["rest"]  # no quarter before 2026 is known
    windows = served.windows(BARS, PART, ["1m"], LATER)
    assert served.still(BARS, windows, LATER) == windows
    assert served.still(BARS, windows, dt.datetime(2026, 5, 1, tzinfo=UTC)) == []
    (venue,) = predict(emptied, UNIVERSE, BARS, [PART]).venues
    assert {s.budget.name for s in venue.spent} == {"kraken.downloads"}


@pytest.mark.recorded
def test_a_recorded_quarter_comes_value_for_value(emptied: Client, recorded: Path, tmp_path: Path) -> None:
    """The recording is of such a download."""
    folder = Path("klines/kraken_spot/XBTUSDC/1m")
    shutil.copytree(recorded / "market-data" / folder, tmp_path / "played" / folder)
    universe = Universe.model_validate(
        {
            "history_start": dt.date(2023, 1, 1),
            "intervals": ["1m"],
            "venues": {"kraken_spot": {"instruments": ["BTC/USDC"]}},
        }
    )
    part = Rectangle(universe.instruments, dt.date(2023, 1, 1), dt.date(2023, 4, 1))
    with sandbox.start(recordings=tmp_path / "played", budget_scale=LIFTED) as url:
        exchanges = lifted(url, tmp_path / "governor")
        landed = refresh(emptied, exchanges, universe, part, BARS, run_id="recorded", wish="archive")
    assert landed.failures == []
    (file,) = (recorded / "market-data" / folder).glob("*.parquet")
    told = [
        (row["open_time"], *(float(row[n]) for n in ("open", "high", "low", "close", "volume")), row["trades"])
        for row in pq.read_table(file).to_pylist()
    ]
    got = emptied.query(
        "SELECT timestamp_unix, open, high, low, close, volume, trade_count FROM analytics.v_bars ORDER BY timestamp"
    ).result_rows
    assert list(got) == told
