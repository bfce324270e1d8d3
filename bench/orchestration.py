"""(b) What Dagster costs: the start of a run, a partition, and what the UI asks of an asset with many of them.

Also the code location that the UI's question is asked of: a chain of three assets that do nothing.
"""

import contextlib
import datetime as dt
import logging
import os
import sqlite3
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import dagster as dg

from alphaforge_assets import instance
from alphaforge_assets.backfill import run as backfill
from alphaforge_assets.datasets.bars import BARS
from alphaforge_assets.event_log.storage import BATCH_SIZE
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.sandbox import process as sandbox
from alphaforge_assets.settings import Settings
from bench.ground import LIFTED, Ground, run
from bench.measure import FULL, LARGE, SMOKE, Row, Sizes, in_turns, scaled, timed

OURS = {"module": "alphaforge_assets.event_log.storage", "class": "BatchedSqliteEventLogStorage"}
STOCK = {"module": "dagster._core.storage.event_log", "class": "SqliteEventLogStorage"}
SIZE = "BENCH_SIZE"  # the UI's process loads this module anew, and must see the same assets
START = dt.date(2019, 1, 1)
QUESTION = """query ($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
    partitionStats { numMaterialized numPartitions }
    assetPartitionStatuses { __typename ... on MultiPartitionStatuses { ranges { primaryDimStartKey primaryDimEndKey
        secondaryDim { ... on DefaultPartitionStatuses { materializedPartitions } } } } } } } }"""

DISTINCT = """SELECT DISTINCT partition FROM event_logs
WHERE dagster_event_type = 'ASSET_MATERIALIZATION' AND asset_key = '["third"]'"""


def chain(sizes: Sizes) -> dg.Definitions:
    """Three assets, each of the one before, on as many partitions as the UI is to show."""
    days, instruments = sizes.cells
    end = START + dt.timedelta(days=days)
    cells = dg.MultiPartitionsDefinition(
        {
            "date": dg.DailyPartitionsDefinition(start_date=START.isoformat(), end_date=end.isoformat()),
            "instrument": dg.StaticPartitionsDefinition([f"i{n:02}" for n in range(instruments)]),
        }
    )

    def link(name: str, upstream: list[str]) -> dg.AssetsDefinition:
        @dg.asset(name=name, deps=upstream, partitions_def=cells, backfill_policy=dg.BackfillPolicy.single_run())
        def nothing() -> None:
            pass

        return nothing

    assets = [link("first", []), link("second", ["first"]), link("third", ["second"])]
    return dg.Definitions(assets=assets, jobs=[dg.define_asset_job("chain", selection="*")])


def rows(sizes: Sizes, folder: Path) -> Iterator[Row]:
    warnings.filterwarnings("ignore", category=dg.BetaWarning)
    logging.getLogger("dagster").setLevel(logging.CRITICAL)
    yield from real_chain(sizes, folder)
    yield from empty_chain(sizes, folder)
    yield statuses(sizes, folder)


def real_chain(sizes: Sizes, folder: Path) -> Iterator[Row]:
    """Runs of the bars chain that find everything fetched: what is left is Dagster, and the body's own looking."""
    ground = Ground(folder / "chain", interval="1h", start=START)
    with sandbox.start(budget_scale=LIFTED) as url:
        settings = Settings(
            home=ground.home, clickhouse_url=None, venues_url=url, universe_file=ground.universe_file,
            governor_file=ground.governor_file, keys={}, reports="", s3_endpoint=None,
        )  # fmt: skip
        with ground.warehouse() as client, instance.opened(settings.dagster_home) as opened:
            ground.body(client, url, sizes.keys[-1])

            def once(days: int) -> None:
                part: Rectangle = ground.rectangle(days)
                done = backfill.execute(client, opened, ground.universe, settings, BARS, [part], refetch=False)
                assert not done.failed, done.failed

            once(1)
            work = {}
            for days in (1, *sizes.keys):
                work[f"run {days}"] = lambda days=days: once(days)
                work[f"body {days}"] = lambda days=days: ground.body(client, url, days)
            samples = in_turns(sizes.rounds, work)
            yield Row("a run of one partition, nothing to fetch", "s", samples["run 1"], "its body", samples["body 1"])
            for days in sizes.keys:
                ours, theirs = (scaled(samples[f"{name} {days}"], 1000 / days) for name in ("run", "body"))
                yield Row(f"the same, {days:,} partitions: each", "ms", ours, "its body", theirs)
        again = in_turns(sizes.rounds, {
            "ours": lambda: ground.backfill(url, sizes.keys[0]),
            "theirs": lambda: run([sys.executable, "-c", "import dagster"]),
        })  # fmt: skip
    yield Row("a backfill with nothing left to do", "s", again["ours"], "python -c 'import dagster'", again["theirs"])


