"""Simulated card payments: a seed in, labelled `Payments` out. None of it is real; say "simulated" with every figure.

The world is written anew from the description in Le Borgne, Siblini, Lebichot, Bontempi, *Reproducible Machine Learning
for Credit Card Fraud Detection - Practical Handbook* (ULB, 2022): customers pay at terminals near them, around midday,
and three kinds of fraud befall them. `channel`, `merchant_category`, `customer_age_days` and `card` are our invention:
the Handbook has none of them. They are here so that categories, nulls and nested objects have to be dealt with.

The rule that must hold: no field of an event knows more than was known at its time. A payment's label arrives seven
days late, so a terminal's risk is counted over a window that ended seven days before.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

Ints: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]

DAY_MS = 86_400_000
WINDOWS = (1, 7, 30)
"""Lengths, in days, of the windows that customers and terminals are summed up over."""
LABEL_DELAY = 7
"""Days until a fraud is known to be one."""
WARM_UP = max(WINDOWS) + LABEL_DELAY
"""Days simulated before the first event that is given, so that its longest window is full."""

COMPROMISED_A_DAY, COMPROMISED_FOR = 2 / 10_000, 28
LEAKED_A_DAY, LEAKED_FOR = 3 / 5_000, 14
"""The Handbook's two terminals of 10,000 and three cards of 5,000 that are struck each day, and for how many days."""

MONDAY_2025_03_03 = 1_740_960_000_000
"""Midnight UTC, in milliseconds since the epoch."""

CATEGORIES = {
    "grocery": (0.22, 0.05),
    "restaurant": (0.16, 0.05),
    "fuel": (0.08, 0.00),
    "fashion": (0.10, 0.35),
    "pharmacy": (0.06, 0.05),
    "electronics": (0.06, 0.50),
    "home": (0.07, 0.25),
    "transport": (0.07, 0.30),
    "travel": (0.04, 0.80),
    "entertainment": (0.06, 0.40),
    "services": (0.05, 0.20),
    "digital": (0.03, 1.00),
}
"""Invented: for each category its share of terminals, and the share of their payments that are made online."""
CHANNELS = ("chip", "contactless", "online", "magstripe")
COUNTRIES = {"BE": 0.80, "FR": 0.06, "NL": 0.05, "DE": 0.03, "LU": 0.02, "GB": 0.02, "US": 0.01, "ES": 0.01}
CARD_TYPES = {"debit": 0.70, "credit": 0.25, "prepaid": 0.05}
CONTACTLESS_CENTS = 50_00
LEAKED_ONLINE = 0.5
"""Invented: how many of a leaked card's frauds are forced online, whatever the merchant."""
AGE_UNKNOWN = 0.03


@dataclass(frozen=True, slots=True)
class Payments:
    """Payments in order of time: the events' fields as columns, and beside them what no event and no model may hold.

    `columns` maps a field's path (`card.country` is `country` inside the object `card`) to its values: float64 with NaN
    for null, int64, bool, or object arrays of `str`. `fraud` is 0 or 1, `scenario` 0 to 3, both int8. All are (n,).
    """

    columns: Mapping[str, NDArray[Any]]
    fraud: NDArray[np.int8]
    scenario: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.fraud)

    def take(self, rows: NDArray[Any]) -> Payments:
        """Return the payments that `rows` chooses: a bool mask of shape (n,), or positions."""
        columns = {path: column[rows] for path, column in self.columns.items()}
        return Payments(columns, self.fraud[rows], self.scenario[rows])

    def days(self) -> Ints:
        """Return each payment's day, counted from the day of the first one (int64, shape (n,))."""
        day: Ints = self.columns["event_time"] // DAY_MS
        return day - day[:1]

    def events(self) -> list[dict[str, Any]]:
        """Return the events as a producer sends them: nested objects, None for null, no label."""
        names = [path.split(".") for path in self.columns]
        values = [_nullable(column) for column in self.columns.values()]
        return [_nested(names, row) for row in zip(*values, strict=True)]

    def frame(self) -> pd.DataFrame:
        """Return the events as a DataFrame, one column a path; the labels are not in it."""
        import pandas as pd

        return pd.DataFrame(dict(self.columns))


