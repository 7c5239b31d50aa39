"""Two scorers under steady traffic, and one fault after another, drawn from a seed: does anything grow, or get lost?

usage: python tests/faults/soak.py [--minutes N] [--seed N] [--rate EVENTS_PER_SECOND]

A program and no test, since it is watched while it runs, for as long as one likes, and what it finds are figures.

Scorer 0 lives as long as the soak: only its partner, its broker, its network and its group are harmed, so that a leak
of a few bytes a batch has time to show. Scorer 1 takes the kills. Everything in here that is meant to be bounded is:
the auditor keeps 17 bytes an event.
"""

# ruff: noqa: E402, T201 - the tests' modules are found as pytest's `pythonpath` has them; a program prints

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

FAULTS = Path(__file__).parent
sys.path[1:1] = [str(FAULTS.parent), str(FAULTS.parent / "e2e")]

import auditor
from auditor import Audit
from books import Books
from bundles import Trained, pack_cards, train
from confluent_kafka import Consumer
from e2e_world import Scorer
from lives import Life, Watch, slope
from proxy import Proxy
from world import Offline, Progress, Traffic, World, world

from scorer.broker.local import LocalBroker, free_ports
from scorer.errors import BrokerUnreachableError, FencedError

ENOUGH = 20
"""Samples, one a second, that a slope needs."""
RISE = 8.0
"""File descriptors or threads by which a process may seem to grow over its life: connections come and go in pairs."""
CALM = (2.0, 4.0)
"""Seconds between two faults."""
STALL = 60.0
"""Seconds without anything settled after which no more is harmed, until something is settled again.

A fault in the midst of the recovery from the one before begins that anew; a soak is not to measure its own density.
"""
MERCY = 60.0
"""Seconds without harm in which a stall must end; a soak in which one does not ends there, for somebody to look."""
POLL_MS = 30_000
"""`max.poll.interval.ms` of everybody in the group.

Kafka 4.1 forgot to time members out that a killed broker found in its log: those who join then wait for their dead
predecessors as long as this.
"""


@dataclass(slots=True)
class Stage:
    """What there is to harm. `ended` are the exit codes of scorers that ended by themselves, which none should.

    But a start is a bounded wait: for a broker that is away, and for the dead predecessor, which a broker that is
    killed again and again finds in its log each time. `in_vain` counts those that ended so, and were started again.
    """

    story: World
    broker: LocalBroker
    proxy: Proxy
    watch: Watch
    scorers: dict[int, Scorer] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    in_vain: int = 0

    def start(self, instance: int) -> None:
        """Start a scorer, or start it again."""
        small = {"max_events": 256} if instance else {}  # it often has full batches, whose commits overlap
        self.scorers[instance] = self.story.start(instance, batch=small)
        self.watch.follow(f"scorer {instance}", self.scorers[instance].process)

    def revive(self) -> None:
        """Start again what ended by itself, as an orchestrator would."""
        for instance, scorer in list(self.scorers.items()):
            code = scorer.process.poll()
            if code is not None:
                self.note(code, f"scorer {instance} with {code}: {scorer.tail()[-600:]}")
                self.start(instance)

    def note(self, code: int, told: str) -> None:
        """Take note of a scorer that ended otherwise than it was told to."""
        twin = (
            code == FencedError.exit_code and "already runs" in told
        )  # at its start; a producer's loss says otherwise
        if code == BrokerUnreachableError.exit_code or twin:
            self.in_vain += 1
        else:
            self.ended.append(told)

    @property
    def partner(self) -> Scorer:
        """Return the scorer that may be killed."""
        return self.scorers[1]


def killed(stage: Stage) -> None:
    stage.partner.kill()
    stage.start(1)


def stopped(stage: Stage) -> None:
    stage.partner.process.send_signal(signal.SIGSTOP)
    time.sleep(3)
    stage.partner.process.send_signal(signal.SIGCONT)


