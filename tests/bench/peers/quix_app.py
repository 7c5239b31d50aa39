"""Quix Streams in its batched way: a sink, which is given the events one by one, and scores them at each checkpoint."""

from __future__ import annotations

from itertools import repeat
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from quixstreams import Application
from quixstreams.sinks.base import BatchingSink, SinkBatch

from tests.bench.peers.scoring import BATCH, Scoring, arguments


class ScoringSink(BatchingSink):
    """Scores what came since the last checkpoint, a partition at a time, and publishes the decisions."""

    def __init__(self, scoring: Scoring, producer: Any, target: str) -> None:
        super().__init__()
        self._scoring, self._producer, self._target = scoring, producer, target

    def write(self, batch: SinkBatch) -> None:
        """Score and publish; the checkpoint waits for the deliveries, and commits the offsets."""
        items = list(batch)
        offsets, values = [item.offset for item in items], [item.value for item in items]
        decisions = self._scoring(batch.topic, repeat(batch.partition, len(items)), offsets, values)
        for item, value in zip(items, decisions, strict=True):
            self._producer.produce(self._target, value, item.key)


def main() -> None:
    """Score until killed."""
    given = arguments()
    scoring = Scoring(given.contract)
    with TemporaryDirectory() as state:
        application = Application(
            broker_address=given.bootstrap,
            consumer_group=given.target,
            auto_offset_reset="earliest",
            auto_create_topics=False,
            commit_every=BATCH,
            commit_interval=0.1,
            consumer_poll_timeout=0.1,
            processing_guarantee="exactly-once" if given.exactly_once else "at-least-once",
            consumer_extra_config={"fetch.queue.backoff.ms": 5},
            producer_extra_config={"retry.backoff.ms": 5},
            state_dir=Path(state),
            loglevel="WARNING",
        )
        topic = application.topic(given.source, key_deserializer="bytes", value_deserializer="bytes")
        # A sink has no other way into the checkpoint's transaction: `get_producer()` gives a producer of its own.
        application.dataframe(topic).sink(ScoringSink(scoring, application._producer, given.target))
        application.run()


if __name__ == "__main__":
    main()
