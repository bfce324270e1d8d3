"""One HTTP request, read and checked: who asks, from where, with which settings and parameters. No engine here."""

import base64
import binascii
import contextlib
import hmac
import re
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Message, Receive, Scope

from alphaforge_assets.warehouse.embedded import bodies
from alphaforge_assets.warehouse.embedded.configuration import QUERY_ID_SETTING
from alphaforge_assets.warehouse.embedded.faults import Fault
from alphaforge_assets.warehouse.embedded.statements import numbered

BODY_BYTES_MAX = 8 << 30  # of an INSERT, which goes to a file
FORM_BYTES_MAX = 64 << 20  # of a form, which goes to memory

# URL parameters that the HTTP interface takes for itself; all others are settings.
_NOT_SETTINGS = frozenset(
    (
        *("query", "query_id", "database", "default_format", "user", "password", "quota_key", "role", "stacktrace"),
        *("session_id", "session_timeout", "session_check", "close_session", "client_protocol_version"),
        *("compress", "decompress", "enable_http_compression", "http_zlib_compression_level", "buffer_size"),
        *("wait_end_of_query", "send_progress_in_http_headers", "http_headers_progress_interval_ms"),
        *("cancel_http_readonly_queries_on_client_close", "http_write_exception_in_output_format"),
        "add_http_cors_header",
    )
)
_SETTING_NAME = re.compile(r"[A-Za-z_]\w*")
_FORMAT_NAME = re.compile(r"\w+", re.ASCII)


@dataclass(frozen=True)
class Table:
    """External data: a temporary table for one query."""

    name: str
    structure: str
    format: str
    data: bytes


@dataclass
class Call:
    """What is to be run, and how. `url` holds the form's values too; `chunks` the body that is not a form.

    `headers` are those of the answer.
    """

    query_id: str
    url: dict[str, str]
    settings: dict[str, str]
    params: dict[str, str]
    database: str | None
    default_format: str | None
    chunks: AsyncIterator[bytes]
    headers: dict[str, str]
    tables: list[Table] = field(default_factory=list)

    @property
    def session_timeout_s(self) -> int:
        timeout = self.url.get("session_timeout", "60")
        if not timeout.isdecimal():
            raise Fault(36, "BAD_ARGUMENTS", f"Invalid session timeout {timeout!r}; give a number of seconds")
        return int(timeout)


def request_of(scope: Scope, receive: Receive) -> Request:
    request = Request(scope, receive)
    return Request(scope, _limited(receive, FORM_BYTES_MAX)) if _is_form(request) else request


def query_id_of(request: Request) -> str:
    return request.query_params.get("query_id") or str(uuid.uuid4())


def answer_without_engine(request: Request, hosts: frozenset[str]) -> Response | None:
    """Refusals and pings. The Host check stops DNS rebinding, the others what a web page can make a browser send."""
    if request.headers.get("host", "") not in hosts:
        return PlainTextResponse("Misdirected request: this server answers to 127.0.0.1 and localhost only.\n", 421)
    if "origin" in request.headers or request.headers.get("sec-fetch-site", "none") != "none":
        return PlainTextResponse("Requests from web pages are not served.\n", 403)
    if request.url.path in ("/ping", "/replicas_status"):
        return PlainTextResponse("Ok.\n")
    if request.url.path != "/":
        return PlainTextResponse(f"There is no handle {request.url.path}; use / or /ping.\n", 404)
    if request.method == "GET" and not request.url.query:
        return PlainTextResponse("Ok.\n")
    if request.method not in ("GET", "POST"):
        return PlainTextResponse("Send queries by POST, or by GET if they only read.\n", 405, {"Allow": "GET, POST"})
    return None


