"""What a venue lists and listed once, and how it gets into a universe's file without changing anything else there."""

import datetime as dt
import json
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client
from hypothesis import given
from hypothesis import strategies as st

from alphaforge_assets import discovery
from alphaforge_assets.datasets.bars import BARS
from alphaforge_assets.discovery import Found, discover
from alphaforge_assets.errors import BadInput, Permanent
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.refresh import refresh
from alphaforge_assets.universe import DEFAULT_FILE, load_universe
from alphaforge_assets.universe_file import add, entry
from alphaforge_assets.venues import buckets, depot
from alphaforge_assets.venues.directory import Exchanges
from alphaforge_assets_tests.installed import Installed

SOURCE = """# mine
history_start: 2021-01-01   # long ago
intervals: [1h]
venues:
  binance_spot:   # the big one
    instruments: [BTC/USDT,   {symbol: ETH/USDT, trades: true}, # two
      SOL/USDT]  # and one
# between
  okx_spot:
    instruments:
    # first
    - BTC/USDT   # as everywhere
    -   symbol: ETH/USDT
        listed_from: 2022-01-01   # late

    # after the last one
  bybit_spot: {instruments: [XRP/USDT,]}
# the end
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "u.yaml"
    path.write_text(SOURCE, encoding="utf-8")
    return path


def found_by(exchange: Exchanges, venue: str, pattern: str = "*", quotes: tuple[str, ...] = ()) -> list[Found]:
    return discover(exchange, load_universe(), venue, quotes, pattern, lambda done, total: None)


@pytest.fixture(params=["s5cmd", "urllib3"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to a bucket."""
    if request.param == "urllib3":
        monkeypatch.setattr(depot, "find_s5cmd", lambda: None)
    elif buckets.find_s5cmd() is None:
        pytest.skip("s5cmd does not run here")
    return str(request.param)


def test_what_a_venue_dropped_is_known_by_its_files(exchange: Exchanges, way: str) -> None:
    luna, sol = found_by(exchange, "binance_spot", "[LS]*/USDT", ("USDT",))[1:]
    assert luna == Found(
        "LUNA/USDT", "LUNAUSDT", dt.date(2020, 8, 1), dt.date(2022, 5, 13), "not listed", "archive", False
    )
    assert (sol.symbol, sol.listed_from, sol.delisted) == ("SOL/USDT", dt.date(2020, 8, 1), None)
    assert (sol.source, sol.is_kept) == ("rest and archive", True)


def test_what_it_still_lists_and_does_not_trade_is_over_too(exchange: Exchanges) -> None:
    (xmr,) = found_by(exchange, "binance_spot", "XMR/*")
    assert (xmr.status, xmr.delisted, xmr.source) == ("BREAK", dt.date(2024, 2, 20), "rest and archive")
    assert found_by(exchange, "binance_spot", "*", ("EUR",)) == []


def test_a_venue_without_an_archive_tells_its_own_list(exchange: Exchanges) -> None:
    told = found_by(exchange, "okx_perp")
    assert {one.source for one in told} == {"rest"}
    assert not discovery.has_archive("okx_perp")
    with pytest.raises(BadInput, match="'nope': there is binance_spot, "):
        found_by(exchange, "nope")


def test_a_name_that_fits_no_quote_is_told_and_cannot_be_kept() -> None:
    assert discovery._of_files("LUNABUSD", {"USD", "BUSD"}, set()).symbol == "LUNA/BUSD"  # the longest fits
    assert discovery._of_files("BTCUSDT_210625", {"USDT"}, set()).symbol == ""
    assert discovery._of_files("USDT", {"USDT"}, set()).symbol == ""
    assert discovery._of_files("币安人生USDT", {"USDT"}, set()).symbol == ""


def test_what_is_over_is_fetched_from_its_files(emptied: Client, exchange: Exchanges, file: Path) -> None:
    days = {"listed_from": dt.date(2020, 8, 1), "listed_until": dt.date(2022, 5, 13)}
    universe = add(file, "binance_spot", {"LUNA/USDT": entry("LUNA/USDT", **days, venue_symbol="LUNAUSDT")})
    luna = universe.instrument("binance_spot.LUNA-USDT")
    part = Rectangle((luna,), dt.date(2022, 5, 1), dt.date(2022, 6, 1))
    landed = refresh(emptied, exchange, universe, part, BARS, run_id="test", wish="archive")
    assert (landed.failures, landed.rows) == ([], 12 * 24)


