"""Steps that look at several columns of a row at once: norms and products."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scorer.transform.block import Block, Column, Faults, Feature, Walk, dense
from scorer.transform.plan import Normalize, Products

NEGLIGIBLE = 10 * float(np.finfo(np.float64).eps)
"""A norm below this divides by 1 in scikit-learn, unless the matrix is sparse: then only 0 does."""


def normalize(step: Normalize) -> Walk:
    """Return what divides every row of the columns (float64, finite) by its norm."""

    def walk(block: Block, _: Faults) -> Block:
        features = dense(block)
        if not features:
            return features
        norms = _norms(step, [feature.values for feature in features])
        norms[norms == 0 if step.sums == "stored" else norms < NEGLIGIBLE] = 1.0
        return [Feature(path, values / norms) for path, values in features]

    return walk


def _norms(step: Normalize, columns: Sequence[Column]) -> Column:
    """Return each row's norm, shape (n,), its sum rounded in the order that scikit-learn's is."""
    if step.norm == "max":
        largest: Column = np.max([np.abs(values) for values in columns], axis=0)
        return largest
    if step.sums == "rows":
        matrix = np.empty((len(columns[0]), len(columns)))
        for place, values in enumerate(columns):
            matrix[:, place] = values
        sums: Column = np.sum(np.abs(matrix), axis=1) if step.norm == "l1" else np.einsum("ij,ij->i", matrix, matrix)
        return sums if step.norm == "l1" else np.sqrt(sums)
    total = np.zeros(len(columns[0]))
    for values in columns:
        total += np.abs(values) if step.norm == "l1" else values * values
    return total if step.norm == "l1" else np.sqrt(total)


def products(step: Products) -> Walk:
    """Return what makes each of the step's terms one column (float64)."""

    def walk(block: Block, faults: Faults) -> Block:
        features = dense(block)
        ones = np.ones(len(faults.rows))
        return [_product([features[i] for i in term], ones) for term in step.terms]

    return walk


def _product(factors: Sequence[Feature], ones: Column) -> Feature:
    match factors:
        case []:
            return Feature("", ones)
        case [one]:
            return one
        case _:
            return Feature(factors[0].path, factors[0].values * factors[1].values)
