"""Instruments and venues as history: what makes a version, what never does, and what contradicts the bars."""

import datetime as dt
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from clickhouse_connect.driver.client import Client

from alphaforge_assets.definitions import build
from alphaforge_assets.errors import BadInput, VenueUnavailable
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.pipeline import dimensions
from alphaforge_assets.quality import checks
from alphaforge_assets.quality.checks import every_check
from alphaforge_assets.research import Research
from alphaforge_assets.sandbox import process as sandbox
from alphaforge_assets.universe import Identity, Universe, load_universe
from alphaforge_assets.venues import bybit
from alphaforge_assets.venues.directory import REST, Exchanges
from alphaforge_assets.venues.source import Listing
from alphaforge_assets.warehouse.listings import NOT_LISTED, publish_listings, venue_symbols
from alphaforge_assets_tests.conftest import LIFTED, lifted
from alphaforge_assets_tests.test_pipeline import count, post

FIRST = dt.datetime(2025, 6, 1, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
UNIVERSE = load_universe()


@pytest.fixture(scope="module")
def listings(exchange: Exchanges) -> list[Listing]:
    with exchange.open(REST["binance_perp"]) as connection:
        return connection.fetch_listings()


def without(listings: list[Listing], *symbols: str) -> list[Listing]:
    return [x for x in listings if x.symbol not in symbols]


def versions(client: Client, symbol: str) -> list[tuple[Any, ...]]:
    return list(
        client.query(
            "SELECT status, is_active, valid_from, valid_to FROM analytics.v_instruments_history"
            " WHERE symbol = {s:String} ORDER BY valid_from",
            parameters={"s": symbol},
            tz_mode="aware",
        ).result_rows
    )


def test_the_same_list_again_adds_nothing(emptied: Client, listings: list[Listing]) -> None:
    first = publish_listings(emptied, listings, FIRST)
    assert {c.kind for c in first} == {"new"}
    assert len(first) == len({x.symbol for x in listings}) == count(emptied, "instruments")
    assert publish_listings(emptied, [replace(x, info="{}") for x in listings], FIRST + HOUR) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("venue_symbol", "SOLUSDT_NEW"),
        ("status", "SETTLING"),
        ("tick_size", 0.5),
        ("lot_size", 5.0),
        ("contract_size", 10.0),
        ("min_notional", 7.0),
        ("listed_at", FIRST - HOUR),
        ("delisted_at", FIRST + 24 * HOUR),
        ("funding_rate_cap", 0.02),
        ("funding_rate_floor", -0.02),
        ("funding_interval_hours", 4.0),
    ],
)
def test_each_of_these_makes_a_version(emptied: Client, listings: list[Listing], field: str, value: object) -> None:
    publish_listings(emptied, listings, FIRST)
    before = next(x for x in listings if x.symbol == "SOL/USDT")
    now = [replace(x, **{field: value}) if x is before else x for x in listings]  # type: ignore[arg-type]
    (change,) = publish_listings(emptied, now, FIRST + HOUR)
    assert (change.symbol, change.kind, dict(change.fields)) == (
        "SOL/USDT", "changed", {field: (getattr(before, field), value)},
    )  # fmt: skip
    assert [(a, b) for _, _, a, b in versions(emptied, "SOL/USDT")] == [(FIRST, FIRST + HOUR), (FIRST + HOUR, None)]
    assert count(emptied, "v_instruments") == len(listings)
    assert publish_listings(emptied, now, FIRST + 2 * HOUR) == []


