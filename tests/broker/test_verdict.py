"""What is done about each error that a broker may answer within a transaction, measured at the client itself."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest
from confluent_kafka import Consumer, KafkaError
from mock_cluster import Api, MockCluster

from scorer.broker.contract import Fault, Membership, Verdict
from scorer.broker.kafka import Identity, KafkaSink
from scorer.broker.kafka.verdict import AUTHORIZATION, fault_of, verdict_of
from scorer.records import Outgoing, Partition

TABLE = """
Produce              _TRANSPORT                              none
Produce              INVALID_MSG                             none
Produce              NOT_LEADER_FOR_PARTITION                none
Produce              NOT_ENOUGH_REPLICAS                     none
Produce              NOT_ENOUGH_REPLICAS_AFTER_APPEND        none
Produce              REQUEST_TIMED_OUT                       none
Produce              KAFKA_STORAGE_ERROR                     none
Produce              UNKNOWN_TOPIC_OR_PART                   none
Produce              UNKNOWN_PRODUCER_ID                     abort
Produce              MSG_SIZE_TOO_LARGE                      abort
Produce              INVALID_RECORD                          abort
Produce              INVALID_TIMESTAMP                       abort
Produce              POLICY_VIOLATION                        abort
Produce              INVALID_TXN_STATE                       abort
Produce              INVALID_PRODUCER_ID_MAPPING             abort
Produce              TRANSACTION_ABORTABLE                   abort
Produce              UNKNOWN                                 abort
Produce              OUT_OF_ORDER_SEQUENCE_NUMBER            renew
Produce              INVALID_PRODUCER_EPOCH                  renew
Produce              TOPIC_AUTHORIZATION_FAILED              stop
Produce              CLUSTER_AUTHORIZATION_FAILED            stop
AddPartitionsToTxn   _TRANSPORT                              none
AddPartitionsToTxn   CONCURRENT_TRANSACTIONS                 none
AddPartitionsToTxn   COORDINATOR_LOAD_IN_PROGRESS            none
AddPartitionsToTxn   NOT_COORDINATOR                         none
AddPartitionsToTxn   INVALID_PRODUCER_ID_MAPPING             abort
AddPartitionsToTxn   UNKNOWN_PRODUCER_ID                     abort
AddPartitionsToTxn   TRANSACTION_ABORTABLE                   abort
AddPartitionsToTxn   INVALID_PRODUCER_EPOCH                  renew
AddPartitionsToTxn   PRODUCER_FENCED                         renew
AddPartitionsToTxn   INVALID_TXN_STATE                       renew
AddPartitionsToTxn   TOPIC_AUTHORIZATION_FAILED              stop
AddPartitionsToTxn   TRANSACTIONAL_ID_AUTHORIZATION_FAILED   stop
AddOffsetsToTxn      _TRANSPORT                              none
AddOffsetsToTxn      CONCURRENT_TRANSACTIONS                 none
AddOffsetsToTxn      COORDINATOR_NOT_AVAILABLE               none
AddOffsetsToTxn      NOT_COORDINATOR                         none
AddOffsetsToTxn      INVALID_PRODUCER_ID_MAPPING             abort
AddOffsetsToTxn      UNKNOWN_PRODUCER_ID                     abort
AddOffsetsToTxn      TRANSACTION_ABORTABLE                   abort
AddOffsetsToTxn      INVALID_PRODUCER_EPOCH                  renew
AddOffsetsToTxn      PRODUCER_FENCED                         renew
AddOffsetsToTxn      INVALID_TXN_STATE                       renew
AddOffsetsToTxn      GROUP_AUTHORIZATION_FAILED              stop
AddOffsetsToTxn      TRANSACTIONAL_ID_AUTHORIZATION_FAILED   stop
TxnOffsetCommit      _TRANSPORT                              none
TxnOffsetCommit      COORDINATOR_LOAD_IN_PROGRESS            none
TxnOffsetCommit      COORDINATOR_NOT_AVAILABLE               none
TxnOffsetCommit      NOT_COORDINATOR                         none
TxnOffsetCommit      REQUEST_TIMED_OUT                       none
TxnOffsetCommit      ILLEGAL_GENERATION                      abort
TxnOffsetCommit      UNKNOWN_MEMBER_ID                       abort
TxnOffsetCommit      REBALANCE_IN_PROGRESS                   abort
TxnOffsetCommit      FENCED_INSTANCE_ID                      abort
TxnOffsetCommit      STALE_MEMBER_EPOCH                      abort
TxnOffsetCommit      TRANSACTION_ABORTABLE                   abort
TxnOffsetCommit      OFFSET_METADATA_TOO_LARGE               abort
TxnOffsetCommit      INVALID_PRODUCER_EPOCH                  renew
TxnOffsetCommit      PRODUCER_FENCED                         renew
TxnOffsetCommit      INVALID_PRODUCER_ID_MAPPING             renew
TxnOffsetCommit      INVALID_TXN_STATE                       renew
TxnOffsetCommit      GROUP_AUTHORIZATION_FAILED              stop
TxnOffsetCommit      TOPIC_AUTHORIZATION_FAILED              stop
TxnOffsetCommit      TRANSACTIONAL_ID_AUTHORIZATION_FAILED   stop
EndTxn               _TRANSPORT                              none
EndTxn               CONCURRENT_TRANSACTIONS                 none
EndTxn               COORDINATOR_LOAD_IN_PROGRESS            none
EndTxn               COORDINATOR_NOT_AVAILABLE               none
EndTxn               NOT_COORDINATOR                         none
EndTxn               INVALID_PRODUCER_ID_MAPPING             abort
EndTxn               UNKNOWN_PRODUCER_ID                     abort
EndTxn               REQUEST_TIMED_OUT                       abort
EndTxn               TRANSACTION_ABORTABLE                   abort
EndTxn               INVALID_PRODUCER_EPOCH                  renew
EndTxn               PRODUCER_FENCED                         renew
EndTxn               INVALID_TXN_STATE                       renew
EndTxn               TRANSACTIONAL_ID_AUTHORIZATION_FAILED   stop
"""
"""Request, the broker's answer to it, and the verdict; none: the client mends it by itself and the commit succeeds.

