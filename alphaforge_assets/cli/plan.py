"""`alphaforge plan`: what a backfill will cost, and the share of the venues' limits that past ones reached."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from alphaforge_assets.cli.arguments import datasets, day, instruments, machine_readable, source, span
from alphaforge_assets.cli.opened import start_warehouse, warehouse_and_dagster
from alphaforge_assets.cli.screen import count, duration, print_json, say, table
from alphaforge_assets.errors import BadInput

if TYPE_CHECKING:
    from alphaforge_assets.backfill.cost import DatasetPlan
    from alphaforge_assets.backfill.past import OwnWork, Visit
    from alphaforge_assets.backfill.question import Question


@click.command()
@datasets()
@instruments("As for backfill.", metavar="KEY|GLOB")
@span(day, "First day, UTC, as 2025-05-01.", "Day after the last, as 2025-05-08.", required=False)
@source()
@click.option("--reached", type=click.IntRange(1, 100), is_flag=False, flag_value=5, metavar="[RUNS]",
              help="Instead: the last runs, 5 unless told, against the venues' ceilings.")  # fmt: skip
@machine_readable()
def plan(
    datasets: Sequence[str],
    patterns: Sequence[str],
    start: dt.date | None,
    end: dt.date | None,
    wish: str,
    reached: int | None,
    as_json: bool,
) -> None:
    """What a backfill will ask of each venue, and how long that takes at most speed. Nothing is fetched.

    \b
    Rows      that the venues have if nothing is missing
    Requests  for windows that no complete batch answers yet, and their weight in the venue's own units
    Source    where they go, as `backfill --source` chooses: an object of an archive is one request
    Ceiling   seconds if the venue's whole limit were used for nothing else; markets that share one take turns
    ETA       at the pace our rate budget grants, with our own work as the last runs here took

    \b
      alphaforge plan --instruments 'binance_spot.*' --from 2025-05-01 --to 2025-06-01
      alphaforge plan --reached
    """
    if reached is not None:
        if patterns or start or end:
            raise BadInput("--reached looks back: leave --instruments, --from and --to out")
        _look_back(reached, as_json)
        return
    if not start or not end:
        raise BadInput(f"--{'to' if start else 'from'} is missing: write a day as 2025-05-01")

    start_warehouse()
    from alphaforge_assets.backfill.question import ask

    _look_ahead(ask(datasets, patterns, start, end, wish), as_json)


def _look_ahead(question: "Question", as_json: bool) -> None:
    from alphaforge_assets.backfill import cost, past, run

    universe, start, end = question.universe, question.start, question.end
    made = []
    with warehouse_and_dagster(question.settings) as (client, dagster):
        own = past.own_work(client, dagster)
        for dataset in question.datasets:
            chosen = dataset.chosen(question.instruments)
            work = run.plan(client, dagster, universe, dataset, chosen, start, end, refetch=False)
            made.append((cost.predict(client, universe, dataset, work.runs, question.wish), own.get(dataset.name)))
    if as_json:
        print_json([_record(planned, own) for planned, own in made])
        return
    for planned, its in made:
        _print_plan(planned, its)


def _print_plan(planned: "DatasetPlan", own: "OwnWork | None") -> None:
    from alphaforge_assets.pipeline.choice import BYTES_A_S

    if not planned.venues:
        say(f"[bold]{planned.dataset}[/bold]: everything is there already, no venue will be asked")
        return
    shown = table("Venue", figures=("Rows", "MB", "Requests", "Weight", "Ceiling", "Rows/s there"))
    for venue in planned.venues:
        top = venue.rows / venue.ceiling_s if venue.ceiling_s else 0
        shown.add_row(
            venue.venue, count(venue.rows), f"{venue.rows * planned.bytes_a_row / 1e6:,.1f}", count(venue.requests),
            count(venue.weight), duration(venue.ceiling_s), count(top) if top else "-",
        )  # fmt: skip
    say(f"[bold]{planned.dataset}[/bold], {planned.runs} run{'s' * (planned.runs != 1)}")
    say(shown)
    requests = sum(v.requests for v in planned.venues)
    around = sum(s.requests for v in planned.venues for s in v.extra)
    origin = "measured here" if planned.is_measured else "documented: too little here to measure"
    say(
        f"[bold]{count(planned.rows)} rows, {planned.bytes / 1e6:,.1f} MB[/bold] on disk"
        f" ({planned.bytes_a_row:.0f} bytes a row, {origin}); {count(requests)} requests"
        f" and {around} for clocks and lists"
    )
    reason = f"{duration(planned.paced_s)} at the pace of our rate budget"
    if any(share.bytes for venue in planned.venues for share in venue.shares):
        reason += f" and of a line of {BYTES_A_S / 1e6:.0f} MB/s"
    if own is None:
        reason += "; our own work is not in it, this warehouse has no runs to measure it by"
    else:
        reason += f" and {duration(own.of(planned))} of our own work, as the last runs here took"
    say(f"[bold]ETA {duration(_eta_s(planned, own))}[/bold]: {reason}")
    for venue in planned.venues:
        for share in venue.shares:
            if share.source != "rest":
                what = f"{count(share.rows)} rows from {share.source}, {count(share.requests)} objects"
                say(f"[dim]{venue.venue}: {what}, some {share.bytes / 1e6:,.1f} MB[/dim]")
        if venue.times_measured != 1:
            times = f"{venue.times_measured:.2f} times the requests"
            say(f"[dim]{venue.venue} gave less a page so far than asked for: {times}[/dim]")


def _eta_s(planned: "DatasetPlan", own: "OwnWork | None") -> float:
    """Seconds at the governor's pace, and our own work beside it."""
    return planned.paced_s + (own.of(planned) if own else 0.0)


