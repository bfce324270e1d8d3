"""The house rules that a machine can hold."""

import ast
import re
from pathlib import Path

import pytest

from alphaforge_assets import errors
from alphaforge_assets.datasets.registry import DATASETS, READABLE

ROOT = Path(__file__).parents[1]
ERRORS = {name for name, its in vars(errors).items() if isinstance(its, type)}
MODULES = sorted((ROOT / "alphaforge_assets").rglob("*.py"))
TESTS = sorted((ROOT / "alphaforge_assets_tests").rglob("*.py"))
STATEMENTS = sorted((ROOT / "sql").rglob("*.sql"))
LINES_MAX = 400
FUNCTION_LINES_MAX = 75
BANNED = {"utils", "util", "helpers", "helper", "common", "base", "core", "manager", "misc"}
SQL_CALLS = {"command", "query", "query_df", "query_arrow", "query_np", "raw_query", "execute"}


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_module_says_what_belongs_in_it_and_stays_small(path: Path) -> None:
    module = tree(path)
    faces = (ROOT / "alphaforge_assets", ROOT / "alphaforge_assets" / "research")  # what people import from outside
    if path.name == "__init__.py" and path.parent not in faces:
        assert not module.body, f"{path}: one import path a symbol, so packages stay empty"
        return
    assert ast.get_docstring(module), f"{path} has no docstring"
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= LINES_MAX, f"{path} has {lines} lines: make it a package of the same name"
    assert path.stem not in BANNED


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_functions_are_short_and_public_ones_name_the_errors_they_raise(path: Path) -> None:
    for node in ast.walk(tree(path)):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        length = (node.end_lineno or node.lineno) - node.lineno + 1
        assert length <= FUNCTION_LINES_MAX, f"{path}:{node.lineno} {node.name} has {length} lines"
        is_command = any("click." in ast.unparse(d) or "command(" in ast.unparse(d) for d in node.decorator_list)
        if node.name.startswith("_") or is_command:  # the docstring of a command is its help
            continue
        unnamed = raised(node) - set(re.findall(r"\w+", ast.get_docstring(node) or ""))
        assert not unnamed, (
            f"{path}:{node.lineno} {node.name}: its docstring does not name {', '.join(sorted(unnamed))}"
        )


def raised(function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    """Errors of errors.py that a function raises itself."""
    found, waiting = set(), list(function.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name):
            found.add(node.exc.func.id)
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            waiting += ast.iter_child_nodes(node)
    return found & ERRORS


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_sql_is_built_from_strings(path: Path) -> None:
    if "embedded" in path.parts or "migrations" in path.parts or path.name == "governor.py":
        return  # the engine's side of the wire, the statements of the migration files, and SQLite
    for node in ast.walk(tree(path)):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in SQL_CALLS
            and node.args
        ):
            built = isinstance(node.args[0], (ast.JoinedStr, ast.BinOp))
            assert not built, f"{path}:{node.lineno}: bind parameters, and keep the statement in sql/"


@pytest.mark.parametrize("path", [*MODULES, *TESTS, *STATEMENTS], ids=lambda p: str(p.relative_to(ROOT)))
def test_no_leftovers(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"\b(TODO|FIXME|XXX|HACK)\b", text.replace('"XXX', "").replace("(TODO|FIXME|XXX|HACK)", ""))
    assert not re.search(r"\bexcept( Exception| BaseException)?:\s*\n\s*pass\b", text)


def test_the_environment_is_read_in_one_place() -> None:
    readers = [
        str(path.relative_to(ROOT / "alphaforge_assets"))
        for path in MODULES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv") and isinstance(node.value, ast.Name)
    ]
    # Children are given an environment by whoever starts them, and chdb takes its time zone from there.
    starters = {"cli/part.py", "cli/processes.py", "sandbox/process.py", "warehouse/local.py"}
    # Dagster takes the size of its batches from there and from nowhere else.
    dagster_settings = {"event_log/storage.py"}
    assert set(readers) <= {"settings.py", "warehouse/embedded/process.py"} | starters | dagster_settings, readers


def test_every_statement_is_used_and_starts_with_its_reason() -> None:
    code = "\n".join(p.read_text(encoding="utf-8") for p in MODULES)
    composed = {f"{d.reads}_as_of" for d in READABLE.values()} | {"reads/series_as_of"}
    composed |= {f"mart/{d.derives}" for d in DATASETS.values() if d.derives}
    for path in STATEMENTS:
        assert path.read_text(encoding="utf-8").startswith("-- "), f"{path} does not say what it is for"
        if path.parent.name == "migrations" or "checks" in path.parts:
            continue
        name = str(path.relative_to(ROOT / "sql").with_suffix(""))
        assert name in composed or f'"{name}"' in code, f"{name} is not used"


def test_every_dependency_is_locked_with_hashes_and_no_address() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert "://" not in lock
    pins = re.findall(r"^[a-z0-9][\w.\-\[\]]*==.*?(?=^[a-z0-9]|\Z)", lock, re.MULTILINE | re.DOTALL)
    assert len(pins) > 100
    assert all("--hash=sha256:" in pin for pin in pins)
