"""Exports: bars or trades of the warehouse as files of another tool, all or none, with a manifest beside them.

What is written lies in a folder of its own until everything is there; then it is moved into place. A file of the same
name that is not ours stays untouched and ends the export. Gaps stay gaps: nothing is filled for a tool's sake.
"""

import datetime as dt
import hashlib
import importlib.metadata
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alphaforge_assets.errors import BadInput, Permanent
from alphaforge_assets.exports import freqtrade, lean, nautilus, tables, trades
from alphaforge_assets.exports.atomic import atomically
from alphaforge_assets.exports.series import File, Layout, Series
from alphaforge_assets.research import Research
from alphaforge_assets.universe import Instrument

LAYOUTS: Mapping[str, Layout] = {
    layout.name: layout
    for layout in (tables.PARQUET, tables.CSV, tables.FEATHER, freqtrade.LAYOUT, nautilus.LAYOUT, lean.LAYOUT)
}
MANIFEST = "alphaforge-export.json"
OF_TRADES = "trades"  # in the place of an interval


@dataclass(frozen=True)
class Order:
    """What is exported, bars of an interval or OF_TRADES. `end` is exclusive; the options are as in `Research.bars`."""

    layout: Layout
    instruments: tuple[Instrument, ...]
    interval: str
    start: dt.datetime
    end: dt.datetime
    options: Mapping[str, Any]  # snapshot, as_of, require_complete: what of them was given

    @property
    def what(self) -> str:
        return OF_TRADES if self.interval == OF_TRADES else f"{self.interval} bars"

    @property
    def note(self) -> str:
        """What the user of the files must know, one sentence."""
        return trades.NOTES[self.layout.name] if self.interval == OF_TRADES else self.layout.note


@dataclass(frozen=True)
class Exported:
    """What was written: files and rows of bars, and the instruments that had none."""

    files: int
    rows: int
    bytes: int
    empty: tuple[str, ...]


