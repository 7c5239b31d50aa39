"""The simulated payments: what they hold, and what they may not know."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from scorer.demo.simulator import (
    CARD_TYPES,
    CATEGORIES,
    CHANNELS,
    COMPROMISED_FOR,
    COUNTRIES,
    DAY_MS,
    LABEL_DELAY,
    MONDAY_2025_03_03,
    WARM_UP,
    WINDOWS,
    Payments,
    customer_windows,
    simulate,
    terminal_windows,
)


@pytest.fixture(scope="module")
def payments() -> Payments:
    return simulate(3, days=WARM_UP + 7, customers=600, terminals=1_200)


def history(seed: int, *, entities: int, rows: int, days: int) -> tuple[Any, Any, Any, Any]:
    """Return entity, time, cents and fraud of `rows` payments, many of them in the same millisecond."""
    rng = np.random.default_rng(seed)
    time = np.sort(rng.integers(0, 2 * days, rows)) * (DAY_MS // 2)
    return rng.integers(0, entities, rows), time, rng.integers(0, 50_000, rows), rng.random(rows) < 0.2


def test_customer_windows_are_those_of_a_plain_loop() -> None:
    """Count and mean amount are over (t - n d, t], the payment included, those behind it in the same ms left out."""
    customer, time, cents, _ = history(1, entities=4, rows=400, days=60)

    windows = customer_windows(customer, time, cents)

    for row in range(len(time)):
        for days in WINDOWS:
            seen = [
                int(cents[other])
                for other in range(row + 1)
                if customer[other] == customer[row] and time[row] - days * DAY_MS < time[other]
            ]
            assert windows[f"customer_tx_{days}d"][row] == len(seen)
            assert windows[f"customer_mean_amount_{days}d"][row] == sum(seen) / len(seen) / 100


def test_terminal_windows_are_those_of_a_plain_loop() -> None:
    """Count and risk are over (t - 7 d - n d, t - 7 d]; the risk of a terminal without payments is 0."""
    terminal, time, _, fraud = history(2, entities=4, rows=400, days=60)

    windows = terminal_windows(terminal, time, fraud)

    for row in range(len(time)):
        known = time[row] - LABEL_DELAY * DAY_MS
        for days in WINDOWS:
            seen = [
                bool(fraud[other])
                for other in range(len(time))
                if terminal[other] == terminal[row] and known - days * DAY_MS < time[other] <= known
            ]
            assert windows[f"terminal_tx_{days}d"][row] == len(seen)
            assert windows[f"terminal_risk_{days}d"][row] == (sum(seen) / len(seen) if seen else 0)


@pytest.mark.parametrize("days", WINDOWS)
def test_a_fraud_shows_in_the_risk_only_when_its_label_is_known(days: int) -> None:
    """A terminal's first fraud leaves its risk at 0 for seven days less a millisecond, and shows from then on."""
    delay = LABEL_DELAY * DAY_MS
    time = np.array([0, 1, delay - 1, delay, delay + DAY_MS - 1], np.int64)
    fraud = np.array([True, False, False, False, False])

    risk = terminal_windows(np.zeros(5, np.int64), time, fraud)[f"terminal_risk_{days}d"]

    assert (risk[:3] == 0).all()
    assert (risk[3:] > 0).all()


