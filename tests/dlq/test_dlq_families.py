"""What a dead letter's headers say, whoever wrote them, and that the event's own headers come back as they were."""

from __future__ import annotations

import struct

import pytest
from dlq_world import GROUP, Event, bury, letter_of
from hypothesis import given
from hypothesis import strategies as st

from scorer.dlq.families import Family, Origin, understand
from scorer.errors import Reason
from scorer.records import Header

TOPICS = st.from_regex(r"[a-zA-Z0-9._-]{1,40}", fullmatch=True)
ORIGINS = st.builds(Origin, TOPICS, st.integers(0, 2**31 - 1), st.integers(0, 10**18 - 1))
CONTENTS = st.none() | st.binary(max_size=12)
FORGED = st.sampled_from(
    [
        "__dlq.errors.topic",
        "__dlq.errors.partition",
        "scorer.error.reason",
        "scorer.error.value.bytes",
        "__connect.errors.topic",
        "kafka_dlt-original-topic",
        "__streams.errors.offset",
    ]
)
HEADERS = st.lists(st.tuples(st.text(max_size=8) | FORGED, CONTENTS), max_size=6)
PLAIN = st.lists(st.tuples(st.text("abc-", max_size=8), CONTENTS), max_size=6)
PLACE = Origin("payments.dlq", 0, 7)


def connect(origin: Origin) -> list[Header]:
    """Return what Kafka Connect's DeadLetterQueueReporter adds."""
    said = {
        "topic": origin.topic,
        "partition": str(origin.partition),
        "offset": str(origin.offset),
        "connector.name": "sink",
        "task.id": "0",
        "stage": "VALUE_CONVERTER",
        "class.name": "org.apache.kafka.connect.json.JsonConverter",
        "exception.class.name": "org.apache.kafka.connect.errors.DataException",
        "exception.message": "no schema",
        "exception.stacktrace": "org.apache…\n\tat",
    }
    return [(f"__connect.errors.{name}", content.encode()) for name, content in said.items()]


def streams(origin: Origin) -> list[Header]:
    """Return what Kafka Streams' ExceptionHandlerUtils adds: the exception's text has its message in it."""
    said = {
        "exception": "org.apache.kafka.common.errors.SerializationException: no JSON. At all",
        "message": "no JSON. At all",
        "stacktrace": "org.apache…",
        "topic": origin.topic,
        "partition": str(origin.partition),
        "offset": str(origin.offset),
    }
    return [(f"__streams.errors.{name}", content.encode()) for name, content in said.items()]


def spring(origin: Origin) -> list[Header]:
    """Return what Spring's DeadLetterPublishingRecoverer adds: numbers as a ByteBuffer has them."""
    return [
        ("kafka_dlt-original-topic", origin.topic.encode()),
        ("kafka_dlt-original-partition", struct.pack(">i", origin.partition)),
        ("kafka_dlt-original-offset", struct.pack(">q", origin.offset)),
        ("kafka_dlt-original-timestamp", struct.pack(">q", 1_700_000_000_000)),
        ("kafka_dlt-original-timestamp-type", b"CreateTime"),
        ("kafka_dlt-original-consumer-group", b"app"),
        ("kafka_dlt-exception-fqcn", b"org.springframework.kafka.listener.ListenerExecutionFailedException"),
        ("kafka_dlt-exception-cause-fqcn", b"java.lang.IllegalStateException"),
        ("kafka_dlt-exception-message", b"Listener failed"),
        ("kafka_dlt-exception-stacktrace", b"org.spring\n\tat"),
    ]


def share_group(origin: Origin) -> list[Header]:
    """Return what a share group adds (KIP-1191)."""
    return [
        ("__dlq.errors.topic", origin.topic.encode()),
        ("__dlq.errors.partition", b"%d" % origin.partition),
        ("__dlq.errors.offset", b"%d" % origin.offset),
        ("__dlq.errors.group", b"share"),
        ("__dlq.errors.delivery.count", b"5"),
        ("__dlq.errors.message", b"delivery limit"),
    ]


