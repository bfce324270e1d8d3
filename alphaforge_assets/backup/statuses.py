"""Partition statuses from the warehouse, for an instance that lost its databases: what is proved there, and no more.

Landing is proved by the ledger, each later asset of a chain by what it would still have to write: nothing. Everything
is read before anything is said to Dagster, and nothing is asked of a venue.
"""

import datetime as dt
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import dagster as dg
from clickhouse_connect.driver.client import Client

from alphaforge_assets.catalog import row_counts
from alphaforge_assets.datasets.dataset import Dataset
from alphaforge_assets.datasets.registry import DATASETS
from alphaforge_assets.instance import record_without_a_run
from alphaforge_assets.partitions import Rectangle, partition_key, partitions_of
from alphaforge_assets.pipeline import served
from alphaforge_assets.pipeline.landing import NO_END
from alphaforge_assets.universe import Instrument, Universe
from alphaforge_assets.warehouse import statements
from alphaforge_assets.warehouse.windows import Window, unanswered

REBUILT = {"rebuilt_from": dg.MetadataValue.text("the warehouse's ledger, by alphaforge rebuild-status")}
DAY = dt.timedelta(days=1)

Cell = tuple[int, dt.date]  # what one instrument has of a day
Figures = Mapping[str, dg.MetadataValue]


@dataclass(frozen=True)
class Proved:
    """Partitions of an asset that the warehouse proves whole, with the figures that the events of runs have.

    `unproved` counts those that have landed and are not.
    """

    asset: str
    dataset: Dataset
    partitions: Mapping[str, Figures]
    unproved: int = 0


def proved(client: Client, universe: Universe) -> list[Proved]:
    """What the warehouse proves of every partitioned asset, upstream first. Raises WarehouseDown, WarehouseRefused."""
    return [p for dataset in DATASETS.values() for p in _of_dataset(client, dataset, universe)]


def without_status(instance: dg.DagsterInstance, universe: Universe, found: Proved) -> Proved:
    """Those of an asset's partitions of which Dagster knows nothing, neither good nor bad."""
    keys = list(found.partitions)
    if not keys:
        return found
    definition = partitions_of(found.dataset, universe)
    known = instance.get_status_by_partition(dg.AssetKey(found.asset), keys, definition) or {}
    return replace(found, partitions={k: its for k, its in found.partitions.items() if known.get(k) is None})


def rebuild(instance: dg.DagsterInstance, found: Sequence[Proved]) -> None:
    """Tell Dagster of partitions, upstream first. Killed in between, it has told some, and the same again the rest."""
    record_without_a_run(
        instance,
        [
            dg.AssetMaterialization(asset_key=p.asset, partition=key, metadata={**figures, **REBUILT})
            for p in found
            for key, figures in p.partitions.items()
        ],
    )


def _of_dataset(client: Client, dataset: Dataset, universe: Universe) -> Iterator[Proved]:
    answered = _answered(client, dataset, universe)
    landed = {(i.instrument_id, day) for i, days in answered.items() for day in days}
    if not landed:
        yield from (Proved(asset, dataset, {}) for asset in dataset.run_assets)
        return
    days = [day for _, day in landed]
    covered = Rectangle(tuple(answered), min(days), max(days) + DAY)
    unstaged, unpublished = set[Cell](), set[Cell]()
    counts = {table: Counter[Cell]() for table in dataset.chain}
    not_staged, not_published = dataset.undone
    for start, end in covered.slices(dataset.rows_a_day_max(dataset.intervals(universe))):
        bounds = {"instruments": covered.instrument_ids, "start": start, "end": end}
        unstaged |= _cells(statements.rows(client, not_staged, **bounds, **dataset.tables)).keys()
        unpublished |= _cells(statements.rows(client, not_published, **bounds, **dataset.tables)).keys()
        for table, its in counts.items():
            found = statements.rows(client, "reads/rows_by_day", database="analytics", table=table, **bounds)
            its.update({cell: row["rows"] for cell, row in _cells(found).items()})
    staged = landed - unstaged
    names = {i.instrument_id: i for i in answered}
    for table, cells in zip(dataset.chain, (landed, staged, staged - unpublished), strict=True):
        total = row_counts(client, table, covered)["dagster/row_count"]
        figures: dict[Cell, Figures] = {
            cell: {"dagster/row_count": total, "rows_in_range": dg.MetadataValue.int(counts[table][cell])}
            for cell in cells
        }
        yield _named(table, dataset, figures, names, len(landed))
    judged = _judged(client, dataset, covered)
    figures = {cell: judged[cell] for cell in staged - unpublished if cell in judged}
    yield _named(dataset.judged_by, dataset, figures, names, len(landed))


def _answered(client: Client, dataset: Dataset, universe: Universe) -> dict[Instrument, set[dt.date]]:
    """Days that complete batches answer whole, by the same reckoning as landing: what it would not ask for any more."""
    start, end = dataset.starts(universe), dt.datetime.now(dt.UTC).date() + DAY
    every = Rectangle(dataset.instruments(universe), start, end)
    wanted = served.windows(dataset, every, dataset.intervals(universe), NO_END)
    found = {w.instrument: _days(w) for w in wanted}
    for window in unanswered(client, dataset.name, wanted, chunk=dataset.chunk, final_after=dataset.final_after):
        found[window.instrument] -= _days(window)
    return {instrument: days for instrument, days in found.items() if days}


def _judged(client: Client, dataset: Dataset, covered: Rectangle) -> dict[Cell, Figures]:
    rows = statements.rows(
        client,
        "reads/judged_days",
        dataset=dataset.name,
        judge=dataset.judged_by,
        instruments=covered.instrument_ids,
        start=covered.start_time,
        end=covered.end_time,
    )
    return {
        cell: {name: dg.MetadataValue.int(row[name]) for name in ("missing", "explained")}
        for cell, row in _cells(rows).items()
    }


def _named(
    asset: str,
    dataset: Dataset,
    figures: Mapping[Cell, Figures],
    names: Mapping[int, Instrument],
    landed: int,
) -> Proved:
    partitions = {partition_key(day, names[i]): figures[i, day] for i, day in sorted(figures, key=lambda c: c[::-1])}
    return Proved(asset, dataset, partitions, landed - len(partitions))


def _cells(rows: Sequence[Mapping[str, Any]]) -> dict[Cell, Mapping[str, Any]]:
    return {(row["instrument_id"], row["day"]): row for row in rows}


def _days(window: Window) -> set[dt.date]:
    first, last = window.start.date(), (window.end - dt.timedelta(milliseconds=1)).date()
    return {first + n * DAY for n in range((last - first).days + 1)}
