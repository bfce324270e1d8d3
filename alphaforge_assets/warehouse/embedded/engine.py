"""The engine: chdb connections, one per query in flight, and what has to be true of a connection before it is used.

A connection is a ClickHouse session: it serialises its queries, and keeps USE, SET and temporary tables. So stateless
requests borrow one from a pool, a `session_id` owns one, and a request that would leave a trace gets one to throw away.
Opening one costs 0.16 ms. chdb releases the interpreter's lock, so threads run queries in parallel.
"""

import contextlib
import json
import re
import threading
import time
import urllib.parse
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import chdb
from chdb import _chdb

from alphaforge_assets.errors import Permanent
from alphaforge_assets.warehouse.embedded import configuration
from alphaforge_assets.warehouse.embedded.faults import Fault, fault_of, refused
from alphaforge_assets.warehouse.embedded.statements import Guard, Token

VERSION: str = chdb.engine_version
CONNECTIONS_IDLE_MAX = 16
SESSIONS_MAX = 200
SESSION_TIMEOUT_S_MAX = 3600
CHECKED_CHARACTERS_MAX = 1 << 20
_NOT_UTF8 = re.compile("[\udc80-\udcff]")


def quoted(text: str) -> str:
    """A string literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def identifier(name: str) -> str:
    """A quoted identifier."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def statement(sql: str) -> bytes:
    """`sql` as the engine takes it: bytes that were not UTF-8 as they came, for data may stand in a statement."""
    return sql.encode("utf-8", "surrogateescape")


def escaped(text: str) -> str:
    """A text parameter's value, as the engine's parameters are written: escaped like TSV."""
    return (
        text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r").replace("\0", "\\0")
    )


@dataclass
class Connection:
    """One chdb connection with the settings and the database it stands at."""

    chdb: Any
    keeps_state: bool = False  # belongs to a session, so undoing a setting means going back to the session's value
    database: str = "default"
    home: str = "default"  # of a session: where USE has put it; a request's own database is for that request
    timezone: str = ""  # of a session: its session_timezone
    applied: dict[str, str] = field(default_factory=dict)
    before: dict[str, str] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    expires_at: float = 0.0
    has_trace: bool = False  # of a session: a setting, a database or a temporary table would be missed

    def run(self, sql: str, format: str = "TSV", params: Mapping[str, str] | None = None) -> Any:
        return self.chdb.query(statement(sql), format, params=dict(params or {}))

    def prepare(self, database: str, settings: dict[str, str]) -> None:
        """Stand at `database` with exactly `settings` changed. After an error the connection must be closed."""
        if database != self.database:
            self.run(f"USE {identifier(database)}")
            self.database = database
        new = {name: value for name, value in settings.items() if self.applied.get(name) != value}
        gone = [name for name in self.applied if name not in settings]
        if self.keeps_state and (unknown := [name for name in new if name not in self.applied]):
            self.before |= self._changed(unknown)
        changes = [f"{name} = {quoted(value)}" for name, value in new.items()]
        changes += [f"{n} = {quoted(self.before.pop(n))}" if n in self.before else f"{n} = DEFAULT" for n in gone]
        if changes:
            self.run("SET " + ", ".join(changes))
            self.applied = dict(settings)

    def after_use(self) -> None:
        """Learn where USE has put the session."""
        self.database = self.home = self._value("SELECT currentDatabase()")

    def after_set(self) -> None:
        """Learn the time zone that SET has left to the session."""
        if "session_timezone" not in self.applied:
            self.timezone = self._value("SELECT getSetting('session_timezone')")

    def _value(self, sql: str) -> str:
        value: str = json.loads(self.run(sql, "JSONCompactEachRow").bytes())[0]
        return value

    def _changed(self, names: list[str]) -> dict[str, str]:
        sql = "SELECT name, value FROM system.settings WHERE changed AND has({names:Array(String)}, name)"
        rows = self.run(sql, "JSONCompactEachRow", {"names": "[" + ", ".join(quoted(name) for name in names) + "]"})
        return dict(json.loads(line) for line in rows.bytes().splitlines())


