"""Bands fitted on one week of the Handbook's transactions, held against brute force and against the week after.

usage: python -m tests.handbook.thresholds DATA.parquet

A logistic regression is trained on the week before the two; the data are simulated, and not part of this project.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from scorer.evaluation.effect import prices
from scorer.evaluation.findings import Costs, Proposal
from scorer.evaluation.fit import Goal
from scorer.evaluation.propose import propose
from scorer.evaluation.resample import Bootstrap
from scorer.evaluation.scored import Scored, band_of
from tests.handbook.protocol import FEATURES, LABEL, TEST, TIME, WEEK, day_of, read

TODAY = {"review": 0.3, "block": 0.8}
COSTS = Costs(false_positive=40.0, missed=0.0, amount="TX_AMOUNT", review=5.0, reviewed=["review"])
CAPACITIES = (None, 20.0, 50.0, 100.0)
WITHIN = 1.01
"""Times the least cost that a fit may cost."""


def main() -> None:
    """Train, fit with each capacity, print; ends with 1 where a fit is not what it says."""
    frame = read(Path(sys.argv[1]))
    fitted_on, after = weeks(frame)
    table = Table(title="bands fitted on a week of the Handbook's simulated transactions")
    for name in ("capacity", "bands", "cost", "least cost", "reviews/day", "interval", "week after"):
        table.add_column(name)
    wrong = 0
    for capacity in CAPACITIES:
        goal = Goal(costs=COSTS, capacity=capacity)
        found = propose(fitted_on, "transactions", TODAY, "approve", goal, bootstrap=Bootstrap())
        least, coming = brute_force(fitted_on, capacity), reviews(after, found.bands)
        wrong += not holds(found, least, coming)
        table.add_row(*_row(found, capacity, least, coming))
    Console(highlight=False, width=120).print(table)
    raise SystemExit(int(wrong > 0))


def weeks(frame: pd.DataFrame) -> tuple[Scored, Scored]:
    """Return the week to fit on and the one after it, scored by a model of the week before them."""
    day = day_of(frame, TEST)
    train = frame[(day >= 0) & (day < WEEK)]
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(train[FEATURES], train[LABEL])
    parts = [frame[(day >= WEEK * week) & (day < WEEK * (week + 1))] for week in (1, 2)]
    one, two = (_scored(part, model.predict_proba(part[FEATURES])[:, 1]) for part in parts)
    return one, two


def brute_force(scored: Scored, capacity: float | None, grid: int = 1500) -> float:
    """Return the least cost over every pair of edges of a grid: the frauds' scores, and quantiles of all."""
    quantiles = np.quantile(scored.score, np.linspace(0.9, 1, grid), method="nearest")
    edges = np.unique(np.concatenate([scored.score[scored.fraud], quantiles, [0.99999]]).astype(np.float32))
    most = np.inf if capacity is None else capacity * (scored.days or 1.0)
    names = ["approve", *TODAY]
    place = np.searchsorted(edges, scored.score, side="right")  # edges at or below each score
    by_band = [prices(scored, np.full(len(scored), band), names, COSTS) for band in range(3)]
    upto = [np.cumsum(np.bincount(place, each, len(edges) + 1)) for each in by_band]
    counts = np.cumsum(np.bincount(place, minlength=len(edges) + 1))
    lower, upper = np.triu_indices(len(edges))
    total = upto[0][lower] + upto[1][upper] - upto[1][lower] + upto[2][-1] - upto[2][upper]
    return float(total[counts[upper] - counts[lower] <= most].min())


def reviews(scored: Scored, bands: Mapping[str, float]) -> float:
    """Return the events a day that people would have had to look at."""
    band = band_of(scored.score, list(bands.values()))
    return float(np.count_nonzero(band == 1)) / WEEK


def holds(found: Proposal, least: float, coming: float) -> bool:
    """Return whether the fit costs about the least there is, and the week after was foreseen."""
    interval = found.intervals["reviews_per_day"]
    return found.intervals["cost"].value <= least * WITHIN and interval.low <= coming <= interval.high


def _scored(frame: pd.DataFrame, score: NDArray[np.float64]) -> Scored:
    return Scored(
        frame[TIME].to_numpy("datetime64[ms]").astype(np.int64),
        score.astype(np.float32),
        frame[LABEL].to_numpy().astype(np.int8),
        frame["TX_AMOUNT"].to_numpy().astype(np.float64),
    )


def _row(found: Proposal, capacity: float | None, least: float, coming: float) -> list[str]:
    interval = found.intervals["reviews_per_day"]
    return [
        "none" if capacity is None else f"{capacity:g}",
        ", ".join(f"{name} {edge:g}" for name, edge in found.bands.items()),
        f"{found.intervals['cost'].value:,.0f}",
        f"{least:,.0f}",
        f"{interval.value:.1f}",
        f"{interval.low:.1f} to {interval.high:.1f}",
        f"{coming:.1f}",
    ]


if __name__ == "__main__":
    main()
