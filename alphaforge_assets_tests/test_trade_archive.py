"""Trades from files: they are REST's, value for value, in the ledger by their ids; what a file lacks REST is asked for.

What is wrong with a file is told, and nothing of it is read.
"""

import datetime as dt
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import requests
from clickhouse_connect.driver.client import Client

from alphaforge_assets.backfill.cost import predict
from alphaforge_assets.datasets.trades import TRADES
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.pipeline.choice import Left, shared_out
from alphaforge_assets.pipeline.landing import Landed
from alphaforge_assets.quality.checks import every_check, offenders
from alphaforge_assets.refresh import refresh
from alphaforge_assets.sandbox import process as sandbox
from alphaforge_assets.universe import Universe
from alphaforge_assets.upkeep.archives import watch
from alphaforge_assets.venues.directory import TRADE_ARCHIVES, Exchanges, ranked
from alphaforge_assets.venues.source import Access, Fetched
from alphaforge_assets.venues.trade_archive import TradeArchive
from alphaforge_assets.warehouse.batches import Window
from alphaforge_assets_tests.conftest import LIFTED, lifted, open_venue

UTC = dt.UTC
NOW = dt.datetime(2025, 7, 20, tzinfo=UTC)
DAY = dt.date(2025, 6, 2)
START, END = dt.datetime(2025, 6, 2, tzinfo=UTC), dt.datetime(2025, 6, 3, tzinfo=UTC)
HOUR = dt.timedelta(hours=1)
UNIVERSE = Universe.model_validate(
    {
        "history_start": dt.date(2017, 1, 1),
        "intervals": ["1m"],
        "venues": {
            "binance_spot": {"instruments": [{"symbol": "SOL/BTC", "trades": True}]},
            "binance_perp": {"instruments": [{"symbol": "LTC/USDT", "trades": True}]},
        },
    }
)
SPOT, PERP = UNIVERSE.instruments
PART = Rectangle((SPOT,), DAY, DAY + dt.timedelta(days=1))
FOLDER = "data/spot/daily/aggTrades/SOLBTC/SOLBTC-aggTrades-"
FILE = f"{FOLDER}2025-06-02.zip"
MONTHS = "data/spot/monthly/aggTrades/*"
NOON_MS = 1_748_865_600_000


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


def source_of(venue: str, name: str = "archive_daily") -> TradeArchive:
    (found,) = (s for s in TRADE_ARCHIVES if (s.venue, s.name) == (venue, name))
    return found


def bring(client: Client, exchanges: Exchanges, part: Rectangle = PART, wish: str = "archive", **more: Any) -> Landed:
    return refresh(client, exchanges, UNIVERSE, part, TRADES, run_id=wish, wish=wish, **more)


def rows(client: Client, sql: str) -> list[tuple[Any, ...]]:
    return list(client.query(sql).result_rows)


def published(client: Client) -> dict[str, int]:
    return dict(rows(client, "SELECT source, count() FROM analytics.v_trades GROUP BY source"))


def seen(client: Client) -> list[tuple[Any, ...]]:
    return rows(client, "SELECT status, count() FROM analytics.archive_files FINAL GROUP BY status ORDER BY status")


def whole(client: Client) -> tuple[int, bool]:
    """How many trades there are, and whether each id from the first to the last is there once."""
    return rows(client, "SELECT count(), count() = max(trade_id) - min(trade_id) + 1 FROM analytics.v_trades")[0]  # type: ignore[return-value]


def failing(client: Client, part: Rectangle = PART) -> list[str]:
    return [c.name for c in every_check() if c.dataset is TRADES and offenders(client, c, part, NOW)]


def answers(
    base: str, tmp_path: Path, venue: str, symbol: str, windows: list[tuple[dt.datetime, dt.datetime]]
) -> list[Fetched]:
    access = Access(base, tmp_path / "governor.sqlite3", limits_factor=LIFTED)
    with source_of(venue).open(access) as connection:
        asked = [connection.submit("trades", symbol, "", a, b, NOW) for a, b in windows]
        return [one.result() for one in asked]


