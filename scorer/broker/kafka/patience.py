"""Calls of the client that may never return, made where they can be left behind.

librdkafka's transactional calls have a time-out of their own, and do not always keep it: `send_offsets_to_transaction`
was seen to wait for ever for an answer that a broken connection had taken with it.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

GRACE = 5.0
"""Seconds that a call may take beyond its own time-out."""
OWN = 2
"""References to an object in a list: the list's, and that of the function that counts them."""
Result = TypeVar("Result")


class CallStuckError(Exception):
    """A call has not returned; whoever made it must not use its client again."""


class Caller:
    """Makes calls in a thread of its own, one after the other. The caller waits, but not for ever."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        # Not one of `concurrent.futures`: at its end Python would wait for a thread of those.
        threading.Thread(target=self._work, name="scorer-producer", daemon=True).start()

    def __call__(self, call: Callable[[], Result], timeout: float) -> Result:
        """Return what `call` returns, or raise what it raises; CallStuckError `GRACE` seconds after its time-out."""
        future: Future[Result] = Future()
        self._calls.put((future, call))
        try:
            return future.result(timeout + GRACE)
        except TimeoutError:
            if future.done():
                raise
            raise CallStuckError(f"the client has not returned after {timeout + GRACE:g} s") from None

    def post(self, call: Callable[[], object]) -> None:
        """Make a call that nobody waits for; what it raises is nobody's either."""
        self._calls.put((Future(), call))

    def close(self, client: list[Any]) -> None:
        """End the thread once it is idle, and destroy the listed client there: that may not return either."""
        self._calls.put((Future(), partial(_bury, client)))

    def _work(self) -> None:
        while True:
            future, call = self._calls.get()
            try:
                future.set_result(call())
            except SystemExit:
                return
            except BaseException as error:  # it belongs to whoever waits for the result
                future.set_exception(error)


def leave(client: list[Any]) -> None:
    """Close the listed client in a thread of its own, which nobody waits for, and destroy it there."""
    caller = Caller()
    caller.post(client[0].close)
    caller.close(client)


def _bury(client: list[Any]) -> None:
    while client and sys.getrefcount(client[0]) > OWN:  # an exception that is being handled may hold it yet
        time.sleep(0.05)
    client.clear()
    raise SystemExit
