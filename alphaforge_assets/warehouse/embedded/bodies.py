"""Request bodies: decompressed chunk by chunk, counted, and spooled to a file. No HTTP framework and no engine here."""

import contextlib
import tempfile
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import IO, Any

import lz4.frame
import zstandard

from alphaforge_assets.warehouse.embedded.faults import Fault

_DECOMPRESSORS: dict[str, Callable[[], Any]] = {
    "lz4": lz4.frame.LZ4FrameDecompressor,
    "zstd": lambda: zstandard.ZstdDecompressor().decompressobj(),
    "gzip": lambda: zlib.decompressobj(wbits=47),
    "deflate": lambda: zlib.decompressobj(wbits=47),
}


async def decompressed(chunks: AsyncIterator[bytes], encoding: str) -> AsyncIterator[bytes]:
    """The chunks without their Content-Encoding. clickhouse-connect sends one frame a block, so frames are chained.

    Raises Fault for an encoding that is not known, for broken data and for a body that ends inside a frame.
    """
    if encoding in ("", "identity"):
        async for chunk in chunks:
            yield chunk
        return
    if encoding not in _DECOMPRESSORS:
        raise Fault(48, "NOT_IMPLEMENTED", f"Unknown compression method {encoding!r}; use lz4, zstd, gzip or deflate")
    frame = None
    async for chunk in chunks:
        data = chunk
        while data:
            frame = frame or _DECOMPRESSORS[encoding]()
            try:
                plain = frame.decompress(data)
            except (RuntimeError, zlib.error, zstandard.ZstdError) as error:
                raise Fault(354, "ZLIB_INFLATE_FAILED", f"Cannot decompress the {encoding} body: {error}") from error
            data = (frame.unused_data or b"") if frame.eof else b""
            frame = None if frame.eof else frame
            if plain:
                yield plain
    if frame is not None:
        raise Fault(354, "ZLIB_INFLATE_FAILED", f"The {encoding} body ends inside a frame")


async def counted(chunks: AsyncIterator[bytes], bytes_max: int) -> AsyncIterator[bytes]:
    """The chunks, until there are too many bytes of them (Fault 307, HTTP 413)."""
    total = 0
    async for chunk in chunks:
        total += len(chunk)
        if total > bytes_max:
            raise Fault(
                307, "TOO_MANY_BYTES", f"The request's body is larger than {bytes_max} bytes; send less at a time"
            )
        yield chunk


@contextlib.contextmanager
def spooled(folder: Path) -> Iterator[IO[bytes]]:
    """A new file in the spool folder, gone afterwards."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix="body-", buffering=1 << 20) as file:
        yield file


def sweep(folder: Path) -> None:
    """Make the spool folder and remove what a killed server left in it."""
    folder.mkdir(exist_ok=True)
    for leftover in folder.iterdir():
        leftover.unlink()


async def nothing() -> AsyncIterator[bytes]:
    """A body without a byte."""
    return
    yield b""
