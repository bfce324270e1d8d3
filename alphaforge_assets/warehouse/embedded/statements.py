"""What a statement is, before the engine runs it: where an INSERT's data starts, which format it asks for, may it run.

The engine's privileges (`configuration.py`) refuse files, addresses and other servers. What is left for this module is
what privileges do not cover: two statements in one, INTO OUTFILE and FROM INFILE (done by the client half of the
engine), ATTACH … FROM, the scalar function `file` under whatever name it is reached, and the few table functions and
engines that run code or read text as SQL. Text and tokens in, records out; the tokens come from the engine's own lexer.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from alphaforge_assets.warehouse.embedded.faults import refused, syntax

# One lexical piece of ClickHouse SQL; a block comment only as far as its opening, because they nest.
_PIECE = re.compile(
    rb"""(?P<string>'(?:[^'\\]|\\.|'')*')|(?P<quoted>"(?:[^"\\]|\\.|"")*"|`(?:[^`\\]|\\.|``)*`)"""
    rb"""|(?P<line>--[^\n]*|\#[ !][^\n]*)|(?P<block>/\*)|(?P<heredoc>\$\w*\$)"""
    rb"""|(?P<word>[A-Za-z_]\w*)|(?P<mark>[()\[\]{};])|(?P<unclosed>['"`])""",
    re.DOTALL,
)
_TYPE_PIECE = re.compile(r"'(?:[^'\\]|\\.|'')*'|[(),]|[^'(),]+", re.DOTALL)
_FORMAT_NAME = re.compile(rb"\s+(\w+)[ \t\f]*(\r?\n)?")


@dataclass(frozen=True)
class Insert:
    """`INSERT … FORMAT x` with data behind it: the statement up to its settings, these, and where the data is."""

    head: str
    settings: str
    format: str
    data_at: int


