"""A report as files: one HTML page that needs nothing else, the same as JSON, and a CSV a list. Pure but for templates.

The page loads nothing and runs only the one script it carries: its policy names the hashes of both. Whatever comes from
a venue is escaped, in HTML by jinja2, in CSV by a quote before what a spreadsheet would take for a formula.
"""

import base64
import csv
import datetime as dt
import hashlib
import io
import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

from alphaforge_assets.quality.coverage import WEIGHTS
from alphaforge_assets.report import words
from alphaforge_assets.report.heatmap import HeatMap, heat_map, kind, trend
from alphaforge_assets.report.reading import Report, Row
from alphaforge_assets.verdicts import VERDICTS

# More is no reading matter: the page stays small, and the CSV has the rest.
ROWS_SHOWN_MAX = 300
HTML, JSON, SUMMARY = "report.html", "report.json", "summary.json"
_TEXTURES = {"outage": "stripes", "unexplained": "crosses", "quiet": "dots", "lost": "bars"}
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def render(report: Report, code_version: str, code_hash: str) -> dict[str, bytes]:
    """File name -> content of everything a report consists of, the page last."""
    tables = _tables(report)
    data = {f"{name}.csv": _csv(report.columns[name], rows) for name, rows in tables.items()}
    whole = {"summary": summary(report), "code_version": code_version, "code_hash": code_hash} | {
        "made_at": report.made_at, "origin": report.origin, "totals": report.totals, "verdicts": report.verdicts,
        "rows": {"gaps": report.gaps.total, "rejected": report.rejected.total, "revisions": report.revisions.total},
    } | tables  # fmt: skip
    data |= {JSON: _json(whole), SUMMARY: _json(summary(report))}
    page = _page(report, [JSON, *(f"{name}.csv" for name in tables)], code_version, code_hash)
    return data | {HTML: page.encode()}


def summary(report: Report) -> dict[str, Any]:
    """What the list of reports says of one."""
    standing, word = words.standing(report)
    return {
        "name": report.name,
        "start": report.start,
        "end": report.end,
        "period": words.period(report.start, report.end),
        "standing": standing,
        "word": word,
        "score": report.totals["score_mean"] if report.totals["expected"] else None,
        "headline": words.headline(report),
    }


def render_index(entries: Sequence[Mapping[str, Any]]) -> bytes:
    """The list of reports, the latest first."""
    css = Markup(_text("page.css"))  # noqa: S704 - a file of this package
    policy = f"default-src 'none'; style-src '{_hash(css)}'; base-uri 'none'; form-action 'none'"
    shown = [dict(e) | {"score": "–" if e["score"] is None else f"{e['score']:.1f}"} for e in entries]
    return _template("index.html").render(entries=shown, css=css, policy=policy).encode()


def _page(report: Report, beside: Sequence[str], code_version: str, code_hash: str) -> str:
    css, js = Markup(_text("page.css")), Markup(_text("page.js"))  # noqa: S704 - files of this package
    policy = (
        f"default-src 'none'; style-src '{_hash(css)}'; script-src '{_hash(js)}'; base-uri 'none'; form-action 'none'"
    )
    shapes = heat_map(report)
    gaps, gaps_shown = _gaps(report)
    fresh, fresh_shown = _fresh(report)
    return _template("page.html").render(
        report=report, policy=policy, css=css, js=js, cells=_embedded(report, shapes),
        period=words.period(report.start, report.end), days=(report.end - report.shown_from).days,
        headline=words.headline(report), standing=words.standing(report), tiles=_tiles(report),
        map=shapes, trend=trend(report, shapes.cell), textures={k: t for k in shapes.paths if (t := _texture(k))},
        legend=[("outage", "venue outage"), ("unexplained", "unexplained or not fetched"),
                ("quiet", "no trades"), ("lost", "no longer served")],
        gaps=gaps, gaps_shown=gaps_shown, rejected=_rejected(report), revisions=_revisions(report),
        fresh=fresh, fresh_shown=fresh_shown, files=beside, verdicts=VERDICTS,
        weights={k: f"{100 * v:g}" for k, v in WEIGHTS.items()},
        intervals=", ".join(sorted({r["interval"] for r in report.freshness if r["dataset"] == "bars"})) or "none yet",
        code_version=code_version, code_hash=code_hash,
        number=words.number, minute=words.minute, until=words.until, lasting=words.lasting,
    )  # fmt: skip


