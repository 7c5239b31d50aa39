"""One error router: what has to be done about a producer's error, and which of a consumer's no waiting mends."""

from __future__ import annotations

from collections.abc import Mapping

from confluent_kafka import KafkaError

from scorer.broker.contract import Fault, Verdict
from scorer.errors import BrokerError, TopicMissingError

STALE = frozenset(
    {
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.STALE_MEMBER_EPOCH,
        KafkaError._STATE,
        KafkaError._NO_OFFSET,
    }
)
"""A commit refused because the group has moved on."""
OFFSET_LOST = frozenset({KafkaError._AUTO_OFFSET_RESET, KafkaError._NO_OFFSET, KafkaError.OFFSET_OUT_OF_RANGE})
TOPIC_GONE = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION})
AUTHORIZATION = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        KafkaError._AUTHENTICATION,
    }
)

AWAY = frozenset(
    {
        KafkaError._TIMED_OUT,
        KafkaError._TRANSPORT,
        KafkaError._RESOLVE,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._WAIT_COORD,
        KafkaError._DESTROY_BROKER,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.UNSTABLE_OFFSET_COMMIT,
    }
)
"""What a question ends with while its broker is away or finds itself again, or has yet to settle a transaction."""


def verdict_of(error: KafkaError) -> Verdict:
    """Return what to do about an error.

    The order matters. Permissions are for an operator. After a fatal error, and after being fenced whatever its
    flags say, aborting would be answered `_CONFLICT` for ever, so this comes before the abortable ones. What is
    neither abortable nor retriable is as good as fatal.
    """
    if error.code() in AUTHORIZATION:
        return Verdict.STOP
    if error.fatal() or error.code() == KafkaError._FENCED:
        return Verdict.RENEW
    if error.txn_requires_abort():
        return Verdict.ABORT
    if error.retriable():
        return Verdict.RETRY
    return Verdict.RENEW


def fault_of(error: KafkaError) -> Fault:
    """Return the error as the contract's exception."""
    return Fault(verdict_of(error), error.name(), error.str(), fenced=error.code() == KafkaError._FENCED)


def final_error(error: KafkaError, topic: str, properties: Mapping[str, object]) -> BrokerError | None:
    """Return what to raise for a consumer's error, with the consumer's properties; None where waiting may mend it."""
    group = properties["group.id"]
    if error.code() in TOPIC_GONE:
        return TopicMissingError(f"topic {topic}: {error.str()}; it was deleted, or may not be described")
    if error.code() == KafkaError.INVALID_SESSION_TIMEOUT:
        return BrokerError(
            f"group {group}: the broker refuses `kafka: session.timeout.ms` = {properties['session.timeout.ms']}; "
            "set it between the broker's group.min.session.timeout.ms and group.max.session.timeout.ms"
        )
    if error.fatal() or error.code() == KafkaError._FATAL or error.code() in AUTHORIZATION:
        return BrokerError(f"topic {topic}, group {group}: {error.name()}: {error.str()}")
    return None
