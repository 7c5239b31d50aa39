"""A source's slice → `pipeline.process` → a journal of decisions and a Report. Handed all its parts, it has no clock.

What was decided before is read first, whole, then the slice streams past it. All that grows with the slice lies in
files, so that memory does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, cast

from scorer.errors import SelectionError
from scorer.pipeline import Clock, Lane, Outcome, process
from scorer.records import Outgoing, Records
from scorer.replay.compare import Report, Tally
from scorer.replay.journal import Counted, Journal
from scorer.replay.positions import Position, select
from scorer.replay.recorded import Recorded
from scorer.replay.rows import Sheet

BATCH = 4096
"""Most events of a micro-batch, as the service has it."""
EVERY = 2.0
"""Seconds of work that an interruption costs at most."""

Slice: TypeAlias = Mapping[int, range]
Watch: TypeAlias = Callable[[Iterable[Records], str, Slice], Iterable[Records]]
"""Passes on what it is given, and may tell somebody of it: batches, what is being done, out of which slice."""


class Past(Protocol):
    """Where slices of topics come from, as `broker.kafka.bounded` reads them; it raises what is said there."""

    def extent(self, topic: str) -> Mapping[int, range]:
        """Return the offsets that each partition holds."""

    def offsets_at(self, topic: str, partitions: Sequence[int], milliseconds: int) -> Mapping[int, int]:
        """Return each partition's first offset at or after a time, where there is one."""

    def read(self, topic: str, selected: Slice, limit: int) -> Iterator[Records]:
        """Yield a slice's records in batches of at most `limit`."""


class Drift(Protocol):
    """Counts what events look like, as `bundle.drift` does."""

    counts: dict[str, list[int]]

    def resume(self, counts: Mapping[str, Sequence[int]]) -> None:
        """Go on with the counts of an earlier part."""

    def add(self, outcome: Outcome) -> None:
        """Count a batch."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How a replay's time passes: `rate` are events a second at most; 0 is as fast as it goes."""

    clock: Clock
    pause: Callable[[float], object]
    rate: float = 0.0

    def __call__(self, batches: Iterable[Records]) -> Iterator[Records]:
        """Pass the batches on, each no sooner than the rate allows."""
        began, events = self.clock(), 0
        for records in batches:
            yield records
            events += len(records)
            if self.rate:
                self.pause(max(began + events / self.rate - self.clock(), 0.0))

    @property
    def batch(self) -> int:
        """Events of a batch: a slow replay takes smaller ones, about one a second."""
        return max(1, min(BATCH, int(self.rate))) if self.rate else BATCH


@dataclass(frozen=True, slots=True)
class Before:
    """Another lane that decides the same events first, and where that is noted."""

    lane: Lane
    noted: Recorded


def choose(past: Past, topic: str, start: Position, stop: Position) -> dict[int, range]:
    """Return the offsets between two positions; raises SelectionError where there are none."""
    extent = past.extent(topic)
    return select(topic, extent, start, stop, lambda at: past.offsets_at(topic, list(extent), at))


def recall(past: Past, recorded: Recorded, watch: Watch) -> Recorded:
    """Read what was decided on a slice: the decisions topic is read whole, since an event's may lie anywhere."""
    topic = recorded.decisions_topic
    everything = past.extent(topic)
    for records in watch(past.read(topic, everything, BATCH), "recorded decisions", everything):
        recorded.add(records.values)
    return recorded


@dataclass(frozen=True, slots=True)
class Parts:
    """What a replay reads, decides with, and keeps its results in."""

    past: Past
    lane: Lane
    journal: Journal
    sheet: Sheet
    tally: Tally
    drift: Drift | None = None

    def resume(self) -> None:
        """Count what an earlier run has left."""
        counted = self.journal.counted
        self.sheet.resume(counted.values)
        if self.drift:
            self.drift.resume(counted.drift)
        self.tally.recount(self.journal.rows(), counted.events, counted.rejected)

    def keep(self, outcome: Outcome) -> None:
        """Take a batch's decisions."""
        lines = cast(Sequence[bytes], outcome.outgoing.values)  # no decision is a tombstone
        rows = self.sheet(outcome, self.journal.places(lines))
        self.tally.add(outcome)
        if self.drift:
            self.drift.add(outcome)
        self.journal.add(lines, rows, {p.number: offset for p, offset in outcome.records.next_offsets().items()})

    def checkpoint(self) -> None:
        """Make sure of what was taken."""
        drift = self.drift.counts if self.drift else {}
        self.journal.checkpoint(Counted(self.tally.events, dict(self.tally.rejected), self.sheet.values, drift))


def replay_slice(
    parts: Parts,
    watch: Watch,
    pace: Pace,
    *,
    before: Before | None = None,
    publish: Callable[[Outgoing], object] = lambda _: None,
    stopping: Callable[[], bool] = lambda: False,
) -> Report | None:
    """Score what is left of the slice, keep every decision, and return what differs; None if it was to stop before.

    `publish` gets what would have been published, and `before` decides each batch first. Raises SelectionError for a
    slice without records, ModelFailedError for a broken model.
    """
    parts.resume()
    lane, journal, clock = parts.lane, parts.journal, pace.clock
    due = clock() + EVERY
    for records in watch(pace(parts.past.read(lane.topic, journal.left, pace.batch)), "replay", journal.left):
        if before:
            before.noted.note(process(records, before.lane, clock, clock()))
        outcome = process(records, lane, clock, clock())
        publish(outcome.outgoing)
        parts.keep(outcome)
        if clock() >= due or stopping():
            parts.checkpoint()
            due = clock() + EVERY
        if stopping():
            return None
    if not parts.tally.events:
        raise SelectionError(
            f"{lane.topic}: no committed record lies between --from and --to, only transactions' marks or what was "
            "aborted or compacted away; choose a longer slice"
        )
    return parts.tally.report()
