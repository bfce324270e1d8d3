"""What Dagster itself costs an asset-partition on SQLite: a chain of three assets that do nothing, in one run.

    python -m bench.dagster_events [partitions ...]

Prints ms an asset-partition and bytes on disk for the stock event log and for ours, planned events included; asserts
nothing.
"""

import datetime as dt
import logging
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path

import dagster as dg
import dagster._core.storage.tags as dagster_tags

from alphaforge_assets.event_log import BATCH_SIZE

START = dt.date(2015, 1, 1)
PARTITIONS = (500, 2000)
OURS = {"module": "alphaforge_assets.event_log", "class": "BatchedSqliteEventLogStorage"}
STOCK = {"module": "dagster._core.storage.event_log", "class": "SqliteEventLogStorage"}
days = dg.DailyPartitionsDefinition(start_date=START.isoformat(), end_date="2035-01-01")


def link(name: str, upstream: str | None) -> dg.AssetsDefinition:
    """An asset of the chain."""

    @dg.asset(
        name=name,
        deps=[upstream] if upstream else [],
        partitions_def=days,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def nothing(context: dg.AssetExecutionContext) -> None:
        pass

    return nothing


CHAIN = [link("first", None), link("second", "first"), link("third", "second")]
DEFS = dg.Definitions(assets=CHAIN, jobs=[dg.define_asset_job("chain", selection="*")])


def measured(storage: dict[str, str], partitions: int) -> tuple[float, int]:
    """Seconds to materialize the chain, and bytes that it left, on an instance of its own."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        config = storage | {"config": {"base_dir": f"{folder}/history/runs"}}
        overrides = {"event_log_storage": config, "telemetry": {"enabled": False}}
        with dg.DagsterInstance.local_temp(folder, overrides=overrides) as instance:  # type: ignore[arg-type]
            run(instance, 1)  # what is done once, a database made for instance, is not what is measured
            began = time.perf_counter()
            run(instance, partitions)
            seconds = time.perf_counter() - began
            have = instance.get_materialized_partitions(dg.AssetKey("third"))
            assert len(have) == partitions
        return seconds, sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())


def run(instance: dg.DagsterInstance, partitions: int) -> None:
    """One run over the first days."""
    tags = {
        dagster_tags.ASSET_PARTITION_RANGE_START_TAG: START.isoformat(),
        dagster_tags.ASSET_PARTITION_RANGE_END_TAG: (START + dt.timedelta(partitions - 1)).isoformat(),
    }
    result = DEFS.resolve_job_def("chain").execute_in_process(instance=instance, tags=tags)
    assert result.success


def main() -> None:
    """Measure what is asked for on the command line."""
    warnings.filterwarnings("ignore", category=dg.BetaWarning)
    logging.getLogger("dagster").setLevel(logging.CRITICAL)
    for partitions in [int(word) for word in sys.argv[1:]] or PARTITIONS:
        for name, storage in {"stock": STOCK, "ours": OURS}.items():
            os.environ.pop(BATCH_SIZE, None)  # ours sets it for its process
            seconds, size = measured(storage, partitions)
            done = partitions * len(CHAIN)
            print(
                f"{name:6} {partitions:5} partitions: {seconds:6.1f} s, {seconds / done * 1000:5.2f} ms an"
                f" asset-partition, {size / done / 1000:4.1f} kB on disk",
                flush=True,
            )


if __name__ == "__main__":
    main()
