"""The serving process: one owner, a clean end, nothing lost by a sudden one, bounded memory and disk."""

import contextlib
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError

from alphaforge_assets.errors import Occupied
from alphaforge_assets.warehouse.embedded import process
from alphaforge_assets.warehouse.local import running

Process = subprocess.Popen[str]
COMMAND = [sys.executable, "-m", "alphaforge_assets.warehouse.embedded", "--data"]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited for a minute in vain"
        time.sleep(0.01)


@contextlib.contextmanager
def served(data: Path, *options: str) -> Iterator[Process]:
    """A server of `data`, killed at the end if it still runs."""
    with subprocess.Popen([*COMMAND, str(data), *options], stderr=subprocess.PIPE, text=True) as server:
        try:
            until(lambda: server.poll() is not None or running(data) is not None)
            yield server
        finally:
            server.kill()


def client_of(data: Path) -> Client:
    address = running(data)
    assert address is not None
    return clickhouse_connect.get_client(
        host=address.host,
        port=address.port,
        username=address.user,
        password=address.password,
        compress=False,
        autogenerate_session_id=False,
        query_retries=0,
        settings={"async_insert": 0},
    )


def end(server: Process, number: int = signal.SIGTERM) -> tuple[int, str]:
    server.send_signal(number)
    _, said = server.communicate(timeout=60)
    return server.returncode, said


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "warehouse"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_clean_end(data: Path, number: int) -> None:
    with served(data) as server:
        client = client_of(data)
        client.command("CREATE TABLE default.t (a Int32) ENGINE = MergeTree ORDER BY a")
        client.insert("default.t", [[1]], column_names=["a"])
        state = json.loads((data / "server.json").read_text())
        assert (state["pid"], state["url"]) == (server.pid, f"http://127.0.0.1:{state['port']}")
        assert end(server, number) == (0, "")
        assert not (data / "server.json").exists()
        assert list((data / "spool").iterdir()) == []
    with served(data):
        assert client_of(data).command("SELECT count() FROM default.t") == 1


def test_the_end_does_not_wait_for_a_long_query(data: Path) -> None:
    with served(data) as server:
        client = client_of(data)
        failed = threading.Event()

        def ask() -> None:
            with pytest.raises((DatabaseError, OperationalError)):
                client.query("SELECT count(), 'long' FROM numbers(10000000000000)")
            failed.set()

        asking = threading.Thread(target=ask)
        asking.start()
        sql = "SELECT count() FROM system.processes WHERE query LIKE '%long%' AND query NOT LIKE '%processes%'"
        until(lambda: client_of(data).command(sql) == 1)
        assert end(server)[0] == 0
        asking.join()
        assert failed.is_set()


def test_the_end_does_not_wait_for_a_reader_that_stalls(data: Path) -> None:
    with served(data) as server:
        address = running(data)
        assert address is not None
        with socket.create_connection((address.host, address.port)) as stalled:
            body = b"SELECT * FROM numbers(100000000000) FORMAT RowBinary"
            head = f"POST / HTTP/1.1\r\nHost: 127.0.0.1:{address.port}\r\nX-ClickHouse-Key: {address.password}\r\n"
            stalled.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            assert stalled.recv(15) == b"HTTP/1.1 200 OK"
            time.sleep(0.3)  # until the buffers are full and the server waits for us
            assert end(server)[0] == 0


def test_a_second_owner_is_told_of_the_first(data: Path) -> None:
    with served(data) as server:
        second = subprocess.run([*COMMAND, str(data)], capture_output=True, text=True, check=False)
        assert second.returncode == 1
        assert f"belongs to process {server.pid} (" in second.stderr
        assert f"--data {data}" in second.stderr
        assert "Traceback" not in second.stderr
        with pytest.raises(Occupied, match=f"process {server.pid} "):
            process.serve(data)
        assert client_of(data).command("SELECT 1") == 1


