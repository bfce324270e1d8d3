"""Failpoints: each is in the pipeline once, does as told at the passing it is told, and never by accident."""

import errno
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from alphaforge_assets import failpoints
from alphaforge_assets.errors import BadInput, Transient
from alphaforge_assets.settings import settings_from_environment
from alphaforge_assets_tests.installed import Installed

PACKAGE = Path(failpoints.__file__).parent


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    failpoints.arm("", is_sandbox=True)


def test_each_point_is_passed_in_one_place_and_no_other_is() -> None:
    files = [path for path in PACKAGE.rglob("*.py") if path.name != "failpoints.py"]
    passed = [p for path in files for p in re.findall(r'passing\("([^"]+)"\)', path.read_text(encoding="utf-8"))]
    assert sorted(passed) == sorted(failpoints.POINTS)


@pytest.mark.parametrize(
    "text",
    ["publish.befor=kill", "publish.before", "publish.before=explode", "publish.before=kill@0", "publish.before=kill@x",
     "publish.before=sleep", "publish.before=sleep:x", "publish.before=kill:3", "tail.reached=kill,nowhere=kill"],
)  # fmt: skip
def test_an_order_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="ALPHAFORGE_FAIL"):
        failpoints.read(text)


def test_nothing_is_ordered_while_the_venues_are_real(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ALPHAFORGE_FAIL", "publish.before=raise")
    with pytest.raises(BadInput, match="emulated venues only"):
        settings_from_environment()
    failpoints.passing("publish.before")
    done = Installed(tmp_path).run("status", ALPHAFORGE_FAIL="publish.before=kill")
    assert done.returncode == 2
    assert "the venues are live" in done.stderr
    assert not (tmp_path / "home").exists()


def test_it_happens_at_the_passing_that_was_named_and_at_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALPHAFORGE_VENUES", "http://127.0.0.1:9")
    monkeypatch.setenv("ALPHAFORGE_FAIL", "ledger.after=raise@2, staging.before=nospace, staging.after=sleep:0.01")
    settings_from_environment()
    failpoints.passing("ledger.after")
    settings_from_environment()  # read again by another part of the process: it counts on
    with pytest.raises(Transient, match=r"told us to fail at ledger\.after"):
        failpoints.passing("ledger.after")
    failpoints.passing("ledger.after")
    failpoints.passing("staging.after")
    with pytest.raises(OSError, match="No space left") as raised:
        failpoints.passing("staging.before")
    assert raised.value.errno == errno.ENOSPC


def test_killed_is_killed() -> None:
    code = (
        "from alphaforge_assets import failpoints as f; f.arm('tail.reached=kill@3', is_sandbox=True)\n"
        "for n in range(9): f.passing('tail.reached'); print(n)"
    )
    done = subprocess.run([sys.executable, "-uc", code], capture_output=True, text=True, cwd=PACKAGE.parent)
    assert (done.returncode, done.stdout.split()) == (-9, ["0", "1"])
    assert "kill at passing 3 of tail.reached" in done.stderr
