"""Bands from money: the edges that cost least, or that meet a precision, a recall, or people's capacity.

The cost of bands is a sum over events, so that of ascending edges e₁ ≤ … ≤ eₖ it is Σ fᵢ(eᵢ): what edge i costs by
moving all events above it from one band to the next. Its least is found exactly, over every gap between scores, by
dynamic programming: best(i, e) = fᵢ(e) + min over e' ≤ e of best(i-1, e').
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from scorer.errors import SelectionError
from scorer.evaluation.cuts import Cuts, Sums, above
from scorer.evaluation.findings import Costs
from scorer.evaluation.scored import Scored

LEAST = 30
"""Labelled frauds, and labelled others, that a fit needs: of fewer, an interval says only that nothing is known."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What is wanted: least `costs`, or a `precision`, a `recall`, or a `capacity` alone, met by one band's edge.

    The capacity is people's, in reviews a day; it may go with costs. `band` names the one whose edge is sought.
    """

    costs: Costs | None = None
    precision: float | None = None
    recall: float | None = None
    capacity: float | None = None
    band: str | None = None

    @property
    def words(self) -> str:
        """Say it in words."""
        within = f"at most {self.capacity:,g} reviews a day" if self.capacity is not None else ""
        if self.costs:
            return f"least cost, {within}" if within else "least cost"
        if self.precision is not None:
            return f"a precision of at least {self.precision:g}"
        return within if self.recall is None else f"a recall of at least {self.recall:g}"


@dataclass(frozen=True, slots=True)
class Problem:
    """Gaps between scores, today's bands, ascending, what is wanted, and the days in which the events came."""

    cuts: Cuts
    bands: Mapping[str, float]
    goal: Goal
    days: float


def problem(scored: Scored, bands: Mapping[str, float], goal: Goal, days: float) -> Problem:
    """Return what is to be solved. Raises SelectionError where labels are too few, or the goal is of no use."""
    frauds, others = int(np.count_nonzero(scored.fraud)), int(np.count_nonzero(scored.legitimate))
    if min(frauds, others) < LEAST:
        raise SelectionError(
            f"labels are too few to fit bands on: {frauds:,} frauds and {others:,} others among {len(scored):,} "
            f"decided events, and it takes {LEAST} of each; take a longer slice, or wait for more labels"
        )
    if goal.costs and goal.capacity is not None and _shape(bands, goal.costs) is None:
        raise SelectionError(
            "a capacity beside costs is fitted for one band, or for two of which people review one; "
            f"here are {', '.join(bands)}, reviewed {', '.join(goal.costs.reviewed)}"
        )
    losses = scored.losses(goal.costs) if goal.costs else np.zeros(len(scored))
    return Problem(Cuts.of(scored, losses, len(bands)), bands, goal, days)


def solve(problem: Problem) -> dict[str, int]:
    """Return the gap of each edge that is sought, by its band; raises SelectionError where the goal cannot be met."""
    if problem.goal.costs:
        return dict(zip(problem.bands, _cheapest(problem, problem.goal.costs), strict=True))
    name = problem.goal.band or next(iter(problem.bands))
    return {name: _single(problem, name)}


def fitted(problem: Problem, chosen: Mapping[str, int]) -> dict[str, float]:
    """Return today's bands with the chosen edges; raises SelectionError where one would cross another."""
    edges = dict(zip(chosen, problem.cuts.edges(list(chosen.values())), strict=True))
    bands = {name: edges.get(name, edge) for name, edge in problem.bands.items()}
    as_scores = [float(np.float32(edge)) for edge in bands.values()]
    if as_scores != sorted(set(as_scores)):
        listed = ", ".join(f"{name} {edge:g}" for name, edge in bands.items())
        raise SelectionError(f"{problem.goal.words}: the edge found crosses another band ({listed}); move that first")
    return bands


def _cheapest(problem: Problem, costs: Costs) -> list[int]:
    moves = _moves(problem.cuts, list(problem.bands), costs)
    if problem.goal.capacity is None:
        return _least(moves)
    events, most = above(problem.cuts.events), problem.goal.capacity * problem.days
    if _shape(problem.bands, costs) == "lower":
        return _window(moves, events, most)
    return _least([*moves[:-1], np.where(events <= most, moves[-1], np.inf)])


