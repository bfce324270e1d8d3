"""The gap ledger of what has no bars: settlements of funding on their observed grid, and days of Fear & Greed."""

import datetime as dt
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from clickhouse_connect.driver.client import Client

from alphaforge_assets.datasets.funding_rates import FUNDING_RATES
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.quality.coverage import judge
from alphaforge_assets.sandbox import process as sandbox
from alphaforge_assets.universe import Instrument, Universe
from alphaforge_assets.verdicts import UNKNOWN_ATTEMPTS_MAX
from alphaforge_assets_tests.conftest import LIFTED, lifted
from alphaforge_assets_tests.test_coverage import Daemon, make_due, post

UNIVERSE = Universe.model_validate(
    {
        "history_start": dt.date(2025, 5, 1),
        "intervals": ["1h"],
        "venues": {"binance_perp": {"instruments": ["BTC/USDT", "ETH/USDT", "SOL/USDT"]}},
    }
)
BTC, ETH, SOL = UNIVERSE.instruments
FIRST, LAST = dt.date(2025, 6, 1), dt.date(2025, 6, 11)
START, END = (dt.datetime(d.year, d.month, d.day, tzinfo=dt.UTC) for d in (FIRST, LAST))
HOUR = dt.timedelta(hours=1)


def grid(hours: int = 8, *, missing: Sequence[int] = ()) -> list[dt.datetime]:
    """Settlements of the ten days, so many hours apart, without those of these places."""
    return [START + n * hours * HOUR for n in range(240 // hours) if n not in missing]


def ask(client: Client, instrument: Instrument, status: str = "complete", start: dt.datetime = START) -> None:
    row = {
        "dataset": "funding_rates",
        "venue": instrument.venue,
        "symbol": instrument.symbol,
        "window_start": start,
        "window_end": END,
        "status": status,
        "error": "" if status == "complete" else "VenueUnavailable: HTTP 503",
        "recorded_at": dt.datetime.now(dt.UTC),
    }
    client.insert("analytics.ingest_batches", [list(row.values())], column_names=list(row))


def serve(client: Client, instrument: Instrument, moments: Sequence[dt.datetime]) -> None:
    names = {"instrument_id": instrument.instrument_id, "venue": instrument.venue, "symbol": instrument.symbol}
    values = {"rate_type": "regular", "rate": 0.0001, "source": "rest", "ingested_at": END, "version": 1}
    rows = [names | values | {"timestamp": moment, "timestamp_raw": moment} for moment in moments]
    client.insert("analytics.funding_rates", [list(r.values()) for r in rows], column_names=list(rows[0]))


def asked_and_served(client: Client, instrument: Instrument, moments: Sequence[dt.datetime]) -> None:
    ask(client, instrument)
    serve(client, instrument, moments)


def verdicts(client: Client, instrument: Instrument, *, is_open: bool = True) -> list[tuple[dt.datetime, int, str]]:
    return [(g["gap_start"], g["missing"], g["verdict"]) for g in found(client, instrument, is_open=is_open)]


def found(client: Client, instrument: Instrument, *, is_open: bool = True) -> list[dict[str, Any]]:
    rows = client.query(
        "SELECT * FROM analytics.v_gaps WHERE instrument_id = {i:UInt32} AND is_open = {o:Bool} ORDER BY gap_start",
        parameters={"i": instrument.instrument_id, "o": is_open},
        tz_mode="aware",
    )
    return list(rows.named_results())


def days(client: Client, instrument: Instrument) -> dict[dt.date, dict[str, Any]]:
    rows = client.query(
        "SELECT * FROM analytics.v_coverage WHERE instrument_id = {i:UInt32}",
        parameters={"i": instrument.instrument_id},
    )
    return {row["day"]: row for row in rows.named_results()}


def judged(client: Client, *instruments: Instrument) -> None:
    judge(client, Rectangle(instruments, FIRST, LAST), FUNDING_RATES, UNIVERSE)


def test_a_settlement_that_all_miss_is_an_outage_and_one_that_others_have_is_not(emptied: Client) -> None:
    asked_and_served(emptied, BTC, grid(missing=[9, 10, 20]))
    asked_and_served(emptied, ETH, grid(missing=[9, 10]))
    asked_and_served(emptied, SOL, grid(4, missing=[18, 19, 20, 40, 41]))
    judged(emptied, BTC, ETH, SOL)
    outage = START + 72 * HOUR
    assert verdicts(emptied, BTC) == [(outage, 2, "venue_outage"), (START + 160 * HOUR, 1, "unknown")]
    assert verdicts(emptied, ETH) == [(outage, 2, "venue_outage")]
    assert "BTC/USDT, ETH/USDT, SOL/USDT" in found(emptied, BTC)[0]["evidence"]
    assert "grid of 8 hours" in found(emptied, BTC)[1]["evidence"]
    # At 76:00 only SOL was due: others had nothing to be silent with.
    assert verdicts(emptied, SOL) == [
        (outage, 1, "venue_outage"),
        (START + 76 * HOUR, 1, "unknown"),
        (START + 80 * HOUR, 1, "venue_outage"),
        (START + 160 * HOUR, 2, "unknown"),
    ]
    day = days(emptied, BTC)[FIRST + dt.timedelta(days=3)]
    assert (day["expected"], day["present"], day["missing"], day["explained"], day["score"]) == (3, 1, 2, 2, 33.3)
    day = days(emptied, BTC)[FIRST + dt.timedelta(days=6)]
    assert (day["expected"], day["missing"], day["explained"], day["completeness"]) == (3, 1, 0, pytest.approx(200 / 3))
    assert sum(day["expected"] for day in days(emptied, SOL).values()) == 60


def test_outages_by_the_clock_are_suspicious_and_stay_so_when_looked_at_again(emptied: Client) -> None:
    lost = [4, 9, 14, 19, 24]
    asked_and_served(emptied, BTC, grid(missing=lost))
    asked_and_served(emptied, ETH, grid(missing=lost))
    judged(emptied, BTC, ETH)
    gaps = found(emptied, BTC)
    assert [(g["missing"], g["verdict"]) for g in gaps] == [(1, "suspicious")] * 5
    assert all("; suspicious: 4 of 5 silences in that month begin 2400 minutes after" in g["evidence"] for g in gaps)
    assert {day["explained"] for day in days(emptied, BTC).values()} == {0}
    judged(emptied, BTC, ETH)
    assert [g | {"last_seen": 0} for g in found(emptied, BTC)] == [g | {"last_seen": 0} for g in gaps]
    serve(emptied, BTC, [grid()[n] for n in lost[:2]])
    judged(emptied, BTC, ETH)
    assert {g["verdict"] for g in found(emptied, BTC)} <= {"venue_outage", "unknown"}
    assert all("suspicious" not in g["evidence"] for g in found(emptied, BTC))


def test_a_change_of_the_interval_is_no_gap(emptied: Client) -> None:
    asked_and_served(emptied, BTC, [*grid()[:10], *(START + (76 + 2 * n) * HOUR for n in range(10)), *grid()[12:]])
    judged(emptied, BTC)
    assert verdicts(emptied, BTC) == []
    assert {day["score"] for day in days(emptied, BTC).values()} == {100}


def test_what_no_answer_covers_is_ours_also_where_nothing_was_ever_seen(emptied: Client) -> None:
    ask(emptied, BTC, "failed")
    asked_and_served(emptied, ETH, grid())
    judged(emptied, BTC, ETH)
    ((start, missing, verdict),) = verdicts(emptied, BTC)
    assert (start, missing, verdict) == (START, 30, "we_missed")
    assert "HTTP 503" in found(emptied, BTC)[0]["evidence"]
    assert {(d["present"], d["freshness"], d["is_settled"]) for d in days(emptied, BTC).values()} == {(0, 0, False)}
    asked_and_served(emptied, BTC, grid())
    judged(emptied, BTC)
    assert verdicts(emptied, BTC) == []
    assert verdicts(emptied, BTC, is_open=False) == [(START, 30, "we_missed")]
    assert {d["score"] for d in days(emptied, BTC).values()} == {100}


def test_listing_dates_explain_the_ends_and_never_a_hole_between_settlements(emptied: Client) -> None:
    for instrument, listed, delisted in ((BTC, 40, 160), (ETH, 60, 100)):
        names = {"venue": instrument.venue, "symbol": instrument.symbol, "valid_from": END}
        row = names | {"listed_at": START + listed * HOUR, "delisted_at": START + delisted * HOUR}
        emptied.insert("analytics.instruments", [list(row.values())], column_names=list(row))
    asked_and_served(emptied, BTC, [m for m in grid(missing=[10]) if 40 * HOUR < m - START < 160 * HOUR])
    asked_and_served(emptied, ETH, [m for m in grid() if 40 * HOUR < m - START < 160 * HOUR])
    judged(emptied, BTC, ETH)
    assert verdicts(emptied, BTC) == [
        (START, 6, "not_listed"),
        (START + 80 * HOUR, 1, "unknown"),
        (START + 160 * HOUR, 10, "delisted"),
    ]
    # It settled before it was listed and after its end: such dates say nothing.
    assert [verdict for _, _, verdict in verdicts(emptied, ETH)] == ["unknown", "unknown"]


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"kind": "status", "status": 451}, id="refused", marks=pytest.mark.slow),
        pytest.param({"kind": "empty"}, id="lost"),
    ],
)
def test_a_lost_window_heals_without_a_person_in_one_attempt(
    emptied: Client, tmp_path: Path, fault: dict[str, object]
) -> None:
    whole = [Rectangle((BTC,), FIRST, dt.date(2025, 6, 5)), Rectangle((BTC,), dt.date(2025, 6, 7), LAST)]
    now = dt.datetime(2025, 7, 1, tzinfo=dt.UTC)
    with sandbox.start(now=now, budget_scale=LIFTED) as url, dg.DagsterInstance.ephemeral() as instance:
        daemon = Daemon(emptied, lifted(url, tmp_path / "governor.sqlite3"), UNIVERSE)
        for part in whole:
            daemon.run("refresh_funding_rates", part, instance)
        judged(emptied, BTC)
        assert verdicts(emptied, BTC) == [(START + 96 * HOUR, 6, "we_missed")]
        post(url, "/_faults", {"path": "/fapi/v1/fundingRate", "times": 1000, **fault})
        lost = Rectangle((BTC,), dt.date(2025, 6, 5), dt.date(2025, 6, 7))
        daemon.run("refresh_funding_rates", lost, instance, must_succeed=False)
        urllib.request.urlopen(urllib.request.Request(url + "/_faults", method="DELETE"), timeout=10).close()
        asked = [r for r in daemon.tick(instance) if r.job_name == "refresh_funding_rates"]
        make_due(emptied)
        asked += [r for r in daemon.tick(instance) if r.job_name == "refresh_funding_rates"]
    assert len(asked) == 1
    assert verdicts(emptied, BTC) == []
    (healed,) = found(emptied, BTC, is_open=False)
    assert (healed["missing"], healed["verdict"], healed["attempts"]) == (6, "we_missed", 1)
    assert {d["score"] for d in days(emptied, BTC).values()} == {100}


