"""ROC and precision-recall curves, with the areas that scikit-learn defines, thinned for a page."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scorer.evaluation.findings import Curve
from scorer.evaluation.scored import Scored

MOST_POINTS = 400


def roc(scored: Scored) -> Curve | None:
    """Return true over false positive rate, and the area under it by trapezia; None without both kinds of labels."""
    hits, alarms = _cumulated(scored)
    if not len(hits) or not hits[-1] or not alarms[-1]:
        return None
    x, y = np.insert(alarms / alarms[-1], 0, 0.0), np.insert(hits / hits[-1], 0, 0.0)
    return _thinned(x, y, float(np.trapezoid(y, x)))


def precision_recall(scored: Scored) -> Curve | None:
    """Return precision (y) over recall (x), and the average precision Σ (Rᵢ - Rᵢ₋₁) Pᵢ; None without a fraud."""
    hits, alarms = _cumulated(scored)
    if not len(hits) or not hits[-1]:
        return None
    recall, precision = hits / hits[-1], hits / (hits + alarms)
    area = float((np.diff(recall, prepend=0.0) * precision).sum())
    return _thinned(recall, precision, area)


def _cumulated(scored: Scored) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return frauds and legitimate events at or above each different score of a labelled event, descending."""
    labelled = scored.where(scored.label >= 0)
    order = np.argsort(-labelled.score, kind="stable")
    score, fraud = labelled.score[order], labelled.label[order] == 1
    last = np.flatnonzero(np.diff(score, append=-1.0))
    hits = np.cumsum(fraud)[last].astype(np.float64)
    return hits, last + 1 - hits


def _thinned(x: NDArray[np.float64], y: NDArray[np.float64], area: float) -> Curve:
    """Return at most so many of the points, evenly along both axes, with the first and the last."""
    if len(x) > MOST_POINTS:
        way = np.cumsum(np.abs(np.diff(x, prepend=x[0])) + np.abs(np.diff(y, prepend=y[0])))
        places = np.searchsorted(way, np.linspace(0.0, way[-1], MOST_POINTS))
        places = np.unique([0, *np.minimum(places, len(x) - 1).tolist(), len(x) - 1])
        x, y = x[places], y[places]
    return Curve(x.tolist(), y.tolist(), area)
