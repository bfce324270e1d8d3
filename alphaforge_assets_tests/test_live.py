"""The open day: what a tail fetches, what it leaves alone, and what comes of it when venues or runs interfere."""

import datetime as dt
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import pytest
from clickhouse_connect.driver.client import Client

from alphaforge_assets.datasets.bars import BARS
from alphaforge_assets.datasets.dataset import Dataset
from alphaforge_assets.datasets.fear_greed_index import FEAR_GREED_INDEX
from alphaforge_assets.datasets.funding_rates import FUNDING_RATES
from alphaforge_assets.definitions import build
from alphaforge_assets.errors import BadInput
from alphaforge_assets.partitions import Rectangle, partition_key
from alphaforge_assets.pipeline.landing import land
from alphaforge_assets.pipeline.mart import publish, publishing
from alphaforge_assets.pipeline.staging import stage
from alphaforge_assets.sandbox import process as sandbox
from alphaforge_assets.settings import settings_from_environment
from alphaforge_assets.universe import FEAR_GREED, Instrument, Universe, load_universe
from alphaforge_assets.upkeep import tail as live
from alphaforge_assets.upkeep.day_close import closed_until, days_to_close
from alphaforge_assets.upkeep.failed_runs import left_of
from alphaforge_assets.upkeep.old_runs import forget
from alphaforge_assets.upkeep.runs import record_finished
from alphaforge_assets.venues.directory import Exchanges
from alphaforge_assets_tests.conftest import LIFTED, lifted
from alphaforge_assets_tests.installed import call, fault, requests_of
from alphaforge_assets_tests.test_pipeline import count, digest, post

UNIVERSE = Universe.model_validate(
    {
        "history_start": dt.date(2024, 11, 1),
        "intervals": ["1m", "1h"],
        "venues": {
            "binance_spot": {"instruments": ["BTC/USDT", "ETH/USDT"]},
            "okx_perp": {"instruments": ["BTC/USDT", "ETH/USDT"]},
        },
    }
)
BINANCE, _, OKX, _ = UNIVERSE.instruments
NOW = dt.datetime(2025, 6, 2, 10, 3, 30, tzinfo=dt.UTC)
DAY = dt.date(2025, 6, 2)


@pytest.fixture
def venues(exchange: Exchanges) -> Iterator[Exchanges]:
    """Venues of the test's own, whose clock stands at NOW."""
    with sandbox.start(now=NOW, budget_scale=LIFTED) as url:
        yield lifted(url, exchange.governor_file)


def set_clock(venues: Exchanges, now: dt.datetime) -> None:
    post(venues.base_url, "/_clock", {"now": now.isoformat()})


def tail(client: Client, venues: Exchanges, tmp_path: Path, universe: Universe = UNIVERSE) -> dict[str, live.Tailed]:
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as instance:
        lock = publishing(Path(instance.root_directory))
        tails = live.tail(client, venues, universe, run_id="tail", lock=lock)
    return {t.venue: t for t in tails}


def last_bar(client: Client, interval: str = "1m") -> dt.datetime:
    rows = client.query(
        "SELECT max(timestamp) FROM analytics.v_bars WHERE interval = {i:String}",
        parameters={"i": interval},
        tz_mode="aware",
    ).result_rows
    moment: dt.datetime = rows[0][0]
    return moment


