"""Decisions and dead letters into Kafka, in transactions or with acknowledgements alone."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, TypeAlias

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from scorer.broker.contract import Fault, Membership, Verdict
from scorer.broker.kafka.clients import (
    SOCKET_TIMEOUT_MS,
    Identity,
    Properties,
    Trouble,
    error_callback,
    producer_properties,
)
from scorer.broker.kafka.patience import Caller, CallStuckError
from scorer.broker.kafka.positions import Shapes, positions
from scorer.broker.kafka.verdict import AUTHORIZATION, fault_of
from scorer.errors import BrokerError
from scorer.records import Letter, Offsets, Outgoing

PARTITION_UA = -1
"""The client's word for: the key chooses."""
CLOSE_TIMEOUT = 5.0
Undelivered: TypeAlias = tuple[KafkaError, str]
"""Why a record was not delivered, and its topic."""
INIT_TIMEOUT = 30.0
"""Seconds for a new producer to settle its predecessor's transaction."""


@dataclass(frozen=True, slots=True)
class _Client:
    """A producer, the thread for its calls that may not return, and the records that it could not deliver."""

    producer: Producer
    call: Caller
    undelivered: list[Undelivered]

    def leave(self) -> None:
        """Let its thread destroy the producer, which may take as long as it wants."""
        self.call.close([self.producer])


class KafkaSink:
    """A producer and the rules for replacing it; `hear` is told of errors that the client goes on from."""

    def __init__(
        self,
        properties: Properties,
        identity: Identity,
        *,
        transactional: bool,
        hear: Callable[[Trouble], None],
        shapes: Shapes = MappingProxyType({}),
    ) -> None:
        """Make the producer; in a transactional one, settle what an earlier life left open. May raise Fault.

        `shapes` are those of the input topics, for a note with every commit.
        """
        self._properties = producer_properties(properties, identity, transactional=transactional)
        self._slow = float(self._properties.get("socket.timeout.ms", SOCKET_TIMEOUT_MS)) / 1000
        self._transactional = transactional
        self._hear = hear
        self._shapes = shapes
        self._troubles = 0
        self._suspect: str | None = None
        self._client = self._make()

    @property
    def suspect(self) -> str | None:
        """Why this producer must not begin another transaction, if so.

        A commit request that was delayed on its way may still arrive, and would commit the *next* transaction
        (KIP-890, which this client does not speak): so after a slow commit, or one during which a connection broke,
        only a new producer is safe, because its new epoch shuts out whatever the old one has sent.
        """
        return self._suspect

    def begin(self) -> None:
        """Open a transaction."""
        with as_faults():
            self._client.producer.begin_transaction()

    def publish(self, outgoing: Outgoing) -> None:
        """Queue decisions and dead letters."""
        if outgoing.headers:  # of which `produce_batch` knows nothing: each is a call of its own
            with as_faults(local=True):
                for key, value, headers in zip(outgoing.keys, outgoing.values, outgoing.headers, strict=True):
                    self._produce(outgoing.decisions_topic, Letter(key, value, headers, 0), PARTITION_UA)
        else:
            self._publish(outgoing)
        with as_faults(local=True):
            for letter in outgoing.dead_letters:
                self._produce(outgoing.dead_letters_topic, letter, PARTITION_UA)

    def _publish(self, outgoing: Outgoing) -> None:
        messages: list[dict[str, Any]] = [
            {"key": key, "value": value} for key, value in zip(outgoing.keys, outgoing.values, strict=True)
        ]
        if messages and self._client.producer.produce_batch(outgoing.decisions_topic, messages) != len(messages):
            first = next(message["_error"] for message in messages if "_error" in message)
            # Without a transaction there is nothing to abort, and a fatal producer would stay fatal.
            dead = first.code() == KafkaError._FATAL and not self._transactional
            raise _refused(first, outgoing.decisions_topic, Verdict.RENEW if dead else Verdict.ABORT)

    def send(self, topic: str, partition: int | None, letter: Letter) -> None:
        """Queue a record as it is; without a partition its key chooses, and a time of 0 is the present one.

        Raises Fault where the client takes no such record, or no more of them.
        """
        with as_faults(local=True):
            self._produce(topic, letter, PARTITION_UA if partition is None else partition)

    def flush(self, timeout: float) -> None:
        """Wait for every acknowledgement."""
        left = self._flushed(timeout)
        if not left and not self._client.undelivered:
            return
        fault = Fault(Verdict.ABORT, "unacknowledged", f"{left} records after {timeout:g} s")
        if self._client.undelivered:
            fault = _refused(*self._client.undelivered[0], Verdict.ABORT)
        self._client.producer.purge()
        self._flushed(1.0)
        self._client.undelivered.clear()
        raise fault

    def _produce(self, topic: str, letter: Letter, partition: int) -> None:
        self._client.producer.produce(
            topic,
            value=letter.value,
            key=letter.key,
            headers=list(letter.headers),
            timestamp=max(letter.timestamp, 0),
            partition=partition,
        )

    def _flushed(self, timeout: float) -> int:
        """Return how many records are left; a fatal error on the way comes wrapped, since two callbacks meet."""
        with as_faults():
            try:
                return self._client.producer.flush(timeout)
            except SystemError as error:
                if isinstance(error.__cause__, KafkaException):
                    raise error.__cause__ from error
                raise

    def commit(self, offsets: Offsets, membership: Membership, timeout: float) -> None:
        """Put the offsets into the transaction and commit it."""
        sent = positions(offsets, self._shapes)
        with self._suspecting():
            try:
                self._send(sent, membership, timeout)
            except Fault as fault:
                if fault.code != "_STATE":
                    raise
                # The transaction failed while this call was under way, which hides why; who asks again is told.
                self._send(sent, membership, timeout)
                raise
        self.resume(timeout)

    def resume(self, timeout: float) -> None:
        """Commit, or ask again for the outcome of a commit."""
        try:
            with self._suspecting():
                self._client.call(partial(self._client.producer.commit_transaction, timeout), timeout)
        except KafkaException as error:
            self._suspect = "the outcome of a commit was in doubt"
            raise fault_of(error.args[0]) from error
        except CallStuckError as error:
            raise _stuck(error) from error
        self._client.undelivered.clear()

    def abort(self, timeout: float) -> None:
        """Drop the open transaction; reports of the records dropped with it are no failures."""
        with as_faults():
            self._client.call(partial(self._client.producer.abort_transaction, timeout), timeout)
        self._client.undelivered.clear()

    def renew(self) -> None:
        """Replace the producer; `init_transactions` of the new one settles the old one's transaction."""
        old = self._client
        old.producer.purge(blocking=False)
        self._client = self._make()
        old.leave()
        self._suspect = None

    def serve(self) -> None:
        """Run the callbacks that are due; else their queue would grow while nothing is sent."""
        self._client.producer.poll(0)

    def close(self) -> None:
        """Disconnect; an open transaction is dropped."""
        self._client.producer.purge(blocking=False)
        with suppress(KafkaException, CallStuckError), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a fenced producer has nothing left to drop, and says so
            self._client.call(self._client.producer.close, CLOSE_TIMEOUT)
        self._client.leave()

    @contextmanager
    def _suspecting(self) -> Iterator[None]:
        """Note what leaves a request on its way: a call that was slow, or during which a connection broke."""
        started, troubles = time.monotonic(), self._troubles
        try:
            yield
        finally:
            if time.monotonic() - started > self._slow / 2:
                self._suspect = "a commit was slow"
            if self._troubles != troubles:
                self._suspect = "a connection broke during a commit"

    def _send(self, offsets: list[TopicPartition], membership: Membership, timeout: float) -> None:
        call = partial(self._client.producer.send_offsets_to_transaction, offsets, membership, timeout)
        with as_faults():
            self._client.call(call, timeout)

    def _make(self) -> _Client:
        undelivered: list[Undelivered] = []
        callbacks = {"error_cb": error_callback("producer", self._note), "on_delivery": partial(_report, undelivered)}
        try:
            client = _Client(Producer({**self._properties, **callbacks}), Caller(), undelivered)
        except KafkaException as error:
            raise BrokerError(f"kafka: {error.args[0].str()}; see librdkafka's CONFIGURATION.md") from error
        if self._transactional:
            try:
                with as_faults():
                    client.call(partial(client.producer.init_transactions, INIT_TIMEOUT), INIT_TIMEOUT)
            except Fault:
                client.leave()
                raise
        return client

    def _note(self, trouble: Trouble) -> None:
        self._troubles += 1
        self._hear(trouble)


