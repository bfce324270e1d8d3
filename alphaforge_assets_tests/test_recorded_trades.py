"""Real recorded trades, value for value: ids, sides and amounts as the venue told them, and the minutes they make."""

import datetime as dt
import json
from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from clickhouse_connect.driver.client import Client

from alphaforge_assets.datasets.bars import BARS
from alphaforge_assets.datasets.trades import TRADES
from alphaforge_assets.errors import VenueUnavailable
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.quality.checks import every_check, offenders
from alphaforge_assets.refresh import refresh
from alphaforge_assets.sandbox import process as sandbox
from alphaforge_assets.universe import Instrument, Universe
from alphaforge_assets.venues.directory import VENUES, Exchanges
from alphaforge_assets.venues.trade_rows import parse_trades
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
            "coinbase_spot": {"instruments": [{"symbol": "BTC/USD", "trades": True}]},
        },
    }
)
BTC, XRP, PERP, COINBASE = UNIVERSE.instruments
NIGHT = (dt.date(2024, 8, 8), dt.date(2024, 8, 10))
NOW = dt.datetime(2024, 8, 9, 12, tzinfo=dt.UTC)
FILES = {
    BTC: "binance_spot/BTCUSDT",
    PERP: "binance_um/BTCUSDT",
    XRP: "binance_spot/XRPETH",
    COINBASE: "coinbase_spot/BTC-USD",
}


@pytest.fixture
def venues(recorded: Path, tmp_path: Path) -> Iterator[tuple[str, Exchanges]]:
    with sandbox.start(recordings=recorded / "market-data", now=NOW, budget_scale=LIFTED) as url:
        yield url, lifted(url, tmp_path / "governor.sqlite3")


def source(recorded: Path, instrument: Instrument) -> list[dict[str, Any]]:
    (file,) = (recorded / "market-data/trades" / FILES[instrument]).glob("*.parquet")
    return sorted(pq.read_table(file).to_pylist(), key=lambda row: int(row.get("trade_id", 0)))


def bring(client: Client, exchanges: Exchanges, part: Rectangle, **more: Any) -> None:
    landed = refresh(client, exchanges, UNIVERSE, part, TRADES, run_id="test", **{"wish": "rest"} | more)
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


def test_recorded_trades_of_coinbase_arrive_value_for_value_whatever_becomes_of_a_page(
    emptied: Client, recorded: Path, tmp_path: Path
) -> None:
    """To the microsecond; the file has the taker's side and no ids, and the sandbox tells the maker's, as Coinbase."""
    now, part = dt.datetime(2023, 9, 5, 18, tzinfo=dt.UTC), Rectangle(
        (COINBASE,), dt.date(2023, 9, 5), dt.date(2023, 9, 6)
    )  # fmt: skip
    expected = [
        {
            "trade_id": number, "side": r["side"], "price": float(str(r["price"])), "quantity": float(str(r["amount"])),
            "timestamp_unix": round(dt.datetime.fromisoformat(r["time_iso"]).timestamp() * 1_000_000),
            "first_id": number, "last_id": number,
        }
        for number, r in enumerate(source(recorded, COINBASE), 1)
    ]  # fmt: skip
    sides = [(row["side"], row["price"]) for row in expected]
    # A taker buys at what is asked and sells at what is bid: after a sale a purchase is dearer mostly.
    steps = [b[1] - a[1] for a, b in pairwise(sides) if (a[0], b[0]) == ("sell", "buy")]
    assert sum(step > 0 for step in steps) > 2 * sum(step < 0 for step in steps)
    with sandbox.start(recordings=recorded / "market-data", now=now, budget_scale=LIFTED) as url:
        exchanges = lifted(url, tmp_path / "governor.sqlite3")
        bring(emptied, exchanges, part)
        assert published(emptied, COINBASE) == expected
        assert failing(emptied, part) == {}
        kinds = {"holes": {"rows": 300}, "turned": {}, "elsewhere": {"value": 500}, "double": {"value": 1, "rows": 900}}
        for skip, (kind, more) in enumerate(kinds.items()):
            fault(url, path="/products/{id}/trades", kind=kind, skip=30 + 2 * skip, **more)
        bring(emptied, exchanges, part, refetch=True)
        assert published(emptied, COINBASE) == expected
        assert failing(emptied, part) == {}


