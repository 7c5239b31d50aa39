"""`make bench-flat`: does a scorer's memory, or its cost per event, grow with the events it has scored?

usage: python -m tests.bench.flat [--events N] [--mode MODE] [--json FILE] [--partitions 1,4,16,64]

One `scorer run` is fed slices of 250,000 events, each when the one before it is settled, so that the topics' retention
may be small. After each slice: resident memory, the part of it that is no mapped file (what can grow), the CPU µs
per event of the slice, and what the broker beside it took of the same cores, for the producer's events and the
scorer's. The aim is that memory at the end is within 2 % of that after 500,000. With `--partitions`: CPU µs per event
of 300,000 events from topics of so many partitions, each with a fresh scorer.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from rich.console import Console
from rich.table import Table

from scorer.broker.local import LocalBroker, free_ports
from tests.bench import printer, reference

SLICE = 250_000
FIRST = 500_000
"""Events after which memory is the yardstick: everything has happened once."""
AIM = 1.02
PARTITION_EVENTS = 300_000
WARM_EVENTS = 50_000
FEW = 1_000
RETENTION = {"segment.bytes": str(64 << 20), "retention.bytes": str(512 << 20)}
"""Of a partition, far more than a slice: what is not yet scored is never dropped."""
STALLED = 120.0
"""Seconds after which a slice that is not settled has failed."""

CONFIGURATION = """\
kafka: {{bootstrap.servers: "{bootstrap}"}}
group: "{target}"
delivery: {mode}
topics:
  {source}: {{bundle: "{bundle}", decisions: {target}, dead_letters: {target}.dlq}}
http: {{listen: "127.0.0.1:{port}"}}
"""


@dataclass(frozen=True, slots=True)
class Sight:
    """One scorer after so many events: resident and anonymous MB, and CPU µs per event since the sight before.

    `broker_us` are the broker's, and `broker_cores` is how many cores it kept busy meanwhile.
    """

    partitions: int
    events: int
    rss_mb: float
    anonymous_mb: float
    cpu_us: float
    broker_us: float
    broker_cores: float


class Feed:
    """Topics of one scorer, and how its events get there."""

    def __init__(self, bootstrap: str, source: str, target: str, partitions: int) -> None:
        """Create the topics."""
        self._source = source
        self._partitions = [TopicPartition(source, number) for number in range(partitions)]
        # Not the admin client's call for offsets: librdkafka 2.16 crashes where it is answered with an error.
        self._reader = Consumer({"bootstrap.servers": bootstrap, "group.id": target})
        make_topics(bootstrap, (source, target, f"{target}.dlq"), partitions, RETENTION)
        limits = {"queue.buffering.max.messages": 10_000_000, "queue.buffering.max.kbytes": 1 << 20}
        self._producer = Producer(
            {"bootstrap.servers": bootstrap, "linger.ms": 50, "batch.size": 1_000_000, "acks": 1, **limits}
        )
        self.fed = 0

    def give(self, events: Sequence[bytes], process: subprocess.Popen[bytes]) -> None:
        """Produce events, and wait until they are settled."""
        self.fill(events)
        self.await_settled(process)

    def fill(self, events: Sequence[bytes]) -> None:
        """Produce events."""
        messages = [{"value": value, "key": b"%d" % (number % 997)} for number, value in enumerate(events)]
        if self._producer.produce_batch(self._source, messages) != len(messages) or self._producer.flush(60):
            raise SystemExit("the broker did not take the events")
        self.fed += len(messages)

    def await_settled(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until the group has committed all that it was fed; raises SystemExit where its scorer has ended."""
        deadline = time.monotonic() + STALLED
        while self._committed() < self.fed:
            if process.poll() is not None:
                raise SystemExit(f"{process.args!r} ended with exit code {process.returncode}")
            if time.monotonic() > deadline:
                raise SystemExit(f"{self._source}: {self.fed:,} events are not settled after {STALLED:.0f} s")
            time.sleep(0.05)

    def _committed(self) -> int:
        try:
            return sum(max(tp.offset, 0) for tp in self._reader.committed(self._partitions, 5.0))
        except KafkaException:
            return 0  # the group is being made


def make_topics(bootstrap: str, names: Sequence[str], partitions: int, settings: Mapping[str, str]) -> None:
    """Create topics."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for made in admin.create_topics([NewTopic(name, partitions, 1, config=dict(settings)) for name in names]).values():
        made.result()


def configure(directory: Path, bootstrap: str, source: str, target: str, mode: str) -> Path:
    """Write the configuration of a scorer from one topic to another, all else as it comes, and return its path."""
    path = directory / f"{target}.yaml"
    places = {"bootstrap": bootstrap, "source": source, "target": target, "bundle": directory / "bundle"}
    path.write_text(CONFIGURATION.format(**places, mode=mode, port=free_ports(1)[0]))
    return path


@contextmanager
def running(*arguments: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run Python with these arguments until the end of the block; what it logged is printed where it failed."""
    with log.open("wb") as file, subprocess.Popen([sys.executable, *arguments], stderr=file) as process:
        try:
            yield process
        except BaseException:
            sys.stderr.write("\n".join(log.read_text().splitlines()[-5:]) + "\n")
            raise
        finally:
            process.terminate()
            try:
                process.wait(30)
            finally:
                process.kill()


