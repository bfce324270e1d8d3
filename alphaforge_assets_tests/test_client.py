"""Finding, starting, sharing and leaving a warehouse, and what its errors become."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError
from hypothesis import given
from hypothesis import strategies as st

from alphaforge_assets.errors import BadInput, Permanent, Transient, WarehouseDown, WarehouseRefused
from alphaforge_assets.warehouse import client as client_module
from alphaforge_assets.warehouse import local
from alphaforge_assets.warehouse.client import open_warehouse, parse_url, translated
from alphaforge_assets.warehouse.local import Address, restoring, running, start_ahead

ROOT = Path(__file__).parents[1]


def python(code: str) -> "subprocess.Popen[str]":
    """A process of its own that runs `code`, with a pipe to its standard input, by which it can be told to end."""
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def user_of(home: Path) -> "subprocess.Popen[str]":
    """A process that opens the warehouse, says the server's pid, and uses it until its standard input is closed."""
    return python(
        "import sys; from pathlib import Path; from alphaforge_assets.warehouse.client import open_warehouse\n"
        f"with open_warehouse(Path({str(home)!r})) as client:\n"
        f"    import json; pid = json.load(open({str(home / 'warehouse' / 'server.json')!r}))['pid']\n"
        "    assert client.command('SELECT 1') == 1\n"
        "    print(pid, flush=True)\n"
        "    sys.stdin.read()\n"
    )


def said(process: "subprocess.Popen[str]") -> int:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.communicate()[1]
    return int(line)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited for a minute in vain"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Runs, and is not just a zombie that its parent has not looked at."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def server_pid(home: Path) -> int:
    pid = json.loads((home / "warehouse" / "server.json").read_text())["pid"]
    assert isinstance(pid, int)
    return pid


def test_the_session_has_one_server(warehouse: Client, warehouse_home: Path) -> None:
    assert warehouse.query("SELECT 1").result_rows == [(1,)]
    with open_warehouse(warehouse_home) as other:
        assert other.command("SELECT count() FROM system.processes") >= 1
        assert is_alive(server_pid(warehouse_home))


def test_a_fresh_warehouse_is_empty(fresh_warehouse: Client) -> None:
    names = {row[0] for row in fresh_warehouse.query("SHOW DATABASES").result_rows}
    assert names == {"default", "system", "information_schema", "INFORMATION_SCHEMA"}


def test_chdb_stays_out_of_the_clients_process(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from alphaforge_assets.warehouse.client import open_warehouse\n"
        f"with open_warehouse(Path({str(tmp_path)!r})) as client: client.query_arrow('SELECT 1')\n"
        "print(sum(name.partition('.')[0] == 'chdb' for name in sys.modules))"
    )
    out, error = python(code).communicate(timeout=60)
    assert (out, error) == ("0\n", "")


def test_it_lives_as_long_as_anybody_uses_it(tmp_path: Path) -> None:
    first, second = user_of(tmp_path), user_of(tmp_path)
    pid = said(first)
    assert said(second) == pid
    first.communicate("")
    with open_warehouse(tmp_path):
        second.communicate("")
        time.sleep(1.2)  # two looks of the server at its users
        assert is_alive(pid)
    until(lambda: not is_alive(pid))
    assert not (tmp_path / "warehouse" / "server.json").exists()
    assert (tmp_path / "logs" / "warehouse.log").read_text() == ""


def test_many_who_come_at_once_share_one_server(tmp_path: Path) -> None:
    users = [user_of(tmp_path) for _ in range(5)]
    pids = {said(user) for user in users}
    assert len(pids) == 1
    for user in users:
        assert user.communicate("")[1] == ""
    until(lambda: not any(is_alive(pid) for pid in pids))


def test_a_user_killed_lets_go(tmp_path: Path) -> None:
    user = user_of(tmp_path)
    pid = said(user)
    user.kill()
    user.communicate()
    until(lambda: not is_alive(pid))


def test_a_server_killed_is_replaced(tmp_path: Path) -> None:
    with open_warehouse(tmp_path) as client:
        client.command("CREATE TABLE default.t ENGINE = MergeTree ORDER BY a AS SELECT 1 AS a")
        first = server_pid(tmp_path)
        os.kill(first, signal.SIGKILL)
        until(lambda: not is_alive(first))
        with pytest.raises(WarehouseDown, match="does not answer"), translated():
            client.query("SELECT 1")
        assert running(tmp_path / "warehouse") is None
        with open_warehouse(tmp_path) as other:
            assert other.command("SELECT count() FROM default.t") == 1
            assert server_pid(tmp_path) != first
            assert client.command("SELECT count() FROM default.t") == 1  # at the address that it knows


