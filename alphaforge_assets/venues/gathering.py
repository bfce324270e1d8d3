"""One Future of several: what is fetched in parts and wanted whole."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from alphaforge_assets.errors import VenueUnavailable

S = TypeVar("S")
T = TypeVar("T")


def gathered(parts: "list[Future[S]]", join: Callable[[list[S]], T]) -> "Future[T]":
    """One Future of all parts: `join` of their results in order, or the first failure, which cancels the rest."""
    whole: Future[T] = Future()
    whole.set_running_or_notify_cancel()
    lock, left = threading.Lock(), len(parts)

    def settle() -> None:
        try:
            whole.set_result(join([part.result() for part in parts]))
        except Exception as error:
            whole.set_exception(error)

    def done(part: "Future[S]") -> None:
        nonlocal left
        if part.cancelled():
            failure: BaseException | None = VenueUnavailable("the connection was closed before these bars were fetched")
        else:
            failure = part.exception()
        with lock:
            left -= 1
            if whole.done():
                return
            if failure is None:
                if left == 0:
                    settle()
                return
            whole.set_exception(failure)
        for other in parts:
            other.cancel()

    if not parts:
        settle()
    for part in parts:
        part.add_done_callback(done)
    return whole
