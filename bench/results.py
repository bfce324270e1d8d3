"""Results: results.json with every sample, the table on the terminal, and the same table in docs/performance.md."""

import datetime as dt
import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.ground import ROOT
from bench.measure import Row

FILE = ROOT / "bench" / "results.json"
PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- the table: `python -m bench --markdown` writes it -->", "<!-- end of the table -->"
HEAD = ("what", "ours", "floor or peer", "theirs", "ratio", "n", "note")
RIGHT = {"ours", "theirs", "ratio", "n"}


def machine() -> dict[str, Any]:
    """What it was measured on, without its name."""
    return {
        "cpu": _line("/proc/cpuinfo", "model name") or platform.machine(),
        "cores": os.cpu_count(),
        "memory": _line("/proc/meminfo", "MemTotal"),
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": platform.python_version(),
    }


def circumstances() -> dict[str, Any]:
    """When, on what commit, and how busy the machine was before: of one group's run."""
    git = ["git", "-C", str(ROOT)]
    commit = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    changed = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True).stdout.strip()
    return {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "commit": commit + ("+" if changed else ""),
        "machine": machine(),
        "load_before": round(os.getloadavg()[0], 1),
    }


def record(circumstances: Mapping[str, Any], title: str, size: str, rows: Sequence[Row]) -> dict[str, Any]:
    """A group's entry in results.json."""
    after = {"size": size, "load_after": round(os.getloadavg()[0], 1)}
    return {"title": title, **circumstances, **after, "rows": [row.record() for row in rows]}


def saved(file: Path = FILE) -> dict[str, Any]:
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else {}


def save(groups: Mapping[str, Any], file: Path = FILE) -> None:
    """Groups that were measured now replace their former selves; others stay, with their own dates."""
    merged = dict(sorted({**saved(file), **groups}.items()))
    file.write_text(json.dumps(merged, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def show(groups: Mapping[str, Any]) -> None:
    """The table on the terminal."""
    table = Table(box=None, pad_edge=False)
    for name in HEAD:
        table.add_column(name, justify="right" if name in RIGHT else "left")
    for letter, group in groups.items():
        table.add_row(f"[bold]({letter}) {group['title']}[/bold]")
        for row in group["rows"]:
            table.add_row(*_cells(row))
    Console(width=None if Console().is_terminal else 200).print(table)


def write_page(groups: Mapping[str, Any], page: Path = PAGE) -> None:
    """The tables between the page's two marks."""
    lines = []
    for letter, group in groups.items():
        its = group["machine"]
        lines += [
            f"**({letter}) {group['title']}**: {group['date'][:10]}, commit `{group['commit']}`, {its['cores']} cores"
            f" ({its['cpu']}), Python {its['python']}, load {group['load_before']} before and"
            f" {group['load_after']} after{'' if group['size'] == 'full' else ', size ' + group['size']}.",
            "",
            "| " + " | ".join(HEAD) + " |",
            "|" + "|".join("---:" if name in RIGHT else "---" for name in HEAD) + "|",
            *("| " + " | ".join(_cells(row)) + " |" for row in group["rows"]),
            "",
        ]
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise SystemExit(f"{page} has not the two marks that the table belongs between")
    page.write_text("\n".join([before + BEGIN, "", *lines]) + mark + after, encoding="utf-8")


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    ratio = "–" if row["ratio"] is None else f"{row['ratio']:.2f}"
    other = "–" if row["other"] is None else _figure(row["other"], row["unit"])
    ours = _figure(row["median"], row["unit"])
    return row["what"], ours, row["against"], other, ratio, str(len(row["ours"])), row["note"]


def _figure(value: float, unit: str) -> str:
    return f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2}f} {unit}"


def _line(file: str, name: str) -> str:
    path = Path(file)
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")
