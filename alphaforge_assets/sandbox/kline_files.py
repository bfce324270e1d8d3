"""What files of bars hold, byte for byte as Binance writes them, and how any is zipped; spoilt where that is wanted.

Since 2025 files of spot count microseconds, and since 2022 those of futures have a header.
"""

import datetime as dt
import io
import zipfile
from collections.abc import Iterable

from alphaforge_assets.sandbox.bars import Bars
from alphaforge_assets.sandbox.exchange import milliseconds
from alphaforge_assets.sandbox.listings import Listing
from alphaforge_assets.sandbox.text import Column, render

HEADER = b"open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore\n"  # noqa: E501
HEADERS_FROM_MS = milliseconds(dt.datetime(2022, 6, 1))  # noqa: DTZ001 - a naive instant is UTC here
MICROSECONDS_FROM_MS = milliseconds(dt.datetime(2025, 1, 1))  # noqa: DTZ001


def garbled(rows: bytes, column: int) -> bytes:
    """With a word in the first row, a header line aside."""
    header = HEADER if rows.startswith(HEADER) else b""
    first, rest = rows.removeprefix(header).split(b"\n", 1)
    fields = first.split(b",")
    return header + b",".join([*fields[:column], b"halted", *fields[column + 1 :]]) + b"\n" + rest


def written(listing: Listing, bars: Bars, kinds: set[str], price: str) -> bytes:
    """The text of a file."""
    is_spot = listing.venue == "binance_spot"
    begins = int(bars.open_time[0]) if len(bars) else 0
    is_micro = (is_spot and begins >= MICROSECONDS_FROM_MS) != ("unit" in kinds)
    has_header = (not is_spot and begins >= HEADERS_FROM_MS) != ("header" in kinds)
    half = len(bars) // 2 if "mixed_units" in kinds else len(bars)
    write = _rows if price == "trade" else _price_rows
    rows = write(listing, bars.slice(0, half), is_micro=is_micro)
    rows += write(listing, bars.slice(half, len(bars)), is_micro=not is_micro) if half < len(bars) else b""
    return HEADER * has_header + rows


def _rows(listing: Listing, bars: Bars, *, is_micro: bool) -> bytes:
    """Twelve fields a row; spot pads numbers to 8 decimals, futures to those of the symbol."""
    if not len(bars):
        return b""
    price, volume, quote = 8, 8, 8
    if listing.venue == "binance_perp":
        price, volume, quote = (
            listing.price_decimals,
            listing.volume_decimals,
            listing.price_decimals + listing.volume_decimals,
        )
    opens, closes = bars.open_time, bars.close_time
    if is_micro:
        opens, closes = opens * 1000, closes * 1000 + 999
    scales = bars.scales
    columns = [
        Column(opens),
        *(Column(column, scales.price, price) for column in (bars.open, bars.high, bars.low, bars.close)),
        Column(bars.volume, scales.volume, volume),
        Column(closes),
        Column(bars.quote_volume, scales.quote, quote),
        Column(bars.count),
        Column(bars.taker_volume, scales.volume, volume),
        Column(bars.taker_quote_volume, scales.quote, quote),
    ]
    return bytes(render(columns, [b"", *[b","] * 10, b",0\n"]).data)


def _price_rows(listing: Listing, bars: Bars, *, is_micro: bool) -> bytes:
    """Twelve fields a row; of what is nobody's amount a zero."""
    if not len(bars):
        return b""
    opens, closes = bars.open_time, bars.close_time
    if is_micro:
        opens, closes = opens * 1000, closes * 1000 + 999
    four = (Column(column, bars.scales.price, 8) for column in (bars.open, bars.high, bars.low, bars.close))
    columns = [Column(opens), *four, Column(closes), Column(bars.count)]
    return bytes(render(columns, [b"", *[b","] * 4, b",0,", b",0,", b",0,0,0\n"]).data)


def zipped(member: str, pieces: Iterable[bytes], kinds: set[str]) -> bytes:
    """A zip of one member, spoilt as `kinds` say."""
    if "foreign" in kinds:
        member = "XRPUSDT-" + member.partition("-")[2]
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        with file.open(member, "w") as text:
            for rows in pieces:
                text.write(rows if "bomb" not in kinds else b" " * 1000 * len(rows))
        if "second_member" in kinds:
            file.writestr(zipfile.ZipInfo("README.txt"), b"see our website")
    whole = body.getvalue()
    return whole[: len(whole) // 2] if "torn" in kinds else whole
