"""Funding through the warehouse: what is keyed once, what never leaves landing, and every rule firing and silent."""

import datetime as dt
import uuid
from collections.abc import Sequence
from typing import Any

import dagster as dg
import pytest
from clickhouse_connect.driver.client import Client

from alphaforge_assets.cli.status import status_rows
from alphaforge_assets.datasets.funding_rates import FUNDING_RATES
from alphaforge_assets.datasets.registry import DATASETS
from alphaforge_assets.definitions import build
from alphaforge_assets.errors import BadInput
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.pipeline.landing import Landed, land
from alphaforge_assets.pipeline.mart import publish
from alphaforge_assets.pipeline.staging import stage
from alphaforge_assets.quality import checks
from alphaforge_assets.quality.checks import Check, asset_checks, every_check
from alphaforge_assets.research import IncompleteWarning, Research
from alphaforge_assets.sandbox import process as sandbox
from alphaforge_assets.universe import Universe, load_universe
from alphaforge_assets.venues.directory import Exchanges
from alphaforge_assets.warehouse import statements
from alphaforge_assets.warehouse.migrations.files import read_migrations
from alphaforge_assets_tests.conftest import LIFTED, lifted

UNIVERSE = load_universe()
FIRST = dt.date(2025, 6, 1)
PART = Rectangle(UNIVERSE.select(["*_perp.BTC-USDT"]), FIRST, FIRST + dt.timedelta(days=10))
FUNDING_RULES = [r for r in every_check() if r.asset.endswith("funding_rates")]
KEY = "binance_perp.BTC-USDT"
HOUR = dt.timedelta(hours=1)


def refresh(client: Client, exchanges: Exchanges, part: Rectangle = PART, *, refetch: bool = False) -> Landed:
    landed = land(client, exchanges, part, FUNDING_RATES, [""], run_id="test", refetch=refetch)
    judge(client, part)
    return landed


def judge(client: Client, part: Rectangle = PART) -> None:
    stage(client, part, FUNDING_RATES, [""])
    publish(client, part, FUNDING_RATES, [""])


def offenders(client: Client, rule: Check) -> list[dict[str, Any]]:
    return checks.offenders(client, rule, PART, dt.datetime.now(dt.UTC))


def count(client: Client, table: str) -> int:
    found = client.query(
        "SELECT count() FROM {d:Identifier}.{t:Identifier}", parameters={"d": "analytics", "t": table}
    ).result_rows
    return int(found[0][0])


@pytest.fixture
def filled(emptied: Client, exchange: Exchanges) -> Client:
    assert refresh(emptied, exchange).failures == []
    return emptied


def test_three_venues_arrive_whole_and_break_no_rule(filled: Client, exchange: Exchanges) -> None:
    assert count(filled, "v_funding") == 3 * 10 * 3
    assert {rule.name: offenders(filled, rule) for rule in FUNDING_RULES} == {rule.name: [] for rule in FUNDING_RULES}
    again = refresh(filled, exchange)
    assert (again.rows, again.cost.requests) == (0, 0)
    refresh(filled, exchange, refetch=True)
    assert count(filled, "funding_rates_history") == count(filled, "v_funding") == 90
    assert count(filled, "landing_funding_rates") == 180


LAND = "INSERT INTO analytics.landing_funding_rates SELECT * REPLACE ({}) FROM analytics.landing_funding_rates "
PUBLISH = "INSERT INTO analytics.funding_rates SELECT * REPLACE ({}) FROM analytics.funding_rates "
ONE = "WHERE venue = 'okx_perp' AND timestamp_raw = '2025-06-05 08:00:00' LIMIT 1"

