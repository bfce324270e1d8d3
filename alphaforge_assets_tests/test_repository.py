"""What stands beside the code is in agreement with it: records of decisions, pages at the top, hooks, the wheel."""

import re
from pathlib import Path

import pytest

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
