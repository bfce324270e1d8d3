"""Gaps with a verdict, and healing: on the sandbox where a venue is needed, elsewhere on rows made for the case."""

import datetime as dt
import json
import urllib.request
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from clickhouse_connect.driver.client import Client

from alphaforge_assets.cli.coverage import print_coverage
from alphaforge_assets.cli.gaps import print_gaps
from alphaforge_assets.cli.screen import screen
from alphaforge_assets.datasets.bars import BARS
from alphaforge_assets.definitions import build
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.pipeline.landing import land
from alphaforge_assets.pipeline.mart import publish
from alphaforge_assets.pipeline.staging import stage
from alphaforge_assets.quality import coverage
from alphaforge_assets.quality.coverage import judge
from alphaforge_assets.sandbox import process as sandbox
from alphaforge_assets.universe import Instrument, Universe
from alphaforge_assets.upkeep import healing
from alphaforge_assets.venues.directory import Exchanges
from alphaforge_assets.verdicts import UNKNOWN_ATTEMPTS_MAX
from alphaforge_assets.warehouse import statements
from alphaforge_assets_tests.conftest import LIFTED, lifted

DAY = dt.date(2025, 6, 1)
NOW = dt.datetime(2025, 7, 1, tzinfo=dt.UTC)
MINUTE = dt.timedelta(minutes=1)
UNIVERSE = Universe.model_validate(
    {
        "history_start": dt.date(2025, 5, 1),
        "intervals": ["1m"],
        "venues": {
            "binance_spot": {
                "instruments": [
                    "BTC/USDT",
                    "ETH/USDT",
                    {"symbol": "SOL/USDT", "listed_from": dt.date(2025, 6, 2), "listed_until": dt.date(2025, 6, 4)},
                ]
            },
            "okx_spot": {"instruments": ["BTC/USDT"]},
        },
    }
)
BTC, ETH, SOL = (UNIVERSE.instrument(f"binance_spot.{base}-USDT") for base in ("BTC", "ETH", "SOL"))
OKX = UNIVERSE.instrument("okx_spot.BTC-USDT")


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(f"2025-{text}+00:00")


def covered(*instruments: Instrument, days: int = 1, start: dt.date = DAY) -> Rectangle:
    return Rectangle(instruments, start, start + dt.timedelta(days=days))


def ask(
    client: Client, instrument: Instrument, start: str, end: str, status: str = "complete", error: str = ""
) -> None:
    row = {
        "batch_id": "00000000-0000-0000-0000-000000000001",
        "dataset": "bars",
        "venue": instrument.venue,
        "symbol": instrument.symbol,
        "interval": "1m",
        "window_start": at(start),
        "window_end": at(end),
        "status": status,
        "error": error,
        "recorded_at": dt.datetime.now(dt.UTC),
    }
    client.insert("analytics.ingest_batches", [list(row.values())], column_names=list(row))


def serve(client: Client, instrument: Instrument, start: str, end: str, *, volume: float = 1.0) -> None:
    """Bars of every minute of [start, end)."""
    client.command(
        "INSERT INTO analytics.bars (instrument_id, venue, symbol, interval, timestamp, open_e8, high_e8, low_e8,"
        " close_e8, volume_e8, source, ingested_at, version) SELECT {i:UInt32}, {v:String}, {s:String}, '1m',"
        " {a:DateTime64(3, 'UTC')} + toIntervalMinute(number), 1e9, 1e9 + 1e8 * {q:Float64}, 1e9, 1e9,"
        " 1e8 * {q:Float64}, 'rest', {t:DateTime64(3, 'UTC')}, 1"
        " FROM numbers(dateDiff('minute', {a:DateTime64(3, 'UTC')}, {b:DateTime64(3, 'UTC')}))",
        parameters={
            "i": instrument.instrument_id,
            "v": instrument.venue,
            "s": instrument.symbol,
            "a": f"2025-{start}:00",
            "b": f"2025-{end}:00",
            "q": volume,
            "t": "2025-07-01 00:00:00",
        },
    )


def found(client: Client, instrument: Instrument, *, is_open: bool = True) -> list[dict[str, Any]]:
    return list(
        client.query(
            "SELECT * FROM analytics.v_gaps WHERE instrument_id = {i:UInt32} AND is_open = {o:Bool} ORDER BY gap_start",
            parameters={"i": instrument.instrument_id, "o": is_open},
            tz_mode="aware",
        ).named_results()
    )


