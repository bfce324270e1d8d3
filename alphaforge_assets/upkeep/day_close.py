"""Which days are over and not yet closed: what `sensors.day_close` asks for, in as few runs as it takes.

How late it is, is read from the ledger: no window is answered before it has closed by the venue's own clock, so an
answer from after midnight proves that the day is over there. Nothing is asked of a venue, and one that is down has its
days closed when it is back.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Collection, Mapping

from clickhouse_connect.driver.client import Client

from alphaforge_assets.datasets import Dataset
from alphaforge_assets.partitions import Rectangle, partition_key, rectangles
from alphaforge_assets.quality import coverage
from alphaforge_assets.universe import Instrument, Universe
from alphaforge_assets.warehouse import statements

# What nobody asked for is made up for by itself up to a month, as gaps are; more is a backfill to decide on.
CATCH_UP = coverage.NEVER_ASKED_MAX
# Answers older than this say too little of how late it is to be worth reading.
LOOK_BACK = dt.timedelta(days=2)
DAY = dt.timedelta(days=1)


def closed_until(client: Client, dataset: Dataset, universe: Universe, now: dt.datetime) -> dict[str, dt.date]:
    """The first day of a dataset that is not over and settled yet, by venue; venues that never answered are left out.

    Raises WarehouseDown, WarehouseRefused.
    """
    found = statements.rows(client, "reads/venue_clocks", since=now - LOOK_BACK)
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
        end = min(end, instrument.listed_until or end)
        if start < end:
            spans[start, end].append(instrument)
    order = dataset.instruments(universe)
    return [
        part
        for (start, end), its in sorted(spans.items())
        for part in rectangles(its, start, end, order, dataset.keys_per_run_max)
    ]


def _last_materialized(instrument: Instrument, end: dt.date, materialized: Collection[str]) -> dt.date | None:
    days = (end - n * DAY for n in range(CATCH_UP.days + 1))
    return next((day for day in days if partition_key(day, instrument) in materialized), None)
