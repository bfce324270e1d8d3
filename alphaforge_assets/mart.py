"""What researchers read: staging rows -> new versions in history -> the current version of each bar.

Only changes are published, so a rerun publishes nothing and history holds every version once.
"""

import datetime as dt
from collections.abc import Mapping, Sequence

import dagster as dg
from clickhouse_connect.driver.client import Client

from alphaforge_assets.described import column_lineage, described, record_beside, row_counts
from alphaforge_assets.partitions import BACKFILL_POLICY, Rectangle, rectangle
from alphaforge_assets.universe import Universe
from alphaforge_assets.warehouse import statements


def publish_bars(
    client: Client, covered: Rectangle, intervals: Sequence[str], comment: Mapping[str, str] | None = None
) -> None:
    """Bring bars_history, then bars, up to date with staging_bars. Raises WarehouseDown, WarehouseRefused."""
    published_at = dt.datetime.now(dt.UTC)
    for start, end in covered.slices(intervals):
        bounds = {"instruments": covered.instrument_ids, "start": start, "end": end}
        statements.execute(client, "mart/bars_history", comment, **bounds, published_at=published_at)
        statements.execute(client, "mart/bars", comment, **bounds)


def bars_asset(partitions: dg.PartitionsDefinition[str]) -> dg.AssetsDefinition:
    """The asset `bars`; a publication cut short by a crash is made up for by the next run."""

    @dg.asset(partitions_def=partitions, backfill_policy=BACKFILL_POLICY, deps=["staging_bars"], **described("bars"))
    def bars(
        context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Client], universe: dg.ResourceParam[Universe]
    ) -> dg.MaterializeResult[None]:
        covered = rectangle(context.partition_keys, universe)
        publish_bars(warehouse, covered, universe.intervals, {"run_id": context.run_id, "asset": "bars"})
        record_beside(context, "bars_history", row_counts(warehouse, "bars_history", covered))
        metadata = row_counts(warehouse, "bars", covered) | column_lineage("bars", "staging_bars")
        return dg.MaterializeResult(metadata=metadata)

    return bars


def specs() -> list[dg.AssetSpec]:
    """Tables written beside bars, and the views researchers read at the end of the lineage."""
    return [
        dg.AssetSpec("bars_history", deps=["staging_bars"], **described("bars_history")),
        dg.AssetSpec("v_bars", deps=["bars"], **described("v_bars")),
        dg.AssetSpec("v_instruments", deps=["instruments"], **described("v_instruments")),
    ]
