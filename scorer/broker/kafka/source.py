"""Records of the subscribed topics, as one member of a consumer group."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import cast

from confluent_kafka import OFFSET_STORED, Consumer, KafkaError, KafkaException, Message, TopicPartition

from scorer.broker.contract import Change, Fault, Haul, Membership, Rebalance, Verdict
from scorer.broker.kafka.clients import Identity, Properties, Trouble, consumer_properties, error_callback
from scorer.broker.kafka.failing import Failing
from scorer.broker.kafka.held import Held
from scorer.broker.kafka.messages import by_topic
from scorer.broker.kafka.patience import Caller, CallStuckError, leave
from scorer.broker.kafka.positions import Shapes, added, beginning, offset_lost, positions
from scorer.broker.kafka.roll import is_member
from scorer.broker.kafka.verdict import AWAY, OFFSET_LOST, STALE, final_error
from scorer.errors import BrokerError, OffsetLostError
from scorer.records import Offsets, Partition

COMMITTED_TIMEOUT = 30.0
"""Seconds to ask the group's coordinator for committed offsets; it may just be moving."""
REWIND_TIMEOUT = 10.0
"""Seconds to ask for them where the question is repeated."""
OUTSIDE = 30.0
"""Seconds that a client may have no partition, before the group is asked whether it is in it."""
CLOSE_TIMEOUT = 2.0
MAX_RAISED = 5
"""Polls in a row that may raise before an operator is called."""


