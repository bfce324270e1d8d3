"""The plugin, and the worked backtest: one result for one snapshot, however the warehouse came to be."""

import datetime as dt
import importlib.metadata
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from clickhouse_connect.driver.client import Client

from alphaforge_assets.datasets.bars import BARS
from alphaforge_assets.errors import BadInput
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.pipeline.landing import land
from alphaforge_assets.pipeline.mart import publish
from alphaforge_assets.pipeline.staging import stage
from alphaforge_assets.research import IncompleteWarning
from alphaforge_assets.research.plugin import WarehouseClickhouse, warehouse_clickhouse
from alphaforge_assets.universe import load_universe
from alphaforge_assets.venues.directory import Exchanges
from alphaforge_assets.warehouse.client import open_warehouse
from alphaforge_assets_tests.installed import Installed

ROOT = Path(__file__).parents[1]
UNIVERSE = load_universe()
FIRST = dt.date(2025, 6, 1)
DAYS = 8
CONFIG: dict[str, Any] = {
    "venues": ["okx_spot", "binance_spot"],
    "symbols": ["BTC/USDT", "ETH/USDT"],
    "interval": "1h",
    "start": "2025-06-01",
    "end": "2025-06-09",
}


def script() -> Any:
    spec = importlib.util.spec_from_file_location("backtest", ROOT / "docs" / "backtest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["backtest"] = module
    spec.loader.exec_module(module)
    return module


def fill(client: Client, exchange: Exchanges, part: Rectangle) -> None:
    landed = land(client, exchange, part, BARS, ["1h"], run_id="test")
    assert landed.failures == []
    stage(client, part, BARS, ["1h"])
    publish(client, part, BARS, ["1h"])


@pytest.fixture(scope="module")
def homes(template: Path, tmp_path_factory: pytest.TempPathFactory, exchange: Exchanges) -> list[Path]:
    """Two homes with the same eight days: one filled at once, one a day and an instrument at a time, backwards."""
    instruments = UNIVERSE.select(
        ["okx_spot.BTC-USDT", "okx_spot.ETH-USDT", "binance_spot.BTC-USDT", "binance_spot.ETH-USDT"]
    )
    made = []
    for name in ("at_once", "backwards"):
        home = Installed(tmp_path_factory.mktemp(name)).furnished(template).home
        with open_warehouse(home) as client:
            if name == "at_once":
                fill(client, exchange, Rectangle(instruments, FIRST, FIRST + dt.timedelta(days=DAYS)))
            else:
                for n in (6, 4, 2, 0):
                    day = FIRST + dt.timedelta(days=n)
                    for instrument in reversed(instruments):
                        fill(client, exchange, Rectangle((instrument,), day, day + dt.timedelta(days=2)))
        made.append(home)
    return made


@pytest.fixture
def at_once(homes: list[Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ALPHAFORGE_HOME", str(homes[0]))
    return homes[0]


def test_the_backtest_gives_one_result_on_two_warehouses(
    homes: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    backtest = script()
    said = []
    for home in homes:
        monkeypatch.setenv("ALPHAFORGE_HOME", str(home))
        backtest.main("binance_spot", "BTC/USDT", "2025-06-01", "2025-06-09")
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    assert "192 bars" in said[0]


def test_a_signal_never_sees_the_bar_it_trades_on(at_once: Path) -> None:
    backtest = script()
    bars = warehouse_clickhouse(CONFIG | {"venues": ["binance_spot"], "symbols": ["BTC/USDT"]})
    whole = backtest.backtest(bars)
    assert whole.trades > 0
    assert whole.costs == pytest.approx(whole.trades * backtest.COST)
    # What happens in the last bar cannot change which trades were done by then.
    shocked = bars.copy()
    shocked.loc[shocked.index[-1], "close"] *= 3
    assert backtest.backtest(shocked).trades == whole.trades


def test_a_frame_is_long_ordered_as_configured_and_typed(at_once: Path) -> None:
    frame = warehouse_clickhouse(CONFIG)
    assert list(frame.columns) == ["venue", "symbol", "timestamp", "open", "high", "low", "close", "volume"]
    assert len(frame) == 4 * 24 * DAYS
    keys = list(dict.fromkeys(zip(frame["venue"], frame["symbol"], strict=True)))
    assert keys == [(v, s) for v in CONFIG["venues"] for s in CONFIG["symbols"]]
    assert all(part["timestamp"].is_monotonic_increasing for _, part in frame.groupby(["venue", "symbol"]))
    assert str(frame["timestamp"].dtype) == "datetime64[ms, UTC]"
    assert set(frame.attrs["receipts"]) == {f"{v}.{s.replace('/', '-')}" for v, s in keys}
    pd.testing.assert_frame_equal(frame, warehouse_clickhouse(WarehouseClickhouse.model_validate(CONFIG)))
    with pytest.warns(IncompleteWarning, match="24 never_asked"):
        empty = warehouse_clickhouse(CONFIG | {"start": "2025-03-01", "end": "2025-03-02"})
    assert (len(empty), list(empty.columns)) == (0, list(frame.columns))


def test_the_plugin_is_found_by_its_entry_point() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    assert '[project.entry-points."alphaforge.plugins"]' in text
    found = [e for e in importlib.metadata.entry_points(group="alphaforge.plugins") if e.name == "warehouse_clickhouse"]
    point = found[0] if found else importlib.metadata.EntryPoint(
        "warehouse_clickhouse", "alphaforge_assets.research.plugin:warehouse_clickhouse", "alphaforge.plugins"
    )  # fmt: skip
    assert point.value in text
    assert point.load() is warehouse_clickhouse


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"venues": ["binance"]}, "config: venues.0: 'binance' is not known; use 'binance_spot'"),
        ({"symbols": ["BTCUSDT"]}, "'BTCUSDT': write BASE/QUOTE as the venue spells it"),
        ({"symbols": []}, "config: symbols:"),
        ({"interval": "2h"}, "config: interval: '2h' is not known"),
        ({"start": "yesterday-ish"}, "config: start: write a time as 2025-05-01"),
        ({"end": "2025-05-01"}, "is not after start"),
        ({"snapshot": "a", "as_of": "2025-06-02"}, "give one of them"),
        ({"colums": ["close"]}, "config: colums: unknown field; there is venues"),
        ({"venues": ["okx_spot", "okx_spot"]}, "named twice"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused_with_the_field_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput) as refused:
        warehouse_clickhouse(CONFIG | change)
    assert message in str(refused.value)


def test_what_only_the_warehouse_knows_is_refused_too(at_once: Path) -> None:
    with pytest.raises(BadInput, match="did you mean"):
        warehouse_clickhouse(CONFIG | {"symbols": ["BTC/EUR"]})
    with pytest.raises(BadInput, match="clse"):
        warehouse_clickhouse(CONFIG | {"columns": ["clse"]})
    assert os.environ["ALPHAFORGE_HOME"] == str(at_once)
