"""What the history says when held against the files: a state for each, and each disagreement with its remedy. Pure.

States and their rules are Flyway's (MigrationInfoImpl.getState and validate, MigrationInfoServiceImpl), with
outOfOrder off. One is stricter: Flyway by default lets pass a row that is newer than every file; here it is a
disagreement, because "up to date" would be misleading.
"""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from alphaforge_assets.warehouse.migrations.files import Migration, VersionKey, version_key
from alphaforge_assets.warehouse.migrations.history import TABLE, HistoryRow

State = Literal[
    "applied",  # run, and the file is still there
    "pending",  # the next migrate runs it
    "outdated",  # a repeatable whose file changed since its latest run; it is pending too
    "superseded",  # an earlier run of a repeatable
    "ignored",  # not run, and older than what was: would never run
    "failed",  # stopped half way
    "missing",  # run, and the file is gone
    "future",  # run, and newer than every file
]


@dataclass(frozen=True)
class Row:
    """A line of `alphaforge migrate --info`: a file, a row of the history, or both."""

    state: State
    version: str | None
    description: str
    type: str
    script: str
    migration: Migration | None
    applied: HistoryRow | None

    @property
    def installed_on(self) -> dt.datetime | None:
        """When it was applied, in the time zone of the server; None if it was not."""
        return self.applied.installed_on if self.applied else None


def compare(migrations: Sequence[Migration], history: Sequence[HistoryRow]) -> list[Row]:
    """Every row of the history by rank, then every file that has not been run as it is, in running order."""
    files = {_identity(m): m for m in migrations}
    latest = {row.identity: row.installed_rank for row in history}
    rows = [_row_of(row, files.get(row.identity), _state(row, files, latest)) for row in history]
    current = max((version_key(row.version) for row in history if row.version is not None), default=None)
    outdated = {row.description for row in rows if row.state == "outdated"}
    for migration in migrations:
        if _identity(migration) not in latest:
            rows.append(_row_of_file(migration, _state_of_file(migration.key, current)))
        elif migration.version is None and migration.description in outdated:
            rows.append(_row_of_file(migration, "pending"))
    return rows


def disagreements(rows: Sequence[Row], database: str) -> list[str]:
    """What stands in the way of migrating, each with what to do about it. Empty when migrate may go on."""
    return list(dict.fromkeys(fault for row in rows for fault in _disagreements(row, database)))


def unapplied(rows: Sequence[Row]) -> list[str]:
    """What a migrate would still run, as `flyway validate` complains of it."""
    return [f"{row.script} has not been applied: run `alphaforge migrate`" for row in rows if row.state == "pending"]


def differences(row: Row) -> list[str]:
    """What the history says otherwise than the file, of a versioned migration: `checksum -1, in the file 2`, …"""
    if row.state != "applied" or row.version is None or not row.migration or not row.applied:
        return []
    pairs = (
        ("checksum", row.applied.checksum, row.migration.checksum),
        ("description", row.applied.description, row.migration.description),
    )
    return [f"{name} {was!r}, in the file {now!r}" for name, was, now in pairs if was != now]


def _identity(migration: Migration) -> VersionKey | str:
    return migration.description if migration.key is None else migration.key


def _state(row: HistoryRow, files: dict[VersionKey | str, Migration], latest: dict[VersionKey | str, int]) -> State:
    if not row.success:
        return "failed"
    migration = files.get(row.identity)
    if migration is None:
        newest = max((m.key for m in files.values() if m.key is not None), default=())
        return "future" if row.version is not None and version_key(row.version) > newest else "missing"
    if row.version is not None:
        return "applied"
    if row.installed_rank != latest[row.identity]:
        return "superseded"
    return "applied" if row.checksum == migration.checksum else "outdated"


def _state_of_file(key: VersionKey | None, current: VersionKey | None) -> State:
    if key is not None and current is not None and key < current:
        return "ignored"
    return "pending"


def _row_of(applied: HistoryRow, migration: Migration | None, state: State) -> Row:
    return Row(state, applied.version, applied.description, applied.type, applied.script, migration, applied)


def _row_of_file(migration: Migration, state: State) -> Row:
    return Row(state, migration.version, migration.description, "SQL", migration.script, migration, None)


def _disagreements(row: Row, database: str) -> Iterator[str]:
    if row.applied is None:
        if row.state == "ignored":
            yield (
                f"{row.script} has not been applied, but later versions have: "
                "give it a version above the last one applied (`alphaforge migrate --info` shows it)"
            )
        return
    where = f"{row.script} (rank {row.applied.installed_rank} of {database}.{TABLE})"
    match row.state:
        case "failed":
            yield f"{where} failed: mend the file, then `alphaforge migrate --repair` and `alphaforge migrate`"
        case "missing":
            yield f"{where} was applied and its file is gone: bring the file back from version control"
        case "future":
            yield (
                f"{where} is newer than every migration of this program: the home was migrated by a newer alphaforge; "
                "install a version at least as new as that one (docs/operations.md, Upgrading). Nothing was changed"
            )
        case "applied" if found := differences(row):
            yield (
                f"{where} has been changed since it was applied ({'; '.join(found)}): put the applied text back and "
                "write the change as a new migration; if it alters no table, `alphaforge migrate --repair` accepts it"
            )
