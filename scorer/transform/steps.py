"""Steps made ready: each becomes a function from block to block, its lookups built and its shape checked once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from scorer.errors import BundleError
from scorer.transform import curves, numeric, rowwise
from scorer.transform.block import Block, Faults, Walk, dense
from scorer.transform.categorical import one_hot, ordinal, target
from scorer.transform.plan import (
    Apply,
    Bin,
    Clip,
    Elementwise,
    Fork,
    Impute,
    Lookup,
    Normalize,
    Numbers,
    OneHot,
    Ordinal,
    Power,
    Products,
    Quantile,
    Step,
    Target,
    Unsign,
)


def prepare(steps: Sequence[Step], width: int) -> tuple[Walk, int]:
    """Return the function that walks a block of `width` columns through `steps`, and the width of what it gives.

    Raises BundleError where a step does not fit the width that reaches it.
    """
    walks: list[Walk] = []
    for step in steps:
        walk, width = _prepare(step, width)
        walks.append(walk)
    return partial(_walk, walks), width


def _walk(walks: Sequence[Walk], block: Block, faults: Faults) -> Block:
    for walk in walks:
        block = walk(block, faults)
    return block


def _prepare(step: Step, width: int) -> tuple[Walk, int]:
    match step:
        case OneHot() | Ordinal() | Target():
            return _prepare_encoder(step, width)
        case Impute():
            return _prepare_impute(step, width)
        case Normalize():
            return rowwise.normalize(step), width
        case Products():
            whole = all(0 <= i < width for term in step.terms for i in term)
            _check(step, whole, f"multiplies a column outside its {width}")
            _check(step, all(len(term) <= 2 for term in step.terms), "multiplies more than two columns")
            return rowwise.products(step), len(step.terms)
        case Fork():
            return _prepare_fork(step, width)
        case _:
            return _prepare_elementwise(step, width), width


def _prepare_encoder(step: OneHot | Ordinal | Target, width: int) -> tuple[Walk, int]:
    match step:
        case OneHot():
            _check_lookups(step, step.columns, step.widths, width)
            return one_hot(step), sum(step.widths)
        case Ordinal():
            _check_lookups(step, step.columns, [len(codes) for codes in step.codes], width)
            _check_codes(step, step.columns)
            return ordinal(step), width
        case Target():
            sizes = [min((len(codes) for codes in tables), default=0) for tables in step.codes]
            _check_lookups(step, step.columns, sizes, width)
            _check_codes(step, step.columns)
            return target(step), sum(map(len, step.codes))


def _prepare_impute(step: Impute, width: int) -> tuple[Walk, int]:
    _check(step, len(step.fills) == width, f"has {len(step.fills)} fills for {width} columns")
    marked = (*step.indicators, *step.nullable, *step.refused)
    _check(step, all(0 <= i < width for i in marked), f"marks a column outside its {width}")
    return numeric.impute(step), sum(fill is not None for fill in step.fills) + len(step.indicators)


def _prepare_elementwise(step: Elementwise, width: int) -> Walk:
    match step:
        case Numbers():
            return numeric.numbers(step)
        case Clip():
            return numeric.clip(step)
        case Apply():
            return numeric.apply(step)
        case Unsign():
            return numeric.unsign
        case Power() | Quantile() | Bin():
            return _prepare_curve(step, width)
        case _:
            _check(step, len(step.by) == width, f"has {len(step.by)} numbers for {width} columns")
            return numeric.arithmetic(step)


def _prepare_curve(step: Power | Quantile | Bin, width: int) -> Walk:
    match step:
        case Power():
            _check(step, len(step.lambdas) == width, f"has {len(step.lambdas)} numbers for {width} columns")
            return curves.power(step)
        case Quantile():
            _check(step, len(step.quantiles) == width, f"has {len(step.quantiles)} tables for {width} columns")
            whole = bool(step.references) and all(len(table) == len(step.references) for table in step.quantiles)
            _check(step, whole, "has a table without a quantile for every reference")
            return curves.quantile(step)
        case Bin():
            _check(step, len(step.edges) == width, f"has {len(step.edges)} tables for {width} columns")
            return curves.bins(step)


def _prepare_fork(step: Fork, width: int) -> tuple[Walk, int]:
    takes = [branch.take for branch in step.branches]
    _check(step, all(0 <= i < width for take in takes for i in take), f"takes a column outside its {width}")
    prepared = [prepare(branch.steps, len(branch.take)) for branch in step.branches]
    paths = [(take, walk) for take, (walk, _) in zip(takes, prepared, strict=True)]

    def fork(block: Block, faults: Faults) -> Block:
        features = dense(block)
        return [part for take, walk in paths for part in walk([features[i] for i in take], faults)]

    return fork, sum(out for _, out in prepared)


def _check_lookups(step: Step, lookups: Sequence[Lookup], sizes: Sequence[int], width: int) -> None:
    _check(step, len(lookups) == len(sizes) == width, f"has {len(lookups)} lookups for {width} columns")
    for lookup, size in zip(lookups, sizes, strict=True):
        whole = len(lookup.categories) == len(lookup.positions)
        _check(step, whole, f"has {len(lookup.categories)} categories, but {len(lookup.positions)} positions")
        places = _places(lookup) or [-1]
        _check(step, min(places) >= -1 and max(places) < size, f"has a position outside its {size}")


def _check_codes(step: Step, lookups: Sequence[Lookup]) -> None:
    _check(step, all(-1 not in _places(lookup) for lookup in lookups), "has a category without a code")


def _places(lookup: Lookup) -> list[int]:
    return [place for place in (*lookup.positions, lookup.null, lookup.unknown) if place is not None]


def _check(step: Step, holds: bool, complaint: str) -> None:
    if not holds:
        raise BundleError(f"feature plan: step {type(step).__name__.lower()!r} {complaint}; pack the bundle anew")
