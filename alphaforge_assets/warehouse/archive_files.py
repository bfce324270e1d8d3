"""The table of files: what the archives had, as sources saw it."""

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import asdict

import pyarrow as pa
from clickhouse_connect.driver.client import Client

from alphaforge_assets.universe import Instrument
from alphaforge_assets.venues.source import FileSeen
from alphaforge_assets.warehouse import statements

_TIME = pa.timestamp("ms", "UTC")
_SCHEMA = pa.schema(
    [
        ("venue", pa.string()),
        ("symbol", pa.string()),
        ("interval", pa.string()),
        ("key", pa.string()),
        ("period_start", _TIME),
        ("period_end", _TIME),
        ("etag", pa.string()),
        ("size", pa.uint64()),
        ("last_modified", _TIME),
        ("sha256", pa.string()),
        ("checksum_status", pa.string()),
        ("has_header", pa.bool_()),
        ("time_unit", pa.string()),
        ("rows", pa.uint64()),
        ("duplicates", pa.uint64()),
        ("first", _TIME),
        ("last", _TIME),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("origin", pa.string()),
        ("seen_at", _TIME),
    ]
)


def publish_files(client: Client, files: Sequence[tuple[Instrument, str, FileSeen]], origin: str) -> None:
    """Note what (instrument, interval, file) was like; an earlier content of the same file is superseded by it.

    Raises WarehouseDown, WarehouseRefused.
    """
    if not files:
        return
    rows = [
        asdict(file) | {"venue": i.venue, "symbol": i.symbol, "interval": interval, "origin": origin}
        for i, interval, file in files
    ]
    statements.insert(client, "archive_files", pa.Table.from_pylist(rows, _SCHEMA), str(uuid.uuid4()))
    statements.execute(
        client,
        "archives/superseded",
        venues=sorted({i.venue for i, _, _ in files}),
        keys=sorted({file.key for _, _, file in files}),
        now=dt.datetime.now(dt.UTC),
    )
