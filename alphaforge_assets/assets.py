"""The assets of a dataset: landing, staging, mart and its judge on the same partitions, and what is written beside.

One shape for every dataset. What the assets do stands in pipeline/ and quality/; here is what Dagster is told.
"""

import datetime as dt
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import dagster as dg
from clickhouse_connect.driver.client import Client

from alphaforge_assets.catalog import Shown, described, record_beside, row_counts
from alphaforge_assets.datasets.dataset import Dataset
from alphaforge_assets.partitions import INSTRUMENTS_TAG, Rectangle, backfill_policy, partitions_of, rectangle
from alphaforge_assets.pipeline.ahead import Ahead
from alphaforge_assets.pipeline.landing import Landed, land
from alphaforge_assets.pipeline.mart import publish, publishing
from alphaforge_assets.pipeline.staging import stage
from alphaforge_assets.quality import coverage
from alphaforge_assets.quality.checks import blocking_checks, offenders
from alphaforge_assets.universe import Instrument, Universe
from alphaforge_assets.venues.directory import Exchanges
from alphaforge_assets.warehouse.windows import Window

AheadOfRuns = dict[str, Ahead]  # run id -> what landing worked ahead in this process


class Fetch(dg.Config):
    """How to fetch."""

    refetch: bool = False  # ask again also for what complete batches answer: changed bars become new versions
    # which sources are asked: best is what brings it soonest
    source: Literal["best", "archive", "archive_daily", "archive_monthly", "rest"] = "best"
    only_gaps: bool = False  # of the range only the minutes in which something is known to be missing


def chain(dataset: Dataset, universe: Universe, only: Sequence[Instrument] = ()) -> list[dg.AssetsDefinition]:
    """Landing, staging, mart and judge of a dataset, upstream first; of `only` these instruments if any are named."""
    partitions = partitions_of(dataset, universe, only)
    ahead: AheadOfRuns = {}
    return [
        landing_asset(dataset, partitions, ahead),
        staging_asset(dataset, partitions, ahead),
        mart_asset(dataset, partitions, ahead),
        judge_asset(dataset, partitions),
    ]


def _asset(
    dataset: Dataset, partitions: dg.PartitionsDefinition[str], name: str, deps: Sequence[str], shown: Shown
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """The decorator of every asset of a chain."""
    return dg.asset(name=name, partitions_def=partitions, backfill_policy=backfill_policy(dataset), deps=deps, **shown)


def landing_asset(
    dataset: Dataset, partitions: dg.PartitionsDefinition[str], ahead: AheadOfRuns
) -> dg.AssetsDefinition:
    """The asset `landing_<dataset>`; what has landed is staged and published while the venue still answers."""
    name = dataset.chain[0]

    @_asset(dataset, partitions, name, [] if dataset.only else ["instruments"], described(name))
    def landing(
        context: dg.AssetExecutionContext,
        config: Fetch,
        warehouse: dg.ResourceParam[Client],
        exchanges: dg.ResourceParam[Exchanges],
        universe: dg.ResourceParam[Universe],
    ) -> dg.MaterializeResult[None]:
        covered = _covered(context, dataset, universe)
        run_id, intervals = context.run.run_id, dataset.intervals(universe)
        ahead[run_id] = Ahead(intervals, lambda part: _bring(context, part, dataset, intervals, warehouse))
        with ahead[run_id].working():
            landed = land(
                warehouse,
                exchanges,
                covered,
                dataset,
                intervals,
                run_id=run_id,
                refetch=config.refetch,
                wish=config.source,
                only_gaps=config.only_gaps,
                written=ahead[run_id].landed,
            )
        record_beside(context, "ingest_batches", _metadata(landed))
        if landed.files:
            by_status = {status: dg.MetadataValue.int(n) for status, n in sorted(Counter(landed.files).items())}
            record_beside(context, "archive_files", by_status)
        if landed.listings_changed is not None:
            record_beside(context, "instruments", {"versions_added": dg.MetadataValue.int(landed.listings_changed)})
        if landed.failures:
            _report_failures(context, covered, landed)
        return dg.MaterializeResult(metadata=row_counts(warehouse, name, covered))

    return landing


def staging_asset(
    dataset: Dataset, partitions: dg.PartitionsDefinition[str], ahead: AheadOfRuns
) -> dg.AssetsDefinition:
    """The asset `staging_<dataset>`."""
    above, name, _ = dataset.chain

    @_asset(dataset, partitions, name, [above], described(name, upstream=above))
    def staging(
        context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Client], universe: dg.ResourceParam[Universe]
    ) -> dg.MaterializeResult[None]:
        covered = _covered(context, dataset, universe)
        for part in _left(context, covered, ahead):
            stage(warehouse, part, dataset, dataset.intervals(universe), _comment(context, name))
        record_beside(context, "rejected_rows", row_counts(warehouse, "rejected_rows", covered))
        return dg.MaterializeResult(metadata=row_counts(warehouse, name, covered))

    return staging


