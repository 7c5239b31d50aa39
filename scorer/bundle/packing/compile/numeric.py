"""Transformers of numbers: scalers, functions, powers, quantiles, bins, norms and products."""

from __future__ import annotations

from itertools import combinations, combinations_with_replacement
from typing import Any, get_args

import numpy as np

from scorer.bundle.packing.compile.categorical import one_hot_encoder
from scorer.bundle.packing.compile.flow import Flow, Steps, numbers, numeric
from scorer.errors import PackError
from scorer.transform import plan
from scorer.transform.curves import BOUNDS
from scorer.transform.plan import Step

FUNCTIONS: list[tuple[object, plan.Function]] = [
    (abs, "absolute"),
    *((getattr(np, name), name) for name in get_args(plan.Function)),
]
OF_SPARSE = {np.log1p, np.sqrt, np.expm1}
"""Of these SciPy takes the value of what a sparse matrix stores, and leaves 0."""


def _divide(fitted: Any, flow: Flow) -> Step:
    """Return the division by `scale_`: scikit-learn multiplies a sparse matrix by the reciprocal instead."""
    return plan.Multiply(numbers(1.0 / fitted.scale_)) if flow.sparse else plan.Divide(numbers(fitted.scale_))


def standard_scaler(name: str, fitted: Any, flow: Flow) -> Steps:
    """Return the subtraction of the mean and the division by the deviation."""
    steps, flow = numeric(name, flow)
    steps += [plan.Subtract(numbers(fitted.mean_))] if fitted.with_mean else []
    steps += [_divide(fitted, flow)] if fitted.with_std else []
    return steps, flow


def robust_scaler(name: str, fitted: Any, flow: Flow) -> Steps:
    """Return the subtraction of the median and the division by the range."""
    steps, flow = numeric(name, flow)
    steps += [plan.Subtract(numbers(fitted.center_))] if fitted.with_centering else []
    steps += [_divide(fitted, flow)] if fitted.with_scaling else []
    return steps, flow


def max_abs_scaler(name: str, fitted: Any, flow: Flow) -> Steps:
    """Return the division by the largest magnitude."""
    steps, flow = numeric(name, flow)
    # `clip` came with scikit-learn 1.9.
    return [*steps, _divide(fitted, flow), *([plan.Clip(-1.0, 1.0)] if getattr(fitted, "clip", False) else [])], flow


def min_max_scaler(name: str, fitted: Any, flow: Flow) -> Steps:
    """Return the multiplication and the addition that bring training's range into the feature range."""
    steps, flow = numeric(name, flow)
    steps += [plan.Multiply(numbers(fitted.scale_)), plan.Add(numbers(fitted.min_))]
    return [*steps, *([plan.Clip(*numbers(fitted.feature_range))] if fitted.clip else [])], flow


def function_transformer(name: str, fitted: Any, flow: Flow) -> Steps:
    """Return the function, if it is one of NumPy's that a plan may name."""
    steps, out = _function_input(name, fitted, flow)
    if fitted.func is None:
        return steps, out
    function = next((name for known, name in FUNCTIONS if known is fitted.func), None)
    if function is None or fitted.kw_args:
        raise PackError(
            f"transformer {name!r} is a FunctionTransformer of {fitted.func!r}, which cannot be compiled; "
            f"supported, without kw_args: None, {', '.join(f'numpy.{known}' for known in get_args(plan.Function))}"
        )
    if flow.sparse and fitted.func not in OF_SPARSE:
        raise PackError(
            f"transformer {name!r} applies numpy.{function} to a sparse matrix, which cannot be compiled; "
            "set sparse_threshold=0 in the ColumnTransformer before it, or sparse_output=False in the encoder"
        )
    if flow.dtype is not None and flow.dtype.itemsize < 4:
        raise PackError(
            f"transformer {name!r} computes from {flow.dtype}, which an encoder before it gives; "
            "fit it again with that encoder's dtype=numpy.float64"
        )
    _, applied = numeric(name, out)
    return [*steps, plan.Apply(function)], applied._replace(frame=out.frame)


def _function_input(name: str, fitted: Any, flow: Flow) -> Steps:
    """Return what the function is given: a frame as it came, or a matrix of one dtype."""
    if fitted.validate:
        return [plan.Numbers(nulls=False, shared=True)], numeric(name, flow)[1]
    if fitted.func is None or flow.frame:
        return [], flow
    # An array from training is float64; what transformers stack has the dtype that holds their columns.
    return [plan.Numbers(infinities=True, shared=flow.dtype is not None)], flow


def power_transformer(name: str, fitted: Any, flow: Flow) -> Steps:
    """Return the powers, and the scaler of what they give."""
    steps, flow = numeric(name, flow)
    steps += [plan.Power(fitted.method, numbers(fitted.lambdas_))]
    if not fitted.standardize:
        return steps, flow
    more, flow = standard_scaler(name, fitted._scaler, flow)
    return [*steps, *more], flow


def quantile_transformer(name: str, fitted: Any, flow: Flow) -> Steps:
    """Return the quantiles; a normal output is clipped where the inverse would not find its way back."""
    from scipy.stats import norm

    steps, flow = numeric(name, flow)
    normal = fitted.output_distribution == "normal"
    tables = [numbers(table) for table in fitted.quantiles_.T]
    negatives = not flow.sparse or fitted.ignore_implicit_zeros
    steps += [plan.Quantile(tables, numbers(fitted.references_), normal, flow.sparse, negatives)]
    inside = BOUNDS - np.spacing(1)
    return [*steps, *([plan.Clip(*numbers(norm.ppf([inside, 1 - inside])))] if normal else [])], flow


def k_bins_discretizer(name: str, fitted: Any, flow: Flow) -> Steps:
    """Return the inner edges of the bins, and the encoder of their numbers."""
    if fitted.dtype not in (None, np.float64):
        raise PackError(f"transformer {name!r} computes in {np.dtype(fitted.dtype)}; fit it again with dtype=None")
    steps, flow = numeric(name, flow, nulls=False)
    steps += [plan.Bin([numbers(edges[1:-1]) for edges in fitted.bin_edges_])]
    if fitted.encode == "ordinal":
        return steps, flow
    more, out = one_hot_encoder(name, fitted._encoder, flow)
    return [*steps, *more], out._replace(dtype=flow.dtype)


def normalizer(name: str, fitted: Any, flow: Flow) -> Steps:
    """Return the division of every row by its norm, summed in the order that the matrix lies in."""
    steps, flow = numeric(name, flow, nulls=False)
    dense: plan.Sums = "columns" if flow.fortran else "rows"
    return [*steps, plan.Normalize(fitted.norm, "stored" if flow.sparse else dense)], flow


def polynomial_features(name: str, fitted: Any, flow: Flow) -> Steps:
    """Return the products up to degree 2, in scikit-learn's order."""
    if fitted._max_degree > 2:
        raise PackError(f"transformer {name!r} has degree {fitted._max_degree}; PolynomialFeatures compile up to 2")
    steps, flow = numeric(name, flow, nulls=False)
    columns = range(flow.width)
    pairs = (combinations if fitted.interaction_only else combinations_with_replacement)(columns, 2)
    terms: list[list[int]] = [[]] if fitted.include_bias else []
    terms += [[i] for i in columns] if fitted._min_degree <= 1 <= fitted._max_degree else []
    terms += map(list, pairs) if fitted._max_degree == 2 else []
    return [*steps, plan.Products(terms)], flow._replace(width=len(terms), fortran=fitted.order == "F")