# What to do to sound data so that the rule of this name has something to say. "judge " stages and publishes afterwards.
BREAKS = {
    "rows_are_inside_the_day": LAND.format("timestamp + INTERVAL 8 DAY AS timestamp") + ONE,
    "landing_is_accounted_for": LAND.format("rate * 2 AS rate, now64(3) AS ingested_at") + ONE,
    "no_rows_are_rejected": "judge " + LAND.format("NULL AS rate, now64(3) AS ingested_at") + ONE,
    "key_is_unique": PUBLISH.format("toUInt32(1) AS instrument_id") + ONE,
    "required_columns_are_not_null": PUBLISH.format("nan AS rate, version + 1 AS version") + ONE,
    "rates_are_within_bounds": "judge " + LAND.format("-0.06 AS rate, now64(3) AS ingested_at") + ONE,
    "nothing_from_the_future": PUBLISH.format("timestamp - toIntervalHour(1) AS ingested_at, version + 1 AS version")
    + ONE,
    "prices_are_positive": PUBLISH.format("0 AS mark_price, version + 1 AS version") + ONE,
    "settlements_are_complete": "ALTER TABLE analytics.funding_rates DELETE WHERE venue = 'okx_perp'"
    " AND timestamp IN ('2025-06-05 08:00:00', '2025-06-05 16:00:00') SETTINGS mutations_sync = 2",
}


# Freshness is not about rows: test_freshness breaks it.
BROKEN_BY_ROWS = [r for r in FUNDING_RULES if r.name != checks.FRESHNESS]


@pytest.mark.parametrize("rule", BROKEN_BY_ROWS, ids=lambda rule: rule.name)
def test_a_rule_fires_on_a_row_made_to_break_it(filled: Client, rule: Check) -> None:
    statement = BREAKS[rule.name]
    filled.command(statement.removeprefix("judge "))
    if statement.startswith("judge "):
        judge(filled)
    found = offenders(filled, rule)
    assert [r["venue"] for r in found] == ["okx_perp"]
    assert sum(r["rows"] for r in found) == (2 if rule.name in ("settlements_are_complete", "key_is_unique") else 1)
    if rule.name == "rates_are_within_bounds":  # flagged, and there
        frame = Research(filled, UNIVERSE).funding_rates("okx_perp.BTC-USDT", "2025-06-05", "2025-06-06")
        assert frame["is_out_of_bounds"].tolist() == [False, True, False]
        assert frame["rate"].tolist()[1] == -0.06
    broken = [r.name for r in FUNDING_RULES if offenders(filled, r)]
    assert broken == [rule.name]


def put(client: Client, moments: Sequence[dt.datetime], key: str = KEY, /, **values: Any) -> None:
    """Landing rows as of one answer, and the ledger row that says that all around them was asked for."""
    venue, symbol = key.split(".")
    batch = str(uuid.uuid4())
    names = {"venue": venue, "symbol": symbol.replace("-", "/"), "source": "rest", "batch_id": batch}
    rows = [
        names
        | {"timestamp": m.replace(second=0, microsecond=0), "timestamp_raw": m, "rate_type": "regular", "rate": 0.0001}
        | {"is_settled": True, "ingested_at": dt.datetime(2025, 7, 1, tzinfo=dt.UTC)}
        | values
        for m in moments
    ]
    client.insert("analytics.landing_funding_rates", [list(r.values()) for r in rows], column_names=list(rows[0]))
    ledger = names | {"dataset": "funding_rates", "interval": "", "status": "complete", "recorded_at": PART.end_time}
    ledger |= {"window_start": PART.start_time, "window_end": PART.end_time, "row_count": len(rows)}
    client.insert("analytics.ingest_batches", [list(ledger.values())], column_names=list(ledger))


def grid(*hours: int, missing: Sequence[int] = ()) -> list[dt.datetime]:
    """Settlements from the first of June on, so many hours apart, without those of these places."""
    moments = [PART.start_time]
    for h in hours:
        moments.append(moments[-1] + h * HOUR)
    return [m for n, m in enumerate(moments) if n not in missing]


E, F, T = [8] * 6, [4] * 6, [2] * 12


