"""Which offsets a batch earns. The service owns them: they come from the records that were decided, nothing else."""

from __future__ import annotations

from collections.abc import Iterable

from scorer.records import Offsets, Partition, Records


class Ledger:
    """Per partition the next offset to take in, seen from the records that came since the committed offsets.

    The client's own notion (`position()`, stored offsets) moves when records are fetched, also when they are thrown
    away on an error; committing it has lost events. What is committed comes from the records that were decided.
    """

    def __init__(self) -> None:
        self._next: Offsets = {}

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
        return None

    def forget(self, partitions: Iterable[Partition]) -> None:
        """Drop partitions that were taken away: somebody else settles them now."""
        for partition in partitions:
            self._next.pop(partition, None)

    def restart(self, committed: Offsets) -> None:
        """Take the broker's committed offsets as the truth."""
        self._next = dict(committed)


def covers(committed: Offsets, offsets: Offsets) -> bool:
    """Return whether a commit of `offsets` turns out to have happened, seen from what the broker has committed."""
    return all(committed.get(partition, -1) >= offset for partition, offset in offsets.items())
