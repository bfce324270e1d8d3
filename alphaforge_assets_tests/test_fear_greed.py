"""Fear & Greed from the source to v_fear_greed: recorded values, the open day, answers not believed, the rules."""

import datetime as dt
import json
import uuid
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow.parquet as pq
import pytest
from clickhouse_connect.driver.client import Client

from alphaforge_assets.datasets.fear_greed_index import FEAR_GREED_INDEX
from alphaforge_assets.definitions import build
from alphaforge_assets.errors import BadInput, VenueUnavailable
from alphaforge_assets.partitions import Rectangle, by_day, partition_key, rectangle, rectangle_of_tags
from alphaforge_assets.pipeline.landing import Landed, land
from alphaforge_assets.pipeline.mart import publish
from alphaforge_assets.pipeline.staging import stage
from alphaforge_assets.quality import checks
from alphaforge_assets.quality.checks import Check, every_check
from alphaforge_assets.quality.coverage import judge
from alphaforge_assets.research import IncompleteWarning, Research
from alphaforge_assets.sandbox import process as sandbox
from alphaforge_assets.universe import FEAR_GREED, load_universe
from alphaforge_assets.venues.alternative_me import IndexSource, read_history
from alphaforge_assets.venues.directory import Exchanges
from alphaforge_assets.venues.source import Access, Cost, Patience
from alphaforge_assets_tests.conftest import LIFTED, lifted
from alphaforge_assets_tests.test_pipeline import count, post

UNIVERSE = load_universe()
INTERVALS = FEAR_GREED_INDEX.intervals(UNIVERSE)
WHOLE = Rectangle((FEAR_GREED,), FEAR_GREED.listed_from, dt.date(2026, 6, 8))
MAY = Rectangle((FEAR_GREED,), dt.date(2025, 5, 1), dt.date(2025, 6, 1))


def refresh(client: Client, exchanges: Exchanges, part: Rectangle, *, refetch: bool = False) -> Landed:
    landed = land(client, exchanges, part, FEAR_GREED_INDEX, INTERVALS, run_id="test", refetch=refetch)
    stage(client, part, FEAR_GREED_INDEX, INTERVALS)
    publish(client, part, FEAR_GREED_INDEX, INTERVALS)
    return landed


def offenders(client: Client, rule: Check, part: Rectangle) -> list[dict[str, Any]]:
    return checks.offenders(client, rule, part, dt.datetime.now(dt.UTC))


MINE = [rule for rule in every_check() if rule.asset in FEAR_GREED_INDEX.chain]


@pytest.mark.recorded
def test_the_whole_recorded_history_arrives_value_for_value_in_one_request(
    emptied: Client, recorded: Path, tmp_path: Path
) -> None:
    source = pq.read_table(recorded / "market-data" / "fear_greed" / "alternative_me.parquet").to_pylist()
    wire = json.loads((recorded / "wire" / "alternative.me" / "fng_data_array_2018-02_2026-06.json").read_text())
    expected = sorted((r["timestamp"], r["value"], r["value_classification"]) for r in source)
    assert expected == sorted((int(r["timestamp"]), int(r["value"]), r["value_classification"]) for r in wire)
    now = dt.datetime(2026, 6, 6, 12, tzinfo=dt.UTC)
    with sandbox.start(recordings=recorded / "market-data", now=now, budget_scale=LIFTED) as url:
        exchanges = lifted(url, tmp_path / "governor.sqlite3")
        landed = refresh(emptied, exchanges, WHOLE)
        assert (landed.failures, landed.rows, landed.cost.requests) == ([], len(expected) - 1, 1)
        before = stored(emptied)
        refresh(emptied, exchanges, WHOLE)
        again = refresh(emptied, exchanges, WHOLE, refetch=True)
        assert (again.rows, again.cost.requests) == (len(expected) - 1, 1)
        assert stored(emptied) == before == expected[:-1]  # the newest is the open day
        assert count(emptied, "fear_greed_index_history") == len(expected) - 1
        # What is answered already is not asked again; the open day cannot be, so the source is asked for its clock.
        assert (
            refresh(emptied, exchanges, Rectangle((FEAR_GREED,), WHOLE.start, dt.date(2026, 6, 6))).cost.requests == 0
        )
    found = {rule.name: offenders(emptied, rule, WHOLE) for rule in MINE}
    holes = [
        (r["first"].date().isoformat(), r["last"].date().isoformat(), r["rows"]) for r in found.pop("days_are_complete")
    ]
    assert holes == [("2018-04-14", "2018-04-16", 3), ("2024-10-26", "2024-10-26", 1)]
    assert found == {name: [] for name in found}
    check_ledger(emptied, len(expected) - 1)


