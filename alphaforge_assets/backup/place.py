"""Where a backup is kept: a folder, or a prefix of an S3 bucket. A file is there whole or not at all."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow.fs as pafs

from alphaforge_assets.errors import Permanent
from alphaforge_assets.report.writing import Bucket, target


class Place(Protocol):
    """A place for files, by paths such as pieces/ab/abcd."""

    def write(self, path: str, content: bytes) -> None: ...
    def read(self, path: str) -> bytes | None: ...
    def size(self, path: str) -> int | None: ...
    def names(self, folder: str) -> list[str]: ...


def place(where: str, s3_endpoint: str | None) -> Place:
    """The place that a person named. Raises BadInput for what is none, Permanent for an S3 that does not answer."""
    found = target(where, s3_endpoint, "PLACE")
    if isinstance(found, Bucket):
        return InBucket(found.files, "/".join(part for part in (found.bucket, found.prefix) if part))
    return Folder(Path(where).expanduser().absolute())


@dataclass(frozen=True)
class Folder:
    """A folder of this machine."""

    root: Path

    def write(self, path: str, content: bytes) -> None:
        """On disk before it takes its name. Raises Permanent."""
        there = self.root / path
        partial = there.with_name(f".{there.name}.{uuid.uuid4().hex}.partial")
        try:
            there.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as out:
                out.write(content)
                out.flush()
                os.fsync(out.fileno())
            partial.replace(there)
            folder = os.open(there.parent, os.O_RDONLY)
            try:
                os.fsync(folder)  # the name too
            finally:
                os.close(folder)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise Permanent(f"backup file {there} cannot be written: {error.strerror}; free some room") from error

    def read(self, path: str) -> bytes | None:
        """None if there is no such file. Raises Permanent."""
        with _said(f"backup file {self.root / path}"):
            try:
                return (self.root / path).read_bytes()
            except FileNotFoundError:
                return None

    def size(self, path: str) -> int | None:
        """Bytes, None if there is no such file."""
        try:
            return (self.root / path).stat().st_size
        except FileNotFoundError:
            return None

    def names(self, folder: str) -> list[str]:
        """Whole files of a folder, sorted."""
        there = self.root / folder
        return sorted(p.name for p in there.iterdir() if not p.name.startswith(".")) if there.is_dir() else []


@dataclass(frozen=True)
class InBucket:
    """A prefix of a bucket; a file is put by one request."""

    files: Any  # pyarrow.fs.S3FileSystem
    prefix: str

    def write(self, path: str, content: bytes) -> None:
        """Raises Permanent."""
        with _said(f"s3://{self.prefix}/{path}"), self.files.open_output_stream(f"{self.prefix}/{path}") as out:
            out.write(content)

    def read(self, path: str) -> bytes | None:
        """None if there is no such file. Raises Permanent."""
        with _said(f"s3://{self.prefix}/{path}"):
            try:
                with self.files.open_input_stream(f"{self.prefix}/{path}") as content:
                    return bytes(content.read())
            except FileNotFoundError:
                return None

    def size(self, path: str) -> int | None:
        """Bytes, None if there is no such file. Raises Permanent."""
        with _said(f"s3://{self.prefix}/{path}"):
            info = self.files.get_file_info(f"{self.prefix}/{path}")
        return info.size if info.type == pafs.FileType.File else None

    def names(self, folder: str) -> list[str]:
        """Files of a folder, sorted. Raises Permanent."""
        with _said(f"s3://{self.prefix}/{folder}"):
            found = self.files.get_file_info(pafs.FileSelector(f"{self.prefix}/{folder}", allow_not_found=True))
        return sorted(info.base_name for info in found if info.type == pafs.FileType.File)


@contextmanager
def _said(what: str) -> Iterator[None]:
    """One line of what went wrong. Raises Permanent."""
    try:
        yield
    except OSError as error:
        reason = " ".join(str(error).split())[:300]
        raise Permanent(f"{what}: {reason}; look at the place, its permissions and its credentials") from error