@pytest.mark.parametrize(
    ("venue", "symbol", "start", "unit", "has_header"),
    [
        ("binance_spot", "SOLBTC", START, "us", False),
        ("binance_spot", "SOLBTC", dt.datetime(2024, 12, 31, tzinfo=UTC), "ms", False),
        ("binance_perp", "LTCUSDT", dt.datetime(2025, 7, 18, tzinfo=UTC), "ms", True),
    ],
)
def test_files_are_rest_value_for_value(
    files: Exchanges, tmp_path: Path, venue: str, symbol: str, start: dt.datetime, unit: str, has_header: bool
) -> None:
    assert files.base_url
    windows = [(start + n * HOUR, start + (n + 1) * HOUR) for n in range(3)]
    found = answers(files.base_url, tmp_path, venue, symbol, windows)
    access = {"base_url": files.base_url, "governor_file": tmp_path / "governor.sqlite3", "limits_factor": LIFTED}
    with open_venue(venue, **access) as connection:  # type: ignore[arg-type]
        told = [connection.submit("trades", symbol, "", a, b, NOW).result().table for a, b in windows]
    for mine, rest in zip(found, told, strict=True):
        assert mine.table.num_rows > 100
        times = pc.floor_temporal(mine.table["timestamp"], unit="millisecond")
        same = mine.table.set_column(0, mine.table.schema.field(0), times)
        assert same.combine_chunks().equals(rest.combine_chunks())
        assert mine.lacks == ()
    (file,) = [file for one in found for file in one.files]  # told once, of many windows
    assert (file.status, file.checksum_status, file.time_unit, file.has_header) == (
        "loaded",
        "verified",
        unit,
        has_header,
    )
    assert sum(one.cost.requests for one in found) == 2
    if unit == "us":
        assert any(us % 1000 for us in found[0].table["timestamp"].cast(pa.int64()).to_pylist())


def test_a_day_comes_from_its_file_with_its_ids(emptied: Client, files: Exchanges) -> None:
    landed = bring(emptied, files)
    count, is_whole = whole(emptied)
    assert (landed.failures, landed.files, landed.by_source) == ([], ["loaded"], {"archive_daily": count})
    assert is_whole
    assert count > 10_000
    ledger = rows(
        emptied,
        "SELECT first_id, last_id, row_count, source FROM analytics.ingest_batches WHERE dataset = 'trades'"
        " ORDER BY window_start",
    )
    assert [last - first + 1 for first, last, _, _ in ledger] == [n for _, _, n, _ in ledger]
    assert [a[1] + 1 for a in ledger[:-1]] == [b[0] for b in ledger[1:]]
    assert (len(ledger), {row[3] for row in ledger}) == (24, {"archive_daily"})
    (file,) = rows(
        emptied,
        "SELECT key, interval, status, rows, time_unit, toDate(period_start) FROM analytics.archive_files FINAL",
    )
    assert file == (FILE, "", "loaded", count, "us", DAY)
    assert failing(emptied) == []
    again = bring(emptied, files)
    assert (again.rows, again.cost.requests) == (0, 0)


def test_a_trade_told_in_ms_and_in_us_is_one_trade(emptied: Client, files: Exchanges) -> None:
    bring(emptied, files)
    before = rows(emptied, "SELECT * FROM analytics.v_trades ORDER BY trade_id LIMIT 3")
    landed = bring(emptied, files, wish="rest", refetch=True)
    assert landed.rows == whole(emptied)[0]
    assert failing(emptied) == []
    assert rows(emptied, "SELECT * FROM analytics.v_trades ORDER BY trade_id LIMIT 3") == before


@pytest.mark.parametrize(
    ("order", "status"),
    [
        ({"kind": "torn"}, "cannot be read whole"),
        ({"kind": "contradicts", "start": 500, "rows": 3}, "contradicts itself"),
        ({"kind": "second_member"}, "2 members"),
        ({"kind": "foreign"}, "is of something else"),
        ({"kind": "bomb"}, "times as much"),
        ({"kind": "mixed_units"}, "not all of one unit"),
    ],
)
def test_nothing_of_a_file_that_is_not_believed_is_read(
    emptied: Client, files: Exchanges, order: dict[str, Any], status: str
) -> None:
    wrong(files, **order)
    wrong(files, "missing", MONTHS)
    assert len(bring(emptied, files).failures) == 24
    assert published(emptied) == {}
    ((reason,),) = rows(emptied, "SELECT reason FROM analytics.archive_files FINAL WHERE status = 'corrupt'")
    assert status in reason
    if order["kind"] == "torn":
        assert bring(emptied, files, wish="best").failures == []
        assert (published(emptied).keys(), whole(emptied)[1]) == ({"rest"}, True)


