"""What the embedded warehouse does not do, however it is asked: two statements, files, addresses, programs, pages."""

import http.client
import urllib.parse
from collections.abc import Callable
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError
from clickhouse_connect.driver.external import ExternalData

from alphaforge_assets.warehouse.local import Address, running

Request = Callable[..., tuple[int, str]]
REFUSED = (36, 62, 115, 344, 452, 497)  # bad argument, syntax, unknown or disabled or constant setting, no privilege

ATTACKS = {
    "two statements": "SELECT 1; DROP TABLE {db}.t",
    "two statements, comment between": "SELECT 1;/* */DROP TABLE {db}.t",
    "two statements, nested comment": "SELECT 1 /* /* */ ; */ ; DROP TABLE {db}.t",
    "two statements after values": "INSERT INTO {db}.t VALUES ('a'); DROP TABLE {db}.t",
    "two statements around a heredoc": "SELECT $x$ ; $x$; DROP TABLE {db}.t",
    "file()": "SELECT * FROM file('{secret}', 'LineAsString')",
    "FILE()": "SELECT * FROM FiLe ('{secret}', 'LineAsString')",
    "scalar file()": "SELECT file('{secret}')",
    "scalar file(), comment": "SELECT file/* x */('{secret}')",
    "scalar file(), quoted": "SELECT \"file\"('{secret}')",
    "scalar file(), escaped": "SELECT `f\\x69le`('{secret}')",
    "scalar file(), typographic quotes": "SELECT “file”('{secret}')",
    "scalar file(), no-break space": "SELECT file\u00a0('{secret}')",
    "scalar file(), in a subquery": "SELECT (SELECT file('{secret}') WHERE 1 IN (SELECT 1))",
    "scalar file(), in values": "INSERT INTO {db}.t VALUES (file('{secret}'))",
    "scalar file(), in values behind a format": "INSERT INTO {db}.t FORMAT Values\n(file('{secret}'))",
    "scalar file(), in a lambda": "SELECT arrayMap(x -> file(x), ['{secret}'])",
    "scalar file(), in a default": "CREATE TABLE {db}.u (a Int8, b String DEFAULT file('{secret}')) ENGINE = Memory",
    "scalar file(), in a structure": "SELECT a FROM values('a String ALIAS file(''{secret}''), b Int8', 1)",
    "scalar file(), in a joined structure": "SELECT a FROM values(concat('a String ALIAS fi', 'le()'), 1)",
    "scalar file(), in a data structure": "SELECT * FROM format(TSV, 'a String, b String DEFAULT file(1)', 'x')",
    "scalar file(), in a comma join": "SELECT * FROM system.one, format('TSV', 'a String DEFAULT file(1)', '')",
    "scalar file(), in data that is SQL": "SELECT * FROM format(Values, '(file(''{secret}''))')",
    "scalar file(), in data put together": "SELECT * FROM format(CSV, concat('a', file('{secret}')))",
    "scalar file(), in a structure of data": "SELECT * FROM format(CSV, 'a String DEFAULT file(1)', $x$a$x$)",
    "scalar file(), escaped behind a quote": "SELECT `f\\`le`(1), `f\\x69le`('{secret}')",
    "scalar file(), as a filter": "SELECT 1 SETTINGS additional_result_filter = 'file(''{secret}'') = ''x'''",
    "scalar file(), as a row policy": "SELECT 1 SETTINGS additional_table_filters = {{'system.one': 'file(1) = 1'}}",
    "scalar file(), by SET": "SET additional_result_filter = '1'",
    "scalar file(), without a bracket": "SELECT * APPLY file FROM (SELECT '{secret}' AS a)",
    "scalar file(), applied, quoted": "SELECT COLUMNS('a') APPLY(`file`) FROM (SELECT '{secret}' AS a)",
    "scalar file(), applied, escaped": "SELECT * APPLY `f\\x69le` FROM (SELECT '{secret}' AS a)",
    "scalar file(), as an argument": "SELECT arrayMap(file, ['{secret}'])",
    "scalar file(), in what is selected instead": "SELECT 1 SETTINGS select = 'file(''{secret}'')'",
    "scalar file(), in an order": "SELECT 1 SETTINGS order = 'file(''{secret}'')'",
    "scalar file(), in a filter of a subquery": "SELECT * FROM (SELECT 1 SETTINGS filter = 'file(''{secret}'') = 1')",
    "scalar file(), the same, quoted": "SELECT * FROM (SELECT 1 SETTINGS `select` /* */ = 'file(''{secret}'')')",
    "scalar file(), in values of another spelling": "INSERT INTO {db}.t FORMAT values\n(file('{secret}'))",
    "scalar file(), in values by a setting": "INSERT INTO {db}.t SETTINGS input_format_values_interpret_expressions = 1"
    " FORMAT Values\n(file('{secret}'))",
    "scalar file(), in a template of values": "INSERT INTO {db}.t SETTINGS input_format_null_as_default = 0"
    " FORMAT Values\n(concat(file('{secret}'), 'x'))",
    "scalar file(), in values called CSV": "INSERT INTO {db}.t SETTINGS input_format = 'Values'"
    " FORMAT CSV\n(file('{secret}'))",
    "rows that went wrong, to a file": "INSERT INTO {db}.i SETTINGS input_format_allow_errors_num = 9,"
    " input_format_record_errors_file_path = '{target}' FORMAT CSV\nabc\n",
    "schemas of Avro from an address": "INSERT INTO {db}.t SETTINGS format_avro_schema_registry_url = 'http://127.0.0.1:1'"
    " FORMAT AvroConfluent\n\0\0\0\0\1abc",
    "a table that runs what is inserted": "CREATE TABLE {db}.u (query String) ENGINE = QueryRunner",
    "an engine without arguments": "CREATE TABLE {db}.u (a String) ENGINE URL",
    "a database without arguments": "CREATE DATABASE u ENGINE = Filesystem",
    "input()": "INSERT INTO {db}.t SELECT a FROM input('a String DEFAULT file(''{secret}'')') FORMAT CSV x",
    "a path as a table": "SELECT * FROM `{secret}`",
    "a path as a table of default": "SELECT * FROM default.`{secret}`",
    "a path as a table of the overlay": "SELECT * FROM overlay.`{secret}`",
    "INTO OUTFILE": "SELECT 1 INTO OUTFILE '{target}'",
    "INTO OUTFILE, comment": "SELECT 1 INTO/**/OUTFILE '{target}' FORMAT CSV",
    "EXPLAIN INTO OUTFILE": "EXPLAIN SELECT 1 INTO OUTFILE '{target}'",
    "FROM INFILE": "INSERT INTO {db}.t FROM INFILE '{secret}' FORMAT LineAsString",
    "INSERT INTO FUNCTION file": "INSERT INTO FUNCTION file('{target}', CSV, 'a Int8') SELECT 1",
    "INSERT INTO FUNCTION file, data": "INSERT INTO FUNCTION file('{target}', CSV, 'a Int8') FORMAT CSV 1",
    "INSERT INTO TABLE FUNCTION url": "INSERT INTO TABLE FUNCTION url('http://127.0.0.1:1/', CSV, 'a Int8') SELECT 1",
    "url()": "SELECT * FROM url('http://127.0.0.1:1/', CSV, 'a Int8')",
    "urlCluster()": "SELECT * FROM urlCluster('default', 'http://127.0.0.1:1/', CSV, 'a Int8')",
    "s3()": "SELECT * FROM s3('http://127.0.0.1:1/bucket/key', CSV, 'a Int8')",
    "remote()": "SELECT * FROM remote('127.0.0.1:9000', system.one)",
    "remoteSecure()": "SELECT * FROM remoteSecure('127.0.0.1:9440', system.one)",
    "mysql()": "SELECT * FROM mysql('127.0.0.1:3306', 'd', 't', 'u', 'p')",
    "postgresql()": "SELECT * FROM postgresql('127.0.0.1:5432', 'd', 't', 'u', 'p')",
    "sqlite()": "SELECT * FROM sqlite('{target}', 't')",
    "ENGINE = SQLite": "CREATE TABLE {db}.u (a Int8) ENGINE = SQLite('{target}', 't')",
    "a database of SQLite": "CREATE DATABASE u ENGINE = SQLite('{target}')",
    "ENGINE = FileLog": "CREATE TABLE {db}.u (a String) ENGINE = FileLog('{target}', 'LineAsString')",
    "ENGINE = EmbeddedRocksDB": "CREATE TABLE {db}.u (a Int8) ENGINE = EmbeddedRocksDB(0, '{target}') PRIMARY KEY a",
    "hdfs()": "SELECT * FROM hdfs('hdfs://127.0.0.1:1/x', CSV, 'a Int8')",
    "executable()": "SELECT * FROM executable('ls', TSV, 'a String')",
    "python()": "SELECT * FROM python(os)",
    "eval()": "SELECT * FROM eval('SELECT 1') SETTINGS allow_experimental_eval_table_function = 1",
    "icebergLocal()": "SELECT * FROM icebergLocal('{secret}')",
    "deltaLakeLocal()": "SELECT * FROM deltaLakeLocal('{secret}')",
    "filesystem()": "SELECT * FROM filesystem('/etc')",
    "a nested table function": "SELECT * FROM view(SELECT * FROM (SELECT * FROM file('{secret}', 'LineAsString')))",
    "DESCRIBE": "DESCRIBE TABLE file('{secret}')",
    "a table like a file": "CREATE TABLE {db}.u AS file('{secret}', 'LineAsString')",
    "ENGINE = File": "CREATE TABLE {db}.u (a Int8) ENGINE = File(CSV)",
    "ENGINE = File with a path": "CREATE TABLE {db}.u (a Int8) ENGINE = File(CSV, '{secret}')",
    "ENGINE = URL": "CREATE TABLE {db}.u (a Int8) ENGINE = URL('http://127.0.0.1:1/', CSV)",
    "ENGINE = Executable": "CREATE TABLE {db}.u (a String) ENGINE = Executable('ls', TSV)",
    "ENGINE = Python": "CREATE TABLE {db}.u (a String) ENGINE = Python(os)",
    "a database of files": "CREATE DATABASE u ENGINE = Filesystem('/etc')",
    "a database elsewhere": "CREATE DATABASE u ENGINE = MySQL('127.0.0.1:3306', 'd', 'u', 'p')",
    "a disk of one's own": "CREATE TABLE {db}.u (a Int8) ENGINE = MergeTree ORDER BY a"
    " SETTINGS disk = disk(type = local, path = '{target}/')",
    "a dictionary": "CREATE DICTIONARY {db}.u (a UInt64, b String) PRIMARY KEY a"
    " SOURCE(FILE(PATH '{secret}' FORMAT TSV)) LAYOUT(FLAT()) LIFETIME(0)",
    "ATTACH FROM": "ATTACH TABLE {db}.u FROM '{target}' (a Int8) ENGINE = MergeTree ORDER BY a",
    "BACKUP": "BACKUP TABLE {db}.t TO File('{target}')",
    "BACKUP to a disk": "BACKUP TABLE {db}.t TO Disk('default', 'x')",
    "RESTORE": "RESTORE TABLE {db}.t FROM File('{target}')",
    "a function of one's own": "CREATE FUNCTION u AS x -> x",
    "a user": "CREATE USER u",
    "a grant": "GRANT ALL ON *.* TO default",
    "a named collection": "CREATE NAMED COLLECTION u AS url = 'http://127.0.0.1:1/'",
    "the end of the server": "SYSTEM SHUTDOWN",
    "its sudden end": "SYSTEM KILL",
    "another language": "SET dialect = 'kusto'",
    "a schema from a file": "SELECT 1 FORMAT Null SETTINGS format_schema = '{secret}'",
    "a schema to a file": "SELECT 1 FORMAT Null SETTINGS output_format_schema = '{target}'",
}


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret.txt"
    path.write_text("canary")
    return path


