"""What can happen to topics and offsets under a scorer. Rows 30 to 32 of the catalogue."""

from __future__ import annotations

import re
import signal
import struct
from collections.abc import Sequence
from pathlib import Path

import auditor
import pytest
from bundles import Trained, frame_of, payloads
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions, NewTopic
from conftest import SMOKE, Report
from e2e_world import PARTITIONS, wait_for
from world import Offline, Traffic, World, ask, text, world

from scorer.broker.local import LocalBroker
from scorer.bundle import Bundle

pytestmark = pytest.mark.faults
RATE = 500


def committed(story: World, partitions: Sequence[int]) -> list[int]:
    """Return the group's committed offsets; -1001 where there is none."""
    asker = Consumer({"bootstrap.servers": story.bootstrap, "group.id": story.topics.group})
    found = asker.committed([TopicPartition(story.topics.source, number) for number in partitions], 30)
    asker.close()
    return [position.offset for position in found]


def reset(story: World, positions: dict[int, int]) -> None:
    """Set committed offsets, as an operator would."""
    to = [TopicPartition(story.topics.source, number, offset) for number, offset in positions.items()]
    admin = AdminClient({"bootstrap.servers": story.bootstrap})
    wanted = ConsumerGroupTopicPartitions(story.topics.group, to)
    admin.alter_consumer_group_offsets([wanted])[story.topics.group].result(30)


def answered(story: World) -> list[auditor.Answer]:
    """Return all decisions and dead letters."""
    found = auditor.decisions(auditor.read_committed(story.bootstrap, story.topics.decisions))
    return found + auditor.dead_letters(auditor.read_committed(story.bootstrap, story.topics.dead_letters))


def test_partitions_added(
    broker: LocalBroker, directory: Path, trained: Trained, cards: Bundle, report: Report
) -> None:
    """Partitions added under way are decided from their first record on, and the scorer does not end."""
    added = [PARTITIONS, PARTITIONS + 1]
    with world(broker.bootstrap, directory, cards.path, "partitions") as story:
        with Traffic(broker.bootstrap, story.topics.source, rate=RATE) as traffic:
            story.begin()
            admin = AdminClient({"bootstrap.servers": broker.bootstrap})
            grown = NewPartitions(story.topics.source, PARTITIONS + len(added))
            admin.create_partitions([grown])[story.topics.source].result(30)
            fill(story, added, 300)
            wait_for(lambda: committed(story, added) == [300, 300], story.scorers[0], "added partitions")
            story.await_settled(traffic.sent)
        story.await_settled()
        found = story.audit(trained)
    report("30 partitions added, 3 to 5", found, None)
    assert found.clean, found.examples


def fill(story: World, partitions: Sequence[int], count: int) -> None:
    """Send so many events to each of some partitions."""
    producer = Producer({"bootstrap.servers": story.bootstrap})
    for row, value in enumerate(payloads(frame_of(count, 23))):
        for number in partitions:
            producer.produce(story.topics.source, value, b"added-%d-%d" % (number, row % 50), number)
    assert producer.flush(60) == 0


@pytest.mark.long  # the short run has its harder brother below
def test_topic_deleted_and_made_again(
    broker: LocalBroker, directory: Path, trained: Trained, cards: Bundle, report: Report
) -> None:
    """The input deleted under a running scorer ends it by name; made again, nothing in it is begun blindly."""
    with world(broker.bootstrap, directory, cards.path, "deleted") as story:
        with Traffic(broker.bootstrap, story.topics.source, rate=RATE):
            story.begin()
        story.await_settled()
        inputs = auditor.read_committed(broker.bootstrap, story.topics.source)
        delete(story)
        assert story.scorers[0].process.wait(30) == 32, story.scorers[0].tail()
        assert story.topics.source in story.scorers[0].tail()
        create(story)
        fill(story, range(PARTITIONS), 300)
        again = story.start()
        assert again.process.wait(story.patience) == 33, again.tail()
        assert "committed nothing" in again.tail()
        found = auditor.audit(inputs, answered(story), Offline(trained))
    report("30 input deleted, made again", found, None)
    assert found.clean, found.examples


def test_topic_made_again_unseen(
    broker: LocalBroker, directory: Path, trained: Trained, cards: Bundle, report: Report
) -> None:
    """A topic made again while the scorer slept, and longer than before, ends it by name, now and after a restart.

    The client reads on from the old offsets until the scorer has looked; what it decides till then is sound.
    """
    with world(broker.bootstrap, directory, cards.path, "unseen") as story:
        with Traffic(broker.bootstrap, story.topics.source, rate=RATE):
            scorer = story.begin()
        story.await_settled()
        inputs = auditor.read_committed(broker.bootstrap, story.topics.source)
        scorer.process.send_signal(signal.SIGSTOP)
        delete(story)
        create(story)
        fill(story, range(PARTITIONS), len(inputs))
        scorer.process.send_signal(signal.SIGCONT)
        for ended in (scorer, story.start()):
            assert ended.process.wait(story.patience) == 33, ended.tail()
            assert f"{story.topics.source} was deleted and made again" in ended.tail()
        old = {record.at for record in inputs}
        others = auditor.read_committed(broker.bootstrap, story.topics.source)
        answers = answered(story)
        found = auditor.audit(inputs, [answer for answer in answers if answer.about in old], Offline(trained))
        after = auditor.audit(others, [answer for answer in answers if answer.about not in old], Offline(trained))
    report("30 input made again unseen", found, None)
    assert found.clean, found.examples
    assert after.duplicated + after.wrong + after.disordered == 0, after.examples


