"""Verdicts stand in one place: no statement gives one that it does not know, and none is spelled out elsewhere."""

import re
from pathlib import Path

from alphaforge_assets.verdicts import ATTEMPTS, EXPLAINED, NOT_DUE, UNEXPLAINED, VERDICTS

ROOT = Path(__file__).parents[1]


def test_each_is_explained_or_not_and_only_an_explained_one_is_not_due() -> None:
    assert set(EXPLAINED) | set(UNEXPLAINED) == set(VERDICTS)
    assert not set(EXPLAINED) & set(UNEXPLAINED)
    assert set(NOT_DUE) < set(EXPLAINED)
    assert dict(zip(ATTEMPTS["verdicts"], ATTEMPTS["attempts_max"], strict=True))["no_trades"] == 0


def test_the_statements_give_no_other_and_the_dictionary_names_them_all() -> None:
    given: set[str] = set()
    for path in (ROOT / "sql" / "coverage").rglob("gaps.sql"):
        text = path.read_text(encoding="utf-8")
        if path.parent.name == "sampled":  # a day of it is there or not
            (judged,) = re.findall(r"^ *if\((.*)\) AS verdict", text, re.MULTILINE)
            given |= set(re.findall(r"'([a-z_]+)'", judged)) & set(VERDICTS)
            continue
        judged = text[text.index("multiIf(", text.index("facts AS")) : text.index(") AS verdict")]
        given |= set(re.findall(r"(?:, |if\([^']*)'([a-z_]+)'", judged)) & (set(VERDICTS) | {"x"})
        assert re.findall(r"'(\w+)'\) AS verdict", text) == ["unknown"]
    assert given == set(VERDICTS) - {"suspicious"}  # which needs more than one silence: suspicious.sql
    view = (ROOT / "sql/migrations/R__v_gaps.sql").read_text(encoding="utf-8")
    (comment,) = re.findall(r"verdict LowCardinality\(String\) COMMENT '([^']+)'", view)
    assert set(re.split(r", | or ", comment)) == set(VERDICTS)


def test_nobody_else_lists_what_is_unexplained() -> None:
    files = [*(ROOT / "sql").rglob("*.sql"), *(ROOT / "alphaforge_assets").rglob("*.py")]
    lists = re.compile(r"""\(\s*['"](we_missed|unknown)['"],\s*['"](we_missed|unknown)['"]""")
    assert not [str(f) for f in files if lists.search(f.read_text(encoding="utf-8"))]
