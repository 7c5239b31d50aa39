"""When is a micro-batch full? At `max_events`, or `max_wait` seconds after its *first* event came.

Not after its last one (a slow trickle would wait for ever), not from when collecting began (an event after an idle
spell would leave alone), not from when the batch object was made.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from scorer.records import Records

IDLE = 0.1
"""Seconds to wait for a first event before the loop looks whether it should stop."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A closed micro-batch: one `Records` a topic, and when its first event came (the batcher's clock, seconds)."""

    records: tuple[Records, ...]
    first_seen: float

    def __len__(self) -> int:
        return sum(map(len, self.records))


@dataclass(slots=True)
class Batcher:
    """Collects hauls into a batch. The four questions: what may I wait for, an event came, is it due, take it."""

    max_events: int
    max_wait: float
    _parts: dict[str, list[Records]] = field(default_factory=dict)
    _count: int = 0
    _first_seen: float = 0.0

    def ask(self, now: float) -> tuple[int, float]:
        """Return how many records to poll for, and how many seconds at most.

        While empty, one: a poll waits its whole time out unless it gets all that it asked for, and the first event
        starts the clock.
        """
        if not self._count:
            return 1, IDLE
        return self.max_events - self._count, max(self._first_seen + self.max_wait - now, 0.0)

    def add(self, records: tuple[Records, ...], now: float) -> None:
        """Take records that came at `now`."""
        if records and not self._count:
            self._first_seen = now
        for part in records:
            self._parts.setdefault(part.topic, []).append(part)
            self._count += len(part)

    def due(self, now: float) -> bool:
        """Return whether the batch is to be closed."""
        if not self._count:
            return False
        return self._count >= self.max_events or now >= self._first_seen + self.max_wait

    def take(self) -> Batch:
        """Close the batch and begin the next."""
        batch = Batch(tuple(Records.join(parts) for parts in self._parts.values()), self._first_seen)
        self._parts, self._count = {}, 0
        return batch

    def __len__(self) -> int:
        return self._count