def mart_asset(dataset: Dataset, partitions: dg.PartitionsDefinition[str], ahead: AheadOfRuns) -> dg.AssetsDefinition:
    """The asset `<dataset>`; a publication cut short by a crash is made up for by the next run."""
    _, above, name = dataset.chain

    @_asset(dataset, partitions, name, [above], described(name, upstream=above))
    def mart(
        context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Client], universe: dg.ResourceParam[Universe]
    ) -> dg.MaterializeResult[None]:
        covered = _covered(context, dataset, universe)
        with publishing(Path(context.instance.root_directory))(dataset):
            for part in _left(context, covered, ahead):
                publish(warehouse, part, dataset, dataset.intervals(universe), _comment(context, name))
        ahead.pop(context.run.run_id, None)
        if dataset.history != name:
            record_beside(context, dataset.history, row_counts(warehouse, dataset.history, covered))
        if dataset.derives:
            record_beside(context, dataset.derives, row_counts(warehouse, dataset.derives, covered))
        return dg.MaterializeResult(metadata=row_counts(warehouse, name, covered))

    return mart


def judge_asset(dataset: Dataset, partitions: dg.PartitionsDefinition[str]) -> dg.AssetsDefinition:
    """The last of a chain: what is missing of the dataset, and why. It writes `gaps` on the way."""
    name = dataset.judged_by
    says = f"The rows of coverage that are of {dataset.name}." if name != "coverage" else ""
    deps = [dataset.name, "ingest_batches", *([] if dataset.only else ["instruments"])]

    @_asset(dataset, partitions, name, deps, described("coverage", says))
    def judge(
        context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Client], universe: dg.ResourceParam[Universe]
    ) -> dg.MaterializeResult[None]:
        covered = _covered(context, dataset, universe)
        coverage.judge(warehouse, covered, dataset, universe, _comment(context, name))
        found = coverage.summary(warehouse, covered, dataset)
        missing = coverage.missing_by_verdict(warehouse, covered, dataset)
        record_beside(context, "gaps", _judged(found, missing))
        return dg.MaterializeResult(metadata={"missing": found["missing"], "explained": found["explained"]})

    return judge


def specs(every: Sequence[Dataset]) -> list[dg.AssetSpec]:
    """Tables written beside the chains, and the views over them: an event a run, where an asset costs a partition."""
    landings, histories = [d.chain[0] for d in every], [d.history for d in every]
    judged = sorted(d.name for d in every)
    beside: dict[str, Sequence[str]] = {
        "ingest_batches": landings,
        "archive_files": ["landing_bars"],
        "rejected_rows": landings,
        "gaps": [*judged, "instruments", "ingest_batches"],
        "v_reconciliation": ["landing_bars"],
        "v_coverage": ["coverage"],
        "v_gaps": ["gaps"],
        "snapshots": histories,
        "snapshot_hashes": histories,
        "v_snapshots": ["snapshots"],
    }
    made_of: dict[str, str] = {}  # in the step that publishes, so an event a run says what there is
    for dataset in every:
        if dataset.derives:
            made, shown = dataset.derives, f"v_{dataset.derives}"
            beside |= {made: [dataset.name], shown: [made]}
            made_of |= {made: dataset.name, shown: made}
        if dataset.history != dataset.name:
            beside[dataset.history] = [dataset.chain[1]]
        beside[dataset.view] = [dataset.name]
    return [
        dg.AssetSpec(name, deps=list(deps), **described(name, upstream=made_of.get(name, "")))
        for name, deps in beside.items()
    ]


