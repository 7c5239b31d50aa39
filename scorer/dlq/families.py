"""A dead letter's headers → what went wrong where, and the headers that the event had before. Pure.

Five systems name the same things differently: Kafka's share groups (KIP-1191); this one, which has their names and some
more; Kafka Connect (`DeadLetterQueueReporter`); Kafka Streams (KIP-1034, `ExceptionHandlerUtils`); and Spring
(`KafkaHeaders.DLT_*`), which writes numbers as big-endian binary. An event may carry the headers of several: it was a
dead letter before, was mended and sent again. The last family buried it; the others are the event's own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from scorer.records import Header

CUT: Final = "scorer.error."
"""Before `key.bytes`, `value.bytes` and `headers`: the parts of the event that the letter does not hold whole."""

_TOPIC: Final = re.compile(rb"[a-zA-Z0-9._-]{1,249}")
_DIGITS: Final = re.compile(rb"[0-9]{1,18}")


class Family(StrEnum):
    """Who writes such headers."""

    SCORER = "scorer"
    KAFKA = "kafka"
    CONNECT = "connect"
    STREAMS = "streams"
    SPRING = "spring"


@dataclass(frozen=True, slots=True)
class Origin:
    """The record that the letter was."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}-{self.offset}"


@dataclass(frozen=True, slots=True)
class Failure:
    """What a letter's headers say; texts are empty where they say nothing.

    `headers` are the event's own, as they were before it failed. `cut` names the parts of it that are not whole.
    """

    family: Family | None
    origin: Origin | None
    reason: str
    stage: str
    path: str
    message: str
    group: str
    cut: tuple[str, ...]
    headers: tuple[Header, ...]


@dataclass(frozen=True, slots=True)
class _Dialect:
    """A family's names: of topic, partition, offset, and of the rest; of several, the first that is there counts."""

    prefixes: tuple[str, ...]
    where: tuple[str, str, str]
    reason: tuple[str, ...] = ()
    stage: tuple[str, ...] = ()
    path: tuple[str, ...] = ()
    message: tuple[str, ...] = ()
    group: tuple[str, ...] = ()


_KAFKA_PLACE: Final = ("__dlq.errors.topic", "__dlq.errors.partition", "__dlq.errors.offset")
_DIALECTS: Final[Mapping[Family, _Dialect]] = {
    Family.SCORER: _Dialect(
        ("__dlq.errors.", "scorer.error."),
        _KAFKA_PLACE,
        reason=("scorer.error.reason",),
        stage=("scorer.error.stage",),
        path=("scorer.error.path",),
        message=("__dlq.errors.message",),
        group=("__dlq.errors.group",),
    ),
    Family.KAFKA: _Dialect(
        ("__dlq.errors.",), _KAFKA_PLACE, message=("__dlq.errors.message",), group=("__dlq.errors.group",)
    ),
    Family.CONNECT: _Dialect(
        ("__connect.errors.",),
        ("__connect.errors.topic", "__connect.errors.partition", "__connect.errors.offset"),
        reason=("__connect.errors.exception.class.name",),
        stage=("__connect.errors.stage",),
        message=("__connect.errors.exception.message",),
        group=("__connect.errors.connector.name",),
    ),
    Family.STREAMS: _Dialect(
        ("__streams.errors.",),
        ("__streams.errors.topic", "__streams.errors.partition", "__streams.errors.offset"),
        reason=("__streams.errors.exception",),
        message=("__streams.errors.message",),
    ),
    Family.SPRING: _Dialect(
        ("kafka_dlt-",),
        ("kafka_dlt-original-topic", "kafka_dlt-original-partition", "kafka_dlt-original-offset"),
        # A listener's failures all have the same class; only their cause tells them apart.
        reason=("kafka_dlt-exception-cause-fqcn", "kafka_dlt-exception-fqcn", "kafka_dlt-key-exception-fqcn"),
        message=("kafka_dlt-exception-message", "kafka_dlt-key-exception-message"),
        group=("kafka_dlt-original-consumer-group",),
    ),
}


def understand(headers: Sequence[Header]) -> Failure:
    """Return what a letter's headers say; nothing but the event's own where no family is known."""
    family = _family(headers)
    if family is None:
        return Failure(None, None, "", "", "", "", "", (), tuple(headers))
    dialect = _DIALECTS[family]
    own, errors = _apart(headers, family)
    said = dict(errors)

    def text(names: Sequence[str]) -> str:
        return next((_text(said[name]) for name in names if said.get(name) is not None), "")

    return Failure(
        family,
        _origin(said, dialect, binary=family is Family.SPRING),
        # An exception's class without its package, and without the message that Streams puts behind it.
        text(dialect.reason).partition(":")[0].rpartition(".")[2],
        text(dialect.stage),
        text(dialect.path),
        text(dialect.message),
        text(dialect.group),
        tuple(part for part in ("key", "value") if f"{CUT}{part}.bytes" in said)
        + (("headers",) if f"{CUT}headers" in said else ()),
        tuple(own),
    )


def _family(headers: Sequence[Header]) -> Family | None:
    """Return whose headers come last: nobody adds to a letter before it is one."""
    for name, _ in reversed(headers):
        for family, dialect in _DIALECTS.items():
            if name.startswith(dialect.prefixes):
                return _of_scorer(headers) if family is Family.SCORER else family
    return None


def _of_scorer(headers: Sequence[Header]) -> Family:
    """Return whether the last `__dlq.errors.` headers are a scorer's, which writes its reason behind them."""
    names = [name for name, _ in headers[_start(headers) :]]
    return Family.SCORER if "scorer.error.reason" in names else Family.KAFKA


def _start(headers: Sequence[Header]) -> int:
    """Return where the last block of a scorer's headers begins: it writes them in one piece, the topic first."""
    places = [place for place, (name, _) in enumerate(headers) if name == _KAFKA_PLACE[0]]
    return places[-1] if places else 0


def _apart(headers: Sequence[Header], family: Family) -> tuple[list[Header], list[Header]]:
    """Return the event's own headers, and the family's.

    Before a scorer's block, a header of the same name was the event's: it came with it, and goes with it.
    """
    prefixes = _DIALECTS[family].prefixes
    start = _start(headers) if family is Family.SCORER else 0
    own = [*headers[:start], *(header for header in headers[start:] if not header[0].startswith(prefixes))]
    return own, [header for header in headers[start:] if header[0].startswith(prefixes)]


def _origin(said: Mapping[str, bytes | None], dialect: _Dialect, *, binary: bool) -> Origin | None:
    topic, partition, offset = (said.get(name) or b"" for name in dialect.where)
    if not _TOPIC.fullmatch(topic):
        return None
    read = _binary if binary else _digits
    numbers = read(partition, 4), read(offset, 8)
    if numbers[0] is None or numbers[1] is None:
        return None
    return Origin(topic.decode(), numbers[0], numbers[1])


def _digits(content: bytes, size: int) -> int | None:
    """Return a number written as text, if it is one of at most `size` bytes."""
    number = int(content) if _DIGITS.fullmatch(content) else None
    return number if number is not None and number < 1 << (8 * size - 1) else None


def _binary(content: bytes, size: int) -> int | None:
    """Return a number as Java's ByteBuffer writes it, if it has `size` bytes and is not negative."""
    number = int.from_bytes(content, "big", signed=True) if len(content) == size else -1
    return number if number >= 0 else None


def _text(content: bytes | None) -> str:
    return (content or b"").decode(errors="backslashreplace")
