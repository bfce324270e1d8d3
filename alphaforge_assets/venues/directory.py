"""All venues and sources there are, by name: adding one to the product is its file and its line here."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from filelock import FileLock
from pydantic import SecretStr

from alphaforge_assets.venues import binance, bybit, coinbase, kraken, okx
from alphaforge_assets.venues.alternative_me import IndexSource
from alphaforge_assets.venues.archive import ArchiveSource
from alphaforge_assets.venues.archive_files import FileFeed, TradeFiles
from alphaforge_assets.venues.depot import PERIODS
from alphaforge_assets.venues.quarters import QuarterArchive
from alphaforge_assets.venues.rest import RestSource
from alphaforge_assets.venues.source import Access, Connection, Patience, Source
from alphaforge_assets.venues.trade_archive import TradeArchive
from alphaforge_assets.venues.venue import Venue

VENUES: Mapping[str, Venue] = MappingProxyType(
    {
        v.name: v
        for v in (
            *(binance.SPOT, okx.SPOT, bybit.SPOT, binance.PERP, okx.PERP, bybit.PERP),
            coinbase.SPOT,
            kraken.SPOT,
            binance.US,
        )
    }
)
# The door to each venue itself: its clock and its instruments are asked for there.
REST: Mapping[str, RestSource] = MappingProxyType({name: RestSource(venue) for name, venue in VENUES.items()})
FILES: Mapping[str, FileFeed] = MappingProxyType(
    {binance.SPOT.name: binance.SPOT_FILES, binance.PERP.name: binance.PERP_FILES}
)
ARCHIVES = (
    *(ArchiveSource(REST[venue], feed, "month") for venue, feed in FILES.items()),
    *(ArchiveSource(REST[venue], feed, "day") for venue, feed in FILES.items()),
)
TRADE_FILES: Mapping[str, TradeFiles] = MappingProxyType(
    {binance.SPOT.name: binance.SPOT_TRADE_FILES, binance.PERP.name: binance.PERP_TRADE_FILES}
)
TRADE_ARCHIVES = tuple(
    TradeArchive(REST[venue], files, period) for period in PERIODS for venue, files in TRADE_FILES.items()
)
QUARTERS = (QuarterArchive(REST[kraken.SPOT.name], kraken.FILES),)
SOURCES: list[Source] = [*REST.values(), *ARCHIVES, *TRADE_ARCHIVES, *QUARTERS, IndexSource()]


def ranked(venue: str, dataset: str, intervals: Sequence[str]) -> list[Source]:
    """The sources that serve some of the intervals, the one of the highest rank first."""
    serving = [s for s in SOURCES if s.venue == venue and any(s.serves(dataset, i) for i in intervals)]
    return sorted(serving, key=lambda source: -source.rank)


def served(venue: str, dataset: str, intervals: Sequence[str]) -> list[str]:
    """Those of the intervals that somebody serves."""
    return [i for i in intervals if ranked(venue, dataset, [i])]


def kept(venue: str, dataset: str, interval: str) -> dt.timedelta | None:
    """How far back somebody still serves a series; None if all of it is served, or nobody ever had it.

    Quarters do not count: they come months later.
    """
    spans = [s.kept(dataset, interval) for s in ranked(venue, dataset, [interval]) if s not in QUARTERS]
    return max(span for span in spans if span) if spans and all(spans) else None


def leaves_out_quiet(venue: str) -> bool:
    """Whether one of a venue's sources documents that it has no bar of an interval without trades."""
    quarters = any(source.leaves_out_quiet for source in QUARTERS if source.venue == venue)
    return quarters or (venue in VENUES and VENUES[venue].bars.leaves_out_quiet)


@dataclass(frozen=True)
class Exchanges:
    """The venues of one environment, live or sandbox: opens connections to their sources."""

    origin: str  # `live` or `sandbox`: every batch carries it
    base_url: str | None
    governor_file: Path
    keys: Mapping[str, SecretStr] = field(default_factory=dict)  # by venue; never needed for public data
    limits_factor: float = 1.0
    trail: Path | None = None  # where what venues said is kept word for word; None: it is not

    def open(self, source: Source, patience: Patience | None = None) -> Connection:
        """Connect to a source; nothing is sent yet. Raises BadInput for an address that cannot be."""
        return source.open(self.access(source, patience))

    def writing(self, venue: str, dataset: str) -> FileLock:
        """What a run holds while it lands what a venue said; a process that dies lets go of it.

        Who shares a venue's budget shares it: one that landed the same answer at the same moment would not see ours.
        """
        return FileLock(self.governor_file.with_name(f"land_{dataset}_{venue}.lock"))

    def access(self, source: Source, patience: Patience | None = None) -> Access:
        """Where and how a source is reached."""
        key = self.keys.get(source.venue)
        its, keeps_raw = patience or Patience(), self.trail is not None
        return Access(self.base_url, self.governor_file, key, its, self.limits_factor, keeps_raw)
