"""Rows that are done here: each takes a world, harms it, and says what came of it once the oracle is satisfied."""

import datetime as dt
import os
import signal
import threading
import time
from dataclasses import replace

import pytest

from alphaforge_assets import failpoints
from alphaforge_assets.backup.manifest import names
from alphaforge_assets.backup.place import place
from alphaforge_assets.backup.take import take
from alphaforge_assets.errors import Permanent
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.quality.checks import every_check, offenders
from alphaforge_assets.research import snapshots
from alphaforge_assets_tests.test_faults.world import DAY, KILLED, NOW, World, universe_of, whole

KILLS = [p for p in failpoints.POINTS if p.split(".")[0] in ("landing", "ledger", "staging", "publish", "judge")]
BINANCE, OKX = "binance_spot.BTC-USDT", "okx_spot.BTC-USDT"
ONE_DAY = dt.timedelta(days=1)


def at(hour: int, minute: int = 0) -> dt.datetime:
    return dt.datetime(2025, 6, 1, hour, minute, tzinfo=dt.UTC)


def milliseconds(moment: dt.datetime) -> int:
    return int(moment.timestamp() * 1000)


def killed_at(world: World, point: str) -> str:
    code = world.ended(world.child(f"{point}=kill"))
    assert code == KILLED, code
    assert world.refresh().failures == []
    whole(world)
    return "killed there; the next run did the rest"


def failing_at(world: World, point: str) -> str:
    assert world.ended(world.child(f"{point}=raise")) == 1
    assert world.refresh().failures == []
    whole(world)
    return "exit 1 and the reason; the next run did the rest"


def killed_again_and_again(world: World) -> str:
    for point in KILLS:
        code = world.ended(world.child(f"{point}=kill", refetch=True))
        assert code == KILLED, (point, code)
    assert world.refresh().failures == []
    whole(world)
    return f"killed {len(KILLS)} times in a row while refetching; history has each bar once"


def zombie_at(world: World, point: str) -> str:
    """A writer falls asleep with its work in hand, another does all of it, then the first one wakes."""
    sleeper = world.child(f"{point}=sleep:1.5")
    assert world.refresh().failures == []
    assert world.ended(sleeper) == 0
    whole(world)
    return "another did its work meanwhile; what it wrote when it woke changed nothing"


def stopped(world: World) -> str:
    writer = world.child("landing.before=sleep:0.5")
    time.sleep(0.3)
    os.kill(writer.pid, signal.SIGSTOP)
    try:
        assert world.refresh().failures == []
    finally:
        os.kill(writer.pid, signal.SIGCONT)
    assert world.ended(writer) == 0
    whole(world)
    return "stopped, overtaken, woken: every version once"


def two_at_once(world: World) -> str:
    both = [world.child("publish.before=sleep:1") for _ in range(2)]  # without a lock they would write together
    assert [world.ended(p) for p in both] == [0, 0]
    whole(world)
    return "both ended well, every version is there once"


def two_tails(world: World) -> str:
    part = world.part(NOW.date() - ONE_DAY)
    world.hook("/_clock", {"now": (NOW + dt.timedelta(seconds=30)).isoformat()})
    both = [world.child("tail.reached=sleep:0.5", "tail"), world.child("publish.before=sleep:0.3", "tail")]
    assert [world.ended(p) for p in both] == [0, 0]
    whole(world, part)
    return "both ended well, every version is there once"


def spoilt(world: World, kind: str, **more: object) -> str:
    """A fault that a second question of the same run gets over."""
    for venue in ("binance_spot", "okx_spot"):
        world.fault(kind, venue, **more)
    landed = world.refresh()
    assert landed.failures == [], landed.failures
    whole(world)
    return f"asked again in the same run ({landed.cost.retries} retries), nobody had to do anything"


def refused(world: World, status: int) -> str:
    world.fault("status", status=status, times=1000)
    landed = world.refresh()
    assert {f.window.instrument.key for f in landed.failures} == {BINANCE}
    asked = [r for r in world.hook("/_log", None, "GET") if r["path"] == "/api/v3/klines"]
    assert len(asked) <= 2, len(asked)
    assert {bar[0] for bar in world.held()} == {OKX}
    world.well()
    world.hold_over()
    assert world.refresh().failures == []
    whole(world)
    said = landed.failures[0].error.split(":")[0]
    return f"{said} after {len(asked)} request, the other venue whole; made up for when it answered"


def told_lies(world: World, kind: str, value: float) -> str:
    """Pages that cannot be what was asked for are a failure or are asked for again, and never rows."""
    world.fault(kind, value=value, times=2)
    landed = world.refresh()
    lies = set(world.held()) - set(world.truth())
    assert not lies, sorted(lies)[:3]
    world.well()
    world.hold_over()
    assert world.refresh().failures == []
    whole(world)
    what = landed.failures[0].error[:60] if landed.failures else "asked again in the same run"
    return f"no row of it was taken: {what}"


def others_prices(world: World) -> str:
    """Prices of another symbol on sound bars: no row shows it, but two venues do."""
    world.fault("other", times=100, value=37.0)
    assert world.refresh().failures == []
    (rule,) = [c for c in every_check() if c.name == "asset_has_one_price"]
    assert offenders(world.client, rule, world.part(), NOW), "nobody noticed"
    world.well()
    assert world.refresh(refetch=True).failures == []
    whole(world, versions=1440)
    return "taken, told by asset_has_one_price; a refetch replaced them, the old versions stay in history"


