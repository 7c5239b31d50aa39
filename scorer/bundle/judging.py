"""How well a bundle's scores do on labelled examples, judged once, when it is packed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from scorer.bundle.manifest import BandFigures, Figures
from scorer.errors import PackError

BINS = 15


def measure(scores: NDArray[np.float32], labels: Sequence[int], bands: Mapping[str, float]) -> Figures:
    """Hold scores (float32, shape (n,)) against labels (0 or 1, n of them).

    Raises PackError where there is not one label an event, where one is neither 0 nor 1, or where all are the same.
    """
    truth = np.asarray(labels)
    if truth.shape != scores.shape:
        raise PackError(f"labels: {truth.shape} for {len(scores)} events; give one label an event, in the same order")
    if set(np.unique(truth).tolist()) != {0, 1}:
        raise PackError("labels: must be 0 or 1 (1 being what the score finds), and both must occur")
    return Figures(
        events=len(truth),
        positives=int(truth.sum()),
        roc_auc=float(roc_auc_score(truth, scores)),
        average_precision=float(average_precision_score(truth, scores)),
        calibration_error=_calibration_error(scores.astype(np.float64), truth),
        bands={name: _band(scores >= np.float32(edge), truth) for name, edge in bands.items()},
    )


def _band(inside: NDArray[np.bool_], truth: NDArray[np.int_]) -> BandFigures:
    hits = int(truth[inside].sum())
    return BandFigures(float(inside.mean()), hits / max(int(inside.sum()), 1), hits / int(truth.sum()))


def _calibration_error(scores: NDArray[np.float64], truth: NDArray[np.int_]) -> float:
    bins = np.minimum((scores * BINS).astype(np.intp), BINS - 1)
    gap = np.bincount(bins, scores, BINS) - np.bincount(bins, truth, BINS)
    return float(np.abs(gap).sum() / len(truth))
