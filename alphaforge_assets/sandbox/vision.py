"""The files of data.binance.vision: which there are, and what is in them, from the very bars and trades of REST.

A day's file comes the day after, a month's on the first Monday after it (their README; it may be later). Spot has no
header line, and microseconds from 2025 on; futures have a header from the middle of 2022 on, and milliseconds. Numbers
are written as REST writes them. A `.CHECKSUM` beside each file holds `<sha256>  <name>`.
Sources: https://github.com/binance/binance-public-data (README, issues 40, 140, 203, 403, 475), a recorded month.

What a file does wrong is on order, `POST /_archive`: {"key": a glob of keys, "kind": …}; DELETE forgets it all.

    missing       neither listed nor there           no_checksum   the file alone
    torn          the first half of it               stale         a checksum of other bytes
    lacks         no rows of `minutes` from `since` (ms) on
    doubled       `rows` rows from `start` on twice  contradicts   the same, the second time with another close
    revised       the close of row `start` × `value`, changed just now
    garbled       field `column` (4: close) of the first row is a word
    header        a header line, or none where one belongs
    unit          the other unit of time             mixed_units   it changes in the middle of the file
    second_member another file beside it in the zip  foreign       the rows of another symbol, by its member's name
    bomb          a file of blanks that is a thousand times as long
    endless       the listing of that prefix: every page is the first one, and says that there is another
"""

import bisect
import datetime as dt
import fnmatch
import hashlib
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from alphaforge_assets.errors import BadInput
from alphaforge_assets.sandbox import kline_files, liquidations, trade_files
from alphaforge_assets.sandbox.bars import DAY_MS, Bars, Interval, Ints, Series, concatenate
from alphaforge_assets.sandbox.exchange import Exchange, milliseconds
from alphaforge_assets.sandbox.funding import hours_between
from alphaforge_assets.sandbox.listings import Listing

BUCKET = "data.binance.vision"
AGGREGATES = "aggTrades"
MARKETS = {"data/spot/": "binance_spot", "data/futures/um/": "binance_perp"}
INTERVALS = {"1m": 60_000, "3m": 180_000, "5m": 300_000, "15m": 900_000, "30m": 1_800_000, "1h": 3_600_000,
             "2h": 7_200_000, "4h": 14_400_000, "6h": 21_600_000, "8h": 28_800_000, "12h": 43_200_000,
             "1d": DAY_MS}  # fmt: skip
# What kinds of bars there are, by market: folder -> the price they are of.
KINDS_OF_BARS = {
    "data/spot/": {"klines": "trade"},
    "data/futures/um/": {
        "klines": "trade",
        "markPriceKlines": "mark",
        "indexPriceKlines": "index",
        "premiumIndexKlines": "premium",
    },
}
FUNDING = "fundingRate"  # settlements, by month only
LIQUIDATIONS = "liquidationSnapshot"  # by day only
FUNDING_HEADER = "calc_time,funding_interval_hours,last_funding_rate\n"
FILES_BYTES_KEPT = 512 * 1024 * 1024
KINDS = ("missing", "no_checksum", "torn", "stale", "lacks", "doubled", "contradicts", "revised", "garbled", "header",
         "unit", "mixed_units", "second_member", "foreign", "bomb", "endless")  # fmt: skip
_NAME = re.compile(r"(?P<symbol>[^/]+)-(?P<interval>\w+)-(?P<day>\d{4}-\d{2}(?:-\d{2})?)\.zip(?P<sum>\.CHECKSUM)?")


@dataclass(frozen=True)
class Wrong:
    """What is wrong with the files that `key` matches; see the module's docstring."""

    key: str
    kind: str
    start: int = 0
    rows: int = 1
    since: int = 0
    minutes: int = 1440
    value: float = 1.01
    column: int = 4
    changed_ms: int = 0


@dataclass(frozen=True)
class Object:
    """A file as the bucket has it."""

    key: str
    body: bytes
    modified_ms: int

    @property
    def etag(self) -> str:
        return hashlib.md5(self.body, usedforsecurity=False).hexdigest()


