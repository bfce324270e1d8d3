"""Finding the warehouse, or starting it: the one way to a ClickHouse client, on a laptop and on a cluster alike.

With a URL the client speaks to that server. Without one it speaks to the embedded server of `home/warehouse`, which
local.py finds or starts.
"""

import atexit
import contextlib
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import clickhouse_connect
import urllib3.exceptions
from clickhouse_connect.driver import exceptions as driver_errors
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.httputil import get_pool_manager_options

from alphaforge_assets.errors import AlphaForgeError, BadInput, Permanent, Transient, WarehouseDown, WarehouseRefused
from alphaforge_assets.warehouse import local
from alphaforge_assets.warehouse.local import Address

URL_FORM = "http://user:password@host:port (or https://…)"
CONNECT_TIMEOUT_S = 10
READ_TIMEOUT_S = 600
CONNECTIONS_MAX = 32

# Pinned, because their defaults have moved between ClickHouse releases (26.2, 26.3): an insert is done when it is
# answered, and a repeated one is recognised in the views as well.
SETTINGS: dict[str, Any] = {
    "async_insert": 0,
    "insert_deduplicate": 1,
    "deduplicate_blocks_in_dependent_materialized_views": 1,
}

# ClickHouse codes after which the same statement, sent again later, may well succeed.
WORTH_A_RETRY = {
    3: "UNEXPECTED_END_OF_FILE: the connection was cut in mid-statement",
    159: "TIMEOUT_EXCEEDED: the server was too slow this time",
    202: "TOO_MANY_SIMULTANEOUS_QUERIES",
    209: "SOCKET_TIMEOUT between servers",
    210: "NETWORK_ERROR between servers",
    225: "NO_ZOOKEEPER: Keeper is being elected or unreachable",
    242: "TABLE_IS_READ_ONLY: a replica has lost Keeper and will find it again",
    243: "NOT_ENOUGH_SPACE: somebody may free some",
    252: "TOO_MANY_PARTS, when merges are behind; see `_is_transient`",
    279: "ALL_CONNECTION_TRIES_FAILED between servers",
    285: "TOO_FEW_LIVE_REPLICAS",
    319: "UNKNOWN_STATUS_OF_INSERT: may be stored; the same token again stores it once",
    373: "SESSION_IS_LOCKED by another request",
    394: "QUERY_WAS_CANCELLED, as when the server shuts down",
    425: "SYSTEM_ERROR of the operating system",
    999: "KEEPER_EXCEPTION",
}
_WRONG_PASSWORD = frozenset((192, 193, 194, 516))


def parse_url(url: str) -> Address:
    """The address in a CLICKHOUSE_URL. Raises BadInput, without repeating the password."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BadInput(f"CLICKHOUSE_URL cannot be read; write {URL_FORM}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadInput(f"CLICKHOUSE_URL must be {URL_FORM}; its scheme is {parts.scheme or 'missing'!r}")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise BadInput(f"CLICKHOUSE_URL must be {URL_FORM}, with nothing behind the port")
    if port is None:
        port = 8443 if parts.scheme == "https" else 8123
    return Address(
        parts.scheme, parts.hostname, port, unquote(parts.username or "default"), unquote(parts.password or "")
    )


@contextlib.contextmanager
def open_warehouse(home: Path, url: str | None = None) -> Iterator[Client]:
    """A client for the warehouse at `url`, or for the embedded one of `home`, started if need be.

    The client may be used by many threads at once; SQL must name its databases. Raises BadInput for a malformed `url`,
    WarehouseDown when nothing answers, Permanent when the password is wrong. clickhouse-connect's errors leave the
    context as ours, as from `translated`.
    """
    with contextlib.ExitStack() as stack:
        address = parse_url(url) if url else stack.enter_context(local.embedded(home))
        # our own, so that no proxy of the environment comes between
        pool = _StraightPool(**get_pool_manager_options(maxsize=CONNECTIONS_MAX))
        stack.callback(pool.clear)
        logging.getLogger("clickhouse_connect").setLevel(logging.ERROR)  # it also warns of what it raises
        with _named(address), translated():
            client = clickhouse_connect.get_client(
                interface=address.scheme,
                host=address.host,
                port=address.port,
                username=address.user,
                password=address.password,
                compress=False if address.is_loopback else "lz4",
                autogenerate_session_id=False,
                connect_timeout=CONNECT_TIMEOUT_S,
                send_receive_timeout=READ_TIMEOUT_S,
                settings=SETTINGS,
                pool_mgr=pool,
            )
        stack.callback(client.close)
        with translated():
            yield client


class _StraightPool(urllib3.PoolManager):
    """Follows no redirect: what we ask and store goes where CLICKHOUSE_URL says, and to no other."""

    def urlopen(self, method: str, url: str, redirect: bool = False, **more: Any) -> urllib3.BaseHTTPResponse:  # type: ignore[override]
        return super().urlopen(method, url, redirect=False, **more)


def keep_open(home: Path, url: str | None = None) -> Client:
    """`open_warehouse` for notebooks: the client lives as long as the process."""
    stack = contextlib.ExitStack()
    client = stack.enter_context(open_warehouse(home, url))
    atexit.register(stack.close)
    return client


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turn clickhouse-connect's exceptions into ours; also a decorator."""
    try:
        yield
    except AlphaForgeError:
        raise
    except (driver_errors.ClickHouseError, urllib3.exceptions.HTTPError) as error:
        raise _ours(error) from error


@contextlib.contextmanager
def _named(address: Address) -> Iterator[None]:
    """Say which address it is that does not answer."""
    try:
        yield
    except WarehouseDown as error:
        reason = _reason(error)
        raise WarehouseDown(
            f"no warehouse answers at {address} ({reason}): is it running, is CLICKHOUSE_URL right?"
        ) from error


def _ours(error: Exception) -> AlphaForgeError:
    text = driver_errors.scrub_error_details(re.sub(r" \(for url \S+\)$", "", str(error)))
    found = re.search(r"\bCode: (\d+)\.", text)  # a failure in mid-stream carries its code in the text only
    text = text[found.start() :] if found else text
    code = getattr(error, "code", None) or (int(found.group(1)) if found else None)
    if code in _WRONG_PASSWORD:
        return Permanent(f"the warehouse does not accept this user and password; check CLICKHOUSE_URL ({text})")
    if code is not None:
        return Transient(text) if _is_transient(code, text) else WarehouseRefused(text, code)
    if isinstance(error, (driver_errors.OperationalError, urllib3.exceptions.HTTPError)):
        return WarehouseDown(
            f"the warehouse does not answer ({_reason(error)}): is it running, is CLICKHOUSE_URL right?"
        )
    return WarehouseRefused(text)


def _reason(error: BaseException) -> str:
    """The innermost cause, without the wrapping of two HTTP libraries."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return driver_errors.scrub_error_details(str(error)) or type(error).__name__


def _is_transient(code: int, text: str) -> bool:
    if code == 241:  # MEMORY_LIMIT_EXCEEDED: the server's limit is shared and may be free later, a query's own never is
        return "(total)" in text
    if code == 252:  # TOO_MANY_PARTS: of a table, merges will catch up; of one insert, it will be too many again
        return "partitions for single INSERT block" not in text
    return code in WORTH_A_RETRY