def delete(story: World) -> None:
    """Delete the input."""
    admin = AdminClient({"bootstrap.servers": story.bootstrap})
    admin.delete_topics([story.topics.source])[story.topics.source].result(30)


def create(story: World) -> None:
    """Make the input again."""
    admin = AdminClient({"bootstrap.servers": story.bootstrap})
    admin.create_topics([NewTopic(story.topics.source, PARTITIONS, 1)])[story.topics.source].result(30)


@pytest.mark.parametrize("way", ["stopped"] if SMOKE else ["stopped", "down"])
def test_records_deleted(  # noqa: PLR0917 - fixtures
    way: str, broker: LocalBroker, directory: Path, trained: Trained, cards: Bundle, report: Report
) -> None:
    """Records deleted before they were decided are no silent jump: exit 33 with the very gap, and all else decided."""
    with world(broker.bootstrap, directory, cards.path, "records") as story:
        with Traffic(broker.bootstrap, story.topics.source, rate=RATE) as traffic:
            story.begin()
            story.scorers[0].process.send_signal(signal.SIGSTOP if way == "stopped" else signal.SIGKILL)
            traffic.await_more(3 * RATE)
        inputs = auditor.read_committed(broker.bootstrap, story.topics.source)
        low = max(record.at[1] for record in inputs if record.at[0] == 0) - 50
        shorten(story, low)
        if way == "stopped":
            story.scorers[0].process.send_signal(signal.SIGCONT)
        else:
            story.start()
        assert story.scorers[-1].process.wait(story.patience) == 33, story.scorers[-1].tail()
        gap = told(story, low)
        reset(story, {0: low})
        story.start()
        story.await_settled()
        left = [record for record in inputs if record.at[0] != 0 or record.at[1] not in gap]
        found = auditor.audit(left, answered(story), Offline(trained))
    report(f"31 {len(gap)} records deleted, scorer {way}", found, None)
    assert gap
    assert found.clean, found.examples


def shorten(story: World, low: int) -> None:
    """Delete the first partition's records before an offset."""
    admin = AdminClient({"bootstrap.servers": story.bootstrap})
    (deleted,) = admin.delete_records([TopicPartition(story.topics.source, 0, low)]).values()
    assert deleted.result(30).low_watermark == low


def told(story: World, low: int) -> range:
    """Return the gap that the scorer reports: from the committed offset to the first record there is."""
    said = story.scorers[-1].tail()
    found = re.search(rf"{story.topics.source}-0, .*; records (\d+) to \d+ exist, (\d+) is committed", said)
    assert found, said
    assert (int(found[1]), [int(found[2])]) == (low, committed(story, [0]))
    return range(int(found[2]), low)


def test_committed_offsets_gone(
    broker: LocalBroker, directory: Path, trained: Trained, cards: Bundle, report: Report
) -> None:
    """A group whose committed offsets are gone begins nowhere, neither early nor late: exit 33 until they are set."""
    with world(broker.bootstrap, directory, cards.path, "offsets") as story:
        with Traffic(broker.bootstrap, story.topics.source, rate=RATE):
            assert story.begin().terminate()[0] == 0
        before = dict(enumerate(committed(story, range(PARTITIONS))))
        for forget, said in ((forget_one, f"{story.topics.source}-1"), (forget_all, "committed nothing")):
            forget(story)
            refused = story.start()
            assert refused.process.wait(story.patience) == 33, refused.tail()
            assert said in refused.tail()
            reset(story, before)
        story.start()
        story.await_settled()
        found = story.audit(trained)
    report("32 committed offsets gone", found, None)
    assert found.clean, found.examples


def forget_all(story: World) -> None:
    """Delete the group with all that it has committed."""
    admin = AdminClient({"bootstrap.servers": story.bootstrap})
    admin.delete_consumer_groups([story.topics.group])[story.topics.group].result(30)


def forget_one(story: World) -> None:
    """Delete one partition's committed offset: OffsetDelete, version 0, for which the client has no method."""
    body = text(story.topics.group) + struct.pack(">i", 1) + text(story.topics.source) + struct.pack(">ii", 1, 1)
    answer = ask(story.bootstrap, 47, body)
    assert (answer[:2], answer[-2:]) == (b"\0\0", b"\0\0"), answer