def empty_chain(sizes: Sizes, folder: Path) -> Iterator[Row]:
    """A run of assets that do nothing, on our event log and on Dagster's own."""
    few, many = sizes.keys
    wide = -(-many // sizes.cells[0])  # instruments that it takes to have so many keys
    samples: dict[str, list[float]] = {"stock": [], "few": [], "many": []}
    for _ in range(sizes.rounds):
        samples["stock"].append(materialized(sizes, folder, STOCK, few, 1))
        samples["few"].append(materialized(sizes, folder, OURS, few, 1))
        samples["many"].append(materialized(sizes, folder, OURS, many // wide, wide))
    stock = f"Dagster's own event log, {few} partitions"
    for keys, name in ((few, "few"), (many, "many")):
        yield Row(f"an asset-partition, {keys:,} a run of empty assets", "ms", samples[name], stock, samples["stock"])


def materialized(sizes: Sizes, folder: Path, storage: dict[str, str], days: int, instruments: int) -> float:
    """ms an asset-partition of one run, on an instance of its own."""
    os.environ.pop(BATCH_SIZE, None)  # ours sets it for its process
    with opened_with(storage, folder / f"events-{time.monotonic_ns()}") as opened:
        materialize(sizes, opened, 1, 1)  # what is done once, a database made for instance, is not what is measured
        seconds = timed(lambda: materialize(sizes, opened, days, instruments))
        assert len(opened.get_materialized_partitions(dg.AssetKey("third"))) == days * instruments
    os.environ.pop(BATCH_SIZE, None)
    return seconds * 1000 / (days * instruments * 3)


@contextmanager
def opened_with(storage: dict[str, str], folder: Path) -> Iterator[dg.DagsterInstance]:
    folder.mkdir()
    events = storage | {"config": {"base_dir": f"{folder}/history/runs"}}
    overrides = {"event_log_storage": events, "telemetry": {"enabled": False}}
    with dg.DagsterInstance.local_temp(str(folder), overrides=overrides) as opened:  # type: ignore[arg-type]
        yield opened


def materialize(sizes: Sizes, opened: dg.DagsterInstance, days: int, instruments: int, first: int = 0) -> None:
    """One run over the first days of some instruments."""
    ends = {"start": (START, f"i{first:02}"), "end": (START + dt.timedelta(days - 1), f"i{first + instruments - 1:02}")}
    tags = {f"dagster/asset_partition_range_{end}": f"{day}|{key}" for end, (day, key) in ends.items()}
    job = chain(sizes).resolve_job_def("chain")
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
        assert job.execute_in_process(instance=opened, tags=tags).success


def statuses(sizes: Sizes, folder: Path) -> Row:
    """What the Partitions page of an asset asks, by GraphQL, each time as if it were opened for the first time."""
    from dagster._core.workspace.context import WorkspaceProcessContext
    from dagster._core.workspace.load_target import ModuleTarget
    from dagster_graphql.test.utils import execute_dagster_graphql

    days, instruments = sizes.materialized
    keys, done = sizes.cells[0] * sizes.cells[1], days * instruments
    os.environ[SIZE] = sizes.name
    target = ModuleTarget("bench.orchestration", attribute="definitions", working_directory=None, location_name="bench")
    home = folder / "statuses"
    with opened_with(OURS, home) as opened:
        step = max(1, 2_000 // days)
        for first in range(0, instruments, step):
            materialize(sizes, opened, days, min(step, instruments - first), first)
        with WorkspaceProcessContext(opened, target, code_server_log_level="error") as process:

            def ask() -> None:
                context = process.create_request_context()
                answer = execute_dagster_graphql(context, QUESTION, {"key": {"path": ["third"]}})
                stats = answer.data["assetNodeOrError"]["partitionStats"]
                assert stats == {"numMaterialized": done, "numPartitions": keys}, answer.data

            def distinct() -> None:
                with closing(sqlite3.connect(home / "history" / "runs" / "index.db")) as database:
                    assert len(database.execute(DISTINCT).fetchall()) == done

            samples = in_turns(max(3, sizes.rounds), {"ours": ask, "theirs": distinct})
    what = f"partition status in the UI, {keys:,} keys, {done:,} there"
    ours, theirs = (scaled(samples[name], 1000) for name in ("ours", "theirs"))
    return Row(what, "ms", ours, "SELECT DISTINCT in its database", theirs)


def definitions() -> dg.Definitions:
    """For the UI's process."""
    return chain({sizes.name: sizes for sizes in (FULL, LARGE, SMOKE)}[os.environ[SIZE]])
