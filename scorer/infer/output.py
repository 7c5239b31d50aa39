"""From a model's output to a score in [0, 1] and its log-odds, in two steps: `value_of`, then a `Reading` of it.

A value is one float64 an event: what the model itself says. Everything is computed in float64, and cast once, at the
end. The log-odds are finite wherever there is a score, and the score is what they say.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from scorer.errors import BundleError
from scorer.infer.calibration import Calibration, Doubles, Platt, Temperature, curve_of
from scorer.infer.spec import ModelSpec, ScoreKind

CLIP = 2.0**-24
"""Probabilities are clipped to [2⁻²⁴, 1 - 2⁻²⁴], half an ulp of 1 in float32, before their log-odds are taken."""
LARGEST = float(np.finfo(np.float32).max)
RAW = (ScoreKind.ANOMALY, ScoreKind.RECONSTRUCTION_ERROR)
"""Kinds of any range: what they say is no probability until a calibration makes it one."""


def value_of(output: NDArray[Any], spec: ModelSpec, fed: NDArray[Any] | None = None) -> Doubles:
    """Return one float64 an event, shape (n,), from the signature's output of shape (n,), (n, 1) or (n, k).

    With `fed`, the features that the model was to reconstruct, it is the mean squared (`mse`) or mean absolute (`mae`)
    difference of the output from them over all but the first axis. Raises BundleError where their shapes differ.
    """
    if fed is None:
        column = output if output.ndim == 1 else output[:, spec.positive_class or 0]
        return column.astype(np.float64)
    if output.shape != fed.shape:
        raise BundleError(f"model output {spec.output!r}: {output.shape} does not reconstruct features of {fed.shape}")
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is no score, and is rejected by name
        apart = np.subtract(output, fed, dtype=np.float64, order="C").reshape(len(output), -1)
        error: Doubles = (np.abs(apart) if spec.error == "mae" else np.square(apart)).mean(axis=1)
    return error


class Reading:
    """How values become scores: by their kind and the calibration."""

    def __init__(self, kind: ScoreKind, calibration: Calibration | None) -> None:
        self._kind = kind
        self._calibration = calibration
        curved = calibration is not None and not isinstance(calibration, Platt | Temperature)
        self._curve = curve_of(calibration) if curved else None  # type: ignore[arg-type]  # narrowed by `curved`

    def __call__(self, value: Doubles) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return score and log-odds, float32 of the shape of `value`.

        A value that is NaN, infinite, or no probability where it ought to be one has NaN for its log-odds, and itself
        for its score (see `sound`).
        """
        with np.errstate(over="ignore"):
            single = value.astype(np.float32)
        fine = np.isfinite(value) if self._kind in (*RAW, ScoreKind.LOGIT) else (single >= 0) & (single <= 1)
        if fine.all():
            score, log_odds = self._read(value)
            return score.astype(np.float32), log_odds.astype(np.float32)
        score, log_odds = self._read(np.where(fine, value, np.nan))
        return np.where(fine, score.astype(np.float32), single), log_odds.astype(np.float32)

    def _read(self, value: Doubles) -> tuple[Doubles, Doubles]:
        if isinstance(self._calibration, Platt | Temperature):
            x = decision_value(value, self._kind)
            with np.errstate(over="ignore"):
                log_odds = np.clip(moved(x, self._calibration), -LARGEST, LARGEST)
            return expit(log_odds), log_odds
        if self._curve is None and self._kind is ScoreKind.LOGIT:
            return expit(value), np.clip(value, -LARGEST, LARGEST)
        p = plain_score(value, self._kind) if self._curve is None else self._curve(curve_value(value, self._kind))
        return p, logit(p)


def moved(x: Doubles, calibration: Platt | Temperature) -> Doubles:
    """Return calibrated log-odds."""
    if isinstance(calibration, Temperature):
        return x / calibration.t
    return calibration.slope * x + calibration.intercept


def decision_value(value: Doubles, kind: ScoreKind) -> Doubles:
    """Return what Platt and Temperature act on: log-odds, or the raw value where there are none."""
    return value if kind in (*RAW, ScoreKind.LOGIT) else logit(value)


def curve_value(value: Doubles, kind: ScoreKind) -> Doubles:
    """Return what Isotonic and Quantile act on: the uncalibrated score, or the raw value of any range."""
    return expit(value) if kind is ScoreKind.LOGIT else value


def plain_score(value: Doubles, kind: ScoreKind) -> Doubles:
    """Return the score without a calibration: an anomaly's raw value is clipped to [0, 1], never refused."""
    return np.clip(value, 0.0, 1.0) if kind in RAW else curve_value(value, kind)


def logit(p: Doubles) -> Doubles:
    """Return ln p - ln(1 - p), with p clipped."""
    clipped = np.clip(p, CLIP, 1.0 - CLIP)
    log_odds: Doubles = np.log(clipped) - np.log1p(-clipped)
    return log_odds


def expit(x: Doubles) -> Doubles:
    """Return 1 / (1 + e⁻ˣ), without overflow at either end; NaN gives NaN."""
    with np.errstate(invalid="ignore"):
        p: Doubles = np.exp(-np.logaddexp(0.0, -x))
    return p


def sound(score: NDArray[np.float32], log_odds: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return which rows are finite probabilities."""
    return (score >= 0) & (score <= 1) & np.isfinite(log_odds)
