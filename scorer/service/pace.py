"""How many events of each topic may one micro-batch take? As many as its share of time allows."""

from __future__ import annotations

from collections.abc import Mapping

BATCH_SECONDS = 0.5
"""Seconds that the rooms should spend on a batch, all topics together."""
WEIGHT = 0.3
"""Of the latest batch, in the running average of a topic's cost."""


class Pace:
    """Each topic's share of a batch, in events, from what its events have cost so far.

    Topics share the time evenly, so that a slow model, or a flood of events for it, does not keep the others waiting;
    and no batch takes so long that the group gives this member up. The first batch of a topic is one model call.
    """

    def __init__(self, rows: Mapping[str, int], max_events: int, seconds: float = BATCH_SECONDS) -> None:
        """`rows` are the rows of one model call, by topic: a smaller share would cost as much."""
        self._rows = {topic: min(count, max_events) for topic, count in rows.items()}
        self._max_events = max_events
        self._seconds = seconds / len(rows)
        self._cost: dict[str, float] = {}

    def share(self, topic: str) -> int:
        """Return how many events of a topic the next batch may take, 1 to `max_events`."""
        least, cost = self._rows[topic], self._cost.get(topic)
        if cost is None:
            return least
        return max(least, int(min(self._seconds / max(cost, 1e-9), self._max_events)))

    def spent(self, topic: str, events: int, seconds: float) -> None:
        """Note what a batch cost in the rooms: its calls are filled up, so it is rows that cost, not events."""
        rows = self._rows[topic]
        cost = seconds / (-(-events // rows) * rows)
        self._cost[topic] = cost + (1 - WEIGHT) * (self._cost.get(topic, cost) - cost)

    @property
    def most(self) -> int:
        """How many events a whole batch may take."""
        return min(sum(map(self.share, self._rows)), self._max_events)
