"""Files of one's own through the pipeline: equal to what the venue tells, below it in rank, and refused as a whole."""

import datetime as dt
import gzip
import json
import os
import re
import zipfile
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from clickhouse_connect.driver.client import Client

from alphaforge_assets import failpoints
from alphaforge_assets.datasets.bars import BARS
from alphaforge_assets.datasets.trades import TRADES
from alphaforge_assets.errors import BadInput, Permanent, Transient
from alphaforge_assets.ingest import files
from alphaforge_assets.ingest.bring import Brought, Prepared, land, prepare, publish_days
from alphaforge_assets.ingest.mapping import Mapping, dataset_of, load_mapping
from alphaforge_assets.ingest.spool import Chapter
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.quality.checks import every_check, offenders
from alphaforge_assets.refresh import refresh
from alphaforge_assets.sandbox import process as sandbox
from alphaforge_assets.universe import Universe
from alphaforge_assets.venues.directory import Exchanges
from alphaforge_assets.venues.source import Cost
from alphaforge_assets.warehouse.batches import Answer, append
from alphaforge_assets.warehouse.client import open_warehouse
from alphaforge_assets.warehouse.content import content_hash
from alphaforge_assets.warehouse.windows import Window, unanswered
from alphaforge_assets_tests.conftest import LIFTED, empty, lifted
from alphaforge_assets_tests.installed import Installed

UTC = dt.UTC
EXAMPLES = Path(__file__).parents[1] / "docs" / "mappings"
UNIVERSE = Universe.model_validate(
    {
        "history_start": dt.date(2016, 1, 1),
        "intervals": ["1m", "1h"],
        "venues": {
            "coinbase_spot": {"instruments": ["BTC/USD", "ETH/USD"]},
            "binance_spot": {"instruments": ["BTC/USDT", {"symbol": "XRP/ETH", "trades": True}]},
            "okx_perp": {"instruments": ["BTC/USDT"]},
        },
    }
)
COINBASE, _, BINANCE, XRP, OKX = UNIVERSE.instruments
FIRST = dt.datetime(2025, 5, 1, tzinfo=UTC)
BARS_MAPPING = (EXAMPLES / "ohlcv.yaml").read_text(encoding="utf-8")
TRADES_MAPPING = (EXAMPLES / "coinbase_trades.yaml").read_text(encoding="utf-8")
NOW = dt.datetime(2025, 7, 1, tzinfo=UTC)


def mapped(tmp_path: Path, text: str, **changes: str) -> Mapping:
    """A mapping with some of its text changed: `old` is written as its own name where it is one word."""
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "mapping.yaml"
    path.write_text(text, encoding="utf-8")
    return load_mapping(path)


def read(tmp_path: Path, mapping: Mapping, *paths: Path, now: dt.datetime = NOW) -> list[Prepared]:
    return [
        prepare(path, mapping, UNIVERSE, now, tmp_path / "room" / str(n), lambda position: None)
        for n, path in enumerate(paths)
    ]


def bring(client: Client, exchanges: Exchanges, tmp_path: Path, mapping: Mapping, *paths: Path) -> Brought:
    """What the command does with files that are sound."""
    prepared = read(tmp_path, mapping, *paths)
    assert [p for its in prepared for p in its.problems] == []
    brought = land(client, exchanges, mapping, "m.yaml", prepared, run_id="file", progress=lambda rows: None)
    publish_days(client, brought, dataset_of(mapping), UNIVERSE, lambda dataset: nullcontext())
    return brought


def rows(client: Client, sql: str) -> list[tuple[Any, ...]]:
    return list(client.query(sql).result_rows)


BAR = "timestamp, close_time, open, high, low, close, volume, quote_volume, trade_count"
TRADE = "trade_kind, trade_id, timestamp, side, price, quantity, quote_quantity, first_id, last_id, metadata"


def bars(client: Client) -> list[tuple[Any, ...]]:
    return rows(client, f"SELECT {BAR} FROM analytics.v_bars ORDER BY timestamp")


def sources(client: Client, view: str = "v_bars") -> list[tuple[Any, ...]]:
    return rows(client, f"SELECT source, count() FROM analytics.{view} GROUP BY source ORDER BY source")


