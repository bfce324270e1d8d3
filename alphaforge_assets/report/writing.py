"""Where reports go: a directory, or a bucket of S3. Whole files or none, the page after its data, the index last.

Credentials and region (AWS_ACCESS_KEY_ID, AWS_REGION, AWS_PROFILE, ...) are read by the S3 client itself.
"""

import contextlib
import json
import os
import re
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import pyarrow.fs as pafs

from alphaforge_assets.errors import BadInput, Permanent
from alphaforge_assets.report.reading import Report
from alphaforge_assets.report.rendering import HTML, SUMMARY, render, render_index

INDEX = "index.html"
INDEX_ENTRIES_MAX = 1_000
# A bucket that does not answer is told after seconds, not minutes.
S3_ATTEMPTS = 3
S3_CONNECT_S_MAX = 5.0
S3_REQUEST_S_MAX = 30.0
_READERS = 8
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_TYPES = {".html": "text/html; charset=utf-8", ".json": "application/json", ".csv": "text/csv; charset=utf-8"}


class Target(Protocol):
    """A place for reports: folders of files."""

    def write(self, folder: str, files: Mapping[str, bytes]) -> None: ...
    def read(self, path: str) -> bytes | None: ...
    def folders(self) -> list[str]: ...
    def url(self, path: str) -> str: ...


def target(place: str, s3_endpoint: str | None = None, option: str = "ALPHAFORGE_REPORTS") -> Target:
    """The place named by a directory or s3://bucket/prefix; it is there and can be reached.

    Raises BadInput naming `option` for what is no such place, Permanent for an S3 that refuses or does not answer.
    """
    if place.startswith("s3://"):
        bucket, _, prefix = place.removeprefix("s3://").partition("/")
        if not _BUCKET.fullmatch(bucket) or set(place) & set("?#\\ "):
            raise BadInput(f"{option} {place!r}: write s3://bucket/prefix, with a bucket name as S3 allows them")
        return _bucket(bucket, prefix.strip("/"), s3_endpoint, option)
    if "://" in place or "\0" in place:
        raise BadInput(f"{option} {place!r}: neither a directory nor s3://bucket/prefix")
    root = Path(place).expanduser().absolute()
    try:
        root.mkdir(parents=True, exist_ok=True)
        probe = root / f".{uuid.uuid4().hex}.partial"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise BadInput(f"{option} {root}: {error.strerror}; name a directory to write to") from error
    return Directory(root)


def publish(place: Target, report: Report, code_version: str, code_hash: str) -> str:
    """Write a report and the index of all reports. Returns where its page is. Raises Permanent if it cannot be."""
    place.write(report.name, render(report, code_version, code_hash))
    place.write("", {INDEX: render_index(_entries(place))})
    return place.url(f"{report.name}/{HTML}")


def _entries(place: Target) -> list[dict[str, Any]]:
    """What the reports of a place say of themselves, the latest first."""
    latest = sorted(place.folders(), reverse=True)[:INDEX_ENTRIES_MAX]
    with ThreadPoolExecutor(max_workers=_READERS) as pool:
        found = pool.map(lambda folder: place.read(f"{folder}/{SUMMARY}"), latest)
    entries = [json.loads(text) for text in found if text is not None]
    return sorted(entries, key=lambda entry: (entry["end"], entry["start"]), reverse=True)


@dataclass(frozen=True)
class Directory:
    """A directory of this machine."""

    root: Path

    def write(self, folder: str, files: Mapping[str, bytes]) -> None:
        """Everything is on disk before the first file takes its name. Raises Permanent, and leaves what was there."""
        there = self.root / folder
        partial = {name: there / f".{name}.{uuid.uuid4().hex}.partial" for name in files}
        try:
            there.mkdir(exist_ok=True)
            for name, content in files.items():
                with partial[name].open("wb") as out:
                    out.write(content)
                    out.flush()
                    os.fsync(out.fileno())
            for name in files:
                partial[name].replace(there / name)
        except OSError as error:
            for path in partial.values():
                with contextlib.suppress(OSError):
                    path.unlink()
            with contextlib.suppress(OSError):  # of ours only if it is empty
                there.rmdir()
            raise Permanent(f"report not written to {there}: {error.strerror}; what was there is unchanged") from error

    def read(self, path: str) -> bytes | None:
        try:
            return (self.root / path).read_bytes()
        except FileNotFoundError:
            return None

    def folders(self) -> list[str]:
        return [p.name for p in self.root.iterdir() if p.is_dir() and not p.name.startswith(".")]

    def url(self, path: str) -> str:
        return (self.root / path).as_uri()


@dataclass(frozen=True)
class Bucket:
    """A prefix of an S3 bucket. A file is put by one request, so it is there whole or not at all."""

    files: Any  # pyarrow.fs.S3FileSystem
    bucket: str
    prefix: str

    def write(self, folder: str, files: Mapping[str, bytes]) -> None:
        for name, content in files.items():
            path = self._path(f"{folder}/{name}" if folder else name)
            with _said(f"report not written to s3://{path}"):
                kind = {"Content-Type": _TYPES[Path(name).suffix]}
                with self.files.open_output_stream(path, metadata=kind) as out:
                    out.write(content)

    def read(self, path: str) -> bytes | None:
        try:
            with (
                _said(f"s3://{self._path(path)} cannot be read"),
                self.files.open_input_stream(self._path(path)) as text,
            ):
                return bytes(text.read())
        except FileNotFoundError:
            return None

    def folders(self) -> list[str]:
        where = pafs.FileSelector(self._path(""), allow_not_found=True)
        with _said(f"s3://{self._path('')} cannot be listed"):
            found = self.files.get_file_info(where)
        return [info.base_name for info in found if info.type == pafs.FileType.Directory]

    def url(self, path: str) -> str:
        return f"s3://{quote(self._path(path))}"

    def _path(self, path: str) -> str:
        return "/".join(p for p in (self.bucket, self.prefix, path) if p)


def _bucket(bucket: str, prefix: str, endpoint: str | None, option: str) -> Bucket:
    if endpoint and not re.fullmatch(r"https?://[^/\s@?#]+/?", endpoint):
        raise BadInput(f"AWS_ENDPOINT_URL {endpoint!r}: write http://host:port, or leave it out for AWS")
    with _said(f"s3://{bucket} cannot be reached"):
        files = pafs.S3FileSystem(
            endpoint_override=endpoint and endpoint.rstrip("/"),
            retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=S3_ATTEMPTS),
            connect_timeout=S3_CONNECT_S_MAX,
            request_timeout=S3_REQUEST_S_MAX,
            background_writes=False,
        )
        kind = files.get_file_info(bucket).type
    if kind != pafs.FileType.Directory:
        raise BadInput(
            f"{option} s3://{bucket}: there is no such bucket for these credentials; create it or name another"
        )
    return Bucket(files, bucket, prefix)


@contextlib.contextmanager
def _said(what: str) -> Iterator[None]:
    """One line of what the S3 client says. Raises Permanent, but FileNotFoundError as it is."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        reason = " ".join(str(error).split())[:300]
        raise Permanent(f"{what}: {reason}; look at AWS_ENDPOINT_URL, AWS_REGION and the credentials") from error
