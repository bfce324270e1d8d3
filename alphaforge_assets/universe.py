"""WHAT we keep: venues, instruments, intervals and the start of history. Start reading here.

The universe is a value, read from one YAML file and never changed while the program runs. This module knows no venue's
wire format, no table and no Dagster noun; it turns a file into `Universe` or into one message that says which line to
mend.
"""

import datetime as dt
import difflib
import fnmatch
import itertools
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import pydantic
import yaml
from pydantic_core import PydanticCustomError

from alphaforge_assets import documents
from alphaforge_assets.errors import BadInput
from alphaforge_assets.intervals import Interval, PriceType
from alphaforge_assets.venues.directory import VENUES, ranked


def _venue(name: str) -> str:
    if name not in VENUES:
        raise PydanticCustomError("literal_error", "not known", {"expected": ", ".join(map(repr, VENUES))})
    return name


VenueName = Annotated[str, pydantic.AfterValidator(_venue)]

DEFAULT_FILE = Path(__file__).with_name("universe.yaml")
EARLIEST = dt.date(2009, 1, 3)  # no crypto market is older
# Whatever a venue lists: any script and case, digits first, dots and hyphens within. What would end a partition key, a
# list on the command line, a glob or a path is left out, and so are hyphens in the quote: the last one ends the base.
# Dots that follow dots mean a range of partitions to Dagster.
SYMBOL = re.compile(r"(?!.*\.\.)\w[\w.$-]{0,39}/\w[\w.$]{0,19}")
MOMENT_SAYS = "write a day or a time in UTC, such as 2022-05-31 or 2022-05-31 06:00"
SYMBOL_SAYS = "write BASE/QUOTE as the venue spells it, such as BTC/USDT (perpetuals too)"


def id_of(key: str) -> int:
    """UInt32 derived from a key: ClickHouse's `CRC32('binance_spot.BTC-USDT')`."""
    return zlib.crc32(key.encode())


def instrument_of(key: str) -> "Instrument":
    """The instrument of a key alone: one may have left the universe since something was kept of it."""
    venue, symbol = key.split(".", 1)
    return Instrument(venue, "/".join(symbol.rsplit("-", 1)), EARLIEST)


@dataclass(frozen=True)
class Identity:
    """What a name has stood for on its venue. Moments are aware, and the edges in the order of time.

    Each of `redenominated_at` is (moment, factor): prices before it times the factor are in the unit after it, amounts
    before it over the factor. From each of `relisted_at` on, the name is another coin's. `renamed_to` is the symbol
    under which the coin went on when the name ended, at `delisted_at`.
    """

    listed_at: dt.datetime | None = None
    delisted_at: dt.datetime | None = None
    renamed_to: str | None = None
    redenominated_at: tuple[tuple[dt.datetime, float], ...] = ()
    relisted_at: tuple[dt.datetime, ...] = ()

    @property
    def breaks(self) -> tuple[dt.datetime, ...]:
        """Moments at which the level of prices may shift for good."""
        return (*(moment for moment, _ in self.redenominated_at), *self.relisted_at)


@dataclass(frozen=True, order=True)
class Instrument:
    """One symbol on one venue; the second partition dimension.

    `symbol` is BASE/QUOTE also for perpetuals (whose ccxt symbol is BASE/QUOTE:QUOTE). `listed_from` is the first day
    we ask for, `listed_until` the first day we no longer ask for (None: still listed).
    """

    venue: str
    symbol: str
    listed_from: dt.date
    listed_until: dt.date | None = None
    identity: Identity = field(default=Identity(), compare=False)
    trades: bool = field(default=False, compare=False)  # whether its trades are kept too: they are many
    liquidations: bool = field(default=False, compare=False)
    price_bars: tuple[PriceType, ...] = field(default=(), compare=False)  # of which prices beside trades it has bars
    # The venue's own name, of one that was over before anybody saw the venue list it: its archives go by that.
    venue_symbol: str | None = field(default=None, compare=False)

    @property
    def key(self) -> str:
        """`binance_spot.BTC-USDT`: the name used in partitions, the command line and Python."""
        return f"{self.venue}.{self.symbol.replace('/', '-')}"

    @property
    def instrument_id(self) -> int:
        """As `id_of`."""
        return id_of(self.key)

    @property
    def is_perpetual(self) -> bool:
        return self.venue.endswith("_perp")

    @property
    def base(self) -> str:
        return self.symbol.split("/")[0]

    @property
    def quote(self) -> str:
        return self.symbol.split("/")[1]

    @property
    def ccxt_symbol(self) -> str:
        """ccxt's unified symbol: `BTC/USDT`, for a linear perpetual `BTC/USDT:USDT`."""
        return f"{self.symbol}:{self.quote}" if self.is_perpetual else self.symbol


