"""What a frame of each dataset can hold: its columns with their types, and the statements that read them."""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

FLOAT, COUNT, SCORE, TEXT, FLAG = pa.float64(), pa.int64(), pa.uint8(), pa.string(), pa.bool_()
TIME = pa.timestamp("ms", "UTC")
KEY = pa.dictionary(pa.int32(), pa.string())  # the column `instrument`: long, and few different values
FILLED = "is_filled"
GRIDLESS_MS = 60_000  # without a grid, what was not asked for is counted in minutes


@dataclass(frozen=True)
class Form:
    """The frame of one dataset. `columns` are all there are, in order; `usual` those one gets without asking.

    The statements `current` and `as_of` read it; they have `slots` places for columns besides `source`.
    """

    dataset: str
    current: str
    as_of: str
    columns: Mapping[str, pa.DataType]
    usual: tuple[str, ...]
    slots: int


BARS = Form(
    "bars",
    "reads/bars",
    "reads/bars_as_of",
    {
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
    slots=13,
)

FUNDING_RATES = Form(
    "funding_rates",
    "reads/funding_rates",
    "reads/funding_rates_as_of",
    {
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
    slots=17,
)

FEAR_GREED_INDEX = Form(
    "fear_greed_index",
    "reads/fear_greed_index",
    "reads/fear_greed_index_as_of",
    {"value": SCORE, "classification": TEXT, "source": TEXT, "ingested_at": TIME, "published_at": TIME},
    usual=("value", "classification", "source"),
    slots=4,
)

FORMS = {form.dataset: form for form in (BARS, FUNDING_RATES, FEAR_GREED_INDEX)}


def schema(dataset: str, columns: tuple[str, ...], is_many: bool) -> pa.Schema:
    """The schema of a long frame: `instrument` if many were asked for, `timestamp`, then `columns`. Never varies."""
    form = FORMS[dataset]
    fields = [pa.field("instrument", KEY)] if is_many else []
    fields += [pa.field("timestamp", TIME)]
    fields += [pa.field(name, FLAG if name == FILLED else form.columns[name]) for name in columns]
    return pa.schema(fields)
