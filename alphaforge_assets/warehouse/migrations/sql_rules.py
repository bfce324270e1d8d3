"""How a migration's text becomes statements, and what a statement may say. Pure: no file, no server.

Two families of rules. The text must mean the same to ClickHouse's lexer and to Flyway's generic SQL parser, so that
Flyway can take over: Flyway (flyway-core Parser.java, which flyway-database-clickhouse uses unchanged) knows '…' with
'' inside, "…", -- and /* */, and none of the other quotations ClickHouse has. And every statement must be idempotent,
because a process killed in the middle of a file leaves no trace in the history: the file runs again from its first
statement.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

_TOKEN = re.compile(
    r"""(?P<comment>--[^\n]*|/\*.*?\*/)
      | (?P<string>'(?:[^']|'')*')
      | (?P<name>"(?:[^"]|"")*")
      | (?P<unclosed>'|"|/\*)
      | (?P<space>[ \t\n]+)
      | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<mark>.)""",
    re.VERBOSE | re.DOTALL,
)
_FOREIGN_MARKS = {
    "`": 'a backtick, which Flyway does not read as a quote; write "name"',
    "#": "a '#', which ClickHouse reads as a comment and Flyway does not; write -- text",
    "$": "a '$', which opens a heredoc in ClickHouse only; write 'text'",
}


@dataclass(frozen=True)
class Statement:
    """One statement without its semicolon. `line` is where it begins in the file, counted from 1."""

    line: int
    text: str


@dataclass(frozen=True)
class Fault:
    """What is wrong at `line`, and how to mend it."""

    line: int
    message: str


class _Token(NamedTuple):
    kind: str
    text: str
    start: int


class _Unreadable(Exception):
    """ClickHouse and Flyway would read the text differently from `start` on."""

    def __init__(self, start: int, message: str) -> None:
        super().__init__(message)
        self.start = start


def split(text: str) -> tuple[tuple[Statement, ...], tuple[Fault, ...]]:
    """The statements of a migration's text, and its faults in order of line.

    Line ends are newlines afterwards, so that a checkout with CRLF makes the same tables. The first fault of quotation
    ends the reading: what follows it cannot be trusted.
    """
    text = text.replace("\r\n", "\n")
    statements: list[Statement] = []
    outlines: list[str] = []
    faults = [
        Fault(_line(text, hit.start()), "a placeholder ${…}, which Flyway would replace; write the value itself")
        for hit in re.finditer(r"\$\{", text)
    ]
    try:
        for tokens in _statements(text):
            end = tokens[-1].start + len(tokens[-1].text)
            statements.append(Statement(_line(text, tokens[0].start), text[tokens[0].start : end]))
            outlines.append(_outline(tokens))
            faults += [
                Fault(
                    _line(text, token.start),
                    "a ';' inside quotes, where a plainer splitter would cut; write another mark",
                )
                for token in tokens
                if token.kind in ("string", "name") and ";" in token.text
            ]
    except _Unreadable as fault:
        faults.append(Fault(_line(text, fault.start), str(fault)))
    for before, statement, outline in zip(["", *outlines], statements, outlines, strict=False):
        if problem := _repetition_fault(outline, before):
            faults.append(Fault(statement.line, problem))
        elif len(outlines) > 1 and re.match(r'RENAME |ALTER TABLE [\w". ]+ RENAME COLUMN ', outline):
            faults.append(
                Fault(
                    statement.line,
                    "a RENAME beside other statements, which a rerun would meet half done; give it a file of its own",
                )
            )
    if not statements and not faults:
        faults.append(Fault(1, "no statement; write one, or remove the file"))
    return tuple(statements), tuple(sorted(faults, key=lambda fault: fault.line))


def _line(text: str, start: int) -> int:
    return text.count("\n", 0, start) + 1


def _statements(text: str) -> Iterator[list[_Token]]:
    """Runs of tokens between semicolons, comments and space left out; a run of nothing is skipped, as Flyway does."""
    tokens: list[_Token] = []
    depth = 0
    for hit in _TOKEN.finditer(text):
        token = _Token(hit.lastgroup or "", hit.group(), hit.start())
        _refuse_ambiguous(token)
        if token.kind in ("comment", "space"):
            continue
        if token.text == ";":
            if depth:
                raise _Unreadable(token.start, "a ';' inside parentheses; close them first")
            if tokens:
                yield tokens
            tokens = []
            continue
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        if depth < 0:
            raise _Unreadable(token.start, "a ')' that nothing opens; remove it")
        tokens.append(token)
    if depth:
        raise _Unreadable(tokens[0].start, "a '(' that nothing closes; close it")
    if tokens:
        yield tokens


def _refuse_ambiguous(token: _Token) -> None:
    """Raise _Unreadable for what only one of the two parsers understands."""
    problem = None
    if "\r" in token.text:
        problem = "a carriage return that is not part of CRLF, which ends a comment for Flyway only; end lines with \\n"
    elif token.kind == "unclosed":
        problem = f"{token.text} is opened and never closed; close it"
    elif token.kind == "comment" and "/*" in token.text[2:] and token.text.startswith("/*"):
        problem = "/* inside a /* comment */; write -- text"
    elif token.kind in ("string", "name") and re.search(r"\\['\"]", token.text):
        problem = (
            "a backslash before a quote, which escapes it for ClickHouse only; write '' for a quote inside a string"
        )
    elif token.kind == "mark" and token.text in _FOREIGN_MARKS:
        problem = _FOREIGN_MARKS[token.text]
    elif token.kind == "mark" and not token.text.isascii():
        problem = f"{token.text!r} outside strings and comments; write it in ASCII"
    if problem:
        raise _Unreadable(token.start, problem)


def _outline(tokens: list[_Token]) -> str:
    """The statement's skeleton: words in capitals, single spaces, nothing that is quoted or in parentheses."""
    parts: list[str] = []
    depth = 0
    for token in tokens:
        depth -= token.text == ")"
        if depth == 0:
            parts.append({"string": "''", "name": '""'}.get(token.kind, token.text.upper()))
        depth += token.text == "("
    return " ".join(parts).replace(" , ", ", ")


