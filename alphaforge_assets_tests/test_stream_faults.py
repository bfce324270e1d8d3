"""`alphaforge stream` as a process against faults on order: of venues, of its own end, and of the warehouse.

The truth is REST's: after the end every minute is asked for again, and history must not learn anything by it.
"""

import contextlib
import datetime as dt
import json
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client

from alphaforge_assets import failpoints
from alphaforge_assets.datasets.bars import BARS
from alphaforge_assets.errors import Transient
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.refresh import refresh
from alphaforge_assets.sandbox.process import start
from alphaforge_assets.stream import status
from alphaforge_assets.stream.loader import Bar, Loader
from alphaforge_assets.universe import Instrument, Universe, load_universe
from alphaforge_assets.warehouse import statements
from alphaforge_assets.warehouse.client import open_warehouse
from alphaforge_assets.warehouse.local import running
from alphaforge_assets_tests.conftest import LIFTED, lifted
from alphaforge_assets_tests.installed import Installed, call, fault, until
from alphaforge_assets_tests.test_embedded_process import served

MINUTE_MS = 60_000
RATE = 60
BEFORE = dt.timedelta(minutes=100)  # the venues' clock begins so long ago, and catches up within the file's time
NAMES = {"binance_spot": "BTC/USDT", "bybit_perp": "BTC/USDT", "okx_spot": "BTC/USDT", "kraken_spot": "BTC/USD"}


@dataclass
class World:
    """A home, venues whose minutes last a second, and a client of the warehouse that the test looks through."""

    its: Installed
    client: Client
    url: str
    universe: Universe
    environment: dict[str, str]
    process: "subprocess.Popen[str] | None" = None

    @contextlib.contextmanager
    def stream(self, fails: str = "") -> "Iterator[subprocess.Popen[str]]":
        """A running `alphaforge stream`, which has loaded a bar since."""
        more = {**self.environment, **({"ALPHAFORGE_FAIL": fails} if fails else {})}
        with self.its.started("stream", **more) as process:
            self.process = process
            try:
                yield process
            finally:
                print(self.its.said("stream"), self.state())  # shown with a failure

    def ends(self, process: "subprocess.Popen[str]") -> None:
        """Ctrl-C, and nothing but success."""
        process.send_signal(signal.SIGINT)
        assert process.wait(45) == 0, self.its.said("stream")
        assert "Traceback" not in self.its.said("stream")

    def state(self) -> status.Status:
        found = status.read(self.its.home)
        return found or status.Status(0, 0.0, 0.0)

    def minutes(self, key: str) -> list[int]:
        """The minutes of an instrument in `v_bars`, ms, in order."""
        query = "SELECT timestamp_unix FROM analytics.v_bars WHERE concat(venue, '.', symbol) = {key:String} ORDER BY 1"
        return [int(row[0]) for row in self.client.query(query, parameters={"key": key}).result_rows]

    def heard(self, count: int, *venues: str, seconds: float = 60) -> None:
        """Wait until so many minutes more of each venue are there."""
        names = {key: len(self.minutes(key)) + count for key in self.keys if not venues or key.startswith(venues)}

        def are_there() -> bool:
            assert self.process is None or self.process.poll() is None, self.its.said("stream")
            return all(len(self.minutes(key)) >= least for key, least in names.items())

        until(are_there, seconds)

    @property
    def keys(self) -> list[str]:
        return [f"{venue}.{symbol}" for venue, symbol in NAMES.items()]

    def breaks(self, venue: str) -> dict[str, str]:
        """What became of minutes that a stream did not tell: by their reason."""
        query = "SELECT reason, status FROM analytics.stream_breaks WHERE venue = {venue:String} ORDER BY noted_at"
        return dict(self.client.query(query, parameters={"venue": venue}).result_rows)

    def wire(self, venue: str) -> status.Wire:
        """How the stream of a venue goes."""
        return next(wire for wire in self.state().wires if wire.venue == venue)

    def now_ms(self) -> int:
        """The venues' time."""
        return int(call(f"{self.url}/api/v3/time")["serverTime"])

    def assert_true(self) -> list[tuple[str, ...]]:
        """Every minute is there once. Returns the sources of bars that have several versions once REST has told all."""
        call(f"{self.url}/_faults", method="DELETE")
        held = {key: self.minutes(key) for key in self.keys}
        for key, minutes in held.items():
            whole = list(range(minutes[0], minutes[-1] + MINUTE_MS, MINUTE_MS))
            is_quiet = key.startswith("kraken_spot")  # has no bar of a minute without a trade
            assert minutes == [m for m in whole if m in minutes or not is_quiet], (key, set(whole) - set(minutes))
        first, last = (dt.datetime.fromtimestamp(f(f(m) for m in held.values()) / 1000, dt.UTC) for f in (min, max))
        until(lambda: self.now_ms() > last.timestamp() * 1000 + 3 * MINUTE_MS, 10)
        part = Rectangle(self.universe.instruments, first.date(), last.date() + dt.timedelta(days=1))
        exchanges = lifted(self.url, self.its.root / "truth.sqlite3")
        asked = {"refetch": True, "since": first, "until": last + dt.timedelta(minutes=1), "is_judged": False}
        landed = refresh(self.client, exchanges, self.universe, part, BARS, run_id="truth", **asked)
        assert landed.failures == []
        for key, minutes in held.items():
            assert [m for m in self.minutes(key) if minutes[0] <= m <= minutes[-1]] == minutes, key
        found = self.client.query(
            "SELECT arrayMap(its -> its.2, arraySort(groupArray((version, source)))) FROM analytics.bars_history FINAL"
            " GROUP BY instrument_id, timestamp HAVING count() > 1"
        )
        return [tuple(sources) for (sources,) in found.result_rows]


