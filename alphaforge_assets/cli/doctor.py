"""`alphaforge doctor`: what is wrong with a home and its machine, and what to do about it."""

import datetime as dt
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import click

from alphaforge_assets.cli.arguments import machine_readable, port
from alphaforge_assets.cli.opened import environment
from alphaforge_assets.cli.screen import print_json, say

if TYPE_CHECKING:
    from alphaforge_assets.health.findings import Finding
    from alphaforge_assets.settings import Settings
    from alphaforge_assets.universe import Universe

COLOURS = {"ok": "green", "note": "yellow", "wrong": "bold red"}


@click.command()
@port("--port", 3000, "The port that `up` will ask for.")
@click.option("--disk-min", type=click.FloatRange(0), metavar="GB", help="Less free disk than this is wrong.  [2]")
@click.option("--clocks/--no-clocks", default=True, help="Ask each venue for its time.  [yes]")
@machine_readable()
def doctor(port: int, disk_min: float | None, clocks: bool, as_json: bool) -> None:
    """What is wrong here, and what to do about it. Starts nothing and changes nothing.

    Works while `alphaforge up` runs, while nothing does, and before there is anything. Each venue is asked one
    question, which counts against its rate limit as any other.

    Exit code: 0 nothing is wrong (there may be notes), 1 something is, 2 a setting or option cannot be.
    """
    from alphaforge_assets.health.findings import is_well

    settings, universe = environment()
    settings = _as_up_asks(settings)
    findings = [*_of_machine(settings, port, disk_min), *_of_service(settings)]
    if clocks:
        findings += _of_venues(settings, universe)
    if as_json:
        print_json({"well": is_well(findings), "findings": [asdict(finding) for finding in findings]})
    else:
        _print(findings)
    sys.exit(0 if is_well(findings) else 1)


def _as_up_asks(settings: "Settings") -> "Settings":
    """With the venues of the `up` that runs in the home: `--venues` was said to it, and not to this shell."""
    from alphaforge_assets.health import parts

    lives = parts.read(settings.home) if parts.is_up(settings.home) else None
    return replace(settings, venues_url=None if lives.venues == "live" else lives.venues) if lives else settings


def _of_machine(settings: "Settings", port: int, disk_min: float | None) -> "Iterator[Finding]":
    from alphaforge_assets.health import machine
    from alphaforge_assets.health.findings import looked
    from alphaforge_assets.health.settings import contradictions
    from alphaforge_assets.settings import dagster_home_of_environment

    home = settings.home
    yield from looked("versions", machine.versions)
    yield from looked("settings", lambda: contradictions(settings, dagster_home_of_environment()))
    yield from looked("home", lambda: machine.home(home))
    yield from looked("fence", machine.fence)
    yield from looked("files", machine.files)
    yield from looked("disk", lambda: machine.disk(home, machine.DISK_FREE_GB if disk_min is None else disk_min))
    yield from looked("locks", lambda: machine.locks(home))
    yield from looked("port", lambda: machine.port(home, port))


def _of_service(settings: "Settings") -> "Iterator[Finding]":
    from alphaforge_assets.health import parts, service
    from alphaforge_assets.health.findings import looked

    now = dt.datetime.now(dt.UTC)
    yield from looked("up", lambda: parts.up(settings.home, now))
    yield from looked("warehouse", lambda: service.warehouse(settings))
    yield from looked("schema", lambda: service.tables(settings))
    yield from looked("runs", lambda: service.runs(settings, now))


def _of_venues(settings: "Settings", universe: "Universe") -> "Iterator[Finding]":
    from alphaforge_assets.health import machine
    from alphaforge_assets.health.findings import looked
    from alphaforge_assets.venues.directory import Exchanges

    exchanges = Exchanges(settings.origin, settings.venues_url, settings.governor_file, settings.keys)
    venues = {instrument.venue for instrument in universe.instruments}
    yield from looked("clocks", lambda: machine.clocks(exchanges, venues))


def _print(findings: "Sequence[Finding]") -> None:
    from rich.markup import escape
    from rich.table import Table

    shown = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    shown.add_column(no_wrap=True)
    shown.add_column(no_wrap=True)
    shown.add_column(overflow="fold")
    for f in findings:
        to_do = f"\n→ {escape(f.to_do)}" if f.to_do else ""
        shown.add_row(f"[{COLOURS[f.state]}]{f.state}[/]", f.name, f"{escape(f.what)}{to_do}")
    say(shown)
    counts = {state: sum(f.state == state for f in findings) for state in COLOURS}
    words = f"{counts['wrong']} wrong, {counts['note']} to note, {counts['ok']} well"
    say(f"[{'red' if counts['wrong'] else 'green'}]{words}[/]")
