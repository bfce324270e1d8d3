"""What a connection said, word for word and on disk before anything is made of it: one line of JSON a message.

    {"n":<number>,"at":<nanoseconds of our clock>,"m":<the message, byte for byte>}

A message that is not one line of JSON (`pong`) is there as a JSON string. A file holds an hour of one connection; it
goes when its segments are safe (segments.py). Nothing here knows what a message means.
"""

import contextlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson

from alphaforge_assets.errors import Permanent
from alphaforge_assets.failpoints import passing

HOUR_NS = 3_600_000_000_000
SYNC_S = 0.2
# What may wait for the disk. More than that is let go of, and is a break.
UNSYNCED_BYTES_MAX = 64_000_000


@dataclass(frozen=True, slots=True)
class Line:
    """One message: its number within the connection, when it came (ns, our clock), and the message."""

    n: int
    at: int
    message: bytes


def line(n: int, at: int, message: bytes) -> bytes:
    """The line of a message."""
    if b"\n" in message or b"\r" in message or not _is_json(message):
        message = orjson.dumps(message.decode("utf-8", "backslashreplace"))
    return b'{"n":%d,"at":%d,"m":%b}\n' % (n, at, message)


def _is_json(message: bytes) -> bool:
    if message[:1] not in (b"{", b"["):
        return False
    try:
        orjson.loads(message)
    except orjson.JSONDecodeError:
        return False
    return True


def read(file: Path) -> Iterator[Line]:
    """The whole lines of a journal, in order; a torn tail is left out."""
    with file.open("rb") as lines:
        for text in lines:
            if not text.endswith(b"}\n"):
                return
            head, _, rest = text.partition(b',"m":')
            number, _, at = head.removeprefix(b'{"n":').partition(b',"at":')
            message = rest[:-2]
            if message.startswith(b'"'):
                message = orjson.loads(message).encode()
            yield Line(int(number), int(at), message)


def mend(file: Path) -> int:
    """Cut a torn tail off at the last newline; it is kept beside it as `.torn`. Returns the bytes cut.

    Raises Permanent where that cannot be written.
    """
    try:
        with file.open("r+b") as whole:
            size = whole.seek(0, os.SEEK_END)
            keep, block = size, 1 << 16
            while keep:
                start = max(0, keep - block)
                whole.seek(start)
                found = whole.read(keep - start).rfind(b"\n")
                if found >= 0:
                    keep = start + found + 1
                    break
                keep = start
            if keep == size:
                return 0
            whole.seek(keep)
            with file.with_suffix(".torn").open("ab") as torn:
                torn.write(whole.read())
                torn.flush()
                os.fsync(torn.fileno())
            whole.truncate(keep)
            os.fsync(whole.fileno())
            return size - keep
    except OSError as error:
        raise Permanent(f"journal {file}: {error.strerror}; its torn end cannot be cut off") from error


class Journal:
    """The journal of one connection. `add` is for the loop that receives, `sync` for the one thread that writes.

    `folder` holds its files, each named `<name>.<connection>.<hour since 1970>.jsonl`.
    """

    def __init__(self, folder: Path, name: str, connection: str) -> None:
        self.folder, self.name, self.connection = folder, name, connection
        self.added = 0  # messages
        self.synced = 0  # the last number that is on disk
        self.lost = 0  # messages that were not taken
        self.bytes = 0
        self._waiting: list[tuple[int, bytes]] = []  # (hour, line)
        self._size = 0
        self._lock = threading.Lock()
        self._files: dict[int, int] = {}  # hour -> descriptor
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, message: bytes, at: int) -> int:
        """Take a message. Returns its number, 0 where too much waits for the disk and it is let go of."""
        text = line(self.added + 1, at, message)
        with self._lock:
            if self._size + len(text) > UNSYNCED_BYTES_MAX:
                self.lost += 1
                return 0
            self.added += 1
            self._waiting.append((at // HOUR_NS, text))
            self._size += len(text)
            return self.added

    def sync(self) -> int:
        """Bring what waits to disk. Returns the number of the last message that is there.

        Raises Permanent where the disk is full: what waited waits on, and the file ends with its last whole line.
        """
        with self._lock:
            waiting, self._waiting, self._size = self._waiting, [], 0
            last = self.added
        if not waiting:
            return self.synced
        by_hour: dict[int, list[bytes]] = {}
        for hour, text in waiting:
            by_hour.setdefault(hour, []).append(text)
        try:
            passing("journal.before")
            for hour in list(by_hour):
                self._write(hour, b"".join(by_hour[hour]))
                del by_hour[hour]
        except OSError as error:
            left = [(hour, text) for hour, text in waiting if hour in by_hour]
            with self._lock:
                self._waiting = left + self._waiting
                self._size += sum(len(text) for _, text in left)
            raise Permanent(f"journal in {self.folder}: {error.strerror}; free some room") from error
        self.synced = last
        passing("journal.synced")
        return last

    def over(self, hour: int) -> list[Path]:
        """Files of hours before `hour`: closed, and this journal's no more."""
        ended = [h for h in self._files if h < hour]
        for h in ended:
            os.close(self._files.pop(h))
        return [self._path(h) for h in ended]

    def close(self) -> list[Path]:
        """Close every file, after a last sync that was asked for. Returns them."""
        return self.over(2**62)

    def _write(self, hour: int, content: bytes) -> None:
        """All of it or nothing: a disk that fills up writes a part without an error first."""
        file = self._files.get(hour)
        if file is None:
            file = self._files[hour] = os.open(self._path(hour), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            self._sync_folder()
        before = os.fstat(file).st_size
        rest = memoryview(content)
        try:
            while rest:
                rest = rest[os.write(file, rest) :]
            os.fdatasync(file)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(file, before)
            raise
        self.bytes += len(content)

    def _sync_folder(self) -> None:
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _path(self, hour: int) -> Path:
        return self.folder / f"{self.name}.{self.connection}.{hour}.jsonl"


def named(file: Path) -> tuple[str, str, int]:
    """Name, connection and hour of a journal's file. Raises ValueError for another file."""
    name, connection, hour, _ = file.name.rsplit(".", 3)
    return name, connection, int(hour)


def left_over(folder: Path) -> list[Path]:
    """The journals of processes that are no more, mended, in the order of their hours. Raises Permanent."""
    files = sorted(folder.glob("*.jsonl"), key=lambda file: (named(file)[2], file.name)) if folder.is_dir() else []
    for file in files:
        mend(file)
    return files
