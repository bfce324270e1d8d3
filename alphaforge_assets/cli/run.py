"""`alphaforge backfill` and `refresh`: checks the question, plans, shows progress, sums up."""

import datetime as dt
import socket
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

import dagster as dg
import stamina
from clickhouse_connect.driver.client import Client
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from alphaforge_assets import instance
from alphaforge_assets.backfill import run as backfill
from alphaforge_assets.backfill.question import Question
from alphaforge_assets.cli.screen import complain, count, screen
from alphaforge_assets.datasets.dataset import Dataset
from alphaforge_assets.errors import BadInput, VenueUnavailable
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.pipeline import dimensions
from alphaforge_assets.resources import exchanges_of
from alphaforge_assets.settings import Settings, settings_from_environment
from alphaforge_assets.universe import load_universe
from alphaforge_assets.upkeep import runs as audit
from alphaforge_assets.warehouse import schema
from alphaforge_assets.warehouse.batches import refuse_mixing
from alphaforge_assets.warehouse.client import open_warehouse

POLL_S = 0.5
CONNECT_S_MAX = 5.0
FAILURES_SHOWN_MAX = 20
CHANGES_SHOWN_MAX = 20


def run_backfill(question: Question, *, refetch: bool = False, dry_run: bool = False) -> dict[str, str]:
    """Backfill what was asked for, a dataset after the other. Returns instrument -> reason for what failed.

    Raises VenueUnavailable if there is no sandbox where it should be, Permanent for a warehouse that others feed,
    WarehouseDown, WarehouseRefused, MigrationRefused.
    """
    _quiet_retries()
    settings = question.settings
    failed: dict[str, str] = {}
    with (
        open_warehouse(settings.home, settings.clickhouse_url) as client,
        instance.opened(settings.dagster_home) as dagster,
    ):
        schema.ensure(client, settings.home, settings.clickhouse_url)
        refuse_mixing(client, settings.origin)
        for dataset in question.datasets:
            failed |= _backfill(client, dagster, question, dataset, refetch=refetch, dry_run=dry_run)
        if not dry_run:
            audit.record_finished(client, dagster, question.universe, settings)
    return failed


def _backfill(
    client: Client, dagster: dg.DagsterInstance, question: Question, dataset: Dataset, *, refetch: bool, dry_run: bool
) -> dict[str, str]:
    settings, universe = question.settings, question.universe
    instruments = dataset.chosen(question.instruments)
    plan = backfill.plan(client, dagster, universe, dataset, instruments, question.start, question.end, refetch=refetch)
    _print_plan(plan, instruments, question.start, question.end, settings)
    if dry_run or not plan.runs:
        return {}
    _refuse_absent_sandbox(settings)
    run_ids: list[str] = []
    with _progress(client, plan, run_ids) as on_run:
        outcome = backfill.execute(
            client, dagster, universe, settings, dataset, plan.runs, refetch=refetch, on_run=on_run
        )
    _print_outcome(client, outcome)
    return outcome.failed


def refresh_dimensions(believe: Sequence[str] = ()) -> None:
    """Publish the venues' clocks and listings, and say what changed.

    Raises VenueUnavailable naming the venues that did not answer, BadInput for a venue in `believe` that is none.
    """
    _quiet_retries()
    settings = settings_from_environment()
    universe = load_universe(settings.universe_file)
    for venue in believe:
        if venue not in universe.venues:
            raise BadInput(f"--believe {venue!r}: not in the universe, which has {', '.join(universe.venues)}")
    with open_warehouse(settings.home, settings.clickhouse_url) as client:
        schema.ensure(client, settings.home, settings.clickhouse_url)
        refuse_mixing(client, settings.origin)
        _refuse_absent_sandbox(settings)
        started_at = dt.datetime.now(dt.UTC)
        changes, errors = dimensions.refresh_listings(client, exchanges_of(settings), universe, believe)
        said = "; ".join(f"{venue}: {error}" for venue, error in errors.items())
        audit.record_command(client, settings, "refresh", started_at, said)
    for venue, its in changes.items():
        screen.print(f"{venue}: {count(len(its))} new or changed instruments")
        new = [c.symbol for c in its if c.kind == "new"]
        if new:
            more = f" … and {count(len(new) - CHANGES_SHOWN_MAX)} more" if len(new) > CHANGES_SHOWN_MAX else ""
            screen.print(f"  new: {', '.join(new[:CHANGES_SHOWN_MAX])}{more}", soft_wrap=True)
        others = [c for c in its if c.kind != "new"]
        for change in others[:CHANGES_SHOWN_MAX]:
            screen.print(f"  {change.symbol}: {change.kind}: {dimensions.changed_fields(change)}", soft_wrap=True)
        if len(others) > CHANGES_SHOWN_MAX:
            screen.print(f"  … and {count(len(others) - CHANGES_SHOWN_MAX)} more: see v_instruments_history")
    if errors:
        raise VenueUnavailable(said)


