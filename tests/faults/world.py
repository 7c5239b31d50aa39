"""A world to break: a broker of one's own, steady traffic, scorers as processes, and the auditor at the end."""

from __future__ import annotations

import json
import re
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import auditor
import numpy as np
from auditor import Audit, Expected
from bundles import BANDS, Trained, frame_of, payloads
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from e2e_world import PARTITIONS, Progress, Scorer, Topics, write_settings

BROKEN: dict[bytes | None, str] = {
    None: "tombstone",
    b"\xff\xfe{}": "malformed",
    b'{"transaction_id":"x","amount":"1.5"}': "wrong_type",
    b'{"transaction_id":"x"}': "missing_field",
}
SHARE_BROKEN = 0.01
KEYS = 500
SESSION = 6.0
"""Seconds until the group gives up a silent member."""
DELIVERIES = ("exactly-once", "at-least-once")


class Offline:
    """The offline model as the auditor asks it: Keras on scikit-learn's features, and the bands."""

    def __init__(self, trained: Trained) -> None:
        self._trained = trained

    def __call__(self, values: Sequence[bytes | None]) -> list[Expected]:
        """Return what must become of each raw value."""
        import pandas as pd

        sound = [at for at, value in enumerate(values) if value not in BROKEN]
        events = [json.loads(values[at] or b"") for at in sound]
        frame = pd.json_normalize(events).reindex(columns=self._trained.frame.columns)
        scores = self._trained.scores(frame.fillna({"balance": np.nan})) if sound else []
        expected = [Expected(None, frozenset({BROKEN.get(value, "")})) for value in values]
        for at, score in zip(sound, scores, strict=True):
            expected[at] = Expected(float(score), frozenset(map(_band, (score - 1e-6, score, score + 1e-6))))
        return expected


def _band(score: float) -> str:
    names = [name for name, edge in BANDS.items() if np.float32(score) >= np.float32(edge)]
    return names[-1] if names else "approve"


