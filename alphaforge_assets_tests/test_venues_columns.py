"""Rows into columns: against recorded bodies of the venues, and under every mutation of a row we can think of."""

import json
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphaforge_assets.errors import VenueUnavailable
from alphaforge_assets.venues import binance, bybit, coinbase, kraken, okx
from alphaforge_assets.venues.columns import BAR_SCHEMA, NUMBERS, TIME_MS_MAX, TIME_MS_MIN, Layout, parse_rows

MINUTE_MS = 60_000
T0 = 1_735_689_600_000  # 2025-01-01
LATER = T0 + 10**9
LAYOUTS = (binance.KLINE, okx.SPOT_CANDLE, okx.SWAP_CANDLE, bybit.KLINE)
IN_SECONDS = (coinbase.CANDLE, kraken.OHLC)


def row(layout: Layout, n: int, **changed: Any) -> list[Any]:
    """A sound row of the layout, with its times and counts typed as the venue types them."""
    texts = {name: f"{n + 1}.{position}" for position, name in enumerate(layout.fields)}
    open_ms = T0 + n * MINUTE_MS
    if layout is binance.KLINE:
        sound: dict[str, Any] = texts | {"timestamp": open_ms, "close_time": open_ms + MINUTE_MS - 1, "trade_count": 7}
    elif layout is coinbase.CANDLE:
        sound = {name: float(text) for name, text in texts.items()} | {"timestamp": open_ms // 1000}
    elif layout is kraken.OHLC:
        sound = texts | {"timestamp": open_ms // 1000, "trade_count": 7}
    else:
        sound = texts | {"timestamp": str(open_ms)}
    sound |= {"ignore": "0", "confirm": "1"}
    if layout.usual.get("volCcy"):
        sound["volCcy"] = sound["quote_volume"]
    sound |= changed
    return [sound[name] for name in layout.fields]


def table(layout: Layout, rows: list[Any], closed_before_ms: int = LATER) -> pa.Table:
    parsed = parse_rows(layout, rows, MINUTE_MS, closed_before_ms)
    parsed.validate(full=True)
    assert parsed.schema == BAR_SCHEMA
    return parsed


def ohlcv(parsed: pa.Table) -> list[list[Any]]:
    columns = [parsed["timestamp"].cast(pa.int64())] + [parsed[c] for c in ("open", "high", "low", "close", "volume")]
    return [list(r) for r in zip(*(c.to_pylist() for c in columns), strict=True)]


@pytest.mark.recorded
@pytest.mark.parametrize(
    ("exchange", "description", "layout", "read"),
    [
        ("binance", "Spot OHLCV with since and limit", binance.KLINE, binance.bar_rows),
        ("binance", "swap ohlcv", binance.KLINE, binance.bar_rows),
        ("okx", "spot ohlcv with limit and since", okx.SPOT_CANDLE, okx.bar_rows),
        ("bybit", "swap ohlcv with since and limit", bybit.KLINE, bybit.bar_rows),
        ("binanceus", "public spot ohlcv", binance.KLINE, binance.bar_rows),
        ("coinbaseexchange", "public spot ohlcv", coinbase.CANDLE, coinbase.bar_rows),
    ],
)
def test_ccxts_own_fixtures(exchange: str, description: str, layout: Layout, read: Any, recorded: Path) -> None:
    fixtures = json.loads((recorded / f"wire/ccxt-static/response/{exchange}.json").read_text())
    fixture = next(f for f in fixtures["methods"]["fetchOHLCV"] if f["description"] == description)
    parsed = table(layout, read(fixture["httpResponse"], "BTCUSDT"), 2 * T0)
    assert ohlcv(parsed) == fixture["parsedResponse"]
    assert parsed["is_closed"].to_pylist() == [True] * parsed.num_rows
    assert set(parsed["metadata"].to_pylist()) == {""}
    assert parsed["quote_volume"].null_count == (parsed.num_rows if layout is coinbase.CANDLE else 0)


@pytest.mark.recorded
def test_krakens_rows_lie_under_the_pair_and_the_last_is_open(recorded: Path) -> None:
    fixtures = json.loads((recorded / "wire/ccxt-static/response/kraken.json").read_text())
    (fixture,) = fixtures["methods"]["fetchOHLCV"]
    rows = kraken.bar_rows(fixture["httpResponse"], "XBTUSDT")
    last_s = int(fixture["httpResponse"]["result"]["last"])
    parsed = parse_rows(kraken.OHLC, rows, 3_600_000, (last_s + 3600) * 1000)
    assert ohlcv(parsed)[1:4] == fixture["parsedResponse"]  # ccxt cuts by itself
    assert parsed["is_closed"].to_pylist() == [True] * 5 + [False]
    assert parsed["trade_count"].to_pylist() == [162, 126, 127, 434, 137, 612]
    assert [json.loads(m) for m in parsed["metadata"].to_pylist()] == [{"vwap": row[5]} for row in rows]


@pytest.mark.recorded
@pytest.mark.parametrize("path", ["/api/v3/klines", "/fapi/v1/klines"])
def test_recorded_binance_klines_field_by_field(path: str, recorded: Path) -> None:
    routes = json.loads((recorded / "wire/gocryptotrader/binance_http_mock_public.json").read_text())
    routes = routes.get("routes", routes)
    bodies = [answer["data"] for answer in routes[path]["GET"] if isinstance(answer["data"], list) and answer["data"]]
    assert bodies
    for body in bodies:
        parsed = table(binance.KLINE, body, 2 * T0)
        assert parsed.num_rows == len(body)
        for said, got in zip(body, parsed.to_pylist(), strict=True):
            assert int(got["timestamp"].timestamp() * 1000) == said[0]
            assert round(got["close_time"].timestamp() * 1000) == said[6]
            prices = [got[c] for c in ("open", "high", "low", "close", "volume", "quote_volume")]
            assert prices == [float(said[n]) for n in (1, 2, 3, 4, 5, 7)]
            assert got["trade_count"] == said[8]
            assert [got["taker_buy_base_volume"], got["taker_buy_quote_volume"]] == [float(said[9]), float(said[10])]
            assert got["metadata"] == (
                "" if said[11] == "0" else json.dumps({"ignore": said[11]}, separators=(",", ":"))
            )


def test_volumes_are_in_base_units() -> None:
    """A row of 150 contracts of 0.01 BTC at 60,000, and one of 1.5 BTC on spot, as OKX writes them."""
    swap = [str(T0), "60000", "60000", "60000", "60000", "150", "1.5", "90000", "1"]
    spot = [str(T0), "60000", "60000", "60000", "60000", "1.5", "90000", "90000", "1"]
    parsed = table(okx.SWAP_CANDLE, [swap])
    assert [parsed[c][0].as_py() for c in ("volume", "contract_volume", "quote_volume")] == [1.5, 150.0, 90000.0]
    parsed = table(okx.SPOT_CANDLE, [spot])
    assert [parsed[c][0].as_py() for c in ("volume", "contract_volume", "quote_volume")] == [1.5, None, 90000.0]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda x: "-".join(x.fields[5:7]))
def test_a_descending_page_is_turned_round(layout: Layout) -> None:
    rows = [row(layout, n) for n in range(9)]
    assert table(layout, rows[::-1]) == table(layout, rows)
    spoiled = [row(layout, n, **({"close": "?"} if n == 2 else {})) for n in range(9)]
    turned = table(layout, spoiled[::-1])
    assert turned == table(layout, spoiled)
    assert turned["close"].is_null().to_pylist() == [n == 2 for n in range(9)]


@given(st.permutations(range(6)), st.sampled_from(LAYOUTS))
def test_any_order_becomes_time_order_and_repeats_collapse(order: list[int], layout: Layout) -> None:
    rows = [row(layout, n) for n in range(6)]
    shuffled = [rows[n] for n in order]
    assert table(layout, shuffled) == table(layout, rows)
    assert table(layout, shuffled + shuffled[:3]) == table(layout, rows)


def test_two_rows_of_one_time_that_differ_are_both_kept_as_they_came() -> None:
    first, second = row(binance.KLINE, 1, close="5"), row(binance.KLINE, 1, close="4")
    parsed = table(binance.KLINE, [row(binance.KLINE, 2), first, row(binance.KLINE, 0), second, first])
    assert parsed["close"].to_pylist() == [1.4, 5.0, 4.0, 3.4]


@pytest.mark.parametrize(
    ("layout", "n_closed"),
    [(binance.KLINE, 2), (okx.SPOT_CANDLE, 2), (bybit.KLINE, 2)],
    ids=["binance", "okx", "bybit"],
)
@pytest.mark.parametrize("beyond_ms", [-1, 0, 1])
def test_a_bar_is_closed_when_the_venues_clock_has_passed_its_end(
    layout: Layout, n_closed: int, beyond_ms: int
) -> None:
    rows = [row(layout, n) for n in range(4)]
    end_of_second = T0 + 2 * MINUTE_MS
    closed = table(layout, rows, end_of_second + beyond_ms)["is_closed"].to_pylist()
    assert closed == [n < n_closed - (beyond_ms < 0) for n in range(4)]


def test_okx_must_confirm() -> None:
    rows = [row(okx.SPOT_CANDLE, n, confirm=c) for n, c in enumerate(["1", "0", "1", "0", "x"])]
    parsed = table(okx.SPOT_CANDLE, rows, T0 + 2 * MINUTE_MS)
    assert parsed["is_closed"].to_pylist() == [True, False, False, False, False]
    assert parsed["metadata"].to_pylist() == ["", "", '{"confirm":"1"}', "", '{"confirm":"x"}']


def test_binances_own_close_time_decides() -> None:
    """After the outage of February 2018 bars end elsewhere than their interval says."""
    odd = row(binance.KLINE, 0, timestamp=T0 + 28_789, close_time=T0 + 59_999)
    assert table(binance.KLINE, [odd], T0 + 60_000)["is_closed"].to_pylist() == [True]
    assert table(binance.KLINE, [odd], T0 + 59_999)["is_closed"].to_pylist() == [False]


def test_a_field_without_a_column_goes_to_metadata() -> None:
    parsed = table(binance.KLINE, [row(binance.KLINE, 0), row(binance.KLINE, 1, ignore="17928899.62484339")])
    assert parsed["metadata"].to_pylist() == ["", '{"ignore":"17928899.62484339"}']
    parsed = table(okx.SPOT_CANDLE, [row(okx.SPOT_CANDLE, 0, volCcy="9.9"), row(okx.SPOT_CANDLE, 1)])
    assert parsed["metadata"].to_pylist() == ['{"volCcy":"9.9"}', ""]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda x: "-".join(x.fields[5:7]))
