"""A fit from beginning to end: events, today's bands, a goal → a Proposal with intervals and a text to paste."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray

from scorer.evaluation.effect import confusion, default_reviewed, effect, prices
from scorer.evaluation.findings import Costs, Effect, Interval, Proposal
from scorer.evaluation.fit import Goal, fitted, problem, solve
from scorer.evaluation.resample import Bootstrap, of_confusion, of_edges, of_rate
from scorer.evaluation.scored import Scored, band_of
from scorer.evaluation.span import warnings

WEEK = 6.5
"""Days that are nearly a week."""


def propose(
    scored: Scored, topic: str, bands: Mapping[str, float], otherwise: str, goal: Goal, *, bootstrap: Bootstrap
) -> Proposal:
    """Return the bands that meet the goal; `bands` are today's, ascending, and name them.

    Raises SelectionError where labels are too few, or the goal cannot be met.
    """
    days = scored.days or 1.0
    posed = problem(scored, bands, goal, days)
    chosen = fitted(posed, solve(posed))
    names = [otherwise, *chosen]
    band = band_of(scored.score, list(chosen.values()))
    found = effect(scored, band, names, goal.costs, days)
    assert found.confusion
    reviewed = np.isin(band, [names.index(name) for name in _reviewed(chosen, goal.costs)])
    paid = prices(scored, band, names, goal.costs) if goal.costs else np.zeros(0)
    intervals = of_edges(posed, chosen, bootstrap) | of_confusion(found.confusion, paid, bootstrap)
    intervals["alerts_per_day"] = of_rate(scored, band > 0, days, bootstrap)
    intervals["reviews_per_day"] = of_rate(scored, reviewed, days, bootstrap)
    own = _of_band(scored, band, names.index(goal.band), days, bootstrap) if goal.band else {}
    intervals |= {f"{figure}.{goal.band}": interval for figure, interval in own.items()}
    told = [_told(goal.band, own, bootstrap.confidence)] if goal.band not in (None, names[1]) else []
    return Proposal(
        topic=topic,
        objective=goal.words,
        bands=chosen,
        otherwise=otherwise,
        effect=found,
        intervals=intervals,
        confidence=bootstrap.confidence,
        yaml=as_yaml(topic, chosen),
        warnings=[*told, *_warnings(scored, goal, found)],
    )


def kept(scored: Scored, topic: str, bands: Mapping[str, float], otherwise: str) -> Proposal:
    """Return bands that were carried over to these scores: what they do, without costs or intervals."""
    band = band_of(scored.score, list(bands.values()))
    return Proposal(
        topic=topic,
        objective="the same share of events in each band as before",
        bands=dict(bands),
        otherwise=otherwise,
        effect=effect(scored, band, [otherwise, *bands], None, scored.days or 1.0),
        intervals={},
        confidence=0.0,
        yaml=as_yaml(topic, bands),
        warnings=[],
    )


def as_yaml(topic: str, bands: Mapping[str, float]) -> str:
    """Return the bands as the configuration has them."""
    listed = "".join(
        f"      {_word(name)}: {np.format_float_positional(edge, trim='0')}\n" for name, edge in bands.items()
    )
    return f"topics:\n  {_word(topic)}:\n    bands:\n{listed}"


def _word(text: str) -> str:
    """Return a text as YAML; in JSON's quotes where it could be read as anything else."""
    plain = text.replace("-", "").replace("_", "").isalpha() and text.isascii()
    words = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}
    return text if plain and text[0].isalpha() and text.lower() not in words else msgspec.json.encode(text).decode()


def _reviewed(bands: Mapping[str, float], costs: Costs | None) -> list[str]:
    return costs.reviewed if costs else default_reviewed(list(bands))


def _of_band(scored: Scored, band: NDArray[np.intp], at: int, days: float, bootstrap: Bootstrap) -> dict[str, Interval]:
    """Return what the goal's own band does: precision and recall of events in it or higher, the rate of those in it."""
    found = confusion(scored, band >= at, None)
    assert found
    rate = of_rate(scored, band == at, days, bootstrap)
    return of_confusion(found, np.zeros(0), bootstrap) | {"events_per_day": rate}


def _told(band: str, own: Mapping[str, Interval], confidence: float) -> str:
    """Say in words what a band does that was named: the figures of all alerts are those of the lowest one."""
    said = {
        name: f"{one.value:.4g} ({confidence:.0%} interval {one.low:.4g} to {one.high:.4g})"
        for name, one in own.items()
    }
    rate = said.pop("events_per_day")
    shares = ", ".join(f"{name} {text}" for name, text in said.items())
    return f"of band {band} and higher: {shares}; in {band} alone, events a day {rate}"


def _warnings(scored: Scored, goal: Goal, found: Effect) -> list[str]:
    said = []
    labelled = int(np.count_nonzero(scored.label >= 0))
    if labelled < len(scored):
        said.append(
            f"{labelled / len(scored):.1%} of the events have a label: precision, recall and cost are of those alone"
        )
    if scored.amount is not None and goal.costs:
        without = int(np.count_nonzero(scored.fraud & ~np.isfinite(scored.amount)))
        if without:
            said.append(f"{without:,} frauds have no {goal.costs.amount}: they count as the mean of the others")
    empty = [name for name, events in list(found.bands.items())[1:] if not events]
    said += [f"band {name} is empty: with these costs, no event is worth it" for name in empty]
    said += warnings(scored.span)
    if scored.days and scored.days < WEEK:
        said.append(f"rates a day, and their intervals, rest on {scored.days:.1f} days: take a whole week")
    return said
