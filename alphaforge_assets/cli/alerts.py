"""`alphaforge alerts`: what is wrong now, who was told, and whether a message arrives at all."""

import datetime as dt
import sys
from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from alphaforge_assets.cli.arguments import machine_readable
from alphaforge_assets.cli.opened import environment, warehouse_and_dagster
from alphaforge_assets.cli.screen import minute, print_json, say
from alphaforge_assets.errors import BadInput

if TYPE_CHECKING:
    from alphaforge_assets.alerts.troubles import Trouble


@click.command()
@click.option("--test", "is_test", is_flag=True, help="Send each receiver a test message and say what came back.")
@machine_readable()
def alerts(is_test: bool, as_json: bool) -> None:
    """What is wrong now, and who was told of it.

    \b
    ALPHAFORGE_ALERTS names who is told: URLs, separated by spaces or commas.
      https://hooks.slack.com/services/T000/B000/KEY   Slack
      slack+https://mattermost.example/hooks/xxx       what else reads Slack's format
      https://example.org/hook                         any other: POST of plain JSON
    ALPHAFORGE_ALERT_SCORE (90): days of a lower quality score are told of.

    `alphaforge up` looks once a minute. Each trouble is told of once, and again when it is over; a receiver that does
    not answer is told later. Exit code of --test: 1 if one of them did not take the message.
    """
    if is_test:
        sys.exit(0 if _test() else 1)
    _look(as_json)


def _test() -> bool:
    import socket

    from alphaforge_assets.settings import settings_from_environment
    from alphaforge_assets.webhooks import EXAMPLE, post

    receivers = settings_from_environment().alerts
    if not receivers:
        raise BadInput(f"ALPHAFORGE_ALERTS is not set, so there is nobody to tell: write {EXAMPLE}")
    says = f"AlphaForge on {socket.gethostname()}: this is a test message; nothing is wrong."
    receipts = [post(webhook, says, {"test": True}) for webhook in receivers]
    for r in receipts:
        say(f"{r.webhook.shown} ({r.webhook.kind}): {r.answer}", style=None if r.is_taken else "red", markup=False)
    return all(r.is_taken for r in receipts)


def _look(as_json: bool) -> None:
    from alphaforge_assets.alerts.messages import identity
    from alphaforge_assets.alerts.sensor import told_so_far
    from alphaforge_assets.alerts.troubles import look

    settings, universe = environment()
    with warehouse_and_dagster(settings) as (_, dagster):
        troubles = look(dagster, settings, universe, dt.datetime.now(dt.UTC)).troubles
        told = told_so_far(dagster)
    knows = {w.shown: told.get(identity(w), {}) for w in settings.alerts}
    ours = {identity(w) for w in settings.alerts}  # of this shell; `up` may have been started in another one
    knows |= {f"one named where `alphaforge up` runs ({of[:6]})": its for of, its in told.items() if of not in ours}
    if as_json:
        since = [{"since": str(t.since), "told": [w for w, its in knows.items() if t.key in its]} for t in troubles]
        rows = [asdict(t) | more for t, more in zip(troubles, since, strict=True)]
        print_json({"receivers": list(knows), "troubles": rows})
    else:
        _print(troubles, knows)


def _print(troubles: "Collection[Trouble]", knows: Mapping[str, Collection[str]]) -> None:
    from rich.table import Table

    from alphaforge_assets.alerts.troubles import KINDS

    for kind, about in KINDS.items():
        if its := [t for t in troubles if t.kind == kind]:
            say(f"[bold]{about.title}[/bold] ({len(its)})")
            shown = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
            for t in its:
                told = sum(t.key in keys for keys in knows.values())
                shown.add_row(t.subject, minute(t.since), f"told {told} of {len(knows)}" if knows else "", t.about)
            say(shown)
            say(f"[dim]{about.to_do}[/dim]\n")
    if not troubles:
        say("nothing is wrong")
    nobody = "nobody that is known of here: ALPHAFORGE_ALERTS is not set (see `alphaforge alerts --help`)"
    told_to = ", ".join(knows) or nobody
    say(f"[dim]Told of new troubles by `alphaforge up`: {told_to}[/dim]")
