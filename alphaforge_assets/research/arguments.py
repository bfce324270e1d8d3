"""What a reader was asked for: every argument a notebook may write, checked, in one record. Nothing here does I/O."""

import datetime as dt
import difflib
import fnmatch
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from alphaforge_assets.datasets.registry import READABLE
from alphaforge_assets.errors import BadInput
from alphaforge_assets.intervals import DERIVED_MS, MINUTE, SERIES_MS
from alphaforge_assets.research.identity import Edge
from alphaforge_assets.venues import directory

Moment = str | dt.date | dt.datetime
Instruments = str | Iterable[str]

EARLIEST = dt.datetime(2009, 1, 3, tzinfo=dt.UTC)  # no crypto market is older, and the tables take nothing older
LATEST = dt.datetime(2100, 1, 1, tzinfo=dt.UTC)
WRITE = "write a date or time such as 2025-05-01 or 2025-05-01T12:00Z"


@dataclass(frozen=True)
class Request:
    """One question. `instruments` are keys in the order of the alphabet, `interval` is empty where there is no grid."""

    dataset: str
    instruments: tuple[str, ...]
    is_many: bool  # a list or a glob was asked for, so the frame names the instrument of each row
    interval: str
    start: dt.datetime
    end: dt.datetime
    columns: tuple[str, ...]
    as_of: dt.datetime | None = None
    snapshot: str | None = None
    fill: str | None = None
    form: str = "long"
    adjust: str | None = None
    edges: tuple[Edge, ...] = ()

    @property
    def made_of(self) -> str:
        """The dataset whose minutes its rows are made of, empty where they are a venue's own."""
        return READABLE[self.dataset].made_of

    @property
    def what(self) -> str:
        """For messages: `bars of okx_perp.BTC-USDT, 1m`."""
        first, more = self.instruments[0], len(self.instruments) - 1
        who = f"{first} and {more} more" if more else first
        return f"{self.dataset} of {who}" + (f", {self.interval}" if self.interval else "")


def keys(asked: Instruments, known: Sequence[str], where: str = "in the universe") -> tuple[tuple[str, ...], bool]:
    """The keys that `asked` names, in the order of the alphabet, and whether it can name many.

    One key names one; a list or a glob such as `binance_*.BTC-USDT` names many, even if it matches only one. Raises
    BadInput with the nearest names for what matches nothing.
    """
    if isinstance(asked, str):
        patterns, is_many = [asked], any(sign in asked for sign in "*?[")
    else:
        try:
            patterns, is_many = list(asked), True
        except TypeError as error:
            raise BadInput(f"instrument {asked!r}: write a key such as {known[0]}, a list of keys or a glob") from error
    if not patterns:
        raise BadInput("instrument is an empty list: name at least one, or '*' for all")
    chosen: set[str] = set()
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise BadInput(f"instrument {pattern!r}: write a key such as {known[0]}, a list of keys or a glob")
        hits = [key for key in known if fnmatch.fnmatchcase(key, pattern)]
        if not hits:
            raise BadInput(f"instrument {pattern!r} is not {where}: {_nearest(pattern, known)}")
        chosen.update(hits)
    return tuple(sorted(chosen)), is_many


def _nearest(pattern: str, known: Sequence[str]) -> str:
    bare = re.sub(r"[^A-Z0-9]", "", pattern.upper())
    same = [key for key in known if bare and re.sub(r"[^A-Z0-9]", "", key.split(".")[-1]) == bare]
    near = same[:6] or difflib.get_close_matches(pattern, known, n=3, cutoff=0.4)
    return (
        f"did you mean {', '.join(near)}?" if near else f"`alphaforge universe` lists what there is, such as {known[0]}"
    )


def interval(asked: str, kept: Sequence[str]) -> str:
    """Raises BadInput for an interval that is none, or that is not kept."""
    if asked not in SERIES_MS:
        raise BadInput(f"interval {asked!r}: use one of {', '.join(kept)}")
    if asked not in kept:
        raise BadInput(f"interval {asked!r} is not kept here: use one of {', '.join(kept)}, and resample")
    return asked


def served(chosen: Iterable[str], dataset: str, interval: str, kept: Sequence[str]) -> None:
    """Raises BadInput if none of the instruments' venues has an interval, though it has others."""
    having = {venue: directory.served(venue, dataset, kept) for venue in {key.split(".")[0] for key in chosen}}
    if having and all(has and interval not in has for has in having.values()):
        common = [i for i in kept if all(i in has for has in having.values())]
        who = " and ".join(sorted(having))
        raise BadInput(f"interval {interval!r}: {who} has none; use one of {', '.join(common)}, and resample")


