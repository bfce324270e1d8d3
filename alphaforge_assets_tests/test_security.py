"""SECURITY.md as tests: secrets show nowhere, addresses are followed no further, data is never code, text is text."""

import ast
import contextlib
import http.server
import re
import threading
import urllib.parse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from alphaforge_assets.cli import screen
from alphaforge_assets.errors import BadInput, WarehouseDown, WarehouseRefused
from alphaforge_assets.health import machine
from alphaforge_assets.settings import settings_from_environment
from alphaforge_assets.universe import load_universe
from alphaforge_assets.venues.directory import REST, Exchanges
from alphaforge_assets.venues.source import Listing
from alphaforge_assets.warehouse.client import open_warehouse
from alphaforge_assets.warehouse.listings import publish_listings
from alphaforge_assets.warehouse.local import running
from alphaforge_assets_tests.conftest import empty
from alphaforge_assets_tests.installed import Installed
from alphaforge_assets_tests.test_instruments import FIRST

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
MODULES = sorted((ROOT / "alphaforge_assets").rglob("*.py"))


# Secrets


@pytest.fixture
def failed(schema_home: Path, exchange: Exchanges, tmp_path: Path) -> Iterator[tuple[Installed, dict[str, str]]]:
    """A home in which a run has failed, and what it was told in confidence."""
    address = running(schema_home / "warehouse")
    assert address is not None
    secrets = {
        "password": urllib.parse.quote(address.password),
        "webhook": "T0CANARY/B0CANARY/canary-of-a-webhook",
        "aws": "canary/of+an+aws+key/0123456789",
        "aws_token": "canary-of-a-session-token",
    }
    installed = Installed(tmp_path / "installed", exchange.base_url)
    environment = {
        "CLICKHOUSE_URL": f"http://default:{secrets['password']}@127.0.0.1:{address.port}",
        "ALPHAFORGE_ALERTS": f"http://127.0.0.1:9/{secrets['webhook']}",
        "ALPHAFORGE_REPORTS": "s3://bucket/prefix",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": secrets["aws"],
        "AWS_SESSION_TOKEN": secrets["aws_token"],
    }
    days = ("--from", "2025-05-01", "--to", "2025-05-02")
    words = ("backfill", "--instruments", "binance_spot.BTC-USDT", *days)
    done = installed.run(*words, ALPHAFORGE_FAIL="staging.between=raise", **environment)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "staging.between" in done.stdout + done.stderr
    page = installed.well("report", *days, "--out", str(installed.root / "reports"), **environment)
    assert list(installed.root.glob("reports/*/*.html"))
    said = done.stdout + done.stderr + page
    assert [name for name, secret in secrets.items() if secret in said] == []
    yield installed, secrets
    with open_warehouse(schema_home) as client:
        empty(client)


def test_a_failing_run_tells_no_secret(failed: tuple[Installed, dict[str, str]]) -> None:
    installed, secrets = failed
    assert [run.status.value for run in installed.runs()].count("FAILURE") >= 1
    for name, secret in secrets.items():
        assert installed.files_that_hold(secret, at_least=10) == [], name
    assert len(installed.files_that_hold("staging.between", at_least=10)) > 0  # where a secret would have been found
    assert stat_of(installed.home) == 0o700
    pickled = [path for path in installed.root.rglob("*") if path.is_file() and path.read_bytes()[:2] == b"\x80\x04"]
    assert pickled == []


def stat_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_home_is_for_its_owner_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "deep" / "home"
    with open_warehouse(home):
        pass
    assert (stat_of(home), stat_of(home / "warehouse")) == (0o700, 0o700)
    open_to_others = [p for p in (home / "warehouse").rglob("*") if not p.is_symlink() and stat_of(p) & 0o077]
    assert open_to_others == []
    (finding,) = machine.home(home)
    assert finding.state == "ok"
    home.chmod(0o755)
    (finding,) = machine.home(home)
    assert (finding.state, "chmod 700" in finding.to_do) == ("note", True)
    home.chmod(0o777)
    (finding,) = machine.home(home)
    assert finding.state == "wrong"


# Addresses


def test_every_address_that_can_be_set_has_its_rule_on_the_page() -> None:
    text = (ROOT / "alphaforge_assets" / "settings.py").read_text(encoding="utf-8")
    named = set(re.findall(r'"((?:ALPHAFORGE|CLICKHOUSE|AWS)_[A-Z0-9_]+)"', text))
    assert {"CLICKHOUSE_URL", "ALPHAFORGE_ALERTS", "ALPHAFORGE_VENUES"} <= named
    assert [name for name in sorted(named) if f"`{name}`" not in PAGE] == []


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "ALPHAFORGE_UI"])
@pytest.mark.parametrize(
    "address",
    [
        *("file:///etc/passwd", "ftp://host/", "127.0.0.1:9000", "javascript:alert(1)", "http://", "http://host:x/"),
        *("http://user:canary@host/", "https://host/?token=canary", "https://host/#canary", "http://ho\x1bst/"),
    ],
)
def test_what_is_no_plain_address_is_refused_unsaid(name: str, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, address)
    with pytest.raises(BadInput, match=f"{name} is no address") as caught:
        settings_from_environment()
    assert "canary" not in str(caught.value)


