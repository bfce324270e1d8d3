"""What should be there, what is, and why the rest is not: gaps with a verdict, and a score a day of each series.

The SQL in sql/coverage decides; here are the thresholds it decides by, each with its reason. Bars have a grid of their
own; what has none or few rows, funding and Fear & Greed, is decided by sql/coverage/slots, what is counted by ids.

Verdicts (verdicts.py) are tried in this order: not_listed, delisted, retention_lost (no answer, and none to be had),
we_missed (no answer), rejected, no_trades, venue_outage, unknown. Outages that form a pattern no venue makes are
suspicious. A venue that leaves out intervals without trades, by its own word, has no_trades where it is no outage.
"""

import datetime as dt
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from clickhouse_connect.driver.client import Client

from alphaforge_assets.datasets.bars import NO_TRADES_MAX
from alphaforge_assets.datasets.dataset import Dataset
from alphaforge_assets.failpoints import passing
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.universe import Instrument, Universe
from alphaforge_assets.venues.directory import VENUES, kept, leaves_out_quiet
from alphaforge_assets.verdicts import (
    ALONE_ATTEMPTS_MAX,
    MISSED_ATTEMPTS_MAX,
    NOT_DUE,
    REJECTED_ATTEMPTS_MAX,
    SUSPICIOUS_ATTEMPTS_MAX,
    UNEXPLAINED,
    UNKNOWN_ATTEMPTS_MAX,
)
from alphaforge_assets.warehouse import statements

GRACE = dt.timedelta(hours=1)  # what closed later and was never asked for is late, not missing: live updates bring it

# One instrument alone: a market that prints every minute does not pause this long by itself.
OUTAGE_ALONE = dt.timedelta(minutes=10)
# Venues stop and start one market after another: recorded outages differ by a bar or two between instruments.
OUTAGE_DARK_SHARE = 0.5
# Binance was silent 34 times in six years, and never for two days.
OUTAGE_MAX = dt.timedelta(days=7)
OUTAGES_A_MONTH = 20
# Silences of a series of which more than half share a distance, or a length, from so many on. Venues plan their pauses
# in whole hours, so three of five are often alike, and their distances never are.
PATTERN_SILENCES = 5
PATTERN_LENGTHS = 10
# How far back to look for bars without trades before a silence; the longest such run on record is 93 (ETH/USDT 2017).
FROZEN_LOOK_BARS = 240

# A series with one silence an hour leaves out quiet minutes; the sparsest recorded day of XBT/USDC has 100.
SPARSE_SILENCES_A_DAY = 24

# More bars than any venue's page holds (1,000), so that a lost page never passes for the time before the listing.
LISTING_SILENCE_BARS = 1_440

# Pauses of 15 min, 1 h, 4 h and 16 h, then a day.
BACKOFF_FIRST = dt.timedelta(minutes=15)
BACKOFF_FACTOR = 4
BACKOFF_MAX = dt.timedelta(days=1)
# What nobody ever asked for is repaired up to a month (downtime); more is a backfill that somebody should decide on.
NEVER_ASKED_MAX = dt.timedelta(days=31)

# What the score is made of. A missing bar is worse than anything that can be said of one that is there, and no score is
# above the share of bars that are there, whatever explains the others.
WEIGHTS = {"completeness": 0.6, "finality": 0.15, "agreement": 0.15, "freshness": 0.1}


def _seconds(span: dt.timedelta) -> int:
    return int(span.total_seconds())


