"""A zip file of a month's funding settlements into the columns that REST's records become.

What a file may be is checked as of bars: one member of the name it should have, no bomb, times within its month, no two
rates of one settlement. Its three fields are named by a header line, if there is one. It has no mark price, and the
hours between settlements, which REST does not say, go to `metadata`.
"""

import csv
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from alphaforge_assets.errors import VenueUnavailable
from alphaforge_assets.venues import funding
from alphaforge_assets.venues.bars import Window
from alphaforge_assets.venues.klines_file import Read, member_of

FIELDS = ("calc_time", "funding_interval_hours", "last_funding_rate")
COLUMNS: Mapping[str, str] = {"symbol": "symbol", "timestamp": "calc_time", "rate": "last_funding_rate"}


def read_file(path: Path, stem: str, symbol: str, span: Window, settled_before_ms: int) -> Read:
    """The settlements of a zip file, of FUNDING_SCHEMA. Raises VenueUnavailable naming what keeps it from being one."""
    try:
        with zipfile.ZipFile(path) as archive:
            text = archive.read(member_of(archive, stem, path.stat().st_size)).decode()
    except (zipfile.BadZipFile, EOFError, OSError, RuntimeError, NotImplementedError, UnicodeDecodeError) as error:
        raise VenueUnavailable(f"{stem}.zip is no whole zip file ({type(error).__name__}: {error})") from error
    lines = list(csv.reader(io.StringIO(text), quoting=csv.QUOTE_NONE))
    has_header = bool(lines) and lines[0][:1] == [FIELDS[0]]
    if has_header and tuple(lines[0]) != FIELDS:
        raise VenueUnavailable(
            f"{stem}.zip has the fields {', '.join(lines[0])[:200]}: {', '.join(FIELDS)} were expected"
        )
    rows = lines[has_header:]
    if odd := next((row for row in rows if len(row) != len(FIELDS)), None):
        raise VenueUnavailable(
            f"{stem}.zip has a row of {len(odd)} fields, {','.join(odd)[:100]}: it has {len(FIELDS)}"
        )
    records = [{"symbol": symbol, **dict(zip(FIELDS, row, strict=True))} for row in rows]
    table = funding.parse_settlements(COLUMNS, records, symbol, settled_before_ms)
    return Read(_checked(table, stem, span), has_header, "ms", len(rows) - table.num_rows)


def _checked(table: pa.Table, stem: str, span: Window) -> pa.Table:
    its = funding.raw_window(span.start_ms, span.end_ms)
    if table.num_rows:
        times = table["timestamp_raw"].cast(pa.int64())
        first, last = pc.min(times).as_py(), pc.max(times).as_py()
        if not its.start_ms <= first <= last < its.end_ms:
            raise VenueUnavailable(
                f"{stem}.zip has settlements of {first} to {last} ms: not of the month it is named after"
            )
    keyed = funding.keyed(table)
    told = keyed.num_rows - pc.count_distinct(keyed["timestamp"]).as_py()
    if told:
        raise VenueUnavailable(f"{stem}.zip says two things of {told} settlements: it contradicts itself")
    return keyed
