"""Builders for this room's tests, and the oracle: the fitted object itself."""

from __future__ import annotations

import warnings
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scorer.bundle.packing.compile import compile_preprocessor
from scorer.records import Columns, Inputs, Rejection
from scorer.transform import Matrix, Plan, Transform

FIRST_ROW = 100
"""Rows of these batches do not start at 0: a rejection must name the row, not the position in the batch."""


def columns_of(frame: pd.DataFrame) -> Columns:
    """Return the frame as the decode room gives it: float64, int64 and bool as they are, text as objects with None."""
    count = len(frame)
    return Columns(
        rows=np.arange(FIRST_ROW, FIRST_ROW + count),
        values={str(name): _column(frame[name]) for name in frame},
        event_ids=[b"1"] * count,
        event_times=np.zeros(count, np.int64),
    )


def _column(series: pd.Series[Any]) -> NDArray[Any]:
    if pd.api.types.is_bool_dtype(series.dtype) or pd.api.types.is_numeric_dtype(series.dtype):
        return np.array(series.to_numpy())
    column = np.empty(len(series), dtype=object)
    column[:] = [None if pd.isna(value) else value for value in series]
    return column


def fit(preprocessor: Any, frame: pd.DataFrame | NDArray[Any], target: Any = None) -> Any:
    """Fit without warnings: what scikit-learn thinks of random data is not this test's business.

    What encodes a target learns from `target`, or else from alternating labels.
    """
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return preprocessor.fit(frame, np.arange(len(frame)) % 2 if target is None else target)


def reference(fitted: Any, frame: pd.DataFrame | NDArray[Any]) -> NDArray[np.float64]:
    """Return the fitted object's own features, float64."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        features = fitted.transform(frame)
    dense = features.toarray() if hasattr(features, "toarray") else np.asarray(features)
    return np.asarray(dense, dtype=np.float64)


def transform_of(fitted: Any, dtype: Any = "float64", columns: list[str] | None = None) -> Transform:
    """Return the compiled object, after its plan has been through JSON."""
    plan = Plan({"x": Matrix(compile_preprocessor(fitted, columns=columns).node, dtype)})
    return Transform(msgspec.json.decode(msgspec.json.encode(plan), type=Plan))


def serve(fitted: Any, frame: pd.DataFrame, dtype: Any = "float64") -> tuple[NDArray[Any], list[Rejection]]:
    """Return the compiled object's features of all rows, and its rejections."""
    return _served(transform_of(fitted, dtype), frame)


def _served(transform: Transform, frame: pd.DataFrame) -> tuple[NDArray[Any], list[Rejection]]:
    inputs, rejections = transform(columns_of(frame))
    assert isinstance(inputs, Inputs)
    return inputs.arrays["x"], rejections


def assert_same_bits(actual: NDArray[Any], expected: NDArray[Any]) -> None:
    """Compare every bit, but for which of the NaNs a NaN is."""
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    assert np.array_equal(actual, expected, equal_nan=True)
    defined = ~np.isnan(expected)
    assert np.array_equal(np.signbit(actual[defined]), np.signbit(expected[defined]))


def assert_parity(fitted: Any, frame: pd.DataFrame) -> None:
    """Hold the plan against the fitted object: the same bits, or rejected where the object raises for the row alone.

    A row alone is asked twice over: scikit-learn's Normalizer sums a matrix of one row in another order than a frame.
    """
    frame = pd.concat([frame, frame], ignore_index=True) if len(frame) == 1 else frame
    transform = transform_of(fitted)
    features, rejections = _served(transform, frame)
    refused = {rejection.row - FIRST_ROW for rejection in rejections}
    assert len(refused) == len(rejections)
    if refused:
        assert refused == {i for i in range(len(frame)) if _raises(fitted, frame.iloc[[i]])}
    kept = [i for i in range(len(frame)) if i not in refused]
    if not kept:
        return
    expected = reference(fitted, frame.iloc[kept * 2])[: len(kept)]
    assert_same_bits(features[kept], expected)
    for i in (kept[0], kept[-1]):
        alone, none = _served(transform, frame.iloc[[i]])
        assert none == []
        assert_same_bits(alone, features[[i]])
    _assert_float32(fitted, frame, kept, expected)


def _assert_float32(fitted: Any, frame: pd.DataFrame, kept: list[int], expected: NDArray[np.float64]) -> None:
    with np.errstate(over="ignore"):
        single = expected.astype(np.float32)
    overflow = (np.isinf(single) & np.isfinite(expected)).any(axis=1)
    features, rejections = serve(fitted, frame, "float32")
    refused = {rejection.row - FIRST_ROW for rejection in rejections}
    assert refused & set(kept) == {i for i, over in zip(kept, overflow.tolist(), strict=True) if over}
    assert_same_bits(features[kept][~overflow], single[~overflow])


def _raises(fitted: Any, row: pd.DataFrame) -> bool:
    try:
        reference(fitted, row)
    except ValueError:
        return True
    return False
