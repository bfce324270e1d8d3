"""The sandbox's state: one clock, what is listed, where its bars come from, and the pages it has rendered."""

import datetime as dt
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

from alphaforge_assets.errors import BadInput
from alphaforge_assets.intervals import INTERVAL_MS
from alphaforge_assets.sandbox.bars import REVISABLE, Interval, Series
from alphaforge_assets.sandbox.funding import Funding
from alphaforge_assets.sandbox.listings import Listing, Place
from alphaforge_assets.sandbox.pages import Layout, Pages, Span
from alphaforge_assets.sandbox.price_bars import Valued
from alphaforge_assets.sandbox.prices import Generated, Market
from alphaforge_assets.sandbox.recordings import Recordings
from alphaforge_assets.sandbox.tapes import Tapes

RATE_MAX = 3600


@dataclass
class Clock:
    """The venues' time. `fixed_ms` None is the machine's clock.

    With a `rate` time runs from `fixed_ms` that many times as fast as the machine's, until it meets it; from then on it
    is the machine's. Nothing comes from the future. `changes` counts how often it was set.
    """

    fixed_ms: int | None = None
    rate: float = 0.0
    changes: int = 0
    _since: float = 0.0

    def now_ms(self) -> int:
        machine = time.time_ns() // 1_000_000
        if self.fixed_ms is None:
            return machine
        if not self.rate:
            return self.fixed_ms
        now = self.fixed_ms + int((time.monotonic() - self._since) * 1000 * self.rate)
        if now < machine:
            return now
        self.fixed_ms = None  # met
        return machine

    def set(self, iso: str | None, rate: object = 0) -> None:
        """Fix the clock at an ISO instant, let it run from there at a `rate`, or be the machine's (None).

        Raises BadInput, also for a running clock that would begin in the future.
        """
        if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 <= rate <= RATE_MAX:
            raise BadInput(f"rate {rate!r}: not a number from 0 (fixed) to {RATE_MAX}")
        if iso is None:
            if rate:
                raise BadInput("rate: needs the instant to run from, as now")
            self.fixed_ms, self.rate = None, 0.0
            self.changes += 1
            return
        try:
            instant = dt.datetime.fromisoformat(iso)
        except (TypeError, ValueError) as error:
            raise BadInput(f"now {iso!r}: not an ISO instant; write it like 2026-01-01T00:00:00Z") from error
        if rate and milliseconds(instant) > time.time() * 1000:
            raise BadInput(f"now {iso!r}: in the future, from where time cannot run; take an earlier one")
        self.fixed_ms, self.rate, self._since = milliseconds(instant), float(rate), time.monotonic()
        self.changes += 1

    @property
    def pace(self) -> float:
        """How fast time runs now: 1 as the machine's, 0 not at all."""
        self.now_ms()
        return 1.0 if self.fixed_ms is None else self.rate


def milliseconds(instant: dt.datetime) -> int:
    """Milliseconds since the epoch; a naive instant is UTC."""
    aware = instant if instant.tzinfo else instant.replace(tzinfo=dt.UTC)
    return int(aware.timestamp() * 1000)


@dataclass
class Exchange:
    """Everything the venue modules answer from."""

    clock: Clock
    seed: int
    places: Mapping[str, Place]
    recordings: Recordings | None
    listings: dict[tuple[str, str], Listing]
    okx_history_limit: int = 300
    market: Market = field(init=False)
    funding: Funding = field(init=False)
    tapes: Tapes = field(init=False)
    pages: Pages = field(default_factory=Pages)
    revised: dict[tuple[str, str], dict[tuple[int, int], dict[str, int]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.market = Market(self.seed)
        self.funding = Funding(self.market, self.recordings)
        self.tapes = Tapes(self.market, self.revised, self.recordings)

    def of_venue(self, *venues: str) -> Iterable[Listing]:
        """What venues list now."""
        return (one for one in self.listings.values() if one.venue in venues and not one.is_gone)

    def ever_of(self, venue: str) -> Iterable[Listing]:
        """What a venue has ever listed."""
        return (one for one in self.listings.values() if one.venue == venue)

    def series(self, listing: Listing, interval: Interval, price: str = "trade") -> Series | None:
        """The bars of a listing, of its trades or of another price; None where a recording has nothing fine enough."""
        if self.recordings:
            return self.recordings.series(*listing.key, interval, price)
        if price != "trade":
            return Valued(self.market, listing, interval, price)
        return Generated(self.market, listing, interval, self.revised.get(listing.key, {}))

    def page(self, listing: Listing, interval: Interval, series: Series, layout: Layout, part: Span) -> bytes:
        """Rows of a page, comma separated."""
        key = (*listing.key, interval.offset_ms)
        return self.pages.page(key, series, interval.ms, layout, part, self.clock.now_ms())

    def revise(self, venue: str, symbol: str, interval: str, open_time: int, columns: dict[str, str]) -> None:
        """Change one bar at the source, as a venue that corrects itself; the values are not checked for sense.

        Raises BadInput if there is no such bar, or a column or number that is none.
        """
        if venue not in self.places:
            raise BadInput(f"venue {venue!r}: not one of {', '.join(self.places)}")
        if "/" in symbol:
            symbol = self.places[venue].symbol(*symbol.split("/", 1))
        listing = self.listings.get((venue, symbol))
        if listing is None:
            raise BadInput(f"symbol {symbol!r}: {venue} does not list it; see its instrument list")
        if interval not in INTERVAL_MS:
            raise BadInput(f"interval {interval!r}: not one of {', '.join(INTERVAL_MS)}")
        grid = Interval(INTERVAL_MS[interval])
        series = self.series(listing, grid)
        index = series.first_at_or_after(open_time) if series else 0
        if series is None or not (found := series.bars(index, index + 1)) or int(found.open_time[0]) != open_time:
            raise BadInput(f"open_time {open_time}: {venue} {symbol} has no {interval} bar that opens then")
        units = {name: _units(name, text, series.scales.of(name)) for name, text in columns.items()}
        if self.recordings:
            self.recordings.revise(venue, symbol, grid.ms, open_time, units)
        else:
            revised = self.revised.setdefault(listing.key, {})
            revised.setdefault((grid.ms, open_time), {}).update(units)
        self.pages.clear()
        self.tapes.forget()


def _units(name: str, text: str, decimals: int) -> int:
    if name not in REVISABLE:
        raise BadInput(f"{name}: not a column of a bar; use {', '.join(REVISABLE)}")
    try:
        scaled = Decimal(str(text)).scaleb(decimals)
    except InvalidOperation as error:
        raise BadInput(f"{name} {text!r}: not a number") from error
    if scaled != scaled.to_integral_value() or abs(scaled) >= 2**62:
        raise BadInput(f"{name} {text!r}: this series has {decimals} decimals; use no more")
    return int(scaled)
