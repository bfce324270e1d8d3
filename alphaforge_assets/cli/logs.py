"""The logs of `alphaforge up`: what its parts say, and what it says itself, in files that do not grow for ever.

A part writes into a pipe that a thread of `up` reads, so that a file can be turned over without the part knowing, and
each line can be given its time, level and part.
"""

import datetime as dt
import json
import logging
import re
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import IO, Literal

import click

from alphaforge_assets.cli.screen import say

Form = Literal["text", "json"]

# A file is turned over at this size and so many old ones stay: 40 MB a part at most.
FILE_BYTES_MAX = 10_000_000
FILES_KEPT = 3
LINE_BYTES_MAX = 65_536
LAST_WORDS = 3
DRAIN_S_MAX = 5.0
_LEVEL = re.compile(r"\b(DEBUG|INFO|WARNING|ERROR|CRITICAL)\b")
_LEVEL_WITHIN = 100  # characters; further on it is somebody's words
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class _File(RotatingFileHandler):
    """A file of bounded size. A full disk must not stop the part that speaks, nor be told of by each of its lines."""

    def __init__(self, path: Path, form: Form) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        super().__init__(path, maxBytes=FILE_BYTES_MAX, backupCount=FILES_KEPT, encoding="utf-8", delay=True)
        self.form = form

    def handleError(self, record: logging.LogRecord) -> None:
        """Lose the line."""

    def format(self, record: logging.LogRecord) -> str:
        """A line as it is to stand in the file."""
        text = record.getMessage()
        return structured(record.levelname.lower(), record.name, text) if self.form == "json" else text

    def put(self, level: str, part: str, message: str) -> None:
        """Append a line."""
        self.handle(logging.makeLogRecord({"name": part, "levelname": level.upper(), "msg": message}))


def structured(level: str, part: str, message: str) -> str:
    """A line of JSON: time (ISO 8601, UTC), level, part, message."""
    time = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
    return json.dumps({"time": time, "level": level, "part": part, "message": message}, ensure_ascii=False)


@dataclass(frozen=True)
class Said:
    """What a part says, being written to `path` by a thread."""

    path: Path
    last: deque[str]
    thread: threading.Thread

    def drain(self) -> None:
        """Wait until all that a dead part has said is written."""
        self.thread.join(DRAIN_S_MAX)


def written(output: IO[bytes], part: str, path: Path, form: Form) -> Said:
    """Write each line of `output` to a file until its last writer has gone."""
    last: deque[str] = deque(maxlen=LAST_WORDS)
    thread = threading.Thread(target=_write, args=(output, part, path, form, last), name=f"log {part}", daemon=True)
    thread.start()
    return Said(path, last, thread)


def _write(output: IO[bytes], part: str, path: Path, form: Form, last: deque[str]) -> None:
    level = "info"
    with output:
        file = _File(path, form)
        while raw := output.readline(LINE_BYTES_MAX):
            line = _COLOUR.sub("", raw.decode(errors="replace")).rstrip("\r\n")
            if found := _LEVEL.search(line[:_LEVEL_WITHIN]):
                level = found.group().lower()
            elif line.startswith("Traceback "):
                level = "error"
            if line.strip():
                last.append(line)
            file.put(level, part, line)  # a line without a level belongs to the one before
        file.close()


@dataclass(frozen=True)
class Journal:
    """What `up` says of itself: on its terminal, as people or programs read it, and in `up.log`."""

    file: _File

    def note(self, level: Literal["info", "warning", "error"], message: str) -> None:
        """Say it in both places."""
        if self.file.form == "json":
            click.echo(structured(level, "up", message))
        else:
            say(message, style=None if level == "info" else "yellow", markup=False, soft_wrap=True)
        self.keep(level, message)

    def keep(self, level: str, message: str) -> None:
        """Say it in the file alone: of a terminal for people, which is told otherwise."""
        at = f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M:%S} UTC - {level.upper()} - " if self.file.form == "text" else ""
        self.file.put(level, "up", at + message)

    def announce(self, facts: Mapping[str, str]) -> None:
        """Where everything is, once all is up."""
        message = "all is up: " + ", ".join(f"{name} {value}" for name, value in facts.items())
        if self.file.form == "json":
            click.echo(structured("info", "up", message))
        self.keep("info", message)


def journal(home: Path, form: Form) -> Journal:
    """The journal of the `up` of a home."""
    return Journal(_File(home / "logs" / "up.log", form))
