"""Looks now and then what has become of topics while the scorer runs; it asks, goes on, and takes the answers later."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection

from scorer.broker.kafka.clients import Trouble
from scorer.broker.kafka.positions import Shapes, refuse_another, shape_of
from scorer.errors import TopicMissingError

WATCH_SECONDS = 5.0
"""Seconds between two looks at the inputs."""
MISSED = 2
"""Looks in a row that do not find a topic before it counts as gone: a broker that is just starting may say so once."""


class _Looks:
    """Questions for topics, one for all at a time, and how often in a row each was said to be unknown."""

    def __init__(self, admin: Any, topics: Sequence[str]) -> None:
        self._admin = admin
        self._missed = dict.fromkeys(topics, 0)
        self._asked: dict[str, Future[Any]] = {}

    def ask(self) -> None:
        """Ask, unless an answer is still to come."""
        if not self._asked:
            self._asked = self._admin.describe_topics(TopicCollection(list(self._missed)))

    def answers(self) -> Iterator[tuple[str, Any | None]]:
        """Yield the topics of which an answer came: what there is, or None where nothing is any more."""
        for topic in [topic for topic, future in self._asked.items() if future.done()]:
            answered = self._asked.pop(topic)
            error = answered.exception()
            unknown = isinstance(error, KafkaException) and error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART
            self._missed[topic] = self._missed[topic] + 1 if unknown else 0
            if error is None:
                yield topic, answered.result()
            elif self._missed[topic] >= MISSED:
                yield topic, None


class TopicWatch:
    """Looks whether the inputs are still the ones that the scorer started with; it never waits.

    A consumer would read a topic that was made in another's place from the old one's position on, and wait for ever for
    one that is gone.
    """

    def __init__(self, admin: Any, shapes: Shapes, clock: Callable[[], float]) -> None:
        """`clock` gives seconds that never go back."""
        self._looks = _Looks(admin, list(shapes))
        self._shapes = shapes
        self._clock = clock
        self._due = clock() + WATCH_SECONDS

    def __call__(self) -> None:
        """Ask, or take the answer.

        Raises OffsetLostError for a topic that was deleted and made again, TopicMissingError for one that is gone.
        """
        for topic, description in self._looks.answers():
            if description is None:
                raise TopicMissingError(
                    f"topic {topic} does not exist any more: it was deleted under the running scorer. Make it again, "
                    "choose where to begin with `kafka-consumer-groups.sh --reset-offsets`, and start the scorer"
                )
            refuse_another(topic, self._shapes[topic].id, shape_of(description).id)
        if self._clock() >= self._due:
            self._due = self._clock() + WATCH_SECONDS
            self._looks.ask()


class OutputWatch:
    """Looks whether the topics that are written are there, and tells of those that are not; it stops nothing."""

    def __init__(self, admin: Any, topics: Sequence[str], hear: Callable[[Trouble], None]) -> None:
        """`hear` is told of every topic that is gone, at every look until it is there again."""
        self._looks = _Looks(admin, topics)
        self._hear = hear

    def __call__(self) -> None:
        """Take the answer to the last question, if it came, and ask the next; called every few seconds."""
        for topic, description in self._looks.answers():
            if description is None:
                message = (
                    f"topic {topic} does not exist any more: make it again. Until then no batch with records for it "
                    "is settled; nothing is lost"
                )
                self._hear(Trouble("producer", "UNKNOWN_TOPIC_OR_PART", message))
        self._looks.ask()
