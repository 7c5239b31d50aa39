"""Decisions of a replay into a topic of their own: acknowledged batch by batch, in no transaction and for no group."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

from scorer.broker.contract import Fault
from scorer.broker.kafka.clients import Identity, Properties
from scorer.broker.kafka.cluster import Cluster
from scorer.broker.kafka.sink import KafkaSink
from scorer.errors import BrokerError, SelectionError
from scorer.records import Outgoing

REPLAYER = Identity("replay", "out")
FLUSH_TIMEOUT = 60.0
"""Seconds for the acknowledgements of a batch."""


def refuse_existing(topic: str, topics: Container[str]) -> None:
    """Raise SelectionError for a topic that is among those that there are."""
    if topic in topics:
        raise SelectionError(
            f"--out-topic {topic}: exists already, and others may read it; name a new one, or add "
            "--allow-existing-topic"
        )


@contextmanager
def publishing(
    properties: Properties, topic: str, *, partitions: int, existing: bool
) -> Iterator[Callable[[Outgoing], None]]:
    """Make a topic, and give what publishes decisions to it; dead letters stay unpublished.

    Raises SelectionError for a topic that exists already, unless it is allowed to, and BrokerError for what waiting
    does not mend.
    """
    with closing(Cluster(properties, REPLAYER)) as cluster:
        if not existing:
            refuse_existing(topic, cluster.reach())
        cluster.ensure_topics([topic], {}, create=True, partitions=partitions)
    with closing(KafkaSink(properties, REPLAYER, transactional=False, hear=lambda _: None)) as sink:

        def publish(outgoing: Outgoing) -> None:
            try:
                sink.publish(replace(outgoing, decisions_topic=topic, dead_letters=()))
                sink.flush(FLUSH_TIMEOUT)
            except Fault as fault:
                raise BrokerError(
                    f"topic {topic}: decisions cannot be published: {fault}; go on with --resume"
                ) from fault

        yield publish