@pytest.mark.parametrize(
    ("moments", "holes"),
    [
        (grid(*[8] * 29), []),
        (grid(*E, *F, *E, *[8] * 14), []),  # 8 to 4 and back
        (grid(*E, *F, *T, *[1] * 12, *T, *F, *[8] * 10), []),  # all the way down and up
        (grid(*E, 4, 4, 4, *T, *[8] * 19), []),  # SOL in November 2022
        (grid(*[8] * 29, missing=[10]), [1]),
        (grid(*[8] * 29, missing=[10, 11, 12]), [3]),
        (grid(*[8] * 29, missing=[10, 12]), [1, 1]),  # two gaps side by side do not excuse each other
        (grid(*[4] * 59, missing=[20, 40, 41]), [1, 2]),
        (grid(*E, *F, *[8] * 20, missing=[9]), [1]),
        (grid(*[8] * 20), [9]),  # and then nothing more
    ],
)
def test_holes_are_told_from_changes_of_the_interval(
    emptied: Client, moments: list[dt.datetime], holes: list[int]
) -> None:
    put(emptied, moments)
    judge(emptied)
    rule = next(r for r in FUNDING_RULES if r.name == "settlements_are_complete")
    found = offenders(emptied, rule)
    assert [r["rows"] for r in found] == holes
    rows = status_rows(emptied, UNIVERSE)
    assert [(r["instrument"], r["interval"], r["rows"], r["missing"]) for r in rows] == [
        (KEY, "funding", len(moments), sum(holes))
    ]


def test_what_was_not_asked_for_is_no_hole(emptied: Client, exchange: Exchanges) -> None:
    days = dt.timedelta(days=1)
    for first in (FIRST, FIRST + 6 * days):
        refresh(emptied, exchange, Rectangle(PART.instruments, first, first + 3 * days))
    assert [offenders(emptied, r) for r in FUNDING_RULES] == [[]] * len(FUNDING_RULES)


def test_times_that_differ_by_jitter_are_one_key_and_two_rows_of_landing(emptied: Client) -> None:
    at = PART.start_time + 8 * HOUR
    put(emptied, [at + dt.timedelta(milliseconds=3), at + dt.timedelta(milliseconds=47)])
    for _ in range(2):
        judge(emptied)
    assert (count(emptied, "landing_funding_rates"), count(emptied, "v_funding")) == (2, 1)
    assert count(emptied, "funding_rates_history") == 1
    rule = next(r for r in FUNDING_RULES if r.name == "landing_is_accounted_for")
    assert offenders(emptied, rule) == []


def test_two_kinds_of_rate_at_one_time_are_two_rows(emptied: Client) -> None:
    put(emptied, grid(8, 8))
    put(emptied, grid(8)[1:], rate_type="special", rate=0.01)
    judge(emptied)
    frame = Research(emptied, UNIVERSE).funding_rates(KEY, FIRST, FIRST + dt.timedelta(days=1))
    assert list(zip(frame["rate_type"], frame["rate"], strict=True)) == [
        ("regular", 0.0001), ("regular", 0.0001), ("special", 0.01), ("regular", 0.0001),
    ]  # fmt: skip
    assert frame["interval_hours"].fillna(0).tolist() == [0, 8, 0, 8]


AS_OF = """SELECT interval_hours FROM analytics.funding_rates_as_of(as_of={as_of:DateTime64(3, 'UTC')},
    instruments=[CRC32('binance_perp.BTC-USDT')], start={start:DateTime64(3, 'UTC')}, end={end:DateTime64(3, 'UTC')})
    ORDER BY timestamp"""


def hours_as_of(client: Client, as_of: dt.datetime, end: dt.datetime = PART.end_time) -> list[float | None]:
    bound = {"as_of": as_of, "start": PART.start_time, "end": end}
    return [hours for (hours,) in client.query(AS_OF, parameters=bound).result_rows]


