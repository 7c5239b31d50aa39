"""FastStream (on confluent-kafka) in its batched way: a batch subscriber, and `publish_batch`; at-least-once only.

It has no call that puts consumed offsets into a transaction.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from faststream import AckPolicy, FastStream
from faststream.confluent import KafkaBroker, KafkaPublishMessage

from tests.bench.peers.scoring import BATCH, Scoring, arguments


async def raw(message: Any) -> Any:
    """Return the messages as the client gave them: the scoring decodes."""
    return message.raw_message


def main() -> None:
    """Score until killed."""
    given = arguments()
    scoring = Scoring(given.contract)
    broker = KafkaBroker(
        given.bootstrap,
        acks="all",
        enable_idempotence=True,
        allow_auto_create_topics=False,
        apply_types=False,
        log_level=logging.DEBUG,
        logger=None,
    )

    @broker.subscriber(
        given.source,
        batch=True,
        max_records=BATCH,
        polling_interval=0.005,
        group_id=given.target,
        auto_offset_reset="earliest",
        ack_policy=AckPolicy.NACK_ON_ERROR,
        decoder=raw,
    )
    async def decide(messages: tuple[Any, ...]) -> None:
        partitions, offsets = [m.partition() for m in messages], [m.offset() for m in messages]
        decisions = scoring(given.source, partitions, offsets, [m.value() for m in messages])
        batch = [KafkaPublishMessage(value, key=m.key()) for m, value in zip(messages, decisions, strict=True)]
        await broker.publish_batch(*batch, topic=given.target)

    asyncio.run(FastStream(broker, logger=None).run())


if __name__ == "__main__":
    main()
