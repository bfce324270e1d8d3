"""The guard before the real Dagster UI: what a page of another site could send is refused, the UI is not."""

import http.client
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from alphaforge_assets_tests.installed import Up

QUERY = "{ runsOrError { ... on Runs { count } } }"
FORGED = "mutation { terminateRuns(runIds: []) { __typename } }"
JSON = {"Content-Type": "application/json"}
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Protocol": "graphql-ws",
}


@dataclass(frozen=True)
class Answer:
    status: int
    body: str
    headers: dict[str, str] = field(default_factory=dict)


def ask(up: Up, method: str, path: str, body: str | None = None, headers: dict[str, str] | None = None) -> Answer:
    """One request as it stands: no header is added but Host, and that only if it is not given."""
    address = urlsplit(up.ui)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        whole = "" if answer.status == 101 else answer.read().decode(errors="replace")
        return Answer(answer.status, whole, {name.lower(): value for name, value in answer.getheaders()})
    finally:
        connection.close()


def graphql(query: str = QUERY) -> str:
    return json.dumps({"query": query})


def test_ui_and_its_own_requests_pass(up: Up) -> None:
    page = ask(up, "GET", "/")
    assert page.status == 200
    assert "<html" in page.body
    own = JSON | {"Origin": up.ui, "Sec-Fetch-Site": "same-origin"}
    for path in ("/graphql", "/graphql?op=Version"):
        answer = ask(up, "POST", path, graphql(), own)
        assert answer.status == 200, path
        assert json.loads(answer.body)["data"]["runsOrError"]["count"] >= 0
    plain = {"Content-Type": "application/json; charset=utf-8"}
    assert ask(up, "POST", "/graphql", graphql(), plain).status == 200
    assert ask(up, "GET", "/server_info", headers={"Sec-Fetch-Site": "none"}).status == 200
    # A link on another page may lead here.
    assert ask(up, "GET", "/", headers={"Sec-Fetch-Site": "cross-site"}).status == 200


def test_localhost_is_as_good_as_its_address(up: Up) -> None:
    port = urlsplit(up.ui).port
    for host in (f"localhost:{port}", f"127.0.0.1:{port}"):
        assert ask(up, "GET", "/server_info", headers={"Host": host}).status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "", "localhost.evil.example:{port}"]
)
def test_other_hosts_are_refused(host: str, up: Up) -> None:
    headers = {"Host": host.format(port=urlsplit(up.ui).port)}
    for method, path, body in (("GET", "/", None), ("GET", "/server_info", None), ("POST", "/graphql", graphql())):
        assert ask(up, method, path, body, headers | JSON).status in (400, 421)


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://127.0.0.1", "", "https://127.0.0.1:{port}"]
)
def test_other_origins_are_refused(origin: str, up: Up) -> None:
    headers = JSON | {"Origin": origin.format(port=urlsplit(up.ui).port)}
    assert ask(up, "POST", "/graphql", graphql(), headers).status == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_requests_of_other_sites_are_refused(site: str, up: Up) -> None:
    headers = JSON | {"Sec-Fetch-Site": site}
    assert ask(up, "POST", "/graphql", graphql(), headers).status == 403
    assert ask(up, "GET", "/graphql?query=" + quote(QUERY), headers=headers).status in (403, 405)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE"])
def test_graphql_goes_by_post_only(method: str, up: Up) -> None:
    for name in ("query", "QUERY", "variables", "mutation", "op"):
        for path in ("/graphql", "/graphql/", "//graphql"):
            answer = ask(up, method, f"{path}?{name}={quote(FORGED)}")
            assert answer.status in (403, 404, 405), (path, name)


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/graphql", "application/x-www-form-urlencoded", "multipart/form-data", None]
)
def test_bodies_that_any_page_may_send_are_refused(kind: str | None, up: Up) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    assert ask(up, "POST", "/graphql", graphql(FORGED), headers).status == 415


def test_statement_in_the_address_of_a_post_is_refused(up: Up) -> None:
    for name in ("query", "variables"):
        assert ask(up, "POST", f"/graphql?op=x&{name}={quote(FORGED)}", "{}", JSON).status == 415


