"""Inserts through the embedded warehouse: success means stored, what fails says so, a retry adds nothing."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

Insert = Callable[[Client, str, Sequence[int]], Any]


def insert_native(client: Client, table: str, values: Sequence[int]) -> None:
    client.insert(table, [[v] for v in values], column_names=["a"], column_type_names=["Int32"])


def insert_csv(client: Client, table: str, values: Sequence[int]) -> None:
    client.raw_insert(table, ["a"], "".join(f"{v}\n" for v in values).encode(), fmt="CSV")


def insert_values(client: Client, table: str, values: Sequence[int]) -> None:
    client.command(f"INSERT INTO {table} VALUES " + ",".join(f"({v})" for v in values))


def insert_select(client: Client, table: str, values: Sequence[int]) -> None:
    client.command(f"INSERT INTO {table} SELECT arrayJoin({list(values)})")


every_insert = pytest.mark.parametrize("insert", [insert_native, insert_csv, insert_values, insert_select])


@pytest.fixture
def create(warehouse: Client, database: str) -> Callable[[str, str], str]:
    def create(name: str, definition: str) -> str:
        warehouse.command(f"CREATE TABLE {database}.{name} {definition}")
        return f"{database}.{name}"

    return create


def count(client: Client, table: str) -> int:
    rows = client.command(f"SELECT count() FROM {table}")
    assert isinstance(rows, int)
    return rows


def refused(client: Client, insert: Insert, table: str, values: Sequence[int]) -> int | None:
    with pytest.raises(DatabaseError) as caught:
        insert(client, table, values)
    code: int | None = caught.value.code
    return code


Create = Callable[[str, str], str]


@every_insert
def test_a_constraint(warehouse: Client, create: Create, insert: Insert) -> None:
    table = create("ck", "(a Int32, CONSTRAINT positive CHECK a > 0) ENGINE = MergeTree ORDER BY a")
    assert refused(warehouse, insert, table, [1, -5]) == 469
    assert count(warehouse, table) == 0
    insert(warehouse, table, [1, 2])
    assert count(warehouse, table) == 2


@every_insert
def test_a_view_that_throws(warehouse: Client, create: Create, database: str, insert: Insert) -> None:
    source = create("src", "(a Int32) ENGINE = MergeTree ORDER BY a")
    target = create("dst", "(a Int32) ENGINE = MergeTree ORDER BY a")
    view = f"SELECT throwIf(a = 3, 'boom') + a AS a FROM {source}"
    warehouse.command(f"CREATE MATERIALIZED VIEW {database}.mv TO {target} AS {view}")
    assert refused(warehouse, insert, source, [1, 3]) == 395
    assert count(warehouse, target) == 0


@every_insert
def test_too_many_partitions(warehouse: Client, create: Create, insert: Insert) -> None:
    table = create("pt", "(a Int32) ENGINE = MergeTree ORDER BY a PARTITION BY a")
    assert refused(warehouse, insert, table, range(200)) == 252
    assert count(warehouse, table) == 0


@every_insert
def test_too_many_parts(warehouse: Client, create: Create, insert: Insert) -> None:
    settings = "parts_to_throw_insert = 2, parts_to_delay_insert = 1, max_delay_to_insert = 1"
    table = create("tp", f"(a Int32) ENGINE = MergeTree ORDER BY a SETTINGS {settings}")
    warehouse.command(f"SYSTEM STOP MERGES {table}")
    insert(warehouse, table, [1])
    insert(warehouse, table, [2])
    assert refused(warehouse, insert, table, [3]) == 252
    assert count(warehouse, table) == 2


WINDOW = "SETTINGS non_replicated_deduplication_window = 100"


def test_the_same_token_stores_once(warehouse: Client, create: Create) -> None:
    table = create("dd", f"(a Int32, b String) ENGINE = MergeTree ORDER BY a {WINDOW}")
    rows = [[1, "x"], [2, "y"]]
    for token, expected in (("t1", 2), ("t1", 2), ("t2", 4), ("t2", 4)):
        warehouse.insert(table, rows, column_names=["a", "b"], settings={"insert_deduplication_token": token})
        assert count(warehouse, table) == expected
    for _ in range(2):  # without a token the content is the token
        warehouse.insert(table, [[9, "x"]], column_names=["a", "b"])
        assert count(warehouse, table) == 5


def test_the_same_token_stores_once_behind_a_view(warehouse: Client, create: Create, database: str) -> None:
    landing = create("dl", f"(a Int32) ENGINE = MergeTree ORDER BY a {WINDOW}")
    staging = create("ds", f"(a Int32) ENGINE = MergeTree ORDER BY a {WINDOW}")
    warehouse.command(f"CREATE MATERIALIZED VIEW {database}.v TO {staging} AS SELECT a FROM {landing} WHERE a > 0")
    for token, expected in (("t1", (2, 1)), ("t1", (2, 1)), ("u1", (4, 2)), ("u1", (4, 2))):
        warehouse.insert(landing, [[1], [0]], column_names=["a"], settings={"insert_deduplication_token": token})
        assert (count(warehouse, landing), count(warehouse, staging)) == expected


def test_tokens_count_for_each_partition(warehouse: Client, create: Create) -> None:
    table = create("dp", f"(a Int32, p Int32) ENGINE = MergeTree ORDER BY a PARTITION BY p {WINDOW}")
    for rows, expected in (([[1, 1], [2, 2]], 2), ([[1, 1], [2, 2]], 2), ([[5, 5]], 3)):
        warehouse.insert(table, rows, column_names=["a", "p"], settings={"insert_deduplication_token": "k"})
        assert count(warehouse, table) == expected


def test_a_replacing_table_with_a_token(warehouse: Client, create: Create) -> None:
    table = create("dr", f"(a Int32, v UInt32) ENGINE = ReplacingMergeTree(v) ORDER BY a {WINDOW}")
    for _ in range(2):
        warehouse.insert(table, [[1, 1]], column_names=["a", "v"], settings={"insert_deduplication_token": "k"})
    assert count(warehouse, table) == 1


def test_inserts_are_synchronous(warehouse: Client, create: Create) -> None:
    table = create("sync", "(a Int32) ENGINE = MergeTree ORDER BY a")
    insert_native(warehouse, table, [1])
    warehouse.command("SYSTEM FLUSH LOGS")
    sql = (
        "SELECT Settings['async_insert'] FROM system.query_log WHERE has(tables, {t:String}) AND query_kind = 'Insert'"
    )
    assert {row[0] for row in warehouse.query(sql, parameters={"t": table}).result_rows} == {"0"}
