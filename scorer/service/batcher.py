"""When is a micro-batch full? At `max_events`, or `max_wait` seconds after its *first* event came.

Not after its last one (a slow trickle would wait for ever), not from when collecting began (an event after an idle
spell would leave alone), not from when the batch object was made. A topic whose share of the batch is in hand closes it
too; what is more than its share stays in hand for the next one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from scorer.records import Records
from scorer.service.pace import Pace

IDLE = 0.1
"""Seconds to wait for a first event before the loop looks whether it should stop."""
LONGEST_POLL = 0.5
"""Seconds to wait for more events before it looks again, however long the batch may wait."""
MAX_BYTES = 32 * 1024 * 1024
"""Bytes of events in hand, about, at which a batch is closed whatever their number."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A closed micro-batch: one `Records` a topic, and when its first event came (the batcher's clock, seconds).

    `full` says that it was closed because it holds no more: others are likely to be waiting.
    """

    records: tuple[Records, ...]
    first_seen: Mapping[str, float]
    full: bool

    def __len__(self) -> int:
        return sum(map(len, self.records))


@dataclass(slots=True)
class _Hand:
    """One topic's events that wait for a batch, in the order consumed, each haul with the time at which it came."""

    hauls: deque[tuple[float, Records]] = field(default_factory=deque)
    count: int = 0
    size: int = 0

    def add(self, now: float, records: Records, size: int) -> None:
        self.hauls.append((now, records))
        self.count += len(records)
        self.size += size

    def take(self, count: int) -> tuple[float, Records]:
        """Return the first `count` events, or all; and when the first of them came."""
        first_seen, parts = self.hauls[0][0], []
        while self.hauls and count:
            now, records = self.hauls.popleft()
            if len(records) > count:
                self.hauls.appendleft((now, records[count:]))
                records = records[:count]
            parts.append(records)
            count -= len(records)
            self.count -= len(records)
            self.size -= records.size if self.count else self.size  # mostly all of it is taken
        return first_seen, Records.join(parts)


class Batcher:
    """Collects hauls into a batch. The questions: what may I wait for, an event came, is it due, take it."""

    def __init__(self, pace: Pace, max_wait: float) -> None:
        self._pace = pace
        self._max_wait = max_wait
        self._hands: dict[str, _Hand] = {}
        self._average = 0.0
        self._asked = False

    def ask(self, now: float, *, hurry: bool = False) -> tuple[int, float]:
        """Return how many records to poll for, and how many seconds at most.

        While empty, one: a poll waits its whole time out unless it gets all that it asked for, and the first event
        starts the clock.
        """
        if not self._hands and not hurry:
            self._asked = False
            return 1, IDLE
        self._asked = True
        fits = MAX_BYTES / max(self._average, 1.0)
        wait = 0.0 if hurry else min(max(self._closes - now, 0.0), LONGEST_POLL)
        return max(1, int(min(self._pace.most - self._ready, fits))), wait

    def add(self, records: tuple[Records, ...], now: float) -> None:
        """Take records that came at `now`."""
        for part in records:
            size = part.size
            self._hands.setdefault(part.topic, _Hand()).add(now, part, size)
            self._average = size / len(part)

    def due(self, now: float) -> bool:
        """Return whether the batch is to be closed; more was asked for before, so what is there comes along."""
        if not self._hands:
            return False
        return self._holds_enough or (self._asked and now >= self._closes)

    @property
    def full(self) -> frozenset[str]:
        """The topics of which enough is in hand: no more of them need be read."""
        return frozenset(
            topic
            for topic, hand in self._hands.items()
            if hand.count >= self._pace.share(topic) or hand.size >= MAX_BYTES
        )

    def take(self) -> Batch:
        """Close the batch and begin the next."""
        self._asked, full = False, self._holds_enough
        taken = {topic: hand.take(self._pace.share(topic)) for topic, hand in self._hands.items()}
        self._hands = {topic: hand for topic, hand in self._hands.items() if hand.count}
        return Batch(
            tuple(records for _, records in taken.values()),
            {topic: first_seen for topic, (first_seen, _) in taken.items()},
            full,
        )

    def drop(self) -> int:
        """Drop everything in hand, to be read again; return how many events that were."""
        dropped = len(self)
        self._hands, self._asked = {}, False
        return dropped

    def __len__(self) -> int:
        return sum(hand.count for hand in self._hands.values())

    @property
    def _holds_enough(self) -> bool:
        return bool(self.full) or self._ready >= self._pace.most

    @property
    def _ready(self) -> int:
        """How many events the batch would have if it were closed now."""
        return sum(min(hand.count, self._pace.share(topic)) for topic, hand in self._hands.items())

    @property
    def _closes(self) -> float:
        return min(hand.hauls[0][0] for hand in self._hands.values()) + self._max_wait
