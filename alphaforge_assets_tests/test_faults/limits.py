"""Rows of the venues' patience: what they asked us to wait for, and as much of what they allow as can be used."""

import datetime as dt
from dataclasses import replace
from typing import Any

from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.sandbox import process as sandbox
from alphaforge_assets.sandbox.budgets import RULES
from alphaforge_assets.venues.directory import Exchanges
from alphaforge_assets_tests.test_faults.rows import BINANCE, NOW, OKX, ONE_DAY
from alphaforge_assets_tests.test_faults.world import PATHS, World, universe_of, whole

HELD_S = 900  # longer than any of our patience: nobody waits for its end within a run
SHARE_MIN = 0.8
DAYS = 9


def held_off(world: World, status: int) -> str:
    """The venue wants no request for a quarter of an hour: none comes, whoever asks, and the others go on."""
    world.fault("status", status=status, retry_after=HELD_S, times=1000)
    landed = world.refresh()
    assert {f.window.instrument.key for f in landed.failures} == {BINANCE}
    assert f"{HELD_S - 60}" < landed.failures[0].error.split("may be asked in ")[-1], landed.failures[0].error
    asked = refusals(world, status)
    world.well()
    assert {f.window.instrument.key for f in world.refresh().failures} == {BINANCE}
    assert world.ended(world.child("")) == 1  # another process, which has never seen that answer
    assert world.asked(PATHS["binance_spot"]) == asked, "asked while it wanted to be left alone"
    assert {bar[0] for bar in world.held()} == {OKX}
    world.hold_over()
    assert world.refresh().failures == []
    whole(world)
    return f"{asked} requests met it, none came after, of this process or another; OKX whole meanwhile"


def refusals(world: World, status: int) -> int:
    return len(world.hook(f"/_log?status={status}", None, "GET"))


def all_at_once(world: World) -> str:
    """Two backfills and the tail, three processes, against the venues' real limits."""
    with sandbox.start(now=NOW + dt.timedelta(seconds=30)) as url:  # its last minute has closed
        real = Exchanges("sandbox", url, world.folder / "real.sqlite3")
        three = {"okx_spot": ["BTC/USDT", "ETH/USDT"], "binance_spot": ["BTC/USDT"]}
        crowd = replace(world, exchanges=real, universe=universe_of(three, start=(NOW - 2 * DAYS * ONE_DAY).date()))
        older, newer = (crowd.part((NOW - n * DAYS * ONE_DAY).date(), DAYS) for n in (2, 1))
        started = [crowd.child("", part=older), crowd.child("", part=newer), crowd.child("", "tail")]
        assert [crowd.ended(process) for process in started] == [0, 0, 0]
        log: list[dict[str, Any]] = crowd.hook("/_log", None, "GET")
        assert {entry["status"] for entry in log} == {200}
        used = share_used([entry["at"] for entry in log if entry["path"] == PATHS["okx_spot"]])
        assert used >= SHARE_MIN, used
        whole(crowd, Rectangle(crowd.universe.instruments, older.start, newer.end))
    return f"{len(log)} requests, no 429, {used:.0%} of what OKX allows used"


def share_used(asked_at: list[str]) -> float:
    """Requests from the first to the last of a venue's, as a share of what its rule grants for that time."""
    rule = RULES["okx_history"]
    moments = sorted(dt.datetime.fromisoformat(at) for at in asked_at)
    return (len(moments) - 1) / ((moments[-1] - moments[0]).total_seconds() * rule.limit / rule.window_s)
