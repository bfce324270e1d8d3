"""The words of a venue, kept: a line that says what was asked, then a record a line as it came, in zstd.

The same question and answer give the same bytes, so that they can be known by their hash.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from alphaforge_assets.errors import BadInput


class Words:
    """Collects the pages of one answer; of one thread."""

    def __init__(self, asked: Mapping[str, Any]) -> None:
        self._sink = pa.BufferOutputStream()
        self._out = pa.CompressedOutputStream(self._sink, "zstd")
        self.add([asked])

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """A page, in the order it came."""
        lines = "\n".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows)
        self._out.write((lines + "\n").encode() if rows else b"")

    def whole(self) -> bytes:
        """All of it, compressed."""
        self._out.close()
        kept: bytes = self._sink.getvalue().to_pybytes()
        return kept


def read(kept: bytes) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What was asked, and the records. Raises BadInput for what was not kept so, or is torn."""
    try:
        with pa.CompressedInputStream(pa.BufferReader(kept), "zstd") as stream:
            asked, *rows = [json.loads(line) for line in stream.read().decode().split("\n") if line]
    except (OSError, ValueError) as error:
        raise BadInput(f"not the words of a venue, or torn ({error}): restore it, or remove it") from error
    if not isinstance(asked, dict) or not {"start_ms", "end_ms", "origin", "source"} <= asked.keys():
        raise BadInput("its first line does not say what was asked: not a file of the raw trail")
    return asked, rows
