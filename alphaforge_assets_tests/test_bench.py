"""The benchmarks run, all of them, with tiny sizes: what nothing runs does not run when it is wanted."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from alphaforge_assets_tests.test_repository import asked_of_make
from bench import results
from bench.measure import NO_PEERS, Row

ROOT = Path(__file__).parents[1]
# A group, and how many rows each of its questions has: one a floor or peer.
ROWS = {
    "a": {"venue's limits: command": 5, "limits lifted: command": 4, "limits lifted: body": 4, " alone": 8},
    "b": {"a run of one": 1, "the same,": 2, "nothing left to do": 1, "an asset-partition": 2, "partition status": 1},
    "c": {"-day": 2, "-month": 2, "-year of 1m into": 2, "as of": 2, "snapshot": 2, "panel": 2, "latest bar": 2},
    "d": {"landing_bars": 1, "staging_bars": 1, "bars_history": 1, "row, bars": 2, "the four tables": 1},
    "e": {"of the command": 1, "of the warehouse": 1},
    "f": {"--help": 1, "status": 1, " up": 1},
    "g": {"a row written": 3, "day of one": 1, "latest bar of one": 1, "latest bar of all": 1},
}
TOLD = "\n".join(["# Page", results.BEGIN, "old", results.END, "the rest", ""])


# Every group but two, which start what test_up and test_cli start as well; `make test-slow` runs all.
QUICK = "a,b,c,d,g"


@pytest.fixture(scope="module", params=[QUICK, pytest.param(",".join(ROWS), marks=pytest.mark.slow)])
def measured(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    file = tmp_path_factory.mktemp("bench") / "results.json"
    command = [sys.executable, "-m", "bench", "--smoke", "--only", request.param, "--results", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = dict(json.loads(file.read_text(encoding="utf-8")))
    assert ",".join(found) == request.param
    return found


@pytest.mark.timeout(900)
def test_every_row_is_there_and_has_a_floor_or_a_peer(measured: dict[str, Any]) -> None:
    for letter, its in measured.items():
        questions, rows = ROWS[letter], its["rows"]
        assert {q: sum(q in row["what"] for row in rows) for q in questions} == questions, letter
        for row in rows:
            assert all(sample > 0 for sample in row["ours"]), row
            assert row["ratio"] > 0 if row["theirs"] else row["note"] == NO_PEERS, row


@pytest.mark.timeout(900)
def test_results_say_when_where_and_how_busy(measured: dict[str, Any]) -> None:
    for group in measured.values():
        assert {"date", "commit", "machine", "load_before", "load_after", "size"} <= set(group)
        assert group["machine"]["cores"]


def group(*rows: Row) -> dict[str, Any]:
    return results.record(results.circumstances(), "a title", "full", rows)


def test_a_row_is_a_ratio_of_medians() -> None:
    record = Row("what", "s", [1.0, 9.0, 2.0], "floor", [4.0]).record()
    assert (record["median"], record["other"], record["ratio"], record["ours"]) == (2.0, 4.0, 0.5, [1.0, 9.0, 2.0])
    assert Row("what", "s", [1.0], "peer", [], NO_PEERS).record()["ratio"] is None


def test_groups_measured_again_replace_their_former_selves(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    results.save({"b": group(Row("old", "s", [1.0], "floor", [1.0])), "a": group()}, file)
    results.save({"b": group(Row("new", "s", [1.0], "floor", [1.0]))}, file)
    kept = results.saved(file)
    assert list(kept) == ["a", "b"]
    assert [row["what"] for row in kept["b"]["rows"]] == ["new"]


def test_the_table_goes_between_the_marks_of_the_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(TOLD, encoding="utf-8")
    for _ in range(2):
        results.write_page({"a": group(Row("what", "s", [1.0], "floor", [2.0]))}, page)
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# Page\n" + results.BEGIN)
    assert text.endswith(results.END + "\nthe rest\n")
    assert "| what | 1.00 s | floor | 2.00 s | 0.50 | 1 |" in text
    assert Counter(text.splitlines())["| " + " | ".join(results.HEAD) + " |"] == 1
    assert "old" not in text


def test_the_page_holds_the_kept_table(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text(results.PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    results.write_page(results.saved(), page)
    assert page.read_text(encoding="utf-8") == results.PAGE.read_text(encoding="utf-8"), "python -m bench --markdown"


def test_make_knows_the_benchmarks() -> None:
    assert "python -m bench\n" in asked_of_make("bench")
    assert "python -m bench --smoke\n" in asked_of_make("bench-smoke")
    assert "freqtrade" in (ROOT / "Makefile").read_text(encoding="utf-8").partition(".peers/.ready:\n")[2]
    assert ".peers" in asked_of_make("clean")
