"""The demo's books: what an independent reader finds in the topics, held against what was sent."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from scorer.broker.kafka.bounded import SliceReader
from scorer.demo.traffic import Traffic
from scorer.errors import ScorerError
from scorer.records import Records


class Decided(msgspec.Struct):
    """The members of a decision that the books need; the others are skipped."""

    decision_id: str
    event_id: str
    decision: str


@dataclass(slots=True)
class Book:
    """One topic: events in; decisions, dead letters by reason; coordinates seen twice; (decision, label) pairs."""

    topic: str
    sent: int
    decisions: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    twice: int = 0
    outcomes: Counter[tuple[str, bool]] = field(default_factory=Counter)

    @property
    def balanced(self) -> bool:
        """Whether every event became one decision or one dead letter."""
        return not self.twice and self.sent == self.decisions.total() + self.reasons.total()

    def precision_recall(self, bands: Sequence[str]) -> tuple[float, float]:
        """Return how many of the events in `bands` are positive, and how many of the positives are in them."""
        hits = sum(self.outcomes[band, True] for band in bands)
        flagged = hits + sum(self.outcomes[band, False] for band in bands)
        positives = sum(count for (_, label), count in self.outcomes.items() if label)
        return hits / max(flagged, 1), hits / max(positives, 1)


def audit(bootstrap: str, traffic: Sequence[Traffic]) -> list[Book]:
    """Read back decisions and dead letters of all topics, as a `read_committed` consumer sees them."""
    reader = SliceReader({"bootstrap.servers": bootstrap}, clock=time.monotonic)
    try:
        return [_book(reader, sent) for sent in traffic]
    finally:
        reader.close()


def _book(reader: SliceReader, sent: Traffic) -> Book:
    book = Book(sent.topic, len(sent))
    seen: Counter[str] = Counter()
    decode = msgspec.json.Decoder(Decided).decode
    for records in _whole(reader, f"{sent.topic}.decisions"):
        for value in records.values:
            decided = decode(value or b"")
            seen[decided.decision_id] += 1
            book.decisions[decided.decision] += 1
            book.outcomes[decided.decision, sent.labels[decided.event_id]] += 1
    for records in _whole(reader, f"{sent.topic}.dlq"):
        for row in range(len(records)):
            headers = {name: (content or b"").decode() for name, content in records.headers(row)}
            origin = (headers[f"__dlq.errors.{part}"] for part in ("topic", "partition", "offset"))
            seen["-".join(origin)] += 1
            book.reasons[headers["scorer.error.reason"]] += 1
    book.twice = sum(1 for count in seen.values() if count > 1)
    return book


def _whole(reader: SliceReader, topic: str) -> Iterator[Records]:
    return reader.read(topic, reader.extent(topic), 4096)


def require_balance(books: Sequence[Book]) -> None:
    """Raise ScorerError naming the topics whose events were lost or decided twice."""
    wrong = [
        f"{book.topic}: {book.sent} in, {book.decisions.total()} decided, {book.reasons.total()} dead letters, "
        f"{book.twice} twice"
        for book in books
        if not book.balanced
    ]
    if wrong:
        raise ScorerError(f"the books do not balance: {'; '.join(wrong)}")