@pytest.fixture
def table(warehouse: Client, database: str) -> str:
    warehouse.command(f"CREATE TABLE {database}.t (a String) ENGINE = MergeTree ORDER BY a")
    return f"{database}.t"


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_are_refused(warehouse: Client, database: str, table: str, secret: Path, attack: str) -> None:
    target = secret.with_name("target")
    sql = ATTACKS[attack].format(db=database, secret=secret, target=target)
    with pytest.raises(DatabaseError) as caught:
        warehouse.command(sql)
    expected: dict[str, tuple[int, ...]] = {"a path as a table": (60,), "a path as a table of default": (60,)}
    expected |= {"a path as a table of the overlay": (60, 81), "its sudden end": (62, 497)}
    expected |= {f"scalar file(), in values {how}": (344,) for how in ("behind a format", "of another spelling")}
    expected |= {"scalar file(), in values by a setting": (344,), "scalar file(), in a template of values": (344,)}
    expected |= {"another language": (452,)}
    assert caught.value.code in expected.get(attack, REFUSED), caught.value
    assert "canary" not in str(caught.value)
    assert not target.exists()
    assert warehouse.command(f"SELECT count() FROM {table}") == 0


def test_attacks_by_setting_and_by_data(warehouse: Client, table: str, secret: Path) -> None:
    filters = {"additional_result_filter": f"file('{secret}') = ''"}
    with pytest.raises(DatabaseError):
        warehouse.command("SELECT 1", settings=filters)
    structure = f"x UInt32, y String DEFAULT file('{secret}')"
    data = ExternalData(file_name="ext.csv", data=b"1\n", fmt="CSV", structure=structure)
    with pytest.raises(DatabaseError, match="refused"):
        warehouse.query("SELECT y FROM ext", external_data=data)
    with pytest.raises(DatabaseError):
        warehouse.query("SELECT {f:Identifier}('/etc/passwd')", parameters={"f": "file"})
    for name in ("Values", "values"):
        cells = ExternalData(file_name="ext.csv", data=f"(file('{secret}'))".encode(), fmt=name, structure="y String")
        with pytest.raises(DatabaseError, match="Interpreting expressions is disabled"):
            warehouse.query("SELECT y FROM ext", external_data=cells)
    bytes_ = {"$x$": b"\xff\x00'"}
    assert warehouse.query("SELECT length($x$) AS n", parameters=bytes_).result_rows == [(3,)]
    for sql in (f"SELECT $x$, file('{secret}')", "SELECT $x$; DROP TABLE t", "SELECT $x$ INTO OUTFILE 'x'"):
        with pytest.raises(DatabaseError, match=r"refused|Multi-statements"):
            warehouse.query(sql, parameters=bytes_)
    hidden = {"s": f"a String ALIAS file('{secret}'), b Int8"}
    with pytest.raises(DatabaseError):
        warehouse.query("SELECT a FROM values({s:String}, 1)", parameters=hidden)
    assert warehouse.command(f"SELECT count() FROM {table}") == 0


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 'file(''x'')', '; DROP TABLE t', 'INTO OUTFILE' -- file('x'); x",
        "SELECT 1 AS file, 2 AS `input`, 3 AS disk, 4 AS outfile_name /* ; */ ;",
        "SELECT format('{} {}', 'file', 1)",
        "SELECT * FROM format(CSVWithNames, 'a,b\n1,file(x)')",
        'SELECT count() FROM format(JSONEachRow, $x${"a": "file(\'x\'); SELECT"}$x$)',
        "SHOW POLICIES",
        "SELECT * FROM values('a Int8, b String', (1, 'file(x)'))",
        "SELECT * FROM values((1, 2), (3, 4))",
        "SELECT * FROM generateRandom('a Int8') LIMIT 1",
        "SELECT coalesce(NULL, (1))",
        "SELECT t.file, 1 AS file FROM (SELECT 1 AS file) AS t",
        "SELECT count(), 1 AS filter FROM system.one WHERE filter = 1 SETTINGS max_threads = 1",
        "SELECT engine, name FROM system.tables LIMIT 1 SETTINGS log_comment = 'select = 1'",
        "SELECT number FROM numbers(3) WHERE number IN (SELECT 1)",
        "EXPLAIN AST SELECT 1",
        "SELECT formatQuerySingleLine('select 1')",
        "SELECT * FROM system.tables WHERE name LIKE '%file%' LIMIT 1",
    ],
)
def test_harmless_statements_pass(warehouse: Client, sql: str) -> None:
    warehouse.query(sql)