def simulate(
    seed: int, *, days: int = 21, customers: int = 2_500, terminals: int = 5_000, start_ms: int = MONDAY_2025_03_03
) -> Payments:
    """Return `days` days of payments, by default some 100,000 with about 1 % fraud; the same seed gives the same ones.

    `start_ms` is the midnight, in milliseconds since the epoch, UTC, that the first given day begins with. Another
    `WARM_UP` days are simulated before it and only live on in the windows. Raises ValueError where nobody pays.
    """
    rng = np.random.default_rng(seed)
    paid = _pay(rng, customers, terminals, WARM_UP + days)
    scenario, cents = _defraud(rng, paid, customers, terminals, WARM_UP + days)
    origin = start_ms - WARM_UP * DAY_MS
    columns = {
        "transaction_id": _ids("tx", np.arange(len(cents)), 9),
        "event_time": origin + paid.time,
        "customer_id": _ids("c", paid.customer, 5),
        "terminal_id": _ids("t", paid.terminal, 5),
        "amount": cents / 100,
        **_calendar(origin + paid.time),
        **customer_windows(paid.customer, paid.time, cents),
        **terminal_windows(paid.terminal, paid.time, scenario > 0),
        **_invented(rng, paid, cents, scenario),
    }
    everything = Payments(columns, (scenario > 0).astype(np.int8), scenario)
    return everything.take(paid.time >= WARM_UP * DAY_MS)


@dataclass(frozen=True, slots=True)
class _Paid:
    """Who paid where, when (milliseconds since the simulation's first midnight) and how much, in order of time."""

    customer: Ints
    terminal: Ints
    time: Ints
    cents: Ints


def _pay(rng: Generator, customers: int, terminals: int, days: int) -> _Paid:
    """Let every customer pay, at terminals within 5 units of the customer in a square of 100 by 100."""
    homes, shops = rng.uniform(0, 100, (customers, 2)), rng.uniform(0, 100, (terminals, 2))
    near = [np.flatnonzero(np.square(shops - home).sum(axis=1) < 5**2) for home in homes]
    choices = np.array([len(found) for found in near])
    mean_amount, daily = rng.uniform(5, 100, customers), rng.uniform(0, 4, customers)

    # A customer with no terminal nearby never pays.
    counts = rng.poisson(daily * (choices > 0), (days, customers))
    customer = np.repeat(np.tile(np.arange(customers), days), counts.ravel())
    day = np.repeat(np.repeat(np.arange(days), customers), counts.ravel())
    second = rng.normal(86_400 / 2, 20_000, len(day)).astype(np.int64)
    amount = rng.normal(mean_amount[customer], mean_amount[customer] / 2)
    amount = np.where(amount < 0, rng.uniform(0, 2 * mean_amount[customer]), amount)
    # Joined, the lists of terminals nearby are one array, in which each customer has a stretch.
    first = np.cumsum(choices) - choices
    terminal = np.concatenate(near)[first[customer] + rng.integers(0, choices[customer])]

    # What falls outside its day is dropped.
    kept = np.flatnonzero((second > 0) & (second < 86_400))
    if not len(kept):
        raise ValueError(f"nobody paid: {customers} customers, {terminals} terminals are too few for anyone to be near")
    time = (day * 86_400 + second) * 1000
    order = kept[np.argsort(time[kept], kind="stable")]
    return _Paid(customer[order], terminal[order], time[order], np.rint(amount * 100).astype(np.int64)[order])


def _defraud(rng: Generator, paid: _Paid, customers: int, terminals: int, days: int) -> tuple[NDArray[np.int8], Ints]:
    """Return each payment's scenario (0: genuine) and its amount in cents.

    1: any amount over 220. 2: everything paid at a compromised terminal, for 28 days. 3: a third of what is paid with a
    leaked card, at five times the amount, for 14 days. Where several apply, the last one names it.
    """
    day = paid.time // DAY_MS
    compromised = _spells(rng, terminals, days, COMPROMISED_A_DAY * terminals, COMPROMISED_FOR)[paid.terminal, day]
    leaked = _spells(rng, customers, days, LEAKED_A_DAY * customers, LEAKED_FOR)[paid.customer, day]
    abused = leaked & (rng.random(len(day)) < 1 / 3)
    scenario = np.select([abused, compromised, paid.cents > 220_00], [3, 2, 1], 0).astype(np.int8)
    return scenario, np.where(abused, 5 * paid.cents, paid.cents)


def _spells(rng: Generator, population: int, days: int, a_day: float, length: int) -> Bools:
    """Return who is struck on which day (bool, (population, days)): `a_day` new ones on average, for `length` days.

    Spells also begin before the first day, so that the first day is as bad as any other.
    """
    struck = np.zeros((population, days), np.bool_)
    for begin in range(1 - length, days):
        # Rounded up as often as the fraction says: half a terminal a day is one every other day.
        chosen = rng.choice(population, int(a_day + rng.random()), replace=False)
        struck[chosen, max(begin, 0) : begin + length] = True
    return struck


