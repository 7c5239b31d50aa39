"""How sure a fit is: bootstrap intervals of its edges, of what they do, and of a coming week's rates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from scorer.errors import SelectionError
from scorer.evaluation.findings import Confusion, Interval
from scorer.evaluation.fit import Problem, solve
from scorer.evaluation.scored import Mask, Scored
from scorer.evaluation.span import DAY

WEEK = 7
"""Days over which a coming rate is averaged."""


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """How intervals are made: `rounds` drawings, begun from `seed`, of which the share `confidence` lies within."""

    rounds: int = 500
    seed: int = 0
    confidence: float = 0.95

    def generator(self) -> np.random.Generator:
        """Return a generator at its beginning."""
        return np.random.default_rng(self.seed)

    def interval(self, value: float, drawn: NDArray[np.floating]) -> Interval:
        """Return the value between the quantiles of what was drawn, as wide as to hold it."""
        tail = (1.0 - self.confidence) / 2.0
        low, high = np.quantile(drawn, [tail, 1.0 - tail])
        return Interval(value, min(float(low), value), max(float(high), value))


def of_edges(problem: Problem, bands: Mapping[str, float], bootstrap: Bootstrap) -> dict[str, Interval]:
    """Return the interval of every edge that was sought, `edge.NAME`, by seeking it again on events drawn anew."""
    random, found = bootstrap.generator(), []
    for _ in range(bootstrap.rounds):
        try:
            found.append(solve(replace(problem, cuts=problem.cuts.drawn(random))))
        except SelectionError:  # what the events barely allow, a drawing of them may not
            continue
    middles = (problem.cuts.low + problem.cuts.high) / 2
    drawn = {name: middles[[chosen[name] for chosen in found]] for name in (found[0] if found else ())}
    return {f"edge.{name}": bootstrap.interval(bands[name], values) for name, values in drawn.items()}


def of_confusion(found: Confusion, prices: NDArray[np.float64], bootstrap: Bootstrap) -> dict[str, Interval]:
    """Return the intervals of precision, recall and cost of bands that stay as they are; `prices` are the events'.

    Those of precision and recall are Jeffreys' (Brown, Cai, DasGupta, Statistical Science 2001), which say something
    where no mistake was seen, too. That of the cost is the Poisson bootstrap's limit: its variance is the sum of the
    squared prices.
    """
    random, half, rounds = bootstrap.generator(), 0.5, bootstrap.rounds
    hits, alarms, missed = (count + half for count in (found.true_positives, found.false_positives, found.missed))
    intervals = {}
    if found.precision is not None:
        intervals["precision"] = bootstrap.interval(found.precision, random.beta(hits, alarms, rounds))
    if found.recall is not None:
        intervals["recall"] = bootstrap.interval(found.recall, random.beta(hits, missed, rounds))
    if found.cost is not None:
        reach = NormalDist().inv_cdf((1.0 + bootstrap.confidence) / 2.0) * float(np.sqrt((prices**2).sum()))
        intervals["cost"] = Interval(found.cost, max(found.cost - reach, 0.0), found.cost + reach)
    return intervals


def of_rate(scored: Scored, counted: Mask, days: float, bootstrap: Bootstrap) -> Interval:
    """Return the mean of events a day, and where that of a coming week will be, if days go on to differ as they did.

    Drawn are seven days for the week to come and as many as there were for the mean's own error, from the counts of
    whole days; where there are not two, counts are taken to be Poisson.
    """
    value = float(np.count_nonzero(counted)) / days
    random, rounds = bootstrap.generator(), bootstrap.rounds
    counts = _daily(scored, counted)
    size = len(counts)
    if size < 2:
        drawn = random.poisson(value * WEEK, rounds) / WEEK + random.poisson(value * days, rounds) / days - value
        return bootstrap.interval(value, np.maximum(drawn, 0.0))
    spread = (counts - counts.mean()) * np.sqrt(size / (size - 1))  # the variance of days, not that of these days
    coming = random.choice(spread, (rounds, WEEK)).mean(axis=1)
    own = random.choice(spread, (rounds, size)).mean(axis=1)
    return bootstrap.interval(value, np.maximum(value + coming - own, 0.0))


def _daily(scored: Scored, counted: Mask) -> NDArray[np.float64]:
    """Return how many of the events fell on each whole day of their span."""
    span = scored.span
    if span is None:
        return np.zeros(0)
    whole = (span.last - span.first + DAY // 10) // DAY  # a night without events may end the last one
    times = scored.time[counted]
    day = (times[(times >= span.first) & (times <= span.last)] - span.first) // DAY
    return np.bincount(day[day < whole], minlength=whole).astype(np.float64)
