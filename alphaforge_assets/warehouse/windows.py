"""Windows: what is wanted of a series, what the ledger has answered of it, and what is therefore left to ask.

A window counts as answered only when a complete batch of the ledger covers it, and that row is written after the
batch's rows were acknowledged in landing. What is left to fetch is the windows wanted minus those answered; the
greatest timestamp in a table says nothing, because it hides holes.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from clickhouse_connect.driver.client import Client

from alphaforge_assets.universe import Instrument
from alphaforge_assets.warehouse import statements

Chunk = Literal["year", "month", "day", "hour"]


@dataclass(frozen=True, order=True)
class Window:
    """[start, end) of one (instrument, interval): aware UTC datetimes.

    `follows` is the latest batch that overlaps it, or ''.
    """

    instrument: Instrument
    interval: str
    start: dt.datetime
    end: dt.datetime
    follows: str = ""


def unanswered(
    client: Client,
    dataset: str,
    wanted: Sequence[Window],
    *,
    chunk: Chunk = "month",
    final_after: dt.timedelta = dt.timedelta(0),
) -> list[Window]:
    """The parts of `wanted` that no complete batch covers, cut every `chunk`, in order of time.

    What was asked for sooner than `final_after` after it ended counts as not answered yet: a venue may still have
    revised it.
    """
    if not wanted:
        return []
    answered = _answered(client, dataset, wanted, final_after)
    left = [
        Window(w.instrument, w.interval, start, end)
        for w in wanted
        for start, end in minus((w.start, w.end), answered[w.instrument.instrument_id, w.interval])
    ]
    return cut(left, chunk)


def following(client: Client, dataset: str, wanted: Sequence[Window], *, chunk: Chunk = "month") -> list[Window]:
    """`wanted` cut every `chunk`, each naming the latest batch it asks again: a refetch on purpose.

    Naming it gives the new batch an identity of its own, so a bar that changes and changes back is a third version, not
    a duplicate of the first.
    """
    answered = _answered(client, dataset, wanted)

    def latest(window: Window) -> str:
        spans = answered[window.instrument.instrument_id, window.interval]
        return next((batch for start, end, batch in reversed(spans) if start < window.end and end > window.start), "")

    return [Window(w.instrument, w.interval, w.start, w.end, latest(w)) for w in cut(wanted, chunk)]


def cut(windows: Iterable[Window], chunk: Chunk) -> list[Window]:
    """Cut windows where a UTC year, month, day or hour begins, in order of time.

    One insert must stay inside one table partition: a month for bars, a year for what is sparse; and what is dense must
    fit into memory.
    """
    parts = []
    for w in windows:
        start = w.start
        while start < w.end:
            end = min(w.end, _next(start, chunk))
            parts.append(Window(w.instrument, w.interval, start, end, w.follows))
            start = end
    return sorted(parts, key=lambda w: (w.start, w.instrument.key, w.interval))


def _next(moment: dt.datetime, chunk: Chunk) -> dt.datetime:
    """When the next chunk begins."""
    if chunk in ("year", "month"):
        months = moment.year * 12 + (moment.month if chunk == "month" else 12)
        return dt.datetime(months // 12, months % 12 + 1, 1, tzinfo=dt.UTC)
    start = moment.replace(minute=0, second=0, microsecond=0)
    return start + dt.timedelta(hours=1) if chunk == "hour" else start.replace(hour=0) + dt.timedelta(days=1)


def _answered(
    client: Client, dataset: str, wanted: Sequence[Window], final_after: dt.timedelta = dt.timedelta(0)
) -> dict[tuple[int, str], list[tuple[dt.datetime, dt.datetime, str]]]:
    return spans_of(client, "reads/answered_windows", dataset, wanted, final_after_s=int(final_after.total_seconds()))


def spans_of(
    client: Client, statement: str, dataset: str, wanted: Sequence[Window], **more: int
) -> dict[tuple[int, str], list[tuple[dt.datetime, dt.datetime, str]]]:
    """Spans of the ledger by (instrument, interval), in order of time, each with a batch of it."""
    spans = defaultdict(list)
    if wanted:
        found = statements.rows(
            client,
            statement,
            dataset=dataset,
            instruments=sorted({w.instrument.instrument_id for w in wanted}),
            start=min(w.start for w in wanted),
            end=max(w.end for w in wanted),
            **more,
        )
        for row in found:
            spans[row["instrument_id"], row["interval"]].append(
                (row["answered_from"], row["answered_until"], str(row["batch_id"]))
            )
    return spans


def minus(
    wanted: tuple[dt.datetime, dt.datetime], spans: Iterable[tuple[dt.datetime, dt.datetime, str]]
) -> list[tuple[dt.datetime, dt.datetime]]:
    """[start, end) without the spans, sorted by their start."""
    start, end = wanted
    left = []
    for span_start, span_end, _ in spans:
        if span_start > start:
            left.append((start, min(span_start, end)))
        start = max(start, span_end)
        if start >= end:
            break
    if start < end:
        left.append((start, end))
    return [(a, b) for a, b in left if a < b]
