"""The venues' rate limits, kept as they keep them: per address, in fixed windows of real time, with bans.

Sources: Binance 6,000 weight a minute (spot) and 2,400 (USDⓈ-M), 429 then 418; funding 500 in 5 minutes; OKX per path
and, where it says so, per instrument; Bybit 600 requests in 5 s, then HTTP 403 for 10 minutes. `scale` shrinks or
stretches the limits, so that a test can trip them cheaply.
"""

import math
import time
from dataclasses import dataclass, field

IGNORED_429 = 5  # answers of 429 that a client may provoke before Binance bans it
BAN_S = {"binance": 120.0, "bybit": 600.0}


@dataclass(frozen=True)
class Rule:
    """At most `limit` weight in each window of `window_s`; `aligned` windows begin with the clock's minute."""

    limit: int
    window_s: float
    aligned: bool = False


RULES = {
    "binance_spot": Rule(6000, 60, aligned=True),
    "binance_perp": Rule(2400, 60, aligned=True),
    "binance_funding": Rule(500, 300),
    "okx_candles": Rule(40, 2),
    "okx_history": Rule(20, 2),
    "okx_public": Rule(20, 2),
    "okx_time": Rule(10, 2),
    "okx_trades": Rule(20, 2),
    "okx_funding": Rule(10, 2),
    "okx_status": Rule(1, 5),
    "bybit": Rule(600, 5),
    "alternative_me": Rule(60, 60),
}


@dataclass(frozen=True)
class Charge:
    """What became of a request: `verdict` is ok, limited or banned; `wait_s` says until when it stays so."""

    verdict: str
    used: int
    limit: int
    wait_s: float


@dataclass
class Budgets:
    """All windows. `charge` is called once a request, before it is answered."""

    scale: float = 1.0
    _used: dict[str, tuple[float, int]] = field(default_factory=dict)
    _refused: dict[str, int] = field(default_factory=dict)
    _banned: dict[str, float] = field(default_factory=dict)

    def charge(self, budget: str, weight: int, key: str = "") -> Charge:
        rule = RULES[budget]
        limit = max(1, int(rule.limit * self.scale))
        family = budget.split("_")[0]
        now = time.time()
        if self._banned.get(family, 0.0) > now:
            return Charge("banned", limit, limit, self._banned[family] - now)
        name = f"{budget}/{key}"
        began, used = self._used.get(name, (0.0, 0))
        if now >= began + rule.window_s:
            began, used = (now // rule.window_s * rule.window_s if rule.aligned else now), 0
        used += weight
        self._used[name] = began, used
        wait = max(0.001, began + rule.window_s - now)
        if used <= limit:
            self._refused.pop(family, None)
            return Charge("ok", used, limit, wait)
        return self._over(family, used, limit, wait, now)

    def _over(self, family: str, used: int, limit: int, wait: float, now: float) -> Charge:
        """Past the limit: Bybit bans at once, Binance when one goes on, the others only refuse."""
        self._refused[family] = self._refused.get(family, 0) + 1
        patience = {"binance": IGNORED_429, "bybit": 0}.get(family, math.inf)
        if self._refused[family] <= patience:
            return Charge("limited", used, limit, wait)
        self._banned[family] = now + BAN_S[family]
        return Charge("banned", used, limit, BAN_S[family])

    def reset(self) -> None:
        self._used.clear()
        self._refused.clear()
        self._banned.clear()
