"""Bars of our own: what they are made of, in any order of publishing, and what venues say themselves."""

import datetime as dt
import uuid
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from clickhouse_connect.driver.client import Client

from alphaforge_assets import partitions
from alphaforge_assets.datasets.bars import BARS
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.pipeline import mart
from alphaforge_assets.pipeline.mart import publish
from alphaforge_assets.pipeline.staging import stage
from alphaforge_assets.universe import load_universe
from alphaforge_assets_tests.test_packed import TABLES

(BTC,) = load_universe().select(["binance_spot.BTC-USDT"])
DAY = dt.datetime(2025, 6, 1, tzinfo=dt.UTC)
MINUTE = dt.timedelta(minutes=1)
STEPS = {"5m": "5min", "15m": "15min", "30m": "30min", "1h": "1h", "4h": "4h", "1d": "1D"}
SUMS = ("volume", "quote_volume", "contract_volume", "trade_count", "taker_buy_base_volume", "taker_buy_quote_volume")
# What is derived, but for when.
VALUES = (
    "interval, timestamp, close_time, open, high, low, close, volume, quote_volume, contract_volume, trade_count,"
    " taker_buy_base_volume, taker_buy_quote_volume, minutes_present, minutes_expected, is_complete, source, batch_id"
)


def emptied_bars(client: Client) -> None:
    for table in (*TABLES, "derived_bars"):
        client.command("TRUNCATE TABLE analytics.{t:Identifier}", parameters={"t": table})


def landed(
    client: Client, minutes: list[dict[str, object]], at: dt.datetime, days: int = 1, start: dt.datetime = DAY
) -> None:
    """Minutes with a `timestamp` and what else is said of them, from landing to what is derived."""
    count = len(minutes)
    same = {
        "venue": BTC.venue,
        "symbol": BTC.symbol,
        "interval": "1m",
        "source": "rest",
        "batch_id": str(uuid.UUID(int=7)),
    }
    columns = {name: pa.array([value] * count) for name, value in same.items()}
    moments = pa.timestamp("ms", "UTC")
    columns["timestamp"] = pa.array([m["timestamp"] for m in minutes], moments)
    columns["ingested_at"] = pa.array([at] * count, moments)
    columns["is_closed"] = pa.array([True] * count)
    for name in ("open", "high", "low", "close", *SUMS):
        kind = pa.uint64() if name == "trade_count" else pa.float64()
        columns[name] = pa.array([m.get(name) for m in minutes], kind)
    client.insert_arrow("analytics.landing_bars", pa.table(columns))
    part = Rectangle((BTC,), start.date(), start.date() + dt.timedelta(days=days))
    stage(client, part, BARS, ["1m"])
    publish(client, part, BARS, ["1m"])


def derived(client: Client, what: str = VALUES) -> pd.DataFrame:
    return client.query_df(f"SELECT {what} FROM analytics.v_derived_bars ORDER BY interval, timestamp", tz_mode="aware")


def minute(offset_ms: int, price: float, volume: float, said: float | None) -> dict[str, object]:
    prices = {"open": price, "high": price * 1.5, "low": price / 2, "close": price * 1.25}
    more = dict.fromkeys(("quote_volume", "taker_buy_base_volume", "taker_buy_quote_volume"), said)
    return {"timestamp": DAY + dt.timedelta(milliseconds=offset_ms), **prices, "volume": volume, **more}


MINUTES = st.lists(
    st.tuples(
        # On the grid mostly; some open beside it, as Binance's did in 2017.
        st.integers(0, 1439).map(lambda n: n * 60_000) | st.integers(0, 86_399_999),
        st.integers(1, 10**12).map(lambda n: n / 1e4),
        st.integers(0, 10**12).map(lambda n: n / 1e8) | st.floats(0, 1e12),
        st.none() | st.integers(0, 10**12).map(lambda n: n / 1e8) | st.floats(0, 1e12),
    ),
    min_size=1,
    max_size=60,
)  # fmt: skip


