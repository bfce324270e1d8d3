"""Bars of prices that are no trades: mark, index and premium of the perpetuals that have `price_bars` in the universe.

They are bars in all but volume, so grid, history, gaps and reads are those of bars; a series is named by its price too,
such as mark_1m. A premium is a share of the index and may be negative.
"""

import datetime as dt

from alphaforge_assets.datasets.dataset import CLOCK_SLACK_MS, COUNT, FLOAT, TEXT, TIME, Dataset, Rule, Tail, Tempo
from alphaforge_assets.intervals import PRICE_TYPES, SERIES_MS, price_of

# Of 7,217 recorded hours of BTC/USDT, the crash of 2025-10-10 among them, the last trade was 0.1 % from the mark price
# at most. Thin coins part by more, in crashes, for minutes.
APART_SHARE = 0.05
APART = dt.timedelta(minutes=15)
OURS = "staging rejects such bars, so a published one is our bug"

PRICE_BARS = Dataset(
    name="price_bars",
    view="v_price_bars",
    keeps=lambda instrument: bool(instrument.price_bars),
    has=lambda instrument: instrument.is_perpetual,
    wants=lambda instrument, series: price_of(series) in instrument.price_bars,
    prices=PRICE_TYPES,
    intervals=lambda universe: [f"{price}_{length}" for price in PRICE_TYPES for length in universe.intervals],
    rows_a_day_max=lambda intervals: sum(SERIES_MS["1d"] // SERIES_MS[i] for i in intervals),
    usual_step=lambda interval: dt.timedelta(milliseconds=SERIES_MS[interval]),
    grid="interval",
    final_after=dt.timedelta(minutes=1),
    # A price is there whether anybody trades or not.
    tempo=Tempo(late=dt.timedelta(minutes=15), silent=dt.timedelta(minutes=15)),
    tail=Tail(),
    columns={
        **dict.fromkeys(("open", "high", "low", "close"), FLOAT),
        "source": TEXT,
        "sample_count": COUNT,
        **dict.fromkeys(("ingested_at", "published_at"), TIME),
    },
    usual=("open", "high", "low", "close", "source"),
    reads="reads/price_bars",
    judged_by="price_bars_coverage",
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
        Rule("key_is_unique", "ERROR", "researchers join on the key; two rows of one key can only be our bug"),
        Rule("ohlc_is_sane", "ERROR", OURS, shared="every_bars"),
        Rule("prices_are_positive", "ERROR", OURS),
        Rule("required_columns_are_not_null", "ERROR", "staging rejects such rows, so it is our bug"),
        Rule(
            "minutes_are_complete",
            "WARN",
            "outages are real and never filled; each missing range is named",
            shared="every_bars",
        ),
        Rule(
            "bars_are_on_the_grid",
            "WARN",
            "such a bar is kept as it came, and fills the slot it opens in",
            shared="every_bars",
        ),
        Rule(
            "trades_stay_near_the_price",
            "WARN",
            "a thin market may part from its index for minutes; else one of the two is no price of this instrument",
            bounds={"apart_share": APART_SHARE, "apart_s": int(APART.total_seconds())},
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
