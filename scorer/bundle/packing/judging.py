"""How well a bundle's scores do on labelled examples, judged once, when it is packed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from scorer.bundle.manifest import BandFigures, Figures
from scorer.errors import PackError
from scorer.infer.output import CLIP

BINS = 15


Floats = NDArray[np.float32]


def truth_of(labels: Any, count: int) -> NDArray[np.int64]:
    """Return labels as 0 or 1 of shape (count,).

    Raises PackError where there is not one label an event, where one is neither 0 nor 1, or where all are the same.
    """
    truth = np.asarray(labels)
    if truth.shape not in ((count,), (count, 1)):
        raise PackError(f"labels: {truth.shape} for {count} events; give one label an event, in the same order")
    if not np.isin(truth, (0, 1)).all() or len(np.unique(truth)) != 2:
        raise PackError("labels: must be 0 or 1 (1 being what the score finds), and both must occur")
    return truth.reshape(-1).astype(np.int64)


def measure(scores: Floats, labels: Any, bands: Mapping[str, float], *, before: Floats | None = None) -> Figures:
    """Hold scores (float32, shape (n,)) against labels (0 or 1, n of them).

    `before` are the scores without the calibration; left out where there is none. Raises PackError as `truth_of`.
    """
    truth = truth_of(labels, len(scores))
    wide = scores.astype(np.float64)
    clipped = np.clip(wide, CLIP, 1 - CLIP)
    return Figures(
        events=len(truth),
        positives=int(truth.sum()),
        roc_auc=float(roc_auc_score(truth, scores)),
        average_precision=float(average_precision_score(truth, scores)),
        calibration_error=_calibration_error(wide, truth),
        calibration_error_before=_calibration_error(wide if before is None else before.astype(np.float64), truth),
        brier=float(np.mean((wide - truth) ** 2)),
        log_loss=float(-np.mean(np.where(truth == 1, np.log(clipped), np.log1p(-clipped)))),
        bands={name: _band(scores >= np.float32(edge), truth) for name, edge in bands.items()},
    )


def _band(inside: NDArray[np.bool_], truth: NDArray[np.int_]) -> BandFigures:
    hits = int(truth[inside].sum())
    return BandFigures(float(inside.mean()), hits / max(int(inside.sum()), 1), hits / int(truth.sum()))


def _calibration_error(scores: NDArray[np.float64], truth: NDArray[np.int_]) -> float:
    bins = np.minimum((scores * BINS).astype(np.intp), BINS - 1)
    gap = np.bincount(bins, scores, BINS) - np.bincount(bins, truth, BINS)
    return float(np.abs(gap).sum() / len(truth))
