"""The two worlds in which the contract's promises are tested: one process's memory, and a real Kafka."""

# ruff: noqa: ARG002, D102 - World documents the methods of both worlds

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from ctypes import CDLL, Structure, Union, c_char, c_char_p, c_int, c_size_t, c_void_p, create_string_buffer
from pathlib import Path
from typing import Protocol, TypeAlias

import confluent_kafka
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka import IsolationLevel as Isolation
from confluent_kafka.admin import AdminClient, OffsetSpec
from confluent_kafka.cimpl import NewTopic

from scorer.broker.contract import Haul, Sink, Source
from scorer.broker.kafka import Cluster, Identity, KafkaSink, KafkaSource, Trouble
from scorer.broker.memory import MemoryBroker, MemorySink, MemorySource
from scorer.broker.memory.cluster import Fate
from scorer.records import Header, Offsets, Partition, Records

Row: TypeAlias = tuple[int, int, bytes | None]
"""Partition, offset and value."""
Seen: TypeAlias = tuple[bytes | None, bytes | None, Sequence[Header]]
"""Key, value and headers, as a `read_committed` consumer sees them."""

PARTITIONS = 2


class World(Protocol):
    """A cluster with an input of two partitions, a topic of decisions and one of dead letters."""

    input: str
    decisions: str
    letters: str

    def now(self) -> float: ...
    def source(self, instance: str = "0", *, patience: float = 300.0) -> Source:
        """Return a member that the group throws out after `patience` seconds without a poll."""

    def sink(self, instance: str = "0", *, transactional: bool = True) -> Sink: ...
    def establish(self) -> None: ...
    def produce(
        self,
        *values: bytes | None,
        partition: int = 0,
        key: bytes | None = None,
        headers: Sequence[Header] = (),
        timestamp: int = 1_542_672_000_000,
    ) -> None: ...
    def produce_unreadable_header(self) -> None: ...
    def read(self, topic: str, *, settled: bool = True) -> list[Seen]:
        """Return what a `read_committed` consumer sees; `settled` waits until no transaction is open in the topic."""

    def delete_before(self, offset: int) -> None: ...


class MemoryWorld:
    """Time passes only where a poll waits."""

    def __init__(self) -> None:
        self.input, self.decisions, self.letters = "input", "decisions", "letters"
        self._now = 0.0
        self._sleepers: list[tuple[float, MemorySource]] = []
        topics = dict.fromkeys((self.input, self.decisions, self.letters), PARTITIONS)
        self.broker = MemoryBroker(topics, pause=self._pass)

    def now(self) -> float:
        return self._now

    def source(self, instance: str = "0", *, patience: float = 300.0) -> Source:
        source = MemorySource(self.broker, "group", [self.input])
        self._sleepers.append((self._now + patience, source))
        return source

    def sink(self, instance: str = "0", *, transactional: bool = True) -> Sink:
        return MemorySink(self.broker, "group", f"group-{instance}" if transactional else None)

    def establish(self) -> None:
        self.broker.establish("group", self.input)

    def produce(
        self,
        *values: bytes | None,
        partition: int = 0,
        key: bytes | None = None,
        headers: Sequence[Header] = (),
        timestamp: int = 1_542_672_000_000,
    ) -> None:
        for value in values:
            at = Partition(self.input, partition)
            self.broker.produce(at, value, key=key, headers=headers, timestamp=timestamp)

    def produce_unreadable_header(self) -> None:
        self.broker.produce(Partition(self.input, 0), b"value", headers=[(b"\xff", b"content")])

    def read(self, topic: str, *, settled: bool = True) -> list[Seen]:
        logs = [log for partition, log in self.broker.logs.items() if partition.topic == topic]
        assert not (settled and any(entry.transaction.fate is Fate.OPEN for log in logs for entry in log.entries))
        return self.broker.read_committed(topic)

    def delete_before(self, offset: int) -> None:
        self.broker.logs[Partition(self.input, 0)].low = offset

    def _pass(self, seconds: float) -> None:
        self._now += seconds
        for deadline, source in self._sleepers:
            if deadline <= self._now:
                self.broker.evict("group", source.member)


