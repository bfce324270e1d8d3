"""What files bring is what the venue tells, below it in rank, once, and whole."""

import datetime as dt
import json
import os
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from clickhouse_connect.driver.client import Client

from alphaforge_assets import failpoints
from alphaforge_assets.datasets.bars import BARS
from alphaforge_assets.datasets.trades import TRADES
from alphaforge_assets.errors import BadInput, Permanent, Transient
from alphaforge_assets.ingest.bring import Brought, publish_days
from alphaforge_assets.ingest.mapping import load_mapping
from alphaforge_assets.ingest.spool import Chapter
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.quality.checks import every_check, offenders
from alphaforge_assets.refresh import refresh
from alphaforge_assets.sandbox import process as sandbox
from alphaforge_assets.venues.directory import Exchanges
from alphaforge_assets.venues.source import Cost
from alphaforge_assets.warehouse.batches import Answer, append
from alphaforge_assets.warehouse.client import open_warehouse
from alphaforge_assets.warehouse.content import content_hash
from alphaforge_assets.warehouse.windows import Window, unanswered
from alphaforge_assets_tests.conftest import LIFTED, empty, lifted
from alphaforge_assets_tests.test_ingest.made import (
    BARS_MAPPING,
    BINANCE,
    COINBASE,
    EXAMPLES,
    FIRST,
    NOW,
    TRADE,
    TRADES_MAPPING,
    UNIVERSE,
    UTC,
    XRP,
    as_file,
    bars,
    bring,
    csv,
    mapped,
    minutes,
    read,
    rows,
    sources,
    written,
)


@pytest.fixture(scope="module")
def playing(recorded: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchanges]:
    """The venues of the recordings, whose clock stands after all that is asked for here."""
    now = dt.datetime(2019, 10, 20, tzinfo=UTC)
    with sandbox.start(recordings=recorded / "market-data", now=now, budget_scale=LIFTED) as url:
        yield lifted(url, tmp_path_factory.mktemp("governor") / "governor.sqlite3")


@pytest.fixture(scope="module")
def told(playing: Exchanges, schema_home: Path) -> dict[str, list[tuple[Any, ...]]]:
    """What REST tells of a day of bars and three of trades."""
    with open_warehouse(schema_home) as client:
        empty(client)
        for instrument, dataset, start, end in (
            (COINBASE, BARS, dt.date(2016, 10, 7), dt.date(2016, 10, 8)),
            (XRP, TRADES, dt.date(2019, 10, 11), dt.date(2019, 10, 14)),
        ):
            part = Rectangle((instrument,), start, end)
            universe = UNIVERSE.model_copy(update={"intervals": ["1m"]})
            assert refresh(client, playing, universe, part, dataset, run_id="rest").failures == []
        trades = rows(client, f"SELECT {TRADE} FROM analytics.v_trades ORDER BY trade_id")
        return {"bars": bars(client), "trades": trades}


def of_days(table: pa.Table, start: dt.datetime, end: dt.datetime) -> pa.Table:
    times = table["open_time"].to_pylist()
    return table.filter(pa.array([start.timestamp() * 1000 <= t < end.timestamp() * 1000 for t in times]))


def recorded_bars(recorded: Path) -> pa.Table:
    source = pq.read_table(recorded / "market-data/klines/coinbase_spot/BTCUSD/1m/lean_days.parquet")
    return of_days(source, dt.datetime(2016, 10, 7, tzinfo=UTC), dt.datetime(2016, 10, 8, tzinfo=UTC))


@pytest.mark.recorded
def test_recorded_bars_arrive_as_by_rest(
    emptied: Client, recorded: Path, playing: Exchanges, tmp_path: Path, told: dict[str, Any]
) -> None:
    empty(emptied)
    table = recorded_bars(recorded)
    mapping = mapped(tmp_path, BARS_MAPPING, **{"binance_spot  ": "coinbase_spot", "BTC/USDT": "BTC/USD"})
    brought = bring(emptied, playing, tmp_path, mapping, as_file(table, "csv.gz", tmp_path))
    assert brought.rows == len(told["bars"]) == table.num_rows > 1_000
    assert bars(emptied) == told["bars"]
    assert sources(emptied) == [("file", table.num_rows)]


