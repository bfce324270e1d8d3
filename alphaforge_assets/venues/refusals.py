"""What an answer that is no data means: from its status and a venue's words to errors.py, and how long it wants us to
wait.

Pure. What a venue's own codes mean stands in its file; ccxt's exception is one of the things looked at, and the last.
"""

import email.utils
import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, NoReturn
from urllib.parse import urlsplit

from alphaforge_assets.errors import AlphaForgeError, UnknownSymbol, VenueLimited, VenueRefused, VenueUnavailable

EVIDENCE_CHARS = 4096
QUOTED_CHARS = 300


@dataclass(frozen=True)
class Reply:
    """A whole HTTP answer, unpacked. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Meaning(NamedTuple):
    """An answer that fits every field that is set means `error`."""

    error: type[AlphaForgeError]
    status: int | range | None = None  # of HTTP
    code: str | None = None  # of the venue; "" means that there is none
    text: str | None = None  # found in the body, ignoring case
    ccxt: str | None = None  # a ccxt exception, or one it descends from
    hold_s: float | None = None  # how long to keep away when the venue does not say


# What a status means, whoever sends it; the first line that fits decides. A venue's own codes come before (its file),
# ccxt's classes after, because they do not tell whether trying again would help: ban and rate limit are the same class
# to it, a firewall and a geo-block look transient, a cut body permanent.
BY_STATUS = (
    Meaning(VenueRefused, status=403),  # firewall, geo-block
    Meaning(VenueRefused, status=451),  # geo-block
    Meaning(VenueRefused, status=401),
    Meaning(VenueRefused, status=range(300, 400)),  # we never follow
    Meaning(VenueUnavailable, status=range(500, 600)),
    Meaning(VenueUnavailable, status=408),
    Meaning(VenueUnavailable, status=425),
    Meaning(VenueUnavailable, status=range(200, 300), code=""),  # an error that names no code: garbage
)
OTHERWISE = (
    Meaning(VenueLimited, ccxt="RateLimitExceeded"),
    Meaning(VenueLimited, ccxt="DDoSProtection"),
    Meaning(UnknownSymbol, ccxt="BadSymbol"),
    Meaning(VenueUnavailable, ccxt="OperationFailed"),
    Meaning(VenueRefused),
)
TOO_MANY = Meaning(VenueLimited, status=429)

HINTS: dict[type[AlphaForgeError], str] = {
    VenueLimited: "every process keeps away until the time is over",
    VenueRefused: "it would be refused again: check that the venue serves this address and country, and the request",
    UnknownSymbol: "the venue does not list it: remove it from universe.yaml, or give it a listed_until",
    VenueUnavailable: "later it may answer",
}


def meaning(refusals: Sequence[Meaning], answer: Reply, error: Exception | None) -> Meaning:
    """What a refusal means: by the venue's own lines, by its status, by what ccxt made of it, if anything (`error`)."""
    code, text = venue_code(answer.body), answer.body.decode("utf-8", "replace").lower()
    lineage = {c.__name__ for c in type(error).__mro__} if error else set()
    for line in (TOO_MANY, *refusals, *BY_STATUS, *OTHERWISE):
        status = line.status
        if (
            (status is None or (answer.status in status if isinstance(status, range) else answer.status == status))
            and line.code in (None, code)
            and (line.text is None or line.text in text)
            and (line.ccxt is None or line.ccxt in lineage)
        ):
            return line
    raise AssertionError("the last line of OTHERWISE fits everything")


def refuse(
    name: str, url: str, answer: Reply, refusals: Sequence[Meaning] = (), error: Exception | None = None
) -> NoReturn:
    """Raise what the answer means: VenueLimited, VenueUnavailable, VenueRefused or UnknownSymbol.

    `name` is who answered, for the message.
    """
    line = meaning(refusals, answer, error)
    text = answer.body.decode("utf-8", "replace")
    where = f" to {answer.headers.get('location', '')!r}" if 300 <= answer.status < 400 else ""
    message = f"{name} {path_of(url)}: HTTP {answer.status}{where}: {text[:QUOTED_CHARS]!r}: {HINTS[line.error]}"
    if line.error is VenueLimited:
        raise VenueLimited(message, retry_after_s(answer, line.hold_s)) from error
    if line.error is VenueUnavailable:
        raise VenueUnavailable(message, text[:EVIDENCE_CHARS]) from error
    raise line.error(message) from error


def venue_code(body: bytes) -> str:
    """The venue's own error code: `code`, `retCode`, or the first of a list of words in `error`; "" without one."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(document, dict):
        return ""
    code, words = document.get("code", document.get("retCode")), document.get("error")
    if code is None and isinstance(words, list) and words:
        code = words[0]
    return "" if code is None else str(code)


def retry_after_s(answer: Reply, otherwise: float | None) -> float | None:
    """How long the venue wants us to wait: `Retry-After` (seconds or a date), a ban's end in the text, `otherwise`."""
    named = answer.headers.get("retry-after", "").strip()
    now = _date(answer.headers.get("date", "")) or time.time()
    if re.fullmatch(r"\d{1,9}", named):
        return max(1.0, float(named))
    if (until := _date(named)) is not None:
        return max(1.0, until - now)
    ban = re.search(rb"banned until (\d{13})", answer.body)  # Binance: "... IP banned until 1795164518837."
    if ban:
        return max(1.0, int(ban[1]) / 1000 - now)
    return otherwise


def path_of(url: str) -> str:
    """The URL without its host: what is asked, not whom."""
    parts = urlsplit(url)
    return parts.path + (f"?{parts.query}" if parts.query else "")


def _date(text: str) -> float | None:
    """An HTTP date as Unix seconds."""
    try:
        return email.utils.parsedate_to_datetime(text).timestamp() if text else None
    except ValueError:
        return None
