"""The open day beside a stream: what the tail leaves to it, what it asks of REST all the same, what the ledger says."""

import datetime as dt
import json
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from clickhouse_connect.driver.client import Client

from alphaforge_assets.datasets.bars import BARS
from alphaforge_assets.definitions import build
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.quality import checks
from alphaforge_assets.quality.coverage import judge
from alphaforge_assets.refresh import refresh
from alphaforge_assets.sandbox import process as sandbox
from alphaforge_assets.stream.loader import Bar, Loader
from alphaforge_assets.universe import Instrument
from alphaforge_assets.upkeep import tail as live
from alphaforge_assets.upkeep.day_close import closed_until
from alphaforge_assets.venues.directory import Exchanges
from alphaforge_assets.warehouse.windows import unanswered
from alphaforge_assets_tests.conftest import LIFTED, lifted
from alphaforge_assets_tests.installed import call, fault, requests_of
from alphaforge_assets_tests.test_live import BINANCE, NOW, OKX, UNIVERSE, last_bar, set_clock, tail

SPOKEN = (BINANCE, OKX)
MINUTE = dt.timedelta(minutes=1)


@pytest.fixture
def venues(exchange: Exchanges) -> Iterator[Exchanges]:
    """Venues of the test's own, whose clock stands at NOW."""
    with sandbox.start(now=NOW, budget_scale=LIFTED) as url:
        yield lifted(url, exchange.governor_file)


@pytest.fixture
def loader(emptied: Client, tmp_path: Path) -> Loader:
    return Loader(emptied, tmp_path)


def at(hour: int, minute: int, second: int = 10) -> dt.datetime:
    return NOW.replace(hour=hour, minute=minute, second=second)


def told(venues: Exchanges, instrument: Instrument, opened: dt.datetime, count: int = 1) -> list[Any]:
    """What the venue's stream tells of minutes: the rows that its REST has of them, which a feed makes records like."""
    begin = int(opened.timestamp() * 1000)
    end = begin + (count - 1) * 60_000
    if instrument is BINANCE:
        path = f"/api/v3/klines?symbol=BTCUSDT&interval=1m&startTime={begin}&endTime={end}&limit=1000"
    else:
        path = f"/api/v5/market/history-candles?instId=BTC-USDT-SWAP&bar=1m&before={begin - 1}&after={end + 1}"
    with urllib.request.urlopen(venues.base_url + path, timeout=5) as answer:
        found = json.loads(answer.read())
    rows = list(found) if instrument is BINANCE else list(reversed(found["data"]))
    assert [int(row[0]) for row in rows] == list(range(begin, end + 1, 60_000))
    return rows


def speak(
    loader: Loader, venues: Exchanges, opened: dt.datetime, *, count: int = 1, ago_s: float = 0.0, wrong: bool = False
) -> None:
    """The streams of SPOKEN tell minutes from `opened` on; their messages came `ago_s` ago."""
    came = time.time_ns() - int(ago_s * 1e9)
    bars = []
    for instrument in SPOKEN:
        for row in told(venues, instrument, opened, count):
            if wrong:
                row[4] = row[3]  # it closed at its lowest
            bars.append(Bar(instrument, int(row[0]), row, f"{instrument.venue}-1", came))
    loader.load(bars)


def asked_1m(venues: Exchanges, since: int) -> set[str]:
    """Of which instruments 1m bars were asked, by the venues' names."""
    return {
        str(r["query"].get("symbol", r["query"].get("instId")))
        for r in requests_of(venues.base_url, since)
        if "1m" in (r["query"].get("interval"), r["query"].get("bar"))
    }


def run(client: Client, venues: Exchanges, tmp_path: Path) -> tuple[set[str], int]:
    """One run of the tail: of whom it asked 1m bars, and how many it left to the stream."""
    before = requests_of(venues.base_url)[-1]["n"]
    tails = tail(client, venues, tmp_path)
    assert not any(t.failed or t.unreachable for t in tails.values())
    return asked_1m(venues, before), sum(t.streamed for t in tails.values())


def of(client: Client, statement: str, **parameters: object) -> Sequence[Sequence[Any]]:
    return client.query(statement, parameters=parameters, tz_mode="aware").result_rows


THE_OTHERS = {"ETHUSDT", "ETH-USDT-SWAP"}
ALL = THE_OTHERS | {"BTCUSDT", "BTC-USDT-SWAP"}