@pytest.mark.recorded
@pytest.mark.parametrize("form", ["csv", "csv.zip", "jsonl", "jsonl.gz", "parquet", "parquet.zip"])
def test_every_form_of_a_file_reads_alike(form: str, recorded: Path, tmp_path: Path) -> None:
    mapping = mapped(tmp_path, BARS_MAPPING, **{"binance_spot  ": "coinbase_spot", "BTC/USDT": "BTC/USD"})
    table = recorded_bars(recorded)
    (tmp_path / "other").mkdir()
    both = as_file(table, "csv.gz", tmp_path / "other"), as_file(table, form, tmp_path)
    one, other = read(tmp_path, mapping, *both)
    assert one.problems == other.problems == []
    assert [*map(content, one.spool.chapters())] == [*map(content, other.spool.chapters())]


def content(chapter: Chapter) -> tuple[Window, str]:
    return chapter.window, content_hash(chapter.rows)


AGGREGATES = """
dataset: trades
venue: binance_spot
symbol: XRP/ETH
kind: aggregate
columns:
  timestamp: {field: time, unit: ms}
  trade_id: trade_id
  first_id: first_trade_id
  last_id: last_trade_id
  side: {field: is_buyer_maker, means: taker, values: {true: sell, false: buy}}
  price: price
  quantity: qty
"""


@pytest.mark.recorded
@pytest.mark.parametrize("form", ["parquet", "jsonl.zip"])
def test_recorded_trades_arrive_as_by_rest(
    form: str, emptied: Client, recorded: Path, playing: Exchanges, tmp_path: Path, told: dict[str, Any]
) -> None:
    empty(emptied)
    source = recorded / "market-data/trades/binance_spot/XRPETH/2019-10-11_aggTrades.parquet"
    file = source if form == "parquet" else as_file(pq.read_table(source), form, tmp_path)
    mapping = mapped(tmp_path, AGGREGATES)
    assert bring(emptied, playing, tmp_path, mapping, file).rows == len(told["trades"]) > 12_000
    assert rows(emptied, f"SELECT {TRADE} FROM analytics.v_trades ORDER BY trade_id") == told["trades"]
    assert sources(emptied, "v_trades") == [("file", len(told["trades"]))]


@pytest.mark.recorded
def test_recorded_trades_without_numbers_are_each_there_once(
    emptied: Client, recorded: Path, playing: Exchanges, tmp_path: Path
) -> None:
    empty(emptied)
    source = recorded / "market-data/trades/coinbase_spot/BTC-USD/2023-09-05.parquet"
    mapping = load_mapping(EXAMPLES / "trades_without_ids.yaml")
    table = pq.read_table(source)
    parts = [as_file(table.slice(*part), "parquet", tmp_path).rename(tmp_path / f"{part[0]}.parquet")
             for part in ((0, 4_000), (2_000, 3_882))]  # fmt: skip
    assert bring(emptied, playing, tmp_path, mapping, source).rows == table.num_rows
    before = rows(emptied, "SELECT trade_id, trade_uuid, side, price, quantity, timestamp_unix FROM analytics.v_trades")
    bring(emptied, playing, tmp_path, mapping, *parts)  # what overlaps has the same names
    after = rows(emptied, "SELECT trade_id, trade_uuid, side, price, quantity, timestamp_unix FROM analytics.v_trades")
    assert sorted(after) == sorted(before)
    expected = [(r["side"], float(str(r["price"])), float(str(r["amount"]))) for r in table.to_pylist()]
    assert sorted(row[2:5] for row in after) == sorted(expected)
    assert len({row[0] for row in after}) == len(after) == table.num_rows
    assert all(row[0] >= 2**62 and row[1] == f"~{row[0]}" for row in after)
    assert rows(emptied, "SELECT count() FROM analytics.v_gaps WHERE missing > 0") == [(0,)]


