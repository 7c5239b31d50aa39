"""Room 4: a score equal to an edge is inside the band, both as float32; the bands' version is their digest."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.decide import decide
from scorer.records import Bands, Scores

BANDS = {"review": 0.60, "hold": 0.85, "block": 0.92}


def decided(bands: Bands, scores: list[float]) -> list[str]:
    score = np.array(scores, np.float32)
    decisions = decide(Scores(np.arange(len(scores)), score, score), bands)
    assert decisions.scores.score is score
    return [bands.names[at] for at in decisions.band.tolist()]


@pytest.mark.parametrize(
    ("score", "decision"),
    [
        (0.0, "approve"),
        (float(np.nextafter(np.float32(0.6), np.float32(0))), "approve"),
        (0.6, "review"),
        (float(np.nextafter(np.float32(0.85), np.float32(0))), "review"),
        (0.85, "hold"),
        (float(np.nextafter(np.float32(0.92), np.float32(0))), "hold"),
        (0.92, "block"),
        (1.0, "block"),
    ],
)
def test_an_edge_is_inside_its_band(score: float, decision: str) -> None:
    """One float32 below an edge is the band below; the edge itself is in, although 0.92 is no float32."""
    assert decided(Bands.of(BANDS, "approve"), [score]) == [decision]


unit = st.floats(0, 1, width=32)


@given(
    st.lists(st.floats(2**-20, 1 - 2**-20, width=32), min_size=1, max_size=6, unique=True).map(sorted), st.lists(unit)
)
def test_every_score_gets_the_highest_band_that_it_reaches(edges: list[float], scores: list[float]) -> None:
    """The plain loop says the same as the vectorised search."""
    bands = Bands.of({f"b{i}": edge for i, edge in enumerate(edges)}, "approve")

    expected = ["approve" if score < edges[0] else f"b{sum(edge <= score for edge in edges) - 1}" for score in scores]

    assert decided(bands, scores) == expected


def test_below_the_lowest_band_may_have_another_name() -> None:
    """A topic that `otherwise:` renames decides so."""
    assert decided(Bands.of({"block": 0.5}, "pass"), [0.49, 0.5]) == ["pass", "block"]


def test_the_version_is_of_the_effective_bands() -> None:
    """Equal bands, as float32, have one version; another edge, name or order, or another `otherwise`, has another."""
    version = Bands.of(BANDS, "approve").version

    others = [
        Bands.of(BANDS | {"block": 0.93}, "approve"),
        Bands.of({"review": 0.60, "hold": 0.85, "stop": 0.92}, "approve"),
        Bands.of({"review": 0.60, "block": 0.92}, "approve"),
        Bands.of(BANDS, "pass"),
    ]

    assert Bands.of({"review": 0.6000000001, "hold": 0.85, "block": 0.92}, "approve").version == version
    assert version not in {other.version for other in others}
    assert len({other.version for other in others}) == len(others)


def test_an_empty_batch_has_no_decisions() -> None:
    """Nobody survived: nothing to decide, nothing raised."""
    assert decided(Bands.of(BANDS, "approve"), []) == []
