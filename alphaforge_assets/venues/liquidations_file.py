"""A zip file of a day's liquidations into Arrow columns: Binance's `liquidationSnapshot`, which ended in March 2024.

What a file may be is checked as of bars. A row is the order by which the venue closed a position: the side is the
order's, so a sale closed a long one, and `price` is the order's limit beside the average it was filled at. Whole files
were doubled (github.com/binance/binance-public-data, issue 259): rows that are the same in all are one, and counted.
Fields and their words are from memory of such files; what else a row says goes to `metadata`.
"""

import csv
import hashlib
import io
import json
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from alphaforge_assets.errors import VenueUnavailable
from alphaforge_assets.venues.bars import Window
from alphaforge_assets.venues.columns import TIME, TIME_MS_MAX, TIME_MS_MIN, number, read_integers
from alphaforge_assets.venues.klines_file import Read, member_of

FIELDS = (
    *("time", "side", "order_type", "time_in_force", "original_quantity", "price", "average_price", "order_status"),
    *("last_fill_quantity", "accumulated_fill_quantity"),
)
SIDES = {"SELL": ("sell", "long"), "BUY": ("buy", "short")}  # order -> its side, and that of the position it closed
USUAL = {"order_type": "LIMIT", "time_in_force": "IOC", "order_status": "FILLED"}
ORDER_PRICE = "order"

# One liquidation. Prices in quote, quantities in base.
LIQUIDATION_SCHEMA = pa.schema(
    [
        pa.field("timestamp", TIME, nullable=False),
        pa.field("price_kind", pa.string(), nullable=False),  # what `price` is: order, the limit of the venue's order
        pa.field("liquidation_id", pa.uint64(), nullable=False),  # hash of the row as it came
        pa.field("order_side", pa.string(), nullable=False),  # buy, sell, or "" where neither was said
        pa.field("position_side", pa.string(), nullable=False),  # long, short, or ""
        pa.field("price", pa.float64()),
        pa.field("average_price", pa.float64()),  # at which the order was filled
        pa.field("quantity", pa.float64()),
        pa.field("filled_quantity", pa.float64()),
        pa.field("is_sampled", pa.bool_(), nullable=False),  # whether the venue told a part only
        pa.field("metadata", pa.string(), nullable=False),
    ]
)


def read_file(path: Path, stem: str, span: Window) -> Read:
    """The liquidations of a file, of LIQUIDATION_SCHEMA in time order. Raises VenueUnavailable naming what is wrong."""
    try:
        with zipfile.ZipFile(path) as archive:
            text = archive.read(member_of(archive, stem, path.stat().st_size)).decode()
    except (zipfile.BadZipFile, EOFError, OSError, RuntimeError, NotImplementedError, UnicodeDecodeError) as error:
        raise VenueUnavailable(f"{stem}.zip is no whole zip file ({type(error).__name__}: {error})") from error
    lines = [line for line in text.splitlines() if line]
    has_header = bool(lines) and lines[0].split(",")[0] == FIELDS[0]
    if has_header and tuple(lines[0].split(",")) != FIELDS:
        raise VenueUnavailable(f"{stem}.zip has the fields {lines[0][:200]}: it should have {', '.join(FIELDS)}")
    told = lines[has_header:]
    once = list(dict.fromkeys(told))
    table = _table(once, stem)
    if table.num_rows:
        times = table["timestamp"].cast(pa.int64())
        first, last = pc.min(times).as_py(), pc.max(times).as_py()
        if not span.start_ms <= first <= last < span.end_ms:
            raise VenueUnavailable(f"{stem}.zip has rows of {first} to {last} ms: not of the day it is named after")
    return Read(table.sort_by("timestamp"), has_header, "ms", len(told) - len(once))


def _table(lines: list[str], stem: str) -> pa.Table:
    rows = list(csv.reader(io.StringIO("\n".join(lines)), quoting=csv.QUOTE_NONE))
    if odd := next((row for row in rows if len(row) != len(FIELDS)), None):
        raise VenueUnavailable(f"{stem}.zip has a row of {len(odd)} fields, {','.join(odd)[:80]}: not {len(FIELDS)}")
    if not rows:
        return LIQUIDATION_SCHEMA.empty_table()
    column = dict(zip(FIELDS, zip(*rows, strict=True), strict=True))
    spoiled: set[int] = set()
    times = read_integers(column["time"], spoiled, TIME_MS_MIN, TIME_MS_MAX)
    if spoiled:
        raise VenueUnavailable(f"{stem}.zip has {len(spoiled)} rows without a time in milliseconds")
    numbers = {
        name: pa.array([number(text) for text in column[field]], pa.float64())
        for name, field in (
            ("price", "price"),
            ("average_price", "average_price"),
            ("quantity", "original_quantity"),
            ("filled_quantity", "accumulated_fill_quantity"),
        )
    }
    sides = [SIDES.get(side, ("", "")) for side in column["side"]]
    return pa.table(
        {
            "timestamp": times.view(TIME),
            "price_kind": pa.repeat(ORDER_PRICE, len(rows)),
            "liquidation_id": pa.array([id_of(line) for line in lines], pa.uint64()),
            "order_side": pa.array([order for order, _ in sides], pa.string()),
            "position_side": pa.array([position for _, position in sides], pa.string()),
            **numbers,
            "is_sampled": pa.repeat(True, len(rows)),
            "metadata": pa.array([metadata_of(row) for row in rows], pa.string()),
        },
        schema=LIQUIDATION_SCHEMA,
    )


def id_of(line: str) -> int:
    """What a liquidation is told apart by, as no venue counts them: 64 bits of what was said of it."""
    return int.from_bytes(hashlib.blake2b(line.encode(), digest_size=8).digest(), "big")


def metadata_of(row: list[str]) -> str:
    """'' or JSON of what is not as usual in a row of FIELDS; of a row with something unreadable all of it."""
    record = dict(zip(FIELDS, row, strict=True))
    if record["side"] not in SIDES or any(number(record[name]) is None for name in FIELDS[4:7]):
        return json.dumps({"row": record}, separators=(",", ":"))
    extra = {name: record[name] for name, usual in USUAL.items() if record[name] != usual}
    if record["last_fill_quantity"] != record["accumulated_fill_quantity"]:
        extra["last_fill_quantity"] = record["last_fill_quantity"]
    return json.dumps(extra, separators=(",", ":")) if extra else ""
