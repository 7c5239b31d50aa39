"""`scorer run` and its peers beside a bare pass-through, all on one local Kafka.

Each program is started on empty topics, given some events to be warm, halted, given all events, and let go: it neither
shares the cores with the producer, nor is its start counted. Events per second come from the timestamps of the first
and the last record that it published after it was let go; CPU is the processes' own, the broker's is not counted;
start-up is from the start of the process to its group membership. A program whose decisions are not those of
`scorer run` is refused. Rounds are interleaved; medians.
"""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import BinaryIO

import psutil
from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from rich.console import Console

from scorer.broker.kafka import Cluster, Identity
from scorer.broker.local import LocalBroker
from tests.bench import reference
from tests.bench.peers.installing import ROOT, UnavailableError
from tests.bench.peers.programs import MODES, PROGRAMS, Program, Run

PARTITIONS = 4
READY_SECONDS = 180.0
CHECKED = 1000
"""Decisions of each program that are compared with the scorer's."""
TOLERANCE = 1e-5

Verdicts = dict[int, tuple[str, float]]
"""By event id: the name of the band, and the score."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One program's run: events per second, CPU µs per event, resident MB at its end, seconds from start to member."""

    workload: str
    program: str
    mode: str
    events: int
    events_per_second: float
    cpu_us: float
    rss_mb: float
    start_s: float


class RefusedError(Exception):
    """A program ended, hung, or decided otherwise than the scorer: it has no figures."""


@dataclass(frozen=True, slots=True)
class Started:
    """A program's processes, its topics, and how long it took to become a member of its group."""

    processes: list[subprocess.Popen[bytes]]
    source: str
    target: str
    seconds: float

    def send(self, number: signal.Signals) -> None:
        """Send all processes a signal."""
        for process in self.processes:
            process.send_signal(number)