@pytest.mark.parametrize(
    ("since", "minutes"),
    [
        pytest.param(NOON_MS + 60_000, 1, id="a minute"),
        pytest.param(NOON_MS, 120, id="whole hours"),
        pytest.param(NOON_MS, 720, id="its end"),
        pytest.param(NOON_MS - 43_200_000, 180, id="its beginning"),
    ],
)
def test_what_a_file_lacks_rest_is_asked_for(emptied: Client, files: Exchanges, since: int, minutes: int) -> None:
    wrong(files, "lacks", since=since, minutes=minutes)
    wrong(files, "missing", MONTHS)
    landed = bring(emptied, files, wish="best")
    assert landed.failures == []
    assert published(emptied).keys() == {"archive_daily", "rest"}
    assert whole(emptied)[1]
    assert failing(emptied) == []
    told = "SELECT min(timestamp_unix), max(timestamp_unix) FROM analytics.v_trades WHERE source = 'rest'"
    ((first, last),) = rows(emptied, told)
    assert since * 1000 <= first <= last < (since + minutes * 60_000) * 1000


def test_where_no_file_of_a_day_is_its_month_stands_in(emptied: Client, files: Exchanges) -> None:
    wrong(files, "missing")
    landed = bring(emptied, files)
    assert landed.failures == []
    assert sorted(landed.files) == ["hole", "loaded"]
    assert published(emptied).keys() == {"archive_monthly"}
    assert whole(emptied)[1]


def test_rows_that_repeat_are_counted_and_one_is_kept(emptied: Client, files: Exchanges) -> None:
    wrong(files, "doubled", start=700, rows=4000)
    assert bring(emptied, files).failures == []
    assert rows(emptied, "SELECT status, duplicates FROM analytics.archive_files FINAL") == [("loaded", 4000)]
    assert whole(emptied)[1]
    assert failing(emptied) == []


@pytest.mark.parametrize("kind", ["header", "unit"])
def test_a_header_and_a_unit_are_told_by_the_bytes(emptied: Client, files: Exchanges, kind: str) -> None:
    wrong(files, kind)
    assert bring(emptied, files).failures == []
    assert whole(emptied)[1]
    (told,) = rows(emptied, "SELECT has_header, time_unit FROM analytics.archive_files FINAL")
    assert told == ((True, "us") if kind == "header" else (False, "ms"))


def test_a_value_that_is_no_number_is_kept_and_not_published(emptied: Client, files: Exchanges) -> None:
    wrong(files, "garbled", column=1)  # the price of the first row
    assert bring(emptied, files).failures == []
    ((rule, said),) = rows(emptied, "SELECT rule, row FROM analytics.rejected_rows WHERE dataset = 'trades'")
    assert (rule, "halted" in said) == ("required_columns_are_not_null", True)
    assert whole(emptied)[1]  # from the second on
    assert bring(emptied, files, wish="rest", refetch=True).failures == []
    assert published(emptied)["rest"] == 1


def test_an_unverified_file_ranks_as_rest(emptied: Client, files: Exchanges) -> None:
    wrong(files, "stale")
    bring(emptied, files)
    assert published(emptied).keys() == {"archive_unverified"}
    assert rows(emptied, "SELECT status, checksum_status FROM analytics.archive_files FINAL") == [
        ("unverified", "mismatch")
    ]


