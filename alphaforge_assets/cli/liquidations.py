"""`alphaforge liquidations`: liquidations on the terminal, as CSV or JSON for programs, or as Parquet."""

import datetime as dt
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alphaforge_assets.cli.arguments import check_range, moment, span, versions, words
from alphaforge_assets.cli.opened import environment, reader
from alphaforge_assets.cli.screen import count, say, table
from alphaforge_assets.errors import BadInput

if TYPE_CHECKING:
    import pandas as pd

HEAD, TAIL = 8, 8


@click.command()
@click.argument("pattern", metavar="KEY|GLOB", help="A perpetual, or a pattern such as 'binance_perp.*'.")
@span(moment, "First time, UTC, as 2024-03-01 or 2024-03-01T12:00Z.", "The first one not wanted.")
@click.option("--columns", callback=words, help="Comma-separated.  [sides, prices, quantity, is_sampled, source]")
@versions
@click.option("--csv", "as_csv", is_flag=True, help="CSV on stdout and nothing else.")
@click.option("--json", "as_json", is_flag=True, help="JSON on stdout, an array of objects.")
@click.option(
    "--parquet", type=click.Path(path_type=Path), metavar="FILE", help="A Parquet file with the receipt inside."
)
def liquidations(
    pattern: str,
    start: dt.datetime,
    end: dt.datetime,
    columns: Sequence[str],
    options: Mapping[str, Any],
    as_csv: bool,
    as_json: bool,
    parquet: Path | None,
) -> None:
    """Liquidations that venues told of a perpetual, or of all that match a glob. Sampled: the latest of a second.

    `alphaforge backfill --datasets liquidations` fetches those of the instruments that have `liquidations: true` in
    the universe, as far as history has them.

    \b
      alphaforge liquidations binance_perp.BTC-USDT --from 2024-03-01 --to 2024-03-02
      alphaforge liquidations 'binance_perp.*' --from 2024-03-01 --to 2024-03-02 --csv > liquidations.csv
    """
    outputs = [name for name, value in (("--csv", as_csv), ("--json", as_json), ("--parquet", parquet)) if value]
    if len(outputs) > 1:
        raise BadInput(f"{' and '.join(outputs)}: choose one of them")
    if parquet is not None and not parquet.parent.is_dir():
        raise BadInput(f"{parquet}: there is no folder {parquet.parent}; make it or name another file")
    environment(opens_warehouse=True)
    check_range(start, end)
    with reader() as research:
        frame = research.liquidations(pattern, start, end, columns=[*columns] or None, **options)
    if as_csv:
        from alphaforge_assets.exports.tables import write_csv

        write_csv(frame, sys.stdout.buffer, with_header=True)
    elif as_json:
        known = frame.reset_index().astype(object).where(lambda f: f.notna(), None)
        click.echo(json.dumps(known.to_dict(orient="records"), default=lambda moment: moment.isoformat()))
    elif parquet is not None:
        from alphaforge_assets.exports.atomic import atomically
        from alphaforge_assets.research import to_parquet

        with atomically(parquet) as staged:
            to_parquet(frame, staged)
        say(f"{count(len(frame))} liquidations in {parquet}", markup=False, soft_wrap=True)
    else:
        _print(
            frame if columns else frame.drop(columns="source"), pattern
        )  # nobody else tells of them, and 80 is narrow


def _print(frame: "pd.DataFrame", pattern: str) -> None:
    """The first and the last, and how many there are."""
    say(f"[bold]{pattern}[/bold]")
    if frame.empty:
        say("no liquidations here: `alphaforge backfill --datasets liquidations` fetches them, where they are kept")
        return
    rows = frame.reset_index()
    shown = table(*rows.columns[:1], figures=tuple(rows.columns[1:]))
    cut = len(rows) > HEAD + TAIL
    for n in [*range(HEAD), *range(len(rows) - TAIL, len(rows))] if cut else range(len(rows)):
        if cut and n == len(rows) - TAIL:
            shown.add_row(*("…" for _ in rows.columns), style="dim")
        shown.add_row(*(_shown(value) for value in rows.iloc[n]))
    say(shown)
    say(f"[dim]{count(len(rows))} liquidations told; of sampled ones nobody knows how many there were[/dim]")


def _shown(value: Any) -> str:
    if isinstance(value, dt.datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, float):
        return f"{value:,.8f}".rstrip("0").rstrip(".")
    return str(value)
