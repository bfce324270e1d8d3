"""ClickHouse's HTTP interface, as far as clickhouse-connect and people use it, in front of one `Engine`.

An INSERT's data is spooled to a file whole and then inserted FROM INFILE, so that a client that dies in mid-upload
leaves nothing behind. (chdb's own `send_insert` is never used: it reports success for writes that failed.) Results are
streamed where every chunk of the format is a piece of the same file; a failure after the first byte is told by the
exception tag, as ClickHouse does. A query whose client has gone is killed.
"""

import asyncio
import contextlib
import json
import os
import secrets
import tempfile
import uuid
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from alphaforge_assets.warehouse.embedded import bodies, calls
from alphaforge_assets.warehouse.embedded.calls import Call, Table
from alphaforge_assets.warehouse.embedded.engine import VERSION, Connection, Engine, identifier, quoted, statement
from alphaforge_assets.warehouse.embedded.faults import Fault, fault_of
from alphaforge_assets.warehouse.embedded.statements import Insert, Query, first_word, query_of, split_insert, words

T = TypeVar("T")
Gone = asyncio.Future[None]
Headers = dict[str, str]

HEAD_BYTES_MAX = 256 << 10  # within this an INSERT must say what it inserts, as ClickHouse's max_query_size
STATEMENT_BYTES_MAX = 16 << 20
RESULT_IN_MEMORY_BYTES = 32 << 20  # a result that is asked for whole goes to the spool folder beyond this
QUERIES_MAX = 32
_PIECE = 1 << 20
# Cells of FORMAT Values may be expressions, which nobody looks through in data. Said last, so that it counts.
_LITERALS = "input_format_values_interpret_expressions = 0, input_format_values_deduce_templates_of_expressions = 0"

_STREAMED = frozenset(("Native", "TabSeparated", "TSV", "CSV", "RowBinary", "JSONEachRow"))
_CONTENT_TYPES = {
    "JSON": "application/json; charset=UTF-8",
    "JSONCompact": "application/json; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "CSVWithNames": "text/csv; charset=UTF-8; header=present",
    "Native": "application/octet-stream",
    "RowBinary": "application/octet-stream",
    "Parquet": "application/octet-stream",
    "Arrow": "application/octet-stream",
    "ArrowStream": "application/octet-stream",
}


