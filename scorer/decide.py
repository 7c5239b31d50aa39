"""Room 4: Scores → Decisions. A topic's bands, ascending; a score equal to a band's edge is inside the band."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from scorer.records import Decisions, Scores


@dataclass(frozen=True, slots=True)
class Bands:
    """The effective bands of a topic: `names[0]` is what a score below the lowest edge gets, and `edges[0]` is 0.

    Edges are float32, as scores are: `0.92` in a configuration and 0.92 from a model are then the same number.
    """

    names: tuple[str, ...]
    edges: NDArray[np.float32]
    version: str

    @classmethod
    def of(cls, bands: Mapping[str, float], otherwise: str) -> Bands:
        """Build from name → lowest score, ascending (as `config` has checked them)."""
        edges = np.array([0.0, *bands.values()], np.float32)
        names = (otherwise, *bands)
        text = msgspec.json.encode([[name, float(edge)] for name, edge in zip(names, edges, strict=True)])
        return cls(names, edges, hashlib.sha256(text).hexdigest()[:12])

    def __call__(self, scores: Scores) -> Decisions:
        """Put every score into its band."""
        return Decisions(scores, np.searchsorted(self.edges[1:], scores.score, side="right"))
