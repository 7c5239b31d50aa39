"""Where an edge may lie: the gaps between neighbouring scores, with what is known of the events below and above."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from scorer.evaluation.scored import Scored

MOST_CUTS = 20_000
"""Of more different scores, edges are sought beside every fraud and at this many quantiles."""
HIGHEST = np.nextafter(np.float32(1), np.float32(0))
"""An edge lies between 0 and 1, without them."""

Sums = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Cuts:
    """Gaps between scores, ascending, all arrays of shape (c,): an edge in gap i is in (low[i], high[i]], float32.

    `frauds`, `legitimate` and `unknown` count the events *between* gap i and the next one (of the last: above it), and
    `losses` is what those frauds cost if they are missed. `below` counts frauds that no edge can reach.
    """

    low: NDArray[np.float32]
    high: NDArray[np.float32]
    frauds: Sums
    legitimate: Sums
    unknown: Sums
    losses: Sums
    below: float

    def __len__(self) -> int:
        return len(self.low)

    @classmethod
    def of(cls, scored: Scored, losses: Sums, edges: int, most: int = MOST_CUTS) -> Cuts:
        """Return the gaps that hold at least `edges` different float32; those at both ends are among them.

        Where there are more than `most`, only the likeliest: beside frauds, and at quantiles.
        """
        distinct, places = np.unique(scored.score, return_inverse=True)
        low = np.append(np.float32(0), distinct)
        high = np.append(np.minimum(distinct, HIGHEST), HIGHEST)
        fits = high.view(np.int32).astype(np.int64) - low.view(np.int32) >= edges
        if len(distinct) > most:
            fits &= _beside(distinct, places, scored)
        gaps = np.flatnonzero(fits)
        into = np.searchsorted(gaps, places, side="right")  # 0 is below all gaps

        def total(weights: NDArray[np.bool_] | Sums) -> Sums:
            return np.bincount(into, weights.astype(np.float64), minlength=len(gaps) + 1).astype(np.float64)

        frauds, legitimate, money = total(scored.fraud), total(scored.legitimate), total(losses)
        unknown = total(scored.label < 0)
        return cls(low[gaps], high[gaps], frauds[1:], legitimate[1:], unknown[1:], money[1:], float(frauds[0]))

    @property
    def events(self) -> Sums:
        """All events between each gap and the next one."""
        return self.frauds + self.legitimate + self.unknown

    def drawn(self, random: np.random.Generator) -> Cuts:
        """Return the same gaps over events drawn anew: each comes Poisson(1) times (the Poisson bootstrap)."""
        frauds = random.poisson(self.frauds).astype(np.float64)
        each = np.divide(self.losses, self.frauds, out=np.zeros_like(self.losses), where=self.frauds > 0)
        legitimate, unknown = (random.poisson(one).astype(np.float64) for one in (self.legitimate, self.unknown))
        below = float(random.poisson(self.below))
        return replace(self, frauds=frauds, losses=each * frauds, legitimate=legitimate, unknown=unknown, below=below)

    def edges(self, chosen: Sequence[int]) -> list[float]:
        """Return an edge for each chosen gap, ascending: short numbers; several in one gap share it out."""
        found = []
        for gap in dict.fromkeys(chosen):
            many = list(chosen).count(gap)
            low, high = float(self.low[gap]), float(self.high[gap])
            width = (high - low) / many
            found += [_short(low + width * at, low + width * (at + 1)) for at in range(many)]
        return found


def above(values: Sums) -> Sums:
    """Return the sums from each gap upwards."""
    return np.cumsum(values[::-1])[::-1]


def _beside(distinct: NDArray[np.float32], places: NDArray[np.intp], scored: Scored) -> NDArray[np.bool_]:
    """Return which gaps lie right below or above a fraud, at a quantile, or at an end: the least cost is at one."""
    frauds = np.unique(places[scored.fraud])
    counts = np.cumsum(np.bincount(places, minlength=len(distinct)))
    quantiles = np.searchsorted(counts, np.linspace(0, counts[-1], MOST_CUTS))
    wanted = np.zeros(len(distinct) + 1, np.bool_)
    wanted[np.concatenate([frauds, frauds + 1, np.minimum(quantiles, len(distinct)), [0, len(distinct)]])] = True
    return wanted


def _short(low: float, high: float) -> float:
    """Return the number of fewest decimals near the middle of (low, high]; read as float32, it lies there too."""
    middle = (low + high) / 2
    for decimals in range(1, 12):
        number = round(middle, decimals)
        if np.float32(low) < np.float32(number) <= np.float32(high):
            return number
    return float(str(np.float32(high)))
