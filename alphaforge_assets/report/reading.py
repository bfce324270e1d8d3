"""What a quality report says, read from the warehouse: figures and rows, no words and no looks."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clickhouse_connect.driver.client import Client

from alphaforge_assets.verdicts import UNEXPLAINED
from alphaforge_assets.warehouse import statements

# Of each list that can grow without end; what is left out is counted and said.
ROWS_MAX = 50_000
# A report on one day shows the days before it, so that one bad day can be told from a bad month.
DAYS_BEFORE = 29

Row = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """Rows of a list, and how many there are in the warehouse: more than here if there are over ROWS_MAX."""

    rows: Sequence[Row]
    total: int


@dataclass(frozen=True)
class Report:
    """Figures of the UTC days [start, end). The heat map and the scores begin at `shown_from`."""

    start: dt.date
    end: dt.date
    shown_from: dt.date
    made_at: dt.datetime
    origin: str  # live, sandbox, or empty while nothing was fetched
    totals: Row
    verdicts: Sequence[Row]
    cells: Sequence[Row]  # a row per (dataset, instrument, day)
    scores: Sequence[Row]  # a row per day
    gaps: Part
    rejected: Part
    revisions: Part
    freshness: Sequence[Row]
    fetched: Sequence[Row]
    failures: Sequence[Row]
    columns: Mapping[str, Sequence[str]]  # of each list, whether it has rows or not

    @property
    def name(self) -> str:
        """What it is filed under: the day, or the first and the last one."""
        last = self.end - dt.timedelta(days=1)
        return str(self.start) if self.start == last else f"{self.start}_{last}"


def read(client: Client, start: dt.date, end: dt.date, *, now: dt.datetime | None = None) -> Report:
    """The report on [start, end). Raises WarehouseDown, WarehouseRefused."""
    made_at = now or dt.datetime.now(dt.UTC)
    shown_from = start - dt.timedelta(days=DAYS_BEFORE) if (end - start).days == 1 else start
    period = {"start": _midnight(start), "end": _midnight(end)}
    shown = {"start": _midnight(shown_from), "end": _midnight(end)}
    kinds = {"unexplained": list(UNEXPLAINED)}
    origins = statements.rows(client, "reads/origins")
    cells = statements.rows(client, "reads/report_cells", **shown, **kinds)
    scores = statements.rows(client, "reads/report_scores", **shown)
    if scores:  # nothing is shown of days before the first one that was looked at
        shown_from = min(start, scores[0]["day"])
    return Report(
        start=start,
        end=end,
        shown_from=shown_from,
        made_at=made_at,
        origin=origins[0]["origin"] if origins else "",
        totals=statements.rows(client, "reads/report_totals", **period)[0],
        verdicts=statements.rows(client, "reads/report_verdicts", **period),
        cells=cells,
        scores=scores,
        gaps=_part(client, "reads/report_gaps", **period, **kinds),
        rejected=_part(client, "reads/report_rejected", **period),
        revisions=_part(client, "reads/report_revisions", **period),
        freshness=statements.rows(client, "reads/report_freshness", now=made_at),
        fetched=statements.rows(client, "reads/report_fetched", **period),
        failures=statements.rows(client, "reads/report_failures", **period),
        columns=_columns(client, period, made_at),
    )


def days_looked_at(client: Client, start: dt.date, end: dt.date) -> list[dt.date]:
    """Days of [start, end) that have coverage, so that there is something to report."""
    rows = statements.rows(client, "reads/report_days", start=_midnight(start), end=_midnight(end))
    return [row["day"] for row in rows]


def _part(client: Client, statement: str, **parameters: Any) -> Part:
    rows = statements.rows(client, statement, rows_max=ROWS_MAX, **parameters)
    total = rows[0]["total"] if rows else 0
    return Part([{k: v for k, v in row.items() if k != "total"} for row in rows], total)


def _columns(client: Client, period: Mapping[str, dt.datetime], now: dt.datetime) -> dict[str, list[str]]:
    """Names of the columns of each list. Asked for no rows, and for no time at all."""
    nothing = {"start": period["end"], "end": period["end"]}
    few = {"rows_max": 0}
    kinds = {"unexplained": list(UNEXPLAINED)}
    empty = {
        "coverage": statements.table(client, "reads/report_cells", **nothing, **kinds),
        "scores": statements.table(client, "reads/report_scores", **nothing),
        "gaps": statements.table(client, "reads/report_gaps", **nothing, **few, **kinds),
        "rejected": statements.table(client, "reads/report_rejected", **nothing, **few),
        "revisions": statements.table(client, "reads/report_revisions", **nothing, **few),
        "freshness": statements.table(client, "reads/report_freshness", now=now),
        "fetched": statements.table(client, "reads/report_fetched", **nothing),
        "failures": statements.table(client, "reads/report_failures", **nothing),
    }
    return {name: [c for c in table.column_names if c != "total"] for name, table in empty.items()}


def _midnight(day: dt.date) -> dt.datetime:
    return dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC)
