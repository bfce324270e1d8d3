"""Random schedules of harm, each from a seed: whatever the order, what is held in the end is the truth.

make faults SEEDS=7        one schedule again, with what it did; a list, or FIRST:LAST, for more
"""

import datetime as dt
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from alphaforge_assets import failpoints
from alphaforge_assets.research import snapshots
from alphaforge_assets_tests.test_faults.rows import KILLS, at, milliseconds
from alphaforge_assets_tests.test_faults.world import KILLED, NOW, World, universe_of, whole

QUICK, ALL = (0, 106), range(200)
ASKED = os.environ.get("FAULTS_SEEDS", "")
STEPS_MAX = 6
POINTS = [p for p in KILLS if p != "failures.before"]
UNIVERSES = (
    {"binance_spot": ["BTC/USDT"], "okx_spot": ["BTC/USDT"]},
    {"okx_spot": ["BTC/USDT"], "binance_spot": ["BTC/USDT"]},
    {"binance_spot": ["BTC/USDT"]},
    {"okx_spot": ["BTC/USDT"]},
)
READ = """SELECT count(), sum(cityHash64(instrument_id, interval, timestamp, open, high, low, close, volume))
    FROM analytics.bars_as_of(as_of = {as_of:DateTime64(3, 'UTC')}, instruments = {ids:Array(UInt32)}, interval = '1m',
    start = {start:DateTime64(3, 'UTC')}, end = {end:DateTime64(3, 'UTC')})"""


def seeds() -> list[Any]:
    if ASKED:
        first, _, last = ASKED.partition(":")
        chosen = range(int(first), int(last) + 1) if last else map(int, ASKED.split(","))
        return list(chosen)
    return [pytest.param(seed, marks=[] if seed in QUICK else [pytest.mark.faults]) for seed in ALL]


@dataclass
class Schedule:
    """One: its chance, where the venues' clock stands, what was pinned and how it read, and what was done so far."""

    world: World
    chance: random.Random
    clock: dt.datetime = field(default_factory=lambda: at(3))
    pinned: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)

    def moment(self) -> dt.datetime:
        return at(self.chance.randrange(24), self.chance.randrange(60))

    def later(self) -> str:
        self.clock += dt.timedelta(minutes=self.chance.randrange(1, 200))
        self.world.hook("/_clock", {"now": self.clock.isoformat()})
        return f"the clock stands at {self.clock:%H:%M}"

    def refresh(self) -> str:
        again = self.chance.random() < 0.4
        self.world.refresh(refetch=again)
        return f"refetch={again}"

    def killed(self) -> str:
        point, nth = self.chance.choice(POINTS), self.chance.choice((1, 1, 2))
        what = self.chance.choice(("kill", "kill", "raise"))
        again = self.chance.random() < 0.5
        code = self.world.ended(self.world.child(f"{point}={what}@{nth}", refetch=again))
        assert code in (0, 1, KILLED), code
        return f"{what}@{nth} at {point}, refetch={again}: {code}"

    def two_writers(self) -> str:
        points = [self.chance.choice(POINTS) for _ in range(2)]
        again = self.chance.random() < 0.5
        both = [self.world.child(f"{p}=sleep:{self.chance.uniform(0.05, 0.4):.2f}", refetch=again) for p in points]
        codes = [self.world.ended(p) for p in both]
        assert set(codes) <= {0, 1}, codes
        return f"asleep at {points}, refetch={again}: {codes}"

    def revise(self) -> str:
        key, moment = f"{self.chance.choice(('binance_spot', 'okx_spot'))}.BTC-USDT", self.moment()
        to = self.chance.choice(("open", "high", "low"))
        self.world.revise(key, moment, to)
        return f"{key} {moment:%H:%M} closes at its {to}"

    def outage(self) -> str:
        moment, rows = self.moment(), self.chance.randrange(1, 90)
        self.world.hook(
            "/_faults",
            {"path": "*", "kind": "without", "since": milliseconds(moment), "rows": rows, "times": 1000},
        )
        return f"{rows} minutes from {moment:%H:%M}"

    def trouble(self) -> str:
        kind = self.chance.choice(("reset", "truncate", "garbage", "blank", "empty", "short", "turned", "holes"))
        times = self.chance.randrange(1, 3)
        self.world.hook("/_faults", {"path": "*", "kind": kind, "times": times, "skip": self.chance.randrange(3)})
        return f"{kind} {times} times"

    def universe(self) -> str:
        self.world.universe = universe_of(self.chance.choice(UNIVERSES))
        return str([i.key for i in self.world.universe.instruments])

    def pin(self) -> str:
        if not self.world.number("SELECT count() FROM analytics.bars_history"):
            return "nothing to pin"
        whole_universe = World(self.world.client, self.world.home, self.world.exchanges, self.world.folder)
        name = f"pin{len(self.done)}"
        snapshot = snapshots.pin(self.world.client, name, whole_universe.contents())
        self.pinned[name] = self.read(snapshot)
        return f"{snapshot.rows} rows"

    def read(self, snapshot: snapshots.Snapshot) -> tuple[Any, ...]:
        ids = [i.instrument_id for i in universe_of().instruments]
        bound = {
            "as_of": f"{snapshot.pinned_at:%Y-%m-%d %H:%M:%S.%f}"[:-3], "ids": ids,
            "start": f"{snapshot.start:%Y-%m-%d %H:%M:%S}", "end": f"{snapshot.end:%Y-%m-%d %H:%M:%S}",
        }  # fmt: skip
        return tuple(self.world.client.query(READ, parameters=bound).first_row)

    def play(self) -> None:
        self.world.hook("/_clock", {"now": self.clock.isoformat()})
        steps: tuple[Callable[[], str], ...] = (
            self.later, self.refresh, self.killed, self.killed, self.two_writers, self.revise, self.outage,
            self.trouble, self.universe, self.pin,
        )  # fmt: skip
        for _ in range(self.chance.randrange(3, STEPS_MAX + 1)):
            step = self.chance.choice(steps)
            self.done.append(step.__name__)
            self.done[-1] += f": {step()}"

    def settle(self) -> None:
        """Everything is well again: what the warehouse then holds must be the truth, and what was pinned as it was."""
        world = self.world
        world.well()
        world.hold_over()
        world.hook("/_clock", {"now": NOW.isoformat()})
        world.universe = universe_of()
        for again in (False, True):
            landed = world.refresh(refetch=again)
            assert landed.failures == [], landed.failures
        whole(world, versions=None)
        for name, rows in self.pinned.items():
            assert snapshots.verify(world.client, name) == [], name
            assert self.read(snapshots.find(world.client, name)) == rows, name


@pytest.mark.parametrize("seed", seeds())
def test_whatever_happens_in_whatever_order_the_truth_is_held_in_the_end(seed: int, world: World) -> None:
    failpoints.arm("", is_sandbox=True)
    schedule = Schedule(world, random.Random(seed))  # noqa: S311 - a schedule, no secret
    try:
        schedule.play()
        schedule.settle()
    except BaseException:
        print(f"seed {seed}; once more: make faults SEEDS={seed}\n  " + "\n  ".join(schedule.done))
        raise
