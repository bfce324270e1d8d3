"""How many threads share one way to a bucket: what they order while a batch is under way is the next batch.

What a bucket is, and what becomes of an order, stands in buckets.py.
"""

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from alphaforge_assets.errors import VenueUnavailable
from alphaforge_assets.venues.buckets import Bucket, Order, Outcome


class Batches:
    """Orders of many threads brought together: what comes while a batch is under way is the next one."""

    def __init__(self, bucket: Bucket, within_s: float) -> None:
        self._bucket = bucket
        self._within_s = within_s
        self._lock = threading.Lock()
        self._waiting: list[tuple[Sequence[Order], Future[Sequence[Outcome]]]] = []
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="batches")

    def bring(self, orders: Sequence[Order]) -> Sequence[Outcome]:
        """As `Bucket`. Raises VenueUnavailable also when it was closed meanwhile."""
        mine: Future[Sequence[Outcome]] = Future()
        with self._lock:
            self._waiting.append((orders, mine))
            try:
                self._pool.submit(self._next)
            except RuntimeError as error:
                raise VenueUnavailable("the connection was closed before these files were fetched") from error
        return mine.result()

    def close(self) -> None:
        """Nothing is begun any more; who waits is told."""
        with self._lock:
            self._pool.shutdown(wait=False, cancel_futures=True)
            for _, waiting in self._waiting:
                waiting.set_exception(VenueUnavailable("the connection was closed before these files were fetched"))
            self._waiting.clear()

    def _next(self) -> None:
        with self._lock:
            batch, self._waiting = self._waiting, []
        if not batch:
            return
        try:
            outcomes = iter(self._bucket.bring([order for orders, _ in batch for order in orders], self._within_s))
            for orders, waiting in batch:
                waiting.set_result([next(outcomes) for _ in orders])
        except BaseException as error:
            for _, waiting in batch:
                if not waiting.done():
                    waiting.set_exception(error)
