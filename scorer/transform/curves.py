"""Steps that bend a number by what training saw: powers, quantiles and bins, each column by its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from scorer.errors import Reason
from scorer.transform.block import Block, Column, Faults, Feature, Walk, dense, shown
from scorer.transform.plan import Bin, Power, Quantile
from scorer.transform.scalars import Number

Curve: TypeAlias = Callable[[Column], Column]

EPSILON = float(np.finfo(np.float64).eps)
BOUNDS = 1e-7
"""How near to the extremes of training a number counts as one of them: scikit-learn's BOUNDS_THRESHOLD."""


def power(step: Power) -> Walk:
    """Return what bends each column (float64, NaN stays) by its lambda."""
    lambdas = [float(number) for number in step.lambdas]
    if step.method == "yeo-johnson":
        return _each([partial(_yeo_johnson, exponent) for exponent in lambdas])
    # SciPy's loop calls the C library's logarithm, which NumPy's own does not equal to the last bit.
    from scipy.special import boxcox

    bend = _each([partial(_swapped, boxcox, exponent) for exponent in lambdas])
    refuse = _refusing(np.less_equal, "is not positive, which Box-Cox refuses")
    return lambda block, faults: bend(refuse(block, faults), faults)


def _swapped(function: Callable[[Column, float], Column], exponent: float, values: Column) -> Column:
    return function(values, exponent)


def _yeo_johnson(exponent: float, values: Column) -> Column:
    """Return scipy.stats.yeojohnson(values, exponent), in its own order of operations."""
    bent, up = np.empty_like(values), values >= 0
    above, below = np.log1p(values[up]), np.log1p(-values[~up])
    bent[up] = above if abs(exponent) < EPSILON else np.expm1(exponent * above) / exponent
    rest = 2 - exponent
    bent[~up] = -np.expm1(rest * below) / rest if abs(exponent - 2) > EPSILON else -below
    return bent


def quantile(step: Quantile) -> Walk:
    """Return what puts each column (float64, NaN stays) where it stands among its quantiles."""
    references = _array(step.references)
    curves: list[Curve] = [partial(_rank, _array(table), references, step.normal) for table in step.quantiles]
    if step.normal:
        from scipy.special import ndtri

        # scipy.stats adds its location of 0, which turns -0.0 into 0.0.
        curves = [partial(_then, curve, lambda ranks: ndtri(ranks) + 0.0) for curve in curves]
    if not step.stored:
        return _each(curves)
    bend = _each([partial(_where_stored, curve) for curve in curves])
    if step.negatives:
        return bend
    refuse = _refusing(np.less, "is negative, which a QuantileTransformer of a sparse matrix refuses")
    return lambda block, faults: bend(refuse(block, faults), faults)


def _then(first: Curve, second: Curve, values: Column) -> Column:
    return second(first(values))


def _rank(table: Column, references: Column, normal: bool, values: Column) -> Column:
    margin = BOUNDS if normal else 0.0
    low = values - margin < table[0] if normal else values == table[0]
    high = values + margin > table[-1] if normal else values == table[-1]
    # Both directions, and their mean: repeated quantiles have a lowest and a highest rank.
    up, down = np.interp(values, table, references), np.interp(-values, -table[::-1], -references[::-1])
    # Of a single quantile, np.interp ranks NaN too.
    ranks = np.where(np.isnan(values), values, 0.5 * (up - down))
    ranks[high] = 1.0
    ranks[low] = 0.0
    return ranks


def _where_stored(curve: Curve, values: Column) -> Column:
    return np.where(values == 0, 0.0, curve(values))


def bins(step: Bin) -> Walk:
    """Return what makes each column (float64) the number of its bin, float64."""
    return _each([partial(_bin, _array(edges)) for edges in step.edges])


def _bin(edges: Column, values: Column) -> Column:
    return np.searchsorted(edges, values, side="right").astype(np.float64)


def _each(curves: Sequence[Curve]) -> Walk:
    return lambda block, _: [
        Feature(path, curve(values)) for (path, values), curve in zip(dense(block), curves, strict=True)
    ]


def _refusing(compare: Callable[[Column, float], Column], refusal: str) -> Walk:
    """Return what rejects the entries that compare so with 0."""

    def walk(block: Block, faults: Faults) -> Block:
        features = dense(block)
        for path, values in features:
            bad = compare(values, 0.0)
            if bad.any():
                faults.reject(bad, Reason.OUT_OF_RANGE, path, partial(_refused, values, refusal))
        return features

    return walk


def _refused(values: Column, refusal: str, entry: int) -> str:
    return f"{shown(values[entry])} {refusal}"


def _array(numbers: Sequence[Number]) -> NDArray[np.float64]:
    return np.array([float(number) for number in numbers], np.float64)
