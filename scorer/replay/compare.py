"""Recorded decisions of a slice + replayed outcomes of it → Report. Pure, and the only place that says what differs.

Both meet at topic-partition-offset, the decision's id. What was recorded is kept as two columns a partition, indexed by
offset: 5 bytes an event, and arrays of zeros cost memory only where something is written. Scores are the same if their
float32 bits are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeAlias

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from scorer.errors import SelectionError
from scorer.pipeline import Outcome
from scorer.records import Records, Rows

MOST_KINDS = 255
"""Different decisions, or makings of them, in one decisions topic: more is no scorer's, and a code has 8 bits."""

Codes: TypeAlias = NDArray[np.uint8]
"""Recorded decisions: 0 for none, else 1 + the index in `Recorded.names`."""


class Making(msgspec.Struct, frozen=True):
    """What made a decision: the bundle, and the thresholds (by the digest of the effective bands)."""

    model: str
    model_version: str
    bundle_sha256: str
    thresholds_version: str


class _Decision(msgspec.Struct, frozen=True, gc=False):
    """Of a decision record, what a replay compares."""

    topic: str
    partition: int
    offset: int
    score: Annotated[float, Meta(ge=0, le=1)]
    decision: str
    model: str
    model_version: str
    bundle_sha256: str
    thresholds_version: str


@dataclass(frozen=True, slots=True)
class RecordedWith:
    """How many decisions of the slice were recorded with one bundle and its thresholds."""

    making: Making
    decisions: int
    same_bundle: bool
    same_thresholds: bool


