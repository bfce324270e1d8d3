"""Pages of a series as bytes, from chunks of rendered text that are kept while they are hot.

A chunk is a fixed range of indices, rendered once in the order the venue sends; a page is slices of chunks. The open
bar is never part of a chunk, since it changes.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from alphaforge_assets.sandbox.bars import DAY_MS, MINUTE_MS, Bars, Series
from alphaforge_assets.sandbox.text import Text

CHUNK_ROWS = 1024
CHUNK_MINUTES = 64 * DAY_MS // MINUTE_MS  # a chunk of coarse bars is made of at most this many minutes
KEPT_BYTES = 192 * 1024 * 1024


@dataclass(frozen=True)
class Layout:
    """How a venue writes a row: `write(bars, closed)` renders bars in time order, each row ending in a comma."""

    name: str
    descending: bool
    write: Callable[[Bars, bool], Text]


@dataclass(frozen=True)
class Span:
    """Indices [start, stop) of a series; `running` if the last of them is the bar still open."""

    start: int
    stop: int
    running: bool = False

    @property
    def rows(self) -> int:
        return self.stop - self.start

    def oldest(self, limit: int) -> "Span":
        stop = min(self.stop, self.start + limit)
        return Span(self.start, stop, self.running and stop == self.stop)

    def newest(self, limit: int) -> "Span":
        return Span(max(self.start, self.stop - limit), self.stop, self.running and limit > 0)


def span(series: Series, now_ms: int, first_ms: int | None, last_ms: int | None) -> Span:
    """Bars that open in [first_ms, last_ms], both inclusive and optional, as far as they exist at `now_ms`."""
    open_index = series.open_index(now_ms)
    end = series.first_at_or_after(now_ms + 1)
    stop = end if last_ms is None else min(end, series.first_at_or_after(last_ms + 1))
    start = min(stop, series.first_at_or_after(first_ms or 0))
    return Span(start, stop, start < stop and stop - 1 == open_index)


@dataclass
class Pages:
    """Rendered chunks of every series, the least recently used dropped first."""

    _chunks: "OrderedDict[tuple[object, ...], Text]" = field(default_factory=OrderedDict)
    _bytes: int = 0

    def clear(self) -> None:
        self._chunks.clear()
        self._bytes = 0

    def page(
        self, key: tuple[object, ...], series: Series, interval_ms: int, layout: Layout, part: Span, now_ms: int
    ) -> bytes:
        """The rows of `part` joined by commas, without brackets. `key` names the series."""
        size = min(CHUNK_ROWS, max(1, CHUNK_MINUTES * MINUTE_MS // interval_ms))
        closed_stop = part.stop - 1 if part.running else part.stop
        pieces: list[memoryview] = []
        for chunk in range(part.start // size, -(-closed_stop // size)):
            low, high = max(part.start, chunk * size), min(closed_stop, (chunk + 1) * size)
            if low < high:
                text, begin = self._chunk((*key, interval_ms, layout.name), series, layout, chunk, size)
                rows = len(text.offsets) - 1
                first, last = low - begin, high - begin
                pieces.append(text.rows(rows - last, rows - first) if layout.descending else text.rows(first, last))
        if part.running:
            pieces.append(layout.write(series.open_bar(now_ms), False).data)
        if layout.descending:
            pieces.reverse()
        return b"".join(pieces)[:-1]

    def _chunk(
        self, key: tuple[object, ...], series: Series, layout: Layout, chunk: int, size: int
    ) -> tuple[Text, int]:
        """Text of the chunk's existing rows and the index of the first of them."""
        begin = max(chunk * size, series.first_at_or_after(0))
        text = self._chunks.get((*key, chunk))
        if text is None:
            stop = min((chunk + 1) * size, series.first_at_or_after(_END_OF_TIME))
            bars = series.bars(begin, stop)
            if layout.descending:
                bars = bars.take(np.arange(len(bars))[::-1])
            text = self._chunks[(*key, chunk)] = layout.write(bars, True)
            self._bytes += len(text.data)
            while self._bytes > KEPT_BYTES and len(self._chunks) > 1:
                self._bytes -= len(self._chunks.popitem(last=False)[1].data)
        self._chunks.move_to_end((*key, chunk))
        return text, begin


_END_OF_TIME = 1 << 50
