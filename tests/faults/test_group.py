"""What can happen to a scorer's place in its group, and to its identity. Rows 4 to 9 of the catalogue."""

from __future__ import annotations

import itertools
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from bundles import Trained
from confluent_kafka import Consumer, KafkaException, Producer
from conftest import SMOKE, Report
from e2e_world import Scorer, wait_for
from failing import DAWDLE
from world import DELIVERIES, SESSION, Traffic, World, kept, says, world

from scorer.broker.local import LocalBroker
from scorer.bundle import Bundle

pytestmark = pytest.mark.faults
FAILING = str(Path(__file__).with_name("failing.py"))
RATE = 500
FENCED = 34
HEARTBEAT = 0.5
"""Seconds between two heartbeats in storms: how soon a member hears that another has come."""
PROTOCOLS: dict[str, dict[str, Any]] = {
    "range": {},
    "cooperative-sticky": {"partition.assignment.strategy": "cooperative-sticky"},
    "KIP-848": {"group.protocol": "consumer"},
}
GROUPS = """\
group.consumer.min.session.timeout.ms=1000
group.consumer.session.timeout.ms=6000
group.consumer.min.heartbeat.interval.ms=100
group.consumer.heartbeat.interval.ms=500
"""


class QuickBroker(LocalBroker):
    """A broker that is as quick with the groups of KIP-848 as the tests' clients are with classic ones."""

    def _configure(self, data: Path) -> None:
        super()._configure(data)
        with (self.directory / "kafka.properties").open("a", encoding="utf-8") as properties:
            properties.write(GROUPS)


@pytest.fixture(scope="module")
def broker(java: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBroker]:
    """Give a Kafka of one's own."""
    with QuickBroker(tmp_path_factory.mktemp("kafka")) as made:
        yield made


@pytest.mark.parametrize(
    ("delivery", "point"),
    [
        (DELIVERIES[0], "before_offsets"),
        (DELIVERIES[1], "after_flush"),
        *([] if SMOKE else [(DELIVERIES[0], "after_send_offsets"), (DELIVERIES[1], "after_consume")]),
    ],
)
def test_stopped_and_replaced(  # noqa: PLR0917 - fixtures
    delivery: str, point: str, broker: LocalBroker, directory: Path, trained: Trained, cards: Bundle, report: Report
) -> None:
    """SIGSTOP in the middle of a batch, until another has taken over: whoever comes back commits nothing of it.

    But offsets that were put into the transaction in time keep the other one waiting, and are committed late.
    """
    sealed = point == "after_send_offsets"
    with world(broker.bootstrap, directory, cards.path, "stopped", delivery=delivery) as story:
        with Traffic(broker.bootstrap, story.topics.source, rate=RATE) as traffic:
            zombie = story.start(0, program=(FAILING, "halt", point, "30"))
            story.start(1)
            wait_for(lambda: halted(zombie), zombie, "the end of its turn")
            time.sleep(1.5 * SESSION)
            zombie.process.send_signal(signal.SIGCONT)
            story.await_settled(traffic.sent)
        story.await_settled()
        codes = [scorer.process.poll() for scorer in story.scorers]
        found = story.audit(trained)
    report(f"4 SIGSTOP {1.5 * SESSION:.0f} s {point}, {delivery}", found, 1.5 * SESSION if sealed else SESSION)
    kept(found, delivery)
    assert codes == [None, None], zombie.tail()
    assert bool({"fault", "rebalance"} & {*aborted(zombie)}) != sealed, zombie.tail()