_THRESHOLDS = {
    "grace_s": _seconds(GRACE),
    "outage_alone_s": _seconds(OUTAGE_ALONE),
    "dark_share": OUTAGE_DARK_SHARE,
    "outage_max_s": _seconds(OUTAGE_MAX),
    "outages_a_month": OUTAGES_A_MONTH,
    "pattern_silences": PATTERN_SILENCES,
    "pattern_lengths": PATTERN_LENGTHS,
    "frozen_look_bars": FROZEN_LOOK_BARS,
    "sparse_silences": SPARSE_SILENCES_A_DAY,
    "no_trades_s": _seconds(NO_TRADES_MAX),
    "listing_silence_bars": LISTING_SILENCE_BARS,
    "unknown_attempts": UNKNOWN_ATTEMPTS_MAX,
    "missed_attempts": MISSED_ATTEMPTS_MAX,
    "rejected_attempts": REJECTED_ATTEMPTS_MAX,
    "alone_attempts": ALONE_ATTEMPTS_MAX,
    "suspicious_attempts": SUSPICIOUS_ATTEMPTS_MAX,
    "unexplained": list(UNEXPLAINED),
    "not_due": list(NOT_DUE),
    "never_asked_s": _seconds(NEVER_ASKED_MAX),
    **{f"weight_{part}": weight for part, weight in WEIGHTS.items()},
}


_BY_SLOTS = ("coverage/slots/gaps", "coverage/slots/gaps_filled", "coverage/slots/coverage")
# What finds gaps, what closes those that are gone, and what counts by day; by what is expected of a dataset.
_STATEMENTS: Mapping[str, tuple[str, str, str]] = {
    "interval": ("coverage/gaps", "coverage/gaps_filled", "coverage/coverage"),
    "day": _BY_SLOTS,
    "observed": _BY_SLOTS,
    "sampled": ("coverage/sampled/gaps", "coverage/ids/gaps_filled", "coverage/sampled/coverage"),
    "ids": ("coverage/ids/gaps", "coverage/ids/gaps_filled", "coverage/ids/coverage"),
}


def judge(
    client: Client,
    covered: Rectangle,
    dataset: Dataset,
    universe: Universe,
    comment: Mapping[str, str] | None = None,
    *,
    now: dt.datetime | None = None,
) -> None:
    """Bring gaps, then coverage, of a rectangle up to date with the ledger and the mart. A rerun changes nothing.

    Instruments of the same venues with an open gap in the rectangle are judged again too: what is silent together shows
    only when the last of them has been asked. Raises WarehouseDown, WarehouseRefused.
    """
    passing("judge.before")
    judged = _with_concerned(client, covered, dataset, universe)
    told = _values(judged.instruments, dataset, universe) | {"now": now or dt.datetime.now(dt.UTC)}
    gaps, filled, days = _STATEMENTS[dataset.grid]
    slices = [(judged.start_time, judged.end_time)]
    if dataset.grid == "interval":
        slices = [*judged.slices(dataset.rows_a_day_max(dataset.intervals(universe)))]
    for start, end in slices:
        values = told | {"start": start, "end": end, "judgement": str(uuid.uuid4())}
        if dataset.grid != "interval" or _has_candidates(client, values, comment):
            statements.execute(client, gaps, comment, **values)
        statements.execute(client, filled, comment, **values)
    statements.execute(client, "coverage/suspicious", comment, **told)  # once all gaps are there to be compared
    for start, end in slices:
        statements.execute(client, days, comment, **told, start=start, end=end)
    passing("judge.after")


def _has_candidates(client: Client, values: Mapping[str, Any], comment: Mapping[str, str] | None) -> bool:
    """Whether anything is missing of bars: deciding reads all of the ledger, and mostly there is nothing to decide."""
    (reach,) = statements.rows(client, "coverage/reach", **values)
    statements.execute(client, "coverage/candidates", comment, **values, **reach)
    (found,) = statements.rows(client, "coverage/found", **values)
    return bool(found["candidates"])


def summary(client: Client, covered: Rectangle, dataset: Dataset) -> dict[str, Any]:
    """days, expected, present, missing, explained, not_due, score_min and score_mean of a rectangle, as last judged."""
    (row,) = statements.rows(client, "reads/coverage_summary", **_bounds(covered, dataset))
    return row


