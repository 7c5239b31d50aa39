"""What only a real client can get wrong: its fatal errors, its refusals at birth, and messages it cannot read."""

# ruff: noqa: PT012 - a fatal error comes in the client's own time, from whichever call is next

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from threading import Event

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from contract_worlds import KafkaWorld, gather, join, next_offsets

from scorer.broker.contract import Fault, Verdict
from scorer.broker.kafka import Identity, KafkaSink, KafkaSource, patience
from scorer.broker.kafka import sink as sink_module
from scorer.broker.kafka import source as source_module
from scorer.broker.kafka.roll import is_member
from scorer.errors import BrokerError, OffsetLostError
from scorer.records import Outgoing, Partition


@pytest.fixture
def world(bootstrap: str) -> Iterator[KafkaWorld]:
    """Give fresh topics and a fresh group on a real Kafka, with first offsets."""
    with ExitStack() as stack:
        world = KafkaWorld(bootstrap, stack)
        world.establish()
        yield world


def decided(world: KafkaWorld, *values: bytes) -> Outgoing:
    return Outgoing(world.decisions, values, values, world.letters)


def test_unreadable_headers_are_refused_however_often_they_are_asked_for(world: KafkaWorld) -> None:
    """The second question has the first one's answer, never half a header with a hole in it.

    Python's specialised calls do not look for the client's pending error: the readable ones warm the code up.
    """
    source = world.source()
    world.produce(*[b"readable"] * 50)
    readable = gather(source, 50)
    assert [list(readable.headers(row)) for row in range(50)] == [[]] * 50
    world.produce_unreadable_header()
    records = gather(source, 1)
    for _ in range(2):
        with pytest.raises(UnicodeDecodeError):
            records.headers(0)