@pytest.mark.parametrize(
    ("moments", "hours"),
    [
        (grid(*[4] * 5, 36, *[4] * 5), [None, *[4] * 5, None, *[4] * 5]),
        (grid(*[8] * 5, *[4] * 5, *[8] * 5), [None, *[8] * 5, *[4] * 5, *[8] * 5]),
        (grid(*[8] * 12, missing=[4, 7, 8]), [None, 8, 8, 8, None, 8, None, 8, 8, 8]),
        (grid(*[8] * 5, 36), [None, *[8] * 5, 36]),  # nothing follows yet: as observed
    ],
)
def test_an_interval_across_a_hole_is_not_observed(
    emptied: Client, moments: list[dt.datetime], hours: list[float | None]
) -> None:
    put(emptied, moments)
    judge(emptied)
    said = emptied.query("SELECT interval_hours FROM analytics.v_funding ORDER BY timestamp").result_rows
    assert [h for (h,) in said] == hours
    now = dt.datetime.now(dt.UTC) + HOUR
    assert hours_as_of(emptied, now) == hours
    for n, moment in enumerate(moments[1:], 1):  # wherever the range ends
        assert hours_as_of(emptied, now, moment) == hours[:n]


def test_a_read_as_of_before_the_rule_of_holes_is_what_it_was(emptied: Client) -> None:
    (migration,) = [m for m in read_migrations(statements.MIGRATIONS) if m.script == "V014__reading_rules.sql"]

    def migrate() -> None:
        for statement in migration.statements:
            emptied.command(statement.text)

    migrate()
    assert count(emptied, "reading_rules") == 0  # nothing was published: the rule holds from the beginning
    put(emptied, grid(*[4] * 5, 36, *[4] * 5))
    judge(emptied)
    migrate()
    (since,) = emptied.query("SELECT since FROM analytics.reading_rules", tz_mode="aware").first_row
    assert hours_as_of(emptied, since - dt.timedelta(milliseconds=1))[6] == 36
    assert hours_as_of(emptied, since)[6] is None


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"rate": None}, "required_columns_are_not_null"),
        ({"unreadable": "mark_price", "metadata": '{"row":{"markPrice":"abc"}}'}, "numbers_are_readable"),
        ({"rate": float("inf")}, "numbers_are_finite"),
    ],
)
def test_a_row_that_breaks_a_rule_is_kept_named_and_not_published(
    emptied: Client, values: dict[str, Any], rule: str
) -> None:
    put(emptied, grid(8)[:1])
    put(emptied, grid(8)[1:], **values)
    for _ in range(2):
        judge(emptied)
    found = emptied.query("SELECT dataset, rule, count() FROM analytics.rejected_rows GROUP BY ALL").result_rows
    assert found == [("funding_rates", rule, 1)]
    assert count(emptied, "v_funding") == 1
    accounted = next(r for r in FUNDING_RULES if r.name == "landing_is_accounted_for")
    assert offenders(emptied, accounted) == []


def test_what_is_not_settled_never_leaves_landing(emptied: Client, exchange: Exchanges) -> None:
    put(emptied, grid(8), is_settled=False)
    judge(emptied)
    assert [count(emptied, t) for t in ("landing_funding_rates", "v_funding", "rejected_rows")] == [2, 0, 0]
    emptied.command("TRUNCATE TABLE analytics.landing_funding_rates")
    emptied.command("TRUNCATE TABLE analytics.ingest_batches")
    soon = dt.datetime(2025, 6, 1, 16, 4, 30, tzinfo=dt.UTC)  # a rate is listed some time after its settlement
    with sandbox.start(now=soon, budget_scale=LIFTED) as url:
        own = lifted(url, exchange.governor_file)
        refresh(emptied, own)
    assert count(emptied, "v_funding") == 3 * 2
    with sandbox.start(now=soon + dt.timedelta(minutes=2), budget_scale=LIFTED) as url:
        own = lifted(url, exchange.governor_file)
        refresh(emptied, own)
        assert count(emptied, "v_funding") == 3 * 3