def _tiles(report: Report) -> list[dict[str, str]]:
    totals, due = report.totals, words.due(report)
    missing = max(0, due - totals["present"])
    left = max(0, totals["missing"] - totals["explained"])
    all_told = "all explained so far, days are unsettled" if totals["unsettled"] else "all explained"
    asked = {
        name: sum(row[name] for row in report.fetched)
        for name in ("requests", "retries", "windows_limited", "windows_failed")
    }
    score = f"{totals['score_mean']:.1f}" if totals["expected"] else "–"
    worst = f"worst series and day {totals['score_min']:.1f}" if totals["expected"] else "nothing to score"
    limited = f"{words.number(asked['windows_limited'])} by limit or ban" if asked["windows_limited"] else "no ban"
    if others := asked["windows_failed"] - asked["windows_limited"]:
        limited = f"{words.plural(others, 'window')} failed, {limited}"
    tiles = [
        ("Quality score", score, f"of 100, {worst}"),
        ("Complete", words.percent(totals["present"], due) if due else "–", f"{words.number(totals['present'])} rows"),
        ("Missing", words.number(missing), all_told if missing and not left else
         f"{words.number(left)} unexplained" if missing else "nothing"),
        ("Rejected", words.number(report.rejected.total), "rows that break a rule"),
        ("Revised", words.number(report.revisions.total), "after publication"),
        ("Requests", words.number(asked["requests"]), f"{words.plural(asked['retries'], 'retry')}, {limited}"),
    ]  # fmt: skip
    return [{"name": name, "value": value, "about": about} for name, value, about in tiles]


def _gaps(report: Report) -> tuple[list[Row], int]:
    """Rows of the table of gaps, instruments that were silent together on one line; and how many gaps that is."""
    together: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    shown = report.gaps.rows[:ROWS_SHOWN_MAX]
    for gap in shown:
        state = (gap["is_open"], gap["attempts"], gap["next_attempt_at"], gap["verdict"], gap["evidence"])
        together[gap["gap_start"], gap["gap_end"], gap["interval"], *state].append(gap)
    return [_gap(alike) for alike in together.values()], len(shown)


def _gap(alike: Sequence[Row]) -> Row:
    gap = alike[0]
    attempts = f", {words.plural(gap['attempts'], 'attempt')}" if gap["attempts"] else ""
    then = f"to be asked again{attempts}" if gap["next_attempt_at"] else f"final{attempts}"
    was = f"was {words.verdict(gap['verdict']).lower()}{attempts}"
    filled = {"missing": 0, "expected": 1, "verdicts": []}
    whole = {"missing": 1, "expected": 20, "verdicts": [(gap["verdict"], 1)]}  # the middle shade
    return {
        "start": gap["gap_start"], "end": gap["gap_end"], "interval": gap["interval"] or gap["dataset"],
        "instruments": [g["instrument"] for g in alike], "missing": sum(g["missing"] for g in alike),
        "kind": kind(whole if gap["is_open"] else filled), "evidence": gap["evidence"],
        "verdict": words.verdict(gap["verdict"]) if gap["is_open"] else "Filled",
        "state": then if gap["is_open"] else was,
    }  # fmt: skip


def _rejected(report: Report) -> list[Row]:
    return [
        row | {
            "rule": row["rule"].replace("_", " "), "dataset": row["dataset"].replace("_", " "),
            "row": [(k.replace("_", " "), v) for k, v in json.loads(row["row"]).items() if v not in ("", None)],
        }
        for row in report.rejected.rows[:ROWS_SHOWN_MAX]
    ]  # fmt: skip


