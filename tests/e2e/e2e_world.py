"""The world around the scorer, seen with plain clients only: topics, a stream, a process, an honest reader."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

PARTITIONS = 3
PATIENCE = 120.0
"""Seconds that anything may take: other work shares the machine."""

Sent = tuple[bytes | None, bytes | None]
"""Key and value of an input record."""


@dataclass(frozen=True, slots=True)
class Topics:
    """The names of one test's topics and group."""

    source: str
    decisions: str
    dead_letters: str
    group: str

    @classmethod
    def called(cls, name: str) -> Topics:
        """Return names that no other test, or earlier run on the same broker, has taken."""
        name = f"{name}-{uuid.uuid4().hex[:8]}"
        return cls(name, f"{name}.decisions", f"{name}.dlq", f"{name}-scorer")

    def create(self, bootstrap: str) -> None:
        """Create all three with the same number of partitions."""
        admin = AdminClient({"bootstrap.servers": bootstrap})
        names = (self.source, self.decisions, self.dead_letters)
        for future in admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in names]).values():
            future.result(30)


def write_settings(path: Path, bootstrap: str, topics: Topics, bundle: Path, /, **changes: Any) -> Path:
    """Write the configuration of a scorer of one topic; `kafka` in `changes` adds properties."""
    kafka = {"bootstrap.servers": bootstrap, "session.timeout.ms": 6000} | changes.pop("kafka", {})
    lane = {"bundle": str(bundle), "decisions": topics.decisions, "dead_letters": topics.dead_letters}
    settings = {
        "kafka": kafka,
        "group": topics.group,
        "topics": {topics.source: lane},
        "http": {"listen": "127.0.0.1:0"},
    } | changes
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


def send(bootstrap: str, topic: str, stream: Sequence[Sent]) -> dict[tuple[int, int], int]:
    """Produce a stream in its order, partitions in turn; return (partition, offset) → place in the stream."""
    placed: dict[tuple[int, int], int] = {}
    failed: list[str] = []

    def noting(at: int) -> Callable[[KafkaError | None, Any], None]:
        def note(error: KafkaError | None, message: Any) -> None:
            if error is not None:
                failed.append(error.str())
            else:
                placed[message.partition(), message.offset()] = at

        return note

    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 50, "queue.buffering.max.messages": 1_000_000})
    for at, (key, value) in enumerate(stream):
        headers = [("trace", b"%d" % at)] if at % 7 == 0 else None
        producer.produce(topic, value, key, at % PARTITIONS, on_delivery=noting(at), headers=headers)
        producer.poll(0)
    assert producer.flush(PATIENCE) == 0
    assert not failed
    return placed


@dataclass(frozen=True, slots=True)
class Found:
    """A record as a reader of committed data sees it."""

    key: bytes | None
    value: bytes | None
    headers: Mapping[str, bytes | None]


def read_committed(bootstrap: str, topic: str) -> list[Found]:
    """Return every committed record of a topic, to its very end."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "honest-reader",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
    found, ended, deadline = [], set(), time.monotonic() + PATIENCE
    while len(ended) < PARTITIONS:
        assert time.monotonic() < deadline, f"{topic}: no end after {len(found)} records"
        for message in consumer.consume(10_000, 0.5):
            error = message.error()
            if error is None:
                found.append(Found(message.key(), message.value(), dict(message.headers() or ())))
            elif error.code() == KafkaError._PARTITION_EOF:
                ended.add(message.partition())
    consumer.close()
    return found


class Progress:
    """How far a group is with a topic; it joins nothing."""

    def __init__(self, bootstrap: str, topics: Topics) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": topics.group,
                "coordinator.query.interval.ms": 1000,  # a new cluster has none yet, and the client asks rarely
            }
        )
        self._partitions = [TopicPartition(topics.source, number) for number in range(PARTITIONS)]
        self._written = [
            TopicPartition(topic, number)
            for topic in (topics.decisions, topics.dead_letters)
            for number in range(PARTITIONS)
        ]

    def written(self) -> int:
        """Return the number of records in the topics written to, committed or not.

        It is known at once, where committed offsets are withheld as long as a transaction over them is open: under
        load most of the time.
        """
        return sum(self._consumer.get_watermark_offsets(tp, 5)[1] for tp in self._written)

    def __call__(self) -> int:
        """Return the number of records settled; a coordinator that is still finding itself has settled none."""
        try:
            return sum(max(tp.offset, 0) for tp in self._consumer.committed(self._partitions, 5))
        except KafkaException as error:
            if error.args[0].code() not in (KafkaError.NOT_COORDINATOR, KafkaError._TIMED_OUT):
                raise
            return 0

    def ends(self) -> int:
        """Return the number of records that there are to settle."""
        return sum(self._consumer.get_watermark_offsets(tp, 30)[1] for tp in self._partitions)

    def reach(self, count: int, scorer: Scorer) -> None:
        """Wait until so many records are settled."""
        wait_for(lambda: self() >= count, scorer, f"{count} records settled")

    def reach_written(self, count: int, scorer: Scorer) -> None:
        """Wait until so many records are written."""
        wait_for(lambda: self.written() >= count, scorer, f"{count} records written")

    def close(self) -> None:
        """Disconnect."""
        self._consumer.close()


class Scorer:
    """`scorer run` as its user starts it."""

    def __init__(self, settings: Path, program: Sequence[str] = ("-m", "scorer")) -> None:
        self.log = settings.with_suffix(".log")
        with self.log.open("ab") as log:
            self._start = log.tell()
            self.process = subprocess.Popen(
                [sys.executable, *program, "run", str(settings)], stdout=subprocess.DEVNULL, stderr=log
            )

    def events(self) -> list[dict[str, Any]]:
        """Return the log lines of this process so far."""
        written = self.log.read_bytes()[self._start :]
        return [json.loads(line) for line in written[: written.rfind(b"\n") + 1].splitlines() if line[:1] == b"{"]

    @property
    def port(self) -> int:
        """Return the port of its page, once it listens."""
        wait_for(lambda: any(event["event"] == "listening" for event in self.events()), self, "the page to listen")
        return next(int(event["port"]) for event in self.events() if event["event"] == "listening")

    def get(self, path: str) -> tuple[int, str]:
        """Return status and body of a page."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def kill(self) -> None:
        """End it as a crash would."""
        self.process.kill()
        assert self.process.wait(30) == -signal.SIGKILL

    def terminate(self) -> tuple[int, float]:
        """Send SIGTERM; return its exit code and how many seconds it took."""
        started = time.monotonic()
        self.process.terminate()
        return self.process.wait(60), time.monotonic() - started

    def tail(self) -> str:
        """Return the end of its log, for the message of a failed test."""
        return self.log.read_text(encoding="utf-8")[-2000:]


@contextmanager
def running(settings: Path) -> Iterator[Scorer]:
    """Run a scorer, and leave no process behind whatever happens."""
    scorer = Scorer(settings)
    try:
        yield scorer
    finally:
        if scorer.process.poll() is None:
            scorer.process.kill()
            scorer.process.wait(30)


def wait_for(condition: Callable[[], bool], scorer: Scorer, what: str) -> None:
    """Poll a condition until it holds; fails where the scorer ends before, or patience does."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert scorer.process.poll() is None, f"ended with {scorer.process.returncode}: {scorer.tail()}"
        assert time.monotonic() < deadline, f"waited in vain for {what}: {scorer.tail()}"
        time.sleep(0.01)
