"""What can hold up the flow: transactions open before a scorer, decisions refused or throttled behind it.

Rows 34, 35 and 37 of the catalogue.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from bundles import Trained, frame_of, payloads
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from conftest import SMOKE, Report
from e2e_world import PARTITIONS, Progress, wait_for
from second import SecondBroker
from world import Traffic, World, ask, text, world

from scorer.broker.local import LocalBroker
from scorer.bundle import Bundle

pytestmark = pytest.mark.faults
RATE = 500
BYTES_PER_SECOND = 60_000.0
"""A quarter of what the decisions take."""


class Upstream:
    """A transactional producer of events for one partition."""

    def __init__(self, story: World, partition: int, seconds: float = 60.0) -> None:
        self._topic, self._partition = story.topics.source, partition
        self._values = payloads(frame_of(100, 31 + partition))
        self._producer = Producer(
            {
                "bootstrap.servers": story.bootstrap,
                "transactional.id": f"{story.topics.source}-{partition}",
                "transaction.timeout.ms": int(seconds * 1000),
                "message.timeout.ms": int(seconds * 1000),
            }
        )
        self._producer.init_transactions(30)

    def write(self) -> None:
        """Write a hundred events into a new transaction."""
        self._producer.begin_transaction()
        for value in self._values:
            self._producer.produce(self._topic, value, b"upstream-%d" % self._partition, self._partition)
        assert self._producer.flush(30) == 0

    def end(self, *, committed: bool) -> None:
        """Commit the transaction, or abort it."""
        (self._producer.commit_transaction if committed else self._producer.abort_transaction)(30)


def test_upstream_transactions(
    broker: LocalBroker, directory: Path, trained: Trained, cards: Bundle, report: Report
) -> None:
    """Aborted events are never decided; an open transaction holds back what is behind it, and the lag says so.

    Committed and aborted ones alternate; then one hangs in each partition, until it is committed, aborted, and ended
    by the broker.
    """
    with world(broker.bootstrap, directory, cards.path, "upstream") as story:
        with Traffic(broker.bootstrap, story.topics.source, rate=RATE) as traffic:
            story.begin()
            upstreams = [Upstream(story, number, 8.0 if number == 2 else 60.0) for number in range(PARTITIONS)]
            for turn in range(8):
                for upstream in upstreams:
                    upstream.write()
                    upstream.end(committed=turn % 2 == 0)
            begun = time.monotonic()
            for upstream in upstreams:
                upstream.write()
            traffic.await_more(3 * RATE)
            behind = lags(story)
            upstreams[0].end(committed=True)
            least = time.monotonic() - begun
            upstreams[1].end(committed=False)
            wait_for(lambda: max(lags(story)) < 100, story.scorers[0], "the end of the last transaction")
        story.await_settled()
        found = story.audit(trained)
    report("34 35 upstream transactions hang, abort", found, least)
    assert min(behind) > 100 + RATE / PARTITIONS, behind
    assert found.clean, found.examples


def lags(story: World) -> list[float]:
    """Return the lag of each partition, as the scorer's page tells it."""
    _, page = story.scorers[0].get("/metrics")
    found = [line.rpartition(" ")[2] for line in page.splitlines() if line.startswith("scorer_consumer_lag{")]
    assert len(found) == PARTITIONS
    return list(map(float, found))


@pytest.mark.parametrize("seconds", [5.0] if SMOKE else [5.0, 30.0])
def test_decisions_throttled(  # noqa: PLR0917 - fixtures
    seconds: float, broker: LocalBroker, directory: Path, trained: Trained, cards: Bundle, report: Report
) -> None:
    """A quota on what the scorer writes makes it fall behind, and catch up; nothing is dropped."""
    with world(broker.bootstrap, directory, cards.path, "throttled") as story:
        with Traffic(broker.bootstrap, story.topics.source, rate=RATE) as traffic:
            story.begin()
            with quota(story, BYTES_PER_SECOND):
                time.sleep(seconds)
            story.await_settled(traffic.sent)
        story.await_settled()
        found = story.audit(trained)
    report(f"37 decisions throttled for {seconds:.0f} s", found, None)
    assert found.silence > 0.6, "the quota has no effect"
    assert found.clean, found.examples


@contextmanager
def quota(story: World, rate: float) -> Iterator[None]:
    """Allow the scorer so many bytes a second: AlterClientQuotas, for which the client has no method."""
    who = struct.pack(">ii", 1, 1) + text("client-id") + text(f"scorer-{story.topics.group}-0")
    what = struct.pack(">i", 1) + text("producer_byte_rate")
    for removed in (False, True):
        answer = ask(story.bootstrap, 49, who + what + struct.pack(">d??", rate, removed, False))
        assert answer[8:10] == b"\0\0", answer
        if not removed:
            yield


@pytest.mark.long  # a cluster of its own, and a minute
@pytest.mark.parametrize("seconds", [10.0, 45.0])
def test_not_enough_replicas(  # noqa: PLR0917 - fixtures
    seconds: float, java: None, directory: Path, trained: Trained, cards: Bundle, report: Report
) -> None:
    """While a broker with the second replica is gone, decisions wait, even beyond their time-out; none is dropped."""
    with (
        LocalBroker(directory / "kafka") as broker,
        world(broker.bootstrap, directory, cards.path, "replicas") as story,
        second_broker(story, broker) as second,
    ):
        with Traffic(broker.bootstrap, story.topics.source, rate=RATE) as traffic:
            story.begin()
            second.suspend()
            time.sleep(seconds)
            second.resume()
            story.await_settled(traffic.sent)
        story.await_settled()
        found = story.audit(trained)
    report(f"37 not enough replicas for {seconds:.0f} s", found, seconds)
    assert found.silence > seconds - 1
    assert found.clean, found.examples


@contextmanager
def second_broker(story: World, first: LocalBroker) -> Iterator[SecondBroker]:
    """Give a second broker, which holds a replica of each decision, and nothing else that is needed."""
    Progress(story.bootstrap, story.topics)()  # while it is alone, the first broker makes the topics of groups ...
    Upstream(story, 0)  # ... and of transactions for itself
    admin = AdminClient({"bootstrap.servers": story.bootstrap})
    admin.delete_topics([story.topics.decisions])[story.topics.decisions].result(30)
    with SecondBroker(first) as second:
        config = {"message.timestamp.type": "LogAppendTime", "min.insync.replicas": "2"}
        replicas = [[1, 2]] * PARTITIONS
        made = NewTopic(story.topics.decisions, PARTITIONS, config=config, replica_assignment=replicas)
        admin.create_topics([made])[story.topics.decisions].result(30)
        yield second