def test_a_rate_is_held_against_the_cap_of_its_own_time(emptied: Client) -> None:
    """5 % until the venue was first asked for its cap; then each cap for as long as it held."""
    listing = {"venue": "binance_perp", "symbol": "BTC/USDT", "funding_rate_cap": 0.003, "funding_rate_floor": -0.002}
    for days, changes in ((2, {}), (4, {"funding_rate_cap": 0.02}), (6, {"funding_rate_cap": None})):
        row = listing | {"valid_from": PART.start_time + dt.timedelta(days=days)} | changes
        emptied.insert("analytics.instruments", [list(row.values())], column_names=list(row))
    put(emptied, grid(*[8] * 23)[::3], rate=0.01)
    put(emptied, grid(*[8] * 23)[1::3], rate=-0.0025)
    judge(emptied)
    frame = Research(emptied, UNIVERSE).funding_rates(KEY, FIRST, FIRST + dt.timedelta(days=8))
    up, down = frame[frame["rate"] > 0], frame[frame["rate"] < 0]
    assert up["rate_bound"].tolist() == [0.05, 0.05, 0.003, 0.003, 0.02, 0.02, 0.05, 0.05]
    assert up["is_out_of_bounds"].tolist() == [False, False, True, True, False, False, False, False]
    assert down["rate_bound"].tolist() == [0.05, 0.05, *[0.002] * 6]
    assert down["is_out_of_bounds"].tolist() == [False, False, *[True] * 6]


def test_a_frame_has_the_promised_form(filled: Client) -> None:
    research = Research(filled, UNIVERSE)
    frame = research.funding_rates("okx_perp.BTC-USDT", "2025-06-02", "2025-06-04")
    assert len(frame) == 6
    assert str(frame.index.dtype) == "datetime64[ms, UTC]"
    kinds = {name: str(kind) for name, kind in frame.dtypes.items()}
    assert kinds.pop("is_out_of_bounds") == "bool"
    numbers = ("rate", "predicted_rate", "mark_price", "interval_hours", "rate_bound")
    assert {kinds.pop(name) for name in numbers} == {"float64"}
    assert frame["interval_hours"].tolist() == [8.0] * 6  # the settlement before may lie before the range
    with pytest.warns(IncompleteWarning, match="2,880 never_asked"):
        empty = research.funding_rates("okx_perp.BTC-USDT", "2024-06-02", "2024-06-04")
    assert (len(empty), list(empty.columns)) == (0, list(frame.columns))
    with pytest.raises(BadInput, match="not a perpetual"):
        research.funding_rates("okx_spot.BTC-USDT", "2025-06-02", "2025-06-04")
    with pytest.raises(BadInput, match="not after start"):
        research.funding_rates(KEY, "2025-06-02", "2025-06-02")


def test_a_run_of_dagster_publishes_and_checks(emptied: Client, exchange: Exchanges) -> None:
    resources = {"warehouse": emptied, "exchanges": exchange, "universe": UNIVERSE}
    part = Rectangle(UNIVERSE.select(["bybit_perp.*"]), FIRST, FIRST + dt.timedelta(days=2))
    with dg.DagsterInstance.ephemeral() as instance:
        result = build(UNIVERSE, resources).resolve_implicit_global_asset_job_def().execute_in_process(
            instance=instance, tags=part.tags(), asset_selection=[dg.AssetKey(n) for n in FUNDING_RATES.chain]
        )  # fmt: skip
        done = instance.get_materialized_partitions(dg.AssetKey("funding_rates"))
    assert result.success
    assert len(done) == 5 * 2
    evaluated = {(e.asset_key.to_user_string(), e.check_name): e.passed for e in result.get_asset_check_evaluations()}
    assert evaluated == {(r.asset, r.name): True for r in FUNDING_RULES}
    assert count(emptied, "v_funding") == 4 * 2 * 3 + 2 * 6  # the sandbox's XRP settles every four hours


def test_a_universe_without_perpetuals_has_a_graph() -> None:
    universe = Universe.model_validate(
        {
            "history_start": FIRST,
            "intervals": ["1h"],
            "venues": {"okx_spot": {"instruments": ["BTC/USDT"]}},
        }
    )
    definitions = build(universe, {name: object() for name in ("warehouse", "exchanges", "universe")})
    dg.Definitions.validate_loadable(definitions)
    assert definitions.resolve_assets_def("bars")
    assert {r.asset for r in every_check()} >= {
        c.node_def.name.removesuffix("_checks") for c in asset_checks(list(DATASETS.values()))
    }
