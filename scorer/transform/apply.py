"""Columns → Inputs: the plan applied to a micro-batch, with NumPy only.

The features are bit-equal to what the fitted preprocessor gives for the same events. Where the fitted one would raise,
the event is rejected and the others go on.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from scorer.errors import BundleError, Reason
from scorer.records import Columns, Inputs, Rejection
from scorer.transform.block import Block, Column, Faults, Feature, Hot, Walk, nulls, shown
from scorer.transform.image import image_feeder
from scorer.transform.numeric import as_float
from scorer.transform.plan import Feed, Image, Matrix, Plan, Raw
from scorer.transform.steps import prepare

Feeder: TypeAlias = Callable[[Columns, Faults], NDArray[Any]]


class Transform:
    """A plan made ready to apply.

    Raises BundleError where the plan contradicts itself, or needs Pillow where there is none.
    """

    def __init__(self, plan: Plan) -> None:
        self._feeders: dict[str, Feeder] = {}
        fields: dict[str, None] = {}
        for name, feed in plan.inputs.items():
            fields |= dict.fromkeys(feed.node.fields if isinstance(feed, Matrix) else [feed.column])
            self._feeders[name] = _feeder(name, feed)
        self.fields: tuple[str, ...] = tuple(fields)
        """The fields that the plan reads, each once."""

    def __call__(self, columns: Columns) -> tuple[Inputs, list[Rejection]]:
        """Return the model's inputs and the events that cannot have any.

        The inputs hold an entry for every row, also for the rejected ones, whose values mean nothing: drop them with
        `inputs.without(rejections)`. Each row is rejected at most once.
        """
        faults = Faults(columns.rows)
        with np.errstate(all="ignore"):
            arrays = {name: feeder(columns, faults) for name, feeder in self._feeders.items()}
        return Inputs(columns.rows, arrays), faults.rejections()


def _feeder(name: str, feed: Feed) -> Feeder:
    match feed:
        case Matrix():
            return _matrix_feeder(name, feed)
        case Raw():
            return partial(_raw, feed)
        case Image():
            return image_feeder(name, feed)


def _matrix_feeder(name: str, feed: Matrix) -> Feeder:
    node = feed.node
    walk, width = prepare(node.steps, len(node.fields))
    if width != len(node.features):
        raise BundleError(
            f"feature plan: input {name!r} names {len(node.features)} features, but its steps give {width}; "
            "pack the bundle anew"
        )
    return partial(_matrix, feed, walk)


def _matrix(feed: Matrix, walk: Walk, columns: Columns, faults: Faults) -> NDArray[Any]:
    block = walk([Feature(field, columns.values[field]) for field in feed.node.fields], faults)
    return _assembled(block, feed, len(columns.rows), faults)


def _assembled(block: Block, feed: Matrix, length: int, faults: Faults) -> NDArray[Any]:
    """Return the block as one C-ordered array of the model's dtype, shape (length, width)."""
    matrix = np.zeros((length, len(feed.node.features)), feed.dtype)
    at = 0
    for part in block:
        if isinstance(part, Hot):
            hits = np.flatnonzero(part.positions >= 0)
            matrix[hits, at + part.positions[hits]] = 1
            at += part.width
        else:
            matrix[:, at] = _fitting(part, matrix.dtype, feed.node.features[at], faults)
            at += 1
    # A finite sum proves that no float overflowed in the model's dtype, at a tenth of the price of asking each column.
    if matrix.dtype.kind == "f" and not math.isfinite(np.add.reduce(matrix, axis=None)):
        _check_overflow(block, feed, matrix, faults)
    return matrix


def _fitting(feature: Feature, dtype: np.dtype[Any], name: str, faults: Faults) -> Column:
    """Return a column that the model's dtype can hold; for a float dtype, that is left to `_check_overflow`."""
    return as_float(*feature, faults) if dtype.kind == "f" else _cast(feature, dtype, name, faults)


def _check_overflow(block: Block, feed: Matrix, matrix: NDArray[Any], faults: Faults) -> None:
    at = 0
    for part in block:
        if isinstance(part, Feature):
            _cast(part, matrix.dtype, feed.node.features[at], faults)
        at += part.width if isinstance(part, Hot) else 1


def _raw(feed: Raw, columns: Columns, faults: Faults) -> NDArray[Any]:
    feature = Feature(feed.column, columns.values[feed.column])
    array = _text(feature) if feed.dtype == "string" else _cast(feature, np.dtype(feed.dtype), feed.column, faults)
    return array if feed.rank == 1 else array.reshape(-1, 1)


def _text(feature: Feature) -> Column:
    null = nulls(feature.values)
    return np.where(null, "", feature.values) if null.any() else feature.values  # TensorFlow's "" is b"" too


def _cast(feature: Feature, dtype: np.dtype[Any], name: str, faults: Faults) -> Column:
    """Return a column in the model's dtype; rejects the entries that the dtype cannot hold."""
    path, values = feature
    if dtype.kind != "f" and values.dtype.kind in "ib":
        return _cast_integers(feature, dtype, name, faults)
    values = as_float(path, values, faults)
    if values.dtype == dtype:
        return values
    cast = values.astype(dtype)
    if dtype.kind == "f":
        bad = np.isinf(cast) & np.isfinite(values)
    elif dtype.kind == "b":
        bad = np.isnan(values)
    else:
        # The bounds are powers of two, so float64 holds them exactly; astype cuts towards zero. NaN is never inside.
        limit, cut = 2.0 ** (8 * dtype.itemsize - 1), np.trunc(values)
        bad = ~((cut >= -limit) & (cut < limit))
    _reject_overflow(bad, feature, dtype, name, faults)
    return cast


def _cast_integers(feature: Feature, dtype: np.dtype[Any], name: str, faults: Faults) -> Column:
    cast = feature.values.astype(dtype)
    if dtype.kind == "i":
        _reject_overflow(cast != feature.values, feature, dtype, name, faults)
    return cast


def _reject_overflow(bad: NDArray[np.bool_], feature: Feature, dtype: np.dtype[Any], name: str, faults: Faults) -> None:
    if bad.any():
        faults.reject(
            bad,
            Reason.OUT_OF_RANGE,
            feature.path,
            lambda entry: f"feature {name!r} is {shown(feature.values[entry])}, beyond the model's {dtype}",
        )
