"""`alphaforge bars`: bars on the terminal, as CSV or JSON for programs, as Parquet, or as a chart."""

import datetime as dt
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alphaforge_assets.cli import reading
from alphaforge_assets.errors import BadInput

if TYPE_CHECKING:
    from alphaforge_assets.universe import Instrument

HEAD, TAIL = 8, 8
COLUMNS = ("open", "high", "low", "close", "volume")


@click.command("bars")
@click.argument("pattern", metavar="KEY|GLOB", help="An instrument, or a pattern such as 'binance_spot.*'.")
@click.argument("interval", help="The interval: length of a bar, such as 1m or 1h.")
@click.option("--from", "start", required=True, metavar="TIME", help="First open time, UTC, as 2025-05-01.")
@click.option("--to", "end", required=True, metavar="TIME", help="The first one not wanted, as 2025-05-08.")
@click.option(
    "--columns", help="Comma-separated, such as close,volume,source.  [open,high,low,close,volume; files: all]"
)
@reading.versions
@click.option("--csv", "as_csv", is_flag=True, help="CSV on stdout and nothing else.")
@click.option("--json", "as_json", is_flag=True, help="JSON on stdout, an array of objects.")
@click.option(
    "--parquet", type=click.Path(path_type=Path), metavar="FILE", help="A Parquet file with the receipt inside."
)
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE", help="A candlestick chart: .html or .png.")
def bars(
    pattern: str,
    interval: str,
    start: str,
    end: str,
    columns: str | None,
    as_of: str | None,
    snapshot: str | None,
    require_complete: bool,
    as_csv: bool,
    as_json: bool,
    parquet: Path | None,
    plot: Path | None,
) -> None:
    """Bars of an instrument, or of all that match a glob. Gaps are shown and never filled.

    \b
      alphaforge bars binance_spot.BTC-USDT 1h --from 2025-05-01 --to 2025-05-08
      alphaforge bars 'binance_spot.*' 1h --from 2025-05-01 --to 2025-05-08 --csv > bars.csv
      alphaforge bars okx_perp.BTC-USDT 1m --from 2025-05-01 --to 2025-05-08 --plot btc.html
    """
    outputs = [n for n, v in (("--csv", as_csv), ("--json", as_json), ("--parquet", parquet), ("--plot", plot)) if v]
    if len(outputs) > 1:
        raise BadInput(f"{' and '.join(outputs)}: choose one of them")
    if plot is not None and plot.suffix not in (".html", ".png"):
        raise BadInput(f"--plot {plot}: name a file ending in .html or .png")
    universe = reading.known_universe()
    instruments = universe.select([pattern])
    reading.kept_interval("INTERVAL", interval, universe)
    first, last = reading.span(start, end)
    if plot is not None and len(instruments) > 1:
        raise BadInput(f"--plot draws one instrument and {pattern!r} means {len(instruments)}: name one")
    options = reading.given(as_of, snapshot, require_complete)
    for file in (parquet, plot):
        if file is not None and not file.parent.is_dir():
            raise BadInput(f"{file}: there is no folder {file.parent}; make it or name another file")
    chosen = [word.strip() for word in columns.split(",") if word.strip()] if columns else []
    asked = _Asked(instruments, interval, first, last, chosen, options)
    tells_gaps_itself = not (as_csv or as_json or parquet)
    with reading.reader(is_quiet=tells_gaps_itself) as research:
        if as_csv:
            _print_csv(research, asked)
        elif as_json:
            _print_json(research, asked)
        elif parquet is not None:
            _write_parquet(research, asked, parquet)
        elif plot is not None:
            _plot(research, asked, plot)
        elif len(instruments) == 1:
            _print_one(research, asked)
        else:
            _print_many(research, asked)