def _print_plan(
    plan: backfill.Plan, instruments: Sequence[object], start: dt.date, end: dt.date, settings: Settings
) -> None:
    days = (end - start).days
    who = settings.venues_url or "the live venues"
    screen.print(
        f"[bold]{len(instruments)} instruments × {days} days[/bold] from {start} to {end} (exclusive), asking {who}"
    )
    if not plan.runs:
        screen.print("everything is there already: nothing to do")
        return
    table = Table("Run", "Instruments", "From", "To", box=None, pad_edge=False)
    for n, run in enumerate(plan.runs, 1):
        table.add_row(str(n), _named(run), str(run.start), str(run.end))
    screen.print(table)
    screen.print(f"{count(plan.rows)} rows of {plan.dataset.name} at most, in {len(plan.left)} windows")


def _named(run: Rectangle) -> str:
    first, last = run.instruments[0].key, run.instruments[-1].key
    return first if first == last else f"{first} … {last} ({len(run.instruments)})"


class _RowsPerSecond(ProgressColumn):
    def render(self, task: Task) -> Text:
        per_s = task.fields["rows"] / max(task.elapsed or 0, 1)
        return Text(f"{count(per_s)} rows/s", style="progress.data.speed")


@contextmanager
def _progress(client: Client, plan: backfill.Plan, run_ids: list[str]) -> Iterator[Callable[[str, Rectangle], None]]:
    """A bar that follows the ledger, so it tells the truth whoever executes the runs."""
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        _RowsPerSecond(),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        console=screen,
        transient=not screen.is_terminal,
    )
    done = threading.Event()
    task = bar.add_task("starting", total=max(plan.seconds, 1), rows=0)

    def move() -> None:
        so_far = backfill.progress(client, run_ids)
        bar.update(task, completed=so_far["answered_s"], rows=so_far["rows"])

    def on_run(run_id: str, covered: Rectangle) -> None:
        run_ids.append(run_id)
        bar.update(task, description=f"run {len(run_ids)}: {_named(covered)}")

    def follow() -> None:
        while not done.wait(POLL_S):
            if run_ids:
                move()

    follower = threading.Thread(target=follow, name="progress", daemon=True)
    with bar:
        follower.start()
        try:
            yield on_run
        finally:
            done.set()
            follower.join()
            if run_ids:
                move()


def _print_outcome(client: Client, outcome: backfill.Outcome) -> None:
    did = backfill.progress(client, outcome.runs)
    per_s = did["rows"] / outcome.seconds if outcome.seconds else 0
    screen.print(
        f"[bold]{count(did['rows'])} rows[/bold] in {outcome.seconds:.1f} s ({count(per_s)} rows/s, Dagster included),"
        f" {count(did['requests'])} requests, {len(outcome.runs)} runs"
    )
    together: dict[str, list[str]] = defaultdict(list)
    for key, reason in outcome.failed.items():
        together[reason].append(key)
    for reason, keys in list(together.items())[:FAILURES_SHOWN_MAX]:
        complain(f"failed {', '.join(keys)}: {reason}")
    if outcome.failed:
        complain(f"{len(outcome.failed)} instruments failed; the same command again does what is left")


def _refuse_absent_sandbox(settings: Settings) -> None:
    """One word at once, where the venues' patience would take a minute: nobody waits for a sandbox to come back."""
    if settings.venues_url is None:
        return
    parts = urlsplit(settings.venues_url)
    try:
        socket.create_connection(
            (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)), timeout=CONNECT_S_MAX
        ).close()
    except OSError as error:
        raise VenueUnavailable(
            f"no sandbox answers at {settings.venues_url} ({error.strerror or error}): start it with `alphaforge"
            " sandbox`, or set ALPHAFORGE_VENUES to where it is"
        ) from error


def _quiet_retries() -> None:
    """Retries are in the ledger and in the metadata of the run; stamina would also write each on the terminal."""
    stamina.instrumentation.set_on_retry_hooks([])
