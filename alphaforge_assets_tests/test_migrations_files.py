"""Migration files by themselves: checksums and versions as Flyway has them, names, statements, and what is refused."""

import io
import re
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphaforge_assets.errors import BadInput
from alphaforge_assets.warehouse.migrations.files import FILE_BYTES_MAX, checksum, read_migrations, version_key
from alphaforge_assets.warehouse.migrations.sql_rules import split

# What separates lines for some reader or other; only \n, \r and \r\n do for Java's BufferedReader.
TEXTS = st.text(st.sampled_from("ab;\n\r\x0b\x0c\x1c\x85\u2028\ufeff 'é💰"))


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"CREATE TABLE a (x Int32);\nSELECT 1;\n", -2087139933),  # by Flyway's compiled class, as are the next
        (b"CREATE TABLE a (x Int32);\r\nSELECT 1;\r\n", -2087139933),
        (b"CREATE TABLE a (x Int32);\rSELECT 1;\r", -2087139933),
        (b"\xef\xbb\xbfCREATE TABLE a (x Int32);\nSELECT 1;\n", -2087139933),
        (b"CREATE TABLE a (x Int32);SELECT 1;", -2087139933),
        (b"", 0),
        (b"\n\n", 0),
    ],
)
def test_checksum_is_flyways(raw: bytes, expected: int) -> None:
    assert checksum(raw) == expected


@given(TEXTS)
def test_checksum_is_the_crc_of_the_lines(text: str) -> None:
    crc = 0
    for n, line in enumerate(io.StringIO(text, newline=None)):  # Python's universal newlines are BufferedReader's
        body = line.removesuffix("\n")
        crc = zlib.crc32((body.removeprefix("\ufeff") if n == 0 else body).encode(), crc)
    assert checksum(text.encode()) == int.from_bytes(crc.to_bytes(4, "big"), "big", signed=True)


@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n"))),
    st.sampled_from(["\r\n", "\r", "\n", ""]),
)
def test_newline_style_does_not_matter(lines: list[str], end: str) -> None:
    assert checksum(end.join(lines).encode()) == checksum("\n".join(lines).encode())


@pytest.mark.parametrize("same", [("1", "1.0"), ("1", "001"), ("1.0.0", "1"), ("0", "0.0"), ("2.10", "02.010")])
def test_equal_versions(same: tuple[str, str]) -> None:
    assert version_key(same[0]) == version_key(same[1])


def test_versions_in_order() -> None:
    versions = ["0", "0.1", "1", "1.0.1", "1.9", "1.10", "2", "10", "20260101000000"]
    assert sorted(versions, key=version_key) == versions


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "migrations"
    path.mkdir()
    return path


def test_order_is_versions_then_repeatables(folder: Path) -> None:
    for name in (
        "R__b.sql",
        "V10__last.sql",
        "R__a.sql",
        "V1_1__minor.sql",
        "V001__first__of_all.sql",
        "V9__x-y.z.sql",
    ):
        (folder / name).write_text("DROP TABLE IF EXISTS a")
    (folder / ".DS_Store").write_bytes(b"\x00")
    found = [(m.version, m.description) for m in read_migrations(folder)]
    assert found == [
        ("001", "first  of all"),
        ("1.1", "minor"),
        ("9", "x-y.z"),
        ("10", "last"),
        (None, "a"),
        (None, "b"),
    ]


@pytest.mark.parametrize(
    "name",
    [
        "V1.sql",
        "V1_name.sql",
        "V1__.sql",
        "V__name.sql",
        "V1.2.__name.sql",
        "V1a__name.sql",
        "V.1__name.sql",
        "V1..2__name.sql",
        "V1___name.sql",
        "V²__name.sql",
        "v1__name.sql",
        "V1__name.SQL",
        "V1__name.sql.bak",
        "V1__a name.sql",
        "R__.sql",
        "R1__name.sql",
        "U1__name.sql",
        "B1__name.sql",
        "beforeMigrate__x.sql",
        "afterMigrate.sql",
        ".V1__name.sql",
        "README.md",
    ],
)
def test_misnamed_file_is_refused(folder: Path, name: str) -> None:
    (folder / "V1__good.sql").write_text("DROP TABLE IF EXISTS a")
    (folder / name).write_text("DROP TABLE IF EXISTS a")
    with pytest.raises(BadInput, match=rf"{re.escape(name)}:1: .*V<number>__<what_it_does>\.sql"):
        read_migrations(folder)