def test_a_tail_brings_what_has_closed_since_yesterday_and_then_only_what_is_new(
    emptied: Client, venues: Exchanges, tmp_path: Path
) -> None:
    first = tail(emptied, venues, tmp_path)
    assert not any(t.failed or t.unreachable for t in first.values())
    assert last_bar(emptied) == NOW.replace(minute=2, second=0)  # 10:03 is still open
    assert last_bar(emptied, "1h") == NOW.replace(hour=9, minute=0, second=0)
    assert digest(emptied)[0] == 4 * (1440 + 24 + 603 + 10)
    settled = emptied.query("SELECT count(), max(timestamp) FROM analytics.v_funding", tz_mode="aware").result_rows[0]
    assert settled == (2 * 5, NOW.replace(hour=8, minute=0, second=0))
    before = requests_of(venues.base_url)[-1]["n"]
    tail(emptied, venues, tmp_path)
    assert {r["path"] for r in requests_of(venues.base_url, before)} == {"/api/v3/time", "/api/v5/public/time"}
    set_clock(venues, NOW + dt.timedelta(minutes=5))
    later = tail(emptied, venues, tmp_path)
    assert sum(t.landed["bars"].rows for t in later.values()) == 4 * 5
    assert sum(t.landed["bars"].cost.requests for t in later.values()) == 4
    assert last_bar(emptied) == NOW.replace(minute=7, second=0)
    assert count(emptied, "bars_history") == digest(emptied)[0]


@pytest.mark.parametrize("on", [True, False])
def test_the_daemon_can_load_it_and_live_updates_can_be_left_out(on: bool) -> None:
    nothing = {name: object() for name in ("warehouse", "exchanges", "universe")}
    definitions = build(UNIVERSE, nothing, live_updates=on)
    dg.Definitions.validate_loadable(definitions)
    assert definitions.resolve_schedule_def("live_tail").default_status.value == ("RUNNING" if on else "STOPPED")
    for name in ("day_close", "keep_listings", "forget_live_runs"):
        assert definitions.resolve_sensor_def(name).default_status.value == ("RUNNING" if on else "STOPPED")