class KafkaWorld:
    """Fresh topics and a fresh group on a real cluster; sources and sinks are closed by `stack`."""

    def __init__(self, bootstrap: str, stack: ExitStack) -> None:
        name = uuid.uuid4().hex[:12]
        self.input, self.decisions, self.letters = (f"{name}.{end}" for end in ("input", "decisions", "letters"))
        self.group = f"group-{name}"
        self.heard: list[Trouble] = []
        self.properties: dict[str, str | int | float | bool] = {
            "bootstrap.servers": bootstrap,
            "session.timeout.ms": 6000,
            "heartbeat.interval.ms": 200,  # members hear of a rebalance at a heartbeat
            "fetch.wait.max.ms": 50,
        }
        self._bootstrap = {"bootstrap.servers": bootstrap}
        self._stack = stack
        self._producer = Producer(self._bootstrap)
        self._admin = AdminClient(self._bootstrap)
        self._admin.create_topics([NewTopic(self.input, PARTITIONS)])[self.input].result(30)
        self.cluster = Cluster(self.properties, self.identity())
        stack.callback(self.cluster.close)
        self.cluster.ensure_topics([self.input], dict.fromkeys((self.decisions, self.letters), self.input), create=True)

    def identity(self, instance: str = "0") -> Identity:
        return Identity(self.group, instance)

    def now(self) -> float:
        return time.monotonic()

    def source(self, instance: str = "0", *, patience: float = 300.0) -> Source:
        properties = {**self.properties, "max.poll.interval.ms": int(patience * 1000)}
        source = KafkaSource(properties, self.identity(instance), [self.input], hear=self.heard.append)
        self._stack.callback(_close, source)
        return source

    def sink(self, instance: str = "0", *, transactional: bool = True) -> Sink:
        identity = self.identity(instance)
        sink = KafkaSink(self.properties, identity, transactional=transactional, hear=self.heard.append)
        self._stack.callback(_close, sink)
        return sink

    def establish(self) -> None:
        assert self.cluster.establish(self.cluster.shapes([self.input]), "earliest") == {}

    def produce(
        self,
        *values: bytes | None,
        partition: int = 0,
        key: bytes | None = None,
        headers: Sequence[Header] = (),
        timestamp: int = 1_542_672_000_000,
    ) -> None:
        for value in values:
            self._producer.produce(
                self.input, value, key, partition=partition, headers=list(headers), timestamp=timestamp
            )
        assert self._producer.flush(30) == 0

    def produce_unreadable_header(self) -> None:
        produce_raw(self._bootstrap["bootstrap.servers"], self.input, b"value", (b"\xff", b"content"))

    def read(self, topic: str, *, settled: bool = True) -> list[Seen]:
        reader = Consumer(
            {
                **self._bootstrap,
                "group.id": "reader",
                "enable.partition.eof": True,
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 20,
            }
        )
        if settled:  # the markers that end a transaction are written just after its commit is answered
            until(lambda: self._end(topic, Isolation.READ_COMMITTED) == self._end(topic, Isolation.READ_UNCOMMITTED))
        reader.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
        seen: dict[int, list[Seen]] = {number: [] for number in range(PARTITIONS)}
        unfinished = set(seen)
        deadline = time.monotonic() + 30
        while unfinished:
            assert time.monotonic() < deadline, f"{topic} cannot be read to its end"
            for message in reader.consume(1000, 0.05):
                number = message.partition()
                assert number is not None
                if error := message.error():
                    assert error.code() == KafkaError._PARTITION_EOF, error
                    unfinished.discard(number)
                else:
                    seen[number].append((message.key(), message.value(), message.headers() or []))
        reader.close()
        return [record for part in seen.values() for record in part]

    def _end(self, topic: str, isolation: Isolation) -> list[int]:
        ends = {TopicPartition(topic, number): OffsetSpec.latest() for number in range(PARTITIONS)}
        answers = self._admin.list_offsets(ends, isolation_level=isolation)
        return [answers[position].result(30).offset for position in ends]

    def delete_before(self, offset: int) -> None:
        for future in self._admin.delete_records([TopicPartition(self.input, 0, offset)]).values():
            future.result(30)


