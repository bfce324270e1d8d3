"""The world of a row: a warehouse, a sandbox and a universe of its own; what is true in it, and whether we hold that.

The truth is asked of the sandbox's generator, not of its answers, so no fault of an answer reaches it.
"""

import datetime as dt
import json
import multiprocessing
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from clickhouse_connect.driver.client import Client

from alphaforge_assets import failpoints
from alphaforge_assets.backup.place import place
from alphaforge_assets.backup.take import take
from alphaforge_assets.datasets.bars import BARS
from alphaforge_assets.intervals import INTERVAL_MS
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.pipeline.landing import NO_END, Landed
from alphaforge_assets.pipeline.mart import publishing
from alphaforge_assets.refresh import refresh
from alphaforge_assets.research import snapshots
from alphaforge_assets.research.hashes import Contents
from alphaforge_assets.sandbox.bars import MINUTE_MS, Interval
from alphaforge_assets.sandbox.directory import open_exchange, venue_symbol
from alphaforge_assets.sandbox.exchange import Exchange
from alphaforge_assets.universe import Instrument, Universe
from alphaforge_assets.upkeep.tail import tail
from alphaforge_assets.venues.directory import Exchanges
from alphaforge_assets.warehouse.client import open_warehouse

NOW = dt.datetime(2025, 7, 1, tzinfo=dt.UTC)
DAY = dt.date(2025, 6, 1)
SYMBOLS = {"binance_spot": ["BTC/USDT"], "okx_spot": ["BTC/USDT"]}
PATHS = {"binance_spot": "/api/v3/klines", "okx_spot": "/api/v5/market/history-candles"}
KILLED = -9
COLUMNS = ("open", "high", "low", "close", "volume")
CHILD_S_MAX = 120.0
PROCESSES = multiprocessing.get_context("forkserver")  # its children come from a process without threads, in no time

Bar = tuple[str, str, dt.datetime, float, float, float, float, float]
Span = tuple[str, dt.datetime, dt.datetime]  # of an instrument: [start, end)


def universe_of(
    symbols: dict[str, list[str]] = SYMBOLS, intervals: Sequence[str] = ("1m",), start: dt.date = DAY
) -> Universe:
    venues = {venue: {"instruments": its} for venue, its in symbols.items()}
    return Universe.model_validate({"history_start": start, "intervals": list(intervals), "venues": venues})


@dataclass
class World:
    """One row's. `revised` is what the venue has changed since, which the truth knows too."""

    client: Client
    home: Path
    exchanges: Exchanges
    folder: Path
    universe: Universe = field(default_factory=universe_of)
    origin: Exchange = field(default_factory=lambda: open_exchange(None, NOW, 1))

    @property
    def url(self) -> str:
        assert self.exchanges.base_url is not None
        return self.exchanges.base_url

    def hook(self, path: str, body: dict[str, Any] | None = None, method: str = "POST") -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"content-type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def fault(self, kind: str, venue: str = "binance_spot", **more: Any) -> None:
        self.hook("/_faults", {"path": PATHS[venue], "kind": kind, **more})

    def well(self) -> None:
        """No fault is due any more."""
        self.hook("/_faults", None, "DELETE")

    def hold_over(self) -> None:
        """Whatever a venue has asked us to wait for is over: budgets and holds of this world are forgotten."""
        for file in self.folder.glob("governor.sqlite3*"):
            file.unlink()

    def asked(self, *paths: str) -> int:
        return sum(len(self.hook(f"/_log?path={path}", None, "GET")) for path in paths or PATHS.values())

    def revise(self, key: str, moment: dt.datetime, to: str) -> None:
        """The minute closes where its `to` (open, high, low) is: another bar, and a sound one."""
        venue, symbol = key.split(".")
        listing = self.origin.listings[venue, venue_symbol(venue, *symbol.split("-"))]
        series = self.origin.series(listing, Interval(MINUTE_MS))
        assert series is not None
        opened = int(moment.timestamp() * 1000)
        index = series.first_at_or_after(opened)
        bar = series.bars(index, index + 1)
        close = str(Decimal(int(getattr(bar, to)[0])).scaleb(-bar.scales.price))
        order = {"venue": venue, "symbol": symbol.replace("-", "/"), "interval": "1m", "open_time": opened}
        self.hook("/_revise", order | {"close": close})
        self.origin.revise(**order, columns={"close": close})

    def part(self, start: dt.date = DAY, days: int = 1, instruments: Sequence[Instrument] = ()) -> Rectangle:
        return Rectangle(tuple(instruments) or self.universe.instruments, start, start + dt.timedelta(days=days))

    def lock(self) -> Any:
        return publishing(self.folder)

    def refresh(self, part: Rectangle | None = None, *, refetch: bool = False, until: dt.datetime = NO_END) -> Landed:
        return refresh(
            self.client, self.exchanges, self.universe, part or self.part(), BARS,
            run_id="test", refetch=refetch, until=until, lock=self.lock(),
        )  # fmt: skip

    def contents(self) -> Contents:
        part, keys = self.part(), tuple(i.key for i in self.universe.instruments)
        return Contents(("bars",), keys, tuple(self.universe.intervals), part.start_time, part.end_time)

    def child(self, fail: str, what: str = "refresh", *, refetch: bool = False, part: Rectangle | None = None) -> Any:
        """A process that does `what` under the orders of `fail`; started."""
        told = (self.home, self.exchanges, self.folder, self.universe, what, fail, refetch, part)
        process = PROCESSES.Process(target=work, args=told)
        process.start()
        return process

    def ended(self, process: Any) -> int:
        process.join(CHILD_S_MAX)
        assert process.exitcode is not None, "the process hangs"
        code: int = process.exitcode
        process.close()
        return code

    def truth(self, part: Rectangle | None = None, without: Sequence[Span] = ()) -> list[Bar]:
        """Every bar of a rectangle as the venues made it, but for what they were told to leave out."""
        part = part or self.part()
        bars: list[Bar] = []
        for i in part.instruments:
            start = max(part.start_time, dt.datetime.combine(i.listed_from, dt.time(), dt.UTC))
            listing = self.origin.listings[i.venue, venue_symbol(i.venue, *i.symbol.split("/", 1))]
            for name in self.universe.intervals:
                series = self.origin.series(listing, Interval(INTERVAL_MS[name]))
                assert series is not None
                a, b = (series.first_at_or_after(int(t.timestamp() * 1000)) for t in (start, part.end_time))
                made = series.bars(a, b)
                columns = [getattr(made, c) / 10 ** made.scales.of(c) for c in COLUMNS]
                opens = [dt.datetime.fromtimestamp(t / 1000, dt.UTC) for t in made.open_time.tolist()]
                bars += [(i.key, name, *row) for row in zip(opens, *(c.tolist() for c in columns), strict=True)]
        return sorted(b for b in bars if not any(key == b[0] and s <= b[2] < e for key, s, e in without))

    def held(self) -> list[Bar]:
        """What researchers read."""
        rows = self.client.query(
            "SELECT concat(venue, '.', replaceOne(symbol, '/', '-')), interval, timestamp, open, high, low, close,"
            " volume FROM analytics.v_bars",
            tz_mode="aware",
        ).result_rows
        return sorted(tuple(row) for row in rows)

    def number(self, query: str) -> int:
        return int(self.client.query(query).first_row[0])

    def gaps(self) -> list[tuple[str, dt.datetime, dt.datetime, str]]:
        rows = self.client.query(
            "SELECT concat(venue, '.', replaceOne(symbol, '/', '-')), gap_start, gap_end, verdict FROM analytics.v_gaps"
            " WHERE is_open ORDER BY 1, 2",
            tz_mode="aware",
        ).result_rows
        return [tuple(row) for row in rows]


