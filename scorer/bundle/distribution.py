"""Reference distributions: what fields, features and scores looked like when the bundle was packed, as small data.

Drift in the stream is held against them, and so is one bundle against another. A share is of all events that were
looked at, nulls included: the shares of a distribution and its `nulls` (or `rest`) make one.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

BINS = 10
CATEGORIES = 20
LONGEST = 64
"""Characters of the longest category that is listed: what is longer is text or an image, no category."""


class _Distribution(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag=str.lower):
    """A tagged distribution."""


class Numeric(_Distribution, frozen=True):
    """A number's distribution, over bins of about equal share.

    `shares[0]` is of what lies below `edges[0]`, `shares[i]` of edges[i-1] ≤ x < edges[i], and the last of what lies at
    or above the last edge. `nulls` counts infinities too. The statistics are of the finite numbers, in float64, with
    the population's standard deviation; None where there is no such number, or it overflows.
    """

    edges: list[float]
    shares: list[float]
    nulls: float
    mean: float | None
    std: float | None
    min: float | None
    max: float | None


class Categorical(_Distribution, frozen=True):
    """A category's distribution: the shares of the most frequent ones, descending, of null, and of all the `rest`."""

    shares: dict[str, float]
    nulls: float
    rest: float


Distribution: TypeAlias = Numeric | Categorical


class References(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `events` examples looked like: raw fields by path, features by model input and name, and the score.

    `rejected` examples more were looked at, which have no score.
    """

    events: int
    rejected: int
    fields: dict[str, Distribution]
    features: dict[str, dict[str, Numeric]]
    score: Numeric


def of_column(column: NDArray[Any]) -> Distribution:
    """Return the distribution of a decoded column: numbers, booleans (as `true` and `false`), or objects for text."""
    if column.dtype.kind == "b":
        return of_categories(np.where(column, "true", "false").astype(object))
    return of_categories(column) if column.dtype == object else of_numbers(column)


def shortened(column: NDArray[Any]) -> NDArray[Any]:
    """Return a decoded column whose distribution is the same, and that holds no long text or image."""
    if column.dtype != object:
        return column
    short = np.empty_like(column)
    short[:] = [value[: LONGEST + 1] if isinstance(value, str) else None if value is None else b"" for value in column]
    return short


def of_numbers(column: NDArray[Any]) -> Numeric:
    """Return the distribution of numbers of shape (n,), NaN being null."""
    values = column.astype(np.float64)
    finite = np.sort(values[np.isfinite(values)])
    count, edges = max(len(values), 1), _edges(finite)
    bins = np.bincount(np.searchsorted(edges, finite, side="right"), minlength=len(edges) + 1)
    with np.errstate(over="ignore", invalid="ignore"):
        facts = [finite.mean(), finite.std(), finite[0], finite[-1]] if len(finite) else [np.nan] * 4
    mean, std, low, high = (float(fact) if np.isfinite(fact) else None for fact in facts)
    shares = (bins / count).tolist()
    return Numeric(edges, shares, (len(values) - len(finite)) / count, mean, std, low, high)


def of_categories(column: NDArray[Any]) -> Categorical:
    """Return the distribution of text of shape (n,), None being null; what is too long is counted with the rest."""
    count = max(len(column), 1)
    present = [value for value in column.tolist() if value is not None]
    counts = Counter(value for value in present if isinstance(value, str) and len(value) <= LONGEST)
    # Ties go by the text: the manifest does not depend on the examples' order.
    listed = dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:CATEGORIES])
    shares = {value: times / count for value, times in listed.items()}
    return Categorical(shares, (len(column) - len(present)) / count, (len(present) - sum(listed.values())) / count)


def of_matrices(matrices: Mapping[str, tuple[list[str], NDArray[Any]]]) -> dict[str, dict[str, Numeric]]:
    """Return the distribution of every feature of every matrix: names and array of shape (n, names) by model input."""
    return {
        name: {feature: of_numbers(matrix[:, at]) for at, feature in enumerate(features)}
        for name, (features, matrix) in matrices.items()
    }


def _edges(ordered: NDArray[np.float64]) -> list[float]:
    """Return ascending edges at the inner deciles.

    A number that fills whole bins, such as the 0 of a rare indicator, has one of its own: it ends at the next number
    there is, or right after it. There are at most nine edges.
    """
    if not len(ordered):
        return []
    places = (np.arange(1, BINS) * len(ordered)) // BINS
    edges: dict[float, None] = {}
    for value, times in Counter(ordered[places].tolist()).items():
        edges[value] = None
        if times > 1:
            after = int(np.searchsorted(ordered, value, side="right"))
            edges[float(ordered[after] if after < len(ordered) else np.nextafter(value, sys.float_info.max))] = None
    return sorted(edges)