def test_minutes_that_a_stream_tells_are_not_asked_for_until_their_hour_is_over(
    emptied: Client, venues: Exchanges, loader: Loader, tmp_path: Path
) -> None:
    tail(emptied, venues, tmp_path)  # answers until 10:03
    set_clock(venues, at(10, 12))
    speak(loader, venues, at(10, 3, 0), count=9)
    assert run(emptied, venues, tmp_path) == (THE_OTHERS, 2)
    assert last_bar(emptied) == at(10, 11, 0)
    set_clock(venues, at(11, 2))
    speak(loader, venues, at(11, 1, 0))
    assert run(emptied, venues, tmp_path) == (THE_OTHERS, 2)
    hours = "SELECT count() FROM analytics.v_bars WHERE interval = '1h' AND timestamp = '2025-06-02 10:00:00'"
    assert of(emptied, hours) == [(4,)]  # other intervals are asked of everybody
    set_clock(venues, at(11, 3))
    speak(loader, venues, at(11, 2, 0))
    assert run(emptied, venues, tmp_path) == (ALL, 0)  # the audit of 10:03 to 11:03
    speak(loader, venues, at(11, 2, 0))
    assert run(emptied, venues, tmp_path) == (set(), 2)
    minutes = "SELECT count() FROM analytics.v_bars WHERE interval = '1m' AND timestamp >= '2025-06-02 10:03:00'"
    assert of(emptied, minutes) == [(4 * 60,)]
    keys = "SELECT count() = uniqExact(instrument_id, interval, timestamp) FROM analytics.bars_history"
    assert of(emptied, keys) == [(True,)]  # what REST repeats is no new version


def test_an_audit_that_was_missed_is_made_up_for_by_the_next_run(
    emptied: Client, venues: Exchanges, loader: Loader, tmp_path: Path
) -> None:
    tail(emptied, venues, tmp_path)
    set_clock(venues, at(12, 1))  # 10:03 to 11:00 was never asked for, and 12:03 has not come
    speak(loader, venues, at(12, 0, 0))
    assert run(emptied, venues, tmp_path) == (ALL, 0)
    set_clock(venues, at(12, 9))
    speak(loader, venues, at(12, 8, 0))
    assert run(emptied, venues, tmp_path) == (THE_OTHERS, 2)
    set_clock(venues, at(13, 5))
    speak(loader, venues, at(13, 4, 0))
    fault(venues.base_url, path="/api/v3/klines", symbol="BTCUSDT", kind="garbage", times=100)
    failed = tail(emptied, venues, tmp_path)
    assert set(failed["binance_spot"].failed) == {BINANCE.key}
    call(f"{venues.base_url}/_faults", method="DELETE")
    assert run(emptied, venues, tmp_path) == ({"BTCUSDT"}, 1)  # of OKX the audit is done


def test_a_stream_that_is_silent_or_tells_old_minutes_is_no_reason_to_wait(
    emptied: Client, venues: Exchanges, loader: Loader, tmp_path: Path
) -> None:
    tail(emptied, venues, tmp_path)
    set_clock(venues, at(10, 12))
    speak(loader, venues, at(10, 8, 0), ago_s=181)
    assert run(emptied, venues, tmp_path) == (ALL, 0)
    set_clock(venues, at(10, 30))
    speak(loader, venues, at(10, 14, 0))  # a journal that is read again
    assert run(emptied, venues, tmp_path) == (ALL, 0)
    minutes = "SELECT count() FROM analytics.v_bars WHERE interval = '1m' AND timestamp >= '2025-06-02 10:03:00'"
    assert of(emptied, minutes) == [(4 * 27,)]


def test_what_is_left_to_a_stream_has_not_failed_when_its_venue_is_down(
    emptied: Client, venues: Exchanges, loader: Loader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "PATIENCE", live.Patience(request_s=2, total_s=2, attempts=2))
    clock = dt.datetime.now(dt.UTC).replace(second=0, microsecond=0)  # of a venue that is down ours is taken
    with sandbox.start(now=clock, budget_scale=LIFTED) as url:
        down = lifted(url, tmp_path / "governor.sqlite3")
        tail(emptied, down, tmp_path)
        speak(loader, down, clock - 2 * MINUTE)
        fault(url, path="/api/v5/public/time", kind="status", status=503, times=100)
        tails = tail(emptied, down, tmp_path)
    assert tails["okx_perp"].unreachable
    assert tails["okx_perp"].streamed == 1
    failed = of(emptied, "SELECT symbol FROM analytics.ingest_batches WHERE status = 'failed' AND interval = '1m'")
    assert {symbol for (symbol,) in failed} <= {"ETH/USDT"}


