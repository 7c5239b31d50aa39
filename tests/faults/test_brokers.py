"""What can happen to the broker: killed, stopped, full, forbidding, idle.

Rows 19, 20, 29, 33 and 38 of the catalogue. The least silence is the outage: of a broker that has to start again, from
its end to its first answer. A client that gave up its membership meanwhile may have to wait a session (6 s) more, where
the broker that comes back still remembers it.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from bundles import Trained
from confluent_kafka import IsolationLevel, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its types leave them out
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    OffsetSpec,
    ResourcePatternType,
    ResourceType,
)
from conftest import SMOKE, Report
from e2e_world import PARTITIONS
from world import SESSION, Traffic, World, world

from scorer.broker.local import LocalBroker
from scorer.bundle import Bundle
from scorer.errors import LocalBrokerError

pytestmark = pytest.mark.faults
RATE = 500
DISK_MB = 120
AUTHORIZER = """\
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=true
"""
FORBIDDEN_SECONDS = 30.0
"""Seconds within which a scorer without a permission ends by name."""


class StrictBroker(LocalBroker):
    """A broker that obeys access control lists; what none of them speaks of is allowed."""

    def _configure(self, data: Path) -> None:
        super()._configure(data)
        with (self.directory / "kafka.properties").open("a", encoding="utf-8") as properties:
            properties.write(AUTHORIZER)


@pytest.fixture(scope="module")
def broker(java: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBroker]:
    """Give a Kafka of one's own, which may be killed, stopped and told to forbid."""
    with StrictBroker(tmp_path_factory.mktemp("kafka")) as made:
        yield made


@pytest.fixture
def small_disk(directory: Path) -> Iterator[Path]:
    """Give a directory on a disk of its own; only root may mount one."""
    disk = directory / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "scorer-faults", str(disk)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(mounted.stderr)  # also where all is required: no package gives this right
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_broker_killed(broker: LocalBroker, directory: Path, trained: Trained, cards: Bundle, report: Report) -> None:
    """`kill -9` of the broker, back after 3 s: the scorer lives on by itself, and nothing is lost or twice."""
    with world(broker.bootstrap, directory, cards.path, "killed") as story:
        with Traffic(broker.bootstrap, story.topics.source, rate=RATE) as traffic:
            story.begin()
            begun = time.monotonic()
            broker.kill()
            time.sleep(3.0)
            broker.start()
            outage = time.monotonic() - begun
            story.await_settled(traffic.sent)
        story.await_settled()
        alive = story.scorers[0].process.poll() is None
        found = story.audit(trained)
    # A client that heard nothing for a session's time has given its place up, and that place must run out first.
    report("19 broker kill -9, back after 3 s", found, outage if outage < SESSION else outage + SESSION)
    assert alive, story.scorers[0].tail()
    assert found.clean, found.examples


@pytest.mark.parametrize("seconds", [12.0] if SMOKE else [12.0, 90.0])
def test_broker_stopped(  # noqa: PLR0917 - fixtures
    seconds: float, broker: LocalBroker, directory: Path, trained: Trained, cards: Bundle, report: Report
) -> None:
    """SIGSTOP of the broker, beyond every request's time-out or even the transaction's: the scorer lives on."""
    with world(broker.bootstrap, directory, cards.path, "stopped") as story:
        with Traffic(broker.bootstrap, story.topics.source, rate=RATE) as traffic:
            story.begin()
            broker.suspend()
            time.sleep(seconds)
            broker.resume()
            story.await_settled(traffic.sent)
        story.await_settled()
        alive = story.scorers[0].process.poll() is None
        found = story.audit(trained)
    report(f"20 broker SIGSTOP {seconds:.0f} s", found, seconds)
    assert alive, story.scorers[0].tail()
    assert found.clean, found.examples


def test_disk_full(  # noqa: PLR0917 - fixtures
    java: None, small_disk: Path, directory: Path, trained: Trained, cards: Bundle, report: Report
) -> None:
    """A full disk halts Kafka: with space again and a new start, every event is decided once."""
    with LocalBroker(small_disk) as broker, world(broker.bootstrap, directory, cards.path, "full") as story:
        with Traffic(broker.bootstrap, story.topics.source, rate=RATE) as traffic:
            story.begin()
            begun = time.monotonic()
            fill(small_disk / "ballast")
            await_end(broker)
            (small_disk / "ballast").unlink()
            broker.start()
            outage = time.monotonic() - begun
            if story.scorers[0].process.poll() is not None:
                assert story.scorers[0].process.returncode in {30, 31}, story.scorers[0].tail()
                story.start()
            story.await_settled(traffic.sent)
        story.await_settled()
        found = story.audit(trained)
    report("29 broker's disk full", found, outage)
    assert found.clean, found.examples


