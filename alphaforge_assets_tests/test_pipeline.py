"""Exchange -> landing -> staging -> bars -> v_bars, on real sockets and the real engine, without Dagster."""

import datetime as dt
import json
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import hypothesis
import pytest
from clickhouse_connect.driver.client import Client
from hypothesis import strategies as st

from alphaforge_assets.datasets.bars import BARS
from alphaforge_assets.errors import Permanent
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.pipeline.landing import Landed, land
from alphaforge_assets.pipeline.mart import publish
from alphaforge_assets.pipeline.staging import stage
from alphaforge_assets.sandbox import process as sandbox
from alphaforge_assets.universe import Universe, load_universe
from alphaforge_assets.venues.directory import Exchanges
from alphaforge_assets_tests.conftest import LIFTED, lifted

UNIVERSE = load_universe()
DAY = dt.date(2025, 6, 1)
NOW = dt.datetime(2025, 7, 1, tzinfo=dt.UTC)


def covered(patterns: Sequence[str], start: dt.date = DAY, days: int = 1) -> Rectangle:
    return Rectangle(UNIVERSE.select(patterns), start, start + dt.timedelta(days=days))


def refresh(
    client: Client,
    exchanges: Exchanges,
    part: Rectangle,
    universe: Universe = UNIVERSE,
    *,
    refetch: bool = False,
) -> Landed:
    landed = land(client, exchanges, part, BARS, universe.intervals, run_id="test", refetch=refetch)
    stage(client, part, BARS, universe.intervals)
    publish(client, part, BARS, universe.intervals)
    return landed


def digest(client: Client) -> tuple[int, int]:
    """Rows of v_bars and an order-free hash of what researchers read of them."""
    row = client.query(
        "SELECT count(), sum(cityHash64(venue, symbol, interval, timestamp, open, high, low, close, volume,"
        " quote_volume)) FROM analytics.v_bars"
    ).result_rows[0]
    return int(row[0]), int(row[1])


def count(client: Client, table: str) -> int:
    return int(
        client.query(
            "SELECT count() FROM {t:Identifier}.{u:Identifier}", parameters={"t": "analytics", "u": table}
        ).result_rows[0][0]
    )


def test_six_venues_arrive_whole_and_a_rerun_is_identity(emptied: Client, exchange: Exchanges) -> None:
    part = covered(["*.BTC-USDT"])
    landed = refresh(emptied, exchange, part)
    assert landed.failures == []
    assert digest(emptied)[0] == 6 * (1440 + 24) == landed.rows
    before = digest(emptied)
    again = refresh(emptied, exchange, part)
    assert (again.rows, again.cost.requests) == (0, 0)
    assert digest(emptied) == before
    assert count(emptied, "bars_history") == landed.rows


def test_a_refetch_of_unchanged_data_publishes_nothing(emptied: Client, exchange: Exchanges) -> None:
    part = covered(["bybit_spot.ETH-USDT"])
    first = refresh(emptied, exchange, part)
    second = refresh(emptied, exchange, part, refetch=True)
    assert second.rows == first.rows  # asked again, and kept in landing
    assert count(emptied, "landing_bars") == 2 * first.rows
    assert count(emptied, "bars_history") == first.rows


def test_a_bar_that_changes_and_changes_back_has_three_versions(emptied: Client, exchange: Exchanges) -> None:
    part = covered(["binance_spot.BTC-USDT"])
    when = dt.datetime(2025, 6, 1, 12, 30, tzinfo=dt.UTC)
    with sandbox.start(now=NOW, budget_scale=LIFTED) as url:
        own = lifted(url, exchange.governor_file)
        refresh(emptied, own, part)
        before = digest(emptied)
        original = value_at(emptied, when)
        for close in (original + 1.0, original):
            bar = {"venue": "binance_spot", "symbol": "BTC/USDT", "interval": "1m"}
            post(url, "/_revise", bar | {"open_time": int(when.timestamp() * 1000), "close": str(close)})
            refresh(emptied, own, part, refetch=True)
            assert value_at(emptied, when) == close
    assert digest(emptied) == before
    versions = emptied.query(
        "SELECT close FROM analytics.bars_history WHERE interval = '1m' AND timestamp = {t:DateTime64(3, 'UTC')}"
        " ORDER BY published_at",
        parameters={"t": when},
    ).result_columns[0]
    assert list(versions) == [original, original + 1.0, original]
    assert count(emptied, "bars_history") == before[0] + 2


