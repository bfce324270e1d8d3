"""Bringing a backup back, into a home and a warehouse that hold nothing; nothing is believed before it is hashed.

A mark in the home says that a restore is under way. Nothing else opens the warehouse before the mark is gone, and the
same restore, run again after an interruption, starts over.
"""

import shutil
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from clickhouse_connect.driver.client import Client

from alphaforge_assets.backup.manifest import Manifest, differing, read, read_file
from alphaforge_assets.backup.place import Place
from alphaforge_assets.backup.take import PIECES_AT_ONCE, applied, fingerprints
from alphaforge_assets.errors import BadInput, Permanent
from alphaforge_assets.failpoints import passing
from alphaforge_assets.research.snapshots import listed, verify
from alphaforge_assets.warehouse import schema, statements
from alphaforge_assets.warehouse.local import restoring

PLACES_NAMED_MAX = 5

Step = Callable[[str, int], None]


def restore(
    client: Client,
    home: Path,
    place: Place,
    name: str | None = None,
    on_step: Step = lambda what, rows: None,
) -> tuple[str, Manifest]:
    """Bring back a backup, the latest if none is named, and prove that all of it is there. The schema must be current.

    Raises BadInput if something is there already or the backup has another schema, Permanent if a file of it is not
    what was written or what came of it differs; WarehouseDown, WarehouseRefused.
    """
    name, manifest = read(place, name)
    _prepare(client, home, name, manifest)
    with ThreadPoolExecutor(PIECES_AT_ONCE, thread_name_prefix="restore") as pool:

        def bring(n: int) -> None:
            piece = manifest.pieces[n]
            statements.insert_native(client, piece.table, read_file(place, piece.file))
            on_step(piece.table, piece.row_count)

        for _ in pool.map(bring, range(len(manifest.pieces))):
            pass
    passing("restore.pieces")
    _databases(home / "dagster", place, manifest)
    _prove(client, manifest)
    restoring(home).unlink()
    return name, manifest


def _prepare(client: Client, home: Path, name: str, manifest: Manifest) -> None:
    """Nothing is there, and a mark says what will be."""
    theirs, ours = manifest.schema, applied(client)
    if theirs != ours:
        odd = sorted(s for s in theirs.keys() | ours.keys() if theirs.get(s) != ours.get(s))
        raise BadInput(
            f"backup {name} has another schema ({', '.join(odd[:PLACES_NAMED_MAX])}): restore it with the version of"
            " alphaforge that took it, then upgrade"
        )
    mark, dagster_home = restoring(home), home / "dagster"
    tables = statements.rows(client, "backup/tables")
    is_ours = mark.exists() and mark.read_text() == name
    filled = [t["name"] for t in tables if t["row_count"]]
    if not is_ours and (filled or mark.exists() or any(dagster_home.rglob("*.db"))):
        what = f"rows in {', '.join(filled[:PLACES_NAMED_MAX])}" if filled else f"something in {home}"
        raise BadInput(f"not empty: {what}; restore into a new ALPHAFORGE_HOME, or an empty database of a server")
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = mark.with_suffix(".partial")
    partial.write_text(name)
    partial.replace(mark)  # all of the name or no mark: killed here, we start over
    for table in tables if is_ours else []:
        statements.execute(client, "backup/empty", database=schema.DATABASE, table=table["name"])
    if is_ours:
        shutil.rmtree(dagster_home, ignore_errors=True)


def _databases(dagster_home: Path, place: Place, manifest: Manifest) -> None:
    for path, file in manifest.databases.items():
        there = (dagster_home / path).resolve()
        if not there.is_relative_to(dagster_home.resolve()):
            raise Permanent(f"backup names {path}, which is outside of {dagster_home}: it was not made by us")
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_bytes(read_file(place, file))
        database = sqlite3.connect(there)
        try:
            (said,) = database.execute("PRAGMA integrity_check").fetchone()
        finally:
            database.close()
        if said != "ok":
            raise Permanent(f"{path} of the backup is no sound SQLite database ({said}): restore another backup")


def _prove(client: Client, manifest: Manifest) -> None:
    """Every row is there and nothing else, and every snapshot is what it was."""
    found = []
    for table in statements.rows(client, "backup/tables"):
        found += fingerprints(client, table["name"], table["cut_by"])
    if places := differing(manifest.pieces, found):
        shown = "; ".join(places[:PLACES_NAMED_MAX])
        raise Permanent(f"{len(places)} pieces are not what was backed up ({shown}): restore again, into a new home")
    contents = {s.name: s.content for s in listed(client)}
    told = manifest.snapshots
    bad = [s for s in told if contents.get(s) != told[s] or verify(client, s)]
    if bad:
        shown = ", ".join(bad[:PLACES_NAMED_MAX])
        raise Permanent(f"snapshots {shown} are not what was pinned: restore again, into a new home")
