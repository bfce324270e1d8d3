"""People's own SELECTs: the server refuses whatever would change something, and says so in a line."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from alphaforge_assets.errors import BadInput
from alphaforge_assets.warehouse.questions import asked, shortened


def answer(client: Client, sql: str, parameters: Mapping[str, str] | None = None) -> Any:
    with asked(client, sql, "JSONEachRow", parameters or {}) as stream:
        return [json.loads(line) for line in stream.read().splitlines()]


@pytest.fixture(autouse=True)
def analytics(warehouse: Client) -> None:
    """The database that questions start in."""
    warehouse.command("CREATE DATABASE IF NOT EXISTS analytics")


def test_an_answer_is_read_and_values_are_bound_by_the_server(warehouse: Client) -> None:
    assert answer(warehouse, "SELECT {n:UInt8} + 1 AS n, {s:String} AS s", {"n": "2", "s": "' OR 1 --"}) == [
        {"n": 3, "s": "' OR 1 --"}
    ]
    assert answer(warehouse, "SELECT arrayJoin({xs:Array(UInt8)}) AS x", {"xs": "[1,2]"}) == [{"x": 1}, {"x": 2}]
    assert answer(warehouse, "SELECT getSetting('readonly') AS readonly") == [{"readonly": 1}]


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO {db}.kept VALUES (2)",
        "INSERT INTO {db}.kept SELECT 2",
        "DROP TABLE {db}.kept",
        "DROP DATABASE {db}",
        "TRUNCATE TABLE {db}.kept",
        "ALTER TABLE {db}.kept DELETE WHERE 1",
        "ALTER TABLE {db}.kept ADD COLUMN b UInt8",
        "RENAME TABLE {db}.kept TO {db}.lost",
        "CREATE TABLE {db}.other (a UInt8) ENGINE = Memory",
        "CREATE OR REPLACE VIEW {db}.other AS SELECT 1",
        "OPTIMIZE TABLE {db}.kept FINAL",
        "SYSTEM FLUSH LOGS",
        "SET max_threads = 1",
        "SET readonly = 0",
        "SELECT 1 SETTINGS max_threads = 1",
        "SELECT 1 SETTINGS readonly = 0",
        "SELECT * FROM file('/etc/hostname')",
        "SELECT * FROM url('http://127.0.0.1:1/', 'CSV', 'a String')",
        "SELECT 1 INTO OUTFILE '/nowhere'",
        "SELECT 1; DROP TABLE {db}.kept",
        "SELEC 1",
        "SELECT nothing FROM {db}.kept",
        "SELECT * FROM {db}.kpt",
        "SELECT {{x:String}}",
        "SELECT 1 FORMAT CSV",
        "SELECT throwIf(number = 3) FROM numbers(10)",
    ],
)
def test_everything_but_a_question_is_refused_and_changes_nothing(
    warehouse: Client, database: str, statement: str
) -> None:
    warehouse.command(
        "CREATE TABLE {db:Identifier}.kept (a UInt8) ENGINE = MergeTree ORDER BY a AS SELECT 1", {"db": database}
    )
    with pytest.raises(BadInput) as refused:
        answer(warehouse, statement.format(db=database))
    said = str(refused.value)
    assert "\n" not in said
    assert "DB::Exception" not in said
    assert "version" not in said
    assert len(said) < 450
    kept = {"db": database}
    assert warehouse.query("SELECT * FROM {db:Identifier}.kept", kept).result_rows == [(1,)]
    assert warehouse.query("SELECT count() FROM system.tables WHERE database = {db:String}", kept).result_rows == [(1,)]


def test_a_message_is_shortened_to_its_reason() -> None:
    said = (
        "Code: 62. DB::Exception: Syntax error: at position 1.\n Expected one of: a, b. (SYNTAX_ERROR) (version 1 (x))"
    )
    assert shortened(said) == "Syntax error: at position 1 (SYNTAX_ERROR)"
    assert shortened("Code: 1. DB::Exception: Code: 2. DB::Exception: no (READONLY)") == "no (READONLY)"