def test_nobody_meets_a_server_on_its_way_out(tmp_path: Path) -> None:
    """Come again just when the server looks whether it is still needed."""
    pids = set()
    for n in range(12):
        with open_warehouse(tmp_path) as client:
            assert client.command("SELECT 1") == 1
            pids.add(server_pid(tmp_path))
        time.sleep(0.05 * n)
    assert pids
    until(lambda: not any(is_alive(pid) for pid in pids))


def test_a_server_that_was_started_by_hand_is_used(tmp_path: Path) -> None:
    data = tmp_path / "warehouse"
    command = [sys.executable, "-m", "alphaforge_assets.warehouse.embedded", "--data", str(data)]
    with subprocess.Popen(command, cwd=ROOT) as server:
        try:
            until(lambda: (data / "owner.lock").exists() and (data / "owner.lock").stat().st_size > 0)
            with open_warehouse(tmp_path) as client:  # while it starts
                assert client.command("SELECT 1") == 1
                assert server_pid(tmp_path) == server.pid
            time.sleep(1.2)
            assert server.poll() is None
        finally:
            server.terminate()
            assert server.wait() == 0


def test_a_file_of_somebody_else_is_written_anew(tmp_path: Path) -> None:
    (tmp_path / "warehouse").mkdir()
    (tmp_path / "warehouse" / "server.json").write_text("not json")
    with open_warehouse(tmp_path) as client:
        assert client.command("SELECT 1") == 1


def test_keep_open(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from alphaforge_assets.warehouse.client import keep_open\n"
        f"client = keep_open(Path({str(tmp_path)!r}))\n"
        "print(client.command('SELECT 1'))"
    )
    assert python(code).communicate(timeout=60) == ("1\n", "")
    until(lambda: not (tmp_path / "warehouse" / "server.json").exists())