def fill(ballast: Path) -> None:
    """Write until the disk is full."""
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(bytes(1 << 16)):
            pass


def await_end(broker: LocalBroker) -> None:
    """Wait until a broker has ended by itself."""
    deadline = time.monotonic() + 60
    with suppress(LocalBrokerError):
        while broker.pid:
            assert time.monotonic() < deadline, "a full disk did not halt Kafka"
            time.sleep(0.05)


PERMISSIONS = {
    "to write decisions": (ResourceType.TOPIC, "{decisions}", AclOperation.WRITE),
    "to read events": (ResourceType.TOPIC, "{source}", AclOperation.READ),
    "to use the group": (ResourceType.GROUP, "{group}", AclOperation.READ),
    "to write transactions": (ResourceType.TRANSACTIONAL_ID, "{group}-0", AclOperation.WRITE),
}


@pytest.mark.parametrize("name", list(PERMISSIONS)[:1] if SMOKE else PERMISSIONS)
def test_permission_revoked(  # noqa: PLR0917 - fixtures
    name: str, broker: LocalBroker, directory: Path, trained: Trained, cards: Bundle, report: Report
) -> None:
    """A permission revoked under way ends the scorer by name within 30 s; granted again, a restart goes on."""
    kind, pattern, operation = PERMISSIONS[name]
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    with world(broker.bootstrap, directory, cards.path, "revoked") as story:
        resource = pattern.format(**{part: getattr(story.topics, part) for part in ("decisions", "source", "group")})
        whom = (kind, resource, ResourcePatternType.LITERAL, "User:ANONYMOUS", "*")
        # A resource that any rule speaks of is closed to everybody else: the others, as the traffic, are let in again.
        rules = [(*whom, AclOperation.ALL, AclPermissionType.ALLOW), (*whom, operation, AclPermissionType.DENY)]
        with Traffic(broker.bootstrap, story.topics.source, rate=RATE) as traffic:
            story.begin()
            for rule in rules:
                admin.create_acls([made := AclBinding(*rule)])[made].result(30)
            code = story.scorers[0].process.wait(FORBIDDEN_SECONDS)
            for rule in reversed(rules):
                admin.delete_acls([gone := AclBindingFilter(*rule)])[gone].result(30)
            assert (code, "AUTHORIZATION_FAILED" in story.scorers[0].tail()) == (30, True), story.scorers[0].tail()
            story.start()
            story.await_settled(traffic.sent)
        story.await_settled()
        found = story.audit(trained)
    report(f"33 permission revoked {name}", found, None)
    assert found.clean, found.examples


def test_idle(broker: LocalBroker, directory: Path, trained: Trained, cards: Bundle, report: Report) -> None:
    """Without input no transaction is open, nor an empty one made: readers of decisions see to their very end."""
    seconds = 8.0 if SMOKE else 60.0
    with world(broker.bootstrap, directory, cards.path, "idle") as story:
        with Traffic(broker.bootstrap, story.topics.source, rate=RATE):
            story.begin()
        story.await_settled()
        quiet = ends(broker, story, IsolationLevel.READ_UNCOMMITTED)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            assert ends(broker, story, IsolationLevel.READ_COMMITTED) == quiet
            assert ends(broker, story, IsolationLevel.READ_UNCOMMITTED) == quiet
            time.sleep(0.25)
        with Traffic(broker.bootstrap, story.topics.source, rate=0, seed=12) as more:
            more.send(RATE)
        story.await_settled()
        found = story.audit(trained)
    report(f"38 no input for {seconds:.0f} s", found, seconds)
    assert found.clean, found.examples


def ends(broker: LocalBroker, story: World, isolation: IsolationLevel) -> list[int]:
    """Return the ends of the topics written to: last stable offsets for committed readers, else high watermarks."""
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    topics = (story.topics.decisions, story.topics.dead_letters)
    asked = {TopicPartition(topic, number): OffsetSpec.latest() for topic in topics for number in range(PARTITIONS)}
    found = admin.list_offsets(asked, isolation_level=isolation, request_timeout=30)
    return [found[partition].result(30).offset for partition in asked]