def _calendar(event_time: Ints) -> dict[str, Bools]:
    """Return whether it is Saturday or Sunday, and whether before 7 o'clock (UTC)."""
    # Day 0 of the epoch was a Thursday: weekday 3, counted from Monday.
    weekday = (event_time // DAY_MS + 3) % 7
    return {"weekend": weekday >= 5, "night": event_time % DAY_MS < 7 * 3_600_000}


def customer_windows(customer: Ints, time: Ints, cents: Ints) -> dict[str, NDArray[Any]]:
    """Return count (int64) and mean amount (float64) of the customer's payments over the last 1, 7 and 30 days.

    All arguments and results have shape (n,), in order of `time` (milliseconds). A window of n days is (t - n d, t] and
    holds the payment itself, but none that comes behind it in the same millisecond.
    """
    windows: dict[str, NDArray[Any]] = {}
    for days in WINDOWS:
        count, total = _window(customer, time, cents, days=days, delay=0)
        windows[f"customer_tx_{days}d"] = count
        windows[f"customer_mean_amount_{days}d"] = total / count / 100
    return windows


def terminal_windows(terminal: Ints, time: Ints, fraud: Bools) -> dict[str, NDArray[Any]]:
    """Return count (int64) and share of frauds (float64, 0 for none) of the terminal's payments with known labels.

    All arguments and results have shape (n,), in order of `time` (milliseconds). A window of n days is
    (t - 7 d - n d, t - 7 d]: whatever came later is not labelled yet.
    """
    windows: dict[str, NDArray[Any]] = {}
    for days in WINDOWS:
        count, frauds = _window(terminal, time, fraud.astype(np.int64), days=days, delay=LABEL_DELAY)
        windows[f"terminal_tx_{days}d"] = count
        windows[f"terminal_risk_{days}d"] = frauds / np.maximum(count, 1)
    return windows


def _window(entity: Ints, time: Ints, values: Ints, *, days: int, delay: int) -> tuple[Ints, Ints]:
    """Return count and sum of `values` over the entity's (t - delay - days, t - delay], for every row."""
    # One sorted axis for all entities: each has a stretch of its own, longer than any window reaches back. The values
    # are integers, so differences of the running sum are exact.
    stretch = int(time[-1]) + (days + delay) * DAY_MS + 1
    axis = entity * stretch + time
    order = np.argsort(axis, kind="stable")
    axis = axis[order]
    running = np.concatenate([[0], np.cumsum(values[order])])
    begin = np.searchsorted(axis, axis - (days + delay) * DAY_MS, side="right")
    # Without a delay the row itself is the last: what shares its millisecond but comes behind it is not in yet.
    end = np.searchsorted(axis, axis - delay * DAY_MS, side="right") if delay else np.arange(1, len(axis) + 1)
    count, total = np.empty_like(time), np.empty_like(time)
    count[order], total[order] = end - begin, running[end] - running[begin]
    return count, total


def _invented(rng: Generator, paid: _Paid, cents: Ints, scenario: NDArray[np.int8]) -> dict[str, NDArray[Any]]:
    """Return the fields that the Handbook does not have."""
    customers, terminals = paid.customer.max() + 1, paid.terminal.max() + 1
    shares, online_shares = np.array(list(CATEGORIES.values())).T
    category = rng.choice(len(CATEGORIES), terminals, p=shares)[paid.terminal]
    online = rng.random(len(cents)) < online_shares[category]
    online |= (scenario == 3) & (rng.random(len(cents)) < LEAKED_ONLINE)
    magstripe = rng.random(len(cents)) < 0.02
    contactless = (cents <= CONTACTLESS_CENTS) & (rng.random(len(cents)) < 0.8)
    channel = np.select([online, magstripe, contactless], [2, 3, 1], 0)

    age = rng.exponential(1_500, customers).astype(np.int64)[paid.customer] + paid.time // DAY_MS
    country = rng.choice(len(COUNTRIES), customers, p=list(COUNTRIES.values()))
    card_type = rng.choice(len(CARD_TYPES), customers, p=list(CARD_TYPES.values()))
    return {
        "channel": _words(CHANNELS)[channel],
        "merchant_category": _words(CATEGORIES)[category],
        "customer_age_days": np.where(rng.random(len(age)) < AGE_UNKNOWN, np.nan, age),
        "card.country": _words(COUNTRIES)[country][paid.customer],
        "card.type": _words(CARD_TYPES)[card_type][paid.customer],
    }


def _words(words: Mapping[str, Any] | tuple[str, ...]) -> NDArray[np.object_]:
    return np.array(list(words), object)


def _ids(prefix: str, numbers: Ints, width: int) -> NDArray[np.object_]:
    return np.array([f"{prefix}-{number:0{width}d}" for number in numbers.tolist()], object)


def _nullable(column: NDArray[Any]) -> list[Any]:
    values: list[Any] = column.tolist()
    return [None if math.isnan(value) else value for value in values] if column.dtype == np.float64 else values


def _nested(names: list[list[str]], row: tuple[Any, ...]) -> dict[str, Any]:
    event: dict[str, Any] = {}
    for (*parents, name), value in zip(names, row, strict=True):
        branch = event
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[name] = value
    return event
