"""The Handbook's protocol on a few made-up transactions; its data are no part of this project."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scorer.demo import cards
from scorer.demo.simulator import simulate
from tests.handbook import protocol

START = date(2018, 7, 25)


def transactions(days: Sequence[int], customers: Sequence[int], fraud: Sequence[int]) -> pd.DataFrame:
    """Return transactions at noon of days counted from START; the features are left out."""
    times = np.datetime64(START, "h") + np.array(days) * 24 + 12
    return pd.DataFrame({"TX_DATETIME": times, "CUSTOMER_ID": customers, "TX_FRAUD": fraud})


def test_a_week_is_left_out_between_training_and_test() -> None:
    """Of 30 days from 3 before the start, days 0 to 6 are trained on and 14 to 20 tested on."""
    days = list(range(-3, 27))

    parts = protocol.split(transactions(days, days, [0] * 30), START)

    assert protocol.day_of(parts.train, START).tolist() == list(range(7))
    assert protocol.day_of(parts.test, START).tolist() == list(range(14, 21))


@pytest.mark.parametrize(
    ("fraud_day", "tested"),
    [
        (-1, range(14, 21)),  # before the training week: not looked at
        (0, []),
        (6, []),
        (7, range(14, 15)),  # known seven days later, from the day after on
        (12, range(14, 20)),
        (13, range(14, 21)),  # not known before the test is over
    ],
)
def test_a_card_is_left_out_once_its_fraud_is_known(fraud_day: int, tested: Sequence[int]) -> None:
    """A card whose fraud was on day d of the gap is tested on until day d + 7; one of the training week, never."""
    days = [fraud_day, *range(14, 21)]

    parts = protocol.split(transactions(days, [1] * 8, [1] + [0] * 7), START)

    assert protocol.day_of(parts.test, START).tolist() == list(tested)


def test_other_transactions_are_refused() -> None:
    """Counts other than the published ones stop the benchmark, with both."""
    with pytest.raises(SystemExit, match=r"\(1, 0, 1, 1\) instead of \(67240, 598, 58264, 385\)"):
        protocol.published_split(transactions([0, 14], [1, 2], [0, 1]), START)


def test_a_file_that_is_not_parquet_is_refused(tmp_path: Path) -> None:
    """What the file should be is said in one line."""
    path = tmp_path / "data.parquet"
    path.write_bytes(b"no Parquet")

    with pytest.raises(SystemExit, match=r"data\.parquet: .*transformed transactions as one Parquet file"):
        protocol.read(path)


def test_a_card_found_is_not_looked_at_again() -> None:
    """Found on the first day, card 1 leaves its place to card 2 on the second."""
    frame = transactions([0, 0, 1, 1], [1, 2, 1, 2], [1, 0, 1, 1])

    assert protocol.card_precision(frame, np.array([0.9, 0.1, 0.9, 0.8]), top=1) == 1.0


def test_a_card_counts_with_its_highest_score_and_label() -> None:
    """The alarming transaction need not be the fraudulent one: it is the card that is looked at."""
    frame = transactions([0, 0, 0], [1, 2, 1], [1, 0, 0])

    assert protocol.card_precision(frame, np.array([0.1, 0.5, 0.9]), top=1) == 1.0
    assert protocol.card_precision(frame, np.array([0.1, 0.5, 0.3]), top=1) == 0.0


def test_the_share_is_of_the_places_and_averaged_over_days() -> None:
    """Two of four places on one day, none on the other: 0.25, though there were no more frauds to be found."""
    frame = transactions([0] * 4 + [1] * 4, range(8), [1, 1, 0, 0, 0, 0, 0, 0])

    assert protocol.card_precision(frame, np.linspace(1, 0, 8), top=4) == 0.25


def test_two_ways_to_count_agree() -> None:
    """On simulated payments and random scores, the demo's card precision, written apart from this one, is the same."""
    payments = simulate(3, days=6, customers=200, terminals=300)
    frame = pd.DataFrame(
        {
            "TX_DATETIME": payments.columns["event_time"].astype("datetime64[ms]"),
            "CUSTOMER_ID": [int(card[1:]) for card in payments.columns["customer_id"]],
            "TX_FRAUD": payments.fraud,
        }
    )
    scores = np.random.default_rng(1).random(len(payments)) + 0.3 * payments.fraud

    found = protocol.card_precision(frame, scores, top=20)

    assert 0 < found == cards.card_precision(scores, payments, top=20)


def test_perfect_scores_give_perfect_areas() -> None:
    """The labels themselves as scores: both areas are 1, and no card precision is higher."""
    frame = transactions([0, 0, 1], [1, 2, 3], [1, 0, 0])

    assert protocol.measure(frame, frame["TX_FRAUD"].to_numpy(float)) == protocol.Figures(1.0, 1.0, 0.005)
