"""Fitted bands against brute force, which tries every edge there is."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations_with_replacement

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.errors import SelectionError
from scorer.evaluation import fit as fitting
from scorer.evaluation.effect import default_reviewed, prices
from scorer.evaluation.findings import Confusion, Costs
from scorer.evaluation.fit import Goal, fitted, problem, solve
from scorer.evaluation.propose import as_yaml, propose
from scorer.evaluation.resample import Bootstrap, of_confusion
from scorer.evaluation.scored import Scored, band_of
from scorer.evaluation.span import DAY
from tests.evaluation.events import simulated

TODAY: Mapping[int, Mapping[str, float]] = {
    1: {"block": 0.5},
    2: {"review": 0.3, "block": 0.7},
    3: {"watch": 0.2, "review": 0.3, "block": 0.7},
}


def costs(bands: Mapping[str, float], false_positive: float, missed: float, review: float) -> Costs:
    return Costs(false_positive, missed, None, review, default_reviewed(list(bands)))


def total(scored: Scored, bands: Mapping[str, float], paid: Costs) -> float:
    band = band_of(scored.score, list(bands.values()))
    return float(prices(scored, band, ["approve", *bands], paid).sum())


def all_bands(scored: Scored, names: Mapping[str, float]) -> list[dict[str, float]]:
    """Return all the bands that differ in what they do."""
    edges = [*np.unique(scored.score).tolist(), 0.999999]
    return [dict(zip(names, chosen, strict=True)) for chosen in combinations_with_replacement(edges, len(names))]


def solved(scored: Scored, bands: Mapping[str, float], goal: Goal, days: float = 1.0) -> dict[str, float]:
    posed = problem(scored, bands, goal, days)
    return fitted(posed, solve(posed))


@pytest.fixture
def any_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a few labels do: brute force takes no more."""
    monkeypatch.setattr(fitting, "LEAST", 1)


FEW = st.lists(
    st.tuples(st.integers(1, 19).map(lambda number: number / 20), st.sampled_from([-1, 0, 0, 1])),
    min_size=4,
    max_size=14,
).filter(lambda events: {label for _, label in events} >= {0, 1})
PRICE = st.integers(0, 20).map(float)


def scored_of(events: list[tuple[float, int]]) -> Scored:
    score, label = zip(*events, strict=True)
    return Scored(np.zeros(len(events), np.int64), np.array(score, np.float32), np.array(label, np.int8))


@pytest.mark.usefixtures("any_number")
@pytest.mark.parametrize("count", [1, 2, 3])
def test_no_bands_cost_less_than_the_fitted_ones(count: int) -> None:
    """Whatever the scores, the labels, their ties, and the prices."""

    @given(FEW, PRICE, PRICE, PRICE)
    def check(events: list[tuple[float, int]], false_positive: float, missed: float, review: float) -> None:
        scored, bands = scored_of(events), TODAY[count]
        paid = costs(bands, false_positive, missed, review)

        found = solved(scored, bands, Goal(costs=paid))

        assert total(scored, found, paid) == min(total(scored, each, paid) for each in all_bands(scored, bands))
        edges = [float(np.float32(edge)) for edge in found.values()]
        assert edges == sorted(set(edges))
        assert 0 < edges[0] <= edges[-1] < 1

    check()


@pytest.mark.usefixtures("any_number")
@pytest.mark.parametrize("count", [1, 2])
def test_a_capacity_is_kept_and_no_bands_that_keep_it_cost_less(count: int) -> None:
    @given(FEW, PRICE, PRICE, PRICE, st.integers(0, 12))
    def check(events: list[tuple[float, int]], alarm: float, missed: float, review: float, capacity: int) -> None:
        scored, bands = scored_of(events), TODAY[count]
        paid = costs(bands, alarm, missed, review)

        def reviews(each: Mapping[str, float]) -> int:
            return int(np.count_nonzero(band_of(scored.score, list(each.values())) == 1))

        found = solved(scored, bands, Goal(costs=paid, capacity=capacity))

        within = [each for each in all_bands(scored, bands) if reviews(each) <= capacity]
        assert reviews(found) <= capacity
        assert total(scored, found, paid) == min(total(scored, each, paid) for each in within)

    check()


