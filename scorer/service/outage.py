"""Kafka does not answer: for how long now, and that it does again. Waiting is all that can be done, so it is told."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

from scorer.telemetry.facts import BrokerAnswered, BrokerAwaited, Fact

PATIENCE = 4.0
"""Seconds that a batch may take to be settled before its wait is told."""


class Outage:
    """The loop says when it begins to wait for Kafka and when that is over; `look`, from another thread, tells of it.

    The loop cannot tell itself: the client's calls block, and some wait for half a minute. `clock` gives monotonic
    seconds.
    """

    def __init__(self, tell: Callable[[Fact], None], clock: Callable[[], float]) -> None:
        self._tell = tell
        self._clock = clock
        self._lock = Lock()
        self._since: float | None = None
        self._events = 0
        self._told = False

    def begin(self, events: int) -> None:
        """Note that so many events in hand wait for Kafka from now on, if they do not already."""
        with self._lock:
            if self._since is None:
                self._since, self._events = self._clock(), events

    def over(self) -> None:
        """Note that Kafka has answered, and tell it if the wait was told."""
        with self._lock:
            if self._told and self._since is not None:
                self._tell(BrokerAnswered(round(self._clock() - self._since, 3)))
            self._since, self._told = None, False

    def look(self) -> None:
        """Tell of a wait that lasts too long; called every few seconds."""
        with self._lock:
            waited = 0.0 if self._since is None else self._clock() - self._since
            if waited >= PATIENCE:
                self._told = True
                self._tell(BrokerAwaited(round(waited, 3), self._events))
