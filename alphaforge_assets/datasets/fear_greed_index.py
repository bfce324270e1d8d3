"""The Fear & Greed Index of alternative.me: one value a day for the whole market."""

import datetime as dt

from alphaforge_assets.datasets.dataset import CLOCK_SLACK_MS, SCORE, TEXT, TIME, Dataset, Rule, Tempo
from alphaforge_assets.universe import FEAR_GREED

FEAR_GREED_INDEX = Dataset(
    name="fear_greed_index",
    view="v_fear_greed",
    keeps=lambda instrument: False,
    intervals=lambda universe: ("1d",),
    rows_a_day_max=lambda intervals: 1,
    usual_step=lambda interval: dt.timedelta(days=1),
    grid="day",
    only=FEAR_GREED,
    chunk="year",
    keys_per_run_max=4_000,  # one request brings it all: a run takes the whole history, eleven years of it
    # Asked for once a day; the source itself was late by hours now and then.
    tempo=Tempo(late=dt.timedelta(hours=6), silent=dt.timedelta(hours=6)),
    columns={"value": SCORE, "classification": TEXT, "source": TEXT, "ingested_at": TIME, "published_at": TIME},
    usual=("value", "classification", "source"),
    reads="reads/fear_greed_index",
    hashes="snapshots/hashes_fear_greed_index",
    differences="snapshots/diff_fear_greed_index",
    judged_by="fear_greed_index_coverage",
    rules=(
        Rule("key_is_unique", "ERROR", "researchers join on the day; two values of one are nobody's truth"),
        Rule("value_is_between_0_and_100", "ERROR", "staging rejects such values, so a published one is our bug"),
        Rule(
            "classification_matches_the_value",
            "WARN",
            "the words are the source's own; another one means that it changed its bands, not that the value is wrong",
        ),
        Rule("days_are_complete", "WARN", "the source has no value for some days; they are never filled"),
        Rule(
            "nothing_from_the_future",
            "ERROR",
            "staging takes closed days only, so an open one that is published is our bug",
            bounds={"clock_slack_ms": CLOCK_SLACK_MS},
        ),
        Rule("values_are_at_midnight", "WARN", "the source would have changed what its days are"),
        Rule("required_columns_are_not_null", "ERROR", "the source sends them: a field was renamed"),
    ),
)
