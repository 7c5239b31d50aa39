"""Records of a dead-letter topic → DeadLetters, chosen and counted. Pure."""

from __future__ import annotations

import hashlib
import heapq
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from scorer.dlq.families import Failure, Origin, understand
from scorer.errors import SelectionError
from scorer.records import Header, Records

OF: Final = "scorer.redrive.of"
"""Header of a redriven event: the coordinate of the letter that it was."""
REDRIVES: Final = "scorer.redrives"
"""Header of a redriven event: how often it was redriven."""

UNREADABLE: Final = Failure(None, None, "", "", "", "a header's name is not UTF-8", "", ("headers",), ())
"""What is said of a letter whose headers the client cannot give."""

_PLACE: Final = re.compile(r"([a-zA-Z0-9._-]{1,249})-([0-9]{1,9})-([0-9]{1,18})", re.ASCII)
_COUNT: Final = re.compile(rb"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One record of a dead-letter topic. `place` is its own coordinate; `timestamp` is the event's, in milliseconds."""

    place: Origin
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...]
    failure: Failure

    @property
    def origin(self) -> Origin | None:
        """The record that it was."""
        return self.failure.origin

    @property
    def redrives(self) -> int:
        """How often the event was redriven before; what is no count, and so none of ours, is none."""
        said = dict(self.failure.headers).get(REDRIVES) or b""
        return int(said) if _COUNT.fullmatch(said) else 0

    @property
    def identity(self) -> bytes:
        """Return what makes the event this one: its content and where it stood, as 32 hexadecimal digits.

        Under at-least-once an event may be buried twice: both letters have one identity. So has a letter that was
        copied to another cluster. Only one without an origin stands for itself.
        """
        digest = hashlib.blake2b(str(self.origin or self.place).encode(), digest_size=16)
        for part in (self.key, self.value):
            digest.update(b"-" if part is None else b"%d:" % len(part))
            digest.update(part or b"")
        return digest.hexdigest().encode()


def read(records: Records) -> Iterator[DeadLetter]:
    """Yield the letters of a batch, in its order; of unreadable headers (a name is not UTF-8), nothing is known."""
    for row in range(len(records)):
        try:
            headers = tuple(records.headers(row))
            failure = understand(headers)
        except UnicodeDecodeError:
            headers, failure = (), UNREADABLE
        yield DeadLetter(
            Origin(records.topic, int(records.partitions[row]), int(records.offsets[row])),
            int(records.timestamps[row]),
            records.keys[row],
            records.values[row],
            headers,
            failure,
        )


def place(text: str) -> Origin:
    """Read a coordinate; raises SelectionError for what is none."""
    match = _PLACE.fullmatch(text)
    if match is None:
        raise SelectionError(
            f"{text!r} is no letter's coordinate; write TOPIC-PARTITION-OFFSET, as in payments.dlq-0-7"
        )
    return Origin(match[1], int(match[2]), int(match[3]))


@dataclass(frozen=True, slots=True)
class Selection:
    """Which letters are meant: by topic of origin, by reason, by the event's time (milliseconds) in [since, until)."""

    topic: str | None = None
    reasons: frozenset[str] = frozenset()
    since: int | None = None
    until: int | None = None

    def __contains__(self, letter: DeadLetter) -> bool:
        """Return whether a letter is meant."""
        return (
            (self.topic is None or (letter.origin is not None and letter.origin.topic == self.topic))
            and (not self.reasons or letter.failure.reason in self.reasons)
            and (self.since is None or letter.timestamp >= self.since)
            and (self.until is None or letter.timestamp < self.until)
        )


@dataclass(slots=True)
class Census:
    """Counts letters by (topic of origin, reason), and keeps the `keep` newest; memory grows with neither more."""

    keep: int
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    redriven: Counter[tuple[str, str]] = field(default_factory=Counter)
    passed: Counter[str] = field(default_factory=Counter)
    """Reasons of letters that were not meant."""
    _newest: list[tuple[int, int, int, str, DeadLetter, bool]] = field(default_factory=list)

    def add(self, letter: DeadLetter, *, meant: bool, redriven: bool) -> None:
        """Count a letter; of one that is not meant, only its reason."""
        if not meant:
            self.passed[letter.failure.reason] += 1
            return
        kind = (letter.origin.topic if letter.origin else "", letter.failure.reason)
        self.counts[kind] += 1
        self.redriven[kind] += redriven
        at = letter.place  # all of it: two letters are never compared themselves
        entry = (letter.timestamp, at.partition, at.offset, at.topic, letter, redriven)
        if len(self._newest) < self.keep:
            heapq.heappush(self._newest, entry)
        elif self.keep:
            heapq.heappushpop(self._newest, entry)

    def newest(self) -> list[tuple[DeadLetter, bool]]:
        """Return the newest letters by their events' time, the newest first, and whether each was redriven."""
        return [(letter, redriven) for *_, letter, redriven in sorted(self._newest, reverse=True)]