def _revisions(report: Report) -> list[Row]:
    return [r | {"changes": words.changed(r["before"], r["after"])} for r in report.revisions.rows[:ROWS_SHOWN_MAX]]


def _fresh(report: Report) -> tuple[list[Row], int]:
    """Series of one venue that reach equally far share a line."""
    together: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    shown = report.freshness[:ROWS_SHOWN_MAX]
    for row in shown:
        venue = row["instrument"].partition(".")[0]
        together[venue, row["dataset"], row["answered_until"], row["asked_at"].replace(second=0, microsecond=0)].append(
            row
        )
    lines = []
    for (_, dataset, *_), alike in together.items():
        names = list(dict.fromkeys(r["instrument"] for r in alike))
        intervals = list(dict.fromkeys(r["interval"] for r in alike if r["interval"]))
        what = ", ".join(intervals) if dataset == "bars" else dataset.replace("_", " ")
        lines.append(alike[0] | {"instruments": names, "what": what})
    return lines, len(shown)


def _texture(name: str) -> str | None:
    return _TEXTURES.get(name.partition("-")[0])


def _embedded(report: Report, shapes: HeatMap) -> Markup:
    """What the script shows of a square. Cells it does not name are perfect if their column was seen, else empty."""
    seen: dict[str, list[list[int]]] = defaultdict(list)
    for cell in report.cells:
        spans = seen[f"{cell['dataset']}|{cell['venue']}.{cell['symbol'].replace('/', '-')}"]
        column = (cell["day"] - report.shown_from).days
        if spans and spans[-1][0] + spans[-1][1] == column:
            spans[-1][1] += 1
        else:
            spans.append([column, 1])
    data = {
        "start": report.shown_from, "days": (report.end - report.shown_from).days, "cell": shapes.cell,
        "height": shapes.row_height, "rows": shapes.rows, "cells": shapes.cells, "seen": list(seen.values()),
        "words": [words.verdict(name).lower() for name in VERDICTS],
    }  # fmt: skip
    text = json.dumps(data, default=_plain, separators=(",", ":"), ensure_ascii=True)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))  # noqa: S704 - just escaped


def _tables(report: Report) -> dict[str, Sequence[Row]]:
    return {
        "coverage": report.cells, "scores": report.scores, "gaps": report.gaps.rows, "rejected": report.rejected.rows,
        "revisions": report.revisions.rows, "freshness": report.freshness, "fetched": report.fetched,
        "failures": report.failures,
    }  # fmt: skip


def _json(data: Any) -> bytes:
    form: dict[str, Any] = {"default": _plain, "separators": (",", ":"), "ensure_ascii": False, "allow_nan": False}
    try:
        text = json.dumps(data, **form)
    except ValueError:  # infinities, which JSON has no word for: rare enough to be looked for only now
        text = json.dumps(_finite(data), **form)
    return f"{text}\n".encode()


def _finite(data: Any) -> Any:
    """What is none of JSON's numbers is kept as text."""
    if isinstance(data, Mapping):
        return {k: _finite(v) for k, v in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(v) for v in data]
    return str(data) if isinstance(data, float) and not math.isfinite(data) else data


def _plain(value: Any) -> str:
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return value.isoformat() if isinstance(value, dt.date) else str(value)


def _csv(columns: Sequence[str], rows: Sequence[Row]) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row[name]) for name in columns] for row in rows)
    return out.getvalue().encode()


def _cell(value: Any) -> Any:
    """A number stays one, negative or not; a text that a spreadsheet would run gets a quote before it."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(_finite(value), default=_plain, ensure_ascii=False)
    text = value if isinstance(value, str) else _plain(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


@cache
def _text(name: str) -> str:
    return files("alphaforge_assets.report").joinpath(name).read_text(encoding="utf-8").strip()


@cache
def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    return environment.from_string(_text(name))


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
