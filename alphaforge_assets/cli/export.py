"""`alphaforge export`: bars or trades as the files that another tool reads."""

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alphaforge_assets.cli.arguments import check_range, check_series, instruments, moment, span, versions
from alphaforge_assets.cli.opened import environment, readable, reader
from alphaforge_assets.cli.screen import complain, count, of_them, say, screen
from alphaforge_assets.errors import BadInput

if TYPE_CHECKING:
    from alphaforge_assets.exports.export import Exported, Order
    from alphaforge_assets.research import Research

FORMATS = ("parquet", "csv", "feather", "freqtrade", "nautilus", "lean")


@click.command()
@click.option("--format", "name", type=click.Choice(FORMATS), required=True, help="Whose files.")
@instruments("Such as 'binance_spot.*'; repeat or separate by commas.", required=True, metavar="KEY|GLOB")
@click.option("--interval", help="Bar length, such as 1m.")
@click.option("--trades", "is_trades", is_flag=True, help="Trades instead of bars: parquet and nautilus have them.")
@span(moment, "First open time, UTC, as 2025-05-01.", "The first one not wanted, as 2025-05-08.")
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="The folder to write to.")
@versions
def export(
    name: str,
    patterns: Sequence[str],
    interval: str | None,
    is_trades: bool,
    start: dt.datetime,
    end: dt.datetime,
    out: Path,
    options: Mapping[str, Any],
) -> None:
    """Write bars, or trades, as the files of another tool: everything asked for, or nothing.

    \b
    parquet, csv, feather  binance_spot.BTC-USDT-1m.parquet, all columns
    freqtrade              binance/BTC_USDT-1m.feather; funding rates too     --out user_data/data
    nautilus               a ParquetDataCatalog, bars stamped at their close  --out CATALOG
    lean                   crypto/binance/minute/btcusdt/20250501_trade.zip   --out Data
    parquet --trades       binance_spot.BTC-USDT-trades.parquet
    nautilus --trades      trade ticks of a ParquetDataCatalog

    Gaps stay gaps: no row is made up. freqtrade and LEAN fill them by themselves when they load; a tool that needs
    an unbroken series should be given --require-complete, which refuses data with gaps. alphaforge-export.json in DIR
    says what was asked and has the hash of every file. Files that are not from an export are never overwritten.

    \b
      alphaforge export --format freqtrade --instruments 'binance_spot.*' --interval 1h \\
        --from 2025-05-01 --to 2025-06-01 --out user_data/data
    """
    settings, universe = environment(opens_warehouse=True)
    chosen = readable(settings, universe, patterns, "trades" if is_trades else "bars")
    if is_trades == (interval is not None):
        raise BadInput("--interval and --trades: say which bars, such as --interval 1m, or --trades; one of them")
    if interval is None:
        check_range(start, end)
    else:
        check_series("--interval", interval, universe, start, end)

    from alphaforge_assets.exports.export import LAYOUTS, OF_TRADES, Order, check

    order = Order(LAYOUTS[name], chosen, interval or OF_TRADES, start, end, options)
    check(order, out)
    with reader() as research:
        done = _followed(research, order, out)
    megabytes = f"{done.bytes / 1e6:,.1f} MB"
    say(
        f"{count(done.rows)} rows in {of_them(done.files, 'file')} ({megabytes}) below {out}",
        markup=False,
        soft_wrap=True,
    )
    say(order.note, style="dim", markup=False, soft_wrap=True)
    if done.empty:
        complain(f"no {order.what} of {', '.join(done.empty)} in this range: no files for them")


def _followed(research: "Research", order: "Order", out: Path) -> "Exported":
    """The export, with a bar on the terminal if somebody looks."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from alphaforge_assets.exports.export import export

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=screen(), transient=True, disable=not screen().is_terminal) as bar:
        task = bar.add_task("reading", total=len(order.instruments), completed=-1)
        return export(research, order, out, lambda key: bar.update(task, advance=1, description=key))
