"""The nouns of this room: a block is a list of columns, each with the field of the event that it came from.

Columns are never changed in place: they may be the caller's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from scorer.errors import Reason, Stage
from scorer.records import Rejection, Rows

Column: TypeAlias = NDArray[Any]
Mask: TypeAlias = NDArray[np.bool_]

NULL = np.array(None, dtype=object)
NULL_REFUSED = "is null, which the fitted preprocessor refuses"


class Feature(NamedTuple):
    """One column (float64, int64, bool or object, shape (n,)) and the field it came from."""

    path: str
    values: Column


class Hot(NamedTuple):
    """`width` columns of 0 with a 1 at `positions` (intp, shape (n,), negative for nowhere), not yet written out."""

    path: str
    positions: NDArray[np.intp]
    width: int


Block: TypeAlias = Sequence[Feature | Hot]


def nulls(values: Column) -> Mask:
    """Return where a column is null: None in an object column, NaN in a float one (bool, shape (n,))."""
    if values.dtype == object:
        return np.asarray(np.equal(values, NULL), dtype=np.bool_)
    return np.isnan(values) if values.dtype.kind == "f" else np.zeros(len(values), np.bool_)


def dense(block: Block) -> list[Feature]:
    """Return the block with one feature a column."""
    features: list[Feature] = []
    for part in block:
        if isinstance(part, Feature):
            features.append(part)
        else:
            hits = ((part.positions == place).astype(np.float64) for place in range(part.width))
            features.extend(Feature(part.path, hit) for hit in hits)
    return features


Walk: TypeAlias = "Callable[[Block, Faults], Block]"
"""A step made ready."""


@dataclass(slots=True)
class Faults:
    """Collects the rejections of one batch, at most one a row: the first."""

    rows: Rows
    found: dict[int, Rejection] = field(default_factory=dict)

    def reject(self, bad: Mask, reason: Reason, path: str, message: str | Callable[[int], str]) -> None:
        """Reject the batch's entries that `bad` (bool, shape (n,)) marks; `message` may depend on their position."""
        for entry in np.flatnonzero(bad).tolist():
            row = int(self.rows[entry])
            if row not in self.found:
                text = message if isinstance(message, str) else message(entry)
                self.found[row] = Rejection(row, Stage.TRANSFORM, reason, f"$.{path}", text)

    def rejections(self) -> list[Rejection]:
        """Return the rejections in the order of their rows."""
        return [self.found[row] for row in sorted(self.found)]


def check_finite(features: Iterable[Feature], faults: Faults, *, nan: bool = True, infinities: bool = False) -> None:
    """Reject NaN and infinities in float columns, where they are not let through: what scikit-learn raises for."""
    for path, values in features:
        # A finite sum proves that all are finite, at half the price of asking each; an overflow only asks once more.
        if values.dtype.kind != "f" or math.isfinite(np.add.reduce(values)):
            continue
        if not infinities:
            faults.reject(np.isinf(values), Reason.OUT_OF_RANGE, path, "is infinite")
        if not nan:
            faults.reject(np.isnan(values), Reason.MISSING_FIELD, path, NULL_REFUSED)


def shown(value: object) -> str:
    """Return a value of an event as a message can hold it."""
    text = repr(value.item() if isinstance(value, np.generic) else value)
    return text if len(text) <= 80 else text[:77] + "..."
