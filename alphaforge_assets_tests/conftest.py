"""What every test may ask for: a warehouse, recorded data, and a process environment of its own."""

import contextlib
import datetime as dt
import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from clickhouse_connect.driver.client import Client
from filelock import FileLock
from xdist.scheduler import LoadFileScheduling

from alphaforge_assets.sandbox import process as sandbox
from alphaforge_assets.venues.directory import REST, Exchanges
from alphaforge_assets.venues.rest import RestConnection
from alphaforge_assets.venues.source import Access
from alphaforge_assets.warehouse.client import open_warehouse
from alphaforge_assets_tests.installed import Filled, Installed, Up, filled, home_with_schema, launched, started_up

# A loaded machine is not a failure.
hypothesis.settings.register_profile("alphaforge", deadline=None, database=None, max_examples=50)
hypothesis.settings.load_profile("alphaforge")

ENVIRONMENT = (
    "ALPHAFORGE_HOME",
    "ALPHAFORGE_VENUES",
    "ALPHAFORGE_ALERTS",
    "ALPHAFORGE_FAIL",
    "ALPHAFORGE_UNIVERSE",
    "ALPHAFORGE_REPORTS",
    "ALPHAFORGE_RAW",
    "ALPHAFORGE_STREAM",
    "CLICKHOUSE_URL",
    "DAGSTER_HOME",
    "DAGSTER_EVENT_BATCH_SIZE",
)
RECORDED = Path(__file__).parents[1].parent / "shared"


# In the background of a script it is ignored. Dagster may give SIGTERM the same, and what tests start would not end.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Files that share a running `up`: a second one, with its backfill, costs two minutes.
OF_UP = ("test_up.py", "test_ui.py", "test_webserver.py", "test_health.py", "test_audit.py")

# Files of half a minute or more, whatever their number of tests: begun last, one of them would keep a single worker
# busy. Those of `up` are one to the workers, and the longest.
LONG = (*OF_UP, "test_cli.py", "test_bench.py", "test_archive_landing.py", "test_coverage.py", "test_backup.py",
        "test_readme.py", "test_answers.py", "test_cli_read.py", "test_exchanges.py", "test_trades_read.py",
        "test_trades_venues.py", "test_pipeline.py", "test_trade_archive.py", "test_migrations.py", "test_live.py",
        "test_trades.py", "test_snapshots.py", "test_price_archives.py", "test_price_bars.py", "test_crash.py",
        "test_rows.py", "test_sandbox_streams.py", "test_derived.py", "test_venues_connection.py", "test_docs.py",
        "test_live_up.py", "test_stream_faults.py", "test_stream_tail.py")  # fmt: skip


