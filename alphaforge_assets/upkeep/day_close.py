"""Which days are over and not yet closed: what `day_close` asks for, in as few runs as it takes.

How late it is, is read from the ledger: no window is answered before it has closed by the venue's own clock, so an
answer from after midnight proves that the day is over there. Nothing is asked of a venue, and one that is down has its
days closed when it is back.
"""

import datetime as dt
import json
from collections import defaultdict
from collections.abc import Collection, Mapping

import dagster as dg
from clickhouse_connect.driver.client import Client

from alphaforge_assets.datasets.dataset import Dataset
from alphaforge_assets.datasets.registry import DATASETS
from alphaforge_assets.partitions import RANGE_END_TAG, RANGE_START_TAG, Rectangle, partition_key, rectangles
from alphaforge_assets.quality import coverage
from alphaforge_assets.universe import Instrument, Universe
from alphaforge_assets.upkeep.jobs import TRIGGER_TAG, AssetJob, status
from alphaforge_assets.warehouse import statements

# What nobody asked for is made up for by itself up to a month, as gaps are; more is a backfill to decide on.
CATCH_UP = coverage.NEVER_ASKED_MAX
# Answers older than this say too little of how late it is to be worth reading.
LOOK_BACK = dt.timedelta(days=2)
# A day is closed within a minute of the first answer from after it; looking is one query of 10 ms.
CLOSE_EVERY_S = 60
DAY = dt.timedelta(days=1)


def closed_until(client: Client, dataset: Dataset, universe: Universe, now: dt.datetime) -> dict[str, dt.date]:
    """The first day of a dataset that is not over and settled yet, by venue; venues that never answered are left out.

    Raises WarehouseDown, WarehouseRefused.
    """
    closing = [d.name for d in DATASETS.values() if not d.only]  # by the clock of an exchange
    found = statements.rows(client, "reads/venue_clocks", datasets=closing, since=now - LOOK_BACK)
    clocks = {row["venue"]: row["at_least"] for row in found}
    if dataset.only and clocks:
        clocks = {dataset.only.venue: max(clocks.values())}
    venues = {i.venue for i in dataset.instruments(universe)}
    margin = max(dataset.settle, dataset.final_after)
    return {venue: (clock - margin).date() for venue, clock in clocks.items() if venue in venues}


def days_to_close(
    dataset: Dataset,
    universe: Universe,
    closed: Mapping[str, dt.date],
    asked: Mapping[str, dt.date],
    materialized: Collection[str],
) -> list[Rectangle]:
    """Days to materialize: each is asked for once, when it is over. What then fails is the gap ledger's to heal.

    `closed` is of `closed_until`, `asked` the same as of the last time. A venue without one goes on at its last
    materialized day, which may have been materialized before it was over; a series that has none begins with the day
    that closed last. CATCH_UP is the farthest back.
    """
    spans: dict[tuple[dt.date, dt.date], list[Instrument]] = defaultdict(list)
    for instrument in dataset.instruments(universe):
        end = closed.get(instrument.venue)
        if end is None:
            continue
        start = asked.get(instrument.venue) or _last_materialized(instrument, end, materialized) or end - DAY
        start = max(start, end - CATCH_UP, instrument.listed_from, dataset.starts(universe))
        end = min(end, instrument.listed_until or end, dataset.ended or end)
        if start < end:
            spans[start, end].append(instrument)
    order = dataset.instruments(universe)
    return [
        part
        for (start, end), its in sorted(spans.items())
        for part in rectangles(its, start, end, order, dataset.keys_per_run_max)
    ]


def day_close(jobs: Mapping[str, AssetJob], *, running: bool) -> dg.SensorDefinition:
    """Materializes each day once it is over, and after a downtime all days since, in few runs. `jobs` is by dataset."""

    @dg.sensor(
        name="day_close",
        jobs=list(jobs.values()),
        minimum_interval_seconds=CLOSE_EVERY_S,
        default_status=status(running),
        description="Materializes every dataset's partitions of a day once it has closed; catches up after downtime.",
    )
    def day_close(
        context: dg.SensorEvaluationContext,
        warehouse: dg.ResourceParam[Client],
        universe: dg.ResourceParam[Universe],
    ) -> dg.SensorResult | dg.SkipReason:
        now = dt.datetime.now(dt.UTC)
        cursor: dict[str, dict[str, str]] = json.loads(context.cursor or "{}")
        requests = []
        for dataset in (DATASETS[name] for name in jobs):
            closed = closed_until(warehouse, dataset, universe, now)
            before = cursor.get(dataset.name, {})
            asked = {venue: dt.date.fromisoformat(day) for venue, day in before.items()}
            if dataset.only:  # its source may be late with a day: what was answered counts, not what was asked
                asked = _answered_until(warehouse, dataset)
            if all(asked.get(venue, dt.date.min) >= end for venue, end in closed.items()):
                continue
            done = context.instance.get_materialized_partitions(dg.AssetKey(dataset.name))
            parts = days_to_close(dataset, universe, closed, asked, done)
            again = f":{now:%Y-%m-%dT%H}" if dataset.only else ""
            requests += [_close_request(dataset, part, jobs[dataset.name].name, again) for part in parts]
            cursor[dataset.name] = before | {
                venue: max(before.get(venue, ""), str(day)) for venue, day in closed.items()
            }
        if not requests:
            return dg.SensorResult(skip_reason="no day has closed since", cursor=json.dumps(cursor))
        return dg.SensorResult(run_requests=requests, cursor=json.dumps(cursor))

    return day_close


def _answered_until(client: Client, dataset: Dataset) -> dict[str, dt.date]:
    found = statements.rows(client, "reads/answered_until", dataset=dataset.name)
    return {row["venue"]: row["answered_until"].date() for row in found}


def _close_request(dataset: Dataset, part: Rectangle, job_name: str, again: str) -> dg.RunRequest:
    tags = part.tags()
    return dg.RunRequest(
        run_key=f"day_close:{dataset.name}:{tags[RANGE_START_TAG]}..{tags[RANGE_END_TAG]}{again}",
        job_name=job_name,
        tags=tags | {TRIGGER_TAG: "day_close"},
    )


def _last_materialized(instrument: Instrument, end: dt.date, materialized: Collection[str]) -> dt.date | None:
    days = (end - n * DAY for n in range(CATCH_UP.days + 1))
    return next((day for day in days if partition_key(day, instrument) in materialized), None)
