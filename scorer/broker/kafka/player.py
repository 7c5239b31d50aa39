"""Records → a topic, at their own speed or as fast as it takes them: for load tests and demos.

An idempotent producer without transactions: what is published twice was played twice. Each record keeps its partition,
and partitions their order. The client's queue is bounded, and so is the memory, whatever is played.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from math import isfinite
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from scorer.broker.kafka.clients import Identity, Properties, Trouble, error_callback, producer_properties
from scorer.broker.kafka.cluster import Cluster
from scorer.broker.kafka.verdict import AUTHORIZATION
from scorer.errors import BrokerError, SelectionError, TopicMissingError
from scorer.records import Records

PLAYER = Identity("play", "0")
QUEUE: Properties = {
    "queue.buffering.max.messages": 100_000,
    "queue.buffering.max.kbytes": 65_536,
    "message.timeout.ms": 60_000,  # a broker that restarts is back long before
}
"""What bounds the producer, unless the user says otherwise."""
REFUSED = frozenset({KafkaError.INVALID_TIMESTAMP, KafkaError.INVALID_RECORD})
"""What a broker says of a record's time: of a batch with others, it is vague."""
BATCH_SIZE = 1_000_000
"""The client's `batch.size`; a topic that takes less is not sent more."""
SIZES = (1_000, 1_000_000_000)
"""What the client takes as `message.max.bytes`, from and to."""
TURN = 0.5
"""Seconds between two looks at what was reported or asked for, while there is something to wait for."""
PATIENCE = 10.0
"""Seconds to wait for what is under way, when told to stop."""


@dataclass(frozen=True, slots=True)
class Tempo:
    """How fast to play: `speed` times as fast as recorded, infinity for as fast as possible.

    `clock` gives seconds from any fixed moment, `pause(seconds)` waits.
    """

    speed: float
    clock: Callable[[], float]
    pause: Callable[[float], object]