def words(sql: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Words and semicolons outside of strings, comments and brackets, as (upper case, start, end)."""
    depth = at = 0
    while piece := _PIECE.search(sql, at):
        at = piece.end()
        kind, text = piece.lastgroup, piece.group()
        if kind == "unclosed":  # the rest has not come yet, or never will
            return
        if kind == "block":
            at = _after_comment(sql, at)
        elif kind == "heredoc":
            end = sql.find(text, at)
            at = end + len(text) if end >= 0 else len(sql)
        elif text in (b"(", b"[", b"{"):
            depth += 1
        elif text in (b")", b"]", b"}"):
            depth -= 1
        elif depth == 0 and (kind == "word" or text == b";"):
            yield text.upper(), piece.start(), piece.end()


def _after_comment(sql: bytes, at: int) -> int:
    nesting = 1
    while nesting and (edge := re.compile(rb"/\*|\*/").search(sql, at)):
        nesting += 1 if edge.group() == b"/*" else -1
        at = edge.end()
    return at if nesting == 0 else len(sql)


def numbered(types: str) -> str:
    """A table's structure of these types, separated by commas, with the names ClickHouse gives them: _1, _2, …"""
    columns, depth = [""], 0
    for piece in _TYPE_PIECE.findall(types):
        depth += (piece == "(") - (piece == ")")
        if piece == "," and depth == 0:
            columns.append("")
        else:
            columns[-1] += piece
    return ", ".join(f"_{n} {column.strip()}" for n, column in enumerate(columns, 1))


def first_word(sql: bytes) -> bytes:
    return next((word for word, _, _ in words(sql)), b"")


def split_insert(sql: bytes, complete: bool) -> Insert | None:
    """The Insert that `sql` is, or None for any other statement and for VALUES.

    `complete` is False while more of the request may come; an INSERT whose format name may still be cut is None then.
    """
    pieces = words(sql)
    if next(pieces, (b"",))[0] != b"INSERT":
        return None
    settings_at: int | None = None
    before, before_end = b"INSERT", 0
    for word, start, end in pieces:
        follows_into = before in (b"INTO", b"TABLE") and not sql[before_end:start].strip()
        before, before_end = word, end
        if follows_into or sql[start - 1 : start] == b".":  # the name of a table, whatever it looks like
            continue
        if word in (b"SELECT", b"WITH", b"INFILE", b"VALUES", b"WATCH"):
            return None
        if word == b"SETTINGS":
            settings_at = start
        if word == b"FORMAT":
            name = _FORMAT_NAME.match(sql, end)
            if not name or (not complete and len(sql) - name.end(1) < 4):
                return None
            cut = start if settings_at is None else settings_at
            return Insert(sql[:cut].decode(), sql[cut:start].decode(), name.group(1).decode(), name.end())
    return None


@dataclass(frozen=True)
class Query:
    """A statement with an answer: is it a SELECT, which format does it ask for, and where would INTO OUTFILE stand."""

    is_select: bool
    format: str | None
    outfile_at: int


def query_of(sql: bytes, formats: frozenset[str]) -> Query:
    """`sql` as a Query; `formats` are the names that may follow FORMAT."""
    found = list(words(sql))
    first = found[0][0] if found else b""
    is_select = first in (b"SELECT", b"WITH") or sql.lstrip().startswith(b"(")
    is_select = is_select and all(word != b"INSERT" for word, _, _ in found)
    end = next((start for word, start, _ in found if word == b";"), len(sql))
    for n, (word, start, word_end) in enumerate(found[:-1]):
        name_start, name_end = found[n + 1][1:]
        name = sql[name_start:name_end].decode()
        after = found[n + 2][0] if n + 2 < len(found) else b";"
        is_clause = name in formats and after in (b";", b"SETTINGS") and not sql[word_end:name_start].strip()
        if word == b"FORMAT" and is_clause:
            return Query(is_select, name, start)
    return Query(is_select, None, end)


@dataclass(frozen=True)
class Token:
    """One token as the engine's lexer sees it; spaces and comments left out."""

    kind: str
    text: str


# Table functions and engines that reach nothing but this server's own tables. Every other one the engine knows is
# refused by name: privileges refuse them too, but some of them touch the disk before they are asked for any.
_OWN_TABLES = frozenset(
    (
        *("numbers", "numbers_mt", "zeros", "zeros_mt", "primes", "generateseries", "generate_series"),
        *("generaterandom", "values", "null", "view", "viewifpermitted", "viewexplain"),
        *("merge", "loop", "dictionary", "format"),
        *("mergetreeindex", "mergetreeprojection", "mergetreeanalyzeindexes", "mergetreeanalyzeindexesuuid"),
        *("mergetreetextindex", "mergetreecodecblockcounts"),
        *("mergetree", "replacingmergetree", "summingmergetree", "aggregatingmergetree", "collapsingmergetree"),
        *("coalescingmergetree", "versionedcollapsingmergetree", "graphitemergetree"),
        *("memory", "log", "tinylog", "stripelog", "set", "join", "buffer", "materializedview", "alias", "atomic"),
    )
)
_REFUSED_CALLS = ("file", "disk")  # the ordinary function, and a disk of one's own
# The one ordinary function that reaches beyond: `* APPLY file` and `arrayMap(file, …)` call it without a bracket.
_REFUSED_NAMES = frozenset(("file",))
_STRUCTURED_CALLS = ("values", "generaterandom", "null")  # their first argument may be a structure, with expressions
# Formats of which the table function format() reads values and nothing else, as an INSERT … FORMAT does.
_DATA_FORMATS = frozenset(
    (
        *("csv", "csvwithnames", "tsv", "tsvwithnames", "tabseparated", "tabseparatedwithnames"),
        *("jsoneachrow", "parquet", "arrow", "arrowstream"),
    )
)
_HARMLESS_NAME = re.compile(r"(?:[^\\]|\\[\\`\"'])*")  # escaped quotes and backslashes, which no function's name has
_EXPRESSION_IN_STRUCTURE = re.compile(r"default|alias|materialized|ephemeral|\\", re.IGNORECASE)
_SETTINGS = re.compile(r"\bsettings\b", re.IGNORECASE | re.ASCII)
_INSERT_VALUES = re.compile(r"\s*INSERT\s+INTO\s+[\w.]+\s*(?:\([\w\s,]*\))?\s*VALUES\s*\(", re.IGNORECASE)


class Guard:
    """What a client may send. `names` are those of all table functions and engines that the engine has.

    `constants` are the settings that nobody may change: the engine itself lets a subquery's SETTINGS change them.
    """

    def __init__(self, names: Iterable[str], constants: Iterable[str] = ()) -> None:
        self._constants = frozenset(constants)
        self._constant = re.compile(rf"\b(?:{'|'.join(sorted(self._constants)) or '(?!)'})\b", re.IGNORECASE | re.ASCII)
        self._refused = frozenset(name.lower() for name in names) - _OWN_TABLES | frozenset(_REFUSED_CALLS)
        calls = "|".join(sorted(self._refused | {"format", *_STRUCTURED_CALLS}))
        # ASCII, so that every other character counts as a space between a name and its bracket
        self._suspicious = re.compile(
            rf""";\s*\S|outfile|infile|attach|\bengine\b|\b(?:{"|".join(_REFUSED_NAMES)})\b"""
            rf"""|\b(?:{calls})\W*(?:\(|/\*|--|\#)|[`"][^`"]*\\""",
            re.IGNORECASE | re.ASCII,
        )

    def is_plain(self, sql: str) -> bool:
        """True where nothing in the text could need `refuse`, which costs the engine 2 ms."""
        head = _INSERT_VALUES.match(sql)
        start = head.end() if head else 0
        settings = _SETTINGS.search(sql, start)
        if settings and self._constant.search(sql, settings.end()):
            return False
        return self._suspicious.search(sql, start) is None

    def refuse(self, tokens: Sequence[Token]) -> None:
        """Raise a Fault if a client may not send this statement. `tokens` are those of the engine's own lexer."""
        data_at = _values_at(tokens)
        has_settings = False
        for n, token in enumerate(tokens):
            following = tokens[n + 1].kind if n + 1 < len(tokens) else ""
            if token.kind.startswith("Error"):
                raise syntax(f"{token.text[:40]!r} is not a token")
            if token.kind == "Semicolon" and following not in ("", "Semicolon"):
                raise syntax("Multi-statements are not allowed; send them one by one")
            if token.kind == "BareWord" and token.text.upper() in ("OUTFILE", "INFILE"):
                raise refused(f"{token.text.upper()} reaches files of the server")
            if token.kind in ("BareWord", "QuotedIdentifier"):
                if following == "OpeningRoundBracket" and n != data_at:
                    self._refuse_call(tokens, n)
                self._refuse_name(tokens, n)
                has_settings |= token.text.upper() == "SETTINGS"
                if has_settings and following == "Equals" and _name(token) in self._constants:
                    raise refused(f"the setting {token.text}")
        if tokens and tokens[0].text.upper() == "ATTACH" and any(t.text.upper() == "FROM" for t in tokens):
            raise refused("ATTACH … FROM reaches files of the server")

    def _refuse_name(self, tokens: Sequence[Token], n: int) -> None:
        """Refuse a name that could be a function's without being called, and an engine without arguments."""
        name = _name(tokens[n])
        before, second = (tokens[n - k] if n >= k else Token("", "") for k in (1, 2))
        has_owner = before.kind == "Dot" or (n + 1 < len(tokens) and tokens[n + 1].kind == "Dot")
        is_label = before.text.upper() == "AS"
        if name in _REFUSED_NAMES and not has_owner and not is_label:
            raise refused(f"the name {name}, which is a function's; write table.{name} for a column")
        engine = second if before.kind == "Equals" else before
        if engine.text.upper() == "ENGINE" and name in self._refused:
            raise refused(f"the engine {name} reaches beyond this server's tables")

    def _refuse_call(self, tokens: Sequence[Token], n: int) -> None:
        name = _name(tokens[n])
        if name in self._refused:
            raise refused(f"{name}() reaches beyond this server's tables")
        first, second = (tokens[n + k] if n + k < len(tokens) else Token("EndOfStream", "") for k in (2, 3))
        if name == "format":  # the ordinary function takes a pattern, the table function a format and a structure
            before = tokens[n - 1].text.upper() if n else ""
            is_pattern = first.kind == "StringLiteral" and "{" in first.text
            is_table = before in ("FROM", "JOIN", "IN", "FUNCTION", "TABLE", "DESCRIBE", "DESC", "AS")
            if (is_table or not is_pattern) and not _is_data(tokens[n + 1 : n + 6]):
                raise refused("the table function format() may read text as SQL; give it a format of data, and data")
        if name in _STRUCTURED_CALLS:
            is_literal = first.kind == "StringLiteral" and second.kind in ("Comma", "ClosingRoundBracket")
            if is_literal and _EXPRESSION_IN_STRUCTURE.search(first.text):
                raise refused(f"expressions in the structure of {name}()")
            if not is_literal and first.kind not in ("OpeningRoundBracket", "ClosingRoundBracket", "Number"):
                raise refused(f"a first argument of {name}() that is neither a literal nor a tuple")


def _name(token: Token) -> str:
    """What a token names, in small letters. Raises Fault for escapes, which could spell anything."""
    if token.kind != "QuotedIdentifier":
        return token.text.lower()
    if not _HARMLESS_NAME.fullmatch(token.text):
        raise refused(f"{token.text}, a name with escapes")
    return token.text[1:-1].lower()


def _is_data(tokens: Sequence[Token]) -> bool:
    """True for `(format, 'data')`, as the table function format() takes it, where the data cannot be read as SQL."""
    kinds = [token.kind for token in tokens]
    if len(tokens) != 5 or kinds[::2] != ["OpeningRoundBracket", "Comma", "ClosingRoundBracket"]:
        return False
    is_literal = kinds[1] in ("BareWord", "StringLiteral") and kinds[3] in ("StringLiteral", "HereDoc")
    return is_literal and tokens[1].text.strip("'").lower() in _DATA_FORMATS


def _values_at(tokens: Sequence[Token]) -> int | None:
    """Where the keyword VALUES of an INSERT stands, which is not a call of the table function of that name."""
    if not tokens or tokens[0].text.upper() != "INSERT":
        return None
    for n, token in enumerate(tokens):
        if token.text.upper() in ("SELECT", "WITH", "FROM"):
            return None
        if token.kind == "BareWord" and token.text.upper() == "VALUES":
            return n
    return None
