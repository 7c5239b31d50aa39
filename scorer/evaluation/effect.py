"""Bands and scored events → what they do: alerts, reviews, precision, recall, and what it all costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from scorer.evaluation.cuts import above
from scorer.evaluation.findings import Confusion, Costs, Effect, Histogram, Sweep
from scorer.evaluation.scored import Mask, Scored

MOST_EDGES = 512
"""Edges of a sweep: as many as a slider has pixels."""
NEAR = 96
"""Of them, those that lie around the bands' own."""
ROUND = np.array([*(at / 100 for at in range(1, 100)), 0.001, 0.002, 0.005, 0.0001, 0.999, 0.995], np.float32)
"""Edges that people type."""
BINS = 50

Scores: TypeAlias = NDArray[np.float32]


def effect(scored: Scored, band: NDArray[np.integer], names: Sequence[str], costs: Costs | None, days: float) -> Effect:
    """Return what a side did to the events: `band` indexes `names`, ascending, 0 being no alert; shape (n,)."""
    alert = band > 0
    counts = np.bincount(band, minlength=len(names))
    reviewed = sum(int(counts[at]) for at in _reviewed(names, costs))
    return Effect(
        alerts=int(np.count_nonzero(alert)),
        alerts_per_day=float(np.count_nonzero(alert)) / days,
        reviews_per_day=reviewed / days,
        bands=dict(zip(names, counts.tolist(), strict=True)),
        confusion=confusion(scored, alert, None if costs is None else float(prices(scored, band, names, costs).sum())),
    )


def prices(scored: Scored, band: NDArray[np.integer], names: Sequence[str], costs: Costs) -> NDArray[np.float64]:
    """Return what each event costs, shape (n,); one without a label costs nothing.

    A legitimate event in the highest band costs `false_positive`, any in a reviewed band `review`, and a fraud in no
    band `missed` or its amount.
    """
    alarm = scored.legitimate & (band == len(names) - 1) & (band > 0)
    reviewed = (scored.label >= 0) & np.isin(band, _reviewed(names, costs))
    missed = np.where(band == 0, scored.losses(costs), 0.0)
    paid: NDArray[np.float64] = missed + costs.false_positive * alarm + costs.review * reviewed
    return paid


def default_reviewed(bands: Sequence[str]) -> list[str]:
    """Return the bands that people look at, if nobody says: all but the highest, or the only one."""
    return list(bands[:-1] or bands)


def sweep(scored: Scored, edges: Sequence[float], costs: Costs | None) -> Sweep:
    """Return cumulative figures over the bands' own `edges` and MOST_EDGES of the scores, or all where they are fewer.

    Of more scores: the hundredths, dense quantiles around `edges`, and quantiles of all scores and of the
    frauds', the denser the higher, since alerts are few.
    """
    ordered = np.sort(scored.score)
    grid = _grid(ordered, np.sort(scored.score[scored.fraud]), np.unique(np.array([0.0, *edges], np.float32)))
    losses = scored.losses(costs) if costs else np.zeros(0)
    places = np.searchsorted(grid, scored.score, side="right") - 1

    def reaching(mask: Mask | None, weights: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        here = places if mask is None else places[mask]
        weighed = weights if weights is None or mask is None else weights[mask]
        return above(np.bincount(here, weighed, minlength=len(grid)).astype(np.float64))

    alerts = reaching(None).astype(np.int64)
    higher = len(ordered) - np.searchsorted(ordered, grid, side="right")
    return Sweep(
        edges=[float(edge) for edge in grid],
        alerts=alerts.tolist(),
        labelled=reaching(scored.label >= 0).astype(np.int64).tolist(),
        frauds=reaching(scored.fraud).astype(np.int64).tolist(),
        caught=reaching(scored.fraud, losses).tolist() if costs else [0.0] * len(grid),
        between=(higher - np.append(alerts[1:], 0)).tolist(),
    )


def _grid(ordered: Scores, frauds: Scores, edges: Scores) -> Scores:
    """Return the edges of a sweep, ascending: `edges` among them, and the highest of the `ordered` scores."""
    distinct = np.unique(ordered)
    if len(edges) + len(distinct) <= MOST_EDGES:
        return np.union1d(edges, distinct)
    near = [_near(ordered, edge, NEAR // len(edges)) for edge in edges[edges > 0]]
    grid = np.unique(np.concatenate([edges, distinct[-1:], ROUND[distinct[-1] > ROUND], *near]))
    left = max(MOST_EDGES - len(grid), 0)
    of_frauds = left // 3 if len(frauds) else 0
    grid = np.unique(np.concatenate([grid, _high(ordered, left - of_frauds), _high(frauds, of_frauds)]))
    return np.union1d(grid, _amid(ordered, grid, max(MOST_EDGES - len(grid), 0)))


def _near(ordered: Scores, edge: np.float32, many: int) -> Scores:
    """Return scores on both sides of an edge, the denser the nearer: there edges are tried most."""
    away = np.geomspace(1, len(ordered), many // 2)
    ranks = np.searchsorted(ordered, edge) + np.concatenate([-away, away]).astype(np.intp)
    found: Scores = ordered[ranks[(ranks >= 0) & (ranks < len(ordered))]]
    return found


def _high(ordered: Scores, many: int) -> Scores:
    """Return so many quantiles, the denser the higher."""
    ranks = np.geomspace(1, max(len(ordered), 1), many).round().astype(np.intp)
    found: Scores = ordered[len(ordered) - ranks]
    return found


def _amid(ordered: Scores, grid: Scores, many: int) -> Scores:
    """Return the middle scores of so many of the widest gaps, by events beside those above."""
    first = np.searchsorted(ordered, grid, side="right")
    stop = np.append(np.searchsorted(ordered, grid[1:]), len(ordered))
    share = (stop - first) / (len(ordered) - first + 1)
    widest = np.argsort(-share, kind="stable")[: min(many, np.count_nonzero(share))]
    found: Scores = ordered[(first + stop)[widest] // 2]
    return found


def histogram(score: NDArray[np.float32]) -> Histogram:
    """Return the scores' counts over equal bins of [0, 1]."""
    counts, edges = np.histogram(score, BINS, (0.0, 1.0))
    return Histogram(edges.tolist(), counts.tolist())


def _reviewed(names: Sequence[str], costs: Costs | None) -> list[int]:
    reviewed = costs.reviewed if costs else default_reviewed(names[1:])
    return [at for at, name in enumerate(names) if at and name in reviewed]


def confusion(scored: Scored, alert: Mask, price: float | None) -> Confusion | None:
    """Return labelled events by `alert` and label, with what all of it costs; None without a label."""
    fraud, legitimate = scored.fraud, scored.legitimate
    if not (fraud.any() or legitimate.any()):
        return None
    hits, alarms = int(np.count_nonzero(alert & fraud)), int(np.count_nonzero(alert & legitimate))
    frauds = int(np.count_nonzero(fraud))
    return Confusion(
        true_positives=hits,
        false_positives=alarms,
        missed=frauds - hits,
        true_negatives=int(np.count_nonzero(legitimate)) - alarms,
        precision=hits / (hits + alarms) if hits + alarms else None,
        recall=hits / frauds if frauds else None,
        cost=price,
    )