PRODUCER_FENCED from AddOffsetsToTxn and TxnOffsetCommit is flagged as abortable by the client, and is not: see `renew`.
"""
ROWS = [tuple(line.split()) for line in TABLE.strip().splitlines()]
TIMEOUT = 8.0
ATTEMPTS = 3
"""Transactions until one goes through: the client's own change of epoch after an abort may cost the next one."""
FLAGS = list(product([False, True], repeat=3))
"""Whether an error is fatal, retriable, and asks for an abort."""
CODES = sorted({code for name in dir(KafkaError) if isinstance(code := getattr(KafkaError, name), int)})
OUTGOING = Outgoing("decisions", (b"key",), (b"value",), "letters")


@pytest.fixture(scope="module")
def cluster() -> Iterator[MockCluster]:
    """Give a cluster that refuses what it is told to."""
    with MockCluster() as made:
        made.create("input")
        made.create(OUTGOING.decisions_topic)
        yield made


@pytest.fixture(scope="module")
def membership(cluster: MockCluster) -> Iterator[Membership]:
    """Give a place in a group; the cluster takes anyone's."""
    consumer = Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": "group", "log_level": 0})
    yield Membership(consumer.consumer_group_metadata())
    consumer.close()


def sink_at(cluster: MockCluster, instance: str, linger: int) -> KafkaSink:
    properties: dict[str, str | int | float | bool] = {
        "bootstrap.servers": cluster.bootstrap,
        "linger.ms": linger,
        "reconnect.backoff.ms": 1,
    }
    return KafkaSink(properties, Identity("group", instance), transactional=True, hear=lambda _: None)


def transaction(sink: KafkaSink, membership: Membership) -> Fault | None:
    """Run one as the service does; return what went wrong."""
    try:
        sink.begin()
        sink.publish(OUTGOING)
        sink.commit({Partition("input", 0): 1}, membership, TIMEOUT)
    except Fault as fault:
        return fault
    return None


def recover(sink: KafkaSink, fault: Fault | None) -> None:
    """Do what the verdict asks for; after a stop an operator mends it and starts a new producer."""
    if fault and fault.verdict is Verdict.ABORT:
        sink.abort(TIMEOUT)
    if sink.suspect or (fault and fault.verdict is not Verdict.ABORT):
        sink.renew()


