"""Journals of hours that are over -> segments at their place, a row each in `stream_segments`; then the journal goes.

Also the journals of a process that is no more: their bars are read again before they are packed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
from clickhouse_connect.driver.client import Client

from alphaforge_assets.stream.closing import Closing
from alphaforge_assets.stream.connection import name_of
from alphaforge_assets.stream.journal import named, read
from alphaforge_assets.stream.loader import Bar
from alphaforge_assets.stream.segments import Place, Segment, pack
from alphaforge_assets.stream.subscribing import Heard
from alphaforge_assets.venues.feed import Event, Feed
from alphaforge_assets.venues.feeds import FEEDS
from alphaforge_assets.warehouse import statements


def feed_of(file: Path) -> Feed | None:
    """The feed that a journal is of; None for one that this program no longer has."""
    name, _, _ = named(file)
    return next((feed for feeds in FEEDS.values() for feed in feeds if name_of(feed) == name), None)


def pack_away(client: Client, file: Path, feed: Feed, heard: Sequence[Heard], place: Place) -> list[Segment]:
    """Pack a journal, note its segments, remove it. What is cut short is done again, with the same files.

    Raises Permanent where the place does not take them, WarehouseDown, WarehouseRefused.
    """
    symbols = {h.name: h.instrument.symbol.replace("/", "-") for h in heard}

    def concerns(message: bytes) -> Iterator[tuple[str, str]]:
        for told in feed.parse(message):
            if isinstance(told, Event):
                yield told.kind, symbols.get(told.venue_symbol, told.venue_symbol.replace("/", "-"))

    segments = pack(file, feed.venue, concerns, place)
    if segments:
        rows = pa.Table.from_pylist([asdict(s) for s in segments], _SEGMENTS)
        statements.insert(client, "stream_segments", rows, f"{file.name}|{segments[0].sha256}|{len(segments)}")
    file.unlink()
    return segments


def bars_of(file: Path, feed: Feed, heard: Sequence[Heard]) -> list[Bar]:
    """The closed bars of a journal that nobody may have loaded."""
    known = {h.name: h.instrument for h in heard}
    _, connection, _ = named(file)
    closing = Closing(known, feed.closes, {})
    told: dict[str, int] = {}
    bars = []
    for line in read(file):
        for event in feed.parse(line.message):
            if isinstance(event, Event) and event.kind == "bars":
                for bar in closing.told(event, 0.0):
                    at = line.at if bar is event else told[event.venue_symbol]
                    bars.append(Bar(known[bar.venue_symbol], bar.open_ms, bar.record, connection, at))
                told[event.venue_symbol] = line.at
    return bars


_MS = pa.timestamp("ms", "UTC")
_SEGMENTS = pa.schema(
    [
        *((name, pa.string()) for name in ("venue", "dataset", "symbol")),
        ("hour", _MS),
        *((name, pa.string()) for name in ("connection", "path", "sha256")),
        ("bytes", pa.uint64()),
        ("messages", pa.uint64()),
        ("first_at", _MS),
        ("last_at", _MS),
    ]
)
