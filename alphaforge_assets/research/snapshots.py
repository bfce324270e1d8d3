"""Snapshots: a name and an instant, what the rows were then as hashes, and the proof that they still are.

What is read of a snapshot is history as of its instant, so it can change only if a row with a publication time up to
the instant becomes visible later. That cannot happen on one server:

1. The server itself takes `published_at`, within the INSERT: now, but later than every `pinned_at` it can see.
2. `pin` first writes a row with its instant, and then waits until every INSERT into a history that was under way is
   gone from the server's process list. One that begins afterwards sees the row, and so publishes later than the
   instant; one that had begun is over, and its rows are either visible before anything is hashed or never will be.

Neither step compares clocks, so one that is set back, or two publishers, do no harm. An INSERT killed with its client
stays in the list until it is over; one killed with its server has ended, and its visible blocks stay as they are. The
rest of it is published by the next run, later. Publishing a version again changes nothing: of equal versions the
earliest counts, before and after a merge. An older version that comes late loses to the newer one, and is later too.
The rate_bound of funding is no stored value but a judgement by listings, and is not hashed: a listing would have to be
written five minutes after it was observed to change one. On a cluster the process list is that of one server: let
publications and pins go to the same one.
"""

import datetime as dt
import difflib
import re
import time
import uuid
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa
from clickhouse_connect.driver.client import Client

from alphaforge_assets.datasets.dataset import Dataset
from alphaforge_assets.datasets.registry import DATASETS
from alphaforge_assets.errors import BadInput, Permanent, Transient
from alphaforge_assets.failpoints import passing
from alphaforge_assets.intervals import DERIVED_MS, MINUTE
from alphaforge_assets.research.hashes import (
    Contents,
    Difference,
    Hash,
    Place,
    content_of,
    differences,
    hashes,
    keys_of,
    latest,
)
from alphaforge_assets.research.minutes import whole
from alphaforge_assets.universe import id_of
from alphaforge_assets.warehouse import statements

NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,99}")
DIFF_ROWS_MAX = 1000
_KEY = ["instrument", "interval", "timestamp", "rate_type"]
_MOMENTS = ("timestamp", "ingested_at", "published_at")
_DIFF_COLUMNS = (
    *("dataset", "instrument", "interval", "timestamp", "rate_type", "change", "column", "old", "new"),
    *("batch_id", "source", "ingested_at", "published_at"),
)
_PUBLICATION_S_MAX = 600.0
_POLL_S = 0.02
_INSERT = r"(?i)insert\s+into\s+(table\s+)?(analytics\.)?"
_HISTORIES = _INSERT + "(" + "|".join([r"\w+_history", *(d.history for d in DATASETS.values() if d.id)]) + r")\b"
_LEDGER = _INSERT + r"snapshots\b"


@dataclass(frozen=True)
class Snapshot:
    """A pinned one. Its rows are those of the as_of views at `pinned_at`; `content` is equal for equal rows."""

    name: str
    snapshot_id: str
    pinned_at: dt.datetime
    contents: Contents
    rows: int
    content: str  # SHA-256 of its hashes, hexadecimal

    @property
    def datasets(self) -> tuple[str, ...]:
        return self.contents.datasets

    @property
    def instruments(self) -> tuple[str, ...]:
        return self.contents.instruments

    @property
    def intervals(self) -> tuple[str, ...]:
        return self.contents.intervals

    @property
    def start(self) -> dt.datetime:
        return self.contents.start

    @property
    def end(self) -> dt.datetime:
        return self.contents.end


