"""What there is, as a table for people or JSON for programs."""

import datetime as dt
import json
import sys
from collections import defaultdict
from typing import Any

import click
from clickhouse_connect.driver.client import Client
from rich.table import Table

from alphaforge_assets.cli.gaps import scores
from alphaforge_assets.cli.screen import age, count, minute, screen
from alphaforge_assets.intervals import INTERVAL_MS
from alphaforge_assets.settings import settings_from_environment
from alphaforge_assets.universe import FEAR_GREED, Universe, load_universe
from alphaforge_assets.warehouse import schema, statements
from alphaforge_assets.warehouse.client import open_warehouse


def show_universe(as_json: bool) -> None:
    settings = settings_from_environment()
    kept = load_universe(settings.universe_file)
    if as_json:
        rows = [
            {
                "instrument": i.key,
                "instrument_id": i.instrument_id,
                "ccxt_symbol": i.ccxt_symbol,
                "listed_from": i.listed_from.isoformat(),
                "listed_until": i.listed_until.isoformat() if i.listed_until else None,
            }
            for i in kept.instruments
        ]
        click.echo(
            json.dumps(
                {"history_start": kept.history_start.isoformat(), "intervals": kept.intervals, "instruments": rows}
            )
        )
        return
    table = Table(
        "Venue",
        "Instruments",
        title=f"{len(kept.instruments)} instruments from {kept.history_start}, {', '.join(kept.intervals)}",
    )
    for venue in kept.venues:
        table.add_row(venue, ", ".join(i.symbol for i in kept.instruments if i.venue == venue))
    screen.print(table)
    screen.print(f"[dim]{settings.universe_file}[/dim]")


def show_status(as_json: bool) -> None:
    settings = settings_from_environment()
    kept = load_universe(settings.universe_file)
    with open_warehouse(settings.home, settings.clickhouse_url) as client:
        schema.ensure(client, settings.home, settings.clickhouse_url)
        rows = status_rows(client, kept)
    if as_json:
        click.echo(json.dumps(rows, default=lambda moment: moment.isoformat()))
        return
    print_status(rows)


def status_rows(client: Client, kept: Universe) -> list[dict[str, Any]]:
    """One dict per instrument and interval that was ever asked for, in the order of the universe; Fear & Greed last.

    The interval of funding is "funding".
    """
    names = {(i.venue, i.symbol): i.key for i in kept.instruments}
    asked = {"instruments": [i.instrument_id for i in kept.instruments], "now": dt.datetime.now(dt.UTC)}
    found = statements.rows(client, "reads/status", **asked) + _funding_rows(client, asked)
    scored = scores(client, kept.instruments)
    rows = []
    for row in found:
        has_rows = row["rows"] > 0
        moments = {"first": row["first"] if has_rows else None, "last": row["last"] if has_rows else None}
        score = {"score": scored.get((row["venue"], row["symbol"], row["interval"]))}
        rows.append({"instrument": names[row["venue"], row["symbol"]]} | row | moments | score)
    place = {key: n for n, key in enumerate(kept.by_key)}
    rows.sort(key=lambda row: (place[row["instrument"]], INTERVAL_MS.get(row["interval"], sys.maxsize)))
    return rows + _fear_greed_rows(client)


def _funding_rows(client: Client, asked: dict[str, Any]) -> list[dict[str, Any]]:
    found = statements.rows(client, "reads/status_funding_rates", **asked)
    if not found:
        return []
    missing: dict[tuple[str, str], int] = defaultdict(int)
    first, last = dt.datetime(2009, 1, 3, tzinfo=dt.UTC), max(row["answered_until"] for row in found)
    for hole in statements.rows(
        client, "checks/funding_rates/settlements_are_complete", instruments=asked["instruments"], start=first, end=last
    ):
        missing[hole["venue"], hole["symbol"]] += hole["rows"]
    return [row | {"missing": missing[row["venue"], row["symbol"]]} for row in found]


def _fear_greed_rows(client: Client) -> list[dict[str, Any]]:
    found = statements.rows(
        client,
        "reads/status_fear_greed_index",
        venue=FEAR_GREED.venue,
        symbol=FEAR_GREED.symbol,
        instruments=[FEAR_GREED.instrument_id],
        now=dt.datetime.now(dt.UTC),
    )
    scored = scores(client, [FEAR_GREED])
    score = scored.get((FEAR_GREED.venue, FEAR_GREED.symbol, "1d"))
    return [{"instrument": FEAR_GREED.key, "score": score} | row for row in found]


def print_status(rows: list[dict[str, Any]]) -> None:
    if not rows:
        screen.print("nothing was fetched yet: try `alphaforge backfill --help` or `alphaforge demo`")
        return
    table = Table("Symbol", "Bar", "First", "Last", box=None, pad_edge=False, collapse_padding=True)
    for name in ("Rows", "Missing", "Rejected", "Score", "Age"):
        table.add_column(name, justify="right")
    venue = symbol = None
    for row in rows:
        if row["venue"] != venue:
            table.add_row(f"[bold]{row['venue']}[/bold]")
        label = f"  {row['symbol']}" if (row["venue"], row["symbol"]) != (venue, symbol) else ""
        venue, symbol = row["venue"], row["symbol"]
        first = f"{row['first']:%Y-%m-%d}" if row["first"] else "-"
        table.add_row(
            label, row["interval"], first, minute(row["last"]), count(row["rows"]),
            _alarming(row["missing"]), _alarming(row["rejected"]), _score(row["score"]), age(row["age_s"]),
        )  # fmt: skip
    screen.print(table)
    screen.print(
        f"[dim]{', '.join(_kinds(rows))}. Missing: asked for and not served, never filled."
        " Age: since the end of what was asked for.[/dim]"
    )


def _kinds(rows: list[dict[str, Any]]) -> list[str]:
    kinds = {"bars": 0, "funding rates": 0, "days of Fear & Greed": 0}
    for row in rows:
        days_alone = row["instrument"] == FEAR_GREED.key
        kind = "days of Fear & Greed" if days_alone else "funding rates" if row["interval"] == "funding" else "bars"
        kinds[kind] += row["rows"]
    return [f"{count(n)} {kind}" for kind, n in kinds.items() if n or kind == "bars"]


def _alarming(n: int) -> str:
    return f"[yellow]{count(n)}[/yellow]" if n else "0"


def _score(score: float | None) -> str:
    return "-" if score is None else f"{score:.1f}"
