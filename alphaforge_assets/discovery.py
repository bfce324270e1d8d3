"""What a venue lists now, and what its archives have of what it listed once: so that a universe is not survivors only.

A venue's list of instruments says what lives, and of some what is over. What it has dropped altogether is known by its
files alone, under the venue's own name. Such a name is taken apart by the quotes that the venue lists; where none fits
it is told as it is, and cannot be kept.
"""

import datetime as dt
import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from alphaforge_assets.errors import BadInput
from alphaforge_assets.universe import SYMBOL, Universe
from alphaforge_assets.venues.archive import ArchiveConnection
from alphaforge_assets.venues.directory import ARCHIVES, REST, VENUES, Exchanges
from alphaforge_assets.venues.source import Listing

# Files of a day are the smallest, and every symbol has them; so many are listed at once.
SPAN_INTERVAL = "1d"
LISTINGS_AT_ONCE = 8
Span = tuple[dt.date, dt.date]
# Names that may be part of a key that we ask for, and of the universe's file. Some coins are called otherwise.
_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,40}")
# A month's file comes with the next month: the last one of what lives is never older.
LIVES = dt.timedelta(days=62)


@dataclass(frozen=True)
class Found:
    """An instrument of a venue: from when to when, as far as anybody says, who says so, and whether it is kept.

    `symbol` is "" for a name that could not be taken apart. `source`: rest, archive, or both.
    """

    symbol: str
    venue_symbol: str
    listed_from: dt.date | None
    delisted: dt.date | None
    status: str
    source: str
    is_kept: bool

    @property
    def is_listed(self) -> bool:
        """Whether the venue still names it."""
        return "rest" in self.source


def discover(
    exchanges: Exchanges,
    universe: Universe,
    venue: str,
    quotes: Sequence[str],
    pattern: str,
    progress: Callable[[int, int], None],
) -> list[Found]:
    """Everything a venue has or had, of these quotes (all, if none) and with a symbol that fits a glob, by symbol.

    `progress` is told how many of how many have been looked up in the archive. Raises BadInput for a venue that is none
    of ours, VenueUnavailable, VenueLimited, VenueRefused.
    """
    if venue not in VENUES:
        raise BadInput(f"--discover {venue!r}: there is {', '.join(VENUES)}")
    with exchanges.open(REST[venue]) as connection:
        listed = {one.venue_symbol: one for one in connection.fetch_listings()}
    kept = {i.symbol for i in universe.instruments if i.venue == venue}
    found = [_of_listing(one, kept) for one in listed.values()]
    months, days = (next((a for a in ARCHIVES if a.venue == venue and a.period == p), None) for p in ("month", "day"))
    if months is not None and days is not None:
        with months.open(exchanges.access(months)) as archive, days.open(exchanges.access(days)) as daily:
            filed = set(archive.depot.symbols())
            every = {one.quote for one in listed.values()}
            found = [replace(one, source="rest and archive") if one.venue_symbol in filed else one for one in found]
            found += [_of_files(name, every, kept) for name in sorted(filed - listed.keys())]
            today = archive.fetch_server_time().date()
            spans = _spans(archive, daily, _chosen(found, quotes, pattern), filed, today, progress)
            found = [_spanned(one, spans, today) for one in found]
    return sorted(_chosen(found, quotes, pattern), key=lambda one: (one.symbol or "~", one.venue_symbol))


def has_archive(venue: str) -> bool:
    """Whether there are files of a venue, which know what it dropped."""
    return any(one.venue == venue for one in ARCHIVES)


def _of_listing(one: Listing, kept: Iterable[str]) -> Found:
    starts, ends = (moment.date() if moment else None for moment in (one.listed_at, one.delisted_at))
    status = one.status or ("active" if one.is_active else "not active")
    return Found(one.symbol, one.venue_symbol, starts, ends, status, "rest", one.symbol in kept)


def _of_files(name: str, quotes: Iterable[str], kept: Iterable[str]) -> Found:
    quote = next((q for q in sorted(quotes, key=len, reverse=True) if name.endswith(q) and len(name) > len(q)), "")
    symbol = f"{name.removesuffix(quote).rstrip('-_')}/{quote}" if quote else ""
    symbol = symbol if SYMBOL.fullmatch(symbol) and _PLAIN.fullmatch(name) else ""
    return Found(symbol, name, None, None, "not listed", "archive", symbol in kept)


def _chosen(found: Iterable[Found], quotes: Sequence[str], pattern: str) -> list[Found]:
    return [
        one
        for one in found
        if (not quotes or one.symbol.rpartition("/")[2] in quotes)
        and fnmatch.fnmatchcase(one.symbol or one.venue_symbol, pattern)
    ]


def _spans(
    months: ArchiveConnection,
    days: ArchiveConnection,
    found: Sequence[Found],
    filed: Iterable[str],
    today: dt.date,
    progress: Callable[[int, int], None],
) -> dict[str, Span]:
    """The days that files are of, where the venue does not say them: of what is over to the day, by its last month."""
    known = set(filed)
    told = [one for one in found if one.listed_from is None or not one.is_listed]
    asked = [one for one in told if one.venue_symbol in known and _PLAIN.fullmatch(one.venue_symbol)]

    def look(one: Found) -> Span | None:
        span = months.depot.span(one.venue_symbol, SPAN_INTERVAL)
        if span is None or span[1] >= today - LIVES:
            return span
        last = span[1] - dt.timedelta(days=1)
        fine = days.depot.span(one.venue_symbol, SPAN_INTERVAL, f"{last:%Y-%m}")
        return (span[0], fine[1]) if fine else span

    spans: dict[str, Span] = {}
    with ThreadPoolExecutor(LISTINGS_AT_ONCE, thread_name_prefix="span") as pool:
        for n, (one, span) in enumerate(zip(asked, pool.map(look, asked), strict=True), 1):
            spans |= {one.venue_symbol: span} if span else {}
            progress(n, len(asked))
    return spans


def _spanned(one: Found, spans: Mapping[str, Span], today: dt.date) -> Found:
    span = spans.get(one.venue_symbol)
    if span is None:
        return one
    over = span[1] if span[1] < today - LIVES else None
    return replace(one, listed_from=one.listed_from or span[0], delisted=one.delisted or over)
