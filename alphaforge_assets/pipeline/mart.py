"""What researchers read: staging rows -> new versions in history -> the current version of each bar.

Only changes are published, so a rerun publishes nothing and history holds every version once. The server says when a
version was published; what that owes to snapshots stands in research/snapshots.py.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import dagster as dg
from clickhouse_connect.driver.client import Client
from filelock import FileLock

from alphaforge_assets.catalog import column_lineage, described, record_beside, row_counts
from alphaforge_assets.datasets import Dataset
from alphaforge_assets.partitions import Rectangle, backfill_policy, rectangle
from alphaforge_assets.universe import Universe
from alphaforge_assets.warehouse import statements

Afterwards = Callable[[Client, Rectangle, Dataset, Universe, Mapping[str, str]], Mapping[str, dg.MetadataValue]]


def publish(
    client: Client,
    covered: Rectangle,
    dataset: Dataset,
    intervals: Sequence[str],
    comment: Mapping[str, str] | None = None,
) -> None:
    """Bring history, then the current table, up to date with staging. Raises WarehouseDown, WarehouseRefused."""
    for start, end in covered.slices(dataset.rows_a_day_max(intervals)):
        bounds = {"instruments": covered.instrument_ids, "start": start, "end": end}
        statements.execute(client, "mart/history", comment, **bounds, **dataset.tables)
        statements.execute(client, "mart/current", comment, **bounds, **dataset.tables)


def publishing(instance: dg.DagsterInstance, dataset: Dataset) -> FileLock:
    """A lock that one run of an instance holds while it publishes; a process that dies lets go of it.

    Two runs that publish the same bars at the same moment would not see each other's rows in history, and write what is
    one version twice.
    """
    return FileLock(Path(instance.root_directory) / f"publish_{dataset.name}.lock")


def asset(
    dataset: Dataset, partitions: dg.PartitionsDefinition[str], afterwards: Afterwards | None = None
) -> dg.AssetsDefinition:
    """The asset `<dataset>`; a publication cut short by a crash is made up for by the next run.

    `afterwards` is called once it is published, and gives more of its metadata.
    """
    _, above, name = dataset.chain

    @dg.asset(
        name=name, partitions_def=partitions, backfill_policy=backfill_policy(dataset), deps=[above], **described(name)
    )
    def mart(
        context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Client], universe: dg.ResourceParam[Universe]
    ) -> dg.MaterializeResult[None]:
        covered = rectangle(context.partition_keys, universe)
        comment = {"run_id": context.run_id, "asset": name}
        with publishing(context.instance, dataset):
            publish(warehouse, covered, dataset, dataset.intervals(universe), comment)
        record_beside(context, f"{name}_history", row_counts(warehouse, f"{name}_history", covered))
        metadata = row_counts(warehouse, name, covered) | column_lineage(name, above)
        if afterwards:
            metadata |= afterwards(warehouse, covered, dataset, universe, comment)
        return dg.MaterializeResult(metadata=metadata)

    return mart


def specs() -> list[dg.AssetSpec]:
    """Tables written beside the marts, and the views researchers read at the end of the lineage."""
    histories = ["bars_history", "fear_greed_index_history", "funding_rates_history"]
    return [
        dg.AssetSpec("bars_history", deps=["staging_bars"], **described("bars_history")),
        dg.AssetSpec("v_bars", deps=["bars"], **described("v_bars")),
        dg.AssetSpec(
            "fear_greed_index_history", deps=["staging_fear_greed_index"], **described("fear_greed_index_history")
        ),
        dg.AssetSpec("v_fear_greed", deps=["fear_greed_index"], **described("v_fear_greed")),
        dg.AssetSpec("funding_rates_history", deps=["staging_funding_rates"], **described("funding_rates_history")),
        dg.AssetSpec("v_funding", deps=["funding_rates"], **described("v_funding")),
        dg.AssetSpec("snapshots", deps=histories, **described("snapshots")),
        dg.AssetSpec("snapshot_hashes", deps=histories, **described("snapshot_hashes")),
        dg.AssetSpec("v_snapshots", deps=["snapshots"], **described("v_snapshots")),
    ]
