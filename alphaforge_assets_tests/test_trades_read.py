"""Trades as people read them: batches, a snapshot, and through Dagster by the installed command."""

import csv
import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from clickhouse_connect.driver.client import Client

from alphaforge_assets.datasets.trades import TRADES
from alphaforge_assets.errors import BadInput, CoverageError
from alphaforge_assets.exports.export import LAYOUTS, OF_TRADES, Order, export
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.quality.checks import every_check, offenders
from alphaforge_assets.refresh import refresh
from alphaforge_assets.research import IncompleteWarning, Research
from alphaforge_assets.research.trades import METADATA
from alphaforge_assets.sandbox import process as sandbox
from alphaforge_assets.universe import Universe
from alphaforge_assets.warehouse.client import open_warehouse
from alphaforge_assets_tests.conftest import LIFTED, lifted
from alphaforge_assets_tests.installed import Installed, call, fault

NOW = dt.datetime(2025, 6, 2, 1, 10, tzinfo=dt.UTC)
KEY = "binance_spot.ETH-BTC"
HOUR = ("2025-06-02T00:00", "2025-06-02T01:00")
LISTED = [{"symbol": "ETH/BTC", "trades": True}, {"symbol": "SOL/BTC", "trades": True}]
UNIVERSE = Universe.model_validate(
    {"history_start": dt.date(2025, 1, 1), "intervals": ["1m"], "venues": {"binance_spot": {"instruments": LISTED}}}
)
PART = Rectangle(UNIVERSE.instruments, dt.date(2025, 6, 2), dt.date(2025, 6, 3))


@pytest.fixture(scope="module")
def venues() -> Iterator[str]:
    with sandbox.start(now=NOW, budget_scale=LIFTED) as url:
        yield url


@pytest.fixture
def research(emptied: Client, venues: str, tmp_path: Path) -> Research:
    exchanges = lifted(venues, tmp_path / "governor.sqlite3")
    landed = refresh(emptied, exchanges, UNIVERSE, PART, TRADES, run_id="test", wish="rest")
    assert landed.failures == []
    return Research(emptied, UNIVERSE)


def test_trades_come_in_batches_in_the_order_of_their_ids(research: Research) -> None:
    found = research.trades(KEY, *HOUR, require_complete=True)
    assert isinstance(found, pa.RecordBatchReader)
    table = found.read_all()
    names = ["timestamp", "trade_id", "side", "price", "quantity", "quote_quantity", "source"]
    assert table.schema.names == names
    assert table.schema.field("timestamp").type == pa.timestamp("us", "UTC")
    ids = table["trade_id"].to_pylist()
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert len(ids) > 1000
    says = json.loads(table.schema.metadata[METADATA])
    assert (says["trades_missing"], says["minutes_unanswered"]) == (0, 0)
    again = research.trades(KEY, *HOUR, as_of=says["as_of"]).read_all()
    assert again.equals(table)
    frame = research.trades(["binance_spot.SOL-BTC", KEY], *HOUR, columns=["price", "first_id"]).read_pandas()
    assert list(frame.columns) == ["instrument", "timestamp", "price", "first_id"]
    assert list(frame.instrument.unique()) == [KEY, "binance_spot.SOL-BTC"]
    assert (frame.instrument == KEY).sum() == len(ids)
    with pytest.warns(IncompleteWarning, match="60 minutes have no answer of the venue"):
        assert research.trades(KEY, *HOUR, as_of="2025-01-01").read_all().num_rows == 0
    with pytest.raises(BadInput, match=r"trades have no 'prize'; did you mean price\?"):
        research.trades(KEY, *HOUR, columns="prize")
    with pytest.raises(BadInput, match=r"trades\(\) reads trades, in batches"):
        research.read("trades", KEY, *HOUR)


def test_landing_and_staging_are_compared_by_the_hour_and_then_by_id(research: Research) -> None:
    client = research.client
    (check,) = [c for c in every_check() if c.dataset is TRADES and c.name == "landing_is_accounted_for"]

    def told() -> list[tuple[str, int]]:
        return [(row["what"], row["rows"]) for row in offenders(client, check, PART, NOW)]

    ids = research.trades("binance_spot.SOL-BTC", *HOUR, columns="trade_id").read_all()["trade_id"].to_pylist()

    def lose(table: str, place: int) -> None:
        client.command(
            f"ALTER TABLE analytics.{table} DELETE WHERE symbol = 'SOL/BTC' AND trade_id = {ids[place]}"
            " SETTINGS mutations_sync = 1"
        )

    assert told() == []
    client.command(
        "INSERT INTO analytics.landing_trades SELECT * REPLACE (ingested_at - INTERVAL 1 DAY AS ingested_at)"
        " FROM analytics.landing_trades LIMIT 50"
    )
    assert told() == []  # superseded: what staging has is later
    lose("landing_trades", 700)
    assert told() == [("in staging, not in landing", 1)]
    lose("staging_trades", 500)
    assert sorted(told()) == [("in landing, neither staged nor superseded", 1), ("in staging, not in landing", 1)]