class Traffic:
    """A producer in a thread: keyed events at a steady rate to all partitions, one in a hundred broken."""

    def __init__(self, bootstrap: str, topic: str, *, rate: int, seed: int = 11, padding: int = 0) -> None:
        self._producer = Producer(
            {"bootstrap.servers": bootstrap, "linger.ms": 5, "message.timeout.ms": 0, "log_level": 0}
        )
        self._topic, self._rate = topic, rate
        self._values = payloads(frame_of(5000, seed))
        self._padding = b" " * padding
        self._draw = np.random.default_rng(seed)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.sent = 0

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop sending, and wait until the broker has all."""
        self._stopping.set()
        self._thread.join()
        assert self._producer.flush(180) == 0, "the input could not be delivered"

    def send(self, count: int) -> None:
        """Send so many events now."""
        broken = list(BROKEN)
        for _ in range(count):
            at = self.sent
            value: bytes | None = self._values[at % len(self._values)] + self._padding
            if self._draw.random() < SHARE_BROKEN:
                value = broken[at % len(broken)]
            key = at % KEYS
            self._producer.produce(self._topic, value, b"card-%03d" % key, key % PARTITIONS)
            self.sent += 1
        self._producer.poll(0)

    def await_more(self, count: int) -> None:
        """Wait until so many more are sent."""
        goal = self.sent + count
        while self.sent < goal:
            time.sleep(0.02)

    def _run(self) -> None:
        begun = time.monotonic()
        while not self._stopping.wait(0.02):
            self.send(int((time.monotonic() - begun) * self._rate) - self.sent)


@dataclass(slots=True)
class World:
    """One story's topics, traffic and scorers on a broker; `patience` is what anything may take, in seconds."""

    bootstrap: str
    directory: Path
    bundle: Path
    topics: Topics
    settings: dict[str, Any] = field(default_factory=dict)
    scorers: list[Scorer] = field(default_factory=list)
    patience: float = 120.0

    def create(self) -> None:
        """Make the topics; the broker stamps what is written, so that silence is measured by one clock."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        stamped = {"message.timestamp.type": "LogAppendTime"}
        made = [NewTopic(self.topics.source, PARTITIONS, 1)]
        made += [
            NewTopic(name, PARTITIONS, 1, config=stamped) for name in (self.topics.decisions, self.topics.dead_letters)
        ]
        for future in admin.create_topics(made).values():
            future.result(30)

    def start(
        self, instance: int = 0, *, program: Sequence[str] = ("-m", "scorer"), bootstrap: str = "", **changes: Any
    ) -> Scorer:
        """Start a scorer as `python PROGRAM run SETTINGS`; `changes` go over the world's settings."""
        name = f"scorer-{instance}-{len(self.scorers)}.yaml"
        merged = {"instance": instance, **self.settings, **changes}
        path = write_settings(self.directory / name, bootstrap or self.bootstrap, self.topics, self.bundle, **merged)
        if "group.protocol" in merged.get("kafka", {}):
            left = re.sub(r"(?m)^ +session\.timeout\.ms:.*\n", "", path.read_text(encoding="utf-8"))
            path.write_text(left, encoding="utf-8")  # with that protocol it is the broker's to say
        scorer = Scorer(path, program)
        self.scorers.append(scorer)
        return scorer

    def begin(self, count: int = 500) -> Scorer:
        """Start a scorer, and wait until it has settled its first events."""
        scorer = self.start()
        self.await_settled(count)
        return scorer

    def await_settled(self, count: int | None = None, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Wait until the group has committed so many records, or all that there are; do something meanwhile."""
        progress = Progress(self.bootstrap, self.topics)
        goal = progress.ends() if count is None else count
        deadline = time.monotonic() + self.patience
        while progress() < goal:
            meanwhile()
            assert any(scorer.process.poll() is None for scorer in self.scorers), self.scorers[-1].tail()
            assert time.monotonic() < deadline, f"{progress()} of {goal} settled: {self.scorers[-1].tail()}"
            time.sleep(0.05)
        progress.close()

    def audit(self, trained: Trained) -> Audit:
        """Read the topics as a consumer would, and judge."""
        inputs = auditor.read_committed(self.bootstrap, self.topics.source)
        answers = auditor.decisions(auditor.read_committed(self.bootstrap, self.topics.decisions))
        answers += auditor.dead_letters(auditor.read_committed(self.bootstrap, self.topics.dead_letters))
        return auditor.audit(inputs, answers, Offline(trained))

    def end(self) -> None:
        """Leave no process behind."""
        for scorer in self.scorers:
            if scorer.process.poll() is None:
                scorer.process.send_signal(signal.SIGCONT)
                scorer.process.kill()
                scorer.process.wait(30)


@contextmanager
def world(bootstrap: str, directory: Path, bundle: Path, name: str, **settings: Any) -> Iterator[World]:
    """Give a fresh world on a broker, and leave no process behind."""
    made = World(bootstrap, directory, bundle, Topics.called(name), settings)
    made.create()
    try:
        yield made
    finally:
        made.end()


def kept(found: Audit, delivery: str = DELIVERIES[0]) -> None:
    """Assert what a delivery promises: nothing twice; or, at least once, only what is the same bit for bit."""
    once = replace(found, duplicated=0) if delivery != DELIVERIES[0] else found
    assert once.clean, found.examples
    assert found.repeats_differ == 0, found.examples


def says(scorer: Scorer, event: str) -> bool:
    """Return whether a scorer's log has an event."""
    return any(line["event"] == event for line in scorer.events())


def ask(bootstrap: str, api: int, body: bytes) -> bytes:
    """Send a request that the client has no method for, in its version 0, and return the answer."""
    host, port = bootstrap.split(":")
    request = struct.pack(">hhi", api, 0, 0) + text("faults") + body
    with socket.create_connection((host, int(port)), 30) as connection, connection.makefile("rb") as answers:
        connection.sendall(struct.pack(">i", len(request)) + request)
        (length,) = struct.unpack(">i", answers.read(4))
        return answers.read(length)[4:]


def text(value: str) -> bytes:
    """Return a string as Kafka's protocol writes it."""
    return struct.pack(">h", len(value)) + value.encode()
