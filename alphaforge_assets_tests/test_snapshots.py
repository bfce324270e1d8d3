"""Snapshots one promise at a time; random histories of everything at once are in test_snapshots_machine.py."""

import datetime as dt
import json
import re
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from clickhouse_connect.driver.client import Client

from alphaforge_assets.datasets.bars import BARS
from alphaforge_assets.datasets.dataset import NO_GRID
from alphaforge_assets.datasets.fear_greed_index import FEAR_GREED_INDEX
from alphaforge_assets.datasets.funding_rates import FUNDING_RATES
from alphaforge_assets.datasets.registry import DATASETS
from alphaforge_assets.errors import BadInput, Permanent
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.pipeline.landing import land
from alphaforge_assets.pipeline.mart import publish
from alphaforge_assets.pipeline.staging import stage
from alphaforge_assets.research import hashes, snapshots
from alphaforge_assets.research.hashes import contents
from alphaforge_assets.universe import FEAR_GREED, load_universe
from alphaforge_assets.venues.directory import Exchanges
from alphaforge_assets.warehouse import statements
from alphaforge_assets.warehouse.client import open_warehouse
from alphaforge_assets_tests.installed import Installed
from alphaforge_assets_tests.test_snapshots_machine import HOURS, INSTRUMENTS, START, WHOLE, Warehouse, both

BTC, ETH = (i.key for i in INSTRUMENTS)
UNIVERSE = load_universe()
FAR = dt.datetime(2199, 1, 1, tzinfo=dt.UTC)
WHERE = "instrument_id = CRC32('binance_spot.BTC-USDT') AND timestamp = '2025-05-30 05:00:00'"


