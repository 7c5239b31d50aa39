"""What is asked of a real cluster before the start: reachable? topics? first offsets? a living twin?"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions, NewTopic
from contract_worlds import KafkaWorld, gather, join, next_offsets, until

from scorer.broker.contract import Rebalance
from scorer.broker.kafka import Cluster, Identity, KafkaSource
from scorer.broker.kafka.positions import positions
from scorer.broker.kafka.watch import WATCH_SECONDS
from scorer.broker.local import free_ports
from scorer.errors import BrokerError, BrokerUnreachableError, FencedError, OffsetLostError, TopicMissingError
from scorer.records import Outgoing, Partition

MEMBER = """
import os, sys
from scorer.broker.kafka import Identity, KafkaSource
properties = {"bootstrap.servers": sys.argv[1], "session.timeout.ms": 6000}
source = KafkaSource(properties, Identity(sys.argv[2], "0"), [sys.argv[3]], hear=lambda trouble: None)
while not any(rebalance.partitions for rebalance in source.poll(1, 0.1).rebalances):
    pass
os._exit(9)
"""


@pytest.fixture
def world(bootstrap: str) -> Iterator[KafkaWorld]:
    """Give fresh topics and a fresh group on a real Kafka."""
    with ExitStack() as stack:
        yield KafkaWorld(bootstrap, stack)


def committed(world: KafkaWorld) -> list[int]:
    """Return what the group has committed, by partition; -1001 for nothing."""
    asker = Consumer({"bootstrap.servers": world.properties["bootstrap.servers"], "group.id": world.group})
    answer = asker.committed([TopicPartition(world.input, number) for number in range(2)], 30.0)
    asker.close()
    return [position.offset for position in answer]


def test_an_unreachable_broker_is_said_in_time() -> None:
    """Where nobody listens, one error within the bound names the address and what to check."""
    (port,) = free_ports(1)
    cluster = Cluster({"bootstrap.servers": f"127.0.0.1:{port}"}, Identity("group", "0"))
    started = time.monotonic()
    with pytest.raises(BrokerUnreachableError, match=rf"127\.0\.0\.1:{port} within 1 s .*bootstrap\.servers"):
        cluster.reach(timeout=1.0)
    assert time.monotonic() - started < 5.0
    cluster.close()


def test_a_property_that_the_client_refuses_is_named() -> None:
    """A misspelt librdkafka property is one error that names it, not a traceback."""
    with pytest.raises(BrokerError, match=r"kafka: .*sesion\.timeout\.ms"):
        Cluster({"bootstrap.servers": "127.0.0.1:9", "sesion.timeout.ms": 1}, Identity("group", "0"))


def test_all_missing_topics_are_named(world: KafkaWorld) -> None:
    """Without `create`, one error names every topic that is missing and none that is there, and makes nothing."""
    outputs = {"nowhere.decisions": world.input, world.letters: world.input, "nowhere.dlq": "nowhere"}
    with pytest.raises(TopicMissingError) as caught:
        world.cluster.ensure_topics(["nowhere", world.input], outputs, create=False)
    assert "nowhere, nowhere.decisions, nowhere.dlq;" in str(caught.value)
    assert world.input not in str(caught.value)
    assert "nowhere" not in world.cluster.reach()


def test_outputs_get_their_inputs_number_of_partitions(world: KafkaWorld) -> None:
    """With `create`, an output has as many partitions as its input, also where both are new; then nothing is made."""
    names = [f"{world.group}.{end}" for end in ("wide", "new", "wide.decisions", "new.decisions", "new.dlq")]
    wide, new, *outputs = names
    admin = AdminClient({"bootstrap.servers": world.properties["bootstrap.servers"]})
    admin.create_topics([NewTopic(wide, 5)])[wide].result(30)
    mapping = dict(zip(outputs, (wide, new, new), strict=True))
    assert world.cluster.ensure_topics([wide, new], mapping, create=True) == [new, *outputs]
    found = world.cluster.reach()
    assert found[outputs[0]] == found[wide] == 5
    assert found[outputs[1]] == found[outputs[2]] == found[new]
    assert world.cluster.ensure_topics([wide, new], mapping, create=True) == []


@pytest.mark.parametrize(("start", "first"), [("earliest", [1, 0]), ("latest", [3, 1])])
def test_first_offsets_are_committed_once(world: KafkaWorld, start: str, first: list[int]) -> None:
    """`start` counts for a group that has committed nothing, from the first record there is; and never again."""
    world.produce(b"a", b"b", b"c", partition=0)
    world.produce(b"x", partition=1)
    world.delete_before(1)
    assert world.cluster.establish(world.cluster.shapes([world.input]), start) == {}
    assert committed(world) == first
    world.produce(b"d", partition=0)
    other = "latest" if start == "earliest" else "earliest"
    assert world.cluster.establish(world.cluster.shapes([world.input]), other) == {}
    assert committed(world) == first


def test_one_committed_partition_is_enough_to_leave_a_topic_alone(world: KafkaWorld) -> None:
    """A single missing offset is a loss, not a first start: it is left missing, for the source to stop at."""
    world.produce(b"a", b"b")
    asker = Consumer({"bootstrap.servers": world.properties["bootstrap.servers"], "group.id": world.group})
    asker.commit(offsets=[TopicPartition(world.input, 0, 1)], asynchronous=False)
    asker.close()
    assert world.cluster.establish(world.cluster.shapes([world.input]), "earliest") == {}
    assert committed(world) == [1, -1001]


def grow(world: KafkaWorld, count: int) -> None:
    """Give the input more partitions, and wait until everybody can see them."""
    admin = AdminClient({"bootstrap.servers": world.properties["bootstrap.servers"]})
    admin.create_partitions([NewPartitions(world.input, count)])[world.input].result(30)
    until(lambda: world.cluster.reach()[world.input] == count)


def test_partitions_added_since_begin_at_their_first_record(world: KafkaWorld) -> None:
    """A start finds more partitions than the group's commits knew of: the new ones begin, wherever `start` points."""
    world.establish()
    grow(world, 4)
    world.produce(b"a", b"b", partition=3)
    assert world.cluster.establish(world.cluster.shapes([world.input]), "latest") == {}
    source = world.source()
    assert list(gather(source, 2).values) == [b"a", b"b"]


