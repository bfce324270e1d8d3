"""Where alerts go: the URLs of ALPHAFORGE_ALERTS, and one message posted to one of them.

`https://hooks.slack.com/...` is sent what Slack's incoming webhooks read; so is `slack+https://...`, for others that
speak it, such as Mattermost. Any other http(s) URL is sent plain JSON. A webhook's URL is a secret: whoever has it can
post. So everything shown of it is scheme and host.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

import certifi
import urllib3

from alphaforge_assets.errors import BadInput

SLACK_HOST = "hooks.slack.com"
SLACK_PREFIX = "slack+"
SCHEMES = ("https", "http")
EXAMPLE = "https://hooks.slack.com/services/T000/B000/KEY for Slack, any other https:// URL for plain JSON"
# A sensor's tick may take a minute, and a receiver that needs longer than this is not answering.
TIMEOUT_S = 5.0
ANSWER_SHOWN_MAX = 200


@dataclass(frozen=True)
class Webhook:
    """A receiver of alerts. `shown` is what people may see of it."""

    kind: Literal["slack", "json"]
    url: str = field(repr=False)
    shown: str


@dataclass(frozen=True)
class Receipt:
    """What came of a message: whether the receiver took it, and its status and words, or why there was no answer."""

    webhook: Webhook
    is_taken: bool
    answer: str


def read_webhooks(text: str) -> tuple[Webhook, ...]:
    """The webhooks named in `text`, separated by spaces or commas. Raises BadInput naming what is wrong with which."""
    return tuple(_webhook(word) for word in dict.fromkeys(text.replace(",", " ").split()))


def post(webhook: Webhook, text: str, details: Mapping[str, Any]) -> Receipt:
    """Send one message, once. Slack gets the text, others the text and `details` as JSON. Never raises for a receiver.

    Redirects are not followed and proxies of the environment not used: the message goes where the setting says.
    """
    body = {"text": _escaped(text)} if webhook.kind == "slack" else {"source": "alphaforge", "text": text, **details}
    with urllib3.PoolManager(cert_reqs="CERT_REQUIRED", ca_certs=certifi.where()) as pool:
        try:
            answer = pool.request(
                "POST",
                webhook.url,
                body=json.dumps(body, default=str, ensure_ascii=False).encode(),
                headers={"Content-Type": "application/json; charset=utf-8", "User-Agent": "alphaforge"},
                timeout=urllib3.Timeout(total=TIMEOUT_S),
                retries=False,
                redirect=False,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            return Receipt(webhook, False, _without_secret(f"{type(error).__name__}: {error}", webhook))
    said = " ".join(answer.data[:ANSWER_SHOWN_MAX].decode(errors="replace").split())
    words = _without_secret(f"HTTP {answer.status} {said}".strip(), webhook)
    return Receipt(webhook, 200 <= answer.status < 300, words)


def _webhook(word: str) -> Webhook:
    url = word.removeprefix(SLACK_PREFIX)
    shown = _shown(word)
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port  # reading the port parses it
    except ValueError as error:
        raise BadInput(f"ALPHAFORGE_ALERTS: {shown} is no URL ({error}); write {EXAMPLE}") from error
    if parts.scheme not in SCHEMES:
        raise BadInput(f"ALPHAFORGE_ALERTS: {shown} does not begin with https:// or http://; write {EXAMPLE}")
    if not host or not url.isascii() or not url.isprintable():
        raise BadInput(f"ALPHAFORGE_ALERTS: {shown} names no host; write {EXAMPLE}")
    is_slack = word.startswith(SLACK_PREFIX) or host == SLACK_HOST
    if is_slack and not parts.path.strip("/"):
        raise BadInput(
            f"ALPHAFORGE_ALERTS: {shown} has no path, and in Slack's URLs the path is the key; write {EXAMPLE}"
        )
    return Webhook("slack" if is_slack else "json", url, shown)


def _shown(word: str) -> str:
    """Scheme and host; of what has no scheme a few letters, since it may be nothing but a key."""
    scheme, found, rest = word.partition("://")
    if not found:
        return f"{word[:4]}…"
    host = rest.partition("/")[0].partition("?")[0].rpartition("@")[2]
    return f"{scheme}://{host}" + ("/…" if rest.strip("/") != host else "")


def _without_secret(text: str, webhook: Webhook) -> str:
    """`text`, should a receiver or a library have repeated the URL in it."""
    parts = urlsplit(webhook.url)
    secrets = (webhook.url, parts.path, parts.query, parts.username or "", parts.password or "")
    for secret in secrets:
        if len(secret) > 3:
            text = text.replace(secret, "…")
    return text


def _escaped(text: str) -> str:
    """Slack reads these three as its own; https://api.slack.com/reference/surfaces/formatting#escaping."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
