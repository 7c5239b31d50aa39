"""Too much at once: storms of dead letters, a slow model, a flooded topic. Rows 62 and 63 of the catalogue, and 5."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import auditor
import numpy as np
import pytest
from bundles import Trained, frame_of, payloads
from confluent_kafka import Producer
from conftest import SMOKE, Report
from e2e_world import PARTITIONS, Scorer, Topics, wait_for
from world import Offline, Traffic, world

from scorer.broker.local import LocalBroker
from scorer.bundle import Bundle

pytestmark = pytest.mark.faults
SLOWED = str(Path(__file__).with_name("slowed.py"))


def metric(scorer: Scorer, name: str) -> float:
    """Return a number from the scorer's page: the sum over the labels."""
    return sum(float(value) for value in re.findall(rf"(?m)^{name}(?:\{{.*\}})? (\S+)$", scorer.get("/metrics")[1]))


def test_storm_of_dead_letters(
    broker: LocalBroker, directory: Path, trained: Trained, cards: Bundle, report: Report
) -> None:
    """Above its configured share of dead letters a topic stops with an alarm; the storm passes once it is let."""
    with world(broker.bootstrap, directory, cards.path, "storm") as story:
        lane = {"decisions": story.topics.decisions, "dead_letters": story.topics.dead_letters}
        lane["bundle"] = str(cards.path)
        guarded = {"topics": {story.topics.source: lane | {"max_dead_letters": 0.2}}}
        with Traffic(broker.bootstrap, story.topics.source, rate=500) as traffic:
            scorer = story.start(**guarded)
            story.await_settled(1000)
        story.await_settled()
        producer = Producer({"bootstrap.servers": broker.bootstrap})
        for at in range(5000):
            producer.produce(story.topics.source, b"\xff\xfe{}", b"card-%03d" % (at % 50), at % PARTITIONS)
        producer.flush(30)
        wait_for(lambda: metric(scorer, "scorer_topic_stopped") == 1, scorer, "the topic to stop")
        dead = metric(scorer, "scorer_dead_letters_total")
        assert dead < 0.2 * traffic.sent
        time.sleep(1.0)  # however long it is left alone
        assert metric(scorer, "scorer_dead_letters_total") == dead
        assert scorer.get("/readyz")[0] == 200
        assert scorer.terminate()[0] == 0
        story.start()
        story.await_settled()
        found = story.audit(trained)
    report("62 storm of dead letters, then let through", found, None)
    assert found.clean, found.examples


def test_slow_topic_beside_a_quick_one(
    broker: LocalBroker, directory: Path, trained: Trained, cards: Bundle, report: Report
) -> None:
    """A topic whose model takes 2 ms an event has a backlog: the other is decided in its time.

    And no batch takes so long that the group gives the scorer up.
    """
    slow, quick = Topics.called("slow"), Topics.called("quick")
    with world(broker.bootstrap, directory, cards.path, "quick") as story:
        story.topics = quick
        story.create()
        story.topics = slow
        story.create()
        lanes = {
            topics.source: {
                "bundle": str(cards.path),
                "decisions": topics.decisions,
                "dead_letters": topics.dead_letters,
            }
            for topics in (slow, quick)
        }
        story.settings |= {"topics": lanes, "group": slow.group, "kafka": {"max.poll.interval.ms": 6000}}
        Traffic(broker.bootstrap, slow.source, rate=0).send(20_000 if SMOKE else 60_000)
        scorer = story.start(program=(SLOWED, "0.002", "slow"))
        wait_for(lambda: metric(scorer, "scorer_events_total") > 0, scorer, "the first batch")
        values = payloads(frame_of(200 if SMOKE else 1000, 3))
        producer = Producer({"bootstrap.servers": broker.bootstrap, "linger.ms": 0})
        for at, value in enumerate(values):
            producer.produce(quick.source, value, b"%d" % at, at % PARTITIONS)
            producer.flush(10)
            time.sleep(0.03)
        wait_for(lambda: len(auditor.read_committed(broker.bootstrap, quick.decisions)) == len(values), scorer, "all")
        inputs = auditor.read_committed(broker.bootstrap, quick.source)
        decided = auditor.read_committed(broker.bootstrap, quick.decisions)
        sent = {record.at: record.time for record in inputs}
        told = [json.loads(record.value or b"") for record in decided]
        waits = [r.time - sent[t["partition"], t["offset"]] for r, t in zip(decided, told, strict=True)]
        found = auditor.audit(inputs, auditor.decisions(decided), Offline(trained))
        assert metric(scorer, "scorer_rebalances_total") == 1
        backlog = metric(scorer, "scorer_consumer_lag")
    report(f"63 beside a backlog of {backlog:.0f} slow events: p99 {np.quantile(waits, 0.99):.2f} s", found, None)
    assert found.clean, found.examples
    assert backlog > 2000
    assert np.quantile(waits, 0.99) < 3.0