_SCHEMA_ONLY = (
    "a migration may CREATE, ALTER, DROP or RENAME tables and views, and nothing else; rows belong to the assets"
)
_CREATE = re.compile(r"CREATE (OR REPLACE )?(TABLE|VIEW|MATERIALIZED VIEW) (IF NOT EXISTS )?")
_DROP = re.compile(r"DROP (TABLE|VIEW) IF EXISTS ")
_RENAME = re.compile(r"RENAME TABLE IF EXISTS [^,]+$")
_ALTER = re.compile(r'ALTER TABLE (?:\w+|"")(?: \. (?:\w+|""))? (.+)$')
_PART = r"(COLUMN|INDEX|PROJECTION|CONSTRAINT|STATISTICS)"
_ALTER_COMMANDS = re.compile(
    rf"ADD {_PART} IF NOT EXISTS |DROP {_PART} IF EXISTS |RENAME COLUMN IF EXISTS |COMMENT COLUMN |RESET SETTING "
    r"|MODIFY (COLUMN|COMMENT|SETTING|TTL|ORDER BY|SAMPLE BY|QUERY|REFRESH|SQL SECURITY|STATISTICS) "
    r"|MATERIALIZE (COLUMN|INDEX|PROJECTION|STATISTICS|TTL)\b"
)
# Commands that are lists themselves, so that what follows their commas is not a command.
_LISTS = re.compile(r"^(MODIFY (SETTING|TTL|QUERY)|RESET SETTING) | SETTINGS ")
_ALTER_REMEDY = (
    "use ADD … IF NOT EXISTS, DROP … IF EXISTS, RENAME COLUMN IF EXISTS, MODIFY, COMMENT COLUMN or MATERIALIZE"
)


