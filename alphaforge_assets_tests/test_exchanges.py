"""What is peculiar to the venues beyond the default universe, all the way through the warehouse."""

import datetime as dt
import json
import re
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from clickhouse_connect.driver.client import Client

import alphaforge_assets
from alphaforge_assets.backfill.cost import predict
from alphaforge_assets.backfill.run import plan
from alphaforge_assets.datasets.bars import BARS
from alphaforge_assets.errors import BadInput, UnknownSymbol, VenueLimited, VenueRefused, VenueUnavailable
from alphaforge_assets.exports.nautilus import instrument_id
from alphaforge_assets.exports.series import Series
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.pipeline import served
from alphaforge_assets.quality import coverage
from alphaforge_assets.refresh import refresh
from alphaforge_assets.research import IncompleteWarning, Research
from alphaforge_assets.sandbox import process as sandbox
from alphaforge_assets.universe import Universe
from alphaforge_assets.upkeep.tail import tail
from alphaforge_assets.venues.directory import VENUES, Exchanges, kept
from alphaforge_assets.venues.listings import read_listings
from alphaforge_assets.venues.refusals import Reply, refuse
from alphaforge_assets.venues.source import Patience
from alphaforge_assets_tests.conftest import LIFTED, lifted, open_venue
from alphaforge_assets_tests.installed import Installed
from alphaforge_assets_tests.test_coverage import found

NOW = dt.datetime(2025, 7, 2, 12, 0, 30, tzinfo=dt.UTC)
TODAY, DAY = dt.date(2025, 7, 2), dt.timedelta(days=1)
UNIVERSE = Universe.model_validate(
    {
        "history_start": dt.date(2025, 5, 1),
        "intervals": ["1m", "1h", "4h"],
        "venues": {
            "coinbase_spot": {"instruments": ["BTC/USD", "LTC/USD", "LTC/BTC"]},
            "kraken_spot": {"instruments": ["BTC/USD", "ETH/BTC"]},
            "binanceus_spot": {"instruments": ["BTC/USDT"]},
        },
    }
)
COINBASE = tuple(i for i in UNIVERSE.instruments if i.venue == "coinbase_spot")
KRAKEN = tuple(i for i in UNIVERSE.instruments if i.venue == "kraken_spot")
(US,) = (i for i in UNIVERSE.instruments if i.venue == "binanceus_spot")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with sandbox.start(now=NOW, budget_scale=LIFTED) as address:
        yield address


@pytest.fixture
def exchanges(url: str, tmp_path: Path) -> Iterator[Exchanges]:
    yield lifted(url, tmp_path / "governor.sqlite3")
    for hook in ("/_faults", "/_log"):
        urllib.request.urlopen(urllib.request.Request(url + hook, method="DELETE"), timeout=10).close()


def order(url: str, fault: dict[str, Any]) -> None:
    urllib.request.urlopen(url + "/_faults", json.dumps(fault).encode(), timeout=10).close()


def rows(client: Client, query: str) -> list[tuple[Any, ...]]:
    return list(client.query(query, tz_mode="aware").result_rows)


def filled(client: Client, exchanges: Exchanges, part: Rectangle, run: str = "run") -> None:
    assert refresh(client, exchanges, UNIVERSE, part, BARS, run_id=run).failures == []


def test_every_interval_a_venue_has_and_no_other_comes(emptied: Client, exchanges: Exchanges) -> None:
    part = Rectangle((COINBASE[0], US), TODAY - DAY, TODAY)
    filled(emptied, exchanges, part)
    assert rows(emptied, "SELECT venue, interval, count() FROM analytics.v_bars GROUP BY ALL ORDER BY ALL") == [
        *(("binanceus_spot", interval, n) for interval, n in (("1h", 24), ("1m", 1440), ("4h", 6))),
        *(("coinbase_spot", interval, n) for interval, n in (("1h", 24), ("1m", 1440))),
    ]
    assert rows(emptied, "SELECT DISTINCT venue, interval FROM analytics.v_coverage ORDER BY ALL") == [
        *(("binanceus_spot", interval) for interval in ("1h", "1m", "4h")),
        *(("coinbase_spot", interval) for interval in ("1h", "1m")),
    ]
    assert rows(emptied, "SELECT min(score), count() FROM analytics.v_coverage") == [(100, 5)]
    # Neither is volume in quote, which Coinbase does not say.
    nulls = "SELECT countIf(quote_volume IS NULL), countIf(trade_count IS NOT NULL) FROM analytics.v_bars"
    (known,) = rows(emptied, nulls + " WHERE interval = '1m'")
    assert known == (1440, 1440)
    again = refresh(emptied, exchanges, UNIVERSE, part, BARS, run_id="again")
    assert (again.rows, again.cost.requests) == (0, 0)
    assert predict(emptied, UNIVERSE, BARS, [part]).venues == ()