def pin(client: Client, name: str, wanted: Contents) -> Snapshot:
    """Record what `wanted` is now, under `name`. Once it returns, `find` knows it; a crash before that leaves nothing.

    Pinning again what the name already stands for returns the snapshot there is. Raises BadInput for a name that cannot
    be or stands for something else, and where there is nothing to pin; Transient while a publication does not end;
    WarehouseDown, WarehouseRefused.
    """
    check_name(name)
    if existing := _by_name(client, name):
        return _same(existing, wanted, hashes(client, wanted, latest()))
    snapshot_id = str(uuid.uuid4())
    statements.execute(client, "snapshots/begin", **_asked(client, name, snapshot_id, wanted))
    passing("pin.begun")
    _wait_for(client, _HISTORIES)
    (begun,) = statements.rows(client, "snapshots/begun", snapshot_id=snapshot_id)
    pinned_at = begun["pinned_at"]
    found = hashes(client, wanted, pinned_at)
    if not found:
        raise BadInput(
            f"nothing to pin: no {' and no '.join(wanted.datasets)} from {wanted.start:%Y-%m-%d %H:%M} to "
            f"{wanted.end:%Y-%m-%d %H:%M} in the warehouse (`alphaforge status` shows what there is)"
        )
    _keep(client, snapshot_id, found)
    passing("pin.hashed")
    rows = sum(h.rows for h in found.values())
    statements.execute(
        client,
        "snapshots/finish",
        snapshot_id=snapshot_id,
        pinned_at=pinned_at,
        row_count=rows,
        content=content_of(found),
    )
    passing("pin.finished")
    # Another pin of the name may be at the same point: once both are visible, both see who is first.
    _wait_for(client, _LEDGER)
    pinned = find(client, name)
    if pinned.snapshot_id == snapshot_id:
        return pinned
    statements.execute(client, "snapshots/unpin", snapshot_id=snapshot_id)
    return _same(pinned, wanted, found)


def check_name(name: str) -> None:
    """Raises BadInput for one that no snapshot can have."""
    if not NAME.fullmatch(name):
        raise BadInput(
            f"name {name!r}: use up to 100 small letters, digits and '_', '.' or '-', beginning with a letter or digit"
        )


def unpin(client: Client, name: str) -> Snapshot:
    """Take the name off a snapshot, which it returns. The rows stay in history, and its record keeps a trace.

    Raises BadInput if there is none of that name; WarehouseDown, WarehouseRefused.
    """
    snapshot = find(client, name)
    statements.execute(client, "snapshots/unpin", snapshot_id=snapshot.snapshot_id)
    return snapshot


def find(client: Client, name: str) -> Snapshot:
    """The snapshot named `name`. Raises BadInput with the nearest names if there is none; WarehouseDown."""
    if snapshot := _by_name(client, name):
        return snapshot
    names = [s.name for s in listed(client)]
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
    known = f"did you mean {', '.join(near)}?" if near else "`alphaforge snapshots` lists those there are"
    raise BadInput(f"no snapshot named {name!r}: {known}")


def check_covered(held: Snapshot, dataset: Dataset, interval: str, start: dt.datetime, end: dt.datetime) -> None:
    """Raises BadInput for what a snapshot does not cover. Derived bars are in it where all of their minutes are."""
    name = f"snapshot {held.name!r}"
    if dataset.ledger not in held.datasets:
        raise BadInput(f"{name} has {', '.join(held.datasets)}, not {dataset.ledger}: pin it anew with that dataset")
    if dataset.made_of:
        if MINUTE not in held.intervals:
            its = ", ".join(held.intervals)
            raise BadInput(f"interval {interval!r}: bars are derived of {MINUTE}, and {name} has {its}")
        if interval in DERIVED_MS:
            start, end = whole(interval, start, end)
    elif dataset.grid == "interval" and interval not in (has := dataset.series_of(held.intervals)):
        raise BadInput(f"interval {interval!r}: {name} has {', '.join(has)}")
    if start < held.start or end > held.end:
        raise BadInput(
            f"start {start:%Y-%m-%dT%H:%MZ} to end {end:%Y-%m-%dT%H:%MZ}: {name} covers only"
            f" {held.start:%Y-%m-%dT%H:%MZ} to {held.end:%Y-%m-%dT%H:%MZ}"
        )


