"""Slices of topics: per partition a `range` of offsets in, its committed records out, and then the end.

It joins no group, commits nothing and publishes nothing. A slice ends by *position*, never by a count: transaction
markers, aborted records and compaction leave offsets at which there is no record. A partition is done when a record at
or behind the slice's end comes, or the partition's end is reported there. The latter is the *last stable offset*, the
high watermark as `read_committed` sees it, so that an open transaction keeps nobody waiting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from scorer.broker.kafka.clients import Identity, Properties, Trouble, consumer_properties, error_callback
from scorer.broker.kafka.cluster import REQUEST_TIMEOUT, Cluster
from scorer.broker.kafka.messages import by_topic
from scorer.broker.kafka.verdict import AUTHORIZATION, OFFSET_LOST, TOPIC_GONE
from scorer.errors import BrokerError, SelectionError, TopicMissingError
from scorer.records import Records

Slice: TypeAlias = Mapping[int, range]
"""Per partition the offsets [start, stop) to read."""

READER = Identity("replay", "0")
"""The client insists on a group's name; this group never comes into being."""
POLL = 0.2
"""Seconds to wait for a batch to fill: a long past fills it at once."""
PATIENCE = 60.0
"""Seconds without a record before a reader gives up; a broker that restarts is back long before."""


class SliceReader:
    """Reads slices of any topic, one at a time. `clock` gives seconds from any fixed moment."""

    def __init__(self, properties: Properties, *, clock: Callable[[], float], patience: float = PATIENCE) -> None:
        """Connect lazily; raises BrokerError where a property is wrong."""
        self._clock = clock
        self._patience = patience
        self._troubles: list[Trouble] = []
        self._cluster = Cluster(properties, READER)
        self._consumer = Consumer(
            {
                **consumer_properties(properties, READER),
                "error_cb": error_callback("replay", self._note),
            }
        )

    def extent(self, topic: str) -> dict[int, range]:
        """Return the offsets that each partition holds now, up to its last stable offset.

        Raises BrokerUnreachableError, TopicMissingError, or BrokerError where a partition cannot be asked.
        """
        topics = self._cluster.reach()
        if topic not in topics:
            raise TopicMissingError(f"topic {topic} does not exist or may not be described; is its name right?")
        return {number: self._watermarks(topic, number) for number in range(topics[topic])}

    def offsets_at(self, topic: str, partitions: Sequence[int], milliseconds: int) -> dict[int, int]:
        """Return for each partition the offset of its first record at or after a time.

        The time is in milliseconds since the epoch; a partition without such a record is left out. Raises BrokerError.
        """
        try:
            found = self._consumer.offsets_for_times(
                [TopicPartition(topic, number, milliseconds) for number in partitions], REQUEST_TIMEOUT
            )
        except KafkaException as error:
            raise BrokerError(f"topic {topic}: times cannot be looked up: {error.args[0].str()}") from error
        for position in found:
            if position.error is not None:
                raise BrokerError(
                    f"{topic}-{position.partition}: times cannot be looked up: {position.error.str()}; try again"
                )
        return {position.partition: position.offset for position in found if position.offset >= 0}

    def read(self, topic: str, selected: Slice, limit: int) -> Iterator[Records]:
        """Yield the committed records of a slice in batches of at most `limit`; each partition keeps its order.

        Raises SelectionError for records that retention deletes meanwhile, TopicMissingError if the topic is, and
        BrokerError for what waiting does not mend, or after the bounded time without progress.
        """
        left = {number: offsets.stop for number, offsets in selected.items() if offsets}
        self._consumer.assign([TopicPartition(topic, number, selected[number].start) for number in left])
        waits_since = self._clock()
        while left:
            open_before = len(left)
            messages = self._consumer.consume(limit, POLL)
            # For the client's types, a record might have no place; the `or` costs less than a cast, a million times.
            records = [m for m in messages if m.error() is None and (m.offset() or 0) < left.get(m.partition() or 0, 0)]
            if len(records) < len(messages):
                for message in messages:
                    self._look(message, left)
            yield from by_topic(records, [topic])
            if records or len(left) < open_before:
                waits_since = self._clock()  # after the yield: what is done with a batch is no waiting
            elif self._clock() - waits_since > self._patience:
                raise self._stalled(topic, selected, left)
        self._consumer.unassign()

    def close(self) -> None:
        """Disconnect."""
        self._consumer.close()
        self._cluster.close()

    def _look(self, message: Message, left: dict[int, int]) -> None:
        """Close a message's partition where the message, a record or the report of an end, is at or behind its end."""
        number = cast(int, message.partition())
        error = message.error()
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            self._refuse(message, error)
        elif number in left and cast(int, message.offset()) >= left[number]:
            del left[number]
            # Not `pause`: a partition that was paused stays mute when it is assigned again.
            self._consumer.incremental_unassign([TopicPartition(cast(str, message.topic()), number)])

    def _refuse(self, message: Message, error: KafkaError) -> None:
        """Raise what waiting does not mend; note the rest."""
        where = f"{message.topic()}-{message.partition()}" if message.topic() else "Kafka"
        if error.code() in OFFSET_LOST:
            raise SelectionError(
                f"{where}: offset {message.offset()} is gone, {error.str()}: retention deleted it meanwhile; "
                "choose a later start"
            )
        if error.code() in TOPIC_GONE:
            raise TopicMissingError(f"topic {message.topic()}: {error.str()}; it was deleted, or may not be described")
        if error.fatal() or error.code() in AUTHORIZATION:
            raise BrokerError(f"{where} cannot be read: {error.name()}: {error.str()}")
        self._note(Trouble("replay", error.name(), error.str()))

    def _watermarks(self, topic: str, number: int) -> range:
        try:
            low, stable = self._consumer.get_watermark_offsets(TopicPartition(topic, number), REQUEST_TIMEOUT)
        except KafkaException as error:
            raise BrokerError(f"{topic}-{number}: offsets cannot be asked for: {error.args[0].str()}") from error
        return range(low, stable)

    def _stalled(self, topic: str, selected: Slice, left: Mapping[int, int]) -> BrokerError:
        positions = self._consumer.position([TopicPartition(topic, number) for number in left])
        at = ", ".join(
            f"{topic}-{tp.partition} at {max(tp.offset, selected[tp.partition].start)} of {left[tp.partition]}"
            for tp in positions
        )
        said = f" ({self._troubles[-1].message})" if self._troubles else ""
        return BrokerError(
            f"no record came for {self._patience:g} s{said}: {at}; are the partitions' brokers alive? Then run it again"
        )

    def _note(self, trouble: Trouble) -> None:
        self._troubles = [*self._troubles[-9:], trouble]