def test_harmless_values_pass(warehouse: Client, table: str) -> None:
    warehouse.command(f"INSERT INTO {table} VALUES ('file(''x''); DEFAULT'), (upper('alias')), (toString(now()))")
    warehouse.command(f"INSERT INTO {table} (a) /* file() */ VALUES ('default a; b')")
    assert warehouse.command(f"SELECT count() FROM {table}") == 4


@pytest.fixture
def address(warehouse_home: Path, warehouse: Client) -> Address:
    found = running(warehouse_home / "warehouse")
    assert found is not None
    return found


@pytest.fixture
def request_(address: Address) -> Request:
    """A request by hand, with the password unless `headers` say otherwise."""

    def request(method: str = "POST", path: str = "/", body: str = "SELECT 1", **headers: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection(address.host, address.port, timeout=30)
        named = {"X-ClickHouse-Key": address.password} | {k.replace("_", "-"): v for k, v in headers.items()}
        try:
            connection.request(method, path, body if method == "POST" else None, named)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    return request


def test_the_right_request(request_: Request) -> None:
    assert request_() == (200, "1\n")
    assert request_(path="/?query=SELECT%202", body="") == (200, "2\n")
    assert request_(path="/?default_format=JSONCompactEachRow") == (200, "[1]\n")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example", ""]
)
def test_a_host_that_is_not_ours(request_: Request, host: str) -> None:
    assert request_(Host=host)[0] == 421
    assert request_("GET", "/ping", Host=host)[0] == 421