@pytest.mark.slow
def test_a_real_hole_stops_being_asked_for_and_says_why(emptied: Client, tmp_path: Path) -> None:
    folder = tmp_path / "played/funding/binance_um"
    folder.mkdir(parents=True)
    for symbol, missing in (("BTCUSDT", [12]), ("ETHUSDT", [])):
        moments = [int(m.timestamp() * 1000) for m in grid(missing=missing)]
        table = pa.table({"funding_time": moments, "funding_rate": ["0.0001"] * len(moments)})
        pq.write_table(table, folder / f"{symbol}.parquet")
    bars = tmp_path / "played/klines/binance_um/BTCUSDT/1h"  # the sandbox does not play funding alone
    bars.mkdir(parents=True)
    names = ("open", "high", "low", "close", "volume")
    pq.write_table(
        pa.table({"open_time": [int(START.timestamp() * 1000)], **{n: [1.0] for n in names}}), bars / "a.parquet"
    )
    with (
        sandbox.start(recordings=tmp_path / "played", now=END, budget_scale=LIFTED) as url,
        dg.DagsterInstance.ephemeral() as instance,
    ):
        daemon = Daemon(emptied, lifted(url, tmp_path / "governor.sqlite3"), UNIVERSE)
        daemon.run("refresh_funding_rates", Rectangle((BTC, ETH), FIRST, LAST), instance)
        assert verdicts(emptied, BTC) == [(START + 96 * HOUR, 1, "unknown")]
        asked = []
        for _ in range(UNKNOWN_ATTEMPTS_MAX + 1):
            make_due(emptied)
            asked.append(len(daemon.tick(instance)))
    assert asked == [1] * UNKNOWN_ATTEMPTS_MAX + [0]
    (gap,) = found(emptied, BTC)
    assert (gap["verdict"], gap["attempts"], gap["next_attempt_at"]) == ("unknown", UNKNOWN_ATTEMPTS_MAX, None)
    assert f"asked again {UNKNOWN_ATTEMPTS_MAX} times, the venue has nothing" in gap["evidence"]