def test_minutes_that_coinbase_left_out_are_no_outages(emptied: Client, exchanges: Exchanges) -> None:
    filled(emptied, exchanges, Rectangle(COINBASE, TODAY - DAY, TODAY))
    by = "SELECT symbol, verdict, sum(missing), count() FROM analytics.v_gaps WHERE is_open GROUP BY ALL ORDER BY ALL"
    told = {(symbol, verdict): missing for symbol, verdict, missing, _ in rows(emptied, by)}
    assert set(told) == {("LTC/BTC", "no_trades"), ("LTC/USD", "no_trades")}
    assert 400 < told["LTC/BTC", "no_trades"] < 800
    assert 0 < told["LTC/USD", "no_trades"] < 24  # too few for a series to be known by them: the venue's word is it
    evidence = {g["symbol"]: g["evidence"] for one in COINBASE for g in found(emptied, one)}
    assert "left out minutes" in evidence["LTC/BTC"]
    assert evidence["LTC/USD"].startswith("the venue publishes no bar of an interval without trades")
    # They are missing all the same, and the score says so.
    scores = dict(rows(emptied, "SELECT symbol, score FROM analytics.v_coverage WHERE interval = '1m'"))
    assert scores["BTC/USD"] == 100
    assert scores["LTC/BTC"] < 65 < scores["LTC/USD"] < 100


def test_silent_together_for_long_is_an_outage_of_coinbase_too(emptied: Client, url: str, exchanges: Exchanges) -> None:
    since = int(dt.datetime(2025, 7, 1, 5, tzinfo=dt.UTC).timestamp() * 1000)
    candles = {"path": "/products/{id}/candles", "kind": "without", "times": 1000, "since": since}
    order(url, {**candles, "rows": 20, "symbol": "BTC-USD"})
    order(url, {**candles, "rows": 20, "symbol": "LTC-USD"})
    part = Rectangle(COINBASE[:2], TODAY - DAY, TODAY)
    filled(emptied, exchanges, part)
    spans = {
        one.symbol: [(g["missing"], g["verdict"]) for g in found(emptied, one) if g["missing"] > 2] for one in COINBASE
    }
    assert spans == {"BTC/USD": [(20, "venue_outage")], "LTC/USD": [(20, "venue_outage")], "LTC/BTC": []}


@pytest.mark.parametrize(("minutes", "verdict"), [(40, "no_trades"), (180, "unknown")])
def test_one_that_rests_while_others_trade_is_no_outage(
    emptied: Client, url: str, exchanges: Exchanges, minutes: int, verdict: str
) -> None:
    """Hours need another reason than that nobody traded."""
    since = int(dt.datetime(2025, 7, 1, 5, tzinfo=dt.UTC).timestamp() * 1000)
    fault = {"path": "/products/{id}/candles", "kind": "without", "times": 1000, "symbol": "LTC-USD"}
    order(url, {**fault, "since": since, "rows": minutes})
    filled(emptied, exchanges, Rectangle(COINBASE[:2], TODAY - DAY, TODAY))
    assert [(g["missing"], g["verdict"]) for g in found(emptied, COINBASE[1]) if g["missing"] > 5] == [
        (minutes, verdict)
    ]


