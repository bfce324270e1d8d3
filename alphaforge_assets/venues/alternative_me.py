"""alternative.me's Fear & Greed Index: one value a day for the whole market. No exchange, so no ccxt; the same guard.

One request brings the whole history, newest first: `{"data": [{"value": "12", "value_classification": "Extreme Fear",
"timestamp": "1780704000", "time_until_update": "36278"}, …], "metadata": {"error": null}}`, times in seconds at the
start of the UTC day. The newest row is the open day, the only one with `time_until_update`. Days may be missing: four
of the 3,048 from 2018-02-01 to 2026-06-06 are. Source: https://alternative.me/crypto/fear-and-greed-index/#api and
recorded answers; the limit of 60 requests a minute is theirs, and we use a sixth of it.
"""

import datetime as dt
import json
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from alphaforge_assets.errors import VenueUnavailable
from alphaforge_assets.venues.asking import Asker, governed
from alphaforge_assets.venues.columns import EVIDENCE_CHARS, TIME, TIME_MS_MAX, TIME_MS_MIN
from alphaforge_assets.venues.governor import Budget
from alphaforge_assets.venues.refusals import refuse
from alphaforge_assets.venues.source import Access, Call, Cost, Fetched, Listing
from alphaforge_assets.venues.transport import open_pool, parse_json, send

LIVE = "https://api.alternative.me"
PATH = "/fng/?limit=0&format=json"
REQUESTS = Budget("alternative_me", limit=10, window_s=60, burst=4)
BODY_BYTES_MAX = 4_000_000  # 0.3 MB in 2026
DAY_MS = 86_400_000
HISTORY = Call("index", {}, REQUESTS, 1)

# One day.
SCHEMA = pa.schema(
    [
        pa.field("timestamp", TIME, nullable=False),  # start of the day, as the source said it
        pa.field("value", pa.int64()),
        pa.field("classification", pa.string(), nullable=False),  # '' if none came
        pa.field("is_closed", pa.bool_(), nullable=False),  # false for the newest day, whose value still changes
        pa.field("metadata", pa.string(), nullable=False),  # '' or JSON of what has no column
    ]
)
_USUAL = {"value", "value_classification", "timestamp"}


@dataclass(frozen=True)
class History:
    """The whole index as of one answer: a table of SCHEMA in time order, the source's clock, and what it took."""

    table: pa.Table
    now: dt.datetime
    cost: Cost


def read_history(document: Any, cost: Cost) -> History:
    """The days of an answer. Pure.

    Raises VenueUnavailable for an answer that says it is an error or has another shape, no rows, or times that are not
    in seconds. A value that is no integer becomes null and its row goes to `metadata`.
    """
    said = document if isinstance(document, dict) else {}
    rows, notes = said.get("data"), said.get("metadata")
    if isinstance(notes, dict) and notes.get("error") is not None:
        raise _untrusted(f"an error in place of the index ({str(notes['error'])[:200]})", document)
    if not isinstance(rows, list) or not rows or set(map(type, rows)) - {dict}:
        raise _untrusted("no list of days", document)
    ordered = sorted(((_time_s(row, document), row) for row in rows), key=lambda pair: pair[0])
    newest_ms, newest = ordered[-1][0] * 1000, ordered[-1][1]
    values = [_value(row.get("value")) for _, row in ordered]
    table = pa.table(
        {
            "timestamp": pa.array([s * 1000 for s, _ in ordered], pa.int64()).view(TIME),
            "value": pa.array(values, pa.int64()),
            "classification": pa.array([str(row.get("value_classification", "")) for _, row in ordered], pa.string()),
            "is_closed": pa.array([s * 1000 < newest_ms and "time_until_update" not in row for s, row in ordered]),
            "metadata": pa.array([_metadata(row, v) for (_, row), v in zip(ordered, values, strict=True)], pa.string()),
        },
        schema=SCHEMA,
    )
    # The clock stays within the newest day, whatever the countdown says: an update that is late opens no new day.
    left_s = _seconds(newest.get("time_until_update"))
    into_ms = DAY_MS - left_s * 1000 if left_s is not None else 0
    now_ms = newest_ms + min(max(into_ms, 0), DAY_MS - 1)
    return History(table, dt.datetime.fromtimestamp(now_ms / 1000, dt.UTC), cost)


