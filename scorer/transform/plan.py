"""What a preprocessor does, as pure data: compiled from fitted objects when a bundle is packed, applied with NumPy.

A plan feeds each of the model's inputs, from the raw column or from a matrix of features. A matrix is a `Node`: it
selects fields of the event and walks them through steps. Each step takes a block (a list of 1-D columns) and gives a
block, elementwise and in the order of operations of the object it was compiled from, so that the bits agree.

Everything survives JSON, which knows neither NaN nor infinity: a `Number` spells those out.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Literal, TypeAlias

import msgspec
import numpy as np

Number: TypeAlias = float | Literal["nan", "inf", "-inf"]
"""A float64 that survives JSON; `float(number)` reads all of its spellings."""

Value: TypeAlias = str | int | float | bool
"""What an event's field can hold, other than null."""


def number(value: float) -> Number:
    """Return `value` as JSON can say it."""
    if math.isfinite(value):
        return float(value)
    if math.isnan(value):
        return "nan"
    return "inf" if value > 0 else "-inf"


def value(raw: object) -> Value:
    """Return a Python or NumPy scalar as JSON can say it.

    Raises ValueError for what an event's field cannot hold.
    """
    item = raw.item() if isinstance(raw, np.generic) else raw
    if isinstance(item, str):
        # A lone surrogate is no UTF-8: the UnicodeEncodeError is a ValueError.
        item.encode()
        return item
    if isinstance(item, bool) or (isinstance(item, int) and -(2**63) <= item < 2**63):
        return item
    if isinstance(item, float) and math.isfinite(item):
        return item
    raise ValueError(f"{item!r} ({type(item).__name__}) is not text, a boolean, a 64-bit integer or a finite number")


def is_nan(raw: object) -> bool:
    """Return whether a scalar is NaN, of Python or NumPy."""
    return isinstance(raw, float | np.floating) and math.isnan(raw)


def is_null(raw: object) -> bool:
    """Return whether a scalar is what training data holds for null: None, NaN or pandas.NA."""
    # pandas.NA is known by its type's name, so that pandas need not be installed.
    return raw is None or is_nan(raw) or type(raw).__name__ == "NAType"


class _Spec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag=str.lower):
    """A tagged piece of a plan."""


class Numbers(_Spec, frozen=True):
    """Columns become float64. NaN (a null) and infinities are refused where they are not let through."""

    nulls: bool = True
    infinities: bool = False


class Add(_Spec, frozen=True):
    """Add `by[i]` to column i."""

    by: list[Number]


class Subtract(_Spec, frozen=True):
    """Subtract `by[i]` from column i."""

    by: list[Number]


class Multiply(_Spec, frozen=True):
    """Multiply column i by `by[i]`."""

    by: list[Number]


class Divide(_Spec, frozen=True):
    """Divide column i by `by[i]`."""

    by: list[Number]


class Clip(_Spec, frozen=True):
    """Bring every column into [low, high]; NaN stays."""

    low: Number
    high: Number


class Apply(_Spec, frozen=True):
    """Apply a function of one number to every column."""

    function: Literal["log", "log1p", "sqrt"]


class Unsign(_Spec, frozen=True):
    """Turn -0.0 into 0.0, as a sparse matrix does by not storing it."""


class Impute(_Spec, frozen=True):
    """Replace what is missing.

    `missing` is the value that marks it, or None for null; where it is a value, a null is refused. `fills[i]` replaces
    it in column i, or None drops the column. `indicators` are the columns whose 0/1 mask (float64) is appended, and
    `nullable` those where a null in text is left alone: an imputer of NaN does not see None.
    """

    missing: Value | None
    fills: list[Value | None]
    indicators: list[int] = []
    nullable: list[int] = []

    def leaving(self, outputs: Collection[int]) -> Impute:
        """Return the imputer with the nulls left alone that would come out in these columns."""
        kept = [i for i, fill in enumerate(self.fills) if fill is not None]
        return msgspec.structs.replace(self, nullable=[i for out, i in enumerate(kept) if out in outputs])


class Lookup(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the categories of one column go: `categories[k]` to `positions[k]`, -1 being nowhere.

    `null` and `unknown` are the positions of null and of every other value; None refuses the event.
    """

    categories: list[Value]
    positions: list[int]
    null: int | None
    unknown: int | None


class OneHot(_Spec, frozen=True):
    """Column i becomes `widths[i]` columns of 0, with a 1 at the position of its category."""

    columns: list[Lookup]
    widths: list[int]


class Ordinal(_Spec, frozen=True):
    """Column i becomes `codes[i][position of its category]`."""

    columns: list[Lookup]
    codes: list[list[Number]]


class Branch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Some columns of a block (by index, in this order), walked through steps of their own."""

    take: list[int]
    steps: list[Step]


class Fork(_Spec, frozen=True):
    """Walk branches side by side and put their columns next to each other."""

    branches: list[Branch]


Step: TypeAlias = (
    Numbers | Add | Subtract | Multiply | Divide | Clip | Apply | Unsign | Impute | OneHot | Ordinal | Fork
)


class Node(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A matrix of features: `fields` of the event (paths such as `card.country`), `steps`, and the `features` it gives.

    Matrix column i is `features[i]`.
    """

    fields: list[str]
    steps: list[Step]
    features: list[str]

    def pruned(self) -> Node:
        """Return the node without the fields that no branch of its first fork takes: events need not carry them."""
        if not self.steps or not isinstance(self.steps[0], Fork):
            return self
        branches = self.steps[0].branches
        used = sorted({i for branch in branches for i in branch.take})
        place = {i: k for k, i in enumerate(used)}
        fork = Fork([Branch([place[i] for i in branch.take], branch.steps) for branch in branches])
        return Node([self.fields[i] for i in used], [fork, *self.steps[1:]], self.features)


class Matrix(_Spec, frozen=True):
    """Feeds a model input of shape (n, width) with a node's features."""

    node: Node
    dtype: Literal["float32", "float64", "int32", "int64"]


class Raw(_Spec, frozen=True):
    """Feeds a model input of shape (n,) or (n, 1), by `rank`, with a raw column, for models that preprocess themselves.

    A null string is fed as the empty string, a null float as NaN.
    """

    column: str
    dtype: Literal["float32", "float64", "int32", "int64", "bool", "string"]
    rank: Literal[1, 2]


Feed: TypeAlias = Matrix | Raw


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What feeds each of the model's inputs, by its name."""

    inputs: dict[str, Feed]
