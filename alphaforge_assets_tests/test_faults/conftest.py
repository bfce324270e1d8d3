"""Worlds, one sandbox and one warehouse a worker and wiped between rows; and the page that a run may write."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client

from alphaforge_assets.sandbox import process as sandbox
from alphaforge_assets.sandbox.directory import open_exchange
from alphaforge_assets.sandbox.exchange import Exchange
from alphaforge_assets_tests.conftest import LIFTED, lifted
from alphaforge_assets_tests.test_faults.table import written
from alphaforge_assets_tests.test_faults.world import NOW, PROCESSES, World

PAGE = os.environ.get("FAULTS_PAGE")


@pytest.fixture(scope="session")
def venues() -> Iterator[tuple[str, Exchange]]:
    """Where the venues answer, and the same generator here: what one is told to revise, so is the other."""
    PROCESSES.set_forkserver_preload(["alphaforge_assets_tests.test_faults.world"])
    with sandbox.start(now=NOW, budget_scale=LIFTED) as url:
        yield url, open_exchange(None, NOW, 1)


@pytest.fixture
def world(emptied: Client, schema_home: Path, venues: tuple[str, Exchange], tmp_path: Path) -> Iterator[World]:
    url, origin = venues
    own = World(emptied, schema_home, lifted(url, tmp_path / "governor.sqlite3"), tmp_path, origin=origin)
    yield own
    own.well()
    own.hook("/_log", None, "DELETE")
    own.hook("/_clock", {"now": NOW.isoformat()})


def pytest_sessionfinish() -> None:
    if PAGE:
        Path(PAGE).write_text(written(), encoding="utf-8")