class _Asked:
    """What was asked for, checked."""

    def __init__(
        self,
        instruments: Sequence["Instrument"],
        interval: str,
        first: dt.datetime,
        last: dt.datetime,
        columns: Sequence[str],
        options: Mapping[str, Any],
    ) -> None:
        self.instruments, self.interval, self.first, self.last = instruments, interval, first, last
        self.columns, self.options = list(columns), dict(options)

    def frame(self, research: Any, instrument: "Instrument") -> Any:
        """The usual columns, or those chosen, of one instrument. Raises BadInput naming an unknown one."""
        span = (self.first, self.last)
        return research.bars(instrument.key, self.interval, *span, columns=self.columns or None, **self.options)

    def frames(self, research: Any) -> Iterator[Any]:
        """One frame an instrument, the key in front if there are several of them."""
        for instrument in self.instruments:
            frame = self.frame(research, instrument)
            if len(self.instruments) > 1:
                frame.insert(0, "instrument", instrument.key)
            yield frame


def _print_csv(research: Any, asked: _Asked) -> None:
    """An instrument at a time, so memory is that of one."""
    from alphaforge_assets.exports.tables import write_csv

    out = sys.stdout.buffer
    for n, frame in enumerate(asked.frames(research)):
        write_csv(frame, out, with_header=n == 0)
        out.flush()


def _print_json(research: Any, asked: _Asked) -> None:
    separator = "["
    for frame in asked.frames(research):
        known = frame.reset_index().astype(object).where(lambda f: f.notna(), None)
        if len(known):
            text = json.dumps(known.to_dict(orient="records"), default=lambda moment: moment.isoformat())
            click.echo(separator + text[1:-1], nl=False)
            separator = ","
    click.echo("]" if separator == "," else "[]")


def _write_parquet(research: Any, asked: _Asked, file: Path) -> None:
    """The file that `to_parquet` makes of the same question: one table of all instruments with one receipt."""
    from alphaforge_assets.cli.screen import count, screen
    from alphaforge_assets.exports.export import atomically
    from alphaforge_assets.research import to_parquet

    keys = [i.key for i in asked.instruments]
    chosen = {"columns": asked.columns or None, **asked.options}
    frame = research.bars(keys if len(keys) > 1 else keys[0], asked.interval, asked.first, asked.last, **chosen)
    with atomically(file) as staged:
        to_parquet(frame, staged)
    screen.print(f"{count(len(frame))} bars in {file}", markup=False, soft_wrap=True)


def _plot(research: Any, asked: _Asked, file: Path) -> None:
    from alphaforge_assets.cli.screen import screen
    from alphaforge_assets.exports import chart
    from alphaforge_assets.exports.export import atomically

    (instrument,) = asked.instruments
    asked.columns = []
    frame = asked.frame(research, instrument)
    is_page = file.suffix == ".html"
    most = chart.HTML_CANDLES_MAX if is_page else chart.PNG_CANDLES_MAX
    known = reading.gaps(research.client, instrument, asked.interval)
    drawn = chart.chart(f"{instrument.key}  {asked.interval}", asked.interval, frame, known, most)
    with atomically(file) as staged:
        (chart.write_html if is_page else chart.write_png)(drawn, staged)
    screen.print(f"{drawn.caption} in {file} ({file.stat().st_size / 1000:,.0f} kB)", markup=False, soft_wrap=True)
    lost = reading.missing(frame.index, asked.interval, asked.first, asked.last)
    if lost:
        screen.print(_completeness(research, asked, instrument, lost))


