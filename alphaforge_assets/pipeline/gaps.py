"""What of windows is in the ledger of gaps, and open."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace

from clickhouse_connect.driver.client import Client

from alphaforge_assets.datasets.dataset import Dataset
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.warehouse import statements
from alphaforge_assets.warehouse.windows import Window

MINUTE = dt.timedelta(minutes=1)


def of_open_gaps(client: Client, dataset: Dataset, part: Rectangle, wanted: Sequence[Window]) -> list[Window]:
    """The minutes of windows in which the ledger of gaps has an open one: few of a busy day."""
    bounds = {"instruments": part.instrument_ids, "start": part.start_time, "end": part.end_time}
    gaps = statements.rows(client, "reads/gaps_between", **bounds, interval="", with_filled=False)
    found: set[Window] = set()
    for gap in gaps:
        low = gap["gap_start"].replace(second=0, microsecond=0)
        high = (gap["gap_end"] + MINUTE - dt.timedelta(microseconds=1)).replace(second=0, microsecond=0)
        for w in wanted:
            start, end = max(w.start, low), min(w.end, high)
            its = (w.instrument.instrument_id, dataset.name, w.interval)
            if its == (gap["instrument_id"], gap["dataset"], gap["interval"]) and start < end:
                found.add(replace(w, start=start, end=end))
    return sorted(found)
