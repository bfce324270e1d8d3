"""The heat map and the score above it as SVG shapes: instruments × days, one path a kind of cell. Pure.

A cell's kind is what explains its missing bars and how large their share is. Neighbours of one kind are one rectangle,
so a clean year of a hundred instruments is a few hundred bytes, and the worst there can be stays below three megabytes.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from alphaforge_assets.report.reading import Report, Row
from alphaforge_assets.verdicts import VERDICTS

PLOT_WIDTH = 936
CELL_WIDTH_MIN = 2.5
ROW_HEIGHT = 18
ROW_HEIGHT_DENSE = 13
DENSE_FROM_ROWS = 40
GROUP_HEIGHT = 22
AXIS_HEIGHT = 34
LINES_FROM_WIDTH = 6
NUMBERS_FROM_WIDTH = 18
TREND_HEIGHT = 110
# Shares of a day that make a cell darker.
STEPS = (0.01, 0.1)


@dataclass(frozen=True)
class Tick:
    x: float
    text: str
    is_major: bool


@dataclass(frozen=True)
class Label:
    y: float
    text: str
    is_group: bool


@dataclass(frozen=True)
class HeatMap:
    """Shapes in pixels of the plot, whose left edge is the first day. `cells` tells a page what lies where."""

    width: float
    height: float
    cell: float
    row_height: int
    paths: Mapping[str, str]
    marks: str
    lines: str
    labels: Sequence[Label]
    ticks: Sequence[Tick]
    rows: Sequence[tuple[str, float]]  # series, y
    cells: Mapping[str, list[Any]]  # "row,day" -> what is known of a cell that is not perfect


@dataclass(frozen=True)
class Trend:
    """Scores in the same pixels across; `floor` is the score at the bottom."""

    height: int
    floor: int
    mean: str
    worst: str
    dots: Sequence[tuple[float, float, str]]
    grid: Sequence[tuple[float, str]]


def kind(cell: Row) -> str:
    """`full`, or what most gravely explains what is missing, with 1 to 3 for how much of the day that is."""
    if not cell["missing"]:
        return "full"
    verdict = cell["verdicts"][0][0] if cell["verdicts"] else "unknown"
    name = VERDICTS[verdict].colour if verdict in VERDICTS else "unexplained"
    share = cell["missing"] / cell["expected"]
    return f"{name}-{1 + sum(share >= step for step in STEPS)}"


def heat_map(report: Report) -> HeatMap:
    """The map of all series of a report from `shown_from` on."""
    days = (report.end - report.shown_from).days
    cell = round(max(CELL_WIDTH_MIN, PLOT_WIDTH / days), 2)
    by_series: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for found in report.cells:
        by_series[found["dataset"], found["venue"], found["symbol"]].append(found)
    height = ROW_HEIGHT_DENSE if len(by_series) > DENSE_FROM_ROWS else ROW_HEIGHT
    several = len({dataset for dataset, _, _ in by_series}) > 1
    y = float(AXIS_HEIGHT)
    paths, marks = defaultdict[str, list[str]](list), []
    labels, rows, told = list[Label](), list[tuple[str, float]](), dict[str, list[Any]]()
    for (dataset, venue), group in groupby(by_series, key=lambda series: series[:2]):
        labels.append(Label(y + GROUP_HEIGHT - 7, f"{venue} · {dataset}" if several else venue, True))
        y += GROUP_HEIGHT
        for series in group:
            its = {(found["day"] - report.shown_from).days: found for found in by_series[series]}
            for name, first, count in _runs(its):
                paths[name].append(f"M{first * cell:g} {y:g}h{count * cell:g}v{height}h-{count * cell:g}z")
            for column, found in its.items():
                if found["rejected"] or found["revised"]:
                    marks.append(_diamond((column + 0.5) * cell, y + height / 2, min(cell, height) * 0.26))
                if not _perfect(found):
                    told[f"{len(rows)},{column}"] = _told(found)
            labels.append(Label(y + height - (5 if height == ROW_HEIGHT else 3), series[2], False))
            rows.append((f"{venue}.{series[2].replace('/', '-')}", y))
            y += height
    width = round(cell * days, 2)
    lines = "".join(f"M0 {row:g}h{width:g}" for _, row in rows)
    if cell >= LINES_FROM_WIDTH:
        lines += "".join(f"M{n * cell:g} {AXIS_HEIGHT}V{y:g}" for n in range(1, days))
    return HeatMap(
        width, y + 2, cell, height, {k: "".join(v) for k, v in paths.items()}, "".join(marks), lines,
        labels, _ticks(report.shown_from, days, cell), rows, told,
    )  # fmt: skip


def trend(report: Report, cell: float) -> Trend | None:
    """Mean and worst score a day; None if there is none."""
    if not report.scores:
        return None
    lowest = min(row["worst"] for row in report.scores)
    floor = 95 if lowest >= 96 else 90 if lowest >= 91 else int(max(0, lowest - 5) // 10 * 10)

    def at(row: Row, name: str) -> tuple[float, float]:
        x = ((row["day"] - report.shown_from).days + 0.5) * cell
        return round(x, 2), round((TREND_HEIGHT - 12) * (100 - row[name]) / (100 - floor) + 6, 2)

    dots = [
        (*at(row, "worst"), f"{row['day']}: worst {row['worst']:g}, {row['worst_series']}") for row in report.scores
    ]
    few = dots if len(dots) <= 62 else [d for d, row in zip(dots, report.scores, strict=True) if row["worst"] < 100]
    step = next(s for s in (1, 2, 5, 10, 20, 25, 50) if (100 - floor) / s <= 5)
    grid = [
        (round((TREND_HEIGHT - 12) * (100 - g) / (100 - floor) + 6, 2), str(g)) for g in range(100, floor - 1, -step)
    ]
    lines = {name: _line([(row["day"], at(row, name)) for row in report.scores]) for name in ("mean", "worst")}
    return Trend(TREND_HEIGHT, floor, lines["mean"], lines["worst"], few, grid)


def _line(points: Sequence[tuple[dt.date, tuple[float, float]]]) -> str:
    """A line that breaks where days are missing; a day alone is a short dash."""
    said, before = [], None
    for moment, (x, y) in points:
        joined = before is not None and (moment - before).days == 1
        said.append(f"L{x:g} {y:g}" if joined else f"M{x - 2:g} {y:g}L{x:g} {y:g}")
        before = moment
    return "".join(said)


def _runs(its: Mapping[int, Row]) -> list[tuple[str, int, int]]:
    """(kind, first column, columns) of neighbours of one kind."""
    found: list[tuple[str, int, int]] = []
    for column in sorted(its):
        name = kind(its[column])
        if found and found[-1][0] == name and found[-1][1] + found[-1][2] == column:
            found[-1] = (name, found[-1][1], found[-1][2] + 1)
        else:
            found.append((name, column, 1))
    return found


def _diamond(x: float, y: float, r: float) -> str:
    return f"M{x:.1f} {y - r:.1f}l{r:.3g} {r:.3g} {-r:.3g} {r:.3g} {-r:.3g} {-r:.3g}z"


def _perfect(cell: Row) -> bool:
    return (
        not any(cell[name] for name in ("missing", "rejected", "revised", "off_grid"))
        and cell["is_settled"]
        and cell["score"] >= 100
    )


def _told(cell: Row) -> list[Any]:
    figures = [cell[name] for name in ("expected", "present", "missing", "rejected", "revised", "off_grid", "score")]
    places = {name: n for n, name in enumerate(VERDICTS)}  # the page names a verdict by its place
    return [*figures, int(cell["is_settled"]), [[places[name], int(slots)] for name, slots in cell["verdicts"]]]


def _ticks(start: dt.date, days: int, cell: float) -> list[Tick]:
    ticks, room = [], 0.0
    for n in range(days):
        moment, x = start + dt.timedelta(days=n), n * cell
        if (moment.day == 1 or n == 0) and x >= room:
            ticks.append(Tick(round(x, 2), f"{moment:%b %Y}" if moment.month == 1 or n == 0 else f"{moment:%b}", True))
            room = x + (62 if moment.month == 1 or n == 0 else 30)
        if cell >= NUMBERS_FROM_WIDTH:
            ticks.append(Tick(round(x + cell / 2, 2), str(moment.day), False))
    return ticks