def listed(client: Client) -> list[Snapshot]:
    """All of them, by name. Raises WarehouseDown, WarehouseRefused."""
    return [_snapshot(row) for row in statements.rows(client, "snapshots/listed", names=[])]


def verify(client: Client, name: str) -> list[Difference]:
    """Where the rows of a snapshot are no longer what was pinned, computed anew from every one; none is the proof.

    Raises BadInput if there is none of that name, Permanent if its own record was changed; WarehouseDown,
    WarehouseRefused.
    """
    snapshot = find(client, name)
    return differences(pinned_hashes(client, snapshot), hashes(client, snapshot.contents, snapshot.pinned_at))


def diff(client: Client, name: str, other: str | None = None, rows_max: int = DIFF_ROWS_MAX) -> pd.DataFrame:
    """What is not the same in two snapshots, or in one and what is there now: a line a row and column that differs.

    Columns: dataset, instrument, interval, timestamp, rate_type (of funding, else empty), change (added, removed or
    changed, from `name` to `other`), column, old and new (as texts, missing where there is no row or no value), and
    batch_id, source, ingested_at, published_at of the newer row. Ordered by dataset, interval, month, instrument,
    timestamp. At most `rows_max` rows that differ; `frame.attrs["is_complete"]` says whether these are all of them.

    Raises BadInput if there is none of that name, Permanent if a record was changed; WarehouseDown, WarehouseRefused.
    """
    old = find(client, name)
    new = find(client, other) if other else None
    sides = (old.contents, new.contents if new else old.contents)
    moments = (old.pinned_at, new.pinned_at if new else latest())
    there = pinned_hashes(client, new) if new else hashes(client, old.contents, latest())
    concerned: dict[tuple[str, str, dt.date], set[str]] = defaultdict(set)
    for d in differences(pinned_hashes(client, old), there):
        concerned[d.dataset, d.interval, d.month].add(d.instrument)
    parts: list[pd.DataFrame] = []
    left = rows_max
    for (dataset, interval, month), keys in sorted(concerned.items()):
        bounds = _bounds("old", sides[0], moments[0], month, keys) | _bounds("new", sides[1], moments[1], month, keys)
        told = DATASETS[dataset].tables | {"interval": interval, "limit": left + 1}
        part = statements.table(client, DATASETS[dataset].differences, **bounds, **told).to_pandas()
        parts.append(part)
        left -= len(part if DATASETS[dataset].id else part.drop_duplicates(_KEY))
        if left < 0:
            break
    if not parts:
        return _no_difference()
    frame = pd.concat(parts, ignore_index=True)
    places = frame.groupby(_KEY, sort=False).ngroup()
    frame = frame[places < rows_max].astype(_no_difference().dtypes.to_dict())
    frame.attrs["is_complete"] = left >= 0
    return frame


def pinned_hashes(client: Client, snapshot: Snapshot) -> dict[Place, Hash]:
    """What was recorded of a snapshot. Raises Permanent if that is not what its content stands for; WarehouseDown."""
    rows = statements.rows(client, "snapshots/hashes", snapshot_id=snapshot.snapshot_id)
    stored = {
        (r["dataset"], r["instrument"], r["interval"], r["month"]): Hash(r["row_count"], r["hash_low"], r["hash_high"])
        for r in rows
    }
    if content_of(stored) != snapshot.content:
        raise Permanent(
            f"snapshot {snapshot.name}: the rows of analytics.snapshot_hashes are not those it was pinned with, so it "
            "proves nothing any more; restore them from a backup, or unpin it"
        )
    return stored


def _bounds(side: str, held: Contents, as_of: dt.datetime, month: dt.date, keys: set[str]) -> dict[str, Any]:
    """The part of what one side holds that is in a month and of the given instruments."""
    first = dt.datetime(month.year, month.month, 1, tzinfo=dt.UTC)
    after = (first + dt.timedelta(days=32)).replace(day=1)
    own = keys & {*held.instruments, *(d.only.key for d in DATASETS.values() if d.only)}
    return {
        f"{side}_as_of": as_of,
        f"{side}_instruments": sorted(map(id_of, own)),
        f"{side}_start": max(first, held.start),
        f"{side}_end": min(after, held.end),
    }