def minutes(count: int = 60, **changes: Any) -> pa.Table:
    """A quiet hour, of which single columns are changed."""
    first = int(FIRST.timestamp() * 1000)
    table = {
        "open_time": [first + 60_000 * n for n in range(count)],
        "open": [100 + n / 7 for n in range(count)],
        "high": [102 + n / 7 for n in range(count)],
        "low": [99 + n / 7 for n in range(count)],
        "close": [101 + n / 7 for n in range(count)],
        "volume": [0.1 * (n + 1) for n in range(count)],
    }
    return pa.table(table | changes)


def csv(path: Path, table: pa.Table) -> Path:
    pacsv.write_csv(table, path)
    return path


def written(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def as_file(table: pa.Table, form: str, tmp_path: Path) -> Path:
    """A table as a file of a form, such as `csv.gz`; decimals as texts, as everybody writes them."""
    kind, _, packing = form.partition(".")
    path = tmp_path / f"data.{kind}"
    if kind == "parquet":
        pq.write_table(table, path, row_group_size=5_000)
    elif kind == "csv":
        pacsv.write_csv(table, path)
    else:
        path.write_text("".join(json.dumps(row, default=str) + "\n" for row in table.to_pylist()))
    if packing == "gz":
        return written(tmp_path / f"data.{kind}.gz", gzip.compress(path.read_bytes()))
    if packing == "zip":
        with zipfile.ZipFile(tmp_path / "data.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(path, path.name)
        return tmp_path / "data.zip"
    return path


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


HEADER = "open_time,open,high,low,close,volume\n"
AT = int(FIRST.timestamp() * 1000)
GOOD = f"{AT},1,2,0.5,1,3\n"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "", r"a\.csv: is empty"),
        ("a.csv", HEADER, "is empty: it has no rows"),
        ("a.csv", "\n\n", "is empty"),
        ("a.csv", "open_time,open,high,low,close\n1,2,3,4,5\n", "has no field volume; it has open_time, open"),
        ("a.csv", "open_time,open,open,low,close,volume\n", "line 1: names open twice"),
        ("a.csv", f"{HEADER}{GOOD}\n{AT},1,x,0.5,1,3\n", r"a\.csv: line 4: high 'x': is no number"),
        ("a.csv", f"{HEADER}{GOOD}{AT},1,2\n{AT},1,2,1,y,3\n", r"line 3: has 3 values .* 6 .*line 4: close 'y'"),
        ("a.csv", f"{HEADER}{AT // 1000},1,2,0.5,1,3\n", r"line 2: open_time '\d+': is no time .* in ms; in s it"),
        ("a.csv", f"{HEADER}{GOOD}{AT * 1000},1,2,0.5,1,3\n", "line 3: open_time .* in us it would be"),
        ("a.csv", f"{HEADER}2025-05-01,1,2,0.5,1,3\n", "in ms; in iso it would be"),
        ("a.csv", f"{HEADER},1,2,0.5,1,3\n", "line 2: open_time 'None': is no time"),
        ("a.csv", f"{HEADER}{AT + 10**11},1,2,0.5,1,3\n", r"line 2: open_time .*\(2028-.*has not come yet"),
        ("a.csv", f"{HEADER}{AT - 10**12 // 2},1,2,0.5,1,3\n", r"is before 2016-01-01, since when the universe keeps"),
        ("a.csv", f"{HEADER}{GOOD}{AT},1,2,0.5,1,4\n", "tells the bar of 2025-05-01 00:00:00 with two values"),
        ("a.csv", HEADER + "".join(f"{AT + n * 300_000},1,2,0.5,1,3\n" for n in range(20)), "its bars are 300 s apart"),
        ("a.csv", f"{HEADER}{GOOD}".encode("utf-16"), "is UTF-16"),
        ("a.csv", f"{HEADER}{GOOD}".encode() + b"\xff\xfe,1,2,3,4,5\n", "is not UTF-8 text"),
        ("a.txt", GOOD, r"does not end in \.csv, \.jsonl or \.parquet"),
        ("a.parquet", b"PAR1 and so on", "is no whole Parquet file"),
        ("a.csv.gz", gzip.compress((HEADER + GOOD * 9_000).encode())[:-20], "is no whole gz file"),
        ("a.csv.gz", b"plain", "is no whole gz file"),
        ("a.csv.gz", gzip.compress((HEADER + GOOD * 500_000).encode()), "unpacks to more than"),
        ("a.zip", b"PK\x03\x04 torn", "is no whole zip file"),
        ("a.jsonl", "[1, 2]\n", "line 1: is JSON but no record"),
        ("a.jsonl", '{"open_time": 1,\n', "line 1: is no JSON"),
        ("a.jsonl", b'{"open_time": "\xff"}\n', "line 1: is not UTF-8 text"),
        ("a.jsonl", '{"open_time": 1, "open": {"x": 1}}\n', "has no field open, high"),
    ],
)  # fmt: skip
def test_a_bad_file_is_refused_with_its_line_and_field(
    name: str, content: str | bytes, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "UNPACKED_FREE", 1 << 20)
    (its,) = read(tmp_path, mapped(tmp_path, BARS_MAPPING), written(tmp_path / name, content))
    text = " ".join(its.problems)
    assert re.search(said, text), text
    assert its.problem_count == len(its.problems) > 0
    assert "\n" not in text
    assert str(tmp_path / name) in text


