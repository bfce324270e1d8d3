"""YAML files that people write: read whole, checked by a model, every fault told with file, line and field.

What a file may say belongs to whoever reads it; how it is read, and how a fault is worded, stands here once.
"""

import difflib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pydantic
import yaml

from alphaforge_assets.errors import BadInput

FILE_BYTES_MAX = 1_000_000
Place = tuple[str | int, ...]


def read(path: Path, what: str, advice: str) -> tuple[yaml.Node | None, Any]:
    """A YAML file as its nodes, which know their lines, and as a document.

    Raises BadInput for one that cannot be read, is no YAML, or names a key twice, with `advice`.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{what} {path}: {error.strerror or error}. {advice}") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{what} {path}: not UTF-8 text ({error.reason} at byte {error.start})") from error
    if len(text) > FILE_BYTES_MAX:
        raise BadInput(f"{what} {path}: larger than {FILE_BYTES_MAX} bytes; is it the right file?")
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        document = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        at = error.problem_mark.line + 1 if error.problem_mark else 1
        raise BadInput(f"{path}:{at}: not valid YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise BadInput(f"{path}:1: not valid YAML: {error}") from error
    if repeated := list(_repeated_keys(root, path)):
        raise BadInput("\n".join(repeated))
    return root, document


def faults(path: Path, root: yaml.Node | None, error: pydantic.ValidationError, known: Sequence[str]) -> list[str]:
    """Each fault as `file:line: field: what is wrong; how to mend it`. `known` are the fields that a file may have."""
    return [_fault(path, root, each, known) for each in error.errors()]


def where(path: Path, root: yaml.Node | None, loc: Place) -> str:
    """`file:line: field`."""
    return f"{path}:{_line(root, loc)}: {dotted(loc) or 'file'}"


def dotted(loc: Place) -> str:
    """`venues.okx_spot.instruments[0]`"""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".")


def _repeated_keys(node: yaml.Node | None, path: Path) -> Iterator[str]:
    """YAML silently keeps the last of two equal keys; we do not."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                yield f"{path}:{key.start_mark.line + 1}: {key.value}: named twice; remove or merge one"
            seen.add(key.value)
            yield from _repeated_keys(value, path)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _repeated_keys(value, path)


def _fault(path: Path, root: yaml.Node | None, error: Any, known: Sequence[str]) -> str:
    loc = tuple(part for part in error["loc"] if part != "[key]")
    name = str(loc[-1]) if loc else ""
    match error["type"]:
        case "extra_forbidden":
            near = difflib.get_close_matches(name, known, n=1)
            problem = f"unknown field; did you mean {near[0]}?" if near else "unknown field; remove it"
        case "missing":
            problem = "is missing; add it"
        case "literal_error":
            expected = error["ctx"]["expected"]
            near = difflib.get_close_matches(str(error["input"]), re.findall(r"'([^']*)'", expected), n=1)
            problem = f"{error['input']!r} is not known; " + (f"did you mean {near[0]}?" if near else f"use {expected}")
        case "value_error":
            problem = f"{_shown(error['input'])}: {error['ctx']['error']}"
        case _:
            problem = f"{_shown(error['input'])}: {error['msg'].lower()}"
    return f"{where(path, root, loc)}: {problem}"


def _shown(value: Any) -> str:
    text = repr(value.get("symbol", value)) if isinstance(value, dict) else repr(value)
    return text if len(text) < 60 else text[:57] + "..."


def _line(node: yaml.Node | None, loc: Place) -> int:
    """1-based line of the deepest node on the way to `loc`."""
    line = node.start_mark.line if node else 0
    for part in loc:
        if isinstance(node, yaml.MappingNode):
            hit = next(((k, v) for k, v in node.value if k.value == part), None)
            if hit is None:
                break
            line, node = hit[0].start_mark.line, hit[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line
        else:
            break
    return line + 1