def watch(
    directory: Path, broker: LocalBroker, mode: str, partitions: int, slices: Sequence[Sequence[bytes]]
) -> Iterator[Sight]:
    """Feed slices to a fresh scorer, and yield what it takes after each."""
    source, target = f"in{partitions}", f"out{partitions}"
    feed = Feed(broker.bootstrap, source, target, partitions)
    path = configure(directory, broker.bootstrap, source, target, mode)
    with running("-m", "scorer", "run", str(path), log=path.with_suffix(".log")) as process:
        feed.give(slices[0][:FEW], process)  # it has started when these are settled
        watched, fed = [psutil.Process(pid) for pid in (process.pid, broker.pid)], 0
        before, began = [_cpu(one) for one in watched], time.monotonic()
        for events in slices:
            feed.give(events, process)
            fed += len(events)
            after, ended = [_cpu(one) for one in watched], time.monotonic()
            memory = _memory(process.pid)
            own, brokers = (spent - earlier for spent, earlier in zip(after, before, strict=True))
            costs = own / len(events) * 1e6, brokers / len(events) * 1e6, brokers / (ended - began)
            yield Sight(partitions, fed, memory["Rss"], memory["Anonymous"], *costs)
            before, began = after, ended


def _cpu(watched: psutil.Process) -> float:
    times = watched.cpu_times()
    return float(times.user + times.system)


def _memory(pid: int) -> dict[str, float]:
    """Return a process's memory in MB, by the kernel's names."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {name: int(rest.split()[0]) / 1024 for name, rest in (line.split(":") for line in lines)}


def report(sights: Sequence[Sight], console: Console, *, by_partitions: bool) -> None:
    """Print what was seen, memory as ratios to that after the first half million."""
    first = next((sight for sight in sights if sight.events >= FIRST), sights[-1])
    table = Table(title="scorer run, one process")
    for heading in (
        "parts",
        "events",
        "RSS MB",
        "of first",
        "anon MB",
        "of first",
        "CPU µs/event",
        "broker's",
        "its cores",
    ):
        table.add_column(heading, justify="right")
    for sight in sights:
        known = not by_partitions and sight.events >= FIRST
        rss, own = sight.rss_mb / first.rss_mb, sight.anonymous_mb / first.anonymous_mb
        ratios = (f"{rss:.3f}", f"{own:.3f}") if known else ("", "")
        sizes = (f"{sight.rss_mb:.0f}", ratios[0], f"{sight.anonymous_mb:.0f}", ratios[1])
        costs = (f"{sight.cpu_us:.2f}", f"{sight.broker_us:.2f}", f"{sight.broker_cores:.2f}")
        table.add_row(str(sight.partitions), f"{sight.events:,}", *sizes, *costs)
    console.print(table)
    if not by_partitions:
        last = sights[-1]
        grown = f"{last.rss_mb / first.rss_mb:.3f} of that after {first.events:,} (aim: ≤ {AIM})"
        console.print(f"RSS after {last.events:,} events: {grown}", highlight=False)


def main() -> None:
    """Feed, watch and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.flat", description="memory and cost, as events go by")
    parser.add_argument("--events", type=int, default=5_000_000)
    parser.add_argument("--mode", choices=("exactly-once", "at-least-once"), default="exactly-once")
    parser.add_argument("--partitions", help="comma-separated: the cost per event with each of these instead")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    console, sights = printer(), list[Sight]()
    events = reference.values(PARTITION_EVENTS if arguments.partitions else SLICE)
    with tempfile.TemporaryDirectory() as name, LocalBroker(Path(name) / "kafka") as broker:
        directory = Path(name)
        reference.pack_bundle(directory / "bundle")
        for count in map(int, (arguments.partitions or "4").split(",")):
            slices = [events] * max(arguments.events // SLICE, 1)
            if arguments.partitions:
                slices = [events[:WARM_EVENTS], events]
            seen = list(watch(directory, broker, arguments.mode, count, slices))
            sights += seen[1:] if arguments.partitions else seen
    report(sights, console, by_partitions=bool(arguments.partitions))
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(sight) for sight in sights], indent=1))


if __name__ == "__main__":
    main()