def check_ledger(client: Client, present: int) -> None:
    """The holes and only the holes, explained by what the source has around them."""
    stable = "SELECT * EXCEPT last_seen FROM analytics.v_gaps ORDER BY gap_start"
    judge(client, WHOLE, FEAR_GREED_INDEX, UNIVERSE)
    gaps = list(client.query(stable).named_results())
    judge(client, WHOLE, FEAR_GREED_INDEX, UNIVERSE)
    assert list(client.query(stable).named_results()) == gaps
    assert [(g["gap_start"].date(), g["gap_end"].date(), g["missing"], g["verdict"], g["is_open"]) for g in gaps] == [
        (dt.date(2018, 4, 14), dt.date(2018, 4, 17), 3, "venue_outage", True),
        (dt.date(2024, 10, 26), dt.date(2024, 10, 27), 1, "venue_outage", True),
    ]
    assert gaps[0]["evidence"] == (
        "the source answered and has the days before and after, but not these 3; it has no other series to compare with"
    )
    totals = client.query(
        "SELECT dataset, interval, count(), sum(expected), sum(present), sum(explained), min(score), min(is_settled)"
        " FROM analytics.v_coverage GROUP BY dataset, interval"
    ).result_rows
    assert totals == [("fear_greed_index", "1d", present + 4, present + 4, present, 4, 0.0, True)]


def stored(client: Client) -> list[tuple[int, int, str]]:
    found = client.query(
        "SELECT intDiv(timestamp_unix, 1000), value, classification, day = toDate(timestamp)"
        " FROM analytics.v_fear_greed ORDER BY timestamp"
    ).result_rows
    assert all(row[3] for row in found)
    return [tuple(row[:3]) for row in found]


def test_the_open_day_stays_out_until_it_is_over(emptied: Client, exchange: Exchanges) -> None:
    with sandbox.start(now=dt.datetime(2025, 5, 20, 23, 59, tzinfo=dt.UTC), budget_scale=LIFTED) as url:
        own = lifted(url, exchange.governor_file)
        assert refresh(emptied, own, MAY).rows == 19
        assert refresh(emptied, own, MAY).rows == 0
        assert last_day(emptied) == dt.date(2025, 5, 19)
        post(url, "/_clock", {"now": "2025-05-21T00:00:10Z"})
        assert refresh(emptied, own, MAY).rows == 1
        assert last_day(emptied) == dt.date(2025, 5, 20)
    assert count(emptied, "landing_fear_greed_index") == 20


def last_day(client: Client) -> dt.date:
    found: dt.date = client.query("SELECT max(day) FROM analytics.v_fear_greed").result_rows[0][0]
    return found


def test_the_ledger_has_what_it_took(emptied: Client, exchange: Exchanges) -> None:
    refresh(emptied, exchange, MAY)
    rows = emptied.query(
        "SELECT dataset, venue, symbol, interval, status, row_count, requests, weight, instrument_id"
        " FROM analytics.ingest_batches"
    ).result_rows
    assert rows == [
        ("fear_greed_index", "alternative_me", "FEAR/GREED", "1d", "complete", 31, 1, 1, FEAR_GREED.instrument_id)
    ]
    assert count(emptied, "instruments") == 0  # it is none