def terminated(stage: Stage) -> None:
    code, _ = stage.partner.terminate()
    if code not in {0, -signal.SIGTERM}:  # before it listens to signals, the signal ends it
        stage.note(code, f"scorer 1 with {code} after SIGTERM: {stage.partner.tail()[-600:]}")
    stage.start(1)


def broker_killed(stage: Stage) -> None:
    stage.broker.kill()
    time.sleep(1)
    stage.broker.start()


def broker_stopped(stage: Stage) -> None:
    stage.broker.suspend()
    time.sleep(5)
    stage.broker.resume()


def broken(stage: Stage) -> None:
    for _ in range(3):
        stage.proxy.reset()
        time.sleep(0.5)


def silent(stage: Stage) -> None:
    stage.proxy.black_hole(3)


def slowed(stage: Stage) -> None:
    stage.proxy.latency = 0.2
    time.sleep(4)
    stage.proxy.latency = 0.0


def visited(stage: Stage) -> None:
    """Let a stranger join the group, take partitions, do nothing with them, and leave."""
    properties = {"bootstrap.servers": stage.story.bootstrap, "group.id": stage.story.topics.group}
    settings = {"enable.auto.commit": False, "session.timeout.ms": 6000, "isolation.level": "read_committed"}
    visitor = Consumer({**properties, **settings, "max.poll.interval.ms": POLL_MS})
    visitor.subscribe([stage.story.topics.source])
    until = time.monotonic() + 3
    while time.monotonic() < until:
        visitor.consume(1000, 0.2)
    visitor.close()


HARMS: dict[str, Callable[[Stage], None]] = {
    "scorer kill -9": killed,
    "scorer SIGSTOP 3 s": stopped,
    "scorer SIGTERM": terminated,
    "broker kill -9": broker_killed,
    "broker SIGSTOP 5 s": broker_stopped,
    "connections reset": broken,
    "black hole 3 s": silent,
    "latency 200 ms": slowed,
    "stranger in the group": visited,
}


def order(draw: random.Random) -> Iterator[str]:
    """Give the names of harms without end, each as often as the others."""
    while True:
        yield from draw.sample(sorted(HARMS), len(HARMS))


class Pulse:
    """Whether anything is settled: `feel` is called now and then."""

    def __init__(self, story: World) -> None:
        self._progress = Progress(story.bootstrap, story.topics)
        self._settled, self._since = 0, time.monotonic()

    def feel(self) -> None:
        """Return if something was settled lately; else wait until something is, and assert that it comes."""
        calm_until: float | None = None
        while (settled := self._progress()) <= self._settled:
            now = time.monotonic()
            if now - self._since < STALL:
                return
            if calm_until is None:
                print(f"nothing settled for {now - self._since:.0f} s: no harm until something is", flush=True)
                calm_until = now + MERCY
            assert now < calm_until, f"nothing settled in {MERCY:.0f} s without harm, since {settled:,} were"
            time.sleep(0.5)
        self._settled, self._since = settled, time.monotonic()


def harm(stage: Stage, traffic: Traffic, seconds: float, draw: random.Random) -> Counter[str]:
    """Do one harm after another for so long, and say so; return how often each was done."""
    done: Counter[str] = Counter()
    begun = time.monotonic()
    pulse = Pulse(stage.story)
    for name in order(draw):
        time.sleep(draw.uniform(*CALM))
        stage.revive()
        pulse.feel()
        if time.monotonic() >= begun + seconds:
            break
        HARMS[name](stage)
        done[name] += 1
        told = f"{time.monotonic() - begun:7.1f} s  {traffic.sent:9,} sent  {name:22}"
        print(f"{told} scorer 0: {stage.watch.lives[0]}", flush=True)
    return done