def value_at(client: Client, when: dt.datetime) -> float:
    rows = client.query(
        "SELECT close FROM analytics.v_bars WHERE interval = '1m' AND timestamp = {t:DateTime64(3, 'UTC')}",
        parameters={"t": when},
    ).result_rows
    assert len(rows) == 1
    return float(rows[0][0])


def post(url: str, path: str, body: dict[str, object]) -> None:
    request = urllib.request.Request(url + path, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=10):
        pass


def test_the_open_bar_never_leaves_landing_and_arrives_when_it_closes(emptied: Client, exchange: Exchanges) -> None:
    part = covered(["*.ETH-USDT"])
    noon = dt.datetime(2025, 6, 1, 12, 0, 30, tzinfo=dt.UTC)
    with sandbox.start(now=noon, budget_scale=LIFTED) as url:
        own = lifted(url, exchange.governor_file)
        refresh(emptied, own, part)
        assert digest(emptied)[0] == 6 * (720 + 12)
        refresh(emptied, own, part)
        assert digest(emptied)[0] == 6 * (720 + 12)
        post(url, "/_clock", {"now": "2025-06-01T12:01:10Z"})
        refresh(emptied, own, part)
        assert digest(emptied)[0] == 6 * (721 + 12)
        post(url, "/_clock", {"now": "2025-06-02T00:00:10Z"})
        refresh(emptied, own, part)
    assert digest(emptied)[0] == 6 * (1440 + 24)
    assert count(emptied, "bars_history") == 6 * (1440 + 24)


def test_a_venue_that_is_down_does_not_stop_the_others_and_is_made_up_for(emptied: Client, exchange: Exchanges) -> None:
    part = covered(["*.SOL-USDT"])
    with sandbox.start(now=NOW, budget_scale=LIFTED) as url:
        own = lifted(url, exchange.governor_file)
        for path in ("/v5/market/kline", "/v5/market/time"):
            post(url, "/_faults", {"path": path, "kind": "status", "status": 451, "times": 1000})
        landed = refresh(emptied, own, part)
        assert {f.window.instrument.venue for f in landed.failures} == {"bybit_spot", "bybit_perp"}
        assert digest(emptied)[0] == 4 * (1440 + 24)
        request = urllib.request.Request(url + "/_faults", method="DELETE")
        with urllib.request.urlopen(request, timeout=10):
            pass
        again = refresh(emptied, own, part)
    assert again.failures == []
    assert again.rows == 2 * (1440 + 24)
    assert digest(emptied)[0] == 6 * (1440 + 24)


def test_an_unlisted_symbol_is_named_and_alone(emptied: Client, exchange: Exchanges) -> None:
    universe = Universe.model_validate(
        {
            "history_start": dt.date(2025, 1, 1),
            "intervals": ["1h"],
            "venues": {"okx_spot": {"instruments": ["BTC/USDT", "NOSUCH/USDT"]}},
        }
    )
    part = Rectangle(universe.instruments, DAY, DAY + dt.timedelta(days=1))
    landed = refresh(emptied, exchange, part, universe)
    assert [(f.window.instrument.symbol, "does not list" in f.error) for f in landed.failures] == [
        ("NOSUCH/USDT", True)
    ]
    assert digest(emptied)[0] == 24


def test_live_and_sandbox_data_never_share_a_warehouse(emptied: Client, exchange: Exchanges) -> None:
    part = covered(["okx_perp.BTC-USDT"])
    refresh(emptied, exchange, part)
    live = lifted(exchange.base_url, exchange.governor_file, origin="live")
    with pytest.raises(Permanent, match="holds sandbox data"):
        refresh(emptied, live, covered(["okx_perp.BTC-USDT"], days=2))


def test_two_runs_at_once_publish_what_one_would(emptied: Client, exchange: Exchanges) -> None:
    part = covered(["binance_spot.*"])
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(refresh, emptied, exchange, part) for _ in range(2)]
        assert [b.result().failures for b in both] == [[], []]
    assert digest(emptied)[0] == 6 * (1440 + 24)
    refresh(emptied, exchange, part)
    final = "SELECT count() FROM analytics.bars_history FINAL"
    assert emptied.query(final).result_rows[0][0] == 6 * (1440 + 24)


