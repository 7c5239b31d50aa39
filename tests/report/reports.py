"""Reports made of simulated events, as the commands make them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from scorer.evaluation.assess import Case, Earlier, Event, assess
from scorer.evaluation.findings import Costs, Drift, Flow, Report, Side, Subject
from scorer.evaluation.fit import Goal
from scorer.evaluation.propose import propose
from scorer.evaluation.resample import Bootstrap
from scorer.evaluation.scored import Scored, band_of
from tests.evaluation.events import simulated

BANDS = {"review": 0.35, "block": 0.75}
COSTS = Costs(false_positive=40.0, missed=0.0, amount="amount", review=5.0, reviewed=["review"])
HOSTILE = "</script><script>faults.push('ran')</script><img src=x onerror=\"faults.push('ran')\">"


def case(scored: Scored, *, word: str = "payments", costs: Costs | None = None, capacity: float | None = None) -> Case:
    """Return a case without another side."""
    side = Side("this replay", word, "7", "ab" * 32, "0123456789ab", BANDS, "approve")
    band = band_of(scored.score, list(BANDS.values()))
    counts = dict(zip(["approve", *BANDS], np.bincount(band, minlength=3).tolist(), strict=True))
    first, last = int(scored.time.min()), int(scored.time.max())
    return Case(
        kind="replay",
        made=1_760_000_000_000,
        version="0.1.0",
        subject=Subject(word, "localhost:9092", {0: (0, len(scored))}, first, last, scored.days or 1.0),
        side=side,
        flow=Flow(len(scored) + 3, len(scored), counts, {"malformed": 3}),
        scored=scored,
        band=band,
        event=lambda row: Event(f"{word}-{row}", 0, row),
        fields={word: (np.arange(len(scored)) % 3, [word, "b", "c"])},
        drift=[Drift("field", word, 0.31), Drift("score", "score", 0.02)],
        costs=costs,
        capacity=capacity,
    )


def beside(made: Case, *, seed: int = 1) -> Case:
    """Return a case whose events another model decided before, a few of them not."""
    random = np.random.default_rng(seed)
    before = np.clip(made.scored.score + random.normal(0, 0.05, len(made.scored)), 0, 1).astype(np.float32)
    decided = random.random(len(before)) < 0.99
    band = band_of(before, list(BANDS.values()))
    earlier = Earlier(made.side, made.names, decided, before, band, missing=2, extra=int((~decided).sum()))
    return replace(made, earlier=earlier)


def full() -> Report:
    """Return a report that has everything."""
    scored = simulated(4_000, rate=0.1, unknown=0.1)
    made = beside(case(scored, costs=COSTS, capacity=20.0))
    goal = Goal(costs=COSTS, capacity=20.0)
    proposal = propose(scored, "payments", BANDS, "approve", goal, bootstrap=Bootstrap(rounds=20))
    return assess(replace(made, proposal=proposal))


def unlabelled() -> Report:
    """Return a comparison without labels or costs."""
    return assess(beside(case(simulated(2_000, unknown=1.0))))


def hostile() -> Report:
    """Return a report all of whose words come from somebody who means harm."""
    return assess(beside(case(simulated(500, rate=0.2), word=HOSTILE)))


def lone(score: float = 0.5) -> Report:
    """Return a report of one event without a label."""
    return assess(
        case(Scored(*(np.array(one) for one in ([5], np.array([score], np.float32), np.array([-1], np.int8)))))
    )


@cache
def all_kinds() -> Sequence[Report]:
    """Return one of each."""
    calm = simulated(300, rate=0.0)
    return [full(), unlabelled(), hostile(), lone(), lone(0.0), lone(1.0), assess(case(calm))]
