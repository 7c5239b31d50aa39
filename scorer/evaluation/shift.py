"""Two sides' decisions of the same events → what changed, to the bit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scorer.evaluation.findings import Cell, Change, Difference, Histogram

WORST = 100
BINS = 40
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}


@dataclass(frozen=True, slots=True)
class Sides:
    """What two sides decided on the events that both did, each array of shape (n,).

    `names` are all bands, of both sides; `before` and `after` index them. Scores are float32.
    """

    names: Sequence[str]
    before_score: NDArray[np.float32]
    after_score: NDArray[np.float32]
    before: NDArray[np.integer]
    after: NDArray[np.integer]


def difference(
    sides: Sides, change: Callable[[int], Change], *, missing: int, extra: int, twice: int = 0
) -> Difference:
    """Return what changed; `change(row)` says all of one event, for the worst of them."""
    moved = sides.after_score.astype(np.float64) - sides.before_score
    size, flipped = np.abs(moved), sides.before != sides.after
    different = sides.before_score.view(np.int32) != sides.after_score.view(np.int32)
    return Difference(
        matched=len(moved),
        identical=len(moved) - int(np.count_nonzero(different)),
        largest=float(size.max(initial=0.0)),
        quantiles={name: float(np.quantile(size, share)) if len(size) else 0.0 for name, share in QUANTILES.items()},
        moves=_moves(moved[different]),
        flips=int(np.count_nonzero(flipped)),
        matrix=_matrix(sides),
        worst=[change(row) for row in _worst(size, flipped, different)],
        missing=missing,
        extra=extra,
        twice=twice,
    )


def _matrix(sides: Sides) -> list[Cell]:
    width = len(sides.names)
    counts = np.bincount(sides.before * width + sides.after, minlength=width * width).reshape(width, width)
    return [
        Cell(sides.names[before], sides.names[after], int(counts[before, after]))
        for before, after in zip(*np.nonzero(counts), strict=True)
    ]


def _worst(size: NDArray[np.float64], flipped: NDArray[np.bool_], different: NDArray[np.bool_]) -> list[int]:
    """Return the rows of the events that changed most: those in another band first, by how far their score moved."""
    rows = np.flatnonzero(flipped | different)
    rank = size[rows] + 2.0 * flipped[rows]
    if len(rows) > WORST:
        most = np.argpartition(-rank, WORST)[:WORST]
        rows, rank = rows[most], rank[most]
    return [int(row) for row in rows[np.lexsort((rows, -rank))]]


def _moves(moved: NDArray[np.float64]) -> Histogram:
    widest = float(np.abs(moved).max(initial=0.0)) or 1.0
    counts, edges = np.histogram(moved, BINS, (-widest, widest))
    return Histogram(edges.tolist(), counts.tolist())