@hypothesis.settings(max_examples=6, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@hypothesis.given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(1, 4), st.booleans()), min_size=1, max_size=6).map(
        lambda runs: [*runs, (0, 10, False)]
    )
)
def test_any_order_of_overlapping_runs_gives_the_same_bars(
    emptied: Client, exchange: Exchanges, runs: list[tuple[int, int, bool]]
) -> None:
    empty(emptied)
    for first, days, again in runs:
        part = covered(["okx_spot.XRP-USDT", "okx_spot.SOL-BTC"], DAY + dt.timedelta(days=first), days)
        refresh(emptied, exchange, part, refetch=again)
    disturbed = digest(emptied)
    empty(emptied)
    refresh(emptied, exchange, covered(["okx_spot.XRP-USDT", "okx_spot.SOL-BTC"], DAY, 10))
    assert disturbed == digest(emptied)


def empty(client: Client) -> None:
    for table in ("landing_bars", "staging_bars", "bars", "bars_history", "ingest_batches"):
        client.command("TRUNCATE TABLE {d:Identifier}.{t:Identifier}", parameters={"d": "analytics", "t": table})


def test_every_published_value_landed_with_a_batch_on_record(emptied: Client, exchange: Exchanges) -> None:
    refresh(emptied, exchange, covered(["okx_perp.BTC-USDT", "binance_spot.BTC-USDT"]))
    values = (
        "open, high, low, close, volume, quote_volume, contract_volume, trade_count, close_time, source, ingested_at"
    )
    key = "instrument_id, interval, timestamp, batch_id"
    landed = f"SELECT {key}, {values} FROM analytics.landing_bars"
    published = f"SELECT {key}, {values} FROM analytics.v_bars"
    assert emptied.query(f"SELECT count() FROM ({published} EXCEPT {landed})").result_rows == [(0,)]
    unknown = """SELECT count() FROM analytics.v_bars AS v LEFT ANTI JOIN analytics.ingest_batches AS b
        ON b.batch_id = v.batch_id AND b.instrument_id = v.instrument_id AND b.interval = v.interval"""
    assert emptied.query(unknown).result_rows == [(0,)]
    ledger = emptied.query(
        "SELECT b.batch_id, any(b.row_count), count(), any(b.run_id), any(length(b.content_hash)),"
        " min(l.timestamp) >= any(b.window_start) AND max(l.timestamp) < any(b.window_end)"
        " FROM analytics.ingest_batches AS b JOIN analytics.landing_bars AS l ON l.batch_id = b.batch_id"
        " WHERE b.status = 'complete' GROUP BY b.batch_id"
    ).result_rows
    assert sum(row[2] for row in ledger) == digest(emptied)[0] == 2 * (1440 + 24)
    assert all(row[1:] == (row[2], row[2], "test", 64, True) for row in ledger)


def test_a_bar_is_there_once_whether_anything_is_merged_or_not(emptied: Client, exchange: Exchanges) -> None:
    part = covered(["bybit_spot.BTC-USDT"])
    when = dt.datetime(2025, 6, 1, 12, 30, tzinfo=dt.UTC)
    bar = {"venue": "bybit_spot", "symbol": "BTC/USDT", "interval": "1m", "open_time": int(when.timestamp() * 1000)}
    emptied.command("SYSTEM STOP MERGES")
    try:
        with sandbox.start(now=NOW, budget_scale=LIFTED) as url:
            own = lifted(url, exchange.governor_file)
            for close in (None, "1000000.5", "1000001.5"):
                if close:
                    post(url, "/_revise", bar | {"high": close, "close": close})
                refresh(emptied, own, part, refetch=True)
        stored = "SELECT count(), uniqExact(instrument_id, interval, timestamp) FROM analytics.bars"
        rows, keys = emptied.query(stored).result_rows[0]
        assert rows > keys == 1440 + 24  # nothing is merged, and the view shows each once
        before = digest(emptied)
        assert (before[0], value_at(emptied, when)) == (keys, 1000001.5)
    finally:
        emptied.command("SYSTEM START MERGES")
    emptied.command("OPTIMIZE TABLE analytics.bars FINAL")
    assert emptied.query(stored).result_rows[0] == (keys, keys)
    assert digest(emptied) == before
