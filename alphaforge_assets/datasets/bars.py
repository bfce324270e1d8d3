"""Bars: open, high, low, close, volume of every instrument on the intervals of the universe, and those of our own."""

import dataclasses
import datetime as dt

from alphaforge_assets.datasets.dataset import (
    CLOCK_SLACK_MS,
    COUNT,
    FLAG,
    FLOAT,
    TEXT,
    TIME,
    Dataset,
    Rule,
    Tail,
    Tempo,
)
from alphaforge_assets.intervals import DERIVED_MS, INTERVAL_MS

# The longest recorded silence of XBT/USDC is 87 minutes; longer ones are outages until proven otherwise.
NO_TRADES_MAX = dt.timedelta(hours=2)
# Illiquid pairs rest for an hour now and then (ETH/USDT in 2017: 93 minutes at most), a dead feed does so for long.
FROZEN_RUN = 60
# The same pair trades within a percent of itself everywhere but in crashes; five is a bad print or a broken venue.
OUTLIER_SHARE = 0.05
# The bars of a market touch: of 2.3 million recorded pairs the furthest apart are 8 %, in Binance's first week.
JUMP_FACTOR = 1.5
# Over a hole prices walk on, by a share a day times the root of the days. The wildest walk on record, BTC/USD in 103
# days of 2017, took 14 % a day.
DRIFT_A_DAY = 0.15
# How far from a bar to look for the next one: USDC/USDT left Binance for half a year and came back.
JUMP_LOOK_DAYS = 400
# One asset has one price, but for crashes, which last minutes: see the check for what is on record.
APART_SHARE = 0.1
APART = dt.timedelta(hours=3)
OURS = "staging rejects such bars, so a published one is our bug"

BARS = Dataset(
    name="bars",
    view="v_bars",
    keeps=lambda instrument: True,
    intervals=lambda universe: universe.intervals,
    rows_a_day_max=lambda intervals: sum(INTERVAL_MS["1d"] // INTERVAL_MS[i] for i in intervals),
    usual_step=lambda interval: dt.timedelta(milliseconds=INTERVAL_MS[interval]),
    grid="interval",
    # One fetched a minute after its close has been past revision in every recording.
    final_after=dt.timedelta(minutes=1),
    # Three runs of the live tail, which comes every four minutes, and what they take.
    tempo=Tempo(late=dt.timedelta(minutes=15), silent=NO_TRADES_MAX),
    tail=Tail(),
    columns={
        **dict.fromkeys(("open", "high", "low", "close", "volume", "quote_volume"), FLOAT),
        "trade_count": COUNT,
        **dict.fromkeys(("taker_buy_base_volume", "taker_buy_quote_volume"), FLOAT),
        "source": TEXT,
        "contract_volume": FLOAT,
        **dict.fromkeys(("close_time", "ingested_at", "published_at"), TIME),
    },
    usual=(
        *("open", "high", "low", "close", "volume", "quote_volume", "trade_count"),
        *("taker_buy_base_volume", "taker_buy_quote_volume", "source"),
    ),
    reads="reads/bars",
    hashes="snapshots/hashes_bars",
    differences="snapshots/diff_bars",
    derives="derived_bars",
    rules=(
        Rule(
            "answers_do_not_contradict",
            "WARN",
            "a venue did say two things of one bar; both are kept, and it was asked again",
            layer="landing",
        ),
        Rule(
            "archives_agree",
            "WARN",
            "months, days and REST were found to differ; the higher rank is published, somebody should look",
            layer="landing",
        ),
        Rule(
            "stream_agrees_with_rest",
            "WARN",
            "a stream may lose trades or be corrected; REST's is published, and we see which venue's stream to trust",
            layer="landing",
        ),
        Rule("key_is_unique", "ERROR", "researchers join on the key; two rows of one key can only be our bug"),
        Rule("ohlc_is_sane", "ERROR", OURS, shared="every_bars"),
        Rule("prices_are_positive", "ERROR", OURS),
        Rule("volume_is_not_negative", "ERROR", OURS),
        Rule("required_columns_are_not_null", "ERROR", "every venue sends them: a field was renamed and missed"),
        Rule(
            "minutes_are_complete",
            "WARN",
            "outages are real and never filled; each missing range is named",
            shared="every_bars",
        ),
        Rule(
            "bars_are_on_the_grid",
            "WARN",
            "Binance did so in 2017 and 2018; such a bar is kept as it came",
            shared="every_bars",
        ),
        Rule(
            "no_frozen_runs",
            "WARN",
            "a market may really rest; a long rest is more often a feed that died",
            bounds={"frozen_run": FROZEN_RUN},
        ),
        Rule(
            "derived_equal_venue",
            "WARN",
            "the venue made both of the same trades: one was revised or is wrong, and we see both",
        ),
        Rule("hours_equal_their_minutes", "WARN", "the venue made both: one was revised or is wrong, and we see both"),
        Rule(
            "prices_agree_across_venues",
            "WARN",
            "prices do part in a crash; the median only says where to look",
            bounds={"outlier_share": OUTLIER_SHARE},
        ),
        Rule(
            "asset_has_one_price",
            "WARN",
            "a coin may break its promise of a dollar, two may share a name; else some prices are no market's",
            bounds={"apart_share": APART_SHARE, "apart_s": int(APART.total_seconds())},
        ),
        Rule(
            "prices_do_not_jump",
            "WARN",
            "a venue may reopen elsewhere after a halt; else these are prices of two things under one name",
            bounds={"jump_factor": JUMP_FACTOR, "drift": DRIFT_A_DAY, "look_days": JUMP_LOOK_DAYS},
        ),
        Rule(
            "nothing_from_the_future",
            "ERROR",
            "staging takes closed bars only, so an open one that is published is our bug",
            shared="every_bars",
            bounds={"clock_slack_ms": CLOCK_SLACK_MS},
        ),
    ),
)

_COMPLETENESS = {**dict.fromkeys(("minutes_expected", "minutes_present"), COUNT), "is_complete": FLAG}
# When one was published is no column of its frames: the table says since when its values are what they are, a read of
# the past when the last minute came, and a receipt must be able to prove what it gave.
DERIVED_BARS = dataclasses.replace(
    BARS,
    name=BARS.derives,
    view=f"v_{BARS.derives}",
    made_of=BARS.name,
    derives="",
    intervals=lambda universe: tuple(DERIVED_MS),
    columns={
        **{name: BARS.columns[name] for name in BARS.usual},
        **_COMPLETENESS,
        "vwap": FLOAT,
        **{name: BARS.columns[name] for name in ("contract_volume", "close_time")},
    },
    usual=(*BARS.usual, *_COMPLETENESS),
    reads="reads/derived_bars",
    rules=(),
)