# One series for the whole market, by alternative.me. No exchange lists it, so it is not in universe.yaml. Its
# partitions are days alone, and the source's history begins on this one.
FEAR_GREED = Instrument("alternative_me", "FEAR/GREED", dt.date(2018, 2, 1))


class _Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=True)


def _moment(value: Any) -> Any:
    """YAML gives a day, a time, or a text of either."""
    if isinstance(value, str):
        try:
            value = dt.datetime.fromisoformat(value)
        except ValueError as error:
            raise ValueError(MOMENT_SAYS) from error
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        value = dt.datetime(value.year, value.month, value.day, tzinfo=dt.UTC)
    if not isinstance(value, dt.datetime):
        raise ValueError(MOMENT_SAYS)
    return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)


def _once(values: list[Any]) -> list[Any]:
    if len(set(values)) != len(values):
        raise ValueError("one is named twice; name each once")
    return values


Once = pydantic.AfterValidator(_once)
Moment = Annotated[dt.datetime, pydantic.BeforeValidator(_moment)]
Factor = Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)]


class InstrumentEntry(_Strict):
    """An instrument in the file: a bare symbol, or a mapping when it has dates of its own. See `Identity`."""

    symbol: str
    listed_from: dt.date | None = None
    listed_until: dt.date | None = None
    listed_at: Moment | None = None
    delisted_at: Moment | None = None
    renamed_to: str | None = None
    redenominated_at: dict[Moment, Factor] = {}
    relisted_at: list[Moment] = []
    trades: bool = False
    liquidations: bool = False
    price_bars: Annotated[list[PriceType], Once] = []
    venue_symbol: Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9_-]{1,40}$")] | None = None

    @pydantic.model_validator(mode="before")
    @classmethod
    def _bare_symbol(cls, entry: Any) -> Any:
        return {"symbol": entry} if isinstance(entry, str) else entry

    @pydantic.field_validator("symbol", "renamed_to")
    @classmethod
    def _symbol_is_unified(cls, symbol: str | None) -> str | None:
        if symbol is not None and not SYMBOL.fullmatch(symbol):
            raise ValueError(SYMBOL_SAYS)
        return symbol

    @pydantic.field_validator("relisted_at", mode="before")
    @classmethod
    def _one_or_many(cls, moments: Any) -> Any:
        return moments if isinstance(moments, list) else [moments]

    @pydantic.model_validator(mode="after")
    def _dates_in_order(self) -> "InstrumentEntry":
        if self.first_day and self.end_day and self.end_day <= self.first_day:
            start = "listed_from" if self.listed_from else "listed_at"
            raise ValueError(
                f"{'listed_until' if self.listed_until else 'delisted_at'} must be a later day than {start}"
            )
        if self.renamed_to and (self.delisted_at is None or self.renamed_to == self.symbol):
            raise ValueError("renamed_to is another symbol, and delisted_at is when this one ended; add or mend it")
        breaks = sorted(self.identity.breaks)
        if len(set(breaks)) < len(breaks):
            twice = next(a for a, b in itertools.pairwise(breaks) if a == b)
            raise ValueError(f"two of redenominated_at and relisted_at are at {twice:%Y-%m-%d %H:%M}; keep one")
        for moment in breaks:
            if (self.listed_at and moment <= self.listed_at) or (self.delisted_at and moment >= self.delisted_at):
                raise ValueError(
                    f"redenominated_at and relisted_at lie between listed_at, when the name was first listed, and"
                    f" delisted_at, when it ended for good; {moment:%Y-%m-%d %H:%M} does not"
                )
        return self

    @property
    def first_day(self) -> dt.date | None:
        """The first day to ask for."""
        return self.listed_from or (self.listed_at.date() if self.listed_at else None)

    @property
    def end_day(self) -> dt.date | None:
        """The first day not to ask for any more."""
        if self.listed_until or not self.delisted_at:
            return self.listed_until
        return (self.delisted_at + dt.timedelta(days=1) - dt.timedelta(microseconds=1)).date()

    @property
    def identity(self) -> Identity:
        redenominated = tuple(sorted(self.redenominated_at.items()))
        relisted = tuple(sorted(self.relisted_at))
        return Identity(self.listed_at, self.delisted_at, self.renamed_to, redenominated, relisted)


