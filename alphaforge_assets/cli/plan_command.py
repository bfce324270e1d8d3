"""`alphaforge plan`: what a backfill will cost, and the share of the venues' limits that past ones reached."""

import datetime as dt
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import click

from alphaforge_assets.errors import BadInput

RUNS_MEASURED = 20


@click.command("plan")
@click.option("--datasets", default="bars", show_default=True, help="Comma-separated.")
@click.option("--instruments", "patterns", multiple=True, metavar="KEY|GLOB", help="As for backfill.")
@click.option("--from", "start", metavar="DATE", help="First day, UTC, as 2025-05-01.")
@click.option("--to", "end", metavar="DATE", help="Day after the last, as 2025-05-08.")
@click.option("--reached", type=click.IntRange(1, 100), is_flag=False, flag_value=5, metavar="[RUNS]",
              help="Instead: the last runs, 5 unless told, against the venues' ceilings.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def plan(
    datasets: str, patterns: Sequence[str], start: str | None, end: str | None, reached: int | None, as_json: bool
) -> None:
    """What a backfill will ask of each venue, and how long that takes at most speed. Nothing is fetched.

    \b
    Rows      that the venues have if nothing is missing
    Requests  for windows that no complete batch answers yet, and their weight in the venue's own units
    Ceiling   seconds if the venue's whole limit were used for nothing else
    ETA       at the pace our rate budget grants, with our own work as the last runs here took

    \b
      alphaforge plan --instruments 'binance_spot.*' --from 2025-05-01 --to 2025-06-01
      alphaforge plan --reached
    """
    if reached is not None:
        if patterns or start or end:
            raise BadInput("--reached looks back: leave --instruments, --from and --to out")
        _print_reached(reached, as_json)
        return
    if not start or not end:
        raise BadInput(f"--{'to' if start else 'from'} is missing: write a day as 2025-05-01")

    from alphaforge_assets.backfill.question import ask

    question = ask(_words(datasets), [w for p in patterns for w in _words(p)], _day("--from", start), _day("--to", end))
    _print_plans(question, as_json)


def _print_plans(question: Any, as_json: bool) -> None:
    from alphaforge_assets import instance
    from alphaforge_assets.backfill import cost as plans
    from alphaforge_assets.backfill import run as backfill
    from alphaforge_assets.warehouse import schema
    from alphaforge_assets.warehouse.client import open_warehouse

    settings, universe = question.settings, question.universe
    made = []
    with (
        open_warehouse(settings.home, settings.clickhouse_url) as client,
        instance.opened(settings.dagster_home) as dagster,
    ):
        schema.ensure(client, settings.home, settings.clickhouse_url)
        own = _own_work(client, dagster)
        for dataset in question.datasets:
            chosen = dataset.chosen(question.instruments)
            work = backfill.plan(
                client, dagster, universe, dataset, chosen, question.start, question.end, refetch=False
            )
            made.append(plans.predict(client, universe, dataset, work.runs))
    if as_json:
        click.echo(json.dumps([_record(p, own) for p in made]))
        return
    for planned in made:
        _print_plan(planned, own.get(planned.dataset))


