"""The HTTP side: one ASGI application that charges budgets, answers as the venues do, logs, and obeys the test hooks.

Hooks, all JSON (paths that begin with `_`, never logged or charged):

    GET    /_log[?path=&status=&symbol=&since=n]   requests so far: {n, at, method, path, query, status, weight, rows}
    DELETE /_log        forget them                     GET    /_clock    {"now": ISO, "fixed": bool, "rate"}
    POST   /_clock      {"now": ISO or null, "rate"}    POST   /_faults   see `faults.py`; GET and DELETE too
    POST   /_revise     {"venue", "symbol", "interval", "open_time", and columns with their new values}
    POST   /_archive    what is wrong with files, see `vision.py`; DELETE too
    DELETE /_budgets    start the rate limits afresh    GET    /_about    {"seed", "recordings", "venues", "version"}

A `rate` lets the venues' time run from `now` that many times as fast until it meets the machine's; without, it is
fixed. WebSockets and their hooks are in `streams.py`; they share the clock.
"""

import asyncio
import datetime as dt
import json
import math
import traceback
import urllib.parse
from collections import deque
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from alphaforge_assets.errors import BadInput
from alphaforge_assets.sandbox import binance_load, bucket, kraken_downloads
from alphaforge_assets.sandbox.budgets import Budgets, Charge
from alphaforge_assets.sandbox.directory import DIALECTS, ENDPOINTS
from alphaforge_assets.sandbox.exchange import Exchange
from alphaforge_assets.sandbox.faults import Fault, Faults, misbehave, respond
from alphaforge_assets.sandbox.streams import Streams
from alphaforge_assets.sandbox.vision import Vision
from alphaforge_assets.sandbox.wire import Endpoint, Receive, Refused, Reply, Send, dump, number

Scope = MutableMapping[str, Any]

LOG_KEPT = 200_000
HOOK_BYTES_MAX = 1_000_000


