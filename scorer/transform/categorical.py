"""Steps on categories: a value's position is looked up, by hashing for text and by bisection for numbers."""

from __future__ import annotations

from collections.abc import Callable
from itertools import repeat
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from scorer.errors import Reason
from scorer.transform.block import Block, Column, Faults, Feature, Hot, Walk, check_finite, dense, shown
from scorer.transform.plan import Lookup, OneHot, Ordinal, Target

Positions: TypeAlias = NDArray[np.intp]

REFUSED = -2
"""The position of a value that the encoder refuses; -1 is nowhere."""


class Finder:
    """Finds the positions of one column's values, as its lookup says."""

    def __init__(self, lookup: Lookup) -> None:
        self._unknown = REFUSED if lookup.unknown is None else lookup.unknown
        self._null = REFUSED if lookup.null is None else lookup.null
        self._by_value: dict[object, int] = dict(zip(lookup.categories, lookup.positions, strict=True))
        self._by_value[None] = self._null
        numeric = sorted((c, p) for c, p in self._by_value.items() if isinstance(c, (int, float)))
        self._keys = np.array([key for key, _ in numeric] or [np.nan])
        self._places = np.array([place for _, place in numeric] or [self._unknown], dtype=np.intp)

    def __call__(self, values: Column) -> Positions:
        """Return the positions of `values` (any dtype, shape (n,)), intp of the same shape."""
        if values.dtype == object:
            return np.fromiter(map(self._by_value.get, values.tolist(), repeat(self._unknown)), np.intp, len(values))
        nearest = np.minimum(np.searchsorted(self._keys, values), len(self._keys) - 1)
        positions = np.where(self._keys[nearest] == values, self._places[nearest], self._unknown)
        return np.where(np.isnan(values), self._null, positions) if values.dtype.kind == "f" else positions


def one_hot(step: OneHot) -> Walk:
    """Return what makes each column a `Hot`."""
    find = _finders(step.columns)
    return lambda block, faults: [
        Hot(feature.path, positions, width)
        for (feature, positions), width in zip(find(block, faults), step.widths, strict=True)
    ]


def ordinal(step: Ordinal) -> Walk:
    """Return what makes each column one of codes, float64."""
    find = _finders(step.columns)
    tables = [np.array([float(code) for code in codes]) for codes in step.codes]
    return lambda block, faults: [
        Feature(feature.path, table[np.maximum(positions, 0)])
        for (feature, positions), table in zip(find(block, faults), tables, strict=True)
    ]


def target(step: Target) -> Walk:
    """Return what makes each column one of codes for each of its tables, float64."""
    find = _finders(step.columns)
    tables = [[np.array([float(code) for code in codes]) for codes in each] for each in step.codes]
    return lambda block, faults: [
        Feature(feature.path, table[np.maximum(positions, 0)])
        for (feature, positions), each in zip(find(block, faults), tables, strict=True)
        for table in each
    ]


def _finders(lookups: list[Lookup]) -> Callable[[Block, Faults], list[tuple[Feature, Positions]]]:
    finders = [Finder(lookup) for lookup in lookups]
    refusing = [lookup.unknown is None or lookup.null is None for lookup in lookups]

    def find(block: Block, faults: Faults) -> list[tuple[Feature, Positions]]:
        features = dense(block)
        check_finite(features, faults)
        found = [(feature, finder(feature.values)) for feature, finder in zip(features, finders, strict=True)]
        for (feature, positions), may_refuse in zip(found, refusing, strict=True):
            if may_refuse:
                _refuse(feature, positions, faults)
        return found

    return find


def _refuse(feature: Feature, positions: Positions, faults: Faults) -> None:
    refused = positions == REFUSED
    if refused.any():
        faults.reject(
            refused,
            Reason.UNKNOWN_CATEGORY,
            feature.path,
            lambda entry: f"{shown(feature.values[entry])} is not a category that the encoder was fitted on",
        )