@pytest.mark.parametrize("number", [0, 1])
def test_a_committed_offset_that_is_gone_is_no_added_partition(world: KafkaWorld, number: int) -> None:
    """Also the last partition's offset may be lost: the others' commits tell how many partitions there were."""
    world.produce(b"a", b"b")
    asker = Consumer({"bootstrap.servers": world.properties["bootstrap.servers"], "group.id": world.group})
    asker.commit(
        offsets=positions({Partition(world.input, 1 - number): 0}, world.cluster.shapes([world.input])),
        asynchronous=False,
    )
    asker.close()
    assert world.cluster.establish(world.cluster.shapes([world.input]), "earliest") == {}
    assert committed(world)[number] == -1001
    with pytest.raises(OffsetLostError, match=rf"{world.input}-{number}.*nothing is committed"):
        gather(world.source(), 1)


@pytest.mark.parametrize(
    "protocol",
    [{}, {"partition.assignment.strategy": "cooperative-sticky"}, {"group.protocol": "consumer"}],
    ids=["range", "cooperative", "kip-848"],
)
def test_partitions_added_to_a_running_group_begin(world: KafkaWorld, protocol: dict[str, str]) -> None:
    """A member that is given a partition which did not exist at its start begins it, and commits that."""
    if "group.protocol" in protocol:
        del world.properties["session.timeout.ms"], world.properties["heartbeat.interval.ms"]
    world.properties |= protocol
    world.establish()
    source = KafkaSource(
        world.properties,
        world.identity(),
        [world.input],
        hear=world.heard.append,
        shapes=world.cluster.shapes([world.input]),
    )
    try:
        join(source)
        grow(world, 3)
        world.produce(b"a", b"b", partition=2)
        gained: set[Partition] = set()

        def given() -> bool:
            gained.update(p for rebalance in source.poll(1, 0.1).rebalances for p in rebalance.partitions)
            return Partition(world.input, 2) in gained

        until(given)
        assert source.rewind()[Partition(world.input, 2)] == 0
        assert list(gather(source, 2).values) == [b"a", b"b"]
    finally:
        source.close()