def test_what_kraken_no_longer_serves_is_lost_and_not_asked_for(
    emptied: Client, url: str, exchanges: Exchanges
) -> None:
    part = Rectangle(KRAKEN[:1], TODAY - DAY, TODAY + DAY)
    filled(emptied, exchanges, part)
    have = rows(emptied, "SELECT interval, count(), min(timestamp) FROM analytics.v_bars GROUP BY ALL ORDER BY ALL")
    first = dt.datetime(2025, 7, 2, 0, 11, tzinfo=dt.UTC)  # 720 less the open one and ten minutes in a queue
    yesterday = dt.datetime(2025, 7, 1, tzinfo=dt.UTC)
    assert have == [("1h", 36, yesterday), ("1m", 709, first), ("4h", 9, yesterday)]
    ledger = rows(
        emptied,
        "SELECT window_start, window_end, requests, source FROM analytics.ingest_batches WHERE status = 'unserved'",
    )
    assert ledger == [(yesterday, first, 0, "rest")]
    (gap,) = found(emptied, KRAKEN[0])
    assert (gap["verdict"], gap["gap_start"], gap["gap_end"]) == ("retention_lost", yesterday, first)
    assert gap["evidence"] == "the venue serves no more than the last 11.8 hours of it"
    assert gap["next_attempt_at"] is None
    filled(emptied, exchanges, part, "again")
    filled(emptied, exchanges, replace(part, start=TODAY - 2 * DAY), "earlier")
    told = "SELECT window_start, window_end FROM analytics.ingest_batches WHERE status = 'unserved' ORDER BY 1"
    assert rows(emptied, told) == [(yesterday - DAY, yesterday), (yesterday, first)]
    missing = Research(emptied, UNIVERSE).gaps(KRAKEN[0].key, start=TODAY - 2 * DAY, end=TODAY)
    assert list(missing.verdict) == ["retention_lost"]
    with urllib.request.urlopen(url + "/_log?path=/0/public/OHLC", timeout=10) as answer:
        asked = [entry["query"]["interval"] for entry in json.load(answer)]
    # Of each interval once, and the hours of the day before; no minute that is gone.
    assert sorted(asked) == ["1", "240", "240", "60", "60"]


def test_a_gap_that_kraken_answered_in_time_keeps_its_verdict(emptied: Client, url: str, exchanges: Exchanges) -> None:
    since = int(dt.datetime(2025, 7, 2, 5, tzinfo=dt.UTC).timestamp() * 1000)
    order(url, {"path": "/0/public/OHLC", "kind": "without", "times": 1000, "since": since, "rows": 30})
    part = Rectangle(KRAKEN, TODAY, TODAY + DAY)
    filled(emptied, exchanges, part)
    for later in (dt.timedelta(0), 5 * DAY):
        coverage.judge(emptied, part, BARS, UNIVERSE, now=NOW + later)
        by_length = {(g["interval"], g["missing"]): g["verdict"] for g in found(emptied, KRAKEN[0])}
        assert by_length["1m", 30] == "venue_outage"


def test_each_interval_is_lost_by_its_own_reach(emptied: Client, exchanges: Exchanges) -> None:
    """Hours go back a month where minutes go back half a day."""
    assert (kept("kraken_spot", "bars", "1m"), kept("kraken_spot", "bars", "1d")) == (
        dt.timedelta(minutes=709),
        dt.timedelta(days=719, minutes=-10),
    )
    part = Rectangle(KRAKEN[:1], TODAY - 31 * DAY, TODAY - 28 * DAY)
    filled(emptied, exchanges, part)
    have = dict(rows(emptied, "SELECT interval, min(timestamp) FROM analytics.v_bars GROUP BY interval"))
    assert have == {
        "1h": dt.datetime(2025, 6, 2, 13, tzinfo=dt.UTC),
        "4h": dt.datetime(2025, 6, 1, tzinfo=dt.UTC),
    }
    lost = {g["interval"]: (g["verdict"], g["gap_end"]) for g in found(emptied, KRAKEN[0])}
    assert lost == {
        "1m": ("retention_lost", dt.datetime(2025, 6, 4, tzinfo=dt.UTC)),
        "1h": ("retention_lost", dt.datetime(2025, 6, 2, 13, tzinfo=dt.UTC)),
    }


def test_nothing_is_planned_that_nobody_serves(emptied: Client) -> None:
    import dagster as dg

    now = dt.datetime.now(dt.UTC)
    old = Rectangle(KRAKEN, now.date() - 800 * DAY, now.date() - 798 * DAY)
    assert predict(emptied, UNIVERSE, BARS, [old]).venues == ()
    with dg.DagsterInstance.ephemeral() as instance:
        planned = plan(emptied, instance, UNIVERSE, BARS, KRAKEN, old.start, old.end, refetch=False)
    assert (planned.left, len(planned.runs)) == ((), 1)  # the days are judged all the same
    young = Rectangle(KRAKEN, now.date() - 2 * DAY, now.date() - DAY)
    (venue,) = predict(emptied, UNIVERSE, BARS, [young]).venues
    assert {s.budget.name for s in venue.spent} == {"kraken.public"}
    left = served.still(BARS, served.windows(BARS, young, UNIVERSE.intervals, now), now)
    assert {w.interval for w in left} >= {"1h", "4h"}
    assert venue.requests == len(left)


