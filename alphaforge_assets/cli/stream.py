"""`alphaforge stream`: bars within a second of their close, over the venues' WebSockets; and how that goes."""

import contextlib
import signal
import threading
import time
from typing import TYPE_CHECKING

import click

from alphaforge_assets.cli.opened import environment, loading, warehouse
from alphaforge_assets.cli.screen import say

if TYPE_CHECKING:
    from rich.table import Table

    from alphaforge_assets.settings import Settings
    from alphaforge_assets.stream.status import Status


@click.command()
@click.option("--status", "shows_status", is_flag=True, help="Show how the running stream of this home goes, and end.")
def stream(shows_status: bool) -> None:
    """Hear the venues' streams and publish each bar of 1m within a second of the word that it closed.

    `up` runs it by itself. What venues say is kept word for word below the home; minutes that a stream did not tell are
    asked of REST. Ctrl-C ends it, with everything heard on disk. Without a network it waits, and says so once.
    """
    settings, universe = environment(opens_warehouse=not shows_status)
    if shows_status:
        _show(settings)
        return
    with loading():
        import asyncio

        import stamina

        from alphaforge_assets.backup.place import place
        from alphaforge_assets.stream.process import Stream, alone
        from alphaforge_assets.stream.subscribing import streamed
        from alphaforge_assets.venues.directory import Exchanges
        from alphaforge_assets.warehouse.origins import refuse_mixing

    its = streamed(universe)
    if not its:
        say("no instrument of the universe has bars of 1m that a stream tells: nothing to hear")
        return
    stamina.instrumentation.set_on_retry_hooks([])  # what is asked again and again is said once
    exchanges = Exchanges(settings.origin, settings.venues_url, settings.governor_file, settings.keys)
    settings.dagster_home.mkdir(parents=True, exist_ok=True)  # has the locks of publishing
    with alone(settings.home), warehouse(settings) as loading_client, warehouse(settings) as mending:
        refuse_mixing(loading_client, settings.origin)
        kept = place(str(settings.home / "segments"), settings.s3_endpoint)
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        say(f"{len(its)} instruments are heard; `alphaforge stream --status` shows how it goes. Ctrl-C ends it.")
        asyncio.run(Stream(settings, universe, exchanges, loading_client, mending, kept, say, stop).live())


def _show(settings: "Settings") -> None:
    from alphaforge_assets.stream.status import read

    status = read(settings.home)
    if status is None or status.is_stale:
        ago = "" if status is None else f"; the last one was seen {time.time() - status.written_at:.0f} s ago"
        say(f"no stream runs in {settings.home}{ago}: `alphaforge stream` starts one, and so does `alphaforge up`")
        return
    say(_wires(status))
    say(_bars(status))
    with contextlib.suppress(IndexError):
        ordered = sorted(status.latency_s)
        say(
            f"{status.loaded} bars loaded, {status.repaired} from REST; close message to published: median"
            f" {ordered[len(ordered) // 2]:.2f} s, worst {ordered[-1]:.2f} s of the last {len(ordered)}"
        )
    if status.trouble:
        say(f"[yellow]{status.trouble}[/yellow]")


def _wires(status: "Status") -> "Table":
    table = _table()
    for name in ("stream", "instruments", "heard", "messages", "again", "trouble"):
        table.add_column(name, justify="left" if name in ("stream", "trouble") else "right")
    for wire in status.wires:
        ago = f"{time.time() - wire.last_at:.0f} s ago" if wire.is_connected and wire.last_at else "[yellow]no[/yellow]"
        table.add_row(wire.feed, str(wire.instruments), ago, f"{wire.messages:,}", str(wire.reconnects), wire.trouble)
    return table


def _bars(status: "Status") -> "Table":
    import datetime as dt

    table = _table()
    for name in ("instrument", "last bar", "close after", "published after"):
        table.add_column(name, justify="left" if name == "instrument" else "right")
    for last in status.last:
        opened = dt.datetime.fromtimestamp(last.open_ms / 1000, dt.UTC)
        table.add_row(last.key, f"{opened:%H:%M}", f"{last.lag_s:.1f} s", f"{last.published_at - last.at:.2f} s")
    return table


def _table() -> "Table":
    from rich.table import Table

    return Table(box=None, pad_edge=False)
