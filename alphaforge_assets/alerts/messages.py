"""Who was told what: from two looks to one message, sent to each receiver once for as long as a trouble lasts.

Pure but for `tell`, which sends. What a receiver was told is kept by receiver, because one may be down while another is
not: to that one the news is simply still to be told.
"""

import datetime as dt
import hashlib
import json
import socket
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any

from alphaforge_assets.alerts.troubles import KINDS, Look, Trouble
from alphaforge_assets.webhooks import Receipt, Webhook, post

ITEMS_SHOWN_MAX = 10

# What a receiver knows of: by the trouble's key, when it began and what it was. Written to the sensor's cursor as JSON.
Told = dict[str, dict[str, str]]


@dataclass(frozen=True)
class Memory:
    """The sensor's cursor: since when each trouble of now has been seen, and what each receiver was told."""

    seen: Mapping[str, str]
    told: Mapping[str, Told]


@dataclass(frozen=True)
class News:
    """What one receiver does not know yet: troubles that began, those that are over, and how many go on."""

    new: tuple[Trouble, ...]
    over: tuple[tuple[str, str, dt.datetime], ...]  # kind, subject, since when it had lasted
    standing: int


def news(told: Told, now: Look) -> News:
    """What is to be told. Of kinds that could not be looked at nothing is said to be over."""
    keys = {t.key for t in now.troubles}
    over = []
    for key, known in told.items():
        kind, _, subject = key.partition("|")
        if key not in keys and kind not in now.unseen:
            over.append((kind, subject, dt.datetime.fromisoformat(known["since"])))
    new = tuple(t for t in now.troubles if t.key not in told)
    return News(new, tuple(over), len(told) - len(over))


def after(told: Told, its: News) -> Told:
    """What the receiver knows once it has taken the news."""
    over = {f"{kind}|{subject}" for kind, subject, _ in its.over}
    known = {key: what for key, what in told.items() if key not in over}
    return known | {t.key: {"since": t.since.isoformat(), "about": t.about} for t in its.new}


def text(its: News, at: dt.datetime, ui: str | None) -> str:
    """The message: a heading, then what began by kind with what to do, then what is over."""
    lines = [f"AlphaForge on {socket.gethostname()}: {_heading(its)}"]
    for kind, about in KINDS.items():
        if troubles := [t for t in its.new if t.kind == kind]:
            lines += ["", f"{about.title} ({len(troubles)})"]
            lines += [
                f"• {t.subject}, since {_moment(t.since)}: {t.about}{_link(t, ui)}" for t in troubles[:ITEMS_SHOWN_MAX]
            ]
            lines += _more(len(troubles))
            lines.append(f"→ {about.to_do}")
    if its.over:
        lines += ["", f"Over ({len(its.over)})"]
        for kind, subject, since in its.over[:ITEMS_SHOWN_MAX]:
            title, ended = (KINDS[kind].title, f": {KINDS[kind].ended}") if kind in KINDS else (kind, "")
            lines.append(f"✓ {title}: {subject}, after {_span(at - since)}{ended}")
        lines += _more(len(its.over))
    if ui:
        lines += ["", f"UI: {ui}"]
    return "\n".join(lines)


def tell(
    webhooks: Sequence[Webhook], told: Mapping[str, Told], now: Look, ui: str | None
) -> tuple[dict[str, Told], list[Receipt]]:
    """Send each receiver its news. Returns what each knows now, and what came of the messages that were sent.

    A receiver that does not take its message knows no more than before, so that the next look tells it.
    """
    waiting = {w: news(told.get(identity(w), {}), now) for w in webhooks}
    due = [w for w, its in waiting.items() if its.new or its.over]
    with ThreadPoolExecutor(max_workers=max(1, len(due)), thread_name_prefix="alert") as pool:
        receipts = list(pool.map(lambda w: post(w, text(waiting[w], now.at, ui), _details(waiting[w], ui)), due))
    taken = {r.webhook for r in receipts if r.is_taken}
    known = {identity(w): told.get(identity(w), {}) for w in webhooks}
    return known | {identity(w): after(known[identity(w)], waiting[w]) for w in taken}, receipts


def identity(webhook: Webhook) -> str:
    """Names a receiver in the cursor, where its URL has no business to be."""
    return hashlib.sha256(f"{webhook.kind} {webhook.url}".encode()).hexdigest()[:16]


def lasting(seen: Mapping[str, str], now: Look) -> tuple[Look, dict[str, str]]:
    """A look without what its kind is patient with, and since when each trouble has been seen by now."""
    blind = {key: since for key, since in seen.items() if key.partition("|")[0] in now.unseen}
    known = blind | {t.key: seen.get(t.key, now.at.isoformat()) for t in now.troubles}
    lasts = [t for t in now.troubles if now.at - dt.datetime.fromisoformat(known[t.key]) >= KINDS[t.kind].patience]
    return replace(now, troubles=tuple(lasts)), known


def read_memory(cursor: str | None) -> Memory:
    """What the cursor of the sensor holds; everything is news to everybody where there is none, or one of old."""
    known = json.loads(cursor) if cursor else {}
    return Memory(known.get("seen", {}), known.get("told", {}))


def _details(its: News, ui: str | None) -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "ui": ui,
        "new": [asdict(t) for t in its.new],
        "over": [{"kind": kind, "subject": subject, "since": since} for kind, subject, since in its.over],
        "standing": its.standing,
    }


def _heading(its: News) -> str:
    parts = [f"{len(its.new)} new"] if its.new else []
    parts += [f"{len(its.over)} over"] if its.over else []
    parts += [f"{its.standing} go on"] if its.standing else []
    return ", ".join(parts) + ("" if its.new or its.standing else ", all is well")


def _more(count: int) -> list[str]:
    return [f"… and {count - ITEMS_SHOWN_MAX:,} more: `alphaforge alerts`"] if count > ITEMS_SHOWN_MAX else []


def _link(trouble: Trouble, ui: str | None) -> str:
    return f" {ui}{trouble.link}" if ui and trouble.link else ""


def _moment(moment: dt.datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _span(span: dt.timedelta) -> str:
    minutes = int(span.total_seconds() // 60)
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 2880 else f"{minutes // 1440} days"
