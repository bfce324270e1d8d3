"""`alphaforge coverage`: how complete each series is."""

import fnmatch
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from alphaforge_assets.cli.arguments import instruments, machine_readable
from alphaforge_assets.cli.opened import environment, readable, warehouse
from alphaforge_assets.cli.screen import alarming, count, print_json, say, table

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

    from alphaforge_assets.universe import Instrument


@click.command()
@instruments("Key or glob, such as 'binance_spot.*'. [all]")
@machine_readable()
def coverage(patterns: Sequence[str], as_json: bool) -> None:
    """Per instrument and interval: bars expected, missing and unexplained, the share that is there, and the score."""
    rows = read("reads/coverage", patterns)
    if as_json:
        print_json(rows)
    else:
        print_coverage(rows)


def read(statement: str, patterns: Sequence[str], **parameters: Any) -> list[dict[str, Any]]:
    """Rows of a statement on the instruments that `patterns` name, Fear & Greed among them; of all without any.

    Raises BadInput for a pattern that matches no instrument, WarehouseDown, WarehouseRefused.
    """
    from alphaforge_assets.universe import FEAR_GREED
    from alphaforge_assets.warehouse import statements

    settings, universe = environment(opens_warehouse=True)
    of_exchanges = [p for p in patterns if not fnmatch.fnmatchcase(FEAR_GREED.key, p)]
    chosen = readable(settings, universe, of_exchanges) if patterns else universe.instruments
    if len(of_exchanges) < len(patterns) or not patterns:
        chosen = (*chosen, FEAR_GREED)
    with warehouse(settings) as client:
        return statements.rows(client, statement, instruments=[i.instrument_id for i in chosen], **parameters)


def scores(client: "Client", instruments: "Sequence[Instrument]") -> dict[tuple[str, str, str], float]:
    """Mean score by (venue, symbol, interval), in the words of `series`."""
    from alphaforge_assets.warehouse import statements

    rows = statements.rows(client, "reads/coverage", instruments=[i.instrument_id for i in instruments])
    return {(row["venue"], row["symbol"], series(row)[1].removesuffix(", sampled")): row["score"] for row in rows}


def series(row: dict[str, Any]) -> tuple[str, str]:
    """Whose row it is: the instrument's key, and the interval, else what it is: "funding" or "trades"."""
    what = "funding" if row["dataset"] == "funding_rates" else row["dataset"]
    what += ", sampled" if row.get("is_sampled") else ""
    return f"{row['venue']}.{row['symbol'].replace('/', '-')}", row["interval"] or what


def print_coverage(rows: Sequence[dict[str, Any]]) -> None:
    """A line a series."""
    if not rows:
        say("nothing was looked at yet: coverage is computed by every run")
        return
    from alphaforge_assets.report.words import percent

    figures = ("Expected", "Missing", "Unexplained", "Complete", "Score", "Worst")
    shown = table("Instrument", "Bar", figures=figures)
    for row in rows:
        shown.add_row(
            *series(row), count(row["expected"]), count(row["missing"]), alarming(row["missing"] - row["explained"]),
            percent(row["present"], row["expected"] - row["not_due"]),
            f"{row['score']:.1f}", f"{row['score_min']:.1f}",
        )  # fmt: skip
    say(shown)
    say(
        "[dim]Complete: present of what was listed, whatever explains the others. Score: 0 to 100, the mean of its"
        " days: completeness 60, finality 15, agreement 15, freshness 10, and never above completeness.[/dim]"
    )
