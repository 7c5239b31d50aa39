"""Steps on numbers: each elementwise operation rounds once, in the order that the fitted object has it."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, get_args

import numpy as np

from scorer.errors import Reason
from scorer.transform.block import (
    NULL_REFUSED,
    Block,
    Column,
    Faults,
    Feature,
    Mask,
    Walk,
    check_finite,
    dense,
    nulls,
    shown,
)
from scorer.transform.plan import Add, Apply, Clip, Divide, Function, Impute, Multiply, Numbers, Subtract
from scorer.transform.scalars import Value

ARITHMETIC: dict[type, Callable[[Column, float], Column]] = {
    Add: operator.add,
    Subtract: operator.sub,
    Multiply: operator.mul,
    Divide: operator.truediv,
}
FUNCTIONS: dict[str, Callable[[Column], Column]] = {name: getattr(np, name) for name in get_args(Function)}


def numbers(step: Numbers) -> Walk:
    """Return what makes columns float64, or their shared dtype; rejects what is no number or is not let through."""

    def walk(block: Block, faults: Faults) -> Block:
        features = dense(block)
        dtype = _shared(features) if step.shared else np.dtype(np.float64)
        features = [
            Feature(path, as_float(path, values, faults) if dtype == np.float64 else values.astype(dtype))
            for path, values in features
        ]
        check_finite(features, faults, nan=step.nulls, infinities=step.infinities)
        return features

    return walk


def _shared(features: list[Feature]) -> np.dtype[Any]:
    dtypes = [feature.values.dtype for feature in features]
    return np.dtype(np.float64) if not dtypes or np.dtype(object) in dtypes else np.result_type(*dtypes)


def as_float(path: str, values: Column, faults: Faults) -> Column:
    """Return `values` as float64, null as NaN; text that does not spell a number is rejected and becomes NaN."""
    if values.dtype == np.float64:
        return values
    try:
        return values.astype(np.float64)
    except (TypeError, ValueError):
        parsed = [_parsed(value) for value in values]
        bad = np.fromiter((number is None for number in parsed), np.bool_, len(parsed))
        faults.reject(bad, Reason.WRONG_TYPE, path, lambda entry: f"{shown(values[entry])} is not a number")
        return np.fromiter((np.nan if number is None else number for number in parsed), np.float64, len(parsed))


def _parsed(value: Value | None) -> float | None:
    try:
        return float("nan" if value is None else value)
    except ValueError:
        return None


def arithmetic(step: Add | Subtract | Multiply | Divide) -> Walk:
    """Return what combines each column with its own number, as NumPy combines an array with a Python float."""
    combine = ARITHMETIC[type(step)]
    by = [float(number) for number in step.by]
    return lambda block, faults: [
        Feature(path, combine(values, operand))
        for (path, values), operand in zip(_typed(dense(block), faults), by, strict=True)
    ]


def clip(step: Clip) -> Walk:
    """Return what brings each column (float64) inside the step's bounds."""
    low, high = float(step.low), float(step.high)
    return lambda block, _: [Feature(path, np.clip(values, low, high)) for path, values in dense(block)]


def apply(step: Apply) -> Walk:
    """Return what applies the step's function to each column."""
    function = FUNCTIONS[step.function]

    def walk(block: Block, faults: Faults) -> Block:
        # Numbers go in as they are: NumPy computes a boolean's logarithm in float16, and so did training.
        typed = _typed(dense(block), faults)
        return [Feature(path, _applied(function, path, values, faults)) for path, values in typed]

    return walk


def _typed(features: list[Feature], faults: Faults) -> list[Feature]:
    """Return numbers in the dtypes that they have; objects become float64."""
    return [
        Feature(path, as_float(path, values, faults) if values.dtype == object else values) for path, values in features
    ]


def _applied(function: Callable[[Column], Column], path: str, values: Column, faults: Faults) -> Column:
    try:
        return function(values)
    except TypeError:
        # NumPy has no sign of a boolean, and training had none.
        everywhere = np.ones(len(values), np.bool_)
        faults.reject(everywhere, Reason.WRONG_TYPE, path, f"is {values.dtype}, which the fitted function refuses")
        return values


def unsign(block: Block, faults: Faults) -> Block:
    """Return the block as float64 with 0.0 for -0.0 (IEEE 754: -0.0 + 0.0 = 0.0)."""
    return [
        Feature(part.path, as_float(part.path, part.values, faults) + 0.0) if isinstance(part, Feature) else part
        for part in block
    ]


def impute(step: Impute) -> Walk:
    """Return what fills in the missing, drops the columns without a fill, and appends masks."""

    def walk(block: Block, faults: Faults) -> Block:
        # scikit-learn imputes no booleans: they have become numbers beside the columns that it does impute.
        features = [
            Feature(path, values.astype(np.float64) if values.dtype == np.bool_ else values)
            for path, values in dense(block)
        ]
        check_finite(features, faults, nan=step.missing is None)
        masks = [_missing(step, i, feature, faults) for i, feature in enumerate(features)]
        for i in step.refused:
            faults.reject(masks[i], Reason.MISSING_FIELD, features[i].path, "is missing, and never was in training")
        filled = [
            Feature(feature.path, _filled(feature.values, mask, fill))
            for feature, mask, fill in zip(features, masks, step.fills, strict=True)
            if fill is not None
        ]
        return filled + [Feature(features[i].path, masks[i].astype(np.float64)) for i in step.indicators]

    return walk


def _missing(step: Impute, column: int, feature: Feature, faults: Faults) -> Mask:
    path, values = feature
    if values.dtype == object and column in step.nullable:
        return np.zeros(len(values), np.bool_)
    if step.missing is None:
        return nulls(values)
    if values.dtype == object:
        faults.reject(nulls(values), Reason.MISSING_FIELD, path, NULL_REFUSED)
    return np.asarray(values == step.missing, dtype=np.bool_)


def _filled(values: Column, mask: Mask, fill: Value) -> Column:
    if not mask.any():
        return values
    if values.dtype == object or isinstance(fill, str):
        filled = values.astype(object)
        filled[mask] = fill
        return filled
    return np.where(mask, fill, values)
