"""Scored events made up for tests: simulated, from a seed."""

from __future__ import annotations

import numpy as np

from scorer.evaluation.scored import Scored
from scorer.evaluation.span import DAY


def simulated(count: int, *, seed: int = 0, days: float = 14.0, rate: float = 0.05, unknown: float = 0.0) -> Scored:
    """Return events whose frauds score higher than the others, with amounts, evenly over some days."""
    random = np.random.default_rng(seed)
    fraud = random.random(count) < rate
    score = np.where(fraud, random.beta(4, 2, count), random.beta(1.5, 8, count)).astype(np.float32)
    label = np.where(random.random(count) < unknown, -1, fraud).astype(np.int8)
    time = np.sort(random.integers(0, int(days * DAY), count)) + 1_700_000_000_000
    amount = np.where(random.random(count) < 0.02, np.nan, random.lognormal(4, 1, count))
    return Scored(time, score, label, amount)