def test_coinbase_says_the_makers_side(emptied: Client, exchange: Exchanges, tmp_path: Path) -> None:
    told = [
        {"trade_id": "18502034", "side": "sell", "size": "0.00007448", "price": "73271.63",
         "time": "2025-03-13T11:00:17.710679Z"},
        {"trade_id": "18502035", "side": "buy", "size": "1e-8", "price": "73271.6",
         "time": "2025-03-13 13:00:18+02:00"},
    ]  # fmt: skip
    file = written(tmp_path / "a.ndjson", "\n\n".join(map(json.dumps, told)))
    bring(emptied, exchange, tmp_path, load_mapping(EXAMPLES / "coinbase_trades.yaml"), file)
    found = rows(emptied, "SELECT trade_id, side, price, quantity, timestamp_unix FROM analytics.v_trades ORDER BY 1")
    assert found == [
        (18502034, "buy", 73271.63, 0.00007448, 1741863617710679),
        (18502035, "sell", 73271.6, 1e-8, 1741863618000000),
    ]


def test_a_file_never_outranks_the_venue_and_answers_nothing(
    emptied: Client, exchange: Exchanges, tmp_path: Path
) -> None:
    universe = UNIVERSE.model_copy(update={"intervals": ["1m"]})
    part = Rectangle((BINANCE,), FIRST.date(), FIRST.date() + dt.timedelta(days=1))
    mapping = mapped(tmp_path, BARS_MAPPING)
    file = csv(tmp_path / "bars.csv", minutes())
    assert bring(emptied, exchange, tmp_path, mapping, file).rows == 60
    assert sources(emptied) == [("file", 60)]
    window = Window(BINANCE, "1m", FIRST, FIRST + dt.timedelta(hours=1))
    assert unanswered(emptied, "bars", [window]) == [window]  # nobody was asked
    assert rows(emptied, "SELECT sum(windows) FROM analytics.v_ingest_batches") == [(0,)]
    assert refresh(emptied, exchange, universe, part, BARS, run_id="rest").failures == []
    assert sources(emptied) == [("rest", 1440)]
    versions = rows(emptied, "SELECT source, count() FROM analytics.bars_history GROUP BY 1 ORDER BY 1")
    assert versions == [("file", 60), ("rest", 1440)]
    other = csv(tmp_path / "other.csv", minutes(close=[100.5 + n / 7 for n in range(60)]))
    assert bring(emptied, exchange, tmp_path, mapping, other).rows == 60  # kept, and not read
    assert sources(emptied) == [("rest", 1440)]
    for check in every_check():
        if check.dataset is BARS and check.name in ("landing_is_accounted_for", "rows_are_inside_the_day"):
            assert offenders(emptied, check, part, NOW) == [], check.name


def test_the_same_file_again_adds_nothing(emptied: Client, exchange: Exchanges, tmp_path: Path) -> None:
    mapping, file = mapped(tmp_path, BARS_MAPPING), csv(tmp_path / "bars.csv", minutes())
    tables = ("landing_bars", "ingest_batches", "staging_bars", "bars_history", "bars", "gaps", "rejected_rows")

    def counts() -> list[tuple[Any, ...]]:
        return [rows(emptied, f"SELECT count() FROM analytics.{name} FINAL")[0]
                if name not in ("landing_bars", "ingest_batches") else
                rows(emptied, f"SELECT count() FROM analytics.{name}")[0] for name in tables]  # fmt: skip

    bring(emptied, exchange, tmp_path, mapping, file)
    before = counts()
    again = bring(emptied, exchange, tmp_path, mapping, as_file(minutes(), "csv.gz", tmp_path))
    assert (again.rows, again.batches, again.known) == (0, 0, 1)
    assert counts() == before
    (evidence,) = rows(emptied, "SELECT evidence FROM analytics.ingest_batches")[0]
    assert json.loads(evidence)["file"] == "bars.csv"