def test_fields_too_many_or_too_few_lose_nothing(layout: Layout) -> None:
    longer, shorter = [*row(layout, 1), "new"], row(layout, 2)[:-2]
    parsed = table(layout, [row(layout, 0), longer, shorter])
    assert parsed.num_rows == 3
    kept = parsed["metadata"].to_pylist()
    assert [json.loads(text)["row"] for text in kept[1:]] == [longer, shorter]
    assert kept[0] == ""
    assert parsed["open"].to_pylist() == [1.1, 2.1, 3.1]


NOT_NUMBERS = ["", "abc", "nan", "NaN", "inf", "-Infinity", "1,5", "1_0", " 1", None, True, [], {}, "1e999", 10**400]


@pytest.mark.parametrize("value", NOT_NUMBERS, ids=repr)
@pytest.mark.parametrize("field", ["open", "volume", "quote_volume"])
def test_what_is_no_number_is_null_and_kept_raw(value: Any, field: str) -> None:
    bad = row(binance.KLINE, 1, **{field: value})
    parsed = table(binance.KLINE, [row(binance.KLINE, 0), bad, row(binance.KLINE, 2)])
    assert parsed[field].is_null().to_pylist() == [False, True, False]
    assert [text and json.loads(text) for text in parsed["metadata"].to_pylist()] == ["", {"row": bad}, ""]
    sound = [c for c in NUMBERS if c not in (field, "contract_volume")]
    assert all(parsed[c].null_count == 0 for c in sound)