def _no_difference() -> pd.DataFrame:
    moment = pd.Series([], dtype="datetime64[ms, UTC]")
    text = pd.Series([], dtype="str")
    frame = pd.DataFrame({c: moment if c in _MOMENTS else text for c in _DIFF_COLUMNS})
    frame.attrs["is_complete"] = True
    return frame


def _wait_for(client: Client, target: str) -> None:
    """Until the inserts that are under way now are over. Later ones are no concern of the caller's."""
    until = time.monotonic() + _PUBLICATION_S_MAX
    waited_for = _running(client, target)
    while waited_for:
        if time.monotonic() > until:
            raise Transient(
                f"an insert has been under way for more than {_PUBLICATION_S_MAX:.0f} s (query {min(waited_for)}), and "
                "nothing can be pinned before it ends: try again later, or end it with KILL QUERY"
            )
        time.sleep(_POLL_S)
        waited_for &= _running(client, target)


def _running(client: Client, target: str) -> set[str]:
    return {row["query_id"] for row in statements.rows(client, "snapshots/running", target=target)}


def _same(existing: Snapshot, wanted: Contents, found: Mapping[Place, Hash]) -> Snapshot:
    """The snapshot there is, if it holds exactly that. Raises BadInput if not."""
    if existing.contents == wanted and existing.content == content_of(found):
        return existing
    what = "the data has changed since" if existing.contents == wanted else "it was asked to hold something else"
    raise BadInput(
        f"snapshot {existing.name} was pinned at {existing.pinned_at:%Y-%m-%d %H:%M:%S} UTC and never changes, and "
        f"{what}: take another name, or unpin it first"
    )


def _keep(client: Client, snapshot_id: str, found: Mapping[Place, Hash]) -> None:
    places, values = list(found), list(found.values())
    columns = {
        "snapshot_id": [snapshot_id] * len(found),
        "dataset": [p[0] for p in places],
        "instrument": [p[1] for p in places],
        "interval": [p[2] for p in places],
        "month": [p[3] for p in places],
        "row_count": pa.array([h.rows for h in values], pa.uint64()),
        "hash_low": pa.array([h.low for h in values], pa.uint64()),
        "hash_high": pa.array([h.high for h in values], pa.uint64()),
    }
    statements.insert(client, "snapshot_hashes", pa.table(columns), token=f"{snapshot_id}-{content_of(found)}")


def _asked(client: Client, name: str, snapshot_id: str, wanted: Contents) -> dict[str, Any]:
    published = []
    for dataset in (DATASETS[name] for name in wanted.datasets):
        bounds = {"instruments": list(keys_of(wanted, dataset)), "start": wanted.start, "end": wanted.end}
        published += statements.rows(client, "snapshots/published_until", **dataset.tables, **bounds)
    return {
        "published_until": max(row["published_until"] for row in published),
        "name": name,
        "snapshot_id": snapshot_id,
        "datasets": list(wanted.datasets),
        "instruments": list(wanted.instruments),
        "intervals": list(wanted.intervals),
        "start": wanted.start,
        "end": wanted.end,
    }


def _by_name(client: Client, name: str) -> Snapshot | None:
    rows = statements.rows(client, "snapshots/listed", names=[name])
    return _snapshot(rows[0]) if rows else None


def _snapshot(row: Mapping[str, Any]) -> Snapshot:
    held = Contents(
        tuple(row["datasets"]), tuple(row["instruments"]), tuple(row["intervals"]), row["range_start"], row["range_end"]
    )
    return Snapshot(row["name"], str(row["snapshot_id"]), row["pinned_at"], held, row["row_count"], row["content"])
