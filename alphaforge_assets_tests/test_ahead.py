"""Staging and publishing while landing is still at work: how far it gets, what it leaves, that nothing is lost."""

import datetime as dt
import threading
from pathlib import Path

import dagster as dg
import hypothesis
import pytest
from clickhouse_connect.driver.client import Client
from hypothesis import strategies as st

from alphaforge_assets.datasets.bars import BARS
from alphaforge_assets.definitions import build
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.pipeline.ahead import Ahead
from alphaforge_assets.refresh import refresh
from alphaforge_assets.sandbox import process as sandbox
from alphaforge_assets.universe import load_universe
from alphaforge_assets.warehouse.windows import Window
from alphaforge_assets_tests.conftest import LIFTED, empty, lifted
from alphaforge_assets_tests.installed import fault

UNIVERSE = load_universe()
BTC, ETH = UNIVERSE.select(["binance_spot.BTC-USDT", "binance_spot.ETH-USDT"])
FIRST = dt.date(2025, 1, 1)
WHOLE = Rectangle((BTC, ETH), FIRST, FIRST + dt.timedelta(days=12))
CHUNKS = [(0, 4), (4, 8), (8, 12)]


def window(instrument: int, interval: str, first: float, last: float) -> Window:
    start = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
    day = dt.timedelta(days=1)
    return Window((BTC, ETH)[instrument], interval, start + first * day, start + last * day)


def days_of(parts: list[Rectangle]) -> set[tuple[str, dt.date]]:
    return {(i.key, p.start + dt.timedelta(days=n)) for p in parts for i in p.instruments for n in range(p.days)}


@hypothesis.given(
    st.lists(
        st.tuples(st.integers(0, 1), st.sampled_from(["1m", "1h"]), st.sampled_from([*CHUNKS, (2, 3), (8, 11.5)])),
        max_size=14,
    ),
    st.lists(st.booleans(), max_size=6),
)
def test_what_is_not_left_was_brought_after_the_last_of_it_landed(
    landed: list[tuple[int, str, tuple[float, float]]], answers: list[bool]
) -> None:
    log: list[tuple[str, set[tuple[str, dt.date]]]] = []

    def bring(part: Rectangle) -> bool:
        is_done = answers.pop() if answers else True
        log.append(("brought" if is_done else "objected to", days_of([part])))
        return is_done

    ahead = Ahead(["1m", "1h"], bring)
    with ahead.working():
        for instrument, interval, (first, last) in landed:
            w = window(instrument, interval, first, last)
            days = {(w.instrument.key, FIRST + dt.timedelta(days=n)) for n in range(int(first), round(last + 0.4))}
            log.append(("landed", days))
            ahead.landed([w])
    left = days_of(ahead.left(WHOLE))
    for key in days_of([WHOLE]) - left:
        its = [what for what, days in log if key in days]
        assert its[-1] == "brought"
        assert its.count("landed") >= 2  # both intervals


def test_rows_that_land_while_their_days_are_brought_are_left_to_the_steps() -> None:
    begun, more_landed = threading.Event(), threading.Event()

    def bring(part: Rectangle) -> bool:
        begun.set()
        return more_landed.wait(10)

    ahead = Ahead(["1m"], bring)
    with ahead.working():
        ahead.landed([window(0, "1m", 0, 12), window(1, "1m", 0, 12)])
        assert begun.wait(10)
        ahead.landed([window(0, "1m", 3, 4.5)])
        more_landed.set()
    assert ahead.left(WHOLE) == [Rectangle((BTC,), WHOLE.start, WHOLE.end)]


def test_a_day_that_landed_by_the_hour_is_brought_when_it_is_whole() -> None:
    brought: list[Rectangle] = []
    begun = threading.Event()

    def bring(part: Rectangle) -> bool:
        brought.append(part)
        begun.set()
        return True

    ahead = Ahead([""], bring)
    with ahead.working():
        for hour in range(47):  # of the second day the last one never lands
            ahead.landed([window(0, "", hour / 24, (hour + 1) / 24)])
        assert begun.wait(10)
    day = dt.timedelta(days=1)
    assert brought == [Rectangle((BTC,), FIRST, FIRST + day)]
    assert ahead.left(Rectangle((BTC,), FIRST, FIRST + 2 * day)) == [Rectangle((BTC,), FIRST + day, FIRST + 2 * day)]


def test_trouble_of_the_warehouse_ends_the_step() -> None:
    begun = threading.Event()

    def bring(part: Rectangle) -> bool:
        begun.set()
        raise ConnectionError("the warehouse is down")

    ahead = Ahead(["1m"], bring)

    def work() -> None:
        with ahead.working():
            ahead.landed([window(0, "1m", 0, 12)])
            assert begun.wait(10)

    with pytest.raises(ConnectionError, match="is down"):
        work()
    assert days_of(ahead.left(WHOLE)) == days_of([WHOLE])


def digest(client: Client) -> list[tuple[int, ...]]:
    """Rows and an order-free hash of what the tables of a chain hold; staging holds keys, the mart values as well."""
    key = "instrument_id, interval, timestamp"
    queries = [
        f"SELECT count(), sum(cityHash64({key})) FROM analytics.staging_bars FINAL",
        *(
            f"SELECT count(), sum(cityHash64({key}, open, high, low, close, volume)) FROM analytics.{table} FINAL"
            for table in ("bars", "bars_history")
        ),
    ]
    return [client.query(query).result_rows[0] for query in queries]


@pytest.mark.slow
def test_a_run_publishes_the_first_month_while_the_last_is_on_the_wire(emptied: Client, tmp_path: Path) -> None:
    part = Rectangle((BTC,), FIRST, dt.date(2025, 4, 1))
    with (
        sandbox.start(now=dt.datetime(2025, 7, 1, tzinfo=dt.UTC), budget_scale=LIFTED) as url,
        dg.DagsterInstance.local_temp(str(tmp_path)) as instance,
    ):
        venues = lifted(url, tmp_path / "governor.sqlite3")
        fault(url, path="/api/v3/klines", kind="drip", seconds=4, skip=132)  # the last page but one
        definitions = build(UNIVERSE, {"warehouse": emptied, "exchanges": venues, "universe": UNIVERSE})
        run = definitions.resolve_job_def("refresh_bars").execute_in_process(instance=instance, tags=part.tags())
        assert run.success
        query = """
            SELECT toMonth(timestamp) AS month,
                max(published_at) < (SELECT max(ingested_at) FROM analytics.landing_bars)
            FROM analytics.bars_history GROUP BY month ORDER BY month"""
        assert [bool(is_sooner) for _, is_sooner in emptied.query(query).result_rows] == [True, True, False]
        assert len(instance.get_materialized_partitions(dg.AssetKey("bars"))) == part.days
        with_it = digest(emptied)
        empty(emptied)
        refresh(emptied, venues, UNIVERSE, part, BARS, run_id="plain")
    assert with_it == digest(emptied)