@pytest.fixture(scope="module")
def venues() -> Iterator[str]:
    with start(budget_scale=LIFTED) as url:
        yield url


@pytest.fixture
def world(template: Path, tmp_path: Path, venues: str) -> Iterator[World]:
    its = Installed(tmp_path / "root", venues).furnished(template)
    with open_warehouse(its.home) as client:
        yield begun(its, client)
    call(f"{venues}/_faults", method="DELETE")


def begun(its: Installed, client: Client, **environment: str) -> World:
    """The venues' clock begins to run, and a universe is written."""
    file = its.root / "universe.yaml"
    named = "".join(f'  {venue}: {{instruments: ["{symbol}"]}}\n' for venue, symbol in NAMES.items())
    file.write_text(f"history_start: 2025-01-01\nintervals: [1m]\nvenues:\n{named}")
    began = dt.datetime.now(dt.UTC) - BEFORE
    call(f"{its.venues}/_clock", json.dumps({"now": began.isoformat(), "rate": RATE}).encode())
    return World(its, client, str(its.venues), load_universe(file), {"ALPHAFORGE_UNIVERSE": str(file), **environment})


MESSAGES = (
    {"kind": "twice", "times": 20},
    {"kind": "swap", "times": 20},
    {"kind": "gap", "rows": 90},
    {"kind": "late", "seconds": 60},
    {"kind": "late", "seconds": 600},
    {"kind": "no_close", "times": 2},
    {"kind": "wrong_close"},
)


def test_each_minute_is_there_once_whatever_the_venues_do(world: World) -> None:
    """Binance ends connections and falls silent, Bybit refuses and is deaf, OKX leaves out, doubles, swaps and errs."""
    with world.stream() as process:
        world.heard(2)
        for kind in ("refuse", "deaf", "cut"):
            fault(world.url, scope="stream", kind=kind, venue="bybit_perp")
        for order in MESSAGES:
            fault(world.url, scope="stream", venue="okx", **order)
        fault(world.url, scope="stream", kind="cut", venue="kraken_spot")
        for kind in ("cut", "shutdown", "end", "cut"):
            opened_at = world.wire("binance_spot").opened_at
            if kind == "end":
                call(f"{world.url}/_connections", method="DELETE")
            else:
                fault(world.url, scope="stream", kind=kind, venue="binance_spot", seconds=0.1)
            until(lambda: world.wire("binance_spot").opened_at > opened_at, 20)  # noqa: B023
            world.heard(1, "binance_spot")
        fault(world.url, scope="stream", kind="stall", venue="binance_spot")
        began = time.monotonic()
        world.heard(18)
        assert time.monotonic() - began < 30
        until(lambda: world.state().missing == 0 and call(f"{world.url}/_faults") == [], 30)
        world.ends(process)
    reasons = {venue: world.breaks(venue) for venue in NAMES}
    assert all(set(found.values()) <= {"repaired"} for found in reasons.values()), reasons
    assert any(reason.startswith("silent for") for reason in reasons["binance_spot"]), reasons
    assert any(reason.startswith("silent for") for reason in reasons["bybit_perp"]), reasons
    assert "no close came" in reasons["okx_spot"], reasons
    assert world.assert_true() == [("ws", "rest")]