def _shape(bands: Mapping[str, float], costs: Costs) -> str | None:
    """Return which band people review: the `upper` one, which may be the only one, or the `lower` one of two."""
    reviewed = [name in costs.reviewed for name in bands]
    return {(True,): "upper", (False, True): "upper", (True, False): "lower"}.get(tuple(reviewed))


def _moves(cuts: Cuts, names: Sequence[str], costs: Costs) -> list[Sums]:
    """Return fᵢ at every gap: what all that lies above it costs in band i, beyond what it costs in the one below."""
    prices = [cuts.losses]  # in no band
    for name in names:
        alarms = costs.false_positive if name == names[-1] else 0.0
        review = costs.review if name in costs.reviewed else 0.0
        prices.append(alarms * cuts.legitimate + review * (cuts.frauds + cuts.legitimate))
    return [above(after - before) for before, after in pairwise(prices)]


def _least(moves: Sequence[Sums]) -> list[int]:
    """Return the arguments of the least Σ fᵢ(pᵢ) with p₁ ≤ … ≤ pₖ; of equal ones, the highest edges."""
    total, came = np.zeros_like(moves[0]), []
    for move in moves:
        total = move + total
        came.append(_last_least(total))
        total = np.minimum.accumulate(total)
    place, chosen = len(total) - 1, []
    for places in reversed(came):
        place = int(places[place])
        chosen.append(place)
    return chosen[::-1]


def _last_least(total: Sums) -> NDArray[np.intp]:
    """Return, up to each place, the last one that has the least of `total`."""
    least = np.minimum.accumulate(total)
    return np.maximum.accumulate(np.where(total == least, np.arange(len(total)), 0))


def _window(moves: Sequence[Sums], events: Sums, most: float) -> list[int]:
    """Return the cheapest gaps of two bands of which the lower one holds at most `most` events.

    The lower edge lies in a window that moves up with the upper one; its cheapest place is at the head of a queue.
    """
    lower, upper, counts = (values.tolist() for values in (*moves, events))
    queue: deque[int] = deque()
    least, chosen = np.inf, [0, 0]
    for place, count in enumerate(counts):
        while queue and lower[queue[-1]] >= lower[place]:
            queue.pop()
        queue.append(place)
        while counts[queue[0]] - count > most:
            queue.popleft()
        price = lower[queue[0]] + upper[place]
        if price <= least:
            least, chosen = price, [queue[0], place]
    return chosen


def _single(problem: Problem, name: str) -> int:
    """Return the gap of one band's edge: the lowest for a precision or a capacity, the highest for a recall."""
    cuts, goal = problem.cuts, problem.goal
    frauds, legitimate = above(cuts.frauds), above(cuts.legitimate)
    if goal.recall is not None:
        share = frauds / (frauds[0] + cuts.below)
        return _met(goal, share, share >= goal.recall, -1)
    if goal.precision is not None:
        alerts = frauds + legitimate
        share = np.divide(frauds, alerts, out=np.zeros_like(frauds), where=alerts > 0)
        return _met(goal, share, share >= goal.precision, 0)
    assert goal.capacity is not None
    rate = _in_band(problem, name) / problem.days
    return _met(goal, rate, rate <= goal.capacity, 0)


def _in_band(problem: Problem, name: str) -> Sums:
    """Return how many events a band holds if its edge is in each gap: those of a higher band are not its own."""
    names, events = list(problem.bands), above(problem.cuts.events)
    higher = names[names.index(name) + 1 :]
    if not higher:
        return events
    gap = int(np.searchsorted(problem.cuts.high, np.float32(problem.bands[higher[0]])))
    return events - (events[gap] if gap < len(events) else 0.0)


def _met(goal: Goal, values: Sums, met: NDArray[np.bool_], which: int) -> int:
    places = np.flatnonzero(met)
    if not len(places):
        best = values.min() if goal.capacity is not None else values.max()
        raise SelectionError(f"{goal.words} cannot be had with these scores: {best:.6g} is the best that an edge gives")
    return int(places[which])
