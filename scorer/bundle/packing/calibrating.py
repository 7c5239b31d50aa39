"""Calibration at packing: from the model's own values of example events, as served, to a monotone map into [0, 1].

The events ought to be ones that the model has not seen: on those it was trained on it is surer of itself than it will
ever be again, and a map fitted there makes it surer still.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scorer.errors import PackError
from scorer.infer import ScoreKind
from scorer.infer.calibration import Calibration, Doubles, Isotonic, Platt, Quantile, Temperature
from scorer.infer.output import RAW, curve_value, decision_value, expit

METHODS = ("none", "platt", "isotonic", "temperature", "quantile")
KNOTS = 512
"""A quantile map of at most so many reference values has a knot for each; of more, one for about half as many."""
TEMPERATURES = 0.01, 100.0
"""Bounds of a temperature: labels that the sign of the log-odds tells without a mistake would have it 0."""

Truth = NDArray[np.int64]


def method_of(calibration: str | None, kind: ScoreKind, *, labelled: bool) -> str:
    """Return the calibration's method: none for probabilities, quantile for anomalies, where it was not said.

    Raises PackError for one that does not exist, that the kind of score cannot have, or that lacks its labels.
    """
    if calibration is None:
        return "quantile" if kind in RAW else "none"
    if calibration not in METHODS:
        raise PackError(f"calibration {calibration!r}: give {', '.join(METHODS)}")
    if calibration == "temperature" and kind in RAW:
        raise PackError(
            f"calibration 'temperature' divides log-odds, and score {kind.value!r} has none: "
            "give platt, isotonic or quantile"
        )
    if calibration not in ("none", "quantile") and not labelled:
        raise PackError(f"calibration {calibration!r} needs labels=[…], 0 or 1 for each event; quantile needs none")
    return calibration


def fit(method: str, value: Doubles, kind: ScoreKind, truth: Truth | None) -> Calibration | None:
    """Return the calibration fitted on values (float64, (n,)) and, but for a quantile map, labels (0 or 1, (n,)).

    Raises PackError where the values do not rise with the labels, so that no monotone map can be fitted.
    """
    if method == "none":
        return None
    if not len(value):
        raise PackError(f"calibration {method!r}: none of the examples has a score")
    if method == "quantile":
        return quantile(curve_value(value, kind))
    assert truth is not None  # `method_of` has seen them
    if method == "isotonic":
        return isotonic(curve_value(value, kind), truth)
    x = decision_value(value, kind)
    return platt(x, truth) if method == "platt" else temperature(x, truth)


def platt(x: Doubles, truth: Truth) -> Platt:
    """Return slope and intercept of the least log loss against Platt's targets.

    The targets are (N₊ + 1) / (N₊ + 2) for a positive and 1 / (N₋ + 2) for a negative event (Platt, 1999, section
    2.2), as scikit-learn's sigmoid calibration has them too: events that x separates do not make the slope infinite.
    """
    positives = int(truth.sum())
    targets = np.where(truth == 1, (positives + 1) / (positives + 2), 1 / (len(truth) - positives + 2))
    center, spread = float(x.mean()), float(x.std()) or 1.0
    weights = _least_log_loss(np.stack([(x - center) / spread, np.ones(len(x))], 1), targets)
    slope = float(weights[0]) / spread
    _require_rising("platt", slope)
    return Platt(slope, float(weights[1]) - slope * center)


def temperature(x: Doubles, truth: Truth) -> Temperature:
    """Return the temperature of the least log loss (Guo et al., 2017), between 0.01 and 100."""
    spread = float(np.abs(x).max()) or 1.0
    inverse = float(_least_log_loss((x / spread)[:, None], truth.astype(np.float64))[0]) / spread
    _require_rising("temperature", inverse)
    least, most = TEMPERATURES
    t = min(max(1 / inverse, least), most)
    # Of events that x separates the loss falls for ever, and the search ends where it falls no more measurably.
    return Temperature(least if _loss(x / least, truth) <= _loss(x / t, truth) else t)


def isotonic(x: Doubles, truth: Truth) -> Isotonic:
    """Return the knots of scikit-learn's IsotonicRegression."""
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(y_min=0.0, y_max=1.0, increasing=True, out_of_bounds="clip").fit(x, truth)
    ascending = np.maximum.accumulate(fitted.y_thresholds_)  # means of blocks may differ by an ulp the wrong way
    return Isotonic(fitted.X_thresholds_.tolist(), ascending.tolist())


def quantile(x: Doubles) -> Quantile:
    """Return the map of reference values to their quantiles, dense towards the greatest: the tail decides.

    A value's quantile is its rank from 1 to n, equal ones sharing the mean of theirs, over n + 1 (Weibull, 1939): no
    event that was seen has 0 or 1, which leaves room beyond. Of more than 512 values there are knots at 128 even steps
    of rank, and at 128 steps which come closer together by a constant factor as the rank nears n.
    """
    unique, counts = np.unique(x, return_counts=True)
    last = np.cumsum(counts)
    ranks = last - (counts - 1) / 2
    if len(unique) > KNOTS:
        even = np.linspace(1, len(x), KNOTS // 4)
        top = len(x) + 1 - np.geomspace(1, len(x), KNOTS // 4)
        kept = np.unique(np.searchsorted(last, np.floor([*even, *top]), side="left").clip(0, len(unique) - 1))
        unique, ranks = unique[kept], ranks[kept]
    return Quantile(unique.tolist(), (ranks / (len(x) + 1)).tolist())


def _require_rising(method: str, slope: float) -> None:
    if not slope > 0:
        raise PackError(
            f"calibration {method!r}: the model's scores do not rise with the labels, so that calibrating would turn "
            "their order round; is 1 the label of what the score finds, and are labels and events in the same order?"
        )


def _least_log_loss(x: Doubles, targets: Doubles) -> Doubles:
    """Return the weights w, shape (k,), of the least Σ ln(1 + eᶻ) - t·z, where z = x·w, x of shape (n, k).

    Newton's method with halved steps, as Lin, Lin and Weng (2007, "A note on Platt's probabilistic outputs") have it.
    """
    weights = np.zeros(x.shape[1])
    loss = _loss(x @ weights, targets)
    for _ in range(100):
        p = expit(x @ weights)
        gradient = x.T @ (p - targets)
        hessian = x.T @ (x * (p * (1 - p))[:, None]) + 1e-12 * np.eye(len(weights))
        step, length = np.linalg.solve(hessian, gradient), 1.0
        while (found := _loss(x @ (weights - length * step), targets)) > loss and length > 1e-10:
            length /= 2
        if found >= loss:
            break
        weights, loss = weights - length * step, found
    return weights


def _loss(z: Doubles, targets: Doubles | Truth) -> float:
    return float(np.sum(np.logaddexp(0.0, z) - targets * z))
