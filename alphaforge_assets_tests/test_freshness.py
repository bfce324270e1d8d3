"""Freshness: the policies that the UI shows, and the instruments that are late by their own interval and no others."""

import datetime as dt
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from alphaforge_assets.datasets.bars import BARS
from alphaforge_assets.datasets.dataset import Dataset
from alphaforge_assets.datasets.fear_greed_index import FEAR_GREED_INDEX
from alphaforge_assets.datasets.funding_rates import FUNDING_RATES
from alphaforge_assets.datasets.registry import DATASETS
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.quality import checks, freshness
from alphaforge_assets.universe import FEAR_GREED, Instrument, load_universe
from alphaforge_assets_tests.test_graph import definitions

UNIVERSE = load_universe()
BTC, ETH = (UNIVERSE.instrument(f"binance_perp.{base}-USDT") for base in ("BTC", "ETH"))
NOW = dt.datetime(2026, 3, 2, 12, 2, 30, tzinfo=dt.UTC)
MINUTE, HOUR, DAY = dt.timedelta(minutes=1), dt.timedelta(hours=1), dt.timedelta(days=1)


def ask(
    client: Client, dataset: Dataset, instrument: Instrument, interval: str, until: dt.datetime, at: dt.datetime = NOW
) -> None:
    """A ledger row: at `at` everything until `until` was asked for and answered."""
    row = {
        "batch_id": "00000000-0000-0000-0000-000000000001", "dataset": dataset.name, "venue": instrument.venue,
        "symbol": instrument.symbol, "interval": interval, "window_start": until - DAY, "window_end": until,
        "status": "complete", "recorded_at": at,
    }  # fmt: skip
    client.insert("analytics.ingest_batches", [list(row.values())], column_names=list(row))


def put(client: Client, dataset: Dataset, instrument: Instrument, timestamp: dt.datetime, **columns: object) -> None:
    row: dict[str, object] = {
        "instrument_id": instrument.instrument_id, "venue": instrument.venue, "symbol": instrument.symbol,
        "timestamp": timestamp, "source": "rest", "ingested_at": NOW, "version": 1, **columns,
    }  # fmt: skip
    client.insert(f"analytics.{dataset.name}", [list(row.values())], column_names=list(row))


def listed(client: Client, instrument: Instrument, **columns: object) -> None:
    row: dict[str, object] = {
        "venue": instrument.venue, "symbol": instrument.symbol, "status": "TRADING", "is_active": True,
        "valid_from": NOW - 300 * DAY, **columns,
    }  # fmt: skip
    client.insert("analytics.instruments", [list(row.values())], column_names=list(row))


def stale(client: Client, dataset: Dataset, *instruments: Instrument, now: dt.datetime = NOW) -> list[tuple[Any, ...]]:
    found = freshness.stale(client, dataset, instruments, now)
    return [(r["symbol"], r.get("interval"), r["first"], r["what"]) for r in found]


@pytest.fixture
def kept(emptied: Client) -> Client:
    """Two perpetuals whose minutes and hours are there and were asked for until just now."""
    for instrument in (BTC, ETH):
        ask(emptied, BARS, instrument, "1m", NOW.replace(second=0))
        ask(emptied, BARS, instrument, "1h", NOW.replace(minute=0, second=0))
        put(emptied, BARS, instrument, NOW.replace(second=0) - MINUTE, interval="1m")
        put(emptied, BARS, instrument, NOW.replace(minute=0, second=0) - HOUR, interval="1h")
    return emptied


SILENT, UNASKED = "the venue answers and has no bar", "not asked, or no answer"


def test_each_interval_is_late_by_itself(kept: Client) -> None:
    closed = NOW.replace(second=0)
    assert stale(kept, BARS, BTC, ETH) == []
    assert stale(kept, BARS, BTC, ETH, now=NOW + 14 * MINUTE) == []
    assert stale(kept, BARS, BTC, now=NOW + 17 * MINUTE) == [("BTC/USDT", "1m", closed, UNASKED)]
    hour = closed.replace(minute=0)
    expected = [("BTC/USDT", "1m", closed, UNASKED), ("BTC/USDT", "1h", hour, UNASKED)]
    assert stale(kept, BARS, BTC, now=NOW.replace(hour=13, minute=16)) == expected