def missing_by_verdict(client: Client, covered: Rectangle, dataset: Dataset) -> list[dict[str, Any]]:
    """verdict, gaps and missing slots of the open gaps that reach into a rectangle, the most first."""
    return statements.rows(client, "reads/missing_by_verdict", **_bounds(covered, dataset))


def nothing_came(client: Client, covered: Rectangle, dataset: Dataset) -> dict[str, str]:
    """Instrument key -> what was due on days of which nothing is there, and nothing explains that."""
    named = {i.instrument_id: i.key for i in covered.instruments}
    found: dict[str, str] = {}
    for row in statements.rows(client, "reads/nothing_came", **_bounds(covered, dataset)):
        what = f"{dataset.name} {row['interval']}".strip()
        said = f"nothing came of {row['due']} {what} due from {row['first']} to {row['last']} ({row['days']} days)"
        key = named[row["instrument_id"]]
        found[key] = f"{found[key]}, {said}" if key in found else said
    return found


def _with_concerned(client: Client, covered: Rectangle, dataset: Dataset, universe: Universe) -> Rectangle:
    venues = {i.venue for i in covered.instruments}
    neighbours = [i for i in dataset.instruments(universe) if i.venue in venues and i not in covered.instruments]
    if not neighbours:
        return covered
    found = statements.rows(
        client,
        "reads/instruments_with_gaps",
        dataset=dataset.name,
        instruments=[i.instrument_id for i in neighbours],
        start=covered.start_time,
        end=covered.end_time,
    )
    concerned = {row["instrument_id"] for row in found}
    more = tuple(i for i in neighbours if i.instrument_id in concerned)
    return Rectangle(covered.instruments + more, covered.start, covered.end)


def _values(instruments: Sequence[Instrument], dataset: Dataset, universe: Universe) -> dict[str, Any]:
    venues = sorted({i.venue for i in instruments})
    kept_by = {(v, i): kept(v, dataset.name, i) for v in venues for i in dataset.intervals(universe)}
    far = dt.date(2100, 1, 1)
    return {
        **dataset.tables,
        "is_observed": dataset.grid == "observed",
        "slot_series": dataset.slot_series,
        "instruments": [i.instrument_id for i in instruments],
        "wanted_from_ms": [_midnight_ms(i.listed_from) for i in instruments],
        "wanted_until_ms": [_midnight_ms(i.listed_until or far) for i in instruments],
        "kept_series": [f"{venue} {interval}" for (venue, interval), span in kept_by.items() if span],
        "kept_s": [_seconds(span) for span in kept_by.values() if span],
        "quiet_venues": [v for v in venues if leaves_out_quiet(v)],
        "named": [i.instrument_id for i in instruments if dataset.id and _is_named(i.venue)],
        "retention_s": [_seconds(_kept(i.venue, dataset, universe)) for i in instruments],
        "final_after_s": _seconds(dataset.final_after),
        "peers": [i.instrument_id for i in dataset.instruments(universe) if i.venue in venues],
    } | _THRESHOLDS


def _kept(venue: str, dataset: Dataset, universe: Universe) -> dt.timedelta:
    """How far back a venue serves all intervals of a dataset; nothing, where that is for ever."""
    spans = [kept(venue, dataset.name, interval) for interval in dataset.intervals(universe)]
    return min((span for span in spans if span), default=dt.timedelta(0))


def _is_named(venue: str) -> bool:
    """Whether a venue has names for its trades and no count of them."""
    feed = VENUES[venue].trades if venue in VENUES else None
    return bool(feed and feed.layout.is_named)


def _midnight_ms(day: dt.date) -> int:
    return int(dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC).timestamp() * 1000)


def _bounds(covered: Rectangle, dataset: Dataset) -> dict[str, Any]:
    return {
        "dataset": dataset.name,
        "instruments": covered.instrument_ids,
        "start": covered.start_time,
        "end": covered.end_time,
    }