def outage(world: World) -> str:
    world.fault("without", times=1000, since=milliseconds(at(5)), rows=30)
    assert world.refresh().failures == []
    whole(world, without=[(BINANCE, at(5), at(5, 30))])
    return "a gap of exactly those 30 minutes, venue_outage; a rerun asks for nothing"


def outage_made_up_for(world: World) -> str:
    outage(world)
    world.well()
    assert world.refresh(refetch=True).failures == []
    whole(world)
    return "the gap is closed by a refetch"


def revised(world: World) -> str:
    assert world.refresh().failures == []
    pinned = snapshots.pin(world.client, "before", world.contents())
    world.revise(BINANCE, at(7), "high")
    assert world.refresh(refetch=True).failures == []
    whole(world, versions=1)
    assert snapshots.verify(world.client, pinned.name) == []
    return "one new version; the snapshot pinned before still verifies"


def changing_under_paging(world: World) -> str:
    """A bar of the first page and one of the second change while the second page is on its way."""
    world.fault("hang", skip=1, seconds=1.0)
    run = threading.Thread(target=world.refresh)
    run.start()
    time.sleep(0.5)
    for moment in (at(1), at(22)):
        world.revise(BINANCE, moment, "low")
    run.join()
    held = set(world.held()) - set(world.truth())
    assert {bar[:3] for bar in held} <= {(BINANCE, "1m", at(1)), (BINANCE, "1m", at(22))}
    assert world.refresh(refetch=True).failures == []
    whole(world, versions=len(held))
    return f"{len(held)} bars as they were when asked for; a refetch brought the later versions"


def clock_set_back(world: World) -> str:
    assert world.refresh().failures == []
    world.hook("/_clock", {"now": at(12).isoformat()})
    assert world.refresh().failures == []
    whole(world)
    world.hook("/_clock", {"now": NOW.isoformat()})
    whole(world)
    return "nothing was lost, asked for again or taken for open"


def open_bar(world: World) -> str:
    world.hook("/_clock", {"now": (at(12) + dt.timedelta(seconds=59.9)).isoformat()})
    assert world.refresh().failures == []
    assert max(bar[2] for bar in world.held()) == at(11, 59)
    world.hook("/_clock", {"now": NOW.isoformat()})
    assert world.refresh().failures == []
    whole(world)
    return "the open minute was left out, and came when it had closed"


def universe_changed(world: World) -> str:
    """Instruments and intervals come and go between a run's planning and its end, in another order too."""
    small = world.universe
    queued = world.part()
    world.universe = universe_of({"okx_spot": ["ETH/USDT", "BTC/USDT"], "binance_spot": ["BTC/USDT"]}, ("1h", "1m"))
    both = [world.refresh(queued), world.refresh()]
    assert [b.failures for b in both] == [[], []]
    whole(world)
    world.universe = small
    assert world.refresh().cost.requests == 0
    return "the queued rectangle meant what it meant; order changed nothing; the new interval came too"


def removed_and_added_again(world: World) -> str:
    everything = world.universe
    assert world.refresh().failures == []
    world.universe = universe_of({"okx_spot": ["BTC/USDT"]})
    assert world.refresh().cost.requests == 0
    assert {bar[0] for bar in world.held()} == {BINANCE, OKX}
    world.universe = everything
    whole(world)
    return "its history stayed, and was not asked for again"


def start_moved(world: World) -> str:
    two = Rectangle(world.universe.instruments, DAY, DAY + 2 * ONE_DAY)
    assert world.refresh(two).failures == []
    for first in (DAY + ONE_DAY, DAY):
        world.universe = universe_of(start=first)
        assert world.refresh(replace(two, instruments=world.universe.instruments)).cost.requests == 0
    whole(world, two)
    return "moved on and back: nothing lost, nothing asked for again"


def pin_killed_at(world: World, point: str) -> str:
    assert world.refresh().failures == []
    assert world.ended(world.child(f"{point}=kill", "pin")) == KILLED
    listed = [s.name for s in snapshots.listed(world.client)]
    assert listed == (["pinned"] if point == "pin.finished" else [])
    assert snapshots.pin(world.client, "pinned", world.contents()).rows == 2880
    assert snapshots.verify(world.client, "pinned") == []
    return "no half a snapshot; pinned again, it verifies"


def backup_killed_at(world: World, point: str, what: str) -> str:
    assert world.refresh().failures == []
    there = place(str(world.folder / "backup"), None)
    code = world.ended(world.child(f"{point}={what}", "backup"))
    assert code == (KILLED if what == "kill" else 1), code
    assert names(there) == []
    take(world.client, world.folder / "dagster", there)
    assert len(names(there)) == 1
    return "it is none; the same command again made one"


def disk_full(world: World) -> str:
    said = backup_killed_at(world, "backup.file", "nospace")
    there = place(str(world.folder / "full"), None)
    failpoints.arm("backup.file=nospace", is_sandbox=True)
    try:
        with pytest.raises(Permanent, match="free some room"):
            take(world.client, world.folder / "dagster", there)
    finally:
        failpoints.arm("", is_sandbox=True)
    assert names(there) == []
    assert list((world.folder / "full").rglob("*.partial")) == []  # files of other threads are whole, and may be kept
    return f"`free some room`, no partial file; {said}"


def silent_middle(world: World) -> str:
    return spoilt(world, "empty", skip=1, times=1)


def cut_to_seven(world: World) -> str:
    return spoilt(world, "short", rows=7, skip=1, times=3)


def later_page(world: World) -> str:
    return told_lies(world, "moved", float(3 * 24 * 60))