def test_live_updates_are_on_or_off(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings_from_environment().live_updates
    monkeypatch.setenv("ALPHAFORGE_LIVE", "off")
    assert not settings_from_environment().live_updates
    monkeypatch.setenv("ALPHAFORGE_LIVE", "maybe")
    with pytest.raises(BadInput, match="ALPHAFORGE_LIVE 'maybe': on, or off"):
        settings_from_environment()


def test_a_failed_run_goes_on_without_the_instruments_it_names() -> None:
    covered = Rectangle(UNIVERSE.instruments, DAY, DAY + dt.timedelta(days=2))
    parts = left_of(covered, {UNIVERSE.instruments[1].key}, BARS, UNIVERSE.instruments)
    assert [p.instruments for p in parts] == [(BINANCE,), UNIVERSE.instruments[2:]]
    assert len(left_of(covered, {}, BARS, UNIVERSE.instruments)) == 4
    assert left_of(covered, {i.key for i in UNIVERSE.instruments}, BARS, UNIVERSE.instruments) == []


def test_funding_is_asked_for_once_an_hour(emptied: Client, venues: Exchanges, tmp_path: Path) -> None:
    tail(emptied, venues, tmp_path)
    set_clock(venues, dt.datetime(2025, 6, 2, 16, 4, tzinfo=dt.UTC))
    tail(emptied, venues, tmp_path)
    set_clock(venues, dt.datetime(2025, 6, 2, 16, 10, tzinfo=dt.UTC))
    assert tail(emptied, venues, tmp_path)["okx_perp"].landed["funding_rates"].rows == 2
    set_clock(venues, dt.datetime(2025, 6, 2, 16, 55, tzinfo=dt.UTC))
    assert tail(emptied, venues, tmp_path)["okx_perp"].landed["funding_rates"].cost.requests == 0


def test_a_bar_fetched_moments_after_its_close_is_asked_for_once_more(
    emptied: Client, exchange: Exchanges, tmp_path: Path
) -> None:
    """Whether a venue was done with it is known by the clock, so this one is the real one."""
    with sandbox.start(budget_scale=LIFTED) as url:
        venues = lifted(url, exchange.governor_file)
        while not 6 <= dt.datetime.now(dt.UTC).second < 40:  # the last bar is some seconds old, and no minute
            time.sleep(0.5)
        tail(emptied, venues, tmp_path)
        closed = last_bar(emptied)
        revised = {"venue": "binance_spot", "symbol": "BTC/USDT", "interval": "1m", "volume": "123456789"}
        for ago in (0, 10):
            opened = closed - dt.timedelta(minutes=ago)
            post(url, "/_revise", revised | {"open_time": int(opened.timestamp() * 1000)})
        tail(emptied, venues, tmp_path)
    found = emptied.query(
        "SELECT timestamp FROM analytics.bars_history WHERE volume = 123456789", tz_mode="aware"
    ).result_rows
    assert found == [(closed,)]  # the older one is final: a refetch would see it


def test_one_venue_down_or_one_instrument_of_nonsense_holds_back_nobody_and_heals(
    emptied: Client, venues: Exchanges, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "PATIENCE", live.Patience(request_s=2, total_s=2, attempts=2))
    fault(venues.base_url, path="/api/v5/public/time", kind="status", status=503, times=100)
    fault(venues.base_url, path="/api/v3/klines", symbol="ETHUSDT", kind="garbage", times=100)
    tails = tail(emptied, venues, tmp_path)
    assert "VenueUnavailable" in tails["okx_perp"].unreachable
    assert set(tails["binance_spot"].failed) == {"binance_spot.ETH-USDT"}
    assert digest(emptied)[0] == 1440 + 24 + 603 + 10
    failed = "SELECT DISTINCT venue, symbol FROM analytics.ingest_batches WHERE status = 'failed' ORDER BY 1, 2"
    assert emptied.query(failed).result_rows == [
        ("binance_spot", "ETH/USDT"),
        ("okx_perp", "BTC/USDT"),
        ("okx_perp", "ETH/USDT"),
    ]
    call(f"{venues.base_url}/_faults", method="DELETE")
    venues.governor_file.unlink()  # the breaker would hold back the next try for a while
    healed = tail(emptied, venues, tmp_path)
    assert not any(t.failed or t.unreachable for t in healed.values())
    assert digest(emptied)[0] == 4 * (1440 + 24 + 603 + 10)


def refresh(client: Client, venues: Exchanges, part: Rectangle, dataset: Dataset, lock: live.Lock) -> None:
    """What the runs of a backfill do."""
    intervals = dataset.intervals(UNIVERSE)
    land(client, venues, part, dataset, intervals, run_id="backfill")
    stage(client, part, dataset, intervals)
    with lock(dataset):
        publish(client, part, dataset, intervals)


def test_a_tail_and_a_backfill_at_once_leave_every_version_once(
    emptied: Client, venues: Exchanges, tmp_path: Path
) -> None:
    days = Rectangle(UNIVERSE.instruments, DAY - dt.timedelta(days=3), DAY + dt.timedelta(days=1))
    perpetuals = Rectangle(UNIVERSE.instruments[2:], days.start, days.end)
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as instance, ThreadPoolExecutor(4) as pool:
        lock = publishing(Path(instance.root_directory))
        for minutes in (0, 5):
            set_clock(venues, NOW + dt.timedelta(minutes=minutes))
            runs = [
                pool.submit(live.tail, emptied, venues, UNIVERSE, run_id="tail", lock=lock),
                pool.submit(live.tail, emptied, venues, UNIVERSE, run_id="other", lock=lock),
                pool.submit(refresh, emptied, venues, days, BARS, lock),
                pool.submit(refresh, emptied, venues, perpetuals, FUNDING_RATES, lock),
            ]
            for run in runs:
                run.result()
    expected = 4 * (3 * (1440 + 24) + 608 + 10)
    assert digest(emptied)[0] == expected
    assert count(emptied, "bars_history") == expected  # without FINAL: nothing was written twice
    assert count(emptied, "funding_rates_history") == 2 * (3 * 3 + 2)


def test_a_day_is_over_when_a_venue_has_answered_from_after_it(
    emptied: Client, venues: Exchanges, tmp_path: Path
) -> None:
    now = dt.datetime.now(dt.UTC)
    assert closed_until(emptied, BARS, UNIVERSE, now) == {}
    set_clock(venues, dt.datetime(2025, 6, 3, 0, 0, 30, tzinfo=dt.UTC))
    tail(emptied, venues, tmp_path)
    assert set(closed_until(emptied, BARS, UNIVERSE, now).values()) == {DAY}
    set_clock(venues, dt.datetime(2025, 6, 3, 0, 5, 10, tzinfo=dt.UTC))
    tail(emptied, venues, tmp_path)
    tomorrow = DAY + dt.timedelta(days=1)
    assert closed_until(emptied, BARS, UNIVERSE, now) == {"binance_spot": tomorrow, "okx_perp": tomorrow}
    assert closed_until(emptied, FUNDING_RATES, UNIVERSE, now) == {"okx_perp": tomorrow}
    assert closed_until(emptied, FEAR_GREED_INDEX, UNIVERSE, now) == {FEAR_GREED.venue: tomorrow}


def test_days_are_closed_once_and_after_a_downtime_in_one_range() -> None:
    closed = {"binance_spot": DAY, "okx_perp": DAY}
    yesterday = DAY - dt.timedelta(days=1)
    (fresh,) = days_to_close(BARS, UNIVERSE, closed, {}, ())
    assert fresh == Rectangle(UNIVERSE.instruments, yesterday, DAY)
    assert days_to_close(BARS, UNIVERSE, closed, closed, ()) == []
    (down,) = days_to_close(BARS, UNIVERSE, closed, dict.fromkeys(closed, DAY - dt.timedelta(days=3)), ())
    assert (down.start, down.end, len(down.instruments)) == (DAY - dt.timedelta(days=3), DAY, 4)
    late = {"binance_spot": DAY, "okx_perp": yesterday}
    (part,) = days_to_close(BARS, UNIVERSE, closed, late, ())
    assert part == Rectangle(UNIVERSE.instruments[2:], yesterday, DAY)


def test_without_a_memory_it_goes_on_at_the_last_materialized_day_and_never_farther_back_than_a_month() -> None:
    done = {partition_key(DAY - dt.timedelta(days=n), BINANCE) for n in (5, 6, 7)}
    closed = {"binance_spot": DAY}
    parts = days_to_close(BARS, UNIVERSE, closed, {}, done)
    assert [(p.instruments, (p.end - p.start).days) for p in parts] == [
        ((BINANCE,), 5),  # from the last day on, which may have been materialized before it was over
        ((UNIVERSE.instruments[1],), 1),
    ]
    (part,) = days_to_close(BARS, UNIVERSE, {"okx_perp": DAY}, {"okx_perp": dt.date(2025, 1, 1)}, ())
    assert (part.end - part.start).days == 31
    young = days_to_close(BARS, load_universe(), {"binance_spot": load_universe().history_start}, {}, ())
    assert young == []


def test_the_job_publishes_says_who_failed_and_costs_few_events(
    emptied: Client, venues: Exchanges, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "PATIENCE", live.Patience(request_s=2, total_s=2, attempts=2))
    resources = {"warehouse": emptied, "exchanges": venues, "universe": UNIVERSE}
    job = build(UNIVERSE, resources).resolve_job_def("live_tail")
    with dg.DagsterInstance.ephemeral() as instance:
        good = job.execute_in_process(instance=instance)
        assert good.success
        assert len(good.all_events) < 40
        unpartitioned = instance.get_latest_materialization_event(dg.AssetKey("bars"))
        assert unpartitioned is None, "it would be newer than its checks, which the UI then calls not evaluated"
        latest = instance.get_latest_materialization_event(dg.AssetKey("v_bars"))
        assert latest
        assert latest.asset_materialization
        assert latest.asset_materialization.metadata["dagster/row_count"].value == count(emptied, "bars")
        monkeypatch.setenv("ALPHAFORGE_VENUES", venues.base_url)
        record_finished(emptied, instance, UNIVERSE, settings_from_environment())
        (row,) = emptied.query("SELECT * FROM analytics.v_runs").named_results()
        assert (row["job"], row["datasets"], row["outcome"]) == ("live_tail", ["bars", "funding_rates"], "success")
        (published,) = emptied.query("SELECT count() FROM analytics.bars_history").result_columns[0]
        assert row["rows_out"] >= published > 0
        assert row["instruments"] == [i.key for i in UNIVERSE.instruments]
        fault(venues.base_url, path="/api/v5/public/time", kind="status", status=503, times=100)
        set_clock(venues, NOW + dt.timedelta(minutes=5))
        bad = job.execute_in_process(instance=instance, raise_on_error=False)
        assert not bad.success
        assert last_bar(emptied) == NOW.replace(minute=7, second=0)  # binance went on
        run = instance.get_run_by_id(bad.run_id)
        assert run
        assert "okx_perp.BTC-USDT" in run.tags[live.FAILED_TAG]
        (event,) = [e for e in bad.all_events if e.is_step_failure]
        failure = event.step_failure_data.user_failure_data
        assert failure
        assert set(failure.metadata["failed_venues"].value) == {"okx_perp"}
        assert "okx_perp could not be reached" in str(failure.description)


def test_old_runs_of_the_tail_are_forgotten_and_no_others(emptied: Client, venues: Exchanges, tmp_path: Path) -> None:
    resources = {"warehouse": emptied, "exchanges": venues, "universe": UNIVERSE}
    definitions = build(UNIVERSE, resources)
    root = tmp_path / "dagster"
    root.mkdir()
    with dg.DagsterInstance.local_temp(str(root)) as instance:
        tailed = definitions.resolve_job_def("live_tail").execute_in_process(instance=instance).run_id
        other = definitions.resolve_job_def("refresh_listings").execute_in_process(instance=instance).run_id
        before = dt.datetime.now(dt.UTC)
        kept = definitions.resolve_job_def("live_tail").execute_in_process(instance=instance).run_id
        assert any(root.rglob(f"{tailed}*"))
        assert forget(instance, before) == 1
        assert {r.run_id for r in instance.get_runs()} == {kept, other}
        assert not list(root.rglob(f"{tailed}*"))
        assert forget(instance, before) == 0


def test_funding_that_a_venue_no_longer_keeps_is_a_gap_and_asked_for_by_the_year(
    emptied: Client, venues: Exchanges
) -> None:
    def ask(instrument: Instrument, start: dt.date) -> None:
        part = Rectangle((instrument,), start, DAY)
        landed = land(emptied, venues, part, FUNDING_RATES, ("",), run_id="test")
        assert landed.failures == []

    def gaps() -> list[tuple[dt.date, dt.date, str]]:
        found = emptied.query(
            "SELECT toDate(gap_start), toDate(gap_end), verdict FROM analytics.v_gaps"
            " WHERE dataset = 'funding_rates' AND is_open ORDER BY 1"
        ).result_rows
        return [(start, end, verdict) for start, end, verdict in found]

    lost_until = DAY - dt.timedelta(days=90)
    ask(OKX, dt.date(2025, 2, 1))
    ask(OKX, dt.date(2025, 2, 1))
    ((start, end, verdict),) = gaps()
    assert (start, verdict) == (dt.date(2025, 2, 1), "retention_lost")
    assert abs((end - lost_until).days) <= 2
    ask(OKX, dt.date(2024, 12, 1))
    assert gaps() == [(dt.date(2024, 12, 1), end, verdict)]
    windows = emptied.query("SELECT window_start, window_end FROM analytics.ingest_batches ORDER BY 1").result_rows
    assert [(a.month, b.month) for a, b in windows] == [(12, 1), (1, 2), (2, 6)]  # cut at the year, not at months
