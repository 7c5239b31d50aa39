"""Offsets as the client takes them. Each commit notes the shape that its topic had: its id, and how many partitions.

The note tells a partition that was added later, which begins at its start, from one whose committed offset is gone,
which nobody may guess; and a topic from another that was made in its place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, KafkaException, TopicPartition

from scorer.errors import OffsetLostError
from scorer.records import Offsets, Partition

NOTE = re.compile(r"partitions=(\d{1,9}) topic=(\S+)")
UNHEARD = frozenset({KafkaError._UNKNOWN_PARTITION, KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.LEADER_NOT_AVAILABLE})
"""What a client says of a partition that it, or a broker, has not heard of yet."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A topic as it is at one moment; `id` is the cluster's own, another for each topic of a name."""

    partitions: int
    id: str

    @property
    def note(self) -> str:
        """Return what a commit notes."""
        return f"partitions={self.partitions} topic={self.id}"


Shapes = Mapping[str, Shape]
"""The input topics' shapes when the scorer started, by name."""


def positions(offsets: Offsets, shapes: Shapes) -> list[TopicPartition]:
    """Return what a commit of `offsets` sends, with the note where the topic's shape is known."""
    return [
        TopicPartition(topic, number, offset, shapes[topic].note)
        if topic in shapes
        else TopicPartition(topic, number, offset)
        for (topic, number), offset in offsets.items()
    ]


def added(partition: Partition, shapes: Shapes) -> bool:
    """Return whether a partition was added to its topic since the scorer started."""
    shape = shapes.get(partition.topic)
    return shape is not None and partition.number >= shape.partitions


def beginning(consumer: Consumer, added: TopicPartition, timeout: float) -> int:
    """Return the offset of an added partition's first record; raises KafkaException.

    The group may give a partition to a member whose client has not heard of it. Then it is seconds old and begins at 0;
    should its first records be gone even so, reading from there says so.
    """
    try:
        return consumer.get_watermark_offsets(added, timeout)[0]
    except KafkaException as error:
        if error.args[0].code() not in UNHEARD:
            raise
        return 0


def known(committed: Sequence[TopicPartition], shape: Shape) -> int:
    """Return how many partitions a topic had as its group last saw it; 0 where the group has committed nothing.

    `committed` are all partitions of one topic with the committed offset, or `OFFSET_INVALID`. Where no commit has a
    note, as after a foreign tool's reset, all of them count as known. Raises OffsetLostError where the notes are those
    of another topic.
    """
    settled = [position for position in committed if position.offset != OFFSET_INVALID]
    notes = [note.groups() for position in settled if (note := NOTE.match(position.metadata or ""))]
    for _, noted in notes:
        refuse_another(settled[0].topic, noted.rstrip("\0"), shape.id)
    if not notes:
        return len(committed) if settled else 0
    return max([*(int(count) for count, _ in notes), *(position.partition + 1 for position in settled)])


def refuse_another(topic: str, was: str, found: str) -> None:
    """Raise OffsetLostError if a topic's id is not the one it was."""
    if was != found:
        raise OffsetLostError(
            f"topic {topic} was deleted and made again (its id was {was}, it is {found}): the committed offsets are "
            "the old one's, and some of its records may have been passed over. Choose where to begin with "
            "`kafka-consumer-groups.sh --reset-offsets`"
        )


def offset_lost(consumer: Consumer, group: str, tp: TopicPartition, said: str) -> OffsetLostError:
    """Return the error of a partition that its group has no way to go on with, with what there is instead."""
    try:
        low, high = consumer.get_watermark_offsets(tp, timeout=5.0)
        committed = consumer.committed([tp], 5.0)[0].offset
        there = f"records {low} to {high - 1} exist" if high > low else "it is empty"
        facts = f"{there}, {committed if committed >= 0 else 'nothing'} is committed"
    except KafkaException as error:
        facts = f"its offsets cannot be asked for: {error.args[0].str()}"
    return OffsetLostError(
        f"{tp.topic}-{tp.partition}, group {group}: {said}; {facts}. Any start may lose or repeat events: "
        f"choose with `kafka-consumer-groups.sh --reset-offsets --group {group} --topic {tp.topic}:{tp.partition} …`"
    )


def shape_of(description: Any) -> Shape:
    """Return the shape that a client's `TopicDescription` tells."""
    return Shape(len(description.partitions), str(description.topic_id))