def test_a_source_that_is_down_is_a_failure_of_its_windows(emptied: Client, exchange: Exchanges) -> None:
    with sandbox.start(now=dt.datetime(2025, 7, 1, tzinfo=dt.UTC), budget_scale=LIFTED) as url:
        own = lifted(url, exchange.governor_file)
        post(url, "/_faults", {"path": "/fng/", "kind": "status", "status": 451, "times": 1})
        landed = refresh(emptied, own, MAY)
        assert [f.error.partition(":")[0] for f in landed.failures] == ["VenueRefused"]
        assert refresh(emptied, own, MAY).rows == 31


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 503},
        {"kind": "status", "status": 429, "retry_after": 1},
        {"kind": "truncate"},
        {"kind": "html"},
    ],
)
def test_a_blip_is_asked_again(exchange: Exchanges, tmp_path: Path, fault: dict[str, object]) -> None:
    with sandbox.start(now=dt.datetime(2025, 7, 1, tzinfo=dt.UTC), budget_scale=LIFTED) as url:
        post(url, "/_faults", {"path": "/fng/", "times": 1} | fault)
        patience = Patience(wait_first_s=0.01, jitter_s=0.01)
        access = Access(url, tmp_path / "g", patience=patience, limits_factor=LIFTED)
        with IndexSource().open(access) as index:
            fetched = index.submit_days(MAY.start_time, MAY.end_time).result()
    assert (fetched.table.num_rows, fetched.cost.requests, fetched.cost.retries) == (31, 2, 1)


def day(number: int, value: object = "50", **more: object) -> dict[str, object]:
    return {
        "value": value,
        "value_classification": "Neutral",
        "timestamp": str(1_517_443_200 + number * 86_400),
        **more,
    }


def answer(*rows: object, error: object = None) -> dict[str, object]:
    return {"name": "Fear and Greed Index", "data": list(rows), "metadata": {"error": error}}


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ([], "no list of days"),
        ({}, "no list of days"),
        (answer(), "no list of days"),
        (answer("x"), "no list of days"),
        (answer(day(0), error="rate limited"), r"an error in place of the index \(rate limited\)"),
        (answer(day(0) | {"timestamp": "yesterday"}), "without a time in seconds"),
        (answer(day(0) | {"timestamp": "1517443200000"}), "without a time in seconds"),
        ({"data": [day(0)], "metadata": None}, None),
    ],
)
def test_an_answer_of_another_kind_is_not_believed(document: Any, says: str | None) -> None:
    if says is None:
        assert read_history(document, Cost()).table.num_rows == 1
        return
    with pytest.raises(VenueUnavailable, match=says):
        read_history(document, Cost())


def test_what_is_no_integer_is_null_and_kept_raw() -> None:
    history = read_history(
        answer(day(3, time_until_update="60"), day(2, "n/a"), day(1, "1e3"), day(0, 7, mood="odd")), Cost()
    )
    rows = history.table.to_pylist()
    assert [r["value"] for r in rows] == [7, None, None, 50]
    assert [r["is_closed"] for r in rows] == [True, True, True, False]
    assert json.loads(rows[0]["metadata"]) == {"mood": "odd"}
    assert json.loads(rows[1]["metadata"])["value"] == "1e3"
    assert history.now == dt.datetime(2018, 2, 4, 23, 59, tzinfo=dt.UTC)


@pytest.mark.parametrize("countdown", ["0", "-120", "99999999", None, "soon"])
def test_the_clock_never_leaves_the_newest_day(countdown: str | None) -> None:
    newest = day(5) if countdown is None else day(5, time_until_update=countdown)
    assert read_history(answer(newest, day(4)), Cost()).now.date() == dt.date(2018, 2, 6)