def derivable(asked: str, chosen: Iterable[str], kept: Sequence[str]) -> None:
    """Raises BadInput for an interval that is not made of minutes, or if there are no minutes to make it of."""
    if asked not in DERIVED_MS:
        itself = f"; {MINUTE} itself is read without derived" if asked == MINUTE else ""
        raise BadInput(f"interval {asked!r} is not derived: use one of {', '.join(DERIVED_MS)}{itself}")
    if MINUTE not in kept:
        raise BadInput(
            f"interval {asked!r}: bars are derived of {MINUTE}, and the universe keeps {', '.join(kept)} only"
        )
    having = {venue: directory.served(venue, "bars", kept) for venue in {key.split(".")[0] for key in chosen}}
    if having and not any(MINUTE in has for has in having.values()):
        raise BadInput(f"interval {asked!r}: bars are derived of {MINUTE}, and {' and '.join(sorted(having))} has none")


def span(start: Moment, end: Moment) -> tuple[dt.datetime, dt.datetime]:
    """[start, end) in UTC. Raises BadInput for what is no time, reversed, or outside of 2009 to 2100."""
    first, last = moment("start", start), moment("end", end)
    if last <= first:
        raise BadInput(f"end {end} is not after start {start}: the range is [start, end)")
    if first < EARLIEST or last > LATEST:
        raise BadInput(f"start {start} and end {end} must lie between {EARLIEST:%Y-%m-%d} and {LATEST:%Y-%m-%d}")
    return first, last


def moment(name: str, value: object) -> dt.datetime:
    """An aware datetime, in UTC, to the millisecond below. Naive ones, dates and strings without an offset mean UTC.

    Strings are ISO 8601: 05/06/2025 is a different day to different people. Raises BadInput naming the argument.
    """
    stamp: dt.datetime
    if isinstance(value, str):
        try:
            stamp = dt.datetime.fromisoformat(value.strip())
        except ValueError as error:
            raise BadInput(f"{name} {value!r}: {WRITE}") from error
    elif value is None or value is pd.NaT:
        raise BadInput(f"{name} is empty: {WRITE}")
    elif isinstance(value, pd.Timestamp):
        stamp = value.to_pydatetime(warn=False)
    elif isinstance(value, dt.datetime):
        stamp = value
    elif isinstance(value, dt.date):
        stamp = dt.datetime(value.year, value.month, value.day, tzinfo=dt.UTC)
    elif type(value).__name__ == "datetime64":  # numpy's, which is always UTC
        return moment(name, pd.Timestamp(str(value)))
    else:
        raise BadInput(f"{name} {value!r}: {WRITE}")
    try:
        stamp = stamp.replace(tzinfo=dt.UTC) if stamp.tzinfo is None else stamp.astimezone(dt.UTC)
    except OverflowError as error:
        raise BadInput(f"{name} {value!r} is beyond the calendar: {WRITE}") from error
    return stamp.replace(microsecond=stamp.microsecond // 1000 * 1000)


def columns(asked: str | Iterable[str] | None, dataset: str) -> tuple[str, ...]:
    """The columns of a frame, in the order asked for; without asking, the usual ones.

    `timestamp` and `instrument` are always there and need not be named. Raises BadInput for what the dataset has not.
    """
    form = READABLE[dataset]
    if asked is None:
        return form.usual
    names = [asked] if isinstance(asked, str) else list(asked)
    for name in names:
        if name in ("timestamp", "instrument") or name in form.columns:
            continue
        near = difflib.get_close_matches(str(name), form.columns, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise BadInput(f"columns: {dataset} have no {name!r}; {hint}There are {', '.join(form.columns)}")
    wanted = tuple(dict.fromkeys(n for n in names if n in form.columns))
    if not wanted:
        raise BadInput(f"columns is empty: name some of {', '.join(form.columns)}, or leave it out")
    return wanted


def one_of(name: str, value: object, allowed: Sequence[object], why: str = "") -> None:
    """Raises BadInput naming what is allowed."""
    if not any(value is a or (isinstance(a, str) and value == a) for a in allowed):
        raise BadInput(f"{name} {value!r}: use one of {', '.join(map(repr, allowed))}{why}")