class ByFile(LoadFileScheduling):
    """A file's tests run in one process, and so do the files of `up`."""

    def _split_scope(self, nodeid: str) -> str:
        file = str(super()._split_scope(nodeid))
        return "up" if file.endswith(OF_UP) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    """What `--dist loadfile` stands for here."""
    return ByFile(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, the others in the order they came."""
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the developer's home, warehouse or universe, nor leaves anything in them."""
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "user"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("ALPHAFORGE_HOME", str(home / ".alphaforge"))
    monkeypatch.setenv("DAGSTER_HOME", str(home))


@pytest.fixture(scope="session")
def warehouse_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An ALPHAFORGE_HOME whose embedded server runs for the whole session."""
    home = tmp_path_factory.mktemp("home")
    with open_warehouse(home):
        yield home


@pytest.fixture
def warehouse(warehouse_home: Path) -> Iterator[Client]:
    """A client of the session's server. What a test creates there, it drops or shares: see `fresh_warehouse`."""
    with open_warehouse(warehouse_home) as client:
        yield client


@pytest.fixture
def fresh_warehouse(tmp_path: Path) -> Iterator[Client]:
    """A client of an empty server of its own (half a second), for tests that migrate or count everything."""
    with open_warehouse(tmp_path / "fresh") as client:
        yield client


@pytest.fixture
def database(warehouse: Client) -> Iterator[str]:
    """A database of the test's own on the session's server, dropped afterwards."""
    name = f"test_{uuid.uuid4().hex}"
    warehouse.command("CREATE DATABASE {name:Identifier}", parameters={"name": name})
    yield name
    warehouse.command("DROP DATABASE {name:Identifier} SYNC", parameters={"name": name})


@pytest.fixture(scope="session")
def recorded() -> Path:
    """The recorded market data and wire bodies."""
    folder = Path(os.environ.get("ALPHAFORGE_RECORDED") or RECORDED)
    if not folder.is_dir():
        pytest.skip(f"no recorded data at {folder}; set ALPHAFORGE_RECORDED")
    return folder


LIFTED = 50.0


def lifted(url: str, governor_file: Path, origin: str = "sandbox") -> Exchanges:
    """The exchanges of a sandbox whose rate limits are lifted, on both sides, so that tests do not wait."""
    return Exchanges(origin, url, governor_file, limits_factor=LIFTED)


def open_venue(name: str, *, base_url: str | None, governor_file: Path, **more: Any) -> RestConnection:
    """The REST API of a venue, open."""
    return REST[name].open(Access(base_url, governor_file, **more))


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ALPHAFORGE_HOME with our schema and no server: copied in half a second, where making one takes four."""
    base = tmp_path_factory.getbasetemp()
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base  # the workers share one
    home, made = root / "template", root / "template.made"
    with FileLock(root / "template.lock"):
        if not made.exists():
            home_with_schema(home)
            made.touch()
    return home


@pytest.fixture
def migrated(template: Path, tmp_path: Path) -> Iterator[Client]:
    """A client of an empty warehouse with our schema, and of a server of its own."""
    with open_warehouse(Installed(tmp_path / "migrated").furnished(template).home) as client:
        yield client


@pytest.fixture(scope="session")
def schema_home(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An ALPHAFORGE_HOME with our schema, whose embedded server runs for the whole session."""
    home = Installed(tmp_path_factory.mktemp("schema")).furnished(template).home
    with open_warehouse(home):
        yield home


def filled_tables(client: Client) -> list[str]:
    """The tables of ours that have rows, the history of migrations aside."""
    tables = client.query(
        "SELECT name FROM system.tables WHERE database = 'analytics' AND engine LIKE '%MergeTree'"
        " AND name != 'flyway_schema_history' AND total_rows > 0"
    )
    return [table for (table,) in tables.result_rows]


def empty(client: Client) -> None:
    """Leave no row in any table of ours."""
    for table in filled_tables(client):
        client.command("TRUNCATE TABLE analytics.{t:Identifier}", parameters={"t": table})


@pytest.fixture
def emptied(schema_home: Path) -> Iterator[Client]:
    """A client of that warehouse with every table empty: for tests of statements, many of which share one schema."""
    with open_warehouse(schema_home) as client:
        empty(client)
        yield client


@pytest.fixture(scope="session")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchanges]:
    """Generated venues whose clock stands at 2025-07-01 00:00 UTC, for the whole session: read it, do not change it."""
    now = dt.datetime(2025, 7, 1, tzinfo=dt.UTC)
    with sandbox.start(now=now, budget_scale=LIFTED) as url:
        yield lifted(url, tmp_path_factory.mktemp("governor") / "governor.sqlite3")


OF_THE_UP = pytest.StashKey[contextlib.ExitStack]()


@pytest.fixture(scope="session")
def up(template: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Up]:
    """A running `alphaforge up --venues sandbox`, with a backfill under way, until the last file of `up` is done."""
    with request.session.stash.setdefault(OF_THE_UP, contextlib.ExitStack()) as stack:
        running = started_up(Installed(tmp_path_factory.mktemp("up")).furnished(template))
        yield launched(stack.enter_context(running))


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """End `up` once no file of its own is next: with nothing to do it takes a tenth of a core, from all the others."""
    is_last = nextitem is None or nextitem.path.name not in OF_UP
    if item.path.name in OF_UP and is_last and OF_THE_UP in item.session.stash:
        item.session.stash[OF_THE_UP].close()


@pytest.fixture(scope="session")
def filled_up(up: Up) -> Filled:
    """What a backfill launched from the UI of `up` left there: ten days of four instruments."""
    return filled(up)
