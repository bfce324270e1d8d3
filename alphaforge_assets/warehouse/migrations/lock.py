"""One migrator at a time, on this machine and on all that share the server.

On this machine a file lock, which the kernel frees when its holder dies. On the server a table, because CREATE TABLE
of a table that exists is refused (code 57), and a single server offers nothing else that compares and sets. The
table's comment names the holder. It is a lease: its age is that of its metadata on the server's clock, renewed before
each statement.

A holder that died is set aside by renaming its table to a name made from the holder, which only one of several
waiters can do for as long as the renamed table stays. A table left by this machine is known to be dead, without
waiting, by whoever has the file lock. Nothing can stop a holder that slept past its lease; so a holder looks for its
own name before each statement, every statement is idempotent, and the history takes one row a rank. On a cluster the
table would have to be one of Keeper's: not done.
"""

import contextlib
import os
import re
import socket
import time
import uuid
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import filelock
from clickhouse_connect.driver.client import Client

from alphaforge_assets.errors import BadInput, MigrationRefused, Occupied, Transient, WarehouseRefused
from alphaforge_assets.warehouse.client import translated

TABLE = "flyway_schema_history_lock"
POLL_S = 0.1
_TABLE_ALREADY_EXISTS = 57
_UNKNOWN_TABLE = 60


@dataclass(frozen=True)
class Lock:
    """The lock while it is held."""

    client: Client
    database: str
    holder: str

    def keep(self) -> None:
        """Renew the lease. Raises MigrationRefused if it is no longer ours; WarehouseRefused, WarehouseDown."""
        seen = _seen(self.client, self.database)
        if seen is None or seen.holder != self.holder:
            other = seen.holder if seen else "nobody any more"
            raise MigrationRefused(
                f"the lock {self.database}.{TABLE} of {self.holder} is held by {other}: this process slept past its "
                "lease, or the table was dropped by hand; run `alphaforge migrate` again"
            )
        with translated():
            self.client.command(
                "ALTER TABLE {database:Identifier}.{table:Identifier} COMMENT COLUMN held 'Never read'",
                parameters={"database": self.database, "table": TABLE},
            )


@dataclass(frozen=True)
class _Seen:
    """The lock's table as anyone sees it."""

    holder: str
    age_s: float

    @property
    def name(self) -> str:
        """The part people understand: `pid 7 on host`."""
        return self.holder.partition(" ")[2] or self.holder


@contextlib.contextmanager
def held(
    client: Client,
    database: str,
    lock_dir: Path | None,
    *,
    lease_s: float,
    wait_s: float,
    on_wait: Callable[[str], None] = lambda holder: None,
) -> Iterator[Lock]:
    """Hold the lock for the time of a `with`; waiting for it calls `on_wait` with the holder's name.

    `lock_dir` is made if need be. Without it only the server's lock is taken, and a holder that died is waited out for
    `lease_s`. Raises Occupied, naming the holder, after `wait_s` of waiting; WarehouseRefused, WarehouseDown.
    """
    deadline = time.monotonic() + wait_s

    def wait(holder: str) -> None:
        """Until it is our turn. Raises Occupied when it takes too long."""
        if time.monotonic() >= deadline:
            raise Occupied(
                f"database {database} is being migrated by {holder}; waited {wait_s:g} s: let it finish or end it, "
                f"then run `alphaforge migrate` again (its lock is the table {database}.{TABLE})"
            )
        on_wait(holder)
        time.sleep(POLL_S)

    with _place(client, database, lock_dir, wait) as place:
        lock = Lock(client, database, f"{place}.{uuid.uuid4().hex[:8]} pid {os.getpid()} on {_host()}")
        _acquire(lock, place, lease_s, wait)
        try:
            yield lock
        finally:
            # What cannot be given back expires by itself, and must not hide the error that took the server away.
            with contextlib.suppress(Transient):
                _release(lock)


def sweep(client: Client, database: str, lock_dir: Path | None, lease_s: float) -> None:
    """Remove what a holder that died after its last row left behind; a living one is left alone, without waiting.

    Raises WarehouseRefused, WarehouseDown.
    """
    if _names(client, database):
        with contextlib.suppress(Occupied), held(client, database, lock_dir, lease_s=lease_s, wait_s=0):
            pass


