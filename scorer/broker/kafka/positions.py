"""Offsets as the client takes them. Each commit notes how many partitions its topic had.

The note tells a partition that was added later, which begins at its start, from one whose committed offset is gone,
which nobody may guess.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from confluent_kafka import OFFSET_INVALID, TopicPartition

from scorer.records import Offsets

Counts = Mapping[str, int]
"""Per topic, how many partitions it had when the scorer started."""
NOTE = "partitions="


def positions(offsets: Offsets, counts: Counts) -> list[TopicPartition]:
    """Return what a commit of `offsets` sends, with the note where the topic's count is known."""
    return [
        TopicPartition(topic, number, offset, f"{NOTE}{counts[topic]}")
        if topic in counts
        else TopicPartition(topic, number, offset)
        for (topic, number), offset in offsets.items()
    ]


def known(committed: Sequence[TopicPartition]) -> int:
    """Return how many partitions a topic had as its group last saw it; 0 where the group has committed nothing.

    `committed` are all partitions of one topic with the committed offset, or `OFFSET_INVALID`. Where no commit has a
    note, as after a foreign tool's reset, all of them count as known.
    """
    settled = [position for position in committed if position.offset != OFFSET_INVALID]
    noted = max((_noted(position.metadata) for position in settled), default=0)
    if settled and not noted:
        return len(committed)
    return max([noted, *(position.partition + 1 for position in settled)])


def _noted(metadata: str | None) -> int:
    count = (metadata or "").rstrip("\0").removeprefix(NOTE)
    return int(count) if count.isdecimal() else 0
