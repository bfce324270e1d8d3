"""Mark, index and premium prices, and funding, from Binance's files: equal to REST, filled up by it, watched."""

import datetime as dt
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest
import requests
from clickhouse_connect.driver.client import Client

from alphaforge_assets.alerts.troubles import _revised_files
from alphaforge_assets.datasets.funding_rates import FUNDING_RATES
from alphaforge_assets.datasets.price_bars import PRICE_BARS
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.pipeline.choice import BEST, Left, shared_out
from alphaforge_assets.pipeline.landing import Landed
from alphaforge_assets.quality.checks import every_check, offenders
from alphaforge_assets.refresh import refresh
from alphaforge_assets.research.client import Research
from alphaforge_assets.sandbox import process as sandbox
from alphaforge_assets.universe import Universe
from alphaforge_assets.upkeep.archives import watch
from alphaforge_assets.venues.directory import Exchanges, ranked
from alphaforge_assets.warehouse.batches import Window
from alphaforge_assets_tests.conftest import LIFTED, empty, lifted

NOW = dt.datetime(2025, 7, 1, tzinfo=dt.UTC)
UNIVERSE = Universe.model_validate(
    {
        "history_start": dt.date(2025, 1, 1),
        "intervals": ["1h"],
        "venues": {
            "binance_perp": {"instruments": [{"symbol": "BTC/USDT", "price_bars": ["mark", "index", "premium"]}]}
        },
    }
)
(BTC,) = UNIVERSE.instruments
MAY = Rectangle((BTC,), dt.date(2025, 5, 1), dt.date(2025, 6, 1))
START, END = dt.datetime(2025, 5, 1, tzinfo=dt.UTC), dt.datetime(2025, 6, 1, tzinfo=dt.UTC)
FILE = "data/futures/um/monthly/markPriceKlines/BTCUSDT/1h/BTCUSDT-1h-2025-05.zip"
DAYS = "data/futures/um/daily/markPriceKlines/*"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchanges]:
    with sandbox.start(now=NOW, budget_scale=LIFTED) as url:
        yield lifted(url, tmp_path_factory.mktemp("governor") / "governor.sqlite3")


@pytest.fixture(autouse=True)
def fresh(files: Exchanges) -> Iterator[None]:
    yield
    requests.delete(f"{files.base_url}/_archive", timeout=5)


def wrong(files: Exchanges, kind: str, key: str = FILE, **more: object) -> None:
    order = {"key": key, "kind": kind, **more}
    assert requests.post(f"{files.base_url}/_archive", json=order, timeout=5).status_code == 200


def landed(client: Client, files: Exchanges, wish: str = "archive", **more: Any) -> Landed:
    return refresh(client, files, UNIVERSE, MAY, PRICE_BARS, run_id=wish, wish=wish, **more)


def rows(client: Client, sql: str) -> list[tuple[Any, ...]]:
    return list(client.query(sql).result_rows)


def values(client: Client) -> list[tuple[Any, ...]]:
    return rows(
        client,
        "SELECT price_type, timestamp_unix, open, high, low, close, sample_count FROM analytics.v_price_bars"
        " ORDER BY price_type, timestamp",
    )


def test_files_and_rest_tell_the_same_value_for_value(emptied: Client, files: Exchanges) -> None:
    found = landed(emptied, files)
    assert (found.rows, found.failures, found.files) == (3 * 744, [], ["loaded"] * 3)
    assert found.by_source == {"archive_monthly": 3 * 744}
    of_files = values(emptied)
    landed(emptied, files, "rest", refetch=True)
    assert rows(emptied, "SELECT count() FROM analytics.price_bars_history") == [(3 * 744,)]  # no new version
    (check,) = [c for c in every_check() if c.dataset is PRICE_BARS and c.name == "archives_agree"]
    assert offenders(emptied, check, MAY, NOW) == []
    compared = "SELECT sum(equal), sum(differing + only_a + only_b) FROM analytics.v_reconciliation"
    assert rows(emptied, compared) == [(3 * 744, 0)]
    emptied.command(
        "INSERT INTO analytics.landing_price_bars SELECT * REPLACE (close * 1.001 AS close, now64(3) AS ingested_at)"
        " FROM analytics.landing_price_bars WHERE source = 'rest' AND interval = 'mark_1h' ORDER BY timestamp LIMIT 1"
    )
    (one,) = offenders(emptied, check, MAY, NOW)
    assert (one["interval"], one["rows"]) == ("mark_1h", 1)
    empty(emptied)
    landed(emptied, files, "rest")
    assert values(emptied) == of_files


def test_a_year_of_minutes_comes_from_files_and_hours_by_rest() -> None:
    def chosen(series: str) -> list[str]:
        sources = ranked("binance_perp", "price_bars", [series])
        months = [
            (dt.datetime(2024, m, 1, tzinfo=dt.UTC), dt.datetime(2024, m + 1, 1, tzinfo=dt.UTC)) for m in range(1, 12)
        ]
        windows = [Left(Window(BTC, series, start, end)) for start, end in months]
        return [s.name for s, _ in shared_out(sources, "price_bars", windows, BEST, NOW)]

    assert chosen("mark_1h") == ["rest"]
    assert chosen("premium_1m") == ["archive_monthly"]


