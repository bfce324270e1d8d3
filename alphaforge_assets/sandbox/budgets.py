"""The venues' rate limits, kept as they keep them: per address, in fixed windows of real time, with bans.

Here those of the default universe; another venue's are in its own file. Sources: Binance 6,000 weight a minute (spot)
and 2,400 (USDⓈ-M), 429 then 418; funding 500 in 5 minutes; OKX per path and, where it says so, per instrument; Bybit
600 requests in 5 s, then HTTP 403 for 10 minutes. `scale` shrinks or stretches the limits, so that a test can trip them
cheaply.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Rule:
    """At most `limit` weight in each window of `window_s`; `aligned` windows begin with the clock's minute.

    A client that has been refused `patience` times in a row is banned for `ban_s`, on all paths of the exchange.
    """

    limit: int
    window_s: float
    aligned: bool = False
    patience: float = math.inf
    ban_s: float = 0.0


# Binance: 429 five times, then 418 for two minutes.
RULES = {
    "binance_spot": Rule(6000, 60, aligned=True, patience=5, ban_s=120),
    "binance_perp": Rule(2400, 60, aligned=True, patience=5, ban_s=120),
    "binance_funding": Rule(500, 300, patience=5, ban_s=120),
    "okx_candles": Rule(40, 2),
    "okx_history": Rule(20, 2),
    "okx_prices": Rule(20, 2),
    "okx_price_history": Rule(10, 2),
    "okx_public": Rule(20, 2),
    "okx_time": Rule(10, 2),
    "okx_trades": Rule(20, 2),
    "okx_funding": Rule(10, 2),
    "okx_status": Rule(1, 5),
    "bybit": Rule(600, 5, patience=0, ban_s=600),
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
    rules: Mapping[str, Rule] = field(default_factory=lambda: RULES)
    _used: dict[str, tuple[float, int]] = field(default_factory=dict)
    _refused: dict[str, int] = field(default_factory=dict)
    _banned: dict[str, float] = field(default_factory=dict)

    def charge(self, budget: str, weight: int, key: str = "") -> Charge:
        rule = self.rules[budget]
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
        return self._over(family, rule, Charge("limited", used, limit, wait), now)

    def _over(self, family: str, rule: Rule, charge: Charge, now: float) -> Charge:
        """Past the limit: refused, and banned once there is no patience left."""
        self._refused[family] = self._refused.get(family, 0) + 1
        if self._refused[family] <= rule.patience:
            return charge
        self._banned[family] = now + rule.ban_s
        return Charge("banned", charge.used, charge.limit, rule.ban_s)

    def reset(self) -> None:
        self._used.clear()
        self._refused.clear()
        self._banned.clear()