class Server:
    """The ASGI application. `close` stops what still runs, and must be called before the engine is closed."""

    def __init__(self, engine: Engine, spool: Path, password: str, port: int) -> None:
        self._engine = engine
        self._spool = spool
        self._password = password
        self._hosts = frozenset((f"127.0.0.1:{port}", f"localhost:{port}"))
        self._queries = ThreadPoolExecutor(QUERIES_MAX, thread_name_prefix="query")
        self._killers = ThreadPoolExecutor(2, thread_name_prefix="kill")  # a full house must not keep a kill waiting

    def close(self) -> None:
        self._engine.kill_all()
        self._queries.shutdown(wait=True)
        self._killers.shutdown(wait=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = calls.request_of(scope, receive)
        query_id = calls.query_id_of(request)
        headers = {
            "X-ClickHouse-Query-Id": query_id,
            "X-ClickHouse-Server-Display-Name": "alphaforge-embedded",
            "X-ClickHouse-Timezone": self._engine.timezone,
        }
        response: Response | None
        try:
            response = calls.answer_without_engine(request, self._hosts)
            if response is None:
                calls.authenticate(request, self._password)
                response = await self._answer(request, await calls.read(request, query_id, headers), send)
        except ClientDisconnect:
            return
        except Exception as error:  # every failure is told to the client, in ClickHouse's form
            fault = fault_of(error)
            await calls.drain(request)
            text = fault.text + ("" if "(version " in fault.text else f" (version {VERSION} (official build))") + "\n"
            headers["X-ClickHouse-Exception-Code"] = str(fault.code)
            response = PlainTextResponse(text, fault.status, headers)
        if response is not None:
            await response(scope, receive, send)

    async def _answer(self, request: Request, call: Call, send: Send) -> Response | None:
        """Read as much of the body as it takes to see what it is, and run it."""
        buffer = bytearray(call.url.get("query", "").encode())
        insert = None
        if buffer:
            buffer += b"\n"
            insert = split_insert(bytes(buffer[:HEAD_BYTES_MAX]), complete=True)
        if insert is None:
            async for chunk in call.chunks:
                before = len(buffer)
                buffer += chunk
                if before < HEAD_BYTES_MAX:
                    insert = split_insert(bytes(buffer[:HEAD_BYTES_MAX]), complete=False)
                if insert is not None:
                    break
                if len(buffer) > STATEMENT_BYTES_MAX:
                    raise Fault(62, "SYNTAX_ERROR", f"Max query size exceeded: more than {STATEMENT_BYTES_MAX} bytes")
            else:
                insert = split_insert(bytes(buffer[:HEAD_BYTES_MAX]), complete=True)
        if insert is not None:
            return await self._insert(call, insert, bytes(buffer[insert.data_at :]))
        await self._query(request, call, bytes(buffer), send)
        return None

    @contextlib.contextmanager
    def _connection(self, call: Call, leaves_trace: bool = False) -> Iterator[Connection]:
        """A connection that stands as the request wants it: its session's, or one from the pool."""
        if session_id := call.url.get("session_id"):
            must_exist = call.url.get("session_check") == "1"
            with self._engine.session(session_id, call.session_timeout_s, must_exist) as connection:
                connection.has_trace |= leaves_trace
                connection.prepare(call.database or connection.home, call.settings)
                self._tell_timezone(call, connection)
                yield connection
        else:  # a read-only connection refuses to become anything else again
            with self._engine.once(throw_away=leaves_trace or "readonly" in call.settings) as connection:
                connection.prepare(call.database or "default", call.settings)
                self._tell_timezone(call, connection)
                yield connection

    def _tell_timezone(self, call: Call, connection: Connection) -> None:
        """Name the zone in which a client reads times that have none of their own."""
        named = call.settings.get("session_timezone") or connection.timezone
        call.headers["X-ClickHouse-Timezone"] = named or self._engine.timezone

    def _start(self, function: Callable[[], T]) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._queries, function)

    async def _insert(self, call: Call, insert: Insert, first: bytes) -> Response:
        with bodies.spooled(self._spool) as file:
            file.write(first)
            async for chunk in call.chunks:
                file.write(chunk)
            file.flush()

            def run() -> Any:
                self._engine.check(f"{insert.head}{insert.settings}")
                settings = f"{insert.settings}\n, {_LITERALS}" if insert.settings else f"SETTINGS {_LITERALS}"
                sql = f"{insert.head}\nFROM INFILE {quoted(file.name)} {settings} FORMAT {insert.format}"
                with self._connection(call) as connection:
                    return connection.run(sql, params=call.params)

            result = await self._start(run)
        return Response(b"", 200, call.headers | {"X-ClickHouse-Summary": _summary(result)})

    async def _query(self, request: Request, call: Call, raw: bytes, send: Send) -> None:
        query = query_of(raw, self._engine.formats)
        asked = query.format or call.default_format or ("TabSeparated" if query.is_select else None)
        call.headers["Content-Type"] = _CONTENT_TYPES.get(asked or "", "text/plain; charset=UTF-8")
        if asked:
            call.headers["X-ClickHouse-Format"] = asked
        # a client that did not ask for a format does not look for a failure behind the first rows either
        wants_all = call.url.get("wait_end_of_query") == "1" or not (query.format or call.default_format)
        gone = asyncio.ensure_future(calls.disconnected(request))
        try:
            if not query.is_select or asked is None:
                await self._send_whole(call, raw, asked, gone, send)
            elif asked in _STREAMED and not wants_all:
                await self._send_stream(call, raw, asked, gone, send)
            else:
                await self._send_spooled(call, raw, query, asked, gone, send)
        finally:
            gone.cancel()

    @contextlib.contextmanager
    def _ready(self, call: Call, raw: bytes) -> Iterator[tuple[Connection, str]]:
        """A connection on which the statement may run, and its text. Raises Fault where it may not."""
        sql = raw.decode("utf-8", "surrogateescape")
        self._engine.check(sql)
        word = first_word(raw)
        temporary = any(word == b"TEMPORARY" for word, _, _ in words(raw[:1024]))
        leaves_trace = bool(call.tables) or temporary or word in (b"SET", b"USE")
        with self._connection(call, leaves_trace) as connection, contextlib.ExitStack() as tables:
            for table in call.tables:
                self._load(connection, table)
                tables.callback(connection.run, f"DROP TABLE IF EXISTS {identifier(table.name)}")
            yield connection, sql
            if word == b"USE":
                connection.after_use()
            elif word == b"SET":
                connection.after_set()

    def _load(self, connection: Connection, table: Table) -> None:
        create = f"CREATE TEMPORARY TABLE {identifier(table.name)} ({table.structure})"
        self._engine.check(create)
        connection.run(create)
        with bodies.spooled(self._spool) as file:
            file.write(table.data)
            file.flush()
            into, format = identifier(table.name), identifier(table.format)
            connection.run(f"INSERT INTO {into} FROM INFILE {quoted(file.name)} SETTINGS {_LITERALS} FORMAT {format}")

    def _pieces(self, call: Call, raw: bytes, format: str) -> Generator[bytes]:
        """The result as it comes. Closing the generator early ends the query."""
        with self._ready(call, raw) as (connection, sql):
            result = connection.chdb.send_query(statement(sql), format, params=call.params)
            try:
                for piece in result:
                    yield piece.bytes()
            finally:
                result.close()

    async def _finish_or_kill(self, running: asyncio.Future[T], gone: Gone, call: Call) -> T:
        """What `running` gives; when the client goes away first, kill the query and raise ClientDisconnect."""
        waiting: set[asyncio.Future[Any]] = {running, gone}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        while not running.done():  # again and again, for the kill may come before the engine knows the query
            await asyncio.get_running_loop().run_in_executor(self._killers, self._engine.kill, call.query_id)
            await asyncio.wait({running}, timeout=0.2)
        if gone.done():
            running.exception()  # looked at, so that asyncio does not complain
            raise ClientDisconnect
        return running.result()

    async def _send_whole(self, call: Call, raw: bytes, asked: str | None, gone: Gone, send: Send) -> None:
        """Run anything but a SELECT: its answer is small."""

        def run() -> Any:
            with self._ready(call, raw) as (connection, sql):
                # asked for with names, an answer tells "no columns" from "no rows"
                return connection.run(sql, asked or "TabSeparatedWithNames", call.params)

        result = await self._finish_or_kill(self._start(run), gone, call)
        data: bytes = result.bytes()
        if asked is None and data:
            call.headers["X-ClickHouse-Format"] = "TabSeparated"
            data = data.partition(b"\n")[2]
        await _send_head(
            call.headers | {"X-ClickHouse-Summary": _summary(result), "Content-Length": str(len(data))}, send
        )
        await _send_piece(data, send, last=True)

    async def _send_spooled(self, call: Call, raw: bytes, query: Query, asked: str, gone: Gone, send: Send) -> None:
        """Send nothing before the query has ended, so that a failure still gets a status of its own."""

        with contextlib.ExitStack() as stack:

            def run() -> IO[bytes]:
                if asked not in _STREAMED:
                    return stack.enter_context(self._written(call, raw, query, asked))
                file = stack.enter_context(tempfile.SpooledTemporaryFile(RESULT_IN_MEMORY_BYTES, dir=str(self._spool)))
                for piece in self._pieces(call, raw, asked):
                    file.write(piece)
                return file

            file = await self._finish_or_kill(self._start(run), gone, call)
            call.headers["Content-Length"] = str(file.seek(0, os.SEEK_END))
            file.seek(0)
            await _send_head(call.headers, send)
            while data := file.read(_PIECE):
                await _send_piece(data, send)
            await _send_piece(b"", send, last=True)

    def _written(self, call: Call, raw: bytes, query: Query, asked: str) -> IO[bytes]:
        """The result as a file that the engine has written, for formats of which chdb cannot give a piece at a time."""
        path = self._spool / f"result-{uuid.uuid4().hex}"
        clause = f"\nINTO OUTFILE {quoted(str(path))} " + ("" if query.format else f"FORMAT {asked}")
        try:
            with self._ready(call, raw) as (connection, _):
                text = raw[: query.outfile_at] + clause.encode() + raw[query.outfile_at :]
                connection.run(text.decode("utf-8", "surrogateescape"), params=call.params)
            return path.open("rb")
        finally:
            path.unlink(missing_ok=True)

    async def _send_stream(self, call: Call, raw: bytes, asked: str, gone: Gone, send: Send) -> None:
        """Send each piece as it comes. A failure before the first has a status, a later one the exception tag."""
        tag = secrets.token_hex(8)
        pieces = self._pieces(call, raw, asked)
        running = self._start(lambda: next(pieces, None))
        try:
            piece = await self._finish_or_kill(running, gone, call)
            await _send_head(call.headers | {"X-ClickHouse-Exception-Tag": tag}, send)
            while piece is not None:
                await _send_piece(piece, send)
                running = self._start(lambda: next(pieces, None))
                try:
                    piece = await self._finish_or_kill(running, gone, call)
                except ClientDisconnect:
                    raise
                except Exception as error:  # every failure is told to the client, here in mid-stream
                    piece = None
                    await _send_piece(_tagged(error, tag), send)
            await _send_piece(b"", send, last=True)
        finally:
            if running.done() and not running.cancelled():
                self._queries.submit(pieces.close)
            # else the server is being stopped: it kills the query, which ends the generator


def _tagged(error: BaseException, tag: str) -> bytes:
    """A failure in mid-stream, by ClickHouse's exception-tag protocol."""
    text = fault_of(error).text.encode() + b"\n"
    mark = tag.encode()
    return b"__exception__\r\n" + mark + b"\r\n" + text + b"%d %s\r\n__exception__\r\n" % (len(text), mark)


def _summary(result: Any) -> str:
    return json.dumps(
        {
            "read_rows": str(result.storage_rows_read()),
            "read_bytes": str(result.storage_bytes_read()),
            "written_rows": str(result.rows_written()),
            "written_bytes": str(result.bytes_written()),
            "result_rows": str(result.rows_read()),
            "elapsed_ns": str(int(result.elapsed() * 1e9)),
        }
    )


async def _send_head(headers: Headers, send: Send) -> None:
    pairs = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": 200, "headers": pairs})


async def _send_piece(data: bytes, send: Send, last: bool = False) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": not last})
