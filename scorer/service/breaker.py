"""Stops a topic whose events turn into dead letters: the fault is then upstream or in the bundle, not in an event.

Nothing is dropped: the batch that shows it is given up before it is delivered, the topic is read no further, and now
and then a batch is tried. When one passes, the topic goes on where it stood.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

WINDOW = 1_000
"""Latest events of a topic whose share of dead letters counts."""
ENOUGH = 100
"""Events below which a share says nothing."""
PROBE_SECONDS = 30.0
"""Seconds until a topic that was stopped is tried again."""


@dataclass(slots=True)
class _Breaker:
    """One topic's; `limit` is the highest share of dead letters that is let through."""

    limit: float
    past: deque[tuple[int, int]] = field(default_factory=deque)
    retry_at: float | None = None

    def share(self, events: int, dead: int) -> float:
        """Return the share of dead letters with a batch added to the past; 0 while there is not enough to tell."""
        if self.retry_at is not None:
            return dead / events
        for past_events, past_dead in reversed(self.past):
            if events >= WINDOW:
                break
            events, dead = events + past_events, dead + past_dead
        return dead / events if events >= ENOUGH else 0.0

    def settle(self, events: int, dead: int) -> None:
        self.retry_at = None
        self.past.append((events, dead))
        while sum(e for e, _ in self.past) - self.past[0][0] >= WINDOW:
            self.past.popleft()


class Breakers:
    """The topics that have a limit, and which of them are stopped. Times are seconds of the loop's clock."""

    def __init__(self, limits: Mapping[str, float]) -> None:
        """`limits` are the highest shares of dead letters let through, by topic; the others never stop."""
        self._breakers = {topic: _Breaker(limit) for topic, limit in limits.items()}

    def stopped(self, now: float) -> frozenset[str]:
        """Return the topics that are not to be read now."""
        held = (t for t, b in self._breakers.items() if b.retry_at is not None and now < b.retry_at)
        return frozenset(held)

    def breach(self, topic: str, events: int, dead: int, now: float) -> float | None:
        """Return the share of dead letters, if a batch with so many of them must not be delivered."""
        breaker = self._breakers.get(topic)
        share = breaker.share(events, dead) if breaker else 0.0
        if breaker is None or share <= breaker.limit:
            return None
        breaker.past.clear()
        breaker.retry_at = now + PROBE_SECONDS
        return share

    def settle(self, topic: str, events: int, dead: int) -> bool:
        """Note a batch that was delivered; return whether its topic had been stopped."""
        breaker = self._breakers.get(topic)
        if breaker is None:
            return False
        was_stopped = breaker.retry_at is not None
        breaker.settle(events, dead)
        return was_stopped

    def limit(self, topic: str) -> float:
        """Return a topic's limit."""
        return self._breakers[topic].limit
