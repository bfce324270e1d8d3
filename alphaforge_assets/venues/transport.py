"""The guard around ccxt's HTTP: what comes through is a whole JSON document, or an error of ours.

ccxt builds the URL, reads the venue's error codes and parses its markets. It does not get to send: left alone it takes
a truncated body, an HTML page or NaN for data, follows redirects, lets a body trickle for ever and unpacks any gzip
bomb (25 wire faults measured on ccxt 4.5.90). `guarded` gives a ccxt class whose `fetch` goes through `send`, which
either returns a JSON object or array that came whole, in time and within its size, or raises one of errors.py.

Nothing here retries, waits or knows a venue's endpoints.
"""

import http.client
import io
import json
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, NoReturn, TypeVar
from urllib.parse import urlsplit, urlunsplit

import certifi
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from alphaforge_assets.errors import AlphaForgeError, BadInput, VenueUnavailable
from alphaforge_assets.venues.refusals import EVIDENCE_CHARS, QUOTED_CHARS, Meaning, Reply, path_of, refuse

T = TypeVar("T")

CONNECT_S_MAX = 10.0
CHUNK_BYTES = 65_536


class BodyTooLong(VenueUnavailable):
    """An answer of more bytes than it may have."""


def parse_json(body: bytes) -> Any:
    """The object or array that `body` is. Raises ValueError for anything else: scalars, NaN, Infinity, half a text."""
    try:
        document = _DECODER.decode(body.decode("utf-8"))
    except RecursionError as error:
        raise ValueError("JSON nested too deeply") from error
    if not isinstance(document, (dict, list)):
        raise ValueError(f"JSON {type(document).__name__} where an object or array belongs")
    return document


def open_pool(connections: int) -> urllib3.PoolManager:
    """Keep-alive connections for so many threads; reads obey `send`'s deadline. No environment, no proxies."""
    pool = urllib3.PoolManager(num_pools=4, maxsize=connections, retries=False, ca_certs=certifi.where())
    pool.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
    return pool


def send(
    pool: urllib3.PoolManager,
    url: str,
    headers: Mapping[str, str],
    *,
    method: str = "GET",
    body: Any = None,
    deadline_s: float,
    body_bytes_max: int,
) -> Reply:
    """One request, one answer. `deadline_s` covers all of it but the name look-up, which the system cannot interrupt.

    Raises VenueUnavailable for whatever keeps the answer from arriving whole, in time and within `body_bytes_max`
    unpacked.
    """
    token = _DEADLINE.set(time.monotonic() + deadline_s)
    response = None
    received = bytearray()
    try:
        response = pool.request(
            method,
            url,
            body=body,
            headers=dict(headers) | {"Accept-Encoding": "gzip"},
            redirect=False,
            retries=False,
            preload_content=False,
            timeout=urllib3.Timeout(connect=min(CONNECT_S_MAX, deadline_s), read=deadline_s),
        )
        # read() unpacks no more than it is asked for, so a bomb is noticed CHUNK_BYTES past the limit.
        while chunk := response.read(CHUNK_BYTES, decode_content=True):
            received += chunk
            if len(received) > body_bytes_max:
                raise BodyTooLong(
                    f"{path_of(url)}: the body is larger than {body_bytes_max} bytes", _evidence(received)
                )
        response.release_conn()
    except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError) as error:
        reason = _reason(error, deadline_s)
        raise VenueUnavailable(f"{path_of(url)}: {reason[:QUOTED_CHARS]}", _evidence(received)) from error
    finally:
        _DEADLINE.reset(token)
        if response is not None and response.connection is not None:
            response.close()
    return Reply(response.status, {k.lower(): v for k, v in response.headers.items()}, bytes(received))