@pytest.mark.parametrize("kind", ["materialization", "check", "observation"])
def test_reports_from_outside_are_refused(kind: str, up: Up) -> None:
    paths = ("/report_asset_{}/bars", "/report_asset_{}/", "//report_asset_{}/bars", "/%72eport_asset_{}/bars")
    for path in paths:
        assert ask(up, "POST", path.format(kind), "{}", JSON).status in (403, 404, 405), path
    assert ask(up, "GET", f"/report_asset_{kind}/bars").status == 403


def test_websockets_of_other_pages_are_refused(up: Up) -> None:
    assert ask(up, "GET", "/graphql", headers=UPGRADE | {"Origin": up.ui}).status == 101
    assert ask(up, "GET", "/graphql", headers=UPGRADE | {"Origin": "https://evil.example"}).status == 403
    assert ask(up, "GET", "/graphql", headers=UPGRADE | {"Host": "evil.example"}).status == 403


@pytest.fixture
def reports(up: Up) -> Iterator[Path]:
    """A folder of the reports that `up` serves, with a page and its figures, beside a file that is nobody's to read."""
    (up.installed.home / "private.txt").write_text(PRIVATE)
    folder = up.installed.home / "reports" / "2001-02-03"
    folder.mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html><title>a day</title>")
    (folder / "report.json").write_text('{"day": "2001-02-03"}')
    (folder / "gaps.csv").write_text("from,to\n")
    yield folder
    shutil.rmtree(folder)
    (up.installed.home / "private.txt").unlink()


PRIVATE = "not for everybody"


def test_reports_open_in_an_origin_of_their_own(reports: Path, up: Up) -> None:
    kinds = {"index.html": "text/html", "": "text/html", "report.json": "application/json", "gaps.csv": "text/csv"}
    for name, kind in kinds.items():
        answer = ask(up, "GET", f"/reports/{reports.name}/{name}")
        assert answer.status == 200, name
        assert answer.headers["content-type"].partition(";")[0] == kind
        assert answer.headers["content-security-policy"].split()[0] == "sandbox"
        assert "allow-same-origin" not in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert ask(up, "HEAD", f"/reports/{reports.name}/index.html").status == 200
    assert ask(up, "GET", f"/reports/{reports.name}/index.html", headers={"Host": "evil.example"}).status == 421
    for method in ("POST", "PUT", "DELETE"):
        assert ask(up, method, f"/reports/{reports.name}/index.html").status == 405, method


@pytest.mark.parametrize(
    "path",
    [
        "/reports/../private.txt",
        "/reports/%2e%2e/private.txt",
        "/reports/%2E%2E%2Fprivate.txt",
        "/reports/..%2fprivate.txt",
        "/reports/%252e%252e/private.txt",
        "/reports/..%5cprivate.txt",
        "/reports/{day}/../../private.txt",
        "/reports/{day}/%2e%2e/%2e%2e/private.txt",
        "/reports//{file}",
        "/reports/{file}",
        "/reports/%2f{file}",
        "/reports/{day}/link.txt",
        "/reports/{day}/linked/private.txt",
        "/reports/private.txt%00.html",
    ],
)
def test_nothing_outside_the_reports_is_served(path: str, reports: Path, up: Up) -> None:
    (reports / "link.txt").symlink_to(up.installed.home / "private.txt")
    (reports / "linked").symlink_to(up.installed.home)
    answer = ask(up, "GET", path.format(day=reports.name, file=str(up.installed.home / "private.txt").lstrip("/")))
    assert PRIVATE not in answer.body
    assert answer.status == 404


def test_folders_of_reports_are_not_listed(reports: Path, up: Up) -> None:
    (reports / "index.html").unlink()
    for path in (f"/reports/{reports.name}/", f"/reports/{reports.name}", "/reports/2001-02-04/"):
        answer = ask(up, "GET", path)
        assert answer.status == 404, path
        assert "report.json" not in answer.body
        assert answer.headers["content-security-policy"].split()[0] == "sandbox"
