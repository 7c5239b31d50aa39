"""The programs that `make bench ARGS=stream` measures, one entry each, and how each is started."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

from scorer.broker.local import free_ports
from tests.bench.peers import installing

MODES = ("at-least-once", "exactly-once")

CONFIGURATION = """\
kafka: {{bootstrap.servers: "{run.bootstrap}"}}
group: "{run.target}"
instance: "{run.instance}"
delivery: {run.mode}
topics:
  {run.source}:
    {{bundle: "{run.bundle}", decisions: {run.target}, dead_letters: {run.target}.dlq, cloudevents: {cloudevents}}}
http: {{listen: "127.0.0.1:{port}"}}
"""


@dataclass(frozen=True, slots=True)
class Run:
    """One process to start: on which topics, in which mode, as which instance of its group (which is `target`)."""

    directory: Path
    bootstrap: str
    source: str
    target: str
    mode: str
    instance: int
    bundle: Path
    contract: Path

    @property
    def arguments(self) -> list[str]:
        """Return what every program but the scorer is started with."""
        return [self.bootstrap, self.source, self.target, self.mode]


Command: TypeAlias = Callable[[Run], list[str]]


@dataclass(frozen=True, slots=True)
class Program:
    """A row: its name for `--only`, what the table calls it, how it is started, in which modes.

    `most` cuts the slow ones short, and `warm` is how many events it is given before those that count. Peers are left
    out unless asked for. A program that does not decide is the limit, and its records are not looked at.
    """

    name: str
    label: str
    command: Command
    modes: tuple[str, ...] = MODES
    processes: int = 1
    most: int | None = None
    warm: int = 10_000
    peer: bool = True
    decides: bool = True


def scorer(run: Run, *, cloudevents: bool = False) -> list[str]:
    """Write the configuration, and return the command."""
    path = run.directory / f"{run.target}-{run.instance}.yaml"
    path.write_text(CONFIGURATION.format(run=run, port=free_ports(1)[0], cloudevents=str(cloudevents).lower()))
    return [sys.executable, "-m", "scorer", "run", str(path)]


def passthrough(run: Run) -> list[str]:
    """Return the command of the limit."""
    return [sys.executable, "-m", "tests.bench.passthrough", *run.arguments]


def python(module: str, *more: str, installed: bool = False) -> Command:
    """Return how a peer in Python is started, with the project's interpreter, or with the `installed` libraries."""

    def command(run: Run) -> list[str]:
        interpreter = installing.python() if installed else sys.executable
        return [str(interpreter), "-m", f"tests.bench.peers.{module}", *run.arguments, str(run.contract), *more]

    return command


def java(run: Run) -> list[str]:
    """Return the command of the peer in Java."""
    return [*installing.java_command(), *run.arguments, str(run.contract)]


PROGRAMS = (
    Program("pass-through", "pass-through (the limit)", passthrough, peer=False, decides=False),
    Program("pass-through-x2", "pass-through, 2 processes", passthrough, processes=2, peer=False, decides=False),
    Program("scorer", "scorer run", scorer, peer=False),
    Program("scorer-x2", "scorer run, 2 processes", scorer, processes=2, peer=False),
    Program("cloudevents", "scorer run, CloudEvents headers", partial(scorer, cloudevents=True), peer=False),
    Program("java", "Java, TensorFlow Java, warm", java, warm=200_000),
    Program("loop", "loop on confluent-kafka", python("confluent_loop")),
    Program("quix", "Quix Streams, sink", python("quix_app", installed=True), most=100_000),
    Program("aiokafka", "aiokafka, getmany", python("aiokafka_loop", installed=True), most=100_000),
    Program("faststream", "FastStream, batch", python("faststream_app", installed=True), MODES[:1], most=50_000),
    Program("signature", "signature per event", python("naive_loop", "signature"), MODES[:1], most=2_000, warm=500),
    Program("predict", "model.predict per event", python("naive_loop", "predict"), MODES[:1], most=200, warm=20),
)