def test_every_other_byte_stays(file: Path) -> None:
    file.chmod(0o640)
    add(file, "binance_spot", {"ADA/USDT": "ADA/USDT", "LTC/USDT": entry("LTC/USDT", listed_until=dt.date(2024, 2, 1))})
    add(file, "okx_spot", {"SOL/USDT": "SOL/USDT"})
    add(file, "bybit_spot", {"BTC/USDT": "BTC/USDT"})
    after = add(file, "kraken_spot", {"BTC/USD": "BTC/USD"})
    text = file.read_text(encoding="utf-8")
    expected = SOURCE.replace(
        "      SOL/USDT]", "      SOL/USDT, ADA/USDT, {symbol: LTC/USDT, listed_until: 2024-02-01}]"
    )
    expected = expected.replace("# late\n", "# late\n    - SOL/USDT\n").replace("[XRP/USDT,]", "[XRP/USDT, BTC/USDT,]")
    expected = expected.replace("# the end", "  kraken_spot:\n    instruments:\n      - BTC/USD\n# the end")
    assert text == expected
    assert after.instrument("binance_spot.ETH-USDT").trades
    assert file.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in file.parent.glob("*.yaml*")] == ["u.yaml"]


def test_what_cannot_be_added_leaves_the_file_as_it_was(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for entries, said in (
        ({"BTC/USDT": "BTC/USDT"}, "is listed twice"),
        ({"OLD/USDT": entry("OLD/USDT", listed_until=dt.date(2020, 1, 1))}, "not after history_start"),
    ):
        with pytest.raises(BadInput, match=said):
            add(file, "binance_spot", entries)
    flow = file.with_name("flow.yaml")
    flow.write_text("{history_start: 2021-01-01, intervals: [1h], venues: {okx_spot: {instruments: [BTC/USDT]}}}\n")
    with pytest.raises(BadInput, match="add the lines by hand"):
        add(flow, "binance_spot", {"BTC/USDT": "BTC/USDT"})
    with pytest.raises(BadInput, match="the package's own"):
        add(DEFAULT_FILE, "binance_spot", {"ADA/USDT": "ADA/USDT"})
    monkeypatch.setattr("tempfile.mkstemp", _full)
    with pytest.raises(Permanent, match="it is as it was"):
        add(file, "binance_spot", {"ADA/USDT": "ADA/USDT"})
    assert file.read_text(encoding="utf-8") == SOURCE


def _full(*args: object, **more: object) -> None:
    raise OSError(28, "No space left on device")


@given(
    st.sampled_from(("binance_spot", "okx_spot", "bybit_spot", "kraken_spot")),
    st.lists(st.from_regex(r"[A-Z0-9]{1,8}/(EUR|BRL)", fullmatch=True), min_size=1, max_size=3, unique=True),
)
def test_any_symbol_can_be_added_anywhere(
    tmp_path_factory: pytest.TempPathFactory, venue: str, symbols: list[str]
) -> None:
    path = tmp_path_factory.mktemp("any") / "u.yaml"
    path.write_text(SOURCE, encoding="utf-8")
    before, after = load_universe(path), add(path, venue, {symbol: entry(symbol) for symbol in symbols})
    assert {i.key for i in after.instruments} - {i.key for i in before.instruments} == {
        f"{venue}.{symbol.replace('/', '-')}" for symbol in symbols
    }


def test_the_command_shows_adds_and_refuses(exchange: Exchanges, file: Path, tmp_path: Path) -> None:
    its = Installed(tmp_path, exchange.base_url)
    words = ("universe", "--discover", "binance_spot", "--match", "LUNA/*")
    shown = its.well(*words, "--write", ALPHAFORGE_UNIVERSE=str(file))
    assert "2022-05-13" in shown
    assert "1 instruments added" in shown.replace("\n", " ")
    (row,) = json.loads(its.well(*words, "--json", "--write", ALPHAFORGE_UNIVERSE=str(file)))
    assert (row["symbol"], row["is_kept"], row["is_added"]) == ("LUNA/USDT", True, False)
    refused = its.run("universe", "--discover", "nope")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert its.run("universe", "--write").returncode == 2
    dead = its.run("universe", "--discover", "okx_spot", ALPHAFORGE_VENUES="http://127.0.0.1:9")
    assert (dead.returncode, dead.stderr.count("\n")) == (1, 1)