def test_any_order_of_publishing_makes_what_a_rebuild_makes(migrated: Client) -> None:
    @hypothesis.settings(max_examples=15, deadline=None)
    @hypothesis.given(st.lists(MINUTES, min_size=1, max_size=4))
    @hypothesis.example([[(86_399_999, 4.8669, 0.0, None)], [(0, 0.0001, 0.0, None)]])
    def law(rounds: list[list[tuple[int, float, float, float | None]]]) -> None:
        emptied_bars(migrated)
        for number, told in enumerate(rounds):
            at = DAY + dt.timedelta(days=9, hours=number)
            landed(migrated, [minute(*m) for m in {m[0]: m for m in told}.values()], at)
        grown = derived(migrated)
        migrated.command("TRUNCATE TABLE analytics.derived_bars")
        publish(migrated, Rectangle((BTC,), DAY.date(), DAY.date() + dt.timedelta(days=1)), BARS, ["1m"])
        pd.testing.assert_frame_equal(grown, derived(migrated), check_exact=True)
        resampled(migrated)

    law()


def resampled(client: Client) -> None:
    """What is derived is what pandas makes of the minutes that are published."""
    minutes = client.query_df(
        "SELECT * FROM analytics.v_bars WHERE interval = '1m' ORDER BY timestamp", tz_mode="aware"
    ).set_index("timestamp")
    ours = derived(client)
    for interval, step in STEPS.items():
        buckets = minutes.resample(step)
        wanted = buckets.agg({"open": "first", "high": "max", "low": "min", "close": "last"})
        present = buckets.size()
        wanted = wanted[present > 0]
        found = ours[ours["interval"] == interval].set_index("timestamp")
        assert list(found.index) == list(wanted.index)
        for name in wanted.columns:
            assert list(found[name]) == list(wanted[name]), (interval, name)
        for name in SUMS:
            summed = buckets[name].apply(lambda parts: parts.astype(float).sum(skipna=False))[present > 0]
            # Sums of doubles in another order: all but the last digits.
            assert list(found[name].astype(float)) == pytest.approx(list(summed), rel=1e-12, abs=1e-12, nan_ok=True), (
                name
            )
        slots = minutes.groupby(minutes.index.floor(step)).apply(lambda rows: rows.index.floor("1min").nunique())
        assert list(found["minutes_present"]) == list(slots)


def test_a_rerun_changes_nothing_and_an_open_bucket_is_not_there(migrated: Client) -> None:
    today = dt.datetime.now(dt.UTC).replace(second=0, microsecond=0) - MINUTE
    now = [dict(minute(0, 10.0, 1.0, 2.0), timestamp=today - n * MINUTE) for n in range(3)]
    start = (today - 2 * MINUTE).replace(hour=0, minute=0)
    landed(migrated, now, today + MINUTE, days=2, start=start)
    there = derived(migrated)
    closed = (
        (there["timestamp"] + there["interval"].map(lambda i: pd.Timedelta(STEPS[i]))).max() if len(there) else None
    )
    assert closed is None or closed <= pd.Timestamp(today + MINUTE)
    emptied_bars(migrated)
    landed(migrated, [minute(n * 60_000, 10.0, 1.0, 2.0) for n in range(60) if n != 7], DAY + dt.timedelta(days=9))
    kept = migrated.query("SELECT count(), max(version) FROM analytics.derived_bars").result_rows
    landed(migrated, [minute(0, 10.0, 1.0, 2.0)], DAY + dt.timedelta(days=10))
    assert migrated.query("SELECT count(), max(version) FROM analytics.derived_bars").result_rows == kept
    landed(migrated, [minute(7 * 60_000, 10.0, 1.0, 2.0)], DAY + dt.timedelta(days=11))
    hours = derived(migrated, "interval, timestamp, volume, vwap, minutes_present, is_complete")
    (hour,) = hours[hours["interval"] == "1h"].to_dict("records")
    assert (hour["volume"], hour["vwap"], hour["minutes_present"], hour["is_complete"]) == (60.0, 2.0, 60, True)


