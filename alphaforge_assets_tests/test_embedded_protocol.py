"""The unmodified clickhouse-connect client, sync and async, against the embedded warehouse."""

import asyncio
import datetime as dt
import gzip
import http.client
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import clickhouse_connect
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError, ProgrammingError, StreamFailureError
from clickhouse_connect.driver.external import ExternalData

from alphaforge_assets.warehouse.embedded.engine import SESSIONS_MAX
from alphaforge_assets.warehouse.local import running

Connect = Callable[..., Client]
EPOCH = dt.datetime.fromisoformat("2024-01-01")  # without a zone, as ClickHouse's DateTime comes back


@pytest.fixture
def address(warehouse_home: Path, warehouse: Client) -> dict[str, Any]:
    """What `clickhouse_connect.get_client` needs to reach the session's server."""
    found = running(warehouse_home / "warehouse")
    assert found is not None
    return {"host": found.host, "port": found.port, "username": found.user, "password": found.password}


@pytest.fixture
def connect(address: dict[str, Any]) -> Iterator[Connect]:
    """Clients made by clickhouse-connect itself, with its own defaults: sessions, compression."""
    clients: list[Client] = []

    def connect(**options: Any) -> Client:
        clients.append(clickhouse_connect.get_client(**address | options))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


@pytest.fixture
def client(connect: Connect, database: str) -> Client:
    """A client with a session, standing in a database of the test's own with a table `t`."""
    client = connect(database=database)
    client.command(
        "CREATE TABLE t (id UInt64, s LowCardinality(String), d DateTime, d3 DateTime64(3), n Nullable(Float64),"
        " a Array(String)) ENGINE = MergeTree ORDER BY id"
    )
    return client


def frame(start: int = 10) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": np.arange(start, start + 10, dtype="u8"),
            "s": ["q"] * 10,
            "d": pd.date_range(EPOCH, periods=10, freq="h"),
            "d3": pd.date_range(EPOCH, periods=10, freq="ms"),
            "n": [1.0, None] * 5,
            "a": [["z"]] * 10,
        }
    )


def arrow() -> pa.Table:
    return pa.table(
        {
            "id": pa.array([100, 101], pa.uint64()),
            "s": ["x", "y"],
            "d": pa.array([0, 1], pa.timestamp("s")),
            "d3": pa.array([0, 1], pa.timestamp("ms")),
            "n": [1.0, None],
            "a": [["k"], []],
        }
    )


def code_of(call: Callable[[], Any]) -> int | None:
    with pytest.raises(DatabaseError) as caught:
        call()
    code: int | None = caught.value.code
    return code


def test_ping_and_version(client: Client) -> None:
    assert client.ping()
    assert client.server_version.startswith("26.")
    assert str(client.server_tz) == "UTC"


def test_commands(client: Client) -> None:
    assert client.command("SELECT 1") == 1
    assert client.command("SELECT 1 WHERE 0") == ""
    assert client.command("SELECT 'a', 2") == ["a", "2"]
    assert client.command("EXISTS TABLE t") == 1
    assert client.query("SHOW TABLES").result_rows == [("t",)]
    assert len(client.query("DESCRIBE TABLE t").result_rows) == 6


def test_insert_rows(client: Client) -> None:
    rows = [
        [1, "a", EPOCH, EPOCH + dt.timedelta(milliseconds=123), None, ["x", "y"]],
        [2, "b", EPOCH + dt.timedelta(days=1), EPOCH, 1.5, []],
    ]
    assert client.insert("t", rows).written_rows == 2
    assert [list(row) for row in client.query("SELECT * FROM t ORDER BY id").result_rows] == rows


def test_insert_frames_and_read_them(client: Client) -> None:
    assert client.insert_df("t", frame()).written_rows == 10
    assert client.insert_arrow("t", arrow()).written_rows == 2
    assert client.insert_df_arrow("t", pl.from_arrow(arrow())).written_rows == 2
    sql = "SELECT * FROM t ORDER BY id"
    read = client.query_df(sql)
    assert read.shape == (14, 6)
    pd.testing.assert_frame_equal(read[["id", "n"]].head(10), frame()[["id", "n"]])
    assert client.query_arrow(sql).column("id").to_pylist() == [*range(10, 20), 100, 100, 101, 101]
    assert client.query_df_arrow(sql, dataframe_library="polars").shape == (14, 6)
    assert client.query_np("SELECT id FROM t ORDER BY id").shape == (14, 1)


