"""The auditor: what a consumer would read, held against what was sent. It knows the topics, and nothing of the scorer.

It reads the input, the decisions and the dead letters with a plain client that sees committed records only, and scores
every input record again with the offline model. From these alone it computes what was lost, what came twice, what is
wrong, what came out of order within a key, and the longest silence of the output.
"""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaError, TopicPartition

PATIENCE = 120.0
TOLERANCE = 1e-6
"""How far a score may be from the offline model's: Keras computes in another batch shape."""

Coordinate = tuple[int, int]
"""Partition and offset of an input record."""


class Expected(NamedTuple):
    """What must become of an input record: a score and the names its decision may have, or the reason of a rejection.

    There are two names where the score lies within the tolerance of a band's edge.
    """

    score: float | None
    names: frozenset[str]


Reference = Callable[[Sequence[bytes | None]], Sequence[Expected]]
"""The offline model: raw values of input records → what must become of them."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A committed record: where it lies, and what it holds; `time` is its timestamp in seconds."""

    topic: str
    at: Coordinate
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, bytes | None]
    time: float


@dataclass(frozen=True, slots=True)
class Answer:
    """A decision or a dead letter: the input record it is about, where it lies, and what it says."""

    about: Coordinate
    at: tuple[str, int, int]
    key: bytes | None
    score: float | None
    name: str
    bits: bytes
    time: float


@dataclass(frozen=True, slots=True)
class Audit:
    """What was found. `silence` is the longest time between two answers, in seconds; examples are for people."""

    events: int
    lost: int
    duplicated: int
    wrong: int
    disordered: int
    silence: float
    repeats_differ: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Return whether nothing is lost, twice, wrong or out of order."""
        return not (self.lost or self.duplicated or self.wrong or self.disordered)


def audit(inputs: Iterable[Seen], answers: Sequence[Answer], reference: Reference) -> Audit:
    """Hold answers, in the order of each output partition, against the committed input records."""
    sent = {record.at: record for record in inputs}
    expected = dict(zip(sent, reference([record.value for record in sent.values()]), strict=True))
    counts = Counter(answer.about for answer in answers)
    lost = [about for about in sent if about not in counts]
    twice = {about: count for about, count in counts.items() if count > 1}
    wrong = [answer for answer in answers if fault_of(answer, sent, expected)]
    times = sorted(answer.time for answer in answers)
    return Audit(
        events=len(sent),
        lost=len(lost),
        duplicated=sum(twice.values()) - len(twice),
        wrong=len(wrong),
        disordered=len(disordered := regressions(answers)),
        silence=max((later - earlier for earlier, later in pairwise(times)), default=0.0),
        repeats_differ=_differing(answers, twice),
        examples=[
            *(f"lost {at}" for at in lost[:3]),
            *(f"{at} answered {count} times" for at, count in list(twice.items())[:3]),
            *(f"{answer.about} {fault_of(answer, sent, expected)}" for answer in wrong[:3]),
            *(f"{answer.about} came after a later one of its key" for answer in disordered[:3]),
        ],
    )


def fault_of(answer: Answer, sent: Mapping[Coordinate, Seen], expected: Mapping[Coordinate, Expected]) -> str:
    """Return what is wrong with an answer, or nothing."""
    if answer.about not in sent:
        return "is answered, but no reader of committed records can see it"
    should = expected[answer.about]
    if answer.key != sent[answer.about].key:
        return f"has the key {answer.key!r}"
    if answer.name not in should.names:
        return f"is called {answer.name}, should be {'/'.join(should.names)}"
    if answer.score is None or should.score is None:
        return "" if answer.score is should.score else f"has the score {answer.score}, should be {should.score}"
    near = abs(answer.score - should.score) <= TOLERANCE
    return "" if near else f"scores {answer.score}, should score {should.score}"


def regressions(answers: Iterable[Answer]) -> list[Answer]:
    """Return the answers that came after the answer to a later record of their key, in the same topic.

    A key keeps to one partition, in and out; a repeat counts as where it was first.
    """
    latest: dict[tuple[str, bytes | None, int], int] = defaultdict(lambda: -1)
    first: set[Coordinate] = set()
    found = []
    for answer in sorted(answers, key=lambda answer: answer.at):
        partition, offset = answer.about
        line = (answer.at[0], answer.key, partition)
        if answer.about not in first and offset < latest[line]:
            found.append(answer)
        first.add(answer.about)
        latest[line] = max(offset, latest[line])
    return found


def _differing(answers: Iterable[Answer], twice: Mapping[Coordinate, int]) -> int:
    """Return how many records were answered twice and not alike, bit for bit."""
    bits = defaultdict(set)
    for answer in answers:
        if answer.about in twice:
            bits[answer.about].add(answer.bits)
    return sum(len(versions) > 1 for versions in bits.values())


def decisions(records: Iterable[Seen]) -> list[Answer]:
    """Read decisions: their own fields say which input record they are about."""
    found = []
    for record in records:
        told: dict[str, Any] = json.loads(record.value or b"")
        about = (int(told["partition"]), int(told["offset"]))
        topic_about = f"{told['topic']}-{about[0]}-{about[1]}"
        # An id that is not the coordinate is nobody's decision.
        about = about if told["decision_id"] == topic_about else (-1, -1)
        bits = json.dumps({name: told[name] for name in ("decision_id", "score", "decision", "bundle_sha256")}).encode()
        found.append(
            Answer(about, (record.topic, *record.at), record.key, told["score"], told["decision"], bits, record.time)
        )
    return found


def dead_letters(records: Iterable[Seen]) -> list[Answer]:
    """Read dead letters: their headers say which input record they are about, and why."""
    found = []
    for record in records:
        headers = record.headers
        about = (int(headers["__dlq.errors.partition"] or -1), int(headers["__dlq.errors.offset"] or -1))
        reason = (headers["scorer.error.reason"] or b"").decode()
        found.append(
            Answer(about, (record.topic, *record.at), record.key, None, reason, record.value or b"", record.time)
        )
    return found


def read_committed(bootstrap: str, topic: str) -> list[Seen]:
    """Return every committed record of a topic, to its very end, in the order of each partition."""
    return [record for part in parts_committed(bootstrap, topic) for record in part]


def parts_committed(bootstrap: str, topic: str) -> Iterator[list[Seen]]:
    """Give the same part by part, for topics that no memory should hold."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "auditor",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
        }
    )
    partitions = list(consumer.list_topics(topic, PATIENCE).topics[topic].partitions)
    consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
    count = 0
    ended: set[int] = set()
    deadline = time.monotonic() + PATIENCE
    while len(ended) < len(partitions):
        assert time.monotonic() < deadline, f"{topic}: no end after {count} records"
        found: list[Seen] = []
        for message in consumer.consume(10_000, 0.5):  # it waits that long unless so many came
            error = message.error()
            if error is None:
                at = (message.partition(), message.offset())
                headers = dict(message.headers() or ())
                found.append(Seen(topic, at, message.key(), message.value(), headers, message.timestamp()[1] / 1000))
            elif error.code() == KafkaError._PARTITION_EOF:
                ended.add(message.partition())
        if found:
            count, deadline = count + len(found), time.monotonic() + PATIENCE
        yield found
    consumer.close()
