"""`alphaforge export`: bars as the files that another tool reads."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from alphaforge_assets.cli import reading
from alphaforge_assets.errors import BadInput

FORMATS = ("parquet", "csv", "feather", "freqtrade", "nautilus", "lean")


@click.command("export")
@click.option("--format", "name", type=click.Choice(FORMATS), required=True, help="Whose files.")
@click.option("--instruments", "patterns", multiple=True, required=True, metavar="KEY|GLOB",
              help="Such as 'binance_spot.*'; repeat or separate by commas.")  # fmt: skip
@click.option("--interval", required=True, help="Bar length, such as 1m.")
@click.option("--from", "start", required=True, metavar="TIME", help="First open time, UTC, as 2025-05-01.")
@click.option("--to", "end", required=True, metavar="TIME", help="The first one not wanted, as 2025-05-08.")
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="The folder to write to.")
@reading.versions
def export(
    name: str,
    patterns: Sequence[str],
    interval: str,
    start: str,
    end: str,
    out: Path,
    as_of: str | None,
    snapshot: str | None,
    require_complete: bool,
) -> None:
    """Write bars as the files of another tool: everything asked for, or nothing.

    \b
    parquet, csv, feather  binance_spot.BTC-USDT-1m.parquet, all columns
    freqtrade              binance/BTC_USDT-1m.feather; funding rates too     --out user_data/data
    nautilus               a ParquetDataCatalog, bars stamped at their close  --out CATALOG
    lean                   crypto/binance/minute/btcusdt/20250501_trade.zip   --out Data

    Gaps stay gaps: no row is made up. freqtrade and LEAN fill them by themselves when they load; a tool that needs
    an unbroken series should be given --require-complete, which refuses data with gaps. alphaforge-export.json in DIR
    says what was asked and has the hash of every file. Files that are not from an export are never overwritten.

    \b
      alphaforge export --format freqtrade --instruments 'binance_spot.*' --interval 1h \\
        --from 2025-05-01 --to 2025-06-01 --out user_data/data
    """
    universe = reading.known_universe()
    words = [word.strip() for text in patterns for word in text.split(",") if word.strip()]
    if not words:
        raise BadInput(f"--instruments {','.join(patterns)!r}: names nothing")
    instruments = universe.select(words)
    reading.kept_interval("--interval", interval, universe)
    first, last = reading.span(start, end)
    options = reading.given(as_of, snapshot, require_complete)

    from alphaforge_assets.exports import export as exports

    order = exports.Order(exports.LAYOUTS[name], instruments, interval, first, last, options)
    exports.check(order, out)
    with reading.reader() as research:
        done = _followed(research, order, out)
    _say(order, done, out)


def _followed(research: Any, order: Any, out: Path) -> Any:
    """The export, with a bar on the terminal if somebody looks."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from alphaforge_assets.cli.screen import screen
    from alphaforge_assets.exports.export import export as write

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as bar:
        task = bar.add_task("reading", total=len(order.instruments), completed=-1)
        return write(research, order, out, lambda key: bar.update(task, advance=1, description=key))


def _say(order: Any, done: Any, out: Path) -> None:
    from alphaforge_assets.cli.screen import complain, count, screen

    megabytes = done.bytes / 1e6
    screen.print(
        f"{count(done.rows)} rows in {count(done.files)} files ({megabytes:,.1f} MB) below {out}", markup=False,
        soft_wrap=True,
    )  # fmt: skip
    screen.print(order.layout.note, style="dim", markup=False, soft_wrap=True)
    if done.empty:
        complain(f"no {order.interval} bars of {', '.join(done.empty)} in this range: no files for them")