def verdicts(client: Client, instrument: Instrument) -> list[tuple[str, str, str]]:
    return [(f"{g['gap_start']:%d %H:%M}", f"{g['gap_end']:%d %H:%M}", g["verdict"]) for g in found(client, instrument)]


def scores(client: Client, instrument: Instrument) -> dict[dt.date, dict[str, Any]]:
    rows = client.query(
        "SELECT * FROM analytics.v_coverage WHERE instrument_id = {i:UInt32}",
        parameters={"i": instrument.instrument_id},
    ).named_results()
    return {row["day"]: row for row in rows}


def hole(client: Client, instrument: Instrument, start: str, end: str) -> None:
    """The day, asked for as a whole and served but for [start, end)."""
    ask(client, instrument, "06-01 00:00", "06-02 00:00")
    serve(client, instrument, "06-01 00:00", start)
    serve(client, instrument, end, "06-02 00:00")


def test_a_whole_day_has_no_gap_and_a_perfect_score(emptied: Client, exchange: Exchanges) -> None:
    part = covered(BTC, OKX)
    fill(emptied, exchange, part)
    judge(emptied, part, BARS, UNIVERSE)
    assert found(emptied, BTC) == found(emptied, OKX) == []
    day = scores(emptied, BTC)[DAY]
    assert (day["expected"], day["present"], day["missing"], day["score"], day["is_settled"]) == (
        1440,
        1440,
        0,
        100,
        True,
    )


def test_silent_together_is_an_outage_and_one_silent_alone_is_not(emptied: Client) -> None:
    hole(emptied, BTC, "06-01 05:00", "06-01 05:20")
    hole(emptied, ETH, "06-01 05:02", "06-01 05:20")
    judge(emptied, covered(BTC, ETH), BARS, UNIVERSE)
    assert verdicts(emptied, BTC) == [("01 05:00", "01 05:20", "venue_outage")]
    assert verdicts(emptied, ETH) == [("01 05:02", "01 05:20", "venue_outage")]
    gap = found(emptied, BTC)[0]
    assert "silent together in 18 of 20 slots" in gap["evidence"]
    serve(emptied, ETH, "06-01 05:02", "06-01 05:20")
    judge(emptied, covered(ETH), BARS, UNIVERSE)  # BTC is concerned, and judged again
    assert verdicts(emptied, ETH) == []
    assert verdicts(emptied, BTC) == [("01 05:00", "01 05:20", "unknown")]
    assert "others traded" in found(emptied, BTC)[0]["evidence"]
    assert found(emptied, BTC)[0]["first_seen"] == gap["first_seen"]


def test_one_instrument_alone_needs_a_long_silence_and_says_what_it_rests_on(emptied: Client) -> None:
    hole(emptied, OKX, "06-01 05:00", "06-01 05:09")
    hole(emptied, BTC, "06-01 05:00", "06-01 05:10")
    judge(emptied, covered(BTC, OKX), BARS, UNIVERSE)
    assert verdicts(emptied, OKX) == [("01 05:00", "01 05:09", "unknown")]
    assert verdicts(emptied, BTC) == [("01 05:00", "01 05:10", "venue_outage")]
    assert "rests on one instrument" in found(emptied, BTC)[0]["evidence"]


def test_frozen_bars_before_an_outage_extend_it_and_stay(emptied: Client) -> None:
    ask(emptied, BTC, "06-01 00:00", "06-02 00:00")
    serve(emptied, BTC, "06-01 00:00", "06-01 04:30")
    serve(emptied, BTC, "06-01 04:30", "06-01 05:00", volume=0)
    serve(emptied, BTC, "06-01 06:00", "06-02 00:00")
    judge(emptied, covered(BTC), BARS, UNIVERSE)
    (gap,) = found(emptied, BTC)
    assert (gap["verdict"], gap["frozen"], gap["missing"]) == ("venue_outage", 30, 60)
    assert "30 frozen bars" in gap["evidence"]
    assert json.loads(gap["figures"])["frozen_before"] == 30
    assert scores(emptied, BTC)[DAY]["frozen"] == 30
    assert scores(emptied, BTC)[DAY]["present"] == 1380


def test_minutes_with_zero_volume_are_bars(emptied: Client) -> None:
    ask(emptied, BTC, "06-01 00:00", "06-02 00:00")
    serve(emptied, BTC, "06-01 00:00", "06-02 00:00", volume=0)
    judge(emptied, covered(BTC), BARS, UNIVERSE)
    assert found(emptied, BTC) == []
    assert scores(emptied, BTC)[DAY]["frozen"] == 1440


