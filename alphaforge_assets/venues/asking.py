"""How a question is put: within the rate budget, again if that may help, no longer than our patience.

What an answer means stands in refusals.py and with each source; here only how often it is asked, and what the governor
has to learn from each try.
"""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

import stamina

from alphaforge_assets.errors import BadInput, Permanent, VenueLimited, VenueUnavailable
from alphaforge_assets.venues.governor import Budget, Governor
from alphaforge_assets.venues.source import Access, Call, Cost, Patience
from alphaforge_assets.venues.transport import check_base_url

T = TypeVar("T")


def governed(access: Access) -> tuple[str | None, Governor]:
    """The checked base URL (None: the real venue) and the governor of an access.

    Raises BadInput for a URL, file or factor that cannot be.
    """
    address = check_base_url(access.base_url) if access.base_url is not None else None
    factor = access.limits_factor
    if not (0.001 <= factor <= 1000 and (address or factor == 1.0)):
        raise BadInput(f"limits_factor {factor}: must be 1 for a real venue, and from 0.001 to 1000 for a sandbox")
    return address, Governor(access.governor_file, address or "live", factor)


class PartMissing(VenueUnavailable):
    """The venue answers, and some of what it was asked for does not come: worth another try, and no sign of its own
    failing.
    """


class Asker:
    """Asks one source, from any number of threads, until `close`."""

    def __init__(self, name: str, governor: Governor, patience: Patience) -> None:
        self.name = name
        self.governor = governor
        self.patience = patience
        self._closing = threading.Event()

    def end_waits(self) -> None:
        """Whoever waits for the budget now raises VenueUnavailable."""
        self._closing.set()

    def ask(self, call: Call, send: Callable[[], T], cost: Cost) -> T:
        """What `send` returns, once it does. Adds to `cost` what it took.

        Raises what `send` raises where trying again does not help, or has not helped for as long as our patience lasts:
        VenueUnavailable then says how often it was tried.
        """
        p, began = self.patience, time.monotonic()
        tries = stamina.retry_context(
            on=_may_help,
            attempts=p.attempts,
            timeout=p.total_s,
            wait_initial=p.wait_first_s,
            wait_max=p.wait_max_s,
            wait_jitter=p.jitter_s,
        )
        sent = 0
        try:
            for attempt in tries:
                # Outside of the attempt: what the governor refuses is refused for good.
                left_s = max(0.0, p.total_s - (time.monotonic() - began))
                cost.waited_s += self.governor.take(call.budget, call.weight, left_s, self._closing)
                with attempt:
                    sent += 1
                    cost.requests += 1
                    cost.weight += call.weight
                    cost.retries += sent > 1
                    return self._send(call.budget, send)
        except VenueUnavailable as error:
            tried = f"tried {sent} times in {time.monotonic() - began:.0f} s"
            raise VenueUnavailable(f"{self.name}: {error} ({tried})", error.evidence) from error
        raise AssertionError("stamina either returns or raises")

    def _send(self, budget: Budget, send: Callable[[], T]) -> T:
        """One try, with what the governor has to learn from it."""
        try:
            result = send()
        except VenueLimited as error:
            self.governor.hold(budget, error.retry_after_s or budget.window_s, str(error))
            raise
        except PartMissing:
            self.governor.answered(budget)
            raise
        except VenueUnavailable as error:
            self.governor.failed(budget, str(error))
            raise
        except Permanent:
            self.governor.answered(budget)
            raise
        self.governor.answered(budget)
        return result


def _may_help(error: Exception) -> bool | float:
    """Whether to try again. After a VenueLimited at once: the governor makes us wait for as long as the venue said."""
    return 0.0 if isinstance(error, VenueLimited) else isinstance(error, VenueUnavailable)
