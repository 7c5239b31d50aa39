"""Single numbers and values, as JSON can say them: it knows neither NaN nor infinity, and no NumPy."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

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