def guarded(exchange_class: type[Any], refusals: Sequence[Meaning] = ()) -> type[Any]:
    """A ccxt class that sends through `send`. Its instances need `guard`: (pool, deadline_s, body_bytes_max).

    `refusals` says what the exchange's own error codes mean.
    """

    class Guarded(exchange_class):  # type: ignore[misc]
        guard: tuple[urllib3.PoolManager, float, int]

        def fetch(self, url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
            """Replaces ccxt's: no logging of headers, no garbage taken for data (VenueUnavailable), our errors."""
            pool, deadline_s, body_bytes_max = self.guard
            answer = send(
                pool,
                url,
                self.prepare_request_headers(headers),
                method=method,
                body=body,
                deadline_s=deadline_s,
                body_bytes_max=body_bytes_max,
            )
            self.last_response_headers = answer.headers
            document: Any = None
            try:
                document = parse_json(answer.body)
            except ValueError as error:
                if answer.status == 200:
                    message = (
                        f"{self.id} {path_of(url)}: the body is not the JSON it should be ({str(error)[:QUOTED_CHARS]})"
                    )
                    raise VenueUnavailable(message, _evidence(answer.body)) from error
            said = self._ccxt_error(url, method, answer, document)
            if answer.status != 200 or said is not None:
                refuse(self.id, url, answer, refusals, said)
            return document

        def _ccxt_error(self, url: str, method: str, answer: Reply, document: Any) -> Exception | None:
            """What ccxt's reading of the venue's error codes makes of the answer."""
            text = answer.body[:EVIDENCE_CHARS].decode("utf-8", "replace")
            try:
                self.handle_errors(answer.status, "", url, method, dict(answer.headers), text, document, {}, None)
            except Exception as error:  # ccxt's errors share no useful base, and a garbled body may trip its code too
                return error
            return None

    Guarded.__name__ = Guarded.__qualname__ = exchange_class.__name__
    return Guarded


def called(exchange: Any, method: str, params: Mapping[str, Any]) -> Any:
    """What ccxt makes of the call. Raises VenueUnavailable too for an answer that ccxt's own code trips over."""
    try:
        return getattr(exchange, method)(dict(params))
    except AlphaForgeError:
        raise
    except Exception as error:
        raise VenueUnavailable(
            f"{exchange.id} {method}: ccxt cannot read the answer ({type(error).__name__}: {str(error)[:300]})"
        ) from error


def found(reader: Callable[[Any], T], answer: Any) -> T:
    """`reader(answer)`. Raises VenueUnavailable if the answer has another shape."""
    try:
        return reader(answer)
    except (KeyError, IndexError, TypeError) as error:
        raise VenueUnavailable(
            f"an answer of another shape than documented ({type(error).__name__}: {error})", str(answer)
        ) from error


def rehost(url: Any, base_url: str) -> Any:
    """`url` (or each in a nest of dicts) with scheme, host and prefix of `base_url`; the venue's own path is kept."""
    if isinstance(url, dict):
        return {k: rehost(v, base_url) for k, v in url.items()}
    if not isinstance(url, str):
        return url
    base = urlsplit(base_url)
    return urlunsplit((base.scheme, base.netloc, base.path.rstrip("/") + urlsplit(url).path, "", ""))


def check_base_url(base_url: str) -> str:
    """A base URL for a sandbox. Raises BadInput unless it is https, or http to this machine."""
    try:
        parts = urlsplit(base_url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise BadInput(f"base_url {base_url!r}: {error}; write e.g. http://127.0.0.1:8900") from error
    if parts.scheme not in ("http", "https") or not host:
        raise BadInput(
            f"base_url {base_url!r}: write http:// or https://, a host and a port, e.g. http://127.0.0.1:8900"
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        raise BadInput(f"base_url of {host}: must hold no user, password, query or fragment")
    if parts.scheme == "http" and host not in ("127.0.0.1", "localhost", "::1"):
        raise BadInput(f"base_url {base_url!r}: http is for this machine only (127.0.0.1); use https for another")
    return base_url.rstrip("/")


_DEADLINE: ContextVar[float] = ContextVar("deadline of the request this thread is sending, time.monotonic()")


class _DeadlineReader(io.RawIOBase):
    """Reads a socket; every receive may last until the request's deadline, however little the others brought."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)  # keeps the socket open until the answer is read

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left_s = _DEADLINE.get() - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the request's deadline is over")
        self._sock.settimeout(left_s)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _DeadlineSocket:
    """What http.client.HTTPResponse needs of a socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_DeadlineReader(self._sock), CHUNK_BYTES)


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(_DeadlineSocket(sock), *args, **kwargs)  # type: ignore[arg-type]


class _HttpConnection(HTTPConnection):
    response_class = _Response


class _HttpsConnection(HTTPSConnection):
    response_class = _Response


class _HttpPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _HttpConnection


class _HttpsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _HttpsConnection


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _reason(error: BaseException, deadline_s: float) -> str:
    if isinstance(
        error, urllib3.exceptions.NewConnectionError
    ):  # no such name, or refused: no timeout, though urllib3's
        return str(error).partition("): ")[2] or str(
            error
        )  # class says so; "_HttpsConnection(host=…): " tells nobody anything
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, (TimeoutError, urllib3.exceptions.TimeoutError)):
            return f"no whole answer within {deadline_s:.1f} s"
        cause = cause.__cause__ or cause.__context__
    return f"{type(error).__name__}: {error}"


def _evidence(body: bytes | bytearray) -> str:
    return bytes(body[:EVIDENCE_CHARS]).decode("utf-8", "replace")
