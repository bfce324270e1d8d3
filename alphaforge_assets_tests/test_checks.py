"""Every rule is silent on sound data and fires on a row made to break it."""

import datetime as dt
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from clickhouse_connect.driver.client import Client

from alphaforge_assets.datasets.bars import BARS
from alphaforge_assets.datasets.registry import DATASETS
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.pipeline.landing import land
from alphaforge_assets.pipeline.mart import publish
from alphaforge_assets.pipeline.staging import stage
from alphaforge_assets.quality import checks
from alphaforge_assets.quality.checks import Check, asset_checks, every_check
from alphaforge_assets.universe import load_universe
from alphaforge_assets.venues.directory import Exchanges
from alphaforge_assets.warehouse.client import open_warehouse
from alphaforge_assets_tests.conftest import empty, filled_tables

UNIVERSE = load_universe()
DAY = dt.date(2025, 6, 1)
PART = Rectangle(UNIVERSE.select(["*.BTC-USDT"]), DAY, DAY + dt.timedelta(days=1))


@pytest.fixture(scope="module")
def sound(schema_home: Path, exchange: Exchanges) -> Iterator[list[str]]:
    """The tables of a sound day, in a database of that name: copying them back is quicker than landing them again."""
    with open_warehouse(schema_home) as client:
        empty(client)
        landed = land(client, exchange, PART, BARS, UNIVERSE.intervals, run_id="test")
        assert landed.failures == []
        stage(client, PART, BARS, UNIVERSE.intervals)
        publish(client, PART, BARS, UNIVERSE.intervals)
        tables = filled_tables(client)
        client.command("CREATE DATABASE sound")
        for table in tables:
            client.command(
                "CREATE TABLE sound.{t:Identifier} ENGINE = MergeTree ORDER BY tuple()"
                " AS SELECT * FROM analytics.{t:Identifier}",
                parameters={"t": table},
            )
        yield tables
        client.command("DROP DATABASE sound SYNC")


@pytest.fixture
def filled(sound: list[str], emptied: Client) -> Client:
    for table in sound:
        emptied.command(
            "INSERT INTO analytics.{t:Identifier} SELECT * FROM sound.{t:Identifier}",
            parameters={"t": table},
            settings={"insert_deduplicate": 0},
        )
    return emptied


BAR_RULES = [r for r in every_check() if r.dataset is BARS]


def offenders(client: Client, rule: Check) -> list[dict[str, Any]]:
    return checks.offenders(client, rule, PART, dt.datetime.now(dt.UTC))


def test_sound_data_breaks_no_rule(filled: Client) -> None:
    assert {rule.name: offenders(filled, rule) for rule in BAR_RULES} == {rule.name: [] for rule in BAR_RULES}


MUTATED = "SETTINGS mutations_sync = 2"
ONE_BAR = "WHERE interval = '1m' AND timestamp = '2025-06-01 05:00:00' LIMIT 1"
LAND = "INSERT INTO analytics.landing_bars SELECT * REPLACE ({}) FROM analytics.landing_bars "
PUBLISH = "INSERT INTO analytics.bars SELECT * REPLACE ({}) FROM analytics.bars " + ONE_BAR

