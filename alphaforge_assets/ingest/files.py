"""A user's file as a stream of bytes: what kind it is, its hash, and its unpacked content, of bounded size.

A zip has one member. What unpacks to more than numbers can, or is torn, is refused and named.
"""

import contextlib
import datetime as dt
import gzip
import hashlib
import io
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, cast

from alphaforge_assets.errors import BadInput, Permanent
from alphaforge_assets.ingest.mapping import Form

Packing = Literal["", "gz", "zip"]
ENDINGS: dict[str, Form] = {".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
ENDINGS_SAY = ".csv, .jsonl or .parquet, plain, in .gz or in .zip"
# JSON of trades deflates to a fifteenth; a smaller file may be as repetitive as it likes.
TIMES_UNPACKED_MAX = 100
UNPACKED_FREE = 64 << 20

# What unpacking raises for a file that is torn or none.
TORN = (zipfile.BadZipFile, gzip.BadGzipFile, EOFError, zlib.error, NotImplementedError)


@dataclass(frozen=True)
class DataFile:
    """A file that can be read. `written_at` is when it was last changed: what ended later it cannot know."""

    path: Path
    form: Form
    packing: Packing
    size: int
    sha256: str
    written_at: dt.datetime


def look(path: Path, form: Form | None) -> DataFile:
    """What a file is, by its ending or as `form` says. Raises BadInput for one that cannot be read or is empty."""
    try:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            status = os.fstat(stream.fileno())
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror or error}; name a readable file") from error
    if not status.st_size:
        raise BadInput(f"{path}: is empty")
    packing: Packing = "gz" if path.suffix == ".gz" else "zip" if path.suffix == ".zip" else ""
    name = _member(path).filename if packing == "zip" else path.stem if packing else path.name
    found = form or ENDINGS.get(Path(name).suffix.lower())
    if found is None:
        raise BadInput(f"{path}: {Path(name).name!r} does not end in {ENDINGS_SAY}; rename it, or write format: csv")
    written_at = dt.datetime.fromtimestamp(status.st_mtime, dt.UTC)
    return DataFile(path, found, packing, status.st_size, digest, written_at)


@contextlib.contextmanager
def opened(file: DataFile, progress: Callable[[int], None] = lambda position: None) -> Iterator[IO[bytes]]:
    """The unpacked content. `progress` is told how much of the file itself has been read.

    Raises BadInput for a file that is torn or unpacks to too much, also where it is read.
    """
    try:
        with contextlib.ExitStack() as stack:
            raw = stack.enter_context(file.path.open("rb"))
            stream: Any = raw
            if file.packing == "gz":
                stream = stack.enter_context(gzip.GzipFile(fileobj=raw))
            elif file.packing == "zip":
                stream = stack.enter_context(stack.enter_context(zipfile.ZipFile(raw)).open(_member(file.path)))
            most = max(UNPACKED_FREE, file.size * TIMES_UNPACKED_MAX) if file.packing else file.size
            capped = _Capped(file.path, stream, most, lambda: progress(raw.tell()))
            yield cast("IO[bytes]", io.BufferedReader(capped, 1 << 20))
    except TORN as error:
        raise _torn(file.path, error) from error


@contextlib.contextmanager
def on_disk(file: DataFile, folder: Path) -> Iterator[Path]:
    """The unpacked content as a file, for what must be read from its end. Raises BadInput as `opened`, Permanent."""
    if not file.packing:
        yield file.path
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as copy, opened(file) as stream:
            shutil.copyfileobj(stream, copy)
    except OSError as error:
        raise no_room(folder, error) from error
    yield Path(copy.name)


def no_room(folder: Path, error: OSError) -> Permanent:
    """What is said where rows of files do not fit on the disk."""
    return Permanent(
        f"{folder}: {error.strerror or error}; nothing was landed: make room for what the files hold, or set"
        " ALPHAFORGE_HOME to another disk"
    )


def _member(path: Path) -> zipfile.ZipInfo:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.infolist() if not m.is_dir()]
    except (*TORN, OSError) as error:
        raise _torn(path, error) from error
    if len(members) != 1:
        raise BadInput(f"{path}: has {len(members)} files in it, and one is read: pack each by itself")
    if members[0].flag_bits & 1:
        raise BadInput(f"{path}: needs a password; unpack it first")
    return members[0]


def _torn(path: Path, error: Exception) -> BadInput:
    kind = "zip" if path.suffix == ".zip" else "gz"
    return BadInput(f"{path}: is no whole {kind} file ({type(error).__name__}: {error}); fetch it again")


class _Capped(io.RawIOBase):
    """A stream that ends with an error where it gives more than it may."""

    def __init__(self, path: Path, stream: IO[bytes], most: int, told: Callable[[], None]) -> None:
        self._path, self._stream, self._most, self._told = path, stream, most, told
        self._given = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """The next bytes. Raises BadInput for a file that is torn or unpacks to too much."""
        try:
            content = self._stream.read(len(buffer))
        except TORN as error:
            raise _torn(self._path, error) from error
        self._given += len(content)
        if self._given > self._most:
            raise BadInput(
                f"{self._path}: unpacks to more than {self._most} bytes, which no file of numbers does: it is refused"
            )
        buffer[: len(content)] = content
        self._told()
        return len(content)
