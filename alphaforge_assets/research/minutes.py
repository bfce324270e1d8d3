"""Which minutes derived bars rest on. A complete bar stands for all of its own; those of others are looked up.

What is missing of derived bars is what is missing of their minutes, with the verdicts of these: a day with one minute
less is not a day less, and a bar that is there may lack some.
"""

import datetime as dt
from typing import Any

import numpy as np
import pyarrow as pa
from clickhouse_connect.driver.client import Client

from alphaforge_assets.intervals import MINUTE, MINUTE_MS, STEP_MS
from alphaforge_assets.research.arguments import Request
from alphaforge_assets.universe import id_of
from alphaforge_assets.warehouse import statements

COMPLETE = "is_complete"  # the column by which a bar says that it has all of its minutes
NOT_MADE = ("not_made", "all of its minutes are published, and no bar is made of them yet: run `alphaforge migrate`")
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def whole(interval: str, start: dt.datetime, end: dt.datetime) -> tuple[dt.datetime, dt.datetime]:
    """From the start of the first to the end of the last derived bar that begins in [start, end)."""
    step = dt.timedelta(milliseconds=STEP_MS[interval])
    first, last = (-(-(moment - _EPOCH) // step) for moment in (start, end))
    return _EPOCH + first * step, _EPOCH + last * step


def known_by(request: Request) -> dict[str, Any]:
    """What the ledger knows the rows of a request by, where that is not what they are read by: their minutes."""
    if not request.made_of:
        return {}
    start, end = whole(request.interval, request.start, request.end)
    return {"interval": MINUTE, "start": start, "end": end}


def seen(
    client: Client, request: Request, parts: dict[str, pa.Table], as_of: dt.datetime
) -> tuple[dict[str, Any], list[tuple[int, int, int, str, str]]]:
    """The minutes that the bars of each instrument rest on, as int64 milliseconds, ascending; and for the gap ledger,
    what of them was published and is not in a bar. `parts` have `timestamp` and `is_complete`. Raises WarehouseDown.
    """
    step = STEP_MS[request.interval]
    start, end = whole(request.interval, request.start, request.end)
    first, last = ((moment - _EPOCH) // dt.timedelta(milliseconds=1) for moment in (start, end))
    wanted = np.arange(first, last, step)
    told, lacking = {}, {}
    for key, part in parts.items():
        complete = part.filter(part.column(COMPLETE)).column("timestamp").cast(pa.int64()).to_numpy()
        told[key] = (complete[:, None] + np.arange(0, step, MINUTE_MS)).ravel()
        lacking[key] = np.setdiff1d(wanted, complete, assume_unique=True)
    published = _published(client, {key: of for key, of in lacking.items() if len(of)}, step, as_of)
    not_made = []
    for key, minutes in published.items():
        minutes = minutes[np.isin(minutes // step * step, lacking[key])]
        bars, counts = np.unique(minutes // step * step, return_counts=True)
        unmade = bars[counts == step // MINUTE_MS]
        not_made += [(id_of(key), int(bar), int(bar) + step, *NOT_MADE) for bar in unmade]
        told[key] = np.sort(np.concatenate([told[key], minutes[~np.isin(minutes // step * step, unmade)]]))
    return told, not_made


def _published(client: Client, lacking: dict[str, Any], step: int, as_of: dt.datetime) -> dict[str, Any]:
    """Minutes published by a moment between the first and the last of the bars that lack some."""
    if not lacking:
        return {}
    ends = min(of[0] for of in lacking.values()), max(of[-1] for of in lacking.values()) + step
    start, end = (_EPOCH + dt.timedelta(milliseconds=int(ms)) for ms in ends)
    bounds = {"instruments": [id_of(key) for key in lacking], "start": start, "end": end}
    found = statements.stream(client, "reads/minutes_as_of", **bounds, as_of=as_of)
    ids, minutes = (found.column(n).cast(pa.int64()).to_numpy() for n in range(2))
    return {key: minutes[ids == id_of(key)] for key in lacking}
