"""What commands open: the environment, the warehouse with the schema of this code, Dagster's record, the venues.

All of it is loaded when it is opened: settings and client take half a second, Dagster takes one more.
"""

import fnmatch
import gc
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from alphaforge_assets.cli.screen import complain
from alphaforge_assets.errors import BadInput, VenueUnavailable

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client
    from dagster import DagsterInstance

    from alphaforge_assets.research import Research
    from alphaforge_assets.settings import Settings
    from alphaforge_assets.universe import Instrument, Universe

CONNECT_S_MAX = 5.0


@contextmanager
def loading() -> Iterator[None]:
    """Load modules without looking for garbage among them again and again, now or at any later time.

    There is none: they stay. Loading what a backfill needs took 1.7 s of processor and leaving it 0.9; it is 1.35 and
    0.05 so.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.freeze()


def start_warehouse(settings: "Settings | None" = None) -> None:
    """Start the embedded warehouse that a command will open, and do not wait: that takes as long as to load Dagster.

    Without settings, before anything is checked, only one that was there before.
    """
    from alphaforge_assets.settings import home_of_environment, server_of_environment
    from alphaforge_assets.warehouse.local import start_ahead

    if settings is None and server_of_environment() is None:
        start_ahead(home_of_environment())
    elif settings is not None and settings.clickhouse_url is None:
        start_ahead(settings.home, is_certain=True)


def environment(*, opens_warehouse: bool = False) -> "tuple[Settings, Universe]":
    """What the environment says, and the universe it names. Raises BadInput."""
    if opens_warehouse:
        start_warehouse()
    with loading():
        from alphaforge_assets.settings import settings_from_environment
        from alphaforge_assets.universe import load_universe

        settings = settings_from_environment()
        return settings, load_universe(settings.universe_file)


@contextmanager
def warehouse(settings: "Settings | None" = None) -> "Iterator[Client]":
    """A client of the warehouse, its schema up to date. Raises BadInput, WarehouseDown, MigrationRefused."""
    with loading():
        from alphaforge_assets.settings import settings_from_environment
        from alphaforge_assets.warehouse.schema import open_current

        settings = settings or settings_from_environment()
    with open_current(settings.home, settings.clickhouse_url) as client:
        yield client


@contextmanager
def warehouse_and_dagster(settings: "Settings") -> "Iterator[tuple[Client, DagsterInstance]]":
    """The same, and the Dagster instance of the home: in this order, for a warehouse that is down leaves no trace."""
    opened: list[DagsterInstance] = []
    with ExitStack() as stack:
        with loading():  # opening an instance loads half of what Dagster is
            from alphaforge_assets import instance
            from alphaforge_assets.warehouse.schema import open_current

            def open_dagster() -> None:
                opened.append(stack.enter_context(instance.opened(settings.dagster_home)))

            client = stack.enter_context(open_current(settings.home, settings.clickhouse_url, open_dagster))
        yield client, opened[0]


@contextmanager
def reader(*, is_quiet: bool = False) -> "Iterator[Research]":
    """The warehouse as a reader sees it; what it warns of is a line on stderr, but for gaps if `is_quiet`."""
    from alphaforge_assets.research import IncompleteWarning, Research

    def shown(message: Warning | str, *where: object, **more: object) -> None:
        if not (is_quiet and isinstance(message, IncompleteWarning)):
            complain(str(message))

    settings, universe = environment(opens_warehouse=True)
    with warehouse(settings) as client, warnings.catch_warnings():
        warnings.showwarning = shown
        yield Research(client, universe)


def readable(
    settings: "Settings", universe: "Universe", patterns: Sequence[str], dataset: str = "bars"
) -> "tuple[Instrument, ...]":
    """The instruments that patterns name: of the universe, and where it has none of a pattern, of all ever kept.

    The universe says what is kept up to date, not what may be read. Raises BadInput for a pattern that names nothing
    that is or was there, with the nearest keys.
    """
    try:
        return universe.select(patterns)
    except BadInput:
        from alphaforge_assets.research.reading import kept_once

        with warehouse(settings) as client:
            ever = {i.key: i for i in kept_once(client, [dataset])} | universe.by_key
        hits = {pattern: fnmatch.filter(ever, pattern) for pattern in patterns}
        if not all(hits.values()):
            raise
        return tuple(ever[key] for key in sorted({key for its in hits.values() for key in its}))


def prepare_to_ask(settings: "Settings") -> None:
    """Before venues are asked: one word at once where their patience would take a minute, for nobody waits for a
    sandbox to come back; and retries are in the ledger, so that stamina need not write each on the terminal too.

    Raises VenueUnavailable if there is no sandbox where it should be.
    """
    import socket
    from urllib.parse import urlsplit

    import stamina

    stamina.instrumentation.set_on_retry_hooks([])
    if settings.venues_url is None:
        return
    parts = urlsplit(settings.venues_url)
    address = (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
    try:
        socket.create_connection(address, timeout=CONNECT_S_MAX).close()
    except OSError as error:
        raise VenueUnavailable(
            f"no sandbox answers at {settings.venues_url} ({error.strerror or error}): start it with `alphaforge"
            " sandbox`, or set ALPHAFORGE_VENUES to where it is"
        ) from error
