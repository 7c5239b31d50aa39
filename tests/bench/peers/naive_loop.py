"""The loops that a first attempt looks like: one call of the model an event; its signature, or Keras' `predict`.

usage: python -m tests.bench.peers.naive_loop BOOTSTRAP INPUT OUTPUT MODE CONTRACT signature|predict
"""

from __future__ import annotations

import sys
from typing import Any

from confluent_kafka import TopicPartition

from tests.bench.peers.confluent_loop import clients
from tests.bench.peers.scoring import Scoring, arguments, tensorflow

COMMIT_EVERY = 100


def main() -> None:
    """Score until killed, at least once."""
    how = sys.argv.pop()
    bootstrap, source, target, _, contract = arguments()
    scoring = Scoring(contract)
    if how == "predict":
        model = tensorflow().keras.models.load_model(scoring.contract.keras_model)
        scoring.scores = lambda features: model.predict(features, verbose=0)[:, 0].tolist()  # type: ignore[method-assign]
    consumer, producer = clients(bootstrap, target, transactional=False)
    consumer.subscribe([source])
    ends: dict[int, int] = {}
    count = 0
    while True:
        message: Any = consumer.poll(0.1)
        if message is not None:
            partition, offset, value = message.partition(), message.offset(), message.value()
            (decision,) = scoring(source, [partition], [offset], [value])
            producer.produce(target, decision, message.key())
            ends[partition] = offset + 1
            count += 1
        if ends and (message is None or count % COMMIT_EVERY == 0):
            producer.flush(30)
            offsets = [TopicPartition(source, number, end) for number, end in ends.items()]
            consumer.commit(offsets=offsets, asynchronous=False)
            ends.clear()


if __name__ == "__main__":
    main()
