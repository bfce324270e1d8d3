"""Funding rates: what perpetuals settled, when they did. Their grid differs by symbol and changes: it is observed."""

import datetime as dt

from alphaforge_assets.datasets.dataset import (
    CLOCK_SLACK_MS,
    FLAG,
    FLOAT,
    NO_GRID,
    TEXT,
    TIME,
    Dataset,
    Rule,
    Tail,
    Tempo,
)

FUNDING_RATES = Dataset(
    name="funding_rates",
    view="v_funding",
    keeps=lambda instrument: instrument.is_perpetual,
    intervals=lambda universe: NO_GRID,
    rows_a_day_max=lambda intervals: 24,
    usual_step=lambda interval: dt.timedelta(hours=8),
    grid="observed",
    series="rate_type",
    slot_series="regular",
    settle=dt.timedelta(minutes=5),  # a rate is listed some time after its settlement
    keys_per_run_max=10_000,  # a few rows a key: thirty instruments, a year
    chunk="year",  # a page holds 100 to 1,000 settlements, a year of one symbol about 1,100
    # Venues list a rate minutes after its settlement, and then the live tail has to come by.
    tempo=Tempo(late=dt.timedelta(minutes=30), silent=dt.timedelta(minutes=30)),
    # Asked for when an hour is over, not every few minutes: settlements come on the hour, some milliseconds late; those
    # that ever came at another time are an hour late.
    tail=Tail(every=dt.timedelta(hours=1), after=dt.timedelta(minutes=1)),
    own_freshness=True,  # settlements have no grid
    columns={
        "rate_type": TEXT,
        **dict.fromkeys(("rate", "predicted_rate", "mark_price", "interval_hours", "rate_bound"), FLOAT),
        "is_out_of_bounds": FLAG,
        "source": TEXT,
        **dict.fromkeys(("index_price", "interest_rate", "estimated_settle_price", "next_rate"), FLOAT),
        "next_timestamp": TIME,
        "previous_rate": FLOAT,
        **dict.fromkeys(("previous_timestamp", "timestamp_raw", "ingested_at", "published_at"), TIME),
    },
    usual=(
        *("rate_type", "rate", "predicted_rate", "mark_price", "interval_hours", "rate_bound"),
        *("is_out_of_bounds", "source"),
    ),
    reads="reads/funding_rates",
    hashes="snapshots/hashes_funding_rates",
    differences="snapshots/diff_funding_rates",
    judged_by="funding_rates_coverage",
    rules=(
        Rule("key_is_unique", "ERROR", "researchers join on the key; two rows of one can only be our bug"),
        Rule("required_columns_are_not_null", "ERROR", "staging rejects such rows, so it is our bug"),
        Rule("rates_are_within_bounds", "WARN", "venues do settle such rates; they are flagged, not dropped"),
        Rule("settlements_are_complete", "WARN", "the grid is inferred from its neighbours and may be wrong"),
        Rule(
            "nothing_from_the_future",
            "ERROR",
            "staging takes settled rates only, so a predicted one that is published is our bug",
            bounds={"clock_slack_ms": CLOCK_SLACK_MS},
        ),
        Rule("prices_are_positive", "WARN", "the rate is what is settled; a price beside it may be missing"),
    ),
)
