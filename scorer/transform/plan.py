"""What a preprocessor does, as pure data: compiled from fitted objects when a bundle is packed, applied with NumPy.

A plan feeds each of the model's inputs, from the raw column or from a matrix of features. A matrix is a `Node`: it
selects fields of the event and walks them through steps. Each step takes a block (a list of 1-D columns) and gives a
block, elementwise and in the order of operations of the object it was compiled from, so that the bits agree.

Everything survives JSON, which knows neither NaN nor infinity: a `Number` spells those out.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, TypeAlias

import msgspec

from scorer.transform.scalars import Number, Value


class _Spec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag=str.lower):
    """A tagged piece of a plan."""


Function: TypeAlias = Literal[
    "absolute", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctanh", "cbrt", "ceil", "cos", "cosh", "deg2rad",
    "degrees", "exp", "exp2", "expm1", "fabs", "floor", "log", "log10", "log1p", "log2", "negative", "positive",
    "rad2deg", "radians", "reciprocal", "rint", "sign", "sin", "sinh", "sqrt", "square", "tan", "tanh", "trunc",
]  # fmt: skip
"""NumPy's functions of one number that a plan may name."""


class Numbers(_Spec, frozen=True):
    """Columns become float64. NaN (a null) and infinities are refused where they are not let through.

    Where `shared`, they become not float64 but the one dtype that holds them all, as they do in an array.
    """

    nulls: bool = True
    infinities: bool = False
    shared: bool = False


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
    """Apply a function of one number to every column, in the column's own dtype."""

    function: Function


class Power(_Spec, frozen=True):
    """Bend column i by `lambdas[i]`; Box-Cox refuses what is not positive."""

    method: Literal["yeo-johnson", "box-cox"]
    lambdas: list[Number]


class Quantile(_Spec, frozen=True):
    """Put column i where it stands among its `quantiles[i]`, whose ranks in [0, 1] are `references`.

    Where `normal`, the rank becomes the normal distribution's quantile, infinite at 0 and 1 (a `Clip` follows). Where
    `stored`, as in a sparse matrix, 0 stays 0, and what is negative is refused unless let through.
    """

    quantiles: list[list[Number]]
    references: list[Number]
    normal: bool
    stored: bool = False
    negatives: bool = True


class Bin(_Spec, frozen=True):
    """Column i becomes the number of its `edges[i]` (ascending) that are not above it."""

    edges: list[list[Number]]


Sums: TypeAlias = Literal["rows", "columns", "stored"]


class Normalize(_Spec, frozen=True):
    """Divide every row by its norm.

    `sums` says what scikit-learn's sum over a row was rounded like, which follows the matrix's layout in memory: by
    `rows` (C order), by `columns` (Fortran order), or over what a sparse matrix has `stored`.
    """

    norm: Literal["l1", "l2", "max"]
    sums: Sums


class Products(_Spec, frozen=True):
    """Output k is the product of the columns `terms[k]`, at most two; of none, it is 1."""

    terms: list[list[int]]


class Unsign(_Spec, frozen=True):
    """Turn -0.0 into 0.0, as a sparse matrix does by not storing it."""


class Impute(_Spec, frozen=True):
    """Replace what is missing.

    `missing` is the value that marks it, or None for null; where it is a value, a null is refused. `fills[i]` replaces
    it in column i, or None drops the column. `indicators` are the columns whose 0/1 mask (float64) is appended, and
    `nullable` those where a null in text is left alone: an imputer of NaN does not see None. In the columns `refused`,
    what is missing refuses the event.
    """

    missing: Value | None
    fills: list[Value | None]
    indicators: list[int] = []
    nullable: list[int] = []
    refused: list[int] = []

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


class Target(_Spec, frozen=True):
    """Column i becomes one column for each of `codes[i]`: that table's code at the position of its category."""

    columns: list[Lookup]
    codes: list[list[list[Number]]]


class Branch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Some columns of a block (by index, in this order), walked through steps of their own."""

    take: list[int]
    steps: list[Step]


class Fork(_Spec, frozen=True):
    """Walk branches side by side and put their columns next to each other."""

    branches: list[Branch]


Elementwise: TypeAlias = Numbers | Add | Subtract | Multiply | Divide | Clip | Apply | Power | Quantile | Bin | Unsign
"""Steps that keep their columns apart, one number to one number."""

Step: TypeAlias = Elementwise | Normalize | Products | Impute | OneHot | Ordinal | Target | Fork


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
    dtype: Literal["float16", "float32", "float64", "int32", "int64"]


class Raw(_Spec, frozen=True):
    """Feeds a model input of shape (n,) or (n, 1), by `rank`, with a raw column, for models that preprocess themselves.

    A null string, or null bytes, are fed as the empty string, a null float as NaN.
    """

    column: str
    dtype: Literal["float16", "float32", "float64", "int32", "int64", "bool", "string"]
    rank: Literal[1, 2]


class Pillow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What Pillow does to an image: `convert(mode)`, `resize` to (height, width), x / divisor * factor + offset."""

    mode: Literal["L", "RGB", "RGBA"]
    resize: tuple[int, int] | None
    resample: Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]
    divisor: float = 1.0
    factor: float = 1.0
    offset: float = 0.0
    dtype: Literal["float32", "float64"] = "float32"


class Image(_Spec, frozen=True):
    """Feeds a model input of shape (n, *shape) with the PNG or JPEG images of a field of bytes.

    Only images of at most `max_pixels`, and of `size` (height, width) where it is given, get through: their headers
    are read before anything is decoded. `chain` prepares them; without one their bytes go on as they are (`string`),
    to the TensorFlow chain in front of the model.
    """

    column: str
    dtype: Literal["string", "uint8", "float16", "float32", "float64"]
    shape: list[int]
    max_pixels: int
    size: tuple[int, int] | None = None
    chain: Pillow | None = None


Feed: TypeAlias = Matrix | Raw | Image


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What feeds each of the model's inputs, by its name."""

    inputs: dict[str, Feed]