@pytest.mark.parametrize("compress", ["lz4", "zstd", "gzip", True, False])
def test_compression(connect: Connect, client: Client, database: str, compress: Any) -> None:
    other = connect(compress=compress, database=database)
    context = other.create_insert_context("t", ["id"], column_oriented=True, data=[list(range(30_000))])
    context.block_row_count = 10_000  # three blocks, one frame each, chained in one body
    other.insert(context=context)
    assert other.query_df("SELECT id FROM t ORDER BY id")["id"].tolist() == list(range(30_000))


def test_parameters(client: Client) -> None:
    text, texts = "it's\ttab\nnl\\ \"é {x:Int8}", ["a'b", "c\\d"]
    row = client.query(
        "SELECT {a:UInt32}, {s:String}, {d:DateTime}, {l:Array(String)}, {n:Nullable(String)}",
        parameters={"a": 5, "s": text, "d": EPOCH, "l": texts, "n": None},
    ).result_rows[0]
    assert row == (5, text, EPOCH, texts, None)
    assert client.query("SELECT %(a)s, %(s)s", parameters={"a": 5, "s": "it's"}).result_rows == [(5, "it's")]
    assert client.command("SELECT count() FROM {t:Identifier}", parameters={"t": "t"}) == 0


def test_parameters_in_an_insert(client: Client) -> None:
    client.command("INSERT INTO t (id, s) VALUES ({id:UInt64}, {s:String})", parameters={"id": 7, "s": "it's; x"})
    assert client.query("SELECT id, s FROM t").result_rows == [(7, "it's; x")]


def test_long_parameters_come_as_a_form(client: Client) -> None:
    client.insert_df("t", frame())
    ids = list(range(50_000))
    sql = "SELECT count() FROM t WHERE has({l:Array(UInt64)}, id)"
    assert client.query(sql, parameters={"l": ids}).result_rows == [(10,)]


def test_settings_are_for_one_request(warehouse: Client) -> None:
    sql = "SELECT getSetting('max_threads'), getSetting('max_block_size')"
    before = warehouse.query(sql).result_rows
    assert warehouse.query(sql, settings={"max_threads": 1, "max_block_size": 123}).result_rows == [(1, 123)]
    assert [warehouse.query(sql).result_rows for _ in range(5)] == [before] * 5


def test_a_request_with_a_bad_setting_spoils_nothing(warehouse: Client) -> None:
    sql = "SELECT getSetting('max_block_size')"
    before = warehouse.command(sql)
    for _ in range(3):
        assert code_of(lambda: warehouse.command(sql, settings={"max_block_size": "many"})) is not None
        assert warehouse.command(sql) == before


def test_read_only_is_for_one_request(warehouse: Client, database: str) -> None:
    sql = f"CREATE TABLE {database}.r (a Int8) ENGINE = Memory"
    assert code_of(lambda: warehouse.command(sql, settings={"readonly": 1})) == 164
    warehouse.command(sql)


def test_databases(connect: Connect, client: Client, database: str) -> None:
    assert connect(database=database).query("SELECT count() FROM t").result_rows == [(0,)]
    assert code_of(lambda: connect(database="nowhere").query("SELECT 1")) == 81


def test_codes_and_names_of_errors(client: Client) -> None:
    assert code_of(lambda: client.query("SELECT * FROM nope")) == 60
    assert code_of(lambda: client.query("SELEC 1")) == 62
    assert code_of(lambda: client.query("SELECT nofunction(1)")) == 46
    assert code_of(lambda: client.query("SELECT 1", settings={"nope": 1})) == 115
    assert code_of(lambda: client.insert("nope", [[1]], column_names=["a"], column_type_names=["UInt8"])) == 60
    assert code_of(lambda: client.raw_insert("t", ["id", "s"], b"1,a\nzz,b\n", fmt="CSV")) == 27
    with pytest.raises(DatabaseError) as caught:
        client.query("SELECT * FROM nope")
    assert caught.value.name == "UNKNOWN_TABLE"
    assert client.command("SELECT 1") == 1


def test_raw_queries_in_many_formats(client: Client) -> None:
    sql = "SELECT 1 AS x, 2 AS y"
    assert b'"meta"' in client.raw_query(sql, fmt="JSON")
    assert client.raw_query(sql, fmt="CSVWithNames") == b'"x","y"\n1,2\n'
    assert client.raw_query(sql + " FORMAT TabSeparated") == b"1\t2\n"
    assert client.raw_query(sql, fmt="Parquet")[:4] == b"PAR1"
    assert client.raw_stream("SELECT number FROM numbers(1000)", fmt="CSV").read() == b"".join(
        b"%d\n" % n for n in range(1000)
    )


