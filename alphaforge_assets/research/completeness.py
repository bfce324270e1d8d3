"""What is missing of an answer and why: never filled, never hidden; said once, or refused.

Every slot of the grid in [start, end) is expected. What has no row is a gap, with the verdict of the gap ledger
(verdicts.py) or, where the ledger has none, one of these: `not_closed` (it had not ended at the moment of the read),
`we_missed` (the venue was asked and did not answer), `unknown` (it answered without it, and nobody has judged that
yet), `never_asked`. A bar off the grid fills the slot it opens in; where several
open in one slot there are more rows than slots, which no count of rows shows: such slots are doubled, and said or
refused as gaps are. Funding has no grid: there the minutes count that no complete answer covers. Of derived bars the
minutes count that they are made of, so that what is missing of a bar that is there shows as well (minutes.py).
"""

import datetime as dt
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from alphaforge_assets.errors import CoverageError
from alphaforge_assets.intervals import MINUTE_MS, SERIES_MS, STEP_MS
from alphaforge_assets.research.arguments import Request
from alphaforge_assets.universe import id_of
from alphaforge_assets.verdicts import EXPLAINED, NOT_DUE

# Nobody could have traded then, or nobody knows: no row is ever made up there.
NEVER_FILLED = (*NOT_DUE, "not_closed", "never_asked")
SHOWN_MAX = 5
GRIDLESS_MS = 60_000  # without a grid, what was not asked for is counted in minutes

_OWN = (
    ("never_asked", "no batch of the ledger asked the venue for it"),
    ("retention_lost", "nobody served it any more when it was wanted"),
    ("we_missed", "the venue was asked and did not answer"),
    ("unknown", "the venue answered without it, and coverage has not judged that yet"),
    ("not_closed", "it had not closed at the moment of the read"),
)
# Their places in _OWN, the more certain later.
_NEVER_ASKED, _LOST, _WE_MISSED, _UNKNOWN, _NOT_CLOSED = range(len(_OWN))
_TYPES = {
    "instrument": "str",
    "gap_start": "datetime64[ms, UTC]",
    "gap_end": "datetime64[ms, UTC]",
    "missing": "int64",
    "verdict": "str",
    "evidence": "str",
}


class IncompleteWarning(UserWarning):
    """Not all that was asked for is there. The message says how much, and why."""


@dataclass(frozen=True)
class Ledger:
    """What the warehouse knows of the range.

    `gaps` are (instrument_id, start ms, end ms, verdict, evidence), the most certain last. `asked` gives
    (instrument_id, status, start ms, end ms), the complete ones last; it is a query, and run only if something is
    missing.
    """

    gaps: Sequence[tuple[int, int, int, str, str]]
    asked: Callable[[], Sequence[tuple[int, str, int, int]]]


def gaps_of(request: Request, times_ms: Mapping[str, Any], read_at: dt.datetime, ledger: Ledger) -> pd.DataFrame:
    """The gaps of an answer whose rows of each instrument have the (ascending) int64 open times `times_ms`.

    One row a gap: instrument, gap_start, gap_end (exclusive), missing (slots; minutes of funding), verdict, evidence.
    """
    grid = _grid(request)
    found = []
    for key, times in times_ms.items():
        slots = times // grid.step
        if request.interval and np.array_equal(slots, np.arange(grid.first, grid.last)):
            continue
        present = np.zeros(grid.last - grid.first, bool)
        if request.interval:
            present[slots[(slots >= grid.first) & (slots < grid.last)] - grid.first] = True
        found.append(_gaps(key, present, grid, read_at, ledger))
    if not any(len(part) for part in found):
        return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in _TYPES.items()})
    return pd.concat([part for part in found if len(part)], ignore_index=True).astype(_TYPES)