def test_json_lines_are_told_by_their_number(tmp_path: Path) -> None:
    records = [
        dict(zip(HEADER.strip().split(","), [AT + n * 60_000, "1", "2", "0.5", "1", "3"], strict=True))
        for n in range(9)
    ]
    records[6]["high"] = 7
    file = written(tmp_path / "a.jsonl", "\n\n".join(map(json.dumps, records)))
    (its,) = read(tmp_path, mapped(tmp_path, BARS_MAPPING), file)
    assert its.problems == [f"{file}: line 13: high 7 is no text, as before"]
    del records[6]["high"]
    (its,) = read(tmp_path, mapped(tmp_path, BARS_MAPPING), written(file, "\n".join(map(json.dumps, records))))
    assert its.problems == []  # an absent number is none, and the rules say what becomes of the row


def test_all_problems_are_counted_and_the_first_are_told(tmp_path: Path) -> None:
    file = written(tmp_path / "a.csv", HEADER + "".join(f"{AT + n * 60_000},1,two,0.5,1,3\n" for n in range(300)))
    (its,) = read(tmp_path, mapped(tmp_path, BARS_MAPPING), file)
    assert (its.problem_count, len(its.problems)) == (300, 21)
    assert its.problems[-1] == f"{file}: and 280 more like these"
    assert its.told == {}


def test_a_zip_holds_one_file_and_no_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "UNPACKED_FREE", 1 << 20)
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", HEADER + GOOD)
        archive.writestr("b.csv", HEADER + GOOD)
    mapping = mapped(tmp_path, BARS_MAPPING)
    assert "has 2 files in it" in read(tmp_path, mapping, path)[0].problems[0]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", HEADER + GOOD * 500_000)
    assert "unpacks to more than" in read(tmp_path, mapping, path)[0].problems[0]


@pytest.mark.parametrize(
    ("symbol", "said"),
    [
        ("../../etc", "BASE/QUOTE"),
        ("..-x", "does not fit the pattern"),
        ("BTC-EUR", "coinbase_spot.BTC-EUR is not in the universe"),
    ],
)
def test_a_symbol_that_is_a_path_or_not_kept_is_refused(symbol: str, said: str, tmp_path: Path) -> None:
    mapping = load_mapping(EXAMPLES / "trades_without_ids.yaml")
    if said == "BASE/QUOTE":
        text = (EXAMPLES / "trades_without_ids.yaml").read_text()
        start, end = text.index("symbol: {"), text.index("columns:")
        mapping = mapped(tmp_path, text[:start] + "symbol: {field: symbol}\n" + text[end:])
    file = written(tmp_path / "a.csv", f"symbol,side,price,amount,time_iso\n{symbol},buy,2,1,2025-03-13T11:30:00Z\n")
    (its,) = read(tmp_path, mapping, file)
    assert its.problems[0].startswith(f"{file}: line 2: ")
    assert said in its.problems[0]


