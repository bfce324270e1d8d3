"""Kraken's downloads: a zip file a quarter with the bars of every pair, from the very bars that REST answers.

Members are <pair without X and Z>_<minutes>.csv without a header: time in seconds, open, high, low, close, volume,
trades; an interval without a trade has no row. There is a MANIFEST.json too. Served by ranges. Second-hand, by several
who read the quarters of 2026; that a quarter comes 75 days after its end is what one of them saw.
"""

import datetime as dt
import hashlib
import io
import re
import zipfile
from collections import OrderedDict
from dataclasses import dataclass, field
from email.utils import format_datetime

import numpy as np

from alphaforge_assets.sandbox.bars import Bars
from alphaforge_assets.sandbox.exchange import Exchange, milliseconds
from alphaforge_assets.sandbox.kraken import INTERVALS, VENUE, alias
from alphaforge_assets.sandbox.text import Column, render
from alphaforge_assets.sandbox.wire import Reply

ROOT = "/marketing/institutions/"
LAG_MS = 75 * 86_400_000
FILES_KEPT = 2
_NAME = re.compile(r"Kraken_OHLCVT_(?P<year>\d{4})Q(?P<quarter>[1-4])\.zip")


@dataclass
class Downloads:
    """The files, made when somebody asks for them, and kept."""

    exchange: Exchange
    _kept: "OrderedDict[str, tuple[bytes, str]]" = field(default_factory=OrderedDict)  # body and its MD5

    def renew(self) -> None:
        """Files are made anew when somebody looks at them next."""
        self._kept.clear()

    def answer(self, path: str, byte_range: str) -> Reply:
        """What the web server says to a GET."""
        name = path.removeprefix(ROOT)
        found = _NAME.fullmatch(name)
        span = _span(int(found["year"]), int(found["quarter"])) if found else None
        if span is None or span[1] + LAG_MS > self.exchange.clock.now_ms():
            return Reply(b"<Error><Code>AccessDenied</Code></Error>", 403, 0, (("content-type", "application/xml"),))
        if name not in self._kept:
            made = self._made(*span)
            self._kept[name] = made, hashlib.md5(made, usedforsecurity=False).hexdigest()
            while len(self._kept) > FILES_KEPT:
                self._kept.popitem(last=False)
        body, digest = self._kept[name]
        first, _, last = byte_range.removeprefix("bytes=").partition("-")
        start, stop = int(first or 0), min(len(body), int(last) + 1 if last else len(body))
        moment = dt.datetime.fromtimestamp((span[1] + LAG_MS) // 1000, dt.UTC)
        headers = (
            ("content-type", "application/zip"),
            ("etag", f'"{digest}"'),
            ("last-modified", format_datetime(moment, usegmt=True)),
            ("content-range", f"bytes {start}-{stop - 1}/{len(body)}"),
        )
        return Reply(body[start:stop], 206 if byte_range else 200, 0, headers[: 4 if byte_range else 3])

    def _made(self, start_ms: int, end_ms: int) -> bytes:
        body = io.BytesIO()
        with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
            for listing in self.exchange.of_venue(VENUE):
                for minutes, interval in INTERVALS.items():
                    series = self.exchange.series(listing, interval)
                    if series is None or interval.ms > 86_400_000:
                        continue
                    first, last = series.first_at_or_after(start_ms), series.first_at_or_after(end_ms)
                    if first >= last:
                        continue
                    bars = series.bars(first, last)
                    rows = _rows(bars.take(np.flatnonzero(bars.count > 0)))
                    if rows:
                        file.writestr(zipfile.ZipInfo(_member(listing.base, listing.quote, minutes)), rows, 8, 1)
            file.writestr(zipfile.ZipInfo("MANIFEST.json"), b"{}")
        return body.getvalue()


def _member(base: str, quote: str, minutes: str) -> str:
    return f"{alias(base)}{alias(quote)}_{minutes}.csv"


def _span(year: int, quarter: int) -> tuple[int, int]:
    first, after = quarter * 3 - 2, quarter * 3 + 1
    end = dt.datetime(year + after // 13, after % 12 or 12, 1, tzinfo=dt.UTC)
    return milliseconds(dt.datetime(year, first, 1, tzinfo=dt.UTC)), milliseconds(end)


def _rows(bars: Bars) -> bytes:
    if not len(bars):
        return b""
    scales = bars.scales
    prices = (Column(c, scales.price) for c in (bars.open, bars.high, bars.low, bars.close))
    columns = [Column(bars.open_time // 1000), *prices, Column(bars.volume, scales.volume, 8), Column(bars.count)]
    return bytes(render(columns, [b"", *[b","] * 6, b"\n"]).data)
