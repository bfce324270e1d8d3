"""`alphaforge bars`: bars on the terminal, as CSV or JSON for programs, as Parquet, or as a chart."""

import datetime as dt
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alphaforge_assets.cli.arguments import check_range, check_series, moment, span, versions, words
from alphaforge_assets.cli.opened import environment, readable, reader
from alphaforge_assets.cli.screen import alarming, count, minute, of_them, say, table
from alphaforge_assets.errors import BadInput
from alphaforge_assets.intervals import MINUTE, PRICE_TYPES, STEP_MS

if TYPE_CHECKING:
    import pandas as pd

    from alphaforge_assets.research import Research
    from alphaforge_assets.universe import Instrument

HEAD, TAIL = 8, 8
COLUMNS = ("open", "high", "low", "close", "volume")


@click.command()
@click.argument("pattern", metavar="KEY|GLOB", help="An instrument, or a pattern such as 'binance_spot.*'.")
@click.argument("interval", help="The interval: length of a bar, such as 1m or 1h.")
@span(moment, "First open time, UTC, as 2025-05-01.", "The first one not wanted, as 2025-05-08.")
@click.option(
    "--columns",
    callback=words,
    help="Comma-separated, such as close,volume,source.  [open,high,low,close,volume; files: all]",
)
@versions
@click.option(
    "--adjust",
    type=click.Choice(["redenominations"]),
    help="Bars before a redenomination that the universe names, in the newest unit of the coin.",
)
@click.option(
    "--price",
    type=click.Choice(["trade", *PRICE_TYPES]),
    default="trade",
    show_default=True,
    help="What the bars are of; others than trades of perpetuals with `price_bars` in the universe.",
)
@click.option("--derived", is_flag=True, help="Bars of 5m to 1d that are made of the published 1m bars.")
@click.option("--csv", "as_csv", is_flag=True, help="CSV on stdout and nothing else.")
@click.option("--json", "as_json", is_flag=True, help="JSON on stdout, an array of objects.")
@click.option(
    "--parquet", type=click.Path(path_type=Path), metavar="FILE", help="A Parquet file with the receipt inside."
)
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE", help="A candlestick chart: .html or .png.")
def bars(
    pattern: str,
    interval: str,
    start: dt.datetime,
    end: dt.datetime,
    columns: Sequence[str],
    options: Mapping[str, Any],
    adjust: str | None,
    price: str,
    derived: bool,
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
      alphaforge bars okx_perp.BTC-USDT 1m --from 2025-05-01 --to 2025-05-08 --price mark
      alphaforge bars 'binance_spot.*' 4h --from 2025-05-01 --to 2025-05-08 --derived
    """
    outputs = [n for n, v in (("--csv", as_csv), ("--json", as_json), ("--parquet", parquet), ("--plot", plot)) if v]
    if len(outputs) > 1:
        raise BadInput(f"{' and '.join(outputs)}: choose one of them")
    if plot is not None and plot.suffix not in (".html", ".png"):
        raise BadInput(f"--plot {plot}: name a file ending in .html or .png")
    if plot is not None and price != "trade":
        raise BadInput(f"--plot draws bars with their volume, and nothing is traded at a {price} price: use --csv")
    settings, universe = environment(opens_warehouse=True)
    instruments = readable(settings, universe, [pattern])
    if derived:
        check_range(start, end)
    else:
        check_series("INTERVAL", interval, universe, start, end)
    if plot is not None and len(instruments) > 1:
        raise BadInput(f"--plot draws one instrument and {pattern!r} means {len(instruments)}: name one")
    kind = {"adjust": adjust, "price": price, "derived": derived}
    asked = _Asked(instruments, interval, start, end, columns, {**options, **kind})
    for file in (parquet, plot):
        if file is not None and not file.parent.is_dir():
            raise BadInput(f"{file}: there is no folder {file.parent}; make it or name another file")
    tells_gaps_itself = not (as_csv or as_json or parquet)
    with reader(is_quiet=tells_gaps_itself) as research:
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


@dataclass(frozen=True)
class _Asked:
    """What was asked for, checked."""

    instruments: "Sequence[Instrument]"
    interval: str
    start: dt.datetime
    end: dt.datetime
    columns: Sequence[str]  # none: the usual ones
    options: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Which bars, for people: `1m`, `1m mark`, `1h derived`."""
        if self.options["derived"]:
            return f"{self.interval} derived"
        return self.interval if self.options["price"] == "trade" else f"{self.interval} {self.options['price']}"

    @property
    def shown(self) -> Sequence[str]:
        """The columns on the terminal."""
        if self.options["derived"]:
            return self.columns or [*COLUMNS, "minutes_present"]
        return self.columns or [name for name in COLUMNS if name != "volume" or self.options["price"] == "trade"]

    def frame(self, research: "Research", instruments: str | list[str], columns: Sequence[str] = ()) -> "pd.DataFrame":
        """Bars of one instrument or of several. Raises BadInput naming an unknown column."""
        chosen = {"columns": [*columns] or None, **self.options}
        found: pd.DataFrame = research.bars(instruments, self.interval, self.start, self.end, **chosen)
        return found

    def frames(self, research: "Research") -> "Iterator[pd.DataFrame]":
        """One frame an instrument, the key in front if there are several of them."""
        for instrument in self.instruments:
            frame = self.frame(research, instrument.key, self.columns)
            if len(self.instruments) > 1:
                frame.insert(0, "instrument", instrument.key)
            yield frame


def _print_csv(research: "Research", asked: _Asked) -> None:
    """An instrument at a time, so memory is that of one."""
    from alphaforge_assets.exports.tables import write_csv

    out = sys.stdout.buffer
    for n, frame in enumerate(asked.frames(research)):
        write_csv(frame, out, with_header=n == 0)
        out.flush()


def _print_json(research: "Research", asked: _Asked) -> None:
    separator = "["
    for frame in asked.frames(research):
        known = frame.reset_index().astype(object).where(lambda f: f.notna(), None)
        if len(known):
            text = json.dumps(known.to_dict(orient="records"), default=lambda moment: moment.isoformat())
            click.echo(separator + text[1:-1], nl=False)
            separator = ","
    click.echo("]" if separator == "," else "[]")


def _write_parquet(research: "Research", asked: _Asked, file: Path) -> None:
    """The file that `to_parquet` makes of the same question: one table of all instruments with one receipt."""
    from alphaforge_assets.exports.atomic import atomically
    from alphaforge_assets.research import to_parquet

    keys = [i.key for i in asked.instruments]
    frame = asked.frame(research, keys if len(keys) > 1 else keys[0], asked.columns)
    with atomically(file) as staged:
        to_parquet(frame, staged)
    say(f"{count(len(frame))} bars in {file}", markup=False, soft_wrap=True)


def _plot(research: "Research", asked: _Asked, file: Path) -> None:
    from alphaforge_assets.exports import chart
    from alphaforge_assets.exports.atomic import atomically

    (instrument,) = asked.instruments
    frame = asked.frame(research, instrument.key)
    is_page = file.suffix == ".html"
    most = chart.HTML_CANDLES_MAX if is_page else chart.PNG_CANDLES_MAX
    title = f"{instrument.key}  {asked.name}"
    drawn = chart.chart(title, asked.interval, frame, _gaps(research, asked, instrument), most)
    with atomically(file) as staged:
        (chart.write_html if is_page else chart.write_png)(drawn, staged)
    say(f"{drawn.caption} in {file} ({file.stat().st_size / 1000:,.0f} kB)", markup=False, soft_wrap=True)
    if _missing(frame, asked) or _doubled(frame, asked):
        say(_completeness(research, asked, instrument, frame))


def _print_one(research: "Research", asked: _Asked) -> None:
    """The first and last rows, how many there are, and what is missing."""
    (instrument,) = asked.instruments
    frame = asked.frame(research, instrument.key, asked.shown)
    say(f"[bold]{instrument.key}[/bold]  {asked.name}  {_range(asked)}")
    if frame.empty:
        known = _gaps(research, asked, instrument)
        if any(min(gap["gap_end"], asked.end) > max(gap["gap_start"], asked.start) for gap in known):
            say(f"[dim]no bars,[/dim] {_completeness(research, asked, instrument, frame)}")
        else:
            say("no bars here: `alphaforge status` shows what there is, `alphaforge backfill` fetches more")
        return
    shown = table("Open time (UTC)")
    for name in frame.columns:
        shown.add_column(name, justify="right" if frame[name].dtype.kind in "fiu" else "left")
    texts = [_texts(frame[name]) for name in frame.columns]
    cut = len(frame) > HEAD + TAIL
    for n in [*range(HEAD), *range(len(frame) - TAIL, len(frame))] if cut else range(len(frame)):
        if cut and n == len(frame) - TAIL:
            shown.add_row("…", *("…" for _ in texts), style="dim")
        when = frame.index[n]
        is_odd = when.second or when.microsecond
        shown.add_row(f"{when:%Y-%m-%d %H:%M:%S.%f}" if is_odd else minute(when), *(column[n] for column in texts))
    say(shown)
    completeness = _completeness(research, asked, instrument, frame)
    say(f"[dim]{of_them(len(frame), 'bar')},[/dim] {completeness}")


def _print_many(research: "Research", asked: _Asked) -> None:
    """A line an instrument."""
    say(f"[bold]{len(asked.instruments)} instruments[/bold]  {asked.name}  {_range(asked)}")
    shown = table("Instrument", "First", "Last", figures=("Bars", "Missing", "Last close"))
    total, twice = 0, list[str]()
    for instrument in asked.instruments:
        frame = asked.frame(research, instrument.key, ["close"])
        total += len(frame)
        if frame.empty:
            shown.add_row(instrument.key, "-", "-", "0", "-", "-", style="dim")
            continue
        ends = minute(frame.index[0]), minute(frame.index[-1])
        (close,) = _texts(frame["close"].iloc[-1:])
        shown.add_row(instrument.key, *ends, count(len(frame)), alarming(_missing(frame, asked)), close)
        if doubled := _doubled(frame, asked):
            twice.append(f"{instrument.key}: {_several(doubled)}")
    say(shown)
    for said in twice:
        say(f"[yellow]{said}[/yellow]")
    say(
        f"[dim]{of_them(total, 'bar')}. Name one instrument to see its rows, or --csv, --json, --parquet for all.[/dim]"
    )


def _missing(frame: "pd.DataFrame", asked: _Asked) -> int:
    """Slots of the grid that are over and have no bar; of derived bars, minutes that they lack."""
    import pandas as pd

    if asked.options["derived"]:
        return _lacking(frame).total()
    step = dt.timedelta(milliseconds=STEP_MS[asked.interval])
    until = min(asked.end, dt.datetime.now(dt.UTC) - step)
    slots = max(0, -((asked.start - until) // step)) if until > asked.start else 0
    return max(0, slots - pd.DatetimeIndex(frame.index).floor(step).nunique())


def _lacking(frame: "pd.DataFrame") -> Counter[str]:
    """Minutes that derived bars lack and that are over, by verdict."""
    gaps: Mapping[str, int] = frame.attrs["receipt"]["gaps"]
    return Counter({verdict: minutes for verdict, minutes in gaps.items() if verdict != "not_closed"})


def _doubled(frame: "pd.DataFrame", asked: _Asked) -> int:
    """Slots of the grid in which several bars open."""
    import pandas as pd

    slots = pd.DatetimeIndex(frame.index).floor(dt.timedelta(milliseconds=STEP_MS[asked.interval]))
    return int(slots[slots.duplicated()].nunique())


def _several(slots: int) -> str:
    return f"{of_them(slots, 'slot')} of the grid with several bars"


def _gaps(research: "Research", asked: _Asked, instrument: "Instrument") -> list[Mapping[str, Any]]:
    """Rows of v_gaps of a series that are missing today."""
    from alphaforge_assets.warehouse import statements

    rows = statements.rows(research.client, "reads/gaps", instruments=[instrument.instrument_id], with_filled=False)
    price = asked.options["price"]
    length = MINUTE if asked.options["derived"] else asked.interval
    its = ("bars", length) if price == "trade" else ("price_bars", f"{price}_{asked.interval}")
    return [row for row in rows if (row["dataset"], row["interval"]) == its]


def _completeness(research: "Research", asked: _Asked, instrument: "Instrument", frame: "pd.DataFrame") -> str:
    lost, doubled = _missing(frame, asked), _doubled(frame, asked)
    several = f"[yellow]{_several(doubled)}[/yellow]" if doubled else ""
    if not lost:
        return f"no slot missing, {several}" if doubled else "[green]complete[/green]"
    if asked.options["derived"]:
        said = ", ".join(f"{count(n)} {verdict}" for verdict, n in sorted(_lacking(frame).items()))
        return f"[yellow]{of_them(lost, 'minute')} missing[/yellow] ({said}); nothing is filled"
    step = dt.timedelta(milliseconds=STEP_MS[asked.interval])
    verdicts: Counter[str] = Counter()
    for gap in _gaps(research, asked, instrument):
        overlap = min(gap["gap_end"], asked.end) - max(gap["gap_start"], asked.start)
        if overlap > dt.timedelta(0):
            verdicts[gap["verdict"]] += overlap // step
    said = ", ".join(f"{count(n)} {verdict}" for verdict, n in sorted(verdicts.items()))
    unjudged = lost - verdicts.total()
    parts = [said] if said else []
    if unjudged > 0:
        parts.append(f"{count(unjudged)} not asked for yet or not judged")
    twice = f", {several}" if several else ""
    return f"[yellow]{count(lost)} missing[/yellow] ({'; '.join(parts)}){twice}; nothing is filled"


def _range(asked: _Asked) -> str:
    midnight = dt.time()
    form = "%Y-%m-%d" if asked.start.time() == asked.end.time() == midnight else "%Y-%m-%d %H:%M"
    return f"[dim]from {asked.start:{form}} to {asked.end:{form}} (exclusive)[/dim]"


def _texts(column: "pd.Series[Any]") -> list[str]:
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
