"""A past for the replay: a topic with gaps, what a service decided of it, and the parts to replay it with."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from scorer.broker.contract import Membership
from scorer.broker.kafka import Identity, KafkaSink
from scorer.broker.kafka.bounded import SliceReader
from scorer.bundle import Bundle
from scorer.pipeline import Lane, process
from scorer.records import Records
from scorer.replay.compare import Making

BANDS = {"review": 0.5, "block": 0.9}
PARTITIONS = 3
ROUNDS = 5
EACH = 40
"""Events of a partition in a round."""


@dataclass(slots=True)
class World:
    """The topics' names, and by coordinates what each partition holds."""

    bootstrap: str
    topic: str
    events: dict[tuple[int, int], Mapping[str, Any]] = field(default_factory=dict)
    """Committed events that can be decided: (partition, offset) → event."""
    broken: list[tuple[int, int]] = field(default_factory=list)
    group: str = ""

    @property
    def decisions(self) -> str:
        """The topic that decisions were published to."""
        return f"{self.topic}.decisions"

    @property
    def dead_letters(self) -> str:
        """The topic that rejected events were published to."""
        return f"{self.topic}.dlq"

    @property
    def coordinates(self) -> set[tuple[int, int]]:
        """All committed records."""
        return {*self.events, *self.broken}


def event(number: int) -> dict[str, Any]:
    """Build one event; all fields follow from its number."""
    channel = "web" if number % 2 else "chip"
    return {"id": f"t{number}", "amount": 1.5 * (number % 97), "age": number % 31, "channel": channel}


def pack_cards(path: Path) -> None:
    """Pack a model that was never trained: only its bits matter here."""
    import pandas as pd
    import tensorflow as tf
    from sklearn.compose import ColumnTransformer
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    from scorer.bundle import pack

    frame = pd.DataFrame([event(number) for number in range(300)])
    columns = ColumnTransformer([("n", StandardScaler(), ["amount", "age"]), ("c", OneHotEncoder(), ["channel"])])
    tf.keras.utils.set_random_seed(7)
    features = tf.keras.Input((columns.fit_transform(frame).shape[1],), name="features")
    wide = tf.keras.initializers.RandomNormal(stddev=1.0)
    hidden = tf.keras.layers.Dense(16, activation="relu", kernel_initializer=wide)(features)
    score = tf.keras.layers.Dense(1, activation="sigmoid", name="score", kernel_initializer=wide)(hidden)
    pack(
        path,
        name="card",
        version="1",
        model=tf.keras.Model(features, score),
        preprocessor=columns,
        events=frame,
        event_id="id",
        bands=BANDS,
    )


def create_topics(bootstrap: str, partitions: Mapping[str, int]) -> None:
    """Create topics with their numbers of partitions."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    # Some events have old timestamps: the broker's own retention would delete them.
    config = {"retention.ms": "-1"}
    topics = [NewTopic(name, num_partitions=count, config=config) for name, count in partitions.items()]
    for future in admin.create_topics(topics).values():
        future.result(30)


def publish(bootstrap: str) -> World:
    """Publish rounds of events; after each one, a transaction on the same partitions is aborted."""
    topic = f"payments-{uuid.uuid4().hex[:8]}"
    world = World(bootstrap, topic, group=f"live-{topic}")
    create_topics(bootstrap, {topic: PARTITIONS, world.decisions: 2, world.dead_letters: 1})
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": topic})
    producer.init_transactions(30)
    for number in range(ROUNDS):
        delivered = transaction(producer, world, number)
        world.events.update({(partition, offset): made for partition, offset, made in delivered if made})
        world.broken += [(partition, offset) for partition, offset, made in delivered if not made]
        producer.begin_transaction()
        for partition in range(PARTITIONS):
            for _ in range(5):
                producer.produce(topic, b'{"id": "aborted"}', partition=partition)
        producer.flush(30)
        producer.abort_transaction(30)
    return world


def transaction(producer: Producer, world: World, number: int) -> list[tuple[int, int, Mapping[str, Any]]]:
    """Commit one round; one event of it cannot be decoded. Return partition, offset and event of each record."""
    delivered: list[tuple[int, int, Mapping[str, Any]]] = []
    producer.begin_transaction()
    for count in range(PARTITIONS * EACH):
        made = event(number * PARTITIONS * EACH + count) if count else {}
        value = json.dumps(made).encode() if made else b"broken"

        def note(error: Any, message: Any, made: Mapping[str, Any] = made) -> None:
            assert error is None
            delivered.append((message.partition(), message.offset(), made))

        producer.produce(world.topic, value, partition=count % PARTITIONS, on_delivery=note)
    producer.commit_transaction(30)
    return delivered


def live(world: World, bundle: Bundle) -> None:
    """Decide the whole topic as the service does: batches through `process` into transactions with offsets."""
    properties = {"bootstrap.servers": world.bootstrap}
    lane = lane_of(world, bundle)
    with (
        closing(SliceReader(properties, clock=time.monotonic)) as past,
        closing(KafkaSink(properties, Identity(world.group, "0"), transactional=True, hear=print)) as sink,
        closing(Consumer({**properties, "group.id": world.group})) as member,
    ):
        for records in past.read(world.topic, past.extent(world.topic), 100):
            outcome = process(records, lane, time.monotonic, time.monotonic())
            sink.begin()
            sink.publish(outcome.outgoing)
            sink.commit(records.next_offsets(), Membership(member.consumer_group_metadata()), 30.0)


def lane_of(world: World, bundle: Bundle, bands: Mapping[str, float] | None = None) -> Lane:
    """Build the lane of the world's topic; without `bands`, the bundle's own count."""
    return bundle.lane(
        world.topic, group="live", decisions=world.decisions, dead_letters=world.dead_letters, bands=bands
    )


def making_of(bundle: Bundle, lane: Lane) -> Making:
    """Return what decisions of a lane say of their making."""
    return Making(bundle.manifest.name, bundle.manifest.version, bundle.sha256, lane.bands.version)


def silent(batches: Iterable[Records], what: str, selected: Mapping[int, range]) -> Iterable[Records]:
    """Watch a replay without a word."""
    return batches


def committed(world: World) -> dict[int, int]:
    """Return the group's committed offsets."""
    with closing(Consumer({"bootstrap.servers": world.bootstrap, "group.id": world.group})) as member:
        found = member.committed([TopicPartition(world.topic, number) for number in range(PARTITIONS)], 30)
    return {position.partition: position.offset for position in found}


def coordinates(batches: Iterable[Records]) -> list[tuple[int, int]]:
    """Return (partition, offset) of every record, in the order they came."""
    return [at for records in batches for at in zip(records.partitions, records.offsets, strict=True)]


def bits(lines: Iterable[bytes]) -> dict[str, tuple[int, str]]:
    """Return decision lines as decision_id → (the score's float32 bits, the decision)."""
    decisions = [json.loads(line) for line in lines]
    assert len({made["decision_id"] for made in decisions}) == len(decisions)
    scores = np.array([made["score"] for made in decisions], np.float32).view(np.int32).tolist()
    return {made["decision_id"]: (score, made["decision"]) for made, score in zip(decisions, scores, strict=True)}
