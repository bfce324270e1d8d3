"""Whatever is sent to the embedded warehouse, nothing outside its folder is read, written or called.

Requests made by chance (`fuzzed.py`) go to a real server whose working directory is a folder with a canary in it. The
kernel tells of every file opened there (inotify), a listener of every connection, and no answer may hold the canary.
"""

import contextlib
import ctypes
import http.client
import os
import random
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError
from urllib3 import encode_multipart_formdata

from alphaforge_assets.warehouse.client import open_warehouse
from alphaforge_assets.warehouse.embedded import configuration, confinement
from alphaforge_assets.warehouse.local import Address, running
from alphaforge_assets_tests.fuzzed import Names, Shot, Target, shots
from alphaforge_assets_tests.installed import until

CANARY = "canary-of-the-folder-outside"
SEED = 20261129
FEW, MANY = 400, 10_000
FENCED = confinement.version_of_kernel() > 0
ANSWER_BYTES_MAX = 1 << 20
# A file is opened, read, changed, made, moved or removed; the folder itself may be looked at.
_SEEN = 0x1 | 0x2 | 0x4 | 0x8 | 0x20 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x800


@dataclass
class Outside:
    """The folder next to the server's, and an address: both must be left alone."""

    folder: Path
    listener: socket.socket
    watch: int
    calls: list[bytes] = field(default_factory=list)

    def events(self) -> bytes:
        """What the kernel saw in the folder since the last look."""
        with contextlib.suppress(BlockingIOError):
            return os.read(self.watch, 1 << 16)
        return b""

    def listing(self) -> list[tuple[str, int, int, int]]:
        found = []
        for path in sorted(self.folder.rglob("*")):
            of = path.stat()
            found.append((str(path.relative_to(self.folder)), of.st_size, of.st_mtime_ns, of.st_mode))
        return found

    def listen(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:  # closed: the test is over
                return
            connection.settimeout(0.2)
            with connection, contextlib.suppress(OSError):
                self.calls.append(connection.recv(200))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@pytest.fixture(scope="module")
def outside(root: Path) -> Iterator[Outside]:
    folder = root / "outside"
    (folder / "below").mkdir(parents=True)
    for path in (folder / "canary.txt", folder / "below" / "canary.csv"):
        path.write_text(f"{CANARY}\n")
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_init1(os.O_NONBLOCK)
    for path in (folder, folder / "below"):
        assert libc.inotify_add_watch(watch, str(path).encode(), _SEEN) > 0
    with socket.create_server(("127.0.0.1", 0)) as listener:
        found = Outside(folder, listener, watch)
        threading.Thread(target=found.listen, daemon=True).start()
        yield found
        listener.shutdown(socket.SHUT_RDWR)
    os.close(watch)


def _environment() -> dict[str, str]:
    # No empty part: it would be the working directory, which imports would look through, and be seen doing so.
    paths = filter(None, (str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")))
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1"}


@contextlib.contextmanager
def served(data: Path, cwd: Path, before: str = "") -> Iterator[Address]:
    """A server of its own, standing in the folder outside. `before` is what its process does first."""
    data.parent.mkdir()
    program = f"""
from pathlib import Path
from alphaforge_assets.warehouse.embedded import confinement, process
{before}
process.serve(Path({str(data)!r}))
"""
    with data.parent.with_suffix(".log").open("w") as log:
        process = subprocess.Popen([sys.executable, "-c", program], cwd=cwd, stderr=log, env=_environment())
        try:
            until(lambda: running(data) is not None, 30)
            address = running(data)
            assert address is not None
            yield address
        finally:
            process.terminate()
            process.wait(30)


@pytest.fixture(scope="module")
def server(root: Path, outside: Outside) -> Iterator[Address]:
    """One without the kernel's fence: what its rules forget must show."""
    with served(root / "home" / "warehouse", outside.folder, "confinement.confine = lambda data: False") as address:
        yield address


@pytest.fixture(scope="module")
def client(server: Address, root: Path) -> Iterator[Client]:
    with open_warehouse(root / "home") as found:
        yield found


def fired(address: Address, shot: Shot) -> tuple[int, bytes]:
    """Status and the beginning of the answer; 0 where the server hung up."""
    body, headers = shot.sql, {"X-ClickHouse-Key": address.password}
    if shot.tables:
        body, headers["Content-Type"] = encode_multipart_formdata({n: (n, data) for n, data in shot.tables})
    limits = {"max_execution_time": "0.3", "max_memory_usage": "200000000", "max_rows_to_read": "1000000"}
    target = "/?" + urllib.parse.urlencode(limits | shot.url)
    connection = http.client.HTTPConnection(address.host, address.port, timeout=30)
    try:
        connection.request(shot.method, target, body if shot.method == "POST" else None, headers)
        response = connection.getresponse()
        return response.status, response.read(ANSWER_BYTES_MAX)
    except (http.client.HTTPException, ConnectionError):
        return 0, b""
    finally:
        connection.close()


def outcome(status: int, answer: bytes) -> str:
    if status == 200:
        return "answered"
    if b"refused by the embedded warehouse" in answer or b"Multi-statements" in answer or b"is not a token" in answer:
        return "refused by our rules"
    if b"ACCESS_DENIED" in answer or b"SETTING_CONSTRAINT_VIOLATION" in answer or b"READONLY" in answer:
        return "refused by the engine's privileges"
    return "the engine's error" if status else "hung up"


def fuzz(client: Client, server: Address, outside: Outside, seed: int, count: int) -> Counter[tuple[str, str]]:
    """Fire `count` requests and look outside after each. What came of them, by root and outcome."""
    database, address = "fuzzed", f"127.0.0.1:{outside.listener.getsockname()[1]}"
    target = Target(str(outside.folder / "canary.txt"), str(outside.folder), address, database)
    before, came = outside.listing(), Counter[tuple[str, str]]()
    outside.events()
    for n, shot in enumerate(shots(seed, count, Names.of(client), target)):
        if n % 100 == 0:  # they may well drop them
            client.command(f"CREATE DATABASE IF NOT EXISTS {database}")
            for name, type_ in (("t", "String"), ("i", "Int32")):
                client.command(f"CREATE TABLE IF NOT EXISTS {database}.{name} (a {type_}) ENGINE = Memory")
        status, answer = fired(server, shot)
        came[shot.root, outcome(status, answer)] += 1
        said = f"seed {seed}, request {n}: {shot}"
        assert CANARY.encode() not in answer, said
        # The name of a time zone may be `file:` and a path, where the engine looks for a zone's rules; it shows nothing
        # of it, and behind the kernel's fence it does not get there.
        is_zone = any(words in answer for words in (b"Cannot load time zone", b"Invalid time zone"))
        assert outside.events() == b"" or is_zone, f"a file outside was opened: {said}"
        assert not outside.calls, f"somebody was called: {outside.calls}; {said} or the one before"
    time.sleep(0.2)  # for what runs behind
    assert outside.events() == b""
    assert outside.listing() == before
    assert not outside.calls
    return came


def kept(home: Path) -> dict[str, bytes]:
    """The files beside the engine's own, which hold its rules and the password."""
    return {name: (home / "warehouse" / name).read_bytes() for name in ("users.xml", "engine.xml", "password")}


def _fuzz(client: Client, server: Address, outside: Outside, root: Path, seed: int, count: int) -> None:
    before = kept(root / "home")
    came = fuzz(client, server, outside, seed, count)
    assert kept(root / "home") == before
    assert {path.name for path in (root / "home").iterdir()} == {"warehouse", "logs"}
    assert {path.name for path in (root / "home" / "warehouse" / "spool").iterdir()} == set()
    assert client.query("SELECT 1").result_rows == [(1,)]
    by_outcome = Counter[str]()
    for (_, what), number in sorted(came.items()):
        by_outcome[what] += number
    print(f"\nseed {seed}: {count} requests: {dict(by_outcome)}\n{dict(came)}")
    assert min(by_outcome["answered"], by_outcome["refused by our rules"]) > count // 50, by_outcome


def test_nothing_outside_is_reached_by_some_hundred_requests(
    client: Client, server: Address, outside: Outside, root: Path
) -> None:
    seed = random.SystemRandom().randrange(1 << 32)  # another choice in every run; printed with a failure
    _fuzz(client, server, outside, root, seed, FEW)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_nothing_outside_is_reached_by_ten_thousand_requests(
    client: Client, server: Address, outside: Outside, root: Path
) -> None:
    _fuzz(client, server, outside, root, SEED, MANY)


def test_a_look_outside_is_noticed(outside: Outside) -> None:
    outside.events()
    (outside.folder / "canary.txt").read_text()
    assert outside.events()
    with socket.create_connection(outside.listener.getsockname()) as connection:
        connection.sendall(b"x")
    until(lambda: bool(outside.calls), 5)
    outside.calls.clear()


@pytest.mark.skipif(not FENCED, reason="this kernel has no Landlock")
def test_where_no_rule_can_look_the_kernel_does(outside: Outside, tmp_path: Path) -> None:
    outside.events()
    with served(tmp_path / "home" / "warehouse", outside.folder), open_warehouse(tmp_path / "home") as client:
        with pytest.raises(DatabaseError, match="Cannot load time zone"):
            client.command(f"SELECT toTimeZone(now(), concat('fi', 'le:{outside.folder}/canary.txt'))")
        assert outside.events() == b""


@pytest.mark.skipif(not FENCED, reason="this kernel has no Landlock")
def test_a_fenced_process_has_its_folder_and_nothing_else(outside: Outside, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    port = outside.listener.getsockname()[1]
    outside.events()  # a server of a test before this one stood there, and may have looked around as it left
    program = f"""
import os, socket
from pathlib import Path
from alphaforge_assets.warehouse.embedded.confinement import confine
assert confine(Path({str(own)!r}))
def refused(act):
    try:
        act()
    except PermissionError:
        return True
outside = Path({str(outside.folder)!r})
assert refused((outside / "canary.txt").read_text), "read"
assert refused(lambda: (outside / "new").write_text("x")), "written"
assert refused(lambda: list(outside.iterdir())), "listed"
assert refused((outside / "canary.txt").unlink), "removed"
assert refused(Path("/etc/passwd").read_text), "users"
if {confinement.version_of_kernel()} >= 4:
    assert refused(lambda: socket.create_connection(("127.0.0.1", {port}))), "called"
(Path({str(own)!r}) / "a").mkdir()
(Path({str(own)!r}) / "b").write_text("x")
os.rename({str(own)!r} + "/b", {str(own)!r} + "/a/b")
"""
    done = subprocess.run([sys.executable, "-c", program], env=_environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (own / "a" / "b").read_text() == "x"
    assert outside.events() == b""


def test_every_setting_that_holds_text_was_looked_at(client: Client) -> None:
    rows = client.query("SELECT name, readonly FROM system.settings WHERE type IN ('String', 'URI', 'Map', 'Dialect')")
    free = {name for name, is_constant in rows.result_rows if not is_constant}
    assert free <= configuration.TEXT_SETTINGS, "new in this engine: is it harmless? Else CONSTANT_SETTINGS"
    assert not configuration.TEXT_SETTINGS & set(configuration.CONSTANT_SETTINGS)