class VenueEntry(_Strict):
    """A venue in the file."""

    instruments: list[InstrumentEntry] = pydantic.Field(min_length=1)


class Universe(_Strict):
    """The whole file. `instruments` is ordered by venue as written, so a venue's partitions are contiguous."""

    history_start: dt.date
    intervals: Annotated[list[Interval], Once] = pydantic.Field(min_length=1)
    venues: dict[VenueName, VenueEntry] = pydantic.Field(min_length=1)

    @cached_property
    def instruments(self) -> tuple[Instrument, ...]:
        start = self.history_start
        return tuple(
            Instrument(
                venue,
                e.symbol,
                max(start, e.first_day or start),
                e.end_day,
                e.identity,
                e.trades,
                e.liquidations,
                tuple(e.price_bars),
                e.venue_symbol,
            )
            for venue, entry in self.venues.items()
            for e in entry.instruments
        )

    @cached_property
    def by_key(self) -> dict[str, Instrument]:
        return {i.key: i for i in self.instruments}

    def instrument(self, key: str) -> Instrument:
        """The instrument named `key`. Raises BadInput with the nearest names if there is none."""
        if key not in self.by_key:
            near = difflib.get_close_matches(key, self.by_key, n=3, cutoff=0.4)
            hint = f"did you mean {', '.join(near)}?" if near else "`alphaforge universe` lists what there is"
            raise BadInput(f"instrument {key!r} is not in the universe: {hint}")
        return self.by_key[key]

    def select(self, patterns: Iterable[str]) -> tuple[Instrument, ...]:
        """Instruments whose key matches any of the globs, in universe order.

        Raises BadInput for a pattern that matches none, so that a typo never means "nothing to do".
        """
        chosen: set[str] = set()
        for pattern in patterns:
            hits = fnmatch.filter(self.by_key, pattern)
            if not hits:
                self.instrument(pattern)  # no glob matched: the error names the nearest keys
            chosen.update(hits)
        return tuple(i for i in self.instruments if i.key in chosen)


def load_universe(path: Path = DEFAULT_FILE) -> Universe:
    """Read and check a universe file.

    Raises BadInput with every fault on a line of its own, each as `file:line: field: what is wrong; how to mend it`.
    """
    root, document = documents.read(path, "universe", "ALPHAFORGE_UNIVERSE must name a readable YAML file")
    try:
        universe = Universe.model_validate(document)
    except pydantic.ValidationError as error:
        known = [*Universe.model_fields, *VenueEntry.model_fields, *InstrumentEntry.model_fields]
        raise BadInput("\n".join(documents.faults(path, root, error, known))) from error
    if faults := list(_conflicts(universe, path, root)):
        raise BadInput("\n".join(faults))
    return universe


def _conflicts(universe: Universe, path: Path, root: yaml.Node | None) -> Iterator[str]:
    """Faults that show only in the whole: duplicates, id collisions, an end before the start of history."""
    seen: dict[int, Instrument] = {}
    for venue, entry in universe.venues.items():
        for n, e in enumerate(entry.instruments):
            instrument = Instrument(venue, e.symbol, universe.history_start)
            loc = ("venues", venue, "instruments", n)
            where = documents.where(path, root, loc)
            other = seen.setdefault(instrument.instrument_id, instrument)
            if other is not instrument and other.key == instrument.key:
                yield f"{where}: {e.symbol} is listed twice; remove one"
            elif other is not instrument:
                yield f"{where}: {instrument.key} and {other.key} share the id {other.instrument_id}; drop one of them"
            wanted = [(name, "", f"{name}: true") for name in ("trades", "liquidations") if getattr(e, name)]
            wanted += [("price_bars", f"{price}_1m", f"price_bars: {price}") for price in e.price_bars]
            for dataset, series, what in wanted:
                if not ranked(venue, dataset, [series]):
                    having = ", ".join(name for name in VENUES if ranked(name, dataset, [series]))
                    yield f"{where}.{what}: of {venue} we know none; remove it, there are those of {having}"
            if e.end_day and e.end_day <= universe.history_start:
                name = "listed_until" if e.listed_until else "the end of delisted_at,"
                yield f"{where}: {name} {e.end_day} is not after history_start {universe.history_start}"
