"""The guard on a real socket: a server that misbehaves in every way a wire allows, and what the caller gets to see."""

import datetime as dt
import json
import logging
import socket
import ssl
import struct
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pydantic
import pytest

from alphaforge_assets.errors import (
    BadInput,
    Permanent,
    UnknownSymbol,
    VenueLimited,
    VenueRefused,
    VenueUnavailable,
)
from alphaforge_assets.venues import okx
from alphaforge_assets.venues.directory import VENUES
from alphaforge_assets.venues.refusals import Reply, meaning, retry_after_s
from alphaforge_assets.venues.source import Fetched, Patience
from alphaforge_assets.venues.transport import parse_json, rehost
from alphaforge_assets_tests.conftest import open_venue

START = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
MINUTE_MS = 60_000
START_MS = int(START.timestamp() * 1000)
BRIEF = Patience(request_s=0.6, total_s=4.0, attempts=2, wait_first_s=0.01, wait_max_s=0.02, jitter_s=0.01)


def kline(n: int) -> list[Any]:
    open_ms = START_MS + n * MINUTE_MS
    return [open_ms, "1.5", "2", "0.5", "1.25", "10", open_ms + MINUTE_MS - 1, "15", 5, "5", "7.5", "0"]


KLINES = json.dumps([kline(n) for n in range(4)]).encode()


@dataclass
class Wire:
    """A server that answers each request by `behave(socket, request head)`; `hits` are the request lines seen."""

    behave: Callable[[socket.socket, str], None]
    hits: list[str] = field(default_factory=list)
    url: str = ""


def reply(
    sock: socket.socket,
    body: bytes,
    status: str = "200 OK",
    headers: str = "",
    length: int | None = None,
    kind: str = "application/json",
) -> None:
    size = len(body) if length is None else length
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {size}\r\nConnection: close\r\n{headers}\r\n"
    sock.sendall(head.encode() + body)


@contextmanager
def serving(behave: Callable[[socket.socket, str], None], tls: ssl.SSLContext | None = None) -> Iterator[Wire]:
    wire = Wire(behave)
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()
    threads: list[threading.Thread] = []

    def handle(sock: socket.socket) -> None:
        try:
            with tls.wrap_socket(sock, server_side=True) if tls else sock as conn:
                head = b""
                while b"\r\n\r\n" not in head:
                    part = conn.recv(65536)
                    if not part:
                        return
                    head += part
                wire.hits.append(head.split(b"\r\n")[0].decode())
                wire.behave(conn, head.decode())
        except OSError:
            pass  # the client hung up, as it should

    def accept() -> None:
        while not over.is_set():
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=handle, args=(sock,), daemon=True))
            threads[-1].start()

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    wire.url = f"{'https' if tls else 'http'}://127.0.0.1:{listener.getsockname()[1]}"
    try:
        yield wire
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        acceptor.join(5)
        for thread in threads:
            thread.join(5)


def fetch(
    url: str, folder: Path, venue: str = "binance_spot", patience: Patience = BRIEF, key: str | None = None
) -> Fetched:
    secret = pydantic.SecretStr(key) if key else None
    with open_venue(
        venue, base_url=url, governor_file=folder / "governor.sqlite", api_key=secret, patience=patience
    ) as connection:
        end = START + dt.timedelta(minutes=3)
        return connection.submit_bars("BTCUSDT", "1m", START, end, end).result(timeout=30)


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def trickle(sock: socket.socket, data: bytes, before: bytes = b"") -> None:
    sock.sendall(before)
    for n in range(len(data)):
        sock.sendall(data[n : n + 1])
        time.sleep(0.1)


HEAD = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(KLINES)}\r\n".encode()


def cut_by_reset(sock: socket.socket, head: str) -> None:
    sock.sendall(HEAD + b"\r\n" + KLINES[:40])
    time.sleep(0.05)
    reset(sock)


def cut_chunk(sock: socket.socket, head: str) -> None:
    start = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    sock.sendall(start + b"%x\r\n" % 40 + KLINES[:40] + b"\r\n")


def unframed_cut(sock: socket.socket, head: str) -> None:
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n" + KLINES[:60])


@cache
def packed_bomb() -> bytes:
    """200 MB of blanks."""
    packer = zlib.compressobj(wbits=31)
    blanks = b" " * 1_000_000
    return b"".join([packer.compress(b"["), *(packer.compress(blanks) for _ in range(200)), packer.flush()])