class Bench:
    """A local Kafka, a workload, and the programs to be measured on it."""

    def __init__(self, directory: Path, broker: LocalBroker, workload: str, fields: Sequence[str], count: int) -> None:
        self._directory, self._broker, self._workload = directory / workload, broker, workload
        self._directory.mkdir()
        self._bundle, self._contract = self._directory / "bundle", self._directory / "contract.json"
        reference.pack_bundle(self._bundle, fields)
        reference.write_contract(self._contract, self._bundle, fields)
        self.events = reference.values(count, fields)
        self._admin = AdminClient({"bootstrap.servers": broker.bootstrap, "log_level": 0})
        self._count = 0
        self._checked: set[tuple[str, str]] = set()
        with self._started(next(p for p in PROGRAMS if p.name == "scorer"), "exactly-once") as scorer:
            self._settle(scorer, self.events[:CHECKED], CHECKED)
            self._truth = self._verdicts(scorer.target, CHECKED)

    def measure(self, program: Program, mode: str) -> Sample:
        """Run one program on fresh topics; raises RefusedError, or UnavailableError where it cannot be had."""
        timed = self.events[: program.most]
        with self._started(program, mode) as started:
            self._settle(started, list(islice(cycle(self.events), program.warm)), program.warm)
            marks = self._ends(started.target)
            started.send(signal.SIGSTOP)
            self._fill(started.source, timed)
            watched = [psutil.Process(process.pid) for process in started.processes]
            before = _cpu(watched)
            started.send(signal.SIGCONT)
            self._await(lambda: self._settled(started, program.warm + len(timed)), started.processes, started.target)
            cpu = (_cpu(watched) - before) / len(timed) * 1e6
            rss = sum(process.memory_info().rss for process in watched) / 1e6
            first, last = self._span(started.target, marks)
            rate = len(timed) / max((last - first) / 1000, 1e-3)
            if program.decides and (program.name, mode) not in self._checked:
                self._check(started.target, min(CHECKED, max(program.warm, len(timed))))
                self._checked.add((program.name, mode))
        return Sample(self._workload, program.name, mode, len(timed), rate, cpu, rss, started.seconds)

    @contextmanager
    def _started(self, program: Program, mode: str) -> Iterator[Started]:
        self._count += 1
        source, target = f"{self._workload}-in{self._count}", f"{self._workload}-out{self._count}"
        topics = [source, target, f"{target}.dlq"]
        cluster = Cluster({"bootstrap.servers": self._broker.bootstrap}, Identity("bench", "0"))
        cluster.ensure_topics([source], dict.fromkeys(topics[1:], source), create=True, partitions=PARTITIONS)
        cluster.close()
        ends = (self._directory, self._broker.bootstrap, source, target, mode)
        runs = [Run(*ends, number, self._bundle, self._contract) for number in range(program.processes)]
        commands = [program.command(run) for run in runs]
        began = time.monotonic()
        with ExitStack() as held:
            held.callback(self._delete, topics)
            log = held.enter_context(self._log(target).open("wb"))
            processes = [held.enter_context(_running(command, log)) for command in commands]
            self._await(lambda: self._assigned(target, len(processes)), processes, target)
            yield Started(processes, source, target, time.monotonic() - began)

    def _delete(self, topics: list[str]) -> None:
        for deleted in self._admin.delete_topics(topics).values():
            deleted.result()

    def _log(self, target: str) -> Path:
        return self._directory / f"{target}.log"

    def _assigned(self, group: str, members: int) -> bool:
        """Return whether the group has so many members, and they all partitions between them."""
        found = self._admin.describe_consumer_groups([group])[group].result()
        shares: list[int] = [len(member.assignment.topic_partitions) for member in found.members if member.assignment]
        return len(shares) == members and all(shares) and sum(shares) == PARTITIONS

    def _settle(self, started: Started, events: Sequence[bytes], committed: int) -> None:
        self._fill(started.source, events)
        self._await(lambda: self._settled(started, committed), started.processes, started.target)

    def _fill(self, topic: str, events: Sequence[bytes]) -> None:
        limits = {"queue.buffering.max.messages": len(events) + 1, "queue.buffering.max.kbytes": 1 << 21}
        settings = {"bootstrap.servers": self._broker.bootstrap, "linger.ms": 50, "batch.size": 1_000_000}
        producer = Producer({**settings, **limits})
        messages = [{"value": value, "key": b"%d" % (number % 997)} for number, value in enumerate(events)]
        if producer.produce_batch(topic, messages) != len(messages) or producer.flush(120):
            raise SystemExit("the broker did not take the events in 120 s")

    def _await(self, done: Callable[[], bool], processes: Sequence[subprocess.Popen[bytes]], target: str) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not _quietly(done):
            if time.monotonic() > deadline or any(process.poll() is not None for process in processes):
                said = self._log(target).read_text(errors="replace").strip().splitlines() or ["and said nothing"]
                raise RefusedError(f"ended or hangs: {said[-1][:200]}")
            time.sleep(0.05)

    def _settled(self, started: Started, count: int) -> bool:
        """Return whether the group has committed so many events."""
        wanted = self._admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(started.target)])
        found = wanted[started.target].result().topic_partitions or ()
        committed: int = sum(max(tp.offset, 0) for tp in found if tp.topic == started.source)
        return committed >= count

    def _ends(self, topic: str) -> list[int]:
        """Return where each partition ends now."""
        with _reader(self._broker.bootstrap) as consumer:
            where = (TopicPartition(topic, number) for number in range(PARTITIONS))
            return [consumer.get_watermark_offsets(partition, 10.0)[1] for partition in where]

    def _span(self, topic: str, marks: Sequence[int]) -> tuple[int, int]:
        """Return the timestamps (ms) of the first and the last record published from the marks on."""
        stamps = []
        for number, (mark, end) in enumerate(zip(marks, self._ends(topic), strict=True)):
            # The last offsets may be those of transaction markers.
            for offset in (mark, max(mark, end - 5)):
                with _reader(self._broker.bootstrap) as consumer:
                    consumer.assign([TopicPartition(topic, number, offset)])
                    message = consumer.poll(10)
                    if message is not None and message.error() is None:
                        stamps.append(message.timestamp()[1])
        return min(stamps), max(stamps)

    def _check(self, topic: str, count: int) -> None:
        """Raise RefusedError unless the decisions of the first `count` events are the scorer's."""
        found = self._verdicts(topic, count)
        if missing := count - len(found):
            raise RefusedError(f"{missing} of {count} events have no decision")
        for event, (band, score) in found.items():
            wanted, right = self._truth[event]
            if band != wanted or abs(score - right) > TOLERANCE:
                raise RefusedError(f"event {event}: {band} at {score}, where scorer says {wanted} at {right}")

    def _verdicts(self, topic: str, count: int) -> Verdicts:
        """Return the decisions of the first `count` events, as far as they come within 10 s."""
        found: Verdicts = {}
        deadline = time.monotonic() + 10
        with _reader(self._broker.bootstrap) as consumer:
            consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in range(PARTITIONS)])
            while len(found) < count and time.monotonic() < deadline:
                for message in consumer.consume(CHECKED, 0.2):
                    decision = json.loads(message.value() or b"{}")
                    if decision["event_id"] < count:
                        found[decision["event_id"]] = (decision["decision"], decision["score"])
        return found


