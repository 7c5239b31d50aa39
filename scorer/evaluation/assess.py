"""Decided events → the Report: everything that is said of them, beside what was decided before, if anything was."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from scorer.evaluation import curves
from scorer.evaluation.calibration import calibration
from scorer.evaluation.effect import effect, histogram, sweep
from scorer.evaluation.findings import (
    Change,
    Costs,
    Difference,
    Drift,
    Effect,
    Flow,
    Proposal,
    Quality,
    Report,
    Segment,
    Segments,
    Side,
    Subject,
)
from scorer.evaluation.propose import as_yaml
from scorer.evaluation.scored import Mask, Scored, band_of
from scorer.evaluation.shift import WORST, Sides, difference
from scorer.evaluation.span import warnings

MOST_SEGMENTS = 40
"""Values of a field that have a row of their own."""


@dataclass(frozen=True, slots=True)
class Event:
    """Which event a row is of."""

    event_id: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Earlier:
    """What another side decided on the same events, arrays of shape (n,): nothing where `decided` is False.

    `band` indexes `names`, which begin with the names of the side under test.
    """

    side: Side
    names: Sequence[str]
    decided: Mask
    score: NDArray[np.float32]
    band: NDArray[np.intp]
    missing: int = 0
    extra: int = 0
    twice: int = 0


@dataclass(frozen=True, slots=True)
class Case:
    """What there is to say something of, `made` at a time in milliseconds by a scorer's `version`.

    `band` is each event's, by the `side` under test, 0 being no alert; `event` tells which event a row is of.

    `fields` are codes of shape (n,) and the values that they stand for: a code beyond them is any other value.
    """

    kind: str
    made: int
    version: str
    subject: Subject
    side: Side
    flow: Flow
    scored: Scored
    band: NDArray[np.intp]
    event: Callable[[int], Event]
    earlier: Earlier | None = None
    fields: Mapping[str, tuple[NDArray[np.intp], Sequence[str]]] = field(default_factory=dict)
    drift: Sequence[Drift] = ()
    costs: Costs | None = None
    capacity: float | None = None
    proposal: Proposal | None = None

    @property
    def names(self) -> list[str]:
        """The bands, ascending, `otherwise` first."""
        return [self.side.otherwise, *self.side.bands]


def assess(case: Case) -> Report:
    """Return the report of a case."""
    scored, earlier = case.scored, case.earlier
    fraud, known = scored.fraud, scored.label >= 0
    labelled = bool(known.any())
    paid = scored.losses(case.costs) if case.costs else None
    changed = _difference(case, earlier) if earlier else None
    moved = changed is not None and changed.identical < changed.matched
    return Report(
        kind=case.kind,
        made=case.made,
        scorer=case.version,
        subject=case.subject,
        after=case.side,
        before=earlier.side if earlier else None,
        flow=case.flow,
        effect=_after(case, slice(None)),
        effect_before=_before(case, earlier, earlier.decided) if earlier else None,
        difference=changed,
        segments=[_segments(case, name) for name in case.fields],
        sweep=sweep(scored, list(_edges(case)), case.costs),
        scores=histogram(scored.score),
        scores_frauds=histogram(scored.score[fraud]) if labelled else None,
        labels=int(np.count_nonzero(known)),
        frauds=int(np.count_nonzero(fraud)),
        fraud_money=None if paid is None else float(paid.sum()),
        costs=case.costs,
        capacity=case.capacity,
        quality=_quality(scored),
        quality_before=_quality(_as_before(scored, earlier)) if earlier and moved else None,
        drift=list(case.drift),
        proposal=case.proposal,
        yaml=as_yaml(case.subject.topic, case.side.bands),
        warnings=list(_warnings(case)),
    )


def same_scores(case: Case, side: Side) -> Earlier:
    """Return what other bands of the same names do to the same scores."""
    scored = case.scored
    band = band_of(scored.score, list(side.bands.values()))
    return Earlier(side, case.names, np.ones(len(scored), np.bool_), scored.score, band)


def _edges(case: Case) -> Iterator[float]:
    """Yield the edges whose figures a reader must find to the event: those now, before, and proposed."""
    yield from case.side.bands.values()
    for other in (case.earlier and case.earlier.side, case.proposal):
        yield from (edge for edge in (other.bands.values() if other else ()) if 0 < edge < 1)


def _after(case: Case, rows: Mask | slice) -> Effect:
    return effect(_part(case.scored, rows), case.band[rows], case.names, case.costs, case.subject.days)


def _before(case: Case, earlier: Earlier, rows: Mask) -> Effect:
    """Return what the other side did; a band that only it has counts as the highest here."""
    band = np.minimum(earlier.band[rows], len(case.names) - 1)
    return effect(_part(case.scored, rows), band, case.names, case.costs, case.subject.days)


def _part(scored: Scored, rows: Mask | slice) -> Scored:
    return scored if isinstance(rows, slice) else scored.where(rows)


def _difference(case: Case, earlier: Earlier) -> Difference:
    """Return what changed; where no score moved, the worst of it are the highest scores that are decided otherwise."""
    both = np.flatnonzero(earlier.decided)
    sides = Sides(earlier.names, earlier.score[both], case.scored.score[both], earlier.band[both], case.band[both])
    found = difference(
        sides,
        lambda row: _change(case, earlier, int(both[row])),
        missing=earlier.missing,
        extra=earlier.extra,
        twice=earlier.twice,
    )
    if found.largest:
        return found
    flipped = both[sides.before != sides.after]
    highest = flipped[np.argsort(-case.scored.score[flipped], kind="stable")[:WORST]]
    return msgspec.structs.replace(found, worst=[_change(case, earlier, int(row)) for row in highest])


def _change(case: Case, earlier: Earlier, row: int) -> Change:
    event, label = case.event(row), int(case.scored.label[row])
    return Change(
        event_id=event.event_id,
        partition=event.partition,
        offset=event.offset,
        time=int(case.scored.time[row]),
        before_score=float(earlier.score[row]),
        after_score=float(case.scored.score[row]),
        before=earlier.names[earlier.band[row]],
        after=earlier.names[case.band[row]],
        label=None if label < 0 else bool(label),
    )


def _segments(case: Case, name: str) -> Segments:
    codes, values = case.fields[name]
    counts = np.bincount(np.minimum(codes, len(values)), minlength=len(values) + 1)[:-1]
    largest = [int(code) for code in np.argsort(-counts, kind="stable")[:MOST_SEGMENTS] if counts[code]]
    rows = [_segment(case, values[code], codes == code) for code in largest]
    others = ~np.isin(codes, largest)
    return Segments(name, [*rows, *([_segment(case, "…", others)] if others.any() else [])])


def _segment(case: Case, value: str, rows: Mask) -> Segment:
    earlier = case.earlier
    if earlier is None:
        return Segment(value, int(np.count_nonzero(rows)), 0, None, _after(case, rows))
    both = rows & earlier.decided
    flips = int(np.count_nonzero(both & (earlier.band != case.band)))
    return Segment(value, int(np.count_nonzero(rows)), flips, _before(case, earlier, both), _after(case, rows))


def _quality(scored: Scored) -> Quality | None:
    roc, pr, calibrated = curves.roc(scored), curves.precision_recall(scored), calibration(scored)
    return Quality(roc, pr, calibrated) if roc and pr and calibrated else None


def _as_before(scored: Scored, earlier: Earlier) -> Scored:
    rows = earlier.decided
    amount = None if scored.amount is None else scored.amount[rows]
    return Scored(scored.time[rows], earlier.score[rows], scored.label[rows], amount)


def _warnings(case: Case) -> Sequence[str]:
    said = list(case.proposal.warnings) if case.proposal else []
    scored, known = case.scored, int(np.count_nonzero(case.scored.label >= 0))
    if known and known < len(scored) and not case.proposal:
        said.append(f"{known / len(scored):.1%} of the events have a label: precision, recall and cost are of those")
    if not case.proposal:
        said += warnings(scored.span)
    if known and _quality(scored) is None:
        said.append("the labels are all of one kind: precision, recall and curves say nothing")
    return said