@pytest.mark.parametrize(
    "point", ["landing.after", "ledger.after", "staging.between", "publish.between", "judge.before"]
)
def test_what_was_cut_short_is_made_up_for_by_the_same_command(
    point: str, emptied: Client, exchange: Exchanges, tmp_path: Path
) -> None:
    mapping, file = mapped(tmp_path, BARS_MAPPING), csv(tmp_path / "bars.csv", minutes())
    failpoints.arm(f"{point}=raise", is_sandbox=True)
    try:
        with pytest.raises(Transient):
            bring(emptied, exchange, tmp_path, mapping, file)
    finally:
        failpoints.arm("", is_sandbox=True)
    bring(emptied, exchange, tmp_path, mapping, file)
    tables = ("landing_bars", "staging_bars", "bars_history", "bars", "ingest_batches")
    counts = [rows(emptied, f"SELECT count() FROM analytics.{name}")[0][0] for name in tables]
    assert counts == [60, 60, 60, 60, 1]


def test_what_a_file_leaves_out_is_missing_and_what_breaks_a_rule_is_kept_and_flagged(
    emptied: Client, exchange: Exchanges, tmp_path: Path
) -> None:
    table = minutes(high=[50.0 if n == 7 else 102 + n / 7 for n in range(60)])
    table = pa.concat_tables([table.slice(0, 20), table.slice(23)])
    lines = csv(tmp_path / "bars.csv", table).read_text().splitlines()
    lines[10] = lines[10].rpartition(",")[0] + ","  # no volume at all
    file = written(tmp_path / "bars.csv", "\n".join(lines))
    assert bring(emptied, exchange, tmp_path, mapped(tmp_path, BARS_MAPPING), file).rows == 57
    assert sources(emptied) == [("file", 55)]
    broken = rows(emptied, "SELECT rule, source, timestamp FROM analytics.rejected_rows ORDER BY timestamp")
    assert [row[:2] for row in broken] == [("ohlc_is_sane", "file"), ("required_columns_are_not_null", "file")]
    gaps = rows(emptied, "SELECT missing, verdict, evidence LIKE '%never asked for%' FROM analytics.v_gaps ORDER BY 1")
    assert gaps == [(1, "we_missed", True), (1, "we_missed", True), (3, "we_missed", True)]
    covered = rows(emptied, "SELECT expected, present FROM analytics.v_coverage")
    assert covered == [(60, 55)]


def test_a_bar_that_ends_after_the_file_was_written_is_no_closed_one(
    emptied: Client, exchange: Exchanges, tmp_path: Path
) -> None:
    file = csv(tmp_path / "bars.csv", minutes())
    written_at = (FIRST + dt.timedelta(minutes=59, seconds=30)).timestamp()
    os.utime(file, (written_at, written_at))
    bring(emptied, exchange, tmp_path, mapped(tmp_path, BARS_MAPPING), file)
    assert sources(emptied) == [("file", 59)]
    assert rows(emptied, "SELECT count() FROM analytics.landing_bars") == [(60,)]


def test_one_file_may_hold_many_series_out_of_order(emptied: Client, exchange: Exchanges, tmp_path: Path) -> None:
    """Names by values and by a pattern, lengths by values, contracts, seconds with a fraction, repeated rows."""
    text = """
dataset: bars
venue: {field: exchange, values: {OKX: okx_perp, CB: coinbase_spot}}
symbol: {field: pair, pattern: "(?P<base>[A-Z]+)-(?P<quote>[A-Z]+)(-SWAP)?"}
interval: {field: res, values: {60: 1m, 3600: 1h}}
csv: {delimiter: ";", header: false, columns: [exchange, pair, res, t, o, h, l, c, v]}
columns:
  timestamp: {field: t, unit: s}
  open: {field: o}
  high: h
  low: l
  close: c
  volume: {field: v, contract_size: 0.01}
"""
    first = int(FIRST.timestamp())
    lines = [f"{venue};{pair};{res};{first + n * res}.000;2;3;1;2.5;{29 + n}"
             for n in (2, 0, 1, 1, 90) for venue, pair in (("OKX", "BTC-USDT-SWAP"), ("CB", "BTC-USD"))
             for res in (60, 3600) if n * res < 20_000]  # fmt: skip
    file = written(tmp_path / "bars.csv", "\n".join(lines))
    brought = bring(emptied, exchange, tmp_path, mapped(tmp_path, text), file)
    assert brought.rows == 2 * (4 + 3)
    found = rows(
        emptied,
        "SELECT venue, interval, count(), min(volume), min(contract_volume) FROM analytics.v_bars"
        " GROUP BY venue, interval ORDER BY venue, interval",
    )
    lengths = (("1h", 3), ("1m", 4))
    assert found == [(v, i, count, 0.29, 29.0) for v in ("coinbase_spot", "okx_perp") for i, count in lengths]