@pytest.mark.parametrize(
    ("venue", "file", "symbol"),
    [
        ("coinbase_spot", "coinbaseexchange", "BTC-USDT"),
        ("kraken_spot", "kraken", "XBTUSDT"),
        ("okx_spot", "okx", "BTC-USDT"),
        ("bybit_perp", "bybit", "BTCUSDT"),
    ],
)
def test_a_recorded_answer_reads_as_ccxt_reads_it(venue: str, file: str, symbol: str, recorded: Path) -> None:
    cases = json.loads((recorded / f"wire/ccxt-static/response/{file}.json").read_text())["methods"]["fetchTrades"]
    feed = VENUES[venue].trades
    assert feed is not None
    table = parse_trades(feed.layout, feed.rows(cases[0]["httpResponse"], symbol), symbol)
    (row,), (theirs,) = table.to_pylist(), cases[0]["parsedResponse"]
    assert row["trade_uuid"] or str(row["trade_id"]) == theirs["id"]
    assert row["trade_uuid"] in ("", theirs["id"])
    assert (row["side"], row["price"], row["quantity"]) == (theirs["side"], theirs["price"], theirs["amount"])
    assert row["timestamp"].timestamp() * 1000 == pytest.approx(theirs["timestamp"], abs=1)
    # ccxt adds Kraken's `last` to its row; OKX's trades had no `source` then.
    assert row["metadata"] == ('{"7":"1710327959173746878"}' if venue == "kraken_spot" else "")


def test_what_bybit_and_okx_stream_of_trades_reads_alike_by_rest(recorded: Path) -> None:
    """The example in Bybit's page has digits for a name, and more fields than the recorded answer."""
    page = (recorded / "wire/docs/bybit-v5/recent-trade.mdx").read_text()
    answer = json.loads(page.split("### Response Example")[1].split("```json")[1].split("```")[0])
    feed = VENUES["bybit_spot"].trades
    assert feed is not None
    (row,) = parse_trades(feed.layout, feed.rows(answer, "BTCUSDT"), "BTCUSDT").to_pylist()
    assert (row["trade_uuid"], row["trade_id"], row["side"]) == ("2100000000007764263", 2100000000007764263, "buy")
    assert json.loads(row["metadata"]) == {"isRPITrade": True, "seq": "123456"}
    lines = (recorded / "wire/websocket-2026/okx_trades.jsonl").read_text().splitlines()
    streamed = [r for line in lines for r in json.loads(line).get("data", []) if r["instId"].endswith("-SWAP")]
    swap = VENUES["okx_perp"].trades
    assert swap is not None
    assert streamed
    for one in streamed:  # told by stream in aggregates; field by field as REST's
        (its,) = parse_trades(swap.layout, [one], one["instId"], 0.01).to_pylist()
        assert its["contract_quantity"] == float(one["sz"])
        assert its["quantity"] == float(Decimal(one["sz"]) * Decimal("0.01"))
    with pytest.raises(VenueUnavailable, match="does not say how much base one is"):
        parse_trades(swap.layout, streamed[:1], streamed[0]["instId"])


def test_recorded_trades_are_the_same_from_files_as_from_rest(
    emptied: Client, recorded: Path, venues: tuple[str, Exchanges]
) -> None:
    _, exchanges = venues
    for instrument, first, last in ((XRP, dt.date(2019, 10, 10), dt.date(2019, 10, 15)), (BTC, NIGHT[0], NIGHT[1])):
        part = Rectangle((instrument,), first, last)
        landed = refresh(emptied, exchanges, UNIVERSE, part, TRADES, run_id="files", wish="archive")
        from_files = published(emptied, instrument)
        assert landed.by_source == {"archive_daily": len(from_files)}
        assert len(from_files) > 1000
        # Before the first trade of what is recorded and after its last one files cannot know: there REST is asked.
        edges = [failure.window for failure in landed.failures]
        known = [dt.datetime.fromtimestamp(row["timestamp_unix"] / 1e6, dt.UTC) for row in from_files]
        assert not any(w.start <= at < w.end for w in edges for at in (known[0], known[-1]))
        bring(emptied, exchanges, part, wish="rest", refetch=True)
        assert failing(emptied, part).keys() <= {"trade_ids_are_continuous"}  # not: trades_do_not_contradict
        by_rest = emptied.query(
            "SELECT DISTINCT trade_id, side, price, quantity, toUnixTimestamp64Micro(timestamp) AS timestamp_unix,"
            " first_id, last_id FROM analytics.landing_trades WHERE source = 'rest' AND instrument_id = {i:UInt32}"
            " AND timestamp <= {end:DateTime64(6, 'UTC')} ORDER BY trade_id",
            parameters={"i": instrument.instrument_id, "end": known[-1]},
        )
        assert list(by_rest.named_results()) == from_files