def work(
    home: Path,
    exchanges: Exchanges,
    folder: Path,
    universe: Universe,
    what: str,
    fail: str,
    refetch: bool,
    part: Rectangle | None,
) -> None:
    """What a child process does."""
    failpoints.arm(fail, is_sandbox=True)
    with open_warehouse(home) as client:
        world = World(client, home, exchanges, folder, universe)
        match what:
            case "refresh":
                assert not world.refresh(part, refetch=refetch).failures
            case "tail":
                tail(client, exchanges, universe, run_id="tail", lock=world.lock())
            case "pin":
                snapshots.pin(client, "pinned", world.contents())
            case "backup":
                take(client, folder / "dagster", place(str(folder / "backup"), None))


def whole(
    world: World, part: Rectangle | None = None, *, without: Sequence[Span] = (), versions: int | None = 0
) -> None:
    """The oracle: every bar is there and equal, none twice, gaps are what the venues left out, the ledger is sound.

    `versions` is how many more versions than bars history is to hold, None if nobody knows. A rerun then does nothing.
    """
    truth = world.truth(part, without)
    held = world.held()
    assert len(held) == len({bar[:3] for bar in held}), "a bar twice"
    missing, odd = sorted(set(truth) - set(held)), sorted(set(held) - set(truth))
    assert (missing[:3], odd[:3]) == ([], []), (len(missing), len(odd))
    assert world.number(HISTORY) == (world.number(HISTORY) if versions is None else len(truth) + versions), "versions"
    assert world.number(TWICE) == 0, "versions written twice: two published at once"
    assert world.number(REPEATED) == 0, "bars whose next version in history says the same"
    assert [gap[:3] for gap in world.gaps()] == sorted(without), world.gaps()
    assert {gap[3] for gap in world.gaps()} <= {"venue_outage"}
    assert world.number(UNTRUE) == 0, "batches of the ledger that landing does not hold"
    asked, versions_before = world.asked(), world.number(HISTORY)
    assert world.refresh(part).failures == []
    again = (world.asked(), world.number(HISTORY), world.held())
    assert again == (asked, versions_before, held), "a rerun did something"


HISTORY = "SELECT uniqExact(instrument_id, interval, timestamp, version) FROM analytics.bars_history"
TWICE = "SELECT count() - uniqExact(instrument_id, interval, timestamp, version) FROM analytics.bars_history"
REPEATED = """
    SELECT count() FROM
    (
        SELECT
            arraySort(groupUniqArray((version, cityHash64(open, high, low, close, volume)))) AS versions,
            arrayMap(v -> v.2, versions) AS said
        FROM analytics.bars_history GROUP BY instrument_id, interval, timestamp
        HAVING arrayExists((one, next) -> one = next, arrayPopBack(said), arrayPopFront(said))
    )
"""
UNTRUE = """
    SELECT count() FROM
        (SELECT DISTINCT batch_id, row_count FROM analytics.ingest_batches WHERE status = 'complete') AS told
        LEFT JOIN (SELECT batch_id, count() AS landed FROM analytics.landing_bars GROUP BY batch_id) AS l
            ON told.batch_id = l.batch_id
    WHERE told.row_count != l.landed
"""