def test_simulated_windows_are_what_can_be_counted_from_the_payments_given(payments: Payments) -> None:
    """Recounted from events and labels alone, mask by mask, every window of a simulated payment comes out the same."""
    columns, day = payments.columns, payments.days()
    time, terminal, customer = columns["event_time"], columns["terminal_id"], columns["customer_id"]
    # The longest window reaches back 37 days; what lies before the first given payment cannot be recounted.
    rows = np.flatnonzero(day >= WARM_UP)
    risky = rows[columns["terminal_risk_30d"][rows] > 0]
    assert len(risky) > 50

    for row in [*risky[:50], *rows[:: len(rows) // 50]]:
        for days in WINDOWS:
            own = (customer == customer[row]) & (time > time[row] - days * DAY_MS) & (np.arange(len(time)) <= row)
            known = time[row] - LABEL_DELAY * DAY_MS
            there = (terminal == terminal[row]) & (time > known - days * DAY_MS) & (time <= known)
            assert columns[f"customer_tx_{days}d"][row] == own.sum()
            assert columns[f"customer_mean_amount_{days}d"][row] == pytest.approx(columns["amount"][own].mean())
            assert columns[f"terminal_tx_{days}d"][row] == there.sum()
            assert columns[f"terminal_risk_{days}d"][row] == payments.fraud[there].sum() / max(there.sum(), 1)


def test_every_scenario_of_fraud_occurs(payments: Payments) -> None:
    """Large amounts, compromised terminals and leaked cards all happen, and about 1 % of the payments are fraud."""
    assert set(payments.scenario.tolist()) == {0, 1, 2, 3}
    assert (payments.fraud == (payments.scenario > 0)).all()
    assert 0.004 < payments.fraud.mean() < 0.02


def test_no_genuine_payment_is_over_220(payments: Payments) -> None:
    """Scenario 1: every amount over 220 is fraud, and named so where nothing else befell the payment."""
    amount = payments.columns["amount"]

    assert (amount[payments.scenario == 1] > 220).all()
    assert (amount[payments.scenario == 0] <= 220).all()


def test_a_compromised_terminal_takes_only_frauds(payments: Payments) -> None:
    """Scenario 2: from a spell's first payment to its last, at most 28 days, everything paid there is fraud."""
    terminal, day = payments.columns["terminal_id"], payments.days()
    checked = 0

    for name in np.unique(terminal[payments.scenario == 2]):
        struck = day[(terminal == name) & (payments.scenario == 2)]
        if struck.max() - struck.min() < COMPROMISED_FOR:  # longer than that is more than one spell
            within = (terminal == name) & (day >= struck.min()) & (day <= struck.max())
            assert payments.fraud[within].all()
            checked += 1

    assert checked > 5


def test_a_leaked_card_shows_larger_amounts(payments: Payments) -> None:
    """Frauds with leaked cards are of five times the amount, so that amounts tell them apart on average."""
    amount = payments.columns["amount"]

    assert 3 < amount[payments.scenario == 3].mean() / amount[payments.scenario == 0].mean() < 7


def test_frauds_grow_with_the_population() -> None:
    """Twice as many customers and terminals have about the same share of frauds: the daily numbers are scaled."""
    shares = [simulate(5, customers=n, terminals=2 * n).fraud.mean() for n in (600, 1_200)]

    assert shares[0] == pytest.approx(shares[1], rel=0.5)


def test_the_same_seed_gives_the_same_events() -> None:
    """A seed stands for one stream, to the byte; another seed for another."""
    once, again, other = (simulate(seed, days=1, customers=100, terminals=200) for seed in (1, 1, 2))

    assert json.dumps(once.events()) == json.dumps(again.events())
    assert (once.scenario == again.scenario).all()
    assert json.dumps(once.events()) != json.dumps(other.events())


def test_events_are_those_of_the_days_asked_for_in_order(payments: Payments) -> None:
    """The first day starts at `start_ms`; ids are unique; times are whole milliseconds and never go back."""
    time = payments.columns["event_time"]

    assert time.dtype == np.int64
    assert MONDAY_2025_03_03 <= time[0] < MONDAY_2025_03_03 + DAY_MS
    assert set(payments.days().tolist()) == set(range(WARM_UP + 7))
    assert (np.diff(time) >= 0).all()
    assert len(set(payments.columns["transaction_id"])) == len(payments)


def test_weekend_and_night_are_those_of_the_calendar(payments: Payments) -> None:
    """Weekend is Saturday and Sunday, night is before 7 o'clock, both in UTC."""
    for row in range(0, len(payments), len(payments) // 500):
        moment = datetime.fromtimestamp(int(payments.columns["event_time"][row]) / 1000, UTC)
        assert payments.columns["weekend"][row] == (moment.weekday() >= 5)
        assert payments.columns["night"][row] == (moment.hour <= 6)


def test_categories_are_from_their_lists(payments: Payments) -> None:
    """Channel, category, country and card type hold the documented words, all of them, and no null."""
    columns = payments.columns

    assert set(columns["channel"]) == set(CHANNELS)
    assert set(columns["merchant_category"]) == set(CATEGORIES)
    assert set(columns["card.country"]) == set(COUNTRIES)
    assert set(columns["card.type"]) == set(CARD_TYPES)
    assert sum(share for share, _ in CATEGORIES.values()) == pytest.approx(1)


def test_some_ages_are_unknown(payments: Payments) -> None:
    """`customer_age_days` is null in about 3 % of the events, and never negative elsewhere."""
    age = payments.columns["customer_age_days"]

    assert np.isnan(age).mean() == pytest.approx(0.03, abs=0.01)
    assert np.nanmin(age) >= 0


def test_leaked_cards_are_used_online(payments: Payments) -> None:
    """Frauds with leaked cards are made online more often than genuine payments, but not only online."""
    online = payments.columns["channel"] == "online"

    assert 2 * online[payments.scenario == 0].mean() < online[payments.scenario == 3].mean() < 1


def test_an_event_is_json_with_real_nesting_and_no_label(payments: Payments) -> None:
    """Events nest the card, carry None for null, survive JSON unchanged, and say nothing of fraud or scenario."""
    events = payments.take(np.arange(300)).events()

    assert json.loads(json.dumps(events, allow_nan=False)) == events
    assert all(set(event["card"]) == {"country", "type"} for event in events)
    assert any(event["customer_age_days"] is None for event in events)
    assert not {"fraud", "scenario"} & {key for event in events for key in event}


def test_frame_and_events_hold_the_same(payments: Payments) -> None:
    """The frame's dotted columns are the events' nested fields: training and stream see the same values."""
    few = payments.take(np.arange(300))
    frame, events = few.frame(), few.events()

    assert list(frame.columns) == list(payments.columns)
    assert frame["card.country"].tolist() == [event["card"]["country"] for event in events]
    assert frame["amount"].tolist() == [event["amount"] for event in events]
    assert frame["customer_age_days"].isna().tolist() == [event["customer_age_days"] is None for event in events]


def test_a_world_where_nobody_can_pay_is_refused() -> None:
    """No customer near any terminal: the error says so, instead of an empty stream."""
    with pytest.raises(ValueError, match="nobody paid: 1 customers, 0 terminals"):
        simulate(1, customers=1, terminals=0)