def test_folders_are_refused(folder: Path) -> None:
    (folder / "V1__folder.sql").mkdir()
    with pytest.raises(BadInput, match=r"V1__folder\.sql:1: not a migration's name"):
        read_migrations(folder)


def test_every_fault_of_a_folder_is_named_at_once(folder: Path) -> None:
    (folder / "V001__a.sql").write_text("DROP TABLE IF EXISTS a;\n\nDROP TABLE b;\nTRUNCATE TABLE c")
    (folder / "V1.0__b.sql").write_text("DROP TABLE IF EXISTS a")
    (folder / "V1__c.sql").write_text("DROP TABLE IF EXISTS a")
    (folder / "V2__d.sql").write_bytes(b"-- ok\n\xff")
    (folder / "V3__e.sql").write_bytes(b" " * (FILE_BYTES_MAX + 1))
    (folder / f"V4__{'x' * 201}.sql").write_text("DROP TABLE IF EXISTS a")
    with pytest.raises(BadInput) as caught:
        read_migrations(folder)
    lines = str(caught.value).splitlines()
    assert [re.sub(r"^.*/(V\w?[^:]*:\d+: .{14}).*$", r"\1", line) for line in lines] == [
        "V001__a.sql:3: DROP needs IF ",
        "V001__a.sql:4: TRUNCATE …: a ",
        "V2__d.sql:2: not UTF-8 (inv",
        "V3__e.sql:1: 262145 bytes, ",
        f"V4__{'x' * 201}.sql:1: the descriptio",
        "V1__c.sql:1: version 1 is a",
    ]


@pytest.mark.parametrize("make", [lambda p: None, lambda p: p.mkdir(), lambda p: p.write_text("")])
def test_no_migrations_is_an_error(tmp_path: Path, make: object) -> None:
    make(tmp_path / "elsewhere")  # type: ignore[operator]
    with pytest.raises(BadInput, match=r"elsewhere: .*name the one that holds"):
        read_migrations(tmp_path / "elsewhere")


def test_statements_and_their_lines() -> None:
    text = (
        "-- it's a comment; with a mark\n"
        "DROP TABLE IF EXISTS a -- another; one\n;;\r\n/* ' \" ; */\n"
        '  DROP VIEW IF EXISTS\n"b" ;\n'
        "ALTER TABLE t MODIFY COMMENT 'it''s ${'\n;\n-- the end ;"
    ).replace("${", "")
    statements, faults = split(text)
    assert not faults
    assert [(s.line, s.text) for s in statements] == [
        (2, "DROP TABLE IF EXISTS a"),
        (5, 'DROP VIEW IF EXISTS\n"b"'),
        (7, "ALTER TABLE t MODIFY COMMENT 'it''s '"),
    ]


def test_comments_inside_a_statement_stay() -> None:
    statements, faults = split("DROP /* not; */ TABLE -- really\n IF EXISTS a;")
    assert not faults
    assert [s.text for s in statements] == ["DROP /* not; */ TABLE -- really\n IF EXISTS a"]


DROP = "DROP TABLE IF EXISTS a;\n"