def test_a_topic_that_was_forgotten_does_not_begin_blindly(world: KafkaWorld) -> None:
    """No committed offset, but decisions: gone or new, only a person knows. Without decisions it is new."""
    shapes, outputs = world.cluster.shapes([world.input]), {world.input: world.decisions}
    world.cluster.refuse_blind_start(shapes, outputs)
    producer = Producer({"bootstrap.servers": world.properties["bootstrap.servers"]})
    producer.produce(world.decisions, b"{}")
    producer.flush(30)
    with pytest.raises(OffsetLostError, match=rf"nothing of {world.input}, but {world.decisions} holds.*start:"):
        world.cluster.refuse_blind_start(shapes, outputs)
    world.establish()
    world.cluster.refuse_blind_start(shapes, outputs)


def delete(world: KafkaWorld, topic: str) -> None:
    """Delete a topic."""
    admin = AdminClient({"bootstrap.servers": world.properties["bootstrap.servers"]})
    admin.delete_topics([topic])[topic].result(30)
    until(lambda: topic not in world.cluster.reach())


def create(world: KafkaWorld, topic: str) -> None:
    """Make a topic."""
    admin = AdminClient({"bootstrap.servers": world.properties["bootstrap.servers"]})
    admin.create_topics([NewTopic(topic, 2)])[topic].result(30)
    until(lambda: topic in world.cluster.reach())


def make_again(world: KafkaWorld) -> None:
    """Delete the input, and make another of its name."""
    delete(world, world.input)
    create(world, world.input)


def test_offsets_of_a_topic_that_was_made_again_are_no_start(world: KafkaWorld) -> None:
    """The commit notes the topic's id: offsets that outlived their topic are refused, not read on from."""
    old = world.cluster.shapes([world.input])
    make_again(world)
    asker = Consumer({"bootstrap.servers": world.properties["bootstrap.servers"], "group.id": world.group})
    asker.commit(offsets=positions({Partition(world.input, 0): 0}, old), asynchronous=False)
    asker.close()
    with pytest.raises(OffsetLostError, match=rf"topic {world.input} was deleted and made again"):
        world.cluster.establish(world.cluster.shapes([world.input]), "earliest")


def looking(world: KafkaWorld) -> Callable[[], None]:
    """Return what looks at the input once, and takes the answer."""
    now = [0.0]
    watch = world.cluster.watch(world.cluster.shapes([world.input]), lambda: now[0])

    def look() -> None:
        now[0] += WATCH_SECONDS
        for _ in range(20):
            watch()
            time.sleep(0.05)  # the answer comes in the broker's own time

    return look


def test_a_topic_that_is_made_again_meanwhile_is_noticed(world: KafkaWorld) -> None:
    """The watch never waits; while its topic lives it is silent, also when the broker tells nothing of it."""
    look = looking(world)
    look()
    make_again(world)
    with pytest.raises(OffsetLostError, match=rf"topic {world.input} was deleted and made again"):
        look()


def test_an_input_that_is_deleted_meanwhile_is_noticed_at_the_second_look(world: KafkaWorld) -> None:
    """A broker that is just starting may say once that it does not know a topic; a consumer may never say it."""
    look = looking(world)
    delete(world, world.input)
    look()
    with pytest.raises(TopicMissingError, match=rf"topic {world.input} does not exist any more"):
        look()


def test_an_output_that_is_deleted_meanwhile_is_told_until_it_is_there_again(world: KafkaWorld) -> None:
    """By its name: the producer says only that the broker does not answer. The others are not spoken of."""
    watch = world.cluster.watch_outputs([world.decisions, world.letters], world.heard.append)

    def look(times: int) -> list[str]:
        del world.heard[:]
        for _ in range(times):
            watch()
            time.sleep(1)  # the answer comes in the broker's own time
        return [trouble.message.partition(" does not exist any more")[0] for trouble in world.heard]

    assert look(2) == []
    delete(world, world.letters)
    assert set(look(5)) == {f"topic {world.letters}"}
    create(world, world.letters)
    look(2)
    assert look(2) == []


def test_established_offsets_are_where_a_source_starts(world: KafkaWorld) -> None:
    """A source started right after reads from the first offsets."""
    world.produce(b"a", b"b")
    world.establish()
    source = world.source()
    assert list(gather(source, 2).values) == [b"a", b"b"]
    assert source.rewind() == next_offsets(world, 0, 0)


