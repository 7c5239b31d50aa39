"""`make bench-latency`: how long is an event on its way, from when it was due until its decision can be read?

usage: python -m tests.bench.latency [--rates 1000,5000,20000] [--seconds N] [--rounds N] [--idle] [--json FILE]

One process produces at a steady rate, another reads `read_committed`, between them either `scorer run` as it comes or
an echo of the same broker (`passthrough.py`), in both delivery modes. An event's time counts from when it was *due*,
so that a producer or broker that falls behind hides nothing. The first seconds are not counted; rounds are interleaved,
medians of the rounds' percentiles. `--idle`: lone events, one a second.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import multiprocessing
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import cast

import numpy as np
from confluent_kafka import Consumer, Producer, TopicPartition
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from scorer.broker.local import LocalBroker
from tests.bench import printer, reference
from tests.bench.flat import configure, make_topics, running

MODES = ("at-least-once", "exactly-once")
PROGRAMS = ("echo", "scorer run")
PARTITIONS = 4
STEP = 0.001
"""Seconds between two groups of events."""
WARM = 3.0
"""Seconds at the beginning of each run that are not counted."""
LEAD = 1.5
"""Seconds for reader and producer to be ready before the first event is due."""
PATIENCE = 90.0
"""Seconds after the last event was due within which its decision must come."""
IDLE_SECONDS = 20.0
RANKS = {"p50": 500, "p95": 950, "p99": 990, "p99.9": 999, "max": 1000}
"""How many of a thousand events took no longer."""
AIMS = {("at-least-once", 1000): 2.0, ("exactly-once", 1000): 4.5, ("exactly-once", 20_000): 10.0}
"""How many times the echo's p99 a scorer's may be."""
NUMBER = re.compile(rb'"(?:event_)?id":(\d+)')
"""The event's number, in an event as in a decision."""


@dataclass(frozen=True, slots=True)
class Run:
    """One program at one rate: percentiles of the events' times, in ms, by name."""

    program: str
    mode: str
    rate: int
    ms: dict[str, float]


