"""alternative.me's Fear and Greed Index, /fng/: newest first, one value a day, numbers as text, times in seconds.

A recording is `fear_greed/alternative_me.parquet` with timestamp (s), value and value_classification, served as it is
(days are missing in it). Source: https://alternative.me/crypto/fear-and-greed-index/#api and a recorded answer.
"""

from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from alphaforge_assets.errors import BadInput
from alphaforge_assets.sandbox.bars import DAY_MS
from alphaforge_assets.sandbox.exchange import Exchange
from alphaforge_assets.sandbox.prices import hashed_normal
from alphaforge_assets.sandbox.wire import Endpoint, Query, Reply, dump, number

FIRST_DAY = 17_563  # 2018-02-01, in days since the epoch
_NAMES = ((25, "Extreme Fear"), (46, "Fear"), (54, "Neutral"), (75, "Greed"), (100, "Extreme Greed"))
_DAY_S = DAY_MS // 1000
Day = tuple[int, int, str]  # (time in s, value, its class)


def endpoints(exchange: Exchange) -> dict[str, Endpoint]:
    """The one path there is, with and without its slash."""
    index = _Index(exchange)
    endpoint = Endpoint("alternative_me", "alternative_me", index.answer)
    return {"/fng/": endpoint, "/fng": endpoint}


class _Index:
    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def answer(self, query: Query) -> Reply:
        """`limit` days, 1 by default, 0 for all of them."""
        now_s = self._exchange.clock.now_ms() // 1000
        try:
            limit = number(query.get("limit"), 1) or 0
        except ValueError:
            limit = 1
        days = (
            [day for day in self._recorded if day[0] <= now_s] if self._exchange.recordings else self._generated(now_s)
        )
        rows = [
            {"value": str(value), "value_classification": name, "timestamp": str(time)}
            for time, value, name in (days[:limit] if limit > 0 else days)
        ]
        if rows:
            rows[0]["time_until_update"] = str(_DAY_S - now_s % _DAY_S)
        body = dump({"name": "Fear and Greed Index", "data": rows, "metadata": {"error": None}})
        return Reply(body, rows=len(rows))

    @cached_property
    def _recorded(self) -> list[Day]:
        root = self._exchange.recordings.root if self._exchange.recordings else Path()
        path = root / "fear_greed" / "alternative_me.parquet"
        if not path.exists():
            return []
        try:
            table = pq.ParquetFile(path).read(columns=["timestamp", "value", "value_classification"])
            columns = [table[name].to_pylist() for name in ("timestamp", "value", "value_classification")]
        except (OSError, KeyError, pa.ArrowInvalid) as error:
            raise BadInput(f"recording {path}: {error}; it needs timestamp, value and value_classification") from error
        return list(zip(*columns, strict=True))

    def _generated(self, now_s: int) -> list[Day]:
        """A slow mood with a little noise, 5 to 95."""
        day = np.arange(now_s // _DAY_S, FIRST_DAY - 1, -1, dtype=np.int64)
        seed, mood = self._exchange.seed, np.zeros(len(day))
        for span, weight in ((64, 17.0), (16, 9.0), (4, 4.0), (1, 2.0)):
            low, high = (hashed_normal(seed, f"mood/{span}", day // span + side) for side in (0, 1))
            mood += weight * (low + (high - low) * (day % span) / span)
        values = np.clip(np.rint(47 + mood), 5, 95).astype(np.int64)
        return [(int(d) * _DAY_S, int(v), _name(int(v))) for d, v in zip(day, values, strict=True)]


def _name(value: int) -> str:
    return next(name for most, name in _NAMES if value <= most)
