"""What commands open: the environment, the warehouse with the schema of this code, Dagster's record, the venues.

All of it is loaded when it is opened: settings and client take half a second, Dagster takes one more.
"""

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from alphaforge_assets.cli.screen import complain
from alphaforge_assets.errors import VenueUnavailable

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client
    from dagster import DagsterInstance

    from alphaforge_assets.research import Research
    from alphaforge_assets.settings import Settings
    from alphaforge_assets.universe import Universe

CONNECT_S_MAX = 5.0


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
    from alphaforge_assets.settings import settings_from_environment
    from alphaforge_assets.universe import load_universe

    settings = settings_from_environment()
    return settings, load_universe(settings.universe_file)


@contextmanager
def warehouse(settings: "Settings | None" = None) -> "Iterator[Client]":
    """A client of the warehouse, its schema up to date. Raises BadInput, WarehouseDown, MigrationRefused."""
    from alphaforge_assets.settings import settings_from_environment
    from alphaforge_assets.warehouse.schema import open_current

    settings = settings or settings_from_environment()
    with open_current(settings.home, settings.clickhouse_url) as client:
        yield client


@contextmanager
def warehouse_and_dagster(settings: "Settings") -> "Iterator[tuple[Client, DagsterInstance]]":
    """The same, and the Dagster instance of the home: in this order, for a warehouse that is down leaves no trace."""
    from alphaforge_assets import instance
    from alphaforge_assets.warehouse.schema import open_current

    opened: list[DagsterInstance] = []
    with ExitStack() as stack:

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
