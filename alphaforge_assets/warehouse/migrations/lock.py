"""One migrator at a time, on this machine and on all that share the server.

On this machine a file lock, which the kernel frees when its holder dies. On the server a table, because CREATE TABLE
of a table that exists is refused (code 57), and a single server offers nothing else that compares and sets. The
table's comment names the holder, by a name that the folder of the file lock keeps: a table of that name is known to be
a dead one's by whoever has the file lock, and dropped. A holder that died elsewhere is for people to judge, who are
told what to drop. On a cluster the table would have to be one of Keeper's: not done.
"""

import contextlib
import os
import re
import socket
import time
import uuid
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


@dataclass(frozen=True)
class Lock:
    """The lock while it is held."""

    client: Client
    database: str
    holder: str

    def check(self) -> None:
        """Raises MigrationRefused if the lock is no longer ours; WarehouseRefused, WarehouseDown."""
        holder = _holder(self.client, self.database)
        if holder != self.holder:
            by = holder or "nobody any more"
            raise MigrationRefused(
                f"the lock {self.database}.{TABLE} of {self.holder} is held by {by}: the table was dropped by "
                "hand; run `alphaforge migrate` again"
            )

    def take(self, place: str, wait: Callable[[str], None]) -> None:
        """Make the table; `wait` is called with the holder's name for as long as somebody else's is there."""
        # A comment cannot be bound; the holder's name is made of letters, digits and -._ only.
        statement = (
            "CREATE TABLE {database:Identifier}.{table:Identifier} (held UInt8 COMMENT 'Never read') "
            f"ENGINE = Memory COMMENT '{self.holder}'"
        )
        while True:
            try:
                return self._run(statement)
            except WarehouseRefused as error:
                if error.code != _TABLE_ALREADY_EXISTS:
                    raise
            holder = _holder(self.client, self.database)
            if holder and holder.startswith(f"{place}."):
                self.drop()
            elif holder:  # else it was given back between the two statements
                wait(_name(holder))

    def drop(self) -> None:
        """Whoever's it is. Raises WarehouseRefused, WarehouseDown."""
        self._run("DROP TABLE IF EXISTS {database:Identifier}.{table:Identifier}")

    def _run(self, statement: str) -> None:
        with translated():
            self.client.command(statement, parameters={"database": self.database, "table": TABLE})


@contextlib.contextmanager
def held(
    client: Client,
    database: str,
    lock_dir: Path | None,
    *,
    wait_s: float,
    on_wait: Callable[[str], None] = lambda holder: None,
) -> Iterator[Lock]:
    """Hold the lock for the time of a `with`; waiting for it calls `on_wait` with the holder's name.

    `lock_dir` is made if need be. Without it only the server's lock is taken, and nothing is known of a holder that
    died. Raises Occupied, naming the holder, after `wait_s` of waiting; WarehouseRefused, WarehouseDown.
    """
    deadline = time.monotonic() + wait_s

    def wait(holder: str) -> None:
        """Until it is our turn. Raises Occupied when it takes too long."""
        if time.monotonic() >= deadline:
            raise Occupied(
                f"database {database} is being migrated by {holder}; waited {wait_s:g} s: let it finish or end it, "
                f"then run `alphaforge migrate` again (if it has died, drop its lock, the table {database}.{TABLE})"
            )
        on_wait(holder)
        time.sleep(POLL_S)

    with _place(client, database, lock_dir, wait) as place:
        lock = Lock(client, database, f"{place}.{uuid.uuid4().hex[:8]} pid {os.getpid()} on {_host()}")
        lock.take(place, wait)
        try:
            yield lock
        finally:
            # What cannot be given back is known to be dead next time, and must not hide the error that took the server
            # away. What is not ours any more is not ours to give back.
            with contextlib.suppress(Transient):
                if _holder(client, database) == lock.holder:
                    lock.drop()


def sweep(client: Client, database: str, lock_dir: Path | None) -> None:
    """Remove what a holder that died after its last row left behind; a living one is left alone, without waiting.

    Raises WarehouseRefused, WarehouseDown.
    """
    if _holder(client, database):
        with contextlib.suppress(Occupied), held(client, database, lock_dir, wait_s=0):
            pass


@contextlib.contextmanager
def _place(client: Client, database: str, lock_dir: Path | None, wait: Callable[[str], None]) -> Iterator[str]:
    """The file lock, and the random name that goes with it."""
    if lock_dir is None:
        yield uuid.uuid4().hex
        return
    path = lock_dir / "migrate.lock"
    file_lock = filelock.FileLock(path)
    with _usable(lock_dir):
        lock_dir.mkdir(parents=True, exist_ok=True)
    while not _try(file_lock, lock_dir):
        holder = _holder(client, database)
        wait(_name(holder) if holder else f"the process that holds {path}")
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


def _name(holder: str) -> str:
    """The part people understand: `pid 7 on host`."""
    return holder.partition(" ")[2] or holder


def _holder(client: Client, database: str) -> str | None:
    """Who holds the server's lock; None if nobody does."""
    with translated():
        result = client.query(
            "SELECT comment FROM system.tables WHERE database = {database:String} AND name = {table:String}",
            parameters={"database": database, "table": TABLE},
        )
    return str(result.result_rows[0][0]) if result.result_rows else None
