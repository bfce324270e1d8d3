"""Taking a backup, while everything goes on.

What claims is read before what it claims of: Dagster's record before the ledger, snapshots before history, the ledger
and each later table of a chain before landing. So whatever is written meanwhile, a restored warehouse claims nothing
that it does not hold; what it does not claim is asked for again.
"""

import datetime as dt
import sqlite3
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clickhouse_connect.driver.client import Client

from alphaforge_assets.backup.manifest import File, Manifest, Piece, names, read, write, write_file
from alphaforge_assets.backup.place import Place
from alphaforge_assets.datasets.registry import DATASETS
from alphaforge_assets.errors import Transient
from alphaforge_assets.research.snapshots import listed
from alphaforge_assets.warehouse import schema, statements

ATTEMPTS = 5
PIECES_AT_ONCE = 4
NOT_YET = File("", 0)
FIRST = ("snapshots", "snapshot_hashes", "runs", "gaps", "coverage", "ingest_batches")

Step = Callable[[str, int], None]


@dataclass
class Taken:
    """What a backup did. Bytes are of compressed files."""

    name: str = ""
    rows: int = 0
    pieces: int = 0
    written: int = 0
    bytes_written: int = 0


def take(client: Client, dagster_home: Path, place: Place, on_step: Step = lambda what, rows: None) -> Taken:
    """Back up the warehouse and the Dagster instance. `on_step` is told each table and how many rows are done of it.

    Raises Permanent if the place refuses, Transient if a table never holds still; WarehouseDown, WarehouseRefused.
    """
    began = dt.datetime.now(dt.UTC)
    earlier = read(place)[1].pieces if names(place) else ()
    known = {_identity(p): p for p in earlier}
    done = Taken()
    databases = {}
    for path in sorted(dagster_home.rglob("*.db")):
        databases[str(path.relative_to(dagster_home))] = _kept(place, done, _database(path))
    pinned = {s.name: s.content for s in listed(client)}
    pieces: list[Piece] = []
    for table in _ordered(statements.rows(client, "backup/tables")):
        of_table = _table(client, place, table, known, done)
        pieces += of_table
        on_step(table["name"], sum(p.row_count for p in of_table))
    manifest = Manifest(1, began.isoformat(), applied(client), pinned, tuple(pieces), databases)
    done.name, done.rows, done.pieces = write(place, manifest), manifest.rows, len(pieces)
    return done


def applied(client: Client) -> dict[str, int | None]:
    """The checksum of each migration that the warehouse has. Raises WarehouseDown, MigrationRefused."""
    return {row.script: row.applied.checksum for row in schema.info(client) if row.applied}


def fingerprints(client: Client, table: str, cut_by: str) -> list[Piece]:
    """What a table holds, piece by piece, hashed by the server. Raises WarehouseDown, WarehouseRefused."""
    found: list[Piece] = []
    for row in statements.rows(client, "backup/partitions", table=table):
        partition = row["partition_id"]
        asked: dict[str, Any] = {"database": schema.DATABASE, "table": table, "partition": partition, "cut_by": cut_by}
        rows = statements.rows(client, "backup/fingerprints", **asked)
        found += [Piece(table, partition, cut_by, **held, file=NOT_YET) for held in rows]
    return found


def _table(client: Client, place: Place, table: dict[str, Any], known: dict[Piece, Piece], done: Taken) -> list[Piece]:
    """The pieces of one table; those that change while they are read are read again."""
    name, cut_by = table["name"], table["cut_by"]
    kept = dict(known)
    held = fingerprints(client, name, cut_by)
    for _ in range(ATTEMPTS):
        new = [p for p in held if p not in kept or place.size(kept[p].file.path) != kept[p].file.size]
        if not new:
            return [kept[p] for p in held]
        with ThreadPoolExecutor(PIECES_AT_ONCE, thread_name_prefix="backup") as pool:
            files = pool.map(lambda p: _kept(place, done, _rows(client, p)), new)
            read_now = dict(zip(new, files, strict=True))
        after = fingerprints(client, name, cut_by)
        still = set(after)
        kept |= {p: replace(p, file=file) for p, file in read_now.items() if p in still}
        held = after
    raise Transient(f"{name} changed in each of {ATTEMPTS} readings: back up when fewer runs are under way")


def _rows(client: Client, p: Piece) -> bytes:
    asked = {"database": schema.DATABASE, "table": p.table, "partition": p.partition}
    return statements.native(client, "backup/piece", **asked, cut_by=p.cut_by, piece=p.piece)


def _kept(place: Place, done: Taken, content: bytes) -> File:
    file, is_new = write_file(place, content)
    if is_new:
        done.written += 1
        done.bytes_written += file.size
    return file


def _identity(p: Piece) -> Piece:
    """A piece whatever its file."""
    return replace(p, file=NOT_YET)


def _ordered(tables: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What claims before what it claims of; each chain from its end to its beginning."""
    backwards = [t for d in DATASETS.values() for t in (d.name, d.history, *reversed(d.chain[:2]))]
    order = {name: n for n, name in enumerate((*FIRST, *backwards))}
    return sorted(tables, key=lambda t: (order.get(t["name"], len(order)), t["name"]))


def _database(path: Path) -> bytes:
    """A consistent copy of an SQLite database in use (sqlite.org/backup.html)."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy.db"
        source, target = sqlite3.connect(path, timeout=60), sqlite3.connect(copy)
        try:
            source.backup(target)
        finally:
            source.close()
            target.close()
        return copy.read_bytes()