def test_a_renewal_that_failed_can_be_tried_again(world: KafkaWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new producer that cannot begin in time leaves a sink that can be renewed again, used and closed."""
    source, sink = world.source(), world.sink()
    join(source)
    with monkeypatch.context() as patch:
        patch.setattr(sink_module, "INIT_TIMEOUT", 0.0001)
        for _ in range(2):
            with pytest.raises(Fault):
                sink.renew()
    # A request of a producer that was given up may still arrive and fence the next one: then it is renewed again.
    for _ in range(3):
        with suppress(Fault):
            sink.renew()
            sink.begin()
            sink.publish(decided(world, b"a"))
            sink.commit({}, source.membership(), 8.0)
            break
    assert len(world.read(world.decisions)) == 1


def test_a_client_that_never_returns_is_replaced(world: KafkaWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Librdkafka may wait for ever for an answer that a broken connection took: a new producer goes on."""
    monkeypatch.setattr(patience, "GRACE", 0.2)
    source, sink = world.source(), world.sink()
    join(source)
    sink.begin()
    sink.publish(decided(world, b"dropped"))
    never = Event()
    with monkeypatch.context() as patch:
        patch.setattr(sink_module, "partial", lambda *_: never.wait)
        with pytest.raises(Fault) as caught:
            sink.commit({}, source.membership(), 0.1)
    assert (caught.value.verdict, caught.value.code) == (Verdict.RENEW, "_STUCK")
    assert sink.suspect is None
    sink.renew()
    sink.begin()
    sink.publish(decided(world, b"a"))
    sink.commit(next_offsets(world, 0, 0), source.membership(), 8.0)
    assert [value for _, value, _ in world.read(world.decisions)] == [b"a"]
    never.set()


def test_a_sink_whose_renewal_failed_can_be_closed(world: KafkaWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing raises nothing, whatever state the producer is in."""
    sink = world.sink()
    monkeypatch.setattr(sink_module, "INIT_TIMEOUT", 0.0001)
    with pytest.raises(Fault):
        sink.renew()
    sink.close()


def test_a_fenced_producer_says_so_by_its_abort_at_the_latest(world: KafkaWorld) -> None:
    """Found out in the middle of a batch, fencing is first an abortable `_FATAL`; the abort then names it."""
    first = world.sink()
    first.begin()
    first.publish(decided(world, b"a"))
    world.sink()
    with pytest.raises(Fault):
        for _ in range(100):
            first.publish(decided(world, b"a"))
            time.sleep(0.05)  # the client hears of it from the broker, in its own time
    with pytest.raises(Fault) as caught:
        first.abort(8.0)
    assert (caught.value.verdict, caught.value.fenced) == (Verdict.RENEW, True)


def test_a_flush_that_meets_a_fatal_error_is_a_fault(world: KafkaWorld) -> None:
    """The client raises its fatal error from whichever call serves its callbacks next: also there it is a Fault."""
    first = world.sink()
    first.begin()
    first.publish(decided(world, b"a"))
    world.sink()
    with pytest.raises(Fault):
        for _ in range(100):
            first.flush(0.5)
            first.publish(decided(world, b"a"))


def test_a_fenced_sink_closes_without_a_word(world: KafkaWorld) -> None:
    """When the service stops because of a twin, closing must not put a traceback in the place of the reason."""
    first = world.sink()
    first.begin()
    first.publish(decided(world, b"a"))
    world.sink()
    with pytest.raises(Fault):
        first.abort(8.0)
    first.close()


def test_a_transaction_that_timed_out_renews(world: KafkaWorld) -> None:
    """A transaction that the broker ended by itself fences its producer; a renewed one goes on."""
    short = {"transaction.timeout.ms": 1500, "message.timeout.ms": 1000, "socket.timeout.ms": 1200}
    source = world.source()
    join(source)
    sink = KafkaSink({**world.properties, **short}, world.identity(), transactional=True, hear=world.heard.append)
    sink.begin()
    sink.publish(decided(world, b"dropped"))
    time.sleep(5.0)  # the broker's own clock
    with pytest.raises(Fault) as caught:
        sink.commit({}, source.membership(), 8.0)
    assert caught.value.verdict is Verdict.RENEW
    sink.renew()
    sink.begin()
    sink.publish(decided(world, b"a"))
    sink.commit({}, source.membership(), 8.0)
    assert [value for _, value, _ in world.read(world.decisions)] == [b"a"]
    sink.close()


@pytest.mark.parametrize("timeout", [6000, "6000"], ids=["number", "text"])
def test_a_shorter_transaction_timeout_shortens_what_must_not_exceed_it(world: KafkaWorld, timeout: int | str) -> None:
    """It used to be refused for the sake of two other properties, which the user had not set."""
    properties = {**world.properties, "transaction.timeout.ms": timeout}
    KafkaSink(properties, world.identity(), transactional=True, hear=world.heard.append).close()


def test_producer_properties_that_contradict_each_other_are_named(world: KafkaWorld) -> None:
    """What librdkafka refuses at the producer's birth is the user's mistake: one error that names it."""
    properties = {**world.properties, "transaction.timeout.ms": 1500, "message.timeout.ms": 30_000}
    with pytest.raises(BrokerError, match=r"transaction\.timeout\.ms"):
        KafkaSink(properties, world.identity(), transactional=True, hear=world.heard.append)


def test_a_fatal_consumer_stops_instead_of_waiting_for_ever(world: KafkaWorld) -> None:
    """A static member whose `group.instance.id` another took gets no record again: it says so, and stops."""
    properties = {**world.properties, "group.instance.id": "the-same"}
    first = KafkaSource(properties, world.identity("0"), [world.input], hear=world.heard.append)
    join(first)
    second = KafkaSource(properties, world.identity("1"), [world.input], hear=world.heard.append)
    deadline = time.monotonic() + 12.0
    with pytest.raises(BrokerError, match="fenced"):
        while time.monotonic() < deadline:
            second.poll(1, 0.1)
            first.poll(1, 0.1)
    first.close()
    second.close()


def test_a_session_timeout_that_the_broker_refuses_is_named(world: KafkaWorld) -> None:
    """It used to be waited out for ever: only the configuration, this one or the broker's, can mend it."""
    properties = {**world.properties, "session.timeout.ms": 900, "heartbeat.interval.ms": 300}
    source = KafkaSource(properties, world.identity(), [world.input], hear=world.heard.append)
    deadline = time.monotonic() + 30.0
    with pytest.raises(BrokerError, match=r"session\.timeout\.ms` = 900; .* group\.min\.session\.timeout\.ms"):
        while time.monotonic() < deadline:
            source.poll(1, 0.1)
    source.close()


def test_a_lost_offset_is_told_with_the_command_that_chooses_one(world: KafkaWorld) -> None:
    """At 3 a.m. the error has the group, the partition, what is committed, what exists, and what to type."""
    world.produce(b"a", b"b", b"c")
    world.delete_before(2)
    with pytest.raises(OffsetLostError) as caught:
        gather(world.source(), 1)
    text = str(caught.value)
    assert f"--reset-offsets --group {world.group} --topic {world.input}:0" in text
    assert "records 2 to 2 exist, 0 is committed" in text


def test_a_callback_that_raises_costs_nothing(world: KafkaWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the client had fetched then is gone from its queue: the poll says so, and a rewind brings all of it."""
    raised: list[str] = []

    def raise_once(statistics: str) -> None:
        if not raised and '"hi_offset":50' in statistics:
            raised.append(statistics)
            raise RuntimeError("on purpose")

    own = source_module.consumer_properties
    more = {"statistics.interval.ms": 50, "stats_cb": raise_once}
    monkeypatch.setattr(source_module, "consumer_properties", lambda *arguments: {**own(*arguments), **more})
    source = world.source()
    join(source)
    world.produce(*(b"%d" % n for n in range(50)))
    with pytest.raises(Fault, match="on purpose") as caught:
        for _ in range(200):
            source.poll(1000, 0.1)
    assert caught.value.verdict is Verdict.ABORT
    source.rewind()
    assert list(gather(source, 50).values) == [b"%d" % n for n in range(50)]
    started = time.monotonic()
    source.close()
    assert time.monotonic() - started < 20.0


def test_a_batch_that_cannot_be_read_parks_its_partition(world: KafkaWorld) -> None:
    """A decompression bomb stops its own partition only, and is named with its offset until it is skipped."""
    properties = {**world.properties, "receive.message.max.bytes": 2_000_000, "fetch.message.max.bytes": 100_000}
    properties |= {"fetch.max.bytes": 1_000_000, "message.max.bytes": 1_000_000}
    world.produce(b"before")
    bomb = {"compression.type": "zstd", "message.max.bytes": 40_000_000}
    producer = Producer({"bootstrap.servers": world.properties["bootstrap.servers"], **bomb})
    producer.produce(world.input, bytes(30_000_000), partition=0)
    assert producer.flush(30) == 0
    world.produce(b"beside", partition=1)
    source = KafkaSource(properties, world.identity(), [world.input], hear=world.heard.append)
    try:
        found: list[bytes | None] = []
        deadline = time.monotonic() + 40.0
        while not source.stuck():
            assert time.monotonic() < deadline, world.heard
            found += [value for part in source.poll(10, 0.1).records for value in part.values]
        assert set(found) == {b"before", b"beside"}
        assert source.stuck() == {Partition(world.input, 0): 1}
        assert {trouble.code for trouble in world.heard} == {"_BAD_COMPRESSION"}
    finally:
        source.close()


@pytest.mark.parametrize("transactional", [True, False])
def test_what_a_topic_refuses_is_named(world: KafkaWorld, transactional: bool) -> None:
    """A compacted topic takes no record without a key: the fault says that it is the record, and which topic's."""
    compacted = f"{world.group}.compacted"
    admin = AdminClient({"bootstrap.servers": world.properties["bootstrap.servers"]})
    admin.create_topics([NewTopic(compacted, 1, config={"cleanup.policy": "compact"})])[compacted].result(30)
    source = world.source()
    join(source)
    sink = world.sink(transactional=transactional)
    with pytest.raises(Fault) as caught:
        if transactional:
            sink.begin()
        sink.publish(Outgoing(compacted, [None], [b"x"], world.letters))
        if transactional:
            sink.commit(next_offsets(world, 0, 0), source.membership(), 8.0)
        sink.flush(10.0)
    assert (caught.value.verdict, caught.value.code) == (Verdict.ABORT, "INVALID_RECORD")
    assert compacted in str(caught.value)


def test_a_client_that_is_no_longer_in_its_group_is_replaced(world: KafkaWorld) -> None:
    """Half a minute without a partition, and the group does not list it: a new client joins, and passes nothing over.

    Such a client was seen to go on for a quarter of an hour, polled all the time; here it is made by unsubscribing it.
    """
    now = [0.0]
    source = KafkaSource(
        world.properties, world.identity(), [world.input], hear=world.heard.append, clock=lambda: now[0]
    )
    try:
        world.produce(b"a")
        assert list(gather(source, 1).values) == [b"a"]
        assert source.commit(next_offsets(world, 1))
        source._consumer.unsubscribe()
        world.produce(b"b")
        while source._consumer.assignment():
            source.poll(10, 0.1)
        for _ in range(10):
            assert source.poll(10, 0.1).records == ()
        assert not any("takes over" in trouble.message for trouble in world.heard)
        now[0] += source_module.OUTSIDE
        assert list(gather(source, 1).values) == [b"b"]
        assert any("takes over" in trouble.message for trouble in world.heard)
    finally:
        source.close()


def test_a_member_without_partitions_is_left_in_peace(world: KafkaWorld) -> None:
    """A standby, one instance more than there are partitions, waits as the member that it is."""
    now = [0.0]
    topic = f"{world.group}.lone"
    admin = AdminClient({"bootstrap.servers": world.properties["bootstrap.servers"]})
    admin.create_topics([NewTopic(topic, 1)])[topic].result(30)
    first = {Partition(topic, 0): 0}
    sources = [
        KafkaSource(
            world.properties,
            world.identity(instance),
            [topic],
            hear=world.heard.append,
            first=first,
            clock=lambda: now[0],
        )
        for instance in ("0", "1")
    ]
    try:
        deadline = time.monotonic() + 60.0
        while not all(is_member(world.properties, world.identity(instance)) for instance in ("0", "1")):
            assert time.monotonic() < deadline
            for source in sources:
                source.poll(10, 0.1)
        now[0] += source_module.OUTSIDE
        for _ in range(10):
            for source in sources:
                source.poll(10, 0.1)
        assert not any("takes over" in trouble.message for trouble in world.heard)
    finally:
        for source in sources:
            source.close()


def test_a_group_that_nobody_can_be_asked_about_is_no_answer() -> None:
    assert is_member({"bootstrap.servers": "127.0.0.1:1"}, Identity("g", "0")) is None