def test_emulated_prices_and_files_of_real_ones_do_not_mix(
    emptied: Client, exchange: Exchanges, tmp_path: Path
) -> None:
    mapping, file = mapped(tmp_path, BARS_MAPPING), csv(tmp_path / "bars.csv", minutes())
    bring(emptied, exchange, tmp_path, mapping, file)
    live = Exchanges("live", None, exchange.governor_file)
    with pytest.raises(Permanent, match="holds sandbox data"):
        bring(emptied, live, tmp_path, mapping, csv(tmp_path / "more.csv", minutes(61)))


def test_trades_that_would_be_there_twice_or_hide_others_are_refused(
    emptied: Client, exchange: Exchanges, tmp_path: Path
) -> None:
    numbered = written(
        tmp_path / "a.jsonl",
        '{"trade_id": 1, "side": "sell", "size": "1", "price": "2", "time": "2025-03-13T11:00:17Z"}',
    )
    mapping = load_mapping(EXAMPLES / "coinbase_trades.yaml")
    bring(emptied, exchange, tmp_path, mapping, numbered)
    nameless = written(tmp_path / "b.csv", "symbol,side,price,amount,time_iso\nBTC-USD,buy,2,1,2025-03-13T11:30:00Z\n")
    with pytest.raises(BadInput, match=r"has 1 trades with numbers .* and these are without: .* twice"):
        bring(emptied, exchange, tmp_path, load_mapping(EXAMPLES / "trades_without_ids.yaml"), nameless)
    single = mapped(tmp_path, TRADES_MAPPING, coinbase_spot="binance_spot", **{"BTC/USD ": "XRP/ETH "})
    (its,) = read(tmp_path, single, numbered)
    assert "the venue tells aggregate trades and these are single ones" in its.problems[0]
    assert rows(emptied, "SELECT count() FROM analytics.landing_trades") == [(1,)]


def test_the_venues_trades_after_a_file_without_numbers_are_an_error(
    emptied: Client, exchange: Exchanges, tmp_path: Path
) -> None:
    at = dt.datetime(2025, 3, 13, 11, tzinfo=UTC)
    file = written(tmp_path / "b.csv", "symbol,side,price,amount,time_iso\nBTC-USD,buy,2,1,2025-03-13T11:30:00Z\n")
    bring(emptied, exchange, tmp_path, load_mapping(EXAMPLES / "trades_without_ids.yaml"), file)
    part = Rectangle((COINBASE,), at.date(), at.date() + dt.timedelta(days=1))
    (check,) = [c for c in every_check() if c.name == "trades_are_told_once"]
    assert offenders(emptied, check, part, NOW) == []
    told = {"trade_id": 7, "side": "sell", "size": "1", "price": "2", "time": "2025-03-13T11:30:00Z"}
    numbered = written(tmp_path / "a.jsonl", json.dumps(told))
    mapping = load_mapping(EXAMPLES / "coinbase_trades.yaml")
    with pytest.raises(BadInput, match=r"has 1 trades without numbers .* and these are with"):
        bring(emptied, exchange, tmp_path, mapping, numbered)
    (its,) = read(tmp_path, mapping, numbered)
    (chapter,) = its.spool.chapters()
    answer = Answer(chapter.window, chapter.rows, NOW, Cost(), id="trade_id")  # as the venue would tell it
    append(emptied, "trades", [answer], origin="sandbox", source="rest", run_id="rest", lock=nullcontext())
    brought = Brought(days={COINBASE: (part.start, part.end)})
    publish_days(emptied, brought, TRADES, UNIVERSE, lambda dataset: nullcontext())
    assert sources(emptied, "v_trades") == [("file", 1), ("rest", 1)]
    (found,) = offenders(emptied, check, part, NOW)
    assert found["what"] == "1 without a number beside 1 with one"
