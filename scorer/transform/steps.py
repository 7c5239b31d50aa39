"""Steps made ready: each becomes a function from block to block, its lookups built and its shape checked once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from scorer.errors import BundleError
from scorer.transform import numeric
from scorer.transform.block import Block, Faults, Walk, dense
from scorer.transform.categorical import one_hot, ordinal
from scorer.transform.plan import (
    Add,
    Apply,
    Clip,
    Divide,
    Fork,
    Impute,
    Lookup,
    Multiply,
    Numbers,
    OneHot,
    Ordinal,
    Step,
    Subtract,
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
        case OneHot():
            _check_lookups(step, step.columns, step.widths, width)
            return one_hot(step), sum(step.widths)
        case Ordinal():
            _check_lookups(step, step.columns, [len(codes) for codes in step.codes], width)
            _check(step, all(-1 not in _places(lookup) for lookup in step.columns), "has a category without a code")
            return ordinal(step), width
        case Impute():
            _check(step, len(step.fills) == width, f"has {len(step.fills)} fills for {width} columns")
            _check(
                step,
                all(0 <= i < width for i in (*step.indicators, *step.nullable)),
                f"marks a column outside its {width}",
            )
            return numeric.impute(step), sum(fill is not None for fill in step.fills) + len(step.indicators)
        case Fork():
            return _prepare_fork(step, width)
        case _:
            return _prepare_plain(step, width), width


def _prepare_plain(step: Numbers | Add | Subtract | Multiply | Divide | Clip | Apply | Unsign, width: int) -> Walk:
    match step:
        case Numbers():
            return numeric.numbers(step)
        case Clip():
            return numeric.clip(step)
        case Apply():
            return numeric.apply(step)
        case Unsign():
            return numeric.unsign
        case _:
            _check(step, len(step.by) == width, f"has {len(step.by)} numbers for {width} columns")
            return numeric.arithmetic(step)


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
        _check(step, all(-1 <= place < size for place in _places(lookup)), f"has a position outside its {size}")


def _places(lookup: Lookup) -> list[int]:
    return [place for place in (*lookup.positions, lookup.null, lookup.unknown) if place is not None]


def _check(step: Step, holds: bool, complaint: str) -> None:
    if not holds:
        raise BundleError(f"feature plan: step {type(step).__name__.lower()!r} {complaint}; pack the bundle anew")
