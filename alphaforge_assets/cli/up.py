"""`alphaforge up`: everything on one machine, started in the right order and ended together.

A part that dies is started again, on the same port, while the others go on.
"""

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from alphaforge_assets.cli.arguments import port
from alphaforge_assets.cli.opened import environment, warehouse
from alphaforge_assets.cli.screen import say
from alphaforge_assets.errors import Occupied

if TYPE_CHECKING:
    from alphaforge_assets.cli.logs import Form
    from alphaforge_assets.cli.processes import Parts
    from alphaforge_assets.settings import Settings


@click.command()
@click.option("--venues", type=click.Choice(["live", "sandbox"]), help="Who answers. [ALPHAFORGE_VENUES]")
@port("--port", 3000, "Port of the Dagster UI; 0 for any free one.")
@port("--sandbox-port", 0, "Port of the sandbox.")
@port("--warehouse-port", 0, "Port of the embedded warehouse.")
@click.option(
    "--live/--no-live",
    default=None,
    help="Keep the warehouse up to date by itself, every few minutes. [ALPHAFORGE_LIVE, on]",
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Of the logs in the home: lines as they come, or JSON with time, level, part and message.",
)
@click.option("--systemd-unit", is_flag=True, help="Print a unit for systemd that runs this, and do nothing else.")
def up(
    venues: str | None,
    port: int,
    sandbox_port: int,
    warehouse_port: int,
    live: bool | None,
    log_format: "Form",
    systemd_unit: bool,
) -> None:
    """Run everything on this machine: warehouse, sandbox if asked, Dagster UI, daemon and streams. Ctrl-C ends it all.

    A part that dies is started again and told of; one that dies more than five times in ten minutes ends everything,
    but for the streams (ALPHAFORGE_STREAM=off goes without), in whose place bars come every few minutes.
    How it is: `/healthz` of the UI, and `alphaforge doctor`.
    """
    from alphaforge_assets import instance
    from alphaforge_assets.cli.logs import journal
    from alphaforge_assets.cli.processes import Parts, alone, answers, free_port, notify_ready, refuse_taken, stoppable
    from alphaforge_assets.cli.unit import unit
    from alphaforge_assets.stream.subscribing import streamed
    from alphaforge_assets.warehouse.origins import refuse_mixing

    settings, universe = environment()
    if venues == "live":
        settings = replace(settings, venues_url=None)
    if live is not None:
        settings = replace(settings, live_updates=live)
    if systemd_unit:
        click.echo(unit(settings, port, venues, live=live), nl=False)
        return
    with alone(settings.home) as lock, stoppable(), contextlib.ExitStack() as stack:
        for taken, option in ((port, "--port"), (sandbox_port, "--sandbox-port"), (warehouse_port, "--warehouse-port")):
            refuse_taken(taken, option)
        parts = Parts(lock, journal(settings.home, log_format))
        stack.callback(parts.stop)
        if settings.clickhouse_url is None:
            _start_warehouse(parts, settings, warehouse_port)
        # Kept open: an ephemeral warehouse that was running already lives as long as somebody uses it.
        client = stack.enter_context(warehouse(settings))
        refuse_mixing(client, "sandbox" if venues == "sandbox" else settings.origin)
        if venues == "sandbox":
            sandbox_port = sandbox_port or free_port()
            url = f"http://127.0.0.1:{sandbox_port}"
            settings = replace(settings, venues_url=url)
            command = ["alphaforge_assets.sandbox", "--port", str(sandbox_port)]
            parts.start("sandbox", command, settings, lambda: answers(f"{url}/api/v3/ping"))
        instance.prepare(settings.dagster_home, daemon_is_down=True)  # once, before two processes open it together
        port = port or free_port()
        ui = f"http://127.0.0.1:{port}"
        settings = replace(settings, ui_url=ui)
        command = ["alphaforge_assets.cli.webserver", "--port", str(port)]
        parts.start("UI", command, settings, lambda: answers(f"{ui}/server_info"))
        command = ["dagster._daemon", "run", "--workspace", str(instance.WORKSPACE)]

        def before_again() -> bool:
            instance.prepare(settings.dagster_home, daemon_is_down=True)  # its runs died with it: they are tried again
            return True

        parts.start("daemon", command, settings, lambda: True, before_again)
        if settings.live_updates and settings.stream and streamed(universe):
            parts.start("stream", ["alphaforge_assets.cli.main", "stream"], settings, lambda: True, is_vital=False)
        _announce(parts, settings)
        notify_ready()
        parts.watch()


def _start_warehouse(parts: "Parts", settings: "Settings", port: int) -> None:
    """The embedded warehouse, unless one is running in this home: then that one is used, as by every command."""
    from alphaforge_assets.cli.processes import free_port
    from alphaforge_assets.warehouse.local import running

    data = settings.home / "warehouse"
    if address := running(data):
        if port and port != address.port:
            raise Occupied(
                f"the warehouse of {settings.home} runs already, on port {address.port}: leave out --warehouse-port"
            )
        return
    command = ["alphaforge_assets.warehouse.embedded", "--data", str(data), "--port", str(port or free_port())]
    # Whoever needs a warehouse while there is none starts one for as long: ours follows it.
    parts.start("warehouse", command, settings, lambda: running(data) is not None, lambda: running(data) is None)


def _announce(parts: "Parts", settings: "Settings") -> None:
    from rich.table import Table

    from alphaforge_assets.warehouse.local import running

    its_own = None if settings.clickhouse_url else running(settings.home / "warehouse")
    facts = {
        "Dagster UI": settings.ui_url or "",
        "warehouse": str(its_own or "the server of CLICKHOUSE_URL"),
        "venues": settings.venues_url or "live",
        "home": str(settings.home),
    }
    parts.journal.announce(facts)
    if parts.journal.file.form == "json":
        return
    shown = Table(box=None, show_header=False, pad_edge=False)
    for name, value in facts.items():
        shown.add_row(f"[bold]{name}[/bold]" if value == settings.ui_url else name, value)
    say(shown)
    names = ", ".join(part.name for part in parts.started)
    say(f"[dim]{names} are up; logs in {settings.home / 'logs'}. Ctrl-C ends them all.[/dim]")