def _covered(context: dg.AssetExecutionContext, dataset: Dataset, universe: Universe) -> Rectangle:
    """The rectangle of the run, which must be of the instruments that it names, if it does."""
    covered = rectangle(context.partition_keys, dataset.instruments(universe))
    named = context.run.tags.get(INSTRUMENTS_TAG)
    if named and set(named.split()) != {i.key for i in covered.instruments}:
        raise dg.Failure(
            description=f"this run is of {named}, which are no range of partitions of this universe: start a backfill"
            " of them, from the command line or the UI, instead of repeating the run",
            allow_retries=False,
        )
    return covered


def _bring(
    context: dg.AssetExecutionContext, part: Rectangle, dataset: Dataset, intervals: Sequence[str], warehouse: Client
) -> bool:
    """Stage a part of a run that has landed, and publish it unless a blocking check objects, as the steps would."""
    _, staging, mart = dataset.chain
    stage(warehouse, part, dataset, intervals, _comment(context, staging))
    if any(offenders(warehouse, c, part, dt.datetime.now(dt.UTC)) for c in blocking_checks(dataset)):
        return False  # the checks of the run will say what it is
    with publishing(Path(context.instance.root_directory))(dataset):
        publish(warehouse, part, dataset, intervals, _comment(context, mart))
    return True


def _left(context: dg.AssetExecutionContext, covered: Rectangle, ahead: AheadOfRuns) -> list[Rectangle]:
    known = ahead.get(context.run.run_id)
    return known.left(covered) if known else [covered]


def _comment(context: dg.AssetExecutionContext, asset: str) -> dict[str, str]:
    return {"run_id": context.run.run_id, "asset": asset}


def _report_failures(context: dg.AssetExecutionContext, covered: Rectangle, landed: Landed) -> None:
    """Record the partitions that are whole, then fail naming the others: Dagster would otherwise drop them all."""
    bad = {(f.window.instrument, day) for f in landed.failures for day in _days(f.window)}
    for instrument in covered.instruments:
        for key in covered.keys(instrument):
            day = dt.date.fromisoformat(key.partition("|")[0])
            if (instrument, day) not in bad:
                context.log_event(dg.AssetMaterialization(asset_key=context.asset_key, partition=key))
    reasons = {f.window.instrument.key: f.error for f in landed.failures}
    named = "; ".join(f"{key}: {reason}" for key, reason in sorted(reasons.items()))
    raise dg.Failure(
        description=f"{len(reasons)} of {len(covered.instruments)} instruments were not fetched completely. {named}",
        metadata=_metadata(landed) | {"failed_instruments": reasons},
        allow_retries=False,
    )


def _days(window: Window) -> list[dt.date]:
    last = (window.end - dt.timedelta(milliseconds=1)).date()
    return [window.start.date() + dt.timedelta(days=n) for n in range((last - window.start.date()).days + 1)]


def _metadata(landed: Landed) -> dict[str, dg.MetadataValue]:
    return {
        "rows_fetched": dg.MetadataValue.int(landed.rows),
        "rows_by_source": dg.MetadataValue.json(dict(landed.by_source)),
        "requests": dg.MetadataValue.int(landed.cost.requests),
        "weight": dg.MetadataValue.int(landed.cost.weight),
        "retries": dg.MetadataValue.int(landed.cost.retries),
        "waited_s": dg.MetadataValue.float(round(landed.cost.waited_s, 3)),
    }


def _judged(row: dict[str, float], missing: list[dict[str, str | int]]) -> dict[str, dg.MetadataValue]:
    metadata: dict[str, dg.MetadataValue] = {
        name: dg.MetadataValue.int(int(row[name])) for name in ("expected", "present", "missing", "explained")
    }
    if row["days"]:
        metadata["completeness"] = dg.MetadataValue.float(row["completeness"])
        metadata["score_min"] = dg.MetadataValue.float(row["score_min"])
        metadata["score_mean"] = dg.MetadataValue.float(round(row["score_mean"], 2))
    metadata["missing_by_verdict"] = _by_verdict(missing)
    return metadata


def _by_verdict(missing: list[dict[str, str | int]]) -> dg.MetadataValue:
    schema = dg.TableSchema(
        [dg.TableColumn("verdict"), dg.TableColumn("gaps", type="int"), dg.TableColumn("missing", type="int")]
    )
    return dg.MetadataValue.table([dg.TableRecord(row) for row in missing], schema=schema)
