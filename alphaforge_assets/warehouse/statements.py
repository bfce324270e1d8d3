"""The SQL files, and the few ways to run one. No other module reads sql/ or sends a statement of its own,
but for the migrator, which has the files of sql/migrations and the history to itself.

A statement is named by its path below sql/ without the ending: `staging/bars` is sql/staging/bars.sql. Values are bound
by the server ({name:Type} in the file); nothing is ever pasted into the text.
"""

import datetime as dt
import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
from clickhouse_connect.driver.client import Client

from alphaforge_assets.warehouse.client import translated

# An installed wheel carries sql/ inside the package; a checkout has it beside the package.
_PACKAGE = Path(__file__).resolve().parents[1]
SQL = _PACKAGE / "sql" if (_PACKAGE / "sql").is_dir() else _PACKAGE.parent / "sql"
MIGRATIONS = SQL / "migrations"


@cache
def text(name: str) -> str:
    """The statement named `name`, such as `staging/bars`."""
    return (SQL / f"{name}.sql").read_text(encoding="utf-8")


def execute(client: Client, name: str, comment: Mapping[str, str] | None = None, /, **parameters: Any) -> None:
    """Run a statement that returns no rows. `comment` joins system.query_log back to who asked.

    Raises WarehouseDown, WarehouseRefused.
    """
    with translated():
        client.command(text(name), parameters=_bound(parameters), settings=_settings(name, comment))


def rows(client: Client, name: str, /, **parameters: Any) -> list[dict[str, Any]]:
    """Rows of a small SELECT, each a dict by column name. Raises WarehouseDown, WarehouseRefused."""
    with translated():
        result = client.query(
            text(name), parameters=_bound(parameters), settings=_settings(name, None), tz_mode="aware"
        )
        return list(result.named_results())


def table(client: Client, name: str, /, **parameters: Any) -> pa.Table:
    """Result of a SELECT as an Arrow table. Raises WarehouseDown, WarehouseRefused."""
    with translated():
        return client.query_arrow(text(name), parameters=_bound(parameters), settings=_settings(name, None))


def stream(client: Client, name: str, /, **parameters: Any) -> pa.Table:
    """`table` for results that fill the memory: blocks are taken as they come, so nothing is held twice.

    Raises WarehouseDown, WarehouseRefused.
    """
    with (
        translated(),
        client.query_arrow_stream(text(name), parameters=_bound(parameters), settings=_settings(name, None)) as blocks,
    ):
        schema = blocks.gen.schema
        return pa.Table.from_batches(list(blocks), schema)


def blocks(client: Client, name: str, /, **parameters: Any) -> Iterator[pa.RecordBatch]:
    """Result of a SELECT block by block, for what no memory holds at once. Raises WarehouseDown, WarehouseRefused."""
    with (
        translated(),
        client.query_arrow_stream(text(name), parameters=_bound(parameters), settings=_settings(name, None)) as stream,
    ):
        yield from stream


def insert(client: Client, table_name: str, data: pa.Table, token: str) -> None:
    """Append `data` to analytics.`table_name`, exactly once for a given `token`, however often it is retried.

    The token must stand for the content: ClickHouse drops other rows under a known token and reports success.
    Raises WarehouseDown, WarehouseRefused.
    """
    settings = {"insert_deduplication_token": token, "insert_deduplicate": 1, "async_insert": 0}
    with translated():
        client.insert_arrow(f"analytics.{table_name}", data, settings=settings)


def _settings(name: str, comment: Mapping[str, str] | None) -> dict[str, Any]:
    return {"log_comment": json.dumps({"statement": name, **(comment or {})})}


def _bound(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Aware datetimes of any zone, as UTC text with milliseconds: what DateTime64(3, 'UTC') reads."""
    return {k: _utc_text(v) if isinstance(v, dt.datetime) else v for k, v in parameters.items()}


def _utc_text(moment: dt.datetime) -> str:
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} has no time zone")
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def native(client: Client, name: str, /, **parameters: Any) -> bytes:
    """Result of a SELECT in ClickHouse's own format, every bit of it. Raises WarehouseDown, WarehouseRefused."""
    with translated():
        return client.raw_query(text(name), parameters=_bound(parameters), settings=_settings(name, None), fmt="Native")


def insert_native(client: Client, table_name: str, data: bytes) -> None:
    """Append what `native` gave to analytics.`table_name`, whatever was inserted before.

    Raises WarehouseDown, WarehouseRefused.
    """
    with translated():
        client.raw_insert(
            f"analytics.{table_name}", insert_block=data, fmt="Native", settings={"insert_deduplicate": 0}
        )