@dataclass(frozen=True)
class IndexSource:
    """The page that has the index: asked once for everything, so that its windows cost nothing beside its clock."""

    name: str = "rest"
    rank: int = 2
    venue: str = "alternative_me"
    clock: Call = HISTORY
    listings: None = None
    start_s: float = 0.0
    settles_holes: bool = True

    def serves(self, dataset: str, interval: str) -> bool:
        """The index."""
        return dataset == "fear_greed_index"

    def kept(self, dataset: str, interval: str) -> dt.timedelta | None:
        """All there ever was."""
        return None

    def offers(self, dataset: str, interval: str, start: dt.datetime, end: dt.datetime, now: dt.datetime) -> bool:
        """All of it."""
        return True

    def calls(
        self, dataset: str, symbol: str, interval: str, start: dt.datetime, end: dt.datetime, now: dt.datetime
    ) -> list[Call]:
        """None: the whole history is one request, counted with the clock."""
        return []

    def open(self, access: Access) -> "IndexConnection":
        """Connect to alternative.me, or to a sandbox; nothing is sent yet. Raises BadInput as `governed`."""
        return IndexConnection(access)


class IndexConnection:
    """The open source: a context manager, safe to use from several threads. It is asked once, whatever is wanted."""

    def __init__(self, access: Access) -> None:
        self.base_url, governor = governed(access)
        self.patience = access.patience
        self._asker = Asker("alternative_me", governor, access.patience)
        self._sockets = open_pool(1)
        self._lock = threading.Lock()
        self._history: History | None = None
        self._charged = False

    def __enter__(self) -> "IndexConnection":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._asker.end_waits()
        self._sockets.clear()
        self._asker.governor.close()

    def fetch_server_time(self) -> dt.datetime:
        """The source's clock, by its countdown to the next update: never beyond the newest day it has."""
        return self._asked().now

    def fetch_listings(self) -> list[Listing]:
        """None: there is one series, under its own name."""
        return []

    def submit(
        self, dataset: str, symbol: str, interval: str, start: dt.datetime, end: dt.datetime, closed_before: dt.datetime
    ) -> "Future[Fetched]":
        """As `source.Connection`: the days of [start, end)."""
        return self.submit_days(start, end)

    def submit_days(self, start: dt.datetime, end: dt.datetime) -> "Future[Fetched]":
        """The days of [start, end) as a table of SCHEMA; the first answer carries the cost of the one request.

        The Future raises VenueLimited, VenueRefused or VenueUnavailable, the last also when the answer does not reach
        back to `start`: it says nothing of what came before its oldest day.
        """
        answer: Future[Fetched] = Future()
        try:
            history = self._asked()
            times = history.table["timestamp"]
            if times[0].as_py() > start:
                raise VenueUnavailable(
                    f"alternative_me: the oldest day it sent is {times[0].as_py():%Y-%m-%d}, and {start:%Y-%m-%d} was"
                    " asked for: the answer may be cut short and is not believed before that day"
                )
            inside = pc.and_(pc.greater_equal(times, pa.scalar(start, TIME)), pc.less(times, pa.scalar(end, TIME)))
            with self._lock:
                cost, self._charged = (Cost() if self._charged else history.cost), True
            answer.set_result(Fetched(history.table.filter(inside), cost))
        except Exception as error:
            answer.set_exception(error)
        return answer

    def _asked(self) -> History:
        with self._lock:
            if self._history is None:
                self._history = self._ask()
            return self._history

    def _ask(self) -> History:
        """Ask, again if that may help, within our patience and the rate budget."""
        cost = Cost()
        return self._asker.ask(HISTORY, lambda: self._send(cost), cost)

    def _send(self, cost: Cost) -> History:
        url = (self.base_url or LIVE) + PATH
        answer = send(self._sockets, url, {}, deadline_s=self.patience.request_s, body_bytes_max=BODY_BYTES_MAX)
        if answer.status != 200:
            refuse("alternative_me", url, answer)
        try:
            document = parse_json(answer.body)
        except ValueError as error:
            raise _untrusted(
                f"a body that is not JSON ({str(error)[:200]})", answer.body.decode("utf-8", "replace")
            ) from error
        return read_history(document, cost)


def _seconds(value: Any) -> int | None:
    """A time or a countdown in seconds: a number or a text of digits."""
    text = str(value) if value is not None else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else None


def _time_s(row: dict[str, Any], document: Any) -> int:
    found = _seconds(row.get("timestamp"))
    if found is None or not TIME_MS_MIN <= found * 1000 <= TIME_MS_MAX:
        raise _untrusted(f"a day without a time in seconds ({str(row)[:200]})", document)
    return found


def _value(value: Any) -> int | None:
    text = str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) < 16 else None


def _metadata(row: dict[str, Any], value: int | None) -> str:
    extra = row if value is None else {k: v for k, v in row.items() if k not in _USUAL}
    return json.dumps(extra, ensure_ascii=False, separators=(",", ":")) if extra else ""


def _untrusted(problem: str, document: Any) -> VenueUnavailable:
    return VenueUnavailable(f"the source sent {problem}: the answer is not trusted", str(document)[:EVIDENCE_CHARS])
