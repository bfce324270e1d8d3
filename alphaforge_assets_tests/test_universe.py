"""The universe file: what it means, and one message for each way to get it wrong."""

import dataclasses
import datetime as dt
import hashlib
import zlib
from functools import partial
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client

from alphaforge_assets.errors import BadInput
from alphaforge_assets.universe import EARLIEST, VENUES, Identity, instrument_of, load_universe

HEAD = "history_start: 2024-01-01\nintervals: [1m]\nvenues:\n"


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "universe.yaml"
    file.write_text(text)
    return file


def test_the_default_universe_is_what_the_readme_promises() -> None:
    universe = load_universe()
    assert list(universe.venues) == list(VENUES)[:6]
    assert [i.symbol for i in universe.instruments if i.venue == "okx_perp"] == [
        "BTC/USDT", "ETH/USDT", "SOL/USDT", "XRP/USDT", "BNB/USDT",
    ]  # fmt: skip
    assert universe.intervals == ["1m", "1h"]
    assert universe.history_start == dt.date(2024, 1, 1)
    # 30,000 keys an asset is where the UI stays comfortable, 100,000 what Dagster advises at most: 33 instruments since
    # 2024 lie between, and the history is worth more than the comfort.
    assert len(universe.instruments) * (dt.date(2026, 12, 31) - universe.history_start).days < 40_000


def test_names_of_an_instrument() -> None:
    perpetual = load_universe().instrument("okx_perp.BTC-USDT")
    assert (perpetual.symbol, perpetual.ccxt_symbol) == ("BTC/USDT", "BTC/USDT:USDT")
    assert load_universe().instrument("binance_spot.BTC-USDT").instrument_id == 4145755526


@pytest.mark.parametrize(
    "symbol", ["币安人生/USDT", "1000SHIB/USDT", "kPEPE/USDC", "BRK.B/USD", "USD-COIN/BTC", "A$AP/USDT"]
)
def test_a_symbol_is_spelt_as_its_venue_lists_it(tmp_path: Path, warehouse: Client, symbol: str) -> None:
    kept = load_universe(written(tmp_path, SPOT + f"[{symbol}]\n")).instruments[0]
    assert instrument_of(kept.key) == dataclasses.replace(kept, listed_from=EARLIEST)
    derived = "SELECT CRC32(concat({v:String}, '.', replaceOne({s:String}, '/', '-')))"  # as the tables derive it
    answer = warehouse.query(derived, parameters={"v": kept.venue, "s": kept.symbol})
    assert answer.result_rows == [(kept.instrument_id,)]


SPOT = HEAD + "  binance_spot:\n    instruments: "
TWICE = SPOT + "[BTC/USDT]\n  binance_spot:\n    instruments: [ETH/USDT]\n"
DATES = "\n    - symbol: BTC/USDT\n      listed_from: 2024-02-01\n      listed_until: 2024-01-15\n"


@pytest.mark.parametrize(
    ("text", "line", "parts"),
    [
        (HEAD + "  binance_spt: {instruments: [BTC/USDT]}\n", 4, ["binance_spt", "did you mean binance_spot?"]),
        (HEAD + "  binance_spot:\n    instrments: [BTC/USDT]\n", 5, ["instrments", "did you mean instruments?"]),
        (SPOT + "[BTC/USDT, BTCUSDT]\n", 5, ["[1].symbol", "'BTCUSDT'", "BASE/QUOTE"]),
        (SPOT + "['BTC/USDT|x']\n", 5, ["[0].symbol", "BASE/QUOTE"]),
        (SPOT + "[A...B/USDT]\n", 5, ["[0].symbol", "BASE/QUOTE"]),
        (SPOT + "['../USDT']\n", 5, ["[0].symbol", "BASE/QUOTE"]),
        (SPOT + "[BTC/USDT,\n      BTC/USDT]\n", 6, ["BTC/USDT", "listed twice"]),
        (SPOT + DATES, 6, ["listed_until", "later day"]),
        (SPOT + "[{symbol: BTC/USDT, listed_until: 2023-01-01}]\n", 5, ["listed_until 2023-01-01", "history_start"]),
        (SPOT + "[{symbol: BTC/USDT, listed_from: 2024-02-30}]\n", 1, ["not valid YAML"]),
        (SPOT + "[{symbol: A/B, listed_at: soon}]\n", 5, ["[0].listed_at", "'soon'", "write a day or a time in UTC"]),
        (SPOT + "[{symbol: A/B, redenominated_at: {2025-01-18: 0}}]\n", 5, ["redenominated_at", "greater than 0"]),
        (SPOT + "[{symbol: A/B, redenominated_at: 2025-01-18}]\n", 5, ["[0].redenominated_at", "dictionary"]),
        (SPOT + "[{symbol: A/B, relisted_at: [2025-01-18, never]}]\n", 5, ["relisted_at[1]", "'never'"]),
        (SPOT + "[{symbol: A/B, relisted_at: 2025-01-18, redenominated_at: {2025-01-18: 2}}]\n", 5, ["keep one"]),
        (SPOT + "[{symbol: A/B, delisted_at: 2025-01-18, relisted_at: 2025-01-31}]\n", 5, ["2025-01-31", "for good"]),
        (SPOT + "[{symbol: A/B, renamed_to: C/B}]\n", 5, ["'A/B'", "delisted_at is when this one ended"]),
        (SPOT + "[{symbol: A/B, renamed_to: C, delisted_at: 2025-01-18}]\n", 5, ["[0].renamed_to", "BASE/QUOTE"]),
        (SPOT + "[{symbol: A/B, delisted_at: 2023-01-18}]\n", 5, ["delisted_at", "2023-01-18", "history_start"]),
        (SPOT + "[]\n", 5, ["instruments"]),
        (TWICE, 6, ["named twice"]),
        (SPOT.replace("1m", "2m") + "[BTC/USDT]\n", 2, ["intervals[0]", "'2m'"]),
        (SPOT.replace("1m", "1m, 1m") + "[BTC/USDT]\n", 2, ["intervals", "twice"]),
        ("intervals: [1m]\nvenues: {okx_spot: {instruments: [BTC/USDT]}}\n", 1, ["history_start", "is missing"]),
        ("venues: [\n", 2, ["not valid YAML"]),
        ("", 1, ["file"]),
        ("- 1\n", 1, ["file"]),
        ("!!python/object:os.system {}\n", 1, ["not valid YAML"]),
    ],
)
def test_a_fault_names_file_line_field_and_fix(tmp_path: Path, text: str, line: int, parts: list[str]) -> None:
    file = written(tmp_path, text)
    with pytest.raises(BadInput) as caught:
        load_universe(file)
    assert f"{file}:{line}: " in str(caught.value), caught.value
    for part in parts:
        assert part in str(caught.value)


