"""Logs, groups and transactions in one process, with Kafka's rules as far as the contract reaches.

Everything that moves the cluster's state lives in this file. One thread uses it; nothing happens by itself, so that a
test decides what happens between any two calls.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import count
from typing import NamedTuple
from zlib import crc32

from scorer.broker.contract import Fault, Verdict
from scorer.broker.memory.faults import AnswerLost, Before, Sentinel
from scorer.records import Header, Offsets, Partition

RawHeader = tuple[str | bytes, bytes | None]
"""A header as it lies in a log; a name in bytes need not be UTF-8."""


class Fate(Enum):
    """How a transaction stands."""

    OPEN = auto()
    COMMITTED = auto()
    ABORTED = auto()


@dataclass(slots=True, eq=False)
class Transaction:
    """Records and offsets that become final together."""

    group: str = ""
    offsets: Offsets = field(default_factory=dict)
    touched: set[Partition] = field(default_factory=set)
    fate: Fate = Fate.OPEN


SETTLED = Transaction(fate=Fate.COMMITTED)
"""What every record written outside a transaction belongs to."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One place of a log: a record, or the marker that ends a transaction and takes an offset as in Kafka."""

    key: bytes | None = None
    value: bytes | None = None
    headers: Sequence[RawHeader] = ()
    timestamp: int = 0
    transaction: Transaction = SETTLED
    marker: bool = False


@dataclass(slots=True)
class Log:
    """One partition; `low` is the first offset that retention has left."""

    entries: list[Entry] = field(default_factory=list)
    low: int = 0

    @property
    def stable(self) -> int:
        """The offset up to which can be read: that of the first record whose transaction is still open, or the end."""
        open_ones = (at for at, entry in enumerate(self.entries) if entry.transaction.fate is Fate.OPEN)
        return next(open_ones, len(self.entries))

    def read(self, position: int) -> Iterator[tuple[int, Entry]]:
        """Give offsets and committed records from `position` up to the first whose transaction is still open."""
        for offset in range(position, self.stable):
            entry = self.entries[offset]
            if entry.transaction.fate is Fate.COMMITTED and not entry.marker:
                yield offset, entry


class Place(NamedTuple):
    """A member in one generation of its group."""

    member: str
    generation: int


@dataclass(slots=True)
class Group:
    """Members by id with the topics they read, and what the group has committed."""

    members: dict[str, tuple[str, ...]] = field(default_factory=dict)
    generation: int = 0
    committed: Offsets = field(default_factory=dict)

    def holds(self, place: Place) -> bool:
        """Return whether a place is one of the present generation."""
        return place.member in self.members and place.generation == self.generation


@dataclass(slots=True)
class Tenure:
    """Who may write under a transactional id: only the latest epoch. `late`: one more commit request is on its way."""

    epoch: int = 0
    transaction: Transaction | None = None
    late: bool = False