def test_one_instrument_that_stopped_is_named_among_those_that_go_on(kept: Client) -> None:
    later = NOW + 30 * MINUTE
    ask(kept, BARS, ETH, "1m", later.replace(second=0), later)
    put(kept, BARS, ETH, later.replace(second=0) - MINUTE, interval="1m")
    assert [s[:2] for s in stale(kept, BARS, BTC, ETH, now=later)] == [("BTC/USDT", "1m")]


def test_a_venue_that_leaves_out_quiet_minutes_is_given_longer(kept: Client) -> None:
    later = NOW + 100 * MINUTE
    ask(kept, BARS, BTC, "1m", later.replace(second=0), later)
    assert [s for s in stale(kept, BARS, BTC, now=later) if s[1] == "1m"] == []
    later += 30 * MINUTE
    ask(kept, BARS, BTC, "1m", later.replace(second=0), later)
    assert [s[3] for s in stale(kept, BARS, BTC, now=later) if s[1] == "1m"] == [SILENT]


def test_nothing_is_expected_of_a_backfill_of_history(emptied: Client) -> None:
    midnight = NOW.replace(hour=0, minute=0, second=0)
    ask(emptied, BARS, BTC, "1m", midnight)  # at noon, for days that were over
    ask(emptied, BARS, BTC, "1d", midnight)
    put(emptied, BARS, BTC, midnight - MINUTE, interval="1m")
    assert stale(emptied, BARS, BTC, now=NOW + 3 * DAY) == []


def test_what_is_asked_for_its_present_only_just_now_is_not_late_yet(emptied: Client) -> None:
    ask(emptied, BARS, BTC, "1m", NOW - 9 * DAY)  # history, and then the first run of the live tail
    put(emptied, BARS, BTC, NOW.replace(second=0) - 9 * DAY, interval="1m")
    ask(emptied, BARS, BTC, "1m", NOW.replace(second=0))
    assert stale(emptied, BARS, BTC, now=NOW + 10 * MINUTE) == []
    assert stale(emptied, BARS, BTC, now=NOW + 17 * MINUTE) != []


def test_what_nobody_has_asked_for_in_a_month_is_history(kept: Client) -> None:
    assert len(stale(kept, BARS, BTC, now=NOW + 30 * DAY)) == 2
    assert stale(kept, BARS, BTC, now=NOW + 32 * DAY) == []


@pytest.mark.parametrize(
    "listing",
    [
        pytest.param({"is_active": False, "status": "not_listed"}, id="no longer listed"),
        pytest.param({"is_active": False, "status": "BREAK"}, id="halted"),
        pytest.param({"delisted_at": NOW - DAY}, id="delisted by its own date"),
    ],
)
def test_what_the_venue_does_not_trade_is_not_stale(kept: Client, listing: dict[str, object]) -> None:
    listed(kept, BTC)
    listed(kept, ETH)
    assert {s[0] for s in stale(kept, BARS, BTC, ETH, now=NOW + DAY)} == {"BTC/USDT", "ETH/USDT"}
    listed(kept, ETH, valid_from=NOW, **listing)
    assert {s[0] for s in stale(kept, BARS, BTC, ETH, now=NOW + DAY)} == {"BTC/USDT"}


def test_a_venues_own_clock_decides(kept: Client) -> None:
    row = {"venue": BTC.venue, "clock_skew_ms": -3_600_000, "observed_at": NOW}
    kept.insert("analytics.venues", [list(row.values())], column_names=list(row))
    assert stale(kept, BARS, BTC, now=NOW + 17 * MINUTE) == []
    assert stale(kept, BARS, BTC, now=NOW + 77 * MINUTE) != []


def settle(client: Client, instrument: Instrument, *hours: int, day: dt.datetime = NOW) -> None:
    for hour in hours:
        moment = day.replace(hour=0, minute=0, second=0) + hour * HOUR
        put(client, FUNDING_RATES, instrument, moment, timestamp_raw=moment, rate_type="regular", rate=0.0001)


