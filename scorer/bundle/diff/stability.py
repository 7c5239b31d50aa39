"""How far two reference distributions are apart: the population stability index, PSI.

    PSI = Σ (b - a) · ln(b / a)     over bins, a and b being the shares of each (Siddiqi, Credit Risk Scorecards, 2006)

Below 0.1 nothing much changed, above 0.25 it is another population: the field's rule of thumb, no law.
"""

from __future__ import annotations

import sys

import msgspec
import numpy as np
from numpy.typing import NDArray

from scorer.bundle.distribution import Categorical, Distribution, Numeric, References

FLOOR = 1e-4
"""A share counts as at least this much, so that an empty bin does not make the index infinite."""


class Stability(msgspec.Struct, frozen=True):
    """The PSI of what both bundles have, largest first: raw fields, features as `input/feature`, and the score."""

    fields: dict[str, float]
    features: dict[str, float]
    score: float


def stability(before: References, after: References) -> Stability:
    """Compare two bundles' references; a field that became another kind of column is left out."""
    old, new = (
        {f"{name}/{feature}": one for name, part in reference.features.items() for feature, one in part.items()}
        for reference in (before, after)
    )
    fields = {
        name: psi(one, after.fields[name])
        for name, one in before.fields.items()
        if name in after.fields and type(one) is type(after.fields[name])
    }
    features = {name: psi(one, new[name]) for name, one in old.items() if name in new}
    return Stability(_descending(fields), _descending(features), psi(before.score, after.score))


def psi(before: Distribution, after: Distribution) -> float:
    """Return the index of two distributions of one kind, nulls being a bin of their own; 0 for equal ones.

    Numbers are compared over the bins of `before`. Where the bins of `after` are others, its events are taken to lie
    evenly within each. Categories are compared over those that either lists, which the other counts with its rest.
    """
    if isinstance(before, Numeric) and isinstance(after, Numeric):
        a, b = [*before.shares, before.nulls], [*_rebinned(after, before.edges), after.nulls]
    else:
        assert isinstance(before, Categorical)
        assert isinstance(after, Categorical)
        names = dict.fromkeys([*before.shares, *after.shares])
        a, b = ([*(one.shares.get(name, 0.0) for name in names), one.nulls, one.rest] for one in (before, after))
    left, right = (np.maximum(shares, FLOOR) for shares in (a, b))
    return float(((right - left) * np.log(right / left)).sum())


def _rebinned(one: Numeric, edges: list[float]) -> NDArray[np.float64]:
    """Return the shares over other edges, by the line through what is known to lie below each point."""
    if one.edges == edges:
        return np.array(one.shares)
    ends = [] if one.min is None or one.max is None else [(one.min, 0.0), (_above(one.max), sum(one.shares))]
    inner = zip(one.edges, np.cumsum(one.shares).tolist(), strict=False)  # the last share has no edge
    points = sorted(dict([*ends, *inner]).items())
    if not points:
        return np.zeros(len(edges) + 1)
    x, below = zip(*points, strict=True)
    return np.diff([0.0, *np.interp(edges, x, below), sum(one.shares)])


def _above(number: float) -> float:
    return float(np.nextafter(number, sys.float_info.max))


def _descending(indices: dict[str, float]) -> dict[str, float]:
    return dict(sorted(indices.items(), key=lambda item: -item[1]))