def test_what_is_no_longer_listed_stays_and_may_come_back(emptied: Client, listings: list[Listing]) -> None:
    publish_listings(emptied, listings, FIRST)
    (gone,) = publish_listings(emptied, without(listings, "LTC/USDT"), FIRST + HOUR)
    assert (gone.symbol, gone.kind) == ("LTC/USDT", "not listed")
    assert publish_listings(emptied, without(listings, "LTC/USDT"), FIRST + 2 * HOUR) == []
    assert ("binance_perp", "LTC/USDT") in venue_symbols(emptied, ["binance_perp"])
    (back,) = publish_listings(emptied, listings, FIRST + 3 * HOUR)
    assert back.kind == "listed again"
    assert versions(emptied, "LTC/USDT") == [
        ("TRADING", True, FIRST, FIRST + HOUR),
        (NOT_LISTED, False, FIRST + HOUR, FIRST + 3 * HOUR),
        ("TRADING", True, FIRST + 3 * HOUR, None),
    ]


def test_the_end_is_the_venues_own_or_unknown(emptied: Client, listings: list[Listing]) -> None:
    announced = FIRST + 5 * HOUR
    named = [replace(x, delisted_at=announced) if x.symbol == "LTC/USDT" else x for x in listings]
    publish_listings(emptied, named, FIRST)
    publish_listings(emptied, without(named, "LTC/USDT", "ADA/USDT"), FIRST + HOUR)
    ends = emptied.query(
        "SELECT symbol, delisted_at FROM analytics.v_instruments WHERE status = 'not_listed' ORDER BY symbol",
        tz_mode="aware",
    ).result_rows
    assert ends == [("ADA/USDT", None), ("LTC/USDT", announced)]


