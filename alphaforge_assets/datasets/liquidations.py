"""Liquidations: positions that a venue closed by force, as far as it told of them.

Binance told the latest one a second and symbol only, in a stream and in daily files, which ended in March 2024: how
many there really were nobody knows. So what is counted is days with a file, and every row and day says that it is
sampled. A row has no number; it is known by a hash of all that was said of it, and told twice alike it is one.
"""

import datetime as dt

from alphaforge_assets.datasets.dataset import (
    CLOCK_SLACK_MS,
    FLAG,
    FLOAT,
    NO_GRID,
    TEXT,
    TIME,
    UNSIGNED,
    Dataset,
    Rule,
    Tempo,
)

# Said by its maintainers (github.com/binance/binance-public-data, issues 337, 361, 420).
ENDED = dt.date(2024, 4, 1)

LIQUIDATIONS = Dataset(
    name="liquidations",
    view="v_liquidations",
    keeps=lambda instrument: instrument.liquidations,
    has=lambda instrument: instrument.is_perpetual,
    intervals=lambda universe: NO_GRID,
    rows_a_day_max=lambda intervals: 20_000,
    usual_step=lambda interval: dt.timedelta(minutes=1),
    grid="sampled",
    id="liquidation_id",
    series="price_kind",
    ended=ENDED,
    tempo=Tempo(late=dt.timedelta(days=1), silent=dt.timedelta(days=1)),
    own_freshness=True,  # a market may have none: what counts is that the venue was asked
    columns={
        "liquidation_id": UNSIGNED,
        **dict.fromkeys(("position_side", "order_side", "price_kind"), TEXT),
        **dict.fromkeys(("price", "average_price", "quantity", "filled_quantity"), FLOAT),
        "is_sampled": FLAG,
        "source": TEXT,
        **dict.fromkeys(("ingested_at", "published_at"), TIME),
    },
    usual=("position_side", "order_side", "price", "average_price", "quantity", "price_kind", "is_sampled", "source"),
    reads="reads/liquidations",
    hashes="snapshots/hashes_events",
    differences="snapshots/diff_events",
    judged_by="liquidations_coverage",
    rules=(
        Rule("key_is_unique", "ERROR", "researchers add liquidations up; one that is there twice is our bug"),
        Rule("required_columns_are_not_null", "ERROR", "staging rejects such rows, so it is our bug"),
        Rule(
            "nothing_from_the_future",
            "ERROR",
            "files are of days that are over, so a liquidation from later is our bug",
            bounds={"clock_slack_ms": CLOCK_SLACK_MS},
        ),
    ),
)
