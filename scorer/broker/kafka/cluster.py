"""Questions to a cluster before the service starts: reachable? topics? first offsets? a living twin?"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from confluent_kafka import (
    OFFSET_INVALID,
    Consumer,
    ConsumerGroupState,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, ConfigResource  # type: ignore[attr-defined]  # its types leave it out
from confluent_kafka.cimpl import NewTopic

from scorer.broker.kafka.clients import (
    SESSION_TIMEOUT_MS,
    Identity,
    Properties,
    Trouble,
    common_properties,
    consumer_properties,
    error_callback,
)
from scorer.broker.kafka.positions import Shape, Shapes, known, positions, shape_of
from scorer.broker.kafka.verdict import AWAY
from scorer.broker.kafka.watch import OutputWatch, TopicWatch
from scorer.errors import BrokerError, BrokerUnreachableError, FencedError, OffsetLostError, TopicMissingError
from scorer.records import Offsets, Partition

REACH_TIMEOUT = 10.0
"""Seconds to wait for the first answer of a broker."""
PAUSE = 0.5
Answer = TypeVar("Answer")
FRAMING = 512
"""Bytes of a batch around its records, at most: what a broker counts and the client's own limit does not."""
REQUEST_TIMEOUT = 30.0
"""Seconds for an administrative request once a broker has answered."""


@dataclass(frozen=True, slots=True)
class _Twin:
    """A member of this scorer's name; where its group is settled, its session is running out."""

    host: str
    settled: bool


