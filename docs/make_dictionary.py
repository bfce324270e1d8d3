"""Writes docs/dictionary.md: every table and view, from the comments in sql/migrations: `make docs`."""

from pathlib import Path

from alphaforge_assets.catalog import dictionary, layers

FILE = Path(__file__).with_name("dictionary.md")
LAYER_SAYS = {
    "research": "Views for researchers. They are the contract: columns are only ever added.",
    "mart": "What the views read: current rows, and every version that was ever published.",
    "staging": "The valid rows, newest version of each; and the rows that broke a rule, kept.",
    "landing": "What the venues said, all of it; and the ledger of every question put to them.",
    "dimensions": "What we know of venues and instruments, as history.",
}
HEAD = """# Data dictionary

Generated from the comments in `sql/migrations` by `make docs`; edit those. The database is `analytics`. Times are UTC.
"""


def text() -> str:
    """The whole page."""
    parts = [HEAD]
    known = dictionary()
    for layer in [*LAYER_SAYS, *sorted(set(layers().values()) - set(LAYER_SAYS))]:
        names = [name for name, its in layers().items() if its == layer]
        parts.append(f"## {layer}\n\n{LAYER_SAYS.get(layer, '')}".rstrip() + "\n")
        parts.extend(_table(name, known[name].comment, known[name].columns) for name in names)
    return "\n".join(parts)


def _table(name: str, comment: str, columns: tuple[tuple[str, str, str], ...]) -> str:
    rows = "".join(f"| `{column}` | `{kind}` | {said} |\n" for column, kind, said in _unquoted(columns))
    comment = comment.replace("''", "'")
    return f"### {name}\n\n{comment}\n\n| column | type | meaning |\n|---|---|---|\n{rows}"


def _unquoted(columns: tuple[tuple[str, str, str], ...]) -> list[tuple[str, str, str]]:
    """SQL's doubled quotes undone, and nothing that would end a cell of the table."""
    return [(c, kind, said.replace("''", "'").replace("|", "\\|")) for c, kind, said in columns]


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
