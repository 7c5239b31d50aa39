"""A replay's Report and rows → the figures that a gate may be set on. Pure.

An *alert* is an event in any band but the lowest, which has no edge; a *fraud* one whose label says so. Precision and
recall are of labelled events alone. Days are those of `evaluation.span`; `stray_times` counts events that lie outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from scorer.evaluation.findings import Report as Findings
from scorer.evaluation.span import span
from scorer.replay.compare import Comparison, Report
from scorer.replay.recorded import Recorded

CHUNK = 1 << 20


class Figure(msgspec.Struct, frozen=True):
    """A number, and what a share of it is taken of, if that makes sense."""

    value: float
    of: float | None = None


class Effect(msgspec.Struct, frozen=True):
    """What one side's decisions come to: all alerts, and the labelled events, all and by alert and label."""

    alerts: int = 0
    labelled: int = 0
    true_positives: int = 0
    false_positives: int = 0
    missed: int = 0

    @property
    def precision(self) -> float | None:
        """TP / (TP + FP); None without a labelled alert."""
        alerts = self.true_positives + self.false_positives
        return self.true_positives / alerts if alerts else None

    @property
    def recall(self) -> float | None:
        """TP / (TP + FN); None without a fraud."""
        frauds = self.true_positives + self.missed
        return self.true_positives / frauds if frauds else None

    def __add__(self, other: Effect) -> Effect:
        return Effect(*(getattr(self, name) + getattr(other, name) for name in self.__struct_fields__))


class Segment(msgspec.Struct, frozen=True):
    """The decided events with one value of a field; `flips` and `before` only beside what was decided before."""

    field: str
    value: str
    events: int
    alerts: int
    flips: int | None
    alerts_before: int | None


def segments(
    rows: NDArray[Any],
    fields: Sequence[str],
    values: Sequence[Sequence[str]],
    recorded: Recorded | None,
    report: Report,
) -> list[Segment]:
    """Return each field's values, the most frequent first; `rows` are those of `rows.Sheet` with these fields."""
    found = []
    for at, (field, names) in enumerate(zip(fields, values, strict=True)):
        counts = np.zeros((len(names) + 1, 4), np.int64)  # the last row is of the values beyond those told apart
        for start in range(0, len(rows), CHUNK):
            chunk = rows[start : start + CHUNK]
            codes = np.minimum(chunk[f"field{at}"], len(names))
            for column, weights in enumerate(_marks(chunk, recorded, list(report.decisions))):
                counts[:, column] += np.bincount(codes[weights], minlength=len(names) + 1)
        known = recorded is not None
        listed = [
            Segment(field, name, events, alerts, flips if known else None, before if known else None)
            for name, (events, alerts, flips, before) in zip([*names, "…"], counts.tolist(), strict=True)
            if events
        ]
        found += sorted(listed, key=lambda segment: -segment.events)
    return found


def _marks(rows: NDArray[Any], recorded: Recorded | None, bands: Sequence[str]) -> list[NDArray[np.bool_]]:
    """Return which rows are decided (all), alerts, flips, and alerts before."""
    flips, alerts_before = np.zeros((2, len(rows)), np.bool_)
    marks = [np.ones(len(rows), np.bool_), rows["band"] > 0, flips, alerts_before]
    if recorded is None:
        return marks
    band_of = np.array([-1, *(bands.index(name) if name in bands else len(bands) for name in recorded.names)])
    for number in np.unique(rows["partition"]).tolist():
        here = np.flatnonzero(rows["partition"] == number)
        codes, _ = recorded.at(number, rows["offset"][here])
        before = band_of[codes]
        flips[here] = (codes > 0) & (before != rows["band"][here])
        alerts_before[here] = before > 0
    return marks


