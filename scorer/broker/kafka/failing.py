"""Partitions that cannot be read on, because one offset fails again and again: a batch that cannot be decompressed."""

from __future__ import annotations

from collections.abc import Iterable

from scorer.records import Offsets, Partition

STUCK_AFTER = 10
"""Errors of one partition in a row, at one offset, after which it counts as stuck: the client tries twice a second."""


class Failing:
    """Per partition the offset that failed last, and how many times in a row."""

    def __init__(self) -> None:
        self._at: dict[Partition, tuple[int, int]] = {}

    def fail(self, partition: Partition, offset: int) -> None:
        """Note that an offset failed."""
        at, times = self._at.get(partition, (offset, 0))
        self._at[partition] = (offset, times + 1 if at == offset else 1)

    def passed(self, following: Offsets) -> None:
        """Drop the partitions that were read on, seen from the next offset of each."""
        if self._at:
            self._at = {p: (at, times) for p, (at, times) in self._at.items() if following.get(p, 0) <= at}

    def forget(self, partitions: Iterable[Partition]) -> None:
        """Drop partitions that were taken away."""
        for partition in partitions:
            self._at.pop(partition, None)

    def stuck(self) -> dict[Partition, int]:
        """Return the partitions that are stuck, each with its offset."""
        return {partition: offset for partition, (offset, times) in self._at.items() if times >= STUCK_AFTER}