@pytest.mark.parametrize(("request_name", "error", "verdict"), ROWS, ids=[f"{api}-{error}" for api, error, _ in ROWS])
def test_table(request_name: str, error: str, verdict: str, cluster: MockCluster, membership: Membership) -> None:
    """The error gets the verdict of its row, doing what that says works, and so do the transactions after it."""
    sink = sink_at(cluster, f"{request_name}-{error}", linger=10_000)  # records leave when the commit wants them
    cluster.answer(Api[request_name], getattr(KafkaError, error))
    fault = transaction(sink, membership)
    assert (fault.verdict if fault else "none") == verdict, fault
    recover(sink, fault)
    for _ in range(ATTEMPTS):
        fault = transaction(sink, membership)
        if fault is None:
            break
        recover(sink, fault)
    assert fault is None
    sink.close()


@pytest.mark.parametrize(
    ("request_name", "error", "verdict"),
    [
        ("Produce", "INVALID_RECORD", "abort"),
        ("Produce", "TOPIC_AUTHORIZATION_FAILED", "stop"),
        ("Produce", "INVALID_PRODUCER_EPOCH", "renew"),
        ("AddPartitionsToTxn", "TOPIC_AUTHORIZATION_FAILED", "stop"),
        ("AddPartitionsToTxn", "TRANSACTION_ABORTABLE", "abort"),
    ],
)
def test_an_error_keeps_its_name_whenever_it_comes(
    request_name: str, error: str, verdict: str, cluster: MockCluster, membership: Membership
) -> None:
    """A record refused while the offsets are on their way is a fault by its own name, not of the call it disturbs.

    Where its partition was refused, the client itself drops the record: that is no reason either.
    """
    sink = sink_at(cluster, f"early-{request_name}-{error}", linger=0)
    cluster.answer(Api[request_name], getattr(KafkaError, error), after=0.2)
    cluster.answer(Api.AddOffsetsToTxn, KafkaError.NO_ERROR, after=0.6)
    sink.begin()
    sink.publish(OUTGOING)
    cluster.await_request(Api[request_name])
    with pytest.raises(Fault) as caught:
        sink.commit({Partition("input", 0): 1}, membership, TIMEOUT)
    assert caught.value.verdict == verdict
    assert caught.value.code == ("_FENCED" if verdict == "renew" else error)
    sink.close()


def test_a_forbidden_topic_stops_however_often_it_is_tried(cluster: MockCluster, membership: Membership) -> None:
    """The client remembers that a topic is forbidden, and refuses the next records by itself: still a matter to stop.

    Aborting would go on for ever.
    """
    sink = sink_at(cluster, "forbidden", linger=10_000)
    cluster.answer(Api.Produce, KafkaError.TOPIC_AUTHORIZATION_FAILED)
    first = transaction(sink, membership)
    sink.abort(TIMEOUT)
    second = transaction(sink, membership)
    assert first
    assert second
    assert (first.verdict, second.verdict) == (Verdict.STOP, Verdict.STOP)
    sink.close()


@pytest.mark.parametrize("flags", FLAGS, ids=str)
def test_every_error_has_a_verdict(flags: tuple[bool, bool, bool]) -> None:
    """Whatever the code and its flags, the router answers; it says stop to missing permissions, and to nothing else."""
    for code in CODES:
        error = KafkaError(code, "", *flags)
        assert isinstance(verdict_of(error), Verdict)
        assert (verdict_of(error) is Verdict.STOP) == (code in AUTHORIZATION)


@pytest.mark.parametrize("flags", FLAGS, ids=str)
def test_a_fenced_producer_is_always_renewed(flags: tuple[bool, bool, bool]) -> None:
    """Being fenced ends a producer, whatever the flags say, and the fault says so."""
    fault = fault_of(KafkaError(KafkaError._FENCED, "", *flags))
    assert (fault.verdict, fault.fenced) == (Verdict.RENEW, True)


def test_fatal_is_asked_before_abortable() -> None:
    """After a fatal error an abort is refused for ever, so it comes first; then abort, then retry, and else renew."""
    code = KafkaError.INVALID_TXN_STATE
    assert verdict_of(KafkaError(code, fatal=True, retriable=True, txn_requires_abort=True)) is Verdict.RENEW
    assert verdict_of(KafkaError(code, retriable=True, txn_requires_abort=True)) is Verdict.ABORT
    assert verdict_of(KafkaError(code, retriable=True)) is Verdict.RETRY
    assert verdict_of(KafkaError(code)) is Verdict.RENEW