def test_a_port_in_use(data: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        second = subprocess.run([*COMMAND, str(data), "--port", str(port)], capture_output=True, text=True, check=False)
        assert (second.returncode, second.stderr.count("\n")) == (1, 1)
        assert f"port {port} of 127.0.0.1 is in use" in second.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["a?b"], "another name"),
        (["a&b"], "another name"),
        (["/proc/nowhere"], "/proc/nowhere"),
        (["x", "--port", "70000"], "port 70000"),
    ],
)
def test_bad_input(tmp_path: Path, options: list[str], said: str) -> None:
    options[0] = str(tmp_path / options[0])
    second = subprocess.run([*COMMAND, *options], capture_output=True, text=True, check=False)
    assert (second.returncode, second.stderr.count("\n")) == (2, 1)
    assert said in second.stderr


@pytest.mark.parametrize("name", ["a b", "a%20b", "<a>'b", "é=#+"])
def test_a_directory_with_an_odd_name(tmp_path: Path, name: str) -> None:
    data = tmp_path / name
    with served(data):
        client_of(data).command("CREATE TABLE default.t (a Int32) ENGINE = MergeTree ORDER BY a")
    with served(data):
        assert client_of(data).command("EXISTS TABLE default.t") == 1


def test_only_loopback_is_bound(data: Path) -> None:
    with served(data) as server:
        inodes = {os.readlink(fd) for fd in Path(f"/proc/{server.pid}/fd").iterdir() if fd.is_symlink()}
        listening = [
            line.split()[1]
            for table in ("tcp", "tcp6")
            for line in Path(f"/proc/{server.pid}/net/{table}").read_text().splitlines()[1:]
            if line.split()[3] == "0A" and f"socket:[{line.split()[9]}]" in inodes
        ]
        assert [address.split(":")[0] for address in listening] == ["0100007F"]


