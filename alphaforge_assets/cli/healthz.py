"""GET /healthz of the UI's address: 200 if all is well and 503 if something is wrong, for whoever watches over us.

A prober that names us by another Host than the guard knows gets the same status and no reasons: a page of another site
that was led here by its own name (DNS rebinding) learns that something is up or down, and nothing else.
"""

import datetime as dt
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from dagster import DagsterInstance
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from alphaforge_assets.health import machine, parts, service
from alphaforge_assets.health.findings import Finding, is_well, looked
from alphaforge_assets.settings import Settings

PATH = "/healthz"
# However many ask, we look no more often than this.
LOOK_EVERY_S = 1.0


def findings(settings: Settings, instance: DagsterInstance, now: dt.datetime, since: dt.datetime) -> list[Finding]:
    """What a prober asks for: everything whose failure somebody must act upon. `since` is when we came up."""
    lives = parts.read(settings.home)
    its = {part.name: part.started_at for part in lives.parts} if lives else {}
    since = its.get("daemon", since)
    return [
        *looked("warehouse", lambda: service.warehouse(settings)),
        *looked("daemon", lambda: [service.daemon(instance, now, since)]),
        *looked("event log", lambda: [service.event_log(settings.dagster_home)]),
        *looked("tail", lambda: [service.tail(instance, now, since, is_live=settings.live_updates)]),
        *looked("disk", lambda: machine.disk(settings.home)),
        *looked("up", lambda: parts.up(settings.home, now)),
    ]


@dataclass
class Health:
    """ASGI middleware: PATH, and the rest to `app`. `is_trusted` says of a request whether it may know reasons."""

    app: ASGIApp
    is_trusted: Callable[[Scope], bool]
    settings: Settings
    instance: DagsterInstance
    since: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _last: tuple[float, list[Finding]] = (-LOOK_EVERY_S, [])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].rstrip("/") != PATH:
            await self.app(scope, receive, send)
            return
        if scope["method"] not in ("GET", "HEAD"):
            await PlainTextResponse("ask by GET", 405, {"Allow": "GET, HEAD"})(scope, receive, send)
            return
        found = await run_in_threadpool(self._look)
        said: dict[str, Any] = {"well": is_well(found)}
        if self.is_trusted(scope):
            said |= {
                "wrong": [f"{f.name}: {f.what}" for f in found if f.state == "wrong"],
                "findings": [asdict(f) for f in found],
            }
        headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
        await JSONResponse(said, 200 if said["well"] else 503, headers)(scope, receive, send)

    def _look(self) -> list[Finding]:
        with self._lock:
            at, found = self._last
            if time.monotonic() - at >= LOOK_EVERY_S:
                found = findings(self.settings, self.instance, dt.datetime.now(dt.UTC), self.since)
                self._last = (time.monotonic(), found)
            return found
