"""Records passed on and nothing done with them: the limit of this client, and what the way itself takes.

usage: python -m tests.bench.passthrough BOOTSTRAP INPUT OUTPUT exactly-once|at-least-once [echo]

`consume` → `produce_batch`, in one process, with the scorer's client properties and a commit once a batch of at most
4,096. The limit waits a moment for a batch to fill; an echo takes what is there, and nothing lingers.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import cast

from confluent_kafka import Consumer, Message, Producer, TopicPartition

from scorer.broker.kafka.clients import Identity, Properties, consumer_properties, producer_properties

MOST = 4095
"""Records beside the first one in a batch."""
FILLING = 0.005
"""Seconds that the limit waits for them."""


def pass_on(consumer: Consumer, producer: Producer, target: str, messages: Sequence[Message], *, exact: bool) -> None:
    """Publish messages as they are, and commit where they end."""
    ends = {(m.topic(), m.partition()): cast(int, m.offset()) + 1 for m in messages}
    offsets = [TopicPartition(cast(str, topic), cast(int, number), end) for (topic, number), end in ends.items()]
    batch = [{"key": message.key(), "value": message.value()} for message in messages]
    if exact:
        producer.begin_transaction()
    if producer.produce_batch(target, batch) != len(batch):
        raise SystemExit("the local queue is full")
    if exact:
        producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), 10)
        producer.commit_transaction(10)
    else:
        producer.flush(30)
        consumer.commit(offsets=offsets, asynchronous=False)


def main(bootstrap: str, source: str, target: str, mode: str, kind: str = "limit") -> None:
    """Pass records on until SIGTERM."""
    exact, echo = mode == "exactly-once", kind == "echo"
    identity = Identity(target, str(os.getpid()))
    properties: Properties = {"bootstrap.servers": bootstrap, **({"linger.ms": 0} if echo else {})}
    consumer = Consumer({**consumer_properties(properties, identity), "auto.offset.reset": "earliest"})
    producer = Producer(producer_properties(properties, identity, transactional=exact))
    if exact:
        producer.init_transactions(30)
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopping.append(number))
    consumer.subscribe([source])
    while not stopping:
        first = consumer.consume(1, 0.1)
        if first:
            pass_on(consumer, producer, target, first + consumer.consume(MOST, 0 if echo else FILLING), exact=exact)
    consumer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
