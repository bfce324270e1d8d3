"""The data-quality rules: each one SQL file in sql/checks that selects the offending rows, and how grave they are.

A check passes when its statement returns nothing. It never catches an exception: a broken check is not bad data. ERROR
is for what can only be a bug of ours or lost data, WARN for what a venue may really have done. Blocking stops the mart,
so it is kept for bugs that would publish something false.
"""

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
from clickhouse_connect.driver.client import Client

from alphaforge_assets.datasets import DATASETS
from alphaforge_assets.partitions import Rectangle, rectangle
from alphaforge_assets.quality import freshness
from alphaforge_assets.universe import FEAR_GREED, Universe
from alphaforge_assets.warehouse import statements

OFFENDERS_SHOWN_MAX = 50


FRESHNESS = "freshness_per_instrument"
EVERY_DATASET = ("rows_are_inside_the_day", "landing_is_accounted_for", "no_rows_are_rejected")


@dataclass(frozen=True)
class Rule:
    """A sentence about an asset. `why` is the reason for its severity."""

    asset: str
    name: str
    severity: dg.AssetCheckSeverity
    why: str
    blocking: bool = False
    bounds: Mapping[str, float] = field(default_factory=dict)  # parameters of its statement, beside the rectangle

    @property
    def statement(self) -> str:
        """Rules that are the same for every dataset are written once, and told the names of its tables."""
        if self.name == FRESHNESS:
            return freshness.statement(DATASETS[self.asset])
        return f"checks/{'every_dataset' if self.name in EVERY_DATASET else self.asset}/{self.name}"


# Illiquid pairs rest for an hour now and then (ETH/USDT in 2017: 93 minutes at most), a dead feed does so for long.
FROZEN_RUN = 60
# The same pair trades within a percent of itself everywhere but in crashes; five is a bad print or a broken venue.
OUTLIER_SHARE = 0.05
# Clocks of machines kept by NTP differ by less.
CLOCK_SLACK_MS = 1_000

ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN

RULES = (
    Rule(
        "instruments",
        "metadata_is_consistent",
        WARN,
        "venues' own dates are off by days, and ids are reused; the data stay as they came, somebody should look",
    ),
    Rule(
        "landing_bars",
        "rows_are_inside_the_day",
        ERROR,
        "a row outside the window asked for answers another question",
        blocking=True,
    ),
    Rule(
        "staging_bars",
        "landing_is_accounted_for",
        ERROR,
        "landing = staging + rejected + superseded, or we lost rows",
        blocking=True,
    ),
    Rule("staging_bars", "no_rows_are_rejected", WARN, "a venue did send such rows; they are kept, not published"),
    Rule("bars", "key_is_unique", ERROR, "researchers join on the key; two rows of one key can only be our bug"),
    Rule("bars", "ohlc_is_sane", ERROR, "staging rejects such bars, so a published one is our bug"),
    Rule("bars", "prices_are_positive", ERROR, "staging rejects such bars, so a published one is our bug"),
    Rule("bars", "volume_is_not_negative", ERROR, "staging rejects such bars, so a published one is our bug"),
    Rule("bars", "required_columns_are_not_null", ERROR, "every venue sends them: a field was renamed and missed"),
    Rule("bars", "minutes_are_complete", WARN, "outages are real and never filled; each missing range is named"),
    Rule(
        "landing_fear_greed_index",
        "rows_are_inside_the_day",
        ERROR,
        "we cut the rows to the window ourselves, so one outside is our bug",
        blocking=True,
    ),
    Rule(
        "staging_fear_greed_index",
        "landing_is_accounted_for",
        ERROR,
        "landing = staging + rejected + superseded, or we lost rows",
        blocking=True,
    ),
    Rule(
        "staging_fear_greed_index",
        "no_rows_are_rejected",
        WARN,
        "the source did send such rows; they are kept, not published",
    ),
    Rule(
        "fear_greed_index", "key_is_unique", ERROR, "researchers join on the day; two values of one are nobody's truth"
    ),
    Rule(
        "fear_greed_index",
        "value_is_between_0_and_100",
        ERROR,
        "staging rejects such values, so a published one is our bug",
    ),
    Rule(
        "fear_greed_index",
        "classification_matches_the_value",
        WARN,
        "the words are the source's own; another one means that it changed its bands, not that the value is wrong",
    ),
    Rule("fear_greed_index", "days_are_complete", WARN, "the source has no value for some days; they are never filled"),
    Rule(
        "landing_funding_rates",
        "rows_are_inside_the_day",
        ERROR,
        "a row outside the window asked for answers another question",
        blocking=True,
    ),
    Rule(
        "staging_funding_rates",
        "landing_is_accounted_for",
        ERROR,
        "landing = staging + rejected + superseded, or we lost rows",
        blocking=True,
    ),
    Rule("staging_funding_rates", "no_rows_are_rejected", WARN, "a venue did send such rows; they are kept"),
    Rule("funding_rates", "key_is_unique", ERROR, "researchers join on the key; two rows of one can only be our bug"),
    Rule("funding_rates", "required_columns_are_not_null", ERROR, "staging rejects such rows, so it is our bug"),
    Rule(
        "funding_rates", "rates_are_within_bounds", WARN, "venues do settle such rates; they are flagged, not dropped"
    ),
    Rule(
        "funding_rates", "settlements_are_complete", WARN, "the grid is inferred from its neighbours and may be wrong"
    ),
    Rule("bars", "bars_are_on_the_grid", WARN, "Binance did so in 2017 and 2018; such a bar is kept as it came"),
    Rule(
        "bars",
        "no_frozen_runs",
        WARN,
        "a market may really rest; a long rest is more often a feed that died",
        bounds={"frozen_run": FROZEN_RUN},
    ),
    Rule(
        "bars", "hours_equal_their_minutes", WARN, "the venue made both: one was revised or is wrong, and we see both"
    ),
    Rule(
        "bars",
        "prices_agree_across_venues",
        WARN,
        "prices do part in a crash; the median only says where to look",
        bounds={"outlier_share": OUTLIER_SHARE},
    ),
    Rule(
        "bars",
        "nothing_from_the_future",
        ERROR,
        "staging takes closed bars only, so an open one that is published is our bug",
        bounds={"clock_slack_ms": CLOCK_SLACK_MS},
    ),
    Rule(
        "funding_rates",
        "nothing_from_the_future",
        ERROR,
        "staging takes settled rates only, so a predicted one that is published is our bug",
        bounds={"clock_slack_ms": CLOCK_SLACK_MS},
    ),
    Rule("funding_rates", "prices_are_positive", WARN, "the rate is what is settled; a price beside it may be missing"),
    Rule(
        "fear_greed_index",
        "nothing_from_the_future",
        ERROR,
        "staging takes closed days only, so an open one that is published is our bug",
        bounds={"clock_slack_ms": CLOCK_SLACK_MS},
    ),
    Rule("fear_greed_index", "values_are_at_midnight", WARN, "the source would have changed what its days are"),
    Rule("fear_greed_index", "required_columns_are_not_null", ERROR, "the source sends them: a field was renamed"),
    *(
        Rule(dataset, FRESHNESS, WARN, "what is there is right; the venue may be silent, or our updates are late")
        for dataset in DATASETS
    ),
)


