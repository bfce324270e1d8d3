"""Which source is asked for which window: the one that brings it soonest, as far as one can know without asking.

What a request costs is what its rate budget makes it wait at a steady pace, and its bytes at an assumed speed. That
picks a source a window. Then the whole is looked at: a budget lets a burst go at once, and a source may take a while
to start, so a source is left out where the others would be done sooner without it. So days and recent hours stay with
REST, whose requests go at once, and long spans of closed months go to files. Pure; landing and plans both ask here.
"""

import datetime as dt
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, combinations

from alphaforge_assets.venues.governor import Budget
from alphaforge_assets.venues.source import Call, Source
from alphaforge_assets.warehouse.windows import Window

BEST = "best"
# What a line is assumed to bring; a tenth of it or ten times as much changes little but for the largest files.
BYTES_A_S = 10_000_000.0
# A file that is due within so much may be there: it is tried if nobody else has it any more.
SOON = dt.timedelta(days=2)


@dataclass(frozen=True)
class Left:
    """A window that is to be answered, and the sources that could not: of those, some have let go of it by now."""

    window: Window
    tried: frozenset[str] = frozenset()
    let_go: frozenset[str] = frozenset()


Shares = list[tuple[Source, list[Left]]]


def shared_out(sources: Sequence[Source], dataset: str, left: Sequence[Left], wish: str, now: dt.datetime) -> Shares:
    """Every window with the source to ask now; what no source is left for is in none."""
    prices = _Prices(dataset, now)
    slow = [s for s in sources if s.start_s > 0]
    best: tuple[tuple[int, float, float], Shares] | None = None
    for count in range(len(slow) + 1):  # all of them, then all but one, and so on: the first of equals stays
        for without in combinations(slow, count):
            shares = _assigned(sources, without, left, wish, prices)
            unserved = len(left) - sum(len(its) for _, its in shares)
            # Of what takes equally long the least effort: bursts hide it from the clock.
            price = unserved, round(prices.seconds(shares), 3), prices.effort_s(shares)
            if best is None or price < best[0]:
                best = price, shares
    return best[1] if best else []


def able(sources: Sequence[Source], dataset: str, one: Left, wish: str, now: dt.datetime) -> list[Source]:
    """Who may be asked for a window now.

    A source that settles its own holes is not made up for by one of a higher rank if it failed: that is told and asked
    again, and files are for what is long over. What it has let go of is another matter: there is nobody else. Unless
    files alone are wished for, or it is let go of, only those are asked that should have it by now; and those that by
    our clock have let go of it only if no other should have it.
    """
    failed = [s for s in sources if s.name in one.tried - one.let_go and s.settles_holes]
    below = min((s.rank for s in failed), default=math.inf)
    w = one.window
    its = [
        s
        for s in sources
        if s.serves(dataset, w.interval) and s.name not in one.tried and is_wished(s, wish) and s.rank < below
    ]
    offering = [s for s in its if s.offers(dataset, w.interval, w.start, w.end, now)]
    holding = [s for s in offering if (kept := s.kept(dataset, w.interval)) is None or now - kept <= w.start]
    soon = [s for s in its if one.let_go and s.offers(dataset, w.interval, w.start, w.end, now + SOON)]
    return holding or offering or (its if wish != BEST else soon)


def tried(source: Source, asked: Sequence[Left], windows: Sequence[Window], *, let_go: bool = False) -> list[Left]:
    """Windows that a source did not answer, or has let go of, each with all the sources that could not."""
    left, mine = [], frozenset({source.name})
    for w in windows:
        its = [one for one in asked if _is_part(w, one.window)]
        gone = frozenset().union(*(one.let_go for one in its)) | (mine if let_go else frozenset())
        left.append(Left(w, mine.union(*(one.tried for one in its)), gone))
    return left


def _is_part(window: Window, whole: Window) -> bool:
    same = window.instrument == whole.instrument and window.interval == whole.interval
    return same and window.start < whole.end and window.end > whole.start


def is_wished(source: Source, wish: str) -> bool:
    """Whether a source is of the kind that somebody wants: rest, archive, whatever is best, or one by its name."""
    return wish in (BEST, source.name.partition("_")[0], source.name)


def calls_of(source: Source, dataset: str, window: Window, now: dt.datetime) -> list[Call]:
    """The requests that a window takes of a source."""
    return source.calls(dataset, window.instrument.symbol, window.interval, window.start, window.end, now)


@dataclass
class _Prices:
    """What windows take of sources, worked out once."""

    dataset: str
    now: dt.datetime
    known: dict[tuple[int, Window], "_Price"] = field(default_factory=dict)

    def of(self, source: Source, window: Window) -> "_Price":
        key = id(source), window
        if key not in self.known:
            weight: dict[Budget, float] = defaultdict(float)
            size = 0
            for call in calls_of(source, self.dataset, window, self.now):
                weight[call.budget] += call.weight
                size += call.bytes
            self.known[key] = _Price(weight, size / BYTES_A_S)
        return self.known[key]

    def effort_s(self, shares: Shares) -> float:
        """What all of it takes at a steady pace."""
        return sum(self.of(source, one.window).effort_s for source, left in shares for one in left)

    def seconds(self, shares: Shares) -> float:
        """How long all of it takes, a source after the other, each from a fresh budget."""
        total = 0.0
        for source, left in shares:
            prices = [self.of(source, one.window) for one in left]
            weight: dict[Budget, float] = defaultdict(float)
            for budget, units in chain.from_iterable(price.weight.items() for price in prices):
                weight[budget] += units
            waits = [max(0.0, units - budget.burst) * budget.seconds_per_unit for budget, units in weight.items()]
            total += source.start_s + max(waits, default=0.0) + sum(price.line_s for price in prices)
        return total


@dataclass(frozen=True)
class _Price:
    weight: Mapping[Budget, float]
    line_s: float

    @property
    def effort_s(self) -> float:
        """At a steady pace."""
        return self.line_s + sum(units * budget.seconds_per_unit for budget, units in self.weight.items())


def _assigned(
    sources: Sequence[Source], without: Sequence[Source], left: Iterable[Left], wish: str, prices: _Prices
) -> Shares:
    """Each window with the source that brings it with the least effort."""
    chosen: dict[int, tuple[Source, list[Left]]] = {}
    for one in left:
        its = [
            s for s in able(sources, prices.dataset, one, wish, prices.now) if not any(s is other for other in without)
        ]
        if its:
            efforts = [(prices.of(s, one.window).effort_s, -s.rank) for s in its] if len(its) > 1 else [(0.0, 0)]
            source = its[efforts.index(min(efforts))]
            chosen.setdefault(id(source), (source, []))[1].append(one)
    return sorted(chosen.values(), key=lambda share: -share[0].rank)
