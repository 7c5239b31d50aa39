"""The batch shape by measurement: the largest batch whose call still costs little more than that of the smallest.

A call of a small network costs the same for 16 rows as for 1,000, and a lone event pays for all rows of its shape. So
a small network gets a large shape, which a full stream is fast with, and a heavy one a small shape, which lets a lone
event go quickly.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scorer.errors import PackError
from scorer.infer import ModelSpec
from scorer.infer.model import load_saved_model, signature_of
from scorer.infer.runtime import tensorflow

SHAPES = tuple(2**power for power in range(4, 13))
SHARE, SECONDS = 0.5, 0.0005
"""What a larger shape's call may cost beyond the smallest's: a share of it, or half a millisecond if that is more."""
ROUNDS, CALLS = 3, 15
SLICE = 0.02
"""Seconds after which no further call of the same shape is timed within a round: a slow one needs no median."""
BUDGET = 2.0
"""Seconds after which no further shape is begun."""
LANES = 8
"""A shape is one row or a multiple of this: the rows left over from a vector instruction are computed otherwise, in
the last bit, and an event's score would depend on its place in the batch."""
LARGEST = 1_048_576
"""Rows that a manifest may say."""
MEMORY = 32 * 2**20
"""Bytes of a call's inputs that a measured shape may take."""

Clock = Callable[[], float]


def batch_shape(directory: Path, spec: ModelSpec, given: int | None, rows: Mapping[str, NDArray[Any]]) -> int:
    """Return the rows of every model call: those given, those the model is fixed to, or else the measured ones.

    Those given are rounded up to a multiple of eight, unless it is one. `rows` are some rows of every input. Raises
    PackError where `given` is no number of rows, or not the one that the model is fixed to.
    """
    fixed = {size for tensor in spec.inputs.values() if (size := tensor.shape[0]) is not None}
    if len(fixed) > 1 or (given is not None and (not 1 <= given <= LARGEST or fixed - {given})):
        takes = " and ".join(map(str, sorted(fixed))) or f"between 1 and {LARGEST}"
        raise PackError(f"batch_shape {given}: the model takes {takes} rows a call")
    if fixed:
        return fixed.pop()
    if given is not None:
        return given if given == 1 else -(-given // LANES) * LANES
    row_bytes = sum(array[:1].nbytes for array in rows.values())
    shapes = [shape for shape in SHAPES if shape * row_bytes <= MEMORY] or SHAPES[:1]
    return choose(_caller(directory, spec, rows), shapes)


def choose(call: Callable[[int], object], shapes: Sequence[int] = SHAPES, clock: Clock = time.process_time) -> int:
    """Return the largest of the ascending `shapes` whose `call` costs little more than the smallest's.

    All are timed in turn, in three rounds, and a shape must win most of them. One whose fastest call is too slow ends
    the search upwards, since noise only ever slows a call. The clock is the processor time of all threads: what a call
    would take on the one core that serving has, however many training has, and whoever else shares the machine.
    """
    call(shapes[0])  # the first call of all prepares the graph
    started, left = clock(), list(shapes)
    balance = dict.fromkeys(shapes, 0)
    for _ in range(ROUNDS):
        base = np.inf
        for at, shape in enumerate(left):
            if clock() - started > BUDGET:
                return _largest(left, balance)
            times = _times(call, shape, clock)
            base = median(times) if at == 0 else base
            limit = base + max(SHARE * base, SECONDS)
            balance[shape] += 1 if median(times) <= limit else -1
            if min(times) > limit:
                left = left[:at]
                break
    return _largest(left, balance)


def _largest(left: Sequence[int], balance: Mapping[int, int]) -> int:
    """Return the largest shape left that won more rounds than it lost; the smallest never loses."""
    return max((shape for shape in left if balance[shape] > 0), default=left[0])


def _times(call: Callable[[int], object], shape: int, clock: Clock) -> list[float]:
    times: list[float] = []
    while len(times) < CALLS and sum(times) < SLICE:
        before = clock()
        call(shape)
        times.append(clock() - before)
    return times


def _caller(directory: Path, spec: ModelSpec, rows: Mapping[str, NDArray[Any]]) -> Callable[[int], object]:
    """Return what makes one call of so many rows, from NumPy arrays to a NumPy array as serving does."""
    tf = tensorflow()
    loaded = load_saved_model(directory)
    signature = signature_of(loaded, spec.signature, directory)
    dtypes = {name: tf.dtypes.as_dtype(tensor.dtype) for name, tensor in spec.inputs.items()}
    tiled: dict[int, dict[str, NDArray[Any]]] = {}

    def call(shape: int) -> object:
        if shape not in tiled:
            tiled[shape] = {name: array[np.arange(shape) % len(array)] for name, array in rows.items()}
        tensors = {name: tf.constant(array, dtypes[name]) for name, array in tiled[shape].items()}
        return signature(**tensors)[spec.output].numpy(), loaded  # the signature borrows the variables of `loaded`

    return call
