"""The properties of the scorer's Kafka clients: those that it owns, and defaults that a configuration may change."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

Properties: TypeAlias = Mapping[str, str | int | float | bool]

LOG = logging.getLogger("scorer.librdkafka")
"""Where the clients write; they warn of every property that is the other client's, though `kafka:` is for both."""
LOG.addFilter(lambda record: not record.getMessage().startswith("CONFWARN"))

SESSION_TIMEOUT_MS = 10_000
SOCKET_TIMEOUT_MS = 10_000
RECONNECT_MS = 1_000
"""Longest pause between two tries to connect: the client's 10 s would be added to every outage of a few seconds."""
TRANSACTION_TIMEOUT_MS = 30_000


@dataclass(frozen=True, slots=True)
class Trouble:
    """An error that a client reports on its way, such as a lost connection; it goes on trying."""

    client: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this scorer is: its transactional id must be the same after every restart, and nobody else's."""

    group: str
    instance: str

    @property
    def transactional_id(self) -> str:
        """Return the id under which a restart settles what its predecessor left open."""
        return f"{self.group}-{self.instance}"

    @property
    def client_id(self) -> str:
        """Return the name by which brokers and a twin know this scorer."""
        return f"scorer-{self.group}-{self.instance}"


def common_properties(properties: Properties, identity: Identity) -> dict[str, Any]:
    """Return the properties of a client that only asks questions."""
    return {**properties, "client.id": f"{identity.client_id}-admin", "logger": LOG}


def consumer_properties(properties: Properties, identity: Identity) -> dict[str, Any]:
    """Return the consumer's properties: the owned ones over the user's over the defaults."""
    defaults: dict[str, Any] = {
        "fetch.queue.backoff.ms": 5,  # the client's 1000 lets a full local queue halve the throughput
        "coordinator.query.interval.ms": 5_000,  # the client's ten minutes may all be waited out after an outage
        "topic.metadata.refresh.interval.ms": 10_000,  # after the client's five minutes, added partitions would be seen
        "queued.min.messages": 20_000,  # of a partition: with the client's 100,000, memory depends on what waits
        "queued.max.messages.kbytes": 65_536,  # bounds what is read ahead, and so a batch's bytes
        "check.crcs": True,
        "socket.timeout.ms": SOCKET_TIMEOUT_MS,
        "reconnect.backoff.max.ms": RECONNECT_MS,
        # As for the producer: after a re-bootstrap the cached group coordinator is dead.
        "metadata.recovery.strategy": "none",
    }
    if properties.get("group.protocol", "classic") == "classic":
        defaults["session.timeout.ms"] = SESSION_TIMEOUT_MS
    owned = {
        "group.id": identity.group,
        "client.id": identity.client_id,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "isolation.level": "read_committed",
        "enable.partition.eof": True,  # else nobody knows that only transactions' marks are left
    }
    return {**defaults, **properties, **owned, "logger": LOG}


def producer_properties(properties: Properties, identity: Identity, *, transactional: bool) -> dict[str, Any]:
    """Return the producer's properties: the owned ones over the user's over the defaults."""
    given = str(properties.get("transaction.timeout.ms", "")).strip()
    # The client refuses a time-out of messages or requests that is longer. What is no number, it refuses by its name.
    longest = int(given) if given.isdecimal() else TRANSACTION_TIMEOUT_MS
    defaults: dict[str, Any] = {
        "retry.backoff.ms": 5,  # the client's 100 waits out CONCURRENT_TRANSACTIONS: p95 105 ms instead of 13
        "queue.buffering.max.messages": 200_000,  # more than the largest batch with its dead letters
        "message.timeout.ms": min(longest, TRANSACTION_TIMEOUT_MS),
        "socket.timeout.ms": min(longest, SOCKET_TIMEOUT_MS),
        "reconnect.backoff.max.ms": RECONNECT_MS,
        # After all brokers were gone at once, a re-bootstrap leaves the cached group coordinator dead here too, and the
        # next `send_offsets_to_transaction` waits for ever (librdkafka #5511, #5456).
        "metadata.recovery.strategy": "none",
    }
    owned: dict[str, Any] = {
        "client.id": identity.client_id,
        "enable.idempotence": True,
        "acks": "all",
        "partitioner": "murmur2_random",  # the Java clients' hash: decisions lie beside what they wrote
        "delivery.report.only.error": True,
    }
    if transactional:
        defaults["transaction.timeout.ms"] = TRANSACTION_TIMEOUT_MS
        owned["transactional.id"] = identity.transactional_id
    return {**defaults, **properties, **owned, "logger": LOG}


def error_callback(client: str, hear: Callable[[Trouble], None]) -> Callable[[Any], None]:
    """Return an error_cb: it only notes, since an exception in a callback would cost fetched records."""

    def note(error: Any) -> None:
        hear(Trouble(client, error.name(), error.str()))

    return note
