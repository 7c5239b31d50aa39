"""Topics that are not read for a while: their partitions are paused, whichever the member has."""

from __future__ import annotations

from collections.abc import Sequence

from confluent_kafka import Consumer, TopicPartition

from scorer.records import Partition


class Held:
    """What is to be paused, and what the client has paused: its pause outlives a partition's stay."""

    def __init__(self, topics: frozenset[str] = frozenset()) -> None:
        self.topics = topics
        self._paused: set[Partition] = set()

    def apply(self, consumer: Consumer, gained: Sequence[Partition]) -> None:
        """Pause what is to be held, and resume what no longer is; what was just gained is not paused yet."""
        assigned = {Partition(tp.topic, tp.partition) for tp in consumer.assignment()}
        held = {partition for partition in assigned if partition.topic in self.topics}
        consumer.pause([TopicPartition(*p) for p in held - (self._paused - set(gained))])
        consumer.resume([TopicPartition(*p) for p in (self._paused & assigned) - held])
        self._paused = (self._paused - assigned) | held