def test_what_was_never_asked_or_never_answered_is_ours(emptied: Client) -> None:
    ask(emptied, BTC, "06-01 00:00", "06-01 06:00")
    serve(emptied, BTC, "06-01 00:00", "06-01 06:00")
    ask(emptied, BTC, "06-01 08:00", "06-02 00:00")
    serve(emptied, BTC, "06-01 08:00", "06-02 00:00")
    ask(emptied, ETH, "06-01 00:00", "06-02 00:00", "failed", "VenueUnavailable: HTTP 503 " + "x" * 300)
    judge(emptied, covered(BTC, ETH), BARS, UNIVERSE)
    assert verdicts(emptied, BTC) == [("01 06:00", "01 08:00", "we_missed")]
    assert found(emptied, BTC)[0]["evidence"] == "never asked for"
    assert verdicts(emptied, ETH) == [("01 00:00", "02 00:00", "we_missed")]
    evidence = found(emptied, ETH)[0]["evidence"]
    assert "HTTP 503" in evidence
    assert evidence.endswith("x…")  # one can see that it was cut
    assert all(g["next_attempt_at"] for g in (*found(emptied, BTC), *found(emptied, ETH)))
    assert scores(emptied, BTC)[DAY]["score"] < 100
    assert not scores(emptied, BTC)[DAY]["is_settled"]


def test_listing_dates_of_the_universe_and_of_the_venue_explain(emptied: Client) -> None:
    ask(emptied, SOL, "06-01 00:00", "06-05 00:00")
    serve(emptied, SOL, "06-02 00:00", "06-04 00:00")
    listing = {
        "venue": OKX.venue,
        "symbol": OKX.symbol,
        "listed_at": at("06-01 07:00"),
        "delisted_at": at("06-02 12:00"),
        "valid_from": NOW,
    }
    emptied.insert("analytics.instruments", [list(listing.values())], column_names=list(listing))
    ask(emptied, OKX, "06-01 00:00", "06-03 00:00")
    serve(emptied, OKX, "06-01 07:00", "06-02 12:00")
    judge(emptied, covered(SOL, OKX, days=4), BARS, UNIVERSE)
    assert verdicts(emptied, SOL) == [
        ("01 00:00", "02 00:00", "not_listed"),
        ("04 00:00", "05 00:00", "delisted"),
    ]
    assert verdicts(emptied, OKX) == [
        ("01 00:00", "01 07:00", "not_listed"),
        ("02 12:00", "03 00:00", "delisted"),
    ]
    assert "the venue says" in found(emptied, OKX)[0]["evidence"]
    assert {d["score"] for d in scores(emptied, SOL).values()} == {100}
    (series,) = statements.rows(emptied, "reads/coverage", instruments=[SOL.instrument_id])
    assert (series["expected"], series["present"], series["not_due"], series["completeness"]) == (5760, 2880, 2880, 100)


def test_before_the_first_bar_a_short_silence_is_no_proof(emptied: Client) -> None:
    for instrument, first in ((BTC, "06-01 16:40"), (OKX, "06-02 00:00")):
        ask(emptied, instrument, "06-01 00:00", "06-03 00:00")
        serve(emptied, instrument, first, "06-03 00:00")
    judge(emptied, covered(BTC, OKX, days=2), BARS, UNIVERSE)
    assert verdicts(emptied, BTC) == [("01 00:00", "01 16:40", "unknown")]  # no longer than a page
    assert verdicts(emptied, OKX) == [("01 00:00", "02 00:00", "not_listed")]


def test_what_the_venue_no_longer_serves_is_lost(emptied: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coverage, "kept", lambda venue, *_: dt.timedelta(days=20) if venue == "okx_spot" else None)
    ask(emptied, OKX, "06-01 00:00", "06-11 00:00", "unserved")
    ask(emptied, OKX, "06-11 00:00", "06-20 00:00")
    serve(emptied, OKX, "06-11 00:00", "06-15 00:00")
    serve(emptied, OKX, "06-15 00:10", "06-20 00:00")
    judge(emptied, covered(OKX, days=20), BARS, UNIVERSE, now=NOW)
    lost = ("01 00:00", "11 00:00", "retention_lost")
    assert verdicts(emptied, OKX) == [lost, ("15 00:00", "15 00:10", "venue_outage")]
    assert "last 20 days" in found(emptied, OKX)[0]["evidence"]
    assert scores(emptied, OKX)[DAY]["score"] == 0
    # What it answered while it served it stays what it was.
    judge(emptied, covered(OKX, days=20), BARS, UNIVERSE, now=NOW + dt.timedelta(days=10))
    assert verdicts(emptied, OKX) == [lost, ("15 00:00", "15 00:10", "venue_outage")]


