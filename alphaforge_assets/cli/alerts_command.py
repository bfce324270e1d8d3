"""`alphaforge alerts`: what is wrong now, who was told, and whether a message arrives at all."""

import json
import sys

import click


@click.command()
@click.option("--test", "is_test", is_flag=True, help="Send each receiver a test message and say what came back.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
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
    _show(as_json)


def _test() -> bool:
    import socket

    from alphaforge_assets.cli.screen import screen
    from alphaforge_assets.errors import BadInput
    from alphaforge_assets.settings import settings_from_environment
    from alphaforge_assets.webhooks import EXAMPLE, post

    receivers = settings_from_environment().alerts
    if not receivers:
        raise BadInput(f"ALPHAFORGE_ALERTS is not set, so there is nobody to tell: write {EXAMPLE}")
    says = f"AlphaForge on {socket.gethostname()}: this is a test message; nothing is wrong."
    receipts = [post(webhook, says, {"test": True}) for webhook in receivers]
    for r in receipts:
        screen.print(
            f"{r.webhook.shown} ({r.webhook.kind}): {r.answer}", style=None if r.is_taken else "red", markup=False
        )
    return all(r.is_taken for r in receipts)


def _show(as_json: bool) -> None:
    import datetime as dt
    from dataclasses import asdict

    from rich.table import Table

    from alphaforge_assets import instance
    from alphaforge_assets.alerts.messages import identity
    from alphaforge_assets.alerts.sensor import told_so_far
    from alphaforge_assets.alerts.troubles import KINDS, look
    from alphaforge_assets.cli.screen import minute, screen
    from alphaforge_assets.settings import settings_from_environment
    from alphaforge_assets.universe import load_universe
    from alphaforge_assets.warehouse import schema
    from alphaforge_assets.warehouse.client import open_warehouse

    settings = settings_from_environment()
    universe = load_universe(settings.universe_file)
    with (
        open_warehouse(settings.home, settings.clickhouse_url) as client,
        instance.opened(settings.dagster_home) as opened,
    ):
        schema.ensure(client, settings.home, settings.clickhouse_url)
        now = look(opened, settings, universe, dt.datetime.now(dt.UTC))
        told = told_so_far(opened)
    knows = {w.shown: told.get(identity(w), {}) for w in settings.alerts}
    if as_json:
        rows = [asdict(t) | {"told": [w for w, its in knows.items() if t.key in its]} for t in now.troubles]
        click.echo(json.dumps({"receivers": list(knows), "troubles": rows}, default=str))
        return
    for kind, about in KINDS.items():
        if troubles := [t for t in now.troubles if t.kind == kind]:
            screen.print(f"[bold]{about.title}[/bold] ({len(troubles)})")
            table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
            for t in troubles:
                count = sum(t.key in its for its in knows.values())
                table.add_row(t.subject, minute(t.since), f"told {count} of {len(knows)}" if knows else "", t.about)
            screen.print(table)
            screen.print(f"[dim]{about.to_do}[/dim]\n")
    if not now.troubles:
        screen.print("nothing is wrong")
    told_to = ", ".join(knows) or "nobody: ALPHAFORGE_ALERTS is not set (see `alphaforge alerts --help`)"
    screen.print(f"[dim]Told of new troubles by `alphaforge up`: {told_to}[/dim]", markup=True)