@given(st.integers(0, 50), st.floats(0.05, 0.95))
def test_the_edge_for_a_precision_is_the_lowest_for_a_recall_the_highest(seed: int, wanted: float) -> None:
    scored = simulated(900, seed=seed, rate=0.2)
    edges = np.unique(scored.score)
    alerts = [scored.score >= edge for edge in edges]
    hits = np.array([np.count_nonzero(alert & scored.fraud) for alert in alerts])
    precision = hits / [np.count_nonzero(alert) for alert in alerts]
    recall = hits / np.count_nonzero(scored.fraud)

    by_recall = solved(scored, TODAY[1], Goal(recall=wanted))["block"]

    assert np.count_nonzero(scored.score >= np.float32(by_recall)) == np.count_nonzero(
        alerts[np.flatnonzero(recall >= wanted)[-1]]
    )
    if (precision >= wanted).any():
        by_precision = solved(scored, TODAY[1], Goal(precision=wanted))["block"]
        first = np.flatnonzero(precision >= wanted)[0]
        assert np.count_nonzero(scored.score >= np.float32(by_precision)) == np.count_nonzero(alerts[first])


def test_a_capacity_alone_moves_the_lowest_edge_and_leaves_the_others() -> None:
    scored = simulated(20_000)
    bands = {"review": 0.2, "block": 0.8}

    found = solved(scored, bands, Goal(capacity=50), days=scored.days or 0)

    here = np.count_nonzero(band_of(scored.score, list(found.values())) == 1)
    assert found["block"] == 0.8
    assert here <= 50 * (scored.days or 0) < here + 2


def test_an_edge_that_would_cross_another_band_is_refused() -> None:
    with pytest.raises(SelectionError, match="crosses another band"):
        solved(simulated(5_000), {"review": 0.3, "block": 0.31}, Goal(recall=0.2))


def test_what_cannot_be_had_is_said_with_the_best_there_is() -> None:
    scored = Scored(
        np.zeros(100, np.int64), np.full(100, 0.5, np.float32), np.repeat(np.array([0, 1], np.int8), [60, 40])
    )

    with pytest.raises(SelectionError, match=r"a precision of at least 0.9 cannot be had.*0\.4 is the best"):
        solved(scored, TODAY[1], Goal(precision=0.9))


def test_too_few_labels_are_refused_with_their_numbers() -> None:
    scored = simulated(400, rate=0.02)
    frauds = np.count_nonzero(scored.fraud)

    with pytest.raises(SelectionError, match=rf"{frauds} frauds and {400 - frauds} others among 400.* 30 of each"):
        solved(scored, TODAY[1], Goal(recall=0.5))


def test_of_many_scores_the_fit_on_fewer_gaps_is_within_a_hundredth_of_the_optimum() -> None:
    """More scores than gaps that are looked at: the least cost lies beside frauds, and those gaps are all there."""
    scored = simulated(300_000, rate=0.002)
    paid = costs(TODAY[1], 3, 100, 1)
    order = np.argsort(scored.score)
    here = scored.where(order)
    each = prices(here, np.zeros(len(here), np.intp), ["approve", "block"], paid)
    alert = prices(here, np.ones(len(here), np.intp), ["approve", "block"], paid)
    least = (np.cumsum(np.append(0.0, each)) + np.append(np.cumsum(alert[::-1])[::-1], 0.0)).min()

    found = solved(scored, TODAY[1], Goal(costs=paid))

    assert total(scored, found, paid) <= least * 1.01


def test_a_proposal_says_what_it_does_and_how_sure_that_is() -> None:
    """The same seed gives the same intervals; they hold their value, and labels that are missing are told."""
    scored, bands = simulated(30_000, unknown=0.25), TODAY[2]
    goal = Goal(costs=Costs(25, 0, "amount", 2, ["review"]))

    one, two = (propose(scored, "payments", bands, "approve", goal, bootstrap=Bootstrap(rounds=50)) for _ in range(2))

    assert one == two
    assert set(one.intervals) == {
        *("edge.review", "edge.block", "precision", "recall", "cost", "alerts_per_day", "reviews_per_day"),
    }
    assert all(each.low <= each.value <= each.high for each in one.intervals.values())
    assert any(each.low < each.value < each.high for each in one.intervals.values())
    assert one.effect.confusion is not None
    assert one.effect.confusion.cost == pytest.approx(one.intervals["cost"].value)
    assert any("of the events have a label" in said for said in one.warnings)
    assert any("have no amount" in said for said in one.warnings)