def test_what_is_missing_is_said_or_refused(emptied: Client, venues: str, tmp_path: Path) -> None:
    start = int(dt.datetime(2025, 6, 2, 0, 10, tzinfo=dt.UTC).timestamp() * 1000)
    fault(venues, path="/api/v3/aggTrades", kind="without", since=start, rows=1, times=1000, symbol="ETHBTC")
    research = Research(emptied, UNIVERSE)
    try:
        part = Rectangle(PART.instruments[:1], PART.start, PART.end)
        refresh(emptied, lifted(venues, tmp_path / "g.sqlite3"), UNIVERSE, part, TRADES, run_id="test", wish="rest")
    finally:
        call(f"{venues}/_faults", method="DELETE")
    with pytest.warns(IncompleteWarning, match=r"trades of binance_spot.ETH-BTC: \d+ trades are known to be missing"):
        research.trades(KEY, *HOUR)
    with pytest.raises(CoverageError, match="are known to be missing") as error:
        research.trades(KEY, *HOUR, require_complete=True)
    assert list(error.value.gaps.verdict) == ["unknown"]
    with pytest.raises(CoverageError, match="60 minutes have no answer of the venue"):
        research.trades(KEY, "2025-06-01T22:00", "2025-06-01T23:00", require_complete=True)


def test_a_snapshot_of_trades_is_the_same_for_ever(research: Research) -> None:
    pinned = research.pin("study", KEY, "1m", "2025-06-02", "2025-06-03", datasets="trades")
    assert research.verify("study")
    rows = research.trades(KEY, *HOUR, snapshot="study").read_all()
    research.client.command(
        "INSERT INTO analytics.trades (instrument_id, venue, symbol, timestamp, trade_kind, trade_id, trade_uuid,"
        " first_id, trade_count, side, price, quantity, quote_quantity, metadata,"
        " source, batch_id, ingested_at, published_at)"
        " SELECT instrument_id, venue, symbol, timestamp, trade_kind, 7, trade_uuid, 7, trade_count, side, price,"
        " quantity, quote_quantity, metadata, source, batch_id, ingested_at, now64(3) FROM analytics.trades"
        " WHERE symbol = 'ETH/BTC' LIMIT 1"
    )
    assert research.trades(KEY, *HOUR, snapshot="study").read_all().equals(rows)
    assert research.trades(KEY, *HOUR).read_all().num_rows == rows.num_rows + 1
    assert research.verify("study")
    changed = research.diff("study")
    assert list(changed.change) == ["added"]
    assert list(changed.new) == ["7"]
    assert pinned.rows >= rows.num_rows


def test_an_export_of_trades_is_all_or_nothing_and_can_be_repeated(research: Research, tmp_path: Path) -> None:
    keys = [i.key for i in UNIVERSE.instruments]
    span = [dt.datetime.fromisoformat(f"{text}+00:00") for text in HOUR]
    true = {key: research.trades(key, *HOUR, columns=list(TRADES.columns)).read_all() for key in keys}
    order = Order(LAYOUTS["parquet"], UNIVERSE.instruments, OF_TRADES, *span, {"require_complete": True})
    for _ in range(2):
        done = export(research, order, tmp_path)
        assert (done.files, done.rows, done.empty) == (2, sum(table.num_rows for table in true.values()), ())
    for key in keys:
        found = pq.read_table(tmp_path / f"{key}-trades.parquet")
        assert found.drop_columns("published_at").equals(true[key].drop_columns("published_at"))
        assert json.loads(found.schema.metadata[METADATA])["instruments"] == [key]
    (said,) = json.loads((tmp_path / "alphaforge-export.json").read_text())["exports"]
    assert (said["interval"], sorted(said["files"])) == ("trades", sorted(f"{key}-trades.parquet" for key in keys))
    assert said["receipts"][KEY]["trades_missing"] == 0
    catalog = tmp_path / "catalog"
    ticks = Order(LAYOUTS["nautilus"], UNIVERSE.instruments[:1], OF_TRADES, *span, {})
    assert export(research, ticks, catalog).files == 1
    (file,) = catalog.glob("data/trade_tick/ETHBTC.BINANCE/*.parquet")
    assert pq.read_table(file)["trade_id"].to_pylist() == [str(n) for n in true[KEY]["trade_id"].to_pylist()]
    longer = replace(ticks, end=span[1] - dt.timedelta(minutes=30))
    with pytest.raises(BadInput, match="two files would be read together"):
        export(research, longer, catalog)
    with pytest.raises(BadInput, match="--format csv: has no trades; parquet and nautilus have"):
        export(research, replace(order, layout=LAYOUTS["csv"]), tmp_path)
    hours = dt.timedelta(hours=3)
    early = replace(order, start=span[0] - hours, end=span[1] - hours, options={})
    with (
        pytest.warns(IncompleteWarning, match="have no answer"),
        pytest.raises(BadInput, match="no trades of these instruments in"),
    ):
        export(research, early, tmp_path)
    assert not list(tmp_path.glob(".alphaforge-*"))


FILE = """
history_start: 2025-06-01
intervals: [1m]
venues:
  binance_spot: {instruments: [{symbol: ETH/BTC, trades: true}, SOL/BTC]}
"""


