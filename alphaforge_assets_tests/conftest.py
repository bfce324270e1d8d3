"""What every test may ask for: a warehouse, recorded data, and a process environment of its own."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client

from alphaforge_assets.warehouse.client import open_warehouse

ENVIRONMENT = ("ALPHAFORGE_HOME", "ALPHAFORGE_VENUES", "ALPHAFORGE_UNIVERSE", "CLICKHOUSE_URL", "DAGSTER_HOME")
RECORDED = Path(__file__).parents[1].parent / "shared"


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