def test_the_tail_keeps_them(emptied: Client, exchanges: Exchanges) -> None:
    from contextlib import nullcontext

    for run in ("first", "second"):
        tails = tail(emptied, exchanges, UNIVERSE, run_id=run, lock=lambda dataset: nullcontext())
        assert [t.unreachable for t in tails] == ["", "", ""]
        assert [t.failed for t in tails] == [{}, {}, {}]
    newest = rows(emptied, "SELECT venue, max(timestamp) FROM analytics.v_bars WHERE interval = '1m' GROUP BY ALL")
    minute = dt.datetime(2025, 7, 2, 11, 59, tzinfo=dt.UTC)
    assert dict(newest) == dict.fromkeys(UNIVERSE.venues, minute)
    unserved = rows(
        emptied, "SELECT count(), uniqExact(symbol) FROM analytics.ingest_batches WHERE status = 'unserved'"
    )
    assert unserved == [(2, 2)]


@pytest.mark.parametrize(
    ("venue", "status", "body", "error"),
    [
        ("kraken_spot", 200, {"error": ["EGeneral:Too many requests"]}, VenueLimited),
        ("kraken_spot", 200, {"error": ["EAPI:Rate limit exceeded"]}, VenueLimited),
        ("kraken_spot", 200, {"error": ["EQuery:Unknown asset pair"]}, UnknownSymbol),
        ("kraken_spot", 200, {"error": ["EService:Unavailable"]}, VenueUnavailable),
        ("kraken_spot", 200, {"error": ["EGeneral:Invalid arguments"]}, VenueRefused),
        ("kraken_spot", 520, {}, VenueUnavailable),
        ("coinbase_spot", 404, {"message": "NotFound"}, UnknownSymbol),
        ("coinbase_spot", 429, {"message": "Public rate limit exceeded"}, VenueLimited),
        ("coinbase_spot", 400, {"message": "granularity too small for the requested time range"}, VenueRefused),
        ("coinbase_spot", 503, {"message": "under maintenance"}, VenueUnavailable),
        ("binanceus_spot", 400, {"code": -1121, "msg": "Invalid symbol."}, UnknownSymbol),
    ],
)
def test_what_their_errors_mean(
    venue: str,
    status: int,
    body: dict[str, Any],
    error: type[Exception],
    url: str,
    exchanges: Exchanges,
    tmp_path: Path,
) -> None:
    order(url, {"path": "*", "kind": "status", "status": status, "body": json.dumps(body), "times": 9})
    once = Patience(attempts=1, total_s=0.1)
    with (
        open_venue(venue, base_url=url, governor_file=tmp_path / "g", patience=once) as connection,
        pytest.raises(error),
    ):
        connection.fetch_server_time()


def test_a_lockout_of_kraken_lasts_a_quarter_of_an_hour() -> None:
    answer = Reply(200, {}, b'{"error":["EGeneral:Temporary lockout"]}')
    with pytest.raises(VenueLimited) as caught:
        refuse("kraken", "https://api.kraken.com/0/public/OHLC", answer, VENUES["kraken_spot"].refusals)
    assert caught.value.retry_after_s == 900


@pytest.mark.parametrize("venue", UNIVERSE.venues)
def test_real_limits_of_the_sandbox_are_kept(venue: str, tmp_path: Path) -> None:
    """Both sides by the venue's own limit: ours stays below it, and is never refused."""
    with (
        sandbox.start(now=NOW) as url,
        open_venue(venue, base_url=url, governor_file=tmp_path / "g") as connection,
    ):
        for _ in range(6 if venue == "kraken_spot" else 30):
            connection.fetch_server_time()
        with urllib.request.urlopen(url + "/_log", timeout=10) as answer:
            statuses = {entry["status"] for entry in json.load(answer)}
    assert statuses == {200}


@pytest.mark.parametrize("venue", UNIVERSE.venues)
def test_the_sandbox_refuses_in_the_venues_words(venue: str, tmp_path: Path) -> None:
    with (
        sandbox.start(now=NOW, budget_scale=0.2) as url,
        open_venue(
            venue, base_url=url, governor_file=tmp_path / "g", limits_factor=1000, patience=Patience(total_s=0.1)
        ) as connection,
    ):
        limited = None
        for _ in range(300):
            try:
                connection.fetch_server_time()
            except VenueLimited as error:
                limited = error
                break
    assert limited is not None


