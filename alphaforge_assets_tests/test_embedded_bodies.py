"""Request bodies: frames are chained wherever the network cuts them, broken and oversized bodies are refused."""

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import lz4.frame
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from alphaforge_assets.warehouse.embedded import bodies
from alphaforge_assets.warehouse.embedded.faults import Fault

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "lz4": lz4.frame.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "identity": bytes,
    "": bytes,
}


def read(chunks: list[bytes], encoding: str, bytes_max: int = 1 << 30) -> bytes:
    async def source() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    async def collect() -> bytes:
        return b"".join([c async for c in bodies.counted(bodies.decompressed(source(), encoding), bytes_max)])

    return asyncio.run(collect())


@given(st.sampled_from(sorted(COMPRESS)), st.lists(st.binary(max_size=300), max_size=5), st.integers(1, 64))
def test_chained_frames(encoding: str, blocks: list[bytes], size: int) -> None:
    wire = b"".join(COMPRESS[encoding](block) for block in blocks)
    assert read([wire[at : at + size] for at in range(0, len(wire), size)], encoding) == b"".join(blocks)


@pytest.mark.parametrize("encoding", ["lz4", "zstd", "gzip", "deflate"])
def test_a_cut_frame_is_an_error(encoding: str) -> None:
    wire = COMPRESS[encoding](b"x" * 1000)
    with pytest.raises(Fault, match="ends inside a frame"):
        read([wire[:-3]], encoding)


@pytest.mark.parametrize("encoding", ["lz4", "zstd", "gzip", "deflate"])
def test_garbage_is_an_error(encoding: str) -> None:
    with pytest.raises(Fault, match="Cannot decompress"):
        read([b"this is not compressed"], encoding)


def test_an_unknown_encoding_is_an_error() -> None:
    with pytest.raises(Fault, match="Unknown compression method 'br'"):
        read([b"x"], "br")


def test_a_bomb_is_stopped_by_its_decoded_size() -> None:
    with pytest.raises(Fault, match="larger than 100000 bytes") as caught:
        read([gzip.compress(bytes(10_000_000))], "gzip", 100_000)
    assert caught.value.status == 413


def test_sweep(tmp_path: Path) -> None:
    bodies.sweep(tmp_path / "spool")
    with bodies.spooled(tmp_path / "spool") as file:
        assert list((tmp_path / "spool").iterdir()) == [Path(file.name)]
    (tmp_path / "spool" / "body-left").write_bytes(b"x")
    bodies.sweep(tmp_path / "spool")
    assert list((tmp_path / "spool").iterdir()) == []
