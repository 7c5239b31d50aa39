"""Dead letters as a scorer writes them, topics that hold them, and an honest reader."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from scorer.broker.kafka.bounded import SliceReader
from scorer.dlq.families import Origin
from scorer.dlq.letters import DeadLetter, read
from scorer.encode import Encoder, Timing
from scorer.encode import Origin as Making
from scorer.errors import Reason, Stage
from scorer.records import Bands, Columns, Decisions, Header, Letter, Records, Rejection, Scores

GROUP = "card-scorer"
MAX_BYTES = 20_000
"""What the encoder of these tests lets a record have: room for a small event, and soon too little."""


@dataclass(frozen=True, slots=True)
class Event:
    """An event that is to be buried."""

    origin: Origin
    key: bytes | None = b"k"
    value: bytes | None = b"{}"
    headers: tuple[Header, ...] = ()
    timestamp: int = 1_700_000_000_000


def bury(event: Event, reason: Reason = Reason.MALFORMED, message: str = "no JSON", path: str = "$.a") -> Letter:
    """Return the letter that a scorer's encoder writes of an event."""
    nothing = np.array([], np.intp)
    none = np.array([], np.float32)
    encoder = Encoder(
        Making("m", "1", "0" * 64),
        Bands.of({"b": 0.5}, "a"),
        group=GROUP,
        decisions="d",
        dead_letters="x",
        max_bytes=MAX_BYTES,
    )
    at = event.origin
    records = Records.of(
        at.topic, [at.partition], [at.offset], [event.timestamp], [event.key], [event.value], lambda _: event.headers
    )
    outgoing = encoder(
        records,
        Columns(nothing, {}, [], np.array([], np.int64)),
        Decisions(Scores(nothing, none, none), nothing),
        [Rejection(0, Stage.DECODE, reason, path, message)],
        Timing(0.0, 0.0, 0.0),
    )
    return outgoing.dead_letters[0]


def letter_of(buried: Letter, place: Origin) -> DeadLetter:
    """Return a letter as it is read back."""
    records = Records.of(
        place.topic,
        [place.partition],
        [place.offset],
        [buried.timestamp],
        [buried.key],
        [buried.value],
        lambda _: buried.headers,
    )
    return next(read(records))


@dataclass(slots=True)
class World:
    """A configuration of two topics with one topic of dead letters each, on a real Kafka."""

    bootstrap: str
    settings: Path
    name: str = field(default_factory=lambda: f"cards-{uuid.uuid4().hex[:8]}")

    @property
    def topic(self) -> str:
        """The topic of events, of two partitions."""
        return self.name

    @property
    def other(self) -> str:
        """The other configured topic of events, of one partition."""
        return f"{self.name}-other"

    @property
    def dead_letters(self) -> str:
        """The topic of dead letters of both."""
        return f"{self.name}.dlq"

    @property
    def ledger(self) -> str:
        """The topic that remembers what was redriven."""
        return f"{self.dead_letters}.redriven"

    def create(self) -> None:
        """Create the topics, and write the configuration."""
        create_topics(self.bootstrap, {self.topic: 2, self.other: 1, self.dead_letters: 2})
        lane = "{{bundle: b, decisions: {}, dead_letters: {}}}"
        topics = "".join(
            f"  {topic}: {lane.format(f'{topic}.decisions', self.dead_letters)}\n" for topic in (self.topic, self.other)
        )
        self.settings.write_text(
            f"kafka: {{bootstrap.servers: '{self.bootstrap}'}}\ngroup: {GROUP}\ntopics:\n{topics}", encoding="utf-8"
        )

    def publish(self, letters: Iterable[Letter], partition: int = 0, topic: str | None = None) -> None:
        """Publish letters in their order."""
        producer = Producer({"bootstrap.servers": self.bootstrap})
        for letter in letters:
            producer.produce(
                topic or self.dead_letters,
                letter.value,
                letter.key,
                partition,
                headers=list(letter.headers),
                timestamp=letter.timestamp,
            )
        assert producer.flush(60) == 0

    def found(self, topic: str) -> list[DeadLetter]:
        """Return all committed records of a topic, whatever they are, partition by partition."""
        with closing(SliceReader({"bootstrap.servers": self.bootstrap}, clock=time.monotonic)) as reader:
            return [
                record
                for number, held in reader.extent(topic).items()
                for records in reader.read(topic, {number: held}, 1000)
                for record in read(records)
            ]


def create_topics(bootstrap: str, partitions: Mapping[str, int]) -> None:
    """Create topics that keep old records."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    topics = [NewTopic(name, count, config={"retention.ms": "-1"}) for name, count in partitions.items()]
    for future in admin.create_topics(topics).values():
        future.result(30)


def header(record: DeadLetter, name: str) -> list[bytes | None]:
    """Return all headers of a name."""
    return [content for found, content in record.headers if found == name]


def values(records: Sequence[DeadLetter]) -> list[bytes | None]:
    """Return the records' values."""
    return [record.value for record in records]