# What to do to sound data so that the rule of this name has something to say. "stage " stages afterwards.
BREAKS = {
    "rows_are_inside_the_day": LAND.format("timestamp + INTERVAL 8 HOUR AS timestamp")
    + "WHERE interval = '1h' AND timestamp = '2025-06-02 04:00:00' LIMIT 1",
    "landing_is_accounted_for": LAND.format("close * 1.001 AS close, high * 1.002 AS high, now64(3) AS ingested_at")
    + ONE_BAR,
    "no_rows_are_rejected": "stage " + LAND.format("-1 AS volume, now64(3) AS ingested_at") + ONE_BAR,
    "answers_do_not_contradict": LAND.format("close * 1.001 AS close, high * 1.002 AS high") + ONE_BAR,
    "archives_agree": LAND.format("'archive_monthly' AS source, close * 1.001 AS close, high * 1.002 AS high")
    + ONE_BAR,
    "stream_agrees_with_rest": LAND.format("'ws' AS source, close * 1.001 AS close, high * 1.002 AS high") + ONE_BAR,
    "key_is_unique": PUBLISH.format("toUInt32(1) AS instrument_id"),
    "ohlc_is_sane": PUBLISH.format("intDiv(low_e8, 2) AS high_e8, version + 1 AS version"),
    "prices_are_positive": PUBLISH.format("0 AS low_e8, version + 1 AS version"),
    "volume_is_not_negative": PUBLISH.format("reinterpretAsInt64(-0.1) AS volume_e8, version + 1 AS version"),
    "required_columns_are_not_null": PUBLISH.format("NULL AS quote_volume_e8, version + 1 AS version"),
    "bars_are_on_the_grid": "INSERT INTO analytics.bars SELECT * REPLACE (timestamp + toIntervalSecond(7) AS"
    " timestamp) FROM analytics.bars WHERE interval = '1m' AND timestamp = '2025-06-01 05:00:07' LIMIT 1",
    "no_frozen_runs": "INSERT INTO analytics.bars SELECT * REPLACE (10 AS open_e8, 10 AS high_e8, 10 AS low_e8,"
    " 10 AS close_e8, 0 AS volume_e8, version + 1 AS version) FROM analytics.bars"
    " WHERE interval = '1m' AND venue = 'okx_spot'"
    " AND timestamp >= '2025-06-01 05:00:00' AND timestamp < '2025-06-01 06:00:00'",
    "hours_equal_their_minutes": PUBLISH.format("high_e8 * 2 AS high_e8, version + 1 AS version"),
    "derived_equal_venue": "INSERT INTO analytics.derived_bars"
    " SELECT * REPLACE (close_e8 + 1 AS close_e8, version + 1 AS version) FROM analytics.derived_bars"
    " WHERE interval = '1h' AND timestamp = '2025-06-01 05:00:00' LIMIT 1",
    "prices_agree_across_venues": PUBLISH.format("intDiv(close_e8 * 106, 100) AS close_e8, version + 1 AS version"),
    "asset_has_one_price": "INSERT INTO analytics.bars"
    " SELECT * REPLACE (intDiv(close_e8 * 6, 5) AS close_e8, version + 1 AS version)"
    " FROM analytics.bars WHERE interval = '1h' AND venue = 'okx_spot'"
    " AND timestamp >= '2025-06-01 05:00:00' AND timestamp < '2025-06-01 08:00:00'",
    "prices_do_not_jump": PUBLISH.format(
        "open_e8 * 37 AS open_e8, high_e8 * 37 AS high_e8, low_e8 * 37 AS low_e8, close_e8 * 37 AS close_e8,"
        " version + 1 AS version"
    ),
    "nothing_from_the_future": PUBLISH.format(
        "timestamp + toIntervalSecond(10) AS ingested_at, version + 1 AS version"
    ),
    "minutes_are_complete": "ALTER TABLE analytics.bars DELETE WHERE interval = '1m' AND venue = 'okx_spot'"
    " AND timestamp >= '2025-06-01 05:00:00' AND timestamp < '2025-06-01 05:03:00' SETTINGS mutations_sync = 2",
}


# Freshness is not about rows: test_freshness breaks it.
BROKEN_BY_ROWS = [r for r in BAR_RULES if r.name != checks.FRESHNESS]


@pytest.mark.parametrize("rule", BROKEN_BY_ROWS, ids=lambda rule: rule.name)
def test_a_rule_fires_on_a_row_made_to_break_it(filled: Client, rule: Check) -> None:
    statement = BREAKS[rule.name]
    filled.command(statement.removeprefix("stage "))
    if statement.startswith("stage "):
        stage(filled, PART, BARS, UNIVERSE.intervals)
    found = offenders(filled, rule)
    assert found, rule.name
    assert sum(row["rows"] for row in found) <= (60 if rule.name == "no_frozen_runs" else 5)
    if rule.name == "minutes_are_complete":
        assert [(r["venue"], r["first"], r["last"], r["rows"]) for r in found] == [
            ("okx_spot", dt.datetime(2025, 6, 1, 5, 0, tzinfo=dt.UTC), dt.datetime(2025, 6, 1, 5, 2, tzinfo=dt.UTC), 3)
        ]