def percentiles(seconds: NDArray[np.float64]) -> dict[str, float]:
    """Return each rank's value in ms, one that was seen: at least that share of the events took no longer."""
    ordered = np.sort(seconds) * 1000
    return {name: float(ordered[-(-len(ordered) * share // 1000) - 1]) for name, share in RANKS.items()}


def produce(bootstrap: str, topic: str, rate: int, count: int, begin: float) -> None:
    """Produce `count` events, the n-th due at `begin + n / rate` of the machine's monotonic clock."""
    gc.disable()
    bodies = [value.partition(b",")[2] for value in reference.values(1000)]
    # Few requests at once: with the client's million, a busy broker is sent one a record, and they queue up there.
    sending = {"linger.ms": 1, "acks": 1, "max.in.flight": 5}
    producer = Producer({"bootstrap.servers": bootstrap, **sending})
    producer.list_topics(topic, 10)  # connected before the first is due
    epoch = time.time() - time.monotonic()
    sent = 0
    while sent < count:
        due = min(math.floor((time.monotonic() - begin) * rate) + 1, count)
        for number in range(sent, due):
            stamp = int((epoch + begin + number / rate) * 1000)
            value = b'{"id":%d,%b' % (number, bodies[number % 1000])
            producer.produce(topic, value, b"%d" % (number % 997), timestamp=stamp)
        sent = max(sent, due)
        producer.poll(0)
        time.sleep(max(begin + sent / rate - time.monotonic(), STEP) if sent < count else 0)
    if producer.flush(30):
        raise RuntimeError("the broker did not take the events")


def read(
    bootstrap: str, topic: str, rate: int, count: int, begin: float, *, starts: Sequence[int]
) -> NDArray[np.float64]:
    """Return for each of `count` events the seconds from when it was due until it could be read (float64).

    `starts` are the offsets from which to read, by partition.
    """
    gc.disable()
    settings = {"group.id": "reader", "isolation.level": "read_committed", "fetch.wait.max.ms": 5}
    consumer = Consumer({"bootstrap.servers": bootstrap, "fetch.queue.backoff.ms": 1, **settings})
    consumer.assign([TopicPartition(topic, number, start) for number, start in enumerate(starts)])
    arrived: list[tuple[float, list[bytes]]] = []
    missing, deadline = count, begin + count / rate + PATIENCE
    while missing > 0:
        first = consumer.consume(1, 0.1)
        messages = first + consumer.consume(5000, 0) if first else []
        now = time.monotonic()
        values = [cast(bytes, message.value()) for message in messages if message.error() is None]
        arrived.append((now, values))
        missing -= len(values)
        if now > deadline:
            raise RuntimeError(f"{topic}: {missing} of {count} events not decided within {PATIENCE:.0f} s")
    consumer.close()
    return first_seen(arrived, count) - begin - np.arange(count) / rate


def first_seen(arrived: Sequence[tuple[float, Sequence[bytes]]], count: int) -> NDArray[np.float64]:
    """Return when each of `count` events came first: at-least-once, one may come again."""
    came = np.full(count, np.nan)
    for now, values in reversed(arrived):
        came[[int(cast("re.Match[bytes]", NUMBER.search(value))[1]) for value in values]] = now
    if np.isnan(came).any():
        raise RuntimeError(f"{int(np.isnan(came).sum())} of {count} events were not decided, others twice")
    return came


class Bench:
    """A local Kafka, both programs running in both modes, and two processes for the ends."""

    def __init__(self, directory: Path, broker: LocalBroker, ends: Executor, stack: ExitStack) -> None:
        """Start the programs, and wait until each has passed a few events on."""
        self._bootstrap = broker.bootstrap
        self._ends = ends
        list(ends.map(time.sleep, (LEAD, LEAD)))  # both have started
        self._asking = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "bench"})
        self._topics: dict[tuple[str, str], tuple[str, str]] = {}
        for program, mode in subjects():
            name = f"{program.split()[0]}-{mode}"
            source, target = self._topics[program, mode] = f"{name}-in", f"{name}-out"
            make_topics(self._bootstrap, (source, target, f"{target}.dlq"), PARTITIONS, {})
            path = configure(directory, self._bootstrap, source, target, mode)
            scorer = ("-m", "scorer", "run", str(path))
            echo = ("-m", "tests.bench.passthrough", self._bootstrap, source, target, mode, "echo")
            arguments = echo if program == "echo" else scorer
            stack.enter_context(running(*arguments, log=path.with_suffix(".log")))
        for program, mode in subjects():
            self.run(program, mode, 100, 0.5)

    def run(self, program: str, mode: str, rate: int, seconds: float) -> Run:
        """Send events through a program at a rate, and say how long they took."""
        source, target = self._topics[program, mode]
        places = [TopicPartition(target, number) for number in range(PARTITIONS)]
        starts = [self._asking.get_watermark_offsets(place, 10)[1] for place in places]
        begin = time.monotonic() + LEAD
        count = int(rate * (WARM + seconds))
        reader = self._ends.submit(read, self._bootstrap, target, rate, count, begin, starts=starts)
        self._ends.submit(produce, self._bootstrap, source, rate, count, begin).result()
        return Run(program, mode, rate, percentiles(reader.result()[int(rate * WARM) :]))


def subjects() -> Iterator[tuple[str, str]]:
    """Yield each program in each mode, the two of a mode beside each other."""
    for mode in MODES:
        for program in PROGRAMS:
            yield program, mode


def medians(runs: Sequence[Run], program: str, mode: str, rate: int) -> dict[str, float]:
    """Return the median over the rounds of each percentile, in ms."""
    those = [run.ms for run in runs if (run.program, run.mode, run.rate) == (program, mode, rate)]
    return {name: median(ms[name] for ms in those) for name in RANKS}


def report(runs: Sequence[Run], console: Console) -> None:
    """Print the times at each rate, and a scorer's p99 as a multiple of the echo's of the same mode."""
    table = Table(title="ms from event due to decision readable (read_committed); p99 as a multiple of the echo's")
    for heading in ("events/s", "delivery", "program", *RANKS, "of echo", "aim"):
        table.add_column(heading, justify="left" if heading in {"delivery", "program"} else "right", no_wrap=True)
    for rate in sorted({run.rate for run in runs}):
        for program, mode in subjects():
            ms = medians(runs, program, mode, rate)
            ratio = ms["p99"] / medians(runs, "echo", mode, rate)["p99"]
            aim = AIMS.get((mode, rate))
            told = ("", "") if program == "echo" else (f"{ratio:.1f}x", f"≤ {aim:g}x" if aim else "")
            table.add_row(f"{rate:,}", mode, program, *(f"{ms[name]:.1f}" for name in RANKS), *told)
    console.print(table)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="make bench-latency ARGS=…", description="how long events are on their way")
    parser.add_argument("--rates", default="1000,5000,20000", help="events a second, comma-separated")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each run, counted")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--idle", action="store_true", help="lone events, one a second, instead")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    console, runs = printer(), list[Run]()
    rates = [1] if arguments.idle else [int(rate) for rate in arguments.rates.split(",")]
    seconds = IDLE_SECONDS if arguments.idle else arguments.seconds
    with tempfile.TemporaryDirectory() as name, LocalBroker(Path(name) / "kafka") as broker, ExitStack() as stack:
        directory = Path(name)
        reference.pack_bundle(directory / "bundle")
        ends = stack.enter_context(ProcessPoolExecutor(2, multiprocessing.get_context("spawn")))
        bench = Bench(directory, broker, ends, stack)
        for _ in range(arguments.rounds):
            for rate in rates:
                for program, mode in subjects():
                    runs.append(bench.run(program, mode, rate, seconds))
                    told = ", ".join(f"{name} {ms:.1f}" for name, ms in runs[-1].ms.items())
                    console.print(f"{rate:,}/s, {mode}, {program}: {told} ms", highlight=False)
    report(runs, console)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(run) for run in runs], indent=1))


if __name__ == "__main__":
    main()