class MemoryBroker:
    """A cluster with these topics (name → partitions); `pause` is how a poll waits, and may let things happen."""

    def __init__(
        self,
        topics: Mapping[str, int],
        *,
        max_bytes: int = 1_000_000,
        pause: Callable[[float], object] = lambda _: None,
    ) -> None:
        self.logs = {Partition(topic, number): Log() for topic, size in topics.items() for number in range(size)}
        self.groups: dict[str, Group] = defaultdict(Group)
        self.max_bytes = max_bytes
        self.pause = pause
        self.journal: list[str] = []
        """Every call of the contract, by name, in order; a commit is `commit` (the offsets) and `end` (the outcome)."""
        self._topics = dict(topics)
        self._scripts: dict[str, deque[Sentinel]] = defaultdict(deque)
        self._tenures: dict[str, Tenure] = defaultdict(Tenure)
        self._numbers = count()

    def script(self, call: str, *sentinels: Sentinel) -> None:
        """Put one sentinel each in the way of the next calls of this name (a name of `journal`)."""
        self._scripts[call].extend(sentinels)

    @contextmanager
    def call(self, name: str) -> Iterator[Sentinel]:
        """Run a call of the contract past its script."""
        self.journal.append(name)
        sentinel = self._scripts[name].popleft() if self._scripts[name] else None
        if isinstance(sentinel, Exception):
            raise sentinel
        if isinstance(sentinel, Before):
            sentinel.action()
        yield sentinel
        if isinstance(sentinel, AnswerLost):
            raise sentinel.fault

    def append(self, topic: str, entry: Entry, number: int | None = None) -> None:
        """Write one record, by its key's partition unless told which."""
        at = crc32(entry.key or b"") % self._topics[topic] if number is None else number
        partition = Partition(topic, at)
        self.logs[partition].entries.append(entry)
        if entry.transaction is not SETTLED:
            entry.transaction.touched.add(partition)

    def produce(
        self,
        partition: Partition,
        value: bytes | None,
        *,
        key: bytes | None = None,
        headers: Sequence[RawHeader] = (),
        timestamp: int = 0,
    ) -> None:
        """Write a record as somebody upstream would."""
        self.append(partition.topic, Entry(key, value, headers, timestamp), partition.number)

    def read_committed(self, topic: str) -> list[tuple[bytes | None, bytes | None, Sequence[Header]]]:
        """Return what a consumer would see: keys, values and headers, partition after partition."""
        return [
            (entry.key, entry.value, headers_of(entry))
            for partition, log in self.logs.items()
            for _, entry in log.read(log.low)
            if partition.topic == topic
        ]

    def establish(self, group: str, *topics: str) -> None:
        """Commit the first offsets of topics."""
        of_topics = {partition: log for partition, log in self.logs.items() if partition.topic in topics}
        self.groups[group].committed |= {partition: log.low for partition, log in of_topics.items()}

    def join(self, group: str, topics: Sequence[str]) -> str:
        """Take a new member in, under a new generation, and return its id."""
        member = f"member-{next(self._numbers)}"
        self.groups[group].members[member] = tuple(topics)
        self.rebalance(group)
        return member

    def evict(self, group: str, member: str) -> None:
        """Let a member go: it left, or its session is over. Nobody who is not there is missed."""
        if self.groups[group].members.pop(member, None) is not None:
            self.rebalance(group)

    def rebalance(self, group: str) -> None:
        """Begin a new generation: whoever has not polled since is refused."""
        self.groups[group].generation += 1

    def assigned(self, group: str, member: str) -> tuple[Partition, ...]:
        """Return a member's partitions: each topic's are dealt out one by one."""
        members = self.groups[group].members
        hands: dict[str, list[str]] = {
            topic: [name for name, topics in members.items() if topic in topics] for topic in members[member]
        }
        return tuple(
            partition
            for partition in self.logs
            if (hand := hands.get(partition.topic)) and hand[partition.number % len(hand)] == member
        )

    def unstable(self, group: str, partition: Partition) -> bool:
        """Return whether an open transaction holds an offset of this partition: the committed one may not be told."""
        held = [tenure.transaction for tenure in self._tenures.values() if tenure.transaction]
        return any(each.group == group and partition in each.offsets for each in held if each.fate is Fate.OPEN)

    def fence(self, transactional_id: str) -> int:
        """Give the id to whoever asks: drop what its last holder left open, and return the new epoch."""
        tenure = self._tenures[transactional_id]
        if tenure.transaction and tenure.transaction.fate is Fate.OPEN:
            self.end(tenure.transaction, Fate.ABORTED)
        self._tenures[transactional_id] = Tenure(tenure.epoch + 1)
        return tenure.epoch + 1

    def tenure(self, transactional_id: str, epoch: int) -> Tenure:
        """Return the id's state to its present holder; raises Fault for a former one."""
        tenure = self._tenures[transactional_id]
        if tenure.epoch != epoch:
            raise Fault(Verdict.RENEW, "_FENCED", f"{transactional_id} was taken by a newer producer", fenced=True)
        return tenure

    def end(self, transaction: Transaction, fate: Fate) -> None:
        """Commit or abort: records become visible or are passed over, and the offsets count or do not."""
        transaction.fate = fate
        for partition in transaction.touched:
            self.logs[partition].entries.append(Entry(transaction=transaction, marker=True))
        if fate is Fate.COMMITTED:
            self.groups[transaction.group].committed |= transaction.offsets


def headers_of(entry: Entry) -> list[Header]:
    """Return a record's headers; raises UnicodeDecodeError where a name is not UTF-8."""
    return [(name.decode() if isinstance(name, bytes) else name, content) for name, content in entry.headers]