def test_the_run_says_how_many_instruments_it_left_to_the_stream(
    emptied: Client, venues: Exchanges, loader: Loader, tmp_path: Path
) -> None:
    tail(emptied, venues, tmp_path)
    set_clock(venues, at(10, 12))
    speak(loader, venues, at(10, 11, 0))
    resources = {"warehouse": emptied, "exchanges": venues, "universe": UNIVERSE}
    with dg.DagsterInstance.ephemeral() as instance:
        result = build(UNIVERSE, resources).resolve_job_def("live_tail").execute_in_process(instance=instance)
    (output,) = [e.step_output_data for e in result.all_events if e.is_successful_output]
    assert output.metadata["left_to_the_stream"].value == 2


def test_what_the_ledger_has_of_streams_answers_nothing(
    emptied: Client, venues: Exchanges, loader: Loader, tmp_path: Path
) -> None:
    hours = Rectangle(SPOKEN, NOW.date(), NOW.date() + dt.timedelta(days=1))
    wanted = hours.windows(("1m",), at(10, 0, 0))
    speak(loader, venues, at(8, 0, 0), count=60)
    loader.write_ledger(emptied, SPOKEN, "sandbox", at(0, 0, 0))
    rows = of(emptied, "SELECT status, window_start, window_end, row_count FROM analytics.ingest_batches")
    assert rows == [("streamed", at(8, 0, 0), at(9, 0, 0), 60)] * 2
    assert unanswered(emptied, "bars", wanted) == wanted
    assert of(
        emptied,
        "SELECT count() FROM analytics.answered_windows(dataset = 'bars', instruments = {i:Array(UInt32)},"
        " start = toDateTime64('2025-06-01', 3, 'UTC'), end = toDateTime64('2025-06-03', 3, 'UTC'))",
        i=list(hours.instrument_ids),
    ) == [(0,)]  # fmt: skip
    assert closed_until(emptied, BARS, UNIVERSE, dt.datetime.now(dt.UTC)) == {}
    landed = refresh(emptied, venues, UNIVERSE, hours, BARS, run_id="backfill")
    assert landed.failures == []
    assert landed.rows == 2 * (603 + 10)  # the streamed hour too
    judge(emptied, hours, BARS, UNIVERSE, now=NOW)
    covered = of(emptied, "SELECT sum(expected), sum(missing) FROM analytics.v_coverage WHERE interval = '1m'")
    assert covered == [(2 * 603, 0)]
    now = dt.datetime.now(dt.UTC)
    found = {c.name: checks.offenders(emptied, c, hours, now) for c in checks.every_check() if c.dataset is BARS}
    assert {name: rows for name, rows in found.items() if rows and name != checks.FRESHNESS} == {}


def test_a_streamed_bar_that_rest_tells_otherwise_is_named_and_replaced(
    emptied: Client, venues: Exchanges, loader: Loader, tmp_path: Path
) -> None:
    tail(emptied, venues, tmp_path)
    set_clock(venues, at(11, 3))
    speak(loader, venues, at(11, 1, 0))
    speak(loader, venues, at(11, 2, 0), wrong=True)
    day = Rectangle(SPOKEN, NOW.date(), NOW.date() + dt.timedelta(days=1))
    (check,) = [c for c in checks.every_check() if c.name == "stream_agrees_with_rest"]
    assert checks.offenders(emptied, check, day, dt.datetime.now(dt.UTC)) == []  # REST has not been asked
    assert run(emptied, venues, tmp_path) == (ALL, 0)
    found = checks.offenders(emptied, check, day, dt.datetime.now(dt.UTC))
    assert [(r["venue"], r["symbol"], r["first"], r["rows"], r["what"]) for r in found] == [
        (i.venue, i.symbol, at(11, 2, 0), 1, "the stream and REST differ in close") for i in SPOKEN
    ]
    sources = "SELECT source, count() FROM analytics.v_bars WHERE timestamp = '2025-06-02 11:02:00' GROUP BY ALL"
    assert of(emptied, sources) == [("rest", 4)]