def _print_plan(planned: Any, own: Sequence[float] | None) -> None:
    from rich.table import Table

    from alphaforge_assets.cli.screen import count, screen

    if not planned.venues:
        screen.print(f"[bold]{planned.dataset}[/bold]: everything is there already, no venue will be asked")
        return
    table = Table("Venue", box=None, pad_edge=False, collapse_padding=True)
    for name in ("Rows", "MB", "Requests", "Weight", "Ceiling", "Rows/s there"):
        table.add_column(name, justify="right")
    for venue in planned.venues:
        top = venue.rows / venue.ceiling_s if venue.ceiling_s else 0
        table.add_row(
            venue.venue, count(venue.rows), f"{venue.rows * planned.bytes_a_row / 1e6:,.1f}", count(venue.requests),
            count(venue.weight), duration(venue.ceiling_s), count(top) if top else "-",
        )  # fmt: skip
    screen.print(f"[bold]{planned.dataset}[/bold], {planned.runs} run{'s' * (planned.runs != 1)}")
    screen.print(table)
    requests = sum(v.requests for v in planned.venues)
    around = sum(s.requests for v in planned.venues for s in v.extra)
    origin = "measured here" if planned.is_measured else "documented: too little here to measure"
    screen.print(
        f"[bold]{count(planned.rows)} rows, {planned.bytes / 1e6:,.1f} MB[/bold] on disk"
        f" ({planned.bytes_a_row:.0f} bytes a row, {origin}); {count(requests)} requests"
        f" and {around} for clocks and lists"
    )
    screen.print(f"[bold]ETA {duration(eta_s(planned, own))}[/bold]: {_reason(planned, own)}")
    for venue in planned.venues:
        if venue.times_measured != 1:
            screen.print(
                f"[dim]{venue.venue} gave less a page so far than asked for: {venue.times_measured:.2f} times the"
                " requests[/dim]"
            )


def eta_s(planned: Any, own: Sequence[float] | None) -> float:
    """Seconds at the governor's pace, and our own work beside it: `own` is that a run and a row."""
    a_run, a_row = own or (0.0, 0.0)
    return float(planned.paced_s + planned.runs * a_run + planned.rows * a_row)


def _reason(planned: Any, own: Sequence[float] | None) -> str:
    pace = f"{duration(planned.paced_s)} at the pace of our rate budget"
    if own is None:
        return f"{pace}; our own work is not in it, this warehouse has no runs to measure it by"
    work_s = eta_s(planned, own) - planned.paced_s
    return f"{pace} and {duration(work_s)} of our own work, as the last runs here took"


def _record(planned: Any, own: Mapping[str, tuple[float, float]]) -> dict[str, Any]:
    return {
        "dataset": planned.dataset,
        "runs": planned.runs,
        "rows": planned.rows,
        "bytes": round(planned.bytes),
        "bytes_a_row_is_measured": planned.is_measured,
        "eta_s": round(eta_s(planned, own.get(planned.dataset)), 1),
        "venues": [
            {
                "venue": v.venue,
                "rows": v.rows,
                "requests": v.requests,
                "weight": round(v.weight),
                "ceiling_s": round(v.ceiling_s, 1),
                "clocks_and_lists": sum(s.requests for s in v.extra),
            }
            for v in planned.venues
        ],
    }


def _latest(client: Any, dagster: Any, runs: int) -> list[dict[str, Any]]:
    """Per run and venue of the last runs: rows, requests, weight, seconds from the step's start, ceiling seconds."""
    from alphaforge_assets.backfill import cost as plans
    from alphaforge_assets.datasets.registry import DATASETS
    from alphaforge_assets.warehouse import statements

    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in statements.rows(client, "reads/latest_runs", runs=runs):
        groups[row["run_id"], row["dataset"], row["venue"]].append(row)
    found = []
    for (run_id, name, venue), rows in groups.items():
        dataset = DATASETS.get(name)
        if dataset is None:
            continue
        began, ended = _step(dagster, run_id, dataset.chain[0])
        until = max(row["recorded_at"] for row in rows)
        requests, weight, ceiling_s = plans.reached(rows, dataset)
        wall_s = until.timestamp() - began if began else None
        found.append(
            {
                "run_id": run_id,
                "dataset": name,
                "venue": venue,
                "at": until,
                "rows": sum(row["row_count"] for row in rows),
                "requests": requests,
                "weight": weight,
                "waited_s": sum(row["waited_s"] for row in rows),
                "wall_s": wall_s,
                "ceiling_s": ceiling_s,
                "run_s": ended - began if began and ended else None,
            }
        )
    return found


