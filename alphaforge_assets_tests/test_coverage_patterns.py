"""Outages that form a pattern no venue makes, held against what venues do: sql/coverage/suspicious.sql."""

import datetime as dt

import pytest
from clickhouse_connect.driver.client import Client

from alphaforge_assets.datasets.bars import BARS
from alphaforge_assets.partitions import Rectangle
from alphaforge_assets.quality.coverage import judge
from alphaforge_assets.universe import Instrument
from alphaforge_assets_tests.test_coverage import (
    BTC,
    DAY,
    MINUTE,
    UNIVERSE,
    ask,
    at,
    covered,
    found,
    scores,
    serve,
    verdicts,
)


def holes(client: Client, instrument: Instrument, days: int, silences: list[tuple[dt.datetime, int]]) -> Rectangle:
    """Days from DAY on, asked for as a whole and served but for so many minutes from each start on."""
    part = covered(instrument, days=days)
    ask(client, instrument, "06-01 00:00", f"{part.end:%m-%d} 00:00")
    edges = [
        part.start_time,
        *(t for start, minutes in silences for t in (start, start + minutes * MINUTE)),
        part.end_time,
    ]
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        serve(client, instrument, f"{start:%m-%d %H:%M}", f"{end:%m-%d %H:%M}")
    return part


def test_outages_by_the_clock_are_ours_until_proved_otherwise(emptied: Client) -> None:
    """Pages of 200 bars asked for every 1,000 minutes, as a real pipeline did: no venue is silent like that."""
    part = holes(emptied, BTC, 14, [(at("06-01 03:20") + n * 1000 * MINUTE, 800) for n in range(20)])
    judge(emptied, part, BARS, UNIVERSE)
    gaps = found(emptied, BTC)
    assert {(g["verdict"], g["missing"]) for g in gaps} == {("suspicious", 800)}
    assert (
        "; suspicious: 19 of 20 silences in that month begin 1000 minutes after the one before" in gaps[0]["evidence"]
    )
    assert all(g["next_attempt_at"] for g in gaps)
    for day in scores(emptied, BTC).values():
        assert day["score"] <= day["completeness"] == pytest.approx(100 * day["present"] / day["expected"])
        assert day["explained"] == 0
    stable = "SELECT * EXCEPT (last_seen) FROM analytics.v_gaps ORDER BY gap_start"
    before = emptied.query(stable).result_rows
    judge(emptied, part, BARS, UNIVERSE)
    assert emptied.query(stable).result_rows == before


@pytest.mark.parametrize(
    ("silences", "says"),
    [
        ([(at("06-03 00:00"), 8 * 1440)], "no venue is silent for 8 days"),
        ([(at("06-01 00:07") + n * n * 11 * MINUTE, 30 + n) for n in range(1, 25)], "one of 24 in that month"),
        (
            [(at("06-01 00:07") + n * n * 90 * MINUTE, 60) for n in range(1, 12)],
            "11 of 11 silences in that month last 60",
        ),
    ],
)
def test_too_long_too_many_and_too_alike_are_suspicious(
    emptied: Client, silences: list[tuple[dt.datetime, int]], says: str
) -> None:
    judge(emptied, holes(emptied, BTC, 14, silences), BARS, UNIVERSE)
    gaps = found(emptied, BTC)
    assert len(gaps) == len(silences)
    assert all(g["verdict"] == "suspicious" and says in g["evidence"] for g in gaps), gaps


def test_a_pattern_that_only_later_days_tell_counts_for_the_earlier_ones(
    emptied: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = holes(emptied, BTC, 14, [(at("06-01 03:20") + n * 2880 * MINUTE, 800) for n in range(7)])
    monkeypatch.setattr("alphaforge_assets.partitions.ROWS_PER_STATEMENT", 2000)  # cut into slices of a day
    judge(emptied, part, BARS, UNIVERSE)
    assert {g["verdict"] for g in found(emptied, BTC)} == {"suspicious"}
    assert {day["explained"] for day in scores(emptied, BTC).values()} == {0}


def test_planned_pauses_of_an_hour_are_outages_as_before(emptied: Client) -> None:
    pauses = [(at("06-01 00:07") + n * n * 90 * MINUTE, 60) for n in range(1, 9)]
    judge(emptied, holes(emptied, BTC, 14, pauses), BARS, UNIVERSE)
    assert {v for _, _, v in verdicts(emptied, BTC)} == {"venue_outage"}


def test_bars_of_another_interval_are_no_quiet_market(emptied: Client) -> None:
    """Every fourth minute only, and none of zero volume: by the clock, while nobody's silences are."""
    judge(
        emptied, holes(emptied, BTC, 1, [(at("06-01 00:01") + 4 * n * MINUTE, 3) for n in range(360)]), BARS, UNIVERSE
    )
    assert {v for _, _, v in verdicts(emptied, BTC)} == {"suspicious"}


def test_what_was_suspicious_is_an_outage_once_the_others_are_there(emptied: Client) -> None:
    silences = [(at("06-01 00:07") + n * n * 90 * MINUTE, 60) for n in range(1, 12)]
    part = holes(emptied, BTC, 14, silences)
    judge(emptied, part, BARS, UNIVERSE)
    for start, minutes in silences[1:]:
        serve(emptied, BTC, f"{start:%m-%d %H:%M}", f"{start + minutes * MINUTE:%m-%d %H:%M}")
    judge(emptied, part, BARS, UNIVERSE)
    (gap,) = found(emptied, BTC)
    assert (gap["verdict"], "suspicious" in gap["evidence"]) == ("venue_outage", False)
    assert scores(emptied, BTC)[DAY]["explained"] == 60