def test_a_day_published_in_pieces_makes_what_it_makes_at_once(
    migrated: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = [minute(n * 3_600_000, 10.0 + n, 1.0, 2.0) for n in range(24)]
    landed(migrated, told, DAY + dt.timedelta(days=9))
    at_once = derived(migrated)
    emptied_bars(migrated)
    monkeypatch.setattr(partitions, "ROWS_PER_STATEMENT", 420)  # seven hours of one instrument's minutes
    landed(migrated, told, DAY + dt.timedelta(days=9))
    pd.testing.assert_frame_equal(at_once, derived(migrated), check_exact=True)


def test_days_published_before_there_were_derived_bars_get_theirs(
    migrated: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in (DAY, DAY + dt.timedelta(days=1), DAY + dt.timedelta(days=40)):
        told = [dict(minute(0, 10.0, 1.0, 2.0), timestamp=day + n * 7 * MINUTE) for n in range(100)]
        landed(migrated, told, DAY + dt.timedelta(days=50), start=day)
    kept = derived(migrated)
    lost = "DELETE FROM analytics.derived_bars WHERE timestamp >= '2025-06-01 06:00:00'"  # the first day was cut short
    migrated.command(lost, settings={"mutations_sync": 2})
    monkeypatch.setattr(mart, "ROWS_PER_STATEMENT", 1)
    assert mart.derive_what_lacks(migrated, BARS, mart.publishing(tmp_path)) == 3
    pd.testing.assert_frame_equal(kept, derived(migrated), check_exact=True)
    assert mart.derive_what_lacks(migrated, BARS, mart.publishing(tmp_path)) == 0


def test_the_past_is_what_it_was(migrated: Client) -> None:
    landed(migrated, [minute(n * 60_000, 10.0, 1.0, 2.0) for n in range(60)], DAY + dt.timedelta(days=9))
    (before,) = migrated.query("SELECT max(published_at) FROM analytics.bars_history").result_rows[0]
    first = derived(migrated)
    landed(migrated, [minute(0, 30.0, 5.0, None)], DAY + dt.timedelta(days=10))
    told = {"as_of": before, "ids": [BTC.instrument_id]}
    asked = (
        "SELECT interval, timestamp, minutes_present, open_e8, volume_e8, quote_volume_e8"
        " FROM analytics.derived_bars_as_of(as_of = {as_of:DateTime64(3, 'UTC')}, instruments = {ids:Array(UInt32)},"
        " intervals = ['5m', '15m', '30m', '1h', '4h', '1d'],"
        " start = '2025-06-01 00:00:00.000', end = '2025-06-02 00:00:00.000') ORDER BY interval, timestamp"
    )
    past = migrated.query_df(asked, parameters=told)
    assert list(past["interval"]) == list(first["interval"])
    assert list(past["open_e8"] / 1e8) == list(first["open"])
    assert list(past["quote_volume_e8"] / 1e8) == list(first["quote_volume"])
    later = derived(migrated)
    assert later[later["interval"] == "1h"]["quote_volume"].isna().all()
    assert list(later[later["interval"] == "1h"]["open"]) == [30.0]


@pytest.mark.recorded
def test_a_recorded_month_with_minutes_off_the_grid(migrated: Client, recorded: Path) -> None:
    start, end = dt.datetime(2017, 12, 1, tzinfo=dt.UTC), dt.datetime(2018, 1, 1, tzinfo=dt.UTC)
    minutes = between(recorded / "market-data" / "klines" / "binance_spot" / "BTCUSDT" / "1m", start, end)
    landed(migrated, minutes, end + dt.timedelta(days=9), days=31, start=start)
    resampled(migrated)
    ours = derived(migrated)
    assert not ours["is_complete"].all()


def between(folder: Path, start: dt.datetime, end: dt.datetime) -> list[dict[str, object]]:
    """Recorded bars as they are landed; of numbers those that all files of both lengths have."""
    names = ["open_time", "open", "high", "low", "close", "volume"]
    files = [pq.read_table(f, columns=names).to_pandas() for f in sorted(folder.glob("*.parquet"))]
    whole = pd.concat(files).rename(columns={"open_time": "timestamp"})
    whole["timestamp"] = pd.to_datetime(whole["timestamp"].astype("int64"), unit="ms", utc=True)
    whole = whole[(whole["timestamp"] >= start) & (whole["timestamp"] < end)].drop_duplicates("timestamp")
    for name in names[1:]:
        whole[name] = whole[name].astype(str).astype(float)
    return whole.to_dict("records")
