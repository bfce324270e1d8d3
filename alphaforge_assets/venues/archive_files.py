"""What a file of an archive is: its name, where it is listed, and what it is worth once it was brought.

A checksum beside a file vouches for it. Without one, or with one of other bytes, the bars count as REST's would: stale
checksums are on record (github.com/binance/binance-public-data, issues 40, 249, 405).
"""

import datetime as dt
import hashlib
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pyarrow as pa

from alphaforge_assets.errors import VenueUnavailable
from alphaforge_assets.intervals import INTERVAL_MS
from alphaforge_assets.venues.bars import Window
from alphaforge_assets.venues.buckets import Listed, Place
from alphaforge_assets.venues.columns import Layout
from alphaforge_assets.venues.governor import Budget
from alphaforge_assets.venues.klines_file import Expected, Read, read_file
from alphaforge_assets.venues.source import FileSeen
from alphaforge_assets.venues.trades_file import TradeFormat

_CHECKSUM = re.compile(r"([0-9a-f]{64})\s+\*?(\S+)\s*", re.ASCII)


@dataclass(frozen=True)
class FileFeed:
    """Where a venue's files are and how they read."""

    place: Place
    folder: str
    layout: Layout
    budget: Budget
    intervals: tuple[str, ...] = tuple(INTERVAL_MS)


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
    file: Wanted, layout: Layout, path: Path, listed: Listed, closed_before: dt.datetime
) -> tuple[pa.Table | None, FileSeen]:
    """The bars of a file that was brought, or None, and what it was like; it is gone from the disk afterwards."""
    seen = file.seen(listed)
    try:
        with path.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        checksum = checksum_status(checksum_of(path), sha256, f"{file.stem}.zip")
        seen = replace(seen, sha256=sha256, checksum_status=checksum)
        span = Window(ms(file.start), ms(file.end))
        size = path.stat().st_size
        read = read_file(path, Expected(file.stem, layout, INTERVAL_MS[file.interval], span, size, ms(closed_before)))
    except VenueUnavailable as error:
        return None, replace(seen, reason=str(error)[:300])
    finally:
        path.unlink(missing_ok=True)
        checksum_of(path).unlink(missing_ok=True)
    return read.table, _loaded(seen, read)


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
