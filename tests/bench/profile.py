"""`make profile`: where a batch's time goes, stage by stage, measured inside the real service.

usage: python -m tests.bench.profile [--events N] [--mode MODE] [--json FILE]

A `scorer run` is started in a process of its own with its parts' methods wrapped from outside (the product has no such
switch), on a topic that is full already. Each stage's time is its own, without that of the stages called within it:
CPU of the loop's thread, and wall. Beside them: batches, collections of garbage, and what the process's other threads
(the Kafka client's, TensorFlow's) take. The first events are not counted.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import gc
import json
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from scorer.broker.local import LocalBroker
from scorer.records import Records
from tests.bench import printer, reference
from tests.bench.flat import Feed, configure, running

WARM_EVENTS = 50_000
PARTITIONS = 4
ROOMS = ("decode", "transform", "infer")
REST = "rest"
STAGES = (
    *("consume", "columns", "batcher, ledger", *ROOMS, "decide", "encode"),
    *("produce", "commit", "telemetry", REST),
)


class Watch:
    """Adds up each stage's own seconds: CPU of the calling thread, and wall."""

    def __init__(self) -> None:
        self.spent: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        self.calls: dict[str, int] = defaultdict(int)
        self._within = [[0.0, 0.0]]

    def of(self, stage: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return `call`, its time counted for `stage`."""

        @functools.wraps(call)
        def watched(*arguments: Any, **named: Any) -> Any:
            self._within.append([0.0, 0.0])
            cpu, wall = time.thread_time(), time.perf_counter()
            try:
                return call(*arguments, **named)
            finally:
                whole = (time.thread_time() - cpu, time.perf_counter() - wall)
                inner, outer, own = self._within.pop(), self._within[-1], self.spent[stage]
                self.calls[stage] += 1
                for kind in (0, 1):
                    own[kind] += whole[kind] - inner[kind]
                    outer[kind] += whole[kind]

        return watched


def places() -> dict[str, tuple[tuple[Any, str], ...]]:
    """Return by stage the methods and functions that it consists of: an owner and a name each."""
    from scorer import pipeline
    from scorer.broker.kafka import KafkaSink, KafkaSource, source
    from scorer.encode import Encoder
    from scorer.service import loop
    from scorer.service.batcher import Batcher
    from scorer.service.delivery import AtLeastOnce, ExactlyOnce
    from scorer.service.ledger import Ledger
    from scorer.telemetry import Telemetry

    return {
        "consume": ((KafkaSource, "_consumed"),),
        "columns": ((source, "by_topic"),),
        "batcher, ledger": (
            *((Batcher, name) for name in ("ask", "add", "due", "take")),
            *((Ledger, name) for name in ("take", "earn")),
        ),
        "decide": ((pipeline, "decide"),),
        "encode": ((Encoder, "oversize"), (Encoder, "__call__")),
        "produce": ((KafkaSink, "publish"),),
        "commit": (
            (KafkaSink, "begin"),
            *((kind, "_finish") for kind in (ExactlyOnce, AtLeastOnce)),  # what is left of the wait
            *((KafkaSource, name) for name in ("membership", "commit")),
        ),
        "telemetry": ((Telemetry, "tell"), (Telemetry, "beat"), (loop.Service, "_tell")),
        REST: ((loop.Service, "turn"),),
    }


def wrap(watch: Watch) -> None:
    """Put the watch around the service's parts."""
    from scorer import pipeline
    from scorer.service import loop

    for stage, parts in places().items():
        for owner, name in parts:
            setattr(owner, name, watch.of(stage, getattr(owner, name)))
    process = pipeline.process
    lanes: dict[str, pipeline.Lane] = {}

    def processed(records: Records, lane: pipeline.Lane, clock: pipeline.Clock, first_seen: float) -> pipeline.Outcome:
        if records.topic not in lanes:
            rooms: dict[str, Any] = {room: watch.of(room, getattr(lane, room)) for room in ROOMS}
            lanes[records.topic] = dataclasses.replace(lane, **rooms)
        return process(records, lanes[records.topic], clock, first_seen)

    vars(loop)["process"] = processed


class Meter:
    """What the process takes besides: batches, garbage, threads. Written to a file once enough events are settled."""

    def __init__(self, watch: Watch, events: int, path: Path) -> None:
        self._watch, self._events, self._path = watch, events, path
        self._batches, self._pauses, self._begun = 0, [0.0], 0.0
        self._start: dict[str, float] | None = None
        gc.callbacks.append(self._collected)

    def after(self, service: Any) -> None:
        """Begin to count after the first events, and write what was counted at the end."""
        settled = service.settled
        if self._start is None and settled >= WARM_EVENTS:
            self._start, self._first, self._wall = _threads(), settled, time.perf_counter()
            self._watch.spent.clear()
            self._watch.calls.clear()
            self._pauses.clear()
        elif self._start is not None and settled >= WARM_EVENTS + self._events and not self._path.exists():
            self._write(settled - self._first, self._start)

    def _write(self, events: int, start: dict[str, float]) -> None:
        threads = {name: (cpu - start.get(name, 0.0)) / events * 1e6 for name, cpu in _threads().items()}
        spent = {stage: [seconds / events * 1e6 for seconds in both] for stage, both in self._watch.spent.items()}
        result = {
            "events": events,
            "batches": self._watch.calls["decide"],
            "seconds": time.perf_counter() - self._wall,
            "stages": spent,
            "threads": threads,
            "collections": len(self._pauses),
            "longest_pause_ms": max(self._pauses, default=0.0) * 1000,
            "pauses_us": sum(self._pauses) / events * 1e6,
        }
        unfinished = self._path.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(result))
        unfinished.rename(self._path)

    def _collected(self, phase: str, _: dict[str, int]) -> None:
        if phase == "start":
            self._begun = time.perf_counter()
        else:
            self._pauses.append(time.perf_counter() - self._begun)


