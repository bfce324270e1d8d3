"""`alphaforge status`: what there is of each series."""

import datetime as dt
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from alphaforge_assets.cli.arguments import machine_readable
from alphaforge_assets.cli.coverage import scores
from alphaforge_assets.cli.opened import environment, warehouse
from alphaforge_assets.cli.screen import age, alarming, count, minute, print_json, say, table
from alphaforge_assets.intervals import SERIES_MS, price_of

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

    from alphaforge_assets.universe import Instrument, Universe


@click.command()
@machine_readable()
def status(as_json: bool) -> None:
    """Per instrument and interval: first, last, rows, missing, rejected, age."""
    settings, universe = environment(opens_warehouse=True)
    with warehouse(settings) as client:
        rows = status_rows(client, universe)
    if as_json:
        print_json(rows)
    else:
        print_status(rows)


def status_rows(client: "Client", universe: "Universe") -> list[dict[str, Any]]:
    """One dict per instrument and interval that was ever asked for, in the order of the universe; Fear & Greed last.

    The interval of funding is "funding", that of trades "trades". What the universe keeps no longer comes after it,
    with `is_kept` false.
    """

    instruments = (*universe.instruments, *_no_longer_kept(client, universe))
    names = {(i.venue, i.symbol): i.key for i in instruments}
    asked = {"instruments": [i.instrument_id for i in instruments], "now": dt.datetime.now(dt.UTC)}
    found = _bar_rows(client, asked) + _funding_rows(client, asked) + _event_rows(client, asked)
    scored = scores(client, instruments)
    rows: list[dict[str, Any]] = []
    for row in found:
        has_rows = row["rows"] > 0
        moments = {"first": row["first"] if has_rows else None, "last": row["last"] if has_rows else None}
        score = {"score": scored.get((row["venue"], row["symbol"], row["interval"]))}
        key: str = names[row["venue"], row["symbol"]]
        rows.append({"instrument": key, "is_kept": key in universe.by_key} | row | moments | score)
    place: dict[str, int] = {i.key: n for n, i in enumerate(instruments)}
    rows.sort(key=lambda row: (place[row["instrument"]], SERIES_MS.get(row["interval"], sys.maxsize)))
    return rows + _fear_greed_rows(client)


def _bar_rows(client: "Client", asked: dict[str, Any]) -> list[dict[str, Any]]:
    from alphaforge_assets.datasets.registry import DATASETS
    from alphaforge_assets.warehouse import statements

    gridded = [dataset for dataset in DATASETS.values() if dataset.grid == "interval"]
    return [row for d in gridded for row in statements.rows(client, "reads/status", **asked, **d.tables)]


def _no_longer_kept(client: "Client", universe: "Universe") -> "list[Instrument]":
    from alphaforge_assets.datasets.registry import DATASETS
    from alphaforge_assets.universe import EARLIEST, Instrument
    from alphaforge_assets.warehouse import statements

    of_instruments = [name for name, dataset in DATASETS.items() if not dataset.only]
    rows = (row for name in of_instruments for row in statements.rows(client, "reads/kept_once", dataset=name))
    once = {Instrument(row["venue"], row["symbol"], EARLIEST) for row in rows}
    return sorted(i for i in once if i.key not in universe.by_key)


def _funding_rows(client: "Client", asked: dict[str, Any]) -> list[dict[str, Any]]:
    from alphaforge_assets.warehouse import statements

    found = statements.rows(client, "reads/status_funding_rates", **asked)
    if not found:
        return []
    span = {"start": dt.datetime(2009, 1, 3, tzinfo=dt.UTC), "end": max(row["answered_until"] for row in found)}
    check = "checks/funding_rates/settlements_are_complete"
    missing: Counter[tuple[str, str]] = Counter()
    for hole in statements.rows(client, check, instruments=asked["instruments"], **span):
        missing[hole["venue"], hole["symbol"]] += hole["rows"]
    return [row | {"missing": missing[row["venue"], row["symbol"]]} for row in found]


def _event_rows(client: "Client", asked: dict[str, Any]) -> list[dict[str, Any]]:
    from alphaforge_assets.datasets.registry import DATASETS
    from alphaforge_assets.warehouse import statements

    events = [dataset for dataset in DATASETS.values() if dataset.id]
    return [row for d in events for row in statements.rows(client, "reads/status_events", **asked, **d.tables)]


def _fear_greed_rows(client: "Client") -> list[dict[str, Any]]:
    from alphaforge_assets.universe import FEAR_GREED
    from alphaforge_assets.warehouse import statements

    names = {"venue": FEAR_GREED.venue, "symbol": FEAR_GREED.symbol, "instruments": [FEAR_GREED.instrument_id]}
    found = statements.rows(client, "reads/status_fear_greed_index", **names, now=dt.datetime.now(dt.UTC))
    score = scores(client, [FEAR_GREED]).get((FEAR_GREED.venue, FEAR_GREED.symbol, "1d"))
    return [{"instrument": FEAR_GREED.key, "is_kept": True, "score": score} | row for row in found]


def print_status(rows: list[dict[str, Any]]) -> None:
    """A line a series, below its venue."""
    if not rows:
        say("nothing was fetched yet: try `alphaforge backfill --help` or `alphaforge demo`")
        return
    shown = table("Symbol", "Bar", "First", "Last", figures=("Rows", "Missing", "Rejected", "Score", "Age"))
    venue = symbol = None
    for row in rows:
        if row["venue"] != venue:
            shown.add_row(f"[bold]{row['venue']}[/bold]")
        label = f"  {row['symbol']}" if (row["venue"], row["symbol"]) != (venue, symbol) else ""
        venue, symbol = row["venue"], row["symbol"]
        shown.add_row(
            label, row["interval"], f"{row['first']:%Y-%m-%d}" if row["first"] else "-", minute(row["last"]),
            count(row["rows"]), alarming(row["missing"]), alarming(row["rejected"]),
            "-" if row["score"] is None else f"{row['score']:.1f}", age(row["age_s"]),
        )  # fmt: skip
    say(shown)
    say(
        f"[dim]{', '.join(_kinds(rows))}. Missing: expected and not there, why is what `alphaforge gaps` says."
        " Age: since the end of what was asked for.[/dim]"
    )
    if once := dict.fromkeys(row["instrument"] for row in rows if not row["is_kept"]):
        say(f"[dim]No longer in the universe, and read by their keys as before: {', '.join(once)}.[/dim]")


def _kinds(rows: list[dict[str, Any]]) -> list[str]:
    from alphaforge_assets.universe import FEAR_GREED

    kinds = dict.fromkeys(("bars", "bars of other prices", "funding rates", "trades", "liquidations"), 0)
    kinds["days of Fear & Greed"] = 0
    for row in rows:
        days_alone = row["instrument"] == FEAR_GREED.key
        named = {"funding": "funding rates", "trades": "trades", "liquidations": "liquidations"}
        of_bars = "bars" if price_of(row["interval"]) == "trade" else "bars of other prices"
        kind = "days of Fear & Greed" if days_alone else named.get(row["interval"], of_bars)
        kinds[kind] += row["rows"]
    return [f"{count(n)} {kind}" for kind, n in kinds.items() if n or kind == "bars"]
