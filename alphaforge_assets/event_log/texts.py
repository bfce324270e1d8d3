"""How the text of an event is kept: packed against phrases that all events share, which leaves a tenth of it.

An event is 0.8 to 2.3 kB of JSON, and but for ids, moments and the partition it is the same as that of the partition
before. Each is packed by itself, so that any one can be read, deleted or copied alone; what they share stands in
phrases_1.txt, beside this module and not in the database. That file never changes, or what was packed with it could not
be read: better phrases are a phrases_2.txt, and a second number.
"""

import sqlite3
import threading
from functools import cache
from pathlib import Path
from typing import Any

import zstandard

PHRASES = 1  # the first byte of a packed text names the phrases that it was packed with
# Measured with 1,867 events of a run of 180 partitions: level 3 leaves 250 B of a materialization, 12 leaves 181 in
# 20 µs, 19 leaves 179 in 424 µs.
LEVEL = 12


def packed(text: str) -> bytes:
    """An event's text in short."""
    with _one_at_a_time:
        return bytes([PHRASES]) + _packer().compress(text.encode())


def unpacked(kept: bytes) -> str:
    """The text again."""
    with _one_at_a_time:
        return _unpacker(kept[0]).decompress(kept[1:]).decode()


def read_unpacked(connection: sqlite3.Connection) -> None:
    """Let every read of a connection give texts where packed ones are stored; nothing else there is a BLOB."""
    connection.row_factory = _row


_one_at_a_time = threading.Lock()  # neither side may be used by two threads at once


def _row(cursor: sqlite3.Cursor, row: tuple[Any, ...]) -> tuple[Any, ...]:
    if bytes not in map(type, row):
        return row
    return tuple(unpacked(value) if type(value) is bytes else value for value in row)


@cache
def _packer() -> zstandard.ZstdCompressor:
    # Of a header only what is needed: the length, so that just so much memory is taken to unpack it.
    parameters = zstandard.ZstdCompressionParameters.from_level(
        LEVEL, format=zstandard.FORMAT_ZSTD1_MAGICLESS, write_content_size=True, write_dict_id=False
    )
    return zstandard.ZstdCompressor(dict_data=_phrases(PHRASES), compression_params=parameters)


@cache
def _unpacker(number: int) -> zstandard.ZstdDecompressor:
    return zstandard.ZstdDecompressor(dict_data=_phrases(number), format=zstandard.FORMAT_ZSTD1_MAGICLESS)


@cache
def _phrases(number: int) -> zstandard.ZstdCompressionDict:
    text = Path(__file__).with_name(f"phrases_{number}.txt").read_bytes()
    return zstandard.ZstdCompressionDict(text, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
