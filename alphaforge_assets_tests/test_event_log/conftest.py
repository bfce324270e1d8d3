"""No test here waits for the disk, and some have a storage alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as db
from sqlalchemy.engine import Engine

from alphaforge_assets.event_log.storage import (
    BatchedSqliteEventLogStorage,
)
from alphaforge_assets_tests.test_event_log.story import (
    hurry,
)


@pytest.fixture(autouse=True, scope="module")
def in_a_hurry() -> Iterator[None]:
    """Every connection of this module's tests."""
    db.event.listen(Engine, "connect", hurry)
    yield
    db.event.remove(Engine, "connect", hurry)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[BatchedSqliteEventLogStorage]:
    """Our storage alone, in an empty folder."""
    storage = BatchedSqliteEventLogStorage(str(tmp_path / "runs"))
    yield storage
    storage.dispose()
