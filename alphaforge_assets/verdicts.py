"""Why something is missing: the verdicts that a gap can have, once, for statements, receipts, pages and terminal.

Which of them a gap gets is decided in sql/coverage; what a verdict means for everybody else stands here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Verdict:
    """One reason. `clause` continues "12 bars …" where nothing explains it, else "because of …"."""

    name: str
    title: str
    meaning: str
    clause: str
    colour: str  # class of its cells in pictures
    is_explained: bool = True  # the venue has nothing there, so a complete record cannot have it either
    is_due: bool = True  # False: nobody could have traded then
    attempts_max: int = 0  # how often healing asks again before it stands


# A venue that has answered the same three more times, hours apart, has nothing.
UNKNOWN_ATTEMPTS_MAX = 3
SUSPICIOUS_ATTEMPTS_MAX = 3
REJECTED_ATTEMPTS_MAX = 3  # venues mend a broken row within hours, or never
# An outage that rests on one instrument is confirmed once: a lost page of a venue looked at alone would pass for one.
# So is a listing that only a silence of at most a month before the first bar tells of.
ALONE_ATTEMPTS_MAX = 1
# A venue that does not answer may be down for days: with healing's pauses ten attempts last a week.
MISSED_ATTEMPTS_MAX = 10

# The most grave first.
VERDICTS: Mapping[str, Verdict] = MappingProxyType(
    {
        v.name: v
        for v in (
            Verdict(
                "we_missed", "Not fetched", "No complete answer covers it. It is asked for again by itself.",
                "could not be fetched so far", "unexplained", is_explained=False, attempts_max=MISSED_ATTEMPTS_MAX,
            ),
            Verdict(
                "suspicious", "Suspicious",
                "The venue had nothing, but none is silent for so long, so often or by the clock: we may have lost it.",
                "silences that look like our own doing", "unexplained", is_explained=False,
                attempts_max=SUSPICIOUS_ATTEMPTS_MAX,
            ),
            Verdict(
                "unknown", "Unexplained", "The venue answered and had nothing, and nothing we know explains it.",
                "nobody can explain yet", "unexplained", is_explained=False, attempts_max=UNKNOWN_ATTEMPTS_MAX,
            ),
            Verdict(
                "rejected", "Rejected", "The venue sent rows that break a rule: rejected_rows has them as they came.",
                "rows of the venue that break a rule", "unexplained", is_explained=False,
                attempts_max=REJECTED_ATTEMPTS_MAX,
            ),
            Verdict(
                "venue_outage", "Venue outage", "The venue itself was silent.",
                "outages of the venue", "outage", attempts_max=ALONE_ATTEMPTS_MAX,
            ),
            Verdict(
                "no_trades", "No trades", "Nobody traded, and this venue leaves out bars without a trade.",
                "minutes without a trade", "quiet",
            ),
            Verdict(
                "retention_lost", "No longer served",
                "The venue keeps its history for a time only, and that had passed.",
                "history that the venue no longer serves", "lost",
            ),
            Verdict(
                "delisted", "Delisted", "The instrument had been taken off the venue.",
                "times after a delisting", "unlisted", is_due=False,
            ),
            Verdict(
                "not_listed", "Not listed yet", "The instrument did not trade on the venue yet.",
                "times before a listing", "unlisted", is_due=False, attempts_max=ALONE_ATTEMPTS_MAX,
            ),
        )
    }
)  # fmt: skip
EXPLAINED = tuple(v.name for v in VERDICTS.values() if v.is_explained)
UNEXPLAINED = tuple(v.name for v in VERDICTS.values() if not v.is_explained)
NOT_DUE = tuple(v.name for v in VERDICTS.values() if not v.is_due)
# How often each is asked for again, as statements take it.
ATTEMPTS = {"verdicts": list(VERDICTS), "attempts_max": [v.attempts_max for v in VERDICTS.values()]}
