"""Recorded decisions of a slice + replayed outcomes of it → Report. Pure, and the only place that says what differs.

Both meet at topic-partition-offset, the decision's id. Scores are the same if their float32 bits are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scorer.pipeline import Outcome
from scorer.replay.recorded import Making, Recorded, by_partition

CHUNK = 1 << 20
"""Rows counted at a time."""
MOST_FLIPS = 100
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}
_FLIP = np.dtype(
    [("partition", "i4"), ("offset", "i8"), ("recorded", "u1"), ("replayed", "u1"), ("then", "f4"), ("now", "f4")]
)


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
class Flip:
    """An event that is decided otherwise."""

    partition: int
    offset: int
    recorded: str
    replayed: str
    recorded_score: float
    replayed_score: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """The replayed decisions beside the recorded ones.

    `recorded` counts events of the slice that have a recorded decision, `recorded_twice` further records of the same
    events (0 in exactly-once), `unreadable` records that are no decision. `recorded_only` were decided then, but are
    rejected or gone now; `not_recorded` the reverse. Of the `matched`, decided both times, scores are bit-identical or
    not; `largest_difference` is |recorded - replayed|, and `changed` counts decisions of another name. `shift` has
    quantiles of |recorded - replayed| over all matched, each to within a hundredth of itself, and `flips` the changed
    decisions whose score moved most.
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
    shift: Mapping[str, float]
    matrix: tuple[Cell, ...]
    flips: tuple[Flip, ...]
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
        self._moved = np.zeros(1 << 16, np.int64)
        self._flips = np.zeros(0, _FLIP)
        self.events = 0

    def add(self, outcome: Outcome) -> None:
        """Count a batch; its records lie in the slice."""
        self.events += len(outcome.records)
        self._rejected.update(rejection.reason.value for rejection in outcome.rejections)
        decisions = outcome.decisions
        scores = decisions.scores
        for number, here, offsets in by_partition(outcome.records, scores.rows):
            self.count(number, offsets, scores.score[here], decisions.band[here])

    def recount(self, rows: NDArray[Any], events: int, rejected: Mapping[str, int]) -> None:
        """Count what was replayed before an interruption: its rows, as `rows` describes them, and the rest."""
        self.events += events
        self._rejected.update(rejected)
        for start in range(0, len(rows), CHUNK):
            chunk = rows[start : start + CHUNK]
            for number in np.unique(chunk["partition"]).tolist():
                here = chunk[chunk["partition"] == number]
                self.count(number, here["offset"], here["score"], here["band"])

    @property
    def rejected(self) -> Mapping[str, int]:
        """Rejected events by reason."""
        return self._rejected

    def count(
        self, number: int, offsets: NDArray[np.int64], score: NDArray[np.float32], band: NDArray[np.integer[Any]]
    ) -> None:
        """Count decisions of one partition; all arrays have the shape of `offsets`."""
        codes, scores = np.zeros(len(offsets), np.uint8), np.zeros(len(offsets), np.float32)
        if self._recorded:
            codes, scores = self._recorded.at(number, offsets)
        np.add.at(self._matrix, (codes, band), 1)
        matched = codes > 0
        then, now = scores[matched], score[matched]
        self._identical += int(np.count_nonzero(then.view(np.int32) == now.view(np.int32)))
        differences = np.abs(then.astype(np.float64) - now)
        self._largest = max(self._largest, float(differences.max(initial=0.0)))
        # A float32's upper half orders it to within 2⁻⁷: 65,536 counters hold every quantile.
        self._moved += np.bincount(differences.astype(np.float32).view(np.uint32) >> 16, minlength=1 << 16)
        self._keep_flips(number, offsets[matched], (codes[matched], band[matched]), (then, now))

    def _keep_flips(
        self, number: int, offsets: NDArray[np.int64], bands: Sequence[NDArray[Any]], scores: Sequence[NDArray[Any]]
    ) -> None:
        names = np.array(["", *self._names], object)
        flipped = np.flatnonzero(names[bands[0]] != np.array(self._bands, object)[bands[1]])
        if not len(flipped):
            return
        fresh = np.zeros(len(flipped), _FLIP)
        fresh["partition"], fresh["offset"] = number, offsets[flipped]
        fresh["recorded"], fresh["replayed"] = (codes[flipped] for codes in bands)
        fresh["then"], fresh["now"] = (score[flipped] for score in scores)
        held = np.concatenate([self._flips, fresh])
        order = np.lexsort((held["offset"], held["partition"], -np.abs(held["then"] - held["now"])))
        self._flips = held[order[:MOST_FLIPS]]

    def _shift(self) -> dict[str, float]:
        """Return the quantiles of what was counted; each is the upper end of its counter's numbers."""
        upto = np.cumsum(self._moved)
        if not upto[-1]:
            return {}
        places = {name: int(np.searchsorted(upto, max(share * upto[-1], 1))) for name, share in QUANTILES.items()}
        ends = {name: np.uint32((place << 16) + 0xFFFF) if place else np.uint32(0) for name, place in places.items()}
        return {name: min(float(end.view(np.float32)), self._largest) for name, end in ends.items()}

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
            shift=self._shift(),
            matrix=cells,
            flips=tuple(self._flip(row) for row in self._flips),
            recorded_with=tuple(self._recorded_with(making, count) for making, count in recorded.makings),
        )

    def _flip(self, row: Any) -> Flip:
        recorded, replayed = self._names[row["recorded"] - 1], self._bands[row["replayed"]]
        places = int(row["partition"]), int(row["offset"])
        return Flip(*places, recorded, replayed, float(row["then"]), float(row["now"]))

    def _recorded_with(self, making: Making, decisions: int) -> RecordedWith:
        here = self._making
        same_thresholds = making.thresholds_version == here.thresholds_version
        return RecordedWith(making, decisions, making.bundle_sha256 == here.bundle_sha256, same_thresholds)
