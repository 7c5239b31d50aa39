"""What becomes of each letter, and the event that is made of it again. Pure: the clock's reading is in the targets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from scorer.dlq.families import Origin
from scorer.dlq.ledger import Ledger
from scorer.dlq.letters import OF, REDRIVES, DeadLetter
from scorer.records import Header, Letter

HEADER_BYTES: Final = 10
"""Of a header's framing at most: two lengths as varints."""
RECORD_BYTES: Final = 64
"""Of a record's framing at most: lengths, differences of offset and time, the batch's head aside."""


class Fate(StrEnum):
    """What becomes of a letter; the values are the words for it."""

    REDRIVE = "to redrive"
    DONE = "already redriven"
    CUT = "not whole: a part of the event is not in the letter, send it again from its origin"
    WORN = "redriven --max-redrives times already"
    LOST = "of unknown origin: name a topic with --to-topic"
    FOREIGN = "from a topic that is not configured: name one with --to-topic"
    LARGE = "too large for the topic's max.message.bytes"
    OLD = "older than the topic's retention.ms, which would delete it unread"


@dataclass(frozen=True, slots=True)
class Target:
    """A topic to publish to: records of at most `max_bytes`, and not from before `oldest` (milliseconds)."""

    partitions: int
    max_bytes: int
    oldest: int

    def fate(self, letter: DeadLetter) -> Fate:
        """Say whether the topic takes and keeps a letter's event."""
        if size(event(letter)) > self.max_bytes:
            return Fate.LARGE
        return Fate.OLD if letter.timestamp < self.oldest else Fate.REDRIVE


@dataclass(frozen=True, slots=True)
class Terms:
    """Where letters may go: back to the topic they came from, if it is among the targets, or all to `to_topic`."""

    targets: Mapping[str, Target]
    to_topic: str | None
    max_redrives: int

    def topic(self, letter: DeadLetter) -> str | None:
        """Return the topic that a letter's event goes to, if that is known."""
        return self.to_topic or (letter.origin.topic if letter.origin else None)

    def fate(self, letter: DeadLetter, ledger: Ledger) -> Fate:
        """Say what becomes of a letter. No header lets anybody write into a topic that is not a target."""
        if letter in ledger:
            return Fate.DONE
        if letter.failure.cut:
            return Fate.CUT
        if letter.redrives >= self.max_redrives:
            return Fate.WORN
        topic = self.topic(letter)
        target = self.targets.get(topic or "")
        if target is None:
            return Fate.FOREIGN if topic else Fate.LOST
        return target.fate(letter)

    def destination(self, letter: DeadLetter) -> tuple[str, int | None]:
        """Return topic and partition of a letter to redrive: its own partition, or None where there is none such.

        A key's events then keep their partition; elsewhere the producer puts them where the key belongs.
        """
        topic = self.topic(letter)
        assert topic is not None, "its fate is not to be redriven"
        origin = letter.origin
        there = origin is not None and origin.partition < self.targets[topic].partitions
        return topic, origin.partition if origin is not None and there else None


def event(letter: DeadLetter) -> Letter:
    """Return the event as it was, with its time, and with the headers that say it was redriven."""
    own = [header for header in letter.failure.headers if header[0] not in (OF, REDRIVES)]
    marks: list[Header] = [(OF, str(letter.place).encode()), (REDRIVES, b"%d" % (letter.redrives + 1))]
    return Letter(letter.key, letter.value, [*own, *marks], letter.timestamp)


def size(record: Letter) -> int:
    """Return how many bytes a record takes at most, before compression."""
    headers = sum(len(name.encode()) + len(content or b"") + HEADER_BYTES for name, content in record.headers)
    return len(record.key or b"") + len(record.value or b"") + headers + RECORD_BYTES


@dataclass(slots=True)
class Tally:
    """Counts letters by their fate, with the first of each, and those to redrive by topic."""

    fates: Counter[Fate] = field(default_factory=Counter)
    first: dict[Fate, Origin] = field(default_factory=dict)
    topics: Counter[str] = field(default_factory=Counter)

    def add(self, letter: DeadLetter, fate: Fate, topic: str | None) -> None:
        """Count a letter; `topic` is where it goes, if it does."""
        self.fates[fate] += 1
        self.first.setdefault(fate, letter.place)
        if fate is Fate.REDRIVE and topic is not None:
            self.topics[topic] += 1
