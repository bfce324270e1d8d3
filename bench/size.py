"""(d) Bytes a row on disk, merged: each of the four tables, against the feather file that freqtrade writes of it.

That file has six columns of a bar, ours all that the venue sent, where it came from and when. The bars are recorded
ones where they are at hand, for the sandbox makes bars that compress otherwise.
"""

import datetime as dt
import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow.feather as feather

from alphaforge_assets.sandbox import process as sandbox
from bench.ground import LIFTED, ROOT, START, Ground
from bench.measure import Row, Sizes

TABLES = ("landing_bars", "staging_bars", "bars_history", "bars")
STORED = """SELECT sum(bytes_on_disk) / sum(rows) FROM system.parts
WHERE active AND database = 'analytics' AND table = {table:String}"""
PEER = """SELECT timestamp AS date, open, high, low, close, volume FROM analytics.bars FINAL ORDER BY timestamp"""
RECORDED = Path(os.environ.get("ALPHAFORGE_RECORDED") or ROOT.parent / "shared") / "market-data"
RECORDED_FROM = dt.date(2025, 1, 1)


def rows(sizes: Sizes, folder: Path) -> Iterator[Row]:
    recordings = RECORDED if RECORDED.is_dir() and sizes.name != "smoke" else None
    ground = Ground(folder, start=RECORDED_FROM if recordings else START)
    with sandbox.start(recordings, budget_scale=LIFTED) as url, ground.warehouse() as client:
        ground.body(client, url, min(sizes.days, 365))
        stored = {}
        for table in TABLES:
            client.command("OPTIMIZE TABLE analytics.{t:Identifier} FINAL", parameters={"t": table})
            stored[table] = float(client.query(STORED, parameters={"table": table}).first_row[0])
        kept = client.query_arrow(PEER)
    file = folder / "peer.feather"
    feather.write_feather(kept, file, compression="lz4", compression_level=9)
    theirs = [file.stat().st_size / kept.num_rows]
    note = f"{'recorded' if recordings else 'made'} BTC/USDT, {kept.num_rows:,} rows"
    for table, size in stored.items():
        yield Row(f"bytes a row, {table}", "B", [size], "freqtrade's feather, OHLCV", theirs, note)
    together = [sum(stored.values())]
    yield Row("bytes a row, the four tables", "B", together, "freqtrade's feather, OHLCV", theirs, note)
