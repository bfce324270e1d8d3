"""Faults on order: what a venue, its front or the network may do to one answer, so that clients can be tried on it.

POST /_faults takes one JSON object; the fields, and what each `kind` sends instead of (or made out of) the real answer:

    path          the path to hit as its venue's file has it, such as /products/{id}/candles, or "*"; mandatory
    symbol        only for this symbol, instId, pair or id
    times         how many requests it hits (default 1)       skip     how many matching requests pass first (default 0)

    status        HTTP `status` (default 503), with `body` if given, `retry_after` seconds as a header
    garbage       bytes that are not JSON, called JSON        html     an error page of a front, called JSON, HTTP 200
    blank         no body at all                              empty    the venue's envelope without any row
    short         at most `rows` rows (default 1)             redirect HTTP 302 to `location`
    hang          nothing for `seconds` (default 3600)        drip     the answer over `seconds` (default 10), in pieces
    truncate      half the announced body, then the end       reset    the connection is reset without an answer
    elsewhere     the page of trades `value` ids further on, or back; where there is no asking by id, `value` seconds
    bomb          `bytes` (default 64 MiB) of gzipped blanks

Kinds that lie about bars (or trades), on `rows` rows (default 1) from the row `start` (default 0) on, again `every` so
many rows:

    holes         those rows left out                         interval every `every`th row only (default 4)
    double        those twice, then with prices × `value`     other    all prices × `value` (default 37), as another's
    without       no bar of the `rows` minutes from the open time `since` (ms) on, however it is asked for
    null          their prices null     nan, zero             their prices "NaN", "0"
    moved         all open times later by `value` minutes     unit    all open times × `value`, as in us or s
    turned        all rows, every second one first

GET lists what is still due, DELETE forgets it all.
"""

import asyncio
import gzip
import json
from dataclasses import asdict, dataclass, field
from typing import Any

from alphaforge_assets.errors import BadInput
from alphaforge_assets.sandbox import spoiling
from alphaforge_assets.sandbox.wire import Receive, Reply, Send, dump

_JSON = "application/json;charset=UTF-8"
_HTML = b"<html><head><title>502 Bad Gateway</title></head><body><center>cloudfront</center></body></html>"
KINDS = ("status", "garbage", "blank", "empty", "short", "html",
         "redirect", "hang", "drip", "truncate", "reset", "bomb", "elsewhere", *spoiling.KINDS)  # fmt: skip


@dataclass
class Fault:
    """One fault on order; see the module's docstring."""

    path: str
    kind: str
    symbol: str = ""
    times: int = 1
    skip: int = 0
    status: int = 503
    body: str = ""
    retry_after: float | None = None
    rows: int = 1
    location: str = "http://127.0.0.1:1/elsewhere"
    seconds: float | None = None
    bytes: int = 64 * 1024 * 1024
    start: int = 0
    every: int = 0
    value: float = 37.0
    since: int = 0

    @property
    def measure(self) -> spoiling.Measure:
        return spoiling.Measure(self.start, self.rows, self.every, self.value, self.since)

    def hits(self, path: str, symbol: str) -> bool:
        return self.times > 0 and self.path in ("*", path) and self.symbol in ("", symbol)


@dataclass
class Faults:
    """The faults on order, in the order they were asked for; the first that matches is used."""

    due: list[Fault] = field(default_factory=list)

    def add(self, order: Any) -> Fault:
        """Raises BadInput naming the field that is wrong."""
        known = Fault.__dataclass_fields__
        if not isinstance(order, dict) or "path" not in order or order.get("kind") not in KINDS:
            raise BadInput(f"fault {order!r}: needs a path and a kind out of {', '.join(KINDS)}")
        unknown = [name for name in order if name not in known]
        if unknown:
            raise BadInput(f"fault field {unknown[0]!r}: unknown; use {', '.join(known)}")
        for name in ("times", "skip", "status", "rows", "bytes", "start", "every", "since"):
            if not isinstance(order.get(name, 0), int):
                raise BadInput(f"fault field {name}: {order[name]!r} is not a whole number")
        fault = Fault(**order)
        self.due.append(fault)
        return fault

    def next(self, path: str, symbol: str) -> Fault | None:
        """The fault this request meets, if any; counts it."""
        for fault in self.due:
            if fault.hits(path, symbol):
                if fault.skip > 0:
                    fault.skip -= 1
                    continue
                fault.times -= 1
                self.due = [other for other in self.due if other.times > 0]
                return fault
        return None

    def listed(self) -> list[dict[str, Any]]:
        return [asdict(fault) for fault in self.due]


