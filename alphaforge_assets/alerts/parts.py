"""A part of `alphaforge up` that died: told by `up` itself, at once, for the sensor's own process may be the dead one.

An event and not a condition, so nobody is told that it is over: the message says what became of it.
"""

import datetime as dt
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from alphaforge_assets.webhooks import Receipt, Webhook, post


def tell_of_part(
    webhooks: Sequence[Webhook], part: str, about: str, to_do: str, at: dt.datetime, ui: str | None
) -> list[Receipt]:
    """Tell every receiver, in the shape of the sensor's messages. Never raises for a receiver."""
    if not webhooks:
        return []
    host = socket.gethostname()
    text = f"AlphaForge on {host}: {about}\n→ {to_do}" + (f"\n\nUI: {ui}" if ui else "")
    trouble = {"kind": "parts", "subject": part, "since": at, "about": about, "link": ""}
    details = {"host": host, "ui": ui, "new": [trouble], "over": [], "standing": 0}
    with ThreadPoolExecutor(max_workers=len(webhooks), thread_name_prefix="alert") as pool:
        return list(pool.map(lambda webhook: post(webhook, text, details), webhooks))
