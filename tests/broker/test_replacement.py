"""A consumer's client that gets no answer any more, while Kafka answers others: it is replaced, and nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from confluent_kafka import KafkaError
from mock_cluster import Api, MockCluster

from scorer.broker.contract import Change, Fault, Rebalance, Verdict
from scorer.broker.kafka import Identity, KafkaSource
from scorer.broker.kafka import source as source_module
from scorer.broker.kafka.clients import Trouble
from scorer.records import Partition

NEVER = 120.0
"""Seconds that no client waits for an answer."""
PARTITION = Partition("payments", 0)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[MockCluster]:
    """Give a cluster, whose questions are given up early."""
    monkeypatch.setattr(source_module, "REWIND_TIMEOUT", 1.0)
    with MockCluster() as made:
        made.create(PARTITION.topic)
        yield made


def assigned(source: KafkaSource) -> tuple[Rebalance, ...]:
    """Poll until partitions come; return all changes on the way."""
    changes: tuple[Rebalance, ...] = ()
    while not any(change.change is Change.ASSIGNED for change in changes):
        changes += source.poll(10, 0.1).rebalances
    return changes


def test_a_client_without_answers_is_replaced(cluster: MockCluster) -> None:
    """The first silence is waited for again; at the second, a new client that is answered takes over.

    The partitions of the old one are told as lost, the new one gets them, and goes on where the group is.
    """
    heard: list[Trouble] = []
    properties = {"bootstrap.servers": cluster.bootstrap, "session.timeout.ms": 6000}
    with closing(
        KafkaSource(properties, Identity("g", "0"), [PARTITION.topic], hear=heard.append, first={PARTITION: 0})
    ) as source:
        assigned(source)
        assert source.commit({PARTITION: 7})
        for _ in range(2):
            cluster.answer(Api.OffsetFetch, KafkaError.NO_ERROR, after=NEVER)
        with pytest.raises(Fault) as silent:
            source.rewind()
        assert silent.value.verdict is Verdict.RETRY
        assert source.rewind() == {PARTITION: 7}
        changes = assigned(source)
        assert changes[0] == Rebalance(Change.LOST, (PARTITION,))
        assert [change.change for change in changes[1:]] == [Change.ASSIGNED]
        assert any("takes over" in trouble.message for trouble in heard)


def test_a_client_is_kept_where_a_new_one_gets_no_answer_either(cluster: MockCluster) -> None:
    """A broker that is away is waited for by the same member, which goes on when it answers."""
    properties = {"bootstrap.servers": cluster.bootstrap, "session.timeout.ms": 6000}
    with closing(
        KafkaSource(properties, Identity("g", "0"), [PARTITION.topic], hear=print, first={PARTITION: 0})
    ) as source:
        assigned(source)
        for _ in range(3):
            cluster.answer(Api.OffsetFetch, KafkaError.NO_ERROR, after=NEVER)
        for _ in range(2):
            with pytest.raises(Fault):
                source.rewind()
        assert source.poll(10, 0.1).rebalances == ()
