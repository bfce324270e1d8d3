"""What researchers read: staging rows -> new versions in history -> the current version of each key.

Only changes are published, so a rerun publishes nothing and history holds every version once. The server says when a
version was published; what that owes to snapshots stands in research/snapshots.py.
"""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from clickhouse_connect.driver.client import Client

from alphaforge_assets.datasets.dataset import Dataset
from alphaforge_assets.failpoints import passing
from alphaforge_assets.intervals import MINUTE
from alphaforge_assets.partitions import ROWS_PER_STATEMENT, Rectangle
from alphaforge_assets.pipeline.slices import slices
from alphaforge_assets.warehouse import locks, statements

Lock = Callable[[Dataset], AbstractContextManager[object]]


def publish(
    client: Client,
    covered: Rectangle,
    dataset: Dataset,
    intervals: Sequence[str],
    comment: Mapping[str, str] | None = None,
) -> None:
    """Bring history, then the current table, then what is derived of it up to date with staging.

    Raises WarehouseDown, WarehouseRefused.
    """
    for start, end in slices(client, covered, dataset, intervals):
        bounds = {"instruments": covered.instrument_ids, "start": start, "end": end}
        passing("publish.before")
        first, second = dataset.publishes
        statements.execute(client, first, comment, **bounds, **dataset.tables)
        passing("publish.between")
        statements.execute(client, second, comment, **bounds, **dataset.tables)
        if dataset.derives:
            first_day, day_after = whole_days(start, end)
            bounds |= {"start": first_day, "end": day_after}
            statements.execute(client, f"mart/{dataset.derives}", comment, **bounds)
        passing("publish.after")


def derive_what_lacks(client: Client, dataset: Dataset, lock: Lock) -> int:
    """Make what is derived of days that were published without it, by an older version or by a run that was cut short.

    Returns how many days of an instrument that were; the same again makes none. Raises WarehouseDown, WarehouseRefused.
    """
    (held,) = statements.rows(client, "reads/minutes_held")
    if not held["instruments"]:
        return 0
    a_month = 31 * dataset.rows_a_day_max([MINUTE])
    months = max(1, ROWS_PER_STATEMENT // (a_month * held["instruments"]))
    some = max(1, ROWS_PER_STATEMENT // (a_month * months))
    start, days = held["first"].replace(day=1, hour=0, minute=0, second=0, microsecond=0), 0
    while start <= held["last"]:
        later = start.year * 12 + start.month - 1 + months
        end = dt.datetime(later // 12, later % 12 + 1, 1, tzinfo=dt.UTC)
        found = statements.rows(client, "reads/underived_days", start=start, end=end)
        days += sum(row["days"] for row in found)
        ids = [row["instrument_id"] for row in found]
        for n in range(0, len(ids), some):
            bounds = {"instruments": ids[n : n + some], "start": start, "end": end}
            with lock(dataset):
                statements.execute(client, f"mart/{dataset.derives}", **bounds)
        start = end
    return days


def whole_days(start: dt.datetime, end: dt.datetime) -> tuple[dt.datetime, dt.datetime]:
    """The UTC days that [start, end) touches, from midnight to midnight: a bar may begin before a slice of it does."""
    midnight = dt.time(tzinfo=dt.UTC)
    last = end.date() if end.timetz() == midnight else end.date() + dt.timedelta(days=1)
    return dt.datetime.combine(start.date(), midnight), dt.datetime.combine(last, midnight)


def publishing(folder: Path) -> Lock:
    """What one run holds while it publishes a dataset: `locks.publishing` of `folder`."""
    return lambda dataset: locks.publishing(folder, dataset.name)