def _close(end: Source | Sink) -> None:
    with suppress(RuntimeError, KafkaException):  # closed by the test, or fenced by it
        end.close()


def rows(*hauls: Haul | Records) -> list[Row]:
    """Return what hauls brought, in their order."""
    parts = [part for each in hauls for part in (each.records if isinstance(each, Haul) else (each,))]
    return [row for part in parts for row in zip(part.partitions, part.offsets, part.values, strict=True)]


def until(done: Callable[[], bool], *sources: Source, seconds: float = 40.0) -> None:
    """Poll the sources in turn, dropping what they bring, until `done()`."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "the promise was not kept in time"
        for source in sources:
            source.poll(1, 0.05)


def join(source: Source) -> None:
    """Poll until the group has given this source both partitions."""
    assigned: set[Partition] = set()
    for _ in range(600):
        for rebalance in source.poll(1, 0.1).rebalances:
            assigned |= set(rebalance.partitions)
        if len(assigned) == PARTITIONS:
            source.rewind()
            return
    raise AssertionError("the group gave no partitions")


def gather(source: Source, count: int) -> Records:
    """Poll until `count` records came, and return them as one batch."""
    parts: list[Records] = []
    for _ in range(600):
        parts += source.poll(count - sum(map(len, parts)), 0.1).records
        if sum(map(len, parts)) == count:
            return Records.join(parts)
    raise AssertionError(f"{sum(map(len, parts))} of {count} records came")


def next_offsets(world: World, *offsets: int) -> Offsets:
    """Return offsets of the input's partitions 0, 1, … in turn."""
    return {Partition(world.input, number): offset for number, offset in enumerate(offsets)}


class _Memory(Structure):
    _fields_ = (("content", c_char_p), ("size", c_size_t))


class _Header(Structure):
    _fields_ = (("name", c_char_p), ("content", c_char_p), ("size", c_size_t))


class _Value(Union):
    _fields_ = (("text", c_char_p), ("number", c_int), ("memory", _Memory), ("header", _Header), ("room", c_char * 64))


class _Argument(Structure):
    """`rd_kafka_vu_t`."""

    _fields_ = (("kind", c_int), ("value", _Value))


def produce_raw(bootstrap: str, topic: str, value: bytes, header: tuple[bytes, bytes]) -> None:
    """Produce to partition 0 with a header name that the Python client would refuse; librdkafka's C API takes any."""
    bundled = Path(confluent_kafka.__file__).parent.parent / "confluent_kafka.libs"
    library = CDLL(str(next(bundled.glob("librdkafka-*.so*"))))
    for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_produceva"):
        getattr(library, name).restype = c_void_p
    said = create_string_buffer(512)
    conf = c_void_p(library.rd_kafka_conf_new())
    library.rd_kafka_conf_set(conf, b"bootstrap.servers", bootstrap.encode(), said, c_size_t(512))
    client = c_void_p(library.rd_kafka_new(c_int(0), conf, said, c_size_t(512)))
    arguments = (_Argument * 4)(
        _Argument(1, _Value(text=topic.encode())),
        _Argument(3, _Value(number=0)),  # partition
        _Argument(4, _Value(memory=_Memory(value, len(value)))),
        _Argument(9, _Value(header=_Header(header[0], header[1], len(header[1])))),
    )
    assert library.rd_kafka_produceva(client, arguments, c_size_t(4)) is None
    assert library.rd_kafka_flush(client, c_int(30_000)) == 0
    library.rd_kafka_destroy(client)
