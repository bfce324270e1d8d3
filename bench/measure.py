"""What a measurement is: a row of the table, how large everything is, and the clock. Nothing of ours is imported."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

NO_PEERS = "`make bench-peers`"


@dataclass(frozen=True)
class Sizes:
    """How much of everything; what takes minutes is done once, the rest `rounds` times, in turns."""

    name: str
    rounds: int
    days: int  # of the backfill that the issue calls the year
    instruments: int  # of the wide backfill
    keys: tuple[int, int]  # partitions of a run
    cells: tuple[int, int]  # days × instruments of the asset whose partitions the UI shows
    materialized: tuple[int, int]  # of them
    spans: Mapping[str, int]  # what is read: name -> days
    panel: int  # instruments side by side, a month of hours
    peak: int  # instruments of the backfill whose memory is watched
    months: tuple[tuple[int, int], ...]  # instruments × months of the growing backfill
    rows: tuple[int, int]  # of the growing table


FULL = Sizes(
    name="full",
    rounds=3,
    days=366,
    instruments=8,
    keys=(100, 2_000),
    cells=(1_000, 35),
    materialized=(1_000, 10),
    spans={"day": 1, "month": 31, "year": 366},
    panel=50,
    peak=10,
    months=((1, 1), (8, 1), (8, 8)),
    rows=(1_000_000, 10_000_000),
)
LARGE = replace(FULL, name="large", rows=(1_000_000, 100_000_000))
SMOKE = Sizes(
    name="smoke",
    rounds=1,
    days=2,
    instruments=1,  # wide is then narrow: its rows are there, and a command less is run
    keys=(2, 20),
    cells=(20, 2),
    materialized=(10, 2),
    spans={"day": 1, "month": 2, "year": 3},
    panel=3,
    peak=1,
    months=((1, 1), (2, 1), (2, 2)),
    rows=(5_000, 20_000),
)


@dataclass(frozen=True)
class Row:
    """A line of the table: samples of ours beside samples of a floor or a peer, taken in the same run."""

    what: str
    unit: str
    ours: Sequence[float]
    against: str
    theirs: Sequence[float]  # empty if there was nothing to compare with; `note` says why
    note: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.ours)

    @property
    def other(self) -> float | None:
        return statistics.median(self.theirs) if self.theirs else None

    @property
    def ratio(self) -> float | None:
        return self.median / self.other if self.other else None

    def record(self) -> dict[str, Any]:
        """The row for results.json, every sample and what follows from them."""
        derived = {"median": self.median, "other": self.other, "ratio": self.ratio}
        return {**asdict(self), "ours": list(self.ours), "theirs": list(self.theirs), **derived}


def timed(work: Callable[[], object]) -> float:
    """Seconds that `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def in_turns(rounds: int, contenders: Mapping[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Seconds of each contender, a sample a round: what disturbs one disturbs all."""
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, work in contenders.items():
            samples[name].append(timed(work))
    return samples


def scaled(samples: Sequence[float], factor: float) -> list[float]:
    """Samples in another unit, or for each of some things."""
    return [sample * factor for sample in samples]