def test_web_pages_are_turned_away(request_: Request, address: Address) -> None:
    assert request_(Host=f"localhost:{address.port}")[0] == 200
    assert request_(Origin=f"http://localhost:{address.port}")[0] == 403
    assert request_(Sec_Fetch_Site="cross-site")[0] == 403
    assert request_("GET", "/?query=SELECT%201", Sec_Fetch_Site="cross-site")[0] == 403
    assert request_("OPTIONS")[0] == 405
    assert request_("HEAD", "/?query=SELECT%201")[0] == 405
    assert request_("GET", "/play")[0] == 404


def test_by_get_one_reads_and_nothing_else(request_: Request, warehouse: Client, database: str) -> None:
    warehouse.command(f"CREATE TABLE {database}.t (x UInt8) ENGINE = MergeTree ORDER BY x")

    def get(sql: str, **more: str) -> tuple[int, str]:
        return request_("GET", "/?" + urllib.parse.urlencode({"query": sql} | more))

    for format, answer in (("TSV", "1\n"), ("CSV", "1\n"), ("JSONCompactEachRow", "[1]\n"), ("Values", "(1)")):
        assert get(f"SELECT 1 FORMAT {format}") == (200, answer)
    assert get("SELECT {n:UInt8} + 1", param_n="6") == (200, "7\n")
    assert get("SELECT getSetting('max_threads')", max_threads="1", readonly="0") == (200, "1\n")
    assert get("SELECT 1 FORMAT JSON", readonly="1")[0] == 200
    assert get(f"SHOW TABLES FROM {database}") == (200, "t\n")
    for sql in (
        f"INSERT INTO {database}.t SELECT 1",
        f"INSERT INTO {database}.t FORMAT TSV\n1",
        f"WITH 1 AS x INSERT INTO {database}.t SELECT x",
        f"DROP TABLE {database}.t",
        "CREATE TABLE default.by_get (x UInt8) ENGINE = Memory",
        "SET readonly = 0",
        f"DROP TABLE {database}.t SETTINGS readonly = 0",
        "SELECT 1 SETTINGS readonly = 0",
        "SYSTEM FLUSH LOGS",
    ):
        status, said = get(sql)
        assert (status != 200, "Exception" in said) == (True, True), sql
    assert get("SELECT 1", session_id="mine")[0] == 400
    assert request_("GET", "/?query=SELECT+1", X_ClickHouse_Key="wrong")[0] == 403
    assert warehouse.query(f"SELECT count() FROM {database}.t").result_rows == [(0,)]