def _print_one(research: Any, asked: _Asked) -> None:
    """The first and last rows, how many there are, and what is missing."""
    from rich.table import Table

    from alphaforge_assets.cli.screen import count, screen

    (instrument,) = asked.instruments
    asked.columns = asked.columns or list(COLUMNS)
    frame = asked.frame(research, instrument)
    screen.print(f"[bold]{instrument.key}[/bold]  {asked.interval}  {_range(asked)}")
    if frame.empty:
        screen.print("no bars here: `alphaforge status` shows what there is, `alphaforge backfill` fetches more")
        return
    table = Table("Open time (UTC)", box=None, pad_edge=False, collapse_padding=True)
    for name in frame.columns:
        table.add_column(name, justify="right" if frame[name].dtype.kind in "fiu" else "left")
    text = {name: _texts(frame[name]) for name in frame.columns}
    cut = len(frame) > HEAD + TAIL
    rows = [*range(HEAD), -1, *range(len(frame) - TAIL, len(frame))] if cut else range(len(frame))
    for n in rows:
        if n < 0:
            table.add_row("…", *("…" for _ in text), style="dim")
        else:
            when = frame.index[n]
            shown = (
                f"{when:%Y-%m-%d %H:%M}" if not (when.second or when.microsecond) else f"{when:%Y-%m-%d %H:%M:%S.%f}"
            )
            table.add_row(shown, *(column[n] for column in text.values()))
    screen.print(table)
    lost = reading.missing(frame.index, asked.interval, asked.first, asked.last)
    screen.print(f"[dim]{count(len(frame))} bars,[/dim] {_completeness(research, asked, instrument, lost)}")


def _print_many(research: Any, asked: _Asked) -> None:
    """A line an instrument."""
    from rich.table import Table

    from alphaforge_assets.cli.screen import count, minute, screen

    screen.print(f"[bold]{len(asked.instruments)} instruments[/bold]  {asked.interval}  {_range(asked)}")
    table = Table("Instrument", "First", "Last", box=None, pad_edge=False, collapse_padding=True)
    for name in ("Bars", "Missing", "Last close"):
        table.add_column(name, justify="right")
    asked.columns = ["close"]
    total = 0
    for instrument in asked.instruments:
        frame = asked.frame(research, instrument)
        total += len(frame)
        if frame.empty:
            table.add_row(instrument.key, "-", "-", "0", "-", "-", style="dim")
            continue
        lost = reading.missing(frame.index, asked.interval, asked.first, asked.last)
        shown = f"[yellow]{count(lost)}[/yellow]" if lost else "0"
        ends = minute(frame.index[0]), minute(frame.index[-1])
        table.add_row(instrument.key, *ends, count(len(frame)), shown, _texts(frame["close"].iloc[-1:])[0])
    screen.print(table)
    screen.print(
        f"[dim]{count(total)} bars. Name one instrument to see its rows, or --csv, --json, --parquet for all.[/dim]"
    )


def _completeness(research: Any, asked: _Asked, instrument: "Instrument", lost: int) -> str:
    from alphaforge_assets.cli.screen import count

    if not lost:
        return "[green]complete[/green]"
    known = reading.gaps(research.client, instrument, asked.interval)
    verdicts = reading.by_verdict(known, asked.interval, asked.first, asked.last)
    said = ", ".join(f"{count(n)} {verdict}" for verdict, n in sorted(verdicts.items()))
    unjudged = lost - sum(verdicts.values())
    parts = [said] if said else []
    if unjudged > 0:
        parts.append(f"{count(unjudged)} not asked for yet or not judged")
    return f"[yellow]{count(lost)} missing[/yellow] ({'; '.join(parts)}); nothing is filled"


def _range(asked: _Asked) -> str:
    midnight = dt.time()
    form = "%Y-%m-%d" if asked.first.time() == asked.last.time() == midnight else "%Y-%m-%d %H:%M"
    return f"[dim]from {asked.first:{form}} to {asked.last:{form}} (exclusive)[/dim]"


def _texts(column: Any) -> list[str]:
    """A column as people read it: numbers with as many decimals as the column has, at most eight."""
    if column.dtype.kind == "f":
        import numpy as np

        from alphaforge_assets.exports.decimals import places

        values = column.to_numpy("float64")
        known = np.abs(values[np.isfinite(values)])
        decimals = min(places(known), 8) if len(known) else 0
        return [f"{value:,.{decimals}f}" if np.isfinite(value) else "-" for value in values]
    if column.dtype.kind in "iu":
        return ["-" if value != value or value is None else f"{value:,}" for value in column.astype(object)]
    return [str(value) for value in column]