@pytest.mark.parametrize("value", [1.5, "1.5", "x", None, True, -1, 2**63, [], ""], ids=repr)
def test_what_is_no_count_is_null_and_kept_raw(value: Any) -> None:
    bad = row(binance.KLINE, 1, trade_count=value)
    parsed = table(binance.KLINE, [row(binance.KLINE, 0), bad])
    assert parsed["trade_count"].to_pylist() == [7, None]
    assert json.loads(parsed["metadata"][1].as_py()) == {"row": bad}


@pytest.mark.parametrize("value", [T0 * 1000, T0 // 1000, "soon", None, 0, -1], ids=repr)
def test_a_close_time_in_another_unit_is_null_and_kept_raw(value: Any) -> None:
    bad = row(binance.KLINE, 1, close_time=value)
    parsed = table(binance.KLINE, [row(binance.KLINE, 0), bad], T0 + 2 * MINUTE_MS)
    assert parsed["close_time"].is_null().to_pylist() == [False, True]
    assert json.loads(parsed["metadata"][1].as_py()) == {"row": bad}
    assert parsed["is_closed"].to_pylist() == [True, True]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda x: "-".join(x.fields[5:7]))
@pytest.mark.parametrize(
    "value", [T0 // 1000, T0 * 1000, T0 * 10**6, TIME_MS_MIN - 1, TIME_MS_MAX + 1, None, "", "x", 1.5, True, [], "-1"]
)
def test_a_time_that_cannot_be_believed_spoils_the_page(layout: Layout, value: Any) -> None:
    for spelled in {repr(value): value, repr(str(value)): str(value)}.values():
        with pytest.raises(VenueUnavailable, match="open time") as caught:
            table(layout, [row(layout, 0), row(layout, 1, timestamp=spelled)])
        assert str(row(layout, 0)[1]) in caught.value.evidence


@pytest.mark.parametrize("rows", [None, {}, "rows", 1, [{}], [[], {}], [None], ["ab"]], ids=repr)
def test_what_is_no_page(rows: Any) -> None:
    with pytest.raises(VenueUnavailable, match="not a list of rows"):
        table(binance.KLINE, rows)


def test_no_rows_are_an_empty_table() -> None:
    assert table(bybit.KLINE, []).num_rows == 0


@given(st.decimals(-(10**20), 10**20, allow_nan=False, allow_infinity=False), st.sampled_from(["f", "e", "s"]))
def test_numbers_are_the_nearest_double_to_what_was_written(value: Decimal, form: str) -> None:
    text = f"{value:f}" if form == "f" else f"{value:e}" if form == "e" else str(value)
    parsed = table(bybit.KLINE, [row(bybit.KLINE, 0, open=text)])
    assert parsed["open"][0].as_py() == float(text)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=3,
)


@given(st.sampled_from(LAYOUTS + IN_SECONDS), st.data())
def test_no_mutation_of_a_row_loses_anything(layout: Layout, data: st.DataObject) -> None:
    """Whatever JSON stands where: each value is the number it says, or null with the raw row beside it."""
    rows = [row(layout, n) for n in range(4)]
    for _ in range(data.draw(st.integers(1, 4))):
        n, position = data.draw(st.integers(0, 3)), data.draw(st.integers(1, len(layout.fields) - 1))
        rows[n][position] = data.draw(ANYTHING)
    parsed = table(layout, rows).to_pylist()
    assert len(parsed) == len(rows)
    for said, got in zip(rows, parsed, strict=True):
        raw = dict(zip(layout.fields, said, strict=True))
        for name in set(NUMBERS) & set(raw):
            if got[name] is None:
                assert json.loads(got["metadata"])["row"] == said
            else:
                assert not isinstance(raw[name], bool)
                assert got[name] == float(raw[name])
                assert math.isfinite(got[name])
        lost = [raw[n] for n in layout.usual if raw[n] != (raw[layout.usual[n][1:]] if n == "volCcy" else "0")]
        assert not lost or got["metadata"]
