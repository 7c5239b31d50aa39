"""Which offsets a batch earns. The service owns them: they come from the records that were decided, nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from scorer.records import Offsets, Partition, Records


class Ledger:
    """Per partition the next offset to take in, seen from the records that came since the committed offsets.

    The client's own notion (`position()`, stored offsets) moves when records are fetched, also when they are thrown
    away on an error; committing it has lost events. What is committed comes from the records that were decided.
    """

    def __init__(self) -> None:
        self._next: Offsets = {}
        self._furthest: Offsets = {}
        self._settled: Offsets = {}
        self._ends: Offsets = {}

    def earn(self, records: Iterable[Records]) -> Offsets:
        """Return what a batch's commit must cover: for each of its partitions the last record's offset + 1."""
        offsets: Offsets = {}
        for part in records:
            offsets |= part.next_offsets()
        return offsets

    def take(self, records: Iterable[Records]) -> Partition | None:
        """Note that records came; return a partition of which one came before, if there is one.

        That must not happen: it would be decided twice. The caller goes back to the committed offsets instead.
        """
        for part in records:
            for partition, offset in part.first_offsets().items():
                if offset < self._next.get(partition, 0):
                    return partition
            self._next |= part.next_offsets()
            self._furthest |= {p: max(at, self._furthest.get(p, 0)) for p, at in part.next_offsets().items()}
        return None

    def reach(self, ends: Mapping[Partition, int]) -> None:
        """Note that partitions were read to their ends."""
        self._ends |= ends

    def settle(self, offsets: Offsets) -> None:
        """Note that offsets are committed."""
        self._settled |= offsets
        self._next |= {partition: max(offset, self._next.get(partition, 0)) for partition, offset in offsets.items()}

    def passed(self) -> Offsets:
        """Return ends that lie behind what is committed, with no record between: only marks of transactions.

        Committed, they keep a partition whose marks retention has deleted from looking like one that lost records. An
        end counts only where everything that ever came is settled: after a way back to the committed offsets, records
        come once more that were before it.
        """
        return {
            partition: end
            for partition, end in self._ends.items()
            if end > self._settled.get(partition, -1)
            and self._furthest.get(partition, 0) <= self._next.get(partition, 0) == self._settled.get(partition, 0)
        }

    def forget(self, partitions: Iterable[Partition]) -> None:
        """Drop partitions that were taken away: somebody else settles them now."""
        for partition in partitions:
            for known in (self._next, self._furthest, self._settled, self._ends):
                known.pop(partition, None)

    def restart(self, committed: Offsets) -> None:
        """Take the broker's committed offsets as the truth."""
        self._next, self._settled, self._ends = dict(committed), dict(committed), {}


def covers(committed: Offsets, offsets: Offsets) -> bool:
    """Return whether a commit of `offsets` turns out to have happened, seen from what the broker has committed."""
    return all(committed.get(partition, -1) >= offset for partition, offset in offsets.items())