def _report(undelivered: list[Undelivered], error: KafkaError | None, message: Any) -> None:
    # Only errors come here (delivery.report.only.error), and nothing may be raised in a callback.
    if error is not None:
        undelivered.append((error, message.topic()))


def _refused(error: KafkaError, topic: str, verdict: Verdict) -> Fault:
    """Return the fault of a refused record; a missing permission is for an operator, whichever call it disturbed."""
    return Fault(Verdict.STOP if error.code() in AUTHORIZATION else verdict, error.name(), f"{topic}: {error.str()}")


def _stuck(error: CallStuckError) -> Fault:
    return Fault(Verdict.RENEW, "_STUCK", str(error))


@contextmanager
def as_faults(*, local: bool = False) -> Iterator[None]:
    """Translate errors of calls whose outcome is certain: what could be retried is aborted, which is as safe.

    A `local` error, such as a record that is too large, says nothing of the transaction: unless it is fatal, the
    transaction can still be aborted.
    """
    try:
        yield
    except KafkaException as error:
        fault = fault_of(error.args[0])
        local = local and not (fault.fenced or error.args[0].fatal())
        if fault.verdict is Verdict.RETRY or (local and fault.verdict is Verdict.RENEW):
            fault.verdict = Verdict.ABORT
        raise fault from error
    except CallStuckError as error:
        raise _stuck(error) from error
    except BufferError as error:
        raise Fault(Verdict.ABORT, "_QUEUE_FULL", str(error)) from error
