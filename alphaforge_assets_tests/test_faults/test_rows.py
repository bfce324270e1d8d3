"""Every row of the table does what it promises. Some are in `make test`, all in `make faults`."""

import ast
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from alphaforge_assets_tests.test_faults.table import RESULTS, TABLE, Result, Row
from alphaforge_assets_tests.test_faults.world import World

TESTS = Path(__file__).parents[1]
HERE = [row for row in TABLE if row.done]
ELSEWHERE = [row for row in TABLE if row.tests]


def marked(row: Row) -> "pytest.ParameterSet":  # type: ignore[name-defined]
    marks = [] if row.is_quick else [pytest.mark.faults]
    if row.known:
        marks.append(pytest.mark.xfail(reason=row.known, strict=True))
    return pytest.param(row, id=row.id, marks=marks)


@pytest.mark.parametrize("row", [marked(row) for row in HERE])
def test_a_row_does_what_it_promises(row: Row, world: World) -> None:
    began = time.monotonic()
    RESULTS.by_name[row.name] = Result(f"known failure: {row.known}" if row.known else "FAILED", 0.0)
    assert row.done is not None
    said = row.done(world)
    RESULTS.by_name[row.name] = Result(said, time.monotonic() - began)


def test_names_differ_and_the_tests_named_exist() -> None:
    assert len({row.name for row in TABLE}) == len(TABLE)
    assert all(bool(row.done) != bool(row.tests) for row in TABLE)
    for named in (test for row in ELSEWHERE for test in row.tests):
        file, _, function = named.partition("::")
        module = ast.parse((TESTS / file).read_text(encoding="utf-8"))
        assert function in {node.name for node in module.body if isinstance(node, ast.FunctionDef)}, named


@pytest.fixture(scope="session")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, int, float]]:
    """Test -> how many cases ran, how many failed, how long they took: all in one run."""
    report = tmp_path_factory.mktemp("elsewhere") / "report.xml"
    ids = [f"{TESTS}/{test}" for row in ELSEWHERE for test in row.tests]
    command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", "-o", "junit_family=xunit1", *ids]
    done = subprocess.run(command, cwd=TESTS.parent, capture_output=True, text=True, timeout=1500, check=False)
    assert report.exists(), done.stdout + done.stderr
    found: dict[str, tuple[int, int, float]] = {}
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - ours
        name = f"{Path(case.get('file', '')).name}::{case.get('name', '').partition('[')[0]}"
        ran, failed, took = found.get(name, (0, 0, 0.0))
        bad = case.find("failure") is not None or case.find("error") is not None
        found[name] = (ran + (case.find("skipped") is None), failed + bad, took + float(case.get("time", 0)))
    return found


@pytest.mark.faults
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("row", ELSEWHERE, ids=lambda row: row.id)
def test_a_row_that_is_proved_elsewhere_is(row: Row, elsewhere: dict[str, tuple[int, int, float]]) -> None:
    results = [elsewhere[test] for test in row.tests]
    ran, failed, took = (sum(column) for column in zip(*results, strict=True))
    how = f"`{row.tests[0].partition('::')[2]}`" + (" and another" if len(row.tests) > 1 else "")
    RESULTS.by_name[row.name] = Result(f"{how}: {ran} cases, {failed} failed", took)
    assert ran
    assert not failed