@pytest.fixture(scope="module")
def server(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    """One server for the module."""
    home = Installed(tmp_path_factory.mktemp("snapshots")).furnished(template).home
    with open_warehouse(home) as client, open_warehouse(home) as other:
        yield Warehouse(client, other, home)


@pytest.fixture
def at(server: Warehouse) -> Warehouse:
    """A warehouse with three days of two instruments and no snapshots."""
    server.clear()
    server.refresh(0, HOURS, 100)
    return server


def revise(at: Warehouse, hour: int, says: int, instrument: int = 0) -> None:
    at.said[instrument, hour] = says
    at.refresh(hour, hour + 1, 1)


def test_what_is_read_of_a_snapshot_outlives_revision_and_unpinning_leaves_a_trace(at: Warehouse) -> None:
    pinned = snapshots.pin(at.client, "study", WHOLE)
    assert (pinned.name, pinned.rows, pinned.contents) == ("study", 2 * HOURS, WHOLE)
    before = at.rows(pinned)
    revise(at, 5, 1)
    assert at.rows(pinned).equals(before)
    assert snapshots.verify(at.client, "study") == []
    assert snapshots.find(at.client, "study") == pinned
    assert snapshots.listed(at.client) == [pinned]
    assert snapshots.unpin(at.client, "study") == pinned
    assert snapshots.listed(at.client) == []
    events = at.client.query("SELECT event FROM analytics.snapshots ORDER BY recorded_at").result_columns[0]
    assert events == ["begun", "pinned", "unpinned"]
    assert snapshots.pin(at.client, "study", WHOLE).content != pinned.content


def test_a_pin_waits_for_a_publication_that_took_its_time_before_the_instant(at: Warehouse) -> None:
    """The race: its rows carry an earlier time than the instant and become visible after it."""
    slow = """INSERT INTO analytics.bars_history
        SELECT * REPLACE (close_e8 + 50000000 AS close_e8, version + 1 AS version, now64(3, 'UTC') AS published_at)
        FROM analytics.bars_history WHERE toHour(timestamp) = 3 AND sleepEachRow(0.25) = 0"""
    thread = threading.Thread(target=lambda: at.other.command(slow))
    thread.start()
    while not snapshots._running(at.client, snapshots._HISTORIES):
        time.sleep(0.01)
    pinned = snapshots.pin(at.client, "study", WHOLE)
    rows = at.rows(pinned)
    thread.join()
    assert at.rows(pinned).equals(rows)
    assert snapshots.verify(at.client, "study") == []
    halves = [close for close in rows["close"].to_pylist() if close % 1 == 0.5]
    assert len(halves) == 6  # three days of two instruments


def test_publications_after_a_pin_are_later_though_the_clock_was_set_back(at: Warehouse) -> None:
    """An instant that lies ahead of the clock is what a clock set back leaves behind."""
    at.client.command(
        "INSERT INTO analytics.snapshots (name, snapshot_id, event, pinned_at)"
        " VALUES ('x', generateUUIDv4(), 'begun', '2100-01-01')"
    )
    text = statements.text("mart/history")
    (taken,) = re.findall(r"(greatest\(now64.*\)) AS published_at", text)
    (moment,) = at.client.query(f"SELECT toString({taken})").result_columns[0]
    assert moment == "2100-01-01 00:00:00.001"


def test_a_pin_holds_all_that_can_be_read_though_the_clock_was_set_back(at: Warehouse) -> None:
    at.client.command(
        "INSERT INTO analytics.bars_history SELECT * REPLACE (close_e8 + 50000000 AS close_e8, version + 1 AS version,"
        f" toDateTime64('2100-01-01', 3, 'UTC') AS published_at) FROM analytics.bars_history WHERE {WHERE}"
    )
    pinned = snapshots.pin(at.client, "study", WHOLE)
    assert pinned.pinned_at == dt.datetime(2100, 1, 1, tzinfo=dt.UTC)
    before = at.rows(pinned)
    revise(at, 6, 1)
    assert at.rows(pinned).equals(before)
    assert snapshots.verify(at.client, "study") == []


def test_two_machines_agree_whatever_the_order_the_batches_and_the_kills(
    at: Warehouse, template: Path, tmp_path: Path
) -> None:
    home = Installed(tmp_path / "second").furnished(template).home
    with open_warehouse(home) as client, open_warehouse(home) as other:
        second = Warehouse(client, other, home)
        second.clear()
        revise(at, 7, 2)
        revise(at, 7, 1)
        second.said[0, 7] = 1
        for first, last, batch in ((40, HOURS, 9), (0, 44, 13)):
            second.land(first, last, batch)
            second.stage()
            half = {"instruments": [INSTRUMENTS[1].instrument_id], "start": WHOLE.start, "end": WHOLE.end}
            statements.execute(client, "mart/history", **half, **BARS.tables)  # and killed
        second.publish()
        client.command("OPTIMIZE TABLE analytics.bars_history FINAL")
        here, there = (snapshots.pin(w.client, "study", WHOLE) for w in (at, second))
        assert here.content == there.content
        revise(second, 8, 1)
        assert snapshots.pin(client, "later", WHOLE).content != here.content


def test_hashes_tell_null_from_nothing_and_every_value_from_every_other(at: Warehouse) -> None:
    """The constant also holds the hashed columns and their order: changing those breaks every snapshot there is."""
    values = ["NULL", "0", "-0.0", "nan", "1"]
    for n, value in enumerate(values):
        bar(at.client, n, f"{value} AS quote_volume")
    bar(at.client, 5, "NULL AS quote_volume, 0 AS contract_volume")
    bar(at.client, 6, "0 AS quote_volume, NULL AS contract_volume")
    keys = tuple(f"binance_spot.T{n}-USDT" for n in range(7))
    found = hashes.hashes(at.client, replace(WHOLE, instruments=keys), FAR)
    assert len({(h.low, h.high) for h in found.values()}) == 7
    assert hashes.content_of(found) == "9b4e65e7911becf4b81b0ea20ef9ea7bcc44c8dd4c84c987303d4e9fc5049a24"


def packed(column: str) -> str:
    """As judged_bars does it."""
    units = f"toInt64(round(if({column} >= 0 AND {column} < 90071992, {column}, 0) * 100000000))"
    is_exact = f"reinterpretAsUInt64({units} / 100000000) = reinterpretAsUInt64(toFloat64({column}))"
    return f"if({is_exact}, {units}, reinterpretAsInt64(toFloat64({column}))) AS {column}"


VALUES = ("open", "high", "low", "close", "volume", "quote_volume", "contract_volume")
PACKED = ", ".join(packed(c) for c in (*VALUES, "taker_buy_base_volume", "taker_buy_quote_volume"))


def bar(client: Client, n: int, values: str) -> None:
    client.command(
        f"""INSERT INTO analytics.bars_history SELECT * EXCEPT earliest REPLACE ({PACKED}) FROM (
            SELECT * REPLACE ({values}) FROM (
            SELECT CRC32('binance_spot.T{n}-USDT') AS instrument_id, 'binance_spot' AS venue, 'T{n}/USDT' AS symbol,
                '1h' AS interval, toDateTime64('2025-05-30 01:00:00', 3, 'UTC') AS timestamp, timestamp AS close_time,
                1.0 AS open, 3.0 AS high, 0.5 AS low, 2.0 AS close, 10.0 AS volume, 20.0 AS quote_volume,
                30.0 AS contract_volume, 5 AS trade_count, 4.0 AS taker_buy_base_volume, 8.0 AS taker_buy_quote_volume,
                'rest' AS source, generateUUIDv4() AS batch_id, timestamp AS ingested_at, 1 AS version,
                timestamp AS published_at, 0 AS earliest))"""
    )


def test_pinning_the_same_again_is_nothing_and_anything_else_is_refused(at: Warehouse) -> None:
    pinned = snapshots.pin(at.client, "study", WHOLE)
    assert snapshots.pin(at.client, "study", WHOLE) == pinned
    with pytest.raises(BadInput, match="asked to hold something else: take another name"):
        snapshots.pin(at.client, "study", replace(WHOLE, instruments=(BTC,)))
    revise(at, 5, 1)
    with pytest.raises(BadInput, match="the data has changed since"):
        snapshots.pin(at.client, "study", WHOLE)
    assert snapshots.listed(at.client) == [pinned]


def test_a_crash_in_the_middle_of_a_pin_leaves_nothing_to_see(at: Warehouse) -> None:
    snapshot_id = str(uuid.uuid4())
    statements.execute(at.client, "snapshots/begin", **snapshots._asked(at.client, "study", snapshot_id, WHOLE))
    snapshots._keep(at.client, snapshot_id, hashes.hashes(at.client, WHOLE, FAR))
    assert snapshots.listed(at.client) == []
    with pytest.raises(BadInput, match="no snapshot named 'study'"):
        snapshots.verify(at.client, "study")
    assert snapshots.pin(at.client, "study", WHOLE).rows == 2 * HOURS


def test_of_two_pins_of_a_name_at_once_one_has_it_and_the_other_is_told(at: Warehouse) -> None:
    for n in range(5):
        said: list[Any] = []

        def one(client: Client, key: str, name: str = f"race{n}", said: list[Any] = said) -> None:
            try:
                said.append(snapshots.pin(client, name, replace(WHOLE, instruments=(key,))))
            except BadInput as error:
                said.append(error)

        both(lambda: one(at.other, BTC), lambda: one(at.client, ETH))
        (winner,) = [s for s in said if isinstance(s, snapshots.Snapshot)]
        (loser,) = [s for s in said if isinstance(s, BadInput)]
        assert "asked to hold something else" in str(loser)
        assert snapshots.find(at.client, f"race{n}") == winner


def test_tampering_is_found_and_placed(at: Warehouse) -> None:
    snapshots.pin(at.client, "study", WHOLE)
    where = "ALTER TABLE analytics.bars_history UPDATE close_e8 = close_e8 + 50000000"
    where += f" WHERE {WHERE} SETTINGS mutations_sync = 2"
    at.client.command(where)
    may = hashes.Difference("bars", BTC, "1h", dt.date(2025, 5, 1), 48, 48)
    assert snapshots.verify(at.client, "study") == [may]
    at.client.command(where.replace("+ 5", "- 5"))
    assert snapshots.verify(at.client, "study") == []
    at.client.command(
        "INSERT INTO analytics.bars_history SELECT * REPLACE (timestamp + INTERVAL 1 SECOND AS timestamp)"
        f" FROM (SELECT * FROM analytics.bars_history WHERE {WHERE})"
    )
    assert snapshots.verify(at.client, "study") == [replace(may, rows_found=49)]
    at.client.command(
        "ALTER TABLE analytics.snapshot_hashes DELETE WHERE month = '2025-06-01' SETTINGS mutations_sync = 2"
    )
    with pytest.raises(Permanent, match="not those it was pinned with"):
        snapshots.verify(at.client, "study")


def test_a_difference_names_old_and_new_values_and_the_batch(at: Warehouse) -> None:
    at.clear()
    at.said[1, 9] = None
    at.refresh(0, HOURS, 100)
    first = snapshots.pin(at.client, "first", replace(WHOLE, end=START + dt.timedelta(hours=12)))
    assert snapshots.diff(at.client, "first").empty
    revise(at, 5, 1)
    second = snapshots.pin(at.client, "second", first.contents)
    revise(at, 9, 0, instrument=1)
    frame = snapshots.diff(at.client, "first", "second")
    assert set(frame["change"]) == {"changed"}
    closes = frame[frame["column"] == "close"]
    assert closes[["old", "new"]].to_numpy().tolist() == [["106", "106.25"]]
    batch = at.client.command(f"SELECT batch_id FROM analytics.v_bars WHERE {WHERE} AND interval = '1h'")
    assert set(frame["batch_id"]) == {str(batch)}
    assert first.pinned_at < frame["published_at"].min() <= second.pinned_at
    now = snapshots.diff(at.client, "second")
    assert set(now["change"]) == {"added"}
    assert now["old"].isna().all()
    assert set(now["timestamp"]) == {START + dt.timedelta(hours=9)}
    both_ways = snapshots.diff(at.client, "first")
    assert set(both_ways["change"]) == {"changed", "added"}
    assert both_ways.attrs["is_complete"]
    bounded = snapshots.diff(at.client, "first", rows_max=1)
    assert len(bounded["timestamp"].unique()) == 1
    assert not bounded.attrs["is_complete"]
    assert list(bounded.dtypes) == list(both_ways.dtypes) == list(snapshots._no_difference().dtypes)


def test_as_of_views_have_the_columns_of_the_current_ones_and_all_datasets_can_be_pinned(
    migrated: Client, exchange: Exchanges
) -> None:
    key = "okx_perp.BTC-USDT"
    whole = contents(UNIVERSE, key, "1h", START, START + dt.timedelta(days=3), tuple(DATASETS))
    for dataset, instruments in ((BARS, (key,)), (FUNDING_RATES, (key,)), (FEAR_GREED_INDEX, ())):
        chosen = UNIVERSE.select(instruments) if instruments else (FEAR_GREED,)
        part = Rectangle(chosen, START.date(), START.date() + dt.timedelta(days=3))
        intervals = {"bars": ("1h",), "funding_rates": NO_GRID}.get(dataset.name, ("1d",))
        assert land(migrated, exchange, part, dataset, intervals, run_id="test").failures == []
        stage(migrated, part, dataset, intervals)
        publish(migrated, part, dataset, intervals)
    pinned = snapshots.pin(migrated, "everything", whole)
    assert pinned.rows == 72 + 9 + 3
    assert snapshots.verify(migrated, "everything") == []
    assert snapshots.diff(migrated, "everything").empty
    for table in ("bars_history", "funding_rates_history", "fear_greed_index_history"):
        column = {"bars_history": "close_e8", "funding_rates_history": "rate", "fear_greed_index_history": "value"}[
            table
        ]
        migrated.command(
            f"INSERT INTO analytics.{table} SELECT * REPLACE ({column} + 1 AS {column}, version + 1 AS version,"
            " now64(3, 'UTC') + 1 AS published_at)"
            f" FROM analytics.{table} WHERE timestamp = toDateTime64('2025-05-31 00:00:00', 3, 'UTC')"
        )
    frame = snapshots.diff(migrated, "everything")
    assert [tuple(row) for row in frame[["dataset", "column", "change"]].to_numpy()] == [
        ("bars", "close", "changed"),
        ("fear_greed_index", "value", "changed"),
        ("funding_rates", "rate", "changed"),
    ]
    assert snapshots.verify(migrated, "everything") == []
    bound = "as_of = '2100-01-01', instruments = [1], start = '2020-01-01', end = '2100-01-01'"
    for view, current in (("bars", "v_bars"), ("funding_rates", "v_funding"), ("fear_greed_index", "v_fear_greed")):
        more = ", interval = '1h'" if view == "bars" else ""
        columns = [
            migrated.query(f"DESCRIBE (SELECT * FROM analytics.{view}_as_of({bound}{more}))").result_rows,
            migrated.query(f"DESCRIBE TABLE analytics.{current}").result_rows,
        ]
        assert [row[:2] for row in columns[0]] == [row[:2] for row in columns[1]]


IMPOSSIBLE: dict[str, tuple[dict[str, Any], str]] = {
    "instrument": ({"instruments": "binance_spot.BTC-USD"}, "did you mean binance_spot.BTC-USDT"),
    "no instrument": ({"instruments": ()}, "no instrument named"),
    "interval": ({"interval": "2m"}, "interval '2m': use one of"),
    "no interval": ({"interval": ()}, "bars need one of"),
    "reversed": ({"end": START - dt.timedelta(1)}, "is not after start"),
    "empty range": ({"end": START}, "is not after start"),
    "dataset": ({"datasets": ("ticks",)}, "dataset 'ticks': use one of bars"),
    "no dataset": ({"datasets": ()}, "no dataset named"),
    "funding of spot": ({"datasets": "funding_rates"}, "no perpetual among them"),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_contents_that_cannot_be_are_named(case: str) -> None:
    change, said = IMPOSSIBLE[case]
    asked = {"instruments": BTC, "interval": "1h", "start": START, "end": START + dt.timedelta(days=1)} | change
    with pytest.raises(BadInput, match=re.escape(said)):
        contents(UNIVERSE, **asked)


@pytest.mark.parametrize("name", ["", "-x", "Study", "a b", "a/b", "x" * 101, "é"])
def test_a_name_is_plain(name: str, warehouse: Client) -> None:
    with pytest.raises(BadInput, match="small letters, digits"):
        snapshots.pin(warehouse, name, WHOLE)


def test_where_there_is_nothing_there_is_no_snapshot(at: Warehouse) -> None:
    with pytest.raises(BadInput, match="nothing to pin: no bars from 2024"):
        snapshots.pin(
            at.client, "study", replace(WHOLE, start=START.replace(year=2024), end=START.replace(year=2024, month=6))
        )
    assert snapshots.listed(at.client) == []


def test_large_contents_are_cut_at_months_and_lose_nothing() -> None:
    ids = list(range(250))
    cuts = list(hashes._slices(BARS, "1m", ids, START, dt.datetime(2026, 2, 3, 4, tzinfo=dt.UTC)))
    assert sorted({i for some, _, _ in cuts for i in some}) == ids
    assert all(len(some) * (high - low) / dt.timedelta(minutes=1) <= 5_000_000 for some, low, high in cuts)
    for _, low, high in cuts:
        assert low == START or low.day == 1
        assert high.day == 1 or high.day == 3
    (whole,) = hashes._slices(FEAR_GREED_INDEX, "", [1], START, dt.datetime(2034, 1, 1, tzinfo=dt.UTC))
    assert whole[1:] == (START, dt.datetime(2034, 1, 1, tzinfo=dt.UTC))


# They keep the same numbers in other columns: test_packed holds that what is read, and so every hash, stays.
REWRITES_HISTORY = {"V013__packed_bars.sql", "V013_1__only_packed_bars.sql"}


def test_no_statement_of_ours_changes_history_in_place() -> None:
    for path in sorted(p for p in statements.SQL.rglob("*.sql") if p.name not in REWRITES_HISTORY):
        for history in re.findall(
            r"(?is)\b(?:alter|truncate|drop|rename|exchange|delete\s+from)\b[^;]*?_history\b[^;]*", path.read_text()
        ):
            assert not re.search(
                r"(?i)\b(update|delete|modify|drop|truncate|replace|move|exchange|rename)\b", history
            ), path


def test_the_command_line_pins_verifies_and_tells_what_changed(template: Path, tmp_path: Path) -> None:
    alphaforge = Installed(tmp_path / "installed")
    asked = ("--interval", "1h", "--from", "2025-05-30", "--to", "2025-06-02")
    wrong = alphaforge.run("pin", "study", "--instruments", "binance_spot.BTC-USD", *asked)
    assert (wrong.returncode, len(wrong.stderr.splitlines())) == (2, 1)
    assert not alphaforge.home.exists()
    with open_warehouse(alphaforge.furnished(template).home) as client:
        at = Warehouse(client, client, tmp_path)
        at.clear()
        at.refresh(0, HOURS, 100)
        for _ in range(2):
            assert "study: 72 rows as of" in alphaforge.well("pin", "study", "--instruments", BTC, *asked)
        assert "72 rows are as pinned" in alphaforge.well("verify", "study")
        assert "are the same" in alphaforge.well("diff", "study")
        revise(at, 5, 1)
        found = alphaforge.run("diff", "study")
        assert found.returncode == 1
        assert "close: 106 → 106.25" in found.stdout
        (batch,) = re.findall(r"batch ([0-9a-f-]{36}), rest", found.stdout)
        assert client.command(f"SELECT toString(batch_id) FROM analytics.v_bars WHERE {WHERE}") == batch
        assert alphaforge.run("pin", "study", "--instruments", BTC, *asked).returncode == 2
        client.command(f"ALTER TABLE analytics.bars_history DELETE WHERE {WHERE} SETTINGS mutations_sync = 2")
        lost = alphaforge.run("verify", "study")
        assert (lost.returncode, "1 months differ" in lost.stdout) == (1, True)
        (listed,) = json.loads(alphaforge.well("snapshots", "--json"))
        assert (listed["name"], listed["rows"]) == ("study", 72)
        missing = alphaforge.run("verify", "studi")
        assert (missing.returncode, missing.stderr) == (
            2,
            "alphaforge: no snapshot named 'studi': did you mean study?\n",
        )
        assert alphaforge.run("unpin", "study").returncode == 2  # nobody to ask
        assert "no longer pinned" in alphaforge.well("unpin", "study", "--yes")
        assert alphaforge.well("snapshots").startswith("no snapshots")
    with dg.DagsterInstance.from_config(str(alphaforge.home / "dagster")) as instance:
        events = instance.fetch_materializations(dg.AssetKey("snapshots"), limit=10).records
    assert [e.asset_materialization.metadata["name"].value for e in events if e.asset_materialization] == ["study"]
