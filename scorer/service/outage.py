"""Kafka does not answer: since when, and that it does again. Waiting is all that can be done, so it is told."""

from __future__ import annotations

from collections.abc import Callable

from scorer.broker.contract import Fault
from scorer.telemetry.facts import BrokerAnswered, BrokerAwaited, BrokerTrouble, Client, Fact


class Outage:
    """Tells each time that Kafka has left a call unanswered how long that lasts now, and once that it is over.

    `clock` gives monotonic seconds.
    """

    def __init__(self, tell: Callable[[Fact], None], clock: Callable[[], float]) -> None:
        self._tell = tell
        self._clock = clock
        self._since: float | None = None

    def lasts(self, client: Client, fault: Fault) -> None:
        """Tell that a call found no answer, and is tried again."""
        now = self._clock()
        if self._since is None:
            self._since = now
        self._tell(BrokerTrouble(client, fault.code, str(fault)))
        self._tell(BrokerAwaited(client, round(now - self._since, 3)))

    def over(self) -> None:
        """Tell that Kafka answers again, if it had not."""
        if self._since is not None:
            self._tell(BrokerAnswered(round(self._clock() - self._since, 3)))
            self._since = None
