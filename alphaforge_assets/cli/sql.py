"""`alphaforge sql`: a question in SQL, answered as a table, as CSV or as JSON. Nothing can be changed with it."""

import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from alphaforge_assets.cli.opened import start_warehouse
from alphaforge_assets.cli.screen import count, say, screen, table
from alphaforge_assets.errors import BadInput

if TYPE_CHECKING:
    from rich.table import Table

ROWS_SHOWN_MAX = 50
CHUNK_BYTES = 1 << 16
TEXT_WIDTH_MIN = 16  # a column of text is folded rather than made narrower
NULL = "ᴺᵁᴸᴸ"  # as ClickHouse writes it for people
TIMES = ("Date", "Nullable(Date")
NUMBERS = ("Int", "UInt", "Float", "Decimal", "Nullable(Int", "Nullable(UInt", "Nullable(Float", "Nullable(Decimal")


@click.command()
@click.argument("query", required=False, help="A SELECT, if not given with --file.")
@click.option("--file", type=click.Path(path_type=Path), metavar="FILE", help="Read the query from a file; - is stdin.")
@click.option(
    "--param", "params", multiple=True, metavar="NAME=VALUE", help="A value for {NAME:Type}; repeat for others."
)
@click.option("--csv", "as_csv", is_flag=True, help="CSV on stdout and nothing else, all rows, as they come.")
@click.option("--json", "as_json", is_flag=True, help="JSON on stdout, an array of objects, all rows.")
@click.option("--rows", "rows_max", type=click.IntRange(1, 10_000), default=ROWS_SHOWN_MAX, show_default=True,
              help="How many rows the table shows.")  # fmt: skip
def sql(
    query: str | None, file: Path | None, params: Sequence[str], as_csv: bool, as_json: bool, rows_max: int
) -> None:
    """Ask the warehouse in SQL. Read-only: the server refuses everything that would change something.

    \b
      alphaforge sql 'SELECT venue, symbol, count() FROM analytics.v_bars GROUP BY ALL'
      alphaforge sql 'SELECT * FROM analytics.v_bars WHERE symbol = {s:String} LIMIT 5' --param s=BTC/USDT
      alphaforge sql --file question.sql --csv > answer.csv

    Views to ask: analytics.v_bars, v_funding, v_fear_greed, v_instruments, v_coverage, v_gaps.
    """
    if as_csv and as_json:
        raise BadInput("--csv and --json: choose one of them")
    text = _text(query, file)
    values = dict(_pair(param) for param in params)

    start_warehouse()
    from alphaforge_assets.settings import settings_from_environment
    from alphaforge_assets.warehouse.client import open_warehouse
    from alphaforge_assets.warehouse.questions import asked

    settings = settings_from_environment()
    form = "CSVWithNames" if as_csv else "JSONEachRow" if as_json else "JSONCompactStringsEachRowWithNamesAndTypes"
    with (
        open_warehouse(settings.home, settings.clickhouse_url) as client,
        asked(client, text, form, values) as answer,
    ):
        if as_json:
            _print_array(answer, sys.stdout.buffer)
        elif as_csv:
            out = sys.stdout.buffer
            while chunk := answer.read(CHUNK_BYTES):
                out.write(chunk)
            out.flush()
        else:
            _print(answer, rows_max)


def _text(query: str | None, file: Path | None) -> str:
    if (query is None) == (file is None):
        raise BadInput("give the query as an argument or with --file, one of them")
    if file is not None:
        try:
            query = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(f"--file {file}: {getattr(error, 'strerror', None) or 'not UTF-8 text'}") from error
    stripped = (query or "").strip().rstrip(";").strip()
    if not stripped:
        raise BadInput("the query is empty: write a SELECT")
    return stripped


def _pair(param: str) -> tuple[str, str]:
    name, found, value = param.partition("=")
    if not found or not name.strip().isidentifier():
        raise BadInput(f"--param {param!r}: write NAME=VALUE, for {{NAME:Type}} in the query")
    return name.strip(), value


def _print_array(answer: IO[bytes], out: IO[bytes]) -> None:
    """One array of a row a line. The server would begin another one for each block of its own."""
    before = b"[\n"
    for line in _raw_lines(answer):
        out.write(before + line)
        before = b",\n"
    out.write(b"\n]\n" if before == b",\n" else b"[]\n")
    out.flush()


def _print(answer: IO[bytes], rows_max: int) -> None:
    lines = _lines(answer)
    head = [json.loads(line) for line in itertools.islice(lines, 2)]
    if len(head) < 2:
        say("[dim]no answer: the statement returns no rows[/dim]")
        return
    rows = [json.loads(line) for line in itertools.islice(lines, rows_max)]
    is_cut = next(lines, None) is not None
    names, kinds = head
    texts = [[_shown(value, kind) for value, kind in zip(row, kinds, strict=True)] for row in rows]
    widths = [max(map(len, column)) for column in zip(names, *texts, strict=True)]
    is_text = [not kind.startswith((*NUMBERS, *TIMES)) for kind in kinds]
    least = sum(min(width, TEXT_WIDTH_MIN) if soft else width for width, soft in zip(widths, is_text, strict=True))
    if least + len(names) - 1 <= screen().width:
        say(_table(names, kinds, is_text, texts))
    else:
        _print_records(names, texts)
    if is_cut:
        say(f"[dim]the first {count(rows_max)} rows; --rows shows more, --csv and --json give all[/dim]")
    else:
        say(f"[dim]{count(len(rows))} row{'s' * (len(rows) != 1)}[/dim]")


def _table(
    names: Sequence[str], kinds: Sequence[str], is_text: Sequence[bool], texts: Sequence[Sequence[str]]
) -> "Table":
    from rich.text import Text

    shown = table()
    for name, kind, soft in zip(names, kinds, is_text, strict=True):
        side: Any = "right" if kind.startswith(NUMBERS) else "left"
        shown.add_column(Text(name), justify=side, no_wrap=not soft, overflow="fold")
    for row in texts:
        shown.add_row(*map(Text, row))
    return shown


def _print_records(names: Sequence[str], texts: Sequence[Sequence[str]]) -> None:
    """A line a column, for rows that are wider than the terminal."""
    from rich.table import Table
    from rich.text import Text

    for n, row in enumerate(texts, 1):
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        for name, text in zip(names, row, strict=True):
            table.add_row(Text(name), Text(text))
        say(f"[bold]row {n}[/bold]")
        say(table)


def _shown(text: str, kind: str) -> str:
    if text == NULL and "Nullable" in kind:
        return "-"
    if "Float" in kind and not kind.startswith(("Array", "Map", "Tuple")):
        return f"{float(text):.12g}"
    if kind.startswith(TIMES):
        return text.removesuffix(".000")
    return text


def _lines(answer: IO[bytes]) -> Iterator[str]:
    return (line.decode("utf-8", "replace") for line in _raw_lines(answer))


def _raw_lines(answer: IO[bytes]) -> Iterator[bytes]:
    rest = b""
    while chunk := answer.read(CHUNK_BYTES):
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole
    if rest:
        yield rest
