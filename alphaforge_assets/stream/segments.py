"""An hour of a journal as segments: a file a symbol, packed, named by its hash, where every tool finds it (Hive).

    stream/venue=binance_spot/dataset=bars/symbol=BTC-USDT/interval=1m/day=2026-08-01/hour=13/<sha256>.jsonl.zst

A segment is whole or not there, and the same lines make the same name: what was cut short is simply done again. The
name is the SHA-256 of the file as it is kept, so `sha256sum` proves it. What concerns no symbol (acknowledgements,
heartbeats, what nobody understands) is under the symbol `_connection`.
"""

import datetime as dt
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import zstandard

from alphaforge_assets.failpoints import passing
from alphaforge_assets.stream.journal import Line, line, named, read

LEVEL = 3
OF_CONNECTION = "_connection"
# (dataset, symbol as in paths) of everything that a message concerns; nothing for what concerns no symbol.
Concerns = Callable[[bytes], Iterable[tuple[str, str]]]


class Place(Protocol):
    """Where segments are kept, by their paths: a file is there whole or not at all (backup/place.py has two)."""

    def write(self, path: str, content: bytes) -> None: ...
    def size(self, path: str) -> int | None: ...


@dataclass(frozen=True)
class Segment:
    """One file: where it is, what it holds. `first_at` and `last_at` are of our clock."""

    venue: str
    dataset: str
    symbol: str
    hour: dt.datetime
    connection: str
    path: str
    sha256: str
    bytes: int
    messages: int
    first_at: dt.datetime
    last_at: dt.datetime


def pack(file: Path, venue: str, concerns: Concerns, place: Place) -> list[Segment]:
    """Write the segments of a journal; the journal stays. Raises Permanent where the place does not take them."""
    _, connection, hour = named(file)
    packers: dict[tuple[str, str], _Packer] = {}
    for its in read(file):
        for key in set(concerns(its.message)) or {("bars", OF_CONNECTION)}:
            if key not in packers:
                packers[key] = _Packer()
            packers[key].add(its)
    segments = []
    for (dataset, symbol), packer in sorted(packers.items()):
        moment = dt.datetime.fromtimestamp(hour * 3600, dt.UTC)
        content = packer.content()
        digest = hashlib.sha256(content).hexdigest()
        interval = "interval=1m/" if dataset == "bars" else ""
        path = (
            f"stream/venue={venue}/dataset={dataset}/symbol={symbol}/{interval}"
            f"day={moment:%Y-%m-%d}/hour={moment:%H}/{digest}.jsonl.zst"
        )
        passing("segment.before")
        if place.size(path) != len(content):
            place.write(path, content)
        segments.append(
            Segment(
                venue,
                dataset,
                symbol,
                moment,
                connection,
                path,
                digest,
                len(content),
                packer.messages,
                packer.first_at,
                packer.last_at,
            )
        )
    passing("segment.after")
    return segments


class _Packer:
    """The lines of one symbol, packed as they come: an hour of them would not fit into memory."""

    def __init__(self) -> None:
        self._packer = zstandard.ZstdCompressor(level=LEVEL).compressobj()
        self._parts: list[bytes] = []
        self._first = self._last = 0
        self.messages = 0

    def add(self, its: Line) -> None:
        self._parts.append(self._packer.compress(line(its.n, its.at, its.message)))
        self._first = self._first or its.at
        self._last = its.at
        self.messages += 1

    def content(self) -> bytes:
        return b"".join([*self._parts, self._packer.flush()])

    @property
    def first_at(self) -> dt.datetime:
        return _moment(self._first)

    @property
    def last_at(self) -> dt.datetime:
        return _moment(self._last)


def _moment(at: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(at // 1_000_000 / 1000, dt.UTC)
