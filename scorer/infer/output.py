"""From a model's output to a score in [0, 1] and its log-odds."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from scorer.infer.spec import ModelSpec, ScoreKind

CLIP = 2.0**-24
"""Probabilities are clipped to [2⁻²⁴, 1 - 2⁻²⁴], half an ulp of 1 in float32, before their log-odds are taken."""


def score_of(output: NDArray[Any], spec: ModelSpec) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return score and log-odds, float32 of shape (n,), from the signature's output of shape (n,), (n, 1) or (n, k).

    A logit x becomes 1 / (1 + e⁻ˣ) and is its own log-odds; otherwise they are ln p - ln(1 - p), with p clipped.
    Both are computed in float64. A row whose output is NaN gives NaN.
    """
    column = output if output.ndim == 1 else output[:, spec.positive_class or 0]
    value = column.astype(np.float64)
    if spec.score is ScoreKind.LOGIT:
        return np.exp(-np.logaddexp(0.0, -value)).astype(np.float32), value.astype(np.float32)
    p = np.clip(value, CLIP, 1.0 - CLIP)
    return column.astype(np.float32), (np.log(p) - np.log1p(-p)).astype(np.float32)


def sound(score: NDArray[np.float32], log_odds: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return which rows are finite probabilities."""
    return (score >= 0) & (score <= 1) & np.isfinite(log_odds)
