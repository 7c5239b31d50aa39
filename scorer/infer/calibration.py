"""Calibration as data, part of the model's contract: what was fitted when the bundle was packed, applied with NumPy.

Platt and Temperature move log-odds; Isotonic and Quantile are curves from a value to a score in [0, 1]. All four are
monotone: a calibration never changes which of two events is the more suspicious one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeAlias

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

Doubles: TypeAlias = NDArray[np.float64]
Curve: TypeAlias = Callable[[Doubles], Doubles]


class _Calibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag=str.lower):
    """A tagged calibration."""


class Platt(_Calibration, frozen=True):
    """log-odds = slope · x + intercept (Platt, 1999), x being the model's log-odds, or an anomaly's raw value."""

    slope: Annotated[float, Meta(gt=0)]
    intercept: float


class Temperature(_Calibration, frozen=True):
    """log-odds = x / t (Guo et al., 2017), x being the model's log-odds.

    For a softmax of more than two classes these are the log-odds of the positive class against all others.
    """

    t: Annotated[float, Meta(gt=0)]


class _Knots(_Calibration, frozen=True):
    x: list[float]
    y: list[Annotated[float, Meta(ge=0, le=1)]]

    def __post_init__(self) -> None:
        if not self.x or len(self.x) != len(self.y):
            raise ValueError(f"a calibration curve of {len(self.x)} x and {len(self.y)} y")
        if not (np.diff(self.x) > 0).all() or not (np.diff(self.y) >= 0).all():
            raise ValueError("a calibration curve's x must ascend, and its y must not descend")


class Isotonic(_Knots, frozen=True):
    """score = the line through the knots (x, y), and the outer y beyond them: `numpy.interp`, bit for bit.

    x is the uncalibrated score, or an anomaly's raw value (Zadrozny and Elkan, 2002).
    """


class Quantile(_Knots, frozen=True):
    """score = the share of the reference events that were less anomalous: the line through the knots (x, y).

    x is as for Isotonic. Beyond the knots the score goes on towards 0 and 1, so that edges still tell apart what was
    never seen. With s the spread of the knots, x[-1] - x[0] (or, of a single one, |x|, or 1):

        above: 1 - (1 - y[-1]) · s / (s + x - x[-1])        below: y[0] · s / (s + x[0] - x)
    """


Calibration: TypeAlias = Platt | Temperature | Isotonic | Quantile


def curve_of(calibration: Isotonic | Quantile) -> Curve:
    """Return the curve as a function of float64 values, elementwise; NaN gives NaN."""
    x, y = np.array(calibration.x, np.float64), np.array(calibration.y, np.float64)
    if isinstance(calibration, Isotonic):
        return lambda value: np.interp(value, x, y)
    spread = (x[-1] - x[0]) or abs(x[0]) or 1.0

    def quantile(value: Doubles) -> Doubles:
        inside = np.interp(value, x, y)
        with np.errstate(over="ignore"):  # what is infinitely far has the limit itself
            above = 1.0 - (1.0 - y[-1]) * (spread / (spread + np.maximum(value - x[-1], 0.0)))
            below = y[0] * (spread / (spread + np.maximum(x[0] - value, 0.0)))
        return np.where(value > x[-1], above, np.where(value < x[0], below, inside))

    return quantile