def _step(dagster: Any, run_id: str, asset: str) -> tuple[float | None, float | None]:
    """When a run's fetching began, and when the run ended; None for runs of another instance."""
    if not dagster.has_run(run_id):
        return None, None
    steps = dagster.get_run_step_stats(run_id)
    began = next((s.start_time for s in steps if s.step_key == asset), None)
    ended = max((s.end_time for s in steps if s.end_time), default=None)
    return began, ended


def _own_work(client: Any, dagster: Any) -> dict[str, tuple[float, float]]:
    """By dataset: seconds a run and seconds a row that the last runs took after their fetching was done."""
    fetched_s: dict[tuple[str, str], float] = defaultdict(float)
    rows: dict[tuple[str, str], float] = defaultdict(float)
    whole_s: dict[tuple[str, str], float] = {}
    for part in _latest(client, dagster, RUNS_MEASURED):
        if part["run_s"] and part["wall_s"]:
            key = part["dataset"], part["run_id"]
            fetched_s[key] = max(fetched_s[key], part["wall_s"])
            rows[key] += part["rows"]
            whole_s[key] = part["run_s"]
    found = {}
    for name in {dataset for dataset, _ in whole_s}:
        own = {key: max(0.0, whole_s[key] - fetched_s[key]) for key in whole_s if key[0] == name}
        a_run = min(own.values())
        found[name] = (a_run, sum(s - a_run for s in own.values()) / max(1, sum(rows[key] for key in own)))
    return found


def _print_reached(runs: int, as_json: bool) -> None:
    from rich.table import Table

    from alphaforge_assets import instance
    from alphaforge_assets.cli.screen import count, screen
    from alphaforge_assets.settings import settings_from_environment
    from alphaforge_assets.warehouse import schema
    from alphaforge_assets.warehouse.client import open_warehouse

    settings = settings_from_environment()
    with (
        open_warehouse(settings.home, settings.clickhouse_url) as client,
        instance.opened(settings.dagster_home) as dagster,
    ):
        schema.ensure(client, settings.home, settings.clickhouse_url)
        found = _latest(client, dagster, runs)
    for part in found:
        part["share"] = part["ceiling_s"] / part["wall_s"] if part["wall_s"] else None
    if as_json:
        click.echo(json.dumps(found, default=lambda moment: moment.isoformat()))
        return
    if not found:
        screen.print("no run asked a venue yet: `alphaforge backfill` does")
        return
    table = Table(box=None, pad_edge=False, collapse_padding=True)
    for name in ("Run", "Until (UTC)", "Venue"):
        table.add_column(name, no_wrap=True)
    for name in ("Rows", "Requests", "Weight", "Took", "Ceiling", "Share"):
        table.add_column(name, justify="right")
    last = ""
    for part in sorted(found, key=lambda p: (p["at"], p["venue"])):
        table.add_row(
            part["run_id"][:8] if part["run_id"] != last else "", f"{part['at']:%m-%d %H:%M}", part["venue"],
            count(part["rows"]), count(part["requests"]), count(part["weight"]),
            duration(part["wall_s"]) if part["wall_s"] else "-", duration(part["ceiling_s"]),
            f"{part['share']:.0%}" if part["share"] is not None else "-",
        )  # fmt: skip
        last = part["run_id"]
    screen.print(table)
    screen.print(
        "[dim]Share: the seconds that the requests take at the venue's whole limit, of the seconds it took until the"
        " venue's last rows were in landing. A venue lets a burst go at once, so a short run may pass 100 %.[/dim]"
    )


def duration(seconds: float) -> str:
    """0.4 s, 12 s, 3 min, 1 h 20 min"""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    if seconds < 172_800:
        return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:.0f} min"
    return f"{seconds / 86_400:.1f} days"


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _day(option: str, text: str) -> dt.date:
    try:
        return dt.datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=dt.UTC).date()
    except ValueError as error:
        raise BadInput(f"{option} {text!r}: write a day as 2025-05-01") from error
