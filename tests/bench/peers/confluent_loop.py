"""The loop that a careful user of confluent-kafka writes: `consume` → score the batch → `produce_batch` → commit."""

from __future__ import annotations

from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition

from tests.bench.peers.scoring import BATCH, Scoring, arguments


def clients(bootstrap: str, group: str, *, transactional: bool) -> tuple[Consumer, Producer]:
    """Return both clients, with what is known to make them fast (see `scorer.broker.kafka.clients`)."""
    consuming = {"group.id": group, "enable.auto.commit": False, "auto.offset.reset": "earliest"}
    producing: dict[str, Any] = {"enable.idempotence": True, "retry.backoff.ms": 5, "delivery.report.only.error": True}
    if transactional:
        producing["transactional.id"] = f"{group}-0"
    producer = Producer({"bootstrap.servers": bootstrap, **producing})
    if transactional:
        producer.init_transactions(30)
    return Consumer({"bootstrap.servers": bootstrap, "fetch.queue.backoff.ms": 5, **consuming}), producer


def main() -> None:
    """Score until killed."""
    bootstrap, source, target, exactly_once, contract = arguments()
    scoring = Scoring(contract)
    consumer, producer = clients(bootstrap, target, transactional=exactly_once)
    consumer.subscribe([source])
    while True:
        messages: list[Any] = consumer.consume(1, 0.1)
        if not messages:
            continue
        messages += consumer.consume(BATCH - 1, 0.005)
        partitions, offsets = [m.partition() for m in messages], [m.offset() for m in messages]
        decisions = scoring(source, partitions, offsets, [m.value() for m in messages])
        batch = [{"key": m.key(), "value": value} for m, value in zip(messages, decisions, strict=True)]
        ends = [TopicPartition(source, p, o + 1) for p, o in dict(zip(partitions, offsets, strict=True)).items()]
        if exactly_once:
            producer.begin_transaction()
        if producer.produce_batch(target, batch) != len(batch):
            raise SystemExit("the local queue is full")
        if exactly_once:
            producer.send_offsets_to_transaction(ends, consumer.consumer_group_metadata(), 10)
            producer.commit_transaction(10)
        else:
            producer.flush(30)
            consumer.commit(offsets=ends, asynchronous=False)


if __name__ == "__main__":
    main()
