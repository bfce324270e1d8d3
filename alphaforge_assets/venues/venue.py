"""What a venue is: a record of its endpoints, their cost and how their answers read. One file a venue fills it in.

Pure records; nothing here sends anything. Symbols are ccxt's affair: no code of ours takes one apart.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from alphaforge_assets.intervals import INTERVAL_MS
from alphaforge_assets.venues.columns import Layout
from alphaforge_assets.venues.funding import FundingPage
from alphaforge_assets.venues.governor import Budget
from alphaforge_assets.venues.refusals import Meaning
from alphaforge_assets.venues.source import Call
from alphaforge_assets.venues.trades import TradeFeed

# How pages follow one another: from a first time on, back from a last one, told both ends, or not at all: from a first
# time on to the venue's now in one page.
Paging = Literal["ascending", "descending", "bounded", "newest"]


@dataclass(frozen=True)
class BarPage:
    """What a page of bars is asked by.

    `cursor_ms` is the earliest open time wanted or, of descending venues, the first one not wanted. `age_bars` is how
    many bars of this interval lie between the oldest one wanted and the venue's now. `end_ms` is the first open time
    not wanted, for bounded venues.
    """

    venue_symbol: str
    interval: str
    cursor_ms: int
    rows: int
    age_bars: int
    end_ms: int = 0


@dataclass(frozen=True)
class BarFeed:
    """How a venue is asked for the bars of one instrument."""

    paging: Paging
    rows_max: int  # the wish in `limit`
    ask: Callable[[BarPage], Call]
    rows: Callable[[Any, str], Any]  # the list of rows in the answer to a question for this one of its symbols
    layout: Layout
    intervals: tuple[str, ...] = tuple(INTERVAL_MS)  # those the venue has
    # Spans younger than so many bars come from an endpoint that knows no older ones: its silence says nothing of those.
    recent_bars: int = 0
    # The venue serves so many of its newest bars, the open one among them, and none older; None: all there ever were.
    kept_bars: int | None = None
    leaves_out_quiet: bool = False  # by its own documentation it publishes no bar of an interval without trades


@dataclass(frozen=True)
class FundingFeed:
    """How a venue of perpetuals is asked for the settlements of one instrument."""

    ascending: bool
    rows_max: int  # the wish in `limit`
    ask: Callable[[FundingPage], Call]
    rows: Callable[[Any], Any]  # the list of records in the answer
    fields: Mapping[str, str]  # column of FUNDING_SCHEMA, or "symbol" -> the venue's field
    kept_days: int | None = None  # what is older the venue no longer serves; None: it serves all there ever was


@dataclass(frozen=True)
class Marks:
    """What the venue's own row of an instrument says that ccxt does not pass on. Times in ms, None for none."""

    status: str
    listed_ms: int | None
    delisted_ms: int | None
    funding_rate_cap: float | None = None  # of one settlement, a fraction
    funding_rate_floor: float | None = None
    funding_interval_hours: float | None = None


@dataclass(frozen=True)
class Venue:
    """One market place of one exchange."""

    name: str
    exchange: str  # ccxt's class id
    concurrency: int  # requests in flight: enough to fill the budget at 0.2 s an answer
    bars: BarFeed

    # The clock.
    ask_time: Call
    time_ms: Callable[[Any], Any]

    # Instruments: ccxt's fetch_markets, restricted to these of its types, which costs this.
    market_types: tuple[str, ...]
    markets_budget: Budget
    markets_weight: int
    marks: Callable[[Mapping[str, Any]], Marks]

    refusals: tuple[Meaning, ...] = ()  # what its own error codes mean
    funding: FundingFeed | None = None  # perpetuals only
    trades: TradeFeed | None = None
    prices: Mapping[str, BarFeed] = field(default_factory=dict)  # of perpetuals: mark, index, premium -> its bars
    # Other tools' words: nautilus_trader's symbol, made of the venue's own `{id}` or of `{base}` and `{quote}`; what
    # nautilus_trader and LEAN call the exchange where it is not as ccxt does.
    nautilus_symbol: str = "{id}"
    known_as: str = ""
    # Where a sandbox has it below its base URL: for a venue whose paths are another's on another host.
    mount: str = ""

    @property
    def is_perpetual(self) -> bool:
        return self.name.endswith("_perp")


def optional_number(value: Any) -> float | None:
    """A finite number, or the text of one; None for anything else."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def seconds_ms(value: Any) -> int | None:
    """Seconds in a number, or the text of one, as whole milliseconds; None for anything else."""
    number = optional_number(value)
    return None if number is None else round(number * 1000)


def optional_ms(value: Any) -> int | None:
    """A time that venues write as milliseconds in a number or text, with "", "0" or nothing for none."""
    text = str(value) if value is not None else ""
    return int(text) if text.isascii() and text.isdigit() and int(text) > 0 else None
