"""Bands carried over to another model: edges that keep each band's share of events (quantile mapping).

The edge e of model A becomes the edge of model B at or above which as many events score as did with A at or above e.
Where B scores many events alike, the nearest share that it can give is taken. An edge that keeps its share by itself
stays as it is, unless the new edge of a neighbour would cross it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import msgspec
import numpy as np
from numpy.typing import NDArray

from scorer.errors import SelectionError
from scorer.evaluation.cuts import Cuts, above
from scorer.evaluation.scored import Scored


class Carried(msgspec.Struct, frozen=True):
    """One band: its edge with the old model, and what share of events reaches it with either model.

    `left` is the share with the new model if the edge stays, `edge` the one that keeps the share, and `kept` what it
    truly gives.
    """

    band: str
    before: float
    share: float
    left: float
    edge: float
    kept: float


def carry(old: NDArray[np.float32], new: Scored, bands: Mapping[str, float]) -> list[Carried]:
    """Return the bands of the new scores that hold as much as `bands` of the old ones do, of the same events.

    Raises SelectionError where no event was decided by both.
    """
    count = len(old)
    if not count:
        raise SelectionError("no event of the slice was decided by both: there is nothing to carry bands over with")
    cuts = Cuts.of(new, np.zeros(count), len(bands), most=count)
    shares = above(cuts.events) / count
    wanted = [float(np.count_nonzero(old >= np.float32(edge))) / count for edge in bands.values()]
    chosen = [int(np.argmin(np.abs(shares - share))) for share in wanted]
    left = [_share(new.score, edge) for edge in bands.values()]
    stays = [now == before for now, before in zip(left, wanted, strict=True)]
    edges = _mixed(list(bands.values()), cuts.edges(chosen), stays)
    return [
        Carried(name, edge, share, now, fresh, _share(new.score, fresh))
        for (name, edge), share, now, fresh in zip(bands.items(), wanted, left, edges, strict=True)
    ]


def _mixed(old: Sequence[float], fresh: Sequence[float], stays: Sequence[bool]) -> list[float]:
    """Return the old edges where they may stay and the fresh ones elsewhere, ascending as float32.

    Both are ascending. Two neighbours that cross are both replaced, until none do.
    """
    mixed = [before if stay else now for before, now, stay in zip(old, fresh, stays, strict=True)]
    crossed = [np.float32(low) >= np.float32(high) for low, high in pairwise(mixed)]
    if not any(crossed):
        return mixed
    beside = zip([False, *crossed], [*crossed, False], strict=True)
    return _mixed(old, fresh, [stay and not any(pair) for stay, pair in zip(stays, beside, strict=True)])


def _share(score: NDArray[np.float32], edge: float) -> float:
    return float(np.count_nonzero(score >= np.float32(edge))) / len(score)
