"""How a rectangle is cut into statements, none of which meets more rows than memory is meant to hold.

Of most datasets it is known how many rows a day may bring. Events come as they come: there what has landed is counted.
"""

import datetime as dt
from collections.abc import Iterator, Sequence

from clickhouse_connect.driver.client import Client

from alphaforge_assets.datasets.dataset import Dataset
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.warehouse import statements

HOUR = dt.timedelta(hours=1)
# Sets of their ids are held while a statement runs: 0.4 GB a million on top of what the server needs.
EVENTS_PER_STATEMENT = 500_000


def slices(
    client: Client, covered: Rectangle, dataset: Dataset, intervals: Sequence[str]
) -> Iterator[tuple[dt.datetime, dt.datetime]]:
    """[start, end) of each statement over a rectangle. Raises WarehouseDown, WarehouseRefused."""
    if not dataset.id:
        yield from covered.slices(dataset.rows_a_day_max(intervals))
        return
    bounds = {"instruments": covered.instrument_ids, "start": covered.start_time, "end": covered.end_time}
    start, end, waiting = covered.start_time, covered.start_time, 0
    for row in statements.rows(client, "reads/landed_hours", **bounds, **dataset.tables):
        month = row["hour"].year, row["hour"].month
        if waiting and (waiting + row["rows"] > EVENTS_PER_STATEMENT or month != (start.year, start.month)):
            yield start, end
            waiting = 0
        if not waiting:
            start = row["hour"]
        waiting, end = waiting + row["rows"], row["hour"] + HOUR
    if waiting:
        yield start, end