def halted(scorer: Scorer) -> bool:
    """Return whether a process stands still."""
    return Path(f"/proc/{scorer.process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "T"


def aborted(scorer: Scorer) -> list[str]:
    """Return why a scorer gave up batches, as its log tells."""
    return [event["reason"] for event in scorer.events() if event["event"] == "batch_aborted"]


@pytest.mark.parametrize("protocol", ["range", "KIP-848"])
def test_model_takes_too_long(  # noqa: PLR0917 - fixtures
    protocol: str, broker: LocalBroker, directory: Path, trained: Trained, cards: Bundle, report: Report
) -> None:
    """A model call longer than `max.poll.interval.ms` costs the membership, and the batch, which is decided once."""
    kafka = {"max.poll.interval.ms": int(SESSION * 1000), **PROTOCOLS[protocol]}
    with world(broker.bootstrap, directory, cards.path, "late", kafka=kafka) as story:
        with Traffic(broker.bootstrap, story.topics.source, rate=RATE) as traffic:
            scorer = story.start(program=(FAILING, "dawdle", "before_score", "30"))
            wait_for(lambda: says(scorer, "broker_trouble"), scorer, "_MAX_POLL_EXCEEDED")
            story.await_settled(traffic.sent)
        story.await_settled()
        alive = scorer.process.poll() is None
        found = story.audit(trained)
    report(f"5 model {DAWDLE:.0f} s, max.poll.interval {SESSION:.0f} s, {protocol}", found, DAWDLE)
    kept(found)
    assert alive, scorer.tail()
    # KIP-848's client leaves the group no sooner than it is polled again: until then its commits count.
    assert protocol == "KIP-848" or "fault" in aborted(scorer), scorer.tail()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_rebalance_storm(  # noqa: PLR0917 - fixtures
    protocol: str, broker: LocalBroker, directory: Path, trained: Trained, cards: Bundle, report: Report
) -> None:
    """A member that comes and goes every 2 s takes partitions away and gives them back; what is left goes on."""
    seconds = 6.0 if SMOKE else 300.0
    quick = {} if protocol == "KIP-848" else {"heartbeat.interval.ms": int(HEARTBEAT * 1000)}
    kafka = {**quick, **PROTOCOLS[protocol]}
    with world(broker.bootstrap, directory, cards.path, "storm", kafka=kafka) as story:
        with Traffic(broker.bootstrap, story.topics.source, rate=RATE) as traffic:
            scorer = story.begin()
            before = settled(scorer)
            with visitors(story, kafka):
                time.sleep(seconds)
            kept_up = (settled(scorer) - before) / (seconds * RATE)
            story.await_settled(traffic.sent)
        story.await_settled()
        rebalances = number(scorer, "scorer_rebalances_total")
        found = story.audit(trained)
    report(f"6 7 {rebalances:.0f} rebalances in {seconds:.0f} s, {kept_up:.0%} kept up, {protocol}", found, None)
    kept(found)
    assert rebalances > seconds / 4
    assert kept_up > 0.5


@contextmanager
def visitors(story: World, kafka: dict[str, Any]) -> Iterator[None]:
    """Let a member of the group come for 2 s and go for 2 s, again and again; it reads, and commits nothing."""
    leaving = threading.Event()
    properties = {
        "bootstrap.servers": story.bootstrap,
        "group.id": story.topics.group,
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        **kafka,
    }

    def visit() -> None:
        while not leaving.is_set():
            visitor = Consumer(properties)
            visitor.subscribe([story.topics.source])
            until = time.monotonic() + 2.0
            while time.monotonic() < until:
                visitor.poll(0.1)
            visitor.close()
            leaving.wait(2.0)

    thread = threading.Thread(target=visit)
    thread.start()
    yield
    leaving.set()
    thread.join()


def number(scorer: Scorer, name: str) -> float:
    """Return a number from the scorer's page: the sum over the labels."""
    return sum(float(value) for value in re.findall(rf"(?m)^{name}(?:\{{.*\}})? (\S+)$", scorer.get("/metrics")[1]))


def settled(scorer: Scorer) -> float:
    """Return how many events a scorer has settled."""
    return number(scorer, "scorer_events_total")


def test_twin_with_the_same_transactional_id(
    broker: LocalBroker, directory: Path, trained: Trained, cards: Bundle, report: Report
) -> None:
    """A stranger that takes the transactional id is shut out once more, or the scorer ends by 34 and is started again.

    At first it comes now and then, and in the end it comes at once after every renewal: two would fight for ever. And
    a second scorer of the same `instance`, which is how an operator would do it, ends by 34 before it has joined.
    """
    pauses = itertools.chain([2.0] * (3 if SMOKE else 30), [0.0] * (20 if SMOKE else 200))
    codes: list[int] = []
    with world(broker.bootstrap, directory, cards.path, "twin") as story:
        with Traffic(broker.bootstrap, story.topics.source, rate=RATE) as traffic:
            story.begin()
            for pause in pauses:
                hijack(story)
                time.sleep(pause)
                codes += restarted(story)
            # The last theft may be felt a while after it.
            story.await_settled(traffic.sent, meanwhile=lambda: codes.extend(restarted(story)))
            again = story.start()
            assert again.process.wait(story.patience) == FENCED, again.tail()
        story.await_settled()
        found = story.audit(trained)
    report(f"8 9 twin, fenced {len(codes)} times beyond renewal", found, None)
    kept(found)
    assert set(codes) <= {FENCED}, story.scorers[0].tail()


def hijack(story: World) -> None:
    """Take the scorer's transactional id away."""
    twin = Producer({"bootstrap.servers": story.bootstrap, "transactional.id": f"{story.topics.group}-0"})
    with suppress(KafkaException):  # the scorer may be quicker
        twin.init_transactions(30)


def restarted(story: World) -> list[int]:
    """Start the scorer again, as a supervisor would, if it has ended; return with which code."""
    code = story.scorers[-1].process.poll()
    if code is None:
        return []
    story.start()
    return [code]


@pytest.mark.parametrize("protocol", ["range", "KIP-848"])
def test_twins(  # noqa: PLR0917 - fixtures
    protocol: str, broker: LocalBroker, directory: Path, trained: Trained, cards: Bundle, report: Report
) -> None:
    """Of two with one `group.instance.id`, one ends and says so: the classic protocol's first, KIP-848's second."""
    with world(broker.bootstrap, directory, cards.path, "twins", kafka=PROTOCOLS[protocol]) as story:
        with Traffic(broker.bootstrap, story.topics.source, rate=RATE) as traffic:
            static = (FAILING, "raise", "static_member", "0")
            first = story.start(0, program=static)
            story.await_settled(RATE)
            second = story.start(1, program=static)
            loser, winner = (first, second) if protocol == "range" else (second, first)
            assert loser.process.wait(story.patience) == 30, loser.tail()
            assert "instance" in loser.tail()
            story.await_settled(traffic.sent)
        story.await_settled()
        alive = winner.process.poll() is None
        found = story.audit(trained)
    report(f"9 two of one group.instance.id, {protocol}", found, None)
    kept(found)
    assert alive, winner.tail()
