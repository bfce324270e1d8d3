"""Answers that lie: sound pages with bars left out, told twice, spoiled, or of another question. What comes of each."""

import datetime as dt
import json
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from alphaforge_assets.datasets.bars import BARS
from alphaforge_assets.pipeline.landing import Landed, Reached, land, reach
from alphaforge_assets.pipeline.mart import publish
from alphaforge_assets.pipeline.staging import stage
from alphaforge_assets.quality.checks import every_check, offenders
from alphaforge_assets.quality.coverage import judge, nothing_came
from alphaforge_assets.sandbox import process as sandbox
from alphaforge_assets.universe import Instrument
from alphaforge_assets.venues.directory import REST, Exchanges
from alphaforge_assets.venues.source import Patience
from alphaforge_assets_tests.conftest import LIFTED, lifted
from alphaforge_assets_tests.test_coverage import BTC, DAY, NOW, OKX, UNIVERSE, at, covered, found, post, verdicts

PATHS = {BTC: "/api/v3/klines", OKX: "/api/v5/market/history-candles"}
VENUES = pytest.mark.parametrize("who", PATHS, ids=lambda i: i.venue)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with sandbox.start(now=NOW, budget_scale=LIFTED) as address:
        yield address


@pytest.fixture
def venue(url: str, tmp_path: Path) -> Iterator[Exchanges]:
    yield lifted(url, tmp_path / "governor.sqlite3")
    for hook in ("/_faults", "/_log"):
        urllib.request.urlopen(urllib.request.Request(url + hook, method="DELETE"), timeout=10).close()


def asked(url: str, who: Instrument) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{url}/_log?path={PATHS[who]}", timeout=10) as answer:
        return list(json.load(answer))


def fill(client: Client, exchanges: Exchanges, *who: Instrument, reached: Reached | None = None) -> Landed:
    part = covered(*who)
    landed = land(client, exchanges, part, BARS, ["1m"], run_id="test", reached=reached)
    stage(client, part, BARS, ["1m"])
    publish(client, part, BARS, ["1m"])
    judge(client, part, BARS, UNIVERSE)
    return landed


def bars(client: Client, who: Instrument) -> list[tuple[Any, ...]]:
    query = "SELECT timestamp, open, high, low, close FROM analytics.v_bars WHERE instrument_id = {i:UInt32} ORDER BY 1"
    return list(client.query(query, parameters={"i": who.instrument_id}).result_rows)


def sound(client: Client, exchanges: Exchanges, who: Instrument) -> list[tuple[Any, ...]]:
    assert fill(client, exchanges, who).failures == []
    whole = bars(client, who)
    for table in ("landing_bars", "staging_bars", "bars", "bars_history", "ingest_batches", "gaps", "coverage"):
        client.command("TRUNCATE TABLE analytics.{t:Identifier}", parameters={"t": table})
    assert len(whole) == 1440
    return whole


HOLES = [
    pytest.param({"rows": 3, "start": 100}, id="in the middle"),
    pytest.param({"rows": 3, "start": 0}, id="at the beginning of a page"),
    pytest.param({"rows": 7, "start": 3, "every": 50}, id="all over"),
    pytest.param({"rows": 200, "start": 50}, id="long"),
]


@VENUES
@pytest.mark.parametrize("fault", HOLES)
def test_bars_left_out_of_a_page_come_when_they_are_asked_for_alone(
    emptied: Client, url: str, venue: Exchanges, who: Instrument, fault: dict[str, int]
) -> None:
    whole = sound(emptied, venue, who)
    before = len(asked(url, who))
    post(url, "/_faults", {"path": PATHS[who], "kind": "holes", **fault})
    assert fill(emptied, venue, who).failures == []
    assert bars(emptied, who) == whole
    assert found(emptied, who) == []
    assert len(asked(url, who)) - before <= before + 4
    spent = len(asked(url, who))
    fill(emptied, venue, who)
    assert len(asked(url, who)) == spent  # a rerun asks nothing


@VENUES
def test_a_hole_that_stays_costs_one_request_of_its_own_window(
    emptied: Client, url: str, venue: Exchanges, who: Instrument
) -> None:
    sound(emptied, venue, who)
    before = len(asked(url, who))
    middle = at("06-01 05:00")
    gone = int(middle.timestamp() * 1000)
    post(url, "/_faults", {"path": PATHS[who], "kind": "without", "times": 1000, "since": gone, "rows": 20})
    fill(emptied, venue, who)
    log = asked(url, who)[before:]
    # The walk itself goes on where the fault has made a page of OKX too short for its window.
    assert len(log) == before + 1 + (who is OKX)
    assert int(log[-1]["query"]["limit"]) in (20, 21)
    batches = emptied.query(
        "SELECT window_start, window_end, row_count FROM analytics.ingest_batches WHERE row_count = 0",
        tz_mode="aware",
    ).result_rows
    assert batches == [(middle, middle + dt.timedelta(minutes=20), 0)]
    assert verdicts(emptied, who) == [("01 05:00", "01 05:20", "venue_outage")]
    fill(emptied, venue, who)
    assert len(asked(url, who)) == before + len(log)


