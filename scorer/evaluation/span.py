"""The days that events lie in, as every rate a day is computed with: from the first to the last, strays left out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

DAY = 86_400_000
"""Milliseconds of a day."""
SHORTEST = DAY / 24
"""A span counts as an hour at least: a rate per day of a few seconds is noise."""
STRAYS = 0.05
"""The share of events, at either end, among which strays are looked for."""
QUIET = 7 * DAY
"""A gap that is no sign of a wrong time, however short the rest is: a topic's first days, or a late event."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Span:
    """The times, in milliseconds since the epoch, of the first event and the last, but for `strays` events."""

    first: int
    last: int
    strays: int

    @property
    def days(self) -> float | None:
        """How many they are, an hour at least; None where all times are the same, as in a file without times."""
        length = float(self.last - self.first)
        return max(length, SHORTEST) / DAY if length else None


def span(chunks: Iterable[NDArray[np.int64]]) -> Span | None:
    """Return the span of events' times, which come in pieces of any order; None without an event.

    It is that of all events, unless some at an end are so far away that their times must be wrong: at most one in
    twenty, behind a gap that is longer than all the rest lasts, and longer than a week. So one event at 1970 makes no
    twenty thousand days of a week; sparse events, days with a gap between them, a slow beginning, and fewer than
    twenty events are taken as they are. Memory holds three numbers a day that has events.
    """
    first, last, count = (np.zeros(0, np.int64) for _ in range(3))
    for chunk in chunks:
        times = np.sort(chunk)
        starts = np.flatnonzero(np.diff(times // DAY, prepend=np.int64(-(2**62))))
        ends = np.append(starts[1:], len(times))[: len(starts)]
        parts = ((first, times[starts]), (last, times[ends - 1]), (count, ends - starts))
        first, last, count = _by_day(*(np.concatenate(pair) for pair in parts))
    return _without_strays(first.tolist(), last.tolist(), count) if len(count) else None


def warnings(found: Span | None) -> list[str]:
    """Return what is to be said of rates a day over this span, if anything is."""
    said = []
    if found is None or found.days is None:
        said.append("the events have no times: a day is the whole slice")
    if found and found.strays:
        what = "1 event lies" if found.strays == 1 else f"{found.strays:,} events lie"
        said.append(
            f"{what} far outside of all other event times, {_when(found.first)} to {_when(found.last)}: days are "
            "counted without; look for wrong times"
        )
    return said


def _by_day(
    first: NDArray[np.int64], last: NDArray[np.int64], count: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the days of both parts as one, ascending."""
    order = np.argsort(first // DAY, kind="stable")
    starts = np.flatnonzero(np.diff(first[order] // DAY, prepend=np.int64(-(2**62))))
    if not len(starts):
        return first, last, count
    return (
        np.minimum.reduceat(first[order], starts),
        np.maximum.reduceat(last[order], starts),
        np.add.reduceat(count[order], starts),
    )


def _without_strays(first: list[int], last: list[int], count: NDArray[np.int64]) -> Span:
    """Go from the days of the inner events outwards, until the next event is too far away."""
    until = np.cumsum(count)
    total = int(until[-1])
    most = int(total * STRAYS)
    low, high = (int(np.searchsorted(until, events)) for events in (most + 1, total - most))
    while True:
        near = max(last[high] - first[low], QUIET)
        if low and first[low] - last[low - 1] <= near:
            low -= 1
        elif high + 1 < len(last) and first[high + 1] - last[high] <= near:
            high += 1
        else:
            return Span(first[low], last[high], total - int(count[low : high + 1].sum()))


def _when(milliseconds: int) -> str:
    """Return a day, or the number where there is no such day: a file of scores may have any."""
    try:
        return f"{_EPOCH + timedelta(milliseconds=milliseconds):%Y-%m-%d}"
    except OverflowError:
        return str(milliseconds)