def figures(report: Report, rows: NDArray[Any], recorded: Recorded | None) -> dict[str, Figure]:
    """Return every figure that is known; `rows` are those of `rows.Sheet`, with labels or without."""
    otherwise = next(iter(report.decisions))
    found = {
        "events": Figure(report.events),
        "rejected": Figure(sum(report.rejected.values()), report.events),
        **({} if report.comparison is None else _changes(report.comparison)),
    }
    after, before = Effect(), Effect()
    for start in range(0, len(rows), CHUNK):
        chunk = rows[start : start + CHUNK]
        after += _effect(chunk, chunk["band"] > 0)
        if recorded:
            before += _before(chunk, recorded, otherwise)
    days, strays = _days(rows, report.decided)
    if "label" in (rows.dtype.names or ()):
        found["labelled"] = Figure(after.labelled, report.decided)
    found |= _of_side(after, report.decided, days, "") | strays
    if recorded:
        found |= _of_side(before, report.decided, days, "_before")
        found |= _drops(after, before)
    return found


def of_findings(findings: Findings) -> dict[str, Figure]:
    """Return the figures that only the whole assessment has."""
    effect, before, quality = findings.effect, findings.effect_before, findings.quality
    found = {"reviews_per_day": effect.reviews_per_day}
    if before:
        found["reviews_per_day_before"] = before.reviews_per_day
    cost = effect.confusion.cost if effect.confusion else None
    cost_before = before.confusion.cost if before and before.confusion else None
    if cost is not None:
        found["cost"] = cost
    if cost_before is not None and cost is not None:
        found |= {"cost_before": cost_before, "cost_rise": cost - cost_before}
    if quality:
        found["ece"] = quality.calibration.ece
    if findings.drift:
        found["psi"] = findings.drift[0].psi
    return {name: Figure(value) for name, value in found.items()}


def _changes(comparison: Comparison) -> dict[str, Figure]:
    matched = comparison.matched
    both = {
        "flips": Figure(comparison.changed, matched),
        "different_scores": Figure(comparison.different_scores, matched),
        "max_change": Figure(comparison.largest_difference),
    }
    return {
        **(both if matched else {}),
        "missing": Figure(comparison.recorded_only, comparison.recorded),
        "extra": Figure(comparison.not_recorded, matched + comparison.not_recorded),
        "recorded_twice": Figure(comparison.recorded_twice, comparison.recorded),
    }


def _of_side(effect: Effect, decided: int, days: float | None, side: str) -> dict[str, Figure]:
    found = {f"alerts{side}": Figure(effect.alerts, decided)}
    if days:
        found[f"alerts_per_day{side}"] = Figure(effect.alerts / days)
    rates = {"precision": effect.precision, "recall": effect.recall}
    return found | {f"{name}{side}": Figure(rate, 1.0) for name, rate in rates.items() if rate is not None}


def _drops(after: Effect, before: Effect) -> dict[str, Figure]:
    pairs = {"precision_drop": (before.precision, after.precision), "recall_drop": (before.recall, after.recall)}
    return {name: Figure(a - b, 1.0) for name, (a, b) in pairs.items() if a is not None and b is not None}


def _effect(rows: NDArray[Any], alert: NDArray[np.bool_]) -> Effect:
    alerts = int(np.count_nonzero(alert))
    if "label" not in (rows.dtype.names or ()):
        return Effect(alerts)
    fraud, legitimate = rows["label"] == 1, rows["label"] == 0
    counts = (fraud | legitimate, alert & fraud, alert & legitimate, ~alert & fraud)
    return Effect(alerts, *(int(np.count_nonzero(each)) for each in counts))


def _before(rows: NDArray[Any], recorded: Recorded, otherwise: str) -> Effect:
    """Return the effect of what was decided before, of events that were."""
    calm = recorded.names.index(otherwise) + 1 if otherwise in recorded.names else -1
    effect = Effect()
    for number in np.unique(rows["partition"]).tolist():
        here = rows[rows["partition"] == number]
        codes, _ = recorded.at(number, here["offset"])
        effect += _effect(here[codes > 0], codes[codes > 0] != calm)
    return effect


def _days(rows: NDArray[Any], decided: int) -> tuple[float | None, dict[str, Figure]]:
    """Return the days of the events' times, and how many were left out of them; None and nothing without times."""
    found = span(np.asarray(rows["time"][start : start + CHUNK]) for start in range(0, len(rows), CHUNK))
    if found is None or found.days is None:
        return None, {}
    return found.days, {"stray_times": Figure(found.strays, decided)}