@dataclass(frozen=True, slots=True)
class Cell:
    """Events by their recorded and their replayed decision."""

    recorded: str
    replayed: str
    events: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """The replayed decisions beside the recorded ones.

    `recorded` counts events of the slice that have a recorded decision, `recorded_twice` further records of the same
    events (0 in exactly-once), `unreadable` records that are no decision. `recorded_only` were decided then, but are
    rejected or gone now; `not_recorded` the reverse. Of the `matched`, decided both times, scores are bit-identical or
    not; `largest_difference` is |recorded - replayed|, and `changed` counts decisions of another name.
    """

    decisions_topic: str
    recorded: int
    recorded_twice: int
    unreadable: int
    matched: int
    recorded_only: int
    not_recorded: int
    identical_scores: int
    different_scores: int
    largest_difference: float
    changed: int
    matrix: tuple[Cell, ...]
    recorded_with: tuple[RecordedWith, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """What a replay did: `slice` gives per partition the offsets [from, to), `rejected` counts by reason."""

    topic: str
    slice: Mapping[int, tuple[int, int]]
    replayed_with: Making
    events: int
    decided: int
    decisions: Mapping[str, int]
    rejected: Mapping[str, int]
    comparison: Comparison | None


class Recorded:
    """What was decided on a slice of a topic, as read from its decisions topic.

    Raises SelectionError for a slice that memory does not hold: compaction may leave few records in many offsets.
    """

    def __init__(self, topic: str, selected: Mapping[int, range], decisions_topic: str) -> None:
        self.decisions_topic = decisions_topic
        self.events = self.twice = self.unreadable = 0
        self._topic = topic
        self._start = {number: offsets.start for number, offsets in selected.items()}
        try:
            self._codes = {number: np.zeros(len(offsets), np.uint8) for number, offsets in selected.items()}
            self._scores = {number: np.zeros(len(offsets), np.float32) for number, offsets in selected.items()}
        except MemoryError as error:
            count = sum(map(len, selected.values()))
            raise SelectionError(f"{topic}: a slice of {count:,} offsets is too long; choose a shorter one") from error
        self._code_of: dict[str, int] = {}
        self._makings: Counter[tuple[str, str, str, str]] = Counter()
        self._decode = msgspec.json.Decoder(_Decision).decode

    @property
    def names(self) -> tuple[str, ...]:
        """The recorded decisions' names, as they came."""
        return tuple(self._code_of)

    @property
    def makings(self) -> Iterable[tuple[Making, int]]:
        """What made the recorded decisions, and how many of them; the most frequent first."""
        return [(Making(*fields), count) for fields, count in self._makings.most_common()]

    def add(self, values: Iterable[bytes | None]) -> None:
        """Take decision records; those of other events are left out. Of an event's several, the first one counts.

        Raises SelectionError for a topic that cannot be one of decisions.
        """
        for value in values:
            try:
                decision = self._decode(value or b"")
            except (ValueError, RecursionError):
                self.unreadable += 1
                continue
            if decision.topic == self._topic and decision.partition in self._codes:
                self._keep(decision)
        if max(len(self._code_of), len(self._makings)) > MOST_KINDS:
            raise SelectionError(
                f"topic {self.decisions_topic} has more than {MOST_KINDS} different decisions or bundles for "
                f"{self._topic}: it is no topic of decisions, name the right one"
            )

    def at(self, number: int, offsets: NDArray[np.int64]) -> tuple[Codes, NDArray[np.float32]]:
        """Return a partition's recorded decisions and scores at `offsets`, in their shape; a score is 0 for none."""
        places = offsets - self._start[number]
        return self._codes[number][places], self._scores[number][places]

    def _keep(self, decision: _Decision) -> None:
        codes, place = self._codes[decision.partition], decision.offset - self._start[decision.partition]
        if not 0 <= place < len(codes):
            return
        if codes[place]:
            self.twice += 1
            return
        # A code too many is cut to 8 bits here, and refused at the end of the batch.
        codes[place] = self._code_of.setdefault(decision.decision, len(self._code_of) + 1) & MOST_KINDS
        self._scores[decision.partition][place] = decision.score
        self._makings[decision.model, decision.model_version, decision.bundle_sha256, decision.thresholds_version] += 1
        self.events += 1


class Tally:
    """Counts a replay's outcomes, beside what was `recorded`, already read to its end, if there is anything."""

    def __init__(
        self, topic: str, selected: Mapping[int, range], making: Making, bands: Sequence[str], recorded: Recorded | None
    ) -> None:
        self._topic = topic
        self._slice = {number: (offsets.start, offsets.stop) for number, offsets in selected.items()}
        self._making = making
        self._bands = bands
        self._recorded = recorded
        self._names = recorded.names if recorded else ()
        self._matrix = np.zeros((len(self._names) + 1, len(bands)), np.int64)  # its first row: not recorded
        self._rejected: Counter[str] = Counter()
        self._identical = 0
        self._largest = 0.0
        self.events = 0

    def add(self, outcome: Outcome) -> None:
        """Count a batch; its records lie in the slice."""
        self.events += len(outcome.records)
        self._rejected.update(rejection.reason.value for rejection in outcome.rejections)
        decisions = outcome.decisions
        codes, scores = self._look_up(outcome.records, decisions.scores.rows)
        np.add.at(self._matrix, (codes, decisions.band), 1)
        matched = codes > 0
        then, now = scores[matched], decisions.scores.score[matched]
        self._identical += int(np.count_nonzero(then.view(np.int32) == now.view(np.int32)))
        differences = np.abs(then.astype(np.float64) - now)
        self._largest = max(self._largest, float(differences.max(initial=0.0)))

    def report(self) -> Report:
        """Return what was counted."""
        by_band = dict(zip(self._bands, self._matrix.sum(axis=0).tolist(), strict=True))
        return Report(
            topic=self._topic,
            slice=self._slice,
            replayed_with=self._making,
            events=self.events,
            decided=sum(by_band.values()),
            decisions=by_band,
            rejected=dict(self._rejected.most_common()),
            comparison=self._comparison(self._recorded) if self._recorded else None,
        )

    def _look_up(self, records: Records, rows: Rows) -> tuple[Codes, NDArray[np.float32]]:
        codes, scores = np.zeros(len(rows), np.uint8), np.zeros(len(rows), np.float32)
        if self._recorded is None:
            return codes, scores
        partitions = np.fromiter(records.partitions, np.int64, len(records))[rows]
        offsets = np.fromiter(records.offsets, np.int64, len(records))[rows]
        for number in np.unique(partitions).tolist():
            here = partitions == number
            codes[here], scores[here] = self._recorded.at(number, offsets[here])
        return codes, scores

    def _comparison(self, recorded: Recorded) -> Comparison:
        cells = tuple(
            Cell(then, now, events)
            for then, row in zip(self._names, self._matrix[1:].tolist(), strict=True)
            for now, events in zip(self._bands, row, strict=True)
        )
        matched = sum(cell.events for cell in cells)
        return Comparison(
            decisions_topic=recorded.decisions_topic,
            recorded=recorded.events,
            recorded_twice=recorded.twice,
            unreadable=recorded.unreadable,
            matched=matched,
            recorded_only=recorded.events - matched,
            not_recorded=int(self._matrix[0].sum()),
            identical_scores=self._identical,
            different_scores=matched - self._identical,
            largest_difference=self._largest,
            changed=sum(cell.events for cell in cells if cell.recorded != cell.replayed),
            matrix=cells,
            recorded_with=tuple(self._recorded_with(making, count) for making, count in recorded.makings),
        )

    def _recorded_with(self, making: Making, decisions: int) -> RecordedWith:
        here = self._making
        same_thresholds = making.thresholds_version == here.thresholds_version
        return RecordedWith(making, decisions, making.bundle_sha256 == here.bundle_sha256, same_thresholds)