BAD_ROWS = {
    "required_columns_are_not_null": {"close": None},
    "numbers_are_finite": {"high": float("inf")},
    "prices_are_positive": {"low": 0.0},
    "volume_is_not_negative": {"volume": -1.0},
    "ohlc_is_sane": {"high": 1.0},
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_a_row_that_breaks_a_rule_is_kept_named_and_not_published(emptied: Client, name: str) -> None:
    sound = {"open": 10.0, "high": 12.0, "low": 9.0, "close": 11.0, "volume": 3.0}
    insert_landing(emptied, dt.datetime(2025, 6, 1, tzinfo=dt.UTC), sound)
    insert_landing(emptied, dt.datetime(2025, 6, 1, 0, 1, tzinfo=dt.UTC), sound | BAD_ROWS[name])
    for _ in range(2):  # judging again changes nothing
        stage(emptied, PART, BARS, UNIVERSE.intervals)
        publish(emptied, PART, BARS, UNIVERSE.intervals)
    assert emptied.query("SELECT rule, count() FROM analytics.rejected_rows GROUP BY rule").result_rows == [(name, 1)]
    assert emptied.query("SELECT count() FROM analytics.v_bars").result_rows == [(1,)]
    accounted = next(r for r in every_check() if r.name == "landing_is_accounted_for")
    assert offenders(emptied, accounted) == []


def test_every_way_to_lose_or_invent_a_row_is_told_from_the_others(emptied: Client) -> None:
    accounted = next(r for r in every_check() if r.name == "landing_is_accounted_for")
    sound = {"open": 10.0, "high": 12.0, "low": 9.0, "close": 11.0, "volume": 3.0}
    first = dt.datetime(2025, 6, 1, tzinfo=dt.UTC)
    for minute in range(3):
        insert_landing(emptied, first + dt.timedelta(minutes=minute), sound)
    stage(emptied, PART, BARS, UNIVERSE.intervals)
    assert offenders(emptied, accounted) == []
    insert_landing(emptied, first + dt.timedelta(minutes=3), sound)
    insert_landing(emptied, first + dt.timedelta(minutes=4), sound | {"volume": -1.0})
    emptied.command(f"ALTER TABLE analytics.landing_bars DELETE WHERE timestamp = '{first:%F %T}' {MUTATED}")
    found = {row["what"]: row["first"] for row in offenders(emptied, accounted)}
    assert found == {
        "in staging, not in landing": first,
        "in landing, neither staged nor superseded": first + dt.timedelta(minutes=3),
        "in landing, breaks a rule, not rejected": first + dt.timedelta(minutes=4),
    }


def insert_landing(client: Client, timestamp: dt.datetime, values: dict[str, float | None]) -> None:
    row = {
        "venue": "okx_spot",
        "symbol": "BTC/USDT",
        "interval": "1m",
        "timestamp": timestamp,
        "is_closed": True,
        "source": "rest",
    }
    row |= {"batch_id": uuid.uuid4(), "ingested_at": dt.datetime(2025, 7, 1, tzinfo=dt.UTC), **values}
    client.insert("analytics.landing_bars", [list(row.values())], column_names=list(row))


def test_checks_reach_dagster_with_the_offenders(filled: Client) -> None:
    filled.command(BREAKS["volume_is_not_negative"])
    (of_bars,) = [c for c in asset_checks(list(DATASETS.values())) if c.node_def.name == "bars_checks"]
    definitions = dg.Definitions(
        asset_checks=[of_bars], assets=[dg.AssetSpec("bars")], resources={"warehouse": filled, "universe": UNIVERSE}
    )
    with dg.DagsterInstance.ephemeral() as instance:
        result = definitions.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance)
    found = {e.check_name: e for e in result.get_asset_check_evaluations()}
    assert set(found) == {r.name for r in every_check() if r.asset == "bars"}
    broken = found["volume_is_not_negative"]
    assert not broken.passed
    assert broken.metadata["offending_rows"].value == 1
    assert found["key_is_unique"].passed