class Player:
    """Publishes records to one topic. `stopping` is asked before each of them."""

    def __init__(
        self,
        properties: Properties,
        topic: str,
        *,
        partitions: int,
        tempo: Tempo,
        original_timestamps: bool,
        stopping: Callable[[], bool],
    ) -> None:
        """Connect, and make sure of a topic with at least so many `partitions`.

        Raises BrokerUnreachableError, TopicMissingError, SelectionError for too few partitions, or BrokerError where a
        property is wrong.
        """
        self._topic = topic
        self._tempo = tempo
        self._original = original_timestamps
        self._stopping = stopping
        self._sent = 0
        self._began: tuple[float, int] | None = None
        self._undelivered: list[KafkaError] = []
        self._troubles: list[Trouble] = []
        properties = {**QUEUE, **_room(properties, topic, partitions), **properties}
        callbacks = {"error_cb": error_callback("play", self._note), "on_delivery": self._report}
        try:
            self._producer = Producer({**producer_properties(properties, PLAYER, transactional=False), **callbacks})
        except KafkaException as error:
            raise BrokerError(f"kafka: {error.args[0].str()}; see librdkafka's CONFIGURATION.md") from error

    @property
    def acknowledged(self) -> int:
        """How many records the brokers have acknowledged so far; after a failure, at least so many."""
        return self._sent - len(self._producer) - len(self._undelivered)

    def play(self, batches: Iterable[Records]) -> None:
        """Publish records until there are no more, or until told to stop; `finish` waits for the last of them.

        A record is due as long after the first one as its timestamp says, divided by the speed; one that is late is
        sent at once. Raises BrokerError for the first record that was not delivered; nothing is sent after that.
        """
        with self._failing():
            for records in batches:
                if not all(
                    self._due(time) and self._queued(records, row) for row, time in enumerate(records.timestamps)
                ):
                    return
                self._serve(0)

    def finish(self) -> None:
        """Wait until everything is acknowledged, for ten seconds if told to stop; raises BrokerError as `play` does."""
        deadline = self._tempo.clock() + PATIENCE
        with self._failing():
            while len(self._producer) and not (self._stopping() and self._tempo.clock() > deadline):
                self._producer.flush(TURN)
                self._check()
            self._check()

    def close(self) -> None:
        """Disconnect; what is not acknowledged yet is given up."""
        self._producer.purge()
        with suppress(KafkaException, SystemError):  # told already, or less than what ends the play
            self._producer.flush(TURN)

    def _due(self, timestamp: int) -> bool:
        """Wait until a record is due; return False if told to stop meanwhile."""
        tempo = self._tempo
        if isfinite(tempo.speed):
            began, first = self._began = self._began or (tempo.clock(), timestamp)
            due = began + (timestamp - first) / 1000 / tempo.speed
            while (left := due - tempo.clock()) > 0 and not self._stopping():
                tempo.pause(min(left, TURN))
                self._serve(0)
        return not self._stopping()

    def _queued(self, records: Records, row: int) -> bool:
        """Queue a record as soon as there is room; return False if told to stop meanwhile."""
        while not self._stopping():
            alone = not len(self._producer)
            try:
                self._send(records, row)
            except BufferError as error:
                if alone:  # waiting makes no more room than this
                    raise KafkaException(KafkaError(KafkaError._QUEUE_FULL, records.coordinate(row))) from error
                self._serve(TURN)
            else:
                self._sent += 1
                return True
        return False

    def _send(self, records: Records, row: int) -> None:
        self._producer.produce(
            self._topic,
            value=records.values[row],
            key=records.keys[row],
            headers=list(records.headers(row)),
            partition=int(records.partitions[row]),
            timestamp=max(int(records.timestamps[row]), 0) if self._original else 0,  # the client reads 0 as now
        )

    def _serve(self, timeout: float) -> None:
        self._producer.poll(timeout)
        self._check()

    def _check(self) -> None:
        if self._undelivered:
            raise KafkaException(self._undelivered[0])

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """Give up everything after the first error, and say how far it went."""
        try:
            yield
        except KafkaException as error:
            raise self._failure(error.args[0]) from error
        except SystemError as error:  # a fatal error on the way comes wrapped, since two callbacks meet
            if not isinstance(error.__cause__, KafkaException):
                raise
            raise self._failure(error.__cause__.args[0]) from error

    def _failure(self, error: KafkaError) -> BrokerError:
        if not self._undelivered and not error.fatal():
            with suppress(KafkaException, SystemError):  # the first error counts
                self._producer.flush(PATIENCE)  # the client refused the record itself: those before it may arrive
        self.close()
        said = f" ({self._troubles[-1].message})" if self._troubles else ""
        hint = "mend it and play it again"
        if error.code() in AUTHORIZATION:
            hint = "give the user this permission"
        elif error.code() in REFUSED and self._original:
            hint = "the topic may refuse times so old, then give the records the present one"
        return BrokerError(
            f"{self._topic}: a record was not delivered: {error.name()}: {error.str()}{said}; "
            f"{self.acknowledged:,} records before it were acknowledged; {hint}"
        )

    def _report(self, error: KafkaError | None, message: Any) -> None:  # noqa: ARG002
        # Only errors come here (delivery.report.only.error), and nothing may be raised in a callback.
        if error is not None:
            self._undelivered.append(error)

    def _note(self, trouble: Trouble) -> None:
        self._troubles = [*self._troubles[-9:], trouble]


def _room(properties: Properties, topic: str, partitions: int) -> Properties:
    """Return the size of records that a topic takes, which must have so many partitions."""
    with closing(Cluster(properties, PLAYER)) as cluster:
        topics = cluster.reach()
        if topic not in topics:
            raise TopicMissingError(
                f"topic {topic} does not exist or may not be described; create it with {partitions} partitions"
            )
        if topics[topic] < partitions:
            raise SelectionError(
                f"topic {topic} has {topics[topic]} partitions, and {partitions} are needed, since every record keeps "
                "its own; name a topic that has as many"
            )
        limit = cluster.message_limit([topic])
    if limit is None:
        return {}
    size = min(max(limit, SIZES[0]), SIZES[1])
    # A batch of records is held to its topic's limit like a record.
    return {"message.max.bytes": size, "batch.size": min(size, BATCH_SIZE)}
