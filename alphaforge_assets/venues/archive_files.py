"""What a file of an archive is: its name, where it is listed, and what it is worth once it was brought.

A checksum beside a file vouches for it. Without one, or with one of other bytes, the bars count as REST's would: stale
checksums are on record (github.com/binance/binance-public-data, issues 40, 249, 405).
"""

import datetime as dt
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import pyarrow as pa

from alphaforge_assets.errors import VenueUnavailable
from alphaforge_assets.intervals import INTERVAL_MS, SERIES_MS, length_of, price_of
from alphaforge_assets.venues.bars import Window
from alphaforge_assets.venues.bucket_listing import Listed
from alphaforge_assets.venues.buckets import Place
from alphaforge_assets.venues.columns import Layout
from alphaforge_assets.venues.funding_file import read_file as read_settlements
from alphaforge_assets.venues.governor import Budget
from alphaforge_assets.venues.klines_file import Expected, Read, read_file
from alphaforge_assets.venues.liquidations_file import read_file as read_liquidations
from alphaforge_assets.venues.source import FileSeen
from alphaforge_assets.venues.trades_file import TradeFormat

Period = Literal["month", "day"]
_CHECKSUM = re.compile(r"([0-9a-f]{64})\s+\*?(\S+)\s*", re.ASCII)


@dataclass(frozen=True)
class FileFeed:
    """Where a venue's files are and how they read."""

    place: Place
    folder: str
    layout: Layout
    budget: Budget
    intervals: tuple[str, ...] = tuple(INTERVAL_MS)
    prices: Mapping[str, str] = field(default_factory=dict)  # of perpetuals: mark, index, premium -> its folder
    price_layout: Layout | None = None  # how bars of those read
    funding: str = ""  # the folder of settlements, a file a month
    liquidations: str = ""  # the folder of liquidations, a file a day

    def kind(self, series: str, period: Period) -> str:
        """The folder of the files of a series; empty if there are none.

        Of what has no interval there are settlements by month and liquidations by day.
        """
        if not series:
            return self.funding if period == "month" else self.liquidations
        if length_of(series) not in self.intervals:
            return ""
        return "klines" if price_of(series) == "trade" else self.prices.get(price_of(series), "")

    @property
    def kinds(self) -> tuple[str, ...]:
        """The folders of all that it has files of."""
        return tuple(filter(None, ("klines", *self.prices.values(), self.funding, self.liquidations)))

    def layout_of(self, series: str) -> Layout:
        """How the files of a series read."""
        return self.price_layout if self.price_layout and price_of(series) != "trade" else self.layout


@dataclass(frozen=True)
class TradeFiles:
    """Where a venue's files of trades are and how they read. `kind` is the venue's name of them."""

    place: Place
    folder: str
    kind: str
    format: TradeFormat
    budget: Budget
    bytes_a_trade: float  # zipped


@dataclass(frozen=True)
class Wanted:
    """A file that should be: its key and the span it is of."""

    key: str
    interval: str
    start: dt.datetime
    end: dt.datetime

    @property
    def stem(self) -> str:
        return self.key.rpartition("/")[2].removesuffix(".zip")

    def seen(self, listed: Listed | None) -> FileSeen:
        """What is known of it by its listing; `corrupt` until somebody knows better."""
        blank = FileSeen(self.key, "corrupt", self.start, self.end, dt.datetime.now(dt.UTC))
        if listed is None:
            return blank
        modified = dt.datetime.fromisoformat(listed.last_modified)
        return replace(blank, etag=listed.etag, size=listed.size, last_modified=modified)


def judge(
    file: Wanted, feed: FileFeed, symbol: str, path: Path, listed: Listed, closed_before: dt.datetime
) -> tuple[pa.Table | None, FileSeen]:
    """The rows of a file that was brought, or None, and what it was like; it is gone from the disk afterwards."""
    seen = file.seen(listed)
    try:
        with path.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        checksum = checksum_status(checksum_of(path), sha256, f"{file.stem}.zip")
        seen = replace(seen, sha256=sha256, checksum_status=checksum)
        read = _read(file, feed, symbol, path, ms(closed_before))
    except VenueUnavailable as error:
        return None, replace(seen, reason=str(error)[:300])
    finally:
        path.unlink(missing_ok=True)
        checksum_of(path).unlink(missing_ok=True)
    return read.table, _loaded(seen, read)


def _read(file: Wanted, feed: FileFeed, symbol: str, path: Path, closed_before_ms: int) -> Read:
    span = Window(ms(file.start), ms(file.end))
    if not file.interval and file.end - file.start > dt.timedelta(days=1):
        return read_settlements(path, file.stem, symbol, span, closed_before_ms)
    if not file.interval:
        return read_liquidations(path, file.stem, span)
    layout, step_ms = feed.layout_of(file.interval), SERIES_MS[file.interval]
    return read_file(path, Expected(file.stem, layout, step_ms, span, path.stat().st_size, closed_before_ms))


def checksum_of(path: Path) -> Path:
    """Where the checksum of a file is put."""
    return path.with_suffix(".zip.CHECKSUM")


def ms(moment: dt.datetime) -> int:
    """Milliseconds since the epoch."""
    return (moment - dt.datetime.fromtimestamp(0, dt.UTC)) // dt.timedelta(milliseconds=1)


def _loaded(seen: FileSeen, read: Read) -> FileSeen:
    times = read.table["timestamp"]
    reasons = {"verified": "", "mismatch": "its checksum is of other bytes", "absent": "it has no checksum"}
    return replace(
        seen,
        status="loaded" if seen.checksum_status == "verified" else "unverified",
        reason=reasons[seen.checksum_status],
        has_header=read.has_header,
        time_unit=read.time_unit,
        rows=read.table.num_rows,
        duplicates=read.duplicates,
        first=times[0].as_py() if read.table.num_rows else None,
        last=times[-1].as_py() if read.table.num_rows else None,
    )


def checksum_status(path: Path, sha256: str, name: str) -> Literal["verified", "mismatch", "absent"]:
    """What the checksum beside a file says of the bytes that came."""
    if not path.exists():
        return "absent"
    said = _CHECKSUM.fullmatch(path.read_text(encoding="utf-8", errors="replace"))
    return "verified" if said and said.groups() == (sha256, name) else "mismatch"