@pytest.fixture(scope="module")
def alphaforge(tmp_path_factory: pytest.TempPathFactory, template: Path) -> Iterator[Installed]:
    """The command with a warehouse of its own and the sandbox of today."""
    with sandbox.start(budget_scale=LIFTED) as url:
        installed = Installed(tmp_path_factory.mktemp("trades"), url).furnished(template)
        (installed.root / "universe.yaml").write_text(FILE)
        with open_warehouse(installed.home):
            yield installed


def test_the_command_brings_and_shows_them(alphaforge: Installed, tmp_path: Path) -> None:
    more = {"ALPHAFORGE_UNIVERSE": str(alphaforge.root / "universe.yaml")}
    days = ("--from", "2025-06-02", "--to", "2025-06-03")
    rest = ("--source", "rest")  # whose words are kept for the replay: files stay with the venue
    said = alphaforge.well("backfill", "--datasets", "bars,trades", "--instruments", KEY, *days, *rest, **more)
    assert "rows of trades" in said
    again = alphaforge.well("backfill", "--datasets", "trades", "--instruments", KEY, *days, **more)
    assert "nothing to do" in again
    refused = alphaforge.run("backfill", "--datasets", "trades", "--instruments", "binance_spot.SOL-BTC", *days, **more)
    assert refused.returncode == 2
    assert "trades: true" in refused.stderr
    hour = ("--from", "2025-06-02T12:00", "--to", "2025-06-02T13:00")
    file = tmp_path / "trades.parquet"
    alphaforge.well("trades", KEY, *hour, "--require-complete", "--parquet", str(file), **more)
    table = pq.read_table(file)
    rows = list(csv.DictReader(alphaforge.well("trades", KEY, *hour, "--csv", **more).splitlines()))
    lines = [json.loads(line) for line in alphaforge.well("trades", KEY, *hour, "--json", **more).splitlines()]
    assert [int(row["trade_id"]) for row in rows] == table["trade_id"].to_pylist() == [r["trade_id"] for r in lines]
    assert [float(row["price"]) for row in rows] == table["price"].to_pylist() == [r["price"] for r in lines]
    assert rows[0]["timestamp"].startswith("2025-06-02T12:0")
    shown = alphaforge.well("trades", KEY, *hour, **more)
    assert f"{len(rows):,} trades" in shown
    status = json.loads(alphaforge.well("status", "--json", **more))
    (its,) = [row for row in status if row["interval"] == "trades"]
    assert (its["instrument"], its["missing"], its["score"]) == (KEY, 0, 100.0)
    assert its["rows"] > len(rows)
    gaps = json.loads(alphaforge.well("gaps", "--json", **more))
    assert [gap for gap in gaps if gap["dataset"] == "trades"] == []
    brought = alphaforge.well("replay", "--instruments", "binance_spot.*", **more)
    assert "0 trades from 24 files" in brought  # the ledger knows them
    elsewhere = {**more, "ALPHAFORGE_HOME": str(tmp_path / "other"), "ALPHAFORGE_RAW": str(alphaforge.home / "raw")}
    brought = alphaforge.well("replay", **elsewhere)
    assert f"{its['rows']:,} trades from 24 files" in brought
    again = alphaforge.well("trades", KEY, *hour, "--csv", **elsewhere)
    assert list(csv.DictReader(again.splitlines())) == rows
    catalog = tmp_path / "catalog"
    for _ in range(2):  # the same question is the same file
        alphaforge.well("trades", KEY, *hour, "--nautilus", str(catalog), **more)
    (ticks,) = catalog.glob("data/trade_tick/ETHBTC.BINANCE/2025-06-02T12-0*_2025-06-02T12-59-*.parquet")
    found = pq.read_table(ticks)
    assert found.schema.names == ["price", "size", "aggressor_side", "trade_id", "ts_event", "ts_init"]
    assert found.schema.metadata[b"instrument_id"] == b"ETHBTC.BINANCE"
    assert [int.from_bytes(b, "little") for b in found["price"].to_pylist()] == [
        round(float(row["price"]) * 10**5) * 10**11 for row in rows
    ]
    assert found["trade_id"].to_pylist() == [row["trade_id"] for row in rows]
    assert found["aggressor_side"].to_pylist() == [1 if row["side"] == "buy" else 2 for row in rows]
    assert found["ts_event"][0].as_py() == table["timestamp"][0].value * 1000
    out = ("--out", str(tmp_path / "exported"))
    exported = alphaforge.well("export", "--format", "parquet", "--trades", "--instruments", KEY, *hour, *out, **more)
    assert f"{len(rows):,} rows in 1 file (" in exported
    refused = alphaforge.run("export", "--format", "parquet", "--instruments", KEY, *hour, *out, **more)
    assert refused.returncode == 2
    assert "--interval and --trades: say which bars" in refused.stderr
    wider = ("--from", "2025-06-02T12:00", "--to", "2025-06-02T13:30")
    overlapping = alphaforge.run("trades", KEY, *wider, "--nautilus", str(catalog), **more)
    assert overlapping.returncode == 2
    assert "of the same time" in overlapping.stderr
