"""Room 4: Scores → Decisions, by the topic's bands."""

from __future__ import annotations

import numpy as np

from scorer.records import Bands, Decisions, Scores


def decide(scores: Scores, bands: Bands) -> Decisions:
    """Put every score into the highest band whose edge it reaches: a score equal to an edge is inside the band."""
    return Decisions(scores, np.searchsorted(bands.edges[1:], scores.score, side="right"))
