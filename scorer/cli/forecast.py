"""`scorer diff A B --slice`: what the new model does to each topic's bands, and the bands that keep their share."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from scorer.errors import SelectionError
from scorer.evaluation.carry import Carried

if TYPE_CHECKING:
    from scorer.cli.lanes import Setting
    from scorer.cli.rerun import Rerun
    from scorer.cli.staging import Wish
    from scorer.evaluation.findings import Report
    from scorer.records import Bands


class Forecast(msgspec.Struct, frozen=True):
    """A topic's bands under the new model: `events` were decided by both; `yaml` has the bands that keep the shares."""

    topic: str
    source: str
    events: int
    bands: list[Carried]
    yaml: str


@dataclass(frozen=True, slots=True)
class Look:
    """What the options say of a slice: `where` is a file of events, or `topic:NAME`."""

    before: Path
    after: Path
    where: str
    topic: str | None
    start: str
    stop: str
    configuration: Path | None
    bands: str | None
    given: Sequence[str]
    labels: str | None
    by: Sequence[str]
    report: Path | None


def forecast(look: Look) -> tuple[Forecast, Report | None]:
    """Replay the slice with both bundles; raises SelectionError where that cannot be done."""
    from scorer.cli import lanes, staging, targets
    from scorer.replay.files import opened
    from scorer.replay.positions import parse

    named = look.where.startswith("topic:")
    events = None if named else Path(look.where)
    targets.check_files({"--slice": events, "--labels": look.labels}, {"--report": look.report})
    topic = look.where.removeprefix("topic:") if named else look.topic or opened(events or Path(), None).topic
    setting = lanes.joined(
        topic, look.configuration, look.given, bundle=look.after, decisions=None, bands=look.bands, local=not named
    )
    setting = replace(setting, decisions="")
    now = time.time()
    between = parse(look.start, "--from", now), parse(look.stop, "--to", now)
    with tempfile.TemporaryDirectory() as directory:
        wish = staging.Wish(
            look.start, look.stop, between, events, Path(directory) / "replay.jsonl",
            labels=look.labels, by=look.by, report=look.report, resumable=False,
        )  # fmt: skip
        return _looked(wish, setting, replace(setting, bundle=look.before))


def _looked(wish: Wish, setting: Setting, other: Setting) -> tuple[Forecast, Report | None]:
    from scorer.cli import lanes, staging
    from scorer.cli.rerun import rerun

    judge = lanes.judge(setting)
    with staging.past(wish, setting) as past:
        plan = staging.plan(wish, setting, other, past, judge.making)
        with rerun(wish, setting, other, past, judge=judge, plan=plan) as found:
            return _forecast(found, wish)


def _forecast(found: Rerun, wish: Wish) -> tuple[Forecast, Report | None]:
    from scorer.evaluation.assess import assess
    from scorer.evaluation.carry import carry
    from scorer.evaluation.propose import as_yaml, kept

    assert found.other
    case = found.case("diff")
    assert case.earlier
    today, both = found.other.lane.bands, case.earlier.decided
    carried = carry(case.earlier.score[both], case.scored.where(both), _edges(today))
    bands = {one.band: one.edge for one in carried}
    topic = case.subject.topic
    made = Forecast(topic, case.subject.source, int(both.sum()), carried, as_yaml(topic, bands))
    if wish.report is None:
        return made, None
    proposal = kept(case.scored, topic, bands, today.names[0])
    return made, assess(replace(case, proposal=proposal))


def _edges(bands: Bands) -> dict[str, float]:
    return {name: float(str(edge)) for name, edge in zip(bands.names[1:], bands.edges[1:], strict=True)}


def check_slices(slices: Sequence[str], report: Path | None, given: Sequence[str]) -> None:
    """Raise SelectionError for a page of several slices, and for options that were `given` without any."""
    if given and not slices:
        does = "says" if len(given) == 1 else "say"
        raise SelectionError(
            f"{', '.join(given)} {does} something of a slice of events, and none is named: add --slice FILE, or "
            "--slice topic:NAME"
        )
    if report and len(slices) > 1:
        raise SelectionError("--report is of one --slice; write them one at a time")