def test_an_answer_that_does_not_reach_back_claims_nothing(exchange: Exchanges) -> None:
    with IndexSource().open(Access(exchange.base_url, exchange.governor_file, limits_factor=LIFTED)) as index:
        early = index.submit_days(dt.datetime(2018, 1, 31, tzinfo=dt.UTC), dt.datetime(2018, 2, 3, tzinfo=dt.UTC))
        assert (
            index.submit_days(dt.datetime(2018, 2, 1, tzinfo=dt.UTC), dt.datetime(2018, 2, 3, tzinfo=dt.UTC))
            .result()
            .table.num_rows
            == 2
        )
    with pytest.raises(VenueUnavailable, match="2018-01-31 was asked for: the answer may be cut short"):
        early.result()


def insert(client: Client, table: str, at: str, **columns: object) -> None:
    """A row of the day `at`, sound but for `columns`."""
    row: dict[str, object] = {
        "venue": FEAR_GREED.venue, "symbol": FEAR_GREED.symbol, "interval": "1d", "source": "rest",
        "timestamp": dt.datetime.fromisoformat(at).replace(tzinfo=dt.UTC), "value": 50, "classification": "Neutral",
        "batch_id": uuid.uuid4(), "ingested_at": dt.datetime(2025, 7, 1, tzinfo=dt.UTC),
    }  # fmt: skip
    more = (
        {"is_closed": True, "metadata": ""}
        if table.startswith("landing")
        else {"instrument_id": FEAR_GREED.instrument_id, "version": 2**62}
    )
    row |= more | columns
    client.insert(f"analytics.{table}", [list(row.values())], column_names=list(row))


# Freshness is not about rows: test_freshness breaks it.
BROKEN_BY_ROWS = [rule for rule in MINE if rule.name != checks.FRESHNESS]


@pytest.mark.parametrize("rule", BROKEN_BY_ROWS, ids=lambda rule: rule.name)
def test_a_rule_is_silent_on_sound_data_and_fires_on_a_row_made_to_break_it(
    emptied: Client, exchange: Exchanges, rule: Check
) -> None:
    refresh(emptied, exchange, MAY)
    assert offenders(emptied, rule, MAY) == []
    match rule.name:
        case "rows_are_inside_the_day":
            batch = emptied.query("SELECT any(batch_id) FROM analytics.ingest_batches").result_rows[0][0]
            insert(emptied, "landing_fear_greed_index", "2025-06-03", batch_id=batch)
        case "landing_is_accounted_for":
            insert(
                emptied, "landing_fear_greed_index", "2025-05-03", ingested_at=dt.datetime(2029, 1, 1, tzinfo=dt.UTC)
            )
        case "no_rows_are_rejected":
            insert(emptied, "landing_fear_greed_index", "2025-05-03", value=101)
            stage(emptied, MAY, FEAR_GREED_INDEX, INTERVALS)
        case "key_is_unique":
            insert(emptied, "fear_greed_index", "2025-05-03T05:00:00")
        case "value_is_between_0_and_100":
            insert(emptied, "fear_greed_index", "2025-05-03", value=101, classification="Extreme Greed")
        case "classification_matches_the_value":
            insert(emptied, "fear_greed_index", "2025-05-03", classification="Euphoria")
        case "required_columns_are_not_null":
            insert(emptied, "fear_greed_index", "2025-05-03", source="")
        case "values_are_at_midnight":
            insert(emptied, "fear_greed_index", "2025-05-03T05:00:00")
        case "nothing_from_the_future":
            noon = dt.datetime(2025, 5, 3, 12, tzinfo=dt.UTC)
            insert(emptied, "fear_greed_index", "2025-05-03", ingested_at=noon)
        case "days_are_complete":
            emptied.command(
                "ALTER TABLE analytics.fear_greed_index DELETE WHERE toDate(timestamp) IN ('2025-05-03', '2025-05-04',"
                " '2025-05-31') SETTINGS mutations_sync = 2"
            )
            found = [(r["first"].day, r["last"].day, r["rows"]) for r in offenders(emptied, rule, MAY)]
            assert found == [(3, 4, 2), (31, 31, 1)]
        case _:
            raise AssertionError(f"nothing is made to break {rule.name}")
    assert offenders(emptied, rule, MAY)