@dataclass
class Vision:
    """The files, made when somebody looks at them, and kept."""

    exchange: Exchange
    wrong: list[Wrong] = field(default_factory=list)
    _kept: "OrderedDict[str, Object]" = field(default_factory=OrderedDict)
    _listed: dict[str, tuple[int, list[str]]] = field(default_factory=dict)  # folder -> (hour, its files)

    def order(self, order: dict[str, Any]) -> None:
        """Have something wrong from now on. Raises BadInput."""
        unknown = sorted(set(order) - set(Wrong.__dataclass_fields__) | {"changed_ms"} & set(order))
        if unknown or not isinstance(order.get("key"), str) or order.get("kind") not in KINDS:
            raise BadInput(f"{order!r}: needs a key and a kind out of {', '.join(KINDS)}")
        if any(not isinstance(order.get(name, 0), int) for name in ("start", "rows", "since", "minutes", "column")):
            raise BadInput(f"{order!r}: start, rows, since, minutes and column are whole numbers")
        self.wrong.append(Wrong(**order, changed_ms=self.exchange.clock.now_ms()))
        self.renew()

    def forget(self) -> None:
        """Nothing is wrong any more; files are made anew from what REST says now."""
        self.wrong.clear()
        self.renew()

    def renew(self) -> None:
        """Files are made anew when somebody looks at them next."""
        self._kept.clear()
        self._listed.clear()

    def is_made(self, key: str) -> bool:
        """Whether looking at it costs nothing."""
        return key.removesuffix(".CHECKSUM") in self._kept

    def children(self, folder: str) -> list[str]:
        """What is in a folder, folders with a slash at their end; sorted as S3 does, by the bytes of the whole key."""
        market = next((m for m in MARKETS if folder.startswith(m)), None)
        if market is None:
            below = {m[len(folder) :].split("/")[0] + "/" for m in MARKETS if m.startswith(folder)}
            return sorted(below)
        parts, kinds = folder[len(market) :].split("/")[:-1], KINDS_OF_BARS[market]
        listed = {one.symbol: one for one in self.exchange.ever_of(MARKETS[market])}
        match parts:
            case []:
                return ["daily/", "monthly/"]
            case ["daily" | "monthly"]:
                also = [FUNDING if parts == ["monthly"] else LIQUIDATIONS] if MARKETS[market] == "binance_perp" else []
                return sorted(f"{kind}/" for kind in (*kinds, AGGREGATES, *also))
            case ["daily" | "monthly", "aggTrades"]:
                return sorted(f"{symbol}/" for symbol, one in listed.items() if self._exists(one))
            case ["daily" | "monthly", "aggTrades", symbol] if symbol in listed:
                is_monthly = parts[0] == "monthly"
                return self._kept_names(
                    folder, lambda: self._names_of_trades(folder, listed[symbol], monthly=is_monthly)
                )
            case ["monthly", "fundingRate"] | ["daily", "liquidationSnapshot"] if MARKETS[market] == "binance_perp":
                return sorted(f"{symbol}/" for symbol, one in listed.items() if self._exists(one))
            case ["daily", "liquidationSnapshot", symbol] | ["monthly", "fundingRate", symbol] if (
                MARKETS[market] == "binance_perp" and symbol in listed
            ):
                return self._kept_names(folder, lambda: self._of_moments(folder, listed[symbol], parts[1]))
            case ["daily" | "monthly", kind] if kind in kinds:
                return sorted(f"{symbol}/" for symbol, one in listed.items() if self._exists(one))
            case ["daily" | "monthly", kind, symbol] if kind in kinds and symbol in listed:
                return sorted(f"{interval}/" for interval in INTERVALS)
            case ["daily" | "monthly", kind, symbol, interval] if (
                kind in kinds and symbol in listed and interval in INTERVALS
            ):
                series = self.exchange.series(listed[symbol], Interval(INTERVALS[interval]), kinds[kind])
                stem, monthly = f"{symbol}-{interval}", parts[0] == "monthly"
                return self._kept_names(folder, lambda: self._names(folder, series, stem, monthly=monthly))
        return []

    def _kept_names(self, folder: str, names: Callable[[], Iterator[str]]) -> list[str]:
        """The files of a folder, reckoned once an hour."""
        hour = self.exchange.clock.now_ms() // 3_600_000
        if self._listed.get(folder, (0, []))[0] != hour:
            self._listed[folder] = hour, sorted(names())
        return self._listed[folder][1]

    def _of_moments(self, folder: str, listing: Listing, kind: str) -> Iterator[str]:
        """The files of what has no grid: of the months of settlements, or the days of liquidations."""
        now, is_monthly = self.exchange.clock.now_ms(), kind == FUNDING
        times = self.exchange.funding.of(listing, now).times if is_monthly else liquidations.days(listing, now)
        return self._spans(folder, f"{listing.symbol}-{kind}", times, monthly=is_monthly)

    def get(self, key: str) -> Object | None:
        """A file; None if there is none."""
        folder, _, name = key.rpartition("/")
        found = _NAME.fullmatch(name)
        names = self.children(folder + "/")
        at = bisect.bisect_left(names, name)
        if not found or names[at : at + 1] != [name]:
            return None
        if found["sum"]:
            return self._checksum(key)
        if key not in self._kept:
            self._kept[key] = self._made(key, found["day"])
            while sum(len(o.body) for o in self._kept.values()) > FILES_BYTES_KEPT and len(self._kept) > 1:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]

    def _checksum(self, key: str) -> Object:
        of = self.get(key.removesuffix(".CHECKSUM"))
        assert of is not None  # noqa: S101 - both are listed, or neither
        digest = hashlib.sha256(of.body + b"!" * self.is_wrong(of.key, "stale")).hexdigest()
        return Object(key, f"{digest}  {of.key.rpartition('/')[2]}\n".encode(), of.modified_ms)

    def is_wrong(self, key: str, kind: str) -> bool:
        """Whether that is on order for a key."""
        return any(w.kind == kind and fnmatch.fnmatchcase(key, w.key) for w in self.wrong)

    def _exists(self, listing: Listing) -> bool:
        return listing.delisted_ms is None or listing.delisted_ms > listing.listed_ms

    def _names_of_trades(self, folder: str, listing: Listing, *, monthly: bool) -> Iterator[str]:
        """Files of spans that are over and have trades, as far as they are published."""
        stem = f"{listing.symbol}-{AGGREGATES}"
        if not self.exchange.recordings:
            yield from self._names(folder, self.exchange.series(listing, Interval(60_000)), stem, monthly=monthly)
            return
        tape = self.exchange.tapes.of(listing)  # there may be trades without bars, and bars without trades
        first = tape.from_time(0, self.exchange.clock.now_ms(), 1)
        at = int(first.time[0]) if len(first) else None
        yield from self._named(folder, stem, at, lambda a, b: len(tape.from_time(a, b, 1)) > 0, monthly=monthly)

    def _names(self, folder: str, series: Series | None, stem: str, *, monthly: bool) -> Iterator[str]:
        """Files of spans that are over and have bars, as far as they are published."""
        if series is None or series.first_at_or_after(0) >= series.first_at_or_after(self.exchange.clock.now_ms()):
            return
        at = int(series.bars(series.first_at_or_after(0), series.first_at_or_after(0) + 1).open_time[0])
        yield from self._named(
            folder, stem, at, lambda a, b: series.first_at_or_after(a) < series.first_at_or_after(b), monthly=monthly
        )

    def _named(
        self, folder: str, stem: str, at: int | None, has: Callable[[int, int], bool], *, monthly: bool
    ) -> Iterator[str]:
        """The files from the one of a moment on, of spans that have something."""
        now = self.exchange.clock.now_ms()
        while at is not None and (span := _span(_text(at, monthly=monthly)))[2] <= now:
            if has(span[0], span[1]):
                name = f"{stem}-{_text(at, monthly=monthly)}.zip"
                if not self.is_wrong(folder + name, "missing"):
                    yield name
                    if not self.is_wrong(folder + name, "no_checksum"):
                        yield f"{name}.CHECKSUM"
            at = span[1]

    def _spans(self, folder: str, stem: str, times: Ints, *, monthly: bool) -> Iterator[str]:
        """Files of the months or days of some moments, as far as they are published."""
        for text in sorted({_text(int(time), monthly=monthly) for time in times}):
            name = f"{stem}-{text}.zip"
            if _span(text)[2] <= self.exchange.clock.now_ms() and not self.is_wrong(folder + name, "missing"):
                yield name
                if not self.is_wrong(folder + name, "no_checksum"):
                    yield f"{name}.CHECKSUM"

    def _settlements(self, key: str, text: str) -> Object:
        """A month of settlements, with the hours since the one before."""
        listing = self.exchange.listings["binance_perp", key.split("/")[-2]]
        start, end, published = _span(text)
        settled = self.exchange.funding.of(listing, self.exchange.clock.now_ms())
        kinds = {w.kind for w in self.wrong if fnmatch.fnmatchcase(key, w.key)}
        rows = [
            f"{row.time_ms},{hours_between(listing, row.time_ms)},{row.rate:.8f}\n"
            for row in settled.rows(*settled.within(start, end - 1))
        ]
        rows += rows[:1] * ("doubled" in kinds)
        body = ("" if "header" in kinds else FUNDING_HEADER) + "".join(rows)
        member = key.rpartition("/")[2].removesuffix(".zip") + ".csv"
        return Object(key, kline_files.zipped(member, [body.encode()], kinds), published)

    def _liquidations(self, key: str, text: str) -> Object:
        """A day of liquidations, some told twice."""
        listing = self.exchange.listings["binance_perp", key.split("/")[-2]]
        start, _, published = _span(text)
        kinds = {w.kind for w in self.wrong if fnmatch.fnmatchcase(key, w.key)}
        rows = liquidations.rows(self.exchange.market, listing, start)
        rows += rows * ("doubled" in kinds)
        body = ("" if "header" in kinds else liquidations.HEADER) + "".join(rows)
        member = key.rpartition("/")[2].removesuffix(".zip") + ".csv"
        return Object(key, kline_files.zipped(member, [body.encode()], kinds), published)

    def _made(self, key: str, text: str) -> Object:
        market = next(m for m in MARKETS if key.startswith(m))
        if f"/{AGGREGATES}/" in key:
            return self._made_of_trades(key, self.exchange.listings[MARKETS[market], key.split("/")[-2]], text)
        if f"/{FUNDING}/" in key:
            return self._settlements(key, text)
        if f"/{LIQUIDATIONS}/" in key:
            return self._liquidations(key, text)
        kind, symbol, interval = key.split("/")[-4:-1]
        listing = self.exchange.listings[MARKETS[market], symbol]
        start, end, published = _span(text)
        price = KINDS_OF_BARS[market][kind]
        series = self.exchange.series(listing, Interval(INTERVALS[interval]), price)
        assert series is not None  # noqa: S101 - it is listed
        bars = series.bars(series.first_at_or_after(start), series.first_at_or_after(end))
        its = [w for w in self.wrong if fnmatch.fnmatchcase(key, w.key)]
        for wrong in its:
            bars = _spoilt(bars, wrong)
        rows = kline_files.written(listing, bars, {w.kind for w in its}, price)
        for column in (w.column for w in its if w.kind == "garbled"):
            rows = kline_files.garbled(rows, column)
        member = key.rpartition("/")[2].removesuffix(".zip") + ".csv"
        body = kline_files.zipped(member, [rows], {w.kind for w in its})
        modified = max([published, *(w.changed_ms for w in its if w.kind == "revised")])
        return Object(key, body, modified)

    def _made_of_trades(self, key: str, listing: Listing, text: str) -> Object:
        start, end, published = _span(text)
        its, is_spot = [w for w in self.wrong if fnmatch.fnmatchcase(key, w.key)], listing.venue == "binance_spot"
        rows: Iterator[bytes] = trade_files.written(
            self.exchange.tapes.of(listing),
            start,
            end,
            is_spot=is_spot,
            is_micro=is_spot and start >= kline_files.MICROSECONDS_FROM_MS,
            has_header=not is_spot and start >= kline_files.HEADERS_FROM_MS,
            wrong=its,
        )
        if any(w.kind == "bomb" for w in its):
            rows = islice(rows, 1)
        body = kline_files.zipped(key.rpartition("/")[2].removesuffix(".zip") + ".csv", rows, {w.kind for w in its})
        return Object(key, body, max([published, *(w.changed_ms for w in its if w.kind == "revised")]))


