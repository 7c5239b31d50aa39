"""Takes facts and heartbeats, gives liveness and readiness. Pure logic: the clock is an argument.

Not alive means: restart me. Not ready means: wait for me. A broker that is away makes the scorer neither, because a
restart mends no broker.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from scorer.telemetry.facts import (
    BrokerAnswered,
    BrokerAwaited,
    BundleLoaded,
    Fact,
    PartitionsAssigned,
    ServiceStopped,
    ServiceStopping,
)


class Health:
    """Whether the loop is turning, and whether it can do its work.

    `topics` are those whose bundles must be verified; `max_silence` is in seconds; `clock` gives monotonic seconds.
    Birth counts as the first beat.
    """

    def __init__(self, topics: Collection[str], *, max_silence: float, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._max_silence = max_silence
        self._last_beat = clock()
        self._unverified = sorted(topics)
        self._assigned = False
        self._broker_awaited = 0.0
        self._stopping = False

    def beat(self) -> None:
        """Say that the loop is turning."""
        self._last_beat = self._clock()

    def hear(self, fact: Fact) -> None:
        """Take note of what readiness depends on.

        An assignment of no partitions counts: a scorer that stands by while others hold them all is ready.
        """
        match fact:
            case BundleLoaded(topic=topic):
                # A new list, never a changed one: the HTTP threads may be reading the old one.
                self._unverified = [name for name in self._unverified if name != topic]
            case PartitionsAssigned():
                self._assigned = True
            case BrokerAwaited(seconds=seconds):
                self._broker_awaited = seconds
            case BrokerAnswered():
                self._broker_awaited = 0.0
            case ServiceStopping() | ServiceStopped():
                self._stopping = True
            case _:
                pass

    @property
    def alive(self) -> bool:
        """Whether the last beat is younger than `max_silence`."""
        return self._silence() < self._max_silence

    @property
    def ready(self) -> bool:
        """Whether every bundle is verified, partitions were assigned at least once, and nothing is stopping."""
        return not self._unverified and self._assigned and not self._stopping

    def explain(self) -> dict[str, Any]:
        """Return what both verdicts rest on, ready for JSON, and how long Kafka has been awaited; all in seconds."""
        return {
            "alive": self.alive,
            "ready": self.ready,
            "silence": round(self._silence(), 3),
            "max_silence": self._max_silence,
            "unverified_topics": self._unverified,
            "assigned": self._assigned,
            "broker_awaited": self._broker_awaited,
            "stopping": self._stopping,
        }

    def _silence(self) -> float:
        return self._clock() - self._last_beat