def test_a_list_cut_short_delists_nothing(emptied: Client, listings: list[Listing]) -> None:
    publish_listings(emptied, listings, FIRST)
    short = listings[: len(listings) // 2 - 1]
    with pytest.raises(
        VenueUnavailable, match=rf"lists {len(short)} instruments where it listed {len(listings)}.*--believe"
    ):
        publish_listings(emptied, short, FIRST + HOUR)
    assert count(emptied, "instruments") == len(listings)
    believed = publish_listings(emptied, short, FIRST + HOUR, believe=True)
    assert {c.kind for c in believed} == {"not listed"}
    assert publish_listings(emptied, short, FIRST + 2 * HOUR) == []  # what is gone is not counted again


def test_two_listings_of_one_symbol_are_the_one_that_trades(emptied: Client, listings: list[Listing]) -> None:
    active = next(x for x in listings if x.is_active)
    twin = replace(active, venue_symbol="OLD", is_active=False, status="BREAK")
    for order in ([active, twin], [twin, active], [active, twin]):
        publish_listings(emptied, order, FIRST)
    assert count(emptied, "instruments") == 1
    assert venue_symbols(emptied, [active.venue])[active.venue, active.symbol] == active.venue_symbol


def test_researchers_read_instruments_as_of_a_moment(emptied: Client, listings: list[Listing]) -> None:
    publish_listings(emptied, listings, FIRST)
    publish_listings(emptied, without(listings, "LTC/USDT"), FIRST + HOUR)
    research = Research(emptied, UNIVERSE)
    now = research.instruments()
    assert now.index.name == "instrument"
    assert now.loc["binance_perp.LTC-USDT", "status"] == NOT_LISTED
    then = research.instruments("binance_perp", FIRST + HOUR - dt.timedelta(milliseconds=1))
    assert then.loc["binance_perp.LTC-USDT", "status"] == "TRADING"
    assert research.instruments(as_of=FIRST + HOUR).loc["binance_perp.LTC-USDT", "status"] == NOT_LISTED
    assert len(research.instruments(as_of=FIRST - HOUR)) == 0
    assert len(research.instruments("okx_spot")) == 0
    assert {"valid_from", "valid_to", "tick_size", "funding_rate_cap"} <= set(now.columns)
    with pytest.raises(BadInput, match="venue 'okx'"):
        research.instruments("okx")
    with pytest.raises(BadInput, match="as_of 'once'"):
        research.instruments(as_of="once")


def test_bybit_lists_its_funding_caps() -> None:
    marks = bybit.marks({"fundingInterval": 240, "upperFundingRate": "0.005", "lowerFundingRate": "-0.005"})
    assert (marks.funding_rate_cap, marks.funding_rate_floor, marks.funding_interval_hours) == (0.005, -0.005, 4.0)
    spot = bybit.marks({"status": "Trading", "upperFundingRate": ""})
    assert (spot.funding_rate_cap, spot.funding_interval_hours) == (None, None)


def test_a_refresh_notes_who_was_reachable(emptied: Client, tmp_path: Path) -> None:
    venues = {"okx_spot": {"instruments": ["BTC/USDT"]}, "bybit_spot": {"instruments": ["BTC/USDT"]}}
    two = Universe.model_validate({"history_start": dt.date(2025, 1, 1), "intervals": ["1h"], "venues": venues})
    with sandbox.start(now=dt.datetime(2025, 7, 1, tzinfo=dt.UTC), budget_scale=LIFTED) as url:
        own = lifted(url, tmp_path / "governor.sqlite3")
        changes, errors = dimensions.refresh_listings(emptied, own, two)  # type: ignore[arg-type]
        assert errors == {}
        assert set(changes) == {"okx_spot", "bybit_spot"}
        post(url, "/_faults", {"path": "/v5/market/time", "kind": "status", "status": 451, "times": 1})
        changes, errors = dimensions.refresh_listings(emptied, own, two)  # type: ignore[arg-type]
    assert changes == {"okx_spot": []}
    assert errors["bybit_spot"].startswith("VenueRefused")
    rows = emptied.query(
        "SELECT venue, is_reachable, error != '', clock_skew_ms IS NULL, instruments_listed > 0"
        " FROM analytics.venues_history ORDER BY venue, observed_at"
    ).result_rows
    assert rows == [
        ("bybit_spot", True, 0, 0, 1), ("bybit_spot", False, 1, 1, None),
        ("okx_spot", True, 0, 0, 1), ("okx_spot", True, 0, 0, 1),
    ]  # fmt: skip
    assert emptied.query("SELECT count() FROM analytics.venues FINAL").result_rows == [(2,)]


(CONSISTENT,) = [rule for rule in every_check() if rule.name == "metadata_is_consistent"]


def offenders(client: Client, **identity: Any) -> list[tuple[str, str, int]]:
    """What the rule tells; all instruments are of that identity."""
    instruments = tuple(replace(i, identity=Identity(**identity)) for i in UNIVERSE.instruments)
    part = Rectangle(instruments, dt.date(2017, 1, 1), dt.date(2026, 1, 1))
    found = checks.offenders(client, CONSISTENT, part, dt.datetime.now(dt.UTC))
    return [(r["symbol"], r["what"], r["rows"]) for r in found]


def publish_bar(client: Client, symbol: str, timestamp: dt.datetime) -> None:
    row: dict[str, Any] = {"venue": "binance_perp", "symbol": symbol, "interval": "1h", "timestamp": timestamp}
    row |= dict.fromkeys(("open_e8", "high_e8", "low_e8", "close_e8", "volume_e8"), 10**8) | {
        "source": "rest",
        "version": 1,
    }
    row |= {"instrument_id": UNIVERSE.instrument("binance_perp." + symbol.replace("/", "-")).instrument_id}
    row |= {"batch_id": uuid.uuid4(), "ingested_at": FIRST, "published_at": FIRST}
    client.insert("analytics.bars", [list(row.values())], column_names=list(row))


def test_metadata_that_contradicts_the_bars_is_named(emptied: Client, listings: list[Listing]) -> None:
    kept = [
        replace(
            x, listed_at=dt.datetime(2020, 9, 14, 7, tzinfo=dt.UTC), delisted_at=dt.datetime(2025, 2, 1, tzinfo=dt.UTC)
        )
        if x.symbol == "SOL/USDT"
        else x
        for x in without(listings, "BNB/USDT")
    ]
    publish_listings(emptied, kept, FIRST)
    for moment in (dt.datetime(2020, 9, 14, tzinfo=dt.UTC), dt.datetime(2025, 1, 31, 23, tzinfo=dt.UTC)):
        publish_bar(emptied, "SOL/USDT", moment)
    publish_bar(emptied, "BTC/USDT", FIRST)
    assert offenders(emptied) == []
    publish_bar(emptied, "SOL/USDT", dt.datetime(2020, 9, 13, 23, tzinfo=dt.UTC))
    publish_bar(emptied, "SOL/USDT", dt.datetime(2025, 2, 1, tzinfo=dt.UTC))
    publish_bar(emptied, "BNB/USDT", FIRST)
    broken = [
        replace(x, contract_size=None)
        if x.symbol == "XRP/USDT"
        else replace(x, base="WETH")
        if x.symbol == "ETH/USDT"
        else x
        for x in kept
    ]
    publish_listings(emptied, broken, FIRST + HOUR)
    assert offenders(emptied) == [
        ("BNB/USDT", "bars of an instrument that no venue was seen to list", 1),
        ("ETH/USDT", "another venue, symbol, base or quote under one id", 2),
        ("SOL/USDT", "bars after delisted_at", 1),
        ("SOL/USDT", "bars before listed_at", 1),
        ("XRP/USDT", "a perpetual without a contract size", 1),
    ]


def test_what_is_listed_again_is_told_until_the_universe_says_what_it_is(
    emptied: Client, listings: list[Listing]
) -> None:
    day = dt.timedelta(days=1)
    for kept, moment in (
        (listings, FIRST),
        (without(listings, "BNB/USDT"), FIRST + day),  # for 18 days, as LUNA
        (without(listings, "SOL/USDT", "BNB/USDT"), FIRST + 2 * day),  # for an hour, as a list with a fault
        (without(listings, "BNB/USDT"), FIRST + 2 * day + HOUR),
    ):
        publish_listings(emptied, kept, moment)
    assert offenders(emptied) == []
    again = FIRST + 19 * day
    publish_listings(emptied, [replace(x, listed_at=again) if x.symbol == "BNB/USDT" else x for x in listings], again)
    publish_bar(emptied, "BNB/USDT", FIRST)
    listed, before = (what for _, what, _ in reversed(offenders(emptied)))
    assert (listed[:12], before) == ("listed again", "bars before listed_at")
    assert offenders(emptied, relisted_at=(again - HOUR,)) == []
    assert offenders(emptied, listed_at=FIRST) == [("BNB/USDT", "bars before listed_at", 1)]
    assert [what[:12] for _, what, _ in offenders(emptied, relisted_at=(again + day,))] == ["listed again"]


def test_the_asset_tells_the_ui_what_changed(emptied: Client, exchange: Exchanges) -> None:
    resources = {"warehouse": emptied, "exchanges": exchange, "universe": UNIVERSE}
    job = build(UNIVERSE, resources).resolve_implicit_global_asset_job_def()
    selection = [dg.AssetKey("venues"), dg.AssetKey("instruments")]
    with exchange.open(REST["okx_perp"]) as connection:
        listings = connection.fetch_listings()
    first = listings[0]
    publish_listings(emptied, [replace(first, tick_size=9.0), *listings[1:]], FIRST)
    result = job.execute_in_process(asset_selection=selection, instance=dg.DagsterInstance.ephemeral())
    told = {str(e.asset_key): e.step_materialization_data for e in result.get_asset_materialization_events()}
    assert set(told) == {str(dg.AssetKey(name)) for name in ("venues", "instruments", "venues_history")}
    metadata: dict[str, Any] = dict(told[str(dg.AssetKey("instruments"))].materialization.metadata)
    assert metadata["by_kind"].value["changed"] == 1
    (record,) = metadata["changes"].records
    assert (record.data["symbol"], record.data["changes"]) == (first.symbol, f"tick_size 9.0 → {first.tick_size}")
    assert {e.check_name: e.passed for e in result.get_asset_check_evaluations()} == {"metadata_is_consistent": True}
