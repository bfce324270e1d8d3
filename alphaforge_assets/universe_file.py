"""Instruments added to a universe file that people wrote: every other byte of it stays, and all or none are added.

A library that writes YAML anew (ruamel.yaml keeps comments) would set lines and spaces its own way; so text is put in
where the parser says that a list ends. The result is read as any universe before it takes the file's place.
"""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import yaml

from alphaforge_assets.errors import BadInput, Permanent
from alphaforge_assets.universe import DEFAULT_FILE, InstrumentEntry, Universe, load_universe


def add(path: Path, venue: str, entries: Mapping[str, str]) -> Universe:
    """Add instruments, symbol -> what stands for it in the file, to those of a venue. Returns the new universe.

    Raises BadInput for the file of the package itself, or one that would be no universe; Permanent where it cannot be
    written.
    """
    if path.resolve() == DEFAULT_FILE.resolve():
        raise BadInput(
            f"--write: {path} is the package's own, and the next version would undo it: copy it, and name the copy in"
            " ALPHAFORGE_UNIVERSE"
        )
    before = load_universe(path)
    text = path.read_bytes().decode("utf-8")
    try:
        number, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".yaml", dir=path.parent)
        staged = Path(name)
        try:
            with os.fdopen(number, "wb") as file:
                file.write(_with(text, venue, list(entries.values())).encode())
                file.flush()
                os.fsync(file.fileno())
            after = _checked(path, staged, before, venue, entries)
            staged.chmod(path.stat().st_mode & 0o777)
            staged.replace(path.resolve())  # where it is a link the file behind it is replaced
        finally:
            staged.unlink(missing_ok=True)
    except OSError as error:
        raise Permanent(f"{path}: {error.strerror or error}; it is as it was: make its folder writable") from error
    return after


def entry(symbol: str, **fields: object) -> str:
    """An instrument as a line of the file has it: its symbol, or a record where there is more to say."""
    its = {name: value for name, value in fields.items() if value is not None}
    InstrumentEntry.model_validate({"symbol": symbol, **its})
    if not its:
        return symbol
    return f"{{{', '.join(f'{name}: {value}' for name, value in {'symbol': symbol, **its}.items())}}}"


def _checked(path: Path, staged: Path, before: Universe, venue: str, entries: Mapping[str, str]) -> Universe:
    try:
        after = load_universe(staged)
    except BadInput as error:
        raise BadInput(f"--write: nothing was written, because it would be no universe: {error}") from error
    wanted = {*before.by_key, *(f"{venue}.{symbol.replace('/', '-')}" for symbol in entries)}
    kept = [i for i in after.instruments if i.key in before.by_key]
    if kept != list(before.instruments) or set(after.by_key) != wanted:
        raise BadInput(f"--write: {path} is written in a way that nothing can be added to; add the lines by hand")
    return after


def _with(text: str, venue: str, lines: list[str]) -> str:
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    venues = _value(root, "venues")
    its = _value(_value(venues, venue), "instruments")
    if isinstance(its, yaml.SequenceNode) and its.flow_style:
        at = _end(its.value[-1])
        return f"{text[:at]}, {', '.join(lines)}{text[at:]}"
    if isinstance(its, yaml.SequenceNode):
        indent = text[: its.value[0].start_mark.index].rpartition("\n")[2].partition("-")[0]
        return _after(text, _end(its), [f"{indent}- {line}" for line in lines])
    if not isinstance(venues, yaml.MappingNode) or venues.flow_style:
        return text
    key = venues.value[0][0]
    indent = " " * key.start_mark.column
    added = [f"{indent}{venue}:", f"{indent}  instruments:", *(f"{indent}    - {line}" for line in lines)]
    return _after(text, _end(venues), added)


def _after(text: str, index: int, lines: list[str]) -> str:
    """Lines put in after the line of an index; its comment stays where it is."""
    at = text.find("\n", index)
    head, tail = (text, "") if at < 0 else (text[:at], text[at:])
    return head + "".join(f"\n{line}" for line in lines) + (tail or "\n")


def _end(node: yaml.Node) -> int:
    """Where the text of a node ends, without what follows: a block ends where the next thing begins."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.index)


def _value(node: yaml.Node | None, name: str) -> yaml.Node | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for key, value in node.value if key.value == name), None)