def test_a_gap_over_midnight_is_one_however_the_days_are_cut(emptied: Client) -> None:
    for instrument in (BTC, ETH):
        ask(emptied, instrument, "06-01 00:00", "06-03 00:00")
        serve(emptied, instrument, "06-01 00:00", "06-01 23:00")
        serve(emptied, instrument, "06-02 01:00", "06-03 00:00")
    stable = "SELECT * EXCEPT (last_seen, first_seen) FROM analytics.v_gaps ORDER BY instrument_id, gap_start"
    judge(emptied, covered(BTC, ETH, days=2), BARS, UNIVERSE)
    whole = emptied.query(stable).result_rows
    assert verdicts(emptied, BTC) == [("01 23:00", "02 01:00", "venue_outage")]
    emptied.command("TRUNCATE TABLE analytics.gaps")
    for n in (0, 1, 0):
        judge(emptied, covered(BTC, start=DAY + dt.timedelta(days=n)), BARS, UNIVERSE)
        judge(emptied, covered(ETH, start=DAY + dt.timedelta(days=n)), BARS, UNIVERSE)
    assert emptied.query(stable).result_rows == whole


def test_what_failed_is_a_gap_as_long_as_it_is_and_no_longer(emptied: Client) -> None:
    for n, (start, end) in enumerate((("06-01 00:00", "06-01 12:00"), ("06-01 06:00", "06-02 00:00"))):
        ask(emptied, BTC, start, end, "failed", f"VenueUnavailable: {n}")
    ask(emptied, BTC, "06-20 00:00", "06-21 00:00")
    serve(emptied, BTC, "06-20 00:00", "06-21 00:00")
    judge(emptied, covered(BTC), BARS, UNIVERSE)
    assert verdicts(emptied, BTC) == [("01 00:00", "02 00:00", "we_missed")]  # nobody asked for what is after it
    judge(emptied, covered(BTC, days=3), BARS, UNIVERSE)
    assert verdicts(emptied, BTC) == [("01 00:00", "02 00:00", "we_missed"), ("02 00:00", "20 00:00", "we_missed")]
    assert [g["evidence"][:11] for g in found(emptied, BTC)] == ["asked 2 tim", "never asked"]


def test_what_is_left_of_a_gap_keeps_its_history(emptied: Client) -> None:
    hole(emptied, BTC, "06-01 05:00", "06-01 05:09")
    judge(emptied, covered(BTC), BARS, UNIVERSE)
    (before,) = found(emptied, BTC)
    healing.note_attempt(emptied, BARS, covered(BTC), dt.datetime.now(dt.UTC))
    serve(emptied, BTC, "06-01 05:00", "06-01 05:04")
    judge(emptied, covered(BTC), BARS, UNIVERSE)
    (left,) = found(emptied, BTC)
    assert (left["gap_start"], left["missing"], left["attempts"]) == (at("06-01 05:04"), 5, 1)
    assert left["first_seen"] == before["first_seen"]
    (gone,) = found(emptied, BTC, is_open=False)
    assert (gone["verdict"], gone["next_attempt_at"]) == ("we_missed", None)
    assert "4 of 9 bars came" in gone["evidence"]