def hold(request: Request, gaps: pd.DataFrame, require: bool | str, stacklevel: int) -> None:
    """Say once that an answer has gaps, or raise CoverageError if completeness was required.

    `require` True refuses every gap, "explained" lets those pass that are explained (verdicts.py). Filling does not
    make data complete.
    """
    if not len(gaps):
        return
    refused = gaps if require is True else gaps[~gaps["verdict"].isin(EXPLAINED)]
    if require and len(refused):
        raise CoverageError(f"{_summary(request, refused)}: {_listed(refused)}", refused.reset_index(drop=True))
    warnings.warn(f"{_summary(request, gaps)}; {_advice(gaps)}", IncompleteWarning, stacklevel=stacklevel)


def _advice(gaps: pd.DataFrame) -> str:
    """What can be done: the ledger of gaps knows only of what somebody asked for."""
    is_new = gaps["verdict"] == "never_asked"
    advice = ["require_complete=True refuses that"]
    advice += ["`alphaforge backfill` fetches what was never asked for"] if is_new.any() else []
    advice += ["gaps() says why"] if not is_new.all() else []
    return ", ".join(advice)


def doubled_of(request: Request, times_ms: Mapping[str, Any]) -> pd.DataFrame:
    """The slots of the grid in which several bars open, of rows as `gaps_of` takes them: instrument, slot, rows.

    Nothing where there is no grid.
    """
    found = []
    for key, times in times_ms.items() if request.interval else ():
        step = STEP_MS[request.interval]
        slots, rows = np.unique(times // step, return_counts=True)
        slots, rows = slots[rows > 1] * step, rows[rows > 1]
        opened = pd.to_datetime(slots, unit="ms", utc=True)
        found.append(pd.DataFrame({"instrument": key, "slot": opened, "rows": rows.astype(np.int64)}))
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=["instrument", "slot", "rows"])


def hold_doubled(request: Request, doubled: pd.DataFrame, require: bool | str, stacklevel: int) -> None:
    """Say once that slots hold several rows, or raise CoverageError if completeness was required, in any degree.

    Which of the bars is right is not known here, so both are given, and no verdict explains them.
    """
    if not len(doubled):
        return
    slots, rows = len(doubled), int(doubled["rows"].sum())
    first = doubled.head(SHOWN_MAX)
    shown = [f"{row.instrument} {row.slot:%Y-%m-%d %H:%M} {row.rows} rows" for row in first.itertuples()]
    more = f"; and {slots - len(shown):,} more" if slots > len(shown) else ""
    of = "1 slot of the grid has" if slots == 1 else f"{slots:,} slots of the grid have"
    said = f"{request.what}: {of} {rows:,} rows, of which each is to have one ({'; '.join(shown)}{more})"
    if require:
        raise CoverageError(f"{said}: leave require_complete out to read them all, and choose by timestamp", doubled)
    warnings.warn(f"{said}; require_complete=True refuses that", IncompleteWarning, stacklevel=stacklevel)


def by_verdict(gaps: pd.DataFrame) -> dict[str, int]:
    """Missing slots by verdict, the largest first."""
    sums = gaps.groupby("verdict")["missing"].sum().sort_values(ascending=False, kind="stable")
    return {str(verdict): int(missing) for verdict, missing in sums.items()}


def fillable_ms(request: Request, gaps: pd.DataFrame, key: str) -> Any:
    """Open times of the missing slots of `key` that may be filled, ascending: those of no verdict in NEVER_FILLED."""
    step = SERIES_MS[request.interval]
    own = gaps[(gaps["instrument"] == key) & ~gaps["verdict"].isin(NEVER_FILLED)]
    starts, ends = (own[name].dt.as_unit("ms").astype("int64") for name in ("gap_start", "gap_end"))
    ranges = [np.arange(a, b, step) for a, b in zip(starts, ends, strict=True)]
    return np.concatenate([np.array([], np.int64), *ranges])


