"""Drift: what a stream's events look like, counted over the bins of the bundle's references.

Nothing of an event is kept but a count, so that a stream of any length is held against what the model was packed with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scorer.bundle.diff.stability import psi
from scorer.bundle.distribution import Categorical, Distribution, Numeric, References
from scorer.pipeline import Outcome
from scorer.transform import Matrix, Plan, Transform


class Drift:
    """Counts fields, features and scores, each under the name `kind/name`."""

    def __init__(self, references: References, plan: Plan, transform: Transform) -> None:
        self._transform = transform
        self._features = {name: feed.node.features for name, feed in plan.inputs.items() if isinstance(feed, Matrix)}
        self._references = dict(_named(references))
        self.counts: dict[str, list[int]] = {}

    def resume(self, counts: Mapping[str, Sequence[int]]) -> None:
        """Go on with the counts of an earlier part."""
        self.counts = {name: list(count) for name, count in counts.items()}

    def add(self, outcome: Outcome) -> None:
        """Count a batch's decided events."""
        columns = outcome.columns
        inputs, _ = self._transform(columns)
        seen: dict[str, NDArray[Any]] = {f"field/{path}": column for path, column in columns.values.items()}
        for name, features in self._features.items():
            matrix = inputs.arrays[name]
            seen |= {f"feature/{name}/{feature}": matrix[:, at] for at, feature in enumerate(features)}
        seen["score/score"] = outcome.decisions.scores.score
        for name, reference in self._references.items():
            if name in seen:
                counted = _counts(reference, seen[name])
                held = self.counts.setdefault(name, [0] * len(counted))
                self.counts[name] = [a + b for a, b in zip(held, counted, strict=True)]

    def indices(self) -> list[tuple[str, str, float]]:
        """Return kind, name and population stability index of all that was counted, the largest first."""
        found = []
        for name, counts in self.counts.items():
            kind, _, rest = name.partition("/")
            found.append((kind, rest, psi(self._references[name], _distribution(self._references[name], counts))))
        return sorted(found, key=lambda one: -one[2])


def _named(references: References) -> Iterator[tuple[str, Distribution]]:
    yield from ((f"field/{path}", one) for path, one in references.fields.items())
    for name, part in references.features.items():
        yield from ((f"feature/{name}/{feature}", one) for feature, one in part.items())
    yield "score/score", references.score


def _counts(reference: Distribution, column: NDArray[Any]) -> list[int]:
    """Return the counts of the reference's bins or categories, then of the rest, if it has one, and of nulls."""
    if isinstance(reference, Categorical):
        values = np.where(column, "true", "false").tolist() if column.dtype == np.bool_ else column.tolist()
        counts = Counter(value if isinstance(value, str | None) else b"" for value in values)
        listed, nulls = [counts[name] for name in reference.shares], counts[None]
        return [*listed, len(values) - sum(listed) - nulls, nulls]
    numbers = column.astype(np.float64)
    finite = numbers[np.isfinite(numbers)]
    edges = reference.edges
    bins = np.bincount(np.searchsorted(edges, finite, side="right"), minlength=len(edges) + 1)
    return [*bins.tolist(), len(numbers) - len(finite)]


def _distribution(reference: Distribution, counts: Sequence[int]) -> Distribution:
    total = max(sum(counts), 1)
    *shares, nulls = (count / total for count in counts)
    if isinstance(reference, Categorical):
        return Categorical(dict(zip(reference.shares, shares, strict=False)), nulls, shares[-1])
    return Numeric(reference.edges, shares, nulls, mean=None, std=None, min=None, max=None)