def test_raw_inserts(client: Client) -> None:
    parquet = client.raw_query("SELECT toUInt64(7) AS id, 'p' AS s", fmt="Parquet")
    assert client.raw_insert("t", ["id", "s"], (c for c in [b"200,a\n", b"201,b\n"]), fmt="CSV").written_rows == 2
    assert client.raw_insert("t", ["id", "s"], parquet, fmt="Parquet").written_rows == 1
    zipped = gzip.compress(b"300,a\n301,b\n")
    assert client.raw_insert("t", ["id", "s"], zipped, fmt="CSV", compression="gzip").written_rows == 2
    client.command("INSERT INTO t (id, s) VALUES (400, 'v; FORMAT CSV')")
    client.command("INSERT INTO t (id, s) FORMAT CSV", data="401,zz\n")
    client.command("INSERT INTO t (id, s) SELECT number, 'q' FROM numbers(1000, 10)")
    client.query("INSERT INTO t (id, s) VALUES (402, 'x')")
    ids = [row[0] for row in client.query("SELECT id FROM t ORDER BY id").result_rows]
    assert ids == [7, 200, 201, 300, 301, 400, 401, 402, *range(1000, 1010)]


def test_no_rows(client: Client) -> None:
    assert client.query("SELECT 1 AS a WHERE 0").result_rows == []
    assert client.query_arrow("SELECT 1 AS a WHERE 0").schema.names == ["a"]
    assert client.query("SELECT id, s FROM t LIMIT 0").column_names == ("id", "s")


def test_sessions_keep_their_tables_and_settings(connect: Connect, client: Client) -> None:
    client.command("CREATE TEMPORARY TABLE tt (a Int32)")
    client.insert("tt", [[1], [2]], column_names=["a"])
    assert client.command("SELECT sum(a) FROM tt") == 3
    assert code_of(lambda: connect().query("SELECT * FROM tt")) == 60
    client.command("SET max_threads = 3")
    assert client.command("SELECT getSetting('max_threads')") == 3
    assert client.command("SELECT getSetting('max_threads')", settings={"max_threads": 1}) == 1
    assert client.command("SELECT getSetting('max_threads')") == 3


def test_idle_sessions_give_way_but_for_those_that_would_be_missed(connect: Connect, client: Client) -> None:
    client.command("CREATE TEMPORARY TABLE mine (x UInt8)")
    for _ in range(SESSIONS_MAX + 50):
        assert connect().command("SELECT 1") == 1
    assert client.command("SELECT count() FROM mine") == 0


def test_without_a_session_nothing_is_kept(warehouse: Client) -> None:
    before = warehouse.command("SELECT getSetting('max_threads')")
    warehouse.command("SET max_threads = 7")
    warehouse.command("USE system")
    warehouse.command("CREATE TEMPORARY TABLE kept (a Int32)")
    for _ in range(5):
        assert warehouse.command("SELECT getSetting('max_threads')") == before
        assert warehouse.command("SELECT currentDatabase()") == "default"
        assert code_of(lambda: warehouse.query("SELECT * FROM kept")) == 60


def test_a_session_serves_one_request_at_a_time(connect: Connect) -> None:
    slow, other = connect(session_id="same"), connect(session_id="same")
    started = threading.Thread(target=lambda: slow.query("SELECT sleep(1)"))
    started.start()
    until(lambda: warehouse_runs(connect, "sleep(1)") == 1)
    assert code_of(lambda: other.query("SELECT 1")) == 373
    started.join()
    assert other.command("SELECT 1") == 1


