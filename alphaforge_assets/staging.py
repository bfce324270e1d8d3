"""What is valid: landing rows -> the current truth of each key, and the rows that break a rule -> rejected_rows.

One INSERT ... SELECT for months of the run's rectangle and all its instruments at once. Running it again adds nothing.
"""

from collections.abc import Mapping, Sequence

import dagster as dg
from clickhouse_connect.driver.client import Client

from alphaforge_assets.described import column_lineage, described, record_beside, row_counts
from alphaforge_assets.partitions import BACKFILL_POLICY, Rectangle, rectangle
from alphaforge_assets.universe import Universe
from alphaforge_assets.warehouse import statements


def stage_bars(
    client: Client, covered: Rectangle, intervals: Sequence[str], comment: Mapping[str, str] | None = None
) -> None:
    """Bring staging_bars and rejected_rows up to date with landing_bars. Raises WarehouseDown, WarehouseRefused."""
    for start, end in covered.slices(intervals):
        bounds = {"instruments": covered.instrument_ids, "start": start, "end": end}
        statements.execute(client, "staging/bars", comment, **bounds)
        statements.execute(client, "staging/rejected_bars", comment, **bounds)


def bars_asset(partitions: dg.PartitionsDefinition[str]) -> dg.AssetsDefinition:
    """The asset `staging_bars`."""

    @dg.asset(
        partitions_def=partitions, backfill_policy=BACKFILL_POLICY, deps=["landing_bars"], **described("staging_bars")
    )
    def staging_bars(
        context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Client], universe: dg.ResourceParam[Universe]
    ) -> dg.MaterializeResult[None]:
        covered = rectangle(context.partition_keys, universe)
        stage_bars(warehouse, covered, universe.intervals, {"run_id": context.run_id, "asset": "staging_bars"})
        record_beside(context, "rejected_rows", row_counts(warehouse, "rejected_rows", covered))
        metadata = row_counts(warehouse, "staging_bars", covered) | column_lineage("staging_bars", "landing_bars")
        return dg.MaterializeResult(metadata=metadata)

    return staging_bars


def specs() -> list[dg.AssetSpec]:
    """Tables written beside staging_bars, shown in the lineage."""
    return [dg.AssetSpec("rejected_rows", deps=["landing_bars"], **described("rejected_rows"))]
