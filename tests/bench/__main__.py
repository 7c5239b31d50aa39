"""`make bench`: what is fast, beside what it is measured against, as ratios of one run.

usage: python -m tests.bench [stream|transform] [--events N] [--rounds N] [--json FILE]

`transform` puts the compiled preprocessing beside NumPy by hand and scikit-learn. `stream` puts `scorer run` beside a
bare pass-through, both on one local Kafka: each program is started on an empty topic, halted when it is ready, given
all events, and let go, so it neither shares the cores with the producer, nor is its start counted. Events per second
come from the timestamps of the first and last record that it published; CPU is the process's own, the broker's is not
counted. Rounds are interleaved; medians.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import psutil
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from rich.console import Console
from rich.table import Table

from scorer.broker.kafka import Cluster, Identity
from scorer.broker.local import LocalBroker, free_ports
from tests.bench import reference, transform

MODES = ("at-least-once", "exactly-once")
PARTITIONS = 4
READY_SECONDS = 120.0
TRANSFORM_ROUNDS = 60
"""Of some hundredths of a second each: short, so that what else the machine does falls on all alike."""

CONFIGURATION = """\
kafka: {{bootstrap.servers: "{bootstrap}"}}
group: "{target}"
delivery: {mode}
topics:
  {source}: {{bundle: {bundle}, decisions: {target}, dead_letters: {target}.dlq}}
http: {{listen: "127.0.0.1:{port}"}}
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """One program's run: which, in which mode; events per second, CPU µs per event, and resident MB at its end."""

    program: str
    mode: str
    events_per_second: float
    cpu_us: float
    rss_mb: float


class Bench:
    """A local Kafka, the reference events, and the programs to be measured on them."""

    def __init__(self, directory: Path, broker: LocalBroker, events: Sequence[bytes]) -> None:
        self._directory = directory
        self._broker = broker
        self._events = events
        self._admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        self._count = 0

    def measure(self, program: str, mode: str) -> Sample:
        """Run one program on fresh topics."""
        self._count += 1
        source, target = f"in{self._count}", f"out{self._count}"
        cluster = Cluster({"bootstrap.servers": self._broker.bootstrap}, Identity("bench", "0"))
        topics = {target: source, f"{target}.dlq": source}
        cluster.ensure_topics([source], topics, create=True, partitions=PARTITIONS)
        cluster.close()
        start = self._scorer if program == "scorer run" else self._passthrough
        process = start(source, target, mode)
        try:
            self._await_member(target, process)
            rate, cpu, rss = self._timed(process, source, target)
            return Sample(program, mode, rate, cpu, rss)
        finally:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            process.wait(30)

    def _timed(self, process: subprocess.Popen[bytes], source: str, target: str) -> tuple[float, float, float]:
        process.send_signal(signal.SIGSTOP)
        self._fill(source)
        watched = psutil.Process(process.pid)
        before = watched.cpu_times()
        process.send_signal(signal.SIGCONT)
        self._await(lambda: _quietly(lambda: self._settled(source, target)), process)
        after = watched.cpu_times()
        cpu = (after.user + after.system) - (before.user + before.system)
        first, last = self._span(target)
        rate = len(self._events) / max((last - first) / 1000, 1e-3)
        return rate, cpu / len(self._events) * 1e6, watched.memory_info().rss / 1e6

    def _passthrough(self, source: str, target: str, mode: str) -> subprocess.Popen[bytes]:
        arguments = ["-m", "tests.bench.passthrough", self._broker.bootstrap, source, target, mode]
        return subprocess.Popen([sys.executable, *arguments])

    def _scorer(self, source: str, target: str, mode: str) -> subprocess.Popen[bytes]:
        path = self._directory / f"{target}.yaml"
        port = free_ports(1)[0]
        bundle, bootstrap = self._directory / "bundle", self._broker.bootstrap
        path.write_text(
            CONFIGURATION.format(bootstrap=bootstrap, source=source, target=target, mode=mode, bundle=bundle, port=port)
        )
        with path.with_suffix(".log").open("wb") as log:
            return subprocess.Popen([sys.executable, "-m", "scorer", "run", str(path)], stdout=log, stderr=log)

    def _await_member(self, group: str, process: subprocess.Popen[bytes]) -> None:
        """Wait until the group's one member has its partitions."""

        def assigned() -> bool:
            found = self._admin.describe_consumer_groups([group])[group].result()
            return any(len(member.assignment.topic_partitions) == PARTITIONS for member in found.members)

        self._await(lambda: _quietly(assigned), process)

    def _fill(self, topic: str) -> None:
        producer = Producer(
            {
                "bootstrap.servers": self._broker.bootstrap,
                "queue.buffering.max.messages": len(self._events) + 1,
                "linger.ms": 50,
                "batch.size": 1_000_000,
            }
        )
        messages = [{"value": value, "key": b"%d" % (number % 997)} for number, value in enumerate(self._events)]
        producer.produce_batch(topic, messages)
        if producer.flush(120):
            raise SystemExit("the broker did not take the events in 120 s")

    def _await(self, done: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not done():
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{process.args!r} ended or hangs; its log is beside its configuration")
            time.sleep(0.1)

    def _settled(self, source: str, group: str) -> bool:
        """Return whether the group has committed the end of every partition."""
        wanted = self._admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group]
        committed = sum(tp.offset for tp in wanted.result().topic_partitions if tp.topic == source)
        return committed >= len(self._events)

    def _span(self, topic: str) -> tuple[int, int]:
        """Return the timestamps (ms) of the first and the last record published."""
        stamps = []
        for number in range(PARTITIONS):
            with _reader(self._broker.bootstrap) as consumer:
                low, high = consumer.get_watermark_offsets(TopicPartition(topic, number), 5.0)
                for offset in (low, max(low, high - 5)):
                    consumer.assign([TopicPartition(topic, number, offset)])
                    message = consumer.poll(10)
                    if message is not None and message.error() is None:
                        stamps.append(message.timestamp()[1])
        return min(stamps), max(stamps)