@given(ORIGINS, HEADERS, st.sampled_from(Reason), st.text(max_size=20))
def test_what_the_scorer_writes_is_read_back(
    origin: Origin, headers: list[Header], reason: Reason, message: str
) -> None:
    """Origin, reason and text come back, and so do the event's own headers, whatever dead letters' names they have."""
    failure = letter_of(bury(Event(origin, headers=tuple(headers)), reason, message), PLACE).failure

    assert (failure.family, failure.origin, failure.reason, failure.stage) == (Family.SCORER, origin, reason, "decode")
    assert (failure.path, failure.group, failure.cut) == ("$.a", GROUP, ())
    assert failure.message == message.encode(errors="replace").decode()
    assert list(failure.headers) == headers


@pytest.mark.parametrize(
    ("write", "family", "told"),
    [
        (connect, Family.CONNECT, ("DataException", "VALUE_CONVERTER", "no schema", "sink")),
        (streams, Family.STREAMS, ("SerializationException", "", "no JSON. At all", "")),
        (spring, Family.SPRING, ("IllegalStateException", "", "Listener failed", "app")),
        (share_group, Family.KAFKA, ("", "", "delivery limit", "share")),
    ],
)
@given(origin=ORIGINS, headers=PLAIN)
def test_what_others_write_is_read(write, family, told, origin, headers) -> None:  # type: ignore[no-untyped-def]
    """The four other families give origin, reason and message; the event's own headers are what is left."""
    failure = understand([*headers, *write(origin)])

    assert (failure.family, failure.origin) == (family, origin)
    assert (failure.reason, failure.stage, failure.message, failure.group) == told
    assert list(failure.headers) == headers


@given(ORIGINS, ORIGINS, st.sampled_from([connect, streams, spring, share_group]))
def test_who_buried_it_last_counts(first, last, write) -> None:  # type: ignore[no-untyped-def]
    """An event that was another system's dead letter keeps that system's headers, and is not taken for its letter."""
    earlier = tuple(write(first))

    failure = letter_of(bury(Event(last, headers=earlier)), PLACE).failure

    assert (failure.family, failure.origin, failure.headers) == (Family.SCORER, last, earlier)


@given(st.lists(st.tuples(st.text(max_size=8) | FORGED, CONTENTS), max_size=8))
def test_any_headers_can_be_read(headers: list[Header]) -> None:
    """Nothing that anybody writes into headers stops the reader; an origin is whole or none."""
    failure = understand(headers)

    assert all(header in headers for header in failure.headers)
    assert failure.origin is None or 0 <= failure.origin.partition < 2**31


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("kafka_dlt-original-offset", b"12"),
        ("kafka_dlt-original-partition", struct.pack(">i", -1)),
        ("kafka_dlt-original-topic", b"pay ments"),
        ("kafka_dlt-original-topic", b"p" * 250),
        ("kafka_dlt-original-partition", None),
    ],
)
def test_a_broken_origin_is_none(name: str, content: bytes | None) -> None:
    """A number of another size, a negative one, or what no topic can be called is not guessed at."""
    headers = [header for header in spring(Origin("payments", 1, 2)) if header[0] != name]

    assert understand([*headers, (name, content)]).origin is None
    assert understand(spring(Origin("payments", 1, 2))).origin == Origin("payments", 1, 2)


@pytest.mark.parametrize(
    ("event", "cut"),
    [
        (Event(PLACE, value=b"v" * 30_000), ("value",)),
        (Event(PLACE, key=b"k" * 30_000), ("key",)),
        (Event(PLACE, key=b"k" * 30_000, value=b"v" * 30_000), ("key", "value")),
        (Event(PLACE, headers=(("h", b"h" * 30_000),)), ("headers",)),
        (Event(PLACE, headers=(("scorer.error.value.bytes", b"9"),)), ()),
    ],
)
def test_a_cut_letter_is_known(event: Event, cut: tuple[str, ...]) -> None:
    """What the letter does not hold whole is named; an event's own header of that name says nothing."""
    assert letter_of(bury(event), Origin("payments.dlq", 0, 1)).failure.cut == cut
