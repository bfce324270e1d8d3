"""`alphaforge pin | snapshots | verify | diff | unpin`: what is asked, what came of it, and an event for the lineage.

As diff(1): exit code 0 when nothing differs, 1 when something does, 2 for a question that cannot be.
"""

import datetime as dt
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from alphaforge_assets.cli.arguments import datasets, instruments, machine_readable, moment, span, words
from alphaforge_assets.cli.opened import environment, warehouse
from alphaforge_assets.cli.screen import count, minute, print_json, say, table
from alphaforge_assets.errors import BadInput

if TYPE_CHECKING:
    import pandas as pd

    from alphaforge_assets.research.hashes import Difference
    from alphaforge_assets.research.snapshots import Snapshot
    from alphaforge_assets.settings import Settings
    from alphaforge_assets.universe import Instrument

PLACES_SHOWN_MAX = 50


@click.command()
@click.argument("name", help="The name of a snapshot.")
@datasets(": bars, funding_rates, …")
@instruments("Key or glob, such as 'binance_spot.*'; repeat or separate by commas.")
@click.option("--interval", "intervals", multiple=True, callback=words,
              help="Bar length, such as 1h; repeat or separate by commas.")  # fmt: skip
@span(moment, "Start, UTC, as 2025-05-01 or 2025-05-01T12:00.", "End, which is not in it.")
def pin(
    name: str,
    datasets: Sequence[str],
    patterns: Sequence[str],
    intervals: Sequence[str],
    start: dt.datetime,
    end: dt.datetime,
) -> None:
    """Give what is there now a name under which it stays as it is.

    \b
    Nothing is copied. Later revisions become new versions beside the pinned ones, and what is read of the
    snapshot never changes; `alphaforge verify` proves it by its hashes.
    Pinning the same again changes nothing; a name that stands for something else is refused.

    \b
      alphaforge pin study1 --instruments 'binance_spot.*' --interval 1h --from 2025-05-01 --to 2025-06-01
      alphaforge pin carry --datasets bars,funding_rates --instruments okx_perp.BTC-USDT --interval 1m \\
          --from 2025-05-01 --to 2025-06-01
    """
    from alphaforge_assets.research import hashes, snapshots
    from alphaforge_assets.research.reading import kept_once

    settings, universe = environment(opens_warehouse=True)

    def ever() -> "list[Instrument]":
        if not (settings.clickhouse_url or settings.home.exists()):
            return []  # a typo makes no home
        with warehouse(settings) as client:
            return kept_once(client, datasets)

    wanted = hashes.contents(universe, patterns, intervals, start, end, datasets, ever)
    snapshots.check_name(name)
    with warehouse(settings) as client:
        snapshot = snapshots.pin(client, name, wanted)
        found = snapshots.pinned_hashes(client, snapshot)
        _report(settings, snapshot)
    say(f"{snapshot.name}: {count(snapshot.rows)} rows as of {_instant(snapshot.pinned_at)}", markup=False)
    say(f"content {snapshot.content}", markup=False)
    empty = sorted(set(snapshot.instruments) - {instrument for _, instrument, _, _ in found})
    if empty:
        say(f"[yellow]no rows of {', '.join(empty[:5])}{_more(len(empty) - 5)}[/yellow]")


@click.command()
@machine_readable()
def snapshots(as_json: bool) -> None:
    """List the snapshots: name, instant, what they hold and how many rows."""
    from alphaforge_assets.research import snapshots

    with warehouse() as client:
        found = snapshots.listed(client)
    if as_json:
        print_json([_plain(s) for s in found])
        return
    if not found:
        say("no snapshots: `alphaforge pin --help` says how to make one")
        return
    shown = table("Name", "Pinned at", "Holds", "From", "To", figures=["Rows"])
    for s in found:
        holds = f"{', '.join(s.datasets)} {' '.join(s.intervals)}, {count(len(s.instruments))} instruments"
        shown.add_row(s.name, minute(s.pinned_at), holds, minute(s.start), minute(s.end), count(s.rows))
    say(shown)


@click.command()
@click.argument("name", help="The name of a snapshot.")
def verify(name: str) -> None:
    """Prove by its hashes that a snapshot still is what was pinned: every row is read and hashed again.

    Exit code 0 if it is, 1 with the months that are not.
    """
    from alphaforge_assets.research import snapshots

    with warehouse() as client:
        found = snapshots.verify(client, name)
        snapshot = snapshots.find(client, name)
    if not found:
        say(f"{name}: {count(snapshot.rows)} rows are as pinned at {_instant(snapshot.pinned_at)}")
        return
    _print_places(found)
    say(f"[red]{name} is not what was pinned: {count(len(found))} months differ[/red]")
    sys.exit(1)


