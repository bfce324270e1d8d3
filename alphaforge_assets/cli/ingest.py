"""`alphaforge ingest`: bars and trades out of files of your own, as a mapping says what stands where in them."""

import datetime as dt
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alphaforge_assets.cli.opened import environment, warehouse_and_dagster
from alphaforge_assets.cli.screen import complain, count, duration, minute, say, screen, table
from alphaforge_assets.errors import BadInput, Permanent

if TYPE_CHECKING:
    from alphaforge_assets.ingest.bring import Brought, Prepared
    from alphaforge_assets.ingest.mapping import Mapping
    from alphaforge_assets.settings import Settings
    from alphaforge_assets.universe import Universe

# What of a row fits into eighty characters; the rest is named below.
SHOWN = ("open", "high", "low", "close", "volume"), ("trade_id", "side", "price", "quantity")
HIDDEN = ("timestamp", "metadata", "is_closed", "trade_kind", "trade_uuid", "first_id", "last_id")


@click.command()
@click.option("--mapping", "mapping_file", required=True, type=click.Path(path_type=Path), metavar="FILE", help="YAML.")
@click.argument("data", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="DATA…")
@click.option("--dry-run", is_flag=True, help="Show the first rows as they would land, and every problem, and stop.")
def ingest(mapping_file: Path, data: tuple[Path, ...], dry_run: bool) -> None:
    """Bring bars or trades out of your own files: CSV, JSON lines or Parquet, plain, in .gz or in .zip.

    \b
    Nothing is landed unless all of it can be read. What a venue itself says, before or after, outranks a file.
    The same file again adds nothing. docs/mappings has examples of mappings, docs/sources.md what they may say.
      alphaforge ingest --mapping docs/mappings/ohlcv.yaml --dry-run bars.csv
      alphaforge ingest --mapping docs/mappings/coinbase_trades.yaml trades-*.jsonl.gz
    """
    from alphaforge_assets.ingest.mapping import load_mapping

    settings, universe = environment(opens_warehouse=not dry_run)
    mapping, began = load_mapping(mapping_file), time.monotonic()
    if len(set(data)) < len(data):
        raise BadInput("a file is named twice; name each once")
    with _room(settings) as folder:
        files = _read(data, mapping, universe, folder)
        for its in files:
            _print_file(its)
        problems = sum(its.problem_count for its in files)
        if problems:
            raise BadInput(f"{count(problems)} problems in {count(len(data))} files; nothing was landed")
        if dry_run:
            for its in files:
                _print_head(its)
            say("[dim]nothing was landed: --dry-run[/dim]")
            return
        brought = _bring(settings, universe, mapping, mapping_file.name, files)
    there = f"; {count(brought.known)} batches were there already" if brought.known else ""
    took = duration(time.monotonic() - began)
    say(f"[bold]{count(brought.rows)} new rows[/bold] in {count(brought.batches)} batches, in {took}{there}")


def _read(data: Sequence[Path], mapping: "Mapping", universe: "Universe", folder: Path) -> "list[Prepared]":
    from alphaforge_assets.ingest.bring import prepare

    sizes = [path.stat().st_size if path.is_file() else 0 for path in data]
    now, done, files = dt.datetime.now(dt.UTC), 0, []
    with _bar("reading", sum(sizes)) as move:

        def on_bytes(read: int) -> None:
            move(done + read)

        for n, (path, size) in enumerate(zip(data, sizes, strict=True)):
            files.append(prepare(path, mapping, universe, now, folder / str(n), on_bytes))
            done += size
    return files


def _bring(
    settings: "Settings", universe: "Universe", mapping: "Mapping", name: str, files: "Sequence[Prepared]"
) -> "Brought":
    from alphaforge_assets.ingest.bring import land, publish_days
    from alphaforge_assets.ingest.mapping import dataset_of
    from alphaforge_assets.pipeline.mart import publishing
    from alphaforge_assets.resources import exchanges_of
    from alphaforge_assets.upkeep.runs import record_command

    dataset, started_at, landed = dataset_of(mapping), dt.datetime.now(dt.UTC), 0
    with (
        warehouse_and_dagster(settings) as (client, _),
        _bar("landing", sum(told.rows for its in files for told in its.told.values())) as move,
    ):

        def on_rows(rows: int) -> None:
            nonlocal landed
            landed += rows
            move(landed)

        exchanges, run_id = exchanges_of(settings), str(uuid.uuid4())
        brought = land(client, exchanges, mapping, name, files, run_id=run_id, progress=on_rows)
        publish_days(client, brought, dataset, universe, publishing(settings.dagster_home))
        record_command(client, settings, "ingest", started_at)
    return brought


@contextmanager
def _room(settings: "Settings") -> Iterator[Path]:
    """A folder of the home for rows that are read and not landed yet; gone afterwards."""
    try:
        settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder = Path(tempfile.mkdtemp(prefix="ingest-", dir=settings.home))
    except OSError as error:
        raise Permanent(f"ALPHAFORGE_HOME {settings.home}: {error.strerror or error}; make it writable") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _bar(what: str, total: int) -> "Iterator[Callable[[int], None]]":
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        console=screen(),
        transient=True,
        disable=not screen().is_terminal,
    )
    task = bar.add_task(what, total=max(total, 1))
    with bar:
        yield lambda done: bar.update(task, completed=done)


def _print_file(its: "Prepared") -> None:
    for problem in its.problems:
        complain(problem)
    if its.problem_count:
        return
    for (instrument, interval), told in its.told.items():
        what = f"bars of {interval}" if interval else "trades"
        say(
            f"{its.path}: {count(told.rows)} {what} of {instrument.key}, {minute(told.start)} to {minute(told.end)}",
            markup=False,
            soft_wrap=True,
        )
    if its.repeated:
        say(f"{its.path}: {count(its.repeated)} rows are there twice, and are one", markup=False, soft_wrap=True)


def _print_head(its: "Prepared") -> None:
    for (instrument, interval), rows in its.head:
        names = [name for name in SHOWN[0 if interval else 1] if name in rows.column_names]
        shown = table("Time (UTC)", figures=tuple(names))
        for row in rows.to_pylist():
            shown.add_row(f"{row['timestamp']:%Y-%m-%d %H:%M:%S}", *(_figure(row[name]) for name in names))
        say(f"{instrument.key} {interval}".strip(), style="bold", markup=False)
        say(shown)
        others = {n for n in rows.column_names if n not in (*names, *HIDDEN) and rows[n].null_count < rows.num_rows}
        if others:
            say(f"[dim]and {', '.join(sorted(others))}[/dim]")
        if open_ones := sum(not row.get("is_closed", True) for row in rows.to_pylist()):
            say(f"[yellow]{open_ones} of these end after the file was written, and are not published[/yellow]")


def _figure(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,.8f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
