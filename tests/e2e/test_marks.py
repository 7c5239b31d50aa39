"""Transactions upstream: their marks take offsets that are no events, and retention may delete them."""

from __future__ import annotations

import re
from pathlib import Path

from bundles import frame_of, payloads
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from e2e_world import PARTITIONS, Progress, Scorer, Topics, read_committed, running, wait_for, write_settings

from scorer.bundle import Bundle

EVENTS = 60


def transaction(bootstrap: str, topic: str, *, commit: bool) -> None:
    """Send events to all partitions, as an upstream of exactly-once would."""
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": f"upstream-{topic}"})
    producer.init_transactions(30)
    producer.begin_transaction()
    for row, value in enumerate(payloads(frame_of(EVENTS, 23))):
        producer.produce(topic, value, partition=row % PARTITIONS)
    (producer.commit_transaction if commit else producer.abort_transaction)(30)


def lags(scorer: Scorer) -> list[float]:
    """Return the lag of each partition, as the page tells it."""
    return [float(value) for value in re.findall(r"scorer_consumer_lag\{.*\} (\S+)", scorer.get("/metrics")[1])]


def test_marks_that_retention_deletes_are_no_lost_events(bootstrap: str, cards: Bundle, tmp_path: Path) -> None:
    """When all is decided the lag is 0; and when all is deleted, restarts and new members go on with what comes."""
    topics = Topics.called("marks")
    topics.create(bootstrap)
    path = write_settings(tmp_path / "scorer.yaml", bootstrap, topics, cards.path)
    second = write_settings(tmp_path / "second.yaml", bootstrap, topics, cards.path, instance="1")
    progress = Progress(bootstrap, topics)
    with running(path) as scorer:
        for commit in (True, False):  # what is aborted, and its marks, is never followed by an event
            transaction(bootstrap, topics.source, commit=commit)
            wait_for(lambda: progress() == progress.ends() > EVENTS, scorer, "all offsets committed")
            wait_for(lambda: lags(scorer) == [0.0] * PARTITIONS, scorer, "no lag")
        partitions = [TopicPartition(topics.source, number, -1) for number in range(PARTITIONS)]
        admin = AdminClient({"bootstrap.servers": bootstrap})
        for deleted in admin.delete_records(partitions).values():
            deleted.result(30)
        with running(second) as rival:
            wait_for(lambda: any(event["event"] == "partitions_assigned" for event in rival.events()), rival, "a share")
            transaction(bootstrap, topics.source, commit=True)
            wait_for(lambda: progress() == progress.ends(), scorer, "all offsets committed by both")
            assert (scorer.terminate()[0], rival.terminate()[0]) == (0, 0)
    with running(path) as scorer:
        transaction(bootstrap, topics.source, commit=True)
        wait_for(lambda: progress() == progress.ends(), scorer, "all offsets committed after a restart")
        assert scorer.terminate()[0] == 0
    progress.close()
    assert len(read_committed(bootstrap, topics.decisions)) == 3 * EVENTS
