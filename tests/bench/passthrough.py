"""The limit of this client: `consume` → `produce_batch` and nothing else, in one process, in either delivery mode.

usage: python -m tests.bench.passthrough BOOTSTRAP INPUT OUTPUT exactly-once|at-least-once

It sets the same client properties as the scorer, and commits once a batch of at most 4,096, as the scorer does.
"""

from __future__ import annotations

import signal
import sys
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition

from scorer.broker.kafka.clients import Identity, consumer_properties, producer_properties


def main(bootstrap: str, source: str, target: str, mode: str) -> None:
    """Pass records on until SIGTERM."""
    transactional = mode == "exactly-once"
    identity = Identity(target, "0")
    properties = {"bootstrap.servers": bootstrap}
    consumer = Consumer({**consumer_properties(properties, identity), "auto.offset.reset": "earliest"})
    producer = Producer(producer_properties(properties, identity, transactional=transactional))
    if transactional:
        producer.init_transactions(30)
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopping.append(number))
    consumer.subscribe([source])
    while not stopping:
        first = consumer.consume(1, 0.1)
        if not first:
            continue
        messages: list[Any] = first + consumer.consume(4095, 0.005)
        metadata = consumer.consumer_group_metadata()
        last = {message.partition(): message.offset() for message in messages}
        offsets = [TopicPartition(source, number, offset + 1) for number, offset in last.items()]
        batch = [{"key": message.key(), "value": message.value()} for message in messages]
        if transactional:
            producer.begin_transaction()
        if producer.produce_batch(target, batch) != len(batch):
            raise SystemExit("the local queue is full")
        if transactional:
            producer.send_offsets_to_transaction(offsets, metadata, 10)
            producer.commit_transaction(10)
        else:
            producer.flush(30)
            consumer.commit(offsets=offsets, asynchronous=False)
    consumer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