def test_the_time_zone_is_utc_wherever_we_are(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    with served(data):
        assert client_of(data).command("SELECT timezone(), toString(toDateTime(0))") == ["UTC", "1970-01-01 00:00:00"]


def has_grown(numbers: set[int], floor: int) -> bool:
    return len(numbers) > floor


def test_no_acknowledged_row_is_lost_by_kill_9(data: Path) -> None:
    acknowledged: set[int] = set()

    def write(first: int, step: int) -> None:
        client = client_of(data)
        with contextlib.suppress(OperationalError, DatabaseError):  # the end of this round
            for batch in range(first, first + 1_000_000, step):
                rows = [[batch, n] for n in range(50)]
                client.insert("default.t", rows, column_names=["batch", "n"], column_type_names=["Int64", "Int32"])
                acknowledged.add(batch)

    for round_ in range(4):
        with served(data) as server:
            client = client_of(data)
            client.command("CREATE TABLE IF NOT EXISTS default.t (batch Int64, n Int32) ENGINE = MergeTree ORDER BY n")
            before = len(acknowledged)
            writers = [threading.Thread(target=write, args=(round_ * 1_000_000_000 + k, 3)) for k in range(3)]
            for writer in writers:
                writer.start()
            until(partial(has_grown, acknowledged, before + 20))
            server.kill()
            for writer in writers:
                writer.join()
    with served(data):
        stored = client_of(data).query("SELECT batch, count() FROM default.t GROUP BY batch").result_rows
    complete = {batch for batch, rows in stored if rows == 50}
    assert len(acknowledged) > 80
    assert acknowledged <= complete


def test_a_client_that_dies_in_mid_upload_leaves_nothing(data: Path) -> None:
    with served(data):
        client = client_of(data)
        client.command("CREATE TABLE default.t (a Int32) ENGINE = MergeTree ORDER BY a")
        address = running(data)
        assert address is not None
        with socket.create_connection((address.host, address.port)) as upload:
            head = f"POST /?query=INSERT+INTO+default.t+FORMAT+CSV HTTP/1.1\r\nHost: 127.0.0.1:{address.port}\r\n"
            head += f"X-ClickHouse-Key: {address.password}\r\nContent-Length: 1000000\r\n\r\n"
            upload.sendall(head.encode() + b"1\n" * 100_000)
            until(lambda: any((data / "spool").iterdir()))
        until(lambda: not any((data / "spool").iterdir()))
        assert client.command("SELECT count() FROM default.t") == 0


def test_the_spool_is_swept_at_the_start(data: Path) -> None:
    with served(data) as server:
        address = running(data)
        assert address is not None
        with socket.create_connection((address.host, address.port)) as upload:
            head = f"POST /?query=INSERT+INTO+default.t+FORMAT+CSV HTTP/1.1\r\nHost: 127.0.0.1:{address.port}\r\n"
            head += f"X-ClickHouse-Key: {address.password}\r\nContent-Length: 1000000\r\n\r\n"
            upload.sendall(head.encode() + b"1\n" * 100_000)
            until(lambda: any((data / "spool").iterdir()))
            server.kill()
            server.wait()
        assert any((data / "spool").iterdir())
    with served(data):
        assert not any((data / "spool").iterdir())


def test_memory_is_bounded(data: Path) -> None:
    limit = 700 << 20
    with served(data, "--memory", str(limit)) as server:
        client = client_of(data)
        with pytest.raises(DatabaseError) as caught:
            client.query("SELECT groupArray(number) FROM numbers(1000000000)")
        assert caught.value.code == 241
        assert "(total)" in str(caught.value)
    with served(data) as server:
        client = client_of(data)
        client.query("SELECT number FROM numbers(1000000)")
        before = peak_bytes(server)
        # half a gigabyte of result, streamed, asked for whole, and in a format of which chdb gives no pieces
        sql = "SELECT number, hex(sipHash128(number)) AS s FROM numbers(12000000)"
        for text, whole in ((" FORMAT Native", "0"), (" FORMAT Native", "1"), (" FORMAT ArrowStream", "0"), ("", "0")):
            with client.raw_stream(sql + text, settings={"wait_end_of_query": whole}) as stream:
                size = 0
                while piece := stream.read(1 << 20):
                    size += len(piece)
            assert size > 400_000_000
        assert peak_bytes(server) < before + (300 << 20)
        assert not any((data / "spool").iterdir())


def peak_bytes(server: Process) -> int:
    return int(Path(f"/proc/{server.pid}/status").read_text().split("VmHWM:")[1].split()[0]) << 10


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare, to mount a small disk")
def test_a_full_disk(data: Path) -> None:
    data.mkdir()
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    mount = 'mount -t tmpfs -o size=48m tmpfs "$0" && '
    if subprocess.run([*command, mount + "true", str(data)], capture_output=True, check=False).returncode:
        pytest.skip("no user namespaces here, to mount a small disk in")
    script = mount + 'exec "$@" --data "$0"'
    with subprocess.Popen([*command, script, str(data), *COMMAND[:-1]], stderr=subprocess.DEVNULL) as server:
        try:
            inside = Path(f"/proc/{server.pid}/root{data}")
            until(lambda: running(inside) is not None)
            client = client_of(inside)
            table = "default.t (a Int64, s String) ENGINE = MergeTree ORDER BY a"
            client.command(f"CREATE TABLE {table} SETTINGS min_bytes_for_wide_part = 0")
            client.command("SYSTEM STOP MERGES default.t")
            (inside / "filler").write_bytes(bytes(8 << 20))
            acknowledged, code = 0, None
            while code is None and acknowledged < 200_000:
                try:
                    client.insert("default.t", [[n, os.urandom(500).hex()] for n in range(1000)])
                    acknowledged += 1000
                except DatabaseError as error:
                    code = error.code
            assert code == 243
            assert acknowledged > 0
            assert client.command("SELECT count() FROM default.t") == acknowledged
            (inside / "filler").unlink()  # room again: all is well without another hand
            client.insert("default.t", [[1, "x"]])
            assert client.command("SELECT count() FROM default.t") == acknowledged + 1
        finally:
            server.kill()


@pytest.mark.slow
def test_nobody_leaves_files_open(data: Path) -> None:
    """A thousand requests, good and bad, leave the server with as many files as before."""
    with served(data) as server:
        client = client_of(data)

        def some(times: int) -> None:
            for n in range(times):
                client.query(f"SELECT {n}")
                with contextlib.suppress(DatabaseError):
                    client.query("SELECT nofunction()")
                with contextlib.suppress(DatabaseError):
                    client.query("SELECT 1", settings={"max_threads": "x"})

        def files() -> int:
            return len(list(Path(f"/proc/{server.pid}/fd").iterdir()))

        some(50)
        before = files()
        some(300)
        assert files() <= before + 20
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > before
