"""Real recorded funding, value for value: what venues once settled is what researchers read, jitter and changes too."""

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from clickhouse_connect.driver.client import Client

from alphaforge_assets.datasets.funding_rates import FUNDING_RATES
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.pipeline.landing import Landed, land
from alphaforge_assets.pipeline.mart import publish
from alphaforge_assets.pipeline.staging import stage
from alphaforge_assets.quality.checks import every_check, offenders
from alphaforge_assets.quality.coverage import judge
from alphaforge_assets.sandbox import process as sandbox
from alphaforge_assets.universe import Instrument, Universe
from alphaforge_assets.venues.directory import Exchanges
from alphaforge_assets_tests.conftest import LIFTED, lifted

pytestmark = pytest.mark.recorded

UNIVERSE = Universe.model_validate(
    {
        "history_start": dt.date(2019, 9, 1),
        "intervals": ["1h"],
        "venues": {
            "binance_perp": {"instruments": [f"{base}/USDT" for base in ("BTC", "ETH", "SOL", "XRP", "BNB")]},
            "okx_perp": {"instruments": [f"{base}/USDT" for base in ("BTC", "ETH", "SOL")]},
            "bybit_perp": {"instruments": [f"{base}/USDT" for base in ("BTC", "ETH")]},
        },
    }
)
PART = Rectangle(UNIVERSE.instruments, dt.date(2019, 9, 1), dt.date(2026, 8, 1))
NOW = dt.datetime(2026, 8, 1, 0, 10, tzinfo=dt.UTC)
FILES = {
    "binance_perp": "binance_um/{base}USDT.parquet",
    "okx_perp": "okx_swap/{base}-USDT-SWAP_*.parquet",
    "bybit_perp": "bybit_linear/{base}USDT_*.parquet",
}
MINUTE_MS = 60_000
# Missing settlements by instrument, verdict and whether they lie after the last recorded one.
LEDGER = {
    ("binance_perp.BTC", "unknown", False): 28,
    ("binance_perp.ETH", "unknown", False): 262,
    ("binance_perp.SOL", "unknown", False): 1136,
    ("binance_perp.XRP", "unknown", False): 382,
    ("binance_perp.BNB", "unknown", False): 487,
    **{(f"binance_perp.{base}", "unknown", True): 166 for base in ("BTC", "ETH", "SOL", "BNB")},
    ("binance_perp.XRP", "unknown", True): 165,
    ("bybit_perp.BTC", "not_listed", False): 6364,  # by the listing date that the sandbox tells
    ("bybit_perp.BTC", "unknown", False): 282,
    ("bybit_perp.ETH", "not_listed", False): 6646,
    **{(f"bybit_perp.{base}", "unknown", True): 30 for base in ("BTC", "ETH")},
    **{(f"okx_perp.{base}", "retention_lost", False): 0 for base in ("BTC", "ETH", "SOL")},
    **{(f"okx_perp.{base}", "unknown", True): 591 for base in ("BTC", "ETH", "SOL")},
}


def source(recorded: Path, instrument: Instrument) -> list[dict[str, Any]]:
    pattern = FILES[instrument.venue].format(base=instrument.base)
    files = sorted((recorded / "market-data/funding").glob(pattern))
    assert files, pattern
    return sorted(pa.concat_tables([pq.read_table(f) for f in files]).to_pylist(), key=lambda row: row["funding_time"])


def refresh(client: Client, exchanges: Exchanges, part: Rectangle = PART, *, refetch: bool = False) -> Landed:
    landed = land(client, exchanges, part, FUNDING_RATES, [""], run_id="test", refetch=refetch)
    stage(client, part, FUNDING_RATES, [""])
    publish(client, part, FUNDING_RATES, [""])
    return landed


def counts(client: Client) -> dict[str, int]:
    tables = ("landing_funding_rates", "funding_rates_history", "funding_rates", "v_funding")
    return {
        t: client.query(
            "SELECT count() FROM {d:Identifier}.{t:Identifier}", parameters={"d": "analytics", "t": t}
        ).result_rows[0][0]
        for t in tables
    }


def read(client: Client, instrument: Instrument) -> list[dict[str, Any]]:
    found = client.query(
        "SELECT timestamp_unix, toUnixTimestamp64Milli(timestamp_raw) AS raw, rate, predicted_rate, mark_price,"
        " interval_hours, rate_type, rate_bound, is_out_of_bounds FROM analytics.v_funding"
        " WHERE instrument_id = {i:UInt32} ORDER BY timestamp",
        parameters={"i": instrument.instrument_id},
    )
    return list(found.named_results())