def _record(planned: "DatasetPlan", own: "OwnWork | None") -> dict[str, Any]:
    return {
        "dataset": planned.dataset,
        "runs": planned.runs,
        "rows": planned.rows,
        "bytes": round(planned.bytes),
        "bytes_a_row_is_measured": planned.is_measured,
        "eta_s": round(_eta_s(planned, own), 1),
        "venues": [
            {
                "venue": v.venue,
                "rows": v.rows,
                "requests": v.requests,
                "weight": round(v.weight),
                "ceiling_s": round(v.ceiling_s, 1),
                "clocks_and_lists": sum(s.requests for s in v.extra),
                "sources": [asdict(share) for share in v.shares],
            }
            for v in planned.venues
        ],
    }


def _look_back(runs: int, as_json: bool) -> None:
    start_warehouse()
    from alphaforge_assets.backfill.past import visits
    from alphaforge_assets.settings import settings_from_environment

    with warehouse_and_dagster(settings_from_environment()) as (client, dagster):
        found = visits(client, dagster, runs)
    if as_json:
        print_json([asdict(visit) for visit in found])
    elif found:
        _print_visits(found)
    else:
        say("no run asked a venue yet: `alphaforge backfill` does")


def _print_visits(found: "Sequence[Visit]") -> None:
    shown = table(
        "Run", "Until (UTC)", "Venue", figures=("Rows", "Requests", "Weight", "Took", "Ceiling", "Share")
    )  # fmt: skip
    for column in shown.columns[:3]:
        column.no_wrap = True
    last = ""
    for v in sorted(found, key=lambda v: (v.at, v.venue)):
        shown.add_row(
            v.run_id[:8] if v.run_id != last else "", f"{v.at:%m-%d %H:%M}", v.venue, count(v.rows),
            count(v.requests), count(v.weight), duration(v.wall_s) if v.wall_s else "-", duration(v.ceiling_s),
            f"{v.share:.0%}" if v.share is not None else "-",
        )  # fmt: skip
        last = v.run_id
    say(shown)
    say(
        "[dim]Share: the seconds that the requests take at the venue's whole limit, with those of markets that share"
        " it, of the seconds it took until the venue's last rows were in landing. A venue lets a burst go at once, so a"
        " short run may pass 100 %.[/dim]"
    )
