"""Files that venues replace: listed again every day, and read again where the content is another one.

Whoever replaces a file says so nowhere but in its listing (github.com/binance/binance-public-data has thousands of such
files on record). The whole file lands again; what becomes new versions is the rows that differ, as always. Trades have
no versions: those that we lacked are published, and one that is another by now is what a check of theirs is for.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dagster as dg
from clickhouse_connect.driver.client import Client

from alphaforge_assets.datasets.registry import DATASETS
from alphaforge_assets.errors import AlphaForgeError
from alphaforge_assets.intervals import PRICE_TYPES, length_of, price_of
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.pipeline.landing import Landed, reach
from alphaforge_assets.pipeline.mart import Lock, publishing
from alphaforge_assets.refresh import refresh
from alphaforge_assets.universe import Instrument, Universe
from alphaforge_assets.upkeep.jobs import TRIGGER_TAG
from alphaforge_assets.venues.archive import ArchiveSource
from alphaforge_assets.venues.directory import ARCHIVES, TRADE_ARCHIVES, Exchanges
from alphaforge_assets.venues.trade_archive import TradeArchive
from alphaforge_assets.warehouse import statements

WATCH_ARCHIVES = "watch_archives"
# Files of the day before come at about four, and the report of the day is made before.
AT = "40 5 * * *"
DAY = dt.timedelta(days=1)
Watchable = ArchiveSource | TradeArchive
WATCHED: tuple[Watchable, ...] = (*ARCHIVES, *TRADE_ARCHIVES)


@dataclass(frozen=True)
class Changed:
    """A file that is another one than the one we read."""

    source: Watchable
    instrument: Instrument
    interval: str
    key: str
    start: dt.datetime
    end: dt.datetime


@dataclass(frozen=True)
class Watched:
    """What one look found: files compared, those that changed, what became of them, and which could not be listed."""

    compared: int
    changed: tuple[Changed, ...]
    landed: tuple[Landed, ...]
    failed: Mapping[str, str]  # source and instrument -> why


def watch(client: Client, exchanges: Exchanges, universe: Universe, *, run_id: str, lock: Lock) -> Watched:
    """List the files again that were read, and read those again whose content is another one by their ETag.

    Trouble with one instrument is not another's. Raises WarehouseDown, WarehouseRefused.
    """
    known = statements.rows(client, "archives/loaded", venues=sorted({source.venue for source in WATCHED}))
    compared, changed, failed = 0, list[Changed](), dict[str, str]()
    for source, rows in _by_source(known):
        try:
            found = list(_changed(client, exchanges, universe, source, rows, failed))
        except AlphaForgeError as error:
            failed[f"{source.venue} {source.name}"] = f"{type(error).__name__}: {error}"
            continue
        compared += len(rows)
        changed += found
    landed = [_again(client, exchanges, universe, one, run_id, lock) for one in changed]
    return Watched(compared, tuple(changed), tuple(landed), failed)


def _by_source(known: Sequence[dict[str, Any]]) -> Iterator[tuple[Watchable, list[dict[str, Any]]]]:
    for source in WATCHED:
        is_monthly = source.period == "month"
        rows = [
            r
            for r in known
            if r["venue"] == source.venue
            and source.holds(r["key"])
            and (r["period_end"] - r["period_start"] > DAY) == is_monthly
        ]
        if rows:
            yield source, rows


def _changed(
    client: Client,
    exchanges: Exchanges,
    universe: Universe,
    source: Watchable,
    rows: Sequence[dict[str, Any]],
    failed: dict[str, str],
) -> Iterator[Changed]:
    instruments = {(i.venue, i.symbol): i for i in universe.instruments}
    series: dict[tuple[Instrument, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        if instrument := instruments.get((row["venue"], row["symbol"])):  # what left the universe is left alone
            series[instrument, row["interval"]].append(row)
    with source.open(exchanges.access(source)) as connection:
        names = reach(client, source, connection, [i for i, _ in series]).names
        for (instrument, interval), its in series.items():
            name = names.get((instrument.venue, instrument.symbol))
            if name is None:
                continue  # the venue lists it no more under any name: there is nothing to ask for
            try:
                listed = connection.etags(name, interval, [row["period_start"] for row in its])
            except AlphaForgeError as error:
                failed[f"{source.name} {instrument.key} {interval}"] = f"{type(error).__name__}: {error}"
                continue
            for row in its:
                if listed.get(row["key"], row["etag"]) != row["etag"]:
                    yield Changed(source, instrument, interval, row["key"], row["period_start"], row["period_end"])


def _again(client: Client, exchanges: Exchanges, universe: Universe, one: Changed, run_id: str, lock: Lock) -> Landed:
    price, instrument = price_of(one.interval), one.instrument
    if price != "trade":  # of its prices this one alone
        instrument = replace(instrument, price_bars=tuple(p for p in PRICE_TYPES if p == price))
    part = Rectangle((instrument,), one.start.date(), one.end.date())
    only = universe.model_copy(update={"intervals": (length_of(one.interval),)}) if one.interval else universe
    dataset, wish = DATASETS[one.source.dataset_of(one.interval)], one.source.name
    return refresh(client, exchanges, only, part, dataset, run_id=run_id, refetch=True, wish=wish, lock=lock)


@dg.op(
    name="watch",
    description="Lists the files again that were read, and reads those again that the venue has replaced.",
    out=dg.Out(dg.Nothing),
)
def watch_op(
    context: dg.OpExecutionContext,
    warehouse: dg.ResourceParam[Client],
    exchanges: dg.ResourceParam[Exchanges],
    universe: dg.ResourceParam[Universe],
) -> None:
    """One look. Fails, after all else is published, when files could not be listed."""
    lock = publishing(Path(context.instance.root_directory))
    found = watch(warehouse, exchanges, universe, run_id=context.run_id, lock=lock)
    metadata: dict[str, Any] = {
        "files_compared": dg.MetadataValue.int(found.compared),
        "files_changed": dg.MetadataValue.int(len(found.changed)),
        "changed": dg.MetadataValue.json([one.key for one in found.changed]),
        "rows_landed": dg.MetadataValue.int(sum(landed.rows for landed in found.landed)),
    }
    context.log_event(dg.AssetMaterialization(asset_key="archive_files", metadata=metadata))
    if found.failed:
        raise dg.Failure(
            description="; ".join(f"{what}: {why}" for what, why in found.failed.items()),
            metadata=metadata,
            allow_retries=False,
        )
    context.add_output_metadata(metadata)


@dg.job(
    name=WATCH_ARCHIVES,
    description="Files of archives that the venue has replaced become new versions of the bars that changed.",
    tags={"dagster/max_retries": "0"},
    executor_def=dg.in_process_executor,
)
def watch_archives() -> None:
    """The job of `watch_op`."""
    watch_op()


def schedule(*, running: bool) -> dg.ScheduleDefinition:
    """`watch_archives`, once a day."""
    return dg.ScheduleDefinition(
        name=WATCH_ARCHIVES,
        job=watch_archives,
        cron_schedule=AT,
        execution_timezone="UTC",
        tags={TRIGGER_TAG: WATCH_ARCHIVES},
        default_status=dg.DefaultScheduleStatus.RUNNING if running else dg.DefaultScheduleStatus.STOPPED,
        description="Once a day: have the venues replaced files that bars were read from?",
    )