async def respond(send: Send, reply: Reply, announced: int | None = None) -> None:
    """Send a reply; `announced` is a content length that may be a lie."""
    headers = {"content-type": _JSON, **dict(reply.headers)}
    headers["content-length"] = str(len(reply.body) if announced is None else announced)
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": raw})
    await send({"type": "http.response.body", "body": reply.body})


async def misbehave(fault: Fault, reply: Reply, receive: Receive, send: Send, entry: dict[str, Any]) -> None:
    """Answer as `fault` says; the log entry gets the status really sent."""
    headers = dict(reply.headers)
    if fault.retry_after is not None:
        headers["retry-after"] = f"{fault.retry_after:g}"
    status, body = reply.status, reply.body
    match fault.kind:
        case "status":
            status, body = fault.status, fault.body.encode()
        case "redirect":
            status, body, headers["location"] = 302, b"", fault.location
        case "garbage":
            body = bytes(range(128, 256)) * 4
        case "html":
            body = _HTML
        case "blank":
            body = b""
        case "empty":
            body = _without_rows(reply.body)
        case kind if kind in spoiling.KINDS:
            body, entry["rows"] = spoiling.spoiled(kind, body, fault.measure)
            await respond(send, Reply(body, status, 0, tuple(headers.items())))
            return
        case "bomb":
            body, headers["content-encoding"] = gzip.compress(bytes(1) * fault.bytes), "gzip"
        case "hang":
            await _wait_or_disconnect(receive, 3600 if fault.seconds is None else fault.seconds)
        case "reset":
            entry["status"] = 0
            _transport(send).abort()
            await _disconnected(receive)
            return
        case "truncate":
            entry["rows"] = 0
            await _truncate(send, receive, reply)
            return
        case "drip":
            await _drip(send, reply, 10 if fault.seconds is None else fault.seconds)
            return
    entry["status"] = status
    entry["rows"] = reply.rows if body is reply.body else 0
    await respond(send, Reply(body, status, 0, tuple(headers.items())))


def _without_rows(body: bytes) -> bytes:
    """The same envelope with its list of rows empty."""
    try:
        value = json.loads(body)
    except ValueError:
        return body
    if isinstance(value, list):
        return b"[]"
    inner = value.get("result", value)
    for name, told in inner.items():
        if isinstance(told, list) and (name in ("data", "list", "symbols") or (told and isinstance(told[0], list))):
            inner[name] = []
    return dump(value)


async def _wait_or_disconnect(receive: Receive, seconds: float) -> None:
    """Sleep, but end as soon as the client has gone."""
    deadline = asyncio.get_running_loop().time() + seconds
    while (left := deadline - asyncio.get_running_loop().time()) > 0:
        try:
            message = await asyncio.wait_for(receive(), left)
        except TimeoutError:
            return
        if message["type"] == "http.disconnect":
            return


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _truncate(send: Send, receive: Receive, reply: Reply) -> None:
    headers = [(b"content-type", _JSON.encode()), (b"content-length", str(len(reply.body)).encode())]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body[: len(reply.body) // 2], "more_body": True})
    _transport(send).close()
    await _disconnected(receive)


async def _drip(send: Send, reply: Reply, seconds: float) -> None:
    headers = [(b"content-type", _JSON.encode()), (b"content-length", str(len(reply.body)).encode())]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    step = max(1, len(reply.body) // 50)
    for at in range(0, len(reply.body), step):
        await send({"type": "http.response.body", "body": reply.body[at : at + step], "more_body": True})
        await asyncio.sleep(seconds / 50)
    await send({"type": "http.response.body", "body": b""})


def _transport(send: Send) -> asyncio.Transport:
    """The connection under uvicorn's `send`, which is a method of its request cycle; ASGI itself has no word for it."""
    transport: asyncio.Transport = send.__self__.transport  # type: ignore[attr-defined]
    return transport
