"""The card demo's training: the split, the bands, the figures, and one short training of the real thing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from scorer.bundle import load
from scorer.demo import cards
from scorer.demo.simulator import DAY_MS, LABEL_DELAY, Payments, simulate
from scorer.records import Records


@pytest.fixture(scope="module")
def payments() -> Payments:
    return simulate(4, days=16, customers=300, terminals=600)


def payments_of(customers: list[str], days: list[int], fraud: list[int]) -> Payments:
    """Return bare payments, in the order given: all that the figures look at."""
    columns = {"customer_id": np.array(customers, object), "event_time": np.array(days, np.int64) * DAY_MS}
    return Payments(columns, np.array(fraud, np.int8), np.array(fraud, np.int8))


def test_the_test_part_begins_after_the_labels_of_training_are_known(payments: Payments) -> None:
    """Fit on 5 days, choose bands on the next 2, leave out 7, test on the rest: no payment is in two parts."""
    fit, validation, test = cards.split(payments)
    first = int(payments.columns["event_time"].min()) // DAY_MS
    days = [set((part.columns["event_time"] // DAY_MS - first).tolist()) for part in (fit, validation, test)]

    assert days == [{0, 1, 2, 3, 4}, {5, 6}, {14, 15}]
    assert min(days[2]) - max(days[1]) > LABEL_DELAY


def test_payments_that_leave_nothing_to_test_on_are_refused(payments: Payments) -> None:
    """Two weeks or less are too short, and the error says how many days it takes."""
    with pytest.raises(ValueError, match="simulate more than 14 days"):
        cards.split(payments.take(payments.days() < 14))


def test_review_takes_the_highest_scores_and_block_those_that_are_frauds() -> None:
    """Of 1,000 scores with the 8 highest frauds, review begins at the highest 1.5 %, block where 9 of 10 are frauds."""
    scores = np.arange(1_000) / 1_000
    labels = (scores >= 0.992).astype(np.int8)

    bands = cards.choose_bands(scores, labels)

    assert bands == {"review": 0.984, "block": 0.992}


@pytest.mark.parametrize("score", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("label", [0, 1])
def test_bands_are_in_order_whatever_the_scores(score: float, label: int) -> None:
    """Even for scores that are all alike, 0 < review < block < 1."""
    bands = cards.choose_bands(np.full(100, score), np.full(100, label))

    assert 0 < bands["review"] < bands["block"] < 1


def test_a_card_found_is_not_looked_at_again() -> None:
    """Card precision counts a compromised card once, on the day that it is among the top, and averages over days."""
    payments = payments_of(["a", "b", "a", "b"], [0, 0, 1, 1], [1, 0, 1, 1])
    scores = np.array([0.9, 0.1, 0.9, 0.8])

    assert cards.card_precision(scores, payments, top=1) == 1.0


def test_a_card_counts_with_its_highest_score_of_the_day() -> None:
    """A card's day is judged by its worst payment: one alarming payment among harmless ones finds the card."""
    payments = payments_of(["a", "b", "a"], [0, 0, 0], [0, 0, 1])

    assert cards.card_precision(np.array([0.1, 0.5, 0.9]), payments, top=1) == 1.0
    assert cards.card_precision(np.array([0.1, 0.5, 0.3]), payments, top=1) == 0.0


def test_the_same_seed_trains_the_same_model(payments: Payments) -> None:
    """Weights, bands and figures are the seed's; progress is told after every epoch."""
    told: list[tuple[int, int]] = []

    once = cards.train(payments, seed=1, epochs=2, progress=lambda done, total: told.append((done, total)))
    again = cards.train(payments, seed=1, epochs=2)

    assert told == [(1, 2), (2, 2)]
    assert (once.bands, once.figures) == (again.bands, again.figures)
    weights = zip(once.model.get_weights(), again.model.get_weights(), strict=True)
    assert all(np.array_equal(mine, other) for mine, other in weights)


def test_the_bundle_scores_as_training_did(payments: Payments, tmp_path: Path) -> None:
    """Packed, loaded and fed the test part as JSON, the bundle gives the scores of the preprocessor and the model."""
    trained = cards.train(payments, seed=1, epochs=1)
    cards.pack_bundle(trained, tmp_path / "card-fraud")
    bundle = load(tmp_path / "card-fraud")

    values = [json.dumps(event).encode() for event in trained.test.events()]
    count = len(values)
    columns, undecoded = bundle.decode(
        Records.of("payments", [0] * count, range(count), [0] * count, [None] * count, values)
    )
    inputs, untransformed = bundle.transform(columns)
    scores, unscored = bundle.model(inputs)

    features = trained.preprocessor.transform(trained.test.frame())
    assert [*undecoded, *untransformed, *unscored] == []
    assert bundle.manifest.bands == trained.bands
    assert scores.score == pytest.approx(trained.model.predict(features, verbose=0)[:, 0], abs=1e-6)


def test_what_training_did_not_see_is_still_scored(payments: Payments) -> None:
    """An unknown channel or country and an unknown age become finite features, not an error."""
    fit, _, test = cards.split(payments)
    preprocessor = cards.build_preprocessor().fit(fit.frame())
    frame = test.frame().head(1)

    strange = frame.assign(**{"channel": "carrier pigeon", "card.country": "AQ", "customer_age_days": np.nan})

    assert np.isfinite(preprocessor.transform(strange)).all()
