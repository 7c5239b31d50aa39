"""Curves, calibration, shift, sweep and carried bands, each against scikit-learn or a slow count."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from scorer.errors import SelectionError
from scorer.evaluation import curves
from scorer.evaluation.calibration import calibration
from scorer.evaluation.carry import carry
from scorer.evaluation.effect import effect, sweep
from scorer.evaluation.findings import Change, Costs
from scorer.evaluation.scored import Scored, band_of
from scorer.evaluation.shift import Sides, difference
from tests.evaluation.events import simulated

EVENTS = st.lists(
    st.tuples(st.integers(0, 20).map(lambda number: number / 20), st.sampled_from([-1, 0, 1])), min_size=1, max_size=60
)


def scored_of(events: list[tuple[float, int]]) -> Scored:
    score, label = zip(*events, strict=True)
    return Scored(np.arange(len(events)), np.array(score, np.float32), np.array(label, np.int8))


@given(EVENTS)
def test_areas_are_those_of_scikit_learn(events: list[tuple[float, int]]) -> None:
    """Ties included; without both kinds of labels there is no curve."""
    scored = scored_of(events)
    known = scored.label >= 0
    kinds = set(scored.label[known].tolist())

    roc, pr = curves.roc(scored), curves.precision_recall(scored)

    assert (roc is None) == (kinds != {0, 1})
    assert (pr is None) == (1 not in kinds)
    if roc:
        assert roc.area == pytest.approx(roc_auc_score(scored.label[known], scored.score[known]), abs=1e-12)
    if pr:
        assert pr.area == pytest.approx(average_precision_score(scored.label[known], scored.score[known]), abs=1e-12)


def test_a_thinned_curve_keeps_its_ends_and_stays_near_the_whole_one() -> None:
    scored = simulated(50_000)

    roc = curves.roc(scored)

    assert roc is not None
    assert len(roc.x) <= 402
    assert (roc.x[0], roc.y[0], roc.x[-1], roc.y[-1]) == (0.0, 0.0, 1.0, 1.0)
    assert np.trapezoid(roc.y, roc.x) == pytest.approx(roc.area, abs=2e-3)


def test_the_calibration_error_is_what_was_planted() -> None:
    """Scores that are drawn as probabilities have hardly any; halved ones miss by half the rate of fraud."""
    random = np.random.default_rng(0)
    truth = random.beta(1, 9, 200_000)
    label = (random.random(len(truth)) < truth).astype(np.int8)
    time = np.arange(len(truth))

    good = calibration(Scored(time, truth.astype(np.float32), label))
    half = calibration(Scored(time, (truth / 2).astype(np.float32), label))

    assert good is not None
    assert half is not None
    assert good.ece < 0.004
    assert half.ece == pytest.approx(label.mean() / 2, rel=0.05)
    assert "close to probabilities" in good.verdict
    assert "roughly" in half.verdict
    assert sum(one.events for one in half.bins) == len(truth)


def test_scores_that_are_no_probabilities_are_called_so() -> None:
    scored = simulated(20_000)

    found = calibration(Scored(scored.time, np.sqrt(scored.score), scored.label))

    assert found is not None
    assert "no probabilities" in found.verdict


@given(EVENTS)
def test_equal_scores_share_a_bin(events: list[tuple[float, int]]) -> None:
    scored = scored_of(events)

    found = calibration(scored)

    labelled = scored.score[scored.label >= 0]
    if found is None:
        assert len(labelled) == 0
    else:
        assert sum(one.events for one in found.bins) == len(labelled)
        cuts = np.cumsum([one.events for one in found.bins])[:-1]
        ordered = np.sort(labelled)
        assert all(ordered[cut - 1] < ordered[cut] for cut in cuts)


def test_a_sweep_counts_what_lies_at_or_above_each_edge() -> None:
    scored, costs = simulated(3_000, unknown=0.2), Costs(1, 0, "amount", 1, ["review"])

    found = sweep(scored, [0.3, 0.7], costs)

    assert {0.0, float(np.float32(0.3)), float(np.float32(0.7))} <= set(found.edges)
    assert len(found.edges) <= 512
    losses = scored.losses(costs)
    for place in range(0, len(found.edges), 7):
        above = scored.score >= np.float32(found.edges[place])
        assert found.alerts[place] == np.count_nonzero(above)
        assert found.labelled[place] == np.count_nonzero(above & (scored.label >= 0))
        assert found.frauds[place] == np.count_nonzero(above & scored.fraud)
        assert found.caught[place] == pytest.approx(losses[above].sum())


def test_an_effect_is_a_plain_count() -> None:
    label = np.array([1, 0, 1, 0, -1, 1], np.int8)
    score = np.array([0.9, 0.8, 0.5, 0.4, 0.5, 0.1], np.float32)
    scored = Scored(np.zeros(6, np.int64), score, label)
    band = band_of(score, [0.5, 0.8])

    found = effect(scored, band, ["approve", "review", "block"], Costs(10, 100, None, 3, ["review"]), days=2.0)

    assert (found.alerts, found.alerts_per_day, found.reviews_per_day) == (4, 2.0, 1.0)
    assert found.bands == {"approve": 2, "review": 2, "block": 2}
    assert found.confusion is not None
    assert (found.confusion.true_positives, found.confusion.false_positives, found.confusion.missed) == (2, 1, 1)
    assert (found.confusion.precision, found.confusion.recall) == (2 / 3, 2 / 3)
    assert found.confusion.cost == 10 + 100 + 3  # one block in vain, one fraud missed, one labelled review


def test_a_difference_is_exact_to_the_bit_and_its_worst_come_first() -> None:
    """One float32 step is a difference; flips lead, by how far they moved; everything else follows."""
    before = np.array([0.1, 0.5, 0.9, 0.3], np.float32)
    after = before.copy()
    after[0] = np.nextafter(before[0], np.float32(1))
    after[1], after[3] = 0.85, 0.6
    bands = [band_of(score, [0.5, 0.8]) for score in (before, after)]
    sides = Sides(["approve", "review", "block"], before, after, *bands)

    def change(row: int) -> Change:
        return Change(str(row), 0, row, 0, float(before[row]), float(after[row]), "", "")

    found = difference(sides, change, missing=1, extra=2)

    assert (found.matched, found.identical, found.flips, found.missing, found.extra) == (4, 1, 2, 1, 2)
    assert [one.event_id for one in found.worst] == ["1", "3", "0"]
    assert {(cell.before, cell.after): cell.events for cell in found.matrix} == {
        ("approve", "approve"): 1,
        ("approve", "review"): 1,
        ("review", "block"): 1,
        ("block", "block"): 1,
    }
    assert sum(found.moves.counts) == 3


@given(st.integers(0, 30))
def test_carried_bands_keep_each_share_of_events(seed: int) -> None:
    """Of another model's scores, as many events reach each new edge as reached the old one, but for ties."""
    old, random = simulated(2_000, seed=seed), np.random.default_rng(seed + 100)
    new = np.round(np.clip(old.score**2 + random.normal(0, 0.01, len(old)), 0, 1), 4).astype(np.float32)
    fresh = Scored(old.time, new, old.label)

    found = carry(old.score, fresh, {"review": 0.3, "block": 0.6})

    counts = np.unique(new, return_counts=True)[1]
    for one in found:
        assert one.share == np.mean(old.score >= np.float32(one.before))
        assert one.left == np.mean(new >= np.float32(one.before))
        assert one.kept == np.mean(new >= np.float32(one.edge))
        assert abs(one.kept - one.share) <= counts.max() / len(new)
    assert found[0].edge < found[1].edge