@contextlib.contextmanager
def _place(client: Client, database: str, lock_dir: Path | None, wait: Callable[[str], None]) -> Iterator[str]:
    """The file lock, and a random name for it: who holds it knows that a lock of that name on the server is dead."""
    if lock_dir is None:
        yield uuid.uuid4().hex
        return
    path = lock_dir / "migrate.lock"
    file_lock = filelock.FileLock(path)
    with _usable(lock_dir):
        lock_dir.mkdir(parents=True, exist_ok=True)
    while not _try(file_lock, lock_dir):
        seen = _seen(client, database)
        wait(seen.name if seen else f"the process that holds {path}")
    try:
        with _usable(lock_dir):
            name = _name_of(lock_dir)
        yield name
    finally:
        file_lock.release()


@contextlib.contextmanager
def _usable(lock_dir: Path) -> Iterator[None]:
    """Raises BadInput for a folder in which one cannot write."""
    try:
        yield
    except OSError as error:
        raise BadInput(f"lock directory {lock_dir}: {error.strerror or error}; it must be writable") from error


def _try(file_lock: filelock.BaseFileLock, lock_dir: Path) -> bool:
    """Whether the file lock could be had at once."""
    with _usable(lock_dir), contextlib.suppress(filelock.Timeout):
        file_lock.acquire(timeout=0)
    return file_lock.is_locked


def _name_of(lock_dir: Path) -> str:
    """A random name kept in the folder, because host names and paths repeat between containers."""
    path = lock_dir / "migrate.id"
    name = path.read_text(encoding="ascii") if path.exists() else ""
    if not re.fullmatch(r"[0-9a-f]{32}", name):
        name = uuid.uuid4().hex
        draft = path.with_suffix(".new")
        draft.write_text(name, encoding="ascii")
        draft.replace(path)
    return name


def _host() -> str:
    """The host's name, of characters that need no quoting in a comment."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())


def _acquire(lock: Lock, place: str, lease_s: float, wait: Callable[[str], None]) -> None:
    while not _create(lock):
        seen = _seen(lock.client, lock.database)
        if seen is None:
            continue  # given back between the two statements
        if seen.holder.startswith(f"{place}.") or seen.age_s > lease_s:
            _set_aside(lock, seen)
        else:
            wait(seen.name)


def _create(lock: Lock) -> bool:
    """Whether the table could be made, and the lock is therefore ours."""
    # A comment cannot be bound; the holder's name is made of letters, digits and -._ only.
    statement = (
        "CREATE TABLE {database:Identifier}.{table:Identifier} (held UInt8 COMMENT 'Never read') "
        f"ENGINE = Memory COMMENT '{lock.holder}'"
    )
    return _run(lock, statement, {_TABLE_ALREADY_EXISTS}, table=TABLE)


def _set_aside(lock: Lock, seen: _Seen) -> None:
    """Rename a dead holder's table. One of several succeeds; the others find the name taken or the table gone."""
    statement = "RENAME TABLE {database:Identifier}.{table:Identifier} TO {database:Identifier}.{aside:Identifier}"
    aside = f"{TABLE}_{zlib.crc32(seen.holder.encode()):08x}"
    _run(lock, statement, {_TABLE_ALREADY_EXISTS, _UNKNOWN_TABLE}, table=TABLE, aside=aside)


def _release(lock: Lock) -> None:
    """If the lock is still ours, drop what was set aside, and the lock itself last."""
    seen = _seen(lock.client, lock.database)
    if seen and seen.holder == lock.holder:
        for name in sorted(_names(lock.client, lock.database), reverse=True):
            _run(lock, "DROP TABLE IF EXISTS {database:Identifier}.{table:Identifier}", set(), table=name)


def _names(client: Client, database: str) -> list[str]:
    """The lock's table and those set aside, as far as they are there."""
    with translated():
        result = client.query(
            "SELECT name FROM system.tables WHERE database = {database:String} AND startsWith(name, {table:String})",
            parameters={"database": database, "table": TABLE},
        )
    return [str(name) for (name,) in result.result_rows]


def _seen(client: Client, database: str) -> _Seen | None:
    """The holder and the age of the lease; None if nobody holds the lock."""
    with translated():
        result = client.query(
            "SELECT comment, dateDiff('second', metadata_modification_time, now()) FROM system.tables"
            " WHERE database = {database:String} AND name = {table:String}",
            parameters={"database": database, "table": TABLE},
        )
    return _Seen(*result.result_rows[0]) if result.result_rows else None


def _run(lock: Lock, statement: str, accepted: set[int], **names: str) -> bool:
    """Whether the statement was done, and not refused with an accepted code. Raises WarehouseRefused, WarehouseDown."""
    try:
        with translated():
            lock.client.command(statement, parameters={"database": lock.database, **names})
    except WarehouseRefused as error:
        if error.code not in accepted:
            raise
        return False
    return True