@pytest.mark.parametrize(
    ("value", "rule"), [(None, "required_columns_are_not_null"), (-1, "value_is_between_0_and_100")]
)
def test_a_bad_value_is_kept_named_and_not_published(emptied: Client, value: int | None, rule: str) -> None:
    insert(emptied, "landing_fear_greed_index", "2025-05-03", value=value)
    insert(emptied, "landing_fear_greed_index", "2025-05-04", value=100, classification="Extreme Greed")
    for _ in range(2):  # judging again changes nothing
        stage(emptied, MAY, FEAR_GREED_INDEX, INTERVALS)
        publish(emptied, MAY, FEAR_GREED_INDEX, INTERVALS)
    assert emptied.query("SELECT dataset, rule FROM analytics.rejected_rows").result_rows == [
        ("fear_greed_index", rule)
    ]
    assert stored(emptied) == [(1746316800, 100, "Extreme Greed")]


def test_a_changed_value_is_a_new_version(emptied: Client, exchange: Exchanges) -> None:
    refresh(emptied, exchange, MAY)
    insert(
        emptied, "landing_fear_greed_index", "2025-05-03", value=99, ingested_at=dt.datetime(2029, 1, 1, tzinfo=dt.UTC)
    )
    stage(emptied, MAY, FEAR_GREED_INDEX, INTERVALS)
    publish(emptied, MAY, FEAR_GREED_INDEX, INTERVALS)
    assert [v for s, v, _ in stored(emptied) if s == 1746230400] == [99]
    assert count(emptied, "fear_greed_index_history") == 32


def test_researchers_read_a_frame(emptied: Client, exchange: Exchanges) -> None:
    refresh(emptied, exchange, MAY)
    research = Research(emptied, UNIVERSE)
    frame = research.fear_greed_index("2025-05-01", "2025-05-11")
    assert (len(frame), list(frame.columns), frame.index.name) == (
        10,
        ["value", "classification", "source"],
        "timestamp",
    )
    assert str(frame.index.dtype) == "datetime64[ms, UTC]"
    assert str(frame["value"].dtype) == "uint8"
    with pytest.warns(IncompleteWarning, match="10 never_asked"):
        empty = research.fear_greed_index("2019-05-01", "2019-05-11")
    assert len(empty) == 0
    assert empty.dtypes.equals(frame.dtypes)
    with pytest.raises(BadInput, match="not after start"):
        research.fear_greed_index("2025-05-01", "2025-05-01")


def test_its_partitions_are_days_alone() -> None:
    keys = by_day(FEAR_GREED.listed_from).get_partition_keys()
    assert keys[0] == partition_key(FEAR_GREED.listed_from, FEAR_GREED) == "2018-02-01"
    assert rectangle([str(k) for k in MAY.keys(FEAR_GREED)], (FEAR_GREED,)) == MAY
    assert rectangle_of_tags(MAY.tags(), (FEAR_GREED,)) == MAY


def test_a_run_of_its_chain_judges_it_too(emptied: Client, exchange: Exchanges) -> None:
    resources = {"warehouse": emptied, "exchanges": exchange, "universe": UNIVERSE}
    job = build(UNIVERSE, resources).resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as instance:
        selection = [dg.AssetKey(name) for name in FEAR_GREED_INDEX.chain]
        result = job.execute_in_process(instance=instance, asset_selection=selection, tags=MAY.tags())
        done = instance.get_materialized_partitions(dg.AssetKey("fear_greed_index"))
    assert result.success
    assert done == set(MAY.keys(FEAR_GREED))
    evaluations = result.get_asset_check_evaluations()
    assert {(e.asset_key.to_user_string(), e.check_name, e.passed) for e in evaluations} == {
        (rule.asset, rule.name, True) for rule in MINE
    }
