"""The client's messages as columns."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import cast

from confluent_kafka import Message

from scorer.records import Header, Records


def by_topic(messages: Sequence[Message]) -> tuple[Records, ...]:
    """Return messages, none of them an error, as one batch a topic; each keeps the order consumed."""
    topics = set(map(Message.topic, messages))
    if len(topics) == 1:
        return (_records(cast(str, topics.pop()), messages),)
    parts: dict[str, list[Message]] = defaultdict(list)
    for message in messages:
        parts[cast(str, message.topic())].append(message)
    return tuple(_records(topic, part) for topic, part in parts.items())


def _records(topic: str, messages: Sequence[Message]) -> Records:
    def headers(row: int) -> Sequence[Header]:
        return cast(Sequence[Header], messages[row].headers() or ())

    return Records(
        topic,
        cast(list[int], list(map(Message.partition, messages))),
        cast(list[int], list(map(Message.offset, messages))),
        [stamp for _, stamp in map(Message.timestamp, messages)],
        list(map(Message.key, messages)),
        list(map(Message.value, messages)),
        headers,
    )