KILLS = ("journal.synced=kill@9", "streamed.before=kill@2", "streamed.landed=kill@2", "streamed.between=kill@2")


def test_killed_anywhere_it_goes_on_where_it_was(world: World) -> None:
    journals = world.its.home / "stream"
    for order in KILLS:
        with world.stream(order) as process:
            assert process.wait(30) == -signal.SIGKILL, world.its.said("stream")
        (journal, *_) = journals.rglob("*.jsonl")
        with journal.open("ab") as torn:
            torn.write(b'{"n":7,"at":179602')
    with world.stream() as process:
        world.heard(3)
        until(lambda: world.state().missing == 0, 30)
        world.ends(process)
    assert not list(journals.rglob("*.jsonl"))
    assert len(list(journals.rglob("*.torn"))) >= len(KILLS)
    assert world.assert_true() == []
    twice = world.client.query(
        "SELECT count() FROM (SELECT 1 FROM analytics.landing_bars WHERE source = 'ws'"
        " GROUP BY instrument_id, timestamp, batch_id, ingested_at HAVING count() > 1)"
    )
    assert twice.result_rows == [(0,)]


def test_a_warehouse_that_goes_and_comes_back_has_lost_nothing(template: Path, tmp_path: Path, venues: str) -> None:
    """A server of its own, killed in the midst of it, and started again where it was."""
    its = Installed(tmp_path / "root", venues).furnished(template)
    data = its.home / "warehouse"
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(served(data))
        address = running(data)
        assert address is not None
        url = f"http://{address.user}:{address.password}@{address.host}:{address.port}"
        client = stack.enter_context(open_warehouse(its.home, url))
        world = begun(its, client, CLICKHOUSE_URL=url)
        with world.stream() as process:
            world.heard(2)
            server.kill()
            server.wait()
            loaded = world.state().loaded
            until(lambda: world.state().waiting >= 12 and world.state().trouble != "", 30)
            assert world.state().loaded - loaded <= 12
            stack.enter_context(served(data, "--port", str(address.port)))
            world.heard(6)
            until(lambda: world.state().trouble == "" and world.state().missing == 0, 30)
            world.ends(process)
        assert world.assert_true() == []


BTC = Instrument("binance_spot", "BTC/USDT", dt.date(2025, 1, 1))
BEGIN_MS = 1_735_812_000_000


def bar(minute: int) -> Bar:
    opens = BEGIN_MS + minute * MINUTE_MS
    row = [opens, "94000.1", "94100", "93900", "94050", "12.5", opens + MINUTE_MS - 1, "1175000", 30, "6", "564000"]
    return Bar(BTC, opens, row, "c1", time.time_ns())


def test_what_landed_and_no_more_is_published_when_its_journal_is_read_again(emptied: Client, tmp_path: Path) -> None:
    its = bar(0)
    failpoints.arm("streamed.landed=raise", is_sandbox=True)
    try:
        with pytest.raises(Transient):
            Loader(emptied, tmp_path).load([its])
    finally:
        failpoints.arm("", is_sandbox=True)
    for _ in range(2):
        Loader(emptied, tmp_path).load([its], is_replayed=True)
        for table in ("landing_bars", "bars_history", "v_bars"):
            count = emptied.query("SELECT count() FROM analytics.{t:Identifier}", parameters={"t": table})
            assert count.result_rows == [(1,)], table


def test_a_stream_goes_on_before_the_first_minute_that_is_missing(emptied: Client, tmp_path: Path) -> None:
    since = dt.datetime.fromtimestamp(BEGIN_MS / 1000, dt.UTC)
    loader = Loader(emptied, tmp_path)
    for minutes, last in (((0, 1), 1), ((3, 4), 1), ((2,), 4)):
        loader.load([bar(minute) for minute in minutes])
        rows = statements.rows(emptied, "reads/streamed_until", instruments=[BTC.instrument_id], since=since)
        assert [row["last"] for row in rows] == [since + dt.timedelta(minutes=last)]
