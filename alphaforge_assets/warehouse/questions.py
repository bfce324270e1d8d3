"""People's own SELECTs: sent as they are, answered by a server that was told to change nothing.

The one place where a statement comes from outside of sql/. `readonly` is 1 for the whole request: the server refuses
every INSERT, CREATE, DROP and SET itself. It does not refuse KILL, so that is done here. Values are bound by the
server.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import IO, cast

from clickhouse_connect.driver.client import Client

from alphaforge_assets.errors import BadInput, WarehouseRefused
from alphaforge_assets.warehouse import statements
from alphaforge_assets.warehouse.client import translated

SETTINGS = {
    "readonly": 1,
    "database": "analytics",  # so that nobody has to write it before every name
    "cancel_http_readonly_queries_on_client_close": 1,  # who hangs up is no longer interested
    "output_format_json_quote_64bit_integers": 0,
    "log_comment": '{"statement": "question"}',
}


@contextlib.contextmanager
def asked(client: Client, sql: str, form: str, parameters: Mapping[str, str]) -> Iterator[IO[bytes]]:
    """The answer as a stream of bytes in the ClickHouse format `form`. Leaving the context ends the query.

    `parameters` are texts for {name:Type} in the statement. Raises BadInput with ClickHouse's reason in one line for a
    statement that it refuses, WarehouseDown.
    """
    with _as_input(sql, form):
        (first,) = statements.rows(client, "reads/kind_of_statement", statement=sql)
    if first["kind"] == "KILL":
        raise BadInput("KILL changes what others are doing: ask something instead, a SELECT")
    with _as_input(sql, form), translated():
        stream = cast(
            IO[bytes],
            client.raw_stream(sql, parameters=dict(parameters), settings=SETTINGS, fmt=form, use_database=False),
        )
        try:
            yield stream
        finally:
            stream.close()


@contextlib.contextmanager
def _as_input(sql: str, form: str) -> Iterator[None]:
    try:
        yield
    except WarehouseRefused as error:
        if re.search(r"\bFORMAT\s+\w+$", sql, re.IGNORECASE):
            raise BadInput("the query names a FORMAT: leave it out, --csv and --json choose one") from error
        said = re.sub(rf"\s*FORMAT {form}", "", str(error))
        raise BadInput(f"ClickHouse refuses: {shortened(said)}") from error


def shortened(text: str) -> str:
    """A message of ClickHouse in one line, without its code's decoration, its stack and its version.

    >>> shortened("Code: 62. DB::Exception: Syntax error: at position 1. (SYNTAX_ERROR) (version 26.9 (official))")
    'Syntax error: at position 1 (SYNTAX_ERROR)'
    """
    text = re.sub(r"\s*\(version .*", "", text, flags=re.DOTALL)
    text = re.sub(r"^.*?DB::Exception: (Code: \d+\. DB::Exception: )*", "", text, flags=re.DOTALL)
    text = re.sub(r"\s+", " ", text).strip()
    text = re.sub(r"\. (Expected one of): .*?(?= \([A-Z_]+\)$|$)", "", text)
    text = re.sub(r": While (executing|processing) .*?(?= \([A-Z_]+\)$|$)", "", text, flags=re.IGNORECASE)
    text = re.sub(r"\.? (\([A-Z_]+\))$", r" \1", text)
    return text if len(text) <= 400 else f"{text[:397]}..."