@pytest.mark.parametrize("kind", ["lacks", "torn", "contradicts", "missing"])
def test_what_files_lack_rest_brings(emptied: Client, files: Exchanges, kind: str) -> None:
    wrong(files, kind, since=int(START.timestamp() * 1000) + 36_000_000, minutes=600)
    wrong(files, "missing", DAYS)
    lacking = landed(emptied, files)
    assert {f.window.interval for f in lacking.failures} == {"mark_1h"}
    assert not landed(emptied, files, BEST).failures
    assert rows(emptied, "SELECT count() FROM analytics.v_price_bars") == [(3 * 744,)]
    assert len(rows(emptied, "SELECT DISTINCT source FROM analytics.v_price_bars")) == 2


def test_a_file_that_is_replaced_makes_new_versions_and_names_the_snapshots(emptied: Client, files: Exchanges) -> None:
    landed(emptied, files)
    research = Research(emptied, UNIVERSE)
    research.pin("may", BTC.key, "1h", START, END, "price_bars")
    wrong(files, "revised", start=30, rows=5)
    told = watch(emptied, files, UNIVERSE, run_id="watch", lock=lambda dataset: nullcontext())
    assert (told.compared, [one.key for one in told.changed], dict(told.failed)) == (3, [FILE], {})
    versions = "SELECT interval, count() - uniqExact(timestamp) FROM analytics.price_bars_history GROUP BY 1 ORDER BY 1"
    assert rows(emptied, versions) == [("index_1h", 0), ("mark_1h", 5), ("premium_1h", 0)]
    (trouble,) = _revised_files(emptied, UNIVERSE, dt.datetime.now(dt.UTC))
    assert "5 bars" in trouble.about
    assert "earlier ones are in may" in trouble.about


SETTLED = "SELECT rate_type, timestamp_raw, rate FROM analytics.v_funding ORDER BY timestamp"
SPRING = Rectangle((BTC,), dt.date(2025, 3, 1), dt.date(2025, 7, 1))
FUNDING = "data/futures/um/monthly/fundingRate/BTCUSDT/BTCUSDT-fundingRate-2025-04.zip"


def settle(client: Client, files: Exchanges, wish: str, **more: Any) -> Landed:
    return refresh(client, files, UNIVERSE, SPRING, FUNDING_RATES, run_id=wish, wish=wish, **more)


def test_settlements_of_files_are_those_of_rest_which_says_more(emptied: Client, files: Exchanges) -> None:
    found = settle(emptied, files, "archive")
    assert found.by_source == {"archive_monthly": 3 * 92}
    assert [f.window.start for f in found.failures] == [dt.datetime(2025, 6, 1, tzinfo=dt.UTC)]  # not published yet
    of_files = rows(emptied, SETTLED)
    hours = "SELECT DISTINCT JSONExtractString(metadata, 'funding_interval_hours') FROM analytics.landing_funding_rates"
    assert rows(emptied, hours) == [("8",)]
    assert not settle(emptied, files, BEST).failures  # June alone
    assert rows(emptied, "SELECT source, count() FROM analytics.v_funding GROUP BY 1 ORDER BY 1") == [
        ("archive_monthly", 276),
        ("rest", 90),
    ]
    settle(emptied, files, "rest", refetch=True)
    assert rows(emptied, SETTLED)[:276] == of_files
    assert rows(emptied, "SELECT source, min(mark_price) > 0 FROM analytics.v_funding GROUP BY 1") == [("rest", True)]
    settle(emptied, files, "archive", refetch=True)  # what says less does not come on top
    assert rows(emptied, "SELECT DISTINCT source FROM analytics.v_funding") == [("rest",)]


@pytest.mark.parametrize("kind", ["missing", "torn", "second_member", "foreign"])
def test_a_month_of_settlements_without_a_file_is_asked_of_rest(emptied: Client, files: Exchanges, kind: str) -> None:
    wrong(files, kind, FUNDING)
    found = settle(emptied, files, "archive")
    april, june = (dt.datetime(2025, month, 1, tzinfo=dt.UTC) for month in (4, 6))
    assert [f.window.start for f in found.failures] == [april, june]
    assert not settle(emptied, files, BEST).failures
    assert rows(emptied, "SELECT count() FROM analytics.v_funding") == [(276 + 90,)]


def test_doubled_rows_and_a_file_without_a_header_are_the_same_settlements(emptied: Client, files: Exchanges) -> None:
    wrong(files, "doubled", FUNDING)
    wrong(files, "header", FUNDING)
    settle(emptied, files, "archive")
    assert rows(emptied, "SELECT count() FROM analytics.v_funding") == [(276,)]
    told = "SELECT rows, duplicates, has_header, interval FROM analytics.archive_files FINAL WHERE key LIKE '%2025-04%'"
    assert rows(emptied, told) == [(90, 1, False, "")]


def test_a_file_of_settlements_that_is_replaced_is_read_again(emptied: Client, files: Exchanges) -> None:
    settle(emptied, files, "archive")
    wrong(files, "doubled", FUNDING)
    told = watch(emptied, files, UNIVERSE, run_id="watch", lock=lambda dataset: nullcontext())
    assert ([one.key for one in told.changed], [landed.rows for landed in told.landed]) == ([FUNDING], [90])
    assert rows(emptied, "SELECT count() FROM analytics.funding_rates_history") == [(276,)]  # the same rates
