"""The README is true: every command in it is run, every link leads somewhere."""

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from alphaforge_assets.venues.directory import Exchanges
from alphaforge_assets.warehouse.client import open_warehouse
from alphaforge_assets_tests.installed import SCRIPT

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
COMMANDS = [line for language, block in BLOCKS if language == "sh" for line in block.splitlines() if line.strip()]

# What make itself runs: the demo is run below, `up` in test_up.py, and the tests are what is running now.
MAKE = {"make demo": "demo", "make test": None, "make up": "up --venues sandbox"}


def environment(home: Path, exchange: Exchanges) -> dict[str, str]:
    return os.environ | {"ALPHAFORGE_HOME": str(home), "ALPHAFORGE_VENUES": exchange.base_url}


def test_make_targets_run_the_commands_tested_elsewhere() -> None:
    for command in (c for c in COMMANDS if c.startswith("make ")):
        runs = MAKE[command]
        shown = subprocess.run(["make", "-n", command.split()[1]], cwd=ROOT, capture_output=True, text=True, check=True)
        wanted = ".venv/bin/pytest" if runs is None else f".venv/bin/alphaforge {runs}"
        assert wanted in shown.stdout


def test_the_demo_shows_a_newcomer_what_there_is(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(SCRIPT), "demo"],
        env=os.environ | {"ALPHAFORGE_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    for part in ("emulated", "52,704 rows", "okx_perp", "DataFrame of 24 rows", "up --venues sandbox"):
        assert part in done.stdout
    assert max(len(line) for line in done.stdout.split("Next")[0].splitlines()) <= 80


def test_everything_else_runs_in_order(tmp_path: Path, exchange: Exchanges) -> None:
    with contextlib.ExitStack() as warehouses:  # one server a home, so that no command has to start its own
        seen = _entered(warehouses, tmp_path / "home", exchange)
        for command in (c for c in COMMANDS if not c.startswith("make ")):
            if command.startswith("export ALPHAFORGE_HOME="):
                seen = _entered(warehouses, tmp_path / command.partition("=")[2], exchange)
                continue
            assert command.startswith(".venv/bin/alphaforge "), command
            done = _ran(["bash", "-c", command.replace(".venv/bin/alphaforge", str(SCRIPT), 1)], seen)
            assert (done.returncode, done.stderr) == (0, ""), (command, done.stdout, done.stderr)
            assert done.stdout, command
        (block,) = [block for language, block in BLOCKS if language == "python"]
        code = block.replace("START", '"2025-05-01"').replace("END", '"2025-05-03"')
        done = _ran([sys.executable, "-c", code + "\nprint(len(bars), closes.shape)"], seen)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        assert "still gives it" in done.stdout
        assert "48 (48, " in done.stdout


def _entered(warehouses: contextlib.ExitStack, home: Path, exchange: Exchanges) -> dict[str, str]:
    warehouses.enter_context(open_warehouse(home))
    return environment(home, exchange)


def _ran(command: list[str], seen: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, env=seen, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)


@pytest.mark.parametrize("target", re.findall(r"\]\((?!http)([^)#]+)\)", README))
def test_links_lead_somewhere(target: str) -> None:
    assert (ROOT / target).exists() or (ROOT / "alphaforge_assets" / target).exists()
