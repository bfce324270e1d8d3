"""The data-quality rules: each one SQL file in sql/checks that selects the offending rows, and how grave they are.

A check passes when its statement returns nothing. It never catches an exception: a broken check is not bad data. ERROR
is for what can only be a bug of ours or lost data, WARN for what a venue may really have done. Blocking stops the mart,
so it is kept for bugs that would publish something false.
"""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
from clickhouse_connect.driver.client import Client

from alphaforge_assets.datasets.dataset import FRESHNESS, Dataset, Rule
from alphaforge_assets.datasets.registry import DATASETS
from alphaforge_assets.partitions import Rectangle, rectangle
from alphaforge_assets.quality import freshness
from alphaforge_assets.universe import Instrument, Universe
from alphaforge_assets.warehouse import statements

OFFENDERS_SHOWN_MAX = 50
SEVERITIES = {"ERROR": dg.AssetCheckSeverity.ERROR, "WARN": dg.AssetCheckSeverity.WARN}


@dataclass(frozen=True)
class Check:
    """A rule, the asset it is held against, its dataset (None for what belongs to none) and its statement."""

    asset: str
    rule: Rule
    statement: str
    dataset: Dataset | None = None

    @property
    def name(self) -> str:
        return self.rule.name

    @property
    def severity(self) -> dg.AssetCheckSeverity:
        return SEVERITIES[self.rule.severity]

    @property
    def blocking(self) -> bool:
        return self.rule.blocking


OF_INSTRUMENTS = Check(
    "instruments",
    Rule(
        "metadata_is_consistent",
        "WARN",
        "venues' own dates are off by days, and ids are reused; the data stay as they came, somebody should look",
    ),
    "checks/instruments/metadata_is_consistent",
)


def every_check() -> list[Check]:
    """All there are: of the instruments, then of each dataset's tables."""
    found = [OF_INSTRUMENTS]
    for dataset in DATASETS.values():
        assets = dict(zip(("landing", "staging", "mart"), dataset.chain, strict=True))
        found += [Check(assets[r.layer], r, dataset.statement(r), dataset) for r in dataset.every_rule]
    return found


def blocking_checks(dataset: Dataset) -> list[Check]:
    """Those that must find nothing before rows of a dataset are published."""
    return [c for c in every_check() if c.dataset is dataset and c.blocking]


def asset_checks(kept: Sequence[Dataset]) -> list[dg.AssetChecksDefinition]:
    """One checks definition an asset, so that a run pays for one step and not for one a rule; of `kept` datasets."""
    held = [c for c in every_check() if c.dataset is None or c.dataset in kept]
    return [_checks_of(asset) for asset in dict.fromkeys(c.asset for c in held)]


def _checks_of(asset: str) -> dg.AssetChecksDefinition:
    its = [c for c in every_check() if c.asset == asset]
    specs = [dg.AssetCheckSpec(c.name, asset=asset, description=_description(c), blocking=c.blocking) for c in its]
    dataset = its[0].dataset

    @dg.multi_asset_check(name=f"{asset}_checks", specs=specs, can_subset=True)
    def multi_check(
        context: dg.AssetCheckExecutionContext,
        warehouse: dg.ResourceParam[Client],
        universe: dg.ResourceParam[Universe],
    ) -> Iterator[dg.AssetCheckResult]:
        covered, now = _covered(context, dataset, universe), dt.datetime.now(dt.UTC)
        selected = {key.name for key in context.selected_asset_check_keys}
        for check in its:
            if check.name in selected:
                yield _result(check, offenders(warehouse, check, covered, now))

    return multi_check


def offenders(client: Client, check: Check, covered: Rectangle, now: dt.datetime) -> list[dict[str, Any]]:
    """What breaks a rule in a rectangle, a row a range with `first`, `last`, `rows`. `now` matters to freshness only.

    Raises WarehouseDown, WarehouseRefused.
    """
    within = {
        "instruments": covered.instrument_ids,
        "start": covered.start_time,
        "end": covered.end_time,
        **_declared(covered.instruments),
    }
    if check.dataset is None:
        return statements.rows(client, check.statement, **within, **check.rule.bounds)
    if check.name == FRESHNESS:
        return freshness.stale(client, check.dataset, covered.instruments, now)
    return statements.rows(client, check.statement, **within, **check.dataset.tables, **check.rule.bounds)


def _declared(instruments: Sequence[Instrument]) -> dict[str, list[int]]:
    """Where the universe says that a name changed its unit or its coin, and of whom, when it was first listed."""
    found = [(i.instrument_id, moment) for i in instruments for moment in i.identity.breaks]
    return {
        "declared_ids": [instrument_id for instrument_id, _ in found],
        "declared_ms": [int(moment.timestamp() * 1000) for _, moment in found],
        "first_listed_ids": [i.instrument_id for i in instruments if i.identity.listed_at],
    }


def _covered(context: dg.AssetCheckExecutionContext, dataset: Dataset | None, universe: Universe) -> Rectangle:
    """The rectangle of the run; everything, when the checks are run on their own from the UI."""
    order = dataset.instruments(universe) if dataset else universe.instruments
    if context.has_partition_key or context.has_partition_key_range:
        return rectangle(context.partition_keys, order)
    tomorrow = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=1)
    return Rectangle(order, dataset.starts(universe) if dataset else universe.history_start, tomorrow)


def _result(check: Check, found: list[dict[str, Any]]) -> dg.AssetCheckResult:
    shown = [_record(row) for row in found[:OFFENDERS_SHOWN_MAX]]
    metadata: dict[str, Any] = {"offending_rows": sum(row["rows"] for row in found)}
    if shown:
        metadata["offenders"] = dg.MetadataValue.table(shown)
        metadata["offenders_not_shown"] = len(found) - len(shown)
    description = f"{metadata['offending_rows']} rows in {len(found)} ranges" if found else None
    return dg.AssetCheckResult(
        check_name=check.name,
        asset_key=check.asset,
        passed=not found,
        severity=check.severity,
        metadata=metadata,
        description=description,
    )


def _record(row: dict[str, Any]) -> dg.TableRecord:
    return dg.TableRecord({k: v.isoformat() if isinstance(v, dt.datetime) else v for k, v in row.items()})


def _description(check: Check) -> str:
    first_comment = (
        statements.text(check.statement).split("\nSELECT")[0].split("\nWITH")[0].replace("-- ", "").replace("\n", " ")
    )
    return f"{first_comment} {check.rule.severity}: {check.rule.why}."
