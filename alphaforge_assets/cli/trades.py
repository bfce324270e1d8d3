"""`alphaforge trades`: trades on the terminal, as CSV or JSON lines for programs, or as Parquet; streamed."""

import datetime as dt
import json
import re
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alphaforge_assets.cli.arguments import check_range, moment, span, versions, words
from alphaforge_assets.cli.opened import environment, reader
from alphaforge_assets.cli.screen import count, say, table
from alphaforge_assets.errors import BadInput

if TYPE_CHECKING:
    import pyarrow as pa

    from alphaforge_assets.research import Research
    from alphaforge_assets.universe import Instrument

HEAD, TAIL = 8, 8
_MOMENT = re.compile(r"^(\d{4}-\d\d-\d\d)T(.+?)(?:000)?Z$")  # without microseconds where there are none


@click.command()
@click.argument("pattern", metavar="KEY|GLOB", help="An instrument, or a pattern such as 'binance_spot.*'.")
@span(moment, "First time, UTC, as 2025-05-01 or 2025-05-01T12:00Z.", "The first one not wanted.")
@click.option("--columns", callback=words, help="Comma-separated.  [trade_id, side, price, amounts, source]")
@versions
@click.option("--csv", "as_csv", is_flag=True, help="CSV on stdout and nothing else.")
@click.option("--json", "as_json", is_flag=True, help="JSON on stdout, an object a line.")
@click.option("--parquet", type=click.Path(path_type=Path), metavar="FILE", help="A Parquet file.")
@click.option(
    "--nautilus", type=click.Path(path_type=Path), metavar="CATALOG", help="Trade ticks of nautilus_trader, a file."
)
def trades(
    pattern: str,
    start: dt.datetime,
    end: dt.datetime,
    columns: Sequence[str],
    options: Mapping[str, Any],
    as_csv: bool,
    as_json: bool,
    parquet: Path | None,
    nautilus: Path | None,
) -> None:
    """Trades of an instrument, or of all that match a glob, in the order of their ids; the side is the taker's.

    What is not there was not told, or not asked for: `alphaforge backfill --datasets trades` fetches trades of the
    instruments that have `trades: true` in the universe.

    \b
      alphaforge trades binance_spot.BTC-USDT --from 2025-05-01T12:00 --to 2025-05-01T13:00
      alphaforge trades binance_spot.BTC-USDT --from 2025-05-01 --to 2025-05-02 --parquet trades.parquet
      alphaforge trades 'binance_*.BTC-USDT' --from 2025-05-01 --to 2025-05-02 --csv > trades.csv
    """
    choices = (("--csv", as_csv), ("--json", as_json), ("--parquet", parquet), ("--nautilus", nautilus))
    outputs = [name for name, value in choices if value]
    if len(outputs) > 1:
        raise BadInput(f"{' and '.join(outputs)}: choose one of them")
    if parquet is not None and not parquet.parent.is_dir():
        raise BadInput(f"{parquet}: there is no folder {parquet.parent}; make it or name another file")
    _, universe = environment(opens_warehouse=True)
    check_range(start, end)
    with reader() as research:
        if nautilus is not None:
            _write_nautilus(research, universe.instrument(pattern), (start, end), options, nautilus)
            return
        found = research.trades(pattern, start, end, columns=[*columns] or None, **options)
        if as_csv:
            _print_csv(found)
        elif as_json:
            _print_json(found)
        elif parquet is not None:
            _write_parquet(found, parquet)
        else:
            _print(found, pattern)


def _texts(batch: "pa.RecordBatch") -> "pa.Table":
    """Times as 2025-05-01T00:00:00.000000Z, names as plain text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found = pa.Table.from_batches([batch])
    for n, field in enumerate(found.schema):
        if pa.types.is_timestamp(field.type):
            moments = found[field.name].cast(pa.timestamp("us", "UTC"))
            found = found.set_column(n, field.name, pc.strftime(moments, "%Y-%m-%dT%H:%M:%SZ"))
        elif pa.types.is_dictionary(field.type):
            found = found.set_column(n, field.name, found[field.name].cast(pa.string()))
    return found


def _print_csv(found: "pa.RecordBatchReader") -> None:
    import pyarrow.csv

    out, is_first = sys.stdout.buffer, True
    for batch in found:
        options = pyarrow.csv.WriteOptions(include_header=is_first, quoting_style="none", quoting_header="none")
        pyarrow.csv.write_csv(_texts(batch), out, options)
        out.flush()
        is_first = False
    if is_first:
        click.echo(",".join(found.schema.names))


def _print_json(found: "pa.RecordBatchReader") -> None:
    for batch in found:
        for row in _texts(batch).to_pylist():
            click.echo(json.dumps(row))


def _write_parquet(found: "pa.RecordBatchReader", file: Path) -> None:
    from alphaforge_assets.exports.atomic import atomically
    from alphaforge_assets.exports.trades import write_parquet

    with atomically(file) as staged:
        rows = write_parquet(found, staged)
    say(f"{count(rows)} trades in {file}", markup=False, soft_wrap=True)


def _write_nautilus(
    research: "Research",
    instrument: "Instrument",
    span: tuple[dt.datetime, dt.datetime],
    options: Mapping[str, Any],
    catalog: Path,
) -> None:
    from alphaforge_assets.exports.nautilus_trades import COLUMNS, write

    found = research.trades(instrument.key, *span, columns=COLUMNS, **options)
    file, rows = write(research, instrument, found, catalog)
    say(f"{count(rows)} trade ticks in {file}", markup=False, soft_wrap=True)


def _print(found: "pa.RecordBatchReader", pattern: str) -> None:
    """The first and the last, and how many there are."""
    names = found.schema.names
    head: list[dict[str, Any]] = []
    tail: deque[dict[str, Any]] = deque(maxlen=TAIL)
    rows = 0
    for batch in found:
        if len(head) < HEAD:
            head += _texts(batch.slice(0, HEAD - len(head))).to_pylist()
        tail.extend(_texts(batch.slice(max(0, batch.num_rows - TAIL))).to_pylist())
        rows += batch.num_rows
    say(f"[bold]{pattern}[/bold]")
    if not rows:
        say("no trades here: `alphaforge backfill --datasets trades` fetches them, where the universe keeps them")
        return
    shown = table(*names[:1], figures=tuple(names[1:]))
    for row in _around(head, list(tail), rows):
        shown.add_row(*("…" if row is None else _shown(row[name]) for name in names))
    say(shown)
    say(f"[dim]{count(rows)} trades[/dim]")


def _around(head: list[dict[str, Any]], tail: list[dict[str, Any]], rows: int) -> Iterator[dict[str, Any] | None]:
    if rows <= HEAD + TAIL:
        yield from head[: max(0, rows - len(tail))]
        yield from tail
        return
    yield from head
    yield None
    yield from tail


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.8f}".rstrip("0").rstrip(".")
    return _MOMENT.sub(r"\1 \2", str(value))
