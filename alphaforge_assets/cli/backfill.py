"""`alphaforge backfill`: checks the question, plans, shows progress, sums up."""

import datetime as dt
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from alphaforge_assets.cli.arguments import datasets, day, instruments, source, span
from alphaforge_assets.cli.opened import loading, prepare_to_ask, start_warehouse, warehouse_and_dagster
from alphaforge_assets.cli.screen import complain, count, of_them, say, screen, table

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client
    from dagster import DagsterInstance

    from alphaforge_assets.backfill.question import Question
    from alphaforge_assets.backfill.run import Outcome, Plan
    from alphaforge_assets.datasets.dataset import Dataset
    from alphaforge_assets.partitions import Rectangle

POLL_S = 0.5
FAILURES_SHOWN_MAX = 20


@click.command()
@datasets()
@instruments("Key or glob, such as 'binance_spot.*'; repeat or separate by commas. Not needed for fear_greed_index.")
@span(day, "First day, UTC, as 2025-05-01.", "Day after the last, as 2025-05-08.")
@source()
@click.option("--refetch", is_flag=True, help="Ask again also for what is complete; changed bars become new versions.")
@click.option("--dry-run", is_flag=True, help="Say what would be done and stop.")
def backfill(
    datasets: Sequence[str],
    patterns: Sequence[str],
    start: dt.date,
    end: dt.date,
    wish: str,
    refetch: bool,
    dry_run: bool,
) -> None:
    """Fetch what is missing of a range and publish it.

    \b
    What is complete is not fetched again, so the same command after an interruption does what is left.
    Exit code 0 if the venues answered; 1 with the names of what failed, or of which nothing
    came on days when something was due and nothing explains it;
    2 for a question that cannot be, 130 after Ctrl-C.

    \b
      alphaforge backfill --instruments 'binance_spot.*' --from 2025-05-01 --to 2025-05-08
      alphaforge backfill --instruments binance_spot.BTC-USDT --from 2017-08-17 --to 2025-05-01 --source archive
      alphaforge backfill --datasets fear_greed_index --from 2018-02-01 --to 2025-05-08
    """
    start_warehouse()
    with loading():
        from alphaforge_assets.backfill.question import ask

    failed = run_backfill(ask(datasets, patterns, start, end, wish), refetch=refetch, dry_run=dry_run)
    sys.exit(1 if failed else 0)


def run_backfill(question: "Question", *, refetch: bool = False, dry_run: bool = False) -> dict[str, str]:
    """Backfill what was asked for, a dataset after the other. Returns instrument -> reason for what failed.

    Raises VenueUnavailable if there is no sandbox where it should be, Permanent for a warehouse that others feed,
    WarehouseDown, WarehouseRefused, MigrationRefused.
    """
    settings = question.settings
    start_warehouse(settings)
    with loading():
        from alphaforge_assets.upkeep.runs import record_finished
        from alphaforge_assets.warehouse.origins import refuse_mixing

    failed: dict[str, str] = {}
    with warehouse_and_dagster(settings) as (client, dagster):
        refuse_mixing(client, settings.origin)
        for dataset in question.datasets:
            failed |= _backfill(client, dagster, question, dataset, refetch, dry_run)
        if not dry_run:
            record_finished(client, dagster, question.universe, settings)
    return failed


def _backfill(
    client: "Client", dagster: "DagsterInstance", question: "Question", dataset: "Dataset", refetch: bool, dry_run: bool
) -> dict[str, str]:
    with loading():
        from alphaforge_assets.backfill import run
        from alphaforge_assets.partitions import Rectangle

    settings, universe = question.settings, question.universe
    chosen = dataset.chosen(question.instruments)
    plan = run.plan(client, dagster, universe, dataset, chosen, question.start, question.end, refetch=refetch)
    _print_plan(plan, len(chosen), question)
    if dry_run:
        return {}
    failed: dict[str, str] = {}
    if plan.runs:
        prepare_to_ask(settings)
        with _progress(client, plan) as on_run:
            outcome = run.execute(
                client,
                dagster,
                universe,
                settings,
                dataset,
                plan.runs,
                refetch=refetch,
                wish=question.wish,
                on_run=on_run,
            )
        _print_outcome(client, outcome)
        _print_outranked(client, dataset, Rectangle(tuple(chosen), question.start, question.end), outcome.runs)
        failed = outcome.failed
    return failed | _print_nothing_came(client, dataset, Rectangle(tuple(chosen), question.start, question.end), failed)