def authenticate(request: Request, password: str) -> None:
    """Raise Fault 516 unless the headers hold the user `default` and the password. A URL's user is not looked at."""
    user, given = request.headers.get("x-clickhouse-user"), request.headers.get("x-clickhouse-key", "")
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        with contextlib.suppress(binascii.Error, UnicodeDecodeError):
            user, _, given = base64.b64decode(token, validate=True).decode().partition(":")
    if not hmac.compare_digest(given.encode(), password.encode()) or (user or "default") != "default":
        reason = "Authentication failed: password is incorrect, or there is no user with such name"
        raise Fault(516, "AUTHENTICATION_FAILED", f"{user or 'default'}: {reason}")


async def read(request: Request, query_id: str, headers: dict[str, str]) -> Call:
    """The request as a Call; a multipart form is read whole. Raises Fault for what cannot be read."""
    url = dict(parse_qsl(request.url.query, keep_blank_values=True))
    encoding = request.headers.get("content-encoding", "").lower()
    chunks = bodies.counted(bodies.decompressed(_chunks(request), encoding), BODY_BYTES_MAX)
    tables = []
    if _is_form(request):
        chunks = bodies.nothing()
        async with _form(request) as form:
            files = [(name, await part.read()) for name, part in form.items() if isinstance(part, UploadFile)]
            url |= {name: part for name, part in form.items() if isinstance(part, str)}
        for name, data in files:
            types = url.pop(f"{name}_types", "")
            structure = url.pop(f"{name}_structure", "") or numbered(types)
            tables.append(Table(name, structure, url.pop(f"{name}_format", "TabSeparated"), data))
    settings = {k: v for k, v in url.items() if k not in _NOT_SETTINGS and not k.startswith("param_")}
    for name in settings:
        if not _SETTING_NAME.fullmatch(name):
            raise Fault(115, "UNKNOWN_SETTING", f"Unknown setting {name!r}")
    if request.method == "GET":  # reads, and may choose its settings: ClickHouse's readonly = 2
        if "session_id" in url:
            raise Fault(36, "BAD_ARGUMENTS", "A session outlives its query, so its queries are sent by POST")
        settings["readonly"] = "1" if settings.get("readonly") == "1" else "2"
    settings.setdefault("log_comment", query_id)
    settings[QUERY_ID_SETTING] = query_id
    params = {k.removeprefix("param_"): v for k, v in url.items() if k.startswith("param_")}
    database = url.get("database") or request.headers.get("x-clickhouse-database")
    default_format = url.get("default_format") or request.headers.get("x-clickhouse-format")
    if default_format and not _FORMAT_NAME.fullmatch(default_format):  # it becomes a part of the statement
        raise Fault(73, "UNKNOWN_FORMAT", f"Unknown format {default_format!r}")
    return Call(query_id, url, settings, params, database, default_format, chunks, headers, tables)


async def drain(request: Request) -> None:
    """Read what is left of the upload, within reason, so that the client gets to read our answer."""
    with contextlib.suppress(ClientDisconnect, RuntimeError, Fault):
        left = FORM_BYTES_MAX
        async for chunk in request.stream():
            left -= len(chunk)
            if left < 0:
                return


async def disconnected(request: Request) -> None:
    """Return when the client has gone. Only after the whole body has been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _is_form(request: Request) -> bool:
    return request.headers.get("content-type", "").startswith("multipart/form-data")


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    async for chunk in request.stream():
        if chunk:
            yield chunk


@contextlib.asynccontextmanager
async def _form(request: Request) -> AsyncIterator[FormData]:
    try:
        async with request.form(max_part_size=FORM_BYTES_MAX) as form:
            yield form
    except (MultiPartException, HTTPException) as error:
        raise Fault(36, "BAD_ARGUMENTS", f"The form cannot be read: {error}") from error


def _limited(receive: Receive, bytes_max: int) -> Receive:
    """`receive`, until there are too many bytes."""
    total = 0

    async def limited() -> Message:
        nonlocal total
        message = await receive()
        total += len(message.get("body", b""))
        if total > bytes_max:
            raise Fault(307, "TOO_MANY_BYTES", f"The form is larger than {bytes_max} bytes; insert the data instead")
        return message

    return limited
