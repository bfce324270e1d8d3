"""What is valid: landing rows -> the current truth of each key, and the rows that break a rule -> rejected_rows.

One INSERT ... SELECT for months of the run's rectangle and all its instruments at once. Running it again adds nothing.
"""

from collections.abc import Mapping, Sequence

import dagster as dg
from clickhouse_connect.driver.client import Client

from alphaforge_assets.catalog import column_lineage, described, record_beside, row_counts
from alphaforge_assets.datasets import DATASETS, Dataset
from alphaforge_assets.partitions import Rectangle, backfill_policy, rectangle
from alphaforge_assets.universe import Universe
from alphaforge_assets.warehouse import statements


def stage(
    client: Client,
    covered: Rectangle,
    dataset: Dataset,
    intervals: Sequence[str],
    comment: Mapping[str, str] | None = None,
) -> None:
    """Bring staging and rejected_rows up to date with landing. Raises WarehouseDown, WarehouseRefused."""
    for start, end in covered.slices(dataset.rows_a_day_max(intervals)):
        bounds = {"instruments": covered.instrument_ids, "start": start, "end": end}
        statements.execute(client, "staging/current", comment, **bounds, **dataset.tables)
        statements.execute(client, "staging/rejected", comment, **bounds, **dataset.tables)


def asset(dataset: Dataset, partitions: dg.PartitionsDefinition[str]) -> dg.AssetsDefinition:
    """The asset `staging_<dataset>`."""
    above, name, _ = dataset.chain

    @dg.asset(
        name=name, partitions_def=partitions, backfill_policy=backfill_policy(dataset), deps=[above], **described(name)
    )
    def staging(
        context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Client], universe: dg.ResourceParam[Universe]
    ) -> dg.MaterializeResult[None]:
        covered = rectangle(context.partition_keys, universe)
        stage(warehouse, covered, dataset, dataset.intervals(universe), {"run_id": context.run_id, "asset": name})
        record_beside(context, "rejected_rows", row_counts(warehouse, "rejected_rows", covered))
        metadata = row_counts(warehouse, name, covered) | column_lineage(name, above)
        return dg.MaterializeResult(metadata=metadata)

    return staging


def specs() -> list[dg.AssetSpec]:
    """Tables written beside staging, shown in the lineage."""
    return [dg.AssetSpec("rejected_rows", deps=[d.chain[0] for d in DATASETS.values()], **described("rejected_rows"))]
