"""What a fit looks at, a file of scores or a replay, and the report of what it finds."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scorer.errors import SelectionError

if TYPE_CHECKING:
    from scorer.cli.lanes import Setting
    from scorer.cli.staging import Wish
    from scorer.evaluation.assess import Case
    from scorer.evaluation.findings import Report, Side
    from scorer.evaluation.fit import Goal
    from scorer.evaluation.resample import Bootstrap
    from scorer.replay.scores import Table

WANTED = "say what is wanted: --costs, with or without --capacity; or one of --precision, --recall, --capacity"


@dataclass(frozen=True, slots=True)
class Ask:
    """What the options say of a fit."""

    topic: str | None
    events: Path | None
    start: str
    stop: str
    bundle: Path | None
    configuration: Path | None
    bands: str | None
    given: Sequence[str]
    labels: str | None
    costs: str | None
    goal: Goal
    by: Sequence[str]
    report: Path | None

    def check(self) -> None:
        """Raise SelectionError for goals that contradict each other, or none, and for costs that are none."""
        from scorer.evaluation.pricing import parts

        goal, priced = self.goal, self.costs is not None
        single = [goal.precision, goal.recall, None if priced else goal.capacity]
        if [self.costs, *single].count(None) != len(single):
            raise SelectionError(WANTED)
        if priced and goal.band:
            raise SelectionError("--costs moves every edge; --band goes with --precision, --recall or --capacity")
        if self.costs is not None:
            parts(self.costs)


def fitted(case: Case, goal: Goal, bootstrap: Bootstrap) -> Report:
    """Fit the case's bands, and return what they do beside what today's do."""
    from scorer.evaluation.assess import assess, same_scores
    from scorer.evaluation.propose import propose
    from scorer.evaluation.scored import band_of

    today, topic = case.side, case.subject.topic
    if goal.band and goal.band not in today.bands:
        raise SelectionError(f"--band {goal.band}: no band of {topic} is called so; there are {', '.join(today.bands)}")
    goal = replace(goal, costs=case.costs)
    proposal = propose(case.scored, topic, today.bands, today.otherwise, goal, bootstrap=bootstrap)
    side = _renewed(today, proposal.bands)
    band = band_of(case.scored.score, list(proposal.bands.values()))
    fresh = replace(case, side=side, band=band, proposal=proposal)
    return assess(replace(fresh, earlier=same_scores(fresh, today)))


def _renewed(today: Side, bands: Mapping[str, float]) -> Side:
    import msgspec

    from scorer.records import Bands

    effective = Bands.of(bands, today.otherwise).version
    return msgspec.structs.replace(today, title="fitted bands", bands=dict(bands), thresholds_version=effective)


@contextmanager
def of_replay(ask: Ask) -> Iterator[Case]:
    """Replay the slice, and give its decided events."""
    from scorer.cli import lanes, staging
    from scorer.replay.files import opened
    from scorer.replay.positions import parse

    ask.check()
    if ask.labels is None:
        raise SelectionError("no labels to fit on: name them with --labels FILE, or a file of scores that has them")
    if ask.topic is None and ask.events is None:
        raise SelectionError("what is the fit to look at? Name --scores FILE, --topic NAME, or --events FILE")
    topic = ask.topic or opened(ask.events or Path(), None).topic
    setting = lanes.joined(
        topic, ask.configuration, ask.given, bundle=ask.bundle, decisions=None, bands=ask.bands, local=bool(ask.events)
    )
    now = time.time()
    between = parse(ask.start, "--from", now), parse(ask.stop, "--to", now)
    with tempfile.TemporaryDirectory() as directory:
        wish = staging.Wish(
            ask.start, ask.stop, between, ask.events, Path(directory) / "replay.jsonl",
            labels=ask.labels, by=ask.by, report=ask.report, costs=ask.costs, capacity=ask.goal.capacity,
            resumable=False,
        )  # fmt: skip
        yield from _replayed(wish, replace(setting, decisions="", must_exist=False))


def _replayed(wish: Wish, setting: Setting) -> Iterator[Case]:
    from scorer.cli import lanes, staging
    from scorer.cli.rerun import rerun

    judge = lanes.judge(setting)
    wish.priced(judge.lane.bands.names[1:])
    with staging.past(wish, setting) as past:
        plan = staging.plan(wish, setting, None, past, judge.making)
        with rerun(wish, setting, None, past, judge=judge, plan=plan) as found:
            yield _titled(found.case("fit"))


def _titled(case: Case) -> Case:
    import msgspec

    return replace(case, side=msgspec.structs.replace(case.side, title="today's bands"))


@contextmanager
def of_file(ask: Ask, file: Path) -> Iterator[Case]:
    """Read a file's scores, and give its events."""
    from scorer.evaluation import pricing
    from scorer.evaluation.assess import Case, Event
    from scorer.evaluation.findings import Flow, Side, Subject
    from scorer.evaluation.scored import band_of
    from scorer.records import Bands
    from scorer.replay import labels, scores

    ask.check()
    if ask.events or ask.bundle:
        raise SelectionError("--scores has the scores already; leave --events and --bundle out")
    if ask.labels and ask.labels.startswith("topic:"):
        raise SelectionError("--scores goes with a file of labels, or has them itself in a column `label`")
    topic, bands, otherwise = _today(ask)
    costs = pricing.read(ask.costs, list(bands)) if ask.costs is not None else None
    known = labels.read(Path(ask.labels)) if ask.labels else None
    table = scores.read(file, topic=topic, labels=known, amount=costs.amount if costs else None, by=ask.by)
    topic, scored = topic or _topic(table, file), table.scored
    pricing.check_amounts(scored, costs)
    span = scored.span
    days = span.days if span else None
    first, last = (span.first, span.last) if span and days else (None, None)
    effective = Bands.of(bands, otherwise)
    yield Case(
        kind="fit",
        made=int(time.time() * 1000),
        version=version("scorer"),
        subject=Subject(topic, str(file), {}, first, last, days or 1.0),
        side=Side("today's bands", "", "", "", effective.version, dict(bands), otherwise),
        flow=Flow(len(scored), len(scored), {}, {}),
        scored=scored,
        band=band_of(scored.score, list(bands.values())),
        event=lambda row: Event(f"row {row + 1}", 0, row),
        fields={name: _coded(values) for name, values in table.fields.items()},
        costs=costs,
        capacity=ask.goal.capacity,
    )


def _coded(values: np.ndarray) -> tuple[np.ndarray, list[str]]:
    names, codes = np.unique(values.astype(str), return_inverse=True)
    return codes.astype(np.intp), names.tolist()


def _topic(table: Table, file: Path) -> str:
    if table.topics:
        return table.topics[0]
    raise SelectionError(f"--scores {file}: does not say which topic it is of; name it with --topic")


def _today(ask: Ask) -> tuple[str | None, Mapping[str, float], str]:
    """Return the topic, if it is known yet, and its bands."""
    from scorer import config
    from scorer.cli.lanes import read_bands

    settings = config.load(ask.configuration, environment=os.environ) if ask.configuration else None
    topics = settings.topics if settings else {}
    name = ask.topic or (next(iter(topics)) if len(topics) == 1 else None)
    configured = topics.get(name or "")
    otherwise = configured.otherwise if configured else "approve"
    if ask.bands:
        return name, read_bands(ask.bands, otherwise), otherwise
    if configured and configured.bands:
        return name, configured.bands, otherwise
    raise SelectionError("today's bands are not known: name them with --bands review=0.5,block=0.9, or a --config")