@pytest.mark.parametrize(
    ("sql", "line", "message"),
    [
        # What Flyway's parser and ClickHouse's would read differently.
        (DROP + "-- about\n-- ${name}", 3, "placeholder"),
        (DROP + "ALTER TABLE a MODIFY COMMENT '${x}'", 2, "placeholder"),
        (DROP + r"ALTER TABLE a MODIFY COMMENT 'it\'s'", 2, "backslash"),
        (DROP + r"ALTER TABLE a MODIFY COMMENT 'end\\'", 2, "backslash"),
        (DROP + r'ALTER TABLE "a\"b" MODIFY COMMENT 0', 2, "backslash"),
        (DROP + "DROP TABLE IF EXISTS\n`a`", 3, "backtick"),
        (DROP + "# about\n" + DROP, 2, "'#'"),
        (DROP + "ALTER TABLE a MODIFY COMMENT $$x$$", 2, "heredoc"),
        (DROP + "ALTER TABLE a MODIFY COMMENT $q$x; y$q$", 2, "heredoc"),
        (DROP + "ALTER TABLE a\nMODIFY COMMENT 'b; c'", 3, "';' inside quotes"),
        (DROP + 'DROP TABLE IF EXISTS "b;c"', 2, "';' inside quotes"),
        (DROP + "CREATE TABLE IF NOT EXISTS a (x Int8; y Int8)", 2, "parentheses"),
        (DROP + "CREATE VIEW IF NOT EXISTS a AS\nSELECT (1", 2, "nothing closes"),
        (DROP + "CREATE VIEW IF NOT EXISTS a AS\nSELECT 1)", 3, "nothing opens"),
        (DROP + "ALTER TABLE a MODIFY COMMENT 'b", 2, "never closed"),
        (DROP + 'DROP TABLE IF EXISTS "b', 2, "never closed"),
        (DROP + "/* about", 2, "never closed"),
        (DROP + "/* a /* b */ */", 2, "inside a /"),
        (DROP + "-- old Mac\rDROP TABLE IF EXISTS b", 2, "carriage return"),
        (DROP + "CREATE VIEW IF NOT EXISTS a AS SELECT ‘x’", 2, "ASCII"),
        (DROP + "DROP TABLE IF\u00a0EXISTS b", 2, "ASCII"),
        ("-- nothing but this; really", 1, "no statement"),
        # What could fail, or do more, the second time.
        (DROP + "CREATE TABLE a (x Int8)", 2, "IF NOT EXISTS"),
        (DROP + "create table a (x Int8)", 2, "IF NOT EXISTS"),
        (DROP + "CREATE /* IF NOT EXISTS */ TABLE a (x Int8 COMMENT 'IF NOT EXISTS')", 2, "IF NOT EXISTS"),
        (DROP + 'CREATE TABLE "IF NOT EXISTS" (x Int8)', 2, "IF NOT EXISTS"),
        (DROP + "CREATE OR REPLACE TABLE a (x Int8) ENGINE = Memory", 2, "loses the rows"),
        (DROP + "CREATE OR REPLACE MATERIALIZED VIEW a TO b AS SELECT 1", 2, "loses the rows"),
        (DROP + "CREATE VIEW a AS SELECT 1", 2, "OR REPLACE"),
        (DROP + "CREATE TABLE IF NOT EXISTS b ENGINE = Memory AS SELECT 1", 2, "EMPTY AS SELECT"),
        (DROP + "CREATE TABLE IF NOT EXISTS b ENGINE = Memory AS (SELECT 1)", 2, "EMPTY AS SELECT"),
        (DROP + "CREATE TABLE IF NOT EXISTS b ENGINE = Memory AS WITH 1 AS x SELECT x", 2, "EMPTY AS SELECT"),
        ('DROP TABLE IF EXISTS "b";\nCREATE TABLE IF NOT EXISTS "a" ENGINE = Memory AS SELECT 1', 2, "EMPTY AS SELECT"),
        (DROP + "CREATE MATERIALIZED VIEW IF NOT EXISTS a ENGINE = Memory POPULATE AS SELECT 1", 2, "POPULATE"),
        (DROP + "CREATE MATERIALIZED VIEW a TO b AS SELECT 1", 2, "IF NOT EXISTS"),
        (DROP + "CREATE TEMPORARY TABLE IF NOT EXISTS a (x Int8)", 2, "and nothing else"),
        (DROP + "CREATE DATABASE IF NOT EXISTS a", 2, "and nothing else"),
        (DROP + "CREATE FUNCTION IF NOT EXISTS a AS x -> x", 2, "and nothing else"),
        (DROP + "CREATE USER IF NOT EXISTS a", 2, "and nothing else"),
        (DROP + "DROP TABLE b", 2, "DROP needs IF EXISTS"),
        (DROP + "DROP DATABASE IF EXISTS b", 2, "DROP needs IF EXISTS"),
        (DROP + "RENAME TABLE IF EXISTS a TO b", 2, "file of its own"),
        ("RENAME TABLE a TO b", 1, "IF EXISTS"),
        ("RENAME TABLE IF EXISTS a TO b, b TO a", 1, "of one TABLE"),
        ("ALTER TABLE a RENAME COLUMN b TO c", 1, "not known to be harmless"),
        ("ALTER TABLE a RENAME COLUMN IF EXISTS b TO c, ADD COLUMN IF NOT EXISTS b Int8", 1, "file of its own"),
        (DROP + "ALTER TABLE a RENAME COLUMN IF EXISTS b TO c", 2, "file of its own"),
        (DROP + "EXCHANGE TABLES a AND b", 2, "EXCHANGE …: a migration may"),
        (DROP + "ALTER TABLE a ADD COLUMN b Int8", 2, "not known to be harmless"),
        (DROP + "ALTER TABLE a ADD COLUMN IF NOT EXISTS b Int8, ADD COLUMN c Int8", 2, "ADD COLUMN C"),
        (DROP + "ALTER TABLE a MODIFY COMMENT 'b', DROP COLUMN c", 2, "DROP COLUMN C"),
        (DROP + "ALTER TABLE a DROP PARTITION 202501", 2, "not known to be harmless"),
        (DROP + "ALTER TABLE a DELETE WHERE 1", 2, "not known to be harmless"),
        (DROP + "ALTER TABLE a UPDATE b = b + 1 WHERE 1", 2, "not known to be harmless"),
        (DROP + "ALTER TABLE a CLEAR COLUMN IF EXISTS b", 2, "not known to be harmless"),
        (DROP + "ALTER TABLE a MODIFY COLUMN b REMOVE DEFAULT", 2, "REMOVE"),
        (DROP + "ALTER TABLE a REMOVE TTL", 2, "not known to be harmless"),
        (DROP + "ALTER USER a DROP ALL SETTINGS", 2, "and nothing else"),
        ("INSERT INTO a VALUES (1)", 1, "rows belong"),
        ("INSERT INTO a SELECT 1", 1, "rows belong"),
        (DROP + "TRUNCATE TABLE IF EXISTS a", 2, "rows belong"),
        (DROP + "OPTIMIZE TABLE a FINAL", 2, "and nothing else"),
        (DROP + "SET async_insert = 0", 2, "and nothing else"),
        (DROP + "USE analytics", 2, "and nothing else"),
        (DROP + "GRANT SELECT ON a TO b", 2, "and nothing else"),
        (DROP + "SYSTEM FLUSH LOGS", 2, "and nothing else"),
        (DROP + "ATTACH TABLE a", 2, "and nothing else"),
        (DROP + "SELECT 1", 2, "and nothing else"),
        (DROP + "(SELECT 1)", 2, "and nothing else"),
        (DROP + "WITH 1 AS x SELECT x", 2, "and nothing else"),
    ],
)
def test_refused_with_its_line(sql: str, line: int, message: str) -> None:
    _, faults = split(sql)
    assert [(fault.line, message in fault.message) for fault in faults] == [(line, True)], faults


