"""What a venue module and the server exchange: a request, a reply, an endpoint, and JSON as the venues write it."""

import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from alphaforge_assets.sandbox.budgets import Charge

Query = Mapping[str, str]
Header = tuple[str, str]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_TIME_MAX = 1 << 50


@dataclass(frozen=True)
class Reply:
    """An answer. `rows` is what the request log says was delivered."""

    body: bytes
    status: int = 200
    rows: int = 0
    headers: tuple[tuple[str, str], ...] = ()


class Refused(Exception):
    """The venue answers with an error: `reply` is that answer, word for word."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.body.decode())
        self.reply = reply


def _free(query: Query) -> int:
    return 1


@dataclass(frozen=True)
class Endpoint:
    """One path of one venue. `weight` is charged to the budget named `budget` before `answer` runs.

    A path may hold `{names}`, whose values are in the query. `limited` is what it says to one request too many, where
    that is not as Binance does; `told` are the headers by which it tells what is spent.
    """

    venue: str
    budget: str
    answer: Callable[[Query], Reply]
    weight: Callable[[Query], int] = _free
    per_symbol: str = field(default="")  # the query field that has a budget of its own
    limited: Callable[[Charge], Reply] | None = None
    told: Callable[[Charge], tuple[Header, ...]] | None = None


def dump(value: Any) -> bytes:
    """Compact JSON, as the venues send it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def number(text: str | None, default: int | None = None) -> int | None:
    """A whole number of a query, `default` if absent, cut to what a venue's clock can mean. Raises ValueError."""
    if text is None or text == "":
        return default
    if not text.isascii() or not text.removeprefix("-").isdigit() or len(text) > 20:
        raise ValueError(f"{text!r} is not a whole number")
    return max(-_TIME_MAX, min(_TIME_MAX, int(text)))