def _reader(bootstrap: str) -> Consumer:
    return Consumer({"bootstrap.servers": bootstrap, "group.id": "bench-reader", "enable.auto.commit": False})


def _quietly(question: Callable[[], bool]) -> bool:
    try:
        return question()
    except KafkaException:
        return False


def report(samples: Sequence[Sample], console: Console) -> None:
    """Print medians, and the ratios to the pass-through of the same mode."""
    table = Table(title=f"{platform.machine()}, {os.cpu_count()} cores, one process each, broker on the same machine")
    for heading in ("program", "delivery", "events/s", "of pass-through", "CPU µs/event", "times", "RSS MB"):
        table.add_column(heading, justify="left" if heading in {"program", "delivery"} else "right")
    for mode in MODES:
        base = _median(samples, "pass-through", mode)
        for program in ("pass-through", "scorer run"):
            this = _median(samples, program, mode)
            rate = f"{this.events_per_second / base.events_per_second:.2f}"
            cpu = f"{this.cpu_us / base.cpu_us:.2f}"
            row = (f"{this.events_per_second:,.0f}", rate, f"{this.cpu_us:.2f}", cpu, f"{this.rss_mb:.0f}")
            table.add_row(program, mode, *row)
    console.print(table)


def _median(samples: Sequence[Sample], program: str, mode: str) -> Sample:
    those = [sample for sample in samples if (sample.program, sample.mode) == (program, mode)]
    rate, cpu, rss = (median(getattr(s, name) for s in those) for name in ("events_per_second", "cpu_us", "rss_mb"))
    return Sample(program, mode, rate, cpu, rss)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description="speed, as ratios of one run")
    parser.add_argument("part", nargs="?", choices=("stream", "transform"), help="only this one")
    parser.add_argument("--events", type=int, default=400_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        if arguments.part != "stream":
            transform.report(transform.measure(directory, TRANSFORM_ROUNDS), console)
        if arguments.part != "transform":
            samples = stream(directory, arguments.events, arguments.rounds, console)
            report(samples, console)
            if arguments.json:
                arguments.json.write_text(json.dumps([asdict(sample) for sample in samples], indent=1))


def stream(directory: Path, count: int, rounds: int, console: Console) -> list[Sample]:
    """Measure both programs in both modes."""
    samples: list[Sample] = []
    reference.pack_bundle(directory / "bundle")
    events = reference.values(count)
    size = sum(map(len, events)) / len(events)
    console.print(f"{len(events):,} events of {size:.0f} bytes, {rounds} rounds")
    with LocalBroker(directory / "kafka") as broker:
        bench = Bench(directory, broker, events)
        for _ in range(rounds):
            for mode in MODES:
                for program in ("pass-through", "scorer run"):
                    samples.append(bench.measure(program, mode))
                    console.print(samples[-1], highlight=False)
    return samples


if __name__ == "__main__":
    main()