def _reader(bootstrap: str) -> Consumer:
    """Return a consumer that sees every record: what a transaction published is looked at once it is committed."""
    settings = {"group.id": "bench-reader", "enable.auto.commit": False, "isolation.level": "read_uncommitted"}
    return Consumer({"bootstrap.servers": bootstrap, **settings})


def _cpu(watched: Sequence[psutil.Process]) -> float:
    return sum(times.user + times.system for times in (process.cpu_times() for process in watched))


def _quietly(question: Callable[[], bool]) -> bool:
    try:
        return question()
    except KafkaException:
        return False


@contextmanager
def _running(command: list[str], log: BinaryIO) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process, and end it, by force if it does not."""
    process = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was measured, and by workload, program and mode why some were not."""

    samples: list[Sample]
    refused: dict[tuple[str, str, str], str]


def measure(
    directory: Path, workloads: Sequence[str], programs: Sequence[Program], *, count: int, rounds: int, console: Console
) -> Outcome:
    """Measure the programs in their modes, round by round, on each workload."""
    outcome = Outcome([], {})
    with LocalBroker(directory / "kafka") as broker:
        for workload in workloads:
            fields = reference.WORKLOADS[workload]
            # As many fields in all: to fill takes about as long, and a halted member stays in its group.
            bench = Bench(directory, broker, workload, fields, count * len(reference.FEATURES) // len(fields))
            size = sum(map(len, bench.events)) / len(bench.events)
            console.print(f"{workload}: {len(bench.events):,} events of {size:.0f} bytes, {rounds} rounds")
            for _ in range(rounds):
                _round(bench, workload, programs, outcome, console)
    return outcome


def _round(bench: Bench, workload: str, programs: Sequence[Program], outcome: Outcome, console: Console) -> None:
    for mode, program in ((mode, program) for mode in MODES for program in programs if mode in program.modes):
        if (workload, program.name, mode) in outcome.refused:
            continue
        try:
            sample = bench.measure(program, mode)
            outcome.samples.append(sample)
            figures = f"{sample.events_per_second:,.0f} events/s, {sample.cpu_us:,.2f} µs, start {sample.start_s:.1f} s"
            console.print(f"  {program.label}, {mode}: {figures}", highlight=False)
        except (RefusedError, UnavailableError) as error:
            outcome.refused[workload, program.name, mode] = str(error)
            console.print(f"  {program.label}, {mode}: {error}", highlight=False)