@given(st.integers(0, 30))
def test_bands_that_keep_their_shares_stay_as_they_are(seed: int) -> None:
    """Also with edges between two scores, where many others would do as well."""
    scored = simulated(2_000, seed=seed)

    found = carry(scored.score, scored, {"review": 0.3, "block": 0.555})

    assert [(one.edge, one.kept) for one in found] == [(0.3, found[0].share), (0.555, found[1].share)]


def test_a_band_that_keeps_its_share_stays_where_another_one_moves() -> None:
    """The new model lifts only what lies below `block`: the lower edge moves, and the higher one is left alone."""
    old = simulated(2_000)
    lifted = np.where(old.score < 0.555, np.minimum(old.score * 1.2, 0.5), old.score).astype(np.float32)

    review, block = carry(old.score, Scored(old.time, lifted, old.label), {"review": 0.3, "block": 0.555})

    assert (block.edge, block.kept) == (0.555, block.share)
    assert 0.3 < review.edge < block.edge
    assert review.left > review.share == review.kept


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.lists(st.integers(0, 9), min_size=12, max_size=12))
def test_carried_edges_ascend_whatever_stays(before: list[int], after: list[int]) -> None:
    """As float32, which decides: also where a band that could stay lies in the gap that another one moves into."""
    old, new = (np.array(scores[: len(before)], np.float32) / 10 for scores in (before, after))
    fresh = Scored(np.arange(len(old)), new, np.zeros(len(old), np.int8))

    found = carry(old, fresh, {"watch": 0.21, "review": 0.25, "hold": 0.55, "block": 0.58})

    edges = [float(np.float32(one.edge)) for one in found]
    assert edges == sorted(set(edges))
    assert all(one.kept == np.mean(new >= np.float32(one.edge)) for one in found)


def test_where_no_event_was_decided_by_both_nothing_is_carried() -> None:
    nothing = simulated(10).where(np.zeros(10, np.bool_))

    with pytest.raises(SelectionError, match="no event of the slice"):
        carry(nothing.score, nothing, {"review": 0.3})