def check(order: Order, folder: Path) -> None:
    """Raise BadInput for an interval the layout does not have or a folder that cannot be written, before any work."""
    layout = order.layout
    if order.interval == OF_TRADES:
        if layout.name not in trades.WRITES:
            raise BadInput(f"--format {layout.name}: has no trades; {' and '.join(trades.WRITES)} have")
    elif layout.intervals is not None and order.interval not in layout.intervals:
        raise BadInput(f"--interval {order.interval}: {layout.name} keeps {', '.join(layout.intervals)}")
    _manifest(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise BadInput(f"--out {folder}: {error.strerror}; name a folder that can be written") from error


def export(
    research: Research, order: Order, folder: Path, on_series: Callable[[str], None] = lambda key: None
) -> Exported:
    """Write `order` below `folder`. `on_series` is called with each instrument's key before it is read.

    Raises BadInput for a file in the way, Permanent where writing fails, and whatever reading raises; the folder is
    then as it was.
    """
    check(order, folder)
    staged = Path(tempfile.mkdtemp(prefix=".alphaforge-", dir=folder))
    try:
        made: list[tuple[File, dict[str, Any]]] = []
        receipts: dict[str, Any] = {}
        empty: list[str] = []
        for instrument in order.instruments:
            on_series(instrument.key)
            of = _of_trades if order.interval == OF_TRADES else _of_bars
            files, receipt = of(research, order, instrument, staged)
            if not files:
                empty.append(instrument.key)
                continue
            receipts[instrument.key] = receipt
            made += files
        if not made:
            raise BadInput(
                f"no {order.what} of these instruments in"
                f" [{order.start:%Y-%m-%d %H:%M}, {order.end:%Y-%m-%d %H:%M}): `alphaforge status`"
                " shows what there is, `alphaforge backfill` fetches more"
            )
        _place(order, made, receipts, staged, folder)
    except OSError as error:
        raise Permanent(f"--out {folder}: {error.strerror or error}; the export was not finished") from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    size = sum(entry["bytes"] for _, entry in made)
    return Exported(len(made), sum(file.rows for file, _ in made), size, tuple(empty))


def _of_bars(
    research: Research, order: Order, instrument: Instrument, staged: Path
) -> tuple[list[tuple[File, dict[str, Any]]], Any]:
    series = read(research, order, instrument)
    if series.bars.empty:
        return [], None
    files = [(file, _written(file, staged)) for file in order.layout.files(series)]
    return files, series.bars.attrs.get("receipt")


def _of_trades(
    research: Research, order: Order, instrument: Instrument, staged: Path
) -> tuple[list[tuple[File, dict[str, Any]]], Any]:
    name, key = order.layout.name, instrument.key
    found = research.trades(key, order.start, order.end, columns=trades.COLUMNS[name], **order.options)
    path, rows = trades.WRITES[name](research, instrument, found, staged)
    if not rows:
        return [], None
    file = File(path, rows, lambda to: None, is_alone=name == nautilus.LAYOUT.name)
    return [(file, _entry(file, staged))], trades.said(found)


def read(research: Research, order: Order, instrument: Instrument) -> Series:
    """One series, with what layouts want beside its bars."""
    bars = research.bars(instrument.key, order.interval, order.start, order.end, **order.options)
    funding = None
    if order.layout.name == freqtrade.LAYOUT.name and instrument.is_perpetual:
        pinned = {name: value for name, value in order.options.items() if name in ("snapshot", "as_of")}
        funding = research.funding_rates(instrument.key, order.start, order.end, **pinned)
    listings = research.instruments(instrument.venue)
    row: Any = listings.loc[instrument.key] if instrument.key in listings.index else {}
    known = {str(name): value for name, value in row.items()}
    return Series(instrument, order.interval, bars, funding, known)


def _written(file: File, staged: Path) -> dict[str, Any]:
    path = staged / file.path
    path.parent.mkdir(parents=True, exist_ok=True)
    file.write(path)
    return _entry(file, staged)


def _entry(file: File, staged: Path) -> dict[str, Any]:
    data = (staged / file.path).read_bytes()
    return {"rows": file.rows, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _place(
    order: Order,
    made: Sequence[tuple[File, dict[str, Any]]],
    receipts: Mapping[str, Any],
    staged: Path,
    folder: Path,
) -> None:
    """Move what is staged into place, if nothing foreign is in the way, then say so in the manifest."""
    said = _manifest(folder)
    ours = {name: entry["sha256"] for export in said for name, entry in export["files"].items()}
    for file, entry in made:
        _refuse_foreign(file, entry, ours, folder)
    for file, _ in made:
        (folder / file.path).parent.mkdir(parents=True, exist_ok=True)
        os.replace(staged / file.path, folder / file.path)
    files = {str(file.path): entry for file, entry in made}
    kept = [e | {"files": {n: f for n, f in e["files"].items() if n not in files}} for e in said]
    now = {
        "format": order.layout.name,
        "instruments": [i.key for i in order.instruments],
        "interval": order.interval,
        "start": order.start.isoformat(),
        "end": order.end.isoformat(),
        **{name: str(value) for name, value in order.options.items()},
        "exported_at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "alphaforge": importlib.metadata.version("alphaforge-assets"),
        "receipts": receipts,
        "files": files,
    }
    with atomically(folder / MANIFEST) as path:
        whole = [e for e in kept if e["files"]] + [now]
        path.write_text(json.dumps({"exports": whole}, indent=1, default=tables.plain))


def _refuse_foreign(file: File, entry: Mapping[str, Any], ours: Mapping[str, str], folder: Path) -> None:
    target = folder / file.path
    if target.exists():
        found = hashlib.sha256(target.read_bytes()).hexdigest() if target.is_file() else ""
        if found not in (entry["sha256"], ours.get(str(file.path))):
            raise BadInput(f"{target} is there and was not written by an export: remove it or name another --out")
    if file.is_alone and target.parent.is_dir():
        others = sorted(other.name for other in target.parent.iterdir() if other.name != target.name)
        if others:
            raise BadInput(
                f"{target.parent} holds {others[0]} already, and bars of two files would be read together: remove it or"
                " name another --out"
            )


def _manifest(folder: Path) -> list[dict[str, Any]]:
    """The exports that a folder's manifest tells of. Raises BadInput if it is none of ours."""
    path = folder / MANIFEST
    try:
        exports = json.loads(path.read_text())["exports"]
        {name: entry["sha256"] for export in exports for name, entry in export["files"].items()}
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{path} is not a manifest of an export: remove it or name another --out") from error
    return list(exports)
