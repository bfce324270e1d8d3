"""Dagster's webserver behind a guard: on loopback, for pages of its own only.

dagster-webserver 1.13 runs GraphQL mutations sent by GET and looks at neither Host nor Origin, so any web page open in
the operator's browser could launch runs, and its report endpoints accept forged materializations (both measured).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qsl

import click
import uvicorn
from dagster import DagsterInstance
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster_webserver.app import create_app_from_workspace_process_context
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from alphaforge_assets.cli.healthz import Health
from alphaforge_assets.instance import WORKSPACE
from alphaforge_assets.report.daily import SERVED_AT
from alphaforge_assets.settings import settings_from_environment


class Guard:
    """ASGI middleware. 421: other hosts. 403: other origins, forged reports. 405: GraphQL by GET. 415: not JSON."""

    def __init__(self, app: ASGIApp, port: int) -> None:
        self.app = app
        self.hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self.refusal(scope) if scope["type"] in ("http", "websocket") else None
        if refusal is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await PlainTextResponse(refusal[1], refusal[0])(scope, receive, send)

    def refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Status and words with which a request is refused; None if it is not."""
        headers = {name.decode().lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if headers.get("host") not in self.hosts:
            return 421, "this server answers to 127.0.0.1 and localhost only"
        origin = headers.get("origin")
        if origin is not None and origin.removeprefix("http://") not in self.hosts:
            return 403, "requests from other origins are refused"
        if headers.get("sec-fetch-site") in ("cross-site", "same-site") and scope.get("method") != "GET":
            return 403, "requests from other sites are refused"
        path = scope["path"].rstrip("/")
        if path.startswith("/report_asset_"):
            return 403, "assets report from runs only"
        if scope["type"] == "http" and path.endswith("/graphql"):
            asked = {name for name, _ in parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)}
            if scope["method"] != "POST" and asked:
                return 405, "send GraphQL by POST"
            kind = headers.get("content-type", "").partition(";")[0]
            # The UI's own requests name their operation in `op`; the statement itself belongs in the body.
            if scope["method"] == "POST" and (kind != "application/json" or asked - {"op"}):
                return 415, "send GraphQL as application/json, in the body"
        return None


class Reports:
    """ASGI middleware: the reports of a directory below SERVED_AT, in an origin of their own, the rest to the UI."""

    def __init__(self, app: ASGIApp, directory: str) -> None:
        self.app = app
        self.files = StaticFiles(directory=directory, html=True, check_dir=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(f"{SERVED_AT}/"):
            await self.app(scope, receive, send)
            return

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                seal = (b"content-security-policy", b"sandbox allow-scripts allow-downloads allow-popups")
                message["headers"] = [*message["headers"], seal, (b"x-content-type-options", b"nosniff")]
            await send(message)

        within = dict(scope) | {"path": scope["path"].removeprefix(SERVED_AT), "root_path": ""}
        try:
            await self.files(within, receive, sealed)
        except HTTPException as refusal:  # nobody above us makes an answer of it
            await PlainTextResponse(refusal.detail, refusal.status_code)(within, receive, sealed)


@contextmanager
def guarded_app(instance: DagsterInstance, port: int) -> Iterator[ASGIApp]:
    """The Dagster UI with our code location behind the guard, and beside it how all is."""
    with WorkspaceProcessContext(instance, WorkspaceFileTarget([str(WORKSPACE)])) as workspace:
        ui: ASGIApp = create_app_from_workspace_process_context(workspace)
        settings = settings_from_environment()
        guard = Guard(ui if "://" in settings.reports else Reports(ui, settings.reports), port)
        yield Health(guard, lambda scope: guard.refusal(scope) is None, settings, instance)


@click.command()
@click.option("--port", type=int, required=True)
def main(port: int) -> None:
    """Serve the UI of the instance of DAGSTER_HOME on 127.0.0.1 until interrupted."""
    with DagsterInstance.get() as instance, guarded_app(instance, port) as app:
        uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