def _threads() -> dict[str, float]:
    """Return the CPU seconds that each kind of thread has taken, and the whole process."""
    python = {thread.native_id for thread in threading.enumerate()}
    taken: dict[str, float] = defaultdict(float)
    for task in Path("/proc/self/task").iterdir():
        name, number = (task / "comm").read_text(), int(task.name)
        kind = "loop" if number == threading.get_native_id() else "other Python" if number in python else "TensorFlow"
        kind = "Kafka client" if name.startswith("rdk:") else kind
        taken[kind] += int((task / "schedstat").read_text().split()[0]) / 1e9
    return {**taken, "process": time.process_time()}


def inside(settings: str, events: int, path: Path) -> None:
    """Run the scorer, watched; it ends by SIGTERM."""
    from scorer.cli import main as scorer
    from scorer.service.loop import Service

    watch = Watch()
    wrap(watch)
    meter, turn = Meter(watch, events, path), Service.turn

    def turned(service: Service) -> None:
        turn(service)
        meter.after(service)

    setattr(Service, "turn", turned)  # noqa: B010 - a type checker would not have it
    sys.argv = ["scorer", "run", settings]
    scorer()


def measure(directory: Path, events: int, mode: str) -> dict[str, Any]:
    """Fill a topic, run the watched scorer on it, and return what it wrote (µs per event)."""
    reference.pack_bundle(directory / "bundle")
    path = directory / "profile.json"
    with LocalBroker(directory / "kafka") as broker:
        feed = Feed(broker.bootstrap, "in", "out", PARTITIONS)
        settings = configure(directory, broker.bootstrap, "in", "out", mode)
        feed.fill(reference.values(events + 2 * WARM_EVENTS))
        arguments = ("-m", "tests.bench.profile", "--inside", str(settings), "--events", str(events))
        with running(*arguments, "--json", str(path), log=directory / "log") as process:
            feed.await_settled(process)
    return dict(json.loads(path.read_text()))


def report(found: dict[str, Any], mode: str, console: Console) -> None:
    """Print the stages, and what else the process does."""
    events, batches = found["events"], found["batches"]
    rate, each = events / found["seconds"], events / batches
    heading = f"{mode}: {events:,} events in {batches} batches of {each:,.0f} on average, {rate:,.0f} events/s"
    table = Table(title=heading)
    for name in ("stage", "CPU µs/event", "wall µs/event", "of the wall"):
        table.add_column(name, justify="left" if name == "stage" else "right")
    whole = [sum(both[kind] for both in found["stages"].values()) for kind in (0, 1)]
    for stage in STAGES:
        cpu, wall = found["stages"].get(stage, (0.0, 0.0))
        table.add_row(stage, f"{cpu:.3f}", f"{wall:.3f}", f"{wall / whole[1]:.0%}")
    table.add_row("the loop", f"{whole[0]:.3f}", f"{whole[1]:.3f}", "", style="bold")
    for name, cpu in sorted(found["threads"].items()):
        table.add_row(f"{name}: all of it" if name == "process" else f"threads: {name}", f"{cpu:.3f}", "", "")
    console.print(table)
    pauses = f"{found['collections']} collections of garbage, {found['pauses_us']:.3f} µs/event"
    console.print(f"{pauses}, the longest {found['longest_pause_ms']:.1f} ms", highlight=False)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="make profile ARGS=…", description="where a batch's time goes")
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--mode", choices=("exactly-once", "at-least-once"), default="exactly-once")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside:
        inside(arguments.inside, arguments.events, arguments.json)
        return
    with tempfile.TemporaryDirectory() as name:
        found = measure(Path(name), arguments.events, arguments.mode)
    report(found, arguments.mode, printer())
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