def test_threads_share_a_client(warehouse: Client) -> None:
    answers: list[int] = []

    def ask(n: int) -> None:
        answers.extend(
            warehouse.query("SELECT {n:Int32} + 0", parameters={"n": n + k}).result_rows[0][0] for k in range(20)
        )

    threads = [threading.Thread(target=ask, args=(n * 100,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [n * 100 + k for n in range(8) for k in range(20)]


def test_settings_are_pinned(warehouse: Client) -> None:
    names = list(client_module.SETTINGS)
    rows = warehouse.query(
        "SELECT name, value FROM system.settings WHERE has({n:Array(String)}, name)", parameters={"n": names}
    ).result_rows
    assert dict(rows) == {name: str(value) for name, value in client_module.SETTINGS.items()}


# Addresses


def test_url() -> None:
    assert parse_url("http://u%40x:p%3A%2F@host:8123") == Address("http", "host", 8123, "u@x", "p:/")
    assert parse_url("https://host") == Address("https", "host", 8443, "default", "")
    assert parse_url("http://[::1]:9/").is_loopback


@pytest.mark.parametrize(
    "url",
    ["host:8123", "ftp://u:secret@host:1", "http://", "http://u:secret@host:port", "http://u:secret@host:1/db",
     "http://u:secret@host:99999", "http://u:secret@host:1?x=1", "http://[u:secret@host", "clickhouse://u:secret@host:1"],
)  # fmt: skip
def test_a_malformed_url(tmp_path: Path, url: str) -> None:
    with pytest.raises(BadInput, match="CLICKHOUSE_URL") as caught, open_warehouse(tmp_path, url):
        pass
    assert "http://user:password@host:port" in str(caught.value)
    assert "secret" not in str(caught.value)


@given(st.text(max_size=30))
def test_any_url_is_an_address_or_bad_input(text: str) -> None:
    with contextlib.suppress(BadInput):
        parse_url(text)
    with contextlib.suppress(BadInput):
        parse_url(f"http://{text}")


def test_a_url_is_used(warehouse: Client, warehouse_home: Path, tmp_path: Path) -> None:
    address = running(warehouse_home / "warehouse")
    assert address is not None
    with open_warehouse(tmp_path, f"http://default:{address.password}@localhost:{address.port}") as client:
        assert client.command("SELECT 1") == 1
    assert not (tmp_path / "warehouse").exists()
    url = f"http://default:wrong-secret@127.0.0.1:{address.port}"
    with (
        pytest.raises(Permanent, match="does not accept this user and password") as caught,
        open_warehouse(tmp_path, url),
    ):
        pass
    assert "secret" not in str(caught.value)


def test_nothing_answers(tmp_path: Path) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"http://u:secret@127.0.0.1:{bound.getsockname()[1]}"
        with pytest.raises(WarehouseDown, match="CLICKHOUSE_URL") as caught, open_warehouse(tmp_path, url):
            pass
    assert "secret" not in str(caught.value)


def test_something_else_answers(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def answer() -> None:
            for _ in range(2):
                with contextlib.suppress(OSError):  # the client did not come again, and the test is over
                    connection, _ = listener.accept()
                    with connection:
                        connection.recv(65536)
                        connection.sendall(b"SSH-2.0-whatever\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(WarehouseDown), open_warehouse(tmp_path, f"http://127.0.0.1:{listener.getsockname()[1]}"):
            pass


def test_a_home_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="ALPHAFORGE_HOME"), open_warehouse(tmp_path / "file"):
        pass


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "warehouse").mkdir()
    (tmp_path / "warehouse" / "engine").write_text("in the way")
    with (
        pytest.raises(WarehouseDown, match=r"did not start: .*Not a directory.*; see .*warehouse\.log"),
        open_warehouse(tmp_path),
    ):
        pass


# Errors


@pytest.mark.parametrize(
    ("sql", "settings", "error", "code"),
    [
        ("SELECT * FROM nowhere.t", {}, WarehouseRefused, 81),
        ("SELECT * FROM default.nope", {}, WarehouseRefused, 60),
        ("SELEC 1", {}, WarehouseRefused, 62),
        ("SELECT throwIf(1, 'boom')", {}, WarehouseRefused, 395),
        ("SELECT groupArray(number) FROM numbers(10000000)", {"max_memory_usage": 10_000_000}, WarehouseRefused, 241),
        ("SELECT count() FROM numbers(1000000000000)", {"max_execution_time": 0.1}, Transient, None),
    ],
)
def test_errors_of_queries(
    warehouse: Client, sql: str, settings: dict[str, float], error: type[Exception], code: int | None
) -> None:
    with pytest.raises(error) as caught, translated():
        warehouse.query(sql, settings=settings)
    assert type(caught.value) is error
    assert getattr(caught.value, "code", None) == code
    assert "(version" not in str(caught.value)


@translated()
def read_all(client: Client, sql: str) -> int:
    with client.query_row_block_stream(sql, settings={"max_block_size": 65536}) as blocks:
        return sum(len(block) for block in blocks)


def test_errors_in_mid_stream(warehouse: Client) -> None:
    with pytest.raises(WarehouseRefused, match="boom") as caught:
        read_all(warehouse, "SELECT throwIf(number = 5000000, 'boom') FROM numbers(10000000)")
    assert caught.value.code == 395


def test_errors_inside_open_warehouse_are_ours(warehouse: Client, warehouse_home: Path) -> None:
    with pytest.raises(WarehouseRefused), open_warehouse(warehouse_home) as client:
        client.query("SELECT * FROM nowhere.t")


@pytest.mark.parametrize(
    ("code", "text", "transient"),
    [
        (241, "(total) memory limit exceeded", True),
        (241, "Query memory limit exceeded", False),
        (252, "Too many parts (300) in table", True),
        (252, "Too many partitions for single INSERT block (more than 100)", False),
        (202, "Too many simultaneous queries", True),
        (60, "Unknown table", False),
        (999, "Keeper", True),
    ],
)
def test_which_codes_are_worth_a_retry(code: int, text: str, transient: bool) -> None:
    error = DatabaseError(f"Code: {code}. DB::Exception: {text}", code=code)
    with pytest.raises(Transient if transient else WarehouseRefused), translated():
        raise error


def test_a_server_started_ahead_is_the_one_that_is_opened_and_ends_with_it(tmp_path: Path) -> None:
    home, log = tmp_path / "home", tmp_path / "home" / "logs" / "warehouse.log"
    start_ahead(home)
    assert not home.exists()  # the question may still turn out to be none
    start_ahead(home, is_certain=True)
    start_ahead(home, is_certain=True)  # one is enough
    [child] = local._ahead.values()
    with open_warehouse(home) as client:
        assert client.query("SELECT 1").result_rows == [(1,)]
        assert json.loads((home / "warehouse" / "server.json").read_text())["pid"] == child.process.pid
        start_ahead(home)  # it runs
        assert not local._ahead
    assert child.process.wait(30) == 0
    assert "belongs to" not in log.read_text()
    start_ahead(home)
    while not running(home / "warehouse"):
        time.sleep(0.05)
    os.close(local._ahead.pop(home / "warehouse").user)  # as a command does that ends without having opened it
    while running(home / "warehouse") or local.is_held(home / "warehouse" / "owner.lock"):
        time.sleep(0.05)
    restoring(home).touch()
    start_ahead(home)
    assert not local._ahead
