"""`alphaforge gaps`: what is missing and why."""

import datetime as dt
import json
from collections.abc import Sequence
from typing import Any

import click

from alphaforge_assets.cli.arguments import check_range, instruments, machine_readable, moment, span
from alphaforge_assets.cli.coverage import read, series
from alphaforge_assets.cli.screen import count, minute, print_json, say, table

GAPS_SHOWN_MAX = 100
EARLIEST = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
LATEST = dt.datetime(2200, 1, 1, tzinfo=dt.UTC)


@click.command()
@instruments("Key or glob, such as 'binance_spot.*'. [all]")
@span(moment, "Gaps that end after this, UTC, as 2025-05-01. [all]", "Gaps that begin before this.", required=False)
@click.option("--all", "all_of_them", is_flag=True, help="Also those that were filled.")
@machine_readable(", with the figures behind each verdict")
def gaps(
    patterns: Sequence[str], start: dt.datetime | None, end: dt.datetime | None, all_of_them: bool, as_json: bool
) -> None:
    """What is missing, since when, and why: every gap with its verdict and the evidence.

    With --from or --to, the gaps that have a part in that range, whole.
    """
    first, last = start or EARLIEST, end or LATEST
    check_range(first, last)
    rows = read("reads/gaps", patterns, with_filled=all_of_them)
    rows = [row for row in rows if row["gap_end"] > first and row["gap_start"] < last]
    if as_json:
        print_json([row | {"figures": json.loads(row["figures"])} for row in rows])
    else:
        print_gaps(rows)


def print_gaps(rows: Sequence[dict[str, Any]]) -> None:
    """A line a gap and its evidence below it, so that 80 columns are enough."""
    if not rows:
        say("no gaps: what was asked for is there (`alphaforge coverage` says what was looked at)")
        return
    shown = table("Instrument", "Bar", "From", figures=["Missing"])
    shown.add_column("Verdict")
    for row in rows[:GAPS_SHOWN_MAX]:
        shown.add_row(*series(row), minute(row["gap_start"]), count(row["missing"]), _verdict(row))
    say(shown)
    told: set[str] = set()
    say("\n[bold]Evidence[/bold]")
    for row in rows[:GAPS_SHOWN_MAX]:
        if row["evidence"] not in told:
            told.add(row["evidence"])
            say(f"{row['verdict']}, {minute(row['gap_start'])}: {row['evidence']}", markup=False)
    if len(rows) > GAPS_SHOWN_MAX:
        say(f"[dim]{count(len(rows) - GAPS_SHOWN_MAX)} more: see --json or analytics.v_gaps[/dim]")


def _verdict(row: dict[str, Any]) -> str:
    from alphaforge_assets.verdicts import UNEXPLAINED

    if not row["is_open"]:
        return "[green]filled[/green]"
    return f"[yellow]{row['verdict']}[/yellow]" if row["verdict"] in UNEXPLAINED else str(row["verdict"])
