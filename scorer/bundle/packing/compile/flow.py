"""The words of the compiler: what runs between two transformers, and what reads one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from scorer.errors import PackError
from scorer.transform import plan
from scorer.transform.plan import Step
from scorer.transform.scalars import Number, Value, number, value


class Flow(NamedTuple):
    """So many columns on their way: perhaps sparse, of this dtype (None: as they came).

    In a `frame` each column has a dtype of its own. A `fortran` matrix lies in memory by columns, as a frame's does,
    which is the order that sums over a row are rounded in.
    """

    width: int
    sparse: bool = False
    dtype: np.dtype[Any] | None = None
    frame: bool = False
    fortran: bool = False

    def joined(self, flows: Iterable[Flow], *, sparse: bool) -> Flow:
        """Return what these flows are next to each other, as NumPy stacks them."""
        flows = list(flows)
        dtypes = [flow.dtype or np.dtype(np.float64) for flow in flows]
        # NumPy keeps the Fortran order if all have it; a single column has both, and no say, no columns are against.
        votes = [flow.fortran and not flow.sparse and flow.width > 0 for flow in flows if flow.width != 1]
        return Flow(
            sum(flow.width for flow in flows),
            sparse,
            np.result_type(*dtypes, np.int8),
            fortran=bool(votes) and all(votes) and not sparse,
        )


Steps: TypeAlias = tuple[list[Step], Flow]
Compiler: TypeAlias = Callable[[str, Any, Flow], Steps]
"""Reads a fitted transformer, by its name in the preprocessor, that takes this flow. Raises PackError."""


def numeric(name: str, flow: Flow, *, nulls: bool = True, infinities: bool = False) -> Steps:
    """Return how scikit-learn's float transformers begin: everything float64, and finite."""
    if flow.dtype is not None and flow.dtype.kind == "f" and flow.dtype.itemsize < 8:
        raise PackError(
            f"transformer {name!r} computes in {flow.dtype}, which an encoder before it gives; "
            "fit it again with that encoder's dtype=numpy.float64"
        )
    return [plan.Numbers(nulls, infinities)], flow._replace(dtype=np.dtype(np.float64), frame=False)


def numbers(values: Any) -> list[Number]:
    """Return an array's numbers (any dtype, shape (n,)) as JSON can say them."""
    return [number(float(value)) for value in values]


def known_value(name: str, raw: object) -> Value:
    """Return a value that a transformer was fitted on; raises PackError for what an event cannot hold."""
    try:
        return value(raw)
    except ValueError as error:
        raise PackError(f"transformer {name!r} was fitted on a value that no event can hold: {error}") from error
