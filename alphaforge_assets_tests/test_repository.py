"""What stands beside the code is in agreement with it: records of decisions, pages at the top, hooks, the wheel."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
DECISIONS = ROOT / "docs" / "decisions"
INDEX = (DECISIONS / "README.md").read_text(encoding="utf-8")
RECORDS = sorted(path for path in DECISIONS.glob("*.md") if path.name != "README.md")
RECORD = re.compile(
    r"# (\d{4}) (.+)\n\nDate: (\d{4}-\d\d-\d\d) \(.*`[0-9a-f]{7}`.*\)\. Status: (?:accepted|superseded by \d{4})\.\n\n"
    r"## Context\n\n.+\n## Decision\n\n.+\n## Consequence\n\n.+\n",
    re.DOTALL,
)
RECORD_LINES_MAX = 25
# The README's own links are followed by test_readme, those of docs/*.md by test_docs.
PAGES = sorted({*ROOT.glob("*.md"), *DECISIONS.glob("*.md")} - {ROOT / "README.md"})


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_a_record_is_short_whole_and_in_the_index(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    record = RECORD.fullmatch(text)
    assert record, f"{path.name}: a record has a title, date, status, context, decision and consequence, in this order"
    number, title, date = record.groups()
    assert path.name.startswith(f"{number}-")
    assert text.count("\n") <= RECORD_LINES_MAX
    assert f"| [{number}]({path.name}) | {title} | {date} |" in INDEX


def test_records_are_numbered_without_a_gap() -> None:
    assert [path.name[:4] for path in RECORDS] == [f"{n:04d}" for n in range(1, len(RECORDS) + 1)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def asked_of_make(target: str) -> str:
    """The commands that `make target` would run, whatever was said to a make that runs these tests."""
    seen = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    return subprocess.run(["make", "-n", target], cwd=ROOT, env=seen, capture_output=True, text=True, check=True).stdout


def test_make_check_runs_files_that_exist() -> None:
    asked = asked_of_make("check")
    files = re.findall(r"alphaforge_assets_tests/\S+", asked)
    assert "alphaforge_assets_tests/test_style.py" in files
    assert [file for file in files if not (ROOT / file).is_file()] == []
    assert len(files) == len(set(files))
    assert all(line in asked for line in asked_of_make("lint").splitlines())


def test_the_hooks_are_local_and_part_of_make_lint() -> None:
    (repo,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert repo["repo"] == "local"
    asked = [line.removesuffix(" .") for line in asked_of_make("lint").splitlines()]
    assert [hook["entry"] for hook in repo["hooks"] if hook["entry"] not in asked] == []


def test_the_wheel_holds_the_licence_the_types_and_the_sql(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, capture_output=True, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert sum(name.endswith(".dist-info/licenses/LICENSE") for name in names) == 1
    assert "alphaforge_assets/py.typed" in names
    ours = {f"alphaforge_assets/{path.relative_to(ROOT)}" for path in (ROOT / "sql").rglob("*.sql")}
    assert ours <= set(names)


def test_lines_that_only_a_started_process_runs_are_counted(tmp_path: Path) -> None:
    """The short form of `make coverage`."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE")} | {
        "COVERAGE_FILE": str(tmp_path / "data"),
        "PYTHONPATH": str(ROOT),
    }
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import alphaforge_assets.verdicts'])"
    (tmp_path / "starts.py").write_text(child)
    for command in (
        ["run", str(tmp_path / "starts.py")],
        ["combine", "--quiet"],
        ["report", "--include=*/verdicts.py"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "coverage", *command], cwd=ROOT, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert "100.0%" in done.stdout