@dataclass(frozen=True)
class _Grid:
    """Slot numbers since 1970 of a range: [first, last), each `step` ms long."""

    first: int
    last: int
    step: int
    is_real: bool  # else the slots are minutes that the venue was asked for, whatever there was in them

    def cut(self, start_ms: int, end_ms: int) -> slice:
        """The places of the slots that begin in [start_ms, end_ms)."""
        return slice(*(max(0, -(-ms // self.step) - self.first) for ms in (start_ms, end_ms)))


def _grid(request: Request) -> _Grid:
    step = STEP_MS.get(request.interval, GRIDLESS_MS)
    first, last = -(-_ms(request.start) // step), -(-_ms(request.end) // step)
    if request.made_of:
        minutes = step // MINUTE_MS
        return _Grid(first * minutes, last * minutes, MINUTE_MS, True)
    return _Grid(first, last, step, bool(request.interval))


def _gaps(key: str, present: Any, grid: _Grid, read_at: dt.datetime, ledger: Ledger) -> pd.DataFrame:
    """Paint what is known over the slots, the more certain over the less, and read off the runs that have no row."""
    own = id_of(key)
    reasons = list(_OWN)
    paint = np.full(len(present), _NEVER_ASKED, np.int32)
    for instrument_id, start_ms, end_ms, verdict, evidence in ledger.gaps:
        if instrument_id == own:
            paint[grid.cut(start_ms, end_ms)] = len(reasons)
            reasons.append((verdict, evidence))
    paint[max(0, _ms(read_at) // grid.step - grid.first) :] = _NOT_CLOSED
    if (~present & (paint == _NEVER_ASKED)).any():
        for instrument_id, status, start_ms, end_ms in ledger.asked():
            place = grid.cut(start_ms, end_ms)
            if instrument_id == own and status != "complete":
                reason = _LOST if status == "unserved" else _WE_MISSED
                paint[place] = np.where(paint[place] < reason, reason, paint[place])
            elif instrument_id == own and grid.is_real:
                paint[place] = np.where(paint[place] <= _WE_MISSED, _UNKNOWN, paint[place])
            elif instrument_id == own:
                present[place] = True
    return _runs(key, np.where(present, -1, paint), reasons, grid)


def _runs(key: str, kinds: Any, reasons: Sequence[tuple[str, str]], grid: _Grid) -> pd.DataFrame:
    edges = np.flatnonzero(np.diff(kinds, prepend=-2))
    ends = np.append(edges[1:], len(kinds))
    missing = kinds[edges] >= 0
    edges, ends = edges[missing], ends[missing]
    why = [reasons[kind] for kind in kinds[edges]]
    return pd.DataFrame(
        {
            "instrument": key,
            "gap_start": pd.to_datetime((edges + grid.first) * grid.step, unit="ms", utc=True),
            "gap_end": pd.to_datetime((ends + grid.first) * grid.step, unit="ms", utc=True),
            "missing": ends - edges,
            "verdict": [verdict for verdict, _ in why],
            "evidence": [evidence for _, evidence in why],
        }
    )


def _summary(request: Request, gaps: pd.DataFrame) -> str:
    grid = _grid(request)
    total, missing = (grid.last - grid.first) * len(request.instruments), int(gaps["missing"].sum())
    reasons = ", ".join(f"{count:,} {verdict}" for verdict, count in by_verdict(gaps).items())
    unit = "expected rows are missing" if grid.is_real else "minutes have no answer of the venue"
    unit = "minutes of it are missing" if request.made_of else unit
    return f"{request.what}: {missing:,} of {total:,} {unit} ({reasons})"


def _listed(gaps: pd.DataFrame) -> str:
    shown = [
        f"{row.instrument} {row.gap_start:%Y-%m-%d %H:%M} to {row.gap_end:%Y-%m-%d %H:%M} {row.verdict}"
        for row in gaps.head(SHOWN_MAX).itertuples()
    ]
    more = len(gaps) - len(shown)
    return "; ".join(shown) + (f"; and {more:,} more gaps, see the error's .gaps" if more else "")


def _ms(moment: dt.datetime) -> int:
    return int((moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) / dt.timedelta(milliseconds=1))
