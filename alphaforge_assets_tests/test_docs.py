"""What docs/ says is so: its commands and Python are run in order, and give the output that is shown."""

import ast
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

from alphaforge_assets.catalog import dictionary, layers
from alphaforge_assets.warehouse.client import open_warehouse
from alphaforge_assets_tests.installed import SCRIPT, Installed
from docs import make_dictionary

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"^```(sh|python|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SQL = re.compile(r"^```sql\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")
FORTNIGHT_HOURS = 14 * 24

# A shell and a Python that answer block by block, as the terminals of a reader. The first line they get is the mark
# that ends every answer. What `make demo` does is run by test_readme; a minute of it here would show nothing more.
SHELL = """
make() { test "$1" = demo; }
exec 3<&0 </dev/null 2>&1
read -r mark <&3
while read -r file <&3; do . "$file"; echo "$mark"; done
"""
PYTHON = """
import ast, pathlib, sys
mark, names = input(), {"__name__": "__main__"}
sys.stderr = sys.stdout
for line in sys.stdin:
    for node in ast.parse(pathlib.Path(line.strip()).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Expr):
            exec(compile(ast.Interactive([node]), "<stdin>", "single"), names)
        else:
            exec(compile(ast.Module([node], []), "<stdin>", "exec"), names)
    print(mark, flush=True)
"""


@dataclass(frozen=True)
class Step:
    """A block of the page, and the output shown below it, if any."""

    language: str
    code: str
    shown: str | None


NOT_IN_THE_TUTORIAL = ("v_fear_greed", "v_trades", "v_price_bars", "v_liquidations", "v_reconciliation")


def steps(page: str) -> list[Step]:
    """The blocks of a page in order. `text` belongs to the block before it."""
    found: list[Step] = []
    for language, text in BLOCK.findall(page):
        if language == "text":
            found[-1] = Step(found[-1].language, found[-1].code, text)
        else:
            found.append(Step(language, text, None))
    return found


class Terminal:
    """One of a reader's two terminals: blocks go in, and what they print comes out."""

    MARK = "--- end of the answer ---"

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._say(self.MARK)

    def run(self, code: str) -> str:
        """What the block prints, errors too. Fails if the terminal ends."""
        file = self.folder / "block.txt"
        file.write_text(code, encoding="utf-8")
        self._say(str(file))
        assert self.process.stdout is not None
        said = ""
        for line in self.process.stdout:
            if line.rstrip("\n").endswith(self.MARK):
                return said + line.rstrip("\n").removesuffix(self.MARK)
            said += line
        pytest.fail(f"the terminal ended: {said}")

    def close(self) -> None:
        """End it, and whatever a page that stopped half way left running in it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(60)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()


@dataclass(frozen=True)
class Tutorial:
    """The tutorial, done: where, and each step with what it really said."""

    folder: Path
    said: list[tuple[Step, str]]


def environment(folder: Path) -> dict[str, str]:
    """What a reader's terminal has: nothing of the developer's."""
    return Installed(folder).environment(ALPHAFORGE_HOME=None, ALPHAFORGE_BINANCE_SPOT_KEY=None)


def followed(folder: Path) -> Tutorial:
    """Do what the tutorial says in an empty folder, the sandbox on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    activate = folder / ".venv" / "bin" / "activate"
    activate.parent.mkdir(parents=True)
    activate.write_text(f'export PATH="{SCRIPT.parent}:$PATH"\n', encoding="utf-8")
    seen = environment(folder)
    first = seen | {"PATH": f"{SCRIPT.parent}{os.pathsep}{seen['PATH']}"}  # `make` needs nothing activated
    terminals = {
        "sh": Terminal(["bash", "-c", SHELL], folder, first),
        "python": Terminal([sys.executable, "-c", PYTHON], folder, seen),
    }
    said = []
    try:
        for step in steps((DOCS / "tutorial.md").read_text(encoding="utf-8")):
            code = step.code.replace("alphaforge sandbox", f"alphaforge sandbox --port {port}")
            code = code.replace("127.0.0.1:8900", f"127.0.0.1:{port}")
            said.append((step, terminals[step.language].run(code).replace(f":{port}", ":8900")))
    finally:
        for terminal in terminals.values():
            terminal.close()
    return Tutorial(folder, said)


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory: pytest.TempPathFactory) -> Tutorial:
    return followed(tmp_path_factory.mktemp("reader"))


def is_as_shown(said: str, shown: str) -> bool:
    """Line by line but for spaces at their ends; the sign … stands for anything."""
    lines, wanted = ("\n".join(line.rstrip() for line in text.strip().splitlines()) for text in (said, shown))
    return re.fullmatch(".*?".join(map(re.escape, wanted.split("…"))), lines, re.DOTALL) is not None


def test_the_data_dictionary_is_what_the_schema_says() -> None:
    assert make_dictionary.FILE.read_text(encoding="utf-8") == make_dictionary.text(), "run `make docs`"


@pytest.mark.timeout(1200)
def test_the_tutorial_gives_what_it_shows(tutorial: Tutorial) -> None:
    for step, said in tutorial.said:
        assert "Traceback" not in said, (step.code, said)
        assert step.shown is None or is_as_shown(said, step.shown), f"{step.code}\ngave\n{said}\nnot\n{step.shown}"


@pytest.mark.timeout(1200)
def test_the_notebook_gives_what_it_holds(tutorial: Tutorial) -> None:
    held = nbformat.read(DOCS / "research.ipynb", as_version=4)
    done = nbformat.read(DOCS / "research.ipynb", as_version=4)
    nbclient.NotebookClient(done, timeout=120, resources={"metadata": {"path": str(tutorial.folder)}}).execute(
        env=environment(tutorial.folder)
    )
    for before, after in zip(held.cells, done.cells, strict=True):
        assert shown(after) == shown(before), f"{before.source}\ngave\n{shown(after)}\nnot\n{shown(before)}"


def shown(cell: Any) -> list[str]:
    """The texts a cell shows; of a picture that there is one."""
    found = []
    for output in cell.get("outputs", ()):
        data = output.get("data", {})
        found.append("a picture" if "image/png" in data else data.get("text/plain", output.get("text", "")))
    return found


def contracts() -> dict[str, str]:
    """The sections of contracts.md by the name of their view."""
    page = (DOCS / "contracts.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))


def key(section: str) -> list[str]:
    """The columns that a section calls the key of its view."""
    return re.findall(r"`(\w+)`", section.partition("**Key:**")[2].partition("\n")[0])


@pytest.mark.parametrize("view", [name for name, layer in layers().items() if layer == "research"])
def test_every_view_for_researchers_has_its_contract(view: str) -> None:
    section, columns = contracts()[view], dictionary()[view].columns
    assert key(section)
    assert set(key(section)) <= {name for name, _, _ in columns}
    told = set(re.findall(r"`(\w+)`", section.partition("**NULL:**")[2]))
    assert {name for name, kind, _ in columns if kind.startswith("Nullable")} <= told


@pytest.mark.timeout(1200)
def test_the_keys_are_keys(tutorial: Tutorial) -> None:
    views = [name for name, layer in layers().items() if layer == "research"]
    with open_warehouse(tutorial.folder / ".alphaforge") as client:
        for view in views:
            columns = ", ".join(key(contracts()[view]))
            ((rows, keys),) = client.query(f"SELECT count(), uniqExact({columns}) FROM analytics.{view}").result_rows
            assert rows == keys, view
            # The tutorial asks for no index and no trades, and one source of bars has nothing to be compared with.
            assert rows or view in NOT_IN_THE_TUTORIAL, f"{view} has no rows to tell by"


@pytest.mark.timeout(1200)
def test_the_sql_of_the_pages_gives_the_fortnight(tutorial: Tutorial) -> None:
    asked = [q for page in DOCS.glob("*.md") for q in SQL.findall(page.read_text(encoding="utf-8"))]
    assert asked
    with open_warehouse(tutorial.folder / ".alphaforge") as client:
        for query in asked:
            assert len(client.query(query).result_rows) == FORTNIGHT_HOURS, query


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!http)([^)]+)\)", page.read_text(encoding="utf-8")):
        file, _, anchor = target.partition("#")
        there = page.parent / file if file else page
        assert there.exists(), target
        if anchor:
            heads = re.findall(r"^#+ (.*)$", there.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", head).strip().lower().replace(" ", "-") for head in heads}, target


def functions_of(file: str) -> set[str]:
    module = ast.parse((Path(__file__).parent / file).read_text(encoding="utf-8"))
    return {node.name for node in module.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("page", [DOCS / "guarantees.md", DOCS.parent / "SECURITY.md"], ids=lambda page: page.name)
def test_what_is_promised_is_tested(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = TEST.findall(text)
    there = {file: functions_of(file) for file in sorted({file for file, _ in named})}
    assert [f"{file}::{test}" for file, test in named if test not in there[file]] == []
    assert len(named) == text.count("::"), "a test is named as `file.py::test`"
    rows = [line for line in text.splitlines() if line.startswith("| ") and "the test that would fail" not in line]
    if page.name == "guarantees.md":
        assert len(re.findall(r"^## \d\. ", text, re.MULTILINE)) == 6
        assert [row for row in rows if not TEST.search(row)] == []