def test_tables_fit_a_terminal(emptied: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    hole(emptied, BTC, "06-01 05:00", "06-01 05:20")
    judge(emptied, covered(BTC), BARS, UNIVERSE)
    monkeypatch.setattr(screen(), "width", 80)
    bounds = {"instruments": [BTC.instrument_id]}
    with screen().capture() as shown:
        print_gaps(statements.rows(emptied, "reads/gaps", **bounds, with_filled=True))
        print_coverage(statements.rows(emptied, "reads/coverage", **bounds))
    text = shown.get()
    assert "venue_outage" in text
    assert "rests on one instrument" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text


def observe_clock(client: Client, venue: str, now: dt.datetime) -> None:
    skew = round((now - dt.datetime.now(dt.UTC)).total_seconds() * 1000)
    row = {"venue": venue, "clock_skew_ms": skew, "observed_at": dt.datetime.now(dt.UTC)}
    client.insert("analytics.venues", [list(row.values())], column_names=list(row))


def test_downtime_shows_and_is_made_up_for_but_a_series_left_alone_is_not(emptied: Client) -> None:
    for instrument in (BTC, OKX):
        ask(emptied, instrument, "06-01 00:00", "06-02 00:00")
        serve(emptied, instrument, "06-01 00:00", "06-02 00:00")
    observe_clock(emptied, BTC.venue, at("06-05 03:00"))
    observe_clock(emptied, OKX.venue, at("07-05 03:00"))
    judge(emptied, covered(BTC, OKX, start=dt.date(2025, 6, 4)), BARS, UNIVERSE)
    (gap,) = found(emptied, BTC)
    assert (gap["gap_start"], gap["verdict"]) == (at("06-02 00:00"), "we_missed")
    assert at("06-05 01:55") <= gap["gap_end"] <= at("06-05 02:05")  # an hour ago: what is younger is late, not missing
    now = dt.datetime.now(dt.UTC)
    assert healing.due(emptied, BARS, UNIVERSE, now) == []  # the live tail and the close of the day come first
    (run,) = healing.due(emptied, BARS, UNIVERSE, now + coverage.GRACE)
    assert (run.instruments, run.start, run.end) == ((BTC,), dt.date(2025, 6, 2), dt.date(2025, 6, 6))
    assert found(emptied, OKX) == []
    assert set(scores(emptied, OKX)) == set()


def fill(client: Client, exchanges: Exchanges, part: Rectangle, universe: Universe = UNIVERSE) -> None:
    land(client, exchanges, part, BARS, universe.intervals, run_id="test")
    stage(client, part, BARS, universe.intervals)
    publish(client, part, BARS, universe.intervals)


def post(url: str, path: str, body: dict[str, object]) -> None:
    request = urllib.request.Request(url + path, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=10):
        pass


class Daemon:
    """What Dagster's daemon does with the sensor: evaluates it and executes what it asks for."""

    def __init__(self, client: Client, exchanges: Exchanges, universe: Universe) -> None:
        self.resources = {"warehouse": client, "exchanges": exchanges, "universe": universe}
        self.definitions = build(universe, self.resources)

    def run(self, job_name: str, part: Rectangle, instance: dg.DagsterInstance, *, must_succeed: bool = True) -> None:
        """A backfill of a rectangle."""
        job = self.definitions.resolve_job_def(job_name)
        result = job.execute_in_process(instance=instance, tags=part.tags(), raise_on_error=must_succeed)
        assert result.success or not must_succeed

    def tick(self, instance: dg.DagsterInstance) -> list[dg.RunRequest]:
        sensor = self.definitions.resolve_sensor_def("heal_gaps")
        context = dg.build_sensor_context(instance=instance, resources=self.resources, definitions=self.definitions)
        requests = list(sensor.evaluate_tick(context).run_requests or [])
        for request in requests:
            job = self.definitions.resolve_job_def(request.job_name or "")
            result = job.execute_in_process(
                instance=instance, run_config=request.run_config, tags=request.tags, raise_on_error=False
            )
            assert result.success
        return requests


def make_due(client: Client) -> None:
    """Lets the pause between two attempts pass."""
    client.command(
        "INSERT INTO analytics.gaps SELECT * REPLACE (next_attempt_at - INTERVAL 2 DAY AS next_attempt_at,"
        " version + 1 AS version) FROM analytics.gaps FINAL WHERE is_open AND next_attempt_at IS NOT NULL"
    )


@pytest.mark.parametrize(
    ("fault", "alone"),
    [
        pytest.param({"kind": "status", "status": 451}, False, id="refused"),
        pytest.param({"kind": "empty"}, False, id="lost beside others", marks=pytest.mark.slow),
        pytest.param({"kind": "empty"}, True, id="lost alone"),
    ],
)
def test_a_lost_day_heals_without_a_person_in_one_attempt(
    emptied: Client, tmp_path: Path, fault: dict[str, object], alone: bool
) -> None:
    """The venue refuses one instrument for a day, or pretends to have nothing, which is believed when said twice."""
    instruments = [BTC] if alone else [BTC, ETH]
    with sandbox.start(now=NOW, budget_scale=LIFTED) as url, dg.DagsterInstance.ephemeral() as instance:
        exchanges = lifted(url, tmp_path / "governor.sqlite3")
        fill(emptied, exchanges, covered(*instruments, start=DAY - dt.timedelta(days=1)))
        fill(emptied, exchanges, covered(*instruments, start=DAY + dt.timedelta(days=1)))
        post(url, "/_faults", {"path": "/api/v3/klines", "symbol": "BTCUSDT", "times": 1000, **fault})
        fill(emptied, exchanges, covered(*instruments))
        urllib.request.urlopen(urllib.request.Request(url + "/_faults", method="DELETE"), timeout=10).close()
        judge(emptied, covered(*instruments), BARS, UNIVERSE)
        expected = "we_missed" if fault["kind"] == "status" else "venue_outage" if alone else "unknown"
        assert verdicts(emptied, BTC) == [("01 00:00", "02 00:00", expected)]
        daemon = Daemon(emptied, exchanges, UNIVERSE)
        (request,) = daemon.tick(instance)
        assert request.tags["alphaforge/trigger"] == "heal"
        assert daemon.tick(instance) == []
    assert found(emptied, BTC) == []
    (healed,) = found(emptied, BTC, is_open=False)
    assert (healed["verdict"], healed["attempts"]) == ("we_missed", 1)
    assert "came with a later answer, after 1 attempts" in healed["evidence"]
    assert scores(emptied, BTC)[DAY]["score"] == 100


def test_a_lost_first_day_is_asked_for_once_more_before_it_counts_as_not_listed(
    emptied: Client, tmp_path: Path
) -> None:
    with sandbox.start(now=NOW, budget_scale=LIFTED) as url, dg.DagsterInstance.ephemeral() as instance:
        exchanges = lifted(url, tmp_path / "governor.sqlite3")
        fill(emptied, exchanges, covered(BTC, start=DAY + dt.timedelta(days=1)))
        post(url, "/_faults", {"path": "/api/v3/klines", "symbol": "BTCUSDT", "times": 1000, "kind": "empty"})
        fill(emptied, exchanges, covered(BTC))
        urllib.request.urlopen(urllib.request.Request(url + "/_faults", method="DELETE"), timeout=10).close()
        judge(emptied, covered(BTC), BARS, UNIVERSE)
        assert verdicts(emptied, BTC) == [("01 00:00", "02 00:00", "not_listed")]
        assert len(Daemon(emptied, exchanges, UNIVERSE).tick(instance)) == 1
    assert found(emptied, BTC) == []


def test_a_real_hole_stops_being_asked_for_and_says_why(emptied: Client, tmp_path: Path) -> None:
    start = int(dt.datetime(2025, 6, 1, tzinfo=dt.UTC).timestamp() * 1000)
    for symbol, absent in (("BTCUSDT", range(300, 305)), ("ETHUSDT", range(0))):
        folder = tmp_path / "played/klines/binance_spot" / symbol / "1m"
        folder.mkdir(parents=True)
        minutes = [n for n in range(1440 + 60) if n not in absent]
        values = {name: [10.0 + n % 7 for n in minutes] for name in ("open", "high", "low", "close", "volume")}
        pq.write_table(pa.table({"open_time": [start + n * 60_000 for n in minutes], **values}), folder / "a.parquet")
    with (
        sandbox.start(recordings=tmp_path / "played", budget_scale=LIFTED) as url,
        dg.DagsterInstance.ephemeral() as instance,
    ):
        exchanges = lifted(url, tmp_path / "governor.sqlite3")
        fill(emptied, exchanges, covered(BTC, ETH))
        judge(emptied, covered(BTC, ETH), BARS, UNIVERSE)
        assert verdicts(emptied, BTC) == [("01 05:00", "01 05:05", "unknown")]
        daemon = Daemon(emptied, exchanges, UNIVERSE)
        asked = []
        for _ in range(UNKNOWN_ATTEMPTS_MAX + 2):
            asked.append(len(daemon.tick(instance)))
            assert daemon.tick(instance) == []  # not before its time
            make_due(emptied)
    assert asked == [1] * UNKNOWN_ATTEMPTS_MAX + [0, 0]
    (gap,) = found(emptied, BTC)
    assert (gap["verdict"], gap["attempts"], gap["next_attempt_at"]) == ("unknown", UNKNOWN_ATTEMPTS_MAX, None)
    assert f"asked again {UNKNOWN_ATTEMPTS_MAX} times, the venue has nothing" in gap["evidence"]