MARKS = ["a", "E", "X", "b", "1", " ", "\n", "\r\n", ";", ";", "(", ")", ",", ".", "-", "--", "/*", "*/", "/", "\\"]
QUOTED = ["'", "''", "'x'", "'it''s; y'", "E'y'", "E'", "\\'", '"', '""', '"n"', '"n;"', "-- c'o;\n", "/* c'o\"; */"]
PIECES = st.sampled_from([*MARKS, *QUOTED, "`", "#", "$", "\r", "é", "€"])


@given(st.lists(PIECES, max_size=25).map("".join))
def test_what_is_not_refused_splits_as_flyway_splits_it(text: str) -> None:
    statements, faults = split(text)
    unreadable = r"backslash|backtick|'#'|'\$'|carriage|ASCII|parentheses|opens|nothing closes|never closed|inside a /"
    if not any(re.search(unreadable, fault.message) for fault in faults):
        assert [s.text for s in statements] == _flyway_statements(text.replace("\r\n", "\n"))


def _flyway_statements(text: str) -> list[str]:
    """Flyway's Parser.readToken and getNextStatement, char by char as it does it, without its placeholders."""
    statements: list[str] = []
    at, depth, first, last = 0, 0, -1, -1

    def after_quote(start: int, quote: str, escape: str = "") -> int:
        here = start
        while here < len(text):
            if (escape and text[here] == escape) or text[here : here + 2] == quote * 2:
                here += 2
            elif text[here] == quote:
                return here + 1
            else:
                here += 1
        return here

    while at < len(text):
        begin = at
        if text[at] in ("'", '"'):
            at = after_quote(at + 1, text[at])
        elif text[at] in "()":
            depth += 1 if text[at] == "(" else -1
            at += 1
        elif text.startswith("--", at):
            while at < len(text) and text[at] not in "\r\n":
                at += 1
            continue
        elif text.startswith("/*", at):
            end = text.find("*/", at + 2)
            at = len(text) if end < 0 else end + 2
            continue
        elif text.startswith(("B'", "E'", "X'"), at):
            at = after_quote(at + 2, "'", "\\")
        elif text[at] == ";" and depth == 0:
            if first >= 0:
                statements.append(text[first:last])
            first = -1
            at += 1
            continue
        elif text[at].isalpha() or text[at] == "_":
            while at < len(text) and (text[at].isalnum() or text[at] in "_$"):
                at += 1
        elif text[at].isspace():
            at += 1
            continue
        else:
            at += 1
        first, last = begin if first < 0 else first, at
    if first >= 0:
        statements.append(text[first:last])
    return statements
