"""A member of a group in the memory cluster."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, islice

from scorer.broker.contract import Change, Haul, Membership, Rebalance
from scorer.broker.memory.cluster import Entry, MemoryBroker, Place, headers_of
from scorer.broker.memory.faults import Again
from scorer.errors import BrokerError, OffsetLostError
from scorer.records import Header, Offsets, Partition, Records

Row = tuple[Partition, int, Entry]


class MemorySource:
    """Joins at its first poll, and learns of a new generation only when it polls, as a Kafka consumer does.

    Its rebalances are eager: everything is revoked, then assigned anew. Records may come in the same haul.
    """

    def __init__(self, broker: MemoryBroker, group: str, topics: Sequence[str]) -> None:
        self._broker = broker
        self._name = group
        self._group = broker.groups[group]
        self._topics = tuple(topics)
        self._place = Place("", -1)
        self._assigned: tuple[Partition, ...] = ()
        self._next: Offsets = {}
        self._told: Offsets = {}
        self._held: frozenset[str] = frozenset()

    @property
    def member(self) -> str:
        """The id under which the group knows this member; empty before the first poll."""
        return self._place.member

    def poll(self, limit: int, timeout: float) -> Haul:
        """Return what is there; if that is less than `limit`, wait the whole `timeout` first."""
        with self._broker.call("poll") as sentinel:
            rebalances = self._synchronise()
            if isinstance(sentinel, Again):
                self._next = dict.fromkeys(self._assigned, 0)
            rows = self._fetch(limit)
            if len(rows) < limit:
                self._broker.pause(timeout)
                rebalances += self._synchronise()
                rows += self._fetch(limit - len(rows))
            by_topic = groupby(sorted(rows, key=lambda row: row[0].topic), key=lambda row: row[0].topic)
            records = tuple(_records(topic, list(part)) for topic, part in by_topic)
            return Haul(records, tuple(rebalances), self._ends() if len(rows) < limit else {})

    def hold(self, topics: frozenset[str]) -> None:
        """Read nothing of these topics."""
        self._held = topics

    def membership(self) -> Membership:
        """Return member and generation as of the last poll."""
        with self._broker.call("membership"):
            return Membership(self._place)

    def commit(self, offsets: Offsets) -> bool:
        """Commit outside a transaction."""
        with self._broker.call("commit_offsets"):
            if not self._group.holds(self._place):
                return False
            self._group.committed |= offsets
            return True

    def rewind(self) -> Offsets:
        """Go back to the committed offsets; raises BrokerError while a transaction holds one of them open."""
        with self._broker.call("rewind"):
            if any(self._broker.unstable(self._name, partition) for partition in self._assigned):
                raise BrokerError(f"group {self._name}: an open transaction holds back the committed offsets")
            self._next, self._told = {partition: self._committed(partition) for partition in self._assigned}, {}
            return dict(self._next)

    def stuck(self) -> dict[Partition, int]:
        """Return none: what is in memory can be read."""
        return {}

    def lag(self) -> dict[Partition, int]:
        """Return the log's end - next offset."""
        return {each: len(self._broker.logs[each].entries) - position for each, position in self._next.items()}

    def close(self) -> None:
        """Leave the group."""
        self._broker.evict(self._name, self.member)

    def _synchronise(self) -> list[Rebalance]:
        """Take part in the group's present generation; a member that was thrown out joins again."""
        if self._group.holds(self._place):
            return []
        change = Change.REVOKED if self.member in self._group.members else Change.LOST
        rebalances = [Rebalance(change, self._assigned)] if self._assigned else []
        member = self.member if change is Change.REVOKED else self._broker.join(self._name, self._topics)
        self._place = Place(member, self._group.generation)
        self._assigned = self._broker.assigned(self._name, member)
        self._next, self._told = {}, {}
        return [*rebalances, Rebalance(Change.ASSIGNED, self._assigned)]

    def _fetch(self, limit: int) -> list[Row]:
        rows: list[Row] = []
        for partition in (each for each in self._assigned if each.topic not in self._held):
            if partition not in self._next:
                if self._broker.unstable(self._name, partition):
                    continue
                self._next[partition] = self._committed(partition)
            read = islice(self._broker.logs[partition].read(self._next[partition]), limit - len(rows))
            part = [(partition, offset, entry) for offset, entry in read]
            self._next[partition] = part[-1][1] + 1 if part else self._next[partition]
            rows += part
        return rows

    def _ends(self) -> Offsets:
        """Return where the partitions end that have no more records; each end is told once, as Kafka's client does."""
        stable = {p: self._broker.logs[p].stable for p in self._next if p.topic not in self._held}
        ends = {p: end for p, end in stable.items() if not any(self._broker.logs[p].read(self._next[p]))}
        fresh = {p: end for p, end in ends.items() if self._told.get(p) != end}
        self._told |= fresh
        self._next |= fresh
        return fresh

    def _committed(self, partition: Partition) -> int:
        committed, low = self._group.committed.get(partition), self._broker.logs[partition].low
        if committed is None or committed < low:
            raise OffsetLostError(
                f"{partition}, group {self._name}: {'nothing' if committed is None else committed} is committed, "
                f"records from {low} on exist: commit an offset"
            )
        return committed


def _records(topic: str, rows: Sequence[Row]) -> Records:
    def headers(row: int) -> Sequence[Header]:
        return headers_of(rows[row][2])

    return Records.of(
        topic,
        [partition.number for partition, _, _ in rows],
        [offset for _, offset, _ in rows],
        [entry.timestamp for _, _, entry in rows],
        [entry.key for _, _, entry in rows],
        [entry.value for _, _, entry in rows],
        headers,
    )