class Cluster:
    """A connection for questions; it joins no group."""

    def __init__(self, properties: Properties, identity: Identity) -> None:
        self._identity = identity
        self._bootstrap = properties.get("bootstrap.servers")
        self._session = float(properties.get("session.timeout.ms", SESSION_TIMEOUT_MS)) / 1000
        self._longest = float(properties.get("max.poll.interval.ms", 300_000)) / 1000
        self._troubles: list[Trouble] = []
        try:
            self._consumer = Consumer(
                {**consumer_properties(properties, identity), "error_cb": error_callback("cluster", self._note)}
            )
        except KafkaException as error:
            raise BrokerError(f"kafka: {error.args[0].str()}; see librdkafka's CONFIGURATION.md") from error
        self._admin = AdminClient(common_properties(properties, identity))

    def reach(self, timeout: float = REACH_TIMEOUT) -> dict[str, int]:
        """Return topics with their numbers of partitions; raises BrokerUnreachableError after `timeout` seconds."""
        try:
            metadata = self._consumer.list_topics(timeout=timeout)
        except KafkaException as error:
            self._consumer.poll(0)  # serves error_cb
            said = self._troubles[-1].message if self._troubles else error.args[0].str()
            raise BrokerUnreachableError(
                f"no Kafka broker answered at {self._bootstrap} within {timeout:g} s ({said}); "
                "is it running, and is `kafka: bootstrap.servers` right?"
            ) from error
        return {name: len(topic.partitions) for name, topic in metadata.topics.items() if topic.error is None}

    def ensure_topics(
        self, inputs: Sequence[str], outputs: Mapping[str, str], *, create: bool, partitions: int = -1
    ) -> list[str]:
        """Check that all topics exist; with `create`, make those that do not, and return their names.

        `outputs` maps each topic that is written to the input whose number of partitions it takes; an input that is
        made gets `partitions`, or the broker's default for -1.
        Raises TopicMissingError naming all that are missing.
        """
        found = self.reach()
        missing = [name for name in [*inputs, *outputs] if name not in found]
        if missing and not create:
            raise TopicMissingError(
                f"missing topics at {self._bootstrap}: {', '.join(missing)}; create them, or set `create_topics: true`"
            )
        for name in missing:
            count = found.get(outputs[name], -1) if name in outputs else partitions
            self._settle(self._admin.create_topics([NewTopic(name, num_partitions=count)])[name], name)
            found[name] = self._wait_for(name)
        return missing

    def message_limit(self, topics: Iterable[str]) -> int | None:
        """Return how many bytes a record may have for all of these topics; None where the cluster does not tell.

        A topic's `max.message.bytes` counts a batch of records with its framing, compressed or not.
        """
        resources = [ConfigResource(ConfigResource.Type.TOPIC, topic) for topic in topics]
        try:
            answers = self._admin.describe_configs(resources, request_timeout=REQUEST_TIMEOUT).values()
            limits = [int(str(answer.result(REQUEST_TIMEOUT)["max.message.bytes"].value)) for answer in answers]
        except (KafkaException, KeyError):
            return None  # describing a topic needs a permission of its own, which writing to it does not
        return min(limits) - FRAMING

    def shapes(self, topics: Iterable[str]) -> dict[str, Shape]:
        """Return the topics as they are now; raises BrokerError where they cannot be described."""
        names = list(topics)

        def ask() -> dict[str, Shape]:
            asked = self._admin.describe_topics(TopicCollection(names), request_timeout=REQUEST_TIMEOUT)
            return {topic: shape_of(future.result(REQUEST_TIMEOUT)) for topic, future in asked.items()}

        try:
            return self._answered(ask)
        except KafkaException as error:
            raise BrokerError(f"topics {', '.join(names)} cannot be described: {error.args[0].str()}") from error

    def watch(self, shapes: Shapes, clock: Callable[[], float]) -> TopicWatch:
        """Return what looks whether the topics are still these."""
        return TopicWatch(self._admin, shapes, clock)

    def watch_outputs(self, topics: Iterable[str], hear: Callable[[Trouble], None]) -> OutputWatch:
        """Return what tells of topics that are written and are gone."""
        return OutputWatch(self._admin, list(topics), hear)

    def establish(self, shapes: Shapes, start: str) -> Offsets:
        """Commit first offsets for topics of which the group has committed nothing, and for partitions added since.

        This is the only place where `start` (earliest or latest) counts, and only for whole topics; an added partition
        begins at its first record. From here on every partition has a committed offset, and a missing one is an error.
        A group that has members takes no commit from outside: the offsets are returned then, for whichever member gets
        the partition. Raises OffsetLostError for a topic that was made again since.
        """
        left: Offsets = {}
        for topic in shapes:
            left |= self._establish(topic, shapes, start)
        return left

    def refuse_blind_start(self, shapes: Shapes, decisions: Mapping[str, str]) -> None:
        """Raise OffsetLostError for a topic of which the group has committed nothing, though it has decisions already.

        `decisions` maps each input to the topic that its decisions go to. Either the committed offsets are gone, and
        beginning anywhere would lose or repeat decisions; or group or input are new, and somebody must say so.
        """
        found = self.reach()
        for topic, shape in shapes.items():
            written = decisions[topic]
            ends = [self._watermarks(TopicPartition(written, number)) for number in range(found[written])]
            nothing = not known(self._committed(topic, shape.partitions), shape)
            if nothing and any(high > low for low, high in ends):
                raise OffsetLostError(
                    f"group {self._identity.group} has committed nothing of {topic}, but {written} holds decisions "
                    "already. If its committed offsets are gone, set them (`kafka-consumer-groups.sh "
                    "--reset-offsets`); if the group or the topic is new, say where to begin: "
                    "`start: earliest` or `start: latest`, and take that out again once it runs"
                )

    def refuse_twin(self, pause: Callable[[float], Any]) -> None:
        """Wait until no member of the group carries this scorer's name; raises FencedError if one stays.

        After a crash the dead member stands in the group until its session times out, which begins anew where the group
        is just rebalancing; one that is still there after that is alive, and two of one identity would shut each other
        out.
        """
        step, patience, longest = 0.5, self._session * 1.5 + 2, self._longest
        while (twin := self._twin()) is not None:
            if patience <= 0 or longest <= 0:
                raise FencedError(
                    f"group {self._identity.group}: instance {self._identity.instance} already runs at {twin.host}; "
                    "stop it, or give this one another `instance`"
                )
            pause(step)
            longest -= step
            patience -= step if twin.settled else 0.0

    def close(self) -> None:
        """Disconnect."""
        self._consumer.close()

    def _establish(self, topic: str, shapes: Shapes, start: str) -> Offsets:
        committed = self._committed(topic, shapes[topic].partitions)
        seen = known(committed, shapes[topic])
        fresh = [tp for tp in committed if tp.offset == OFFSET_INVALID and tp.partition >= seen]
        first: Offsets = {}
        for position in fresh:
            low, high = self._watermarks(position)
            first[Partition(topic, position.partition)] = high if start == "latest" and not seen else low
        try:
            if first:
                commit = partial(self._consumer.commit, offsets=positions(first, shapes), asynchronous=False)
                self._answered(commit)
        except KafkaException as error:
            if error.args[0].code() in {KafkaError.UNKNOWN_MEMBER_ID, KafkaError.ILLEGAL_GENERATION}:
                return first
            raise self._unknown_start(topic, error) from error
        return {}

    def _committed(self, topic: str, count: int) -> list[TopicPartition]:
        asked = [TopicPartition(topic, number) for number in range(count)]
        try:
            return self._answered(partial(self._consumer.committed, asked, REQUEST_TIMEOUT))
        except KafkaException as error:
            raise self._unknown_start(topic, error) from error

    def _watermarks(self, position: TopicPartition) -> tuple[int, int]:
        try:
            return self._answered(partial(self._consumer.get_watermark_offsets, position, REQUEST_TIMEOUT))
        except KafkaException as error:
            raise self._unknown_start(position.topic, error) from error

    def _unknown_start(self, topic: str, error: KafkaException) -> BrokerError:
        name, said = self._identity.group, error.args[0].str()
        if error.args[0].code() in AWAY:
            return BrokerUnreachableError(f"{topic}, group {name}: where it begins cannot be asked: {said}")
        return BrokerError(f"{topic}, group {name}: first offsets cannot be settled: {said}")

    def _twin(self) -> _Twin | None:
        name = self._identity.group
        try:
            group = self._answered(self._described)
        except KafkaException as error:
            code, said = error.args[0].code(), error.args[0].str()
            if code == KafkaError.GROUP_ID_NOT_FOUND:
                return None
            kind = BrokerUnreachableError if code in AWAY else BrokerError
            raise kind(f"group {name}: cannot be described: {said}") from error
        hosts = [member.host for member in group.members if member.client_id == self._identity.client_id]
        return _Twin(hosts[0], group.state == ConsumerGroupState.STABLE) if hosts else None

    def _described(self) -> Any:
        name = self._identity.group
        return self._admin.describe_consumer_groups([name], request_timeout=REQUEST_TIMEOUT)[name].result()

    def _answered(self, ask: Callable[[], Answer]) -> Answer:
        """Ask again while brokers find themselves: a new cluster makes a coordinator for the first who asks."""
        deadline = time.monotonic() + REQUEST_TIMEOUT
        while True:
            try:
                return ask()
            except KafkaException as error:
                if error.args[0].code() not in AWAY or time.monotonic() > deadline:
                    raise
            self._admin.poll(PAUSE)

    def _wait_for(self, topic: str) -> int:
        """Return a new topic's number of partitions, once every broker's metadata show it."""
        for _ in range(100):
            count = self.reach().get(topic, 0)
            if count:
                return count
            self._admin.poll(0.1)
        raise BrokerError(f"topic {topic} was created, but does not appear at {self._bootstrap}")

    def _settle(self, future: Future[Any], topic: str) -> None:
        try:
            future.result(REQUEST_TIMEOUT)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise BrokerError(f"topic {topic} cannot be created: {error.args[0].str()}") from error

    def _note(self, trouble: Trouble) -> None:
        self._troubles.append(trouble)
