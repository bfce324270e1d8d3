"""Statements as text: INSERT is split from its data at any cut, formats are found, nothing suspicious is plain."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphaforge_assets.warehouse.embedded.faults import Fault
from alphaforge_assets.warehouse.embedded.statements import Guard, Token, first_word, numbered, query_of, split_insert

GUARD = Guard(("file", "url", "numbers", "MergeTree"), ("filter",))
FORMATS = frozenset(("JSON", "CSV", "Native", "TabSeparated"))


@pytest.mark.parametrize(
    ("sql", "head", "settings", "format", "data"),
    [
        (b"INSERT INTO t FORMAT CSV\n1,2\n", "INSERT INTO t ", "", "CSV", b"1,2\n"),
        (b"insert into t (a, b) format Native\r\n\x00\xff'", "insert into t (a, b) ", "", "Native", b"\x00\xff'"),
        (b"INSERT INTO t SETTINGS x = 1 FORMAT CSV 1", "INSERT INTO t ", "SETTINGS x = 1 ", "CSV", b"1"),
        (b"/* a /* FORMAT b */ */ INSERT INTO t -- FORMAT x\n FORMAT CSV\n", None, "", "CSV", b""),
        (b"INSERT INTO `FORMAT x` (`a'b`) FORMAT CSV\n1", "INSERT INTO `FORMAT x` (`a'b`) ", "", "CSV", b"1"),
        (b"INSERT INTO db.format FORMAT CSV\n1", "INSERT INTO db.format ", "", "CSV", b"1"),
        (b"INSERT INTO format FORMAT CSV\n1", "INSERT INTO format ", "", "CSV", b"1"),
    ],
)
def test_insert_is_split(sql: bytes, head: str | None, settings: str, format: str, data: bytes) -> None:
    insert = split_insert(sql, complete=True)
    assert insert is not None
    assert head is None or insert.head == head
    assert (insert.settings, insert.format, sql[insert.data_at :]) == (settings, format, data)


@pytest.mark.parametrize(
    "sql",
    [
        b"INSERT INTO t VALUES (1, 'x FORMAT CSV')",
        b"INSERT INTO t SELECT 1 FORMAT CSV",
        b"INSERT INTO t FROM INFILE 'a' FORMAT CSV",
        b"SELECT 1 FORMAT CSV",
        b"INSERT INTO t (a",
        b"INSERT INTO t SETTINGS x = 'a FORMAT CSV\n1",
        b"",
    ],
)
def test_other_statements_are_not_split(sql: bytes) -> None:
    assert split_insert(sql, complete=True) is None


@given(data=st.binary(max_size=200), cut=st.integers(0, 400))
def test_insert_is_split_the_same_wherever_the_network_cuts(data: bytes, cut: int) -> None:
    sql = b"INSERT INTO db.`t'` (a, `b\"`) SETTINGS log_comment = 'a FORMAT b', x = 1 FORMAT RowBinary\n" + data
    whole = split_insert(sql, complete=True)
    part = split_insert(sql[:cut], complete=False)
    assert whole is not None
    assert part is None or part == whole
    assert sql[whole.data_at :] == data


@pytest.mark.parametrize(
    ("sql", "format"),
    [
        (b"SELECT 1 FORMAT CSV", "CSV"),
        (b"SELECT 1 FORMAT\n CSV ;", "CSV"),
        (b"SELECT 1 FORMAT CSV SETTINGS a = 1", "CSV"),
        (b"SELECT format FROM t", None),
        (b"SELECT 'FORMAT CSV'", None),
        (b"SELECT 1 -- FORMAT CSV", None),
        (b"SELECT (SELECT 1 FORMAT CSV)", None),
        (b"SELECT a AS format", None),
        (b"SELECT 1 FORMAT nonsense", None),
    ],
)
def test_trailing_format(sql: bytes, format: str | None) -> None:
    assert query_of(sql, FORMATS).format == format


@given(st.binary(max_size=300))
def test_any_bytes_are_read_without_an_error(sql: bytes) -> None:
    split_insert(sql, complete=True)
    query_of(sql, FORMATS)
    first_word(sql)


def test_only_names_on_the_list_may_be_called() -> None:
    for name, allowed in (("url", False), ("URL", False), ("numbers", True), ("MergeTree", True), ("file", False)):
        tokens = [Token("BareWord", name), Token("OpeningRoundBracket", "("), Token("ClosingRoundBracket", ")")]
        if allowed:
            GUARD.refuse(tokens)
        else:
            with pytest.raises(Fault, match="reaches beyond"):
                GUARD.refuse(tokens)


@pytest.mark.parametrize(
    ("sql", "is_select", "before"),
    [
        (b"SELECT 1", True, b"SELECT 1"),
        (b" (SELECT 1) UNION ALL (SELECT 2);", True, b" (SELECT 1) UNION ALL (SELECT 2)"),
        (b"WITH 1 AS x SELECT x FORMAT JSON SETTINGS a = 1;", True, b"WITH 1 AS x SELECT x "),
        (b"WITH 1 AS x INSERT INTO t SELECT x", False, b"WITH 1 AS x INSERT INTO t SELECT x"),
        (b"SHOW TABLES FORMAT CSV", False, b"SHOW TABLES "),
    ],
)
def test_where_a_result_could_be_sent_to_a_file(sql: bytes, is_select: bool, before: bytes) -> None:
    query = query_of(sql, FORMATS)
    assert (query.is_select, sql[: query.outfile_at]) == (is_select, before)


BETWEEN = st.lists(st.sampled_from([" ", "\n", "\t", "\u00a0", "/* c */", "-- c\n", "# c\n", ""]), max_size=4)
REACHING = [("file", "('/etc/passwd')"), ("values", "('a String ALIAS 1', 1)"), ("format", "(CSV, 'a Int8', '1')")]


@given(st.sampled_from(REACHING), BETWEEN, st.integers(0, 2**10))
def test_nothing_that_could_be_refused_is_plain(call: tuple[str, str], between: list[str], capitals: int) -> None:
    name = "".join(letter.upper() if capitals >> n & 1 else letter for n, letter in enumerate(call[0]))
    for quote in ("", '"', "`"):
        assert not GUARD.is_plain(f"SELECT * FROM {quote}{name}{quote}{''.join(between)}{call[1]}")


@given(BETWEEN, st.sampled_from(["`", '"', ""]))
def test_names_without_a_bracket_are_not_plain(between: list[str], quote: str) -> None:
    space = "".join(between) or " "
    for sql in (
        f"SELECT * APPLY{space}{quote}file{quote} FROM t",
        f"CREATE TABLE t (a String) ENGINE{space}{quote}URL{quote}",
        f"SELECT (SELECT 1 SETTINGS{space}{quote}Filter{quote}{space}= '1')",
    ):
        assert not GUARD.is_plain(sql)
    assert GUARD.is_plain("SELECT filter FROM t WHERE filter = 1 SETTINGS x = 2")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1",
        "SELECT a FROM t WHERE b = 'x' FORMAT Native",
        "INSERT INTO a.t (x, y) VALUES (1, 'b')",
        "SELECT 1;\n",
    ],
)
def test_ordinary_statements_are_plain(sql: str) -> None:
    assert GUARD.is_plain(sql)


def test_an_unknown_token_is_refused() -> None:
    with pytest.raises(Fault, match="not a token"):
        GUARD.refuse([Token("BareWord", "SELECT"), Token("ErrorSingleQuoteIsNotClosed", "'abc")])


@pytest.mark.parametrize(
    ("types", "structure"),
    [
        ("String", "_1 String"),
        ("String,UInt16, String", "_1 String, _2 UInt16, _3 String"),
        ("Decimal(9, 3),Map(String, Tuple(a Int8, b Int8))", "_1 Decimal(9, 3), _2 Map(String, Tuple(a Int8, b Int8))"),
        ("Enum8('a,(' = 1, 'it\\'s' = 2),Int8", "_1 Enum8('a,(' = 1, 'it\\'s' = 2), _2 Int8"),
    ],
)
def test_types_alone_get_numbers_for_names(types: str, structure: str) -> None:
    assert numbered(types) == structure