def test_a_file_with_other_values_is_told_and_what_was_published_stays(emptied: Client, files: Exchanges) -> None:
    bring(emptied, files)
    before = rows(emptied, "SELECT trade_id, price FROM analytics.v_trades ORDER BY trade_id")
    wrong(files, "revised", start=3, rows=2)
    bring(emptied, files, refetch=True)
    assert rows(emptied, "SELECT trade_id, price FROM analytics.v_trades ORDER BY trade_id") == before
    (check,) = [c for c in every_check() if c.dataset is TRADES and c.name == "trades_do_not_contradict"]
    assert len(offenders(emptied, check, PART, NOW)) == 2
    assert seen(emptied) == [("loaded", 1), ("superseded", 1)]


def test_the_watch_reads_a_replaced_file_of_trades_again(emptied: Client, files: Exchanges) -> None:
    wrong(files, "lacks", since=NOON_MS, minutes=1)
    wrong(files, "missing", MONTHS)
    bring(emptied, files)
    assert not whole(emptied)[1]
    # Of a month only the days that were read need to be made by the sandbox.
    wrong(files, "missing", f"{FOLDER}2025-06-[13]*")
    wrong(files, "missing", f"{FOLDER}2025-06-2*")
    wrong(files, "missing", f"{FOLDER}2025-06-0[13-9]*")
    found = watch(emptied, files, UNIVERSE, run_id="watch", lock=lambda dataset: nullcontext())
    assert (found.compared, found.changed, found.failed) == (1, (), {})
    requests.delete(f"{files.base_url}/_archive", timeout=5)  # the venue mends it
    for others in ("2025-06-[13]*", "2025-06-2*", "2025-06-0[13-9]*"):
        wrong(files, "missing", FOLDER + others)
    found = watch(emptied, files, UNIVERSE, run_id="watch", lock=lambda dataset: nullcontext())
    assert [(c.key, c.source.name) for c in found.changed] == [(FILE, "archive_daily")]
    assert whole(emptied)[1]
    assert failing(emptied) == []


# The choice


def chosen(
    venue: str, start: dt.datetime, hours: int, wish: str = "best", now: dt.datetime = NOW, **more: Any
) -> list[str]:
    instrument = SPOT if venue == "binance_spot" else PERP
    left = [Left(Window(instrument, "", start, start + hours * HOUR), **more)]
    return [source.name for source, _ in shared_out(ranked(venue, "trades", [""]), "trades", left, wish, now)]


def test_whole_days_go_to_files_and_hours_to_rest() -> None:
    assert chosen("binance_spot", START, 24) == ["archive_daily"]
    assert chosen("binance_spot", START, 1) == ["rest"]
    assert chosen("binance_spot", NOW - 24 * HOUR, 24) == ["rest"]  # its file is not there yet
    assert chosen("binance_spot", START, 24, "rest") == ["rest"]
    assert chosen("binance_spot", START, 1, "archive") == ["archive_daily"]


def test_what_rest_has_let_go_of_files_are_asked_for() -> None:
    assert chosen("binance_perp", START, 1) == ["archive_daily"]  # older than the 48 hours of REST
    assert chosen("binance_perp", NOW - 24 * HOUR, 1) == ["rest"]
    young, noon = NOW - 47 * HOUR, NOW + 12 * HOUR  # REST has let go of it, and its file should come the day after
    assert chosen("binance_perp", young, 1, now=noon) == ["rest"]
    tried = frozenset({"rest"})
    assert chosen("binance_perp", young, 1, now=noon, tried=tried, let_go=tried) == ["archive_daily"]
    assert chosen("binance_perp", START, 1, tried=tried) == []  # it failed: files do not make up for that


def test_perpetuals_older_than_rest_serves_come_from_files(emptied: Client, files: Exchanges) -> None:
    part = Rectangle((PERP,), DAY, DAY + dt.timedelta(days=1))
    landed = bring(emptied, files, part, wish="best")
    assert landed.failures == []
    assert published(emptied).keys() == {"archive_daily"}
    assert whole(emptied)[1]


def test_a_plan_says_objects_and_bytes(emptied: Client) -> None:
    part = Rectangle((SPOT,), DAY, DAY + dt.timedelta(days=3))
    (venue,) = predict(emptied, UNIVERSE, TRADES, [part]).venues
    (share,) = venue.shares
    assert (share.source, share.windows, share.requests) == ("archive_daily", 3, 6)
    assert share.bytes == 3 * 86_400 * 10 * 14
