"""Finding, starting and leaving a warehouse."""

from clickhouse_connect.driver.client import Client


def test_warehouse_answers(warehouse: Client) -> None:
    assert warehouse.query("SELECT 1").result_rows == [(1,)]


def test_fresh_warehouse_is_empty(fresh_warehouse: Client) -> None:
    names = {row[0] for row in fresh_warehouse.query("SHOW DATABASES").result_rows}
    assert names == {"default", "system", "information_schema", "INFORMATION_SCHEMA"}
