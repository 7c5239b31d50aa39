"""The client's messages as columns."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from operator import itemgetter, methodcaller
from typing import cast

from confluent_kafka import Message

from scorer.records import Header, Records

# The client leaves an error pending beside its answer where a header's name is not UTF-8. A call that Python has
# specialised does not look for one, and it would be raised somewhere else, or never; a call through C always looks.
_headers_of = methodcaller("headers")


def by_topic(messages: Sequence[Message], topics: Sequence[str]) -> tuple[Records, ...]:
    """Return messages of these topics, none of them an error, as one batch a topic; each keeps the order consumed."""
    # Every answer to `topic()` is a new string: it is asked for only where there is a choice.
    met = topics if len(topics) == 1 else list(set(map(Message.topic, messages)))
    if not messages:
        return ()
    if len(met) == 1:
        return (_records(cast(str, met[0]), messages),)
    parts: dict[str, list[Message]] = defaultdict(list)
    for message in messages:
        parts[cast(str, message.topic())].append(message)
    return tuple(_records(topic, part) for topic, part in parts.items())


def _records(topic: str, messages: Sequence[Message]) -> Records:
    # Asked a second time for headers that are not UTF-8, the client answers with null pointers: it is asked once.
    unreadable: dict[int, UnicodeDecodeError] = {}

    def headers(row: int) -> Sequence[Header]:
        if row in unreadable:
            raise unreadable[row]
        try:
            return cast(Sequence[Header], _headers_of(messages[row]) or ())
        except (SystemError, UnicodeDecodeError) as error:  # the one wraps the other, or not
            cause = error.__cause__ if isinstance(error, SystemError) else error
            if not isinstance(cause, UnicodeDecodeError):
                raise
            unreadable[row] = cause
            raise cause from None

    return Records.of(
        topic,
        cast(Iterable[int], map(Message.partition, messages)),
        cast(Iterable[int], map(Message.offset, messages)),
        map(itemgetter(1), map(Message.timestamp, messages)),
        list(map(Message.key, messages)),
        list(map(Message.value, messages)),
        headers,
    )