@contextlib.contextmanager
def answering(status: int, location: str = "") -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    """A server that answers everything alike, and what it was sent."""
    got: list[tuple[str, bytes]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append((str(self.headers), self.rfile.read(int(self.headers.get("Content-Length", 0)))))
            self.send_response(status)
            if location:
                self.send_header("Location", location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"127.0.0.1:{server.server_port}", got
        server.shutdown()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_warehouse_that_sends_us_elsewhere_is_not_followed(status: int, tmp_path: Path) -> None:
    with answering(200) as (elsewhere, got), answering(status, f"http://{elsewhere}/") as (address, asked):
        with pytest.raises((WarehouseDown, WarehouseRefused)), open_warehouse(tmp_path, f"http://u:canary@{address}"):
            pass
        assert asked
        assert got == []


# Code


def test_data_is_never_code() -> None:
    """No pickle and what is built on it, no eval, no YAML that makes objects, nothing a shell reads."""
    modules = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    builtins = {"eval", "exec", "compile", "__import__"}
    calls = {"read_pickle", "to_pickle", "unsafe_load", "full_load", "load_all", "popen", "system"}
    found = []
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            where = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Import):
                found += [where for name in node.names if name.name.partition(".")[0] in modules]
            elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in modules:
                found.append(where)
            elif isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                found += [where] if called in builtins or called.rpartition(".")[2] in calls else []
                found += [where] if called in ("yaml.load", "np.load", "numpy.load") else []
                found += [where] if any(k.arg in ("shell", "allow_pickle") for k in node.keywords) else []
    assert found == []


def test_yaml_is_read_by_a_loader_that_makes_no_objects() -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in (ROOT / "alphaforge_assets").rglob("*.py")}
    readers = [path.name for path, text in texts.items() if "yaml.compose" in text or "yaml.safe_load" in text]
    assert "documents.py" in readers
    assert all("SafeLoader" in text for text in texts.values() if "yaml.compose(" in text)


# Text


HOSTILE = (
    *("A'B", 'A"B', "A`B", "A;B", "A\\B", "A<b>B", "A&B", "A{x}B", "A%sB", "A B", "../A", "A/../B", "A|B"),
    *("A\nB", "A\rB", "A\tB", "A\0B", "A\x1b[2JB", "A\u202eB", "A\u2028B", "=A", "@A", "$(id)"),
)


@pytest.mark.parametrize("name", HOSTILE, ids=repr)
def test_a_name_that_could_be_more_than_a_name_is_refused(name: str, tmp_path: Path) -> None:
    file = tmp_path / "universe.yaml"
    quoted = '"' + "".join(f"\\u{ord(letter):04x}" for letter in f"{name}/USDT") + '"'
    text = "history_start: 2024-01-01\nintervals: [1m]\nvenues:\n  binance_spot:\n    instruments: "
    for entry in (f"[{quoted}]", f"[{{symbol: OLD/USDT, delisted_at: 2024-02-01, renamed_to: {quoted}}}]"):
        file.write_text(f"{text}{entry}\n")
        with pytest.raises(BadInput) as caught:
            load_universe(file)
        assert "\x1b" not in str(caught.value)


def test_a_venue_may_list_what_it_likes(emptied: Client, exchange: Exchanges) -> None:
    with exchange.open(REST["binance_perp"]) as connection:
        listing = connection.fetch_listings()[0]
    hostile: list[Listing] = [
        replace(listing, symbol=f"{name}/USDT", venue_symbol=f"'); DROP TABLE analytics.instruments; -- {name}")
        for name in HOSTILE
    ]
    tables = "SELECT count() FROM system.tables WHERE database = 'analytics'"
    before = emptied.query(tables).result_rows
    publish_listings(emptied, hostile, FIRST)
    assert emptied.query(tables).result_rows == before
    rows = emptied.query("SELECT symbol, venue_symbol FROM analytics.v_instruments").result_rows
    assert sorted(rows) == sorted((listed.symbol, listed.venue_symbol) for listed in hostile)


def test_what_is_shown_commands_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    hostile = "a\x1b[2Jb\x1b]0;title\x07c\x9b1md\x08e\rf"
    shown = screen.table("name")
    shown.add_row(hostile)
    screen.screen.cache_clear()
    screen.say(shown)
    screen.say(hostile, markup=False)
    screen.complain(hostile)
    out, err = capsys.readouterr()
    assert not set(out + err) & set("\x1b\x07\x9b\x08\r")
    assert ("title" in out, "title" in err) == (True, True)
    screen.screen.cache_clear()


# Dependencies: `test_style.test_every_dependency_is_locked_with_hashes_and_no_address`


def test_only_what_has_the_hash_of_the_lock_is_installed() -> None:
    make = (ROOT / "Makefile").read_text(encoding="utf-8")
    installs = [line for line in make.splitlines() if "requirements.lock" in line and "pip install" in line]
    assert installs
    assert all("--require-hashes" in line and "--no-deps" in line for line in installs)
