"""An event generator: the demo's events, again and again, each day's payments with new ids and times."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import count

from scorer.broker.kafka import Cluster, Identity, KafkaSink
from scorer.demo import traffic
from scorer.demo.simulator import DAY_MS, simulate
from scorer.demo.traffic import Traffic
from scorer.records import Outgoing

IDENTITY = Identity("demo", "events")
PARTITIONS = 3
TICK = 0.1
"""Seconds between two parcels."""


def stream(bootstrap: str, rate: float) -> None:
    """Send `rate` events a second, over all topics, until interrupted; makes the topics if need be."""
    cluster = Cluster({"bootstrap.servers": bootstrap}, IDENTITY)
    cluster.ensure_topics(traffic.TOPICS, {}, create=True, partitions=PARTITIONS)
    cluster.close()
    sink = KafkaSink({"bootstrap.servers": bootstrap}, IDENTITY, transactional=False, hear=lambda _: None)
    events = _forever()
    due, started = 0.0, time.monotonic()
    while True:
        due += rate * TICK
        while due >= 1:
            due -= 1
            topic, key, value = next(events)
            sink.publish(Outgoing(topic, [key], [value], ""))
        sink.flush(30.0)
        started += TICK
        time.sleep(max(started - time.monotonic(), 0))


def _forever() -> Iterator[tuple[str, bytes, bytes]]:
    """Yield events of all topics in turn: three of payments to one of payouts and one message."""
    for seed in count(1):
        today = int(time.time() * 1000) // DAY_MS * DAY_MS
        payments = traffic.cards(traffic.PAYMENTS, simulate(seed, days=2, start_ms=today))
        texts = traffic.messages()
        for at in range(0, len(payments) - 4, 4):
            yield from (_event(traffic.PAYMENTS, payments, row) for row in range(at, at + 3))
            yield _event(traffic.PAYOUTS, payments, at + 3)
            yield _event(traffic.MESSAGES, texts, at // 4 % len(texts))


def _event(topic: str, source: Traffic, row: int) -> tuple[str, bytes, bytes]:
    return topic, source.keys[row], source.values[row] or b""