def audit(story: World, trained: Trained) -> Books:
    """Read the topics part by part, and hold them against each other."""
    books = Books(Offline(trained))
    for records in auditor.parts_committed(story.bootstrap, story.topics.source):
        books.enter(records)
    for records in auditor.parts_committed(story.bootstrap, story.topics.decisions):
        books.settle(auditor.decisions(records))
    for records in auditor.parts_committed(story.bootstrap, story.topics.dead_letters):
        books.settle(auditor.dead_letters(records))
    return books


def tell_lives(lives: Sequence[Life]) -> bool:
    """Print the slopes of every life that was long enough; return whether file descriptors or threads grow."""
    grows = False
    print(f"{'process':>10} {'alive s':>8} {'RSS MB':>8} {'MB/h':>8} {'fds':>5} {'fds/h':>7} {'threads':>8} {'/h':>7}")
    for life in lives:
        warm = life.warm if life.samples else ()
        if len(warm) < ENOUGH:
            continue
        times, *series = zip(*warm, strict=True)
        memory, files, threads = ((values[-1], slope(times, values)) for values in series)
        alive = life.samples[-1][0] - life.samples[0][0]
        told = [
            f"{last:{width}.0f} {each * 3600:{width}.1f}"
            for width, (last, each) in ((8, memory), (6, files), (7, threads))
        ]
        print(f"{life.name:>10} {alive:8.0f} {' '.join(told)}")
        grows |= max(files[1], threads[1]) * (times[-1] - times[0]) > RISE
    if grows:
        print(f"file descriptors or threads grew by more than {RISE:.0f} over a life")
    return grows


def soak(directory: Path, minutes: float, seed: int, rate: int) -> bool:
    """Run a soak in a directory; return whether it is clean."""
    trained = train()
    bundle = pack_cards(trained, directory / "cards")
    port, target = free_ports(2)
    with ExitStack() as stack:
        proxy = stack.enter_context(Proxy(port, target))
        broker = stack.enter_context(LocalBroker(directory / "kafka", target, advertised=port))
        story = stack.enter_context(world(f"127.0.0.1:{port}", directory, bundle.path, "soak"))
        story.settings["kafka"] = {"max.poll.interval.ms": POLL_MS}
        stage = Stage(story, broker, proxy, stack.enter_context(Watch()))
        for instance in (0, 1):
            stage.start(instance)
        begun = time.time()
        with Traffic(story.bootstrap, story.topics.source, rate=rate) as traffic:
            story.await_settled(rate)
            done = harm(stage, traffic, minutes * 60, random.Random(seed))
        ended = time.time()
        story.await_settled()
        stage.revive()
        books = audit(story, trained)
    found = books.close()
    tell(found, stage, done, ended - begun)
    for since, length in books.silences():
        print(f"silent for {length:.1f} s, {since - begun:.0f} s after the first event")
    grows = tell_lives(stage.watch.lives)
    return found.clean and not grows and not stage.ended


def tell(found: Audit, stage: Stage, done: Counter[str], lasted: float) -> None:
    """Print what was done and found."""
    print("\n" + ", ".join(f"{name}: {count}" for name, count in sorted(done.items())))
    print(f"{found.events:,} events, {found.events / lasted:,.0f} a second")
    print(f"LOST {found.lost}  DUP {found.duplicated}  WRONG {found.wrong}  ORDER {found.disordered}")
    if stage.in_vain:
        print(f"started in vain, without a broker or beside a dead predecessor, and started again: {stage.in_vain}")
    for line in (*found.examples, *(f"ended by itself: {told}" for told in stage.ended)):
        print(line)


def main() -> int:
    """Read the command line, run, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--rate", type=int, default=1000, help="events per second")
    arguments = parser.parse_args()
    print(f"soak of {arguments.minutes:g} minutes, --seed {arguments.seed}", flush=True)
    directory = Path(tempfile.mkdtemp(prefix="scorer-soak-"))
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ["SCORER_CACHE"] = str(directory / "cache")
    print(f"logs in {directory}; they stay unless all is well", flush=True)
    if not soak(directory, arguments.minutes, arguments.seed, arguments.rate):
        return 1
    shutil.rmtree(directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