def _repetition_fault(outline: str, before: str) -> str | None:
    """Why running the statement a second time could fail or do more than the first, or None if it could not.

    `before` is the outline of the statement before it in the file.
    """
    match outline.split(" ", 1)[0]:
        case "CREATE":
            return _create_fault(outline, before)
        case "DROP":
            return None if _DROP.match(outline) else "DROP needs IF EXISTS and may name a TABLE or VIEW"
        case "RENAME":
            return None if _RENAME.match(outline) else "RENAME must be of one TABLE, with IF EXISTS"
        case "ALTER":
            return _alter_fault(outline)
        case word:
            return f"{word} …: {_SCHEMA_ONLY}"


def _create_fault(outline: str, before: str) -> str | None:
    head = _CREATE.match(outline)
    if not head:
        return f"{outline[:40]} …: {_SCHEMA_ONLY}"
    replace, kind, if_not_exists = head.groups()
    if replace and kind in ("TABLE", "MATERIALIZED VIEW"):
        return f"CREATE OR REPLACE {kind} loses the rows it holds; write CREATE {kind} IF NOT EXISTS, and ALTER it"
    if not replace and not if_not_exists:
        return f"CREATE {kind} needs IF NOT EXISTS" + ("" if "TABLE" in kind else ", or OR REPLACE")
    half = "may die half filled, and IF NOT EXISTS then keeps the half"
    if kind == "TABLE" and re.search(r"(?<! EMPTY) AS (SELECT|WITH|\()", outline):
        if (name := _named(outline, _CREATE)) and name == _named(before, _DROP):
            return None  # dropped first, every time: no half is kept
        return f"CREATE TABLE … AS SELECT {half}; write EMPTY AS SELECT, or drop the table in the statement before"
    if kind == "MATERIALIZED VIEW" and " POPULATE " in outline:
        return f"POPULATE {half}; leave it out"
    return None


def _named(outline: str, head: re.Pattern[str]) -> str | None:
    """The table that a statement is about, None if it does not begin so."""
    begun = head.match(outline)
    name = begun and re.match(r"\w+( \. \w+)?", outline[begun.end() :])
    return name[0] if name else None


def _alter_fault(outline: str) -> str | None:
    alter = _ALTER.match(outline)
    if not alter:
        return f"{outline[:40]} …: {_SCHEMA_ONLY}"
    commands = alter[1].split(", ")
    previous = ""
    for command in commands:
        if _ALTER_COMMANDS.match(command):
            previous = command
        elif not _LISTS.search(previous):
            return f"ALTER TABLE … {command[:40]}: not known to be harmless the second time; {_ALTER_REMEDY}"
        if " REMOVE " in f"{command} ":
            return "REMOVE fails the second time; MODIFY to the definition that is wanted"
        if command.startswith("RENAME ") and len(commands) > 1:
            return "a RENAME beside other commands, which a rerun would meet half done; give it a file of its own"
    return None


# Commands of several statements that one may hold, and costs as much as each of them: the server goes over all columns
# of the table every time. A new warehouse takes half as long.
_SAME_ALTER = re.compile(r"ALTER TABLE (\S+) (ADD COLUMN IF NOT EXISTS|MODIFY COLUMN) ")


def together(statements: Sequence[Statement]) -> list[list[Statement]]:
    """Statements in their order; neighbours that all add, or all modify, columns of one table are one group."""
    groups: list[list[Statement]] = []
    before = None
    for statement in statements:
        kind = _SAME_ALTER.match(statement.text)
        if kind and before and kind.groups() == before.groups():
            groups[-1].append(statement)
        else:
            groups.append([statement])
        before = kind
    return groups


def joined(group: Sequence[Statement]) -> str:
    """A group as one statement."""
    first, *rest = (statement.text for statement in group)
    return ", ".join([first, *(text.split(" ", 3)[3] for text in rest)])