@pytest.mark.parametrize(
    ("hours", "late"),
    [
        pytest.param((-16, -8, 0, 8), dt.timedelta(hours=16, minutes=31), id="every eight hours"),
        pytest.param((5, 6, 7, 8), dt.timedelta(hours=9, minutes=31), id="every hour"),
        pytest.param((-8, 0, 4, 8), dt.timedelta(hours=16, minutes=31), id="from eight to four: no false alarm"),
        pytest.param((8,), dt.timedelta(hours=16, minutes=31), id="one settlement, interval unknown"),
    ],
)
def test_a_settlement_is_late_by_the_interval_observed(
    emptied: Client, hours: tuple[int, ...], late: dt.timedelta
) -> None:
    midnight = NOW.replace(hour=0, minute=0, second=0)
    ask(emptied, FUNDING_RATES, BTC, "", NOW.replace(second=0) - DAY, NOW - DAY)
    settle(emptied, BTC, *hours)
    assert stale(emptied, FUNDING_RATES, BTC, now=midnight + late - 2 * MINUTE) == []
    (found,) = stale(emptied, FUNDING_RATES, BTC, now=midnight + late)
    assert found[:3] == ("BTC/USDT", None, midnight + 8 * HOUR)


def test_a_longer_interval_that_the_venue_lists_counts(emptied: Client) -> None:
    ask(emptied, FUNDING_RATES, BTC, "", NOW.replace(second=0) - DAY, NOW - DAY)
    settle(emptied, BTC, 5, 6, 7, 8)
    listed(emptied, BTC, funding_interval_hours=4.0)
    assert stale(emptied, FUNDING_RATES, BTC, now=NOW.replace(minute=25)) == []
    assert stale(emptied, FUNDING_RATES, BTC, now=NOW.replace(minute=35)) != []


def test_fear_and_greed_is_due_in_the_morning(emptied: Client) -> None:
    midnight = NOW.replace(hour=0, minute=0, second=0)
    ask(emptied, FEAR_GREED_INDEX, FEAR_GREED, "1d", midnight)
    put(emptied, FEAR_GREED_INDEX, FEAR_GREED, midnight - DAY, interval="1d", value=50)
    assert stale(emptied, FEAR_GREED_INDEX, FEAR_GREED, now=midnight + DAY + 5 * HOUR) == []
    assert stale(emptied, FEAR_GREED_INDEX, FEAR_GREED, now=midnight + DAY + 7 * HOUR) == [
        ("FEAR/GREED", "1d", midnight, UNASKED)
    ]


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=lambda d: d.name)
def test_it_is_a_rule_of_every_dataset(emptied: Client, dataset: Dataset) -> None:
    (rule,) = [r for r in checks.every_check() if (r.asset, r.name) == (dataset.name, checks.FRESHNESS)]
    instrument = FEAR_GREED if dataset.only else BTC
    covered = Rectangle((instrument,), NOW.date(), NOW.date() + DAY)
    assert checks.offenders(emptied, rule, covered, NOW) == []
    interval = {BARS.name: "1m", "price_bars": "mark_1m", FEAR_GREED_INDEX.name: "1d"}.get(dataset.name, "")
    ask(emptied, dataset, instrument, interval, NOW.replace(second=0))
    (found,) = checks.offenders(emptied, rule, covered, NOW + 2 * DAY)  # asked for its present, and nothing ever came
    assert found["symbol"] == instrument.symbol
    assert found["rows"] > 0


def test_every_table_that_is_kept_up_to_date_has_a_policy() -> None:
    specs = {s.key.to_user_string(): s for s in definitions().resolve_all_asset_specs()}
    found = {name: spec.freshness_policy for name, spec in specs.items() if spec.freshness_policy}
    assert found == {name: policy for name, policy in freshness.policies().items() if name in specs}
    assert found["v_bars"] == found["v_funding"] == freshness.TAILED
    assert found["landing_bars"] == found["fear_greed_index"] == found["instruments"] == freshness.DAILY