def _print_nothing_came(
    client: "Client", dataset: "Dataset", covered: "Rectangle", failed: Mapping[str, str]
) -> dict[str, str]:
    """Instrument -> what was due and did not come, of those that did not fail; also when there was nothing to ask."""
    from alphaforge_assets.quality.coverage import nothing_came

    silent = {key: said for key, said in nothing_came(client, covered, dataset).items() if key not in failed}
    for key, said in list(silent.items())[:FAILURES_SHOWN_MAX]:
        complain(f"{key}: {said}, and nothing explains it")
    if silent:
        complain(
            f"{of_them(len(silent), 'instrument')}: the venue answered and had nothing; `alphaforge gaps` says what is"
            " known, the same command with --refetch asks again, and so does `alphaforge up` by itself"
        )
    return silent


def _print_outranked(client: "Client", dataset: "Dataset", covered: "Rectangle", runs: Sequence[str]) -> None:
    """What REST said and a file keeps from being published: nobody would see that the answer changed nothing."""
    from alphaforge_assets.backfill.run import outranked

    found = outranked(client, dataset, covered, runs)
    for row in found[:FAILURES_SHOWN_MAX]:
        complain(
            f"{row['venue']} {row['symbol']} {row['interval']}: REST tells {of_them(row['rows'], 'bar')} differently,"
            f" {row['first']:%Y-%m-%d %H:%M} to {row['last']:%Y-%m-%d %H:%M}; {row['source']} outranks it and stays"
            " published"
        )
    if any(row["source"] == "archive_monthly" for row in found):
        complain("if a month's file is wrong, --refetch --source archive_daily puts the files of its days above it")
    if any(row["source"] == "archive_daily" for row in found):
        complain(
            "nothing outranks a day's file but its successor: `alphaforge up` looks daily whether the venue has"
            " replaced it; what REST said is in landing_bars and in v_reconciliation"
        )


def _print_plan(plan: "Plan", chosen: int, question: "Question") -> None:
    start, end = question.start, question.end
    who = question.settings.venues_url or "the live venues"
    what = f"{of_them(chosen, 'instrument')} × {of_them((end - start).days, 'day')}"
    say(f"[bold]{what}[/bold] from {start} to {end} (exclusive), asking {who}")
    if not plan.runs:
        say("everything is there already: nothing to do")
        return
    shown = table("Run", "Instruments", "From", "To", is_tight=False)
    for n, covered in enumerate(plan.runs, 1):
        shown.add_row(str(n), _named(covered), str(covered.start), str(covered.end))
    say(shown)
    say(f"{count(plan.rows)} rows of {plan.dataset.name} at most, in {of_them(len(plan.left), 'window')}")


def _named(covered: "Rectangle") -> str:
    first, last = covered.instruments[0].key, covered.instruments[-1].key
    return first if first == last else f"{first} … {last} ({len(covered.instruments)})"


@contextmanager
def _progress(client: "Client", plan: "Plan") -> "Iterator[Callable[[str, Rectangle], None]]":
    """A bar that follows the ledger, so it tells the truth whoever executes the runs."""
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    from alphaforge_assets.backfill.run import progress

    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[speed]} rows/s", style="progress.data.speed"),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        console=screen(),
        transient=not screen().is_terminal,
    )
    run_ids: list[str] = []
    done = threading.Event()
    task = bar.add_task("starting", total=max(plan.seconds, 1), speed="0")

    def move() -> None:
        if run_ids:
            so_far = progress(client, run_ids)
            speed = count(so_far["rows"] / max(bar.tasks[0].elapsed or 0, 1))
            bar.update(task, completed=so_far["answered_s"], speed=speed)

    def on_run(run_id: str, covered: "Rectangle") -> None:
        run_ids.append(run_id)
        bar.update(task, description=f"run {len(run_ids)}: {_named(covered)}")

    def follow() -> None:
        while not done.wait(POLL_S):
            move()

    follower = threading.Thread(target=follow, name="progress", daemon=True)
    with bar:
        follower.start()
        try:
            yield on_run
        finally:
            done.set()
            follower.join()
            move()


def _print_outcome(client: "Client", outcome: "Outcome") -> None:
    from alphaforge_assets.backfill.run import progress

    did = progress(client, outcome.runs)
    per_s = did["rows"] / outcome.seconds if outcome.seconds else 0
    say(
        f"[bold]{count(did['rows'])} rows[/bold] in {outcome.seconds:.1f} s ({count(per_s)} rows/s, Dagster included),"
        f" {of_them(did['requests'], 'request')}, {of_them(len(outcome.runs), 'run')}"
    )
    together: dict[str, list[str]] = defaultdict(list)
    for key, reason in outcome.failed.items():
        together[reason].append(key)
    for reason, keys in list(together.items())[:FAILURES_SHOWN_MAX]:
        complain(f"failed {', '.join(keys)}: {reason}")
    if outcome.failed:
        complain(f"{of_them(len(outcome.failed), 'instrument')} failed; the same command again does what is left")