def test_a_name_says_what_it_has_stood_for(tmp_path: Path) -> None:
    text = """
      - symbol: BTT/USDT
        redenominated_at: {2025-01-18: 0.001, 2024-06-01: 1000}
      - {symbol: LUNA/USDT, listed_at: 2024-02-01 08:00, relisted_at: [2024-05-31T06:00:00+02:00, 2024-03-01]}
      - {symbol: NANO/USDT, delisted_at: 2024-01-24 04:00:00, renamed_to: XNO/USDT}
      - {symbol: OLD/USDT, delisted_at: 2024-01-24}
      - BTC/USDT
"""
    btt, luna, nano, old, btc = load_universe(written(tmp_path, SPOT + text)).instruments
    at = partial(dt.datetime, tzinfo=dt.UTC)
    assert btt.identity.redenominated_at == ((at(2024, 6, 1), 1000.0), (at(2025, 1, 18), 0.001))
    assert luna.identity.relisted_at == luna.identity.breaks == (at(2024, 3, 1), at(2024, 5, 31, 4))
    assert (luna.identity.listed_at, luna.listed_from) == (at(2024, 2, 1, 8), dt.date(2024, 2, 1))
    assert (nano.identity.renamed_to, nano.listed_until) == ("XNO/USDT", dt.date(2024, 1, 25))
    assert (old.identity.delisted_at, old.listed_until) == (at(2024, 1, 24), dt.date(2024, 1, 24))
    assert btc.identity == Identity()
    assert instrument_of(btt.key) == dataclasses.replace(btt, listed_from=EARLIEST)  # what it stood for is no name


def test_two_instruments_of_one_id_are_refused(tmp_path: Path) -> None:
    text = HEAD + "  binance_spot:\n    instruments: [{}, {}]\n"
    a, b = collision()
    with pytest.raises(BadInput, match="share the id"):
        load_universe(written(tmp_path, text.format(a, b)))


def collision() -> tuple[str, str]:
    seen: dict[int, str] = {}
    for n in range(500_000):
        base = hashlib.sha256(str(n).encode()).hexdigest()[:9].upper()
        symbol = f"{base}/USDT"
        other = seen.setdefault(zlib.crc32(f"binance_spot.{base}-USDT".encode()), symbol)
        if other != symbol:
            return other, symbol
    raise AssertionError("no collision among 500,000 keys")


def test_missing_and_binary_files_are_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="ALPHAFORGE_UNIVERSE"):
        load_universe(tmp_path / "none.yaml")
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match="UTF-8"):
        load_universe(binary)


def test_globs_select_in_universe_order_and_a_typo_is_an_error() -> None:
    universe = load_universe()
    assert [i.key for i in universe.select(["*.ETH-BTC", "bybit_spot.BTC-USDT"])] == [
        "binance_spot.ETH-BTC", "okx_spot.ETH-BTC", "bybit_spot.BTC-USDT", "bybit_spot.ETH-BTC",
    ]  # fmt: skip
    with pytest.raises(BadInput, match=r"did you mean binance_spot\.BTC-USDT"):
        universe.select(["binance_spot.BTC-USD"])
    with pytest.raises(BadInput, match="lists what there is"):
        universe.select(["kraken*"])