@pytest.mark.parametrize(
    "goal", [Goal(recall=0.58, band="block"), Goal(precision=0.9, band="block"), Goal(capacity=3, band="block")]
)
def test_the_band_that_is_named_has_figures_of_its_own(goal: Goal) -> None:
    """Those of all alerts say nothing of whether the wish is met where there is a lower band."""
    scored = simulated(20_000)

    found = propose(scored, "payments", TODAY[2], "approve", goal, bootstrap=Bootstrap(rounds=200))

    block = scored.score >= np.float32(found.bands["block"])
    hits = np.count_nonzero(block & scored.fraud)
    own = {name: found.intervals[f"{name}.block"] for name in ("precision", "recall", "events_per_day")}
    assert own["recall"].value == hits / np.count_nonzero(scored.fraud) >= (goal.recall or 0)
    assert own["precision"].value == hits / np.count_nonzero(block) >= (goal.precision or 0)
    assert own["events_per_day"].value == np.count_nonzero(block) / (scored.days or 0)
    assert own["events_per_day"].value <= (goal.capacity or 1e9)
    assert all(each.low <= each.value <= each.high > each.low for each in own.values())
    assert found.warnings[0].startswith("of band block and higher: precision ")
    assert f"recall {own['recall'].value:.4g} (95% interval {own['recall'].low:.4g} to" in found.warnings[0]
    assert f"in block alone, events a day {own['events_per_day'].value:.4g} (95%" in found.warnings[0]


def test_a_fraud_without_an_amount_costs_the_mean_of_the_others() -> None:
    amount = np.array([10.0, np.nan, 30.0, 99.0])
    scored = Scored(np.arange(4), np.full(4, 0.1, np.float32), np.array([1, 1, 1, 0], np.int8), amount)

    assert scored.losses(Costs(0, 0, "amount", 0, [])).tolist() == [10.0, 20.0, 30.0, 0.0]


def test_without_a_mistake_the_interval_still_leaves_room_for_some() -> None:
    """30 alerts, all fraud: the precision is 1, and 0.92 is as well possible (Jeffreys)."""
    found = of_confusion(Confusion(30, 0, 0, 70, 1.0, 1.0, None), np.zeros(0), Bootstrap())

    assert found["precision"].high == found["precision"].value == 1.0
    assert 0.90 < found["precision"].low < 0.95


def test_next_weeks_rate_lies_in_its_interval_as_often_as_it_says() -> None:
    """Simulated weeks whose days differ: of 200 pairs, most seconds are within the 90 % interval of the first."""
    inside = 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        counts = random.poisson(np.maximum(random.normal(100, 20, 14), 0))
        time = np.concatenate([day * DAY + random.integers(0, DAY, count) for day, count in enumerate(counts)])
        first = time < 7 * DAY
        week = Scored(
            np.append(time[first], [0, 7 * DAY - 1]),
            *(np.zeros(first.sum() + 2, kind) for kind in (np.float32, np.int8)),
        )
        mask = np.append(np.ones(first.sum(), np.bool_), [False, False])

        found = fitting_rate(week, mask)

        inside += found[0] <= counts[7:].mean() <= found[1]

    assert 160 <= inside <= 198


def fitting_rate(week: Scored, mask: np.ndarray) -> tuple[float, float]:
    from scorer.evaluation.resample import of_rate

    interval = of_rate(week, mask, 7.0, Bootstrap(rounds=300, confidence=0.9))
    return interval.low, interval.high


def test_the_yaml_reads_back_to_the_same_edges_and_names() -> None:
    """Names that YAML could take for something else, and edges of many digits, among them."""
    import yaml

    bands = {"no": 0.1, "2024": 0.25, "hold: it": 0.30000001, "block": 0.9999999}

    assert yaml.safe_load(as_yaml("true", bands)) == {"topics": {"true": {"bands": bands}}}
