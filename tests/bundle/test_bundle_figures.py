"""The figures of a bundle on labelled examples."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles import Trained, frame_of, pack_cards
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, log_loss, precision_score, recall_score

from scorer.bundle.packing.judging import BINS, measure
from scorer.errors import PackError

LABELLED = st.lists(st.tuples(st.floats(0, 1, width=32), st.integers(0, 1)), min_size=2, max_size=60).filter(
    lambda pairs: {label for _, label in pairs} == {0, 1}
)


@given(LABELLED)
def test_band_figures_are_scikit_learns(pairs: list[tuple[float, int]]) -> None:
    """Precision and recall at and above an edge are those of scikit-learn, an edge being inside its band."""
    scores, labels = np.array([s for s, _ in pairs], np.float32), [label for _, label in pairs]
    found = measure(scores, labels, {"review": 0.25, "block": 0.75})
    for name, edge in (("review", 0.25), ("block", 0.75)):
        inside = (scores >= np.float32(edge)).astype(int)
        assert found.bands[name].precision == pytest.approx(precision_score(labels, inside, zero_division=0))
        assert found.bands[name].recall == pytest.approx(recall_score(labels, inside))
        assert found.bands[name].share == pytest.approx(inside.mean())


@given(LABELLED)
def test_the_calibration_error_is_its_definition(pairs: list[tuple[float, int]]) -> None:
    """Bin by bin: the share of the events times the gap between their mean score and their share of positives."""
    scores, labels = np.array([s for s, _ in pairs], np.float32), np.array([label for _, label in pairs])
    expected = 0.0
    for number in range(BINS):
        low, high = number / BINS, (number + 1) / BINS
        inside = [low <= float(s) < high or (number == BINS - 1 and s == 1) for s in scores]
        if any(inside):
            expected += np.mean(inside) * abs(float(scores[inside].astype(float).mean()) - labels[inside].mean())
    assert measure(scores, labels.tolist(), {"block": 0.5}).calibration_error == pytest.approx(expected, abs=1e-6)


@given(LABELLED)
def test_brier_score_and_log_loss_are_scikit_learns(pairs: list[tuple[float, int]]) -> None:
    """Of the scores as published; a certainty that is wrong costs what the stated clip makes of it."""
    scores, labels = np.array([s for s, _ in pairs], np.float32), np.array([label for _, label in pairs])
    found = measure(scores, labels, {"block": 0.5})
    clipped = np.clip(scores.astype(np.float64), 2.0**-24, 1 - 2.0**-24)
    assert found.brier == pytest.approx(brier_score_loss(labels, scores.astype(np.float64)))
    assert found.log_loss == pytest.approx(log_loss(labels, clipped))


def test_the_calibration_error_before_is_of_the_uncalibrated_scores() -> None:
    """And the same as after, where there is no calibration."""
    scores, before, labels = np.array([0.25, 0.75], np.float32), np.array([0.0, 0.5], np.float32), [0, 1]
    found = measure(scores, labels, {"block": 0.5}, before=before)
    alone = measure(scores, labels, {"block": 0.5})
    assert (found.calibration_error, found.calibration_error_before) == (0.25, 0.25)
    assert alone.calibration_error == alone.calibration_error_before
    assert measure(scores, labels, {"block": 0.5}, before=scores * 0).calibration_error_before == 0.5


@pytest.mark.parametrize(
    "kind", [np.array, lambda rows: np.array(rows, bool), lambda rows: np.array(rows, float)[:, None]]
)
def test_labels_may_be_any_array_of_them(kind: Callable[[list[int]], Any]) -> None:
    """Booleans, floats and Keras's columns say 0 and 1 too."""
    scores = np.array([0.1, 0.5, 0.9], np.float32)
    assert measure(scores, kind([0, 1, 1]), {"block": 0.5}) == measure(scores, [0, 1, 1], {"block": 0.5})


@pytest.mark.parametrize("labels", [[0, 1], [0, 0, 0], [0, 1, 2], [1, 1, 1], [0, 1, float("nan")], [[0, 1, 1]]])
def test_labels_that_say_nothing_are_refused(labels: list[Any]) -> None:
    """One label an event, 0 or 1, and both of them: anything else is a mistake, and is named."""
    with pytest.raises(PackError, match="labels: "):
        measure(np.array([0.1, 0.5, 0.9], np.float32), labels, {"block": 0.5})


def test_a_packed_bundle_keeps_them(trained: Trained, tmp_path: Path) -> None:
    """With labels, all examples are scored, and the manifest says how that went."""
    frame = frame_of(400, seed=3)
    labels = (frame["amount"] > frame["amount"].median()).astype(int).tolist()
    found = pack_cards(trained, tmp_path / "bundle", events=frame, labels=labels).manifest.figures
    assert found is not None
    assert (found.events, found.positives) == (400, sum(labels))
    assert set(found.bands) == {"review", "block"}
