"""`alphaforge gaps` and `alphaforge coverage`: what is missing and why, and how complete each series is."""

import datetime as dt
import fnmatch
import json
from collections.abc import Sequence
from typing import Any

import click
from clickhouse_connect.driver.client import Client
from rich.table import Table

from alphaforge_assets.cli.screen import count, minute, screen
from alphaforge_assets.settings import settings_from_environment
from alphaforge_assets.universe import FEAR_GREED, Instrument, load_universe
from alphaforge_assets.verdicts import UNEXPLAINED
from alphaforge_assets.warehouse import schema, statements
from alphaforge_assets.warehouse.client import open_warehouse

GAPS_SHOWN_MAX = 100


def show_gaps(patterns: Sequence[str], all_of_them: bool, as_json: bool) -> None:
    """Raises BadInput for a pattern that matches no instrument, WarehouseDown, WarehouseRefused."""
    rows = _read("reads/gaps", patterns, with_filled=all_of_them)
    if as_json:
        click.echo(json.dumps([row | {"figures": json.loads(row["figures"])} for row in rows], default=_text))
    else:
        print_gaps(rows)


def show_coverage(patterns: Sequence[str], as_json: bool) -> None:
    """Raises BadInput for a pattern that matches no instrument, WarehouseDown, WarehouseRefused."""
    rows = _read("reads/coverage", patterns)
    if as_json:
        click.echo(json.dumps(rows, default=_text))
    else:
        print_coverage(rows)


def scores(client: Client, instruments: Sequence[Instrument]) -> dict[tuple[str, str, str], float]:
    """Mean score by (venue, symbol, interval), that of funding is called "funding"."""
    rows = statements.rows(client, "reads/coverage", instruments=[i.instrument_id for i in instruments])
    return {(r["venue"], r["symbol"], _bar(r)): r["score"] for r in rows}


def print_gaps(rows: Sequence[dict[str, Any]]) -> None:
    """A line a gap and its evidence below it, so that 80 columns are enough."""
    if not rows:
        screen.print("no gaps: what was asked for is there (`alphaforge coverage` says what was looked at)")
        return
    table = Table("Instrument", "Bar", "From", box=None, pad_edge=False, collapse_padding=True)
    table.add_column("Missing", justify="right")
    table.add_column("Verdict")
    for row in rows[:GAPS_SHOWN_MAX]:
        table.add_row(
            f"{row['venue']}.{row['symbol'].replace('/', '-')}", _bar(row), minute(row["gap_start"]),
            count(row["missing"]), _verdict(row),
        )  # fmt: skip
    screen.print(table)
    told: set[str] = set()
    screen.print("\n[bold]Evidence[/bold]")
    for row in rows[:GAPS_SHOWN_MAX]:
        if row["evidence"] not in told:
            told.add(row["evidence"])
            screen.print(f"{row['verdict']}, {minute(row['gap_start'])}: {row['evidence']}", markup=False)
    if len(rows) > GAPS_SHOWN_MAX:
        screen.print(f"[dim]{count(len(rows) - GAPS_SHOWN_MAX)} more: see --json or analytics.v_gaps[/dim]")


def print_coverage(rows: Sequence[dict[str, Any]]) -> None:
    """A line a series."""
    if not rows:
        screen.print("nothing was looked at yet: coverage is computed by every run")
        return
    table = Table("Instrument", "Bar", box=None, pad_edge=False, collapse_padding=True)
    for name in ("Days", "Expected", "Missing", "Unexplained", "Score", "Worst"):
        table.add_column(name, justify="right")
    for row in rows:
        left = row["missing"] - row["explained"]
        table.add_row(
            f"{row['venue']}.{row['symbol'].replace('/', '-')}", _bar(row), count(row["days"]),
            count(row["expected"]), count(row["missing"]), f"[yellow]{count(left)}[/yellow]" if left else "0",
            f"{row['score']:.1f}", f"{row['score_min']:.1f}",
        )  # fmt: skip
    screen.print(table)
    screen.print(
        "[dim]Score: 0 to 100, the mean of its days; completeness 60, finality 15, agreement 15, freshness 10.[/dim]"
    )


def _read(statement: str, patterns: Sequence[str], **parameters: Any) -> list[dict[str, Any]]:
    settings = settings_from_environment()
    kept = load_universe(settings.universe_file)
    of_exchanges = [p for p in patterns if not fnmatch.fnmatchcase(FEAR_GREED.key, p)]
    instruments = kept.select(of_exchanges) if patterns else kept.instruments
    if len(of_exchanges) < len(patterns) or not patterns:
        instruments = (*instruments, FEAR_GREED)
    with open_warehouse(settings.home, settings.clickhouse_url) as client:
        schema.ensure(client, settings.home, settings.clickhouse_url)
        return statements.rows(client, statement, instruments=[i.instrument_id for i in instruments], **parameters)


def _bar(row: dict[str, Any]) -> str:
    return str(row["interval"]) or "funding"


def _verdict(row: dict[str, Any]) -> str:
    if not row["is_open"]:
        return "[green]filled[/green]"
    return f"[yellow]{row['verdict']}[/yellow]" if row["verdict"] in UNEXPLAINED else str(row["verdict"])


def _text(moment: dt.date) -> str:
    return moment.isoformat()