def bomb(sock: socket.socket, head: str) -> None:
    reply(sock, packed_bomb(), headers="Content-Encoding: gzip\r\n")


def rows(*changed: list[Any]) -> bytes:
    return json.dumps(list(changed)).encode()


def respell(position: int, value: Any) -> list[Any]:
    return [value if n == position else field for n, field in enumerate(kline(0))]


HTML = b"<html><body>maintenance</body></html>"
GARBAGE: dict[str, Callable[[socket.socket, str], None]] = {
    "empty body": lambda s, h: reply(s, b""),
    "null": lambda s, h: reply(s, b"null"),
    "true": lambda s, h: reply(s, b"true"),
    "number": lambda s, h: reply(s, b"17"),
    "text": lambda s, h: reply(s, b'"ok"'),
    "plain text": lambda s, h: reply(s, b"hello", kind="text/plain"),
    "html with 200": lambda s, h: reply(s, HTML, kind="text/html"),
    "half a JSON": lambda s, h: reply(s, KLINES[:60]),
    "half a JSON without a length": unframed_cut,
    "not UTF-8": lambda s, h: reply(s, b'["\xff\xfe"]'),
    "NaN": lambda s, h: reply(s, KLINES.replace(b'"1.5"', b"NaN")),
    "Infinity": lambda s, h: reply(s, KLINES.replace(b'"1.5"', b"-Infinity")),
    "nested too deeply": lambda s, h: reply(s, b"[" * 100_000 + b"]" * 100_000),
    "an object": lambda s, h: reply(s, b'{"data":[]}'),
    "rows that are no lists": lambda s, h: reply(s, b'[{"t":1},{"t":2}]'),
    "open time in seconds": lambda s, h: reply(s, rows(respell(0, START_MS // 1000))),
    "open time in microseconds": lambda s, h: reply(s, rows(respell(0, START_MS * 1000))),
    "open time in nanoseconds": lambda s, h: reply(s, rows(respell(0, START_MS * 1_000_000))),
    "open time before the window": lambda s, h: reply(s, rows(respell(0, START_MS - 60_000))),
    "open time years ahead": lambda s, h: reply(s, rows(kline(0), respell(0, START_MS + 10**11))),
    "open time missing": lambda s, h: reply(s, rows([])),
    "open time a word": lambda s, h: reply(s, rows(respell(0, "soon"))),
    "open time null": lambda s, h: reply(s, rows(respell(0, None))),
    "short content-length": lambda s, h: reply(s, KLINES[:60], length=len(KLINES)),
    "cut chunk": cut_chunk,
    "reset inside the body": cut_by_reset,
    "reset at once": lambda s, h: reset(s),
    "closed without a word": lambda s, h: None,
    "not HTTP": lambda s, h: s.sendall(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "corrupt gzip": lambda s, h: reply(s, b"\x1f\x8b\x08garbage", headers="Content-Encoding: gzip\r\n"),
    "hangs": lambda s, h: time.sleep(2),
    "trickles the body": lambda s, h: trickle(s, KLINES[:20], HEAD + b"\r\n"),
    "trickles the head": lambda s, h: trickle(s, HEAD[:20]),
    "gzip bomb": bomb,
    "500": lambda s, h: reply(s, b"", "500 Internal Server Error"),
    "502 html": lambda s, h: reply(s, b"<html>cf</html>", "502 Bad Gateway", kind="text/html"),
    "503": lambda s, h: reply(s, b'{"code":-1001,"msg":"Internal error"}', "503 Service Unavailable"),
    "504": lambda s, h: reply(s, b"[]", "504 Gateway Timeout"),
    "204": lambda s, h: reply(s, b"", "204 No Content"),
    "408": lambda s, h: reply(s, b"", "408 Request Timeout"),
}


@pytest.mark.parametrize("fault", GARBAGE)
def test_garbage_is_never_data_and_is_tried_again(fault: str, tmp_path: Path) -> None:
    with serving(GARBAGE[fault]) as wire:
        began = time.monotonic()
        with pytest.raises(VenueUnavailable) as caught:
            fetch(wire.url, tmp_path)
        assert len(wire.hits) == BRIEF.attempts
        assert time.monotonic() - began < 8  # two tries of 0.6 s each, on a busy machine
    assert len(caught.value.evidence) <= 4096
    assert "BTCUSDT" in str(caught.value) or "page" in str(caught.value) or "shape" in str(caught.value)


def test_evidence_is_what_the_venue_said(tmp_path: Path) -> None:
    with serving(GARBAGE["html with 200"]) as wire, pytest.raises(VenueUnavailable) as caught:
        fetch(wire.url, tmp_path)
    assert caught.value.evidence == HTML.decode()


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    assert len(packed_bomb()) < 250_000
    with serving(GARBAGE["gzip bomb"]) as wire:
        tracemalloc.start()
        try:
            with pytest.raises(VenueUnavailable, match="larger than"):
                fetch(wire.url, tmp_path, patience=Patience(request_s=10, attempts=1))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 32_000_000


REFUSED: dict[str, tuple[Callable[[socket.socket, str], None], type[Permanent]]] = {
    "302 to the metadata service": (
        lambda s, h: reply(s, b"", "302 Found", "Location: http://169.254.169.254/latest/meta-data/\r\n"),
        VenueRefused,
    ),
    "307 to itself": (
        lambda s, h: reply(s, b"", "307 Temporary Redirect", "Location: /api/v3/klines\r\n"),
        VenueRefused,
    ),
    "403 firewall": (lambda s, h: reply(s, b"<html>WAF</html>", "403 Forbidden", kind="text/html"), VenueRefused),
    "451 geo-block": (
        lambda s, h: reply(s, b'{"code":0,"msg":"Service unavailable from a restricted location"}', "451 Unavailable"),
        VenueRefused,
    ),
    "404": (lambda s, h: reply(s, b'{"code":-5000,"msg":"Path not found"}', "404 Not Found"), VenueRefused),
    "bad parameter": (lambda s, h: reply(s, b'{"code":-1102,"msg":"malformed"}', "400 Bad Request"), VenueRefused),
    "unknown symbol": (
        lambda s, h: reply(s, b'{"code":-1121,"msg":"Invalid symbol."}', "400 Bad Request"),
        UnknownSymbol,
    ),
    "unknown symbol with 200": (lambda s, h: reply(s, b'{"code":-1121,"msg":"Invalid symbol."}'), UnknownSymbol),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_a_refusal_is_not_repeated(fault: str, tmp_path: Path) -> None:
    behave, error = REFUSED[fault]
    with serving(behave) as wire:
        with pytest.raises(error) as caught:
            fetch(wire.url, tmp_path)
        assert len(wire.hits) == 1
    assert type(caught.value) is error


def test_redirects_are_named_and_not_followed(tmp_path: Path) -> None:
    with serving(lambda s, h: reply(s, KLINES)) as target:
        away = f"Location: {target.url}/api/v3/klines\r\n"
        with (
            serving(lambda s, h: reply(s, b"", "302 Found", away)) as wire,
            pytest.raises(VenueRefused, match=target.url),
        ):
            fetch(wire.url, tmp_path)
        assert target.hits == []


@pytest.mark.parametrize(
    ("status", "headers", "body", "wait_s"),
    [
        ("429 Too Many Requests", "Retry-After: 70\r\n", b'{"code":-1003,"msg":"Too many requests"}', 70),
        ("418 I'm a teapot", "Retry-After: 120\r\n", b'{"code":-1003,"msg":"banned"}', 120),
        ("418 I'm a teapot", "", b'{"code":-1003,"msg":"Way too much request weight used"}', 120),
        ("400 Bad Request", "", b'{"code":-1003,"msg":"Too much request weight used"}', 60),
    ],
)
def test_a_limit_is_obeyed_by_everyone_and_survives(
    status: str, headers: str, body: bytes, wait_s: float, tmp_path: Path
) -> None:
    with serving(lambda s, h: reply(s, body, status, headers)) as wire:
        with pytest.raises(VenueLimited) as caught:
            fetch(wire.url, tmp_path)
        assert wait_s - 5 < (caught.value.retry_after_s or 0) <= wait_s
        with pytest.raises(VenueLimited):
            fetch(wire.url, tmp_path)  # another connection, as after a restart: the venue is not even asked
        assert len(wire.hits) == 1


def test_a_short_limit_is_waited_out(tmp_path: Path) -> None:
    moments: list[float] = []

    def behave(sock: socket.socket, head: str) -> None:
        moments.append(time.time())
        if len(moments) == 1:
            reply(sock, b'{"code":-1003,"msg":"slow"}', "429 Too Many Requests", "Retry-After: 1\r\n")
        else:
            reply(sock, KLINES)

    with serving(behave) as wire:
        fetched = fetch(wire.url, tmp_path)
    assert (fetched.cost.requests, fetched.cost.retries, fetched.cost.weight) == (2, 1, 4)
    assert fetched.cost.waited_s > 0.9
    assert moments[1] - moments[0] >= 1.0


def test_a_transient_fault_is_survived(tmp_path: Path) -> None:
    answers = iter([GARBAGE["half a JSON"], lambda s, h: reply(s, KLINES)])
    with serving(lambda s, h: next(answers)(s, h)) as wire:
        fetched = fetch(wire.url, tmp_path)
    assert fetched.table.num_rows == 3
    assert (fetched.cost.requests, fetched.cost.retries) == (2, 1)


def test_a_closed_port_is_transient(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(VenueUnavailable):
        fetch(f"http://127.0.0.1:{port}", tmp_path)


def test_a_certificate_nobody_signed_is_refused(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*_self_signed(tmp_path))
    with serving(lambda s, h: reply(s, KLINES), tls=context) as wire:
        with pytest.raises(VenueUnavailable, match=r"(?i)certificate"):
            fetch(wire.url, tmp_path)
        assert wire.hits == []


def _self_signed(folder: Path) -> tuple[Path, Path]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + dt.timedelta(days=1))
    certificate = builder.sign(key, hashes.SHA256())
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    key_file.write_bytes(private)
    return cert_file, key_file


CODES = [
    ("okx", 200, b'{"code":"51001","data":[],"msg":"Instrument ID does not exist"}', UnknownSymbol),
    ("okx", 200, b'{"code":"50011","data":[],"msg":"Too Many Requests"}', VenueLimited),
    ("okx", 429, b'{"code":"50011","data":[],"msg":"Too Many Requests"}', VenueLimited),
    ("okx", 200, b'{"code":"50001","data":[],"msg":"Service temporarily unavailable"}', VenueUnavailable),
    ("okx", 200, b'{"code":"50013","data":[],"msg":"Systems are busy"}', VenueUnavailable),
    ("okx", 400, b'{"code":"51000","data":[],"msg":"Parameter bar error"}', VenueRefused),
    ("okx", 200, b"[]", VenueUnavailable),
    ("okx", 200, b"{}", VenueUnavailable),
    ("okx", 200, b'{"code":"0","msg":""}', VenueUnavailable),
    ("okx", 200, b'{"code":"0","data":{},"msg":""}', VenueUnavailable),
    ("bybit", 200, b'{"retCode":10001,"retMsg":"Not supported symbols","result":{}}', UnknownSymbol),
    ("bybit", 200, b'{"retCode":10001,"retMsg":"params error: Symbol Is Invalid","result":{}}', UnknownSymbol),
    ("bybit", 200, b'{"retCode":10001,"retMsg":"Invalid period!","result":{}}', VenueRefused),
    ("bybit", 200, b'{"retCode":10006,"retMsg":"Too many visits!","result":{}}', VenueLimited),
    ("bybit", 200, b'{"retCode":10018,"retMsg":"Exceeded the IP Rate Limit.","result":{}}', VenueLimited),
    ("bybit", 403, b"403, access too frequent", VenueLimited),
    ("bybit", 403, b"The Amazon CloudFront distribution is configured to block access from your country", VenueRefused),
    ("bybit", 200, b'{"retCode":10016,"retMsg":"System error","result":{}}', VenueUnavailable),
    ("bybit", 200, b"[]", VenueUnavailable),
    ("bybit", 200, b"{}", VenueUnavailable),
    ("bybit", 200, b'{"retCode":0,"retMsg":"OK","result":{}}', VenueUnavailable),
]


@pytest.mark.parametrize(("exchange", "status", "body", "error"), CODES)
def test_errors_inside_of_answers(exchange: str, status: int, body: bytes, error: type, tmp_path: Path) -> None:
    once = Patience(request_s=5, attempts=1, total_s=1)
    with serving(lambda s, h: reply(s, body, f"{status} Whatever")) as wire:
        with pytest.raises(error) as caught:
            fetch(wire.url, tmp_path, venue=f"{exchange}_spot", patience=once)
        assert len(wire.hits) == 1
    assert type(caught.value) is error


def test_every_meaning_is_reached_by_something() -> None:
    """The last line catches all; a code nobody knows is not called transient, one without a code is."""
    unknown = Reply(200, {}, b'{"code":"59999","msg":"?"}')
    assert meaning(okx.REFUSALS, unknown, None).error is VenueRefused
    assert meaning(okx.REFUSALS, Reply(200, {}, b"{}"), None).error is VenueUnavailable


@pytest.mark.parametrize(
    ("headers", "body", "otherwise", "expected"),
    [
        ({"retry-after": "7"}, b"", None, 7.0),
        ({"retry-after": "0"}, b"", None, 1.0),
        ({"retry-after": "Wed, 01 Jan 2025 00:00:30 GMT", "date": "Wed, 01 Jan 2025 00:00:00 GMT"}, b"", None, 30.0),
        ({"retry-after": "soon"}, b"", 5.0, 5.0),
        ({}, b"", None, None),
        (
            {"date": "Wed, 01 Jan 2025 00:00:00 GMT"},
            b'{"code":-1003,"msg":"IP banned until 1735689720000."}',
            120.0,
            120.0,
        ),
    ],
)
def test_how_long_to_wait(
    headers: dict[str, str], body: bytes, otherwise: float | None, expected: float | None
) -> None:
    assert retry_after_s(Reply(429, headers, body), otherwise) == expected


@pytest.mark.parametrize(
    "text", [b"", b"null", b"1", b'"a"', b"[NaN]", b"[Infinity]", b"[1", b"\xff", b"[1]]", b"[" * 99999]
)
def test_what_is_no_document(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)


@pytest.mark.parametrize("name", VENUES)
@pytest.mark.parametrize("base", ["http://127.0.0.1:9", "http://127.0.0.1:9/sandbox/"])
def test_every_url_lies_below_the_base(name: str, base: str, tmp_path: Path) -> None:
    with open_venue(name, base_url=base, governor_file=tmp_path / "g.sqlite") as connection:
        urls = connection._exchange().urls["api"]
    for url in urls.values():
        assert url.startswith(base.rstrip("/"))
        assert "{hostname}" not in url
    assert rehost("https://api.binance.com/api/v3", base) == base.rstrip("/") + "/api/v3"


@pytest.mark.parametrize(
    "base",
    [
        "ftp://127.0.0.1",
        "file:///etc/passwd",
        "127.0.0.1:80",
        "http://",
        "http://10.0.0.1:80",
        "http://example.com",
        "http://user:password@127.0.0.1:80",
        "http://127.0.0.1:99999",
        "http://[::1",
        "http://127.0.0.1:80/?a=b",
    ],
)
def test_addresses_that_cannot_be(base: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="base_url") as caught:
        open_venue("binance_spot", base_url=base, governor_file=tmp_path / "g.sqlite")
    assert "password@" not in str(caught.value)


def test_a_key_shows_nowhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Success, failure and refusal with logging turned all the way up: the canary is not in a log, message or repr."""
    canary = "canary-0f9e8d7c"
    caplog.set_level(logging.DEBUG)
    seen: list[str] = []
    heads: list[str] = []
    answers = iter(
        [GARBAGE["503"], lambda s, h: reply(s, KLINES), GARBAGE["503"], GARBAGE["503"], REFUSED["unknown symbol"][0]]
    )

    def behave(sock: socket.socket, head: str) -> None:
        heads.append(head)
        next(answers)(sock, head)

    with serving(behave) as wire:
        fetch(wire.url, tmp_path, key=canary)
        for _ in range(2):
            with pytest.raises((VenueUnavailable, UnknownSymbol)) as caught:
                fetch(wire.url, tmp_path, key=canary)
            error: BaseException | None = caught.value
            while error is not None:
                seen += [repr(error), str(error)]
                error = error.__cause__ or error.__context__
        with open_venue(
            "binance_spot", base_url=wire.url, governor_file=tmp_path / "g", api_key=pydantic.SecretStr(canary)
        ) as connection:
            seen += [repr(connection), str(connection), repr(connection._exchange()), str(vars(connection))]
            assert connection._exchange().apiKey == canary
    out, err = capfd.readouterr()
    seen += [caplog.text, *(str(vars(record)) for record in caplog.records), out, err, *heads]
    assert len(heads) == 5
    assert not any(canary in text for text in seen)