def until(condition: Callable[[], bool]) -> None:
    """Wait for what must come, and fail when it has not come for long."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited for a minute in vain"
        time.sleep(0.02)


def warehouse_runs(connect: Connect, text: str) -> int:
    """How many queries with `text` in them run now."""
    sql = "SELECT count() FROM system.processes WHERE position(query, {t:String}) > 0 AND query NOT LIKE '%processes%'"
    count = connect(autogenerate_session_id=False).command(sql, parameters={"t": text})
    assert isinstance(count, int)
    return count


def test_external_data(client: Client) -> None:
    data = ExternalData(file_name="ext.csv", data=b"1\n2\n3\n", fmt="CSV", structure="x UInt32")
    assert client.query("SELECT sum(x) FROM ext", external_data=data).result_rows == [(6,)]


def test_external_data_with_types_alone(client: Client) -> None:
    data = ExternalData(file_name="a.csv", data=b"x,1\ny,2\n", fmt="CSV", types="String,Decimal(9, 3)")
    data.add_file(file_name="b.csv", data=b"2,z\n", fmt="CSV", structure=["n UInt8", "s String"])
    sql = "SELECT _1, s FROM a JOIN b ON a._2 = b.n"
    assert client.query(sql, external_data=data).result_rows == [("y", "z")]


def test_data_in_a_statement_may_be_any_bytes(client: Client) -> None:
    parquet = client.raw_query("SELECT 'it''s' AS a, 7 AS b", fmt="Parquet")
    parameters = {"$x$": parquet, "$y$": bytes(range(256))}
    sql = "SELECT a, b, hex($y$) AS y FROM format(Parquet, $x$)"
    row = ("it's", 7, bytes(range(256)).hex().upper())
    assert client.query(sql, parameters=parameters).result_rows == [row]
    assert client.query_arrow(sql, parameters=parameters).num_rows == 1


def test_a_name_with_quotes_in_it(client: Client) -> None:
    name = "`it\\`s \\\\ \\'x\\'`"
    client.command(f"CREATE TABLE {name} (a Int8) ENGINE = Memory")
    client.command(f"INSERT INTO {name} (a) VALUES (1)")
    assert client.command(f"SELECT count() FROM {name}") == 1
    assert ("it`s \\ 'x'",) in client.query("SHOW TABLES").result_rows


def test_a_request_names_its_database_and_use_the_sessions(client: Client, database: str) -> None:
    sql = "SELECT currentDatabase()"
    assert client.command(sql) == database
    client.database = None
    assert client.command(sql) == "default"
    client.command("USE system")
    assert client.command(sql) == "system"
    assert client.query("SHOW TABLES FROM system LIKE 'one'").result_rows == [("one",)]
    client.database = database
    assert client.command(sql) == database
    client.database = None
    assert code_of(lambda: client.command("USE nowhere")) == 81
    assert client.command(sql) == "system"


def test_times_come_in_the_time_zone_of_the_session(connect: Connect) -> None:
    client = connect()
    sql = "SELECT toDateTime(0)"
    there = {"session_timezone": "Asia/Tokyo"}

    def hour(**options: Any) -> int:
        found = client.query(sql, **options).first_row[0]
        assert isinstance(found, dt.datetime)
        return found.hour

    assert (hour(), hour(settings=there), hour()) == (0, 9, 0)
    client.command("SET session_timezone = 'America/New_York'")
    assert (hour(), hour(settings=there), hour()) == (19, 9, 19)


def test_query_ids(client: Client) -> None:
    assert client.query("SELECT 42", settings={"query_id": "my-q-1"}).query_id == "my-q-1"
    client.command("SYSTEM FLUSH LOGS")
    sql = "SELECT DISTINCT query FROM system.query_log WHERE log_comment = 'my-q-1' AND type = 'QueryFinish'"
    assert client.command(sql).startswith("SELECT 42")


def test_the_logs_forget(warehouse: Client) -> None:
    warehouse.command("SYSTEM FLUSH LOGS")
    sql = "SELECT name, engine_full LIKE '% TTL %' FROM system.tables WHERE database = 'system' AND name LIKE '%\\_log'"
    tables = dict(warehouse.query(sql + " AND engine LIKE '%MergeTree'").result_rows)
    assert tables == {"query_log": 1, "part_log": 1}


def test_streams(client: Client) -> None:
    sql = "SELECT number, toString(number) AS s FROM numbers(300000)"
    with client.query_df_stream(sql) as frames:
        assert sum(len(f) for f in frames) == 300_000
    with client.query_arrow_stream(sql) as batches:
        assert sum(b.num_rows for b in batches) == 300_000


def test_a_failure_in_mid_stream(client: Client) -> None:
    sql = "SELECT throwIf(number = 5000000, 'boom'), number FROM numbers(10000000)"
    rows = 0

    def read() -> None:
        nonlocal rows
        with client.query_row_block_stream(sql, settings={"max_block_size": 65536}) as blocks:
            for block in blocks:
                rows += len(block)

    with pytest.raises(StreamFailureError, match="boom"):
        read()
    assert 0 < rows <= 5_000_000
    assert code_of(lambda: client.query(sql)) == 395  # asked for whole, the same failure has a status


def test_an_abandoned_stream_ends_its_query(connect: Connect, address: dict[str, Any]) -> None:
    # by hand, because clickhouse-connect reads an abandoned stream to its end before it lets go
    connection = http.client.HTTPConnection(address["host"], address["port"])
    headers = {"X-ClickHouse-User": "default", "X-ClickHouse-Key": address["password"]}
    connection.request("POST", "/", "SELECT number, 'abandoned' FROM numbers(100000000000) FORMAT CSV", headers)
    response = connection.getresponse()
    assert response.read(14) == b'0,"abandoned"\n'
    assert warehouse_runs(connect, "abandoned") == 1
    response.close()
    connection.close()
    until(lambda: warehouse_runs(connect, "abandoned") == 0)


def test_one_session_is_not_for_two_threads(connect: Connect) -> None:
    client = connect()
    failures: list[Exception] = []
    barrier = threading.Barrier(2)

    def ask() -> None:
        barrier.wait()
        try:
            client.query("SELECT sleep(0.5)")
        except (ProgrammingError, DatabaseError) as error:
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(failures) == 1


def test_sessionless_queries_run_in_parallel(connect: Connect, warehouse: Client) -> None:
    """Six queries through one client, each long enough to be seen beside the five others."""
    sql = "SELECT sleepEachRow(0.2), 'six' FROM numbers(150) SETTINGS max_block_size = 1"
    threads = [threading.Thread(target=lambda: code_of(lambda: warehouse.query(sql))) for _ in range(6)]
    for thread in threads:
        thread.start()
    until(lambda: warehouse_runs(connect, "six") == 6)
    warehouse.command("KILL QUERY WHERE query LIKE '%six%' AND query NOT LIKE '%KILL%' SYNC")
    for thread in threads:
        thread.join()


def test_limits_of_a_query(client: Client) -> None:
    slow = "SELECT count() FROM numbers(100000000000) WHERE sipHash64(number) = 1"
    assert code_of(lambda: client.query(slow, settings={"max_execution_time": 1})) == 159
    big = "SELECT groupArray(number) FROM numbers(100000000)"
    assert code_of(lambda: client.query(big, settings={"max_memory_usage": 100_000_000})) == 241


@pytest.mark.parametrize("comment", [None, '{"run": "a"}'])
def test_a_client_that_gives_up_ends_its_query(connect: Connect, comment: str | None) -> None:
    impatient = connect(send_receive_timeout=1, query_retries=0)
    settings = {"log_comment": comment} if comment else {}
    with pytest.raises(OperationalError):
        impatient.query("SELECT count(), 'impatient' FROM numbers(1000000000000)", settings=settings)
    impatient.close_connections()
    until(lambda: warehouse_runs(connect, "impatient") == 0)


def test_a_long_statement(client: Client) -> None:
    rows = ", ".join(f"({n}, 'a;b')" for n in range(30_000))
    client.command(f"INSERT INTO t (id, s) VALUES {rows}")
    assert client.command("SELECT count(), uniqExact(id) FROM t") == ["30000", "30000"]


def test_the_async_client(address: dict[str, Any], client: Client, database: str) -> None:
    async def read(other: Any) -> None:
        sql = "SELECT throwIf(number = 5000000, 'boom'), number FROM numbers(10000000)"
        async with await other.query_row_block_stream(sql, settings={"max_block_size": 65536}) as blocks:
            async for _ in blocks:
                pass

    async def check() -> None:
        other = await clickhouse_connect.get_async_client(**address, database=database, autogenerate_session_id=False)
        try:
            assert (await other.query("SELECT {a:Int8}", parameters={"a": 3})).result_rows == [(3,)]
            assert (await other.insert("t", [[9]], column_names=["id"])).written_rows == 1
            assert (await other.insert_df("t", frame())).written_rows == 10
            assert (await other.insert_arrow("t", arrow())).written_rows == 2
            assert (await other.query_df("SELECT * FROM t")).shape == (13, 6)
            assert (await other.query_arrow("SELECT * FROM t")).num_rows == 13
            assert await other.command("SELECT count() FROM t") == 13
            answers = await asyncio.gather(*(other.query(f"SELECT {n}, sleep(0.1)") for n in range(6)))
            assert [answer.result_rows[0][0] for answer in answers] == list(range(6))
            with pytest.raises(DatabaseError) as caught:
                await other.query("SELECT * FROM nope")
            assert caught.value.code == 60
            async with await other.query_df_stream("SELECT number FROM numbers(200000)") as frames:
                assert sum([len(f) async for f in frames]) == 200_000
            with pytest.raises(StreamFailureError, match="boom"):
                await read(other)
        finally:
            await other.close()

    asyncio.run(check())


@pytest.mark.parametrize("format", ["Arrow", "Parquet", "JSON", "Native", "CSV", "RowBinary"])
def test_parameters_reach_a_query_in_every_format(warehouse: Client, format: str) -> None:
    text = "it's\ttab"
    query = "SELECT {text:String} AS text, {number:UInt8} AS number"
    assert warehouse.raw_query(query, parameters={"text": text, "number": 7}, fmt=format)
    table = warehouse.query_arrow(query, parameters={"text": text, "number": 7})
    assert table.to_pylist() == [{"text": text, "number": 7}]