@click.command()
@click.argument("name", help="The name of a snapshot.")
@click.argument("other", required=False, help="The other one; without it, what is there now.")
@click.option(
    "--rows", "rows_max", type=click.IntRange(1, 100_000), default=20, show_default=True, help="How many rows to show."
)
@click.option("--csv", "as_csv", is_flag=True, help="A line a row and column that differs, with all that is known.")
def diff(name: str, other: str | None, rows_max: int, as_csv: bool) -> None:
    """What is not the same in two snapshots, or in one and what is there now; with the batch that changed it.

    \b
    Exit code as diff(1): 0 if nothing differs, 1 if something does.
      alphaforge diff study1            what has changed since it was pinned
      alphaforge diff study1 study2     from the first to the second
    """
    from alphaforge_assets.research import snapshots

    with warehouse() as client:
        frame = snapshots.diff(client, name, other, rows_max)
    if as_csv:
        click.echo(frame.to_csv(index=False), nl=False)
    elif frame.empty:
        say(f"{name} and {other or 'what is there now'} are the same")
    else:
        _print_diff(frame)
    sys.exit(0 if frame.empty else 1)


@click.command()
@click.argument("name", help="The name of a snapshot.")
@click.option("--yes", is_flag=True, help="Do not ask for the name again.")
def unpin(name: str, yes: bool) -> None:
    """Take the name off a snapshot. Its rows stay in history, and a trace of it in analytics.snapshots."""
    from alphaforge_assets.research import snapshots

    with warehouse() as client:
        snapshots.find(client, name)
        if not yes:
            if not sys.stdin.isatty():
                raise BadInput(f"unpin {name}: nobody is there to confirm it; say --yes")
            if click.prompt(f"Type the name of the snapshot to unpin it ({name})") != name:
                raise BadInput(f"unpin {name}: that was another name; nothing was done")
        gone = snapshots.unpin(client, name)
    say(f"{gone.name} is no longer pinned; it was content {gone.content}", markup=False)


def _report(settings: "Settings", snapshot: "Snapshot") -> None:
    """Tell the Dagster instance, so that the lineage shows what was pinned from history, and when."""
    import dagster as dg

    from alphaforge_assets import instance

    with instance.opened(settings.dagster_home) as opened:
        latest = opened.get_latest_materialization_event(dg.AssetKey("snapshots"))
        last = latest.asset_materialization if latest else None
        told = last.metadata.get("snapshot_id") if last else None
        if told is None or told.value != snapshot.snapshot_id:
            opened.report_runless_asset_event(
                dg.AssetMaterialization("snapshots", description=snapshot.name, metadata=_plain(snapshot))
            )


def _print_places(found: "Sequence[Difference]") -> None:
    shown = table("Dataset", "Instrument", "Bar", "Month", figures=("Pinned", "Found"))
    for d in found[:PLACES_SHOWN_MAX]:
        month, rows = f"{d.month:%Y-%m}", (count(d.rows_pinned), count(d.rows_found))
        shown.add_row(d.dataset, d.instrument, d.interval, month, *rows)
    say(shown)
    say(f"[dim]Rows; equal counts mean changed values{_more(len(found) - PLACES_SHOWN_MAX)}[/dim]")


def _print_diff(frame: "pd.DataFrame") -> None:
    """A row that differs on a line, what differs of it below, so that 80 columns are enough."""
    for _, lines in frame.groupby(["dataset", "instrument", "interval", "timestamp", "rate_type"], sort=False):
        row = lines.iloc[0]
        kind = " ".join(word for word in (row["interval"], row["rate_type"]) if word)
        say(f"[bold]{row['dataset']} {row['instrument']} {kind} {minute(row['timestamp'])}[/bold] {row['change']}")
        if row["change"] == "changed":
            for _, line in lines.iterrows():
                say(f"  {line['column']}: {line['old']} → {line['new']}", markup=False)
        say(f"[dim]  batch {row['batch_id']}, {row['source']}, published {_instant(row['published_at'])}[/dim]")
    if not frame.attrs["is_complete"]:
        say("[yellow]and more: --rows shows more of them, --csv all that is known of each[/yellow]")


def _plain(s: "Snapshot") -> dict[str, Any]:
    return {
        "name": s.name,
        "snapshot_id": s.snapshot_id,
        "pinned_at": s.pinned_at.isoformat(),
        "datasets": list(s.datasets),
        "instruments": list(s.instruments),
        "intervals": list(s.intervals),
        "start": s.start.isoformat(),
        "end": s.end.isoformat(),
        "rows": s.rows,
        "content": s.content,
    }


def _instant(moment: dt.datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03d} UTC"


def _more(n: int) -> str:
    return f" and {n:,} more" if n > 0 else ""