@VENUES
@pytest.mark.parametrize("every", [2, 4, 60])
def test_bars_of_another_interval_are_refused(
    emptied: Client, url: str, venue: Exchanges, who: Instrument, every: int
) -> None:
    post(url, "/_faults", {"path": PATHS[who], "kind": "interval", "every": every, "times": 2})
    assert fill(emptied, venue, who).failures == []  # asked again, and sound then
    assert len(bars(emptied, who)) == 1440


def test_a_venue_that_keeps_sending_another_interval_is_a_failure(emptied: Client, url: str, venue: Exchanges) -> None:
    post(url, "/_faults", {"path": PATHS[BTC], "kind": "interval", "every": 5, "times": 1000})
    brief = Patience(wait_first_s=0.01, wait_max_s=0.01, jitter_s=0.01, attempts=2)
    with venue.open(REST[BTC.venue], brief) as connection:
        reached = reach(emptied, REST[BTC.venue], connection, [BTC])
        (failure,) = fill(emptied, venue, BTC, reached=reached).failures
    assert "bars every 60 s were asked for and bars every 300 s came" in failure.error
    assert failure.error.startswith("VenueUnavailable")
    assert emptied.query("SELECT count() FROM analytics.landing_bars").first_row == (0,)
    assert verdicts(emptied, BTC) == [("01 00:00", "02 00:00", "we_missed")]


@VENUES
@pytest.mark.parametrize("fault", [{"rows": 1, "start": 9}, {"rows": 2, "start": 5, "every": 100}], ids=["one", "many"])
def test_a_bar_told_twice_is_kept_twice_reported_and_asked_for_again(
    emptied: Client, url: str, venue: Exchanges, who: Instrument, fault: dict[str, int]
) -> None:
    whole = sound(emptied, venue, who)
    post(url, "/_faults", {"path": PATHS[who], "kind": "double", "value": 1.001, **fault})
    assert fill(emptied, venue, who).failures == []
    assert bars(emptied, who) == whole  # what it said when asked for it alone
    (rule,) = [c for c in every_check() if c.name == "answers_do_not_contradict" and c.dataset is BARS]
    (conflict,) = offenders(emptied, rule, covered(who), NOW)
    assert conflict["rows"] >= fault["rows"]
    assert "closes at" in conflict["what"]
    assert " and " in conflict["what"]


@VENUES
@pytest.mark.parametrize("kind", ["null", "nan", "zero"])
def test_rows_that_break_a_rule_are_the_verdict(
    emptied: Client, url: str, venue: Exchanges, who: Instrument, kind: str
) -> None:
    fault = {"path": PATHS[who], "kind": kind, "start": 10, "rows": 7}
    post(url, "/_faults", fault)
    fill(emptied, venue, who)
    (gap,) = found(emptied, who)
    assert (gap["verdict"], gap["missing"], gap["attempts"]) == ("rejected", 7, 0)
    assert gap["next_attempt_at"] is not None
    rule = "prices_are_positive" if kind == "zero" else "required_columns_are_not_null"
    assert f"7 rows here that break {rule}" in gap["evidence"]


def test_what_is_rejected_and_what_is_silent_beside_it_are_two_gaps(
    emptied: Client, url: str, venue: Exchanges
) -> None:
    post(url, "/_faults", {"path": PATHS[BTC], "kind": "zero", "start": 10, "rows": 10})
    fill(emptied, venue, BTC)
    (broken,) = found(emptied, BTC)
    start, end = broken["gap_start"], broken["gap_end"]
    emptied.command(
        "ALTER TABLE analytics.bars DELETE WHERE timestamp >= {a:DateTime64(3, 'UTC')}"
        " AND timestamp < {a:DateTime64(3, 'UTC')} + toIntervalMinute(15) SETTINGS mutations_sync = 2",
        parameters={"a": f"{end:%F %T}"},
    )
    judge(emptied, covered(BTC), BARS, UNIVERSE)
    assert [(g["gap_start"], g["gap_end"], g["verdict"]) for g in found(emptied, BTC)] == [
        (start, end, "rejected"),
        (end, end + dt.timedelta(minutes=15), "venue_outage"),
    ]


def test_an_answer_that_is_empty_twice_is_asked_for_again(emptied: Client, url: str, venue: Exchanges) -> None:
    post(url, "/_faults", {"path": PATHS[BTC], "kind": "empty", "times": 4})
    fill(emptied, venue, BTC)
    assert len(bars(emptied, BTC)) == 1440


def test_of_a_venue_that_has_nothing_it_is_said_that_nothing_came(emptied: Client, url: str, venue: Exchanges) -> None:
    post(url, "/_faults", {"path": PATHS[BTC], "kind": "empty", "times": 1000})
    fill(emptied, venue, BTC)
    assert verdicts(emptied, BTC) == [("01 00:00", "02 00:00", "unknown")]
    said = nothing_came(emptied, covered(BTC), BARS)
    assert said == {BTC.key: f"nothing came of 1440 bars 1m due from {DAY} to {DAY} (1 days)"}


def test_no_request_more_is_spent_on_sound_answers(emptied: Client, url: str, venue: Exchanges) -> None:
    fill(emptied, venue, BTC, OKX)
    assert Counter(len(asked(url, who)) for who in PATHS) == Counter({2: 1, 5: 1})