@pytest.mark.parametrize(
    "protocol",
    [{}, {"partition.assignment.strategy": "cooperative-sticky"}, {"group.protocol": "consumer"}],
    ids=["range", "cooperative", "kip-848"],
)
def test_a_topic_added_to_a_running_group_begins(world: KafkaWorld, protocol: dict[str, str]) -> None:
    """A member that knows one topic more than the others begins it where `start` says, and commits that for all."""
    if "group.protocol" in protocol:
        del world.properties["session.timeout.ms"], world.properties["heartbeat.interval.ms"]
    world.properties |= protocol
    world.establish()
    old = world.source("0")
    join(old)
    added = f"{world.group}.added"
    world.cluster.ensure_topics([added], {}, create=True, partitions=1)
    producer = Producer({"bootstrap.servers": world.properties["bootstrap.servers"]})
    for value in (b"a", b"b"):
        producer.produce(added, value)
    producer.flush(30)
    first = world.cluster.establish(world.cluster.shapes([world.input, added]), "earliest")
    assert first == {Partition(added, 0): 0}
    source = KafkaSource(
        world.properties, world.identity("1"), [world.input, added], hear=world.heard.append, first=first
    )
    try:
        rebalanced: list[Rebalance] = []
        until(lambda: bool(rebalanced.extend(source.poll(1, 0.1).rebalances) or rebalanced), old)
        assert source.rewind()[Partition(added, 0)] == 0
        assert list(gather(source, 2).values) == [b"a", b"b"]
    finally:
        source.close()


def test_a_living_twin_is_refused(world: KafkaWorld) -> None:
    """A member of the same group and instance that does not go is named, with its host; others do not count."""
    world.establish()
    join(world.source("0"))
    waited: list[float] = []
    with pytest.raises(FencedError, match=rf"{world.group}: instance 0 already runs at .*127\.0\.0\.1") as caught:
        world.cluster.refuse_twin(waited.append)
    assert "stop it" in str(caught.value)
    assert sum(waited) > 6.0
    other = Cluster(world.properties, world.identity("1"))
    other.refuse_twin(pytest.fail)
    other.close()


def test_a_twin_that_leaves_is_waited_for(world: KafkaWorld) -> None:
    """A predecessor that is just stopping costs a moment, not the start."""
    world.establish()
    source = world.source("0")
    join(source)
    waits = iter([lambda: None, source.close])
    world.cluster.refuse_twin(lambda _: next(waits)())
    assert next(waits, None) is None


def test_a_dead_twin_is_waited_for(world: KafkaWorld) -> None:
    """After kill -9 the dead member stands in its group until its session is over; then the start goes on."""
    world.establish()
    arguments = [str(world.properties["bootstrap.servers"]), world.group, world.input]
    assert subprocess.run([sys.executable, "-c", MEMBER, *arguments], check=False, timeout=60).returncode == 9
    started = time.monotonic()
    world.cluster.refuse_twin(time.sleep)
    assert 1.0 < time.monotonic() - started < 12.0


def test_a_group_that_nobody_knows_has_no_twin(world: KafkaWorld) -> None:
    """The very first start has nothing to wait for."""
    world.cluster.refuse_twin(pytest.fail)


def test_a_topic_that_takes_small_batches_only_gets_them(world: KafkaWorld) -> None:
    """What a topic's `max.message.bytes` allows is known at the start, and a batch many times as large goes through."""
    small = f"{world.group}.small"
    admin = AdminClient({"bootstrap.servers": world.properties["bootstrap.servers"]})
    admin.create_topics([NewTopic(small, 2, config={"max.message.bytes": "20000"})])[small].result(30)
    world.cluster.reach()
    assert world.cluster.message_limit([world.decisions]) == 1_048_588 - 512
    limit = world.cluster.message_limit([world.decisions, small])
    assert limit == 20_000 - 512
    world.properties["message.max.bytes"] = limit
    world.establish()
    source = world.source()
    join(source)
    sink = world.sink()
    sink.begin()
    sink.publish(Outgoing(small, [None] * 500, [b"x" * 300] * 500, world.letters, []))
    sink.commit(next_offsets(world, 0, 0), source.membership(), 8.0)
    assert len(world.read(small)) == 500
