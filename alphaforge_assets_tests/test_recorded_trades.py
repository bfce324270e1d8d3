"""Real recorded trades, value for value: ids, sides and amounts as the venue told them, and the minutes they make."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from clickhouse_connect.driver.client import Client

from alphaforge_assets.datasets.bars import BARS
from alphaforge_assets.datasets.trades import TRADES
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.quality.checks import every_check, offenders
from alphaforge_assets.refresh import refresh
from alphaforge_assets.sandbox import process as sandbox
from alphaforge_assets.universe import Instrument, Universe
from alphaforge_assets.venues.directory import Exchanges
from alphaforge_assets_tests.conftest import LIFTED, lifted
from alphaforge_assets_tests.installed import call, fault

pytestmark = pytest.mark.recorded

UNIVERSE = Universe.model_validate(
    {
        "history_start": dt.date(2019, 9, 1),
        "intervals": ["1m"],
        "venues": {
            "binance_spot": {"instruments": [{"symbol": s, "trades": True} for s in ("BTC/USDT", "XRP/ETH")]},
            "binance_perp": {"instruments": [{"symbol": "BTC/USDT", "trades": True}]},
        },
    }
)
BTC, XRP, PERP = UNIVERSE.instruments
NIGHT = (dt.date(2024, 8, 8), dt.date(2024, 8, 10))
NOW = dt.datetime(2024, 8, 9, 12, tzinfo=dt.UTC)
FILES = {BTC: "binance_spot/BTCUSDT", PERP: "binance_um/BTCUSDT", XRP: "binance_spot/XRPETH"}


@pytest.fixture
def venues(recorded: Path, tmp_path: Path) -> Iterator[tuple[str, Exchanges]]:
    with sandbox.start(recordings=recorded / "market-data", now=NOW, budget_scale=LIFTED) as url:
        yield url, lifted(url, tmp_path / "governor.sqlite3")


def source(recorded: Path, instrument: Instrument) -> list[dict[str, Any]]:
    (file,) = (recorded / "market-data/trades" / FILES[instrument]).glob("*.parquet")
    return sorted(pq.read_table(file).to_pylist(), key=lambda row: int(row["trade_id"]))


def bring(client: Client, exchanges: Exchanges, part: Rectangle, **more: Any) -> None:
    landed = refresh(client, exchanges, UNIVERSE, part, TRADES, run_id="test", **more)
    assert landed.failures == []


def published(client: Client, instrument: Instrument) -> list[dict[str, Any]]:
    found = client.query(
        "SELECT trade_id, side, price, quantity, timestamp_unix, first_id, last_id FROM analytics.v_trades"
        " WHERE instrument_id = {i:UInt32} ORDER BY trade_id",
        parameters={"i": instrument.instrument_id},
    )
    return list(found.named_results())


def failing(client: Client, part: Rectangle) -> dict[str, int]:
    found = {c.name: offenders(client, c, part, NOW) for c in every_check() if c.dataset is TRADES}
    return {name: sum(row["rows"] for row in rows) for name, rows in found.items() if rows}


def taker(row: dict[str, Any]) -> str:
    return "sell" if row["is_buyer_maker"] else "buy"


def test_single_trades_are_all_in_the_aggregates_and_make_the_recorded_bars(
    emptied: Client, recorded: Path, venues: tuple[str, Exchanges]
) -> None:
    _, exchanges = venues
    for instrument in (BTC, PERP):
        part = Rectangle((instrument,), *NIGHT)
        bring(emptied, exchanges, part)
        singles, aggregates = source(recorded, instrument), published(emptied, instrument)
        of_id = {row["trade_id"]: row for row in singles}
        spans = [range(a["first_id"], a["last_id"] + 1) for a in aggregates]
        assert [n for span in spans for n in span] == [s["trade_id"] for s in singles]
        for a, span in zip(aggregates, spans, strict=True):
            its = [of_id[n] for n in span]
            told = {(taker(s), float(s["price"]), s["time"] * 1000) for s in its}
            assert told == {(a["side"], a["price"], a["timestamp_unix"])}
            assert a["quantity"] == pytest.approx(float(sum(s["qty"] for s in its)), rel=1e-12)
        assert failing(emptied, part) == {}
    part = Rectangle((BTC,), *NIGHT)
    refresh(emptied, exchanges, UNIVERSE, part, BARS, run_id="bars")
    (check,) = [c for c in every_check() if c.dataset is TRADES and c.name == "trades_rebuild_bars"]
    # The files have no count and no taker volume of these bars, and the sandbox makes them up: not from trades.
    other = {r["first"]: r["what"].split(":")[0].split(", ") for r in offenders(emptied, check, part, NOW)}
    first = dt.datetime(2024, 8, 8, 23, 54, tzinfo=dt.UTC)
    minutes = [first + n * dt.timedelta(minutes=1) for n in range(12)]
    whole = [m for m in minutes if not {"open", "high", "low", "close", "volume"} & set(other.get(m, []))]
    assert whole == minutes[1:-1]  # what is recorded begins and ends within a minute


def test_recorded_aggregates_arrive_value_for_value(
    emptied: Client, recorded: Path, venues: tuple[str, Exchanges]
) -> None:
    url, exchanges = venues
    part = Rectangle((XRP,), dt.date(2019, 10, 10), dt.date(2019, 10, 15))
    bring(emptied, exchanges, part)
    rows = source(recorded, XRP)
    expected = [
        {
            "trade_id": r["trade_id"], "side": taker(r), "price": float(str(r["price"])),
            "quantity": float(str(r["qty"])), "timestamp_unix": r["time"] * 1000,
            "first_id": r["first_trade_id"], "last_id": r["last_trade_id"],
        }
        for r in rows
    ]  # fmt: skip
    assert published(emptied, XRP) == expected
    ids = np.array([r["trade_id"] for r in rows])
    holes = int((np.diff(ids) - 1).sum())
    assert failing(emptied, part) == ({"trade_ids_are_continuous": holes} if holes else {})
    kinds = {"holes": {"rows": 300}, "turned": {}, "elsewhere": {"value": 500}, "double": {"value": 1, "rows": 900}}
    for skip, (kind, more) in enumerate(kinds.items()):
        fault(url, path="/api/v3/aggTrades", kind=kind, skip=30 * skip, **more)
    bring(emptied, exchanges, part, refetch=True)
    assert call(f"{url}/_faults") == []
    assert published(emptied, XRP) == expected
    assert failing(emptied, part) == ({"trade_ids_are_continuous": holes} if holes else {})