def _text(time_ms: int, *, monthly: bool) -> str:
    return f"{dt.datetime.fromtimestamp(time_ms / 1000, dt.UTC):{'%Y-%m' if monthly else '%Y-%m-%d'}}"


def _span(text: str) -> tuple[int, int, int]:
    """Start, end and moment of publication of the file of a month or a day, milliseconds."""
    if len(text) == 10:
        start = milliseconds(dt.datetime.fromisoformat(text))
        return start, start + DAY_MS, start + DAY_MS + 4 * 3_600_000
    year, month = int(text[:4]), int(text[5:])
    after = dt.datetime(year + month // 12, month % 12 + 1, 1, tzinfo=dt.UTC)
    monday = after + dt.timedelta(days=-after.weekday() % 7, hours=8)
    return milliseconds(dt.datetime(year, month, 1, tzinfo=dt.UTC)), milliseconds(after), milliseconds(monday)


def _spoilt(bars: Bars, wrong: Wrong) -> Bars:
    first, last = wrong.start, min(len(bars), wrong.start + wrong.rows)
    if wrong.kind == "lacks":
        until = wrong.since + wrong.minutes * 60_000
        return bars.take(np.flatnonzero((bars.open_time < wrong.since) | (bars.open_time >= until)))
    if wrong.kind in ("doubled", "contradicts"):
        again = bars.slice(first, last)
        if wrong.kind == "contradicts":
            again = again.having({"close": again.close + 1, "high": np.maximum(again.high, again.close + 1)})
        return concatenate([bars.slice(0, last), again, bars.slice(last, len(bars))])
    if wrong.kind == "revised":
        close = bars.close.copy()
        close[first:last] = (close[first:last] * wrong.value).astype(np.int64)
        return bars.having({"close": close, "high": np.maximum(bars.high, close), "low": np.minimum(bars.low, close)})
    return bars
