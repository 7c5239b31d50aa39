"""The door to Kafka: topics of dead letters in, plans and redriven events out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from typing import Any, TypeAlias

from scorer.broker.contract import Fault
from scorer.broker.kafka import Identity
from scorer.broker.kafka.bounded import Slice, SliceReader
from scorer.broker.kafka.redrive import RedriveCluster
from scorer.broker.kafka.sink import KafkaSink
from scorer.dlq.families import Origin
from scorer.dlq.ledger import Ledger, ledger_of
from scorer.dlq.letters import DeadLetter, Selection, read
from scorer.dlq.plan import Fate, Tally, Target, Terms
from scorer.dlq.redrive import CHUNK, Pace, Redrive
from scorer.errors import BrokerError, SelectionError, TopicMissingError
from scorer.records import Records

Properties: TypeAlias = Mapping[str, Any]
Watch: TypeAlias = Callable[[Iterable[Records], str, Slice], Iterable[Records]]
"""Passes on what it is given, and may tell somebody of it: batches, what is being done, out of which slice."""

MAX_MESSAGE_BYTES = 1_000_000
"""The client's `message.max.bytes`, where a cluster does not tell a topic's."""


class Office:
    """Dead letters of one cluster; `clock` gives seconds from any fixed moment. Every method may raise BrokerError."""

    def __init__(self, kafka: Properties, *, clock: Callable[[], float], watch: Watch) -> None:
        """Connect lazily."""
        self._kafka = kafka
        self._clock = clock
        self._watch = watch
        self.reader = SliceReader(kafka, clock=clock)
        self.met: Counter[str] = Counter()
        """Reasons of all letters that `letters` and `plan` have looked at, meant or not."""

    def close(self) -> None:
        """Disconnect."""
        self.reader.close()

    def letters(self, topic: str, selected: Slice) -> Iterator[DeadLetter]:
        """Yield the letters of a slice."""
        for records in self._watch(self.reader.read(topic, selected, CHUNK), topic, selected):
            for letter in read(records):
                self.met[letter.failure.reason] += 1
                yield letter

    def letter(self, place: Origin) -> DeadLetter:
        """Return one letter; raises SelectionError where there is none."""
        extent = self.reader.extent(place.topic)
        if place.partition not in extent:
            raise SelectionError(f"{place}: {place.topic} has {len(extent)} partitions, counted from 0")
        held = extent[place.partition]
        if place.offset in held:
            selected = {place.partition: range(place.offset, place.offset + 1)}
            for records in self.reader.read(place.topic, selected, 1):
                return next(read(records))
        holds = f"offsets {held.start} to {held.stop - 1}" if held else "nothing"
        raise SelectionError(
            f"{place}: there is no record; {place.topic}-{place.partition} holds {holds}, "
            "some of them marks of transactions"
        )

    def recall(self, dead_letters: str) -> Ledger:
        """Return what was redriven of a topic's letters; nothing where no ledger was begun."""
        return _recall(self.reader, ledger_of(dead_letters))

    def plan(self, dead_letters: str, selected: Slice, selection: Selection, terms: Terms) -> Tally:
        """Return what would become of letters; nothing is published, and no other redrive shut out."""
        ledger, tally = self.recall(dead_letters), Tally()
        for letter in self.letters(dead_letters, selected):
            if letter in selection:
                fate = terms.fate(letter, ledger)
                tally.add(letter, fate, terms.topic(letter))
                if fate is Fate.REDRIVE:
                    ledger.add(letter)
        return tally

    def redrive(
        self,
        dead_letters: str,
        selected: Slice,
        selection: Selection,
        *,
        terms: Terms,
        pace: Pace,
        stopping: Callable[[], bool],
    ) -> Tally:
        """Redrive letters, as `Redrive` promises; return what became of those met."""
        identity, ledger_topic = Identity(dead_letters, "redrive"), ledger_of(dead_letters)
        with closing(RedriveCluster(self._kafka, identity)) as cluster:
            cluster.ensure_ledger(ledger_topic)
            sizes = [target.max_bytes for target in terms.targets.values()]
            room = {
                "message.max.bytes": max(sizes),
                # A batch of records is held to its topic's limit like a record.
                "batch.size": min(*sizes, _limit(cluster, self._kafka, ledger_topic), MAX_MESSAGE_BYTES),
            }
        with (
            closing(_sink({**self._kafka, **room}, identity)) as sink,
            closing(SliceReader(self._kafka, clock=self._clock)) as ledger_reader,
        ):
            work = Redrive(
                sink,
                recall=lambda: _recall(ledger_reader, ledger_topic),
                ledger_topic=ledger_topic,
                terms=terms,
                pace=pace,
                stopping=stopping,
            )
            batches = self._watch(
                self.reader.read(dead_letters, selected, pace.chunk), f"redrive {dead_letters}", selected
            )
            return work([letter for letter in read(records) if letter in selection] for records in batches)


def targets(kafka: Properties, dead_letters: str, topics: Iterable[str], now: float) -> dict[str, Target]:
    """Return what topics take; `now` is in seconds since the epoch. Raises TopicMissingError for those missing."""
    with closing(RedriveCluster(kafka, Identity(dead_letters, "redrive"))) as cluster:
        there = cluster.reach()
        if missing := [topic for topic in topics if topic not in there]:
            raise TopicMissingError(
                f"no letter can go to {', '.join(missing)}: no such topic, or it may not be described; choose others "
                "with --topic, or name one with --to-topic"
            )
        ages = {topic: cluster.longest(topic) for topic in topics}
        return {
            topic: Target(there[topic], _limit(cluster, kafka, topic), 0 if age is None else round(now * 1000) - age)
            for topic, age in ages.items()
        }


def _limit(cluster: RedriveCluster, kafka: Properties, topic: str) -> int:
    """Return how many bytes a record may have; a limit that the user has set counts too."""
    limits = (cluster.message_limit([topic]), kafka.get("message.max.bytes"))
    return min((int(limit) for limit in limits if limit is not None), default=MAX_MESSAGE_BYTES)


def _recall(reader: SliceReader, ledger_topic: str) -> Ledger:
    try:
        everything = reader.extent(ledger_topic)
    except TopicMissingError:
        return Ledger()
    return Ledger(reader.read(ledger_topic, everything, CHUNK))


def _sink(properties: Properties, identity: Identity) -> KafkaSink:
    """Make the producer, which shuts out any other redrive of the same letters and settles what it left open."""
    try:
        return KafkaSink(properties, identity, transactional=True, hear=lambda _: None)
    except Fault as fault:
        raise BrokerError(
            f"transactional.id {identity.transactional_id}: cannot begin: {fault}; "
            "has the cluster a transaction coordinator, and may this user write transactions?"
        ) from fault
