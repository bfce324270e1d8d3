"""Mappings and files that are refused as a whole, each with its line and field; the examples; the command."""

import gzip
import json
import re
import zipfile
from pathlib import Path

import pytest

from alphaforge_assets.errors import BadInput
from alphaforge_assets.ingest import files
from alphaforge_assets.ingest.mapping import load_mapping
from alphaforge_assets.venues.directory import Exchanges
from alphaforge_assets.warehouse.client import open_warehouse
from alphaforge_assets_tests.installed import Installed
from alphaforge_assets_tests.test_ingest.made import (
    BARS_MAPPING,
    EXAMPLES,
    FIRST,
    TRADES_MAPPING,
    csv,
    mapped,
    minutes,
    read,
    rows,
    sources,
    written,
)

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
