"""Rooms 1 to 5 joined: one pure function from a micro-batch of one topic's Records to what it publishes.

The live loop, the replay and any other engine call this same function; it is handed the loaded parts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from scorer.decide import decide
from scorer.encode import Encoder, Timing
from scorer.errors import Stage
from scorer.records import Bands, Columns, Decisions, Inputs, Outgoing, Records, Rejection, Scores

Clock: TypeAlias = Callable[[], float]
"""Seconds from any fixed moment, never going back."""


@dataclass(frozen=True, slots=True)
class Lane:
    """One topic's loaded parts, in the order an event meets them."""

    topic: str
    decode: Callable[[Records], tuple[Columns, list[Rejection]]]
    transform: Callable[[Columns], tuple[Inputs, list[Rejection]]]
    infer: Callable[[Inputs], tuple[Scores, list[Rejection]]]
    bands: Bands
    encode: Encoder
    rows: int
    """Rows of one call of the model: fewer events cost as much."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a micro-batch: every record of it is either decided or rejected."""

    records: Records
    columns: Columns
    """Of the decided events, in the order of the decisions."""
    outgoing: Outgoing
    decisions: Decisions
    rejections: Sequence[Rejection]
    stages: Mapping[Stage, float]
    """Seconds spent in each room."""


def process(records: Records, lane: Lane, clock: Clock, first_seen: float) -> Outcome:
    """Score a micro-batch.

    `first_seen` is the clock's time when the batch's first event came. Raises ModelFailedError where the model is
    broken; whatever is wrong with an event is a rejection in the outcome.
    """
    watch = _Watch(clock)
    columns, rejected = lane.decode(records)
    watch.lap(Stage.DECODE)
    inputs, refused = lane.transform(columns)
    if refused:
        columns, inputs = columns.without(refused), inputs.without(refused)
    watch.lap(Stage.TRANSFORM)
    scores, failed = lane.infer(inputs)
    if failed:
        columns, scores = columns.without(failed), scores.without(failed)
    watch.lap(Stage.INFER)
    oversize = lane.encode.oversize(records, scores.rows)
    if oversize:
        columns, scores = columns.without(oversize), scores.without(oversize)
    decisions = decide(scores, lane.bands)
    watch.lap(Stage.DECIDE)
    timing = Timing(watch.start - first_seen, watch.laps[Stage.INFER], watch.last - first_seen)
    rejections = [*rejected, *refused, *failed, *oversize]
    outgoing = lane.encode(records, columns, decisions, rejections, timing)
    watch.lap(Stage.ENCODE)
    return Outcome(records, columns, outgoing, decisions, rejections, watch.laps)


class _Watch:
    """Times the rooms, one after the other."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.start = self.last = clock()
        self.laps: dict[Stage, float] = {}

    def lap(self, stage: Stage) -> None:
        now = self._clock()
        self.laps[stage] = now - self.last
        self.last = now
