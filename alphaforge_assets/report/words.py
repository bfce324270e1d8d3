"""A report in words: the headline, what a verdict means, how figures and times are written. Pure."""

import datetime as dt
import math
from collections.abc import Sequence
from typing import Any

from alphaforge_assets.report.reading import Report, Row
from alphaforge_assets.verdicts import NOT_DUE, UNEXPLAINED, VERDICTS


def verdict(name: str) -> str:
    """`Venue outage` for venue_outage; an unknown name as a person would write it."""
    return VERDICTS[name].title if name in VERDICTS else name.replace("_", " ").capitalize()


def due(report: Report) -> int:
    """Bars that should exist: expected ones, less those of times before a listing or after a delisting."""
    return int(report.totals["expected"] - sum(v["missing"] for v in report.verdicts if v["verdict"] in NOT_DUE))


def standing(report: Report) -> tuple[str, str]:
    """(`good`, `explained`, `attention` or `empty`, the word for it)."""
    totals = report.totals
    if not totals["expected"]:
        return "empty", "Nothing to report"
    if totals["missing"] > totals["explained"] or totals["unsettled"]:
        return "attention", "Work in progress"
    if due(report) > totals["present"]:
        return "explained", "Complete but for explained gaps"
    return "good", "Complete"


def headline(report: Report) -> str:
    """One or two sentences that say all of it to somebody who knows neither us nor the warehouse."""
    totals, wanted = report.totals, due(report)
    when = period(report.start, report.end)
    if not wanted:
        return f"Nothing is on record for {when}: no instrument was asked for."
    of = (
        f"{number(wanted)} rows of {plural(totals['instruments'], 'instrument')} on {plural(totals['venues'], 'venue')}"
    )
    absent = wanted - totals["present"]
    if not absent:
        first = f"All {of} due for {when} are there."
    else:
        first = f"{percent(totals['present'], wanted)} of the {of} due for {when} are there."
    return " ".join([first, *_missing(report, absent), *_asides(report)])


def _missing(report: Report, absent: int) -> list[str]:
    if absent <= 0:
        return []
    by = {v["verdict"]: v["missing"] for v in report.verdicts}
    due_to = [(by[v.name], v.clause) for v in VERDICTS.values() if v.is_explained and v.is_due and by.get(v.name)]
    causes = [f"{number(n)} by {words}" if len(due_to) > 1 else f"by {words}" for n, words in due_to]
    if not any(by.get(v) for v in UNEXPLAINED):
        what = "The missing one is" if absent == 1 else f"All {number(absent)} missing ones are"
        return [f"{what} explained{':' if len(due_to) > 1 else ''} {listed(causes)}."] if causes else []
    said = [f"{number(n)} by {words}" for n, words in due_to]
    explained = (
        [f"Of the missing ones {number(sum(n for n, _ in due_to))} are explained: {listed(said)}."] if said else []
    )
    open_ones = [f"{plural(by[v], 'bar')} {VERDICTS[v].clause}" for v in UNEXPLAINED if by.get(v)]
    return [*explained, f"{' and '.join(open_ones)}."]


def _asides(report: Report) -> list[str]:
    said = []
    if n := report.rejected.total:
        said.append(f"{plural(n, 'row')} broke a rule and {'was' if n == 1 else 'were'} set aside")
    if n := report.revisions.total:
        said.append(f"{plural(n, 'bar')} {'was' if n == 1 else 'were'} revised by the venues after publication")
    if n := int(report.totals["off_grid"]):
        said.append(f"{plural(n, 'bar')} {'does' if n == 1 else 'do'} not open on the grid, as the venues have them")
    return [f"{listed(said)}."] if said else []


def period(start: dt.date, end: dt.date) -> str:
    """`19 November 2026`, `1 – 31 December 2020`, `1 August – 31 December 2017`. `end` is the day after the last."""
    last = end - dt.timedelta(days=1)
    if start == last:
        return day(start)
    if (start.year, start.month) == (last.year, last.month):
        return f"{start.day} – {day(last)}"
    return f"{start.day} {start:%B} – {day(last)}" if start.year == last.year else f"{day(start)} – {day(last)}"


def day(moment: dt.date) -> str:
    return f"{moment.day} {moment:%B %Y}"


def minute(moment: dt.datetime | None) -> str:
    """`2026-11-19 07:30`, with seconds only where there are any."""
    if moment is None:
        return "–"
    return f"{moment:%Y-%m-%d %H:%M:%S}" if moment.second else f"{moment:%Y-%m-%d %H:%M}"


def until(start: dt.datetime, end: dt.datetime) -> str:
    """The end of a span, its date only if it is another."""
    return f"{end:%H:%M}" if start.date() == end.date() else minute(end)


def lasting(seconds: float) -> str:
    """`4 min`, `3 h 10 min`, `2 d 4 h`: the two units that matter."""
    whole = round(seconds)
    units = [(whole // 86_400, "d"), (whole % 86_400 // 3_600, "h"), (whole % 3_600 // 60, "min"), (whole % 60, "s")]
    first = next((n for n, (size, _) in enumerate(units) if size), 3)
    return " ".join(f"{size} {unit}" for size, unit in units[first : first + 2] if size) or "0 s"


def number(n: float) -> str:
    return f"{n:,.0f}"


def plural(n: int, word: str) -> str:
    many = f"{word[:-1]}ies" if word.endswith("ry") else f"{word}s"
    return f"{number(n)} {word}" if n == 1 else f"{number(n)} {many}"


def percent(part: float, whole: float) -> str:
    """Rounded down, and with as many digits as it takes not to say 100 % of what is less."""
    if not whole or part >= whole:
        return "100 %"
    share = 100 * part / whole
    digits = min(6, max(2, 1 - math.floor(math.log10(100 - share))))
    return f"{math.floor(share * 10**digits) / 10**digits:.{digits}f} %"


def listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else "by nothing"


def value(figure: Any) -> str:
    """A price or an amount as short as it is exact."""
    return "–" if figure is None else f"{figure:,.10f}".rstrip("0").rstrip(".")


def changed(before: Row, after: Row) -> list[tuple[str, str, str]]:
    """(column, old, new) of the values that differ, in the order of the table."""
    return [(k.replace("_", " "), value(before[k]), value(after[k])) for k in before if before[k] != after[k]]
