"""aiokafka in its batched way: `getmany` → score the batch → `send` each → commit, or a transaction a batch."""

from __future__ import annotations

import asyncio
from itertools import chain

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from tests.bench.peers.scoring import BATCH, Arguments, Scoring, arguments


async def main(given: Arguments) -> None:
    """Score until killed."""
    scoring = Scoring(given.contract)
    consumer = AIOKafkaConsumer(
        given.source,
        bootstrap_servers=given.bootstrap,
        group_id=given.target,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        session_timeout_ms=30_000,
    )
    producer = AIOKafkaProducer(
        bootstrap_servers=given.bootstrap,
        acks="all",
        enable_idempotence=True,
        max_batch_size=1 << 18,
        linger_ms=5,
        retry_backoff_ms=5,
        transactional_id=f"{given.target}-0" if given.exactly_once else None,
    )
    await producer.start()
    await consumer.start()

    async def publish(keys: list[bytes], decisions: list[bytes]) -> None:
        sent = [await producer.send(given.target, value, key) for key, value in zip(keys, decisions, strict=True)]
        await asyncio.gather(*sent)

    while True:
        found = await consumer.getmany(timeout_ms=100, max_records=BATCH)
        records = list(chain.from_iterable(found.values()))
        if not records:
            continue
        partitions, offsets = [r.partition for r in records], [r.offset for r in records]
        decisions = scoring(given.source, partitions, offsets, [r.value for r in records])
        keys = [r.key for r in records]
        ends = {partition: those[-1].offset + 1 for partition, those in found.items() if those}
        if given.exactly_once:
            async with producer.transaction():
                await publish(keys, decisions)
                await producer.send_offsets_to_transaction(ends, given.target)
        else:
            await publish(keys, decisions)
            await consumer.commit(ends)


if __name__ == "__main__":
    asyncio.run(main(arguments()))