class KafkaSource:
    """A consumer that owns its offsets: nothing is committed that the service did not say.

    Callbacks only note what happened; they are served inside `poll`, which then reports it.
    """

    def __init__(
        self,
        properties: Properties,
        identity: Identity,
        topics: Sequence[str],
        *,
        hear: Callable[[Trouble], None],
        first: Offsets | None = None,
        shapes: Shapes = MappingProxyType({}),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Subscribe; `first` says where partitions begin of which the group has committed nothing yet.

        `shapes` tell how many partitions a topic has now: those that are added later begin at their start.
        """
        self._hear = hear
        self._first = dict(first or {})
        self._shapes = shapes
        cooperative = "cooperative" in str(properties.get("partition.assignment.strategy", ""))
        self._incremental = cooperative or properties.get("group.protocol") == "consumer"
        self._group, self._topics, self._named = identity.group, list(topics), (properties, identity)
        self._rebalances: list[Rebalance] = []
        self._next: Offsets = {}
        self._held = Held()
        self._failing = Failing()
        self._ends: Offsets = {}
        self._raised = self._unanswered = 0
        self._clock = clock
        self._idle_since: float | None = clock()
        self._properties = {**consumer_properties(properties, identity), "error_cb": error_callback("consumer", hear)}
        self._consumer = Consumer(self._properties)
        self._subscribe()

    def poll(self, limit: int, timeout: float) -> Haul:
        """Wait for records; note that `timeout` is waited out unless `limit` came, ends of partitions among them."""
        self._ends = {}
        messages = self._consumed(limit, timeout)
        rebalances, self._rebalances = tuple(self._rebalances), []
        if any(map(Message.error, messages)):
            messages = [message for message in messages if self._sound(message)]
        if rebalances:
            self._take_up(rebalances)
        self._stay_member(rebalances)
        records = by_topic(messages, self._topics)
        for batch in records:
            self._next.update(batch.next_offsets())
        self._next.update(self._ends)
        self._failing.passed(self._next)
        return Haul(records, rebalances, self._ends)

    def _consumed(self, limit: int, timeout: float) -> list[Message]:
        """Consume. Whatever raises meanwhile, a callback or a signal's handler, has cost what was fetched."""
        try:
            messages = self._consumer.consume(limit, timeout)
        except Exception as error:
            self._raised += 1
            if self._raised > MAX_RAISED:
                raise BrokerError(f"the consumer raised {self._raised} times in a row, the last {error!r}") from error
            raise Fault(Verdict.ABORT, type(error).__name__, f"raised while records were consumed: {error}") from error
        self._raised = 0
        return messages

    def hold(self, topics: frozenset[str]) -> None:
        """Pause these topics' partitions, and let those of the others go on."""
        if topics != self._held.topics:
            self._held.topics = topics
            self._held.apply(self._consumer, ())

    def membership(self) -> Membership:
        """Return member and generation as they are now."""
        return Membership(self._consumer.consumer_group_metadata())

    def commit(self, offsets: Offsets) -> bool:
        """Commit outside a transaction."""
        try:
            self._consumer.commit(offsets=positions(offsets, self._shapes), asynchronous=False)
        except KafkaException as error:
            if error.args[0].code() in STALE | AWAY:
                return False
            raise BrokerError(f"group {self._group}: offsets cannot be committed: {error.args[0].str()}") from error
        return True

    def rewind(self) -> Offsets:
        """Seek every assigned partition to its committed offset."""
        assigned = self._consumer.assignment()
        try:
            committed = self._consumer.committed(assigned, REWIND_TIMEOUT) if assigned else []
            for position in committed:
                self._seek(position)
        except KafkaException as error:
            code, said = error.args[0].code(), error.args[0].str()
            if code not in AWAY:
                raise BrokerError(
                    f"group {self._group}: cannot go back to the committed offsets: {said}; start again"
                ) from error
            self._unanswered += 1
            if self._unanswered > 1 and (answered := self._replaced(assigned)) is not None:
                return answered
            raise Fault(Verdict.RETRY, error.args[0].name(), said) from error
        self._unanswered = 0
        self._next = {Partition(tp.topic, tp.partition): tp.offset for tp in committed}
        return dict(self._next)

    def stuck(self) -> dict[Partition, int]:
        """Return the partitions at which one offset fails again and again: a batch that cannot be decompressed."""
        return self._failing.stuck()

    def lag(self) -> dict[Partition, int]:
        """Return high watermark - next offset, from what the last fetch said."""
        lag = {}
        for partition, position in self._next.items():
            tp = TopicPartition(partition.topic, partition.number)
            watermarks = cast("tuple[int, int] | None", self._consumer.get_watermark_offsets(tp, cached=True))
            if watermarks is not None and watermarks[1] >= 0:
                lag[partition] = max(watermarks[1] - position, 0)
        return lag

    def close(self) -> None:
        """Leave the group; a client that cannot, because it lost records on the way, is left behind."""
        caller = Caller()
        with suppress(CallStuckError):
            caller(self._consumer.close, CLOSE_TIMEOUT)
        caller.close([])

    def _subscribe(self) -> None:
        self._consumer.subscribe(
            self._topics,
            on_assign=self._noting(Change.ASSIGNED),
            on_revoke=self._noting(Change.REVOKED),
            on_lost=self._noting(Change.LOST),
        )

    def _stay_member(self, rebalances: Sequence[Rebalance]) -> None:
        """Replace a client that has had no partition for a while, and is not even in the group to wait for one."""
        if rebalances:
            self._idle_since = None if self._consumer.assignment() else self._clock()
        if self._idle_since is None or self._clock() < self._idle_since + OUTSIDE:
            return
        self._idle_since = self._clock()
        if is_member(*self._named) is False:
            self._replaced([])

    def _replaced(self, assigned: list[TopicPartition]) -> Offsets | None:
        """Put a new client in the place of one that gets no answer where the new one does; return that answer.

        A client was seen to wait for ever for its coordinator while others worked with it, with partitions and
        without. The new one is another member of the group, to which partitions come as to any that joins.
        """
        fresh = Consumer(self._properties)
        try:
            committed = fresh.committed(assigned or [TopicPartition(self._topics[0], 0)], REWIND_TIMEOUT)
        except KafkaException:
            leave([fresh])
            return None
        wedged, self._consumer = [self._consumer], fresh
        self._unanswered, self._next, self._held, self._failing = 0, {}, Held(self._held.topics), Failing()
        if assigned:
            self._rebalances.append(Rebalance(Change.LOST, tuple(Partition(tp.topic, tp.partition) for tp in assigned)))
        self._hear(Trouble("consumer", "_TIMED_OUT", "the client has no answer where a new one has; that takes over"))
        self._subscribe()
        leave(wedged)
        return {Partition(tp.topic, tp.partition): tp.offset for tp in committed if tp.offset >= 0}

    def _take_up(self, rebalances: Sequence[Rebalance]) -> None:
        """Look where new partitions begin: a missing offset is found now, and their lag is known from the start."""
        gained = [p for r in rebalances if r.change is Change.ASSIGNED for p in r.partitions]
        held = set(self._consumer.assignment()) if gained else set()
        asked = [tp for tp in (TopicPartition(*p) for p in gained) if tp in held]
        self._commit_first(gained)
        self._held.apply(self._consumer, gained)
        try:
            committed = self._consumer.committed(asked, COMMITTED_TIMEOUT) if asked else []
        except KafkaException as error:
            self._hear(Trouble("consumer", error.args[0].name(), error.args[0].str()))
            return
        for position in committed:
            if position.error is None and position.offset < 0:
                raise self._offset_lost(position.topic, position.partition, "it has no committed offset")
            self._next.setdefault(Partition(position.topic, position.partition), max(position.offset, 0))

    def _begin(self, consumer: Consumer, assigned: list[TopicPartition]) -> None:
        """Assign partitions, those without a committed offset where they begin; runs inside a callback."""
        try:
            for position in consumer.committed(assigned, COMMITTED_TIMEOUT):
                partition = Partition(position.topic, position.partition)
                known = self._first.pop(partition, None)
                if position.offset < 0 and added(partition, self._shapes):
                    known = beginning(consumer, position, COMMITTED_TIMEOUT)
                if position.offset < 0 and known is not None:
                    self._first[partition] = known
            starts = [self._first.get(Partition(tp.topic, tp.partition), OFFSET_STORED) for tp in assigned]
            begun = [TopicPartition(tp.topic, tp.partition, at) for tp, at in zip(assigned, starts, strict=True)]
            (consumer.incremental_assign if self._incremental else consumer.assign)(begun)
        except KafkaException as error:
            self._hear(Trouble("consumer", error.args[0].name(), error.args[0].str()))

    def _commit_first(self, gained: Sequence[Partition]) -> None:
        """Commit where this member has begun partitions for the group, which a member may do."""
        begun = {partition: self._first[partition] for partition in gained if partition in self._first}
        if begun and self.commit(begun):
            for partition in begun:
                del self._first[partition]

    def _seek(self, position: TopicPartition) -> None:
        if position.error is not None:
            raise KafkaException(position.error)
        if position.offset < 0:
            raise self._offset_lost(position.topic, position.partition, "it has no committed offset")
        try:
            self._consumer.seek(position)
        except KafkaException:
            # A partition that failed to be fetched cannot be sought either: the gap is the better reason.
            if self._consumer.get_watermark_offsets(position, COMMITTED_TIMEOUT)[0] > position.offset:
                raise self._offset_lost(position.topic, position.partition, "its records are gone") from None
            raise

    def _noting(self, change: Change) -> Callable[[Consumer, list[TopicPartition]], None]:
        def note(consumer: Consumer, assigned: list[TopicPartition]) -> None:
            if consumer is not self._consumer:
                return
            partitions = tuple(Partition(tp.topic, tp.partition) for tp in assigned)
            fresh = (partition in self._first or added(partition, self._shapes) for partition in partitions)
            if change is Change.ASSIGNED and any(fresh):
                self._begin(consumer, assigned)
            if change is not Change.ASSIGNED:
                self._failing.forget(partitions)
                for partition in partitions:
                    self._next.pop(partition, None)
            self._rebalances.append(Rebalance(change, partitions))

        return note

    def _sound(self, message: Message) -> bool:
        """Return whether a message is a record; ends are noted, errors reported, or raised if waiting is no use."""
        error = message.error()
        if error is None:
            return True
        topic, partition = message.topic() or "?", message.partition()
        if error.code() == KafkaError._PARTITION_EOF:
            self._ends[Partition(topic, cast(int, partition))] = cast(int, message.offset())
            return False
        if error.code() in OFFSET_LOST:
            raise self._offset_lost(topic, cast(int, partition), error.str())
        if (final := final_error(error, topic, self._properties)) is not None:
            raise final
        self._hear(Trouble("consumer", error.name(), error.str()))
        offset = message.offset()
        if partition is not None and partition >= 0 and offset is not None and offset >= 0:
            self._failing.fail(Partition(topic, partition), offset)
        return False

    def _offset_lost(self, topic: str, partition: int, said: str) -> OffsetLostError:
        return offset_lost(self._consumer, self._group, TopicPartition(topic, partition), said)