def test_the_password_is_needed(request_: Request, address: Address) -> None:
    for headers in (
        {"X_ClickHouse_Key": ""},
        {"X_ClickHouse_Key": address.password[:-1]},
        {"X_ClickHouse_User": "admin"},
        {"X_ClickHouse_Key": "", "Authorization": "Basic nonsense"},
        {"X_ClickHouse_Key": "", "Authorization": "Basic ZGVmYXVsdDp3cm9uZw=="},
    ):
        status, text = request_(**headers)
        assert status == 403
        assert "Code: 516" in text
        assert address.password not in text
    assert request_(path=f"/?user=default&password={address.password}", X_ClickHouse_Key="")[0] == 403
    assert request_("GET", "/ping", X_ClickHouse_Key="") == (200, "Ok.\n")


def test_the_password_is_a_secret(warehouse_home: Path, address: Address) -> None:
    path = warehouse_home / "warehouse" / "password"
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(address.password) == 43  # 256 bits in base64
    assert address.password not in repr(address) + str(address)
    assert address.password not in (warehouse_home / "warehouse" / "server.json").read_text()


def test_a_format_is_a_name_and_nothing_more(request_: Request, tmp_path: Path) -> None:
    target = tmp_path / "target"
    for ending in (
        f"; SELECT 1 INTO OUTFILE '{target}'",
        f"\nINTO OUTFILE '{target}'",
        " SETTINGS max_threads = 1",
        "\u00e9",
    ):
        text = f"JSONCompact{ending}"
        assert request_(path="/?" + urllib.parse.urlencode({"default_format": text}))[0] == 404
    assert not target.exists()


def test_bodies_that_are_not_what_they_say(request_: Request) -> None:
    assert request_(Content_Encoding="gzip")[0] == 400
    assert request_(Content_Encoding="br")[0] == 501
    assert request_(Content_Type="multipart/form-data; boundary=x")[0] == 400
    assert request_(path="/?session_id=a&session_timeout=long")[0] == 400
    assert request_(path="/?session_id=never&session_check=1")[0] == 400
    assert request_(path="/?a%20b=1")[0] == 404