@dataclass
class Server:
    """The application; `await server(scope, receive, send)` is what uvicorn calls."""

    exchange: Exchange
    budgets: Budgets
    faults: Faults = field(default_factory=Faults)
    log: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=LOG_KEPT))
    requests: int = 0
    endpoints: dict[str, Endpoint] = field(init=False)
    vision: Vision = field(init=False)
    downloads: kraken_downloads.Downloads = field(init=False)
    streams: Streams = field(init=False)
    load: "asyncio.Task[None] | None" = None

    def __post_init__(self) -> None:
        self.vision = Vision(self.exchange)
        self.downloads = kraken_downloads.Downloads(self.exchange)
        self.streams = Streams(self.exchange, tuple(dialect(self.exchange) for dialect in DIALECTS))
        self.endpoints = {path: it for its in ENDPOINTS for path, it in its(self.exchange).items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self.streams.serve(scope, receive, send)
            return
        path = scope["path"]
        pairs = urllib.parse.parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if path.startswith("/_"):
            await respond(send, await self._hook(scope["method"], path, dict(pairs), receive))
        else:
            byte_range = dict(scope["headers"]).get(b"range", b"").decode("latin-1")
            await self._venue(scope["method"], path, dict(pairs), byte_range, receive, send)

    async def _venue(
        self, method: str, path: str, query: dict[str, str], byte_range: str, receive: Receive, send: Send
    ) -> None:
        form, named = self._form(path)
        endpoint, sent = self.endpoints.get(form), query
        query = {**query, **named}
        fault = self.faults.next(form, _symbol(query))
        if bucket.is_of_bucket(path) and method in ("GET", "HEAD"):
            reply, weight = bucket.answer(self.vision, path, sent, byte_range), 0
        elif path.startswith(kraken_downloads.ROOT) and method == "GET":
            reply, weight = self.downloads.answer(path, byte_range), 0
        elif endpoint is None or method != "GET":
            reply, weight = _unknown(path), 0
        else:
            weight = endpoint.weight(query)
            charge = self.budgets.charge(endpoint.budget, weight, self._budget_key(endpoint, path, query))
            reply = self._answer(endpoint, query, charge, fault)
        entry = self._entry(method, path, sent, reply, weight)
        if fault is None:
            await respond(send, reply)
        else:
            entry["fault"] = fault.kind
            await misbehave(fault, reply, receive, send, entry)

    def _form(self, path: str) -> tuple[str, dict[str, str]]:
        """The path as an endpoint has it, and the values of the names in it."""
        if path in self.endpoints:
            return path, {}
        parts = path.split("/")
        for form in self.endpoints:
            its = form.split("/")
            if "{" in form and len(its) == len(parts):
                named = {a[1:-1]: b for a, b in zip(its, parts, strict=True) if a.startswith("{")}
                if all(a == b or a.startswith("{") for a, b in zip(its, parts, strict=True)) and all(named.values()):
                    return form, named
        return path, {}

    def _budget_key(self, endpoint: Endpoint, path: str, query: dict[str, str]) -> str:
        if endpoint.venue != "okx":
            return ""
        return f"{path}/{query.get(endpoint.per_symbol, '')}"

    def _answer(self, endpoint: Endpoint, query: dict[str, str], charge: Charge, fault: Fault | None) -> Reply:
        if charge.verdict != "ok":
            reply = endpoint.limited(charge) if endpoint.limited else _over_limit(endpoint.venue, charge)
        else:
            try:
                reply = endpoint.answer(_shortened(query, fault))
            except Refused as refused:
                reply = refused.reply
            except BadInput as error:  # a recording that cannot be read after all
                reply = Reply(dump({"error": str(error)}), 500)
            except Exception:  # a fault of the sandbox itself: its caller is the one to tell
                reply = Reply(dump({"error": traceback.format_exc()}), 500)
        told = endpoint.told(charge) if endpoint.told else _limit_headers(endpoint.venue, charge)
        return Reply(reply.body, reply.status, reply.rows, (*reply.headers, *told))

    def _entry(self, method: str, path: str, query: dict[str, str], reply: Reply, weight: int) -> dict[str, Any]:
        self.requests += 1
        entry = {
            "n": self.requests,
            "at": dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds"),
            "method": method,
            "path": path,
            "query": query,
            "status": reply.status,
            "weight": weight,
            "rows": reply.rows,
        }
        self.log.append(entry)
        return entry

    async def _hook(self, method: str, path: str, query: dict[str, str], receive: Receive) -> Reply:
        try:
            match method, path:
                case "GET", "/_log":
                    wanted = _filter(query)
                    return Reply(dump([entry for entry in self.log if wanted(entry)]))
                case "DELETE", "/_log":
                    self.log.clear()
                case "GET", "/_clock":
                    pass
                case "POST", "/_clock":
                    order = await _body(receive)
                    self.exchange.clock.set(order.get("now"), order.get("rate", 0))
                case "POST", "/_faults":
                    order = await _body(receive)
                    (self.streams.faults if order.get("scope") == "stream" else self.faults).add(order)
                case "DELETE", "/_faults":
                    self.faults.due.clear()
                    self.streams.faults.due.clear()
                case "POST", "/_load":
                    self.load = binance_load.begin(self.streams, await _body(receive))
                    return Reply(dump({"loading": self.load is not None}))
                case "DELETE", "/_connections":
                    self.streams.end_all()
                case "DELETE", "/_budgets":
                    self.budgets.reset()
                case "POST", "/_archive":
                    self.vision.order(await _body(receive))
                case "DELETE", "/_archive":
                    self.vision.forget()
                case "POST", "/_revise":
                    self._revise(await _body(receive))
                case "GET", "/_faults" | "/_about" | "/_connections":
                    pass
                case _:
                    return Reply(dump({"error": f"{method} {path}: no such hook"}), 404)
        except BadInput as error:
            return Reply(dump({"error": str(error)}), 400)
        return Reply(dump(self._state(path)))

    def _state(self, path: str) -> Any:
        exchange = self.exchange
        if path == "/_clock":
            now = dt.datetime.fromtimestamp(exchange.clock.now_ms() / 1000, dt.UTC)
            pace = exchange.clock.pace
            return {"now": now.isoformat(timespec="milliseconds"), "fixed": pace == 0, "rate": pace}
        if path == "/_connections":
            return self.streams.listed()
        if path == "/_faults":
            return self.faults.listed() + self.streams.faults.listed()
        if path == "/_about":
            root = exchange.recordings and str(exchange.recordings.root)
            venues = sorted({listing.venue for listing in exchange.listings.values()})
            return {"sandbox": "alphaforge", "seed": exchange.seed, "recordings": root, "venues": venues}
        return {"ok": True}

    def _revise(self, order: dict[str, Any]) -> None:
        names = ("venue", "symbol", "interval", "open_time")
        lacking = [name for name in names if name not in order]
        if lacking or len(order) == len(names):
            raise BadInput(f"revision {order!r}: needs {', '.join(names)} and a column, such as close")
        where = {name: order.pop(name) for name in names}
        if not isinstance(where["open_time"], int):
            raise BadInput(f"open_time {where['open_time']!r}: write milliseconds since the epoch")
        self.exchange.revise(**where, columns=order)
        self.vision.renew()
        self.streams.forget()
        self.downloads.renew()


def _symbol(query: dict[str, str]) -> str:
    return next((query[name] for name in ("symbol", "instId", "pair", "id") if query.get(name)), "")


def _shortened(query: dict[str, str], fault: Fault | None) -> dict[str, str]:
    if fault is not None and fault.kind == "elsewhere":
        units = {"fromId": 1, "after": 1, "before": 1, "since": 1_000_000_000}
        moved = {n: max(0, int(query[n]) + int(fault.value * units[n])) for n in units if query.get(n, "").isdigit()}
        return query | {name: str(value) for name, value in moved.items()}
    if fault is None or fault.kind != "short":
        return query
    return {**query, "count" if "count" in query else "limit": str(fault.rows)}


def _filter(query: dict[str, str]) -> Callable[[dict[str, Any]], bool]:
    """What `/_log` was asked for. Raises BadInput."""
    unknown = set(query) - {"path", "status", "symbol", "since"}
    if unknown:
        raise BadInput(f"log filter {sorted(unknown)[0]!r}: unknown; use path, status, symbol or since")
    try:
        since = number(query.get("since"), 0) or 0
    except ValueError as error:
        raise BadInput(f"log filter since: {error}") from error

    def wanted(entry: dict[str, Any]) -> bool:
        symbol = _symbol(entry["query"]) or None
        return (
            entry["n"] > since
            and query.get("path", entry["path"]) == entry["path"]
            and query.get("status", str(entry["status"])) == str(entry["status"])
            and query.get("symbol", symbol) == symbol
        )

    return wanted


async def _body(receive: Receive) -> dict[str, Any]:
    """The JSON object of a hook's request. Raises BadInput."""
    raw = b""
    while True:
        message = await receive()
        raw += message.get("body", b"")
        if len(raw) > HOOK_BYTES_MAX:
            raise BadInput(f"body: more than {HOOK_BYTES_MAX} bytes")
        if not message.get("more_body"):
            break
    try:
        order = json.loads(raw)
    except ValueError as error:
        raise BadInput(f"body: not JSON ({error})") from error
    if not isinstance(order, dict):
        raise BadInput("body: not a JSON object")
    return order


def _unknown(path: str) -> Reply:
    """What each venue says to a path it does not have."""
    if path.startswith("/api/v5"):
        return Reply(dump({"code": 404, "data": {}, "detailMsg": "", "error_code": "404", "error_message": "Not Found",
                           "msg": "Not Found"}), 404)  # fmt: skip
    if path.startswith("/v5"):
        return Reply(dump({"retCode": 404, "retMsg": "Not Found", "result": {}, "retExtInfo": {}}), 404)
    return Reply(b"<html><body><h2>404 Not found</h2></body></html>", 404, 0, (("content-type", "text/html"),))


def _over_limit(venue: str, charge: Charge) -> Reply:
    wait = str(max(1, math.ceil(charge.wait_s)))
    if venue == "alternative_me":
        return Reply(b"Too Many Requests", 429, 0, (("content-type", "text/plain"), ("retry-after", wait)))
    if venue == "okx":
        return Reply(dump({"msg": "Too Many Requests", "code": "50011"}), 429)
    if venue == "bybit":
        body = b"<html><head><title>403 Forbidden</title></head><body>access too frequent</body></html>"
        return Reply(body, 403, 0, (("content-type", "text/html"),))
    if charge.verdict == "banned":
        until = int(dt.datetime.now(dt.UTC).timestamp() * 1000 + charge.wait_s * 1000)
        words = f"Way too much request weight used; IP banned until {until}. "
        words += "Please use WebSocket Streams for live updates to avoid bans."
        return Reply(dump({"code": -1003, "msg": words}), 418, 0, (("retry-after", wait),))
    words = f"Too much request weight used; current limit is {charge.limit} request weight per 1 MINUTE. "
    words += "Please use WebSocket Streams for live updates to avoid polling the API."
    return Reply(dump({"code": -1003, "msg": words}), 429, 0, (("retry-after", wait),))


def _limit_headers(venue: str, charge: Charge) -> tuple[tuple[str, str], ...]:
    if venue == "binance_spot":
        return ("x-mbx-used-weight", str(charge.used)), ("x-mbx-used-weight-1m", str(charge.used))
    if venue == "binance_perp":
        return (("x-mbx-used-weight-1m", str(charge.used)),)
    if venue == "bybit":
        reset = int((dt.datetime.now(dt.UTC).timestamp() + charge.wait_s) * 1000)
        return (
            ("x-bapi-limit", str(charge.limit)),
            ("x-bapi-limit-status", str(max(0, charge.limit - charge.used))),
            ("x-bapi-limit-reset-timestamp", str(reset)),
        )
    return ()
