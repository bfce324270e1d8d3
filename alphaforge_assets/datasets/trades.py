"""Trades: every one that a venue tells, of the instruments that have `trades: true` in the universe.

A venue counts them, so what is missing is known by number. Where it names them instead, bars say whether all are there.
"""

import datetime as dt

from alphaforge_assets.datasets.dataset import (
    CLOCK_SLACK_MS,
    FLOAT,
    NO_GRID,
    TEXT,
    TIME,
    UNSIGNED,
    Dataset,
    Rule,
    Tail,
    Tempo,
)
from alphaforge_assets.universe import FEAR_GREED

# A minute's bar is made of its trades: of the same numbers, added up in another order.
VOLUME_SHARE = 1e-9

TRADES = Dataset(
    name="trades",
    view="v_trades",
    keeps=lambda instrument: instrument.trades,
    has=lambda instrument: instrument.venue != FEAR_GREED.venue,
    intervals=lambda universe: NO_GRID,
    rows_a_day_max=lambda intervals: 2_000_000,  # a busy day of BTC/USDT; where it decides, more is only slower
    usual_step=lambda interval: dt.timedelta(milliseconds=100),
    grid="ids",
    id="trade_id",
    series="trade_kind",
    settle=dt.timedelta(seconds=10),
    chunk="hour",  # a busy hour is a hundred thousand rows, and sixteen windows are in flight
    source_chosen="day",  # a file of which answers 24 hours
    keys_per_run_max=31,
    tempo=Tempo(late=dt.timedelta(minutes=30), silent=dt.timedelta(minutes=30)),
    tail=Tail(cold_start=dt.timedelta(minutes=90)),
    own_freshness=True,  # a market may rest: what counts is that the venue was asked
    columns={
        "trade_id": UNSIGNED,
        "trade_kind": TEXT,
        "side": TEXT,
        **dict.fromkeys(("price", "quantity", "quote_quantity"), FLOAT),
        "source": TEXT,
        "first_id": UNSIGNED,
        "last_id": UNSIGNED,
        "trade_uuid": TEXT,
        "contract_quantity": FLOAT,
        **dict.fromkeys(("ingest_ts", "published_at"), TIME),
    },
    usual=("trade_id", "side", "price", "quantity", "quote_quantity", "source"),
    reads="reads/trades",
    hashes="snapshots/hashes_events",
    differences="snapshots/diff_events",
    judged_by="trades_coverage",
    rules=(
        Rule("key_is_unique", "ERROR", "researchers add trades up; one that is there twice can only be our bug"),
        Rule("required_columns_are_not_null", "ERROR", "staging rejects such rows, so it is our bug"),
        Rule(
            "trades_do_not_contradict",
            "ERROR",
            "a trade never changes; both values are kept in landing, and somebody must say which is right",
            layer="landing",
        ),
        Rule("trades_are_told_once", "ERROR", "a file without numbers and the venue tell of the same trades"),
        Rule("trade_ids_are_continuous", "WARN", "an id that nobody told is a trade we lack; healing asks for it"),
        Rule(
            "trades_rebuild_bars",
            "WARN",
            "the venue made both; where they differ one is wrong or incomplete, and we see both",
            bounds={"volume_share": VOLUME_SHARE},
        ),
        Rule(
            "nothing_from_the_future",
            "ERROR",
            "we ask for closed time only, so a trade from later is our bug",
            bounds={"clock_slack_ms": CLOCK_SLACK_MS},
        ),
    ),
)