def asset_checks() -> list[dg.AssetChecksDefinition]:
    """One checks definition an asset, so that a run pays for one step and not for one a rule."""
    return [_checks_of(asset) for asset in dict.fromkeys(r.asset for r in RULES)]


def _checks_of(asset: str) -> dg.AssetChecksDefinition:
    rules = [r for r in RULES if r.asset == asset]
    specs = [dg.AssetCheckSpec(r.name, asset=asset, description=_description(r), blocking=r.blocking) for r in rules]

    @dg.multi_asset_check(name=f"{asset}_checks", specs=specs, can_subset=True)
    def checks(
        context: dg.AssetCheckExecutionContext,
        warehouse: dg.ResourceParam[Client],
        universe: dg.ResourceParam[Universe],
    ) -> Iterator[dg.AssetCheckResult]:
        covered, now = _covered(context, universe), dt.datetime.now(dt.UTC)
        selected = {key.name for key in context.selected_asset_check_keys}
        for rule in rules:
            if rule.name in selected:
                yield _result(rule, offenders(warehouse, rule, covered, now))

    return checks


def offenders(client: Client, rule: Rule, covered: Rectangle, now: dt.datetime) -> list[dict[str, Any]]:
    """What breaks a rule in a rectangle, a row a range with `first`, `last`, `rows`. `now` matters to freshness only.

    Raises WarehouseDown, WarehouseRefused.
    """
    within = {"instruments": covered.instrument_ids, "start": covered.start_time, "end": covered.end_time}
    dataset = next((d for d in DATASETS.values() if rule.asset in d.chain), None)
    if dataset is None:
        return statements.rows(client, rule.statement, **within, **rule.bounds)
    if rule.name == FRESHNESS:
        return freshness.stale(client, dataset, covered.instruments, now)
    return statements.rows(client, rule.statement, **within, **dataset.tables, **rule.bounds)


def _covered(context: dg.AssetCheckExecutionContext, universe: Universe) -> Rectangle:
    """The rectangle of the run; everything, when the checks are run on their own from the UI."""
    if context.has_partition_key or context.has_partition_key_range:
        return rectangle(context.partition_keys, universe)
    tomorrow = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=1)
    return Rectangle((*universe.instruments, FEAR_GREED), min(universe.history_start, FEAR_GREED.listed_from), tomorrow)


def _result(rule: Rule, found: list[dict[str, Any]]) -> dg.AssetCheckResult:
    shown = [_record(row) for row in found[:OFFENDERS_SHOWN_MAX]]
    metadata: dict[str, Any] = {"offending_rows": sum(row["rows"] for row in found)}
    if shown:
        metadata["offenders"] = dg.MetadataValue.table(shown)
        metadata["offenders_not_shown"] = len(found) - len(shown)
    description = f"{metadata['offending_rows']} rows in {len(found)} ranges" if found else None
    return dg.AssetCheckResult(
        check_name=rule.name,
        asset_key=rule.asset,
        passed=not found,
        severity=rule.severity,
        metadata=metadata,
        description=description,
    )


def _record(row: dict[str, Any]) -> dg.TableRecord:
    return dg.TableRecord({k: v.isoformat() if isinstance(v, dt.datetime) else v for k, v in row.items()})


def _description(rule: Rule) -> str:
    first_comment = (
        statements.text(rule.statement).split("\nSELECT")[0].split("\nWITH")[0].replace("-- ", "").replace("\n", " ")
    )
    return f"{first_comment} {rule.severity.value}: {rule.why}."