def test_every_recorded_settlement_arrives_and_nothing_else(emptied: Client, recorded: Path, tmp_path: Path) -> None:
    with sandbox.start(recordings=recorded / "market-data", now=NOW, budget_scale=LIFTED) as url:
        exchanges = lifted(url, tmp_path / "governor.sqlite3")
        landed = refresh(emptied, exchanges)
        before = counts(emptied)
        again = refresh(emptied, exchanges)
        assert landed.failures == again.failures == []
        assert (again.rows, again.cost.requests) == (0, 0)
        assert counts(emptied) == before
        year = Rectangle(PART.instruments, dt.date(2025, 6, 1), dt.date(2026, 6, 1))
        refetched = refresh(emptied, exchanges, year, refetch=True)
    assert refetched.failures == []
    assert counts(emptied) == before | {"landing_funding_rates": landed.rows + refetched.rows}
    assert before["funding_rates_history"] == before["v_funding"] == landed.rows
    total = 0
    for instrument in PART.instruments:
        rows, stored = source(recorded, instrument), read(emptied, instrument)
        total += len(rows)
        assert [r["raw"] for r in stored] == [r["funding_time"] for r in rows], instrument.key
        assert [r["timestamp_unix"] for r in stored] == [r["funding_time"] // MINUTE_MS * MINUTE_MS for r in rows]
        # By way of text: what was written is the nearest double.
        assert [r["rate"] for r in stored] == [float(str(r["funding_rate"])) for r in rows], instrument.key
        marks = [float(r["mark_price_raw"]) if r.get("mark_price_raw") else None for r in rows]
        assert [r["mark_price"] for r in stored] == marks, instrument.key
        predicted = [r["rate"] for r in stored] if instrument.venue == "okx_perp" else [None] * len(rows)
        assert [r["predicted_rate"] for r in stored] == predicted
        assert {r["rate_type"] for r in stored} == {"regular"}
    assert total == landed.rows == 37_258
    check_rules(emptied, recorded)
    check_intervals(emptied)
    check_ledger(emptied)


def check_rules(client: Client, recorded: Path) -> None:
    """The recordings end before the last day asked for; no rule has anything else to say."""
    rules = [r for r in every_check() if r.asset.endswith("funding_rates")]
    broken = {rule.name: offenders(client, rule, PART, NOW) for rule in rules}
    ends = {(r["venue"], r["symbol"]): r["first"] for r in broken.pop("settlements_are_complete")}
    assert broken == {name: [] for name in broken}
    assert ends == {(i.venue, i.symbol): last_of(recorded, i) for i in PART.instruments}


def check_ledger(client: Client) -> None:
    """No recording has a hole in it, whatever its interval: what is missing lies before its first or after its last."""
    stable = "SELECT * EXCEPT last_seen FROM analytics.v_gaps ORDER BY venue, symbol, gap_start"
    judge(client, PART, FUNDING_RATES, UNIVERSE)
    found, days = list(client.query(stable).named_results()), coverage_of(client)
    judge(client, PART, FUNDING_RATES, UNIVERSE)
    assert (list(client.query(stable).named_results()), coverage_of(client)) == (found, days)
    assert all(g["is_open"] and g["dataset"] == "funding_rates" and g["interval"] == "" for g in found)
    missing = {(f"{g['venue']}.{g['symbol'][:3]}", g["verdict"], "since" in g["evidence"]): g["missing"] for g in found}
    assert len(missing) == len(found)
    assert missing == LEDGER
    present = {(venue, symbol): there for venue, symbol, _, there, _, _, _ in days}
    assert present == {(i.venue, i.symbol): len(read(client, i)) for i in PART.instruments}
    assert all(expected == there + absent for _, _, expected, there, absent, _, _ in days)


def coverage_of(client: Client) -> list[Any]:
    found: list[Any] = client.query(
        "SELECT venue, symbol, sum(expected), sum(present), sum(missing), min(score), max(computed_at)"
        " FROM analytics.v_coverage WHERE dataset = 'funding_rates' GROUP BY venue, symbol ORDER BY venue, symbol"
    ).result_rows
    return found


def check_intervals(client: Client) -> None:
    """SOL went from 8 h to 4 h, 2 h and back in November 2022, at rates of -2 %."""
    stored = read(client, UNIVERSE.instrument("binance_perp.SOL-USDT"))
    hours = [r["interval_hours"] for r in stored]
    assert hours[0] is None
    assert {h: hours.count(h) for h in set(hours[1:])} == {8.0: 6249, 4.0: 3, 2.0: 98}
    assert min(r["rate"] for r in stored) == -0.02
    zero = [r for r in read(client, UNIVERSE.instrument("binance_perp.BNB-USDT")) if r["rate"] == 0]
    assert len(zero) == 3477  # a rate of nothing is a rate


def last_of(recorded: Path, instrument: Instrument) -> dt.datetime:
    last_ms = source(recorded, instrument)[-1]["funding_time"] // MINUTE_MS * MINUTE_MS
    return dt.datetime.fromtimestamp(last_ms / 1000, dt.UTC)