def test_a_pair_under_another_symbol_is_not_the_market_of_its_coins() -> None:
    common = {"base": "BTC", "quote": "USD", "settle": None, "spot": True, "active": True, "info": {"status": "online"}}
    named = {"XXBTZUSD": "BTC/USD", "XBTUSD:BTNL": "XBTUSD:BTNL"}
    markets = [common | {"id": name, "symbol": symbol} for name, symbol in named.items()]
    assert [x.venue_symbol for x in read_listings(VENUES["kraken_spot"], markets)] == ["XXBTZUSD"]


def test_tools_find_them_by_their_own_names() -> None:
    names = {}
    for one, own in ((COINBASE[0], "BTC-USD"), (KRAKEN[0], "XXBTZUSD"), (US, "BTCUSDT")):
        series = Series(one, "1m", None, None, {"venue_symbol": own})  # type: ignore[arg-type]
        names[instrument_id(series)] = series.known_as
    assert names == {
        "BTC-USD.COINBASE": "coinbase",
        "BTC/USD.KRAKEN": "kraken",
        "BTCUSDT.BINANCEUS": "binanceus",
    }


def test_an_interval_that_a_venue_lacks_is_not_silently_empty(emptied: Client) -> None:
    research = Research(emptied, UNIVERSE)
    with pytest.raises(BadInput, match="'4h': coinbase_spot has none; use one of 1m, 1h, and resample"):
        research.bars("coinbase_spot.*", "4h", TODAY - DAY, TODAY)
    with pytest.warns(IncompleteWarning):
        assert research.bars("*.BTC-*", "4h", TODAY - DAY, TODAY).empty


def test_the_example_of_the_page_is_the_code() -> None:
    package = Path(alphaforge_assets.__file__).parent
    page = (package.parent / "docs" / "sources.md").read_text(encoding="utf-8")
    code = "".join((package / folder / "coinbase.py").read_text(encoding="utf-8") for folder in ("venues", "sandbox"))
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert [block for block in blocks if block not in code] == []
    assert len(blocks) == 6
    assert all(f"`{name}`" in page for name in VENUES)
    (example,) = re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(Universe.model_validate(yaml.safe_load(example)).instruments) == 5


def test_from_outside(template: Path, tmp_path: Path) -> None:
    """The command, the emulator by the machine's clock, and a universe of its own."""
    file = tmp_path / "universe.yaml"
    file.write_text(
        "history_start: 2026-01-01\nintervals: [1m, 4h]\nvenues:\n  coinbase_spot: {instruments: [BTC/USD]}\n"
        "  kraken_spot: {instruments: [BTC/USD]}\n  binanceus_spot: {instruments: [BTC/USDT]}\n"
    )
    today = dt.datetime.now(dt.UTC).date()
    days = ("--from", str(today - 2 * DAY), "--to", str(today - DAY))
    with (
        sandbox.start(budget_scale=LIFTED) as address,
        Installed(tmp_path / "out", address).furnished(template).served() as alphaforge,
    ):

        def well(*words: str) -> str:
            return alphaforge.well(*words, ALPHAFORGE_UNIVERSE=str(file), COLUMNS="200")

        shown = well("universe")
        assert "coinbase_spot has no 4h" in shown
        assert "kraken_spot serves the newest bars only: 1m of 11.8 hours, 4h of 120 days" in shown
        well("backfill", "--instruments", "*", *days)
        series = json.loads(well("coverage", "--json"))
        assert {(s["venue"], s["interval"]): (s["expected"], s["present"]) for s in series} == {
            ("coinbase_spot", "1m"): (1440, 1440),
            ("kraken_spot", "1m"): (1440, 0),
            ("kraken_spot", "4h"): (6, 6),
            ("binanceus_spot", "1m"): (1440, 1440),
            ("binanceus_spot", "4h"): (6, 6),
        }
        assert "no bars, 1,440 missing (1,440 retention_lost)" in well("bars", "kraken_spot.BTC-USD", "1m", *days)
        refused = alphaforge.run("bars", "coinbase_spot.BTC-USD", "4h", *days, ALPHAFORGE_UNIVERSE=str(file))
        assert (refused.returncode, "coinbase_spot has none" in refused.stderr) == (2, True)
        assert "nothing to do" in well("backfill", "--instruments", "*", *days)