class Engine:
    """Owns the directory. `close` must be called once, after the last query."""

    def __init__(self, folder: Path, memory_bytes: int) -> None:
        _chdb.set_signal_handlers_enabled(0)  # type: ignore[attr-defined]  # SIGTERM and SIGINT belong to the process, not to the library
        data = folder / "engine"
        configuration.prepare_default_database(data)
        config = configuration.write(folder, memory_bytes)
        self._path = str(data)
        self._keeper = Connection(
            chdb.connect(f"{data}?config-file={urllib.parse.quote(str(config))}")
        )  # keeps the engine up
        self._keeper.run(f"DROP DATABASE IF EXISTS {configuration.OVERLAY_DATABASE}")
        self._idle: list[Connection] = []
        self._sessions: OrderedDict[str, Connection] = OrderedDict()
        self._mutex = threading.Lock()
        self._prove_configuration()
        self.formats = frozenset(self._column("SELECT name FROM system.formats WHERE is_output"))
        self.timezone = self._column("SELECT timezone()")[0]
        self._guard = Guard(
            self._column(
                "SELECT name FROM system.table_functions UNION ALL SELECT name FROM system.table_engines"
                " UNION ALL SELECT name FROM system.database_engines"
            ),
            configuration.CONSTANT_SETTINGS,
        )

    def _prove_configuration(self) -> None:
        """An engine that overlooked its configuration would let clients read any file; chdb does not say so itself."""
        try:
            self._keeper.run("DESCRIBE TABLE file('/dev/null', 'LineAsString')")
        except Exception as error:
            if fault_of(error).code == 497:  # ACCESS_DENIED
                return
            raise
        raise Permanent("the embedded engine did not take its configuration and would not be safe to serve")

    def _column(self, sql: str) -> list[str]:
        text: str = self._keeper.run(sql).bytes().decode()
        return text.splitlines()

    def _open(self, keeps_state: bool = False) -> Connection:
        connection = Connection(chdb.connect(self._path), keeps_state)
        connection.run("SET implicit_select = 0")  # a server's default; chdb would read `1` as `SELECT 1`
        return connection

    @contextlib.contextmanager
    def once(self, throw_away: bool = False) -> Iterator[Connection]:
        """A connection for one stateless request. It goes back to the pool only if nothing went wrong."""
        with self._mutex:
            connection = self._idle.pop() if self._idle and not throw_away else None
        connection = connection or self._open()
        keep = False
        try:
            yield connection
            keep = not throw_away
        finally:
            with self._mutex:
                keep = keep and len(self._idle) < CONNECTIONS_IDLE_MAX
                if keep:
                    self._idle.append(connection)
            if not keep:
                connection.chdb.close()

    @contextlib.contextmanager
    def session(self, name: str, timeout_s: int, must_exist: bool) -> Iterator[Connection]:
        """The session's connection, for one request at a time.

        Raises Fault 373 while another request uses it, 372 if it must exist and does not, 202 if there are too many of
        which something would be missed: clients open a session each and seldom say when it ends.
        """
        now = time.monotonic()
        with self._mutex:
            self._expire(now)
            connection = self._sessions.get(name)
            if connection is None:
                if must_exist:
                    raise Fault(372, "SESSION_NOT_FOUND", f"Session {name} not found")
                if len(self._sessions) >= SESSIONS_MAX and not self._give_way():
                    raise Fault(202, "TOO_MANY_SIMULTANEOUS_QUERIES", f"{SESSIONS_MAX} sessions are open; close some")
                connection = self._sessions[name] = self._open(keeps_state=True)
            self._sessions.move_to_end(name)
            if not connection.lock.acquire(blocking=False):
                raise Fault(373, "SESSION_IS_LOCKED", f"Session {name} is locked by a concurrent client")
        try:
            yield connection
        finally:
            connection.expires_at = time.monotonic() + min(timeout_s, SESSION_TIMEOUT_S_MAX)
            connection.lock.release()

    def _expire(self, now: float) -> None:
        for name, connection in list(self._sessions.items()):
            if connection.expires_at < now and not connection.lock.locked():
                del self._sessions[name]
                connection.chdb.close()

    def _give_way(self) -> bool:
        """Close the session unused for longest that nobody would miss; False if there is none."""
        for name, connection in self._sessions.items():
            if not connection.has_trace and not connection.lock.locked():
                del self._sessions[name]
                connection.chdb.close()
                return True
        return False

    def check(self, sql: str) -> None:
        """Raise a Fault if a client may not send `sql`."""
        if self._guard.is_plain(sql):
            return
        if len(sql) > CHECKED_CHARACTERS_MAX:
            raise refused(f"a statement of {len(sql)} characters is too long to look through; send data after FORMAT")
        self._guard.refuse(self.tokens(sql))

    def tokens(self, sql: str) -> list[Token]:
        """`sql` as the engine's own lexer cuts it, without spaces and comments."""
        with self.once() as connection:
            connection.prepare("default", {})
            rows = connection.run(
                "SELECT toString(t.type), substring({q:String}, t.begin + 1, t.end - t.begin)"
                " FROM (SELECT arrayJoin(tokenizeQuery({q:String})) AS t)"
                " WHERE t.type NOT IN ('Whitespace', 'Comment')",
                "JSONCompactEachRow",
                {"q": escaped(_NOT_UTF8.sub("\ufffd", sql))},  # which, like them, is part of no token but a literal
            )
            return [Token(*json.loads(line)) for line in rows.bytes().splitlines()]

    def kill(self, query_id: str) -> None:
        """Stop the query of that id, if it runs."""
        with self.once() as connection:
            connection.prepare("default", {})
            setting = configuration.QUERY_ID_SETTING
            connection.run(f"KILL QUERY WHERE Settings[{quoted(setting)}] = {quoted(query_id)} ASYNC")

    def kill_all(self) -> None:
        with self.once() as connection:
            connection.run(f"KILL QUERY WHERE mapContains(Settings, {quoted(configuration.QUERY_ID_SETTING)}) ASYNC")

    def close(self) -> None:
        with self._mutex:
            connections = [*self._idle, *self._sessions.values(), self._keeper]
            self._idle, self._sessions = [], OrderedDict()
        for connection in connections:
            connection.chdb.close()