def test_a_side_that_the_mapping_does_not_have_is_refused(tmp_path: Path) -> None:
    file = written(
        tmp_path / "a.csv",
        "symbol,side,price,amount,time_iso\nBTC-USD,buy,2,1,2025-03-13T11:30:00Z\nBTC-USD,S,2,1,2025-03-13T11:30:00Z\n",
    )
    (its,) = read(tmp_path, load_mapping(EXAMPLES / "trades_without_ids.yaml"), file)
    assert its.problems == [f"{file}: line 3: side 'S': is no side: the mapping has buy, sell"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("dataset: bars", "dataset: candles", r":4: dataset: is 'candles'; write bars or trades"),
        ("dataset: bars", "", r":\d+: dataset: is missing"),
        ("venue: binance_spot", "venue: binance", r":5: venue: .*'binance' is not known; use binance_spot"),
        ("symbol: BTC/USDT", "symbol: ../x", r":6: symbol: .*BASE/QUOTE"),
        ("symbol: BTC/USDT", "symbol: {field: pair, pattern: '[A-Z'}", "no regular expression"),
        ("symbol: BTC/USDT", "symbol: {field: pair, pattern: '[A-Z]+'}", "has no groups base and quote"),
        ("symbol: BTC/USDT", "symbol: {field: pair, pattern: 'x', values: {}}", "keep one"),
        ("interval: 1m", "interval: 2m", r":7: interval: .*'2m': use 1m, 5m"),
        ("unit: ms", "unit: minutes", r":9: columns\.timestamp\.unit: 'minutes' is not known"),
        ("  open: open\n", "", r":8: columns\.open: is missing; add it"),
        ("  open: open", "  opne: open", "columns.opne: unknown field; did you mean open"),
        ("  open: open", "  open: open\n  open: x", "named twice"),
        ("volume: volume", "volume: {field: v, contract_size: 0}", "contract_size"),
        ("\ncolumns:", "\ncsv: {header: false}\ncolumns:", "names the columns of a file without a header"),
        ("\ncolumns:", "\ncolumns: [", "not valid YAML"),
    ],
)
def test_a_bad_mapping_is_refused_with_its_line_and_field(old: str, new: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=said):
        mapped(tmp_path, BARS_MAPPING, **{old: new})


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("means: maker", "means: market", "'market' is not known"),
        (", means: maker", "", r"columns\.side\.means: is missing"),
        ("means: maker", "means: maker, values: {b: bid}", "'bid' is not known"),
        ("columns:", "kind: aggregate\ncolumns:", "aggregates are known by their ids"),
    ],
)
def test_a_mapping_of_trades_says_whose_side_it_is(old: str, new: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=said):
        mapped(tmp_path, TRADES_MAPPING, **{old: new})


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_examples_are_sound(path: Path) -> None:
    assert load_mapping(path).venue.constant in ("binance_spot", "coinbase_spot")


def test_the_command_shows_then_brings_and_refuses_with_two(
    template: Path, exchange: Exchanges, tmp_path: Path
) -> None:
    its = Installed(tmp_path / "its", exchange.base_url).furnished(template)
    file, bad = csv(tmp_path / "bars.csv", minutes()), written(tmp_path / "bad.csv", HEADER + "x,1,2,3,4,5\n")
    words = ("ingest", "--mapping", str(EXAMPLES / "ohlcv.yaml"))
    shown = its.well(*words, str(file), "--dry-run")
    table = shown.split("\n", 1)[1]
    assert table.splitlines()[0].split() == ["binance_spot.BTC-USDT", "1m"]
    assert table.splitlines()[1].split() == ["Time", "(UTC)", "open", "high", "low", "close", "volume"]
    assert "2025-05-01 00:04:00" in table
    assert max(map(len, table.splitlines())) <= 80
    assert "nothing was landed" in shown
    for more in (("--dry-run",), ()):
        refused = its.run(*words, str(file), str(bad), *more)
        assert refused.returncode == 2
        assert f"{bad}: line 2: open_time 'x': is no time from 2009 to 2099 in ms" in refused.stderr
        assert "1 problems in 2 files; nothing was landed" in refused.stderr
    with open_warehouse(its.home) as client:
        assert rows(client, "SELECT count() FROM analytics.ingest_batches") == [(0,)]
        assert "60 new rows in 1 batches" in its.well(*words, str(file))
        assert "0 new rows in 0 batches" in its.well(*words, str(file))
        assert sources(client) == [("file", 60)]
        runs = rows(client, "SELECT job, outcome FROM analytics.v_runs")
        assert runs == [("ingest", "success")] * 2
    assert list(its.home.glob("ingest-*")) == []
    assert its.run("ingest", "--mapping", str(tmp_path / "no.yaml"), str(file)).returncode == 2
