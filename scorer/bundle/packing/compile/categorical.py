"""Encoders of categories: where each category goes, and where null and the unknown go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from scorer.bundle.packing.compile.flow import Flow, Steps, known_value, numbers
from scorer.errors import PackError
from scorer.transform import plan
from scorer.transform.scalars import is_nan, is_null


def one_hot_encoder(name: str, fitted: Any, _: Flow) -> Steps:
    """Return the encoder's lookups, in every mode of `handle_unknown`, `drop` and infrequent categories."""
    lookups, widths = [], []
    for i, categories in enumerate(fitted.categories_):
        places, rare = _grouped(fitted, i, len(categories))
        drop = None if fitted._drop_idx_after_grouping is None else fitted._drop_idx_after_grouping[i]
        other = -1 if rare is None or fitted.handle_unknown == "ignore" else _shifted(rare, drop)
        unknown = None if fitted.handle_unknown == "error" else other
        widths.append(max(places) + (drop is None))
        lookups.append(_lookup(name, categories, [_shifted(place, drop) for place in places], unknown))
    step = plan.OneHot(lookups, widths)
    return [step], Flow(sum(widths), fitted.sparse_output, _encoded_dtype(name, fitted))


def ordinal_encoder(name: str, fitted: Any, flow: Flow) -> Steps:
    """Return the encoder's lookups and codes, those of unknown and missing values among them."""
    dtype, lookups, codes = _encoded_dtype(name, fitted), [], []
    for i, categories in enumerate(fitted.categories_):
        # Only NaN, always the last, has a code of its own; None is a category like others.
        count = len(categories) - is_nan(categories[-1])
        places, _ = _grouped(fitted, i, count)
        table = [*range(count), fitted.encoded_missing_value] if count < len(categories) else [*range(count)]
        unknown = None if fitted.handle_unknown == "error" else len(table)
        table += [] if unknown is None else [fitted.unknown_value]
        codes.append(numbers(np.array(code).astype(dtype) for code in table))
        lookups.append(_lookup(name, categories, [*places, count][: len(categories)], unknown))
    return [plan.Ordinal(lookups, codes)], Flow(flow.width, dtype=dtype)


def target_encoder(name: str, fitted: Any, _: Flow) -> Steps:
    """Return the encoder's lookups and means, as `transform` has them: what is unknown gets the mean of all."""
    means = np.atleast_1d(fitted.target_mean_)
    lookups, codes = [], []
    for i, categories in enumerate(fitted.categories_):
        encodings = fitted.encodings_[i * len(means) : (i + 1) * len(means)]
        codes.append([numbers([*table, mean]) for table, mean in zip(encodings, means, strict=True)])
        lookups.append(_lookup(name, categories, range(len(categories)), len(categories)))
    return [plan.Target(lookups, codes)], Flow(len(lookups) * len(means), dtype=np.dtype(np.float64))


def _encoded_dtype(name: str, fitted: Any) -> np.dtype[Any]:
    dtype: np.dtype[Any] = np.dtype(fitted.dtype)
    if dtype.kind not in "fiub":
        raise PackError(f"transformer {name!r} encodes to {dtype}; fit it again with dtype=numpy.float64")
    return dtype


def _grouped(fitted: Any, column: int, count: int) -> tuple[list[int], int | None]:
    """Return the positions of a column's first `count` categories, and the one that its infrequent ones share."""
    infrequent = fitted._infrequent_indices[column] if fitted._infrequent_enabled else None
    if infrequent is None:
        return list(range(count)), None
    rare = np.isin(np.arange(count), infrequent)
    last = int(np.sum(~rare))
    return np.where(rare, last, np.cumsum(~rare) - 1).tolist(), last


def _shifted(place: int, drop: int | None) -> int:
    """Return a position once the one at `drop` is gone (-1: nowhere)."""
    if drop is None or place < drop:
        return place
    return -1 if place == drop else place - 1


def _lookup(name: str, categories: Any, places: Sequence[int], unknown: int | None) -> plan.Lookup:
    """Return where categories go; a null goes where None went in training, or else NaN."""
    pairs = list(zip(categories, places, strict=True))
    known = [(known_value(name, category), place) for category, place in pairs if not is_null(category)]
    null = next((place for category, place in pairs if is_null(category)), unknown)
    return plan.Lookup([key for key, _ in known], [place for _, place in known], null, unknown)
