"""What the reading commands share: the warehouse as a reader sees it, and the options that say what to read."""

import datetime as dt
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from alphaforge_assets.errors import BadInput

if TYPE_CHECKING:  # pydantic takes longer to load than all of `--help`
    from alphaforge_assets.universe import Instrument, Universe

F = TypeVar("F", bound=Callable[..., Any])


def versions(command: F) -> F:
    """The options that say which versions of the rows are meant."""
    for option in (
        click.option("--require-complete", is_flag=True, help="Refuse data with gaps, naming them."),
        click.option("--snapshot", metavar="NAME", help="Exactly what was pinned under this name."),
        click.option("--as-of", metavar="TIME", help="What was known at that time, as 2025-05-01T12:00Z."),
    ):
        command = option(command)
    return command


def given(as_of: str | None, snapshot: str | None, require_complete: bool) -> dict[str, Any]:
    """Those of them that were given, as `Research.bars` takes them. Raises BadInput for two that contradict."""
    if as_of is not None and snapshot is not None:
        raise BadInput("--as-of and --snapshot both say which versions to read: give one of them")
    options: dict[str, Any] = {"as_of": moment("--as-of", as_of)} if as_of is not None else {}
    if snapshot is not None:
        options["snapshot"] = snapshot
    if require_complete:
        options["require_complete"] = True
    return options


def moment(option: str, text: str) -> dt.datetime:
    """A day or a time, UTC unless it says otherwise. Raises BadInput."""
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise BadInput(f"{option} {text!r}: write a day as 2025-05-01 or a time as 2025-05-01T12:00Z") from error
    return found.replace(tzinfo=dt.UTC) if found.tzinfo is None else found.astimezone(dt.UTC)


def span(start: str, end: str) -> tuple[dt.datetime, dt.datetime]:
    """--from and --to. Raises BadInput."""
    first, last = moment("--from", start), moment("--to", end)
    if last <= first:
        raise BadInput(f"--to {end} is not after --from {start}: the range is [from, to)")
    return first, last


def kept_interval(option: str, interval: str, universe: "Universe") -> str:
    """`interval`, if bars of it are kept. Raises BadInput."""
    from alphaforge_assets.intervals import INTERVAL_MS

    if interval not in INTERVAL_MS:
        raise BadInput(f"{option} {interval!r}: there is {', '.join(INTERVAL_MS)}")
    if interval not in universe.intervals:
        kept = ", ".join(universe.intervals)
        raise BadInput(f"{option} {interval}: the universe keeps {kept}; bars of another length are not fetched")
    return interval


@contextmanager
def reader(*, is_quiet: bool = False) -> Iterator[Any]:
    """A `Research` on a warehouse with our schema; what it warns of is a line on stderr, unless `is_quiet`.

    Raises BadInput, WarehouseDown, MigrationRefused.
    """
    from alphaforge_assets.cli.screen import complain
    from alphaforge_assets.research import Research
    from alphaforge_assets.settings import settings_from_environment
    from alphaforge_assets.warehouse import schema
    from alphaforge_assets.warehouse.client import open_warehouse

    settings = settings_from_environment()
    universe = known_universe()
    with open_warehouse(settings.home, settings.clickhouse_url) as client, warnings.catch_warnings():
        schema.ensure(client, settings.home, settings.clickhouse_url)
        warnings.showwarning = lambda message, *where, **more: None if is_quiet else complain(str(message))
        yield Research(client, universe)


def known_universe() -> "Universe":
    from alphaforge_assets.settings import settings_from_environment
    from alphaforge_assets.universe import load_universe

    return load_universe(settings_from_environment().universe_file)


def gaps(client: Any, instrument: "Instrument", interval: str) -> list[Mapping[str, Any]]:
    """Rows of v_gaps of a series that are missing today."""
    from alphaforge_assets.warehouse import statements

    rows = statements.rows(client, "reads/gaps", instruments=[instrument.instrument_id], with_filled=False)
    return [row for row in rows if row["interval"] == interval and row["dataset"] == "bars"]


def missing(times: Any, interval: str, first: dt.datetime, last: dt.datetime) -> int:
    """Slots of the grid in [first, last) that are over and have no bar. `times` are open times."""
    from alphaforge_assets.intervals import INTERVAL_MS

    step = dt.timedelta(milliseconds=INTERVAL_MS[interval])
    until = min(last, dt.datetime.now(dt.UTC) - step)
    slots = max(0, -((first - until) // step)) if until > first else 0
    return max(0, slots - len(times.floor(step).unique()))


def by_verdict(
    rows: Sequence[Mapping[str, Any]], interval: str, first: dt.datetime, last: dt.datetime
) -> dict[str, int]:
    """Missing bars of [first, last) by verdict."""
    from alphaforge_assets.intervals import INTERVAL_MS

    step = dt.timedelta(milliseconds=INTERVAL_MS[interval])
    counted: dict[str, int] = {}
    for row in rows:
        overlap = min(row["gap_end"], last) - max(row["gap_start"], first)
        if overlap > dt.timedelta(0):
            counted[row["verdict"]] = counted.get(row["verdict"], 0) + overlap // step
    return counted
